/* The factorised optimum of examples/linear/linear.pgm in closed form: reference_linear DATA.json -> "ELBO mean sd" of theta.
 *
 * The posterior is Gaussian. Its best factorised Gaussian has the posterior's means and, as variances, the inverse diagonal of the posterior's precision
 * (Bishop 2006, Pattern recognition and machine learning, section 10.1.2). x[n] given theta is normal(theta, sqrt(tau^2 + sigma^2)). */
#include <jansson.h>
#include <math.h>
#include <stdio.h>

int main(int argc, char **argv)
{
  const double tau = 1.155, sigma = 2.43, prior = 100, log_2pi = log(2 * M_PI);
  json_t *data = argc == 2 ? json_load_file(argv[1], 0, NULL) : NULL, *x = json_object_get(data, "x");
  const size_t n = json_array_size(x);
  if (!n) return 3;
  const double s2 = sigma * sigma, t2 = tau * tau, N = (double)n;
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += json_number_value(json_array_get(x, i));
  const double mean = sum / (s2 + t2) / (1 / (prior * prior) + N / (s2 + t2));
  const double v = 1 / (1 / (prior * prior) + N / s2), w = 1 / (1 + t2 / s2);  /* variances of theta and of every z[n] */

  double elbo = -0.5 * (log_2pi + 2 * log(prior) + (mean * mean + v) / (prior * prior)) + 0.5 * (log_2pi + 1 + log(v));
  for (size_t i = 0; i < n; i++) {
    const double xi = json_number_value(json_array_get(x, i)), z = tau * (xi - mean) / (s2 + t2), r = xi - mean - tau * z;
    elbo += -0.5 * (log_2pi + z * z + w) - 0.5 * (log_2pi + log(s2) + (r * r + v + t2 * w) / s2) + 0.5 * (log_2pi + 1 + log(w));
  }
  printf("%.17g %.17g %.17g\n", elbo, mean, sqrt(v));
  json_decref(data);
  return 0;
}
