/* What looks like a mistake in a model that has no errors. Warnings: what nothing uses, what no observation informs, priors that are
 * improper, arguments of distributions that can leave their domain.
 *
 *   latent s ~ normal(0, 1);  observed y ~ normal(0, s);      s can be negative, and a standard deviation must be positive
 *
 * Ranges of expressions are intervals over all values that the random variables can take; what depends on data is not known, since data
 * are checked when they are loaded. A warning is given only where it is certain that some values of positive probability are outside. */
#include "resolver.h"
#include "dist.h"
#include "func.h"

#include <math.h>
#include <string.h>

#define RANDOM (1u << ROLE_GLOBAL | 1u << ROLE_LOCAL | 1u << ROLE_MARGINAL | 1u << ROLE_PARAM | 1u << ROLE_LET)

/* Entries of an expression, or nothing known. An end that is reached with probability 0 is open. */
typedef struct {
  bool known;
  double lo, hi;
  bool lo_open, hi_open;
} Range;

typedef struct {
  Resolver *r;
  Model *m;
  bool *informed; /* by family: an observed variable or a factor depends on it */
  WorkState *ranged;
  Range *range; /* by family, where ranged is WORK_DONE */
  int chain;    /* of lets whose ranges are being found */
} Lint;

#define MAX_CHAIN 200 /* what lies deeper is not known */

static bool is_latent(const Family *f)
{
  return f->role == ROLE_GLOBAL || f->role == ROLE_LOCAL || f->role == ROLE_MARGINAL;
}

/* ---- ranges ---------------------------------------------------------------------------------------------------------------- */

static const Range unknown = {0}, everything = {true, -INFINITY, INFINITY, true, true}, positive = {true, 0, INFINITY, true, true},
                   unit = {true, 0, 1, true, true};

static Range range_of(Lint *l, const MExpr *e);

static Range hull(Range a, Range b)
{
  if (!a.known || !b.known) return unknown;
  if (b.lo < a.lo || (b.lo == a.lo && !b.lo_open)) a.lo = b.lo, a.lo_open = b.lo_open;
  if (b.hi > a.hi || (b.hi == a.hi && !b.hi_open)) a.hi = b.hi, a.hi_open = b.hi_open;
  return a;
}

static void raise_low(Range *r, double lo, bool open)
{
  if (lo > r->lo) r->lo = lo, r->lo_open = open;
}

static void lower_high(Range *r, double hi, bool open)
{
  if (hi < r->hi) r->hi = hi, r->hi_open = open;
}

static Range support_range(Lint *l, const DistCall *d)
{
  const DistInfo *info = &dist_info[d->dist];
  double lo, hi;
  switch (info->support) {
  case SUP_REAL:
  case SUP_VECTOR:
  case SUP_TYPE:
    return everything;
  case SUP_POSITIVE:
  case SUP_NONNEGATIVE:
    return positive;
  case SUP_UNIT:
  case SUP_SIMPLEX:
    return unit;
  case SUP_BINARY:
    return (Range){true, 0, 1, false, false};
  case SUP_COUNT:
  case SUP_BOUNDED_COUNT:
    return (Range){true, 0, INFINITY, false, true};
  case SUP_CATEGORY:
    return (Range){true, 1, INFINITY, false, true};
  case SUP_BETWEEN:
    if (!mexpr_const_real(d->args[0], &lo) || !mexpr_const_real(d->args[1], &hi)) return unknown;
    return (Range){true, lo, hi, true, true};
  case SUP_ABOVE:
    return mexpr_const_real(d->args[0], &lo) ? (Range){true, lo, INFINITY, true, true} : range_of(l, d->args[0]);
  case SUP_CHOLESKY_CORR:
  case SUP_COV:
    return unknown;
  }
  return unknown;
}

