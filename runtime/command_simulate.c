/* `simulate`: draws a data set from the model. In: covariates and sizes, and values of latent variables that are to be fixed. Out: the data as
 * JSON that `fit` reads, complete with sizes and inputs; with --truth the values of the latent variables and params, as JSON that
 * `grad --at` reads. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static bool is_hidden(const PgmFamily *family)
{
  return pgm_cli_is_drawn(family) || family->role == PGM_MARGINAL;
}

/* Moves the arrays that name latent variables or params from the data into `fixed`, which lives no longer than the data. */
static PgmStatus take_latents(PgmCli *cli, PgmData *fixed)
{
  PgmData *data = cli->data;
  for (int f = 0; f < cli->model->n_families; f++) {
    PgmArray *a = is_hidden(&cli->model->families[f]) ? pgm_data_find(data, cli->model->families[f].name) : NULL;
    if (!a) continue;
    PgmArray *more = realloc(fixed->array, sizeof *more * (size_t)(fixed->n + 1));
    if (!more) return pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
    fixed->array = more;
    fixed->cap = fixed->n + 1;
    fixed->array[fixed->n++] = *a;
    data->n--;
    memmove(a, a + 1, (size_t)(data->array + data->n - a) * sizeof *a);
  }
  return PGM_OK;
}

/* Sizes that the values of latent variables or params tell, where the data do not. */
static PgmStatus add_sizes(PgmCli *cli, const PgmData *fixed)
{
  const PgmModel *model = cli->model;
  PgmStatus status = PGM_OK;
  for (int c = 0; c < model->n_counts && status == PGM_OK; c++) {
    const PgmCount *count = &model->counts[c];
    const PgmFamily *array = &model->families[count->array];
    const PgmArray *a = pgm_data_find(fixed, array->name);
    bool known = pgm_data_find(cli->data, model->families[count->size].name) != NULL;
    for (int k = 0; k < model->n_counts && !known; k++)
      known = model->counts[k].size == count->size && pgm_data_find(cli->data, model->families[model->counts[k].array].name);
    if (!a || known || count->position < 0 || a->rank != array->n_index + array->rank) continue;
    const double size = (double)(a->dim[count->position] - count->extra);
    status = pgm_data_add(cli->data, model->families[count->size].name, 0, NULL, &size, a->file, &cli->error);
  }
  return status;
}

/* Which statements are drawn: all random ones but those of families that the data fix, whose values go into the session. NULL: an error. */
static unsigned char *choose_drawn(PgmCli *cli, PgmSession *s, const PgmData *given)
{
  const PgmModel *model = s->model;
  unsigned char *draw = calloc((size_t)model->n_statements + 1, 1);
  if (!draw) {
    pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
    return NULL;
  }
  for (int f = 0; f < model->n_families; f++) {
    const PgmFamily *family = &model->families[f];
    bool fixed = false;
    if (is_hidden(family) && pgm_cli_read_family(cli, s, given, f, s->layout[f].value, &fixed) != PGM_OK) {
      free(draw);
      return NULL;
    }
    for (int i = 0; i < model->n_statements; i++) {
      const PgmStatement *statement = &model->statements[i];
      bool random = statement->kind == PGM_S_LATENT || statement->kind == PGM_S_OBSERVED || statement->kind == PGM_S_PARAM;
      if (statement->family == f) draw[i] = random && !fixed;
    }
  }
  return draw;
}

/* " at n = 3" from the plates of a term of the statement */
static void place_text(const PgmModel *model, int statement, const long *where, char *text, size_t size)
{
  text[0] = '\0';
  for (int t = 0; t < model->n_terms; t++) {
    const PgmTerm *term = &model->terms[t];
    if (term->statement != statement) continue;
    size_t length = 0;
    for (int k = 0; k < term->n_plates && length < size; k++) {
      length += (size_t)snprintf(text + length, size - length, "%s%s = %ld", k ? ", " : " at ", term->plates[k], where[k]);
    }
    return;
  }
}

/* A latent variable with an improper prior comes back as NaN; a param need not have a distribution at all. */
static PgmStatus not_drawable(PgmCli *cli, int i)
{
  const PgmStatement *statement = &cli->model->statements[i];
  const PgmFamily *family = &cli->model->families[statement->family];
  return pgm_fail(&cli->error, PGM_BAD_INPUT, "%s:%d: %s has no proper distribution to be drawn from: give --set %s=VALUE%s",
                  cli->model->file, statement->line, statement->text, family->name,
                  family->n_index || family->rank ? ", or a data file with its values" : "");
}

static bool has_nan(const PgmLayout *l)
{
  for (long e = 0; e < l->elements; e++) {
    for (long i = e * l->width; (!l->piece || l->piece[e]) && i < (e + 1) * l->width; i++) {
      if (isnan(l->value[i])) return true;
    }
  }
  return false;
}

