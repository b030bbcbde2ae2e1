/* What a unit's terms read of the data, where they tell one unit from another by nothing else. */
#ifndef PGMC_ALIKE_H
#define PGMC_ALIKE_H

#include "expr.h"

/* A family with data, and the constant that its first index has beyond the unit's number. */
typedef struct { int family, offset; } UnitRead;
typedef VEC(UnitRead) UnitReads;

/* unit + constant? */
bool dag_unit_offset(const Dag *d, Node n, int *offset);
/* Adds to *reads the known elements that the expression reads at the unit's own index. False: the unit's number counts in another way, as a number or in an
 * index at another place; an array of data is read at two offsets, or a latent family is; or a recurrence runs along the units. */
bool dag_unit_reads(const Dag *d, Node n, UnitReads *reads);

#endif
