/* Between the scanner (grammar/pgm.l) and the parser (grammar/pgm.y). The whole text is scanned first, into an array of tokens: so the
 * parser can look around when something is wrong, and braces and semicolons that were forgotten are put in before it starts. */
#ifndef PGMC_PARSE_H
#define PGMC_PARSE_H

#include "ast.h"

typedef struct {
  int kind;                             /* of pgm.tab.h; 0 at the end */
  Span span;                            /* empty: put in by the parser's repair */
  Name name;                            /* names and keywords */
  double number;                        /* numbers */
  bool is_int;
} Token;

typedef VEC(Token) TokenVec;

/* Scans source_text(); always ends with a token of kind 0. Problems go to diag. False when the text could not be read to its end. */
bool scan_source(TokenVec *out);

#endif
