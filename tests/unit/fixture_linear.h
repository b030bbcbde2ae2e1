/* fixture_linear.h - what pgmc emits for the simple hierarchical model, written by hand, so that the runtime is
 * tested without the compiler:
 *
 *   1  model linear {
 *   2    input N : int;  input tau = 1.155;  input sigma = 2.43;
 *   3    latent theta ~ normal(0, 100);
 *   4    plate n in 1..N {
 *   5      latent   z[n] ~ normal(0, 1);
 *   6      observed x[n] ~ normal(theta + tau * z[n], sigma);
 *   7    }
 *   8  }
 *
 * Its factorised optimum has a closed form: see fixture_linear_optimum. */
#ifndef FIXTURE_LINEAR_H
#define FIXTURE_LINEAR_H

#include "pgmrt.h"

#define FIXTURE_LOG_2PI 1.8378770664093454836

struct linear_env {
  PgmEnvBase rt;
  long N;
  double tau, sigma;
  PgmLatent theta, z;
  const double *x;
};

enum { LINEAR_N, LINEAR_TAU, LINEAR_SIGMA, LINEAR_THETA, LINEAR_Z, LINEAR_X, LINEAR_FAMILIES };

static inline long linear_unit(const PgmSpan *span, long k) { return span->units ? span->units[k] : span->first + k; }

/* ---- outside plates: theta ~ normal(0, 100) ------------------------------------------------------------------------------------------ */

static double linear_0_point(const void *env_, const PgmSpan *span)
{
  const struct linear_env *env = env_;
  const double t = env->theta.value[0] / 100;
  env->theta.value_sum[0] += span->weight * (-t / 100);
  return span->weight * (-0.5 * t * t);
}

static double linear_0_expected(const void *env_, const PgmSpan *span)
{
  const struct linear_env *env = env_;
  const double m = env->theta.mean[0] / 100, s = env->theta.sd[0] / 100;
  env->theta.mean_sum[0] += span->weight * (-m / 100);
  env->theta.sd_sum[0] += span->weight * (-s / 100);
  return span->weight * (-0.5 * (m * m + s * s));
}

static double linear_0_constant(const void *env_, const PgmSpan *span)
{
  (void)env_;
  return span->weight * (-log(100.) - 0.5 * FIXTURE_LOG_2PI);
}

static void linear_theta_point(const void *env_, const PgmSpan *span, double *out)
{
  const struct linear_env *env = env_;
  (void)span;
  const double t = env->theta.value[0] / 100;
  out[0] = -0.5 * t * t - log(100.) - 0.5 * FIXTURE_LOG_2PI;
}

static void linear_theta_expected(const void *env_, const PgmSpan *span, double *out)
{
  const struct linear_env *env = env_;
  (void)span;
  const double m = env->theta.mean[0] / 100, s = env->theta.sd[0] / 100;
  out[0] = -0.5 * (m * m + s * s) - log(100.) - 0.5 * FIXTURE_LOG_2PI;
}

/* ---- plate n in 1..N ----------------------------------------------------------------------------------------------------------------- */

static double linear_1_point(const void *env_, const PgmSpan *span)
{
  const struct linear_env *env = env_;
  const double weight = span->weight, tau = env->tau, inv_var = 1 / (env->sigma * env->sigma), theta = env->theta.value[0];
  double sum = 0, theta_bar = 0;
  for (long k = 0; k < span->count; k++) {
    const long n = linear_unit(span, k);
    const double z = env->z.value[n - 1], r = (env->x[n - 1] - theta - tau * z) * inv_var;
    sum += -0.5 * (z * z + r * r / inv_var);
    env->z.value_bar[n - 1] += weight * (tau * r - z);
    theta_bar += r;
  }
  env->theta.value_sum[0] += weight * theta_bar;
  return weight * sum;
}

