/* Encoders of sets and slices: see encoder.h. Reverse mode by hand. */
#include "encoder.h"

#include <stdlib.h>
#include <string.h>

#include "parallel.h"

enum { CHUNK = 65536, SLOTS = 16 };
/* How much of the state a polynomial's exponential averages keep from member to member. */
static const double RATES[] = {0, 0.3, 0.6, 0.8, 0.9, 0.97};
enum { N_RATES = sizeof RATES / sizeof *RATES };

/* ---- shapes -------------------------------------------------------------------------------------------------------------------------- */

static long channels(const PgmFunction *f)
{
  return f->hidden[0] > 3 ? f->hidden[0] / 2 : 2;
}

/* The function that phi of a level is, as net.h wants it described. */
static PgmFunction phi_of(const PgmFunction *f, bool slice, long columns)
{
  PgmFunction phi = {.n_features = (int)columns, .degree = f->degree > 0 ? f->degree : f->degree < 0 ? -1 : 1, .n_outputs = 1};
  if (f->degree >= 0) return phi;
  phi.n_hidden = 1;
  phi.hidden[0] = f->hidden[0];
  phi.activation = f->activation;
  phi.skip = true;
  phi.n_outputs = slice ? 3 * channels(f) : f->hidden[0];
  return phi;
}

static long pooled_of(long width, bool varies)
{
  return varies ? 2 * width + 1 : width;
}

/* Per level the features of phi, its outputs, what its pooled outputs count in a polynomial's degree, and where its weights begin. */
typedef struct {
  long inputs[PGM_MAX_LEVELS], width[PGM_MAX_LEVELS], weights_at[PGM_MAX_LEVELS + 1], outputs;
  int *degree[PGM_MAX_LEVELS + 1]; /* of the features of phi; [0] of the encoder's outputs are degree[n_levels] */
  PgmNet net[PGM_MAX_LEVELS];
} Plan;

static void plan_close(Plan *p)
{
  for (int l = 0; l <= PGM_MAX_LEVELS; l++) free(p->degree[l]);
  for (int l = 0; l < PGM_MAX_LEVELS; l++) pgm_net_close(&p->net[l]);
  *p = (Plan){0};
}

/* What the outputs of level l are once pooled, or, of a slice, what a row sees: appended to columns of degree 1. */
static int *degrees_above(const Plan *p, const PgmEncoderShape *shape, int l, long columns, bool polynomial, long *n)
{
  const long w = p->width[l], states = !shape->slice ? 0 : polynomial ? w * N_RATES : w / 3;
  const long pooled = shape->slice ? 2 * states : pooled_of(w, shape->varies[l]);
  int *degree = malloc((size_t)(columns + pooled + 1) * sizeof *degree);
  *n = columns + pooled;
  for (long k = 0; degree && k < *n; k++) degree[k] = 1;
  if (!degree || !polynomial) return degree;
  const int *term = p->net[l].degree + 1;
  if (shape->slice) { /* the states come first, then the row's own columns */
    for (long k = 0; k < pooled; k++) degree[k] = term[k % states / N_RATES];
    return degree;
  }
  for (long k = 0; k < w; k++) {
    degree[columns + k] = term[k];
    if (shape->varies[l]) degree[columns + w + k] = term[k];
  }
  return degree;
}

