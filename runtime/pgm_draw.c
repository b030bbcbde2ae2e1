/* Random draws; the interface and its conventions are in pgm_draw.h.
 *
 * The generator is xoshiro256++ (Blackman & Vigna 2021, "Scrambled linear pseudorandom number generators", ACM TOMS 47), seeded by splitmix64,
 * behind GSL's generator interface: 53-bit uniforms and seeds of 64 bits, which GSL's own Mersenne twister lacks. Methods are GSL's where it has the
 * distribution; else: von Mises: Best & Fisher (1979), Applied Statistics 28; skew normal: Azzalini (1985); negative binomial as a Poisson of
 * a gamma; LKJ: the vine of Lewandowski, Kurowicka & Joe (2009), as in Stan; Wishart: Bartlett's decomposition.
 *
 * A restricted draw is made by rejection while that is cheap; then by inversion of the logarithm of the nearer tail (exact far out in the
 * tails), by enumeration for counts, and by rejection from a fitting envelope for the two distributions without a distribution function. */
#include "pgmrt.h"

#include <float.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>

/* ---- the generator ------------------------------------------------------------------------------------------------------------------ */

struct PgmRng {
  gsl_rng gsl;
  uint64_t state[4];
};

static uint64_t rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static uint64_t next(uint64_t *s)
{
  uint64_t result = rotate(s[0] + s[3], 23) + s[0], t = s[1] << 17;
  s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return result;
}

static void generator_set(void *state, unsigned long seed)
{
  uint64_t *s = state, x = seed;
  for (int i = 0; i < 4; i++) {                                             /* splitmix64 */
    uint64_t z = x += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    s[i] = z ^ (z >> 31);
  }
}

static unsigned long generator_get(void *state) { return (unsigned long)(next(state) >> 32); }
static double generator_get_double(void *state) { return (double)(next(state) >> 11) * 0x1p-53; }
static const gsl_rng_type generator_type = {"xoshiro256++", 0xffffffffu, 0, 4 * sizeof(uint64_t), generator_set, generator_get, generator_get_double};

PgmRng *pgm_rng_new(unsigned long seed)
{
  PgmRng *rng = malloc(sizeof *rng);
  if (!rng) return NULL;
  rng->gsl = (gsl_rng){.type = &generator_type, .state = rng->state};
  generator_set(rng->state, seed);
  return rng;
}

void pgm_rng_free(PgmRng *rng) { free(rng); }
double pgm_rng_uniform(PgmRng *rng) { return gsl_rng_uniform_pos(&rng->gsl); }
double pgm_rng_normal(PgmRng *rng) { return gsl_ran_ugaussian(&rng->gsl); }

/* ---- one univariate distribution ---------------------------------------------------------------------------------------------------------- */

typedef double (*Draw)(PgmRng *rng, const double *a);
typedef double (*LogTail)(double x, const double *a, bool upper);           /* log P(X <= x), or log P(X > x) if `upper` */
typedef double (*LogPmf)(double k, const double *a);
typedef double (*Restricted)(PgmRng *rng, double lo, double hi, const double *a);

typedef struct {
  const char *constraints;             /* a letter per argument, as in dist.def */
  Draw draw;
  double lo, hi;                       /* support; further bounds that depend on arguments follow from the tails */
  LogTail log_tail;                    /* continuous ones, or... */
  Restricted restricted;               /* ...the method of their own */
  LogPmf log_pmf;                      /* discrete ones; -inf (or NaN) outside the support */
} Distribution;

static bool argument_valid(char constraint, double v)
{
  switch (constraint) {
  case 'p': return v > 0 && v < HUGE_VAL;
  case 'u': return v >= 0 && v <= 1;
  case 'c': return v >= 0 && v <= INT_MAX && v == floor(v);
  default: return isfinite(v);
  }
}

static bool valid(const Distribution *f, const double *a)
{
  for (int i = 0; f->constraints[i]; i++)
    if (!argument_valid(f->constraints[i], a[i])) return false;
  return true;
}

/* Into the open support, where a draw rounded to its end. */
static double positive(double x) { return x < DBL_MIN ? DBL_MIN : x > DBL_MAX ? DBL_MAX : x; }
static double inside_unit(double x) { return x < DBL_MIN ? DBL_MIN : x > 1 - DBL_EPSILON / 2 ? 1 - DBL_EPSILON / 2 : x; }
static double count(double k) { return k <= INT_MAX ? k : NAN; }

