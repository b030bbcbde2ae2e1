/* test_missing.c - missing observations: flags and stand-ins in sessions of models that can leave terms out, refusal by the others and for
 * inputs, references to missing elements. The models are the fixtures' with a place for the flags added to their env. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "fixture_groups.h"
#include "fixture_linear.h"
#include "fixture_saw.h"
#include "session.h"

static char directory[] = "/tmp/pgm_test_missing_XXXXXX";

static int make_directory(void **state)
{
  (void)state;
  return !mkdtemp(directory) || chdir(directory);
}

static int remove_directory(void **state)
{
  (void)state;
  unlink("d.json");
  unlink("d.csv");
  return chdir("/") || rmdir(directory);
}

typedef struct {
  PgmModel model;
  PgmFamily families[16];
} Keeping; /* a model that keeps the missing values of one family */

static void keep(Keeping *k, const PgmModel *model, int family)
{
  k->model = *model;
  assert_true(model->n_families <= 16);
  memcpy(k->families, model->families, sizeof *k->families * (size_t)model->n_families);
  k->families[family].missing = (model->env_size + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *);
  k->model.env_size = k->families[family].missing + sizeof(void *);
  k->model.families = k->families;
}

static PgmData *data_of(const char *path, const char *text)
{
  PgmData *d = pgm_data_new();
  PgmError error = {0};
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
  if (pgm_data_read(d, path, &error)) fail_msg("%s", error.text);
  return d;
}

static void assert_refused(const PgmModel *m, const char *path, const char *text, const char *message)
{
  PgmData *d = data_of(path, text);
  PgmSession *s;
  PgmError error = {0};
  assert_int_equal(pgm_session_open(&s, m, d, NULL, &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, message);
  pgm_data_free(d);
}

static const unsigned char *flags(const PgmSession *s, int family)
{
  const unsigned char *f;
  memcpy(&f, (const char *)s->env + s->model->families[family].missing, sizeof f);
  assert_ptr_equal(f, s->missing[family]);
  return f;
}

/* The three ways of saying it, as data give them. */
static void test_flags(void **state)
{
  static const struct {
    const char *path, *text;
  } cases[] = {{"d.json", "{\"x\": [1.5, null, 2, NaN, \"NaN\"], \"sigma\": 1, \"tau\": 1}"},
               {"d.csv", "x\n1.5\n\n2\nNA\nnan\n"}};
  Keeping k;
  (void)state;
  keep(&k, &linear_model, LINEAR_X);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    PgmData *d = data_of(cases[i].path, cases[i].text);
    PgmSession *s;
    PgmError error = {0};
    if (i) assert_int_equal(pgm_data_set(d, "sigma=1", &error) || pgm_data_set(d, "tau=1", &error), 0);
    if (pgm_session_open(&s, &k.model, d, NULL, &error)) fail_msg("%s", error.text);
    assert_int_equal(s->layout[LINEAR_X].elements, 5);
    assert_memory_equal(flags(s, LINEAR_X), ((const unsigned char[]){0, 1, 0, 1, 1}), 5);
    const double expected[] = {1.5, 1.5, 2, 1.5, 1.5}; /* the first value stands in */
    for (int n = 0; n < 5; n++) assert_true(s->layout[LINEAR_X].data[n] == expected[n]);
    assert_true(isnan(pgm_data_find(d, "x")->value[1])); /* the data keep what they said */
    pgm_session_close(s);
    pgm_data_free(d);
  }
}

static void test_nothing_missing(void **state)
{
  Keeping k;
  PgmSession *s;
  PgmError error = {0};
  (void)state;
  keep(&k, &linear_model, LINEAR_X);
  PgmData *d = data_of("d.json", "{\"x\": [1, 2], \"sigma\": 1, \"tau\": 1}");
  if (pgm_session_open(&s, &k.model, d, NULL, &error)) fail_msg("%s", error.text);
  assert_null(flags(s, LINEAR_X));
  assert_true(s->layout[LINEAR_X].borrowed);
  pgm_session_close(s);
  pgm_data_free(d);
}

static void test_everything_missing(void **state)
{
  Keeping k;
  PgmSession *s;
  PgmError error = {0};
  (void)state;
  keep(&k, &linear_model, LINEAR_X);
  PgmData *d = data_of("d.json", "{\"x\": [null, null], \"sigma\": 1, \"tau\": 1}");
  if (pgm_session_open(&s, &k.model, d, NULL, &error)) fail_msg("%s", error.text);
  assert_memory_equal(flags(s, LINEAR_X), ((const unsigned char[]){1, 1}), 2);
  assert_true(s->layout[LINEAR_X].data[0] == 0 && s->layout[LINEAR_X].data[1] == 0);
  pgm_session_close(s);
  pgm_data_free(d);
}

static const char groups_text[] =
  "{\"g\": [1, 2, 1], \"S\": [[2, 0.5], [0.5, 1]], \"p\": [[0.5, 0.5], [0, 1], [0.25, 0.75]], \"y\": [4, null, 2], "
  "\"M\": [2, 0], \"r\": [[1, 2], [null, null]], \"c\": [9, 8]}";

/* Counts: the least value stands in, which no number of trials excludes. */
static void test_counts(void **state)
{
  Keeping k;
  PgmSession *s;
  PgmError error = {0};
  (void)state;
  keep(&k, &groups_model, GROUPS_Y);
  PgmData *d = data_of("d.json", groups_text);
  if (pgm_session_open(&s, &k.model, d, NULL, &error)) fail_msg("%s", error.text);
  assert_memory_equal(flags(s, GROUPS_Y), ((const unsigned char[]){0, 1, 0}), 3);
  assert_int_equal(s->layout[GROUPS_Y].idata[0], 4);
  assert_int_equal(s->layout[GROUPS_Y].idata[1], 0);
  pgm_session_close(s);
  pgm_data_free(d);
  assert_refused(&groups_model, "d.json", groups_text, "d.json: y[2]: is missing; an int must be given (groups.pgm:8)");
}

