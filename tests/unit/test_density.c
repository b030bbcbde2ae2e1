/* Tests of density.c (and of grad.c through it): each log density against GSL's, or against formulas written down independently, and against
 * its normalisation; gradients against central differences; distribution functions against GSL's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "density.h"
#include "dist.h"
#include "grad.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_integration.h>
#include <gsl/gsl_linalg.h>
#include <gsl/gsl_randist.h>
#include <gsl/gsl_sf_bessel.h>
#include <gsl/gsl_sf_gamma.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES 16
#define ROWS(table) (int)(sizeof(table) / sizeof *(table))

/* ---- a distribution at a point --------------------------------------------------------------------------------------------------- */

/* Leaf `family` 0 is x, 1, 2, ... the arguments; entry 0 of a scalar, row-major for vectors and matrices. */
typedef struct {
  Dag *d;
  Node lpdf;
  int rank[5], columns[5];
  double value[5][MAX_ENTRIES];
} Point;

static double leaf_value(void *data, const Dag *d, Node n, const long *axis)
{
  const Point *p = data;
  const XNode *x = dag_node(d, n);
  Evaluation e = {.leaf = leaf_value, .data = data};
  memcpy(e.axis, axis, sizeof e.axis);
  long at = 0;
  for (int i = 0; i < x->n_args; i++) at = at * p->columns[x->aux] + (long)dag_eval(d, x->args[i], &e);
  return p->value[x->aux][at];
}

static double evaluate(Point *p, Node n)
{
  Evaluation e = {.leaf = leaf_value, .data = p};
  return dag_eval(p->d, n, &e);
}

/* The leaf of a scalar, or of a vector or matrix with K entries per dimension. */
static DensityArg make_leaf(Point *p, int family, int rank, int K, bool integer)
{
  Dag *d = p->d;
  DensityArg a = {.rank = rank};
  Node index[2];
  for (int k = 0; k < rank; k++) {
    a.axis[k] = dag_dim_axis(d, x_int(d, K), k);
    index[k] = x_axis(d, a.axis[k]);
  }
  p->rank[family] = rank;
  p->columns[family] = K;
  a.node = x_leaf(d, integer ? X_INPUT : X_VALUE, family, rank, index, integer);
  return a;
}

/* All scalar. The counts of bounded-count distributions (first argument of binomial) are data. */
static Point scalar_point(int dist)
{
  Point p = {.d = dag_new(NULL)};
  const DistInfo *info = &dist_info[dist];
  Node args[4];
  Node x = make_leaf(&p, 0, 0, 1, info->kind == DK_DISCRETE).node;
  for (int i = 0; i < info->n_args; i++) args[i] = make_leaf(&p, i + 1, 0, 1, info->constraints[i] == 'c').node;
  p.lpdf = density_lpdf(p.d, dist, x, args, info->n_args);
  return p;
}

static void set(Point *p, double x, const double *args, int n)
{
  p->value[0][0] = x;
  for (int i = 0; i < n; i++) p->value[i + 1][0] = args[i];
}

static void assert_close(const char *what, double got, double want, double tolerance)
{
  if (!(fabs(got - want) <= tolerance * fmax(1, fabs(want)))) fail_msg("%s: %.17g instead of %.17g", what, got, want);
}

/* Adds what one leaf's adjoint gives to each entry of its family: over all values of the leaf's axes. */
static void scatter(Point *p, Node leaf, Node adjoint, Evaluation *e, AxisSet axes, double gradient[5][MAX_ENTRIES])
{
  for (int a = 0; a < p->d->axes.n; a++) {
    if (!(axes & AXIS_BIT(a))) continue;
    long extent = (long)dag_eval(p->d, p->d->axes.at[a].extent, e);
    for (e->axis[a] = 0; e->axis[a] < extent; e->axis[a]++) scatter(p, leaf, adjoint, e, axes & ~AXIS_BIT(a), gradient);
    return;
  }
  const XNode *x = dag_node(p->d, leaf);
  long at = 0;
  for (int i = 0; i < x->n_args; i++) at = at * p->columns[x->aux] + (long)dag_eval(p->d, x->args[i], e);
  gradient[x->aux][at] += dag_eval(p->d, adjoint, e);
}

/* The gradient with respect to every latent entry against central differences, extrapolated once (error h^4). */
static void check_gradient(const char *what, Point *p)
{
  LeafAdjoints adjoints = {0};
  double gradient[5][MAX_ENTRIES] = {{0}};
  bool latent[5] = {false};
  dag_gradient(p->d, p->lpdf, x_const(p->d, 1), X_VALUE, X_VALUE, &adjoints);
  for (int k = 0; k < adjoints.n; k++) {
    Evaluation e = {.leaf = leaf_value, .data = p};
    latent[dag_node(p->d, adjoints.at[k].leaf)->aux] = true;
    scatter(p, adjoints.at[k].leaf, adjoints.at[k].adjoint, &e, dag_axes(p->d, adjoints.at[k].leaf), gradient);
  }
  for (int f = 0; f < 5; f++) {
    int entries = !latent[f] ? 0 : p->rank[f] == 0 ? 1 : p->rank[f] == 1 ? p->columns[f] : p->columns[f] * p->columns[f];
    for (int at = 0; at < entries; at++) {
      double *v = &p->value[f][at], keep = *v, difference[2];
      for (int s = 0; s < 2; s++) {
        double h = (s ? 1e-3 : 2e-3) * fmax(0.02, fabs(keep));
        *v = keep + h;
        double up = evaluate(p, p->lpdf);
        *v = keep - h;
        difference[s] = (up - evaluate(p, p->lpdf)) / (2 * h);
      }
      *v = keep;
      assert_close(what, gradient[f][at], (4 * difference[1] - difference[0]) / 3, 1e-6);
    }
  }
}

