/* Checks over several statements together: elements defined twice, references to elements that nobody defines, cycles, factors with two
 * marginal variables. An error is reported only where it is certain for every data set (plates of open size
 * count as non-empty); what the bounds leave open is checked when data are loaded.
 *
 *   plate t in 1..N { latent z[t] ~ normal(z[t-1], 1); }      z[t-1] reaches z[0] at t = 1
 *   plate t in 1..N { latent z[t] ~ normal(z[t], 1); }        z[t] -> z[t]
 */
#include "resolver.h"
#include "dist.h"
#include "range.h"

#include <string.h>

#define MAX_VARS 4 /* in a reference whose corners are tried */

/* Values of one position of an index, where numbers alone decide them. */
typedef struct {
  bool known;
  long lo, hi;
} Extent;

typedef struct {
  Resolver *r;
  Model *m;
  Facts *facts;
  bool *sound;     /* by family: all its definitions were understood */
  Extent **extent; /* by statement, by position of its index */
  bool *by_size;   /* by family: declared_by_size has spoken */
} Check;

static bool understood(const Check *c, int family)
{
  const Family *f = &c->m->families.at[family];
  if (c->r->families.at[family].damaged || name_is_damaged(c->r, f->name)) return false;
  for (int i = 0; i < f->n_statements; i++) {
    int s = f->statements[i];
    if (c->r->stmts.at[s].damaged && !c->m->stmts.at[s].index && c->m->stmts.at[s].n_index) return false;
    for (int p = c->m->stmts.at[s].plate; p >= 0; p = c->m->plates.at[p].parent)
      if (c->r->plate_damaged.at[p]) return false;
  }
  return true;
}

static bool family_sound(const Check *c, int family)
{
  return c->sound[family];
}

/* ---- extents --------------------------------------------------------------------------------------------------------------- */

static Extent affine_extent(const Check *c, const Affine *a)
{
  long lo, hi;
  if (!a->n) return (Extent){true, a->constant, a->constant};
  const AffineTerm *t = &a->term[0];
  const Var *v = t->kind == ATOM_VAR ? &c->m->vars.at[t->id] : NULL;
  if (a->n > 1 || !v || t->coef != 1 || !v->lo || !mexpr_const_int(v->lo, &lo) || !mexpr_const_int(v->hi, &hi)) return (Extent){0};
  return (Extent){true, lo + a->constant, hi + a->constant};
}

static Extent *index_extents(const Check *c, int n, const Index *index)
{
  Extent *e = NEW_ARRAY(Extent, n);
  for (int k = 0; k < n; k++)
    if (index[k].kind == IX_AFFINE) e[k] = affine_extent(c, &index[k].affine);
  return e;
}

/* Have two indices certainly no element in common? The quick answer; others need proofs. */
static bool apart(int n, const Extent *a, const Extent *b)
{
  for (int k = 0; k < n; k++)
    if (a[k].known && b[k].known && (a[k].hi < b[k].lo || b[k].hi < a[k].lo)) return true;
  return false;
}

/* ---- points ---------------------------------------------------------------------------------------------------------------- */

/* A choice of ends for variables: var = value (affine in inputs and in variables further out). */
typedef struct {
  int n, var[16];
  Affine value[16];
} Corner;

static bool at_corner(const Corner *p, const Affine *a, Affine *out)
{
  *out = *a;
  for (int i = 0; i < p->n; i++)
    if (!affine_substitute(out, p->var[i], &p->value[i], out)) return false;
  return true;
}

static bool expr_at(const Check *c, const Corner *p, const MExpr *e, Affine *out)
{
  return mexpr_affine(c->m, e, out) && at_corner(p, out, out);
}

static void add_vars(const Check *c, const Affine *a, int *vars, int *n)
{
  for (int i = 0; i < a->n && *n <= MAX_VARS; i++) {
    if (a->term[i].kind != ATOM_VAR) continue;
    int v = a->term[i].id, k = 0;
    while (k < *n && vars[k] != v) k++;
    if (k < *n) continue;
    vars[(*n)++] = v;
    Affine end;
    for (int side = 0; side < 2; side++) { /* and those its range depends on */
      const MExpr *e = side ? c->m->vars.at[v].hi : c->m->vars.at[v].lo;
      if (e && mexpr_affine(c->m, e, &end)) add_vars(c, &end, vars, n);
    }
  }
}

/* Innermost (declared last) first, so that the ends of inner ranges are in outer variables still to be replaced. */
static void sort_vars(int *vars, int n)
{
  for (int i = 1; i < n; i++)
    for (int k = i; k > 0 && vars[k] > vars[k - 1]; k--) {
      int t = vars[k];
      vars[k] = vars[k - 1];
      vars[k - 1] = t;
    }
}

/* The corner number `which` (a bit per variable); false when an end is not affine, or the range may be empty there. A plate counts as
 * non-empty unless it is certainly empty; a reduction, and a plate whose size changes with an outer variable, must certainly have an
 * element at this corner. */
static bool make_corner(const Check *c, const int *vars, int n, unsigned which, Corner *p)
{
  p->n = 0;
  for (int i = 0; i < n; i++) {
    const Var *v = &c->m->vars.at[vars[i]];
    Affine end;
    const MExpr *e = which >> i & 1 ? v->hi : v->lo;
    if (!e || !mexpr_affine(c->m, e, &end)) return false;
    p->var[p->n] = vars[i];
    p->value[p->n++] = end;
  }
  for (int i = 0; i < n; i++) /* ends of inner ranges hold outer variables */
    for (int k = i + 1; k < n; k++)
      if (!affine_substitute(&p->value[i], p->var[k], &p->value[k], &p->value[i])) return false;
  for (int i = 0; i < n; i++) {
    const Var *v = &c->m->vars.at[vars[i]];
    Affine lo, hi;
    bool known = expr_at(c, p, v->lo, &lo) && expr_at(c, p, v->hi, &hi);
    if (known && prove_gt(c->facts, &lo, &hi)) return false;
    bool open = v->kind == VAR_REDUCTION || mexpr_has_var(v->lo) || (known && mexpr_has_var(v->hi));
    if (open && !(known && prove_ge(c->facts, &hi, &lo))) return false;
  }
  return true;
}

/* ---- elements defined twice ------------------------------------------------------------------------------------------------ */

static void stmt_vars(const Check *c, const Stmt *s, int *vars, int *n)
{
  *n = 0;
  for (int k = 0; k < s->n_index; k++) add_vars(c, &s->index[k].affine, vars, n);
  sort_vars(vars, *n);
}

