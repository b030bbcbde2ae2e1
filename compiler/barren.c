/* Barren elements: latent elements that no observation depends on and that stand in no factor. They are no part of q; kept in it, they would
 * couple their parents, narrow the factors of their neighbours and make these depend on data that the exact posterior ignores.
 *
 * In: the graph. Out: its `pieces`, the boxes of elements of every latent statement that are in q or barren; terms of latent statements for the
 * former only. docs/analysis.md, section "Barren variables".
 *
 *   plate t in 2..T+H { latent z[t] ~ normal(z[t-1], 1); }     in q: t in 2..T
 *   plate t in 1..T { observed x[t] ~ normal(z[t], 1); }       barren: t in T+1..T+H, a forecast
 *
 * What is used is found backwards from observations, factors and globals, as boxes of places per family, until nothing changes; where a chain
 * goes on for ever, its box is widened to the whole range. A box is never too small: what a lookup may mean is all of its family. */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

#define MAX_BOXES    8                  /* of a family; of the pieces of a statement */
#define MAX_GROWTH   6                  /* times that a box may grow along a position before it is widened */

typedef struct { Lin lo[GRAPH_MAX_INDEX], hi[GRAPH_MAX_INDEX]; bool all[GRAPH_MAX_INDEX]; } Box; /* all: whatever there is along the position */
typedef VEC(Box) BoxList;

typedef struct {
  Graph *g;
  BoxList *used;                        /* per family */
  int *growth;                          /* per family and position */
  VEC(int) queue;                       /* families whose boxes have changed, ... */
  bool *queued;
  TouchList *defined;                   /* per family: the terms of its statements, with the reference that is the value */
} Prune;

static bool empty(const Graph *g, Lin lo, Lin hi) { return lin_sign(g, lin_add(hi, lo, -1)) == -1; }

static bool contains(const Graph *g, const Box *a, const Box *b, int n)
{
  for (int p = 0; p < n; p++)
    if (!a->all[p] && (b->all[p] || !lin_at_least(g, b->lo[p], a->lo[p]) || !lin_at_least(g, a->hi[p], b->hi[p]))) return false;
  return true;
}

/* Joins b to a when the union is a box. */
static bool join(Prune *w, int family, Box *a, const Box *b, int n)
{
  const Graph *g = w->g;
  int along = -1;
  for (int p = 0; p < n; p++) {
    if (a->all[p] == b->all[p] && (a->all[p] || (lin_equal(a->lo[p], b->lo[p]) && lin_equal(a->hi[p], b->hi[p])))) continue;
    if (along >= 0 || a->all[p] || b->all[p]) return false;
    along = p;
  }
  if (along < 0) return true;
  Lin near_b = lin_shift(a->hi[along], 1), near_a = lin_shift(b->hi[along], 1);
  if (!lin_at_least(g, near_b, b->lo[along]) || !lin_at_least(g, near_a, a->lo[along])) return false;
  bool low_a = lin_at_least(g, b->lo[along], a->lo[along]), low_b = lin_at_least(g, a->lo[along], b->lo[along]);
  bool high_a = lin_at_least(g, a->hi[along], b->hi[along]), high_b = lin_at_least(g, b->hi[along], a->hi[along]);
  if (!(low_a || low_b) || !(high_a || high_b)) return false;
  if (!low_a) a->lo[along] = b->lo[along];
  if (!high_a) a->hi[along] = b->hi[along];
  if (++w->growth[family * GRAPH_MAX_INDEX + along] > MAX_GROWTH) a->all[along] = true;
  return true;
}

static void use(Prune *w, int family, Box b, int n)
{
  BoxList *list = &w->used[family];
  for (int i = 0; i < list->n; i++)
    if (contains(w->g, &list->at[i], &b, n)) return;
  for (bool joined = true; joined;) {   /* the box grows as long as others join it */
    joined = false;
    for (int i = 0; i < list->n && !joined; i++) {
      Box a = list->at[i];
      if (!contains(w->g, &b, &a, n) && !join(w, family, &b, &a, n)) continue;
      list->at[i] = list->at[--list->n];
      joined = true;
    }
  }
  if (list->n == MAX_BOXES) {
    list->n = 0;
    for (int p = 0; p < n; p++) b.all[p] = true;
  }
  VEC_PUSH(*list, b);
  if (w->queued[family]) return;
  w->queued[family] = true;
  VEC_PUSH(w->queue, family);
}