/* ---- univariate ---------------------------------------------------------------------------------------------------------------------- */

typedef double (*Pdf)(double x, const double *a);

static double pdf_normal(double x, const double *a) { return gsl_ran_gaussian_pdf(x - a[0], a[1]); }
static double pdf_std_normal(double x, const double *a) { (void)a; return gsl_ran_ugaussian_pdf(x); }
static double pdf_student_t(double x, const double *a) { return gsl_ran_tdist_pdf((x - a[1]) / a[2], a[0]) / a[2]; }
static double pdf_cauchy(double x, const double *a) { return gsl_ran_cauchy_pdf(x - a[0], a[1]); }
static double pdf_double_exponential(double x, const double *a) { return gsl_ran_laplace_pdf(x - a[0], a[1]); }
static double pdf_logistic(double x, const double *a) { return gsl_ran_logistic_pdf(x - a[0], a[1]); }
static double pdf_gumbel(double x, const double *a) { return gsl_ran_gumbel1_pdf(x, 1 / a[1], exp(a[0] / a[1])); }
static double pdf_skew_normal(double x, const double *a)
{
  double z = (x - a[0]) / a[1];
  return 2 / a[1] * gsl_ran_ugaussian_pdf(z) * gsl_cdf_ugaussian_P(a[2] * z);
}
static double pdf_lognormal(double x, const double *a) { return gsl_ran_lognormal_pdf(x, a[0], a[1]); }
static double pdf_gamma(double x, const double *a) { return gsl_ran_gamma_pdf(x, a[0], 1 / a[1]); }
static double pdf_inv_gamma(double x, const double *a) { return gsl_ran_gamma_pdf(1 / x, a[0], 1 / a[1]) / (x * x); }
static double pdf_chi_square(double x, const double *a) { return gsl_ran_chisq_pdf(x, a[0]); }
static double pdf_inv_chi_square(double x, const double *a) { return gsl_ran_chisq_pdf(1 / x, a[0]) / (x * x); }
static double pdf_exponential(double x, const double *a) { return gsl_ran_exponential_pdf(x, 1 / a[0]); }
static double pdf_weibull(double x, const double *a) { return gsl_ran_weibull_pdf(x, a[1], a[0]); }
static double pdf_pareto(double x, const double *a) { return gsl_ran_pareto_pdf(x, a[1], a[0]); }
static double pdf_beta(double x, const double *a) { return gsl_ran_beta_pdf(x, a[0], a[1]); }
static double pdf_uniform(double x, const double *a) { return gsl_ran_flat_pdf(x, a[0], a[1]); }
static double pdf_von_mises(double x, const double *a) { return exp(a[1] * cos(x - a[0])) / (2 * M_PI * gsl_sf_bessel_I0(a[1])); }
static double pdf_bernoulli(double x, const double *a) { return gsl_ran_bernoulli_pdf((unsigned)x, a[0]); }
static double expit(double x) { return 1 / (1 + exp(-x)); }
static double pdf_bernoulli_logit(double x, const double *a) { return gsl_ran_bernoulli_pdf((unsigned)x, expit(a[0])); }
static double pdf_binomial(double x, const double *a) { return gsl_ran_binomial_pdf((unsigned)x, a[1], (unsigned)a[0]); }
static double pdf_binomial_logit(double x, const double *a) { return gsl_ran_binomial_pdf((unsigned)x, expit(a[1]), (unsigned)a[0]); }
static double pdf_poisson(double x, const double *a) { return gsl_ran_poisson_pdf((unsigned)x, a[0]); }
static double pdf_poisson_log(double x, const double *a) { return gsl_ran_poisson_pdf((unsigned)x, exp(a[0])); }
static double pdf_neg_binomial_2(double x, const double *a) { return gsl_ran_negative_binomial_pdf((unsigned)x, a[1] / (a[0] + a[1]), a[1]); }
static double pdf_neg_binomial_2_log(double x, const double *a)
{
  return gsl_ran_negative_binomial_pdf((unsigned)x, a[1] / (exp(a[0]) + a[1]), a[1]);
}
static double pdf_geometric(double x, const double *a) { return gsl_ran_geometric_pdf((unsigned)x + 1, a[0]); }
static double pdf_beta_binomial(double x, const double *a)
{
  return exp(gsl_sf_lnchoose((unsigned)a[0], (unsigned)x) + gsl_sf_lnbeta(x + a[1], a[0] - x + a[2]) - gsl_sf_lnbeta(a[1], a[2]));
}

