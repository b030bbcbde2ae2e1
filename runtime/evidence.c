/* The evidence log p(data) = log of the integral of p(data, u) over the unconstrained coordinates u, params held at their values.
 *
 * EXACT where the log joint is quadratic in all of u (gap_quadratic.c).
 *
 * LOCALS INTEGRATED. Given the globals, the local variables are integrated out in one of three ways; the globals are drawn from q or, a
 * few of them, from a proposal that starts there and adapts (gap_globals.c); the number of units does not matter:
 *   - in closed form, where the log joint is quadratic in the local variables (a hidden Markov model with Gaussian states and unknown sds);
 *   - by quadrature, where no term reaches into another unit and what is coupled within a unit has up to six coordinates (evidence_units.c), with an error
 *     that is stated: the sum of the units' relative errors, averaged over the draws of the globals. Discrete variables are summed over;
 *   - unit by unit by importance sampling, where that would take too long or has too many coordinates, with q as the proposal, Pareto-smoothed in each unit
 *     (Burda, Grosse & Salakhutdinov 2016 for the estimate; its ratios are a lower bound in expectation).
 *
 * ELSE importance sampling of everything with q as the proposal.
 *
 * Draws of the globals are Pareto-smoothed (khat.c); above k-hat 0.7 the value is called a bound: the logarithm of an average of importance
 * ratios is below log p(data) in expectation. GIVEN the factors of the globals the average of the log ratios themselves is wanted, which is
 * unbiased and needs no weights. */
#include "evidence.h"

#include <stdlib.h>
#include <string.h>

#include "evidence_units.h"
#include "fit.h"
#include "gap_globals.h"
#include "gap_quadratic.h"
#include "khat.h"
#include "philox.h"

enum {
  GLOBAL_DRAWS = 400,
  GLOBAL_DRAWS_LARGE = 150,
  LARGE = 3000,
  FEWEST_DRAWS = 50,
  CHECKED_DRAWS = 3,
  FEW_GLOBALS = 12,
  ROUND_DRAWS = 100,
  FEWEST_PICKED = 20,
  MOST_ROUNDS = 15
};
enum { INNER_DRAWS = 1000, INNER_DRAWS_NESTED = 100, NESTED_DRAWS = 20, SEED_INNER = 0x1A7Eu };
static const double LOG_2PI = 1.8378770664093454836;
static const double MOST_WORK = 4e10, MOST_MEMORY = 4e7;
static const double MOST_POINTS = 1.5e9;               /* evaluations of units' densities, for one quadrature of all; for all draws of the globals */
static const double MOST_ROUGH = 5e9;                  /* the same, for rough quadratures at all draws */
static const double STEADY = 0.01, UNSTEADY = 0.5;    /* of what rough quadratures lack: error of the mean that does; sd over the globals that does not */
static const double POOR = 1e-2;                      /* nats: an error of quadrature that is worth a remark */

static const char *const EXCHANGES = "; exchanges of labels are not counted";
static const char *const ELSEWHERE = "; units have modes that q does not have";

static PgmStatus no_memory(PgmError *error)
{
  return pgm_fail(error, PGM_SYSTEM, "out of memory");
}

static bool is_random(const PgmFamily *f)
{
  return pgm_is_latent(f) && f->role != PGM_PARAM;
}

/* ---- everything quadratic ------------------------------------------------------------------------------------------------------------ */

PgmStatus pgm_evidence_exact(PgmSession *s, bool given, unsigned long seed, bool *found, double *value, PgmError *error)
{
  PgmQuadratic *q;
  PgmStatus st = pgm_quadratic_open(&q, s, true, error);
  *found = !st && q;
  *value = NAN;
  if (!*found) return st;
  for (int f = 0; f < s->model->n_families; f++)
    if (pgm_is_latent(&s->model->families[f])) pgm_constrain(s, f, s->layout[f].mean, s->layout[f].value);
  *found = pgm_quadratic_probe(q) && pgm_quadratic_agrees(q, seed) && pgm_quadratic_eliminate(q);
  if (*found) *value = given ? pgm_quadratic_expectation(q) : pgm_quadratic_integral(q);
  *found = *found && isfinite(*value);
  pgm_quadratic_close(q);
  return PGM_OK;
}

