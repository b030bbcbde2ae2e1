/* fixture_groups.h - the data side of what pgmc emits, with every kind of input, and a plate with lookups; written by hand:
 *
 *    1  model groups {
 *    2    input N : int;  input J : int;  input K : int = 2;  input L : int = K + 1;
 *    3    input scale : real<lower=0> = 2 * K;
 *    4    input S : cov_matrix[K];
 *    5    plate n in 1..N {
 *    6      input g[n] : int<lower=1, upper=J>;
 *    7      input p[n] : simplex[K];
 *    8      observed y[n] : int ~ poisson_log(alpha[g[n]] + alpha[J + 1 - g[n]]);
 *    9    }
 *   10    plate j in 1..J {
 *   11      latent alpha[j] ~ normal(0, 1);
 *   12      input M[j] : int<lower=0>;
 *   13      plate i in 1..M[j] { input r[j, i]; }
 *   14      factor alpha[j] * alpha[J + 1 - j] / 10;
 *   15    }
 *   16    input c[0] = 5;  input c[1];  plate n in 3..N { input c[n]; }
 *   17  }
 *
 * Line 16 defines N >= 3 with a gap at 2. Point kernels only. */
#ifndef FIXTURE_GROUPS_H
#define FIXTURE_GROUPS_H

#include "pgmrt.h"

struct groups_env {
  PgmEnvBase rt;
  long N, J, K, L;
  double scale;
  const double *S;
  const int *g;
  const double *p;
  const int *y;
  PgmLatent alpha;
  const int *M;
  const double *r, *c;
  PgmRefBar alpha_g, alpha_reverse;
};

enum {
  GROUPS_N, GROUPS_J, GROUPS_K, GROUPS_L, GROUPS_SCALE, GROUPS_S, GROUPS_G, GROUPS_P, GROUPS_Y, GROUPS_ALPHA, GROUPS_M, GROUPS_R, GROUPS_C,
  GROUPS_FAMILIES
};

static inline long groups_unit(const PgmSpan *span, long k) { return span->units ? span->units[k] : span->first + k; }

/* ---- plate n ------------------------------------------------------------------------------------------------------------------------- */

static inline double groups_y_at(const struct groups_env *env, long n, double *bar)
{
  const long a = env->g[n - 1] - 1, b = env->J - env->g[n - 1];
  const double eta = env->alpha.value[a] + env->alpha.value[b], y = env->y[n - 1];
  *bar = y - exp(eta);
  return y * eta - exp(eta) - lgamma(y + 1);
}

static double groups_0_point(const void *env_, const PgmSpan *span)
{
  const struct groups_env *env = env_;
  double sum = 0;
  for (long k = 0; k < span->count; k++) {
    const long n = groups_unit(span, k);
    double bar;
    sum += groups_y_at(env, n, &bar);
    env->alpha_g.value[(n - 1) * 2] += span->weight * bar;
    env->alpha_g.value[(n - 1) * 2 + 1] += span->weight * bar;
  }
  return span->weight * sum;
}

static void groups_y_point(const void *env, const PgmSpan *span, double *out)
{
  double bar;
  for (long k = 0; k < span->count; k++) out[k] = groups_y_at(env, groups_unit(span, k), &bar);
}

static long groups_two(const void *env) { (void)env; return 2; }
static void groups_g_targets(const void *env_, const PgmSpan *span, long *out)
{
  const struct groups_env *env = env_;
  for (long k = 0; k < span->count; k++) {
    const long g = env->g[groups_unit(span, k) - 1];
    out[2 * k] = g - 1;
    out[2 * k + 1] = env->J - g;
  }
}

/* ---- plate j ------------------------------------------------------------------------------------------------------------------------- */

static double groups_1_point(const void *env_, const PgmSpan *span)
{
  const struct groups_env *env = env_;
  double sum = 0;
  for (long k = 0; k < span->count; k++) {
    const long j = groups_unit(span, k);
    const double a = env->alpha.value[j - 1], b = env->alpha.value[env->J - j];
    sum += -0.5 * a * a + a * b / 10;
    env->alpha.value_bar[j - 1] += span->weight * (-a + b / 10);
    env->alpha_reverse.value[j - 1] += span->weight * a / 10;
  }
  return span->weight * sum;
}

static void groups_alpha_point(const void *env_, const PgmSpan *span, double *out)
{
  const struct groups_env *env = env_;
  for (long k = 0; k < span->count; k++) {
    const double a = env->alpha.value[groups_unit(span, k) - 1];
    out[k] = -0.5 * a * a;
  }
}