/* A bound cuts a range at the least (greatest) value that it can have. */
static void cut(Lint *l, Range *r, const MExpr *lower, const MExpr *upper, bool open)
{
  if (lower && r->known) {
    Range b = range_of(l, lower);
    if (!b.known) *r = unknown;
    raise_low(r, b.lo, open || b.lo_open);
  }
  if (upper && r->known) {
    Range b = range_of(l, upper);
    if (!b.known) *r = unknown;
    lower_high(r, b.hi, open || b.hi_open);
  }
}

static Range statement_range(Lint *l, const Stmt *s)
{
  const Type *t = &s->type;
  if (s->kind == ST_LET) return range_of(l, s->value);
  if (t->kind == TY_SIMPLEX) return unit;
  if (t->kind == TY_POSITIVE_ORDERED) return positive;
  if (t->kind >= TY_COV_MATRIX) return unknown;
  Range r = s->has_dist ? support_range(l, &s->dist) : everything;
  bool open = t->kind != TY_INT; /* bounds are reached in the limit only */
  if (s->has_dist && s->dist.truncated) cut(l, &r, s->dist.t_lo, s->dist.t_hi, open);
  cut(l, &r, t->lower, t->upper, open);
  return r;
}

static Range family_range(Lint *l, int family)
{
  const Family *f = &l->m->families.at[family];
  if (!(1u << f->role & RANDOM) || l->ranged[family] == WORK_BUSY || l->chain == MAX_CHAIN) return unknown; /* data, recurrences */
  if (l->ranged[family] == WORK_DONE) return l->range[family];
  l->ranged[family] = WORK_BUSY;
  l->chain++;
  Range r = statement_range(l, &l->m->stmts.at[f->statements[0]]);
  for (int i = 1; i < f->n_statements && r.known; i++) r = hull(r, statement_range(l, &l->m->stmts.at[f->statements[i]]));
  l->chain--;
  l->ranged[family] = WORK_DONE;
  return l->range[family] = r;
}

static bool is_everything(Range r)
{
  return r.known && r.lo == -INFINITY && r.hi == INFINITY;
}

static Range negative_of(Range r)
{
  return (Range){r.known, -r.hi, -r.lo, r.hi_open, r.lo_open};
}

static Range sum_of(Range a, Range b)
{
  if (is_everything(a) || is_everything(b)) return everything; /* whatever the data are */
  if (!a.known || !b.known) return unknown;
  return (Range){true, a.lo + b.lo, a.hi + b.hi, a.lo_open || b.lo_open, a.hi_open || b.hi_open};
}

static bool is_zero(Range r)
{
  return r.known && r.lo == 0 && r.hi == 0;
}

static Range product_of(Range a, Range b)
{
  if (!a.known || !b.known) return unknown;
  if (is_zero(a)) return a;
  if (is_zero(b)) return b;
  if (a.lo >= 0 && b.lo >= 0) {
    bool zero_open = (a.lo > 0 || a.lo_open) && (b.lo > 0 || b.lo_open);
    double lo = a.lo == 0 || b.lo == 0 ? 0 : a.lo * b.lo;
    return (Range){true, lo, a.hi == 0 || b.hi == 0 ? 0 : a.hi * b.hi, zero_open, a.hi_open || b.hi_open};
  }
  if (a.hi <= 0) return negative_of(product_of(negative_of(a), b));
  if (b.hi <= 0) return negative_of(product_of(a, negative_of(b)));
  return everything; /* the sign changes; how far does not matter here */
}

static Range inverse_of(Range r)
{
  if (!r.known || is_zero(r)) return unknown;
  if (r.hi <= 0) return negative_of(inverse_of(negative_of(r)));
  if (r.lo < 0) return everything;
  return (Range){true, isinf(r.hi) ? 0 : 1 / r.hi, r.lo > 0 ? 1 / r.lo : INFINITY, r.hi_open, r.lo_open || r.lo == 0};
}

