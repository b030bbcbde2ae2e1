/* When are two units alike? Where a unit's terms are a function of data at its own index, of its own latent elements and of what all units share, units with
 * equal data have equal terms, so that their best factors are equal, given those of all else: the observation that inference functions live by
 * (Margossian & Blei 2024, theorem for simple hierarchical models). The runtime then solves for one factor per distinct unit (runtime/alike.h).
 *
 * In: an expression over the unit axis. Out: the data arrays that it reads, each at unit + constant in its first index. An array of indices is data like
 * another: alpha[g[n]] reads g. */
#include "alike.h"

typedef struct {
  const Dag *d;
  UnitReads *reads;
  UnitReads own;                       /* latent elements, in the same way */
  NodeMap seen;
} Walk;

bool dag_unit_offset(const Dag *d, Node n, int *offset)
{
  const XNode *x = dag_node(d, n);
  double c = 0;
  if (x->op == X_ADD && dag_is_const(d, x->args[1], &c)) n = x->args[0];
  else if (x->op == X_SUB && dag_is_const(d, x->args[1], &c)) n = x->args[0], c = -c;
  *offset = (int)c;
  x = dag_node(d, n);
  return x->op == X_AXIS && x->aux == 0;
}

static bool is_element(XOp op) { return op == X_INPUT || op == X_PRESENT || op == X_VALUE || op == X_U || op == X_MEAN || op == X_SD; }

/* One more reference to the family at this offset; false: there is one at another. */
static bool add_read(UnitReads *reads, int family, int offset)
{
  for (int i = 0; i < reads->n; i++)
    if (reads->at[i].family == family) return reads->at[i].offset == offset;
  VEC_PUSH(*reads, (UnitRead){family, offset});
  return true;
}

/* Does the operation put several units together? */
static bool along_units(const XNode *x)
{
  if (x_is_matrix(x->op)) return x->aux == 0 || x->aux2 == 0;
  return (x_is_reduction(x->op) || x_is_solve(x->op) || x->op == X_AT || x->op == X_SCAN || x->op == X_PREV) && x->aux == 0;
}

/* False as soon as units are seen to differ by more than what is noted. */
static bool walk(Walk *w, Node n)
{
  if (n < 0 || *node_map(&w->seen, n) != NODE_NEW) return true;
  *node_map(&w->seen, n) = 1;
  const XNode *x = dag_node(w->d, n);
  int first = 0, offset;
  if (x->op == X_TABLE || x->op == X_SPREAD) return false;
  if (x->op == X_AXIS) return x->aux != 0 && walk(w, w->d->axes.at[x->aux].lo) && walk(w, w->d->axes.at[x->aux].hi);
  if (along_units(x)) return false;
  if (is_element(x->op) && w->d->model->families.at[x->aux].n_index > 0 && dag_unit_offset(w->d, x->args[0], &offset)) {
    const bool known = x->op == X_INPUT || x->op == X_PRESENT;
    if (!add_read(known ? w->reads : &w->own, x->aux, offset)) return false;
    first = 1;
  }
  if (x_is_reduction(x->op) && !(walk(w, w->d->axes.at[x->aux].lo) && walk(w, w->d->axes.at[x->aux].hi))) return false;
  for (int i = first; i < x->n_args; i++)
    if (!walk(w, x->args[i])) return false;
  return true;
}

bool dag_unit_reads(const Dag *d, Node n, UnitReads *reads)
{
  Walk w = {.d = d, .reads = reads};
  return walk(&w, n);
}
