/* DAG -> loop nests.
 *
 * Every node belongs into the loops over its axes, nested in axis order. Within one context (a set of loops already entered) the nodes that need a
 * further loop are collected per axis, and a loop is split only where it must be: when a node needs the finished result of a reduction over that loop's
 * axis, of a matrix product, or of an array read at another position. Slots number the alternation: even slots hold straight statements, odd slots
 * loops; a node takes the earliest slot its arguments allow. So the body of a pointwise plate, forward and adjoint, is one loop.
 *
 * A product summed over one axis, with the unit axis on exactly one of its operands (or summed, in the gradient of a matrix), becomes one matrix
 * product per block: Z W', B W and B' Z are the three shapes that W * z[n] and its derivatives take. */
#include "loop.h"
#include <string.h>

#define UNIT 0

static int first_axis(const Dag *d, AxisSet set)
{
  int list[MAX_AXES];
  return axes_in_order(d, set, list) ? list[0] : -1;
}

/* The members of `set` that nest outside `axis`. */
static AxisSet outside(const Dag *d, AxisSet set, int axis)
{
  int list[MAX_AXES], n = axes_in_order(d, set | AXIS_BIT(axis), list);
  AxisSet r = 0;
  for (int i = 0; i < n && list[i] != axis; i++) r |= AXIS_BIT(list[i]);
  return r & set;
}

Kernel *kernel_new(Dag *d, AxisSet given)
{
  Kernel *k = NEW(Kernel);
  k->d = d, k->given = given;
  return k;
}

static bool is_load(const XNode *x)
{
  return x->op == X_INPUT || x->op == X_PRESENT || x->op == X_TABLE || x->op == X_VALUE || x->op == X_MEAN || x->op == X_SD;
}

/* Written where it is used, at no cost: leaves and index arithmetic. */
static bool is_trivial(const Dag *d, const XNode *x)
{
  if (x->op == X_CONST || x->op == X_AXIS || x->op == X_SIZE || x->op == X_BOX_LO || x->op == X_BOX_LEN || x->op == X_ROOM || x->op == X_WEIGHT || x->op == X_COUNT || x->op == X_QUAD_X ||
      x->op == X_QUAD_W || is_load(x))
    return true;
  if (!x->integer || x_is_reduction(x->op) || x->op == X_AT) return false;
  for (int i = 0; i < x->n_args; i++)
    if (!is_trivial(d, dag_node(d, x->args[i]))) return false;
  return true;
}

static bool is_reduction(const XNode *x) { return x_is_reduction(x->op) || x->op == X_SPREAD; }
/* Items that stand outside the loops over their own axes: functions of whole arrays, and recurrences, one value after the other in a loop of their own. */
static bool is_whole(const XNode *x) { return x_is_whole(x->op) || x->op == X_SCAN; }

/* Axes along which an item of this kind makes an array, besides those of the loops around it. */
static AxisSet made_axes(const Dag *d, Node n)
{
  const XNode *x = dag_node(d, n);
  const int parts = x->op == X_SCAN ? scan_parts(d, n) : -1;
  if (x_is_whole(x->op)) return x_whole_axes(x);
  return AXIS_BIT(x->op == X_SPREAD ? x->aux2 : x->aux) | (parts < 0 ? 0 : AXIS_BIT(parts));
}

typedef VEC(Node) NodeList;

/* ---- tasks: what is scheduled --------------------------------------------------------------------------------------------------------- */

typedef enum { TASK_LOCAL, TASK_REDUCE, TASK_GEMM, TASK_WHOLE, TASK_OUT } TaskKind;
typedef struct { int task; AxisSet home; } Need;               /* the task's result, whole within the loops `home` */
typedef struct {
  TaskKind kind;
  Node node;
  int out;
  AxisSet axes;                        /* loops it stands in */
  VEC(Need) needs;
  int slot;                            /* scratch of schedule() */
} Task;

typedef struct {
  Kernel *k;
  Dag *d;
  VEC(Task) tasks;
  int *task_of;                        /* per node */
  int *uses;                           /* per node: number of uses by nodes and outputs */
  AxisSet *eval;                       /* per node: loops in which its (single) user evaluates it, or its own axes */
  char *reach;
} Lower;

