/* test_session.c - sessions: sizes, defaults, layouts, messages about wrong data; the engine: gradients, threads, minibatches, NaN. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "fixture_groups.h"
#include "fixture_level.h"
#include "fixture_linear.h"
#include "fixture_saw.h"
#include "session.h"

/* ---- helpers ------------------------------------------------------------------------------------------------------------------------- */

static char directory[] = "/tmp/pgm_test_session_XXXXXX";

static int make_directory(void **state)
{
  (void)state;
  return !mkdtemp(directory) || chdir(directory);
}

static int remove_directory(void **state)
{
  (void)state;
  return unlink("d.json") || chdir("/") || rmdir(directory);
}

static PgmData *data_of(const char *json)
{
  PgmData *d = pgm_data_new();
  PgmError error = {0};
  FILE *f = fopen("d.json", "w");
  assert_non_null(f);
  fputs(json, f);
  fclose(f);
  if (pgm_data_read(d, "d.json", &error)) fail_msg("%s", error.text);
  return d;
}

static PgmSession *open_json(const PgmModel *m, const char *json, PgmData **d)
{
  PgmSession *s;
  PgmError error = {0};
  *d = data_of(json);
  if (pgm_session_open(&s, m, *d, NULL, &error)) fail_msg("%s", error.text);
  return s;
}

static void close_all(PgmSession *s, PgmData *d)
{
  pgm_session_close(s);
  pgm_data_free(d);
}

static void assert_refused_with(const PgmModel *m, const char *json, const PgmSessionOptions *options, const char *message)
{
  PgmSession *s;
  PgmError error = {0};
  PgmData *d = data_of(json);
  const PgmStatus status = pgm_session_open(&s, m, d, options, &error);
  if (status != PGM_BAD_INPUT || strcmp(error.text, message)) fail_msg("status %d: '%s'\nexpected: '%s'", status, error.text, message);
  assert_null(s);
  pgm_data_free(d);
}

static void assert_refused(const PgmModel *m, const char *json, const char *message)
{
  assert_refused_with(m, json, NULL, message);
}

static bool has_note(const PgmSession *s, const char *text)
{
  for (int i = 0; i < s->n_notes; i++)
    if (!strcmp(s->notes[i], text)) return true;
  return false;
}

static void assert_near(double a, double b, double tolerance)
{
  if (!(fabs(a - b) <= tolerance * (1 + fabs(b)))) fail_msg("%.15g differs from %.15g by %g", a, b, a - b);
}

/* ---- sizes and arrays ---------------------------------------------------------------------------------------------------------------- */

static void test_sizes(void **state)
{
  PgmData *d;
  (void)state;
  PgmSession *s = open_json(&linear_model, "{\"x\": [1, 2, 3], \"junk\": \"text\", \"more\": 1}", &d);
  const struct linear_env *env = s->env;
  assert_int_equal(env->N, 3);
  assert_true(env->tau == 1.155 && env->sigma == 2.43);
  assert_true(env->x[2] == 3);
  assert_true(env->x == d->array[0].value); /* no copy */
  assert_true(has_note(s, "N = 3, counted from x"));
  assert_true(has_note(s, "d.json: not used by the model: junk, more"));
  assert_int_equal(s->layout[LINEAR_Z].elements, 3);
  assert_int_equal(s->layout[LINEAR_N].idata[0], 3);
  assert_true(s->layout[LINEAR_TAU].data[0] == 1.155);
  assert_int_equal((uintptr_t)env->z.mean % 64, 0);
  close_all(s, d);
  s = open_json(&linear_model, "{\"N\": 2, \"tau\": 3, \"sigma\": [4], \"x\": [1, 2]}", &d);
  env = s->env;
  assert_true(env->N == 2 && env->tau == 3 && env->sigma == 4);
  assert_int_equal(s->n_notes, 0);
  close_all(s, d);
  s = open_json(&linear_model, "{\"N\": 0, \"x\": []}", &d); /* nothing observed */
  assert_true(isfinite(pgm_engine_run(s, PGM_KERNEL_EXPECTED, NULL)));
  close_all(s, d);
}

