/* Expectations of log densities under q(u) = prod N(u_i | mean_i, sd_i), in closed form or by Gauss-Hermite quadrature.
 *
 * Sums are taken apart by linearity and products by independence. What remains is a group of factors that share variables:
 *   - products of at most four affine forms A = c0 + sum_i c_i u_i: moments of a Gaussian (Isserlis 1918);
 *   - times exp(B), B affine: E[exp(B) P(u)] = exp(E B + Var B / 2) E P(u + cov(u, B)), the exponential tilting of a Gaussian;
 *   - the square of a sum of independent parts: (sum E)^2 + sum Var, where the variance of a product of independent factors comes from theirs, and that of
 *     a sum over an axis is the sum of variances: nothing cancels as it would in the expanded square;
 *   - the same for the solution of a triangular system with a certain matrix;
 *   - moments on one side of a threshold: [A > 0] B C and max(A, 0) B, of jointly Gaussian A, B, C; |A|, max(A, B) and min(A, B) are written by max(A, 0).
 *     Gauss-Hermite sums are off by hundredths at a kink, and have no gradient at a step. A comparison inside other functions is taken outside first;
 *   - sin A, cos A, Phi(A);
 *   - a branch on data is taken on the outside;
 *   - any other function is conditioned on its affine argument (one leaf, or a whole linear predictor when its leaves occur nowhere else), which
 *     becomes mean + sd * x_q on a quadrature axis; the rest of the group is then integrated given that value. Two such axes at most.
 * An affine form may contain sums over axes (X[k] * beta[k] summed over k). Leaves of one family that cannot be told apart at compile time
 * (z[n] and z[g[n]]; z[k] and z[k-1], each summed over k) may be the same variable: then nothing is claimed and the term is sampled. */
#include "expect.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PARTS 64
#define MAX_FACTORS 64
#define MAX_DEGREE 4
#define MAX_QUADRATURE 2
#define MAX_WORK 20000                 /* products looked at for one term, before it is given up */

typedef struct Form Form;
typedef struct Variables Variables;
typedef struct {
  Dag *d;
  int depth;                           /* quadrature axes in use */
  int quad_axis[MAX_QUADRATURE];       /* -1 until made */
  int expansions;                      /* products distributed on the current path */
  int work;
  NodeMap means, variables_of, form_of, kinks;     /* what is known of nodes; the second and third index the lists */
  VEC(Variables *) variables;
  VEC(Form *) forms;
  NodeMap result[MAX_QUADRATURE + 1];  /* expectations found, per depth */
} Expect;

static Node expect(Expect *e, Node n);

/* ---- variables ------------------------------------------------------------------------------------------------------------------------ */

/* A leaf, and those of its axes that are bound where it stands: z[k] summed over k stands for all of z. */
typedef struct { Node leaf; AxisSet bound; } Variable;
struct Variables { int n; Variable at[MAX_PARTS]; bool overflow; };

static void add_variable(Variables *l, Variable v)
{
  for (int i = 0; i < l->n; i++)
    if (l->at[i].leaf == v.leaf && l->at[i].bound == v.bound) return;
  if (l->n == MAX_PARTS) l->overflow = true;
  else l->at[l->n++] = v;
}

/* Axes that a node binds in its argument i. */
static AxisSet binds(const XNode *x, int i)
{
  switch (x->op) {
  case X_SUM: case X_PROD: case X_MAX: case X_MIN: return AXIS_BIT(x->aux);
  case X_AT: return i == 0 ? AXIS_BIT(x->aux) : 0;
  case X_TRISOLVE: case X_TRISOLVE_T: case X_CHOLESKY: case X_CHOLESKY_ADJOINT: case X_INVERSE: case X_INVERSE_T: case X_LOG_DET:
    return AXIS_BIT(x->aux) | AXIS_BIT(x->aux2);
  case X_SCAN: return AXIS_BIT(x->aux);
  default: return 0;
  }
}

static const Variables *variables(Expect *e, Node n)
{
  static const Variables none;
  const XNode *x = dag_node(e->d, n);
  if (!x->random) return &none;
  int known = *node_map(&e->variables_of, n);
  if (known != NODE_NEW) return e->variables.at[known];
  Variables *l = NEW(Variables);
  if (x->op == X_U) add_variable(l, (Variable){n, 0});
  for (int i = 0; i < x->n_args; i++) {
    const Variables *inside = variables(e, x->args[i]);
    l->overflow = l->overflow || inside->overflow;
    for (int k = 0; k < inside->n; k++) {
      Variable v = inside->at[k];
      v.bound |= binds(x, i) & dag_axes(e->d, v.leaf);
      add_variable(l, v);
    }
  }
  *node_map(&e->variables_of, n) = e->variables.n;
  VEC_PUSH(e->variables, l);
  return l;
}

/* index = base + offset */
static void split_offset(const Dag *d, Node n, Node *base, double *offset)
{
  const XNode *x = dag_node(d, n);
  double c;
  if (x->op == X_CLAMP) { split_offset(d, x->args[0], base, offset); return; }   /* where it matters it is the index itself */
  *base = n, *offset = 0;
  if (dag_is_const(d, n, &c)) *base = NO_NODE, *offset = c;
  else if (x->op == X_ADD && dag_is_const(d, x->args[1], &c)) *base = x->args[0], *offset = c;
  else if (x->op == X_SUB && dag_is_const(d, x->args[1], &c)) *base = x->args[0], *offset = -c;
}

/* Different elements for certain, whatever the values of bound axes. */
static bool distinct(const Dag *d, Variable a, Variable b)
{
  const XNode *x = dag_node(d, a.leaf), *y = dag_node(d, b.leaf);
  if (x->aux != y->aux) return true;
  for (int i = 0; i < x->n_args; i++) {
    Node p, q;
    double u, v;
    split_offset(d, x->args[i], &p, &u);
    split_offset(d, y->args[i], &q, &v);
    if (p == q && u != v && (p < 0 || !(dag_axes(d, p) & (a.bound | b.bound)))) return true;
  }
  return false;
}

