/* Newton sweeps over separable local latent variables: see local.h. */
#include "local.h"

#include <stdlib.h>
#include <string.h>

#include "newton.h"

enum { LEAST = 1024, GROUPS = 64 };

typedef struct {
  const PgmSource *source;
  long rows, w, dims, first; /* dims: coordinates of an element; first: of its elements in arrays per element */
  PgmNewton newton;
  double *step; /* of a discrete variable, [row][logit]: takes the place of newton; NULL: Gaussian */
} Family;

struct PgmLocals {
  const PgmSources *q;
  int n;
  Family *family;
  long elements, doubles;
  bool complete, fresh; /* fresh: nothing accepted yet */
  double *store;
};

PgmStatus pgm_locals_open(PgmLocals **out, const PgmSources *q, PgmError *error)
{
  *out = NULL;
  PgmLocals *l = calloc(1, sizeof *l);
  if (!l) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  l->family = calloc((size_t)q->n + 1, sizeof *l->family);
  l->q = q;
  l->complete = true;
  size_t doubles = 0;
  for (int i = 0; i < q->n && l->family; i++) {
    const PgmSource *f = &q->source[i];
    if (!f->local) continue;
    if (f->kind != PGM_FREE || f->pinned || !q->s->model->families[f->family].separable || (!f->table && 2 * f->uwidth > PGM_NEWTON_COORDINATES)) {
      l->complete = false;
      continue;
    }
    const long dims = f->table ? f->uwidth : 2 * f->uwidth;
    l->family[l->n++] = (Family){.source = f, .rows = f->rows, .w = f->uwidth, .dims = dims, .first = l->elements};
    l->elements += f->table ? 0 : f->rows;
    l->doubles += dims * f->rows;
    doubles += f->table ? (size_t)(dims * f->rows) : pgm_newton_size(f->rows, f->uwidth);
  }
  if (!l->n) {
    pgm_locals_close(l);
    return PGM_OK;
  }
  double *at = l->store = calloc(doubles + 1, sizeof *l->store); /* zeros: what is not yet a secant pair is multiplied by 0, which must give 0 */
  if (!l->family || !l->store) {
    pgm_locals_close(l);
    return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  for (int i = 0; i < l->n; i++) {
    Family *f = &l->family[i];
    if (f->source->table) {
      f->step = at;
      at += f->dims * f->rows;
      continue;
    }
    pgm_newton_place(&f->newton, f->rows, f->w, at);
    at += pgm_newton_size(f->rows, f->w);
  }
  *out = l;
  return PGM_OK;
}

void pgm_locals_close(PgmLocals *l)
{
  if (!l) return;
  free(l->family);
  free(l->store);
  free(l);
}

bool pgm_locals_complete(const PgmLocals *l)
{
  return l->complete;
}
long pgm_locals_elements(const PgmLocals *l)
{
  return l->elements;
}
long pgm_locals_size(const PgmLocals *l)
{
  return l->doubles;
}

void pgm_locals_begin(PgmLocals *l)
{
  l->fresh = true;
}

static double judge_tables(const PgmSession *s, const Family *f, long from, long to, const double *x)
{
  const PgmLayout *l = &s->layout[f->source->family];
  double gain = 0;
  for (long r = from; r < to; r++) {
    const double *logit = x + f->source->at + r * f->w;
    double *step = f->step + r * f->w;
    gain += pgm_table_optimum(l, l->list ? l->list[r] : r, logit, step);
    for (long k = 0; k < f->w; k++) step[k] -= logit[k];
  }
  return gain;
}

/* Of Gaussian factors, rows [from, to), in pieces whose sds are made for it. */
static double judge_rows(Family *f, bool fresh, long from, long to, double *x, const double *gradient, long *rejected)
{
  enum { PIECE = 1024 };
  double *mean = x + f->source->at, *log_sd = x + f->source->sd_at, sd[PIECE], gain = 0;
  const double *mean_slope = gradient + f->source->at, *log_sd_slope = gradient + f->source->sd_at;
  for (long at = from, end; at < to; at = end) {
    end = at + PIECE / f->w < to ? at + PIECE / f->w : to;
    const long base = at * f->w;
    for (long e = 0; e < (end - at) * f->w; e++) sd[e] = exp(log_sd[base + e]);
    gain += pgm_newton_judge(&f->newton, fresh, at, end, mean, log_sd, sd - base, mean_slope, log_sd_slope, rejected);
  }
  return gain;
}

PgmJudged pgm_locals_judge(PgmLocals *l, double *x, const double *gradient)
{
  PgmJudged total = {0, 0};
  const bool fresh = l->fresh;
  l->fresh = false;
  for (int i = 0; i < l->n; i++) {
    Family *f = &l->family[i];
    const int groups = f->rows < LEAST * GROUPS ? (int)((f->rows + LEAST - 1) / LEAST) : GROUPS; /* summed in order */
    double gain[GROUPS];
    long rejected[GROUPS];
#pragma omp parallel for schedule(static) num_threads(l->q->s->threads) if (l->q->s->threads > 1 && 8 * f->rows > PGM_PARALLEL)
    for (int group = 0; group < groups; group++) {
      rejected[group] = 0;
      const long from = f->rows * group / groups, to = f->rows * (group + 1) / groups;
      if (f->step) {
        gain[group] = judge_tables(l->q->s, f, from, to, x);
        continue;
      }
      gain[group] = judge_rows(f, fresh, from, to, x, gradient, &rejected[group]);
    }
    for (int group = 0; group < groups; group++) {
      total.gain += gain[group];
      total.rejected += rejected[group];
    }
  }
  return total;
}

static void put(const PgmLocals *l, double *x, double share)
{
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    double *at = x + f->source->at;
    if (f->step)
      for (long e = 0; e < f->rows * f->w; e++) at[e] += share * f->step[e]; /* a table is accepted wherever it is */
    else
      PGM_PIECES(f->rows, l->q->s->threads, from, to, pgm_newton_put(&f->newton, share, from, to, at, x + f->source->sd_at););
  }
}

