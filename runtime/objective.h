/* The ELBO and its gradient with respect to the parameters behind the factors.
 *
 *   ELBO = constants + E_q log p(data, values) + E_q log |d value / d u| + entropy of q,     u ~ N(mean, sd) independently
 *
 * Terms with a closed form or a quadrature are integrated by the `expected` kernels; the rest is averaged over draws u = mean + sd * eps,
 * with the gradient taken through the draws (Kingma & Welling 2014; Kucukelbir et al. 2017). Draws are fixed (a deterministic objective:
 * sample average approximation; midpoints of normal quantiles, shuffled per entry, centred and scaled) or fresh at every iteration
 * (counter-based, keyed by seed, iteration, family, draw and entry). Params are points: no noise, no entropy, no Jacobian. */
#ifndef PGM_OBJECTIVE_H
#define PGM_OBJECTIVE_H

#include "source.h"

typedef struct {
  int draws;       /* of the sampled terms; 0: a default */
  int set;         /* which of several independent sets of fixed draws */
  bool fresh;      /* new draws at every iteration */
  bool all_points; /* every term by draws */
  bool fine;       /* fresh draws of double precision, for what looks at each draw by itself; averages do with single */
  bool single;     /* perceptrons in single precision, if the sources have room for that: as with --real float, but for this alone */
  unsigned long seed;
  int axis; /* of batches of units; -1: none */
  /* Not NULL: in place of the model, Gaussians with these means and sds (per source elements * uwidth, one after the other): the quadratic
   * surrogate of the ELBO at the optimum of F-VI, from which inference functions are taught. */
  const double *teacher_mean, *teacher_sd;
} PgmObjectiveOptions;

typedef struct PgmObjective PgmObjective;

PgmStatus pgm_objective_open(PgmObjective **out, PgmSession *s, PgmSources *q, const PgmObjectiveOptions *options, PgmError *error);
void pgm_objective_close(PgmObjective *o);

/* ELBO at x; gradient (d ELBO / dx, x-sized) may be NULL. With a batch, an unbiased estimate; of free locals only the entries of the rows
 * it touches are written (pgm_objective_rows). The layouts' mean_bar and sd_bar are left with the gradient of everything but the entropy.
 * `iteration` tells fresh draws apart. Bitwise the same for any number of threads. Allocates nothing. */
double pgm_objective_value(PgmObjective *o, const double *x, double *gradient, const PgmBatch *batch, long iteration);
/* The rows of each source that the last batch touched (NULL after a full evaluation). */
const PgmRows *pgm_objective_rows(const PgmObjective *o);
bool pgm_objective_samples(const PgmObjective *o);
/* Whether batches of units of options.axis, the same ones again and again, make a deterministic objective much like that of all units: all local factors come
 * from functions, each of its own unit's. */
bool pgm_objective_divides(const PgmObjective *o);
int pgm_objective_draws(const PgmObjective *o);

/* The same without sources: E log p + Jacobian at the layouts' means and sds, with the standard error of the sampled part; bars as above.
 * */
double pgm_objective_expect(PgmObjective *o, long iteration, double *se);

/* log p(data, values) + log |d value / d u| - log q(u) at one draw (all_points, fresh, one draw): the log importance ratio of draw
 * `iteration`. */
double pgm_objective_ratio(PgmObjective *o, long iteration);

/* Whether some of the model's terms can only be sampled. */
bool pgm_needs_draws(const PgmModel *m);
/* Entropy of the factors at the layouts. */
double pgm_entropy(const PgmSession *s);
/* That of one element's factor. */
double pgm_element_entropy(const PgmLayout *l, long element);

#endif