static bool all_distinct(const Dag *d, const Variables *p, const Variables *q)
{
  if (p->overflow || q->overflow) return false;
  for (int i = 0; i < p->n; i++)
    for (int j = 0; j < q->n; j++)
      if (!distinct(d, p->at[i], q->at[j])) return false;
  return true;
}

bool leaves_distinct(const Dag *d, Node a, Node b) { return distinct(d, (Variable){a, 0}, (Variable){b, 0}); }

static Node leaf_like(Dag *d, XOp op, Node leaf)
{
  XNode x = *dag_node(d, leaf);
  return x_leaf(d, op, x.aux, x.n_args, x.args, false);
}

/* The expression with every leaf at its mean. */
static Node with_means(Expect *e, Node n)
{
  XNode x = *dag_node(e->d, n);
  if (!x.random) return n;
  if (x.op == X_U) return leaf_like(e->d, X_MEAN, n);
  int known = *node_map(&e->means, n);
  if (known != NODE_NEW) return known;
  Node args[3];
  for (int i = 0; i < x.n_args; i++) args[i] = with_means(e, x.args[i]);
  Node r = dag_rebuild(e->d, n, args);
  return *node_map(&e->means, n) = r;
}

/* ---- affine forms ------------------------------------------------------------------------------------------------------------------ */

typedef struct { Node leaf, coef; AxisSet summed; } Part;     /* coef * leaf, summed over the axes */
struct Form { int n; Part at[MAX_PARTS]; };                    /* what is certain is left out: see with_means */

static bool add_part(Dag *d, Form *f, Part p)
{
  for (int i = 0; i < f->n; i++) {
    Part *q = &f->at[i];
    if (q->leaf == p.leaf && q->summed == p.summed) {
      q->coef = x_add(d, q->coef, p.coef);
      return true;
    }
    if (!distinct(d, (Variable){q->leaf, q->summed}, (Variable){p.leaf, p.summed})) return false;
  }
  if (f->n == MAX_PARTS) return false;
  f->at[f->n++] = p;
  return true;
}

static bool add_form(Dag *d, Form *f, const Form *g, Node factor)
{
  for (int i = 0; i < g->n; i++) {
    if (dag_axes(d, factor) & g->at[i].summed) return false;
    if (!add_part(d, f, (Part){g->at[i].leaf, x_mul(d, factor, g->at[i].coef), g->at[i].summed})) return false;
  }
  return true;
}

/* Distinct values of the axis give distinct elements: some index is the axis plus a constant. */
static bool injective(const Dag *d, Node leaf, int axis)
{
  const XNode *x = dag_node(d, leaf);
  for (int i = 0; i < x->n_args; i++) {
    Node base;
    double offset;
    split_offset(d, x->args[i], &base, &offset);
    if (base >= 0 && dag_node(d, base)->op == X_AXIS && dag_node(d, base)->aux == axis) return true;
  }
  return false;
}

static const Form *affine(Expect *e, Node n);

static bool make_form(Expect *e, Node n, Form *f)
{
  Dag *d = e->d;
  XNode x = *dag_node(d, n);
  const Form *a, *b;
  Node one = x_const(d, 1);
  if (!x.random) return true;
  switch (x.op) {
  case X_U: return add_part(d, f, (Part){n, one, 0});
  case X_ADD: case X_SUB:
    return (a = affine(e, x.args[0])) && (b = affine(e, x.args[1])) && add_form(d, f, a, one) && add_form(d, f, b, x_const(d, x.op == X_ADD ? 1 : -1));
  case X_NEG: return (a = affine(e, x.args[0])) && add_form(d, f, a, x_const(d, -1));
  case X_MUL: {
    int i = dag_node(d, x.args[0])->random ? 0 : 1;
    return !dag_node(d, x.args[1 - i])->random && (a = affine(e, x.args[i])) && add_form(d, f, a, x.args[1 - i]);
  }
  case X_DIV: return !dag_node(d, x.args[1])->random && (a = affine(e, x.args[0])) && add_form(d, f, a, x_div(d, one, x.args[1]));
  case X_COND: {
    Node zero = x_const(d, 0);
    return !dag_node(d, x.args[0])->random && (a = affine(e, x.args[1])) && (b = affine(e, x.args[2])) &&
           add_form(d, f, a, x_cond(d, x.args[0], one, zero)) && add_form(d, f, b, x_cond(d, x.args[0], zero, one));
  }
  case X_SUM:
    if (!(a = affine(e, x.args[0]))) return false;
    for (int i = 0; i < a->n; i++) {
      Part p = a->at[i];
      if (dag_axes(d, p.leaf) & AXIS_BIT(x.aux)) {
        if (!injective(d, p.leaf, x.aux)) return false;
        p.summed |= AXIS_BIT(x.aux);
      } else {
        p.coef = x_sum(d, x.aux, p.coef);
      }
      if (!add_part(d, f, p)) return false;
    }
    return true;
  default: return false;
  }
}

/* The node as an affine form; NULL if it is none, or one whose parts may overlap. */
static const Form *affine(Expect *e, Node n)
{
  int known = *node_map(&e->form_of, n);
  if (known != NODE_NEW) return e->forms.at[known];
  Form f = {0}, *keep = NULL;
  if (make_form(e, n, &f)) keep = NEW(Form), *keep = f;
  *node_map(&e->form_of, n) = e->forms.n;
  VEC_PUSH(e->forms, keep);
  return keep;
}

static Node sum_axes(Dag *d, AxisSet axes, Node n)
{
  for (int a = d->axes.n - 1; a >= 0; a--)
    if (axes & AXIS_BIT(a)) n = x_sum(d, a, n);
  return n;
}

/* cov(f, g); false when parts may overlap in ways that are not visible */
static bool covariance(Dag *d, const Form *f, const Form *g, Node *out)
{
  Node c = x_const(d, 0);
  for (int i = 0; i < f->n; i++)
    for (int j = 0; j < g->n; j++) {
      const Part *p = &f->at[i], *q = &g->at[j];
      if (p->leaf != q->leaf || p->summed != q->summed) {
        if (!distinct(d, (Variable){p->leaf, p->summed}, (Variable){q->leaf, q->summed})) return false;
        continue;
      }
      Node s2 = x_square(d, leaf_like(d, X_SD, p->leaf));
      c = x_add(d, c, sum_axes(d, p->summed, x_mul(d, x_mul(d, p->coef, q->coef), s2)));
    }
  *out = c;
  return true;
}

