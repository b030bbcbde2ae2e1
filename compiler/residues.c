/* Strides: latent families that are met at z[2*k] split into one vertex per residue class, so that every index is a translation again.
 *
 * In: the graph, with references to latent families at s * v + c. Out: the same graph without strides. docs/analysis.md, section "Strides".
 *
 *   plate n in 1..2*K { latent z[n] ~ ...; }            z of odd n: place u, n = 2u - 1 + 2     z of even n: place u, n = 2u
 *   plate k in 1..K { observed x[k] ~ normal(z[2*k-1] + z[2*k], 1); }     the first at place k - 1, the second at place k
 *
 * Every index position of a latent family and every plate variable of a term has a step, in units of the finest: a reference z[s * v + c] says
 * that a step of v is s steps of z. With L the least common multiple of the steps of all positions and variables that references connect, a
 * position of step a is split into L / a classes, a variable into L / a instances of its term; all of them then advance together.
 * Where no steps fit (z[n] and z[2*n] in one term), where a lookup chooses among the elements, or where the class depends on a size, the strides stay
 * as formulas, which the walk does not see through: the verdict is then `unknown`. */
#include "graph.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STEP      12                /* residue classes of a position */
#define MAX_INSTANCES 64                /* of a term */

typedef struct {
  int parent;
  long num, den;                        /* step of the node = num / den * step of the parent */
} Node;

typedef struct {
  Graph *g;
  int n_positions;                      /* nodes of positions come first: family * GRAPH_MAX_INDEX + position; then term * GRAPH_MAX_INDEX + slot */
  Node *node;
  bool *bad;                            /* per root */
  long *classes;                        /* per node: into how many it is split */
  int *member;                          /* family * GRAPH_MAX_INDEX: list of residue classes made so far (first, linked by next) */
  VEC(int) next;                        /* per family of the graph */
} Split;

