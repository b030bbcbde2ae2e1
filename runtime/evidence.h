/* The evidence log p(data) of a model (evidence.c): exact where the log joint is quadratic; else local variables are integrated out given
 * the globals, which are drawn from q; else everything is drawn from q. Draws are weighted by Pareto-smoothed importance sampling. */
#ifndef PGM_EVIDENCE_H
#define PGM_EVIDENCE_H

#include "session.h"

typedef enum { PGM_EVIDENCE_NONE, PGM_EVIDENCE_EXACT, PGM_EVIDENCE_PSIS, PGM_EVIDENCE_BOUND } PgmEvidenceKind;

typedef struct {
  PgmEvidenceKind kind;                /* EXACT: in closed form or a finite sum; PSIS: by weighted draws or quadrature, with an error; BOUND: k-hat above 0.7 or other modes known, the value is to be
                                        * read as a lower bound; NONE: could not be measured */
  double value, se;                    /* nats; se: standard error, with quadrature's estimate of its own; 0 for exact; NaN: not measured, or a bound */
  double khat;                         /* of the draws of the globals, or the 95 % quantile of the units'; NaN: there is none, or not defined */
  int draws;                           /* of the globals, or of everything; 0: none */
  long coordinates;                    /* unconstrained coordinates integrated out */
  bool given;                          /* given the factors of the globals */
  char how[192];                       /* "exact: the log joint is quadratic in 7 coordinates" */
} PgmEvidence;

/* At the layouts' factors, which serve as base point and proposal; params stay at their values. `given`: what the data say given the
 * factors of the globals, E_q(globals) log p(data, globals) + their entropy, which bounds every ELBO with these globals from above; else
 * log p(data), which is the same where there are params alone. Changes the layouts' values and their gradients, not means and sds.
 * Errors: out of memory only; what cannot be measured is PGM_EVIDENCE_NONE. */
PgmStatus pgm_evidence(PgmSession *s, bool given, int draws, unsigned long seed, PgmEvidence *out, PgmError *error);
/* The exact part alone: *found false where the log joint is not quadratic or the problem is too large. */
PgmStatus pgm_evidence_exact(PgmSession *s, bool given, unsigned long seed, bool *found, double *value, PgmError *error);

/* How local variables are integrated out given the globals. */
typedef enum {
  PGM_LOCALS_QUADRATIC,                /* in closed form: the log joint is quadratic in them */
  PGM_LOCALS_QUADRATURE,               /* unit by unit, what is coupled has few coordinates */
  PGM_LOCALS_SAMPLED                   /* unit by unit, by importance sampling from q */
} PgmLocalsBy;
/* Log importance ratios of `draws` draws of the globals, local variables integrated out; `given`: draws of q, else of wider tails where
 * the globals are few. *found false: not possible in this way. */
PgmStatus pgm_evidence_locals(PgmSession *s, PgmLocalsBy by, bool given, int draws, unsigned long seed, double *ratio, bool *found, PgmError *error);

#endif