static double linear_1_expected(const void *env_, const PgmSpan *span)
{
  const struct linear_env *env = env_;
  const double weight = span->weight, tau = env->tau, inv_var = 1 / (env->sigma * env->sigma);
  const double m0 = env->theta.mean[0], s0 = env->theta.sd[0];
  double sum = 0, m0_bar = 0;
  for (long k = 0; k < span->count; k++) {
    const long n = linear_unit(span, k);
    const double m = env->z.mean[n - 1], s = env->z.sd[n - 1], e = env->x[n - 1] - m0 - tau * m, r = e * inv_var;
    sum += -0.5 * (m * m + s * s + (e * e + s0 * s0 + tau * tau * s * s) * inv_var);
    env->z.mean_bar[n - 1] += weight * (tau * r - m);
    env->z.sd_bar[n - 1] += weight * (-s - tau * tau * s * inv_var);
    m0_bar += r;
  }
  env->theta.mean_sum[0] += weight * m0_bar;
  env->theta.sd_sum[0] += weight * (-s0 * inv_var * (double)span->count);
  return weight * sum;
}

static double linear_1_constant(const void *env_, const PgmSpan *span)
{
  const struct linear_env *env = env_;
  return span->weight * (double)span->count * (-log(env->sigma) - FIXTURE_LOG_2PI);
}

static void linear_z_point(const void *env_, const PgmSpan *span, double *out)
{
  const struct linear_env *env = env_;
  for (long k = 0; k < span->count; k++) {
    const double z = env->z.value[linear_unit(span, k) - 1];
    out[k] = -0.5 * (z * z + FIXTURE_LOG_2PI);
  }
}

static void linear_z_expected(const void *env_, const PgmSpan *span, double *out)
{
  const struct linear_env *env = env_;
  for (long k = 0; k < span->count; k++) {
    const long n = linear_unit(span, k);
    const double m = env->z.mean[n - 1], s = env->z.sd[n - 1];
    out[k] = -0.5 * (m * m + s * s + FIXTURE_LOG_2PI);
  }
}

static void linear_x_point(const void *env_, const PgmSpan *span, double *out)
{
  const struct linear_env *env = env_;
  for (long k = 0; k < span->count; k++) {
    const long n = linear_unit(span, k);
    const double e = (env->x[n - 1] - env->theta.value[0] - env->tau * env->z.value[n - 1]) / env->sigma;
    out[k] = -0.5 * (e * e + FIXTURE_LOG_2PI) - log(env->sigma);
  }
}

static void linear_x_expected(const void *env_, const PgmSpan *span, double *out)
{
  const struct linear_env *env = env_;
  const double inv_var = 1 / (env->sigma * env->sigma), s0 = env->theta.sd[0];
  for (long k = 0; k < span->count; k++) {
    const long n = linear_unit(span, k);
    const double e = env->x[n - 1] - env->theta.mean[0] - env->tau * env->z.mean[n - 1], s = env->tau * env->z.sd[n - 1];
    out[k] = -0.5 * ((e * e + s0 * s0 + s * s) * inv_var + FIXTURE_LOG_2PI) - log(env->sigma);
  }
}

/* ---- descriptors --------------------------------------------------------------------------------------------------------------------- */

static void linear_sigma_default(const void *env, double *array) { (void)env; array[0] = 2.43; }
static void linear_tau_default(const void *env, double *array) { (void)env; array[0] = 1.155; }
static void linear_one(const void *env, PgmSink *sink) { (void)env; sink->run(sink, 0, 1); }
static void linear_all(const void *env, PgmSink *sink) { sink->run(sink, 0, ((const struct linear_env *)env)->N); }

static void linear_shape(const void *env_, PgmShape *shape)
{
  const struct linear_env *env = env_;
  for (int f = 0; f < LINEAR_FAMILIES; f++) shape->family[f] = (PgmBox){.dim = {1, 1}};
  shape->family[LINEAR_Z] = shape->family[LINEAR_X] = (PgmBox){.lo = {1}, .hi = {env->N}, .dim = {1, 1}};
  shape->term[0] = (PgmBox){.dim = {1, 1}};
  shape->term[1] = shape->term[2] = (PgmBox){.lo = {1}, .hi = {env->N}, .dim = {1, 1}};
  shape->plate_lo[0] = shape->plate_hi[0] = 0;
  shape->plate_lo[1] = 1, shape->plate_hi[1] = env->N;
}

