/* Tests of grad.c against central differences: every function of fn.def, every operation, and random expressions with sums over axes (one of them
 * with a range that varies), readings at other indices, maxima, branches and triangular solves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "grad.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;
static uint64_t bits(void)
{
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
static int below(int n) { return (int)(bits() % (uint64_t)n); }
static double uniform(double lo, double hi) { return lo + (hi - lo) * (double)(bits() >> 11) * 0x1p-53; }

/* ---- a DAG with leaves that have values --------------------------------------------------------------------------------------------------- */

/* n the unit (1..4), k a reduction over 1..n, m one over 2..4, i, j dimensions of 3. Families: 0, 1 scalars, 2, 3 vectors of 4 whose index wraps
 * around, 4 a matrix of 3 x 3, 5 data like 2. */
enum { N, K, M, I, J, AXES };
enum { FAMILIES = 6, ENTRIES = 9 };
typedef struct { Dag *d; double value[FAMILIES][ENTRIES]; } World;

static World world_new(void)
{
  World w = {.d = dag_new(NULL)};
  Node zero = x_int(w.d, 0), one = x_int(w.d, 1), two = x_int(w.d, 2), four = x_int(w.d, 4);
  dag_axis(w.d, AX_UNIT, "n", 0, one, four);
  dag_axis(w.d, AX_REDUCTION, "k", 1, one, x_axis(w.d, N));
  dag_axis(w.d, AX_REDUCTION, "m", 2, two, four);
  dag_axis(w.d, AX_DIM, "i_", -1, zero, two);
  dag_axis(w.d, AX_DIM, "j_", -1, zero, two);
  return w;
}

static void draw_point(World *w)
{
  for (int f = 0; f < FAMILIES; f++)
    for (int e = 0; e < ENTRIES; e++) w->value[f][e] = uniform(-1.5, 1.5);
  for (int r = 0; r < 3; r++) w->value[4][4 * r] = uniform(1.5, 3);          /* a diagonal that can be divided by */
}

static int entry_of(World *w, const XNode *x, Evaluation *e)
{
  if (!x->n_args) return 0;
  long i = (long)dag_eval(w->d, x->args[0], e);
  return x->aux == 4 ? (int)(3 * i + (long)dag_eval(w->d, x->args[1], e)) : (int)(((i % 4) + 4) % 4);
}

static double leaf_value(void *data, const Dag *d, Node n, const long *axis)
{
  World *w = data;
  Evaluation e = {.leaf = leaf_value, .data = data};
  memcpy(e.axis, axis, sizeof e.axis);
  return w->value[dag_node(d, n)->aux][entry_of(w, dag_node(d, n), &e)];
}

static double value(World *w, Node n)
{
  Evaluation e = {.leaf = leaf_value, .data = w};
  return dag_eval(w->d, n, &e);
}

static Node leaf(World *w, int f, Node index) { return x_leaf(w->d, f == 5 ? X_INPUT : X_VALUE, f, index >= 0, &index, false); }
static Node matrix(World *w)
{
  Node args[2] = {x_axis(w->d, I), x_axis(w->d, J)};
  return x_leaf(w->d, X_VALUE, 4, 2, args, false);
}

/* Adds the adjoint of one leaf, at every value of its axes, to the elements that it means. */
static void spread(World *w, const LeafAdjoint *a, const int *axes, int n, Evaluation *e, double gradient[FAMILIES][ENTRIES])
{
  if (n) {
    const Axis *ax = &w->d->axes.at[axes[0]];
    long lo = (long)dag_eval(w->d, ax->lo, e), hi = (long)dag_eval(w->d, ax->hi, e);
    for (e->axis[axes[0]] = lo; e->axis[axes[0]] <= hi; e->axis[axes[0]]++) spread(w, a, axes + 1, n - 1, e, gradient);
    return;
  }
  const XNode *x = dag_node(w->d, a->leaf);
  gradient[x->aux][entry_of(w, x, e)] += dag_eval(w->d, a->adjoint, e);
}

