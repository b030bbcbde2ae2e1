/* The expression DAG: construction, simplification, evaluation, printing. See expr.h. */
#include "expr.h"
#include "../runtime/pgm_math.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ARGS 16                                                          /* of one node: indices and entries of a leaf */

const char *const fn_c_name[] = {
#define FN1(name, c) c,
#define FN2(name, c) c,
#define FN3(name, c) c,
#include "fn.def"
#undef FN1
#undef FN2
#undef FN3
};
const int fn_arity[] = {
#define FN1(name, c) 1,
#define FN2(name, c) 2,
#define FN3(name, c) 3,
#include "fn.def"
#undef FN1
#undef FN2
#undef FN3
};

Dag *dag_new(const Model *m)
{
  Dag *d = NEW(Dag);
  d->model = m;
  d->table_size = 1024;
  d->table = NEW_ARRAY(int, d->table_size);
  memset(d->table, -1, sizeof(int) * (size_t)d->table_size);
  return d;
}

/* ---- hash consing ---------------------------------------------------------------------------------------------------------------- */

static uint64_t hash_node(XOp op, int aux, int aux2, double number, int n, const Node *args)
{
  uint64_t h = 1469598103934665603u, bits;
  memcpy(&bits, &number, sizeof bits);
#define MIX(v) (h = (h ^ (uint64_t)(v)) * 1099511628211u, h ^= h >> 29)
  MIX(op), MIX(aux + 1), MIX(aux2 + 1), MIX(bits), MIX(n);
  for (int i = 0; i < n; i++) MIX(args[i] + 7);
#undef MIX
  return h;
}

static bool same_node(const XNode *x, XOp op, int aux, int aux2, double number, int n, const Node *args)
{
  return x->op == op && x->aux == aux && x->aux2 == aux2 && !memcmp(&x->number, &number, sizeof number) && x->n_args == n &&
         (!n || !memcmp(x->args, args, sizeof(Node) * (size_t)n));
}

static void grow_table(Dag *d)
{
  d->table_size *= 2;
  d->table = NEW_ARRAY(int, d->table_size);
  memset(d->table, -1, sizeof(int) * (size_t)d->table_size);
  for (Node n = 0; n < d->nodes.n; n++) {
    const XNode *x = dag_node(d, n);
    uint64_t h = hash_node(x->op, x->aux, x->aux2, x->number, x->n_args, x->args);
    while (d->table[h & (uint64_t)(d->table_size - 1)] >= 0) h++;
    d->table[h & (uint64_t)(d->table_size - 1)] = n;
  }
}

/* The node with these parts; `axes` and the flags are derived. */
static Node make(Dag *d, XOp op, int aux, int aux2, double number, int n, const Node *args, bool integer)
{
  uint64_t h = hash_node(op, aux, aux2, number, n, args);
  for (;; h++) {
    int at = d->table[h & (uint64_t)(d->table_size - 1)];
    if (at < 0) break;
    if (same_node(dag_node(d, at), op, aux, aux2, number, n, args)) return at;
  }
  XNode x = {.op = op, .aux = aux, .aux2 = aux2, .number = number, .n_args = n, .integer = integer};
  if (n > MAX_ARGS) BUG("a node with %d arguments", n);
  x.args = n ? NEW_ARRAY(Node, n) : NULL;
  for (int i = 0; i < n; i++) {
    const XNode *a = dag_node(d, args[i]);
    x.args[i] = args[i];
    x.axes |= a->axes;
    x.random |= a->random;
    x.latent |= a->latent;
    x.point |= a->point;
    x.lookup |= a->lookup;
    x.mixes |= a->mixes;
    x.quadrature |= a->quadrature;
    x.arrays |= a->arrays;
    x.carried |= a->carried;
  }
  switch (op) {
  case X_AXIS:                                                              /* the range of an inner plate may vary over the outer one */
    x.axes |= AXIS_BIT(aux);
    if (d->axes.at[aux].lo >= 0) x.axes |= dag_axes(d, d->axes.at[aux].lo);
    if (d->axes.at[aux].hi >= 0) x.axes |= dag_axes(d, d->axes.at[aux].hi);
    break;
  case X_QUAD_X: case X_QUAD_W:
    x.axes |= AXIS_BIT(aux);
    x.quadrature = true;
    break;
  case X_U: x.random = x.latent = true; break;
  case X_VALUE: x.latent = x.point = true; break;
  case X_MEAN: case X_SD: x.latent = true; break;
  case X_INPUT: case X_PRESENT: x.lookup = true; break;
  case X_SUM: case X_PROD: case X_MAX: case X_MIN: x.axes &= ~AXIS_BIT(aux); break;
  case X_AT: x.axes = (dag_axes(d, args[0]) & ~AXIS_BIT(aux)) | dag_axes(d, args[1]); break;
  case X_TRISOLVE: case X_TRISOLVE_T:
    x.axes = (x.axes & ~AXIS_BIT(aux2)) | AXIS_BIT(aux);
    x.mixes |= x.random;
    break;
  case X_PREV:
    x.axes |= AXIS_BIT(aux);
    x.carried = true;
    break;
  case X_SCAN:
    x.axes |= AXIS_BIT(aux) | (n > 1 ? AXIS_BIT((int)number) : 0);
    x.mixes |= x.random;
    x.carried = false;
    break;
  case X_SPREAD: x.axes = (x.axes & ~AXIS_BIT(aux)) | AXIS_BIT(aux2); break;
  case X_CHOLESKY: case X_CHOLESKY_ADJOINT: case X_INVERSE: case X_INVERSE_T:
    x.axes |= AXIS_BIT(aux) | AXIS_BIT(aux2);
    x.mixes |= x.random;
    break;
  case X_LOG_DET:
    x.axes &= ~(AXIS_BIT(aux) | AXIS_BIT(aux2));
    x.mixes |= x.random;
    break;
  default: break;
  }
  /* a reduction varies over what its range varies over */
  if (x_is_reduction(op)) {
    const Axis *a = &d->axes.at[aux];
    if (a->lo >= 0) x.axes |= dag_axes(d, a->lo);
    if (a->hi >= 0) x.axes |= dag_axes(d, a->hi);
  }
  if (x_is_reduction(op) || op == X_AT || x_is_whole(op) || op == X_SCAN || op == X_SPREAD) x.arrays |= x.axes;
  x.arrays &= x.axes;
  if (d->nodes.n * 2 >= d->table_size) {
    grow_table(d);
    h = hash_node(op, aux, aux2, number, n, args);
  }
  while (d->table[h & (uint64_t)(d->table_size - 1)] >= 0) h++;
  VEC_PUSH(d->nodes, x);
  return d->table[h & (uint64_t)(d->table_size - 1)] = d->nodes.n - 1;
}

bool dag_is_const(const Dag *d, Node n, double *value)
{
  if (n < 0 || dag_node(d, n)->op != X_CONST) return false;
  if (value) *value = dag_node(d, n)->number;
  return true;
}

/* c ? a : 0 or c ? 0 : a. Products go into the branch (see x_mul), so that the branch not taken cannot make 0 * infinity in a gradient. */
static bool is_gate(const Dag *d, Node n)
{
  const XNode *x = dag_node(d, n);
  double v;
  return x->op == X_COND && ((dag_is_const(d, x->args[1], &v) && v == 0) || (dag_is_const(d, x->args[2], &v) && v == 0));
}

static bool is_number(const Dag *d, Node n, double v) { return dag_node(d, n)->op == X_CONST && dag_node(d, n)->number == v; }
static bool is_op(const Dag *d, Node n, XOp op) { return dag_node(d, n)->op == op; }
static bool is_fn(const Dag *d, Node n, Fn f) { return dag_node(d, n)->op == X_FN && dag_node(d, n)->aux == (int)f; }
static Node arg(const Dag *d, Node n, int i) { return dag_node(d, n)->args[i]; }

