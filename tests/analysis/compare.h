/* Holds a verdict against the oracle: whatever it claims of a model is looked up in the optimum of an instance with numbers.
 *
 * For every local latent element away from the boundary:
 *   - what the mean or sd depends on is in the domain, and what is in the domain it depends on (closes, set, slice, unbounded, position);
 *   - the same for sd_domain;
 *   - two units whose inputs have equal values have equal factors (closes, set, slice; and for this_data, from the inputs named there); for
 *     `unbounded` and `position` they have not;
 *   - members of a set can be exchanged;
 *   - what is said to be separable has no neighbour in the precision matrix; what is pruned has no observed descendant, and the reverse;
 *   - with a family pinned, the domain that the remedy names is right for the rest. */
#ifndef COMPARE_H
#define COMPARE_H

#include "analysis.h"

typedef struct {
  const char *failure;                  /* NULL: the analysis and the oracle agree */
  const char *unsupported;              /* no linear-Gaussian model, or no small size: nothing was compared */
  long units, dependences, ties, swaps, ordered, pins, lost; /* how much was compared; ordered: slices whose order was seen to matter; lost: effects too small for the last digit */
  long verdicts[8];                     /* entries per verdict, in the order of verdict_words */
} Compared;

extern const char *const verdict_words[8];
void compare_with_oracle(const Model *m, const Analysis *a, unsigned long seed, Compared *out);

#endif
