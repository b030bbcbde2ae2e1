/* The ELBO unit by unit, to tell which observations suffer. In: the fits of a PgmGap, applied to the session. Out: per unit of the
 * outermost plate with data that has most units, the expectation of its terms, and the entropy and Jacobians of its latent variables. Terms that can only
 * be sampled are averaged over draws that are the same for all methods; the standard error of a difference is that of its batches of draws. */
#include "gap_work.h"

#include <stdlib.h>
#include <string.h>

#include "objective.h"

enum { BATCHES = 10, BATCH_DRAWS = 40 };

/* Are there data in the terms of the outermost plates of this axis? */
static bool has_data(const PgmModel *m, int axis)
{
  for (int p = 0; p < m->n_plates; p++)
    for (int t = m->plates[p].first_term; m->plates[p].axis == axis && t < m->plates[p].first_term + m->plates[p].n_terms; t++) {
      const PgmStatementKind kind = m->statements[m->terms[t].statement].kind;
      if (kind == PGM_S_OBSERVED || kind == PGM_S_FACTOR) return true;
    }
  return false;
}

/* The outermost plate with most units among those with observations or factors, or, where none has, among all; -1: none. */
static int unit_plate(const PgmSession *s)
{
  const PgmModel *m = s->model;
  for (int data = 1; data >= 0; data--) {
    int found = -1;
    long most = 0;
    for (int p = 0; p < m->n_plates; p++) {
      const long n = s->shape.plate_hi[p] - s->shape.plate_lo[p] + 1;
      if (m->plates[p].variable && n > most && (!data || has_data(m, m->plates[p].axis))) found = p, most = n;
    }
    if (found >= 0) return found;
  }
  return -1;
}

bool pgm_gap_has_units(const PgmSession *s)
{
  const int plate = unit_plate(s);
  return plate >= 0 && s->shape.plate_hi[plate] > s->shape.plate_lo[plate];
}

/* Entropy and Jacobians of the local families whose first index is the plate's axis. */
static void add_latents(PgmSession *s, int axis, long lo, long n, double *out)
{
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmFamily *family = &s->model->families[f];
    const PgmLayout *l = &s->layout[f];
    if (family->role != PGM_LOCAL || !family->n_index || family->axis[0] != axis) continue;
    const long rows = l->list ? l->defined : l->elements;
    for (long r = 0; r < rows; r++) {
      const long e = l->list ? l->list[r] : r, unit = l->lo[0] + e / l->stride[0] - lo;
      if (unit >= 0 && unit < n) out[unit] += pgm_element_entropy(l, e) + pgm_jacobian_part(s, f, r, r + 1, l->mean, l->sd, NULL, NULL);
    }
  }
}

/* Values of term t at each of its elements, in expectation under the layouts' factors: closed form, quadrature, or averaged over draws. */
static void add_term(PgmSession *s, int t, bool expected, double weight, long lo, long n, double *values, double *out)
{
  const PgmBox *box = &s->shape.term[t];
  const long units = box->hi[0] - box->lo[0] + 1, size = pgm_term_size(s, t), inner = units > 0 ? size / units : 0;
  if (units <= 0 || !inner) return;
  pgm_term_each(s, t, expected, values);
  for (long i = 0; i < size; i++) {
    const long unit = box->lo[0] + i / inner - lo;
    if (unit >= 0 && unit < n) out[unit] += weight * values[i];
  }
}

/* Is there a term that no closed form or quadrature takes? */
static bool is_sampled(const PgmModel *m)
{
  for (int t = 0; t < m->n_terms; t++)
    if (m->terms[t].method == PGM_SAMPLED) return true;
  return false;
}

