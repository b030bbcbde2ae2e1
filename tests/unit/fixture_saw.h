/* fixture_saw.h - what pgmc emits for the saw model, written by hand:
 *
 *    1  model saw {
 *    2    input N : int<lower=1>;
 *    3    input a = 0.75;
 *    4    latent theta ~ normal(0, 10);
 *    5    input x[0] = 0;
 *    6    plate n in 1..N {
 *    7      latent   z[n] ~ normal(x[n-1], 1);
 *    8      observed x[n] ~ normal(a * (z[n] + theta), 1);
 *    9    }
 *   10  }
 *
 * The lag is one of data, so no adjoint crosses units; fixture_level.h has a lag between latents (a PgmRef). */
#ifndef FIXTURE_SAW_H
#define FIXTURE_SAW_H

#include "pgmrt.h"

#ifndef FIXTURE_LOG_2PI
#define FIXTURE_LOG_2PI 1.8378770664093454836
#endif

struct saw_env {
  PgmEnvBase rt;
  long N;
  double a;
  PgmLatent theta, z;
  const double *x;
};

enum { SAW_N, SAW_A, SAW_THETA, SAW_X, SAW_Z, SAW_FAMILIES };

static inline long saw_unit(const PgmSpan *span, long k) { return span->units ? span->units[k] : span->first + k; }

/* ---- outside plates: theta ~ normal(0, 10) ------------------------------------------------------------------------------------------- */

static double saw_0_point(const void *env_, const PgmSpan *span)
{
  const struct saw_env *env = env_;
  const double t = env->theta.value[0] / 10;
  env->theta.value_sum[0] += span->weight * (-t / 10);
  return span->weight * (-0.5 * t * t);
}

static double saw_0_expected(const void *env_, const PgmSpan *span)
{
  const struct saw_env *env = env_;
  const double m = env->theta.mean[0] / 10, s = env->theta.sd[0] / 10;
  env->theta.mean_sum[0] += span->weight * (-m / 10);
  env->theta.sd_sum[0] += span->weight * (-s / 10);
  return span->weight * (-0.5 * (m * m + s * s));
}

static double saw_0_constant(const void *env_, const PgmSpan *span)
{
  (void)env_;
  return span->weight * (-log(10.) - 0.5 * FIXTURE_LOG_2PI);
}

static void saw_theta_point(const void *env_, const PgmSpan *span, double *out)
{
  const struct saw_env *env = env_;
  (void)span;
  const double t = env->theta.value[0] / 10;
  out[0] = -0.5 * (t * t + FIXTURE_LOG_2PI) - log(10.);
}

static void saw_theta_expected(const void *env_, const PgmSpan *span, double *out)
{
  const struct saw_env *env = env_;
  (void)span;
  const double m = env->theta.mean[0] / 10, s = env->theta.sd[0] / 10;
  out[0] = -0.5 * (m * m + s * s + FIXTURE_LOG_2PI) - log(10.);
}

/* ---- plate n in 1..N: x[n] stands at flat index n, z[n] at n - 1 --------------------------------------------------------------------- */

static double saw_1_point(const void *env_, const PgmSpan *span)
{
  const struct saw_env *env = env_;
  const double weight = span->weight, a = env->a, theta = env->theta.value[0];
  double sum = 0, theta_bar = 0;
  for (long k = 0; k < span->count; k++) {
    const long n = saw_unit(span, k);
    const double z = env->z.value[n - 1], d = z - env->x[n - 1], e = env->x[n] - a * (z + theta);
    sum += -0.5 * (d * d + e * e);
    env->z.value_bar[n - 1] += weight * (a * e - d);
    theta_bar += a * e;
  }
  env->theta.value_sum[0] += weight * theta_bar;
  return weight * sum;
}

static double saw_1_expected(const void *env_, const PgmSpan *span)
{
  const struct saw_env *env = env_;
  const double weight = span->weight, a = env->a, m0 = env->theta.mean[0], s0 = env->theta.sd[0];
  double sum = 0, m0_bar = 0;
  for (long k = 0; k < span->count; k++) {
    const long n = saw_unit(span, k);
    const double m = env->z.mean[n - 1], s = env->z.sd[n - 1], d = m - env->x[n - 1], e = env->x[n] - a * (m + m0);
    sum += -0.5 * (d * d + s * s + e * e + a * a * (s * s + s0 * s0));
    env->z.mean_bar[n - 1] += weight * (a * e - d);
    env->z.sd_bar[n - 1] += weight * (-s - a * a * s);
    m0_bar += a * e;
  }
  env->theta.mean_sum[0] += weight * m0_bar;
  env->theta.sd_sum[0] += weight * (-a * a * s0 * (double)span->count);
  return weight * sum;
}

static double saw_1_constant(const void *env_, const PgmSpan *span)
{
  (void)env_;
  return -span->weight * (double)span->count * FIXTURE_LOG_2PI;
}

