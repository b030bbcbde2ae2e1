/* engine.c - runs the model's kernels: plates over threads, adjoints back to the families.
 *
 * In: a session whose latents' arrays are set. Out: the sum of the kernels' values, gradients added to the families' bars.
 *
 * SLOTS. The units of a plate are cut into a number of slots that depends on the number of units and on the size of the families the
 * plate shares, never on the number of threads; threads take slots as they come. A slot has a copy of the env where the X_sum pointers of
 * shared families lead to arrays of its own; afterwards these are added into the families' bars in the order of the slots. So the same sums
 * are formed in the same order for any number of threads.
 *
 * GATHERS. A reference that is neither own nor shared (a lag, a lookup) writes its adjoints into a buffer with one row per unit (PgmRef).
 * Where they go is found once, when the session opens: for an affine reference the rows are a shifted piece of the family's array, else the
 * buffer's entries are sorted by target (compressed rows; counting sort). The backward pass is then a gather, parallel over targets, each
 * of which sums in the order of units. A minibatch touches few rows, which are scattered serially.
 *
 * SUMS. Terms that need the data only through sums over groups of elements (PgmSums) have these added up when the session opens; evaluations of all data
 * then run over groups instead of elements. Minibatches and terms one by one go over elements.
 *
 * SINGLE PRECISION. A plate with a kernel for that (PgmPlate.single) finds the values of the families in its products rounded to floats, once per run, and
 * adds their adjoints to floats, slot by slot; from one slot to the next they are added in double precision.
 *
 * pgm_engine_run allocates nothing. */
#define _GNU_SOURCE
#include "alike.h"

#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "parallel.h"

enum {
  MAX_SLOTS = 64,
  UNITS_PER_SLOT = 256,      /* at least, of light units */
  HEAVY_UNITS_PER_SLOT = 64, /* of units that need much scratch, as those of a neural network */
  HEAVY_SCRATCH = 64,        /* doubles per unit */
  SLOT_DOUBLES = 1 << 22,    /* shared arrays of all slots together: clearing and adding them must not outweigh the kernels */
  SCRATCH_DOUBLES = 1 << 15, /* scratch of a block should stay in the second-level cache */
  LARGEST_BLOCK = 1024,
  SMALLEST_BLOCK = 64,
  TARGET_CHUNK = 4096,        /* targets computed at a time */
  PARALLEL_ENTRIES = 1 << 14, /* below, adding arrays is not worth a team of threads */
  CHUNK_ENTRIES = 1 << 12
};

typedef enum { REF_SHIFTED, REF_ROWS } RefKind;

typedef struct {
  const PgmRef *ref;
  long lo, units, width;     /* of the plate; buffer entries per unit */
  double *value, *mean, *sd; /* buffers: units * width */
  bool scalar_transform;     /* mean and sd have the layout of value */
  RefKind kind;
  long shift, stride; /* REF_SHIFTED: entry k of the u-th unit goes to shift + stride * u + k */
  long n_rows;        /* REF_ROWS: row r holds what goes to target[r]: position[start[r]] .. position[start[r + 1] - 1] */
  uint32_t *target, *start, *position;
} RefPlan;

typedef struct {
  const PgmPlate *plate;
  PgmKernel eliminated; /* which of the plate's two; NULL: it eliminates nothing */
  long lo, units;
  long block; /* units per span */
  long units_per_slot;
  int n_shared;
  const int *shared;
  long sum_doubles; /* shared arrays of one slot, in whole cache lines */
  bool *product;    /* per family: in the products of the kernel in single precision; NULL: there is none */
  int n_refs;
  int *refs; /* in PgmEngine.ref */
  bool idle; /* another plate gives its expectations on all data: this one by sums, or that one by elements */
  bool by_sums;
} PlatePlan;

typedef struct {
  double value;
  char *env; /* a copy, of env_size bytes */
  double *sums;
} __attribute__((aligned(64))) Slot;

typedef struct PgmEngine {
  PlatePlan *plate;
  RefPlan *ref;
  Slot *slot; /* MAX_SLOTS */
  char *envs;
  double *sums;
  double *scratch;
  size_t scratch_stride; /* per thread */
  long *targets;         /* of a chunk of units in a minibatch */
  double **tables;       /* per PgmSums: its tables, one after the other */
  float **single;        /* per family: room for PgmLatent.single; NULL: in no products */
  int threads;
} PgmEngine;

/* One plate's work in one run. */
typedef struct {
  PgmSession *s;
  const PlatePlan *plan;
  PgmKernel kernel;
  PgmKernelKind kind;
  bool gradient;     /* false: the constant kernels, which have none */
  const long *units; /* minibatch: these; NULL: all */
  long count;
  double weight;
} Work;

static double *aligned_doubles(double n)
{
  const size_t bytes = ((size_t)(n * sizeof(double)) + 64) / 64 * 64;
  if (n > 1e14) return NULL;
  double *p = aligned_alloc(64, bytes);
  if (!p) return NULL;
  pgm_large_pages(p, bytes);
  memset(p, 0, bytes);
  return p;
}

static PgmStatus no_memory(PgmError *error)
{
  return pgm_fail(error, PGM_SYSTEM, "out of memory");
}

/* ---- running ------------------------------------------------------------------------------------------------------------------------- */

/* A power of two, so that slots share out evenly. */
static int slots_for(const PlatePlan *p, long units)
{
  int n = 1;
  while (2 * n <= MAX_SLOTS && units / (2 * n) >= p->units_per_slot && 2 * n * p->sum_doubles <= SLOT_DOUBLES) n *= 2;
  return n;
}

/* Start of slot k of n; multiples of eight, so that threads do not write to one cache line. */
static long slot_start(long count, int n, int k)
{
  return k == n ? count : count * k / n & ~7L;
}

/* Whether the kernels' gradients are with respect to a family's factors, or its values. Terms at a point are averaged over discrete variables. */
static bool by_factors(const PgmSession *s, int family, PgmKernelKind kind)
{
  return kind == PGM_KERNEL_EXPECTED || kind == PGM_KERNEL_ELIMINATED || s->layout[family].table;
}

static bool samples(PgmKernelKind kind)
{
  return kind == PGM_KERNEL_REST || kind == PGM_KERNEL_SINGLE;
}

/* Does the plate's kernel of this kind have products in single precision, with the family or (-1) at all? */
static bool in_products(const PlatePlan *p, int family, PgmKernelKind kind)
{
  return kind == PGM_KERNEL_SINGLE && p->product && (family < 0 || p->product[family]);
}

/* What the plate runs on all data, and in minibatches; NULL: nothing. */
static PgmKernel kernel_of(const PlatePlan *p, PgmKernelKind kind)
{
  if (kind == PGM_KERNEL_ELIMINATED && p->eliminated) return p->eliminated;
  if (kind == PGM_KERNEL_SINGLE && p->plate->single) return p->plate->single;
  return kind == PGM_KERNEL_POINT ? p->plate->point : samples(kind) ? p->plate->rest : p->idle ? NULL : p->plate->expected;
}

