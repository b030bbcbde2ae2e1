/* The Fisher information of functions' weights: see fisher.h. */
#include "fisher.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"

enum { MOST_WEIGHTS = 1000, FEWEST_ROWS = 256, BLOCK = 64 };

typedef struct {
  const PgmSource *source;
  long n, rows;               /* weights; elements that take part */
  float *factor;              /* Cholesky's of the damped G, in its upper triangle: L', n x n, L L' = G */
  double *kept, *out, *jacobian, *scratch; /* of a block of elements */
  float *single;              /* its Jacobian */
  long *row;
} Part;

struct PgmFisher {
  int n;
  Part *part;
};

void pgm_fisher_close(PgmFisher *f)
{
  if (!f) return;
  for (int i = 0; i < f->n; i++) {
    free(f->part[i].kept);
    free(f->part[i].factor);
    free(f->part[i].row);
  }
  free(f->part);
  free(f);
}

static bool open_part(Part *p, const PgmSource *source)
{
  const PgmNet *net = &source->net;
  const long n = net->n_weights, enough = n > FEWEST_ROWS ? n : FEWEST_ROWS;
  *p = (Part){.source = source, .n = n, .rows = source->rows < enough ? source->rows : enough};
  const long kept = BLOCK * net->row, out = BLOCK * net->n_outputs, scratch = pgm_net_scratch(net, BLOCK) + BLOCK * net->n_outputs;
  p->kept = malloc((size_t)(kept + out + BLOCK * n + scratch) * sizeof *p->kept);
  p->factor = malloc((size_t)(n * n + BLOCK * n) * sizeof *p->factor);
  p->row = malloc((size_t)(p->rows + 1) * sizeof *p->row);
  if (!p->kept || !p->factor || !p->row) return false;
  p->single = p->factor + n * n;
  p->out = p->kept + kept;
  p->jacobian = p->out + out;
  p->scratch = p->jacobian + BLOCK * n;
  for (long k = 0; k < p->rows; k++) p->row[k] = k * source->rows / p->rows;
  return true;
}

PgmStatus pgm_fisher_open(PgmFisher **out, const PgmSources *q, PgmError *error)
{
  PgmFisher *f = calloc(1, sizeof *f);
  bool ok = f != NULL;
  *out = NULL;
  if (ok) ok = (f->part = calloc((size_t)q->n + 1, sizeof *f->part)) != NULL;
  for (int i = 0; ok && i < q->n; i++) {
    const PgmSource *source = &q->source[i];
    if (source->kind != PGM_FUNCTION || source->table || source->net.n_weights > MOST_WEIGHTS || source->net.n_weights < 1 || source->rows < 1) continue;
    ok = open_part(&f->part[f->n++], source);
  }
  if (ok && f->n) {
    *out = f;
    return PGM_OK;
  }
  pgm_fisher_close(f);
  return ok ? PGM_OK : pgm_fail(error, PGM_SYSTEM, "out of memory");
}

/* L in the lower triangle of a, row by row (Golub & Van Loan, Matrix Computations (2013), section 4.2.5). A pivot that is not positive counts as `least`. */
static void decompose(long n, float least, float *a)
{
  for (long j = 0; j < n; j++) {
    float *restrict column = a + j * n; /* row j of the upper triangle: column j of L */
    const float pivot = sqrtf(column[j] > least ? column[j] : least);
    column[j] = pivot;
    for (long i = j + 1; i < n; i++) column[i] /= pivot;
    for (long k = j + 1; k < n; k++) {
      float *restrict row = a + k * n;
      const float factor = column[k];
      for (long i = k; i < n; i++) row[i] -= factor * column[i];
    }
  }
}

static void update_part(Part *p, const double *x, double damping)
{
  const PgmSource *f = p->source;
  const PgmNet *net = &f->net;
  const long n = p->n, w = f->uwidth, o = net->n_outputs;
  const double share = (double)f->rows / (double)p->rows;
  memset(p->factor, 0, (size_t)(n * n) * sizeof *p->factor);
  pgm_gather_prepare(f->gather, x + f->encoders_at, x, p->row, p->rows);
  for (long at = 0; at < p->rows; at += BLOCK) {
    const long count = p->rows - at < BLOCK ? p->rows - at : BLOCK;
    pgm_gather_rows(f->gather, p->row + at, at, count, p->kept);
    pgm_net_forward(net, x + f->at, count, p->kept, p->out);
    for (long k = 0; k < o; k++) {
      double *weight = p->scratch; /* square roots of F */
      for (long r = 0; r < count; r++)
        weight[r] = sqrt(share) * (k >= w ? sqrt(2) : exp(-(f->sd_at >= 0 ? x[f->sd_at + k] : p->out[r * o + w + k])));
      pgm_net_jacobian(net, x + f->at, count, p->kept, k, weight, p->jacobian, p->scratch + BLOCK);
      for (long e = 0; e < count * n; e++) p->single[e] = (float)p->jacobian[e];
      pgm_syrk_single(n, count, p->single, n, p->factor, n);
    }
  }
  double trace = 0;
  for (long i = 0; i < n; i++) trace += p->factor[i * n + i];
  const double least = trace > 0 && isfinite(trace) ? damping * trace / (double)n : 1;
  for (long i = 0; i < n; i++) p->factor[i * n + i] += (float)least;
  decompose(n, (float)least, p->factor);
}

void pgm_fisher_update(PgmFisher *f, const double *x, double damping)
{
  for (int i = 0; i < f->n; i++) update_part(&f->part[i], x, damping);
}

void pgm_fisher_mark(const PgmFisher *f, long begin, double *h)
{
  for (int i = 0; i < f->n; i++)
    for (long k = 0; k < f->part[i].n && f->part[i].source->at >= begin; k++) h[f->part[i].source->at - begin + k] = 1;
}

void pgm_fisher_apply(const PgmFisher *f, long begin, double *v)
{
  for (int i = 0; i < f->n; i++) {
    const Part *p = &f->part[i];
    const long n = p->n;
    if (p->source->at < begin) continue;
    double *restrict y = v + (p->source->at - begin);
    for (long j = 0; j < n; j++) { /* L y = v */
      const float *restrict column = p->factor + j * n;
      const double value = y[j] /= column[j];
      for (long k = j + 1; k < n; k++) y[k] -= value * column[k];
    }
    for (long j = n - 1; j >= 0; j--) { /* L' y = y */
      const float *restrict column = p->factor + j * n;
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (long k = j + 1; k < n; k++) sum += column[k] * y[k];
      y[j] = (y[j] - sum) / column[j];
    }
  }
}

double pgm_fisher_length(const PgmFisher *f, long begin, const double *d)
{
  double most = 0;
  for (int i = 0; i < f->n; i++) {
    const Part *p = &f->part[i];
    const long n = p->n;
    double square = 0; /* |L' d|^2 = d' G d */
    if (p->source->at < begin) continue;
    const double *step = d + (p->source->at - begin);
    for (long j = 0; j < n; j++) {
      const float *restrict column = p->factor + j * n;
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (long k = j; k < n; k++) sum += column[k] * step[k];
      square += sum * sum;
    }
    most = fmax(most, sqrt(square / (double)p->source->rows));
  }
  return most;
}