#define REAL -INFINITY, INFINITY
#define POSITIVE 0, INFINITY
typedef struct {
  int dist;
  Pdf pdf;
  double args[3];
  double x[3];
  double lo, hi;                       /* support of the normalisation */
} Case;
static const Case cases[] = {
  {DIST_normal, pdf_normal, {1.5, 2.5}, {-3, 1.5, 4}, REAL},
  {DIST_normal, pdf_normal, {-1e3, 0.01}, {-1000.02, -999.99, -1000}, -1000.2, -999.8},
  {DIST_std_normal, pdf_std_normal, {0}, {-2, 0.1, 7}, REAL},
  {DIST_student_t, pdf_student_t, {3.5, 1, 2}, {-8, 1.2, 30}, REAL},
  {DIST_student_t, pdf_student_t, {120, 0, 0.5}, {-1, 0.3, 2}, REAL},
  {DIST_cauchy, pdf_cauchy, {1, 2}, {-50, 0.5, 3}, REAL},
  {DIST_double_exponential, pdf_double_exponential, {0.5, 1.5}, {-4, 0.2, 2}, REAL},
  {DIST_logistic, pdf_logistic, {0.5, 1.5}, {-20, 0.2, 9}, REAL},
  {DIST_gumbel, pdf_gumbel, {0.5, 1.5}, {-3, 0.2, 9}, REAL},
  {DIST_skew_normal, pdf_skew_normal, {0.5, 1.5, 2}, {-3, 0.2, 4}, REAL},
  {DIST_skew_normal, pdf_skew_normal, {0.5, 1.5, -0.7}, {-3, 0.2, 4}, REAL},
  {DIST_lognormal, pdf_lognormal, {0.3, 0.8}, {0.05, 1.2, 9}, POSITIVE},
  {DIST_gamma, pdf_gamma, {2.5, 1.7}, {0.05, 1.2, 9}, POSITIVE},
  {DIST_gamma, pdf_gamma, {0.6, 0.2}, {0.05, 1.2, 9}, POSITIVE},
  {DIST_inv_gamma, pdf_inv_gamma, {2.5, 1.7}, {0.2, 1.2, 9}, POSITIVE},
  {DIST_chi_square, pdf_chi_square, {3.3}, {0.2, 1.2, 9}, POSITIVE},
  {DIST_inv_chi_square, pdf_inv_chi_square, {3.3}, {0.2, 1.2, 9}, POSITIVE},
  {DIST_exponential, pdf_exponential, {1.7}, {0.2, 1.2, 9}, POSITIVE},
  {DIST_weibull, pdf_weibull, {1.4, 2.2}, {0.2, 1.2, 9}, POSITIVE},
  {DIST_pareto, pdf_pareto, {1.4, 2.2}, {1.41, 2, 9}, 1.4, INFINITY},
  {DIST_beta, pdf_beta, {1.4, 2.2}, {0.1, 0.5, 0.97}, 0, 1},
  {DIST_uniform, pdf_uniform, {-1.5, 2}, {-1.2, 0.5, 1.9}, -1.5, 2},
  {DIST_von_mises, pdf_von_mises, {0.5, 2.5}, {-2, 0.5, 3}, 0.5 - M_PI, 0.5 + M_PI},
  {DIST_von_mises, pdf_von_mises, {0.5, 12}, {-2, 0.5, 3}, 0.5 - M_PI, 0.5 + M_PI},
  {DIST_bernoulli, pdf_bernoulli, {0.3}, {0, 1, 1}, 0, 1},
  {DIST_bernoulli_logit, pdf_bernoulli_logit, {-1.3}, {0, 1, 1}, 0, 1},
  {DIST_binomial, pdf_binomial, {12, 0.3}, {0, 4, 12}, 0, 12},
  {DIST_binomial_logit, pdf_binomial_logit, {12, 0.8}, {0, 4, 12}, 0, 12},
  {DIST_poisson, pdf_poisson, {4.5}, {0, 4, 12}, 0, 60},
  {DIST_poisson_log, pdf_poisson_log, {1.2}, {0, 4, 12}, 0, 60},
  {DIST_neg_binomial_2, pdf_neg_binomial_2, {4.5, 2.2}, {0, 4, 12}, 0, 400},
  {DIST_neg_binomial_2_log, pdf_neg_binomial_2_log, {1.2, 3.3}, {0, 4, 12}, 0, 400},
  {DIST_geometric, pdf_geometric, {0.3}, {0, 4, 12}, 0, 150},
  {DIST_beta_binomial, pdf_beta_binomial, {12, 1.3, 2.2}, {0, 4, 12}, 0, 12},
};

static const char *name_of(const Case *c) { return dist_info[c->dist].name; }

static void test_against_gsl(void **state)
{
  (void)state;
  for (const Case *c = cases; c < cases + ROWS(cases); c++) {
    Point p = scalar_point(c->dist);
    for (int i = 0; i < 3; i++) {
      set(&p, c->x[i], c->args, dist_info[c->dist].n_args);
      assert_close(name_of(c), evaluate(&p, p.lpdf), log(c->pdf(c->x[i], c->args)), 1e-11);
    }
  }
}

