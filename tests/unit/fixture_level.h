/* fixture_level.h - what pgmc emits for the local level model, written by hand: bounded globals, a piecewise family, a lag between latents:
 *
 *   1  model local_level {
 *   2    input N : int<lower=2>;
 *   3    latent q : real<lower=0> ~ lognormal(0, 1);
 *   4    latent r : real<lower=0> ~ lognormal(0, 1);
 *   5    latent z[1] ~ normal(0, 100);
 *   6    plate t in 2..N { latent   z[t] ~ normal(z[t-1], q); }
 *   7    plate t in 1..N { observed x[t] ~ normal(z[t], r); }
 *   8  }
 *
 * Under q, u = log q is normal(m, s): E log q = m, E q^-2 = exp(2 (s^2 - m)). */
#ifndef FIXTURE_LEVEL_H
#define FIXTURE_LEVEL_H

#include "pgmrt.h"

#ifndef FIXTURE_LOG_2PI
#define FIXTURE_LOG_2PI 1.8378770664093454836
#endif

struct level_env {
  PgmEnvBase rt;
  long N;
  PgmLatent q, r, z;
  const double *x;
  PgmRefBar z_lag;                     /* z[t-1] in plate t in 2..N */
};

enum { LEVEL_N, LEVEL_Q, LEVEL_R, LEVEL_Z, LEVEL_X, LEVEL_FAMILIES };

static inline long level_unit(const PgmSpan *span, long k) { return span->units ? span->units[k] : span->first + k; }

/* ---- outside plates ------------------------------------------------------------------------------------------------------------------ */

/* lognormal(0, 1) at v: -log v - (log v)^2 / 2; adds weight * derivative to *bar. */
static inline double level_lognormal(double v, double weight, double *bar)
{
  const double u = log(v);
  *bar += weight * (-(1 + u) / v);
  return -u - 0.5 * u * u;
}

static double level_0_point(const void *env_, const PgmSpan *span)
{
  const struct level_env *env = env_;
  const double w = span->weight, z = env->z.value[0] / 100;
  double sum = level_lognormal(env->q.value[0], w, &env->q.value_sum[0]) + level_lognormal(env->r.value[0], w, &env->r.value_sum[0]);
  env->z.value_sum[0] += w * (-z / 100);
  return w * (sum - 0.5 * z * z);
}

static double level_0_expected(const void *env_, const PgmSpan *span)
{
  const struct level_env *env = env_;
  const double w = span->weight, mq = env->q.mean[0], sq = env->q.sd[0], mr = env->r.mean[0], sr = env->r.sd[0];
  const double m = env->z.mean[0] / 100, s = env->z.sd[0] / 100;
  env->q.mean_sum[0] += w * (-1 - mq);
  env->q.sd_sum[0] += w * (-sq);
  env->r.mean_sum[0] += w * (-1 - mr);
  env->r.sd_sum[0] += w * (-sr);
  env->z.mean_sum[0] += w * (-m / 100);
  env->z.sd_sum[0] += w * (-s / 100);
  return w * (-mq - 0.5 * (mq * mq + sq * sq) - mr - 0.5 * (mr * mr + sr * sr) - 0.5 * (m * m + s * s));
}

static double level_0_constant(const void *env, const PgmSpan *span)
{
  (void)env;
  return span->weight * (-log(100.) - 1.5 * FIXTURE_LOG_2PI);
}

