/* Two sets of factors of the same units, the better one kept unit by unit.
 *
 * Given the globals, the ELBO is a sum over units where these are independent (evidence_units.h); so of two local optima with the same globals each unit may
 * keep its own. Where units have several coupled variables, a label and what it decides, that finds in a few solves what a start of all units at once finds
 * for some of them each time. */
#ifndef PGM_EXCHANGE_H
#define PGM_EXCHANGE_H

#include "source.h"

typedef struct PgmExchange PgmExchange;

/* *out NULL: the model's units are not independent, or have no free local factors of several coupled variables with a discrete one among them. */
PgmStatus pgm_exchange_open(PgmExchange **out, PgmSources *q, PgmError *error);
void pgm_exchange_close(PgmExchange *e);

/* The factors in x with the means of local Gaussians moved at random, by `by` sds of the values over the family's elements, and tables without preferences. */
void pgm_exchange_scatter(const PgmExchange *e, PgmKey key, double by, const double *x, double *out);
/* x takes the local factors of `other`, which has the same globals, in the units where the ELBO is greater by them. Returns what that gains, in nats. The
 * layouts are left with other factors. */
double pgm_exchange(PgmExchange *e, double *x, const double *other);

#endif
