/* `sample` and `predict`: draws from q, and of the observed variables given them, as Stan CSV (CmdStan User's Guide, "Stan CSV File Format"):
 * comments, a header, one row per draw. Indices are counted from 1 at a family's lowest element, columns in column-major order.
 *
 * In: a fit and the data it belongs to (or, with an inference function, other data). Out: for `sample` lp__ (the log joint on the
 * unconstrained scale, as Stan's), log_p__ (the same), log_g__ (log density of q there), the latent variables and params (labels that are summed out
 * from their conditional distribution given the others; the densities are those without them), `let` variables,
 * with --log-lik the log density of every observation; for `predict` the observed variables. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#include "labels.h"
#include "posterior.h"
#include "progress.h"

int pgm_prepare_draws(PgmCli *cli)
{
  bool to_stdout = !cli->out || strcmp(cli->out, "-") == 0;
  if (cli->json && to_stdout)
    return pgm_cli_usage_error(cli, "--json prints an object on standard output: give the draws a file, --out FILE");
  return 0;
}

typedef struct {
  PgmCli *cli;
  PgmSession *s;
  bool predict;
  double **lets; /* per family: values of a `let`, or NULL */
  double *term;  /* values of the largest observed term */
} Sampler;

static bool is_observed_term(const Sampler *w, int t)
{
  return w->s->model->statements[w->s->model->terms[t].statement].kind == PGM_S_OBSERVED;
}

/* Latent variables and params, and labels that are summed out, which are drawn given the others. */
static bool is_shown(const PgmModel *model, int f)
{
  return pgm_cli_is_drawn(&model->families[f]) || pgm_has_labels(model, f);
}

static bool is_let(const Sampler *w, int f)
{
  return w->s->model->families[f].role == PGM_LET && w->s->model->lets && w->s->model->lets[f]; /* no table where none depends on a latent variable */
}

static void close_sampler(Sampler *w)
{
  for (int f = 0; w->lets && w->s && f < w->s->model->n_families; f++) free(w->lets[f]);
  free(w->lets);
  free(w->term);
}

static PgmStatus open_sampler(Sampler *w)
{
  const PgmModel *model = w->s->model;
  long largest = 1;
  bool ok = (w->lets = calloc((size_t)model->n_families + 1, sizeof *w->lets)) != NULL;
  for (int f = 0; ok && !w->predict && f < model->n_families; f++) {
    if (is_let(w, f)) ok = (w->lets[f] = calloc((size_t)(w->s->layout[f].elements * w->s->layout[f].width) + 1, sizeof(double))) != NULL;
  }
  for (int t = 0; t < model->n_terms; t++) {
    if (is_observed_term(w, t) && pgm_term_size(w->s, t) > largest) largest = pgm_term_size(w->s, t);
  }
  ok = ok && (w->term = malloc((size_t)largest * sizeof *w->term)) != NULL;
  return ok ? PGM_OK : pgm_fail(&w->cli->error, PGM_SYSTEM, "out of memory");
}

/* ---- the header ------------------------------------------------------------------------------------------------------------------------------------------ */

static void print_comments(const Sampler *w, FILE *out, const PgmFit *fit)
{
  fprintf(out, "# model = %s\n# pgmc_version = %s\n# method = %s\n# seed = %lu\n# draws = %ld\n", w->cli->model->name,
          w->cli->model->version, pgm_method_words[fit->method], w->cli->fit.seed, w->cli->draws);
  if (w->predict) {
    fputs("# observed variables, drawn given draws of the latent ones from q\n", out);
    return;
  }
  fputs("# lp__ = log_p__ = log joint density, log_g__ = log density of q, both on the unconstrained scale\n", out);
  long first = 1;
  for (int t = 0; w->cli->log_lik && t < w->s->model->n_terms; t++) {
    if (!is_observed_term(w, t)) continue;
    long size = pgm_term_size(w->s, t);
    fprintf(out, "# log_lik.%ld to log_lik.%ld: %s\n", first, first + size - 1, w->s->model->terms[t].text);
    first += size;
  }
}