static inline double level_lognormal_each(double v) { return -log(v) - 0.5 * (log(v) * log(v) + FIXTURE_LOG_2PI); }
static inline double level_lognormal_mean(double m, double s) { return -m - 0.5 * (m * m + s * s + FIXTURE_LOG_2PI); }
static void level_q_point(const void *env, const PgmSpan *span, double *out)
{
  (void)span;
  out[0] = level_lognormal_each(((const struct level_env *)env)->q.value[0]);
}
static void level_q_expected(const void *env_, const PgmSpan *span, double *out)
{
  const struct level_env *env = env_;
  (void)span;
  out[0] = level_lognormal_mean(env->q.mean[0], env->q.sd[0]);
}
static void level_r_point(const void *env, const PgmSpan *span, double *out)
{
  (void)span;
  out[0] = level_lognormal_each(((const struct level_env *)env)->r.value[0]);
}
static void level_r_expected(const void *env_, const PgmSpan *span, double *out)
{
  const struct level_env *env = env_;
  (void)span;
  out[0] = level_lognormal_mean(env->r.mean[0], env->r.sd[0]);
}
static void level_z1_point(const void *env, const PgmSpan *span, double *out)
{
  (void)span;
  const double z = ((const struct level_env *)env)->z.value[0] / 100;
  out[0] = -0.5 * (z * z + FIXTURE_LOG_2PI) - log(100.);
}
static void level_z1_expected(const void *env_, const PgmSpan *span, double *out)
{
  const struct level_env *env = env_;
  (void)span;
  const double m = env->z.mean[0] / 100, s = env->z.sd[0] / 100;
  out[0] = -0.5 * (m * m + s * s + FIXTURE_LOG_2PI) - log(100.);
}

/* ---- plate t in 2..N: z[t] ~ normal(z[t-1], q) --------------------------------------------------------------------------------------- */

static double level_1_point(const void *env_, const PgmSpan *span)
{
  const struct level_env *env = env_;
  const double w = span->weight, q = env->q.value[0], inv = 1 / (q * q);
  double sum = 0, squares = 0;
  for (long k = 0; k < span->count; k++) {
    const long t = level_unit(span, k);
    const double d = env->z.value[t - 1] - env->z.value[t - 2];
    squares += d * d;
    env->z.value_bar[t - 1] += w * (-d * inv);
    env->z_lag.value[t - 2] += w * (d * inv);
  }
  sum = -0.5 * squares * inv - (double)span->count * log(q);
  env->q.value_sum[0] += w * (squares * inv / q - (double)span->count / q);
  return w * sum;
}

static double level_1_expected(const void *env_, const PgmSpan *span)
{
  const struct level_env *env = env_;
  const double w = span->weight, mq = env->q.mean[0], sq = env->q.sd[0], inv = exp(2 * (sq * sq - mq)), count = (double)span->count;
  double squares = 0;
  for (long k = 0; k < span->count; k++) {
    const long t = level_unit(span, k);
    const double d = env->z.mean[t - 1] - env->z.mean[t - 2], s = env->z.sd[t - 1], s1 = env->z.sd[t - 2];
    squares += d * d + s * s + s1 * s1;
    env->z.mean_bar[t - 1] += w * (-d * inv);
    env->z.sd_bar[t - 1] += w * (-s * inv);
    env->z_lag.mean[t - 2] += w * (d * inv);
    env->z_lag.sd[t - 2] += w * (-s1 * inv);
  }
  env->q.mean_sum[0] += w * (squares * inv - count);
  env->q.sd_sum[0] += w * (-2 * sq * squares * inv);
  return w * (-0.5 * squares * inv - count * mq);
}

static double level_1_constant(const void *env, const PgmSpan *span)
{
  (void)env;
  return -0.5 * span->weight * (double)span->count * FIXTURE_LOG_2PI;
}

static void level_z_point(const void *env_, const PgmSpan *span, double *out)
{
  const struct level_env *env = env_;
  const double q = env->q.value[0];
  for (long k = 0; k < span->count; k++) {
    const long t = level_unit(span, k);
    const double d = (env->z.value[t - 1] - env->z.value[t - 2]) / q;
    out[k] = -0.5 * (d * d + FIXTURE_LOG_2PI) - log(q);
  }
}

static void level_z_expected(const void *env_, const PgmSpan *span, double *out)
{
  const struct level_env *env = env_;
  const double mq = env->q.mean[0], sq = env->q.sd[0], inv = exp(2 * (sq * sq - mq));
  for (long k = 0; k < span->count; k++) {
    const long t = level_unit(span, k);
    const double d = env->z.mean[t - 1] - env->z.mean[t - 2], s = env->z.sd[t - 1], s1 = env->z.sd[t - 2];
    out[k] = -0.5 * ((d * d + s * s + s1 * s1) * inv + FIXTURE_LOG_2PI) - mq;
  }
}

