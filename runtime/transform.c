/* transform.c - unconstrained coordinates u <-> constrained values of latents and params.
 *
 * In: a family's coordinates (elements * uwidth) or its factors' means and sds. Out: values (elements * width), log Jacobians, their
 * derivatives, and moments of the values under q. Formulas and the order of coordinates: Stan Reference Manual, chapter "Constraint
 * Transforms"; canonical partial correlations: Lewandowski, Kurowicka & Joe (2009).
 *
 *   lower, upper, interval   x = L + exp(u), U - exp(u), L + (U - L) logit^-1(u); infinite bounds fall away
 *   simplex[K]               stick breaking: z_k = logit^-1(u_k - log(K - k)), x_k = z_k prod_{j<k} (1 - z_j)
 *   ordered[K]               x_1 = u_1 (positive: exp(u_1)), x_k = x_{k-1} + exp(u_k)
 *   cov_matrix[K]            X = L L', L lower triangular by rows, its diagonal exponentiated
 *   cholesky_factor_corr[K]  L_ij = tanh(u_ij) prod_{k<j} sech(u_ik), L_ii = prod_{k<i} sech(u_ik); coordinates by rows
 *   corr_matrix[K]           X = L L' with this L; coordinates by columns
 *   discrete                 "coordinates" are the table of probabilities, the value is the most probable one
 *
 * The Jacobian of a matrix is that of its free entries: the lower triangle with (cov) or without the diagonal. Every log Jacobian here is a
 * sum of functions of single coordinates, and every value a sum of products of functions of distinct coordinates, which q makes
 * independent: so expectations and moments need closed forms and one-dimensional quadrature only. */
#include "philox.h"
#include "session.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PARTS = 64, PART_ENTRIES = 4096, STACK_DOUBLES = 1024 };

/* ---- elements in parallel ------------------------------------------------------------------------------------------------------------ */

typedef struct {
  const PgmSession *s;
  const PgmFamily *f;
  const PgmLayout *l;
  const double *u, *value, *value_bar, *sd; /* as each operation needs; u is the mean where sd is given */
  double *out, *out2;
  bool jacobian;
  double weight;
} Task;

/* Elements list[from..to) or from..to; returns its part of a sum. */
typedef double (*Part)(const Task *t, long from, long to);

/* The same parts, and so the same sum, for any number of threads. */
static double in_parts(const Task *t, Part part)
{
  const long n = t->l->list ? t->l->defined : t->l->elements, entries = n * t->l->width;
  const int parts = entries < 2 * PART_ENTRIES ? 1 : entries / PART_ENTRIES > MAX_PARTS ? MAX_PARTS : (int)(entries / PART_ENTRIES);
  double sum[MAX_PARTS], total = 0;
  if (parts == 1) return part(t, 0, n);
#pragma omp parallel for schedule(dynamic, 1) num_threads(t->s->threads)
  for (int k = 0; k < parts; k++) sum[k] = part(t, n * k / parts, n * (k + 1) / parts);
  for (int k = 0; k < parts; k++) total += sum[k];
  return total;
}

static bool entrywise(const PgmFamily *f)
{
  return f->transform <= PGM_INTERVAL;
}

typedef struct {
  double lower, upper;
  PgmTransform kind;
} Bounds;

static Bounds bounds_of(const PgmFamily *f, const PgmLayout *l, long element)
{
  const long at = f->uniform_bounds ? 0 : element;
  Bounds b = {l->lower ? l->lower[at] : -INFINITY, l->upper ? l->upper[at] : INFINITY, PGM_IDENTITY};
  if (f->transform == PGM_IDENTITY) return b;
  if (b.lower > -INFINITY)
    b.kind = b.upper < INFINITY ? PGM_INTERVAL : PGM_LOWER;
  else if (b.upper < INFINITY)
    b.kind = PGM_UPPER;
  return b;
}

/* Entry-wise transforms see runs of entries with one pair of bounds: everything, or one element. */
typedef double (*Run)(const Task *t, Bounds b, long at, long n);

static double entry_runs(const Task *t, long from, long to, Run run)
{
  const long width = t->l->width;
  double sum = 0;
  if (!t->l->list && (t->f->uniform_bounds || t->f->transform == PGM_IDENTITY))
    return run(t, bounds_of(t->f, t->l, 0), from * width, (to - from) * width);
  for (long i = from; i < to; i++) {
    const long element = t->l->list ? t->l->list[i] : i;
    sum += run(t, bounds_of(t->f, t->l, element), element * width, width);
  }
  return sum;
}

/* ---- scalar functions ---------------------------------------------------------------------------------------------------------------- */

/* Stays inside (0, 1), so that a density never meets the bounds. */
static inline double unit(double u)
{
  const double z = pgm_inv_logit(u), below = z > 1 - 0x1p-53 ? 1 - 0x1p-53 : z;
  return below < 0x1p-1022 ? 0x1p-1022 : below;
}
/* log of logit^-1'(u) */
static inline double log_unit_slope(double u)
{
  return -fabs(u) - 2 * log1p(exp(-fabs(u)));
}
static inline double log_sech(double u)
{
  return PGM_LN2 - fabs(u) - log1p(exp(-2 * fabs(u)));
}
static inline double sech(double u)
{
  const double e = exp(-fabs(u));
  return 2 * e / (1 + e * e);
}

