/* Parameter sources: see source.h. Work is cut into slots by the number of rows alone; each slot adds up its own gradient, and slots are
 * summed in order, so that the bits do not depend on the number of threads. */
#include "source.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "encoder.h"

enum { BLOCK = 256, SLOTS = 16, SLOT_ROWS = 128 };
static const long KEEP_AT_MOST = 1 << 24; /* doubles of activations kept between forward and backward: 128 MB */
static const double HALF_LOG_2PI_E = 1.41893853320467274178;

/* ---- functions ----------------------------------------------------------------------------------------------------------------------- */

void pgm_function_free(PgmFunction *f)
{
  if (!f) return;
  for (int i = 0; f->inputs && i < f->n_inputs; i++) free(f->inputs[i]);
  for (int i = 0; f->flags && i < f->n_flags; i++) free(f->flags[i]);
  free(f->inputs);
  free(f->flags);
  free(f->center);
  free(f->scale);
  free(f->weights);
  free(f);
}

static char **copy_texts(int n, char *const *texts)
{
  char **out = calloc((size_t)n + 1, sizeof *out);
  for (int i = 0; out && i < n; i++)
    if (!(out[i] = strdup(texts[i]))) {
      while (i--) free(out[i]);
      free(out);
      return NULL;
    }
  return out;
}

static double *copy_doubles(long n, const double *v)
{
  double *out = malloc((size_t)(n + 1) * sizeof *out);
  if (out && n) memcpy(out, v, (size_t)n * sizeof *out);
  return out;
}

PgmFunction *pgm_function_copy(const PgmFunction *f)
{
  PgmFunction *c = malloc(sizeof *c);
  if (!c) return NULL;
  *c = *f;
  c->inputs = copy_texts(f->n_inputs, f->inputs);
  c->flags = copy_texts(f->n_flags, f->flags);
  c->center = copy_doubles(f->n_scaled, f->center);
  c->scale = copy_doubles(f->n_scaled, f->scale);
  c->weights = f->weights ? copy_doubles(f->n_weights, f->weights) : NULL;
  if (!c->inputs || !c->flags || !c->center || !c->scale || (f->weights && !c->weights)) {
    pgm_function_free(c);
    return NULL;
  }
  return c;
}

PgmStatus pgm_function_new(PgmFunction **out, PgmGather **gather, const PgmSession *s, int family, const PgmInputs *inputs,
                           const PgmFitOptions *o, PgmError *error)
{
  PgmFunction *f = calloc(1, sizeof *f);
  *out = NULL;
  *gather = NULL;
  if (!f) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  f->origin = inputs->origin;
  f->degree = o->degree;
  f->activation = o->activation;
  f->skip = o->skip;
  if (f->degree < 0) {
    f->n_hidden = o->n_hidden ? o->n_hidden : 2;
    for (int l = 0; l < f->n_hidden; l++) f->hidden[l] = o->n_hidden ? o->hidden[l] : 16;
  }
  PgmStatus st = pgm_gather_open(gather, s, family, inputs->n, inputs->text, inputs->where, f, error);
  if (st) {
    pgm_function_free(f);
    return st;
  }
  const bool table = s->layout[family].table;
  bool alike = !f->n_flags && !table; /* where elements differ by a flag or the size of a set, their scales may too */
  for (int e = 0; e < f->n_encoders; e++)
    for (int l = 0; l < f->encoders[e].n_levels; l++) alike = alike && !f->encoders[e].varies[l];
  f->free_scale = inputs->free_scale && alike;
  f->n_outputs = s->layout[family].uwidth * (f->free_scale || table ? 1 : 2);
  PgmNet net;
  st = pgm_function_net(&net, f, error);
  if (!st) pgm_net_close(&net);
  if (st) {
    pgm_gather_close(*gather);
    *gather = NULL;
    pgm_function_free(f);
    return st;
  }
  *out = f;
  return PGM_OK;
}

/* ---- opening ------------------------------------------------------------------------------------------------------------------------- */

static int slots_of(long rows)
{
  long n = rows / SLOT_ROWS;
  return n < 1 ? 1 : n > SLOTS ? SLOTS : (int)n;
}

/* Of a function, a power of two: each slot has a gradient of all weights to clear and to add, and threads share them out evenly. */
static int function_slots(long rows)
{
  int n = 1;
  while (2 * n <= slots_of(rows)) n *= 2;
  return n;
}

/* One slot's scratch: the features and activations of a block, outputs and their adjoints, the net's own, the gradient but for the encoders. */
static long slot_doubles(const PgmSource *f)
{
  return BLOCK * (f->net.row + 2 * f->net.n_outputs) + pgm_net_scratch(&f->net, BLOCK) + f->net.n_weights + f->uwidth;
}

/* A slot's scratch in single precision: features and activations of a block, outputs or their adjoints, the net's own, the gradient. */
static long single_slot(const PgmSource *f)
{
  return BLOCK * (f->net.row + f->net.n_outputs) + pgm_net_scratch(&f->net, BLOCK) + f->net.n_weights;
}