/* ---- plate t in 1..N: x[t] ~ normal(z[t], r) ----------------------------------------------------------------------------------------- */

static double level_2_point(const void *env_, const PgmSpan *span)
{
  const struct level_env *env = env_;
  const double w = span->weight, r = env->r.value[0], inv = 1 / (r * r);
  double squares = 0;
  for (long k = 0; k < span->count; k++) {
    const long t = level_unit(span, k);
    const double e = env->x[t - 1] - env->z.value[t - 1];
    squares += e * e;
    env->z.value_bar[t - 1] += w * (e * inv);
  }
  env->r.value_sum[0] += w * (squares * inv / r - (double)span->count / r);
  return w * (-0.5 * squares * inv - (double)span->count * log(r));
}

static double level_2_expected(const void *env_, const PgmSpan *span)
{
  const struct level_env *env = env_;
  const double w = span->weight, mr = env->r.mean[0], sr = env->r.sd[0], inv = exp(2 * (sr * sr - mr)), count = (double)span->count;
  double squares = 0;
  for (long k = 0; k < span->count; k++) {
    const long t = level_unit(span, k);
    const double e = env->x[t - 1] - env->z.mean[t - 1], s = env->z.sd[t - 1];
    squares += e * e + s * s;
    env->z.mean_bar[t - 1] += w * (e * inv);
    env->z.sd_bar[t - 1] += w * (-s * inv);
  }
  env->r.mean_sum[0] += w * (squares * inv - count);
  env->r.sd_sum[0] += w * (-2 * sr * squares * inv);
  return w * (-0.5 * squares * inv - count * mr);
}

static void level_x_point(const void *env_, const PgmSpan *span, double *out)
{
  const struct level_env *env = env_;
  const double r = env->r.value[0];
  for (long k = 0; k < span->count; k++) {
    const long t = level_unit(span, k);
    const double e = (env->x[t - 1] - env->z.value[t - 1]) / r;
    out[k] = -0.5 * (e * e + FIXTURE_LOG_2PI) - log(r);
  }
}

static void level_x_expected(const void *env_, const PgmSpan *span, double *out)
{
  const struct level_env *env = env_;
  const double mr = env->r.mean[0], sr = env->r.sd[0], inv = exp(2 * (sr * sr - mr));
  for (long k = 0; k < span->count; k++) {
    const long t = level_unit(span, k);
    const double e = env->x[t - 1] - env->z.mean[t - 1], s = env->z.sd[t - 1];
    out[k] = -0.5 * ((e * e + s * s) * inv + FIXTURE_LOG_2PI) - mr;
  }
}

/* ---- descriptors --------------------------------------------------------------------------------------------------------------------- */

static void level_N_bounds(const void *env, double *lower, double *upper) { (void)env, (void)upper; lower[0] = 2; }
static void level_zero_bounds(const void *env, double *lower, double *upper) { (void)env, (void)upper; lower[0] = 0; }
static void level_one(const void *env, PgmSink *sink) { (void)env; sink->run(sink, 0, 1); }
static void level_z_rest(const void *env, PgmSink *sink) { sink->run(sink, 1, ((const struct level_env *)env)->N - 1); }
static void level_x_all(const void *env, PgmSink *sink) { sink->run(sink, 0, ((const struct level_env *)env)->N); }
static long level_lag_width(const void *env) { (void)env; return 1; }
static void level_lag_targets(const void *env, const PgmSpan *span, long *out)
{
  (void)env;
  for (long k = 0; k < span->count; k++) out[k] = level_unit(span, k) - 2;
}