/* Coordinate of entry (i, j), i > j, of a correlation matrix. */
static inline long corr_at(PgmTransform t, long K, long i, long j)
{
  return t == PGM_T_CORR ? j * K - j * (j + 1) / 2 + i - j - 1 : i * (i - 1) / 2 + j;
}
/* Exponent of sech(u_ij) in the Jacobian: from the 2 of tanh, and from the entries to the right (factor) or below (matrix). */
static inline double corr_power(PgmTransform t, long K, long i, long j)
{
  return (double)(t == PGM_T_CORR ? K - j : i - j + 1);
}

/* ---- constrain ----------------------------------------------------------------------------------------------------------------------- */

static double constrain_run(const Task *t, Bounds b, long at, long n)
{
  const double *u = t->u + at, lower = b.lower, upper = b.upper, span = upper - lower;
  double *x = t->out + at, sum = 0;
  switch (b.kind) {
  case PGM_LOWER:
    for (long i = 0; i < n; i++) x[i] = lower + exp(u[i]);
    break;
  case PGM_UPPER:
    for (long i = 0; i < n; i++) x[i] = upper - exp(u[i]);
    break;
  case PGM_INTERVAL:
    for (long i = 0; i < n; i++) x[i] = lower + span * unit(u[i]);
    if (!t->jacobian) return 0;
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < n; i++) sum += log_unit_slope(u[i]);
    return sum + (double)n * log(span);
  default:
    memcpy(x, u, sizeof *x * (size_t)n);
    return 0;
  }
  if (!t->jacobian) return 0;
#pragma omp simd reduction(+ : sum)
  for (long i = 0; i < n; i++) sum += u[i];
  return sum;
}

static double constrain_simplex(long K, const double *u, double *x)
{
  double stick = 1, log_stick = 0, sum = 0;
  for (long k = 0; k + 1 < K; k++) {
    const double a = u[k] - log((double)(K - 1 - k)), log_z = pgm_log_inv_logit(a), log_rest = pgm_log1m_inv_logit(a);
    x[k] = stick * exp(log_z);
    sum += log_stick + log_z + log_rest;
    stick *= exp(log_rest);
    log_stick += log_rest;
  }
  if (K) x[K - 1] = stick;
  return sum;
}

static double constrain_ordered(long K, bool positive, const double *u, double *x)
{
  double sum = 0;
  for (long k = 0; k < K; k++) {
    const bool free = !k && !positive;
    x[k] = free ? u[0] : (k ? x[k - 1] : 0) + exp(u[k]);
    sum += free ? 0 : u[k];
  }
  return sum;
}

/* L of cov_matrix, entries above the diagonal 0. */
static double cov_factor(long K, const double *u, double *L)
{
  double sum = (double)K * PGM_LN2;
  for (long i = 0; i < K; i++) {
    for (long j = 0; j < K; j++) L[i * K + j] = j < i ? *u++ : 0;
    sum += (double)(K - i + 1) * *u;
    L[i * K + i] = exp(*u++);
  }
  return sum;
}

static double corr_factor(PgmTransform t, long K, const double *u, double *L)
{
  double sum = 0;
  for (long i = 0; i < K; i++) {
    double rest = 1;
    for (long j = 0; j < i; j++) {
      const double v = u[corr_at(t, K, i, j)];
      L[i * K + j] = tanh(v) * rest;
      rest *= sech(v);
      sum += corr_power(t, K, i, j) * log_sech(v);
    }
    L[i * K + i] = rest;
    for (long j = i + 1; j < K; j++) L[i * K + j] = 0;
  }
  return sum;
}

/* X = L L' in place: from the last entry backwards, no entry of L is overwritten before its last use. */
static void square_factor(long K, double *L)
{
  for (long i = K - 1; i >= 0; i--)
    for (long j = i; j >= 0; j--) {
      double sum = 0;
      for (long k = 0; k <= j; k++) sum += L[i * K + k] * L[j * K + k];
      L[i * K + j] = sum;
    }
  for (long i = 0; i < K; i++)
    for (long j = 0; j < i; j++) L[j * K + i] = L[i * K + j];
}

static long most_probable(long n, const double *table)
{
  long best = 0;
  for (long k = 1; k < n; k++)
    if (table[k] > table[best]) best = k;
  return best;
}

static double constrain_part(const Task *t, long from, long to)
{
  const PgmTransform kind = t->f->transform;
  const long K = t->l->dim[0];
  double sum = 0;
  if (entrywise(t->f)) return entry_runs(t, from, to, constrain_run);
  for (long i = from; i < to; i++) {
    const long element = t->l->list ? t->l->list[i] : i;
    const double *u = t->u + element * t->l->uwidth;
    double *x = t->out + element * t->l->width;
    switch (kind) {
    case PGM_T_DISCRETE:
      *x = pgm_lowest(t->f, t->l, element) + (double)most_probable(t->l->uwidth, u);
      break;
    case PGM_T_SIMPLEX:
      sum += constrain_simplex(K, u, x);
      break;
    case PGM_T_ORDERED:
    case PGM_T_POSITIVE_ORDERED:
      sum += constrain_ordered(K, kind == PGM_T_POSITIVE_ORDERED, u, x);
      break;
    case PGM_T_COV:
      sum += cov_factor(K, u, x);
      break;
    default:
      sum += corr_factor(kind, K, u, x);
      break;
    }
    if (kind == PGM_T_COV || kind == PGM_T_CORR) square_factor(K, x);
    for (long k = 0; kind == PGM_T_CORR && k < K; k++) x[k * K + k] = 1; /* exactly */
  }
  return sum;
}