static PgmKernel batch_kernel_of(const PlatePlan *p, PgmKernelKind kind)
{
  return samples(kind) || kind == PGM_KERNEL_POINT ? kernel_of(p, kind) : p->by_sums ? NULL : p->plate->expected;
}

/* Leads a shared family to its arrays within sums, which begin at `next`; returns where they end. Which of them are used depends on the kind, and on whether
 * the family is in products in single precision. */
static double *point_sums(const PgmSession *s, int family, bool product, double *next, PgmKernelKind kind, PgmLatent *latent)
{
  const PgmLayout *l = &s->layout[family];
  if (product) {
    latent->single_sum = (float *)next;
    return next + (l->elements * l->width + 15) / 16 * 8; /* whole cache lines */
  }
  if (by_factors(s, family, kind)) {
    latent->mean_sum = next;
    latent->sd_sum = next + l->elements * l->uwidth;
    return next + 2 * l->elements * l->uwidth;
  }
  latent->value_sum = next;
  return next + l->elements * l->width;
}

/* Runs the kernel on positions [from, to) of the work's units. */
static double run_spans(const Work *w, const void *env, double *scratch, long from, long to)
{
  const PlatePlan *p = w->plan;
  double sum = 0;
  for (int r = 0; r < p->n_refs && w->gradient; r++) {
    const RefPlan *ref = &w->s->engine->ref[p->refs[r]];
    const bool factors = by_factors(w->s, ref->ref->family, w->kind);
    double *const buffer[] = {factors ? ref->mean : ref->value, factors ? ref->sd : NULL};
    for (int b = 0; b < 2 && buffer[b]; b++) {
      if (!w->units)
        memset(buffer[b] + from * ref->width, 0, sizeof(double) * (size_t)((to - from) * ref->width));
      else
        for (long i = from; i < to; i++) memset(buffer[b] + (w->units[i] - p->lo) * ref->width, 0, sizeof(double) * (size_t)ref->width);
    }
  }
  for (long i = from; i < to; i += p->block) {
    const long count = to - i < p->block ? to - i : p->block;
    const PgmSpan span = {.first = w->units ? w->units[i] : p->lo + i,
                          .count = count,
                          .units = w->units ? w->units + i : NULL,
                          .weight = w->weight,
                          .scratch = scratch};
    sum += w->kernel(env, &span);
  }
  return sum;
}

static void run_slot(const Work *w, int n, int k, double *scratch)
{
  const PlatePlan *p = w->plan;
  Slot *slot = &w->s->engine->slot[k];
  double *next = slot->sums = w->s->engine->sums + k * p->sum_doubles;
  memcpy(slot->env, w->s->env, w->s->model->env_size);
  for (int i = 0; i < p->n_shared && w->gradient; i++)
    next = point_sums(w->s, p->shared[i], in_products(p, p->shared[i], w->kind), next, w->kind,
                      (PgmLatent *)(slot->env + w->s->model->families[p->shared[i]].place));
  memset(slot->sums, 0, (size_t)((char *)next - (char *)slot->sums));
  slot->value = run_spans(w, slot->env, scratch, slot_start(w->count, n, k), slot_start(w->count, n, k + 1));
}

static void add_chunk(const PgmEngine *e, double *bar, long offset, bool product, int n, long from, long to)
{
  for (int k = 0; k < n; k++) {
    const double *sum = e->slot[k].sums + offset;
    if (product) {
      const float *single = (const float *)sum;
      for (long i = from; i < to; i++) bar[i] += (double)single[i];
    } else {
      for (long i = from; i < to; i++) bar[i] += sum[i];
    }
  }
}

