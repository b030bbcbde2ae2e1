/* The evidence log p(data) = log of the integral of p(data, u) over the unconstrained coordinates u, params held at their values.
 *
 * EXACT where the log joint is quadratic in all of u (gap_quadratic.c).
 *
 * LOCALS INTEGRATED. Given the globals, the local variables are integrated out in one of three ways; the globals are drawn from q or, a
 * few of them, from a proposal that starts there and adapts (gap_globals.c); the number of units does not matter:
 *   - in closed form, where the log joint is quadratic in the local variables (a hidden Markov model with Gaussian states and unknown sds);
 *   - unit by unit, where no term reaches into another unit. One local coordinate per unit: by adaptive quadrature, around the mean and sd
 *     of q (quadrature.c), with an error that is stated: the sum of the units' relative errors, averaged over the draws of the globals;
 *   - unit by unit with several coordinates each: importance sampling with q as the proposal, Pareto-smoothed in each unit (Burda, Grosse &
 *     Salakhutdinov 2016 for the estimate; its ratios are a lower bound in expectation).
 *
 * ELSE importance sampling of everything with q as the proposal.
 *
 * Draws of the globals are Pareto-smoothed (khat.c); above k-hat 0.7 the value is called a bound: the logarithm of an average of importance
 * ratios is below log p(data) in expectation. GIVEN the factors of the globals the average of the log ratios themselves is wanted, which is
 * unbiased and needs no weights. */
#include "evidence.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "fit.h"
#include "gap_globals.h"
#include "gap_quadratic.h"
#include "khat.h"
#include "philox.h"
#include "quadrature.h"

enum {
  PANELS = 300,
  PANELS_NESTED = 120,
  BLOCK_UNITS = 256,
  BLOCK_ROOM = 1 << 18,
  GLOBAL_DRAWS = 400,
  GLOBAL_DRAWS_LARGE = 150,
  LARGE = 3000,
  FEWEST_DRAWS = 50,
  CHECKED_DRAWS = 3,
  FEW_GLOBALS = 12,
  ROUND_DRAWS = 100,
  MOST_ROUNDS = 15
};
enum { INNER_DRAWS = 1000, INNER_DRAWS_NESTED = 100, NESTED_DRAWS = 20, SEED_INNER = 0x1A7Eu };
static const double LOG_2PI = 1.8378770664093454836;
static const double MOST_WORK = 4e10, MOST_MEMORY = 4e7;
static const double TOLERANCE = 1e-9, TOLERANCE_NESTED = 1e-3; /* of a unit's integral; of the sum of all, beside draws of the globals */
static const double POOR = 1e-2;                               /* nats: an error of quadrature that is worth a remark */

static PgmStatus no_memory(PgmError *error)
{
  return pgm_fail(error, PGM_SYSTEM, "out of memory");
}

static bool is_random(const PgmFamily *f)
{
  return pgm_is_latent(f) && f->role != PGM_PARAM;
}

/* ---- everything quadratic ------------------------------------------------------------------------------------------------------------ */

PgmStatus pgm_evidence_exact(PgmSession *s, bool given, unsigned long seed, bool *found, double *value, PgmError *error)
{
  PgmQuadratic *q;
  PgmStatus st = pgm_quadratic_open(&q, s, true, error);
  *found = !st && q;
  *value = NAN;
  if (!*found) return st;
  for (int f = 0; f < s->model->n_families; f++)
    if (pgm_is_latent(&s->model->families[f])) pgm_constrain(s, f, s->layout[f].mean, s->layout[f].value);
  *found = pgm_quadratic_probe(q) && pgm_quadratic_agrees(q, seed) && pgm_quadratic_eliminate(q);
  if (*found) *value = given ? pgm_quadratic_expectation(q) : pgm_quadratic_integral(q);
  *found = *found && isfinite(*value);
  pgm_quadratic_close(q);
  return PGM_OK;
}

/* ---- local variables given the globals ----------------------------------------------------------------------------------------------- */

