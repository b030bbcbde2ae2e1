/* Integrals of many functions of a few variables side by side, against closed forms and fine sums: smooth ones, ridges, several modes, heavy tails, corners, bounds,
 * funnels and bananas; then those of functions nearby, from what is known of the first ones. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "cubature.h"

static PgmError error;

#define near(a, b, tolerance, ...) near_at(a, b, tolerance, __LINE__, __VA_ARGS__)
static void near_at(double a, double b, double tolerance, int line, const char *what, double shift)
{
  if (!(fabs(a - b) <= tolerance)) fail_msg("line %d: %s at %g: %.12g is not %.12g within %g", line, what, shift, a, b, tolerance);
}

static double log_normal(double x, double mean, double sd)
{
  return -0.5 * pow((x - mean) / sd, 2) - log(sd) - 0.91893853320467274178;
}

static double log_cauchy(double x, double scale)
{
  return -log(M_PI * scale * (1 + pow(x / scale, 2)));
}

/* Normal with sds 1 and 0.7 and correlation r. */
static double log_pair(double a, double b, double r)
{
  return log_normal(a, 0, 1) + log_normal(b, 0.7 * r * a, 0.7 * sqrt(1 - r * r));
}

static double log_add(double a, double b)
{
  return fmax(a, b) + log1p(exp(-fabs(a - b)));
}

static double log_logistic(double x)
{
  return -fabs(x) - 2 * log1p(exp(-fabs(x)));
}

/* ---- of two variables ------------------------------------------------------------------------------------------------------------------ */

/* A product that is seen with an error: a ridge along either branch of a hyperbola. */
static double hyperbola(double a, double b, double x)
{
  return log_normal(a, 0, 2) + log_normal(b, 0, 2) + log_normal(x, a * b, 0.2);
}

static double hyperbola_sum(double x)
{
  const double h = 1e-4;
  double sum = 0;
  for (double a = -16 + 0.5 * h; a < 16; a += h) sum += h * exp(log_normal(a, 0, 2) + log_normal(x, 0, sqrt(4 * a * a + 0.04)));
  return log(sum);
}

/* A Poisson count of two effects, one of them with a weight. */
static double counted(double a, double b, double count, double weight)
{
  const double eta = a + weight * b;
  return log_normal(a, 0.3, 1) + log_normal(b, 0, 0.7) + count * eta - exp(eta) - lgamma(count + 1);
}

static double counted_sum(double count, double weight)
{
  const double h = 1e-3, sd = sqrt(1 + 0.49 * weight * weight);
  double sum = 0;
  for (double eta = -10; eta < 10; eta += h) sum += h * exp(log_normal(eta, 0.3, sd) + count * eta - exp(eta) - lgamma(count + 1));
  return log(sum);
}

enum { FUNCTIONS = 12 };
static const struct {
  const char *name;
  double tolerance; /* of value, and of the error that is told: ten times that of the integral where nothing is smooth */
  bool lattice;     /* does one suffice? */
} two[FUNCTIONS] = {{"independent", 1e-6, true},  {"ridge", 1e-6, true},        {"modes apart", 1e-6, false}, {"modes that overlap", 1e-6, true},
                    {"Cauchy", 1e-6, false},      {"corners", 1e-6, false},     {"funnel", 1e-6, false},           {"banana", 1e-6, false},
                    {"hyperbola", 1e-6, false},   {"bounded", 1e-6, true},      {"counts", 1e-6, true},            {"logistic", 1e-6, true}};

static double log_two(int i, double shift, double a, double b)
{
  const double s = shift;
  switch (i) {
  case 0: return log_normal(a, 3 + s, 2) + log_normal(b, -1 - s, 0.3);
  case 1: return log_pair(a - s, b + s, 0.995);
  case 2: return log_add(log(0.7) + log_pair(a - s, b, 0.8), log(0.3) + log_pair((a + 6) / 0.2, (b - 5 - s) / 0.2, -0.5) - log(0.04));
  case 3: return log_add(log(0.6) + log_pair(a - s, b, 0.5), log(0.4) + log_pair(a - 3, b - 1 - s, -0.5));
  case 4: return log_cauchy(a - s, 1) + log_cauchy(b - a, 0.3);
  case 5: return -fabs(a - s) - 3 * fabs(b - 0.3 * a) + log(0.75);
  case 6: return log_normal(a, s, 1.5) + log_normal(b, 0, exp(a));               /* an sd and a mean */
  case 7: return log_normal(a, 0, 1) + log_normal(b, 2 * (a + s) * (a + s), 0.3);
  case 8: return hyperbola(a, b, 1.5 + s);
  case 9: return 2 * a - 5 * log1p(exp(a)) - lgamma(2) - lgamma(3) + lgamma(5) + log_logistic(b - s); /* Beta(2, 3), of the logit; uniform(0, 1) */
  case 10: return counted(a, b, 2, 0.8 + s);
  default: return log_logistic(a) + log_logistic(b - a - s);
  }
}

