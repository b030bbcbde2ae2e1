/* The evidence log p(data) = log of the integral of p(data, u) over the unconstrained coordinates u, params held at their values.
 *
 * EXACT. Where every latent variable has the identity transform and the log joint is quadratic,
 *
 *   log p(data, u0 + d) = l0 + g'd - d'Ad / 2      =>      log p(data) = l0 + g' A^-1 g / 2 + (n log 2 pi - log det A) / 2.
 *
 * Nobody tells the runtime that a model is linear-Gaussian, so it finds out: A comes from differences of gradients, which for a quadratic are
 * exact for any step; then gradient and value are compared with the quadratic's at random points, from a fraction of an sd of q to a hundred
 * sds away. A model that is not quadratic fails at one of them.
 *
 * A is dense over the coordinates that do not separate (at most DENSE_MAX) and block diagonal over local variables that do (PgmFamily.separable:
 * no term contains two of their elements), whose columns are probed all at once and which are eliminated by Schur's complement.
 *
 * UNIT BY UNIT. Where each unit of a plate has one local coordinate of its own and no term reaches into another unit, p(data, globals) is a product of
 * one-dimensional integrals, given the globals: globals are drawn from q, and for all units at once the integral over u = m + s sinh(t) is taken by
 * the trapezoidal rule in t over -9..9 (Trefethen & Weideman 2014: exponential convergence), which covers 4000 sds of q, with steps in
 * proportion to the distance. So q need be near the posterior of the globals only, and N does not matter.
 *
 * ELSE importance sampling with q as the proposal, Pareto-smoothed (khat.c); above k-hat 0.7 the value is called a bound: the logarithm of an
 * average of importance ratios is below log p(data) in expectation (Burda, Grosse & Salakhutdinov 2016). */
#include "evidence.h"

#include <stdlib.h>
#include <string.h>

#include "fit.h"
#include "khat.h"
#include "philox.h"

enum { DENSE_MAX = 2000, CHECKS = 6, SEED_CHECKS = 0xE51Du };
static const double CROSS_MAX = 2e7;   /* entries of the matrix between the two kinds of coordinates */
static const double LOG_2PI = 1.8378770664093454836;
static const double LIMIT_KHAT = 0.7;

typedef struct {
  PgmSession *s;
  long dense, local, block;            /* dense coordinates come first; blocks of at most `block` local ones follow */
  double **value, **bar;               /* per coordinate: its place in a layout */
  double *base, *sd, *gradient, *step, *column;
  long *first; long blocks;            /* block b: coordinates first[b] .. first[b+1]-1 */
  double *a;                           /* dense x dense, of the NEGATIVE Hessian, row-major */
  double *cross;                       /* local x dense */
  double *own;                         /* per local coordinate: its row within its block, `block` entries */
  double log_joint;
} Quadratic;

static long coordinates(const Quadratic *q) { return q->dense + q->local; }

static bool integrated(const PgmFamily *f) { return pgm_is_latent(f) && f->role != PGM_PARAM; }

/* Whether all local families separate; if so they form blocks. */
static bool separates(const PgmModel *m)
{
  for (int f = 0; f < m->n_families; f++)
    if (m->families[f].role == PGM_LOCAL && !m->families[f].separable) return false;
  return true;
}

static void place_family(Quadratic *q, int f, bool local, long *at)
{
  const PgmLayout *l = &q->s->layout[f];
  const long rows = l->list ? l->defined : l->elements;
  for (long r = 0; r < rows; r++) {
    if (local) q->first[q->blocks++] = *at;
    for (long k = 0; k < l->uwidth; k++, ++*at) {
      const long e = (l->list ? l->list[r] : r) * l->uwidth + k;
      q->value[*at] = l->value + e;
      q->bar[*at] = l->value_bar + e;
      q->base[*at] = l->mean[e];
      q->sd[*at] = l->sd[e] > 0 ? l->sd[e] : 1;
    }
  }
}

