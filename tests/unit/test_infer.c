/* Fits of the hand-written models: F-VI against closed forms, A-VI and constant VI against F-VI, gradients of the whole objective against
 * central differences for every kind of source, gather plans, threads, minibatches. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture_effects.h"
#include "fixture_level.h"
#include "fixture_linear.h"
#include "fixture_saw.h"
#include "gather.h"
#include "objective.h"
#include "philox.h"
#include "solve.h"

static PgmError error;

/* ---- data ---------------------------------------------------------------------------------------------------------------------------- */

static PgmData *data_of(const char *name, long n, const double *x)
{
  PgmData *d = pgm_data_new();
  assert_int_equal(pgm_data_add(d, name, 1, &n, x, "test", &error), PGM_OK);
  return d;
}

static double *linear_values(long n)
{
  double *x = malloc((size_t)(2 * n) * sizeof *x);
  pgm_philox_normals((PgmKey){11, 0, 0}, 0, 2 * n, x);
  for (long i = 0; i < n; i++) x[i] = 4 + 1.155 * x[i] + 2.43 * x[n + i];
  return x;
}

static double *saw_values(long n)
{
  double *x = malloc((size_t)(3 * n) * sizeof *x), before = 0;
  pgm_philox_normals((PgmKey){12, 0, 0}, 0, 2 * n, x + n);
  for (long i = 0; i < n; i++) before = x[i] = 0.75 * (before + x[n + i] + 1.5) + x[2 * n + i];
  return x;
}

static PgmSession *open_session(const PgmModel *model, const PgmData *d, int threads)
{
  PgmSession *s = NULL;
  const PgmSessionOptions o = {.threads = threads};
  if (pgm_session_open(&s, model, d, &o, &error) != PGM_OK) fail_msg("%s", error.text);
  return s;
}

typedef struct {
  PgmData *data;
  PgmSession *s;
  double *x;
  long n;
} Case;

static Case linear_case(long n, int threads)
{
  Case c = {.n = n, .x = linear_values(n)};
  c.data = data_of("x", n, c.x);
  c.s = open_session(&linear_model, c.data, threads);
  return c;
}

static Case saw_case(long n, int threads)
{
  Case c = {.n = n, .x = saw_values(n)};
  c.data = data_of("x", n, c.x);
  c.s = open_session(&saw_model, c.data, threads);
  return c;
}

static void close_case(Case *c)
{
  pgm_session_close(c->s);
  pgm_data_free(c->data);
  free(c->x);
}

static PgmFit *run(PgmSession *s, const PgmFitOptions *o)
{
  PgmFit *fit = NULL;
  if (pgm_fit_run(s, o, &fit, &error) != PGM_OK) fail_msg("%s", error.text);
  return fit;
}

static double elbo_of(PgmSession *s, const PgmFitOptions *o)
{
  PgmFit *fit = run(s, o);
  double elbo = fit->elbo;
  if (!fit->converged) fail_msg("not converged: %s", fit->criterion);
  pgm_fit_free(fit);
  return elbo;
}

/* ---- F-VI ---------------------------------------------------------------------------------------------------------------------------- */

static void linear_reaches_the_closed_form(void **state)
{
  (void)state;
  Case c = linear_case(10000, 2);
  double mean, sd, z_sd, best = fixture_linear_optimum(c.n, c.x, 1.155, 2.43, &mean, &sd, &z_sd);
  static const PgmOptimizer optimizers[] = {PGM_OPT_DEFAULT, PGM_OPT_PROFILE, PGM_OPT_LBFGS};
  for (int k = 0; k < 3; k++) {
    PgmFitOptions o = pgm_fit_defaults();
    o.optimizer = optimizers[k];
    PgmFit *fit = run(c.s, &o);
    assert_true(fit->converged);
    assert_string_equal(fit->stopped, "converged");
    assert_true(fabs(fit->elbo - best) < 1e-3);
    assert_true(fit->elbo_se == 0);
    assert_int_equal(fit->observations, c.n);
    assert_int_equal(fit->variational_parameters, 2 * c.n + 2);
    assert_true(fabs(fit->factors[0].mean[0] - mean) < 1e-3 * sd);
    assert_true(fabs(exp(fit->factors[0].log_sd[0]) / sd - 1) < 1e-3);
    for (long n = 0; n < c.n; n += 997) assert_true(fabs(exp(fit->factors[1].log_sd[n]) / z_sd - 1) < 1e-3);
    pgm_fit_free(fit);
  }
  close_case(&c);
}

/* Strong coupling: coordinate ascent would need thousands of sweeps. */
static void strong_coupling_is_no_obstacle(void **state)
{
  (void)state;
  const long n = 2000;
  double *x = linear_values(n), mean, sd, z_sd;
  PgmData *d = data_of("x", n, x);
  assert_int_equal(pgm_data_set(d, "tau=20", &error), PGM_OK);
  assert_int_equal(pgm_data_set(d, "sigma=0.5", &error), PGM_OK);
  PgmSession *s = open_session(&linear_model, d, 1);
  double best = fixture_linear_optimum(n, x, 20, 0.5, &mean, &sd, &z_sd);
  for (int k = 0; k < 2; k++) {
    PgmFitOptions o = pgm_fit_defaults();
    o.optimizer = k ? PGM_OPT_LBFGS : PGM_OPT_PROFILE;
    assert_true(fabs(elbo_of(s, &o) - best) < 1e-2);
  }
  pgm_session_close(s);
  pgm_data_free(d);
  free(x);
}

