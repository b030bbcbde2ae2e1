/* test_transform.c - constraint transforms: round trips, Jacobians against numerical determinants, vector-Jacobian products against central
 * differences, expectations and moments against brute force. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "session.h"

#include <gsl/gsl_integration.h>
#include <gsl/gsl_linalg.h>
#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>

/* A session of one family, put together by hand. */
typedef struct {
  PgmModel model;
  PgmFamily family;
  PgmLayout layout;
  PgmEnvBase env;
  PgmSession s;
  double lower[8], upper[8], x[20], w[20];
} Fixture;

static void rule(double *x, double *w, int n)
{
  gsl_integration_fixed_workspace *g = gsl_integration_fixed_alloc(gsl_integration_fixed_hermite, (size_t)n, 0, 0.5, 0, 0);
  for (int i = 0; i < n; i++) x[i] = gsl_integration_fixed_nodes(g)[i], w[i] = gsl_integration_fixed_weights(g)[i] / sqrt(2 * M_PI);
  gsl_integration_fixed_free(g);
}

static void setup(Fixture *f, PgmTransform transform, long K, long elements, bool has_lower, bool has_upper, bool uniform)
{
  static const PgmType type[] = {
      PGM_REAL,       PGM_REAL,        PGM_REAL,         PGM_REAL, PGM_SIMPLEX, PGM_ORDERED, PGM_POSITIVE_ORDERED,
      PGM_COV_MATRIX, PGM_CORR_MATRIX, PGM_CHOLESKY_CORR};
  memset(f, 0, sizeof *f);
  rule(f->x, f->w, 20);
  f->env = (PgmEnvBase){20, f->x, f->w};
  f->family = (PgmFamily){.name = "v",
                          .role = PGM_GLOBAL,
                          .type = type[transform],
                          .transform = transform,
                          .has_lower = has_lower,
                          .has_upper = has_upper,
                          .uniform_bounds = uniform,
                          .rank = transform >= PGM_T_COV ? 2 : 1};
  f->model = (PgmModel){.n_families = 1, .families = &f->family};
  f->layout = (PgmLayout){.dim = {K, transform >= PGM_T_COV ? K : 1}, .elements = elements, .defined = elements};
  f->layout.width = f->layout.dim[0] * f->layout.dim[1];
  f->layout.uwidth = transform == PGM_T_SIMPLEX ? K - 1
                     : transform == PGM_T_COV   ? K * (K + 1) / 2
                     : transform >= PGM_T_CORR  ? K * (K - 1) / 2
                                                : K;
  for (int i = 0; i < 8; i++) f->lower[i] = -1.5 - i, f->upper[i] = 2 + 0.5 * i;
  if (has_lower) f->layout.lower = f->lower;
  if (has_upper) f->layout.upper = f->upper;
  f->s = (PgmSession){.model = &f->model, .layout = &f->layout, .env = &f->env, .threads = 2};
}

static void draw(gsl_rng *r, double *u, long n, double scale)
{
  for (long i = 0; i < n; i++) u[i] = gsl_ran_gaussian(r, scale);
}

/* The free entries of a value: as many as coordinates. */
static long free_entries(const Fixture *f, const double *x, double *out)
{
  const long K = f->layout.dim[0];
  long n = 0;
  switch (f->family.transform) {
  case PGM_T_SIMPLEX:
    for (; n < K - 1; n++) out[n] = x[n];
    break;
  case PGM_T_COV:
    for (long i = 0; i < K; i++)
      for (long j = 0; j <= i; j++) out[n++] = x[i * K + j];
    break;
  case PGM_T_CORR:
  case PGM_T_CHOLESKY_CORR:
    for (long i = 0; i < K; i++)
      for (long j = 0; j < i; j++) out[n++] = x[i * K + j];
    break;
  default:
    for (; n < K; n++) out[n] = x[n];
  }
  return n;
}

/* log |d free entries / d u|, from central differences and an LU decomposition. */
static double numerical_log_jacobian(const Fixture *f, const double *u)
{
  const long n = f->layout.uwidth;
  double v[64], x[64], a[64], b[64];
  gsl_matrix *J = gsl_matrix_alloc((size_t)n, (size_t)n);
  gsl_permutation *p = gsl_permutation_alloc((size_t)n);
  int sign;
  for (long j = 0; j < n; j++) {
    const double h = 1e-5;
    memcpy(v, u, sizeof *v * (size_t)n);
    v[j] = u[j] + h;
    pgm_constrain(&f->s, 0, v, x);
    free_entries(f, x, a);
    v[j] = u[j] - h;
    pgm_constrain(&f->s, 0, v, x);
    assert_int_equal(free_entries(f, x, b), n);
    for (long i = 0; i < n; i++) gsl_matrix_set(J, (size_t)i, (size_t)j, (a[i] - b[i]) / (2 * h));
  }
  gsl_linalg_LU_decomp(J, p, &sign);
  const double value = gsl_linalg_LU_lndet(J);
  gsl_matrix_free(J);
  gsl_permutation_free(p);
  return value;
}

