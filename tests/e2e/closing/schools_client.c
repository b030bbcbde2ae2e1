/* From C: the classes' effects of pupils and classes that the fit has not seen. schools_client schools.fit */
#include <stdio.h>

#include "schools.h"

int main(int argc, char **argv)
{
  const double school[] = {1, 1, 2}, class[] = {1, 2, 1, 3, 3, 1, 2}, a[] = {0.5, -1, 0, 1, 0.2, -0.3, 0}, y[] = {2, -1, 0.5, 3, 1.5, 0.2, 0.1};
  const schools_data data = {.school = {.value = school, .dim = {3}}, .class_ = {.value = class, .dim = {7}}, .a = {.value = a, .dim = {7}},
                             .y = {.value = y, .dim = {7}}};
  PgmPosterior *posterior;
  PgmInference *result;
  PgmError error;
  if (argc != 2) return 2;
  if (schools_open(argv[1], &posterior, &error) || schools_infer(posterior, &data, &result, &error)) {
    fprintf(stderr, "%s\n", error.text);
    return (int)error.status;
  }
  const PgmMarginal *u = schools_posterior_u(result);
  for (long c = 0; c < u->elements; c++) printf("%.9g,%.9g\n", u->mean[c], u->sd[c]);
  pgm_inference_free(result);
  pgm_posterior_close(posterior);
  return 0;
}
