/* Log densities of the distributions of dist.def as DAG nodes. */
#ifndef PGMC_DENSITY_H
#define PGMC_DENSITY_H

#include "expr.h"

/* An argument: a scalar (rank 0), a vector whose entries run over axis[0], a matrix whose rows run over axis[0] and columns over axis[1]. */
typedef struct { Node node; int rank; int axis[2]; } DensityArg;

/* log p(x | args), every constant included (Stan's _lpdf, _lpmf). x and the n arguments are as dist.def lists them; a univariate
 * distribution takes scalars, which may vary over any axes (element-wise), except where dist.def asks for a vector (categorical,
 * ordered_logistic). The value inside the support; outside it only `uniform` and `pareto` of an x without latents return -inf, everywhere
 * else the caller has made sure of the support (transforms of latents, checks of data). */
Node density_lpdf_args(Dag *d, int dist, const DensityArg *x, const DensityArg *args, int n);
/* density_lpdf_args where everything is scalar. */
Node density_lpdf(Dag *d, int dist, Node x, const Node *args, int n);

/* log P(X <= x) and log P(X > x), accurate in their tails. NO_NODE for distributions without one: dist_has_cdf. */
Node density_lcdf(Dag *d, int dist, Node x, const Node *args, int n);
Node density_lccdf(Dag *d, int dist, Node x, const Node *args, int n);
/* log P(lo <= X <= hi), what T[lo, hi] subtracts; NO_NODE for an open side (not both). */
Node density_log_interval(Dag *d, int dist, Node lo, Node hi, const Node *args, int n);

#endif
