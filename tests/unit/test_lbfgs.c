/* The optimisers on functions with known minima; Pareto smoothing on distributions with known tails. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adam.h"
#include "khat.h"
#include "lbfgs.h"
#include "philox.h"

static void unit_metric(void *data, const double *x, double *h)
{
  (void)x;
  for (long i = 0; i < *(long *)data; i++) h[i] = 0;
}

static PgmLbfgsResult minimise(double (*value)(void *, const double *, double *), void (*metric)(void *, const double *, double *), long n,
                               double *x, double tol)
{
  double *work = malloc(pgm_lbfgs_size(n, 0) * sizeof *work);
  const PgmLbfgsProblem problem = {.value = value, .metric = metric, .data = &n};
  const PgmLbfgsOptions options = {.max_iter = 5000, .tol = tol};
  PgmLbfgsResult r = pgm_lbfgs(&problem, &options, n, x, work);
  free(work);
  return r;
}

static double rosenbrock(void *data, const double *x, double *g)
{
  const long n = *(long *)data;
  double f = 0;
  for (long i = 0; i < n; i++) g[i] = 0;
  for (long i = 0; i + 1 < n; i++) {
    const double a = 1 - x[i], b = x[i + 1] - x[i] * x[i];
    f += a * a + 100 * b * b;
    g[i] += -2 * a - 400 * b * x[i];
    g[i + 1] += 200 * b;
  }
  return f;
}

/* x' A x / 2 - sum i x_i with A = I + 1e6 u u', u of length 1, so A^-1 = I - 1e6 / (1 + 1e6) u u' (Sherman & Morrison). */
enum { CLOSE = 30 };
static double direction_of(long i) { return (i % 3 ? 1 : -2) / sqrt(2.0 * CLOSE); }

static double along(const double *v)
{
  double dot = 0;
  for (long i = 0; i < CLOSE; i++) dot += direction_of(i) * v[i];
  return dot;
}

static double narrow(void *data, const double *x, double *g)
{
  (void)data;
  const double dot = along(x);
  double f = 0.5e6 * dot * dot;
  for (long i = 0; i < CLOSE; i++) {
    f += 0.5 * x[i] * x[i] - x[i] * (double)i;
    g[i] = x[i] + 1e6 * dot * direction_of(i) - (double)i;
  }
  return f;
}

static void narrow_inverse(void *data, double *v)
{
  (void)data;
  const double dot = along(v);
  for (long i = 0; i < CLOSE; i++) v[i] -= 1e6 / (1 + 1e6) * dot * direction_of(i);
}

static void identity_metric(void *data, const double *x, double *h)
{
  (void)data, (void)x;
  for (long i = 0; i < CLOSE; i++) h[i] = 1;
}

/* With the inverse Hessian as its metric the first step is Newton's. */
static void metric_that_is_no_diagonal(void **state)
{
  (void)state;
  double x[CLOSE] = {0}, g[CLOSE], *work = malloc(pgm_lbfgs_size(CLOSE, 0) * sizeof *work);
  const PgmLbfgsProblem problem = {.value = narrow, .metric = identity_metric, .apply = narrow_inverse};
  const PgmLbfgsResult r = pgm_lbfgs(&problem, &(PgmLbfgsOptions){.max_iter = 50, .tol = 1e-6}, CLOSE, x, work);
  assert_int_equal(r.stop, PGM_LBFGS_GRADIENT);
  assert_true(r.iterations <= 2);
  narrow(NULL, x, g);
  for (long i = 0; i < CLOSE; i++) assert_true(fabs(g[i]) < 1e-6);
  free(work);
}

static void rosenbrock_valley(void **state)
{
  (void)state;
  double x[10] = {-1.2, 1, -1.2, 1, -1.2, 1, -1.2, 1, -1.2, 1};
  PgmLbfgsResult r = minimise(rosenbrock, unit_metric, 2, x, 1e-9);
  assert_int_equal(r.stop, PGM_LBFGS_GRADIENT);
  assert_true(fabs(x[0] - 1) < 1e-7 && fabs(x[1] - 1) < 1e-7);
  assert_true(r.evaluations < 80);
  for (int i = 0; i < 10; i++) x[i] = i % 2 ? 1 : -1.2;
  r = minimise(rosenbrock, unit_metric, 10, x, 1e-9);
  assert_true(r.value < 5); /* the chain has a second stationary point, near 3.99 */
}

