/* Philox against Random123's known answers, normals, inference functions against central differences. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "net.h"

/* ---- philox -------------------------------------------------------------------------------------------------------------------------- */

/* Random123, tests/kat_vectors, philox4x32 with 10 rounds: counter, key, answer */
static const uint64_t kat[3][10] = {
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};

static void philox_known_answers(void **state)
{
  (void)state;
  for (int k = 0; k < 3; k++) {
    uint64_t c[4] = {kat[k][0], kat[k][1], kat[k][2], kat[k][3]};
    pgm_philox(c, kat[k][4], kat[k][5]);
    for (int i = 0; i < 4; i++) assert_int_equal(c[i], kat[k][6 + i]);
  }
}

/* The vectorised generator: the known answers in every lane of a register and at every distance from the end of a range; elsewhere what one counter
 * at a time gives, across the carry into the counter's second word and for keys whose words have more than 32 bits. */
static void many_words_at_a_time(void **state)
{
  (void)state;
  uint64_t one[PGM_PHILOX_BLOCK], two[PGM_PHILOX_BLOCK];
  for (size_t k = 0; k < sizeof kat / sizeof *kat; k++) {
    const uint64_t *v = kat[k], place = v[1] << 32 | v[0];
    const PgmKey key = {v[5] << 32 | v[4], v[2], v[3]};
    for (long lane = 0; lane < PGM_PHILOX_BLOCK; lane++)
      for (long n = lane + 1; n <= PGM_PHILOX_BLOCK; n += 41) {
        pgm_philox_words(key, place - (uint64_t)lane, n, one, two);
        assert_true(one[lane] == (v[6] << 32 | v[7]));
        assert_true(two[lane] == (v[8] << 32 | v[9]));
      }
  }
  static const PgmKey keys[] = {{1, 2, 3}, {0x123456789abcdef0, 0x7fffffff12345678, 0x5555aaaa5555aaaa}};
  for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
    for (uint64_t place = 0xffffffffu - 60; place < 0xffffffffu + 4; place += 7) {
      pgm_philox_words(keys[k], place, PGM_PHILOX_BLOCK, one, two);
      for (uint64_t i = 0; i < PGM_PHILOX_BLOCK; i++) {
        uint64_t c[4] = {(place + i) & 0xffffffffu, (place + i) >> 32, keys[k].iteration & 0xffffffffu, keys[k].stream & 0xffffffffu};
        pgm_philox(c, keys[k].seed & 0xffffffffu, keys[k].seed >> 32);
        assert_true(one[i] == (c[0] << 32 | c[1]));
        assert_true(two[i] == (c[2] << 32 | c[3]));
      }
    }
}

/* Box and Muller's transform of the words, as libm has it. */
static void normals_are_those_of_the_words(void **state)
{
  (void)state;
  uint64_t one[PGM_PHILOX_BLOCK], two[PGM_PHILOX_BLOCK];
  double z[2 * PGM_PHILOX_BLOCK];
  for (uint64_t at = 0; at < 200 * PGM_PHILOX_BLOCK; at += PGM_PHILOX_BLOCK) {
    const PgmKey key = {11, at, 4};
    pgm_philox_words(key, at, PGM_PHILOX_BLOCK, one, two);
    pgm_philox_normals(key, 2 * at, 2 * PGM_PHILOX_BLOCK, z);
    for (int i = 0; i < PGM_PHILOX_BLOCK; i++) {
      const double u = ((double)(one[i] >> 12) + 0.5) * 0x1p-52, r = sqrt(-2 * log(u));
      const long double angle = 2 * 3.14159265358979323846264338328L * ((long double)two[i] * 0x1p-64L);
      assert_true(fabs(z[2 * i] - r * (double)cosl(angle)) <= 2e-15 * r);
      assert_true(fabs(z[2 * i + 1] - r * (double)sinl(angle)) <= 2e-15 * r);
    }
  }
}

