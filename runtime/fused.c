/* Local factors solved inside an evaluation: see fused.h. */
#include "fused.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "alike.h"
#include "newton.h"

enum { BLOCK_ROWS = 256, MOST_STEPS = 60, PATIENCE = 4, MOST_SUMS = 1024, STARTS = 2, STEPS_FROM_START = 40 };
enum { POINTS = 25, OWN_POINTS = 9, WIDE_POINTS = 5, MOST_ENTRIES = 8 }; /* where other starts are looked for */
static const double REACH = 6, OWN_REACH = 2, WIDE_REACH = 3;     /* of the other starts, in spreads of the elements' means, and in the element's sd */
static const double ENOUGH = 1e-6, SETTLED = 1e-2, BETTER = 1e-4; /* nats per element, of a climb from another start */
static const double HALF_LOG_2PI_E = 1.41893853320467274178;

/* One family: unit u has rows (u - first) * stride .. + stride - 1. */
typedef struct {
  PgmSource *source;
  long first, stride, w;
  long rows; /* under work: all of the source's, or those of classes */
  long at;   /* of its means in `from` and `to`; the log sds follow them */
} Family;

/* A family's rows under work, in memory of the thread. Arrays but the first are `entries` long. */
typedef struct {
  PgmNewton newton;
  long row, rows, entries;
  const double *members; /* of the block's units, where these are classes; else NULL */
  double *mean, *log_sd, *sd, *mean_bar, *sd_bar, *slope;
} Rows;

typedef struct {
  int n;
  Family *family;
  PgmBlocks *blocks;
  const PgmAlike *alike;    /* not NULL: the units are these classes */
  long first, units, block; /* of the axis; units per block */
  double *left;             /* per block */
  Rows *rows;               /* n per thread */
  long *moving;             /* units of a block that have rows under way, `block` per thread */
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
  long size;      /* of `from` and `to` */
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
    free(f->axis[a].moving);
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
    PgmSource *source = &f->q->source[i];
    const PgmLayout *l = &f->s->layout[source->family];
    long offset = 0;
    if (!source->local) continue;
    if (source->kind != PGM_FREE || source->table || !m->families[source->family].separable || l->list || 2 * source->uwidth > PGM_NEWTON_COORDINATES) return false;
    const int axis = pgm_own_axis(f->s, source->family, f->kind, &offset);
    if (axis < 0 || owns_others(f, axis)) return false;
    Axis *a = find_axis(f, axis, axes);
    if (!a->family && !(a->family = calloc((size_t)f->q->n, sizeof *a->family))) return false;
    a->family[a->n++] = (Family){.source = source, .first = l->lo[0] - offset, .stride = l->stride[0], .w = source->uwidth, .rows = source->rows};
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
  a->moving = calloc((size_t)(a->block * threads), sizeof *a->moving);
  for (int t = 0; a->rows && a->moving && t < threads; t++) {
    double *memory = f->work + (size_t)t * f->work_stride;
    for (int i = 0; i < a->n; i++) {
      place_rows(a, &a->family[i], memory, &a->rows[t * a->n + i]);
      memory += rows_size(a, &a->family[i]);
    }
  }
  return a->rows && a->moving;
}

/* Would units with equal data have equal rows in every family? */
static bool rows_alike(const PgmFused *f, const Axis *a)
{
  bool alike = true;
  for (int i = 0; i < a->n; i++) {
    const Family *family = &a->family[i];
    const PgmFamily *m = &f->s->model->families[family->source->family];
    alike = alike && family->first == a->first && family->rows == a->units * family->stride && (m->uniform_bounds || !(m->has_lower || m->has_upper));
  }
  return alike;
}

/* Does every unit start where its class does, or does it not matter, since there is one optimum? */
static bool starts_alike(const PgmFused *f, const Axis *a, const double *x)
{
  const uint32_t *class = pgm_alike_class(a->alike);
  const long *example = pgm_alike_first(a->alike);
  bool alike = true;
  for (int i = 0; i < a->n && alike; i++) {
    const PgmSource *source = a->family[i].source;
    const size_t entries = (size_t)(a->family[i].stride * a->family[i].w), bytes = entries * sizeof *x;
    const double *mean = x + source->at, *log_sd = x + source->sd_at;
    if (f->s->model->families[source->family].concave) continue;
    for (long u = 0; u < a->units && alike; u++) {
      const size_t own = (size_t)u * entries, first = (size_t)example[class[u]] * entries;
      alike = !memcmp(mean + own, mean + first, bytes) && !memcmp(log_sd + own, log_sd + first, bytes);
    }
  }
  return alike;
}

