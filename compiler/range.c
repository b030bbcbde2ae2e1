/* Inequalities between affine forms over plate variables and inputs: range.h.
 *
 * To prove a >= 0, the variables are eliminated from the inside outwards, each replaced by the end of its range where the form is
 * least; then facts about inputs are subtracted until a constant is left. This is Fourier-Motzkin elimination on demand, cut off at a
 * small depth; it is sound, and complete for what models are made of (N >= 1, t in 2..N, lags). */
#include "range.h"

#include <stdlib.h>

#define MAX_DEPTH 5
#define MAX_FACTS 8 /* about one input */

long affine_coef(const Affine *a, AtomKind kind, int id)
{
  for (int i = 0; i < a->n; i++)
    if (a->term[i].kind == kind && a->term[i].id == id) return a->term[i].coef;
  return 0;
}

bool affine_substitute(const Affine *a, int var, const Affine *by, Affine *out)
{
  long c = affine_coef(a, ATOM_VAR, var);
  if (!c) {
    *out = *a;
    return true;
  }
  Affine rest = {.constant = a->constant, .term = NEW_ARRAY(AffineTerm, a->n)};
  for (int i = 0; i < a->n; i++)
    if (a->term[i].kind != ATOM_VAR || a->term[i].id != var) rest.term[rest.n++] = a->term[i];
  return affine_combine(&rest, c, by, out);
}

static void add_fact(Facts *f, const MExpr *big, const MExpr *small)
{
  Affine a, b;
  if (!mexpr_affine(f->m, big, &a) || !mexpr_affine(f->m, small, &b) || !affine_combine(&a, -1, &b, &a)) return;
  for (int i = 0; i < a.n; i++)
    if (a.term[i].kind != ATOM_INPUT) return; /* ranges that depend on outer variables say nothing about inputs */
  for (int i = 0; i < a.n; i++)
    if (f->by_family[a.term[i].id].n < MAX_FACTS) VEC_PUSH(f->by_family[a.term[i].id], a);
}

Facts *facts_of(const Model *m, bool plates_run)
{
  Facts *f = NEW(Facts);
  f->m = m;
  f->by_family = NEW_ARRAY(AffineVec, m->families.n);
  for (int i = 0; i < m->families.n; i++) {
    const Family *g = &m->families.at[i];
    if (g->role != ROLE_INPUT || g->n_index || g->type.kind != TY_INT) continue;
    MExpr self = {.kind = M_REF, .type = {.kind = TY_INT}, .family = i};
    if (g->type.lower) add_fact(f, &self, g->type.lower);
    if (g->type.upper) add_fact(f, g->type.upper, &self);
  }
  for (int i = 0; plates_run && i < m->plates.n; i++) {
    const Var *v = &m->vars.at[m->plates.at[i].var];
    if (v->lo && v->hi) add_fact(f, v->hi, v->lo);
  }
  return f;
}

/* a * |q| - f * |p| where p, q are the coefficients that cancel. */
static bool cancel(const Affine *a, long p, const Affine *fact, long q, Affine *out)
{
  Affine zero = {0}, scaled;
  return affine_combine(&zero, labs(q), a, &scaled) && affine_combine(&scaled, -labs(p), fact, out);
}

static bool prove(const Facts *f, const Affine *a, int depth)
{
  Affine next;
  if (!a->n) return a->constant >= 0;
  if (depth > MAX_DEPTH + 6) return false;
  int inner = -1; /* the innermost variable */
  for (int i = 0; i < a->n; i++)
    if (a->term[i].kind == ATOM_VAR) inner = i;
  if (inner >= 0) {
    const AffineTerm *t = &a->term[inner];
    const Var *v = &f->m->vars.at[t->id];
    Affine end;
    const MExpr *e = t->coef > 0 ? v->lo : v->hi;
    return e && mexpr_affine(f->m, e, &end) && affine_substitute(a, t->id, &end, &next) && prove(f, &next, depth + 1);
  }
  if (depth > MAX_DEPTH) return false;
  const AffineTerm *t = &a->term[0];
  const AffineVec *facts = &f->by_family[t->id];
  for (int i = 0; i < facts->n; i++) {
    long q = affine_coef(&facts->at[i], ATOM_INPUT, t->id);
    if ((q > 0) == (t->coef > 0) && cancel(a, t->coef, &facts->at[i], q, &next) && prove(f, &next, depth + 1)) return true;
  }
  return false;
}

