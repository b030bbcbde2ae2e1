/* Model expressions -> DAG. Vectors and matrices become nodes with axes; products of them become sums over an axis. See build.h and expr.h.
 *
 * Vectors of equal extent share axes: the first choice for a dimension is dag_dim_axis(extent, 0). A matrix product whose result would get the axis
 * that is summed takes the next one of that extent. Values are renamed to other axes by substitution in leaves, and by X_AT where that would
 * duplicate work. */
#include "build.h"
#include "density.h"
#include "dist.h"
#include "func.h"
#include "recurrence.h"
#include <math.h>
#include <string.h>

Builder *build_new(Dag *d, const Model *m, LeafMode mode)
{
  Builder *b = NEW(Builder);
  b->d = d, b->m = m, b->mode = mode;
  b->env = NEW_ARRAY(Node, m->vars.n + 1);
  for (int i = 0; i < m->vars.n; i++) b->env[i] = NO_NODE;
  b->enumerated = NEW_ARRAY(int, m->families.n + 1);
  b->let_memo = NEW_ARRAY(struct LetMemo *, m->families.n + 1);
  return b;
}

static void unsupported(Builder *b, Span span, const char *what)
{
  b->failed = true;
  diag(b->lenient ? SEV_WARNING : SEV_ERROR, span, NULL, "%s is not supported by code generation yet", what);
}

int build_plates(Builder *b, int plate, int *axes)
{
  int chain[8], n = model_plate_chain(b->m, plate, chain, 8);
  for (int i = 0; i < n; i++) {
    int var = b->m->plates.at[chain[i]].var;
    const Var *v = &b->m->vars.at[var];
    int axis = -1;
    for (int a = 0; a < b->d->axes.n; a++)
      if (b->d->axes.at[a].var == var) axis = a;
    if (axis < 0) axis = dag_axis(b->d, i || b->outside ? AX_PLATE : AX_UNIT, v->name, var, build_scalar(b, v->lo), build_scalar(b, v->hi));
    if (b->span && !i && !b->outside) b->d->axes.at[axis].extent = x_count(b->d);
    b->env[var] = x_axis(b->d, axis);
    axes[i] = axis;
  }
  return n;
}

/* ---- places of elements ------------------------------------------------------------------------------------------------------------------ */

/* Range of statement s of a family at index position k, when it is a compile-time constant. */
static bool constant_lo(const Model *m, const Stmt *s, int k, long *lo)
{
  const Affine *a = &s->index[k].affine;
  if (a->n == 0) { *lo = a->constant; return true; }
  if (a->n != 1 || a->term[0].kind != ATOM_VAR || a->term[0].coef != 1) return false;
  if (!mexpr_const_int(m->vars.at[a->term[0].id].lo, lo)) return false;
  *lo += a->constant;
  return true;
}

Node family_box_lo(Dag *d, int family, int k)
{
  const Model *m = d->model;
  const Family *f = &m->families.at[family];
  long best = 0, lo;
  for (int i = 0; i < f->n_statements; i++) {
    if (!constant_lo(m, &m->stmts.at[f->statements[i]], k, &lo)) return x_box(d, X_BOX_LO, family, k);
    if (!i || lo < best) best = lo;
  }
  return x_int(d, best);
}

Node family_box_len(Dag *d, int family, int k)
{
  const Model *m = d->model;
  const Family *f = &m->families.at[family];
  const Stmt *s = &m->stmts.at[f->statements[0]];
  long lo, hi;
  if (f->n_statements == 1 && s->index[k].affine.n == 1 && constant_lo(m, s, k, &lo) && lo - s->index[k].affine.constant == 1) {
    const MExpr *top = m->vars.at[s->index[k].affine.term[0].id].hi;
    if (mexpr_const_int(top, &hi) && hi >= 1) return x_int(d, hi);
    if (top->kind == M_REF && top->n_index == 0) return x_leaf(d, X_SIZE, top->family, 0, NULL, true);
  }
  return x_box(d, X_BOX_LEN, family, k);
}

/* Latent variables of integers, summed out or not. */
static bool has_levels(const Family *f) { return f->role == ROLE_MARGINAL || is_discrete_latent(f); }

bool is_discrete_latent(const Family *f) { return f->type.kind == TY_INT && (f->role == ROLE_GLOBAL || f->role == ROLE_LOCAL); }

/* The most values that an element of a discrete latent variable has. */
static Node family_levels(Dag *d, int family)
{
  const Model *m = d->model;
  Bounds s = build_support(m, family);
  const MExpr *e[] = {s.lower, s.upper};
  double number[] = {s.lower_number, s.upper_number};
  Node end[2];
  for (int i = 0; i < 2; i++) {
    Affine a;
    bool uniform = !e[i] || mexpr_affine(m, e[i], &a);
    for (int k = 0; e[i] && uniform && k < a.n; k++) uniform = a.term[k].kind == ATOM_INPUT;
    if (!uniform) return x_box(d, X_BOX_LEN, family, m->families.at[family].n_index);
    end[i] = e[i] ? build_scalar(build_new(d, m, LEAF_VALUE), e[i]) : x_int(d, (long)number[i]);
  }
  return x_add(d, x_sub(d, end[1], end[0]), x_int(d, 1));
}

Node family_dim(Dag *d, int family, int k)
{
  const Family *f = &d->model->families.at[family];
  if (has_levels(f)) return family_levels(d, family);
  Builder *b = build_new(d, d->model, LEAF_VALUE);
  return build_scalar(b, f->type.dim[k]);
}

Node family_position(Dag *d, int family, int n_args, const Node *args)
{
  const Family *f = &d->model->families.at[family];
  Node at = x_int(d, 0);
  for (int k = 0; k < f->n_index; k++) {
    Node here = x_sub(d, args[k], family_box_lo(d, family, k));
    at = k ? x_add(d, x_mul(d, at, family_box_len(d, family, k)), here) : here;
  }
  for (int k = f->n_index; k < n_args; k++) {
    Node dim = family_dim(d, family, k - f->n_index);
    at = k ? x_add(d, x_mul(d, at, dim), args[k]) : args[k];
  }
  return at;
}

static Node affine_node(Builder *b, const Affine *a)
{
  Dag *d = b->d;
  Node sum = NO_NODE;
  for (int i = 0; i < a->n; i++) {
    const AffineTerm *t = &a->term[i];
    Node atom = t->kind == ATOM_VAR ? b->env[t->id] : x_leaf(d, X_SIZE, t->id, 0, NULL, true);
    if (atom < 0) BUG("variable '%s' has no axis here", b->m->vars.at[t->id].name);
    Node part = x_mul(d, x_int(d, t->coef < 0 ? -t->coef : t->coef), atom);
    sum = sum < 0 ? (t->coef < 0 ? x_neg(d, part) : part) : t->coef < 0 ? x_sub(d, sum, part) : x_add(d, sum, part);
  }
  Node c = x_int(d, a->constant);
  return sum < 0 ? c : x_add(d, sum, c);
}

/* Highest index of a family at index position k, as an expression of sizes where that is possible. */
static Node family_box_hi(Builder *b, int family, int k)
{
  const Family *f = &b->m->families.at[family];
  const Stmt *s = &b->m->stmts.at[f->statements[0]];
  const Affine *a = &s->index[k].affine;
  Affine top;
  if (f->n_statements == 1 && a->n == 1 && a->term[0].kind == ATOM_VAR && a->term[0].coef == 1 && mexpr_affine(b->m, b->m->vars.at[a->term[0].id].hi, &top)) {
    bool sizes = true;
    for (int i = 0; i < top.n; i++) sizes = sizes && top.term[i].kind == ATOM_INPUT;
    top.constant += a->constant;
    if (sizes) return affine_node(b, &top);
  }
  Node lo = family_box_lo(b->d, family, k), n = family_box_len(b->d, family, k);
  return x_sub(b->d, x_add(b->d, lo, n), x_int(b->d, 1));
}

/* Index (or entry, from 0) number p of a reference, kept within the family's array where the reference may stand in a branch that is not taken. */
static Node guarded_index(Builder *b, bool guarded, int family, int p, Node index)
{
  const Family *f = &b->m->families.at[family];
  if (!guarded) return index;
  if (p < f->n_index) return x_clamp(b->d, index, family_box_lo(b->d, family, p), family_box_hi(b, family, p));
  return x_clamp(b->d, index, x_int(b->d, 0), x_sub(b->d, family_dim(b->d, family, p - f->n_index), x_int(b->d, 1)));
}

/* ---- values and their axes -------------------------------------------------------------------------------------------------------------- */

static Value scalar(Node n) { return (Value){.rank = 0, .node = n}; }

static Value over(Builder *b, int rank, int a0, int a1, Node n)
{
  Value v = {.rank = rank, .axis = {a0, a1}, .node = n};
  for (int i = 0; i < rank; i++) v.extent[i] = b->d->axes.at[v.axis[i]].extent;
  return v;
}

/* In place of what is not supported: zeros of its rank, so that the rest can be looked at. */
static Value refused(Builder *b, const MExpr *e, const char *what)
{
  int rank = type_rank(e->type.kind), axes[2] = {0, 0};
  unsupported(b, e->span, what);
  for (int i = 0; i < rank; i++) axes[i] = dag_dim_axis(b->d, x_int(b->d, 1), i);
  return rank ? over(b, rank, axes[0], axes[1], x_const(b->d, 0)) : scalar(x_const(b->d, 0));
}

static Node rename_axis(Builder *b, Node n, int from, int to)
{
  if (from == to || !(dag_axes(b->d, n) & AXIS_BIT(from))) return n;
  Node at = x_axis(b->d, to);
  return x_at(b->d, n, from, at);
}

static Node running_index(Builder *b, const Value *v, int i, int axis)
{
  return guarded_index(b, v->guarded, v->family, i, x_add(b->d, x_axis(b->d, axis), v->base[i]));
}

