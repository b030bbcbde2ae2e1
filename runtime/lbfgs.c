/* L-BFGS, two-loop recursion of Nocedal (1980), see Nocedal & Wright, Numerical Optimization (2006), algorithm 7.4, with the initial
 * matrix H_k^0 a diagonal metric refreshed at every iterate. Line search: bracketing and safeguarded cubic interpolation for the strong
 * Wolfe conditions (algorithms 3.5, 3.6), or, where differences of the value drown in rounding, the approximate Wolfe condition of Hager &
 * Zhang (2005), which needs slopes alone. */
#include "lbfgs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parallel.h"

enum { CHUNK = 8192, MAX_CHUNKS = 1024, MAX_HISTORY = 64, MAX_WINDOW = 64, ERROR_EVERY = 10 };

double pgm_dot(long n, const double *a, const double *b, int threads)
{
  if (n <= CHUNK) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
  }
  long chunk = CHUNK, chunks = (n + chunk - 1) / chunk;
  if (chunks > MAX_CHUNKS) {
    chunk = (n + MAX_CHUNKS - 1) / MAX_CHUNKS;
    chunks = (n + chunk - 1) / chunk;
  }
  double part[MAX_CHUNKS];
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && n > 8 * CHUNK)
  for (long c = 0; c < chunks; c++) {
    long end = (c + 1) * chunk < n ? (c + 1) * chunk : n;
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long i = c * chunk; i < end; i++) sum += a[i] * b[i];
    part[c] = sum;
  }
  double total = 0;
  for (long c = 0; c < chunks; c++) total += part[c];
  return total;
}

/* y += a x */
static void axpy(long n, double a, const double *x, double *y, int threads)
{
  PGM_PIECES(n, threads, from, to, for (long i = from; i < to; i++) y[i] += a * x[i];);
}

/* v = H v, the initial inverse Hessian with diagonal h */
static void multiply(const PgmLbfgsProblem *p, long n, const double *h, double *v, int threads)
{
  PGM_PIECES(n, threads, from, to, for (long i = from; i < to; i++) v[i] *= h[i];);
  if (p->apply) p->apply(p->data, v);
}

/* g' H g */
static double metric_norm2(const PgmLbfgsProblem *p, long n, const double *g, const double *h, double *scratch, int threads)
{
  memcpy(scratch, g, (size_t)n * sizeof *g);
  multiply(p, n, h, scratch, threads);
  return pgm_dot(n, scratch, g, threads);
}

typedef struct {
  const PgmLbfgsProblem *p;
  long n, evaluations;
  int threads;
  const double *x0, *d; /* the ray */
  double *x, *g;        /* the trial point and its gradient */
} Ray;

typedef struct {
  double t, f, slope;
  bool finite;
} Trial;

static Trial ray_at(Ray *r, double t)
{
  PGM_PIECES(r->n, r->threads, from, to, for (long i = from; i < to; i++) r->x[i] = r->x0[i] + t * r->d[i];);
  Trial trial = {t, r->p->value(r->p->data, r->x, r->g), 0, false};
  r->evaluations++;
  trial.slope = pgm_dot(r->n, r->g, r->d, r->threads);
  trial.finite = isfinite(trial.f) && isfinite(trial.slope);
  return trial;
}

/* Minimiser of the cubic through two points with slopes, kept inside the middle of [a, b]. */
static double cubic(Trial a, Trial b)
{
  double d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t);
  double square = d1 * d1 - a.slope * b.slope, t = 0.5 * (a.t + b.t);
  if (square >= 0) {
    double d2 = copysign(sqrt(square), b.t - a.t);
    double candidate = b.t - (b.t - a.t) * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2);
    if (isfinite(candidate)) t = candidate;
  }
  double lo = fmin(a.t, b.t), width = fabs(b.t - a.t);
  return fmin(fmax(t, lo + 0.1 * width), lo + 0.9 * width);
}

