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
#include "gap_globals.h"
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
      assert_int_equal(pgm_evidence_exact(c[m].s, false, 1, &found, &value, &error), PGM_OK);
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
  assert_int_equal(pgm_evidence_exact(c.s, false, 1, &found, &value, &error), PGM_OK);
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

/* Weights 1 + s c^2, c the quantiles of half a Cauchy distribution: a heavy tail, which hardly shows where s is small. */
static void weights_that_hardly_differ_are_trusted(void **state)
{
  (void)state;
  enum { DRAWS = 1000 };
  static const double scale[] = {1e-9, 1};
  double ratio[DRAWS], value;
  for (int k = 0; k < 2; k++) {
    for (int i = 0; i < DRAWS; i++) ratio[i] = log1p(scale[k] * pow(tan(acos(-1) * (i + 0.5) / (2 * DRAWS)), 2));
    const double khat = pgm_psis(DRAWS, ratio, &value), effective = pgm_effective(DRAWS, ratio, 1);
    assert_true(khat > 0.7);
    assert_int_equal(pgm_khat_trusted(khat, effective), k == 0);
  }
  assert_true(pgm_khat_trusted(0.5, 0.1));
  assert_false(pgm_khat_trusted(NAN, 1));
  for (int i = 0; i < DRAWS; i++) ratio[i] = i < DRAWS / 4 ? 3 : -1e6;
  near(pgm_effective(DRAWS, ratio, 1), 0.25, 1e-12);
}

/* Given the globals' factors: E_q log p(x | theta), a Gaussian integral, less the divergence of q(theta) from its prior. */
static void evidence_given_the_globals(void **state)
{
  (void)state;
  enum { DRAWS = 2000 };
  Case c = linear_case(150, 9);
  const PgmLayout *theta = &c.s->layout[LINEAR_THETA];
  const double variance = 1.155 * 1.155 + 2.43 * 2.43, prior = 100 * 100;
  PgmEvidence e;
  bool found;
  double value, wanted = 0, ratio[DRAWS], mean = 0;
  fit_fvi(c.s);
  theta->mean[0] += 0.3;                /* globals of other data */
  for (long i = 0; i < c.n; i++) wanted -= 0.5 * (FIXTURE_LOG_2PI + log(variance) + (pow(c.x[i] - theta->mean[0], 2) + theta->sd[0] * theta->sd[0]) / variance);
  wanted += 0.5 * (1 + FIXTURE_LOG_2PI) + log(theta->sd[0]) - 0.5 * (FIXTURE_LOG_2PI + log(prior) + (pow(theta->mean[0], 2) + theta->sd[0] * theta->sd[0]) / prior);
  assert_int_equal(pgm_evidence_exact(c.s, true, 1, &found, &value, &error), PGM_OK);
  assert_true(found);
  near(value, wanted, 1e-7);
  assert_int_equal(pgm_evidence(c.s, true, DRAWS, 1, &e, &error), PGM_OK);
  assert_true(e.kind == PGM_EVIDENCE_EXACT && e.given);
  near(e.value, wanted, 1e-7);
  assert_int_equal(pgm_evidence_locals(c.s, PGM_LOCALS_QUADRATURE, true, DRAWS, 1, ratio, &found, &error), PGM_OK);
  assert_true(found);
  for (int d = 0; d < DRAWS; d++) mean += ratio[d] / DRAWS;
  near(mean, wanted, 0.1);
  close_case(&c);
}

/* Local variables integrated out in each way, given draws of the globals: N does not matter, and where the units have one coordinate each, nor
 * does it what q's sds of the locals are. */
static void locals_are_integrated_out(void **state)
{
  (void)state;
  enum { DRAWS = 300 };
  Case c[2] = {linear_case(400, 7), saw_case(300)};
  for (int m = 0; m < 2; m++) {
    const double wanted = m ? saw_evidence(&c[m]) : linear_evidence(&c[m]), factors[] = {1, 0.1, 5};
    double ratio[DRAWS], value;
    bool found;
    fit_fvi(c[m].s);
    const PgmLayout *l = &c[m].s->layout[m ? SAW_Z : LINEAR_Z];
    for (int by = PGM_LOCALS_QUADRATIC; by <= PGM_LOCALS_SAMPLED; by++)
      for (int k = 0; k < (by == PGM_LOCALS_SAMPLED ? 1 : 3); k++) {
        for (long e = 0; e < l->elements; e++) l->sd[e] *= factors[k];
        assert_int_equal(pgm_evidence_locals(c[m].s, (PgmLocalsBy)by, false, DRAWS, 1, ratio, &found, &error), PGM_OK);
        assert_true(found);
        assert_true(pgm_psis(DRAWS, ratio, &value) < 0.7);
        near(value, wanted, by == PGM_LOCALS_SAMPLED ? 0.3 : 0.12);
        for (long e = 0; e < l->elements; e++) l->sd[e] /= factors[k];
      }
    close_case(&c[m]);
  }
}