/* ---- local variables given the globals ----------------------------------------------------------------------------------------------- */

typedef struct {
  PgmSession *s;
  PgmLocalsBy by;
  bool nested;    /* integrated anew for many draws of the globals */
  bool elsewhere; /* units have modes that q does not have */
  PgmGlobals *globals;
  PgmQuadratic *quadratic;
  PgmUnits *units;
  double *values; /* scratch: of one family, or of one unit's draws */
  double *ratio;  /* by draws: rows x units: log densities at draws */
  long rows;
  double *khat, variance; /* of the last integral by draws: per unit; of the sum */
  double inexact;         /* error of integrals by quadrature: of the last one; when all is done, the mean */
  double scatter;         /* error of what rough integrals lack, from a few draws */
} Locals;

static void close_locals(Locals *w)
{
  pgm_quadratic_close(w->quadratic);
  pgm_globals_close(w->globals);
  pgm_units_close(w->units);
  free(w->values);
  free(w->ratio);
  free(w->khat);
}

/* *found false: too much memory, or discrete variables. */
static PgmStatus open_draws(Locals *w, bool *found, PgmError *error)
{
  const PgmModel *m = w->s->model;
  const long n = pgm_units_count(w->units);
  long most = INNER_DRAWS;
  w->rows = w->nested ? INNER_DRAWS_NESTED : INNER_DRAWS;
  *found = n > 0 && (double)n * (double)w->rows <= MOST_MEMORY;
  for (int f = 0; f < m->n_families; f++) {
    const PgmLayout *l = &w->s->layout[f];
    if (m->families[f].role != PGM_LOCAL) continue;
    if (l->elements * l->uwidth > most) most = l->elements * l->uwidth;
    if (l->table) *found = false;
  }
  if (!*found) return PGM_OK;
  w->values = calloc((size_t)most, sizeof *w->values);
  w->ratio = calloc((size_t)(w->rows * n), sizeof *w->ratio);
  w->khat = calloc((size_t)n, sizeof *w->khat);
  return w->values && w->ratio && w->khat ? PGM_OK : no_memory(error);
}

/* *found false: this way does not go. */
static PgmStatus open_locals(Locals *w, PgmSession *s, PgmLocalsBy by, bool nested, bool given, bool *found, PgmError *error)
{
  *w = (Locals){.s = s, .by = by, .nested = nested};
  *found = false;
  for (int f = 0; f < s->model->n_families; f++)
    if (s->model->families[f].role == PGM_GLOBAL && s->layout[f].table) return PGM_OK;
  PgmStatus st = pgm_globals_open(&w->globals, s, !given && pgm_globals_count(s) <= FEW_GLOBALS, error);
  if (!st && by == PGM_LOCALS_QUADRATIC) {
    st = pgm_quadratic_open(&w->quadratic, s, false, error);
    *found = !st && w->quadratic;
    return st;
  }
  if (!st) st = pgm_units_open(&w->units, s, error);
  if (st || !w->units) return st;
  return by == PGM_LOCALS_QUADRATURE ? pgm_units_prepare(w->units, nested, found, error) : open_draws(w, found, error);
}

/* ---- by draws ------------------------------------------------------------------------------------------------------------------------ */

/* The variance of the log of the mean of exp(ratio), by the delta method. */
static double log_mean_variance(long n, const double *ratio)
{
  double most = -INFINITY, sum = 0, square = 0;
  for (long i = 0; i < n; i++) most = fmax(most, ratio[i]);
  for (long i = 0; i < n; i++) {
    const double w = exp(ratio[i] - most);
    sum += w;
    square += w * w;
  }
  const double mean = sum / (double)n;
  return fmax(0, square / (double)n - mean * mean) / (double)n / (mean * mean);
}