/* ---- axes ------------------------------------------------------------------------------------------------------------------------------ */

int dag_axis(Dag *d, AxisKind kind, const char *name, int var, Node lo, Node hi)
{
  if (d->axes.n == MAX_AXES) { d->full = true; return MAX_AXES - 1; }
  Axis a = {.kind = kind, .name = name, .var = var, .lo = lo, .hi = hi, .extent = NO_NODE};
  if (lo >= 0 && hi >= 0) a.extent = x_add(d, x_sub(d, hi, lo), x_int(d, 1));
  d->order[d->axes.n] = d->axes.n;
  VEC_PUSH(d->axes, a);
  return d->axes.n - 1;
}

int dag_range_axis(Dag *d, AxisKind kind, const char *name, int var, Node lo, Node hi, AxisSet busy)
{
  for (int a = 0; a < d->axes.n; a++) {
    const Axis *x = &d->axes.at[a];
    if (x->kind == kind && x->var == var && x->lo == lo && x->hi == hi && !(busy & AXIS_BIT(a))) return a;
  }
  return dag_axis(d, kind, name, var, lo, hi);
}

int axes_in_order(const Dag *d, AxisSet set, int *out)
{
  int n = 0;
  for (int pass = AX_UNIT; pass <= AX_QUADRATURE; pass++) {
    int from = n;
    for (int a = 0; a < d->axes.n; a++) {
      if ((int)d->axes.at[a].kind != pass || !(set & AXIS_BIT(a))) continue;
      int at = n++;
      for (; at > from && d->order[out[at - 1]] > d->order[a]; at--) out[at] = out[at - 1];
      out[at] = a;
    }
  }
  return n;
}

void dag_order_axes(Dag *d)
{
  static int before[MAX_AXES][MAX_AXES];                                    /* leaves in which a stands left of b */
  bool placed[MAX_AXES] = {false};
  memset(before, 0, sizeof before);
  for (Node n = 0; n < d->nodes.n; n++) {
    const XNode *x = dag_node(d, n);
    if (x->op != X_INPUT && x->op != X_VALUE && x->op != X_MEAN && x->op != X_SD) continue;
    for (int i = 0; i < x->n_args; i++)
      for (int j = i + 1; j < x->n_args; j++)
        if (dag_node(d, x->args[i])->op == X_AXIS && dag_node(d, x->args[j])->op == X_AXIS)
          before[dag_node(d, x->args[i])->aux][dag_node(d, x->args[j])->aux]++;
  }
  for (int at = 0; at < d->axes.n; at++) {
    int pick = -1, fewest = 0;
    for (int a = 0; a < d->axes.n; a++) {
      if (placed[a]) continue;
      int against = 0;
      for (int b = 0; b < d->axes.n; b++)
        if (!placed[b] && before[b][a] > before[a][b]) against += before[b][a] - before[a][b];
      if (pick < 0 || against < fewest) pick = a, fewest = against;
    }
    placed[pick] = true;
    d->order[pick] = at;
  }
}

int dag_dim_axis(Dag *d, Node extent, int k)
{
  int seen = 0;
  for (int a = 0; a < d->axes.n; a++)
    if (d->axes.at[a].kind == AX_DIM && d->axes.at[a].extent == extent && seen++ == k) return a;
  static const char letters[] = "ijklmpqrst";
  int n = 0;
  for (int a = 0; a < d->axes.n; a++) n += d->axes.at[a].kind == AX_DIM;
  const char *name = n < 10 ? arena_printf("%c_", letters[n]) : arena_printf("d%d_", n);
  return dag_axis(d, AX_DIM, name, -1, x_int(d, 0), x_sub(d, extent, x_int(d, 1)));
}

Node dag_room(Dag *d, int axis)
{
  Node extent = d->axes.at[axis].extent;
  if (extent < 0 || !dag_axes(d, extent)) return extent;
  d->rooms |= AXIS_BIT(axis);
  return make(d, X_ROOM, axis, 0, 0, 0, NULL, true);
}

bool dag_varies_with(const Dag *d, Node n, int axis)
{
  const XNode *x = dag_node(d, n);
  if (x->op == X_AXIS) return x->aux == axis;
  if ((x->op == X_ADD || x->op == X_SUB) && !(dag_axes(d, x->args[1]) & AXIS_BIT(axis))) return dag_varies_with(d, x->args[0], axis);
  return false;
}

/* ---- leaves ------------------------------------------------------------------------------------------------------------------------------ */

static Node number(Dag *d, double v, bool integer) { return make(d, X_CONST, 0, 0, v == 0 ? 0.0 : v, 0, NULL, integer); }
Node x_const(Dag *d, double v) { return number(d, v, false); }
Node x_int(Dag *d, long v) { return make(d, X_CONST, 1, 0, (double)v, 0, NULL, true); }
Node x_axis(Dag *d, int axis) { return make(d, X_AXIS, axis, 0, 0, 0, NULL, true); }
Node x_weight(Dag *d) { return make(d, X_WEIGHT, 0, 0, 0, 0, NULL, false); }
Node x_count(Dag *d) { return make(d, X_COUNT, 0, 0, 0, 0, NULL, true); }
Node x_quad(Dag *d, XOp op, int axis) { return make(d, op, axis, 0, 0, 0, NULL, false); }
Node x_table(Dag *d, int table, Node group) { return make(d, X_TABLE, table, 0, 0, group >= 0, &group, false); }
Node x_box(Dag *d, XOp op, int family, int position) { return make(d, op, family, position, 0, 0, NULL, true); }
Node x_leaf(Dag *d, XOp op, int family, int n_args, const Node *args, bool integer)
{
  return make(d, op, family, 0, 0, n_args, args, integer);
}

/* ---- arithmetic -------------------------------------------------------------------------------------------------------------------------- */

/* Both integers: the result is one (division excepted). */
static bool both_int(const Dag *d, Node a, Node b) { return dag_node(d, a)->integer && dag_node(d, b)->integer; }
static Node folded(Dag *d, Node a, Node b, double v) { return both_int(d, a, b) ? x_int(d, (long)v) : x_const(d, v); }

Node x_add(Dag *d, Node a, Node b)
{
  double u = 0, v = 0;
  bool ca = dag_is_const(d, a, &u), cb = dag_is_const(d, b, &v);
  if (ca && cb) return folded(d, a, b, u + v);
  if (ca) { Node t = a; a = b; b = t; double w = u; u = v; v = w; cb = true; }
  if (cb && v == 0 && (dag_node(d, b)->integer || !dag_node(d, a)->integer)) return a;
  if (cb && (is_op(d, a, X_ADD) || is_op(d, a, X_SUB)) && dag_is_const(d, arg(d, a, 1), &u) && both_int(d, a, b)) {
    long c = is_op(d, a, X_ADD) ? (long)(u + v) : (long)(v - u);
    return c < 0 ? x_sub(d, arg(d, a, 0), x_int(d, -c)) : x_add(d, arg(d, a, 0), x_int(d, c));
  }
  if (cb && v < 0) return x_sub(d, a, folded(d, b, b, -v));
  if (is_op(d, b, X_NEG)) return x_sub(d, a, arg(d, b, 0));
  if (is_op(d, a, X_NEG)) return x_sub(d, b, arg(d, a, 0));
  if (a == b) return x_mul(d, folded(d, a, b, 2), a);
  if (is_op(d, a, X_SUB) && arg(d, a, 1) == b) return arg(d, a, 0);         /* (p - b) + b */
  if (is_op(d, b, X_SUB) && arg(d, b, 1) == a) return arg(d, b, 0);
  Node args[2] = {a, b};
  return make(d, X_ADD, 0, 0, 0, 2, args, both_int(d, a, b));
}

