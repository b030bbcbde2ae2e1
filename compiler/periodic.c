/* The lattice of translations under which a component is closed: Hermite normal form of its generators.
 *
 * In: the generators that explore() met. Out: Component.lattice, grows, rank, cyclic. docs/analysis.md, "Translations". The normal form is the
 * row-style one (Cohen, A Course in Computational Algebraic Number Theory, 2.4); dimensions are at most MAX_AXES and entries small. */
#include "coupling.h"

#include <stdlib.h>
#include <string.h>

static long floor_div(long a, long b)   /* b > 0 */
{
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

static int lead(const long *v, int dim)
{
  int k = 0;
  while (k < dim && !v[k]) k++;
  return k;
}

void lattice_add(Lattice *l, const long *v0)
{
  long v[MAX_AXES];
  memcpy(v, v0, sizeof *v * (size_t)l->dim);
  for (int r = 0; r < l->rank; r++) {
    int k = lead(l->row[r], l->dim), m = lead(v, l->dim);
    if (m == l->dim) return;
    if (m < k) {                        /* goes before row r */
      memmove(&l->row[r + 1], &l->row[r], sizeof l->row[0] * (size_t)(l->rank - r));
      memset(l->row[r], 0, sizeof l->row[r]);
      memcpy(l->row[r], v, sizeof *v * (size_t)l->dim);
      if (v[m] < 0)
        for (int j = 0; j < l->dim; j++) l->row[r][j] = -l->row[r][j];
      l->rank++;
      return;
    }
    while (v[k]) {                      /* Euclid on column k */
      long q = floor_div(v[k], l->row[r][k]);
      for (int j = 0; j < l->dim; j++) v[j] -= q * l->row[r][j];
      if (!v[k]) break;
      for (int j = 0; j < l->dim; j++) {
        long t = v[j];
        v[j] = l->row[r][j];
        l->row[r][j] = t;
      }
    }
  }
  int m = lead(v, l->dim);
  if (m == l->dim) return;
  ASSERT(l->rank < MAX_AXES);
  for (int j = 0; j < l->dim; j++) l->row[l->rank][j] = v[m] < 0 ? -v[j] : v[j];
  l->rank++;
}

void lattice_reduce(const Lattice *l, long *v)
{
  for (int r = 0; r < l->rank; r++) {
    int k = lead(l->row[r], l->dim);
    long q = floor_div(v[k], l->row[r][k]);
    for (int j = 0; j < l->dim; j++) v[j] -= q * l->row[r][j];
  }
}

bool lattice_contains(const Lattice *l, const long *v0)
{
  long v[MAX_AXES];
  memcpy(v, v0, sizeof *v * (size_t)l->dim);
  lattice_reduce(l, v);
  return lead(v, l->dim) == l->dim;
}

bool lattice_has_axis(const Lattice *l, int axis)
{
  long e[MAX_AXES] = {0};
  e[axis] = 1;
  return lattice_contains(l, e);
}

/* A copy of the unit's own family with axes free: e_q for each of them. */
static void add_free_axes(Component *c)
{
  for (int i = 0; i < c->nodes.n; i++) {
    const CNode *x = &c->nodes.at[i];
    if (x->is_term || x->id != c->unit.family || x->const_only) continue;
    bool copy = true;
    for (int p = 0; p < x->n && copy; p++)
      copy = !c->unit.runs[p] || x->at[p].kind == AT_FREE || (x->at[p].kind == AT_UNIT && x->at[p].id == p && x->at[p].sign == 1);
    if (!copy) continue;
    for (int p = 0; p < x->n; p++)
      if (c->unit.runs[p] && x->at[p].kind == AT_FREE) {
        Generator e = {.origin = GEN_LACK, .node = i, .from = -1, .ref = -1};
        e.v[p] = lin_const(1);
        VEC_PUSH(c->generators, e);
      }
  }
}

void component_lattice(Component *c, Axes *axes)
{
  add_free_axes(c);
  c->lattice.dim = c->unit.n;
  Lattice growth = {.dim = c->unit.n};
  for (int i = 0; i < c->generators.n; i++) {
    const Generator *e = &c->generators.at[i];
    long v[MAX_AXES] = {0}, open[MAX_AXES] = {0};
    bool numeric = true, any = false;
    for (int q = 0; q < c->unit.n; q++) {
      if (e->v[q].n || e->v[q].c) c->grows[q] = true;
      numeric = numeric && lin_is_const(e->v[q]);
      v[q] = e->v[q].c;
      if (c->unit.fixed[q]) continue;
      open[q] = e->v[q].n ? 1 : e->v[q].c;
      any = any || open[q];
    }
    if (numeric) lattice_add(&c->lattice, v);
    else VEC_PUSH(c->symbolic, i);
    if (any) lattice_add(&growth, open);
    if (e->origin == GEN_CYCLE && any) c->cyclic = true;
  }
  c->rank = growth.rank;
  if (c->prefix) c->cyclic = true;
  for (int q = 0; q < c->unit.n; q++)
    if (c->unit.runs[q] && !c->unit.fixed[q] && c->ordered[axis_of_position(axes, c->unit.family, q)]) c->cyclic = true;
}