/* False in *fits: not a candidate (a transform, too large). */
static PgmStatus open_quadratic(Quadratic *q, PgmSession *s, bool *fits, PgmError *error)
{
  const PgmModel *m = s->model;
  const bool blocks = separates(m);
  long at = 0, elements = 0;
  *q = (Quadratic){.s = s};
  *fits = true;
  for (int f = 0; f < m->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    if (!integrated(&m->families[f])) continue;
    if (m->families[f].transform != PGM_IDENTITY) *fits = false;
    const long rows = l->list ? l->defined : l->elements, n = rows * l->uwidth;
    if (blocks && m->families[f].role == PGM_LOCAL) {
      q->local += n;
      elements += rows;
      if (l->uwidth > q->block) q->block = l->uwidth;
    } else {
      q->dense += n;
    }
  }
  if (!coordinates(q) || q->dense > DENSE_MAX || (double)q->local * (double)(q->dense + q->block) > CROSS_MAX) *fits = false;
  if (!*fits) return PGM_OK;
  const size_t n = (size_t)coordinates(q) + 1;
  q->value = calloc(n, sizeof *q->value);
  q->bar = calloc(n, sizeof *q->bar);
  q->base = calloc(5 * n, sizeof *q->base);
  q->first = calloc((size_t)elements + 1, sizeof *q->first);
  q->a = calloc((size_t)(q->dense * q->dense) + 1, sizeof *q->a);
  q->cross = calloc((size_t)(q->local * q->dense) + 1, sizeof *q->cross);
  q->own = calloc((size_t)(q->local * q->block) + 1, sizeof *q->own);
  if (!q->value || !q->bar || !q->base || !q->first || !q->a || !q->cross || !q->own) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  q->sd = q->base + n;
  q->gradient = q->sd + n;
  q->step = q->gradient + n;
  q->column = q->step + n;
  for (int pass = 0; pass < 2; pass++)
    for (int f = 0; f < m->n_families; f++) {
      const bool local = blocks && m->families[f].role == PGM_LOCAL;
      if (integrated(&m->families[f]) && local == (pass == 1)) place_family(q, f, local, &at);
    }
  q->first[q->blocks] = at;
  return PGM_OK;
}

static void close_quadratic(Quadratic *q)
{
  free(q->value);
  free(q->bar);
  free(q->base);
  free(q->first);
  free(q->a);
  free(q->cross);
  free(q->own);
}

/* log joint and gradient at base + step. */
static double evaluate(Quadratic *q, const double *step, double *gradient)
{
  const PgmBatch everything = {.axis = -1, .weight = 1};
  const PgmModel *m = q->s->model;
  for (int f = 0; f < m->n_families; f++) {
    PgmLayout *l = &q->s->layout[f];
    if (!pgm_is_latent(&m->families[f])) continue;
    pgm_constrain(q->s, f, l->mean, l->value);
    memset(l->value_bar, 0, (size_t)(l->elements * l->width) * sizeof *l->value_bar);
  }
  for (long i = 0; i < coordinates(q); i++) *q->value[i] = q->base[i] + step[i];
  const double value = pgm_engine_run(q->s, PGM_KERNEL_POINT, &everything) + q->s->constant;
  for (long i = 0; i < coordinates(q); i++) gradient[i] = *q->bar[i];
  return value;
}

/* Fills a, cross and own by differences of gradients; steps are sds of q. */
static void probe(Quadratic *q)
{
  const long n = coordinates(q);
  memset(q->step, 0, (size_t)n * sizeof *q->step);
  q->log_joint = evaluate(q, q->step, q->gradient);
  for (long j = 0; j < q->dense; j++) {
    q->step[j] = q->sd[j];
    evaluate(q, q->step, q->column);
    q->step[j] = 0;
    for (long i = 0; i < q->dense; i++) q->a[i * q->dense + j] = (q->gradient[i] - q->column[i]) / q->sd[j];
    for (long i = q->dense; i < n; i++) q->cross[(i - q->dense) * q->dense + j] = (q->gradient[i] - q->column[i]) / q->sd[j];
  }
  for (long k = 0; k < q->block; k++) {
    for (long b = 0; b < q->blocks; b++)
      if (q->first[b] + k < q->first[b + 1]) q->step[q->first[b] + k] = q->sd[q->first[b] + k];
    evaluate(q, q->step, q->column);
    for (long b = 0; b < q->blocks; b++) {
      const long j = q->first[b] + k;
      if (j >= q->first[b + 1]) continue;
      for (long i = q->first[b]; i < q->first[b + 1]; i++) q->own[(i - q->dense) * q->block + k] = (q->gradient[i] - q->column[i]) / q->sd[j];
      q->step[j] = 0;
    }
  }
}

