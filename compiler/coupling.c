/* The component of a generic element in the coupling graph: a walk over families and terms in which every index is known relative to the unit.
 *
 * In: the factor graph and a unit, say z[t] for t in 2..N. Out: Component: which families and terms are reached, at which places of their
 * indices, the cycles with a net offset, the observed and known entries in reach. docs/analysis.md, "The walk", has the reasons:
 *
 *   z[t] ~ normal(z[t-1], q)     from z at t to the term at t, from there to z at t-1: the family again, at another offset: generator -1
 *   z[g,i] ~ normal(u[g], s)     from z to u[g]; u does not tell i, so back in the term, i is free: everything of group g
 *   y[i] ~ normal(a[g[i]], s)    from a[j] to the term at the set of i with g[i] = j
 *
 * This is the voltage graph of a periodic graph (vertices: families with the kinds of their places; voltages: offsets; the places of the
 * nodes are the potentials), except that what a family does not tell becomes a free place at once, and lookups are followed through their table. */
#include "coupling.h"

#include <stdlib.h>
#include <string.h>

#define SAME_BOXES   4                  /* exceptions for the same units that are kept, of different nodes */
#define ABS_SLACK    4                  /* elements at constant indices that may be reached beyond those that are written down */

typedef struct {
  const Graph *g;
  Axes *axes;
  ExploreOptions o;
  Component *c;
} Walk;

/* ---- axis classes -------------------------------------------------------------------------------------------------------------- */

static int find_axis(Axes *a, int i)
{
  while (a->parent[i] != i) i = a->parent[i] = a->parent[a->parent[i]];
  return i;
}

int axis_of_position(Axes *a, int family, int pos) { return find_axis(a, a->first[family] + pos); }
int axis_of_var(Axes *a, int var) { return find_axis(a, var); }

static void unite(Axes *a, int i, int j) { a->parent[find_axis(a, i)] = find_axis(a, j); }

Axes *axes_build(const Graph *g)
{
  Axes *a = NEW(Axes);
  a->g = g;
  a->first = NEW_ARRAY(int, g->families.n);
  a->n = g->vars.n;
  for (int f = 0; f < g->families.n; f++) {
    a->first[f] = a->n;
    a->n += GRAPH_MAX_INDEX;
  }
  a->parent = NEW_ARRAY(int, a->n);
  for (int i = 0; i < a->n; i++) a->parent[i] = i;
  for (int t = 0; t < g->terms.n; t++)
    for (int r = 0; r < g->terms.at[t].refs.n; r++) {
      const GRef *ref = &g->terms.at[t].refs.at[r];
      for (int p = 0; p < ref->n && ref->family >= 0; p++)
        if (ref->ix[p].kind == GI_LINEAR)
          for (int k = 0; k < ref->ix[p].lin.n; k++)
            if (ref->ix[p].lin.t[k].atom >= 0) unite(a, a->first[ref->family] + p, ref->ix[p].lin.t[k].atom);
    }
  a->least = NEW_ARRAY(Lin, g->families.n * MAX_AXES);
  a->most = NEW_ARRAY(Lin, g->families.n * MAX_AXES);
  a->has_constant = NEW_ARRAY(bool, g->families.n);
  for (int f = 0; f < g->families.n; f++)
    for (int i = 0; i < g->touch[f].n; i++) {
      const GRef *r = &g->terms.at[g->touch[f].at[i].term].refs.at[g->touch[f].at[i].ref];
      long coef;
      Lin rest;
      for (int p = 0; p < r->n; p++) a->has_constant[f] = a->has_constant[f] || (r->ix[p].kind == GI_LINEAR && lin_var(r->ix[p].lin, &coef, &rest) < 0);
    }
  a->n_abs = NEW_ARRAY(int, g->families.n);
  a->node = NEW_ARRAY(int, g->families.n + g->terms.n);
  for (int k = 0; k < g->families.n + g->terms.n; k++) a->node[k] = -1;
  a->entry = NEW_ARRAY(int, g->families.n + 1);
  for (int f = 0; f <= g->families.n; f++) a->entry[f] = -1;
  bool *seen = NEW_ARRAY(bool, g->families.n);
  for (int i = 0; i < g->pieces.n; i++) {
    const GPiece *x = &g->pieces.at[i];
    for (int p = 0; p < x->n && !x->barren; p++) {
      Lin *lo = &a->least[x->family * MAX_AXES + p], *hi = &a->most[x->family * MAX_AXES + p];
      *lo = seen[x->family] ? lin_min(g, *lo, x->lo[p]) : x->lo[p];
      *hi = seen[x->family] ? lin_max(g, *hi, x->hi[p]) : x->hi[p];
    }
    seen[x->family] = seen[x->family] || !x->barren;
  }
  return a;
}

/* ---- places --------------------------------------------------------------------------------------------------------------------- */

static At at_free(void) { return (At){.kind = AT_FREE, .sign = 1}; }
static At at_abs(Lin value) { return (At){.kind = AT_ABS, .sign = 1, .off = value}; }

/* What distinguishes nodes: everything but the offset, and that too where it is absolute. */
static bool at_same_kind(At a, At b)
{
  if (a.kind != b.kind) return false;
  switch (a.kind) {
  case AT_UNIT: return a.id == b.id && a.sign == b.sign;
  case AT_ABS: return lin_equal(a.off, b.off);
  case AT_FREE: return true;
  case AT_ORIGIN: return a.id == b.id && a.sub == b.sub && a.sign == b.sign;
  case AT_SPAN: return at_same_kind(*a.lo, *b.lo) && at_same_kind(*a.hi, *b.hi);
  }
  return false;
}

static bool at_equal(At a, At b)
{
  if (!at_same_kind(a, b)) return false;
  if (a.kind == AT_SPAN) return at_equal(*a.lo, *b.lo) && at_equal(*a.hi, *b.hi);
  if (a.kind == AT_FREE && labs(a.sign) == 1 && labs(b.sign) == 1) return true;
  return a.sign == b.sign && lin_equal(a.off, b.off);
}

static At *at_copy(At a)
{
  At *r = NEW(At);
  *r = a;
  return r;
}

static At at_shift(At a, Lin by, long times)
{
  if (a.kind == AT_SPAN || (!by.n && !by.c)) return a;
  a.off = lin_add(a.off, by, times);
  if (a.kind == AT_FREE && a.lo) {
    a.lo = at_copy(at_shift(*a.lo, by, times));
    a.hi = at_copy(at_shift(*a.hi, by, times));
  }
  return a;
}

/* coef * a; of free places, a stride stays known. */
static At at_times(At a, long coef)
{
  if (coef == 1) return a;
  if (a.kind != AT_ABS) a.sign *= coef;
  a.off = lin_add(lin_const(0), a.off, coef);
  if (a.kind == AT_FREE && a.lo) {
    At lo = at_times(*a.lo, coef), hi = at_times(*a.hi, coef);
    a.lo = at_copy(coef > 0 ? lo : hi);
    a.hi = at_copy(coef > 0 ? hi : lo);
  }
  return a;
}

const Origin *origin_at(const Component *c, At a) { return a.kind == AT_ORIGIN ? &c->origins.at[a.id] : NULL; }

static int var_slot(const GTerm *t, int var)
{
  for (int i = 0; i < t->n_vars; i++)
    if (t->vars[i] == var) return i;
  return -1;
}

/* ---- lookups ---------------------------------------------------------------------------------------------------------------------- */

