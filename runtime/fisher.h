/* The Fisher information of the weights of inference functions, as the metric of L-BFGS.
 *
 * A function's outputs are means and log sds of Gaussian factors, whose Fisher information is known: 1 / sd^2 and 2. So the weights' is G = sum over elements of
 * J' F J, J the outputs' Jacobian: the metric of free factors (1 / F), pulled back (Amari 1998, "Natural gradient works efficiently in learning"). At an optimum of
 * the ELBO F is also the Hessian with respect to factors that are free, so G is its Gauss-Newton matrix (Martens 2020, "New insights and perspectives on the
 * natural gradient method", sections 6 and 8). It is made from some of the elements, evenly spaced, and damped, so that it can be inverted (Levenberg 1944). */
#ifndef PGM_FISHER_H
#define PGM_FISHER_H

#include "source.h"

typedef struct PgmFisher PgmFisher;

/* For the perceptrons and polynomials of q of Gaussian factors with no more weights than can be inverted in the time of a few evaluations. NULL in *out (and
 * PGM_OK) where there are none. */
PgmStatus pgm_fisher_open(PgmFisher **out, const PgmSources *q, PgmError *error);
void pgm_fisher_close(PgmFisher *f);
/* G at x. `damping`: of the mean of G's diagonal. */
void pgm_fisher_update(PgmFisher *f, const double *x, double damping);
/* h = 1 for the weights that G is of, the others' stay as they are; h[0] is that of x[begin]. */
void pgm_fisher_mark(const PgmFisher *f, long begin, double *h);
/* v = G^-1 v in these coordinates; v[0] is that of x[begin]. */
void pgm_fisher_apply(const PgmFisher *f, long begin, double *v);

/* How far a step d moves the factors, of the function that it moves most: the root mean square over elements of the change in means and log sds, each in the
 * unit of its Fisher information (an sd; 1 / sqrt 2). To first order. */
double pgm_fisher_length(const PgmFisher *f, long begin, const double *d);

#endif
