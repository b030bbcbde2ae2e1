/* The frame of a report: one HTML page that needs nothing else (report_page.c). */
#ifndef PGM_REPORT_PAGE_H
#define PGM_REPORT_PAGE_H

#include <stdio.h>

/* Everything up to the first section: styles for light, dark and paper. */
void pgm_page_begin(FILE *out, const char *title);
void pgm_page_end(FILE *out);

/* A colour per method: constant, F-VI, A-VI on the full domain, A-VI on the inputs chosen; and for entry i of a list of n. */
extern const char *const pgm_page_colours[4];
char *pgm_page_shade(int i, int n, char buffer[40]);

#endif
