/* Maximum likelihood of a linear dynamical system by a Kalman filter, on its own, to compare learnt models with.
 *
 *   z[1] ~ normal(0, s1),  z[t] ~ normal(a z[t-1], q),  x[t] ~ normal(z[t], r)
 *
 *   kalman S1 [A Q R] < SERIES        a number per line
 *
 * In: the series. With A Q R their log likelihood; without, the a, q, r of the greatest likelihood (Nelder & Mead's simplex, GSL, from
 * several starts; q and r on the log scale). Out: "a q r log-likelihood". Filter and likelihood: Durbin & Koopman (2012), section 4.3. */
#include <gsl/gsl_multimin.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  long n;
  double *x, s1;
} Series;

static double log_likelihood(const Series *s, double a, double q, double r)
{
  double mean = 0, variance = s->s1 * s->s1, sum = 0;
  for (long t = 0; t < s->n; t++) {
    const double f = variance + r * r, e = s->x[t] - mean;
    sum -= 0.5 * (log(2 * M_PI * f) + e * e / f);
    mean = a * (mean + variance / f * e);
    variance = a * a * (variance - variance * variance / f) + q * q;
  }
  return sum;
}

static double loss(const gsl_vector *u, void *data)
{
  const double value = log_likelihood(data, gsl_vector_get(u, 0), exp(gsl_vector_get(u, 1)), exp(gsl_vector_get(u, 2)));
  return isfinite(value) ? -value : 1e300;
}

static double maximise(Series *s, double a, double q, double r, double best[3])
{
  gsl_multimin_function f = {loss, 3, s};
  gsl_vector *u = gsl_vector_alloc(3), *step = gsl_vector_alloc(3);
  gsl_multimin_fminimizer *m = gsl_multimin_fminimizer_alloc(gsl_multimin_fminimizer_nmsimplex2, 3);
  gsl_vector_set(u, 0, a);
  gsl_vector_set(u, 1, log(q));
  gsl_vector_set(u, 2, log(r));
  gsl_vector_set_all(step, 0.3);
  gsl_multimin_fminimizer_set(m, &f, u, step);
  for (int i = 0; i < 5000 && gsl_multimin_fminimizer_iterate(m) == 0 && gsl_multimin_fminimizer_size(m) > 1e-9; i++) continue;
  best[0] = gsl_vector_get(m->x, 0);
  best[1] = exp(gsl_vector_get(m->x, 1));
  best[2] = exp(gsl_vector_get(m->x, 2));
  const double value = -m->fval;
  gsl_multimin_fminimizer_free(m);
  gsl_vector_free(u);
  gsl_vector_free(step);
  return value;
}

int main(int argc, char **argv)
{
  static const double starts[][3] = {{0.5, 1, 1}, {0.9, 0.1, 1}, {0.9, 1, 0.1}, {0.2, 1, 1}};
  Series s = {0};
  long room = 0;
  double x, best[3] = {NAN, NAN, NAN}, most = -INFINITY;
  if (argc != 2 && argc != 5) {
    fputs("usage: kalman S1 [A Q R] < SERIES\n", stderr);
    return 2;
  }
  s.s1 = atof(argv[1]);
  while (scanf("%lf", &x) == 1) {
    if (s.n == room) {
      s.x = realloc(s.x, (size_t)(room = 2 * room + 1000) * sizeof *s.x);
      if (!s.x) return 3;
    }
    s.x[s.n++] = x;
  }
  if (argc == 5) {
    for (int i = 0; i < 3; i++) best[i] = atof(argv[2 + i]);
    most = log_likelihood(&s, best[0], best[1], best[2]);
  }
  for (size_t i = 0; argc == 2 && i < sizeof starts / sizeof *starts; i++) {
    double at[3];
    const double value = maximise(&s, starts[i][0], starts[i][1], starts[i][2], at);
    if (!(value > most)) continue;
    most = value;
    for (int k = 0; k < 3; k++) best[k] = at[k];
  }
  printf("%.6f %.6f %.6f %.4f\n", best[0], best[1], best[2], most);
  free(s.x);
  return 0;
}
