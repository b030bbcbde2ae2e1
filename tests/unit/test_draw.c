/* Tests of pgm_draw: every distribution against its distribution function (Kolmogorov-Smirnov, chi-square) or its moments, restricted draws
 * out to the far tails, arguments outside their domain. Seeds are fixed, so a pass stays a pass; the limits are met by all but one in
 * 10^5 seeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pgmrt.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_integration.h>
#include <gsl/gsl_randist.h>
#include <gsl/gsl_sf_bessel.h>
#include <limits.h>
#include <stdlib.h>

#define ROWS(table) (int)(sizeof(table) / sizeof *(table))
enum { SAMPLES = 20000 };

typedef double (*Function)(double x, const double *a);

/* ---- distribution functions and probabilities, by GSL ---------------------------------------------------------------------------------- */

static double F_normal(double x, const double *a) { return gsl_cdf_gaussian_P(x - a[0], a[1]); }
static double F_std_normal(double x, const double *a) { (void)a; return gsl_cdf_ugaussian_P(x); }
static double F_student_t(double x, const double *a) { return gsl_cdf_tdist_P((x - a[1]) / a[2], a[0]); }
static double F_cauchy(double x, const double *a) { return gsl_cdf_cauchy_P(x - a[0], a[1]); }
static double F_double_exponential(double x, const double *a) { return gsl_cdf_laplace_P(x - a[0], a[1]); }
static double F_logistic(double x, const double *a) { return gsl_cdf_logistic_P(x - a[0], a[1]); }
static double F_gumbel(double x, const double *a) { return exp(-exp(-(x - a[0]) / a[1])); }
static double F_lognormal(double x, const double *a) { return gsl_cdf_lognormal_P(x, a[0], a[1]); }
static double F_gamma(double x, const double *a) { return gsl_cdf_gamma_P(x, a[0], 1 / a[1]); }
static double F_inv_gamma(double x, const double *a) { return gsl_cdf_gamma_Q(1 / x, a[0], 1 / a[1]); }
static double F_chi_square(double x, const double *a) { return gsl_cdf_chisq_P(x, a[0]); }
static double F_inv_chi_square(double x, const double *a) { return gsl_cdf_chisq_Q(1 / x, a[0]); }
static double F_exponential(double x, const double *a) { return gsl_cdf_exponential_P(x, 1 / a[0]); }
static double F_weibull(double x, const double *a) { return gsl_cdf_weibull_P(x, a[1], a[0]); }
static double F_pareto(double x, const double *a) { return gsl_cdf_pareto_P(x, a[1], a[0]); }
static double F_beta(double x, const double *a) { return gsl_cdf_beta_P(x, a[0], a[1]); }
static double F_uniform(double x, const double *a) { return gsl_cdf_flat_P(x, a[0], a[1]); }

/* The two without a distribution function in GSL: integrals of their densities. */
static double integrate(double (*f)(double, void *), void *data, double lo, double hi)
{
  static gsl_integration_glfixed_table *rule;
  if (!rule) rule = gsl_integration_glfixed_table_alloc(64);
  gsl_function g = {f, data};
  double sum = 0;
  for (int i = 0; i < 8; i++) sum += gsl_integration_glfixed(&g, lo + (hi - lo) * i / 8, lo + (hi - lo) * (i + 1) / 8, rule);
  return sum;
}
static double f_skew_normal(double x, void *data)
{
  const double *a = data;
  double z = (x - a[0]) / a[1];
  return 2 / a[1] * gsl_ran_ugaussian_pdf(z) * gsl_cdf_ugaussian_P(a[2] * z);
}
static double F_skew_normal(double x, const double *a) { return integrate(f_skew_normal, (void *)a, a[0] - 12 * a[1], x); }
static double f_von_mises(double x, void *data)
{
  const double *a = data;
  return exp(a[1] * (cos(x - a[0]) - 1)) / (2 * M_PI * gsl_sf_bessel_I0_scaled(a[1]));
}
static double F_von_mises(double x, const double *a) { return integrate(f_von_mises, (void *)a, a[0] - M_PI, x); }