/* ---- continuous distributions ------------------------------------------------------------------------------------------------------------------ */

#define STANDARDISED(x, a, upper) ((upper) ? ((a)[0] - (x)) / (a)[1] : ((x) - (a)[0]) / (a)[1])

static double draw_normal(PgmRng *r, const double *a) { return a[0] + gsl_ran_gaussian(&r->gsl, a[1]); }
static double tail_normal(double x, const double *a, bool upper) { return pgm_std_normal_lcdf(STANDARDISED(x, a, upper)); }

static double draw_std_normal(PgmRng *r, const double *a) { (void)a; return pgm_rng_normal(r); }
static double tail_std_normal(double x, const double *a, bool upper) { (void)a; return pgm_std_normal_lcdf(upper ? -x : x); }

static double draw_student_t(PgmRng *r, const double *a) { return a[1] + a[2] * gsl_ran_tdist(&r->gsl, a[0]); }
static double tail_student_t(double x, const double *a, bool upper)
{
  double z = STANDARDISED(x, a + 1, upper);
  double outer = 0.5 * pgm_beta_i(0.5 * a[0], 0.5, a[0] / (a[0] + z * z), NULL);
  return z < 0 ? log(outer) : log1p(-outer);
}

static double draw_cauchy(PgmRng *r, const double *a) { return a[0] + gsl_ran_cauchy(&r->gsl, a[1]); }
static double tail_cauchy(double x, const double *a, bool upper) { return log(atan2(1, -STANDARDISED(x, a, upper)) / PGM_PI); }

static double draw_double_exponential(PgmRng *r, const double *a) { return a[0] + gsl_ran_laplace(&r->gsl, a[1]); }
static double tail_double_exponential(double x, const double *a, bool upper)
{
  double z = STANDARDISED(x, a, upper);
  return z < 0 ? z - PGM_LN2 : log1p(-0.5 * exp(-z));
}

static double draw_logistic(PgmRng *r, const double *a) { return a[0] + a[1] * pgm_logit(pgm_rng_uniform(r)); }
static double tail_logistic(double x, const double *a, bool upper) { return pgm_log_inv_logit(STANDARDISED(x, a, upper)); }

static double draw_gumbel(PgmRng *r, const double *a) { return a[0] - a[1] * log(-log(pgm_rng_uniform(r))); }
static double tail_gumbel(double x, const double *a, bool upper)
{
  double lower = -exp(-(x - a[0]) / a[1]);
  return upper ? pgm_log1m_exp(lower) : lower;
}

/* xi + omega (delta |u| + sqrt(1 - delta^2) v), delta = alpha / sqrt(1 + alpha^2) */
static double draw_skew_normal(PgmRng *r, const double *a)
{
  double u = fabs(pgm_rng_normal(r)), v = pgm_rng_normal(r), s = hypot(1, a[2]);
  return a[0] + a[1] * (a[2] / s * u + v / s);
}

static double draw_lognormal(PgmRng *r, const double *a) { return positive(exp(draw_normal(r, a))); }
static double tail_lognormal(double x, const double *a, bool upper) { return x > 0 ? tail_normal(log(x), a, upper) : upper ? 0 : -HUGE_VAL; }

static double draw_gamma(PgmRng *r, const double *a) { return positive(gsl_ran_gamma(&r->gsl, a[0], 1) / a[1]); }
static double tail_gamma(double x, const double *a, bool upper)
{
  double y = a[1] * (x > 0 ? x : 0);
  return log(upper ? pgm_gamma_q(a[0], y) : pgm_gamma_p(a[0], y));
}

static double draw_inv_gamma(PgmRng *r, const double *a) { return positive(a[1] / gsl_ran_gamma(&r->gsl, a[0], 1)); }
static double tail_inv_gamma(double x, const double *a, bool upper)
{
  double y = x > 0 ? a[1] / x : HUGE_VAL;
  return log(upper ? pgm_gamma_p(a[0], y) : pgm_gamma_q(a[0], y));
}

