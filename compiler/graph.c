/* Model -> Graph: the terms of the log density, with every reference to a random or known element and the index it stands at.
 *
 * In: the resolved model. Out: graph.h. Preparation of the amortisation analysis (docs/analysis.md, "The algorithm", step 0):
 *   - `let` variables are substituted, whatever their index; a recurrent one (let s[t] = f(s[t-1], x[t])) contributes everything its body
 *     mentions, at all earlier elements;
 *   - sum(k in lo..hi: ...) and slices become ranges of the index; short ranges of known length are written out;
 *   - the branches of a condition on indices get guards, so that `n == 1 ? 0 : z[n-1]` has no reference z[0];
 *   - a `factor` is split into its summands, a sum over a range becoming one more plate of its term;
 *   - residues.c and barren.c then see to strides and to elements without observed descendants. */
#include "graph.h"
#include "dist.h"
#include "func.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_OUT_MAX 16                /* longest range of known length that is written out element by element */

/* ---- linear forms --------------------------------------------------------------------------------------------------------- */

Lin lin_const(long c) { return (Lin){.c = c}; }

Lin lin_atom(int atom)
{
  Lin r = {.n = 1, .t = NEW(LinTerm)};
  r.t[0] = (LinTerm){atom, 1};
  return r;
}

Lin lin_add(Lin a, Lin b, long times)
{
  if (!b.n) return (Lin){a.c + times * b.c, a.n, a.t}; /* terms are never changed: they may be shared */
  if (!a.n && times == 1) return (Lin){a.c + b.c, b.n, b.t};
  Lin r = {.c = a.c + times * b.c, .t = a.n + b.n ? NEW_ARRAY(LinTerm, a.n + b.n) : NULL};
  for (int i = 0, j = 0; i < a.n || j < b.n;) {
    LinTerm t;
    if (j == b.n || (i < a.n && a.t[i].atom < b.t[j].atom)) t = a.t[i++];
    else if (i == a.n || b.t[j].atom < a.t[i].atom) t = (LinTerm){b.t[j].atom, times * b.t[j].coef}, j++;
    else t = (LinTerm){a.t[i].atom, a.t[i].coef + times * b.t[j].coef}, i++, j++;
    if (t.coef) r.t[r.n++] = t;
  }
  return r;
}

Lin lin_shift(Lin a, long c) { return (Lin){a.c + c, a.n, a.t}; }

bool lin_equal(Lin a, Lin b)
{
  if (a.c != b.c || a.n != b.n) return false;
  for (int i = 0; i < a.n; i++)
    if (a.t[i].atom != b.t[i].atom || a.t[i].coef != b.t[i].coef) return false;
  return true;
}

/* Replaces atom by value. */
Lin lin_replace(Lin a, int atom, Lin value)
{
  for (int i = 0; i < a.n; i++)
    if (a.t[i].atom == atom) {
      Lin one = lin_atom(atom);
      return lin_add(lin_add(a, one, -a.t[i].coef), value, a.t[i].coef);
    }
  return a;
}

int lin_var(Lin a, long *coef, Lin *rest)
{
  *rest = a;
  if (!a.n || a.t[a.n - 1].atom < 0) return -1;
  rest->n--;
  *coef = a.t[a.n - 1].coef;
  return a.t[a.n - 1].atom;
}

static Name atom_name(const Graph *g, int atom) { return atom >= 0 ? g->vars.at[atom].name : g->symbols.at[~atom].name; }

static void lin_print_terms(const Graph *g, Lin a, bool positive, bool *first, StrBuf *b)
{
  for (int k = 0; k < 2; k++)           /* variables, then symbols in the order they were met */
    for (int i = k ? a.n - 1 : 0; k ? i >= 0 : i < a.n; k ? i-- : i++) {
      LinTerm t = a.t[i];
      if ((t.atom < 0) != k || (t.coef > 0) != positive) continue;
      if (!*first || !positive) sb_putc(b, positive ? '+' : '-');
      if (labs(t.coef) != 1) sb_printf(b, "%ld*", labs(t.coef));
      sb_puts(b, atom_name(g, t.atom));
      *first = false;
    }
}

const char *lin_text(const Graph *g, Lin a)
{
  StrBuf b = {0};
  bool first = true, variable = a.n && a.t[a.n - 1].atom >= 0;
  lin_print_terms(g, a, true, &first, &b);
  bool negative_variable = false;       /* T+1-t, but t-K+1 */
  for (int i = 0; i < a.n; i++) negative_variable = negative_variable || (a.t[i].atom >= 0 && a.t[i].coef < 0);
  if (a.c > 0 && (first ? !variable || negative_variable : negative_variable)) {
    sb_printf(&b, first ? "%ld" : "%+ld", a.c);
    first = false;
    a.c = 0;
  }
  lin_print_terms(g, a, false, &first, &b);
  if (first) return arena_printf("%ld", a.c);
  if (a.c) sb_printf(&b, "%+ld", a.c);
  return sb_text(&b);
}

/* Least value of the form over the bounds of its symbols; false when there is none. */
static bool lin_minimum(const Graph *g, Lin a, long *min)
{
  *min = a.c;
  for (int i = 0; i < a.n; i++) {
    if (a.t[i].atom >= 0) return false;
    const GSymbol *s = &g->symbols.at[~a.t[i].atom];
    long end = a.t[i].coef > 0 ? s->min : s->max;
    if (end == LONG_MIN || end == LONG_MAX) return false;
    *min += a.t[i].coef * end;
  }
  return true;
}

static bool lin_positive(const Graph *g, Lin a)
{
  long low;
  if (lin_minimum(g, a, &low) && low > 0) return true;
  for (int i = 0; i < g->lengths.n; i++)
    if (lin_minimum(g, lin_add(a, g->lengths.at[i], -1), &low) && low > 0) return true;
  for (int i = 0; i < a.n && a.t[i].atom < 0; i++) { /* of - by < by * floor(of / by) <= of */
    GSymbol s = g->symbols.at[~a.t[i].atom];
    long c = a.t[i].coef;
    if (!s.by) continue;
    Lin b = lin_add(lin_add(lin_const(0), lin_add(a, lin_atom(a.t[i].atom), -c), s.by), s.of, c);
    return lin_positive(g, c > 0 ? lin_shift(b, c * (1 - s.by)) : b);
  }
  return false;
}

int lin_sign(const Graph *g, Lin a)
{
  if (lin_is_const(a)) return a.c > 0 ? 1 : a.c < 0 ? -1 : 0;
  if (lin_positive(g, a)) return 1;
  return lin_positive(g, lin_add(lin_const(0), a, -1)) ? -1 : 2;
}

bool lin_at_least(const Graph *g, Lin a, Lin b) { return lin_sign(g, lin_shift(lin_add(a, b, -1), 1)) == 1; }
Lin lin_max(const Graph *g, Lin a, Lin b) { return lin_at_least(g, b, a) ? b : a; }
Lin lin_min(const Graph *g, Lin a, Lin b) { return lin_at_least(g, a, b) ? b : a; }

int graph_symbol(Graph *g, const char *text)
{
  Name name = intern(text);
  for (int i = 0; i < g->symbols.n; i++)
    if (g->symbols.at[i].name == name) return ~i;
  GSymbol s = {.name = name, .min = 1, .max = LONG_MAX};
  for (int f = 0; f < g->m->families.n; f++) {
    const Family *x = &g->m->families.at[f];
    if (x->name != name || x->role != ROLE_INPUT || x->n_index || x->type.kind != TY_INT) continue;
    if (x->type.lower) mexpr_const_int(x->type.lower, &s.min);
    if (x->type.upper) mexpr_const_int(x->type.upper, &s.max);
  }
  for (int v = 0; v < g->m->vars.n; v++) { /* an outer variable, in the bound of a ragged plate */
    const Var *x = &g->m->vars.at[v];
    long lo;
    if (x->name != name || !x->lo) continue;
    s.varies = true;
    if (!mexpr_const_int(x->lo, &lo)) s.min = LONG_MIN;
    else if (lo < s.min) s.min = lo;
  }
  VEC_PUSH(g->symbols, s);
  return ~(g->symbols.n - 1);
}

