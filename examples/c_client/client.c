/* A program that uses a fitted model: posterior means and sds of the states of the saw model for a series of observations.
 *
 *   client saw.fit 0.3 -1.2 4.0 ...
 *
 * Everything of pgmc that it needs is saw.h and libsaw.a, which `pgmc saw.pgm --library` writes. */
#include <stdio.h>
#include <stdlib.h>

#include "saw.h"

static int fail(const char *what, const PgmError *error)
{
  fprintf(stderr, "client: %s: %s\n", what, error->text);
  return (int)error->status;
}

static void describe(const PgmPosterior *posterior)
{
  printf("model %s, fitted by %s\ninputs ", pgm_posterior_model(posterior), pgm_posterior_method(posterior));
  for (int i = 0; i < pgm_posterior_inputs(posterior); i++) printf(" %s", pgm_posterior_input(posterior, i));
  printf("\noutputs");
  for (int i = 0; i < pgm_posterior_outputs(posterior); i++) printf(" %s", pgm_posterior_output(posterior, i));
  putchar('\n');
}

static int show(const PgmPosterior *posterior, const double *x, long n)
{
  PgmInference *result;
  PgmError error;
  const saw_data data = {.x = {.value = x, .dim = {n}}};
  if (saw_infer(posterior, &data, &result, &error) != PGM_OK) return fail("cannot infer", &error);
  const PgmMarginal *z = saw_posterior_z(result), *theta = saw_posterior_theta(result);
  printf("theta %9.5f +- %.5f\n   n         x      E z     sd z\n", theta->mean[0], theta->sd[0]);
  for (long i = 0; i < z->elements; i++) printf("%4ld %9.4f %8.4f %8.4f\n", z->lo[0] + i, x[i], z->mean[i], z->sd[i]);
  pgm_inference_free(result);
  return 0;
}

int main(int argc, char **argv)
{
  PgmPosterior *posterior;
  PgmError error;
  if (argc < 3) {
    fprintf(stderr, "usage: %s saw.fit X1 X2 ...\n", argv[0]);
    return 2;
  }
  if (saw_open(argv[1], &posterior, &error) != PGM_OK) return fail("cannot load the fit", &error);
  describe(posterior);

  int status = 3;
  const long n = argc - 2;
  double *x = malloc((size_t)n * sizeof *x);
  if (x) {
    for (long i = 0; i < n; i++) x[i] = strtod(argv[i + 2], NULL);
    status = show(posterior, x, n);
    free(x);
  }
  pgm_posterior_close(posterior);
  return status;
}