static bool args_equal(const Origin *a, int n, const At *args)
{
  if (a->n_args != n) return false;
  for (int i = 0; i < n; i++)
    if (!at_equal(a->args[i], args[i])) return false;
  return true;
}

static bool names_set(const Walk *w, At a)
{
  const Origin *o = origin_at(w->c, a);
  return o && (o->set || o->over_set);
}

/* table(args): known to be the target of a set, an old lookup value, or a new one. */
static At lookup(Walk *w, const GIndex *ix, int n, const At *args)
{
  Component *c = w->c;
  bool over_set = false;
  for (int i = 0; i < n; i++) {
    if (args[i].kind == AT_FREE || args[i].kind == AT_SPAN) return at_free();
    if (args[i].kind == AT_UNIT && w->c->merged[args[i].id]) return at_free(); /* at every row that the component runs through */
    over_set = over_set || names_set(w, args[i]);
  }
  for (int i = 0; i < c->origins.n; i++) {
    const Origin *o = &c->origins.at[i];
    if (o->ix->table != ix->table || !args_equal(o, n, args)) continue;
    if (o->set) return at_shift(o->target, ix->lin, 1);
    return (At){.kind = AT_ORIGIN, .id = i, .sign = 1, .off = ix->lin};
  }
  if (c->origins.n == ORIGIN_MAX) {
    c->crossed = true;
    return at_free();
  }
  Origin o = {.ix = ix, .n_args = n, .over_set = over_set, .term = -1};
  memcpy(o.args, args, sizeof *args * (size_t)n);
  VEC_PUSH(c->origins, o);
  return (At){.kind = AT_ORIGIN, .id = c->origins.n - 1, .sign = 1, .off = ix->lin};
}

static At eval(Walk *w, const GTerm *t, const At *vars, const GIndex *ix);

static At eval_linear(const GTerm *t, const At *vars, Lin a)
{
  long coef;
  Lin rest;
  int v = lin_var(a, &coef, &rest);
  if (v < 0) return at_abs(a);
  int k = var_slot(t, v);
  if (k < 0) return at_free();
  return at_shift(at_times(vars[k], coef), rest, 1);
}

static At eval_table(Walk *w, const GTerm *t, const At *vars, const GIndex *ix)
{
  At args[MAX_AXES];
  for (int i = 0; i < ix->n_args; i++) args[i] = eval(w, t, vars, &ix->args[i]);
  return lookup(w, ix, ix->n_args, args);
}

/* Place of an index for an entry of the domain. */
static At eval(Walk *w, const GTerm *t, const At *vars, const GIndex *ix)
{
  switch (ix->kind) {
  case GI_LINEAR: return eval_linear(t, vars, ix->lin);
  case GI_TABLE: return eval_table(w, t, vars, ix);
  case GI_ANY: return at_free();
  case GI_RANGE: {
    At lo = eval_linear(t, vars, ix->lin), hi = eval_linear(t, vars, ix->hi);
    bool lo_abs = lo.kind == AT_ABS, hi_abs = hi.kind == AT_ABS;
    if ((lo_abs && hi_abs) || (!lo_abs && lo.kind != AT_UNIT) || (!hi_abs && hi.kind != AT_UNIT)) return at_free();
    if (lo.sign < 0 || hi.sign < 0) return at_free();
    if (at_equal(lo, hi)) return lo;
    At s = {.kind = AT_SPAN, .sign = 1, .lo = NEW(At), .hi = NEW(At)};
    *s.lo = lo;
    *s.hi = hi;
    return s;
  }
  }
  return at_free();
}

/* Places of an index of a latent reference: a window gives its last two elements (a step apart, which generates the rest). */
static int eval_latent(Walk *w, const GTerm *t, const At *vars, const GIndex *ix, At out[2])
{
  if (ix->kind != GI_RANGE) {
    out[0] = eval(w, t, vars, ix);
    if (names_set(w, out[0]) && !origin_at(w->c, out[0])->set) { /* a lookup over a set: which elements, the data decide */
      w->c->crossed = true;
      w->c->crossed_formula = w->c->crossed_formula || ix->formula;
      w->c->crossed_term = (int)(t - w->g->terms.at);
      out[0] = at_free();
    }
    return 1;
  }
  At lo = eval_linear(t, vars, ix->lin), hi = eval_linear(t, vars, ix->hi);
  bool window = at_same_kind(lo, hi) && lo.kind != AT_ABS && lo.kind != AT_FREE;
  if (ix->ordered && !at_equal(lo, hi)) w->c->prefix = true;
  if (!window) {
    if (lo.kind != AT_ABS || hi.kind != AT_ABS) w->c->prefix = true;
    out[0] = at_free();
    return 1;
  }
  out[0] = hi;
  out[1] = at_shift(hi, lin_const(1), -1);
  return lin_equal(lo.off, hi.off) ? 1 : 2;
}

/* ---- ranges: which units have this term ------------------------------------------------------------------------------------------------- */

/* Ranges of the unit's places, each on one axis, where the term is not there; all: for the generic unit (and there, then, it is). */
typedef struct { int q; Lin lo, hi; } FitRange;
typedef struct { int n; bool all; FitRange range[2 * MAX_AXES * 2]; } Fit;

static void add_range(const Graph *g, Fit *f, int q, Lin lo, Lin hi)
{
  if (lin_sign(g, lin_add(hi, lo, -1)) == -1) return;
  if (f->n < (int)(sizeof f->range / sizeof *f->range)) f->range[f->n++] = (FitRange){q, lo, hi};
}

/* The term (or reference) exists for units with lo <= index on axis q <= hi. One of few elements, or of none of the range, is not generic. */
static void fit_range(Walk *w, int q, Lin lo, Lin hi, Fit *f)
{
  const Graph *g = w->g;
  const Unit *u = &w->c->unit;
  if (lin_equal(lo, u->lo[q]) && lin_equal(hi, u->hi[q])) return;
  Lin above = lin_add(hi, u->lo[q], -1), below = lin_add(u->hi[q], lo, -1), length = lin_add(hi, lo, -1);
  bool generic = w->c->merged[q] || u->fixed[q] ||
                 !(lin_is_const(above) || lin_is_const(below) || lin_is_const(length) || lin_sign(g, above) == -1 || lin_sign(g, below) == -1);
  int low = lin_sign(g, lin_add(lo, u->lo[q], -1)), high = lin_sign(g, lin_add(u->hi[q], hi, -1));
  if (generic) {
    if (lin_sign(g, above) == -1 || lin_sign(g, below) == -1) return; /* of another range, joined to this one */
    if (low > 0) add_range(g, f, q, u->lo[q], lin_min(g, lin_add(lo, lin_const(1), -1), u->hi[q]));
    if (high > 0) add_range(g, f, q, lin_max(g, lin_add(hi, lin_const(1), 1), u->lo[q]), u->hi[q]);
    return;
  }
  f->all = true;
  if (lin_sign(g, above) == -1 || lin_sign(g, below) == -1) return;
  f->n = 0;
  add_range(g, f, q, low == 1 || low == 2 ? lo : u->lo[q], high == 1 || high == 2 ? hi : u->hi[q]);
}