static Task new_task(const PgmSession *s, int family)
{
  return (Task){.s = s, .f = &s->model->families[family], .l = &s->layout[family]};
}

double pgm_constrain(const PgmSession *s, int family, const double *u, double *value)
{
  Task t = new_task(s, family);
  t.u = u;
  t.out = value;
  t.jacobian = true;
  return in_parts(&t, constrain_part);
}

void pgm_constrain_part(const PgmSession *s, int family, long from, long to, const double *u, double *value)
{
  Task t = new_task(s, family);
  t.u = u;
  t.out = value;
  constrain_part(&t, from, to);
}

double pgm_constrain_element(const PgmSession *s, int family, long at, const double *u, double *value)
{
  Task t = new_task(s, family);
  t.u = u;
  t.out = value;
  t.jacobian = true;
  return constrain_part(&t, at, at + 1);
}

/* ---- vector-Jacobian product --------------------------------------------------------------------------------------------------------- */

static double vjp_run(const Task *t, Bounds b, long at, long n)
{
  const double *u = t->u + at, *x_bar = t->value_bar + at, w = t->weight, span = b.upper - b.lower;
  double *u_bar = t->out + at;
  switch (b.kind) {
  case PGM_LOWER:
    for (long i = 0; i < n; i++) u_bar[i] += x_bar[i] * exp(u[i]) + w;
    break;
  case PGM_UPPER:
    for (long i = 0; i < n; i++) u_bar[i] += w - x_bar[i] * exp(u[i]);
    break;
  case PGM_INTERVAL:
    for (long i = 0; i < n; i++) {
      const double z = pgm_inv_logit(u[i]), rest = pgm_inv_logit(-u[i]);
      u_bar[i] += x_bar[i] * span * z * rest + w * (rest - z);
    }
    break;
  default:
    for (long i = 0; i < n; i++) u_bar[i] += x_bar[i];
  }
  return 0;
}

static void vjp_simplex(long K, const double *u, const double *x, const double *x_bar, double w, double *u_bar)
{
  double stick_bar = K ? x_bar[K - 1] : 0;
  for (long k = K - 2; k >= 0; k--) {
    const double a = u[k] - log((double)(K - 1 - k)), z = pgm_inv_logit(a), rest = pgm_inv_logit(-a);
    u_bar[k] += (x_bar[k] - stick_bar) * x[k] * rest + w * (rest - (double)(K - 1 - k) * z);
    stick_bar = x_bar[k] * z + stick_bar * rest;
  }
}

static void vjp_ordered(long K, bool positive, const double *u, const double *x_bar, double w, double *u_bar)
{
  double sum = 0;
  for (long k = K - 1; k >= 0; k--) {
    sum += x_bar[k];
    u_bar[k] += !k && !positive ? sum : sum * exp(u[k]) + w;
  }
}

/* Lower triangle of (X_bar + X_bar') L: the adjoint of L in X = L L'. */
static void factor_adjoint(long K, const double *L, const double *x_bar, double *L_bar)
{
  for (long i = 0; i < K; i++)
    for (long j = 0; j <= i; j++) {
      double sum = 0;
      for (long k = j; k < K; k++) sum += (x_bar[i * K + k] + x_bar[k * K + i]) * L[k * K + j];
      L_bar[i * K + j] = sum;
    }
}

static void vjp_cov(long K, const double *L, const double *L_bar, double w, double *u_bar)
{
  for (long i = 0; i < K; i++) {
    for (long j = 0; j < i; j++) *u_bar++ += L_bar[i * K + j];
    *u_bar++ += L_bar[i * K + i] * L[i * K + i] + w * (double)(K - i + 1);
  }
}

/* d L_ij / d u_ij = sech(u_ij)^2 prod_{k<j} sech(u_ik); d L_ik / d u_ij = -tanh(u_ij) L_ik for the entries k > j to its right. */
static void vjp_corr(PgmTransform t, long K, const double *u, const double *L, const double *L_bar, double w, double *u_bar)
{
  for (long i = 1; i < K; i++) {
    double tail = 0, rest = 1;
    for (long j = 0; j <= i; j++) tail += L_bar[i * K + j] * L[i * K + j];
    for (long j = 0; j < i; j++) {
      const long at = corr_at(t, K, i, j);
      const double c = sech(u[at]), th = tanh(u[at]);
      tail -= L_bar[i * K + j] * L[i * K + j];
      u_bar[at] += L_bar[i * K + j] * rest * c * c - th * (tail + w * corr_power(t, K, i, j));
      rest *= c;
    }
  }
}