/* Gradient of the scalar root by grad.c. */
static void gradient_of(World *w, Node root, double gradient[FAMILIES][ENTRIES])
{
  LeafAdjoints out = {0};
  dag_gradient(w->d, root, x_const(w->d, 1), X_VALUE, X_VALUE, &out);
  memset(gradient, 0, sizeof(double) * FAMILIES * ENTRIES);
  for (int i = 0; i < out.n; i++) {
    int axes[MAX_AXES], n = axes_in_order(w->d, dag_axes(w->d, out.at[i].leaf), axes);
    if (dag_axes(w->d, out.at[i].adjoint) & ~dag_axes(w->d, out.at[i].leaf)) fail_msg("an adjoint varies over axes that its leaf has not");
    Evaluation e = {.leaf = leaf_value, .data = w};
    spread(w, &out.at[i], axes, n, &e, gradient);
  }
}

static const char *text(const Dag *d, Node n)
{
  static Model none;
  static Family families[FAMILIES] = {{.name = "a"}, {.name = "b"}, {.name = "v"}, {.name = "w"}, {.name = "L"}, {.name = "x"}};
  Dag copy = *d;
  none.families.at = families, none.families.n = FAMILIES;
  copy.model = &none;
  StrBuf b = {0};
  dag_print(&copy, n, &b);
  return sb_text(&b);
}

/* d root / d entry by central differences, extrapolated once; false where two steps disagree (a kink, or far too steep). */
static bool difference(World *w, Node root, double *entry, double *slope)
{
  double keep = *entry, d[2], h = 2e-4;
  for (int s = 0; s < 2; s++) {
    double step = h / (1 << s);
    *entry = keep + step;
    double up = value(w, root);
    *entry = keep - step;
    d[s] = (up - value(w, root)) / (2 * step);
  }
  *entry = keep;
  *slope = (4 * d[1] - d[0]) / 3;
  return isfinite(*slope) && fabs(d[0] - d[1]) <= 1e-5 * (1 + fabs(*slope)) && fabs(*slope) < 1e5;
}

/* Compares all partial derivatives; returns how many were fit to compare. */
static int compare(World *w, Node root, double tolerance)
{
  double got[FAMILIES][ENTRIES], wanted;
  int compared = 0;
  double at = value(w, root);
  if (!isfinite(at) || fabs(at) > 1e4) return 0;
  gradient_of(w, root, got);
  for (int f = 0; f < 5; f++)
    for (int e = 0; e < (f < 2 ? 1 : f < 4 ? 4 : 9); e++) {
      if (!difference(w, root, &w->value[f][e], &wanted)) continue;
      compared++;
      if (!(fabs(got[f][e] - wanted) <= tolerance * (1 + fabs(wanted) + fabs(at))))
        fail_msg("family %d entry %d: %.12g, differences say %.12g: %s", f, e, got[f][e], wanted, text(w->d, root));
    }
  return compared;
}

