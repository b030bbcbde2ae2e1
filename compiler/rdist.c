/* Distributions in statements and log densities: names, arguments, shapes, constant arguments against their constraints, supports
 * against bounds. Shapes: a univariate distribution on a vector or matrix is element-wise, its arguments are scalars or have the
 * variate's shape; a multivariate one takes the variate whole. Row vectors are accepted for vectors. */
#include "resolver.h"
#include "dist.h"
#include "func.h"
#include "habit.h"

#include <math.h>
#include <string.h>

int dist_lookup(Name name, Span span)
{
  int d = dist_find(name);
  if (d >= 0) return d;
  const char *hint = habit_distribution(name), *list[DIST_COUNT];
  for (int i = 0; i < DIST_COUNT; i++) list[i] = dist_info[i].name;
  const char *near = diag_nearest(name, list, DIST_COUNT);
  if (!hint && near) hint = arena_printf("did you mean '%s'?", near);
  diag_error(span, hint, "there is no distribution '%s'", name);
  return -1;
}

/* ---- constant arguments ---------------------------------------------------------------------------------------------------- */

static const char *const constraint_text[] = {['p'] = "positive",           ['n'] = "at least 0",
                                              ['u'] = "between 0 and 1",    ['c'] = "a whole number, not negative",
                                              ['q'] = "positive",           ['s'] = "a simplex: not negative, with sum 1",
                                              ['o'] = "in increasing order"};

/* Is the constant number against its constraint? */
static bool violates(char constraint, double v)
{
  switch (constraint) {
  case 'p':
  case 'q':
    return !(v > 0);
  case 'n':
    return !(v >= 0);
  case 'u':
    return !(v >= 0 && v <= 1);
  case 'c':
    return !(v >= 0 && v == floor(v));
  case 's':
    return !(v >= 0 && v <= 1);
  default:
    return isnan(v);
  }
}

static bool check_constant(const DistInfo *d, int i, const MExpr *e)
{
  char c = d->constraints[i];
  double v, last = -INFINITY, sum = 0;
  if (e->kind == M_CALL && e->func == FUNC_rep_vector && c != 's' && c != 'o') e = e->args[0];
  if (mexpr_const_real(e, &v)) {
    if (!violates(c, v)) return true;
    diag_error(e->span, NULL, "argument %s of %s must be %s", dist_argument_name((int)(d - dist_info), i), d->name,
               constraint_text[(unsigned char)c]);
    return false;
  }
  if (e->kind != M_VECTOR) return true;
  for (int k = 0; k < e->n_args; k++) {
    if (!mexpr_const_real(e->args[k], &v)) return true;
    if (violates(c, v) || (c == 'o' && !(v > last))) {
      diag_error(e->args[k]->span, NULL, "argument %s of %s must be %s", dist_argument_name((int)(d - dist_info), i), d->name,
                 constraint_text[(unsigned char)c]);
      return false;
    }
    last = v;
    sum += v;
  }
  if (c == 's' && fabs(sum - 1) > 1e-8) {
    diag_error(e->span, NULL, "argument %s of %s must be a simplex; its sum is %g", dist_argument_name((int)(d - dist_info), i), d->name,
               sum);
    return false;
  }
  return true;
}

/* ---- shapes ---------------------------------------------------------------------------------------------------------------- */

static bool fits(const Resolver *r, const Type *arg, const Type *variate)
{
  int rank = type_rank(variate->kind);
  if (type_rank(arg->kind) != rank) return false;
  for (int i = 0; i < rank; i++)
    if (!same_length(r, arg->dim[i], variate->dim[i])) return false;
  return true;
}

static bool wrong_shape(const Resolver *r, const DistInfo *d, int i, const MExpr *e, const char *wanted)
{
  diag_error(e->span, NULL, "argument %s of %s is %s; expected %s", dist_argument_name((int)(d - dist_info), i), d->name,
             shape_text(r, &e->type), wanted);
  note_operand(r, e);
  return false;
}

static bool check_length(const Resolver *r, const DistInfo *d, int i, const MExpr *e, MExpr *length, MExpr *wanted)
{
  if (same_length(r, length, wanted)) return true;
  diag_error(e->span, NULL, "argument %s of %s has length %s, the variable %s", dist_argument_name((int)(d - dist_info), i), d->name,
             mexpr_text(r->m, length), mexpr_text(r->m, wanted));
  note_operand(r, e);
  return false;
}

