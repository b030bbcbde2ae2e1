/* The data of `check --data`: sizes, tables, and which observations are there. */
#ifndef PGMC_GIVEN_H
#define PGMC_GIVEN_H

#include "data.h"
#include "model.h"

typedef struct {
  const char *file;
  const Model *m;
  const PgmData *data;
  bool *has_size;                       /* per family: an integer input without index whose value is known */
  long *size;
  bool keys;                            /* some elements have keys of their own: "x[0]" */
  const PgmArray **array;               /* per family with an index: what the data hold of it, or NULL */
} Given;

/* Reads the file (JSON or CSV, as a compiled program does). Sizes are those of the data, else counted from arrays, else defaults that are numbers, else
 * the largest value of a lookup. A size that nothing tells stays unknown. Status and text as pgm_data_read. */
PgmStatus given_read(const Model *m, const char *path, Given **out, PgmError *error);
/* The value of an element of an array; `low`: its least index at each position. False: not there. `missing`: some entry of it is. */
bool given_value(const Given *d, int family, int n, const long *index, const long *low, double *value, bool *missing);

#endif