typedef struct Locals {
  PgmSession *s;
  PgmLocalsBy by;
  bool nested; /* sampled anew for many draws of the globals */
  PgmGlobals *globals;
  PgmQuadratic *quadratic;
  int axis; /* of the units */
  long lo, n;
  double *values; /* scratch: of one term, or one family */
  double *units;
  long rows;              /* rows x n: log densities of the units at draws; by quadrature, values and errors of blocks */
  double *khat, variance; /* of the last integral by draws: per unit; of the sum */
  double inexact;         /* error of the last integral by quadrature; of several, the mean */
  long block;             /* by quadrature: units at a time */
  int family, n_workers;  /* by quadrature: the family of the local variables; one worker per thread */
  struct Worker *worker;
  long *element, *place; /* per unit: its element, and where that is among those defined */
  long *own, n_own;      /* the units that have one, then those that have none */
  PgmQuadratureStart *start; /* per unit of these, beside draws of the globals: where the first draw of a round found its mass; NULL: no memory for that */
  unsigned char *owns;    /* per unit: it has a local variable */
} Locals;

/* What one thread needs for the integrals of a block of units. */
typedef struct Worker {
  Locals *locals;
  PgmQuadrature *quadrature;
  const long *own; /* the block's units */
  long *unit;      /* numbers of the units of one call */
  double *centre, *width, *value, *error, *room;
} Worker;

static bool in_units(const Locals *w, int plate)
{
  const PgmPlate *p = &w->s->model->plates[plate];
  return p->variable && p->axis == w->axis;
}

/* Are the local families of one axis, element by element in units of their own, with transforms entry by entry? Then that axis, else -1.
 * `one`: a single family with one coordinate per unit. */
static int unit_axis(const PgmSession *s, bool one)
{
  const PgmModel *m = s->model;
  int axis = -1, families = 0;
  for (int f = 0; f < m->n_families; f++) {
    const PgmFamily *family = &m->families[f];
    const PgmLayout *l = &s->layout[f];
    if (family->role != PGM_LOCAL) continue;
    if (!family->n_index || family->axis[0] < 0 || (axis >= 0 && axis != family->axis[0]) || family->transform > PGM_INTERVAL) return -1;
    axis = family->axis[0];
    families++;
    if (one && (families > 1 || family->n_index != 1 || l->uwidth != 1)) return -1;
    for (int r = 0; r < m->n_refs; r++)
      if (m->refs[r].family == f) return -1; /* a lag or a lookup: terms of other units */
    for (int p = 0; p < m->n_plates; p++)
      for (const int *x = m->plates[p].shared; x && *x >= 0; x++)
        if (*x == f) return -1;
  }
  return axis;
}

static void close_locals(Locals *w)
{
  pgm_quadratic_close(w->quadratic);
  pgm_globals_close(w->globals);
  free(w->values);
  free(w->units);
  free(w->khat);
  free(w->owns);
  free(w->element);
  free(w->start);
  for (int k = 0; k < w->n_workers; k++) {
    pgm_quadrature_close(w->worker[k].quadrature);
    free(w->worker[k].unit);
    free(w->worker[k].centre);
  }
  free(w->worker);
}

static void find_units(Locals *w)
{
  const PgmModel *m = w->s->model;
  long lo = 1, hi = 0;
  for (int f = 0; f < m->n_families; f++) {
    const PgmLayout *l = &w->s->layout[f];
    if (m->families[f].role != PGM_LOCAL || !l->elements) continue;
    if (hi < lo || l->lo[0] < lo) lo = l->lo[0];
    if (l->hi[0] > hi) hi = l->hi[0];
  }
  for (int p = 0; p < m->n_plates; p++)
    for (int t = m->plates[p].first_term; in_units(w, p) && t < m->plates[p].first_term + m->plates[p].n_terms; t++) {
      const PgmBox *box = &w->s->shape.term[t];
      if (!pgm_term_size(w->s, t)) continue;
      if (hi < lo || box->lo[0] < lo) lo = box->lo[0];
      if (box->hi[0] > hi) hi = box->hi[0];
    }
  w->lo = lo;
  w->n = hi - lo + 1;
}