static void groups_factor_point(const void *env_, const PgmSpan *span, double *out)
{
  const struct groups_env *env = env_;
  for (long k = 0; k < span->count; k++) {
    const long j = groups_unit(span, k);
    out[k] = env->alpha.value[j - 1] * env->alpha.value[env->J - j] / 10;
  }
}

static long groups_one_wide(const void *env) { (void)env; return 1; }
static void groups_reverse_targets(const void *env_, const PgmSpan *span, long *out)
{
  const struct groups_env *env = env_;
  for (long k = 0; k < span->count; k++) out[k] = env->J - groups_unit(span, k);
}

/* ---- descriptors --------------------------------------------------------------------------------------------------------------------- */

static void groups_K_default(const void *env, double *array) { (void)env; array[0] = 2; }
static void groups_L_default(const void *env, double *array) { array[0] = (double)(((const struct groups_env *)env)->K + 1); }
static void groups_scale_default(const void *env, double *array) { array[0] = 2. * (double)((const struct groups_env *)env)->K; }
static void groups_c_default(const void *env, double *array) { (void)env; array[0] = 5; }

static void groups_zero_bounds(const void *env, double *lower, double *upper) { (void)env, (void)upper; lower[0] = 0; }
static void groups_g_bounds(const void *env, double *lower, double *upper)
{
  lower[0] = 1;
  upper[0] = (double)((const struct groups_env *)env)->J;
}

static void groups_one(const void *env, PgmSink *sink) { (void)env; sink->run(sink, 0, 1); }
static void groups_all_n(const void *env, PgmSink *sink) { sink->run(sink, 0, ((const struct groups_env *)env)->N); }
static void groups_all_j(const void *env, PgmSink *sink) { sink->run(sink, 0, ((const struct groups_env *)env)->J); }
static void groups_c_0(const void *env, PgmSink *sink) { (void)env; sink->run(sink, 0, 1); }
static void groups_c_1(const void *env, PgmSink *sink) { (void)env; sink->run(sink, 1, 1); }
static void groups_c_n(const void *env, PgmSink *sink) { sink->run(sink, 3, ((const struct groups_env *)env)->N - 2); }

static long groups_widest(const struct groups_env *env)
{
  long most = 0;
  for (long j = 0; j < env->J && env->M; j++) most = env->M[j] > most ? env->M[j] : most;
  return most;
}

static void groups_r_rows(const void *env_, PgmSink *sink)
{
  const struct groups_env *env = env_;
  for (long j = 0; j < env->J && env->M; j++) sink->run(sink, j * groups_widest(env), env->M[j]);
}

static void groups_shape(const void *env_, PgmShape *shape)
{
  const struct groups_env *env = env_;
  for (int f = 0; f < GROUPS_FAMILIES; f++) shape->family[f] = (PgmBox){.dim = {1, 1}};
  shape->family[GROUPS_S] = (PgmBox){.dim = {env->K, env->K}};
  shape->family[GROUPS_G] = shape->family[GROUPS_Y] = (PgmBox){.lo = {1}, .hi = {env->N}, .dim = {1, 1}};
  shape->family[GROUPS_P] = (PgmBox){.lo = {1}, .hi = {env->N}, .dim = {env->K, 1}};
  shape->family[GROUPS_ALPHA] = shape->family[GROUPS_M] = (PgmBox){.lo = {1}, .hi = {env->J}, .dim = {1, 1}};
  shape->family[GROUPS_R] = (PgmBox){.lo = {1, 1}, .hi = {env->J, groups_widest(env)}, .dim = {1, 1}};
  shape->family[GROUPS_C] = (PgmBox){.lo = {0}, .hi = {env->N}, .dim = {1, 1}};
  shape->term[0] = (PgmBox){.lo = {1}, .hi = {env->N}, .dim = {1, 1}};
  shape->term[1] = shape->term[2] = (PgmBox){.lo = {1}, .hi = {env->J}, .dim = {1, 1}};
  shape->plate_lo[0] = 1, shape->plate_hi[0] = env->N;
  shape->plate_lo[1] = 1, shape->plate_hi[1] = env->J;
}

static const char *const groups_index_n[] = {"n"};
static const char *const groups_index_j[] = {"j"};
static const char *const groups_index_ji[] = {"j", "i"};
static const int groups_axis_0[] = {0}, groups_axis_1[] = {1}, groups_axis_12[] = {1, 2};