/* variate NULL: unknown (reported elsewhere). */
static bool check_shape(const Resolver *r, const DistInfo *d, int i, const MExpr *e, const Type *variate)
{
  int rank = type_rank(e->type.kind), variate_rank = variate ? type_rank(variate->kind) : 0;
  MExpr *length = variate && variate_rank ? variate->dim[0] : NULL;
  switch (d->constraints[i]) {
  case 'r':
  case 'p':
  case 'n':
  case 'u':
  case 'c':
    if (d->constraints[i] == 'c' && e->type.kind == TY_REAL) return wrong_shape(r, d, i, e, "a whole number (int)");
    if (rank == 0) return true;
    if (d->shape == DSH_MULTIVARIATE || (variate && variate_rank == 0)) return wrong_shape(r, d, i, e, "a scalar");
    if (!variate || fits(r, &e->type, variate)) return true;
    return wrong_shape(r, d, i, e, arena_printf("a scalar or the shape of the variable, %s", shape_text(r, variate)));
  case 'm':
  case 'l':
    if (rank != 2 || !same_length(r, e->type.dim[0], e->type.dim[1])) return wrong_shape(r, d, i, e, "a square matrix");
    return !length || d->shape != DSH_MULTIVARIATE || check_length(r, d, i, e, e->type.dim[0], length);
  default: /* vectors: v, s, q, o */
    if (rank != 1) return wrong_shape(r, d, i, e, "a vector");
    return !length || d->shape != DSH_MULTIVARIATE || check_length(r, d, i, e, e->type.dim[0], length);
  }
}

/* exact: t is a declared type; else the type of an expression, which knows nothing of simplexes and covariances. */
static bool check_variate(const Resolver *r, const DistInfo *d, const Type *t, bool exact, Span span)
{
  int rank = type_rank(t->kind);
  const char *wanted = NULL;
  bool is_scalar = rank == 0;
  if (d->kind == DK_DISCRETE && d->shape == DSH_UNIVARIATE && (t->kind == TY_REAL || t->kind >= TY_SIMPLEX)) {
    diag_error(span, exact ? "declare it as int, or leave the type away" : NULL, "%s is a distribution of whole numbers; this is %s",
               d->name, shape_text(r, t));
    return false;
  }
  if (d->kind == DK_CONTINUOUS && exact && t->kind == TY_INT && d->support != SUP_TYPE) { /* normal_lpdf(0 | m, s) is fine */
    diag_error(span, NULL, "%s is continuous; this is int", d->name);
    return false;
  }
  if (d->shape == DSH_UNIVARIATE) return true;
  if (!exact) {
    if (rank == (d->support == SUP_COV || d->support == SUP_CHOLESKY_CORR ? 2 : 1)) return true;
    diag_error(span, NULL, "%s is a distribution of %s; this is %s", d->name,
               rank == 2 || d->support < SUP_CHOLESKY_CORR ? "vectors" : "matrices", shape_text(r, t));
    return false;
  }
  switch (d->support) {
  case SUP_SIMPLEX:
    wanted = t->kind == TY_SIMPLEX ? NULL : "simplex[K]";
    break;
  case SUP_CHOLESKY_CORR:
    wanted = t->kind == TY_CHOLESKY_CORR ? NULL : "cholesky_factor_corr[K]";
    break;
  case SUP_COV:
    wanted = t->kind == TY_COV_MATRIX ? NULL : "cov_matrix[K]";
    break;
  default:
    wanted = rank == 1 ? NULL : "vector[K]";
    break;
  }
  if (!wanted) return true;
  diag_error(span, arena_printf("declare it as %s", wanted), "%s is a distribution of %s; this is %s", d->name,
             d->support == SUP_SIMPLEX                                  ? "simplexes"
             : d->support == SUP_COV || d->support == SUP_CHOLESKY_CORR ? "matrices"
                                                                        : "vectors",
             is_scalar ? "a scalar" : shape_text(r, t));
  return false;
}

