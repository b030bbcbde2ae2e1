/* A second implementation of the log joint densities of examples/posteriordb, which shares nothing with the project: plain loops, in long
 * double, after the Stan programs of posteriordb (https://github.com/stan-dev/posteriordb), all densities with their constants.
 *
 *   posteriordb point MODEL DATA SEED
 *     -> a point as JSON, for `grad --at`: unconstrained coordinates uniform on (-1, 1); on a smaller interval where the scale is bounded,
 *     so that values stay within 1 of the middle; discrete variables uniform on their values
 *   posteriordb compare MODEL DATA POINT GRAD LIMIT
 *     GRAD is what `grad --at POINT` printed -> the largest relative errors of the log joint and of its gradient, on the scale of the model
 *     and unconstrained; status 1 when one is above LIMIT
 *   posteriordb densities
 *     the log densities used here against those of GSL; status 1 when they differ
 *
 * Gradients are differences, f' = (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h with an error of h^4 (Abramowitz & Stegun, 25.3.6), carried
 * over to the unconstrained scale by the derivatives of Stan's transforms (Stan reference manual, "Constraint transforms"). */
#include <gsl/gsl_randist.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 12 };
typedef long double Real;
typedef struct { double *v; long n; } Column;                       /* an array of the data, row by row; a number is an array of one */

typedef enum { REAL, POSITIVE, INTERVAL, ORDERED, SIMPLEX, SIMPLEXES, LABEL } Kind;   /* SIMPLEXES: as many as each has entries */
typedef struct {
  const char *name;
  Kind kind;
  const char *size;                                                  /* a number of the data; NULL: 0 */
  long more;                                                         /* entries beyond that size; 0 entries in all: a scalar */
  double lo, hi;                                                     /* of an INTERVAL */
} Parameter;

/* In order of declaration in MODEL.pgm. log_joint gets the columns and the parameters in the order given here. */
typedef struct {
  const char *name;
  Parameter parameter[MOST];
  const char *column[MOST];
  Real (*log_joint)(const Column *d, Real *const *p);
} Model;

/* ---- log densities ------------------------------------------------------------------------------------------------------------------- */

static const Real pi = 3.14159265358979323846264338327950288L;

static Real square(Real x) { return x * x; }
static Real log1p_exp(Real x) { return x > 0 ? x + log1pl(expl(-x)) : log1pl(expl(x)); }
static Real log_choose(Real n, Real k) { return lgammal(n + 1) - lgammal(k + 1) - lgammal(n - k + 1); }
static Real log_sum_exp(Real a, Real b) { return a > b ? a + log1pl(expl(b - a)) : b + log1pl(expl(a - b)); }

static Real normal(Real x, Real mu, Real sigma) { return -0.5L * square((x - mu) / sigma) - logl(sigma) - 0.5L * logl(2 * pi); }
static Real lognormal(Real x, Real mu, Real sigma) { return normal(logl(x), mu, sigma) - logl(x); }
static Real cauchy(Real x, Real mu, Real sigma) { return -logl(pi * sigma) - log1pl(square((x - mu) / sigma)); }
static Real student_t(Real x, Real nu, Real mu, Real sigma)
{
  const Real z = (x - mu) / sigma;
  return lgammal((nu + 1) / 2) - lgammal(nu / 2) - 0.5L * logl(nu * pi) - logl(sigma) - (nu + 1) / 2 * log1pl(z * z / nu);
}
static Real gamma_(Real x, Real shape, Real rate) { return shape * logl(rate) - lgammal(shape) + (shape - 1) * logl(x) - rate * x; }
static Real beta_(Real x, Real a, Real b)
{
  return lgammal(a + b) - lgammal(a) - lgammal(b) + (a - 1) * logl(x) + (b - 1) * log1pl(-x);
}
static Real uniform(Real x, Real lo, Real hi) { return x >= lo && x <= hi ? -logl(hi - lo) : -INFINITY; }
static Real poisson_log(Real y, Real log_rate) { return y * log_rate - expl(log_rate) - lgammal(y + 1); }
static Real binomial(Real y, Real n, Real p) { return log_choose(n, y) + y * logl(p) + (n - y) * log1pl(-p); }
static Real binomial_logit(Real y, Real n, Real a) { return log_choose(n, y) - y * log1p_exp(-a) - (n - y) * log1p_exp(a); }
static Real bernoulli_logit(Real y, Real a) { return -log1p_exp(y == 1 ? -a : a); }

/* ---- models -------------------------------------------------------------------------------------------------------------------------- */

static Real eight_schools_centered(const Column *d, Real *const *p)
{
  const Real mu = *p[0], tau = *p[1], *theta = p[2];
  const double *y = d[0].v, *sigma = d[1].v;
  Real sum = normal(mu, 0, 5) + cauchy(tau, 0, 5);
  for (long j = 0; j < d[0].n; j++) sum += normal(theta[j], mu, tau) + normal(y[j], theta[j], sigma[j]);
  return sum;
}

static Real eight_schools_noncentered(const Column *d, Real *const *p)
{
  const Real mu = *p[0], tau = *p[1], *theta_trans = p[2];
  const double *y = d[0].v, *sigma = d[1].v;
  Real sum = normal(mu, 0, 5) + cauchy(tau, 0, 5);
  for (long j = 0; j < d[0].n; j++) sum += normal(theta_trans[j], 0, 1) + normal(y[j], theta_trans[j] * tau + mu, sigma[j]);
  return sum;
}