/* ---- every function ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct { double lo[3], hi[3]; bool data; } Domain;                   /* per argument; data: the last argument is data */
static const Domain domain[FN_COUNT_] = {
  [F_exp] = {{-2}, {2}}, [F_log] = {{0.1}, {4}}, [F_log1p] = {{-0.8}, {4}}, [F_expm1] = {{-2}, {2}}, [F_sqrt] = {{0.1}, {4}}, [F_square] = {{-2}, {2}},
  [F_fabs] = {{0.1}, {2}}, [F_floor] = {{0.1}, {0.9}}, [F_ceil] = {{0.1}, {0.9}}, [F_round] = {{0.1}, {0.4}}, [F_sign] = {{-2}, {-0.1}}, [F_step] = {{0.1}, {2}},
  [F_sin] = {{-3}, {3}}, [F_cos] = {{-3}, {3}}, [F_tan] = {{-1.2}, {1.2}}, [F_asin] = {{-0.9}, {0.9}}, [F_acos] = {{-0.9}, {0.9}}, [F_atan] = {{-3}, {3}},
  [F_sinh] = {{-2}, {2}}, [F_cosh] = {{-2}, {2}}, [F_tanh] = {{-2}, {2}}, [F_cbrt] = {{0.2}, {3}}, [F_erf] = {{-2}, {2}}, [F_erfc] = {{-2}, {2}},
  [F_inv_logit] = {{-4}, {4}}, [F_log_inv_logit] = {{-4}, {4}}, [F_log1m_inv_logit] = {{-4}, {4}}, [F_logit] = {{0.1}, {0.9}}, [F_softplus] = {{-4}, {4}},
  [F_log1m_exp] = {{-3}, {-0.1}}, [F_relu] = {{-2}, {-0.1}}, [F_gelu] = {{-2}, {2}}, [F_lgamma] = {{0.3}, {5}}, [F_digamma] = {{0.3}, {5}},
  [F_Phi] = {{-3}, {3}}, [F_std_normal_lcdf] = {{-3}, {3}}, [F_log_bessel_i0] = {{0.2}, {6}}, [F_bessel_ratio] = {{0.2}, {6}},
  [F_leaky_relu] = {{-2, 0.1}, {-0.1, 0.4}, true}, [F_atan2] = {{0.3, 0.3}, {2, 2}}, [F_fmax] = {{0.1, -2}, {2, 0}}, [F_fmin] = {{0.1, -2}, {2, 0}},
  [F_fmod] = {{0.1, 2}, {1.5, 3}, true}, [F_lbeta] = {{0.3, 0.3}, {4, 4}}, [F_lchoose] = {{5, 1}, {8, 4}}, [F_xlogy] = {{-2, 0.2}, {2, 3}},
  [F_xlog1my] = {{-2, -2}, {2, 0.8}},     [F_trigamma] = {{0.3}, {5}}, [F_tgamma] = {{0.3}, {4}}, [F_inv_Phi] = {{0.02}, {0.98}}, [F_normal_hazard] = {{-3}, {3}},
  [F_gamma_lcdf] = {{0.3, 0.1}, {4, 6}}, [F_gamma_lccdf] = {{0.3, 0.1}, {4, 6}}, [F_student_t_lcdf] = {{-3, 0.5}, {3, 6}},
  [F_skew_normal_lcdf] = {{-2, -3}, {2, 3}}, [F_beta_lcdf] = {{0.1, 0.4, 0.4}, {0.9, 3, 3}}, [F_beta_lccdf] = {{0.1, 0.4, 0.4}, {0.9, 3, 3}},
};

static void test_functions(void **unused)
{
  (void)unused;
  state = 1;
  for (int f = 0; f < FN_COUNT_; f++) {
    static const Fn only_derivatives[] = {F_tetragamma,        F_gamma_lcdf_d1, F_gamma_lccdf_d1, F_student_t_lcdf_d1, F_skew_normal_lcdf_d1,
                                          F_beta_lcdf_d1, F_beta_lcdf_d2,  F_beta_lccdf_d1,  F_beta_lccdf_d2};  /* higher order is not needed */
    bool skip = false;
    for (size_t i = 0; i < sizeof only_derivatives / sizeof *only_derivatives; i++) skip = skip || f == (int)only_derivatives[i];
    if (skip) continue;
    const Domain *dom = &domain[f];
    if (dom->lo[0] == dom->hi[0]) fail_msg("no domain for %s", fn_c_name[f]);
    for (int side = 0; side < 2; side++)                                    /* relu and the like on both sides of zero */
      for (int trial = 0; trial < 20; trial++) {
        World w = world_new();
        Node a = leaf(&w, 0, NO_NODE), b = dom->data ? leaf(&w, 5, x_int(w.d, 0)) : leaf(&w, 1, NO_NODE);
        draw_point(&w);
        w.value[0][0] = uniform(dom->lo[0], dom->hi[0]);
        w.value[1][0] = w.value[5][0] = uniform(dom->lo[1], dom->hi[1]);
        if (side && (f == F_relu || f == F_leaky_relu || f == F_fabs || f == F_cbrt || f == F_sign)) w.value[0][0] = -w.value[0][0];
        if (side && (f == F_fmax || f == F_fmin)) { double t = w.value[0][0]; w.value[0][0] = w.value[1][0], w.value[1][0] = t; }
        w.value[2][0] = uniform(dom->lo[2], dom->hi[2]);
        Node n = fn_arity[f] == 1 ? x_fn1(w.d, (Fn)f, a) : fn_arity[f] == 2 ? x_fn2(w.d, (Fn)f, a, b) : x_fn3(w.d, (Fn)f, a, b, leaf(&w, 2, x_int(w.d, 0)));
        Node root = x_mul(w.d, x_const(w.d, 1.25), n);
        if (!compare(&w, root, 2e-7)) fail_msg("no derivative of %s was fit to compare", fn_c_name[f]);
      }
  }
}