static void test_gradients(void **state)
{
  (void)state;
  for (const Case *c = cases; c < cases + ROWS(cases); c++) {
    for (int i = 0; i < 3; i++) {
      Point p = scalar_point(c->dist);
      set(&p, c->x[i], c->args, dist_info[c->dist].n_args);
      if (c->args[1] == 0.01) continue;                                    /* the step of the difference is too coarse there */
      check_gradient(name_of(c), &p);
    }
  }
}

typedef struct { Point p; const Case *c; } Integrand;
static double integrand(double x, void *data)
{
  Integrand *in = data;
  set(&in->p, x, in->c->args, dist_info[in->c->dist].n_args);
  return exp(evaluate(&in->p, in->p.lpdf));
}

static void test_normalisation(void **state)
{
  (void)state;
  gsl_integration_workspace *w = gsl_integration_workspace_alloc(1000);
  for (const Case *c = cases; c < cases + ROWS(cases); c++) {
    Integrand in = {scalar_point(c->dist), c};
    gsl_function f = {integrand, &in};
    double total = 0, error;
    if (dist_info[c->dist].kind == DK_DISCRETE)
      for (double x = c->lo; x <= c->hi; x++) total += integrand(x, &in);
    else if (isinf(c->lo)) gsl_integration_qagi(&f, 1e-10, 1e-10, 1000, w, &total, &error);
    else if (isinf(c->hi)) gsl_integration_qagiu(&f, c->lo, 1e-10, 1e-10, 1000, w, &total, &error);
    else gsl_integration_qags(&f, c->lo, c->hi, 1e-10, 1e-10, 1000, w, &total, &error);
    assert_close(name_of(c), total, 1, 1e-8);
  }
  gsl_integration_workspace_free(w);
}

/* Every univariate distribution has a case. */
static void test_complete(void **state)
{
  (void)state;
  for (int dist = 0; dist < DIST_COUNT; dist++) {
    bool seen = dist_info[dist].shape == DSH_MULTIVARIATE || dist_info[dist].support == SUP_CATEGORY || dist == DIST_flat;
    for (const Case *c = cases; c < cases + ROWS(cases); c++) seen |= c->dist == dist;
    if (!seen) fail_msg("%s has no case", dist_info[dist].name);
  }
  Point flat = scalar_point(DIST_flat);
  assert_true(evaluate(&flat, flat.lpdf) == 0);
}

/* ---- forms ------------------------------------------------------------------------------------------------------------------------------ */

static void test_logits_are_kept(void **state)
{
  (void)state;
  Dag *d = dag_new(NULL);
  Node y = x_leaf(d, X_INPUT, 0, 0, NULL, true), n = x_leaf(d, X_INPUT, 1, 0, NULL, true), a = x_leaf(d, X_VALUE, 2, 0, NULL, false);
  Node theta = x_fn1(d, F_inv_logit, a);
  assert_int_equal(density_lpdf(d, DIST_bernoulli, y, &theta, 1), density_lpdf(d, DIST_bernoulli_logit, y, &a, 1));
  assert_int_equal(density_lpdf(d, DIST_binomial, y, (Node[]){n, theta}, 2), density_lpdf(d, DIST_binomial_logit, y, (Node[]){n, a}, 2));
  Node rate = x_exp(d, a);
  assert_int_equal(density_lpdf(d, DIST_poisson, y, &rate, 1), density_lpdf(d, DIST_poisson_log, y, &a, 1));
  assert_int_equal(density_lpdf(d, DIST_neg_binomial_2, y, (Node[]){rate, n}, 2), density_lpdf(d, DIST_neg_binomial_2_log, y, (Node[]){a, n}, 2));
}

static double at(int dist, double x, double a, double b)
{
  Point p = scalar_point(dist);
  set(&p, x, (double[]){a, b}, 2);
  return evaluate(&p, p.lpdf);
}

static void test_extremes(void **state)
{
  (void)state;
  assert_close("bernoulli_logit", at(DIST_bernoulli_logit, 0, 900, 0), -900, 1e-15);
  assert_close("bernoulli_logit", at(DIST_bernoulli_logit, 1, 900, 0), 0, 1e-15);
  assert_close("bernoulli", at(DIST_bernoulli, 0, 0, 0), 0, 0);             /* 0 log 0 */
  assert_close("bernoulli", at(DIST_bernoulli, 1, 1, 0), 0, 0);
  assert_close("logistic", at(DIST_logistic, -800, 0, 1), -800, 1e-15);
  assert_close("logistic", at(DIST_logistic, 800, 0, 1), -800, 1e-15);
  assert_close("binomial", at(DIST_binomial, 0, 5, 0), 0, 1e-15);
  Dag *d = dag_new(NULL);                                                   /* data outside of a support that its arguments bound */
  Node x = x_leaf(d, X_INPUT, 0, 0, NULL, false);
  Point p = {.d = d};
  p.columns[0] = 1;
  Node u = density_lpdf(d, DIST_uniform, x, (Node[]){x_const(d, 0), x_const(d, 2)}, 2);
  Node q = density_lpdf(d, DIST_pareto, x, (Node[]){x_const(d, 1), x_const(d, 2)}, 2);
  p.value[0][0] = 3;
  assert_true(evaluate(&p, u) == -INFINITY && isfinite(evaluate(&p, q)));
  p.value[0][0] = 0.5;
  assert_true(isfinite(evaluate(&p, u)) && evaluate(&p, q) == -INFINITY);
}