static double expit(double x) { return 1 / (1 + exp(-x)); }
static double p_bernoulli(double k, const double *a) { return gsl_ran_bernoulli_pdf((unsigned)k, a[0]); }
static double p_bernoulli_logit(double k, const double *a) { return gsl_ran_bernoulli_pdf((unsigned)k, expit(a[0])); }
static double p_binomial(double k, const double *a) { return gsl_ran_binomial_pdf((unsigned)k, a[1], (unsigned)a[0]); }
static double p_binomial_logit(double k, const double *a) { return gsl_ran_binomial_pdf((unsigned)k, expit(a[1]), (unsigned)a[0]); }
static double p_poisson(double k, const double *a) { return gsl_ran_poisson_pdf((unsigned)k, a[0]); }
static double p_poisson_log(double k, const double *a) { return gsl_ran_poisson_pdf((unsigned)k, exp(a[0])); }
static double p_neg_binomial_2(double k, const double *a) { return gsl_ran_negative_binomial_pdf((unsigned)k, a[1] / (a[0] + a[1]), a[1]); }
static double p_neg_binomial_2_log(double k, const double *a) { return p_neg_binomial_2(k, (double[]){exp(a[0]), a[1]}); }
static double p_geometric(double k, const double *a) { return gsl_ran_geometric_pdf((unsigned)k + 1, a[0]); }
static double p_beta_binomial(double k, const double *a)
{
  return k > a[0] ? 0 : exp(lgamma(a[0] + 1) - lgamma(k + 1) - lgamma(a[0] - k + 1) + lgamma(k + a[1]) + lgamma(a[0] - k + a[2]) -
                            lgamma(a[0] + a[1] + a[2]) - lgamma(a[1]) - lgamma(a[2]) + lgamma(a[1] + a[2]));
}

/* ---- drawing by name ---------------------------------------------------------------------------------------------------------------------- */

typedef double (*Plain)(PgmRng *rng, const double *a);
typedef double (*Between)(PgmRng *rng, double lo, double hi, const double *a);
#define CALL_0(name)                                                                                                                       \
  static double plain_##name(PgmRng *r, const double *a) { (void)a; return pgm_draw_##name(r); }                                           \
  static double between_##name(PgmRng *r, double lo, double hi, const double *a) { (void)a; return pgm_draw_##name##_between(r, lo, hi); }
#define CALL_1(name, u)                                                                                                                    \
  static double plain_##name(PgmRng *r, const double *a) { return pgm_draw_##name(r, a[0]); }                                              \
  static double between_##name(PgmRng *r, double lo, double hi, const double *a) { return pgm_draw_##name##_between(r, lo, hi, a[0]); }
#define CALL_2(name, u, v)                                                                                                                 \
  static double plain_##name(PgmRng *r, const double *a) { return pgm_draw_##name(r, a[0], a[1]); }                                        \
  static double between_##name(PgmRng *r, double lo, double hi, const double *a) { return pgm_draw_##name##_between(r, lo, hi, a[0], a[1]); }
#define CALL_3(name, u, v, w)                                                                                                              \
  static double plain_##name(PgmRng *r, const double *a) { return pgm_draw_##name(r, a[0], a[1], a[2]); }                                  \
  static double between_##name(PgmRng *r, double lo, double hi, const double *a)                                                          \
  {                                                                                                                                        \
    return pgm_draw_##name##_between(r, lo, hi, a[0], a[1], a[2]);                                                                         \
  }
PGM_DRAWS(CALL_0, CALL_1, CALL_2, CALL_3)

typedef struct {
  const char *name;
  Plain plain;
  Between between;
  Function truth;                      /* distribution function, or probability of a count */
  int n;
  double args[3];
  double lo, hi;                       /* a range to restrict to, in the body */
  double tail_lo, tail_hi;             /* and one that plain draws hardly reach */
} Case;
#define C(name, truth, n, ...) {#name, plain_##name, between_##name, truth##name, n, __VA_ARGS__}
#define OO HUGE_VAL

