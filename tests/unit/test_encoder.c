/* Encoders of sets and slices: which elements are members, gradients against central differences, independence of order, of threads, of the rows
 * that are selected. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "encoder.h"
#include "fixture_groups.h"
#include "source.h"

enum { J = 4, N = 13 };
static const int group_of[N] = {1, 3, 1, 4, 3, 3, 1, 4, 1, 3, 3, 3, 1}; /* 2 has no members */
static PgmError error;

typedef struct {
  double y[N], p[N][2], r[J][3];
} Values;

static Values values(void)
{
  Values v;
  double z[3 * N + 12];
  pgm_philox_normals((PgmKey){31, 0, 0}, 0, 3 * N + 12, z);
  for (int n = 0; n < N; n++) {
    v.y[n] = floor(4 * fabs(z[n])) + n % 5;
    v.p[n][0] = 1 / (1 + exp(-z[N + n]));
    v.p[n][1] = 1 - v.p[n][0];
  }
  for (int k = 0; k < 12; k++) v.r[k / 3][k % 3] = z[3 * N + k];
  return v;
}

typedef struct {
  PgmData *data;
  PgmSession *s;
} Case;

static void add(PgmData *d, const char *name, int rank, const long *dim, const double *x)
{
  assert_int_equal(pgm_data_add(d, name, rank, dim, x, "test", &error), PGM_OK);
}

static Case open_case(const Values *v, int threads)
{
  static const double S[4] = {1, 0, 0, 1}, M[J] = {3, 3, 3, 3};
  static const PgmSessionOptions options = {.threads = 0};
  Case c = {.data = pgm_data_new()};
  double g[N], rest[N - 1];
  for (int n = 0; n < N; n++) g[n] = group_of[n];
  for (int n = 0; n < N - 1; n++) rest[n] = n; /* c[1], c[3], ..., c[N] */
  add(c.data, "J", 0, NULL, (const double[]){J});
  add(c.data, "g", 1, (const long[]){N}, g);
  add(c.data, "y", 1, (const long[]){N}, v->y);
  add(c.data, "p", 2, (const long[]){N, 2}, v->p[0]);
  add(c.data, "S", 2, (const long[]){2, 2}, S);
  add(c.data, "M", 1, (const long[]){J}, M);
  add(c.data, "r", 2, (const long[]){J, 3}, v->r[0]);
  add(c.data, "c", 1, (const long[]){N - 1}, rest);
  PgmSessionOptions o = options;
  o.threads = threads;
  if (pgm_session_open(&c.s, &groups_model, c.data, &o, &error) != PGM_OK) fail_msg("%s", error.text);
  return c;
}

static void close_case(Case *c)
{
  pgm_session_close(c->s);
  pgm_data_free(c->data);
}

typedef struct {
  PgmFunction *f;
  PgmGather *g;
} Made;

static Made make(const Case *c, const char *text, int degree, int hidden)
{
  Made m;
  PgmFitOptions o = pgm_fit_defaults();
  PgmInputs in;
  const char *const inputs[] = {text};
  o.inputs = inputs;
  o.n_inputs = 1;
  o.degree = degree;
  o.n_hidden = 1;
  o.hidden[0] = hidden;
  if (pgm_inputs_find(c->s, &o, GROUPS_ALPHA, &in, &error) || pgm_function_new(&m.f, &m.g, c->s, GROUPS_ALPHA, &in, &o, &error))
    fail_msg("%s: %s", text, error.text);
  pgm_inputs_free(&in);
  return m;
}

static void unmake(Made *m)
{
  pgm_gather_close(m->g);
  pgm_function_free(m->f);
}

static double *features(Made *m, const double *weights, const long *rows, long n)
{
  double *out = malloc((size_t)(n * m->f->n_features) * sizeof *out);
  pgm_gather_prepare(m->g, weights, NULL, rows, n);
  pgm_gather_rows(m->g, rows, 0, n, out);
  return out;
}

