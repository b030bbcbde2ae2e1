/* Integrals of many functions of a few variables over the whole space, side by side (cubature.c). */
#ifndef PGM_CUBATURE_H
#define PGM_CUBATURE_H

#include "quadrature.h"

enum { PGM_CUBATURE_MOST = 6, PGM_CUBATURE_SHAPE = PGM_CUBATURE_MOST * PGM_CUBATURE_MOST };

typedef struct PgmCubature PgmCubature;

/* out[k] = log of function which[k], ascending numbers from 0, at u[k * dimensions ..]; not finite: the function is 0 there. */
typedef void (*PgmCubatureIntegrand)(void *data, long n, const long *which, const double *u, double *out);

/* Points in y, where u = centre + shape y, with the lower triangle of shape (row-major). */
typedef struct {
  double centre[PGM_CUBATURE_MOST], shape[PGM_CUBATURE_SHAPE];
  bool standardised;                   /* the function has mean 0 and covariance 1 or so in y */
  int fine, wide;                      /* levels of spacing and of extent */
} PgmLattice;

/* What is known of a function from the integral of another one that differs little from it; all 0: nothing. */
typedef struct {
  PgmLattice lattice;
  bool suffices;                       /* the lattice, to all that is known */
  double beyond;                       /* what it may miss, relative */
  bool elsewhere;                      /* there is another mode that counts, or there may be */
  PgmQuadratureStart outer;            /* where the adaptive rule found mass along the first variable */
} PgmCubatureStart;

typedef enum {
  PGM_CUBATURE_LOOK,                   /* everywhere, and fit a lattice: fills the starts; a value is NaN where the adaptive rule is needed */
  PGM_CUBATURE_NEAR,                   /* as LOOK found it: by lattices where they suffice, else by the adaptive rule */
  PGM_CUBATURE_ROUGH                   /* by lattices that nothing was held against, to a thousandth or so where that goes */
} PgmCubatureMode;

/* Workspace for up to `functions` functions of `dimensions` variables, the adaptive rule with at most `panels` intervals per line. */
PgmStatus pgm_cubature_open(PgmCubature **out, int dimensions, long functions, int panels, PgmError *error);
void pgm_cubature_close(PgmCubature *c);
double pgm_cubature_bytes(int dimensions, long functions, int panels);
/* value[i] = log of the integral of function i, NaN if there are too many dimensions for the adaptive rule; centre, width: n x dimensions, where most of it is expected, needed where nothing is known; error[i]: estimate of
 * its relative error, at most about `tolerance` unless intervals ran out (ROUGH: whatever it is). start: per function; for NEAR as LOOK left it. */
void pgm_cubature_run(PgmCubature *c, long n, const double *centre, const double *width, double tolerance, PgmCubatureMode mode, PgmCubatureIntegrand f, void *data,
                      PgmCubatureStart *start, double *value, double *error);
/* Points that the integral of one function takes, about. start: as LOOK has filled it, for NEAR; NULL: the integral looks first. */
double pgm_cubature_cost(int dimensions, PgmCubatureMode mode, const PgmCubatureStart *start);

#endif