static void saw_z_point(const void *env_, const PgmSpan *span, double *out)
{
  const struct saw_env *env = env_;
  for (long k = 0; k < span->count; k++) {
    const long n = saw_unit(span, k);
    const double d = env->z.value[n - 1] - env->x[n - 1];
    out[k] = -0.5 * (d * d + FIXTURE_LOG_2PI);
  }
}

static void saw_z_expected(const void *env_, const PgmSpan *span, double *out)
{
  const struct saw_env *env = env_;
  for (long k = 0; k < span->count; k++) {
    const long n = saw_unit(span, k);
    const double d = env->z.mean[n - 1] - env->x[n - 1], s = env->z.sd[n - 1];
    out[k] = -0.5 * (d * d + s * s + FIXTURE_LOG_2PI);
  }
}

static void saw_x_point(const void *env_, const PgmSpan *span, double *out)
{
  const struct saw_env *env = env_;
  for (long k = 0; k < span->count; k++) {
    const long n = saw_unit(span, k);
    const double e = env->x[n] - env->a * (env->z.value[n - 1] + env->theta.value[0]);
    out[k] = -0.5 * (e * e + FIXTURE_LOG_2PI);
  }
}

static void saw_x_expected(const void *env_, const PgmSpan *span, double *out)
{
  const struct saw_env *env = env_;
  const double a = env->a, s0 = env->theta.sd[0];
  for (long k = 0; k < span->count; k++) {
    const long n = saw_unit(span, k);
    const double e = env->x[n] - a * (env->z.mean[n - 1] + env->theta.mean[0]), s = env->z.sd[n - 1];
    out[k] = -0.5 * (e * e + a * a * (s * s + s0 * s0) + FIXTURE_LOG_2PI);
  }
}

/* ---- descriptors --------------------------------------------------------------------------------------------------------------------- */

static void saw_N_bounds(const void *env, double *lower, double *upper) { (void)env, (void)upper; lower[0] = 1; }
static void saw_a_default(const void *env, double *array) { (void)env; array[0] = 0.75; }
static void saw_x_default(const void *env, double *array) { (void)env; array[0] = 0; }
static void saw_one(const void *env, PgmSink *sink) { (void)env; sink->run(sink, 0, 1); }
static void saw_z_all(const void *env, PgmSink *sink) { sink->run(sink, 0, ((const struct saw_env *)env)->N); }
static void saw_x_all(const void *env, PgmSink *sink) { sink->run(sink, 1, ((const struct saw_env *)env)->N); }

static void saw_shape(const void *env_, PgmShape *shape)
{
  const struct saw_env *env = env_;
  for (int f = 0; f < SAW_FAMILIES; f++) shape->family[f] = (PgmBox){.dim = {1, 1}};
  shape->family[SAW_X] = (PgmBox){.lo = {0}, .hi = {env->N}, .dim = {1, 1}};
  shape->family[SAW_Z] = (PgmBox){.lo = {1}, .hi = {env->N}, .dim = {1, 1}};
  shape->term[0] = (PgmBox){.dim = {1, 1}};
  shape->term[1] = shape->term[2] = (PgmBox){.lo = {1}, .hi = {env->N}, .dim = {1, 1}};
  shape->plate_lo[0] = shape->plate_hi[0] = 0;
  shape->plate_lo[1] = 1, shape->plate_hi[1] = env->N;
}

static int saw_simulate(const void *env_, PgmRng *rng, const unsigned char *draw, long *where)
{
  const struct saw_env *env = env_;
  if (draw[2]) ((double *)env->theta.value)[0] = pgm_draw_normal(rng, 0, 10);
  for (long n = 1; n <= env->N; n++) {
    where[0] = n;
    if (draw[4]) ((double *)env->z.value)[n - 1] = pgm_draw_normal(rng, env->x[n - 1], 1);
    if (draw[5]) ((double *)env->x)[n] = pgm_draw_normal(rng, env->a * (env->z.value[n - 1] + env->theta.value[0]), 1);
  }
  return -1;
}

static const char *const saw_index_n[] = {"n"};
static const int saw_axis_n[] = {0};
static const int saw_shared[] = {SAW_THETA, -1};

static const PgmFamily saw_families[] = {
  {.name = "N", .line = 2, .column = 9, .role = PGM_INPUT, .type = PGM_INT, .integer = true, .place = offsetof(struct saw_env, N),
   .has_lower = true, .uniform_bounds = true, .bounds = saw_N_bounds, .is_size = true},
  {.name = "a", .line = 3, .column = 9, .role = PGM_INPUT, .type = PGM_REAL, .place = offsetof(struct saw_env, a)},
  {.name = "theta", .line = 4, .column = 10, .role = PGM_GLOBAL, .type = PGM_REAL, .place = offsetof(struct saw_env, theta),
   .transform = PGM_IDENTITY},
  {.name = "x", .line = 5, .column = 9, .role = PGM_OBSERVED, .type = PGM_REAL, .n_index = 1, .index = saw_index_n, .axis = saw_axis_n,
   .place = offsetof(struct saw_env, x)},
  {.name = "z", .line = 7, .column = 14, .role = PGM_LOCAL, .type = PGM_REAL, .n_index = 1, .index = saw_index_n, .axis = saw_axis_n,
   .place = offsetof(struct saw_env, z), .transform = PGM_IDENTITY, .separable = true},
};