/* ---- vectors, matrices, categories -------------------------------------------------------------------------------------------------------- */

static Point array_point(int dist, int K, bool integer, const int *rank)
{
  Point p = {.d = dag_new(NULL)};
  DensityArg x = make_leaf(&p, 0, rank[0], K, integer), args[4];
  for (int i = 0; i < dist_info[dist].n_args; i++) args[i] = make_leaf(&p, i + 1, rank[i + 1], K, false);
  p.lpdf = density_lpdf_args(p.d, dist, &x, args, dist_info[dist].n_args);
  return p;
}
#define FILL(p, family, ...) memcpy((p).value[family], (double[]){__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}))

static void test_multi_normal_cholesky(void **state)
{
  (void)state;
  Point p = array_point(DIST_multi_normal_cholesky, 3, false, (int[]){1, 1, 2});
  FILL(p, 0, 0.3, -1.2, 2);
  FILL(p, 1, 1, 0.5, -0.5);
  FILL(p, 2, 1.5, 0, 0, -0.4, 0.8, 0, 0.3, 1.1, 2);
  gsl_vector_view x = gsl_vector_view_array(p.value[0], 3), mu = gsl_vector_view_array(p.value[1], 3);
  gsl_matrix_view L = gsl_matrix_view_array(p.value[2], 3, 3);
  gsl_vector *work = gsl_vector_alloc(3);
  double want;
  gsl_ran_multivariate_gaussian_log_pdf(&x.vector, &mu.vector, &L.matrix, &want, work);
  gsl_vector_free(work);
  assert_close("multi_normal_cholesky", evaluate(&p, p.lpdf), want, 1e-13);
  check_gradient("multi_normal_cholesky", &p);
}

static void test_dirichlet(void **state)
{
  (void)state;
  Point p = array_point(DIST_dirichlet, 3, false, (int[]){1, 1});
  FILL(p, 0, 0.2, 0.5, 0.3);
  FILL(p, 1, 0.7, 2.5, 4);
  assert_close("dirichlet", evaluate(&p, p.lpdf), gsl_ran_dirichlet_lnpdf(3, p.value[1], p.value[0]), 1e-13);
  check_gradient("dirichlet", &p);
}

static void test_multinomial(void **state)
{
  (void)state;
  Point p = array_point(DIST_multinomial, 4, true, (int[]){1, 1});
  FILL(p, 0, 3, 0, 5, 1);
  FILL(p, 1, 0.2, 0.1, 0.6, 0.1);
  assert_close("multinomial", evaluate(&p, p.lpdf), gsl_ran_multinomial_lnpdf(4, p.value[1], (unsigned[]){3, 0, 5, 1}), 1e-13);
  check_gradient("multinomial", &p);
}

static void test_categorical(void **state)
{
  (void)state;
  Point p = array_point(DIST_categorical, 3, true, (int[]){0, 1}), q = array_point(DIST_categorical_logit, 3, true, (int[]){0, 1});
  FILL(p, 1, 0.2, 0.5, 0.3);
  FILL(q, 1, 0.4, -1, 800);
  double total = 800 + log1p(exp(0.4 - 800) + exp(-1 - 800));
  for (int y = 1; y <= 3; y++) {
    p.value[0][0] = q.value[0][0] = y;
    assert_close("categorical", evaluate(&p, p.lpdf), log(p.value[1][y - 1]), 1e-15);
    assert_close("categorical_logit", evaluate(&q, q.lpdf), q.value[1][y - 1] - total, 1e-14);
    check_gradient("categorical", &p);
  }
  FILL(q, 1, 0.4, -1, 1.7);
  for (int y = 1; y <= 3; y++) {
    q.value[0][0] = y;
    check_gradient("categorical_logit", &q);
  }
}

/* Logits that are a matrix product: the entry is read from the finished vector. */
static void test_categorical_of_product(void **state)
{
  (void)state;
  Point p = {.d = dag_new(NULL)};
  Dag *d = p.d;
  Node y = make_leaf(&p, 0, 0, 3, true).node;
  DensityArg W = make_leaf(&p, 1, 2, 3, false), z = make_leaf(&p, 2, 1, 3, false);
  Node z_column = dag_substitute_axis(d, z.node, z.axis[0], x_axis(d, W.axis[1]));
  DensityArg beta = {x_sum(d, W.axis[1], x_mul(d, W.node, z_column)), 1, {W.axis[0], 0}};
  p.lpdf = density_lpdf_args(d, DIST_categorical_logit, &(DensityArg){.node = y}, &beta, 1);
  FILL(p, 1, 0.1, -0.3, 0.5, 1.2, 0.4, -0.9, 0.2, 0.8, 0.6);
  FILL(p, 2, 0.7, -1.1, 0.4);
  double b[3], total = 0;
  for (int i = 0; i < 3; i++) {
    b[i] = 0;
    for (int j = 0; j < 3; j++) b[i] += p.value[1][3 * i + j] * p.value[2][j];
    total += exp(b[i]);
  }
  for (int c = 1; c <= 3; c++) {
    p.value[0][0] = c;
    assert_close("categorical_logit of W z", evaluate(&p, p.lpdf), b[c - 1] - log(total), 1e-14);
    check_gradient("categorical_logit of W z", &p);
  }
}