void pgm_locals_move(PgmLocals *l, double *x)
{
  put(l, x, 1);
}
void pgm_locals_restore(PgmLocals *l, double *x)
{
  put(l, x, 0);
}

void pgm_scales_from_curvature(const PgmSources *q, long end, double *x, const double *gradient)
{
  for (int i = 0; i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    if (f->kind == PGM_FUNCTION || !f->scales || f->pinned || f->at >= end) continue;
    /* shared factors: the gradient is a sum over the elements, and so is the curvature */
    const double each = f->kind == PGM_SHARED ? 1 / fmax((double)f->rows, 1) : 1;
    for (long e = 0; e < f->size / 2; e++) {
      double sd = exp(x[f->sd_at + e]), p = (1 - each * gradient[f->sd_at + e]) / (sd * sd);
      if (p > 0 && isfinite(p)) x[f->sd_at + e] = fmin(fmax(-0.5 * log(p), -40), 3);
    }
  }
}

static const double SETTLED = 1e-2; /* nats: elements that may still gain more are not at an optimum */

/* ---- multistart ---------------------------------------------------------------------------------------------------------------------- */

void pgm_locals_save(const PgmLocals *l, const double *x, double *copy)
{
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    size_t bytes = (size_t)(f->rows * f->w) * sizeof *x;
    memcpy(copy, x + f->source->at, bytes);
    if (!f->step) memcpy(copy + f->rows * f->w, x + f->source->sd_at, bytes);
    copy += f->rows * f->dims;
  }
}

void pgm_locals_load(const PgmLocals *l, const double *copy, double *x)
{
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    size_t bytes = (size_t)(f->rows * f->w) * sizeof *x;
    memcpy(x + f->source->at, copy, bytes);
    if (!f->step) memcpy(x + f->source->sd_at, copy + f->rows * f->w, bytes);
    copy += f->rows * f->dims;
  }
}