static double vjp_part(const Task *t, long from, long to)
{
  const PgmTransform kind = t->f->transform;
  const long K = t->l->dim[0];
  double stack[STACK_DOUBLES], *work = stack;
  if (entrywise(t->f)) return entry_runs(t, from, to, vjp_run);
  if (kind == PGM_T_DISCRETE) return 0;
  if ((kind == PGM_T_COV || kind == PGM_T_CORR) && 2 * K * K > STACK_DOUBLES && !(work = malloc(sizeof *work * (size_t)(2 * K * K))))
    return NAN;
  for (long i = from; i < to; i++) {
    const long element = t->l->list ? t->l->list[i] : i;
    const double *u = t->u + element * t->l->uwidth, *x = t->value + element * t->l->width, *x_bar = t->value_bar + element * t->l->width;
    double *u_bar = t->out + element * t->l->uwidth, *L_bar = work + K * K;
    switch (kind) {
    case PGM_T_SIMPLEX:
      vjp_simplex(K, u, x, x_bar, t->weight, u_bar);
      break;
    case PGM_T_ORDERED:
    case PGM_T_POSITIVE_ORDERED:
      vjp_ordered(K, kind == PGM_T_POSITIVE_ORDERED, u, x_bar, t->weight, u_bar);
      break;
    case PGM_T_COV:
      cov_factor(K, u, work);
      factor_adjoint(K, work, x_bar, L_bar);
      vjp_cov(K, work, L_bar, t->weight, u_bar);
      break;
    case PGM_T_CORR:
      corr_factor(kind, K, u, work);
      factor_adjoint(K, work, x_bar, L_bar);
      vjp_corr(kind, K, u, work, L_bar, t->weight, u_bar);
      break;
    default:
      vjp_corr(kind, K, u, x, x_bar, t->weight, u_bar);
      break;
    }
  }
  if (work != stack) free(work);
  return 0;
}

void pgm_constrain_vjp(const PgmSession *s, int family, const double *u, const double *value, const double *value_bar,
                       double jacobian_weight, double *u_bar)
{
  Task t = new_task(s, family);
  t.u = u;
  t.value = value;
  t.value_bar = value_bar;
  t.weight = jacobian_weight;
  t.out = u_bar;
  in_parts(&t, vjp_part);
}

void pgm_constrain_vjp_part(const PgmSession *s, int family, long from, long to, const double *u, const double *value, const double *value_bar,
                            double *u_bar)
{
  Task t = new_task(s, family);
  t.u = u;
  t.value = value;
  t.value_bar = value_bar;
  t.out = u_bar;
  vjp_part(&t, from, to);
}

/* ---- unconstrain --------------------------------------------------------------------------------------------------------------------- */

/* Returns the number of entries outside the support. */
static double unconstrain_run(const Task *t, Bounds b, long at, long n)
{
  const double *x = t->value + at, lower = b.lower, upper = b.upper;
  double *u = t->out + at, bad = 0;
  for (long i = 0; i < n; i++) {
    switch (b.kind) {
    case PGM_LOWER:
      u[i] = log(x[i] - lower);
      break;
    case PGM_UPPER:
      u[i] = log(upper - x[i]);
      break;
    case PGM_INTERVAL:
      u[i] = log((x[i] - lower) / (upper - x[i]));
      break;
    default:
      u[i] = x[i];
    }
    bad += !isfinite(u[i]);
  }
  return bad;
}

static bool unconstrain_simplex(long K, const double *x, double *u)
{
  double rest = 0, sum = 0;
  for (long k = 0; k < K; k++) sum += x[k];
  if (!(fabs(sum - 1) <= 1e-8)) return false;
  for (long k = K - 1; k >= 0; rest += x[k], k--) { /* summed from the end: no cancellation in what is left of the stick */
    if (!(x[k] > 0)) return false;
    if (k + 1 < K) u[k] = log(x[k] / rest) + log((double)(K - 1 - k));
  }
  return true;
}

static bool unconstrain_ordered(long K, bool positive, const double *x, double *u)
{
  for (long k = 0; k < K; k++) {
    u[k] = !k && !positive ? x[0] : log(x[k] - (k ? x[k - 1] : 0));
    if (!isfinite(u[k])) return false;
  }
  return true;
}

/* L of X = L L' into `L`; false when X is not symmetric and positive definite. */
static bool cholesky(long K, const double *x, double *L)
{
  for (long i = 0; i < K; i++)
    for (long j = 0; j <= i; j++) {
      double sum = x[i * K + j];
      if (!(fabs(x[i * K + j] - x[j * K + i]) <= 1e-8 * (1 + fabs(x[i * K + j])))) return false;
      for (long k = 0; k < j; k++) sum -= L[i * K + k] * L[j * K + k];
      if (i == j && !(sum > 0)) return false;
      L[i * K + j] = i == j ? sqrt(sum) : sum / L[j * K + j];
    }
  return true;
}

static bool unconstrain_cov(long K, const double *L, double *u)
{
  for (long i = 0; i < K; i++) {
    for (long j = 0; j < i; j++) *u++ = L[i * K + j];
    *u++ = log(L[i * K + i]);
  }
  return true;
}

/* sinh(u_ij) = L_ij / (length of the row to the right of j). */
static bool unconstrain_corr(PgmTransform t, long K, const double *L, double *u)
{
  for (long i = 0; i < K; i++) {
    double squares = L[i * K + i] * L[i * K + i];
    if (!(L[i * K + i] > 0)) return false;
    for (long j = i - 1; j >= 0; j--) {
      const double v = asinh(L[i * K + j] / sqrt(squares));
      if (!isfinite(v)) return false;
      u[corr_at(t, K, i, j)] = v;
      squares += L[i * K + j] * L[i * K + j];
    }
    if (!(fabs(squares - 1) <= 1e-8)) return false;
  }
  return true;
}

/* All probability on the values. */
static double unconstrain_levels(const Task *t, long from, long to)
{
  double bad = 0;
  for (long i = from; i < to; i++) {
    const long element = t->l->list ? t->l->list[i] : i, w = t->l->uwidth;
    const double at = t->value[element] - pgm_lowest(t->f, t->l, element);
    memset(t->out + element * w, 0, (size_t)w * sizeof *t->out);
    if (at >= 0 && at < (double)pgm_levels(t->f, t->l, element) && at == floor(at))
      t->out[element * w + (long)at] = 1;
    else
      bad++;
  }
  return bad;
}