static Real radon_pooled(const Column *d, Real *const *p)
{
  const Real alpha = *p[0], beta = *p[1], sigma = *p[2];
  Real sum = normal(alpha, 0, 10) + normal(beta, 0, 10) + normal(sigma, 0, 1);
  for (long n = 0; n < d[0].n; n++) sum += normal(d[0].v[n], alpha + beta * d[1].v[n], sigma);
  return sum;
}

static Real radon_variable_intercept(const Column *d, Real *const *p)
{
  const Real mu = *p[0], sigma_alpha = *p[1], beta = *p[2], sigma = *p[3], *alpha = p[4];
  const double *y = d[0].v, *floor_measure = d[1].v, *county = d[2].v;
  Real sum = normal(mu, 0, 10) + normal(sigma_alpha, 0, 1) + normal(beta, 0, 10) + normal(sigma, 0, 1);
  for (long j = 0; j < d[3].v[0]; j++) sum += normal(alpha[j], mu, sigma_alpha);
  for (long n = 0; n < d[0].n; n++) sum += normal(y[n], alpha[(long)county[n] - 1] + floor_measure[n] * beta, sigma);
  return sum;
}

static Real radon_variable_intercept_noncentered(const Column *d, Real *const *p)
{
  const Real mu = *p[0], sigma_alpha = *p[1], beta = *p[2], sigma = *p[3], *alpha_raw = p[4];
  const double *y = d[0].v, *floor_measure = d[1].v, *county = d[2].v;
  Real sum = normal(mu, 0, 10) + normal(sigma_alpha, 0, 1) + normal(beta, 0, 10) + normal(sigma, 0, 1);
  for (long j = 0; j < d[3].v[0]; j++) sum += normal(alpha_raw[j], 0, 1);
  for (long n = 0; n < d[0].n; n++) sum += normal(y[n], mu + sigma_alpha * alpha_raw[(long)county[n] - 1] + floor_measure[n] * beta, sigma);
  return sum;
}

static Real radon_variable_intercept_slope(const Column *d, Real *const *p)
{
  const Real mu_alpha = *p[0], mu_beta = *p[1], sigma_alpha = *p[2], sigma_beta = *p[3], sigma = *p[4], *alpha = p[5], *beta = p[6];
  const double *y = d[0].v, *floor_measure = d[1].v, *county = d[2].v;
  Real sum = normal(mu_alpha, 0, 10) + normal(mu_beta, 0, 10);
  sum += normal(sigma_alpha, 0, 1) + normal(sigma_beta, 0, 1) + normal(sigma, 0, 1);
  for (long j = 0; j < d[3].v[0]; j++) sum += normal(alpha[j], mu_alpha, sigma_alpha) + normal(beta[j], mu_beta, sigma_beta);
  for (long n = 0; n < d[0].n; n++) {
    const long j = (long)county[n] - 1;
    sum += normal(y[n], alpha[j] + floor_measure[n] * beta[j], sigma);
  }
  return sum;
}

static Real kidscore_momhs(const Column *d, Real *const *p)
{
  const Real *beta = p[0], sigma = *p[1];
  Real sum = cauchy(sigma, 0, 2.5L);
  for (long n = 0; n < d[0].n; n++) sum += normal(d[0].v[n], beta[0] + beta[1] * d[1].v[n], sigma);
  return sum;
}

static Real kidscore_momhsiq(const Column *d, Real *const *p)
{
  const Real *beta = p[0], sigma = *p[1];
  Real sum = cauchy(sigma, 0, 2.5L);
  for (long n = 0; n < d[0].n; n++) sum += normal(d[0].v[n], beta[0] + beta[1] * d[1].v[n] + beta[2] * d[2].v[n], sigma);
  return sum;
}

static Real kidscore_interaction(const Column *d, Real *const *p)
{
  const Real *beta = p[0], sigma = *p[1];
  const double *hs = d[1].v, *iq = d[2].v;
  Real sum = cauchy(sigma, 0, 2.5L);
  for (long n = 0; n < d[0].n; n++)
    sum += normal(d[0].v[n], beta[0] + beta[1] * hs[n] + beta[2] * iq[n] + beta[3] * hs[n] * iq[n], sigma);
  return sum;
}

static Real arK(const Column *d, Real *const *p)
{
  const Real alpha = *p[0], *beta = p[1], sigma = *p[2];
  const double *y = d[0].v;
  const long K = (long)d[1].v[0];
  Real sum = normal(alpha, 0, 10) + cauchy(sigma, 0, 2.5L);
  for (long k = 0; k < K; k++) sum += normal(beta[k], 0, 10);
  for (long t = K; t < d[0].n; t++) {
    Real mu = alpha;
    for (long k = 1; k <= K; k++) mu += beta[k - 1] * y[t - k];
    sum += normal(y[t], mu, sigma);
  }
  return sum;
}

static Real low_dim_gauss_mix(const Column *d, Real *const *p)
{
  const Real theta = *p[0], *mu = p[1], *sigma = p[2];
  Real sum = beta_(theta, 5, 5) + normal(mu[0], 0, 2) + normal(mu[1], 0, 2) + normal(sigma[0], 0, 2) + normal(sigma[1], 0, 2);
  for (long n = 0; n < d[0].n; n++)
    sum += log_sum_exp(logl(theta) + normal(d[0].v[n], mu[0], sigma[0]), log1pl(-theta) + normal(d[0].v[n], mu[1], sigma[1]));
  return sum;
}