/* ---- products ------------------------------------------------------------------------------------------------------------------------ */

typedef struct { Node base; int power; bool is_exp; } Factor;                /* base^power, or exp(base) */
typedef struct { int n; Factor at[MAX_FACTORS]; Node coef; bool failed; } Product;

static void push_factor(Product *p, Node base, int power, bool is_exp)
{
  for (int i = 0; i < p->n && !is_exp; i++)
    if (!p->at[i].is_exp && p->at[i].base == base) { p->at[i].power += power; return; }
  if (p->n == MAX_FACTORS) p->failed = true;
  else p->at[p->n++] = (Factor){base, power, is_exp};
}

static Node int_power(Dag *d, Node n, int power) { return x_pow(d, n, x_const(d, power)); }

/* exp(sign * n): one factor per summand, the certain ones into the coefficient */
static void split_exponent(Dag *d, Node n, double sign, Product *p)
{
  XNode x = *dag_node(d, n);
  if (p->failed) return;
  if (!x.random) { p->coef = x_mul(d, p->coef, x_exp(d, x_mul(d, x_const(d, sign), n))); return; }
  if (x.op == X_ADD || x.op == X_SUB) {
    split_exponent(d, x.args[0], sign, p);
    split_exponent(d, x.args[1], x.op == X_ADD ? sign : -sign, p);
  } else if (x.op == X_NEG) {
    split_exponent(d, x.args[0], -sign, p);
  } else {
    push_factor(p, x_mul(d, x_const(d, sign), n), 1, true);
  }
}

/* |a|, max(a, b) and min(a, b) by max(., 0); others as they are. */
static Node by_ramps(Dag *d, Node n)
{
  const XNode x = *dag_node(d, n);
  if (x.op != X_FN) return n;
  switch (x.aux) {
  case F_fabs: return x_sub(d, x_mul(d, x_const(d, 2), x_fn1(d, F_relu, x.args[0])), x.args[0]);
  case F_fmax: return x_add(d, x.args[1], x_fn1(d, F_relu, x_sub(d, x.args[0], x.args[1])));
  case F_fmin: return x_sub(d, x.args[0], x_fn1(d, F_relu, x_sub(d, x.args[0], x.args[1])));
  default: return n;
  }
}

static void split_product(Dag *d, Node n, int power, Product *p)
{
  XNode x = *dag_node(d, n);
  double c;
  if (p->failed) return;
  if (!x.random) { p->coef = x_mul(d, p->coef, int_power(d, n, power)); return; }
  switch (x.op) {
  case X_MUL: split_product(d, x.args[0], power, p), split_product(d, x.args[1], power, p); return;
  case X_DIV: split_product(d, x.args[0], power, p), split_product(d, x.args[1], -power, p); return;
  case X_NEG:
    if (power % 2) p->coef = x_neg(d, p->coef);
    split_product(d, x.args[0], power, p);
    return;
  case X_POW:
    if (dag_is_const(d, x.args[1], &c) && c == floor(c) && fabs(c * power) <= 64) { split_product(d, x.args[0], power * (int)c, p); return; }
    break;
  case X_FN:
    if (x.aux == F_square && abs(power) <= 32) { split_product(d, x.args[0], 2 * power, p); return; }
    if (x.aux == F_exp) { split_exponent(d, x.args[0], power, p); return; }
    break;
  case X_LT:                                                                /* 0 or 1 */
    if (power > 1) power = 1;
    break;
  default: break;
  }
  push_factor(p, power > 0 ? by_ramps(d, n) : n, power, false);
}

static Node factor_node(Dag *d, const Factor *f) { return f->is_exp ? x_exp(d, f->base) : int_power(d, f->base, f->power); }

static Node factors_node(Dag *d, const Factor *f, int n)
{
  Node r = x_const(d, 1);
  for (int i = 0; i < n; i++) r = x_mul(d, r, factor_node(d, &f[i]));
  return r;
}

/* E x_1 ... x_n of jointly Gaussian variables, n <= 4: x_1 is paired with its mean or with one of the others. */
static Node isserlis(Dag *d, int n, const Node *mean, Node cov[MAX_DEGREE][MAX_DEGREE])
{
  if (n == 0) return x_const(d, 1);
  Node rest[MAX_DEGREE], within[MAX_DEGREE][MAX_DEGREE], r = NO_NODE;
  for (int pair = 0; pair < n; pair++) {                                    /* 0: with its mean */
    int m = 0, index[MAX_DEGREE];
    for (int i = 1; i < n; i++)
      if (i != pair) index[m] = i, rest[m++] = mean[i];
    for (int i = 0; i < m; i++)
      for (int j = 0; j < m; j++) within[i][j] = cov[index[i]][index[j]];
    Node t = x_mul(d, pair ? cov[0][pair] : mean[0], isserlis(d, m, rest, within));
    r = r < 0 ? t : x_add(d, r, t);
  }
  return r;
}

/* Products of affine forms times exp(affine). */
static Node closed_form(Expect *e, const Factor *f, int n)
{
  Dag *d = e->d;
  Form b = {0};
  Node exponent = x_const(d, 0), var;
  const Form *form[MAX_DEGREE];
  Node mean[MAX_DEGREE], cov[MAX_DEGREE][MAX_DEGREE];
  int degree = 0;
  for (int i = 0; i < n; i++) {
    const Form *a = affine(e, f[i].base);
    if (!a) return NO_NODE;
    if (f[i].is_exp) {
      if (!add_form(d, &b, a, x_const(d, 1))) return NO_NODE;
      exponent = x_add(d, exponent, with_means(e, f[i].base));
      continue;
    }
    if (f[i].power < 0 || degree + f[i].power > MAX_DEGREE) return NO_NODE;
    for (int k = 0; k < f[i].power; k++) form[degree] = a, mean[degree++] = with_means(e, f[i].base);
  }
  Node front = x_const(d, 1);
  if (b.n) {
    if (!covariance(d, &b, &b, &var)) return NO_NODE;
    front = x_exp(d, x_add(d, exponent, x_mul(d, x_const(d, 0.5), var)));
  }
  for (int i = 0; i < degree; i++) {
    Node shift;
    if (!covariance(d, form[i], &b, &shift)) return NO_NODE;
    mean[i] = x_add(d, mean[i], shift);
    for (int j = 0; j < degree; j++)
      if (!covariance(d, form[i], form[j], &cov[i][j])) return NO_NODE;
  }
  return x_mul(d, front, isserlis(d, degree, mean, cov));
}