Node value_over(Builder *b, const Value *v, const int *axes)
{
  if (v->node < 0) {
    Node args[8];
    int k = 0;
    for (int i = 0; i < v->n_args; i++) args[i] = v->args[i] >= 0 ? v->args[i] : running_index(b, v, i, axes[k++]);
    return x_leaf(b->d, v->op, v->family, v->n_args, args, v->integer);
  }
  if (v->rank == 0) return v->node;
  if (v->rank == 1) return rename_axis(b, v->node, v->axis[0], axes[0]);
  if (v->axis[0] == axes[1] || v->axis[1] == axes[0]) {                     /* an exchange: through fresh axes */
    if (v->axis[0] == axes[0] && v->axis[1] == axes[1]) return v->node;
    int t = dag_axis(b->d, AX_DIM, arena_printf("t%d_", b->d->axes.n), -1, x_int(b->d, 0), b->d->axes.at[axes[0]].hi);
    Node n = rename_axis(b, v->node, v->axis[0], t);
    return rename_axis(b, rename_axis(b, n, v->axis[1], axes[1]), t, axes[0]);
  }
  return rename_axis(b, rename_axis(b, v->node, v->axis[0], axes[0]), v->axis[1], axes[1]);
}

static void default_axes(Builder *b, const Value *v, int *axes)
{
  for (int i = 0; i < v->rank; i++) axes[i] = dag_dim_axis(b->d, v->extent[i], i == 1 && v->extent[0] == v->extent[1]);
}

Value value_ready(Builder *b, Value v)
{
  if (v.node >= 0) return v;
  int axes[2] = {0, 0};
  default_axes(b, &v, axes);
  return over(b, v.rank, axes[0], axes[1], value_over(b, &v, axes));
}

/* ---- indices ------------------------------------------------------------------------------------------------------------------------------ */

Node build_index(Builder *b, const Index *ix)
{
  switch (ix->kind) {
  case IX_AFFINE: return affine_node(b, &ix->affine);
  case IX_LOOKUP: {
    Node n = build_scalar(b, ix->expr);
    return ix->shift && ix->expr->kind == M_REF ? x_add(b->d, n, x_int(b->d, ix->shift)) : n;
  }
  case IX_EXPR: return build_scalar(b, ix->expr);
  case IX_SLICE: break;
  }
  BUG("a slice has no single index");
}

/* ---- bounds -------------------------------------------------------------------------------------------------------------------------------- */

/* No latent variable or param is mentioned. */
static bool data_only(const Model *m, const MExpr *e)
{
  RefList refs = {0};
  mexpr_refs(e, &refs);
  for (int i = 0; i < refs.n; i++) {
    Role role = m->families.at[refs.at[i]->family].role;
    if (role != ROLE_INPUT && role != ROLE_OBSERVED) return false;
  }
  return true;
}

/* e + 1 */
static const MExpr *one_more(const MExpr *e)
{
  MExpr *one = NEW(MExpr), *sum = NEW(MExpr), **args = NEW_ARRAY(MExpr *, 2);
  *one = (MExpr){.kind = M_NUM, .span = e->span, .number = 1, .type = {.kind = TY_INT}};
  args[0] = (MExpr *)e, args[1] = one;
  *sum = (MExpr){.kind = M_BINARY, .span = e->span, .op = OP_ADD, .n_args = 2, .args = args, .type = {.kind = TY_INT}};
  return sum;
}

Bounds build_support(const Model *m, int family)
{
  const Family *f = &m->families.at[family];
  static const Transform of_type[] = {[TY_SIMPLEX] = TR_SIMPLEX, [TY_ORDERED] = TR_ORDERED, [TY_POSITIVE_ORDERED] = TR_POSITIVE_ORDERED,
                                      [TY_COV_MATRIX] = TR_COV, [TY_CORR_MATRIX] = TR_CORR, [TY_CHOLESKY_CORR] = TR_CHOLESKY_CORR};
  Bounds s = {.transform = TR_IDENTITY};
  if (f->type.kind >= TY_SIMPLEX) { s.transform = of_type[f->type.kind]; return s; }
  s.lower = f->type.lower, s.upper = f->type.upper;
  s.has_lower = s.lower, s.has_upper = s.upper;
  for (int i = 0; i < f->n_statements; i++) {
    const Stmt *st = &m->stmts.at[f->statements[i]];
    if (!st->has_dist) continue;
    Support sup = dist_info[st->dist.dist].support;
    bool observed = f->role == ROLE_OBSERVED;                               /* arguments may be latent there: only what data can be checked against */
    if (st->dist.truncated) {                                               /* T[lo, hi] sets the support */
      const MExpr *lo = st->dist.t_lo, *hi = st->dist.t_hi;
      if (lo && !s.has_lower && (!observed || data_only(m, lo))) s.has_lower = true, s.lower = lo;
      if (hi && !s.has_upper && (!observed || data_only(m, hi))) s.has_upper = true, s.upper = hi;
    }
    if (sup == SUP_CATEGORY || sup == SUP_BOUNDED_COUNT) {
      const MExpr *last = st->dist.args[st->dist.n_args - 1];
      if (!s.has_lower) s.has_lower = true, s.lower_number = sup == SUP_CATEGORY;
      if (!s.has_upper && sup == SUP_BOUNDED_COUNT && f->type.kind == TY_INT) s.has_upper = true, s.upper = st->dist.args[0];
      if (!s.has_upper && sup == SUP_CATEGORY && st->dist.dist != DIST_ordered_logistic) s.has_upper = true, s.upper = last->type.dim[0];
      if (!s.has_upper && st->dist.dist == DIST_ordered_logistic && !observed) s.has_upper = true, s.upper = one_more(last->type.dim[0]);
      continue;
    }
    if (f->type.kind == TY_INT && (sup == SUP_BINARY || sup == SUP_COUNT)) {
      if (!s.has_lower && !observed) s.has_lower = true, s.lower_number = 0;
      if (!s.has_upper && !observed && sup == SUP_BINARY) s.has_upper = true, s.upper_number = 1;
      continue;
    }
    if (!s.has_lower) {
      if (sup == SUP_POSITIVE || sup == SUP_NONNEGATIVE || sup == SUP_UNIT) s.has_lower = true, s.lower_number = 0;
      if (!observed && (sup == SUP_BETWEEN || sup == SUP_ABOVE)) s.has_lower = true, s.lower = st->dist.args[0];
    }
    if (!s.has_upper) {
      if (sup == SUP_UNIT) s.has_upper = true, s.upper_number = 1;
      if (!observed && sup == SUP_BETWEEN) s.has_upper = true, s.upper = st->dist.args[1];
    }
  }
  for (int i = 0; i < 2; i++) {
    const MExpr *e = i ? s.upper : s.lower;
    bool plain = !e || (data_only(m, e) && !type_rank(e->type.kind));
    if (plain) continue;
    if (f->role != ROLE_OBSERVED) s.computed = true;
    else if (i) s.has_upper = false;                                        /* there is nothing to check data against before the fit */
    else s.has_lower = false;
  }
  s.transform = s.has_lower && s.has_upper ? TR_INTERVAL : s.has_lower ? TR_LOWER : s.has_upper ? TR_UPPER : TR_IDENTITY;
  return s;
}

Node build_bound(Builder *b, int family, int which, const Node *index)
{
  const Family *f = &b->m->families.at[family];
  const Stmt *s = &b->m->stmts.at[f->statements[0]];
  Bounds su = build_support(b->m, family);
  const MExpr *e = which ? su.upper : su.lower;
  if (!e) return x_const(b->d, which ? su.upper_number : su.lower_number);
  Node *keep = b->env;
  b->env = NEW_ARRAY(Node, b->m->vars.n + 1);
  memcpy(b->env, keep, sizeof(Node) * (size_t)b->m->vars.n);
  for (int i = 0; i < s->n_index; i++) {                                    /* the statement's variables, from the element's indices */
    const Affine *a = &s->index[i].affine;
    if (a->n == 1 && a->term[0].kind == ATOM_VAR) b->env[a->term[0].id] = x_sub(b->d, index[i], x_int(b->d, a->constant));
  }
  Value v = value_ready(b, build_value(b, e));
  b->env = keep;
  for (int k = v.rank - 1; k >= 0; k--) v.node = x_at(b->d, v.node, v.axis[k], index[f->n_index + k]);
  for (int i = 0; i < b->d->labels.n; i++)
    if (dag_axes(b->d, v.node) & AXIS_BIT(b->d->labels.at[i].axis)) unsupported(b, e->span, "a bound that depends on a discrete latent variable");
  return v.node;
}

/* ---- references ------------------------------------------------------------------------------------------------------------------------------ */

Node build_constrained(Builder *b, int family, Node u, const Node *args)
{
  Dag *d = b->d;
  Bounds s = build_support(b->m, family);
  Node lower = s.has_lower ? build_bound(b, family, 0, args) : NO_NODE, upper = s.has_upper ? build_bound(b, family, 1, args) : NO_NODE;
  switch (s.transform) {
  case TR_LOWER: return x_add(d, x_exp(d, u), lower);
  case TR_UPPER: return x_sub(d, upper, x_exp(d, u));
  case TR_INTERVAL: return x_add(d, x_mul(d, x_sub(d, upper, lower), x_fn1(d, F_inv_logit, u)), lower);
  default: return u;
  }
}

Node build_unconstrained(Builder *b, int family, Node value, const Node *args)
{
  Dag *d = b->d;
  Bounds s = build_support(b->m, family);
  Node lower = s.has_lower ? build_bound(b, family, 0, args) : NO_NODE, upper = s.has_upper ? build_bound(b, family, 1, args) : NO_NODE;
  switch (s.transform) {
  case TR_LOWER: return x_log(d, x_sub(d, value, lower));
  case TR_UPPER: return x_log(d, x_sub(d, upper, value));
  case TR_INTERVAL: return x_sub(d, x_log(d, x_sub(d, value, lower)), x_log(d, x_sub(d, upper, value)));
  default: return value;
  }
}