/* An integer as offset + sum of coef * atom. False: too many atoms. */
typedef struct { int n; Node atom[8]; long coef[8], offset; } Linear;

static bool add_linear(const Dag *d, Node n, long factor, Linear *l)
{
  const XNode *x = dag_node(d, n);
  double c;
  if (dag_is_const(d, n, &c)) { l->offset += factor * (long)c; return true; }
  if (x->op == X_NEG) return add_linear(d, x->args[0], -factor, l);
  if (x->op == X_ADD || x->op == X_SUB)
    return add_linear(d, x->args[0], factor, l) && add_linear(d, x->args[1], x->op == X_ADD ? factor : -factor, l);
  int i = 0;
  while (i < l->n && l->atom[i] != n) i++;
  if (i == 8) return false;
  if (i == l->n) l->atom[l->n++] = n, l->coef[i] = 0;
  l->coef[i] += factor;
  return true;
}

/* a - b for integers of which some atoms cancel, as t - 1 - (t - K) = K - 1: extents of slices are then seen to be equal. NO_NODE: none do. */
static Node cancelled(Dag *d, Node a, Node b)
{
  Linear l = {0};
  if (!both_int(d, a, b) || (!is_op(d, a, X_ADD) && !is_op(d, a, X_SUB) && !is_op(d, b, X_ADD) && !is_op(d, b, X_SUB))) return NO_NODE;
  if (!add_linear(d, a, 1, &l)) return NO_NODE;
  int before = l.n, gone = 0;
  if (!add_linear(d, b, -1, &l)) return NO_NODE;
  for (int i = 0; i < l.n; i++) gone += !l.coef[i];
  if (!gone || !before) return NO_NODE;
  Node r = NO_NODE;
  for (int pass = 0; pass < 2; pass++)                                      /* what is added, then what is taken away */
    for (int i = 0; i < l.n; i++) {
      if (!l.coef[i] || (l.coef[i] < 0) != (pass == 1)) continue;
      Node t = labs(l.coef[i]) == 1 ? l.atom[i] : x_mul(d, x_int(d, labs(l.coef[i])), l.atom[i]);
      r = pass ? x_sub(d, r < 0 ? x_int(d, 0) : r, t) : r < 0 ? t : x_add(d, r, t);
    }
  return r < 0 ? x_int(d, l.offset) : x_add(d, r, x_int(d, l.offset));
}

Node x_sub(Dag *d, Node a, Node b)
{
  double u = 0, v = 0;
  Node shorter = cancelled(d, a, b);
  if (shorter >= 0) return shorter;
  bool ca = dag_is_const(d, a, &u), cb = dag_is_const(d, b, &v);
  if (ca && cb) return folded(d, a, b, u - v);
  if (cb && v == 0 && (dag_node(d, b)->integer || !dag_node(d, a)->integer)) return a;
  if (a == b) return folded(d, a, b, 0);
  if (ca && u == 0) return x_neg(d, b);
  if (cb && (v < 0 || ((is_op(d, a, X_ADD) || is_op(d, a, X_SUB)) && both_int(d, a, b) && dag_is_const(d, arg(d, a, 1), NULL))))
    return x_add(d, a, folded(d, b, b, -v));
  if (is_op(d, b, X_NEG)) return x_add(d, a, arg(d, b, 0));
  if (is_op(d, a, X_ADD) && arg(d, a, 1) == b) return arg(d, a, 0);         /* (p + b) - b */
  if (is_op(d, a, X_ADD) && arg(d, a, 0) == b) return arg(d, a, 1);
  Node args[2] = {a, b};
  return make(d, X_SUB, 0, 0, 0, 2, args, both_int(d, a, b));
}

Node x_neg(Dag *d, Node a)
{
  double u;
  if (dag_is_const(d, a, &u)) return folded(d, a, a, -u);
  if (is_op(d, a, X_NEG)) return arg(d, a, 0);
  if (is_op(d, a, X_SUB)) return x_sub(d, arg(d, a, 1), arg(d, a, 0));
  if (is_gate(d, a)) return x_cond(d, arg(d, a, 0), x_neg(d, arg(d, a, 1)), x_neg(d, arg(d, a, 2)));
  if (is_op(d, a, X_MUL) && dag_is_const(d, arg(d, a, 0), &u)) return x_mul(d, folded(d, arg(d, a, 0), a, -u), arg(d, a, 1));
  return make(d, X_NEG, 0, 0, 0, 1, &a, dag_node(d, a)->integer);
}

Node x_mul(Dag *d, Node a, Node b)
{
  double u = 0, v = 0;
  bool ca = dag_is_const(d, a, &u), cb = dag_is_const(d, b, &v);
  if (ca && cb) return folded(d, a, b, u * v);
  if (cb) { Node t = a; a = b; b = t; u = v; ca = true; }                   /* constants first */
  if (ca && u == 0) return folded(d, a, b, 0);
  if (ca && u == 1 && (dag_node(d, a)->integer || !dag_node(d, b)->integer)) return b;
  if (ca && u == -1) return x_neg(d, b);
  if (ca && is_op(d, b, X_MUL) && dag_is_const(d, arg(d, b, 0), &v)) return x_mul(d, folded(d, a, arg(d, b, 0), u * v), arg(d, b, 1));
  if (ca && is_op(d, b, X_DIV) && dag_is_const(d, arg(d, b, 0), &v)) return x_div(d, x_const(d, u * v), arg(d, b, 1));
  if (is_op(d, a, X_NEG)) return x_neg(d, x_mul(d, arg(d, a, 0), b));
  if (is_op(d, b, X_NEG)) return x_neg(d, x_mul(d, a, arg(d, b, 0)));
  if (!ca && is_op(d, b, X_MUL) && dag_is_const(d, arg(d, b, 0), NULL)) return x_mul(d, arg(d, b, 0), x_mul(d, a, arg(d, b, 1)));
  if (!ca && is_op(d, a, X_MUL) && dag_is_const(d, arg(d, a, 0), NULL)) return x_mul(d, arg(d, a, 0), x_mul(d, arg(d, a, 1), b));
  if (a == b && !both_int(d, a, b)) return x_square(d, a);
  if (is_gate(d, b) && !is_gate(d, a)) { Node t = a; a = b; b = t; }
  if (is_gate(d, a)) return x_cond(d, arg(d, a, 0), x_mul(d, arg(d, a, 1), b), x_mul(d, arg(d, a, 2), b));
  if (is_fn(d, a, F_exp) && is_fn(d, b, F_exp)) return x_exp(d, x_add(d, arg(d, a, 0), arg(d, b, 0)));
  Node args[2] = {a, b};
  return make(d, X_MUL, 0, 0, 0, 2, args, both_int(d, a, b));
}

Node x_div(Dag *d, Node a, Node b)
{
  double u, v;
  bool ca = dag_is_const(d, a, &u), cb = dag_is_const(d, b, &v);
  if (ca && cb && v != 0) return x_const(d, u / v);
  if (ca && u == 0) return x_const(d, 0);
  if (cb && v == 1 && !dag_node(d, a)->integer) return a;
  if (cb && v != 0 && 1 / v * v == 1 && frexp(v, &(int){0}) == 0.5) return x_mul(d, x_const(d, 1 / v), a);     /* powers of two are exact */
  if (is_fn(d, b, F_exp)) return x_mul(d, a, x_exp(d, x_neg(d, arg(d, b, 0))));
  if (is_op(d, a, X_NEG)) return x_neg(d, x_div(d, arg(d, a, 0), b));
  if (is_gate(d, a)) return x_cond(d, arg(d, a, 0), x_div(d, arg(d, a, 1), b), x_div(d, arg(d, a, 2), b));
  Node args[2] = {a, b};
  return make(d, X_DIV, 0, 0, 0, 2, args, false);
}