static const char *element_text(const Check *c, int family, const Affine *v, int n)
{
  StrBuf b = {0};
  sb_puts(&b, c->m->families.at[family].name);
  for (int k = 0; k < n; k++) {
    Index x = {.kind = IX_AFFINE, .expr = affine_expr(&v[k], (Span){0, 0})};
    sb_printf(&b, "%s%s", k ? "," : "[", index_text(c->m, &x));
  }
  sb_putc(&b, ']');
  return sb_text(&b);
}

/* Is a corner of a's range certainly an element of b too? */
static const char *common_element(const Check *c, const Stmt *a, const Stmt *b)
{
  int vars[MAX_VARS + 16], n;
  stmt_vars(c, a, vars, &n);
  if (n > MAX_VARS) return NULL;
  for (unsigned which = 0; which < 1u << n; which++) {
    Corner p;
    Affine v[16];
    AffineVec conditions = {0};
    bool both = make_corner(c, vars, n, which, &p);
    for (int k = 0; both && k < a->n_index; k++) both = a->index[k].kind == IX_AFFINE && at_corner(&p, &a->index[k].affine, &v[k]);
    both = both && piece_conditions(c->m, b, v, &conditions);
    for (int k = 0; both && k < conditions.n; k++) both = prove_nonnegative(c->facts, &conditions.at[k]);
    if (both) return element_text(c, a->family, v, a->n_index);
  }
  return NULL;
}

static void check_duplicates(const Check *c, int family)
{
  const Family *f = &c->m->families.at[family];
  for (int i = 1; f->n_index && i < f->n_statements; i++)
    for (int j = 0; j < i; j++) {
      const Stmt *a = &c->m->stmts.at[f->statements[j]], *b = &c->m->stmts.at[f->statements[i]];
      if (apart(f->n_index, c->extent[f->statements[j]], c->extent[f->statements[i]])) continue;
      const char *element = common_element(c, a, b);
      if (!element) element = common_element(c, b, a);
      if (!element) continue;
      diag_error(c->r->stmts.at[f->statements[i]].ast->target_span, NULL, "%s is defined twice", element);
      diag_note(c->r->stmts.at[f->statements[j]].ast->target_span, "the other definition is here");
      return;
    }
}

/* ---- references to nothing ------------------------------------------------------------------------------------------------- */

/* Conditions of `?:` around a reference: each must hold (or fail) for it to be evaluated. */
typedef struct Guard {
  const MExpr *condition;
  bool holds;
  const struct Guard *outer;
} Guard;

typedef enum { NO, YES, OPEN } Answer;

static Answer truth(const Check *c, const Corner *p, const MExpr *e)
{
  Affine a, b;
  if (e->kind == M_UNARY && e->op == OP_NOT) {
    Answer x = truth(c, p, e->args[0]);
    return x == OPEN ? OPEN : x == YES ? NO : YES;
  }
  if (e->kind != M_BINARY) return OPEN;
  if (e->op == OP_AND || e->op == OP_OR) {
    Answer x = truth(c, p, e->args[0]), y = truth(c, p, e->args[1]), decisive = e->op == OP_AND ? NO : YES;
    return x == decisive || y == decisive ? decisive : x == OPEN || y == OPEN ? OPEN : x;
  }
  if (!expr_at(c, p, e->args[0], &a) || !expr_at(c, p, e->args[1], &b)) return OPEN;
  bool gt = prove_gt(c->facts, &a, &b), lt = prove_gt(c->facts, &b, &a), ge = prove_ge(c->facts, &a, &b), le = prove_ge(c->facts, &b, &a);
  switch (e->op) {
  case OP_LT:
    return lt ? YES : ge ? NO : OPEN;
  case OP_LE:
    return le ? YES : gt ? NO : OPEN;
  case OP_GT:
    return gt ? YES : le ? NO : OPEN;
  case OP_GE:
    return ge ? YES : lt ? NO : OPEN;
  case OP_EQ:
    return ge && le ? YES : gt || lt ? NO : OPEN;
  case OP_NE:
    return gt || lt ? YES : ge && le ? NO : OPEN;
  default:
    return OPEN;
  }
}

static bool certainly_outside(const Check *c, int family, const Affine *v)
{
  const Family *f = &c->m->families.at[family];
  Affine minus_one = {.constant = -1}, zero = {0};
  Extent at[16];
  for (int k = 0; k < f->n_index; k++) at[k] = v[k].n ? (Extent){0} : (Extent){true, v[k].constant, v[k].constant};
  for (int i = 0; i < f->n_statements; i++) {
    const Stmt *s = &c->m->stmts.at[f->statements[i]];
    AffineVec conditions = {0};
    bool outside = false;
    if (apart(f->n_index, at, c->extent[f->statements[i]])) continue;
    if (!piece_conditions(c->m, s, v, &conditions)) return false;
    for (int k = 0; !outside && k < conditions.n; k++) {
      Affine failed; /* -condition - 1 >= 0 */
      outside = affine_combine(&zero, -1, &conditions.at[k], &failed) && affine_combine(&failed, 1, &minus_one, &failed) &&
                prove_nonnegative(c->facts, &failed);
    }
    if (!outside) return false;
  }
  return true;
}

/* All values of a lookup through a discrete latent variable occur; those of data need not. */
static bool latent_lookup_end(const Check *c, const Index *x, bool high, Affine *out)
{
  const Family *f = &c->m->families.at[x->expr->family];
  Affine shift = {.constant = x->shift};
  if (f->role != ROLE_LOCAL && f->role != ROLE_MARGINAL && f->role != ROLE_GLOBAL) return false;
  const MExpr *e = high ? f->type.upper : f->type.lower;
  return e && mexpr_affine(c->m, e, out) && affine_combine(out, 1, &shift, out);
}

static bool index_end(const Check *c, const Index *x, bool high, Affine *out)
{
  switch (x->kind) {
  case IX_AFFINE:
    *out = x->affine;
    return true;
  case IX_SLICE:
    return mexpr_affine(c->m, high ? x->hi : x->lo, out);
  case IX_LOOKUP:
    return latent_lookup_end(c, x, high, out);
  case IX_EXPR:
    return false;
  }
  return false;
}