Lin graph_bound(Graph *g, Lin a)
{
  Lin r = a, rest;
  long coef;
  for (int v; (v = lin_var(r, &coef, &rest)) >= 0;) r = lin_add(rest, lin_atom(graph_symbol(g, g->vars.at[v].name)), coef);
  return r;
}

/* ---- building ---------------------------------------------------------------------------------------------------------------- */

/* A let at indices, in circumstances under which it stands for the same again. Without this, lets that mention others twice, and so on, take
 * time exponential in their number. */
typedef struct {
  int family, next;                     /* next: the use of the same family before this one, -1 */
  int n;
  GIndex key[GRAPH_MAX_INDEX];          /* its indices; of a let without an index, what the variables of its plates stand for */
  Guard guard;
  bool in_condition, symmetric;
  int along, expansion;
  GExpr *value;
} LetUse;

typedef struct {
  Graph *g;
  const Model *m;
  GIndex **subst;                       /* per variable of the model: what it stands for now; NULL: itself */
  VEC(bool) is_plate;
  GTerm *term;
  Guard guard;                          /* of the current place */
  bool *recurrent;                      /* per family: a let that looks back at itself */
  bool *inside;                         /* per family: its recurrence is being expanded */
  int expansion, n_expansions;          /* number of the outermost recurrence that is being expanded, 0 outside; how many there were */
  VEC(LetUse) uses;                     /* what the lets met in this term stand for, and ... */
  int *last_use;                        /* ... per family the last of them, -1 */
  bool in_condition;
  bool symmetric;                       /* inside sum(...), mean(...): the order of a slice does not matter */
  int along;                            /* plate variable 1..length over the entries of an element-wise statement, -1 outside */
} Build;

static GIndex index_linear(Lin a) { return (GIndex){.kind = GI_LINEAR, .lin = a}; }

static int new_var(Build *b, Name name, Lin lo, Lin hi, Span span, bool plate)
{
  VEC_PUSH(b->g->vars, (GVar){name, lo, hi, span});
  VEC_PUSH(b->is_plate, plate);
  return b->g->vars.n - 1;
}

/* Number of variables in a form; *at the last one. Symbols are negative atoms and sort first. */
static int lin_vars(Lin a, LinTerm *at)
{
  int n = 0;
  for (int i = 0; i < a.n; i++)
    if (a.t[i].atom >= 0) n++, *at = a.t[i];
  return n;
}

/* Text of an expression of variables as a function: each variable's name replaced by \k; the variables in order of appearance. */
static const char *formula_text(const char *text, const Name *names, int n_names, int *order, int *n_order)
{
  StrBuf out = {0};
  *n_order = 0;
  for (const char *p = text; *p;) {
    int k = 0;
    while (p[k] == '_' || (p[k] >= 'a' && p[k] <= 'z') || (p[k] >= 'A' && p[k] <= 'Z') || (k && p[k] >= '0' && p[k] <= '9')) k++;
    if (!k) {
      sb_putc(&out, *p++);
      continue;
    }
    Name name = intern_n(p, (size_t)k);
    int v = 0;
    while (v < n_names && names[v] != name) v++;
    if (v == n_names) sb_puts(&out, name);
    else {
      int at = 0;
      while (at < *n_order && order[at] != v) at++;
      if (at == *n_order) order[(*n_order)++] = v;
      sb_printf(&out, "\\%d", at + 1);
    }
    p += k;
  }
  return intern(sb_text(&out));
}

GIndex graph_formula(Graph *g, Lin a)
{
  GIndex r = {.kind = GI_TABLE, .formula = true};
  StrBuf text = {0};
  VEC(GIndex) args = {0};
  for (int i = 0; i < a.n; i++)
    if (a.t[i].atom >= 0) {
      long c = a.t[i].coef;
      sb_printf(&text, c < 0 ? "-" : text.length ? "+" : "");
      if (labs(c) != 1) sb_printf(&text, "%ld*", labs(c));
      VEC_PUSH(args, index_linear(lin_atom(a.t[i].atom)));
      sb_printf(&text, "\\%d", args.n);
    }
  Lin rest = lin_const(0);
  for (int i = 0; i < a.n; i++)
    if (a.t[i].atom < 0) rest = lin_add(rest, lin_atom(a.t[i].atom), a.t[i].coef);
  if (rest.n) {
    const char *s = lin_text(g, rest);
    sb_printf(&text, "%s%s", *s == '-' ? "" : "+", s);
  }
  r.lin = lin_const(a.c);
  r.table = intern(sb_text(&text));
  r.n_args = args.n;
  r.args = args.at;
  return r;
}

/* Reduction variables eliminated (they make ranges), forms with several variables turned into functions of them. */
static GIndex index_normal(Build *b, Lin a)
{
  Lin lo = a, hi = a;
  bool reduced = false;
  long step = 0;
  for (int round = 0; round < 2 * GRAPH_MAX_INDEX; round++) {
    bool found = false;
    for (int side = 0; side < 2; side++) {
      Lin *f = side ? &hi : &lo;
      for (int i = 0; i < f->n; i++) {
        LinTerm t = f->t[i];
        if (t.atom < 0 || b->is_plate.at[t.atom]) continue;
        const GVar *v = &b->g->vars.at[t.atom];
        *f = lin_replace(*f, t.atom, (t.coef > 0) == (side == 1) ? v->hi : v->lo);
        step = !reduced || step == labs(t.coef) ? labs(t.coef) : 1;
        found = reduced = true;
        break;
      }
    }
    if (!found) break;
  }
  LinTerm t = {0};
  if (!reduced) {
    return lin_vars(a, &t) > 1 ? graph_formula(b->g, a) : index_linear(a);
  }
  if (lin_vars(lo, &t) > 1 || lin_vars(hi, &t) > 1) return (GIndex){.kind = GI_ANY, .reduced = true};
  bool bare = lin_vars(a, &t) == 1 && t.coef == 1 && a.n == 1;
  return (GIndex){.kind = GI_RANGE, .lin = lo, .hi = hi, .step = step > 1 ? step : 0, .reduced = true, .var = bare ? t.atom : -1, .var_off = a.c};
}

GIndex index_replace(GIndex ix, int var, Lin by)
{
  ix.lin = lin_replace(ix.lin, var, by);
  if (ix.kind == GI_RANGE) ix.hi = lin_replace(ix.hi, var, by);
  GIndex *args = NEW_ARRAY(GIndex, ix.n_args);
  for (int i = 0; i < ix.n_args; i++) args[i] = index_replace(ix.args[i], var, by);
  ix.args = args;
  return ix;
}

/* ---- expressions ----------------------------------------------------------------------------------------------------------------- */

static GExpr *visit(Build *b, const MExpr *e);

static GExpr *ge_new(GExprKind kind, int n, GExpr **args)
{
  GExpr *e = NEW(GExpr);
  *e = (GExpr){.kind = kind, .id = -1, .ref = -1, .n = n, .args = args};
  return e;
}

static GExpr *ge_two(GExprKind kind, GExpr *a, GExpr *b)
{
  GExpr **args = NEW_ARRAY(GExpr *, 2);
  args[0] = a;
  args[1] = b;
  return ge_new(kind, 2, args);
}

static bool index_equal(const GIndex *a, const GIndex *b)
{
  if (a->kind != b->kind || a->reduced != b->reduced || a->table != b->table || a->n_args != b->n_args) return false;
  if (!lin_equal(a->lin, b->lin) || !lin_equal(a->hi, b->hi) || a->step != b->step) return false;
  for (int i = 0; i < a->n_args; i++)
    if (!index_equal(&a->args[i], &b->args[i])) return false;
  return true;
}