/* The unit of one element of a local family. */
static long unit_of(const Locals *w, const PgmLayout *l, long element)
{
  return l->lo[0] + element / l->stride[0] - w->lo;
}

/* Units at a time: as many as a term's values have room for, and all of them where every call repeats work for all. */
static long units_at_a_time(const Locals *w, long *width)
{
  const PgmModel *m = w->s->model;
  bool all = false;
  *width = 1;
  for (int p = 0; p < m->n_plates; p++)
    for (int t = m->plates[p].first_term; in_units(w, p) && t < m->plates[p].first_term + m->plates[p].n_terms; t++) {
      if (pgm_term_width(w->s, t) > *width) *width = pgm_term_width(w->s, t);
      all = all || m->plates[p].block < 0;
    }
  const long room = BLOCK_ROOM / *width, most = room < 1 ? 1 : room < BLOCK_UNITS ? room : BLOCK_UNITS;
  return all || most > w->n ? w->n : most;
}

/* *possible false: too much memory. */
static PgmStatus open_workers(Locals *w, bool *possible, PgmError *error)
{
  const PgmLayout *l = &w->s->layout[w->family];
  const int panels = w->nested ? PANELS_NESTED : PANELS;
  long width, others = 0;
  w->block = units_at_a_time(w, &width);
  const long blocks = (w->n + w->block - 1) / w->block;
  const int workers = blocks < w->s->threads ? (int)blocks : w->s->threads;
  *possible = workers * (pgm_quadrature_bytes(w->block, panels) + sizeof(double) * (double)w->block * (double)width) <= sizeof(double) * MOST_MEMORY;
  if (!*possible) return PGM_OK;
  w->element = malloc((size_t)(3 * w->n) * sizeof *w->element);
  w->worker = calloc((size_t)workers, sizeof *w->worker);
  if (!w->element || !w->worker) return no_memory(error);
  w->place = w->element + w->n;
  w->own = w->place + w->n;
  for (long r = 0; r < (l->list ? l->defined : l->elements); r++) {
    const long e = l->list ? l->list[r] : r, i = unit_of(w, l, e);
    w->element[i] = e;
    w->place[i] = r;
  }
  for (long i = 0; i < w->n; i++)
    if (w->owns[i]) w->own[w->n_own++] = i;
  if (w->nested && (double)w->n_own * sizeof *w->start <= sizeof(double) * MOST_MEMORY) w->start = calloc((size_t)w->n_own + 1, sizeof *w->start);
  for (long i = 0; i < w->n; i++)
    if (!w->owns[i]) w->own[w->n_own + others++] = i;
  for (; w->n_workers < workers; w->n_workers++) {
    Worker *k = &w->worker[w->n_workers];
    k->locals = w;
    k->unit = malloc((size_t)w->block * sizeof *k->unit);
    k->centre = malloc((size_t)(w->block * (4 + width)) * sizeof *k->centre);
    if (!k->unit || !k->centre) {
      w->n_workers++;
      return no_memory(error);
    }
    k->width = k->centre + w->block;
    k->value = k->width + w->block;
    k->error = k->value + w->block;
    k->room = k->error + w->block;
    const PgmStatus st = pgm_quadrature_open(&k->quadrature, w->block, panels, error);
    if (st) {
      w->n_workers++;
      return st;
    }
  }
  return PGM_OK;
}

static PgmStatus open_units(Locals *w, PgmError *error)
{
  const PgmModel *m = w->s->model;
  find_units(w);
  w->rows = w->by == PGM_LOCALS_QUADRATURE ? 2 : w->nested ? INNER_DRAWS_NESTED : INNER_DRAWS;
  if (w->n < 1 || (double)w->n * (double)w->rows > MOST_MEMORY) {
    w->axis = -1;
    return PGM_OK;
  }
  w->units = calloc((size_t)(w->rows * w->n), sizeof *w->units);
  w->khat = calloc((size_t)w->n, sizeof *w->khat);
  w->owns = calloc((size_t)w->n, 1);
  if (!w->units || !w->khat || !w->owns) return no_memory(error);
  for (int f = 0; f < m->n_families; f++) {
    const PgmLayout *l = &w->s->layout[f];
    if (m->families[f].role != PGM_LOCAL) continue;
    w->family = f;
    for (long r = 0; r < (l->list ? l->defined : l->elements); r++) w->owns[unit_of(w, l, l->list ? l->list[r] : r)] = 1;
  }
  if (w->by != PGM_LOCALS_QUADRATURE) return PGM_OK;
  bool possible;
  const PgmStatus st = open_workers(w, &possible, error);
  if (!st && !possible) w->axis = -1;
  return st;
}