/* Whether arrays and leaves have this family's coordinates, to which its transform is to be applied here. */
static bool is_transformed(const Builder *b, int family)
{
  Bounds s = build_support(b->m, family);
  if (s.transform == TR_IDENTITY || s.transform >= TR_SIMPLEX) return false;
  return b->mode == LEAF_VALUE ? s.computed && !b->simulating : true;
}

/* The variable on the scale that it has in arrays; in expectations its random coordinate. */
static Node plain_leaf(Builder *b, int family, int n_args, const Node *args)
{
  bool point = b->mode == LEAF_VALUE || build_support(b->m, family).transform >= TR_SIMPLEX;
  XOp op = point ? X_VALUE : b->m->families.at[family].role == ROLE_PARAM ? X_MEAN : X_U;
  return x_leaf(b->d, op, family, n_args, args, false);
}

/* The leaf of a latent or param at complete indices. */
static Node latent_leaf(Builder *b, int family, int n_args, const Node *args)
{
  Node u = plain_leaf(b, family, n_args, args);
  return is_transformed(b, family) ? build_constrained(b, family, u, args) : u;
}

/* log |dx / du| of the element that a statement defines, where the expressions have the transform: exp(u), or (upper - lower) logit^-1'(u). A param is a
 * point on its own scale and has none. */
static Node log_jacobian(Builder *b, const Stmt *s)
{
  Dag *d = b->d;
  const Family *f = &b->m->families.at[s->family];
  Bounds su = build_support(b->m, s->family);
  Node args[8], sum;
  int rank = type_rank(f->type.kind), axes[2] = {-1, -1};
  if (!su.computed || f->role == ROLE_PARAM || b->simulating) return x_const(d, 0);
  for (int k = 0; k < s->n_index; k++) args[k] = build_index(b, &s->index[k]);
  for (int k = 0; k < rank; k++) {
    Node extent = build_scalar(b, f->type.dim[k]);
    for (int t = 0; axes[k] < 0 || (k && axes[k] == axes[0]); t++) axes[k] = dag_dim_axis(d, extent, t);
    args[s->n_index + k] = x_axis(d, axes[k]);
  }
  sum = plain_leaf(b, s->family, s->n_index + rank, args);
  if (su.transform == TR_INTERVAL) {
    Node room = x_sub(d, build_bound(b, s->family, 1, args), build_bound(b, s->family, 0, args));
    sum = x_add(d, x_log(d, room), x_add(d, x_fn1(d, F_log_inv_logit, sum), x_fn1(d, F_log1m_inv_logit, sum)));
  }
  for (int k = rank - 1; k >= 0; k--) sum = x_sum(d, axes[k], sum);
  return sum;
}

static bool is_random_family(const Family *f) { return f->role == ROLE_GLOBAL || f->role == ROLE_LOCAL || f->role == ROLE_PARAM || f->role == ROLE_MARGINAL; }

static Value let_value(Builder *b, const MExpr *e);

/* The value of a marginal latent variable: its axis where it is summed out, the value drawn in simulations. */
static Node marginal_label(Builder *b, const MExpr *e)
{
  Node args[8];
  if (b->enumerated[e->family]) return x_axis(b->d, b->enumerated[e->family] - 1);
  if (!b->simulating) {
    b->failed = true;
    diag(b->lenient ? SEV_WARNING : SEV_ERROR, e->span, "mention it only in the plate that defines it, with its own index",
         "'%s' is summed out: it has no value here", b->m->families.at[e->family].name);
    return x_int(b->d, 1);
  }
  for (int i = 0; i < e->n_index; i++) args[i] = build_index(b, &e->index[i]);
  return x_leaf(b->d, X_VALUE, e->family, e->n_index, args, true);
}

int build_values(Builder *b, int family, const Node *index)
{
  Dag *d = b->d;
  const char *name = b->m->families.at[family].name;
  int before = 0;
  Node end[2];
  for (int i = 0; i < 2; i++) {
    double v;
    end[i] = build_bound(b, family, i, index);
    if (dag_is_const(d, end[i], &v)) end[i] = x_int(d, (long)v);
  }
  for (int i = 0; i < d->labels.n; i++) before += d->labels.at[i].family == family;
  return dag_axis(d, AX_REDUCTION, before ? arena_printf("%s%d_", name, before + 1) : arena_printf("%s_", name), -1, end[0], end[1]);
}

/* The values of a discrete latent element: the axis of its label; or the one that it has, in simulations. */
static Node discrete_label(Builder *b, const MExpr *e)
{
  Dag *d = b->d;
  const char *name = b->m->families.at[e->family].name;
  Label l = {.family = e->family, .n_args = e->n_index};
  for (int i = 0; i < e->n_index; i++) {
    if (e->index[i].kind == IX_SLICE) {
      b->failed = true;
      diag(b->lenient ? SEV_WARNING : SEV_ERROR, e->span, "name its elements one by one", "a slice of '%s' has too many joint values to be summed over", name);
      return x_int(d, 1);
    }
    l.args[i] = guarded_index(b, b->guard, e->family, i, build_index(b, &e->index[i]));
  }
  if (b->simulating) return x_leaf(d, X_VALUE, e->family, e->n_index, l.args, true);
  for (int i = 0; i < e->n_index; i++)
    if (dag_axes(d, l.args[i]) & b->open) {
      b->failed = true;
      diag(b->lenient ? SEV_WARNING : SEV_ERROR, e->span, "put the summands into a plate, where they are terms of their own",
           "the elements of '%s' in this sum have too many joint values to be summed over", name);
      return x_int(d, 1);
    }
  for (int i = 0; i < d->labels.n; i++) {
    const Label *k = &d->labels.at[i];
    if (k->family == l.family && !memcmp(k->args, l.args, sizeof(Node) * (size_t)l.n_args)) return x_axis(d, k->axis);
  }
  l.axis = build_values(b, e->family, l.args);
  VEC_PUSH(d->labels, l);
  return x_axis(d, l.axis);
}

Node label_leaf(Dag *d, XOp op, const Label *l)
{
  Node args[8];
  memcpy(args, l->args, sizeof args);
  if (op == X_VALUE) return x_leaf(d, op, l->family, l->n_args, args, true);
  args[l->n_args] = x_sub(d, x_axis(d, l->axis), d->axes.at[l->axis].lo);
  return x_leaf(d, op, l->family, l->n_args + 1, args, false);
}

int build_labels(const Dag *d, Node n, int *labels, int room)
{
  AxisSet axes = dag_axes(d, n), index[MAX_AXES] = {0};
  int count = 0;
  for (bool more = true; more;) {                                           /* the indices of labels may name others */
    more = false;
    for (int i = 0; i < d->labels.n; i++) {
      const Label *l = &d->labels.at[i];
      if (!(axes & AXIS_BIT(l->axis)) || index[i]) continue;
      index[i] = AXIS_BIT(l->axis);
      for (int k = 0; k < l->n_args; k++) index[i] |= dag_axes(d, l->args[k]);
      axes |= index[i];
      more = true;
    }
  }
  AxisSet placed = 0, all = 0;
  for (int i = 0; i < d->labels.n; i++) all |= index[i] ? AXIS_BIT(d->labels.at[i].axis) : 0;
  for (bool more = true; more;) {
    more = false;
    for (int i = 0; i < d->labels.n; i++) {
      AxisSet own = AXIS_BIT(d->labels.at[i].axis);
      if (!index[i] || (placed & own) || (index[i] & all & ~own & ~placed)) continue;
      if (count == room) return -1;
      labels[count++] = i;
      placed |= own;
      more = true;
    }
  }
  return count;
}

/* Entries of a vector or matrix; those of a lazy value are part of its leaf. */
static Value entries_of(Builder *b, Value v, int n_entry, const Index *entry)
{
  Dag *d = b->d;
  int left[2], n_left = 0;
  if (!n_entry) return v;
  v = value_ready(b, v);
  Node n = v.node;
  for (int k = 0; k < v.rank; k++) {
    if (k >= n_entry) { left[n_left++] = v.axis[k]; continue; }
    if (entry[k].kind == IX_SLICE) {
      Node lo = build_scalar(b, entry[k].lo), extent = x_add(d, x_sub(d, build_scalar(b, entry[k].hi), lo), x_int(d, 1));
      int to = -1;
      for (int i = 0; to < 0 || (dag_axes(d, n) & AXIS_BIT(to)); i++) to = dag_dim_axis(d, extent, i);
      n = x_at(d, n, v.axis[k], x_add(d, x_axis(d, to), x_sub(d, lo, x_int(d, 1))));
      left[n_left++] = to;
    } else {
      n = x_at(d, n, v.axis[k], x_sub(d, build_index(b, &entry[k]), x_int(d, 1)));
    }
  }
  return n_left ? over(b, n_left, left[0], n_left > 1 ? left[1] : 0, n) : scalar(n);
}