Node x_square(Dag *d, Node a)
{
  if (is_op(d, a, X_NEG)) return x_square(d, arg(d, a, 0));
  if (is_fn(d, a, F_exp)) return x_exp(d, x_mul(d, x_const(d, 2), arg(d, a, 0)));
  if (is_fn(d, a, F_fabs)) return x_square(d, arg(d, a, 0));
  return x_fn1(d, F_square, a);
}

Node x_pow(Dag *d, Node a, Node b)
{
  double u, v;
  if (dag_is_const(d, b, &v)) {
    if (dag_is_const(d, a, &u)) return x_const(d, pow(u, v));
    if (v == 0) return x_const(d, 1);
    if (v == 1) return a;
    if (v == 2) return x_square(d, a);
    if (v == 0.5) return x_sqrt(d, a);
    if (v == -1) return x_div(d, x_const(d, 1), a);
    if (v == -2) return x_div(d, x_const(d, 1), x_square(d, a));
    if (v == 3) return x_mul(d, x_square(d, a), a);
    if (v == 4) return x_square(d, x_square(d, a));
  }
  if (is_fn(d, a, F_exp)) return x_exp(d, x_mul(d, arg(d, a, 0), b));
  Node args[2] = {a, b};
  return make(d, X_POW, 0, 0, 0, 2, args, false);
}

Node x_exp(Dag *d, Node a)
{
  if (is_fn(d, a, F_log)) return arg(d, a, 0);
  return x_fn1(d, F_exp, a);
}

Node x_log(Dag *d, Node a)
{
  if (is_fn(d, a, F_exp)) return arg(d, a, 0);
  for (int i = 0; i < 2 && is_op(d, a, X_MUL); i++)
    if (is_fn(d, arg(d, a, i), F_exp)) return x_add(d, arg(d, arg(d, a, i), 0), x_log(d, arg(d, a, 1 - i)));
  if (is_fn(d, a, F_inv_logit)) return x_fn1(d, F_log_inv_logit, arg(d, a, 0));
  return x_fn1(d, F_log, a);
}

Node x_sqrt(Dag *d, Node a)
{
  if (is_fn(d, a, F_exp)) return x_exp(d, x_mul(d, x_const(d, 0.5), arg(d, a, 0)));
  return x_fn1(d, F_sqrt, a);
}

/* Compile-time value of the libm functions; false for those that only the runtime has. */
static bool fold_fn1(Fn f, double a, double *out)
{
  double v;
  switch (f) {
  case F_exp: v = exp(a); break;
  case F_log: v = log(a); break;
  case F_log1p: v = log1p(a); break;
  case F_expm1: v = expm1(a); break;
  case F_sqrt: v = sqrt(a); break;
  case F_square: v = a * a; break;
  case F_fabs: v = fabs(a); break;
  case F_floor: v = floor(a); break;
  case F_ceil: v = ceil(a); break;
  case F_round: v = round(a); break;
  case F_sin: v = sin(a); break;
  case F_cos: v = cos(a); break;
  case F_tan: v = tan(a); break;
  case F_tanh: v = tanh(a); break;
  case F_lgamma: v = lgamma(a); break;
  default: return false;
  }
  *out = v;
  return isfinite(v);
}

Node x_fn1(Dag *d, Fn f, Node a)
{
  double u, v;
  if (dag_is_const(d, a, &u) && fold_fn1(f, u, &v)) return x_const(d, v);
  if (f == F_log1m_inv_logit) return x_fn1(d, F_log_inv_logit, x_neg(d, a));
  if (f == F_softplus && is_op(d, a, X_NEG)) return x_neg(d, x_fn1(d, F_log_inv_logit, arg(d, a, 0)));
  if (f == F_logit && is_fn(d, a, F_inv_logit)) return arg(d, a, 0);
  if (f == F_inv_logit && is_fn(d, a, F_logit)) return arg(d, a, 0);
  return make(d, X_FN, (int)f, 0, 0, 1, &a, false);
}

Node x_fn2(Dag *d, Fn f, Node a, Node b)
{
  Node args[2] = {a, b};
  double v;
  for (int i = 0; i < 2 && (f == F_fmax || f == F_fmin); i++)               /* bounds that are none */
    if (dag_is_const(d, args[i], &v) && isinf(v) && (v < 0) == (f == F_fmax)) return args[1 - i];
  return make(d, X_FN, (int)f, 0, 0, 2, args, false);
}

Node x_fn3(Dag *d, Fn f, Node a, Node b, Node c)
{
  Node args[3] = {a, b, c};
  return make(d, X_FN, (int)f, 0, 0, 3, args, false);
}

static bool is_logical(const Dag *d, Node n) { return dag_node(d, n)->op >= X_LT && dag_node(d, n)->op <= X_NOT; }

Node x_compare(Dag *d, XOp op, Node a, Node b)
{
  double u, v;
  if (dag_is_const(d, a, &u) && dag_is_const(d, b, &v)) {
    bool r = op == X_LT ? u < v : op == X_LE ? u <= v : op == X_EQ ? u == v : op == X_NE ? u != v : op == X_AND ? u && v : u || v;
    return x_int(d, r);
  }
  if (op == X_AND || op == X_OR) {                                          /* 1 && c, c && 0, ... */
    for (int i = 0; i < 2; i++) {
      if (!dag_is_const(d, i ? b : a, &u)) continue;
      if ((op == X_AND) == (u == 0)) return x_int(d, op == X_OR);
      if (is_logical(d, i ? a : b)) return i ? a : b;
    }
  }
  Node args[2] = {a, b};
  return make(d, op, 0, 0, 0, 2, args, true);
}

Node x_not(Dag *d, Node a)
{
  double u;
  if (dag_is_const(d, a, &u)) return x_int(d, u == 0);
  return make(d, X_NOT, 0, 0, 0, 1, &a, true);
}

Node x_cond(Dag *d, Node c, Node a, Node b)
{
  double u;
  if (dag_is_const(d, c, &u)) return u != 0 ? a : b;
  if (a == b) return a;
  Node args[3] = {c, a, b};
  return make(d, X_COND, 0, 0, 0, 3, args, both_int(d, a, b));
}

static bool known_nonnegative(const Dag *d, Node n)
{
  double v;
  return dag_is_const(d, n, &v) && v >= 0;
}

Node x_clamp(Dag *d, Node index, Node lo, Node hi)
{
  Node from = index, to = index;
  double u, v, w;
  if (index == lo || index == hi) return index;
  if (dag_is_const(d, index, &u) && dag_is_const(d, lo, &v) && dag_is_const(d, hi, &w)) return u > w && w >= v ? hi : u < v ? lo : index;
  for (int a = 0; a < d->axes.n; a++) {                                     /* axis + c runs over the axis' range + c */
    if (!(dag_axes(d, index) & AXIS_BIT(a)) || d->axes.at[a].lo < 0) continue;
    const XNode *x = dag_node(d, index);
    Node base = (x->op == X_ADD || x->op == X_SUB) && dag_is_const(d, x->args[1], NULL) ? x->args[0] : index;
    if (dag_node(d, base)->op != X_AXIS || dag_node(d, base)->aux != a) continue;
    from = dag_substitute_axis(d, index, a, d->axes.at[a].lo), to = dag_substitute_axis(d, index, a, d->axes.at[a].hi);
  }
  if (known_nonnegative(d, x_sub(d, from, lo)) && known_nonnegative(d, x_sub(d, hi, to))) return index;
  Node args[3] = {index, lo, hi};
  return make(d, X_CLAMP, 0, 0, 0, 3, args, true);
}

/* ---- reductions ---------------------------------------------------------------------------------------------------------------------------- */

