/* Newton sweeps over local latent variables that separate given the globals: every element is a small problem of its own, and one pass over
 * the data serves them all. Works on the parameter vector x and the gradient of the ELBO alone.
 *
 * Each takes Newton steps of its own (newton.h); a table of probabilities takes its optimum in one step, and has no other: the ELBO is concave in it.
 *
 *   pgm_locals_begin(l);
 *   do { value = ELBO and gradient at x; judged = pgm_locals_judge(l, x, gradient); } while (not small enough && pgm_locals_move(l, x));
 *   pgm_locals_restore(l, x) when leaving before judged.settled */
#ifndef PGM_LOCAL_H
#define PGM_LOCAL_H

#include "source.h"

typedef struct PgmLocals PgmLocals;

typedef struct {
  double gain;   /* predicted by the last accepted gradients: sum g' H g / 2, in nats */
  long rejected; /* elements that were put back: x is not at their accepted point */
} PgmJudged;

/* For the free factors of separable local families. NULL in *out (and PGM_OK) when there are none. */
PgmStatus pgm_locals_open(PgmLocals **out, const PgmSources *q, PgmError *error);
void pgm_locals_close(PgmLocals *l);
/* Whether every local latent variable with free factors is among them (and none has a function or shared factors). */
bool pgm_locals_complete(const PgmLocals *l);

void pgm_locals_begin(PgmLocals *l);
PgmJudged pgm_locals_judge(PgmLocals *l, double *x, const double *gradient);
void pgm_locals_move(PgmLocals *l, double *x);
void pgm_locals_restore(PgmLocals *l, double *x);

/* log sds from the curvature at x: log s = -log(p) / 2 where p > 0 (all free and shared factors of q in x[0 .. end), globals too). */
void pgm_scales_from_curvature(const PgmSources *q, long end, double *x, const double *gradient);

/* For multistart: copies of the elements' parameters, and choices element by element. */
long pgm_locals_size(const PgmLocals *l); /* doubles of a copy */
void pgm_locals_save(const PgmLocals *l, const double *x, double *copy);
void pgm_locals_load(const PgmLocals *l, const double *copy, double *x);
/* The same start for all elements: the mean over elements of their means, plus `shift` times their spread; sds as they are. */
void pgm_locals_shift(const PgmLocals *l, double shift, const double *copy, double *x);
/* x = a + t (b - a) for all elements. */
void pgm_locals_between(const PgmLocals *l, const double *a, const double *b, double t, double *x);
/* gain[element] += weight * gradient . (b - a). `gain`: pgm_locals_elements doubles. */
void pgm_locals_slope(const PgmLocals *l, const double *a, const double *b, const double *gradient, double weight, double *gain);
long pgm_locals_elements(const PgmLocals *l);
/* With two estimates of the elements' gains: how many are still in doubt; and a = b where the gain is certain (returns how many; *sum:
 * their gains). Elements that the
 * sweeps did not settle, or that differ by less than a thousandth sd, do not count. */
long pgm_locals_undecided(const PgmLocals *l, const double *a, const double *b, const double *coarse, const double *fine);
long pgm_locals_choose(const PgmLocals *l, double *a, const double *b, const double *coarse, const double *fine, double *sum);
/* Settled elements whose parameters differ by more than a thousandth sd. */
long pgm_locals_differ(const PgmLocals *l, const double *a, const double *b);

#endif