void pgm_sources_close(PgmSources *q)
{
  if (!q) return;
  for (int i = 0; i < q->n; i++) {
    PgmSource *f = &q->source[i];
    if (f->kind == PGM_FUNCTION) {
      pgm_net_close(&f->net);
      pgm_gather_close(f->gather);
      pgm_function_free(f->function);
      free(f->kept);
      free(f->features_bar);
      free(f->single);
    }
    free(f->scratch);
  }
  free(q->source);
  free(q);
}

PgmStatus pgm_sources_open(PgmSources **out, PgmSession *s, int n, const PgmSourceSpec *specs, bool eliminate, PgmError *error)
{
  PgmStatus st = PGM_OK;
  PgmSources *q = calloc(1, sizeof *q);
  *out = NULL;
  if (q) q->source = calloc((size_t)n + 1, sizeof *q->source);
  if (!q || !q->source) {
    free(q);
    for (int i = 0; i < n; i++) {
      pgm_gather_close(specs[i].gather);
      pgm_function_free(specs[i].function);
    }
    return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  q->s = s;
  q->eliminates = eliminate && pgm_eliminates(s->model, -1);
  for (int i = 0; i < n; i++) {
    const PgmFamily *family = &s->model->families[specs[i].family];
    const PgmLayout *l = &s->layout[specs[i].family];
    if (q->eliminates && pgm_eliminates(s->model, specs[i].family)) {
      q->eliminated += 2 * l->defined * l->uwidth;
      continue;
    }
    PgmSource *f = &q->source[q->n++];
    *f = (PgmSource){.family = specs[i].family,
                     .kind = specs[i].kind,
                     .local = family->role == PGM_LOCAL,
                     .point = family->role == PGM_PARAM,
                     .table = l->table,
                     .scales = family->role != PGM_PARAM && !l->table,
                     .rows = l->defined,
                     .uwidth = l->uwidth,
                     .function = specs[i].function,
                     .gather = specs[i].gather,
                     .sd_at = -1};
    long entries = (f->kind == PGM_SHARED ? 1 : f->rows) * f->uwidth;
    f->size = f->kind == PGM_FUNCTION ? f->function->n_weights : f->scales ? 2 * entries : entries;
    if (f->kind == PGM_FUNCTION && !st) st = pgm_function_net(&f->net, f->function, error);
  }
  for (int part = 0; part < 3; part++) {
    for (int i = 0; i < q->n; i++) {
      PgmSource *f = &q->source[i];
      if (part != (!f->local ? 0 : f->kind != PGM_FREE ? 1 : 2)) continue;
      f->at = q->size;
      if (f->kind == PGM_FUNCTION) {
        f->encoders_at = f->at + f->net.n_weights;
        f->sd_at = f->function->free_scale ? f->at + f->size - f->uwidth : -1;
      } else if (f->scales) {
        f->sd_at = f->at + f->size / 2;
      }
      q->size += f->size;
    }
    if (part == 0) q->globals = q->functions = q->size;
    if (part == 1) q->functions = q->size;
  }
  for (int i = 0; i < q->n && !st; i++) {
    PgmSource *f = &q->source[i];
    if (f->kind == PGM_FUNCTION) {
      f->slot_size = slot_doubles(f);
      f->kept_rows = f->net.row * f->rows > KEEP_AT_MOST ? KEEP_AT_MOST / f->net.row : f->rows;
      f->kept = malloc((size_t)(f->kept_rows * f->net.row + 1) * sizeof *f->kept); /* pages that no evaluation fills are never there */
      if (!f->kept) st = pgm_fail(error, PGM_SYSTEM, "out of memory");
      if (!st) st = pgm_gather_bind(f->gather, q, error);
      if (!st && pgm_gather_learns(f->gather)) {
        f->features_bar = malloc((size_t)(f->rows * f->net.n_features + 1) * sizeof *f->features_bar);
        if (!f->features_bar) st = pgm_fail(error, PGM_SYSTEM, "out of memory");
      }
    } else {
      f->slot_size = f->kind == PGM_SHARED ? 2 * f->uwidth : 0;
    }
    f->scratch = malloc((size_t)(SLOTS * f->slot_size + 1) * sizeof *f->scratch);
    if (!f->scratch && !st) st = pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  if (!st && pgm_has_single(s->model)) st = pgm_sources_make_single(q, error);
  if (st) {
    pgm_sources_close(q);
    return st;
  }
  *out = q;
  return PGM_OK;
}

PgmStatus pgm_sources_make_single(PgmSources *q, PgmError *error)
{
  for (int i = 0; i < q->n; i++) {
    PgmSource *f = &q->source[i];
    if (f->kind != PGM_FUNCTION || f->net.n_terms || f->features_bar || f->single) continue;
    f->single = malloc((size_t)(f->net.n_weights + SLOTS * single_slot(f)) * sizeof *f->single);
    if (!f->single) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  return PGM_OK;
}

PgmSource *pgm_sources_find(const PgmSources *q, int family)
{
  for (int i = 0; i < q->n; i++)
    if (q->source[i].family == family) return &q->source[i];
  return NULL;
}

static long flat_of(const PgmLayout *l, long row)
{
  return l->list ? l->list[row] : row;
}

/* ---- tables of discrete variables ---------------------------------------------------------------------------------------------------- */

/* Log probabilities no lower than this: what is not excluded may come back. */
static const double LEAST_LOG = -600;

double pgm_table_fill(const PgmSession *s, int family, long flat, const double *logit, double *table)
{
  const PgmLayout *l = &s->layout[family];
  const unsigned char *out = l->excluded ? l->excluded + flat * l->uwidth : NULL;
  const long levels = pgm_levels(&s->model->families[family], l, flat);
  double most = -INFINITY, sum = 0, entropy = 0;
  for (long k = 0; k < levels; k++)
    if (!(out && out[k])) most = fmax(most, logit[k]);
  for (long k = 0; k < levels; k++)
    if (!(out && out[k])) sum += exp(fmax(logit[k] - most, LEAST_LOG));
  const double log_sum = log(sum);
  for (long k = 0; k < l->uwidth; k++) {
    if (k >= levels || (out && out[k])) {
      table[k] = 0;
      continue;
    }
    const double log_p = fmax(logit[k] - most, LEAST_LOG) - log_sum;
    table[k] = exp(log_p);
    entropy -= table[k] * log_p;
  }
  return entropy;
}

double pgm_table_optimum(const PgmLayout *l, long flat, const double *logit, double *optimum)
{
  const long w = l->uwidth;
  const double *p = l->mean + flat * w, *slope = l->mean_bar + flat * w;
  double most = -INFINITY, sum = 0, gain = 0;
  for (long k = 0; k < w; k++)
    if (p[k] > 0) most = fmax(most, slope[k]);
  for (long k = 0; k < w; k++) sum += p[k] > 0 ? exp(slope[k] - most) : 0;
  const double log_sum = most + log(sum);
  for (long k = 0; k < w; k++) {
    optimum[k] = p[k] > 0 && isfinite(slope[k] - log_sum) ? slope[k] - log_sum : logit[k];
    gain += p[k] > 0 ? p[k] * (log(p[k]) - slope[k] + log_sum) : 0;
  }
  return isfinite(gain) ? fmax(gain, 0) : 0;
}

double pgm_draw_table(const PgmSession *s, int family, const double *table, PgmKey key)
{
  const PgmLayout *l = &s->layout[family];
  double total = 0;
  for (long r = 0; r < l->defined; r++) {
    const long flat = l->list ? l->list[r] : r;
    const double *p = table + flat * l->uwidth;
    double left = pgm_philox_uniform(key, (uint64_t)flat);
    long at = 0;
    for (long k = 0; k < l->uwidth; k++) {
      if (!(p[k] > 0)) continue;
      at = k; /* the last possible one where rounding leaves something over */
      if ((left -= p[k]) < 0) break;
    }
    l->value[flat] = pgm_lowest(&s->model->families[family], l, flat) + (double)at;
    total += log(p[at]);
  }
  return total;
}

/* Gradient with respect to the logits of the expectation, whose slopes with respect to the probabilities are in mean_bar, and of weight * entropy. */
static void table_backward(const PgmLayout *l, long flat, double weight, double *logit_bar)
{
  const double *p = l->mean + flat * l->uwidth, *slope = l->mean_bar + flat * l->uwidth;
  double average = 0;
  for (long k = 0; k < l->uwidth; k++) {
    logit_bar[k] = p[k] > 0 ? slope[k] - weight * log(p[k]) : 0;
    average += p[k] * logit_bar[k];
  }
  for (long k = 0; k < l->uwidth; k++) logit_bar[k] = p[k] * (logit_bar[k] - average);
}

long pgm_sources_exclude(PgmSources *q)
{
  long marked = 0;
  for (int i = 0; i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    PgmLayout *l = &q->s->layout[f->family];
    if (!f->table) continue;
    if (!l->excluded && !(l->excluded = calloc((size_t)(l->elements * l->uwidth) + 1, 1))) continue;
    for (long r = 0; r < f->rows; r++) {
      const long at = flat_of(l, r) * l->uwidth;
      bool possible = false; /* not all: then it is not this element's fault */
      for (long k = at; k < at + l->uwidth; k++) possible = possible || (l->mean[k] > 0 && l->mean_bar[k] > -INFINITY);
      for (long k = at; k < at + l->uwidth && possible; k++)
        if (l->mean_bar[k] == -INFINITY && !l->excluded[k]) l->excluded[k] = 1, marked++;
    }
  }
  return marked;
}

/* ---- forward and backward ------------------------------------------------------------------------------------------------------------ */

/* Entries in one piece when the rows are consecutive elements. */
static bool contiguous(const PgmLayout *l, const PgmRows *rows)
{
  return !l->list && !(rows && rows->row);
}

/* Free and shared tables. */
static double tables_forward(const PgmSources *q, const PgmSource *f, const double *x, const PgmRows *rows)
{
  const PgmLayout *l = &q->s->layout[f->family];
  const long w = f->uwidth, n = rows && rows->row ? rows->n : f->rows;
  const int slots = slots_of(n);
  double part[SLOTS], total = 0;
#pragma omp parallel for schedule(static) num_threads(q->s->threads) if (q->s->threads > 1 && n * w > PGM_PARALLEL)
  for (int slot = 0; slot < slots; slot++) {
    double sum = 0;
    for (long r = n * slot / slots; r < n * (slot + 1) / slots; r++) {
      const long row = rows && rows->row ? rows->row[r] : r, to = flat_of(l, row);
      const double own = pgm_table_fill(q->s, f->family, to, x + f->at + (f->kind == PGM_SHARED ? 0 : row * w), l->mean + to * w);
      sum += rows && rows->weight ? rows->weight[r] * own : own;
    }
    part[slot] = sum;
  }
  for (int slot = 0; slot < slots; slot++) total += part[slot];
  return total;
}

static void tables_backward(const PgmSources *q, const PgmSource *f, const PgmRows *rows, double *gradient)
{
  const PgmLayout *l = &q->s->layout[f->family];
  const long w = f->uwidth, n = rows && rows->row ? rows->n : f->rows;
  const int slots = slots_of(n);
  const bool shared = f->kind == PGM_SHARED;
#pragma omp parallel for schedule(static) num_threads(q->s->threads) if (q->s->threads > 1 && n * w > PGM_PARALLEL)
  for (int slot = 0; slot < slots; slot++) {
    double *sum = f->scratch + slot * f->slot_size, *own = sum + w; /* of shared tables: the slot's sum, one row's */
    if (shared) memset(sum, 0, (size_t)w * sizeof *sum);
    for (long r = n * slot / slots; r < n * (slot + 1) / slots; r++) {
      const long row = rows && rows->row ? rows->row[r] : r;
      const double weight = rows && rows->weight ? rows->weight[r] : 1;
      table_backward(l, flat_of(l, row), weight, shared ? own : gradient + f->at + row * w);
      for (long k = 0; k < w && shared; k++) sum[k] += own[k];
    }
  }
  if (!shared) return;
  memset(gradient + f->at, 0, (size_t)f->size * sizeof *gradient);
  for (int slot = 0; slot < slots; slot++)
    for (long k = 0; k < w; k++) gradient[f->at + k] += f->scratch[slot * f->slot_size + k];
}

/* Rows begin .. end-1 of a free source; returns their entropy. One function, whoever calls it, so that its bits are the same. */
static __attribute__((noinline)) double free_rows(const PgmSource *f, const PgmLayout *l, const double *x, const PgmRows *rows, long begin, long end)
{
  const double *mean = x + f->at, *log_sd = x + f->sd_at;
  const long w = f->uwidth;
  double sum = 0;
  if (contiguous(l, rows)) {
    double *restrict sd = l->sd;
    memcpy(l->mean + begin * w, mean + begin * w, (size_t)((end - begin) * w) * sizeof *mean);
#pragma omp simd reduction(+ : sum)
    for (long e = begin * w; e < end * w; e++) {
      sd[e] = exp(log_sd[e]);
      sum += log_sd[e];
    }
    return sum + HALF_LOG_2PI_E * (double)((end - begin) * w);
  }
  for (long r = begin; r < end; r++) {
    const long row = rows && rows->row ? rows->row[r] : r, to = flat_of(l, row) * w;
    double own = 0;
    for (long k = 0; k < w; k++) {
      l->mean[to + k] = mean[row * w + k];
      l->sd[to + k] = exp(log_sd[row * w + k]);
      own += log_sd[row * w + k] + HALF_LOG_2PI_E;
    }
    sum += rows && rows->weight ? rows->weight[r] * own : own;
  }
  return sum;
}

static double free_forward(const PgmSources *q, const PgmSource *f, const double *x, const PgmRows *rows)
{
  const PgmLayout *l = &q->s->layout[f->family];
  const double *mean = x + f->at;
  const long w = f->uwidth, n = rows && rows->row ? rows->n : f->rows, pieces = (n + PGM_PIECE - 1) / PGM_PIECE;
  double total = 0;
  if (f->point) {
    for (long r = 0; r < n; r++) {
      long row = rows && rows->row ? rows->row[r] : r;
      memcpy(l->mean + flat_of(l, row) * w, mean + row * w, (size_t)w * sizeof *mean);
    }
    return 0;
  }
  double part[SLOTS];
  const int slots = pieces < SLOTS ? (int)(pieces ? pieces : 1) : SLOTS;
  if (slots == 1) return free_rows(f, l, x, rows, 0, n);
#pragma omp parallel for schedule(static) num_threads(q->s->threads) if (q->s->threads > 1 && n * w > PGM_PARALLEL)
  for (int slot = 0; slot < slots; slot++) part[slot] = free_rows(f, l, x, rows, n * slot / slots, n * (slot + 1) / slots);
  for (int slot = 0; slot < slots; slot++) total += part[slot];
  return total;
}

static void free_backward(const PgmSources *q, const PgmSource *f, const PgmRows *rows, double *gradient)
{
  const PgmLayout *l = &q->s->layout[f->family];
  double *mean_bar = gradient + f->at, *sd_bar = gradient + f->sd_at;
  const long w = f->uwidth, n = rows && rows->row ? rows->n : f->rows;
  const bool whole = contiguous(l, rows);
  if (whole && !f->point) {
    const double *restrict mb = l->mean_bar, *restrict sb = l->sd_bar, *restrict sd = l->sd;
    PGM_PIECES(n * w, q->s->threads, from, to, {
      memcpy(mean_bar + from, mb + from, (size_t)(to - from) * sizeof *mb);
      for (long e = from; e < to; e++) sd_bar[e] = sd[e] * sb[e] + 1;
    });
    return;
  }
  PGM_PIECES(n, q->s->threads, begin, end, {
    for (long r = begin; r < end; r++) {
      const long row = rows && rows->row ? rows->row[r] : r, from = flat_of(l, row) * w;
      const double weight = rows && rows->weight ? rows->weight[r] : 1;
      for (long k = 0; k < w; k++) mean_bar[row * w + k] = l->mean_bar[from + k];
      for (long k = 0; k < w && !f->point; k++) sd_bar[row * w + k] = l->sd[from + k] * l->sd_bar[from + k] + weight;
    }
  });
}

static double weight_sum(const PgmSource *f, const PgmRows *rows)
{
  if (!rows || !rows->row) return (double)f->rows;
  if (!rows->weight) return (double)rows->n;
  double sum = 0;
  for (long r = 0; r < rows->n; r++) sum += rows->weight[r];
  return sum;
}

static double shared_forward(const PgmSources *q, const PgmSource *f, const double *x, const PgmRows *rows)
{
  const PgmLayout *l = &q->s->layout[f->family];
  const long w = f->uwidth, n = rows && rows->row ? rows->n : f->rows;
  double each = 0;
  for (long k = 0; k < w; k++) each += x[f->sd_at + k] + HALF_LOG_2PI_E;
  double *sd = f->scratch; /* uwidth doubles: slot_size is 2 * uwidth */
  for (long k = 0; k < w; k++) sd[k] = exp(x[f->sd_at + k]);
#pragma omp parallel for schedule(static) num_threads(q->s->threads) if (q->s->threads > 1 && n * w > 2 * PGM_PARALLEL)
  for (long r = 0; r < n; r++) {
    const long to = flat_of(l, rows && rows->row ? rows->row[r] : r) * w;
    memcpy(l->mean + to, x + f->at, (size_t)w * sizeof *sd);
    memcpy(l->sd + to, sd, (size_t)w * sizeof *sd);
  }
  return each * weight_sum(f, rows);
}

static void shared_backward(const PgmSources *q, const PgmSource *f, const PgmRows *rows, double *gradient)
{
  const PgmLayout *l = &q->s->layout[f->family];
  const long w = f->uwidth, n = rows && rows->row ? rows->n : f->rows;
  const int slots = slots_of(n);
#pragma omp parallel for schedule(static) num_threads(q->s->threads) if (q->s->threads > 1 && n * w > PGM_PARALLEL)
  for (int slot = 0; slot < slots; slot++) {
    double *sum = f->scratch + slot * f->slot_size;
    memset(sum, 0, (size_t)(2 * w) * sizeof *sum);
    for (long r = n * slot / slots; r < n * (slot + 1) / slots; r++) {
      const long from = flat_of(l, rows && rows->row ? rows->row[r] : r) * w;
      const double weight = rows && rows->weight ? rows->weight[r] : 1;
      for (long k = 0; k < w; k++) {
        sum[k] += l->mean_bar[from + k];
        sum[w + k] += l->sd[from + k] * l->sd_bar[from + k] + weight;
      }
    }
  }
  memset(gradient + f->at, 0, (size_t)f->size * sizeof *gradient);
  for (int slot = 0; slot < slots; slot++)
    for (long k = 0; k < 2 * w; k++) gradient[f->at + k] += f->scratch[slot * f->slot_size + k];
}

/* The pieces of a slot's scratch. `single`: NULL in double precision. */
typedef struct {
  double *kept, *out, *out_bar, *net, *gradient;
  float *single, *single_out, *single_net, *single_gradient;
} Slot;

static Slot slot_of(const PgmSources *q, const PgmSource *f, int slot)
{
  Slot p = {0};
  p.kept = f->scratch + slot * f->slot_size;
  p.out = p.kept + BLOCK * f->net.row;
  p.out_bar = p.out + BLOCK * f->net.n_outputs;
  p.net = p.out_bar + BLOCK * f->net.n_outputs;
  p.gradient = p.net + pgm_net_scratch(&f->net, BLOCK);
  if (!q->single || !f->single) return p;
  p.single = f->single + f->net.n_weights + slot * single_slot(f);
  p.single_out = p.single + BLOCK * f->net.row;
  p.single_net = p.single_out + BLOCK * f->net.n_outputs;
  p.single_gradient = p.single_net + pgm_net_scratch(&f->net, BLOCK);
  return p;
}

static void to_single(const double *restrict from, long n, float *restrict to)
{
  for (long i = 0; i < n; i++) to[i] = (float)from[i];
}

static void to_double(const float *restrict from, long n, double *restrict to)
{
  for (long i = 0; i < n; i++) to[i] = (double)from[i];
}

/* Where a block keeps features and activations: until the backward pass if all rows have room, n being their number. In single precision a row takes half of
 * its room. */
static double *kept_of(const PgmSource *f, const Slot *p, long at, long n) { return n <= f->kept_rows ? f->kept + at * f->net.row : p->kept; }
static float *kept_single(const PgmSource *f, const Slot *p, long at, long n)
{
  return n <= f->kept_rows ? (float *)f->kept + at * f->net.row : p->single;
}

/* Features and activations of the block of rows `at`.. of n, to be kept; outputs into p->out. */
static void function_block(const PgmSource *f, const double *x, const PgmRows *rows, long at, long count, long n, const Slot *p)
{
  enum { AT_ONCE = 16 }; /* rows that the cache holds between gathering and rounding */
  const long *row = rows && rows->row ? rows->row + at : NULL, features = f->net.n_features;
  if (!p->single) {
    pgm_gather_rows(f->gather, row, at, count, kept_of(f, p, at, n));
    pgm_net_forward(&f->net, x + f->at, count, kept_of(f, p, at, n), p->out);
    return;
  }
  float *kept = kept_single(f, p, at, n);
  for (long r = 0; r < count; r += AT_ONCE) {
    const long some = count - r < AT_ONCE ? count - r : AT_ONCE;
    pgm_gather_rows(f->gather, row ? row + r : NULL, at + r, some, p->kept);
    to_single(p->kept, some * features, kept + r * features);
  }
  pgm_net_forward_single(&f->net, f->single, count, kept, p->single_out);
  to_double(p->single_out, count * f->net.n_outputs, p->out);
}

/* Adds the block's gradient, from p->out_bar and what was kept, to the slot's. */
static void function_block_back(const PgmSource *f, const double *x, long at, long count, long n, const Slot *p)
{
  if (!p->single) {
    pgm_net_backward(&f->net, x + f->at, count, kept_of(f, p, at, n), p->out_bar, p->gradient,
                     f->features_bar ? f->features_bar + at * f->net.n_features : NULL, p->net);
    return;
  }
  to_single(p->out_bar, count * f->net.n_outputs, p->single_out);
  pgm_net_backward_single(&f->net, f->single, count, kept_single(f, p, at, n), p->single_out, p->single_gradient, p->single_net);
}

/* A row costs about as many multiplications as there are weights. */
static bool worth_threads(const PgmSource *f, long rows) { return (double)rows * (double)(f->net.n_weights + 16) > 16. * PGM_PARALLEL; }

static double function_forward(const PgmSources *q, const PgmSource *f, const double *x, const PgmRows *rows)
{
  const PgmLayout *l = &q->s->layout[f->family];
  const long w = f->uwidth, n = rows && rows->row ? rows->n : f->rows, o = f->net.n_outputs;
  const int slots = function_slots(n);
  double part[SLOTS], total = 0;
  if (q->single && f->single) to_single(x + f->at, f->net.n_weights, f->single);
  pgm_gather_prepare(f->gather, x + f->encoders_at, x, rows ? rows->row : NULL, n);
#pragma omp parallel for schedule(static) num_threads(q->s->threads) if (q->s->threads > 1 && slots > 1 && worth_threads(f, n))
  for (int slot = 0; slot < slots; slot++) {
    const Slot p = slot_of(q, f, slot);
    const long end = n * (slot + 1) / slots;
    double sum = 0;
    for (long at = n * slot / slots; at < end; at += BLOCK) {
      const long count = end - at < BLOCK ? end - at : BLOCK;
      function_block(f, x, rows, at, count, n, &p);
      for (long r = 0; r < count; r++) {
        const long to = flat_of(l, rows && rows->row ? rows->row[at + r] : at + r) * w;
        if (f->table) {
          const double entropy = pgm_table_fill(q->s, f->family, to / w, p.out + r * o, l->mean + to);
          sum += rows && rows->weight ? rows->weight[at + r] * entropy : entropy;
          continue;
        }
        const double *log_sd = f->sd_at >= 0 ? x + f->sd_at : p.out + r * o + w;
        double own = 0;
        for (long k = 0; k < w; k++) {
          l->mean[to + k] = p.out[r * o + k];
          l->sd[to + k] = exp(log_sd[k]);
          own += log_sd[k] + HALF_LOG_2PI_E;
        }
        sum += rows && rows->weight ? rows->weight[at + r] * own : own;
      }
    }
    part[slot] = sum;
  }
  for (int slot = 0; slot < slots; slot++) total += part[slot];
  return total;
}

/* The gradients of the slots, in order. */
static void add_weights(const PgmSources *q, const PgmSource *f, int slots, double *restrict out)
{
  PGM_PIECES(f->net.n_weights, q->s->threads, from, to, {
    for (int slot = 0; slot < slots; slot++) {
      const Slot p = slot_of(q, f, slot);
      if (p.single)
        for (long k = from; k < to; k++) out[k] += (double)p.single_gradient[k];
      else
        for (long k = from; k < to; k++) out[k] += p.gradient[k];
    }
  });
}

static void function_backward(const PgmSources *q, const PgmSource *f, const double *x, const PgmRows *rows, double *gradient)
{
  const PgmLayout *l = &q->s->layout[f->family];
  const long w = f->uwidth, n = rows && rows->row ? rows->n : f->rows, o = f->net.n_outputs;
  const int slots = function_slots(n);
#pragma omp parallel for schedule(static) num_threads(q->s->threads) if (q->s->threads > 1 && slots > 1 && worth_threads(f, n))
  for (int slot = 0; slot < slots; slot++) {
    const Slot p = slot_of(q, f, slot);
    const long end = n * (slot + 1) / slots;
    double *scale_bar = f->sd_at >= 0 ? p.gradient + f->net.n_weights : NULL;
    memset(p.gradient + f->net.n_weights, 0, (size_t)f->uwidth * sizeof *p.gradient);
    if (p.single)
      memset(p.single_gradient, 0, (size_t)f->net.n_weights * sizeof *p.single_gradient);
    else
      memset(p.gradient, 0, (size_t)f->net.n_weights * sizeof *p.gradient);
    for (long at = n * slot / slots; at < end; at += BLOCK) {
      const long count = end - at < BLOCK ? end - at : BLOCK;
      if (n > f->kept_rows) function_block(f, x, rows, at, count, n, &p);
      for (long r = 0; r < count; r++) {
        const long from = flat_of(l, rows && rows->row ? rows->row[at + r] : at + r) * w;
        const double weight = rows && rows->weight ? rows->weight[at + r] : 1;
        if (f->table) {
          table_backward(l, from / w, weight, p.out_bar + r * o);
          continue;
        }
        double *sd_bar = scale_bar ? scale_bar : p.out_bar + r * o + w;
        for (long k = 0; k < w; k++) {
          const double bar = l->sd[from + k] * l->sd_bar[from + k] + weight;
          p.out_bar[r * o + k] = l->mean_bar[from + k];
          sd_bar[k] = scale_bar ? sd_bar[k] + bar : bar;
        }
      }
      function_block_back(f, x, at, count, n, &p);
    }
  }
  memset(gradient + f->at, 0, (size_t)f->size * sizeof *gradient);
  for (int slot = 0; slot < slots && f->sd_at >= 0; slot++)
    for (long k = 0; k < f->uwidth; k++) gradient[f->sd_at + k] += slot_of(q, f, slot).gradient[f->net.n_weights + k];
  add_weights(q, f, slots, gradient + f->at);
  if (f->features_bar)
    pgm_gather_backward(f->gather, x + f->encoders_at, x, rows ? rows->row : NULL, n, f->features_bar, gradient + f->encoders_at, gradient);
}

double pgm_sources_forward(PgmSources *q, const double *x, const PgmRows *rows)
{
  double entropy = 0;
  for (int i = 0; i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    const PgmRows *r = rows ? &rows[i] : NULL;
    entropy += f->kind == PGM_FUNCTION ? function_forward(q, f, x, r)
               : f->table              ? tables_forward(q, f, x, r)
               : f->kind == PGM_SHARED ? shared_forward(q, f, x, r)
                                       : free_forward(q, f, x, r);
  }
  return entropy;
}

void pgm_sources_backward(PgmSources *q, const double *x, const PgmRows *rows, double *gradient)
{
  for (int pass = 0; pass < 2; pass++) /* functions add to the gradient of factors that are their inputs */
    for (int i = 0; i < q->n; i++) {
      const PgmSource *f = &q->source[i];
      const PgmRows *r = rows ? &rows[i] : NULL;
      if ((f->kind == PGM_FUNCTION) != (pass == 1)) continue;
      if (f->kind == PGM_FUNCTION)
        function_backward(q, f, x, r, gradient);
      else if (f->table)
        tables_backward(q, f, r, gradient);
      else if (f->kind == PGM_SHARED)
        shared_backward(q, f, r, gradient);
      else
        free_backward(q, f, r, gradient);
    }
}

/* ---- starting values ----------------------------------------------------------------------------------------------------------------- */

/* A logit of the probability, not so low that it would rule what averages and functions say. */
static double logit_of(double probability)
{
  return log(fmax(probability, 1e-6));
}

/* Averages of a family's means (tables: logits) and log sds over its elements: uwidth each. */
static void averages(const PgmSources *q, const PgmSource *f, double *mean, double *log_sd)
{
  const PgmLayout *l = &q->s->layout[f->family];
  for (long k = 0; k < f->uwidth && f->table; k++) {
    double p = 0;
    for (long r = 0; r < f->rows; r++) p += l->mean[flat_of(l, r) * f->uwidth + k];
    mean[k] = logit_of(p / fmax((double)f->rows, 1));
  }
  if (f->table) return;
  for (long k = 0; k < f->uwidth; k++) {
    double m = 0, s = 0;
    for (long r = 0; r < f->rows; r++) {
      m += l->mean[flat_of(l, r) * f->uwidth + k];
      s += log(l->sd[flat_of(l, r) * f->uwidth + k]);
    }
    mean[k] = f->rows ? m / (double)f->rows : 0;
    log_sd[k] = f->rows ? s / (double)f->rows : 0;
  }
}

void pgm_sources_read(const PgmSources *q, double *x)
{
  for (int i = 0; i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    const PgmLayout *l = &q->s->layout[f->family];
    if (f->kind == PGM_SHARED) averages(q, f, x + f->at, f->scales ? x + f->sd_at : NULL);
    if (f->kind == PGM_FREE && !f->table && !l->list) {
      double *restrict log_sd = f->scales ? x + f->sd_at : NULL;
      const double *restrict sd = l->sd;
      const long n = f->rows * f->uwidth;
      memcpy(x + f->at, l->mean, (size_t)n * sizeof *x);
#pragma omp simd
      for (long e = 0; e < (f->scales ? n : 0); e++) log_sd[e] = log(pgm_fmax(sd[e], DBL_MIN));
      continue;
    }
    for (long r = 0; r < f->rows && f->kind == PGM_FREE; r++)
      for (long k = 0; k < f->uwidth; k++) {
        const long to = r * f->uwidth + k, from = flat_of(l, r) * f->uwidth + k;
        x[f->at + to] = f->table ? log(fmax(l->mean[from], DBL_MIN)) : l->mean[from];
        if (f->scales) x[f->sd_at + to] = log(fmax(l->sd[from], DBL_MIN));
      }
  }
}

void pgm_source_fan_in(const PgmSource *f, double *out)
{
  for (long k = 0; k < f->size; k++) out[k] = 1;
  pgm_net_fan_in(&f->net, out);
  pgm_gather_fan_in(f->gather, out + f->net.n_weights);
}

/* Sets the constant of the output layer (and the free scales) to the averages, everything else of the output layer to 0. */
PgmStatus pgm_source_random(PgmSources *q, PgmSource *f, PgmKey key, double *x, PgmError *error)
{
  const long w = f->uwidth, o = f->net.n_outputs;
  double *c = calloc((size_t)(f->net.n_regressors * o + 2 * w), sizeof *c);
  if (!c) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  double *mean = c + f->net.n_regressors * o, *log_sd = mean + w;
  averages(q, f, mean, log_sd);
  pgm_net_random(&f->net, key, x + f->at);
  pgm_gather_random(f->gather, key, x + f->encoders_at);
  for (long k = 0; k < w; k++) {
    c[k] = mean[k];
    if (f->table) continue;
    if (f->sd_at >= 0)
      x[f->sd_at + k] = log_sd[k];
    else
      c[w + k] = log_sd[k];
  }
  pgm_net_set_output(&f->net, c, x + f->at);
  free(c);
  return PGM_OK;
}

/* Solves (A + ridge) C = B in place, A (n x n) positive semidefinite, B (n x m) -> C; Cholesky with a ridge relative to the trace. */
static void solve_normal(long n, long m, double *a, double *b)
{
  double trace = 0;
  for (long i = 0; i < n; i++) trace += a[i * n + i];
  for (long i = 0; i < n; i++) a[i * n + i] += 1e-9 * trace / (double)n + 1e-300;
  for (long j = 0; j < n; j++) {
    for (long i = j; i < n; i++) {
      double sum = a[i * n + j];
      for (long k = 0; k < j; k++) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = i == j ? sqrt(fmax(sum, 1e-14 * trace / (double)n + 1e-300)) : sum / a[j * n + j];
    }
  }
  for (long c = 0; c < m; c++) {
    for (long i = 0; i < n; i++) {
      double sum = b[i * m + c];
      for (long k = 0; k < i; k++) sum -= a[i * n + k] * b[k * m + c];
      b[i * m + c] = sum / a[i * n + i];
    }
    for (long i = n - 1; i >= 0; i--) {
      double sum = b[i * m + c];
      for (long k = i + 1; k < n; k++) sum -= a[k * n + i] * b[k * m + c];
      b[i * m + c] = sum / a[i * n + i];
    }
  }
}

PgmStatus pgm_source_regress(PgmSources *q, PgmSource *f, PgmKey key, double *x, PgmError *error)
{
  enum { MOST = 1500, ENOUGH = 20000 };
  const PgmLayout *l = &q->s->layout[f->family];
  const long w = f->uwidth, o = f->net.n_outputs, p = f->net.n_regressors;
  PgmStatus st = pgm_source_random(q, f, key, x, error);
  if (st || p > MOST || !f->rows) return st; /* too wide to solve for: the random start stands */
  const long stride = f->rows > ENOUGH ? (f->rows + ENOUGH - 1) / ENOUGH : 1;
  double *a = calloc((size_t)(p * p + p * o), sizeof *a);
  double *work = malloc((size_t)(BLOCK * (f->net.row + p + o)) * sizeof *work);
  if (!a || !work) {
    free(a);
    free(work);
    return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  pgm_gather_prepare(f->gather, x + f->encoders_at, x, NULL, f->rows);
  double *b = a + p * p, *r = work + BLOCK * f->net.row, *y = r + BLOCK * p;
  for (long at = 0; at < f->rows;) {
    long pick[BLOCK], count = 0;
    for (; at < f->rows && count < BLOCK; at += stride) pick[count++] = at;
    pgm_gather_rows(f->gather, pick, 0, count, work);
    pgm_net_forward(&f->net, x + f->at, count, work, y);
    pgm_net_regressors(&f->net, count, work, r);
    for (long i = 0; i < count; i++)
      for (long k = 0; k < w; k++) {
        const long from = flat_of(l, pick[i]) * w + k;
        y[i * o + k] = f->table ? logit_of(l->mean[from]) : l->mean[from];
        if (f->sd_at < 0 && !f->table) y[i * o + w + k] = log(l->sd[from]);
      }
    for (long i = 0; i < count; i++)
      for (long j = 0; j < p; j++) {
        const double v = r[i * p + j];
        for (long k = 0; k <= j; k++) a[j * p + k] += v * r[i * p + k];
        for (long k = 0; k < o; k++) b[j * o + k] += v * y[i * o + k];
      }
  }
  solve_normal(p, o, a, b);
  pgm_net_set_output(&f->net, b, x + f->at);
  free(a);
  free(work);
  return PGM_OK;
}