static const char *corner_text(const Check *c, const Corner *p)
{
  StrBuf b = {0};
  for (int i = p->n - 1; i >= 0; i--)
    sb_printf(&b, "%s%s = %s", b.length ? ", " : " at ", c->m->vars.at[p->var[i]].name,
              mexpr_text(c->m, affine_expr(&p->value[i], (Span){0, 0})));
  return sb_text(&b);
}

static bool has_variable(const Affine *a)
{
  for (int i = 0; i < a->n; i++)
    if (a->term[i].kind == ATOM_VAR) return true;
  return false;
}

/* `input x[N];` beside references x[n]: the habit of languages whose declarations give sizes. Here it is the one element with index N. */
static bool declared_by_size(const Check *c, const MExpr *ref)
{
  const Family *f = &c->m->families.at[ref->family];
  if (f->n_statements != 1 || f->role == ROLE_LET) return false;
  const Stmt *s = &c->m->stmts.at[f->statements[0]];
  for (int k = 0; k < s->n_index; k++) {
    const Affine *size = &s->index[k].affine;
    if (size->n != 1 || size->term[0].kind != ATOM_INPUT || size->term[0].coef != 1 || size->constant) continue;
    if (ref->index[k].kind == IX_AFFINE && !has_variable(&ref->index[k].affine)) continue;
    const MExpr element = {.kind = M_REF, .family = ref->family, .n_index = s->n_index, .index = s->index};
    if (!c->by_size[ref->family]) {
      diag_error(ref->span, arena_printf("for all of them: plate i in 1..%s { ... %s[i] ... }", mexpr_text(c->m, s->index[k].expr), f->name),
                 "%s is declared, which is one element, and not %s", mexpr_text(c->m, &element), mexpr_text(c->m, ref));
      note_family(c->r, ref->family);
    }
    c->by_size[ref->family] = true;
    return true;
  }
  return false;
}

static void check_reference(const Check *c, const MExpr *ref, const Guard *guard)
{
  int vars[MAX_VARS + 16], n = 0, wide = -1;
  const Family *f = &c->m->families.at[ref->family];
  if (!f->n_index || f->block_let || !family_sound(c, ref->family) || declared_by_size(c, ref)) return;
  Affine end[2][16];
  for (int k = 0; k < ref->n_index; k++) {
    if (!index_end(c, &ref->index[k], false, &end[0][k]) || !index_end(c, &ref->index[k], true, &end[1][k])) return;
    if (ref->index[k].kind != IX_AFFINE) {
      if (wide >= 0) return;
      wide = k;
    }
    add_vars(c, &end[0][k], vars, &n);
    add_vars(c, &end[1][k], vars, &n);
  }
  if (n > MAX_VARS) return;
  sort_vars(vars, n);
  for (int side = 0; side < (wide >= 0 ? 2 : 1); side++)
    for (unsigned which = 0; which < 1u << n; which++) {
      Corner p;
      Affine v[16], low, high;
      bool there = make_corner(c, vars, n, which, &p);
      for (int k = 0; there && k < ref->n_index; k++) there = at_corner(&p, &end[k == wide ? side : 0][k], &v[k]);
      if (there && wide >= 0) /* an empty slice reaches nothing */
        there = at_corner(&p, &end[0][wide], &low) && at_corner(&p, &end[1][wide], &high) && prove_ge(c->facts, &high, &low);
      for (const Guard *g = guard; there && g; g = g->outer) there = truth(c, &p, g->condition) == (g->holds ? YES : NO);
      if (!there || !certainly_outside(c, ref->family, v)) continue;
      const char *element = element_text(c, ref->family, v, ref->n_index), *text = mexpr_text(c->m, ref), *hint = NULL;
      bool constant = true;
      for (int k = 0; k < ref->n_index; k++) constant = constant && !v[k].n;
      const char *word = f->role == ROLE_OBSERVED ? "input" : f->role == ROLE_LET ? "let" : "latent";
      if (constant && (f->role == ROLE_OBSERVED || f->role == ROLE_LOCAL || f->role == ROLE_GLOBAL || f->role == ROLE_LET))
        hint = arena_printf("define it: %s %s %s ...%s", word, element, *word == 'l' && word[1] == 'a' ? "~" : "=",
                            p.n ? "; or begin the range later" : "");
      const Stmt *only = f->n_statements == 1 ? &c->m->stmts.at[f->statements[0]] : NULL;
      if (only && only->plate < 0 && only->n_index == 1 && !mexpr_has_var(only->index[0].expr))
        hint = arena_printf("%s is one element; for several: plate k in 1..%s { ... %s[k] ... }, or %s : vector[%s]",
                            element_text(c, ref->family, &only->index[0].affine, 1), mexpr_text(c->m, only->index[0].expr), f->name, f->name,
                            mexpr_text(c->m, only->index[0].expr));
      if (!strcmp(text, element))
        diag_error(ref->span, hint, "%s is not defined", element);
      else
        diag_error(ref->span, hint, "%s reaches %s%s, which is not defined", text, element, corner_text(c, &p));
      note_family(c->r, ref->family);
      return;
    }
}

/* Entries z[n][k] and W[i, j] against the dimensions, 1..K. */
static void check_entry(const Check *c, const MExpr *ref, const Type *t, int n, const Index *entry, const Guard *guard)
{
  for (int k = 0; k < n; k++) {
    Affine size, zero = {0};
    if (!mexpr_affine(c->m, t->dim[k], &size)) continue;
    for (int side = 0; side < 2; side++) {
      Affine e;
      int vars[MAX_VARS + 16], count = 0;
      if (!index_end(c, &entry[k], side, &e)) continue;
      add_vars(c, &e, vars, &count);
      if (count > MAX_VARS) continue;
      sort_vars(vars, count);
      for (unsigned which = 0; which < 1u << count; which++) {
        Corner p;
        Affine v;
        bool there = make_corner(c, vars, count, which, &p) && at_corner(&p, &e, &v);
        for (const Guard *g = guard; there && g; g = g->outer) there = truth(c, &p, g->condition) == (g->holds ? YES : NO);
        bool below = there && prove_ge(c->facts, &zero, &v), above = there && prove_gt(c->facts, &v, &size);
        if (entry[k].kind == IX_SLICE && there) { /* an empty slice reaches nothing */
          Affine lo, hi;
          if (!expr_at(c, &p, entry[k].lo, &lo) || !expr_at(c, &p, entry[k].hi, &hi) || !prove_ge(c->facts, &hi, &lo)) continue;
        }
        if (!below && !above) continue;
        const char *what = ref->kind == M_REF ? arena_printf("'%s'", c->m->families.at[ref->family].name) : "the value";
        diag_error(entry[k].span, below ? "entries are counted from 1" : NULL, "%s has no entry %s%s; it has entries 1 to %s", what,
                   mexpr_text(c->m, affine_expr(&v, entry[k].span)), corner_text(c, &p), mexpr_text(c->m, t->dim[k]));
        note_operand(c->r, ref);
        return;
      }
    }
  }
}

