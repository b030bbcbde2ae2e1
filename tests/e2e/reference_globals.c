/* The factorised optimum of three examples, by a plain method: reference_globals eight_schools|radon|nile DATA.json
 * -> "ELBO", then a line "NAME mean sd" per global, on the scale of the model.
 *
 * The ELBO is written out by hand for each model: q is N(m, s) for every real latent and for the logarithm of every positive one (then
 * E x = exp(m + s^2 / 2), E x^2 = exp(2 m + 2 s^2), E x^-2 = exp(-2 m + 2 s^2)); E log(1 + (tau / 5)^2) of the Cauchy prior by 80 Gauss-Hermite nodes.
 * It is maximised over all means and log sds by Newton's method with a dense Hessian, both by central differences, a ridge that grows until the ELBO
 * does, and halved steps. Nothing is shared with the runtime. */
#include <gsl/gsl_integration.h>
#include <gsl/gsl_linalg.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 80, MOST = 1024 };
typedef struct { double mean, sd; } Factor;

static double node[NODES], weight[NODES];
static long n_data, n_groups;
static double *data_y, *data_x;        /* y, sigma; log_radon, floor; flow */
static long *data_group;
static double log_2pi;

static double moment(Factor f, double power) { return exp(power * f.mean + 0.5 * power * power * f.sd * f.sd); }  /* of exp(u) */

/* E log normal(x | mu, sigma) given E (x - mu)^2, E log sigma, E sigma^-2 */
static double normal_term(double square, double log_sigma, double precision) { return -0.5 * (log_2pi + 2 * log_sigma + precision * square); }
static double fixed_normal(Factor f, double mu, double sigma)
{
  return normal_term(pow(f.mean - mu, 2) + f.sd * f.sd, log(sigma), 1 / (sigma * sigma));
}

/* q[0] mu, q[1] log tau, q[2..] theta_trans */
static double eight_schools(const Factor *q)
{
  const Factor mu = q[0], tau = q[1];
  double sum = fixed_normal(mu, 0, 5) + tau.mean - log(5 * M_PI);
  for (int i = 0; i < NODES; i++) sum -= weight[i] * log1p(pow(exp(tau.mean + tau.sd * node[i]) / 5, 2));
  const double t1 = moment(tau, 1), t2 = moment(tau, 2);
  for (long j = 0; j < n_data; j++) {
    const Factor z = q[2 + j];
    const double r = data_y[j] - mu.mean - t1 * z.mean;
    const double square = r * r + mu.sd * mu.sd + t2 * (z.mean * z.mean + z.sd * z.sd) - t1 * t1 * z.mean * z.mean;
    sum += fixed_normal(z, 0, 1) + normal_term(square, log(data_x[j]), 1 / (data_x[j] * data_x[j]));
  }
  return sum;
}

/* q[0] mu, q[1] log tau, q[2] beta, q[3] log sigma, q[4..] alpha; the priors of tau and sigma are normal(0, 5), not normalised over the half line */
static double radon(const Factor *q)
{
  const Factor mu = q[0], tau = q[1], beta = q[2], sigma = q[3], *alpha = q + 4;
  double sum = fixed_normal(mu, 0, 10) + fixed_normal(beta, 0, 10);
  sum += tau.mean - 0.5 * log_2pi - log(5) - moment(tau, 2) / 50 + sigma.mean - 0.5 * log_2pi - log(5) - moment(sigma, 2) / 50;
  for (long j = 0; j < n_groups; j++) {
    const double d = alpha[j].mean - mu.mean;
    sum += normal_term(d * d + alpha[j].sd * alpha[j].sd + mu.sd * mu.sd, tau.mean, moment(tau, -2));
  }
  for (long i = 0; i < n_data; i++) {
    const Factor a = alpha[data_group[i] - 1];
    const double r = data_y[i] - a.mean - beta.mean * data_x[i];
    sum += normal_term(r * r + a.sd * a.sd + pow(beta.sd * data_x[i], 2), sigma.mean, moment(sigma, -2));
  }
  return sum;
}