/* |x| and x^2: 0 in the interior has probability 0. */
static Range size_of(Range r, bool squared)
{
  if (!r.known) return unknown;
  double a = fabs(r.lo), b = fabs(r.hi), lo = r.lo <= 0 && r.hi >= 0 ? 0 : fmin(a, b), hi = fmax(a, b);
  bool touches = (r.lo == 0 && !r.lo_open) || (r.hi == 0 && !r.hi_open);
  return (Range){true, squared ? lo * lo : lo, squared ? hi * hi : hi, lo == 0 ? !touches : r.lo_open, true};
}

/* A function that increases. */
static Range increasing(Range r, double (*f)(double))
{
  if (!r.known) return unknown;
  return (Range){true, f(r.lo), f(r.hi), r.lo_open, r.hi_open};
}

static double relu(double x)
{
  return x > 0 ? x : 0;
}

static Range larger_of(Range a, Range b)
{
  if (a.known && !b.known) b = everything;
  if (b.known && !a.known) a = everything;
  if (!a.known || fmax(a.lo, b.lo) < 0) return unknown;
  bool open = a.lo > b.lo ? a.lo_open : b.lo > a.lo ? b.lo_open : a.lo_open || b.lo_open;
  return (Range){true, fmax(a.lo, b.lo), fmax(a.hi, b.hi), open, true};
}

static Range call_range(Lint *l, const MExpr *e)
{
  Range a = e->n_args > 0 ? range_of(l, e->args[0]) : unknown, b = e->n_args > 1 ? range_of(l, e->args[1]) : unknown;
  switch ((FuncId)e->func) {
  case FUNC_exp:
  case FUNC_exp2:
  case FUNC_softplus:
  case FUNC_log1p_exp:
    return positive;
  case FUNC_inv_logit:
  case FUNC_Phi:
  case FUNC_Phi_approx:
  case FUNC_inv_cloglog:
  case FUNC_softmax:
    return unit;
  case FUNC_tanh:
    return (Range){true, -1, 1, true, true};
  case FUNC_sqrt:
    return a.known && a.lo >= 0 ? increasing(a, sqrt) : unknown;
  case FUNC_log:
    return a.known && a.lo >= 0 ? increasing(a, log) : unknown;
  case FUNC_square:
    return size_of(a, true);
  case FUNC_abs:
  case FUNC_fabs:
    return size_of(a, false);
  case FUNC_inv:
    return inverse_of(a);
  case FUNC_inv_square:
    return inverse_of(size_of(a, true));
  case FUNC_inv_sqrt:
    return a.known && a.lo >= 0 ? inverse_of(increasing(a, sqrt)) : unknown;
  case FUNC_relu: /* 0 for every negative argument */
    return a.known && a.lo < 0 ? (Range){true, 0, relu(a.hi), false, true} : increasing(a, relu);
  case FUNC_fmax:
    return larger_of(a, b);
  case FUNC_max:
    return e->n_args == 2 ? larger_of(a, b) : a;
  case FUNC_min:
    return e->n_args == 1 ? a : unknown;
  case FUNC_mean:
  case FUNC_rep_vector:
  case FUNC_rep_row_vector:
  case FUNC_rep_matrix:
  case FUNC_to_vector:
  case FUNC_to_row_vector:
  case FUNC_transpose:
  case FUNC_reverse:
    return a;
  case FUNC_append_row:
  case FUNC_append_col:
    return hull(a, b);
  case FUNC_sum:
  case FUNC_cumulative_sum:
    return a.known && a.lo >= 0 ? (Range){true, a.lo, INFINITY, a.lo_open, true} : is_everything(a) ? a : unknown;
  default:
    return unknown;
  }
}

/* Two random operands need not be independent: hi - lo > 0 where hi has the lower bound lo. Only a sum or product of what is not negative
 * tells something then. */