static void check_expr(const Check *c, const MExpr *e, const Guard *guard);

static void check_indices(const Check *c, int n, const Index *index, const Guard *guard)
{
  for (int i = 0; i < n; i++) {
    if (index[i].expr) check_expr(c, index[i].expr, guard);
    if (index[i].lo) check_expr(c, index[i].lo, guard);
    if (index[i].hi) check_expr(c, index[i].hi, guard);
  }
}

static void check_expr(const Check *c, const MExpr *e, const Guard *guard)
{
  check_indices(c, e->n_index, e->index, guard);
  check_indices(c, e->n_entry, e->entry, guard);
  if (e->kind == M_REF) {
    check_reference(c, e, guard);
    if (e->n_entry) check_entry(c, e, &c->m->families.at[e->family].type, e->n_entry, e->entry, guard);
  }
  if (e->kind == M_ENTRY) check_entry(c, e, &e->args[0]->type, e->n_entry, e->entry, guard);
  if (e->kind == M_COND) {
    Guard yes = {e->args[0], true, guard}, no = {e->args[0], false, guard};
    check_expr(c, e->args[0], guard);
    check_expr(c, e->args[1], &yes);
    check_expr(c, e->args[2], &no);
    return;
  }
  if (e->kind == M_REDUCE) {
    check_expr(c, c->m->vars.at[e->var].lo, guard);
    check_expr(c, c->m->vars.at[e->var].hi, guard);
  }
  for (int i = 0; i < e->n_args; i++) check_expr(c, e->args[i], guard);
}

int statement_exprs(const Stmt *s, const MExpr **out)
{
  int n = 0;
  const MExpr *all[] = {s->value, s->has_dist ? s->dist.t_lo : NULL, s->has_dist ? s->dist.t_hi : NULL, s->type.lower, s->type.upper};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i]) out[n++] = all[i];
  for (int i = 0; s->has_dist && i < s->dist.n_args; i++)
    if (s->dist.args[i]) out[n++] = s->dist.args[i];
  return n;
}

static void check_references(const Check *c)
{
  for (int i = 0; i < c->m->stmts.n; i++) {
    const Stmt *s = &c->m->stmts.at[i];
    bool plates = true;
    for (int p = s->plate; p >= 0; p = c->m->plates.at[p].parent) plates = plates && !c->r->plate_damaged.at[p];
    if (c->r->stmts.at[i].damaged || !plates) continue;
    const MExpr *list[MAX_STATEMENT_EXPRS];
    int n = statement_exprs(s, list);
    for (int k = 0; k < n; k++) check_expr(c, list[k], NULL);
    check_indices(c, s->n_index, s->index, NULL);
    for (int k = 0; k < s->n_from; k++) {
      const FromRef *f = &s->from[k];
      MExpr input = {.kind = M_REF, .span = f->span, .family = f->family, .n_index = f->n_index, .index = f->index};
      bool whole = f->set_var >= 0;
      for (int j = 0; j < f->n_index; j++) {
        whole = whole || f->star[j];
        if (!f->star[j] && f->set_var < 0) check_indices(c, 1, &f->index[j], NULL);
      }
      if (!whole) check_reference(c, &input, NULL);
    }
  }
  for (int i = 0; i < c->m->plates.n; i++) {
    const Var *v = &c->m->vars.at[c->m->plates.at[i].var];
    if (c->r->plate_damaged.at[i]) continue;
    check_expr(c, v->lo, NULL);
    check_expr(c, v->hi, NULL);
  }
}

/* All references of an expression, those in the ranges of its reductions included. */
static void all_refs(const Model *m, const MExpr *e, RefList *out)
{
  if (e->kind == M_REF) VEC_PUSH(*out, e);
  for (int side = 0; side < 2; side++) {
    int n = side ? e->n_entry : e->n_index;
    const Index *index = side ? e->entry : e->index;
    for (int i = 0; i < n; i++) {
      if (index[i].expr) all_refs(m, index[i].expr, out);
      if (index[i].lo) all_refs(m, index[i].lo, out);
      if (index[i].hi) all_refs(m, index[i].hi, out);
    }
  }
  if (e->kind == M_REDUCE) {
    all_refs(m, m->vars.at[e->var].lo, out);
    all_refs(m, m->vars.at[e->var].hi, out);
  }
  for (int i = 0; i < e->n_args; i++) all_refs(m, e->args[i], out);
}

/* ---- strongly connected components ----------------------------------------------------------------------------------------- */

typedef struct {
  int from, to, tag;
} Edge;
typedef VEC(Edge) EdgeVec;

/* Component number of each node, by Tarjan's algorithm without recursion; returns the number of components. */
static int components(int n, const EdgeVec *edges, int *component)
{
  int *start = NEW_ARRAY(int, n + 2), *list = NEW_ARRAY(int, edges->n + 1), *index = NEW_ARRAY(int, n), *low = NEW_ARRAY(int, n);
  int *next = NEW_ARRAY(int, n), *path = NEW_ARRAY(int, n + 1), *stack = NEW_ARRAY(int, n + 1), depth = 0, top = 0, count = 0, time = 0;
  for (int i = 0; i < edges->n; i++) start[edges->at[i].from + 2]++;
  for (int i = 2; i < n + 2; i++) start[i] += start[i - 1];
  for (int i = 0; i < edges->n; i++) list[start[edges->at[i].from + 1]++] = edges->at[i].to;
  for (int i = 0; i < n; i++) component[i] = -1;
  for (int root = 0; root < n; root++) {
    if (index[root]) continue;
    path[depth++] = root;
    while (depth) {
      int v = path[depth - 1];
      if (!index[v]) {
        index[v] = low[v] = ++time;
        next[v] = start[v];
        stack[top++] = v;
      }
      if (next[v] < start[v + 1]) {
        int w = list[next[v]++];
        if (!index[w])
          path[depth++] = w;
        else if (component[w] < 0 && index[w] < low[v])
          low[v] = index[w];
        continue;
      }
      depth--;
      if (depth && low[v] < low[path[depth - 1]]) low[path[depth - 1]] = low[v];
      if (low[v] != index[v]) continue;
      int w;
      do {
        w = stack[--top];
        component[w] = count;
      } while (w != v);
      count++;
    }
  }
  return count;
}