static PgmStatus plan_open(Plan *p, const PgmFunction *f, const PgmEncoderShape *shape, PgmError *error)
{
  PgmStatus st = PGM_OK;
  *p = (Plan){0};
  for (int l = shape->n_levels - 1; l >= 0 && !st; l--) {
    p->inputs[l] = shape->columns[l];
    if (l + 1 < shape->n_levels) {
      p->degree[l] = degrees_above(p, shape, l + 1, shape->columns[l], f->degree >= 0, &p->inputs[l]);
      if (!p->degree[l]) st = pgm_fail(error, PGM_SYSTEM, "out of memory");
    }
    const PgmFunction phi = phi_of(f, shape->slice, p->inputs[l]);
    if (!st) st = pgm_net_open(&p->net[l], &phi, p->degree[l], error);
    p->width[l] = f->degree < 0 ? phi.n_outputs : p->net[l].n_terms - 1;
  }
  for (int l = 0; l < shape->n_levels && !st; l++) p->weights_at[l + 1] = p->weights_at[l] + (f->degree < 0 ? p->net[l].n_weights : 0);
  if (!st) {
    p->degree[shape->n_levels] = degrees_above(p, shape, 0, shape->slice ? shape->columns[0] : 0, f->degree >= 0, &p->outputs);
    if (!p->degree[shape->n_levels]) st = pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  if (st) plan_close(p);
  return st;
}

long pgm_encoder_columns(const PgmFunction *f, int which)
{
  long n = 0;
  for (int l = 0; l < f->encoders[which].n_levels; l++) n += f->encoders[which].columns[l] + 1;
  return n;
}

PgmStatus pgm_function_net(PgmNet *net, PgmFunction *f, PgmError *error)
{
  long columns = f->n_scaled, weights = 0;
  Plan plan[PGM_MAX_ENCODERS] = {{{0}, {0}, {0}, 0, {0}, {{0}}}};
  PgmStatus st = PGM_OK;
  int n = 0;
  for (; n < f->n_encoders && !st; n++) {
    st = plan_open(&plan[n], f, &f->encoders[n], error);
    columns -= pgm_encoder_columns(f, n);
    if (!st) weights += plan[n].weights_at[f->encoders[n].n_levels];
  }
  long features = columns;
  for (int e = 0; e < n && !st; e++) features += plan[e].outputs;
  if (!st && (columns < 0 || features > 1 << 24)) st = pgm_fail(error, PGM_BAD_INPUT, "an inference function of impossible size");
  int *degree = st ? NULL : malloc((size_t)(features + 1) * sizeof *degree), *to = degree;
  if (!st && !degree) st = pgm_fail(error, PGM_SYSTEM, "out of memory");
  for (long k = 0; k < columns && !st; k++) *to++ = 1;
  for (int e = 0; e < n && !st; e++) {
    memcpy(to, plan[e].degree[f->encoders[e].n_levels], (size_t)plan[e].outputs * sizeof *to);
    to += plan[e].outputs;
  }
  for (int e = 0; e < n; e++) plan_close(&plan[e]);
  f->n_features = (int)features;
  if (!st) st = pgm_net_open(net, f, degree, error);
  free(degree);
  if (!st) f->n_weights = net->n_weights + weights + (f->free_scale ? f->n_outputs : 0);
  return st;
}

/* ---- opening ------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  long columns, inputs, width, weights_at, per_node; /* doubles of scratch per node */
  bool varies;
  double size;
  double *column; /* [nodes][columns] */
  PgmNet net;
} Level;

typedef struct {
  long begin, end; /* groups */
} Chunk;

struct PgmEncoder {
  bool slice, polynomial, worth_threads;
  int n_levels, threads, n_slots;
  PgmMembers members;
  Level level[PGM_MAX_LEVELS];
  PgmSlot *slot;
  double **slot_bar;               /* per slot [nodes] */
  long n_weights, outputs, states; /* states of a slice, one direction */
  double *result, *result_bar;     /* set: [groups][outputs]; slice: [nodes][2 * states]; result_bar: slices only */
  /* selected */
  bool all, made;       /* all rows; results are there */
  long *chosen, *first; /* positions by group: chosen[first[g] .. first[g + 1] - 1]; rows without a group are left out */
  Chunk *chunk;
  long n_chunks;
  const long *row;
  double *scratch, *gradient; /* per slot of work */
  long scratch_size;
};

void pgm_encoder_close(PgmEncoder *e)
{
  if (!e) return;
  for (int l = 0; l < e->n_levels; l++) {
    free(e->level[l].column);
    pgm_net_close(&e->level[l].net);
  }
  for (int k = 0; k < e->n_slots; k++) {
    free(e->slot[k].place);
    if (e->slot_bar) free(e->slot_bar[k]);
  }
  pgm_members_close(&e->members);
  free(e->slot);
  free(e->slot_bar);
  free(e->result);
  free(e->result_bar);
  free(e->chosen);
  free(e->first);
  free(e->chunk);
  free(e->scratch);
  free(e->gradient);
  free(e);
}

typedef struct {
  long begin[PGM_MAX_LEVELS], end[PGM_MAX_LEVELS];
} Span;

/* The nodes of a chunk. */
static Span span_of(const PgmEncoder *e, Chunk c)
{
  Span s = {{0}, {0}};
  long a = c.begin, b = c.end;
  for (int l = 0; l < e->n_levels; l++) {
    s.begin[l] = a = e->members.level[l].begin[a];
    s.end[l] = b = e->members.level[l].begin[b];
  }
  return s;
}