/* One draw of all local variables: out[unit] = log density + log |J| - log q of its variables. */
static void at_draw(Locals *w, unsigned long seed, uint64_t draw, double *out)
{
  const PgmModel *m = w->s->model;
  memset(out, 0, (size_t)pgm_units_count(w->units) * sizeof *out);
  for (int f = 0; f < m->n_families; f++) {
    const PgmLayout *l = &w->s->layout[f];
    if (m->families[f].role != PGM_LOCAL) continue;
    const long n = l->elements * l->uwidth;
    double *u = w->values;
    pgm_constrain(w->s, f, l->mean, l->value); /* elements that no statement defines are read by nobody, but are to be numbers */
    if (n) pgm_philox_normals((PgmKey){seed ^ SEED_INNER, draw, (uint64_t)f}, 0, n, u);
    for (long r = 0; r < (l->list ? l->defined : l->elements); r++) {
      const long e = l->list ? l->list[r] : r;
      double *to = &out[pgm_units_of(w->units, f, e)];
      for (long k = e * l->uwidth; k < (e + 1) * l->uwidth; k++) {
        *to += 0.5 * (u[k] * u[k] + LOG_2PI) + log(l->sd[k]);
        u[k] = l->mean[k] + l->sd[k] * u[k];
      }
      *to += pgm_constrain_element(w->s, f, r, u, l->value);
    }
  }
  pgm_units_terms(w->units, false, out);
}

static double by_draws(Locals *w, unsigned long seed, long draw)
{
  const long n = pgm_units_count(w->units);
  double sum = 0, *ratio = w->values; /* as many as rows: see open_draws */
  w->variance = 0;
  for (long k = 0; k < w->rows; k++) at_draw(w, seed, (uint64_t)draw * (uint64_t)w->rows + (uint64_t)k, w->ratio + k * n);
  for (long i = 0; i < n; i++) {
    double value;
    w->khat[i] = -INFINITY;
    if (!pgm_units_parts(w->units, i)) {
      sum += w->ratio[i];
      continue;
    }
    for (long k = 0; k < w->rows; k++) ratio[k] = w->ratio[k * n + i];
    w->khat[i] = pgm_psis(w->rows, ratio, &value);
    if (w->khat[i] > 0 && pgm_khat_trusted(INFINITY, pgm_effective(w->rows, ratio, 1))) w->khat[i] = -INFINITY; /* as good as all the same */
    w->variance += log_mean_variance(w->rows, ratio);
    sum += value;
  }
  return sum;
}

/* ---- the ratios ---------------------------------------------------------------------------------------------------------------------- */

/* log p(data, globals) with the local variables integrated out, at the session's globals; *found false: not quadratic after all. */
static double integrate_locals(Locals *w, PgmCubatureMode mode, unsigned long seed, long draw, bool *found)
{
  switch (w->by) {
  case PGM_LOCALS_QUADRATIC:
    *found = pgm_quadratic_probe(w->quadratic) &&
             (draw >= CHECKED_DRAWS || pgm_quadratic_agrees(w->quadratic, seed + (unsigned long)draw)) &&
             pgm_quadratic_eliminate(w->quadratic);
    return *found ? pgm_quadratic_integral(w->quadratic) : NAN;
  case PGM_LOCALS_QUADRATURE:
    return pgm_units_others(w->units) + pgm_units_integrate(w->units, mode, &w->inexact);
  default:
    return pgm_units_others(w->units) + by_draws(w, seed, draw);
  }
}

/* The log ratio of draw d of the globals. */
static double locals_ratio(Locals *w, PgmCubatureMode mode, unsigned long seed, long d, bool *found)
{
  const double proposed = pgm_globals_draw(w->globals, seed, d);
  return proposed + integrate_locals(w, mode, seed, d, found);
}