void pgm_locals_shift(const PgmLocals *l, double shift, const double *copy, double *x)
{
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    const double *mean = copy, *log_sd = copy + f->rows * f->w;
    for (long k = 0; k < f->w && !f->step; k++) {
      double sum = 0, square = 0;
      for (long r = 0; r < f->rows; r++) {
        const double m = mean[r * f->w + k], sd = exp(log_sd[r * f->w + k]);
        sum += m;
        square += m * m + sd * sd;
      }
      const double center = sum / (double)f->rows, spread = sqrt(fmax(square / (double)f->rows - center * center, 0));
      for (long r = 0; r < f->rows; r++) x[f->source->at + r * f->w + k] = center + shift * spread;
    }
    copy += f->rows * f->dims;
  }
}

void pgm_locals_between(const PgmLocals *l, const double *a, const double *b, double t, double *x)
{
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    const long n = f->rows * f->w;
    double *restrict mean = x + f->source->at, *restrict log_sd = x + f->source->sd_at;
    PGM_PIECES(n, l->q->s->threads, from, to, {
      for (long e = from; e < to; e++) {
        mean[e] = a[e] + t * (b[e] - a[e]);
        if (!f->step) log_sd[e] = a[n + e] + t * (b[n + e] - a[n + e]);
      }
    });
    a += f->rows * f->dims;
    b += f->rows * f->dims;
  }
}

void pgm_locals_slope(const PgmLocals *l, const double *a, const double *b, const double *gradient, double weight, double *gain)
{
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    const long n = f->rows * f->w, w = f->w;
    const double *restrict mean_bar = gradient + f->source->at, *restrict sd_bar = gradient + f->source->sd_at;
    double *restrict out = gain + f->first;
    PGM_PIECES(f->step ? 0 : f->rows, l->q->s->threads, from, to, {
      for (long r = from; r < to; r++)
        for (long e = r * w; e < (r + 1) * w; e++) out[r] += weight * (mean_bar[e] * (b[e] - a[e]) + sd_bar[e] * (b[n + e] - a[n + e]));
    });
    a += f->rows * f->dims;
    b += f->rows * f->dims;
  }
}

/* Whether the element's factors differ noticeably between two copies (a and b at the family's beginning). */
static bool differs(const Family *f, const double *a, const double *b, long r)
{
  const long n = f->rows * f->w;
  for (long e = r * f->w; e < (r + 1) * f->w; e++)
    if (fabs(a[e] - b[e]) > 1e-3 * exp(a[n + e]) || fabs(a[n + e] - b[n + e]) > 1e-3) return true;
  return false;
}

long pgm_locals_differ(const PgmLocals *l, const double *a, const double *b)
{
  long count = 0;
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    for (long r = 0; r < f->rows && !f->step; r++) count += f->newton.left[r] < SETTLED && differs(f, a, b, r);
    a += f->rows * f->dims;
    b += f->rows * f->dims;
  }
  return count;
}

/* The first of two estimates is the coarser one. Whether its sign, or that it is nothing, is beyond doubt. */
static bool certain(double coarse, double fine)
{
  return fabs(fine) > 3 * fabs(fine - coarse) + 1e-4 || fabs(coarse) + fabs(fine) < 2e-4;
}

long pgm_locals_undecided(const PgmLocals *l, const double *a, const double *b, const double *coarse, const double *fine)
{
  long count = 0;
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    for (long r = 0; r < f->rows && !f->step; r++)
      count += f->newton.left[r] < SETTLED && differs(f, a, b, r) && !certain(coarse[f->first + r], fine[f->first + r]);
    a += f->rows * f->dims;
    b += f->rows * f->dims;
  }
  return count;
}

long pgm_locals_choose(const PgmLocals *l, double *a, const double *b, const double *coarse, const double *fine, double *sum)
{
  long count = 0;
  *sum = 0;
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    const long n = f->rows * f->w;
    for (long r = 0; r < f->rows && !f->step; r++) {
      if (f->newton.left[r] >= SETTLED || fine[f->first + r] < 1e-4 || !certain(coarse[f->first + r], fine[f->first + r]) || !differs(f, a, b, r))
        continue;
      for (long e = r * f->w; e < (r + 1) * f->w; e++) {
        a[e] = b[e];
        a[n + e] = b[n + e];
      }
      *sum += fine[f->first + r];
      count++;
    }
    a += f->rows * f->dims;
    b += f->rows * f->dims;
  }
  return count;
}