/* ---- cycles ---------------------------------------------------------------------------------------------------------------- */

/* Nodes are defining statements, an edge says that an element of `from` may depend on one of `to`, by the reference refs[tag]. */
typedef struct {
  const Check *c;
  EdgeVec edges;
  VEC(const MExpr *) refs;
  int *axis;  /* by family: the position of its index along which offsets are measured, -1 = none yet */
  int *local; /* by statement: scratch of each_component, -1 between its calls */
} Cycles;

typedef enum { DIR_BACK, DIR_FORTH, DIR_SAME, DIR_NOT_FORTH, DIR_NOT_BACK, DIR_UNKNOWN } Direction;

/* The index of a let of a block is that of its plates. */
static int full_index_count(const Check *c, int family)
{
  const Family *f = &c->m->families.at[family];
  int n = f->n_index;
  for (int p = f->block_let ? c->m->stmts.at[f->statements[0]].plate : -1; p >= 0; p = c->m->plates.at[p].parent) n++;
  return n;
}

static bool plate_affine(const Check *c, int stmt, int k, Affine *out)
{
  int chain[16];
  model_plate_chain(c->m, c->m->stmts.at[stmt].plate, chain, 16);
  *out = (Affine){.n = 1, .term = NEW(AffineTerm)};
  out->term[0] = (AffineTerm){ATOM_VAR, c->m->plates.at[chain[k]].var, 1};
  return true;
}

/* Position k of the element that the statement defines. */
static bool defined_at(const Check *c, int stmt, int k, Affine *out)
{
  const Stmt *s = &c->m->stmts.at[stmt];
  if (c->m->families.at[s->family].block_let) return plate_affine(c, stmt, k, out);
  *out = s->index[k].affine;
  return s->index[k].kind == IX_AFFINE;
}

static bool referred_at(const Check *c, const MExpr *ref, int k, Affine *lo, Affine *hi)
{
  const Family *f = &c->m->families.at[ref->family];
  if (f->block_let) return plate_affine(c, f->statements[0], k, lo) && (*hi = *lo, true);
  const Index *x = &ref->index[k];
  if (x->kind == IX_SLICE) return mexpr_affine(c->m, x->lo, lo) && mexpr_affine(c->m, x->hi, hi);
  *lo = *hi = x->affine;
  return x->kind == IX_AFFINE;
}

static Direction edge_direction(const Cycles *y, const Edge *e)
{
  const Check *c = y->c;
  const MExpr *ref = y->refs.at[e->tag];
  int a = y->axis[c->m->stmts.at[e->from].family], b = y->axis[ref->family];
  Affine here, lo, hi;
  if (a < 0 || b < 0 || !defined_at(c, e->from, a, &here) || !referred_at(c, ref, b, &lo, &hi)) return DIR_UNKNOWN;
  bool back = prove_ge(c->facts, &here, &hi), forth = prove_ge(c->facts, &lo, &here);
  if (prove_gt(c->facts, &here, &hi)) return DIR_BACK;
  if (prove_gt(c->facts, &lo, &here)) return DIR_FORTH;
  return back && forth ? DIR_SAME : back ? DIR_NOT_FORTH : forth ? DIR_NOT_BACK : DIR_UNKNOWN;
}

static int var_position_defined(const Check *c, int stmt, int var)
{
  for (int k = 0; k < full_index_count(c, c->m->stmts.at[stmt].family); k++) {
    Affine a;
    if (defined_at(c, stmt, k, &a) && affine_coef(&a, ATOM_VAR, var)) return k;
  }
  return -1;
}

static int var_position_referred(const Check *c, const MExpr *ref, int var)
{
  for (int k = 0; k < full_index_count(c, ref->family); k++) {
    Affine lo, hi;
    if (referred_at(c, ref, k, &lo, &hi) && affine_coef(&lo, ATOM_VAR, var)) return k;
  }
  return -1;
}

static int single_var(const Affine *a)
{
  for (int i = 0; i < a->n; i++)
    if (a->term[i].kind == ATOM_VAR) return a->term[i].id;
  return -1;
}

/* Carries the choice of an axis from one family to the others of the component, along plate variables that both indices hold. */
static void spread_axis(Cycles *y, const EdgeVec *edges)
{
  const Check *c = y->c;
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = 0; i < edges->n; i++) {
      const Edge *e = &edges->at[i];
      const MExpr *ref = y->refs.at[e->tag];
      int from = c->m->stmts.at[e->from].family, to = ref->family;
      Affine lo, hi;
      if (y->axis[from] >= 0 && y->axis[to] < 0 && defined_at(c, e->from, y->axis[from], &lo) && single_var(&lo) >= 0) {
        y->axis[to] = var_position_referred(c, ref, single_var(&lo));
        changed = changed || y->axis[to] >= 0;
      } else if (y->axis[from] < 0 && y->axis[to] >= 0 && referred_at(c, ref, y->axis[to], &lo, &hi) && single_var(&lo) >= 0) {
        y->axis[from] = var_position_defined(c, e->from, single_var(&lo));
        changed = changed || y->axis[from] >= 0;
      }
    }
  }
  for (int i = 0; i < edges->n; i++) { /* nothing but constants: the first position */
    int to = y->refs.at[edges->at[i].tag]->family;
    if (y->axis[to] < 0 && full_index_count(c, to) > 0) y->axis[to] = 0;
  }
}

static bool well_founded(Cycles *y, const EdgeVec *edges, int depth);

/* Edges whose ends are in one component, by component; nodes are numbered anew, so that the work depends on the edges alone. */
static bool each_component(Cycles *y, const EdgeVec *edges, int depth)
{
  if (!edges->n) return true;
  VEC(int) nodes = {0};
  EdgeVec renamed = {0};
  for (int i = 0; i < edges->n; i++) {
    int ends[2] = {edges->at[i].from, edges->at[i].to};
    for (int k = 0; k < 2; k++)
      if (y->local[ends[k]] < 0) {
        y->local[ends[k]] = nodes.n;
        VEC_PUSH(nodes, ends[k]);
      }
    VEC_PUSH(renamed, (Edge){y->local[ends[0]], y->local[ends[1]], 0});
  }
  for (int i = 0; i < nodes.n; i++) y->local[nodes.at[i]] = -1;
  int *component = NEW_ARRAY(int, nodes.n), count = components(nodes.n, &renamed, component);
  EdgeVec *inner = NEW_ARRAY(EdgeVec, count);
  for (int i = 0; i < edges->n; i++)
    if (component[renamed.at[i].from] == component[renamed.at[i].to]) VEC_PUSH(inner[component[renamed.at[i].from]], edges->at[i]);
  for (int i = 0; i < count; i++)
    if (inner[i].n && !well_founded(y, &inner[i], depth)) return false;
  return true;
}

