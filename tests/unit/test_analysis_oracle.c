/* The analysis against an oracle that shares nothing with it: linear-Gaussian models with numbers, their F-VI optimum by dense linear algebra
 * (tests/analysis/oracle.c), and what each factor is seen to depend on (compare.c).
 *
 *   test_analysis_oracle                     the models of tests/good, then 400 random templates
 *   test_analysis_oracle FIRST COUNT         random templates of these seeds
 *   test_analysis_oracle FILE.pgm ...        these models
 * A model on which the two disagree is printed. */
#include "../analysis/compare.h"
#include "../analysis/template.h"
#include "ast.h"
#include "resolve.h"

#include <dirent.h>
#include <errno.h>
#include <gsl/gsl_errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static long first_seed = 1, n_models = 400;
static const char *current;

static void show_current(void)
{
  if (current) fprintf(stderr, "while looking at\n%s", current);
}

/* Adds up; false after a disagreement, which it prints. */
static bool compare_text(const char *name, const char *text, unsigned long seed, Compared *sum)
{
  size_t n = strlen(text);
  char *copy = malloc(n + 1);
  memcpy(copy, text, n + 1);
  current = copy;
  source_set(name, copy, n);
  Ast *ast = parse_source();
  Model *m = ast ? resolve(ast) : NULL;
  if (!m || diag_errors()) {
    diag_print(stderr, false);
    return false;
  }
  Compared c;
  compare_with_oracle(m, analyse(m), seed, &c);
  if (c.failure) fprintf(stderr, "%s: %s\n", name, c.failure);
  sum->units += c.units, sum->dependences += c.dependences, sum->ties += c.ties, sum->swaps += c.swaps, sum->ordered += c.ordered, sum->pins += c.pins, sum->lost += c.lost;
  for (int k = 0; k < 8; k++) sum->verdicts[k] += c.verdicts[k];
  sum->unsupported = c.unsupported;
  if (!c.failure) current = NULL, free(copy);
  return !c.failure;
}

static void print_sum(const Compared *s, long models)
{
  printf("%ld models: %ld units, %ld dependences, %ld ties, %ld exchanges, %ld pinned; verdicts:", models, s->units, s->dependences, s->ties,
         s->swaps, s->pins);
  for (int k = 0; k < 8; k++) printf(" %s %ld%s", verdict_words[k], s->verdicts[k], k < 7 ? "," : "\n");
}

static void random_templates(void **unused)
{
  (void)unused;
  Compared sum = {0};
  long compared = 0, failed = 0;
  for (long i = first_seed; i < first_seed + n_models; i++) {
    arena_reset();
    const char *text = template_random(i);
    if (!compare_text(arena_printf("random%ld.pgm", i), text, (unsigned long)i, &sum)) {
      show_current();
      current = NULL;
      failed++;
    }
    compared += !sum.unsupported;
  }
  print_sum(&sum, compared);
  assert_int_equal(failed, 0);
  assert_true(compared > n_models * 9 / 10);
}

static char *read_file(const char *path)
{
  FILE *f = fopen(path, "r");
  if (!f) fail_msg("%s: %s", path, strerror(errno));
  char *text = calloc(1, 1 << 16);
  text[fread(text, 1, (1 << 16) - 1, f)] = 0;
  fclose(f);
  return text;
}

static bool compare_file(const char *path, Compared *sum)
{
  bool fine = true;
  char *text = read_file(path);
  for (unsigned long seed = 1; seed <= 3 && fine; seed++) {
    arena_reset();
    fine = compare_text(path, text, seed, sum);
    if (sum->unsupported) break;
  }
  free(text);
  return fine;
}

/* Those of the golden models that are linear-Gaussian. */
static void golden_models(void **unused)
{
  (void)unused;
  Compared sum = {0};
  long compared = 0;
  bool fine = true;
  DIR *d = opendir("tests/good");
  assert_non_null(d);
  for (struct dirent *e; (e = readdir(d));) {
    size_t n = strlen(e->d_name);
    char path[512];
    if (n < 4 || strcmp(e->d_name + n - 4, ".pgm")) continue;
    snprintf(path, sizeof path, "tests/good/%s", e->d_name);
    fine = compare_file(path, &sum) && fine;
    compared += !sum.unsupported;
  }
  closedir(d);
  print_sum(&sum, compared);
  assert_true(fine);
  assert_true(compared >= 25);
}

int main(int argc, char **argv)
{
  gsl_set_error_handler_off();
  atexit(show_current);
  if (argc > 1 && strstr(argv[1], ".pgm")) {
    bool fine = true;
    for (int i = 1; i < argc; i++) {
      Compared sum = {0};
      if (compare_file(argv[i], &sum)) printf("%s: ", argv[i]), sum.unsupported ? printf("not compared: %s\n", sum.unsupported) : print_sum(&sum, 1);
      else fine = false;
    }
    return !fine;
  }
  if (argc > 1) first_seed = atol(argv[1]);
  if (argc > 2) n_models = atol(argv[2]);
  const struct CMUnitTest all[] = {cmocka_unit_test(golden_models), cmocka_unit_test(random_templates)}, some[] = {cmocka_unit_test(random_templates)};
  return argc > 1 ? cmocka_run_group_tests(some, NULL, NULL) : cmocka_run_group_tests(all, NULL, NULL);
}