/* Ends of a form over the ranges of a term's variables. */
static void ends(const GTerm *t, Lin a, const Lin *lo, const Lin *hi, Lin *least, Lin *most)
{
  long coef;
  Lin rest;
  int v = lin_var(a, &coef, &rest);
  *least = *most = a;
  for (int k = 0; k < t->n_vars; k++)
    if (t->vars[k] == v) {
      *least = lin_add(rest, coef > 0 ? lo[k] : hi[k], coef);
      *most = lin_add(rest, coef > 0 ? hi[k] : lo[k], coef);
    }
}

/* Ranges of the variables where the guard holds: forms v + c >= 0 and c - v >= 0. */
static void under_guard(const Graph *g, const GTerm *t, const Guard *guard, Lin *lo, Lin *hi)
{
  for (int i = 0; i < guard->n; i++) {
    long coef, c2;
    Lin rest, other;
    int v = lin_var(guard->form[i], &coef, &rest);
    for (int k = 0; k < t->n_vars; k++) {
      if (t->vars[k] != v || labs(coef) != 1 || lin_var(rest, &c2, &other) >= 0) continue;
      if (coef > 0) lo[k] = lin_max(g, lo[k], lin_add(lin_const(0), rest, -1));
      else hi[k] = lin_min(g, hi[k], rest);
    }
  }
}

/* What the term, over these ranges of its variables, refers to is used; `child`: the reference that is its own value, or -1. */
static void use_references(Prune *w, const GTerm *t, int child, const Lin *from, const Lin *to)
{
  for (int r = 0; r < t->refs.n; r++) {
    const GRef *ref = &t->refs.at[r];
    Box b = {0};
    Lin lo[GRAPH_MAX_INDEX], hi[GRAPH_MAX_INDEX];
    bool none = false;
    if (!ref->latent || r == child) continue;
    for (int k = 0; k < t->n_vars; k++) lo[k] = from[k], hi[k] = to[k];
    under_guard(w->g, t, &ref->guard, lo, hi);
    for (int k = 0; k < t->n_vars; k++) none = none || empty(w->g, lo[k], hi[k]);
    for (int p = 0; p < ref->n; p++) {
      const GIndex *ix = &ref->ix[p];
      Lin end;
      b.all[p] = ix->kind != GI_LINEAR && ix->kind != GI_RANGE;
      if (b.all[p]) continue;
      ends(t, ix->lin, lo, hi, &b.lo[p], &b.hi[p]);
      if (ix->kind == GI_RANGE) ends(t, ix->hi, lo, hi, &end, &b.hi[p]);
      b.lo[p] = graph_bound(w->g, b.lo[p]);
      b.hi[p] = graph_bound(w->g, b.hi[p]);
      none = none || empty(w->g, b.lo[p], b.hi[p]);
    }
    if (!none) use(w, ref->family, b, ref->n);
  }
}

/* The ranges of a latent statement's variables for which its element is in the box. False: none. */
static bool clip(const Graph *g, const GTerm *t, const GRef *value, const Box *b, Lin *lo, Lin *hi)
{
  for (int k = 0; k < t->n_vars; k++) lo[k] = t->lo[k], hi[k] = t->hi[k];
  for (int p = 0; p < value->n; p++) {
    long coef;
    Lin rest;
    int v = lin_var(value->ix[p].lin, &coef, &rest);
    if (b->all[p]) continue;
    if (v < 0 && (empty(g, b->lo[p], rest) || empty(g, rest, b->hi[p]))) return false;
    for (int k = 0; k < t->n_vars; k++) {
      if (t->vars[k] != v) continue;
      lo[k] = lin_max(g, lo[k], lin_add(b->lo[p], rest, -1));
      hi[k] = lin_min(g, hi[k], lin_add(b->hi[p], rest, -1));
      if (empty(g, lo[k], hi[k])) return false;
    }
  }
  return true;
}