static void test_saw_data(void **state)
{
  PgmData *d;
  (void)state;
  PgmSession *s = open_json(&saw_model, "{\"x\": [1, 2, 3]}", &d);
  const struct saw_env *env = s->env;
  assert_int_equal(env->N, 3);
  assert_true(env->x[0] == 0 && env->x[1] == 1 && env->x[3] == 3);
  assert_int_equal(s->layout[SAW_X].piece[0], 1);
  assert_int_equal(s->layout[SAW_X].piece[1], 2);
  assert_null(s->layout[SAW_X].list);
  char name[50];
  assert_string_equal(pgm_element_name(s, SAW_X, 2, 0, name, sizeof name), "x[2]");
  close_all(s, d);
  s = open_json(&saw_model, "{\"x\": [1, 2, 3], \"x[0]\": -7}", &d);
  env = s->env;
  assert_true(env->x[0] == -7 && env->x[1] == 1);
  assert_false(has_note(s, "d.json: not used by the model: x[0]"));
  close_all(s, d);
  assert_refused(&saw_model, "{\"x\": [1, 2, 3], \"x[2]\": -7}",
                 "d.json: x[2]: the model defines no such element by itself; the array x holds the others (saw.pgm:5)");
  assert_refused(&saw_model, "{\"x\": [1, 2], \"x[0]\": [1, 2]}", "d.json: x[0]: 2 values, but an element of x has 1 (saw.pgm:5)");
  assert_refused(&saw_model, "{\"N\": 2, \"x\": [1, 2, 3]}",
                 "d.json: x: 3 values, but x[n], n in 1..N needs 2, because N = 2 (given in d.json) (saw.pgm:8)");
  assert_refused(&saw_model, "{\"x\": []}", "saw.pgm:2: N (counted from x): 0 is below the lower bound 1 (saw.pgm:2)");
  assert_refused(&saw_model, "{\"N\": 0, \"x\": []}", "d.json: N: 0 is below the lower bound 1 (saw.pgm:2)");
}

static void test_simulate_data(void **state)
{
  const PgmSessionOptions simulate = {.for_simulate = true}, sizes = {.sizes_only = true};
  PgmData *d = data_of("{\"N\": 4}");
  PgmSession *s;
  PgmError error = {0};
  (void)state;
  assert_int_equal(pgm_session_open(&s, &saw_model, d, &simulate, &error), PGM_OK);
  const struct saw_env *env = s->env;
  assert_true(env->x[0] == 0 && isnan(env->x[1]) && isnan(env->x[4]));
  close_all(s, d);
  d = data_of("{\"x\": [1, 2]}");
  assert_int_equal(pgm_session_open(&s, &linear_model, d, &simulate, &error), PGM_OK);
  assert_true(((const struct linear_env *)s->env)->x != d->array[0].value); /* will be written to */
  close_all(s, d);
  d = data_of("{\"N\": 4, \"J\": 2, \"g\": [1, 2, 1, 2]}");
  if (pgm_session_open(&s, &groups_model, d, &sizes, &error)) fail_msg("%s", error.text);
  assert_non_null(((const struct groups_env *)s->env)->g);
  assert_null(((const struct groups_env *)s->env)->y);
  assert_null(s->engine);
  close_all(s, d);
  assert_refused_with(&groups_model, "{\"N\": 4, \"J\": 2, \"g\": [1, 2, 1, 2]}", &simulate,
                      "'M' is not in d.json (groups.pgm:12: input M[j] : int<lower=0>)");
}

#define GROUPS_REST   "\"S\": [[2, 0.5], [0.5, 1]], \"p\": [[0.5, 0.5], [0, 1], [0.25, 0.75]], \"y\": [0, 2, 1]"
#define GROUPS_ARRAYS GROUPS_REST ", \"M\": [2, 0], \"r\": [[1, 2], [null, null]], \"c\": [9, 8]"
#define GROUPS_DATA   "{\"g\": [1, 2, 1], " GROUPS_ARRAYS "}"