/* out = A d and size = |A| |d|, to tell rounding from disagreement. */
static void multiply(const Quadratic *q, const double *d, double *out, double *size)
{
  const long n = coordinates(q), g = q->dense;
  memset(out, 0, (size_t)n * sizeof *out);
  memset(size, 0, (size_t)n * sizeof *size);
  for (long i = 0; i < g; i++)
    for (long j = 0; j < g; j++) {
      const double t = q->a[i * g + j] * d[j];
      out[i] += t;
      size[i] += fabs(t);
    }
  for (long i = g; i < n; i++)
    for (long j = 0; j < g; j++) {
      const double c = q->cross[(i - g) * g + j];
      out[i] += c * d[j];
      size[i] += fabs(c * d[j]);
      out[j] += c * d[i];
      size[j] += fabs(c * d[i]);
    }
  for (long b = 0; b < q->blocks; b++)
    for (long i = q->first[b]; i < q->first[b + 1]; i++)
      for (long k = 0; k < q->first[b + 1] - q->first[b]; k++) {
        const double t = q->own[(i - g) * q->block + k] * d[q->first[b] + k];
        out[i] += t;
        size[i] += fabs(t);
      }
}

/* Is the log joint this quadratic, near and far? */
static bool agrees(Quadratic *q, unsigned long seed, double *memory)
{
  static const double distances[CHECKS] = {0.3, 1, 3, 10, 30, 100};
  const long n = coordinates(q);
  double *product = memory, *size = memory + n;
  for (int c = 0; c < CHECKS; c++) {
    double linear = 0, square = 0, scale = fabs(q->log_joint) + 1;
    pgm_philox_normals((PgmKey){seed, (uint64_t)c, SEED_CHECKS}, 0, n, q->step);
    for (long i = 0; i < n; i++) q->step[i] *= distances[c] * q->sd[i];
    const double value = evaluate(q, q->step, q->column);
    multiply(q, q->step, product, size);
    for (long i = 0; i < n; i++) {
      const double wanted = q->gradient[i] - product[i];
      if (!(fabs(q->column[i] - wanted) <= 1e-7 * (fabs(q->gradient[i]) + size[i]) + 1e-10)) return false;
      linear += q->gradient[i] * q->step[i];
      square += q->step[i] * product[i];
      scale += fabs(q->gradient[i] * q->step[i]) + 0.5 * fabs(q->step[i]) * size[i];
    }
    if (!(fabs(value - (q->log_joint + linear - 0.5 * square)) <= 1e-9 * scale)) return false;
  }
  return true;
}

/* Cholesky factor in the lower triangle of the n x n matrix at a (rows `stride` apart); false: not positive definite. */
static bool cholesky(double *a, long n, long stride)
{
  for (long i = 0; i < n; i++)
    for (long j = 0; j <= i; j++) {
      double sum = a[i * stride + j];
#pragma omp simd reduction(- : sum)
      for (long k = 0; k < j; k++) sum -= a[i * stride + k] * a[j * stride + k];
      if (i == j && !(sum > 0)) return false;
      a[i * stride + j] = i == j ? sqrt(sum) : sum / a[j * stride + j];
    }
  return true;
}

/* x = L^-1 x for every column of the n x columns matrix x. */
static void solve_lower(const double *l, long n, long stride, double *x, long columns)
{
  for (long i = 0; i < n; i++) {
    for (long k = 0; k < i; k++)
      for (long c = 0; c < columns; c++) x[i * columns + c] -= l[i * stride + k] * x[k * columns + c];
    for (long c = 0; c < columns; c++) x[i * columns + c] /= l[i * stride + i];
  }
}