static void sampled_objectives_come_near(void **state)
{
  (void)state;
  Case c = linear_case(500, 1);
  double mean, sd, z_sd, best = fixture_linear_optimum(c.n, c.x, 1.155, 2.43, &mean, &sd, &z_sd);
  PgmFitOptions o = pgm_fit_defaults();
  o.expectation = PGM_EXP_FIXED_DRAWS;
  assert_true(fabs(elbo_of(c.s, &o) - best) < 5);
  o.expectation = PGM_EXP_MONTE_CARLO;
  assert_true(fabs(elbo_of(c.s, &o) - best) < 2);
  o = pgm_fit_defaults();
  o.optimizer = PGM_OPT_ADAM;
  assert_true(fabs(elbo_of(c.s, &o) - best) < 0.5);
  o.batch = 100;
  assert_true(fabs(elbo_of(c.s, &o) - best) < 3);
  close_case(&c);
}

/* ---- local terms that are not quadratic ---------------------------------------------------------------------------------------------- */

static Case effects_case(const PgmModel *model, long n, int threads)
{
  Case c = {.n = n, .x = malloc((size_t)(2 * n) * sizeof(double))};
  pgm_philox_normals((PgmKey){14, 0, 0}, 0, 2 * n, c.x);
  for (long i = 0; i < n; i++) {
    const double e = c.x[i], u = pgm_philox_uniform((PgmKey){14, 0, 1}, (uint64_t)i);
    if (model == &poisson_model) {
      const double rate = exp(1 + 0.8 * e);
      double p = exp(-rate), sum = p;
      int k = 0;
      for (; u > sum && k < 100000; sum += p *= rate / ++k) continue;
      c.x[i] = k;
    } else if (model == &logistic_model) {
      c.x[i] = u < 1 / (1 + exp(0.5 - 1.5 * e));
    } else {
      const double z = 5 * e;
      c.x[i] = 1.5 + sin(z) * z + z + exp(cos(z)) * c.x[n + i];
    }
  }
  c.data = data_of("x", n, c.x);
  c.s = open_session(model, c.data, threads);
  return c;
}

/* Coordinate ascent, written without the runtime: locals by damped Newton steps with numerical derivatives in the log sd, theta in closed
 * form, log tau by Newton. Expectations by the trapezoidal rule on 201 nodes. Returns the ELBO without the constants of the data. */
typedef struct {
  double theta, theta_sd, tau, tau_sd, elbo;
} Plain;

static double plain_local(bool poisson, double x, double m0, double s0, double p, double m, double l, double *gm, double *gl, double *pm)
{
  const double s = exp(l), d = m - m0;
  double f = 0, fm = 0, fs = 0, h = 0;
  if (poisson) {
    const double rate = exp(m + s * s / 2);
    f = x * m - rate, fm = x - rate, fs = -s * rate, h = rate;
  } else {
    for (int q = -100; q <= 100; q++) {
      const double t = 0.08 * q, w = 0.08 * exp(-t * t / 2) / sqrt(2 * M_PI), z = m + s * t, v = 1 / (1 + exp(-z));
      f += w * (x * z - (z > 0 ? z + log1p(exp(-z)) : log1p(exp(z))));
      fm += w * (x - v), fs += w * (x - v) * t, h += w * v * (1 - v);
    }
  }
  *gm = fm - d * p;
  *gl = s * (fs - s * p) + 1;
  *pm = h + p;
  return f - 0.5 * p * (d * d + s * s + s0 * s0) + l;
}

static Plain plain_effects(bool poisson, long n, const double *x)
{
  double *m = calloc((size_t)n, sizeof *m), *l = calloc((size_t)n, sizeof *l), old = -INFINITY;
  Plain b = {0, 0.1, 0, 0.1, 0};
  for (int sweep = 0; sweep < 20000; sweep++) {
    const double p = exp(-2 * b.tau + 2 * b.tau_sd * b.tau_sd);
    double sum = 0, square = 0, elbo = 0;
    for (long i = 0; i < n; i++) {
      for (int k = 0; k < (sweep ? 1 : 50); k++) {
        double gm, gl, pm, f = plain_local(poisson, x[i], b.theta, b.theta_sd, p, m[i], l[i], &gm, &gl, &pm), step = 1, a, c, e;
        const double dm = fmax(fmin(gm / pm, 2), -2), dl = fmax(fmin(gl / 2, 1), -1);
        while (step > 1e-4 && plain_local(poisson, x[i], b.theta, b.theta_sd, p, m[i] + step * dm, l[i] + step * dl, &a, &c, &e) < f)
          step /= 2;
        m[i] += step * dm, l[i] += step * dl;
      }
      sum += m[i];
    }
    const double precision = (double)n * p + 0.01;
    b.theta = p * sum / precision, b.theta_sd = 1 / sqrt(precision);
    for (long i = 0; i < n; i++) square += (m[i] - b.theta) * (m[i] - b.theta) + exp(2 * l[i]) + b.theta_sd * b.theta_sd;
    for (int k = 0; k < 50; k++) { /* -n t - square exp(-2 t + 2 s^2) / 2 - (t^2 + s^2) / 2 + log s */
      const double e = square * exp(-2 * b.tau + 2 * b.tau_sd * b.tau_sd);
      b.tau += (e - (double)n - b.tau) / (2 * e + 1);
      b.tau_sd = 1 / sqrt(2 * square * exp(-2 * b.tau + 2 * b.tau_sd * b.tau_sd) + 1);
    }
    if (sweep % 50) continue;
    const double now = exp(-2 * b.tau + 2 * b.tau_sd * b.tau_sd), half = 0.5 * (1 + FIXTURE_LOG_2PI);
    double gm, gl, pm;
    elbo = -0.5 * (b.theta * b.theta + b.theta_sd * b.theta_sd) / 100 - log(10.) - 0.5 * FIXTURE_LOG_2PI + log(b.theta_sd) + half;
    elbo += -0.5 * (b.tau * b.tau + b.tau_sd * b.tau_sd) - 0.5 * FIXTURE_LOG_2PI + log(b.tau_sd) + half;
    for (long i = 0; i < n; i++)
      elbo += plain_local(poisson, x[i], b.theta, b.theta_sd, now, m[i], l[i], &gm, &gl, &pm) - b.tau - 0.5 * FIXTURE_LOG_2PI + half -
              (poisson ? lgamma(x[i] + 1) : 0);
    b.elbo = elbo;
    if (elbo - old < 1e-7) break;
    old = elbo;
  }
  free(m);
  free(l);
  return b;
}