/* The same of 32-bit halves, in single precision: near the middle u is known to 2^-24, and so the square of the radius. */
static void noise_is_that_of_the_words(void **state)
{
  (void)state;
  uint64_t words[2][PGM_PHILOX_BLOCK];
  double z[4 * PGM_PHILOX_BLOCK];
  for (uint64_t at = 0; at < 200 * PGM_PHILOX_BLOCK; at += PGM_PHILOX_BLOCK) {
    const PgmKey key = {11, at, 4};
    pgm_philox_words(key, at, PGM_PHILOX_BLOCK, words[0], words[1]);
    pgm_philox_noise(key, 4 * at, 4 * PGM_PHILOX_BLOCK, z);
    for (int i = 0; i < 2 * PGM_PHILOX_BLOCK; i++) {
      uint32_t half[2];
      for (int k = 0; k < 2; k++) memcpy(&half[k], (char *)words[k] + (size_t)i * sizeof *half, sizeof *half);
      const double u = ((double)(half[0] >> 1) + 0.5) * 0x1p-31, r = sqrt(-2 * log(u)), angle = 2 * M_PI * ((double)half[1] * 0x1p-32);
      assert_true(fabs(z[2 * i] - r * cos(angle)) <= 3e-7 * (r + 1 / r));
      assert_true(fabs(z[2 * i + 1] - r * sin(angle)) <= 3e-7 * (r + 1 / r));
    }
  }
}

typedef void (*Normals)(PgmKey key, uint64_t first, long n, double *out);
static const Normals normals[] = {pgm_philox_normals, pgm_philox_noise};

static void normals_do_not_depend_on_runs(void **state)
{
  enum { N = 1001 };
  const Normals make = *(const Normals *)*state;
  double all[N], some[N];
  const PgmKey key = {42, 7, 3};
  make(key, 0, N, all);
  static const long begins[] = {0, 1, 2, 255, 256, 257, 700}, lengths[] = {1, 2, 3, 127, 128, 300};
  for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
    for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++) {
      make(key, (uint64_t)begins[i], lengths[j], some);
      assert_memory_equal(some, all + begins[i], (size_t)lengths[j] * sizeof *some);
    }
}

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Moments to the sixth, the whole distribution (Kolmogorov & Smirnov) and both tails, of a million numbers. */
static void normals_are_normal(void **state)
{
  enum { N = 1000000 };
  const Normals make = *(const Normals *)*state;
  double *z = malloc(N * sizeof *z), m[7] = {0}, distance = 0;
  make((PgmKey){1, 2, 3}, 0, N, z);
  for (long i = 0; i < N; i++) {
    double p = 1;
    for (int k = 1; k <= 6; k++) m[k] += (p *= z[i]) / N;
  }
  static const double moment[7] = {1, 0, 1, 0, 3, 0, 15}, square[7] = {1, 1, 3, 15, 105, 945, 10395}; /* E z^k, E z^2k */
  for (int k = 1; k <= 6; k++) assert_true(fabs(m[k] - moment[k]) < 4.5 * sqrt((square[k] - moment[k] * moment[k]) / N));
  qsort(z, N, sizeof *z, ascending);
  for (long i = 0; i < N; i++) {
    const double p = 0.5 * erfc(-z[i] * 0.70710678118654752440);
    distance = fmax(distance, fmax(fabs(p - (double)i / N), fabs(p - (double)(i + 1) / N)));
  }
  assert_true(distance * sqrt(N) < 1.95); /* exceeded once in a thousand */
  for (double t = 1; t <= 4; t++) {
    const double expected = N * 0.5 * erfc(t * 0.70710678118654752440);
    long below = 0, above = 0;
    while (z[below] < -t) below++;
    while (z[N - 1 - above] > t) above++;
    assert_true(fabs((double)below - expected) < 4.5 * sqrt(expected));
    assert_true(fabs((double)above - expected) < 4.5 * sqrt(expected));
  }
  free(z);
}

/* Pairs of numbers fall evenly into the cells of a grid of octiles: neighbours (two of one transform, two of neighbouring ones), two draws, two
 * iterations, two seeds, at distances of a vector register. */
static void normals_are_independent(void **state)
{
  enum { N = 1000000, CELLS = 8 };
  const Normals make = *(const Normals *)*state;
  static const double octile[CELLS - 1] = {-1.150349380376008, -0.674489750196082, -0.318639363964375, 0,
                                           0.318639363964375,  0.674489750196082,  1.150349380376008};
  static const struct {
    PgmKey key;
    long lag;
  } others[] = {{{1, 2, 3}, 1}, {{1, 2, 3}, 2}, {{1, 2, 3}, 16}, {{1, 2, 3}, 256}, {{1, 2, 4}, 0}, {{1, 3, 3}, 0}, {{2, 2, 3}, 0}};
  double *a = malloc(N * sizeof *a), *b = malloc(N * sizeof *b);
  make((PgmKey){1, 2, 3}, 0, N, a);
  for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
    long count[CELLS][CELLS] = {{0}};
    double statistic = 0;
    make(others[k].key, (uint64_t)others[k].lag, N, b);
    for (long i = 0; i < N; i++) {
      int x = 0, y = 0;
      for (int c = 0; c < CELLS - 1; c++) x += a[i] > octile[c], y += b[i] > octile[c];
      count[x][y]++;
    }
    const double expected = (double)N / (CELLS * CELLS);
    for (int x = 0; x < CELLS; x++)
      for (int y = 0; y < CELLS; y++) statistic += pow((double)count[x][y] - expected, 2) / expected;
    assert_true(statistic < 63 + 4 * sqrt(2 * 63)); /* chi-squared, 63 degrees of freedom */
    assert_true(statistic > 63 - 4 * sqrt(2 * 63)); /* nor too even */
  }
  free(a);
  free(b);
}

