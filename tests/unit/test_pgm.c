/* The public C interface: posteriors of new observations, from a file and from memory, by several threads, and its errors. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "fit.h"
#include "pgm.h"
#include "fixture_linear.h"

enum { N = 400, NEW = 7 };
static const double tau = 1.155, sigma = 2.43;
static double x[N];
static char path[64];

static void simulate(void)
{
  PgmRng *rng = pgm_rng_new(11);
  for (int n = 0; n < N; n++) x[n] = pgm_draw_normal(rng, 2 + tau * pgm_draw_normal(rng, 0, 1), sigma);
  pgm_rng_free(rng);
}

/* A fit of the N observations, written to `path`. */
static void make_fit(PgmMethodName method)
{
  PgmError error = {0};
  PgmSession *s;
  PgmFit *fit;
  PgmData *data = pgm_data_new();
  const long dim[] = {N};
  const PgmSessionOptions options = {.threads = 1};
  PgmFitOptions how = pgm_fit_defaults();
  how.method = method;
  how.method_given = true;
  how.threads = 1;
  how.degree = method == PGM_AVI ? 1 : -1;
  assert_int_equal(pgm_data_add(data, "x", 1, dim, x, "test", &error), PGM_OK);
  if (pgm_session_open(&s, &linear_model, data, &options, &error) != PGM_OK) fail_msg("%s", error.text);
  if (pgm_fit_run(s, &how, &fit, &error) != PGM_OK) fail_msg("%s", error.text);
  assert_int_equal(pgm_fit_bind(fit, s, &error), PGM_OK);
  if (pgm_fit_write(fit, &linear_model, path, &error) != PGM_OK) fail_msg("%s", error.text);
  pgm_fit_free(fit);
  pgm_session_close(s);
  pgm_data_free(data);
}

static int open_path(void **state)
{
  (void)state;
  strcpy(path, "/tmp/pgm_interface_XXXXXX");
  int fd = mkstemp(path);
  simulate();
  return fd < 0 || close(fd);
}

static int close_path(void **state)
{
  (void)state;
  return unlink(path);
}

static PgmPosterior *open_posterior(void)
{
  PgmPosterior *p;
  PgmError error = {0};
  if (pgm_posterior_open(&p, &linear_model, path, &error) != PGM_OK) fail_msg("%s", error.text);
  return p;
}

static PgmInference *infer(const PgmPosterior *p, const double *values, long n, const PgmInferOptions *options)
{
  PgmInference *r;
  PgmError error = {0};
  const long dim[] = {n};
  const PgmValues data[] = {{"x", 1, dim, values}, {"tau", 0, NULL, NULL}};
  if (pgm_posterior_infer(p, data, 2, options, &r, &error) != PGM_OK) fail_msg("%s", error.text);
  return r;
}

static const double fresh[NEW] = {-4, -1, 0, 0.5, 2, 5, 30};

/* At the optimum E z = k (x - E theta), k = tau / (tau^2 + sigma^2). */
static void check_means(const PgmInference *r, double tolerance)
{
  double mean, sd, z_sd;
  fixture_linear_optimum(N, x, tau, sigma, &mean, &sd, &z_sd);
  const PgmMarginal *z = pgm_inference_find(r, "z"), *theta = pgm_inference_find(r, "theta");
  assert_non_null(z);
  assert_non_null(theta);
  assert_true(z->local && !theta->local);
  assert_true(z->n_index == 1 && z->lo[0] == 1 && z->hi[0] == NEW && z->elements == NEW && z->width == 1 && !z->defined);
  assert_string_equal(z->index[0], "n");
  assert_true(fabs(theta->mean[0] - mean) < 0.01 * sd);
  assert_true(fabs(theta->sd[0] - sd) < 0.01 * sd);
  for (int n = 0; n < NEW; n++) {
    assert_true(fabs(z->mean[n] - tau / (tau * tau + sigma * sigma) * (fresh[n] - mean)) < tolerance);
    assert_true(fabs(z->sd[n] - z_sd) < tolerance);
  }
}

static void test_amortised(void **state)
{
  (void)state;
  make_fit(PGM_AVI);
  PgmPosterior *p = open_posterior();
  assert_string_equal(pgm_posterior_model(p), "linear");
  assert_string_equal(pgm_posterior_method(p), "avi");
  assert_int_equal(pgm_posterior_inputs(p), 1);
  assert_string_equal(pgm_posterior_input(p, 0), "x");
  assert_null(pgm_posterior_input(p, 1));
  assert_null(pgm_posterior_input(p, -1));
  assert_int_equal(pgm_posterior_outputs(p), 2);
  assert_string_equal(pgm_posterior_output(p, 0), "theta");
  assert_string_equal(pgm_posterior_output(p, 1), "z");
  PgmInference *r = infer(p, fresh, NEW, NULL);
  assert_int_equal(pgm_inference_count(r), 2);
  assert_string_equal(pgm_inference_at(r, 1)->name, "z");
  assert_null(pgm_inference_at(r, 2));
  assert_null(pgm_inference_find(r, "w"));
  assert_non_null(strstr(pgm_inference_how(r), "forward pass"));
  check_means(r, 1e-3);
  /* the factors are Gaussian on the model's scale here, so both scales agree */
  const PgmInferOptions unconstrained = {.unconstrained = true, .threads = 2};
  PgmInference *u = infer(p, fresh, NEW, &unconstrained);
  for (int n = 0; n < NEW; n++) assert_true(fabs(pgm_inference_find(r, "z")->mean[n] - pgm_inference_find(u, "z")->mean[n]) < 1e-12);
  pgm_inference_free(u);
  pgm_inference_free(r);
  pgm_posterior_close(p);
}

