/* Random linear-Gaussian models as text: one to three plate dimensions, lags (of literal or symbolic length), lookups, slices, hubs, piecewise
 * ranges, nested and ragged plates, strides, horizons without observations, covariates and known noise, lets, conditions, potentials. */
#ifndef TEMPLATE_H
#define TEMPLATE_H

/* The model number `seed`; the same text every time. Arena memory. */
const char *template_random(long seed);

#endif