static void test_ordered_logistic(void **state)
{
  (void)state;
  Point p = array_point(DIST_ordered_logistic, 3, true, (int[]){0, 0, 1});
  FILL(p, 1, 0.6);
  FILL(p, 2, -1, 0.2, 2.5);
  double total = 0;
  for (int y = 1; y <= 4; y++) {
    p.value[0][0] = y;
    double above = y == 1 ? 1 : expit(0.6 - p.value[2][y - 2]), below = y == 4 ? 0 : expit(0.6 - p.value[2][y - 1]);
    assert_close("ordered_logistic", evaluate(&p, p.lpdf), log(above - below), 1e-13);
    check_gradient("ordered_logistic", &p);
    total += exp(evaluate(&p, p.lpdf));
  }
  assert_close("ordered_logistic", total, 1, 1e-13);
  FILL(p, 1, -60);                                                          /* far from all cut points: log(above - below) would be log 0 */
  p.value[0][0] = 3;
  assert_close("ordered_logistic", evaluate(&p, p.lpdf), -60 + log(exp(-0.2) - exp(-2.5)), 1e-13);
}

/* The density integrates to 1 over the strictly lower entries: K = 2 over (-1, 1), K = 3 over (-1, 1) and the unit disc. */
static void test_lkj_corr_cholesky(void **state)
{
  (void)state;
  enum { M = 48 };
  gsl_integration_glfixed_table *rule = gsl_integration_glfixed_table_alloc(M);
  double t[M], w[M];
  for (int i = 0; i < M; i++) gsl_integration_glfixed_point(-M_PI / 2, M_PI / 2, (size_t)i, &t[i], &w[i], rule);
  static const double etas[] = {1, 2.5};
  for (int e = 0; e < 2; e++) {
    Point p2 = array_point(DIST_lkj_corr_cholesky, 2, false, (int[]){2, 0}), p3 = array_point(DIST_lkj_corr_cholesky, 3, false, (int[]){2, 0});
    double total2 = 0, total3 = 0;
    p2.value[1][0] = p3.value[1][0] = etas[e];
    for (int i = 0; i < M; i++) {                                           /* r = sin t */
      FILL(p2, 0, 1, 0, sin(t[i]), cos(t[i]));
      total2 += w[i] * cos(t[i]) * exp(evaluate(&p2, p2.lpdf));
      for (int j = 0; j < M; j++)                                           /* a = sin s, b = cos s sin u */
        for (int k = 0; k < M; k++) {
          FILL(p3, 0, 1, 0, 0, sin(t[i]), cos(t[i]), 0, sin(t[j]), cos(t[j]) * sin(t[k]), cos(t[j]) * cos(t[k]));
          total3 += w[i] * w[j] * w[k] * cos(t[i]) * cos(t[j]) * cos(t[j]) * cos(t[k]) * exp(evaluate(&p3, p3.lpdf));
        }
    }
    assert_close("lkj_corr_cholesky, K = 2", total2, 1, 1e-9);
    assert_close("lkj_corr_cholesky, K = 3", total3, 1, 1e-9);
    FILL(p3, 0, 1, 0, 0, 0.3, 0.9, 0, -0.2, 0.5, 0.8);
    check_gradient("lkj_corr_cholesky", &p3);
  }
  gsl_integration_glfixed_table_free(rule);
}

/* ---- distribution functions ------------------------------------------------------------------------------------------------------------------- */

