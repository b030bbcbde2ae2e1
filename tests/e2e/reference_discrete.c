/* Mixtures and hidden Markov models with a table of probabilities per label: reference_discrete mixture|hmm DATA.json FIT.json INFER.csv
 * -> three lines: the ELBO at the factors of the fit; where coordinate ascent ends that starts there; where the best of 30 ends that start from random
 * tables.
 *
 * mu_k ~ normal(0, 10), x_n ~ normal(mu_{c_n}, 1), c_n ~ categorical(p), or c_1 ~ categorical(p), c_t ~ categorical(A_{c_{t-1}}). With q = prod N(mu_k | m_k,
 * s_k) prod r_n(c_n) the updates are closed forms (Bishop 2006, section 10.2; Ghahramani & Jordan 1997): 1 / s_k^2 = 1/100 + sum_n r_nk, m_k = s_k^2 sum_n
 * r_nk x_n, and log r_nk = E log p(x_n | mu_k) + the prior's part, one label after the other. Sequences of at most 10 labels: E log p by the sum over all
 * paths. Nothing is shared with the runtime. */
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 2000, MOST_K = 8, STARTS = 30, MOST_ENUMERATED = 10 };
static const double LOG_2PI = 1.83787706640934548356;

static bool chain;
static long n, K;
static double x[MOST], p[MOST_K], A[MOST_K][MOST_K];
static double m[MOST_K], s[MOST_K], r[MOST][MOST_K];

static double numbers(const json_t *array, const char *name, double *out, long most)
{
  const json_t *a = json_object_get(array, name);
  for (size_t i = 0; i < json_array_size(a) && (long)i < most; i++) out[i] = json_number_value(json_array_get(a, i));
  return (double)json_array_size(a);
}

/* E log p(x_i | c_i = k) */
static double seen(long i, long k) { return -0.5 * (LOG_2PI + (x[i] - m[k]) * (x[i] - m[k]) + s[k] * s[k]); }

static double path_density(const long *c)
{
  double sum = 0;
  for (long i = 0; i < n; i++) sum += log(!i || !chain ? p[c[i]] : A[c[i - 1]][c[i]]) + seen(i, c[i]);
  return sum;
}

static double over_paths(long i, double weight, long *c)
{
  double sum = 0;
  if (i == n) return weight * path_density(c);
  for (c[i] = 0; c[i] < K; c[i]++) {
    const long own = c[i];
    sum += over_paths(i + 1, weight * r[i][own], c);
    c[i] = own;
  }
  return sum;
}

static double elbo(void)
{
  double sum = 0;
  long c[MOST_ENUMERATED + 1];
  for (long k = 0; k < K; k++) sum += -0.5 * (LOG_2PI + (m[k] * m[k] + s[k] * s[k]) / 100) - log(10) + 0.5 * (LOG_2PI + 1) + log(s[k]);
  for (long i = 0; i < n; i++)
    for (long k = 0; k < K; k++) sum -= r[i][k] > 0 ? r[i][k] * log(r[i][k]) : 0;
  if (n <= MOST_ENUMERATED) return sum + over_paths(0, 1, c);
  for (long i = 0; i < n; i++)
    for (long k = 0; k < K; k++) {
      sum += r[i][k] * seen(i, k);
      if (!i || !chain) sum += r[i][k] * log(p[k]);
      for (long j = 0; j < K && i && chain; j++) sum += r[i - 1][j] * r[i][k] * log(A[j][k]);
    }
  return sum;
}

static void update_means(void)
{
  for (long k = 0; k < K; k++) {
    double precision = 0.01, sum = 0;
    for (long i = 0; i < n; i++) precision += r[i][k], sum += r[i][k] * x[i];
    s[k] = 1 / sqrt(precision);
    m[k] = sum / precision;
  }
}

static void update_tables(void)
{
  for (long i = 0; i < n; i++) {
    double l[MOST_K], most = -INFINITY, sum = 0;
    for (long k = 0; k < K; k++) {
      l[k] = seen(i, k) + (!i || !chain ? log(p[k]) : 0);
      for (long j = 0; j < K && chain; j++) {
        if (i) l[k] += r[i - 1][j] * log(A[j][k]);
        if (i + 1 < n) l[k] += r[i + 1][j] * log(A[k][j]);
      }
      most = fmax(most, l[k]);
    }
    for (long k = 0; k < K; k++) sum += exp(l[k] - most);
    for (long k = 0; k < K; k++) r[i][k] = exp(l[k] - most) / sum;
  }
}

static double ascend(void)
{
  double before = -INFINITY, value = elbo();
  for (long round = 0; round < 20000 && value - before > 1e-12 * fabs(value); round++) {
    update_means();
    update_tables();
    before = value;
    value = elbo();
  }
  return value;
}

static bool read_tables(const char *path)
{
  char line[4096];
  FILE *f = fopen(path, "r");
  if (!f || !fgets(line, sizeof line, f)) return false;
  for (long i = 0; i < n && fgets(line, sizeof line, f); i++) {
    char *at = strchr(line, ',');
    for (long k = 0; k < K && at; k++) r[i][k] = strtod(at + 1, &at);
  }
  fclose(f);
  return true;
}

int main(int argc, char **argv)
{
  if (argc != 5) return 2;
  chain = !strcmp(argv[1], "hmm");
  json_t *data = json_load_file(argv[2], 0, NULL), *fit = json_load_file(argv[3], 0, NULL);
  if (!data || !fit) return 3;
  n = (long)numbers(data, "x", x, MOST);
  K = (long)numbers(data, "p", p, MOST_K);
  for (long k = 0; k < K && chain; k++) {
    const json_t *row = json_array_get(json_object_get(data, "A"), (size_t)k);
    for (long j = 0; j < K; j++) A[k][j] = json_number_value(json_array_get(row, (size_t)j));
  }
  const json_t *mu = json_object_get(json_object_get(fit, "globals"), "mu");
  numbers(mu, "mean", m, MOST_K);
  numbers(mu, "sd", s, MOST_K);
  if (n > MOST || K > MOST_K || K < 1 || !read_tables(argv[4])) return 3;
  printf("%.12f\n", elbo());
  printf("%.12f\n", ascend());
  double best = -INFINITY;
  unsigned long long state = 1;
  for (int start = 0; start < STARTS; start++) {
    double centre[MOST_K]; /* tables from random observations as centres */
    for (long k = 0; k < K; k++) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      centre[k] = x[(state >> 33) % (unsigned long long)n];
    }
    for (long i = 0; i < n; i++) {
      double sum = 0;
      for (long k = 0; k < K; k++) sum += r[i][k] = exp(-0.5 * fmin((x[i] - centre[k]) * (x[i] - centre[k]), 500)) + 1e-6 * (double)(k + 1);
      for (long k = 0; k < K; k++) r[i][k] /= sum;
    }
    update_means();
    best = fmax(best, ascend());
  }
  printf("%.12f\n", best);
  json_decref(data);
  json_decref(fit);
  return 0;
}