/* Strong Wolfe search along the ray from `start` (t = 0). True when a point was found; it is then in r->x, r->g. */
static bool search(Ray *r, Trial start, double first, double longest, Trial *found)
{
  const double c1 = 1e-4, c2 = 0.9;
  const double noise = 4e-16 * 64 * fmax(fabs(start.f), 1e-300); /* rounding of a sum of many terms */
  Trial lo = start, hi = {0};
  bool have_hi = false;
  double t = first;
  for (int k = 0; k < 30; k++) {
    Trial now = ray_at(r, t);
    if (now.finite) {
      bool flat = fabs(now.f - start.f) <= noise;
      bool decrease =
          now.f <= start.f + c1 * t * start.slope || (flat && now.slope <= (2 * c1 - 1) * start.slope && now.f <= start.f + noise);
      if (decrease && fabs(now.slope) <= -c2 * start.slope) {
        *found = now;
        return true;
      }
      if (!decrease || (!flat && now.f >= lo.f && lo.t > 0)) {
        hi = now;
        have_hi = true;
      } else if (now.slope >= 0) {
        hi = lo;
        lo = now;
        have_hi = true;
      } else {
        if (t >= longest) { /* still going down at the longest step allowed: take it */
          *found = now;
          return true;
        }
        lo = now;
      }
      if (have_hi) {
        if (fabs(hi.t - lo.t) <= 1e-12 * fmax(hi.t, lo.t)) break;
        t = hi.finite ? cubic(lo, hi) : 0.5 * (lo.t + hi.t);
      } else {
        t = fmin(longest, 3 * t);
      }
    } else { /* not finite: come back, quickly */
      hi = now;
      hi.finite = false;
      have_hi = true;
      t = lo.t + 0.2 * (t - lo.t);
    }
    if (have_hi && fabs(hi.t - lo.t) <= 1e-14 * first) break;
  }
  if (lo.t > 0 && lo.f < start.f) { /* no Wolfe point, yet a better one */
    *found = ray_at(r, lo.t);
    return found->finite && found->f < start.f; /* or the value does not depend on x alone */
  }
  return false;
}

/* d = -H g, H from `stored` pairs (the newest at `newest` of a ring of m) around the diagonal h. */
static void direction(const PgmLbfgsProblem *p, long n, int m, int stored, int newest, const double *s, const double *y, const double *rho, const double *h,
                      const double *g, double *d, int threads)
{
  double alpha[MAX_HISTORY];
  memcpy(d, g, (size_t)n * sizeof *d);
  for (int k = 0; k < stored; k++) {
    int i = (newest - k + m) % m;
    alpha[i] = rho[i] * pgm_dot(n, s + (size_t)i * (size_t)n, d, threads);
    axpy(n, -alpha[i], y + (size_t)i * (size_t)n, d, threads);
  }
  multiply(p, n, h, d, threads);
  for (int k = stored - 1; k >= 0; k--) {
    int i = (newest - k + m) % m;
    double beta = rho[i] * pgm_dot(n, y + (size_t)i * (size_t)n, d, threads);
    axpy(n, alpha[i] - beta, s + (size_t)i * (size_t)n, d, threads);
  }
  for (long i = 0; i < n; i++) d[i] = -d[i];
}

static int pairs(int history)
{
  return history <= 0 ? 10 : history < MAX_HISTORY ? history : MAX_HISTORY;
}

size_t pgm_lbfgs_size(long n, int history)
{
  return (size_t)n * (size_t)(2 * pairs(history) + 7);
}

