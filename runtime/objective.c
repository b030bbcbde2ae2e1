/* The ELBO: see objective.h. */
#include "objective.h"

#include <stdlib.h>
#include <string.h>

#include "fused.h"

enum {
  DEFAULT_FRESH = 1,
  MOST_DRAWS = 65535,
  BLOCK_ENTRIES = 512, /* drawn at a time: some eight arrays of them are to stay in the first-level cache */
  MOST_SHARED = 256,   /* entries that a block adds to shared families, in each draw; more would outweigh its own */
  MOST_COPIES = 1 << 15 /* of all draws */
};
static const double HALF_LOG_2PI_E = 1.41893853320467274178;

/* Rows of a family by the unit of the batch axis that they belong to: rows row[start[u - lo]] .. row[start[u - lo + 1] - 1]. */
typedef struct {
  bool follows;                           /* has the axis; otherwise every row takes part in every batch */
  bool always;                            /* all rows are needed though only the batch's own count (hubs, sums) */
  long lo, units, *start, *row, *inverse; /* inverse: flat -> row; NULL: the same */
  long *unit;                             /* of each row */
  long *stamp, *picked;
  double *weight;
} Axis;

/* An axis whose plates draw their own variables, block of units by block of units: all of it runs on one thread for all draws, and stays in the cache.
 * Possible where the plates own these variables and share others of few entries. */
typedef struct {
  int source;         /* in PgmSources */
  long first, stride; /* unit u has elements (u - first) * stride .. + stride - 1 */
} Family;
typedef struct {
  int n;
  Family *family;
  PgmBlocks *blocks;
  long first, units, block; /* units per block */
  double *value;            /* [block][draw] */
} BlockAxis;

struct PgmObjective {
  PgmSession *s;
  PgmSources *q;
  PgmObjectiveOptions options;
  bool expected, sampled;
  PgmKernelKind kind;            /* of the sampled terms */
  long entries, *offset;         /* unconstrained entries of all sources; where each source's begin */
  double *u, *eps, *u_bar, *tmp; /* draws, `entries` each */
  double *quantile;
  uint16_t *order; /* fixed draws: eps of entry e in draw d is quantile[order[d * entries + e]] */
  double *draw_value;
  Axis *axis; /* per source */
  PgmRows *rows;
  const PgmRows *touched;
  long epoch, *targets, targets_size;
  int n_block_axes;
  BlockAxis *block_axis;
  bool *on_block_axis, *in_blocks; /* by axis of the model; by source */
  long *shared_at, shared_size;    /* by source: where its values stand in those of a draw, -1: nowhere */
  double *shared_values;
};

bool pgm_needs_draws(const PgmModel *m)
{
  for (int p = 0; p < m->n_plates; p++)
    if (m->plates[p].rest) return true;
  return false;
}

double pgm_element_entropy(const PgmLayout *l, long element)
{
  double sum = 0;
  for (long k = element * l->uwidth; k < (element + 1) * l->uwidth; k++)
    if (l->table)
      sum -= l->mean[k] > 0 ? l->mean[k] * log(l->mean[k]) : 0;
    else
      sum += log(l->sd[k]) + HALF_LOG_2PI_E;
  return sum;
}

double pgm_entropy(const PgmSession *s)
{
  double total = 0;
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    if (!pgm_is_latent(&s->model->families[f]) || s->model->families[f].role == PGM_PARAM) continue;
    for (long r = 0; r < l->defined; r++) total += pgm_element_entropy(l, l->list ? l->list[r] : r);
  }
  return total;
}

/* ---- opening ------------------------------------------------------------------------------------------------------------------------- */

/* Inverse of the standard normal distribution function by Newton's method on the complementary error function; p in (0, 1). */
static double normal_quantile(double p)
{
  double x = 0;
  for (int k = 0; k < 60; k++) {
    double density = exp(-0.5 * x * x) * 0.39894228040143267794;
    double step = (0.5 * erfc(-x * 0.70710678118654752440) - p) / density;
    step = fmin(fmax(step, -1), 1);
    x -= step;
    if (fabs(step) < 1e-14) break;
  }
  return x;
}

/* More draws where they cost little: an optimum fitted to few of them is off. */
static int default_fixed(long entries)
{
  return entries <= 1000 ? 256 : entries <= 10000 ? 128 : entries <= 100000 ? 64 : 32;
}

