/* Results of `gap` as a table: a row per method, window, function or set of inputs, over seeds.
 *
 *   summary NAME.json ...          files of gap --out
 *
 * Out, as Markdown: ELBO of the first seed, how far below F-VI; how many seeds converged and the spread of their ELBOs; medians over the
 * seeds of the iterations until within 1 % of F-VI, 10 nats and 1 nat, and of the seconds until within 1 nat and until the fit stopped by
 * itself. */
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1000 };

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double number(const json_t *object, const char *key)
{
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

/* The median over runs of run[level][key], or run[key] where level is NULL; a run without it comes last. NaN: no runs. */
static double median(const json_t *runs, const char *level, const char *key)
{
  double v[MOST];
  int n = 0;
  for (size_t i = 0; i < json_array_size(runs) && n < MOST; i++) {
    const json_t *run = json_array_get(runs, i), *at = level ? json_object_get(run, level) : run;
    v[n++] = json_is_object(at) ? number(at, key) : INFINITY;
  }
  if (!n) return NAN;
  qsort(v, (size_t)n, sizeof *v, ascending);
  return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

static void cell(double x, const char *format)
{
  fputs(" | ", stdout);
  if (isinf(x))
    fputs("never", stdout);
  else if (!isnan(x))
    printf(format, x);
}

static void row(const char *name, double elbo, double loss, const json_t *runs)
{
  double least = INFINITY, most = -INFINITY;
  int converged = 0;
  for (size_t i = 0; i < json_array_size(runs); i++) {
    const json_t *run = json_array_get(runs, i);
    least = fmin(least, number(run, "elbo"));
    most = fmax(most, number(run, "elbo"));
    converged += json_is_true(json_object_get(run, "converged"));
  }
  printf("| %s", name);
  cell(elbo, "%.2f");
  cell(fabs(loss) < 5e-4 ? 0 : loss, "%.3f");
  printf(" | %d of %zu", converged, json_array_size(runs));
  cell(most - least, "%.2f");
  cell(median(runs, "to_1_percent", "iterations"), "%.0f");
  cell(median(runs, "to_10_nats", "iterations"), "%.0f");
  cell(median(runs, "to_1_nat", "iterations"), "%.0f");
  cell(median(runs, "to_1_nat", "seconds"), "%.3g");
  cell(median(runs, NULL, "seconds"), "%.3g");
  puts(" |");
}

static void list(const json_t *entries, const char *key, const char *what)
{
  for (size_t i = 0; i < json_array_size(entries); i++) {
    const json_t *e = json_array_get(entries, i);
    char name[600];
    if (strcmp(key, "w"))
      snprintf(name, sizeof name, "%s%s", what, json_string_value(json_object_get(e, key)));
    else
      snprintf(name, sizeof name, "%s%.0f", what, number(e, key));
    row(name, number(e, "elbo"), number(e, "amortisation"), json_object_get(e, "runs"));
  }
}

static int summarise(const char *path)
{
  json_error_t error;
  json_t *root = json_load_file(path, 0, &error);
  if (!root) {
    fprintf(stderr, "summary: %s:%d: %s\n", path, error.line, error.text);
    return 1;
  }
  const json_t *elbo = json_object_get(root, "elbo"), *runs = json_object_get(root, "runs"), *evidence = json_object_get(root, "evidence");
  const double fvi = number(elbo, "fvi");
  const bool functions = json_array_size(json_object_get(root, "architectures")),
             windows = json_array_size(json_object_get(root, "windows"));
  printf("\n**%s**: log evidence %.2f (%s)\n\n", path, number(evidence, "value"), json_string_value(json_object_get(evidence, "kind")));
  puts("| method | ELBO | below F-VI | converged | spread | iterations to 1 % | to 10 nats | to 1 nat | seconds to 1 nat | to the stop |");
  puts("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
  row("F-VI", fvi, 0, json_object_get(runs, "fvi"));
  row("constant", number(elbo, "const"), fvi - number(elbo, "const"), json_object_get(runs, "const"));
  if (!functions && !windows)
    row("A-VI, full domain", number(elbo, "avi_full"), fvi - number(elbo, "avi_full"), json_object_get(runs, "avi_full"));
  list(json_object_get(root, "architectures"), "function", "");
  list(json_object_get(root, "windows"), "w", "window ");
  list(json_object_get(root, "alternatives"), "inputs", "");
  const json_t *chosen = json_object_get(json_object_get(root, "inputs"), "chosen");
  if (!json_array_size(json_object_get(root, "alternatives")) && json_is_string(chosen) &&
      strcmp(json_string_value(chosen), json_string_value(json_object_get(json_object_get(root, "inputs"), "full"))))
    row(json_string_value(chosen), number(elbo, "avi"), fvi - number(elbo, "avi"), json_object_get(runs, "avi"));
  json_decref(root);
  return 0;
}

int main(int argc, char **argv)
{
  int status = argc > 1 ? 0 : 2;
  if (argc < 2) fputs("usage: summary NAME.json ...\n", stderr);
  for (int i = 1; i < argc; i++) status |= summarise(argv[i]);
  return status;
}