static const Case continuous[] = {
  C(normal, F_, 2, {1.5, 2}, 0, OO, 7, OO),
  C(std_normal, F_, 0, {0}, -1, 0.5, -6, -4.5),
  C(student_t, F_, 3, {3.5, 1, 2}, 0, OO, -OO, -40),
  C(cauchy, F_, 2, {1, 2}, 0, OO, 2000, OO),
  C(double_exponential, F_, 2, {1, 2}, 0, 3, -OO, -20),
  C(logistic, F_, 2, {1, 2}, 0, 3, 20, 30),
  C(gumbel, F_, 2, {1, 2}, 0, 3, -OO, -4),
  C(skew_normal, F_, 3, {0.5, 1.5, 2}, 0, 2, -2, -1),
  C(skew_normal, F_, 3, {0.5, 1.5, 0}, 0, 2, -OO, -5),
  C(lognormal, F_, 2, {0.3, 0.8}, 1, OO, 40, OO),
  C(gamma, F_, 2, {2.5, 1.7}, 1, OO, 8, 12),
  C(gamma, F_, 2, {0.3, 1.7}, 0, 1, 8, OO),
  C(inv_gamma, F_, 2, {2.5, 1.7}, 0.5, 2, 0, 0.1),
  C(chi_square, F_, 1, {3.3}, 1, 4, 25, OO),
  C(inv_chi_square, F_, 1, {3.3}, 0.1, 1, 80, OO),
  C(exponential, F_, 1, {1.7}, 0.5, OO, 8, OO),
  C(weibull, F_, 2, {1.4, 2.2}, 1, OO, 12, 14),
  C(pareto, F_, 2, {1.4, 2.2}, 2, OO, 80, 90),
  C(beta, F_, 2, {1.4, 2.2}, 0.2, 0.7, 0.99, 1),
  C(beta, F_, 2, {0.3, 0.2}, 0.2, 0.7, 0.5, 0.501),
  C(uniform, F_, 2, {-1.5, 2}, -1, 0.5, 1.999, 3),
  C(von_mises, F_, 2, {0.5, 2.5}, 0, 2, -2.5, -2.45),
  C(von_mises, F_, 2, {2.5, 0.000001}, 0, 2, 1, 1.001),
};

static const Case counts[] = {
  C(bernoulli, p_, 1, {0.3}, 0, 1, 1, 1),
  C(bernoulli_logit, p_, 1, {-1.3}, 0, 1, 1, 1),
  C(binomial, p_, 2, {12, 0.3}, 2, OO, 10, 12),
  C(binomial, p_, 2, {500, 0.7}, 340, 360, 400, OO),
  C(binomial_logit, p_, 2, {12, 0.8}, 5, OO, -OO, 3),
  C(poisson, p_, 1, {4.5}, 1, OO, 15, OO),
  C(poisson, p_, 1, {180}, 170, 200, 240, OO),
  C(poisson_log, p_, 1, {1.2}, 1, OO, 12, 14),
  C(neg_binomial_2, p_, 2, {4.5, 2.2}, 1, OO, 30, OO),
  C(neg_binomial_2_log, p_, 2, {1.2, 3.3}, 1, 10, 20, OO),
  C(geometric, p_, 1, {0.3}, 1, OO, 20, OO),
  C(beta_binomial, p_, 3, {12, 1.3, 2.2}, 1, 12, 12, 12),
  C(beta_binomial, p_, 3, {40, 0.3, 0.2}, 1, 39, 19, 21),
};

