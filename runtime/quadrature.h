/* Integrals of many functions of one variable over the whole line, side by side (quadrature.c). */
#ifndef PGM_QUADRATURE_H
#define PGM_QUADRATURE_H

#include "error.h"

typedef struct PgmQuadrature PgmQuadrature;

/* out[k] = log of function which[k], an ascending number from 0, at u[k]; not finite: the function is 0 there. */
typedef void (*PgmIntegrand)(void *data, long n, const long *which, const double *u, double *out);

/* Workspace for up to `functions` functions, with at most `panels` intervals each. */
PgmStatus pgm_quadrature_open(PgmQuadrature **out, long functions, int panels, PgmError *error);
void pgm_quadrature_close(PgmQuadrature *q);
double pgm_quadrature_bytes(long functions, int panels);
/* value[i] = log of the integral of function i, most of which is expected within a few widths of the centre; error[i]: estimate of its relative error, which is
 * at most about `tolerance` unless the intervals ran out. A function that is 0 wherever it was evaluated has value -infinity. The numbers of a function do not
 * depend on the others'. */
void pgm_quadrature_run(PgmQuadrature *q, long n, const double *centre, const double *width, double tolerance, PgmIntegrand f, void *data, double *value,
                        double *error);

#endif