static double *random_weights(const Made *m, uint64_t seed)
{
  double *w = calloc((size_t)pgm_gather_weights(m->g) + 1, sizeof *w);
  pgm_gather_random(m->g, (PgmKey){seed, 0, 1}, w);
  return w;
}

static const char *const all_texts[] = {"alpha=y[n | g[n] = j]",
                                        "alpha=y[n | g[n] = j], p[n | g[n] = j]",
                                        "alpha=set r[j,*]",
                                        "alpha=set r[*,*], set M[*]",
                                        "alpha=slice r[j,*], y[n | g[n] = j]",
                                        "alpha=slice y[n | g[n] = j], slice p[n | g[n] = j]",
                                        "alpha=slice r[*,*]",
                                        "alpha=slice y[j+2*k]"};
enum { TEXTS = sizeof all_texts / sizeof *all_texts };

static void gradients_of_encoders(void **state)
{
  (void)state;
  const Values v = values();
  Case c = open_case(&v, 1);
  const long some[] = {3, 0, 2};
  for (int t = 0; t < TEXTS; t++)
    for (int part = 0; part < 2; part++) {
      const long *rows = part ? some : NULL, n = part ? 3 : J;
      Made m = make(&c, all_texts[t], -1, 5);
      const long size = pgm_gather_weights(m.g), wide = m.f->n_features;
      double *w = random_weights(&m, 3), *bar = calloc((size_t)size, sizeof *bar), *k = malloc((size_t)(n * wide) * sizeof *k);
      pgm_philox_normals((PgmKey){33, 0, 0}, 0, n * wide, k);
      free(features(&m, w, rows, n));
      pgm_gather_backward(m.g, w, NULL, rows, n, k, bar, NULL);
      assert_true(size > 20);
      for (long i = 0; i < size; i++) {
        const double h = 1e-5, w0 = w[i];
        double side[2] = {0};
        for (int up = 0; up < 2; up++) {
          w[i] = up ? w0 + h : w0 - h;
          double *out = features(&m, w, rows, n);
          for (long e = 0; e < n * wide; e++) side[up] += k[e] * out[e];
          free(out);
        }
        w[i] = w0;
        const double want = (side[1] - side[0]) / (2 * h);
        if (fabs(want - bar[i]) > 1e-6 * (1 + fabs(want))) fail_msg("%s: weight %ld: %g, differences %g", all_texts[t], i, bar[i], want);
      }
      free(w), free(bar), free(k);
      unmake(&m);
    }
  close_case(&c);
}

static double distance(const double *a, const double *b, long n)
{
  double d = 0;
  for (long i = 0; i < n; i++) d = fmax(d, fabs(a[i] - b[i]));
  return d;
}

/* Sets do not see the order of their members, slices do; tuples stay together. */
static void order_and_tuples(void **state)
{
  (void)state;
  Values v = values(), whole = v, torn = v;
  whole.y[0] = v.y[2], whole.y[2] = v.y[0]; /* members of group 1 change places: whole tuples, or only one of the variables */
  memcpy(whole.p[0], v.p[2], sizeof v.p[0]), memcpy(whole.p[2], v.p[0], sizeof v.p[0]);
  torn.y[0] = v.y[2], torn.y[2] = v.y[0];
  assert_true(v.y[0] != v.y[2]);
  Case c = open_case(&v, 1), swapped = open_case(&whole, 1), mixed = open_case(&torn, 1);
  for (int slice = 0; slice < 2; slice++)
    for (int degree = -1; degree < 3; degree += 3) {
      const char *text = slice ? "alpha=slice y[n | g[n] = j], slice p[n | g[n] = j]" : "alpha=y[n | g[n] = j], p[n | g[n] = j]";
      Made a = make(&c, text, degree, 6), b = make(&swapped, text, degree, 6), d = make(&mixed, text, degree, 6);
      double *w = random_weights(&a, 5), *x = features(&a, w, NULL, J), *y = features(&b, w, NULL, J), *z = features(&d, w, NULL, J);
      assert_int_equal(a.f->n_encoders, 1);
      assert_true(slice == (distance(x, y, a.f->n_features) > 1e-3));
      assert_true(distance(x, z, a.f->n_features) > 1e-3);
      assert_true(distance(x + a.f->n_features, y + a.f->n_features, 3 * a.f->n_features) < 1e-12); /* the other groups */
      free(w), free(x), free(y), free(z);
      unmake(&a), unmake(&b), unmake(&d);
    }
  close_case(&c), close_case(&swapped), close_case(&mixed);
}