/* One strongly connected component: there must be an axis along which no edge goes the wrong way; what does not move along it must be
 * well founded by itself. */
static bool well_founded(Cycles *y, const EdgeVec *edges, int depth)
{
  const Check *c = y->c;
  int first = c->m->stmts.at[edges->at[0].from].family;
  if (depth > 6) return false;
  for (int k = 0; k < full_index_count(c, first); k++) {
    for (int i = 0; i < edges->n; i++)
      y->axis[c->m->stmts.at[edges->at[i].from].family] = y->axis[y->refs.at[edges->at[i].tag]->family] = -1;
    y->axis[first] = k;
    spread_axis(y, edges);
    bool back = true, forth = true;
    EdgeVec still_back = {0}, still_forth = {0};
    for (int i = 0; i < edges->n && (back || forth); i++) {
      Direction d = edge_direction(y, &edges->at[i]);
      back = back && (d == DIR_BACK || d == DIR_SAME || d == DIR_NOT_FORTH);
      forth = forth && (d == DIR_FORTH || d == DIR_SAME || d == DIR_NOT_BACK);
      if (d != DIR_BACK) VEC_PUSH(still_back, edges->at[i]);
      if (d != DIR_FORTH) VEC_PUSH(still_forth, edges->at[i]);
    }
    if (back && still_back.n < edges->n && each_component(y, &still_back, depth + 1)) return true;
    if (forth && still_forth.n < edges->n && each_component(y, &still_forth, depth + 1)) return true;
  }
  return false;
}

/* Could this reference, whose index has the extents `at`, mean an element that the statement defines? */
static bool may_meet(const Check *c, const MExpr *ref, const Extent *at, int stmt)
{
  Affine v[16], zero = {0}, minus_one = {.constant = -1};
  AffineVec conditions = {0};
  const Stmt *s = &c->m->stmts.at[stmt];
  if (!ref->n_index) return true;
  if (apart(ref->n_index, at, c->extent[stmt])) return false;
  for (int k = 0; k < ref->n_index; k++) {
    if (ref->index[k].kind != IX_AFFINE) return true;
    v[k] = ref->index[k].affine;
  }
  if (!piece_conditions(c->m, s, v, &conditions)) return true;
  for (int k = 0; k < conditions.n; k++) {
    Affine failed;
    if (affine_combine(&zero, -1, &conditions.at[k], &failed) && affine_combine(&failed, 1, &minus_one, &failed) &&
        prove_nonnegative(c->facts, &failed))
      return false;
  }
  return true;
}

static const char *defined_text(const Check *c, int stmt)
{
  const Stmt *s = &c->m->stmts.at[stmt];
  StrBuf b = {0};
  sb_puts(&b, c->m->families.at[s->family].name);
  for (int k = 0; k < s->n_index; k++) sb_printf(&b, "%s%s", k ? "," : "[", index_text(c->m, &s->index[k]));
  if (s->n_index) sb_putc(&b, ']');
  return sb_text(&b);
}

typedef VEC(int) IntVec;

/* The shortest walk that begins with edge `first` and returns to where that came from; its edges in order, none if there is no such
 * walk. */
static IntVec find_cycle(const Check *c, const EdgeVec *edges, int first)
{
  int nodes = c->m->stmts.n, head = 0, tail = 0, target = edges->at[first].from;
  int *by = NEW_ARRAY(int, nodes), *queue = NEW_ARRAY(int, nodes + 1), *start = NEW_ARRAY(int, nodes + 2), *list = NEW_ARRAY(int, edges->n);
  IntVec back = {0}, cycle = {0};
  for (int i = 0; i < edges->n; i++) start[edges->at[i].from + 2]++;
  for (int i = 2; i < nodes + 2; i++) start[i] += start[i - 1];
  for (int i = 0; i < edges->n; i++) list[start[edges->at[i].from + 1]++] = i;
  for (int i = 0; i < nodes; i++) by[i] = -1;
  by[edges->at[first].to] = first;
  queue[tail++] = edges->at[first].to;
  while (head < tail && by[target] < 0) {
    int v = queue[head++];
    for (int i = start[v]; i < start[v + 1]; i++)
      if (by[edges->at[list[i]].to] < 0) {
        by[edges->at[list[i]].to] = list[i];
        queue[tail++] = edges->at[list[i]].to;
      }
  }
  if (by[target] < 0) return cycle;
  for (int v = target; !back.n || back.at[back.n - 1] != first; v = edges->at[by[v]].from) VEC_PUSH(back, by[v]);
  while (back.n) VEC_PUSH(cycle, back.at[--back.n]);
  return cycle;
}

/* "z[t] -> x[t] -> z[t]"; where a reference and the definition it meets are written differently, "z[t] -> x[t-1], x[t] -> z[t]". The
 * middle of a long one is left out. */
static const char *cycle_text(const Cycles *y, const EdgeVec *edges, const IntVec *cycle)
{
  const Check *c = y->c;
  StrBuf b = {0};
  const char *last = NULL;
  for (int i = 0; i < cycle->n; i++) {
    if (cycle->n > 10 && i == 4) {
      sb_puts(&b, " -> ...");
      i = cycle->n - 4;
    }
    const Edge *e = &edges->at[cycle->at[i]];
    const char *from = defined_text(c, e->from);
    if (!last)
      sb_puts(&b, from);
    else if (strcmp(last, from) && i != cycle->n - 4)
      sb_printf(&b, ", %s", from);
    last = mexpr_text(c->m, y->refs.at[e->tag]);
    sb_printf(&b, " -> %s", last);
  }
  return sb_text(&b);
}

#define MAX_TRIES 64 /* of edges that might close a cycle */

