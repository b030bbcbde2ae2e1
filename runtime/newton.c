/* Newton's method on many small problems side by side: see newton.h. */
#include "newton.h"

/* Partial redundancy elimination makes branches and one-bit selections of the flags below, and GCC 12 does not vectorise those: six times slower. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-pre")
#endif

#include <float.h>
#include <math.h>
#include <string.h>

#include "pgm_math.h"

enum { PAIRS = PGM_NEWTON_PAIRS, MAX_COORDINATES = PGM_NEWTON_COORDINATES };
static const double RADIUS = 4; /* at first, in sds */

size_t pgm_newton_size(long rows, long w)
{
  return (size_t)(rows * (2 * w * (3 + 2 * PAIRS) + PAIRS + 3 + w));
}

static double *take(double **at, long n)
{
  double *p = *at;
  *at += n;
  return p;
}

void pgm_newton_place(PgmNewton *f, long rows, long w, double *memory)
{
  const long all = 2 * w * rows;
  *f = (PgmNewton){.rows = rows, .w = w, .enough = -1};
  f->point = take(&memory, all);
  f->gradient = take(&memory, all);
  f->step = take(&memory, all);
  for (int k = 0; k < PAIRS; k++) {
    f->s[k] = take(&memory, all);
    f->y[k] = take(&memory, all);
    f->rho[k] = take(&memory, rows);
  }
  f->radius = take(&memory, rows);
  f->share = take(&memory, rows);
  f->left = take(&memory, rows);
  f->curvature = take(&memory, w * rows);
}

typedef struct {
  double *mean, *log_sd;
  const double *sd, *mean_slope, *log_sd_slope;
} Rows;

/* Coordinate c of row r, and its slope. */
static inline double *entry_of(const PgmNewton *f, const Rows *at, long c, long r)
{
  return c < f->w ? at->mean + r * f->w + c : at->log_sd + r * f->w + (c - f->w);
}
static inline double slope_of(const PgmNewton *f, const Rows *at, long c, long r)
{
  return c < f->w ? at->mean_slope[r * f->w + c] : at->log_sd_slope[r * f->w + (c - f->w)];
}

/* The step from the accepted point of row r: quasi-Newton within trust radius and caps. */
static void propose(PgmNewton *f, long r)
{
  const long n = f->rows, w = f->w, dims = 2 * w;
  double d[MAX_COORDINATES], h[MAX_COORDINATES], alpha[PAIRS];
  bool far = false;
  for (long k = 0; k < w; k++) {
    const double sd = exp(f->point[(w + k) * n + r]), p = f->curvature[k * n + r], ps2 = p * sd * sd;
    h[k] = p > 0 && ps2 > 1e-3 ? 1 / p : sd * sd;
    h[w + k] = 0.5;
    far = far || !(ps2 > 0.25 && ps2 < 4);
  }
  for (long c = 0; c < dims; c++) d[c] = f->gradient[c * n + r];
  if (far) { /* the log sds first: their fixed point, and plain Newton for the means */
    for (long k = 0; k < w; k++) {
      const double sd = exp(f->point[(w + k) * n + r]), ps2 = f->curvature[k * n + r] * sd * sd;
      d[k] *= h[k];
      d[w + k] = ps2 > 0 ? -0.5 * log(ps2) : 0.5 * d[w + k];
    }
    for (int k = 0; k < PAIRS; k++) f->rho[k][r] = 0;
  } else {
    for (int k = 0; k < PAIRS; k++) {
      if (f->rho[k][r] == 0) continue;
      double dot = 0;
      for (long c = 0; c < dims; c++) dot += f->s[k][c * n + r] * d[c];
      alpha[k] = f->rho[k][r] * dot;
      for (long c = 0; c < dims; c++) d[c] -= alpha[k] * f->y[k][c * n + r];
    }
    for (long c = 0; c < dims; c++) d[c] *= h[c];
    for (int k = PAIRS - 1; k >= 0; k--) {
      if (f->rho[k][r] == 0) continue;
      double dot = 0;
      for (long c = 0; c < dims; c++) dot += f->y[k][c * n + r] * d[c];
      for (long c = 0; c < dims; c++) d[c] += (alpha[k] - f->rho[k][r] * dot) * f->s[k][c * n + r];
    }
    double uphill = 0;
    for (long c = 0; c < dims; c++) uphill += d[c] * f->gradient[c * n + r];
    if (!(uphill >= 0)) {
      for (long c = 0; c < dims; c++) d[c] = h[c] * f->gradient[c * n + r];
      for (int k = 0; k < PAIRS; k++) f->rho[k][r] = 0;
    }
  }
  double shrink = 1;
  for (long k = 0; k < w; k++) {
    const double limit = f->radius[r] * sqrt(h[k]);
    if (fabs(d[k]) > limit) shrink = fmin(shrink, limit / fabs(d[k]));
    if (fabs(d[w + k]) > 2) shrink = fmin(shrink, 2 / fabs(d[w + k]));
  }
  for (long c = 0; c < dims; c++) f->step[c * n + r] = shrink * d[c];
  f->share[r] = shrink;
}

