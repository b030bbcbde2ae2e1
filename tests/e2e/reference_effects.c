/* The factorised optimum of poisson_effects.pgm and logistic_effects.pgm, by coordinate ascent: reference_effects poisson|logistic DATA.json
 * -> "ELBO mean(theta) sd(theta) mean(tau) sd(tau)".
 *
 *   theta ~ normal(0, 10), tau ~ lognormal(0, 1), z[n] ~ normal(theta, tau), y[n] ~ poisson_log(z[n]) or bernoulli_logit(z[n])
 *
 * q: theta N(m, s), log tau N(a, b), z[n] N(m_n, s_n). With w = E tau^-2 = exp(-2 a + 2 b^2),
 *   E log p(z[n] | theta, tau) = -log(2 pi) / 2 - a - w ((m_n - m)^2 + s_n^2 + s^2) / 2.
 * The local problems are concave, so units with equal y have equal factors: one for each value of y. Each coordinate is maximised by Newton steps with
 * halving, theta in closed form, until the ELBO stands still. E log inv_logit by 80 Gauss-Hermite nodes. */
#include <gsl/gsl_integration.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 80, MOST = 100000 };
typedef struct { double y, count, mean, log_sd; } Unit;

static bool poisson;
static double node[NODES], weight[NODES];
static double m, s, a, b;              /* of theta and log tau */

static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

/* E log p(y | z) less what does not depend on q */
static double likelihood(double y, double mean, double sd)
{
  if (poisson) return y * mean - exp(mean + 0.5 * sd * sd) - lgamma(y + 1);
  double sum = 0;
  for (int i = 0; i < NODES; i++) sum += weight[i] * softplus(mean + sd * node[i]);
  return y * mean - sum;
}

static double precision(void) { return exp(-2 * a + 2 * b * b); }

static double local_value(const Unit *u)
{
  const double sd = exp(u->log_sd), d = u->mean - m;
  return likelihood(u->y, u->mean, sd) - 0.5 * precision() * (d * d + sd * sd) + u->log_sd;
}

typedef double (*Function)(void *data);

/* Maximises f over *x, concave near the maximum: Newton with differences, halved until f grows. */
static void climb(double *x, Function f, void *data)
{
  for (int i = 0; i < 100; i++) {
    const double h = 1e-4, at = *x, here = f(data);
    *x = at + h;
    const double up = f(data);
    *x = at - h;
    const double down = f(data);
    const double slope = (up - down) / (2 * h), curvature = (up - 2 * here + down) / (h * h);
    double step = curvature < -1e-8 ? -slope / curvature : slope > 0 ? 0.1 : -0.1;
    if (fabs(step) > 1) step = step > 0 ? 1 : -1;
    for (*x = at + step; !(f(data) >= here) && fabs(step) > 1e-12; *x = at + step) step /= 2;
    if (f(data) < here) *x = at;
    if (fabs(step) < 1e-10) return;
  }
}

static double of_local(void *data) { return local_value(data); }

typedef struct { double n, squares; } Globals;  /* squares: sum over units of (m_n - m)^2 + s_n^2, and n s^2 */
static double of_tau(void *data)
{
  const Globals *g = data;
  return -g->n * a - 0.5 * precision() * g->squares - 0.5 * (a * a + b * b) + log(b);
}

int main(int argc, char **argv)
{
  if (argc != 3) return 2;
  poisson = !strcmp(argv[1], "poisson");
  json_t *data = json_load_file(argv[2], 0, NULL), *y = json_object_get(data, "y");
  const double n = (double)json_array_size(y), log_2pi = log(2 * M_PI);
  Unit *unit = calloc(MOST, sizeof *unit);
  int units = 0;
  if (!unit || !(n > 0)) return 3;
  for (size_t i = 0; i < json_array_size(y); i++) {
    const double v = json_number_value(json_array_get(y, i));
    int k = 0;
    while (k < units && unit[k].y != v) k++;
    if (k == units) unit[units++].y = v;
    unit[k].count++;
  }
  gsl_integration_fixed_workspace *rule = gsl_integration_fixed_alloc(gsl_integration_fixed_hermite, NODES, 0, 0.5, 0, 0);
  for (int i = 0; i < NODES; i++) {
    node[i] = gsl_integration_fixed_nodes(rule)[i];
    weight[i] = gsl_integration_fixed_weights(rule)[i] / sqrt(2 * M_PI);
  }
  gsl_integration_fixed_free(rule);

  double elbo = -INFINITY;
  m = 0, s = 0.1, a = 0, b = 0.1;
  for (int sweep = 0; sweep < 1000000; sweep++) {
    double sum = 0, squares = 0, value = 0;
    for (int k = 0; k < units; k++) {
      for (int i = 0; i < 2; i++) climb(&unit[k].mean, of_local, &unit[k]), climb(&unit[k].log_sd, of_local, &unit[k]);
      sum += unit[k].count * unit[k].mean;
    }
    const double w = precision();
    m = w * sum / (n * w + 0.01);
    s = 1 / sqrt(n * w + 0.01);
    for (int k = 0; k < units; k++) squares += unit[k].count * (pow(unit[k].mean - m, 2) + exp(2 * unit[k].log_sd));
    Globals g = {n, squares + n * s * s};
    for (int i = 0; i < 5; i++) climb(&a, of_tau, &g), climb(&b, of_tau, &g);
    for (int k = 0; k < units; k++) value += unit[k].count * (local_value(&unit[k]) + 0.5);
    value += -n * a - 0.5 * precision() * n * s * s;
    value += -0.5 * (log_2pi + 2 * log(10) + (m * m + s * s) / 100) + 0.5 * (log_2pi + 1) + log(s);
    value += -0.5 * (log_2pi + a * a + b * b) + 0.5 * (log_2pi + 1) + log(b);
    const double gain = value - elbo;
    elbo = value;
    if (fabs(gain) < 1e-12 * fabs(value) && sweep > 50) break;
  }
  const double mean = exp(a + 0.5 * b * b);
  printf("%.17g %.17g %.17g %.17g %.17g\n", elbo, m, s, mean, mean * sqrt(expm1(b * b)));
  free(unit);
  json_decref(data);
  return 0;
}
