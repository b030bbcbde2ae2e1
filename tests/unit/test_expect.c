/* Tests of expect.c: expectations under independent Gaussians against tensor Gauss-Hermite sums over all elements that occur, at random parameters and
 * data, and the method reported; terms that must be refused; large offsets, which must not cancel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "density.h"
#include "dist.h"
#include "expect.h"
#include <gsl/gsl_integration.h>
#include <math.h>
#include <string.h>

static uint64_t state;
static uint64_t bits(void)
{
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
static double uniform(double lo, double hi) { return lo + (hi - lo) * (double)(bits() >> 11) * 0x1p-53; }

/* ---- the world: latent a, b, c (scalars), z[n], v[i], w[i], m[i, j]; data x, y, X[i], g[n] ------------------------------------------------- */

enum { N, I, J };                                                      /* n the unit (2..4), i and j dimensions of 2 */
enum { FA, FB, FC, FZ, FV, FW, FM, LATENTS, FX = LATENTS, FY, FXV, FG, FAMILIES };
enum { ENTRIES = 6, MOST_NODES = 80 };

typedef struct {
  Dag *d;
  long n;
  double mean[LATENTS][ENTRIES], sd[LATENTS][ENTRIES], value[FAMILIES][ENTRIES];
  int quad_n;
  double quad_x[MOST_NODES], quad_w[MOST_NODES];
  bool seen[LATENTS][ENTRIES];                                               /* elements that have been read */
} World;

static void normal_rule(int n, double *x, double *w)
{
  const gsl_integration_fixed_type *T = gsl_integration_fixed_hermite;
  gsl_integration_fixed_workspace *f = gsl_integration_fixed_alloc(T, (size_t)n, 0, 0.5, 0, 0);
  for (int i = 0; i < n; i++) x[i] = gsl_integration_fixed_nodes(f)[i], w[i] = gsl_integration_fixed_weights(f)[i] / sqrt(2 * M_PI);
  gsl_integration_fixed_free(f);
}

static World world_new(int quad_n)
{
  World w = {.d = dag_new(NULL), .quad_n = quad_n};
  Node zero = x_int(w.d, 0), one = x_int(w.d, 1);
  dag_axis(w.d, AX_UNIT, "n", 0, x_int(w.d, 2), x_int(w.d, 4));
  dag_axis(w.d, AX_DIM, "i_", -1, zero, one);
  dag_axis(w.d, AX_DIM, "j_", -1, zero, one);
  normal_rule(quad_n, w.quad_x, w.quad_w);
  return w;
}

static void draw_point(World *w)
{
  for (int f = 0; f < LATENTS; f++)
    for (int e = 0; e < ENTRIES; e++) w->mean[f][e] = uniform(-1, 1), w->sd[f][e] = uniform(0.2, 0.7);
  for (int f = LATENTS; f < FAMILIES; f++)
    for (int e = 0; e < ENTRIES; e++) w->value[f][e] = f == FG ? 2 + (double)(bits() % 3) : uniform(-1.5, 1.5);
  w->n = 2 + (long)(bits() % 3);
}

static double leaf_value(void *data, const Dag *d, Node n, const long *axis)
{
  World *w = data;
  const XNode *x = dag_node(d, n);
  if (x->op == X_QUAD_X) return w->quad_x[axis[x->aux]];
  if (x->op == X_QUAD_W) return w->quad_w[axis[x->aux]];
  Evaluation e = {.leaf = leaf_value, .data = data};
  memcpy(e.axis, axis, sizeof e.axis);
  long at = 0;
  for (int i = 0; i < x->n_args; i++) at = at * 2 + (long)dag_eval(d, x->args[i], &e);
  at = ((at % ENTRIES) + ENTRIES) % ENTRIES;
  if (x->op == X_MEAN) return w->mean[x->aux][at];
  if (x->op == X_SD) return w->sd[x->aux][at];
  if (x->op == X_U) w->seen[x->aux][at] = true;
  return w->value[x->aux][at];
}

