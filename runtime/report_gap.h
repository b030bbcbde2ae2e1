/* The report of `gap` as one HTML page (report_gap.c). */
#ifndef PGM_REPORT_GAP_H
#define PGM_REPORT_GAP_H

#include <stdio.h>

#include "gap.h"

typedef struct {
  const PgmGap *gap, *test;            /* test NULL: none */
  const PgmGapUnits *units;            /* NULL: none */
  const char *advice, *test_file;
  const PgmData *data;
  unsigned long seed;
} PgmGapReport;

void pgm_report_gap(FILE *out, const PgmGapReport *r);

#endif
