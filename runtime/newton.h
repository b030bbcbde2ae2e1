/* Newton's method on many small problems side by side: the Gaussian factors of elements that separate, one problem per element, all of one size, so that
 * loops over problems vectorise. What evaluates the ELBO does so for all of them at once.
 *
 * For a Gaussian factor the curvature in the mean comes with the gradient (pgmrt.h): precision p = -(d/ds E f) / s, so a step is
 * mean += g / p, log sd -= log(p s^2) / 2. Two secant pairs per element (L-BFGS within the element) take care of what couples its mean, its
 * log sd and its entries. A step is judged by the slopes at its two ends (by the trapezoidal rule the element gains where they sum to more
 * than nothing): an element that lost is put back and takes a shorter step. Steps of log sds are at most 2, steps of means at most a trust
 * radius per element, in sds, which follows how well the quadratic model foretold the slope.
 *
 * Of means and log sds, and of slopes (the gradient of the ELBO in them, entropy included), row r holds the w entries of element r. */
#ifndef PGM_NEWTON_H
#define PGM_NEWTON_H

#include <stdbool.h>
#include <stddef.h>

enum { PGM_NEWTON_PAIRS = 2, PGM_NEWTON_COORDINATES = 64 }; /* at most 2 w */

/* Arrays are [coordinate][row]: coordinate c < w is the mean of entry c, c >= w the log sd of entry c - w. */
typedef struct {
  long rows, w;
  double *point, *gradient, *step; /* accepted point, its gradient, the step under trial: 2w x rows each */
  double *s[PGM_NEWTON_PAIRS], *y[PGM_NEWTON_PAIRS]; /* secant pairs */
  double *rho[PGM_NEWTON_PAIRS];                     /* per row: 1 / s.y, 0: no pair */
  double *radius, *share;                            /* per row: trust radius, in sds; which part of the step wanted is under trial */
  double *left;                                      /* per row: nats that a further step promises, at the accepted point */
  double *curvature;                                 /* w x rows: p at the accepted point */
  double enough;                                     /* nats: a row that promises no more stays where it is, its step 0; -1 (at first): all go on */
} PgmNewton;

/* Is the row at rest, since it promises no more than `enough`? */
static inline bool pgm_newton_rests(const PgmNewton *f, long row)
{
  return f->left[row] <= f->enough;
}

size_t pgm_newton_size(long rows, long w); /* doubles */
void pgm_newton_place(PgmNewton *f, long rows, long w, double *memory);

/* Rows [from, to): accepts or rejects the points under trial by the slopes there, and proposes steps. sd: exp(log_sd). `fresh`: there is no point before.
 * What was rejected goes back to where it was. Returns the nats that further steps promise, sum g' H g / 2; adds to *rejected. */
double pgm_newton_judge(PgmNewton *f, bool fresh, long from, long to, double *mean, double *log_sd, const double *sd, const double *mean_slope,
                        const double *log_sd_slope, long *rejected);
/* The accepted points plus `share` of the steps: 1 to go on, 0 to go back. */
void pgm_newton_put(const PgmNewton *f, double share, long from, long to, double *mean, double *log_sd);
/* What judge would return for a point that is accepted, without proposing a step. NaN where a slope is not finite. */
double pgm_newton_promise(long entries, const double *sd, const double *mean_slope, const double *log_sd_slope);

#endif
