/* The evidence log p(data) of a model: exact where the log joint is quadratic, else Pareto-smoothed importance sampling from q (evidence.c). */
#ifndef PGM_EVIDENCE_H
#define PGM_EVIDENCE_H

#include "session.h"

typedef enum { PGM_EVIDENCE_NONE, PGM_EVIDENCE_EXACT, PGM_EVIDENCE_PSIS, PGM_EVIDENCE_BOUND } PgmEvidenceKind;

typedef struct {
  PgmEvidenceKind kind;                /* BOUND: k-hat above 0.7, the value is to be read as a lower bound; NONE: could not be measured */
  double value, se;                    /* nats; se 0 for exact; NaN: not measured */
  double khat;                         /* NaN: exact, or not defined */
  int draws;                           /* 0: exact */
  bool by_units;                       /* local variables integrated out unit by unit: only the globals are drawn */
  long coordinates;                    /* unconstrained coordinates integrated out */
} PgmEvidence;

/* At the layouts' factors, which serve as base point and proposal; params stay at their values. Changes the layouts' values and their
 * gradients, not means and sds. Errors: out of memory only; what cannot be measured is PGM_EVIDENCE_NONE. */
PgmStatus pgm_evidence(PgmSession *s, int draws, unsigned long seed, PgmEvidence *out, PgmError *error);
/* The exact part alone: *found false where the log joint is not quadratic or the problem is too large. */
PgmStatus pgm_evidence_exact(PgmSession *s, unsigned long seed, bool *found, double *value, PgmError *error);
/* Log importance ratios of `draws` draws of the globals from q, local variables integrated out. *found false: units do not separate so far. */
PgmStatus pgm_evidence_units(PgmSession *s, int draws, unsigned long seed, double *ratio, bool *found, PgmError *error);

#endif
