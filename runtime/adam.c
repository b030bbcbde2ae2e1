/* Adam: see adam.h. A stage ends when four windows in a row are not better than the last that was, by more than twice the standard error of
 * the difference; the last stage's end is convergence. Coordinates that a minibatch does not touch keep their moments, and count their own visits for the bias
 * correction. */
#include "adam.h"

#include <math.h>
#include <string.h>

enum { PATIENCE = 4 };
static const double BETA1 = 0.9, BETA2 = 0.999, EPSILON = 1e-8, SHRINK = 0.3;

size_t pgm_adam_size(long n, bool sparse) { return (size_t)n * (sparse ? 4 : 3) + 1; }

typedef struct { double *g, *m, *v; uint32_t *visits, *averaged; } Memory;

static void update(const Memory *w, PgmRange r, double step, long t, long k, double *x, double *average, int threads)
{
  const double c1 = 1 / (1 - pow(BETA1, (double)t)), c2 = 1 / (1 - pow(BETA2, (double)t));
  const bool sparse = w->visits != NULL;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && r.end - r.begin > 32768)
  for (long i = r.begin; i < r.end; i++) {
    w->m[i] = BETA1 * w->m[i] + (1 - BETA1) * w->g[i];
    w->v[i] = BETA2 * w->v[i] + (1 - BETA2) * w->g[i] * w->g[i];
    double a = c1, b = c2, share = 1.0 / (double)k;
    if (sparse) {
      w->visits[i]++;
      w->averaged[i]++;
      a = 1 / (1 - pow(BETA1, w->visits[i]));
      b = 1 / (1 - pow(BETA2, w->visits[i]));
      share = 1.0 / w->averaged[i];
    }
    x[i] += step * a * w->m[i] / (sqrt(b * w->v[i]) + EPSILON);
    average[i] += share * (x[i] - average[i]);
  }
}

PgmAdamResult pgm_adam(const PgmAdamProblem *problem, const PgmAdamOptions *options, long n, double *x, double *average, double *work)
{
  PgmAdamResult result = {.stop = PGM_ADAM_MAX_ITER, .gradient_norm = NAN, .value = NAN, .error = NAN};
  Memory w = {work, work + n, work + 2 * n, NULL, NULL};
  memset(work, 0, (size_t)(3 * n) * sizeof *work);
  if (problem->touched) {
    w.visits = (uint32_t *)(work + 3 * n);
    w.averaged = w.visits + n;
    memset(w.visits, 0, (size_t)(2 * n) * sizeof *w.visits);
  }
  double step = options->step, best = -INFINITY, best_error = 0;
  const long group = options->group > 0 ? options->group : 1;
  double sum = 0, square = 0, group_sum = 0;
  long in_group = 0, in_window = 0, in_stage = 0, skipped = 0;
  int stage = 0, worse = 0;
  memcpy(average, x, (size_t)n * sizeof *x);
  for (long t = 1; t <= options->max_iter; t++) {
    double value = problem->value(problem->data, x, w.g, t);
    const PgmRange all = {0, n}, *range = &all;
    long ranges = 1;
    if (problem->touched) range = problem->touched(problem->data, &ranges);
    double norm2 = 0;
    for (long k = 0; k < ranges; k++)
      for (long i = range[k].begin; i < range[k].end; i++) norm2 += w.g[i] * w.g[i];
    result.iterations = t;
    result.gradient_norm = sqrt(norm2);
    if (!isfinite(value) || !isfinite(norm2)) {
      if (++skipped > 20) {
        result.stop = PGM_ADAM_NAN;
        return result;
      }
      continue;
    }
    skipped = 0;
    in_stage++;
    for (long k = 0; k < ranges; k++) update(&w, range[k], step, t, in_stage, x, average, options->threads);
    if (problem->accepted && !problem->accepted(problem->data, t, x, value, result.gradient_norm)) {
      result.stop = PGM_ADAM_STOPPED;
      return result;
    }
    group_sum += value;
    if (++in_group < group) continue;
    in_window++;                       /* Welford */
    double d = group_sum / (double)group - sum;
    sum += d / (double)in_window;
    square += d * (group_sum / (double)group - sum);
    group_sum = 0;
    in_group = 0;
    if (in_window < options->window) continue;
    double error = sqrt(square / (double)(in_window - 1) / (double)in_window);
    result.value = sum;
    result.error = error;
    worse++;
    if (sum > best + 2 * hypot(error, best_error)) {
      best = sum;
      best_error = error;
      worse = 0;
    }
    in_window = 0;
    sum = square = 0;
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