static bool is_local(const Graph *g, const GTerm *t)
{
  const Stmt *s = &g->m->stmts.at[t->stmt];
  if (s->kind != ST_LATENT) return false;
  Role role = g->m->families.at[s->family].role;
  return role == ROLE_LOCAL || role == ROLE_MARGINAL;
}

static void find_used(Prune *w)
{
  Graph *g = w->g;
  Lin lo[GRAPH_MAX_INDEX], hi[GRAPH_MAX_INDEX];
  for (int i = 0; i < g->terms.n; i++) {
    const GTerm *t = &g->terms.at[i];
    if (is_local(g, t)) VEC_PUSH(w->defined[t->refs.at[t->value->ref].family], (GTouch){i, t->value->ref});
    else use_references(w, t, -1, t->lo, t->hi);
  }
  for (int done = 0; done < w->queue.n; done++) {
    int f = w->queue.at[done];
    w->queued[f] = false;
    for (int i = 0; i < w->defined[f].n; i++) {
      const GTerm *t = &g->terms.at[w->defined[f].at[i].term];
      int child = w->defined[f].at[i].ref;
      BoxList boxes = w->used[f];       /* a chain may change its own */
      for (int k = 0; k < boxes.n; k++)
        if (clip(g, t, &t->refs.at[child], &boxes.at[k], lo, hi)) use_references(w, t, child, lo, hi);
    }
  }
}

/* ---- pieces -------------------------------------------------------------------------------------------------------------------- */

typedef struct { Lin lo[GRAPH_MAX_INDEX], hi[GRAPH_MAX_INDEX]; } Range; /* of a term's variables */
typedef VEC(Range) RangeList;

/* Pieces of `a` outside b, pushed to out. False: it cannot be said where they end. */
static bool subtract(const Graph *g, const Range *a, const Range *b, int n, RangeList *out)
{
  Range rest = *a;
  for (int k = 0; k < n; k++)
    if (empty(g, b->lo[k], a->hi[k]) || empty(g, a->lo[k], b->hi[k])) {
      VEC_PUSH(*out, rest);
      return true;
    }
  for (int k = 0; k < n; k++)
    for (int end = 0; end < 2; end++) {
      bool inside = end ? lin_at_least(g, b->hi[k], a->hi[k]) : lin_at_least(g, a->lo[k], b->lo[k]);
      bool outside = end ? lin_at_least(g, a->hi[k], b->hi[k]) : lin_at_least(g, b->lo[k], a->lo[k]); /* the piece may be empty */
      if (inside) continue;
      if (!outside) return false;
      Range piece = rest;
      if (end) piece.lo[k] = lin_shift(b->hi[k], 1), rest.hi[k] = b->hi[k];
      else piece.hi[k] = lin_shift(b->lo[k], -1), rest.lo[k] = b->lo[k];
      VEC_PUSH(*out, piece);
    }
  return true;
}

/* What of the statement is used, in boxes that do not overlap, and what is not. False: no boxes can be told, all of it counts as used. */
static bool cut(Prune *w, const GTerm *t, const GRef *value, RangeList *used, RangeList *barren)
{
  Graph *g = w->g;
  Range whole;
  BoxList *boxes = &w->used[value->family];
  for (int k = 0; k < t->n_vars; k++) whole.lo[k] = t->lo[k], whole.hi[k] = t->hi[k];
  VEC_PUSH(*barren, whole);
  for (int i = 0; i < boxes->n; i++) {
    Range r;
    RangeList more = {0}, rest = {0};
    if (!clip(g, t, value, &boxes->at[i], r.lo, r.hi)) continue;
    VEC_PUSH(more, r);
    for (int k = 0; k < used->n; k++) {
      RangeList next = {0};
      for (int q = 0; q < more.n; q++)
        if (!subtract(g, &more.at[q], &used->at[k], t->n_vars, &next)) return false;
      more = next;
    }
    for (int k = 0; k < barren->n; k++)
      if (!subtract(g, &barren->at[k], &r, t->n_vars, &rest)) return false;
    for (int k = 0; k < more.n; k++) VEC_PUSH(*used, more.at[k]);
    *barren = rest;
    if (used->n > MAX_BOXES || barren->n > MAX_BOXES) return false;
  }
  return true;
}