/* Forms lo <= place <= hi as a condition on the unit. False: a constant place outside. */
static bool fit_place(Walk *w, At a, Lin lo, Lin hi, Fit *f)
{
  if (a.kind == AT_ABS) return lin_sign(w->g, lin_add(a.off, lo, -1)) != -1 && lin_sign(w->g, lin_add(hi, a.off, -1)) != -1;
  if (a.kind != AT_UNIT) return true;
  if (a.sign > 0) fit_range(w, a.id, lin_add(lo, a.off, -1), lin_add(hi, a.off, -1), f);
  else fit_range(w, a.id, lin_add(a.off, hi, -1), lin_add(a.off, lo, -1), f);
  return true;
}

static bool fit_guard(Walk *w, const GTerm *t, const At *vars, const Guard *guard, Fit *f)
{
  for (int i = 0; i < guard->n; i++) {
    long coef;
    Lin rest;
    int v = lin_var(guard->form[i], &coef, &rest);
    if (v < 0) {
      if (lin_sign(w->g, rest) == -1) return false;
      continue;
    }
    int k = var_slot(t, v);
    Lin other;
    long c2;
    if (k < 0 || labs(coef) != 1 || lin_var(rest, &c2, &other) >= 0) continue;
    At a = at_shift(at_times(vars[k], coef), rest, 1);  /* a >= 0 */
    if (a.kind == AT_ABS && lin_sign(w->g, a.off) == -1) return false;
    if (a.kind != AT_UNIT) continue;
    const Unit *u = &w->c->unit;
    if (a.sign > 0) fit_range(w, a.id, lin_add(lin_const(0), a.off, -1), u->hi[a.id], f);
    else fit_range(w, a.id, u->lo[a.id], a.off, f);
  }
  return true;
}

/* The same exception is met at many nodes: those that are met first, nearest to the unit, stand for all. */
static void push_box(Component *c, const BoundaryBox *box)
{
  int same = 0;
  for (int i = 0; i < c->boundary.n; i++) {
    const BoundaryBox *x = &c->boundary.at[i];
    bool equal = true;
    for (int q = 0; q < c->unit.n && equal; q++)
      equal = x->used[q] == box->used[q] && x->twice[q] == box->twice[q] && (!x->used[q] || (lin_equal(x->lo[q], box->lo[q]) && lin_equal(x->hi[q], box->hi[q])));
    if (equal && (x->from == box->from || ++same == SAME_BOXES)) return;
  }
  VEC_PUSH(c->boundary, *box);
}

/* The least or largest value of a form over the range of its variable in the term. */
static Lin range_end(const GTerm *t, Lin a, bool most)
{
  long coef;
  Lin rest;
  int v = lin_var(a, &coef, &rest), k = v < 0 ? -1 : var_slot(t, v);
  return k < 0 ? a : lin_add(rest, (coef > 0) == most ? t->hi[k] : t->lo[k], coef);
}

/* Does the term with its variables at these places (and the reference with this guard) exist for the generic unit, with `ref` at the places `at`?
 * Where not for all units, says so; `from`: the latent element that is then without it. */
static bool fits(Walk *w, const GTerm *t, const At *vars, const GRef *ref, const At *at, const Guard *guard, int from)
{
  Fit f;
  f.n = 0;
  f.all = false;
  bool possible = true;
  for (int p = 0; at && p < ref->n && possible; p++) /* one of a sum: of those that it, or the longest such sum, runs over */
    if (ref->ix[p].kind == GI_RANGE) possible = fit_place(w, at[p], range_end(t, ref->ix[p].lin, false), range_end(t, ref->ix[p].hi, true), &f);

  for (int k = 0; k < t->n_vars && possible; k++) possible = fit_place(w, vars[k], t->lo[k], t->hi[k], &f);
  if (possible) possible = fit_guard(w, t, vars, guard, &f);
  if (!possible) return false;
  for (int i = 0; i < f.n; i++) {
    BoundaryBox box = {.from = from};
    int q = f.range[i].q;
    box.used[q] = true;
    box.lo[q] = f.range[i].lo;
    box.hi[q] = f.range[i].hi;
    push_box(w->c, &box);
  }
  return !f.all;
}

/* ---- nodes ---------------------------------------------------------------------------------------------------------------------------------- */

static int *node_list(const Walk *w, bool is_term, int id) { return &w->axes->node[is_term ? w->g->families.n + id : id]; }

static int find_node(const Walk *w, bool is_term, int id, int n, const At *at)
{
  const Component *c = w->c;
  for (int i = *node_list(w, is_term, id); i >= 0; i = c->nodes.at[i].next) {
    const CNode *x = &c->nodes.at[i];
    if (is_term && x->const_only) continue;
    bool same = true;
    for (int k = 0; k < n && same; k++) same = at_same_kind(x->at[k], at[k]);
    if (same) return i;
  }
  return -1;
}

/* A node, other than `self`, whose places take in these: free where they are not the same. */
static int find_wider(const Walk *w, bool is_term, int id, int n, const At *at, int self)
{
  const Component *c = w->c;
  for (int i = *node_list(w, is_term, id); i >= 0; i = c->nodes.at[i].next) {
    const CNode *x = &c->nodes.at[i];
    if (x->const_only || i == self) continue;
    bool wider = true;
    for (int k = 0; k < n && wider; k++) wider = x->at[k].kind == AT_FREE || at_same_kind(x->at[k], at[k]);
    if (wider) return i;
  }
  return -1;
}

/* A new node, all zero but for what it is of. */
static int push_node(Walk *w, bool is_term, int id, int n)
{
  Component *c = w->c;
  int *list = node_list(w, is_term, id);
  if (c->nodes.n == c->nodes.cap) vec_grow((void **)&c->nodes.at, &c->nodes.cap, sizeof *c->nodes.at);
  CNode *x = &c->nodes.at[c->nodes.n];
  memset(x, 0, sizeof *x);
  x->is_term = is_term;
  x->id = id;
  x->n = n;
  x->next = *list;
  return *list = c->nodes.n++;
}

static int add_node(Walk *w, bool is_term, int id, int n, const At *at, int parent, int ref)
{
  int node = push_node(w, is_term, id, n);
  CNode *x = &w->c->nodes.at[node];
  x->parent = parent;
  x->ref = ref;
  memcpy(x->at, at, sizeof *at * (size_t)n);
  return node;
}

static int free_places(const CNode *x)
{
  int n = 0;
  for (int p = 0; p < x->n; p++) n += x->at[p].kind == AT_FREE;
  return n;
}

static void enqueue(Walk *w, int node)
{
  int n = free_places(&w->c->nodes.at[node]);
  if (n) VEC_PUSH(w->axes->far[n], node);
  else VEC_PUSH(w->axes->near_, node);
}

/* Does the way between two nodes stay inside the set (no lookup is followed on it)? Both then hold for every member. */
static bool within_set(const Component *c, int a, int b, int origin)
{
  for (int side = 0; side < 2; side++) {
    int other = side ? a : b;
    for (int i = side ? b : a; i >= 0; i = c->nodes.at[i].parent) {
      bool on_both = false, in = false;
      for (int k = other; k >= 0; k = c->nodes.at[k].parent) on_both = on_both || k == i;
      for (int p = 0; p < c->nodes.at[i].n; p++) in = in || (c->nodes.at[i].at[p].kind == AT_ORIGIN && c->nodes.at[i].at[p].id == origin);
      if (!in) return false;
      if (on_both) break;
    }
  }
  return true;
}

/* A node is met again, from `from`: a generator if the offsets differ. True: it is met as another member of a set, and `at` then has free
 * places instead, to go on from: a chain over the members takes in everything; if it leads through the table, the data decide. */
