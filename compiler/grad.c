/* Reverse-mode differentiation, DAG -> DAG (Griewank & Walther 2008, ch. 3; here at compile time, so there is no tape).
 *
 * Nodes are visited from the root down in node order; each hands its adjoint times the local derivative to its arguments. An argument that varies
 * over fewer axes than the node was broadcast, so its share is summed over the difference: that turns
 *     forward   sum(k: W[h,k] * z[n,k])           axes {n, h}
 * into backward sum(h: bar[n,h] * W[h,k]) for z[n,k] and sum(n: bar[n,h] * z[n,k]) for W[h,k], which lowering recognises as matrix products. */
#include "grad.h"
#include <math.h>
#include <string.h>

typedef struct { Dag *d; Node *bar; int n; } Reverse;

/* Sum `v` over the axes in `extra`, innermost first. */
static Node sum_over(Dag *d, AxisSet extra, Node v)
{
  for (int a = d->axes.n - 1; a >= 0; a--)
    if (extra & AXIS_BIT(a)) v = x_sum(d, a, v);
  return v;
}

static void give(Reverse *r, Node node_axes_of, Node arg, Node share)
{
  Dag *d = r->d;
  if (!dag_node(d, arg)->latent || (dag_node(d, arg)->op == X_MAX && dag_node(d, arg)->aux2)) return;
  share = sum_over(d, dag_axes(d, node_axes_of) & ~dag_axes(d, arg), share);
  double v;
  if (dag_is_const(d, share, &v) && v == 0) return;
  r->bar[arg] = r->bar[arg] < 0 ? share : x_add(d, r->bar[arg], share);
}

/* d f / d a of a one-argument function; `self` is the node itself. */
static Node derivative1(Dag *d, Fn f, Node a, Node self)
{
  Node one = x_const(d, 1);
  switch (f) {
  case F_exp: return self;
  case F_log: return x_div(d, one, a);
  case F_log1p: return x_div(d, one, x_add(d, one, a));
  case F_expm1: return x_add(d, self, one);
  case F_sqrt: return x_div(d, x_const(d, 0.5), self);
  case F_square: return x_mul(d, x_const(d, 2), a);
  case F_fabs: return x_fn1(d, F_sign, a);
  case F_floor: case F_ceil: case F_round: case F_sign: case F_step: return x_const(d, 0);
  case F_sin: return x_fn1(d, F_cos, a);
  case F_cos: return x_neg(d, x_fn1(d, F_sin, a));
  case F_tan: return x_add(d, one, x_square(d, self));
  case F_asin: return x_div(d, one, x_sqrt(d, x_sub(d, one, x_square(d, a))));
  case F_acos: return x_neg(d, x_div(d, one, x_sqrt(d, x_sub(d, one, x_square(d, a)))));
  case F_atan: return x_div(d, one, x_add(d, one, x_square(d, a)));
  case F_sinh: return x_fn1(d, F_cosh, a);
  case F_cosh: return x_fn1(d, F_sinh, a);
  case F_tanh: return x_sub(d, one, x_square(d, self));
  case F_cbrt: return x_div(d, x_const(d, 1.0 / 3), x_square(d, self));
  case F_erf: return x_mul(d, x_const(d, 2 / sqrt(M_PI)), x_exp(d, x_neg(d, x_square(d, a))));
  case F_erfc: return x_mul(d, x_const(d, -2 / sqrt(M_PI)), x_exp(d, x_neg(d, x_square(d, a))));
  case F_inv_logit: return x_mul(d, self, x_fn1(d, F_inv_logit, x_neg(d, a)));
  case F_log_inv_logit: return x_fn1(d, F_inv_logit, x_neg(d, a));
  case F_log1m_inv_logit: return x_neg(d, x_fn1(d, F_inv_logit, a));
  case F_logit: return x_div(d, one, x_mul(d, a, x_sub(d, one, a)));
  case F_softplus: return x_fn1(d, F_inv_logit, a);
  case F_log1m_exp: return x_neg(d, x_div(d, one, x_fn1(d, F_expm1, x_neg(d, a))));
  case F_relu: return x_fn1(d, F_step, a);
  case F_gelu:                                                             /* Phi(a) + a phi(a) */
    return x_add(d, x_fn1(d, F_Phi, a),
                 x_mul(d, x_mul(d, x_const(d, 0.3989422804014327), a), x_exp(d, x_mul(d, x_const(d, -0.5), x_square(d, a)))));
  case F_lgamma: return x_fn1(d, F_digamma, a);
  case F_digamma: return x_fn1(d, F_trigamma, a);
  case F_trigamma: return x_fn1(d, F_tetragamma, a);
  case F_Phi: return x_mul(d, x_const(d, 0.3989422804014327), x_exp(d, x_mul(d, x_const(d, -0.5), x_square(d, a))));
  case F_std_normal_lcdf: return x_fn1(d, F_normal_hazard, a);
  case F_normal_hazard: return x_neg(d, x_mul(d, self, x_add(d, a, self)));
  case F_inv_Phi:                                                           /* 1 / phi(self) */
    return x_mul(d, x_const(d, 2.5066282746310002), x_exp(d, x_mul(d, x_const(d, 0.5), x_square(d, self))));
  case F_tgamma: return x_mul(d, self, x_fn1(d, F_digamma, a));
  case F_log_bessel_i0: return x_fn1(d, F_bessel_ratio, a);
  case F_bessel_ratio:                                                      /* A' = 1 - A / k - A^2 */
    return x_sub(d, x_sub(d, one, x_div(d, self, a)), x_square(d, self));
  default: BUG("no derivative of %s", fn_c_name[f]);
  }
}

