/* `grad`: the log joint density and its gradient at a point, and a check of the one against the other. In: data, and a point (--at FILE in the
 * data's format; without it all unconstrained coordinates are 0, and discrete variables have their lowest value). Out: JSON: log_joint at
 * constrained values with its gradient entry by entry, log_joint_unconstrained with the log Jacobian of the transforms of the latent variables (a
 * param is a point, it has none) and its gradient by unconstrained coordinate, in order of declaration. Discrete variables have no gradient.
 *
 * --check: central differences of the unconstrained log joint with two steps, h and h / 2, and Richardson's extrapolation to h^4 (Press et al.,
 * Numerical Recipes, section 5.7). The differences are taken term by term and then summed, so that the size of the total costs no digits. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#include "progress.h"

typedef struct {
  PgmCli *cli;
  PgmSession *s;
  long n;      /* unconstrained coordinates of all latent and param families */
  long *start; /* per family: its first coordinate */
  double *u, *gradient;
  double **plus, **minus; /* per term: its values */
  double log_joint, log_joint_unconstrained;
  double max_error;
  long checked;
} Grad;

/* Discrete variables have a value at the point, and no coordinates. */
static bool in_q(const Grad *g, int f)
{
  return pgm_is_latent(&g->s->model->families[f]) && !pgm_is_discrete(&g->s->model->families[f]);
}
static double jacobian_weight(const Grad *g, int f)
{
  return g->s->model->families[f].role == PGM_PARAM ? 0 : 1;
}

static PgmStatus open_grad(Grad *g)
{
  const PgmModel *model = g->s->model;
  g->start = calloc((size_t)model->n_families + 1, sizeof *g->start);
  g->plus = calloc((size_t)model->n_terms + 1, sizeof *g->plus);
  g->minus = calloc((size_t)model->n_terms + 1, sizeof *g->minus);
  for (int f = 0; g->start && f < model->n_families; f++) {
    g->start[f] = g->n;
    if (in_q(g, f)) g->n += g->s->layout[f].elements * g->s->layout[f].uwidth;
  }
  g->u = calloc((size_t)g->n + 1, sizeof *g->u);
  g->gradient = calloc((size_t)g->n + 1, sizeof *g->gradient);
  bool ok = g->start && g->plus && g->minus && g->u && g->gradient;
  for (int t = 0; ok && g->cli->check && t < model->n_terms; t++) {
    size_t size = ((size_t)pgm_term_size(g->s, t) + 1) * sizeof(double);
    ok = (g->plus[t] = malloc(size)) && (g->minus[t] = malloc(size));
  }
  return ok ? PGM_OK : pgm_fail(&g->cli->error, PGM_SYSTEM, "out of memory");
}

static void close_grad(Grad *g)
{
  for (int t = 0; g->s && t < g->s->model->n_terms; t++) {
    if (g->plus) free(g->plus[t]);
    if (g->minus) free(g->minus[t]);
  }
  free(g->plus);
  free(g->minus);
  free(g->start);
  free(g->u);
  free(g->gradient);
}

/* ---- the point ------------------------------------------------------------------------------------------------------------------------------------------ */

/* The values of a discrete variable at the point: those of the file, else the lowest. `data` may be NULL. */
static PgmStatus read_discrete(Grad *g, const PgmData *data, int f)
{
  const PgmFamily *family = &g->s->model->families[f];
  const PgmLayout *l = &g->s->layout[f];
  bool found = false;
  for (long r = 0; r < l->defined; r++) {
    const long flat = l->list ? l->list[r] : r;
    l->value[flat] = pgm_lowest(family, l, flat);
  }
  PgmStatus status = data ? pgm_cli_read_family(g->cli, g->s, data, f, l->value, &found) : PGM_OK;
  if (status != PGM_OK || !data) return status;
  if (!found) pgm_cli_note(g->cli, "%s: has no '%s': its elements have their lowest value", g->cli->at, family->name);
  for (long r = 0; r < l->defined; r++) {
    const long flat = l->list ? l->list[r] : r;
    const double at = l->value[flat] - pgm_lowest(family, l, flat);
    if (at != floor(at) || at < 0 || at >= (double)pgm_levels(family, l, flat))
      return pgm_fail(&g->cli->error, PGM_BAD_INPUT, "%s: %s: is outside its support", g->cli->at, family->name);
  }
  return PGM_OK;
}

