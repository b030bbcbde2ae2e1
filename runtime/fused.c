/* Local factors solved inside an evaluation: see fused.h. */
#include "fused.h"

#include <stdlib.h>
#include <string.h>

#include "newton.h"

enum { BLOCK_ROWS = 256, MOST_STEPS = 60, PATIENCE = 4, MOST_SUMS = 1024 };
static const double HALF_LOG_2PI_E = 1.41893853320467274178;

/* One family: unit u has rows (u - first) * stride .. + stride - 1. */
typedef struct {
  const PgmSource *source;
  long first, stride, w;
  long at; /* of its means in `from` and `to`; the log sds follow them */
} Family;

/* A family's rows under work, in memory of the thread. Arrays but the first are `entries` long. */
typedef struct {
  PgmNewton newton;
  long row, rows, entries;
  double *mean, *log_sd, *sd, *mean_bar, *sd_bar, *slope;
} Rows;

typedef struct {
  int n;
  Family *family;
  PgmBlocks *blocks;
  long first, units, block; /* of the axis; units per block */
  double *left;             /* per block */
  Rows *rows;               /* n per thread */
} Axis;

struct PgmFused {
  PgmSession *s;
  PgmSources *q;
  PgmKernelKind kind;
  int n_axes;
  Axis *axis;
  bool *on_axis; /* per axis of the model: its plates run in blocks */
  PgmRows *none; /* per source: no rows of fused families, all of others */
  long row;      /* what none[].row points to, which nobody reads */
  double elements;
  double *work; /* of threads */
  size_t work_stride;
  /* of the evaluation under way */
  const double *from;
  double *to, enough;
};

/* ---- opening ------------------------------------------------------------------------------------------------------------------------- */

void pgm_fused_close(PgmFused *f)
{
  if (!f) return;
  for (int a = 0; f->axis && a < f->n_axes; a++) {
    pgm_blocks_close(f->axis[a].blocks);
    free(f->axis[a].family);
    free(f->axis[a].left);
    free(f->axis[a].rows);
  }
  free(f->axis);
  free(f->on_axis);
  free(f->none);
  free(f->work);
  free(f);
}

int pgm_own_axis(const PgmSession *s, int family, PgmKernelKind kind, long *offset)
{
  const PgmModel *m = s->model;
  int axis = -1;
  for (int r = 0; r < m->n_refs; r++)
    if (m->refs[r].family == family && !pgm_plate_idle(s, m->refs[r].plate, kind)) return -1;
  for (int p = 0; p < m->n_plates; p++) {
    const PgmPlate *plate = &m->plates[p];
    if (pgm_plate_idle(s, p, kind)) continue;
    for (const int *shared = plate->shared; shared && *shared >= 0; shared++)
      if (*shared == family) return -1;
    for (const PgmOwn *own = plate->own; own && own->family >= 0; own++) {
      if (own->family != family) continue;
      if (own->position != 0 || plate->axis < 0 || (axis >= 0 && (plate->axis != axis || own->offset != *offset))) return -1;
      axis = plate->axis;
      *offset = own->offset;
    }
  }
  return axis;
}

/* Do plates of the axis own anything that is not fused? Its adjoints would be added once per step. */
static bool owns_others(const PgmFused *f, int axis)
{
  const PgmModel *m = f->s->model;
  for (int p = 0; p < m->n_plates; p++)
    for (const PgmOwn *own = m->plates[p].own; own && own->family >= 0 && m->plates[p].axis == axis && !pgm_plate_idle(f->s, p, f->kind) && !(f->q->eliminates && m->plates[p].eliminates); own++) {
      const PgmSource *source = pgm_sources_find(f->q, own->family);
      if (!source || !source->local) return true;
    }
  return false;
}

static Axis *find_axis(PgmFused *f, int axis, int *axes)
{
  for (int a = 0; a < f->n_axes; a++)
    if (axes[a] == axis) return &f->axis[a];
  axes[f->n_axes] = axis;
  return &f->axis[f->n_axes++];
}