/* ---- continuous: Kolmogorov-Smirnov -------------------------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* sqrt(n) sup |F_n - F|; F restricted to [lo, hi] */
static double kolmogorov(double *sample, int n, const Case *c, double lo, double hi)
{
  qsort(sample, (size_t)n, sizeof *sample, ascending);
  double below = lo == -OO ? 0 : c->truth(lo, c->args), above = hi == OO ? 1 : c->truth(hi, c->args), worst = 0;
  for (int i = 0; i < n; i++) {
    double F = (c->truth(sample[i], c->args) - below) / (above - below);
    worst = fmax(worst, fmax(fabs(F - (double)i / n), fabs(F - (i + 1.0) / n)));
  }
  return sqrt(n) * worst;
}

static void test_continuous(void **state)
{
  (void)state;
  static double sample[SAMPLES];
  for (const Case *c = continuous; c < continuous + ROWS(continuous); c++) {
    PgmRng *rng = pgm_rng_new(1);
    const double range[3][2] = {{-OO, OO}, {c->lo, c->hi}, {c->tail_lo, c->tail_hi}};
    for (int k = 0; k < 3; k++) {
      double lo = range[k][0], hi = range[k][1];
      int n = k == 2 ? SAMPLES / 10 : SAMPLES;
      for (int i = 0; i < n; i++) {
        sample[i] = k ? c->between(rng, lo, hi, c->args) : c->plain(rng, c->args);
        if (!(sample[i] >= lo && sample[i] <= hi)) fail_msg("%s: %g outside [%g, %g]", c->name, sample[i], lo, hi);
      }
      double ks = kolmogorov(sample, n, c, lo, hi);
      if (!(ks < 2.5)) fail_msg("%s in [%g, %g]: Kolmogorov-Smirnov %g", c->name, lo, hi, ks);
    }
    pgm_rng_free(rng);
  }
}

/* Where no plain draw ever arrives and probabilities underflow: z - lo of a normal beyond lo is exponential with rate lo, nearly. */
static void test_far_tails(void **state)
{
  (void)state;
  PgmRng *rng = pgm_rng_new(2);
  double sum = 0, low = 0;
  for (int i = 0; i < 4000; i++) {
    double x = pgm_draw_normal_between(rng, 60, OO, 0, 1), y = pgm_draw_normal_between(rng, -OO, -60, 0, 1);
    assert_true(x >= 60 && x < 61 && y <= -60 && y > -61);
    sum += (x - 60) * 60, low -= (y + 60) * 60;
  }
  assert_true(fabs(sum / 4000 - 1) < 0.08 && fabs(low / 4000 - 1) < 0.08);
  assert_true(pgm_draw_normal_between(rng, 2, 2, 0, 1) == 2 || isnan(pgm_draw_normal_between(rng, 2, 2, 0, 1)));
  double x = pgm_draw_lognormal_between(rng, 1e30, OO, 0, 1);
  assert_true(x >= 1e30 && x < 1.5e30);
  assert_true(isnan(pgm_draw_gamma_between(rng, 1e6, OO, 1, 1)));         /* exp(-10^6) is 0: no such draw, and it says so */
  assert_true(isnan(pgm_draw_uniform_between(rng, 2, 3, 0, 1)));
  assert_true(isnan(pgm_draw_beta_between(rng, 2, 3, 1, 1)));
  assert_true(isnan(pgm_draw_gamma_between(rng, -3, -2, 1, 1)));
  assert_true(isnan(pgm_draw_poisson_between(rng, 1.2, 1.8, 1)));
  double far = pgm_draw_poisson_between(rng, 900, OO, 2);
  assert_true(far >= 900 && far < 910);
  pgm_rng_free(rng);
}

/* ---- counts: chi-square ---------------------------------------------------------------------------------------------------------------------------- */