/* A quadratic whose curvatures span twelve powers of ten, with the right metric and with none. */
static double steep(void *data, const double *x, double *g)
{
  const long n = *(long *)data;
  double f = 0;
  for (long i = 0; i < n; i++) {
    const double c = pow(10, 12. * (double)i / (double)(n - 1)), d = x[i] - 1;
    f += 0.5 * c * d * d;
    g[i] = c * d;
  }
  return f;
}
static void steep_metric(void *data, const double *x, double *h)
{
  const long n = *(long *)data;
  (void)x;
  for (long i = 0; i < n; i++) h[i] = pow(10, -12. * (double)i / (double)(n - 1));
}

static void metric_makes_scales_harmless(void **state)
{
  (void)state;
  double x[50] = {0};
  PgmLbfgsResult r = minimise(steep, steep_metric, 50, x, 1e-8);
  assert_int_equal(r.stop, PGM_LBFGS_GRADIENT);
  assert_true(r.evaluations <= 3);
  for (int i = 0; i < 50; i++) assert_true(fabs(x[i] - 1) < 1e-7);
}

/* exp(x) - x behind a wall of NaN: steps into it must come back. */
static double walled(void *data, const double *x, double *g)
{
  (void)data;
  g[0] = exp(x[0]) - 1;
  return x[0] > 1 ? NAN : exp(x[0]) - x[0];
}
static void far_metric(void *data, const double *x, double *h)
{
  (void)data, (void)x;
  h[0] = 50; /* far too long a first step */
}

static void comes_back_from_nan(void **state)
{
  (void)state;
  double x = -3;
  PgmLbfgsResult r = minimise(walled, far_metric, 1, &x, 1e-8);
  assert_int_equal(r.stop, PGM_LBFGS_GRADIENT);
  assert_true(fabs(x) < 1e-7);
  x = 2;
  r = minimise(walled, far_metric, 1, &x, 1e-8);
  assert_int_equal(r.stop, PGM_LBFGS_NAN);
}

/* A large constant hides the differences of the value; slopes must carry the search to the end. */
static double drowned(void *data, const double *x, double *g)
{
  const long n = *(long *)data;
  double f = 1e9;
  for (long i = 0; i < n; i++) {
    f += cosh(x[i] - (double)i / (double)n) - 1;
    g[i] = sinh(x[i] - (double)i / (double)n);
  }
  return f;
}
static void ones(void *data, const double *x, double *h)
{
  (void)x;
  for (long i = 0; i < *(long *)data; i++) h[i] = 1;
}

static void rounding_does_not_stop_it(void **state)
{
  (void)state;
  double x[20];
  for (int i = 0; i < 20; i++) x[i] = 2 - 0.3 * i;
  PgmLbfgsResult r = minimise(drowned, ones, 20, x, 1e-8);
  assert_int_equal(r.stop, PGM_LBFGS_GRADIENT);
  for (int i = 0; i < 20; i++) assert_true(fabs(x[i] - i / 20.) < 1e-7);
}

static double downhill(void *data, const double *x, double *g)
{
  (void)data;
  g[0] = -exp(-x[0]);
  return exp(-x[0]);
}

static void gain_window_stops_it(void **state)
{
  (void)state;
  double x = 0, work[200];
  long n = 1;
  const PgmLbfgsProblem problem = {.value = downhill, .metric = ones, .data = &n};
  const PgmLbfgsOptions options = {.max_iter = 5000, .tol = 0, .gain = 1e-6, .window = 5};
  PgmLbfgsResult r = pgm_lbfgs(&problem, &options, 1, &x, work);
  assert_int_equal(r.stop, PGM_LBFGS_GAIN);
  assert_true(r.gained <= 1e-6);
  /* the value falls to 0, which is 1 above the bound: gains of less than a thousandth of that are hopeless */
  x = 0;
  r = pgm_lbfgs(&problem, &(PgmLbfgsOptions){.max_iter = 5000, .tol = 0, .window = 5, .bound = -1, .part = 1e-3}, 1, &x, work);
  assert_int_equal(r.stop, PGM_LBFGS_GAIN);
  assert_true(r.gained <= 1e-3 * (r.value + 1) && r.enough >= 1e-3 && r.value > 1e-7 && r.value < 1e-2);
}

/* 1e9 at the start, 1 at the optimum, which a hundred short steps reach: what is little of the first value is much of the last. */
static double parabola(void *data, const double *x, double *g)
{
  (void)data;
  g[0] = x[0];
  return 1 + 0.5 * x[0] * x[0];
}
static double short_steps(void *data, const double *x, const double *g, double *d)
{
  (void)data, (void)x, (void)g;
  return 500 / fabs(d[0]);
}

