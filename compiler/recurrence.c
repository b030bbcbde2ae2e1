/* Cycles of definitions, and along which index they look back. See recurrence.h. */
#include "recurrence.h"

#include <string.h>

/* Does the definition of `from` lead to `target`, by at least one step and not through families in `without`? */
static bool leads_to(const Model *m, int from, int target, const bool *without, bool *seen)
{
  const Family *f = &m->families.at[from];
  for (int i = 0; i < f->n_statements; i++) {
    RefList refs = {0};
    mexpr_refs(m->stmts.at[f->statements[i]].value, &refs);
    for (int r = 0; r < refs.n; r++) {
      const int g = refs.at[r]->family;
      if (m->families.at[g].role != ROLE_LET || (without && without[g])) continue;
      if (g == target) return true;
      if (seen[g]) continue;
      seen[g] = true;
      if (leads_to(m, g, target, without, seen)) return true;
    }
  }
  return false;
}

static bool reaches(const Model *m, int from, int target, const bool *without)
{
  return leads_to(m, from, target, without, NEW_ARRAY(bool, m->families.n));
}

/* The offset of a reference from the element that the statement defines, at index position k; false where it is not one number. */
static bool offset_at(const Stmt *s, const MExpr *ref, int k, long *offset)
{
  const Affine *to = &ref->index[k].affine, *from = &s->index[k].affine;
  if (k >= s->n_index || ref->index[k].kind != IX_AFFINE || s->index[k].kind != IX_AFFINE || to->n != from->n) return false;
  for (int i = 0; i < to->n; i++)
    if (to->term[i].kind != from->term[i].kind || to->term[i].id != from->term[i].id || to->term[i].coef != from->term[i].coef) return false;
  *offset = to->constant - from->constant;
  return true;
}

/* Position and direction of the references from one definition of a cycle to another. */
static void find_direction(const Model *m, const bool *cycle, struct Recurrence *r)
{
  r->position = -1;
  for (int f = 0; f < m->families.n; f++) {
    for (int i = 0; cycle[f] && i < m->families.at[f].n_statements; i++) {
      const Stmt *s = &m->stmts.at[m->families.at[f].statements[i]];
      RefList refs = {0};
      mexpr_refs(s->value, &refs);
      for (int j = 0; j < refs.n; j++) {
        const MExpr *ref = refs.at[j];
        for (int k = 0; cycle[ref->family] && k < ref->n_index; k++) {
          long offset;
          if (!offset_at(s, ref, k, &offset)) {
            r->refusal = "a recurrence that refers to itself at other than a constant distance";
            return;
          }
          if (!offset) continue;
          if (r->position >= 0 && r->position != k) {
            r->refusal = "a recurrence along two indices";
            return;
          }
          r->position = k;
          r->down = offset > 0;
        }
      }
    }
  }
}

static struct Recurrence *new_recurrence(const Model *m, const bool *cycle)
{
  struct Recurrence *r = NEW(struct Recurrence);
  bool *taken = NEW_ARRAY(bool, m->families.n);
  find_direction(m, cycle, r);
  for (int round = 0; round < 2; round++)                                   /* those that look at themselves; then what still is in a cycle */
    for (int f = 0; f < m->families.n; f++) {
      bool *others = NEW_ARRAY(bool, m->families.n);
      for (int g = 0; g < m->families.n; g++) others[g] = round ? taken[g] : g != f;
      if (!cycle[f] || taken[f] || !reaches(m, f, f, others)) continue;
      if (r->n == RECURRENCE_PARTS) {
        r->refusal = "a recurrence of so many variables";
        return r;
      }
      if (m->families.at[f].type.kind > TY_REAL) r->refusal = "a recurrence of vectors";
      r->member[r->n++] = f;
      taken[f] = true;
    }
  return r;
}

void recurrences_find(Model *m)
{
  m->recurrence = NEW_ARRAY(struct Recurrence *, m->families.n);
  for (int f = 0; f < m->families.n; f++) {
    if (m->families.at[f].role != ROLE_LET || m->recurrence[f] || !reaches(m, f, f, NULL)) continue;
    bool *cycle = NEW_ARRAY(bool, m->families.n);
    for (int g = 0; g < m->families.n; g++) cycle[g] = g == f || (reaches(m, f, g, NULL) && m->families.at[g].role == ROLE_LET && reaches(m, g, f, NULL));
    struct Recurrence *r = new_recurrence(m, cycle);
    for (int g = 0; g < m->families.n; g++)
      if (cycle[g]) m->recurrence[g] = r;
  }
}