static Value build_ref(Builder *b, const MExpr *e)
{
  Dag *d = b->d;
  const Family *f = &b->m->families.at[e->family];
  if (f->role == ROLE_MARGINAL) return scalar(marginal_label(b, e));
  if (is_discrete_latent(f)) return scalar(discrete_label(b, e));
  if (f->role == ROLE_LET) return entries_of(b, let_value(b, e), e->n_entry, e->entry);
  int rank = type_rank(f->type.kind);
  Value v = {.node = NO_NODE, .family = e->family, .integer = f->type.kind == TY_INT, .guarded = b->guard};
  v.op = is_random_family(f) ? X_VALUE : X_INPUT;
  int p = 0;
  for (int i = 0; i < e->n_index; i++, p++) {
    const Index *ix = &e->index[i];
    if (ix->kind != IX_SLICE) { v.args[p] = guarded_index(b, v.guarded, e->family, p, build_index(b, ix)); continue; }
    v.args[p] = NO_NODE, v.base[p] = build_scalar(b, ix->lo);
    v.extent[v.rank++] = x_add(d, x_sub(d, build_scalar(b, ix->hi), v.base[p]), x_int(d, 1));
  }
  for (int k = 0; k < rank; k++, p++) {
    if (k < e->n_entry && e->entry[k].kind != IX_SLICE) {
      v.args[p] = guarded_index(b, v.guarded, e->family, p, x_sub(d, build_index(b, &e->entry[k]), x_int(d, 1)));
      continue;
    }
    v.args[p] = NO_NODE;
    if (k < e->n_entry) {
      Node lo = build_scalar(b, e->entry[k].lo);
      v.base[p] = x_sub(d, lo, x_int(d, 1));
      v.extent[v.rank++] = x_add(d, x_sub(d, build_scalar(b, e->entry[k].hi), lo), x_int(d, 1));
    } else {
      v.base[p] = x_int(d, 0);
      v.extent[v.rank++] = build_scalar(b, f->type.dim[k]);
    }
  }
  v.n_args = p;
  if (v.op == X_INPUT && p == 0 && f->type.kind == TY_INT && f->role == ROLE_INPUT) return scalar(x_leaf(d, X_SIZE, e->family, 0, NULL, true));
  if (v.op == X_INPUT) return v.rank ? v : scalar(x_leaf(d, X_INPUT, e->family, p, v.args, v.integer));
  if (v.rank == 0) return scalar(latent_leaf(b, e->family, p, v.args));
  int axes[2] = {0, 0};                                                     /* transforms are applied to the leaf over its axes */
  if (!is_transformed(b, e->family)) {
    bool point = b->mode == LEAF_VALUE || build_support(b->m, e->family).transform >= TR_SIMPLEX;
    v.op = point ? X_VALUE : f->role == ROLE_PARAM ? X_MEAN : X_U;
    return v;
  }
  default_axes(b, &v, axes);
  Node args[8];
  int k = 0;
  for (int i = 0; i < p; i++) args[i] = v.args[i] >= 0 ? v.args[i] : running_index(b, &v, i, axes[k++]);
  return over(b, v.rank, axes[0], axes[1], latent_leaf(b, e->family, p, args));
}

/* Whether an observed element (or each entry of it) is given: its leaf, read from the other array. */
static Value presence(Builder *b, Value v)
{
  v.integer = true;
  if (v.node < 0) {
    v.op = X_PRESENT;
    return v;
  }
  XNode x = *dag_node(b->d, v.node);
  v.node = x_leaf(b->d, X_PRESENT, x.aux, x.n_args, x.args, true);
  return v;
}

static Node first_entry(Builder *b, const Value *v)
{
  Node args[8];
  if (v->node >= 0) return v->node;
  for (int i = 0; i < v->n_args; i++) args[i] = v->args[i] >= 0 ? v->args[i] : v->base[i];
  return x_leaf(b->d, v->op, v->family, v->n_args, args, v->integer);
}

/* ---- lets --------------------------------------------------------------------------------------------------------------------------- */

/* What a let is at some indices. One without index depends on the variables of the plates around it, and one of a label that is being summed out on
 * its axis; both are part of the key. */
typedef struct LetMemo {
  struct LetMemo *next;
  int n_key;
  Node key[20];
  Value value;
} LetMemo;

static int let_key(const Builder *b, const Family *f, int n_index, const Node *index, Node *key)
{
  int n = 0, chain[8], label = 0;
  for (int i = 0; i < n_index; i++) key[n++] = index[i];
  if (f->block_let) {
    int k = model_plate_chain(b->m, b->m->stmts.at[f->statements[0]].plate, chain, 8);
    for (int i = 0; i < k; i++) key[n++] = b->env[b->m->plates.at[chain[i]].var];
  }
  for (int i = 0; i < b->m->families.n; i++) label |= b->enumerated[i];
  key[n++] = label;
  key[n++] = b->guard > 0;
  return n;
}

/* Does statement `s` define the element? An integer node; enters the element's indices for the statement's plate variables. */
static Node let_defines(Builder *b, const Stmt *s, const Node *index, bool only)
{
  Dag *d = b->d;
  Node inside = x_int(d, 1);
  for (int i = 0; i < s->n_index; i++) {
    const Affine *a = &s->index[i].affine;
    if (a->n == 1 && a->term[0].kind == ATOM_VAR && a->term[0].coef == 1) {
      const Var *v = &b->m->vars.at[a->term[0].id];
      Node at = b->env[a->term[0].id] = x_sub(d, index[i], x_int(d, a->constant));
      if (only) continue;
      Node above = x_compare(d, X_LE, build_scalar(b, v->lo), at), under = x_compare(d, X_LE, at, build_scalar(b, v->hi));
      inside = x_compare(d, X_AND, inside, x_compare(d, X_AND, above, under));
    } else if (!only) {
      inside = x_compare(d, X_AND, inside, x_compare(d, X_EQ, index[i], affine_node(b, a)));
    }
  }
  return inside;
}

static int meet(Builder *b, const Value *v, int n, int *axes);

/* The definition, or the branches over those of several statements. */
static Value let_pieces(Builder *b, const Family *f, const Node *index)
{
  Node *keep = b->env, where = NO_NODE;
  Value result = {.node = NO_NODE};
  bool any = false;
  b->guard += f->n_statements > 1;
  for (int s = f->n_statements - 1; s >= 0; s--) {
    const Stmt *st = &b->m->stmts.at[f->statements[s]];
    double known;
    b->env = NEW_ARRAY(Node, b->m->vars.n + 1);
    memcpy(b->env, keep, sizeof(Node) * (size_t)b->m->vars.n);
    where = let_defines(b, st, index, f->n_statements == 1);
    if (!(dag_is_const(b->d, where, &known) && known == 0)) {
      Value v[2] = {build_value(b, st->value), result};
      int axes[2] = {0, 0};
      if (!any) {
        result = v[0];
      } else {
        int rank = meet(b, v, 2, axes);
        Node n = x_cond(b->d, where, value_over(b, &v[0], axes), value_over(b, &v[1], axes));
        result = rank ? over(b, rank, axes[0], axes[1], n) : scalar(n);
      }
      any = true;
    }
    b->env = keep;
  }
  b->guard -= f->n_statements > 1;
  if (!any) BUG("no piece of let '%s' matches", f->name);
  return result;
}

/* The definition at these indices. */
static Value let_at(Builder *b, int family, int n_index, const Node *index)
{
  const Family *f = &b->m->families.at[family];
  LetMemo memo = {0};
  memo.n_key = let_key(b, f, n_index, index, memo.key);
  for (const LetMemo *m = b->let_memo[family]; m; m = m->next)
    if (m->n_key == memo.n_key && !memcmp(m->key, memo.key, sizeof(Node) * (size_t)m->n_key)) return m->value;
  memo.value = let_pieces(b, f, index);
  memo.next = b->let_memo[family];
  b->let_memo[family] = NEW(LetMemo);
  *b->let_memo[family] = memo;
  return memo.value;
}

/* ---- recurrences: an X_SCAN along the index in which definitions look back ------------------------------------------------------------ */

typedef struct ScanFrame {
  struct ScanFrame *outer;
  const struct Recurrence *of;
  int axis;
  const Node *index;                   /* of the elements computed: axis at the recurrence's position */
} ScanFrame;

typedef struct ScanMemo {
  struct ScanMemo *next;
  const struct Recurrence *of;
  int n_key;
  Node key[20], scan;
} ScanMemo;

/* axis + offset? */
static bool axis_offset(const Dag *d, Node n, int axis, long *offset)
{
  const XNode *x = dag_node(d, n);
  double c = 0;
  if (x->op == X_ADD && dag_is_const(d, x->args[1], &c)) n = x->args[0];
  else if (x->op == X_SUB && dag_is_const(d, x->args[1], &c)) n = x->args[0], c = -c;
  *offset = (long)c;
  return dag_node(d, n)->op == X_AXIS && dag_node(d, n)->aux == axis;
}

/* X_PREVs of the axis, each once; *plain becomes false where what looks back is summed, read at another index, or part of another recurrence. */
static void list_prevs(const Dag *d, Node n, int axis, NodeMap *seen, Node *list, int *n_list, bool *plain)
{
  const XNode *x = dag_node(d, n);
  if (!x->carried || *node_map(seen, n) != NODE_NEW) return;
  *node_map(seen, n) = 1;
  if (x->op == X_PREV) {
    if (x->aux != axis || *n_list == 64) *plain = false;
    else list[(*n_list)++] = n;
    return;
  }
  if (x->op < X_ADD || x->op > X_COND) *plain = false;                      /* not element by element */
  for (int i = 0; i < x->n_args; i++) list_prevs(d, x->args[i], axis, seen, list, n_list, plain);
}

static Node least_or_most(Dag *d, Node a, Node b, bool most)
{
  return a == b ? a : x_cond(d, x_compare(d, X_LE, a, b), most ? b : a, most ? a : b);
}