static void print_header(const Sampler *w, FILE *out)
{
  const PgmModel *model = w->s->model;
  fputs("lp__,log_p__,log_g__", out);
  for (int f = 0; f < model->n_families; f++) {
    if (is_shown(model, f)) pgm_cli_print_columns(out, w->s, f, false);
  }
  for (int f = 0; f < model->n_families; f++) {
    if (is_let(w, f)) pgm_cli_print_columns(out, w->s, f, false);
  }
  long column = 1;
  for (int t = 0; w->cli->log_lik && t < model->n_terms; t++) {
    long size = is_observed_term(w, t) ? pgm_term_size(w->s, t) : 0;
    for (long k = 0; k < size; k++) fprintf(out, ",log_lik.%ld", column++);
  }
  putc('\n', out);
}

/* Families of `predict`: those with an observed statement. The first column has no comma before it. */
static void print_observed_header(const Sampler *w, FILE *out)
{
  bool first = true;
  for (int f = 0; f < w->s->model->n_families; f++) {
    if (w->s->model->families[f].role != PGM_OBSERVED) continue;
    pgm_cli_print_columns(out, w->s, f, first);
    first = false;
  }
  putc('\n', out);
}

/* ---- the rows --------------------------------------------------------------------------------------------------------------------------------------------- */

static void print_row(const Sampler *w, FILE *out, double log_p, double log_g)
{
  const PgmModel *model = w->s->model;
  fprintf(out, "%.10g,%.10g,%.10g", log_p, log_p, log_g);
  for (int f = 0; f < model->n_families; f++) {
    if (is_shown(model, f)) pgm_cli_print_values(out, w->s, f, w->s->layout[f].value, false);
  }
  for (int f = 0; f < model->n_families; f++) {
    if (!is_let(w, f)) continue;
    model->lets[f](w->s->env, w->lets[f]);
    pgm_cli_print_values(out, w->s, f, w->lets[f], false);
  }
  if (w->cli->log_lik) pgm_values_hide(w->s);
  for (int t = 0; w->cli->log_lik && t < model->n_terms; t++) {
    if (!is_observed_term(w, t)) continue;
    long size = pgm_term_size(w->s, t);
    pgm_term_each(w->s, t, false, w->term);
    for (long k = 0; k < size; k++) fprintf(out, ",%.10g", w->term[k]);
  }
  putc('\n', out);
}

static void print_observed_row(const Sampler *w, FILE *out)
{
  bool first = true;
  for (int f = 0; f < w->s->model->n_families; f++) {
    if (w->s->model->families[f].role != PGM_OBSERVED) continue;
    pgm_cli_print_values(out, w->s, f, NULL, first);
    first = false;
  }
  putc('\n', out);
}

static PgmStatus write_draws(Sampler *w, FILE *out, const PgmFit *fit)
{
  PgmDraws *draws;
  PgmProgress bar;
  char what[128], text[64];
  PgmStatus status = pgm_cli_draws_open(w->cli, w->s, &draws);
  if (status != PGM_OK) return status;
  snprintf(what, sizeof what, "%s %s", w->cli->program, w->cli->command);
  pgm_progress_start(&bar, what, w->cli->quiet);
  print_comments(w, out, fit);
  if (w->predict)
    print_observed_header(w, out);
  else
    print_header(w, out);
  for (long i = 0; i < w->cli->draws && status == PGM_OK; i++) {
    double log_p = 0, log_g = 0;
    status = pgm_cli_draw(draws, i, w->predict, w->predict ? NULL : &log_p, w->predict ? NULL : &log_g);
    if (status != PGM_OK) break;
    if (w->predict)
      print_observed_row(w, out);
    else
      print_row(w, out, log_p, log_g);
    if (pgm_progress_due(&bar)) {
      snprintf(text, sizeof text, "draw %ld of %ld", i + 1, w->cli->draws);
      pgm_progress_show(&bar, (double)(i + 1) / (double)w->cli->draws, text);
    }
  }
  pgm_progress_end(&bar);
  pgm_cli_draws_close(draws);
  return status;
}

/* ---- the commands -------------------------------------------------------------------------------------------------------------------------------------------- */

static void print_json(const PgmCli *cli)
{
  PgmJson j = pgm_json_start(stdout);
  pgm_json_object(&j, NULL);
  pgm_json_string(&j, "model", cli->model->name);
  pgm_json_integer(&j, "draws", cli->draws);
  pgm_json_number(&j, "seed", (double)cli->fit.seed);
  pgm_json_string(&j, "out", cli->out);
  pgm_json_end(&j);
  pgm_json_finish(&j);
}