static void effects_reach_the_plain_optimum(void **state)
{
  (void)state;
  for (int k = 0; k < 2; k++) {
    Case c = effects_case(k ? &logistic_model : &poisson_model, k ? 100 : 400, 2);
    Plain plain = plain_effects(!k, c.n, c.x);
    for (int j = 0; j < 2; j++) {
      PgmFitOptions o = pgm_fit_defaults();
      o.optimizer = j ? PGM_OPT_LBFGS : PGM_OPT_DEFAULT;
      PgmFit *fit = run(c.s, &o);
      assert_true(fit->converged);
      assert_true(fabs(fit->elbo - plain.elbo) < 1e-3);
      assert_true(fabs(fit->factors[0].mean[0] - plain.theta) < 1e-3 * plain.theta_sd);
      assert_true(fabs(exp(fit->factors[0].log_sd[0]) / plain.theta_sd - 1) < 1e-3);
      assert_true(fabs(fit->factors[1].mean[0] - plain.tau) < 0.02 * plain.tau_sd);
      assert_true(fabs(exp(fit->factors[1].log_sd[0]) / plain.tau_sd - 1) < 1e-3);
      pgm_fit_free(fit);
    }
    close_case(&c);
  }
}

/* From a cold start to the optimum for as many units as plain L-BFGS gives up on; the two optimisers must agree. */
static void many_effects_converge(void **state)
{
  (void)state;
  Case c = effects_case(&poisson_model, 30000, 2);
  PgmFitOptions o = pgm_fit_defaults();
  double profile = elbo_of(c.s, &o);
  o.optimizer = PGM_OPT_LBFGS;
  assert_true(fabs(elbo_of(c.s, &o) - profile) < 1e-6 * fabs(profile));
  close_case(&c);
}

/* The best factor of every z[n] given theta's, by brute force: many starts, each climbed by itself. */
static double best_alone(double x, double m0, double s0)
{
  double best = -INFINITY;
  for (double start = -8; start <= 8; start += 0.5) {
    double m = start, l = -1, step = 0.1, f = -INFINITY;
    for (int k = 0; k < 400 && step > 1e-7; k++) { /* compass search */
      static const double way[5][2] = {{0, 0}, {1, 0}, {-1, 0}, {0, 1}, {0, -1}};
      int at = -1;
      for (int d = f == -INFINITY ? 0 : 1; d < 5; d++) {
        const double mm = m + step * way[d][0], s = exp(l + step * way[d][1]);
        double v = log(s) - 0.5 * (mm * mm + s * s);
        for (int q = -25; q <= 25; q++) {
          const double t = 0.24 * q, w = 0.24 * exp(-t * t / 2) / sqrt(2 * M_PI), z = mm + s * t, r = x - m0 - sin(z) * z - z;
          v += w * (-0.5 * (r * r + s0 * s0) * exp(-2 * cos(z)) - cos(z));
        }
        if (v > f + 1e-12) f = v, at = d;
      }
      if (at >= 0)
        m += step * way[at][0], l += step * way[at][1], step *= 1.3;
      else
        step *= 0.4;
    }
    best = fmax(best, f);
  }
  return best;
}

static void multimodal_locals_find_their_best_mode(void **state)
{
  (void)state;
  Case c = effects_case(&nonlinear_model, 150, 2);
  PgmFitOptions o = pgm_fit_defaults();
  PgmFit *fit = run(c.s, &o);
  const double m0 = fit->factors[0].mean[0], s0 = exp(fit->factors[0].log_sd[0]);
  double best = log(s0) + 0.5 * (1 + FIXTURE_LOG_2PI);
  for (long n = 0; n < c.n; n++) best += best_alone(c.x[n], m0, s0) + 0.5 * (1 + FIXTURE_LOG_2PI) - FIXTURE_LOG_2PI;
  assert_true(fabs(fit->elbo - best) < 0.5);
  o.one_start = true;
  PgmFit *single = run(c.s, &o);
  assert_true(single->elbo < fit->elbo + 1e-6);
  o.method = PGM_AVI; /* no continuous function follows the best modes, which jump as the data move */
  PgmFit *function = run(c.s, &o);
  assert_true(single->elbo - function->elbo < 1 && function->elbo < fit->elbo + 1e-3);
  pgm_fit_free(single);
  pgm_fit_free(fit);
  pgm_fit_free(function);
  close_case(&c);
}

/* ---- A-VI and constant VI ------------------------------------------------------------------------------------------------------------ */

static void linear_amortised_closes_the_gap(void **state)
{
  (void)state;
  Case c = linear_case(10000, 2);
  double mean, sd, z_sd, best = fixture_linear_optimum(c.n, c.x, 1.155, 2.43, &mean, &sd, &z_sd);
  PgmFitOptions o = pgm_fit_defaults();
  o.method = PGM_AVI;
  o.degree = 1;
  double line = elbo_of(c.s, &o);
  assert_true(best - line < 0.01 && line < best + 1e-6);
  o.degree = -1;
  o.n_hidden = 1;
  o.hidden[0] = 16;
  double network = elbo_of(c.s, &o);
  assert_true(best - network < 0.1 && network < best + 1e-6);
  o.n_hidden = 2;
  o.hidden[1] = 16;
  o.skip = false;
  double bare = elbo_of(c.s, &o);
  assert_true(best - bare < 10 && bare < best + 1e-6);
  o.degree = 0;
  double zero = elbo_of(c.s, &o);
  o.method = PGM_CONST;
  double constant = elbo_of(c.s, &o);
  assert_true(fabs(zero - constant) < 0.01);
  assert_true(best - constant > 500);
  close_case(&c);
}