static bool guard_equal(Guard a, Guard b)
{
  if (a.n != b.n) return false;
  for (int k = 0; k < a.n; k++)
    if (!lin_equal(a.form[k], b.form[k])) return false;
  return true;
}

static int add_ref(Build *b, GRef r)
{
  GTerm *t = b->term;
  for (int i = 0; i < t->refs.n; i++) {
    GRef *q = &t->refs.at[i];
    if (q->family != r.family || q->n != r.n || !guard_equal(q->guard, r.guard)) continue;
    bool same = true;
    for (int k = 0; k < r.n && same; k++) same = index_equal(&q->ix[k], &r.ix[k]);
    if (!same) continue;
    q->selector = q->selector && r.selector;
    return i;
  }
  VEC_PUSH(t->refs, r);
  return t->refs.n - 1;
}

static GExpr *ge_ref(Build *b, GRef r)
{
  GExpr *e = ge_new(GE_REF, 0, NULL);
  e->ref = add_ref(b, r);
  return e;
}

static Lin lin_of_affine(Build *b, const Affine *a, bool *ok, GIndex *other);

/* The index that an integer expression stands for; its lookups are recorded as references, as selectors if `selector`. */
static GIndex visit_index_expr(Build *b, const MExpr *e, bool selector)
{
  Affine a;
  if (mexpr_affine(b->m, e, &a)) {
    bool ok = true;
    GIndex other;
    Lin f = lin_of_affine(b, &a, &ok, &other);
    return ok ? index_normal(b, f) : other;
  }
  if (e->kind == M_BINARY && (e->op == OP_ADD || e->op == OP_SUB)) {  /* lookup + constant */
    long c;
    bool right = mexpr_const_int(e->args[1], &c);
    if (right || (e->op == OP_ADD && mexpr_const_int(e->args[0], &c))) {
      GIndex r = visit_index_expr(b, e->args[right ? 0 : 1], selector);
      if (r.kind == GI_TABLE || r.kind == GI_LINEAR) r.lin.c += e->op == OP_SUB ? -c : c;
      if (r.kind != GI_RANGE) return r;
    }
  }
  if (e->kind == M_REF && !e->n_entry) {
    const Family *f = &b->m->families.at[e->family];
    if (f->role == ROLE_LET || e->n_index == 0) {
      visit(b, e);
      return (GIndex){.kind = GI_ANY};
    }
    GIndex *ix = NEW_ARRAY(GIndex, e->n_index);
    StrBuf text = {0};
    sb_printf(&text, "%s[", f->name);
    bool known = f->role == ROLE_INPUT || f->role == ROLE_OBSERVED, whole = false;
    for (int k = 0; k < e->n_index; k++) {
      if (e->index[k].kind == IX_SLICE) return (GIndex){.kind = GI_ANY};
      ix[k] = visit_index_expr(b, e->index[k].expr, selector);
      if (e->index[k].kind == IX_LOOKUP && ix[k].kind == GI_TABLE) ix[k].lin.c += e->index[k].shift;
      whole = whole || ix[k].kind == GI_ANY || ix[k].kind == GI_RANGE;
      sb_printf(&text, "%s\\%d", k ? "," : "", k + 1);
    }
    sb_putc(&text, ']');
    bool latent = f->role == ROLE_LOCAL || f->role == ROLE_MARGINAL;
    if (f->role != ROLE_GLOBAL && f->role != ROLE_PARAM)
      add_ref(b, (GRef){.family = e->family, .n = e->n_index, .ix = ix, .latent = latent, .selector = selector && known,
                        .guard = b->guard, .span = e->span});
    if (!known || whole) return (GIndex){.kind = GI_ANY, .reduced = whole};
    return (GIndex){.kind = GI_TABLE, .table = intern(sb_text(&text)), .family = e->family, .n_args = e->n_index, .args = ix};
  }
  /* Any other expression: a function of the variables in it, if that is all there is. */
  RefList refs = {0};
  mexpr_refs(e, &refs);
  bool known = true;
  for (int i = 0; i < refs.n; i++) {
    Role role = b->m->families.at[refs.at[i]->family].role;
    if (role == ROLE_INPUT && refs.at[i]->n_index == 0) continue;
    if (role != ROLE_INPUT && role != ROLE_OBSERVED) known = false;
    if (refs.at[i]->n_index) visit(b, refs.at[i]);
  }
  if (!known) return (GIndex){.kind = GI_ANY};
  int n_names = b->m->vars.n, n_order, *order = NEW_ARRAY(int, n_names + 1);
  Name *names = NEW_ARRAY(Name, n_names + 1);
  for (int i = 0; i < n_names; i++) names[i] = b->m->vars.at[i].name;
  const char *table = formula_text(mexpr_text(b->m, e), names, n_names, order, &n_order);
  GIndex *args = NEW_ARRAY(GIndex, n_order);
  for (int i = 0; i < n_order; i++) {
    int v = order[i];                   /* of two variables with one name, the one that the expression means is in scope: any has its name */
    args[i] = b->subst[v] ? *b->subst[v] : index_normal(b, lin_atom(v));
    if (args[i].kind == GI_ANY || args[i].kind == GI_RANGE) return (GIndex){.kind = GI_ANY, .reduced = true};
  }
  return (GIndex){.kind = GI_TABLE, .table = table, .formula = refs.n == 0, .n_args = n_order, .args = args};
}

/* The substituted form; when a variable stands for something that is no form: !*ok, and the index in *other. */
static Lin lin_of_affine(Build *b, const Affine *a, bool *ok, GIndex *other)
{
  Lin r = lin_const(a->constant);
  for (int i = 0; i < a->n; i++) {
    const AffineTerm *t = &a->term[i];
    if (t->kind == ATOM_INPUT) {
      r = lin_add(r, lin_atom(graph_symbol(b->g, b->m->families.at[t->id].name)), t->coef);
      continue;
    }
    const GIndex *s = b->subst[t->id];
    if (!s) r = lin_add(r, lin_atom(t->id), t->coef);
    else if (s->kind == GI_LINEAR) r = lin_add(r, s->lin, t->coef);
    else {
      *ok = false;
      *other = *s;
      if (a->n == 1 && t->coef == 1) {
        other->lin.c += a->constant;
        if (s->kind == GI_RANGE) other->hi.c += a->constant;
      } else *other = (GIndex){.kind = GI_ANY, .reduced = s->reduced};
      return r;
    }
  }
  return r;
}

/* Bound of a plate or reduction as a form: what is not affine is a symbol. */
static Lin bound_lin(Build *b, const MExpr *e)
{
  Affine a;
  if (mexpr_affine(b->m, e, &a)) {
    bool ok = true;
    GIndex other;
    Lin f = lin_of_affine(b, &a, &ok, &other);
    if (ok) return f;
  }
  int atom = graph_symbol(b->g, mexpr_text(b->m, e));
  b->g->symbols.at[~atom].expr = e;
  b->g->symbols.at[~atom].varies = mexpr_has_var(e);
  return lin_atom(atom);
}

static GIndex visit_index(Build *b, const Index *ix, bool selector)
{
  if (ix->kind == IX_SLICE && b->along >= 0) { /* y ~ normal(z[lo..hi], s): entry e meets z[lo+e-1] */
    Affine from;
    if (mexpr_affine(b->m, ix->lo, &from)) {
      Lin at = lin_add(bound_lin(b, ix->lo), lin_atom(b->along), 1);
      return index_normal(b, lin_add(at, lin_const(1), -1));
    }
  }
  if (ix->kind != IX_SLICE) {
    GIndex r = visit_index_expr(b, ix->expr, selector);
    if (ix->kind == IX_LOOKUP && (r.kind == GI_TABLE || r.kind == GI_LINEAR)) r.lin.c += ix->shift;
    return r;
  }
  Affine lo, hi;
  if (!mexpr_affine(b->m, ix->lo, &lo) || !mexpr_affine(b->m, ix->hi, &hi)) return (GIndex){.kind = GI_ANY, .reduced = true};
  int v = new_var(b, intern("slice"), bound_lin(b, ix->lo), bound_lin(b, ix->hi), ix->span, false);
  GIndex r = index_normal(b, lin_atom(v));
  r.ordered = !b->symmetric;
  return r;
}