static void test_every_kind_of_input(void **state)
{
  PgmData *d;
  (void)state;
  PgmSession *s = open_json(&groups_model, GROUPS_DATA, &d);
  const struct groups_env *env = s->env;
  assert_true(env->N == 3 && env->J == 2 && env->K == 2 && env->L == 3 && env->scale == 4);
  assert_true(has_note(s, "N = 3, counted from y"));
  assert_true(has_note(s, "J = 2, the largest value in g"));
  assert_true(has_note(s, "K = 2, counted from p"));
  assert_int_equal(env->g[1], 2);
  assert_int_equal(env->y[1], 2);
  assert_int_equal(env->M[0], 2);
  assert_true(env->S[1] == 0.5 && env->p[5] == 0.75);
  assert_true(env->r[0] == 1 && env->r[1] == 2 && isnan(env->r[2]));
  assert_int_equal(s->layout[GROUPS_R].defined, 2);
  assert_true(env->c[0] == 5 && env->c[1] == 9 && isnan(env->c[2]) && env->c[3] == 8);
  const long list[] = {0, 1, 3};
  assert_int_equal(s->layout[GROUPS_C].defined, 3);
  assert_memory_equal(s->layout[GROUPS_C].list, list, sizeof list);
  char name[50];
  assert_string_equal(pgm_element_name(s, GROUPS_P, 1, 1, name, sizeof name), "p[2,2]");
  assert_string_equal(pgm_element_name(s, GROUPS_R, 2, -1, name, sizeof name), "r[2,1]");
  assert_string_equal(pgm_element_name(s, GROUPS_S, 0, 2, name, sizeof name), "S[2,1]");
  assert_string_equal(pgm_element_name(s, GROUPS_K, 0, -1, name, sizeof name), "K");
  close_all(s, d);
}

static void test_wrong_data(void **state)
{
  (void)state;
  const PgmModel *m = &groups_model;
  assert_refused(m, "{}", "'N' is not in d.json, nor is 'y', from which it would be counted (groups.pgm:2: input N : int)");
  assert_refused(m, "{\"N\": 2.5}", "d.json: N: 2.5 is not a whole number, but N is an int (groups.pgm:2)");
  assert_refused(m, "{\"N\": null}", "d.json: N: missing; it must be a number (groups.pgm:2)");
  assert_refused(m, "{\"N\": \"x\"}", "d.json: N: text (\"x\"), not a number (groups.pgm:2)");
  assert_refused(m, "{\"N\": [1, 2]}", "d.json: N: 2 values, but N is a scalar (groups.pgm:2)");
  assert_refused(m, "{\"g\": [1, 2.5, 1], \"J\": 2, " GROUPS_ARRAYS "}",
                 "d.json: g[2]: 2.5 is not a whole number, but g is an int (groups.pgm:6)");
  assert_refused(m, "{\"g\": [1, null, 1], " GROUPS_ARRAYS "}", "d.json: g[2]: missing; an int must be given (groups.pgm:6)");
  assert_refused(m, "{\"g\": [1, 3e9, 1], \"J\": 2, " GROUPS_ARRAYS "}",
                 "d.json: g[2]: 3000000000 is not a whole number of 32 bits, but g is an int (groups.pgm:6)");
  assert_refused(m, "{\"g\": [1, 3, 1], \"J\": 2, " GROUPS_ARRAYS "}", "d.json: g[2]: 3 is above the upper bound 2 (groups.pgm:6)");
  assert_refused(m, "{\"g\": [1, 2, 0], " GROUPS_ARRAYS "}", "d.json: g[3]: 0 is below the lower bound 1 (groups.pgm:6)");
  assert_refused(m, "{\"g\": [1, \"b\", 1], " GROUPS_ARRAYS "}", "d.json: g[2]: text (\"b\"), not a number (groups.pgm:6)");
  assert_refused(m, "{\"g\": [1, 2.5, 1], " GROUPS_ARRAYS "}",
                 "d.json: g: its largest value should tell J, but is not a whole number (groups.pgm:6)");
  assert_refused(m, "{\"y\": [[1, 2]]}", "d.json: y: an array of 2 dimensions, but y[n] needs 1 (groups.pgm:8)");
  assert_refused(m, "{\"g\": [1, \"b\", 1], \"J\": 2, " GROUPS_ARRAYS "}", "d.json: g[2]: text (\"b\"), not a number (groups.pgm:6)");
  assert_refused(m, "{\"g\": [1, 2], \"J\": 2, " GROUPS_ARRAYS "}", "d.json: g: 2 values, but g[n], n in 1..N needs 3 (groups.pgm:6)");
  assert_refused(m, "{\"g\": [[1, 2, 1]], \"J\": 2, " GROUPS_ARRAYS "}",
                 "d.json: g: an array of 2 dimensions, but g[n] needs 1 (groups.pgm:6)");
  assert_refused(m, "{\"g\": [1, 2, 1], \"scale\": -1, " GROUPS_ARRAYS "}", "d.json: scale: -1 is below the lower bound 0 (groups.pgm:3)");
  assert_refused(m, "{\"g\": [1, 2, 1], \"K\": 3, " GROUPS_ARRAYS "}", "d.json: S: dimension 1 has 2 values, but S needs 3 (groups.pgm:4)");
  assert_refused(m, "{\"g\": [1, 2, 1], \"M\": [2, 0], \"c\": [9, 8], " GROUPS_REST ", \"r\": [[1, 2], [null, 4]]}",
                 "d.json: r[2,2]: the model has no r[2,2]: null is expected here (rows of unequal length are padded) (groups.pgm:13)");
  assert_refused(m, "{\"g\": [1, 2, 1], \"M\": [2, 0], \"c\": [9, 8], " GROUPS_REST ", \"r\": [[1, null], [null, null]]}",
                 "d.json: r[1,2]: missing; an input must be given (groups.pgm:13)");
  assert_refused(m, "{\"g\": [1, 2, 1], \"M\": [2, 0], \"c\": [9, 8, 7], \"r\": [[1, 2], [null, null]], " GROUPS_REST "}",
                 "d.json: c: 3 values, but c[n], n in 3..N needs 2 (groups.pgm:16)");
}

