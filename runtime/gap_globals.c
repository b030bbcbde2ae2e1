/* Proposals for the global variables.
 *
 * F-VI's factors of the globals can be far too narrow, and far off, where local variables depend on each other (the sds of a state space
 * model). Importance sampling of a few globals therefore adapts its proposal: a multivariate t distribution with five degrees of freedom,
 * which starts at q, twice as wide, and is moved to the weighted mean and covariance of its draws, round after round (population Monte
 * Carlo, Cappe, Guillin, Marin & Robert 2004). Weights are tempered, w^beta, with the largest beta at most 1 that leaves a third of the
 * draws effective, so that the proposal walks to where the target is and does not collapse onto a single draw.
 *
 * What is wanted in expectation over q's factors themselves is nearly quadratic in the globals, and the expectation of a quadratic is known: the draws are
 * regressed on the quadratics of their standardised globals (control variates; Glynn & Szechtman 2002), and only what is left varies. */
#include "gap_globals.h"

#include <stdlib.h>
#include <string.h>

#include "khat.h"
#include "pgm_emit.h"
#include "philox.h"

enum { MOST_CONTROLS = 65, DRAWS_PER_CONTROL = 4 };
enum { DEGREES = 5, SEED_GLOBALS = 0xB17u, SEED_TAILS = 0x7A11u };
static const double LOG_2PI = 1.8378770664093454836, LOG_PI = 1.1447298858494001741;
static const double START_WIDTH = 2, WIDEN = 1.3, EFFECTIVE = 1.0 / 3;

struct PgmGlobals {
  PgmSession *s;
  bool adaptive;
  long n;
  double *mean, *sd, *z, *u, *scratch;  /* of q; of the last draw, standardised and not; one family */
  double *centre, *chol, *sum, *square; /* adaptive: the t distribution, its Cholesky factor (lower, row-major); workspace */
  double log_det;                       /* of the factor */
};

long pgm_globals_count(const PgmSession *s)
{
  long n = 0;
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    if (s->model->families[f].role == PGM_GLOBAL) n += (l->list ? l->defined : l->elements) * l->uwidth;
  }
  return n;
}

/* Calls for every coordinate of family f: its place in the layout. */
static long place_of(const PgmLayout *l, long k)
{
  return (l->list ? l->list[k / l->uwidth] : k / l->uwidth) * l->uwidth + k % l->uwidth;
}

static long coordinates(const PgmLayout *l)
{
  return (l->list ? l->defined : l->elements) * l->uwidth;
}

PgmStatus pgm_globals_open(PgmGlobals **out, PgmSession *s, bool adaptive, PgmError *error)
{
  PgmGlobals *g = *out = calloc(1, sizeof *g);
  if (!g) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  long most = 1, at = 0;
  g->s = s;
  g->adaptive = adaptive;
  g->n = pgm_globals_count(s);
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    if (pgm_is_latent(&s->model->families[f]) && l->elements * l->uwidth > most) most = l->elements * l->uwidth;
  }
  const long n = g->n, square = adaptive ? n * n : 0;
  g->mean = calloc((size_t)(4 * n + most + 2 * square + 2 * n + 1), sizeof *g->mean);
  if (!g->mean) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  g->sd = g->mean + n;
  g->z = g->sd + n;
  g->u = g->z + n;
  g->scratch = g->u + n;
  g->centre = g->scratch + most;
  g->sum = g->centre + n;
  g->chol = g->sum + n;
  g->square = g->chol + square;
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    for (long k = 0; s->model->families[f].role == PGM_GLOBAL && k < coordinates(l); k++, at++) {
      g->mean[at] = l->mean[place_of(l, k)];
      g->sd[at] = l->sd[place_of(l, k)];
    }
  }
  for (long i = 0; i < n; i++) {
    g->centre[i] = g->mean[i];
    if (adaptive) g->chol[i * n + i] = START_WIDTH * g->sd[i];
    g->log_det += log((adaptive ? START_WIDTH : 1) * g->sd[i]);
  }
  return PGM_OK;
}