/* Arguments that are the same node: both shares count. */
static void test_same_argument(void **unused)
{
  (void)unused;
  state = 2;
  for (int trial = 0; trial < 20; trial++) {
    World w = world_new();
    Dag *d = w.d;
    draw_point(&w);
    Node a = x_exp(d, leaf(&w, 0, NO_NODE)), b = leaf(&w, 1, NO_NODE), half = x_const(d, 0.5);
    Node roots[] = {x_fn2(d, F_lbeta, a, a), x_fn2(d, F_atan2, a, a), x_fn2(d, F_xlogy, a, a), x_div(d, a, x_add(d, a, a)), x_pow(d, a, a),
                    x_pow(d, a, x_const(d, 1.7)), x_pow(d, x_const(d, 1.7), b), x_pow(d, x_add(d, a, half), b), x_div(d, b, a), x_sub(d, b, x_mul(d, b, a))};
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
      if (!compare(&w, roots[i], 2e-7)) fail_msg("expression %zu was not fit to compare", i);
  }
}

/* ---- sums, readings, maxima ------------------------------------------------------------------------------------------------------------------------ */

/* A range that varies with n: what does not vary with n inside still counts once for each n. */
static void test_ragged_sums(void **unused)
{
  (void)unused;
  state = 3;
  World w = world_new();
  Dag *d = w.d;
  draw_point(&w);
  Node vk = leaf(&w, 2, x_axis(d, K)), vn = leaf(&w, 2, x_axis(d, N)), a = leaf(&w, 0, NO_NODE);
  Node roots[] = {x_sum(d, N, x_sum(d, K, vk)),
                  x_sum(d, N, x_sum(d, K, x_square(d, vk))),
                  x_sum(d, N, x_mul(d, vn, x_sum(d, K, x_exp(d, vk)))),
                  x_sum(d, N, x_sum(d, K, x_mul(d, vk, x_add(d, vn, a)))),
                  x_sum(d, N, x_sum(d, K, x_square(d, a))),
                  x_sum(d, N, x_log_sum_exp(d, K, x_mul(d, vk, a))),
                  x_add(d, x_sum(d, N, x_square(d, vn)), x_sum(d, N, x_sum(d, K, x_mul(d, x_square(d, vk), vk))))};
  for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
    if (compare(&w, roots[i], 2e-7) < 15) fail_msg("too little of sum %zu was fit to compare", i);
}

/* Matrices: W v, its square, softmax, an entry, the diagonal, a reversal, an exchange of axes. */
static void test_matrices(void **unused)
{
  (void)unused;
  state = 4;
  World w = world_new();
  Dag *d = w.d;
  draw_point(&w);
  Node i = x_axis(d, I), j = x_axis(d, J), L = matrix(&w), vi = leaf(&w, 2, i), vj = leaf(&w, 2, j), a = leaf(&w, 0, NO_NODE);
  Node product = x_sum(d, J, x_mul(d, L, vj)), softmax = x_exp(d, x_sub(d, product, x_log_sum_exp(d, I, product)));
  Node back = x_sub(d, x_int(d, 2), i);
  Node roots[] = {x_sum(d, I, x_square(d, product)),
                  x_square(d, x_at(d, product, I, x_int(d, 1))),
                  x_sum(d, J, x_mul(d, vj, x_square(d, x_at(d, product, I, j)))),
                  x_sum(d, I, x_mul(d, x_square(d, x_at(d, product, I, back)), vi)),
                  x_at(d, softmax, I, x_int(d, 2)),
                  x_sum(d, I, x_mul(d, softmax, vi)),
                  x_sum(d, I, x_exp(d, x_at(d, L, J, i))),
                  x_sum(d, I, x_sum(d, J, x_square(d, x_sub(d, L, a)))),
                  x_log(d, x_sum(d, N, x_exp(d, x_mul(d, a, x_at(d, product, I, x_int(d, 0)))))),
                  x_reduce(d, X_MAX, I, x_mul(d, product, a)),
                  x_reduce(d, X_MIN, I, x_exp(d, product)),
                  x_sum(d, N, x_at(d, x_mul(d, product, x_exp(d, x_mul(d, a, leaf(&w, 3, x_axis(d, N))))), I, x_int(d, 1)))};
  for (size_t k = 0; k < sizeof roots / sizeof *roots; k++)
    if (compare(&w, roots[k], 3e-7) < 10) fail_msg("too little of expression %zu was fit to compare", k);
}

