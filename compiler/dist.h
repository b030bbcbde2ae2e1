/* Distributions by number: DIST_normal, ...; rows of dist.def. */
#ifndef PGMC_DIST_H
#define PGMC_DIST_H
#include "base.h"
typedef enum {
#define DIST(name, ...) DIST_##name,
#include "dist.def"
#undef DIST
  DIST_COUNT
} DistId;
typedef enum { DK_CONTINUOUS, DK_DISCRETE } DistKind;
typedef enum { DSH_UNIVARIATE, DSH_MULTIVARIATE } DistShape;
typedef enum {
  SUP_REAL, SUP_POSITIVE, SUP_NONNEGATIVE, SUP_UNIT, SUP_BINARY, SUP_COUNT, SUP_CATEGORY, SUP_BOUNDED_COUNT, SUP_BETWEEN, SUP_ABOVE,
  SUP_VECTOR, SUP_SIMPLEX, SUP_CHOLESKY_CORR, SUP_COV, SUP_TYPE
} Support;
typedef struct {
  const char *name;
  DistKind kind;
  DistShape shape;
  Support support;
  int n_args;
  const char *arguments, *constraints;
} DistInfo;
extern const DistInfo dist_info[DIST_COUNT];
/* -1 when there is none. */
int dist_find(const char *name);
/* Whether P(X <= x) has a closed form, or a function that the runtime has: of angles and beta-binomial counts it has not. */
bool dist_has_cdf(int dist);
const char *dist_argument_name(int dist, int i);      /* "sigma" */
#endif
