/* `check`: prints the verdict that was compiled in, and with data what they decide: the sizes, the number of elements, missing values. */
#include "cli.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static bool is_size(const PgmFamily *f)
{
  return f->is_size && f->integer && f->n_index == 0 && f->rank == 0;
}

static long size_value(const PgmSession *s, int f)
{
  return *(const long *)((const char *)s->env + s->model->families[f].place);
}

static const char *role_word(PgmRole role)
{
  static const char *const words[] = {"input", "global", "local", "marginal", "observed", "param", "let", "pruned"};
  return words[role];
}

static void print_data(const PgmSession *s)
{
  printf("data:");
  const char *separator = " ";
  for (int f = 0; f < s->model->n_families; f++) {
    if (!is_size(&s->model->families[f])) continue;
    printf("%s%s = %ld", separator, s->model->families[f].name, size_value(s, f));
    separator = ", ";
  }
  putchar('\n');
  int width = 12;
  for (int f = 0; f < s->model->n_families; f++) {
    const int length = (int)strlen(s->model->families[f].name);
    if (length > width) width = length;
  }
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmFamily *family = &s->model->families[f];
    const PgmLayout *l = &s->layout[f];
    long missing = l->missing;
    if (family->n_index == 0 && family->role == PGM_INPUT && family->rank == 0) continue;
    printf("  %-*s %-9s %ld element%s", width, family->name, role_word(family->role), l->defined, l->defined == 1 ? "" : "s");
    if (l->width != 1) printf(" of %ld numbers", l->width);
    if (missing) printf(", %ld missing", missing);
    putchar('\n');
  }
}

/* The compiled object with a key "data": { "sizes": {"N": 919}, "families": {"x": {"role", "elements", "width", "missing"}} }. */
static int print_json(PgmCli *cli, const PgmSession *s)
{
  json_error_t problem;
  json_t *root = json_loads(cli->model->check_json, 0, &problem), *sizes = json_object(), *families = json_object();
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmFamily *family = &s->model->families[f];
    const PgmLayout *l = &s->layout[f];
    if (is_size(family)) json_object_set_new(sizes, family->name, json_integer(size_value(s, f)));
    json_object_set_new(families, family->name,
                        json_pack("{s:s, s:I, s:I, s:I}", "role", role_word(family->role), "elements", (json_int_t)l->defined, "width",
                                  (json_int_t)l->width, "missing", (json_int_t)l->missing));
  }
  json_object_set_new(root, "data", json_pack("{s:o, s:o}", "sizes", sizes, "families", families));
  char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
  json_decref(root);
  if (!text) {
    pgm_fail(&cli->error, PGM_INTERNAL, "%s: the verdict compiled in is no JSON: %s", cli->program, problem.text);
    return pgm_cli_fail(cli);
  }
  puts(text);
  free(text);
  return 0;
}

int pgm_command_check(PgmCli *cli)
{
  const char *format = cli->format ? cli->format : cli->json ? "json" : "text";
  bool with_data = cli->data->n > 0;
  PgmSession *s = NULL;
  int status = 0;
  if (with_data && pgm_cli_session(cli, false, &s) != PGM_OK) return pgm_cli_fail(cli);
  if (strcmp(format, "dot") == 0)
    fputs(cli->model->check_dot, stdout);
  else if (strcmp(format, "text") == 0)
    fputs(cli->model->check_text, stdout);
  else if (!with_data)
    puts(cli->model->check_json);
  else
    status = print_json(cli, s);
  if (with_data && strcmp(format, "text") == 0) print_data(s);
  pgm_session_close(s);
  PgmAtomicFile out = {.stream = stdout};
  return status == 0 && pgm_cli_output_close(cli, &out) != PGM_OK ? pgm_cli_fail(cli) : status;
}