static double evaluate(World *w, Node n)
{
  Evaluation e = {.leaf = leaf_value, .data = w};
  e.axis[N] = w->n;
  for (int a = 0; a < w->d->axes.n; a++)
    if (w->d->axes.at[a].kind == AX_QUADRATURE) w->d->axes.at[a].lo = x_int(w->d, 0), w->d->axes.at[a].hi = x_int(w->d, w->quad_n - 1);
  return dag_eval(w->d, n, &e);
}

/* E n as a tensor sum over the elements in the list. */
static double tensor(World *w, Node n, double **element, const double *mean, const double *sd, int count, const double *x, const double *weight, int nodes)
{
  if (!count) return evaluate(w, n);
  double sum = 0;
  for (int q = 0; q < nodes; q++) {
    *element[0] = mean[0] + sd[0] * x[q];
    sum += weight[q] * tensor(w, n, element + 1, mean + 1, sd + 1, count - 1, x, weight, nodes);
  }
  return sum;
}

static double brute_force(World *w, Node n)
{
  double *element[8], mean[8], sd[8], x[MOST_NODES], weight[MOST_NODES];
  int count = 0;
  memset(w->seen, 0, sizeof w->seen);
  for (int f = 0; f < LATENTS; f++) memcpy(w->value[f], w->mean[f], sizeof w->mean[f]);
  evaluate(w, n);
  for (int f = 0; f < LATENTS; f++)
    for (int e = 0; e < ENTRIES; e++)
      if (w->seen[f][e] && count < 8) element[count] = &w->value[f][e], mean[count] = w->mean[f][e], sd[count++] = w->sd[f][e];
  assert_in_range(count, 0, 7);
  static const int nodes[] = {1, 60, 40, 24, 14, 9, 7, 6};                    /* polynomials are exact from 3 on; others have few variables */
  normal_rule(nodes[count], x, weight);
  return tensor(w, n, element, mean, sd, count, x, weight, nodes[count]);
}

/* ---- leaves ------------------------------------------------------------------------------------------------------------------------------------ */

static World *now;
static Node U(int f) { return x_leaf(now->d, X_U, f, 0, NULL, false); }
static Node U1(int f, Node i) { return x_leaf(now->d, X_U, f, 1, &i, false); }
static Node U2(int f, Node i, Node j) { return x_leaf(now->d, X_U, f, 2, (Node[]){i, j}, false); }
static Node data1(int f, Node i) { return x_leaf(now->d, X_INPUT, f, 1, &i, f == FG); }
static Node lp(int dist, Node x, int n, const Node *args) { return density_lpdf(now->d, dist, x, args, n); }
static Node log_sum_exp(Node body) { return x_log_sum_exp(now->d, I, body); }

#define A U(FA)
#define B U(FB)
#define C_ U(FC)
#define K(v) x_const(now->d, v)
#define N_ x_axis(now->d, N)
#define I_ x_axis(now->d, I)
#define J_ x_axis(now->d, J)
#define OFF(index, k) x_add(now->d, index, x_int(now->d, k))
#define Z U1(FZ, N_)
#define ZB U1(FZ, OFF(N_, -1))
#define ZG U1(FZ, data1(FG, N_))
#define V U1(FV, I_)
#define W U1(FW, I_)
#define M U2(FM, I_, J_)
#define X data1(FX, N_)
#define Y data1(FY, N_)
#define XI data1(FXV, I_)
#define ADD(p, q) x_add(now->d, p, q)
#define SUB(p, q) x_sub(now->d, p, q)
#define MUL(p, q) x_mul(now->d, p, q)
#define DIV(p, q) x_div(now->d, p, q)
#define EXP(p) x_exp(now->d, p)
#define LOG(p) x_log(now->d, p)
#define SQ(p) x_square(now->d, p)
#define POW(p, k) x_pow(now->d, p, K(k))
#define FN(f, p) x_fn1(now->d, F_##f, p)
#define SUMI(p) x_sum(now->d, I, p)
#define SUMJ(p) x_sum(now->d, J, p)
#define COND(k, p, q) x_cond(now->d, k, p, q)
#define POSITIVE x_compare(now->d, X_LT, K(0), X)
#define LATER x_compare(now->d, X_LT, x_int(now->d, 2), N_)
#define LP(dist, x, ...) lp(DIST_##dist, x, (int)(sizeof((Node[]){__VA_ARGS__}) / sizeof(Node)), (Node[]){__VA_ARGS__})
#define LINEAR ADD(ADD(A, MUL(B, X)), MUL(K(0.5), Z))                        /* a linear predictor */
#define COUNT x_int(now->d, 3)