/* The entries of an ordered vector, drawn one by one where the emitted code could not sort them: their distributions differ. */
static bool in_order(const PgmSession *s, int f)
{
  const PgmTransform t = s->model->families[f].transform;
  const PgmLayout *l = &s->layout[f];
  if (t != PGM_T_ORDERED && t != PGM_T_POSITIVE_ORDERED) return true;
  for (long e = 0; e < l->elements; e++) {
    for (long i = e * l->width + 1; (!l->piece || l->piece[e]) && i < (e + 1) * l->width; i++) {
      if (!(l->value[i] > l->value[i - 1])) return false;
    }
  }
  return true;
}

static PgmStatus draw_all(PgmCli *cli, PgmSession *s, const unsigned char *draw)
{
  const PgmModel *model = s->model;
  long where[PGM_MAX_INDEX] = {0};
  char place[256];
  for (int i = 0; i < model->n_statements; i++) {
    if (draw[i] && !strchr(model->statements[i].text, '~')) return not_drawable(cli, i);
  }
  PgmRng *rng = pgm_rng_new(cli->fit.seed);
  if (!rng) return pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
  int failed = model->simulate(s->env, rng, draw, where);
  pgm_rng_free(rng);
  if (failed >= 0 && strstr(model->statements[failed].text, "~ flat(")) return not_drawable(cli, failed);
  if (failed >= 0) {
    const char *name = model->families[model->statements[failed].family].name;
    place_text(model, failed, where, place, sizeof place);
    if (strstr(model->statements[failed].text, "~ multinomial(") && !pgm_data_find(cli->data, name))
      return pgm_fail(&cli->error, PGM_BAD_INPUT, "%s:%d: %s: the total%s is not known: give an array '%s' whose entries add up to the totals",
                      model->file, model->statements[failed].line, model->statements[failed].text, place, name);
    return pgm_fail(&cli->error, PGM_BAD_INPUT, "%s:%d: %s: the arguments are out of their domain%s", model->file,
                    model->statements[failed].line, model->statements[failed].text, place);
  }
  for (int i = 0; i < model->n_statements; i++) {
    if (draw[i] && model->statements[i].kind != PGM_S_OBSERVED && has_nan(&s->layout[model->statements[i].family]))
      return not_drawable(cli, i);
    if (draw[i] && !in_order(s, model->statements[i].family))
      return pgm_fail(&cli->error, PGM_BAD_INPUT,
                      "%s:%d: %s: the entries were drawn, but not in order, and sorted they would have another distribution, because theirs "
                      "differ: give '%s' a value, or try another --seed",
                      model->file, model->statements[i].line, model->statements[i].text, model->families[model->statements[i].family].name);
  }
  return PGM_OK;
}

static PgmStatus write_families(PgmCli *cli, const PgmSession *s, const char *path, bool truth)
{
  PgmAtomicFile file;
  PgmStatus status = pgm_cli_output_open(cli, path, &file);
  if (status != PGM_OK) return status;
  PgmJson j = pgm_json_start(file.stream);
  pgm_json_object(&j, NULL);
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmFamily *family = &s->model->families[f];
    bool data = family->role == PGM_INPUT || family->role == PGM_OBSERVED;
    if (truth && is_hidden(family)) pgm_cli_json_family(&j, s, f, s->layout[f].value);
    if (!truth && data) pgm_cli_json_family(&j, s, f, NULL);
  }
  pgm_json_end(&j);
  pgm_json_finish(&j);
  return pgm_cli_output_close(cli, &file);
}

int pgm_command_simulate(PgmCli *cli)
{
  PgmSession *s = NULL;
  PgmData *fixed = pgm_data_new();
  PgmStatus status = fixed ? take_latents(cli, fixed) : pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
  if (status == PGM_OK) status = add_sizes(cli, fixed);
  if (status == PGM_OK) status = pgm_cli_session(cli, true, &s);
  unsigned char *draw = status == PGM_OK ? choose_drawn(cli, s, fixed) : NULL;
  if (draw) {
    status = draw_all(cli, s, draw);
    if (status == PGM_OK) status = write_families(cli, s, cli->out, false);
    if (status == PGM_OK && cli->truth) status = write_families(cli, s, cli->truth, true);
  }
  int result = draw && status == PGM_OK ? 0 : pgm_cli_fail(cli);
  if (!result && cli->json && cli->out) {
    PgmJson j = pgm_json_start(stdout);
    pgm_json_object(&j, NULL);
    pgm_json_string(&j, "model", cli->model->name);
    pgm_json_string(&j, "out", cli->out);
    pgm_json_string(&j, "truth", cli->truth);
    pgm_json_integer(&j, "seed", (long)cli->fit.seed);
    pgm_json_end(&j);
    pgm_json_finish(&j);
  }
  free(draw);
  pgm_session_close(s);
  pgm_data_free(fixed);
  return result;
}