static double draw_chi_square(PgmRng *r, const double *a) { return draw_gamma(r, (double[]){0.5 * a[0], 0.5}); }
static double tail_chi_square(double x, const double *a, bool upper) { return tail_gamma(x, (double[]){0.5 * a[0], 0.5}, upper); }
static double draw_inv_chi_square(PgmRng *r, const double *a) { return draw_inv_gamma(r, (double[]){0.5 * a[0], 0.5}); }
static double tail_inv_chi_square(double x, const double *a, bool upper) { return tail_inv_gamma(x, (double[]){0.5 * a[0], 0.5}, upper); }

static double draw_exponential(PgmRng *r, const double *a) { return -log(pgm_rng_uniform(r)) / a[0]; }
static double tail_exponential(double x, const double *a, bool upper)
{
  double t = -a[0] * (x > 0 ? x : 0);
  return upper ? t : pgm_log1m_exp(t);
}

static double draw_weibull(PgmRng *r, const double *a) { return positive(a[1] * pow(-log(pgm_rng_uniform(r)), 1 / a[0])); }
static double tail_weibull(double x, const double *a, bool upper)
{
  double t = -pow((x > 0 ? x : 0) / a[1], a[0]);
  return upper ? t : pgm_log1m_exp(t);
}

static double draw_pareto(PgmRng *r, const double *a) { return positive(a[0] * pow(pgm_rng_uniform(r), -1 / a[1])); }
static double tail_pareto(double x, const double *a, bool upper)
{
  double t = x > a[0] ? a[1] * log(a[0] / x) : 0;
  return upper ? t : pgm_log1m_exp(t);
}

static double draw_beta(PgmRng *r, const double *a) { return inside_unit(gsl_ran_beta(&r->gsl, a[0], a[1])); }
static double tail_beta(double x, const double *a, bool upper)
{
  double above, below = pgm_beta_i(a[0], a[1], x < 0 ? 0 : x > 1 ? 1 : x, &above);
  return log(upper ? above : below);
}

static double draw_uniform(PgmRng *r, const double *a) { return a[0] < a[1] ? a[0] + (a[1] - a[0]) * pgm_rng_uniform(r) : NAN; }
static double tail_uniform(double x, const double *a, bool upper)
{
  double u = (upper ? a[1] - x : x - a[0]) / (a[1] - a[0]);
  return log(u < 0 ? 0 : u > 1 ? 1 : u);
}

/* In [m - pi, m + pi], m = mu mod 2 pi, as Stan's. */
static double draw_von_mises(PgmRng *r, const double *a)
{
  double m = fmod(a[0], 2 * PGM_PI), kappa = a[1];
  m = m < 0 ? m + 2 * PGM_PI : m;
  double tau = 1 + sqrt(1 + 4 * kappa * kappa), rho = (tau - sqrt(2 * tau)) / (2 * kappa), s = (1 + rho * rho) / (2 * rho);
  if (kappa < 1e-5) s = 1 / kappa + kappa;                                  /* rho cancels there; its series */
  if (kappa > 1e7) return m + pgm_rng_normal(r) / sqrt(kappa);              /* normal to 1 / kappa */
  for (;;) {
    double z = cos(PGM_PI * pgm_rng_uniform(r)), f = (1 + s * z) / (s + z), c = kappa * (s - f), u = pgm_rng_uniform(r);
    if (c * (2 - c) > u || log(c / u) + 1 >= c) {
      double angle = acos(f > 1 ? 1 : f < -1 ? -1 : f);
      return pgm_rng_uniform(r) < 0.5 ? m + angle : m - angle;
    }
  }
}

/* ---- counts -------------------------------------------------------------------------------------------------------------------------------------- */

static double draw_bernoulli(PgmRng *r, const double *a) { return pgm_rng_uniform(r) < a[0]; }
static double draw_bernoulli_logit(PgmRng *r, const double *a) { return pgm_rng_uniform(r) < pgm_inv_logit(a[0]); }

static double draw_binomial(PgmRng *r, const double *a)
{
  return a[1] == 0 ? 0 : a[1] == 1 ? a[0] : (double)gsl_ran_binomial(&r->gsl, a[1], (unsigned)a[0]);
}
static double pmf_binomial(double k, const double *a)
{
  return k > a[0] ? -HUGE_VAL : pgm_lchoose(a[0], k) + pgm_xlogy(k, a[1]) + pgm_xlog1my(a[0] - k, a[1]);
}
static double pmf_bernoulli(double k, const double *a) { return pmf_binomial(k, (double[]){1, a[0]}); }