#define CASES(_)                                                                                                                                    \
  /* polynomials in affine forms */                                                                                                                 \
  _(CLOSED_FORM, A)                                                                                                                                 \
  _(CLOSED_FORM, SUB(MUL(X, A), DIV(B, K(3))))                                                                                                      \
  _(CLOSED_FORM, SQ(ADD(A, X)))                                                                                                                     \
  _(CLOSED_FORM, SQ(LINEAR))                                                                                                                        \
  _(CLOSED_FORM, POW(SUB(A, MUL(X, B)), 3))                                                                                                         \
  _(CLOSED_FORM, POW(ADD(A, ADD(B, X)), 4))                                                                                                         \
  _(CLOSED_FORM, MUL(ADD(A, X), SUB(A, B)))                                                                                                         \
  _(CLOSED_FORM, MUL(SQ(A), SUB(A, B)))                                                                                                             \
  _(CLOSED_FORM, MUL(SQ(ADD(A, X)), SQ(SUB(B, A))))                                                                                                 \
  _(CLOSED_FORM, MUL(MUL(ADD(A, B), ADD(B, C_)), ADD(C_, A)))                                                                                       \
  _(CLOSED_FORM, MUL(MUL(ADD(A, B), ADD(B, C_)), MUL(ADD(C_, A), ADD(A, X))))                                                                       \
  _(CLOSED_FORM, MUL(SQ(A), MUL(B, POW(C_, 3))))                                                                                                    \
  _(CLOSED_FORM, MUL(MUL(A, A), MUL(A, X)))                                                                                                         \
  /* products with exp(affine) */                                                                                                                   \
  _(CLOSED_FORM, EXP(SUB(A, MUL(X, B))))                                                                                                            \
  _(CLOSED_FORM, MUL(A, EXP(A)))                                                                                                                    \
  _(CLOSED_FORM, MUL(SQ(SUB(A, X)), EXP(MUL(K(-0.5), A))))                                                                                          \
  _(CLOSED_FORM, DIV(SQ(SUB(X, A)), EXP(B)))                                                                                                        \
  _(CLOSED_FORM, MUL(SQ(SUB(Z, MUL(A, X))), EXP(ADD(B, MUL(K(0.3), Z)))))                                                                           \
  _(CLOSED_FORM, MUL(POW(ADD(A, B), 3), EXP(ADD(A, C_))))                                                                                           \
  _(CLOSED_FORM, MUL(MUL(EXP(A), EXP(B)), MUL(ADD(A, B), SUB(B, X))))                                                                               \
  _(CLOSED_FORM, SQ(MUL(SUB(A, X), EXP(A))))                                                                                                        \
  _(CLOSED_FORM, POW(EXP(A), 1.5))                                                                                                                  \
  _(CLOSED_FORM, DIV(A, EXP(ADD(A, B))))                                                                                                            \
  /* squares of sums with products */                                                                                                               \
  _(CLOSED_FORM, SQ(SUB(X, MUL(A, B))))                                                                                                             \
  _(CLOSED_FORM, SQ(SUB(X, ADD(C_, MUL(A, B)))))                                                                                                    \
  _(CLOSED_FORM, SQ(SUB(X, MUL(A, ADD(B, C_)))))                                                                                                    \
  _(CLOSED_FORM, SQ(SUB(X, ADD(MUL(A, EXP(B)), SQ(C_)))))                                                                                           \
  _(CLOSED_FORM, SQ(SUB(X, ADD(A, MUL(A, B)))))                                                                                                     \
  _(CLOSED_FORM, SQ(SUB(X, MUL(A, MUL(B, Z)))))                                                                                                     \
  _(CLOSED_FORM, DIV(SQ(SUB(X, MUL(A, Z))), EXP(C_)))                                                                                               \
  _(CLOSED_FORM, SQ(SUB(EXP(A), MUL(X, EXP(B)))))                                                                                                   \
  _(CLOSED_FORM, SQ(SUB(X, COND(POSITIVE, MUL(A, B), A))))                                                                                          \
  /* densities */                                                                                                                                   \
  _(CLOSED_FORM, LP(normal, Z, A, EXP(B)))                                                                                                          \
  _(CLOSED_FORM, LP(normal, X, LINEAR, EXP(C_)))                                                                                                    \
  _(CLOSED_FORM, LP(normal, X, A, EXP(A)))                                                                                                          \
  _(CLOSED_FORM, LP(normal, X, MUL(A, Z), K(1.5)))                                                                                                  \
  _(CLOSED_FORM, LP(lognormal, EXP(A), B, EXP(C_)))                                                                                                 \
  _(CLOSED_FORM, LP(lognormal, EXP(X), B, K(0.5)))                                                                                                  \
  _(CLOSED_FORM, LP(gamma, EXP(A), K(2), K(3)))                                                                                                     \
  _(CLOSED_FORM, LP(gamma, EXP(A), K(2), EXP(B)))                                                                                                   \
  _(QUADRATURE, LP(gamma, EXP(A), EXP(B), K(3)))                                                                                                    \
  _(CLOSED_FORM, LP(inv_gamma, EXP(A), K(2), K(3)))                                                                                                 \
  _(CLOSED_FORM, LP(exponential, EXP(A), EXP(B)))                                                                                                   \
  _(CLOSED_FORM, LP(poisson_log, COUNT, LINEAR))                                                                                                    \
  _(CLOSED_FORM, LP(poisson, COUNT, EXP(ADD(A, B))))                                                                                                \
  _(CLOSED_FORM, LP(poisson, COUNT, MUL(EXP(A), EXP(B))))                                                                                           \
  _(CLOSED_FORM, LP(weibull, EXP(A), K(2), EXP(B)))                                                                                                 \
  _(CLOSED_FORM, LP(gumbel, X, A, K(1.5)))                                                                                                          \
  _(QUADRATURE, LP(gamma, FN(inv_logit, A), K(2), K(3)))                                                                                            \
  _(QUADRATURE, LP(beta, FN(inv_logit, A), K(2), K(3)))                                                                                             \
  _(QUADRATURE, LP(student_t, X, K(4), A, K(1.5)))                                                                                                  \
  _(QUADRATURE, LP(cauchy, X, A, EXP(B)))                                                                                                           \
  _(QUADRATURE, LP(bernoulli_logit, x_int(now->d, 1), LINEAR))                                                                                      \
  _(QUADRATURE, LP(binomial_logit, x_int(now->d, 2), x_int(now->d, 5), ADD(A, Z)))                                                                  \
  _(QUADRATURE, LP(bernoulli, x_int(now->d, 1), FN(inv_logit, ADD(A, B))))                                                                          \
  _(QUADRATURE, LP(poisson, COUNT, FN(softplus, A)))                                                                                                \
  _(QUADRATURE, LP(normal, X, A, ADD(EXP(B), K(0.1))))                                                                                              \
  _(QUADRATURE, LP(normal, X, FN(sin, Z), EXP(B)))                                                                                                  \
  _(QUADRATURE, LP(normal, X, ADD(A, MUL(FN(sin, Z), Z)), EXP(FN(cos, Z))))                                                                         \
  _(QUADRATURE, LP(normal, X, FN(tanh, MUL(A, B)), K(0.7)))                                                                                         \
  _(QUADRATURE, LP(normal, X, ADD(C_, FN(tanh, MUL(A, B))), K(0.7)))                                                                                \
  _(QUADRATURE, LP(logistic, X, A, EXP(B)))                                                                                                         \
  /* sums over axes */                                                                                                                              \
  _(CLOSED_FORM, SUMI(MUL(XI, V)))                                                                                                                  \
  _(CLOSED_FORM, SQ(SUB(X, SUMI(MUL(XI, V)))))                                                                                                      \
  _(CLOSED_FORM, POW(ADD(A, SUMI(MUL(XI, V))), 4))                                                                                                  \
  _(CLOSED_FORM, EXP(ADD(A, SUMI(MUL(XI, V)))))                                                                                                     \
  _(CLOSED_FORM, MUL(SQ(ADD(A, SUMI(V))), EXP(SUMI(MUL(XI, V)))))                                                                                   \
  _(CLOSED_FORM, SUMI(SQ(SUB(V, MUL(A, XI)))))                                                                                                      \
  _(CLOSED_FORM, SQ(SUB(X, SUMI(MUL(V, W)))))                                                                                                       \
  _(CLOSED_FORM, SQ(SUB(X, ADD(A, SUMI(MUL(V, EXP(W)))))))                                                                                          \
  _(CLOSED_FORM, SUMI(SQ(SUB(XI, SUMJ(M)))))                                                                                                        \
  _(CLOSED_FORM, SUMI(SQ(SUB(XI, SUMJ(MUL(M, U1(FV, J_)))))))                                                                                       \
  _(CLOSED_FORM, SQ(SUB(X, SUMI(SQ(V)))))                                                                                                           \
  _(CLOSED_FORM, MUL(SUMI(V), SUMI(MUL(XI, V))))                                                                                                    \
  _(QUADRATURE, FN(softplus, ADD(A, SUMI(MUL(XI, V)))))                                                                                             \
  _(QUADRATURE, SUMI(FN(softplus, ADD(A, V))))                                                                                                      \
  _(QUADRATURE, SQ(SUMI(FN(tanh, V))))                                                                                                              \
  _(QUADRATURE, SQ(SUMI(FN(tanh, ADD(A, V)))))                                                                                                      \
  _(QUADRATURE, SQ(SUB(X, SUMI(MUL(W, FN(tanh, V))))))                                                                                              \
  _(QUADRATURE, LP(bernoulli_logit, x_int(now->d, 0), SUMI(MUL(XI, V))))                                                                            \
  /* neighbours, shared leaves, branches on data */                                                                                                 \
  _(CLOSED_FORM, SQ(SUB(Z, MUL(X, ZB))))                                                                                                            \
  _(CLOSED_FORM, MUL(SQ(SUB(Z, MUL(A, ZB))), EXP(C_)))                                                                                              \
  _(CLOSED_FORM, MUL(Z, EXP(MUL(K(0.5), ADD(Z, ZB)))))                                                                                              \
  _(CLOSED_FORM, SQ(COND(POSITIVE, A, MUL(X, B))))                                                                                                  \
  _(CLOSED_FORM, COND(POSITIVE, SQ(A), EXP(B)))                                                                                                     \
  _(CLOSED_FORM, SQ(SUB(Z, COND(LATER, MUL(A, ZB), K(0)))))                                                                                         \
  _(CLOSED_FORM, MUL(A, SQ(SUB(X, COND(POSITIVE, MUL(A, B), A)))))                                                                                  \
  _(QUADRATURE, FN(sin, COND(POSITIVE, MUL(A, B), A)))                                                                                              \
  _(CLOSED_FORM, EXP(COND(POSITIVE, ADD(A, B), A)))                                                                                                 \
  _(QUADRATURE, MUL(FN(sin, A), EXP(ADD(A, B))))                                                                                                    \
  _(QUADRATURE, MUL(FN(sin, ADD(A, B)), A))                                                                                                         \
  _(QUADRATURE, MUL(FN(sin, A), FN(cos, MUL(A, B))))                                                                                                \
  _(QUADRATURE, x_fn2(now->d, F_atan2, ADD(A, K(4)), ADD(B, K(5))))                                                                                 \
  _(QUADRATURE, DIV(A, ADD(K(2), SQ(B))))                                                                                                           \
  _(QUADRATURE, MUL(A, DIV(SQ(C_), ADD(K(2), FN(softplus, B)))))                                                                                    \
  _(QUADRATURE, SQ(SUB(X, ADD(FN(sin, A), FN(cos, B)))))                                                                                            \
  _(QUADRATURE, SQ(SUB(X, ADD(FN(sin, ADD(A, B)), MUL(C_, A)))))                                                                                    \
  /* what must be refused: variables that may be the same, three-dimensional integrals, maxima, points */                                           \
  _(SAMPLED, SQ(SUB(Z, ZG)))                                                                                                                        \
  _(SAMPLED, MUL(Z, ZG))                                                                                                                            \
  _(SAMPLED, EXP(ADD(Z, ZG)))                                                                                                                       \
  _(SAMPLED, FN(sin, ADD(Z, ZG)))                                                                                                                   \
  _(SAMPLED, MUL(FN(sin, Z), FN(cos, ZG)))                                                                                                          \
  _(SAMPLED, SQ(SUB(SUMI(V), SUMI(MUL(XI, U1(FV, OFF(I_, 1)))))))                                                                                   \
  _(SAMPLED, MUL(SUMI(V), SUMI(U1(FV, OFF(I_, 1)))))                                                                                                \
  _(SAMPLED, SQ(SUMI(MUL(V, U1(FV, OFF(I_, 1))))))                                                                                                  \
  _(SAMPLED, SQ(SUMI(MUL(V, ADD(A, XI)))))                                                                                                          \
  _(SAMPLED, MUL(SUMI(V), SUMJ(U1(FV, J_))))                                                                                                        \
  _(SAMPLED, SQ(SUMI(FN(tanh, ADD(MUL(A, B), V)))))                                                                                                 \
  _(SAMPLED, FN(tanh, MUL(A, MUL(B, C_))))                                                                                                          \
  _(SAMPLED, log_sum_exp(V))                                                                                                                        \
  _(SAMPLED, x_reduce(now->d, X_MAX, I, V))                                                                                                         \
  _(SAMPLED, MUL(A, x_leaf(now->d, X_VALUE, FB, 0, NULL, false)))                                                                                   \
  _(SAMPLED, COND(x_compare(now->d, X_LT, A, K(0)), A, B))