static void test_counts(void **state)
{
  (void)state;
  enum { CELLS = 600 };
  for (const Case *c = counts; c < counts + ROWS(counts); c++) {
    PgmRng *rng = pgm_rng_new(3);
    const double range[3][2] = {{-OO, OO}, {c->lo, c->hi}, {c->tail_lo, c->tail_hi}};
    for (int k = 0; k < 3; k++) {
      double lo = range[k][0], hi = range[k][1], seen[CELLS] = {0}, mass = 0, statistic = 0, expected = 0, got = 0;
      int n = k == 2 ? SAMPLES / 10 : SAMPLES, cells = 0;
      for (int i = 0; i < n; i++) {
        double x = k ? c->between(rng, lo, hi, c->args) : c->plain(rng, c->args);
        if (!(x >= lo && x <= hi && x >= 0 && x == floor(x) && x < CELLS)) fail_msg("%s: %g outside [%g, %g]", c->name, x, lo, hi);
        seen[(int)x]++;
      }
      for (int x = 0; x < CELLS; x++) mass += x >= lo && x <= hi ? c->truth(x, c->args) : 0;
      for (int x = 0; x < CELLS; x++) {                                     /* cells of at least ten expected, the last one with the rest */
        expected += x >= lo && x <= hi ? n * c->truth(x, c->args) / mass : 0;
        got += seen[x];
        if (expected >= 10) {
          statistic += (got - expected) * (got - expected) / expected;
          cells++;
          expected = got = 0;
        }
      }
      if (expected > 1e-6) statistic += (got - expected) * (got - expected) / fmax(expected, 1);
      if (cells > 1 && gsl_cdf_chisq_Q(statistic, cells) < 1e-5) fail_msg("%s in [%g, %g]: chi-square %g of %d", c->name, lo, hi, statistic, cells);
    }
    pgm_rng_free(rng);
  }
}

static void frequencies(double (*draw)(PgmRng *), const double *p, int K)
{
  PgmRng *rng = pgm_rng_new(4);
  double seen[8] = {0}, statistic = 0;
  for (int i = 0; i < SAMPLES; i++) {
    double y = draw(rng);
    assert_true(y >= 1 && y <= K && y == floor(y));
    seen[(int)y - 1]++;
  }
  for (int k = 0; k < K; k++) {
    if (p[k] == 0) assert_true(seen[k] == 0);
    else statistic += (seen[k] - SAMPLES * p[k]) * (seen[k] - SAMPLES * p[k]) / (SAMPLES * p[k]);
  }
  assert_true(gsl_cdf_chisq_Q(statistic, K - 1) > 1e-5);
  pgm_rng_free(rng);
}
static double some_categorical(PgmRng *r) { return pgm_draw_categorical(r, 4, (double[]){0.2, 0, 0.7, 0.1}); }
static double some_categorical_logit(PgmRng *r) { return pgm_draw_categorical_logit(r, 4, (double[]){log(0.2) + 900, -OO, log(0.7) + 900, log(0.1) + 900}); }
static double some_ordered_logistic(PgmRng *r) { return pgm_draw_ordered_logistic(r, 2, 0.6, (double[]){-1, 2.5}); }

static void test_categories(void **state)
{
  (void)state;
  frequencies(some_categorical, (double[]){0.2, 0, 0.7, 0.1}, 4);
  frequencies(some_categorical_logit, (double[]){0.2, 0, 0.7, 0.1}, 4);
  frequencies(some_ordered_logistic, (double[]){1 - expit(1.6), expit(1.6) - expit(-1.9), expit(-1.9)}, 3);
}

/* ---- vectors: means and covariances -------------------------------------------------------------------------------------------------------------------- */

/* z-scores of the sample means against `mean` */
static void check_moments(const char *what, bool (*draw)(PgmRng *, double *), int n, const double *mean)
{
  PgmRng *rng = pgm_rng_new(5);
  double sum[32] = {0}, square[32] = {0}, v[32];
  for (int i = 0; i < SAMPLES; i++) {
    assert_true(draw(rng, v));
    for (int k = 0; k < n; k++) sum[k] += v[k], square[k] += v[k] * v[k];
  }
  for (int k = 0; k < n; k++) {
    double m = sum[k] / SAMPLES, se = sqrt((square[k] / SAMPLES - m * m) / SAMPLES);
    if (!(fabs(m - mean[k]) <= 4.5 * se + 1e-12)) fail_msg("%s, moment %d: %g instead of %g (se %g)", what, k, m, mean[k], se);
  }
  pgm_rng_free(rng);
}

