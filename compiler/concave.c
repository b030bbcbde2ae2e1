/* Curvature of expressions by the composition rules of disciplined convex programming (Grant, Boyd & Ye 2006): sums of concave expressions, and increasing
 * concave functions of concave ones, are concave, and so on. In: a term and a family. Out: whether the term is certainly concave in the family's elements.
 *
 * Why it is asked: where every term with a local latent variable u is concave in u, its part of the ELBO is concave in mean and sd of its factor
 * (E f(mean + sd z) is, for every z, a concave function of linear ones; the entropy log sd is concave), so there is one optimum, and no other starts
 * are tried. Everything else, other latent variables too, counts as a constant of unknown value. */
#include "concave.h"

typedef enum { CONSTANT, AFFINE, CONVEX, CONCAVE, UNKNOWN } Curvature;

typedef struct {
  const Dag *d;
  int family;
  signed char *known;                  /* per node: 1 + its curvature, 0: not looked at yet */
  signed char *sign;                   /* per node: 2 + its sign, 0: not looked at yet */
} Judge;

static Curvature curvature(Judge *j, Node n);

static Curvature plus(Curvature a, Curvature b)
{
  if (a == UNKNOWN || b == UNKNOWN) return UNKNOWN;
  if (a <= AFFINE) return a > b ? a : b;
  return b <= AFFINE || a == b ? a : UNKNOWN;
}

static Curvature largest(Curvature a, Curvature b) { return a >= CONCAVE || b >= CONCAVE ? UNKNOWN : CONVEX; }
static Curvature minus(Curvature a) { return a == CONVEX ? CONCAVE : a == CONCAVE ? CONVEX : a; }

static int sign_of(Judge *j, Node n);

static int find_sign(Judge *j, Node n)
{
  const XNode *x = dag_node(j->d, n);
  int a, b;
  switch (x->op) {
  case X_CONST: return x->number >= 0 ? 1 : -1;
  case X_SD: case X_PRESENT: case X_WEIGHT: case X_COUNT: case X_QUAD_W: case X_LT: case X_LE: case X_EQ: case X_NE: case X_AND: case X_OR: case X_NOT: return 1;
  case X_INPUT: case X_VALUE: {
    const Family *f = &j->d->model->families.at[x->aux];
    double lower;
    if (f->type.kind == TY_SIMPLEX || f->type.kind == TY_POSITIVE_ORDERED) return 1;
    return f->type.lower && mexpr_const_real(f->type.lower, &lower) && lower >= 0 ? 1 : 0;
  }
  case X_NEG: return -sign_of(j, x->args[0]);
  case X_MUL: case X_DIV: return sign_of(j, x->args[0]) * sign_of(j, x->args[1]);
  case X_ADD: case X_SUB:
    a = sign_of(j, x->args[0]), b = sign_of(j, x->args[1]) * (x->op == X_SUB ? -1 : 1);
    return a == b ? a : 0;
  case X_SUM: case X_MAX: case X_MIN: case X_AT: return sign_of(j, x->args[0]);
  case X_COND: return sign_of(j, x->args[1]) == sign_of(j, x->args[2]) ? sign_of(j, x->args[1]) : 0;
  case X_POW: return sign_of(j, x->args[0]) > 0 ? 1 : 0;
  case X_FN:
    switch ((Fn)x->aux) {
    case F_exp: case F_sqrt: case F_square: case F_fabs: case F_softplus: case F_inv_logit: case F_relu: case F_Phi: case F_step: return 1;
    case F_log_inv_logit: case F_log1m_inv_logit: case F_log1m_exp: case F_std_normal_lcdf: return -1;
    default: return 0;
    }
  default: return 0;
  }
}

/* Sign of an expression whatever its leaves: 1: >= 0, -1: <= 0, 0: not known. */
static int sign_of(Judge *j, Node n)
{
  if (!j->sign[n]) j->sign[n] = (signed char)(2 + find_sign(j, n));
  return j->sign[n] - 2;
}

/* A function of one argument of known curvature: `of` its own, `slope` 1 if it increases, -1 if it decreases, 0 if neither. */
static Curvature compose(Curvature of, int slope, Curvature a)
{
  if (a <= AFFINE) return a == CONSTANT ? CONSTANT : of;
  if (a == UNKNOWN || !slope) return UNKNOWN;
  return (slope > 0 ? a : minus(a)) == of ? of : UNKNOWN;
}

static Curvature function(Judge *j, const XNode *x)
{
  const Curvature a = curvature(j, x->args[0]);
  switch ((Fn)x->aux) {
  case F_exp: case F_softplus: case F_relu: case F_expm1: return compose(CONVEX, 1, a);
  case F_square: return compose(CONVEX, sign_of(j, x->args[0]), a);
  case F_fabs: return compose(CONVEX, sign_of(j, x->args[0]), a);
  case F_log: case F_sqrt: case F_log1p: case F_log_inv_logit: case F_std_normal_lcdf: return compose(CONCAVE, 1, a);
  case F_log1m_inv_logit: return compose(CONCAVE, -1, a);
  case F_fmax: return largest(a, curvature(j, x->args[1]));
  case F_fmin: return minus(largest(minus(a), minus(curvature(j, x->args[1]))));
  default: return UNKNOWN;
  }
}

static Curvature find(Judge *j, const XNode *x)
{
  Curvature a, b;
  bool constant = true;
  if (x->op == X_U) return x->aux == j->family ? AFFINE : CONSTANT;
  for (int i = 0; i < x->n_args; i++) constant = constant && curvature(j, x->args[i]) == CONSTANT;
  if (constant) return CONSTANT;
  switch (x->op) {
  case X_ADD: return plus(curvature(j, x->args[0]), curvature(j, x->args[1]));
  case X_SUB: return plus(curvature(j, x->args[0]), minus(curvature(j, x->args[1])));
  case X_NEG: return minus(curvature(j, x->args[0]));
  case X_MUL: case X_DIV: {
    const int varies = curvature(j, x->args[0]) == CONSTANT, sign = sign_of(j, x->args[!varies]);
    if (x->op == X_DIV && varies) return UNKNOWN;
    a = curvature(j, x->args[varies]), b = curvature(j, x->args[!varies]);
    if (b != CONSTANT || a == UNKNOWN) return UNKNOWN;
    return a <= AFFINE || sign > 0 ? a : sign < 0 ? minus(a) : UNKNOWN;
  }
  case X_FN: return function(j, x);
  case X_SUM: case X_AT: return curvature(j, x->args[0]);
  case X_MAX: a = curvature(j, x->args[0]); return a == AFFINE || a == CONVEX ? CONVEX : UNKNOWN;
  case X_MIN: a = curvature(j, x->args[0]); return a == AFFINE || a == CONCAVE ? CONCAVE : UNKNOWN;
  case X_COND:
    a = curvature(j, x->args[1]), b = curvature(j, x->args[2]);
    return curvature(j, x->args[0]) == CONSTANT ? plus(a, b) : UNKNOWN;
  default: return UNKNOWN;
  }
}

static Curvature curvature(Judge *j, Node n)
{
  if (!j->known[n]) j->known[n] = (signed char)(1 + find(j, dag_node(j->d, n)));
  return (Curvature)(j->known[n] - 1);
}

bool dag_concave(const Dag *d, Node term, int family)
{
  Judge j = {.d = d, .family = family, .known = NEW_ARRAY(signed char, d->nodes.n + 1), .sign = NEW_ARRAY(signed char, d->nodes.n + 1)};
  const Curvature c = curvature(&j, term);
  return c == CONSTANT || c == AFFINE || c == CONCAVE;
}
