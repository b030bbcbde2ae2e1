/* Local latent variables whose Gaussian factor has its optimum in closed form, given everything else. */
#ifndef PGMC_ELIMINATE_H
#define PGMC_ELIMINATE_H

#include "expr.h"

/* One reference, z[n], and the factor that is best for it, over the leaf's axes and without any local latent variable in it. */
typedef struct {
  Node mean, sd;                       /* the leaves: X_MEAN and X_SD of one element */
  Node best_mean, best_sd, precision;  /* best_sd = 1 / sqrt(precision) */
} Eliminated;
typedef VEC(Eliminated) Eliminations;

/* For all local families that `value` depends on, `value` being a sum of expectations under q over the unit axis: false when one of them is not of this
 * kind. `candidate`: per family, whether each of its elements is met under one reference alone and nowhere but in `value`. */
bool dag_eliminate(Dag *d, Node value, const bool *candidate, Eliminations *out);
/* The expression with the best factors in place of the leaves. */
Node dag_eliminated(Dag *d, Node n, const Eliminations *list);
/* The expression where nothing is missing: every X_PRESENT is 1. */
Node dag_complete(Dag *d, Node n);

#endif