/* Blocks of the axis' units, or of classes of them. False: not possible, or not as hoped (*status). */
static bool open_blocks(PgmFused *f, Axis *a, int axis, const double *x, PgmError *error, PgmStatus *status)
{
  if ((*status = pgm_blocks_open(&a->blocks, f->s, axis, f->kind, 1, error))) return false;
  a->first = pgm_blocks_first(a->blocks, &a->units);
  if (!a->units || pgm_blocks_sums(a->blocks) > MOST_SUMS) return false;
  if (!rows_alike(f, a)) return true;
  if ((*status = pgm_blocks_alike(a->blocks, &a->alike, error))) return false;
  if (!a->alike) return true;
  if (!starts_alike(f, a, x)) {
    a->alike = NULL;
    pgm_blocks_close(a->blocks);
    return !(*status = pgm_blocks_open(&a->blocks, f->s, axis, f->kind, 1, error));
  }
  a->units = pgm_alike_classes(a->alike);
  for (int i = 0; i < a->n; i++) a->family[i].source->distinct = a->family[i].rows = a->units * a->family[i].stride;
  return true;
}

static bool open_axis(PgmFused *f, Axis *a, int axis, const double *x, PgmError *error, PgmStatus *status)
{
  long per_unit = 0;
  size_t need = 0;
  if (!open_blocks(f, a, axis, x, error, status)) return false;
  for (int i = 0; i < a->n; i++) {
    Family *family = &a->family[i];
    if (family->first < a->first || (family->first - a->first + a->units) * family->stride < family->rows) return false; /* rows without a unit */
    per_unit += family->stride * family->w;
    family->at = f->size;
    f->size += 2 * family->rows * family->w;
  }
  a->block = BLOCK_ROWS / (per_unit > 0 ? per_unit : 1) / 8 * 8;
  if (a->block < 8) a->block = 8;
  for (int i = 0; i < a->n; i++) need += rows_size(a, &a->family[i]);
  if (need > f->work_stride) f->work_stride = need;
  a->left = calloc((size_t)((a->units + a->block - 1) / a->block), sizeof *a->left);
  if (!a->left) *status = pgm_fail(error, PGM_SYSTEM, "out of memory");
  return a->left != NULL;
}

PgmStatus pgm_fused_open(PgmFused **out, PgmSources *q, const double *x, PgmError *error)
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
  for (int a = 0; ok && a < f->n_axes; a++) ok = open_axis(f, &f->axis[a], axes[a], x, error, &status);
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

/* ---- factors of units and of classes ------------------------------------------------------------------------------------------------- */

long pgm_fused_size(const PgmFused *f)
{
  return f->size;
}

void pgm_fused_load(const PgmFused *f, const double *x, double *locals)
{
  for (int k = 0; k < f->n_axes; k++)
    for (int i = 0; i < f->axis[k].n; i++) {
      const Family *family = &f->axis[k].family[i];
      const PgmSource *source = family->source;
      const long n = family->rows * family->w, entries = family->stride * family->w;
      double *mean = locals + family->at, *log_sd = mean + n;
      const double *x_mean = x + (source->at - f->q->functions), *x_log_sd = x + (source->sd_at - f->q->functions);
      if (!f->axis[k].alike) {
        memcpy(mean, x_mean, (size_t)n * sizeof *x);
        memcpy(log_sd, x_log_sd, (size_t)n * sizeof *x);
        continue;
      }
      const long *example = pgm_alike_first(f->axis[k].alike);
      for (long c = 0; c < f->axis[k].units; c++) {
        memcpy(mean + c * entries, x_mean + example[c] * entries, (size_t)entries * sizeof *x);
        memcpy(log_sd + c * entries, x_log_sd + example[c] * entries, (size_t)entries * sizeof *x);
      }
    }
}