static double draw_binomial_logit(PgmRng *r, const double *a) { return draw_binomial(r, (double[]){a[0], pgm_inv_logit(a[1])}); }
static double pmf_binomial_logit(double k, const double *a)
{
  return k > a[0] ? -HUGE_VAL : pgm_lchoose(a[0], k) + k * a[1] - a[0] * pgm_softplus(a[1]);
}
static double pmf_bernoulli_logit(double k, const double *a) { return pmf_binomial_logit(k, (double[]){1, a[0]}); }

/* Counts are `int`: like Stan, no Poisson of a rate above 2^30. */
static double draw_poisson(PgmRng *r, const double *a) { return a[0] <= 0x1p30 ? count(gsl_ran_poisson(&r->gsl, a[0])) : NAN; }
static double pmf_poisson_log(double k, const double *a) { return k * a[0] - exp(a[0]) - pgm_lgamma(k + 1); }
static double pmf_poisson(double k, const double *a) { return a[0] > 0 ? pmf_poisson_log(k, (double[]){log(a[0])}) : k > 0 ? -INFINITY : 0; }
static double draw_poisson_log(PgmRng *r, const double *a) { return draw_poisson(r, (double[]){exp(a[0])}); }

static double draw_neg_binomial_2(PgmRng *r, const double *a)
{
  double lambda = gsl_ran_gamma(&r->gsl, a[1], a[0] / a[1]);
  return draw_poisson(r, &lambda);
}
static double pmf_neg_binomial_2_log(double k, const double *a)
{
  double eta = a[0] - log(a[1]);
  return k * eta - (k + a[1]) * pgm_softplus(eta) - pgm_lbeta(a[1], k + 1) - log(k + a[1]);
}
static double pmf_neg_binomial_2(double k, const double *a) { return pmf_neg_binomial_2_log(k, (double[]){log(a[0]), a[1]}); }
static double draw_neg_binomial_2_log(PgmRng *r, const double *a) { return draw_neg_binomial_2(r, (double[]){exp(a[0]), a[1]}); }

static double draw_geometric(PgmRng *r, const double *a) { return a[0] == 1 ? 0 : count(floor(log(pgm_rng_uniform(r)) / log1p(-a[0]))); }
static double pmf_geometric(double k, const double *a) { return log(a[0]) + pgm_xlog1my(k, a[0]); }

static double draw_beta_binomial(PgmRng *r, const double *a) { return draw_binomial(r, (double[]){a[0], gsl_ran_beta(&r->gsl, a[1], a[2])}); }
static double pmf_beta_binomial(double k, const double *a)
{
  return k > a[0] ? -HUGE_VAL : pgm_lchoose(a[0], k) + pgm_lbeta(k + a[1], a[0] - k + a[2]) - pgm_lbeta(a[1], a[2]);
}

/* ---- restriction to a range -------------------------------------------------------------------------------------------------------------------- */

#define PLAIN_TRIES 100
#define ENVELOPE_TRIES 1000000
#define MAX_TERMS 10000000

/* x in [lo, hi] whose log tail is `target`; the tail rises with x (falls if `upper`). Bisection, down to neighbouring doubles. */
static double invert(const Distribution *f, const double *a, double lo, double hi, bool upper, double target)
{
  double step = 1;
  if (lo == -HUGE_VAL) {
    for (lo = hi < 0 ? 2 * hi : -1; lo > -DBL_MAX / 4; lo -= step *= 2)
      if (upper ? f->log_tail(lo, a, true) >= target : f->log_tail(lo, a, false) <= target) break;
  }
  step = 1;
  if (hi == HUGE_VAL) {
    for (hi = lo > 0 ? 2 * lo : 1; hi < DBL_MAX / 4; hi += step *= 2)
      if (upper ? f->log_tail(hi, a, true) <= target : f->log_tail(hi, a, false) >= target) break;
  }
  for (int i = 0; i < 2200; i++) {
    double mid = lo + 0.5 * (hi - lo);
    if (mid <= lo || mid >= hi) break;
    double t = f->log_tail(mid, a, upper);
    if (upper ? t > target : t < target) lo = mid;
    else hi = mid;
  }
  return lo + 0.5 * (hi - lo);
}

/* log of a tail probability between exp(small) and exp(large), uniform in probability; NaN if that range is empty in floating point */
static double tail_between(PgmRng *r, double small, double large)
{
  double ratio = exp(small - large), u = pgm_rng_uniform(r);
  return large > -HUGE_VAL && ratio < 1 ? large + log(u + (1 - u) * ratio) : NAN;
}

