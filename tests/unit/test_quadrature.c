/* Adaptive quadrature of many functions side by side, against closed forms and fine sums. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>

#include "quadrature.h"

static PgmError error;

#define near(a, b, tolerance) near_at(a, b, tolerance, __LINE__)
static void near_at(double a, double b, double tolerance, int line)
{
  if (!(fabs(a - b) <= tolerance)) fail_msg("line %d: %.12g is not %.12g within %g", line, a, b, tolerance);
}

static double log_normal(double x, double mean, double sd)
{
  return -0.5 * pow((x - mean) / sd, 2) - log(sd) - 0.91893853320467274178;
}

static double log_cauchy(double x, double scale)
{
  return -log(M_PI * scale * (1 + pow(x / scale, 2)));
}

static double two_squares(double u, double x)
{
  return log_normal(u, 0, 3) + log_normal(x, u * u, 0.5);
}

/* ---- one function each, of which the integral is known -------------------------------------------------------------------------------- */

enum { KNOWN = 8 };
static const double wanted[KNOWN] = {0, 0, 0, -8.70708740385312, 1.0986122886681098, -1.0986122886681098, 4.599479878042022, -INFINITY};

static double known(long i, double u)
{
  switch (i) {
  case 0: return log_normal(u, 0, 1);
  case 1: return log_cauchy(u, 1);
  case 2: return 2 * u - exp(u);                             /* Gamma(2), of the logarithm */
  case 3: return log_cauchy(u, 1) + log_cauchy(50 - u, 0.3); /* a Cauchy density of scale 1.3 at 50 */
  case 4: return u < 0.5 ? log_normal(u, 0.5, 1) + log(5) : log_normal(u, 0.5, 1); /* log 3: it jumps by a factor of five */
  case 5: return -3 * fabs(u) + log(0.5);                    /* log 1/3: a corner */
  case 6: return 0.01 * u - exp(u);                          /* log Gamma(0.01): a tail of hundreds of units */
  default: return u > 0 ? NAN : -INFINITY;
  }
}

static void evaluate_known(void *data, long n, const long *which, const double *u, double *out)
{
  (void)data;
  for (long k = 0; k < n; k++) out[k] = known(which[k], u[k]);
}

static void known_integrals(void **state)
{
  (void)state;
  static const double centres[] = {0.05, 0.6, -0.4}, widths[] = {0.04, 0.7, 30};
  PgmQuadrature *q;
  assert_int_equal(pgm_quadrature_open(&q, KNOWN, 300, &error), PGM_OK);
  for (int c = 0; c < 3; c++)
    for (int w = 0; w < 3; w++) {
      double centre[KNOWN], width[KNOWN], value[KNOWN], wrong[KNOWN];
      for (int i = 0; i < KNOWN; i++) {
        centre[i] = centres[c];
        width[i] = widths[w];
      }
      pgm_quadrature_run(q, KNOWN, centre, width, 1e-9, evaluate_known, NULL, NULL, value, wrong);
      for (int i = 0; i + 1 < KNOWN; i++) {
        near(value[i], wanted[i], i == 4 ? 1e-5 : 1e-8); /* where it jumps, nodes may lie so that both rules agree */
        assert_true(wrong[i] < 2e-9);
      }
      assert_true(value[KNOWN - 1] == -INFINITY);
    }
  pgm_quadrature_close(q);
}

/* ---- two modes, the second of which is where nothing points to -------------------------------------------------------------------------- */

typedef struct { double *x; long calls; } Squares;

static void evaluate_squares(void *data, long n, const long *which, const double *u, double *out)
{
  Squares *s = data;
  s->calls += n;
  for (long k = 0; k < n; k++) out[k] = two_squares(u[k], s->x[which[k]]);
}

static double sum_of_squares(double x)
{
  const double h = 1e-3;
  double sum = 0.5 * exp(two_squares(0, x));
  for (int k = 1; k < 24000; k++) sum += exp(two_squares(k * h, x));
  return log(2 * h * sum);
}

/* Wherever the centre is, and however narrow the width. */
static void far_modes_are_found(void **state)
{
  (void)state;
  enum { N = 100 };
  double x[N], wanted_value[N], centre[N], width[N], value[N], wrong[N];
  Squares s = {.x = x};
  PgmQuadrature *q;
  assert_int_equal(pgm_quadrature_open(&q, N, 300, &error), PGM_OK);
  for (int i = 0; i < N; i++) {
    x[i] = -1 + 0.41 * i;
    wanted_value[i] = sum_of_squares(x[i]);
  }
  for (double w = 0.02; w < 2; w *= 1.7)
    for (double c = 0; c < 7; c += 0.61) {
      for (int i = 0; i < N; i++) {
        centre[i] = c;
        width[i] = w;
      }
      pgm_quadrature_run(q, N, centre, width, 1e-6, evaluate_squares, &s, NULL, value, wrong);
      for (int i = 0; i < N; i++) near(value[i], wanted_value[i], 1e-6);
    }
  pgm_quadrature_close(q);
}

/* Functions that differ a little are begun with the panels of the first ones; where the mass is elsewhere, this is seen. */
static void neighbours_are_begun_where_the_mass_is(void **state)
{
  (void)state;
  enum { N = 50 };
  double x[N], centre[N], width[N], value[N], wrong[N];
  PgmQuadratureStart start[N];
  Squares s = {.x = x};
  PgmQuadrature *q;
  long calls[3] = {0};
  assert_int_equal(pgm_quadrature_open(&q, N, 120, &error), PGM_OK);
  for (int i = 0; i < N; i++) {
    start[i].n = 0;
    centre[i] = sqrt(0.7 * i);
    width[i] = 0.1;
  }
  static const double shifts[] = {0, 0.2, 6}; /* 6: twelve sds */
  for (int k = 0; k < 3; k++) {
    s.calls = 0;
    for (int i = 0; i < N; i++) x[i] = 0.7 * i + shifts[k];
    pgm_quadrature_run(q, N, centre, width, 1e-7, evaluate_squares, &s, start, value, wrong);
    for (int i = 0; i < N; i++) near(value[i], sum_of_squares(x[i]), 1e-6);
    calls[k] = s.calls;
  }
  assert_true(calls[1] < 0.75 * (double)calls[0]);
  pgm_quadrature_close(q);
}

/* A hundred modes and too few panels for them: the error says so. */
static void evaluate_waves(void *data, long n, const long *which, const double *u, double *out)
{
  (void)data;
  (void)which;
  for (long k = 0; k < n; k++) out[k] = log_normal(u[k], 0, 1) + log_normal(0.3, sin(20 * u[k]), 0.1);
}

static void too_few_panels_show_as_an_error(void **state)
{
  (void)state;
  static const int panels[] = {20, 2000};
  const double centre = 0, width = 1;
  for (int k = 0; k < 2; k++) {
    double value, wrong;
    PgmQuadrature *q;
    assert_int_equal(pgm_quadrature_open(&q, 1, panels[k], &error), PGM_OK);
    pgm_quadrature_run(q, 1, &centre, &width, 1e-10, evaluate_waves, NULL, NULL, &value, &wrong);
    if (k)
      assert_true(wrong < 1e-7);
    else
      assert_true(wrong > 1e-2);
    pgm_quadrature_close(q);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(known_integrals),
    cmocka_unit_test(far_modes_are_found),
    cmocka_unit_test(neighbours_are_begun_where_the_mass_is),
    cmocka_unit_test(too_few_panels_show_as_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