/* L^-1 b and L^-T b, in both arguments; the matrix may be an expression, the right side may vary over units. */
static void test_solves(void **unused)
{
  (void)unused;
  state = 5;
  for (int trial = 0; trial < 10; trial++) {
    World w = world_new();
    Dag *d = w.d;
    draw_point(&w);
    Node i = x_axis(d, I), j = x_axis(d, J), L = matrix(&w), vi = leaf(&w, 2, i), wn = leaf(&w, 3, x_axis(d, N));
    Node scaled = x_mul(d, L, x_exp(d, x_mul(d, x_const(d, 0.3), leaf(&w, 0, NO_NODE)))), right = x_add(d, vi, x_mul(d, wn, x_const(d, 0.7)));
    for (int t = 0; t < 2; t++) {
      Node s = x_trisolve(d, t, I, J, L, vi), u = x_trisolve(d, t, I, J, scaled, right);
      Node twice = x_trisolve(d, !t, I, J, L, x_trisolve(d, t, I, J, L, vi));
      Node entry = x_at(d, x_trisolve(d, t, I, J, L, vi), I, j);
      Node roots[] = {x_sum(d, I, x_square(d, s)), x_sum(d, N, x_sum(d, I, x_square(d, u))), x_sum(d, I, x_mul(d, twice, vi)), x_sum(d, J, x_exp(d, entry))};
      for (size_t k = 0; k < sizeof roots / sizeof *roots; k++)
        if (compare(&w, roots[k], 5e-7) < 10) fail_msg("too little of solve %zu was fit to compare", k);
    }
  }
}