void pgm_fused_store(const PgmFused *f, const double *locals, double *x)
{
  for (int k = 0; k < f->n_axes; k++)
    for (int i = 0; i < f->axis[k].n; i++) {
      const Family *family = &f->axis[k].family[i];
      const PgmSource *source = family->source;
      const long n = family->rows * family->w, entries = family->stride * family->w;
      const double *mean = locals + family->at, *log_sd = mean + n;
      double *x_mean = x + (source->at - f->q->functions), *x_log_sd = x + (source->sd_at - f->q->functions);
      if (!f->axis[k].alike) {
        memcpy(x_mean, mean, (size_t)n * sizeof *x);
        memcpy(x_log_sd, log_sd, (size_t)n * sizeof *x);
        continue;
      }
      const uint32_t *class = pgm_alike_class(f->axis[k].alike);
      PGM_PIECES(source->rows / family->stride, f->s->threads, from, to, {
        for (long u = from; u < to; u++)
          for (long e = 0; e < entries; e++) {
            x_mean[u * entries + e] = mean[class[u] * entries + e];
            x_log_sd[u * entries + e] = log_sd[class[u] * entries + e];
          }
      });
    }
}

/* ---- one block ----------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  PgmFused *f;
  Axis *axis;
} Job;

/* Which rows of the family the block has, and their start; the kernels' arrays become those of the thread. */
static void load(const PgmFused *f, const Axis *a, const Family *family, const PgmBlock *b, Rows *r)
{
  PgmLatent *latent = (PgmLatent *)((char *)b->env + f->s->model->families[family->source->family].place);
  const long w = family->w, all = family->rows;
  long from = (b->first - family->first) * family->stride, to = from + b->count * family->stride;
  from = from < 0 ? 0 : from > all ? all : from;
  to = to < from ? from : to > all ? all : to;
  r->row = from;
  r->rows = to - from;
  r->entries = r->rows * w;
  r->members = a->alike ? pgm_alike_members(a->alike) + (b->first - a->first) : NULL;
  memcpy(r->mean, f->from + family->at + from * w, (size_t)r->entries * sizeof *r->mean);
  memcpy(r->log_sd, f->from + family->at + (all + from) * w, (size_t)r->entries * sizeof *r->mean);
  latent->mean = r->mean - from * w;
  latent->sd = r->sd - from * w;
  latent->mean_bar = r->mean_bar - from * w;
  latent->sd_bar = r->sd_bar - from * w;
}

static void store(const Family *family, const Rows *r, double *to)
{
  memcpy(to + family->at + r->row * family->w, r->mean, (size_t)r->entries * sizeof *r->mean);
  memcpy(to + family->at + (family->rows + r->row) * family->w, r->log_sd, (size_t)r->entries * sizeof *r->mean);
}

/* Rows of the family that belong to the unit, relative to those of the block: [*from, *to). */
static void rows_of_unit(const Family *family, const Rows *r, long unit, long *from, long *to)
{
  *from = (unit - family->first) * family->stride - r->row;
  *to = *from + family->stride;
  if (*from < 0) *from = 0;
  if (*to > r->rows) *to = r->rows;
}

/* Those of the block's units that have rows under way; returns how many. */
static long find_moving(const Axis *a, const PgmBlock *b, const Rows *rows, long *moving)
{
  long n = 0;
  if (a->n == 1 && a->family->stride == 1) { /* one row per unit */
    const long first = a->family->first + rows->row;
    for (long r = 0; r < rows->rows; r++) {
      moving[n] = first + r;
      n += !pgm_newton_rests(&rows->newton, r);
    }
    return n;
  }
  for (long unit = b->first; unit < b->first + b->count; unit++) {
    bool moves = false;
    for (int i = 0; i < a->n && !moves; i++) {
      long from, to;
      rows_of_unit(&a->family[i], &rows[i], unit, &from, &to);
      for (long r = from; r < to && !moves; r++) moves = !pgm_newton_rests(&rows[i].newton, r);
    }
    if (moves) moving[n++] = unit;
  }
  return n;
}

/* How many there are; `room` may be used for a list. */
static long count_moving(const Axis *a, const PgmBlock *b, const Rows *rows, long *room)
{
  const double *restrict left = rows->newton.left, enough = rows->newton.enough;
  double n = 0;
  if (a->n > 1 || a->family->stride > 1) return find_moving(a, b, rows, room);
#pragma omp simd reduction(+ : n)
  for (long r = 0; r < rows->rows; r++) n += left[r] <= enough ? 0 : 1;
  return (long)n;
}

