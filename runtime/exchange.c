/* Two sets of factors of the same units, the better one kept unit by unit: see exchange.h. */
#include "exchange.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evidence_units.h"
#include "objective.h"

struct PgmExchange {
  PgmSources *q;
  PgmUnits *units;
  double *mine, *other; /* ELBOs per unit */
};

/* Are all local factors free, and are there both Gaussians and tables among those that a term couples? */
static bool is_suited(const PgmSources *q)
{
  bool table = false, gaussian = false;
  for (int i = 0; i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    if (f->local && f->kind != PGM_FREE) return false;
    if (!f->local || q->s->model->families[f->family].separable) continue;
    table = table || f->table;
    gaussian = gaussian || f->scales;
  }
  return table && gaussian && !q->eliminates && !pgm_needs_draws(q->s->model);
}

PgmStatus pgm_exchange_open(PgmExchange **out, PgmSources *q, PgmError *error)
{
  PgmUnits *units = NULL;
  *out = NULL;
  PgmStatus st = is_suited(q) ? pgm_units_open(&units, q->s, error) : PGM_OK;
  if (st || !units) {
    pgm_units_close(units);
    return st;
  }
  PgmExchange *e = *out = calloc(1, sizeof *e);
  const size_t n = (size_t)pgm_units_count(units);
  if (e) *e = (PgmExchange){.q = q, .units = units, .mine = malloc((2 * n + 1) * sizeof *e->mine)};
  if (e && e->mine) {
    e->other = e->mine + n;
    return PGM_OK;
  }
  if (!e) pgm_units_close(units);
  pgm_exchange_close(e);
  *out = NULL;
  return pgm_fail(error, PGM_SYSTEM, "out of memory");
}

void pgm_exchange_close(PgmExchange *e)
{
  if (!e) return;
  pgm_units_close(e->units);
  free(e->mine);
  free(e);
}

/* The sd of a column of the means, the factors' own included: that of the elements' values. x: the source's means, then its log sds. */
static double spread_of(const PgmSource *f, const double *x, long column)
{
  double sum = 0, squares = 0, variances = 0;
  for (long r = 0; r < f->rows; r++) {
    const double mean = x[r * f->uwidth + column];
    sum += mean;
    squares += mean * mean;
    variances += exp(2 * x[f->size / 2 + r * f->uwidth + column]);
  }
  const double n = (double)f->rows;
  return sqrt(fmax(0, squares / n - sum / n * (sum / n)) + variances / n);
}

void pgm_exchange_scatter(const PgmExchange *e, PgmKey key, double by, const double *x, double *out)
{
  memcpy(out, x, (size_t)e->q->size * sizeof *x);
  for (int i = 0; i < e->q->n; i++) {
    const PgmSource *f = &e->q->source[i];
    double *mine = out + f->at;
    if (!f->local || !f->rows) continue;
    if (f->table) memset(mine, 0, (size_t)f->size * sizeof *mine);
    if (!f->scales) continue;
    pgm_philox_normals(key, (uint64_t)f->at, f->size / 2, mine);
    for (long c = 0; c < f->uwidth; c++) {
      const double spread = by * spread_of(f, x + f->at, c);
      for (long k = c; k < f->size / 2; k += f->uwidth) mine[k] = x[f->at + k] + spread * mine[k];
    }
  }
}

static void elbos(PgmExchange *e, const double *x, double *out)
{
  PgmSession *s = e->q->s;
  memset(out, 0, (size_t)pgm_units_count(e->units) * sizeof *out);
  pgm_sources_forward(e->q, x, NULL);
  pgm_units_terms(e->units, true, out);
  for (int i = 0; i < e->q->n; i++) {
    const PgmSource *f = &e->q->source[i];
    const PgmLayout *l = &s->layout[f->family];
    for (long r = 0; f->local && r < f->rows; r++) {
      const long element = l->list ? l->list[r] : r;
      out[pgm_units_of(e->units, f->family, element)] +=
          pgm_element_entropy(l, element) + pgm_jacobian_part(s, f->family, r, r + 1, l->mean, l->sd, NULL, NULL);
    }
  }
}

double pgm_exchange(PgmExchange *e, double *x, const double *other)
{
  double gain = 0;
  elbos(e, other, e->other);
  elbos(e, x, e->mine);
  for (long u = 0; u < pgm_units_count(e->units); u++) gain += e->other[u] > e->mine[u] ? e->other[u] - e->mine[u] : 0;
  for (int i = 0; i < e->q->n; i++) {
    const PgmSource *f = &e->q->source[i];
    const PgmLayout *l = &e->q->s->layout[f->family];
    const size_t bytes = (size_t)f->uwidth * sizeof *x;
    for (long r = 0; f->local && r < f->rows; r++) {
      const long unit = pgm_units_of(e->units, f->family, l->list ? l->list[r] : r), at = f->at + r * f->uwidth;
      if (!(e->other[unit] > e->mine[unit])) continue;
      memcpy(x + at, other + at, bytes);
      if (f->scales) memcpy(x + at + f->size / 2, other + at + f->size / 2, bytes);
    }
  }
  return gain;
}