typedef double (*Cdf)(double x, const double *a, bool upper);
#define PICK(name, ...) (upper ? gsl_cdf_##name##_Q(__VA_ARGS__) : gsl_cdf_##name##_P(__VA_ARGS__))
static double cdf_normal(double x, const double *a, bool upper) { return PICK(gaussian, x - a[0], a[1]); }
static double cdf_std_normal(double x, const double *a, bool upper) { (void)a; return PICK(ugaussian, x); }
static double cdf_lognormal(double x, const double *a, bool upper) { return PICK(lognormal, x, a[0], a[1]); }
static double cdf_cauchy(double x, const double *a, bool upper) { return PICK(cauchy, x - a[0], a[1]); }
static double cdf_double_exponential(double x, const double *a, bool upper) { return PICK(laplace, x - a[0], a[1]); }
static double cdf_logistic(double x, const double *a, bool upper) { return PICK(logistic, x - a[0], a[1]); }
static double cdf_gumbel(double x, const double *a, bool upper) { return PICK(gumbel1, x, 1 / a[1], exp(a[0] / a[1])); }
static double cdf_exponential(double x, const double *a, bool upper) { return PICK(exponential, x, 1 / a[0]); }
static double cdf_weibull(double x, const double *a, bool upper) { return PICK(weibull, x, a[1], a[0]); }
static double cdf_pareto(double x, const double *a, bool upper) { return PICK(pareto, x, a[1], a[0]); }
static double cdf_uniform(double x, const double *a, bool upper) { return PICK(flat, x, a[0], a[1]); }
static double cdf_student_t(double x, const double *a, bool upper) { return PICK(tdist, (x - a[1]) / a[2], a[0]); }
static double cdf_gamma(double x, const double *a, bool upper) { return PICK(gamma, x, a[0], 1 / a[1]); }
static double cdf_inv_gamma(double x, const double *a, bool upper) { return cdf_gamma(1 / x, a, !upper); }
static double cdf_chi_square(double x, const double *a, bool upper) { return PICK(chisq, x, a[0]); }
static double cdf_inv_chi_square(double x, const double *a, bool upper) { return cdf_chi_square(1 / x, a, !upper); }
static double cdf_beta(double x, const double *a, bool upper) { return PICK(beta, x, a[0], a[1]); }
static double cdf_bernoulli(double x, const double *a, bool upper) { return upper ? (x < 0 ? 1 : x < 1 ? a[0] : 0) : x < 0 ? 0 : x < 1 ? 1 - a[0] : 1; }
static double cdf_bernoulli_logit(double x, const double *a, bool upper) { return cdf_bernoulli(x, (double[]){1 / (1 + exp(-a[0]))}, upper); }
static double cdf_binomial(double x, const double *a, bool upper) { return x < 0 ? upper : PICK(binomial, (unsigned)x, a[1], (unsigned)a[0]); }
static double cdf_binomial_logit(double x, const double *a, bool upper) { return cdf_binomial(x, (double[]){a[0], 1 / (1 + exp(-a[1]))}, upper); }
static double cdf_poisson(double x, const double *a, bool upper) { return x < 0 ? upper : PICK(poisson, (unsigned)x, a[0]); }
static double cdf_poisson_log(double x, const double *a, bool upper) { return cdf_poisson(x, (double[]){exp(a[0])}, upper); }
static double cdf_neg_binomial_2(double x, const double *a, bool upper)
{
  return x < 0 ? upper : PICK(negative_binomial, (unsigned)x, a[1] / (a[1] + a[0]), a[1]);
}
static double cdf_neg_binomial_2_log(double x, const double *a, bool upper) { return cdf_neg_binomial_2(x, (double[]){exp(a[0]), a[1]}, upper); }
/* Azzalini (1985): Phi(z) - 2 T(z, alpha), Owen's T by Simpson's rule on its definition */
static double cdf_skew_normal(double x, const double *a, bool upper)
{
  double z = (x - a[0]) / a[1], alpha = a[2], owen = 0, h = alpha / 20000;
  for (int i = 0; i <= 20000; i++) {
    double t = i * h, f = exp(-0.5 * z * z * (1 + t * t)) / (1 + t * t);
    owen += (i == 0 || i == 20000 ? 1 : i % 2 ? 4 : 2) * f;
  }
  owen *= h / 3 / (2 * M_PI);
  return upper ? gsl_cdf_ugaussian_Q(z) + 2 * owen : gsl_cdf_ugaussian_P(z) - 2 * owen;
}
static double cdf_geometric(double x, const double *a, bool upper) { return PICK(geometric, (unsigned)(x + 1), a[0]); }

static const struct { int dist; Cdf cdf; double args[3]; double x[4]; } cdfs[] = {
  {DIST_normal, cdf_normal, {1.5, 2}, {-30, -1, 2, 30}},
  {DIST_std_normal, cdf_std_normal, {0}, {-9, -1, 2, 9}},
  {DIST_lognormal, cdf_lognormal, {0.5, 0.8}, {0.01, 0.5, 2, 90}},
  {DIST_cauchy, cdf_cauchy, {1, 2}, {-1e8, -3, 2, 1e7}},
  {DIST_double_exponential, cdf_double_exponential, {1, 2}, {-90, -3, 2, 90}},
  {DIST_logistic, cdf_logistic, {1, 2}, {-90, -3, 2, 90}},
  {DIST_gumbel, cdf_gumbel, {1, 2}, {-3, 0, 2, 40}},
  {DIST_exponential, cdf_exponential, {1.7}, {1e-6, 0.1, 2, 40}},
  {DIST_weibull, cdf_weibull, {1.4, 2.2}, {1e-6, 0.1, 2, 20}},
  {DIST_pareto, cdf_pareto, {1.4, 2.2}, {1.40001, 1.6, 2, 2e6}},
  {DIST_uniform, cdf_uniform, {-1.5, 2}, {-1.49, -0.5, 1, 1.99}},
  {DIST_geometric, cdf_geometric, {0.3}, {0, 1, 7, 50}},
  {DIST_student_t, cdf_student_t, {3.5, 1, 2}, {-1e4, -2, 1.5, 300}},
  {DIST_skew_normal, cdf_skew_normal, {0.5, 1.2, -1.7}, {-4, -0.5, 0.9, 2}},
  {DIST_gamma, cdf_gamma, {2.5, 1.4}, {1e-6, 0.8, 2, 40}},
  {DIST_inv_gamma, cdf_inv_gamma, {2.5, 1.4}, {0.03, 0.3, 1.1, 50}},
  {DIST_chi_square, cdf_chi_square, {3.5}, {1e-6, 1.8, 5, 90}},
  {DIST_inv_chi_square, cdf_inv_chi_square, {3.5}, {0.01, 0.2, 0.6, 1000}},
  {DIST_beta, cdf_beta, {2.5, 0.7}, {1e-6, 0.4, 0.9, 0.99999}},
  {DIST_bernoulli, cdf_bernoulli, {0.3}, {-1, 0, 0, 1}},
  {DIST_bernoulli_logit, cdf_bernoulli_logit, {0.3}, {-1, 0, 0, 1}},
  {DIST_binomial, cdf_binomial, {9, 0.3}, {0, 1, 4, 9}},
  {DIST_binomial_logit, cdf_binomial_logit, {9, -0.6}, {0, 1, 4, 8}},
  {DIST_poisson, cdf_poisson, {3.3}, {0, 1, 5, 40}},
  {DIST_poisson_log, cdf_poisson_log, {1.3}, {0, 1, 5, 40}},
  {DIST_neg_binomial_2, cdf_neg_binomial_2, {3.3, 1.7}, {0, 1, 5, 90}},
  {DIST_neg_binomial_2_log, cdf_neg_binomial_2_log, {1.3, 1.7}, {0, 1, 5, 90}},
};