/* Slopes of the rows at rest, which were not evaluated or not all of them: those where they came to rest. */
static void recall_slopes(const Rows *r)
{
  const PgmNewton *f = &r->newton;
  for (long k = 0; k < f->w; k++)
    for (long row = 0; row < r->rows; row++) {
      const long e = row * f->w + k;
      const bool rests = pgm_newton_rests(f, row);
      r->mean_bar[e] = rests ? f->gradient[k * f->rows + row] : r->mean_bar[e];
      r->slope[e] = rests ? f->gradient[(f->w + k) * f->rows + row] : r->slope[e];
    }
}

/* The block's part of the ELBO where its rows are, and its slopes there. With `moving`: of these units alone, the value but for entropies and Jacobians. */
static double evaluate(const PgmFused *f, const Axis *a, PgmBlock *b, Rows *rows, const long *moving, long n_moving)
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
  const double value = moving ? pgm_block_run_units(b, moving, n_moving) : pgm_block_run(b);
  for (int i = 0; i < a->n; i++) {
    const Rows *r = &rows[i];
    double *restrict slope = r->slope;
    const double *restrict sd = r->sd, *restrict sd_bar = r->sd_bar;
    for (long e = 0; e < r->entries; e++) slope[e] = sd[e] * sd_bar[e] + 1;
    if (moving) recall_slopes(r);
  }
  return value + jacobian + entropy;
}

/* How many elements the row stands for. */
static inline double members_of(const Family *family, const Rows *r, long row)
{
  return r->members ? r->members[row / family->stride] : 1;
}

/* The block's part of the ELBO where its rows are, each as often as its class has members: what is to be added up for shared families with it. */
static double evaluate_members(const PgmFused *f, const Axis *a, PgmBlock *b, Rows *rows)
{
  double sum = 0;
  for (int i = 0; i < a->n; i++) {
    const Family *family = &a->family[i];
    const Rows *r = &rows[i];
    const long w = family->w, base = r->row * w;
    for (long e = 0; e < r->entries; e++) r->sd[e] = exp(r->log_sd[e]);
    memset(r->mean_bar, 0, (size_t)r->entries * sizeof *r->sd);
    memset(r->sd_bar, 0, (size_t)r->entries * sizeof *r->sd);
    for (long row = 0; row < r->rows; row++) {
      double value = pgm_jacobian_part(f->s, family->source->family, r->row + row, r->row + row + 1, r->mean - base, r->sd - base, r->mean_bar - base, r->sd_bar - base);
      for (long e = row * w; e < (row + 1) * w; e++) value += r->log_sd[e] + HALF_LOG_2PI_E;
      sum += members_of(family, r, row) * value;
    }
  }
  return sum + pgm_block_run_members(b);
}

/* Nats that further steps promise at the points under trial, before they are judged. */
static double promise(const Axis *a, const Rows *rows)
{
  double sum = 0;
  for (int i = 0; i < a->n; i++) {
    const Rows *r = &rows[i];
    const long w = a->family[i].w;
    if (!r->members) sum += pgm_newton_promise(r->entries, r->sd, r->mean_bar, r->slope);
    for (long row = 0; row < r->rows && r->members; row++)
      sum += members_of(&a->family[i], r, row) * pgm_newton_promise(w, r->sd + row * w, r->mean_bar + row * w, r->slope + row * w);
  }
  return sum;
}

/* Judges the points under trial. Returns the nats that further steps promise. */
static double judge(const Axis *a, Rows *rows, bool fresh, long *rejected)
{
  double sum = 0;
  for (int i = 0; i < a->n; i++) {
    Rows *r = &rows[i];
    const double gain = pgm_newton_judge(&r->newton, fresh, 0, r->rows, r->mean, r->log_sd, r->sd, r->mean_bar, r->slope, rejected);
    if (!r->members) sum += gain;
    for (long row = 0; row < r->rows && r->members; row++) sum += members_of(&a->family[i], r, row) * r->newton.left[row];
  }
  return sum;
}

/* Newton steps of the block's rows until each promises no more than `enough`; what still moves alone is evaluated. Returns the block's value where they end;
 * *left: what they still promise. */