/* Eliminates the blocks, then the dense part; overwrites the matrices. False: A is not positive definite, the integral does not exist. */
static bool integrate(Quadratic *q, double *value)
{
  const long g = q->dense;
  double quadratic = 0, log_det = 0;
  for (long b = 0; b < q->blocks; b++) {
    const long at = q->first[b], w = q->first[b + 1] - at;
    double *l = q->own + (at - g) * q->block, *c = q->cross + (at - g) * g, *y = q->gradient + at;
    if (!cholesky(l, w, q->block)) return false;
    solve_lower(l, w, q->block, c, g);
    solve_lower(l, w, q->block, y, 1);
    for (long i = 0; i < w; i++) {
      log_det += 2 * log(l[i * q->block + i]);
      quadratic += y[i] * y[i];
      for (long r = 0; r < g; r++) {
        q->gradient[r] -= c[i * g + r] * y[i];
        for (long k = 0; k <= r; k++) q->a[r * g + k] -= c[i * g + r] * c[i * g + k];
      }
    }
  }
  if (!cholesky(q->a, g, g)) return false;
  solve_lower(q->a, g, g, q->gradient, 1);
  for (long i = 0; i < g; i++) {
    log_det += 2 * log(q->a[i * g + i]);
    quadratic += q->gradient[i] * q->gradient[i];
  }
  *value = q->log_joint + 0.5 * (quadratic + (double)coordinates(q) * LOG_2PI - log_det);
  return isfinite(*value);
}

PgmStatus pgm_evidence_exact(PgmSession *s, unsigned long seed, bool *found, double *value, PgmError *error)
{
  Quadratic q;
  PgmStatus st = open_quadratic(&q, s, found, error);
  *value = NAN;
  if (!st && *found) {
    double *memory = malloc((size_t)(2 * coordinates(&q) + 1) * sizeof *memory);
    if (!memory) st = pgm_fail(error, PGM_SYSTEM, "out of memory");
    else {
      probe(&q);
      *found = isfinite(q.log_joint) && agrees(&q, seed, memory) && integrate(&q, value);
    }
    free(memory);
  }
  close_quadratic(&q);
  return st;
}

/* ---- unit by unit -------------------------------------------------------------------------------------------------------------------------- */

enum { NODES = 241, UNIT_DRAWS = 400, UNIT_DRAWS_LARGE = 150, LARGE = 3000, SEED_UNITS = 0xB17u };
static const double REACH = 9;

/* The one local family whose elements are integrated one by one, or -1. */
static int unit_family(const PgmSession *s)
{
  const PgmModel *m = s->model;
  int found = -1;
  for (int f = 0; f < m->n_families; f++) {
    if (m->families[f].role != PGM_LOCAL) continue;
    if (found >= 0) return -1;
    found = f;
  }
  if (found < 0) return -1;
  const PgmFamily *family = &m->families[found];
  const PgmLayout *l = &s->layout[found];
  if (!family->separable || family->n_index != 1 || family->axis[0] < 0 || l->uwidth != 1 || family->transform > PGM_INTERVAL) return -1;
  if ((double)l->elements * NODES > 4e7) return -1;
  for (int r = 0; r < m->n_refs; r++)
    if (m->refs[r].family == found) return -1;         /* a lag or a lookup: terms of other units */
  for (int p = 0; p < m->n_plates; p++)
    for (const int *x = m->plates[p].shared; x && *x >= 0; x++)
      if (*x == found) return -1;
  return found;
}

/* log |d value / d u| of one entry. */
static double log_jacobian(const PgmSession *s, int f, long e, double u)
{
  const PgmFamily *family = &s->model->families[f];
  const PgmLayout *l = &s->layout[f];
  const long at = family->uniform_bounds ? 0 : e;
  switch (family->transform) {
  case PGM_LOWER:
  case PGM_UPPER: return u;
  case PGM_INTERVAL: return log(l->upper[at] - l->lower[at]) - fabs(u) - 2 * log1p(exp(-fabs(u)));
  default: return 0;
  }
}

typedef struct {
  PgmSession *s;
  int family, axis;
  long lo, n;                          /* units of the axis */
  double *u, *values, *units;          /* the family's coordinates; of one term; NODES x n: log densities of the units */
  unsigned char *owns;                 /* per unit: it has an element of the family */
} Units;

