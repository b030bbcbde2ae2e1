/* What `check` prints: the verdict as text, JSON and Graphviz DOT. Keys and examples: `check --format json` in the manual of pgmc. */
#ifndef PGMC_REPORT_H
#define PGMC_REPORT_H

#include "analysis.h"

typedef struct {
  const char *factor;                   /* the family whose statement it is, or the text of a factor */
  int line;
  const char *method;                   /* closed-form, quadrature, enumeration, fixed-draws, monte-carlo */
  int statement;                        /* of the model */
  bool single;                          /* --real float: fresh draws of it are evaluated in single precision */
} Expectation;

/* The report for people. `list` may be empty. `color`: ANSI colours for a terminal. */
void report_text_color(const Model *m, const Analysis *a, const Expectation *list, int n, bool color, StrBuf *out);
void report_text(const Model *m, const Analysis *a, const Expectation *list, int n, StrBuf *out);
/* One JSON object, indented; schema 1. */
void report_json(const Model *m, const Analysis *a, const Expectation *list, int n, const char *version, const char *model_hash, StrBuf *out);
/* One digraph: plates are clusters, observed families shaded, witness references and factors highlighted. */
void report_dot(const Model *m, const Analysis *a, StrBuf *out);

#endif