static void test_supports_and_types(void **state)
{
  static const struct {
    const char *S, *p, *y, *message;
  } wrong[] = {{"[[2, 0.5], [0.4, 1]]", "[[0.5, 0.5]]", "[1]", "d.json: S[2,1]: the matrix is not symmetric (groups.pgm:4)"},
               {"[[1, 2], [2, 1]]", "[[0.5, 0.5]]", "[1]", "d.json: S[1,1]: the matrix is not positive definite (groups.pgm:4)"},
               {"[[1, 0], [0, 1]]", "[[0.5, 0.6]]", "[1]",
                "d.json: p[1,1]: not a simplex: its entries must be 0 or more and sum to 1 (groups.pgm:7)"},
               {"[[1, 0], [0, 1]]", "[[0.5, 0.5]]", "[-1]",
                "d.json: y[1]: -1 must be a whole number, 0 or more: y[n] ~ poisson_log(...) (groups.pgm:8)"}};
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    char json[400];
    snprintf(json, sizeof json, "{\"N\": 1, \"J\": 1, \"g\": [1], \"M\": [0], \"r\": [[]], \"c\": [1], \"S\": %s, \"p\": %s, \"y\": %s}",
             wrong[i].S, wrong[i].p, wrong[i].y);
    PgmModel m = groups_model; /* with N = 1 the last statement of c is empty, as it should be */
    PgmStatement statements[16];
    memcpy(statements, groups_statements, sizeof statements);
    statements[15].elements = groups_c_1;
    m.n_statements = 15;
    m.statements = statements;
    assert_refused(&m, json, wrong[i].message);
  }
  assert_refused(&linear_model, "{\"x\": [1, NaN]}", "d.json: x[2]: missing (linear.pgm:6)");
  assert_refused(&linear_model, "{\"x\": [1, Infinity]}",
                 "d.json: x[2]: inf is not finite: x[n] ~ normal(theta + tau * z[n], sigma) (linear.pgm:6)");
}