/* Of draws first .. first+draws-1, with the mean of their errors. *found false: this way does not go after all. */
static void locals_ratios(Locals *w, PgmCubatureMode mode, long first, int draws, unsigned long seed, double *ratio, bool *found)
{
  double inexact = 0;
  for (int d = 0; d < draws && *found; d++) {
    ratio[d] = locals_ratio(w, mode, seed, first + d, found);
    inexact += w->inexact / draws;
    if (isnan(ratio[d])) *found = false;
  }
  w->inexact = inexact;
}

/* Rounds of `draws` draws until the proposal of the globals is where the target is; returns how many draws were used up. */
static long settle_globals(Locals *w, int draws, unsigned long seed, double *ratio, bool *found)
{
  long used = 0;
  const int few = draws < ROUND_DRAWS ? draws : ROUND_DRAWS;
  for (int round = 0, settled = 0; round < MOST_ROUNDS && settled < 2 && *found; round++, used += few) {
    locals_ratios(w, PGM_CUBATURE_ROUGH, used, few, seed, ratio, found);
    if (*found && pgm_globals_adapt(w->globals, seed, used, few, ratio)) settled++;
  }
  return used;
}

PgmStatus pgm_evidence_locals(PgmSession *s, PgmLocalsBy by, bool given, int draws, unsigned long seed, double *ratio, bool *found,
                              PgmError *error)
{
  Locals w;
  PgmStatus st = open_locals(&w, s, by, draws > 1, given, found, error);
  if (!st && *found && by == PGM_LOCALS_QUADRATURE) locals_ratio(&w, PGM_CUBATURE_LOOK, seed, 0, found);
  if (!st && *found) locals_ratios(&w, PGM_CUBATURE_NEAR, 0, draws, seed, ratio, found);
  close_locals(&w);
  return st;
}

/* ---- all ways, the best first -------------------------------------------------------------------------------------------------------- */

/* How many draws of the globals a way can afford, at so many of them that there is room for; 0: not even a few. */
static int at_most(double room, int wanted)
{
  return room >= wanted ? wanted : room >= FEWEST_DRAWS ? (int)room : 0;
}

static int affordable(const Locals *w, int wanted, bool given)
{
  if (w->by == PGM_LOCALS_QUADRATURE && pgm_units_cost(w->units, PGM_CUBATURE_LOOK) > MOST_POINTS) return 0;
  if (!pgm_globals_count(w->s)) return 1;
  if (w->by == PGM_LOCALS_SAMPLED) return given ? NESTED_DRAWS : 0; /* weights of weights need more draws than there is time for */
  if (w->by == PGM_LOCALS_QUADRATURE) return at_most(MOST_ROUGH / pgm_units_cost(w->units, PGM_CUBATURE_ROUGH), wanted);
  return at_most(MOST_WORK / pgm_quadratic_cost(w->quadratic), wanted);
}

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The 95 % quantile of the units' k-hats; of few units, the largest. */
static double usual_khat(Locals *w)
{
  const long n = pgm_units_count(w->units);
  qsort(w->khat, (size_t)n, sizeof *w->khat, ascending);
  for (long i = 0; i < n; i++)
    if (isnan(w->khat[i])) return NAN;
  return w->khat[(long)ceil(0.95 * (double)n) - 1];
}

static PgmEvidenceKind kind_of(double khat, double effective)
{
  return pgm_khat_trusted(khat, effective) ? PGM_EVIDENCE_PSIS : PGM_EVIDENCE_BOUND;
}

static void note(PgmEvidence *out, const char *text)
{
  const size_t used = strlen(out->how);
  snprintf(out->how + used, sizeof out->how - used, "%s", text);
}

/* Labels beside globals, none of which are ordered: where these can be exchanged, q has one of the ways to do so, and draws from it find the evidence of that
 * one. */
