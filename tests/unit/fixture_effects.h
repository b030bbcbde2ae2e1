/* fixture_effects.h - what pgmc emits, as far as fits need it, for three models whose local terms are not quadratic, written by hand:
 *
 *   model poisson {                                              model nonlinear {
 *     input N : int;                                               input N : int;
 *     latent theta ~ normal(0, 10);                                latent theta ~ flat();
 *     latent tau : real<lower=0> ~ lognormal(0, 1);                plate n in 1..N {
 *     plate n in 1..N {                                              latent z[n] ~ normal(0, 1);
 *       latent z[n] ~ normal(theta, tau);                            observed x[n] ~ normal(theta + sin(z[n]) * z[n] + z[n],
 *       exp(cos(z[n]))); observed x[n] ~ poisson_log(z[n]);                         }
 *     }                                                          }
 *   }
 *   model logistic: as poisson, with observed x[n] ~ bernoulli_logit(z[n])
 *
 * Poisson is closed form, the others are Gauss-Hermite quadratures over z[n]. tau's factor is that of log tau. x is kept as doubles. */
#ifndef FIXTURE_EFFECTS_H
#define FIXTURE_EFFECTS_H

#include "pgmrt.h"

#ifndef FIXTURE_LOG_2PI
#define FIXTURE_LOG_2PI 1.8378770664093454836
#endif

struct effects_env {
  PgmEnvBase rt;
  long N;
  PgmLatent theta, tau, z;
  const double *x;
};

enum { EFFECTS_N, EFFECTS_THETA, EFFECTS_TAU, EFFECTS_Z, EFFECTS_X, EFFECTS_FAMILIES };

/* Likelihood of one observation at z: value and derivative. */
typedef struct {
  double f, d;
} EffectsValue;
static inline EffectsValue effects_poisson_at(double x, double z)
{
  return (EffectsValue){x * z - exp(z), x - exp(z)};
}
static inline EffectsValue effects_logistic_at(double x, double z)
{
  const double t = exp(-fabs(z)), p = z > 0 ? 1 / (1 + t) : t / (1 + t);
  return (EffectsValue){x * z - fmax(z, 0) - log1p(t), x - p};
}

/* ---- outside plates ------------------------------------------------------------------------------------------------------------------ */

static double effects_0_expected(const void *env_, const PgmSpan *span)
{
  const struct effects_env *e = env_;
  const double m = e->theta.mean[0], s = e->theta.sd[0], mt = e->tau.mean[0], st = e->tau.sd[0], w = span->weight;
  e->theta.mean_sum[0] += w * (-m / 100);
  e->theta.sd_sum[0] += w * (-s / 100);
  e->tau.mean_sum[0] += w * (-mt - 1); /* lognormal(0, 1): -log tau - (log tau)^2 / 2 */
  e->tau.sd_sum[0] += w * (-st);
  return w * (-0.5 * (m * m + s * s) / 100 - log(10.) - 0.5 * FIXTURE_LOG_2PI - mt - 0.5 * (mt * mt + st * st) - 0.5 * FIXTURE_LOG_2PI);
}

static double effects_0_point(const void *env_, const PgmSpan *span)
{
  const struct effects_env *e = env_;
  const double t = e->theta.value[0], l = log(e->tau.value[0]), w = span->weight;
  e->theta.value_sum[0] += w * (-t / 100);
  e->tau.value_sum[0] += w * (-(1 + l) / e->tau.value[0]);
  return w * (-0.5 * t * t / 100 - log(10.) - l - 0.5 * l * l - FIXTURE_LOG_2PI);
}

static void effects_0_each(const void *env_, const PgmSpan *span, double *out)
{
  PgmSpan one = *span;
  one.weight = 1;
  struct effects_env copy = *(const struct effects_env *)env_;
  double bar[4] = {0};
  copy.theta.mean_sum = copy.theta.sd_sum = copy.tau.mean_sum = copy.tau.sd_sum = bar;
  out[0] = effects_0_expected(&copy, &one);
}