/* Means, sums and counts of monomials. */
static void polynomials_pool_products(void **state)
{
  (void)state;
  const Values v = values();
  Case c = open_case(&v, 1);
  Made m = make(&c, "alpha=y[n | g[n] = j], c[n | g[n] = j]", 2, 0);
  assert_string_equal(m.f->inputs[0], "set y[n | g[n] = j]");
  assert_string_equal(m.f->inputs[1], "set gaps c[n | g[n] = j]"); /* c[2] is not there */
  unmake(&m);
  m = make(&c, "alpha=y[n | g[n] = j], p[n,1 | g[n] = j]", 2, 0);
  assert_int_equal(m.f->n_features, 2 * 5 + 1); /* a, b, aa, ab, bb: means and sums; the count */
  double *x = features(&m, NULL, NULL, J);
  const double *center = m.f->center, *scale = m.f->scale;
  for (int j = 1; j <= J; j++) {
    double sum[5] = {0}, count = 0;
    for (int n = 0; n < N; n++) {
      if (group_of[n] != j) continue;
      const double a = (v.y[n] - center[0]) / scale[0], b = (v.p[n][0] - center[1]) / scale[1];
      const double term[] = {a, b, a * a, a * b, b * b};
      for (int k = 0; k < 5; k++) sum[k] += term[k];
      count++;
    }
    const double *have = x + (j - 1) * m.f->n_features;
    for (int k = 0; k < 5; k++) {
      assert_true(fabs(have[k] - (count ? sum[k] / count : 0)) < 1e-12);
      assert_true(fabs(have[5 + k] - sum[k] / scale[2]) < 1e-12);
    }
    assert_true(fabs(have[10] - count / scale[2]) < 1e-12);
  }
  free(x);
  unmake(&m);
  close_case(&c);
}

/* Exponential averages from both sides. alpha has no index along r's second: it sees the last state forward and the first backward. */
static void polynomials_average_slices(void **state)
{
  (void)state;
  static const double rates[] = {0, 0.3, 0.6, 0.8, 0.9, 0.97};
  const Values v = values();
  Case c = open_case(&v, 1);
  Made m = make(&c, "alpha=slice r[j,*]", 1, 0);
  double *x = features(&m, NULL, NULL, J);
  assert_int_equal(m.f->n_features, 2 * 18 + 3); /* the value and two positions, at six rates, in two directions; the row's own */
  for (int j = 0; j < J; j++)
    for (int k = 0; k < 6; k++)
      for (int back = 0; back < 2; back++) {
        double state_of = 0;
        for (int t = 0; t < 3; t++) {
          const double value = (v.r[j][back ? 2 - t : t] - m.f->center[0]) / m.f->scale[0];
          state_of = rates[k] * state_of + (1 - rates[k]) * value;
        }
        assert_true(fabs(x[j * m.f->n_features + 18 * back + k] - state_of) < 1e-12);
      }
  free(x);
  unmake(&m);
  close_case(&c);
}

/* The same bits for any number of threads, and for some of the rows as for all. */
static void threads_and_rows_do_not_matter(void **state)
{
  (void)state;
  const Values v = values();
  Case c = open_case(&v, 1), more = open_case(&v, 4);
  const long some[] = {2, 0};
  for (int t = 0; t < TEXTS; t++) {
    Made a = make(&c, all_texts[t], -1, 4), b = make(&more, all_texts[t], -1, 4);
    double *w = random_weights(&a, 9), *x = features(&a, w, NULL, J), *y = features(&b, w, NULL, J), *z = features(&a, w, some, 2);
    const size_t row = (size_t)a.f->n_features;
    assert_memory_equal(x, y, J * row * sizeof *x);
    assert_true(distance(z, x + 2 * row, (long)row) < 1e-13 && distance(z + row, x, (long)row) < 1e-13);
    free(w), free(x), free(y), free(z);
    unmake(&a), unmake(&b);
  }
  close_case(&c), close_case(&more);
}