/* Values, and products of centred values. */
static const double MU[2] = {1, -2}, SIGMA[4] = {2, 0.8, 0.8, 1.5}, CHOLESKY[4] = {1.5, 0, -0.4, 0.8};
static bool with_products(bool ok, double *v)
{
  double x = v[0] - MU[0], y = v[1] - MU[1];
  v[2] = x * x, v[3] = x * y, v[4] = y * y;
  return ok;
}
static bool some_multi_normal(PgmRng *r, double *v) { return with_products(pgm_draw_multi_normal(r, 2, MU, SIGMA, v), v); }
static bool some_cholesky(PgmRng *r, double *v) { return with_products(pgm_draw_multi_normal_cholesky(r, 2, MU, CHOLESKY, v), v); }
static bool some_student(PgmRng *r, double *v) { return with_products(pgm_draw_multi_student_t(r, 2, 9, MU, SIGMA, v), v); }
static bool some_dirichlet(PgmRng *r, double *v)
{
  bool ok = pgm_draw_dirichlet(r, 3, (double[]){0.7, 2.5, 1.8}, v);
  assert_true(fabs(v[0] + v[1] + v[2] - 1) < 1e-12);
  v[3] = v[0] * v[0], v[4] = v[0] * v[1];
  return ok;
}
static bool some_lkj(PgmRng *r, double *v)
{
  double L[9];
  bool ok = pgm_draw_lkj_corr_cholesky(r, 3, 1.5, L);
  double r12 = L[3], r13 = L[6], r23 = L[3] * L[6] + L[4] * L[7];
  assert_true(L[0] == 1 && L[1] == 0 && L[2] == 0 && L[5] == 0 && L[4] > 0 && L[8] > 0);
  assert_true(fabs(L[3] * L[3] + L[4] * L[4] - 1) < 1e-12 && fabs(L[6] * L[6] + L[7] * L[7] + L[8] * L[8] - 1) < 1e-12);
  v[0] = r12, v[1] = r13, v[2] = r23, v[3] = r12 * r12, v[4] = r13 * r13, v[5] = r23 * r23;
  return ok;
}
static bool some_wishart(PgmRng *r, double *v)
{
  bool ok = pgm_draw_wishart(r, 2, 4.5, SIGMA, v);
  assert_true(v[1] == v[2] && v[0] > 0 && v[0] * v[3] > v[1] * v[2]);
  v[4] = v[0] * v[0], v[5] = v[1] * v[1], v[6] = v[0] * v[3];
  return ok;
}
static bool some_multinomial(PgmRng *r, double *v)
{
  bool ok = pgm_draw_multinomial(r, 4, (double[]){0.2, 0.3, 0.5, 0}, 40, v);
  assert_true(v[0] + v[1] + v[2] == 40 && v[3] == 0);
  v[4] = v[0] * v[1];
  return ok;
}

static void test_vectors(void **state)
{
  (void)state;
  check_moments("multi_normal", some_multi_normal, 5, (double[]){1, -2, 2, 0.8, 1.5});
  check_moments("multi_normal_cholesky", some_cholesky, 5, (double[]){1, -2, 2.25, -0.6, 0.8});
  check_moments("multi_student_t", some_student, 5, (double[]){1, -2, 2 * 9. / 7, 0.8 * 9. / 7, 1.5 * 9. / 7});
  check_moments("dirichlet", some_dirichlet, 5, (double[]){0.14, 0.5, 0.36, 0.7 * 1.7 / 30, 0.7 * 2.5 / 30});
  /* each correlation is 2 beta(b, b) - 1 with b = eta - 1 + K / 2: variance 1 / (2 b + 1) */
  check_moments("lkj_corr_cholesky", some_lkj, 6, (double[]){0, 0, 0, 0.2, 0.2, 0.2});
  /* E W = nu S; E W_ij W_kl = nu^2 S_ij S_kl + nu (S_ik S_jl + S_il S_jk) */
  double nu = 4.5, s = nu * nu;
  check_moments("wishart", some_wishart, 7, (double[]){nu * 2, nu * 0.8, nu * 0.8, nu * 1.5, s * 4 + nu * 8, s * 0.64 + nu * (3 + 0.64), s * 3 + nu * 2 * 0.64});
  check_moments("multinomial", some_multinomial, 5, (double[]){8, 12, 20, 0, 40 * 39 * 0.06});
}