static bool meet_again(Walk *w, int node, At *at, int from, int ref)
{
  Component *c = w->c;
  const CNode *x = &c->nodes.at[node];
  Generator e = {.origin = GEN_CYCLE, .node = node, .from = from, .ref = ref};
  bool set[MAX_AXES] = {false}, any = false, freed = false;
  for (int p = 0; p < x->n; p++) {
    e.met[p] = at[p].off;
    Lin d = lin_add(at[p].off, x->at[p].off, -1);
    if (lin_is_const(d) && !d.c && x->at[p].kind != AT_UNIT) continue;
    if (x->at[p].kind == AT_ORIGIN) {
      if (!within_set(c, node, from, x->at[p].id)) {
        c->crossed = true;
        c->crossed_term = x->is_term ? x->id : c->nodes.at[from].id;
      }
      int axis = x->is_term ? axis_of_var(w->axes, w->g->terms.at[x->id].vars[p]) : axis_of_position(w->axes, x->id, p);
      c->ordered[axis] = freed = true;
      at[p] = at_free();
    }
    if (x->at[p].kind != AT_UNIT) continue;
    int q = x->at[p].id;
    if (x->at[p].sign < 0) d = lin_add(lin_const(0), d, -1);
    if (set[q] && !lin_equal(e.v[q], d)) c->bad_axes = true;
    set[q] = true;
    e.v[q] = d;
    any = any || d.n || d.c;
  }
  if (!any) return freed;
  for (int i = 0; i < c->generators.n; i++) {
    bool same = true;
    for (int q = 0; q < c->unit.n && same; q++) {
      Lin sum = lin_add(c->generators.at[i].v[q], e.v[q], 1);
      same = lin_equal(c->generators.at[i].v[q], e.v[q]) || (lin_is_const(sum) && !sum.c && c->unit.n == 1);
    }
    if (same) return freed;
  }
  VEC_PUSH(c->generators, e);
  return freed;
}

/* An element of a latent family is in the component. */
static void reach_family(Walk *w, int family, int n, At *at, int term_node, int ref)
{
  Component *c = w->c;
  bool constant = false;
  for (int p = 0; p < n; p++) constant = constant || at[p].kind == AT_ABS;
  int node = find_node(w, false, family, n, at), wider = node < 0 ? find_wider(w, false, family, n, at, -1) : -1;
  bool near_ = true;                    /* elements that are tied to the unit come first, and for themselves */
  for (int p = 0; p < n; p++) near_ = near_ && at[p].kind != AT_FREE;
  if (wider >= 0 && (!near_ || c->nodes.at[wider].left)) node = wider;
  if (node >= 0) {
    if (meet_again(w, node, at, term_node, ref)) reach_family(w, family, n, at, term_node, ref);
    return;
  }
  if (constant && w->axes->n_abs[family] >= (ABS_SLACK + w->g->touch[family].n)) { /* a chain that leaves from a constant index: all of the family */
    for (int p = 0; p < n; p++)
      if (at[p].kind == AT_ABS) {
        at[p] = at_free();
        c->ordered[axis_of_position(w->axes, family, p)] = c->loose = true;
      }
    if (find_wider(w, false, family, n, at, -1) >= 0) return;
  }
  w->axes->n_abs[family] += constant;
  enqueue(w, add_node(w, false, family, n, at, term_node, ref));
}

/* `from`: for the unit's own terms, the reference that is the unit; where it is summed over, an entry with the same summation index is met
 * at the unit's place (the weights W[n,m] of sum(m in 1..M: W[n,m] * z[m]) seen from z[m]). */
static Entry make_entry(Walk *w, int term_node, int r, const GRef *from)
{
  Component *c = w->c;
  const GTerm *t = &w->g->terms.at[c->nodes.at[term_node].id];
  const GRef *ref = &t->refs.at[r];
  const At *vars = c->nodes.at[term_node].at;
  Entry e = {.family = ref->family, .n = ref->n, .term_node = term_node, .ref = r};
  for (int p = 0; p < ref->n; p++) {
    e.at[p] = eval(w, t, vars, &ref->ix[p]);
    for (int k = 0; from && k < from->n; k++)
      if (ref->ix[p].kind == GI_RANGE && from->ix[k].kind == GI_RANGE && ref->ix[p].var >= 0 && ref->ix[p].var == from->ix[k].var)
        e.at[p] = at_shift(c->nodes.at[0].at[k], lin_const(ref->ix[p].var_off - from->ix[k].var_off), 1);
    if (e.at[p].kind != AT_FREE) continue;
    if (!ref->ix[p].reduced) {
      if (ref->ix[p].kind == GI_LINEAR || ref->ix[p].kind == GI_TABLE) e.plate_free = true;
    }
    for (int k = 0; k < t->refs.n; k++) /* summed over with a latent variable: what its members carry */
      for (int q = 0; q < t->refs.at[k].n; q++)
        if (t->refs.at[k].latent && ref->ix[p].reduced && ref->ix[p].var >= 0 && t->refs.at[k].ix[q].kind == GI_RANGE &&
            t->refs.at[k].ix[q].var == ref->ix[p].var)
          e.plate_free = true;
  }
  return e;
}

Entry own_entry(const Graph *g, Axes *axes, Component *c, int term_node, int r)
{
  Walk w = {.g = g, .axes = axes, .c = c};
  bool merged[MAX_AXES];
  memcpy(merged, c->merged, sizeof merged);
  memset(c->merged, 0, sizeof c->merged); /* the unit's own row, not all those that the component runs through */
  Entry e = make_entry(&w, term_node, r, &g->terms.at[c->nodes.at[term_node].id].refs.at[c->nodes.at[term_node].ref]);
  memcpy(c->merged, merged, sizeof merged);
  e.own = true;
  return e;
}

static void add_entry(Walk *w, int term_node, int r, bool pinned, bool own, const GRef *from)
{
  Component *c = w->c;
  Entry e = make_entry(w, term_node, r, from);
  e.pinned = pinned;
  e.own = own;
  int *const list = &w->axes->entry[e.family - REF_INDEX];
  for (int i = *list; i >= 0; i = c->entries.at[i].next) {
    Entry *x = &c->entries.at[i];
    if (x->n != e.n || x->pinned != e.pinned) continue;
    bool same = true;
    for (int p = 0; p < e.n && same; p++) same = at_equal(x->at[p], e.at[p]);
    if (!same) continue;
    x->plate_free = x->plate_free || e.plate_free;
    x->own = x->own || e.own;
    return;
  }
  e.next = *list;
  *list = c->entries.n;
  VEC_PUSH(c->entries, e);
}

/* Axes of the unit that places mention. */
static unsigned axes_of(const Component *c, At a, int depth)
{
  if (a.kind == AT_UNIT) return 1u << a.id;
  if (a.kind != AT_ORIGIN || depth > 8) return 0;
  const Origin *o = &c->origins.at[a.id];
  unsigned r = 0;
  for (int i = 0; i < o->n_args; i++)
    if (o->args[i].kind != AT_ORIGIN || o->args[i].id != a.id) r |= axes_of(c, o->args[i], depth + 1);
  return o->set ? r | axes_of(c, o->target, depth + 1) : r;
}

