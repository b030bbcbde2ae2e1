/* Charts as inline SVG for the reports: lines, boxes, bars, histograms (report_svg.c). Colours are classes and CSS variables of the page
 * (report_page.c), so one picture serves light, dark and paper. */
#ifndef PGM_REPORT_SVG_H
#define PGM_REPORT_SVG_H

#include <stdbool.h>
#include <stdio.h>

typedef enum { PGM_UNIT_PLAIN, PGM_UNIT_SECONDS, PGM_UNIT_BELOW } PgmTickUnit;     /* below: "-10", the distance beneath a reference */

typedef struct {
  const char *label;
  PgmTickUnit unit;
  bool log, reversed;                  /* reversed: the largest value at the origin */
  double lo, hi;                       /* range; not log: of the data, ticks are chosen inside */
} PgmScale;

/* `colour` is a CSS colour, "var(--fvi)". */
typedef struct { const char *name, *colour; long n; const double *x, *y; } PgmLine;
/* Values of one row of a box plot; `never`: how many runs have none. */
typedef struct { const char *name, *colour; int n, never; const double *value; } PgmBoxRow;
/* `note` stands behind the bar. NaN: not measured. */
typedef struct { const char *name, *colour, *note; double value, error; bool sub; } PgmBarRow;

/* Lines are clipped to the scales; values at or below a log scale's lowest one are drawn there. `title` describes the picture for readers
 * that do not see it. One legend entry per run of lines with the same name. */
void pgm_svg_lines(FILE *out, const char *title, PgmScale x, PgmScale y, const PgmLine *line, int n);
/* Quartiles (type 7 of Hyndman & Fan 1996), whiskers to the extremes, all values as dots; below five values dots alone. */
void pgm_svg_boxes(FILE *out, const char *title, PgmScale x, const PgmBoxRow *row, int n);
/* Horizontal bars from the scale's lowest value; `limit`: a line to compare with, NaN: none. */
void pgm_svg_bars(FILE *out, const char *title, PgmScale x, double limit, const char *limit_name, const PgmBarRow *row, int n);
void pgm_svg_histogram(FILE *out, const char *title, PgmScale x, const char *colour, const double *value, long n);

/* Quantile of sorted values. */
double pgm_quantile(const double *sorted, long n, double p);

/* ---- text ---------------------------------------------------------------------------------------------------------------------------- */

/* Escapes what HTML reserves. */
void pgm_html_text(FILE *out, const char *text);
/* "1 234.5", "0.0012", "-3.2e+07": about `digits` significant digits, thin spaces between thousands. Returns `buffer`. */
char *pgm_html_number(double value, int digits, char buffer[48]);
/* "3.2 ms" */
char *pgm_html_seconds(double seconds, char buffer[48]);

#endif