/* ---- thresholds ------------------------------------------------------------------------------------------------------------------------ */

enum { MAX_BESIDE = 2 };

static Node normal_density(Dag *d, Node x)
{
  return x_mul(d, x_const(d, 0.5 * M_2_SQRTPI * M_SQRT1_2), x_exp(d, x_mul(d, x_const(d, -0.5), x_square(d, x))));
}

/* E [A > 0] B_1 .. B_n of jointly Gaussian variables, n <= 2, with m, s, r = m / s of A and k_i = cov(A, B_i) / s:
 *   Phi(r),  E B Phi(r) + k phi(r),  (E B C) Phi(r) + (E B k_C + E C k_B - r k_B k_C) phi(r)
 * by Stein's lemma (Stein 1981). Factors max(A, 0) are [A > 0] A. All thresholds must be the same. */
static Node beyond_threshold(Expect *e, const Factor *f, int n)
{
  Dag *d = e->d;
  Node threshold = NO_NODE, beside[MAX_BESIDE], var, cov, mean[MAX_BESIDE], k[MAX_BESIDE];
  int count = 0;
  for (int i = 0; i < n; i++) {
    const XNode x = *dag_node(d, f[i].base);
    const bool step = x.op == X_LT, ramp = x.op == X_FN && x.aux == F_relu;
    const Node a = step ? x_sub(d, x.args[1], x.args[0]) : ramp ? x.args[0] : NO_NODE;
    if (f[i].is_exp || f[i].power < 1 || (a >= 0 && threshold >= 0 && a != threshold)) return NO_NODE;
    if (a >= 0) threshold = a;
    for (int p = 0; !step && p < f[i].power; p++) {
      if (count == MAX_BESIDE) return NO_NODE;
      beside[count++] = ramp ? a : f[i].base;
    }
  }
  const Form *form = threshold < 0 ? NULL : affine(e, threshold), *other[MAX_BESIDE];
  if (!form || !form->n || !covariance(d, form, form, &var)) return NO_NODE;
  const Node m = with_means(e, threshold), s = x_sqrt(d, x_add(d, var, x_const(d, 1e-280))), r = x_div(d, m, s); /* certain A: no 0 / 0 */
  const Node above = x_fn1(d, F_Phi, r), at = normal_density(d, r);
  for (int i = 0; i < count; i++) {
    if (!(other[i] = affine(e, beside[i])) || !covariance(d, form, other[i], &cov)) return NO_NODE;
    mean[i] = with_means(e, beside[i]);
    k[i] = beside[i] == threshold ? s : x_div(d, cov, s);
  }
  if (count == 0) return above;
  if (count == 1) return x_add(d, x_mul(d, mean[0], above), x_mul(d, k[0], at));
  if (!covariance(d, other[0], other[1], &cov)) return NO_NODE;
  const Node both = x_add(d, x_mul(d, mean[0], mean[1]), cov);
  const Node edge = x_sub(d, x_add(d, x_mul(d, mean[0], k[1]), x_mul(d, mean[1], k[0])), x_mul(d, r, x_mul(d, k[0], k[1])));
  return x_add(d, x_mul(d, both, above), x_mul(d, edge, at));
}

/* E sin A = exp(-v / 2) sin m, E cos A alike; E Phi(A) = Phi(m / sqrt(1 + v)). */
static Node known_function(Expect *e, const Factor *f)
{
  Dag *d = e->d;
  const XNode x = *dag_node(d, f->base);
  const Form *a;
  Node v;
  if (f->is_exp || f->power != 1 || x.op != X_FN || (x.aux != F_sin && x.aux != F_cos && x.aux != F_Phi)) return NO_NODE;
  if (!(a = affine(e, x.args[0])) || !covariance(d, a, a, &v)) return NO_NODE;
  const Node m = with_means(e, x.args[0]);
  if (x.aux == F_Phi) return x_fn1(d, F_Phi, x_div(d, m, x_sqrt(d, x_add(d, x_const(d, 1), v))));
  return x_mul(d, x_exp(d, x_mul(d, x_const(d, -0.5), v)), x_fn1(d, (Fn)x.aux, m));
}

/* Does it contain a kink or a step in something random? */
static bool kinked(Expect *e, Node n)
{
  const XNode x = *dag_node(e->d, n);
  if (!x.random) return false;
  const int known = *node_map(&e->kinks, n);
  if (known != NODE_NEW) return known;
  bool found = x.op == X_LT || (x.op == X_FN && (x.aux == F_relu || x.aux == F_fabs || x.aux == F_fmax || x.aux == F_fmin));
  for (int i = 0; i < x.n_args && !found; i++) found = kinked(e, x.args[i]);
  *node_map(&e->kinks, n) = found;
  return found;
}

/* Summands of a sum, signs applied; -1: too many. */
static int summands(Dag *d, Node n, double sign, Node *out, int count)
{
  XNode x = *dag_node(d, n);
  if (count < 0) return -1;
  if (x.op == X_ADD || x.op == X_SUB) {
    count = summands(d, x.args[0], sign, out, count);
    return summands(d, x.args[1], x.op == X_ADD ? sign : -sign, out, count);
  }
  if (x.op == X_NEG) return summands(d, x.args[0], -sign, out, count);
  if (count >= MAX_FACTORS) return -1;
  out[count] = x_mul(d, x_const(d, sign), n);
  return count + 1;
}