/* *found false: this way does not go. */
static PgmStatus open_locals(Locals *w, PgmSession *s, PgmLocalsBy by, bool nested, bool given, bool *found, PgmError *error)
{
  const PgmModel *m = s->model;
  long most = 1;
  *w = (Locals){.s = s, .by = by, .nested = nested, .axis = -1};
  *found = false;
  for (int t = 0; t < m->n_terms; t++)
    if (pgm_term_size(s, t) > most) most = pgm_term_size(s, t);
  for (int f = 0; f < m->n_families; f++)
    if (pgm_is_latent(&m->families[f]) && s->layout[f].elements * s->layout[f].uwidth > most)
      most = s->layout[f].elements * s->layout[f].uwidth;
  if (most < INNER_DRAWS) most = INNER_DRAWS; /* of one unit */
  w->values = calloc((size_t)most, sizeof *w->values);
  if (!w->values) return no_memory(error);
  PgmStatus status = pgm_globals_open(&w->globals, s, !given && pgm_globals_count(s) <= FEW_GLOBALS, error);
  if (status) return status;
  if (by == PGM_LOCALS_QUADRATIC) {
    const PgmStatus st = pgm_quadratic_open(&w->quadratic, s, false, error);
    *found = !st && w->quadratic;
    return st;
  }
  w->axis = unit_axis(s, by == PGM_LOCALS_QUADRATURE);
  if (w->axis < 0) return PGM_OK;
  const PgmStatus st = open_units(w, error);
  *found = !st && w->axis >= 0;
  return st;
}

/* The terms that belong to no unit. */
static double other_terms(Locals *w)
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

/* Adds the terms of each unit at the session's values. */
static void add_units(Locals *w, double *out)
{
  const PgmModel *m = w->s->model;
  for (int p = 0; p < m->n_plates; p++)
    for (int t = m->plates[p].first_term; in_units(w, p) && t < m->plates[p].first_term + m->plates[p].n_terms; t++) {
      const PgmBox *box = &w->s->shape.term[t];
      const long count = box->hi[0] - box->lo[0] + 1, size = pgm_term_size(w->s, t), inner = count > 0 ? size / count : 0;
      if (inner < 1) continue;
      pgm_term_each(w->s, t, false, w->values);
      for (long i = 0; i < size; i++) out[box->lo[0] - w->lo + i / inner] += w->values[i];
    }
}

/* ---- by quadrature ------------------------------------------------------------------------------------------------------------------- */

/* log |d value / d u| of one entry. */
static double log_jacobian(const PgmSession *s, int f, long e, double u)
{
  const PgmFamily *family = &s->model->families[f];
  const PgmLayout *l = &s->layout[f];
  const long at = family->uniform_bounds ? 0 : e;
  switch (family->transform) {
  case PGM_LOWER:
  case PGM_UPPER:
    return u;
  case PGM_INTERVAL:
    return log(l->upper[at] - l->lower[at]) - fabs(u) - 2 * log1p(exp(-fabs(u)));
  default:
    return 0;
  }
}