static Real normal_mixture(const Column *d, Real *const *p)
{
  const Real theta = *p[0], *mu = p[1];
  Real sum = uniform(theta, 0, 1) + normal(mu[0], 0, 10) + normal(mu[1], 0, 10);
  for (long n = 0; n < d[0].n; n++)
    sum += log_sum_exp(logl(theta) + normal(d[0].v[n], mu[0], 1), log1pl(-theta) + normal(d[0].v[n], mu[1], 1));
  return sum;
}

static Real hmm_gaussian(const Column *d, Real *const *p)
{
  const Real *pi1 = p[0], *A = p[1], *mu = p[2], *sigma = p[3], *z = p[4];
  const long K = (long)d[1].v[0];
  Real sum = logl(pi1[(long)z[0] - 1]);
  for (long t = 0; t < d[0].n; t++) {
    const long k = (long)z[t] - 1;
    sum += normal(d[0].v[t], mu[k], sigma[k]) + (t ? logl(A[((long)z[t - 1] - 1) * K + k]) : 0);
  }
  return sum;
}

static Real GLM_Poisson(const Column *d, Real *const *p)
{
  const Real alpha = *p[0], beta1 = *p[1], beta2 = *p[2], beta3 = *p[3];
  Real sum = 0;
  for (long i = 0; i < d[0].n; i++) {
    const Real year = d[1].v[i];
    sum += poisson_log(d[0].v[i], alpha + beta1 * year + beta2 * year * year + beta3 * year * year * year);
  }
  return sum;
}

static Real GLM_Binomial(const Column *d, Real *const *p)
{
  const Real alpha = *p[0], beta1 = *p[1], beta2 = *p[2];
  Real sum = normal(alpha, 0, 100) + normal(beta1, 0, 100) + normal(beta2, 0, 100);
  for (long i = 0; i < d[0].n; i++) {
    const Real year = d[2].v[i];
    sum += binomial_logit(d[0].v[i], d[1].v[i], alpha + beta1 * year + beta2 * year * year);
  }
  return sum;
}

static Real GLMM_Poisson(const Column *d, Real *const *p)
{
  const Real alpha = *p[0], beta1 = *p[1], beta2 = *p[2], beta3 = *p[3], sigma = *p[4], *eps = p[5];
  Real sum = uniform(alpha, -20, 20) + uniform(beta1, -10, 10) + uniform(beta2, -10, 10) + uniform(beta3, -10, 10) + uniform(sigma, 0, 5);
  for (long i = 0; i < d[0].n; i++) {
    const Real year = d[1].v[i], trend = alpha + beta1 * year + beta2 * year * year + beta3 * year * year * year;
    sum += normal(eps[i], 0, sigma) + poisson_log(d[0].v[i], trend + eps[i]);
  }
  return sum;
}

static Real seeds(const Column *d, Real *const *p)
{
  const Real alpha0 = *p[0], alpha1 = *p[1], alpha2 = *p[2], alpha12 = *p[3], tau = *p[4], *b = p[5];
  const double *n = d[0].v, *N = d[1].v, *x1 = d[2].v, *x2 = d[3].v;
  Real sum = normal(alpha0, 0, 1e3L) + normal(alpha1, 0, 1e3L) + normal(alpha2, 0, 1e3L) + normal(alpha12, 0, 1e3L);
  sum += gamma_(tau, 1e-3L, 1e-3L);
  for (long i = 0; i < d[0].n; i++) {
    sum += normal(b[i], 0, 1 / sqrtl(tau));
    sum += binomial_logit(n[i], N[i], alpha0 + alpha1 * x1[i] + alpha2 * x2[i] + alpha12 * x1[i] * x2[i] + b[i]);
  }
  return sum;
}

static Real mesquite(const Column *d, Real *const *p)
{
  const Real *beta = p[0], sigma = *p[1];
  Real sum = 0;
  for (long n = 0; n < d[0].n; n++) {
    Real mu = beta[0];
    for (long k = 1; k < 7; k++) mu += beta[k] * d[k].v[n];
    sum += normal(d[0].v[n], mu, sigma);
  }
  return sum;
}

/* The Stan program has the density of log weight; that of weight has another factor 1 / weight. */
static Real logmesquite_logvolume(const Column *d, Real *const *p)
{
  const Real *beta = p[0], sigma = *p[1];
  Real sum = 0;
  for (long n = 0; n < d[0].n; n++) {
    const Real log_weight = logl(d[0].v[n]), log_canopy_volume = logl(d[1].v[n]) + logl(d[2].v[n]) + logl(d[3].v[n]);
    sum += normal(log_weight, beta[0] + beta[1] * log_canopy_volume, sigma) - log_weight;
  }
  return sum;
}

static Real wells_dist100(const Column *d, Real *const *p)
{
  Real sum = 0;
  for (long n = 0; n < d[0].n; n++) sum += bernoulli_logit(d[0].v[n], *p[0] + *p[1] * (d[1].v[n] / 100.0L));
  return sum;
}

static Real wells_dae(const Column *d, Real *const *p)
{
  const Real alpha = *p[0], *beta = p[1];
  Real sum = 0;
  for (long n = 0; n < d[0].n; n++)
    sum += bernoulli_logit(d[0].v[n], alpha + beta[0] * (d[1].v[n] / 100.0L) + beta[1] * d[2].v[n] + beta[2] * (d[3].v[n] / 4.0L));
  return sum;
}