/* The proposal of a global starts thirty of q's sds away from the posterior, and finds it. */
static void proposals_adapt(void **state)
{
  (void)state;
  enum { ROUND = 100, ROUNDS = 12, DRAWS = 400 };
  Case c = linear_case(200, 5);
  double ratio[DRAWS], value;
  bool found, settled = false;
  PgmGlobals *g;
  fit_fvi(c.s);
  PgmLayout *theta = &c.s->layout[LINEAR_THETA];
  theta->mean[0] += 30 * theta->sd[0];
  assert_int_equal(pgm_evidence_locals(c.s, PGM_LOCALS_QUADRATURE, false, DRAWS, 1, ratio, &found, &error), PGM_OK);
  assert_true(pgm_psis(DRAWS, ratio, &value) > 0.7 || fabs(value - linear_evidence(&c)) > 1);
  assert_int_equal(pgm_globals_open(&g, c.s, true, &error), PGM_OK);
  for (int round = 0; round < ROUNDS && !settled; round++) {
    for (int d = 0; d < ROUND; d++) {          /* log p(x, theta) in closed form */
      ratio[d] = pgm_globals_draw(g, 3, round * ROUND + d);
      const double t = theta->value[0], v = 1.155 * 1.155 + 2.43 * 2.43;
      for (long i = 0; i < c.n; i++) ratio[d] -= 0.5 * (FIXTURE_LOG_2PI + log(v) + pow(c.x[i] - t, 2) / v);
      ratio[d] -= 0.5 * (FIXTURE_LOG_2PI + log(1e4) + t * t / 1e4);
    }
    settled = pgm_globals_adapt(g, 3, round * ROUND, ROUND, ratio);
  }
  assert_true(settled);
  assert_true(pgm_psis(ROUND, ratio, &value) < 0.7);
  near(value, linear_evidence(&c), 0.3);
  pgm_globals_close(g);
  close_case(&c);
}

/* Expectations over q of functions of one global: a quadratic without an error, exp(z / 2), which is exp(1 / 8), with a small one. */
static void expectations_over_globals(void **state)
{
  (void)state;
  enum { DRAWS = 400 };
  Case c = linear_case(50, 6);
  double quadratic[DRAWS], curved[DRAWS], se, plain = 0;
  PgmGlobals *g;
  fit_fvi(c.s);
  const PgmLayout *theta = &c.s->layout[LINEAR_THETA];
  assert_int_equal(pgm_globals_open(&g, c.s, false, &error), PGM_OK);
  for (int d = 0; d < DRAWS; d++) {
    pgm_globals_draw(g, 3, d);
    const double z = (theta->value[0] - theta->mean[0]) / theta->sd[0];
    quadratic[d] = 1e6 + 2 * z - 50 * z * z;
    curved[d] = exp(0.5 * z);
    plain += curved[d] / DRAWS;
  }
  near(pgm_globals_expect(g, 3, DRAWS, quadratic, &se), 1e6 - 50, 1e-6);
  assert_true(se < 1e-6);
  near(pgm_globals_expect(g, 3, DRAWS, curved, &se), exp(0.125), 0.015);
  assert_true(se > 1e-4 && se < 0.01 && fabs(plain - exp(0.125)) > se); /* the mean of the draws has an error of 0.03 */
  near(pgm_globals_expect(g, 3, 5, quadratic, &se), 0.2 * (quadratic[0] + quadratic[1] + quadratic[2] + quadratic[3] + quadratic[4]), 1e-6);
  pgm_globals_close(g);
  close_case(&c);
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
    assert_int_equal(pgm_evidence_exact(c[m].s, false, 1, &found, &value, &error), PGM_OK);
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
  assert_int_equal(gap->agrees, -1);
  assert_non_null(strstr(gap->message, "this class is too small to tell"));
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
  assert_true(other->evidence.given && other->gaps.approximation.value > -1e-8 && other->gaps.approximation.value < 1);
  pgm_gap_free(other);
  pgm_gap_free(gap);
  pgm_fit_free(fix);
  close_case(&c);
  close_case(&test);
}

