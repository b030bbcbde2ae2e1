/* Proposals for the global variables, from which the evidence is computed (gap_globals.c). */
#ifndef PGM_GAP_GLOBALS_H
#define PGM_GAP_GLOBALS_H

#include "session.h"

typedef struct PgmGlobals PgmGlobals;

/* Unconstrained coordinates of the globals (params are none). */
long pgm_globals_count(const PgmSession *s);
/* Proposes from q; `adaptive`: from wider tails than q's, which pgm_globals_adapt moves (few coordinates only). */
PgmStatus pgm_globals_open(PgmGlobals **out, PgmSession *s, bool adaptive, PgmError *error);
void pgm_globals_close(PgmGlobals *g);
/* Draw `d` into the session's values, params at theirs; returns log |d value / d u| - log of the proposal's density. */
double pgm_globals_draw(PgmGlobals *g, unsigned long seed, long d);
/* Moves the proposal towards the target: `ratio` are the log importance ratios of draws first .. first+n-1 of this seed. True when no
 * tempering was needed, so that it is where it should be. */
bool pgm_globals_adapt(PgmGlobals *g, unsigned long seed, long first, long n, const double *ratio);
/* The expectation over q of a function of the globals, from its values at draws 0 .. n-1 of this seed, and its standard error; not adaptive. */
double pgm_globals_expect(PgmGlobals *g, unsigned long seed, long n, const double *value, double *se);

#endif