static Range binary_range(Lint *l, const MExpr *e)
{
  Range a = range_of(l, e->args[0]), b = range_of(l, e->args[1]), r = unknown;
  long power;
  switch (e->op) {
  case OP_ADD:
    r = sum_of(a, b);
    break;
  case OP_SUB:
    r = sum_of(a, negative_of(b));
    break;
  case OP_MUL:
    if (type_rank(e->args[0]->type.kind) && type_rank(e->args[1]->type.kind)) return unknown;
    r = product_of(a, b);
    break;
  case OP_EMUL:
    r = product_of(a, b);
    break;
  case OP_DIV:
  case OP_EDIV:
    r = product_of(a, inverse_of(b));
    break;
  case OP_POW:
    if (mexpr_const_int(e->args[1], &power) && power == 2) return size_of(a, true);
    return a.known && a.lo >= 0 && (a.lo > 0 || a.lo_open) ? positive : unknown;
  default:
    return unknown;
  }
  if (!r.known || r.lo >= 0) return r;
  return mexpr_mentions(l->m, e->args[0], RANDOM) && mexpr_mentions(l->m, e->args[1], RANDOM) ? unknown : r;
}

static Range range_of(Lint *l, const MExpr *e)
{
  Range r;
  switch (e->kind) {
  case M_NUM:
    return (Range){true, e->number, e->number, false, false};
  case M_REF:
    return family_range(l, e->family);
  case M_UNARY:
    r = range_of(l, e->args[0]);
    return e->op == OP_NEG ? negative_of(r) : e->op == OP_TRANSPOSE ? r : unknown;
  case M_BINARY:
    return binary_range(l, e);
  case M_COND:
    return hull(range_of(l, e->args[1]), range_of(l, e->args[2]));
  case M_CALL:
    return call_range(l, e);
  case M_REDUCE:
    r = range_of(l, e->args[0]);
    if (e->reduce == RED_MEAN || e->reduce == RED_MAX || e->reduce == RED_MIN) return r;
    return e->reduce == RED_SUM && r.known && r.lo >= 0 ? (Range){true, r.lo, INFINITY, r.lo_open, true} : unknown;
  case M_VECTOR:
    r = range_of(l, e->args[0]);
    for (int i = 1; i < e->n_args; i++) r = hull(r, range_of(l, e->args[i]));
    return r;
  case M_ENTRY:
    return range_of(l, e->args[0]);
  case M_VAR:
  case M_LPDF:
    return unknown;
  }
  return unknown;
}

/* ---- arguments of distributions ---------------------------------------------------------------------------------------------------- */

/* The distribution of the same family that takes this argument on an unrestricted scale, as poisson_log for poisson. */
static const char *unrestricted_twin(int dist, int arg)
{
  static const struct {
    int dist, arg;
    const char *twin, *takes;
  } twins[] = {
      {DIST_bernoulli, 0, "bernoulli_logit", "log odds"},        {DIST_binomial, 1, "binomial_logit", "log odds"},
      {DIST_poisson, 0, "poisson_log", "logarithm of the mean"}, {DIST_neg_binomial_2, 0, "neg_binomial_2_log", "logarithm of the mean"},
      {DIST_categorical, 0, "categorical_logit", "logits"},
  };
  for (size_t i = 0; i < sizeof twins / sizeof *twins; i++)
    if (twins[i].dist == dist && twins[i].arg == arg) return arena_printf("%s takes the %s", twins[i].twin, twins[i].takes);
  return NULL;
}

