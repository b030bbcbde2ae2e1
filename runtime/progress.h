/* Progress of long work on standard error: a bar on a terminal, a plain line now and then elsewhere, nothing with --quiet. */
#ifndef PGM_PROGRESS_H
#define PGM_PROGRESS_H

#include <stdbool.h>

typedef struct {
  const char *what; /* "saw fit" */
  bool quiet, terminal, drawn;
  double started, shown; /* seconds of the monotonic clock; shown: the last output */
  double fraction;       /* largest so far: the bar never goes back */
} PgmProgress;

void pgm_progress_start(PgmProgress *p, const char *what, bool quiet);
/* `fraction` of the work done, NaN if it cannot be told; `text` goes beside the bar ("iteration 12, ELBO -123.4"). Cheap when called often. */
void pgm_progress_show(PgmProgress *p, double fraction, const char *text);
/* True when a call of pgm_progress_show would show something now, so that `text` is worth making. */
bool pgm_progress_due(const PgmProgress *p);
void pgm_progress_end(PgmProgress *p); /* clears the bar */

#endif