/* out[n]: the ELBO of each unit. batch[BATCHES][n]: what sampled terms are in each batch of draws, which is part of `out`; NULL: there are none. */
static PgmStatus unit_elbos(PgmSession *s, int plate, unsigned long seed, double *out, double *batch, PgmError *error)
{
  const PgmModel *m = s->model;
  const int axis = m->plates[plate].axis;
  const long lo = s->shape.plate_lo[plate], n = s->shape.plate_hi[plate] - lo + 1;
  long largest = 1;
  for (int t = 0; t < m->n_terms; t++)
    if (pgm_term_size(s, t) > largest) largest = pgm_term_size(s, t);
  double *values = malloc((size_t)largest * sizeof *values);
  PgmStatus st = values ? PGM_OK : pgm_fail(error, PGM_SYSTEM, "out of memory");
  if (!st) add_latents(s, axis, lo, n, out);
  const PgmObjectiveOptions how = {.draws = 1, .fresh = true, .all_points = true, .seed = seed ^ PGM_GAP_SEED, .axis = -1};
  PgmSources *q = NULL;
  PgmObjective *objective = NULL;
  if (!st && batch) st = pgm_gap_sources(&q, s, error);
  if (!st && batch) st = pgm_objective_open(&objective, s, q, &how, error);
  for (int p = 0; p < m->n_plates && !st; p++) {
    if (!m->plates[p].variable || m->plates[p].axis != axis) continue;
    for (int t = m->plates[p].first_term; t < m->plates[p].first_term + m->plates[p].n_terms; t++)
      if (m->terms[t].method != PGM_SAMPLED) add_term(s, t, true, 1, lo, n, values, out);
  }
  for (int d = 0; batch && !st && d < BATCHES * BATCH_DRAWS; d++) {
    pgm_objective_ratio(objective, d);
    for (int p = 0; p < m->n_plates; p++) {
      if (!m->plates[p].variable || m->plates[p].axis != axis) continue;
      for (int t = m->plates[p].first_term; t < m->plates[p].first_term + m->plates[p].n_terms; t++)
        if (m->terms[t].method == PGM_SAMPLED) add_term(s, t, false, 1. / BATCH_DRAWS, lo, n, values, batch + d / BATCH_DRAWS * n);
    }
  }
  for (long i = 0; batch && !st && i < BATCHES * n; i++) out[i % n] += batch[i] / BATCHES;
  if (objective) pgm_objective_close(objective);
  pgm_sources_close(q);
  free(values);
  return st;
}

PgmStatus pgm_gap_check_units(const PgmSession *s, PgmError *error)
{
  if (unit_plate(s) >= 0) return PGM_OK;
  for (int p = 0; p < s->model->n_plates; p++)
    if (s->model->plates[p].variable) return pgm_fail(error, PGM_BAD_INPUT, "--per-observation: the data leave no element in any plate of the model");
  return pgm_fail(error, PGM_BAD_USAGE, "--per-observation: the model has no plates, whose units could be told apart");
}

PgmStatus pgm_gap_units(PgmSession *s, const PgmGap *gap, unsigned long seed, PgmGapUnits *out, PgmError *error)
{
  const int plate = unit_plate(s);
  PgmStatus st = pgm_gap_check_units(s, error);
  *out = (PgmGapUnits){0};
  if (st) return st;
  out->variable = s->model->plates[plate].variable;
  out->lo = s->shape.plate_lo[plate];
  out->n = s->shape.plate_hi[plate] - out->lo + 1;
  const bool sampled = is_sampled(s->model);
  for (int k = 0; k < PGM_GAP_METHODS && !st; k++) {
    if (!gap->method[k].fit) continue;
    out->elbo[k] = calloc((size_t)out->n, sizeof(double));
    out->batch[k] = sampled ? calloc((size_t)(BATCHES * out->n), sizeof(double)) : NULL;
    st = out->elbo[k] && (out->batch[k] || !sampled) ? pgm_fit_apply(s, gap->method[k].fit, error) : pgm_fail(error, PGM_SYSTEM, "out of memory");
    if (!st) st = unit_elbos(s, plate, seed, out->elbo[k], out->batch[k], error);
  }
  if (st) pgm_gap_units_free(out);
  return st;
}

double pgm_gap_unit_se(const PgmGapUnits *u, PgmGapMethodName a, PgmGapMethodName b, long unit)
{
  const double *above = u->batch[a], *below = u->batch[b];
  double mean = 0, square = 0;
  for (int k = 0; above && below && k < BATCHES; k++) mean += (above[k * u->n + unit] - below[k * u->n + unit]) / BATCHES;
  for (int k = 0; above && below && k < BATCHES; k++) square += pow(above[k * u->n + unit] - below[k * u->n + unit] - mean, 2);
  return sqrt(square / (BATCHES - 1) / BATCHES);
}

void pgm_gap_units_free(PgmGapUnits *units)
{
  for (int k = 0; k < PGM_GAP_METHODS; k++) {
    free(units->elbo[k]);
    free(units->batch[k]);
  }
  *units = (PgmGapUnits){0};
}