/* Accepts or rejects the trial of row r, whose gradient is `gradient`. Returns the predicted gain of a further step, in nats. */
static double judge(PgmNewton *f, bool fresh, long r, const Rows *at, long *rejected)
{
  const long n = f->rows, w = f->w, dims = 2 * w;
  bool finite = true;
  double before = 0, after = 0; /* slopes along the step */
  for (long c = 0; c < dims; c++) {
    const double g = slope_of(f, at, c, r);
    finite = finite && isfinite(g);
    if (!fresh) {
      before += f->gradient[c * n + r] * f->step[c * n + r];
      after += g * f->step[c * n + r];
    }
  }
  /* Slopes that turn by more than they were, or grow fourfold, belong to a function that does other things on the way: shorter steps. */
  if (!fresh && (!finite || ((after < -before || after > 4 * before) && before > 1e-12))) {
    const double shrink = finite ? 0.3 : 0.1;
    double gain = 0;
    for (long c = 0; c < dims; c++) {
      gain += 0.5 * fabs(f->gradient[c * n + r] * f->step[c * n + r]);
      f->step[c * n + r] *= shrink;
      *entry_of(f, at, c, r) = f->point[c * n + r];
    }
    for (long c = 0; c < dims && gain <= f->enough; c++) f->step[c * n + r] = 0;
    f->radius[r] *= shrink;
    f->left[r] = gain;
    for (int k = 0; k < PAIRS; k++) f->rho[k][r] = 0;
    ++*rejected;
    return gain;
  }
  if (!fresh) {
    double sy = 0, ss = 0, yy = 0;
    for (int k = PAIRS - 1; k > 0; k--) {
      for (long c = 0; c < dims; c++) {
        f->s[k][c * n + r] = f->s[k - 1][c * n + r];
        f->y[k][c * n + r] = f->y[k - 1][c * n + r];
      }
      f->rho[k][r] = f->rho[k - 1][r];
    }
    for (long c = 0; c < dims; c++) {
      const double step = f->step[c * n + r], turn = f->gradient[c * n + r] - slope_of(f, at, c, r);
      f->s[0][c * n + r] = step;
      f->y[0][c * n + r] = turn;
      sy += step * turn;
      ss += step * step;
      yy += turn * turn;
    }
    f->rho[0][r] = sy > 1e-10 * sqrt(ss * yy) && sy > DBL_MIN ? 1 / sy : 0;
    const double surprise = before > 1e-12 ? fabs(after / before - (1 - f->share[r])) : 0; /* a quadratic has none */
    if (surprise < 0.3 && f->share[r] < 1) f->radius[r] = fmin(4 * f->radius[r], 1e6);
    if (surprise > 0.8) f->radius[r] *= 0.5;
  }
  double gain = 0;
  for (long c = 0; c < dims; c++) {
    const double g = slope_of(f, at, c, r);
    f->point[c * n + r] = *entry_of(f, at, c, r);
    f->gradient[c * n + r] = finite ? g : 0;
    if (c >= w) { /* s * sd_bar = g - 1 without the entropy, p = -sd_bar / s */
      const double sd = at->sd[r * w + (c - w)], p = (1 - g) / (sd * sd), gm = f->gradient[(c - w) * n + r];
      f->curvature[(c - w) * n + r] = p;
      gain += 0.5 * gm * gm * (p > 0 && p * sd * sd > 1e-3 ? 1 / p : sd * sd) + 0.25 * g * g;
    }
  }
  if (!isfinite(gain)) gain = 0;
  f->left[r] = gain;
  propose(f, r);
  for (long c = 0; c < dims && gain <= f->enough; c++) f->step[c * n + r] = 0;
  return gain;
}

