/* Expectations of log densities under q(u) = prod N(u_i | mean_i, sd_i), in closed form or by Gauss-Hermite quadrature.
 *
 * Sums are taken apart by linearity and products by independence. What remains is a group of factors that share variables:
 *   - powers of affine forms A = c0 + sum_i c_i u_i, up to degree 4 for one form and 2 for two: moments of a Gaussian;
 *   - times exp(B), B affine: E[exp(B) P(u)] = exp(E B + Var B / 2) E P(u + cov(u, B)), the exponential tilting of a Gaussian;
 *   - the square of a sum of independent parts: (sum E)^2 + sum Var, which does not cancel as the expanded square would;
 *   - any other function is conditioned on its affine argument (one leaf, or a whole linear predictor when its leaves occur nowhere else), which
 *     becomes mean + sd * x_q on a quadrature axis; the rest of the group is then integrated given that value. Two such axes at most.
 * An affine form may contain sums over axes (X[k] * beta[k] summed over k). Leaves of one family that cannot be told apart at compile time
 * (z[n] and z[g[n]]) may be the same variable: then nothing is claimed and the term is sampled. */
#include "expect.h"
#include <math.h>
#include <string.h>

#define MAX_PARTS 32
#define MAX_FACTORS 24
#define MAX_QUADRATURE 2

typedef struct {
  Dag *d;
  int depth;                           /* quadrature axes in use */
  int quad_axis[MAX_QUADRATURE];       /* -1 until made */
  int expansions;                      /* products distributed on the current path */
  bool used_quadrature;
} Expect;

static Node expect(Expect *e, Node n);

/* ---- leaves ------------------------------------------------------------------------------------------------------------------------ */

typedef struct { int n; Node at[MAX_PARTS]; bool overflow; } Leaves;

static void add_leaf(Leaves *l, Node leaf)
{
  for (int i = 0; i < l->n; i++)
    if (l->at[i] == leaf) return;
  if (l->n == MAX_PARTS) l->overflow = true;
  else l->at[l->n++] = leaf;
}

static void leaves_of(const Dag *d, Node n, Leaves *l)
{
  const XNode *x = dag_node(d, n);
  if (!x->random || l->overflow) return;
  if (x->op == X_U) add_leaf(l, n);
  else
    for (int i = 0; i < x->n_args; i++) leaves_of(d, x->args[i], l);
}

/* index = base + offset */
static void split_offset(const Dag *d, Node n, Node *base, double *offset)
{
  const XNode *x = dag_node(d, n);
  double c;
  *base = n, *offset = 0;
  if (dag_is_const(d, n, &c)) *base = NO_NODE, *offset = c;
  else if (x->op == X_ADD && dag_is_const(d, x->args[1], &c)) *base = x->args[0], *offset = c;
  else if (x->op == X_SUB && dag_is_const(d, x->args[1], &c)) *base = x->args[0], *offset = -c;
}

/* Different variables for certain. */
static bool distinct(const Dag *d, Node a, Node b)
{
  const XNode *x = dag_node(d, a), *y = dag_node(d, b);
  if (x->aux != y->aux) return true;
  for (int i = 0; i < x->n_args; i++) {
    Node p, q;
    double u, v;
    split_offset(d, x->args[i], &p, &u);
    split_offset(d, y->args[i], &q, &v);
    if (p == q && u != v) return true;
  }
  return false;
}

static Node leaf_like(Dag *d, XOp op, Node leaf)
{
  XNode x = *dag_node(d, leaf);
  return x_leaf(d, op, x.aux, x.n_args, x.args, false);
}

static Node with_means(Dag *d, Node n)
{
  Leaves l = {0};
  leaves_of(d, n, &l);
  for (int i = 0; i < l.n; i++) n = dag_replace(d, n, l.at[i], leaf_like(d, X_MEAN, l.at[i]));
  return n;
}

/* ---- affine forms ------------------------------------------------------------------------------------------------------------------ */

typedef struct { Node leaf, coef; AxisSet summed; } Part;     /* coef * leaf, summed over the axes */
typedef struct { int n; Part at[MAX_PARTS]; Node constant; } Form;