static Real dogs(const Column *d, Real *const *p)
{
  const Real *beta = p[0];
  const long n_trials = (long)d[1].v[0];
  Real sum = normal(beta[0], 0, 100) + normal(beta[1], 0, 100) + normal(beta[2], 0, 100);
  for (long j = 0; j < d[0].n / n_trials; j++) {
    const double *y = d[0].v + j * n_trials;
    for (long t = 0, n_avoid = 0, n_shock = 0; t < n_trials; t++) {
      sum += bernoulli_logit(y[t], beta[0] + beta[1] * n_avoid + beta[2] * n_shock);
      if (y[t] == 1) n_shock++;
      else n_avoid++;
    }
  }
  return sum;
}

static Real kilpisjarvi(const Column *d, Real *const *p)
{
  const Real alpha = *p[0], beta = *p[1], sigma = *p[2];
  Real sum = normal(alpha, d[2].v[0], d[3].v[0]) + normal(beta, d[4].v[0], d[5].v[0]);
  for (long n = 0; n < d[0].n; n++) sum += normal(d[0].v[n], alpha + beta * d[1].v[n], sigma);
  return sum;
}

/* The Stan program has the binomial density of the captures s of an animal; that of their sequence lacks its coefficient. */
static Real M0(const Column *d, Real *const *p)
{
  const Real omega = *p[0], detected = *p[1];
  const long T = (long)d[1].v[0];
  Real sum = uniform(omega, 0, 1) + uniform(detected, 0, 1);
  for (long i = 0; i < d[0].n / T; i++) {
    double s = 0;
    for (long t = 0; t < T; t++) s += d[0].v[i * T + t];
    const Real exists = logl(omega) + binomial(s, T, detected) - log_choose(T, s);
    sum += s > 0 ? exists : log_sum_exp(exists, log1pl(-omega));
  }
  return sum;
}

static Real Rate_1(const Column *d, Real *const *p) { return beta_(*p[0], 1, 1) + binomial(d[0].v[0], d[1].v[0], *p[0]); }

static Real pilots(const Column *d, Real *const *p)
{
  const Real mu_a = *p[0], mu_b = *p[1], sigma_a = *p[2], sigma_b = *p[3], sigma_y = *p[4], *a = p[5], *b = p[6];
  const double *y = d[0].v, *group = d[1].v, *scenario = d[2].v;
  Real sum = normal(mu_a, 0, 1) + normal(mu_b, 0, 1);
  for (long g = 0; g < d[3].v[0]; g++) sum += normal(a[g], 10 * mu_a, sigma_a);
  for (long s = 0; s < d[4].v[0]; s++) sum += normal(b[s], 10 * mu_b, sigma_b);
  for (long i = 0; i < d[0].n; i++) sum += normal(y[i], a[(long)group[i] - 1] + b[(long)scenario[i] - 1], sigma_y);
  return sum;
}

/* The data have the grades 1 to 4 for the Stan program's 0 to 3. */
static Real science_irt(const Column *d, Real *const *p)
{
  const Real lambda = *p[0], *alpha = p[1], *theta = p[4];
  const long I = (long)d[1].v[0], J = d[0].n / I;
  Real beta[I], kappa[3] = {p[3][0], p[3][1], -(p[3][0] + p[3][1])}, sum = student_t(lambda, 3, 0, 1);
  beta[I - 1] = 0;
  for (long i = 0; i < I - 1; i++) beta[i] = p[2][i], beta[I - 1] -= beta[i];
  for (long i = 0; i < I; i++) sum += lognormal(alpha[i], 1, 1) + normal(beta[i], 0, 3);
  for (long k = 0; k < 3; k++) sum += normal(kappa[k], 0, 3);
  for (long j = 0; j < J; j++) {
    sum += normal(theta[j], lambda, 1);
    for (long i = 0; i < I; i++) {
      Real level = 0, chosen = 0, total = 1;                        /* of grade 1 */
      for (long k = 0; k < 3; k++) {
        level += theta[j] * alpha[i] - beta[i] - kappa[k];
        total += expl(level);
        if (k + 2 == d[0].v[j * I + i]) chosen = level;
      }
      sum += chosen - logl(total);
    }
  }
  return sum;
}

static Real nes(const Column *d, Real *const *p)
{
  const Real *beta = p[0], sigma = *p[1];
  const double *age = d[6].v;
  Real sum = 0;
  for (long n = 0; n < d[0].n; n++) {
    Real mu = beta[0] + beta[1] * d[1].v[n] + beta[2] * d[2].v[n] + beta[6] * d[3].v[n] + beta[7] * d[4].v[n] + beta[8] * d[5].v[n];
    if (age[n] >= 2) mu += beta[(long)age[n] + 1];
    sum += normal(d[0].v[n], mu, sigma);
  }
  return sum;
}

static Real dugongs(const Column *d, Real *const *p)
{
  const Real alpha = *p[0], beta = *p[1], lambda = *p[2], tau = *p[3];
  Real sum = normal(alpha, 0, 1000) + normal(beta, 0, 1000) + uniform(lambda, 0.5L, 1) + gamma_(tau, 1e-4L, 1e-4L);
  for (long i = 0; i < d[0].n; i++) sum += normal(d[0].v[i], alpha - beta * powl(lambda, d[1].v[i]), 1 / sqrtl(tau));
  return sum;
}

