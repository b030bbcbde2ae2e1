/* Which loops over units run in strips: see lanes.h. In: a kernel's loops (loop.h). Out: yes or no, and which scalars are carried between loops over lanes. */
#include "lanes.h"

typedef struct {
  CPrint *p;
  const Kernel *k;
  const Dag *d;
  int axis;                            /* of the units */
  int segment, *made;                  /* number of the loop over lanes under way; per node: that which makes it, 0: none here */
  bool *laned, fits;
  bool nodes, calls, rows;             /* are there quadratures; functions inside inner loops; arrays with a row per unit */
  int cuts;                            /* items after which a loop over lanes ends */
} Lanes;

/* Functions that cost no more than a few operations. */
static bool is_light(int fn)
{
  return fn == F_square || fn == F_fabs || fn == F_sqrt || fn == F_floor || fn == F_ceil || fn == F_round || fn == F_sign || fn == F_step || fn == F_relu ||
         fn == F_leaky_relu || fn == F_fmax || fn == F_fmin;
}

static bool is_one_place(const Lanes *l, int n_args, const Node *args)
{
  for (int i = 0; i < n_args; i++)
    if (dag_axes(l->d, args[i]) & AXIS_BIT(l->axis)) return false;
  return true;
}

bool lanes_is_load(const XNode *x) { return x->op == X_INPUT || x->op == X_PRESENT || x->op == X_VALUE || x->op == X_MEAN || x->op == X_SD; }

/* ---- where sums go ---------------------------------------------------------------------------------------------------------------------- */

bool lanes_share_target(const CPrint *p, Node reduction, int unit_axis)
{
  const Kernel *k = p->k;
  const XNode *x = dag_node(k->d, reduction);
  if (!kernel_has_array(k, reduction)) return false;                        /* a variable: the loop's reduction clause, or a lane's own */
  if ((k->home[reduction] | x->axes) & AXIS_BIT(unit_axis)) return false;
  return x->op != X_SPREAD || !(dag_axes(k->d, x->args[1]) & AXIS_BIT(unit_axis));
}

bool lanes_share_out(CPrint *p, const LoopOut *o, int unit_axis)
{
  const XNode *x = dag_node(p->k->d, o->leaf);
  RefSlot slot;
  for (int i = 0; i < x->n_args; i++)
    if (dag_axes(p->k->d, x->args[i]) & AXIS_BIT(unit_axis)) return false;
  return p->classify(p->data, o->leaf, &slot) != REF_BUFFER;
}

bool lanes_whole(const CPrint *p, const LoopItem *it, AxisSet bound)
{
  int axes[MAX_AXES];
  if (it->kind != IT_ZERO || !kernel_has_array(p->k, it->node)) return false;
  for (int i = kernel_array_axes(p->k, it->node, axes) - 1; i >= 0; i--)
    if (!(bound & AXIS_BIT(axes[i]))) return true;
  return false;
}

/* ---- the walk --------------------------------------------------------------------------------------------------------------------------- */

static bool is_call(const XNode *x) { return x->op == X_POW || (x->op == X_FN && !is_light(x->aux)); }

/* Is a function evaluated where the expression is written? */
static bool calls(const Kernel *k, Node n, bool top)
{
  const XNode *x = dag_node(k->d, n);
  if (!top && n < k->n_nodes && k->item[n]) return false;
  if (is_call(x)) return true;
  for (int i = 0; i < x->n_args; i++)
    if (calls(k, x->args[i], false)) return true;
  return false;
}

bool lanes_cut(const CPrint *p, const LoopItem *it)
{
  return it->kind == IT_LOCAL && !kernel_has_array(p->k, it->node) && calls(p->k, it->node, true);
}

/* Has the node an array with several entries per unit, one after the other? */
static bool has_rows(const Lanes *l, Node n)
{
  int axes[MAX_AXES];
  return kernel_has_array(l->k, n) && (dag_axes(l->d, n) & ~l->k->home[n] & AXIS_BIT(l->axis)) && kernel_array_axes(l->k, n, axes) > 1;
}

/* What an expression reads: scalars of other loops over lanes become arrays. */
static void use(Lanes *l, Node n, bool inside)
{
  const XNode *x = dag_node(l->d, n);
  if (n < l->k->n_nodes && l->k->item[n]) {
    if (l->made[n] && l->made[n] != l->segment) l->laned[n] = true;
    l->rows = l->rows || has_rows(l, n);
    return;
  }
  if (inside && is_call(x)) l->calls = true;
  if (inside && n < l->k->n_nodes && !x->integer && x->axes == AXIS_BIT(l->axis) && lanes_is_load(x)) l->laned[n] = true;
  for (int i = x->op == X_AT ? 1 : 0; i < x->n_args; i++) use(l, x->args[i], inside);
}