typedef struct { Node n; ExpectMethod method; const char *text; } Case;

static Case build(int which)
{
#define BUILD(kind, expression) if (which-- == 0) return (Case){expression, EXPECT_##kind, #expression};
  CASES(BUILD)
  return (Case){.n = NO_NODE};
}

static const char *const methods[] = {"closed form", "quadrature", "sampled"};

/* Every case: the method, and the value at random parameters and data. */
static void test_cases(void **unused)
{
  (void)unused;
  state = 1;
  int wrong = 0;
  for (int k = 0;; k++) {
    World w = world_new(60);
    now = &w;
    Case t = build(k);
    if (t.n < 0) break;
    ExpectMethod method;
    Node r = dag_expect(w.d, t.n, &method);
    if (method != t.method) print_message("%s: %s, not %s\n", t.text, methods[method], methods[t.method]), wrong++;
    if (r >= 0 && dag_node(w.d, r)->random) print_message("%s: still random\n", t.text), wrong++;
    if (r >= 0 && (dag_axes(w.d, r) & ~dag_axes(w.d, t.n))) print_message("%s: more axes than before\n", t.text), wrong++;
    for (int trial = 0; r >= 0 && trial < 4; trial++) {
      draw_point(&w);
      double got = evaluate(&w, r), wanted = brute_force(&w, t.n);
      if (fabs(got - wanted) <= (method == EXPECT_QUADRATURE ? 5e-5 : 1e-7) * (1 + fabs(wanted))) continue;
      print_message("%s: %.12g, not %.12g\n", t.text, got, wanted);
      wrong++;
      break;
    }
  }
  assert_int_equal(wrong, 0);
}

