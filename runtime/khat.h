/* Pareto-smoothed importance sampling (khat.c). */
#ifndef PGM_KHAT_H
#define PGM_KHAT_H

#include "session.h"

/* Log importance ratios of `draws` draws of q at the layouts' factors (fit.c). False: out of memory. */
bool pgm_log_ratios(PgmSession *s, int draws, unsigned long seed, double *ratio);
/* Shape k and scale sigma of the generalised Pareto distribution for n ascending positive exceedances (Zhang & Stephens), k with a weak
 * prior. */
double pgm_pareto_fit(long n, const double *x, double *sigma);
/* k-hat of n log ratios and the log of the mean of the smoothed ratios (log_mean may be NULL). NaN: too few, or not finite; -infinity: all
 * the same. */
double pgm_psis(long n, const double *log_ratio, double *log_mean);
/* The share of the draws that count, (sum w)^2 / (n sum w^2), at weights w = exp(beta log_ratio). */
double pgm_effective(long n, const double *log_ratio, double beta);
/* Is q near enough to the posterior for an average of the weights to be trusted? Where k-hat says so, or where nearly all draws count: the
 * shape of the tail of weights that hardly differ says nothing. False where k-hat is NaN. */
bool pgm_khat_trusted(double khat, double effective);

#endif