static long chunk_doubles(const PgmEncoder *e, Chunk c)
{
  const Span s = span_of(e, c);
  long n = 0;
  for (int l = 0; l < e->n_levels; l++) n += (s.end[l] - s.begin[l]) * e->level[l].per_node;
  return n + e->outputs;
}

PgmStatus pgm_encoder_open(PgmEncoder **out, const PgmFunction *f, int which, PgmMembers *members, double **columns, const double *size,
                           int n_slots, PgmSlot *slots, int threads, PgmError *error)
{
  const PgmEncoderShape *shape = &f->encoders[which];
  PgmEncoder *e = calloc(1, sizeof *e);
  Plan p;
  PgmStatus st = plan_open(&p, f, shape, error);
  *out = NULL;
  if (!e || st) {
    if (!st) plan_close(&p);
    free(e);
    for (int l = 0; l < shape->n_levels; l++) free(columns[l]);
    for (int k = 0; k < n_slots; k++) free(slots[k].place);
    free(slots);
    pgm_members_close(members);
    return st ? st : pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  *e = (PgmEncoder){.slice = shape->slice,
                    .polynomial = f->degree >= 0,
                    .n_levels = shape->n_levels,
                    .threads = threads,
                    .n_slots = n_slots,
                    .members = *members,
                    .slot = slots,
                    .n_weights = p.weights_at[shape->n_levels],
                    .outputs = p.outputs};
  *members = (PgmMembers){0};
  if (e->slice) e->states = (p.outputs - shape->columns[0]) / 2;
  for (int l = 0; l < e->n_levels; l++) {
    Level *v = &e->level[l];
    *v = (Level){.columns = shape->columns[l],
                 .inputs = p.inputs[l],
                 .width = p.width[l],
                 .weights_at = p.weights_at[l],
                 .varies = shape->varies[l],
                 .size = size[l],
                 .column = columns[l],
                 .net = p.net[l]};
    p.net[l] = (PgmNet){0};
    v->per_node = v->net.row + 2 * v->width + v->inputs + pgm_net_scratch(&v->net, 1);
  }
  plan_close(&p);
  const long points = e->slice ? e->members.level[0].nodes * 2 * e->states : e->members.groups * e->outputs;
  e->result = calloc((size_t)points + 1, sizeof *e->result);
  e->result_bar = malloc((size_t)(e->slice ? points + 1 : 1) * sizeof *e->result_bar);
  e->chosen = malloc((size_t)(e->members.rows + 1) * sizeof *e->chosen);
  e->first = malloc((size_t)(e->members.groups + 2) * sizeof *e->first);
  e->chunk = malloc((size_t)(e->members.groups + 1) * sizeof *e->chunk);
  e->slot_bar = calloc((size_t)n_slots + 1, sizeof *e->slot_bar);
  bool ok = e->result && e->result_bar && e->chosen && e->first && e->chunk && e->slot_bar;
  for (int k = 0; k < n_slots && ok; k++)
    ok = (e->slot_bar[k] = malloc((size_t)(e->members.level[slots[k].level].nodes + 1) * sizeof(double))) != NULL;
  if (ok) {
    double work = 0;
    e->scratch_size = CHUNK; /* a chunk is within it, or is one group */
    for (long g = 0; g < e->members.groups; g++) {
      const long n = chunk_doubles(e, (Chunk){g, g + 1});
      e->scratch_size = n > e->scratch_size ? n : e->scratch_size;
      work += (double)n;
    }
    e->worth_threads = threads > 1 && work > 4. * PGM_PARALLEL;
    e->scratch = malloc((size_t)(SLOTS * e->scratch_size) * sizeof *e->scratch);
    e->gradient = malloc((size_t)(SLOTS * e->n_weights + 1) * sizeof *e->gradient);
    ok = e->scratch && e->gradient;
  }
  if (!ok) {
    pgm_encoder_close(e);
    return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  *out = e;
  return PGM_OK;
}

PgmSlot *pgm_encoder_slots(PgmEncoder *e, int *n)
{
  *n = e->n_slots;
  return e->slot;
}

long pgm_encoder_outputs(const PgmEncoder *e)
{
  return e->outputs;
}

long pgm_encoder_weights(const PgmEncoder *e)
{
  return e->n_weights;
}

long pgm_encoder_nodes(const PgmEncoder *e, int level)
{
  return e->members.level[level].nodes;
}

bool pgm_encoder_learns(const PgmEncoder *e)
{
  return e->n_weights > 0 || e->n_slots > 0;
}

void pgm_encoder_random(const PgmEncoder *e, PgmKey key, double *weights)
{
  for (int l = 0; l < e->n_levels && !e->polynomial; l++) {
    const Level *v = &e->level[l];
    const long o = v->net.n_outputs, n = v->net.n_regressors;
    double *w = weights + v->weights_at;
    const PgmKey own = {key.seed, key.iteration, key.stream + 97 * (uint64_t)(l + 1)};
    pgm_net_random(&v->net, own, w);
    double *last = w + v->net.n_weights - o * n; /* the output layer, its biases at the end */
    pgm_philox_normals(own, 1ull << 41, o * n, last);
    for (long i = 0; i < o * n; i++) last[i] = i < o * (n - 1) ? last[i] / sqrt((double)(n > 1 ? n - 1 : 1)) : 0;
    for (long c = 0; c < e->states; c++) { /* gates around 0.3 .. 0.95, and little moved by the members at first */
      const double bias = -1 + 4. * (double)c / (double)(e->states > 1 ? e->states - 1 : 1);
      last[o * (n - 1) + e->states + c] = last[o * (n - 1) + 2 * e->states + c] = bias;
    }
  }
}

void pgm_encoder_fan_in(const PgmEncoder *e, double *out)
{
  for (int l = 0; l < e->n_levels && !e->polynomial; l++) pgm_net_fan_in(&e->level[l].net, out + e->level[l].weights_at);
}

/* ---- selection ----------------------------------------------------------------------------------------------------------------------- */

void pgm_encoder_select(PgmEncoder *e, const long *row, long n)
{
  const long groups = e->members.groups;
  const bool all = !row && n == e->members.rows;
  if (all && e->all) return;
  e->all = all;
  e->row = row;
  e->made = false;
  memset(e->first, 0, (size_t)(groups + 2) * sizeof *e->first);
  for (long i = 0; i < n; i++) { /* counting sort; first[g + 2] counts, then is where g + 1 begins */
    const long g = e->members.group[row ? row[i] : i];
    if (g >= 0) e->first[g + 2]++;
  }
  for (long g = 0; g < groups; g++) e->first[g + 2] += e->first[g + 1];
  for (long i = 0; i < n; i++) {
    const long g = e->members.group[row ? row[i] : i];
    if (g >= 0) e->chosen[e->first[g + 1]++] = i;
  }
  e->n_chunks = 0;
  for (long g = 0; g < groups;) { /* neighbouring groups with rows, as many as go into a chunk */
    if (e->first[g] == e->first[g + 1]) {
      g++;
      continue;
    }
    Chunk c = {g, g + 1};
    while (c.end < groups && e->first[c.end] < e->first[c.end + 1] && chunk_doubles(e, (Chunk){c.begin, c.end + 1}) <= CHUNK) c.end++;
    e->chunk[e->n_chunks++] = c;
    g = c.end;
  }
}

/* ---- forward ------------------------------------------------------------------------------------------------------------------------- */

/* Where a chunk's numbers stand in a slot's scratch, per level. */
typedef struct {
  Span s;
  double *kept[PGM_MAX_LEVELS], *out[PGM_MAX_LEVELS], *out_bar[PGM_MAX_LEVELS], *x_bar[PGM_MAX_LEVELS], *net[PGM_MAX_LEVELS], *pooled_bar;
} Work;

static Work work_of(const PgmEncoder *e, Chunk c, double *scratch)
{
  Work w = {.s = span_of(e, c)};
  for (int l = 0; l < e->n_levels; l++) {
    const Level *v = &e->level[l];
    const long n = w.s.end[l] - w.s.begin[l];
    w.kept[l] = scratch;
    w.out[l] = w.kept[l] + n * v->net.row;
    w.out_bar[l] = w.out[l] + n * v->width;
    w.x_bar[l] = w.out_bar[l] + n * v->width;
    w.net[l] = w.x_bar[l] + n * v->inputs;
    scratch = w.net[l] + n * pgm_net_scratch(&v->net, 1);
  }
  w.pooled_bar = scratch;
  return w;
}

/* What children begin .. end - 1 of level l, whose outputs start at `out`, are to their parent. */
static void pool(const PgmEncoder *e, int l, long begin, long end, const double *out, double *pooled)
{
  const Level *v = &e->level[l];
  const long n = end - begin, w = v->width;
  memset(pooled, 0, (size_t)w * sizeof *pooled);
  for (long i = 0; i < n; i++)
    for (long k = 0; k < w; k++) pooled[k] += out[i * w + k];
  if (v->varies) {
    for (long k = 0; k < w; k++) pooled[w + k] = pooled[k] / v->size;
    pooled[2 * w] = e->polynomial ? (double)n / v->size : log1p((double)n) - log1p(v->size);
  }
  for (long k = 0; k < w; k++) pooled[k] /= n ? (double)n : 1;
}

static void pool_back(const PgmEncoder *e, int l, long begin, long end, const double *pooled_bar, double *out_bar)
{
  const Level *v = &e->level[l];
  const long n = end - begin, w = v->width;
  for (long i = 0; i < n; i++)
    for (long k = 0; k < w; k++) out_bar[i * w + k] = pooled_bar[k] / (double)n + (v->varies ? pooled_bar[w + k] / v->size : 0);
}

/* phi of the chunk's nodes, from the lowest level up. */
static void phi_forward(const PgmEncoder *e, const double *weights, const double *x, const Work *w)
{
  for (int l = e->n_levels - 1; l >= 0; l--) {
    const Level *v = &e->level[l];
    const long a = w->s.begin[l], n = w->s.end[l] - a, pooled = v->inputs - v->columns;
    for (long i = 0; i < n; i++) {
      double *to = w->kept[l] + i * v->inputs;
      memcpy(to, v->column + (a + i) * v->columns, (size_t)v->columns * sizeof *to);
      if (!pooled) continue;
      const long *begin = e->members.level[l + 1].begin + a + i;
      pool(e, l + 1, begin[0], begin[1], w->out[l + 1] + (begin[0] - w->s.begin[l + 1]) * e->level[l + 1].width, to + v->columns);
    }
    for (int k = 0; k < e->n_slots; k++) {
      const PgmSlot *slot = &e->slot[k];
      if (slot->level != l) continue;
      for (long i = 0; i < n; i++) w->kept[l][i * v->inputs + slot->column] = slot->place[a + i] < 0 ? 0 : x[slot->place[a + i]];
    }
    if (!e->polynomial) {
      pgm_net_forward(&v->net, weights + v->weights_at, n, w->kept[l], w->out[l]);
      continue;
    }
    pgm_net_monomials(&v->net, n, w->kept[l]);
    for (long i = 0; i < n; i++) /* all but the constant */
      memcpy(w->out[l] + i * v->width, w->kept[l] + n * v->inputs + i * v->net.n_terms + 1, (size_t)v->width * sizeof(double));
  }
}

static double logistic(double x)
{
  return 1 / (1 + exp(-x));
}

/* Gate and value of state c at a member whose outputs are `out`. */
static double gate_of(const PgmEncoder *e, const double *out, long c, int direction)
{
  return e->polynomial ? RATES[c % N_RATES] : logistic(out[(1 + direction) * e->states + c]);
}

static long value_at(const PgmEncoder *e, long c)
{
  return e->polynomial ? c / N_RATES : c;
}

/* The states of members begin .. end - 1 in both directions. */
static void recur(const PgmEncoder *e, const Work *w, long begin, long end)
{
  const long n = end - begin, width = e->level[0].width, states = e->states;
  const double *out = w->out[0] + (begin - w->s.begin[0]) * width;
  double *result = e->result + begin * 2 * states;
  for (int direction = 0; direction < 2; direction++)
    for (long i = 0; i < n; i++) {
      const long t = direction ? n - 1 - i : i, from = direction ? t + 1 : t - 1;
      double *state = result + t * 2 * states + direction * states;
      const double *before = i ? result + from * 2 * states + direction * states : NULL;
      for (long c = 0; c < states; c++) {
        const double a = gate_of(e, out + t * width, c, direction);
        state[c] = a * (before ? before[c] : 0) + (1 - a) * out[t * width + value_at(e, c)];
      }
    }
}

/* out_bar of the members from the adjoints of their states, [members][2 * states], which are overwritten. */
static void recur_back(const PgmEncoder *e, const Work *w, long begin, long end, double *bar)
{
  const long n = end - begin, width = e->level[0].width, states = e->states;
  const double *out = w->out[0] + (begin - w->s.begin[0]) * width, *result = e->result + begin * 2 * states;
  double *out_bar = w->out_bar[0] + (begin - w->s.begin[0]) * width;
  memset(out_bar, 0, (size_t)(n * width) * sizeof *out_bar);
  for (int direction = 0; direction < 2; direction++)
    for (long i = n - 1; i >= 0; i--) { /* the last in this direction first */
      const long t = direction ? n - 1 - i : i, from = direction ? t + 1 : t - 1;
      double *own = bar + t * 2 * states + direction * states;
      for (long c = 0; c < states; c++) {
        const long v = value_at(e, c);
        const double a = gate_of(e, out + t * width, c, direction), before = i ? result[from * 2 * states + direction * states + c] : 0;
        out_bar[t * width + v] += (1 - a) * own[c];
        if (!e->polynomial) out_bar[t * width + (1 + direction) * states + c] += own[c] * (before - out[t * width + v]) * a * (1 - a);
        if (i) bar[from * 2 * states + direction * states + c] += a * own[c];
      }
    }
}

static int slots_of(const PgmEncoder *e)
{
  return e->n_chunks < SLOTS ? (int)(e->n_chunks ? e->n_chunks : 1) : SLOTS;
}

void pgm_encoder_forward(PgmEncoder *e, const double *weights, const double *x)
{
  if (e->made && !pgm_encoder_learns(e)) return;
  const int slots = slots_of(e);
#pragma omp parallel for schedule(static) num_threads(e->threads) if (e->worth_threads && slots > 1)
  for (int slot = 0; slot < slots; slot++)
    for (long k = e->n_chunks * slot / slots; k < e->n_chunks * (slot + 1) / slots; k++) {
      const Chunk c = e->chunk[k];
      const Work w = work_of(e, c, e->scratch + slot * e->scratch_size);
      phi_forward(e, weights, x, &w);
      for (long g = c.begin; g < c.end; g++) {
        const long *begin = e->members.level[0].begin + g;
        if (e->slice)
          recur(e, &w, begin[0], begin[1]);
        else
          pool(e, 0, begin[0], begin[1], w.out[0] + (begin[0] - w.s.begin[0]) * e->level[0].width, e->result + g * e->outputs);
      }
    }
  e->made = true;
}

void pgm_encoder_row(const PgmEncoder *e, long row, double *out)
{
  const PgmMembers *m = &e->members;
  const long group = m->group[row], states = e->states;
  if (!e->slice) {
    if (group < 0)
      memset(out, 0, (size_t)e->outputs * sizeof *out);
    else
      memcpy(out, e->result + group * e->outputs, (size_t)e->outputs * sizeof *out);
    return;
  }
  memset(out, 0, (size_t)e->outputs * sizeof *out);
  if (m->before[row] >= 0) memcpy(out, e->result + m->before[row] * 2 * states, (size_t)states * sizeof *out);
  if (m->after[row] >= 0) memcpy(out + states, e->result + m->after[row] * 2 * states + states, (size_t)states * sizeof *out);
  if (m->before[row] >= 0 && m->before[row] == m->after[row])
    memcpy(out + 2 * states, e->level[0].column + m->before[row] * e->level[0].columns, (size_t)e->level[0].columns * sizeof *out);
}

/* ---- backward ------------------------------------------------------------------------------------------------------------------------ */

/* From out_bar of the top level down: gradients of weights, adjoints of slots. */
static void phi_backward(const PgmEncoder *e, const double *weights, const Work *w, double *weights_bar)
{
  for (int l = 0; l < e->n_levels; l++) {
    const Level *v = &e->level[l];
    const long a = w->s.begin[l], n = w->s.end[l] - a;
    bool wanted = v->inputs > v->columns;
    for (int k = 0; k < e->n_slots; k++) wanted = wanted || e->slot[k].level == l;
    if (!e->polynomial) {
      pgm_net_backward(&v->net, weights + v->weights_at, n, w->kept[l], w->out_bar[l], weights_bar + v->weights_at,
                       wanted ? w->x_bar[l] : NULL, w->net[l]);
    } else if (wanted) {
      for (long i = 0; i < n; i++) {
        w->net[l][i * v->net.n_terms] = 0;
        memcpy(w->net[l] + i * v->net.n_terms + 1, w->out_bar[l] + i * v->width, (size_t)v->width * sizeof(double));
      }
      memset(w->x_bar[l], 0, (size_t)(n * v->inputs) * sizeof(double));
      pgm_net_monomials_back(&v->net, n, w->kept[l], w->net[l], w->x_bar[l]);
    }
    for (int k = 0; k < e->n_slots; k++)
      for (long i = 0; i < n && e->slot[k].level == l; i++) e->slot_bar[k][a + i] = w->x_bar[l][i * v->inputs + e->slot[k].column];
    for (long i = 0; i < n && v->inputs > v->columns; i++) {
      const long *begin = e->members.level[l + 1].begin + a + i;
      if (begin[0] < begin[1])
        pool_back(e, l + 1, begin[0], begin[1], w->x_bar[l] + i * v->inputs + v->columns,
                  w->out_bar[l + 1] + (begin[0] - w->s.begin[l + 1]) * e->level[l + 1].width);
    }
  }
}

/* out_bar of the members of group g at level 0, from the adjoints of what its rows see of it. */
static void group_back(const PgmEncoder *e, const Work *w, long g, const double *bar, long stride)
{
  const long *begin = e->members.level[0].begin + g, n = begin[1] - begin[0], states = e->states;
  if (!e->slice) {
    memset(w->pooled_bar, 0, (size_t)e->outputs * sizeof *w->pooled_bar);
    for (long i = e->first[g]; i < e->first[g + 1]; i++)
      for (long k = 0; k < e->outputs; k++) w->pooled_bar[k] += bar[e->chosen[i] * stride + k];
    if (n) pool_back(e, 0, begin[0], begin[1], w->pooled_bar, w->out_bar[0] + (begin[0] - w->s.begin[0]) * e->level[0].width);
    return;
  }
  double *state_bar = e->result_bar + begin[0] * 2 * states;
  memset(state_bar, 0, (size_t)(n * 2 * states) * sizeof *state_bar);
  for (long i = e->first[g]; i < e->first[g + 1]; i++) {
    const long position = e->chosen[i], row = e->row ? e->row[position] : position;
    const long before = e->members.before[row], after = e->members.after[row];
    const double *from = bar + position * stride;
    for (long c = 0; c < states && before >= 0; c++) state_bar[(before - begin[0]) * 2 * states + c] += from[c];
    for (long c = 0; c < states && after >= 0; c++) state_bar[(after - begin[0]) * 2 * states + states + c] += from[states + c];
  }
  recur_back(e, w, begin[0], begin[1], state_bar);
}

void pgm_encoder_backward(PgmEncoder *e, const double *weights, const double *x, const double *bar, long stride, double *weights_bar,
                          double *x_bar)
{
  const int slots = slots_of(e);
  if (!pgm_encoder_learns(e)) return;
  for (int k = 0; k < e->n_slots; k++) memset(e->slot_bar[k], 0, (size_t)e->members.level[e->slot[k].level].nodes * sizeof(double));
  memset(e->gradient, 0, (size_t)(slots * e->n_weights) * sizeof *e->gradient);
#pragma omp parallel for schedule(static) num_threads(e->threads) if (e->worth_threads && slots > 1)
  for (int slot = 0; slot < slots; slot++) {
    for (long k = e->n_chunks * slot / slots; k < e->n_chunks * (slot + 1) / slots; k++) {
      const Chunk c = e->chunk[k];
      const Work w = work_of(e, c, e->scratch + slot * e->scratch_size);
      phi_forward(e, weights, x, &w);
      for (long g = c.begin; g < c.end; g++) group_back(e, &w, g, bar, stride);
      phi_backward(e, weights, &w, e->gradient + slot * e->n_weights);
    }
  }
  for (int slot = 0; slot < slots; slot++)
    for (long k = 0; k < e->n_weights; k++) weights_bar[k] += e->gradient[slot * e->n_weights + k];
  for (int k = 0; k < e->n_slots; k++)
    for (long i = 0; i < e->members.level[e->slot[k].level].nodes; i++)
      if (e->slot[k].place[i] >= 0) x_bar[e->slot[k].place[i]] += e->slot_bar[k][i];
}