/* One multiplication of leaves that would otherwise want a loop of its own before the unit's: repeated where it is used. */
static bool is_cheap(const Lower *l, const XNode *x)
{
  const Dag *d = l->d;
  if (x->op != X_MUL && x->op != X_NEG) return false;
  if (!x->axes || (x->axes & AXIS_BIT(UNIT)) || d->axes.at[UNIT].kind != AX_UNIT) return false;
  for (int i = 0; i < x->n_args; i++)
    if (!is_trivial(d, dag_node(d, x->args[i]))) return false;
  return true;
}

/* ---- which nodes exist, how often they are used ------------------------------------------------------------------------------------------ */

static void reach(Lower *l, Node n)
{
  l->uses[n]++;
  if (l->reach[n]) return;
  l->reach[n] = 1;
  const XNode *x = dag_node(l->d, n);
  for (int i = 0; i < x->n_args; i++) reach(l, x->args[i]);
  if (is_reduction(x) || x->op == X_SCAN) {
    const Axis *a = &l->d->axes.at[x->aux];
    if (a->lo >= 0) reach(l, a->lo);
    if (a->hi >= 0) reach(l, a->hi);
  }
}

/* ---- matrix products --------------------------------------------------------------------------------------------------------------------------- */

static bool plain_extent(const Dag *d, int axis)
{
  const Axis *a = &d->axes.at[axis];
  return a->kind == AX_DIM && a->extent >= 0 && !dag_axes(d, a->extent);
}

/* sum over c of A * B with {p, c} and {q, c} */
static bool match_gemm(const Dag *d, int c, Node product, AxisSet result, Gemm *g)
{
  const XNode *m = dag_node(d, product);
  if (m->op != X_MUL) return false;
  AxisSet a = dag_axes(d, m->args[0]), b = dag_axes(d, m->args[1]), bit = AXIS_BIT(c);
  if (!(a & bit) || !(b & bit) || ((a & b) & ~bit)) return false;
  AxisSet p = a & ~bit, q = b & ~bit;
  if (!p || !q || (p & (p - 1)) || (q & (q - 1)) || (p | q) != result) return false;
  AxisSet unit = AXIS_BIT(UNIT);
  if (!((p | q | bit) & unit) || d->axes.at[UNIT].kind != AX_UNIT) return false;
  int pa = __builtin_ctzll(p), qa = __builtin_ctzll(q);
  int dims[3] = {pa, qa, c};
  for (int i = 0; i < 3; i++)
    if (dims[i] != UNIT && !plain_extent(d, dims[i])) return false;
  *g = (Gemm){.a = m->args[0], .b = m->args[1], .p = pa, .q = qa, .c = c};
  if (qa == UNIT) *g = (Gemm){.a = g->b, .b = g->a, .p = qa, .q = pa, .c = c};
  return true;
}

/* Does the leaf address its whole family as [axis a][axis b], so that a product can write there? */
static bool whole_matrix(const Dag *d, Node leaf, int a, int b)
{
  const XNode *x = dag_node(d, leaf);
  const Family *f = &d->model->families.at[x->aux];
  if (f->n_index || x->n_args != 2) return false;
  const XNode *i = dag_node(d, x->args[0]), *j = dag_node(d, x->args[1]);
  return i->op == X_AXIS && j->op == X_AXIS && i->aux == a && j->aux == b;
}

static void find_gemms(Lower *l)
{
  Kernel *k = l->k;
  if (k->given || !l->d->axes.n || l->d->axes.at[UNIT].kind != AX_UNIT) return;
  for (Node n = 0; n < k->n_nodes; n++) {
    const XNode *x = dag_node(l->d, n);
    if (l->reach[n] && x->op == X_SUM && x->aux != UNIT) match_gemm(l->d, x->aux, x->args[0], x->axes, &k->gemm[n]);
  }
}

/* ---- outputs -------------------------------------------------------------------------------------------------------------------------------------- */

