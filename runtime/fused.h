/* The ELBO as a function of the factors of globals and params alone, the local factors at their optimum: Newton steps (newton.h) inside the pass over the
 * data, block of units by block of units, so that what they need besides means and log sds fits in the cache.
 *
 * Possible where every local latent variable has free factors, separates, and stands under its own index in plates of one axis only, in terms with closed
 * forms or quadratures: z[n] in `plate n`, x[i,j] in nested plates over i and j. Lookups such as alpha[county[i]] are not of that kind; local.h serves them.
 *
 * By the envelope theorem the gradient of the profile is the partial gradient at the solution.
 *
 * Units that the data cannot tell apart (alike.h) have one factor, which is solved for once and counts as often as there are units: blocks are of such
 * classes then. */
#ifndef PGM_FUSED_H
#define PGM_FUSED_H

#include "source.h"

/* The axis whose plates own all references to the family in kernels of this kind, with one offset (unit u: index u + offset), under its first index; -1 if that is not so. */
int pgm_own_axis(const PgmSession *s, int family, PgmKernelKind kind, long *offset);

typedef struct PgmFused PgmFused;

/* NULL in *out (and PGM_OK) where it is not possible. x: what pgm_fused_load will be given at first (it decides whether units with equal data, which may
 * have several optima, start from one place); afterwards q's sources know how many of their rows are distinct. */
PgmStatus pgm_fused_open(PgmFused **out, PgmSources *q, const double *x, PgmError *error);
void pgm_fused_close(PgmFused *f);

/* Local factors under work are a vector of so many doubles, those of a class for all of its members; from and to the rest of x, from x[functions] on. */
long pgm_fused_size(const PgmFused *f);
void pgm_fused_load(const PgmFused *f, const double *x, double *locals);
void pgm_fused_store(const PgmFused *f, const double *locals, double *x);

/* ELBO at x[0 .. globals), with its gradient there. Local factors start from `from` and end in `to`, which may be the same. Blocks stop when a further step promises less than their share of `enough` nats, or after sixty steps; *left: what is still promised, by all
 * blocks. The same bits for any number of threads. Allocates nothing. */
double pgm_fused_value(PgmFused *f, const double *x, const double *from, double *to, double enough, double *gradient, double *left);

/* Other optima of the local factors, everything else as it is: along a line through the means of all elements, and along lines through its own mean, every
 * element is looked at with a factor narrow enough to tell modes apart, and climbs from the highest points of its own ELBO that are not its own hill; then from
 * wide factors, which may cover several modes. What ends higher takes the place of what is in `locals`.
 * *gain: nats. PGM_OK with *gain < 0: not possible (units that own several elements). */
PgmStatus pgm_fused_restart(PgmFused *f, const double *x, double *locals, double *gain, PgmError *error);

#endif
