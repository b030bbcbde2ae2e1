/* Elimination of conjugate local latent variables.
 *
 * In: the sum of the terms' expectations, over the means m and sds s of the factors. Out: for every local element the factor that maximises
 *
 *     sum of the terms' expectations + log s          (the entropy of the factor, but for a constant)
 *
 * in closed form, where the terms are quadratic in it: d/dm = b - p m and d/ds = -p' s, with b, p and p' free of local moments, so that the optimum is
 * m = b / p, s = 1 / sqrt(p') (coordinate ascent with conjugate terms: Blei, Kucukelbir & McAuliffe 2017, section 4). Both slopes are taken by reverse
 * mode (grad.h) and read as affine functions of m and s. By the envelope theorem the gradient of the maximum with respect to everything else is the partial
 * gradient there; so what is left of a plate is a loop that neither reads nor writes anything of the local variables. */
#include "eliminate.h"

#include "grad.h"

static bool is_moment(const XNode *x) { return x->op == X_MEAN || x->op == X_SD; }

static bool is_local_moment(const Dag *d, const XNode *x)
{
  return is_moment(x) && d->model->families.at[x->aux].role == ROLE_LOCAL;
}

static bool contains_local(const Dag *d, Node n, NodeMap *seen)
{
  const XNode *x = dag_node(d, n);
  if (!x->latent) return false;
  if (is_local_moment(d, x)) return true;
  int known = *node_map(seen, n);
  if (known != NODE_NEW) return known;
  bool any = false;
  for (int i = 0; i < x->n_args && !any; i++) any = contains_local(d, x->args[i], seen);
  *node_map(seen, n) = any;
  return any;
}

typedef struct { Node slope, rest; } Line;                                  /* slope * leaf + rest; slope NO_NODE: not a line */
typedef struct { Dag *d; Node leaf; NodeMap done, local; VEC(Line) lines; } Lines;

static const Line no_line = {NO_NODE, NO_NODE};

static Line line_of(Lines *l, Node n);

static Line find_line(Lines *l, Node n)
{
  Dag *d = l->d;
  const XNode x = *dag_node(d, n);
  Node zero = x_const(d, 0);
  if (n == l->leaf) return (Line){x_const(d, 1), zero};
  if (!contains_local(d, n, &l->local)) return (Line){zero, n};
  if (x.op == X_ADD || x.op == X_SUB || x.op == X_MUL || x.op == X_DIV || x.op == X_NEG) {
    Line a = line_of(l, x.args[0]), b = x.n_args > 1 ? line_of(l, x.args[1]) : a;
    double v;
    if (a.slope < 0 || b.slope < 0) return no_line;
    switch (x.op) {
    case X_ADD: return (Line){x_add(d, a.slope, b.slope), x_add(d, a.rest, b.rest)};
    case X_SUB: return (Line){x_sub(d, a.slope, b.slope), x_sub(d, a.rest, b.rest)};
    case X_NEG: return (Line){x_neg(d, a.slope), x_neg(d, a.rest)};
    case X_MUL:
      if (dag_is_const(d, a.slope, &v) && v == 0) return (Line){x_mul(d, a.rest, b.slope), x_mul(d, a.rest, b.rest)};
      return dag_is_const(d, b.slope, &v) && v == 0 ? (Line){x_mul(d, a.slope, b.rest), x_mul(d, a.rest, b.rest)} : no_line;
    default:
      return dag_is_const(d, b.slope, &v) && v == 0 ? (Line){x_div(d, a.slope, b.rest), x_div(d, a.rest, b.rest)} : no_line;
    }
  }
  if (x.op == X_SUM && !(dag_axes(d, l->leaf) & AXIS_BIT(x.aux))) {
    Line a = line_of(l, x.args[0]);
    return a.slope < 0 ? no_line : (Line){x_sum(d, x.aux, a.slope), x_sum(d, x.aux, a.rest)};
  }
  if (x.op == X_COND && !contains_local(d, x.args[0], &l->local)) {
    Line a = line_of(l, x.args[1]), b = line_of(l, x.args[2]);
    return a.slope < 0 || b.slope < 0 ? no_line : (Line){x_cond(d, x.args[0], a.slope, b.slope), x_cond(d, x.args[0], a.rest, b.rest)};
  }
  return no_line;
}