/* Cholesky factor, inverse and determinant, of a matrix that is an expression and varies over units; products, also with zeros among the factors. */
static void test_matrix_functions(void **unused)
{
  (void)unused;
  state = 11;
  for (int trial = 0; trial < 5; trial++) {
    World w = world_new();
    Dag *d = w.d;
    draw_point(&w);
    Node i = x_axis(d, I), j = x_axis(d, J), A = matrix(&w), vi = leaf(&w, 2, i), vj = leaf(&w, 2, j), scale = x_exp(d, x_mul(d, x_const(d, 0.3), leaf(&w, 3, x_axis(d, N))));
    int other = dag_dim_axis(d, d->axes.at[I].extent, 2);
    Node t = x_axis(d, other), square = x_sum(d, other, x_mul(d, x_at(d, A, J, t), x_at(d, x_at(d, A, J, t), I, j)));     /* A A' */
    Node S = x_mul(d, x_add(d, square, x_compare(d, X_EQ, i, j)), scale), L = x_matrix(d, X_CHOLESKY, I, J, S, NO_NODE);
    Node inverse = x_matrix(d, X_INVERSE, I, J, x_mul(d, A, scale), NO_NODE), flipped = x_matrix(d, X_INVERSE_T, I, J, A, NO_NODE);
    Node roots[] = {x_sum(d, N, x_sum(d, I, x_sum(d, J, x_mul(d, L, x_mul(d, vi, x_exp(d, vj)))))), x_sum(d, N, x_matrix(d, X_LOG_DET, I, J, x_mul(d, A, scale), NO_NODE)),
                    x_sum(d, N, x_sum(d, I, x_sum(d, J, x_mul(d, inverse, x_mul(d, vi, x_exp(d, vj)))))),
                    x_sum(d, I, x_sum(d, J, x_mul(d, flipped, x_mul(d, vi, x_exp(d, vj))))), x_reduce(d, X_PROD, I, x_add(d, vi, x_const(d, 0.2))),
                    x_sum(d, N, x_reduce(d, X_PROD, I, x_mul(d, vi, scale)))};
    for (size_t k = 0; k < sizeof roots / sizeof *roots; k++)
      if (compare(&w, roots[k], 1e-6) < 4) fail_msg("too little of matrix function %zu was fit to compare", k);
    /* L L' = S, S S^-1 = 1, log det = 2 sum log L[i,i] */
    Node back = x_sum(d, other, x_mul(d, x_at(d, L, J, t), x_at(d, x_at(d, L, J, t), I, j)));
    Node unit = x_sum(d, other, x_mul(d, x_at(d, S, J, t), x_at(d, x_matrix(d, X_INVERSE, I, J, S, NO_NODE), I, t)));
    Node det = x_sub(d, x_matrix(d, X_LOG_DET, I, J, S, NO_NODE), x_sum(d, I, x_mul(d, x_const(d, 2), x_log(d, x_at(d, L, J, i)))));
    Node wrong = x_add(d, x_add(d, x_square(d, x_sub(d, back, S)), x_square(d, x_sub(d, unit, x_compare(d, X_EQ, i, j)))), x_square(d, det));
    assert_true(value(&w, x_sum(d, N, x_sum(d, I, x_sum(d, J, wrong)))) < 1e-20);
    for (int zeros = 1; zeros < 3; zeros++) {
      for (int k = 0; k < zeros; k++) w.value[2][k] = 0;
      Node product = x_reduce(d, X_PROD, I, vi);
      if (compare(&w, x_add(d, product, x_sum(d, I, vi)), 1e-6) < 3) fail_msg("no derivative of a product with %d zeros", zeros);
    }
  }
}

/* Branches: the one that is not taken gives no gradient and no NaN. */
static void test_conditions(void **unused)
{
  (void)unused;
  state = 6;
  World w = world_new();
  Dag *d = w.d;
  draw_point(&w);
  Node n = x_axis(d, N), vn = leaf(&w, 2, n), before = leaf(&w, 2, x_sub(d, n, x_int(d, 1))), first = x_compare(d, X_EQ, n, x_int(d, 1)), a = leaf(&w, 0, NO_NODE);
  Node zero = x_const(d, 0);
  Node roots[] = {x_sum(d, N, x_square(d, x_sub(d, vn, x_cond(d, first, zero, x_mul(d, a, before))))),
                  x_sum(d, N, x_cond(d, first, x_exp(d, vn), x_mul(d, vn, before))),
                  x_sum(d, N, x_square(d, x_cond(d, first, x_const(d, 2), x_mul(d, vn, x_exp(d, before))))),
                  x_sum(d, N, x_mul(d, x_cond(d, first, a, zero), x_cond(d, first, zero, vn)))};
  for (size_t k = 0; k < sizeof roots / sizeof *roots; k++)
    if (compare(&w, roots[k], 2e-7) < 10) fail_msg("too little of branch %zu was fit to compare", k);
  for (int e = 0; e < 4; e++) w.value[2][e] = -1;
  w.value[2][1] = 2;                                                        /* element of n = 1: the logarithm is taken there only */
  double got[FAMILIES][ENTRIES];
  gradient_of(&w, x_sum(d, N, x_cond(d, first, x_mul(d, x_log(d, vn), x_sqrt(d, vn)), zero)), got);
  for (int e = 0; e < 4; e++) assert_true(e == 1 ? got[2][e] > 0 : got[2][e] == 0);
}

/* ---- random expressions ------------------------------------------------------------------------------------------------------------------------------- */

static Node random_index(World *w, AxisSet scope)
{
  int list[AXES], n = 0;
  for (int a = 0; a < AXES; a++)
    if (scope & AXIS_BIT(a)) list[n++] = a;
  Node t = n && below(5) ? x_axis(w->d, list[below(n)]) : x_int(w->d, below(3));
  return below(3) ? t : x_sub(w->d, t, x_int(w->d, below(3)));
}