void pgm_globals_close(PgmGlobals *g)
{
  if (!g) return;
  free(g->mean);
  free(g);
}

/* Draw d into g->u; returns minus the log of its density. */
static double propose(PgmGlobals *g, unsigned long seed, long d)
{
  const long n = g->n;
  double square = 0, tail[DEGREES], chi = 0;
  if (n) pgm_philox_normals((PgmKey){seed ^ SEED_GLOBALS, (uint64_t)d, 0}, 0, n, g->z);
  if (!g->adaptive) {
    for (long i = 0; i < n; i++) {
      square += g->z[i] * g->z[i];
      g->u[i] = g->mean[i] + g->sd[i] * g->z[i];
    }
    return 0.5 * square + 0.5 * (double)n * LOG_2PI + g->log_det;
  }
  pgm_philox_normals((PgmKey){seed ^ SEED_TAILS, (uint64_t)d, 0}, 0, DEGREES, tail);
  for (int k = 0; k < DEGREES; k++) chi += tail[k] * tail[k];
  for (long i = 0; i < n; i++) g->z[i] *= sqrt(DEGREES / chi);
  for (long i = 0; i < n; i++) {
    g->u[i] = g->centre[i];
    for (long k = 0; k <= i; k++) g->u[i] += g->chol[i * n + k] * g->z[k];
    square += g->z[i] * g->z[i];
  }
  const double both = 0.5 * (DEGREES + (double)n);
  return lgamma(0.5 * DEGREES) - lgamma(both) + 0.5 * (double)n * (log(DEGREES) + LOG_PI) + g->log_det + both * log1p(square / DEGREES);
}

double pgm_globals_draw(PgmGlobals *g, unsigned long seed, long d)
{
  const PgmModel *m = g->s->model;
  double value = propose(g, seed, d);
  long at = 0;
  for (int f = 0; f < m->n_families; f++) {
    const PgmLayout *l = &g->s->layout[f];
    if (!pgm_is_latent(&m->families[f]) || m->families[f].role == PGM_LOCAL) continue;
    memcpy(g->scratch, l->mean, (size_t)(l->elements * l->uwidth) * sizeof *g->scratch);
    const bool point = m->families[f].role == PGM_PARAM;
    for (long k = 0; !point && k < coordinates(l); k++) g->scratch[place_of(l, k)] = g->u[at++];
    const double jacobian = pgm_constrain(g->s, f, g->scratch, l->value);
    if (!point) value += jacobian;
  }
  return value;
}

bool pgm_globals_adapt(PgmGlobals *g, unsigned long seed, long first, long n, const double *ratio)
{
  const long d = g->n;
  double most = -INFINITY, beta = 1, total = 0;
  for (long i = 0; i < n; i++) most = fmax(most, ratio[i]);
  if (!g->adaptive || !d || !isfinite(most)) return true;
  if (pgm_effective(n, ratio, 1) < EFFECTIVE) {
    double lo = 0, hi = 1;
    for (int k = 0; k < 50; k++) {
      beta = 0.5 * (lo + hi);
      if (pgm_effective(n, ratio, beta) < EFFECTIVE)
        hi = beta;
      else
        lo = beta;
    }
    beta = lo;
  }
  memset(g->sum, 0, (size_t)d * sizeof *g->sum);
  memset(g->square, 0, (size_t)(d * d) * sizeof *g->square);
  for (long i = 0; i < n; i++) {
    const double w = exp(beta * (ratio[i] - most));
    propose(g, seed, first + i);
    total += w;
    for (long r = 0; r < d; r++) {
      const double a = g->u[r] - g->centre[r];
      g->sum[r] += w * a;
      for (long c = 0; c <= r; c++) g->square[r * d + c] += w * a * (g->u[c] - g->centre[c]);
    }
  }
  for (long r = 0; r < d; r++)
    for (long c = 0; c <= r; c++) { /* of the t distribution's scale: its covariance is DEGREES / (DEGREES - 2) times that */
      const double covariance = g->square[r * d + c] / total - g->sum[r] * g->sum[c] / (total * total);
      g->square[r * d + c] = WIDEN * covariance * (DEGREES - 2) / DEGREES;
    }
  for (long r = 0; r < d; r++) g->centre[r] += g->sum[r] / total;
  g->log_det = 0;
  for (long r = 0; r < d; r++)
    for (long c = 0; c <= r; c++) {
      double x = g->square[r * d + c];
      for (long k = 0; k < c; k++) x -= g->chol[r * d + k] * g->chol[c * d + k];
      if (r != c)
        g->chol[r * d + c] = x / g->chol[c * d + c];
      else
        g->chol[r * d + r] = sqrt(fmax(x, 1e-8 * g->square[r * d + r] + 1e-300));
      if (r == c) g->log_det += log(g->chol[r * d + r]);
    }
  return beta == 1;
}