/* Guards: form >= 0 for the rest of the visit; the old guard is returned. */
static Guard guard_with(Build *b, Lin form)
{
  Guard old = b->guard;
  Lin *forms = NEW_ARRAY(Lin, old.n + 1);
  for (int i = 0; i < old.n; i++) forms[i] = old.form[i];
  forms[old.n] = form;
  b->guard = (Guard){old.n + 1, forms};
  return old;
}

/* What the condition (or, negated, its opposite) says about indices is added to the guard. */
static void guard_condition(Build *b, const MExpr *c, bool negated)
{
  if (c->kind == M_UNARY && c->op == OP_NOT) {
    guard_condition(b, c->args[0], !negated);
    return;
  }
  if (c->kind != M_BINARY) return;
  if (c->op == (negated ? OP_OR : OP_AND)) {
    guard_condition(b, c->args[0], negated);
    guard_condition(b, c->args[1], negated);
    return;
  }
  Affine x, y;
  if (!mexpr_affine(b->m, c->args[0], &x) || !mexpr_affine(b->m, c->args[1], &y)) return;
  bool ok = true;
  GIndex other;
  Lin d = lin_add(lin_of_affine(b, &x, &ok, &other), lin_of_affine(b, &y, &ok, &other), -1);
  if (!ok) return;
  Lin minus = lin_add(lin_const(0), d, -1);
  OpKind op = c->op;
  if (negated) op = op == OP_LT ? OP_GE : op == OP_LE ? OP_GT : op == OP_GT ? OP_LE : op == OP_GE ? OP_LT : op == OP_EQ ? OP_NE : OP_EQ;
  if (op == OP_GE || op == OP_EQ) guard_with(b, d);
  if (op == OP_LE || op == OP_EQ) guard_with(b, minus);
  if (op == OP_NE && d.n == 1 && d.t[0].atom >= 0 && labs(d.t[0].coef) == 1) { /* n != 1 is n >= 2 where n starts at 1 */
    const GVar *v = &b->g->vars.at[d.t[0].atom];
    Lin first = lin_replace(d, d.t[0].atom, v->lo), last = lin_replace(d, d.t[0].atom, v->hi);
    bool up = d.t[0].coef > 0;
    if (lin_is_const(first) && !first.c) guard_with(b, lin_add(up ? d : minus, lin_const(1), -1));
    if (lin_is_const(last) && !last.c) guard_with(b, lin_add(up ? minus : d, lin_const(1), -1));
  }
  if (op == OP_GT) guard_with(b, lin_add(d, lin_const(1), -1));
  if (op == OP_LT) guard_with(b, lin_add(minus, lin_const(1), -1));
}

/* Does position k of a use of a global family choose among its elements by something known that varies? Then that something is an input. */
static GExpr *visit_slots(Build *b, const MExpr *e)
{
  VEC(GExpr *) slots = {0};
  for (int side = 0; side < 2; side++) {
    int n = side ? e->n_entry : e->n_index;
    const Index *index = side ? e->entry : e->index;
    for (int k = 0; k < n; k++) {
      int before = b->term->refs.n;
      GIndex ix = visit_index(b, &index[k], false);
      for (int r = before; r < b->term->refs.n; r++) {
        GExpr *s = ge_new(GE_REF, 0, NULL);
        s->ref = r;
        VEC_PUSH(slots, s);
      }
      LinTerm t;
      bool varies = ix.kind == GI_TABLE ? ix.formula : ix.kind == GI_LINEAR ? lin_vars(ix.lin, &t) > 0 : ix.kind == GI_RANGE;
      if (ix.kind == GI_TABLE && !ix.formula && ix.n_args)  /* perhaps met before as a mere selector */
        VEC_PUSH(slots, ge_ref(b, (GRef){.family = ix.family, .n = ix.n_args, .ix = ix.args, .guard = b->guard, .span = e->span}));
      if (!varies) continue;
      GIndex *at = NEW(GIndex);
      *at = ix;
      VEC_PUSH(slots, ge_ref(b, (GRef){.family = REF_INDEX, .n = 1, .ix = at, .guard = b->guard, .span = e->span}));
    }
  }
  return slots.n ? ge_new(GE_MUL, slots.n, slots.at) : ge_new(GE_CONST, 0, NULL);
}

/* Lengths of a range that is written out: 0 if it is not. */
static long short_range(Lin lo, Lin hi)
{
  Lin length = lin_add(hi, lo, -1);
  if (!lin_is_const(length) || length.c < 0 || length.c >= WRITE_OUT_MAX) return 0;
  return length.c + 1;
}

static GExpr *visit_family(Build *b, const MExpr *e, const GIndex *given)
{
  const Family *f = &b->m->families.at[e->family];
  bool latent = f->role == ROLE_LOCAL || f->role == ROLE_MARGINAL;
  int n_positions = f->n_index ? e->n_index : e->n_entry;
  const Index *index = f->n_index ? e->index : e->entry;
  if (!f->n_index && !e->n_entry && (f->role == ROLE_INPUT || f->role == ROLE_PARAM || f->role == ROLE_GLOBAL)) return ge_new(GE_CONST, 0, NULL);
  GIndex *ix = NEW_ARRAY(GIndex, n_positions);
  for (int k = 0; k < n_positions; k++) {
    if (index[k].kind == IX_SLICE && !given && b->along < 0) {  /* a short slice: its elements one by one */
      Affine lo, hi;
      if (mexpr_affine(b->m, index[k].lo, &lo) && mexpr_affine(b->m, index[k].hi, &hi)) {
        Lin first = bound_lin(b, index[k].lo);
        long length = short_range(first, bound_lin(b, index[k].hi));
        if (length) {
          GIndex *all = NEW_ARRAY(GIndex, n_positions);
          GExpr **sum = NEW_ARRAY(GExpr *, length);
          for (long v = 0; v < length; v++) {
            for (int j = 0; j < n_positions; j++)
              all[j] = j == k ? index_normal(b, lin_add(first, lin_const(v), 1)) : visit_index(b, &index[j], latent);
            sum[v] = visit_family(b, e, all);
          }
          return ge_new(GE_ADD, (int)length, sum);
        }
      }
    }
    ix[k] = given ? given[k] : visit_index(b, &index[k], latent || f->role == ROLE_OBSERVED || f->role == ROLE_INPUT);
  }
  if (f->n_index)
    for (int k = 0; k < e->n_entry; k++) visit_index(b, &e->entry[k], false);
  if (b->along >= 0 && !latent && type_rank(e->type.kind) == 1 && !e->n_entry && type_rank(f->type.kind) == 1 && n_positions < GRAPH_MAX_INDEX) {
    GIndex *more = NEW_ARRAY(GIndex, n_positions + 1); /* the entry too */
    memcpy(more, ix, sizeof *ix * (size_t)n_positions);
    more[n_positions++] = index_linear(lin_atom(b->along));
    ix = more;
  }
  return ge_ref(b, (GRef){.family = e->family, .n = n_positions, .ix = ix, .latent = latent, .guard = b->guard, .span = e->span});
}

/* The variables of a definition stand for the indices of the reference, position by position. */
static void bind_definition(Build *b, const Stmt *s, const GIndex *ix)
{
  for (int k = 0; k < s->n_index; k++) {
    const Affine *a = &s->index[k].affine;
    if (a->n != 1 || a->term[0].kind != ATOM_VAR || a->term[0].coef != 1) continue;
    GIndex *v = NEW(GIndex);
    *v = ix[k];
    if (v->kind != GI_ANY) v->lin.c -= a->constant;
    if (v->kind == GI_RANGE) v->hi.c -= a->constant;
    b->subst[a->term[0].id] = v;
  }
}