/* Accumulation is linear: sums become several outputs, and a reduction whose array would only be copied is accumulated in place. */
static void split_outputs(Kernel *k)
{
  Dag *d = k->d;
  for (int i = 0; i < k->outs.n; i++) {
    LoopOut o = k->outs.at[i];
    if (o.kind != OUT_ACCUMULATE) continue;
    XNode x = *dag_node(d, o.value);
    AxisSet leaf = dag_axes(d, o.leaf);
    if (x.op == X_ADD && leaf && !(leaf & AXIS_BIT(UNIT) && d->axes.at[UNIT].kind == AX_UNIT)) {
      k->outs.at[i].value = x.args[0];
      o.value = x.args[1];
      VEC_PUSH(k->outs, o);
      i--;
    }
  }
}

static void strip_output(Lower *l, int i)
{
  Dag *d = l->d;
  LoopOut *o = &l->k->outs.at[i];
  if (o->kind != OUT_ACCUMULATE) return;
  AxisSet leaf = dag_axes(d, o->leaf);
  for (;;) {
    const XNode *x = dag_node(d, o->value);
    if (x->op != X_SUM || outside(d, leaf, x->aux) == leaf || l->k->gemm[o->value].c >= 0) return;
    Gemm g = {.c = -1};
    if (!l->k->given && match_gemm(d, x->aux, x->args[0], leaf, &g)) {
      /* the output's rows and columns in the leaf's order */
      if (whole_matrix(d, o->leaf, g.p, g.q)) { l->k->out_gemm[i] = g; return; }
      if (whole_matrix(d, o->leaf, g.q, g.p)) {
        l->k->out_gemm[i] = (Gemm){.a = g.b, .b = g.a, .p = g.q, .q = g.p, .c = g.c};
        return;
      }
    }
    o->axes |= AXIS_BIT(x->aux);
    o->value = x->args[0];
  }
}

/* ---- inline or not ----------------------------------------------------------------------------------------------------------------------------------- */

/* Each node's evaluation loops, from users to arguments. A node is inlined when its only user evaluates in exactly the node's own loops. */
static void note_use(Lower *l, Node arg, AxisSet user_axes, bool array_use)
{
  const XNode *x = dag_node(l->d, arg);
  if ((is_trivial(l->d, x) || is_cheap(l, x)) && !array_use) return;
  if (array_use || l->uses[arg] > 1 || user_axes != (x->axes | l->k->given) || is_reduction(x) || is_whole(x) || l->k->gemm[arg].c >= 0)
    l->k->item[arg] = true;
}

static AxisSet placement(const Lower *l, Node n)
{
  const XNode *x = dag_node(l->d, n);
  if (l->k->gemm[n].c >= 0) return 0;
  if (x->op == X_SPREAD) return dag_axes(l->d, x->args[0]) | dag_axes(l->d, x->args[1]) | AXIS_BIT(x->aux) | l->k->given;
  if (is_reduction(x)) return dag_axes(l->d, x->args[0]) | x->axes | AXIS_BIT(x->aux) | l->k->given;
  if (is_whole(x)) return (x->axes & ~made_axes(l->d, n)) | l->k->given;
  return x->axes | l->k->given;
}

/* Loops that a reduction's result, or an array read otherwise, is whole in. */
static AxisSet home_of(const Lower *l, Node n)
{
  const XNode *x = dag_node(l->d, n);
  if (l->k->gemm[n].c >= 0) return 0;
  if (x->op == X_SPREAD) return outside(l->d, (x->axes & ~made_axes(l->d, n)) | l->k->given, x->aux);
  if (is_reduction(x)) return outside(l->d, x->axes | l->k->given, x->aux);
  if (is_whole(x)) return (x->axes & ~made_axes(l->d, n)) | l->k->given;
  return x->axes | l->k->given;
}