/* A missing grade is a NaN here and -1 in the Stan program. */
static Real bones(const Column *d, Real *const *p)
{
  const Real *theta = p[0];
  const double *grade = d[0].v, *ncat = d[1].v, *delta = d[2].v, *gamma_cut = d[3].v;
  const long nInd = d[1].n, nChild = d[0].n / nInd;
  Real sum = 0;
  for (long i = 0; i < nChild; i++) {
    sum += normal(theta[i], 0, 36);
    for (long j = 0; j < nInd; j++) {
      const double k = grade[i * nInd + j], *cut = gamma_cut + j * 4;
      if (isnan(k)) continue;
      const Real above_lower = k > 1 ? 1 / (1 + expl(-delta[j] * (theta[i] - cut[(long)k - 2]))) : 1;   /* P(grade >= k) */
      const Real above_upper = k < ncat[j] ? 1 / (1 + expl(-delta[j] * (theta[i] - cut[(long)k - 1]))) : 0;
      sum += logl(above_lower - above_upper);
    }
  }
  return sum;
}

#define SCALAR(name, kind) {name, kind, NULL, 0, 0, 0}
#define VECTOR(name, kind, size, more) {name, kind, size, more, 0, 0}
#define WITHIN(name, lo, hi) {name, INTERVAL, NULL, 0, lo, hi}
static const Model models[] = {
  {"eight_schools_centered",
   {SCALAR("mu", REAL), SCALAR("tau", POSITIVE), VECTOR("theta", REAL, "J", 0)},
   {"y", "sigma"}, eight_schools_centered},
  {"eight_schools_noncentered", {SCALAR("mu", REAL), SCALAR("tau", POSITIVE), VECTOR("theta_trans", REAL, "J", 0)}, {"y", "sigma"},
   eight_schools_noncentered},
  {"radon_pooled",
   {SCALAR("alpha", REAL), SCALAR("beta", REAL), SCALAR("sigma_y", POSITIVE)},
   {"log_radon", "floor_measure"}, radon_pooled},
  {"radon_variable_intercept",
   {SCALAR("mu_alpha", REAL), SCALAR("sigma_alpha", POSITIVE), SCALAR("beta", REAL),
    SCALAR("sigma_y", POSITIVE), VECTOR("alpha", REAL, "J", 0)},
   {"log_radon", "floor_measure", "county_idx", "J"}, radon_variable_intercept},
  {"radon_variable_intercept_noncentered",
   {SCALAR("mu_alpha", REAL), SCALAR("sigma_alpha", POSITIVE), SCALAR("beta", REAL),
    SCALAR("sigma_y", POSITIVE), VECTOR("alpha_raw", REAL, "J", 0)},
   {"log_radon", "floor_measure", "county_idx", "J"}, radon_variable_intercept_noncentered},
  {"radon_variable_intercept_slope",
   {SCALAR("mu_alpha", REAL), SCALAR("mu_beta", REAL), SCALAR("sigma_alpha", POSITIVE),
    SCALAR("sigma_beta", POSITIVE), SCALAR("sigma_y", POSITIVE),
    VECTOR("alpha", REAL, "J", 0), VECTOR("beta", REAL, "J", 0)},
   {"log_radon", "floor_measure", "county_idx", "J"}, radon_variable_intercept_slope},
  {"kidscore_momhs", {VECTOR("beta", REAL, NULL, 2), SCALAR("sigma", POSITIVE)}, {"kid_score", "mom_hs"}, kidscore_momhs},
  {"kidscore_momhsiq", {VECTOR("beta", REAL, NULL, 3), SCALAR("sigma", POSITIVE)}, {"kid_score", "mom_hs", "mom_iq"}, kidscore_momhsiq},
  {"kidscore_interaction",
   {VECTOR("beta", REAL, NULL, 4), SCALAR("sigma", POSITIVE)},
   {"kid_score", "mom_hs", "mom_iq"}, kidscore_interaction},
  {"arK", {SCALAR("alpha", REAL), VECTOR("beta", REAL, "K", 0), SCALAR("sigma", POSITIVE)}, {"y", "K"}, arK},
  {"low_dim_gauss_mix",
   {WITHIN("theta", 0, 1), VECTOR("mu", ORDERED, NULL, 2), VECTOR("sigma", POSITIVE, NULL, 2)},
   {"y"}, low_dim_gauss_mix},
  {"normal_mixture", {WITHIN("theta", 0, 1), VECTOR("mu", REAL, NULL, 2)}, {"y"}, normal_mixture},
  {"GLM_Poisson",
   {WITHIN("alpha", -20, 20), WITHIN("beta1", -10, 10), WITHIN("beta2", -10, 10), WITHIN("beta3", -10, 10)},
   {"C", "year"}, GLM_Poisson},
  {"GLM_Binomial", {SCALAR("alpha", REAL), SCALAR("beta1", REAL), SCALAR("beta2", REAL)}, {"C", "N", "year"}, GLM_Binomial},
  {"GLMM_Poisson",
   {WITHIN("alpha", -20, 20), WITHIN("beta1", -10, 10), WITHIN("beta2", -10, 10), WITHIN("beta3", -10, 10), WITHIN("sigma", 0, 5),
    VECTOR("eps", REAL, "n", 0)},
   {"C", "year"}, GLMM_Poisson},
  {"hmm_gaussian",
   {VECTOR("pi1", SIMPLEX, "K", 0), VECTOR("A", SIMPLEXES, "K", 0), VECTOR("mu", ORDERED, "K", 0), VECTOR("sigma", POSITIVE, "K", 0),
    {"z", LABEL, "T", 0, 1, 3}},
   {"y", "K"}, hmm_gaussian},
  {"seeds",
   {SCALAR("alpha0", REAL), SCALAR("alpha1", REAL), SCALAR("alpha2", REAL),
    SCALAR("alpha12", REAL), SCALAR("tau", POSITIVE), VECTOR("b", REAL, "I", 0)},
   {"n", "N", "x1", "x2"}, seeds},
  {"mesquite", {VECTOR("beta", REAL, NULL, 7), SCALAR("sigma", POSITIVE)},
   {"weight", "diam1", "diam2", "canopy_height", "total_height", "density", "group"}, mesquite},
  {"logmesquite_logvolume", {VECTOR("beta", REAL, NULL, 2), SCALAR("sigma", POSITIVE)}, {"weight", "diam1", "diam2", "canopy_height"},
   logmesquite_logvolume},
  {"wells_dist100", {SCALAR("alpha", REAL), SCALAR("beta", REAL)}, {"switched", "dist"}, wells_dist100},
  {"wells_dae", {SCALAR("alpha", REAL), VECTOR("beta", REAL, NULL, 3)}, {"switched", "dist", "arsenic", "educ"}, wells_dae},
  {"dogs", {VECTOR("beta", REAL, NULL, 3)}, {"y", "n_trials"}, dogs},
  {"kilpisjarvi",
   {SCALAR("alpha", REAL), SCALAR("beta", REAL), SCALAR("sigma", POSITIVE)},
   {"y", "x", "pmualpha", "psalpha", "pmubeta", "psbeta"}, kilpisjarvi},
  {"M0", {WITHIN("omega", 0, 1), WITHIN("p", 0, 1)}, {"y", "T"}, M0},
  {"Rate_1", {WITHIN("theta", 0, 1)}, {"k", "n"}, Rate_1},
  {"pilots",
   {SCALAR("mu_a", REAL), SCALAR("mu_b", REAL), WITHIN("sigma_a", 0, 100), WITHIN("sigma_b", 0, 100), WITHIN("sigma_y", 0, 100),
    VECTOR("a", REAL, "n_groups", 0), VECTOR("b", REAL, "n_scenarios", 0)},
   {"y", "group_id", "scenario_id", "n_groups", "n_scenarios"}, pilots},
  {"science_irt",
   {SCALAR("lambda", REAL), VECTOR("alpha", POSITIVE, "I", 0), VECTOR("beta", REAL, "I", -1),
    VECTOR("kappa", REAL, NULL, 2), VECTOR("theta", REAL, "J", 0)},
   {"y", "I"}, science_irt},
  {"nes", {VECTOR("beta", REAL, NULL, 9), SCALAR("sigma", POSITIVE)},
   {"partyid7", "real_ideo", "race_adj", "educ1", "gender", "income", "age_discrete"}, nes},
  {"dugongs", {SCALAR("alpha", REAL), SCALAR("beta", REAL), WITHIN("lambda", 0.5, 1), SCALAR("tau", POSITIVE)}, {"Y", "x"}, dugongs},
  {"bones", {VECTOR("theta", REAL, "nChild", 0)}, {"grade", "ncat", "delta", "gamma"}, bones},
};