/* A sum over a whole axis: its members can be exchanged. Running sums and windows are not meant. */
static bool is_total(const GIndex *ix)
{
  long coef;
  Lin rest;
  return ix->kind == GI_RANGE && ix->reduced && !ix->ordered && lin_var(ix->lin, &coef, &rest) < 0 && lin_var(ix->hi, &coef, &rest) < 0;
}

/* ... over an axis that the unit has: what the unit alone sums over is its own. */
static bool has_total(const Walk *w, const GRef *ref)
{
  const Unit *u = &w->c->unit;
  for (int p = 0; p < ref->n; p++)
    for (int q = 0; q < u->n && is_total(&ref->ix[p]); q++)
      if (u->runs[q] && axis_of_position(w->axes, ref->family, p) == axis_of_position(w->axes, u->family, q)) return true;
  return false;
}

/* For the reduced graph without hubs: the element tells less of the unit than the term does, or stands in a sum over an axis. */
static bool is_hub(const Walk *w, const GTerm *t, const At *vars, const At *at, const GRef *ref)
{
  unsigned term = 0, element = 0;
  for (int k = 0; k < t->n_vars; k++) term |= axes_of(w->c, vars[k], 0);
  for (int p = 0; p < ref->n; p++) {
    element |= axes_of(w->c, at[p], 0);
    if (ref->ix[p].kind == GI_TABLE && at[p].kind == AT_FREE) element = ~0u; /* another hub for each value of the table */
    if (ref->ix[p].kind == GI_RANGE) element |= axes_of(w->c, eval_linear(t, vars, ref->ix[p].lin), 0) | axes_of(w->c, eval_linear(t, vars, ref->ix[p].hi), 0);
  }
  if (!has_total(w, ref) && !(term & ~element)) return false;
  w->c->hub_axes |= element;
  return true;
}

/* The range that a free place is free in, as far as this term goes: only elements at constant indices ask. */
static void free_range(const GTerm *t, const GIndex *ix, At *a)
{
  long coef;
  Lin rest;
  int v = ix->kind == GI_LINEAR && a->kind == AT_FREE ? lin_var(ix->lin, &coef, &rest) : -1;
  if (v < 0 || coef != 1 || var_slot(t, v) < 0) return;
  a->lo = NEW(At);
  a->hi = NEW(At);
  *a->lo = at_abs(lin_add(t->lo[var_slot(t, v)], rest, 1));
  *a->hi = at_abs(lin_add(t->hi[var_slot(t, v)], rest, 1));
}

/* A sum over a growing part of what there is, and that leaves a growing part out: free places from there on are too many. */
static bool is_part(const Walk *w, const GTerm *t, const GRef *ref, int p)
{
  const GIndex *ix = &ref->ix[p];
  if (ix->kind != GI_RANGE || !is_total(ix)) return false;
  int at = ref->family * MAX_AXES + p;
  Lin below = lin_add(range_end(t, ix->lin, false), w->axes->least[at], -1), above = lin_add(w->axes->most[at], range_end(t, ix->hi, true), -1);
  return (!lin_is_const(below) && lin_sign(w->g, below) != -1) || (!lin_is_const(above) && lin_sign(w->g, above) != -1);
}

static void reach_references(Walk *w, int node, int from_ref, bool own)
{
  Component *c = w->c;
  const GTerm *t = &w->g->terms.at[c->nodes.at[node].id];
  At vars[MAX_AXES];
  memcpy(vars, c->nodes.at[node].at, sizeof vars);
  for (int k = 0; k < t->n_vars; k++)
    for (int r = 0; r < t->refs.n; r++)
      if (vars[k].kind == AT_FREE && t->refs.at[r].family == REF_INDEX) {
        long coef;
        Lin rest;
        const GIndex *ix = &t->refs.at[r].ix[0];
        if (ix->kind == GI_LINEAR && lin_var(ix->lin, &coef, &rest) == t->vars[k]) c->slotted[axis_of_var(w->axes, t->vars[k])] = true;
      }
  for (int k = 0; k < t->n_vars; k++) { /* reached by 2 * k = m: for even m only, and what it couples depends on that */
    const Origin *o = origin_at(c, vars[k]);
    if (!o || !o->set || !o->ix->formula) continue;
    for (int r = 0; r < t->refs.n; r++)
      if (r != from_ref && t->refs.at[r].latent && !(w->o.pinned && w->o.pinned[t->refs.at[r].family])) {
        c->crossed = c->crossed_formula = true;
        c->crossed_term = c->nodes.at[node].id;
      }
  }
  for (int r = 0; r < t->refs.n; r++) {
    const GRef *ref = &t->refs.at[r];
    bool pinned = ref->latent && w->o.pinned && w->o.pinned[ref->family];
    if (r != from_ref && ref->guard.n && !fits(w, t, vars, NULL, NULL, &ref->guard, c->nodes.at[node].parent)) continue; /* the term itself was looked at before */
    if (!ref->latent || pinned) {
      add_entry(w, node, r, pinned, own, NULL);
      if (own) add_entry(w, node, r, pinned, own, &t->refs.at[from_ref]);
      for (int p = 0; p < ref->n && pinned; p++) /* members of a set then differ by the parameters they meet */
        if (eval(w, t, vars, &ref->ix[p]).kind == AT_FREE) c->slotted[axis_of_position(w->axes, ref->family, p)] = true;
      continue;
    }
    At pick[MAX_AXES][2], at[MAX_AXES];
    int n_pick[MAX_AXES], two = -1;
    for (int p = 0; p < ref->n; p++) {
      n_pick[p] = eval_latent(w, t, vars, &ref->ix[p], pick[p]);
      if (n_pick[p] == 2) two = p;
    }
    for (int which = 0; which < (two < 0 ? 1 : 2); which++) {
      bool hub = false;
      for (int p = 0; p < ref->n; p++) {
        at[p] = pick[p][p == two ? which : 0];
        if (w->o.pin_constant && ref->family == c->unit.family && c->unit.runs[p] && at[p].kind == AT_ABS) hub = true;
      }
      if (w->o.no_hubs && is_hub(w, t, vars, at, ref)) hub = true;
      if (hub) {
        if (!w->o.no_hubs) add_entry(w, node, r, true, own, NULL);
        for (int p = 0; p < ref->n; p++)
          if (at[p].kind == AT_FREE && w->o.no_hubs) c->slotted[axis_of_position(w->axes, ref->family, p)] = true;
        continue;
      }
      for (int p = 0; p < ref->n; p++) w->c->loose = w->c->loose || is_part(w, t, ref, p);
      if (w->axes->has_constant[ref->family])
        for (int p = 0; p < ref->n; p++) free_range(t, &ref->ix[p], &at[p]);
      reach_family(w, ref->family, ref->n, at, node, r);
    }
  }
}

/* ---- from an element to a term ------------------------------------------------------------------------------------------------------------------ */

typedef enum { SET_OK, SET_NEVER } SetResult;

/* One more thing known about a plate variable. SET_NEVER: two things that hold together for special units only. */
static SetResult set_var(At *vars, bool *known, int k, At a)
{
  if (known[k] && vars[k].kind != AT_FREE && a.kind != AT_FREE && !at_equal(vars[k], a)) return SET_NEVER;
  if (!known[k] || vars[k].kind == AT_FREE) vars[k] = a;
  known[k] = true;
  return SET_OK;
}

