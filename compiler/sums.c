/* Sufficient statistics: a term as a polynomial in data whose coefficients depend on the group alone. See sums.h. */
#include "sums.h"
#include <string.h>

enum { MAX_DEGREE = 8, MAX_ATOMS = 8, MAX_SUMS = 32, MAX_POWER = 4 };

/* A factor of the monomials: data that the term does not take apart. */
typedef struct {
  Node node;
  bool gate;                           /* 0 or 1: its powers are itself */
  bool multiplied;                     /* occurs in a product with another, or with itself */
  int table;                           /* of its means; -1: not centred */
} Atom;

typedef struct { Node coefficient; int n, atom[MAX_DEGREE]; } Monomial;     /* atoms ascend */
typedef VEC(Monomial) Poly;

typedef struct {
  Dag *d;
  AxisSet plates;
  Node key, group;
  NodeMap through;                     /* 1: depends on the plates by the key alone */
  int n_atoms;
  Atom atom[MAX_ATOMS];
} Expansion;

static bool varies(const Expansion *x, Node n) { return dag_axes(x->d, n) & x->plates; }
static bool is_fn(const XNode *v, Fn f) { return v->op == X_FN && v->aux == (int)f; }

/* ---- groups ------------------------------------------------------------------------------------------------------------------------------- */

static bool find_key(const Dag *d, AxisSet plates, Node n, NodeMap *seen, Node *key)
{
  const XNode *v = dag_node(d, n);
  int *known = node_map(seen, n);
  if (*known != NODE_NEW || !v->latent) return true;
  *known = 1;
  for (int i = 0; i < v->n_args; i++) {
    if (v->op != X_MEAN && v->op != X_SD) {
      if (!find_key(d, plates, v->args[i], seen, key)) return false;
    } else if (dag_axes(d, v->args[i]) & plates) {
      if (*key >= 0 && *key != v->args[i]) return false;
      *key = v->args[i];
    }
  }
  return true;
}

bool sums_key(Dag *d, const int *axes, int n_axes, Node expected, Node *key)
{
  AxisSet plates = 0;
  NodeMap seen = {0};
  *key = NO_NODE;
  for (int i = 0; i < n_axes; i++) plates |= AXIS_BIT(axes[i]);
  if (!n_axes || !find_key(d, plates, expected, &seen, key)) return false;
  if (*key < 0) return true;
  const XNode *v = dag_node(d, *key);
  if (v->op == X_AXIS) return v->aux == axes[0] && n_axes > 1;
  return v->op == X_INPUT && v->integer && !(v->axes & ~plates);
}

/* Does a node of means and sds depend on the element by its group alone? */
static bool through_key(Expansion *x, Node n)
{
  const XNode *v = dag_node(x->d, n);
  if (n == x->key || !varies(x, n)) return true;
  int *known = node_map(&x->through, n);
  if (*known != NODE_NEW) return *known;
  bool all = v->n_args > 0 && v->op != X_INPUT && v->op != X_PRESENT && v->op != X_TABLE;
  if (x_is_reduction(v->op)) all = !(dag_range_axes(x->d, v->aux) & x->plates);
  for (int i = 0; i < v->n_args && all; i++) all = through_key(x, dag_node(x->d, n)->args[i]);
  *node_map(&x->through, n) = all;
  return all;
}

static bool is_coefficient(Expansion *x, Node n) { return !varies(x, n) || (dag_node(x->d, n)->latent && through_key(x, n)); }

/* ---- polynomials ---------------------------------------------------------------------------------------------------------------------------- */

static bool add_monomial(Expansion *x, Poly *p, Monomial m)
{
  double zero;
  if (dag_is_const(x->d, m.coefficient, &zero) && zero == 0) return true;
  for (int i = 0; i < p->n; i++) {
    Monomial *known = &p->at[i];
    if (known->n != m.n || memcmp(known->atom, m.atom, sizeof(int) * (size_t)m.n)) continue;
    known->coefficient = x_add(x->d, known->coefficient, m.coefficient);
    return true;
  }
  VEC_PUSH(*p, m);
  return p->n <= MAX_SUMS;
}

static bool add_poly(Expansion *x, Poly *p, const Poly *q, bool minus)
{
  for (int i = 0; i < q->n; i++) {
    Monomial m = q->at[i];
    if (minus) m.coefficient = x_neg(x->d, m.coefficient);
    if (!add_monomial(x, p, m)) return false;
  }
  return true;
}

