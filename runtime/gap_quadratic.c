/* Integrals of a log joint that is quadratic:
 *
 *   log p(data, u0 + d) = l0 + g'd - d'Ad / 2      =>      log of its integral = l0 + g' A^-1 g / 2 + (n log 2 pi - log det A) / 2.
 *
 * Nobody tells the runtime that a model is linear-Gaussian, so it finds out: A comes from differences of gradients, which for a quadratic
 * are exact for any step; then gradient and value are compared with the quadratic's at random points, from a fraction of an sd of q to a
 * hundred sds away. A model that is not quadratic fails at one of them.
 *
 * Coordinates are those of the globals, dense, and of the local variables, in blocks between which A is zero: one block per element where
 * the local variables separate (PgmFamily.separable: no term contains two of their elements), whose columns are probed all at once; else
 * one block of all. Blocks are eliminated by Schur's complement, which leaves the marginal of the globals:
 *
 *   log p(data, globals at u0 + d) = c + h'd - d'Bd / 2,        E_q of it = c - sum_i B_ii sd_i^2 / 2        at q's mean u0. */
#include "gap_quadratic.h"

#include <stdlib.h>
#include <string.h>

#include "philox.h"

enum { DENSE_MAX = 2000, CHECKS = 6, SEED_CHECKS = 0xE51Du };
static const double CROSS_MAX = 2e7; /* entries of the matrix between the two kinds of coordinates */
static const double LOG_2PI = 1.8378770664093454836;

struct PgmQuadratic {
  PgmSession *s;
  long dense, local, block; /* globals come first; blocks of at most `block` local coordinates follow */
  double **value, **bar;    /* per coordinate: its place in a layout */
  double *base, *sd, *gradient, *step, *column, *product, *size;
  long *first;
  long blocks;      /* block b: coordinates first[b] .. first[b+1]-1 */
  double *a;        /* dense x dense, of the NEGATIVE Hessian, row-major */
  double *cross;    /* local x dense */
  double *own;      /* per local coordinate: its row within its block, `block` entries */
  double log_joint; /* at the base; after elimination, of the marginal there */
};

static long coordinates(const PgmQuadratic *q)
{
  return q->dense + q->local;
}

static bool integrated(const PgmFamily *f, bool globals)
{
  return f->role == PGM_LOCAL || (globals && f->role == PGM_GLOBAL);
}

static bool separates(const PgmModel *m)
{
  for (int f = 0; f < m->n_families; f++)
    if (m->families[f].role == PGM_LOCAL && !m->families[f].separable) return false;
  return true;
}

static void place_family(PgmQuadratic *q, int f, bool split, long *at)
{
  const PgmLayout *l = &q->s->layout[f];
  const long rows = l->list ? l->defined : l->elements;
  for (long r = 0; r < rows; r++) {
    if (split) q->first[q->blocks++] = *at;
    for (long k = 0; k < l->uwidth; k++, ++*at) {
      const long e = (l->list ? l->list[r] : r) * l->uwidth + k;
      q->value[*at] = l->value + e;
      q->bar[*at] = l->value_bar + e;
      q->base[*at] = l->mean[e];
      q->sd[*at] = l->sd[e] > 0 ? l->sd[e] : 1;
    }
  }
}

