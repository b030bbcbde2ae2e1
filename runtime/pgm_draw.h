/* pgm_draw.h - random draws from the distributions of the language, for simulation and prediction. Included by pgmrt.h.
 *
 * pgm_draw_NAME(rng, arguments) draws from NAME in Stan's parameterisation, arguments in the order of compiler/dist.def. Discrete draws are
 * whole numbers in a double, at most INT_MAX. Vectors and matrices: their size K stands after rng, matrices are K x K row-major, results go
 * to the last argument.
 *
 * pgm_draw_NAME_between(rng, lo, hi, arguments) draws from NAME restricted to lo <= x <= hi (-HUGE_VAL, HUGE_VAL: open): what
 * `real<lower=0> ~ normal(0, 5)` and `T[lo, hi]` mean.
 *
 * An argument outside its domain (sigma <= 0, NaN, probabilities that do not add up to 1, lo > hi), a restriction to a range that the
 * distribution does not reach in floating point, or a count above INT_MAX gives NaN, the vector ones fill their result with NaN and return
 * false. Continuous draws on an open support stay inside it: what would round to its end becomes the nearest number inside. */
#ifndef PGM_DRAW_H
#define PGM_DRAW_H

#include <stdbool.h>

typedef struct PgmRng PgmRng;

/* A generator: equal seeds give equal streams. NULL: out of memory. One per thread. */
PgmRng *pgm_rng_new(unsigned long seed);
void pgm_rng_free(PgmRng *rng);
double pgm_rng_uniform(PgmRng *rng);   /* in (0, 1) */
double pgm_rng_normal(PgmRng *rng);    /* standard normal */

#define PGM_DRAW_0(name) double pgm_draw_##name(PgmRng *rng); double pgm_draw_##name##_between(PgmRng *rng, double lo, double hi);
#define PGM_DRAW_1(name, a)                                                                                                                \
  double pgm_draw_##name(PgmRng *rng, double a);                                                                                           \
  double pgm_draw_##name##_between(PgmRng *rng, double lo, double hi, double a);
#define PGM_DRAW_2(name, a, b)                                                                                                             \
  double pgm_draw_##name(PgmRng *rng, double a, double b);                                                                                 \
  double pgm_draw_##name##_between(PgmRng *rng, double lo, double hi, double a, double b);
#define PGM_DRAW_3(name, a, b, c)                                                                                                          \
  double pgm_draw_##name(PgmRng *rng, double a, double b, double c);                                                                       \
  double pgm_draw_##name##_between(PgmRng *rng, double lo, double hi, double a, double b, double c);

/* The univariate distributions, written once for the declarations here and the definitions in pgm_draw.c. */
#define PGM_DRAWS(D0, D1, D2, D3)                                                                                                          \
  D2(normal, mu, sigma)                                                                                                                    \
  D0(std_normal)                                                                                                                           \
  D3(student_t, nu, mu, sigma)                                                                                                             \
  D2(cauchy, mu, sigma)                                                                                                                    \
  D2(double_exponential, mu, sigma)                                                                                                        \
  D2(logistic, mu, sigma)                                                                                                                  \
  D2(gumbel, mu, beta)                                                                                                                     \
  D3(skew_normal, xi, omega, alpha)                                                                                                        \
  D2(lognormal, mu, sigma)                                                                                                                 \
  D2(gamma, alpha, beta)                                                                                                                   \
  D2(inv_gamma, alpha, beta)                                                                                                               \
  D1(chi_square, nu)                                                                                                                       \
  D1(inv_chi_square, nu)                                                                                                                   \
  D1(exponential, beta)                                                                                                                    \
  D2(weibull, alpha, sigma)                                                                                                                \
  D2(pareto, y_min, alpha)                                                                                                                 \
  D2(beta, alpha, beta)                                                                                                                    \
  D2(uniform, alpha, beta)                                                                                                                 \
  D2(von_mises, mu, kappa)                                                                                                                 \
  D1(bernoulli, theta)                                                                                                                     \
  D1(bernoulli_logit, alpha)                                                                                                               \
  D2(binomial, N, theta)                                                                                                                   \
  D2(binomial_logit, N, alpha)                                                                                                             \
  D1(poisson, lambda)                                                                                                                      \
  D1(poisson_log, alpha)                                                                                                                   \
  D2(neg_binomial_2, mu, phi)                                                                                                              \
  D2(neg_binomial_2_log, eta, phi)                                                                                                         \
  D1(geometric, theta)                                                                                                                     \
  D3(beta_binomial, N, alpha, beta)
PGM_DRAWS(PGM_DRAW_0, PGM_DRAW_1, PGM_DRAW_2, PGM_DRAW_3)

/* Without bounds there is nothing to draw from: NaN. Between finite bounds: uniform. */
double pgm_draw_flat(PgmRng *rng);
double pgm_draw_flat_between(PgmRng *rng, double lo, double hi);

/* 1..K */
double pgm_draw_categorical(PgmRng *rng, long K, const double *theta);
double pgm_draw_categorical_logit(PgmRng *rng, long K, const double *beta);
/* 1..n_cuts + 1 */
double pgm_draw_ordered_logistic(PgmRng *rng, long n_cuts, double eta, const double *c);

void pgm_draw_sort(long n, double *x); /* into ascending order, for ordered vectors */
bool pgm_draw_multi_normal(PgmRng *rng, long K, const double *mu, const double *Sigma, double *out);
bool pgm_draw_multi_normal_cholesky(PgmRng *rng, long K, const double *mu, const double *L, double *out);
bool pgm_draw_multi_student_t(PgmRng *rng, long K, double nu, const double *mu, const double *Sigma, double *out);
bool pgm_draw_dirichlet(PgmRng *rng, long K, const double *alpha, double *out);
bool pgm_draw_lkj_corr_cholesky(PgmRng *rng, long K, double eta, double *out);                  /* out: lower triangular */
bool pgm_draw_wishart(PgmRng *rng, long K, double nu, const double *S, double *out);            /* nu > K - 1 */
bool pgm_draw_multinomial(PgmRng *rng, long K, const double *theta, double total, double *out); /* entries add up to `total` */

#endif
