/* The model's graph as inline SVG (report_graph.c). */
#ifndef PGM_REPORT_GRAPH_H
#define PGM_REPORT_GRAPH_H

#include <stdbool.h>
#include <stdio.h>

/* Draws what `check --format dot` says (PgmModel.check_dot). False: the text is not understood, too large to be read, or memory is out;
 * then nothing was written. */
bool pgm_svg_graph(FILE *out, const char *dot);

#endif