/* Values for globals (all but the family): draw `d` of q; returns log |J| - log q. */
static double draw_globals(Units *w, unsigned long seed, long d)
{
  const PgmModel *m = w->s->model;
  double value = 0;
  for (int f = 0; f < m->n_families; f++) {
    const PgmLayout *l = &w->s->layout[f];
    if (!pgm_is_latent(&m->families[f]) || f == w->family) continue;
    const long n = l->elements * l->uwidth, rows = l->list ? l->defined : l->elements;
    const bool point = m->families[f].role == PGM_PARAM;
    double *u = w->values;
    if (n) pgm_philox_normals((PgmKey){seed ^ SEED_UNITS, (uint64_t)d, (uint64_t)f}, 0, n, u);
    for (long r = 0; r < rows && !point; r++)
      for (long e = (l->list ? l->list[r] : r) * l->uwidth, end = e + l->uwidth; e < end; e++) value += 0.5 * (u[e] * u[e] + LOG_2PI) + log(l->sd[e]);
    for (long e = 0; e < n; e++) u[e] = l->mean[e] + (point ? 0 : l->sd[e] * u[e]);
    const double jacobian = pgm_constrain(w->s, f, u, l->value);
    if (!point) value += jacobian;
  }
  return value;
}

static bool in_units(const Units *w, int plate)
{
  const PgmPlate *p = &w->s->model->plates[plate];
  return p->variable && p->axis == w->axis;
}

/* The terms that belong to no unit. */
static double other_terms(Units *w)
{
  const PgmModel *m = w->s->model;
  double sum = 0;
  for (int p = 0; p < m->n_plates; p++)
    for (int t = m->plates[p].first_term; !in_units(w, p) && t < m->plates[p].first_term + m->plates[p].n_terms; t++) {
      const long size = pgm_term_size(w->s, t);
      if (size) pgm_term_each(w->s, t, false, w->values);
      for (long i = 0; i < size; i++) sum += w->values[i];
    }
  return sum;
}

/* All units at node t of the rule: out[unit] = log (density * du/dt). */
static void at_node(Units *w, double node, double *out)
{
  const PgmModel *m = w->s->model;
  const PgmLayout *l = &w->s->layout[w->family];
  for (long e = 0; e < l->elements; e++) w->u[e] = l->mean[e] + l->sd[e] * sinh(node);
  pgm_constrain(w->s, w->family, w->u, l->value);
  for (long i = 0; i < w->n; i++) {
    const long e = w->lo + i - l->lo[0];
    out[i] = w->owns[i] ? log(l->sd[e] * cosh(node)) + log_jacobian(w->s, w->family, e, w->u[e]) : 0;
  }
  for (int p = 0; p < m->n_plates; p++)
    for (int t = m->plates[p].first_term; in_units(w, p) && t < m->plates[p].first_term + m->plates[p].n_terms; t++) {
      const PgmBox *box = &w->s->shape.term[t];
      const long count = box->hi[0] - box->lo[0] + 1, size = pgm_term_size(w->s, t), inner = count > 0 ? size / count : 0;
      if (inner < 1) continue;
      pgm_term_each(w->s, t, false, w->values);
      for (long i = 0; i < size; i++) out[box->lo[0] - w->lo + i / inner] += w->values[i];
    }
}

static double unit_integrals(Units *w)
{
  const double h = 2 * REACH / (NODES - 1);
  double sum = 0;
  for (int k = 0; k < NODES; k++) at_node(w, -REACH + k * h, w->units + (long)k * w->n);
  for (long i = 0; i < w->n; i++) {
    double most = -INFINITY, total = 0;
    if (!w->owns[i]) {
      sum += w->units[i];
      continue;
    }
    for (int k = 0; k < NODES; k++)    /* a node so far out that the density is no number has none */
      if (w->units[(long)k * w->n + i] > most) most = w->units[(long)k * w->n + i];
    for (int k = 0; k < NODES; k++) {
      const double x = w->units[(long)k * w->n + i];
      if (x > -INFINITY) total += exp(x - most);
    }
    sum += most + log(total * h);
  }
  return sum;
}