Node x_reduce(Dag *d, XOp op, int axis, Node body)
{
  if (op == X_SUM) return x_sum(d, axis, body);
  if (!(dag_axes(d, body) & AXIS_BIT(axis))) return op == X_PROD ? x_pow(d, body, d->axes.at[axis].extent) : body;
  return make(d, op, axis, 0, 0, 1, &body, dag_node(d, body)->integer);
}

Node x_sum(Dag *d, int axis, Node body)
{
  AxisSet bit = AXIS_BIT(axis);
  if (!(dag_axes(d, body) & bit)) return is_number(d, body, 0) ? body : x_mul(d, d->axes.at[axis].extent, body);
  if (is_op(d, body, X_NEG)) return x_neg(d, x_sum(d, axis, arg(d, body, 0)));
  if (is_op(d, body, X_MUL)) {                                             /* factors that do not vary leave the sum */
    Node a = arg(d, body, 0), b = arg(d, body, 1);
    if (!(dag_axes(d, a) & bit)) return x_mul(d, a, x_sum(d, axis, b));
    if (!(dag_axes(d, b) & bit)) return x_mul(d, b, x_sum(d, axis, a));
  }
  return make(d, X_SUM, axis, 0, 0, 1, &body, dag_node(d, body)->integer);
}

Node x_log_sum_exp(Dag *d, int axis, Node body)
{
  if (!(dag_axes(d, body) & AXIS_BIT(axis))) return x_add(d, body, x_log(d, d->axes.at[axis].extent));
  Node top = make(d, X_MAX, axis, 1, 0, 1, &body, false);                  /* the shift cancels: aux2 keeps gradients out of it */
  return x_add(d, top, x_log(d, x_sum(d, axis, x_exp(d, x_sub(d, body, top)))));
}

Node x_at(Dag *d, Node body, int axis, Node index)
{
  if (!(dag_axes(d, body) & AXIS_BIT(axis))) return body;
  if (dag_node(d, index)->op == X_AXIS && dag_node(d, index)->aux == axis) return body;
  if (!(dag_node(d, body)->arrays & AXIS_BIT(axis))) return dag_substitute_axis(d, body, axis, index);
  Node args[2] = {body, index};
  return make(d, X_AT, axis, 0, 0, 2, args, dag_node(d, body)->integer);
}

Node x_trisolve(Dag *d, bool transposed, int row, int column, Node L, Node b)
{
  Node args[2] = {L, b};
  return make(d, transposed ? X_TRISOLVE_T : X_TRISOLVE, row, column, 0, 2, args, false);
}

Node x_prev(Dag *d, int axis, int lag, int component, AxisSet others)
{
  Node args[MAX_ARGS];
  int list[MAX_AXES], n = axes_in_order(d, others & ~AXIS_BIT(axis), list);
  if (n > MAX_ARGS) BUG("a scan over %d axes", n);
  for (int i = 0; i < n; i++) args[i] = x_axis(d, list[i]);
  return make(d, X_PREV, axis, lag, component, n, args, false);
}

Node x_scan(Dag *d, int axis, bool down, int parts, int n, const Node *body)
{
  return make(d, X_SCAN, axis, down ? -1 : 1, parts, n, body, false);
}

int scan_parts(const Dag *d, Node scan)
{
  const XNode *x = dag_node(d, scan);
  return x->n_args > 1 ? (int)x->number : -1;
}

Node x_scan_part(Dag *d, Node scan, int c)
{
  const int parts = scan_parts(d, scan);
  return parts < 0 ? scan : x_at(d, scan, parts, x_int(d, c));
}

Node x_spread(Dag *d, Node value, int from, int to, Node place)
{
  double v;
  if (dag_is_const(d, value, &v) && v == 0) return value;
  Node args[2] = {value, place};
  return make(d, X_SPREAD, from, to, 0, 2, args, false);
}

Node x_matrix(Dag *d, XOp op, int row, int column, Node a, Node b)
{
  Node args[2] = {a, b};
  return make(d, op, row, column, 0, b < 0 ? 1 : 2, args, false);
}

/* ---- rewriting ------------------------------------------------------------------------------------------------------------------------------- */

Node dag_rebuild(Dag *d, Node n, const Node *args)
{
  XNode x = *dag_node(d, n);
  bool same = true;
  for (int i = 0; i < x.n_args; i++) same &= x.args[i] == args[i];
  if (same) return n;
  switch (x.op) {
  case X_ADD: return x_add(d, args[0], args[1]);
  case X_SUB: return x_sub(d, args[0], args[1]);
  case X_MUL: return x_mul(d, args[0], args[1]);
  case X_DIV: return x_div(d, args[0], args[1]);
  case X_NEG: return x_neg(d, args[0]);
  case X_POW: return x_pow(d, args[0], args[1]);
  case X_FN:
    if (x.aux == F_exp) return x_exp(d, args[0]);
    if (x.aux == F_log) return x_log(d, args[0]);
    if (x.aux == F_sqrt) return x_sqrt(d, args[0]);
    if (x.aux == F_square) return x_square(d, args[0]);
    if (x.n_args == 3) return x_fn3(d, (Fn)x.aux, args[0], args[1], args[2]);
    return x.n_args == 1 ? x_fn1(d, (Fn)x.aux, args[0]) : x_fn2(d, (Fn)x.aux, args[0], args[1]);
  case X_LT: case X_LE: case X_EQ: case X_NE: case X_AND: case X_OR: return x_compare(d, x.op, args[0], args[1]);
  case X_NOT: return x_not(d, args[0]);
  case X_COND: return x_cond(d, args[0], args[1], args[2]);
  case X_CLAMP: return x_clamp(d, args[0], args[1], args[2]);
  case X_SUM: return x_sum(d, x.aux, args[0]);
  case X_PROD: return x_reduce(d, X_PROD, x.aux, args[0]);
  case X_MAX: case X_MIN:
    if (!(dag_axes(d, args[0]) & AXIS_BIT(x.aux))) return args[0];
    return make(d, x.op, x.aux, x.aux2, 0, 1, args, dag_node(d, args[0])->integer);
  case X_AT: return x_at(d, args[0], x.aux, args[1]);
  default: return make(d, x.op, x.aux, x.aux2, x.number, x.n_args, args, x.integer);
  }
}

int *node_map(NodeMap *m, Node n)
{
  if (m->n * 2 >= m->size) {
    NodeMap old = *m;
    m->size = old.size ? old.size * 2 : 32;
    m->key = NEW_ARRAY(int, m->size), m->value = NEW_ARRAY(int, m->size);
    m->n = 0;
    for (int i = 0; i < old.size; i++)
      if (old.key[i]) *node_map(m, old.key[i] - 1) = old.value[i];
  }
  unsigned at = (unsigned)n * 2654435769u;
  for (at ^= at >> 15;; at++) {
    int i = (int)(at & (unsigned)(m->size - 1));
    if (m->key[i] == n + 1) return &m->value[i];
    if (m->key[i]) continue;
    m->key[i] = n + 1, m->n++;
    m->value[i] = NODE_NEW;
    return &m->value[i];
  }
}

/* `lowest`: of the nodes to be replaced. Arguments have smaller numbers than the node: below it nothing changes. */
static Node replace_in(Dag *d, Node n, Node lowest, NodeMap *done)
{
  if (n < lowest) return n;
  int known = *node_map(done, n);
  if (known != NODE_NEW) return known;
  XNode x = *dag_node(d, n);
  Node args[MAX_ARGS];
  for (int i = 0; i < x.n_args; i++) args[i] = replace_in(d, x.args[i], lowest, done);
  return *node_map(done, n) = x.n_args ? dag_rebuild(d, n, args) : n;
}