/* q[0] log q, q[1] log r, q[2..] level */
static double nile(const Factor *q)
{
  const Factor *level = q + 2;
  double sum = fixed_normal(q[0], 3, 1) + fixed_normal(q[1], 5, 1) + fixed_normal(level[0], 1000, 300);
  for (long t = 0; t < n_data; t++) {
    const double r = data_y[t] - level[t].mean, d = t ? level[t].mean - level[t - 1].mean : 0;
    if (t) sum += normal_term(d * d + pow(level[t].sd, 2) + pow(level[t - 1].sd, 2), q[0].mean, moment(q[0], -2));
    sum += normal_term(r * r + pow(level[t].sd, 2), q[1].mean, moment(q[1], -2));
  }
  return sum;
}

typedef struct { const char *name; double (*f)(const Factor *q); const char *y, *x, *group; const char *global[4]; bool positive[4]; int globals; } Problem;
static const Problem problems[] = {
  {"eight_schools", eight_schools, "y", "sigma", NULL, {"mu", "tau"}, {false, true}, 2},
  {"radon", radon, "log_radon", "floor_measure", "county_idx", {"mu", "tau", "beta", "sigma"}, {false, true, false, true}, 4},
  {"nile", nile, "flow", NULL, NULL, {"q", "r"}, {true, true}, 2},
};

/* ---- maximisation: x holds (mean / scale, log sd) per factor ------------------------------------------------------------------------------------ */

static const Problem *problem;
static long n;                          /* of x: twice the factors */
static double scale = 1, shift;         /* of the local means */

static double elbo(const double *x)
{
  Factor q[MOST];
  double entropy = 0;
  for (long i = 0; i < n / 2; i++) {
    const bool local = i >= problem->globals;
    q[i] = (Factor){local ? shift + scale * x[2 * i] : x[2 * i], (local ? scale : 1) * exp(x[2 * i + 1])};
    entropy += 0.5 * (log_2pi + 1) + log(q[i].sd);
  }
  return problem->f(q) + entropy;
}

static void derivatives(double *x, double *gradient, double *hessian)
{
  const double h = 1e-4;
  double *up = malloc(sizeof *up * (size_t)n), *down = malloc(sizeof *down * (size_t)n);
  const double here = elbo(x);
  for (long i = 0; i < n; i++) {
    const double keep = x[i];
    x[i] = keep + h, up[i] = elbo(x);
    x[i] = keep - h, down[i] = elbo(x);
    x[i] = keep;
    gradient[i] = (up[i] - down[i]) / (2 * h);
    hessian[i * n + i] = (up[i] - 2 * here + down[i]) / (h * h);
  }
  for (long i = 0; i < n; i++) {
    for (long j = 0; j < i; j++) {
      const double a = x[i], b = x[j];
      x[i] = a + h, x[j] = b + h;
      const double mixed = elbo(x);
      x[i] = a, x[j] = b;
      hessian[i * n + j] = hessian[j * n + i] = (mixed - up[i] - up[j] + here) / (h * h);
    }
  }
  free(up);
  free(down);
}

/* step = (ridge I - hessian)^-1 gradient; false when that is not positive definite */
static bool newton_step(const double *gradient, const double *hessian, double ridge, double *step)
{
  gsl_matrix *a = gsl_matrix_alloc((size_t)n, (size_t)n);
  for (long i = 0; i < n; i++)
    for (long j = 0; j < n; j++) gsl_matrix_set(a, (size_t)i, (size_t)j, (i == j ? ridge : 0) - hessian[i * n + j]);
  bool ok = gsl_linalg_cholesky_decomp1(a) == 0;
  gsl_vector_const_view g = gsl_vector_const_view_array(gradient, (size_t)n);
  gsl_vector_view s = gsl_vector_view_array(step, (size_t)n);
  if (ok) gsl_linalg_cholesky_solve(a, &g.vector, &s.vector);
  gsl_matrix_free(a);
  return ok;
}