/* Groups of nodes that share variables, or may: group[i] for each of the n nodes; returns the number of groups (some may be empty). */
static int group_nodes(Expect *e, const Node *node, int n, int *group)
{
  int groups = 0;
  for (int i = 0; i < n; i++) {
    group[i] = -1;
    for (int j = 0; j < i; j++) {
      if (group[j] == group[i] || all_distinct(e->d, variables(e, node[i]), variables(e, node[j]))) continue;
      if (group[i] < 0) group[i] = group[j];
      else {
        int from = group[j], to = group[i];
        for (int k = 0; k < i; k++)
          if (group[k] == from) group[k] = to;
      }
    }
    if (group[i] < 0) group[i] = groups++;
  }
  return groups;
}

/* ---- variances ------------------------------------------------------------------------------------------------------------------------- */

/* Do terms for different values of the axis have no variable in common? Each index of a family's variables must tell the value alike. */
static bool independent_along(Expect *e, Node n, int axis)
{
  const Variables *l = variables(e, n);
  if (l->overflow) return false;
  for (int i = 0; i < l->n; i++)
    for (int j = 0; j <= i; j++) {
      const XNode *x = dag_node(e->d, l->at[i].leaf), *y = dag_node(e->d, l->at[j].leaf);
      bool told = x->aux != y->aux || distinct(e->d, (Variable){l->at[i].leaf, l->at[i].bound | AXIS_BIT(axis)}, (Variable){l->at[j].leaf, l->at[j].bound | AXIS_BIT(axis)});
      for (int k = 0; k < x->n_args && !told; k++) {
        Node p, q;
        double u, v;
        split_offset(e->d, x->args[k], &p, &u);
        split_offset(e->d, y->args[k], &q, &v);
        told = p == q && u == v && p >= 0 && dag_node(e->d, p)->op == X_AXIS && dag_node(e->d, p)->aux == axis;
      }
      if (!told) return false;
    }
  return true;
}

static bool moments(Expect *e, Node n, Node *mean, Node *var);
static Node quadrature(Expect *e, Node whole);

/* Those of a part of something: where its structure does not tell them, by quadrature about the mean, or as the difference of the second moment. */
static bool part_moments(Expect *e, Node n, Node *mean, Node *var)
{
  Dag *d = e->d;
  if (moments(e, n, mean, var)) return true;
  if ((*mean = expect(e, n)) < 0) return false;
  *var = kinked(e, n) ? NO_NODE : quadrature(e, x_square(d, x_sub(d, n, *mean)));
  if (*var >= 0) return true;
  Node second = expect(e, x_square(d, n));
  *var = second < 0 ? NO_NODE : x_sub(d, second, x_square(d, *mean));
  return second >= 0;
}

/* Those of w = L^-1 b (or L^-T b) for a certain L and independent entries of b: L^-1 E b, and the sum over j of (L^-1)[i,j]^2 Var b[j]. */
static bool solve_moments(Expect *e, Node n, Node *mean, Node *var)
{
  Dag *d = e->d;
  const XNode x = *dag_node(d, n);
  Node m, v;
  int j = -1;
  if (dag_node(d, x.args[0])->random || !independent_along(e, x.args[1], x.aux) || !part_moments(e, x.args[1], &m, &v)) return false;
  const AxisSet taken = dag_axes(d, x.args[0]) | dag_axes(d, m) | dag_axes(d, v) | AXIS_BIT(x.aux) | AXIS_BIT(x.aux2);
  for (int k = 0; j < 0 || (taken & AXIS_BIT(j)); k++) j = dag_dim_axis(d, d->axes.at[x.aux].extent, k);
  const bool transposed = x.op == X_TRISOLVE_T;
  Node unit = x_compare(d, X_EQ, x_axis(d, x.aux), x_axis(d, j)), inverse = x_trisolve(d, transposed, x.aux, x.aux2, x.args[0], unit);
  *mean = x_trisolve(d, transposed, x.aux, x.aux2, x.args[0], m);
  *var = x_sum(d, j, x_mul(d, x_square(d, inverse), x_at(d, v, x.aux, x_axis(d, j))));
  return true;
}

static bool product_moments(Expect *e, Node n, Node *mean, Node *var)
{
  Dag *d = e->d;
  Product p = {.coef = x_const(d, 1)};
  Node nodes[MAX_FACTORS];
  int group[MAX_FACTORS];
  split_product(d, n, 1, &p);
  if (p.failed) return false;
  for (int i = 0; i < p.n; i++) nodes[i] = p.at[i].base;
  int groups = group_nodes(e, nodes, p.n, group);
  Node m = p.coef, v = x_const(d, 0);
  for (int g = 0; g < groups; g++) {                                        /* of independent X, Y: Var XY = (E X)^2 Var Y + Var X (E Y)^2 + Var X Var Y */
    Factor in[MAX_FACTORS];
    int count = 0;
    const Form *f;
    Node mg, vg;
    for (int i = 0; i < p.n; i++)
      if (group[i] == g && (p.at[i].power || p.at[i].is_exp)) in[count++] = p.at[i];
    if (!count) continue;
    Node whole = factors_node(d, in, count);
    if (count == 1 && in[0].is_exp && (f = affine(e, in[0].base))) {         /* log-normal */
      Node s2;
      if (!covariance(d, f, f, &s2)) return false;
      mg = x_exp(d, x_add(d, with_means(e, in[0].base), x_mul(d, x_const(d, 0.5), s2)));
      vg = x_mul(d, x_square(d, mg), x_fn1(d, F_expm1, s2));
    } else if (count == 1 && !in[0].is_exp && in[0].power == 2 && (f = affine(e, in[0].base))) {
      Node s2, a = with_means(e, in[0].base);
      if (!covariance(d, f, f, &s2)) return false;
      mg = x_add(d, x_square(d, a), s2);
      vg = x_mul(d, s2, x_add(d, x_mul(d, x_const(d, 4), x_square(d, a)), x_mul(d, x_const(d, 2), s2)));
    } else if (whole == n || !part_moments(e, whole, &mg, &vg)) {
      return false;
    }
    Node both = x_add(d, x_mul(d, x_square(d, m), vg), x_mul(d, v, x_add(d, x_square(d, mg), vg)));
    m = x_mul(d, m, mg), v = both;
  }
  *mean = m, *var = v;
  return true;
}