/* ---- functions ----------------------------------------------------------------------------------------------------------------------- */

enum { ROWS = 9 };

/* value = sum over rows and outputs of out * c */
static double value(const PgmNet *net, const double *w, const double *x, const double *c)
{
  double *kept = malloc((size_t)(ROWS * net->row) * sizeof *kept), *out = malloc((size_t)(ROWS * net->n_outputs + 1) * sizeof *out),
         sum = 0;
  memcpy(kept, x, (size_t)(ROWS * net->n_features) * sizeof *x);
  pgm_net_forward(net, w, ROWS, kept, out);
  for (long i = 0; i < ROWS * net->n_outputs; i++) sum += out[i] * c[i];
  free(kept);
  free(out);
  return sum;
}

static void to_single(const double *from, long n, float *to)
{
  for (long i = 0; i < n; i++) to[i] = (float)from[i];
}

static void near_in_single(const float *got, const double *wanted, long n)
{
  double largest = 0;
  for (long i = 0; i < n; i++) largest = fmax(largest, fabs(wanted[i]));
  for (long i = 0; i < n; i++) assert_true(fabs((double)got[i] - wanted[i]) < 1e-5 * largest);
}

/* Both passes in single precision: outputs, what is kept, and the weights' gradient. */
static void check_single(const PgmNet *net, const double *w, const double *x, const double *kept, const double *out, const double *c, const double *bar)
{
  const long n = net->n_weights, outs = ROWS * net->n_outputs;
  float *ws = calloc((size_t)(2 * n + ROWS * net->row + 2 * outs + pgm_net_scratch(net, ROWS)), sizeof *ws);
  float *bars = ws + n, *kepts = bars + n, *os = kepts + ROWS * net->row, *cs = os + outs, *scratch = cs + outs;
  to_single(w, n, ws);
  to_single(x, ROWS * net->n_features, kepts);
  to_single(c, outs, cs);
  pgm_net_forward_single(net, ws, ROWS, kepts, os);
  near_in_single(os, out, outs);
  near_in_single(kepts, kept, ROWS * net->row);
  pgm_net_backward_single(net, ws, ROWS, kepts, cs, bars, scratch);
  near_in_single(bars, bar, n);
  free(ws);
}

