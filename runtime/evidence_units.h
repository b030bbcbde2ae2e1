/* Local variables integrated out unit by unit, at the session's values of all others (evidence_units.c). */
#ifndef PGM_EVIDENCE_UNITS_H
#define PGM_EVIDENCE_UNITS_H

#include "cubature.h"
#include "session.h"

typedef struct PgmUnits PgmUnits;

/* *out NULL: local families are not element by element in units of one axis. */
PgmStatus pgm_units_open(PgmUnits **out, PgmSession *s, PgmError *error);
void pgm_units_close(PgmUnits *w);

long pgm_units_count(const PgmUnits *w);
/* The unit of an element of a local family, from 0; how many parts a unit has (sets of elements that no term couples), 0: no local variable. */
long pgm_units_of(const PgmUnits *w, int family, long element);
int pgm_units_parts(const PgmUnits *w, long unit);
/* Adds each unit's terms, at the session's values or expected under the factors; the sum of the terms at the values that belong to no unit. */
void pgm_units_terms(PgmUnits *w, bool expected, double *out);
double pgm_units_others(PgmUnits *w);

/* Makes ready for integrals. `again`: they will be wanted for many values of the other variables. *possible false: there is a part of more than
 * PGM_CUBATURE_MOST coordinates, or one whose discrete variables have too many joint values, or too little memory. */
PgmStatus pgm_units_prepare(PgmUnits *w, bool again, bool *possible, PgmError *error);
/* The log of the integral of the units' terms over all local variables (the sum over discrete ones), with its error (that of quadrature: the parts' relative
 * errors, added up). Overwrites the values of the local variables. LOOK comes first, for typical values of the other variables; the sum may then be NaN, since
 * pgm_units_cost tells whether there is time for NEAR, which is the integral at any values. ROUGH needs no LOOK. The same bits for any number of threads. */
double pgm_units_integrate(PgmUnits *w, PgmCubatureMode mode, double *error);
/* Evaluations of units' densities that an integral takes, NEAR after a LOOK; where units have discrete variables, each counts as often as these have values,
 * which the kernels go through. */
double pgm_units_cost(const PgmUnits *w, PgmCubatureMode mode);
/* After LOOK: are there units with other modes than the one that q has? */
bool pgm_units_elsewhere(const PgmUnits *w);
/* Are all integrals finite sums, which have no error? */
bool pgm_units_finite(const PgmUnits *w);
/* "300 units of 2 coordinates by quadrature", "300 units of 3 values, summed". */
void pgm_units_describe(const PgmUnits *w, char *text, size_t size);

#endif
