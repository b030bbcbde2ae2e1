/* Integrals of many functions of one variable over the whole line, side by side (quadrature.c). */
#ifndef PGM_QUADRATURE_H
#define PGM_QUADRATURE_H

#include <stdbool.h>

#include "error.h"

typedef struct PgmQuadrature PgmQuadrature;

/* out[k] = log of function which[k], an ascending number from 0, at u[k]; not finite: the function is 0 there. */
typedef void (*PgmIntegrand)(void *data, long n, const long *which, const double *u, double *out);

enum { PGM_QUADRATURE_KEPT = 48 };
/* Where the mass of a function was found, for the integral of another one that differs little from it. */
typedef struct {
  int n; /* 0: nothing is known, or too many to be kept */
  struct {
    double from, to;
    bool margin; /* it counted for nothing, but is not far from where it would */
  } panel[PGM_QUADRATURE_KEPT];
} PgmQuadratureStart;

/* Workspace for up to `functions` functions, with at most `panels` intervals each. */
PgmStatus pgm_quadrature_open(PgmQuadrature **out, long functions, int panels, PgmError *error);
void pgm_quadrature_close(PgmQuadrature *q);
double pgm_quadrature_bytes(long functions, int panels);
/* value[i] = log of the integral of function i, most of which is expected within a few widths of the centre; error[i]: estimate of its relative error, which is
 * at most about `tolerance` unless the intervals ran out. A function that is 0 wherever it was evaluated has value -infinity. The numbers of a function do not
 * depend on the others'. start: NULL, or per function: with n > 0 only these intervals are looked at, unless their margin turns out to count; else filled. */
void pgm_quadrature_run(PgmQuadrature *q, long n, const double *centre, const double *width, double tolerance, PgmIntegrand f, void *data,
                        PgmQuadratureStart *start, double *value, double *error);

#endif