/* Where the family's own array is an operand. In single precision latent variables have such arrays, data are copied. */
static bool gemm_direct(const Kernel *k, Node n)
{
  const Dag *d = k->d;
  const XNode *x = dag_node(d, n);
  if (k->single && x->op != X_VALUE) return false;
  if (!is_load(x) || x->op == X_TABLE || x->integer || d->model->families.at[x->aux].n_index) return false;
  if (x->n_args != 2) return false;
  const XNode *i = dag_node(d, x->args[0]), *j = dag_node(d, x->args[1]);
  return i->op == X_AXIS && j->op == X_AXIS && d->axes.at[i->aux].kind == AX_DIM && d->axes.at[j->aux].kind == AX_DIM && i->aux != j->aux;
}

/* The expressions that a scan's bodies read and that do not look back themselves, each once. */
static void scan_reads(const Dag *d, Node n, NodeMap *seen, NodeList *out)
{
  const XNode *x = dag_node(d, n);
  if (*node_map(seen, n) != NODE_NEW) return;
  *node_map(seen, n) = 1;
  if (!x->carried) VEC_PUSH(*out, n);
  else for (int i = 0; i < x->n_args; i++) scan_reads(d, x->args[i], seen, out);
}

static NodeList reads_of_scan(const Dag *d, Node n)
{
  NodeMap seen = {0};
  NodeList reads = {0};
  const XNode *x = dag_node(d, n);
  for (int i = 0; i < x->n_args; i++) scan_reads(d, x->args[i], &seen, &reads);
  return reads;
}

static void visit_uses(Lower *l)
{
  Kernel *k = l->k;
  for (int i = 0; i < k->outs.n; i++) {
    const LoopOut *o = &k->outs.at[i];
    if (k->out_gemm[i].c >= 0) {
      if (!gemm_direct(k, k->out_gemm[i].a)) note_use(l, k->out_gemm[i].a, 0, true);
      if (!gemm_direct(k, k->out_gemm[i].b)) note_use(l, k->out_gemm[i].b, 0, true);
      continue;
    }
    AxisSet axes = o->axes | (o->value >= 0 ? dag_axes(l->d, o->value) : 0) | (o->leaf >= 0 ? dag_axes(l->d, o->leaf) : 0) | k->given;
    if (o->value >= 0) note_use(l, o->value, axes, false);
    for (int j = 0; j < o->n_args; j++) note_use(l, o->args[j], axes, false);
  }
  for (Node n = k->n_nodes - 1; n >= 0; n--) {
    if (!l->reach[n]) continue;
    const XNode *x = dag_node(l->d, n);
    if (x->carried) {                                                       /* the scan's own: a variable in its loop where used twice */
      k->item[n] = l->uses[n] > 1 && x->op != X_PREV;
      continue;
    }
    if (x->op == X_SCAN) {
      const NodeList reads = reads_of_scan(l->d, n);
      const AxisSet inside = placement(l, n) | AXIS_BIT(x->aux);
      for (int i = 0; i < reads.n; i++) note_use(l, reads.at[i], inside, false);
      continue;
    }
    if ((is_trivial(l->d, x) || is_cheap(l, x)) && !k->item[n]) {
      for (int i = 0; i < x->n_args; i++) note_use(l, x->args[i], x->axes | k->given, false);
      continue;
    }
    if (k->gemm[n].c >= 0) {
      if (!gemm_direct(k, k->gemm[n].a)) note_use(l, k->gemm[n].a, 0, true);
      if (!gemm_direct(k, k->gemm[n].b)) note_use(l, k->gemm[n].b, 0, true);
      continue;
    }
    AxisSet axes = placement(l, n);
    for (int i = 0; i < x->n_args; i++) note_use(l, x->args[i], axes, (x->op == X_AT && i == 0) || is_whole(x));
  }
}

/* ---- needs -------------------------------------------------------------------------------------------------------------------------------------------------- */

static void add_need(Lower *l, int t, Node n, AxisSet home)
{
  int producer = l->task_of[n];
  if (producer < 0) BUG("node %d has no task", n);
  Task *task = &l->tasks.at[t];
  VEC_PUSH(task->needs, (Need){producer, home});
}