/* By inversion: from the lower tail where lo is below the median, else from the upper one. */
static double restricted_by_tail(PgmRng *r, const Distribution *f, double lo, double hi, const double *a)
{
  bool upper = lo > -HUGE_VAL && f->log_tail(lo, a, false) > f->log_tail(lo, a, true);
  double at_lo = lo == -HUGE_VAL ? (upper ? 0 : -HUGE_VAL) : f->log_tail(lo, a, upper);
  double at_hi = hi == HUGE_VAL ? (upper ? -HUGE_VAL : 0) : f->log_tail(hi, a, upper);
  double target = upper ? tail_between(r, at_hi, at_lo) : tail_between(r, at_lo, at_hi);
  if (isnan(target)) return NAN;
  double x = invert(f, a, lo, hi, upper, target);
  return x < lo ? lo : x > hi ? hi : x;
}

/* Counts: one pass over the range keeps k with probability p(k) / (p(lo) + ... + p(k)). An open range ends where nothing is left to gain. */
static double restricted_count(PgmRng *r, const Distribution *f, double lo, double hi, const double *a)
{
  double chosen = NAN, total = -HUGE_VAL, previous = -HUGE_VAL;
  hi = hi < INT_MAX ? hi : INT_MAX;
  for (double k = ceil(lo); k <= hi && k < ceil(lo) + MAX_TERMS; k++) {
    double p = f->log_pmf(k, a);
    if (p == -HUGE_VAL && total > p) break;                                 /* the support has ended */
    if (p > -HUGE_VAL) {
      total = pgm_log_sum_exp2(total, p);
      if (log(pgm_rng_uniform(r)) <= p - total) chosen = k;
    }
    if (p < previous && p < total - 45 && hi == INT_MAX) break;
    previous = p;
  }
  return chosen;
}

static double restricted_draw(PgmRng *r, const Distribution *f, double lo, double hi, const double *a)
{
  if (!valid(f, a) || !(lo <= hi)) return NAN;
  if (f->restricted) return f->restricted(r, lo, hi, a);
  for (int i = 0; i < PLAIN_TRIES; i++) {
    double x = f->draw(r, a);
    if (isnan(x)) return NAN;
    if (x >= lo && x <= hi) return x;
  }
  lo = lo > f->lo ? lo : f->lo;
  hi = hi < f->hi ? hi : f->hi;
  if (!(lo <= hi)) return NAN;
  return f->log_pmf ? restricted_count(r, f, lo, hi, a) : restricted_by_tail(r, f, lo, hi, a);
}

static double plain_draw(PgmRng *r, const Distribution *f, const double *a) { return valid(f, a) ? f->draw(r, a) : NAN; }

/* A normal restricted to the range, accepted with probability Phi(alpha z) over its maximum there. */
static double restricted_skew_normal(PgmRng *r, double lo, double hi, const double *a)
{
  for (int i = 0; i < PLAIN_TRIES; i++) {
    double x = draw_skew_normal(r, a);
    if (x >= lo && x <= hi) return x;
  }
  double top = pgm_std_normal_lcdf(a[2] == 0 ? 0 : a[2] * ((a[2] > 0 ? hi : lo) - a[0]) / a[1]);
  for (int i = 0; i < ENVELOPE_TRIES; i++) {
    double x = pgm_draw_normal_between(r, lo, hi, a[0], a[1]);
    if (isnan(x) || log(pgm_rng_uniform(r)) <= pgm_std_normal_lcdf(a[2] * (x - a[0]) / a[1]) - top) return x;
  }
  return NAN;
}

/* The density is periodic: a draw is moved by whole turns into the range, to each of its turns alike. A range open on one side stands for
 * the turn at its end. Where few draws arrive: uniform ones, accepted with probability density over its maximum on the range. */