static bool add_part(Dag *d, Form *f, Node leaf, Node coef, AxisSet summed)
{
  for (int i = 0; i < f->n; i++) {
    if (f->at[i].leaf == leaf) {
      if (f->at[i].summed != summed) return false;
      f->at[i].coef = x_add(d, f->at[i].coef, coef);
      return true;
    }
    if (!distinct(d, f->at[i].leaf, leaf)) return false;
  }
  if (f->n == MAX_PARTS) return false;
  f->at[f->n++] = (Part){leaf, coef, summed};
  return true;
}

static bool add_form(Dag *d, Form *f, const Form *g, Node factor)
{
  for (int i = 0; i < g->n; i++) {
    if (dag_axes(d, factor) & g->at[i].summed) return false;
    if (!add_part(d, f, g->at[i].leaf, x_mul(d, factor, g->at[i].coef), g->at[i].summed)) return false;
  }
  f->constant = x_add(d, f->constant, x_mul(d, factor, g->constant));
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

static bool affine(Dag *d, Node n, Form *f)
{
  XNode x = *dag_node(d, n);
  *f = (Form){.constant = x_const(d, 0)};
  if (!x.random) { f->constant = n; return true; }
  Form a, b;
  switch (x.op) {
  case X_U: return add_part(d, f, n, x_const(d, 1), 0);
  case X_ADD: case X_SUB:
    return affine(d, x.args[0], &a) && affine(d, x.args[1], &b) && add_form(d, f, &a, x_const(d, 1)) &&
           add_form(d, f, &b, x_const(d, x.op == X_ADD ? 1 : -1));
  case X_NEG: return affine(d, x.args[0], &a) && add_form(d, f, &a, x_const(d, -1));
  case X_MUL:
    if (dag_node(d, x.args[0])->random && dag_node(d, x.args[1])->random) return false;
    if (dag_node(d, x.args[0])->random) return affine(d, x.args[0], &a) && add_form(d, f, &a, x.args[1]);
    return affine(d, x.args[1], &a) && add_form(d, f, &a, x.args[0]);
  case X_DIV:
    if (dag_node(d, x.args[1])->random) return false;
    return affine(d, x.args[0], &a) && add_form(d, f, &a, x_div(d, x_const(d, 1), x.args[1]));
  case X_COND:
    if (dag_node(d, x.args[0])->random) return false;
    return affine(d, x.args[1], &a) && affine(d, x.args[2], &b) && add_form(d, f, &a, x_cond(d, x.args[0], x_const(d, 1), x_const(d, 0))) &&
           add_form(d, f, &b, x_cond(d, x.args[0], x_const(d, 0), x_const(d, 1)));
  case X_SUM: {
    AxisSet bit = AXIS_BIT(x.aux);
    if (!affine(d, x.args[0], &a)) return false;
    f->constant = x_sum(d, x.aux, a.constant);
    for (int i = 0; i < a.n; i++) {
      Part p = a.at[i];
      if (dag_axes(d, p.leaf) & bit) {
        if (!injective(d, p.leaf, x.aux)) return false;
        p.summed |= bit;
      } else {
        p.coef = x_sum(d, x.aux, p.coef);
      }
      if (!add_part(d, f, p.leaf, p.coef, p.summed)) return false;
    }
    return true;
  }
  default: return false;
  }
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
      if (p->leaf != q->leaf) {
        if (!distinct(d, p->leaf, q->leaf)) return false;
        continue;
      }
      if (p->summed != q->summed) return false;
      Node s2 = x_square(d, leaf_like(d, X_SD, p->leaf));
      c = x_add(d, c, sum_axes(d, p->summed, x_mul(d, p->coef == q->coef ? x_square(d, p->coef) : x_mul(d, p->coef, q->coef), s2)));
    }
  *out = c;
  return true;
}

/* ---- products ------------------------------------------------------------------------------------------------------------------------ */

typedef struct { Node base; int power; bool is_exp; int group; } Factor;      /* base^power, or exp(base) */
typedef struct { int n; Factor at[MAX_FACTORS]; Node coef; bool failed; } Product;

static void push_factor(Product *p, Node base, int power, bool is_exp)
{
  for (int i = 0; i < p->n && !is_exp; i++)
    if (!p->at[i].is_exp && p->at[i].base == base) { p->at[i].power += power; return; }
  if (p->n == MAX_FACTORS) p->failed = true;
  else p->at[p->n++] = (Factor){base, power, is_exp, -1};
}