static void saw_needs_both_inputs(void **state)
{
  (void)state;
  Case c = saw_case(1000, 2);
  PgmFitOptions o = pgm_fit_defaults();
  double free_factors = elbo_of(c.s, &o);
  o.method = PGM_AVI;
  PgmFit *fit = run(c.s, &o);
  assert_true(free_factors - fit->elbo < 1 && fit->elbo < free_factors + 1e-3);
  const PgmFunction *f = fit->factors[1].function;
  assert_int_equal(f->n_inputs, 2);
  assert_string_equal(f->inputs[0], "x[n-1]");
  assert_string_equal(f->inputs[1], "x[n]");
  assert_true(f->free_scale);
  pgm_fit_free(fit);
  const char *const one[] = {"z=x[n]"}, *const window[] = {"1"};
  o.inputs = one;
  o.n_inputs = 1;
  assert_true(free_factors - elbo_of(c.s, &o) > 100);
  o.n_inputs = 0;
  o.windows = window;
  o.n_windows = 1; /* x[n-1], x[n], x[n+1] */
  assert_true(free_factors - elbo_of(c.s, &o) < 1);
  close_case(&c);
}

/* ---- gradients ----------------------------------------------------------------------------------------------------------------------- */

static void check_gradient(PgmSession *s, PgmSourceKind kind, int degree, const PgmObjectiveOptions *oo, const PgmBatch *batch, int z)
{
  PgmSourceSpec specs[8];
  int n = 0;
  for (int f = 0; f < s->model->n_families; f++) {
    if (!pgm_is_latent(&s->model->families[f])) continue;
    specs[n] = (PgmSourceSpec){.family = f, .kind = f == z ? kind : PGM_FREE};
    if (specs[n].kind == PGM_FUNCTION) {
      PgmFitOptions o = pgm_fit_defaults();
      PgmInputs inputs;
      o.degree = degree;
      o.n_hidden = 2;
      o.hidden[0] = 3;
      o.hidden[1] = 4;
      assert_int_equal(pgm_inputs_find(s, &o, f, &inputs, &error), PGM_OK);
      assert_int_equal(pgm_function_new(&specs[n].function, &specs[n].gather, s, f, &inputs, &o, &error), PGM_OK);
      pgm_inputs_free(&inputs);
    }
    n++;
  }
  PgmSources *q;
  PgmObjective *objective;
  assert_int_equal(pgm_sources_open(&q, s, n, specs, false, &error), PGM_OK);
  assert_int_equal(pgm_objective_open(&objective, s, q, oo, &error), PGM_OK);
  double *x = calloc((size_t)q->size, sizeof *x), *g = calloc((size_t)q->size, sizeof *g);
  pgm_philox_normals((PgmKey){21, 0, 0}, 0, q->size, x);
  for (long i = 0; i < q->size; i++) x[i] *= 0.3;
  pgm_objective_value(objective, x, g, batch, 3);
  for (long i = 0; i < q->size; i++) {
    const double h = 1e-5, x0 = x[i];
    x[i] = x0 + h;
    double up = pgm_objective_value(objective, x, NULL, batch, 3);
    x[i] = x0 - h;
    double down = pgm_objective_value(objective, x, NULL, batch, 3);
    x[i] = x0;
    if (fabs((up - down) / (2 * h) - g[i]) > 1e-5 * (1 + fabs(g[i])))
      fail_msg("parameter %ld: %g, differences %g", i, g[i], (up - down) / (2 * h));
  }
  free(x);
  free(g);
  pgm_objective_close(objective);
  pgm_sources_close(q);
}

static void gradients_of_all_sources(void **state)
{
  (void)state;
  static const PgmObjectiveOptions exact = {.axis = -1}, fixed = {.axis = -1, .all_points = true, .draws = 5, .seed = 3},
                                   fresh = {.axis = -1, .all_points = true, .fresh = true, .draws = 3, .seed = 3}, batched = {.axis = 0},
                                   noisy = {.axis = 0, .all_points = true, .fresh = true, .draws = 2, .seed = 3};
  static const PgmObjectiveOptions *const all[] = {&exact, &fixed, &fresh, &batched, &noisy};
  const long units[] = {2, 3, 7};
  const PgmBatch batch = {0, units, 3, 4};
  Case c = saw_case(12, 1);
  for (int k = 0; k < 5; k++) {
    const PgmBatch *b = all[k]->axis >= 0 ? &batch : NULL;
    check_gradient(c.s, PGM_FREE, 0, all[k], b, SAW_Z);
    check_gradient(c.s, PGM_SHARED, 0, all[k], b, SAW_Z);
    check_gradient(c.s, PGM_FUNCTION, -1, all[k], b, SAW_Z);
    check_gradient(c.s, PGM_FUNCTION, 2, all[k], b, SAW_Z);
  }
  close_case(&c);
  c = effects_case(&logistic_model, 9, 1);
  for (int k = 0; k < 5; k++) check_gradient(c.s, PGM_FUNCTION, -1, all[k], all[k]->axis >= 0 ? &batch : NULL, EFFECTS_Z);
  close_case(&c);
  c = effects_case(&nonlinear_model, 9, 1);
  for (int k = 0; k < 3; k++) check_gradient(c.s, PGM_FREE, 0, all[k], NULL, EFFECTS_Z);
  close_case(&c);
  /* lower bounds (Jacobians), a lag between latents (the halo of a batch) */
  double x[12];
  pgm_philox_normals((PgmKey){13, 0, 0}, 0, 12, x);
  PgmData *d = data_of("x", 12, x);
  PgmSession *s = open_session(&level_model, d, 1);
  for (int k = 0; k < 5; k++) check_gradient(s, PGM_FREE, 0, all[k], all[k]->axis >= 0 ? &batch : NULL, -1);
  pgm_session_close(s);
  pgm_data_free(d);
}

