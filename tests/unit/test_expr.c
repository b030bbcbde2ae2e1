/* Tests of expr.c: building an expression simplifies it; its value must stay. Random expressions are kept as plain trees beside the DAG and evaluated
 * on their own, in double and in long double: where the two disagree the point is ill-conditioned and says nothing. Also: axis sets, reading
 * at another index, substitution that would capture a bound axis, replacement of leaves, branches with zero, sharing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "expr.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- random numbers (splitmix64) ------------------------------------------------------------------------------------------------------- */

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

/* ---- plain trees ------------------------------------------------------------------------------------------------------------------------- */

typedef enum {
  T_CONST, T_AXIS, T_LEAF, T_ADD, T_SUB, T_MUL, T_DIV, T_NEG, T_POW, T_FN, T_LT, T_LE, T_EQ, T_NE, T_AND, T_OR, T_NOT, T_COND, T_SUM, T_MAX, T_MIN, T_LSE, T_AT
} TreeKind;
typedef struct Tree { TreeKind kind; int aux; double number; bool integer; struct Tree *arg[3]; } Tree;

/* Axes: n the unit (1..4), k a reduction over 1..n, m one over 2..4, i, j, l dimensions of 3 (and h of 2). */
enum { N, K, M, I, J, L, H, AXES };
static const AxisSet dims3 = AXIS_BIT(I) | AXIS_BIT(J) | AXIS_BIT(L);

typedef struct {
  Dag *d;
  long at[AXES];                       /* current values of the axes */
  double value[4][4];                  /* leaf f over an index 0..3: f 0, 1 scalars, 2, 3 vectors */
} World;

static World world_new(void)
{
  World w = {.d = dag_new(NULL)};
  Node one = x_int(w.d, 1), zero = x_int(w.d, 0), two = x_int(w.d, 2), four = x_int(w.d, 4);
  assert_int_equal(dag_axis(w.d, AX_UNIT, "n", 0, one, four), N);
  assert_int_equal(dag_axis(w.d, AX_REDUCTION, "k", 1, one, x_axis(w.d, N)), K);
  assert_int_equal(dag_axis(w.d, AX_REDUCTION, "m", 2, two, four), M);
  assert_int_equal(dag_axis(w.d, AX_DIM, "i_", -1, zero, two), I);
  assert_int_equal(dag_axis(w.d, AX_DIM, "j_", -1, zero, two), J);
  assert_int_equal(dag_axis(w.d, AX_DIM, "l_", -1, zero, two), L);
  assert_int_equal(dag_axis(w.d, AX_DIM, "h_", -1, zero, one), H);
  return w;
}

static void draw_point(World *w)
{
  for (int f = 0; f < 4; f++)
    for (int i = 0; i < 4; i++) w->value[f][i] = below(6) ? uniform(-2, 2) : below(5) - 2;
  w->at[N] = 1 + below(4), w->at[K] = 1 + below((int)w->at[N]), w->at[M] = 2 + below(3);
  w->at[I] = below(3), w->at[J] = below(3), w->at[L] = below(3), w->at[H] = below(2);
}

static double leaf_value(void *data, const Dag *d, Node n, const long *axis)
{
  const World *w = data;
  const XNode *x = dag_node(d, n);
  if (!x->n_args) return w->value[x->aux][0];
  Evaluation e = {.leaf = leaf_value, .data = data};
  memcpy(e.axis, axis, sizeof e.axis);
  long i = (long)dag_eval(d, x->args[0], &e);
  return w->value[x->aux][((i % 4) + 4) % 4];
}

static double dag_value(World *w, Node n)
{
  Evaluation e = {.leaf = leaf_value, .data = w};
  memcpy(e.axis, w->at, sizeof w->at);
  return dag_eval(w->d, n, &e);
}