static double climb(const PgmFused *f, const Axis *a, PgmBlock *b, Rows *rows, double enough, int most, double *left)
{
  const long *moving = NULL;
  long *list = a->moving + b->thread * a->block, n_moving = b->count;
  double value = 0, best = -INFINITY, elements = 0, evaluated = 0;
  int since_best = 0;
  for (int i = 0; i < a->n; i++) {
    rows[i].newton.enough = enough;
    evaluated += (double)rows[i].rows;
    elements += rows[i].members ? 0 : (double)rows[i].rows;
    for (long row = 0; row < rows[i].rows && rows[i].members; row++) elements += members_of(&a->family[i], &rows[i], row);
  }
  for (int k = 0;; k++) {
    long rejected = 0;
    value = evaluate(f, a, b, rows, moving, n_moving);
    *left = promise(a, rows);
    if (*left <= enough * elements) break;
    *left = judge(a, rows, k == 0, &rejected);
    if (*left <= enough * elements && !rejected) break; /* what is not finite promises nothing */
    since_best = value > best + fmax(enough * evaluated, 1e-14 * fabs(value)) ? 0 : since_best + 1;
    best = fmax(best, value);
    const bool last = k >= most || since_best > PATIENCE;
    for (int i = 0; i < a->n; i++) pgm_newton_put(&rows[i].newton, last ? 0 : 1, 0, rows[i].rows, rows[i].mean, rows[i].log_sd);
    if (last) return rejected || moving ? evaluate(f, a, b, rows, NULL, 0) : value;
    const long still = count_moving(a, b, rows, list);
    if (4 * still <= 3 * n_moving) { /* fewer by so much that gathering pays; what comes now is of other units */
      n_moving = still;
      best = -INFINITY;
      since_best = 0;
    }
    if (n_moving < b->count) {
      moving = list;
      n_moving = find_moving(a, b, rows, list);
    }
  }
  return moving ? evaluate(f, a, b, rows, NULL, 0) : value;
}

static double solve_block(PgmBlock *b, void *data)
{
  const Job *job = data;
  const PgmFused *f = job->f;
  const Axis *a = job->axis;
  Rows *rows = a->rows + b->thread * a->n;
  for (int i = 0; i < a->n; i++) load(f, a, &a->family[i], b, &rows[i]);
  double value = climb(f, a, b, rows, f->enough / f->elements, MOST_STEPS, &a->left[(b->first - a->first) / a->block]);
  if (a->alike) value = evaluate_members(f, a, b, rows);
  for (int i = 0; i < a->n; i++) store(&a->family[i], &rows[i], f->to);
  return value;
}

/* ---- other starts -------------------------------------------------------------------------------------------------------------------- */

/* Where to look for other modes: at points on a line through all of the family's elements, or on one through the element's own mean, along one entry. */
typedef struct {
  int entry; /* -1: through all elements, in their spreads; else in the element's own sd */
  int points;
  double reach;
  bool wide; /* factors there are as wide as they are far from the element's own, which they cover as well */
} Line;

/* A thread's memory. Values are per unit, minus infinity where a unit has no row. */
typedef struct {
  double **mean, **log_sd;   /* the best so far, of each family */
  double *best, *other;      /* values there and elsewhere */
  double *point[POINTS];     /* values at the points of the line */
  double *room;
  int *chosen;               /* of each unit, the points that it starts from, STARTS each; -1: none */
} Search;

typedef struct {
  PgmFused *f;
  Axis *axis;
  double *center, *spread; /* per axis' family and entry of its elements */
  Search *search;          /* per thread */
  double **parts;          /* what their `mean` and `log_sd` point to */
  double *locals;
} RestartJob;

static double line_point(const Line *line, int k)
{
  return line->reach * (2.0 * k / (line->points - 1) - 1);
}

/* The row of family i that the unit has, relative to those of the block; -1: none. */
static long row_of_unit(const Family *family, const Rows *r, long unit)
{
  const long row = unit - family->first - r->row;
  return row >= 0 && row < r->rows ? row : -1;
}

