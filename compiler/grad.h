/* Reverse mode on the DAG: DAG in, DAG out. */
#ifndef PGMC_GRAD_H
#define PGMC_GRAD_H

#include "expr.h"

typedef struct { Node leaf, adjoint; } LeafAdjoint;
typedef VEC(LeafAdjoint) LeafAdjoints;

/* Appends d(root)/d(leaf) * seed for every leaf of kind `op1` or `op2` (X_VALUE, X_MEAN, X_SD, ...) that root depends on, in node order. The
 * adjoint of a leaf varies over at most the leaf's own axes: everything else is summed, the unit axis too. */
void dag_gradient(Dag *d, Node root, Node seed, XOp op1, XOp op2, LeafAdjoints *out);

#endif
