/* From a cold or a warm start to the optimum of the ELBO: which optimiser, in which order, and when to stop. */
#ifndef PGM_SOLVE_H
#define PGM_SOLVE_H

#include "objective.h"

typedef struct {
  double elbo, gradient_norm; /* of the objective that was optimised; sqrt(g' H g) */
  long iterations;
  bool converged;
  char criterion[160], stopped[16]; /* as in PgmFit */
} PgmSolution;

/* One run over the life of a fit: the clock, callbacks, and what they are told. */
typedef struct {
  PgmSession *s;
  const PgmFitOptions *options;
  double began, reported, saved; /* seconds */
  double elbo;                   /* as last reported */
  double free_elbo;              /* of the F-VI fit that inference functions start from; NaN: there was none */
  long iteration;                /* counts on through the stages of one fit */
  bool interrupted;
  /* makes the fit so far for options->checkpoint; NULL: none */
  void (*checkpoint)(void *data, const PgmSources *q, const double *x, long iteration, double elbo);
  void *checkpoint_data;
} PgmRun;

void pgm_run_begin(PgmRun *run, PgmSession *s, const PgmFitOptions *options);
double pgm_run_seconds(const PgmRun *run);

/* Tables: cold, but globals and params go first, while the locals stay where they are. Near: as warm, but other starts of the locals are still to be
 * tried. Tried: as warm, of functions that are new, or from a rough solve, so that it may begin on a part of the units. */
typedef enum { PGM_START_COLD, PGM_START_TABLES, PGM_START_NEAR, PGM_START_WARM, PGM_START_TRIED } PgmStart;

/* Maximises over x[pinned .. q->size); x holds the start: with PGM_START_COLD its log sds are set from the curvature first. `rough`: only
 * to get near (the factors that inference functions start from). The layouts end with the factors at x, those of eliminated families as they were. */
PgmStatus pgm_solve(PgmRun *run, PgmSources *q, long pinned, PgmStart start, bool rough, double *x, PgmSolution *out, PgmError *error);

/* Teaches q's functions the factors `mean` and `sd` (per source elements * uwidth, one after the other) as far as a few hundred iterations
 * go. */
PgmStatus pgm_solve_taught(PgmRun *run, PgmSources *q, const double *mean, const double *sd, double *x, PgmError *error);

/* Whether the defaults take Adam for this model and these options: minibatches, fresh draws, or networks of a big model. */
bool pgm_solve_stochastic(const PgmSession *s, const PgmFitOptions *o);

#endif
