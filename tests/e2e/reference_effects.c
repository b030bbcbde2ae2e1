/* The factorised optimum of poisson_effects.pgm and logistic_effects.pgm, by coordinate ascent: reference_effects poisson|logistic DATA.json
 * -> "ELBO mean(theta) sd(theta) mean(tau) sd(tau)".
 *
 *   theta ~ normal(0, 10), tau ~ lognormal(0, 1), z[n] ~ normal(theta, tau), y[n] ~ poisson_log(z[n]) or bernoulli_logit(z[n])
 *
 * q: theta N(m, s), log tau N(a, b), z[n] N(m_n, s_n). With w = E tau^-2 = exp(-2 a + 2 b^2),
 *   E log p(z[n] | theta, tau) = -log(2 pi) / 2 - a - w ((m_n - m)^2 + s_n^2 + s^2) / 2.
 * The local problems are concave in (m_n, s_n), so units with equal y have equal factors: one for each value of y. One sweep maximises over each unit's
 * two numbers (Newton), theta's (closed form), and log tau's (at the optimum of a, 2 b^2 (n + a) + b^2 = 1; then Newton for a). Sweeps alone would stop
 * short of the optimum: they creep along the ridge on which the z[n] and tau shrink together, a ten-thousandth of the way each. So every second one is
 * followed by a step far along the line through the last three points (the squared extrapolation of Varadhan & Roland 2008, scheme S3), kept where the
 * ELBO is no worse. E log(1 + e^z) by 80 Gauss-Hermite nodes. */
#include <gsl/gsl_integration.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 80, MOST = 100000 };
typedef struct { double y, count, mean, sd; } Unit;

static bool poisson;
static double node[NODES], weight[NODES];
static double m, s, a, b;              /* of theta and log tau */

static double precision(void) { return exp(-2 * a + 2 * b * b); }

/* The part of the ELBO that one unit's mean and sd are in, with its gradient and Hessian in (mean, sd). */
static double local_value(const Unit *u, double mean, double sd, double g[2], double h[3])
{
  const double w = precision(), d = mean - m;
  double e = 0, e1 = 0, es = 0, e2 = 0, e2s = 0, e2ss = 0; /* E f, E f', E f' x, E f'', E f'' x, E f'' x^2 of f = e^z or log(1 + e^z), x standard normal */
  if (poisson) {
    e = e1 = e2 = exp(mean + 0.5 * sd * sd);
    es = e2s = sd * e;
    e2ss = e + sd * sd * e;
  } else {
    for (int i = 0; i < NODES; i++) {
      const double z = mean + sd * node[i], p = 1 / (1 + exp(-z)), f2 = weight[i] * p * (1 - p);
      e += weight[i] * (z > 0 ? z + log1p(exp(-z)) : log1p(exp(z)));
      e1 += weight[i] * p;
      es += weight[i] * p * node[i];
      e2 += f2;
      e2s += f2 * node[i];
      e2ss += f2 * node[i] * node[i];
    }
  }
  g[0] = u->y - e1 - w * d;
  g[1] = -es - w * sd + 1 / sd;
  h[0] = -e2 - w;
  h[1] = -e2s;
  h[2] = -e2ss - w - 1 / (sd * sd);
  return u->y * mean - e - 0.5 * w * (d * d + sd * sd) + log(sd) - (poisson ? lgamma(u->y + 1) : 0);
}

static double climb(Unit *u)
{
  double g[2], h[3], unused[2], also[3], value = local_value(u, u->mean, u->sd, g, h);
  for (int i = 0; i < 100; i++) {
    const double det = h[0] * h[2] - h[1] * h[1], dm = -(h[2] * g[0] - h[1] * g[1]) / det, ds = -(h[0] * g[1] - h[1] * g[0]) / det;
    double t = 1;
    while (u->sd + t * ds < 0.1 * u->sd) t /= 2;
    while (t > 1e-3 && !(local_value(u, u->mean + t * dm, u->sd + t * ds, unused, also) >= value - 1e-12)) t /= 2;
    u->mean += t * dm;
    u->sd += t * ds;
    value = local_value(u, u->mean, u->sd, g, h);
    if (fabs(dm) + fabs(ds) < 1e-14) break;
  }
  return value;
}

/* Between the parameters and one vector: m, a, means and log sds. */
static void pack(const Unit *unit, int units, double *x)
{
  x[0] = m, x[1] = a;
  for (int k = 0; k < units; k++) x[2 + 2 * k] = unit[k].mean, x[3 + 2 * k] = log(unit[k].sd);
}