static void level_shape(const void *env_, PgmShape *shape)
{
  const struct level_env *env = env_;
  for (int f = 0; f < LEVEL_FAMILIES; f++) shape->family[f] = (PgmBox){.dim = {1, 1}};
  shape->family[LEVEL_Z] = shape->family[LEVEL_X] = (PgmBox){.lo = {1}, .hi = {env->N}, .dim = {1, 1}};
  for (int t = 0; t < 3; t++) shape->term[t] = (PgmBox){.dim = {1, 1}};
  shape->term[3] = (PgmBox){.lo = {2}, .hi = {env->N}, .dim = {1, 1}};
  shape->term[4] = (PgmBox){.lo = {1}, .hi = {env->N}, .dim = {1, 1}};
  shape->plate_lo[0] = shape->plate_hi[0] = 0;
  shape->plate_lo[1] = 2, shape->plate_hi[1] = env->N;
  shape->plate_lo[2] = 1, shape->plate_hi[2] = env->N;
}

static int level_simulate(const void *env_, PgmRng *rng, const unsigned char *draw, long *where)
{
  const struct level_env *env = env_;
  double *z = (double *)env->z.value, *x = (double *)env->x;
  if (draw[1]) ((double *)env->q.value)[0] = exp(pgm_draw_normal(rng, 0, 1));
  if (draw[2]) ((double *)env->r.value)[0] = exp(pgm_draw_normal(rng, 0, 1));
  if (draw[3]) z[0] = pgm_draw_normal(rng, 0, 100);
  for (long t = 2; t <= env->N; t++) {
    where[0] = t;
    if (draw[4]) z[t - 1] = pgm_draw_normal(rng, z[t - 2], env->q.value[0]);
  }
  for (long t = 1; t <= env->N; t++) {
    where[0] = t;
    if (draw[5]) x[t - 1] = pgm_draw_normal(rng, z[t - 1], env->r.value[0]);
  }
  return -1;
}

static const char *const level_index_t[] = {"t"};
static const int level_axis_t[] = {0};
static const int level_shared_0[] = {LEVEL_Q, LEVEL_R, LEVEL_Z, -1};
static const int level_shared_1[] = {LEVEL_Q, -1};
static const int level_shared_2[] = {LEVEL_R, -1};

static const PgmFamily level_families[] = {
  {.name = "N", .line = 2, .column = 9, .role = PGM_INPUT, .type = PGM_INT, .integer = true, .place = offsetof(struct level_env, N),
   .has_lower = true, .uniform_bounds = true, .bounds = level_N_bounds, .is_size = true},
  {.name = "q", .line = 3, .column = 10, .role = PGM_GLOBAL, .type = PGM_REAL, .place = offsetof(struct level_env, q),
   .transform = PGM_LOWER, .has_lower = true, .uniform_bounds = true, .bounds = level_zero_bounds},
  {.name = "r", .line = 4, .column = 10, .role = PGM_GLOBAL, .type = PGM_REAL, .place = offsetof(struct level_env, r),
   .transform = PGM_LOWER, .has_lower = true, .uniform_bounds = true, .bounds = level_zero_bounds},
  {.name = "z", .line = 5, .column = 10, .role = PGM_LOCAL, .type = PGM_REAL, .n_index = 1, .index = level_index_t, .axis = level_axis_t,
   .place = offsetof(struct level_env, z), .transform = PGM_IDENTITY},
  {.name = "x", .line = 7, .column = 30, .role = PGM_OBSERVED, .type = PGM_REAL, .n_index = 1, .index = level_index_t,
   .axis = level_axis_t, .place = offsetof(struct level_env, x)},
};

static const PgmStatement level_statements[] = {
  {.kind = PGM_S_INPUT, .family = LEVEL_N, .line = 2, .column = 3, .text = "input N : int<lower=2>", .constant_index = true, .range = "",
   .elements = level_one},
  {.kind = PGM_S_LATENT, .family = LEVEL_Q, .line = 3, .column = 3, .text = "q ~ lognormal(0, 1)", .constant_index = true, .range = "",
   .elements = level_one},
  {.kind = PGM_S_LATENT, .family = LEVEL_R, .line = 4, .column = 3, .text = "r ~ lognormal(0, 1)", .constant_index = true, .range = "",
   .elements = level_one},
  {.kind = PGM_S_LATENT, .family = LEVEL_Z, .line = 5, .column = 3, .text = "z[1] ~ normal(0, 100)", .constant_index = true, .range = "",
   .elements = level_one},
  {.kind = PGM_S_LATENT, .family = LEVEL_Z, .line = 6, .column = 21, .text = "z[t] ~ normal(z[t-1], q)", .range = "t in 2..N",
   .elements = level_z_rest},
  {.kind = PGM_S_OBSERVED, .family = LEVEL_X, .line = 7, .column = 21, .text = "x[t] ~ normal(z[t], r)", .range = "t in 1..N",
   .elements = level_x_all, .support = PGM_SUPPORT_REAL},
};