static Node int_power(Dag *d, Node n, int power) { return x_pow(d, n, x_const(d, power)); }

/* exp(sign * n): one factor per summand, the certain ones into the coefficient */
static void split_exponent(Dag *d, Node n, double sign, Product *p)
{
  XNode x = *dag_node(d, n);
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

static void split_product(Dag *d, Node n, int power, Product *p)
{
  XNode x = *dag_node(d, n);
  double c;
  if (!x.random) { p->coef = x_mul(d, p->coef, int_power(d, n, power)); return; }
  switch (x.op) {
  case X_MUL: split_product(d, x.args[0], power, p), split_product(d, x.args[1], power, p); return;
  case X_DIV: split_product(d, x.args[0], power, p), split_product(d, x.args[1], -power, p); return;
  case X_NEG:
    if (power % 2) p->coef = x_neg(d, p->coef);
    split_product(d, x.args[0], power, p);
    return;
  case X_POW:
    if (dag_is_const(d, x.args[1], &c) && c == floor(c) && fabs(c) <= 8) { split_product(d, x.args[0], power * (int)c, p); return; }
    break;
  case X_FN:
    if (x.aux == F_square) { split_product(d, x.args[0], 2 * power, p); return; }
    if (x.aux == F_exp) { split_exponent(d, x.args[0], power, p); return; }
    break;
  default: break;
  }
  push_factor(p, n, power, false);
}

static Node factor_node(Dag *d, const Factor *f) { return f->is_exp ? x_exp(d, f->base) : int_power(d, f->base, f->power); }

/* Polynomials in affine forms times exp(affine). */
static Node closed_form(Expect *e, const Factor *f, int n)
{
  Dag *d = e->d;
  Form b = {.constant = x_const(d, 0)}, form[MAX_FACTORS];
  Node exponent = x_const(d, 0);
  int polys[2], n_poly = 0, degree = 0;
  for (int i = 0; i < n; i++) {
    if (!affine(d, f[i].base, &form[i])) return NO_NODE;
    if (f[i].is_exp) {
      if (!add_form(d, &b, &form[i], x_const(d, 1))) return NO_NODE;
      exponent = x_add(d, exponent, f[i].base);
      continue;
    }
    if (f[i].power < 0 || n_poly == 2) return NO_NODE;
    polys[n_poly++] = i;
    degree += f[i].power;
  }
  if (degree > 4 || (n_poly == 2 && degree > 2)) return NO_NODE;
  Node front = x_const(d, 1), var, mean[2], v = NO_NODE;
  if (b.n) {
    if (!covariance(d, &b, &b, &var)) return NO_NODE;
    front = x_exp(d, x_add(d, with_means(d, exponent), x_mul(d, x_const(d, 0.5), var)));
  }
  for (int k = 0; k < n_poly; k++) {
    Node shift;
    if (!covariance(d, &form[polys[k]], &b, &shift)) return NO_NODE;
    mean[k] = x_add(d, with_means(d, f[polys[k]].base), shift);
  }
  if (degree == 0) return front;
  if (degree == 1) return x_mul(d, front, mean[0]);
  if (!covariance(d, &form[polys[0]], &form[polys[n_poly - 1]], &v)) return NO_NODE;
  Node m = mean[0], m2 = x_square(d, m);
  if (n_poly == 2) return x_mul(d, front, x_add(d, x_mul(d, m, mean[1]), v));
  if (degree == 2) return x_mul(d, front, x_add(d, m2, v));
  if (degree == 3) return x_mul(d, front, x_mul(d, m, x_add(d, m2, x_mul(d, x_const(d, 3), v))));
  Node six = x_mul(d, x_const(d, 6), x_mul(d, m2, v)), three = x_mul(d, x_const(d, 3), x_square(d, v));
  return x_mul(d, front, x_add(d, x_square(d, m2), x_add(d, six, three)));
}

/* Summands of a sum, signs applied. */
static int summands(Dag *d, Node n, double sign, Node *out, int count)
{
  XNode x = *dag_node(d, n);
  if (x.op == X_ADD || x.op == X_SUB) {
    count = summands(d, x.args[0], sign, out, count);
    return count < 0 ? -1 : summands(d, x.args[1], x.op == X_ADD ? sign : -sign, out, count);
  }
  if (x.op == X_NEG) return summands(d, x.args[0], -sign, out, count);
  if (count >= MAX_FACTORS) return -1;
  out[count] = x_mul(d, x_const(d, sign), n);
  return count + 1;
}

/* Do the leaves of a and b overlap, or may they? */
static bool share_variables(const Dag *d, Node a, Node b)
{
  Leaves p = {0}, q = {0};
  leaves_of(d, a, &p), leaves_of(d, b, &q);
  if (p.overflow || q.overflow) return true;
  for (int i = 0; i < p.n; i++)
    for (int j = 0; j < q.n; j++)
      if (!distinct(d, p.at[i], q.at[j])) return true;
  return false;
}

/* Groups of items that share variables: group[i] for each of the n nodes; returns the number of groups. */
static int group_nodes(const Dag *d, const Node *node, int n, int *group)
{
  int groups = 0;
  for (int i = 0; i < n; i++) {
    group[i] = -1;
    for (int j = 0; j < i; j++) {
      if (group[j] == group[i] || !share_variables(d, node[i], node[j])) continue;
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

/* E (s_1 + ... )^2 over independent groups of summands. */
static Node square_of_sum(Expect *e, Node base)
{
  Dag *d = e->d;
  Node s[MAX_FACTORS];
  int group[MAX_FACTORS], n = summands(d, base, 1, s, 0);
  if (n < 2) return NO_NODE;
  int groups = group_nodes(d, s, n, group);
  Node mean = x_const(d, 0), var = x_const(d, 0);
  int used = 0;
  for (int g = 0; g < groups; g++) {
    Node part = NO_NODE;
    for (int i = 0; i < n; i++)
      if (group[i] == g) part = part < 0 ? s[i] : x_add(d, part, s[i]);
    if (part < 0) continue;
    used++;
    if (!dag_node(d, part)->random) { mean = x_add(d, mean, part); continue; }
    if (part == base) return NO_NODE;
    Form f;
    Node v, m = expect(e, part);
    if (m < 0) return NO_NODE;
    mean = x_add(d, mean, m);
    if (affine(d, part, &f)) {
      if (!covariance(d, &f, &f, &v)) return NO_NODE;
    } else {
      Node second = expect(e, x_square(d, part));
      if (second < 0) return NO_NODE;
      v = x_sub(d, second, x_square(d, m));
    }
    var = x_add(d, var, v);
  }
  return used < 2 ? NO_NODE : x_add(d, x_square(d, mean), var);
}

/* Maximal affine arguments of the functions in `n` that are neither polynomials nor exponentials of affine forms. */
static void nonlinear_atoms(Dag *d, Node n, bool inside, Leaves *out)
{
  XNode x = *dag_node(d, n);
  Form f;
  if (!x.random) return;
  if (inside && affine(d, n, &f)) { add_leaf(out, n); return; }
  bool polynomial = x.op == X_ADD || x.op == X_SUB || x.op == X_NEG || x.op == X_MUL || (x.op == X_FN && x.aux == F_square) ||
                    (x.op == X_COND && !dag_node(d, x.args[0])->random) || x.op == X_SUM || x.op == X_U;
  if (x.op == X_FN && x.aux == F_exp && affine(d, x.args[0], &f)) polynomial = true;
  if (x.op == X_DIV && !dag_node(d, x.args[1])->random) polynomial = true;
  if (x.op == X_DIV && !polynomial) {
    nonlinear_atoms(d, x.args[0], inside, out);
    nonlinear_atoms(d, x.args[1], true, out);
    return;
  }
  for (int i = 0; i < x.n_args; i++) nonlinear_atoms(d, x.args[i], inside || !polynomial, out);
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
  if (r < 0) return NO_NODE;
  e->used_quadrature = true;
  return x_sum(d, axis, x_mul(d, x_quad(d, X_QUAD_W, axis), r));
}

static Node quadrature(Expect *e, Node whole)
{
  Dag *d = e->d;
  /* every entry of a solve depends on several entries of its argument, which has the same axis */
  if (e->depth == MAX_QUADRATURE || dag_node(d, whole)->mixes) return NO_NODE;
  Leaves atoms = {0}, tried = {0};
  nonlinear_atoms(d, whole, false, &atoms);
  if (atoms.overflow) return NO_NODE;
  for (int i = 0; i < atoms.n; i++) {                                       /* whole linear predictors whose leaves occur nowhere else */
    Leaves l = {0}, rest = {0};
    Form f;
    Node v;
    leaves_of(d, atoms.at[i], &l);
    if (l.n < 2 && !(dag_node(d, atoms.at[i])->op == X_SUM)) continue;
    Node without = dag_replace(d, whole, atoms.at[i], x_const(d, 0.5));
    leaves_of(d, without, &rest);
    bool clean = !rest.overflow;
    for (int a = 0; a < l.n; a++)
      for (int b = 0; b < rest.n; b++) clean = clean && distinct(d, l.at[a], rest.at[b]);
    if (!clean || !affine(d, atoms.at[i], &f) || !covariance(d, &f, &f, &v)) continue;
    Node r = integrate(e, whole, atoms.at[i], with_means(d, atoms.at[i]), x_sqrt(d, v));
    if (r >= 0) return r;
  }
  for (int i = 0; i < atoms.n; i++) leaves_of(d, atoms.at[i], &tried);
  for (int i = 0; i < tried.n; i++) {                                       /* one leaf at a time */
    if (dag_axes(d, tried.at[i]) & ~dag_axes(d, whole)) continue;           /* bound inside: a vector, not a variable */
    bool alone = true;
    Leaves all = {0};
    leaves_of(d, whole, &all);
    for (int b = 0; b < all.n; b++) alone = alone && (all.at[b] == tried.at[i] || distinct(d, all.at[b], tried.at[i]));
    if (!alone || all.overflow) continue;
    Node r = integrate(e, whole, tried.at[i], leaf_like(d, X_MEAN, tried.at[i]), leaf_like(d, X_SD, tried.at[i]));
    if (r >= 0) return r;
  }
  return NO_NODE;
}

/* One group of factors that share variables. */
static Node expect_group(Expect *e, const Factor *f, int n)
{
  Dag *d = e->d;
  XOp op = dag_node(d, f[0].base)->op;
  if (n == 1 && !f[0].is_exp && f[0].power == 1 && (op == X_ADD || op == X_SUB || op == X_SUM || op == X_COND || op == X_U || op == X_AT))
    return expect(e, f[0].base);
  Node r = closed_form(e, f, n);
  if (r >= 0) return r;
  if (n == 1 && !f[0].is_exp && f[0].power == 2) {
    r = square_of_sum(e, f[0].base);
    if (r >= 0) return r;
  }
  Node whole = x_const(d, 1);
  for (int i = 0; i < n; i++) whole = x_mul(d, whole, factor_node(d, &f[i]));
  Leaves atoms = {0};
  nonlinear_atoms(d, whole, false, &atoms);
  if (atoms.n) return quadrature(e, whole);
  for (int i = 0; i < n; i++) {                                             /* distribute over the summands of one factor */
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

static Node expect_product(Expect *e, Node n)
{
  Dag *d = e->d;
  Product p = {.coef = x_const(d, 1)};
  Node nodes[MAX_FACTORS];
  int group[MAX_FACTORS];
  split_product(d, n, 1, &p);
  if (p.failed) return NO_NODE;
  for (int i = 0; i < p.n; i++) nodes[i] = p.at[i].base;
  int groups = group_nodes(d, nodes, p.n, group);
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

static Node expect(Expect *e, Node n)
{
  Dag *d = e->d;
  XNode x = *dag_node(d, n);
  if (!x.random) return n;
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
  case X_MAX: case X_MIN: case X_TRISOLVE: case X_TRISOLVE_T: case X_VALUE: return NO_NODE;
  default: return expect_product(e, n);
  }
}

Node dag_expect(Dag *d, Node n, ExpectMethod *method)
{
  Expect e = {.d = d, .quad_axis = {-1, -1}};
  Node r = dag_node(d, n)->point ? NO_NODE : expect(&e, n);                 /* a point value has no moments */
  *method = r < 0 ? EXPECT_SAMPLED : e.used_quadrature ? EXPECT_QUADRATURE : EXPECT_CLOSED_FORM;
  return r;
}