static const double least_probability = 1e-290;                             /* times any count still a double */

/* Functions of several arguments. */
static void give_each(Reverse *r, Node n, Node bar)
{
  Dag *d = r->d;
  XNode x = *dag_node(d, n);
  Node a = x.args[0], b = x.args[1], one = x_const(d, 1), zero = x_const(d, 0);
#define GIVE(to, derivative) give(r, n, to, x_mul(d, bar, derivative))
  switch ((Fn)x.aux) {
  case F_leaky_relu:                                                        /* slope is data */
    GIVE(a, x_cond(d, x_compare(d, X_LT, zero, a), one, b));
    return;
  case F_atan2: {
    Node s = x_add(d, x_square(d, a), x_square(d, b));
    GIVE(a, x_div(d, b, s));
    GIVE(b, x_neg(d, x_div(d, a, s)));
    return;
  }
  case F_fmax: case F_fmin: {
    Node first = x_fn1(d, F_step, x.aux == F_fmax ? x_sub(d, a, b) : x_sub(d, b, a));
    GIVE(a, first);
    GIVE(b, x_sub(d, one, first));
    return;
  }
  case F_fmod:
    GIVE(a, one);
    return;
  case F_lbeta: {
    Node both = x_fn1(d, F_digamma, x_add(d, a, b));
    GIVE(a, x_sub(d, x_fn1(d, F_digamma, a), both));
    GIVE(b, x_sub(d, x_fn1(d, F_digamma, b), both));
    return;
  }
  case F_lchoose: {
    Node top = x_fn1(d, F_digamma, x_add(d, a, one)), rest = x_fn1(d, F_digamma, x_add(d, x_sub(d, a, b), one));
    GIVE(a, x_sub(d, top, rest));
    GIVE(b, x_sub(d, rest, x_fn1(d, F_digamma, x_add(d, b, one))));
    return;
  }
  case F_xlogy:                                                             /* probability 0 inside a mixture: the density 0 is its weight, and 0 / 0 */
    GIVE(a, x_log(d, b));                                                   /* or 0 * infinity would be NaN; beyond the floor, 1 / b is as good as infinite */
    GIVE(b, x_div(d, a, x_fn2(d, F_fmax, b, x_const(d, least_probability))));
    return;
  case F_xlog1my:
    GIVE(a, x_fn1(d, F_log1p, x_neg(d, b)));
    GIVE(b, x_neg(d, x_div(d, a, x_fn2(d, F_fmax, x_sub(d, one, b), x_const(d, least_probability)))));
    return;
  case F_gamma_lcdf: case F_gamma_lccdf: {                                  /* in x: the density b^(a - 1) exp(-b) / Gamma(a) over the probability */
    bool lower = x.aux == F_gamma_lcdf;
    Node density = x_sub(d, x_sub(d, x_mul(d, x_sub(d, a, one), x_log(d, b)), b), x_fn1(d, F_lgamma, a));
    Node ratio = x_exp(d, x_sub(d, density, n));
    GIVE(a, x_fn2(d, lower ? F_gamma_lcdf_d1 : F_gamma_lccdf_d1, a, b));
    GIVE(b, lower ? ratio : x_neg(d, ratio));
    return;
  }
  case F_student_t_lcdf: {
    Node half = x_const(d, 0.5), nu = b;
    Node log_scale = x_add(d, x_fn2(d, F_lbeta, half, x_mul(d, half, nu)), x_mul(d, half, x_log(d, nu)));
    Node kernel = x_mul(d, x_mul(d, half, x_add(d, nu, one)), x_fn1(d, F_log1p, x_div(d, x_square(d, a), nu)));
    GIVE(a, x_exp(d, x_neg(d, x_add(d, x_add(d, kernel, log_scale), n))));
    GIVE(b, x_fn2(d, F_student_t_lcdf_d1, a, nu));
    return;
  }
  case F_skew_normal_lcdf: {                                                /* 2 phi(a) Phi(b a) over the probability */
    Node density = x_add(d, x_fn1(d, F_std_normal_lcdf, x_mul(d, a, b)), x_sub(d, x_const(d, M_LN2 - 0.9189385332046727), x_mul(d, x_const(d, 0.5), x_square(d, a))));
    GIVE(a, x_exp(d, x_sub(d, density, n)));
    GIVE(b, x_fn2(d, F_skew_normal_lcdf_d1, a, b));
    return;
  }
  case F_beta_lcdf: case F_beta_lccdf: {                                    /* in x: the density x^(b - 1) (1 - x)^(c - 1) / B(b, c) over the probability */
    bool lower = x.aux == F_beta_lcdf;
    Node c = x.args[2], log_x = x_log(d, a), log_y = x_fn1(d, F_log1p, x_neg(d, a));
    Node density = x_sub(d, x_add(d, x_mul(d, x_sub(d, b, one), log_x), x_mul(d, x_sub(d, c, one), log_y)), x_fn2(d, F_lbeta, b, c));
    Node ratio = x_exp(d, x_sub(d, density, n));
    GIVE(a, lower ? ratio : x_neg(d, ratio));
    GIVE(b, x_fn3(d, lower ? F_beta_lcdf_d1 : F_beta_lccdf_d1, a, b, c));
    GIVE(c, x_fn3(d, lower ? F_beta_lcdf_d2 : F_beta_lccdf_d2, a, b, c));
    return;
  }
  default: BUG("no derivative of %s", fn_c_name[x.aux]);
  }
#undef GIVE
}

