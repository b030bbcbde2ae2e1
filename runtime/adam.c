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

/* What a step does to coordinate i: its moments, the iterate, the average. `step`: its step length, `a` and `b`: the corrections of the moments' biases, `share`:
 * the iterate's in the average. */
#define ADVANCE(i, step, a, b, share)                           \
  do {                                                          \
    m[i] = BETA1 * m[i] + (1 - BETA1) * g[i];                   \
    v[i] = BETA2 * v[i] + (1 - BETA2) * g[i] * g[i];            \
    x[i] += (step) * (a) * m[i] / (sqrt((b) * v[i]) + EPSILON); \
    average[i] += (share) * (x[i] - average[i]);                \
  } while (0)

typedef struct {
  double step, a, b, share; /* as ADVANCE's, of all coordinates */
  const double *scale;      /* factors of the step, by coordinate; NULL: 1 */
} Advance;

/* Coordinates [begin, end), which all move in every iteration. One function, whoever calls it, so that its bits are the same. */
static __attribute__((noinline)) void advance_all(const Memory *w, const Advance *s, long begin, long end, double *restrict x, double *restrict average)
{
  const double *restrict g = w->g, *restrict scale = s->scale;
  double *restrict m = w->m, *restrict v = w->v;
  const double step = s->step, a = s->a, b = s->b, share = s->share;
  if (!scale) {
#pragma omp simd
    for (long i = begin; i < end; i++) ADVANCE(i, step, a, b, share);
    return;
  }
#pragma omp simd
  for (long i = begin; i < end; i++) ADVANCE(i, step * scale[i], a, b, share);
}

/* The same of coordinates that count their own visits. */
static __attribute__((noinline)) void advance_visited(const Memory *w, const Advance *s, long begin, long end, double *restrict x, double *restrict average)
{
  const double *restrict g = w->g, *restrict table1 = w->table1, *restrict table2 = w->table2;
  double *restrict m = w->m, *restrict v = w->v;
  uint32_t *restrict visits = w->visits, *restrict averaged = w->averaged;
#pragma omp simd
  for (long i = begin; i < end; i++) {
    const uint32_t n = ++visits[i];
    const double a = n < TABLE ? table1[n] : 1, b = n < TABLE ? table2[n] : 1, share = 1.0 / ++averaged[i];
    ADVANCE(i, s->step * (s->scale ? s->scale[i] : 1), a, b, share);
  }
}

/* One step of the coordinates [r.begin, r.end); t: iterations since the moments began, k: since the average began. */
static void update(const Memory *w, PgmRange r, double step, const double *scale, long t, long k, double *x, double *average, int threads)
{
  const Advance how = {step, 1 / (1 - pow(BETA1, (double)t)), 1 / (1 - pow(BETA2, (double)t)), 1.0 / (double)k, scale};
  PGM_PIECES(r.end - r.begin, threads, from, to, {
    if (w->visits)
      advance_visited(w, &how, r.begin + from, r.begin + to, x, average);
    else
      advance_all(w, &how, r.begin + from, r.begin + to, x, average);
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