/* Everything an expression reads: through inline nodes down to items. */
static void needs_of(Lower *l, int t, Node n)
{
  Kernel *k = l->k;
  if (k->item[n]) {
    add_need(l, t, n, home_of(l, n));
    return;
  }
  const XNode *x = dag_node(l->d, n);
  for (int i = 0; i < x->n_args; i++) {
    if (x->op == X_AT && i == 0) add_need(l, t, x->args[0], outside(l->d, dag_axes(l->d, x->args[0]) | k->given, x->aux));
    else needs_of(l, t, x->args[i]);
  }
}

static void body_needs(Lower *l, int t, Node n)
{
  const XNode *x = dag_node(l->d, n);
  Kernel *k = l->k;
  if (x->op == X_SCAN) {
    const NodeList reads = reads_of_scan(l->d, n);
    for (int i = 0; i < reads.n; i++) needs_of(l, t, reads.at[i]);
  } else if (is_whole(x)) {
    AxisSet whole = (x->axes & ~x_whole_axes(x)) | k->given;
    for (int i = 0; i < x->n_args; i++) add_need(l, t, x->args[i], whole);
  } else {
    for (int i = 0; i < x->n_args; i++) {
      if (x->op == X_AT && i == 0) add_need(l, t, x->args[0], outside(l->d, dag_axes(l->d, x->args[0]) | k->given, x->aux));
      else needs_of(l, t, x->args[i]);
    }
  }
  if (is_reduction(x) || x->op == X_SCAN) {
    const Axis *a = &l->d->axes.at[x->aux];
    if (a->lo >= 0) needs_of(l, t, a->lo);
    if (a->hi >= 0) needs_of(l, t, a->hi);
  }
}

static void gemm_needs(Lower *l, int t, const Gemm *g)
{
  if (!gemm_direct(l->k, g->a)) add_need(l, t, g->a, 0);
  if (!gemm_direct(l->k, g->b)) add_need(l, t, g->b, 0);
}

static void make_tasks(Lower *l)
{
  Kernel *k = l->k;
  for (Node n = 0; n < k->n_nodes; n++) {
    const XNode *x = dag_node(l->d, n);
    if (!l->reach[n] || !k->item[n] || x->carried) continue;
    Task t = {.kind = k->gemm[n].c >= 0 ? TASK_GEMM : is_reduction(x) ? TASK_REDUCE : is_whole(x) ? TASK_WHOLE : TASK_LOCAL, .node = n, .out = -1};
    t.axes = placement(l, n);
    k->home[n] = home_of(l, n);
    l->task_of[n] = l->tasks.n;
    VEC_PUSH(l->tasks, t);
    if (t.kind == TASK_GEMM) gemm_needs(l, l->task_of[n], &k->gemm[n]);
    else body_needs(l, l->task_of[n], n);
  }
  for (int i = 0; i < k->outs.n; i++) {
    const LoopOut *o = &k->outs.at[i];
    Task t = {.kind = TASK_OUT, .node = NO_NODE, .out = i};
    bool product = k->out_gemm[i].c >= 0;
    t.axes = product ? 0 : o->axes | (o->value >= 0 ? dag_axes(l->d, o->value) : 0) | (o->leaf >= 0 ? dag_axes(l->d, o->leaf) : 0) | k->given;
    VEC_PUSH(l->tasks, t);
    int at = l->tasks.n - 1;
    if (product) { gemm_needs(l, at, &k->out_gemm[i]); continue; }
    if (o->value >= 0) needs_of(l, at, o->value);
    for (int j = 0; j < o->n_args; j++) {
      bool array = false;
      for (int a = 0; a < k->arrays.n; a++) array = array || k->arrays.at[a] == o->args[j];
      if (array) add_need(l, at, o->args[j], k->given);
      else needs_of(l, at, o->args[j]);
    }
  }
}

/* ---- the schedule ------------------------------------------------------------------------------------------------------------------------------------------------ */

static void mark_buffer(Lower *l, int task, AxisSet ctx)
{
  Task *t = &l->tasks.at[task];
  Kernel *k = l->k;
  if (t->kind == TASK_OUT || t->kind == TASK_GEMM) return;
  if (t->kind == TASK_LOCAL) k->buffered[t->node] = true;
  k->home[t->node] &= ctx;
}