static bool has_labels(PgmSession *s)
{
  bool any = false;
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmFamily *family = &s->model->families[f];
    if (family->role == PGM_GLOBAL && (family->transform == PGM_T_ORDERED || family->transform == PGM_T_POSITIVE_ORDERED)) return false;
    any = any || family->role == PGM_MARGINAL || (pgm_is_latent(family) && pgm_is_discrete(family));
  }
  return any && pgm_globals_count(s) > 0;
}

/* "300 units of 2 coordinates by quadrature". */
static void describe(const Locals *w, char *text, size_t size)
{
  if (w->by != PGM_LOCALS_QUADRATURE) {
    snprintf(text, size, "local variables %s", w->by == PGM_LOCALS_QUADRATIC ? "integrated in closed form" : "by importance sampling unit by unit");
    return;
  }
  pgm_units_describe(w->units, text, size);
}

/* From the ratios of `draws` draws of the globals to a value. */
static void conclude(Locals *w, int draws, unsigned long seed, const double *ratio, PgmEvidence *out)
{
  char way[128];
  double value = ratio[0];
  describe(w, way, sizeof way);
  if (draws == 1) {
    const bool exact = w->by == PGM_LOCALS_QUADRATIC || (w->by == PGM_LOCALS_QUADRATURE && pgm_units_finite(w->units));
    out->kind = exact ? PGM_EVIDENCE_EXACT : PGM_EVIDENCE_PSIS;
    out->se = sqrt(w->variance);
    snprintf(out->how, sizeof out->how, "%s", way);
  } else if (out->given) {
    value = pgm_globals_expect(w->globals, seed, draws, ratio, &out->se);
    out->kind = PGM_EVIDENCE_PSIS;
    snprintf(out->how, sizeof out->how, "%d draws of the globals from their factors, %s", draws, way);
  } else {
    out->khat = pgm_psis(draws, ratio, &value);
    out->se = sqrt(log_mean_variance(draws, ratio));
    out->kind = isnan(out->khat) ? PGM_EVIDENCE_NONE : kind_of(out->khat, pgm_effective(draws, ratio, 1));
    snprintf(out->how, sizeof out->how, "importance sampling of the globals, %d draws, %s", draws, way);
  }
  if (w->by == PGM_LOCALS_SAMPLED) {
    const double units = usual_khat(w); /* the weaker of both is what counts */
    if (out->kind == PGM_EVIDENCE_EXACT || out->kind == PGM_EVIDENCE_PSIS) out->kind = w->elsewhere ? PGM_EVIDENCE_BOUND : kind_of(units, 0);
    if (isnan(out->khat) || isnan(units) || units > out->khat) out->khat = units;
  }
  if (has_labels(w->s) && !out->given) note(out, EXCHANGES);
  if (w->elsewhere) note(out, ELSEWHERE);
  out->se = hypot(out->se, hypot(w->inexact, w->scatter));
  if (w->inexact > POOR) note(out, ", not to the error wanted");
  if (!isfinite(value)) out->kind = PGM_EVIDENCE_NONE;
  if (out->kind == PGM_EVIDENCE_BOUND) out->se = NAN; /* of weights without a variance it says nothing */
  if (!isfinite(out->khat)) out->khat = NAN; /* all ratios the same: q is the posterior */
  out->draws = draws;
  out->value = out->kind == PGM_EVIDENCE_NONE ? NAN : value;
}

/* Numbers of draws that stand for all of them: evenly spaced, or as the weights have it (systematic resampling). */
static void pick(int draws, const double *ratio, bool weighted, int picked, int *which)
{
  double most = -INFINITY, total = 0, sum = 0;
  int d = 0;
  for (int i = 0; i < draws; i++) most = fmax(most, ratio[i]);
  for (int i = 0; i < draws; i++) total += weighted ? exp(ratio[i] - most) : 1;
  for (int k = 0; k < picked; k++) {
    const double wanted = (k + 0.5) / picked * total;
    while (d < draws - 1 && sum + (weighted ? exp(ratio[d] - most) : 1) <= wanted) sum += weighted ? exp(ratio[d++] - most) : (d++, 1);
    which[k] = d;
  }
}