static void unpack(Unit *unit, int units, const double *x)
{
  m = x[0], a = x[1];
  for (int k = 0; k < units; k++) unit[k].mean = x[2 + 2 * k], unit[k].sd = exp(x[3 + 2 * k]);
}

/* One sweep from x, which it moves; the ELBO. */
static double ascend(Unit *unit, int units, double n, double *x)
{
  const double log_2pi = log(2 * M_PI);
  double sum = 0, squares = 0, value = 0;
  unpack(unit, units, x);
  b = 1 / sqrt(2 * (n + a) + 1);
  for (int k = 0; k < units; k++) {
    climb(&unit[k]);
    sum += unit[k].count * unit[k].mean;
  }
  const double w = precision();
  m = w * sum / (n * w + 0.01);
  s = 1 / sqrt(n * w + 0.01);
  for (int k = 0; k < units; k++) squares += unit[k].count * (pow(unit[k].mean - m, 2) + pow(unit[k].sd, 2) + s * s);
  for (int i = 0; i < 50; i++) { /* n + a = w * squares */
    b = 1 / sqrt(2 * (n + a) + 1);
    a += (precision() * squares - n - a) / (2 * precision() * squares + 1);
  }
  for (int k = 0; k < units; k++) {
    double g[2], h[3];
    value += unit[k].count * (local_value(&unit[k], unit[k].mean, unit[k].sd, g, h) + 0.5);
  }
  value += -n * a - 0.5 * precision() * n * s * s;
  value += -0.5 * (log_2pi + 2 * log(10) + (m * m + s * s) / 100) + 0.5 * (log_2pi + 1) + log(s);
  value += -0.5 * (log_2pi + a * a + b * b) + 0.5 * (log_2pi + 1) + log(b);
  pack(unit, units, x);
  return value;
}

int main(int argc, char **argv)
{
  if (argc != 3) return 2;
  poisson = !strcmp(argv[1], "poisson");
  json_t *data = json_load_file(argv[2], 0, NULL), *y = json_object_get(data, "y");
  const double n = (double)json_array_size(y);
  Unit *unit = calloc(MOST, sizeof *unit);
  int units = 0;
  if (!unit || !(n > 0)) return 3;
  for (size_t i = 0; i < json_array_size(y); i++) {
    const double v = json_number_value(json_array_get(y, i));
    int k = 0;
    while (k < units && unit[k].y != v) k++;
    if (k == units) unit[units++] = (Unit){.y = v, .sd = 1};
    unit[k].count++;
  }
  gsl_integration_fixed_workspace *rule = gsl_integration_fixed_alloc(gsl_integration_fixed_hermite, NODES, 0, 0.5, 0, 0);
  for (int i = 0; i < NODES; i++) {
    node[i] = gsl_integration_fixed_nodes(rule)[i];
    weight[i] = gsl_integration_fixed_weights(rule)[i] / sqrt(2 * M_PI);
  }
  gsl_integration_fixed_free(rule);

  const int dims = 2 + 2 * units;
  double *x = calloc((size_t)(4 * dims), sizeof *x), *one = x + dims, *two = one + dims, *far = two + dims;
  if (!x) return 3;
  pack(unit, units, x);
  for (int cycle = 0; cycle < 10000; cycle++) {
    memcpy(one, x, (size_t)dims * sizeof *x);
    ascend(unit, units, n, one);
    memcpy(two, one, (size_t)dims * sizeof *x);
    const double reached = ascend(unit, units, n, two);
    double step2 = 0, turn2 = 0;
    for (int k = 0; k < dims; k++) {
      step2 += (one[k] - x[k]) * (one[k] - x[k]);
      turn2 += (two[k] - 2 * one[k] + x[k]) * (two[k] - 2 * one[k] + x[k]);
    }
    if (step2 < 1e-26) break;
    const double length = turn2 > 0 ? fmax(sqrt(step2 / turn2), 1) : 1;
    for (int k = 0; k < dims; k++) far[k] = x[k] + 2 * length * (one[k] - x[k]) + length * length * (two[k] - 2 * one[k] + x[k]);
    const double beyond = ascend(unit, units, n, far);
    memcpy(x, beyond >= reached ? far : two, (size_t)dims * sizeof *x);
  }
  const double elbo = ascend(unit, units, n, x), mean = exp(a + 0.5 * b * b);
  printf("%.17g %.17g %.17g %.17g %.17g\n", elbo, m, s, mean, mean * sqrt(expm1(b * b)));
  free(x);
  free(unit);
  json_decref(data);
  return 0;
}
