/* Data files: JSON (CmdStan's), CSV, IDX, .npy -> named arrays of doubles. Knows nothing of models. */
#ifndef PGM_DATA_H
#define PGM_DATA_H

#include <stdbool.h>
#include "error.h"

#define PGM_MAX_DIMS 8
typedef struct {
  char *name;                          /* "x", or "x[0]" for a single element given by its own key */
  const char *file;                    /* for messages */
  int line;                            /* of the name in a JSON file or the header of a CSV file (0 unknown) */
  int rank; long dim[PGM_MAX_DIMS];    /* rank 0: a scalar */
  double *value;                       /* row-major; missing is NaN */
  bool integer;                        /* every value is a whole number (missing ones excluded) */
  bool from_csv;                       /* place of entry k: line k / row width + 2 */
  bool used;
} PgmArray;

typedef struct PgmData { int n, cap; PgmArray *array; int n_files; char **files; } PgmData;

PgmData *pgm_data_new(void);
void pgm_data_free(PgmData *d);
/* By the file's name: .json, .csv; a directory, a missing file: PGM_SYSTEM; contents wrong: PGM_BAD_INPUT with the place. */
PgmStatus pgm_data_read(PgmData *d, const char *path, PgmError *error);
/* --data NAME=FILE: .npy, IDX (plain or .gz), or a JSON/CSV file that holds one array. */
PgmStatus pgm_data_read_named(PgmData *d, const char *name, const char *path, PgmError *error);
/* --set NAME=VALUE */
PgmStatus pgm_data_set(PgmData *d, const char *assignment, PgmError *error);
PgmStatus pgm_data_add(PgmData *d, const char *name, int rank, const long *dim, const double *value, const char *file, PgmError *error);
PgmArray *pgm_data_find(const PgmData *d, const char *name);
/* "data.json: x[17]" or "obs.csv:18: x" - where entry `k` (row-major) of the array stands; indices from 1 */
char *pgm_data_place(const PgmArray *a, long k, char *buffer, size_t size);

#endif