/* An integer array in a range that another integer array decides. */
static void test_ragged_integers(void **state)
{
  PgmFamily families[GROUPS_FAMILIES];
  PgmModel m = groups_model;
  PgmData *d;
  (void)state;
  memcpy(families, groups_families, sizeof families);
  families[GROUPS_R].integer = true;
  m.families = families;
  PgmSession *s = open_json(&m, GROUPS_DATA, &d);
  assert_int_equal(s->layout[GROUPS_R].defined, 2);
  assert_int_equal(s->layout[GROUPS_R].idata[1], 2);
  close_all(s, d);
  assert_refused(&m, "{\"g\": [1, 2, 1], \"M\": [2, 0], \"c\": [9, 8], " GROUPS_REST ", \"r\": [[1], [null]]}",
                 "d.json: r: dimension 2 has 1 value, but r[j,i], j in 1..J, i in 1..M[j] needs 2 (groups.pgm:13)");
  assert_refused(&m, "{\"g\": [1, 2, 1], \"M\": [2, 0.5], \"c\": [9, 8], " GROUPS_REST ", \"r\": [[1], [null]]}",
                 "d.json: M[2]: 0.5 is not a whole number, but M is an int (groups.pgm:12)");
}

static void test_references_and_definitions(void **state)
{
  PgmFamily families[GROUPS_FAMILIES];
  PgmStatement statements[16];
  PgmModel m = groups_model;
  (void)state;
  memcpy(families, groups_families, sizeof families);
  families[GROUPS_G].bounds = NULL;
  m.families = families;
  assert_refused(
      &m, "{\"g\": [1, 2, 5], \"J\": 2, " GROUPS_ARRAYS "}",
      "groups.pgm:8:35: alpha[5], which y[n] ~ poisson_log(...) refers to at n = 3, does not exist; it is defined for j in 1..J");
  memcpy(statements, groups_statements, sizeof statements);
  statements[14].elements = groups_c_0;
  m.statements = statements;
  assert_refused(&m, "{\"g\": [1, 2, 1], " GROUPS_ARRAYS "}",
                 "groups.pgm:16: c[0] is defined a second time; the first is at groups.pgm:16 (input c[0] = 5)");
}

/* ---- the engine ---------------------------------------------------------------------------------------------------------------------- */

static PgmSession *open_numbers(const PgmModel *m, const char *name, long n, int threads, PgmData **d)
{
  PgmSession *s;
  PgmError error = {0};
  const PgmSessionOptions options = {.threads = threads};
  double *x = malloc(sizeof *x * (size_t)n);
  *d = pgm_data_new();
  for (long i = 0; i < n; i++) x[i] = 2 * sin(1.7 * (double)i) + 0.3;
  assert_int_equal(pgm_data_add(*d, name, 1, &n, x, "memory", &error), PGM_OK);
  free(x);
  if (pgm_session_open(&s, m, *d, &options, &error)) fail_msg("%s", error.text);
  return s;
}

/* Random-looking means, sds and values; bars cleared. */
static void set_point(PgmSession *s)
{
  for (int f = 0; f < s->model->n_families; f++) {
    PgmLayout *l = &s->layout[f];
    if (!pgm_is_latent(&s->model->families[f])) continue;
    for (long i = 0; i < l->elements * l->uwidth; i++) {
      l->mean[i] = 0.4 * sin(0.9 * (double)i + f);
      l->sd[i] = 0.5 + 0.2 * cos(1.3 * (double)i);
    }
    pgm_constrain(s, f, l->mean, l->value);
  }
}

static double run(PgmSession *s, PgmKernelKind kind, const PgmBatch *batch)
{
  for (int f = 0; f < s->model->n_families; f++) {
    PgmLayout *l = &s->layout[f];
    if (!pgm_is_latent(&s->model->families[f])) continue;
    memset(l->mean_bar, 0, sizeof *l->mean_bar * (size_t)(l->elements * l->uwidth));
    memset(l->sd_bar, 0, sizeof *l->sd_bar * (size_t)(l->elements * l->uwidth));
    memset(l->value_bar, 0, sizeof *l->value_bar * (size_t)(l->elements * l->width));
  }
  return pgm_engine_run(s, kind, batch);
}

