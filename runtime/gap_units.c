/* The ELBO unit by unit, to tell which observations suffer. In: the fits of a PgmGap, applied to the session. Out: per unit of the
 * outermost plate with data that has most units, the expectation of its terms, and the entropy and Jacobians of its latent variables. Terms that can only
 * be sampled are averaged over draws that are the same for all methods. */
#include "gap_work.h"

#include <stdlib.h>
#include <string.h>

#include "objective.h"

enum { UNIT_DRAWS = 400 };

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

static double entropy_of(const PgmLayout *l, long element)
{
  double sum = 0;
  for (long k = element * l->uwidth; k < (element + 1) * l->uwidth; k++)
    if (l->table)
      sum -= l->mean[k] > 0 ? l->mean[k] * log(l->mean[k]) : 0;
    else
      sum += log(l->sd[k]) + 0.5 * (1 + log(2 * M_PI));
  return sum;
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
      if (unit >= 0 && unit < n) out[unit] += entropy_of(l, e) + pgm_jacobian_part(s, f, r, r + 1, l->mean, l->sd, NULL, NULL);
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

static PgmStatus unit_elbos(PgmSession *s, int plate, unsigned long seed, double *out, PgmError *error)
{
  const PgmModel *m = s->model;
  const int axis = m->plates[plate].axis;
  const long lo = s->shape.plate_lo[plate], n = s->shape.plate_hi[plate] - lo + 1;
  long largest = 1;
  bool sampled = false;
  for (int t = 0; t < m->n_terms; t++) {
    if (pgm_term_size(s, t) > largest) largest = pgm_term_size(s, t);
    sampled = sampled || m->terms[t].method == PGM_SAMPLED;
  }
  double *values = malloc((size_t)largest * sizeof *values);
  PgmStatus st = values ? PGM_OK : pgm_fail(error, PGM_SYSTEM, "out of memory");
  if (!st) add_latents(s, axis, lo, n, out);
  const PgmObjectiveOptions how = {.draws = 1, .fresh = true, .all_points = true, .seed = seed ^ PGM_GAP_SEED, .axis = -1};
  PgmSources *q = NULL;
  PgmObjective *objective = NULL;
  if (!st && sampled) st = pgm_gap_sources(&q, s, error);
  if (!st && sampled) st = pgm_objective_open(&objective, s, q, &how, error);
  for (int p = 0; p < m->n_plates && !st; p++) {
    if (!m->plates[p].variable || m->plates[p].axis != axis) continue;
    for (int t = m->plates[p].first_term; t < m->plates[p].first_term + m->plates[p].n_terms; t++)
      if (m->terms[t].method != PGM_SAMPLED) add_term(s, t, true, 1, lo, n, values, out);
  }
  for (int d = 0; sampled && !st && d < UNIT_DRAWS; d++) {
    pgm_objective_ratio(objective, d);
    for (int p = 0; p < m->n_plates; p++) {
      if (!m->plates[p].variable || m->plates[p].axis != axis) continue;
      for (int t = m->plates[p].first_term; t < m->plates[p].first_term + m->plates[p].n_terms; t++)
        if (m->terms[t].method == PGM_SAMPLED) add_term(s, t, false, 1. / UNIT_DRAWS, lo, n, values, out);
    }
  }
  if (objective) pgm_objective_close(objective);
  pgm_sources_close(q);
  free(values);
  return st;
}

PgmStatus pgm_gap_units(PgmSession *s, const PgmGap *gap, unsigned long seed, PgmGapUnits *out, PgmError *error)
{
  const int plate = unit_plate(s);
  PgmStatus st = PGM_OK;
  *out = (PgmGapUnits){0};
  if (plate < 0) return pgm_fail(error, PGM_BAD_USAGE, "--per-observation: there are no units: the data leave no element in a plate of the model");
  out->variable = s->model->plates[plate].variable;
  out->lo = s->shape.plate_lo[plate];
  out->n = s->shape.plate_hi[plate] - out->lo + 1;
  for (int k = 0; k < PGM_GAP_METHODS && !st; k++) {
    if (!gap->method[k].fit) continue;
    out->elbo[k] = calloc((size_t)out->n, sizeof(double));
    st = out->elbo[k] ? pgm_fit_apply(s, gap->method[k].fit, error) : pgm_fail(error, PGM_SYSTEM, "out of memory");
    if (!st) st = unit_elbos(s, plate, seed, out->elbo[k], error);
  }
  if (st) pgm_gap_units_free(out);
  return st;
}

void pgm_gap_units_free(PgmGapUnits *units)
{
  for (int k = 0; k < PGM_GAP_METHODS; k++) free(units->elbo[k]);
  *units = (PgmGapUnits){0};
}
