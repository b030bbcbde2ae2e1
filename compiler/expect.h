/* Expectations under the factorised Gaussian q, as a rewriting of the DAG: a node over random leaves X_U becomes a node over X_MEAN and X_SD. */
#ifndef PGMC_EXPECT_H
#define PGMC_EXPECT_H

#include "expr.h"

typedef enum { EXPECT_CLOSED_FORM, EXPECT_QUADRATURE, EXPECT_SAMPLED } ExpectMethod;

/* E_q of `n`, or NO_NODE (and EXPECT_SAMPLED) when neither a closed form nor quadrature in at most two dimensions applies. */
Node dag_expect(Dag *d, Node n, ExpectMethod *method);

/* Does the value of `n` contain a step in something random, or in a quadrature node: a comparison as a number, or a rounding? Its derivative at a point is
 * 0, though that of its expectation is not: nodes and draws do not see it. */
bool dag_steps(const Dag *d, Node n);

/* Whether two leaves are different elements for certain. */
bool leaves_distinct(const Dag *d, Node a, Node b);

#endif
