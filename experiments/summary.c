/* Results of `gap` as a table: a row per method, window, function or set of inputs, over seeds.
 *
 *   summary NAME.json ... > TABLE.csv          files of gap --out
 *
 * Out: medians over the seeds of the ELBO, of how far below F-VI's best it is, of the iterations and seconds until within 1 % of F-VI,
 * 10 nats and 1 nat ("never" where that is what the median run does), and of the seconds until the fit stopped by itself; how many seeds
 * converged; the largest ELBO minus the smallest; where there are test data, how far below F-VI it is there (that of the first seed). */
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
  putchar(',');
  if (isinf(x))
    fputs("never", stdout);
  else if (!isnan(x))
    printf(format, x);
}

typedef struct {
  const char *experiment;
  double fvi;
} Table;

/* `test`: nats below F-VI on test data; NaN: none. */
static void row(const Table *t, const char *name, const json_t *runs, double test)
{
  static const char *const levels[] = {"to_1_percent", "to_10_nats", "to_1_nat"};
  double least = INFINITY, most = -INFINITY;
  int converged = 0;
  for (size_t i = 0; i < json_array_size(runs); i++) {
    const json_t *run = json_array_get(runs, i);
    least = fmin(least, number(run, "elbo"));
    most = fmax(most, number(run, "elbo"));
    converged += json_is_true(json_object_get(run, "converged"));
  }
  const double elbo = median(runs, NULL, "elbo"), below = t->fvi - elbo;
  printf("%s,\"%s\",%zu,%d", t->experiment, name, json_array_size(runs), converged);
  cell(elbo, "%.2f");
  cell(fabs(below) < 5e-4 ? 0 : below, "%.3f");
  cell(most - least < 5e-3 ? 0 : most - least, "%.2f");
  cell(fabs(test) < 5e-4 ? 0 : test, "%.3f");
  for (int i = 0; i < 3; i++) cell(median(runs, levels[i], "iterations"), "%.0f");
  for (int i = 0; i < 3; i++) cell(median(runs, levels[i], "seconds"), "%.2g");
  cell(median(runs, NULL, "seconds"), "%.2g");
  putchar('\n');
}

static void list(const Table *t, const json_t *root, const char *list, const char *key)
{
  const json_t *entries = json_object_get(root, list), *there = json_object_get(json_object_get(root, "test"), list);
  for (size_t i = 0; i < json_array_size(entries); i++) {
    const json_t *e = json_array_get(entries, i);
    const char *text = json_string_value(json_object_get(e, key));
    char name[600];
    if (text)
      snprintf(name, sizeof name, "%s", text);
    else
      snprintf(name, sizeof name, "window %.0f", number(e, key));
    row(t, name, json_object_get(e, "runs"), number(json_array_get(there, i), "amortisation"));
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
  const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
  char name[256];
  const size_t length = strlen(base), suffix = strlen(".json");
  const bool json = length > suffix && !strcmp(base + length - suffix, ".json");
  snprintf(name, sizeof name, "%.*s", (int)(json ? length - suffix : length), base);
  const json_t *elbo = json_object_get(root, "elbo"), *runs = json_object_get(root, "runs"), *evidence = json_object_get(root, "evidence");
  const json_t *inputs = json_object_get(root, "inputs"), *test = json_object_get(json_object_get(root, "test"), "elbo");
  const Table t = {name, number(elbo, "fvi")};
  const bool functions = json_array_size(json_object_get(root, "architectures")),
             windows = json_array_size(json_object_get(root, "windows"));
  printf("%s,\"log evidence, %s\",,", name, json_string_value(json_object_get(evidence, "kind")));
  cell(number(evidence, "value"), "%.2f");
  cell(t.fvi - number(evidence, "value"), "%.3f");
  puts(",,,,,,,,,");
  row(&t, "F-VI", json_object_get(runs, "fvi"), NAN);
  row(&t, "constant", json_object_get(runs, "const"), number(test, "fvi") - number(test, "const"));
  if (!functions && !windows) row(&t, "A-VI, full domain", json_object_get(runs, "avi_full"), number(test, "fvi") - number(test, "avi_full"));
  list(&t, root, "architectures", "function");
  list(&t, root, "windows", "w");
  list(&t, root, "alternatives", "inputs");
  const char *chosen = json_string_value(json_object_get(inputs, "chosen")), *full = json_string_value(json_object_get(inputs, "full"));
  if (!json_array_size(json_object_get(root, "alternatives")) && chosen && full && strcmp(chosen, full))
    row(&t, chosen, json_object_get(runs, "avi"), number(test, "fvi") - number(test, "avi"));
  json_decref(root);
  return 0;
}

int main(int argc, char **argv)
{
  int status = argc > 1 ? 0 : 2;
  if (argc < 2) fputs("usage: summary NAME.json ... > TABLE.csv\n", stderr);
  if (argc > 1)
    puts("experiment,method,seeds,converged,elbo,below_fvi,spread,below_fvi_on_test_data,iterations_to_1_percent,iterations_to_10_nats,"
         "iterations_to_1_nat,seconds_to_1_percent,seconds_to_10_nats,seconds_to_1_nat,seconds_to_the_stop");
  for (int i = 1; i < argc; i++) status |= summarise(argv[i]);
  return status;
}