/* E n and Var n without the difference of large numbers, where the structure allows; false: not found. */
static bool moments(Expect *e, Node n, Node *mean, Node *var)
{
  Dag *d = e->d;
  XNode x = *dag_node(d, n);
  Node s[MAX_FACTORS], zero = x_const(d, 0);
  int group[MAX_FACTORS];
  if (++e->work > MAX_WORK) return false;
  *mean = n, *var = zero;
  if (!x.random) return true;
  const Form *f = affine(e, n);
  if (f && covariance(d, f, f, var)) {
    *mean = with_means(e, n);
    return true;
  }
  int count = summands(d, n, 1, s, 0);
  if (count > 1) {
    int groups = group_nodes(e, s, count, group), used = 0;
    *mean = zero, *var = zero;
    for (int g = 0; g < groups; g++) {
      Node part = NO_NODE, m, v;
      for (int i = 0; i < count; i++)
        if (group[i] == g) part = part < 0 ? s[i] : x_add(d, part, s[i]);
      if (part < 0) continue;
      if (dag_node(d, part)->random && ++used && part == n) return false;
      if (!part_moments(e, part, &m, &v)) return false;
      *mean = x_add(d, *mean, m), *var = x_add(d, *var, v);
    }
    return used > 1 || count > used;
  }
  if (x.op == X_SUM) {
    if (!independent_along(e, x.args[0], x.aux) || !part_moments(e, x.args[0], mean, var)) return false;
    *mean = x_sum(d, x.aux, *mean), *var = x_sum(d, x.aux, *var);
    return true;
  }
  if (x.op == X_NEG) {
    if (!part_moments(e, x.args[0], mean, var)) return false;
    *mean = x_neg(d, *mean);
    return true;
  }
  if (x.op == X_COND && !dag_node(d, x.args[0])->random) {
    Node m[2], v[2];
    for (int i = 0; i < 2; i++)
      if (!part_moments(e, x.args[1 + i], &m[i], &v[i])) return false;
    *mean = x_cond(d, x.args[0], m[0], m[1]), *var = x_cond(d, x.args[0], v[0], v[1]);
    return true;
  }
  if (x_is_solve(x.op)) return solve_moments(e, n, mean, var);
  if (x.op == X_MUL || x.op == X_DIV || (x.op == X_FN && (x.aux == F_exp || x.aux == F_square))) return product_moments(e, n, mean, var);
  return false;
}

/* E (s_1 + ... )^2 of a sum, over an axis or not, of independent parts; a triangular solve is one. */
static Node square_of_sum(Expect *e, Node base)
{
  Dag *d = e->d;
  XOp op = dag_node(d, base)->op;
  Node mean, var;
  if ((op != X_ADD && op != X_SUB && op != X_SUM && op != X_COND && !x_is_solve(op)) || !moments(e, base, &mean, &var)) return NO_NODE;
  return x_add(d, x_square(d, mean), var);
}

/* ---- quadrature ----------------------------------------------------------------------------------------------------------------------------- */

typedef struct { int n; Node at[MAX_PARTS]; bool overflow; NodeMap seen[2]; } Atoms;

/* Maximal affine arguments of the functions in `n` that are neither polynomials nor exponentials of affine forms. */
static void nonlinear_atoms(Expect *e, Node n, bool inside, Atoms *out)
{
  Dag *d = e->d;
  XNode x = *dag_node(d, n);
  if (!x.random || *node_map(&out->seen[inside], n) != NODE_NEW) return;
  *node_map(&out->seen[inside], n) = 1;
  if (inside && affine(e, n)) {
    for (int i = 0; i < out->n; i++)
      if (out->at[i] == n) return;
    if (out->n == MAX_PARTS) out->overflow = true;
    else out->at[out->n++] = n;
    return;
  }
  bool polynomial = x.op == X_ADD || x.op == X_SUB || x.op == X_NEG || x.op == X_MUL || (x.op == X_FN && x.aux == F_square) ||
                    (x.op == X_COND && !dag_node(d, x.args[0])->random) || x.op == X_SUM || x.op == X_U;
  if (x.op == X_FN && x.aux == F_exp && affine(e, x.args[0])) polynomial = true;
  if (x.op == X_DIV && !dag_node(d, x.args[1])->random) polynomial = true;
  if (x.op == X_DIV && !polynomial) {
    nonlinear_atoms(e, x.args[0], inside, out);
    nonlinear_atoms(e, x.args[1], true, out);
    return;
  }
  for (int i = 0; i < x.n_args; i++) nonlinear_atoms(e, x.args[i], inside || !polynomial, out);
}

static bool contains(const Dag *d, Node n, Node part, NodeMap *seen)
{
  if (n == part) return true;
  if (n < part) return false;
  int known = *node_map(seen, n);
  if (known != NODE_NEW) return known;
  const XNode *x = dag_node(d, n);
  bool found = false;
  for (int i = 0; i < x->n_args && !found; i++) found = contains(d, x->args[i], part, seen);
  *node_map(seen, n) = found;
  return found;
}

/* Does `part` stand below a node that binds one of the axes? Then it is no single value there. */
static bool bound_inside(const Dag *d, Node n, Node part, AxisSet axes, NodeMap *seen)
{
  if (n <= part || *node_map(seen, n) != NODE_NEW) return false;
  *node_map(seen, n) = 1;
  const XNode *x = dag_node(d, n);
  for (int i = 0; i < x->n_args; i++) {
    NodeMap looked = {0};
    if ((binds(x, i) & axes) && contains(d, x->args[i], part, &looked)) return true;
    if (bound_inside(d, x->args[i], part, axes, seen)) return true;
  }
  return false;
}

/* May `part` be given one value within `whole`? */
static bool single(const Dag *d, Node whole, Node part, AxisSet axes)
{
  NodeMap seen = {0};
  return !(axes & ~dag_axes(d, whole)) && !bound_inside(d, whole, part, axes, &seen);
}

