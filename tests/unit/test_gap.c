/* Evidence and gaps of the hand-written models, against closed forms: linear and saw have Gaussian marginals. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture_effects.h"
#include "fixture_linear.h"
#include "fixture_saw.h"
#include "gap.h"
#include "khat.h"
#include "philox.h"

static PgmError error;

/* cmocka compares floats; these are doubles. */
#define near(a, b, tolerance) near_at(a, b, tolerance, __LINE__)
static void near_at(double a, double b, double tolerance, int line)
{
  if (!(fabs(a - b) <= tolerance)) fail_msg("line %d: %.12g is not %.12g within %g", line, a, b, tolerance);
}

typedef struct { PgmData *data; PgmSession *s; double *x; long n; } Case;

/* log density of y ~ N(0, variance I + shared 1 1'), by Sherman, Morrison and the matrix determinant lemma. */
static double exchangeable(long n, const double *y, double variance, double shared)
{
  double sum = 0, square = 0;
  for (long i = 0; i < n; i++) {
    sum += y[i];
    square += y[i] * y[i];
  }
  const double whole = variance + (double)n * shared;
  return -0.5 * ((double)n * FIXTURE_LOG_2PI + (double)(n - 1) * log(variance) + log(whole) + square / variance - sum * sum * shared / (variance * whole));
}

static Case open_case(const PgmModel *model, long n, double *x)
{
  Case c = {.n = n, .x = x, .data = pgm_data_new()};
  const PgmSessionOptions how = {.threads = 1};
  assert_int_equal(pgm_data_add(c.data, "x", 1, &n, x, "test", &error), PGM_OK);
  if (pgm_session_open(&c.s, model, c.data, &how, &error) != PGM_OK) fail_msg("%s", error.text);
  return c;
}

static Case linear_case(long n, unsigned long seed)
{
  double *x = malloc((size_t)(2 * n) * sizeof *x);
  pgm_philox_normals((PgmKey){seed, 0, 0}, 0, 2 * n, x);
  for (long i = 0; i < n; i++) x[i] = 4 + 1.155 * x[i] + 2.43 * x[n + i];
  return open_case(&linear_model, n, x);
}

static Case saw_case(long n)
{
  double *x = malloc((size_t)(3 * n) * sizeof *x), before = 0;
  pgm_philox_normals((PgmKey){12, 0, 0}, 0, 2 * n, x + n);
  for (long i = 0; i < n; i++) before = x[i] = 0.75 * (before + x[n + i] + 3.4) + x[2 * n + i];
  return open_case(&saw_model, n, x);
}

static void close_case(Case *c)
{
  pgm_session_close(c->s);
  pgm_data_free(c->data);
  free(c->x);
}

static double linear_evidence(const Case *c) { return exchangeable(c->n, c->x, 1.155 * 1.155 + 2.43 * 2.43, 100 * 100); }

static double saw_evidence(const Case *c)
{
  double *y = malloc((size_t)c->n * sizeof *y);
  for (long i = 0; i < c->n; i++) y[i] = c->x[i] - 0.75 * (i ? c->x[i - 1] : 0);
  const double value = exchangeable(c->n, y, 0.75 * 0.75 + 1, 0.75 * 0.75 * 100);
  free(y);
  return value;
}

static void fit_fvi(PgmSession *s)
{
  PgmFitOptions o = pgm_fit_defaults();
  PgmFit *fit = NULL;
  if (pgm_fit_run(s, &o, &fit, &error) != PGM_OK || pgm_fit_apply(s, fit, &error) != PGM_OK) fail_msg("%s", error.text);
  pgm_fit_free(fit);
}

static PgmGap *run(PgmSession *s, const PgmGapOptions *o)
{
  PgmGap *gap = NULL;
  if (pgm_gap_run(s, o, &gap, &error) != PGM_OK) fail_msg("%s", error.text);
  return gap;
}

/* ---- evidence ---------------------------------------------------------------------------------------------------------------------------------- */

static void evidence_of_quadratic_models_is_exact(void **state)
{
  (void)state;
  const long sizes[] = {1, 2, 50, 3000};
  for (int k = 0; k < 4; k++) {
    Case c[2] = {linear_case(sizes[k], 11), saw_case(sizes[k])};
    for (int m = 0; m < 2; m++) {
      const double wanted = m ? saw_evidence(&c[m]) : linear_evidence(&c[m]);
      bool found;
      double value;
      fit_fvi(c[m].s);
      assert_int_equal(pgm_evidence_exact(c[m].s, 1, &found, &value, &error), PGM_OK);
      assert_true(found);
      near(value, wanted, 1e-10 * fabs(wanted) + 1e-7);
      close_case(&c[m]);
    }
  }
}

