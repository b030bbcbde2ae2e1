/* What the files of the gap share beside gap.h. */
#ifndef PGM_GAP_WORK_H
#define PGM_GAP_WORK_H

#include "gap.h"
#include "source.h"

/* Common random numbers are told apart from those of the fits by this. */
enum { PGM_GAP_SEED = 0x6A95u };

/* A source of free factors per latent family, only to tell an objective what there is. */
PgmStatus pgm_gap_sources(PgmSources **q, PgmSession *s, PgmError *error);
/* What the verdict says of a local family; NULL: nothing. */
const PgmAmortize *pgm_gap_amortize(const PgmModel *model, int family);
/* Does a function of a bounded domain reach F-VI? NULL: no. */
bool pgm_gap_closes(const PgmAmortize *a);
/* Appends to a text of `size` bytes. */
void pgm_gap_append(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