/* The set of values of the term's unknown variables in table(...) with table(...) = target. */
static void open_set(Walk *w, int term, int r, int pos, const GIndex *ix, At target, At *vars, bool *known)
{
  Component *c = w->c;
  const GTerm *t = &w->g->terms.at[term];
  Origin o = {.set = true, .ix = ix, .target = target, .term = term, .ref = r, .pos = pos};
  bool in_table[MAX_AXES] = {false};
  const GIndex *stack[4 * MAX_AXES];
  int n = 0;
  stack[n++] = ix;
  while (n) {
    const GIndex *x = stack[--n];
    for (int i = 0; i < x->n_args && n < 4 * MAX_AXES; i++) stack[n++] = &x->args[i];
    long coef;
    Lin rest;
    int v = x->kind == GI_LINEAR ? lin_var(x->lin, &coef, &rest) : -1, k = v < 0 ? -1 : var_slot(t, v);
    if (k >= 0 && !known[k]) in_table[k] = true;
  }
  for (int k = 0; k < t->n_vars; k++) o.known[k] = known[k] ? vars[k] : at_free();
  int id = -1;
  for (int i = 0; i < c->origins.n && id < 0; i++) {
    const Origin *x = &c->origins.at[i];
    bool same = x->set && x->term == term && x->ref == r && x->pos == pos && at_equal(x->target, target);
    for (int k = 0; k < t->n_vars && same; k++) same = at_equal(x->known[k], o.known[k]);
    if (same) id = i;
  }
  bool fresh = id < 0;
  if (fresh) {
    if (c->origins.n == ORIGIN_MAX) {
      c->crossed = true;
      for (int k = 0; k < t->n_vars; k++)
        if (in_table[k]) set_var(vars, known, k, at_free());
      return;
    }
    id = c->origins.n;
  }
  for (int k = 0; k < t->n_vars; k++)
    if (in_table[k]) {
      vars[k] = (At){.kind = AT_ORIGIN, .id = id, .sub = o.n_bound, .sign = 1};
      known[k] = true;
      o.bound[o.n_bound++] = w->g->vars.at[t->vars[k]].name;
    }
  if (!fresh) return;
  VEC_PUSH(c->origins, o);              /* its number is taken before the arguments are looked up, which mention it */
  At args[MAX_AXES];
  for (int i = 0; i < ix->n_args; i++) args[i] = eval(w, t, vars, &ix->args[i]);
  c->origins.at[id].n_args = ix->n_args;
  memcpy(c->origins.at[id].args, args, sizeof args);
}

/* The places of the term's variables when its reference r is the element at `at`, of node `from`. False: only for special units, or never. */
static bool enter_term(Walk *w, int term, int r, const At *at, At *vars, int from)
{
  const GTerm *t = &w->g->terms.at[term];
  const GRef *ref = &t->refs.at[r];
  bool known[MAX_AXES] = {false};
  BoundaryBox special = {.from = from};
  bool is_special = false, prefix = false;
  for (int p = 0; p < ref->n; p++) {
    const GIndex *ix = &ref->ix[p];
    long coef;
    Lin rest;
    if (ix->kind == GI_LINEAR) {
      int v = lin_var(ix->lin, &coef, &rest);
      if (v >= 0) {
        int k = var_slot(t, v);
        if (k < 0) return false;
        if (set_var(vars, known, k, at_times(at_shift(at[p], rest, -1), coef)) == SET_NEVER) return false;
        continue;
      }
      if (at[p].kind == AT_ABS && !lin_equal(at[p].off, ix->lin)) return false;
      if (at[p].kind == AT_FREE && at[p].lo) /* free, but perhaps not that far */
        w->c->loose = w->c->loose || lin_sign(w->g, lin_add(ix->lin, at[p].lo->off, -1)) == -1 || lin_sign(w->g, lin_add(at[p].hi->off, ix->lin, -1)) == -1;
      if (at[p].kind == AT_UNIT) {
        Lin u = at[p].sign > 0 ? lin_add(ix->lin, at[p].off, -1) : lin_add(at[p].off, ix->lin, -1);
        int q = at[p].id;
        if (lin_sign(w->g, lin_add(u, w->c->unit.lo[q], -1)) == -1 || lin_sign(w->g, lin_add(w->c->unit.hi[q], u, -1)) == -1) return false;
        special.used[q] = is_special = true;
        special.lo[q] = special.hi[q] = u;
      }
      if (at[p].kind == AT_ORIGIN) {    /* is g[n] = 1, is 1 in the set? The data tell; if the term says nothing else, no matter */
        if (t->refs.n == 1) return false;
        w->c->crossed = true;
        w->c->crossed_term = term;
      }
    } else if (ix->kind == GI_RANGE) {
      Lin rest_lo, rest_hi;
      long c_lo = 0, c_hi = 0;
      int lo = lin_var(ix->lin, &c_lo, &rest_lo), hi = lin_var(ix->hi, &c_hi, &rest_hi);
      if (lo >= 0 && lo == hi && c_lo == c_hi) {
        int k = var_slot(t, lo);
        if (k >= 0 && set_var(vars, known, k, at_times(at_shift(at[p], c_hi > 0 ? rest_hi : rest_lo, -1), c_hi)) == SET_NEVER) return false;
      } else if (lo >= 0 || hi >= 0) {  /* z[1..v + c]: of v, no less than the place - c */
        int k = var_slot(t, hi >= 0 ? hi : lo);
        At end = at_times(at_shift(at[p], hi >= 0 ? rest_hi : rest_lo, -1), hi >= 0 ? c_hi : c_lo);
        prefix = true;
        if (k < 0 || known[k] || (at[p].kind != AT_UNIT && at[p].kind != AT_ABS)) continue;
        bool above = (hi >= 0) == ((hi >= 0 ? c_hi : c_lo) > 0);
        vars[k] = at_free();
        vars[k].lo = at_copy(above ? end : at_abs(t->lo[k]));
        vars[k].hi = at_copy(above ? at_abs(t->hi[k]) : end);
      }
    }
  }
  for (int p = 0; p < ref->n; p++)
    if (ref->ix[p].kind == GI_TABLE) {
      At target = at[p];
      if (target.kind == AT_FREE) continue;
      open_set(w, term, r, p, &ref->ix[p], at_shift(target, ref->ix[p].lin, -1), vars, known);
    }
  for (int k = 0; k < t->n_vars; k++)
    if (!known[k] && !vars[k].lo) vars[k] = at_free();
  if (is_special) {
    push_box(w->c, &special);
    return false;
  }
  if (!fits(w, t, vars, ref, at, &ref->guard, from)) return false;
  w->c->prefix = w->c->prefix || prefix;
  return true;
}

static bool only_constant(const GRef *ref, const CNode *x)
{
  for (int p = 0; p < ref->n; p++) {
    long coef;
    Lin rest;
    if (x->glued[p] && (ref->ix[p].kind != GI_LINEAR || lin_var(ref->ix[p].lin, &coef, &rest) >= 0)) return false;
  }
  return true;
}

