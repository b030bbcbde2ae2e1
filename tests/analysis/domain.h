/* What the texts of a verdict mean at one element: "x[n-1]", "x[g,*]", "x[i | county[i] = j]", "x[1..t]", "x[i+k, j+k]", "t", "x[(n+1)/2]";
 * ranges "2..N, 1..G" and boundaries "n=1 & g=2..G". Written from docs/analysis.md, section Words, not from the compiler. */
#ifndef DOMAIN_H
#define DOMAIN_H

#include "analysis.h"
#include "oracle.h"

/* The elements that `text` names for the latent element `unit` (index values of its family), in the order of their bound names and stars.
 * `bound` (may be NULL) gets, per element, the value of the first bound name or star, which tells members of a set apart.
 * An index by itself names no element: *value gets it and *bare is set. False: the text cannot be read; `error` says why. */
typedef VEC(int) ElementList;
typedef struct {
  ElementList element;
  VEC(long) member;
  bool bare;
  long value;
} Named;
bool domain_named(const Oracle *o, const LatentVerdict *v, const long *unit, const char *text, Named *out, const char **error);
/* Is the element in the range of the verdict's entry; is it one of the boundary? */
bool domain_in_range(const Oracle *o, const LatentVerdict *v, const long *unit, const char **error);
bool domain_on_boundary(const Oracle *o, const LatentVerdict *v, const long *unit, const char **error);

#endif