/* z[n] ~ normal(x[n-1], 1): the term of z[n] refers to x[n-1]. */
static long saw_needs_x(const void *env_, const PgmSpan *span, const PgmDefined *defined, PgmMiss *miss)
{
  (void)env_;
  for (long k = 0; k < span->count; k++) {
    const long n = saw_unit(span, k), index[] = {n - 1};
    if (!pgm_defined(defined, miss, 1, index) && miss->n == 1) miss->unit[0] = n;
  }
  return miss->n;
}

static void test_references(void **state)
{
  static const PgmRangeCheck checks[] = {
    {.family = SAW_X, .plate = 1, .term_statement = 4, .line = 7, .column = 25, .text = "x[n-1]", .check = saw_needs_x, .presence = true}};
  Keeping k;
  PgmSession *s;
  PgmError error = {0};
  (void)state;
  keep(&k, &saw_model, SAW_X);
  k.model.n_checks = 1;
  k.model.checks = checks;
  assert_refused(&k.model, "d.json", "{\"x\": [1, null, 3, null, 4]}",
                 "d.json: x[2]: is missing, and z[n] ~ normal(x[n-1], 1) needs it at n = 3 (saw.pgm:7); it is not the only one");
  PgmData *d = data_of("d.json", "{\"x\": [1, 2, 3, null]}"); /* nothing refers to the last one; x[0] has its default */
  if (pgm_session_open(&s, &k.model, d, NULL, &error)) fail_msg("%s", error.text);
  assert_memory_equal(flags(s, SAW_X), ((const unsigned char[]){0, 0, 0, 0, 1}), 5);
  pgm_session_close(s);
  pgm_data_free(d);
}

/* Without a place for the flags, in inputs, and where it is a size: errors, with the place. */
static void test_refused(void **state)
{
  Keeping k;
  (void)state;
  assert_refused(&linear_model, "d.json", "{\"x\": [1, null], \"sigma\": 1, \"tau\": 1}", "d.json: x[2]: is missing (linear.pgm:6)");
  keep(&k, &linear_model, LINEAR_X);
  assert_refused(&k.model, "d.json", "{\"x\": [1, 2], \"sigma\": null, \"tau\": 1}", "d.json: sigma: is missing; it must be a number (linear.pgm:2)");
  keep(&k, &saw_model, SAW_X);
  assert_refused(&k.model, "d.json", "{\"x\": [1, 2], \"x[0]\": null}", "d.json: x[0]: is missing (saw.pgm:5)");
}

/* plate n in 1..3 { observed v[n] : vector[2] ~ multi_normal(...); } */
struct pairs_env {
  PgmEnvBase rt;
  const double *v;
  const unsigned char *missing;
};

static void pairs_all(const void *env, PgmSink *sink)
{
  (void)env;
  sink->run(sink, 0, 3);
}

static void pairs_shape(const void *env, PgmShape *shape)
{
  (void)env;
  shape->family[0] = (PgmBox){.lo = {1}, .hi = {3}, .dim = {2, 1}};
}

/* Entries of one element that can only be missing together. */
static void test_whole_elements(void **state)
{
  static const char *const index[] = {"n"};
  static const int axis[] = {0};
  PgmFamily family = {.name = "v", .line = 3, .role = PGM_OBSERVED, .type = PGM_VECTOR, .n_index = 1, .rank = 1, .index = index, .axis = axis,
                      .place = offsetof(struct pairs_env, v), .missing = offsetof(struct pairs_env, missing), .missing_whole = true};
  const PgmStatement statement = {.kind = PGM_S_OBSERVED, .text = "v[n] ~ multi_normal(...)", .range = "n in 1..3", .elements = pairs_all,
                                  .line = 3};
  const PgmModel model = {.abi = PGM_ABI, .name = "pairs", .file = "pairs.pgm", .env_size = sizeof(struct pairs_env), .n_families = 1,
                          .families = &family, .n_statements = 1, .statements = &statement, .n_axes = 1, .shape = pairs_shape};
  const PgmSessionOptions options = {.sizes_only = true};
  PgmSession *s;
  PgmError error = {0};
  (void)state;
  PgmData *d = data_of("d.json", "{\"v\": [[1, 2], [null, null], [3, 4]]}");
  if (pgm_session_open(&s, &model, d, &options, &error)) fail_msg("%s", error.text);
  assert_memory_equal(flags(s, 0), ((const unsigned char[]){0, 0, 1, 1, 0, 0}), 6);
  pgm_session_close(s);
  pgm_data_free(d);
  d = data_of("d.json", "{\"v\": [[1, 2], [5, null], [3, 4]]}");
  assert_int_equal(pgm_session_open(&s, &model, d, &options, &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "d.json: v[2,2]: is missing, and other entries of the element are not (pairs.pgm:3)");
  family.missing_whole = false; /* entries are independent */
  if (pgm_session_open(&s, &model, d, &options, &error)) fail_msg("%s", error.text);
  assert_memory_equal(flags(s, 0), ((const unsigned char[]){0, 0, 0, 1, 0, 0}), 6);
  pgm_session_close(s);
  pgm_data_free(d);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_flags),  cmocka_unit_test(test_nothing_missing), cmocka_unit_test(test_everything_missing),
      cmocka_unit_test(test_counts), cmocka_unit_test(test_references),      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_whole_elements)};
  return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
