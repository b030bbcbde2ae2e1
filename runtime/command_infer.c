/* `infer`: means and sds of the local latent variables of new observations, as CSV. A thin client of pgm.h. In: a fit and data. Out: one row
 * per element of a family: its indices, then NAME.mean, NAME.sd (NAME.2.mean for entry 2, NAME.2.1.mean for entry [2, 1] of a matrix), of discrete
 * variables NAME.p.1, NAME.p.2, ..., the probabilities of their values.
 * Families of the same index and box share a table. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "labels.h"
#include "posterior.h"

int pgm_prepare_infer(PgmCli *cli)
{
  bool to_stdout = !cli->out || strcmp(cli->out, "-") == 0;
  if (cli->json && to_stdout)
    return pgm_cli_usage_error(cli, "--json prints an object on standard output: give the table a file, --out FILE");
  return 0;
}

/* ---- tables -------------------------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  const PgmMarginal **at;
  int n;
} Table;

static bool same_rows(const PgmMarginal *a, const PgmMarginal *b)
{
  if (a->n_index != b->n_index || (a->defined != NULL) != (b->defined != NULL)) return false;
  for (int k = 0; k < a->n_index; k++) {
    if (strcmp(a->index[k], b->index[k]) != 0 || a->lo[k] != b->lo[k] || a->hi[k] != b->hi[k]) return false;
  }
  return !a->defined || memcmp(a->defined, b->defined, (size_t)a->elements * sizeof *a->defined) == 0;
}

static bool is_identifier(const char *text)
{
  if (!isalpha((unsigned char)*text) && *text != '_') return false;
  while (isalnum((unsigned char)*text) || *text == '_') text++;
  return !*text;
}

static void print_entry_name(FILE *out, const PgmMarginal *m, long entry, const char *what)
{
  fprintf(out, ",%s", m->name);
  if (m->rank == 1) fprintf(out, ".%ld", entry + 1);
  if (m->rank == 2) fprintf(out, ".%ld.%ld", entry / m->dim[1] + 1, entry % m->dim[1] + 1);
  fprintf(out, ".%s", what);
}

static void print_table(FILE *out, const Table *t)
{
  const PgmMarginal *first = t->at[0];
  for (int k = 0; k < first->n_index; k++) {
    if (is_identifier(first->index[k]))
      fprintf(out, "%s%s", k ? "," : "", first->index[k]);
    else
      fprintf(out, "%sindex%d", k ? "," : "", k + 1);
  }
  for (int i = 0; i < t->n; i++) {
    const PgmMarginal *m = t->at[i];
    for (long k = 0; m->p && k < m->values; k++) fprintf(out, ",%s.p.%ld", m->name, m->first + k);
    for (long entry = 0; !m->p && entry < m->width; entry++) {
      print_entry_name(out, t->at[i], entry, "mean");
      print_entry_name(out, t->at[i], entry, "sd");
    }
  }
  putc('\n', out);
  for (long e = 0; e < first->elements; e++) {
    if (first->defined && !first->defined[e]) continue;
    long stride = first->elements, rest = e;
    for (int k = 0; k < first->n_index; k++) {
      stride /= first->hi[k] - first->lo[k] + 1;
      fprintf(out, "%s%ld", k ? "," : "", first->lo[k] + rest / stride);
      rest %= stride;
    }
    for (int i = 0; i < t->n; i++) {
      const PgmMarginal *m = t->at[i];
      for (long k = e * m->values; m->p && k < (e + 1) * m->values; k++) fprintf(out, ",%.10g", m->p[k]);
      for (long entry = e * m->width; !m->p && entry < (e + 1) * m->width; entry++) fprintf(out, ",%.10g,%.10g", m->mean[entry], m->sd[entry]);
    }
    putc('\n', out);
  }
}

static PgmStatus write_table(PgmCli *cli, const Table *t, const char *path)
{
  PgmAtomicFile file;
  PgmStatus status = pgm_cli_output_open(cli, path, &file);
  if (status != PGM_OK) return status;
  print_table(file.stream, t);
  return pgm_cli_output_close(cli, &file);
}

/* Groups the local families (or the one of --latent) into tables. The arrays of all tables lie in `members`. */
static int make_tables(const PgmInference *r, const char *latent, Table *tables, const PgmMarginal **members)
{
  int n = 0;
  for (int i = 0; i < pgm_inference_count(r); i++) {
    const PgmMarginal *m = pgm_inference_at(r, i);
    if (!m->local || (latent && strcmp(latent, m->name) != 0)) continue;
    bool first = true;
    for (int t = 0; t < n && first; t++) first = !same_rows(tables[t].at[0], m);
    if (!first) continue;
    Table *t = &tables[n++];
    *t = (Table){.at = members};
    for (int k = i; k < pgm_inference_count(r); k++) {
      const PgmMarginal *other = pgm_inference_at(r, k);
      if (other->local && same_rows(m, other) && (!latent || k == i)) t->at[t->n++] = other;
    }
    members += t->n;
  }
  return n;
}