static void reverse_node(Reverse *r, Node n);

/* Visits the nodes from `root` down that are newer than `floor` and depend on latent variables, but for the `n_leaf` leaves. */
static void sweep(Reverse *r, Node root, Node floor, const Node *leaf, int n_leaf)
{
  for (Node n = root; n > floor; n--) {
    bool stop = r->bar[n] < 0 || !dag_node(r->d, n)->latent;
    for (int i = 0; i < n_leaf && !stop; i++) stop = n == leaf[i];
    if (!stop) reverse_node(r, n);
  }
}

static Reverse start(Dag *d, Node root, Node seed)
{
  Reverse r = {.d = d, .bar = NEW_ARRAY(Node, root + 1), .n = root + 1};
  memset(r.bar, -1, sizeof(Node) * (size_t)(root + 1));
  r.bar[root] = seed;
  return r;
}

typedef VEC(Node) NodeList;

/* The X_PREVs of a scan's bodies, each once. */
static void find_prevs(const Dag *d, Node n, NodeMap *seen, NodeList *out)
{
  const XNode *x = dag_node(d, n);
  if (!x->carried || *node_map(seen, n) != NODE_NEW) return;
  *node_map(seen, n) = 1;
  if (x->op == X_PREV) VEC_PUSH(*out, n);
  for (int i = 0; i < x->n_args; i++) find_prevs(d, x->args[i], seen, out);
}

/* The expression with `to` in place of what looks back. */
static Node look_up(Dag *d, Node n, const NodeList *prev, const NodeList *to, NodeMap *done)
{
  const XNode x = *dag_node(d, n);
  Node args[x.n_args + 1];
  if (!x.carried) return n;
  for (int i = 0; i < prev->n; i++)
    if (prev->at[i] == n) return to->at[i];
  if (*node_map(done, n) != NODE_NEW) return *node_map(done, n);
  for (int i = 0; i < x.n_args; i++) args[i] = look_up(d, x.args[i], prev, to, done);
  return *node_map(done, n) = dag_rebuild(d, n, args);
}

