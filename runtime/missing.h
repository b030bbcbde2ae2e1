/* Missing observations: which entries of observed arrays are not given, and what stands in their place. */
#ifndef PGM_MISSING_H
#define PGM_MISSING_H

#include <limits.h>

#include "error.h"
#include "session.h"

/* In integer arrays, which have no NaN. */
#define PGM_MISSING_INT INT_MIN

/* Fills layout.present and layout.missing of an observed family whose array has been read, and points the env to it. The kernels multiply a missing
 * value's factor by 0, which is to integrate the value out; so that the factor itself is finite, the value (NaN until now) becomes one of the
 * support: the mean of those given or a middle of the bounds, of counts the smallest. A borrowed array that lacks something is copied. Nothing is
 * missing where it is to be simulated. PGM_SYSTEM: out of memory. */
PgmStatus pgm_missing_settle(PgmSession *s, int family, bool to_simulate, PgmError *error);

#endif
