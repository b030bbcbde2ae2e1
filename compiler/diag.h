/* Source map and diagnostics. One source file per compilation. Diagnostics are collected, sorted by place, and printed together. */
#ifndef PGMC_DIAG_H
#define PGMC_DIAG_H

#include "base.h"

/* Half-open byte range [begin, end) of the source text; 0,0 = no place. */
typedef struct { int begin, end; } Span;
typedef struct { int line, column; } Place;           /* both from 1; columns count bytes, a tab is one */

typedef enum { SEV_ERROR, SEV_WARNING, SEV_NOTE } Severity;

/* Takes over the text (with a terminating 0 at text[length]); `file` is the name that messages show. */
void source_set(const char *file, const char *text, size_t length);
const char *source_file(void);
const char *source_text(void);
size_t source_length(void);
Place source_place(int offset);
const char *source_slice(Span span);                  /* arena copy of the text, white space runs folded to one blank */

/* Report one problem. `hint` may be NULL. A SEV_NOTE belongs to the diagnostic before it. */
void diag(Severity severity, Span span, const char *hint, const char *format, ...) __attribute__((format(printf, 4, 5)));
#define diag_error(span, hint, ...) diag(SEV_ERROR, span, hint, __VA_ARGS__)
#define diag_warning(span, hint, ...) diag(SEV_WARNING, span, hint, __VA_ARGS__)
#define diag_note(span, ...) diag(SEV_NOTE, span, NULL, __VA_ARGS__)
int diag_errors(void);                                /* number of errors so far */
bool diag_error_at(Span span);                        /* has there been one at this place? */

typedef struct { Severity severity; Span span; const char *message, *hint; } Diag;
int diag_count(void);
const Diag *diag_at(int i);

/* Text form (caret form of language.md, section Errors) on `out`; colour when `color`. Sorted by place, notes after their diagnostic. */
void diag_print(FILE *out, bool color);
/* {"errors": [...]} on `out`. */
void diag_print_json(FILE *out);

/* The candidate nearest to `name` (edit distance at most a third of its length), or NULL. Letters are compared without case. */
const char *diag_nearest(const char *name, const char *const *candidates, int n);

#endif