/* s_c[r] = f_c(s[r + lag], a):  l_c[r] = bar_c[r] + sum over (lag, b) of l_b[r - lag] (df_b / ds_c[. + lag])[r - lag], a scan the other way, and
 * a_bar = sum over r, c of l_c[r] df_c / da. */
static void reverse_scan(Reverse *r, Node n)
{
  Dag *d = r->d;
  const XNode x = *dag_node(d, n);
  const Axis axis = d->axes.at[x.aux];
  const int m = x.n_args, parts = scan_parts(d, n);
  const AxisSet others = x.axes & ~(parts < 0 ? 0 : AXIS_BIT(parts));
  const Node here = x_axis(d, x.aux);
  NodeMap seen = {0};
  NodeList prev = {0}, past = {0};
  Node body[m], adjoint[m];
  for (int c = 0; c < m; c++) find_prevs(d, x.args[c], &seen, &prev);
  for (int i = 0; i < prev.n; i++) {                                        /* in place of what is carried, what the finished scan holds */
    const XNode p = *dag_node(d, prev.at[i]);
    Node place = x_clamp(d, x_add(d, here, x_int(d, p.aux2)), axis.lo, axis.hi);
    VEC_PUSH(past, x_at(d, x_scan_part(d, n, (int)p.number), x.aux, place));
  }
  NodeMap done = {0};
  for (int c = 0; c < m; c++) body[c] = look_up(d, x.args[c], &prev, &past, &done);
  for (int c = 0; c < m; c++) adjoint[c] = parts < 0 ? r->bar[n] : x_at(d, r->bar[n], parts, x_int(d, c));
  for (int b = 0; b < m; b++) {
    if (body[b] <= n) continue;                                             /* looks back at nothing */
    Reverse f = start(d, body[b], x_const(d, 1));
    sweep(&f, body[b], n, past.at, past.n);
    for (int i = 0; i < prev.n; i++) {
      const XNode p = *dag_node(d, prev.at[i]);
      if (past.at[i] > body[b] || f.bar[past.at[i]] < 0) continue;
      Node next = x_sub(d, here, x_int(d, p.aux2));                         /* whose past this is */
      Node there = x_compare(d, X_AND, x_compare(d, X_LE, axis.lo, next), x_compare(d, X_LE, next, axis.hi));
      Node slope = x_at(d, f.bar[past.at[i]], x.aux, x_clamp(d, next, axis.lo, axis.hi));
      Node share = x_mul(d, x_prev(d, x.aux, -p.aux2, b, others), slope);
      adjoint[(int)p.number] = x_add(d, adjoint[(int)p.number], x_cond(d, there, share, x_const(d, 0)));
    }
  }
  Node whole = x_scan(d, x.aux, x.aux2 > 0, parts, m, adjoint);
  for (int c = 0; c < m; c++) {
    if (!dag_node(d, body[c])->latent) continue;
    Node seed = x_scan_part(d, whole, c);
    Reverse f = start(d, body[c], sum_over(d, dag_axes(d, seed) & ~dag_axes(d, body[c]), seed));
    sweep(&f, body[c], n, past.at, past.n);
    for (Node a = 0; a < n && a <= body[c]; a++)
      if (f.bar[a] >= 0) r->bar[a] = r->bar[a] < 0 ? f.bar[a] : x_add(d, r->bar[a], f.bar[a]);
  }
}

/* A dimension axis of the extent of `like` that none of the expressions varies over. */
static Node fresh_axis(Dag *d, int like, AxisSet taken, int *axis)
{
  *axis = -1;
  for (int k = 0; *axis < 0 || (taken & AXIS_BIT(*axis)); k++) *axis = dag_dim_axis(d, d->axes.at[like].extent, k);
  return x_axis(d, *axis);
}

/* The matrix product of a and b, all over (row, column). */
static Node matrix_product(Dag *d, int row, int column, Node a, Node b)
{
  int inner;
  Node k = fresh_axis(d, row, dag_axes(d, a) | dag_axes(d, b) | AXIS_BIT(row) | AXIS_BIT(column), &inner);
  return x_sum(d, inner, x_mul(d, x_at(d, a, column, k), x_at(d, b, row, k)));
}

static Node transposed(Dag *d, int row, int column, Node a)
{
  int other;
  Node t = fresh_axis(d, row, dag_axes(d, a) | AXIS_BIT(row) | AXIS_BIT(column), &other);
  return x_at(d, x_at(d, x_at(d, a, row, t), column, x_axis(d, row)), other, x_axis(d, column));
}