static bool make_fixed(PgmObjective *o)
{
  const int n = o->options.draws;
  o->quantile = malloc((size_t)n * sizeof *o->quantile);
  o->order = malloc(((size_t)n * (size_t)o->entries + 1) * sizeof *o->order);
  if (!o->quantile || !o->order) return false;
  double square = 0;
  for (int d = 0; d < n; d++) o->quantile[d] = normal_quantile((d + 0.5) / n);
  for (int d = 0; d < n / 2; d++) o->quantile[n - 1 - d] = -o->quantile[d]; /* centred exactly */
  if (n % 2) o->quantile[n / 2] = 0;
  for (int d = 0; d < n; d++) square += o->quantile[d] * o->quantile[d];
  for (int d = 0; d < n && square > 0; d++) o->quantile[d] *= sqrt(n / square); /* unit variance */
  const PgmKey key = {o->options.seed, (uint64_t)o->options.set, 0xF1CEDu};
#pragma omp parallel for schedule(static) num_threads(o->s->threads) if (o->s->threads > 1 && o->entries > PGM_PIECE)
  for (long e = 0; e < o->entries; e++) { /* Fisher & Yates */
    for (int d = 0; d < n; d++) o->order[(size_t)d * (size_t)o->entries + (size_t)e] = (uint16_t)d;
    for (int d = n - 1; d > 0; d--) {
      int j = (int)(pgm_philox_uniform(key, (uint64_t)e * (uint64_t)n + (uint64_t)d) * (d + 1));
      uint16_t *a = &o->order[(size_t)d * (size_t)o->entries + (size_t)e], *b = &o->order[(size_t)j * (size_t)o->entries + (size_t)e],
               t = *a;
      *a = *b;
      *b = t;
    }
  }
  return true;
}

static bool make_axis(PgmObjective *o, int i)
{
  const PgmModel *m = o->s->model;
  const PgmSource *f = &o->q->source[i];
  const PgmFamily *family = &m->families[f->family];
  const PgmLayout *l = &o->s->layout[f->family];
  Axis *a = &o->axis[i];
  int k = 0;
  while (k < family->n_index && family->axis[k] != o->options.axis) k++;
  if (k == family->n_index || !f->local) return true;
  a->follows = true;
  for (int p = 0; p < m->n_plates; p++)
    for (const int *shared = m->plates[p].shared; shared && *shared >= 0; shared++) a->always = a->always || *shared == f->family;
  a->lo = l->lo[k];
  a->units = l->hi[k] - l->lo[k] + 1;
  size_t rows = (size_t)f->rows + 1;
  a->start = calloc((size_t)a->units + 2, sizeof *a->start);
  a->row = malloc(rows * sizeof *a->row);
  a->unit = malloc(rows * sizeof *a->unit);
  a->stamp = calloc(rows, sizeof *a->stamp);
  a->picked = malloc(rows * sizeof *a->picked);
  a->weight = malloc(rows * sizeof *a->weight);
  if (l->list) a->inverse = malloc(((size_t)l->elements + 1) * sizeof *a->inverse);
  if (!a->start || !a->row || !a->unit || !a->stamp || !a->picked || !a->weight || (l->list && !a->inverse)) return false;
  for (long r = 0; r < f->rows; r++) {
    long flat = l->list ? l->list[r] : r;
    if (l->list) a->inverse[flat] = r;
    a->unit[r] = flat / l->stride[k] % a->units;
    a->start[a->unit[r] + 2]++;
  }
  for (long u = 0; u < a->units; u++) a->start[u + 2] += a->start[u + 1];
  for (long r = 0; r < f->rows; r++) a->row[a->start[a->unit[r] + 1]++] = r;
  return true;
}

void pgm_objective_close(PgmObjective *o)
{
  if (!o) return;
  for (int i = 0; o->axis && i < o->q->n; i++) {
    Axis *a = &o->axis[i];
    free(a->start);
    free(a->row);
    free(a->inverse);
    free(a->unit);
    free(a->stamp);
    free(a->picked);
    free(a->weight);
  }
  for (int a = 0; o->block_axis && a <= o->n_block_axes; a++) { /* one more: where opening failed */
    pgm_blocks_close(o->block_axis[a].blocks);
    free(o->block_axis[a].family);
    free(o->block_axis[a].value);
  }
  free(o->block_axis);
  free(o->on_block_axis);
  free(o->in_blocks);
  free(o->shared_at);
  free(o->shared_values);
  free(o->axis);
  free(o->rows);
  free(o->targets);
  free(o->offset);
  free(o->u);
  free(o->quantile);
  free(o->order);
  free(o->draw_value);
  free(o);
}

/* The families that an axis' plates own, if each is owned by plates of this axis alone, under its first index, and nothing else is in the way. */
static bool axis_families(const PgmObjective *o, int axis, BlockAxis *a)
{
  const PgmModel *m = o->s->model;
  for (int r = 0; r < m->n_refs; r++)
    if (m->plates[m->refs[r].plate].axis == axis) return false;
  for (int p = 0; p < m->n_plates; p++)
    if (m->plates[p].axis == axis && (m->plates[p].block < 0 || (m->plates[p].single && o->kind == PGM_KERNEL_SINGLE))) return false;
  for (int i = 0; i < o->q->n; i++) {
    const PgmSource *f = &o->q->source[i];
    const PgmLayout *l = &o->s->layout[f->family];
    bool owned = false, indexed = false;
    long offset = 0;
    for (int k = 0; k < m->families[f->family].n_index && f->local; k++) indexed = indexed || m->families[f->family].axis[k] == axis;
    for (int p = 0; p < m->n_plates; p++)
      for (const PgmOwn *own = m->plates[p].own; own && own->family >= 0 && m->plates[p].axis == axis && !pgm_plate_idle(o->s, p, o->kind); own++)
        owned = owned || own->family == f->family;
    if (!owned && !indexed) continue;
    if (!owned || !f->local || l->list || pgm_own_axis(o->s, f->family, o->kind, &offset) != axis) return false;
    a->family[a->n++] = (Family){i, l->lo[0] - offset, l->stride[0]};
  }
  return true;
}