/* Of several definitions of one let, this one holds where the indices are in its range. */
static void guard_definition(Build *b, const Stmt *s, const GIndex *ix)
{
  for (int k = 0; k < s->n_index; k++) {
    if (ix[k].kind != GI_LINEAR) continue;
    const Affine *a = &s->index[k].affine;
    bool runs = a->n == 1 && a->term[0].kind == ATOM_VAR, ok = true;
    GIndex other;
    Lin lo, hi;
    if (runs) {
      const Var *v = &b->m->vars.at[a->term[0].id];
      lo = lin_add(bound_lin(b, v->lo), lin_const(a->constant), 1);
      hi = lin_add(bound_lin(b, v->hi), lin_const(a->constant), 1);
    } else lo = hi = lin_of_affine(b, a, &ok, &other);
    guard_with(b, lin_add(ix[k].lin, lo, -1));
    guard_with(b, lin_add(hi, ix[k].lin, -1));
  }
}

/* Position along which a recurrent let looks back, and +1 if it looks back, -1 if ahead; -1 if there is no single one. */
static int recurrence_position(const Build *b, int family, int *direction)
{
  int found = -1;
  const Family *f = &b->m->families.at[family];
  for (int i = 0; i < f->n_statements; i++) {
    const Stmt *s = &b->m->stmts.at[f->statements[i]];
    RefList refs = {0};
    mexpr_refs(s->value, &refs);
    for (int r = 0; r < refs.n; r++) {
      const MExpr *e = refs.at[r];
      if (!b->recurrent[e->family]) continue;
      for (int k = 0; k < e->n_index && k < s->n_index; k++) {
        const Affine *x = &e->index[k].affine, *d = &s->index[k].affine;
        if (e->index[k].kind != IX_AFFINE || x->n != 1 || d->n != 1) return -1;
        if (x->term[0].kind != d->term[0].kind || x->term[0].id != d->term[0].id) return -1;
        long step = d->constant - x->constant;
        if (!step) continue;
        if (found >= 0 && found != k) return -1;
        found = k;
        *direction = step > 0 ? 1 : -1;
      }
    }
  }
  return found;
}

/* All that a recurrent let's element depends on: every body, at every element it can look back to. */
static GExpr *visit_recurrence(Build *b, int family, const GIndex *ix)
{
  const Family *f = &b->m->families.at[family];
  const int expansion = b->expansion;
  if (!expansion) b->expansion = ++b->n_expansions;
  b->inside[family] = true;
  int direction = 1, along = recurrence_position(b, family, &direction);
  GExpr **bodies = NEW_ARRAY(GExpr *, f->n_statements);
  for (int i = 0; i < f->n_statements; i++) {
    const Stmt *s = &b->m->stmts.at[f->statements[i]];
    GIndex **old = NEW_ARRAY(GIndex *, b->m->vars.n);
    memcpy(old, b->subst, sizeof *old * (size_t)b->m->vars.n);
    GIndex *at = NEW_ARRAY(GIndex, f->n_index);
    for (int k = 0; k < f->n_index; k++) {
      at[k] = ix[k];
      const Affine *a = &s->index[k].affine;
      if (k != along || a->n != 1 || a->term[0].kind != ATOM_VAR) {
        if (along < 0) at[k] = (GIndex){.kind = GI_ANY, .reduced = true};
        continue;
      }
      const Var *v = &b->m->vars.at[a->term[0].id];
      Lin lo = lin_add(bound_lin(b, v->lo), lin_const(a->constant), 1), hi = lin_add(bound_lin(b, v->hi), lin_const(a->constant), 1);
      if (ix[k].kind == GI_LINEAR || ix[k].kind == GI_RANGE) {
        Lin end = ix[k].kind == GI_RANGE && direction > 0 ? ix[k].hi : ix[k].lin;
        if (direction > 0) hi = end;
        else lo = end;
      }
      int k_var = new_var(b, v->name, lo, hi, v->span, false);
      at[k] = index_linear(lin_atom(k_var));
    }
    bind_definition(b, s, at);
    bodies[i] = visit(b, s->value);
    memcpy(b->subst, old, sizeof *old * (size_t)b->m->vars.n);
  }
  b->inside[family] = false;
  b->expansion = expansion;
  return ge_new(GE_FN, f->n_statements, bodies);
}

/* The circumstances of a let at these indices. */
static LetUse let_use(const Build *b, const MExpr *e, const GIndex *ix)
{
  const Family *f = &b->m->families.at[e->family];
  LetUse use = {.family = e->family, .next = b->last_use[e->family], .n = e->n_index, .guard = b->guard, .in_condition = b->in_condition,
                .symmetric = b->symmetric, .along = b->along, .expansion = b->expansion};
  for (int k = 0; k < e->n_index; k++) use.key[k] = ix[k];
  if (!f->block_let) return use;
  int plates[GRAPH_MAX_INDEX];
  use.n = model_plate_chain(b->m, b->m->stmts.at[f->statements[0]].plate, plates, GRAPH_MAX_INDEX);
  for (int k = 0; k < use.n; k++) {
    const int v = b->m->plates.at[plates[k]].var;
    use.key[k] = b->subst[v] ? *b->subst[v] : index_linear(lin_atom(v));
  }
  return use;
}

static GExpr *find_use(const Build *b, const LetUse *use)
{
  for (int i = use->next; i >= 0; i = b->uses.at[i].next) {
    const LetUse *x = &b->uses.at[i];
    bool same = x->n == use->n && x->in_condition == use->in_condition && x->symmetric == use->symmetric && x->along == use->along &&
                x->expansion == use->expansion && guard_equal(x->guard, use->guard);
    for (int k = 0; k < x->n && same; k++)
      same = index_equal(&x->key[k], &use->key[k]) && x->key[k].ordered == use->key[k].ordered &&
             (x->key[k].kind != GI_RANGE || (x->key[k].var == use->key[k].var && x->key[k].var_off == use->key[k].var_off));
    if (same) return x->value;
  }
  return NULL;
}

static GExpr *visit_let(Build *b, const MExpr *e)
{
  const Family *f = &b->m->families.at[e->family];
  for (int k = 0; k < e->n_entry; k++)
    if (e->entry[k].kind != IX_SLICE) visit_index(b, &e->entry[k], false);
  GIndex *ix = NEW_ARRAY(GIndex, e->n_index);
  for (int k = 0; k < e->n_index; k++) ix[k] = visit_index(b, &e->index[k], true);
  if (b->recurrent[e->family]) {
    return b->inside[e->family] ? ge_new(GE_CONST, 0, NULL) : visit_recurrence(b, e->family, ix);
  }
  LetUse use = let_use(b, e, ix);
  if ((use.value = find_use(b, &use))) return use.value;
  VEC(GExpr *) pieces = {0};
  for (int i = 0; i < f->n_statements; i++) {
    const Stmt *s = &b->m->stmts.at[f->statements[i]];
    GIndex **old = NEW_ARRAY(GIndex *, b->m->vars.n);
    memcpy(old, b->subst, sizeof *old * (size_t)b->m->vars.n);
    Guard guard = b->guard;
    if (f->n_statements > 1) guard_definition(b, s, ix);
    if (!f->block_let) bind_definition(b, s, ix);
    VEC_PUSH(pieces, visit(b, s->value));
    b->guard = guard;
    memcpy(b->subst, old, sizeof *old * (size_t)b->m->vars.n);
  }
  use.value = pieces.n == 1 ? pieces.at[0] : ge_new(GE_ADD, pieces.n, pieces.at);
  use.next = b->last_use[e->family];
  b->last_use[e->family] = b->uses.n;
  VEC_PUSH(b->uses, use);
  return use.value;
}