/* Values of the block's units where the rows are. */
static void unit_values(const PgmFused *f, const Axis *a, const PgmBlock *b, const Rows *rows, double *room, double *out)
{
  for (int i = 0; i < a->n; i++)
    for (long e = 0; e < rows[i].entries; e++) rows[i].sd[e] = exp(rows[i].log_sd[e]);
  pgm_block_units(b, out, room);
  for (int i = 0; i < a->n; i++) {
    const Family *family = &a->family[i];
    const Rows *r = &rows[i];
    const long w = family->w, base = r->row * w;
    const bool plain = f->s->model->families[family->source->family].transform == PGM_IDENTITY;
    for (long row = 0; row < r->rows; row++) {
      double *value = &out[family->first + r->row + row - b->first];
      for (long e = row * w; e < (row + 1) * w; e++) *value += r->log_sd[e];
      if (!plain)
        *value += pgm_jacobian_part(f->s, family->source->family, r->row + row, r->row + row + 1, r->mean - base, r->sd - base, r->mean_bar - base,
                                    r->sd_bar - base);
    }
  }
}

/* Is point k the top of another hill than the one that the row is on: higher than its neighbours, the row's own place among these, whose value is `own`? */
static bool is_top(const Search *z, const Line *line, long unit, int k, double own_place, double own)
{
  const double value = z->point[k][unit], here = line_point(line, k);
  double left = k ? z->point[k - 1][unit] : -INFINITY, right = k + 1 < line->points ? z->point[k + 1][unit] : -INFINITY;
  if (own_place <= here && (!k || own_place > line_point(line, k - 1))) left = own;
  if (own_place >= here && (k + 1 == line->points || own_place < line_point(line, k + 1))) right = own;
  return value > left && value >= right;
}

/* Is a factor t sds away and |t| times as wide better than it would be over a Gaussian posterior? There it loses t^2 - 1/2 - log |t| nats: something must be
 * where it loses less than half of that. */
static bool covers(const Search *z, const Line *line, long unit, int k)
{
  const double t = line_point(line, k);
  return t != 0 && z->point[k][unit] > z->best[unit] - 0.5 * (t * t - 0.5 - log(fabs(t)));
}

/* Which points of the line the row starts from: the highest ones. */
static void choose_points(const Search *z, const Line *line, long unit, double own_place, double own, int *chosen)
{
  double height[STARTS];
  for (int c = 0; c < STARTS; c++) chosen[c] = -1;
  for (int k = 0; k < line->points; k++) {
    const double value = z->point[k][unit];
    if (!(line->wide ? covers(z, line, unit, k) : is_top(z, line, unit, k, own_place, own))) continue;
    int c = STARTS;
    while (c > 0 && (chosen[c - 1] < 0 || value > height[c - 1])) c--;
    if (c == STARTS) continue;
    for (int later = STARTS - 1; later > c; later--) {
      chosen[later] = chosen[later - 1];
      height[later] = height[later - 1];
    }
    chosen[c] = k;
    height[c] = value;
  }
}

/* All rows where they are best so far. */
static void recall_best(const Axis *a, const Search *z, Rows *rows)
{
  for (int i = 0; i < a->n; i++) {
    memcpy(rows[i].mean, z->mean[i], (size_t)rows[i].entries * sizeof *rows[i].mean);
    memcpy(rows[i].log_sd, z->log_sd[i], (size_t)rows[i].entries * sizeof *rows[i].mean);
  }
}

/* Entry e of family i at point k of the line. Where the line is not wide, its sd is at most the distance of points: a factor so wide that it covers several
 * modes would see none of them. k < 0: only the sd. Returns whether it was wider. */
static bool put_on_line(const RestartJob *job, const Search *z, const Line *line, int i, Rows *r, long e, int k)
{
  const long w = job->axis->family[i].w, entry = e % w;
  const bool own = line->entry >= 0;
  if (own && entry != line->entry) return false;
  if (line->wide && k < 0) return false;
  const double unit = own ? exp(z->log_sd[i][e]) : job->spread[i * PGM_NEWTON_COORDINATES + entry];
  const double most = log(fmax(unit * (line_point(line, 1) - line_point(line, 0)), DBL_MIN));
  if (k >= 0) r->mean[e] = (own ? z->mean[i][e] : job->center[i * PGM_NEWTON_COORDINATES + entry]) + line_point(line, k) * unit;
  r->log_sd[e] = line->wide ? z->log_sd[i][e] + log(fmax(fabs(line_point(line, k)), 1)) : fmin(z->log_sd[i][e], most);
  return z->log_sd[i][e] > most;
}

/* Does every row of the unit promise so little that it is at an optimum? */
static bool settled(const Axis *a, const Rows *rows, long unit)
{
  bool all = true;
  for (int i = 0; i < a->n; i++) {
    const long row = row_of_unit(&a->family[i], &rows[i], unit);
    all = all && (row < 0 || rows[i].newton.left[row] < SETTLED);
  }
  return all;
}