static void report_cycle(Cycles *y, const EdgeVec *edges)
{
  const Check *c = y->c;
  int back = -1, forth = -1, open = -1;
  IntVec cycle = {0};
  for (int i = 0; i < edges->n; i++) y->axis[c->m->stmts.at[edges->at[i].from].family] = -1;
  y->axis[c->m->stmts.at[edges->at[0].from].family] = full_index_count(c, c->m->stmts.at[edges->at[0].from].family) ? 0 : -1;
  spread_axis(y, edges);
  EdgeVec same = {0};
  for (int i = 0; i < edges->n; i++) {
    bool scalar = !full_index_count(c, y->refs.at[edges->at[i].tag]->family);
    Direction d = scalar ? DIR_SAME : edge_direction(y, &edges->at[i]);
    if (d == DIR_SAME) VEC_PUSH(same, edges->at[i]);
    if (d == DIR_BACK && back < 0) back = i;
    if (d == DIR_FORTH && forth < 0) forth = i;
    if ((d == DIR_UNKNOWN || d == DIR_NOT_FORTH || d == DIR_NOT_BACK) && open < 0) open = i;
  }
  for (int i = 0; i < same.n && i < MAX_TRIES && !cycle.n; i++) cycle = find_cycle(c, &same, i);
  if (cycle.n) { /* an element that surely depends on itself */
    const Edge *e = &same.at[cycle.at[0]];
    diag_error(y->refs.at[e->tag]->span, NULL, "%s depends on itself: %s", defined_text(c, e->from), cycle_text(y, &same, &cycle));
    for (int k = 1; k < cycle.n && k < 4; k++) {
      e = &same.at[cycle.at[k]];
      diag_note(y->refs.at[e->tag]->span, "%s depends on %s here", defined_text(c, e->from), mexpr_text(c->m, y->refs.at[e->tag]));
    }
    return;
  }
  int first = open >= 0 ? open : back >= 0 ? back : 0;
  const MExpr *ref = y->refs.at[edges->at[first].tag];
  const char *name = c->m->families.at[c->m->stmts.at[edges->at[first].from].family].name;
  cycle = find_cycle(c, edges, first);
  const char *text = cycle_text(y, edges, &cycle);
  if (open >= 0) {
    const char *hint = "a reference back to its own family needs an offset of one sign along a plate, as z[t-1]";
    for (int k = 0; k < ref->n_index; k++) /* z[t-K]: is K positive? */
      for (int i = 0; ref->index[k].kind == IX_AFFINE && i < ref->index[k].affine.n; i++) {
        const AffineTerm *t = &ref->index[k].affine.term[i];
        if (t->kind != ATOM_INPUT || t->coef > 0 || c->m->families.at[t->id].type.lower) continue;
        hint = arena_printf("if it is always positive, say so: input %s : int<lower=1>", c->m->families.at[t->id].name);
      }
    diag_error(ref->span, hint, "'%s' may depend on itself: %s", name, text);
  } else if (back >= 0 && forth >= 0) {
    diag_error(ref->span, "all offsets of a cycle must have one sign along one plate", "'%s' depends on itself in both directions: %s",
               name, text);
    cycle = find_cycle(c, edges, forth);
    diag_note(y->refs.at[edges->at[forth].tag]->span, "the other direction: %s", cycle_text(y, edges, &cycle));
  } else {
    diag_error(ref->span, "all offsets of a cycle must have one sign along one plate", "'%s' may depend on itself: %s", name, text);
  }
}

void statement_refs(const Model *m, const Stmt *s, RefList *out)
{
  const MExpr *list[MAX_STATEMENT_EXPRS];
  int n = statement_exprs(s, list);
  for (int i = 0; i < n; i++) all_refs(m, list[i], out);
  for (int k = 0; k < s->n_index; k++)
    if (s->index[k].expr) all_refs(m, s->index[k].expr, out);
  for (int i = 0; i < 2 && type_rank(s->type.kind); i++)
    if (s->type.dim[i]) all_refs(m, s->type.dim[i], out);
  for (int p = s->plate; p >= 0; p = m->plates.at[p].parent) {
    all_refs(m, m->vars.at[m->plates.at[p].var].lo, out);
    all_refs(m, m->vars.at[m->plates.at[p].var].hi, out);
  }
}

static void check_cycles(const Check *c)
{
  const Model *m = c->m;
  EdgeVec families = {0};
  RefList *refs = NEW_ARRAY(RefList, m->stmts.n);
  for (int i = 0; i < m->stmts.n; i++) {
    const Stmt *s = &m->stmts.at[i];
    if (s->kind == ST_FACTOR || s->kind == ST_AMORTIZE || c->r->stmts.at[i].damaged) continue;
    statement_refs(m, s, &refs[i]);
    for (int k = 0; k < refs[i].n; k++) VEC_PUSH(families, (Edge){s->family, refs[i].at[k]->family, 0});
  }
  int *component = NEW_ARRAY(int, m->families.n), count = components(m->families.n, &families, component);
  bool *cyclic = NEW_ARRAY(bool, count);
  for (int i = 0; i < families.n; i++)
    if (component[families.at[i].from] == component[families.at[i].to]) cyclic[component[families.at[i].from]] = true;
  /* within cyclic components of names: statements, and only those that can meet */
  Cycles y = {.c = c, .axis = NEW_ARRAY(int, m->families.n), .local = NEW_ARRAY(int, m->stmts.n)};
  for (int i = 0; i < m->stmts.n; i++) y.local[i] = -1;
  for (int i = 0; i < m->stmts.n; i++)
    for (int k = 0; k < refs[i].n; k++) {
      const MExpr *ref = refs[i].at[k];
      if (!cyclic[component[ref->family]] || component[ref->family] != component[m->stmts.at[i].family] || !family_sound(c, ref->family))
        continue;
      VEC_PUSH(y.refs, ref);
      const Family *f = &m->families.at[ref->family];
      const Extent *at = index_extents(c, ref->n_index, ref->index);
      for (int j = 0; j < f->n_statements; j++)
        if (!c->r->stmts.at[f->statements[j]].damaged && may_meet(c, ref, at, f->statements[j]))
          VEC_PUSH(y.edges, (Edge){i, f->statements[j], y.refs.n - 1});
    }
  int *group = NEW_ARRAY(int, m->stmts.n), groups = components(m->stmts.n, &y.edges, group);
  EdgeVec *inner = NEW_ARRAY(EdgeVec, groups);
  for (int i = 0; i < y.edges.n; i++)
    if (group[y.edges.at[i].from] == group[y.edges.at[i].to]) VEC_PUSH(inner[group[y.edges.at[i].from]], y.edges.at[i]);
  for (int i = 0; i < groups; i++)
    if (inner[i].n && !well_founded(&y, &inner[i], 0)) report_cycle(&y, &inner[i]);
}

