/* Draws from q, for `sample` and `predict`. In: a session whose factors are filled, a seed. Out: the values of latent and param families, and
 * of those that q leaves out (pruned ones, from their conditional prior), with the log densities that importance weights need.
 *
 * Draw i of a family depends on (seed, i, family) alone (philox.h), so it is the same for any number of draws and threads. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#include "labels.h"
#include "philox.h"
#include "source.h"

struct PgmDraws {
  PgmCli *cli;
  PgmSession *s;
  PgmRng *rng;
  double *u;                             /* the largest family's unconstrained coordinates */
  double *noise;                         /* as many standard normals */
  unsigned char *pruned, *with_observed; /* per statement: drawn by the model's `simulate` */
  bool any_pruned;
};

PgmStatus pgm_cli_draws_open(PgmCli *cli, PgmSession *s, PgmDraws **out)
{
  const PgmModel *model = s->model;
  long largest = 1;
  for (int f = 0; f < model->n_families; f++) {
    long size = pgm_is_latent(&model->families[f]) ? s->layout[f].elements * s->layout[f].uwidth : 0;
    if (size > largest) largest = size;
  }
  PgmDraws *d = *out = calloc(1, sizeof *d);
  if (d) {
    *d = (PgmDraws){.cli = cli,
                    .s = s,
                    .rng = pgm_rng_new(cli->fit.seed),
                    .u = malloc((size_t)largest * sizeof(double)),
                    .noise = malloc((size_t)largest * sizeof(double)),
                    .pruned = calloc((size_t)model->n_statements + 1, 1),
                    .with_observed = calloc((size_t)model->n_statements + 1, 1)};
  }
  if (!d || !d->rng || !d->u || !d->noise || !d->pruned || !d->with_observed) {
    pgm_cli_draws_close(d);
    *out = NULL;
    return pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
  }
  for (int i = 0; i < model->n_statements; i++) {
    const PgmStatement *statement = &model->statements[i];
    bool pruned = statement->kind == PGM_S_LATENT && model->families[statement->family].role == PGM_PRUNED;
    bool label = statement->kind == PGM_S_LATENT && model->families[statement->family].role == PGM_MARGINAL; /* of new observations: from its prior */
    d->pruned[i] = pruned;
    d->with_observed[i] = pruned || label || statement->kind == PGM_S_OBSERVED;
    d->any_pruned = d->any_pruned || pruned;
  }
  return PGM_OK;
}

/* Values of one family; returns the log Jacobian and adds to *log_g. A param is a point: it has neither. */
static double draw_family(PgmDraws *d, int f, long i, double *log_g)
{
  const PgmLayout *l = &d->s->layout[f];
  bool param = d->s->model->families[f].role == PGM_PARAM;
  long size = l->elements * l->uwidth, defined = l->list ? l->defined : l->elements;
  const PgmKey key = {.seed = d->cli->fit.seed, .iteration = (uint64_t)i, .stream = (uint64_t)f};
  if (l->table) {
    *log_g += pgm_draw_table(d->s, f, l->mean, key);
    return 0;
  }
  memcpy(d->u, l->mean, (size_t)size * sizeof *d->u);
  if (!param) {
    pgm_philox_normals(key, 0, size, d->noise);
    for (long k = 0; k < size; k++) d->u[k] += l->sd[k] * d->noise[k];
  }
  double jacobian = pgm_constrain(d->s, f, d->u, l->value);
  if (param) return 0;
  for (long r = 0; r < defined; r++) {
    long e = l->list ? l->list[r] : r;
    for (long k = e * l->uwidth; k < (e + 1) * l->uwidth; k++) *log_g -= 0.5 * (d->noise[k] * d->noise[k] + log(2 * M_PI)) + log(l->sd[k]);
  }
  return jacobian;
}

PgmStatus pgm_cli_draw(PgmDraws *d, long i, bool observed, double *log_p, double *log_g)
{
  const PgmModel *model = d->s->model;
  const PgmBatch everything = {.axis = -1, .weight = 1};
  double jacobian = 0, density = 0;
  for (int f = 0; f < model->n_families; f++) {
    if (pgm_is_latent(&model->families[f])) jacobian += draw_family(d, f, i, &density);
  }
  if (log_p) *log_p = pgm_engine_run(d->s, PGM_KERNEL_POINT, &everything) + d->s->constant + jacobian;
  pgm_values_show(d->s);
  const PgmKey labels = {.seed = d->cli->fit.seed, .iteration = (uint64_t)i, .stream = (uint64_t)model->n_families};
  PgmStatus status = observed ? PGM_OK : pgm_draw_labels(d->s, labels, &d->cli->error);
  if (status != PGM_OK) return status;
  if (d->any_pruned || observed) {
    long where[PGM_MAX_INDEX] = {0};
    int failed = model->simulate(d->s->env, d->rng, observed ? d->with_observed : d->pruned, where);
    if (failed >= 0) {
      return pgm_fail(&d->cli->error, PGM_BAD_INPUT, "%s:%d: draw %ld: the arguments of %s are out of their domain", model->file,
                      model->statements[failed].line, i + 1, model->statements[failed].text);
    }
  }
  if (log_g) *log_g = density;
  return PGM_OK;
}

void pgm_cli_draws_close(PgmDraws *d)
{
  if (!d) return;
  pgm_rng_free(d->rng);
  free(d->u);
  free(d->noise);
  free(d->pruned);
  free(d->with_observed);
  free(d);
}