/* Where the unit's rows ended is the best so far. */
static void keep_unit(const Axis *a, const Search *z, const Rows *rows, long unit)
{
  for (int i = 0; i < a->n; i++) {
    const long w = a->family[i].w, row = row_of_unit(&a->family[i], &rows[i], unit);
    if (row < 0) continue;
    memcpy(z->mean[i] + row * w, rows[i].mean + row * w, (size_t)w * sizeof *rows[i].mean);
    memcpy(z->log_sd[i] + row * w, rows[i].log_sd + row * w, (size_t)w * sizeof *rows[i].mean);
  }
}

/* Units look along the line of family i, and climb from what is higher than its neighbours. Returns their gain. */
static double search_line(const RestartJob *job, PgmBlock *b, Rows *rows, int i, const Line *line)
{
  const PgmFused *f = job->f;
  const Axis *a = job->axis;
  const Search *z = &job->search[b->thread];
  Rows *r = &rows[i];
  const long w = a->family[i].w, offset = a->family[i].first + r->row - b->first; /* the first row's unit */
  const double *center = job->center + i * PGM_NEWTON_COORDINATES, *spread = job->spread + i * PGM_NEWTON_COORDINATES;
  double gain = 0, left;
  bool narrower = false;
  const double *own = z->best;
  recall_best(a, z, rows);
  for (long e = 0; e < r->entries; e++) narrower |= put_on_line(job, z, line, i, r, e, -1);
  if (narrower) {
    unit_values(f, a, b, rows, z->room, z->other);
    own = z->other;
  }
  for (int k = 0; k < line->points; k++) {
    if (line->wide && line_point(line, k) == 0) continue;
    for (long e = 0; e < r->entries; e++) put_on_line(job, z, line, i, r, e, k);
    unit_values(f, a, b, rows, z->room, z->point[k]);
  }
  for (long row = 0; row < r->rows; row++) {
    double place = 0;
    for (long k = 0; k < w && line->entry < 0; k++) place += (z->mean[i][row * w + k] - center[k]) / (spread[k] * (double)w);
    choose_points(z, line, offset + row, place, own[offset + row], z->chosen + STARTS * row);
  }
  for (int c = 0; c < STARTS; c++) {
    long starts = 0;
    recall_best(a, z, rows);
    for (long row = 0; row < r->rows; row++) {
      const int k = z->chosen[STARTS * row + c];
      starts += k >= 0;
      for (long e = row * w; e < (row + 1) * w && k >= 0; e++) put_on_line(job, z, line, i, r, e, k);
    }
    if (!starts) break;
    climb(f, a, b, rows, ENOUGH, STEPS_FROM_START, &left);
    unit_values(f, a, b, rows, z->room, z->other);
    for (long row = 0; row < r->rows; row++) {
      const long unit = offset + row;
      const double more = z->other[unit] - z->best[unit];
      if (z->chosen[STARTS * row + c] < 0 || !(more > BETTER) || !settled(a, rows, b->first + unit)) continue;
      gain += more * members_of(&a->family[i], r, row);
      z->best[unit] = z->other[unit];
      keep_unit(a, z, rows, b->first + unit);
    }
  }
  return gain;
}

static double restart_block(PgmBlock *b, void *data)
{
  const RestartJob *job = data;
  const PgmFused *f = job->f;
  const Axis *a = job->axis;
  const Search *z = &job->search[b->thread];
  Rows *rows = a->rows + b->thread * a->n;
  double gain = 0;
  for (int i = 0; i < a->n; i++) {
    load(f, a, &a->family[i], b, &rows[i]);
    memcpy(z->mean[i], rows[i].mean, (size_t)rows[i].entries * sizeof *z->mean[i]);
    memcpy(z->log_sd[i], rows[i].log_sd, (size_t)rows[i].entries * sizeof *z->mean[i]);
  }
  unit_values(f, a, b, rows, z->room, z->best);
  for (int i = 0; i < a->n; i++) {
    if (f->s->model->families[a->family[i].source->family].concave) continue;
    gain += search_line(job, b, rows, i, &(Line){.entry = -1, .points = POINTS, .reach = REACH});
    for (int entry = 0; entry < a->family[i].w && a->family[i].w <= MOST_ENTRIES; entry++) {
      gain += search_line(job, b, rows, i, &(Line){.entry = entry, .points = OWN_POINTS, .reach = OWN_REACH});
      gain += search_line(job, b, rows, i, &(Line){.entry = entry, .points = WIDE_POINTS, .reach = WIDE_REACH, .wide = true});
    }
  }
  recall_best(a, z, rows);
  for (int i = 0; i < a->n; i++) store(&a->family[i], &rows[i], job->locals);
  return gain;
}