/* Log densities of units of a block at u, one number each (a PgmIntegrand). */
static void unit_densities(void *data, long n, const long *which, const double *u, double *out)
{
  const Worker *k = data;
  const Locals *w = k->locals;
  const PgmModel *m = w->s->model;
  const PgmLayout *l = &w->s->layout[w->family];
  for (long i = 0; i < n; i++) {
    const long unit = k->own[which[i]], e = w->element[unit];
    k->unit[i] = w->lo + unit;
    w->values[e] = u[i];
    out[i] = log_jacobian(w->s, w->family, e, u[i]);
  }
  for (long from = 0, to; from < n; from = to) { /* elements that are next to each other */
    const long first = w->place[k->own[which[from]]];
    for (to = from + 1; to < n && w->place[k->own[which[to]]] == first + to - from;) to++;
    pgm_constrain_part(w->s, w->family, first, first + to - from, w->values, l->value);
  }
  for (int p = 0; p < m->n_plates; p++)
    for (int t = m->plates[p].first_term; in_units(w, p) && t < m->plates[p].first_term + m->plates[p].n_terms; t++)
      pgm_term_add(w->s, t, k->unit, n, k->room, out);
}

/* The log integrals of `n` units from own[from] on, and their relative errors, added up. */
static void integrate_block(Worker *k, long from, long n, double *value, double *error)
{
  const Locals *w = k->locals;
  const PgmLayout *l = &w->s->layout[w->family];
  k->own = w->own + from;
  for (long i = 0; i < n; i++) {
    k->centre[i] = l->mean[w->element[k->own[i]]];
    k->width[i] = l->sd[w->element[k->own[i]]];
  }
  const double tolerance = w->nested ? fmin(TOLERANCE_NESTED / (double)w->n, sqrt(TOLERANCE)) : TOLERANCE;
  pgm_quadrature_run(k->quadrature, n, k->centre, k->width, tolerance, unit_densities, k, w->start ? w->start + from : NULL, k->value, k->error);
  *value = *error = 0;
  for (long i = 0; i < n; i++) {
    *value += k->value[i];
    *error += k->error[i];
  }
}

static double by_quadrature(Locals *w)
{
  const long blocks = (w->n_own + w->block - 1) / w->block;
  double sum = 0, *value = w->units, *error = w->units + blocks;
  w->inexact = 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(w->n_workers) if (w->n_workers > 1)
  for (long b = 0; b < blocks; b++) {
    const long from = b * w->block, rest = w->n_own - from;
    integrate_block(&w->worker[omp_get_thread_num()], from, rest < w->block ? rest : w->block, &value[b], &error[b]);
  }
  for (long b = 0; b < blocks; b++) {
    sum += value[b];
    w->inexact += error[b];
  }
  if (w->n_own < w->n) {
    memset(w->units, 0, (size_t)w->n * sizeof *w->units);
    add_units(w, w->units);
    for (long i = w->n_own; i < w->n; i++) sum += w->units[w->own[i]];
  }
  return sum;
}

/* ---- by draws ------------------------------------------------------------------------------------------------------------------------ */

/* The variance of the log of the mean of exp(ratio), by the delta method. */
static double log_mean_variance(long n, const double *ratio)
{
  double most = -INFINITY, sum = 0, square = 0;
  for (long i = 0; i < n; i++) most = fmax(most, ratio[i]);
  for (long i = 0; i < n; i++) {
    const double w = exp(ratio[i] - most);
    sum += w;
    square += w * w;
  }
  const double mean = sum / (double)n;
  return fmax(0, square / (double)n - mean * mean) / (double)n / (mean * mean);
}

/* One draw of all local variables: out[unit] = log density + log |J| - log q of its variables. */
static void at_draw(Locals *w, unsigned long seed, uint64_t draw, double *out)
{
  const PgmModel *m = w->s->model;
  memset(out, 0, (size_t)w->n * sizeof *out);
  for (int f = 0; f < m->n_families; f++) {
    const PgmLayout *l = &w->s->layout[f];
    if (m->families[f].role != PGM_LOCAL) continue;
    const long n = l->elements * l->uwidth;
    double *u = w->values;
    if (n) pgm_philox_normals((PgmKey){seed ^ SEED_INNER, draw, (uint64_t)f}, 0, n, u);
    for (long r = 0; r < (l->list ? l->defined : l->elements); r++) {
      const long e = l->list ? l->list[r] : r;
      double *to = &out[unit_of(w, l, e)];
      for (long k = e * l->uwidth; k < (e + 1) * l->uwidth; k++) {
        *to += 0.5 * (u[k] * u[k] + LOG_2PI) + log(l->sd[k]);
        u[k] = l->mean[k] + l->sd[k] * u[k];
        *to += log_jacobian(w->s, f, e, u[k]);
      }
    }
    pgm_constrain(w->s, f, u, l->value);
  }
  add_units(w, out);
}