/* What rough ratios lack, at draws which[0..picked-1], apart[] of them: the mean over these, of its exponential or, given the globals, itself; *spread: the sd. */
static double lacking(int picked, const double *apart, bool given, double *spread)
{
  double mean = 0, square = 0;
  for (int k = 0; k < picked; k++) mean += (given ? apart[k] - apart[0] : exp(apart[k] - apart[0])) / picked;
  for (int k = 0; k < picked; k++) square += pow((given ? apart[k] - apart[0] : exp(apart[k] - apart[0])) - mean, 2);
  *spread = picked > 1 ? sqrt(square / (picked - 1)) / (given ? 1 : mean) : 0;
  return apart[0] + (given ? mean : log(mean));
}

/* Ratios by quadrature, of up to *draws draws from `first` on. Rough ones of all; then what these lack at a few draws that stand for all: the ratio of the evidence
 * to that of the rough ones is the mean of exp(exact - rough) over the posterior of these. As many as it takes for its logarithm, which is added to all. If it varies
 * too much, the ratios are made anew, of fewer draws if there is no time for all. */
static void quadrature_ratios(Locals *w, bool given, long first, int *draws, unsigned long seed, double *ratio, bool *found)
{
  int which[GLOBAL_DRAWS] = {0}, picked = *draws < FEWEST_PICKED ? *draws : FEWEST_PICKED;
  double apart[GLOBAL_DRAWS], spread, mean;
  if (*draws > 1) locals_ratios(w, PGM_CUBATURE_ROUGH, first, *draws, seed, ratio, found);
  if (!*found) return;
  for (bool looked = false;; picked *= 4) {
    double inexact = 0;
    pick(*draws, ratio, !given && *draws > 1, picked, which);
    if (!looked) locals_ratio(w, PGM_CUBATURE_LOOK, seed, first + which[0], found);
    looked = true;
    *found = *found && picked * pgm_units_cost(w->units, PGM_CUBATURE_NEAR) <= MOST_POINTS;
    for (int k = 0; k < picked && *found; k++) {
      const bool same = k && which[k] == which[k - 1];
      apart[k] = same ? apart[k - 1] : locals_ratio(w, PGM_CUBATURE_NEAR, seed, first + which[k], found) - (*draws > 1 ? ratio[which[k]] : 0);
      inexact += w->inexact / picked;
      *found = *found && !isnan(apart[k]);
    }
    w->inexact = inexact;
    if (!*found) return;
    mean = lacking(picked, apart, given, &spread);
    const bool more = 4 * picked <= *draws && 4 * picked * pgm_units_cost(w->units, PGM_CUBATURE_NEAR) <= MOST_POINTS;
    if (spread <= STEADY * sqrt(picked) || spread > UNSTEADY || !more) break;
  }
  const int all = at_most(MOST_POINTS / pgm_units_cost(w->units, PGM_CUBATURE_NEAR), *draws);
  if (*draws == 1) {
    ratio[0] = mean;
  } else if (spread <= UNSTEADY) {
    for (int d = 0; d < *draws; d++) ratio[d] += mean;
    w->scatter = spread / sqrt(picked);
  } else {
    *draws = all;
    *found = all > 0;
    if (*found) locals_ratios(w, PGM_CUBATURE_NEAR, first, *draws, seed, ratio, found);
  }
}