/* Mean and standard deviation over the family's elements of what their factors say, per entry. `members`: of classes, or NULL. */
static void measure_family(const Family *family, const double *members, const double *at, double *center, double *spread)
{
  const long w = family->w, n = family->rows;
  const double all = (double)family->source->rows;
  const double *mean = at + family->at, *log_sd = mean + n * w;
  for (long k = 0; k < w; k++) {
    double sum = 0, square = 0;
    for (long r = 0; r < n; r++) {
      const double m = mean[r * w + k], sd = exp(log_sd[r * w + k]), times = members ? members[r / family->stride] : 1;
      sum += times * m;
      square += times * (m * m + sd * sd);
    }
    center[k] = sum / all;
    spread[k] = sqrt(fmax(square / all - center[k] * center[k], 0));
  }
}

/* Memory of the job: the measures, then what each thread needs; NULL: none left. */
static double *open_search(RestartJob *job, int threads)
{
  const Axis *a = job->axis;
  const size_t block = whole_lines((size_t)a->block), room = whole_lines((size_t)pgm_blocks_room(a->blocks, a->block));
  size_t entries = 0;
  for (int i = 0; i < a->n; i++) entries += whole_lines((size_t)(a->block * a->family[i].w));
  const size_t measures = (size_t)(2 * a->n * PGM_NEWTON_COORDINATES), each = 2 * entries + (2 + POINTS + STARTS) * block + room;
  double *memory = calloc(measures + each * (size_t)threads, sizeof *memory);
  job->search = calloc((size_t)threads, sizeof *job->search);
  job->parts = calloc((size_t)(2 * a->n * threads), sizeof *job->parts);
  if (!memory || !job->search || !job->parts) {
    free(memory);
    return NULL;
  }
  job->center = memory;
  job->spread = memory + a->n * PGM_NEWTON_COORDINATES;
  for (int t = 0; t < threads; t++) {
    double *at = memory + measures + each * (size_t)t;
    Search *z = &job->search[t];
    z->mean = job->parts + 2 * a->n * t;
    z->log_sd = z->mean + a->n;
    z->best = at + 2 * entries;
    for (int i = 0; i < a->n; i++) {
      z->mean[i] = at;
      z->log_sd[i] = at + entries;
      at += whole_lines((size_t)(a->block * a->family[i].w));
    }
    z->other = z->best + block;
    for (int k = 0; k < POINTS; k++) z->point[k] = z->other + (size_t)(k + 1) * block;
    z->chosen = (int *)(z->other + (1 + POINTS) * block);
    z->room = z->other + (1 + POINTS + STARTS) * block;
  }
  return memory;
}

PgmStatus pgm_fused_restart(PgmFused *f, const double *x, double *locals, double *gain, PgmError *error)
{
  *gain = -1;
  for (int k = 0; k < f->n_axes; k++)
    for (int i = 0; i < f->axis[k].n; i++)
      if (f->axis[k].family[i].stride != 1) return PGM_OK;
  *gain = 0;
  pgm_sources_forward(f->q, x, f->none);
  f->from = locals;
  for (int k = 0; k < f->n_axes; k++) {
    RestartJob job = {.f = f, .axis = &f->axis[k], .locals = locals};
    const double *members = job.axis->alike ? pgm_alike_members(job.axis->alike) : NULL;
    double *memory = open_search(&job, f->s->threads);
    for (int i = 0; i < f->axis[k].n && memory; i++)
      measure_family(&f->axis[k].family[i], members, locals, job.center + i * PGM_NEWTON_COORDINATES, job.spread + i * PGM_NEWTON_COORDINATES);
    if (memory) *gain += pgm_blocks_run(f->axis[k].blocks, f->axis[k].block, restart_block, &job);
    free(job.search);
    free(job.parts);
    free(memory);
    if (!memory) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  return PGM_OK;
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