static void gains_are_judged_by_the_value_of_now(void **state)
{
  (void)state;
  double x = 44721, work[200];
  long n = 1;
  const PgmLbfgsProblem problem = {.value = parabola, .metric = ones, .limit = short_steps, .data = &n};
  PgmLbfgsOptions options = {.max_iter = 5000, .tol = 1e-9, .relative = 1e-2, .window = 3};
  PgmLbfgsResult r = pgm_lbfgs(&problem, &options, 1, &x, work); /* a hundredth of the first value would do at 1e5 */
  assert_true(r.value < 1.01 && r.stop != PGM_LBFGS_MAX_ITER);
  /* at the start three steps gain 7 % of the value: enough for a window that asks for a tenth, if what a step promises does not count */
  x = 44721;
  options.relative = 0.1;
  r = pgm_lbfgs(&problem, &options, 1, &x, work);
  assert_true(r.stop == PGM_LBFGS_GAIN && r.value > 1e6);
  x = 44721;
  options.promise = 1e-3;
  r = pgm_lbfgs(&problem, &options, 1, &x, work);
  assert_true(r.value < 3 && r.stop != PGM_LBFGS_MAX_ITER);
}

/* sum of i (x - 1)^2 / 2 with a gradient that draws make wrong by about 1 per coordinate. */
static double off(void *data, const double *x, double *g)
{
  double f = 0;
  for (long i = 0; i < *(long *)data; i++) {
    g[i] = (double)(i + 1) * (x[i] - 1);
    f += 0.5 * (double)(i + 1) * (x[i] - 1) * (x[i] - 1);
  }
  return f;
}

static double wrong_by_one(void *data, const double *x, const double *g, const double *h)
{
  double square = 0;
  (void)x, (void)g;
  for (long i = 0; i < *(long *)data; i++) square += h[i];
  return sqrt(square);
}

static void sampling_error_stops_it(void **state)
{
  (void)state;
  long n = 100;
  double *x = calloc((size_t)n, sizeof *x), *work = malloc(pgm_lbfgs_size(n, 0) * sizeof *work), square = 0;
  const PgmLbfgsProblem problem = {.value = off, .metric = ones, .error = wrong_by_one, .data = &n};
  const PgmLbfgsOptions options = {.max_iter = 5000, .tol = 1e-12, .gain = 0, .window = 3, .share = 0.05};
  const PgmLbfgsResult r = pgm_lbfgs(&problem, &options, n, x, work);
  assert_int_equal(r.stop, PGM_LBFGS_ERROR);
  assert_true(fabs(r.error - 10) < 1e-12); /* sqrt(100) */
  for (long i = 0; i < n; i++) square += (double)((i + 1) * (i + 1)) * (x[i] - 1) * (x[i] - 1);
  assert_true(fabs(sqrt(square) - r.gradient_norm) < 1e-9 && r.gradient_norm <= 0.5 && r.gained <= 0.125);
  free(x);
  free(work);
}

static void dot_has_the_same_bits(void **state)
{
  (void)state;
  enum { N = 300001 };
  double *a = malloc(N * sizeof *a);
  pgm_philox_normals((PgmKey){1, 1, 1}, 0, N, a);
  double one = pgm_dot(N, a, a, 1), two = pgm_dot(N, a, a, 2);
  assert_memory_equal(&one, &two, sizeof one);
  free(a);
}

/* ---- Adam ---------------------------------------------------------------------------------------------------------------------------- */

/* -|x - target|^2 / 2 with noise in value and gradient */
static double noisy(void *data, const double *x, double *g, long iteration)
{
  (void)data;
  double e[9], f = 0;
  pgm_philox_normals((PgmKey){3, (uint64_t)iteration, 0}, 0, 9, e);
  for (int i = 0; i < 8; i++) {
    const double d = x[i] - (i - 4);
    f -= 0.5 * d * d;
    g[i] = -d + e[i];
  }
  return f + e[8];
}

static void adam_averages_noise_away(void **state)
{
  (void)state;
  double x[8] = {0}, average[8], *work = malloc(pgm_adam_size(8, false) * sizeof *work);
  const PgmAdamProblem problem = {.value = noisy};
  const PgmAdamOptions options = {.step = 0.05, .max_iter = 100000, .window = 100, .stages = 4, .threads = 1};
  PgmAdamResult r = pgm_adam(&problem, &options, 8, x, average, work);
  assert_int_equal(r.stop, PGM_ADAM_CONVERGED);
  for (int i = 0; i < 8; i++) assert_true(fabs(average[i] - (i - 4)) < 0.25);
  free(work);
}

/* A cliff: past x = 3 the value falls by a million; steps that fall come back and get shorter. */
static double cliff(void *data, const double *x, double *g, long iteration)
{
  (void)data, (void)iteration;
  g[0] = x[0] > 3 ? 1e6 : 2.9 - x[0];
  return x[0] > 3 ? -1e6 : -0.5 * (x[0] - 2.9) * (x[0] - 2.9);
}