static double by_draws(Locals *w, unsigned long seed, long draw)
{
  double sum = 0, *ratio = w->values; /* as many as rows: see open_locals */
  w->variance = 0;
  for (long k = 0; k < w->rows; k++) at_draw(w, seed, (uint64_t)draw * (uint64_t)w->rows + (uint64_t)k, w->units + k * w->n);
  for (long i = 0; i < w->n; i++) {
    double value;
    w->khat[i] = -INFINITY;
    if (!w->owns[i]) {
      sum += w->units[i];
      continue;
    }
    for (long k = 0; k < w->rows; k++) ratio[k] = w->units[k * w->n + i];
    w->khat[i] = pgm_psis(w->rows, ratio, &value);
    if (w->khat[i] > 0 && pgm_khat_trusted(INFINITY, pgm_effective(w->rows, ratio, 1))) w->khat[i] = -INFINITY; /* as good as all the same */
    w->variance += log_mean_variance(w->rows, ratio);
    sum += value;
  }
  return sum;
}

/* ---- the ratios ---------------------------------------------------------------------------------------------------------------------- */

/* log p(data, globals) with the local variables integrated out, at the session's globals; *found false: not quadratic after all. */
static double integrate_locals(Locals *w, unsigned long seed, long draw, bool *found)
{
  switch (w->by) {
  case PGM_LOCALS_QUADRATIC:
    *found = pgm_quadratic_probe(w->quadratic) &&
             (draw >= CHECKED_DRAWS || pgm_quadratic_agrees(w->quadratic, seed + (unsigned long)draw)) &&
             pgm_quadratic_eliminate(w->quadratic);
    return *found ? pgm_quadratic_integral(w->quadratic) : NAN;
  case PGM_LOCALS_QUADRATURE:
    return other_terms(w) + by_quadrature(w);
  default:
    return other_terms(w) + by_draws(w, seed, draw);
  }
}

/* Log ratios of draws first .. first+draws-1 of the globals; *found false: this way does not go after all. */
static void locals_ratios(Locals *w, long first, int draws, unsigned long seed, double *ratio, bool *found)
{
  const PgmModel *m = w->s->model;
  for (int f = 0; f < m->n_families; f++) /* elements that no statement defines are read by nobody, but are to be numbers */
    if (m->families[f].role == PGM_LOCAL) pgm_constrain(w->s, f, w->s->layout[f].mean, w->s->layout[f].value);
  double inexact = 0;
  for (long i = 0; w->start && i < w->n_own; i++) w->start[i].n = 0;
  for (int d = 0; d < draws && *found; d++) {
    ratio[d] = pgm_globals_draw(w->globals, seed, first + d);
    ratio[d] += integrate_locals(w, seed, first + d, found);
    inexact += w->inexact / draws;
    if (isnan(ratio[d])) *found = false;
  }
  w->inexact = inexact;
}

/* Rounds of `draws` draws until the proposal of the globals is where the target is; returns how many draws were used up. */
static long settle_globals(Locals *w, int draws, unsigned long seed, double *ratio, bool *found)
{
  long used = 0;
  const int few = draws < ROUND_DRAWS ? draws : ROUND_DRAWS;
  for (int round = 0, settled = 0; round < MOST_ROUNDS && settled < 2 && *found; round++, used += few) {
    locals_ratios(w, used, few, seed, ratio, found);
    if (*found && pgm_globals_adapt(w->globals, seed, used, few, ratio)) settled++;
  }
  return used;
}

