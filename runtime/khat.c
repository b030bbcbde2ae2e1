/* Pareto-smoothed importance sampling: how far q is from the posterior, and the evidence.
 *
 * Vehtari, Simpson, Gelman, Yao & Gabry, "Pareto smoothed importance sampling" (JMLR 2024), with the generalised Pareto fit of Zhang &
 * Stephens (2009) and the weak prior on k of the former, appendix C; Yao et al., "Yes, but did it work?" (ICML 2018) for k-hat as a check
 * of variational inference: above 0.7 the evidence is not to be trusted. */
#include "khat.h"

#include <stdlib.h>
#include <string.h>

#include "fit.h"
#include "objective.h"

static const double LIMIT_KHAT = 0.7, NEARLY_ALL = 0.99;

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double pgm_pareto_fit(long n, const double *x, double *sigma)
{
  /* Zhang & Stephens: posterior mean of theta = k / sigma over a grid, each point weighted by its profile likelihood */
  const long grid = 30 + (long)sqrt((double)n);
  const double quarter = x[(long)((double)n / 4 + 0.5) - 1], largest = x[n - 1];
  double *theta = malloc((size_t)(2 * grid) * sizeof *theta), *like = theta + grid, most = -INFINITY, sum = 0, mean = 0;
  *sigma = NAN;
  if (!theta) return NAN;
  for (long j = 0; j < grid; j++) {
    theta[j] = 1 / largest + (1 - sqrt((double)grid / ((double)j + 0.5))) / (3 * quarter);
    double k = 0;
    for (long i = 0; i < n; i++) k += log1p(-theta[j] * x[i]);
    k /= (double)n;
    like[j] = (double)n * (log(-theta[j] / k) - k - 1);
    if (like[j] > most) most = like[j];
  }
  for (long j = 0; j < grid; j++) sum += exp(like[j] - most);
  for (long j = 0; j < grid; j++) mean += theta[j] * exp(like[j] - most) / sum;
  double k = 0;
  for (long i = 0; i < n; i++) k += log1p(-mean * x[i]);
  k /= (double)n;
  *sigma = -k / mean;
  free(theta);
  return (k * (double)n + 5) / ((double)n + 10); /* the weak prior: ten observations at k = 1/2 */
}

double pgm_psis(long n, const double *log_ratio, double *log_mean)
{
  long tail = (long)fmin(0.2 * (double)n, ceil(3 * sqrt((double)n)));
  double *sorted = malloc((size_t)(n + 1) * sizeof *sorted), k = NAN, most, sum = 0;
  bool numbers = n >= 2;
  if (log_mean) *log_mean = NAN;
  for (long i = 0; i < n; i++) numbers = numbers && !isnan(log_ratio[i]);
  if (!sorted || !numbers) {
    free(sorted);
    return NAN;
  }
  memcpy(sorted, log_ratio, (size_t)n * sizeof *sorted);
  qsort(sorted, (size_t)n, sizeof *sorted, ascending);
  most = sorted[n - 1];
  if (!isfinite(most)) {
    free(sorted);
    return NAN;
  }
  if (tail >= 5) {
    const double cut = sorted[n - tail - 1];
    double sigma, *x = malloc((size_t)tail * sizeof *x);
    if (x) {
      for (long i = 0; i < tail; i++) x[i] = exp(sorted[n - tail + i] - most) - exp(cut - most);
      if (x[0] > 0 && x[tail - 1] > x[0]) {
        k = pgm_pareto_fit(tail, x, &sigma);
        for (long i = 0; i < tail && isfinite(k); i++) { /* the tail's ratios become the fitted quantiles, at most the largest ratio */
          const double p = ((double)i + 0.5) / (double)tail;
          const double q = fabs(k) < 1e-12 ? -sigma * log1p(-p) : sigma * expm1(-k * log1p(-p)) / k;
          sorted[n - tail + i] = fmin(log(exp(cut - most) + q) + most, most);
        }
      } else if (x[tail - 1] <= 0) {
        k = -INFINITY; /* all ratios the same: q is the posterior */
      }
      free(x);
    }
  }
  for (long i = 0; i < n; i++) sum += exp(sorted[i] - most);
  if (log_mean) *log_mean = most + log(sum / (double)n);
  free(sorted);
  return k;
}

double pgm_effective(long n, const double *log_ratio, double beta)
{
  double most = -INFINITY, sum = 0, square = 0;
  for (long i = 0; i < n; i++) most = fmax(most, log_ratio[i]);
  for (long i = 0; i < n; i++) {
    const double w = exp(beta * (log_ratio[i] - most));
    sum += w;
    square += w * w;
  }
  return sum * sum / square / (double)n;
}

bool pgm_khat_trusted(double khat, double effective)
{
  return khat <= LIMIT_KHAT || (khat > LIMIT_KHAT && effective >= NEARLY_ALL);
}

double pgm_khat(PgmSession *s, int draws, unsigned long seed, double *log_evidence, double *effective)
{
  double *ratio = malloc((size_t)draws * sizeof *ratio), k = NAN;
  if (log_evidence) *log_evidence = NAN;
  if (effective) *effective = NAN;
  if (ratio && pgm_log_ratios(s, draws, seed, ratio)) {
    k = pgm_psis(draws, ratio, log_evidence);
    if (effective && !isnan(k)) *effective = pgm_effective(draws, ratio, 1);
  }
  free(ratio);
  return k;
}