static double log_two_sum(int i, double shift)
{
  return i == 8 ? hyperbola_sum(1.5 + shift) : i == 10 ? counted_sum(2, 0.8 + shift) : 0;
}

typedef struct {
  double shift;
  long calls[FUNCTIONS];
  double (*log_f)(int i, double shift, const double *u);
  int d;
} Asked;

static double two_at(int i, double shift, const double *u)
{
  return log_two(i, shift, u[0], u[1]);
}

static void evaluate(void *data, long n, const long *which, const double *u, double *out)
{
  Asked *a = data;
  for (long k = 0; k < n; k++) {
    a->calls[which[k]]++;
    out[k] = a->log_f((int)which[k], a->shift, u + k * a->d);
  }
}

static void of_two_variables(void **state)
{
  (void)state;
  static const double widths[] = {0.7, 0.1, 4}, shifts[] = {0, 0, 0.05, -0.1, 0.4};
  enum { SHIFTS = sizeof shifts / sizeof *shifts };
  PgmCubature *c;
  double centre[2 * FUNCTIONS], width[2 * FUNCTIONS], value[FUNCTIONS], wrong[FUNCTIONS];
  PgmCubatureStart start[FUNCTIONS];
  assert_int_equal(pgm_cubature_open(&c, 2, FUNCTIONS, 120, &error), PGM_OK);
  for (int w = 0; w < 3; w++) {
    memset(start, 0, sizeof start);
    for (int i = 0; i < 2 * FUNCTIONS; i++) {
      centre[i] = i % 2 ? 0.3 : -0.2;
      width[i] = widths[w];
    }
    for (int k = -1; k < SHIFTS; k++) { /* -1: looks */
      Asked asked = {.shift = shifts[k < 0 ? 0 : k], .log_f = two_at, .d = 2};
      pgm_cubature_run(c, FUNCTIONS, centre, width, 1e-7, k < 0 ? PGM_CUBATURE_LOOK : PGM_CUBATURE_NEAR, evaluate, &asked, start, value, wrong);
      for (int i = 0; i < FUNCTIONS; i++) {
        assert_int_equal(start[i].suffices, two[i].lattice);
        if (k < 0) assert_int_equal(isnan(value[i]), !two[i].lattice);
        assert_true(asked.calls[i] < (k < 0 ? 60000 : two[i].lattice ? 10000 : 1000000));
        if (k < 0) continue;
        near(value[i], log_two_sum(i, asked.shift), two[i].tolerance, two[i].name, asked.shift);
        near(wrong[i], 0, two[i].tolerance, two[i].name, asked.shift);
      }
    }
  }
  pgm_cubature_close(c);
}

/* ---- of three variables ---------------------------------------------------------------------------------------------------------------- */

static double three_at(int i, double shift, const double *u)
{
  switch (i) {
  case 0: return log_pair(u[0] - shift, u[1], 0.9) + log_normal(u[2], 2 * u[0] - u[1], 0.2);
  default: return log_pair(u[0], u[1], 0) - fabs(u[2] - u[0] + u[1]) + log(0.5) + log_normal(0.4 + shift, u[2], 0.5);
  }
}

/* A normal variable with the variance of a - b and of an error, less one with two exponential tails. */
static double corner_sum(double x)
{
  const double h = 1e-4;
  double sum = 0;
  for (double z = -30 + 0.5 * h; z < 30; z += h) sum += h * 0.5 * exp(-fabs(z) + log_normal(x, z, sqrt(1.74)));
  return log(sum);
}

/* A lattice alone takes the second one's corner for smooth: both of its halves are off by the same. */
static void of_three_variables(void **state)
{
  (void)state;
  double centre[6], width[6], value[2], wrong[2];
  PgmCubatureStart start[2] = {{.suffices = false}};
  PgmCubature *c;
  assert_int_equal(pgm_cubature_open(&c, 3, 2, 120, &error), PGM_OK);
  for (int i = 0; i < 6; i++) {
    centre[i] = 0.2;
    width[i] = 0.5;
  }
  for (int k = 0; k < 2; k++) {
    Asked asked = {.shift = 0.03 * k, .log_f = three_at, .d = 3};
    pgm_cubature_run(c, 2, centre, width, 1e-5, k ? PGM_CUBATURE_NEAR : PGM_CUBATURE_LOOK, evaluate, &asked, start, value, wrong);
    assert_true(start[0].suffices && !start[1].suffices);
    near(value[0], 0, 2e-5, "three", asked.shift);
    if (k) near(value[1], corner_sum(0.4 + asked.shift), 2e-5, "a corner", asked.shift);
  }
  pgm_cubature_close(c);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(of_two_variables), cmocka_unit_test(of_three_variables)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