/* ---- plate n in 1..N ----------------------------------------------------------------------------------------------------------------- */

static inline double effects_1_expected(const void *env_, const PgmSpan *span, EffectsValue (*at)(double, double))
{
  const struct effects_env *e = env_;
  const double m0 = e->theta.mean[0], s0 = e->theta.sd[0], mt = e->tau.mean[0], st = e->tau.sd[0], w = span->weight;
  const double precision = exp(-2 * mt + 2 * st * st);
  double sum = 0, m0_bar = 0, square = 0;
  for (long k = 0; k < span->count; k++) {
    const long n = (span->units ? span->units[k] : span->first + k) - 1;
    const double m = e->z.mean[n], s = e->z.sd[n], x = e->x[n], d = m - m0;
    double f = 0, fm = 0, fs = 0;
    if (at == effects_poisson_at) {
      const double rate = exp(m + 0.5 * s * s);
      f = x * m - rate, fm = x - rate, fs = -s * rate;
    } else {
      for (int q = 0; q < e->rt.quad_n; q++) {
        const EffectsValue v = at(x, m + s * e->rt.quad_x[q]);
        f += e->rt.quad_w[q] * v.f, fm += e->rt.quad_w[q] * v.d, fs += e->rt.quad_w[q] * v.d * e->rt.quad_x[q];
      }
    }
    sum += f;
    square += d * d + s * s + s0 * s0;
    m0_bar += d * precision;
    e->z.mean_bar[n] += w * (fm - d * precision);
    e->z.sd_bar[n] += w * (fs - s * precision);
  }
  const double count = (double)span->count;
  e->theta.mean_sum[0] += w * m0_bar;
  e->theta.sd_sum[0] += w * (-s0 * precision * count);
  e->tau.mean_sum[0] += w * (square * precision - count);
  e->tau.sd_sum[0] += w * (-2 * st * square * precision);
  return w * (sum - 0.5 * square * precision - count * (mt + 0.5 * FIXTURE_LOG_2PI));
}

static inline double effects_1_point(const void *env_, const PgmSpan *span, EffectsValue (*at)(double, double))
{
  const struct effects_env *e = env_;
  const double theta = e->theta.value[0], tau = e->tau.value[0], p = 1 / (tau * tau), w = span->weight;
  double sum = 0;
  for (long k = 0; k < span->count; k++) {
    const long n = (span->units ? span->units[k] : span->first + k) - 1;
    const double z = e->z.value[n], d = z - theta;
    const EffectsValue v = at(e->x[n], z);
    sum += v.f - 0.5 * d * d * p - log(tau) - 0.5 * FIXTURE_LOG_2PI;
    e->z.value_bar[n] += w * (v.d - d * p);
    e->theta.value_sum[0] += w * d * p;
    e->tau.value_sum[0] += w * (d * d * p - 1) / tau;
  }
  return w * sum;
}

static inline void effects_1_each(const void *env_, const PgmSpan *span, double *out, EffectsValue (*at)(double, double))
{
  const struct effects_env *e = env_;
  for (long k = 0; k < span->count; k++) {
    const long n = (span->units ? span->units[k] : span->first + k) - 1;
    out[k] = 0;
    for (int q = 0; q < e->rt.quad_n; q++) out[k] += e->rt.quad_w[q] * at(e->x[n], e->z.mean[n] + e->z.sd[n] * e->rt.quad_x[q]).f;
  }
}