/* False: not possible, or out of memory (*status). */
static bool open_families(PgmFused *f, int *axes)
{
  const PgmModel *m = f->s->model;
  for (int i = 0; i < f->q->n; i++) {
    const PgmSource *source = &f->q->source[i];
    const PgmLayout *l = &f->s->layout[source->family];
    long offset = 0;
    if (!source->local) continue;
    if (source->kind != PGM_FREE || source->table || !m->families[source->family].separable || l->list || 2 * source->uwidth > PGM_NEWTON_COORDINATES) return false;
    const int axis = pgm_own_axis(f->s, source->family, f->kind, &offset);
    if (axis < 0 || owns_others(f, axis)) return false;
    Axis *a = find_axis(f, axis, axes);
    if (!a->family && !(a->family = calloc((size_t)f->q->n, sizeof *a->family))) return false;
    a->family[a->n++] = (Family){source, l->lo[0] - offset, l->stride[0], source->uwidth, source->at - f->q->functions};
    f->none[i] = (PgmRows){0, &f->row, NULL};
    f->on_axis[axis] = true;
    f->elements += (double)source->rows;
  }
  return f->n_axes > 0;
}

static size_t whole_lines(size_t doubles)
{
  return (doubles + 7) / 8 * 8;
}

/* Doubles of a family's rows in a block; and their places. */
static size_t rows_size(const Axis *a, const Family *f)
{
  const long rows = a->block * f->stride;
  return 6 * whole_lines((size_t)(rows * f->w)) + whole_lines(pgm_newton_size(rows, f->w));
}

static void place_rows(const Axis *a, const Family *f, double *memory, Rows *r)
{
  const size_t n = whole_lines((size_t)(a->block * f->stride * f->w));
  *r = (Rows){.mean = memory, .log_sd = memory + n, .sd = memory + 2 * n, .mean_bar = memory + 3 * n, .sd_bar = memory + 4 * n, .slope = memory + 5 * n};
  pgm_newton_place(&r->newton, a->block * f->stride, f->w, memory + 6 * n);
}

static bool place_threads(PgmFused *f, Axis *a)
{
  const int threads = f->s->threads;
  a->rows = calloc((size_t)(a->n * threads), sizeof *a->rows);
  for (int t = 0; a->rows && t < threads; t++) {
    double *memory = f->work + (size_t)t * f->work_stride;
    for (int i = 0; i < a->n; i++) {
      place_rows(a, &a->family[i], memory, &a->rows[t * a->n + i]);
      memory += rows_size(a, &a->family[i]);
    }
  }
  return a->rows != NULL;
}

static bool open_axis(PgmFused *f, Axis *a, int axis, PgmError *error, PgmStatus *status)
{
  long per_unit = 0;
  size_t need = 0;
  if ((*status = pgm_blocks_open(&a->blocks, f->s, axis, f->kind, 1, error))) return false;
  a->first = pgm_blocks_first(a->blocks, &a->units);
  if (!a->units || pgm_blocks_sums(a->blocks) > MOST_SUMS) return false;
  for (int i = 0; i < a->n; i++) {
    const Family *family = &a->family[i];
    if (family->first < a->first || (family->first - a->first + a->units) * family->stride < family->source->rows) return false; /* rows without a unit */
    per_unit += family->stride * family->w;
  }
  a->block = BLOCK_ROWS / (per_unit > 0 ? per_unit : 1) / 8 * 8;
  if (a->block < 8) a->block = 8;
  for (int i = 0; i < a->n; i++) need += rows_size(a, &a->family[i]);
  if (need > f->work_stride) f->work_stride = need;
  a->left = calloc((size_t)((a->units + a->block - 1) / a->block), sizeof *a->left);
  if (!a->left) *status = pgm_fail(error, PGM_SYSTEM, "out of memory");
  return a->left != NULL;
}