#define GROUPS_AT(member) .place = offsetof(struct groups_env, member)
static const PgmFamily groups_families[] = {
  {.name = "N", .line = 2, .role = PGM_INPUT, .type = PGM_INT, .integer = true, GROUPS_AT(N), .is_size = true},
  {.name = "J", .line = 2, .role = PGM_INPUT, .type = PGM_INT, .integer = true, GROUPS_AT(J), .is_size = true},
  {.name = "K", .line = 2, .role = PGM_INPUT, .type = PGM_INT, .integer = true, GROUPS_AT(K), .is_size = true},
  {.name = "L", .line = 2, .role = PGM_INPUT, .type = PGM_INT, .integer = true, GROUPS_AT(L), .is_size = true},
  {.name = "scale", .line = 3, .role = PGM_INPUT, .type = PGM_REAL, GROUPS_AT(scale), .has_lower = true, .uniform_bounds = true,
   .bounds = groups_zero_bounds},
  {.name = "S", .line = 4, .role = PGM_INPUT, .type = PGM_COV_MATRIX, .rank = 2, GROUPS_AT(S)},
  {.name = "g", .line = 6, .role = PGM_INPUT, .type = PGM_INT, .integer = true, .n_index = 1, .index = groups_index_n,
   .axis = groups_axis_0,
   GROUPS_AT(g), .has_lower = true, .has_upper = true, .uniform_bounds = true, .bounds = groups_g_bounds},
  {.name = "p", .line = 7, .role = PGM_INPUT, .type = PGM_SIMPLEX, .n_index = 1, .rank = 1, .index = groups_index_n, .axis = groups_axis_0,
   GROUPS_AT(p)},
  {.name = "y", .line = 8, .role = PGM_OBSERVED, .type = PGM_INT, .integer = true, .n_index = 1, .index = groups_index_n,
   .axis = groups_axis_0, GROUPS_AT(y)},
  {.name = "alpha", .line = 11, .role = PGM_LOCAL, .type = PGM_REAL, .n_index = 1, .index = groups_index_j, .axis = groups_axis_1,
   GROUPS_AT(alpha)},
  {.name = "M", .line = 12, .role = PGM_INPUT, .type = PGM_INT, .integer = true, .n_index = 1, .index = groups_index_j,
   .axis = groups_axis_1,
   GROUPS_AT(M), .has_lower = true, .uniform_bounds = true, .bounds = groups_zero_bounds},
  {.name = "r", .line = 13, .role = PGM_INPUT, .type = PGM_REAL, .n_index = 2, .index = groups_index_ji, .axis = groups_axis_12,
   GROUPS_AT(r)},
  {.name = "c", .line = 16, .role = PGM_INPUT, .type = PGM_REAL, .n_index = 1, .index = groups_index_n, .axis = groups_axis_0,
   GROUPS_AT(c)},
};

#define GROUPS_SCALAR(f, l, t) .kind = PGM_S_INPUT, .family = f, .line = l, .text = t, .constant_index = true, .range = "",               \
  .elements = groups_one
static const PgmStatement groups_statements[] = {
  {GROUPS_SCALAR(GROUPS_N, 2, "input N : int")},
  {GROUPS_SCALAR(GROUPS_J, 2, "input J : int")},
  {GROUPS_SCALAR(GROUPS_L, 2, "input L : int = K + 1"), .fallback = groups_L_default},
  {GROUPS_SCALAR(GROUPS_K, 2, "input K : int = 2"), .fallback = groups_K_default},
  {GROUPS_SCALAR(GROUPS_SCALE, 3, "input scale : real<lower=0> = 2 * K"), .fallback = groups_scale_default},
  {GROUPS_SCALAR(GROUPS_S, 4, "input S : cov_matrix[K]")},
  {.kind = PGM_S_INPUT, .family = GROUPS_G, .line = 6, .text = "input g[n] : int<lower=1, upper=J>", .range = "n in 1..N",
   .elements = groups_all_n},
  {.kind = PGM_S_INPUT, .family = GROUPS_P, .line = 7, .text = "input p[n] : simplex[K]", .range = "n in 1..N", .elements = groups_all_n},
  {.kind = PGM_S_OBSERVED, .family = GROUPS_Y, .line = 8, .text = "y[n] ~ poisson_log(...)", .range = "n in 1..N", .elements = groups_all_n,
   .support = PGM_SUPPORT_COUNT},
  {.kind = PGM_S_LATENT, .family = GROUPS_ALPHA, .line = 11, .text = "alpha[j] ~ normal(0, 1)", .range = "j in 1..J",
   .elements = groups_all_j},
  {.kind = PGM_S_INPUT, .family = GROUPS_M, .line = 12, .text = "input M[j] : int<lower=0>", .range = "j in 1..J",
   .elements = groups_all_j},
  {.kind = PGM_S_INPUT, .family = GROUPS_R, .line = 13, .text = "input r[j, i]", .range = "j in 1..J, i in 1..M[j]",
   .elements = groups_r_rows},
  {.kind = PGM_S_FACTOR, .family = -1, .line = 14, .text = "factor alpha[j] * alpha[J + 1 - j] / 10", .range = "j in 1..J"},
  {.kind = PGM_S_INPUT, .family = GROUPS_C, .line = 16, .text = "input c[0] = 5", .constant_index = true, .range = "",
   .elements = groups_c_0,
   .fallback = groups_c_default},
  {.kind = PGM_S_INPUT, .family = GROUPS_C, .line = 16, .text = "input c[1]", .constant_index = true, .range = "", .elements = groups_c_1},
  {.kind = PGM_S_INPUT, .family = GROUPS_C, .line = 16, .text = "input c[n]", .range = "n in 3..N", .elements = groups_c_n},
};