PgmLbfgsResult pgm_lbfgs(const PgmLbfgsProblem *problem, const PgmLbfgsOptions *options, long n, double *x, double *work)
{
  const int m = pairs(options->history), threads = options->threads > 0 ? options->threads : 1;
  double *g = work, *h = g + n, *d = h + n, *trial_x = d + n, *trial_g = trial_x + n, *tmp = trial_g + n, *metric = tmp + n;
  double *s = metric + n, *y = s + (size_t)m * (size_t)n;
  double rho[MAX_HISTORY], common = 0;
  int stored = options->stored, newest = stored ? options->newest : -1;
  PgmLbfgsResult result = {.stop = PGM_LBFGS_NAN};
  double recent[MAX_WINDOW]; /* values of the last iterations */
  const int window = options->window > 0 ? (options->window < MAX_WINDOW ? options->window : MAX_WINDOW) : 0;

  double f = problem->value(problem->data, x, g);
  result.evaluations = 1;
  result.value = f;
  result.gradient_norm = NAN;
  if (!isfinite(f) || !isfinite(pgm_dot(n, g, g, threads))) return result;

  for (int k = 0; k < stored; k++) {
    const size_t at = (size_t)((newest - k + m) % m) * (size_t)n;
    rho[(newest - k + m) % m] = 1 / pgm_dot(n, s + at, y + at, threads);
  }
  for (long iteration = 0;; iteration++) {
    result.stored = stored;
    result.newest = newest;
    problem->metric(problem->data, x, metric);
    memcpy(h, metric, (size_t)n * sizeof *h);
    if (common == 0) { /* no pair yet: a step of unit length for what the metric does not know */
      double square = 0;
      for (long i = 0; i < n; i++) square += h[i] == 0 ? g[i] * g[i] : 0;
      common = square > 0 ? 1 / sqrt(square) : 1;
    }
    for (long i = 0; i < n; i++)
      if (!(h[i] > 0) || !isfinite(h[i])) h[i] = common;
    double norm = sqrt(metric_norm2(problem, n, g, h, tmp, threads));
    result.iterations = iteration;
    result.value = f;
    result.gradient_norm = norm;
    if (problem->accepted && !problem->accepted(problem->data, iteration, x, f, norm)) {
      result.stop = PGM_LBFGS_STOPPED;
      return result;
    }
    if (problem->error && iteration % ERROR_EVERY == 0) result.error = problem->error(problem->data, x, g, h);
    if (norm <= options->tol) {
      result.stop = PGM_LBFGS_GRADIENT;
      return result;
    }
    if (window) {
      const double sampled = options->share * result.error;
      if (iteration >= window) result.gained = recent[iteration % window] - f;
      recent[iteration % window] = f;
      result.enough = fmax(options->gain, options->relative * fabs(f));
      if (options->part > 0) result.enough = fmax(result.enough, options->part * (f - options->bound));
      const bool far = options->promise > 0 && 0.5 * norm * norm > fmax(1, options->promise * fabs(f));
      if (iteration >= window && result.gained <= result.enough && !far) {
        result.stop = PGM_LBFGS_GAIN;
        return result;
      }
      if (iteration >= window && norm <= sampled && result.gained <= 0.5 * sampled * sampled) {
        result.stop = PGM_LBFGS_ERROR;
        return result;
      }
    }
    if (iteration >= options->max_iter) {
      result.stop = PGM_LBFGS_MAX_ITER;
      return result;
    }

    Trial found = {0};
    for (;;) { /* a second time, without the history, when the first fails */
      direction(problem, n, m, stored, newest, s, y, rho, h, g, d, threads);
      double longest = problem->limit ? problem->limit(problem->data, x, g, d) : 1e10, slope = pgm_dot(n, g, d, threads);
      if (!(slope < 0)) { /* the pairs misled: steepest descent in the metric */
        stored = 0;
        for (long i = 0; i < n; i++) d[i] = -g[i];
        multiply(problem, n, h, d, threads);
        if (problem->limit) longest = problem->limit(problem->data, x, g, d);
        slope = pgm_dot(n, g, d, threads);
      }
      double first = fmin(1, longest);
      if (!stored && options->first_step > 0) first = fmin(first, options->first_step / norm);
      Ray ray = {problem, n, 0, threads, x, d, trial_x, trial_g};
      bool ok = search(&ray, (Trial){0, f, slope, true}, first, fmax(longest, first), &found);
      result.evaluations += ray.evaluations;
      if (ok) break;
      problem->value(problem->data, x, trial_g); /* the problem's own state goes back to the accepted point */
      result.evaluations++;
      if (!stored) {
        result.stop = PGM_LBFGS_NO_STEP;
        return result;
      }
      stored = 0;
    }

    int slot = (newest + 1) % m;
    double *sk = s + (size_t)slot * (size_t)n, *yk = y + (size_t)slot * (size_t)n, sy_common = 0, yy_common = 0;
    for (long i = 0; i < n; i++) {
      sk[i] = trial_x[i] - x[i];
      yk[i] = trial_g[i] - g[i];
      if (!(metric[i] > 0)) {
        sy_common += sk[i] * yk[i];
        yy_common += yk[i] * yk[i];
      }
    }
    double sy = pgm_dot(n, sk, yk, threads);
    if (sy > 1e-12 * sqrt(pgm_dot(n, sk, sk, threads) * pgm_dot(n, yk, yk, threads))) {
      rho[slot] = 1 / sy;
      newest = slot;
      if (stored < m) stored++;
      if (sy_common > 0) common = sy_common / yy_common;
    } else if (stored == m) { /* its slot was the oldest pair's */
      stored--;
    }
    memcpy(x, trial_x, (size_t)n * sizeof *x);
    memcpy(g, trial_g, (size_t)n * sizeof *g);
    f = found.f;
  }
}