/* The value where offsets of a million meet: relative to what is left, nothing is lost. */
static void test_offsets(void **unused)
{
  (void)unused;
  state = 2;
  World w = world_new(20);
  now = &w;
  Node vector = SUMI(MUL(V, W));
  struct { Node n; double offset; } cases[] = {
    {LP(normal, X, A, K(1)), 1},           {LP(normal, X, ADD(A, MUL(B, K(0.5))), K(1)), 1}, {LP(normal, X, ADD(A, MUL(B, Z)), K(1)), 1},
    {LP(normal, X, ADD(A, EXP(B)), K(1)), 1}, {LP(normal, ADD(X, MUL(B, Z)), A, EXP(C_)), 1},   {SQ(SUB(X, ADD(A, vector))), 1},
    {SQ(SUB(ADD(X, FN(sin, B)), A)), 1},   {SQ(SUB(ADD(X, FN(sin, ADD(B, C_))), A)), 1},
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    ExpectMethod method;
    Node r = dag_expect(w.d, cases[k].n, &method);
    if (r < 0) fail_msg("offset case %zu is sampled", k);
    for (int trial = 0; trial < 4; trial++) {
      draw_point(&w);
      double keep = w.mean[FA][0], near = evaluate(&w, r);
      for (int e = 0; e < ENTRIES; e++) w.value[FX][e] += 0x1p20;           /* x and the mean of a move together */
      w.mean[FA][0] += 0x1p20;
      double far = evaluate(&w, r);
      if (!(fabs(far - near) <= 1e-8 * (1 + fabs(near)))) fail_msg("offset case %zu: %.15g, not %.15g", k, far, near);
      w.mean[FA][0] = keep;
    }
  }
}