static void adam_comes_back_from_a_fall(void **state)
{
  (void)state;
  double x = 0, average, *work = malloc(pgm_adam_size(1, false) * sizeof *work);
  const PgmAdamProblem problem = {.value = cliff};
  const PgmAdamOptions options = {.step = 1, .max_iter = 100000, .window = 20, .gain = 1e-4, .stages = 4, .threads = 1};
  PgmAdamResult r = pgm_adam(&problem, &options, 1, &x, &average, work);
  assert_int_equal(r.stop, PGM_ADAM_CONVERGED);
  assert_true(fabs(average - 2.9) < 0.05);
  free(work);
}

static const PgmRange *one_by_one(void *data, long *n)
{
  PgmRange *r = data;
  *n = 1;
  r->begin = (r->begin + 1) % 8;
  r->end = r->begin + 1;
  return r;
}

static void adam_counts_visits(void **state)
{
  (void)state;
  double x[8] = {0}, average[8], *work = malloc(pgm_adam_size(8, true) * sizeof *work);
  PgmRange range = {0, 0};
  const PgmAdamProblem problem = {.value = noisy, .touched = one_by_one, .data = &range};
  const PgmAdamOptions options = {.step = 0.1, .max_iter = 8, .window = 100, .stages = 2, .threads = 1};
  pgm_adam(&problem, &options, 8, x, average, work);
  for (int i = 0; i < 8; i++) assert_true(fabs(fabs(x[i]) - 0.1) < 1e-6); /* each was visited once: one whole step */
  free(work);
}

/* ---- Pareto smoothing ---------------------------------------------------------------------------------------------------------------- */

static void pareto_shapes(void **state)
{
  (void)state;
  enum { N = 20000 };
  double *x = malloc(N * sizeof *x), sigma;
  for (double k = -0.4; k < 1.2; k += 0.4) { /* exact quantiles of the generalised Pareto distribution */
    for (long i = 0; i < N; i++) {
      const double p = ((double)i + 0.5) / N;
      x[i] = fabs(k) < 1e-9 ? -2 * log1p(-p) : 2 * expm1(-k * log1p(-p)) / k;
    }
    assert_true(fabs(pgm_pareto_fit(N, x, &sigma) - k) < 0.03);
    assert_true(fabs(sigma - 2) < 0.1);
  }
  free(x);
}

static void khat_of_gaussians(void **state)
{
  (void)state;
  enum { N = 20000 };
  double *r = malloc(N * sizeof *r), log_mean;
  /* p = N(0, 1), q = N(0, s^2): log ratio = log s - z^2 (1 - 1/s^2) s^2 / 2 with x = s z; the tail's shape is 1 - s^2 for s < 1, the
   * evidence 1 */
  for (int wide = 0; wide < 2; wide++) {
    const double s = wide ? 1.2 : 0.6;
    pgm_philox_normals((PgmKey){9, 0, (uint64_t)wide}, 0, N, r);
    for (long i = 0; i < N; i++) r[i] = log(s) + 0.5 * r[i] * r[i] * (1 - s * s);
    double k = pgm_psis(N, r, &log_mean);
    if (wide)
      assert_true(k < 0.1);
    else
      assert_true(k > 0.4 && k < 0.8); /* 0.64 */
    assert_true(fabs(log_mean) < (wide ? 0.01 : 0.1));
  }
  for (long i = 0; i < N; i++) r[i] = -3;
  assert_true(pgm_psis(N, r, &log_mean) == -INFINITY && fabs(log_mean + 3) < 1e-12);
  r[5] = NAN;
  assert_true(isnan(pgm_psis(N, r, &log_mean)));
  free(r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(rosenbrock_valley), cmocka_unit_test(metric_that_is_no_diagonal),
                                     cmocka_unit_test(metric_makes_scales_harmless),
                                     cmocka_unit_test(comes_back_from_nan),
                                     cmocka_unit_test(rounding_does_not_stop_it),
                                     cmocka_unit_test(gain_window_stops_it), cmocka_unit_test(gains_are_judged_by_the_value_of_now),
                                     cmocka_unit_test(sampling_error_stops_it),
                                     cmocka_unit_test(dot_has_the_same_bits),
                                     cmocka_unit_test(adam_averages_noise_away),
                                     cmocka_unit_test(adam_counts_visits),
                                     cmocka_unit_test(adam_comes_back_from_a_fall),
                                     cmocka_unit_test(pareto_shapes),
                                     cmocka_unit_test(khat_of_gaussians)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