/* Every latent's gradient at some entries against central differences. */
static void check_gradient(PgmSession *s, PgmKernelKind kind)
{
  for (int f = 0; f < s->model->n_families; f++) {
    PgmLayout *l = &s->layout[f];
    if (!pgm_is_latent(&s->model->families[f])) continue;
    double *const points[] = {l->mean, l->sd, l->value}, *const bars[] = {l->mean_bar, l->sd_bar, l->value_bar};
    for (int which = kind == PGM_KERNEL_EXPECTED ? 0 : 2; which < (kind == PGM_KERNEL_EXPECTED ? 2 : 3); which++)
      for (long i = 0; i < l->elements; i += 1 + l->elements / 7) {
        const double keep = points[which][i], h = 1e-4;
        run(s, kind, NULL);
        const double bar = bars[which][i];
        points[which][i] = keep + h;
        const double up = run(s, kind, NULL);
        points[which][i] = keep - h;
        const double down = run(s, kind, NULL);
        points[which][i] = keep;
        const double difference = (up - down) / (2 * h);
        if (fabs(bar - difference) > 1e-5 * (1 + fabs(difference)))
          fail_msg("%s, %d, %ld: %g, not %g", s->model->families[f].name, which, i, bar, difference);
      }
  }
}

/* The sum of all terms is the engine's value and the constants. */
static void check_terms(PgmSession *s, PgmKernelKind kind)
{
  double sum = 0;
  for (int t = 0; t < s->model->n_terms; t++) {
    const long n = pgm_term_size(s, t);
    double *out = malloc(sizeof *out * (size_t)n);
    pgm_term_each(s, t, kind == PGM_KERNEL_EXPECTED, out);
    for (long i = 0; i < n; i++) sum += out[i];
    free(out);
  }
  assert_near(run(s, kind, NULL) + s->constant, sum, 1e-10);
}

static void test_gradients(void **state)
{
  const PgmModel *const models[] = {&linear_model, &saw_model, &level_model};
  const long sizes[] = {7, 1000, 20011};
  (void)state;
  for (int m = 0; m < 3; m++)
    for (int k = 0; k < 3; k++) {
      PgmData *d;
      PgmSession *s = open_numbers(models[m], "x", sizes[k], 2, &d);
      set_point(s);
      for (PgmKernelKind kind = PGM_KERNEL_POINT; kind <= PGM_KERNEL_EXPECTED; kind++) {
        check_terms(s, kind);
        if (k < 2) check_gradient(s, kind);
      }
      close_all(s, d);
    }
}

static char *groups_json(long N, long J)
{
  char *json;
  size_t size;
  FILE *f = open_memstream(&json, &size);
  fprintf(f, "{\"J\": %ld, \"S\": [[1, 0], [0, 1]]", J);
  fprintf(f, ", \"g\": [");
  for (long i = 0; i < N; i++) fprintf(f, "%s%ld", i ? "," : "", 1 + (i * 7919) % J);
  fprintf(f, "], \"y\": [");
  for (long i = 0; i < N; i++) fprintf(f, "%s%ld", i ? "," : "", i % 5);
  fprintf(f, "], \"p\": [");
  for (long i = 0; i < N; i++) fprintf(f, "%s[0.5,0.5]", i ? "," : "");
  fprintf(f, "], \"M\": [");
  for (long i = 0; i < J; i++) fprintf(f, "%s0", i ? "," : "");
  fprintf(f, "], \"r\": [");
  for (long i = 0; i < J; i++) fprintf(f, "%s[]", i ? "," : "");
  fprintf(f, "], \"c\": [0");
  for (long i = 3; i <= N; i++) fprintf(f, ",%ld", i);
  fprintf(f, "]}");
  fclose(f);
  return json;
}