/* ---- arguments outside their domain, streams ------------------------------------------------------------------------------------------------------------ */

static void test_domain(void **state)
{
  (void)state;
  PgmRng *rng = pgm_rng_new(6);
  for (int table = 0; table < 2; table++) {
    const Case *cases = table ? counts : continuous;
    for (int i = 0; i < (table ? ROWS(counts) : ROWS(continuous)); i++) {
      const Case *c = &cases[i];
      for (int k = 0; k < c->n; k++) {
        double a[3] = {c->args[0], c->args[1], c->args[2]};
        a[k] = NAN;
        assert_true(isnan(c->plain(rng, a)) && isnan(c->between(rng, -OO, OO, a)));
        a[k] = OO;
        assert_true(isnan(c->plain(rng, a)));
      }
      assert_true(isnan(c->between(rng, 1, 0, c->args)) && isnan(c->between(rng, NAN, 1, c->args)));
    }
  }
  assert_true(isnan(pgm_draw_normal(rng, 0, 0)) && isnan(pgm_draw_normal(rng, 0, -1)) && isnan(pgm_draw_gamma(rng, 1, -1)));
  assert_true(isnan(pgm_draw_bernoulli(rng, 1.01)) && isnan(pgm_draw_binomial(rng, 2.5, 0.5)) && isnan(pgm_draw_binomial(rng, -1, 0.5)));
  assert_true(isnan(pgm_draw_uniform(rng, 1, 1)) && isnan(pgm_draw_poisson(rng, 1e12)) && isnan(pgm_draw_poisson_log(rng, 40)));
  assert_true(isnan(pgm_draw_geometric(rng, 0)) && pgm_draw_geometric(rng, 1) == 0 && isnan(pgm_draw_geometric(rng, 1e-300)));
  assert_true(isnan(pgm_draw_flat(rng)) && isnan(pgm_draw_flat_between(rng, 0, OO)) && pgm_draw_flat_between(rng, 3, 3) == 3);
  assert_true(pgm_draw_bernoulli(rng, 0) == 0 && pgm_draw_bernoulli(rng, 1) == 1 && pgm_draw_binomial(rng, 7, 1) == 7);
  assert_true(isnan(pgm_draw_categorical(rng, 2, (double[]){0.5, 0.6})) && isnan(pgm_draw_categorical(rng, 2, (double[]){1.5, -0.5})));
  assert_true(isnan(pgm_draw_categorical_logit(rng, 2, (double[]){0, NAN})) && isnan(pgm_draw_categorical_logit(rng, 2, (double[]){-OO, -OO})));
  assert_true(isnan(pgm_draw_ordered_logistic(rng, 2, 0, (double[]){1, 1})) && isnan(pgm_draw_ordered_logistic(rng, 2, NAN, (double[]){1, 2})));
  double v[9];
  assert_true(!pgm_draw_multi_normal(rng, 2, MU, (double[]){1, 2, 2, 1}, v) && isnan(v[0]) && isnan(v[1]));
  assert_true(!pgm_draw_multi_normal_cholesky(rng, 2, MU, (double[]){1, 0, 2, -1}, v) && isnan(v[1]));
  assert_true(!pgm_draw_multi_student_t(rng, 2, -1, MU, SIGMA, v) && isnan(v[0]));
  assert_true(!pgm_draw_dirichlet(rng, 2, (double[]){1, 0}, v) && isnan(v[0]));
  assert_true(!pgm_draw_lkj_corr_cholesky(rng, 2, 0, v) && isnan(v[3]));
  assert_true(!pgm_draw_wishart(rng, 2, 1, SIGMA, v) && isnan(v[3]));
  assert_true(!pgm_draw_multinomial(rng, 2, (double[]){0.5, 0.5}, 1.5, v) && isnan(v[1]));
  pgm_rng_free(rng);
}