static void walk_reduce(Lanes *l, Node n, bool inside)
{
  const XNode *x = dag_node(l->d, n);
  const bool array = kernel_has_array(l->k, n);
  for (int i = 0; i < x->n_args; i++) use(l, x->args[i], inside);
  if (!array) {
    if (l->made[n] && l->made[n] != l->segment) l->laned[n] = true;
  } else if (lanes_share_target(l->p, n, l->axis)) {
    l->fits = l->fits && (x->op == X_SUM || x->op == X_SPREAD);
  } else if (x->op == X_SPREAD && !(l->k->home[n] & AXIS_BIT(l->axis))) {   /* distinct places only if the units' own */
    l->fits = l->fits && (x->axes & AXIS_BIT(l->axis)) && x->aux2 != l->axis;
  }
}

static void walk_out(Lanes *l, const LoopOut *o, bool inside)
{
  if (o->kind == OUT_STORE) l->fits = l->fits && (o->axes & AXIS_BIT(l->axis));
  else if (o->kind != OUT_ACCUMULATE) l->fits = false;
  use(l, o->value, inside);
  for (int i = 0; i < o->n_args; i++) use(l, o->args[i], inside);
  if (o->kind != OUT_ACCUMULATE) return;
  const XNode x = *dag_node(l->d, o->leaf);
  RefSlot slot;
  bool distinct = is_one_place(l, x.n_args, x.args) || l->p->classify(l->p->data, o->leaf, &slot) == REF_BUFFER;
  for (int i = 0; i < x.n_args; i++) {
    use(l, x.args[i], inside);
    distinct = distinct || dag_varies_with(l->d, x.args[i], l->axis);
  }
  l->fits = l->fits && distinct;
}

/* Are the loop's bounds the same for all units? */
static bool is_uniform(const Lanes *l, const Axis *a)
{
  const Node bounds[] = {a->lo, a->hi, a->extent};
  for (int i = 0; i < 3; i++)
    if (bounds[i] >= 0 && (dag_axes(l->d, bounds[i]) & AXIS_BIT(l->axis))) return false;
  return true;
}

static void walk(Lanes *l, const LoopBlock *block, AxisSet bound)
{
  const bool inside = bound & ~AXIS_BIT(l->axis);
  l->segment++;
  for (int i = 0; i < block->n && l->fits; i++) {
    const LoopItem *it = block->at[i];
    const XNode *x = it->node >= 0 ? dag_node(l->d, it->node) : NULL;
    switch (it->kind) {
    case IT_LOCAL:
      l->calls = l->calls || (inside && is_call(x));
      l->rows = l->rows || has_rows(l, it->node);
      for (int j = x->op == X_AT ? 1 : 0; j < x->n_args; j++) use(l, x->args[j], inside);
      if (!kernel_has_array(l->k, it->node)) l->made[it->node] = l->segment;
      if (!lanes_cut(l->p, it)) break;
      l->segment++;
      l->cuts++;
      break;
    case IT_ZERO:
      if (lanes_whole(l->p, it, bound)) {
        l->fits = l->k->home[it->node] & AXIS_BIT(l->axis) || !(x->axes & AXIS_BIT(l->axis));
        l->segment++;
      } else if (!kernel_has_array(l->k, it->node)) {
        l->made[it->node] = l->segment;
      }
      break;
    case IT_REDUCE: walk_reduce(l, it->node, inside); break;
    case IT_OUT: walk_out(l, &l->k->outs.at[it->out], inside); break;
    case IT_LOOP: {
      const Axis *a = &l->d->axes.at[it->axis];
      l->fits = is_uniform(l, a);
      l->nodes = l->nodes || a->kind == AX_QUADRATURE;
      walk(l, &it->body, bound | AXIS_BIT(it->axis));
      l->segment++;
      break;
    }
    default: l->fits = false;
    }
  }
}

bool lanes_fit(CPrint *p, const LoopItem *loop, bool *laned)
{
  bool nested = false;
  for (int i = 0; i < loop->body.n; i++) nested = nested || loop->body.at[i]->kind == IT_LOOP;
  Lanes l = {.p = p, .k = p->k, .d = p->k->d, .axis = loop->axis, .laned = laned, .fits = true, .made = NEW_ARRAY(int, p->k->n_nodes + 1)};
  walk(&l, &loop->body, p->bound | AXIS_BIT(loop->axis));
  return l.fits && (l.nodes || (!l.rows && (nested ? l.calls : l.cuts > 1))); /* rows are vectors already */
}