/* Lookups (compressed rows) and a reversed index (stride -1). */
static void test_lookups(void **state)
{
  const long sizes[][2] = {{20, 3}, {3000, 40}, {60000, 701}};
  (void)state;
  for (int k = 0; k < 3; k++) {
    PgmData *d;
    char *json = groups_json(sizes[k][0], sizes[k][1]);
    PgmSession *s = open_json(&groups_model, json, &d);
    set_point(s);
    check_gradient(s, PGM_KERNEL_POINT);
    check_terms(s, PGM_KERNEL_POINT);
    close_all(s, d);
    free(json);
  }
}

/* Value and gradients, for any number of threads. */
static void test_same_bits(void **state)
{
  const PgmModel *const models[] = {&linear_model, &level_model, &groups_model};
  (void)state;
  for (int m = 0; m < 3; m++) {
    double value[3] = {0}, *bars[3] = {0};
    size_t bytes = 0;
    char *json = m == 2 ? groups_json(50000, 333) : NULL;
    for (int t = 0; t < 3; t++) {
      PgmData *d;
      PgmSession *s;
      if (m < 2) {
        s = open_numbers(models[m], "x", 100003, t + 1, &d);
      } else {
        const PgmSessionOptions options = {.threads = t + 1};
        d = data_of(json);
        assert_int_equal(pgm_session_open(&s, models[m], d, &options, NULL), PGM_OK);
      }
      set_point(s);
      value[t] = run(s, m == 2 ? PGM_KERNEL_POINT : PGM_KERNEL_EXPECTED, NULL);
      bytes = s->block_size;
      bars[t] = malloc(bytes);
      memcpy(bars[t], s->block, bytes);
      close_all(s, d);
    }
    for (int t = 1; t < 3; t++) {
      assert_memory_equal(&value[0], &value[t], sizeof value[0]);
      assert_memory_equal(bars[0], bars[t], bytes);
      free(bars[t]);
    }
    free(bars[0]);
    free(json);
  }
}

/* Batches that make up the data, weight 1: their sum over the batched plates is the full sum. */
static void test_minibatches(void **state)
{
  enum { N = 5000, BATCHES = 4 };
  const PgmModel *const models[] = {&level_model, &groups_model};
  (void)state;
  for (int m = 0; m < 2; m++) {
    const PgmKernelKind kind = m ? PGM_KERNEL_POINT : PGM_KERNEL_EXPECTED;
    PgmData *d;
    char *json = m ? groups_json(N, 77) : NULL;
    PgmSession *s = m ? open_json(models[m], json, &d) : open_numbers(models[m], "x", N, 2, &d);
    const int family = m ? (int)GROUPS_ALPHA : (int)LEVEL_Z;
    const PgmLayout *l = &s->layout[family];
    double *const bar = m ? l->value_bar : l->mean_bar, *full = malloc(sizeof *full * (size_t)l->elements),
                  *sum = calloc((size_t)l->elements, sizeof *sum);
    long *units = malloc(sizeof *units * N);
    set_point(s);
    const PgmBatch none = {.axis = 0, .units = units, .count = 0, .weight = 1};
    const double value = run(s, kind, NULL);
    memcpy(full, bar, sizeof *full * (size_t)l->elements);
    const double outside = run(s, kind, &none); /* plates of other axes run in full every time */
    double *outside_bar = malloc(sizeof *outside_bar * (size_t)l->elements), total = outside;
    memcpy(outside_bar, bar, sizeof *outside_bar * (size_t)l->elements);
    memcpy(sum, bar, sizeof *sum * (size_t)l->elements);
    for (int b = 0; b < BATCHES; b++) {
      PgmBatch batch = {.axis = 0, .units = units, .weight = 3};
      for (long n = 1; n <= N; n++)
        if ((n * n + n / 7) % BATCHES == b) units[batch.count++] = n;
      total += (run(s, kind, &batch) - outside) / 3;
      for (long i = 0; i < l->elements; i++) sum[i] += (bar[i] - outside_bar[i]) / 3;
    }
    assert_near(total, value, 1e-11);
    for (long i = 0; i < l->elements; i++) assert_near(sum[i], full[i], 1e-9);
    free(full);
    free(sum);
    free(outside_bar);
    free(units);
    free(json);
    close_all(s, d);
  }
}