/* ---- transforms ---------------------------------------------------------------------------------------------------------------------- */

/* Stick breaking: x_k = z_k prod_{j<k} (1 - z_j), z_k = logit^-1(u_k - log(K - 1 - k)), k from 0 */
static void constrain_simplex(const Real *u, Real *x, long K)
{
  Real stick = 1;
  for (long k = 0; k + 1 < K; k++) {
    x[k] = stick / (1 + expl(-u[k] + logl(K - 1 - k)));
    stick -= x[k];
  }
  x[K - 1] = stick;
}

/* As unconstrain(), for one simplex: d x_j / d u_k = x_k (1 - z_k) for j = k, -x_j z_k for j > k; the log Jacobian is the sum of log stick_k z_k (1 - z_k). */
static Real unconstrain_simplex(const Real *x, const Real *g, Real *gu, long K)
{
  Real log_jacobian = 0, stick = 1;
  for (long k = 0; k + 1 < K; k++) {
    const Real z = x[k] / stick;
    gu[k] = g[k] * x[k] * (1 - z) + 1 - 2 * z - (K - 2 - k) * z;
    for (long j = k + 1; j < K; j++) gu[k] -= g[j] * x[j] * z;
    log_jacobian += logl(stick) + logl(z) + log1pl(-z);
    stick -= x[k];
  }
  return log_jacobian;
}

/* x of n unconstrained coordinates u */
static void constrain(const Parameter *p, const Real *u, Real *x, long n)
{
  const long K = p->kind == SIMPLEXES ? lroundl(sqrtl(n)) : n;
  for (long i = 0; i < n && (p->kind == SIMPLEX || p->kind == SIMPLEXES); i += K) constrain_simplex(u + i, x + i, K);
  if (p->kind == SIMPLEX || p->kind == SIMPLEXES) return;
  for (long i = 0; i < n; i++) {
    if (p->kind == LABEL) x[i] = floorl(p->lo + (p->hi - p->lo + 1) * (u[i] + 1) / 2.000001L);
    else if (p->kind == REAL) x[i] = u[i];
    else if (p->kind == POSITIVE) x[i] = expl(u[i]);
    else if (p->kind == INTERVAL) x[i] = p->lo + (p->hi - p->lo) / (1 + expl(-u[i]));
    else x[i] = i ? x[i - 1] + expl(u[i]) : u[i];
  }
}

