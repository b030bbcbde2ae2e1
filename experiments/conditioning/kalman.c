/* Maximum likelihood of a linear dynamical system by a Kalman filter, on its own, to compare learnt models with.
 *
 *   z[1] ~ normal(u[1], s1),  z[t] ~ normal(a z[t-1] + u[t], q),  x[t] ~ normal(z[t], r)
 *
 *   kalman S1 [--hold Q] [--at A Q R] < SERIES        a line per t: x and u; u may be left out, and is 0 then
 *
 * In: the series. With --at their log likelihood; without, the a, q, r of the greatest likelihood (Nelder & Mead's simplex, GSL, from
 * several starts; q and r on the log scale; q stays at what --hold says). Out: "a q r log-likelihood". Filter and likelihood: Durbin &
 * Koopman (2012), section 4.3. */
#include <getopt.h>
#include <gsl/gsl_multimin.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  long n;
  double *x, *u, s1, hold; /* hold: q, or NaN: to be estimated */
} Series;

static double log_likelihood(const Series *s, double a, double q, double r)
{
  double mean = s->u[0], variance = s->s1 * s->s1, sum = 0;
  for (long t = 0; t < s->n; t++) {
    const double f = variance + r * r, e = s->x[t] - mean;
    sum -= 0.5 * (log(2 * M_PI * f) + e * e / f);
    mean = a * (mean + variance / f * e) + (t + 1 < s->n ? s->u[t + 1] : 0);
    variance = a * a * (variance - variance * variance / f) + q * q;
  }
  return sum;
}

/* -log likelihood at (a, log r, log q), or (a, log r) where q is held. */
static double loss(const gsl_vector *v, void *data)
{
  const Series *s = data;
  const double q = isnan(s->hold) ? exp(gsl_vector_get(v, 2)) : s->hold;
  const double value = log_likelihood(s, gsl_vector_get(v, 0), q, exp(gsl_vector_get(v, 1)));
  return isfinite(value) ? -value : 1e300;
}

/* From one start to a maximum near it: best = a, q, r. Returns the log likelihood. */
static double maximise(Series *s, const double from[3], double best[3])
{
  const size_t free_ones = isnan(s->hold) ? 3 : 2;
  gsl_multimin_function f = {loss, free_ones, s};
  gsl_vector *v = gsl_vector_alloc(free_ones), *step = gsl_vector_alloc(free_ones);
  gsl_multimin_fminimizer *m = gsl_multimin_fminimizer_alloc(gsl_multimin_fminimizer_nmsimplex2, free_ones);
  gsl_vector_set(v, 0, from[0]);
  gsl_vector_set(v, 1, log(from[2]));
  if (free_ones == 3) gsl_vector_set(v, 2, log(from[1]));
  gsl_vector_set_all(step, 0.3);
  gsl_multimin_fminimizer_set(m, &f, v, step);
  for (int i = 0; i < 5000 && gsl_multimin_fminimizer_iterate(m) == 0 && gsl_multimin_fminimizer_size(m) > 1e-9; i++) continue;
  best[0] = gsl_vector_get(m->x, 0);
  best[1] = free_ones == 3 ? exp(gsl_vector_get(m->x, 2)) : s->hold;
  best[2] = exp(gsl_vector_get(m->x, 1));
  const double value = -m->fval;
  gsl_multimin_fminimizer_free(m);
  gsl_vector_free(v);
  gsl_vector_free(step);
  return value;
}

/* False: out of memory. */
static bool read_series(FILE *in, Series *s)
{
  char line[256];
  long room = 0;
  while (fgets(line, sizeof line, in)) {
    double x, u = 0;
    if (sscanf(line, "%lf %lf", &x, &u) < 1) continue;
    if (s->n == room) {
      room = 2 * room + 1000;
      double *more_x = realloc(s->x, (size_t)room * sizeof *s->x);
      if (more_x) s->x = more_x;
      double *more_u = realloc(s->u, (size_t)room * sizeof *s->u);
      if (more_u) s->u = more_u;
      if (!more_x || !more_u) return false;
    }
    s->x[s->n] = x;
    s->u[s->n++] = u;
  }
  return true;
}

static int usage(void)
{
  fputs("usage: kalman S1 [--hold Q] [--at A Q R] < SERIES\n", stderr);
  return 2;
}

int main(int argc, char **argv)
{
  static const struct option options[] = {{"hold", 1, NULL, 'h'}, {"at", 0, NULL, 'a'}, {0}};
  static const double starts[][3] = {{0.5, 1, 1}, {0.9, 0.1, 1}, {0.9, 1, 0.1}, {0.2, 1, 1}};
  Series s = {.hold = NAN};
  double best[3] = {NAN, NAN, NAN}, most = -INFINITY;
  bool at = false;
  for (int key; (key = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (key == 'h')
      s.hold = atof(optarg);
    else if (key == 'a')
      at = true;
    else
      return usage();
  }
  if (argc - optind != (at ? 4 : 1)) return usage();
  s.s1 = atof(argv[optind]);
  if (!read_series(stdin, &s)) return 3;
  if (!s.n) return usage();
  if (at) {
    for (int i = 0; i < 3; i++) best[i] = atof(argv[optind + 1 + i]);
    most = log_likelihood(&s, best[0], best[1], best[2]);
  }
  for (size_t i = 0; !at && i < sizeof starts / sizeof *starts; i++) {
    double end[3];
    const double value = maximise(&s, starts[i], end);
    if (!(value > most)) continue;
    most = value;
    for (int k = 0; k < 3; k++) best[k] = end[k];
  }
  printf("%.6f %.6f %.6f %.4f\n", best[0], best[1], best[2], most);
  free(s.x);
  free(s.u);
  return 0;
}