/* Products of uncertain factors with small sds: the variance keeps its digits. */
static void test_small_variances(void **unused)
{
  (void)unused;
  World w = world_new(20);
  now = &w;
  ExpectMethod method;
  Node square = dag_expect(w.d, SQ(SUB(X, MUL(A, B))), &method), logs = dag_expect(w.d, SQ(SUB(X, EXP(A))), &method);
  draw_point(&w);
  double ma = w.mean[FA][0] = 3e4, mb = w.mean[FB][0] = 2e4, sa = w.sd[FA][0] = 1e-3, sb = w.sd[FB][0] = 2e-3;
  for (int e = 0; e < ENTRIES; e++) w.value[FX][e] = ma * mb;
  double wanted = ma * ma * sb * sb + mb * mb * sa * sa + sa * sa * sb * sb;
  assert_true(fabs(evaluate(&w, square) - wanted) <= 1e-10 * wanted);
  w.mean[FA][0] = 10, w.sd[FA][0] = 1e-6;
  double mean = exp(10 + 0.5e-12);
  for (int e = 0; e < ENTRIES; e++) w.value[FX][e] = mean;
  wanted = mean * mean * expm1(1e-12);
  assert_true(fabs(evaluate(&w, logs) - wanted) <= 1e-6 * wanted);
}