static void reverse_node(Reverse *r, Node n)
{
  Dag *d = r->d;
  XNode x = *dag_node(d, n);
  Node bar = r->bar[n], zero = x_const(d, 0);
  switch (x.op) {
  case X_ADD: give(r, n, x.args[0], bar), give(r, n, x.args[1], bar); return;
  case X_SUB: give(r, n, x.args[0], bar), give(r, n, x.args[1], x_neg(d, bar)); return;
  case X_NEG: give(r, n, x.args[0], x_neg(d, bar)); return;
  case X_MUL:
    if (dag_node(d, x.args[0])->latent) give(r, n, x.args[0], x_mul(d, bar, x.args[1]));
    if (dag_node(d, x.args[1])->latent) give(r, n, x.args[1], x_mul(d, bar, x.args[0]));
    return;
  case X_DIV:
    if (dag_node(d, x.args[0])->latent) give(r, n, x.args[0], x_div(d, bar, x.args[1]));
    if (dag_node(d, x.args[1])->latent) give(r, n, x.args[1], x_neg(d, x_mul(d, bar, x_div(d, n, x.args[1]))));
    return;
  case X_POW:
    if (dag_node(d, x.args[0])->latent)
      give(r, n, x.args[0], x_mul(d, bar, x_mul(d, x.args[1], x_pow(d, x.args[0], x_sub(d, x.args[1], x_const(d, 1))))));
    if (dag_node(d, x.args[1])->latent) give(r, n, x.args[1], x_mul(d, bar, x_mul(d, n, x_log(d, x.args[0]))));
    return;
  case X_FN:
    if (x.n_args == 1) {
      if (dag_node(d, x.args[0])->latent) give(r, n, x.args[0], x_mul(d, bar, derivative1(d, (Fn)x.aux, x.args[0], n)));
    } else {
      give_each(r, n, bar);
    }
    return;
  case X_COND:
    give(r, n, x.args[1], x_cond(d, x.args[0], bar, zero));
    give(r, n, x.args[2], x_cond(d, x.args[0], zero, bar));
    return;
  case X_SUM: {
    /* the body varies over the summed axis, its adjoint does not; `give` must not sum over that axis */
    give(r, x.args[0], x.args[0], bar);
    return;
  }
  case X_MAX: case X_MIN: {                                                 /* those that attain it share equally */
    Node attains = x_compare(d, X_EQ, x.args[0], n);
    give(r, x.args[0], x.args[0], x_mul(d, x_div(d, bar, x_sum(d, x.aux, attains)), attains));
    return;
  }
  case X_AT: {
    /* share of body at axis = a: bar where a equals the index */
    Node body = x.args[0], index = x.args[1];
    if (dag_axes(d, index) & AXIS_BIT(x.aux)) {                             /* a permutation, as x[K - 1 - i]: i stands for another value in the body */
      int other = -1;
      for (int k = 0; other < 0 || (dag_axes(d, n) & AXIS_BIT(other)); k++) other = dag_dim_axis(d, d->axes.at[x.aux].extent, k);
      bar = x_at(d, bar, x.aux, x_axis(d, other));
      index = dag_substitute_axis(d, index, x.aux, x_axis(d, other));
    }
    AxisSet over = dag_axes(d, index) & ~dag_axes(d, body);
    const XNode *ix = dag_node(d, index);
    if (ix->op == X_AXIS && (over & AXIS_BIT(ix->aux)) && d->axes.at[x.aux].kind == AX_DIM) {
      int to = ix->aux;                                                     /* a renaming: read the adjoint back under the old name */
      give(r, body, body, x_at(d, bar, to, x_axis(d, x.aux)));
      return;
    }
    if (d->axes.at[x.aux].kind == AX_REDUCTION && over && !(over & (over - 1))) {
      give(r, body, body, x_spread(d, bar, __builtin_ctzll(over), x.aux, index));
      return;
    }
    Node hit = x_mul(d, bar, x_compare(d, X_EQ, x_axis(d, x.aux), index));
    give(r, body, body, sum_over(d, over, hit));
    return;
  }
  case X_SCAN: reverse_scan(r, n); return;
  case X_TRISOLVE: {
    /* w = L^-1 b:  b_bar = L^-T w_bar,  L_bar[i,j] = -b_bar[i] w[j] for j <= i  (Giles 2008, triangular solve) */
    int row = x.aux, column = x.aux2;
    Node b_bar = x_trisolve(d, true, row, column, x.args[0], bar);
    give(r, x.args[1], x.args[1], sum_over(d, dag_axes(d, n) & ~dag_axes(d, x.args[1]), b_bar));
    if (dag_node(d, x.args[0])->latent) {
      Node w_column = x_at(d, n, row, x_axis(d, column));
      Node lower = x_compare(d, X_LE, x_axis(d, column), x_axis(d, row));
      Node share = x_neg(d, x_mul(d, lower, x_mul(d, b_bar, w_column)));
      give(r, x.args[0], x.args[0], sum_over(d, (dag_axes(d, share)) & ~dag_axes(d, x.args[0]), share));
    }
    return;
  }
  case X_TRISOLVE_T: {
    /* w = L^-T b:  b_bar = L^-1 w_bar,  L_bar[i,j] = -w[i] b_bar[j] for j <= i */
    int row = x.aux, column = x.aux2;
    Node b_bar = x_trisolve(d, false, row, column, x.args[0], bar);
    give(r, x.args[1], x.args[1], sum_over(d, dag_axes(d, n) & ~dag_axes(d, x.args[1]), b_bar));
    if (dag_node(d, x.args[0])->latent) {
      Node b_column = x_at(d, b_bar, row, x_axis(d, column));
      Node lower = x_compare(d, X_LE, x_axis(d, column), x_axis(d, row));
      Node share = x_neg(d, x_mul(d, lower, x_mul(d, n, b_column)));
      give(r, x.args[0], x.args[0], sum_over(d, (dag_axes(d, share)) & ~dag_axes(d, x.args[0]), share));
    }
    return;
  }
  case X_CHOLESKY: {
    Node share = x_matrix(d, X_CHOLESKY_ADJOINT, x.aux, x.aux2, n, bar);
    give(r, x.args[0], x.args[0], sum_over(d, dag_axes(d, share) & ~dag_axes(d, x.args[0]), share));
    return;
  }
  case X_LOG_DET:                                                           /* A_bar = bar A^-T */
    give(r, x.args[0], x.args[0], x_mul(d, bar, x_matrix(d, X_INVERSE_T, x.aux, x.aux2, x.args[0], NO_NODE)));
    return;
  case X_INVERSE: case X_INVERSE_T: {                                       /* B = A^-1: A_bar = -B' B_bar B'; its transpose C: A_bar = -(C C_bar C)' */
    Node t = x_matrix(d, X_INVERSE_T, x.aux, x.aux2, x.args[0], NO_NODE), of = x.op == X_INVERSE ? bar : transposed(d, x.aux, x.aux2, bar);
    Node share = x_neg(d, matrix_product(d, x.aux, x.aux2, t, matrix_product(d, x.aux, x.aux2, of, t)));
    give(r, x.args[0], x.args[0], sum_over(d, dag_axes(d, share) & ~dag_axes(d, x.args[0]), share));
    return;
  }
  case X_PROD: {                                                            /* the product of the others: with one zero it is what is left without it */
    Node body = x.args[0], zero_here = x_compare(d, X_EQ, body, zero), zeros = x_sum(d, x.aux, zero_here);
    Node rest = x_reduce(d, X_PROD, x.aux, x_cond(d, zero_here, x_const(d, 1), body));
    Node only = x_cond(d, x_compare(d, X_AND, zero_here, x_compare(d, X_EQ, zeros, x_int(d, 1))), rest, zero);
    give(r, body, body, x_mul(d, bar, x_cond(d, x_compare(d, X_EQ, zeros, x_int(d, 0)), x_div(d, rest, x_cond(d, zero_here, x_const(d, 1), body)), only)));
    return;
  }
  default: return;
  }
}

void dag_gradient(Dag *d, Node root, Node seed, XOp op1, XOp op2, LeafAdjoints *out)
{
  Reverse r = start(d, root, seed);
  for (Node n = root; n >= 0; n--) {
    if (r.bar[n] < 0 || !dag_node(d, n)->latent) continue;
    XOp op = dag_node(d, n)->op;
    if (op != op1 && op != op2) reverse_node(&r, n);
  }
  for (Node n = 0; n <= root; n++)
    if (r.bar[n] >= 0 && (dag_node(d, n)->op == op1 || dag_node(d, n)->op == op2)) VEC_PUSH(*out, (LeafAdjoint){n, r.bar[n]});
}