/* The recurrence at the given indices, whatever they are at the position along which it runs; NO_NODE if that cannot be. */
static Node scan_of(Builder *b, const struct Recurrence *r, int n_index, const Node *index)
{
  Dag *d = b->d;
  ScanMemo memo = {.of = r};
  Node at[8], body[RECURRENCE_PARTS], prev[64];
  memcpy(at, index, sizeof(Node) * (size_t)n_index);
  at[r->position] = NO_NODE;
  memo.n_key = let_key(b, &b->m->families.at[r->member[0]], n_index, at, memo.key);
  for (const ScanMemo *m = b->scans; m; m = m->next)
    if (m->of == r && m->n_key == memo.n_key && !memcmp(m->key, memo.key, sizeof(Node) * (size_t)m->n_key)) return m->scan;
  Node lo = NO_NODE, hi = NO_NODE;
  for (int c = 0; c < r->n; c++) {
    Node first = family_box_lo(d, r->member[c], r->position), last = family_box_hi(b, r->member[c], r->position);
    lo = c ? least_or_most(d, lo, first, false) : first, hi = c ? least_or_most(d, hi, last, true) : last;
  }
  const char *name = b->m->families.at[r->member[0]].name;
  const int parts = r->n > 1 ? dag_axis(d, AX_REDUCTION, arena_printf("%s_part_", name), -1, x_int(d, 0), x_int(d, r->n - 1)) : -1;
  const int axis = dag_axis(d, AX_REDUCTION, arena_printf("%s_at_", name), -1, lo, hi);
  if (d->full) return NO_NODE;
  at[r->position] = x_axis(d, axis);
  ScanFrame frame = {b->frame, r, axis, at};
  b->frame = &frame;
  b->guard++;                                                               /* elements that only one of several has are computed for all */
  for (int c = 0; c < r->n; c++) {
    Value v = let_at(b, r->member[c], n_index, at);
    body[c] = v.rank ? x_const(d, 0) : v.node;
  }
  b->guard--;
  b->frame = frame.outer;
  bool plain = true;
  for (AxisSet others = 0, wider = 1; wider && plain;) {                    /* what is looked back at varies over what the scan varies over */
    AxisSet all = 0;
    int n = 0;
    NodeMap seen = {0};
    for (int c = 0; c < r->n; c++) all |= dag_axes(d, body[c]), list_prevs(d, body[c], axis, &seen, prev, &n, &plain);
    wider = (all &= ~AXIS_BIT(axis)) & ~others;
    others |= all;
    for (int i = 0; i < n && wider; i++) {
      const XNode x = *dag_node(d, prev[i]);
      for (int c = 0; c < r->n; c++) body[c] = dag_replace(d, body[c], prev[i], x_prev(d, axis, x.aux2, (int)x.number, others));
    }
  }
  memo.scan = plain ? x_scan(d, axis, r->down, parts, r->n, body) : NO_NODE;
  memo.next = b->scans;
  b->scans = NEW(ScanMemo);
  *b->scans = memo;
  return memo.scan;
}

/* A definition that looks back at itself, where it is mentioned outside and inside its recurrence. */
static Value recurrent_let(Builder *b, const MExpr *e, const Node *index)
{
  const struct Recurrence *r = b->m->recurrence[e->family];
  const ScanFrame *frame = b->frame;
  int part = -1;
  long lag;
  if (r->refusal) return refused(b, e, r->refusal);
  for (int c = 0; c < r->n; c++)
    if (r->member[c] == e->family) part = c;
  while (frame && frame->of != r) frame = frame->outer;
  if (!frame && part < 0) return let_at(b, e->family, e->n_index, index);
  if (!frame) {
    Node scan = scan_of(b, r, e->n_index, index);
    if (scan < 0) return refused(b, e, "a recurrence that looks back in a sum, a vector or another recurrence");
    return scalar(x_at(b->d, x_scan_part(b->d, scan, part), dag_node(b->d, scan)->aux, index[r->position]));
  }
  if (!axis_offset(b->d, index[r->position], frame->axis, &lag)) return refused(b, e, "a recurrence that refers to a fixed element of itself");
  for (int k = 0; k < e->n_index; k++)
    if (k != r->position && index[k] != frame->index[k]) return refused(b, e, "a recurrence along two indices");
  if (part < 0 || !lag) return let_at(b, e->family, e->n_index, index);
  return scalar(x_prev(b->d, frame->axis, (int)lag, part, 0));
}

/* A `let`, by its definition, at the indices of the mention. */
static Value let_value(Builder *b, const MExpr *e)
{
  const Family *f = &b->m->families.at[e->family];
  Node index[8];
  int slices = 0, axis[2] = {0, 0};
  for (int i = 0; i < e->n_index; i++) {
    if (e->index[i].kind != IX_SLICE) { index[i] = build_index(b, &e->index[i]); continue; }
    if (type_rank(f->type.kind)) return refused(b, e, "a slice of a let of vectors");
    /* its definition over an axis of its own, which nothing in the definition can mean */
    Node lo = build_scalar(b, e->index[i].lo), extent = x_add(b->d, x_sub(b->d, build_scalar(b, e->index[i].hi), lo), x_int(b->d, 1));
    axis[slices] = dag_axis(b->d, AX_DIM, arena_printf("s%d_", b->d->axes.n), -1, x_int(b->d, 0), x_sub(b->d, extent, x_int(b->d, 1)));
    index[i] = x_add(b->d, lo, x_axis(b->d, axis[slices++]));
  }
  Value v = b->m->recurrence[e->family] ? recurrent_let(b, e, index) : let_at(b, e->family, e->n_index, index);
  return slices ? over(b, slices, axis[0], axis[1], value_over(b, &v, NULL)) : v;
}

/* ---- operations --------------------------------------------------------------------------------------------------------------------------------- */

/* Axes on which element-wise operands meet. */
static int meet(Builder *b, const Value *v, int n, int *axes)
{
  int best = -1;
  for (int i = 0; i < n; i++)
    if (v[i].rank && (best < 0 || (v[best].node < 0 && v[i].node >= 0))) best = i;
  if (best < 0) return 0;
  if (v[best].node >= 0) memcpy(axes, v[best].axis, sizeof v[best].axis);
  else default_axes(b, &v[best], axes);
  return v[best].rank;
}

typedef Node (*Binary)(Dag *, Node, Node);

static Value elementwise2(Builder *b, Value p, Value q, Binary op)
{
  Value v[2] = {p, q};
  int axes[2] = {0, 0}, rank = meet(b, v, 2, axes);
  Node n = op(b->d, value_over(b, &v[0], axes), value_over(b, &v[1], axes));
  return rank ? over(b, rank, axes[0], axes[1], n) : scalar(n);
}

/* sum over c of p[.., c] * q[c, ..]; ranks 1 or 2 on either side. */
static Value product(Builder *b, Value p, Value q, bool p_row_matrix, bool q_column_matrix)
{
  Dag *d = b->d;
  int c = q.node >= 0 ? q.axis[0] : p.node >= 0 ? p.axis[p.rank - 1] : dag_dim_axis(d, q.extent[0], 0);
  int r = -1, s = -1;
  AxisSet taken = AXIS_BIT(c);
  if (q_column_matrix) {
    s = q.node >= 0 ? q.axis[1] : -1;
    for (int k = 0; s < 0 || (taken & AXIS_BIT(s)); k++) s = dag_dim_axis(d, q.extent[1], k);
    taken |= AXIS_BIT(s);
  }
  if (p_row_matrix) {
    r = p.node >= 0 ? p.axis[0] : -1;
    for (int k = 0; r < 0 || (taken & AXIS_BIT(r)); k++) r = dag_dim_axis(d, p.extent[0], k);
  }
  int pa[2] = {p_row_matrix ? r : c, c}, qa[2] = {c, s};
  Node n = x_sum(d, c, x_mul(d, value_over(b, &p, pa), value_over(b, &q, qa)));
  if (p_row_matrix && q_column_matrix) return over(b, 2, r, s, n);
  if (p_row_matrix) return over(b, 1, r, 0, n);
  if (q_column_matrix) return over(b, 1, s, 0, n);
  return scalar(n);
}

static Value transpose(Builder *b, Value v)
{
  if (v.rank < 2) return v;
  v = value_ready(b, v);
  return over(b, 2, v.axis[1], v.axis[0], v.node);
}

/* The value over axes of which none is taken and no two are the same. */
static Value on_own_axes(Builder *b, Value v, AxisSet taken)
{
  int axes[2] = {-1, -1};
  for (int i = 0; i < v.rank; i++) {
    if (v.node >= 0 && !(taken & AXIS_BIT(v.axis[i]))) axes[i] = v.axis[i];
    for (int k = 0; axes[i] < 0 || (taken & AXIS_BIT(axes[i])); k++) axes[i] = dag_dim_axis(b->d, v.extent[i], k);
    taken |= AXIS_BIT(axes[i]);
  }
  return over(b, v.rank, axes[0], axes[1], value_over(b, &v, axes));
}

/* A function of a whole square matrix whose result is one, too. */
static Value whole_matrix(Builder *b, XOp op, Value v)
{
  v = on_own_axes(b, v, 0);
  return over(b, 2, v.axis[0], v.axis[1], x_matrix(b->d, op, v.axis[0], v.axis[1], v.node, NO_NODE));
}

static Value inverse(Builder *b, Value v) { return whole_matrix(b, X_INVERSE, v); }

/* L^-1 v or, transposed, L^-T v, for a vector or, column by column, a matrix v. */
static Value triangular_solve(Builder *b, bool transposed, Value L, Value v)
{
  L = on_own_axes(b, L, 0);
  int axes[2] = {L.axis[0], -1};
  AxisSet taken = AXIS_BIT(L.axis[0]) | AXIS_BIT(L.axis[1]);
  if (v.rank == 2 && v.node >= 0 && !(taken & AXIS_BIT(v.axis[1]))) axes[1] = v.axis[1];
  for (int k = 0; v.rank == 2 && (axes[1] < 0 || (taken & AXIS_BIT(axes[1]))); k++) axes[1] = dag_dim_axis(b->d, v.extent[1], k);
  return over(b, v.rank, axes[0], axes[1], x_trisolve(b->d, transposed, L.axis[0], L.axis[1], L.node, value_over(b, &v, axes)));
}