/* judge() and propose() for rows of one entry, without branches, so that the compiler vectorises them. Flags are doubles: of the logical operations on
 * bools it makes vectors of bytes. At first there is nothing to judge: */
static __attribute__((noinline)) double first_scalars(PgmNewton *f, long from, long to, const Rows *at)
{
  const long n = f->rows;
  double *restrict pm = f->point, *restrict pl = pm + n, *restrict gm0 = f->gradient, *restrict gl0 = gm0 + n;
  double *restrict dm = f->step, *restrict dl = dm + n, *restrict rho0 = f->rho[0], *restrict rho1 = f->rho[1];
  double *restrict radius = f->radius, *restrict share = f->share, *restrict left = f->left, *restrict curvature = f->curvature;
  const double *restrict xm = at->mean, *restrict xl = at->log_sd, *restrict xs = at->sd, *restrict gm1 = at->mean_slope, *restrict gl1 = at->log_sd_slope;
  const double enough = f->enough;
  double gain = 0;
#pragma omp simd reduction(+ : gain)
  for (long r = from; r < to; r++) {
    const double finite = gm1[r] - gm1[r] + (gl1[r] - gl1[r]) == 0 ? 1.0 : 0.0;
    const double gm = finite > 0 ? gm1[r] : 0.0, gl = finite > 0 ? gl1[r] : 0.0;
    const double sd = xs[r], ps2 = 1 - gl, hm = ps2 > 1e-3 ? sd * sd / ps2 : sd * sd;
    const double now = 0.5 * gm * gm * hm + 0.25 * gl * gl, next = now - now == 0 ? now : 0.0;
    const double far = ps2 > 0.25 ? (ps2 < 4 ? 0.0 : 1.0) : 1.0, qm = hm * gm;
    const double fixed = far > 0 ? (ps2 > 0 ? ps2 : 1.0) : 1.0; /* the logarithm of 1 where it is not wanted: in a branch the call would keep the loop scalar */
    const double ql = -0.5 * log(fixed) + (far > 0 ? (ps2 > 0 ? 0.0 : 0.5 * gl) : 0.5 * gl);
    const double limit = RADIUS * sqrt(hm), am = fabs(qm), al = fabs(ql);
    const double part = pgm_fmin(am > limit ? limit / am : 1.0, al > 2 ? 2 / al : 1.0), go = next > enough ? part : 0.0;
    gain += next;
    left[r] = next;
    pm[r] = xm[r];
    pl[r] = xl[r];
    gm0[r] = gm;
    gl0[r] = gl;
    curvature[r] = ps2 / (sd * sd);
    radius[r] = RADIUS;
    share[r] = part;
    dm[r] = go * qm;
    dl[r] = go * ql;
    rho0[r] = rho1[r] = 0;
  }
  return gain;
}

/* Is no log sd so far from its fixed point that it goes there? */
static bool all_near(long from, long to, const double *restrict log_sd_slope)
{
  double far = 0;
#pragma omp simd reduction(+ : far)
  for (long r = from; r < to; r++) {
    const double ps2 = 1 - log_sd_slope[r];
    far += ps2 > 0.25 ? (ps2 < 4 ? 0.0 : 1.0) : 1.0;
  }
  return far == 0;
}