static int quadrature_axis(Expect *e)
{
  int k = e->depth;
  if (e->quad_axis[k] < 0) {
    for (int a = 0; a < e->d->axes.n; a++)
      if (e->d->axes.at[a].kind == AX_QUADRATURE && !strcmp(e->d->axes.at[a].name, k ? "q2_" : "q_")) e->quad_axis[k] = a;
    if (e->quad_axis[k] < 0) e->quad_axis[k] = dag_axis(e->d, AX_QUADRATURE, k ? "q2_" : "q_", -1, NO_NODE, NO_NODE);
  }
  return e->quad_axis[k];
}

/* E over the rest with `atom` set to mean + sd * x_q, summed over the nodes. */
static Node integrate(Expect *e, Node whole, Node atom, Node mean, Node sd)
{
  Dag *d = e->d;
  int axis = quadrature_axis(e);
  Node at = x_add(d, mean, x_mul(d, sd, x_quad(d, X_QUAD_X, axis)));
  Node given = dag_replace(d, whole, atom, at);
  e->depth++;
  Node r = expect(e, given);
  e->depth--;
  return r < 0 ? NO_NODE : x_sum(d, axis, x_mul(d, x_quad(d, X_QUAD_W, axis), r));
}

static Node quadrature(Expect *e, Node whole)
{
  Dag *d = e->d;
  Atoms atoms = {0};
  Variables tried = {0};
  /* every entry of a solve depends on several entries of its argument, which has the same axis */
  if (e->depth == MAX_QUADRATURE || dag_node(d, whole)->mixes) return NO_NODE;
  nonlinear_atoms(e, whole, false, &atoms);
  const Variables *all = variables(e, whole);
  if (atoms.overflow || all->overflow) return NO_NODE;
  for (int i = 0; i < atoms.n; i++) {                                       /* whole linear predictors whose leaves occur nowhere else */
    Node atom = atoms.at[i], v;
    const Variables *own = variables(e, atom);
    for (int k = 0; k < own->n; k++) add_variable(&tried, own->at[k]);
    if ((own->n < 2 && dag_node(d, atom)->op != X_SUM) || !single(d, whole, atom, dag_axes(d, atom))) continue;
    if (!all_distinct(d, own, variables(e, dag_replace(d, whole, atom, x_const(d, 0.5))))) continue;
    const Form *f = affine(e, atom);
    if (!covariance(d, f, f, &v)) continue;
    Node r = integrate(e, whole, atom, with_means(e, atom), x_sqrt(d, v));
    if (r >= 0) return r;
  }
  for (int i = 0; i < tried.n; i++) {                                       /* one leaf at a time */
    Variable t = tried.at[i];
    bool alone = !t.bound && single(d, whole, t.leaf, dag_axes(d, t.leaf));
    for (int b = 0; b < all->n && alone; b++) alone = all->at[b].leaf == t.leaf || distinct(d, all->at[b], t);
    if (!alone) continue;
    Node r = integrate(e, whole, t.leaf, leaf_like(d, X_MEAN, t.leaf), leaf_like(d, X_SD, t.leaf));
    if (r >= 0) return r;
  }
  return NO_NODE;
}

/* ---- expectations --------------------------------------------------------------------------------------------------------------------------- */

/* A branch on data (X_COND) or a comparison (X_LT) inside `n` that can be taken outside; NO_NODE: none. */
static Node find_branch(const Dag *d, XOp op, Node whole, Node n, NodeMap *seen)
{
  const XNode *x = dag_node(d, n);
  if (!x->random || *node_map(seen, n) != NODE_NEW) return NO_NODE;
  *node_map(seen, n) = 1;
  if (x->op == op && (op == X_LT ? single(d, whole, n, dag_axes(d, n)) : !dag_node(d, x->args[0])->random && single(d, whole, n, dag_axes(d, x->args[0])))) return n;
  for (int i = 0; i < x->n_args; i++) {
    Node found = find_branch(d, op, whole, x->args[i], seen);
    if (found >= 0) return found;
  }
  return NO_NODE;
}

static Node expect_branch(Expect *e, Node whole)
{
  Dag *d = e->d;
  NodeMap seen = {0};
  Node branch = find_branch(d, X_COND, whole, whole, &seen);
  if (branch < 0) return NO_NODE;
  XNode x = *dag_node(d, branch);
  Node a = expect(e, dag_replace(d, whole, branch, x.args[1]));
  if (a < 0) return NO_NODE;
  Node b = expect(e, dag_replace(d, whole, branch, x.args[2]));
  return b < 0 ? NO_NODE : x_cond(d, x.args[0], a, b);
}

/* With b = 0 or 1 a comparison inside a factor: f(b) = b f(1) + f(0) - b f(0). What shares no variable with b is then independent of it. */
static Node expect_step(Expect *e, const Factor *f, int n)
{
  Dag *d = e->d;
  const Node whole = factors_node(d, f, n);
  for (int i = 0; i < n; i++) {
    NodeMap seen = {0};
    if (!f[i].is_exp && dag_node(d, f[i].base)->op == X_LT) continue;
    const Node step = find_branch(d, X_LT, whole, f[i].base, &seen);
    if (step < 0) continue;
    const Node on = dag_replace(d, whole, step, x_int(d, 1)), off = dag_replace(d, whole, step, x_int(d, 0));
    const Node a = expect(e, x_mul(d, step, on)), b = a < 0 ? a : expect(e, off), c = b < 0 ? b : expect(e, x_mul(d, step, off));
    return c < 0 ? NO_NODE : x_add(d, b, x_sub(d, a, c));
  }
  return NO_NODE;
}

/* Over the summands of one of the factors. */
static Node distribute(Expect *e, const Factor *f, int n)
{
  Dag *d = e->d;
  for (int i = 0; i < n; i++) {
    Node s[MAX_FACTORS], sum = x_const(d, 0);
    if (f[i].is_exp || f[i].power < 1 || e->expansions >= 6) continue;
    int count = summands(d, f[i].base, 1, s, 0);
    if (count < 2) continue;
    Node rest = int_power(d, f[i].base, f[i].power - 1);
    for (int j = 0; j < n; j++)
      if (j != i) rest = x_mul(d, rest, factor_node(d, &f[j]));
    e->expansions++;
    for (int k = 0; k < count && sum >= 0; k++) {
      Node t = expect(e, x_mul(d, s[k], rest));
      sum = t < 0 ? NO_NODE : x_add(d, sum, t);
    }
    e->expansions--;
    return sum;
  }
  return NO_NODE;
}