PgmStatus pgm_fused_open(PgmFused **out, PgmSources *q, PgmError *error)
{
  PgmStatus status = PGM_OK;
  PgmFused *f = calloc(1, sizeof *f);
  int *axes = calloc((size_t)q->s->model->n_axes + 1, sizeof *axes);
  bool ok = f && axes;
  *out = NULL;
  if (ok) {
    f->s = q->s;
    f->q = q;
    f->kind = q->eliminates ? PGM_KERNEL_ELIMINATED : PGM_KERNEL_EXPECTED;
    f->axis = calloc((size_t)q->s->model->n_axes + 1, sizeof *f->axis);
    f->on_axis = calloc((size_t)q->s->model->n_axes + 1, sizeof *f->on_axis);
    f->none = calloc((size_t)q->n + 1, sizeof *f->none);
    ok = f->axis && f->on_axis && f->none;
  }
  if (!ok) status = pgm_fail(error, PGM_SYSTEM, "out of memory");
  ok = ok && open_families(f, axes);
  for (int a = 0; ok && a < f->n_axes; a++) ok = open_axis(f, &f->axis[a], axes[a], error, &status);
  if (ok) {
    f->work = aligned_alloc(64, sizeof *f->work * f->work_stride * (size_t)q->s->threads);
    ok = f->work != NULL;
    for (int a = 0; ok && a < f->n_axes; a++) ok = place_threads(f, &f->axis[a]);
    if (!ok) status = pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  free(axes);
  if (!ok) {
    pgm_fused_close(f);
    return status;
  }
  *out = f;
  return PGM_OK;
}

/* ---- one block ----------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  PgmFused *f;
  Axis *axis;
} Job;

/* Which rows of the family the block has, and their start; the kernels' arrays become those of the thread. */
static void load(const PgmFused *f, const Family *family, const PgmBlock *b, Rows *r)
{
  PgmLatent *latent = (PgmLatent *)((char *)b->env + f->s->model->families[family->source->family].place);
  const long w = family->w, all = family->source->rows;
  long from = (b->first - family->first) * family->stride, to = from + b->count * family->stride;
  from = from < 0 ? 0 : from > all ? all : from;
  to = to < from ? from : to > all ? all : to;
  r->row = from;
  r->rows = to - from;
  r->entries = r->rows * w;
  memcpy(r->mean, f->from + family->at + from * w, (size_t)r->entries * sizeof *r->mean);
  memcpy(r->log_sd, f->from + family->at + (all + from) * w, (size_t)r->entries * sizeof *r->mean);
  latent->mean = r->mean - from * w;
  latent->sd = r->sd - from * w;
  latent->mean_bar = r->mean_bar - from * w;
  latent->sd_bar = r->sd_bar - from * w;
}

/* The block's part of the ELBO where its rows are, and its slopes there. */
static double evaluate(const PgmFused *f, const Axis *a, PgmBlock *b, Rows *rows)
{
  double entropy = 0, jacobian = 0;
  for (int i = 0; i < a->n; i++) {
    const Rows *r = &rows[i];
    double *restrict sd = r->sd, sum = 0;
    const double *restrict log_sd = r->log_sd;
    const long n = r->entries;
#pragma omp simd reduction(+ : sum)
    for (long e = 0; e < n; e++) {
      sd[e] = exp(log_sd[e]);
      sum += log_sd[e];
    }
    entropy += sum + HALF_LOG_2PI_E * (double)n;
    memset(r->mean_bar, 0, (size_t)n * sizeof *sd);
    memset(r->sd_bar, 0, (size_t)n * sizeof *sd);
    const long base = r->row * a->family[i].w;
    jacobian += pgm_jacobian_part(f->s, a->family[i].source->family, r->row, r->row + r->rows, r->mean - base, r->sd - base, r->mean_bar - base,
                                  r->sd_bar - base);
  }
  const double value = pgm_block_run(b);
  for (int i = 0; i < a->n; i++) {
    const Rows *r = &rows[i];
    double *restrict slope = r->slope;
    const double *restrict sd = r->sd, *restrict sd_bar = r->sd_bar;
    for (long e = 0; e < r->entries; e++) slope[e] = sd[e] * sd_bar[e] + 1;
  }
  return value + jacobian + entropy;
}

static double solve_block(PgmBlock *b, void *data)
{
  const Job *job = data;
  const PgmFused *f = job->f;
  const Axis *a = job->axis;
  Rows *rows = a->rows + b->thread * a->n;
  double elements = 0, value = 0, best = -INFINITY;
  int since_best = 0;
  for (int i = 0; i < a->n; i++) {
    load(f, &a->family[i], b, &rows[i]);
    elements += (double)rows[i].rows;
  }
  const double enough = f->enough * elements / f->elements;
  double *left = &a->left[(b->first - a->first) / a->block];
  for (int k = 0;; k++) {
    double promised = 0, gain = 0;
    long rejected = 0;
    value = evaluate(f, a, b, rows);
    for (int i = 0; i < a->n; i++) promised += pgm_newton_promise(rows[i].entries, rows[i].sd, rows[i].mean_bar, rows[i].slope);
    *left = promised;
    if (promised <= enough) break;
    for (int i = 0; i < a->n; i++)
      gain += pgm_newton_judge(&rows[i].newton, k == 0, 0, rows[i].rows, rows[i].mean, rows[i].log_sd, rows[i].mean_bar, rows[i].slope, &rejected);
    if (gain <= enough && !rejected) break; /* what is not finite promises nothing */
    since_best = value > best + fmax(enough, 1e-14 * fabs(value)) ? 0 : since_best + 1;
    best = fmax(best, value);
    const bool last = k >= MOST_STEPS || since_best > PATIENCE;
    for (int i = 0; i < a->n; i++) pgm_newton_put(&rows[i].newton, last ? 0 : 1, 0, rows[i].rows, rows[i].mean, rows[i].log_sd);
    if (!last) continue;
    *left = gain;
    if (rejected) value = evaluate(f, a, b, rows);
    break;
  }
  for (int i = 0; i < a->n; i++) {
    const Family *family = &a->family[i];
    const Rows *r = &rows[i];
    memcpy(f->to + family->at + r->row * family->w, r->mean, (size_t)r->entries * sizeof *r->mean);
    memcpy(f->to + family->at + (family->source->rows + r->row) * family->w, r->log_sd, (size_t)r->entries * sizeof *r->mean);
  }
  return value;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------------------------- */

double pgm_fused_value(PgmFused *f, const double *x, const double *from, double *to, double enough, double *gradient, double *left)
{
  PgmSession *s = f->s;
  double value = s->constant + pgm_sources_forward(f->q, x, f->none);
  f->from = from;
  f->to = to;
  f->enough = enough;
  *left = 0;
  for (int i = 0; i < f->q->n; i++) {
    const PgmSource *source = &f->q->source[i];
    PgmLayout *l = &s->layout[source->family];
    const size_t bytes = (size_t)(l->elements * l->uwidth) * sizeof *l->mean;
    if (source->local) continue;
    memset(l->mean_bar, 0, bytes);
    memset(l->sd_bar, 0, bytes);
    if (!source->point && s->model->families[source->family].transform != PGM_IDENTITY)
      value += pgm_jacobian_expected(s, source->family, l->mean, l->sd, 1, l->mean_bar, l->sd_bar);
  }
  value += pgm_engine_run_others(s, f->kind, f->on_axis);
  for (int k = 0; k < f->n_axes; k++) {
    Axis *a = &f->axis[k];
    Job job = {f, a};
    value += pgm_blocks_run(a->blocks, a->block, solve_block, &job);
    pgm_blocks_add(a->blocks, 0);
    for (long i = 0; i < (a->units + a->block - 1) / a->block; i++) *left += a->left[i];
  }
  pgm_sources_backward(f->q, x, f->none, gradient);
  return value;
}