/* Values from g->u; returns the log Jacobian of the latent families. */
static double set_values(Grad *g)
{
  double jacobian = 0;
  for (int f = 0; f < g->s->model->n_families; f++) {
    if (in_q(g, f)) jacobian += jacobian_weight(g, f) * pgm_constrain(g->s, f, g->u + g->start[f], g->s->layout[f].value);
  }
  return jacobian;
}

static PgmStatus read_point(Grad *g)
{
  PgmCli *cli = g->cli;
  const PgmModel *model = g->s->model;
  for (int f = 0; f < model->n_families && !cli->at; f++)
    if (pgm_is_discrete(&model->families[f])) read_discrete(g, NULL, f);
  if (!cli->at) return PGM_OK;
  PgmData *data = pgm_data_new();
  if (!data) return pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
  PgmStatus status = pgm_data_read(data, cli->at, &cli->error);
  for (int f = 0; f < model->n_families && status == PGM_OK; f++) {
    bool found = false;
    double *value = g->s->layout[f].value;
    if (pgm_is_discrete(&model->families[f])) status = read_discrete(g, data, f);
    if (!in_q(g, f)) continue;
    pgm_constrain(g->s, f, g->u + g->start[f], value);
    status = pgm_cli_read_family(cli, g->s, data, f, value, &found);
    if (status == PGM_OK && !found) {
      pgm_cli_note(cli, "%s: has no '%s': its unconstrained coordinates stay 0", cli->at, model->families[f].name);
    } else if (status == PGM_OK && !pgm_unconstrain(g->s, f, value, g->u + g->start[f])) {
      status = pgm_fail(&cli->error, PGM_BAD_INPUT, "%s: %s: is outside its support", cli->at, model->families[f].name);
    }
  }
  pgm_data_free(data);
  if (status == PGM_OK) pgm_values_hide(g->s);
  for (int f = 0; f < model->n_families && status == PGM_OK; f++) {
    const PgmLayout *l = &g->s->layout[f];
    if (!in_q(g, f) || !model->families[f].shown) continue;
    for (long k = 0; k < l->elements * l->uwidth; k++) {
      if (isnan(l->value[k]) && (!l->piece || l->piece[k / l->uwidth]))
        return pgm_fail(&cli->error, PGM_BAD_INPUT, "%s: %s: is outside its support", cli->at, model->families[f].name);
      g->u[g->start[f] + k] = l->value[k];
    }
  }
  return status;
}

static PgmStatus evaluate(Grad *g)
{
  const PgmBatch everything = {.axis = -1, .weight = 1};
  char place[512];
  double jacobian = set_values(g);
  for (int f = 0; f < g->s->model->n_families; f++) {
    const PgmLayout *l = &g->s->layout[f];
    if (in_q(g, f)) memset(l->value_bar, 0, (size_t)(l->elements * l->width) * sizeof *l->value_bar);
  }
  g->log_joint = pgm_engine_run(g->s, PGM_KERNEL_POINT, &everything) + g->s->constant;
  g->log_joint_unconstrained = g->log_joint + jacobian;
  for (int f = 0; f < g->s->model->n_families; f++) {
    const PgmLayout *l = &g->s->layout[f];
    if (in_q(g, f))
      pgm_constrain_vjp(g->s, f, g->u + g->start[f], l->value, l->value_bar, jacobian_weight(g, f), g->gradient + g->start[f]);
  }
  if (isfinite(g->log_joint) || !pgm_find_nan(g->s, false, place, sizeof place)) return PGM_OK;
  return pgm_fail(&g->cli->error, PGM_BAD_INPUT, "%s", place);
}

/* ---- the check ------------------------------------------------------------------------------------------------------------------------------------------------ */

/* Every term and the Jacobian at u with coordinate i of family f moved by h. */
static double terms_at(Grad *g, int f, long i, double h, double **out)
{
  double *u = g->u + g->start[f], kept = u[i];
  u[i] = kept + h;
  double jacobian = jacobian_weight(g, f) * pgm_constrain(g->s, f, u, g->s->layout[f].value);
  for (int t = 0; t < g->s->model->n_terms; t++) pgm_term_each(g->s, t, false, out[t]);
  u[i] = kept;
  return jacobian;
}

static double central_difference(Grad *g, int f, long i, double h)
{
  double sum = terms_at(g, f, i, h, g->plus) - terms_at(g, f, i, -h, g->minus);
  for (int t = 0; t < g->s->model->n_terms; t++) {
    long size = pgm_term_size(g->s, t);
    for (long k = 0; k < size; k++) sum += g->plus[t][k] - g->minus[t][k];
  }
  return sum / (2 * h);
}