/* A function keeps its standardisation on other data; sets of another size are refused where all had one. */
static void reopened_on_other_data(void **state)
{
  (void)state;
  Values v = values(), other = v;
  for (int n = 0; n < N; n++) other.y[n] += 3;
  Case c = open_case(&v, 1), d = open_case(&other, 1);
  PgmGather *again;
  for (int t = 0; t < TEXTS; t++) {
    Made m = make(&c, all_texts[t], 2, 0);
    assert_int_equal(pgm_gather_reopen(&again, c.s, GROUPS_ALPHA, m.f, &error), PGM_OK);
    Made n = {m.f, again};
    double *x = features(&m, NULL, NULL, J), *y = features(&n, NULL, NULL, J);
    assert_memory_equal(x, y, (size_t)(J * m.f->n_features) * sizeof *x);
    free(x), free(y);
    pgm_gather_close(again);
    unmake(&m);
  }
  Made m = make(&c, all_texts[0], 1, 0);
  assert_int_equal(pgm_gather_reopen(&again, d.s, GROUPS_ALPHA, m.f, &error), PGM_OK);
  Made n = {m.f, again};
  double *x = features(&m, NULL, NULL, J), *y = features(&n, NULL, NULL, J);
  assert_true(fabs(y[0] - x[0] - 3 / m.f->scale[0]) < 1e-12);
  free(x), free(y);
  pgm_gather_close(again);
  unmake(&m);
  m = make(&c, "alpha=set r[j,*]", 1, 0);
  assert_false(m.f->encoders[0].varies[0]);
  m.f->scale[m.f->n_scaled - 1] = 2; /* as if fitted with sets of two */
  assert_int_equal(pgm_gather_reopen(&again, c.s, GROUPS_ALPHA, m.f, &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "the sets that alpha was fitted with all had 2 members, these data have one with 3");
  unmake(&m);
  close_case(&c), close_case(&d);
}

static void wrong_forms_are_refused(void **state)
{
  (void)state;
  static const struct {
    const char *text, *message;
  } cases[] = {
      {"alpha=set M[j]", "--inputs alpha=set M[j]: input 'M[j]' of alpha: a single element is no set"},
      {"alpha=entries y[n | g[n] = j]", NULL},
      {"alpha=entries r[j,1..M[j]+1]",
       "--inputs alpha=entries r[j,1..M[j]+1]: input 'r[j,1..M[j]+1]' of alpha: the number of its elements varies, or they are not all "
       "there: use 'set r[j,1..M[j]+1]'"}};
  const Values v = values();
  Case c = open_case(&v, 1);
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    PgmFitOptions o = pgm_fit_defaults();
    PgmInputs in;
    PgmFunction *f;
    PgmGather *g;
    o.inputs = &cases[k].text;
    o.n_inputs = 1;
    assert_int_equal(pgm_inputs_find(c.s, &o, GROUPS_ALPHA, &in, &error), PGM_OK);
    assert_int_equal(pgm_function_new(&f, &g, c.s, GROUPS_ALPHA, &in, &o, &error), PGM_BAD_INPUT);
    if (cases[k].message) assert_string_equal(error.text, cases[k].message);
    pgm_inputs_free(&in);
  }
  close_case(&c);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_of_encoders),          cmocka_unit_test(order_and_tuples),
                                     cmocka_unit_test(polynomials_pool_products),      cmocka_unit_test(polynomials_average_slices),
                                     cmocka_unit_test(threads_and_rows_do_not_matter), cmocka_unit_test(reopened_on_other_data),
                                     cmocka_unit_test(wrong_forms_are_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