static LoopItem *new_item(LoopBlock *block, ItemKind kind, Node n)
{
  LoopItem *it = NEW(LoopItem);
  it->kind = kind, it->node = n, it->out = -1, it->axis = -1;
  VEC_PUSH(*block, it);
  return it;
}

static int loop_axis(const Lower *l, int t, AxisSet ctx) { return first_axis(l->d, l->tasks.at[t].axes & ~ctx); }

/* Loops over one axis in several slots: each task moves into the latest of them that its users allow, which leaves fewer values to carry between. */
static void join_loops(Lower *l, AxisSet ctx, const int *list, int n, const char *here, int last)
{
  int *latest = NEW_ARRAY(int, l->tasks.n + 1);
  for (int i = 0; i < l->tasks.n; i++) latest[i] = last;
  for (int i = n - 1; i >= 0; i--) {
    Task *t = &l->tasks.at[list[i]];
    int axis = loop_axis(l, list[i], ctx);
    if (axis >= 0) {
      int best = t->slot;
      for (int j = 0; j < n; j++) {
        int slot = l->tasks.at[list[j]].slot;
        if (loop_axis(l, list[j], ctx) == axis && slot > best && slot <= latest[list[i]]) best = slot;
      }
      t->slot = best;
    }
    for (int j = 0; j < t->needs.n; j++) {
      Need need = t->needs.at[j];
      if (!here[need.task]) continue;
      int from = loop_axis(l, need.task, ctx), limit;
      if (from < 0) continue;                                               /* straight tasks stay */
      if (axis == from && (need.home & AXIS_BIT(from))) limit = t->slot;
      else limit = axis < 0 ? t->slot - 1 : t->slot - 2;
      if (limit < latest[need.task]) latest[need.task] = limit;
    }
  }
}

static void schedule(Lower *l, AxisSet ctx, const int *list, int n, LoopBlock *block)
{
  char *here = NEW_ARRAY(char, l->tasks.n + 1);
  int last = 0;
  for (int i = 0; i < n; i++) here[list[i]] = 1;
  for (int i = 0; i < n; i++) {                                             /* tasks are in dependency order */
    Task *t = &l->tasks.at[list[i]];
    int axis = loop_axis(l, list[i], ctx);
    int slot = axis >= 0;
    for (int j = 0; j < t->needs.n; j++) {
      Need need = t->needs.at[j];
      if (!here[need.task]) continue;
      int from = loop_axis(l, need.task, ctx), s = l->tasks.at[need.task].slot, at;
      if (from < 0) at = axis < 0 ? s : s + 1;
      else if (axis == from && (need.home & AXIS_BIT(from))) at = s;
      else at = axis < 0 ? s + 1 : s + 2;
      if (at > slot) slot = at;
    }
    if ((slot & 1) != (axis >= 0)) slot++;
    t->slot = slot;
    if (slot > last) last = slot;
  }
  join_loops(l, ctx, list, n, here, last);
  for (int i = 0; i < n; i++) {                                             /* what crosses from one loop into another needs an array */
    Task *t = &l->tasks.at[list[i]];
    int axis = loop_axis(l, list[i], ctx);
    for (int j = 0; j < t->needs.n; j++) {
      Need need = t->needs.at[j];
      if (!here[need.task]) continue;
      int from = loop_axis(l, need.task, ctx);
      if (from >= 0 && (axis != from || l->tasks.at[need.task].slot != t->slot || !(need.home & AXIS_BIT(from)))) mark_buffer(l, need.task, ctx);
    }
  }
  int *part = NEW_ARRAY(int, n + 1), *slots = NEW_ARRAY(int, n + 1);
  for (int i = 0; i < n; i++) slots[i] = l->tasks.at[list[i]].slot;         /* inner contexts use the field again */
  for (int slot = 0; slot <= last; slot++) {
    if (!(slot & 1)) {
      for (int i = 0; i < n; i++) {
        const Task *t = &l->tasks.at[list[i]];
        if (slots[i] != slot) continue;
        ItemKind kind = t->kind == TASK_OUT ? (l->k->out_gemm[t->out].c >= 0 ? IT_GEMM : IT_OUT) : t->kind == TASK_GEMM ? IT_GEMM : t->kind == TASK_WHOLE ? (dag_node(l->d, t->node)->op == X_SCAN ? IT_SCAN : IT_WHOLE)
                        : t->kind == TASK_REDUCE ? IT_REDUCE : IT_LOCAL;
        new_item(block, kind, t->node)->out = t->out;
      }
      continue;
    }
    int order[MAX_AXES], n_order = axes_in_order(l->d, ~(AxisSet)0, order);
    for (int step = 0; step < n_order; step++) {
        int a = order[step], m = 0;
        for (int i = 0; i < n; i++)
          if (slots[i] == slot && loop_axis(l, list[i], ctx) == a) part[m++] = list[i];
        if (!m) continue;
        for (int i = 0; i < m; i++) {
          const Task *t = &l->tasks.at[part[i]];
          if (t->kind == TASK_REDUCE && dag_node(l->d, t->node)->aux == a) new_item(block, IT_ZERO, t->node);
        }
        LoopItem *loop = new_item(block, IT_LOOP, NO_NODE);
        loop->axis = a;
        int *copy = NEW_ARRAY(int, m);
        memcpy(copy, part, sizeof(int) * (size_t)m);
        schedule(l, ctx | AXIS_BIT(a), copy, m, &loop->body);
      }
  }
}