static void put_piece(Graph *g, const GTerm *t, const GRef *value, const Range *r, bool barren)
{
  GPiece x = {.family = value->family, .stmt = t->stmt, .n = value->n, .barren = barren};
  const Stmt *s = &g->m->stmts.at[t->stmt];
  for (int p = 0; p < value->n; p++) {
    long coef;
    Lin rest;
    int v = lin_var(value->ix[p].lin, &coef, &rest);
    x.var[p] = v;
    x.lo[p] = x.hi[p] = value->ix[p].lin;
    for (int k = 0; k < t->n_vars; k++)
      if (t->vars[k] == v) x.lo[p] = lin_add(r->lo[k], rest, 1), x.hi[p] = lin_add(r->hi[k], rest, 1);
    if (v >= 0) x.shift[p] = s->index[p].affine.constant;
    if (lin_equal(x.lo[p], x.hi[p])) x.var[p] = -1;
  }
  VEC_PUSH(g->pieces, x);
}

/* Variables that can have one value only are that value. */
static void fix_single(GTerm *t)
{
  for (int k = 0; k < t->n_vars; k++) {
    if (!lin_equal(t->lo[k], t->hi[k])) continue;
    GRef *refs = NEW_ARRAY(GRef, t->refs.n);
    for (int r = 0; r < t->refs.n; r++) {
      GRef x = t->refs.at[r];
      GIndex *ix = NEW_ARRAY(GIndex, x.n);
      Lin *form = NEW_ARRAY(Lin, x.guard.n);
      for (int p = 0; p < x.n; p++) ix[p] = index_replace(x.ix[p], t->vars[k], t->lo[k]);
      for (int i = 0; i < x.guard.n; i++) form[i] = lin_replace(x.guard.form[i], t->vars[k], t->lo[k]);
      x.ix = ix;
      x.guard.form = form;
      refs[r] = x;
    }
    t->refs.at = refs;
    t->refs.cap = t->refs.n;
  }
}

void graph_prune(Graph *g)
{
  Prune w = {.g = g};
  w.used = NEW_ARRAY(BoxList, g->families.n);
  w.growth = NEW_ARRAY(int, g->families.n * GRAPH_MAX_INDEX);
  w.queued = NEW_ARRAY(bool, g->families.n);
  w.defined = NEW_ARRAY(TouchList, g->families.n);
  find_used(&w);
  int n = g->terms.n;
  GTerm *old = NEW_ARRAY(GTerm, n);
  if (n) memcpy(old, g->terms.at, sizeof *old * (size_t)n);
  g->terms.n = 0;
  for (int i = 0; i < n; i++) {
    GTerm *t = &old[i];
    if (!is_local(g, t)) {
      VEC_PUSH(g->terms, *t);
      continue;
    }
    const GRef *value = &t->refs.at[t->value->ref];
    RangeList used = {0}, barren = {0};
    if (!cut(&w, t, value, &used, &barren)) {
      Range whole;
      for (int k = 0; k < t->n_vars; k++) whole.lo[k] = t->lo[k], whole.hi[k] = t->hi[k];
      used.n = barren.n = 0;
      VEC_PUSH(used, whole);
    }
    for (int k = 0; k < used.n; k++) {
      GTerm x = *t;
      x.lo = NEW_ARRAY(Lin, t->n_vars);
      x.hi = NEW_ARRAY(Lin, t->n_vars);
      memcpy(x.lo, used.at[k].lo, sizeof *x.lo * (size_t)t->n_vars);
      memcpy(x.hi, used.at[k].hi, sizeof *x.hi * (size_t)t->n_vars);
      VEC_PUSH(g->terms, x);
      put_piece(g, t, value, &used.at[k], false);
    }
    for (int k = 0; k < barren.n; k++) put_piece(g, t, value, &barren.at[k], true);
  }
  for (int i = 0; i < g->terms.n; i++) fix_single(&g->terms.at[i]);
}
