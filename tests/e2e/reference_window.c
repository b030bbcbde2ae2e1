/* The best affine function of a window, for the model window_law.pgm: reference_window DATA.json PHI S2 TAU -> for w = 0..5 a line
 *   w  gap  law        nats that the best function of x[t-w..t+w] lacks to F-VI on these data, and on average over data of the model;
 * then the half-width at which the law's gap is 1 % of that without any input.
 *
 * With all sds at their optimum the ELBO lacks 1/2 (m - mu)' L (m - mu), L the posterior's precision (tridiagonal), mu its mean. What an affine
 * function of a window can give as m is the span of a few columns: least squares in the metric L, here by orthogonalisation. The columns are those of
 * the runtime's --degree 1: 1, each entry (centred, 0 where it is absent), whether it is absent, and products of the two as long as they are at most 64.
 * The law: residual polynomials orthogonal to a Bernstein-Szego weight, docs/analysis.md, "How fast a window converges". */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDEST = 5, PRODUCTS = 64, COLUMNS = 1 + (2 * WIDEST + 1) + 2 * WIDEST + PRODUCTS };

static long T;
static double diagonal, off, *x, *b, *mu;

static double product(const double *u, const double *v)
{
  double sum = 0;
  for (long t = 0; t < T; t++) sum += u[t] * (diagonal * v[t] + (t ? off * v[t - 1] : 0) + (t + 1 < T ? off * v[t + 1] : 0));
  return sum;
}

static double dot(const double *u, const double *v)
{
  double sum = 0;
  for (long t = 0; t < T; t++) sum += u[t] * v[t];
  return sum;
}

/* L mu = b (Thomas's algorithm). */
static void solve(void)
{
  double *pivot = malloc((size_t)T * sizeof *pivot);
  for (long t = 0; t < T; t++) {
    const double f = t ? off / pivot[t - 1] : 0;
    pivot[t] = diagonal - f * off * (t > 0);
    mu[t] = b[t] - (t ? f * mu[t - 1] : 0);
  }
  for (long t = T - 1; t >= 0; t--) mu[t] = (mu[t] - (t + 1 < T ? off * mu[t + 1] : 0)) / pivot[t];
  free(pivot);
}

/* Adds a column to the orthonormal ones unless they span it; returns how many there are. */
static int add(double *q, int n, double *column)
{
  double *own = q + n * T;
  const double before = sqrt(product(column, column));
  memcpy(own, column, (size_t)T * sizeof *own);
  for (int round = 0; round < 2; round++) /* twice is enough: Giraud et al. 2005 */
    for (int k = 0; k < n; k++) {
      const double c = product(q + k * T, own);
      for (long t = 0; t < T; t++) own[t] -= c * q[k * T + t];
    }
  const double norm = sqrt(product(own, own));
  if (!(norm > 1e-9 * before)) return n;
  for (long t = 0; t < T; t++) own[t] /= norm;
  return n + 1;
}

static double best_window(int w)
{
  double *q = malloc((size_t)(COLUMNS * T) * sizeof *q), *column = malloc((size_t)((2 * w + 1) * T) * sizeof *column);
  double *absent = calloc((size_t)((2 * w + 1) * T), sizeof *absent), *one = malloc((size_t)T * sizeof *one), gap = dot(mu, b);
  int n = 0;
  for (long t = 0; t < T; t++) one[t] = 1;
  n = add(q, n, one);
  for (int k = 0; k < 2 * w + 1; k++) {
    double mean = 0;
    long count = 0;
    for (long t = 0; t < T; t++) {
      const long at = t + k - w;
      if (at >= 0 && at < T) mean += (x[at] - mean) / (double)++count;
    }
    for (long t = 0; t < T; t++) {
      const long at = t + k - w;
      absent[k * T + t] = at < 0 || at >= T;
      column[k * T + t] = absent[k * T + t] ? 0 : x[at] - mean;
    }
    n = add(q, n, column + k * T);
    n = add(q, n, absent + k * T);
  }
  for (int k = 0; k < 2 * w + 1 && 2 * w * (2 * w + 1) <= PRODUCTS; k++)
    for (int j = 0; j < 2 * w + 1; j++) {
      for (long t = 0; t < T; t++) one[t] = absent[k * T + t] * column[j * T + t];
      n = add(q, n, one);
    }
  for (int k = 0; k < n; k++) gap -= pow(dot(q + k * T, b), 2);
  free(q), free(column), free(absent), free(one);
  return gap / 2;
}

int main(int argc, char **argv)
{
  json_t *data = argc == 5 ? json_load_file(argv[1], 0, NULL) : NULL, *values = json_object_get(data, "x");
  if (!(T = (long)json_array_size(values))) return 3;
  const double phi = atof(argv[2]), s2 = atof(argv[3]), tau = atof(argv[4]);
  x = malloc((size_t)(3 * T) * sizeof *x);
  b = x + T, mu = b + T;
  for (long t = 0; t < T; t++) b[t] = tau * (x[t] = json_number_value(json_array_get(values, (size_t)t)));
  diagonal = (1 + phi * phi) / s2 + tau;
  off = -phi / s2;
  solve();
  const double lambda = acosh(diagonal / (2 * fabs(off)));
  double sum = 1 - phi * phi;
  int enough = -1;
  for (int w = 0; w <= WIDEST || enough < 0; w++) {
    sum += 2 * pow(cosh((w + 1) * lambda) - fabs(phi) * cosh(w * lambda), 2);
    if (w <= WIDEST) printf("%d %.12g %.12g\n", w, best_window(w), (double)T * tau * s2 / 2 / sum);
    if (enough < 0 && (1 - phi * phi) / sum <= 0.01) enough = w;
  }
  printf("%d\n", enough);
  free(x);
  json_decref(data);
  return 0;
}