/* The plain value; `bad` where it is not finite on the way, or a comparison of reals is too close to call. */
#define DEFINE_PLAIN(NAME, REAL, SUFFIX)                                                                                                          \
  static REAL NAME(World *w, const Tree *t, bool *bad)                                                                                            \
  {                                                                                                                                               \
    REAL a = 0, b = 0, r = 0;                                                                                                                     \
    if (t->kind == T_COND) return NAME(w, t->arg[0], bad) != 0 ? NAME(w, t->arg[1], bad) : NAME(w, t->arg[2], bad);                               \
    if (t->kind >= T_SUM && t->kind <= T_LSE) {                                                                                                   \
      long keep = w->at[t->aux], lo = t->aux == K ? 1 : t->aux == M ? 2 : 0, hi = t->aux == K ? w->at[N] : t->aux == M ? 4 : t->aux == H ? 1 : 2; \
      r = t->kind == T_MAX ? -(REAL)INFINITY : t->kind == T_MIN ? (REAL)INFINITY : 0;                                                             \
      for (w->at[t->aux] = lo; w->at[t->aux] <= hi; w->at[t->aux]++) {                                                                            \
        a = NAME(w, t->arg[0], bad);                                                                                                              \
        r = t->kind == T_SUM ? r + a : t->kind == T_LSE ? r + exp##SUFFIX(a) : t->kind == T_MAX ? (a > r ? a : r) : (a < r ? a : r);              \
      }                                                                                                                                           \
      w->at[t->aux] = keep;                                                                                                                       \
      if (t->kind == T_LSE) r = log##SUFFIX(r);                                                                                                   \
      return r;                                                                                                                                   \
    }                                                                                                                                             \
    if (t->kind == T_AT) {                                                                                                                        \
      long keep = w->at[t->aux], to = (long)NAME(w, t->arg[1], bad);                                                                              \
      w->at[t->aux] = to;                                                                                                                         \
      r = NAME(w, t->arg[0], bad);                                                                                                                \
      w->at[t->aux] = keep;                                                                                                                       \
      return r;                                                                                                                                   \
    }                                                                                                                                             \
    if (t->kind > T_LEAF) a = NAME(w, t->arg[0], bad);                                                                                            \
    if (t->kind > T_LEAF && t->arg[1]) b = NAME(w, t->arg[1], bad);                                                                               \
    if (t->kind >= T_LT && t->kind <= T_NE && !(t->arg[0]->integer && t->arg[1]->integer) && fabs((double)(a - b)) < 1e-6) *bad = true;           \
    switch (t->kind) {                                                                                                                            \
    case T_CONST: return (REAL)t->number;                                                                                                         \
    case T_AXIS: return (REAL)w->at[t->aux];                                                                                                      \
    case T_LEAF: {                                                                                                                                \
      long i = t->arg[0] ? (long)NAME(w, t->arg[0], bad) : 0;                                                                                     \
      return (REAL)w->value[t->aux][((i % 4) + 4) % 4];                                                                                           \
    }                                                                                                                                             \
    case T_ADD: r = a + b; break;                                                                                                                 \
    case T_SUB: r = a - b; break;                                                                                                                 \
    case T_MUL: r = a * b; break;                                                                                                                 \
    case T_DIV: r = a / b; break;                                                                                                                 \
    case T_NEG: r = -a; break;                                                                                                                    \
    case T_POW: r = pow##SUFFIX(a, b); break;                                                                                                     \
    case T_LT: r = a < b; break;                                                                                                                  \
    case T_LE: r = a <= b; break;                                                                                                                 \
    case T_EQ: r = a == b; break;                                                                                                                 \
    case T_NE: r = a != b; break;                                                                                                                 \
    case T_AND: r = a != 0 && b != 0; break;                                                                                                      \
    case T_OR: r = a != 0 || b != 0; break;                                                                                                       \
    case T_NOT: r = a == 0; break;                                                                                                                \
    case T_FN:                                                                                                                                    \
      switch (t->aux) {                                                                                                                           \
      case F_exp: r = exp##SUFFIX(a); break;                                                                                                      \
      case F_log: r = log##SUFFIX(a); break;                                                                                                      \
      case F_sqrt: r = sqrt##SUFFIX(a); break;                                                                                                    \
      case F_square: r = a * a; break;                                                                                                            \
      case F_fabs: r = fabs##SUFFIX(a); break;                                                                                                    \
      case F_sin: r = sin##SUFFIX(a); break;                                                                                                      \
      case F_tanh: r = tanh##SUFFIX(a); break;                                                                                                    \
      case F_inv_logit: r = 1 / (1 + exp##SUFFIX(-a)); break;                                                                                     \
      case F_logit: r = log##SUFFIX(a / (1 - a)); break;                                                                                          \
      case F_softplus: r = log1p##SUFFIX(exp##SUFFIX(a)); break;                                                                                  \
      case F_log_inv_logit: r = -log1p##SUFFIX(exp##SUFFIX(-a)); break;                                                                           \
      case F_log1m_inv_logit: r = -log1p##SUFFIX(exp##SUFFIX(a)); break;                                                                          \
      case F_relu: r = a > 0 ? a : 0; break;                                                                                                      \
      case F_leaky_relu: r = a > 0 ? a : b * a; break;                                                                                            \
      case F_fmax: r = a > b ? a : b; break;                                                                                                      \
      default: fail_msg("function %d", t->aux);                                                                                                   \
      }                                                                                                                                           \
      break;                                                                                                                                      \
    default: fail_msg("kind %d", (int)t->kind);                                                                                                   \
    }                                                                                                                                             \
    if (!isfinite((double)r) || fabs((double)r) > 1e8) *bad = true;                                                                               \
    return r;                                                                                                                                     \
  }
DEFINE_PLAIN(plain, double, )
DEFINE_PLAIN(plain_long, long double, l)

/* The plain value at the point; false where it cannot be relied on. */
static bool reliable(World *w, const Tree *t, double *value)
{
  bool bad = false;
  *value = plain(w, t, &bad);
  double better = (double)plain_long(w, t, &bad);
  return !bad && isfinite(*value) && fabs(*value - better) <= 1e-11 * (1 + fabs(better));
}

static Tree *tree(TreeKind kind, int aux, double number, bool integer, Tree *a, Tree *b, Tree *c)
{
  Tree *t = NEW(Tree);
  *t = (Tree){.kind = kind, .aux = aux, .number = number, .integer = integer, .arg = {a, b, c}};
  return t;
}

static int pick_axis(AxisSet set)
{
  int list[AXES], n = 0;
  for (int a = 0; a < AXES; a++)
    if (set & AXIS_BIT(a)) list[n++] = a;
  return n ? list[below(n)] : -1;
}

/* An integer: an axis in scope, perhaps shifted or turned around, or a number 0..2. */
static Tree *random_index(AxisSet scope)
{
  int a = pick_axis(scope);
  Tree *t = a < 0 || !below(4) ? tree(T_CONST, 0, below(3), true, NULL, NULL, NULL) : tree(T_AXIS, a, 0, true, NULL, NULL, NULL);
  for (; !below(3);) {
    Tree *c = tree(T_CONST, 0, below(3), true, NULL, NULL, NULL);
    t = below(3) ? tree(below(2) ? T_ADD : T_SUB, 0, 0, true, t, c, NULL) : tree(T_SUB, 0, 0, true, c, t, NULL);
  }
  return t;
}

/* An index that stays in 0..2, for dimensions. */
static Tree *random_entry(AxisSet scope)
{
  int a = pick_axis(scope & dims3);
  if (a < 0 || !below(4)) return tree(T_CONST, 0, below(3), true, NULL, NULL, NULL);
  Tree *t = tree(T_AXIS, a, 0, true, NULL, NULL, NULL);
  return below(3) ? t : tree(T_SUB, 0, 0, true, tree(T_CONST, 0, 2, true, NULL, NULL, NULL), t, NULL);
}

static Tree *random_tree(AxisSet scope, int depth, Tree **seen, int *n_seen)
{
  static const Fn fns[] = {F_exp, F_log, F_sqrt, F_square, F_fabs, F_sin, F_tanh, F_inv_logit, F_logit, F_softplus, F_log_inv_logit, F_log1m_inv_logit, F_relu};
  Tree *t = NULL;
  if (*n_seen && !below(6)) return seen[below(*n_seen)];                     /* shares subexpressions; they mention only what is in scope everywhere */
  if (depth <= 0 || !below(12)) {
    switch (below(6)) {
    case 0: return tree(T_CONST, 0, below(3) ? below(7) - 3 : uniform(-2, 2), false, NULL, NULL, NULL);
    case 1: return random_index(scope);
    case 2: return tree(T_LEAF, below(2), 0, false, NULL, NULL, NULL);
    default: return tree(T_LEAF, 2 + below(2), 0, false, random_index(scope), NULL, NULL);
    }
  }
#define SUB(s) random_tree(s, depth - 1, seen, n_seen)
  int kind = below(24);
  if (kind < 10) {
    TreeKind k = (TreeKind[]){T_ADD, T_SUB, T_MUL, T_MUL, T_DIV}[kind % 5];
    Tree *a = SUB(scope), *b = !below(6) ? a : SUB(scope);
    t = tree(k, 0, 0, k != T_DIV && a->integer && b->integer, a, b, NULL);
  } else if (kind == 10) {
    Tree *a = SUB(scope);
    t = tree(T_NEG, 0, 0, a->integer, a, NULL, NULL);
  } else if (kind == 11) {
    static const double powers[] = {0, 1, 2, 3, 4, 5, -1, -2, 0.5, 1.5, -3};
    t = tree(T_POW, 0, 0, false, SUB(scope), tree(T_CONST, 0, powers[below(11)], false, NULL, NULL, NULL), NULL);
  } else if (kind < 15) {
    t = tree(T_FN, fns[below(sizeof fns / sizeof *fns)], 0, false, SUB(scope), NULL, NULL);
  } else if (kind == 15) {
    t = tree(T_FN, below(2) ? F_leaky_relu : F_fmax, 0, false, SUB(scope), SUB(scope), NULL);
  } else if (kind < 18) {                                                   /* branches, often with zero */
    Tree *c = tree(T_LT + below(4), 0, 0, true, random_index(scope), random_index(scope), NULL);
    if (!below(3)) c = tree(below(2) ? T_AND : T_OR, 0, 0, true, c, tree(T_LE, 0, 0, true, random_index(scope), random_index(scope), NULL), NULL);
    if (!below(4)) c = tree(T_NOT, 0, 0, true, c, NULL, NULL);
    Tree *zero = tree(T_CONST, 0, 0, false, NULL, NULL, NULL), *a = below(3) ? SUB(scope) : zero, *b = a == zero || below(2) ? SUB(scope) : zero;
    t = tree(T_COND, 0, 0, a->integer && b->integer, c, a, b);
  } else if (kind < 23) {
    AxisSet free = ~scope & (AXIS_BIT(AXES) - 1) & ~AXIS_BIT(N);
    if (!(scope & AXIS_BIT(N))) free &= ~AXIS_BIT(K);                        /* its range mentions n */
    int a = pick_axis(free);
    if (a < 0) return SUB(scope);
    if (kind < 22) {
      TreeKind k = (TreeKind[]){T_SUM, T_SUM, T_SUM, T_MAX, T_MIN, T_LSE}[below(6)];
      Tree *body = SUB(scope | AXIS_BIT(a));
      t = tree(k, a, 0, body->integer && k != T_LSE, body, NULL, NULL);
    } else {
      int dim = pick_axis(free & dims3);
      if (dim < 0) return SUB(scope);
      Tree *body = SUB(scope | AXIS_BIT(dim));
      t = tree(T_AT, dim, 0, body->integer, body, random_entry(scope), NULL);
    }
  } else {
    return SUB(scope);
  }
#undef SUB
  if (scope == AXIS_BIT(N) && *n_seen < 8) seen[(*n_seen)++] = t;
  return t;
}

static Node build(Dag *d, const Tree *t)
{
  Node a[3] = {NO_NODE, NO_NODE, NO_NODE};
  for (int i = 0; i < 3; i++)
    if (t->arg[i]) a[i] = build(d, t->arg[i]);
  switch (t->kind) {
  case T_CONST: return t->integer ? x_int(d, (long)t->number) : x_const(d, t->number);
  case T_AXIS: return x_axis(d, t->aux);
  case T_LEAF: return x_leaf(d, X_VALUE, t->aux, a[0] >= 0, a, false);
  case T_ADD: return x_add(d, a[0], a[1]);
  case T_SUB: return x_sub(d, a[0], a[1]);
  case T_MUL: return x_mul(d, a[0], a[1]);
  case T_DIV: return x_div(d, a[0], a[1]);
  case T_NEG: return x_neg(d, a[0]);
  case T_POW: return x_pow(d, a[0], a[1]);
  case T_FN:
    if (t->aux == F_exp) return x_exp(d, a[0]);
    if (t->aux == F_log) return x_log(d, a[0]);
    if (t->aux == F_sqrt) return x_sqrt(d, a[0]);
    if (t->aux == F_square) return x_square(d, a[0]);
    return a[1] < 0 ? x_fn1(d, (Fn)t->aux, a[0]) : x_fn2(d, (Fn)t->aux, a[0], a[1]);
  case T_LT: case T_LE: case T_EQ: case T_NE: case T_AND: case T_OR: return x_compare(d, (XOp)(X_LT + (t->kind - T_LT)), a[0], a[1]);
  case T_NOT: return x_not(d, a[0]);
  case T_COND: return x_cond(d, a[0], a[1], a[2]);
  case T_SUM: return x_sum(d, t->aux, a[0]);
  case T_MAX: return x_reduce(d, X_MAX, t->aux, a[0]);
  case T_MIN: return x_reduce(d, X_MIN, t->aux, a[0]);
  case T_LSE: return x_log_sum_exp(d, t->aux, a[0]);
  case T_AT: return x_at(d, a[0], t->aux, a[1]);
  }
  return NO_NODE;
}

static const char *text(const Dag *d, Node n)
{
  static Model none;
  static Family families[4] = {{.name = "a"}, {.name = "b"}, {.name = "v"}, {.name = "w"}};
  Dag copy = *d;
  none.families.at = families, none.families.n = 4;
  copy.model = &none;
  StrBuf b = {0};
  dag_print(&copy, n, &b);
  return sb_text(&b);
}

#define assert_value(w, n, wanted, what)                                                                                                 \
  do {                                                                                                                                   \
    double got_ = dag_value(w, n);                                                                                                       \
    if (!(fabs(got_ - (wanted)) <= 1e-8 * (1 + fabs(wanted)))) fail_msg("%s: %.17g, not %.17g: %s", what, got_, wanted, text((w)->d, n)); \
  } while (0)

/* ---- random expressions -------------------------------------------------------------------------------------------------------------------- */

enum { TREES = 6000, POINTS = 6 };

/* Values stay; an axis that is not in the set does not matter, and only axes in scope are in it. */
static void test_values(void **unused)
{
  (void)unused;
  state = 1;
  int checked = 0;
  for (int trial = 0; trial < TREES; trial++) {
    World w = world_new();
    AxisSet scope = AXIS_BIT(N) | (below(2) ? AXIS_BIT(I) : 0) | (below(2) ? AXIS_BIT(J) : 0) | (below(3) ? 0 : AXIS_BIT(M)) | (below(3) ? 0 : AXIS_BIT(K));
    Tree *seen[8];
    int n_seen = 0;
    Tree *t = random_tree(scope, 2 + below(5), seen, &n_seen);
    Node n = build(w.d, t);
    if (dag_axes(w.d, n) & ~scope) fail_msg("axes %llx outside the scope %llx: %s", (unsigned long long)dag_axes(w.d, n), (unsigned long long)scope, text(w.d, n));
    assert_int_equal(build(w.d, t), n);                                      /* shared */
    for (int p = 0; p < POINTS; p++) {
      double wanted;
      draw_point(&w);
      if (!reliable(&w, t, &wanted)) continue;
      checked++;
      assert_value(&w, n, wanted, "value");
      for (int a = 0; a < AXES; a++) {                                       /* axes that it does not name: any value will do */
        if (dag_axes(w.d, n) & AXIS_BIT(a)) continue;
        long keep = w.at[a];
        w.at[a] = 77;
        assert_value(&w, n, wanted, "axis that is not in the set");
        w.at[a] = keep;
      }
    }
  }
  if (checked < TREES * POINTS / 3) fail_msg("only %d of %d points were fit to check", checked, TREES * POINTS);
}

/* dag_substitute_axis(n, from, to) is n with the axis set to the value of `to`, also where `to` mentions an axis that is bound inside. */
static void test_substitution(void **unused)
{
  (void)unused;
  state = 2;
  int checked = 0;
  for (int trial = 0; trial < TREES; trial++) {
    World w = world_new();
    AxisSet scope = AXIS_BIT(N) | AXIS_BIT(I) | (below(2) ? AXIS_BIT(J) : 0) | (below(3) ? 0 : AXIS_BIT(M));
    Tree *seen[8];
    int n_seen = 0, from = below(4) ? I : (scope & AXIS_BIT(J)) ? J : N;
    Tree *t = random_tree(scope, 2 + below(4), seen, &n_seen);
    Tree *to;
    if (from == N) {
      Tree *n = tree(T_AXIS, N, 0, true, NULL, NULL, NULL);
      to = below(2) ? tree(T_CONST, 0, 1 + below(4), true, NULL, NULL, NULL) : tree(T_SUB, 0, 0, true, tree(T_CONST, 0, 5, true, NULL, NULL, NULL), n, NULL);
    } else {
      to = random_entry(AXIS_BIT(I) | AXIS_BIT(J) | AXIS_BIT(L));            /* may be bound in t */
    }
    Node n = build(w.d, t), r = dag_substitute_axis(w.d, n, from, build(w.d, to));
    for (int p = 0; p < POINTS; p++) {
      double wanted;
      bool bad = false;
      draw_point(&w);
      long keep = w.at[from];
      long value = (long)plain(&w, to, &bad);
      w.at[from] = value;
      bool fine = reliable(&w, t, &wanted);
      w.at[from] = keep;
      if (!fine) continue;
      checked++;
      double got = dag_value(&w, r);
      if (!(fabs(got - wanted) <= 1e-8 * (1 + fabs(wanted))))
        fail_msg("%.17g, not %.17g: %s with %s := %s is %s", got, wanted, text(w.d, n), w.d->axes.at[from].name, text(w.d, build(w.d, to)), text(w.d, r));
    }
  }
  if (checked < TREES * POINTS / 3) fail_msg("only %d points were fit to check", checked);
}

/* dag_replace(n, scalar leaf, expression of scalars) is n at the leaf's new value. */
static void test_replacement(void **unused)
{
  (void)unused;
  state = 3;
  int checked = 0;
  for (int trial = 0; trial < TREES; trial++) {
    World w = world_new();
    Tree *seen[8];
    int n_seen = 0;
    Tree *t = random_tree(AXIS_BIT(N) | AXIS_BIT(I), 2 + below(4), seen, &n_seen);
    Node n = build(w.d, t), leaf = x_leaf(w.d, X_VALUE, 0, 0, NULL, false), other = x_leaf(w.d, X_VALUE, 1, 0, NULL, false);
    Node to = below(3) ? x_add(w.d, x_mul(w.d, other, x_const(w.d, 0.5)), x_const(w.d, 0.25)) : x_const(w.d, below(3) - 1);
    Node r = dag_replace(w.d, n, leaf, to);
    for (int p = 0; p < POINTS; p++) {
      double wanted;
      draw_point(&w);
      double keep = w.value[0][0];
      w.value[0][0] = dag_value(&w, to);
      bool fine = reliable(&w, t, &wanted);
      w.value[0][0] = keep;
      if (!fine) continue;
      checked++;
      assert_value(&w, r, wanted, "replacement");
    }
  }
  if (checked < TREES * POINTS / 4) fail_msg("only %d points were fit to check", checked);
}

/* ---- single rules --------------------------------------------------------------------------------------------------------------------------------- */

static Node leaf(World *w, int f, Node index) { return x_leaf(w->d, X_VALUE, f, index >= 0, &index, false); }

static void test_simplified(void **unused)
{
  (void)unused;
  World w = world_new();
  Dag *d = w.d;
  Node a = leaf(&w, 0, NO_NODE), b = leaf(&w, 1, NO_NODE), zero = x_const(d, 0), one = x_const(d, 1), n = x_axis(d, N);
  assert_int_equal(x_add(d, a, zero), a);
  assert_int_equal(x_sub(d, a, a), zero);
  assert_int_equal(x_mul(d, zero, a), zero);
  assert_int_equal(x_mul(d, a, one), a);
  assert_int_equal(x_sub(d, x_add(d, a, b), b), a);
  assert_int_equal(x_neg(d, x_sub(d, a, b)), x_sub(d, b, a));
  assert_int_equal(x_log(d, x_exp(d, a)), a);
  assert_int_equal(x_square(d, x_neg(d, a)), x_square(d, a));
  assert_int_equal(x_mul(d, a, a), x_square(d, a));
  assert_int_equal(x_div(d, a, x_exp(d, b)), x_mul(d, a, x_exp(d, x_neg(d, b))));
  assert_int_equal(x_add(d, x_sub(d, n, x_int(d, 1)), x_int(d, 1)), n);      /* index arithmetic closes up */
  assert_int_equal(x_sub(d, x_add(d, n, x_int(d, 2)), x_int(d, 3)), x_sub(d, n, x_int(d, 1)));
  assert_true(dag_node(d, x_add(d, n, x_int(d, 2)))->integer);
  assert_false(dag_node(d, x_div(d, n, x_int(d, 2)))->integer);              /* real division */
  assert_false(dag_node(d, x_add(d, n, x_const(d, 0)))->integer);
  assert_int_equal(x_compare(d, X_AND, x_int(d, 1), x_compare(d, X_LT, n, x_int(d, 3))), x_compare(d, X_LT, n, x_int(d, 3)));
  assert_int_equal(x_compare(d, X_AND, x_compare(d, X_LT, n, x_int(d, 3)), x_int(d, 0)), x_int(d, 0));
  assert_int_equal(x_compare(d, X_OR, x_int(d, 1), x_compare(d, X_LT, n, x_int(d, 3))), x_int(d, 1));
}

/* Sums: what does not vary comes out; a body without the axis counts; a range that varies with n makes the sum vary with n. */
static void test_sums(void **unused)
{
  (void)unused;
  World w = world_new();
  Dag *d = w.d;
  Node a = leaf(&w, 0, NO_NODE), v = leaf(&w, 2, x_axis(d, K));
  assert_int_equal(x_sum(d, M, a), x_mul(d, x_int(d, 3), a));
  assert_int_equal(x_sum(d, K, x_mul(d, a, v)), x_mul(d, a, x_sum(d, K, v)));
  assert_int_equal(x_sum(d, K, x_neg(d, v)), x_neg(d, x_sum(d, K, v)));
  assert_true(dag_axes(d, x_sum(d, K, v)) == AXIS_BIT(N));
  assert_true(dag_axes(d, x_sum(d, K, a)) == AXIS_BIT(N));
  assert_true(dag_axes(d, v) == (AXIS_BIT(N) | AXIS_BIT(K)));                /* the loop over k stands inside the one over n */
  assert_true(dag_axes(d, x_sum(d, N, x_sum(d, K, v))) == 0);
  assert_int_equal(x_sum(d, K, x_const(d, 0)), x_const(d, 0));
}

/* A branch with zero takes factors in, so that a gradient has no 0 * infinity: c ? 1/a : 0 times b is c ? b/a : 0. */
static void test_gates(void **unused)
{
  (void)unused;
  World w = world_new();
  Dag *d = w.d;
  draw_point(&w);
  w.value[0][0] = 0;                                                        /* 1 / a is infinite */
  w.at[N] = 1;
  Node a = leaf(&w, 0, NO_NODE), b = leaf(&w, 1, NO_NODE), zero = x_const(d, 0), c = x_compare(d, X_LT, x_int(d, 1), x_axis(d, N));
  Node inverse = x_div(d, x_const(d, 1), a), gate = x_cond(d, c, inverse, zero), other = x_cond(d, c, zero, b);
  Node cases[] = {x_mul(d, gate, b),       x_mul(d, b, gate),          x_mul(d, gate, zero),   x_neg(d, gate), x_mul(d, x_cond(d, c, b, zero), inverse),
                  x_mul(d, inverse, x_cond(d, c, b, zero)), x_div(d, x_cond(d, c, b, zero), a), x_mul(d, x_mul(d, x_cond(d, c, b, zero), b), inverse)};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_true(dag_value(&w, cases[i]) == 0);
  assert_true(dag_value(&w, x_mul(d, other, x_const(d, 2))) == 2 * w.value[1][0]);
  w.at[N] = 2, w.value[0][0] = 4;
  assert_true(dag_value(&w, cases[0]) == w.value[1][0] / 4);
}

/* Reading at another index: where nothing is bound it is a substitution; else the finished value is read. Maxima that only shift keep their mark. */
static void test_at(void **unused)
{
  (void)unused;
  World w = world_new();
  Dag *d = w.d;
  Node i = x_axis(d, I), j = x_axis(d, J), vi = leaf(&w, 2, i), vj = leaf(&w, 2, j), two = x_int(d, 2);
  assert_int_equal(x_at(d, x_exp(d, vi), I, j), x_exp(d, vj));
  assert_int_equal(x_at(d, vj, I, two), vj);
  assert_int_equal(x_at(d, vi, I, i), vi);
  Node scores = x_sub(d, vi, x_log_sum_exp(d, J, x_mul(d, vi, vj)));         /* i occurs in the sum over j */
  Node at_j = x_at(d, scores, I, j);
  assert_true(dag_axes(d, at_j) == AXIS_BIT(J));
  for (int p = 0; p < 20; p++) {
    draw_point(&w);
    long keep = w.at[I];
    double got = dag_value(&w, at_j);
    w.at[I] = w.at[J];
    double wanted = dag_value(&w, scores);
    w.at[I] = keep;
    assert_true(fabs(got - wanted) < 1e-12);
  }
  Node shifted = dag_replace(d, x_log_sum_exp(d, I, vi), leaf(&w, 2, i), leaf(&w, 3, i));
  int marked = 0;
  for (Node n = 0; n < d->nodes.n; n++)
    if (dag_node(d, n)->op == X_MAX && dag_node(d, n)->args[0] == leaf(&w, 3, i)) marked += dag_node(d, n)->aux2 ? 1 : 10;
  assert_int_equal(marked, 1);
  (void)shifted;
}

/* Triangular solves against the definition, and their axes. */
static void test_trisolve(void **unused)
{
  (void)unused;
  World w = world_new();
  Dag *d = w.d;
  Node i = x_axis(d, I), j = x_axis(d, J);
  Node L_ = x_add(d, leaf(&w, 2, x_add(d, i, j)), x_cond(d, x_compare(d, X_EQ, i, j), x_const(d, 5), x_const(d, 0)));
  Node b = leaf(&w, 3, i), x = x_trisolve(d, false, I, J, L_, b), t = x_trisolve(d, true, I, J, L_, b);
  assert_true(dag_axes(d, x) == AXIS_BIT(I) && dag_axes(d, t) == AXIS_BIT(I));
  draw_point(&w);
  for (int r = 0; r < 3; r++) {
    double back = 0, back_t = 0;
    for (int c = 0; c < 3; c++) {
      w.at[I] = c;
      double xc = dag_value(&w, x), tc = dag_value(&w, t);
      w.at[I] = r, w.at[J] = c;
      if (c <= r) back += dag_value(&w, L_) * xc;
      w.at[I] = c, w.at[J] = r;
      if (c >= r) back_t += dag_value(&w, L_) * tc;
    }
    w.at[I] = r;
    assert_true(fabs(back - dag_value(&w, b)) < 1e-12);
    assert_true(fabs(back_t - dag_value(&w, b)) < 1e-12);
  }
}

/* Equal expressions are one node, however many there are. */
static void test_sharing(void **unused)
{
  (void)unused;
  World w = world_new();
  Dag *d = w.d;
  Node a = leaf(&w, 0, NO_NODE), first[3000];
  for (int i = 0; i < 3000; i++) first[i] = x_fn1(d, F_sin, x_add(d, a, x_const(d, i * 0.5 + 0.1)));
  int n = d->nodes.n;
  for (int i = 0; i < 3000; i++) assert_int_equal(x_fn1(d, F_sin, x_add(d, a, x_const(d, i * 0.5 + 0.1))), first[i]);
  assert_int_equal(d->nodes.n, n);
  for (int i = 0; i < n; i++)
    for (int k = 0; k < dag_node(d, i)->n_args; k++) assert_true(dag_node(d, i)->args[k] < i);
}

/* A chain in which every link uses the one before twice has 2^60 paths and 120 nodes. */
static void test_deep_sharing(void **unused)
{
  (void)unused;
  World w = world_new();
  Dag *d = w.d;
  Node i = x_axis(d, I), v = leaf(&w, 2, i), a = leaf(&w, 0, NO_NODE), n = v;
  for (int k = 0; k < 60; k++) n = x_add(d, x_fn1(d, F_sin, n), x_mul(d, n, a));
  Node at = x_at(d, n, I, x_int(d, 1)), replaced = dag_replace(d, n, a, x_const(d, 0.5));
  assert_true(dag_axes(d, at) == 0);
  assert_true(dag_axes(d, replaced) == AXIS_BIT(I));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_values),     cmocka_unit_test(test_substitution), cmocka_unit_test(test_replacement), cmocka_unit_test(test_simplified),
    cmocka_unit_test(test_sums),       cmocka_unit_test(test_gates),        cmocka_unit_test(test_at),          cmocka_unit_test(test_trisolve),
    cmocka_unit_test(test_sharing),    cmocka_unit_test(test_deep_sharing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