/* Kinks and steps have closed forms, alone and beside other factors, and in squares: against a fine grid over a and Gauss-Hermite nodes over b and c. */
static void test_thresholds(void **unused)
{
  (void)unused;
  state = 3;
  World w = world_new(20);
  now = &w;
  enum { CELLS = 1500, OTHERS = 8 };
  double x[OTHERS], weight[OTHERS];
  normal_rule(OTHERS, x, weight);
  const Node above = x_compare(w.d, X_LT, X, A), both = x_compare(w.d, X_LT, B, ADD(A, X)), below = SUB(K(1), above), larger = x_fn2(w.d, F_fmax, A, X);
  const Node cases[] = {
    above, both, below, MUL(above, above), MUL(above, below), MUL(above, B), MUL(above, A), MUL(above, SQ(ADD(A, B))), MUL(both, MUL(B, ADD(A, C_))),
    SQ(SUB(Y, ADD(MUL(above, B), MUL(below, C_)))), SQ(SUB(Y, MUL(both, C_))),
    FN(relu, A), FN(relu, SUB(A, B)), SQ(FN(relu, SUB(A, X))), MUL(FN(relu, A), B), MUL(FN(relu, A), ADD(A, B)), SQ(SUB(Y, MUL(B, FN(relu, SUB(A, X))))),
    FN(fabs, SUB(A, X)), FN(fabs, SUB(A, MUL(B, X))), MUL(FN(fabs, A), B), SQ(SUB(Y, FN(fabs, A))), larger, SQ(larger), SQ(SUB(larger, B)),
    x_fn2(w.d, F_fmin, A, B), LP(double_exponential, X, A, EXP(B)), LP(double_exponential, A, B, EXP(C_)), LP(normal, Y, FN(relu, ADD(A, X)), EXP(B)),
    MUL(B, FN(cos, MUL(above, C_))),
    FN(sin, SUB(A, MUL(B, X))), FN(cos, A), FN(Phi, ADD(A, B)), MUL(FN(cos, A), SQ(B)),
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    ExpectMethod method;
    const Node r = dag_expect(w.d, cases[k], &method);
    if (r < 0 || method != EXPECT_CLOSED_FORM) fail_msg("threshold case %zu: no closed form", k);
    for (int trial = 0; trial < 3; trial++) {
      draw_point(&w);
      const double m = w.mean[FA][0], s = w.sd[FA][0], got = evaluate(&w, r);
      double wanted = 0, *other[] = {w.value[FB], w.value[FC]};
      const double means[] = {w.mean[FB][0], w.mean[FC][0]}, sds[] = {w.sd[FB][0], w.sd[FC][0]};
      for (int i = 0; i < CELLS; i++) {
        const double u = -7 + 14 * (i + 0.5) / CELLS;
        w.value[FA][0] = m + s * u;
        wanted += 14.0 / CELLS * exp(-0.5 * u * u) / sqrt(2 * M_PI) * tensor(&w, cases[k], other, means, sds, 2, x, weight, OTHERS);
      }
      if (!(fabs(got - wanted) <= 4e-3 * (1 + fabs(wanted)))) fail_msg("threshold case %zu: %.12g, not %.12g", k, got, wanted);
    }
  }
}