static void assert_close(double a, double b, double tolerance)
{
  if (!(fabs(a - b) <= tolerance * (1 + fabs(b)))) fail_msg("%.15g differs from %.15g by %g", a, b, a - b);
}

static const struct {
  PgmTransform t;
  long K;
  bool lower, upper;
} cases[] = {{PGM_IDENTITY, 3, false, false},
             {PGM_LOWER, 3, true, false},
             {PGM_UPPER, 3, false, true},
             {PGM_INTERVAL, 3, true, true},
             {PGM_T_SIMPLEX, 2, false, false},
             {PGM_T_SIMPLEX, 5, false, false},
             {PGM_T_ORDERED, 4, false, false},
             {PGM_T_POSITIVE_ORDERED, 4, false, false},
             {PGM_T_COV, 1, false, false},
             {PGM_T_COV, 4, false, false},
             {PGM_T_CORR, 2, false, false},
             {PGM_T_CORR, 4, false, false},
             {PGM_T_CHOLESKY_CORR, 2, false, false},
             {PGM_T_CHOLESKY_CORR, 4, false, false}};
enum { CASES = sizeof cases / sizeof *cases };

static void test_jacobian(void **state)
{
  gsl_rng *r = gsl_rng_alloc(gsl_rng_mt19937);
  (void)state;
  for (int c = 0; c < CASES; c++)
    for (int k = 0; k < 5; k++) {
      Fixture f;
      double u[64], x[64];
      setup(&f, cases[c].t, cases[c].K, 1, cases[c].lower, cases[c].upper, true);
      draw(r, u, f.layout.uwidth, 1);
      assert_close(pgm_constrain(&f.s, 0, u, x), numerical_log_jacobian(&f, u), 1e-7);
    }
  gsl_rng_free(r);
}

static void test_round_trip(void **state)
{
  gsl_rng *r = gsl_rng_alloc(gsl_rng_mt19937);
  (void)state;
  for (int c = 0; c < CASES; c++)
    for (int k = 0; k < 20; k++) {
      Fixture f;
      double u[256], x[256], back[256];
      setup(&f, cases[c].t, cases[c].K, 6, cases[c].lower, cases[c].upper, k % 2);
      draw(r, u, f.layout.uwidth * 6, k < 10 ? 1 : 2);
      pgm_constrain(&f.s, 0, u, x);
      assert_true(pgm_unconstrain(&f.s, 0, x, back));
      for (long i = 0; i < f.layout.uwidth * 6; i++) assert_close(back[i], u[i], 1e-6);
    }
  gsl_rng_free(r);
}

/* Of a random linear function of the value plus a multiple of the log Jacobian; several elements, bounds of their own, some not defined. */
static void test_vjp(void **state)
{
  gsl_rng *r = gsl_rng_alloc(gsl_rng_mt19937);
  (void)state;
  for (int c = 0; c < CASES; c++) {
    enum { ELEMENTS = 5 };
    Fixture f;
    long list[] = {0, 2, 3};
    double u[256], x[256], x_bar[256], u_bar[256] = {0}, v[256];
    setup(&f, cases[c].t, cases[c].K, ELEMENTS, cases[c].lower, cases[c].upper, false);
    if (c % 2) f.layout.list = list, f.layout.defined = 3;
    const long n = f.layout.uwidth * ELEMENTS, m = f.layout.width * ELEMENTS;
    memset(x, 0, sizeof x);
    draw(r, u, n, 1);
    draw(r, x_bar, m, 1);
    pgm_constrain(&f.s, 0, u, x);
    pgm_constrain_vjp(&f.s, 0, u, x, x_bar, 0.7, u_bar);
    for (long i = 0; i < n; i++) {
      double f2[2];
      for (int side = 0; side < 2; side++) {
        memcpy(v, u, sizeof v);
        v[i] += side ? 1e-5 : -1e-5;
        f2[side] = 0.7 * pgm_constrain(&f.s, 0, v, x);
        for (long k = 0; k < m; k++) f2[side] += x_bar[k] * x[k];
      }
      assert_close(u_bar[i], (f2[1] - f2[0]) / 2e-5, 1e-7);
    }
  }
  gsl_rng_free(r);
}