static double unconstrain_part(const Task *t, long from, long to)
{
  const PgmTransform kind = t->f->transform;
  const long K = t->l->dim[0];
  double stack[STACK_DOUBLES], *work = stack, bad = 0;
  if (entrywise(t->f)) return entry_runs(t, from, to, unconstrain_run);
  if (kind == PGM_T_DISCRETE) return unconstrain_levels(t, from, to);
  if ((kind == PGM_T_COV || kind == PGM_T_CORR) && K * K > STACK_DOUBLES && !(work = malloc(sizeof *work * (size_t)(K * K)))) return 1;
  for (long i = from; i < to; i++) {
    const long element = t->l->list ? t->l->list[i] : i;
    const double *x = t->value + element * t->l->width;
    double *u = t->out + element * t->l->uwidth;
    bool fine;
    switch (kind) {
    case PGM_T_SIMPLEX:
      fine = unconstrain_simplex(K, x, u);
      break;
    case PGM_T_ORDERED:
    case PGM_T_POSITIVE_ORDERED:
      fine = unconstrain_ordered(K, kind == PGM_T_POSITIVE_ORDERED, x, u);
      break;
    case PGM_T_COV:
      fine = cholesky(K, x, work) && unconstrain_cov(K, work, u);
      break;
    case PGM_T_CORR:
      fine = cholesky(K, x, work) && unconstrain_corr(kind, K, work, u);
      break;
    default:
      fine = unconstrain_corr(kind, K, x, u);
      break;
    }
    bad += !fine;
  }
  if (work != stack) free(work);
  return bad;
}

bool pgm_unconstrain(const PgmSession *s, int family, const double *value, double *u)
{
  Task t = new_task(s, family);
  t.value = value;
  t.out = u;
  return in_parts(&t, unconstrain_part) == 0;
}

/* ---- expected log Jacobian ----------------------------------------------------------------------------------------------------------- */

/* The part of a log Jacobian that depends on one coordinate: constant + linear u + plus log s(a) + minus log s(-a), a = rate u - shift,
 * s = logit^-1. (log sech u = log 2 + (log s(2u) + log s(-2u)) / 2.) */
typedef struct {
  double constant, linear, plus, minus, rate, shift;
} LogSlope;

static LogSlope log_slope(PgmTransform t, long K, long coordinate)
{
  switch (t) {
  case PGM_LOWER:
  case PGM_UPPER:
    return (LogSlope){.linear = 1};
  case PGM_INTERVAL:
    return (LogSlope){.plus = 1, .minus = 1, .rate = 1};
  case PGM_T_SIMPLEX: {
    const double left = (double)(K - 1 - coordinate);
    return (LogSlope){.plus = 1, .minus = left, .rate = 1, .shift = log(left)};
  }
  case PGM_T_ORDERED:
    return (LogSlope){.linear = coordinate > 0};
  case PGM_T_POSITIVE_ORDERED:
    return (LogSlope){.linear = 1};
  case PGM_T_COV: {
    long i = 0;
    while ((i + 1) * (i + 2) / 2 <= coordinate) i++;
    const bool diagonal = coordinate == (i + 1) * (i + 2) / 2 - 1;
    return (LogSlope){.constant = diagonal ? PGM_LN2 : 0, .linear = diagonal ? (double)(K - i + 1) : 0};
  }
  case PGM_T_CORR:
  case PGM_T_CHOLESKY_CORR: {
    long i = 1, j = 0;
    if (t == PGM_T_CORR) {
      while (corr_at(t, K, K - 1, j) < coordinate) j++;
      i = coordinate - corr_at(t, K, j + 1, j) + j + 1;
    } else {
      while (corr_at(t, K, i, i - 1) < coordinate) i++;
      j = coordinate - corr_at(t, K, i, 0);
    }
    const double power = corr_power(t, K, i, j);
    return (LogSlope){.constant = power * PGM_LN2, .plus = power / 2, .minus = power / 2, .rate = 2};
  }
  default:
    return (LogSlope){0};
  }
}

/* Expectation of one coordinate's part at n entries `step` apart; adds the gradient. */
static double expect_log_slope(const Task *t, LogSlope c, const double *mean, const double *sd, double *mean_bar, double *sd_bar, long n,
                               long step)
{
  const PgmEnvBase *rt = t->s->env;
  const double w = t->weight;
  double sum = 0;
  if (c.plus == 0 && c.minus == 0) {
    for (long i = 0; i < n; i++) sum += c.linear * mean[i * step];
    for (long i = 0; i < n && mean_bar && c.linear != 0; i++) mean_bar[i * step] += w * c.linear;
    return sum + (double)n * c.constant;
  }
  for (int q = 0; q < rt->quad_n; q++) {
    const double x = rt->quad_x[q], p = rt->quad_w[q];
    double values = 0;
#pragma omp simd reduction(+ : values)
    for (long i = 0; i < n; i++) {
      const double a = c.rate * (mean[i * step] + sd[i * step] * x) - c.shift, tail = log1p(exp(-fabs(a)));
      values += c.plus * (pgm_fmin(a, 0) - tail) + c.minus * (pgm_fmin(-a, 0) - tail);
    }
    sum += p * values;
    if (!mean_bar) continue;
#pragma omp simd
    for (long i = 0; i < n; i++) {
      const double a = c.rate * (mean[i * step] + sd[i * step] * x) - c.shift;
      const double slope = w * p * c.rate * (c.plus * pgm_inv_logit(-a) - c.minus * pgm_inv_logit(a));
      mean_bar[i * step] += slope;
      if (sd_bar) sd_bar[i * step] += slope * x;
    }
  }
  return sum + (double)n * c.constant;
}