bool dist_check_args(Resolver *r, int dist, Span name_span, int n, MExpr **args, const Type *variate, bool exact, Span variate_span)
{
  const DistInfo *d = &dist_info[dist];
  if (n != d->n_args) {
    diag_error(name_span, arena_printf("%s(%s)", d->name, d->arguments), "%s takes %s, not %d", d->name,
               d->n_args == 0   ? "no arguments"
               : d->n_args == 1 ? "one argument"
                                : arena_printf("%d arguments", d->n_args),
               n);
    return false;
  }
  bool fine = true;
  if (variate) fine = check_variate(r, d, variate, exact, variate_span);
  for (int i = 0; i < n; i++)
    if (args[i]) fine = check_shape(r, d, i, args[i], variate) && check_constant(d, i, args[i]) && fine;
  double a, b;
  if (fine && dist == DIST_uniform && mexpr_const_real(args[0], &a) && mexpr_const_real(args[1], &b) && !(a < b)) {
    diag_error(args[1]->span, NULL, "uniform(%g, %g) is empty: its upper end must be above its lower end", a, b);
    fine = false;
  }
  return fine;
}

/* ---- statements ------------------------------------------------------------------------------------------------------------ */

/* The ends of a distribution's support that are the same for all arguments. */
static void support_ends(Support s, double *lo, double *hi)
{
  *lo = -INFINITY;
  *hi = INFINITY;
  switch (s) {
  case SUP_UNIT:
  case SUP_BINARY:
    *hi = 1; /* fall through */
  case SUP_POSITIVE:
  case SUP_NONNEGATIVE:
  case SUP_BOUNDED_COUNT:
  case SUP_COUNT:
    *lo = 0;
    break;
  case SUP_CATEGORY:
    *lo = 1;
    break;
  default:
    break;
  }
}

static bool truncation(Resolver *r, const ADist *a, Stmt *s)
{
  DistCall *d = &s->dist;
  const DistInfo *info = &dist_info[d->dist];
  bool fine = true;
  d->truncated = true;
  for (int i = 0; i < 2; i++) {
    const AExpr *end = i ? a->hi : a->lo;
    if (!end) continue;
    MExpr *e = resolve_expr(r, end);
    if (e && type_rank(e->type.kind)) {
      diag_error(end->span, NULL, "the ends of a truncation are scalars; this is %s", shape_text(r, &e->type));
      e = NULL;
    }
    fine = fine && e;
    *(i ? &d->t_hi : &d->t_lo) = e;
  }
  if (!a->lo && !a->hi) {
    diag_error(a->span, "T[lo, ], T[, hi] or T[lo, hi]", "a truncation needs at least one end");
    return false;
  }
  if (!dist_has_cdf(d->dist)) {
    diag_error(a->span, NULL, "%s cannot be truncated", info->name);
    return false;
  }
  double lo, hi, least, greatest;
  bool discrete = info->kind == DK_DISCRETE;
  support_ends(info->support, &least, &greatest);
  bool has_lo = fine && mexpr_const_real(d->t_lo, &lo), has_hi = fine && mexpr_const_real(d->t_hi, &hi);
  if (has_lo && has_hi && (discrete ? !(lo <= hi) : !(lo < hi))) {
    diag_error(a->span, NULL, "the truncation T[%g, %g] leaves nothing", lo, hi);
    return false;
  }
  if (has_lo && (discrete ? lo > greatest : lo >= greatest)) {
    diag_error(d->t_lo->span, NULL, "%s has no mass above %g", info->name, lo);
    return false;
  }
  if (has_hi && (discrete ? hi < least : hi <= least)) {
    diag_error(d->t_hi->span, NULL, "%s has no mass below %g", info->name, hi);
    return false;
  }
  return fine;
}