/* Does the node work entry by entry? Slices inside the others are whole. */
static bool works_by_entry(const MExpr *e)
{
  if (e->kind == M_UNARY) return e->op != OP_TRANSPOSE;
  if (e->kind == M_BINARY) {
    bool vectors = type_rank(e->args[0]->type.kind) && type_rank(e->args[1]->type.kind);
    return !(e->op == OP_MUL && vectors) && e->op != OP_POW && !(e->op == OP_DIV && vectors);
  }
  if (e->kind == M_CALL) return func_info[e->func].class_ == FC_MAP || func_info[e->func].class_ == FC_INT_MAP;
  return e->kind == M_REF || e->kind == M_NUM || e->kind == M_VAR || e->kind == M_COND;
}

static GExpr *visit_reduce(Build *b, const MExpr *e)
{
  const Var *v = &b->m->vars.at[e->var];
  GExprKind kind = e->reduce == RED_SUM || e->reduce == RED_MEAN ? GE_ADD : e->reduce == RED_PROD ? GE_MUL : GE_FN;
  Lin lo = bound_lin(b, v->lo), hi = bound_lin(b, v->hi);
  GIndex *old = b->subst[e->var];
  long length = short_range(lo, hi);
  GExpr *result;
  if (length) {
    GExpr **args = NEW_ARRAY(GExpr *, length);
    for (long i = 0; i < length; i++) {
      GIndex *at = NEW(GIndex);
      *at = index_linear(lin_add(lo, lin_const(i), 1));
      b->subst[e->var] = at;
      args[i] = visit(b, e->args[0]);
    }
    result = ge_new(kind, (int)length, args);
  } else {
    GIndex *at = NEW(GIndex);
    *at = index_linear(lin_atom(new_var(b, v->name, lo, hi, v->span, false)));
    b->subst[e->var] = at;
    GExpr **args = NEW_ARRAY(GExpr *, 1);
    args[0] = visit(b, e->args[0]);
    result = ge_new(kind == GE_MUL ? GE_FN : kind, 1, args);  /* a product over a range is not affine in one element's neighbours only */
  }
  b->subst[e->var] = old;
  return result;
}

static GExpr *visit_all(Build *b, GExprKind kind, int n, MExpr *const *args)
{
  GExpr **out = NEW_ARRAY(GExpr *, n);
  for (int i = 0; i < n; i++) out[i] = visit(b, args[i]);
  return ge_new(kind, n, out);
}

static GExpr *visit_var(Build *b, const MExpr *e)
{
  GIndex ix = b->subst[e->var] ? *b->subst[e->var] : index_normal(b, lin_atom(e->var));
  LinTerm t;
  bool varies = ix.kind == GI_TABLE ? ix.formula : ix.kind == GI_LINEAR && lin_vars(ix.lin, &t) > 0;
  if (!varies || b->in_condition) return ge_new(GE_CONST, 0, NULL);
  GIndex *at = NEW(GIndex);
  *at = ix;
  return ge_ref(b, (GRef){.family = REF_INDEX, .n = 1, .ix = at, .guard = b->guard, .span = e->span});
}

static GExpr *visit_node(Build *b, const MExpr *e);

static GExpr *visit(Build *b, const MExpr *e)
{
  int along = b->along;
  bool symmetric = b->symmetric;
  if (!works_by_entry(e)) b->along = -1;
  if (e->kind == M_CALL) b->symmetric = func_info[e->func].class_ == FC_REDUCE || (func_info[e->func].class_ == FC_REDUCE_OR_MAP && e->n_args == 1);
  else if (!works_by_entry(e)) b->symmetric = false;
  GExpr *r = visit_node(b, e);
  b->along = along;
  b->symmetric = symmetric;
  return r;
}

static GExpr *visit_node(Build *b, const MExpr *e)
{
  switch (e->kind) {
  case M_NUM: return ge_new(GE_CONST, 0, NULL);
  case M_VAR: return visit_var(b, e);
  case M_REF: {
    const Family *f = &b->m->families.at[e->family];
    if (f->role == ROLE_LET) return visit_let(b, e);
    if (f->role == ROLE_GLOBAL || f->role == ROLE_PARAM) return visit_slots(b, e);
    return visit_family(b, e, NULL);
  }
  case M_UNARY: return visit_all(b, e->op == OP_NOT ? GE_FN : GE_MUL, e->n_args, e->args);
  case M_BINARY:
    if (e->op == OP_ADD || e->op == OP_SUB) return visit_all(b, GE_ADD, e->n_args, e->args);
    if (e->op == OP_MUL || e->op == OP_EMUL) return visit_all(b, GE_MUL, e->n_args, e->args);
    if (e->op == OP_DIV || e->op == OP_EDIV) {
      GExpr *top = visit(b, e->args[0]);
      return ge_two(GE_MUL, top, visit_all(b, GE_FN, 1, e->args + 1));
    }
    if (e->op == OP_POW && e->args[1]->kind == M_NUM && e->args[1]->number == 2) {
      GExpr *a = visit(b, e->args[0]);
      return ge_two(GE_MUL, a, a);
    }
    return visit_all(b, GE_FN, e->n_args, e->args);
  case M_COND: {
    bool outer = b->in_condition;
    b->in_condition = true;
    GExpr *c = visit_all(b, GE_FN, 1, e->args);
    b->in_condition = outer;
    Guard old = b->guard;
    guard_condition(b, e->args[0], false);
    GExpr *yes = visit(b, e->args[1]);
    b->guard = old;
    guard_condition(b, e->args[0], true);
    GExpr *no = visit(b, e->args[2]);
    b->guard = old;
    return ge_two(GE_ADD, ge_two(GE_MUL, c, yes), ge_two(GE_MUL, c, no));
  }
  case M_CALL:
    switch (e->func) {
    case FUNC_sum: case FUNC_mean: case FUNC_cumulative_sum: case FUNC_reverse: case FUNC_to_vector: case FUNC_to_row_vector: case FUNC_transpose:
    case FUNC_append_row: case FUNC_append_col: case FUNC_diagonal: case FUNC_diag_matrix: case FUNC_trace: return visit_all(b, GE_ADD, e->n_args, e->args);
    case FUNC_rep_vector: case FUNC_rep_row_vector: case FUNC_rep_matrix: return visit(b, e->args[0]);
    case FUNC_square: case FUNC_dot_self: {
      GExpr *a = visit(b, e->args[0]);
      return ge_two(GE_MUL, a, a);
    }
    case FUNC_dot: case FUNC_dot_product: case FUNC_diag_pre_multiply: case FUNC_diag_post_multiply: return visit_all(b, GE_MUL, e->n_args, e->args);
    default: return visit_all(b, GE_FN, e->n_args, e->args);
    }
  case M_LPDF: return visit_all(b, GE_FN, e->n_args, e->args);
  case M_REDUCE: return visit_reduce(b, e);
  case M_VECTOR: return visit_all(b, GE_ADD, e->n_args, e->args);
  case M_ENTRY:
    for (int k = 0; k < e->n_entry; k++)
      if (e->entry[k].kind != IX_SLICE) visit_index(b, &e->entry[k], false);
    return visit_all(b, GE_ADD, e->n_args, e->args);
  }
  BUG("expression kind %d", (int)e->kind);
}

/* ---- terms --------------------------------------------------------------------------------------------------------------------------- */

const char *stmt_text(const Model *m, const Stmt *s)
{
  StrBuf b = {0};
  if (s->kind == ST_FACTOR) sb_puts(&b, "factor ");
  if (s->family >= 0) {
    sb_puts(&b, m->families.at[s->family].name);
    for (int k = 0; k < s->n_index; k++) {
      sb_puts(&b, k ? "," : "[");
      StrBuf one = {0};
      mexpr_print(m, s->index[k].expr, &one);
      for (const char *p = sb_text(&one); *p; p++)
        if (*p != ' ') sb_putc(&b, *p);
    }
    if (s->n_index) sb_putc(&b, ']');
  }
  if (s->value) sb_printf(&b, "%s%s", s->kind == ST_FACTOR ? "" : " = ", mexpr_text(m, s->value));
  if (s->has_dist) {
    sb_printf(&b, " ~ %s(", dist_info[s->dist.dist].name);
    for (int k = 0; k < s->dist.n_args; k++) sb_printf(&b, "%s%s", k ? ", " : "", mexpr_text(m, s->dist.args[k]));
    sb_putc(&b, ')');
    if (s->dist.truncated)
      sb_printf(&b, " T[%s, %s]", s->dist.t_lo ? mexpr_text(m, s->dist.t_lo) : "", s->dist.t_hi ? mexpr_text(m, s->dist.t_hi) : "");
  }
  return sb_text(&b);
}

