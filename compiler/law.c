/* law.h. With beta = (1 + phi^2) / s^2 + tau, gamma = -phi / s^2, tau = (a / r)^2 the precision of the chain is tridiagonal (beta, gamma), and
 * cosh(lambda) = beta / (2 |gamma|). The gap per step of the best window of half-width w, relative to no input, is
 *
 *   (1 - phi^2) / [ (1 - phi^2) + 2 sum_{k=1}^{w+1} (cosh(k lambda) - |phi| cosh((k-1) lambda))^2 ]     over data from the model, |phi| < 1,
 *   1 - tanh((w + 1) lambda)                                                                            over white data. */
#include "law.h"
#include "dist.h"

#include <math.h>

#define WANTED 0.01
#define MAX_HALF_WIDTH 1000

/* An expression as constant + coef * (the one reference to the family). */
typedef struct { bool known; double constant, coef; const MExpr *ref; } Linear; /* known: the constant is a number */

static bool linear(const Model *m, int family, const MExpr *e, Linear *out)
{
  Linear a, b;
  *out = (Linear){.known = true};
  if (type_rank(e->type.kind)) return false;
  switch (e->kind) {
  case M_NUM: out->constant = e->number; return true;
  case M_REF: {
    const Family *f = &m->families.at[e->family];
    if (e->family == family) {
      out->coef = 1;
      out->ref = e;
      return true;
    }
    if (f->role != ROLE_INPUT) return false;
    const MExpr *value = f->n_statements == 1 && !f->n_index && !e->n_entry ? m->stmts.at[f->statements[0]].value : NULL;
    if (value) return linear(m, family, value, out);
    out->known = false;
    return true;
  }
  case M_UNARY:
    if (e->op != OP_NEG || !linear(m, family, e->args[0], out)) return false;
    out->constant = -out->constant, out->coef = -out->coef;
    return true;
  case M_BINARY:
    if (!linear(m, family, e->args[0], &a) || !linear(m, family, e->args[1], &b) || (a.ref && b.ref)) return false;
    out->ref = a.ref ? a.ref : b.ref;
    out->known = a.known && b.known;
    switch (e->op) {
    case OP_ADD: case OP_SUB: {
      double sign = e->op == OP_ADD ? 1 : -1;
      out->constant = a.constant + sign * b.constant;
      out->coef = a.coef + sign * b.coef;
      return true;
    }
    case OP_MUL:
      if ((a.ref && !b.known) || (b.ref && !a.known)) return false;
      out->constant = a.constant * b.constant;
      out->coef = a.ref ? a.coef * b.constant : b.coef * a.constant;
      return true;
    case OP_DIV:
      if (b.ref || !b.known) return false;
      out->constant = a.constant / b.constant;
      out->coef = a.coef / b.constant;
      return true;
    default: return false;
    }
  default: return false;
  }
}

/* Plainly normal, a number as scale, the mean linear in one element of the family. */
static bool gaussian(const Model *m, int family, const Stmt *s, Linear *mean, double *scale)
{
  Linear sd;
  if (!s->has_dist || s->dist.dist != DIST_normal || s->dist.truncated || s->type.lower || s->type.upper || type_rank(s->type.kind)) return false;
  if (!linear(m, family, s->dist.args[0], mean) || !linear(m, family, s->dist.args[1], &sd) || sd.ref || !sd.known || !(sd.constant > 0)) return false;
  *scale = sd.constant;
  return mean->ref != NULL;
}

/* The index of the reference is that of the statement less `lag` at one position, which stands in *at, and the same elsewhere. */
static bool lags(const Stmt *s, const MExpr *ref, long lag, int *at)
{
  int moved = 0;
  if (ref->n_index != s->n_index) return false;
  for (int k = 0; k < s->n_index; k++) {
    const Affine *x = &s->index[k].affine, *y = &ref->index[k].affine;
    if (ref->index[k].kind != IX_AFFINE || x->n != 1 || y->n != 1 || x->term[0].kind != y->term[0].kind || x->term[0].id != y->term[0].id ||
        x->term[0].coef != y->term[0].coef)
      return false;
    if (x->constant == y->constant) continue;
    if (x->constant - y->constant != lag) return false;
    *at = k;
    moved++;
  }
  return moved == (lag != 0);
}

static void count_ref(const MExpr *e, void *data)
{
  int *n = data;
  if (e->kind == M_REF && e->family == n[0]) n[1]++;
}

/* References to the family in the expressions of a statement. */
static int references(const Stmt *s, int family)
{
  int n[2] = {family, 0};
  mexpr_walk(s->value, count_ref, n);
  for (int k = 0; s->has_dist && k < s->dist.n_args; k++) mexpr_walk(s->dist.args[k], count_ref, n);
  mexpr_walk(s->dist.t_lo, count_ref, n);
  mexpr_walk(s->dist.t_hi, count_ref, n);
  return n[1];
}

static double relative_gap(double phi, double lambda, bool stationary, int w)
{
  if (!stationary) return 1 - tanh((w + 1) * lambda);
  double sum = 0;
  for (int k = 1; k <= w + 1; k++) {
    double d = cosh(k * lambda) - fabs(phi) * cosh((k - 1) * lambda);
    sum += d * d;
  }
  return (1 - phi * phi) / (1 - phi * phi + 2 * sum);
}

bool window_law(const Model *m, int family, WindowLaw *out)
{
  Linear step = {.known = false}, look = step;
  double s = 0, r = 0;
  int chains = 0, looks = 0, at = -1;
  for (int i = 0; i < m->stmts.n; i++) {
    const Stmt *x = &m->stmts.at[i];
    if (x->kind == ST_AMORTIZE || !references(x, family)) continue;
    if (x->kind == ST_LATENT && x->family == family) {
      chains++;
      if (!gaussian(m, family, x, &step, &s) || !lags(x, step.ref, 1, &at)) return false;
    } else {
      looks++;
      if (x->kind != ST_OBSERVED || !gaussian(m, family, x, &look, &r) || !lags(x, look.ref, 0, &at)) return false;
    }
  }
  if (chains != 1 || looks != 1 || step.coef == 0 || look.coef == 0) return false;
  double phi = step.coef, tau = look.coef * look.coef / (r * r), beta = (1 + phi * phi) / (s * s) + tau, gamma = phi / (s * s);
  double lambda = acosh(beta / (2 * fabs(gamma)));
  *out = (WindowLaw){.per_step = exp(-2 * lambda), .stationary = fabs(phi) < 1};
  while (relative_gap(phi, lambda, out->stationary, out->half_width) > WANTED)
    if (++out->half_width > MAX_HALF_WIDTH) return false;
  return true;
}