/* One group of factors that share variables. */
static Node expect_group(Expect *e, const Factor *f, int n)
{
  Dag *d = e->d;
  XOp op = dag_node(d, f[0].base)->op;
  if (n == 1 && !f[0].is_exp && f[0].power == 1 && (op == X_ADD || op == X_SUB || op == X_SUM || op == X_PROD || op == X_COND || op == X_U || op == X_AT))
    return expect(e, f[0].base);
  Node r = closed_form(e, f, n);
  if (r < 0) r = beyond_threshold(e, f, n);
  if (r < 0 && n == 1) r = known_function(e, f);
  if (r < 0) r = expect_step(e, f, n);
  if (r >= 0) return r;
  if (n == 1 && !f[0].is_exp && f[0].power == 2) {
    r = square_of_sum(e, f[0].base);
    if (r >= 0) return r;
  }
  Node whole = factors_node(d, f, n);
  r = expect_branch(e, whole);
  if (r >= 0) return r;
  if (kinked(e, whole) && (r = distribute(e, f, n)) >= 0) return r;
  Atoms atoms = {0};
  nonlinear_atoms(e, whole, false, &atoms);
  return atoms.n ? quadrature(e, whole) : distribute(e, f, n);
}

static Node expect_product(Expect *e, Node n)
{
  Dag *d = e->d;
  Product p = {.coef = x_const(d, 1)};
  Node nodes[MAX_FACTORS];
  int group[MAX_FACTORS];
  if (++e->work > MAX_WORK) return NO_NODE;
  split_product(d, n, 1, &p);
  if (p.failed) return NO_NODE;
  for (int i = 0; i < p.n; i++) nodes[i] = p.at[i].base;
  int groups = group_nodes(e, nodes, p.n, group);
  Node r = p.coef;
  for (int g = 0; g < groups; g++) {
    Factor in[MAX_FACTORS];
    int count = 0;
    for (int i = 0; i < p.n; i++)
      if (group[i] == g && (p.at[i].power || p.at[i].is_exp)) in[count++] = p.at[i];
    if (!count) continue;
    Node t = expect_group(e, in, count);
    if (t < 0) return NO_NODE;
    r = x_mul(d, r, t);
  }
  return r;
}

static Node find(Expect *e, Node n)
{
  Dag *d = e->d;
  XNode x = *dag_node(d, n);
  Node a, b;
  switch (x.op) {
  case X_U: return leaf_like(d, X_MEAN, n);
  case X_ADD: case X_SUB:
    if ((a = expect(e, x.args[0])) < 0 || (b = expect(e, x.args[1])) < 0) return NO_NODE;
    return x.op == X_ADD ? x_add(d, a, b) : x_sub(d, a, b);
  case X_NEG:
    a = expect(e, x.args[0]);
    return a < 0 ? NO_NODE : x_neg(d, a);
  case X_SUM:
    a = expect(e, x.args[0]);
    return a < 0 ? NO_NODE : x_sum(d, x.aux, a);
  case X_COND:
    if (dag_node(d, x.args[0])->random || (a = expect(e, x.args[1])) < 0 || (b = expect(e, x.args[2])) < 0) return NO_NODE;
    return x_cond(d, x.args[0], a, b);
  case X_AT:
    a = expect(e, x.args[0]);
    return a < 0 ? NO_NODE : x_at(d, a, x.aux, x.args[1]);
  case X_PROD:
    if (!independent_along(e, x.args[0], x.aux) || (a = expect(e, x.args[0])) < 0) return NO_NODE;
    return x_reduce(d, X_PROD, x.aux, a);
  case X_MAX: case X_MIN: case X_SCAN: case X_VALUE: return NO_NODE;
  case X_TRISOLVE: case X_TRISOLVE_T:
    if (dag_node(d, x.args[0])->random || (a = expect(e, x.args[1])) < 0) return NO_NODE;
    return x_trisolve(d, x.op == X_TRISOLVE_T, x.aux, x.aux2, x.args[0], a);
  default: return x_is_whole(x.op) ? NO_NODE : expect_product(e, n);
  }
}

/* E n given what the quadrature axes in use have fixed. Failures are remembered where nothing had been expanded: with less room more may fail. */
static Node expect(Expect *e, Node n)
{
  if (!dag_node(e->d, n)->random) return n;
  int known = *node_map(&e->result[e->depth], n);
  if (known != NODE_NEW) return known;
  Node r = find(e, n);
  if (r >= 0 || !e->expansions) *node_map(&e->result[e->depth], n) = r;
  return r;
}

Node dag_expect(Dag *d, Node n, ExpectMethod *method)
{
  Expect e = {.d = d, .quad_axis = {-1, -1}};
  Node r = dag_node(d, n)->point ? NO_NODE : expect(&e, n);                 /* a point value has no moments */
  *method = r < 0 ? EXPECT_SAMPLED : dag_node(d, r)->quadrature ? EXPECT_QUADRATURE : EXPECT_CLOSED_FORM;
  return r;
}

static bool steps(const Dag *d, Node n, NodeMap *seen)
{
  const XNode *x = dag_node(d, n);
  if ((!x->random && !x->quadrature) || *node_map(seen, n) != NODE_NEW) return false;
  *node_map(seen, n) = 1;
  if (x->op == X_LT || x->op == X_LE || x->op == X_EQ || x->op == X_NE) return true;
  if (x->op == X_FN && (x->aux == F_floor || x->aux == F_ceil || x->aux == F_round)) return true;
  for (int i = x->op == X_COND; i < x->n_args; i++)
    if (steps(d, x->args[i], seen)) return true;
  return false;
}

bool dag_steps(const Dag *d, Node n)
{
  NodeMap seen = {0};
  return steps(d, n, &seen);
}