static bool multiply(Expansion *x, const Poly *p, const Poly *q, Poly *out)
{
  for (int i = 0; i < p->n; i++)
    for (int j = 0; j < q->n; j++) {
      const Monomial *a = &p->at[i], *b = &q->at[j];
      Monomial m = {.coefficient = x_mul(x->d, a->coefficient, b->coefficient)};
      for (int k = 0, l = 0; k < a->n || l < b->n;) {
        const int next = l == b->n || (k < a->n && a->atom[k] <= b->atom[l]) ? a->atom[k++] : b->atom[l++];
        if (m.n && m.atom[m.n - 1] == next && x->atom[next].gate) continue;
        if (m.n == MAX_DEGREE) return false;
        m.atom[m.n++] = next;
      }
      if (!add_monomial(x, out, m)) return false;
    }
  return true;
}

static bool power(Expansion *x, const Poly *base, int n, Poly *out)
{
  Poly sum = *base;
  for (int i = 1; i < n; i++) {
    Poly next = {0};
    if (!multiply(x, &sum, base, &next)) return false;
    sum = next;
  }
  *out = sum;
  return true;
}

static bool constant(Expansion *x, Node n, Poly *out) { return add_monomial(x, out, (Monomial){.coefficient = n}); }

static bool atom(Expansion *x, Node n, Poly *out)
{
  int i = 0;
  while (i < x->n_atoms && x->atom[i].node != n) i++;
  if (i == MAX_ATOMS) return false;
  if (i == x->n_atoms) x->atom[x->n_atoms++] = (Atom){.node = n, .gate = dag_node(x->d, n)->op == X_PRESENT, .table = -1};
  if (x->atom[i].table >= 0 && !constant(x, x_table(x->d, x->atom[i].table, x->group), out)) return false;
  return add_monomial(x, out, (Monomial){.coefficient = x_const(x->d, 1), .n = 1, .atom = {i}});
}

static bool expand(Expansion *x, Node n, Poly *out);

/* exp(a + b + ...), each summand of the group or of data: exp of the ones times exp of the others. */
static bool split_exponent(Expansion *x, Node n, bool minus, Node *group, Node *data)
{
  const XNode v = *dag_node(x->d, n);
  if (is_coefficient(x, n) || !v.latent) {
    Node *to = is_coefficient(x, n) ? group : data;
    *to = minus ? x_sub(x->d, *to, n) : x_add(x->d, *to, n);
    return true;
  }
  if (v.op == X_NEG) return split_exponent(x, v.args[0], !minus, group, data);
  return (v.op == X_ADD || v.op == X_SUB) && split_exponent(x, v.args[0], minus, group, data) &&
         split_exponent(x, v.args[1], minus != (v.op == X_SUB), group, data);
}

static bool expand_exp(Expansion *x, Node argument, Poly *out)
{
  Node group = x_const(x->d, 0), data = x_const(x->d, 0);
  Poly outer = {0}, inner = {0};
  return split_exponent(x, argument, false, &group, &data) && constant(x, x_exp(x->d, group), &outer) && atom(x, x_exp(x->d, data), &inner) &&
         multiply(x, &outer, &inner, out);
}

static bool expand_quotient(Expansion *x, const XNode *v, Poly *out)
{
  Poly a = {0}, b = {0};
  const Node one = x_const(x->d, 1);
  if (!expand(x, v->args[0], &a)) return false;
  if (!is_coefficient(x, v->args[1])) return !dag_node(x->d, v->args[1])->latent && atom(x, x_div(x->d, one, v->args[1]), &b) && multiply(x, &a, &b, out);
  for (int i = 0; i < a.n; i++) a.at[i].coefficient = x_div(x->d, a.at[i].coefficient, v->args[1]);
  return add_poly(x, out, &a, false);
}

/* A sum over something else than the elements, such as the nodes of a quadrature. */
static bool expand_sum(Expansion *x, const XNode *v, Poly *out)
{
  Poly body = {0};
  if (dag_range_axes(x->d, v->aux) & x->plates || !expand(x, v->args[0], &body)) return false;
  for (int i = 0; i < body.n; i++) {
    Monomial m = body.at[i];
    for (int k = 0; k < m.n; k++)
      if (dag_axes(x->d, x->atom[m.atom[k]].node) & AXIS_BIT(v->aux)) return false;
    m.coefficient = x_sum(x->d, v->aux, m.coefficient);
    if (!add_monomial(x, out, m)) return false;
  }
  return true;
}