static void test_distribution_functions(void **state)
{
  (void)state;
  int with_cdf = 0;
  for (int dist = 0; dist < DIST_COUNT; dist++) with_cdf += dist_has_cdf(dist);
  assert_int_equal(with_cdf, ROWS(cdfs));
  for (int c = 0; c < ROWS(cdfs); c++) {
    int dist = cdfs[c].dist, n = dist_info[dist].n_args;
    bool discrete = dist_info[dist].kind == DK_DISCRETE;
    const char *name = dist_info[dist].name;
    for (int i = 0; i < 4; i++)
      for (int upper = 0; upper < 2; upper++) {
        Point p = {.d = dag_new(NULL)};
        Node args[4], x = make_leaf(&p, 0, 0, 1, discrete).node;
        for (int k = 0; k < n; k++) args[k] = make_leaf(&p, k + 1, 0, 1, false).node;
        set(&p, cdfs[c].x[i], cdfs[c].args, n);
        p.lpdf = upper ? density_lccdf(p.d, dist, x, args, n) : density_lcdf(p.d, dist, x, args, n);
        double want = cdfs[c].cdf(cdfs[c].x[i], cdfs[c].args, upper);
        if (want == 0 || want == 1) {
          double got = evaluate(&p, p.lpdf);
          if (want ? fabs(got) > 1e-15 : got != -INFINITY) fail_msg("%s at %g: %g", name, cdfs[c].x[i], got);
          continue;
        }
        assert_close(name, evaluate(&p, p.lpdf), log(want), 1e-10);
        if (want < 1e-8) assert_close(name, evaluate(&p, p.lpdf) / log(want), 1, 1e-10);
        if (i == 1 || i == 2) check_gradient(name, &p);
      }
    for (int i = 0; i < 3; i++) {                                           /* intervals between the points */
      Dag *d = dag_new(NULL);
      Node args[3], lo = x_const(d, cdfs[c].x[i]), hi = x_const(d, cdfs[c].x[i + 1]);
      for (int k = 0; k < n; k++) args[k] = x_const(d, cdfs[c].args[k]);
      Point p = {.d = d};
      double before = cdfs[c].x[i] - (discrete ? 1 : 0), after = cdfs[c].x[i + 1];
      double want = before < 0 && discrete ? cdfs[c].cdf(after, cdfs[c].args, false)
                    : cdfs[c].cdf(before, cdfs[c].args, false) < 0.5 ? cdfs[c].cdf(after, cdfs[c].args, false) - cdfs[c].cdf(before, cdfs[c].args, false)
                                                                     : cdfs[c].cdf(before, cdfs[c].args, true) - cdfs[c].cdf(after, cdfs[c].args, true);
      assert_close(name, exp(evaluate(&p, density_log_interval(d, dist, lo, hi, args, n))), want, 1e-12);
      assert_int_equal(density_log_interval(d, dist, NO_NODE, hi, args, n), density_lcdf(d, dist, hi, args, n));
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_against_gsl), cmocka_unit_test(test_gradients), cmocka_unit_test(test_normalisation),
    cmocka_unit_test(test_complete), cmocka_unit_test(test_logits_are_kept), cmocka_unit_test(test_extremes),
    cmocka_unit_test(test_multi_normal_cholesky), cmocka_unit_test(test_dirichlet), cmocka_unit_test(test_multinomial),
    cmocka_unit_test(test_categorical), cmocka_unit_test(test_categorical_of_product), cmocka_unit_test(test_ordered_logistic),
    cmocka_unit_test(test_lkj_corr_cholesky), cmocka_unit_test(test_distribution_functions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