/* A^-1 v of a symmetric positive definite matrix A. */
static Value solve_spd(Builder *b, Value A, Value v)
{
  Value L = whole_matrix(b, X_CHOLESKY, A);
  return triangular_solve(b, true, L, triangular_solve(b, false, L, v));
}

static Value build_binary(Builder *b, const MExpr *e)
{
  Value p = build_value(b, e->args[0]), q = build_value(b, e->args[1]);
  Dag *d = b->d;
  TypeKind tp = e->args[0]->type.kind, tq = e->args[1]->type.kind;
  switch (e->op) {
  case OP_ADD: return elementwise2(b, p, q, x_add);
  case OP_SUB: return elementwise2(b, p, q, x_sub);
  case OP_EMUL: return elementwise2(b, p, q, x_mul);
  case OP_DIV:
    if (q.rank == 2) return product(b, p, inverse(b, q), p.rank == 2, true);
    return elementwise2(b, p, q, x_div);
  case OP_EDIV: return elementwise2(b, p, q, x_div);
  case OP_POW: return elementwise2(b, p, q, x_pow);
  case OP_MUL:
    if (!p.rank || !q.rank) return elementwise2(b, p, q, x_mul);
    if (tp == TY_VECTOR && tq == TY_ROW_VECTOR) {                           /* outer product */
      p = value_ready(b, p);
      int s = -1;
      for (int k = 0; s < 0 || s == p.axis[0]; k++) s = dag_dim_axis(d, q.extent[0], k);
      return over(b, 2, p.axis[0], s, x_mul(d, p.node, value_over(b, &q, &s)));
    }
    return product(b, p, q, p.rank == 2, q.rank == 2);
  default: {
    Node x = value_ready(b, p).node, y = value_ready(b, q).node;
    static const XOp op[] = {[OP_LT] = X_LT, [OP_LE] = X_LE, [OP_GT] = X_LT, [OP_GE] = X_LE, [OP_EQ] = X_EQ, [OP_NE] = X_NE, [OP_AND] = X_AND, [OP_OR] = X_OR};
    const bool swap = e->op == OP_GT || e->op == OP_GE;
    const Node low = swap ? y : x, high = swap ? x : y;
    /* so that both sides of a threshold are seen to be complements: expect.c */
    if (op[e->op] == X_LE && (dag_node(d, low)->random || dag_node(d, high)->random)) return scalar(x_sub(d, x_int(d, 1), x_compare(d, X_LT, high, low)));
    return scalar(x_compare(d, op[e->op], low, high));
  }
  }
}

/* ---- functions ------------------------------------------------------------------------------------------------------------------------------------- */

static Node log_sum_exp2(Dag *d, Node x, Node y)
{
  return x_add(d, y, x_fn1(d, F_softplus, x_sub(d, x, y)));
}

/* Element-wise functions of scalars. */
static Node map_function(Builder *b, int f, const Node *a)
{
  Dag *d = b->d;
  Node one = x_const(d, 1);
  switch ((FuncId)f) {
  case FUNC_exp: return x_exp(d, a[0]);
  case FUNC_log: return x_log(d, a[0]);
  case FUNC_log1p: return x_fn1(d, F_log1p, a[0]);
  case FUNC_log1m: return x_fn1(d, F_log1p, x_neg(d, a[0]));
  case FUNC_expm1: return x_fn1(d, F_expm1, a[0]);
  case FUNC_exp2: return x_exp(d, x_mul(d, x_const(d, M_LN2), a[0]));
  case FUNC_log2: return x_mul(d, x_const(d, 1 / M_LN2), x_log(d, a[0]));
  case FUNC_log10: return x_mul(d, x_const(d, 1 / M_LN10), x_log(d, a[0]));
  case FUNC_log1p_exp: case FUNC_softplus: return x_fn1(d, F_softplus, a[0]);
  case FUNC_log1m_exp: return x_fn1(d, F_log1m_exp, a[0]);
  case FUNC_sqrt: return x_sqrt(d, a[0]);
  case FUNC_cbrt: return x_fn1(d, F_cbrt, a[0]);
  case FUNC_square: return x_square(d, a[0]);
  case FUNC_inv: return x_div(d, one, a[0]);
  case FUNC_inv_sqrt: return x_div(d, one, x_sqrt(d, a[0]));
  case FUNC_inv_square: return x_div(d, one, x_square(d, a[0]));
  case FUNC_abs: case FUNC_fabs: return x_fn1(d, F_fabs, a[0]);
  case FUNC_floor: return x_fn1(d, F_floor, a[0]);
  case FUNC_ceil: return x_fn1(d, F_ceil, a[0]);
  case FUNC_round: return x_fn1(d, F_round, a[0]);
  case FUNC_sin: return x_fn1(d, F_sin, a[0]);
  case FUNC_cos: return x_fn1(d, F_cos, a[0]);
  case FUNC_tan: return x_fn1(d, F_tan, a[0]);
  case FUNC_asin: return x_fn1(d, F_asin, a[0]);
  case FUNC_acos: return x_fn1(d, F_acos, a[0]);
  case FUNC_atan: return x_fn1(d, F_atan, a[0]);
  case FUNC_sinh: return x_fn1(d, F_sinh, a[0]);
  case FUNC_cosh: return x_fn1(d, F_cosh, a[0]);
  case FUNC_tanh: return x_fn1(d, F_tanh, a[0]);
  case FUNC_asinh: return x_mul(d, x_fn1(d, F_sign, a[0]), x_log(d, x_add(d, x_fn1(d, F_fabs, a[0]), x_sqrt(d, x_add(d, x_square(d, a[0]), one)))));
  case FUNC_acosh: return x_log(d, x_add(d, a[0], x_sqrt(d, x_sub(d, x_square(d, a[0]), one))));
  case FUNC_atanh: return x_mul(d, x_const(d, 0.5), x_sub(d, x_fn1(d, F_log1p, a[0]), x_fn1(d, F_log1p, x_neg(d, a[0]))));
  case FUNC_inv_logit: return x_fn1(d, F_inv_logit, a[0]);
  case FUNC_logit: return x_fn1(d, F_logit, a[0]);
  case FUNC_log_inv_logit: return x_fn1(d, F_log_inv_logit, a[0]);
  case FUNC_log1m_inv_logit: return x_fn1(d, F_log1m_inv_logit, a[0]);
  case FUNC_inv_cloglog: return x_neg(d, x_fn1(d, F_expm1, x_neg(d, x_exp(d, a[0]))));
  case FUNC_relu: return x_fn1(d, F_relu, a[0]);
  case FUNC_leaky_relu: return x_fn2(d, F_leaky_relu, a[0], a[1]);
  case FUNC_gelu: return x_fn1(d, F_gelu, a[0]);
  case FUNC_silu: return x_mul(d, a[0], x_fn1(d, F_inv_logit, a[0]));
  case FUNC_erf: return x_fn1(d, F_erf, a[0]);
  case FUNC_erfc: return x_fn1(d, F_erfc, a[0]);
  case FUNC_Phi: return x_fn1(d, F_Phi, a[0]);
  case FUNC_Phi_approx:
    return x_fn1(d, F_inv_logit, x_mul(d, a[0], x_add(d, x_const(d, 1.5976), x_mul(d, x_const(d, 0.07056), x_square(d, a[0])))));
  case FUNC_lgamma: return x_fn1(d, F_lgamma, a[0]);
  case FUNC_tgamma: return x_fn1(d, F_tgamma, a[0]);
  case FUNC_trigamma: return x_fn1(d, F_trigamma, a[0]);
  case FUNC_inv_Phi: return x_fn1(d, F_inv_Phi, a[0]);
  case FUNC_digamma: return x_fn1(d, F_digamma, a[0]);
  case FUNC_lbeta: return x_fn2(d, F_lbeta, a[0], a[1]);
  case FUNC_lchoose: return x_fn2(d, F_lchoose, a[0], a[1]);
  case FUNC_pow: return x_pow(d, a[0], a[1]);
  case FUNC_atan2: return x_fn2(d, F_atan2, a[0], a[1]);
  case FUNC_hypot: return x_sqrt(d, x_add(d, x_square(d, a[0]), x_square(d, a[1])));
  case FUNC_fmin: case FUNC_min: return x_fn2(d, F_fmin, a[0], a[1]);
  case FUNC_fmax: case FUNC_max: return x_fn2(d, F_fmax, a[0], a[1]);
  case FUNC_fdim: return x_fn1(d, F_relu, x_sub(d, a[0], a[1]));
  case FUNC_fma: return x_add(d, x_mul(d, a[0], a[1]), a[2]);
  case FUNC_lmultiply: return x_fn2(d, F_xlogy, a[0], a[1]);
  case FUNC_log_diff_exp: return x_add(d, a[0], x_fn1(d, F_log1m_exp, x_sub(d, a[1], a[0])));
  case FUNC_log_mix: return log_sum_exp2(d, x_add(d, x_log(d, a[0]), a[1]), x_add(d, x_fn1(d, F_log1p, x_neg(d, a[0])), a[2]));
  case FUNC_log_sum_exp: return log_sum_exp2(d, a[0], a[1]);
  default: BUG("no element-wise function %s", func_info[f].name);
  }
}

static Node sum_value(Builder *b, const Value *v, Node n)
{
  for (int k = v->rank - 1; k >= 0; k--) n = x_sum(b->d, v->axis[k], n);
  return n;
}

static Node count_value(Builder *b, const Value *v)
{
  Node n = x_int(b->d, 1);
  for (int k = 0; k < v->rank; k++) n = x_mul(b->d, n, v->extent[k]);
  return n;
}