static double maximise(double *x)
{
  double *gradient = malloc(sizeof *gradient * (size_t)n), *hessian = malloc(sizeof *hessian * (size_t)(n * n));
  double *step = malloc(sizeof *step * (size_t)n), *trial = malloc(sizeof *trial * (size_t)n), value = elbo(x), ridge = 1;
  for (int iteration = 0; iteration < 200; iteration++) {
    double size = 0;
    derivatives(x, gradient, hessian);
    for (int tries = 0; tries < 60; tries++, ridge *= 4) {
      if (!newton_step(gradient, hessian, ridge, step)) continue;
      size = 0;
      for (long i = 0; i < n; i++) {
        trial[i] = x[i] + step[i];
        if (fabs(step[i]) > size) size = fabs(step[i]);
      }
      const double next = elbo(trial);
      if (size > 2 || !(next >= value - 1e-11 * fabs(value))) continue;
      memcpy(x, trial, sizeof *x * (size_t)n);
      value = next;
      ridge /= 16;
      break;
    }
    if (size < 1e-7) break;
  }
  free(gradient);
  free(hessian);
  free(step);
  free(trial);
  return value;
}

/* ---- input and output --------------------------------------------------------------------------------------------------------------------------------- */

static double *numbers(const json_t *data, const char *name)
{
  const json_t *a = name ? json_object_get(data, name) : NULL;
  double *v = calloc(json_array_size(a) + 1, sizeof *v);
  for (size_t i = 0; i < json_array_size(a); i++) v[i] = json_number_value(json_array_get(a, i));
  return v;
}

int main(int argc, char **argv)
{
  if (argc != 3) return 2;
  for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
    if (!strcmp(problems[i].name, argv[1])) problem = &problems[i];
  json_t *data = json_load_file(argv[2], 0, NULL);
  if (!problem || !data) return 3;
  gsl_set_error_handler_off();
  log_2pi = log(2 * M_PI);
  n_data = (long)json_array_size(json_object_get(data, problem->y));
  data_y = numbers(data, problem->y);
  data_x = numbers(data, problem->x);
  double *group = numbers(data, problem->group);
  data_group = calloc((size_t)n_data + 1, sizeof *data_group);
  for (long i = 0; problem->group && i < n_data; i++) {
    data_group[i] = (long)group[i];
    if (data_group[i] > n_groups) n_groups = data_group[i];
  }
  gsl_integration_fixed_workspace *rule = gsl_integration_fixed_alloc(gsl_integration_fixed_hermite, NODES, 0, 0.5, 0, 0);
  for (int i = 0; i < NODES; i++) {
    node[i] = gsl_integration_fixed_nodes(rule)[i];
    weight[i] = gsl_integration_fixed_weights(rule)[i] / sqrt(2 * M_PI);
  }
  gsl_integration_fixed_free(rule);

  double x[MOST] = {0};
  n = 2 * (problem->globals + (problem->group ? n_groups : n_data));
  if (n > MOST) return 3;
  for (long i = 0; i < n; i += 2) x[i + 1] = -1;
  if (problem->f == nile) scale = 100, shift = 900, x[0] = 3, x[2] = 5;
  printf("%.17g\n", maximise(x));
  for (int i = 0; i < problem->globals; i++) {
    const Factor f = {x[2 * i], exp(x[2 * i + 1])};
    const double mean = problem->positive[i] ? moment(f, 1) : f.mean, sd = problem->positive[i] ? mean * sqrt(expm1(f.sd * f.sd)) : f.sd;
    printf("%s %.17g %.17g\n", problem->global[i], mean, sd);
  }
  free(data_y);
  free(data_x);
  free(group);
  free(data_group);
  json_decref(data);
  return 0;
}