/* An average over all batches of a partition, weighted, is the full ELBO and its gradient. */
static void batches_are_unbiased(void **state)
{
  (void)state;
  Case c = saw_case(12, 1);
  const PgmSourceSpec specs[] = {{.family = SAW_THETA, .kind = PGM_FREE}, {.family = SAW_Z, .kind = PGM_SHARED}};
  PgmSources *q;
  PgmObjective *o;
  const PgmObjectiveOptions options = {.axis = 0};
  assert_int_equal(pgm_sources_open(&q, c.s, 2, specs, false, &error), PGM_OK);
  assert_int_equal(pgm_objective_open(&o, c.s, q, &options, &error), PGM_OK);
  double x[4] = {0.3, -0.2, 0.5, -0.1}, g[4], sum[4] = {0}, total = 0;
  for (int k = 0; k < 3; k++) {
    long units[4];
    for (int i = 0; i < 4; i++) units[i] = 1 + k + 3 * i;
    total += pgm_objective_value(o, x, g, &(PgmBatch){0, units, 4, 3}, 0) / 3;
    for (int i = 0; i < 4; i++) sum[i] += g[i] / 3;
  }
  assert_true(fabs(total - pgm_objective_value(o, x, g, NULL, 0)) < 1e-10);
  for (int i = 0; i < 4; i++) assert_true(fabs(sum[i] - g[i]) < 1e-10);
  pgm_objective_close(o);
  pgm_sources_close(q);
  close_case(&c);
}

/* ---- the same bits ------------------------------------------------------------------------------------------------------------------- */

static void same_bits_for_any_number_of_threads(void **state)
{
  (void)state;
  PgmFitOptions o[5];
  for (int k = 0; k < 5; k++) o[k] = pgm_fit_defaults();
  o[1].method = PGM_AVI;
  o[2].expectation = PGM_EXP_FIXED_DRAWS;
  o[2].max_iter = 5;
  o[3].optimizer = PGM_OPT_ADAM;
  o[3].expectation = PGM_EXP_MONTE_CARLO;
  o[3].method = PGM_AVI;
  o[3].batch = 500;
  o[3].max_iter = 20;
  o[4].method = PGM_CONST;
  for (int k = 0; k < 5; k++) {
    PgmFit *fit[2];
    for (int t = 0; t < 2; t++) {
      Case c = linear_case(9000, t + 1);
      fit[t] = run(c.s, &o[k]);
      close_case(&c);
    }
    assert_memory_equal(&fit[0]->elbo, &fit[1]->elbo, sizeof(double));
    assert_memory_equal(fit[0]->factors[0].mean, fit[1]->factors[0].mean, sizeof(double));
    const PgmFactors *a = &fit[0]->factors[1], *b = &fit[1]->factors[1];
    if (a->function)
      assert_memory_equal(a->function->weights, b->function->weights, (size_t)a->function->n_weights * sizeof(double));
    else
      assert_memory_equal(a->mean, b->mean, (size_t)(a->elements * a->uwidth) * sizeof(double));
    pgm_fit_free(fit[0]);
    pgm_fit_free(fit[1]);
  }
}

/* ---- fits and sessions --------------------------------------------------------------------------------------------------------------- */