static double restricted_von_mises(PgmRng *r, double lo, double hi, const double *a)
{
  const double turn = 2 * PGM_PI;
  if (lo == -HUGE_VAL && hi == HUGE_VAL) return draw_von_mises(r, a);
  if (lo == -HUGE_VAL) lo = hi - turn;
  if (hi == HUGE_VAL) hi = lo + turn;
  double turns = ceil((hi - lo) / turn), from_mode = remainder(lo - a[0], turn), best = cos(from_mode);
  for (int i = 0; i < PLAIN_TRIES && turns >= 1; i++) {
    double offset = fmod(draw_von_mises(r, a) - lo, turn);
    double x = lo + (offset < 0 ? offset + turn : offset) + turn * floor(turns * pgm_rng_uniform(r));
    if (x <= hi) return x;
  }
  if (from_mode > 0 ? from_mode + hi - lo >= turn : from_mode + hi - lo >= 0) best = 1;
  else if (cos(hi - a[0]) > best) best = cos(hi - a[0]);
  for (int i = 0; i < ENVELOPE_TRIES; i++) {
    double x = lo + (hi - lo) * pgm_rng_uniform(r);
    if (log(pgm_rng_uniform(r)) <= a[1] * (cos(x - a[0]) - best)) return x;
  }
  return NAN;
}

/* ---- the table, and the functions of pgm_draw.h --------------------------------------------------------------------------------------------------- */

#define REAL -HUGE_VAL, HUGE_VAL
#define POSITIVE 0, HUGE_VAL
#define COUNT 0, INT_MAX
#define CONTINUOUS(name, constraints, ...) static const Distribution dist_##name = {constraints, draw_##name, __VA_ARGS__, tail_##name, NULL, NULL}
#define OWN(name, constraints) static const Distribution dist_##name = {constraints, draw_##name, REAL, NULL, restricted_##name, NULL}
#define DISCRETE(name, constraints) static const Distribution dist_##name = {constraints, draw_##name, COUNT, NULL, NULL, pmf_##name}

CONTINUOUS(normal, "rp", REAL);
CONTINUOUS(std_normal, "", REAL);
CONTINUOUS(student_t, "prp", REAL);
CONTINUOUS(cauchy, "rp", REAL);
CONTINUOUS(double_exponential, "rp", REAL);
CONTINUOUS(logistic, "rp", REAL);
CONTINUOUS(gumbel, "rp", REAL);
OWN(skew_normal, "rpr");
CONTINUOUS(lognormal, "rp", POSITIVE);
CONTINUOUS(gamma, "pp", POSITIVE);
CONTINUOUS(inv_gamma, "pp", POSITIVE);
CONTINUOUS(chi_square, "p", POSITIVE);
CONTINUOUS(inv_chi_square, "p", POSITIVE);
CONTINUOUS(exponential, "p", POSITIVE);
CONTINUOUS(weibull, "pp", POSITIVE);
CONTINUOUS(pareto, "pp", POSITIVE);
CONTINUOUS(beta, "pp", 0, 1);
CONTINUOUS(uniform, "rr", REAL);
OWN(von_mises, "rp");
DISCRETE(bernoulli, "u");
DISCRETE(bernoulli_logit, "r");
DISCRETE(binomial, "cu");
DISCRETE(binomial_logit, "cr");
DISCRETE(poisson, "n");
DISCRETE(poisson_log, "r");
DISCRETE(neg_binomial_2, "pp");
DISCRETE(neg_binomial_2_log, "rp");
DISCRETE(geometric, "u");
DISCRETE(beta_binomial, "cpp");

#define DEFINE(name, parameters, range_parameters, ...)                                                                                    \
  double pgm_draw_##name parameters { return plain_draw(rng, &dist_##name, (double[]){__VA_ARGS__}); }                                     \
  double pgm_draw_##name##_between range_parameters { return restricted_draw(rng, &dist_##name, lo, hi, (double[]){__VA_ARGS__}); }
#define DEFINE_0(name) DEFINE(name, (PgmRng *rng), (PgmRng *rng, double lo, double hi), 0)
#define DEFINE_1(name, a) DEFINE(name, (PgmRng *rng, double a), (PgmRng *rng, double lo, double hi, double a), a)
#define DEFINE_2(name, a, b) DEFINE(name, (PgmRng *rng, double a, double b), (PgmRng *rng, double lo, double hi, double a, double b), a, b)
#define DEFINE_3(name, a, b, c)                                                                                                            \
  DEFINE(name, (PgmRng *rng, double a, double b, double c), (PgmRng *rng, double lo, double hi, double a, double b, double c), a, b, c)
PGM_DRAWS(DEFINE_0, DEFINE_1, DEFINE_2, DEFINE_3)