/* One Newton-like ascent from the closed form: the gradient vanishes there and the value is the optimum's. */
static void test_known_optimum(void **state)
{
  enum { N = 10000 };
  PgmData *d;
  (void)state;
  PgmSession *s = open_numbers(&linear_model, "x", N, 2, &d);
  const struct linear_env *env = s->env;
  PgmLayout *theta = &s->layout[LINEAR_THETA], *z = &s->layout[LINEAR_Z];
  double m, sd, z_sd;
  const double elbo = fixture_linear_optimum(N, env->x, env->tau, env->sigma, &m, &sd, &z_sd);
  const double k = env->tau / (env->tau * env->tau + env->sigma * env->sigma), entropy = 0.5 * (FIXTURE_LOG_2PI + 1);
  theta->mean[0] = m;
  theta->sd[0] = sd;
  for (long n = 0; n < N; n++) z->mean[n] = k * (env->x[n] - m), z->sd[n] = z_sd;
  const double value = run(s, PGM_KERNEL_EXPECTED, NULL) + s->constant + entropy + log(sd) + N * (entropy + log(z_sd));
  assert_near(value, elbo, 1e-12);
  assert_near(theta->mean_bar[0], 0, 1e-8);
  assert_near(theta->sd_bar[0] + 1 / sd, 0, 1e-8);
  assert_near(z->mean_bar[17], 0, 1e-12);
  assert_near(z->sd_bar[17] + 1 / z_sd, 0, 1e-12);
  close_all(s, d);
}

static void test_find_nan(void **state)
{
  PgmData *d;
  char text[200];
  (void)state;
  PgmSession *s = open_numbers(&level_model, "x", 30, 1, &d);
  set_point(s);
  assert_false(pgm_find_nan(s, true, text, sizeof text));
  s->layout[LEVEL_Z].mean[16] = NAN;
  assert_true(pgm_find_nan(s, true, text, sizeof text));
  assert_string_equal(text, "z[t] ~ normal(z[t-1], q) at t = 17 (local_level.pgm:6) is NaN");
  s->layout[LEVEL_Z].value[0] = 1e200;
  assert_true(pgm_find_nan(s, false, text, sizeof text));
  assert_string_equal(text, "z[1] ~ normal(0, 100) (local_level.pgm:5) is minus infinity");
  close_all(s, d);
}

static void test_simulate(void **state)
{
  const PgmSessionOptions options = {.for_simulate = true};
  const unsigned char draw[] = {0, 0, 1, 0, 1, 1};
  long where[PGM_MAX_INDEX];
  PgmData *d = data_of("{\"N\": 5000}");
  PgmSession *s;
  PgmRng *rng = pgm_rng_new(1);
  double sum = 0;
  (void)state;
  assert_int_equal(pgm_session_open(&s, &saw_model, d, &options, NULL), PGM_OK);
  assert_int_equal(saw_model.simulate(s->env, rng, draw, where), -1);
  const struct saw_env *env = s->env;
  for (long n = 1; n <= 5000; n++) {
    const double e = env->x[n] - 0.75 * (env->z.value[n - 1] + env->theta.value[0]);
    sum += e * e;
  }
  assert_near(sum / 5000, 1, 0.1);
  assert_true(env->x[0] == 0);
  pgm_rng_free(rng);
  close_all(s, d);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes),
                                     cmocka_unit_test(test_saw_data),
                                     cmocka_unit_test(test_simulate_data),
                                     cmocka_unit_test(test_every_kind_of_input),
                                     cmocka_unit_test(test_wrong_data),
                                     cmocka_unit_test(test_supports_and_types),
                                     cmocka_unit_test(test_references_and_definitions),
                                     cmocka_unit_test(test_ragged_integers),
                                     cmocka_unit_test(test_gradients),
                                     cmocka_unit_test(test_lookups),
                                     cmocka_unit_test(test_same_bits),
                                     cmocka_unit_test(test_minibatches),
                                     cmocka_unit_test(test_known_optimum),
                                     cmocka_unit_test(test_find_nan),
                                     cmocka_unit_test(test_simulate)};
  return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