/* Where the factors stand does not matter to an exact evidence. */
static void exact_evidence_needs_no_optimum(void **state)
{
  (void)state;
  Case c = linear_case(20, 3);
  bool found;
  double value;
  for (int f = 0; f < c.s->model->n_families; f++) {
    PgmLayout *l = &c.s->layout[f];
    if (!pgm_is_latent(&c.s->model->families[f])) continue;
    for (long e = 0; e < l->elements * l->uwidth; e++) {
      l->mean[e] = 3 - (double)e;
      l->sd[e] = 0.2;
    }
  }
  assert_int_equal(pgm_evidence_exact(c.s, 1, &found, &value, &error), PGM_OK);
  assert_true(found);
  near(value, linear_evidence(&c), 1e-6);
  close_case(&c);
}

static void importance_sampling_agrees_with_the_closed_form(void **state)
{
  (void)state;
  Case c = linear_case(6, 5);
  double *ratio = malloc(20000 * sizeof *ratio), value;
  fit_fvi(c.s);
  assert_true(pgm_log_ratios(c.s, 20000, 1, ratio));
  assert_true(pgm_psis(20000, ratio, &value) < 0.7);
  near(value, linear_evidence(&c), 0.02);
  free(ratio);
  close_case(&c);
}

/* Unit by unit, N does not matter: the same evidence of 400 units, with q's sds of the locals as they are, far too small or too large. */
static void units_are_integrated_one_by_one(void **state)
{
  (void)state;
  enum { DRAWS = 200 };
  Case c[2] = {linear_case(400, 7), saw_case(300)};
  for (int m = 0; m < 2; m++) {
    const double wanted = m ? saw_evidence(&c[m]) : linear_evidence(&c[m]), factors[] = {1, 0.1, 5};
    double ratio[DRAWS], value;
    bool found;
    fit_fvi(c[m].s);
    PgmLayout *l = &c[m].s->layout[m ? SAW_Z : LINEAR_Z], *theta = &c[m].s->layout[m ? SAW_THETA : LINEAR_THETA];
    theta->sd[0] *= 1.3;               /* F-VI's sd of theta is smaller than the posterior's */
    for (int k = 0; k < 3; k++) {
      for (long e = 0; e < l->elements; e++) l->sd[e] *= factors[k];
      assert_int_equal(pgm_evidence_units(c[m].s, DRAWS, 1, ratio, &found, &error), PGM_OK);
      assert_true(found);
      assert_true(pgm_psis(DRAWS, ratio, &value) < 0.7);
      near(value, wanted, 0.06);
      for (long e = 0; e < l->elements; e++) l->sd[e] /= factors[k];
    }
    close_case(&c[m]);
  }
}

/* Poisson with a lognormal rate: not quadratic, and said so. */
static void other_models_are_not_taken_for_quadratic(void **state)
{
  (void)state;
  double *x = malloc(10 * sizeof *x);
  for (int i = 0; i < 10; i++) x[i] = i % 4;
  Case c[2] = {open_case(&poisson_model, 10, x), {0}};
  double *y = malloc(10 * sizeof *y);
  for (int i = 0; i < 10; i++) y[i] = 0.5 * i;
  c[1] = open_case(&nonlinear_model, 10, y);
  for (int m = 0; m < 2; m++) {
    bool found = true;
    double value;
    fit_fvi(c[m].s);
    assert_int_equal(pgm_evidence_exact(c[m].s, 1, &found, &value, &error), PGM_OK);
    assert_false(found);
    close_case(&c[m]);
  }
}

/* ---- gaps --------------------------------------------------------------------------------------------------------------------------------------- */

static void linear_has_no_amortisation_gap(void **state)
{
  (void)state;
  Case c = linear_case(300, 11);
  PgmGapOptions o = pgm_gap_defaults();
  o.fit.degree = 1;
  PgmGap *gap = run(c.s, &o);
  const PgmGaps *g = &gap->gaps;
  assert_int_equal(gap->evidence.kind, PGM_EVIDENCE_EXACT);
  near(gap->evidence.value, linear_evidence(&c), 1e-6);
  near(g->amortisation.value, 0, 1e-3);
  near(g->capacity.value + g->optimisation.value, g->amortisation.value, 1e-9);
  near(g->conditioning.value, 0, 0);
  assert_true(gap->same_inputs);
  assert_true(g->constant.value > 10);
  assert_true(g->approximation.value > 0 && g->approximation.value < 1);
  near(g->approximation.value + g->amortisation.value + g->conditioning.value,
                     gap->evidence.value - gap->method[PGM_GAP_CHOSEN].elbo, 1e-8);
  assert_int_equal(gap->agrees, 1);
  assert_int_equal(gap->observations, 300);
  pgm_gap_free(gap);
  close_case(&c);
}