/* Unconstrained coordinates of n entries; those of simplexes lie together. */
static long coordinates(const Parameter *p, long n)
{
  return p->kind == LABEL ? 0 : p->kind == SIMPLEX ? n - 1 : p->kind == SIMPLEXES ? n - lroundl(sqrtl(n)) : n;
}

/* log |dx / du|; and the gradient g in x becomes that of f(x(u)) + log |dx / du| in u */
static Real unconstrain(const Parameter *p, const Real *x, const Real *g, Real *gu, long n)
{
  Real log_jacobian = 0, later = 0;
  const long K = p->kind == SIMPLEXES ? lroundl(sqrtl(n)) : n;
  for (long i = 0; i < n && (p->kind == SIMPLEX || p->kind == SIMPLEXES); i += K)
    log_jacobian += unconstrain_simplex(x + i, g + i, gu + i / K * (K - 1), K);
  if (p->kind == SIMPLEX || p->kind == SIMPLEXES) return log_jacobian;
  for (long i = n - 1; i >= 0; i--) {
    const Real lo = p->lo, hi = p->hi;
    later += g[i];
    if (p->kind == REAL || (p->kind == ORDERED && i == 0)) {
      gu[i] = p->kind == REAL ? g[i] : later;
    } else if (p->kind == INTERVAL) {
      gu[i] = g[i] * (x[i] - lo) * (hi - x[i]) / (hi - lo) + (hi + lo - 2 * x[i]) / (hi - lo);
      log_jacobian += logl((x[i] - lo) * (hi - x[i]) / (hi - lo));
    } else {
      const Real derivative = p->kind == POSITIVE ? x[i] : x[i] - x[i - 1];
      gu[i] = (p->kind == POSITIVE ? g[i] : later) * derivative + 1;
      log_jacobian += logl(derivative);
    }
  }
  return log_jacobian;
}

/* ---- JSON ---------------------------------------------------------------------------------------------------------------------------- */

/* What lives until the process ends: reachable until then, which is all that a leak checker asks. */
static void *kept[256];
static void *keep(void *p)
{
  static size_t n;
  if (n == sizeof kept / sizeof *kept) exit(3);
  return kept[n++] = p;
}

static json_t *load(const char *file)
{
  json_error_t error;
  json_t *v = json_load_file(file, 0, &error);
  if (v) return keep(v);
  fprintf(stderr, "posteriordb: %s:%d: %s\n", file, error.line, error.text);
  exit(3);
}

/* The numbers of an array in order, nested ones too; a null or a string is NaN. */
static void flatten(const json_t *v, Column *c)
{
  size_t i;
  const json_t *member;
  if (json_is_array(v)) {
    json_array_foreach(v, i, member) flatten(member, c);
    return;
  }
  c->v = realloc(c->v, sizeof *c->v * (size_t)(c->n + 1));
  if (!c->v) exit(3);
  c->v[c->n++] = json_is_number(v) ? json_number_value(v) : NAN;
}

static Column column(const json_t *file, const char *name)
{
  Column c = {0};
  const json_t *v = json_object_get(file, name);
  if (!v) {
    fprintf(stderr, "posteriordb: no %s\n", name);
    exit(3);
  }
  flatten(v, &c);
  keep(c.v);
  return c;
}

/* ---- commands ------------------------------------------------------------------------------------------------------------------------ */

/* entries of a parameter; *scalar: it stands without brackets in JSON */
static long entries(const Parameter *p, const json_t *data, bool *scalar)
{
  const long n = (p->size ? (long)column(data, p->size).v[0] : 0) + p->more;
  *scalar = !p->size && !p->more;
  return *scalar ? 1 : p->kind == SIMPLEXES ? n * n : n;
}

static void point(const Model *m, const json_t *data, unsigned seed)
{
  srand(seed);
  for (const Parameter *p = m->parameter; p->name; p++) {
    bool scalar;
    const long n = entries(p, data, &scalar);
    Real u[n], x[n];
    const double width = p->kind == INTERVAL ? fmin(1, 4 / (p->hi - p->lo)) : 1;
    for (long i = 0; i < n; i++) u[i] = width * (2 * (Real)rand() / RAND_MAX - 1);
    constrain(p, u, x, n);
    printf("%s\"%s\": %s", p == m->parameter ? "{" : ", ", p->name, scalar ? "" : "[");
    const long row = p->kind == SIMPLEXES ? lroundl(sqrtl(n)) : 0;
    for (long i = 0; i < n; i++)
      printf("%s%s%.17Lg%s", i ? ", " : "", row && i % row == 0 ? "[" : "", x[i], row && i % row == row - 1 ? "]" : "");
    fputs(scalar ? "" : "]", stdout);
  }
  puts("}");
}

static Real relative(Real a, Real wanted)
{
  const Real error = fabsl(a - wanted) / (1 + fabsl(wanted));
  return isnan(error) ? INFINITY : error;
}