/* Against the trapezoidal rule on a fine grid for every coordinate alone, the others held: the log Jacobian is a sum over coordinates. */
static void test_expected_jacobian(void **state)
{
  gsl_rng *r = gsl_rng_alloc(gsl_rng_mt19937);
  (void)state;
  for (int c = 0; c < CASES; c++) {
    Fixture f;
    double mean[64], sd[64], x[64], u[64], mean_bar[64] = {0}, sd_bar[64] = {0}, b[2];
    setup(&f, cases[c].t, cases[c].K, 1, cases[c].lower, cases[c].upper, true);
    const long n = f.layout.uwidth;
    draw(r, mean, n, 1);
    for (long i = 0; i < n; i++) sd[i] = 0.2 + 0.5 * gsl_rng_uniform(r);
    const double at_mean = pgm_constrain(&f.s, 0, mean, x);
    double expected = at_mean;
    for (long i = 0; i < n; i++) {
      double sum = 0, norm = 0;
      memcpy(u, mean, sizeof u);
      for (double z = -9; z <= 9; z += 0.01) {
        u[i] = mean[i] + sd[i] * z;
        sum += exp(-z * z / 2) * (pgm_constrain(&f.s, 0, u, x) - at_mean);
        norm += exp(-z * z / 2);
      }
      expected += sum / norm;
    }
    assert_close(pgm_jacobian_expected(&f.s, 0, mean, sd, 1, NULL, NULL), expected, 1e-7);
    assert_close(pgm_jacobian_expected(&f.s, 0, mean, sd, 0.3, mean_bar, sd_bar), 0.3 * expected, 1e-7);
    for (long i = 0; i < n; i++)
      for (int which = 0; which < 2; which++) {
        double *v = which ? sd : mean, keep = v[i];
        for (int side = 0; side < 2; side++) {
          v[i] = keep + (side ? 1e-5 : -1e-5);
          b[side] = pgm_jacobian_expected(&f.s, 0, mean, sd, 0.3, NULL, NULL);
        }
        v[i] = keep;
        assert_close(which ? sd_bar[i] : mean_bar[i], (b[1] - b[0]) / 2e-5, 1e-7);
      }
  }
  gsl_rng_free(r);
}

/* Against many draws: the tolerance is five standard errors. */
static void test_moments(void **state)
{
  enum { DRAWS = 200000 };
  gsl_rng *r = gsl_rng_alloc(gsl_rng_mt19937);
  (void)state;
  for (int c = 0; c < CASES; c++) {
    Fixture f;
    double mean[64], sd[64], u[64], x[64], vm[64], vs[64], s1[64] = {0}, s2[64] = {0}, s4[64] = {0};
    setup(&f, cases[c].t, cases[c].K, 1, cases[c].lower, cases[c].upper, true);
    draw(r, mean, f.layout.uwidth, 0.7);
    for (long i = 0; i < f.layout.uwidth; i++) sd[i] = 0.2 + 0.3 * gsl_rng_uniform(r);
    pgm_constrained_moments(&f.s, 0, mean, sd, vm, vs);
    for (int d = 0; d < DRAWS; d++) {
      for (long i = 0; i < f.layout.uwidth; i++) u[i] = mean[i] + gsl_ran_gaussian(r, sd[i]);
      pgm_constrain(&f.s, 0, u, x);
      for (long i = 0; i < f.layout.width; i++) {
        const double e = x[i] - vm[i];
        s1[i] += e, s2[i] += e * e, s4[i] += e * e * e * e;
      }
    }
    for (long i = 0; i < f.layout.width; i++) {
      const double var = s2[i] / DRAWS, error = sqrt(var / DRAWS), var_error = sqrt((s4[i] / DRAWS - var * var) / DRAWS);
      if (fabs(s1[i] / DRAWS) > 5 * error + 1e-12) fail_msg("case %d entry %ld: mean off by %g, error %g", c, i, s1[i] / DRAWS, error);
      if (fabs(var - vs[i] * vs[i]) > 5 * var_error + 1e-12) fail_msg("case %d entry %ld: variance %g, not %g", c, i, vs[i] * vs[i], var);
    }
  }
  gsl_rng_free(r);
}