static double expect_run(const Task *t, Bounds b, long at, long n)
{
  LogSlope c = log_slope(b.kind, 1, 0);
  if (b.kind == PGM_INTERVAL) c.constant = log(b.upper - b.lower);
  return expect_log_slope(t, c, t->u + at, t->sd + at, t->out ? t->out + at : NULL, t->out2 ? t->out2 + at : NULL, n, 1);
}

static double expect_part(const Task *t, long from, long to)
{
  const long uwidth = t->l->uwidth;
  double sum = 0;
  if (t->f->transform == PGM_IDENTITY || t->f->transform == PGM_T_DISCRETE) return 0;
  if (entrywise(t->f)) return entry_runs(t, from, to, expect_run);
  for (long k = 0; k < uwidth; k++) {
    const LogSlope c = log_slope(t->f->transform, t->l->dim[0], k);
    for (long i = from; i < to; i++) {
      const long at = (t->l->list ? t->l->list[i] : i) * uwidth + k;
      const long n = t->l->list ? 1 : to - from;
      sum += expect_log_slope(t, c, t->u + at, t->sd + at, t->out ? t->out + at : NULL, t->out2 ? t->out2 + at : NULL, n, uwidth);
      if (!t->l->list) break;
    }
  }
  return sum;
}

double pgm_jacobian_expected(const PgmSession *s, int family, const double *mean, const double *sd, double weight, double *mean_bar,
                             double *sd_bar)
{
  Task t = new_task(s, family);
  t.u = mean;
  t.sd = sd;
  t.weight = weight;
  t.out = mean_bar;
  t.out2 = sd_bar;
  return weight * in_parts(&t, expect_part);
}

double pgm_jacobian_part(const PgmSession *s, int family, long from, long to, const double *mean, const double *sd, double *mean_bar,
                         double *sd_bar)
{
  Task t = new_task(s, family);
  t.u = mean;
  t.sd = sd;
  t.weight = 1;
  t.out = mean_bar;
  t.out2 = sd_bar;
  return expect_part(&t, from, to);
}

/* ---- moments of constrained values --------------------------------------------------------------------------------------------------- */

/* Expectations of smooth functions of a normal variable by the trapezoidal rule, which converges geometrically for them (Trefethen &
 * Weideman 2014) and does better than Gauss-Hermite where the sd is large. */
enum { NODES = 101 };
static void trapezoid(double *node, double *weight)
{
  double sum = 0;
  for (int i = 0; i < NODES; i++) {
    node[i] = (i - NODES / 2) * 0.17;
    weight[i] = exp(-0.5 * node[i] * node[i]);
    sum += weight[i];
  }
  for (int i = 0; i < NODES; i++) weight[i] /= sum;
}

typedef struct {
  double mean, var;
} Moments;

/* f(m + s Z), centred before squaring so that small variances survive. */
static Moments moments_of(double (*f)(double), double m, double s, const double *node, const double *weight)
{
  double value[NODES];
  Moments r = {0, 0};
  for (int i = 0; i < NODES; i++) value[i] = f(m + s * node[i]), r.mean += weight[i] * value[i];
  for (int i = 0; i < NODES; i++) r.var += weight[i] * (value[i] - r.mean) * (value[i] - r.mean);
  return r;
}

static double function_unit(double u)
{
  return pgm_inv_logit(u);
}
static double function_rest(double u)
{
  return pgm_inv_logit(-u);
}
static double function_tanh(double u)
{
  return tanh(u);
}
static double function_sech(double u)
{
  return sech(u);
}

static Moments lognormal(double m, double s)
{
  const double mean = exp(m + s * s / 2);
  return (Moments){mean, mean * mean * expm1(s * s)};
}

/* Of a product of independent factors. */
static Moments product(Moments a, Moments b)
{
  return (Moments){a.mean * b.mean, a.var * b.var + a.var * b.mean * b.mean + a.mean * a.mean * b.var};
}

static double moments_run(const Task *t, Bounds b, long at, long n)
{
  double node[NODES], weight[NODES];
  if (b.kind == PGM_INTERVAL) trapezoid(node, weight);
  for (long i = at; i < at + n; i++) {
    const double m = t->u[i], s = t->sd[i];
    Moments r = {m, s * s};
    if (b.kind == PGM_LOWER || b.kind == PGM_UPPER) {
      r = lognormal(m, s);
      r.mean = b.kind == PGM_LOWER ? b.lower + r.mean : b.upper - r.mean;
    } else if (b.kind == PGM_INTERVAL) {
      const double span = b.upper - b.lower;
      r = moments_of(function_unit, m, s, node, weight);
      r = (Moments){b.lower + span * r.mean, span * span * r.var};
    }
    t->out[i] = r.mean;
    t->out2[i] = sqrt(r.var);
  }
  return 0;
}

static void moments_simplex(long K, const double *m, const double *s, const double *node, const double *weight, double *mean, double *sd)
{
  Moments stick = {1, 0};
  for (long k = 0; k < K; k++) {
    Moments x = stick;
    if (k + 1 < K) {
      const double shift = log((double)(K - 1 - k));
      x = product(stick, moments_of(function_unit, m[k] - shift, s[k], node, weight));
      stick = product(stick, moments_of(function_rest, m[k] - shift, s[k], node, weight));
    }
    mean[k] = x.mean;
    sd[k] = sqrt(x.var);
  }
}

