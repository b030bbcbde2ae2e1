/* A JSON writer that streams: objects with one key to a line at the outer level, arrays on one line. */
#ifndef PGM_JSON_OUT_H
#define PGM_JSON_OUT_H

#include <stdbool.h>
#include <stdio.h>

#define PGM_JSON_DEPTH 32
typedef struct {
  FILE *out;
  int depth;
  bool empty[PGM_JSON_DEPTH]; /* nothing written yet at this depth */
  bool array[PGM_JSON_DEPTH];
} PgmJson;

PgmJson pgm_json_start(FILE *out);
void pgm_json_finish(PgmJson *j); /* the final newline */
/* `key` is NULL inside arrays and at the top. Numbers that are not finite become null. */
void pgm_json_object(PgmJson *j, const char *key);
void pgm_json_array(PgmJson *j, const char *key);
void pgm_json_end(PgmJson *j);                                        /* closes the object or array opened last */
void pgm_json_string(PgmJson *j, const char *key, const char *value); /* NULL: null */
void pgm_json_number(PgmJson *j, const char *key, double value);
void pgm_json_integer(PgmJson *j, const char *key, long value);
void pgm_json_bool(PgmJson *j, const char *key, bool value);
void pgm_json_null(PgmJson *j, const char *key);
/* Nested arrays of `rank` dimensions (0: a scalar), row-major. */
void pgm_json_values(PgmJson *j, const char *key, int rank, const long *dim, const double *value);

/* The shortest of %.15g, %.16g and %.17g that reads back as the same number; `buffer` has 32 bytes. */
char *pgm_number_text(double value, char *buffer);

#endif
