/* Cycles of definitions, and along which index they look back. See recurrence.h. */
#include "recurrence.h"

#include <string.h>

/* Which definitions mention which: per family, those of lets in its definition. */
typedef VEC(int) IntList;

static IntList *mentions_of(const Model *m)
{
  IntList *to = NEW_ARRAY(IntList, m->families.n);
  for (int i = 0; i < m->stmts.n; i++) {
    const Stmt *s = &m->stmts.at[i];
    RefList refs = {0};
    if (s->kind != ST_LET) continue;
    mexpr_refs(s->value, &refs);
    for (int r = 0; r < refs.n; r++)
      if (m->families.at[refs.at[r]->family].role == ROLE_LET) VEC_PUSH(to[s->family], refs.at[r]->family);
  }
  return to;
}

/* Strongly connected components (Tarjan 1972): component[] of families that mention each other is the same. */
typedef struct { const IntList *to; int counter, top, *index, *low, *stack, *component; } Tarjan;

static void connect(Tarjan *t, int v)
{
  t->index[v] = t->low[v] = ++t->counter;
  t->stack[t->top++] = v;
  for (int i = 0; i < t->to[v].n; i++) {
    const int w = t->to[v].at[i];
    if (!t->index[w]) connect(t, w);
    if (t->component[w] < 0 && t->low[w] < t->low[v]) t->low[v] = t->low[w];
  }
  if (t->low[v] != t->index[v]) return;
  int w;
  do t->component[w = t->stack[--t->top]] = v;
  while (w != v);
}

/* Does a way lead from `v` back to it through families of the cycle that are not in `without`? */
static bool returns(const IntList *to, const bool *cycle, const bool *without, int v, int from, bool *seen)
{
  for (int i = 0; i < to[from].n; i++) {
    const int w = to[from].at[i];
    if (w == v) return true;
    if (!cycle[w] || without[w] || seen[w]) continue;
    seen[w] = true;
    if (returns(to, cycle, without, v, w, seen)) return true;
  }
  return false;
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

static struct Recurrence *new_recurrence(const Model *m, const IntList *to, const bool *cycle)
{
  struct Recurrence *r = NEW(struct Recurrence);
  bool *taken = NEW_ARRAY(bool, m->families.n);
  find_direction(m, cycle, r);
  for (int round = 0; round < 2; round++)                                   /* those that look at themselves; then what still is in a cycle */
    for (int f = 0; f < m->families.n; f++) {
      const bool *without = round ? taken : cycle;
      if (!cycle[f] || taken[f] || !returns(to, cycle, without, f, f, NEW_ARRAY(bool, m->families.n))) continue;
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
  const int n = m->families.n;
  const IntList *to = mentions_of(m);
  Tarjan t = {.to = to, .index = NEW_ARRAY(int, n), .low = NEW_ARRAY(int, n), .stack = NEW_ARRAY(int, n), .component = NEW_ARRAY(int, n)};
  m->recurrence = NEW_ARRAY(struct Recurrence *, n);
  for (int f = 0; f < n; f++) t.component[f] = -1;
  for (int f = 0; f < n; f++)
    if (!t.index[f]) connect(&t, f);
  for (int f = 0; f < n; f++) {
    bool loops = false;
    for (int i = 0; i < to[f].n; i++) loops = loops || t.component[to[f].at[i]] == t.component[f];
    if (!loops || m->recurrence[f]) continue;
    bool *cycle = NEW_ARRAY(bool, n);
    for (int g = 0; g < n; g++) cycle[g] = t.component[g] == t.component[f];
    struct Recurrence *r = new_recurrence(m, to, cycle);
    for (int g = 0; g < n; g++)
      if (cycle[g]) m->recurrence[g] = r;
  }
}
