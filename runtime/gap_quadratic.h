/* Integrals of a log joint that is quadratic in some of its coordinates (gap_quadratic.c). */
#ifndef PGM_GAP_QUADRATIC_H
#define PGM_GAP_QUADRATIC_H

#include "session.h"

typedef struct PgmQuadratic PgmQuadratic;

/* Over the local coordinates, at the session's values of all others; with `globals`, over the globals as well. *out NULL: no candidate (a
 * transform, or too large). */
PgmStatus pgm_quadratic_open(PgmQuadratic **out, PgmSession *s, bool globals, PgmError *error);
void pgm_quadratic_close(PgmQuadratic *q);

/* Finds the quadratic at the session's values of the coordinates that are not integrated; false: not finite. */
bool pgm_quadratic_probe(PgmQuadratic *q);
/* Is the log joint this quadratic, near and far? Costs a few evaluations. */
bool pgm_quadratic_agrees(PgmQuadratic *q, unsigned long seed);
/* Integrates the local coordinates out, once after each probe; false: the integral does not exist. */
bool pgm_quadratic_eliminate(PgmQuadratic *q);
/* Then log of the integral over the globals (without globals: the value itself); NaN: it does not exist. Overwrites the matrices. */
double pgm_quadratic_integral(PgmQuadratic *q);
/* Or E_q log p(data, globals) + entropy, at the globals' factors: what the data say given the factors of the globals. */
double pgm_quadratic_expectation(const PgmQuadratic *q);

/* Floating-point operations of a probe and what follows, about, beside its evaluations of the model. */
double pgm_quadratic_cost(const PgmQuadratic *q);

#endif