/* bar += the n slots' arrays, in order; `product`: they are floats. */
static void add_slots(const PgmEngine *e, double *bar, const double *first_sum, bool product, int n, long entries)
{
  const long offset = first_sum - e->slot[0].sums;
  if (n * entries <= PARALLEL_ENTRIES) {
    add_chunk(e, bar, offset, product, n, 0, entries);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(e->threads)
  for (long from = 0; from < entries; from += CHUNK_ENTRIES)
    add_chunk(e, bar, offset, product, n, from, from + CHUNK_ENTRIES < entries ? from + CHUNK_ENTRIES : entries);
}

/* The values of the families in the plate's products, rounded. */
static void round_values(const Work *w)
{
  const PgmEngine *e = w->s->engine;
  for (int f = 0; f < w->s->model->n_families; f++) {
    const PgmLayout *l = &w->s->layout[f];
    if (!in_products(w->plan, f, w->kind)) continue;
    const double *restrict value = l->value;
    float *restrict single = e->single[f];
    PGM_PIECES(l->elements * l->width, e->threads, from, to, {
      for (long i = from; i < to; i++) single[i] = (float)value[i];
    });
  }
}

static void gather_shifted(const PgmEngine *e, const RefPlan *r, const double *buffer, double *bar)
{
  const long chunk = r->width > CHUNK_ENTRIES ? 1 : CHUNK_ENTRIES / (r->width > 0 ? r->width : 1);
#pragma omp parallel for schedule(static) num_threads(e->threads) if (r->units * r->width > PARALLEL_ENTRIES)
  for (long from = 0; from < r->units; from += chunk) {
    const long to = from + chunk < r->units ? from + chunk : r->units;
    if (r->stride == r->width) {
      const double *in = buffer + from * r->width;
      double *out = bar + r->shift + from * r->width;
      for (long i = 0; i < (to - from) * r->width; i++) out[i] += in[i];
    } else {
      for (long u = from; u < to; u++)
        for (long k = 0; k < r->width; k++) bar[r->shift + r->stride * u + k] += buffer[u * r->width + k];
    }
  }
}

static void gather_rows(const PgmEngine *e, const RefPlan *r, const double *buffer, double *bar)
{
#pragma omp parallel for schedule(dynamic, 64) num_threads(e->threads) if (r->units * r->width > PARALLEL_ENTRIES)
  for (long row = 0; row < r->n_rows; row++) {
    const uint32_t end = r->start[row + 1];
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (uint32_t i = r->start[row]; i < end; i++) sum += buffer[r->position[i]];
    bar[r->target[row]] += sum;
  }
}

static void scatter_batch(const Work *w, const RefPlan *r, const double *buffer, double *bar)
{
  const PgmEngine *e = w->s->engine;
  const long chunk = r->width > TARGET_CHUNK ? 1 : TARGET_CHUNK / (r->width > 0 ? r->width : 1);
  for (long from = 0; from < w->count; from += chunk) {
    const long count = w->count - from < chunk ? w->count - from : chunk;
    const PgmSpan span = {.first = w->units[from], .count = count, .units = w->units + from, .weight = 1};
    if (r->kind == REF_ROWS) r->ref->targets(w->s->env, &span, e->targets);
    for (long u = 0; u < count; u++) {
      const long unit = w->units[from + u] - r->lo;
      const double *in = buffer + unit * r->width;
      for (long k = 0; k < r->width; k++) {
        const long target = r->kind == REF_SHIFTED ? r->shift + r->stride * unit + k : e->targets[u * r->width + k];
        if (target >= 0) bar[target] += in[k];
      }
    }
  }
}

static void scatter(long entries, const long *target, const double *buffer, double *bar)
{
  for (long k = 0; k < entries; k++)
    if (target[k] >= 0) bar[target[k]] += buffer[k];
}

/* `target`: where the entries of the buffer's rows go, if it is not where those of all units do. */
static void collect_ref(const Work *w, const RefPlan *r, const long *target, const double *buffer, double *bar)
{
  if (target)
    scatter(w->count * r->width, target, buffer, bar);
  else if (w->units)
    scatter_batch(w, r, buffer, bar);
  else if (r->kind == REF_SHIFTED)
    gather_shifted(w->s->engine, r, buffer, bar);
  else
    gather_rows(w->s->engine, r, buffer, bar);
}

/* The adjoints in the buffers of the plate's references, to their families. `targets`: per reference of the model, or NULL. */
static void collect_refs(const Work *w, long *const *targets)
{
  for (int r = 0; r < w->plan->n_refs; r++) {
    const RefPlan *ref = &w->s->engine->ref[w->plan->refs[r]];
    const long *target = targets ? targets[w->plan->refs[r]] : NULL;
    PgmLatent *latent = pgm_session_latent(w->s, ref->ref->family);
    if (!by_factors(w->s, ref->ref->family, w->kind)) {
      collect_ref(w, ref, target, ref->value, latent->value_bar);
    } else if (w->s->layout[ref->ref->family].table) {
      collect_ref(w, ref, target, ref->mean, latent->mean_bar);
    } else if (ref->scalar_transform) {
      collect_ref(w, ref, target, ref->mean, latent->mean_bar);
      collect_ref(w, ref, target, ref->sd, latent->sd_bar);
    }
  }
}

static double run_plate(const Work *w)
{
  PgmSession *s = w->s;
  const PgmEngine *e = s->engine;
  const PlatePlan *p = w->plan;
  const int n = slots_for(p, w->count);
  double sum = 0;
  if (!w->count) return 0;
  if (in_products(p, -1, w->kind)) round_values(w);
  if (n == 1 && !in_products(p, -1, w->kind)) {
    sum = run_spans(w, s->env, e->scratch, 0, w->count); /* there X_sum is X_bar */
  } else {
    if (e->threads == 1 || n == 1) { /* even a team of one costs a microsecond */
      for (int k = 0; k < n; k++) run_slot(w, n, k, e->scratch);
    } else {
#pragma omp parallel for schedule(dynamic, 1) num_threads(e->threads)
      for (int k = 0; k < n; k++) run_slot(w, n, k, e->scratch + (size_t)omp_get_thread_num() * e->scratch_stride);
    }
    for (int k = 0; k < n; k++) sum += e->slot[k].value;
    double *next = e->slot[0].sums;
    for (int i = 0; i < p->n_shared && w->gradient; i++) {
      const PgmLayout *l = &s->layout[p->shared[i]];
      PgmLatent *latent = pgm_session_latent(s, p->shared[i]), first = {0};
      const bool product = in_products(p, p->shared[i], w->kind);
      double *const sums = next;
      next = point_sums(s, p->shared[i], product, next, w->kind, &first);
      if (by_factors(s, p->shared[i], w->kind)) {
        add_slots(e, latent->mean_bar, first.mean_sum, false, n, l->elements * l->uwidth);
        add_slots(e, latent->sd_bar, first.sd_sum, false, n, l->elements * l->uwidth);
      } else {
        add_slots(e, latent->value_bar, sums, product, n, l->elements * l->width);
      }
    }
  }
  if (w->gradient) collect_refs(w, NULL);
  return sum;
}

bool pgm_plate_idle(const PgmSession *s, int plate, PgmKernelKind kind)
{
  const PlatePlan *p = &s->engine->plate[plate];
  return kind == PGM_KERNEL_EXPECTED || kind == PGM_KERNEL_ELIMINATED ? p->idle : p->by_sums;
}

/* First position in ascending units whose value is at least v. */
static long lower_bound(const long *units, long n, long v)
{
  long lo = 0;
  while (lo < n) {
    const long mid = lo + (n - lo) / 2;
    if (units[mid] < v)
      lo = mid + 1;
    else
      n = mid;
  }
  return lo;
}

/* Do the plate's units run in blocks where the axis' do? */
static bool in_blocks(const PlatePlan *p, PgmKernelKind kind)
{
  return p->plate->axis >= 0 && kernel_of(p, kind) && !(kind == PGM_KERNEL_ELIMINATED && p->eliminated);
}

double pgm_engine_run_others(PgmSession *s, PgmKernelKind kind, const bool *without)
{
  double sum = 0;
  for (int i = 0; i < s->model->n_plates; i++) {
    const PlatePlan *p = &s->engine->plate[i];
    const Work w = {.s = s, .plan = p, .kernel = kernel_of(p, kind), .kind = kind, .gradient = true, .count = p->units, .weight = 1};
    if (w.kernel && !(in_blocks(p, kind) && without[p->plate->axis])) sum += run_plate(&w);
  }
  return sum;
}

/* ---- elimination --------------------------------------------------------------------------------------------------------------------- */

static bool eliminates(const PgmPlate *plate, int family)
{
  const int *f = plate->eliminates;
  while (f && *f >= 0 && *f != family) f++;
  return f && (*f >= 0 || family < 0);
}

bool pgm_eliminates(const PgmModel *m, int family)
{
  bool any = false;
  for (int p = 0; p < m->n_plates; p++) any = any || eliminates(&m->plates[p], family);
  return any;
}

/* The entries of a family that units from .. to-1 of the plate own, by position: one piece, or all. Returns whether it is one piece. */
static bool owned_entries(const PgmSession *s, int plate, int family, long from, long to, long *first, long *end)
{
  const PlatePlan *p = &s->engine->plate[plate];
  const PgmLayout *l = &s->layout[family];
  const PgmOwn *own = p->plate->own;
  while (own->family != family) own++;
  const long row = l->stride[0] * l->uwidth, base = (p->lo + own->offset - l->lo[0]) * row;
  *first = own->position ? 0 : base + from * row;
  *end = own->position ? l->elements * l->uwidth : base + to * row;
  return !own->position;
}

/* Of the elements of units from .. to-1, by position; all units at once where the elements of one are not together. */
static void restore_units(PgmSession *s, int plate, long from, long to)
{
  const PlatePlan *p = &s->engine->plate[plate];
  const Work w = {.s = s, .plan = p, .kernel = p->plate->restore, .kind = PGM_KERNEL_ELIMINATED, .count = p->units, .weight = 1};
  for (const int *f = p->plate->eliminates; *f >= 0; f++) { /* what the kernel adds to is the factors themselves */
    const PgmLayout *l = &s->layout[*f];
    long first, end;
    owned_entries(s, plate, *f, from, to, &first, &end);
    memset(l->mean + first, 0, (size_t)(end - first) * sizeof *l->mean);
    memset(l->sd + first, 0, (size_t)(end - first) * sizeof *l->sd);
    pgm_session_latent(s, *f)->mean_bar = l->mean;
    pgm_session_latent(s, *f)->sd_bar = l->sd;
  }
  if (to - from == p->units)
    run_plate(&w);
  else
    run_spans(&w, s->env, s->engine->scratch, from, to);
  for (const int *f = p->plate->eliminates; *f >= 0; f++) {
    pgm_session_latent(s, *f)->mean_bar = s->layout[*f].mean_bar;
    pgm_session_latent(s, *f)->sd_bar = s->layout[*f].sd_bar;
  }
}

void pgm_engine_restore(PgmSession *s)
{
  for (int i = 0; i < s->model->n_plates; i++)
    if (s->model->plates[i].restore) restore_units(s, i, 0, s->engine->plate[i].units);
}

long pgm_engine_restore_some(PgmSession *s, int family, long most, double **mean, double **sd)
{
  enum { RUNS = 256 };
  const PgmLayout *l = &s->layout[family];
  const long all = l->elements * l->uwidth;
  int plate = 0;
  while (!eliminates(&s->model->plates[plate], family)) plate++;
  const long units = s->engine->plate[plate].units;
  long first, end, n = 0, runs = 1, length = units;
  if (owned_entries(s, plate, family, 0, 1, &first, &end) && all > most && units > RUNS && !l->list) {
    runs = RUNS;
    length = most / RUNS / (end - first > 0 ? end - first : 1);
    if (length < 1) length = 1;
    if (length > units / RUNS) length = units / RUNS;
  }
  *mean = malloc(sizeof **mean * (size_t)(all + 1));
  *sd = malloc(sizeof **sd * (size_t)(all + 1));
  for (long k = 0; k < runs && *mean && *sd; k++) {
    const long from = runs > 1 ? (units - length) * k / (runs - 1) : 0;
    restore_units(s, plate, from, from + length);
    owned_entries(s, plate, family, from, from + length, &first, &end);
    memcpy(*mean + n, l->mean + first, (size_t)(end - first) * sizeof **mean);
    memcpy(*sd + n, l->sd + first, (size_t)(end - first) * sizeof **sd);
    n += end - first;
  }
  for (long r = 0; l->list && n && r < l->defined; r++)
    for (long k = 0; k < l->uwidth; k++) {
      (*mean)[r * l->uwidth + k] = (*mean)[l->list[r] * l->uwidth + k];
      (*sd)[r * l->uwidth + k] = (*sd)[l->list[r] * l->uwidth + k];
    }
  return l->list && n ? l->defined * l->uwidth : n;
}

double pgm_engine_run(PgmSession *s, PgmKernelKind kind, const PgmBatch *batch)
{
  const PgmModel *m = s->model;
  double sum = 0;
  const bool all = !batch || batch->axis < 0;
  for (int i = 0; i < m->n_plates; i++) {
    const PlatePlan *p = &s->engine->plate[i];
    Work w = {.s = s, .plan = p, .kernel = all ? kernel_of(p, kind) : batch_kernel_of(p, kind), .kind = kind, .gradient = true, .count = p->units, .weight = 1};
    if (!w.kernel) continue;
    if (batch && batch->axis >= 0 && p->plate->axis == batch->axis) {
      const long from = lower_bound(batch->units, batch->count, p->lo);
      w.units = batch->units + from;
      w.count = lower_bound(batch->units, batch->count, p->lo + p->units) - from;
      w.weight = batch->weight;
    }
    sum += run_plate(&w);
  }
  return sum;
}

/* ---- opening ------------------------------------------------------------------------------------------------------------------------- */

/* Calls visit for the targets of all units, in chunks; false when a target is no entry of the family. */
typedef void (*TargetVisit)(RefPlan *r, const long *targets, long first_unit, long count, void *state);

static bool each_target(const PgmSession *s, RefPlan *r, long *targets, TargetVisit visit, void *state)
{
  const long chunk = r->width > TARGET_CHUNK ? 1 : TARGET_CHUNK / (r->width > 0 ? r->width : 1);
  const PgmLayout *l = &s->layout[r->ref->family];
  const long entries = l->elements * (l->table ? l->uwidth : l->width);
  for (long from = 0; from < r->units; from += chunk) {
    const long count = r->units - from < chunk ? r->units - from : chunk;
    const PgmSpan span = {.first = r->lo + from, .count = count, .weight = 1};
    r->ref->targets(s->env, &span, targets);
    for (long k = 0; k < count * r->width; k++)
      if (targets[k] < -1 || targets[k] >= entries) return false;
    visit(r, targets, from, count, state);
  }
  return true;
}

static void detect_shift(RefPlan *r, const long *targets, long first_unit, long count, void *state)
{
  bool *shifted = state;
  if (!first_unit) {
    r->shift = targets[0];
    r->stride = count > 1 ? targets[r->width] - targets[0] : r->width;
  }
  for (long u = 0; u < count && *shifted; u++)
    for (long k = 0; k < r->width; k++) *shifted = *shifted && targets[u * r->width + k] == r->shift + r->stride * (first_unit + u) + k;
  /* rows that overlap would meet in the parallel loop */
  *shifted = *shifted && r->shift >= 0 && (labs(r->stride) >= r->width || r->units == 1);
}

static void count_targets(RefPlan *r, const long *targets, long first_unit, long count, void *state)
{
  uint32_t *counts = state; /* per entry of the family */
  (void)first_unit;
  for (long k = 0; k < count * r->width; k++)
    if (targets[k] >= 0) counts[targets[k]]++;
}

static void place_targets(RefPlan *r, const long *targets, long first_unit, long count, void *state)
{
  uint32_t *next = state; /* per entry: where its next position goes */
  for (long k = 0; k < count * r->width; k++)
    if (targets[k] >= 0) r->position[next[targets[k]]++] = (uint32_t)(first_unit * r->width + k);
}

static PgmStatus plan_ref(PgmSession *s, RefPlan *r, const PgmRef *ref, PgmError *error)
{
  const PgmLayout *l = &s->layout[ref->family];
  const long entries = l->elements * (l->table ? l->uwidth : l->width);
  *r = (RefPlan){.ref = ref, .lo = s->engine->plate[ref->plate].lo, .units = s->engine->plate[ref->plate].units};
  r->width = r->units ? ref->width(s->env) : 0;
  r->scalar_transform = l->width == l->uwidth;
  const double size = (double)r->units * (double)r->width;
  if (size >= UINT32_MAX)
    return pgm_fail(error, PGM_SYSTEM, "%s refers to %.0f entries, more than this program can index", ref->text, size);
  r->value = aligned_doubles(size);
  r->mean = aligned_doubles(size);
  r->sd = aligned_doubles(size);
  if (!r->value || !r->mean || !r->sd) return no_memory(error);
  PgmRefBar *bar = (PgmRefBar *)((char *)s->env + ref->place);
  *bar = (PgmRefBar){r->value, r->mean, r->sd};
  if (!(size > 0)) return PGM_OK;

  long *targets = malloc(sizeof *targets * (size_t)(r->width > TARGET_CHUNK ? r->width : TARGET_CHUNK));
  uint32_t *counts = NULL;
  bool shifted = true;
  PgmStatus status = PGM_OK;
  if (!targets) return no_memory(error);
  if (!each_target(s, r, targets, detect_shift, &shifted)) {
    status = pgm_fail(error, PGM_INTERNAL, "%s: a target of %s lies outside its family", s->model->file, ref->text);
  } else if (shifted) {
    r->kind = REF_SHIFTED;
  } else if (!(counts = calloc((size_t)entries + 1, sizeof *counts))) {
    status = no_memory(error);
  } else {
    long used = 0, total = 0;
    r->kind = REF_ROWS;
    each_target(s, r, targets, count_targets, counts);
    for (long i = 0; i < entries; i++) used += counts[i] > 0;
    r->target = malloc(sizeof *r->target * (size_t)(used + 1));
    r->start = malloc(sizeof *r->start * (size_t)(used + 1));
    for (long i = 0; i < entries && r->target && r->start; i++) {
      const uint32_t n = counts[i];
      counts[i] = (uint32_t)total;
      if (!n) continue;
      r->target[r->n_rows] = (uint32_t)i;
      r->start[r->n_rows++] = (uint32_t)total;
      total += n;
    }
    r->position = malloc(sizeof *r->position * (size_t)(total + 1));
    if (!r->target || !r->start || !r->position) {
      status = no_memory(error);
    } else {
      r->start[r->n_rows] = (uint32_t)total;
      each_target(s, r, targets, place_targets, counts);
    }
  }
  free(targets);
  free(counts);
  return status;
}

static void plan_plate(const PgmSession *s, PlatePlan *p, int index)
{
  const PgmPlate *plate = &s->model->plates[index];
  const long lo = s->shape.plate_lo[index], hi = s->shape.plate_hi[index];
  bool complete = true;
  for (int f = 0; f < s->model->n_families; f++) complete = complete && !s->layout[f].missing;
  p->plate = plate;
  p->eliminated = complete ? plate->complete : plate->eliminated;
  p->lo = plate->variable ? lo : 0;
  p->units = !plate->variable ? 1 : hi >= lo ? hi - lo + 1 : 0;
  p->block = plate->block > 0 ? plate->block : plate->scratch ? LARGEST_BLOCK : p->units > 0 ? p->units : 1;
  p->units_per_slot = UNITS_PER_SLOT;
  if (plate->scratch && p->units) {
    while (!plate->block && p->block > SMALLEST_BLOCK && plate->scratch(s->env, p->block) > SCRATCH_DOUBLES) p->block /= 2;
    if (plate->scratch(s->env, 1) > HEAVY_SCRATCH) p->units_per_slot = HEAVY_UNITS_PER_SLOT;
  }
  if (plate->block < 0 && p->units) p->block = p->units_per_slot = p->units;
  p->shared = plate->shared;
  while (p->shared && p->shared[p->n_shared] >= 0) {
    const PgmLayout *l = &s->layout[p->shared[p->n_shared++]];
    p->sum_doubles += l->elements * (2 * l->uwidth > l->width ? 2 * l->uwidth : l->width);
    if (plate->single) p->sum_doubles += 8; /* what point_sums rounds up */
  }
  p->sum_doubles = (p->sum_doubles + 7) / 8 * 8;
}

/* ---- sums over groups ---------------------------------------------------------------------------------------------------------------- */

/* table[k * groups + g] = what `add` adds up over all units of the plate; the same bits for any number of threads. */
static bool add_up(const PgmSession *s, const PlatePlan *p, void (*add)(const void *, const PgmSpan *, double *const *), int tables, long groups, double *table)
{
  const long entries = tables * groups;
  const PlatePlan like = {.units_per_slot = UNITS_PER_SLOT, .sum_doubles = 2 * entries};
  const int n = slots_for(&like, p->units);
  double *sums = calloc((size_t)(n * entries) + 1, sizeof *sums), **to = malloc(sizeof *to * (size_t)(n * tables + 1));
  bool ok = sums && to;
  for (int i = 0; ok && i < n * tables; i++) to[i] = sums + i * groups;
#pragma omp parallel for schedule(dynamic, 1) num_threads(s->threads) if (ok)
  for (int k = 0; k < n; k++) {
    const long from = slot_start(p->units, n, k), end = slot_start(p->units, n, k + 1);
    const PgmSpan span = {.first = p->lo + from, .count = end - from, .weight = 1};
    if (ok && span.count) add(s->env, &span, to + k * tables);
  }
  for (long e = 0; ok && e < entries; e++) {
    table[e] = 0;
    for (int k = 0; k < n; k++) table[e] += sums[k * entries + e];
  }
  free(sums);
  free(to);
  return ok;
}

/* Fills the tables of sum number i, unless there are more groups than units: then the elements are less work. */
static PgmStatus open_sums(PgmSession *s, int i, PgmError *error)
{
  const PgmSums *sums = &s->model->sums[i];
  PlatePlan *plate = &s->engine->plate[sums->plate], *by = &s->engine->plate[sums->by_sums];
  const double **place = (const double **)((char *)s->env + sums->place);
  const long groups = by->units;
  by->by_sums = true;
  plate->idle = groups <= plate->units;
  by->idle = !plate->idle;
  if (by->idle) return PGM_OK;
  double *table = s->engine->tables[i] = aligned_doubles((double)groups * (sums->n_means + sums->n_sums));
  double *means = calloc((size_t)(groups * (sums->n_means + 1)) + 1, sizeof *means), *weight = means + groups * sums->n_means;
  bool ok = table && means;
  if (ok && sums->add_means) ok = add_up(s, plate, sums->add_means, sums->n_means + 1, groups, means);
  for (long e = 0; ok && e < groups * sums->n_means; e++) table[e] = weight[e % groups] > 0 ? means[e] / weight[e % groups] : 0;
  for (int k = 0; ok && k < sums->n_means + sums->n_sums; k++) place[k] = table + k * groups;
  if (ok) ok = add_up(s, plate, sums->add_sums, sums->n_sums, groups, table + groups * sums->n_means);
  free(means);
  return ok ? PGM_OK : no_memory(error);
}

/* Room for the values of the families in the plate's products, in the env. False: out of memory. */
static bool open_products(PgmSession *s, PlatePlan *p)
{
  const PgmModel *m = s->model;
  if (!(p->product = calloc((size_t)m->n_families + 1, sizeof *p->product))) return false;
  for (const int *f = p->plate->products; f && *f >= 0; f++) {
    const PgmLayout *l = &s->layout[*f];
    p->product[*f] = true;
    if (s->engine->single[*f]) continue;
    if (!(s->engine->single[*f] = (float *)aligned_doubles(0.5 * (double)(l->elements * l->width) + 1))) return false;
    pgm_session_latent(s, *f)->single = s->engine->single[*f];
  }
  return true;
}

PgmStatus pgm_engine_open(PgmSession *s, PgmError *error)
{
  const PgmModel *m = s->model;
  PgmEngine *e = s->engine = calloc(1, sizeof *e);
  long sums = 0, scratch = 0, targets = TARGET_CHUNK;
  if (!e) return no_memory(error);
  e->threads = s->threads;
  e->plate = calloc((size_t)m->n_plates + 1, sizeof *e->plate);
  e->ref = calloc((size_t)m->n_refs + 1, sizeof *e->ref);
  e->tables = calloc((size_t)m->n_sums + 1, sizeof *e->tables);
  e->single = calloc((size_t)m->n_families + 1, sizeof *e->single);
  if (!e->plate || !e->ref || !e->tables || !e->single) return no_memory(error);
  for (int f = 0; f < m->n_families; f++) {
    if (!pgm_is_latent(&m->families[f])) continue;
    PgmLatent *latent = pgm_session_latent(s, f);
    latent->value_sum = latent->value_bar;
    latent->mean_sum = latent->mean_bar;
    latent->sd_sum = latent->sd_bar;
  }
  for (int i = 0; i < m->n_plates; i++) {
    PlatePlan *p = &e->plate[i];
    plan_plate(s, p, i);
    if (p->plate->single && !open_products(s, p)) return no_memory(error);
    if (!(p->refs = malloc(sizeof *p->refs * (size_t)(m->n_refs + 1)))) return no_memory(error);
    for (int r = 0; r < m->n_refs; r++)
      if (m->refs[r].plate == i) p->refs[p->n_refs++] = r;
    /* fewer units never make more slots, so this covers minibatches */
    const long need = slots_for(p, p->units) * p->sum_doubles;
    if (need > sums) sums = need;
    const long block = p->block < p->units ? p->block : p->units;
    if (p->plate->scratch && block && p->plate->scratch(s->env, block) > scratch) scratch = p->plate->scratch(s->env, block);
  }
  for (int r = 0; r < m->n_refs; r++) {
    const PgmStatus status = plan_ref(s, &e->ref[r], &m->refs[r], error);
    if (status) return status;
    if (e->ref[r].width > targets) targets = e->ref[r].width;
  }
  const size_t env_stride = (m->env_size + 63) / 64 * 64;
  e->scratch_stride = (size_t)(scratch + 15) / 8 * 8;
  e->slot = aligned_alloc(64, sizeof *e->slot * MAX_SLOTS);
  e->envs = aligned_alloc(64, env_stride * MAX_SLOTS + 64);
  e->sums = aligned_doubles((double)sums);
  e->scratch = aligned_doubles((double)e->scratch_stride * e->threads);
  e->targets = malloc(sizeof *e->targets * (size_t)targets);
  if (!e->slot || !e->envs || !e->sums || !e->scratch || !e->targets) return no_memory(error);
  for (int k = 0; k < MAX_SLOTS; k++) e->slot[k] = (Slot){.env = e->envs + (size_t)k * env_stride, .sums = e->sums};
  for (int i = 0; i < m->n_sums; i++) {
    const PgmStatus status = open_sums(s, i, error);
    if (status) return status;
  }
  s->constant = 0;
  for (int i = 0; i < m->n_plates; i++) {
    const Work w = {.s = s, .plan = &e->plate[i], .kernel = m->plates[i].constant, .count = e->plate[i].units, .weight = 1};
    if (w.kernel) s->constant += run_plate(&w);
  }
  return PGM_OK;
}

void pgm_engine_close(PgmSession *s)
{
  PgmEngine *e = s->engine;
  if (!e) return;
  for (int i = 0; i < s->model->n_plates && e->plate; i++) {
    free(e->plate[i].refs);
    free(e->plate[i].product);
  }
  for (int f = 0; f < s->model->n_families && e->single; f++) free(e->single[f]);
  free(e->single);
  for (int r = 0; r < s->model->n_refs && e->ref; r++) {
    free(e->ref[r].value);
    free(e->ref[r].mean);
    free(e->ref[r].sd);
    free(e->ref[r].target);
    free(e->ref[r].start);
    free(e->ref[r].position);
  }
  free(e->plate);
  free(e->ref);
  free(e->slot);
  free(e->envs);
  free(e->sums);
  free(e->scratch);
  free(e->targets);
  for (int i = 0; i < s->model->n_sums && e->tables; i++) free(e->tables[i]);
  free(e->tables);
  free(e);
  s->engine = NULL;
}

/* ---- sizes of terms ------------------------------------------------------------------------------------------------------------------ */

/* Extent of the k-th plate around a term. */
static long term_extent(const PgmSession *s, int term, int k)
{
  const PgmBox *box = &s->shape.term[term];
  return box->hi[k] >= box->lo[k] ? box->hi[k] - box->lo[k] + 1 : 0;
}

long pgm_term_size(const PgmSession *s, int term)
{
  long n = 1;
  for (int k = 0; k < s->model->terms[term].n_plates; k++) n *= term_extent(s, term, k);
  return n;
}

/* ---- blocks -------------------------------------------------------------------------------------------------------------------------- */

struct PgmBlocks {
  PgmSession *s;
  PgmKernelKind kind;
  int n_plates, *plate;
  long lo, units;
  int n_shared, *shared; /* families that any of the plates shares */
  long sum_doubles;  /* of one copy */
  int copies, slots; /* slots: of the last run */
  const PgmAlike *alike; /* not NULL: the units are these classes */
  long **target;         /* then, per reference of the model: where the entries of its buffer go; NULL: it is of another plate */
  long sum_stride;
  double *sums; /* all copies, of slots, then of threads */
  char *envs;   /* of threads */
  size_t env_stride;
};

void pgm_blocks_close(PgmBlocks *b)
{
  if (!b) return;
  for (int r = 0; b->target && r < b->s->model->n_refs; r++) free(b->target[r]);
  free(b->target);
  free(b->plate);
  free(b->shared);
  free(b->sums);
  free(b->envs);
  free(b);
}

/* Doubles that the kernels add to for a shared family. */
static long sums_of(const PgmSession *s, int family, PgmKernelKind kind)
{
  const PgmLayout *l = &s->layout[family];
  return l->elements * (by_factors(s, family, kind) ? 2 * l->uwidth : l->width);
}

PgmStatus pgm_blocks_open(PgmBlocks **out, PgmSession *s, int axis, PgmKernelKind kind, int copies, PgmError *error)
{
  const PgmModel *m = s->model;
  PgmBlocks *b = calloc(1, sizeof *b);
  long hi = -1;
  *out = NULL;
  if (!b) return no_memory(error);
  b->s = s;
  b->kind = kind;
  b->copies = copies;
  b->plate = calloc((size_t)m->n_plates + 1, sizeof *b->plate);
  b->shared = calloc((size_t)m->n_families + 1, sizeof *b->shared);
  for (int i = 0; b->plate && b->shared && i < m->n_plates; i++) {
    const PlatePlan *p = &s->engine->plate[i];
    if (m->plates[i].axis != axis || !in_blocks(p, kind) || !p->units) continue;
    if (!b->n_plates || p->lo < b->lo) b->lo = p->lo;
    if (!b->n_plates || p->lo + p->units - 1 > hi) hi = p->lo + p->units - 1;
    b->plate[b->n_plates++] = i;
    for (int k = 0; k < p->n_shared; k++) {
      int known = 0;
      while (known < b->n_shared && b->shared[known] != p->shared[k]) known++;
      if (known < b->n_shared) continue;
      b->shared[b->n_shared++] = p->shared[k];
      b->sum_doubles += sums_of(s, p->shared[k], kind);
    }
  }
  b->units = b->n_plates ? hi - b->lo + 1 : 0;
  b->sum_stride = (b->copies * b->sum_doubles + 15) / 8 * 8; /* threads keep off each other's cache lines */
  b->env_stride = (m->env_size + 127) / 64 * 64;
  b->sums = aligned_doubles((double)b->sum_stride * (MAX_SLOTS + s->engine->threads));
  b->envs = aligned_alloc(64, b->env_stride * (size_t)s->engine->threads);
  if (!b->plate || !b->shared || !b->sums || !b->envs) {
    pgm_blocks_close(b);
    return no_memory(error);
  }
  *out = b;
  return PGM_OK;
}

/* Where the adjoints in the buffer of a reference go, classes in place of units. */
static bool find_targets(PgmBlocks *b, int ref, const void *env)
{
  const RefPlan *r = &b->s->engine->ref[ref];
  const PgmSpan span = {.first = r->lo, .count = b->units, .weight = 1};
  b->target[ref] = malloc(sizeof **b->target * (size_t)(b->units * r->width + 1));
  if (b->target[ref] && r->width) r->ref->targets(env, &span, b->target[ref]);
  return b->target[ref];
}

PgmStatus pgm_blocks_alike(PgmBlocks *b, const PgmAlike **out, PgmError *error)
{
  const PgmEngine *e = b->s->engine;
  *out = NULL;
  for (int i = 0; i < b->n_plates; i++)
    if (e->plate[b->plate[i]].lo != b->lo || e->plate[b->plate[i]].units != b->units) return PGM_OK;
  const PgmStatus status = pgm_alike_find(out, b->s, b->plate, b->n_plates, b->lo, b->units, error);
  if (status || !*out) return status;
  b->alike = *out;
  b->units = pgm_alike_classes(*out);
  memcpy(b->envs, b->s->env, b->s->model->env_size);
  pgm_alike_enter(*out, b->envs);
  b->target = calloc((size_t)b->s->model->n_refs + 1, sizeof *b->target);
  bool ok = b->target != NULL;
  for (int i = 0; i < b->n_plates; i++)
    for (int r = 0; ok && r < e->plate[b->plate[i]].n_refs; r++) ok = find_targets(b, e->plate[b->plate[i]].refs[r], b->envs);
  return ok ? PGM_OK : no_memory(error);
}

long pgm_blocks_first(const PgmBlocks *b, long *units)
{
  *units = b->units;
  return b->lo;
}
long pgm_blocks_sums(const PgmBlocks *b)
{
  return b->sum_doubles;
}

static Work block_work(const PgmBlocks *b, int i)
{
  const PlatePlan *p = &b->s->engine->plate[b->plate[i]];
  return (Work){.s = b->s, .plan = p, .kernel = kernel_of(p, b->kind), .kind = b->kind, .gradient = true, .count = b->alike ? b->units : p->units, .weight = 1};
}

void pgm_block_copy(PgmBlock *b, int copy)
{
  const PgmBlocks *all = b->all;
  double *next = b->sums = all->sums + (MAX_SLOTS + b->thread) * all->sum_stride + copy * all->sum_doubles;
  for (int k = 0; k < all->n_shared; k++)
    next = point_sums(b->s, all->shared[k], false, next, all->kind, (PgmLatent *)((char *)b->env + b->s->model->families[all->shared[k]].place));
}

double pgm_block_run(PgmBlock *b)
{
  double sum = 0;
  memset(b->sums, 0, sizeof *b->sums * (size_t)b->all->sum_doubles);
  for (int i = 0; i < b->all->n_plates; i++) {
    const Work w = block_work(b->all, i);
    const long from = b->first > w.plan->lo ? b->first - w.plan->lo : 0, end = b->first + b->count - w.plan->lo;
    const long to = end < w.count ? end : w.count;
    if (from < to) sum += run_spans(&w, b->env, b->scratch, from, to);
  }
  return sum;
}

double pgm_block_run_members(PgmBlock *b)
{
  const double *members = pgm_alike_members(b->all->alike) + (b->first - b->all->lo);
  double sum = 0;
  memset(b->sums, 0, sizeof *b->sums * (size_t)b->all->sum_doubles);
  for (int i = 0; i < b->all->n_plates; i++) {
    Work w = block_work(b->all, i);
    for (long from = 0, to; from < b->count; from = to) {
      for (to = from + 1; to < b->count && members[to] == members[from];) to++;
      w.weight = members[from];
      sum += run_spans(&w, b->env, b->scratch, b->first - b->all->lo + from, b->first - b->all->lo + to);
    }
  }
  return sum;
}

double pgm_block_run_units(PgmBlock *b, const long *units, long count)
{
  double sum = 0;
  memset(b->sums, 0, sizeof *b->sums * (size_t)b->all->sum_doubles);
  for (int i = 0; i < b->all->n_plates; i++) {
    Work w = block_work(b->all, i);
    w.units = units;
    const long from = lower_bound(units, count, w.plan->lo), to = lower_bound(units, count, w.plan->lo + w.plan->units);
    if (from < to) sum += run_spans(&w, b->env, b->scratch, from, to);
  }
  return sum;
}

/* Values per unit that a term of the plate has. */
static long term_width(const PgmSession *s, const PlatePlan *p, int term)
{
  return p->units ? pgm_term_size(s, term) / p->units : 0;
}

long pgm_blocks_room(const PgmBlocks *b, long size)
{
  long most = 0;
  for (int i = 0; i < b->n_plates; i++) {
    const PlatePlan *p = &b->s->engine->plate[b->plate[i]];
    for (int t = p->plate->first_term; t < p->plate->first_term + p->plate->n_terms; t++)
      if (term_width(b->s, p, t) > most) most = term_width(b->s, p, t);
  }
  return most * size;
}

void pgm_block_units(const PgmBlock *b, double *out, double *room)
{
  memset(out, 0, (size_t)b->count * sizeof *out);
  for (int i = 0; i < b->all->n_plates; i++) {
    const PlatePlan *p = &b->s->engine->plate[b->all->plate[i]];
    const long from = b->first > p->lo ? b->first : p->lo, end = b->first + b->count, to = end < p->lo + p->units ? end : p->lo + p->units;
    const PgmSpan span = {.first = from, .count = to - from, .weight = 1, .scratch = b->scratch};
    for (int t = p->plate->first_term; t < p->plate->first_term + p->plate->n_terms && from < to; t++) {
      const PgmTerm *term = &b->s->model->terms[t];
      const long width = term_width(b->s, p, t);
      if (!term->expected_each) continue;
      memset(room, 0, (size_t)(span.count * width) * sizeof *room);
      term->expected_each(b->env, &span, room);
      for (long k = 0; k < span.count * width; k++) out[from - b->first + k / width] += room[k];
    }
  }
}

double pgm_blocks_run(PgmBlocks *b, long size, PgmBlockSolver solver, void *data)
{
  PgmSession *s = b->s;
  const PgmEngine *e = s->engine;
  const long blocks = (b->units + size - 1) / size, doubles = b->copies * b->sum_doubles;
  double value[MAX_SLOTS], total = 0;
  b->slots = blocks < MAX_SLOTS ? (int)blocks : MAX_SLOTS;
  for (int t = 0; t < e->threads; t++) {
    char *env = b->envs + (size_t)t * b->env_stride;
    memcpy(env, s->env, s->model->env_size);
    if (b->alike) pgm_alike_enter(b->alike, env);
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(e->threads) if (e->threads > 1 && b->slots > 1)
  for (int slot = 0; slot < b->slots; slot++) {
    const int t = omp_get_thread_num();
    double *sums = b->sums + slot * b->sum_stride, *own = b->sums + (MAX_SLOTS + t) * b->sum_stride;
    PgmBlock block = {
        .s = s, .all = b, .env = b->envs + (size_t)t * b->env_stride, .thread = t, .scratch = e->scratch + (size_t)t * e->scratch_stride};
    pgm_block_copy(&block, 0);
    memset(sums, 0, sizeof *sums * (size_t)doubles);
    value[slot] = 0;
    for (long k = blocks * slot / b->slots; k < blocks * (slot + 1) / b->slots; k++) {
      block.first = b->lo + k * size;
      block.count = (k + 1) * size < b->units ? size : b->units - k * size;
      value[slot] += solver(&block, data);
      for (long i = 0; i < doubles; i++) sums[i] += own[i];
    }
  }
  for (int slot = 0; slot < b->slots; slot++) total += value[slot];
  return total;
}

void pgm_blocks_add(const PgmBlocks *b, int copy)
{
  for (int slot = 0; slot < b->slots; slot++) {
    double *next = b->sums + slot * b->sum_stride + copy * b->sum_doubles;
    for (int k = 0; k < b->n_shared; k++) {
      const PgmLayout *l = &b->s->layout[b->shared[k]];
      PgmLatent from;
      next = point_sums(b->s, b->shared[k], false, next, b->kind, &from);
      if (!by_factors(b->s, b->shared[k], b->kind)) {
        for (long i = 0; i < l->elements * l->width; i++) l->value_bar[i] += from.value_sum[i];
        continue;
      }
      for (long i = 0; i < l->elements * l->uwidth; i++) l->mean_bar[i] += from.mean_sum[i];
      for (long i = 0; i < l->elements * l->uwidth && !l->table; i++) l->sd_bar[i] += from.sd_sum[i];
    }
  }
  for (int i = 0; i < b->n_plates; i++) {
    const Work w = block_work(b, i);
    collect_refs(&w, b->target);
  }
}

/* ---- single terms -------------------------------------------------------------------------------------------------------------------- */

static const PlatePlan *plan_of_term(const PgmSession *s, int term)
{
  const PgmModel *m = s->model;
  int plate = 0;
  while (term < m->plates[plate].first_term || term >= m->plates[plate].first_term + m->plates[plate].n_terms) plate++;
  return &s->engine->plate[plate];
}

/* Units that one call of a term's kernel takes. */
static long each_block(const PlatePlan *p)
{
  return p->block < UNITS_PER_SLOT || p->plate->block < 0 ? p->block : UNITS_PER_SLOT;
}

void pgm_term_each(PgmSession *s, int term, bool expected, double *out)
{
  const PgmModel *m = s->model;
  const PgmEngine *e = s->engine;
  const PgmEach each = expected && m->terms[term].expected_each ? m->terms[term].expected_each : m->terms[term].point_each;
  const long n = pgm_term_size(s, term);
  const PlatePlan *p = plan_of_term(s, term);
  const long width = p->units ? n / p->units : 0, block = each_block(p);
  memset(out, 0, sizeof *out * (size_t)n); /* ragged plates leave gaps in the box */
#pragma omp parallel for schedule(dynamic, 4) num_threads(e->threads) if (n > PARALLEL_ENTRIES)
  for (long from = 0; from < p->units; from += block) {
    const PgmSpan span = {.first = p->lo + from,
                          .count = p->units - from < block ? p->units - from : block,
                          .weight = 1,
                          .scratch = e->scratch + (size_t)omp_get_thread_num() * e->scratch_stride};
    each(s->env, &span, out + from * width);
  }
}

long pgm_term_width(const PgmSession *s, int term)
{
  const PlatePlan *p = plan_of_term(s, term);
  return p->units ? pgm_term_size(s, term) / p->units : 0;
}

void pgm_term_add(PgmSession *s, int term, const long *units, long n, double *room, double *out)
{
  const PgmEngine *e = s->engine;
  const PlatePlan *p = plan_of_term(s, term);
  const long width = pgm_term_width(s, term), block = each_block(p);
  long from = 0;
  if (!width) return;
  while (from < n && units[from] < p->lo) from++;
  while (n > from && units[n - 1] >= p->lo + p->units) n--;
  for (; from < n; from += block) {
    const PgmSpan span = {.units = units + from,
                          .count = n - from < block ? n - from : block,
                          .weight = 1,
                          .scratch = e->scratch + (size_t)omp_get_thread_num() * e->scratch_stride};
    memset(room, 0, sizeof *room * (size_t)(span.count * width));
    s->model->terms[term].point_each(s->env, &span, room);
    for (long k = 0; k < span.count; k++)
      for (long i = 0; i < width; i++) out[from + k] += room[k * width + i];
  }
}

bool pgm_find_nan(PgmSession *s, bool expected, char *text, size_t size)
{
  const PgmModel *m = s->model;
  for (int t = 0; t < m->n_terms; t++) {
    const PgmTerm *term = &m->terms[t];
    const long n = pgm_term_size(s, t);
    double *value = malloc(sizeof *value * (size_t)(n + 1));
    long bad = 0;
    if (!value) return false;
    pgm_term_each(s, t, expected, value);
    while (bad < n && isfinite(value[bad])) bad++;
    if (bad < n) {
      const double v = value[bad];
      size_t used = (size_t)snprintf(text, size, "%s", term->text);
      long index[PGM_MAX_INDEX];
      for (int k = term->n_plates - 1; k >= 0; k--) {
        index[k] = s->shape.term[t].lo[k] + bad % term_extent(s, t, k);
        bad /= term_extent(s, t, k);
      }
      for (int k = 0; k < term->n_plates && used < size; k++)
        used += (size_t)snprintf(text + used, size - used, "%s%s = %ld", k ? ", " : " at ", term->plates[k], index[k]);
      if (used < size)
        snprintf(text + used, size - used, " (%s:%d) is %s", m->file, term->line, isnan(v) ? "NaN" : v > 0 ? "infinite" : "minus infinity");
      free(value);
      return true;
    }
    free(value);
  }
  return false;
}