/* Does a plate of the axis add to the source's family for all its units? */
static bool axis_shares(const PgmObjective *o, int axis, int source)
{
  const PgmModel *m = o->s->model;
  for (int p = 0; p < m->n_plates; p++)
    for (const int *shared = m->plates[p].shared; shared && *shared >= 0 && m->plates[p].axis == axis; shared++)
      if (*shared == o->q->source[source].family) return true;
  return false;
}

/* False: out of memory. */
static bool open_blocks(PgmObjective *o)
{
  const PgmModel *m = o->s->model;
  o->block_axis = calloc((size_t)m->n_axes + 1, sizeof *o->block_axis);
  o->on_block_axis = calloc((size_t)m->n_axes + 1, sizeof *o->on_block_axis);
  o->in_blocks = calloc((size_t)o->q->n + 1, sizeof *o->in_blocks);
  o->shared_at = malloc(((size_t)o->q->n + 1) * sizeof *o->shared_at);
  if (!o->block_axis || !o->on_block_axis || !o->in_blocks || !o->shared_at) return false;
  for (int i = 0; i < o->q->n; i++) o->shared_at[i] = -1;
  for (int axis = 0; axis < m->n_axes; axis++) {
    BlockAxis *a = &o->block_axis[o->n_block_axes];
    long entries = 1, shared = 0;
    for (int i = 0; i < o->q->n; i++) {
      const PgmLayout *l = &o->s->layout[o->q->source[i].family];
      if (axis_shares(o, axis, i)) shared += l->elements * (l->table ? 2 * l->uwidth : l->width);
    }
    if (shared > MOST_SHARED || shared * o->options.draws > MOST_COPIES) continue;
    if (!(a->family = calloc((size_t)o->q->n + 1, sizeof *a->family))) return false;
    if (axis_families(o, axis, a) && pgm_blocks_open(&a->blocks, o->s, axis, o->kind, o->options.draws, NULL)) return false;
    if (a->blocks) a->first = pgm_blocks_first(a->blocks, &a->units);
    if (!a->units) {
      pgm_blocks_close(a->blocks);
      free(a->family);
      *a = (BlockAxis){0};
      continue;
    }
    for (int i = 0; i < o->q->n; i++) {
      const PgmLayout *l = &o->s->layout[o->q->source[i].family];
      if (l->table || o->shared_at[i] >= 0 || !axis_shares(o, axis, i)) continue;
      o->shared_at[i] = o->shared_size;
      o->shared_size += l->elements * l->width;
    }
    for (int k = 0; k < a->n; k++) {
      const int i = a->family[k].source;
      const long own = a->family[k].stride * o->q->source[i].uwidth;
      o->in_blocks[i] = true;
      entries = own > entries ? own : entries;
    }
    o->on_block_axis[axis] = true;
    o->n_block_axes++;
    a->block = entries >= BLOCK_ENTRIES ? 1 : BLOCK_ENTRIES / entries;
    a->value = malloc(sizeof *a->value * (size_t)((a->units + a->block - 1) / a->block) * (size_t)o->options.draws);
    if (!a->value) return false;
  }
  o->shared_values = malloc(((size_t)o->shared_size * (size_t)o->options.draws + 1) * sizeof *o->shared_values);
  return o->shared_values != NULL;
}

/* Room for the targets of the references that a batch of any size makes. */
static long count_targets(const PgmObjective *o)
{
  const PgmModel *m = o->s->model;
  long most = 0;
  for (int r = 0; r < m->n_refs; r++) {
    const int p = m->refs[r].plate;
    if (m->plates[p].axis != o->options.axis) continue;
    long n = m->refs[r].width(o->s->env) * (o->s->shape.plate_hi[p] - o->s->shape.plate_lo[p] + 1);
    most = n > most ? n : most;
  }
  return most;
}