/* A trace of 5000 values that rise, fall back and rise: thinned to the best so far, or to averages. */
static void paths_are_thinned(void **state)
{
  (void)state;
  for (int noisy = 0; noisy < 2; noisy++) {
    PgmGapRecorder r = {0};
    PgmGapRun run_ = {.iterations = 5000, .seconds = 5.5, .elbo = -10};
    double iteration, seconds, before = -INFINITY;
    for (long i = 0; i < 50; i++) pgm_gap_trace(&r, i, 1e-3 * (double)i, 1000, 0);
    pgm_gap_prepared(&r);              /* what came before is forgotten */
    for (long i = 0; i < 5000; i++) pgm_gap_trace(&r, i, 1e-3 * (double)i, (i < 2000 ? -5010 + (double)i : -6010 + (double)i) + (noisy ? (i % 2 ? 40 : -40) : 0), 0);
    assert_true(pgm_gap_take_path(&r, &run_, noisy, false));
    assert_true(run_.path.n > 100 && run_.path.n < 1000);
    near(run_.path.elbo[run_.path.n - 1], -10, 0);
    near(run_.path.seconds[run_.path.n - 1], 5.5, 0);
    for (long i = 0; i < run_.path.n; i++) {
      assert_true(run_.path.elbo[i] < 0);
      if (!noisy) assert_true(run_.path.elbo[i] >= before);
      before = run_.path.elbo[i];
    }
    assert_true(pgm_gap_reach(&run_, -4010, &iteration, &seconds));
    near(iteration, 1001, 20);
    near(seconds, 1e-3 * (iteration - 1), 1e-9);
    assert_true(pgm_gap_reach(&run_, -2510, &iteration, &seconds));
    near(iteration, 3501, 60);
    assert_false(pgm_gap_reach(&run_, -5, &iteration, &seconds));
    pgm_gap_free_path(&run_.path);
  }
}

/* A fit to fixed draws is too good on them: its path ends at what fresh draws say. */
static void optimistic_paths_are_shifted(void **state)
{
  (void)state;
  PgmGapRecorder r = {0};
  PgmGapRun run_ = {.iterations = 3, .seconds = 1, .elbo = -7};
  for (long i = 0; i < 3; i++) pgm_gap_trace(&r, i, 0.1 * (double)i, -10 + 2 * (double)i, 0);
  assert_true(pgm_gap_take_path(&r, &run_, false, true));
  near(run_.path.elbo[0], -11, 1e-12);
  near(run_.path.elbo[2], -7, 1e-12);
  pgm_gap_free_path(&run_.path);
}

/* Sets of inputs side by side, each by two seeds; on data not fitted too. */
static void alternatives_are_compared(void **state)
{
  (void)state;
  static const char *const one[] = {"z=x[n]"}, *const two[] = {"z=x[n-1],x[n]"};
  const PgmAlternative alternative[] = {{1, one}, {1, two}};
  Case c = saw_case(400), other = saw_case(100);
  PgmGapOptions o = pgm_gap_defaults();
  o.fit.degree = 1;
  o.seeds = 2;
  o.n_alternatives = 2;
  o.alternative = alternative;
  PgmGap *gap = run(c.s, &o), *test;
  const PgmGapList *list = &gap->list[PGM_GAP_INPUTS];
  char advice[4096];
  assert_int_equal(list->n, 2);
  assert_true(list->at[0].loss.value > 50);
  near(list->at[1].loss.value, 0, 1e-3);
  near(gap->gaps.conditioning.value, 0, 1e-3);
  assert_int_equal(pgm_gap_variant(gap, &list->at[0])->n_runs, 2);
  assert_int_equal(gap->agrees, 1);
  assert_int_equal(pgm_gap_test(other.s, gap, &o, &test, &error), PGM_OK);
  assert_true(test->list[PGM_GAP_INPUTS].at[0].loss.value > 10);
  near(test->list[PGM_GAP_INPUTS].at[1].loss.value, 0, 1e-3);
  pgm_gap_advise(gap, test, advice, sizeof advice);
  assert_non_null(strstr(advice, "Amortise: a function of x[n-1], x[n] costs nothing"));
  assert_non_null(strstr(advice, "after fit --method avi --degree 1, new observations"));
  pgm_gap_free(test);
  pgm_gap_free(gap);
  close_case(&c);
  close_case(&other);
}