/* f'(*x), f the log joint */
static Real difference(const Model *m, const Column *d, Real *const *p, Real *x)
{
  const Real keep = *x, h = ldexpl(1 + fabsl(keep), -13);
  Real f[5];
  for (int i = -2; i <= 2; i++) {
    *x = keep + i * h;
    f[i + 2] = i ? m->log_joint(d, p) : 0;
  }
  *x = keep;
  return (8 * (f[3] - f[1]) - (f[4] - f[0])) / (12 * h);
}

static int compare(const Model *m, const json_t *data, const json_t *at, const json_t *grad, double limit)
{
  Column d[MOST] = {0};
  Real *p[MOST] = {0};
  long n[MOST] = {0};
  for (int i = 0; m->column[i]; i++) d[i] = column(data, m->column[i]);
  for (int k = 0; m->parameter[k].name; k++) {
    bool scalar;
    const Column x = column(at, m->parameter[k].name);
    n[k] = entries(&m->parameter[k], data, &scalar);
    p[k] = keep(calloc((size_t)n[k], sizeof **p));
    if (!p[k] || x.n != n[k]) exit(3);
    for (long i = 0; i < n[k]; i++) p[k][i] = x.v[i];
  }
  const Real log_joint = m->log_joint(d, p);
  const Column free_gradient = column(grad, "gradient_unconstrained");
  Real worst_gradient = 0, worst_free = 0, log_jacobian = 0;
  long at_u = 0;
  for (int k = 0; m->parameter[k].name; k++) {
    if (m->parameter[k].kind == LABEL) continue;
    const Column theirs = column(json_object_get(grad, "gradient"), m->parameter[k].name);
    const long free_n = coordinates(&m->parameter[k], n[k]);
    if (theirs.n != n[k] || free_gradient.n < at_u + free_n) exit(3);
    Real g[n[k]], gu[n[k]];
    for (long i = 0; i < n[k]; i++) g[i] = difference(m, d, p, &p[k][i]);
    log_jacobian += unconstrain(&m->parameter[k], p[k], g, gu, n[k]);
    for (long i = 0; i < n[k]; i++) worst_gradient = fmaxl(worst_gradient, relative(theirs.v[i], g[i]));
    for (long i = 0; i < free_n; i++) worst_free = fmaxl(worst_free, relative(free_gradient.v[at_u + i], gu[i]));
    at_u += free_n;
  }
  const Real error[4] = {relative(column(grad, "log_joint").v[0], log_joint),
                         relative(column(grad, "log_joint_unconstrained").v[0], log_joint + log_jacobian), worst_gradient, worst_free};
  bool bad = at_u != free_gradient.n;
  for (int i = 0; i < 4; i++) bad |= !(error[i] <= limit);
  printf("log joint %.17Lg, off by %.1Le; with Jacobian by %.1Le; gradient by %.1Le, unconstrained %.1Le\n", log_joint, error[0], error[1],
         error[2], error[3]);
  return bad;
}

static int densities(void)
{
  int bad = 0;
#define SAME(ours, pdf) if (!(relative(ours, logl(pdf)) < 1e-12L)) printf("%s differs from log(%s)\n", #ours, #pdf), bad = 1
  for (double x = 0.1; x < 1; x += 0.2) {
    SAME(normal(x, 1.5L, 0.7L), gsl_ran_gaussian_pdf(x - 1.5, 0.7));
    SAME(lognormal(x, 1.5L, 0.7L), gsl_ran_lognormal_pdf(x, 1.5, 0.7));
    SAME(cauchy(x, 1.5L, 0.7L), gsl_ran_cauchy_pdf(x - 1.5, 0.7));
    SAME(student_t(x, 3, 1.5L, 0.5L), gsl_ran_tdist_pdf((x - 1.5) / 0.5, 3) / 0.5);
    SAME(gamma_(x, 1.5L, 0.25L), gsl_ran_gamma_pdf(x, 1.5, 4));
    SAME(beta_(x, 1.5L, 0.7L), gsl_ran_beta_pdf(x, 1.5, 0.7));
    SAME(uniform(x, -0.5L, 1.25L), gsl_ran_flat_pdf(x, -0.5, 1.25));
    for (unsigned y = 0; y < 5; y++) {
      SAME(poisson_log(y, x), gsl_ran_poisson_pdf(y, exp(x)));
      SAME(binomial(y, 5, x), gsl_ran_binomial_pdf(y, x, 5));
      SAME(binomial_logit(y, 5, x), gsl_ran_binomial_pdf(y, 1 / (1 + exp(-x)), 5));
    }
    for (unsigned y = 0; y < 2; y++) SAME(bernoulli_logit(y, x), gsl_ran_bernoulli_pdf(y, 1 / (1 + exp(-x))));
  }
  return bad;
}

int main(int argc, char **argv)
{
  const Model *m = NULL;
  for (size_t i = 0; argc > 2 && i < sizeof models / sizeof *models; i++)
    if (!strcmp(models[i].name, argv[2])) m = &models[i];
  if (argc == 2 && !strcmp(argv[1], "densities")) return densities();
  if (m && argc == 5 && !strcmp(argv[1], "point")) return point(m, load(argv[3]), (unsigned)atoi(argv[4])), 0;
  if (m && argc == 7 && !strcmp(argv[1], "compare")) return compare(m, load(argv[3]), load(argv[4]), load(argv[5]), atof(argv[6]));
  fputs(argc > 2 && !m ? "posteriordb: no such model\n" : "usage: posteriordb point|compare|densities ...\n", stderr);
  return 2;
}