static void functions_serve_new_data(void **state)
{
  (void)state;
  Case c = saw_case(300, 1);
  PgmFitOptions o = pgm_fit_defaults();
  o.method = PGM_AVI;
  PgmFit *fit = run(c.s, &o), *copy = pgm_fit_copy(fit);
  assert_int_equal(pgm_fit_apply(c.s, copy, &error), PGM_OK);
  double applied = pgm_elbo(c.s, 10, 1, NULL);
  assert_true(fabs(applied - fit->elbo) < 1e-9);
  /* the first 100 observations alone: the same factors */
  double mean = c.s->layout[SAW_Z].mean[57];
  PgmData *d = data_of("x", 100, c.x);
  PgmSession *s = open_session(&saw_model, d, 1);
  assert_int_equal(pgm_fit_apply(s, copy, &error), PGM_OK);
  assert_true(s->layout[SAW_Z].mean[57] == mean);
  pgm_session_close(s);
  pgm_fit_free(fit);
  pgm_fit_free(copy);
  /* a fit by F-VI is of its own units; new ones are optimised */
  o.method = PGM_FVI;
  fit = run(c.s, &o);
  s = open_session(&saw_model, d, 1);
  assert_int_equal(pgm_fit_apply(s, fit, &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "the fit has 300 elements of 'z', these data have 100");
  PgmFit *units;
  assert_int_equal(pgm_fit_locals(s, fit, &units, &error), PGM_OK);
  assert_true(units->converged && units->factors[1].elements == 100 && units->factors[1].mean[57] == s->layout[SAW_Z].mean[57]);
  pgm_fit_free(units);
  assert_true(fabs(s->layout[SAW_Z].mean[57] - fit->factors[1].mean[57]) < 1e-6);
  assert_true(s->layout[SAW_THETA].mean[0] == fit->factors[0].mean[0]);
  pgm_fit_free(fit);
  pgm_session_close(s);
  pgm_data_free(d);
  close_case(&c);
}

static bool stop_at_once(void *data, long iteration, double seconds, double elbo, double norm)
{
  (void)data, (void)iteration, (void)seconds, (void)elbo, (void)norm;
  return false;
}

static void interruption_keeps_the_fit_so_far(void **state)
{
  (void)state;
  Case c = saw_case(200, 1);
  PgmFitOptions o = pgm_fit_defaults();
  PgmFit *fit;
  for (int k = 0; k < 4; k++) {
    o.method = k == 3 ? PGM_AVI : PGM_FVI;
    o.optimizer = k == 1 ? PGM_OPT_ADAM : k == 2 ? PGM_OPT_LBFGS : PGM_OPT_DEFAULT;
    o.progress = stop_at_once;
    fit = run(c.s, &o);
    assert_false(fit->converged);
    assert_string_equal(fit->stopped, "signal");
    assert_true(isfinite(fit->elbo));
    pgm_fit_free(fit);
  }
  o = pgm_fit_defaults();
  o.optimizer = PGM_OPT_ADAM;
  o.max_iter = 7;
  fit = run(c.s, &o);
  assert_string_equal(fit->stopped, "max-iter");
  assert_int_equal(fit->iterations, 7);
  pgm_fit_free(fit);
  close_case(&c);
}

typedef struct {
  PgmSession *s;
  long traced, kept;
  double last;
} Watched;

static void on_trace(void *data, long iteration, double seconds, double elbo, double norm)
{
  Watched *w = data;
  assert_int_equal(iteration, w->traced);
  assert_true(seconds >= 0 && isfinite(elbo) && isfinite(norm));
  w->traced++;
  w->last = elbo;
}

static void on_checkpoint(void *data, const PgmFit *so_far)
{
  Watched *w = data;
  w->kept++;
  assert_false(so_far->converged);
  assert_string_equal(so_far->stopped, "signal");
  assert_true(isfinite(so_far->elbo) && so_far->n_factors == 2);
}

static void traces_and_checkpoints(void **state)
{
  (void)state;
  Case c = saw_case(200, 1);
  for (int k = 0; k < 3; k++) {
    Watched w = {c.s, 0, 0, NAN};
    PgmFitOptions o = pgm_fit_defaults();
    o.method = k == 1 ? PGM_AVI : PGM_FVI;
    o.optimizer = k == 2 ? PGM_OPT_ADAM : PGM_OPT_DEFAULT;
    o.max_iter = k == 2 ? 50 : 0;
    o.trace = on_trace, o.trace_data = &w;
    o.checkpoint = on_checkpoint, o.checkpoint_data = &w, o.checkpoint_every = 1e-9;
    PgmFit *fit = run(c.s, &o);
    assert_int_equal(fit->iterations, w.traced);
    assert_true(w.kept > 0 && (k == 2 || fabs(w.last - fit->elbo) < 1)); /* Adam was cut short: its average is elsewhere */
    pgm_fit_free(fit);
  }
  close_case(&c);
}

static void warm_starts_go_on(void **state)
{
  (void)state;
  Case c = saw_case(500, 1);
  PgmFitOptions o = pgm_fit_defaults();
  o.method = PGM_AVI;
  PgmFit *first = run(c.s, &o);
  o.init = first;
  PgmFit *second = run(c.s, &o);
  assert_true(second->elbo >= first->elbo - 1e-6);
  assert_true(second->iterations <= 60);
  /* F-VI from the factors of A-VI, and A-VI of another architecture from them */
  o.method = PGM_FVI;
  assert_true(elbo_of(c.s, &o) > first->elbo - 1e-6);
  o.method = PGM_AVI;
  o.degree = 1;
  assert_true(fabs(elbo_of(c.s, &o) - first->elbo) < 0.1);
  pgm_fit_free(first);
  pgm_fit_free(second);
  close_case(&c);
}

/* With `fix` the globals stay, whatever the method. */
static void fixed_globals_stay(void **state)
{
  (void)state;
  Case c = saw_case(300, 1);
  PgmFitOptions o = pgm_fit_defaults();
  PgmFit *first = run(c.s, &o), *fix = pgm_fit_copy(first);
  double elbo[5];
  fix->factors[0].mean[0] += 0.1;
  o.fix = fix;
  for (int k = 0; k < 5; k++) {
    o.method = k < 2 ? PGM_FVI : k == 2 ? PGM_CONST : PGM_AVI;
    o.optimizer = k == 1 || k == 4 ? PGM_OPT_ADAM : PGM_OPT_DEFAULT;
    o.batch = k == 4 ? 100 : 0;
    PgmFit *fit = run(c.s, &o);
    assert_true(fit->factors[0].mean[0] == fix->factors[0].mean[0] && fit->factors[0].log_sd[0] == fix->factors[0].log_sd[0]);
    elbo[k] = fit->elbo;
    pgm_fit_free(fit);
  }
  assert_true(elbo[0] < first->elbo && fabs(elbo[1] - elbo[0]) < 0.1 && fabs(elbo[3] - elbo[0]) < 0.1 && fabs(elbo[4] - elbo[0]) < 1);
  pgm_fit_free(first);
  pgm_fit_free(fix);
  close_case(&c);
}

static void bad_numbers_name_the_factor(void **state)
{
  (void)state;
  Case c = linear_case(20, 1);
  c.s->layout[LINEAR_X].data[6] = NAN;
  PgmFitOptions o = pgm_fit_defaults();
  PgmFit *fit = NULL;
  assert_int_equal(pgm_fit_run(c.s, &o, &fit, &error), PGM_BAD_INPUT);
  assert_non_null(strstr(error.text, "n = 7"));
  assert_non_null(strstr(error.text, "x[n] ~ normal"));
  close_case(&c);
}

static void khat_is_small_where_q_is_right(void **state)
{
  (void)state;
  Case c = linear_case(3, 1);
  PgmFitOptions o = pgm_fit_defaults();
  o.khat = true;
  PgmFit *fit = run(c.s, &o);
  assert_true(fit->khat < 0.7);
  pgm_fit_free(fit);
  close_case(&c);
}

/* ---- gather plans -------------------------------------------------------------------------------------------------------------------- */

static void features_of_the_saw(void **state)
{
  (void)state;
  const double x[] = {1, 2, 4, 8, NAN, 32};
  PgmData *d = data_of("x", 4, x);
  PgmSession *s = open_session(&saw_model, d, 1);
  PgmFunction f = {0};
  PgmGather *g;
  char *texts[] = {"x[n - 1]", "x[n+1]", "x[1]", "n"};
  assert_int_equal(pgm_gather_open(&g, s, SAW_Z, 4, texts, "test", &f, &error), PGM_OK);
  assert_string_equal(f.inputs[0], "x[n-1]");
  assert_string_equal(f.inputs[3], "levels 1..4 of n");
  enum { FEATURES = 3 + 3 + 1 + 6 }; /* levels 2, 3, 4; a flag; its products with the columns */
  assert_int_equal(f.n_features, FEATURES);
  assert_int_equal(f.n_flags, 7);
  assert_string_equal(f.flags[0], "x[n+1] absent");
  assert_string_equal(f.flags[6], "x[n+1] absent * 5");
  double out[4 * FEATURES];
  pgm_gather_rows(g, NULL, 0, 4, out);
  for (int n = 0; n < 4; n++) {
    const double before = n ? x[n - 1] : 0; /* x[0] = 0 */
    assert_true(fabs(out[n * FEATURES] * f.scale[0] + f.center[0] - before) < 1e-12);
    if (n < 3)
      assert_true(fabs(out[n * FEATURES + 1] * f.scale[1] + f.center[1] - x[n + 1]) < 1e-12);
    else
      assert_true(out[n * FEATURES + 1] == 0); /* x[5] is not there */
    assert_true(out[n * FEATURES + 2] == 0);   /* a constant says nothing */
    assert_true(out[n * FEATURES + 6] == (n == 3));
    for (int c = 0; c < 6; c++) assert_true(out[n * FEATURES + 7 + c] == (n == 3 ? out[n * FEATURES + c] : 0));
  }
  double moments[2] = {0};
  for (int n = 0; n < 4; n++) moments[0] += out[n * FEATURES] / 4, moments[1] += out[n * FEATURES] * out[n * FEATURES] / 4;
  assert_true(fabs(moments[0]) < 1e-12 && fabs(moments[1] - 1) < 1e-12);
  /* the same plan from the function's texts */
  PgmGather *again;
  double same[4 * FEATURES];
  assert_int_equal(pgm_gather_reopen(&again, s, SAW_Z, &f, &error), PGM_OK);
  const long rows[] = {3, 1};
  pgm_gather_rows(again, rows, 0, 2, same);
  assert_memory_equal(same, out + 3 * FEATURES, FEATURES * sizeof(double));
  assert_memory_equal(same + FEATURES, out + FEATURES, FEATURES * sizeof(double));
  pgm_gather_close(g);
  pgm_gather_close(again);
  for (int i = 0; i < f.n_inputs; i++) free(f.inputs[i]);
  for (int i = 0; i < f.n_flags; i++) free(f.flags[i]);
  free(f.inputs), free(f.flags), free(f.center), free(f.scale);
  pgm_session_close(s);
  pgm_data_free(d);
}

static void slices_and_windows(void **state)
{
  (void)state;
  Case c = saw_case(6, 1);
  PgmFunction *f;
  PgmGather *g;
  PgmInputs in;
  PgmFitOptions o = pgm_fit_defaults();
  const char *const all[] = {"z=x[1..6], x[*], x[1..n], x[n-1..n], x[n+3*k]"}, *const wide[] = {"z=2", "5"};
  o.degree = 1;
  o.inputs = all;
  o.n_inputs = 1;
  assert_int_equal(pgm_inputs_check(c.s, &o, &error), PGM_OK);
  assert_int_equal(pgm_inputs_find(c.s, &o, SAW_Z, &in, &error), PGM_OK);
  assert_int_equal(in.n, 5);
  assert_int_equal(pgm_function_new(&f, &g, c.s, SAW_Z, &in, &o, &error), PGM_OK);
  assert_string_equal(f->inputs[0], "entries x[1..6]");
  assert_string_equal(f->inputs[1], "entries x[*]");
  assert_string_equal(f->inputs[2], "set x[1..n]"); /* a prefix: its length varies */
  assert_string_equal(f->inputs[3], "entries x[n-1..n]");
  assert_string_equal(f->inputs[4], "set x[n+3*k]");
  /* means, sums and counts, of the prefix and of x[n+3k] in x[0..6]: for n = 1 x[1], x[4], for n = 3 x[0], x[3], x[6] */
  double out[6 * 60];
  pgm_gather_prepare(g, NULL, NULL, NULL, 6);
  pgm_gather_rows(g, NULL, 0, 6, out);
  assert_int_equal(f->n_encoders, 2);
  const int columns = f->n_features - 6, scaled = f->n_scaled - 4;
  for (int n = 1; n <= 6; n++) {
    const double *have = out + (n - 1) * f->n_features + columns, sizes[] = {n, n % 3 ? 2 : 3};
    double sums[2] = {0, n % 3 ? c.x[n % 3 - 1] + c.x[n % 3 + 2] : c.x[2] + c.x[5]};
    for (int k = 1; k <= n; k++) sums[0] += c.x[k - 1];
    for (int e = 0; e < 2; e++) {
      const double center = f->center[scaled + 2 * e], scale = f->scale[scaled + 2 * e], size = f->scale[scaled + 2 * e + 1];
      assert_true(fabs(have[3 * e] * scale + center - sums[e] / sizes[e]) < 1e-12);
      assert_true(fabs(have[3 * e + 1] * size * scale + sizes[e] * center - sums[e]) < 1e-12);
      assert_true(fabs(have[3 * e + 2] * size - sizes[e]) < 1e-12);
    }
  }
  pgm_gather_close(g);
  pgm_function_free(f);
  pgm_inputs_free(&in);
  o.n_inputs = 0;
  o.windows = wide;
  o.n_windows = 2;
  assert_int_equal(pgm_inputs_find(c.s, &o, SAW_Z, &in, &error), PGM_OK);
  static const char *const want[] = {"x[n-2]", "x[n-1]", "x[n]", "x[n+1]", "x[n+2]"};
  assert_int_equal(in.n, 5);
  for (int i = 0; i < 5; i++) assert_string_equal(in.text[i], want[i]);
  pgm_inputs_free(&in);
  close_case(&c);
}

static void wrong_references_are_located(void **state)
{
  (void)state;
  static const struct {
    const char *option, *message;
  } cases[] = {
      {"z=y[n]", "--inputs z=y[n]: input 'y[n]' of z: 'y' is not declared (there are: x)"},
      {"z=z[n-1]", "--inputs z=z[n-1]: input 'z[n-1]' of z: 'z' is what the function is to tell; inputs are data (x) or other latent variables"},
      {"z=x[m]", "--inputs z=x[m]: input 'x[m]' of z: 'm' is not an index of z (it has: n) and no integer input (there are: N)"},
      {"z=x[k+1]", "--inputs z=x[k+1]: input 'x[k+1]' of z: 'k' is not an index of z (it has: n) and no integer input (there are: N)"},
      {"z=x[2*k]", "--inputs z=x[2*k]: input 'x[2*k]' of z: 'k' is not an index of z and can only be a step beside one, as in x[i+k]"},
      {"z=x[a]", "--inputs z=x[a]: input 'x[a]' of z: 'a' is not an integer input, so it cannot stand in an index (there are: N)"},
      {"z=x", "--inputs z=x: input 'x' of z: 'x' has 1 index, 0 given"},
      {"z=x[n,n]", "--inputs z=x[n,n]: input 'x[n,n]' of z: 'x' has 1 index and its elements 0 dimensions"},
      {"z=x[n", "--inputs z=x[n: input 'x[n' of z: ']' expected at the end"},
      {"z=x[n]]", "--inputs z=x[n]]: input 'x[n]]' of z: ']' is not expected here"},
      {"z=x[n+]", "--inputs z=x[n+]: input 'x[n+]' of z: an index expected at ']'"},
      {"z=x[i | i = i]", "--inputs z=x[i | i = i]: input 'x[i | i = i]' of z: one side of '=' must mention 'i', the other must not"},
      {"z=", NULL},
      {"y=x[n]", "--inputs y=x[n]: 'y' is not a local latent variable of the model (there are: z)"},
      {"x[n]", "--inputs x[n]: NAME=REFERENCE,... expected, as in z=x[n],x[n-1]"}};
  Case c = saw_case(6, 1);
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    PgmFitOptions o = pgm_fit_defaults();
    PgmFit *fit = NULL;
    o.method = PGM_AVI;
    o.n_hidden = 1;
    o.hidden[0] = 2;
    o.inputs = &cases[k].option;
    o.n_inputs = 1;
    PgmStatus st = pgm_fit_run(c.s, &o, &fit, &error);
    if (cases[k].message) {
      assert_true(st == PGM_BAD_INPUT || st == PGM_BAD_USAGE);
      assert_string_equal(error.text, cases[k].message);
    } else {
      assert_int_equal(st, PGM_OK); /* no inputs at all: a constant function */
    }
    pgm_fit_free(fit);
  }
  close_case(&c);
}

