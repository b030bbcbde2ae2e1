/* Units of an axis that the data cannot tell apart. Where the compiler says that a plate's terms read nothing of a unit but data at its own index
 * (PgmPlate.reads), units with the same bits there (values, and which observations are given) have the same optimal factors, given those of all else, and
 * are a class: one of them is evaluated, with the number of its members as its weight.
 *
 * Classes are numbered in the order of their first members. In an env that has been entered, the arrays of data that the units read have a row per class
 * instead: the k-th unit of the axis stands for class k there. */
#ifndef PGM_ALIKE_H
#define PGM_ALIKE_H

#include <stdint.h>

#include "session.h"

typedef struct PgmAlike PgmAlike;

/* The classes of units first .. first + units - 1, by the data that these plates read. NULL in *out (and PGM_OK) where there are none to speak of: a plate
 * reads more, or there are more than one class in PGM_ALIKE_LEAST units, which stops the search at once. The session keeps what was found. */
enum { PGM_ALIKE_LEAST = 32 };
PgmStatus pgm_alike_find(const PgmAlike **out, PgmSession *s, const int *plate, int n_plates, long first, long units, PgmError *error);
void pgm_alike_close(PgmSession *s);

long pgm_alike_classes(const PgmAlike *a);
const uint32_t *pgm_alike_class(const PgmAlike *a);   /* per unit */
const long *pgm_alike_first(const PgmAlike *a);       /* per class: its first member, counted from 0 */
const double *pgm_alike_members(const PgmAlike *a);   /* per class: how many */
void pgm_alike_enter(const PgmAlike *a, void *env);

#endif