static bool expand(Expansion *x, Node n, Poly *out)
{
  const XNode v = *dag_node(x->d, n);
  double exponent;
  Poly a = {0}, b = {0};
  if (is_coefficient(x, n)) return constant(x, n, out);
  switch (v.op) {
  case X_ADD: case X_SUB:
    if (!v.latent) break;                                                   /* one atom instead of two */
    return expand(x, v.args[0], &a) && expand(x, v.args[1], &b) && add_poly(x, out, &a, false) && add_poly(x, out, &b, v.op == X_SUB);
  case X_NEG: return expand(x, v.args[0], &a) && add_poly(x, out, &a, true);
  case X_MUL: return expand(x, v.args[0], &a) && expand(x, v.args[1], &b) && multiply(x, &a, &b, out);
  case X_DIV: return expand_quotient(x, &v, out);
  case X_POW:
    if (!dag_is_const(x->d, v.args[1], &exponent) || exponent != (int)exponent || exponent < 2 || exponent > MAX_POWER) break;
    return expand(x, v.args[0], &a) && power(x, &a, (int)exponent, out);
  case X_FN:
    if (is_fn(&v, F_square)) return expand(x, v.args[0], &a) && power(x, &a, 2, out);
    if (is_fn(&v, F_exp) && v.latent) return expand_exp(x, v.args[0], out);
    break;
  case X_SUM:
    if (v.latent) return expand_sum(x, &v, out);
    break;
  default: break;
  }
  return !v.latent && atom(x, n, out);
}

/* ---- sums ------------------------------------------------------------------------------------------------------------------------------------- */

/* Finds what is multiplied with data: there cancellation threatens. */
static void mark_products(Expansion *x, const Poly *p)
{
  for (int i = 0; i < p->n; i++) {
    int factors = 0;
    for (int k = 0; k < p->at[i].n; k++) factors += !x->atom[p->at[i].atom[k]].gate;
    for (int k = 0; k < p->at[i].n && factors > 1; k++) x->atom[p->at[i].atom[k]].multiplied = true;
  }
}

/* The gates in all of the monomials: an element where one is 0 does not count. */
static Node common_gates(const Expansion *x, const Poly *p)
{
  Node weight = x_const(x->d, 1);
  for (int a = 0; a < x->n_atoms; a++) {
    bool all = x->atom[a].gate;
    for (int i = 0; i < p->n && all; i++) {
      bool has = false;
      for (int k = 0; k < p->at[i].n; k++) has = has || p->at[i].atom[k] == a;
      all = has;
    }
    if (all) weight = x_mul(x->d, weight, x->atom[a].node);
  }
  return weight;
}

bool sums_expand(Dag *d, const int *axes, int n_axes, Node expected, Node key, Node group, Sums *out)
{
  Expansion x = {.d = d, .key = key, .group = group};
  Poly plain = {0}, poly = {0};
  *out = (Sums){.key = key, .group = group, .value = x_const(d, 0)};
  for (int i = 0; i < n_axes; i++) x.plates |= AXIS_BIT(axes[i]);
  if (dag_node(d, expected)->point || !expand(&x, expected, &plain)) return false;
  mark_products(&x, &plain);
  for (int i = 0; i < x.n_atoms; i++) {
    Atom *a = &x.atom[i];
    if (dag_axes(d, a->node) & ~x.plates) return false;
    if (!a->multiplied || a->gate) continue;
    a->table = out->centred.n;
    VEC_PUSH(out->centred, a->node);
  }
  if (!expand(&x, expected, &poly) || !poly.n) return false;
  out->weight = common_gates(&x, &poly);
  for (int k = 0; k < poly.n; k++) {
    const Monomial *m = &poly.at[k];
    Node product = x_const(d, 1);
    for (int i = 0; i < m->n; i++) {
      const Atom *a = &x.atom[m->atom[i]];
      product = x_mul(d, product, a->table < 0 ? a->node : x_sub(d, a->node, x_table(d, a->table, group)));
    }
    VEC_PUSH(out->sum, product);
    out->value = x_add(d, out->value, x_mul(d, m->coefficient, x_table(d, out->centred.n + k, group)));
  }
  return true;
}