static Node random_node(World *w, AxisSet scope, int depth)
{
  static const Fn fns[] = {F_exp, F_sin, F_tanh, F_inv_logit, F_softplus, F_square, F_erf, F_atan, F_gelu, F_log_inv_logit};
  Dag *d = w->d;
  if (depth <= 0 || !below(10)) {
    switch (below(6)) {
    case 0: return x_const(d, uniform(-1, 1));
    case 1: return leaf(w, below(2), NO_NODE);
    case 2: return leaf(w, 5, random_index(w, scope));
    default: return leaf(w, 2 + below(2), random_index(w, scope));
    }
  }
#define SUB(s) random_node(w, s, depth - 1)
  switch (below(14)) {
  case 0: case 1: return x_add(d, SUB(scope), SUB(scope));
  case 2: return x_sub(d, SUB(scope), SUB(scope));
  case 3: case 4: return x_mul(d, SUB(scope), SUB(scope));
  case 5: return x_div(d, SUB(scope), x_add(d, x_const(d, 1.5), x_fn1(d, F_softplus, SUB(scope))));
  case 6: case 7: { Node a = SUB(scope); return x_fn1(d, fns[below(sizeof fns / sizeof *fns)], a); }
  case 8: {
    Node c = x_compare(d, below(2) ? X_LT : X_EQ, random_index(w, scope), random_index(w, scope)), a = SUB(scope);
    return below(2) ? x_cond(d, c, a, x_const(d, 0)) : x_cond(d, c, a, SUB(scope));
  }
  case 9: if ((scope & (AXIS_BIT(I) | AXIS_BIT(J))) == 0) {
    Node b = random_node(w, scope | AXIS_BIT(I), depth - 1);
    Node s = x_trisolve(d, below(2), I, J, below(2) ? matrix(w) : x_mul(d, matrix(w), x_exp(d, random_node(w, scope, 1))), b);
    return below(2) ? x_sum(d, I, x_mul(d, s, leaf(w, 3, x_axis(d, I)))) : x_at(d, s, I, x_int(d, below(3)));
  } /* fall through */
  default: {
    AxisSet free = ~scope & (AXIS_BIT(AXES) - 1) & ~AXIS_BIT(N);
    if (!(scope & AXIS_BIT(N))) free &= ~AXIS_BIT(K);
    int list[AXES], n = 0;
    for (int a = 0; a < AXES; a++)
      if (free & AXIS_BIT(a)) list[n++] = a;
    if (!n) return SUB(scope);
    int axis = list[below(n)];
    Node body = SUB(scope | AXIS_BIT(axis));
    switch (below(5)) {
    case 0: return x_log_sum_exp(d, axis, body);
    case 1: return x_reduce(d, below(2) ? X_MAX : X_MIN, axis, body);
    case 2: if (axis >= I) {
      Node to = (scope & AXIS_BIT(axis == I ? J : I)) && below(2) ? x_axis(d, axis == I ? J : I) : x_int(d, below(3));
      return x_at(d, body, axis, to);
    } /* fall through */
    default: return x_sum(d, axis, x_mul(d, x_const(d, 0.5), body));
    }
  }
  }
#undef SUB
}

static void test_random(void **unused)
{
  (void)unused;
  state = 7;
  int compared = 0;
  for (int trial = 0; trial < 600; trial++) {
    World w = world_new();
    Node root = x_sum(w.d, N, random_node(&w, AXIS_BIT(N), 3 + below(3)));
    draw_point(&w);
    compared += compare(&w, root, 1e-6);
  }
  if (compared < 8000) fail_msg("only %d derivatives were fit to compare", compared);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_functions), cmocka_unit_test(test_same_argument), cmocka_unit_test(test_ragged_sums), cmocka_unit_test(test_matrices),
    cmocka_unit_test(test_solves), cmocka_unit_test(test_matrix_functions),    cmocka_unit_test(test_conditions),    cmocka_unit_test(test_random),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