static void check_argument(Lint *l, int dist, int arg, const MExpr *e)
{
  const char c = dist_info[dist].constraints[arg];
  const Family *f = e->kind == M_REF ? &l->m->families.at[e->family] : NULL;
  const bool declared = f && f->role != ROLE_LET;
  const char *name = dist_argument_name(dist, arg), *what = mexpr_text(l->m, e), *hint = unrestricted_twin(dist, arg);
  if (!mexpr_mentions(l->m, e, RANDOM)) return;
  if (c == 'o' && declared && f->type.kind == TY_VECTOR) {
    diag_warning(e->span, arena_printf("declare it as %s : ordered[%s]", f->name, mexpr_text(l->m, f->type.dim[0])),
                 "argument %s of %s must be in increasing order, which '%s' need not be", name, dist_info[dist].name, f->name);
    return;
  }
  Range r = range_of(l, e);
  if (!r.known) return;
  bool negative = r.lo < 0, zero = r.lo == 0 && !r.lo_open;
  if (c == 's' || c == 'u') {
    if (!negative && !(r.hi > 1)) return;
    if (c == 's' && declared && !hint) hint = arena_printf("declare it as %s : simplex[K]", f->name);
    diag_warning(e->span, hint, "argument %s of %s must be between 0 and 1; %s can be %s", name, dist_info[dist].name, what,
                 negative ? "negative" : "larger");
    return;
  }
  if (c == 'n' ? !negative : (c != 'p' && c != 'q') || (!negative && !zero)) return;
  if (!hint && declared && !f->type.lower) hint = arena_printf("declare it as %s : %s<lower=0>", f->name, type_name(f->type.kind));
  if (!hint) hint = negative ? "exp(...) and softplus(...) are positive" : "softplus(...) is positive everywhere";
  diag_warning(e->span, hint, "argument %s of %s must %s; %s can be %s", name, dist_info[dist].name, c == 'n' ? "be at least 0" : "be positive", what,
               negative ? "negative" : "0");
}

static void visit_node(const MExpr *e, void *data)
{
  Lint *l = data;
  if (e->kind == M_LPDF)
    for (int i = 1; i < e->n_args; i++) check_argument(l, e->dist, i - 1, e->args[i]);
}

static void check_arguments(Lint *l)
{
  for (int i = 0; i < l->m->stmts.n; i++) {
    const Stmt *s = &l->m->stmts.at[i];
    const MExpr *list[MAX_STATEMENT_EXPRS];
    int n = statement_exprs(s, list);
    for (int k = 0; k < n; k++) mexpr_walk(list[k], visit_node, l);
    for (int k = 0; s->has_dist && k < s->dist.n_args; k++) check_argument(l, s->dist.dist, k, s->dist.args[k]);
  }
}

/* ---- what is used, what is informed ------------------------------------------------------------------------------------------------ */

/* Marks what observed variables and factors depend on; false when there are none. */
static bool find_informed(Lint *l)
{
  VEC(int) todo = {0};
  bool any = false;
  for (int i = 0; i < l->m->stmts.n; i++) {
    const Stmt *s = &l->m->stmts.at[i];
    if (s->kind != ST_OBSERVED && s->kind != ST_FACTOR) continue;
    any = true;
    VEC_PUSH(todo, i);
  }
  for (int at = 0; at < todo.n; at++) {
    RefList refs = {0};
    statement_refs(l->m, &l->m->stmts.at[todo.at[at]], &refs);
    for (int i = 0; i < refs.n; i++) {
      const Family *f = &l->m->families.at[refs.at[i]->family];
      if (l->informed[refs.at[i]->family]) continue;
      l->informed[refs.at[i]->family] = true;
      for (int k = 0; k < f->n_statements; k++) VEC_PUSH(todo, f->statements[k]);
    }
  }
  return any;
}

/* Can its values be anything, with a density that does not fall off? The statement with the flat distribution, or NULL. */
static const Stmt *improper_prior(const Lint *l, const Family *f)
{
  for (int i = 0; i < f->n_statements; i++) {
    const Stmt *s = &l->m->stmts.at[f->statements[i]];
    bool bounded = (s->type.lower && s->type.upper) || s->type.kind == TY_SIMPLEX || s->type.kind >= TY_CORR_MATRIX;
    if (s->has_dist && s->dist.dist == DIST_flat && !bounded) return s;
  }
  return NULL;
}