static PgmStatus open_units(Units *w, PgmSession *s, int family, PgmError *error)
{
  const PgmModel *m = s->model;
  const PgmLayout *l = &s->layout[family];
  long hi = l->hi[0], most = 1;
  *w = (Units){.s = s, .family = family, .axis = m->families[family].axis[0], .lo = l->lo[0]};
  for (int p = 0; p < m->n_plates; p++) {
    if (!in_units(w, p)) continue;
    for (int t = m->plates[p].first_term; t < m->plates[p].first_term + m->plates[p].n_terms; t++) {
      const PgmBox *box = &s->shape.term[t];
      if (!pgm_term_size(s, t)) continue;
      if (box->lo[0] < w->lo) w->lo = box->lo[0];
      if (box->hi[0] > hi) hi = box->hi[0];
    }
  }
  w->n = hi - w->lo + 1;
  for (int t = 0; t < m->n_terms; t++)
    if (pgm_term_size(s, t) > most) most = pgm_term_size(s, t);
  for (int f = 0; f < m->n_families; f++)
    if (pgm_is_latent(&m->families[f]) && s->layout[f].elements * s->layout[f].uwidth > most) most = s->layout[f].elements * s->layout[f].uwidth;
  w->u = calloc((size_t)l->elements + 1, sizeof *w->u);
  w->values = calloc((size_t)most, sizeof *w->values);
  w->units = calloc((size_t)(NODES * w->n) + 1, sizeof *w->units);
  w->owns = calloc((size_t)w->n + 1, 1);
  if (!w->u || !w->values || !w->units || !w->owns) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  for (long r = 0; r < (l->list ? l->defined : l->elements); r++) w->owns[l->lo[0] + (l->list ? l->list[r] : r) - w->lo] = 1;
  return PGM_OK;
}

PgmStatus pgm_evidence_units(PgmSession *s, int draws, unsigned long seed, double *ratio, bool *found, PgmError *error)
{
  const int family = unit_family(s);
  Units w;
  *found = family >= 0;
  if (!*found) return PGM_OK;
  PgmStatus st = open_units(&w, s, family, error);
  for (int d = 0; d < draws && !st; d++) {
    ratio[d] = draw_globals(&w, seed, d);
    ratio[d] += other_terms(&w) + unit_integrals(&w);
  }
  free(w.u);
  free(w.values);
  free(w.units);
  free(w.owns);
  return st;
}

/* ---- either ------------------------------------------------------------------------------------------------------------------------------------ */

/* The standard error of the log of the mean of exp(ratio), by the delta method. */
static double log_mean_se(long n, const double *ratio)
{
  double most = -INFINITY, sum = 0, square = 0;
  for (long i = 0; i < n; i++) most = fmax(most, ratio[i]);
  for (long i = 0; i < n; i++) {
    const double w = exp(ratio[i] - most);
    sum += w;
    square += w * w;
  }
  const double mean = sum / (double)n, variance = fmax(0, square / (double)n - mean * mean);
  return sqrt(variance / (double)n) / mean;
}

PgmStatus pgm_evidence(PgmSession *s, int draws, unsigned long seed, PgmEvidence *out, PgmError *error)
{
  bool found;
  *out = (PgmEvidence){.kind = PGM_EVIDENCE_NONE, .value = NAN, .se = NAN, .khat = NAN};
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    if (integrated(&s->model->families[f])) out->coordinates += (l->list ? l->defined : l->elements) * l->uwidth;
  }
  PgmStatus st = pgm_evidence_exact(s, seed, &found, &out->value, error);
  if (st) return st;
  if (found) {
    out->kind = PGM_EVIDENCE_EXACT;
    out->se = 0;
    return PGM_OK;
  }
  out->value = NAN;
  double *ratio = malloc((size_t)draws * sizeof *ratio);
  if (!ratio) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  int few = out->coordinates > LARGE ? UNIT_DRAWS_LARGE : UNIT_DRAWS;
  if (few > draws) few = draws;
  st = pgm_evidence_units(s, few, seed, ratio, &out->by_units, error);
  if (out->by_units) draws = few;
  if (!st && (out->by_units || pgm_log_ratios(s, draws, seed, ratio))) {
    double value;
    out->draws = draws;
    out->khat = pgm_psis(draws, ratio, &value);
    if (!isnan(out->khat) && isfinite(value)) {
      out->value = value;
      out->se = log_mean_se(draws, ratio);
      out->kind = out->khat <= LIMIT_KHAT ? PGM_EVIDENCE_PSIS : PGM_EVIDENCE_BOUND;
      if (!isfinite(out->khat)) out->khat = NAN;       /* all ratios the same: q is the posterior */
    }
  }
  free(ratio);
  return st;
}