/* Long chains and long sums end soon, with an answer or without one. */
static void test_long(void **unused)
{
  (void)unused;
  World w = world_new(20);
  now = &w;
  Dag *d = w.d;
  ExpectMethod method;
  Node chain = A, affine = A, sum = X;
  for (int k = 0; k < 60; k++) {
    chain = ADD(FN(sin, chain), MUL(chain, K(0.5)));
    affine = ADD(MUL(affine, X), MUL(affine, K(0.5)));
  }
  assert_true(dag_expect(d, SQ(chain), &method) >= 0);                       /* a function of one variable */
  assert_int_equal(method, EXPECT_QUADRATURE);
  assert_true(dag_expect(d, SQ(affine), &method) >= 0);
  assert_int_equal(method, EXPECT_CLOSED_FORM);
  for (int k = 0; k < 40; k++) sum = ADD(sum, MUL(K(1 + k), U1(FV, x_int(d, k))));
  assert_true(dag_expect(d, SQ(sum), &method) >= 0);
  assert_int_equal(method, EXPECT_CLOSED_FORM);
  Node product = K(1);
  for (int k = 0; k < 12; k++) {                                            /* entangled products of long sums: 12^12 summands */
    Node s = K(0.5);
    for (int j = 0; j < 12; j++) s = ADD(s, MUL(U1(FV, x_int(d, j)), U1(FW, x_int(d, (j + k) % 12))));
    product = MUL(product, s);
  }
  dag_expect(d, product, &method);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_offsets), cmocka_unit_test(test_small_variances),
                                     cmocka_unit_test(test_thresholds), cmocka_unit_test(test_long)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