static const PgmStatement saw_statements[] = {
  {.kind = PGM_S_INPUT, .family = SAW_N, .line = 2, .column = 3, .text = "input N : int<lower=1>", .constant_index = true, .range = "",
   .elements = saw_one},
  {.kind = PGM_S_INPUT, .family = SAW_A, .line = 3, .column = 3, .text = "input a = 0.75", .constant_index = true, .range = "",
   .elements = saw_one, .fallback = saw_a_default},
  {.kind = PGM_S_LATENT, .family = SAW_THETA, .line = 4, .column = 3, .text = "theta ~ normal(0, 10)", .constant_index = true,
   .range = "", .elements = saw_one},
  {.kind = PGM_S_INPUT, .family = SAW_X, .line = 5, .column = 3, .text = "input x[0] = 0", .constant_index = true, .range = "",
   .elements = saw_one, .fallback = saw_x_default},
  {.kind = PGM_S_LATENT, .family = SAW_Z, .line = 7, .column = 5, .text = "z[n] ~ normal(x[n-1], 1)", .range = "n in 1..N",
   .elements = saw_z_all},
  {.kind = PGM_S_OBSERVED, .family = SAW_X, .line = 8, .column = 5, .text = "x[n] ~ normal(a * (z[n] + theta), 1)", .range = "n in 1..N",
   .elements = saw_x_all, .support = PGM_SUPPORT_REAL},
};

static const PgmTerm saw_terms[] = {
  {.statement = 2, .text = "theta ~ normal(0, 10)", .line = 4, .column = 3, .method = PGM_CLOSED_FORM, .point_each = saw_theta_point,
   .expected_each = saw_theta_expected},
  {.statement = 4, .text = "z[n] ~ normal(x[n-1], 1)", .line = 7, .column = 5, .n_plates = 1, .plates = saw_index_n,
   .method = PGM_CLOSED_FORM, .point_each = saw_z_point, .expected_each = saw_z_expected},
  {.statement = 5, .text = "x[n] ~ normal(a * (z[n] + theta), 1)", .line = 8, .column = 5, .n_plates = 1, .plates = saw_index_n,
   .method = PGM_CLOSED_FORM, .point_each = saw_x_point, .expected_each = saw_x_expected},
};

static const PgmPlate saw_plates[] = {
  {.axis = -1, .first_term = 0, .n_terms = 1, .point = saw_0_point, .expected = saw_0_expected, .constant = saw_0_constant,
   .shared = saw_shared},
  {.variable = "n", .line = 6, .axis = 0, .first_term = 1, .n_terms = 2, .point = saw_1_point, .expected = saw_1_expected,
   .constant = saw_1_constant, .shared = saw_shared},
};

static const PgmCount saw_counts[] = {{.size = SAW_N, .array = SAW_X, .position = 0, .extra = 0}};

static const char *const saw_z_inputs[] = {"x[n-1]", "x[n]", NULL};
static const char *const saw_z_sd_inputs[] = {NULL};
static const char *const saw_z_window[] = {"x[n]", NULL};
static const PgmAmortize saw_amortize[] = {
  {.family = SAW_Z, .verdict = "closes", .domain_kind = "window", .domain = "x[n-1], x[n]", .inputs = saw_z_inputs,
   .sd_inputs = saw_z_sd_inputs, .window = saw_z_window},
};

static void (*const saw_lets[SAW_FAMILIES])(const void *env, double *out) = {0};

static const PgmModel saw_model = {
  .abi = PGM_ABI, .name = "saw", .file = "saw.pgm",
  .hash = "0000000000000000000000000000000000000000000000000000000000000002", .version = "fixture",
  .env_size = sizeof(struct saw_env),
  .n_families = SAW_FAMILIES, .families = saw_families,
  .n_statements = 6, .statements = saw_statements,
  .n_plates = 2, .plates = saw_plates,
  .n_terms = 3, .terms = saw_terms,
  .n_counts = 1, .counts = saw_counts,
  .n_amortize = 1, .amortize = saw_amortize,
  .n_axes = 1,
  .shape = saw_shape, .simulate = saw_simulate, .lets = saw_lets,
  .verdict = "closes",
  .check_text = "saw.pgm: amortised inference can close the gap\n",
  .check_json = "{\"verdict\": \"closes\"}", .check_dot = "digraph saw {}",
};

#endif