static void contradictions_are_usage_errors(void **state)
{
  (void)state;
  Case c = saw_case(6, 1);
  PgmFitOptions o[4];
  for (int k = 0; k < 4; k++) o[k] = pgm_fit_defaults();
  o[0].optimizer = PGM_OPT_LBFGS, o[0].batch = 2;
  o[1].optimizer = PGM_OPT_PROFILE, o[1].method = PGM_AVI;
  o[2].optimizer = PGM_OPT_LBFGS, o[2].expectation = PGM_EXP_MONTE_CARLO;
  const char *const window[] = {"-1"};
  o[3].method = PGM_AVI, o[3].windows = window, o[3].n_windows = 1;
  for (int k = 0; k < 4; k++) {
    PgmFit *fit = NULL;
    assert_int_equal(pgm_fit_run(c.s, &o[k], &fit, &error), PGM_BAD_USAGE);
    assert_null(fit);
  }
  close_case(&c);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_of_all_sources),
      cmocka_unit_test(batches_are_unbiased),
      cmocka_unit_test(features_of_the_saw),
      cmocka_unit_test(slices_and_windows),
      cmocka_unit_test(wrong_references_are_located),
      cmocka_unit_test(contradictions_are_usage_errors),
      cmocka_unit_test(linear_reaches_the_closed_form),
      cmocka_unit_test(strong_coupling_is_no_obstacle),
      cmocka_unit_test(effects_reach_the_plain_optimum),
      cmocka_unit_test(many_effects_converge),
      cmocka_unit_test(multimodal_locals_find_their_best_mode),
      cmocka_unit_test(linear_amortised_closes_the_gap),
      cmocka_unit_test(saw_needs_both_inputs),
      cmocka_unit_test(sampled_objectives_come_near),
      cmocka_unit_test(same_bits_for_any_number_of_threads),
      cmocka_unit_test(functions_serve_new_data),
      cmocka_unit_test(interruption_keeps_the_fit_so_far),
      cmocka_unit_test(traces_and_checkpoints),
      cmocka_unit_test(warm_starts_go_on),
      cmocka_unit_test(fixed_globals_stay),
      cmocka_unit_test(bad_numbers_name_the_factor),
      cmocka_unit_test(khat_is_small_where_q_is_right),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