static int linear_simulate(const void *env_, PgmRng *rng, const unsigned char *draw, long *where)
{
  const struct linear_env *env = env_;
  if (draw[3]) ((double *)env->theta.value)[0] = pgm_draw_normal(rng, 0, 100);
  for (long n = 1; n <= env->N; n++) {
    where[0] = n;
    if (draw[4]) ((double *)env->z.value)[n - 1] = pgm_draw_normal(rng, 0, 1);
    if (draw[5]) {
      if (!(env->sigma > 0)) return 5;
      ((double *)env->x)[n - 1] = pgm_draw_normal(rng, env->theta.value[0] + env->tau * env->z.value[n - 1], env->sigma);
    }
  }
  return -1;
}

static const char *const linear_index_n[] = {"n"};
static const int linear_axis_n[] = {0};
static const int linear_shared[] = {LINEAR_THETA, -1};

static const PgmFamily linear_families[] = {
  {.name = "N", .line = 2, .column = 9, .role = PGM_INPUT, .type = PGM_INT, .integer = true, .place = offsetof(struct linear_env, N),
   .is_size = true},
  {.name = "tau", .line = 2, .column = 25, .role = PGM_INPUT, .type = PGM_REAL, .place = offsetof(struct linear_env, tau)},
  {.name = "sigma", .line = 2, .column = 45, .role = PGM_INPUT, .type = PGM_REAL, .place = offsetof(struct linear_env, sigma)},
  {.name = "theta", .line = 3, .column = 10, .role = PGM_GLOBAL, .type = PGM_REAL, .place = offsetof(struct linear_env, theta),
   .transform = PGM_IDENTITY},
  {.name = "z", .line = 5, .column = 14, .role = PGM_LOCAL, .type = PGM_REAL, .n_index = 1, .index = linear_index_n,
   .axis = linear_axis_n, .place = offsetof(struct linear_env, z), .transform = PGM_IDENTITY, .separable = true},
  {.name = "x", .line = 6, .column = 14, .role = PGM_OBSERVED, .type = PGM_REAL, .n_index = 1, .index = linear_index_n,
   .axis = linear_axis_n, .place = offsetof(struct linear_env, x)},
};

static const PgmStatement linear_statements[] = {
  {.kind = PGM_S_INPUT, .family = LINEAR_N, .line = 2, .column = 3, .text = "input N : int", .constant_index = true, .range = "",
   .elements = linear_one},
  {.kind = PGM_S_INPUT, .family = LINEAR_TAU, .line = 2, .column = 19, .text = "input tau = 1.155", .constant_index = true, .range = "",
   .elements = linear_one, .fallback = linear_tau_default},
  {.kind = PGM_S_INPUT, .family = LINEAR_SIGMA, .line = 2, .column = 39, .text = "input sigma = 2.43", .constant_index = true,
   .range = "", .elements = linear_one, .fallback = linear_sigma_default},
  {.kind = PGM_S_LATENT, .family = LINEAR_THETA, .line = 3, .column = 3, .text = "theta ~ normal(0, 100)", .constant_index = true,
   .range = "", .elements = linear_one},
  {.kind = PGM_S_LATENT, .family = LINEAR_Z, .line = 5, .column = 5, .text = "z[n] ~ normal(0, 1)", .range = "n in 1..N",
   .elements = linear_all},
  {.kind = PGM_S_OBSERVED, .family = LINEAR_X, .line = 6, .column = 5, .text = "x[n] ~ normal(theta + tau * z[n], sigma)",
   .range = "n in 1..N", .elements = linear_all, .support = PGM_SUPPORT_REAL},
};