/* Known values: a uniform simplex at u = 0, extremes stay inside, moments with a vanishing sd are those of a point. */
static void test_special_points(void **state)
{
  Fixture f;
  double u[64] = {0}, x[64], s[64] = {0}, vs[64];
  (void)state;
  setup(&f, PGM_T_SIMPLEX, 4, 1, false, false, true);
  pgm_constrain(&f.s, 0, u, x);
  for (int i = 0; i < 4; i++) assert_close(x[i], 0.25, 1e-15);
  setup(&f, PGM_INTERVAL, 3, 1, true, true, true);
  f.lower[0] = 0, f.upper[0] = 1;
  u[0] = 800, u[1] = -800, u[2] = 40;
  assert_true(isfinite(pgm_constrain(&f.s, 0, u, x)));
  for (int i = 0; i < 3; i++) assert_true(x[i] > 0 && x[i] < 1);
  u[0] = NAN;
  pgm_constrain(&f.s, 0, u, x);
  assert_true(isnan(x[0]));
  for (int c = 0; c < CASES; c++) {
    setup(&f, cases[c].t, cases[c].K, 1, cases[c].lower, cases[c].upper, true);
    for (long i = 0; i < f.layout.uwidth; i++) u[i] = 0.3 * (double)(i % 5) - 0.5;
    double vm[64];
    pgm_constrain(&f.s, 0, u, x);
    pgm_constrained_moments(&f.s, 0, u, s, vm, vs);
    for (long i = 0; i < f.layout.width; i++) {
      assert_close(vm[i], x[i], 1e-12);
      assert_close(vs[i], 0, 1e-7);
    }
  }
}

static void test_outside_support(void **state)
{
  Fixture f;
  double u[64];
  (void)state;
  setup(&f, PGM_LOWER, 1, 1, true, false, true);
  assert_false(pgm_unconstrain(&f.s, 0, (double[]){-1.5}, u));
  assert_true(pgm_unconstrain(&f.s, 0, (double[]){-1.4}, u));
  setup(&f, PGM_INTERVAL, 1, 1, true, true, true);
  assert_false(pgm_unconstrain(&f.s, 0, (double[]){2.5}, u));
  assert_false(pgm_unconstrain(&f.s, 0, (double[]){NAN}, u));
  setup(&f, PGM_T_SIMPLEX, 3, 1, false, false, true);
  assert_false(pgm_unconstrain(&f.s, 0, (double[]){0.2, 0.2, 0.2}, u));
  assert_false(pgm_unconstrain(&f.s, 0, (double[]){0, 0.5, 0.5}, u));
  setup(&f, PGM_T_ORDERED, 3, 1, false, false, true);
  assert_false(pgm_unconstrain(&f.s, 0, (double[]){1, 3, 2}, u));
  setup(&f, PGM_T_POSITIVE_ORDERED, 2, 1, false, false, true);
  assert_false(pgm_unconstrain(&f.s, 0, (double[]){-1, 3}, u));
  setup(&f, PGM_T_COV, 2, 1, false, false, true);
  assert_false(pgm_unconstrain(&f.s, 0, (double[]){1, 2, 2, 1}, u));
  assert_false(pgm_unconstrain(&f.s, 0, (double[]){1, 0.5, 0.4, 1}, u));
  setup(&f, PGM_T_CORR, 2, 1, false, false, true);
  assert_false(pgm_unconstrain(&f.s, 0, (double[]){2, 0.5, 0.5, 1}, u));
  setup(&f, PGM_T_CHOLESKY_CORR, 2, 1, false, false, true);
  assert_false(pgm_unconstrain(&f.s, 0, (double[]){1, 0, 0.5, 0.5}, u));
}

/* One thread and two give the same bits. */
static void test_threads(void **state)
{
  enum { N = 300001 };
  Fixture f;
  gsl_rng *r = gsl_rng_alloc(gsl_rng_mt19937);
  double *u = malloc(sizeof *u * N), *x = malloc(sizeof *x * N), value[2];
  (void)state;
  setup(&f, PGM_INTERVAL, 1, N, true, true, true);
  draw(r, u, N, 2);
  for (int t = 0; t < 2; t++) {
    f.s.threads = t + 1;
    value[t] = pgm_constrain(&f.s, 0, u, x);
  }
  assert_memory_equal(&value[0], &value[1], sizeof value[0]);
  free(u);
  free(x);
  gsl_rng_free(r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_jacobian),          cmocka_unit_test(test_round_trip), cmocka_unit_test(test_vjp),
      cmocka_unit_test(test_expected_jacobian), cmocka_unit_test(test_moments),    cmocka_unit_test(test_special_points),
      cmocka_unit_test(test_outside_support),   cmocka_unit_test(test_threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