static void leave_family(Walk *w, int node)
{
  Component *c = w->c;
  CNode x = c->nodes.at[node];
  for (int i = 0; i < w->g->touch[x.id].n; i++) {
    GTouch touch = w->g->touch[x.id].at[i];
    const GTerm *t = &w->g->terms.at[touch.term];
    const GRef *ref = &t->refs.at[touch.ref];
    if (x.const_only && !only_constant(ref, &x)) continue;
    At vars[MAX_AXES] = {0};
    if (!enter_term(w, touch.term, touch.ref, x.at, vars, node)) continue;
    if (w->o.no_hubs && has_total(w, ref)) {
      for (int p = 0; p < ref->n; p++)
        if (!is_total(&ref->ix[p])) c->hub_axes |= axes_of(c, x.at[p], 0);
      continue;
    }
    int at = find_node(w, true, touch.term, t->n_vars, vars);
    bool near_ = true;                  /* terms that are tied to the unit are met for themselves, as elements are */
    for (int k = 0; k < t->n_vars; k++) near_ = near_ && (vars[k].kind == AT_UNIT || vars[k].kind == AT_ABS);
    if (at < 0 && node && !near_) at = find_wider(w, true, touch.term, t->n_vars, vars, -1);
    bool fresh = at < 0;
    if (fresh) at = add_node(w, true, touch.term, t->n_vars, vars, node, touch.ref);
    else if (meet_again(w, at, vars, node, touch.ref)) {
      at = find_wider(w, true, touch.term, t->n_vars, vars, -1);
      fresh = at < 0;
      if (fresh) at = add_node(w, true, touch.term, t->n_vars, vars, node, touch.ref);
    }
    if (!fresh && node == 0) {               /* the unit's own, at another offset or by another reference: its entries count as own */
      bool same = c->nodes.at[at].ref == touch.ref;
      for (int k = 0; k < t->n_vars && same; k++) same = at_equal(c->nodes.at[at].at[k], vars[k]);
      if (!same) {
        at = add_node(w, true, touch.term, t->n_vars, vars, node, touch.ref);
        c->nodes.at[at].const_only = true;
        fresh = true;
      }
    }
    if (fresh) reach_references(w, at, touch.ref, node == 0);
  }
}

/* Families whose reached elements run along an unbounded axis include their elements at constant indices. */
static bool glue_constants(Walk *w)
{
  Component *c = w->c;
  bool added = false, full[MAX_AXES], together[MAX_AXES][MAX_AXES] = {{false}};
  Lattice l = {.dim = c->unit.n};
  for (int i = 0; i < c->generators.n; i++) {
    long v[MAX_AXES] = {0};
    const Generator *e = &c->generators.at[i];
    for (int q = 0; q < c->unit.n; q++) v[q] = e->v[q].n ? 0 : e->v[q].c;
    lattice_add(&l, v);
    for (int q = 0; q < c->unit.n; q++)
      for (int r = 0; r < c->unit.n; r++)
        if (q != r && (e->v[q].n || e->v[q].c) && (e->v[r].n || e->v[r].c)) together[q][r] = true;
  }
  for (int q = 0; q < c->unit.n; q++) {
    full[q] = lattice_has_axis(&l, q);
    for (int r = 0; r < c->unit.n && full[q]; r++) together[q][r] = together[r][q] = false;
  }
  int n = c->nodes.n;
  for (int i = 0; i < n; i++) {
    if (c->nodes.at[i].is_term || c->nodes.at[i].const_only || !w->axes->has_constant[c->nodes.at[i].id]) continue;
    CNode x = c->nodes.at[i];
    for (int k = 0; k < w->g->touch[x.id].n; k++) {
      GTouch touch = w->g->touch[x.id].at[k];
      const GRef *ref = &w->g->terms.at[touch.term].refs.at[touch.ref];
      CNode y = x;
      bool constant = false, possible = true, loose = false, oblique = false;
      for (int p = 0; p < x.n; p++) {
        long coef;
        Lin rest;
        const GIndex *ix = &ref->ix[p];
        if (ix->kind != GI_LINEAR || lin_var(ix->lin, &coef, &rest) >= 0) continue;
        if (x.at[p].kind != AT_UNIT) continue;
        int q = x.at[p].id;
        if (!w->c->merged[q]) possible = false;
        y.at[p] = at_abs(ix->lin);
        y.glued[p] = constant = true;
        for (int r = 0; r < x.n; r++) /* which of them, along an axis that moves with this one, cannot be said */
          if (r != p && x.at[r].kind == AT_UNIT && together[q][x.at[r].id]) y.at[r] = at_free(), loose = oblique = true;
        if (!full[q]) loose = true;
      }
      if (!constant || !possible) continue;
      bool there = false;
      for (int j = 0; j < c->nodes.n && !there; j++) {
        const CNode *z = &c->nodes.at[j];
        there = !z->is_term && z->id == y.id;
        for (int p = 0; p < y.n && there; p++) there = at_same_kind(z->at[p], y.at[p]);
      }
      if (there || find_wider(w, false, y.id, y.n, y.at, -1) >= 0) continue;
      c->loose = c->loose || loose;
      c->oblique = c->oblique || oblique;
      int node = add_node(w, false, y.id, y.n, y.at, -1, -1);
      memcpy(c->nodes.at[node].glued, y.glued, sizeof y.glued);
      c->nodes.at[node].const_only = !oblique;
      enqueue(w, node);
      added = true;
    }
  }
  return added;
}

/* ---- order along free axes -------------------------------------------------------------------------------------------------------------------------- */

/* The root of i, and the value of i less that of the root; the way there is shortened. */
static int find_potential(Potential *u, int i, long *off)
{
  long total = 0;
  int root = i;
  for (; u[root].parent != root; root = u[root].parent) total += u[root].off;
  *off = total;
  while (i != root) {
    Potential old = u[i];
    u[i] = (Potential){root, total};
    total -= old.off;
    i = old.parent;
  }
  return root;
}

/* A cycle of free places with a net offset is a chain hidden in a set. */
static void find_order(Walk *w)
{
  Component *c = w->c;
  bool any = false;
  for (int i = 0; i < c->nodes.n && !any; i++) any = c->nodes.at[i].is_term && free_places(&c->nodes.at[i]);
  if (!any) return;
  w->axes->potential.n = 0;
  for (int i = 0; i < c->nodes.n * MAX_AXES; i++) VEC_PUSH(w->axes->potential, (Potential){i, 0});
  Potential *u = w->axes->potential.at;
  for (int i = 0; i < c->nodes.n; i++) {
    if (!c->nodes.at[i].is_term) continue;
    const CNode *x = &c->nodes.at[i];
    const GTerm *t = &w->g->terms.at[x->id];
    for (int r = 0; r < t->refs.n; r++) {
      const GRef *ref = &t->refs.at[r];
      if (!ref->latent || (w->o.pinned && w->o.pinned[ref->family])) continue;
      At at[MAX_AXES], pick[2];
      for (int p = 0; p < ref->n; p++) {
        int n = eval_latent(w, t, x->at, &ref->ix[p], pick);
        at[p] = pick[0];
        long coef;
        Lin rest;
        int v = ref->ix[p].kind == GI_RANGE ? lin_var(ref->ix[p].lin, &coef, &rest) : -1;
        (void)n;
        if (v >= 0 && at[p].kind == AT_FREE && !lin_equal(ref->ix[p].lin, ref->ix[p].hi)) c->ordered[axis_of_position(w->axes, ref->family, p)] = true;
      }
      int f = find_wider(w, false, ref->family, ref->n, at, -1);
      if (f < 0) continue;
      for (int p = 0; p < ref->n; p++) {
        long coef;
        Lin rest;
        if (at[p].kind != AT_FREE || ref->ix[p].kind != GI_LINEAR) continue;
        int v = lin_var(ref->ix[p].lin, &coef, &rest), k = v < 0 ? -1 : var_slot(t, v);
        if (k < 0 || coef != 1) continue;
        long a, b, d = rest.c;
        bool symbolic = rest.n > 0;     /* place of the family = place of the variable + rest */
        int ra = find_potential(u, f * MAX_AXES + p, &a), rb = find_potential(u, i * MAX_AXES + k, &b);
        if (ra != rb) u[ra] = (Potential){rb, b + d - a};
        else if (symbolic || a != b + d) c->ordered[axis_of_position(w->axes, ref->family, p)] = true;
      }
    }
  }
}