static void open_term(Build *b, int stmt, GTerm *t, int n_vars, const int *vars)
{
  const Stmt *s = &b->m->stmts.at[stmt];
  *t = (GTerm){.stmt = stmt, .text = stmt_text(b->m, s), .span = s->span, .dist = -1, .n_vars = n_vars};
  t->vars = NEW_ARRAY(int, n_vars);
  t->lo = NEW_ARRAY(Lin, n_vars);
  t->hi = NEW_ARRAY(Lin, n_vars);
  for (int i = 0; i < n_vars; i++) {
    t->vars[i] = vars[i];
    t->lo[i] = graph_bound(b->g, b->g->vars.at[vars[i]].lo);
    t->hi[i] = graph_bound(b->g, b->g->vars.at[vars[i]].hi);
  }
  for (int i = 0; i < b->uses.n; i++) b->last_use[b->uses.at[i].family] = -1;
  b->uses.n = 0;
  for (int v = 0; v < b->is_plate.n; v++) b->is_plate.at[v] = false;
  for (int i = 0; i < n_vars; i++) b->is_plate.at[vars[i]] = true;
  b->term = t;
}

static bool touches_latent(const GTerm *t)
{
  for (int i = 0; i < t->refs.n; i++)
    if (t->refs.at[i].latent) return true;
  return false;
}

static void number_nodes(GTerm *t, GExpr *e)
{
  if (!e || e->id >= 0) return;
  e->id = t->n_nodes++;
  for (int i = 0; i < e->n; i++) number_nodes(t, e->args[i]);
}

void graph_number_nodes(GTerm *t)
{
  t->n_nodes = 0;
  number_nodes(t, t->value);
  for (int i = 0; i < t->n_args; i++) number_nodes(t, t->args[i]);
}

static void close_term(Build *b)
{
  if (!touches_latent(b->term)) return;
  graph_number_nodes(b->term);
  VEC_PUSH(b->g->terms, *b->term);
}

static bool mentions_any(const Build *b, const MExpr *e)
{
  RefList refs = {0};
  mexpr_refs(e, &refs);
  for (int i = 0; i < refs.n; i++)
    if (refs.at[i]->n_index || b->m->families.at[refs.at[i]->family].role != ROLE_INPUT) return true;
  return false;
}

static void visit_slice(const MExpr *e, bool *found)
{
  if (!e || !works_by_entry(e)) return;
  for (int k = 0; k < e->n_index; k++)
    if (e->kind == M_REF && e->index[k].kind == IX_SLICE) *found = true;
  for (int i = 0; i < e->n_args; i++) visit_slice(e->args[i], found);
}

/* A statement over a vector whose entries meet those of slices one by one: `observed y : vector[N] ~ normal(z[1..N], s)`. */
static bool entry_by_entry(const Stmt *s)
{
  bool found = false;
  if (dist_info[s->dist.dist].shape != DSH_UNIVARIATE || type_rank(s->type.kind) != 1) return false;
  for (int k = 0; k < s->dist.n_args; k++) visit_slice(s->dist.args[k], &found);
  return found;
}

static void distribution_term(Build *b, int stmt, int n_vars, int *vars)
{
  const Stmt *s = &b->m->stmts.at[stmt];
  GTerm t;
  const Family *f = &b->m->families.at[s->family];
  bool entries = n_vars < GRAPH_MAX_INDEX && entry_by_entry(s);
  if (entries) {
    vars[n_vars++] = new_var(b, intern("entry"), lin_const(1), bound_lin(b, s->type.dim[0]), s->span, true);
    b->g->by_entry = true;
  }
  open_term(b, stmt, &t, n_vars, vars);
  b->along = entries ? vars[n_vars - 1] : -1;
  GIndex *ix = NEW_ARRAY(GIndex, s->n_index);
  for (int k = 0; k < s->n_index; k++) ix[k] = visit_index_expr(b, s->index[k].expr, false);
  if (f->role == ROLE_GLOBAL || f->role == ROLE_PARAM) {
    VEC(GExpr *) slots = {0};
    for (int k = 0; k < s->n_index; k++) {
      LinTerm v;
      if (ix[k].kind == GI_LINEAR && lin_vars(ix[k].lin, &v))
        VEC_PUSH(slots, ge_ref(b, (GRef){.family = REF_INDEX, .n = 1, .ix = &ix[k], .span = f->span}));
    }
    t.value = ge_new(GE_MUL, slots.n, slots.at);
  } else {
    bool latent = f->role == ROLE_LOCAL || f->role == ROLE_MARGINAL;
    int n = s->n_index;
    if (entries && !latent) {
      GIndex *more = NEW_ARRAY(GIndex, n + 1);
      memcpy(more, ix, sizeof *ix * (size_t)n);
      more[n++] = index_linear(lin_atom(b->along));
      ix = more;
    }
    t.value = ge_ref(b, (GRef){.family = s->family, .n = n, .ix = ix, .latent = latent, .span = f->span});
  }
  t.dist = s->dist.dist;
  t.n_args = s->dist.n_args;
  t.args = NEW_ARRAY(GExpr *, t.n_args);
  for (int k = 0; k < t.n_args; k++) t.args[k] = visit(b, s->dist.args[k]);
  const MExpr *bounds[] = {s->dist.t_lo, s->dist.t_hi, s->type.lower, s->type.upper};
  for (int k = 0; k < 4; k++)
    if (bounds[k]) {
      if (k < 2 || mentions_any(b, bounds[k])) t.restricted = true;
      visit(b, bounds[k]);
    }
  b->along = -1;
  close_term(b);
}

/* One term per summand; a sum over a range adds a plate. */
static void factor_terms(Build *b, int stmt, const MExpr *e, int n_vars, int *vars)
{
  if (e->kind == M_BINARY && (e->op == OP_ADD || e->op == OP_SUB)) {
    for (int i = 0; i < 2; i++) factor_terms(b, stmt, e->args[i], n_vars, vars);
    return;
  }
  if (e->kind == M_UNARY && e->op == OP_NEG) {
    factor_terms(b, stmt, e->args[0], n_vars, vars);
    return;
  }
  if (e->kind == M_BINARY && (e->op == OP_MUL || e->op == OP_DIV)) {
    if (!mentions_any(b, e->args[1])) {
      factor_terms(b, stmt, e->args[0], n_vars, vars);
      return;
    }
    if (e->op == OP_MUL && !mentions_any(b, e->args[0])) {
      factor_terms(b, stmt, e->args[1], n_vars, vars);
      return;
    }
  }
  if (e->kind == M_REDUCE && e->reduce == RED_SUM && n_vars < GRAPH_MAX_INDEX) {
    const Var *v = &b->m->vars.at[e->var];
    GIndex *old = b->subst[e->var], *at = NEW(GIndex);
    int k = new_var(b, v->name, bound_lin(b, v->lo), bound_lin(b, v->hi), v->span, true);
    *at = index_linear(lin_atom(k));
    b->subst[e->var] = at;
    vars[n_vars] = k;
    factor_terms(b, stmt, e->args[0], n_vars + 1, vars);
    b->subst[e->var] = old;
    return;
  }
  GTerm t;
  open_term(b, stmt, &t, n_vars, vars);
  if (e->kind == M_LPDF && e->lp != LP_LCDF && e->lp != LP_LCCDF) {
    t.dist = e->dist;
    t.value = visit(b, e->args[0]);
    t.n_args = e->n_args - 1;
    t.args = NEW_ARRAY(GExpr *, t.n_args);
    for (int k = 0; k < t.n_args; k++) t.args[k] = visit(b, e->args[k + 1]);
  } else t.value = visit(b, e);
  close_term(b);
}