static const PgmTerm level_terms[] = {
  {.statement = 1, .text = "q ~ lognormal(0, 1)", .line = 3, .column = 3, .method = PGM_CLOSED_FORM, .point_each = level_q_point,
   .expected_each = level_q_expected},
  {.statement = 2, .text = "r ~ lognormal(0, 1)", .line = 4, .column = 3, .method = PGM_CLOSED_FORM, .point_each = level_r_point,
   .expected_each = level_r_expected},
  {.statement = 3, .text = "z[1] ~ normal(0, 100)", .line = 5, .column = 3, .method = PGM_CLOSED_FORM, .point_each = level_z1_point,
   .expected_each = level_z1_expected},
  {.statement = 4, .text = "z[t] ~ normal(z[t-1], q)", .line = 6, .column = 21, .n_plates = 1, .plates = level_index_t,
   .method = PGM_CLOSED_FORM, .point_each = level_z_point, .expected_each = level_z_expected},
  {.statement = 5, .text = "x[t] ~ normal(z[t], r)", .line = 7, .column = 21, .n_plates = 1, .plates = level_index_t,
   .method = PGM_CLOSED_FORM, .point_each = level_x_point, .expected_each = level_x_expected},
};

static const PgmPlate level_plates[] = {
  {.axis = -1, .first_term = 0, .n_terms = 3, .point = level_0_point, .expected = level_0_expected, .constant = level_0_constant,
   .shared = level_shared_0},
  {.variable = "t", .line = 6, .axis = 0, .first_term = 3, .n_terms = 1, .point = level_1_point, .expected = level_1_expected,
   .constant = level_1_constant, .shared = level_shared_1},
  {.variable = "t", .line = 7, .axis = 0, .first_term = 4, .n_terms = 1, .point = level_2_point, .expected = level_2_expected,
   .constant = level_1_constant, .shared = level_shared_2},
};

static const PgmRef level_refs[] = {
  {.plate = 1, .family = LEVEL_Z, .text = "z[t-1]", .place = offsetof(struct level_env, z_lag), .width = level_lag_width,
   .targets = level_lag_targets},
};

static const PgmCount level_counts[] = {{.size = LEVEL_N, .array = LEVEL_X, .position = 0}};

static const char *const level_window[] = {"x[t]", NULL};
static const PgmAmortize level_amortize[] = {
  {.family = LEVEL_Z, .verdict = "unbounded", .domain_kind = "all", .domain = "x[*]", .window = level_window},
};

static void (*const level_lets[LEVEL_FAMILIES])(const void *env, double *out) = {0};

static const PgmModel level_model = {
  .abi = PGM_ABI, .name = "local_level", .file = "local_level.pgm",
  .hash = "0000000000000000000000000000000000000000000000000000000000000003", .version = "fixture",
  .env_size = sizeof(struct level_env),
  .n_families = LEVEL_FAMILIES, .families = level_families,
  .n_statements = 6, .statements = level_statements,
  .n_plates = 3, .plates = level_plates,
  .n_terms = 5, .terms = level_terms,
  .n_refs = 1, .refs = level_refs,
  .n_counts = 1, .counts = level_counts,
  .n_amortize = 1, .amortize = level_amortize,
  .n_axes = 1,
  .shape = level_shape, .simulate = level_simulate, .lets = level_lets,
  .verdict = "open",
  .check_text = "local_level.pgm: the amortisation gap stays open\n", .check_json = "{\"verdict\": \"open\"}",
  .check_dot = "digraph local_level {}",
};

#endif