Node dag_replace_all(Dag *d, Node n, int count, const Node *from, const Node *to)
{
  NodeMap done = {0};
  Node lowest = n;
  for (int i = 0; i < count; i++) {
    *node_map(&done, from[i]) = to[i];
    if (from[i] < lowest) lowest = from[i];
  }
  return replace_in(d, n, lowest, &done);
}

Node dag_replace(Dag *d, Node n, Node from, Node to) { return dag_replace_all(d, n, 1, &from, &to); }

Node dag_divide_outside(Dag *d, Node n, NodeMap *done)
{
  const XNode x = *dag_node(d, n);
  if (!x.latent || !x.n_args) return n;
  const int known = *node_map(done, n);
  if (known != NODE_NEW) return known;
  Node args[MAX_ARGS];
  for (int i = 0; i < x.n_args; i++) args[i] = dag_divide_outside(d, x.args[i], done);
  const AxisSet below = x.op == X_DIV ? dag_axes(d, args[1]) : 0;
  const bool outside = x.op == X_DIV && !dag_is_const(d, args[1], NULL) && (below & ~x.axes) == 0 && below != x.axes;
  const Node r = outside ? x_mul(d, args[0], x_div(d, x_const(d, 1), args[1])) : dag_rebuild(d, n, args);
  return *node_map(done, n) = r;
}

AxisSet dag_range_axes(const Dag *d, int axis)
{
  const Axis *a = &d->axes.at[axis];
  return (a->lo >= 0 ? dag_axes(d, a->lo) : 0) | (a->hi >= 0 ? dag_axes(d, a->hi) : 0);
}

static Node substitute_in(Dag *d, Node n, int from, Node to, NodeMap *done)
{
  if (!(dag_axes(d, n) & AXIS_BIT(from))) return n;
  XNode x = *dag_node(d, n);
  if (x.op == X_AXIS) return x.aux == from ? to : n;
  int known = *node_map(done, n);
  if (known != NODE_NEW) return known;
  AxisSet inside = dag_axes(d, to);
  Node r;
  bool reduces = x_is_reduction(x.op);
  if (x_is_whole(x.op) || x.op == X_SCAN || x.op == X_SPREAD || (reduces && ((inside & AXIS_BIT(x.aux)) || (dag_range_axes(d, x.aux) & AXIS_BIT(from))))) {
    r = x_at(d, n, from, to);                                               /* would be captured, or its range changes: read the finished value instead */
  } else if (x.op == X_AT) {
    Node args[2] = {x.args[0], substitute_in(d, x.args[1], from, to, done)};
    r = x_at(d, args[0], x.aux, args[1]);
    if (from != x.aux && (dag_axes(d, x.args[0]) & AXIS_BIT(from))) r = x_at(d, n, from, to);
  } else {
    Node args[MAX_ARGS];
    for (int i = 0; i < x.n_args; i++) args[i] = substitute_in(d, x.args[i], from, to, done);
    r = dag_rebuild(d, n, args);
  }
  return *node_map(done, n) = r;
}

Node dag_substitute_axis(Dag *d, Node n, int from, Node to)
{
  NodeMap done = {0};
  return substitute_in(d, n, from, to, &done);
}

/* ---- evaluation -------------------------------------------------------------------------------------------------------------------------------- */