static void check_gradient(const PgmFunction *f)
{
  PgmNet net;
  assert_int_equal(pgm_net_open(&net, f, NULL, NULL), PGM_OK);
  const long n = net.n_weights, outs = ROWS * net.n_outputs;
  double *w = calloc((size_t)n, sizeof *w), *bar = calloc((size_t)n, sizeof *bar), x[ROWS * 8], x_bar[ROWS * 8], c[ROWS * 8];
  double *kept = malloc((size_t)(ROWS * net.row) * sizeof *kept), *out = malloc((size_t)outs * sizeof *out),
         *scratch = malloc((size_t)(pgm_net_scratch(&net, ROWS) + 1) * sizeof *scratch);
  pgm_philox_normals((PgmKey){5, 0, 0}, 0, n, w);
  pgm_philox_normals((PgmKey){5, 0, 1}, 0, ROWS * f->n_features, x);
  pgm_philox_normals((PgmKey){5, 0, 2}, 0, outs, c);
  memcpy(kept, x, (size_t)(ROWS * f->n_features) * sizeof *x);
  pgm_net_forward(&net, w, ROWS, kept, out);
  pgm_net_backward(&net, w, ROWS, kept, c, bar, x_bar, scratch);
  if (!net.n_terms) check_single(&net, w, x, kept, out, c, bar);
  for (long i = 0; i < n; i++) {
    const double h = 1e-6, w0 = w[i];
    w[i] = w0 + h;
    double up = value(&net, w, x, c);
    w[i] = w0 - h;
    double down = value(&net, w, x, c);
    w[i] = w0;
    assert_true(fabs((up - down) / (2 * h) - bar[i]) < 1e-6 * (1 + fabs(bar[i])));
  }
  for (long i = 0; i < ROWS * f->n_features; i++) {
    const double h = 1e-6, x0 = x[i];
    x[i] = x0 + h;
    double up = value(&net, w, x, c);
    x[i] = x0 - h;
    double down = value(&net, w, x, c);
    x[i] = x0;
    assert_true(fabs((up - down) / (2 * h) - x_bar[i]) < 1e-6 * (1 + fabs(x_bar[i])));
  }
  /* Jacobians row by row, weighted as the outputs were, add up to the gradient */
  double *jacobian = malloc((size_t)(ROWS * n + n + ROWS) * sizeof *jacobian), *total = jacobian + ROWS * n, *scale = total + n;
  memset(total, 0, (size_t)n * sizeof *total);
  for (long k = 0; k < net.n_outputs; k++) {
    for (long r = 0; r < ROWS; r++) scale[r] = c[r * net.n_outputs + k];
    pgm_net_jacobian(&net, w, ROWS, kept, k, scale, jacobian, scratch);
    for (long i = 0; i < ROWS * n; i++) total[i % n] += jacobian[i];
  }
  for (long i = 0; i < n; i++) assert_true(fabs(total[i] - bar[i]) < 1e-12 * (1 + fabs(bar[i])));
  free(jacobian);
  /* the outputs are linear in the regressors: setting the output layer to C must give R C */
  double *r = malloc((size_t)(ROWS * net.n_regressors) * sizeof *r),
         *coefficient = malloc((size_t)(net.n_regressors * net.n_outputs) * sizeof *coefficient);
  pgm_philox_normals((PgmKey){5, 0, 3}, 0, net.n_regressors * net.n_outputs, coefficient);
  pgm_net_regressors(&net, ROWS, kept, r);
  pgm_net_set_output(&net, coefficient, w);
  pgm_net_forward(&net, w, ROWS, kept, out);
  for (long i = 0; i < ROWS; i++)
    for (long k = 0; k < net.n_outputs; k++) {
      double sum = 0;
      for (long j = 0; j < net.n_regressors; j++) sum += r[i * net.n_regressors + j] * coefficient[j * net.n_outputs + k];
      assert_true(fabs(sum - out[i * net.n_outputs + k]) < 1e-12 * (1 + fabs(sum)));
    }
  free(w), free(bar), free(kept), free(out), free(scratch), free(r), free(coefficient);
  pgm_net_close(&net);
}

static void gradients_of_perceptrons(void **state)
{
  (void)state;
  for (int activation = PGM_TANH; activation <= PGM_SOFTPLUS; activation++)
    for (int skip = 0; skip < 2; skip++)
      for (int layers = 1; layers <= 3; layers++)
        check_gradient(&(PgmFunction){.n_features = 3,
                                      .n_outputs = 4,
                                      .degree = -1,
                                      .n_hidden = layers,
                                      .hidden = {5, 2, 7},
                                      .activation = (PgmActivation)activation,
                                      .skip = skip});
  check_gradient(&(PgmFunction){
      .n_features = 0, .n_outputs = 2, .degree = -1, .n_hidden = 1, .hidden = {3}, .skip = true}); /* no inputs: a constant */
}

static void gradients_of_polynomials(void **state)
{
  (void)state;
  for (int degree = 0; degree <= 4; degree++) check_gradient(&(PgmFunction){.n_features = 3, .n_outputs = 2, .degree = degree});
  check_gradient(&(PgmFunction){.n_features = 0, .n_outputs = 2, .degree = 3});
}

static void polynomials_have_every_monomial_once(void **state)
{
  (void)state;
  PgmNet net;
  const PgmFunction f = {.n_features = 2, .n_outputs = 1, .degree = 3};
  assert_int_equal(pgm_net_open(&net, &f, NULL, NULL), PGM_OK);
  assert_int_equal(net.n_terms, 10);
  double kept[12] = {3, 10}, out, w[10] = {0}; /* features 3 and 10: every monomial has a value of its own */
  const double want[10] = {1, 3, 10, 9, 30, 100, 27, 90, 300, 1000};
  for (int t = 0; t < 10; t++) {
    memset(w, 0, sizeof w);
    w[t] = 1;
    pgm_net_forward(&net, w, 1, kept, &out);
    assert_true(out == want[t]);
  }
  pgm_net_close(&net);
}