static void check_informed(Lint *l)
{
  if (!find_informed(l)) {
    diag_warning(l->r->ast->name_span, NULL, "nothing is observed: every latent variable keeps its prior");
    return;
  }
  StrBuf names = {0};
  const Stmt *first = NULL;
  int n = 0, last = 0;
  for (int i = 0; i < l->m->families.n; i++) {
    const Family *f = &l->m->families.at[i];
    if (!is_latent(f) && f->role != ROLE_PARAM) continue;
    const Stmt *flat = improper_prior(l, f);
    if (!l->informed[i] && flat) {
      diag_warning(flat->dist.span, "give it a proper distribution", "nothing observed depends on '%s', so that its posterior is improper",
                   f->name);
    } else if (!l->informed[i]) {
      diag_warning(f->span, NULL, "nothing observed depends on '%s': %s", f->name,
                   f->role == ROLE_PARAM ? "it cannot be estimated" : "its posterior is its prior");
    } else if (flat && is_latent(f)) {
      if (!first) first = flat;
      last = (int)names.length;
      sb_printf(&names, "%s'%s'", n++ ? ", " : "", f->name);
    }
  }
  if (!first) return;
  if (n > 1) /* 'a', 'b' and 'c' */
    diag_warning(first->dist.span, "the data must determine them; simulate needs their values", "the priors of %.*s and %s are improper",
                 last, sb_text(&names), sb_text(&names) + last + 2);
  else
    diag_warning(first->dist.span, "the data must determine it; simulate needs its value", "the prior of %s is improper", sb_text(&names));
}

static void check_unused(const Lint *l)
{
  const Model *m = l->m;
  for (int i = 0; i < m->families.n; i++) {
    const Family *f = &m->families.at[i];
    if (l->r->families.at[i].used) continue;
    if (f->role == ROLE_INPUT) diag_warning(f->span, NULL, "the input '%s' is not used", f->name);
    if (f->block_let) diag_warning(f->span, "with an index it is part of the results of sample", "'%s' is not used in its block", f->name);
  }
  bool *filled = NEW_ARRAY(bool, m->plates.n);
  for (int i = 0; i < m->stmts.n; i++)
    for (int p = m->stmts.at[i].plate; p >= 0; p = m->plates.at[p].parent) filled[p] = true;
  for (int i = 0; i < m->plates.n; i++)
    if (!filled[i]) diag_warning(m->plates.at[i].span, NULL, "this plate is empty");
  for (int i = 0; i < m->stmts.n; i++) {
    const Stmt *s = &m->stmts.at[i];
    if (s->kind == ST_FACTOR && expr_only_known(l->r, s->value))
      diag_warning(s->value->span, NULL, "this factor is constant: it changes nothing");
  }
}

/* `observed y[N] ~ ...` outside of plates, of nothing else: meant as N elements. */
static void check_single_elements(const Lint *l)
{
  for (int i = 0; i < l->m->families.n; i++) {
    const Family *f = &l->m->families.at[i];
    const Stmt *s = f->n_statements == 1 ? &l->m->stmts.at[f->statements[0]] : NULL;
    long literal;
    if (!s || s->plate >= 0 || s->n_index != 1 || s->value || (mexpr_const_int(s->index[0].expr, &literal) && literal < 2)) continue;
    const char *size = mexpr_text(l->m, s->index[0].expr);
    diag_warning(f->span, arena_printf("for several: plate k in 1..%s { ... %s[k] ... }, or %s : vector[%s]", size, f->name, f->name, size),
                 "%s[%s] is one element, the one of index %s", f->name, size, size);
  }
}

void warn_suspects(Resolver *r)
{
  int n = r->m->families.n;
  Lint l = {.r = r, .m = r->m, .informed = NEW_ARRAY(bool, n), .ranged = NEW_ARRAY(WorkState, n), .range = NEW_ARRAY(Range, n)};
  check_unused(&l);
  check_informed(&l);
  check_arguments(&l);
  check_single_elements(&l);
}
