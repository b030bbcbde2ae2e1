/* Labels that the model sums out, told after the fact: their conditional probabilities given everything else.
 *
 * At values of the other variables p(label = k | rest) is proportional to what the emitted function (PgmModel.labels) says; under q it is averaged over draws
 * of these. */
#ifndef PGM_LABELS_H
#define PGM_LABELS_H

#include "philox.h"
#include "session.h"

/* A marginal family whose probabilities are known. */
bool pgm_has_labels(const PgmModel *m, int family);
/* Probabilities of the values of a marginal family's elements, at the values in the layouts: elements * uwidth, as in the tables of discrete variables. */
void pgm_label_tables(const PgmSession *s, int family, double *table);
/* Draws the values of all marginal families given those in the layouts, into the layouts. PGM_SYSTEM: out of memory. */
PgmStatus pgm_draw_labels(const PgmSession *s, PgmKey key, PgmError *error);
/* The averages of the tables over draws of the latent variables from q; the layouts' values are overwritten. */
PgmStatus pgm_average_labels(const PgmSession *s, int family, int draws, unsigned long seed, double *table, PgmError *error);

#endif