/* Free local factors: none, kept in the fit, or restored from the data and its globals (the last where there are any of the kind). */
typedef enum { NO_FACTORS, KEPT, RESTORED } Free;

static Free free_factors(const PgmModel *model, const PgmFit *fit)
{
  Free how = NO_FACTORS;
  for (int i = 0; i < fit->n_factors; i++) {
    const PgmFactors *p = &fit->factors[i];
    if (p->kind != PGM_FREE || model->families[p->family].role != PGM_LOCAL) continue;
    if (!p->mean) return RESTORED;
    how = KEPT;
  }
  return how;
}

/* Free factors belong to the data fitted; other data of the same sizes would go unnoticed. */
static void check_data(const PgmCli *cli, const PgmSession *s, const PgmFit *fit)
{
  char hash[65];
  const Free how = free_factors(s->model, fit);
  if (how == NO_FACTORS || !fit->data_hash) return;
  pgm_data_hash(s, hash);
  if (strcmp(hash, fit->data_hash) != 0)
    pgm_cli_warn(cli, "these are not the data of the fit%s",
                 how == KEPT ? ", whose local factors are those of its own data" : ": the local factors are those of these data, globals as fitted");
}

/* What needs the observations that the session in hand is to draw: says when they are not those of the fit; *whole: the posterior's fit with the local
 * factors that it leaves to be restored, else NULL. */
static PgmStatus keep_factors(PgmCli *cli, const PgmFit *fit, PgmFit **whole)
{
  PgmSession *s = NULL;
  *whole = NULL;
  const Free how = free_factors(cli->model, fit);
  if (how == NO_FACTORS) return PGM_OK;
  PgmStatus status = pgm_cli_session(cli, false, &s);
  if (status == PGM_OK) check_data(cli, s, fit);
  if (status == PGM_OK && how == RESTORED && !(*whole = pgm_fit_copy(fit))) status = pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
  if (status == PGM_OK && *whole) status = pgm_fit_restore(s, *whole, &cli->error);
  pgm_session_close(s);
  return status;
}

static int run(PgmCli *cli, bool predict)
{
  Sampler w = {.cli = cli, .predict = predict};
  PgmPosterior *posterior = NULL;
  PgmFit *whole = NULL;
  PgmAtomicFile file;
  PgmStatus status = pgm_posterior_open(&posterior, cli->model, cli->fit_file, &cli->error);
  const PgmFit *fit = posterior ? pgm_posterior_fit(posterior) : NULL;
  if (status == PGM_OK) status = pgm_posterior_check_data(posterior, cli->data, &cli->error);
  if (status == PGM_OK) status = pgm_fit_add_sizes(fit, cli->model, cli->data, &cli->error);
  if (status == PGM_OK && predict) status = keep_factors(cli, fit, &whole);
  if (status == PGM_OK) status = pgm_cli_session(cli, predict, &w.s); /* predict draws into the arrays of the observations */
  if (status == PGM_OK) status = pgm_fit_apply(w.s, whole ? whole : fit, &cli->error);
  if (status == PGM_OK && !predict) check_data(cli, w.s, fit);
  if (status == PGM_OK) status = open_sampler(&w);
  if (status == PGM_OK && (status = pgm_cli_output_open(cli, cli->out, &file)) == PGM_OK) {
    status = write_draws(&w, file.stream, fit);
    if (status == PGM_OK)
      status = pgm_cli_output_close(cli, &file);
    else
      pgm_cli_output_discard(&file);
  }
  if (status == PGM_OK && cli->json) print_json(cli);
  close_sampler(&w);
  pgm_fit_free(whole);
  pgm_posterior_close(posterior);
  pgm_session_close(w.s);
  return status == PGM_OK ? 0 : pgm_cli_fail(cli);
}

int pgm_command_sample(PgmCli *cli)
{
  if (!cli->draws) cli->draws = 1000;
  return run(cli, false);
}

int pgm_command_predict(PgmCli *cli)
{
  if (!cli->draws) cli->draws = 100;
  return run(cli, true);
}