/* ---- mirrors -------------------------------------------------------------------------------------------------------------------------------- */

/* Two elements of one family that are the same for special units only: z[n] and z[T+1-n] where 2n = T+1. */
static void push_mirror(Walk *w, int n, const At *a, const At *b, int from)
{
  BoundaryBox box = {.from = from};
  bool any = false;
  for (int p = 0; p < n; p++) {
    if (at_equal(a[p], b[p]) || a[p].kind == AT_FREE || b[p].kind == AT_FREE) continue;
    if (a[p].kind != AT_UNIT || b[p].kind != AT_UNIT || a[p].id != b[p].id || a[p].sign == b[p].sign) return;
    const At *plus = a[p].sign > 0 ? &a[p] : &b[p], *minus = a[p].sign > 0 ? &b[p] : &a[p];
    Lin twice = lin_add(minus->off, plus->off, -1); /* u + a = b - u */
    int q = a[p].id;
    if (lin_is_const(twice) && twice.c % 2) return;
    if (lin_sign(w->g, lin_add(twice, w->c->unit.lo[q], -2)) == -1 || lin_sign(w->g, lin_add(lin_add(lin_const(0), w->c->unit.hi[q], 2), twice, -1)) == -1) return;
    box.used[q] = box.twice[q] = any = true;
    box.lo[q] = box.hi[q] = twice;
  }
  if (any) push_box(w->c, &box);
}

static void find_mirrors(Walk *w)
{
  const Component *c = w->c;
  for (int i = 0; i < c->nodes.n; i++) {
    const CNode *x = &c->nodes.at[i];
    if (!x->is_term)
      for (int k = x->next; k >= 0; k = c->nodes.at[k].next)
        if (!x->const_only && !c->nodes.at[k].const_only) push_mirror(w, x->n, x->at, c->nodes.at[k].at, i > k ? i : k);
    if (!x->is_term || x->parent != 0) continue;
    const GTerm *t = &w->g->terms.at[x->id];
    for (int r = 0; r < t->refs.n; r++) { /* what the unit's own terms mention beside it may be the unit itself */
      At at[MAX_AXES];
      if (t->refs.at[r].family != c->unit.family) continue;
      for (int p = 0; p < t->refs.at[r].n; p++) at[p] = eval(w, t, x->at, &t->refs.at[r].ix[p]);
      push_mirror(w, c->unit.n, c->nodes.at[0].at, at, 0);
    }
  }
}

/* ---- the walk -------------------------------------------------------------------------------------------------------------------------------------------- */

/* What is close to the unit first, in order; then the widest, which make the narrower ones superfluous. -1: none left. */
static int next_node(Walk *w, int *near_done)
{
  if (*near_done < w->axes->near_.n) return w->axes->near_.at[(*near_done)++];
  for (int k = MAX_AXES; k; k--)
    while (w->axes->far[k].n) {
      int node = w->axes->far[k].at[--w->axes->far[k].n];
      CNode *x = &w->c->nodes.at[node];
      int wider = x->const_only ? -1 : find_wider(w, false, x->id, x->n, x->at, node);
      if (wider < 0) return node;
      At at[MAX_AXES];
      memcpy(at, x->at, sizeof at);
      meet_again(w, wider, at, x->parent, x->ref);
    }
  return -1;
}

/* Components that are done with serve as the next ones: there is one walk per range, and models have hundreds. */
void component_done(Axes *axes, Component *c) { VEC_PUSH(axes->spare, c); }

static Component *walk_once(Walk *w, const Unit *unit, const bool *merged)
{
  const Graph *g = w->g;
  Component *c = w->c = w->axes->spare.n ? w->axes->spare.at[--w->axes->spare.n] : NEW(Component);
  const Component old = *c;             /* zero, or with vectors to fill again */
  memset(c, 0, sizeof *c);
  c->nodes.at = old.nodes.at, c->nodes.cap = old.nodes.cap;
  c->entries.at = old.entries.at, c->entries.cap = old.entries.cap;
  c->origins.at = old.origins.at, c->origins.cap = old.origins.cap;
  c->boundary.at = old.boundary.at, c->boundary.cap = old.boundary.cap;
  c->generators.at = old.generators.at, c->generators.cap = old.generators.cap;
  c->ordered = old.ordered ? old.ordered : NEW_ARRAY(bool, w->axes->n);
  c->slotted = old.slotted ? old.slotted : NEW_ARRAY(bool, w->axes->n);
  memset(c->ordered, 0, (size_t)w->axes->n);
  memset(c->slotted, 0, (size_t)w->axes->n);
  c->g = g;
  c->unit = *unit;
  memcpy(c->merged, merged, sizeof c->merged);
  c->crossed_term = -1;
  memset(w->axes->n_abs, 0, sizeof *w->axes->n_abs * (size_t)g->families.n);
  w->axes->near_.n = 0;
  for (int k = 0; k <= MAX_AXES; k++) w->axes->far[k].n = 0;
  At at[MAX_AXES] = {0};
  for (int p = 0; p < unit->n; p++) at[p] = unit->runs[p] ? (At){.kind = AT_UNIT, .id = p, .sign = 1} : at_abs(unit->at[p]);
  enqueue(w, add_node(w, false, unit->family, unit->n, at, -1, -1));
  bool more = true;
  for (int near_done = 0; more;) {
    int node;
    while ((node = next_node(w, &near_done)) >= 0) {
      c->nodes.at[node].left = true;
      if (!w->o.own_terms || !node) leave_family(w, node);
    }
    more = !w->o.own_terms && glue_constants(w);
  }
  find_order(w);
  find_mirrors(w);
  component_lattice(c, w->axes);
  for (int i = 0; i < c->nodes.n; i++) *node_list(w, c->nodes.at[i].is_term, c->nodes.at[i].id) = -1;
  for (int i = 0; i < c->entries.n; i++) w->axes->entry[c->entries.at[i].family - REF_INDEX] = -1;
  return c;
}

Component *explore(const Graph *g, Axes *axes, const Unit *unit, const ExploreOptions *options)
{
  Walk w = {.g = g, .axes = axes};
  if (options) w.o = *options;
  bool merged[MAX_AXES] = {false};
  for (int round = 0; round <= MAX_AXES; round++) {
    Component *c = walk_once(&w, unit, merged);
    bool again = false;
    for (int q = 0; q < unit->n; q++) {
      bool cycle = false;               /* what the data decide about lookups does not join ranges */
      for (int i = 0; i < c->generators.n; i++)
        cycle = cycle || (c->generators.at[i].origin == GEN_CYCLE && (c->generators.at[i].v[q].n || c->generators.at[i].v[q].c));
      if (c->grows[q] && !merged[q] && (cycle || !c->crossed)) merged[q] = again = true;
    }
    if (!again) return c;
    if (round < MAX_AXES) component_done(axes, c);
  }
  return w.c;
}