static Line line_of(Lines *l, Node n)
{
  int known = *node_map(&l->done, n);
  if (known != NODE_NEW) return l->lines.at[known];
  Line line = find_line(l, n);
  *node_map(&l->done, n) = l->lines.n;
  VEC_PUSH(l->lines, line);
  return line;
}

/* z[n], w[i,j+1,k]: every argument another axis and a constant, the unit's among them. So different values of the axes are different elements. */
static bool bare(const Dag *d, Node leaf)
{
  const XNode *x = dag_node(d, leaf);
  AxisSet seen = 0;
  double v;
  for (int i = 0; i < x->n_args; i++) {
    const XNode *a = dag_node(d, x->args[i]);
    if ((a->op == X_ADD || a->op == X_SUB) && dag_is_const(d, a->args[1], &v)) a = dag_node(d, a->args[0]);
    if (a->op != X_AXIS || (seen & AXIS_BIT(a->aux))) return false;
    seen |= AXIS_BIT(a->aux);
  }
  return (seen & AXIS_BIT(0)) && seen == x->axes;
}

static Node adjoint_of(const LeafAdjoints *list, Node leaf)
{
  for (int i = 0; i < list->n; i++)
    if (list->at[i].leaf == leaf) return list->at[i].adjoint;
  return NO_NODE;
}

bool dag_eliminate(Dag *d, Node value, const bool *candidate, Eliminations *out)
{
  LeafAdjoints slopes = {0};
  dag_gradient(d, value, x_const(d, 1), X_MEAN, X_SD, &slopes);
  for (int i = 0; i < slopes.n; i++) {
    const XNode x = *dag_node(d, slopes.at[i].leaf);
    if (!is_local_moment(d, &x)) continue;
    if (!candidate[x.aux] || !bare(d, slopes.at[i].leaf)) return false;
    for (int k = 0; k < i; k++) {                                           /* a second reference to the family */
      const XNode *other = dag_node(d, slopes.at[k].leaf);
      if (other->op == x.op && other->aux == x.aux) return false;
    }
    if (x.op == X_SD) continue;
    Node sd = x_leaf(d, X_SD, x.aux, x.n_args, x.args, false), sd_slope = adjoint_of(&slopes, sd), zero = x_const(d, 0);
    if (sd_slope < 0) return false;
    Lines of_mean = {.d = d, .leaf = slopes.at[i].leaf}, of_sd = {.d = d, .leaf = sd};
    Line m = line_of(&of_mean, slopes.at[i].adjoint), s = line_of(&of_sd, sd_slope);
    if (m.slope < 0 || s.slope < 0 || s.rest != zero || m.slope == zero || s.slope == zero) return false;
    Node precision = x_neg(d, s.slope);
    VEC_PUSH(*out, (Eliminated){.mean = slopes.at[i].leaf, .sd = sd, .best_mean = x_mul(d, m.rest, x_div(d, x_const(d, 1), x_neg(d, m.slope))),
                                 .best_sd = x_div(d, x_const(d, 1), x_sqrt(d, precision)), .precision = precision});
  }
  return out->n > 0;
}

typedef VEC(Node) Nodes;

Node dag_eliminated(Dag *d, Node n, const Eliminations *list)
{
  Nodes from = {0}, to = {0};
  for (int i = 0; i < list->n; i++) {
    const Eliminated *z = &list->at[i];
    const Node leaves[] = {z->mean, z->sd, x_square(d, z->sd)}, best[] = {z->best_mean, z->best_sd, x_div(d, x_const(d, 1), z->precision)};
    for (int k = 0; k < 3; k++) {
      VEC_PUSH(from, leaves[k]);
      VEC_PUSH(to, best[k]);
    }
  }
  return dag_replace_all(d, n, from.n, from.at, to.at);
}

static void find_present(const Dag *d, Node n, NodeMap *seen, Nodes *found)
{
  const XNode *x = dag_node(d, n);
  if (*node_map(seen, n) != NODE_NEW) return;
  *node_map(seen, n) = 1;
  if (x->op == X_PRESENT) VEC_PUSH(*found, n);
  for (int i = 0; i < x->n_args; i++) find_present(d, x->args[i], seen, found);
}

Node dag_complete(Dag *d, Node n)
{
  NodeMap seen = {0};
  Nodes from = {0}, to = {0};
  find_present(d, n, &seen, &from);
  for (int i = 0; i < from.n; i++) VEC_PUSH(to, x_int(d, 1));
  return dag_replace_all(d, n, from.n, from.at, to.at);
}