static long floor_div(long a, long b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static int find(const Split *s, int i, long *num, long *den)
{
  *num = *den = 1;
  while (s->node[i].parent != i) {
    *num *= s->node[i].num;
    *den *= s->node[i].den;
    long d = gcd(*num, *den);
    *num /= d, *den /= d;
    i = s->node[i].parent;
  }
  return i;
}

/* step of a = times * step of b */
static void relate(Split *s, int a, int b, long times)
{
  long an, ad, bn, bd;
  int ra = find(s, a, &an, &ad), rb = find(s, b, &bn, &bd);
  long num = times * bn * ad, den = bd * an, d = gcd(num, den);
  if (ra != rb) {
    s->node[ra] = (Node){rb, num / d, den / d};
    s->bad[rb] = s->bad[rb] || s->bad[ra];
  } else if (num != den) s->bad[ra] = true;
  if (num / d > 1000 || den / d > 1000) s->bad[rb] = true;
}

static int position_node(const GRef *r, int p) { return r->family * GRAPH_MAX_INDEX + p; }

static int var_node(const Split *s, int term, int var)
{
  const GTerm *t = &s->g->terms.at[term];
  for (int k = 0; k < t->n_vars; k++)
    if (t->vars[k] == var) return s->n_positions + term * GRAPH_MAX_INDEX + k;
  return -1;
}

static bool strided(const GIndex *ix)
{
  long coef;
  Lin rest;
  if (ix->kind != GI_LINEAR && ix->kind != GI_RANGE) return false;
  if (lin_var(ix->lin, &coef, &rest) >= 0 && labs(coef) != 1) return true;
  return ix->kind == GI_RANGE && (ix->step > 1 || (lin_var(ix->hi, &coef, &rest) >= 0 && labs(coef) != 1));
}

static void relate_all(Split *s)
{
  for (int t = 0; t < s->g->terms.n; t++)
    for (int r = 0; r < s->g->terms.at[t].refs.n; r++) {
      const GRef *ref = &s->g->terms.at[t].refs.at[r];
      for (int p = 0; p < ref->n && ref->latent; p++) {
        const GIndex *ix = &ref->ix[p];
        for (int end = 0; end < (ix->kind == GI_RANGE ? 2 : 1); end++) {
          long coef;
          Lin rest;
          int v = ix->kind == GI_LINEAR || ix->kind == GI_RANGE ? lin_var(end ? ix->hi : ix->lin, &coef, &rest) : -1;
          int node = v < 0 ? -1 : var_node(s, t, v);
          if (node >= 0) relate(s, node, position_node(ref, p), labs(coef));
        }
      }
    }
}

/* classes[i] for the nodes of every root: L / step. What the steps of sums ask for is a multiple too. */
static void count_classes(Split *s, int n)
{
  long *least = NEW_ARRAY(long, n), *all = NEW_ARRAY(long, n); /* per root: lcm of denominators; lcm of steps in units of 1 / least */
  long num, den;
  for (int i = 0; i < n; i++) least[i] = all[i] = 1;
  for (int i = 0; i < n; i++) {
    int root = find(s, i, &num, &den);
    least[root] = least[root] / gcd(least[root], den) * den;
    if (least[root] > 1000) s->bad[root] = true, least[root] = 1;
  }
  for (int i = 0; i < n; i++) {
    int root = find(s, i, &num, &den);
    long step = s->bad[root] ? 1 : least[root] / den * num;
    all[root] = all[root] / gcd(all[root], step) * step;
    if (all[root] > 1000) s->bad[root] = true, all[root] = 1;
  }
  for (int t = 0; t < s->g->terms.n; t++)
    for (int r = 0; r < s->g->terms.at[t].refs.n; r++) {
      const GRef *ref = &s->g->terms.at[t].refs.at[r];
      for (int p = 0; p < ref->n && ref->latent; p++) {
        if (ref->ix[p].kind != GI_RANGE || ref->ix[p].step <= 1) continue;
        int root = find(s, position_node(ref, p), &num, &den);
        long step = s->bad[root] ? 1 : least[root] / den * num * ref->ix[p].step;
        all[root] = all[root] / gcd(all[root], step) * step;
        if (all[root] > 1000) s->bad[root] = true, all[root] = 1;
      }
    }
  for (int i = 0; i < n; i++) {
    int root = find(s, i, &num, &den);
    s->classes[i] = s->bad[root] ? 1 : all[root] / (least[root] / den * num);
    if (s->classes[i] > MAX_STEP) s->bad[root] = true;
  }
  for (int i = 0; i < n; i++)
    if (s->bad[find(s, i, &num, &den)]) s->classes[i] = 1;
}

static bool divisible(Lin a, long by)
{
  for (int i = 0; i < a.n; i++)
    if (a.t[i].coef % by) return false;
  return true;
}

/* Classes that cannot be told: a lookup into a split position, a constant whose residue depends on a size; too many instances. Returns
 * whether a root has turned bad. */
static bool find_obstacles(Split *s)
{
  bool found = false;
  for (int t = 0; t < s->g->terms.n; t++) {
    const GTerm *term = &s->g->terms.at[t];
    long num, den, instances = 1;
    bool ragged = false;                /* the range of a variable depends on another one: their classes would have to fit */
    for (int k = 0; k < term->n_vars; k++) {
      const GVar *v = &s->g->vars.at[term->vars[k]];
      long coef;
      Lin rest;
      instances *= s->classes[s->n_positions + t * GRAPH_MAX_INDEX + k];
      ragged = ragged || lin_var(v->lo, &coef, &rest) >= 0 || lin_var(v->hi, &coef, &rest) >= 0;
    }
    for (int k = 0; k < term->n_vars && (instances > MAX_INSTANCES || ragged); k++) {
      int node = s->n_positions + t * GRAPH_MAX_INDEX + k;
      if (s->classes[node] > 1) s->bad[find(s, node, &num, &den)] = found = true;
    }
    for (int r = 0; r < term->refs.n; r++) {
      const GRef *ref = &term->refs.at[r];
      for (int p = 0; p < ref->n && ref->latent; p++) {
        const GIndex *ix = &ref->ix[p];
        long c = s->classes[position_node(ref, p)], coef;
        Lin rest = ix->lin;
        if (c == 1) continue;
        if (ix->kind == GI_LINEAR) lin_var(ix->lin, &coef, &rest);
        bool fine = (ix->kind == GI_LINEAR && divisible(rest, c)) || (ix->kind == GI_RANGE && (ix->step <= 1 || lin_is_const(ix->lin)));
        if (!fine) s->bad[find(s, position_node(ref, p), &num, &den)] = found = true;
      }
    }
  }
  return found;
}

/* ---- rewriting -------------------------------------------------------------------------------------------------------------- */

/* floor(a / by), with a symbol for what is not whole. */
static Lin quotient(Graph *g, Lin a, long by)
{
  Lin whole = lin_const(0), rest = lin_const(a.c);
  for (int i = 0; i < a.n; i++) {
    if (a.t[i].coef % by == 0) whole = lin_add(whole, lin_atom(a.t[i].atom), a.t[i].coef / by);
    else rest = lin_add(rest, lin_atom(a.t[i].atom), a.t[i].coef);
  }
  if (lin_is_const(rest)) return lin_shift(whole, floor_div(rest.c, by));
  long shift = floor_div(rest.c, by);   /* floor((N + 5) / 2) is floor((N + 1) / 2) + 2 */
  rest.c -= shift * by;
  rest = graph_bound(g, rest);
  const char *text = lin_text(g, rest);
  int atom = graph_symbol(g, arena_printf(strpbrk(text, "+-*") ? "floor((%s)/%ld)" : "floor(%s/%ld)", text, by));
  GSymbol *x = &g->symbols.at[~atom];
  if (!x->by) {
    long low = rest.c;
    bool varies = false;
    for (int i = 0; i < rest.n; i++) {
      const GSymbol *y = &g->symbols.at[~rest.t[i].atom];
      varies = varies || y->varies;
      long end = rest.t[i].coef > 0 ? y->min : y->max;
      low = low == LONG_MIN || end == LONG_MIN || end == LONG_MAX ? LONG_MIN : low + rest.t[i].coef * end;
    }
    x->varies = varies;
    x->min = low == LONG_MIN ? LONG_MIN : floor_div(low, by);
    x->of = rest;
    x->by = by;
  }
  return lin_shift(lin_add(whole, lin_atom(atom), 1), shift);
}

static int residue_class(Split *s, int model, const long *step, const long *residue)
{
  for (int i = s->member[model]; i >= 0; i = s->next.at[i])
    if (!memcmp(s->g->families.at[i].residue, residue, sizeof s->g->families.at[i].residue)) return i;
  GFamily f = {.model = model};
  memcpy(f.step, step, sizeof f.step);
  memcpy(f.residue, residue, sizeof f.residue);
  VEC_PUSH(s->g->families, f);
  VEC_PUSH(s->next, s->member[model]);
  return s->member[model] = s->g->families.n - 1;
}

/* The variables of a term: v stands for classes * v + residue in this instance of it. */
typedef struct { int n; int var[GRAPH_MAX_INDEX]; long classes[GRAPH_MAX_INDEX], residue[GRAPH_MAX_INDEX]; } Instance;

static Lin value_of(const Instance *in, int k) { return lin_add(lin_const(in->residue[k]), lin_atom(in->var[k]), in->classes[k]); }

static Lin replace_vars(Lin a, const Instance *in)
{
  for (int k = 0; k < in->n; k++)
    if (in->classes[k] > 1) a = lin_replace(a, in->var[k], value_of(in, k));
  return a;
}

static GIndex replace_index(GIndex ix, const Instance *in)
{
  for (int k = 0; k < in->n; k++)
    if (in->classes[k] > 1) ix = index_replace(ix, in->var[k], value_of(in, k));
  return ix;
}

static Guard replace_guard(Graph *g, Guard guard, const Instance *in)
{
  Guard out = {guard.n, NEW_ARRAY(Lin, guard.n)};
  for (int i = 0; i < guard.n; i++) {
    long coef, c2;
    Lin rest, other, f = replace_vars(guard.form[i], in);
    int v = lin_var(f, &coef, &rest);
    if (v >= 0 && labs(coef) > 1 && lin_var(rest, &c2, &other) < 0) /* c * v + rest >= 0 */
      f = lin_add(quotient(g, rest, labs(coef)), lin_atom(v), coef > 0 ? 1 : -1);
    out.form[i] = f;
  }
  return out;
}

/* The references that one reference becomes: a range takes in elements of several classes. Pushes them; returns their number. */
static int replace_ref(Split *s, const GRef *old, const Instance *in, GTerm *out)
{
  GRef r = *old;
  long step[GRAPH_MAX_INDEX], residue[GRAPH_MAX_INDEX] = {0};
  int range = -1;
  bool split = false;
  r.ix = NEW_ARRAY(GIndex, r.n);
  for (int p = 0; p < r.n; p++) r.ix[p] = replace_index(old->ix[p], in);
  r.guard = replace_guard(s->g, old->guard, in);
  for (int p = 0; p < GRAPH_MAX_INDEX; p++) step[p] = 1;
  for (int p = 0; p < r.n && r.latent; p++) {
    step[p] = s->classes[position_node(old, p)];
    if (step[p] == 1) continue;
    split = true;
    if (r.ix[p].kind == GI_RANGE) {
      range = p;
      continue;
    }
    Lin *f = &r.ix[p].lin;              /* every coefficient is a multiple of the step */
    residue[p] = f->c - step[p] * floor_div(f->c, step[p]);
    *f = quotient(s->g, *f, step[p]);
  }
  if (!split) {
    VEC_PUSH(out->refs, r);
    return 1;
  }
  int n = 0;
  for (long c = 0; c < (range < 0 ? 1 : step[range]); c++) {
    GRef one = r;
    if (range >= 0) {
      const GIndex *ix = &r.ix[range];
      if (ix->step > 1 && (c - ix->lin.c) % gcd(ix->step, step[range])) continue;
      one.ix = NEW_ARRAY(GIndex, r.n);
      memcpy(one.ix, r.ix, sizeof *one.ix * (size_t)r.n);
      residue[range] = c;
      one.ix[range].lin = quotient(s->g, lin_shift(ix->lin, step[range] - 1 - c), step[range]);
      one.ix[range].hi = quotient(s->g, lin_shift(ix->hi, -c), step[range]);
      one.ix[range].step = 0;
      one.ix[range].var = -1;
      if (lin_sign(s->g, lin_add(one.ix[range].hi, one.ix[range].lin, -1)) == -1) continue;
    }
    one.family = residue_class(s, old->family, step, residue);
    VEC_PUSH(out->refs, one);
    n++;
  }
  return n;
}

/* The expression with references renumbered: old number r is now first[r] ... first[r+1]-1. copy: per old node the new one, NULL: none yet. */
static GExpr *replace_expr(const GExpr *e, const int *first, GExpr **copy)
{
  if (!e) return NULL;
  if (copy[e->id]) return copy[e->id];
  GExpr *r = copy[e->id] = NEW(GExpr);
  *r = *e;
  r->id = -1;
  if (e->kind == GE_REF) {
    int n = first[e->ref + 1] - first[e->ref];
    r->ref = first[e->ref];
    if (n == 1) return r;
    *r = (GExpr){.kind = n ? GE_ADD : GE_CONST, .id = -1, .ref = -1, .n = n, .args = NEW_ARRAY(GExpr *, n)};
    for (int i = 0; i < n; i++) {
      r->args[i] = NEW(GExpr);
      *r->args[i] = (GExpr){.kind = GE_REF, .id = -1, .ref = first[e->ref] + i};
    }
    return r;
  }
  r->args = NEW_ARRAY(GExpr *, e->n);
  for (int i = 0; i < e->n; i++) r->args[i] = replace_expr(e->args[i], first, copy);
  return r;
}

/* One instance of a term. False: the range of a variable has none of the class. */
static bool instance(Split *s, const GTerm *old, const Instance *in, GTerm *out)
{
  Graph *g = s->g;
  *out = *old;
  out->lo = NEW_ARRAY(Lin, old->n_vars);
  out->hi = NEW_ARRAY(Lin, old->n_vars);
  for (int k = 0; k < old->n_vars; k++) {
    out->lo[k] = quotient(g, lin_shift(old->lo[k], in->classes[k] - 1 - in->residue[k]), in->classes[k]);
    out->hi[k] = quotient(g, lin_shift(old->hi[k], -in->residue[k]), in->classes[k]);
    if (lin_sign(g, lin_add(out->hi[k], out->lo[k], -1)) == -1) return false;
  }
  int *first = NEW_ARRAY(int, old->refs.n + 1);
  memset(&out->refs, 0, sizeof out->refs);
  for (int r = 0; r < old->refs.n; r++) first[r + 1] = first[r] + replace_ref(s, &old->refs.at[r], in, out);
  GExpr **copy = NEW_ARRAY(GExpr *, old->n_nodes);
  out->value = replace_expr(old->value, first, copy);
  out->args = NEW_ARRAY(GExpr *, old->n_args);
  for (int i = 0; i < old->n_args; i++) out->args[i] = replace_expr(old->args[i], first, copy);
  graph_number_nodes(out);
  return true;
}

static void split_term(Split *s, int term, GTerm old)
{
  Instance in = {.n = old.n_vars};
  for (int k = 0; k < old.n_vars; k++) {
    in.var[k] = old.vars[k];
    in.classes[k] = s->classes[s->n_positions + term * GRAPH_MAX_INDEX + k];
  }
  for (;;) {
    GTerm t;
    if (instance(s, &old, &in, &t)) VEC_PUSH(s->g->terms, t);
    int k = old.n_vars - 1;
    while (k >= 0 && in.residue[k] == in.classes[k] - 1) in.residue[k--] = 0;
    if (k < 0) return;
    in.residue[k]++;
  }
}

/* Strides that stay: as formulas, so that nothing is claimed of them. */
static void leave_formulas(Split *s)
{
  for (int t = 0; t < s->g->terms.n; t++)
    for (int r = 0; r < s->g->terms.at[t].refs.n; r++) {
      GRef *ref = &s->g->terms.at[t].refs.at[r];
      for (int p = 0; p < ref->n && ref->latent; p++) {
        if (!strided(&ref->ix[p]) || s->classes[position_node(ref, p)] > 1) continue;
        if (ref->ix[p].kind == GI_LINEAR) ref->ix[p] = graph_formula(s->g, ref->ix[p].lin);
        else ref->ix[p] = (GIndex){.kind = GI_ANY, .reduced = true, .formula = true};
      }
    }
}

void graph_split_residues(Graph *g)
{
  bool any = false;
  for (int t = 0; t < g->terms.n; t++)
    for (int r = 0; r < g->terms.at[t].refs.n; r++)
      for (int p = 0; p < g->terms.at[t].refs.at[r].n; p++)
        any = any || (g->terms.at[t].refs.at[r].latent && strided(&g->terms.at[t].refs.at[r].ix[p]));
  if (!any) return;
  Split s = {.g = g, .n_positions = g->families.n * GRAPH_MAX_INDEX};
  int n = s.n_positions + g->terms.n * GRAPH_MAX_INDEX;
  s.node = NEW_ARRAY(Node, n);
  s.bad = NEW_ARRAY(bool, n);
  s.classes = NEW_ARRAY(long, n);
  s.member = NEW_ARRAY(int, g->families.n);
  for (int i = 0; i < g->families.n; i++) {
    s.member[i] = -1;
    VEC_PUSH(s.next, -1);
  }
  for (int i = 0; i < n; i++) s.node[i] = (Node){i, 1, 1};
  relate_all(&s);
  do count_classes(&s, n);
  while (find_obstacles(&s));
  leave_formulas(&s);
  int n_terms = g->terms.n;
  GTerm *old = NEW_ARRAY(GTerm, n_terms);
  if (n_terms) memcpy(old, g->terms.at, sizeof *old * (size_t)n_terms);
  g->terms.n = 0;
  for (int t = 0; t < n_terms; t++) split_term(&s, t, old[t]);
}
