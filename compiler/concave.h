/* Whether a term of the log density is concave in the elements of one latent family, all else fixed. */
#ifndef PGMC_CONCAVE_H
#define PGMC_CONCAVE_H

#include "expr.h"

/* `term`: over random variables on the unconstrained scale (X_U). True: it is concave (or does not contain the family); false: that is not known. */
bool dag_concave(const Dag *d, Node term, int family);

#endif