/* ---- single precision ------------------------------------------------------------------------------------------------------------------- */

/* Of a value made in loops, for other loops. */
static bool is_pointwise_array(const Kernel *k, Node n)
{
  const XNode *x = dag_node(k->d, n);
  return k->item[n] && k->buffered[n] && k->gemm[n].c < 0 && !is_reduction(x) && !is_whole(x);
}

/* The operand of a product as floats: false where it is what must stay double. */
static bool single_operand(Kernel *k, Node n)
{
  if (gemm_direct(k, n)) k->products[dag_node(k->d, n)->aux] = true;
  return gemm_direct(k, n) || k->narrow[n];
}

static void choose_single(Kernel *k)
{
  Dag *d = k->d;
  bool any = false;
  k->narrow = NEW_ARRAY(bool, k->n_nodes + 1), k->products = NEW_ARRAY(bool, d->model->families.n + 1);
  for (Node n = 0; n < k->n_nodes; n++) k->narrow[n] = k->gemm[n].c >= 0 || is_pointwise_array(k, n);
  for (Node n = 0; n < k->n_nodes; n++) {
    const XNode *x = dag_node(d, n);
    for (int i = 0; i < x->n_args && k->item[n] && x_is_whole(x->op); i++) {
      if (k->gemm[x->args[i]].c >= 0) k->single = false;
      k->narrow[x->args[i]] = false;
    }
  }
  for (Node n = 0; n < k->n_nodes; n++) {
    if (k->gemm[n].c < 0) continue;
    any = true;
    k->single = single_operand(k, k->gemm[n].a) && single_operand(k, k->gemm[n].b) && k->single;
  }
  for (int i = 0; i < k->outs.n; i++) {
    if (k->out_gemm[i].c < 0) continue;
    any = true;
    k->single = single_operand(k, k->out_gemm[i].a) && single_operand(k, k->out_gemm[i].b) && k->single;
    k->products[dag_node(d, k->outs.at[i].leaf)->aux] = true;
  }
  k->single = k->single && any;
}