#define EFFECTS_KERNELS(name)                                                                                                              \
  static double name##_1_expected(const void *env, const PgmSpan *span)                                                                    \
  {                                                                                                                                        \
    return effects_1_expected(env, span, effects_##name##_at);                                                                             \
  }                                                                                                                                        \
  static double name##_1_point(const void *env, const PgmSpan *span)                                                                       \
  {                                                                                                                                        \
    return effects_1_point(env, span, effects_##name##_at);                                                                                \
  }                                                                                                                                        \
  static void name##_x_each(const void *env, const PgmSpan *span, double *out)                                                             \
  {                                                                                                                                        \
    effects_1_each(env, span, out, effects_##name##_at);                                                                                   \
  }
/* -log x! does not depend on the latents */
static double effects_factorials(const void *env_, const PgmSpan *span)
{
  const struct effects_env *e = env_;
  double sum = 0;
  for (long k = 0; k < span->count; k++) sum -= lgamma(e->x[(span->units ? span->units[k] : span->first + k) - 1] + 1);
  return span->weight * sum;
}

EFFECTS_KERNELS(poisson)
EFFECTS_KERNELS(logistic)

/* ---- nonlinear ----------------------------------------------------------------------------------------------------------------------- */

static double nonlinear_1_expected(const void *env_, const PgmSpan *span)
{
  const struct effects_env *e = env_;
  const double m0 = e->theta.mean[0], s0 = e->theta.sd[0], w = span->weight;
  double sum = 0, m0_bar = 0, s0_bar = 0;
  for (long k = 0; k < span->count; k++) {
    const long n = (span->units ? span->units[k] : span->first + k) - 1;
    const double m = e->z.mean[n], s = e->z.sd[n];
    double f = -0.5 * (m * m + s * s), fm = -m, fs = -s;
    for (int q = 0; q < e->rt.quad_n; q++) {
      const double t = e->rt.quad_x[q], wq = e->rt.quad_w[q], z = m + s * t, sine = sin(z), cosine = cos(z);
      const double r = e->x[n] - m0 - sine * z - z, p = exp(-2 * cosine), square = (r * r + s0 * s0) * p;
      const double slope = r * p * (cosine * z + sine + 1) - sine * square + sine;
      f += wq * (-0.5 * square - cosine);
      fm += wq * slope;
      fs += wq * slope * t;
      m0_bar += wq * r * p;
      s0_bar -= wq * s0 * p;
    }
    sum += f;
    e->z.mean_bar[n] += w * fm;
    e->z.sd_bar[n] += w * fs;
  }
  e->theta.mean_sum[0] += w * m0_bar;
  e->theta.sd_sum[0] += w * s0_bar;
  return w * (sum - (double)span->count * FIXTURE_LOG_2PI);
}

static double nonlinear_1_point(const void *env_, const PgmSpan *span)
{
  const struct effects_env *e = env_;
  const double w = span->weight;
  double sum = 0;
  for (long k = 0; k < span->count; k++) {
    const long n = (span->units ? span->units[k] : span->first + k) - 1;
    const double z = e->z.value[n], sine = sin(z), cosine = cos(z), r = e->x[n] - e->theta.value[0] - sine * z - z, p = exp(-2 * cosine);
    sum += -0.5 * (z * z + r * r * p) - cosine - FIXTURE_LOG_2PI;
    e->z.value_bar[n] += w * (-z + r * p * (cosine * z + sine + 1) - sine * r * r * p + sine);
    e->theta.value_sum[0] += w * r * p;
  }
  return w * sum;
}

static void nonlinear_x_each(const void *env_, const PgmSpan *span, double *out)
{
  const struct effects_env *e = env_;
  for (long k = 0; k < span->count; k++) {
    const long n = (span->units ? span->units[k] : span->first + k) - 1;
    const double z = e->z.mean[n], r = e->x[n] - e->theta.mean[0] - sin(z) * z - z;
    out[k] = -0.5 * r * r * exp(-2 * cos(z)) - cos(z) - 0.5 * FIXTURE_LOG_2PI;
  }
}

/* ---- descriptors --------------------------------------------------------------------------------------------------------------------- */

static void effects_zero(const void *env, double *lower, double *upper)
{
  (void)env, (void)upper;
  lower[0] = 0;
}
static void effects_one(const void *env, PgmSink *sink)
{
  (void)env;
  sink->run(sink, 0, 1);
}
static void effects_all(const void *env, PgmSink *sink)
{
  sink->run(sink, 0, ((const struct effects_env *)env)->N);
}

static void effects_shape(const void *env_, PgmShape *shape)
{
  const struct effects_env *env = env_;
  for (int f = 0; f < EFFECTS_FAMILIES; f++) shape->family[f] = (PgmBox){.dim = {1, 1}};
  shape->family[EFFECTS_Z] = shape->family[EFFECTS_X] = (PgmBox){.lo = {1}, .hi = {env->N}, .dim = {1, 1}};
  shape->term[0] = (PgmBox){.dim = {1, 1}};
  shape->term[1] = (PgmBox){.lo = {1}, .hi = {env->N}, .dim = {1, 1}};
  shape->plate_lo[0] = shape->plate_hi[0] = 0;
  shape->plate_lo[1] = 1, shape->plate_hi[1] = env->N;
}

static const char *const effects_index_n[] = {"n"};
static const int effects_axis_n[] = {0};
static const int effects_shared[] = {EFFECTS_THETA, EFFECTS_TAU, -1}, nonlinear_shared[] = {EFFECTS_THETA, -1};

/* `tau` of the nonlinear model is a pruned family: it has no term and no factor. */
#define EFFECTS_TABLES(id, tau_role)                                                                                                       \
  static const PgmFamily id##_families[] = {                                                                                               \
      {.name = "N", .role = PGM_INPUT, .type = PGM_INT, .integer = true, .place = offsetof(struct effects_env, N), .is_size = true},       \
      {.name = "theta", .role = PGM_GLOBAL, .type = PGM_REAL, .place = offsetof(struct effects_env, theta), .transform = PGM_IDENTITY},    \
      {.name = "tau",                                                                                                                      \
       .role = tau_role,                                                                                                                   \
       .type = PGM_REAL,                                                                                                                   \
       .place = offsetof(struct effects_env, tau),                                                                                         \
       .transform = PGM_LOWER,                                                                                                             \
       .has_lower = true,                                                                                                                  \
       .uniform_bounds = true,                                                                                                             \
       .bounds = effects_zero},                                                                                                            \
      {.name = "z",                                                                                                                        \
       .role = PGM_LOCAL,                                                                                                                  \
       .type = PGM_REAL,                                                                                                                   \
       .n_index = 1,                                                                                                                       \
       .index = effects_index_n,                                                                                                           \
       .axis = effects_axis_n,                                                                                                             \
       .place = offsetof(struct effects_env, z),                                                                                           \
       .transform = PGM_IDENTITY,                                                                                                          \
       .separable = true},                                                                                                                 \
      {.name = "x",                                                                                                                        \
       .role = PGM_OBSERVED,                                                                                                               \
       .type = PGM_REAL,                                                                                                                   \
       .n_index = 1,                                                                                                                       \
       .index = effects_index_n,                                                                                                           \
       .axis = effects_axis_n,                                                                                                             \
       .place = offsetof(struct effects_env, x)},                                                                                          \
  };

static const PgmStatement effects_statements[] = {
    {.kind = PGM_S_INPUT, .family = EFFECTS_N, .text = "input N : int", .constant_index = true, .range = "", .elements = effects_one},
    {.kind = PGM_S_LATENT, .family = EFFECTS_THETA, .text = "theta", .constant_index = true, .range = "", .elements = effects_one},
    {.kind = PGM_S_LATENT, .family = EFFECTS_TAU, .text = "tau", .constant_index = true, .range = "", .elements = effects_one},
    {.kind = PGM_S_LATENT, .family = EFFECTS_Z, .text = "z[n]", .range = "n in 1..N", .elements = effects_all},
    {.kind = PGM_S_OBSERVED,
     .family = EFFECTS_X,
     .text = "x[n]",
     .range = "n in 1..N",
     .elements = effects_all,
     .support = PGM_SUPPORT_ANY},
};

static const PgmCount effects_counts[] = {{.size = EFFECTS_N, .array = EFFECTS_X, .position = 0}};
static const char *const effects_inputs[] = {"x[n]", NULL};
static const PgmAmortize effects_amortize[] = {{.family = EFFECTS_Z,
                                                .verdict = "closes",
                                                .domain_kind = "window",
                                                .domain = "x[n]",
                                                .inputs = effects_inputs,
                                                .window = effects_inputs}};
static void (*const effects_lets[EFFECTS_FAMILIES])(const void *env, double *out) = {0};

#define EFFECTS_MODEL(id, outer_expected, outer_point, sums, constants)                                                                    \
  static const PgmTerm id##_terms[] = {                                                                                                    \
      {.statement = 1,                                                                                                                     \
       .text = "prior",                                                                                                                    \
       .line = 3,                                                                                                                          \
       .column = 3,                                                                                                                        \
       .method = PGM_CLOSED_FORM,                                                                                                          \
       .point_each = effects_0_each,                                                                                                       \
       .expected_each = effects_0_each},                                                                                                   \
      {.statement = 4,                                                                                                                     \
       .text = "x[n]",                                                                                                                     \
       .line = 7,                                                                                                                          \
       .column = 5,                                                                                                                        \
       .n_plates = 1,                                                                                                                      \
       .plates = effects_index_n,                                                                                                          \
       .method = PGM_QUADRATURE,                                                                                                           \
       .point_each = id##_x_each,                                                                                                          \
       .expected_each = id##_x_each},                                                                                                      \
  };                                                                                                                                       \
  static const PgmPlate id##_plates[] = {                                                                                                  \
      {.axis = -1, .first_term = 0, .n_terms = 1, .point = outer_point, .expected = outer_expected, .shared = sums},                       \
      {.variable = "n",                                                                                                                    \
       .line = 5,                                                                                                                          \
       .axis = 0,                                                                                                                          \
       .first_term = 1,                                                                                                                    \
       .n_terms = 1,                                                                                                                       \
       .point = id##_1_point,                                                                                                              \
       .expected = id##_1_expected,                                                                                                        \
       .constant = constants,                                                                                                              \
       .shared = sums},                                                                                                                    \
  };                                                                                                                                       \
  static const PgmModel id##_model = {.abi = PGM_ABI,                                                                                      \
                                      .name = #id,                                                                                         \
                                      .file = #id ".pgm",                                                                                  \
                                      .hash = "0",                                                                                         \
                                      .version = "fixture",                                                                                \
                                      .env_size = sizeof(struct effects_env),                                                              \
                                      .n_families = EFFECTS_FAMILIES,                                                                      \
                                      .families = id##_families,                                                                           \
                                      .n_statements = 5,                                                                                   \
                                      .statements = effects_statements,                                                                    \
                                      .n_plates = 2,                                                                                       \
                                      .plates = id##_plates,                                                                               \
                                      .n_terms = 2,                                                                                        \
                                      .terms = id##_terms,                                                                                 \
                                      .n_counts = 1,                                                                                       \
                                      .counts = effects_counts,                                                                            \
                                      .n_amortize = 1,                                                                                     \
                                      .amortize = effects_amortize,                                                                        \
                                      .n_axes = 1,                                                                                         \
                                      .shape = effects_shape,                                                                              \
                                      .lets = effects_lets,                                                                                \
                                      .verdict = "closes"};

static double nonlinear_0_none(const void *env, const PgmSpan *span)
{
  (void)env, (void)span;
  return 0;
}

EFFECTS_TABLES(poisson, PGM_GLOBAL)
EFFECTS_TABLES(logistic, PGM_GLOBAL)
EFFECTS_TABLES(nonlinear, PGM_PRUNED)
EFFECTS_MODEL(poisson, effects_0_expected, effects_0_point, effects_shared, effects_factorials)
EFFECTS_MODEL(logistic, effects_0_expected, effects_0_point, effects_shared, NULL)
EFFECTS_MODEL(nonlinear, nonlinear_0_none, nonlinear_0_none, nonlinear_shared, NULL)

#endif
