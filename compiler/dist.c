/* The table of distributions; see dist.def. */
#include "dist.h"
#include <string.h>

const DistInfo dist_info[DIST_COUNT] = {
#define DIST(name, kind, shape, support, n, args, constraints, meaning)                                                                    \
  {#name, DK_##kind, DSH_##shape, SUP_##support, n, args, constraints},
#include "dist.def"
#undef DIST
};

int dist_find(const char *name)
{
  for (int i = 0; i < DIST_COUNT; i++)
    if (!strcmp(dist_info[i].name, name)) return i;
  return -1;
}

const char *dist_argument_name(int dist, int i)
{
  const char *s = dist_info[dist].arguments;
  for (; i; i--) s = strchr(s, ',') + 2;
  return arena_printf("%.*s", (int)strcspn(s, ","), s);
}

bool dist_has_cdf(int dist)
{
  switch ((DistId)dist) {
  case DIST_flat: case DIST_von_mises: case DIST_beta_binomial: case DIST_categorical: case DIST_categorical_logit: case DIST_ordered_logistic: return false;
  default: return dist_info[dist].shape == DSH_UNIVARIATE;
  }
}