static void moments_ordered(long K, bool positive, const double *m, const double *s, double *mean, double *sd)
{
  Moments sum = {0, 0};
  for (long k = 0; k < K; k++) {
    const Moments step = !k && !positive ? (Moments){m[0], s[0] * s[0]} : lognormal(m[k], s[k]);
    sum.mean += step.mean;
    sum.var += step.var;
    mean[k] = sum.mean;
    sd[k] = sqrt(sum.var);
  }
}

/* Means of L (K * K) and, per row, covariances of its entries (K * K * K); rows of L are independent. */
static void cov_rows(long K, const double *m, const double *s, double *mu, double *cov)
{
  for (long i = 0; i < K; i++)
    for (long j = 0; j <= i; j++, m++, s++) {
      const Moments x = j == i ? lognormal(*m, *s) : (Moments){*m, *s * *s};
      mu[i * K + j] = x.mean;
      cov[(i * K + j) * K + j] = x.var;
    }
}

/* Row i: L_ij = t_j c_0 ... c_{j-1} with t = tanh u_ij, c = sech u_ij, and t = 1 on the diagonal. For j < k:
 * E L_ij L_ik = prod_{a<j} E c_a^2 . E t_j c_j . prod_{j<a<k} E c_a . E t_k. `work`: 4 K doubles. */
static void corr_rows(PgmTransform kind, long K, const double *m, const double *s, double *mu, double *cov, double *work)
{
  double node[NODES], weight[NODES], *t_mean = work, *c_mean = work + K, *both = work + 2 * K, *squares = work + 3 * K;
  trapezoid(node, weight);
  for (long i = 0; i < K; i++) {
    Moments rest = {1, 0};
    for (long j = 0; j <= i; j++) {
      Moments t = {1, 0}, c = {1, 0};
      both[j] = 0;
      if (j < i) {
        const long at = corr_at(kind, K, i, j);
        t = moments_of(function_tanh, m[at], s[at], node, weight);
        c = moments_of(function_sech, m[at], s[at], node, weight);
        for (int q = 0; q < NODES; q++) both[j] += weight[q] * tanh(m[at] + s[at] * node[q]) * sech(m[at] + s[at] * node[q]);
      }
      t_mean[j] = t.mean;
      c_mean[j] = c.mean;
      squares[j] = rest.var + rest.mean * rest.mean; /* prod_{a<j} E c_a^2 */
      const Moments x = product(rest, t);
      mu[i * K + j] = x.mean;
      cov[(i * K + j) * K + j] = x.var;
      rest = product(rest, c);
    }
    for (long j = 0; j < i; j++) {
      double chain = squares[j] * both[j];
      for (long k = j + 1; k <= i; chain *= c_mean[k++])
        cov[(i * K + j) * K + k] = cov[(i * K + k) * K + j] = chain * t_mean[k] - mu[i * K + j] * mu[i * K + k];
    }
  }
}

/* Moments of X = L L' from those of the independent rows of L. */
static void moments_square(long K, const double *mu, const double *cov, double *mean, double *sd)
{
  for (long i = 0; i < K; i++)
    for (long j = 0; j < i; j++) {
      double sum = 0, var = 0;
      for (long k = 0; k <= j; k++) {
        sum += mu[i * K + k] * mu[j * K + k];
        for (long l = 0; l <= j; l++) {
          const double ci = cov[(i * K + k) * K + l], cj = cov[(j * K + k) * K + l];
          var += ci * cj + ci * mu[j * K + k] * mu[j * K + l] + cj * mu[i * K + k] * mu[i * K + l];
        }
      }
      mean[i * K + j] = mean[j * K + i] = sum;
      sd[i * K + j] = sd[j * K + i] = sqrt(var > 0 ? var : 0);
    }
}

/* Diagonal of a covariance matrix: X_ii = sum of L_ij^2, of normal variables but for the last, which is lognormal. */
static void moments_variances(long K, const double *m, const double *s, double *mean, double *sd)
{
  for (long i = 0; i < K; i++) {
    double sum = 0, var = 0;
    for (long j = 0; j < i; j++, m++, s++) {
      const double v = *s * *s;
      sum += *m * *m + v;
      var += 2 * v * v + 4 * *m * *m * v;
    }
    const Moments last = lognormal(2 * *m++, 2 * *s++);
    mean[i * K + i] = sum + last.mean;
    sd[i * K + i] = sqrt(var + last.var);
  }
}

/* One matrix; work: K^2 + K^3 + 4 K doubles. */
static void moments_matrix(PgmTransform kind, long K, const double *m, const double *s, double *mean, double *sd, double *work)
{
  double *mu = work, *cov = work + K * K;
  memset(work, 0, sizeof *work * (size_t)(K * K + K * K * K));
  if (kind == PGM_T_COV)
    cov_rows(K, m, s, mu, cov);
  else
    corr_rows(kind, K, m, s, mu, cov, cov + K * K * K);
  if (kind == PGM_T_CHOLESKY_CORR) {
    memcpy(mean, mu, sizeof *mean * (size_t)(K * K));
    for (long i = 0; i < K * K; i++) sd[i] = sqrt(cov[i * K + i % K]);
    return;
  }
  moments_square(K, mu, cov, mean, sd);
  if (kind == PGM_T_COV) moments_variances(K, m, s, mean, sd);
  for (long i = 0; i < K && kind == PGM_T_CORR; i++) mean[i * K + i] = 1, sd[i * K + i] = 0;
}