PgmStatus pgm_objective_open(PgmObjective **out, PgmSession *s, PgmSources *q, const PgmObjectiveOptions *options, PgmError *error)
{
  *out = NULL;
  PgmObjective *o = calloc(1, sizeof *o);
  if (!o) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  o->s = s;
  o->q = q;
  o->options = *options;
  o->kind = options->all_points ? PGM_KERNEL_POINT : options->fresh && pgm_has_single(s->model) ? PGM_KERNEL_SINGLE : PGM_KERNEL_REST;
  o->sampled = !options->teacher_mean && (options->all_points || pgm_needs_draws(s->model));
  for (int p = 0; p < s->model->n_plates && !options->all_points; p++) o->expected = o->expected || s->model->plates[p].expected;
  o->offset = calloc((size_t)q->n + 1, sizeof *o->offset);
  bool ok = o->offset != NULL;
  for (int i = 0; i < q->n && ok; i++) {
    o->offset[i] = o->entries;
    o->entries += s->layout[q->source[i].family].elements * q->source[i].uwidth;
  }
  if (ok) o->u = calloc((size_t)(4 * o->entries) + 1, sizeof *o->u);
  if (o->options.draws <= 0) o->options.draws = options->fresh ? DEFAULT_FRESH : default_fixed(o->entries);
  if (o->options.draws > MOST_DRAWS) o->options.draws = MOST_DRAWS;
  o->draw_value = calloc((size_t)o->options.draws, sizeof *o->draw_value);
  ok = ok && o->u && o->draw_value;
  if (ok) {
    pgm_large_pages(o->u, (size_t)(4 * o->entries) * sizeof *o->u);
    o->eps = o->u + o->entries;
    o->u_bar = o->eps + o->entries;
    o->tmp = o->u_bar + o->entries;
  }
  if (ok && o->sampled && !options->fresh) ok = make_fixed(o);
  if (ok && o->sampled) ok = open_blocks(o);
  if (ok && options->axis >= 0) {
    o->axis = calloc((size_t)q->n + 1, sizeof *o->axis);
    o->rows = calloc((size_t)q->n + 1, sizeof *o->rows);
    ok = o->axis && o->rows;
    for (int i = 0; i < q->n && ok; i++) ok = make_axis(o, i);
    o->targets_size = count_targets(o);
    o->targets = malloc((size_t)(o->targets_size + 1) * sizeof *o->targets);
    ok = ok && o->targets;
  }
  if (!ok) {
    pgm_objective_close(o);
    return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  *out = o;
  return PGM_OK;
}

bool pgm_objective_divides(const PgmObjective *o)
{
  const PgmModel *m = o->s->model;
  const int axis = o->options.axis;
  if (axis < 0 || o->sampled) return false;
  for (int i = 0; i < o->q->n; i++) {
    const PgmSource *f = &o->q->source[i];
    if (!f->local) continue;
    if (f->kind != PGM_FUNCTION || !o->axis[i].follows || o->axis[i].always) return false;
    for (int p = 0; p < m->n_plates; p++)
      for (const PgmOwn *own = m->plates[p].own; own && own->family >= 0; own++)
        if (own->family == f->family && m->plates[p].axis != axis) return false;
    for (int r = 0; r < m->n_refs; r++)
      if (m->refs[r].family == f->family && m->plates[m->refs[r].plate].axis != axis) return false;
  }
  return true;
}

bool pgm_objective_samples(const PgmObjective *o)
{
  return o->sampled;
}
int pgm_objective_draws(const PgmObjective *o)
{
  return o->options.draws;
}
const PgmRows *pgm_objective_rows(const PgmObjective *o)
{
  return o->touched;
}

/* ---- minibatches --------------------------------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
  const long x = *(const long *)a, y = *(const long *)b;
  return (x > y) - (x < y);
}

static void pick(Axis *a, long row, long epoch, long *n)
{
  if (a->stamp[row] == epoch) return;
  a->stamp[row] = epoch;
  a->picked[(*n)++] = row;
}

/* Rows of each source that the batch's terms touch: those of its own units (weighted) and, with weight 0, the others they refer to. */
static const PgmRows *select_rows(PgmObjective *o, const PgmBatch *batch)
{
  const PgmModel *m = o->s->model;
  o->epoch++;
  for (int i = 0; i < o->q->n; i++) {
    const PgmSource *f = &o->q->source[i];
    const PgmLayout *l = &o->s->layout[f->family];
    Axis *a = &o->axis[i];
    o->rows[i] = (PgmRows){f->rows, NULL, NULL};
    if (!a->follows) continue;
    long n = 0, own = o->epoch;
    for (long k = 0; k < batch->count; k++) {
      long u = batch->units[k] - a->lo;
      if (u < 0 || u >= a->units) continue;
      for (long j = a->start[u]; j < a->start[u + 1]; j++) pick(a, a->row[j], own, &n);
    }
    long in_batch = n;
    for (long j = 0; j < in_batch; j++) a->weight[a->picked[j]] = batch->weight;
    for (long r = 0; a->always && r < f->rows; r++) pick(a, r, own, &n);
    for (int r = 0; r < m->n_refs && !a->always; r++) {
      if (m->refs[r].family != f->family || m->plates[m->refs[r].plate].axis != batch->axis) continue;
      const int p = m->refs[r].plate;
      const long width = m->refs[r].width(o->s->env), lo = o->s->shape.plate_lo[p], hi = o->s->shape.plate_hi[p];
      long first = 0, last = batch->count; /* units of the plate */
      while (first < last && batch->units[first] < lo) first++;
      while (last > first && batch->units[last - 1] > hi) last--;
      if (first == last || !width) continue;
      const PgmSpan span = {.count = last - first, .units = batch->units + first, .weight = 1};
      m->refs[r].targets(o->s->env, &span, o->targets);
      for (long k = 0; k < span.count * width; k++)
        if (o->targets[k] >= 0) {
          long flat = o->targets[k] / (f->table ? l->uwidth : l->width);
          pick(a, a->inverse ? a->inverse[flat] : flat, own, &n);
        }
    }
    for (long j = in_batch; j < n; j++) a->weight[a->picked[j]] = 0;
    qsort(a->picked, (size_t)n, sizeof *a->picked, ascending);
    o->rows[i] = (PgmRows){n, a->picked, NULL};
  }
  /* weights in the order of the rows; stamps are no longer needed as places, so the weights by row move into place */
  for (int i = 0; i < o->q->n; i++) {
    Axis *a = &o->axis[i];
    if (!a->follows) continue;
    for (long j = 0; j < o->rows[i].n; j++) a->weight[j] = a->weight[a->picked[j]]; /* picked ascends, so picked[j] >= j */
    o->rows[i].weight = a->weight;
  }
  return o->rows;
}

/* ---- pieces of the expectation ------------------------------------------------------------------------------------------------------- */

static long row_count(const PgmSource *f, const PgmRows *r)
{
  return r && r->row ? r->n : f->rows;
}
static long row_flat(const PgmLayout *l, const PgmRows *r, long k)
{
  const long row = r && r->row ? r->row[k] : k;
  return l->list ? l->list[row] : row;
}
static bool whole(const PgmLayout *l, const PgmRows *r)
{
  return !l->list && !(r && r->row);
}

/* Runs `body` over the entries [begin, end) of a source's chosen rows, in parallel pieces. Entry positions are those of the family. */
// clang-format off
#define FOR_ENTRIES(o, l, f, r, begin, end, ...)                                                                                         \
  do {                                                                                                                                   \
    const long entries_n_ = row_count(f, r), entries_w_ = (f)->uwidth, total_ = entries_n_ * entries_w_;                                 \
    if (whole(l, r)) {                                                                                                                   \
      PGM_PIECES(total_, (o)->s->threads, begin, end, __VA_ARGS__);                                                                      \
    } else {                                                                                                                             \
      PGM_PIECES(entries_n_, total_ > PGM_PARALLEL ? (o)->s->threads : 1, row_from_, row_to_, {                                          \
        for (long row_ = row_from_; row_ < row_to_; row_++) {                                                                            \
          const long begin = row_flat(l, r, row_) * entries_w_, end = begin + entries_w_;                                                \
          __VA_ARGS__                                                                                                                    \
        }                                                                                                                                \
      });                                                                                                                                \
    }                                                                                                                                    \
  } while (0)
// clang-format on

static void clear_bars(PgmObjective *o, const PgmRows *rows)
{
  for (int i = 0; i < o->q->n; i++) {
    const PgmSource *f = &o->q->source[i];
    const PgmRows *r = rows ? &rows[i] : NULL;
    PgmLayout *l = &o->s->layout[f->family];
    FOR_ENTRIES(o, l, f, r, a, b, {
      memset(l->mean_bar + a, 0, (size_t)(b - a) * sizeof *l->mean_bar);
      memset(l->sd_bar + a, 0, (size_t)(b - a) * sizeof *l->sd_bar);
    });
  }
}

/* E log |J|, with its gradient. With rows: the gradient of these, weighted; the value is that of all rows. */
static double expected_jacobians(PgmObjective *o, const PgmRows *rows)
{
  double total = 0;
  for (int i = 0; i < o->q->n; i++) {
    const PgmSource *f = &o->q->source[i];
    const PgmFamily *family = &o->s->model->families[f->family];
    PgmLayout *l = &o->s->layout[f->family];
    if (!f->scales || family->transform == PGM_IDENTITY) continue;
    if (!rows || !rows[i].row) {
      total += pgm_jacobian_expected(o->s, f->family, l->mean, l->sd, 1, l->mean_bar, l->sd_bar);
      continue;
    }
    double *mean_bar = o->u_bar + o->offset[i], *sd_bar = o->tmp + o->offset[i];
    memset(mean_bar, 0, (size_t)(l->elements * f->uwidth) * sizeof *mean_bar);
    memset(sd_bar, 0, (size_t)(l->elements * f->uwidth) * sizeof *sd_bar);
    total += pgm_jacobian_expected(o->s, f->family, l->mean, l->sd, 1, mean_bar, sd_bar);
    for (long k = 0; k < rows[i].n; k++)
      for (long e = row_flat(l, &rows[i], k) * f->uwidth, end = e + f->uwidth; e < end; e++) {
        l->mean_bar[e] += rows[i].weight[k] * mean_bar[e];
        l->sd_bar[e] += rows[i].weight[k] * sd_bar[e];
      }
  }
  return total;
}

/* Draw d of the entries [a, b) of source i: eps, u, and, where the transform is the identity, the values, with their adjoints cleared. */
static void draw_entries(PgmObjective *o, int i, int d, long iteration, long a, long b)
{
  const PgmSource *f = &o->q->source[i];
  const PgmLayout *l = &o->s->layout[f->family];
  const double *restrict mean = l->mean, *restrict sd = l->sd;
  double *restrict eps = o->eps + o->offset[i];
  if (f->point) {
    memset(eps + a, 0, (size_t)(b - a) * sizeof *eps);
  } else if (o->options.fresh) {
    const PgmKey key = {o->options.seed, (uint64_t)iteration, (uint64_t)f->family << 16 | (uint64_t)d};
    (o->options.fine ? pgm_philox_normals : pgm_philox_noise)(key, (uint64_t)a, b - a, eps + a);
  } else {
    const uint16_t *order = o->order + (size_t)d * (size_t)o->entries + o->offset[i];
    for (long e = a; e < b; e++) eps[e] = o->quantile[order[e]];
  }
  const bool same = o->s->model->families[f->family].transform == PGM_IDENTITY;
  double *restrict u = same ? l->value : o->u + o->offset[i];
  if (f->point)
    memcpy(u + a, mean + a, (size_t)(b - a) * sizeof *u);
  else
    for (long e = a; e < b; e++) u[e] = mean[e] + sd[e] * eps[e];
  if (same) memset(l->value_bar + a, 0, (size_t)(b - a) * sizeof *l->value_bar);
}

/* Adds the gradient of a draw, from adjoints of u, to mean_bar and sd_bar. */
static void collect_entries(PgmObjective *o, int i, const double *restrict bar, long a, long b)
{
  PgmLayout *l = &o->s->layout[o->q->source[i].family];
  const double *restrict eps = o->eps + o->offset[i];
  double *restrict mean_bar = l->mean_bar, *restrict sd_bar = l->sd_bar;
  const double share = 1.0 / o->options.draws;
  for (long e = a; e < b; e++) {
    const double part = share * bar[e];
    mean_bar[e] += part;
    sd_bar[e] += part * eps[e];
  }
}

/* One draw of a source's chosen rows; returns log |d value / d u|, of all rows. */
static double draw_values(PgmObjective *o, int i, int d, const PgmRows *r, long iteration)
{
  const PgmSource *f = &o->q->source[i];
  PgmLayout *l = &o->s->layout[f->family];
  FOR_ENTRIES(o, l, f, r, a, b, draw_entries(o, i, d, iteration, a, b););
  if (o->s->model->families[f->family].transform == PGM_IDENTITY) return 0;
  memset(l->value_bar, 0, (size_t)(l->elements * l->width) * sizeof *l->value_bar);
  return pgm_constrain(o->s, f->family, o->u + o->offset[i], l->value);
}

/* Adds one draw's gradient, from the layouts' value_bar, to mean_bar and sd_bar. */
static void collect_draw(PgmObjective *o, int i, const PgmRows *r)
{
  const PgmSource *f = &o->q->source[i];
  PgmLayout *l = &o->s->layout[f->family];
  const double *bar = l->value_bar;
  if (o->s->model->families[f->family].transform != PGM_IDENTITY) {
    double *u_bar = o->u_bar + o->offset[i];
    memset(u_bar, 0, (size_t)(l->elements * f->uwidth) * sizeof *u_bar);
    pgm_constrain_vjp(o->s, f->family, o->u + o->offset[i], l->value, l->value_bar, 0, u_bar);
    bar = u_bar;
  }
  FOR_ENTRIES(o, l, f, r, a, b, collect_entries(o, i, bar, a, b););
}

/* The terms at a point are averages over the discrete variables, with slopes with respect to their tables: before the draws these are put aside, after
 * them their average is added. */
static void table_slopes(PgmObjective *o, const PgmRows *rows, bool before)
{
  for (int i = 0; i < o->q->n; i++) {
    const PgmSource *f = &o->q->source[i];
    const PgmRows *r = rows ? &rows[i] : NULL;
    PgmLayout *l = &o->s->layout[f->family];
    double *kept = o->tmp + o->offset[i];
    const double share = 1.0 / o->options.draws;
    if (!f->table) continue;
    FOR_ENTRIES(
        o, l, f, r, a, b, for (long e = a; e < b; e++) {
          if (before) kept[e] = l->mean_bar[e];
          l->mean_bar[e] = before ? 0 : kept[e] + share * l->mean_bar[e];
        });
  }
}

/* ---- draws inside blocks ------------------------------------------------------------------------------------------------------------- */

/* What a block of units has of a family on the axis: elements [from, to). */
static void block_elements(const PgmObjective *o, const Family *f, const PgmBlock *b, long *from, long *to)
{
  const long elements = o->s->layout[o->q->source[f->source].family].elements;
  *from = (b->first - f->first) * f->stride;
  *to = *from + b->count * f->stride;
  *from = *from < 0 ? 0 : *from;
  *to = *to > elements ? elements : *to;
}

typedef struct {
  PgmObjective *o;
  BlockAxis *axis;
  long iteration;
} BlockJob;

/* All draws of one block: the arrays of its families stay in the cache from one to the next. */
static double run_block(PgmBlock *b, void *data)
{
  const BlockJob *job = data;
  PgmObjective *o = job->o;
  const BlockAxis *axis = job->axis;
  double total = 0, *value = axis->value + (b->first - axis->first) / axis->block * o->options.draws;
  for (int d = 0; d < o->options.draws; d++) {
    const double *shared = o->shared_values + d * o->shared_size;
    for (int i = 0; i < o->q->n; i++) {
      if (o->shared_at[i] < 0) continue;
      PgmLatent *latent = (PgmLatent *)((char *)b->env + o->s->model->families[o->q->source[i].family].place);
      latent->value = shared + o->shared_at[i];
    }
    for (int k = 0; k < axis->n; k++) {
      const int i = axis->family[k].source, family = o->q->source[i].family;
      PgmLayout *l = &o->s->layout[family];
      long from, to;
      block_elements(o, &axis->family[k], b, &from, &to);
      if (from >= to || l->table) continue;
      draw_entries(o, i, d, job->iteration, from * l->uwidth, to * l->uwidth);
      if (o->s->model->families[family].transform == PGM_IDENTITY) continue;
      memset(l->value_bar + from * l->width, 0, (size_t)((to - from) * l->width) * sizeof *l->value_bar);
      pgm_constrain_part(o->s, family, from, to, o->u + o->offset[i], l->value);
    }
    pgm_block_copy(b, d);
    value[d] = pgm_block_run(b);
    total += value[d];
    for (int k = 0; k < axis->n; k++) {
      const int i = axis->family[k].source, family = o->q->source[i].family;
      PgmLayout *l = &o->s->layout[family];
      const double *bar = l->value_bar;
      long from, to;
      block_elements(o, &axis->family[k], b, &from, &to);
      if (from >= to || l->table) continue;
      if (o->s->model->families[family].transform != PGM_IDENTITY) {
        double *u_bar = o->u_bar + o->offset[i];
        memset(u_bar + from * l->uwidth, 0, (size_t)((to - from) * l->uwidth) * sizeof *u_bar);
        pgm_constrain_vjp_part(o->s, family, from, to, o->u + o->offset[i], l->value, l->value_bar, u_bar);
        bar = u_bar;
      }
      collect_entries(o, i, bar, from * l->uwidth, to * l->uwidth);
    }
  }
  return total;
}

/* Runs the axes whose draws are made inside blocks; what they add to shared families waits to be collected draw by draw. */
static void run_blocks(PgmObjective *o, long iteration)
{
  for (int d = 0; d < o->options.draws; d++)
    for (int i = 0; i < o->q->n; i++) {
      const PgmLayout *l = &o->s->layout[o->q->source[i].family];
      if (o->shared_at[i] < 0) continue;
      draw_values(o, i, d, NULL, iteration);
      memcpy(o->shared_values + d * o->shared_size + o->shared_at[i], l->value, (size_t)(l->elements * l->width) * sizeof *l->value);
    }
  for (int a = 0; a < o->n_block_axes; a++) {
    BlockJob job = {o, &o->block_axis[a], iteration};
    pgm_blocks_run(job.axis->blocks, job.axis->block, run_block, &job);
  }
}

/* Adds what the blocks have of draw d to the bars of shared families; returns its value. */
static double add_blocks(const PgmObjective *o, int d)
{
  double value = 0;
  for (int a = 0; a < o->n_block_axes; a++) {
    const BlockAxis *axis = &o->block_axis[a];
    pgm_blocks_add(axis->blocks, d);
    for (long k = 0; k * axis->block < axis->units; k++) value += axis->value[k * o->options.draws + d];
  }
  return value;
}

/* Average over draws of the sampled terms; draw_value holds each. */
static double sampled_terms(PgmObjective *o, const PgmRows *rows, const PgmBatch *batch, long iteration)
{
  const bool blocks = o->n_block_axes && !rows;
  double total = 0;
  table_slopes(o, rows, true);
  if (blocks) run_blocks(o, iteration);
  for (int d = 0; d < o->options.draws; d++) {
    double value = 0;
    for (int i = 0; i < o->q->n; i++)
      if (!o->q->source[i].table && !(blocks && o->in_blocks[i])) draw_values(o, i, d, rows ? &rows[i] : NULL, iteration);
    if (blocks) value += add_blocks(o, d);
    value += blocks ? pgm_engine_run_others(o->s, o->kind, o->on_block_axis) : pgm_engine_run(o->s, o->kind, batch);
    for (int i = 0; i < o->q->n; i++)
      if (!o->q->source[i].table && !(blocks && o->in_blocks[i])) collect_draw(o, i, rows ? &rows[i] : NULL);
    o->draw_value[d] = value;
    total += value;
  }
  table_slopes(o, rows, false);
  return total / o->options.draws;
}

static const PgmBatch everything = {-1, NULL, 0, 1};

/* -E (u - teacher mean)^2 / (2 teacher sd^2), with its gradient; of a discrete variable E log teacher. */
static double taught(PgmObjective *o, const PgmRows *rows)
{
  double total = 0;
  for (int i = 0; i < o->q->n; i++) {
    const PgmSource *f = &o->q->source[i];
    PgmLayout *l = &o->s->layout[f->family];
    const double *mean = o->options.teacher_mean + o->offset[i], *sd = o->options.teacher_sd + o->offset[i];
    if (f->point) continue;
    const PgmRows *r = rows ? &rows[i] : NULL;
    for (long k = 0; k < row_count(f, r); k++) {
      const double weight = r && r->weight ? r->weight[k] : 1;
      for (long e = row_flat(l, r, k) * f->uwidth, end = e + f->uwidth; e < end; e++) {
        if (f->table) {
          const double log_p = weight * log(fmax(mean[e], 1e-6)); /* what it says of the unlikely is of no consequence */
          total += l->mean[e] * log_p;
          l->mean_bar[e] += log_p;
          continue;
        }
        const double p = weight / (sd[e] * sd[e]), d = l->mean[e] - mean[e];
        total -= 0.5 * p * (d * d + l->sd[e] * l->sd[e]);
        l->mean_bar[e] -= p * d;
        l->sd_bar[e] -= p * l->sd[e];
      }
    }
  }
  return total;
}

static double expectation(PgmObjective *o, const PgmRows *rows, const PgmBatch *batch, long iteration)
{
  clear_bars(o, rows);
  if (o->options.teacher_mean) return taught(o, rows);
  double value = o->s->constant;
  if (o->expected) value += pgm_engine_run(o->s, o->q->eliminates ? PGM_KERNEL_ELIMINATED : PGM_KERNEL_EXPECTED, batch);
  value += expected_jacobians(o, rows);
  if (o->sampled) value += sampled_terms(o, rows, batch, iteration);
  return value;
}

double pgm_objective_value(PgmObjective *o, const double *x, double *gradient, const PgmBatch *batch, long iteration)
{
  const PgmRows *rows = batch && batch->axis >= 0 ? select_rows(o, batch) : NULL;
  o->touched = rows;
  o->q->single = (o->kind == PGM_KERNEL_SINGLE || o->options.single) && !o->options.teacher_mean;
  double entropy = pgm_sources_forward(o->q, x, rows);
  double value = expectation(o, rows, batch ? batch : &everything, iteration) + entropy;
  if (gradient) pgm_sources_backward(o->q, x, rows, gradient);
  o->q->single = false;
  return value;
}

double pgm_objective_expect(PgmObjective *o, long iteration, double *se)
{
  double value = expectation(o, NULL, &everything, iteration), mean = 0, square = 0;
  const int n = o->options.draws;
  if (se) *se = 0;
  if (o->sampled && se && n > 1) {
    for (int d = 0; d < n; d++) mean += o->draw_value[d] / n;
    for (int d = 0; d < n; d++) square += (o->draw_value[d] - mean) * (o->draw_value[d] - mean);
    *se = sqrt(square / (n - 1) / n);
  }
  return value;
}

double pgm_objective_ratio(PgmObjective *o, long iteration)
{
  double value = o->s->constant;
  for (int i = 0; i < o->q->n; i++) {
    const PgmSource *f = &o->q->source[i];
    PgmLayout *l = &o->s->layout[f->family];
    if (f->table) {
      value -= pgm_draw_table(o->s, f->family, l->mean, (PgmKey){o->options.seed, (uint64_t)iteration, (uint64_t)f->family << 16});
      continue;
    }
    const double jacobian = draw_values(o, i, 0, NULL, iteration);
    if (f->point) continue;
    value += jacobian;
    for (long r = 0; r < f->rows; r++)
      for (long e = (l->list ? l->list[r] : r) * f->uwidth, end = e + f->uwidth; e < end; e++)
        value += log(l->sd[e]) + HALF_LOG_2PI_E - 0.5 + 0.5 * o->eps[o->offset[i] + e] * o->eps[o->offset[i] + e];
  }
  return value + pgm_engine_run(o->s, PGM_KERNEL_POINT, &everything);
}