/* Bounds against the support: nothing left is an error; a bound that cuts a density with random arguments leaves it unnormalised. */
static bool check_bounds(Resolver *r, const Stmt *s, const Type *t)
{
  const DistInfo *d = &dist_info[s->dist.dist];
  double lo, hi, v;
  support_ends(d->support, &lo, &hi);
  bool cut = false;
  if (t->lower) {
    if (!mexpr_const_real(t->lower, &v))
      cut = true;
    else if (v > hi || (v == hi && d->kind == DK_CONTINUOUS)) {
      diag_error(t->lower->span, NULL, "%s has no mass above %g", d->name, v);
      return false;
    } else
      cut = v > lo;
  }
  if (t->upper) {
    if (!mexpr_const_real(t->upper, &v))
      cut = true;
    else if (v < lo || (v == lo && d->kind == DK_CONTINUOUS)) {
      diag_error(t->upper->span, NULL, "%s has no mass below %g", d->name, v);
      return false;
    } else
      cut = cut || v < hi;
  }
  if (!cut || s->dist.truncated || d->support == SUP_TYPE || d->support == SUP_CATEGORY || d->support == SUP_BOUNDED_COUNT ||
      d->support == SUP_BINARY || d->support == SUP_BETWEEN || d->support == SUP_ABOVE)
    return true;
  const unsigned random = 1u << ROLE_GLOBAL | 1u << ROLE_LOCAL | 1u << ROLE_MARGINAL | 1u << ROLE_PARAM | 1u << ROLE_LET;
  for (int i = 0; i < s->dist.n_args; i++)
    if (mexpr_mentions(r->m, s->dist.args[i], random)) {
      const char *lower = t->lower ? mexpr_text(r->m, t->lower) : "", *upper = t->upper ? mexpr_text(r->m, t->upper) : "";
      diag_warning(s->dist.span, arena_printf("T[%s, %s] normalises it", lower, upper),
                   "the bound leaves this density unnormalised, by a factor that depends on %s", mexpr_text(r->m, s->dist.args[i]));
      return true;
    }
  return true;
}

/* Labels that the probabilities do not have. */
static bool check_labels(Resolver *r, const Stmt *s, const Type *t)
{
  Affine top, length;
  DistId d = (DistId)s->dist.dist;
  if ((d != DIST_categorical && d != DIST_categorical_logit) || !t->upper) return true;
  MExpr *n = (MExpr *)s->dist.args[0]->type.dim[0];
  if (s->kind == ST_LATENT) same_length(r, (MExpr *)t->upper, n); /* else the data must agree: sums over the values read all probabilities */
  if (!mexpr_affine(r->m, t->upper, &top) || !mexpr_affine(r->m, n, &length) || !affine_combine(&top, -1, &length, &top) || top.n ||
      top.constant <= 0)
    return true;
  diag_error(t->upper->span, NULL, "%s gives probabilities to 1..%s; the upper bound is %s", dist_info[d].name, mexpr_text(r->m, n),
             mexpr_text(r->m, t->upper));
  return false;
}

/* A discrete latent variable is a table of probabilities: its values must be finitely many. */
static bool check_finite(const Stmt *s, const Type *t, Span span)
{
  const DistInfo *d = &dist_info[s->dist.dist];
  if (t->lower && t->upper) return true;
  if (d->support == SUP_BINARY || d->support == SUP_CATEGORY || d->support == SUP_BOUNDED_COUNT) return true;
  if (t->upper && (d->support == SUP_COUNT || s->dist.t_lo)) return true;
  if (s->dist.t_hi && (d->support == SUP_COUNT || t->lower || s->dist.t_lo)) return true;
  diag_error(span, "declare the range: int<lower=0, upper=20>",
             "a discrete latent variable takes finitely many values; %s has no largest one", d->name);
  return false;
}

bool resolve_dist(Resolver *r, const ADist *a, Stmt *s, const Type *t)
{
  DistCall *d = &s->dist;
  bool fine = true;
  s->has_dist = true;
  *d = (DistCall){.dist = -1, .n_args = a->args.n, .args = NEW_ARRAY(MExpr *, a->args.n), .span = a->span};
  for (int i = 0; i < a->args.n; i++) fine = (d->args[i] = resolve_expr(r, a->args.at[i])) && fine;
  d->dist = dist_lookup(a->name, a->name_span);
  if (d->dist < 0) return false;
  const AStmt *ast = r->stmts.at[(int)(s - r->m->stmts.at)].ast;
  fine = dist_check_args(r, d->dist, a->name_span, d->n_args, d->args, t, true, ast->type ? ast->type->span : ast->target_span) && fine;
  if (a->truncated) fine = truncation(r, a, s) && fine;
  if (!fine || !t) return false;
  fine = check_bounds(r, s, t) && check_labels(r, s, t);
  if (s->kind == ST_LATENT && t->kind == TY_INT) fine = check_finite(s, t, ast->target_span) && fine;
  if (s->kind == ST_LATENT && dist_info[d->dist].kind == DK_DISCRETE && t->kind != TY_INT) {
    diag_error(ast->target_span, "declare an indexed family of int", "a discrete latent variable is a scalar");
    fine = false;
  }
  return fine;
}
