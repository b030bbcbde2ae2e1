/* Conditional probabilities of summed-out labels: see labels.h. */
#include "labels.h"

#include <stdlib.h>
#include <string.h>

#include "source.h"

bool pgm_has_labels(const PgmModel *m, int family)
{
  return m->families[family].role == PGM_MARGINAL && m->labels && m->labels[family];
}

void pgm_label_tables(const PgmSession *s, int family, double *table)
{
  const PgmLayout *l = &s->layout[family];
  s->model->labels[family](s->env, table);
  for (long r = 0; r < l->defined; r++) {
    const long flat = l->list ? l->list[r] : r;
    const long levels = pgm_levels(&s->model->families[family], l, flat);
    double *p = table + flat * l->uwidth, most = -INFINITY, sum = 0;
    for (long k = 0; k < levels; k++) most = fmax(most, p[k]);
    for (long k = 0; k < levels; k++) sum += p[k] = exp(p[k] - most);
    for (long k = 0; k < l->uwidth; k++) p[k] = k < levels ? p[k] / sum : 0;
  }
}

static double *new_table(const PgmSession *s, int family)
{
  return calloc((size_t)(s->layout[family].elements * s->layout[family].uwidth) + 1, sizeof(double));
}

PgmStatus pgm_draw_labels(const PgmSession *s, PgmKey key, PgmError *error)
{
  const uint64_t stream = key.stream;
  for (int f = 0; f < s->model->n_families; f++) {
    if (!pgm_has_labels(s->model, f)) continue;
    double *table = new_table(s, f);
    if (!table) return pgm_fail(error, PGM_SYSTEM, "out of memory");
    pgm_label_tables(s, f, table);
    key.stream = stream + (uint64_t)f;
    pgm_draw_table(s, f, table, key);
    free(table);
  }
  return PGM_OK;
}

/* Values of every latent family from q, of params their points. */
static PgmStatus draw_values(const PgmSession *s, unsigned long seed, long draw, PgmError *error)
{
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    const long n = l->elements * l->uwidth;
    const PgmKey key = {seed, (uint64_t)draw, 0x1ABE1000u + (uint64_t)f};
    if (!pgm_is_latent(&s->model->families[f])) continue;
    if (l->table) {
      pgm_draw_table(s, f, l->mean, key);
      continue;
    }
    double *u = calloc((size_t)n + 1, sizeof *u);
    if (!u) return pgm_fail(error, PGM_SYSTEM, "out of memory");
    if (s->model->families[f].role != PGM_PARAM) pgm_philox_normals(key, 0, n, u);
    for (long e = 0; e < n; e++) u[e] = l->mean[e] + l->sd[e] * u[e];
    pgm_constrain(s, f, u, l->value);
    free(u);
  }
  return PGM_OK;
}

PgmStatus pgm_average_labels(const PgmSession *s, int family, int draws, unsigned long seed, double *table, PgmError *error)
{
  const long n = s->layout[family].elements * s->layout[family].uwidth;
  double *one = new_table(s, family);
  PgmStatus st = one ? PGM_OK : pgm_fail(error, PGM_SYSTEM, "out of memory");
  memset(table, 0, (size_t)n * sizeof *table);
  for (int d = 0; d < draws && !st; d++) {
    st = draw_values(s, seed, d, error);
    if (st) break;
    pgm_label_tables(s, family, one);
    for (long e = 0; e < n; e++) table[e] += one[e] / draws;
  }
  free(one);
  return st;
}