static void moments_levels(const Task *t, long element)
{
  const double *p = t->u + element * t->l->uwidth, lowest = pgm_lowest(t->f, t->l, element);
  double mean = 0, var = 0;
  for (long k = 0; k < t->l->uwidth; k++) mean += p[k] * (double)k;
  for (long k = 0; k < t->l->uwidth; k++) var += p[k] * ((double)k - mean) * ((double)k - mean);
  t->out[element] = lowest + mean;
  t->out2[element] = sqrt(var);
}

static double moments_part(const Task *t, long from, long to)
{
  const PgmTransform kind = t->f->transform;
  const long K = t->l->dim[0];
  double node[NODES], weight[NODES], *work = NULL;
  if (entrywise(t->f)) return entry_runs(t, from, to, moments_run);
  if (kind == PGM_T_SIMPLEX)
    trapezoid(node, weight);
  else if (kind >= PGM_T_COV && kind != PGM_T_DISCRETE)
    work = malloc(sizeof *work * (size_t)(K * K + K * K * K + 4 * K + 1));
  for (long i = from; i < to; i++) {
    const long element = t->l->list ? t->l->list[i] : i, u = element * t->l->uwidth, x = element * t->l->width;
    if (kind == PGM_T_DISCRETE)
      moments_levels(t, element);
    else if (kind == PGM_T_SIMPLEX)
      moments_simplex(K, t->u + u, t->sd + u, node, weight, t->out + x, t->out2 + x);
    else if (kind < PGM_T_COV)
      moments_ordered(K, kind == PGM_T_POSITIVE_ORDERED, t->u + u, t->sd + u, t->out + x, t->out2 + x);
    else if (work)
      moments_matrix(kind, K, t->u + u, t->sd + u, t->out + x, t->out2 + x, work);
    else
      for (long k = 0; k < t->l->width; k++) t->out[x + k] = t->out2[x + k] = NAN;
  }
  free(work);
  return 0;
}

/* ---- families whose transform the kernels have ------------------------------------------------------------------------------------------ */

static void exchange_values(const PgmSession *s, bool show)
{
  const PgmModel *m = s->model;
  for (int f = 0; f < m->n_families; f++)
    if (m->families[f].shown && s->layout[f].other) (show ? m->families[f].shown : m->families[f].hidden)(s->env, s->layout[f].other);
  for (int f = 0; f < m->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    if (!m->families[f].shown || !l->other) continue;
    memcpy(l->value, l->other, (size_t)(l->elements * l->width) * sizeof *l->value);
  }
}

void pgm_values_show(const PgmSession *s)
{
  exchange_values(s, true);
}

void pgm_values_hide(const PgmSession *s)
{
  exchange_values(s, false);
}

/* Coordinates of every latent variable drawn from its factor: point `i` of a fixed sequence. */
static void draw_coordinates(const PgmSession *s, uint64_t i)
{
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    const long n = l->elements * l->uwidth;
    if (!pgm_is_latent(&s->model->families[f]) || l->table) continue;
    double *u = malloc(((size_t)n + 1) * sizeof *u);
    if (!u) return;
    if (s->model->families[f].role == PGM_PARAM) {
      memset(u, 0, (size_t)n * sizeof *u);
    } else {
      const PgmKey key = {.seed = 1, .iteration = i, .stream = (uint64_t)f};
      pgm_philox_normals(key, 0, n, u);
    }
    for (long k = 0; k < n; k++) u[k] = l->mean[k] + (s->model->families[f].role == PGM_PARAM ? 0 : l->sd[k] * u[k]);
    pgm_constrain(s, f, u, l->value);
    free(u);
  }
}

/* Moments of such a family: expressions of the kernels where there are any, else from draws (Welford 1962); the value arrays are overwritten. */
static void shown_moments(const PgmSession *s, int family, double *value_mean, double *value_sd)
{
  enum { DRAWS = 4000 };
  const PgmFamily *f = &s->model->families[family];
  const PgmLayout *l = &s->layout[family];
  const long n = l->elements * l->width;
  if (f->shown_mean) {
    f->shown_mean(s->env, value_mean);
    f->shown_variance(s->env, value_sd);
    for (long k = 0; k < n; k++) value_sd[k] = sqrt(value_sd[k]);
    return;
  }
  for (long k = 0; k < n; k++) value_mean[k] = value_sd[k] = 0;
  for (int i = 0; i < DRAWS; i++) {
    draw_coordinates(s, (uint64_t)i);
    f->shown(s->env, l->other);
    for (long k = 0; k < n; k++) {
      const double d = l->other[k] - value_mean[k];
      value_mean[k] += d / (i + 1);
      value_sd[k] += d * (l->other[k] - value_mean[k]);
    }
  }
  for (long k = 0; k < n; k++) value_sd[k] = sqrt(value_sd[k] / DRAWS);
}

void pgm_constrained_moments(const PgmSession *s, int family, const double *mean, const double *sd, double *value_mean, double *value_sd)
{
  if (s->model->families[family].shown && s->layout[family].other) {
    shown_moments(s, family, value_mean, value_sd);
    return;
  }
  Task t = new_task(s, family);
  t.u = mean;
  t.sd = sd;
  t.out = value_mean;
  t.out2 = value_sd;
  in_parts(&t, moments_part);
}