PgmStatus pgm_evidence_locals(PgmSession *s, PgmLocalsBy by, bool given, int draws, unsigned long seed, double *ratio, bool *found,
                              PgmError *error)
{
  Locals w;
  PgmStatus st = open_locals(&w, s, by, draws > 1, given, found, error);
  if (!st && *found) locals_ratios(&w, 0, draws, seed, ratio, found);
  close_locals(&w);
  return st;
}

/* ---- all ways, the best first -------------------------------------------------------------------------------------------------------- */

/* How many draws of the globals a way can afford; 0: not even a few. */
static int affordable(const Locals *w, int wanted, bool given)
{
  if (!pgm_globals_count(w->s)) return 1;
  if (w->by == PGM_LOCALS_SAMPLED) return given ? NESTED_DRAWS : 0; /* weights of weights need more draws than there is time for */
  if (w->by == PGM_LOCALS_QUADRATURE) return wanted;
  const double most = MOST_WORK / pgm_quadratic_cost(w->quadratic);
  return most >= wanted ? wanted : most >= FEWEST_DRAWS ? (int)most : 0;
}

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The 95 % quantile of the units' k-hats. */
static double usual_khat(Locals *w)
{
  qsort(w->khat, (size_t)w->n, sizeof *w->khat, ascending);
  for (long i = 0; i < w->n; i++)
    if (isnan(w->khat[i])) return NAN;
  return w->khat[(long)(0.95 * (double)(w->n - 1))];
}

static PgmEvidenceKind kind_of(double khat, double effective)
{
  return pgm_khat_trusted(khat, effective) ? PGM_EVIDENCE_PSIS : PGM_EVIDENCE_BOUND;
}

/* From the ratios of `draws` draws of the globals to a value. */
static void conclude(Locals *w, int draws, const double *ratio, PgmEvidence *out)
{
  static const char *const ways[] = {"integrated in closed form", "by quadrature", "by importance sampling unit by unit"};
  double value = ratio[0];
  if (draws == 1) {
    out->kind = w->by == PGM_LOCALS_QUADRATIC ? PGM_EVIDENCE_EXACT : PGM_EVIDENCE_PSIS;
    out->se = sqrt(w->variance);
    snprintf(out->how, sizeof out->how, "local variables %s", ways[w->by]);
  } else if (out->given) {
    double square = 0;
    value = 0;
    for (int d = 0; d < draws; d++) value += ratio[d] / draws;
    for (int d = 0; d < draws; d++) square += pow(ratio[d] - value, 2);
    out->se = sqrt(square / (draws - 1) / draws);
    out->kind = PGM_EVIDENCE_PSIS;
    snprintf(out->how, sizeof out->how, "%d draws of the globals from their factors, local variables %s", draws, ways[w->by]);
  } else {
    out->khat = pgm_psis(draws, ratio, &value);
    out->se = sqrt(log_mean_variance(draws, ratio));
    out->kind = isnan(out->khat) ? PGM_EVIDENCE_NONE : kind_of(out->khat, pgm_effective(draws, ratio, 1));
    snprintf(out->how, sizeof out->how, "importance sampling of the globals, %d draws, local variables %s", draws, ways[w->by]);
  }
  if (w->by == PGM_LOCALS_SAMPLED) {
    const double units = usual_khat(w); /* the weaker of both is what counts */
    if (out->kind == PGM_EVIDENCE_EXACT || out->kind == PGM_EVIDENCE_PSIS) out->kind = kind_of(units, 0);
    if (isnan(out->khat) || isnan(units) || units > out->khat) out->khat = units;
  }
  out->se = hypot(out->se, w->inexact);
  if (w->inexact > POOR) {
    const size_t used = strlen(out->how);
    snprintf(out->how + used, sizeof out->how - used, ", not to the error wanted");
  }
  if (!isfinite(value)) out->kind = PGM_EVIDENCE_NONE;
  if (out->kind == PGM_EVIDENCE_BOUND) out->se = NAN; /* of weights without a variance it says nothing */
  if (!isfinite(out->khat)) out->khat = NAN; /* all ratios the same: q is the posterior */
  out->draws = draws;
  out->value = out->kind == PGM_EVIDENCE_NONE ? NAN : value;
}