void kernel_lower(Kernel *k)
{
  Dag *d = k->d;
  for (int i = 0; i < k->outs.n; i++)
    if (k->outs.at[i].kind != OUT_ACCUMULATE) k->outs.at[i].leaf = NO_NODE;
  split_outputs(k);
  int n = k->n_nodes = d->nodes.n;
  k->item = NEW_ARRAY(bool, n), k->buffered = NEW_ARRAY(bool, n), k->home = NEW_ARRAY(AxisSet, n);
  k->gemm = NEW_ARRAY(Gemm, n), k->out_gemm = NEW_ARRAY(Gemm, k->outs.n + 1);
  for (int i = 0; i < n; i++) k->gemm[i].c = -1;
  for (int i = 0; i < k->outs.n; i++) k->out_gemm[i].c = -1;
  Lower l = {.k = k, .d = d};
  l.task_of = NEW_ARRAY(int, n), l.uses = NEW_ARRAY(int, n), l.reach = NEW_ARRAY(char, n);
  memset(l.task_of, -1, sizeof(int) * (size_t)n);
  for (int pass = 0; pass < 2; pass++) {                                    /* stripping changes what is reached: once more */
    memset(l.uses, 0, sizeof(int) * (size_t)n), memset(l.reach, 0, (size_t)n);
    for (int i = 0; i < k->outs.n; i++) {
      if (k->out_gemm[i].c >= 0) {
        reach(&l, k->out_gemm[i].a), reach(&l, k->out_gemm[i].b);
        continue;
      }
      if (k->outs.at[i].value >= 0) reach(&l, k->outs.at[i].value);
      for (int j = 0; j < k->outs.at[i].n_args; j++) reach(&l, k->outs.at[i].args[j]);
    }
    if (pass == 0) {
      find_gemms(&l);
      for (int i = 0; i < k->outs.n; i++) strip_output(&l, i);
      for (int i = 0; i < n; i++) k->gemm[i].c = -1;
    } else {
      find_gemms(&l);
    }
  }
  for (int i = 0; i < k->named.n; i++)
    if (l.reach[k->named.at[i]] && !is_trivial(d, dag_node(d, k->named.at[i]))) k->item[k->named.at[i]] = true;
  for (int i = 0; i < k->arrays.n; i++) k->item[k->arrays.at[i]] = true;
  visit_uses(&l);
  make_tasks(&l);
  int *all = NEW_ARRAY(int, l.tasks.n + 1);
  for (int i = 0; i < l.tasks.n; i++) all[i] = i;
  schedule(&l, k->given, all, l.tasks.n, &k->body);
  if (k->single) choose_single(k);
}

/* ---- what became of a node ------------------------------------------------------------------------------------------------------------- */

int kernel_array_axes(const Kernel *k, Node n, int *axes) { return axes_in_order(k->d, dag_axes(k->d, n) & ~k->home[n], axes); }

bool kernel_has_array(const Kernel *k, Node n)
{
  const XNode *x = dag_node(k->d, n);
  int axes[MAX_AXES];
  if (n >= k->n_nodes || !k->item[n]) return false;
  if (k->buffered[n] || k->gemm[n].c >= 0 || (x_is_whole(x->op) && x->op != X_LOG_DET) || x->op == X_SCAN || x->op == X_SPREAD) return true;
  return (x_is_reduction(x->op) || x->op == X_LOG_DET) && kernel_array_axes(k, n, axes) > 0;
}

/* ---- --dump loop ----------------------------------------------------------------------------------------------------------------------------------------------- */

static void dump_block(const Kernel *k, const LoopBlock *block, int depth, FILE *out)
{
  static const char *const kinds[] = {"local", "zero", "reduce", "loop", "matrix product", "whole arrays", "scan", "out"};
  for (int i = 0; i < block->n; i++) {
    const LoopItem *it = block->at[i];
    StrBuf text = {0};
    if (it->kind == IT_LOOP) sb_puts(&text, k->d->axes.at[it->axis].name);
    else if (it->node >= 0) sb_printf(&text, "t%d = ", it->node), dag_print(k->d, it->node, &text);
    else if (k->outs.at[it->out].value >= 0) dag_print(k->d, k->outs.at[it->out].value, &text);
    fprintf(out, "%*s%s %s%s\n", depth * 2, "", kinds[it->kind], sb_text(&text), it->node >= 0 && k->buffered[it->node] ? "  [array]" : "");
    if (it->kind == IT_LOOP) dump_block(k, &it->body, depth + 1, out);
  }
}

void kernel_dump(const Kernel *k, FILE *out) { dump_block(k, &k->body, 1, out); }
