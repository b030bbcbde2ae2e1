/* How fast the gap of a window falls with its half-width, where theory gives it: docs/analysis.md, "How fast a window converges". */
#ifndef PGMC_LAW_H
#define PGMC_LAW_H

#include "model.h"

typedef struct {
  int half_width;                       /* the least that leaves at most 1 % of the gap without input */
  double per_step;                      /* in the end the gap falls by this factor for each further step of half-width */
  bool stationary;                      /* in expectation over data from the model; else over white data, where the chain has no stationary law */
} WindowLaw;

/* For a chain z[t] ~ normal(phi * z[t-1] + ..., s) with one observation x[t] ~ normal(a * z[t] + ..., r) and no other term, phi, s, a and r numbers (or inputs
 * with numbers as defaults), inputs in place of the dots. False: no such chain. */
bool window_law(const Model *m, int family, WindowLaw *out);

#endif