/* ---- chains of lets -------------------------------------------------------------------------------------------------------- */

#define MAX_CHAIN 3000 /* levels of an expression whose lets are replaced by their definitions: later passes recurse into it */

/* Levels of an expression, where those of lets are known. */
static int levels(const Model *m, const MExpr *e, const int *of_let)
{
  int deepest = e->kind == M_REF && m->families.at[e->family].role == ROLE_LET ? of_let[e->family] : 0;
  for (int side = 0; side < 2; side++) {
    const Index *index = side ? e->entry : e->index;
    for (int i = 0; i < (side ? e->n_entry : e->n_index); i++) {
      const MExpr *parts[] = {index[i].expr, index[i].lo, index[i].hi};
      for (int k = 0; k < 3; k++) {
        int n = parts[k] ? levels(m, parts[k], of_let) : 0;
        if (n > deepest) deepest = n;
      }
    }
  }
  for (int i = 0; i < e->n_args; i++) {
    int n = levels(m, e->args[i], of_let);
    if (n > deepest) deepest = n;
  }
  return deepest + 1;
}

/* In order of use: components are numbered so that what is used comes first. A let within a recurrence counts as 0 there. */
static void check_chains(const Check *c)
{
  const Model *m = c->m;
  EdgeVec edges = {0};
  for (int i = 0; i < m->stmts.n; i++) {
    RefList refs = {0};
    if (m->stmts.at[i].kind != ST_LET || !m->stmts.at[i].value) continue;
    all_refs(m, m->stmts.at[i].value, &refs);
    for (int k = 0; k < refs.n; k++) VEC_PUSH(edges, (Edge){m->stmts.at[i].family, refs.at[k]->family, 0});
  }
  int n = m->families.n, *component = NEW_ARRAY(int, n), *of_let = NEW_ARRAY(int, n), *order = NEW_ARRAY(int, n);
  int count = components(n, &edges, component), *start = NEW_ARRAY(int, count + 1);
  for (int i = 0; i < n; i++) start[component[i] + 1]++;
  for (int i = 0; i < count; i++) start[i + 1] += start[i];
  for (int i = 0; i < n; i++) order[start[component[i]]++] = i;
  for (int i = 0; i < n; i++) {
    const Family *f = &m->families.at[order[i]];
    int deepest = 0;
    for (int k = 0; f->role == ROLE_LET && k < f->n_statements; k++) {
      const MExpr *value = m->stmts.at[f->statements[k]].value;
      int here = value ? levels(m, value, of_let) : 0;
      if (here > deepest) deepest = here;
    }
    of_let[order[i]] = deepest;
    if (deepest <= MAX_CHAIN) continue;
    diag_error(f->span, NULL, "this let stands at the end of too long a chain of lets");
    return;
  }
}

/* ---- marginal variables ---------------------------------------------------------------------------------------------------- */

typedef struct {
  const Check *c;
  int *seen, factor;
  VEC(const MExpr *) marginal;
} MarginalRefs; /* seen: by let, the last factor that met it */

/* Elements of marginal families that a factor contains, directly or through lets. */
static void marginal_refs(MarginalRefs *q, const MExpr *e)
{
  const Model *m = q->c->m;
  RefList refs = {0};
  all_refs(m, e, &refs);
  for (int i = 0; i < refs.n; i++) { /* the list grows by the references of lets */
    const Family *f = &m->families.at[refs.at[i]->family];
    if (f->role == ROLE_MARGINAL) VEC_PUSH(q->marginal, refs.at[i]);
    if (f->role != ROLE_LET || q->seen[refs.at[i]->family] == q->factor) continue;
    q->seen[refs.at[i]->family] = q->factor;
    for (int k = 0; k < f->n_statements; k++)
      if (m->stmts.at[f->statements[k]].value) all_refs(m, m->stmts.at[f->statements[k]].value, &refs);
  }
}

static void check_marginals(const Check *c)
{
  bool any = false;
  int *seen = NEW_ARRAY(int, c->m->families.n);
  for (int i = 0; i < c->m->families.n; i++) any = any || c->m->families.at[i].role == ROLE_MARGINAL;
  for (int i = 0; any && i < c->m->stmts.n; i++) {
    const Stmt *s = &c->m->stmts.at[i];
    if (c->r->stmts.at[i].damaged || s->kind == ST_LET || s->kind == ST_AMORTIZE) continue;
    MarginalRefs q = {.c = c, .seen = seen, .factor = i + 1};
    const MExpr *list[MAX_STATEMENT_EXPRS];
    int n = statement_exprs(s, list);
    for (int k = 0; k < n; k++) marginal_refs(&q, list[k]);
    const char *own = s->is_marginal ? defined_text(c, i) : q.marginal.n ? mexpr_text(c->m, q.marginal.at[0]) : "";
    for (int k = 0; k < q.marginal.n; k++) {
      const char *other = mexpr_text(c->m, q.marginal.at[k]);
      if (!strcmp(own, other)) continue;
      diag_error(q.marginal.at[k]->span,
                 s->is_marginal && q.marginal.at[k]->family == s->family
                   ? "a chain of labels is declared without marginal: each label then has a factor of its own"
                   : "declare one of them as latent, without marginal",
                 "the marginal variables %s and %s meet in one factor", own, other);
      break;
    }
  }
}

void check_wellformed(Resolver *r)
{
  Check c = {r, r->m, facts_of(r->m, true), NEW_ARRAY(bool, r->m->families.n), NEW_ARRAY(Extent *, r->m->stmts.n),
             NEW_ARRAY(bool, r->m->families.n)};
  for (int i = 0; i < r->m->families.n; i++) c.sound[i] = understood(&c, i);
  for (int i = 0; i < r->m->stmts.n; i++)
    if (r->m->stmts.at[i].index) c.extent[i] = index_extents(&c, r->m->stmts.at[i].n_index, r->m->stmts.at[i].index);
  for (int i = 0; i < r->m->families.n; i++)
    if (family_sound(&c, i)) check_duplicates(&c, i);
  check_references(&c);
  check_cycles(&c);
  check_marginals(&c);
  if (!diag_errors()) check_chains(&c);
  if (!diag_errors()) warn_suspects(r);
}
