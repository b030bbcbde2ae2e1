/* Adam: see adam.h. A stage ends when three windows in a row are not better than the last that was, by more than twice the standard error
 * of the difference; the last stage's end is convergence. When the average of a group falls far below the best window (by more than that
 * is above the start of the run, and the size of the value there), or the value is not finite, the run goes back to where that window
 * began, with a smaller step. Coordinates that a minibatch does not touch keep their moments, and count their own visits for the bias
 * correction. */
#include "adam.h"

#include <math.h>
#include <string.h>

#include "parallel.h"

enum { PATIENCE = 3, TABLE = 16384, MOST_SKIPPED = 20 };
static const double BETA1 = 0.9, BETA2 = 0.999, EPSILON = 1e-8, SHRINK = 0.3;

typedef struct {
  double *g, *m, *v;           /* gradient, moments */
  double *start, *safe;        /* where the window began; where the best window began: the iterate to go back to */
  double *table1, *table2;     /* sparse: 1 / (1 - beta^t) of the first visits */
  uint32_t *visits, *averaged; /* sparse: in all, and in this stage */
} Memory;

size_t pgm_adam_size(long n, bool sparse)
{
  return (size_t)n * (sparse ? 6 : 5) + (sparse ? 2 * TABLE : 0) + 1;
}

static Memory lay_out(double *work, long n, bool sparse)
{
  Memory w = {.g = work, .m = work + n, .v = work + 2 * n, .start = work + 3 * n, .safe = work + 4 * n};
  memset(work, 0, (size_t)(3 * n) * sizeof *work);
  if (!sparse) return w;
  w.table1 = work + 5 * n;
  w.table2 = w.table1 + TABLE;
  w.visits = (uint32_t *)(w.table2 + TABLE);
  w.averaged = w.visits + n;
  memset(w.visits, 0, (size_t)(2 * n) * sizeof *w.visits);
  for (int t = 1; t < TABLE; t++) {
    w.table1[t] = 1 / (1 - pow(BETA1, t));
    w.table2[t] = 1 / (1 - pow(BETA2, t));
  }
  return w;
}

/* One step of the coordinates [r.begin, r.end); t: iterations since the moments began, k: since the average began. */
static void update(const Memory *w, PgmRange r, double step, const double *scale, long t, long k, double *x, double *average, int threads)
{
  const double c1 = 1 / (1 - pow(BETA1, (double)t)), c2 = 1 / (1 - pow(BETA2, (double)t));
  const bool sparse = w->visits != NULL;
  PGM_PIECES(r.end - r.begin, threads, from, to, {
    for (long i = r.begin + from; i < r.begin + to; i++) {
      w->m[i] = BETA1 * w->m[i] + (1 - BETA1) * w->g[i];
      w->v[i] = BETA2 * w->v[i] + (1 - BETA2) * w->g[i] * w->g[i];
      double a = c1, b = c2, share = 1.0 / (double)k;
      if (sparse) {
        const uint32_t visits = ++w->visits[i];
        a = visits < TABLE ? w->table1[visits] : 1;
        b = visits < TABLE ? w->table2[visits] : 1;
        share = 1.0 / ++w->averaged[i];
      }
      x[i] += step * (scale ? scale[i] : 1) * a * w->m[i] / (sqrt(b * w->v[i]) + EPSILON);
      average[i] += share * (x[i] - average[i]);
    }
  });
}

/* Averages of values: over groups, then windows of groups. */
typedef struct {
  double group, mean, square;
  long in_group, in_window;
} Window;

/* Takes a value; true when a group is full (its average in *average). */
static bool group_full(Window *w, long group, double value, double *average)
{
  w->group += value;
  if (++w->in_group < group) return false;
  *average = w->group / (double)group;
  w->group = 0;
  w->in_group = 0;
  const double d = *average - w->mean; /* Welford */
  w->mean += d / (double)++w->in_window;
  w->square += d * (*average - w->mean);
  return true;
}

PgmAdamResult pgm_adam(const PgmAdamProblem *problem, const PgmAdamOptions *options, long n, double *x, double *average, double *work)
{
  PgmAdamResult result = {.stop = PGM_ADAM_MAX_ITER, .gradient_norm = NAN, .value = NAN, .error = NAN};
  const Memory w = lay_out(work, n, problem->touched != NULL);
  const long group = options->group > 0 ? options->group : 1;
  double step = options->step, best = -INFINITY, best_error = 0, best_ever = NAN,
         first = NAN; /* best_ever: the first value until a window is full */
  Window window = {0};
  long in_stage = 0, since_reset = 0, skipped = 0;
  int stage = 0, worse = 0;
  memcpy(average, x, (size_t)n * sizeof *x);
  memcpy(w.safe, x, (size_t)n * sizeof *x);
  for (long t = 1; t <= options->max_iter; t++) {
    if (!window.in_window && !window.in_group) memcpy(w.start, x, (size_t)n * sizeof *x);
    double value = problem->value(problem->data, x, w.g, t), mean = value, norm2 = 0;
    const PgmRange all = {0, n}, *range = &all;
    long ranges = 1;
    if (problem->touched) range = problem->touched(problem->data, &ranges);
    for (long k = 0; k < ranges; k++) {
#pragma omp simd reduction(+ : norm2)
      for (long i = range[k].begin; i < range[k].end; i++) norm2 += w.g[i] * w.g[i];
    }
    result.iterations = t;
    result.gradient_norm = sqrt(norm2);
    bool lost = !isfinite(value) || !isfinite(norm2), full = false;
    if (!lost) {
      if (isnan(first)) first = best_ever = value;
      skipped = 0;
      in_stage++;
      since_reset++;
      for (long k = 0; k < ranges; k++) update(&w, range[k], step, options->scale, since_reset, in_stage, x, average, options->threads);
      full = group_full(&window, group, value, &mean);
      lost = full && mean < fmin(best_ever, first) - fabs(best_ever - first) - fabs(first);
    }
    if (problem->accepted && !problem->accepted(problem->data, t, x, value, result.gradient_norm)) {
      result.stop = PGM_ADAM_STOPPED;
      return result;
    }
    if (lost) {
      if (++skipped > MOST_SKIPPED) {
        result.stop = PGM_ADAM_NAN;
        return result;
      }
      memcpy(x, w.safe, (size_t)n * sizeof *x);
      memcpy(average, x, (size_t)n * sizeof *x);
      memset(w.m, 0, (size_t)(2 * n) * sizeof *w.m);
      if (w.visits) memset(w.visits, 0, (size_t)(2 * n) * sizeof *w.visits);
      step *= SHRINK;
      in_stage = since_reset = 0;
      window = (Window){0};
      continue;
    }
    if (!full) continue;
    if (window.in_window < options->window) continue;
    if (window.mean > best_ever) {
      best_ever = window.mean;
      memcpy(w.safe, w.start, (size_t)n * sizeof *x);
    }
    const double error = sqrt(window.square / (double)(window.in_window - 1) / (double)window.in_window);
    result.value = window.mean;
    result.error = error;
    worse++;
    if (window.mean > best + 2 * hypot(error, best_error) + options->gain) {
      best = window.mean;
      best_error = error;
      worse = 0;
    }
    window = (Window){0};
    if (worse < PATIENCE) continue;
    worse = 0;
    if (++stage == options->stages) {
      result.stop = PGM_ADAM_CONVERGED;
      return result;
    }
    step *= SHRINK;
    best = -INFINITY;
    in_stage = 0;
    if (w.averaged) memset(w.averaged, 0, (size_t)n * sizeof *w.averaged);
  }
  return result;
}
