/* Terms that need the data only through sums over groups of their elements (sufficient statistics).
 *
 * In:  the expectation of a term over the axes of its plates, a function of data and of means and sds.
 * Out: the same summed over those axes, as  sum over groups g of  sum over k of  coefficient_k(g) * S_k(g),  S_k(g) the sum over the elements of group g
 *      of a product of data. What means and sds depend on the element by makes the groups: one lookup (alpha[county[i]]: the counties), the outermost plate
 *      (alpha[j], observed in an inner plate), or nothing (one group). The S_k are computed once, when the data are known.
 *
 * Normal regressions are such terms, whatever their predictors, scale and missing observations; so are the other exponential families as far as means and
 * sds enter them by the group alone, quadratures included.
 *
 * Where data are multiplied with each other, each is taken from its mean over the group first (x = m + d, m a coefficient), so that sums of squares do not
 * cancel: see Chan, Golub & LeVeque, "Algorithms for computing the sample variance", The American Statistician 37 (1983). */
#ifndef PGMC_SUMS_H
#define PGMC_SUMS_H

#include "expr.h"

typedef struct {
  Node key, group;                     /* integer nodes over the plates' axes: what the group is told by, and its number from 0; NO_NODE: one group */
  VEC(Node) centred;                   /* data, over the plates' axes: table i has their means over the groups, */
  Node weight;                         /* weighted with this */
  VEC(Node) sum;                       /* products of data, means taken off: table centred.n + k has S_k */
  Node value;                          /* the term's sum over a group, of X_TABLEs */
} Sums;

/* What the groups are; false: there are none that make the term's elements alike. `axes`: of the plates, outermost first. */
bool sums_key(Dag *d, const int *axes, int n_axes, Node expected, Node *key);
/* The term by its sums. `group`: the group's number from 0, an integer node of the key; NO_NODE where there is one group. False: it has no such form, or
 * one that is too long to be worth it. */
bool sums_expand(Dag *d, const int *axes, int n_axes, Node expected, Node key, Node group, Sums *out);

#endif