static Value reduce_function(Builder *b, const MExpr *e)
{
  Dag *d = b->d;
  Value v = value_ready(b, build_value(b, e->args[0]));
  if (!v.rank) return v;
  Node count = count_value(b, &v), mean = x_div(d, sum_value(b, &v, v.node), count), n = v.node;
  switch ((FuncId)e->func) {
  case FUNC_sum: return scalar(sum_value(b, &v, n));
  case FUNC_mean: return scalar(mean);
  case FUNC_dot_self: return scalar(sum_value(b, &v, x_square(d, n)));
  case FUNC_norm1: return scalar(sum_value(b, &v, x_fn1(d, F_fabs, n)));
  case FUNC_norm2: return scalar(x_sqrt(d, sum_value(b, &v, x_square(d, n))));
  case FUNC_variance: case FUNC_sd: {
    Node var = x_div(d, sum_value(b, &v, x_square(d, x_sub(d, n, mean))), x_sub(d, count, x_int(d, 1)));
    return scalar(e->func == FUNC_sd ? x_sqrt(d, var) : var);
  }
  case FUNC_prod:
    for (int k = v.rank - 1; k >= 0; k--) n = x_reduce(d, X_PROD, v.axis[k], n);
    return scalar(n);
  case FUNC_max: case FUNC_min:
    for (int k = v.rank - 1; k >= 0; k--) n = x_reduce(d, e->func == FUNC_max ? X_MAX : X_MIN, v.axis[k], n);
    return scalar(n);
  case FUNC_log_sum_exp:
    if (v.rank == 1) return scalar(x_log_sum_exp(d, v.axis[0], n));
    return scalar(x_log_sum_exp(d, v.axis[0], x_log_sum_exp(d, v.axis[1], n)));
  default: BUG("no reduction %s", func_info[e->func].name);
  }
}

static Value identity_matrix(Builder *b, Node extent)
{
  int r = dag_dim_axis(b->d, extent, 0), c = -1;
  for (int k = 0; c < 0 || c == r; k++) c = dag_dim_axis(b->d, extent, k);
  return over(b, 2, r, c, x_compare(b->d, X_EQ, x_axis(b->d, r), x_axis(b->d, c)));
}

/* The entries of p along dimension k, then those of q; of vectors, k 0. Each is read within its own range only. */
static Value append(Builder *b, Value p, Value q, int k)
{
  Dag *d = b->d;
  int rank = p.rank > q.rank ? p.rank : q.rank, axes[2] = {-1, -1};
  Node first = p.rank == rank ? p.extent[k] : x_int(d, 1), second = q.rank == rank ? q.extent[k] : x_int(d, 1);
  const Value *full = p.rank == rank ? &p : &q;
  for (int i = 0; i < rank; i++) {
    Node extent = i == k ? x_add(d, first, second) : full->extent[i];
    for (int t = 0; axes[i] < 0 || (i && axes[i] == axes[0]); t++) axes[i] = dag_dim_axis(d, extent, t);
  }
  Node at = x_axis(d, axes[k]), part[2];
  for (int i = 0; i < 2; i++) {
    const Value *v = i ? &q : &p;
    int own[2] = {axes[0], axes[1]}, along = -1;
    if (v->rank < rank) {                                                   /* a vector beside a matrix */
      part[i] = value_over(b, v, &axes[1 - k]);
      continue;
    }
    for (int t = 0; along < 0 || along == axes[0] || along == axes[1]; t++) along = dag_dim_axis(d, v->extent[k], t);
    own[k] = along;
    Node index = i ? x_sub(d, at, first) : at;
    part[i] = x_at(d, value_over(b, v, own), along, x_clamp(d, index, x_int(d, 0), x_sub(d, v->extent[k], x_int(d, 1))));
  }
  return over(b, rank, axes[0], axes[1], x_cond(d, x_compare(d, X_LT, at, first), part[0], part[1]));
}

static Value matrix_function(Builder *b, const MExpr *e)
{
  Dag *d = b->d;
  Value v[3];
  for (int i = 0; i < e->n_args && i < 3; i++) v[i] = build_value(b, e->args[i]);
  switch ((FuncId)e->func) {
  case FUNC_rep_vector: case FUNC_rep_row_vector: {
    int a = dag_dim_axis(d, build_scalar(b, e->args[1]), 0);
    return over(b, 1, a, 0, v[0].node);
  }
  case FUNC_rep_matrix: {
    Node r = build_scalar(b, e->args[1]), c = build_scalar(b, e->args[2]);
    return over(b, 2, dag_dim_axis(d, r, 0), dag_dim_axis(d, c, r == c), v[0].node);
  }
  case FUNC_to_vector: case FUNC_to_row_vector:
    return v[0];
  case FUNC_transpose: return transpose(b, v[0]);
  case FUNC_identity_matrix: return identity_matrix(b, build_scalar(b, e->args[0]));
  case FUNC_diag_matrix: {
    Value one = identity_matrix(b, v[0].extent[0]);
    return over(b, 2, one.axis[0], one.axis[1], x_mul(d, one.node, value_over(b, &v[0], one.axis)));
  }
  case FUNC_append_row: return append(b, v[0], v[1], 0);
  case FUNC_append_col: return append(b, v[0], v[1], v[0].rank == 1 && v[1].rank == 1 ? 0 : 1);
  case FUNC_crossprod: return product(b, transpose(b, v[0]), v[0], true, true);
  case FUNC_tcrossprod: return product(b, v[0], transpose(b, v[0]), true, true);
  case FUNC_quad_form:                                                      /* B' (A B) */
    return product(b, transpose(b, v[1]), product(b, v[0], v[1], true, v[1].rank == 2), v[1].rank == 2, v[1].rank == 2);
  case FUNC_diagonal: {
    v[0] = value_ready(b, v[0]);
    return over(b, 1, v[0].axis[0], 0, x_at(d, v[0].node, v[0].axis[1], x_axis(d, v[0].axis[0])));
  }
  case FUNC_diag_pre_multiply: {
    v[1] = value_ready(b, v[1]);
    return over(b, 2, v[1].axis[0], v[1].axis[1], x_mul(d, value_over(b, &v[0], &v[1].axis[0]), v[1].node));
  }
  case FUNC_diag_post_multiply: {
    v[0] = value_ready(b, v[0]);
    return over(b, 2, v[0].axis[0], v[0].axis[1], x_mul(d, v[0].node, value_over(b, &v[1], &v[0].axis[1])));
  }
  case FUNC_add_diag: {
    v[0] = value_ready(b, v[0]);
    Node on = x_compare(d, X_EQ, x_axis(d, v[0].axis[0]), x_axis(d, v[0].axis[1]));
    Node add = v[1].rank ? value_over(b, &v[1], &v[0].axis[0]) : v[1].node;
    return over(b, 2, v[0].axis[0], v[0].axis[1], x_add(d, v[0].node, x_mul(d, on, add)));
  }
  case FUNC_trace: {
    v[0] = value_ready(b, v[0]);
    return scalar(x_sum(d, v[0].axis[0], x_at(d, v[0].node, v[0].axis[1], x_axis(d, v[0].axis[0]))));
  }
  case FUNC_log_det: case FUNC_log_determinant:
    v[0] = on_own_axes(b, v[0], 0);
    return scalar(x_matrix(d, X_LOG_DET, v[0].axis[0], v[0].axis[1], v[0].node, NO_NODE));
  case FUNC_inverse: return inverse(b, v[0]);
  case FUNC_inverse_spd: return solve_spd(b, v[0], identity_matrix(b, v[0].extent[0]));
  case FUNC_cholesky_decompose: return whole_matrix(b, X_CHOLESKY, v[0]);
  case FUNC_mdivide_left: return product(b, inverse(b, v[0]), v[1], true, v[1].rank == 2);
  case FUNC_mdivide_left_spd: return solve_spd(b, v[0], v[1]);
  case FUNC_mdivide_left_tri_low: return triangular_solve(b, false, v[0], v[1]);
  default: BUG("no matrix function %s", func_info[e->func].name);
  }
}

static Value build_call(Builder *b, const MExpr *e)
{
  Dag *d = b->d;
  const FuncInfo *info = &func_info[e->func];
  switch (info->class_) {
  case FC_CONSTANT:
    return scalar(x_const(d, e->func == FUNC_pi ? M_PI : e->func == FUNC_e ? M_E : e->func == FUNC_sqrt2 ? M_SQRT2 : e->func == FUNC_positive_infinity ? INFINITY : -INFINITY));
  case FC_REDUCE_OR_MAP:
    if (e->n_args == 1) return reduce_function(b, e);
    break;
  case FC_REDUCE: return reduce_function(b, e);
  case FC_DOT: {
    Value p = build_value(b, e->args[0]), q = build_value(b, e->args[1]);
    if (e->func == FUNC_dot || e->func == FUNC_dot_product) return product(b, p, q, false, false);
    Value diff = elementwise2(b, p, q, x_sub);
    Node s = x_sum(d, diff.axis[0], x_square(d, diff.node));
    return scalar(e->func == FUNC_distance ? x_sqrt(d, s) : s);
  }
  case FC_VECTOR: {
    Value v = value_ready(b, build_value(b, e->args[0]));
    if (e->func == FUNC_softmax || e->func == FUNC_log_softmax) {
      Node l = x_sub(d, v.node, x_log_sum_exp(d, v.axis[0], v.node));
      return over(b, 1, v.axis[0], 0, e->func == FUNC_softmax ? x_exp(d, l) : l);
    }
    if (e->func == FUNC_reverse)
      return over(b, 1, v.axis[0], 0, x_at(d, v.node, v.axis[0], x_sub(d, d->axes.at[v.axis[0]].hi, x_axis(d, v.axis[0]))));
    int c = -1;                                                             /* cumulative_sum: sum over c <= k */
    for (int k = 0; c < 0 || c == v.axis[0]; k++) c = dag_dim_axis(d, v.extent[0], k);
    Node below = x_compare(d, X_LE, x_axis(d, c), x_axis(d, v.axis[0]));
    return over(b, 1, v.axis[0], 0, x_sum(d, c, x_mul(d, below, value_over(b, &v, &c))));
  }
  case FC_MATRIX: return matrix_function(b, e);
  case FC_SIZE: {
    Value v = build_value(b, e->args[0]);
    if (e->func == FUNC_num_elements) return scalar(count_value(b, &v));
    return scalar(v.rank == 2 ? v.extent[e->func == FUNC_cols] : (e->args[0]->type.kind == TY_ROW_VECTOR) == (e->func == FUNC_cols) ? v.extent[0] : x_int(d, 1));
  }
  case FC_PRESENT:
    return presence(b, build_value(b, e->args[0]));
  default: break;
  }
  Value v[3];
  Node a[3] = {0, 0, 0};
  int axes[2] = {0, 0};
  for (int i = 0; i < e->n_args && i < 3; i++) v[i] = build_value(b, e->args[i]);
  int rank = meet(b, v, e->n_args, axes);
  for (int i = 0; i < e->n_args && i < 3; i++) a[i] = value_over(b, &v[i], axes);
  Node n = map_function(b, e->func, a);
  return rank ? over(b, rank, axes[0], axes[1], n) : scalar(n);
}