/* How many control variates so many draws can bear: z, z^2 - 1 and products of two, or without these, or none. */
static long controls_of(long coordinates, long draws)
{
  const long most = draws / DRAWS_PER_CONTROL < MOST_CONTROLS ? draws / DRAWS_PER_CONTROL : MOST_CONTROLS, squares = 2 * coordinates;
  if (coordinates > MOST_CONTROLS || squares > most) return 0;
  const long all = squares + coordinates * (coordinates - 1) / 2;
  return all <= most ? all : squares;
}

/* 1 and the control variates at a draw's standardised globals. */
static void controls_at(const double *z, long coordinates, long controls, double *x)
{
  *x++ = 1;
  for (long i = 0; i < coordinates && controls; i++) *x++ = z[i];
  for (long i = 0; i < coordinates && controls; i++) *x++ = z[i] * z[i] - 1;
  for (long i = 0; i < coordinates && controls > 2 * coordinates; i++)
    for (long k = 0; k < i; k++) *x++ = z[i] * z[k];
}

double pgm_globals_expect(PgmGlobals *g, unsigned long seed, long n, const double *value, double *se)
{
  const long p = controls_of(g->n, n) + 1;
  double x[MOST_CONTROLS + 1], b[MOST_CONTROLS + 1] = {0}, first[MOST_CONTROLS + 1] = {1}, moments[(MOST_CONTROLS + 1) * (MOST_CONTROLS + 1)] = {0};
  double chol[(MOST_CONTROLS + 1) * (MOST_CONTROLS + 1)], square = 0;
  for (long d = 0; d < n; d++) { /* values from the first one on, so that large ones lose no digits */
    propose(g, seed, d);
    controls_at(g->z, g->n, p - 1, x);
    for (long i = 0; i < p; i++) b[i] += x[i] * (value[d] - value[0]);
    for (long i = 0; i < p; i++)
      for (long k = 0; k <= i; k++) moments[i * p + k] += x[i] * x[k];
  }
  pgm_cholesky(p, moments, p, 1, chol, p, 1);
  pgm_trisolve(p, chol, p, 1, b, 1, b, 1);
  pgm_trisolve_transposed(p, chol, p, 1, b, 1, b, 1);
  pgm_trisolve(p, chol, p, 1, first, 1, first, 1);
  pgm_trisolve_transposed(p, chol, p, 1, first, 1, first, 1);
  for (long d = 0; d < n; d++) {
    double left = value[d] - value[0];
    propose(g, seed, d);
    controls_at(g->z, g->n, p - 1, x);
    for (long i = 0; i < p; i++) left -= b[i] * x[i];
    square += left * left;
  }
  *se = n > p ? sqrt(square / (double)(n - p) * first[0]) : NAN;
  return value[0] + b[0];
}