static PgmStatus through_locals(PgmSession *s, PgmLocalsBy by, int wanted, unsigned long seed, PgmEvidence *out, PgmError *error)
{
  Locals w;
  bool found;
  PgmStatus st = open_locals(&w, s, by, pgm_globals_count(s) > 0, out->given, &found, error);
  const int draws = !st && found ? affordable(&w, wanted, out->given) : 0;
  double *ratio = draws ? malloc((size_t)draws * sizeof *ratio) : NULL;
  if (draws && !ratio) st = no_memory(error);
  if (draws && !st) {
    const bool adapts = draws > 1 && !out->given && pgm_globals_count(s) <= FEW_GLOBALS;
    const long used = adapts ? settle_globals(&w, draws, seed, ratio, &found) : 0;
    locals_ratios(&w, used, draws, seed, ratio, &found);
  }
  if (draws && !st && found) conclude(&w, draws, ratio, out);
  free(ratio);
  close_locals(&w);
  return st;
}

/* Labels beside globals: where these can be exchanged, q has one of the ways to do so, and draws from it find the evidence of that one. */
static bool has_labels(PgmSession *s)
{
  bool any = false;
  for (int f = 0; f < s->model->n_families; f++)
    any = any || s->model->families[f].role == PGM_MARGINAL || (pgm_is_latent(&s->model->families[f]) && pgm_is_discrete(&s->model->families[f]));
  return any && pgm_globals_count(s) > 0;
}

/* Everything drawn from q. */
static PgmStatus from_everything(PgmSession *s, int draws, unsigned long seed, PgmEvidence *out, PgmError *error)
{
  double value, *ratio = malloc((size_t)draws * sizeof *ratio);
  if (!ratio) return no_memory(error);
  if (pgm_log_ratios(s, draws, seed, ratio)) {
    out->khat = pgm_psis(draws, ratio, &value);
    if (!isnan(out->khat) && isfinite(value)) {
      out->draws = draws;
      out->value = value;
      out->se = sqrt(log_mean_variance(draws, ratio));
      out->kind = kind_of(out->khat, pgm_effective(draws, ratio, 1));
      if (out->kind == PGM_EVIDENCE_BOUND) out->se = NAN;
      if (!isfinite(out->khat)) out->khat = NAN;
      snprintf(out->how, sizeof out->how, "importance sampling, %d draws of q%s", draws,
               has_labels(s) && !out->given ? "; exchanges of labels are not counted" : "");
    }
  }
  free(ratio);
  return PGM_OK;
}

PgmStatus pgm_evidence(PgmSession *s, bool given, int draws, unsigned long seed, PgmEvidence *out, PgmError *error)
{
  bool found;
  *out = (PgmEvidence){.kind = PGM_EVIDENCE_NONE, .value = NAN, .se = NAN, .khat = NAN, .given = given};
  long locals = 0;
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    const long n = (l->list ? l->defined : l->elements) * l->uwidth;
    if (is_random(&s->model->families[f])) out->coordinates += n;
    if (s->model->families[f].role == PGM_LOCAL) locals += n;
  }
  PgmStatus st = pgm_evidence_exact(s, given, seed, &found, &out->value, error);
  if (st) return st;
  if (found) {
    out->kind = PGM_EVIDENCE_EXACT;
    out->se = 0;
    snprintf(out->how, sizeof out->how, "exact: the log joint is quadratic in %ld coordinate%s", out->coordinates,
             out->coordinates == 1 ? "" : "s");
    return PGM_OK;
  }
  const int wanted = out->coordinates > LARGE ? GLOBAL_DRAWS_LARGE : GLOBAL_DRAWS, few = wanted < draws ? wanted : draws;
  for (int by = PGM_LOCALS_QUADRATIC; by <= PGM_LOCALS_SAMPLED && locals && out->kind == PGM_EVIDENCE_NONE && !st; by++)
    st = through_locals(s, (PgmLocalsBy)by, few, seed, out, error);
  if (st || out->kind != PGM_EVIDENCE_NONE || given) return st;
  return from_everything(s, draws, seed, out, error);
}