/* One entry of a list: a copy of the full domain's fit, said to be a network of one layer, or of a window, with this loss. */
static PgmGapVariant entry(const PgmGap *gap, long window, int hidden, double loss)
{
  PgmGapVariant v = {.w = window, .same = PGM_GAP_METHODS, .loss = {loss, 0}, .own = {.fit = pgm_fit_copy(gap->method[PGM_GAP_FULL].fit)}};
  for (int i = 0; i < v.own.fit->n_factors && hidden; i++) {
    PgmFunction *f = v.own.fit->factors[i].function;
    if (!f) continue;
    f->degree = -1;
    f->n_hidden = 1;
    f->hidden[0] = hidden;
  }
  return v;
}

static void set_list(PgmGap *gap, PgmGapListName name, int n, const double *loss, const int *hidden)
{
  PgmGapList *list = &gap->list[name];
  for (int i = 0; i < list->n; i++) pgm_fit_free(list->at[i].own.fit);
  free(list->at);
  *list = (PgmGapList){n, malloc((size_t)n * sizeof *list->at)};
  for (int i = 0; i < n; i++) list->at[i] = entry(gap, i, hidden ? hidden[i] : 0, loss[i]);
}

/* A promise is broken only where a wider network leaves as much. */
static void a_broken_promise_is_told_from_a_small_class(void **state)
{
  (void)state;
  Case c = linear_case(300, 11);
  PgmGapOptions o = pgm_gap_defaults();
  o.fit.degree = 1;
  PgmGap *gap = run(c.s, &o);
  assert_null(strstr(gap->message, "that it could copy"));
  gap->gaps.capacity.value = -0.02;    /* of noisy fits */
  pgm_gap_judge(gap, NULL);
  assert_non_null(strstr(gap->message, "F-VI is 0.02 nats short of a function that it could copy"));
  gap->gaps.amortisation.value = gap->gaps.capacity.value = 50;
  pgm_gap_judge(gap, NULL);
  assert_int_equal(gap->agrees, -1);
  set_list(gap, PGM_GAP_FUNCTIONS, 2, (double[]){51, 50}, (int[]){8, 32});
  pgm_gap_judge(gap, NULL);
  assert_int_equal(gap->agrees, 0);
  set_list(gap, PGM_GAP_FUNCTIONS, 2, (double[]){90, 50}, (int[]){8, 32});
  pgm_gap_judge(gap, NULL);
  assert_int_equal(gap->agrees, -1);
  set_list(gap, PGM_GAP_FUNCTIONS, 2, (double[]){51, 50}, (int[]){1, 2});
  pgm_gap_judge(gap, NULL);
  assert_int_equal(gap->agrees, -1);
  pgm_gap_free(gap);
  close_case(&c);
}

/* Half-widths are extrapolated from a steady fall alone, and rows that fall are told. */
static void windows_are_read_with_care(void **state)
{
  (void)state;
  Case c = linear_case(100, 5);
  PgmGapOptions o = pgm_gap_defaults();
  o.fit.degree = 1;
  PgmGap *gap = run(c.s, &o);
  char text[200];
  bool measured;
  long w;
  gap->stands_in = 2;
  gap->gaps.constant.value = 100;
  set_list(gap, PGM_GAP_WINDOWS, 3, (double[]){40, 8, 1.6}, NULL);
  assert_true(pgm_gap_half_width(gap, 0.01, &w, &measured));
  assert_false(measured);
  assert_int_equal(w, 3);              /* 1.6 / 5 < 1 */
  set_list(gap, PGM_GAP_WINDOWS, 3, (double[]){40, 10, 8}, NULL);
  assert_false(pgm_gap_half_width(gap, 0.01, &w, &measured));
  set_list(gap, PGM_GAP_WINDOWS, 3, (double[]){40, 0.5, 8}, NULL);
  assert_true(pgm_gap_half_width(gap, 0.01, &w, &measured));
  assert_true(measured && w == 1);
  assert_true(!pgm_gap_falls(gap, 0) && !pgm_gap_falls(gap, 1) && pgm_gap_falls(gap, 2));
  gap->stands_in = 1;
  pgm_gap_stand_in(gap, text, sizeof text);
  assert_non_null(strstr(text, "window 1 stands for the full domain"));
  pgm_gap_free(gap);
  close_case(&c);
}