/* Draws that would round out of an open support. */
static void test_supports(void **state)
{
  (void)state;
  PgmRng *rng = pgm_rng_new(7);
  for (int i = 0; i < 2000; i++) {
    double g = pgm_draw_gamma(rng, 1e-4, 1), h = pgm_draw_inv_gamma(rng, 1e-4, 1), b = pgm_draw_beta(rng, 1e-4, 1e-4), l = pgm_draw_lognormal(rng, 0, 1e4), d[3];
    assert_true(g > 0 && isfinite(h) && h > 0 && b > 0 && b < 1 && l > 0 && isfinite(l));
    assert_true(pgm_draw_dirichlet(rng, 3, (double[]){1e-4, 1e-4, 1e-4}, d) && d[0] > 0 && d[1] > 0 && d[2] > 0 && d[0] < 1);
  }
  pgm_rng_free(rng);
}

/* von Mises ranges of more or less than a turn */
static void test_von_mises_turns(void **state)
{
  (void)state;
  PgmRng *rng = pgm_rng_new(8);
  double upper_turn = 0;
  for (int i = 0; i < SAMPLES; i++) {
    double x = pgm_draw_von_mises_between(rng, 10, 10 + 4 * PGM_PI, 1, 3), y = pgm_draw_von_mises_between(rng, 5, OO, 1, 3);
    assert_true(x >= 10 && x <= 10 + 4 * PGM_PI && y >= 5 && y <= 5 + 2 * PGM_PI);
    upper_turn += x >= 10 + 2 * PGM_PI;
    double narrow = pgm_draw_von_mises_between(rng, 3, 3.2, 0, 40), m = pgm_draw_von_mises(rng, 1, 1e9);
    assert_true(narrow >= 3 && narrow <= 3.2 && fabs(m - 1) < 3e-4);
  }
  assert_true(fabs(upper_turn / SAMPLES - 0.5) < 0.016);
  pgm_rng_free(rng);
}

static void test_streams(void **state)
{
  (void)state;
  PgmRng *a = pgm_rng_new(11), *b = pgm_rng_new(11), *c = pgm_rng_new(11ul + (1ul << 40));
  int same = 0;
  double mean = 0;
  for (int i = 0; i < SAMPLES; i++) {
    double x = pgm_rng_uniform(a), y = pgm_rng_uniform(b), z = pgm_rng_uniform(c);
    assert_true(x == y && x > 0 && x < 1);
    same += x == z;                                                         /* all 64 bits of a seed count */
    mean += x / SAMPLES;
  }
  assert_true(same == 0 && fabs(mean - 0.5) < 0.01);
  pgm_rng_free(a), pgm_rng_free(b), pgm_rng_free(c);
}

/* Each row of dist.def has its function: this does not link otherwise. */
static void test_complete(void **state)
{
  (void)state;
  static void (*const functions[])(void) = {
#define DIST(name, ...) (void (*)(void))pgm_draw_##name,
#include "dist.def"
#undef DIST
  };
  for (int i = 0; i < ROWS(functions); i++) assert_non_null(functions[i]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_continuous), cmocka_unit_test(test_far_tails), cmocka_unit_test(test_counts), cmocka_unit_test(test_categories),
    cmocka_unit_test(test_vectors), cmocka_unit_test(test_domain), cmocka_unit_test(test_supports), cmocka_unit_test(test_von_mises_turns),
    cmocka_unit_test(test_streams), cmocka_unit_test(test_complete),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