/* *elsewhere: quadrature has found units with modes that q does not have. */
static PgmStatus through_locals(PgmSession *s, PgmLocalsBy by, int wanted, unsigned long seed, bool *elsewhere, PgmEvidence *out, PgmError *error)
{
  Locals w;
  bool found;
  PgmStatus st = open_locals(&w, s, by, pgm_globals_count(s) > 0, out->given, &found, error);
  w.elsewhere = by == PGM_LOCALS_SAMPLED && *elsewhere;
  int draws = !st && found ? affordable(&w, wanted, out->given) : 0;
  double *ratio = draws ? malloc((size_t)draws * sizeof *ratio) : NULL;
  if (draws && !ratio) st = no_memory(error);
  if (draws && !st) {
    const bool adapts = draws > 1 && !out->given && pgm_globals_count(s) <= FEW_GLOBALS;
    const long used = adapts ? settle_globals(&w, draws, seed, ratio, &found) : 0;
    if (by == PGM_LOCALS_QUADRATURE)
      quadrature_ratios(&w, out->given, used, &draws, seed, ratio, &found);
    else
      locals_ratios(&w, PGM_CUBATURE_NEAR, used, draws, seed, ratio, &found);
  }
  if (draws && !st && found) conclude(&w, draws, seed, ratio, out);
  if (!st && by == PGM_LOCALS_QUADRATURE && w.units) *elsewhere = pgm_units_elsewhere(w.units);
  free(ratio);
  close_locals(&w);
  return st;
}

/* Everything drawn from q. */
static PgmStatus from_everything(PgmSession *s, int draws, unsigned long seed, bool elsewhere, PgmEvidence *out, PgmError *error)
{
  double value, *ratio = malloc((size_t)draws * sizeof *ratio);
  if (!ratio) return no_memory(error);
  if (pgm_log_ratios(s, draws, seed, ratio)) {
    out->khat = pgm_psis(draws, ratio, &value);
    if (!isnan(out->khat) && isfinite(value)) {
      out->draws = draws;
      out->value = value;
      out->se = sqrt(log_mean_variance(draws, ratio));
      out->kind = elsewhere ? PGM_EVIDENCE_BOUND : kind_of(out->khat, pgm_effective(draws, ratio, 1));
      if (out->kind == PGM_EVIDENCE_BOUND) out->se = NAN;
      if (!isfinite(out->khat)) out->khat = NAN;
      snprintf(out->how, sizeof out->how, "importance sampling, %d draws of q%s", draws,
               has_labels(s) && !out->given ? EXCHANGES : "");
      if (elsewhere) note(out, ELSEWHERE);
    }
  }
  free(ratio);
  return PGM_OK;
}

PgmStatus pgm_evidence(PgmSession *s, bool given_globals, int draws, unsigned long seed, PgmEvidence *out, PgmError *error)
{
  const bool given = given_globals && pgm_globals_count(s) > 0; /* params alone: log p(data) at their values, in every way there is */
  bool found;
  *out = (PgmEvidence){.kind = PGM_EVIDENCE_NONE, .value = NAN, .se = NAN, .khat = NAN, .given = given};
  long locals = 0;
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    const long n = (l->list ? l->defined : l->elements) * l->uwidth;
    if (is_random(&s->model->families[f])) out->coordinates += n;
    if (s->model->families[f].role == PGM_LOCAL) locals += n;
  }
  PgmStatus st = pgm_evidence_exact(s, given, seed, &found, &out->value, error);
  if (st) return st;
  if (found) {
    out->kind = PGM_EVIDENCE_EXACT;
    out->se = 0;
    snprintf(out->how, sizeof out->how, "exact: the log joint is quadratic in %ld coordinate%s", out->coordinates,
             out->coordinates == 1 ? "" : "s");
    return PGM_OK;
  }
  const int wanted = out->coordinates > LARGE ? GLOBAL_DRAWS_LARGE : GLOBAL_DRAWS, few = wanted < draws ? wanted : draws;
  bool elsewhere = false;
  for (int by = PGM_LOCALS_QUADRATIC; by <= PGM_LOCALS_SAMPLED && locals && out->kind == PGM_EVIDENCE_NONE && !st; by++)
    st = through_locals(s, (PgmLocalsBy)by, few, seed, &elsewhere, out, error);
  if (st || out->kind != PGM_EVIDENCE_NONE || given) return st;
  return from_everything(s, draws, seed, elsewhere, out, error);
}