/* A constant function where one of x[n] is called for: the gap is one of capacity, and equals that of constant factors. */
static void too_small_a_function_shows_as_capacity(void **state)
{
  (void)state;
  Case c = linear_case(200, 4);
  PgmGapOptions o = pgm_gap_defaults();
  o.fit.degree = 0;
  PgmGap *gap = run(c.s, &o);
  near(gap->gaps.amortisation.value, gap->gaps.constant.value, 1e-3);
  near(gap->gaps.capacity.value, gap->gaps.constant.value, 1e-3);
  near(gap->gaps.optimisation.value, 0, 1e-3);
  assert_int_equal(gap->agrees, 0);
  pgm_gap_free(gap);
  close_case(&c);
}

static void saw_without_its_second_input_has_a_conditioning_gap(void **state)
{
  (void)state;
  static const char *const inputs[] = {"z=x[n]"};
  Case c = saw_case(1000);
  PgmGapOptions o = pgm_gap_defaults();
  o.fit.degree = 1;
  o.fit.n_inputs = 1;
  o.fit.inputs = inputs;
  PgmGap *gap = run(c.s, &o);
  near(gap->evidence.value, saw_evidence(&c), 1e-6);
  near(gap->gaps.amortisation.value, 0, 1e-3);
  assert_true(gap->gaps.conditioning.value > 100);
  assert_false(gap->same_inputs);
  assert_non_null(strstr(gap->message, "conditioning gap"));
  pgm_gap_free(gap);
  close_case(&c);
}

/* Units add up to the differences of ELBOs where the globals are the same. */
static void units_add_up_and_fixed_globals_stay(void **state)
{
  (void)state;
  Case c = linear_case(120, 8), test = linear_case(40, 9);
  PgmFitOptions plain = pgm_fit_defaults();
  PgmFit *fix = NULL;
  assert_int_equal(pgm_fit_run(c.s, &plain, &fix, &error), PGM_OK);
  fix->factors[0].mean[0] += 0.75;     /* not the optimum: it must be kept all the same */
  PgmGapOptions o = pgm_gap_defaults();
  o.fit.degree = 0;
  o.fit.fix = fix;
  PgmGap *gap = run(c.s, &o), *other = NULL;
  for (int k = 0; k < PGM_GAP_METHODS; k++) {
    near(gap->method[k].fit->factors[0].mean[0], fix->factors[0].mean[0], 1e-12);
    near(gap->method[k].fit->factors[0].log_sd[0], fix->factors[0].log_sd[0], 1e-12);
  }
  PgmGapUnits units;
  assert_int_equal(pgm_gap_units(c.s, gap, 1, &units, &error), PGM_OK);
  assert_int_equal(units.n, 120);
  double sum = 0;
  for (long i = 0; i < units.n; i++) sum += units.elbo[PGM_GAP_FVI][i] - units.elbo[PGM_GAP_FULL][i];
  near(sum, gap->gaps.amortisation.value, 1e-8);
  pgm_gap_units_free(&units);
  assert_int_equal(pgm_gap_test(test.s, gap, &o, &other, &error), PGM_OK);
  assert_int_equal(other->observations, 40);
  near(other->method[PGM_GAP_FVI].fit->factors[0].mean[0], fix->factors[0].mean[0], 1e-12);
  assert_true(other->gaps.amortisation.value > 1);
  assert_true(isnan(other->gaps.approximation.value));
  pgm_gap_free(other);
  pgm_gap_free(gap);
  pgm_fit_free(fix);
  close_case(&c);
  close_case(&test);
}

static void what_did_not_converge_is_named(void **state)
{
  (void)state;
  Case c = saw_case(200);
  PgmGapOptions o = pgm_gap_defaults();
  o.fit.max_iter = 1;
  PgmGap *gap = run(c.s, &o);
  assert_int_equal(gap->agrees, -1);
  assert_non_null(strstr(gap->unconverged, "A-VI"));
  assert_non_null(strstr(gap->message, "not converged"));
  pgm_gap_free(gap);
  close_case(&c);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(evidence_of_quadratic_models_is_exact),
    cmocka_unit_test(exact_evidence_needs_no_optimum),
    cmocka_unit_test(importance_sampling_agrees_with_the_closed_form),
    cmocka_unit_test(units_are_integrated_one_by_one),
    cmocka_unit_test(other_models_are_not_taken_for_quadratic),
    cmocka_unit_test(linear_has_no_amortisation_gap),
    cmocka_unit_test(too_small_a_function_shows_as_capacity),
    cmocka_unit_test(saw_without_its_second_input_has_a_conditioning_gap),
    cmocka_unit_test(units_add_up_and_fixed_globals_stay),
    cmocka_unit_test(what_did_not_converge_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