/* --out DIR/: one file per table, named after its families. */
static PgmStatus write_directory(PgmCli *cli, const Table *tables, int n)
{
  size_t length = strlen(cli->out);
  PgmStatus status = PGM_OK;
  if (mkdir(cli->out, 0777) != 0 && errno != EEXIST) return pgm_fail(&cli->error, PGM_SYSTEM, "%s: %s", cli->out, strerror(errno));
  for (int t = 0; t < n && status == PGM_OK; t++) {
    size_t size = length + 8;
    for (int i = 0; i < tables[t].n; i++) size += strlen(tables[t].at[i]->name) + 1;
    char *path = malloc(size);
    if (!path) return pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
    size_t used = (size_t)snprintf(path, size, "%s%s", cli->out, cli->out[length - 1] == '/' ? "" : "/");
    for (int i = 0; i < tables[t].n; i++) used += (size_t)snprintf(path + used, size - used, "%s%s", i ? "_" : "", tables[t].at[i]->name);
    snprintf(path + used, size - used, ".csv");
    status = write_table(cli, &tables[t], path);
    free(path);
  }
  return status;
}

static bool is_directory(const char *path)
{
  struct stat status;
  size_t length = strlen(path);
  return (length > 0 && path[length - 1] == '/') || (stat(path, &status) == 0 && S_ISDIR(status.st_mode));
}

static PgmStatus write_tables(PgmCli *cli, const Table *tables, int n)
{
  char names[512] = "";
  if (cli->out && is_directory(cli->out)) return write_directory(cli, tables, n);
  if (n == 1) return write_table(cli, &tables[0], cli->out);
  for (int t = 0; t < n; t++) {
    size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, "%s%s", t ? ", " : "", tables[t].at[0]->name);
  }
  return pgm_fail(&cli->error, PGM_BAD_USAGE,
                  "%s infer: %s have different indices: choose one with --latent NAME, or give --out DIR/ for a file each", cli->program,
                  names);
}

/* ---- the command -------------------------------------------------------------------------------------------------------------------------------------------- */

static PgmStatus check_latent(PgmCli *cli)
{
  bool any = false;
  for (int f = 0; f < cli->model->n_families; f++) {
    const PgmFamily *family = &cli->model->families[f];
    const bool local = family->role == PGM_LOCAL || (pgm_has_labels(cli->model, f) && family->n_index);
    any = any || local;
    if (!cli->latent || strcmp(family->name, cli->latent) != 0) continue;
    if (local) return PGM_OK;
    return pgm_fail(&cli->error, PGM_BAD_USAGE, "%s infer: '%s' is no local latent variable", cli->program, cli->latent);
  }
  if (cli->latent) return pgm_fail(&cli->error, PGM_BAD_USAGE, "%s infer: there is no '%s' in the model", cli->program, cli->latent);
  if (any) return PGM_OK;
  return pgm_fail(&cli->error, PGM_BAD_USAGE, "%s infer: the model has no local latent variables; `fit` prints the global ones",
                  cli->program);
}

static void print_json(const PgmCli *cli, const PgmPosterior *posterior, const PgmInference *r, const Table *tables, int n, double seconds)
{
  PgmJson j = pgm_json_start(stdout);
  pgm_json_object(&j, NULL);
  pgm_json_string(&j, "model", cli->model->name);
  pgm_json_string(&j, "method", pgm_posterior_method(posterior));
  pgm_json_string(&j, "how", pgm_inference_how(r));
  pgm_json_number(&j, "seconds", seconds);
  pgm_json_string(&j, "out", cli->out);
  pgm_json_object(&j, "elements");
  for (int t = 0; t < n; t++) {
    for (int i = 0; i < tables[t].n; i++) {
      const PgmMarginal *m = tables[t].at[i];
      long defined = m->elements;
      for (long e = 0; m->defined && e < m->elements; e++) defined -= !m->defined[e];
      pgm_json_integer(&j, m->name, defined);
    }
  }
  pgm_json_end(&j);
  pgm_json_end(&j);
  pgm_json_finish(&j);
}

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int pgm_command_infer(PgmCli *cli)
{
  PgmPosterior *posterior = NULL;
  PgmInference *r = NULL;
  const PgmInferOptions options = {.threads = cli->fit.threads > 0 ? cli->fit.threads : -1};
  size_t families = (size_t)cli->model->n_families + 1;
  Table *tables = calloc(families, sizeof *tables);
  const PgmMarginal **members = calloc(families, sizeof *members);
  int n = 0;
  double started = now(), seconds = 0;
  PgmStatus status = tables && members ? check_latent(cli) : pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
  if (status == PGM_OK) status = pgm_posterior_open(&posterior, cli->model, cli->fit_file, &cli->error);
  if (status == PGM_OK) status = pgm_posterior_infer_data(posterior, cli->data, &options, &r, &cli->error);
  seconds = now() - started;
  if (status == PGM_OK) {
    pgm_cli_note(cli, "%s", pgm_inference_how(r));
    for (int i = 0; i < cli->data->n; i++) {
      const PgmArray *a = &cli->data->array[i];
      if (a->file && strcmp(a->file, PGM_SIZE_OF_FIT) == 0)
        pgm_cli_note(cli, "%s = %g, as in the fit; --set %s=... for these data", a->name, a->value[0], a->name);
    }
    n = make_tables(r, cli->latent, tables, members);
    status = write_tables(cli, tables, n);
  }
  if (status == PGM_OK && cli->json) print_json(cli, posterior, r, tables, n, seconds);
  int result = status == PGM_OK ? 0 : pgm_cli_fail(cli);
  free(tables);
  free((void *)members);
  pgm_inference_free(r);
  pgm_posterior_close(posterior);
  return result;
}