static double inv_logit(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

/* Reference values, independent of pgm_math.h; slow and plain. */
static double digamma_series(double x)
{
  double r = 0;
  if (x <= 0) return NAN;
  for (; x < 30; x++) r -= 1 / x;
  double i = 1 / (x * x);
  return r + log(x) - 0.5 / x - i * (1.0 / 12 - i * (1.0 / 120 - i * (1.0 / 252 - i * (1.0 / 240 - i / 132))));
}

static double trigamma_series(double x)
{
  double r = 0;
  if (x <= 0) return NAN;
  for (; x < 30; x++) r += 1 / (x * x);
  double i = 1 / (x * x);
  return r + 1 / x + i / 2 + i / x * (1.0 / 6 - i * (1.0 / 30 - i * (1.0 / 42 - i / 30)));
}

static double eval_fn(Fn f, double a, double b, double c)
{
  switch (f) {
  case F_exp: return exp(a);
  case F_log: return log(a);
  case F_log1p: return log1p(a);
  case F_expm1: return expm1(a);
  case F_sqrt: return sqrt(a);
  case F_square: return a * a;
  case F_fabs: return fabs(a);
  case F_floor: return floor(a);
  case F_ceil: return ceil(a);
  case F_round: return round(a);
  case F_sign: return (a > 0) - (a < 0);
  case F_step: return a >= 0;
  case F_sin: return sin(a);
  case F_cos: return cos(a);
  case F_tan: return tan(a);
  case F_asin: return asin(a);
  case F_acos: return acos(a);
  case F_atan: return atan(a);
  case F_sinh: return sinh(a);
  case F_cosh: return cosh(a);
  case F_tanh: return tanh(a);
  case F_cbrt: return cbrt(a);
  case F_erf: return erf(a);
  case F_erfc: return erfc(a);
  case F_inv_logit: return inv_logit(a);
  case F_log_inv_logit: return -softplus(-a);
  case F_log1m_inv_logit: return -softplus(a);
  case F_logit: return log(a / (1 - a));
  case F_softplus: return softplus(a);
  case F_log1m_exp: return a > -0.6931471805599453 ? log(-expm1(a)) : log1p(-exp(a));
  case F_relu: return a > 0 ? a : 0;
  case F_gelu: return a * 0.5 * erfc(-a * 0.7071067811865476);
  case F_lgamma: return lgamma(a);
  case F_digamma: return digamma_series(a);
  case F_trigamma: return trigamma_series(a);
  case F_Phi: return 0.5 * erfc(-a * 0.7071067811865476);
  case F_std_normal_lcdf: return log(0.5 * erfc(-a * 0.7071067811865476));
  case F_leaky_relu: return a > 0 ? a : b * a;
  case F_atan2: return atan2(a, b);
  case F_fmax: return fmax(a, b);
  case F_fmin: return fmin(a, b);
  case F_fmod: return fmod(a, b);
  case F_lbeta: return lgamma(a) + lgamma(b) - lgamma(a + b);
  case F_lchoose: return lgamma(a + 1) - lgamma(b + 1) - lgamma(a - b + 1);
  case F_xlogy: return a == 0 ? 0 : a * log(b);
  case F_xlog1my: return a == 0 ? 0 : a * log1p(-b);
  case F_log_bessel_i0: case F_bessel_ratio: {
    double t0 = 1, t1 = a / 2, s0 = 1, s1 = a / 2;                          /* power series; for tests at moderate arguments */
    for (int k = 1; k < 500; k++) {
      t0 *= a * a / 4 / k / k, s0 += t0;
      t1 *= a * a / 4 / k / (k + 1), s1 += t1;
    }
    return f == F_log_bessel_i0 ? log(s0) : s1 / s0;
  }
  case F_tgamma: return tgamma(a);
  case F_normal_hazard: return exp(-0.5 * a * a - 0.9189385332046727) / (0.5 * erfc(-a * 0.7071067811865476));
  case F_tetragamma: return pgm_tetragamma(a);                              /* these have their tests in the runtime's */
  case F_inv_Phi: return pgm_inv_Phi(a);
  case F_gamma_lcdf: return pgm_gamma_lcdf(a, b);
  case F_gamma_lccdf: return pgm_gamma_lccdf(a, b);
  case F_gamma_lcdf_d1: return pgm_gamma_lcdf_d1(a, b);
  case F_gamma_lccdf_d1: return pgm_gamma_lccdf_d1(a, b);
  case F_student_t_lcdf: return pgm_student_t_lcdf(a, b);
  case F_student_t_lcdf_d1: return pgm_student_t_lcdf_d1(a, b);
  case F_skew_normal_lcdf: return pgm_skew_normal_lcdf(a, b);
  case F_skew_normal_lcdf_d1: return pgm_skew_normal_lcdf_d1(a, b);
  case F_beta_lcdf: return pgm_beta_lcdf(a, b, c);
  case F_beta_lccdf: return pgm_beta_lccdf(a, b, c);
  case F_beta_lcdf_d1: return pgm_beta_lcdf_d1(a, b, c);
  case F_beta_lcdf_d2: return pgm_beta_lcdf_d2(a, b, c);
  case F_beta_lccdf_d1: return pgm_beta_lccdf_d1(a, b, c);
  case F_beta_lccdf_d2: return pgm_beta_lccdf_d2(a, b, c);
  default: BUG("no evaluation for function %d", (int)f);
  }
}

/* The whole recurrence for one of its values: for tests. */
typedef struct EvalScan { const struct EvalScan *outer; int axis, n; long lo, hi; double *value; } EvalScan;

static double eval_scan(const Dag *d, const XNode *x, Evaluation *e)
{
  const Axis *a = &d->axes.at[x->aux];
  const long at = e->axis[x->aux], part = x->n_args > 1 ? e->axis[(int)x->number] : 0;
  EvalScan s = {.outer = e->scan, .axis = x->aux, .n = x->n_args, .lo = (long)dag_eval(d, a->lo, e), .hi = (long)dag_eval(d, a->hi, e)};
  s.value = NEW_ARRAY(double, (s.hi - s.lo + 1) * s.n + 1);
  e->scan = &s;
  for (long i = 0; i <= s.hi - s.lo; i++) {
    const long r = e->axis[x->aux] = x->aux2 > 0 ? s.lo + i : s.hi - i;
    for (int c = 0; c < s.n; c++) s.value[(r - s.lo) * s.n + c] = dag_eval(d, x->args[c], e);
  }
  e->scan = s.outer;
  e->axis[x->aux] = at;
  return s.value[(at - s.lo) * s.n + part];
}

/* B = A^-1 by Gauss-Jordan elimination with partial pivoting; returns log |det A|. A is destroyed. */
static double invert(long K, double *A, double *B)
{
  double log_det = 0;
  for (long i = 0; i < K; i++)
    for (long j = 0; j < K; j++) B[i * K + j] = i == j;
  for (long c = 0; c < K; c++) {
    long best = c;
    for (long i = c + 1; i < K; i++)
      if (fabs(A[i * K + c]) > fabs(A[best * K + c])) best = i;
    double pivot = A[best * K + c];
    log_det += log(fabs(pivot));
    for (long j = 0; j < K; j++) {
      double a = A[best * K + j], b = B[best * K + j];
      A[best * K + j] = A[c * K + j], B[best * K + j] = B[c * K + j];
      A[c * K + j] = a / pivot, B[c * K + j] = b / pivot;
    }
    for (long i = 0; i < K; i++) {
      double factor = A[i * K + c];
      for (long j = 0; i != c && j < K; j++) A[i * K + j] -= factor * A[c * K + j], B[i * K + j] -= factor * B[c * K + j];
    }
  }
  return log_det;
}

/* One entry of a function of a matrix, which is computed whole each time: tests only. */
static double eval_matrix(const Dag *d, const XNode *x, Evaluation *e)
{
  const long K = (long)dag_eval(d, d->axes.at[x->aux].extent, e), row = e->axis[x->aux], column = e->axis[x->aux2];
  double *A = NEW_ARRAY(double, K * K), *B = NEW_ARRAY(double, K * K), *R = NEW_ARRAY(double, K * K), result;
  for (long i = 0; i < K; i++)
    for (long j = 0; j < K; j++) {
      e->axis[x->aux] = i, e->axis[x->aux2] = j;
      A[i * K + j] = dag_eval(d, x->args[0], e);
      if (x->n_args > 1) B[i * K + j] = dag_eval(d, x->args[1], e);
    }
  e->axis[x->aux] = row, e->axis[x->aux2] = column;
  switch (x->op) {
  case X_LOG_DET: return invert(K, A, R);
  case X_INVERSE: case X_INVERSE_T:
    invert(K, A, R);
    return x->op == X_INVERSE ? R[row * K + column] : R[column * K + row];
  case X_CHOLESKY:
    for (long i = 0; i < K; i++)
      for (long j = 0; j <= i; j++) {
        double v = A[i * K + j];
        for (long k = 0; k < j; k++) v -= R[i * K + k] * R[j * K + k];
        R[i * K + j] = i == j ? sqrt(v) : v / R[j * K + j];
      }
    return R[row * K + column];
  default: {                                                                /* (S + S') / 2, S = L^-T P L^-1, P the lower triangle of L' B with half its diagonal */
    double *P = NEW_ARRAY(double, K * K);
    for (long i = 0; i < K; i++)
      for (long j = 0; j <= i; j++)
        for (long k = 0; k < K; k++) P[i * K + j] += (i == j ? 0.5 : 1) * A[k * K + i] * (k >= j ? B[k * K + j] : 0);
    invert(K, A, R);
    result = 0;
    for (long i = 0; i < K; i++)
      for (long j = 0; j < K; j++)
        result += 0.5 * P[i * K + j] * (R[i * K + row] * R[j * K + column] + R[i * K + column] * R[j * K + row]);
    return result;
  }
  }
}

double dag_eval(const Dag *d, Node n, Evaluation *e)
{
  const XNode *x = dag_node(d, n);
#define A(i) dag_eval(d, x->args[i], e)
  switch (x->op) {
  case X_CONST: return x->number;
  case X_AXIS: return (double)e->axis[x->aux];
  case X_SIZE: case X_BOX_LO: case X_BOX_LEN: case X_ROOM: case X_INPUT: case X_PRESENT: case X_VALUE: case X_U: case X_MEAN: case X_SD: case X_WEIGHT: case X_COUNT: case X_TABLE: case X_QUAD_X: case X_QUAD_W:
    return e->leaf(e->data, d, n, e->axis);
  case X_ADD: return A(0) + A(1);
  case X_SUB: return A(0) - A(1);
  case X_MUL: return A(0) * A(1);
  case X_DIV: return A(0) / A(1);
  case X_NEG: return -A(0);
  case X_POW: return pow(A(0), A(1));
  case X_FN: { double a = A(0); return eval_fn((Fn)x->aux, a, x->n_args > 1 ? A(1) : 0, x->n_args > 2 ? A(2) : 0); }
  case X_LT: return A(0) < A(1);
  case X_LE: return A(0) <= A(1);
  case X_EQ: return A(0) == A(1);
  case X_NE: return A(0) != A(1);
  case X_AND: return A(0) != 0 && A(1) != 0;
  case X_OR: return A(0) != 0 || A(1) != 0;
  case X_NOT: return A(0) == 0;
  case X_COND: return A(0) != 0 ? A(1) : A(2);
  case X_CLAMP: { double i = A(0), hi = A(2); return fmax(i > hi ? hi : i, A(1)); }
  case X_SUM: case X_PROD: case X_MAX: case X_MIN: {
    const Axis *ax = &d->axes.at[x->aux];
    long lo = (long)dag_eval(d, ax->lo, e), hi = (long)dag_eval(d, ax->hi, e), keep = e->axis[x->aux];
    double r = x->op == X_SUM ? 0 : x->op == X_PROD ? 1 : x->op == X_MAX ? -INFINITY : INFINITY;
    for (long i = lo; i <= hi; i++) {
      e->axis[x->aux] = i;
      double v = A(0);
      r = x->op == X_SUM ? r + v : x->op == X_PROD ? r * v : x->op == X_MAX ? fmax(r, v) : fmin(r, v);
    }
    e->axis[x->aux] = keep;
    return r;
  }
  case X_AT: {
    long at = (long)A(1), keep = e->axis[x->aux];
    e->axis[x->aux] = at;
    double v = A(0);
    e->axis[x->aux] = keep;
    return v;
  }
  case X_TRISOLVE: case X_TRISOLVE_T: {                                      /* (re)solves for one entry: tests only */
    const Axis *ax = &d->axes.at[x->aux];
    long K = (long)dag_eval(d, ax->extent, e), i = e->axis[x->aux], j = e->axis[x->aux2];
    double *w = NEW_ARRAY(double, K);
    bool t = x->op == X_TRISOLVE_T;
    for (long s = 0; s < K; s++) {
      long r = t ? K - 1 - s : s;
      e->axis[x->aux] = r;
      double v = A(1);
      for (long p = t ? r + 1 : 0; t ? p < K : p < r; p++) {
        e->axis[x->aux] = t ? p : r, e->axis[x->aux2] = t ? r : p;
        v -= A(0) * w[p];
      }
      e->axis[x->aux] = e->axis[x->aux2] = r;
      w[r] = v / A(0);
    }
    e->axis[x->aux] = i, e->axis[x->aux2] = j;
    return w[i];
  }
  case X_SCAN: return eval_scan(d, x, e);
  case X_PREV: {
    const EvalScan *s = e->scan;
    long at = e->axis[x->aux] + x->aux2;
    while (s && s->axis != x->aux) s = s->outer;
    if (!s) BUG("a value of a recurrence outside it");
    return at < s->lo || at > s->hi ? NAN : s->value[(at - s->lo) * s->n + (long)x->number];
  }
  case X_SPREAD: {
    const Axis *from = &d->axes.at[x->aux];
    long lo = (long)dag_eval(d, from->lo, e), hi = (long)dag_eval(d, from->hi, e), keep = e->axis[x->aux], here = e->axis[x->aux2];
    double sum = 0;
    for (long i = lo; i <= hi; i++) {
      e->axis[x->aux] = i;
      if ((long)A(1) == here) sum += A(0);
    }
    e->axis[x->aux] = keep;
    return sum;
  }
  case X_CHOLESKY: case X_CHOLESKY_ADJOINT: case X_INVERSE: case X_INVERSE_T: case X_LOG_DET: return eval_matrix(d, x, e);
  }
#undef A
  BUG("no evaluation");
}

/* ---- printing (--dump expr) ------------------------------------------------------------------------------------------------------------------- */

void dag_print(const Dag *d, Node n, StrBuf *out)
{
  const XNode *x = dag_node(d, n);
  static const char *const matrix_names[] = {"cholesky", "cholesky_adjoint", "inverse", "inverse_transposed", "log_det"};
  static const char *const infix[] = {[X_ADD] = " + ", [X_SUB] = " - ", [X_MUL] = " * ", [X_DIV] = " / ", [X_POW] = " ^ ", [X_LT] = " < ",
                                      [X_LE] = " <= ", [X_EQ] = " == ", [X_NE] = " != ", [X_AND] = " && ", [X_OR] = " || "};
  switch (x->op) {
  case X_CONST: sb_printf(out, "%.10g", x->number); return;
  case X_AXIS: sb_puts(out, d->axes.at[x->aux].name); return;
  case X_SIZE: sb_puts(out, d->model->families.at[x->aux].name); return;
  case X_BOX_LO: case X_BOX_LEN:
    sb_printf(out, "%s(%s, %d)", x->op == X_BOX_LO ? "low" : "length", d->model->families.at[x->aux].name, x->aux2);
    return;
  case X_ROOM: sb_printf(out, "room(%s)", d->axes.at[x->aux].name); return;
  case X_TABLE:
    sb_printf(out, "sums %d", x->aux);
    if (x->n_args) sb_putc(out, '['), dag_print(d, x->args[0], out), sb_putc(out, ']');
    return;
  case X_WEIGHT: case X_COUNT: sb_puts(out, x->op == X_WEIGHT ? "weight" : "count"); return;
  case X_QUAD_X: case X_QUAD_W: sb_printf(out, "%s[%s]", x->op == X_QUAD_X ? "node" : "nodeweight", d->axes.at[x->aux].name); return;
  case X_INPUT: case X_PRESENT: case X_VALUE: case X_U: case X_MEAN: case X_SD:
    sb_puts(out, x->op == X_PRESENT ? "present " : x->op == X_MEAN ? "mean " : x->op == X_SD ? "sd " : x->op == X_U ? "u " : "");
    sb_puts(out, d->model->families.at[x->aux].name);
    for (int i = 0; i < x->n_args; i++) sb_puts(out, i ? ", " : "["), dag_print(d, x->args[i], out);
    if (x->n_args) sb_putc(out, ']');
    return;
  case X_NEG: case X_NOT:
    sb_puts(out, x->op == X_NEG ? "-(" : "!("), dag_print(d, x->args[0], out), sb_putc(out, ')');
    return;
  case X_FN:
    sb_printf(out, "%s(", fn_c_name[x->aux]);
    for (int i = 0; i < x->n_args; i++) { if (i) sb_puts(out, ", "); dag_print(d, x->args[i], out); }
    sb_putc(out, ')');
    return;
  case X_COND:
    sb_putc(out, '('), dag_print(d, x->args[0], out), sb_puts(out, " ? "), dag_print(d, x->args[1], out);
    sb_puts(out, " : "), dag_print(d, x->args[2], out), sb_putc(out, ')');
    return;
  case X_CLAMP: dag_print(d, x->args[0], out); return;                      /* as the user wrote it */
  case X_SUM: case X_PROD: case X_MAX: case X_MIN:
    sb_printf(out, "%s(%s: ", x->op == X_SUM ? "sum" : x->op == X_PROD ? "prod" : x->op == X_MAX ? "max" : "min", d->axes.at[x->aux].name);
    dag_print(d, x->args[0], out), sb_putc(out, ')');
    return;
  case X_AT:
    sb_putc(out, '('), dag_print(d, x->args[0], out), sb_printf(out, " at %s = ", d->axes.at[x->aux].name);
    dag_print(d, x->args[1], out), sb_putc(out, ')');
    return;
  case X_TRISOLVE: case X_TRISOLVE_T:
    sb_puts(out, x->op == X_TRISOLVE ? "trisolve(" : "trisolve_transposed(");
    dag_print(d, x->args[0], out), sb_puts(out, ", "), dag_print(d, x->args[1], out), sb_putc(out, ')');
    return;
  case X_SCAN:
    sb_printf(out, "scan(%s%s: ", d->axes.at[x->aux].name, x->aux2 > 0 ? "" : " down");
    for (int i = 0; i < x->n_args; i++) sb_puts(out, i ? "; " : ""), dag_print(d, x->args[i], out);
    sb_putc(out, ')');
    return;
  case X_PREV:
    sb_printf(out, "prev(%+d", x->aux2);
    sb_printf(out, x->number > 0 ? ", %d)" : ")", (int)x->number);
    return;
  case X_SPREAD:
    sb_printf(out, "spread(%s: ", d->axes.at[x->aux].name), dag_print(d, x->args[0], out);
    sb_printf(out, " to %s = ", d->axes.at[x->aux2].name), dag_print(d, x->args[1], out), sb_putc(out, ')');
    return;
  case X_CHOLESKY: case X_CHOLESKY_ADJOINT: case X_INVERSE: case X_INVERSE_T: case X_LOG_DET:
    sb_printf(out, "%s(", matrix_names[x->op - X_CHOLESKY]);
    for (int i = 0; i < x->n_args; i++) { if (i) sb_puts(out, ", "); dag_print(d, x->args[i], out); }
    sb_putc(out, ')');
    return;
  default:
    sb_putc(out, '('), dag_print(d, x->args[0], out), sb_puts(out, infix[x->op]), dag_print(d, x->args[1], out), sb_putc(out, ')');
  }
}