/* and afterwards. `near`: as all_near says; then no logarithm is needed. */
static inline __attribute__((always_inline)) double judge_each(PgmNewton *f, bool near, long from, long to, const Rows *at, long *rejected)
{
  const long n = f->rows;
  double *restrict pm = f->point, *restrict pl = pm + n, *restrict gm0 = f->gradient, *restrict gl0 = gm0 + n;
  double *restrict dm = f->step, *restrict dl = dm + n, *restrict rho0 = f->rho[0], *restrict rho1 = f->rho[1];
  double *restrict sm0 = f->s[0], *restrict sl0 = sm0 + n, *restrict ym0 = f->y[0], *restrict yl0 = ym0 + n;
  double *restrict sm1 = f->s[1], *restrict sl1 = sm1 + n, *restrict ym1 = f->y[1], *restrict yl1 = ym1 + n;
  double *restrict radius = f->radius, *restrict share = f->share, *restrict left = f->left, *restrict curvature = f->curvature;
  double *restrict xm = at->mean, *restrict xl = at->log_sd;
  const double *restrict xs = at->sd, *restrict gm1 = at->mean_slope, *restrict gl1 = at->log_sd_slope;
  const double enough = f->enough;
  double gain = 0, put_back = 0;
#pragma omp simd reduction(+ : gain, put_back)
  for (long r = from; r < to; r++) {
    const double finite = gm1[r] - gm1[r] + (gl1[r] - gl1[r]) == 0 ? 1.0 : 0.0;
    const double gm = finite > 0 ? gm1[r] : 0.0, gl = finite > 0 ? gl1[r] : 0.0, m = xm[r], l = xl[r], stepm = dm[r], stepl = dl[r];
    const double before = gm0[r] * stepm + gl0[r] * stepl, after = gm * stepm + gl * stepl;
    const double astray = before > 1e-12 ? (after < -before ? 1.0 : after > 4 * before ? 1.0 : 0.0) : 0.0;
    const double reject = finite > 0 ? astray : 1.0, shrink_back = finite > 0 ? 0.3 : 0.1;
    const double promised = 0.5 * (fabs(gm0[r] * stepm) + fabs(gl0[r] * stepl)), back = promised > enough ? shrink_back : 0.0;
    /* accepted: the secant pair, the radius */
    const double turnm = gm0[r] - gm, turnl = gl0[r] - gl;
    const double sy = stepm * turnm + stepl * turnl, ss = stepm * stepm + stepl * stepl, yy = turnm * turnm + turnl * turnl;
    const double new_rho = sy > 1e-10 * sqrt(ss * yy) + DBL_MIN ? 1.0 / sy : 0.0;
    const double ratio = before > 1e-12 ? after / before : 1.0 - share[r], surprise = fabs(ratio - (1 - share[r]));
    const double wider = surprise < 0.3 ? (share[r] < 1 ? 4.0 : 1.0) : surprise > 0.8 ? 0.5 : 1.0;
    const double trust = pgm_fmin(radius[r] * wider, 1e6);
    const double sd = xs[r], p = (1 - gl) / (sd * sd), ps2 = 1 - gl;
    const double hm = ps2 > 1e-3 ? sd * sd / ps2 : sd * sd;
    const double now = 0.5 * gm * gm * hm + 0.25 * gl * gl, next = now - now == 0 ? now : 0.0;
    /* the step: plain Newton and the fixed point of the log sd when far, else two secant pairs around the Fisher metric */
    const double far = near ? 0.0 : ps2 > 0.25 ? (ps2 < 4 ? 0.0 : 1.0) : 1.0;
    const double r1 = rho0[r], s1m = sm0[r], s1l = sl0[r], y1m = ym0[r], y1l = yl0[r]; /* the older pair, once this one is in */
    double qm = gm, ql = gl;
    const double a0 = new_rho * (stepm * qm + stepl * ql);
    qm -= a0 * turnm;
    ql -= a0 * turnl;
    const double a1 = r1 * (s1m * qm + s1l * ql);
    qm = hm * (qm - a1 * y1m);
    ql = 0.5 * (ql - a1 * y1l);
    const double b1 = a1 - r1 * (y1m * qm + y1l * ql);
    qm += b1 * s1m;
    ql += b1 * s1l;
    const double b0 = a0 - new_rho * (turnm * qm + turnl * ql);
    qm += b0 * stepm;
    ql += b0 * stepl;
    const double uphill = qm * gm + ql * gl >= 0 ? 1.0 : 0.0, plain = uphill > 0 ? far : 1.0;
    const double fixed = far > 0 ? (ps2 > 0 ? ps2 : 1.0) : 1.0;
    qm = plain > 0 ? hm * gm : qm;
    ql = (near ? 0.0 : -0.5 * log(fixed)) + (far > 0 ? (ps2 > 0 ? 0.0 : 0.5 * gl) : uphill > 0 ? ql : 0.5 * gl);
    const double limit = trust * sqrt(hm), am = fabs(qm), al = fabs(ql);
    const double part = pgm_fmin(am > limit ? limit / am : 1.0, al > 2 ? 2 / al : 1.0), go = next > enough ? part : 0.0;
    /* one or the other */
    gain += reject > 0 ? promised : next;
    put_back += reject > 0 ? 1.0 : 0.0;
    left[r] = reject > 0 ? promised : next;
    xm[r] = reject > 0 ? pm[r] : m;
    xl[r] = reject > 0 ? pl[r] : l;
    pm[r] = reject > 0 ? pm[r] : m;
    pl[r] = reject > 0 ? pl[r] : l;
    gm0[r] = reject > 0 ? gm0[r] : gm;
    gl0[r] = reject > 0 ? gl0[r] : gl;
    curvature[r] = reject > 0 ? curvature[r] : p;
    radius[r] = reject > 0 ? radius[r] * shrink_back : trust;
    share[r] = reject > 0 ? share[r] : part;
    dm[r] = reject > 0 ? stepm * back : go * qm;
    dl[r] = reject > 0 ? stepl * back : go * ql;
    sm1[r] = s1m, sl1[r] = s1l, ym1[r] = y1m, yl1[r] = y1l;
    sm0[r] = stepm, sl0[r] = stepl, ym0[r] = turnm, yl0[r] = turnl;
    rho1[r] = reject + plain > 0 ? 0.0 : r1;
    rho0[r] = reject + plain > 0 ? 0.0 : new_rho;
  }
  *rejected += (long)put_back;
  return gain;
}