/* ---- recurrences and barren families -------------------------------------------------------------------------------------------------- */

/* Families that the expressions of a statement mention. */
static void stmt_refs(const Stmt *s, RefList *refs)
{
  mexpr_refs(s->value, refs);
  for (int k = 0; k < s->dist.n_args; k++) mexpr_refs(s->dist.args[k], refs);
  mexpr_refs(s->dist.t_lo, refs);
  mexpr_refs(s->dist.t_hi, refs);
  if (s->kind == ST_LATENT || s->kind == ST_OBSERVED || s->kind == ST_PARAM) {
    mexpr_refs(s->type.lower, refs);
    mexpr_refs(s->type.upper, refs);
  }
}

static bool depends_on(const Model *m, int family, int target, bool *seen)
{
  if (seen[family]) return false;
  seen[family] = true;
  const Family *f = &m->families.at[family];
  for (int i = 0; i < f->n_statements; i++) {
    RefList refs = {0};
    mexpr_refs(m->stmts.at[f->statements[i]].value, &refs);
    for (int r = 0; r < refs.n; r++) {
      int q = refs.at[r]->family;
      if (m->families.at[q].role != ROLE_LET) continue;
      if (q == target || depends_on(m, q, target, seen)) return true;
    }
  }
  return false;
}

static void find_recurrent(Build *b)
{
  for (int i = 0; i < b->m->families.n; i++)
    if (b->m->families.at[i].role == ROLE_LET) b->recurrent[i] = depends_on(b->m, i, i, NEW_ARRAY(bool, b->m->families.n));
}

/* used[f]: f has an observed descendant or stands in a factor, or a global, which stays in q in any case, depends on it. */
static void find_used(Graph *g)
{
  const Model *m = g->m;
  g->used = NEW_ARRAY(bool, m->families.n);
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = 0; i < m->stmts.n; i++) {
      const Stmt *s = &m->stmts.at[i];
      bool kept = s->kind == ST_OBSERVED || s->kind == ST_FACTOR || ((s->kind == ST_LATENT || s->kind == ST_LET) && g->used[s->family]);
      if (s->kind == ST_LATENT || s->kind == ST_PARAM) kept = kept || m->families.at[s->family].role == ROLE_GLOBAL || m->families.at[s->family].role == ROLE_PARAM;
      if (!kept) continue;
      RefList refs = {0};
      stmt_refs(s, &refs);
      for (int r = 0; r < refs.n; r++)
        if (!g->used[refs.at[r]->family]) g->used[refs.at[r]->family] = changed = true;
    }
  }
}

Graph *graph_build(const Model *m)
{
  Graph *g = NEW(Graph);
  g->m = m;
  for (int f = 0; f < m->families.n; f++) {
    GFamily x = {.model = f};
    for (int k = 0; k < GRAPH_MAX_INDEX; k++) x.step[k] = 1;
    VEC_PUSH(g->families, x);
  }
  Build b = {.g = g, .m = m, .subst = NEW_ARRAY(GIndex *, m->vars.n + 1), .recurrent = NEW_ARRAY(bool, m->families.n),
             .inside = NEW_ARRAY(bool, m->families.n), .last_use = NEW_ARRAY(int, m->families.n), .along = -1};
  for (int f = 0; f < m->families.n; f++) b.last_use[f] = -1;
  for (int v = 0; v < m->vars.n; v++) new_var(&b, m->vars.at[v].name, lin_const(0), lin_const(0), m->vars.at[v].span, true);
  for (int v = 0; v < m->vars.n; v++) {
    g->vars.at[v].lo = bound_lin(&b, m->vars.at[v].lo);
    g->vars.at[v].hi = bound_lin(&b, m->vars.at[v].hi);
  }
  find_recurrent(&b);
  find_used(g);
  for (int i = 0; i < m->stmts.n; i++) {
    const Stmt *s = &m->stmts.at[i];
    bool density = s->has_dist && (s->kind == ST_LATENT || s->kind == ST_OBSERVED || s->kind == ST_PARAM);
    if (!density && s->kind != ST_FACTOR) continue;
    int plates[GRAPH_MAX_INDEX], vars[GRAPH_MAX_INDEX + 1];
    int n = model_plate_chain(m, s->plate, plates, GRAPH_MAX_INDEX);
    for (int k = 0; k < n; k++) vars[k] = m->plates.at[plates[k]].var;
    if (density) distribution_term(&b, i, n, vars);
    else factor_terms(&b, i, s->value, n, vars);
  }
  for (int v = 0; v < g->vars.n; v++) {
    Lin length = lin_add(g->vars.at[v].hi, g->vars.at[v].lo, -1);
    bool there = lin_is_const(length);
    for (int i = 0; i < g->lengths.n && !there; i++) there = lin_equal(length, g->lengths.at[i]);
    if (!there) VEC_PUSH(g->lengths, length);
  }
  graph_split_residues(g);
  graph_prune(g);
  g->touch = NEW_ARRAY(TouchList, g->families.n);
  for (int t = 0; t < g->terms.n; t++)
    for (int r = 0; r < g->terms.at[t].refs.n; r++)
      if (g->terms.at[t].refs.at[r].latent) VEC_PUSH(g->touch[g->terms.at[t].refs.at[r].family], (GTouch){t, r});
  return g;
}

/* ---- the dump ---------------------------------------------------------------------------------------------------------------------------- */

static void dump_gindex(const Graph *g, const GIndex *ix, FILE *out)
{
  switch (ix->kind) {
  case GI_LINEAR: fputs(lin_text(g, ix->lin), out); break;
  case GI_RANGE: fprintf(out, "%s..%s", lin_text(g, ix->lin), lin_text(g, ix->hi)); break;
  case GI_ANY: fputc('?', out); break;
  case GI_TABLE:
    for (const char *p = ix->table; *p; p++)
      if (*p == '\\' && p[1]) dump_gindex(g, &ix->args[*++p - '1'], out);
      else fputc(*p, out);
    if (ix->lin.c) fprintf(out, "%+ld", ix->lin.c);
  }
}

void graph_dump(const Graph *g, FILE *out)
{
  for (int i = 0; i < g->terms.n; i++) {
    const GTerm *t = &g->terms.at[i];
    fprintf(out, "term %d: %s\n", i, t->text);
    for (int k = 0; k < t->n_vars; k++)
      fprintf(out, "  %s in %s..%s\n", g->vars.at[t->vars[k]].name, lin_text(g, t->lo[k]), lin_text(g, t->hi[k]));
    for (int k = 0; k < t->refs.n; k++) {
      const GRef *r = &t->refs.at[k];
      fprintf(out, "  %s %s[", r->latent ? "latent" : r->selector ? "table" : "known", r->family < 0 ? "index" : graph_family(g, r->family)->name);
      for (int p = 0; p < r->n; p++) {
        const GFamily *f = r->family < 0 ? NULL : &g->families.at[r->family];
        GIndex ix = r->ix[p];
        if (f && f->step[p] > 1) {      /* from the place in the residue class to the index */
          ix.lin = lin_add(lin_const(f->residue[p]), ix.lin, f->step[p]);
          ix.hi = lin_add(lin_const(f->residue[p]), ix.hi, f->step[p]);
        }
        if (p) fputc(',', out);
        dump_gindex(g, &ix, out);
        if (f && f->step[p] > 1 && ix.kind == GI_RANGE) fprintf(out, " step %ld", f->step[p]);
      }
      fputc(']', out);
      for (int q = 0; q < r->guard.n; q++) fprintf(out, " if %s >= 0", lin_text(g, r->guard.form[q]));
      fputc('\n', out);
    }
  }
}