PgmStatus pgm_quadratic_open(PgmQuadratic **out, PgmSession *s, bool globals, PgmError *error)
{
  const PgmModel *m = s->model;
  const bool split = separates(m);
  PgmQuadratic size = {.s = s}, *q;
  long at = 0, elements = 0;
  *out = NULL;
  for (int f = 0; f < m->n_families; f++) {
    const PgmFamily *family = &m->families[f];
    const PgmLayout *l = &s->layout[f];
    if (!integrated(family, globals)) continue;
    if (family->transform != PGM_IDENTITY) return PGM_OK;
    const long rows = l->list ? l->defined : l->elements, n = rows * l->uwidth;
    if (family->role != PGM_LOCAL) {
      size.dense += n;
      continue;
    }
    size.local += n;
    elements += rows;
    if (l->uwidth > size.block) size.block = l->uwidth;
  }
  if (!split) size.block = size.local;
  const long n = coordinates(&size);
  if (!n || size.dense > DENSE_MAX || size.block > DENSE_MAX) return PGM_OK;
  if ((double)size.local * (double)(size.dense + size.block) > CROSS_MAX) return PGM_OK;
  q = malloc(sizeof *q);
  if (!q) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  *q = size;
  q->value = calloc((size_t)n, sizeof *q->value);
  q->bar = calloc((size_t)n, sizeof *q->bar);
  q->base = calloc((size_t)(7 * n), sizeof *q->base);
  q->first = calloc((size_t)elements + 2, sizeof *q->first);
  q->a = calloc((size_t)(q->dense * q->dense) + 1, sizeof *q->a);
  q->cross = calloc((size_t)(q->local * q->dense) + 1, sizeof *q->cross);
  q->own = calloc((size_t)(q->local * q->block) + 1, sizeof *q->own);
  if (!q->value || !q->bar || !q->base || !q->first || !q->a || !q->cross || !q->own) {
    pgm_quadratic_close(q);
    return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  double **const parts[] = {&q->sd, &q->gradient, &q->step, &q->column, &q->product, &q->size};
  for (int k = 0; k < 6; k++) *parts[k] = q->base + (k + 1) * n;
  for (int f = 0; f < m->n_families; f++)
    if (integrated(&m->families[f], globals) && m->families[f].role != PGM_LOCAL) place_family(q, f, false, &at);
  if (!split && q->local) q->first[q->blocks++] = at;
  for (int f = 0; f < m->n_families; f++)
    if (m->families[f].role == PGM_LOCAL) place_family(q, f, split, &at);
  q->first[q->blocks] = at;
  *out = q;
  return PGM_OK;
}

void pgm_quadratic_close(PgmQuadratic *q)
{
  if (!q) return;
  free(q->value);
  free(q->bar);
  free(q->base);
  free(q->first);
  free(q->a);
  free(q->cross);
  free(q->own);
  free(q);
}

/* log joint and gradient at base + step. */
static double evaluate(PgmQuadratic *q, double *gradient)
{
  const PgmBatch everything = {.axis = -1, .weight = 1};
  const PgmModel *m = q->s->model;
  for (int f = 0; f < m->n_families; f++) {
    PgmLayout *l = &q->s->layout[f];
    if (pgm_is_latent(&m->families[f])) memset(l->value_bar, 0, (size_t)(l->elements * l->width) * sizeof *l->value_bar);
  }
  for (long i = 0; i < coordinates(q); i++) *q->value[i] = q->base[i] + q->step[i];
  const double value = pgm_engine_run(q->s, PGM_KERNEL_POINT, &everything) + q->s->constant;
  for (long i = 0; i < coordinates(q); i++) gradient[i] = *q->bar[i];
  return value;
}

/* Differences of gradients; steps are sds of q. */
bool pgm_quadratic_probe(PgmQuadratic *q)
{
  const long n = coordinates(q);
  memset(q->step, 0, (size_t)n * sizeof *q->step);
  q->log_joint = evaluate(q, q->gradient);
  for (long j = 0; j < q->dense; j++) {
    q->step[j] = q->sd[j];
    evaluate(q, q->column);
    q->step[j] = 0;
    for (long i = 0; i < q->dense; i++) q->a[i * q->dense + j] = (q->gradient[i] - q->column[i]) / q->sd[j];
    for (long i = q->dense; i < n; i++) q->cross[(i - q->dense) * q->dense + j] = (q->gradient[i] - q->column[i]) / q->sd[j];
  }
  for (long k = 0; k < q->block; k++) {
    for (long b = 0; b < q->blocks; b++)
      if (q->first[b] + k < q->first[b + 1]) q->step[q->first[b] + k] = q->sd[q->first[b] + k];
    evaluate(q, q->column);
    for (long b = 0; b < q->blocks; b++) {
      const long j = q->first[b] + k;
      if (j >= q->first[b + 1]) continue;
      for (long i = q->first[b]; i < q->first[b + 1]; i++)
        q->own[(i - q->dense) * q->block + k] = (q->gradient[i] - q->column[i]) / q->sd[j];
      q->step[j] = 0;
    }
  }
  return isfinite(q->log_joint);
}

/* product = A step and size = |A| |step|, to tell rounding from disagreement. */
static void multiply(PgmQuadratic *q)
{
  const long n = coordinates(q), g = q->dense;
  const double *d = q->step;
  memset(q->product, 0, (size_t)n * sizeof *q->product);
  memset(q->size, 0, (size_t)n * sizeof *q->size);
  for (long i = 0; i < g; i++)
    for (long j = 0; j < g; j++) {
      const double t = q->a[i * g + j] * d[j];
      q->product[i] += t;
      q->size[i] += fabs(t);
    }
  for (long i = g; i < n; i++)
    for (long j = 0; j < g; j++) {
      const double c = q->cross[(i - g) * g + j];
      q->product[i] += c * d[j];
      q->size[i] += fabs(c * d[j]);
      q->product[j] += c * d[i];
      q->size[j] += fabs(c * d[i]);
    }
  for (long b = 0; b < q->blocks; b++)
    for (long i = q->first[b]; i < q->first[b + 1]; i++)
      for (long k = 0; k < q->first[b + 1] - q->first[b]; k++) {
        const double t = q->own[(i - g) * q->block + k] * d[q->first[b] + k];
        q->product[i] += t;
        q->size[i] += fabs(t);
      }
}

bool pgm_quadratic_agrees(PgmQuadratic *q, unsigned long seed)
{
  static const double distances[CHECKS] = {0.3, 1, 3, 10, 30, 100};
  const long n = coordinates(q);
  for (int c = 0; c < CHECKS; c++) {
    double linear = 0, square = 0, scale = fabs(q->log_joint) + 1;
    pgm_philox_normals((PgmKey){seed, (uint64_t)c, SEED_CHECKS}, 0, n, q->step);
    for (long i = 0; i < n; i++) q->step[i] *= distances[c] * q->sd[i];
    const double value = evaluate(q, q->column);
    multiply(q);
    for (long i = 0; i < n; i++) {
      const double wanted = q->gradient[i] - q->product[i];
      if (!(fabs(q->column[i] - wanted) <= 1e-7 * (fabs(q->gradient[i]) + q->size[i]) + 1e-10)) return false;
      linear += q->gradient[i] * q->step[i];
      square += q->step[i] * q->product[i];
      scale += fabs(q->gradient[i] * q->step[i]) + 0.5 * fabs(q->step[i]) * q->size[i];
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

bool pgm_quadratic_eliminate(PgmQuadratic *q)
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
  q->log_joint += 0.5 * (quadratic + (double)q->local * LOG_2PI - log_det);
  return isfinite(q->log_joint);
}

double pgm_quadratic_integral(PgmQuadratic *q)
{
  const long g = q->dense;
  double quadratic = 0, log_det = 0;
  if (!cholesky(q->a, g, g)) return NAN;
  solve_lower(q->a, g, g, q->gradient, 1);
  for (long i = 0; i < g; i++) {
    log_det += 2 * log(q->a[i * g + i]);
    quadratic += q->gradient[i] * q->gradient[i];
  }
  return q->log_joint + 0.5 * (quadratic + (double)g * LOG_2PI - log_det);
}

double pgm_quadratic_expectation(const PgmQuadratic *q)
{
  double value = q->log_joint;
  for (long i = 0; i < q->dense; i++) value += log(q->sd[i]) + 0.5 * (LOG_2PI + 1) - 0.5 * q->a[i * q->dense + i] * q->sd[i] * q->sd[i];
  return value;
}

double pgm_quadratic_cost(const PgmQuadratic *q)
{
  const double n = (double)q->local, b = (double)q->block, g = (double)q->dense;
  return n * b * (b / 3 + 8) + n * g * (b + g) + g * g * g / 3;
}