static __attribute__((noinline)) double judge_near_scalars(PgmNewton *f, long from, long to, const Rows *at, long *rejected)
{
  return judge_each(f, true, from, to, at, rejected);
}

static __attribute__((noinline)) double judge_scalars(PgmNewton *f, long from, long to, const Rows *at, long *rejected)
{
  return judge_each(f, false, from, to, at, rejected);
}

double pgm_newton_judge(PgmNewton *f, bool fresh, long from, long to, double *mean, double *log_sd, const double *sd, const double *mean_slope,
                        const double *log_sd_slope, long *rejected)
{
  const Rows at = {mean, log_sd, sd, mean_slope, log_sd_slope};
  double gain = 0;
  if (f->w == 1 && fresh) return first_scalars(f, from, to, &at);
  if (f->w == 1) return (all_near(from, to, log_sd_slope) ? judge_near_scalars : judge_scalars)(f, from, to, &at, rejected);
  for (long r = from; r < to; r++) {
    if (fresh) {
      f->radius[r] = RADIUS;
      for (int k = 0; k < PAIRS; k++) f->rho[k][r] = 0;
    }
    gain += judge(f, fresh, r, &at, rejected);
  }
  return gain;
}

void pgm_newton_put(const PgmNewton *f, double share, long from, long to, double *mean, double *log_sd)
{
  const long w = f->w, n = f->rows;
  for (long c = 0; c < 2 * w; c++) {
    const double *restrict point = f->point + c * n, *restrict step = f->step + c * n;
    double *restrict out = c < w ? mean + c : log_sd + (c - w);
    for (long r = from; r < to; r++) out[r * w] = point[r] + share * step[r];
  }
}

double pgm_newton_promise(long entries, const double *sd, const double *mean_slope, const double *log_sd_slope)
{
  double gain = 0;
#pragma omp simd reduction(+ : gain)
  for (long e = 0; e < entries; e++) {
    const double gm = mean_slope[e], gl = log_sd_slope[e], ps2 = 1 - gl, v = sd[e] * sd[e];
    gain += 0.5 * gm * gm * (ps2 > 1e-3 ? v / ps2 : v) + 0.25 * gl * gl;
  }
  return gain;
}