/* |gradient - difference| / max(1, |gradient|, |difference|), the largest over the coordinates (over every stride-th of a large model). */
static PgmStatus check_gradient(Grad *g)
{
  enum { MOST = 2000 };
  const double h = 2e-3;
  long stride = (g->n + MOST - 1) / MOST, worst = 0, at = 0;
  int worst_family = -1;
  PgmProgress bar;
  if (stride < 1) stride = 1;
  pgm_progress_start(&bar, "grad --check", g->cli->quiet);
  for (int f = 0; f < g->s->model->n_families; f++) {
    const PgmLayout *l = &g->s->layout[f];
    for (long i = 0; in_q(g, f) && i < l->elements * l->uwidth; i++, at++) {
      if (at % stride != 0 || (l->piece && !l->piece[i / l->uwidth])) continue;
      double coarse = central_difference(g, f, i, h), fine = central_difference(g, f, i, h / 2), difference = (4 * fine - coarse) / 3;
      double gradient = g->gradient[g->start[f] + i], size = fmax(1, fmax(fabs(gradient), fabs(difference)));
      double error = fabs(gradient - difference) / size;
      if (!(error <= g->max_error) && !isnan(g->max_error)) g->max_error = error, worst = i, worst_family = f;
      g->checked++;
      pgm_progress_show(&bar, (double)at / (double)g->n, "central differences");
    }
    if (in_q(g, f)) pgm_constrain(g->s, f, g->u + g->start[f], g->s->layout[f].value);
  }
  pgm_progress_end(&bar);
  if (stride > 1) pgm_cli_note(g->cli, "checked %ld of %ld coordinates", g->checked, g->n);
  if (g->max_error <= 1e-6) return PGM_OK;
  char name[256];
  pgm_element_name(g->s, worst_family, worst / g->s->layout[worst_family].uwidth, -1, name, sizeof name);
  return pgm_fail(&g->cli->error, PGM_UNMET,
                  "%s grad: gradient and central differences disagree, by %.2g of its size at %s (coordinate %ld)", g->cli->program,
                  g->max_error, name, worst % g->s->layout[worst_family].uwidth + 1);
}

/* ---- the command -------------------------------------------------------------------------------------------------------------------------------------------------- */

static void print_json(const Grad *g)
{
  PgmJson j = pgm_json_start(stdout);
  pgm_json_object(&j, NULL);
  pgm_json_number(&j, "log_joint", g->log_joint);
  pgm_json_object(&j, "gradient");
  for (int f = 0; f < g->s->model->n_families; f++) {
    if (in_q(g, f)) pgm_cli_json_box(&j, g->s->model->families[f].name, g->s, f, g->s->layout[f].value_bar);
  }
  pgm_json_end(&j);
  pgm_json_number(&j, "log_joint_unconstrained", g->log_joint_unconstrained);
  pgm_json_array(&j, "gradient_unconstrained");
  for (int f = 0; f < g->s->model->n_families; f++) {
    const PgmLayout *l = &g->s->layout[f];
    for (long i = 0; in_q(g, f) && i < l->elements * l->uwidth; i++) {
      if (!l->piece || l->piece[i / l->uwidth]) pgm_json_number(&j, NULL, g->gradient[g->start[f] + i]);
    }
  }
  pgm_json_end(&j);
  pgm_json_number(&j, "max_relative_error", g->checked ? g->max_error : NAN);
  pgm_json_end(&j);
  pgm_json_finish(&j);
}

int pgm_command_grad(PgmCli *cli)
{
  Grad g = {.cli = cli};
  PgmAtomicFile out = {.stream = stdout};
  PgmStatus status = pgm_cli_session(cli, false, &g.s);
  if (status == PGM_OK) status = open_grad(&g);
  if (status == PGM_OK) status = read_point(&g);
  if (status == PGM_OK) status = evaluate(&g);
  if (status == PGM_OK && cli->check) status = check_gradient(&g);
  if (status == PGM_OK || status == PGM_UNMET) print_json(&g);
  if (status == PGM_OK) status = pgm_cli_output_close(cli, &out);
  close_grad(&g);
  pgm_session_close(g.s);
  return status == PGM_OK ? 0 : pgm_cli_fail(cli);
}