bool prove_nonnegative(const Facts *f, const Affine *a)
{
  return prove(f, a, 0);
}

bool prove_ge(const Facts *f, const Affine *a, const Affine *b)
{
  Affine d;
  return affine_combine(a, -1, b, &d) && prove(f, &d, 0);
}

bool prove_gt(const Facts *f, const Affine *a, const Affine *b)
{
  Affine d, one = {.constant = 1};
  return affine_combine(a, -1, b, &d) && affine_combine(&d, -1, &one, &d) && prove(f, &d, 0);
}

static bool push_difference(AffineVec *out, const Affine *a, const Affine *b)
{
  Affine d;
  if (!affine_combine(a, -1, b, &d)) return false;
  VEC_PUSH(*out, d);
  return true;
}

bool piece_conditions(const Model *m, const Stmt *s, const Affine *v, AffineVec *out)
{
  int vars[16], n = 0;
  Affine value[16]; /* of the plate variables, from the index */
  for (int k = 0; k < s->n_index; k++) {
    const Affine *d = &s->index[k].affine;
    if (s->index[k].kind != IX_AFFINE) return false;
    if (d->n == 1 && d->term[0].kind == ATOM_VAR) {
      Affine offset = {.constant = d->constant};
      ASSERT(n < 16);
      vars[n] = d->term[0].id;
      if (!affine_combine(&v[k], -1, &offset, &value[n++])) return false;
    } else if (!push_difference(out, &v[k], d) || !push_difference(out, d, &v[k])) {
      return false;
    }
  }
  for (int i = 0; i < n; i++)
    for (int end = 0; end < 2; end++) {
      Affine bound;
      if (!mexpr_affine(m, end ? m->vars.at[vars[i]].hi : m->vars.at[vars[i]].lo, &bound)) return false;
      for (int j = 0; j < n; j++)
        if (!affine_substitute(&bound, vars[j], &value[j], &bound)) return false;
      if (!(end ? push_difference(out, &bound, &value[i]) : push_difference(out, &value[i], &bound))) return false;
    }
  return true;
}

/* Least and greatest value of an index, as affine forms. */
static bool index_ends(const Facts *f, const Index *x, Affine *lo, Affine *hi)
{
  Affine shift = {.constant = x->shift};
  switch (x->kind) {
  case IX_AFFINE:
    *lo = *hi = x->affine;
    return true;
  case IX_SLICE:
    return mexpr_affine(f->m, x->lo, lo) && mexpr_affine(f->m, x->hi, hi);
  case IX_LOOKUP: {
    const Type *t = &f->m->families.at[x->expr->family].type;
    return t->lower && t->upper && mexpr_affine(f->m, t->lower, lo) && mexpr_affine(f->m, t->upper, hi) &&
           affine_combine(lo, 1, &shift, lo) && affine_combine(hi, 1, &shift, hi);
  }
  case IX_EXPR:
    return false;
  }
  return false;
}

bool reference_in_range(const Facts *f, const MExpr *ref)
{
  const Family *g = &f->m->families.at[ref->family];
  if (!ref->n_index) return true;
  Affine lo[16], hi[16];
  if (ref->n_index > 16) return false;
  for (int k = 0; k < ref->n_index; k++)
    if (!index_ends(f, &ref->index[k], &lo[k], &hi[k])) return false;
  int wide[16], n_wide = 0; /* positions that are more than one value: the piece must hold all their corners */
  for (int k = 0; k < ref->n_index; k++)
    if (ref->index[k].kind != IX_AFFINE) wide[n_wide++] = k;
  for (int i = 0; i < g->n_statements && n_wide <= 4; i++) {
    const Stmt *s = &f->m->stmts.at[g->statements[i]];
    bool inside = true;
    for (int corner = 0; inside && corner < 1 << n_wide; corner++) {
      AffineVec conditions = {0};
      Affine v[16];
      for (int k = 0; k < ref->n_index; k++) v[k] = lo[k];
      for (int k = 0; k < n_wide; k++)
        if (corner >> k & 1) v[wide[k]] = hi[wide[k]];
      inside = piece_conditions(f->m, s, v, &conditions);
      for (int k = 0; inside && k < conditions.n; k++) inside = prove_nonnegative(f, &conditions.at[k]);
    }
    if (inside) return true;
  }
  return false;
}