static void test_fvi(void **state)
{
  (void)state;
  make_fit(PGM_FVI);
  PgmPosterior *p = open_posterior();
  PgmInference *r = infer(p, fresh, NEW, NULL);
  assert_non_null(strstr(pgm_inference_how(r), "optimised"));
  check_means(r, 1e-3);
  pgm_inference_free(r);
  r = infer(p, x, N, NULL);
  assert_non_null(strstr(pgm_inference_how(r), "of these data"));
  pgm_inference_free(r);
  pgm_posterior_close(p);
}

static void test_const(void **state)
{
  (void)state;
  make_fit(PGM_CONST);
  PgmPosterior *p = open_posterior();
  PgmInference *r = infer(p, fresh, NEW, NULL);
  const PgmMarginal *z = pgm_inference_find(r, "z");
  for (int n = 1; n < NEW; n++) assert_true(z->mean[n] == z->mean[0] && z->sd[n] == z->sd[0]);
  pgm_inference_free(r);
  pgm_posterior_close(p);
}

static void test_memory(void **state)
{
  (void)state;
  static unsigned char bytes[1 << 20];
  PgmPosterior *p;
  PgmError error = {0};
  make_fit(PGM_AVI);
  FILE *in = fopen(path, "rb");
  size_t size = fread(bytes, 1, sizeof bytes, in);
  fclose(in);
  assert_int_equal(pgm_posterior_from_memory(&p, &linear_model, bytes, size, &error), PGM_OK);
  memset(bytes, 0, sizeof bytes); /* they may go */
  PgmInference *r = infer(p, fresh, NEW, NULL);
  check_means(r, 1e-3);
  pgm_inference_free(r);
  pgm_posterior_close(p);
  assert_int_equal(pgm_posterior_from_memory(&p, &linear_model, bytes, size, &error), PGM_BAD_INPUT);
  assert_null(p);
  assert_int_equal(pgm_posterior_from_memory(&p, &linear_model, bytes, size, NULL), PGM_BAD_INPUT);
}

typedef struct {
  const PgmPosterior *p;
  long first;
  bool good;
} Worker;

static void *work(void *data)
{
  Worker *w = data;
  for (int round = 0; round < 50; round++) {
    long n = 1 + (w->first + round) % 90;
    PgmInference *r = infer(w->p, x + w->first, n, NULL);
    const PgmMarginal *z = pgm_inference_find(r, "z");
    for (long i = 0; i < n; i++)
      w->good = w->good && fabs(z->mean[i] - z->mean[0] - tau / (tau * tau + sigma * sigma) * (x[w->first + i] - x[w->first])) < 1e-3;
    w->good = w->good && z->elements == n;
    pgm_inference_free(r);
  }
  return NULL;
}

static void test_threads(void **state)
{
  enum { THREADS = 8 };
  pthread_t threads[THREADS];
  Worker workers[THREADS];
  (void)state;
  make_fit(PGM_AVI);
  PgmPosterior *p = open_posterior();
  for (int i = 0; i < THREADS; i++) {
    workers[i] = (Worker){p, 37 * i, true};
    assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    assert_true(workers[i].good);
  }
  pgm_posterior_close(p);
}

static void expect_error(const PgmPosterior *p, const PgmValues *data, int n, const char *part)
{
  PgmInference *r;
  PgmError error = {0};
  assert_int_equal(pgm_posterior_infer(p, data, n, NULL, &r, &error), PGM_BAD_INPUT);
  assert_null(r);
  if (!strstr(error.text, part)) fail_msg("'%s' lacks '%s'", error.text, part);
  assert_int_equal(pgm_posterior_infer(p, data, n, NULL, &r, NULL), PGM_BAD_INPUT);
}

static void test_errors(void **state)
{
  (void)state;
  const long dim[] = {NEW}, flat[] = {NEW, 1};
  make_fit(PGM_AVI);
  PgmPosterior *p = open_posterior(), *none;
  PgmError error = {0};
  expect_error(p, NULL, 0, "'x' is missing");
  expect_error(p, (PgmValues[]){{"y", 1, dim, fresh}}, 1, "no variable of the model");
  expect_error(p, (PgmValues[]){{NULL, 1, dim, fresh}}, 1, "no variable of the model");
  expect_error(p, (PgmValues[]){{"x", 9, dim, fresh}}, 1, "dimensions");
  expect_error(p, (PgmValues[]){{"x", 2, flat, fresh}}, 1, "x");
  expect_error(p, (PgmValues[]){{"x", 1, dim, fresh}, {"N", 0, NULL, (double[]){3}}}, 2, "x");
  expect_error(p, (PgmValues[]){{"x", 1, dim, fresh}, {"N", 0, NULL, (double[]){2.5}}}, 2, "N");
  pgm_posterior_close(p);
  assert_int_equal(pgm_posterior_open(&none, &linear_model, "/nowhere", &error), PGM_SYSTEM);
  assert_null(none);
  pgm_posterior_close(NULL);
  pgm_inference_free(NULL);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_amortised, open_path, close_path),
      cmocka_unit_test_setup_teardown(test_fvi, open_path, close_path),
      cmocka_unit_test_setup_teardown(test_const, open_path, close_path),
      cmocka_unit_test_setup_teardown(test_memory, open_path, close_path),
      cmocka_unit_test_setup_teardown(test_threads, open_path, close_path),
      cmocka_unit_test_setup_teardown(test_errors, open_path, close_path),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
