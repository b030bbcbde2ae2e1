/* Data files: JSON (CmdStan's), CSV, IDX, .npy, each gzipped or not -> named arrays of doubles. Knows nothing of models.
 *
 * Text in a column, or an array with unequal rows, is no error by itself: a model that does not use the name does not care. Such an array
 * has `fault`, the error to report when it is used. A file that cannot be parsed at all is an error at once. */
#ifndef PGM_DATA_H
#define PGM_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include "error.h"

#define PGM_MAX_DIMS 8
typedef struct {
  char *name;                          /* "x", or "x[0]" for a single element given by its own key */
  const char *file;                    /* for messages */
  int line;                            /* of the name in a JSON file or the header of a CSV file, from 1 (0: none) */
  int rank; long dim[PGM_MAX_DIMS];    /* rank 0: a scalar */
  double *value;                       /* row-major; missing is NaN; NULL with a fault */
  void *map; size_t map_size;          /* not NULL: the value stands in this mapping of its file, which is not to be changed while it is in use */
  char *fault;                         /* "data.json: x[3]: ...": why the name has no value; NULL: none */
  bool integer;                        /* every value is a whole number (missing ones excluded) */
  bool from_csv;                       /* row k / row width stands that many lines below the header */
  bool used;
} PgmArray;

typedef struct PgmData { int n, cap; PgmArray *array; int n_files; char **files; } PgmData;

PgmData *pgm_data_new(void);
void pgm_data_free(PgmData *d);
/* By the file's name: .json, .csv, either with .gz (another name: PGM_BAD_USAGE); a directory, a missing file: PGM_SYSTEM; contents wrong:
 * PGM_BAD_INPUT with the place, "data.json:3:17: ..." or "obs.csv:18: ...". A name that is there already is an error naming both places. */
PgmStatus pgm_data_read(PgmData *d, const char *path, PgmError *error);
/* --data NAME=FILE: .npy, IDX (n images of r x c pixels become n rows of r * c), or a JSON/CSV file that holds one array;
 * recognised by content, then by name. */
PgmStatus pgm_data_read_named(PgmData *d, const char *name, const char *path, PgmError *error);
/* --set NAME=VALUE, a scalar; malformed: PGM_BAD_USAGE */
PgmStatus pgm_data_set(PgmData *d, const char *assignment, PgmError *error);
/* A copy of `value`; `file` names its origin in messages. */
PgmStatus pgm_data_add(PgmData *d, const char *name, int rank, const long *dim, const double *value, const char *file, PgmError *error);
PgmArray *pgm_data_find(const PgmData *d, const char *name);
/* "data.json: x[17]" or "obs.csv:18: x" - where entry `k` (row-major) of the array stands; indices from 1; k < 0: the whole array */
char *pgm_data_place(const PgmArray *a, long k, char *buffer, size_t size);

#endif