/* Test data: the same, too few, and those on which the function or the inputs chosen lose. */
static void test_data_speak_in_verdict_and_advice(void **state)
{
  (void)state;
  static const char *const inputs[] = {"z=x[n]"};
  Case c = linear_case(300, 11), few = linear_case(3, 2), other = linear_case(100, 3);
  PgmGapOptions o = pgm_gap_defaults();
  o.fit.degree = 1;
  PgmGap *gap = run(c.s, &o), *test;
  char advice[4096];
  assert_int_equal(pgm_fit_bind(gap->method[PGM_GAP_FVI].fit, c.s, &error), PGM_OK);
  assert_int_equal(pgm_gap_test(c.s, gap, &o, &test, &error), PGM_OK);
  assert_true(test->same_data);
  pgm_gap_advise(gap, test, advice, sizeof advice);
  assert_non_null(strstr(advice, "the data that were fitted, so they tell nothing"));
  pgm_gap_free(test);
  assert_int_equal(pgm_gap_test(few.s, gap, &o, &test, &error), PGM_OK);
  assert_false(test->same_data);
  pgm_gap_advise(gap, test, advice, sizeof advice);
  assert_non_null(strstr(advice, "3 observations are too few"));
  assert_null(strstr(advice, "does as well"));
  pgm_gap_free(test);
  assert_int_equal(pgm_gap_test(other.s, gap, &o, &test, &error), PGM_OK);
  pgm_gap_judge(gap, test);
  assert_int_equal(gap->agrees, 1);
  pgm_gap_advise(gap, test, advice, sizeof advice);
  assert_non_null(strstr(advice, "does as well"));
  test->gaps.amortisation = (PgmGapNumber){40, 0};
  pgm_gap_advise(gap, test, advice, sizeof advice);
  assert_non_null(strstr(advice, "Data that differ"));       /* four weights hold nothing by heart */
  assert_null(strstr(advice, "Amortise"));
  test->missing = 7;
  pgm_gap_advise(gap, test, advice, sizeof advice);
  assert_non_null(strstr(advice, "Missing values"));
  pgm_gap_judge(gap, test);
  assert_non_null(strstr(gap->message, "on the test data the function leaves 40 nats"));
  pgm_gap_free(test);
  pgm_gap_free(gap);
  o.fit.n_inputs = 1;
  o.fit.inputs = inputs;
  gap = run(c.s, &o);
  assert_int_equal(pgm_gap_test(other.s, gap, &o, &test, &error), PGM_OK);
  gap->same_inputs = test->same_inputs = false;
  gap->gaps.conditioning = (PgmGapNumber){0, 0};
  test->gaps.conditioning = (PgmGapNumber){60, 0};
  pgm_gap_judge(gap, test);
  assert_non_null(strstr(gap->message, "on the test data 60 nats: a conditioning gap"));
  pgm_gap_advise(gap, test, advice, sizeof advice);
  assert_non_null(strstr(advice, "60 nats (0.6 per observation) on the test data"));
  assert_null(strstr(advice, "as good as the full domain"));
  pgm_gap_free(test);
  pgm_gap_free(gap);
  close_case(&c);
  close_case(&few);
  close_case(&other);
}

/* Two units and the default network; and none at all. */
static void too_few_units_are_no_comparison(void **state)
{
  (void)state;
  Case c = linear_case(2, 6);
  PgmGapOptions o = pgm_gap_defaults();
  PgmGap *gap = run(c.s, &o);
  char advice[4096];
  assert_int_equal(gap->agrees, -1);
  assert_non_null(strstr(gap->message, "too few observations"));
  gap->locals = 0;
  pgm_gap_judge(gap, NULL);
  assert_non_null(strstr(gap->message, "the data have no units"));
  pgm_gap_advise(gap, NULL, advice, sizeof advice);
  assert_null(strstr(advice, "missing"));
  pgm_gap_free(gap);
  close_case(&c);
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
    cmocka_unit_test(weights_that_hardly_differ_are_trusted),
    cmocka_unit_test(evidence_given_the_globals),
    cmocka_unit_test(locals_are_integrated_out),
    cmocka_unit_test(proposals_adapt),
    cmocka_unit_test(expectations_over_globals),
    cmocka_unit_test(other_models_are_not_taken_for_quadratic),
    cmocka_unit_test(linear_has_no_amortisation_gap),
    cmocka_unit_test(too_small_a_function_shows_as_capacity),
    cmocka_unit_test(saw_without_its_second_input_has_a_conditioning_gap),
    cmocka_unit_test(units_add_up_and_fixed_globals_stay),
    cmocka_unit_test(paths_are_thinned),
    cmocka_unit_test(optimistic_paths_are_shifted),
    cmocka_unit_test(alternatives_are_compared),
    cmocka_unit_test(a_broken_promise_is_told_from_a_small_class),
    cmocka_unit_test(windows_are_read_with_care),
    cmocka_unit_test(test_data_speak_in_verdict_and_advice),
    cmocka_unit_test(too_few_units_are_no_comparison),
    cmocka_unit_test(what_did_not_converge_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