double pgm_draw_flat(PgmRng *rng) { (void)rng; return NAN; }
double pgm_draw_flat_between(PgmRng *rng, double lo, double hi)
{
  return isfinite(lo) && isfinite(hi) && lo <= hi ? lo + (hi - lo) * pgm_rng_uniform(rng) : NAN;
}

/* ---- categories -------------------------------------------------------------------------------------------------------------------------------------- */

#define SIMPLEX_TOLERANCE 1e-8         /* Stan's */

static bool is_simplex(long K, const double *theta)
{
  double sum = 0;
  for (long k = 0; k < K; k++) {
    if (!(theta[k] >= 0)) return false;
    sum += theta[k];
  }
  return fabs(sum - 1) <= SIMPLEX_TOLERANCE;
}

double pgm_draw_categorical(PgmRng *rng, long K, const double *theta)
{
  if (!is_simplex(K, theta)) return NAN;
  double u = pgm_rng_uniform(rng), sum = 0;
  long last = 0;
  for (long k = 0; k < K; k++) {
    if (theta[k] > 0) last = k;
    sum += theta[k];
    if (u < sum) return (double)(k + 1);
  }
  return (double)(last + 1);                                                /* u beyond a sum that rounding left below 1 */
}

/* The largest of beta[k] + a standard Gumbel draw (Gumbel-max): no exponential can overflow. */
double pgm_draw_categorical_logit(PgmRng *rng, long K, const double *beta)
{
  double best = -HUGE_VAL, chosen = NAN;
  for (long k = 0; k < K; k++) {
    if (!(beta[k] < HUGE_VAL)) return NAN;
    double v = beta[k] - log(-log(pgm_rng_uniform(rng)));
    if (v > best) best = v, chosen = (double)(k + 1);
  }
  return chosen;
}

/* Where eta plus logistic noise falls among the cut points. */
double pgm_draw_ordered_logistic(PgmRng *rng, long n_cuts, double eta, const double *c)
{
  double v = eta + pgm_logit(pgm_rng_uniform(rng));
  long y = 1;
  if (!isfinite(eta)) return NAN;
  for (long k = 0; k < n_cuts; k++) {
    if (isnan(c[k]) || (k && !(c[k] > c[k - 1]))) return NAN;
    y += c[k] < v;
  }
  return (double)y;
}

/* ---- vectors and matrices ------------------------------------------------------------------------------------------------------------------------------ */

static bool fail(double *out, long n)
{
  for (long i = 0; i < n; i++) out[i] = NAN;
  return false;
}

static bool all_finite(long n, const double *v)
{
  for (long i = 0; i < n; i++)
    if (!isfinite(v[i])) return false;
  return true;
}

/* Lower Cholesky factor of the symmetric matrix A (its lower triangle is read) into L, zeros above; false unless positive definite. */
static bool cholesky(long K, const double *A, double *L)
{
  for (long i = 0; i < K; i++)
    for (long j = 0; j < K; j++) {
      double s = A[i * K + j];
      for (long k = 0; k < j && j <= i; k++) s -= L[i * K + k] * L[j * K + k];
      if (i == j && !(s > 0 && s < HUGE_VAL)) return false;
      L[i * K + j] = j > i ? 0 : i == j ? sqrt(s) : s / L[j * K + j];
    }
  return true;
}

/* out = mu + scale L z, z standard normal; from the last row up, so that z can live in out */
static bool affine_normal(PgmRng *rng, long K, const double *mu, const double *L, double scale, double *out)
{
  for (long i = 0; i < K; i++) out[i] = pgm_rng_normal(rng);
  for (long i = K - 1; i >= 0; i--) {
    double s = 0;
    for (long j = 0; j <= i; j++) s += L[i * K + j] * out[j];
    out[i] = mu[i] + scale * s;
  }
  return true;
}

bool pgm_draw_multi_normal_cholesky(PgmRng *rng, long K, const double *mu, const double *L, double *out)
{
  if (!all_finite(K, mu)) return fail(out, K);
  for (long i = 0; i < K; i++)
    if (!all_finite(i + 1, L + i * K) || !(L[i * K + i] > 0)) return fail(out, K);
  return affine_normal(rng, K, mu, L, 1, out);
}