static const PgmTerm linear_terms[] = {
  {.statement = 3, .text = "theta ~ normal(0, 100)", .line = 3, .column = 3, .method = PGM_CLOSED_FORM, .point_each = linear_theta_point,
   .expected_each = linear_theta_expected},
  {.statement = 4, .text = "z[n] ~ normal(0, 1)", .line = 5, .column = 5, .n_plates = 1, .plates = linear_index_n,
   .method = PGM_CLOSED_FORM, .point_each = linear_z_point, .expected_each = linear_z_expected},
  {.statement = 5, .text = "x[n] ~ normal(theta + tau * z[n], sigma)", .line = 6, .column = 5, .n_plates = 1, .plates = linear_index_n,
   .method = PGM_CLOSED_FORM, .point_each = linear_x_point, .expected_each = linear_x_expected},
};

static const PgmPlate linear_plates[] = {
  {.axis = -1, .first_term = 0, .n_terms = 1, .point = linear_0_point, .expected = linear_0_expected, .constant = linear_0_constant,
   .shared = linear_shared},
  {.variable = "n", .line = 4, .axis = 0, .first_term = 1, .n_terms = 2, .point = linear_1_point, .expected = linear_1_expected,
   .constant = linear_1_constant, .shared = linear_shared},
};

static const PgmCount linear_counts[] = {{.size = LINEAR_N, .array = LINEAR_X, .position = 0}};

static const char *const linear_z_inputs[] = {"x[n]", NULL};
static const char *const linear_z_sd_inputs[] = {NULL};
static const PgmAmortize linear_amortize[] = {
  {.family = LINEAR_Z, .verdict = "closes", .domain_kind = "window", .domain = "x[n]", .inputs = linear_z_inputs,
   .sd_inputs = linear_z_sd_inputs, .window = linear_z_inputs},
};

static void (*const linear_lets[LINEAR_FAMILIES])(const void *env, double *out) = {0};

static const PgmModel linear_model = {
  .abi = PGM_ABI, .name = "linear", .file = "linear.pgm",
  .hash = "0000000000000000000000000000000000000000000000000000000000000001", .version = "fixture",
  .env_size = sizeof(struct linear_env),
  .n_families = LINEAR_FAMILIES, .families = linear_families,
  .n_statements = 6, .statements = linear_statements,
  .n_plates = 2, .plates = linear_plates,
  .n_terms = 3, .terms = linear_terms,
  .n_counts = 1, .counts = linear_counts,
  .n_amortize = 1, .amortize = linear_amortize,
  .n_axes = 1,
  .shape = linear_shape, .simulate = linear_simulate, .lets = linear_lets,
  .verdict = "closes",
  .check_text = "linear.pgm: amortised inference can close the gap\n",
  .check_json = "{\"verdict\": \"closes\"}", .check_dot = "digraph linear {}",
};

/* The optimum of the factorised Gaussian family, in closed form. Given theta's mean m: z_n's mean is k (x_n - m) with k = tau / (tau^2 +
 * sigma^2), and m solves m / 100^2 = sum (x_n - m - tau z_n) / sigma^2; the sds are conditional ones. Returns the ELBO. */
static inline double fixture_linear_optimum(long N, const double *x, double tau, double sigma, double *theta_mean, double *theta_sd,
                                            double *z_sd)
{
  const double v = sigma * sigma, k = tau / (tau * tau + v), prior = 1e-4;
  double sum = 0;
  for (long n = 0; n < N; n++) sum += x[n];
  const double c = (1 - tau * k) / v, m = c * sum / (prior + (double)N * c);
  *theta_mean = m;
  *theta_sd = 1 / sqrt(prior + (double)N / v);
  *z_sd = 1 / sqrt(1 + tau * tau / v);
  const double s0 = *theta_sd, s = *z_sd;
  double elbo = -0.5 * prior * (m * m + s0 * s0) - log(100.) - 0.5 * FIXTURE_LOG_2PI + 0.5 * (FIXTURE_LOG_2PI + 1) + log(s0);
  for (long n = 0; n < N; n++) {
    const double z = k * (x[n] - m), e = x[n] - m - tau * z;
    elbo += -0.5 * (z * z + s * s) - 0.5 * (e * e + s0 * s0 + tau * tau * s * s) / v - log(sigma) - FIXTURE_LOG_2PI +
            0.5 * (FIXTURE_LOG_2PI + 1) + log(s);
  }
  return elbo;
}

#endif