static const PgmTerm groups_terms[] = {
  {.statement = 8, .text = "y[n] ~ poisson_log(...)", .line = 8, .n_plates = 1, .plates = groups_index_n, .method = PGM_SAMPLED,
   .point_each = groups_y_point},
  {.statement = 9, .text = "alpha[j] ~ normal(0, 1)", .line = 11, .n_plates = 1, .plates = groups_index_j, .method = PGM_SAMPLED,
   .point_each = groups_alpha_point},
  {.statement = 12, .text = "factor alpha[j] * alpha[J + 1 - j] / 10", .line = 14, .n_plates = 1, .plates = groups_index_j,
   .method = PGM_SAMPLED, .point_each = groups_factor_point},
};

static const PgmPlate groups_plates[] = {
  {.variable = "n", .line = 5, .axis = 0, .first_term = 0, .n_terms = 1, .point = groups_0_point},
  {.variable = "j", .line = 10, .axis = 1, .first_term = 1, .n_terms = 2, .point = groups_1_point},
};

static const PgmRef groups_refs[] = {
  {.plate = 0, .family = GROUPS_ALPHA, .text = "alpha[g[n]]", .place = offsetof(struct groups_env, alpha_g), .width = groups_two,
   .targets = groups_g_targets},
  {.plate = 1, .family = GROUPS_ALPHA, .text = "alpha[J + 1 - j]", .place = offsetof(struct groups_env, alpha_reverse),
   .width = groups_one_wide, .targets = groups_reverse_targets},
};

/* alpha[g[n]]: here always in range, because g has bounds; kept to test the runtime's message, with bounds switched off. */
static long groups_alpha_check(const void *env_, const PgmSpan *span, const PgmDefined *defined, PgmMiss *miss)
{
  const struct groups_env *env = env_;
  for (long k = 0; k < span->count; k++) {
    const long n = groups_unit(span, k), index[] = {env->g[n - 1]};
    if (!pgm_defined(defined, miss, 1, index) && miss->n == 1) miss->unit[0] = n;
  }
  return miss->n;
}

static const PgmRangeCheck groups_checks[] = {
  {.family = GROUPS_ALPHA, .plate = 0, .term_statement = 8, .line = 8, .column = 35, .text = "alpha[g[n]]", .check = groups_alpha_check},
};

static const PgmCount groups_counts[] = {
  {.size = GROUPS_N, .array = GROUPS_Y, .position = 0}, {.size = GROUPS_J, .array = GROUPS_G, .position = -1},
  {.size = GROUPS_K, .array = GROUPS_P, .position = 1},
};

static const PgmModel groups_model = {
  .abi = PGM_ABI, .name = "groups", .file = "groups.pgm",
  .hash = "0000000000000000000000000000000000000000000000000000000000000004", .version = "fixture",
  .env_size = sizeof(struct groups_env),
  .n_families = GROUPS_FAMILIES, .families = groups_families,
  .n_statements = 16, .statements = groups_statements,
  .n_plates = 2, .plates = groups_plates,
  .n_terms = 3, .terms = groups_terms,
  .n_refs = 2, .refs = groups_refs,
  .n_checks = 1, .checks = groups_checks,
  .n_counts = 3, .counts = groups_counts,
  .n_axes = 3,
  .shape = groups_shape,
  .verdict = "unknown",
};

#endif