/* A feature that counts two stands in no product with another at degree 2. */
static void polynomials_count_the_degrees_of_features(void **state)
{
  (void)state;
  PgmNet net;
  const PgmFunction f = {.n_features = 3, .n_outputs = 1, .degree = 3};
  const int degrees[] = {1, 2, 4};
  assert_int_equal(pgm_net_open(&net, &f, degrees, NULL), PGM_OK);
  assert_int_equal(net.n_terms, 6); /* 1, a, b, aa, ab, aaa */
  double kept[9] = {3, 10, 7};
  pgm_net_monomials(&net, 1, kept);
  const double want[] = {1, 3, 10, 9, 30, 27};
  for (int t = 0; t < 6; t++) assert_true(kept[3 + t] == want[t]);
  pgm_net_close(&net);
}

static void polynomials_too_large_are_refused(void **state)
{
  (void)state;
  PgmNet net;
  PgmError error;
  const PgmFunction f = {.n_features = 784, .n_outputs = 2, .degree = 3};
  assert_int_equal(pgm_net_open(&net, &f, NULL, &error), PGM_BAD_USAGE);
  assert_string_equal(error.text,
                      "a polynomial of degree 3 in 784 features has more than 20000 terms; use --degree 1, fewer inputs, or --hidden");
}

static void descriptions(void **state)
{
  (void)state;
  char text[200];
  pgm_net_describe(&(PgmFunction){.n_features = 2, .n_outputs = 2, .degree = -1, .n_hidden = 2, .hidden = {16, 16}, .skip = true}, text,
                   sizeof text);
  assert_string_equal(text, "mlp 2-16-16-2 tanh, affine skip");
  pgm_net_describe(&(PgmFunction){.n_features = 1, .n_outputs = 2, .degree = 2}, text, sizeof text);
  assert_string_equal(text, "polynomial of degree 2 in 1 feature");
}

/* Entries of op(a). */
static double entry(bool transposed, const double *a, long ld, long i, long j) { return transposed ? a[j * ld + i] : a[i * ld + j]; }

static void products_are_products(void **state)
{
  (void)state;
  enum { M = 37, N = 19, K = 53, LD = 64 };
  static double a[LD * LD], b[LD * LD], c[LD * LD], before[LD * LD];
  static float as[LD * LD], bs[LD * LD], cs[LD * LD];
  static const double betas[] = {0, 1, -0.5};
  for (int i = 0; i < LD * LD; i++) a[i] = sin(i), b[i] = cos(3 * i), before[i] = sin(7 * i);
  for (int kind = 0; kind < 24; kind++) {
    const bool ta = kind & 1, tb = kind & 2;
    const double beta = betas[kind / 4 % 3];
    const long k = kind < 12 ? K : 0; /* an empty sum */
    memcpy(c, before, sizeof c);
    if (beta == 0) c[5] = NAN; /* is overwritten, not multiplied */
    to_single(a, LD * LD, as), to_single(b, LD * LD, bs), to_single(c, LD * LD, cs);
    pgm_gemm(ta, tb, M, N, k, a, LD, b, LD, beta, c, LD);
    pgm_gemm_single(ta, tb, M, N, k, as, LD, bs, LD, (float)beta, cs, LD);
    for (long i = 0; i < LD; i++)
      for (long j = 0; j < LD; j++) {
        double wanted = i < M && j < N ? beta * before[i * LD + j] : before[i * LD + j];
        for (long l = 0; l < k && i < M && j < N; l++) wanted += entry(ta, a, LD, i, l) * entry(tb, b, LD, l, j);
        assert_true(fabs(c[i * LD + j] - wanted) < 1e-12);
        assert_true(fabs((double)cs[i * LD + j] - wanted) < 3e-5);
      }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(philox_known_answers),
                                     cmocka_unit_test(many_words_at_a_time),
                                     cmocka_unit_test(normals_are_those_of_the_words),
                                     cmocka_unit_test(noise_is_that_of_the_words),
                                     cmocka_unit_test_prestate(normals_do_not_depend_on_runs, (void *)&normals[0]),
                                     cmocka_unit_test_prestate(normals_are_normal, (void *)&normals[0]),
                                     cmocka_unit_test_prestate(normals_are_independent, (void *)&normals[0]),
                                     cmocka_unit_test_prestate(normals_do_not_depend_on_runs, (void *)&normals[1]),
                                     cmocka_unit_test_prestate(normals_are_normal, (void *)&normals[1]),
                                     cmocka_unit_test_prestate(normals_are_independent, (void *)&normals[1]),
                                     cmocka_unit_test(gradients_of_perceptrons),
                                     cmocka_unit_test(gradients_of_polynomials),
                                     cmocka_unit_test(polynomials_have_every_monomial_once),
                                     cmocka_unit_test(polynomials_count_the_degrees_of_features),
                                     cmocka_unit_test(polynomials_too_large_are_refused), cmocka_unit_test(products_are_products),
                                     cmocka_unit_test(descriptions)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