static bool scaled_normal(PgmRng *rng, long K, const double *mu, const double *Sigma, double scale, double *out)
{
  double *L = malloc(sizeof(double) * (size_t)(K * K + 1));
  bool ok = L && all_finite(K, mu) && cholesky(K, Sigma, L) && affine_normal(rng, K, mu, L, scale, out);
  free(L);
  return ok ? true : fail(out, K);
}

bool pgm_draw_multi_normal(PgmRng *rng, long K, const double *mu, const double *Sigma, double *out)
{
  return scaled_normal(rng, K, mu, Sigma, 1, out);
}

bool pgm_draw_multi_student_t(PgmRng *rng, long K, double nu, const double *mu, const double *Sigma, double *out)
{
  if (!argument_valid('p', nu)) return fail(out, K);
  return scaled_normal(rng, K, mu, Sigma, sqrt(nu / pgm_draw_chi_square(rng, nu)), out);
}

bool pgm_draw_dirichlet(PgmRng *rng, long K, const double *alpha, double *out)
{
  for (long k = 0; k < K; k++)
    if (!argument_valid('p', alpha[k])) return fail(out, K);
  if (K == 1) out[0] = 1;
  else if (K > 1) gsl_ran_dirichlet(&rng->gsl, (size_t)K, alpha, out);
  for (long k = 0; k < K && K > 1; k++) out[k] = inside_unit(out[k]);
  return true;
}

/* Canonical partial correlations are 2 beta(b, b) - 1 with b = eta + (K - 1 - i) / 2 - 1 / 2 for those of column i; row j of L is built from them
 * from left to right, `rest` being what its squares leave of 1. */
bool pgm_draw_lkj_corr_cholesky(PgmRng *rng, long K, double eta, double *out)
{
  if (!argument_valid('p', eta)) return fail(out, K * K);
  memset(out, 0, sizeof(double) * (size_t)(K * K));
  for (long j = 0; j < K; j++) {
    double rest = 1;
    for (long i = 0; i < j; i++) {
      double b = eta + 0.5 * (double)(K - 2 - i), z = 2 * gsl_ran_beta(&rng->gsl, b, b) - 1;
      out[j * K + i] = z * sqrt(rest);
      rest *= (1 - z) * (1 + z);
    }
    out[j * K + j] = sqrt(positive(rest));
  }
  return true;
}

/* L A A' L' with S = L L', A lower triangular, A[i,i]^2 chi-square of nu - i degrees, standard normals below */
bool pgm_draw_wishart(PgmRng *rng, long K, double nu, const double *S, double *out)
{
  double *L = malloc(sizeof(double) * (size_t)(2 * K * K + 1)), *T = L ? L + K * K : NULL;
  bool ok = L && isfinite(nu) && nu > (double)(K - 1) && cholesky(K, S, L);
  for (long i = 0; ok && i < K; i++)                                        /* A in `out`... */
    for (long j = 0; j <= i; j++) out[i * K + j] = i == j ? sqrt(pgm_draw_chi_square(rng, nu - (double)i)) : pgm_rng_normal(rng);
  for (long i = 0; ok && i < K; i++)                                        /* ...T = L A... */
    for (long j = 0; j <= i; j++) {
      T[i * K + j] = 0;
      for (long k = j; k <= i; k++) T[i * K + j] += L[i * K + k] * out[k * K + j];
    }
  for (long i = 0; ok && i < K; i++)                                        /* ...T T' */
    for (long j = 0; j <= i; j++) {
      double s = 0;
      for (long k = 0; k <= j; k++) s += T[i * K + k] * T[j * K + k];
      out[i * K + j] = out[j * K + i] = s;
    }
  free(L);
  return ok ? true : fail(out, K * K);
}

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

void pgm_draw_sort(long n, double *x)
{
  qsort(x, (size_t)n, sizeof *x, ascending);
}

/* One binomial after the other, each of what is left */
bool pgm_draw_multinomial(PgmRng *rng, long K, const double *theta, double total, double *out)
{
  if (!is_simplex(K, theta) || !argument_valid('c', total)) return fail(out, K);
  double rest = 1, left = total;
  long last = K - 1;
  while (last > 0 && theta[last] == 0) last--;
  for (long k = 0; k < K; k++) {
    double p = rest > 0 ? theta[k] / rest : 1;
    out[k] = k == last ? left : draw_binomial(rng, (double[]){left, p > 1 ? 1 : p});
    left -= out[k];
    rest -= theta[k];
  }
  return true;
}