/* sum(m in lo..hi: body) and its kin. */
static Value build_reduction(Builder *b, const MExpr *e)
{
  Dag *d = b->d;
  const Var *var = &b->m->vars.at[e->var];
  int axis = dag_range_axis(d, AX_REDUCTION, var->name, e->var, build_scalar(b, var->lo), build_scalar(b, var->hi), b->open);
  Node keep = b->env[e->var];
  b->env[e->var] = x_axis(d, axis);
  b->open |= AXIS_BIT(axis);
  Value v = value_ready(b, build_value(b, e->args[0]));
  b->open &= ~AXIS_BIT(axis);
  b->env[e->var] = keep;
  Node n = v.node;
  switch (e->reduce) {
  case RED_SUM: n = x_sum(d, axis, n); break;
  case RED_MEAN: n = x_div(d, x_sum(d, axis, n), d->axes.at[axis].extent); break;
  case RED_MAX: n = x_reduce(d, X_MAX, axis, n); break;
  case RED_MIN: n = x_reduce(d, X_MIN, axis, n); break;
  case RED_LSE: n = x_log_sum_exp(d, axis, n); break;
  case RED_PROD: n = x_reduce(d, X_PROD, axis, n); break;
  }
  return v.rank ? over(b, v.rank, v.axis[0], v.axis[1], n) : scalar(n);
}

/* Distributions that see whole vectors: over vectors, or of categories. */
bool dist_takes_arrays(int dist)
{
  return dist_info[dist].shape == DSH_MULTIVARIATE || dist_info[dist].support == SUP_CATEGORY;
}

static Node array_density(Builder *b, int dist, const Value *x, const Value *args, int n)
{
  DensityArg a[6];
  for (int i = 0; i <= n; i++) {
    Value v = value_ready(b, i ? args[i - 1] : *x);
    a[i] = (DensityArg){.node = v.node, .rank = v.rank, .axis = {v.axis[0], v.axis[1]}};
  }
  return density_lpdf_args(b->d, dist, &a[0], a + 1, n);
}

Value build_value(Builder *b, const MExpr *e)
{
  Dag *d = b->d;
  switch (e->kind) {
  case M_NUM: return scalar(e->type.kind == TY_INT ? x_int(d, (long)e->number) : x_const(d, e->number));
  case M_VAR:
    if (b->env[e->var] < 0) BUG("variable '%s' has no axis here", b->m->vars.at[e->var].name);
    return scalar(b->env[e->var]);
  case M_REF: return build_ref(b, e);
  case M_UNARY: {
    Value v = build_value(b, e->args[0]);
    if (e->op == OP_TRANSPOSE) return transpose(b, v);
    v = value_ready(b, v);
    v.node = e->op == OP_NOT ? x_not(d, v.node) : x_neg(d, v.node);
    return v;
  }
  case M_BINARY: return build_binary(b, e);
  case M_COND: {
    Node c = build_scalar(b, e->args[0]);
    double known;
    if (dag_is_const(d, c, &known)) return build_value(b, e->args[known != 0 ? 1 : 2]);
    b->guard++;
    Value v[2] = {build_value(b, e->args[1]), build_value(b, e->args[2])};
    b->guard--;
    int axes[2] = {0, 0}, rank = meet(b, v, 2, axes);
    Node n = x_cond(d, c, value_over(b, &v[0], axes), value_over(b, &v[1], axes));
    return rank ? over(b, rank, axes[0], axes[1], n) : scalar(n);
  }
  case M_CALL: return build_call(b, e);
  case M_LPDF: {
    Value v[6];
    Node a[6];
    int axes[2] = {0, 0};
    for (int i = 0; i < e->n_args && i < 6; i++) v[i] = build_value(b, e->args[i]);
    if (dist_takes_arrays(e->dist)) return scalar(array_density(b, e->dist, &v[0], v + 1, e->n_args - 1));
    int rank = meet(b, v, e->n_args, axes);
    for (int i = 0; i < e->n_args && i < 6; i++) a[i] = value_over(b, &v[i], axes);
    Node n = e->lp == LP_LCDF    ? density_lcdf(d, e->dist, a[0], a + 1, e->n_args - 1)
             : e->lp == LP_LCCDF ? density_lccdf(d, e->dist, a[0], a + 1, e->n_args - 1)
                                 : density_lpdf(d, e->dist, a[0], a + 1, e->n_args - 1);
    for (int k = rank - 1; k >= 0; k--) n = x_sum(d, axes[k], n);
    return scalar(n);
  }
  case M_REDUCE: return build_reduction(b, e);
  case M_VECTOR: {                                                          /* [a, b, c]; [[a, b], [c, d]] by rows */
    int rank = e->type.kind == TY_MATRIX ? 2 : 1;
    int columns = rank == 2 && e->n_args ? e->args[0]->n_args : 0;
    int a = dag_dim_axis(d, x_int(d, e->n_args), 0), c = rank == 2 ? dag_dim_axis(d, x_int(d, columns), columns == e->n_args) : 0;
    Node n = NO_NODE;
    for (int i = e->n_args - 1; i >= 0; i--) {
      Value v = build_value(b, e->args[i]);
      Node entry = rank == 2 ? value_over(b, &v, &c) : v.node;
      n = n < 0 ? entry : x_cond(d, x_compare(d, X_EQ, x_axis(d, a), x_int(d, i)), entry, n);
    }
    return over(b, rank, a, c, n);
  }
  case M_ENTRY: return entries_of(b, build_value(b, e->args[0]), e->n_entry, e->entry);
  }
  BUG("no value");
}

Node build_scalar(Builder *b, const MExpr *e)
{
  Value v = build_value(b, e);
  if (v.rank) BUG("a scalar was expected: %s", mexpr_text(b->m, e));
  return value_over(b, &v, NULL);
}

/* ---- terms -------------------------------------------------------------------------------------------------------------------------------------------- */

Value build_defined(Builder *b, const Stmt *s)
{
  MExpr ref = {.kind = M_REF, .span = s->span, .family = s->family, .n_index = s->n_index, .index = s->index, .type = s->type};
  return build_ref(b, &ref);
}

Node build_presence(Builder *b, const Stmt *s)
{
  Value v = presence(b, build_defined(b, s));
  return first_entry(b, &v);
}

static Node log_density(Builder *b, const Stmt *s)
{
  Dag *d = b->d;
  if (s->kind == ST_FACTOR) {
    Value v = build_value(b, s->value);
    return v.rank ? sum_value(b, &v, value_ready(b, v).node) : value_over(b, &v, NULL);
  }
  const DistCall *c = &s->dist;
  Value v[6];
  Node a[6];
  int axes[2] = {0, 0};
  v[0] = build_defined(b, s);
  for (int i = 0; i < c->n_args && i < 5; i++) v[i + 1] = build_value(b, c->args[i]);
  if (c->dist == DIST_flat) return x_const(d, 0);
  const bool observed = b->m->families.at[s->family].role == ROLE_OBSERVED;  /* a missing value's factor is 1: it is integrated out */
  Value given = observed ? presence(b, v[0]) : (Value){0};
  if (dist_takes_arrays(c->dist)) {                                              /* all entries or none */
    Node n = array_density(b, c->dist, &v[0], v + 1, c->n_args);
    return observed ? x_mul(d, first_entry(b, &given), n) : n;
  }
  int rank = meet(b, v, c->n_args + 1, axes);
  for (int i = 0; i <= c->n_args && i < 6; i++) a[i] = value_over(b, &v[i], axes);
  Node n = density_lpdf(d, c->dist, a[0], a + 1, c->n_args);
  if (c->truncated && !b->failed) {
    Node ends[2] = {NO_NODE, NO_NODE};
    for (int i = 0; i < 2; i++) {
      const MExpr *end = i ? c->t_hi : c->t_lo;
      if (!end) continue;
      Value end_value = build_value(b, end);
      ends[i] = value_over(b, &end_value, axes);
    }
    n = x_sub(d, n, density_log_interval(d, c->dist, ends[0], ends[1], a + 1, c->n_args));
  }
  if (observed) n = x_mul(d, value_over(b, &given, axes), n);
  for (int k = rank - 1; k >= 0; k--) n = x_sum(d, axes[k], n);
  return n;
}

Node build_term(Builder *b, const Stmt *s)
{
  Node n = log_density(b, s);
  return s->kind == ST_LATENT || s->kind == ST_PARAM ? x_add(b->d, n, log_jacobian(b, s)) : n;
}
