/* The one-bit example of Bayer et al. (2021): what an amortised posterior becomes when one bit that decides the true one is kept from it.
 *
 *   one_bit D=GAP ... > PAGE.html         GAP: the gap per observation that was measured at distance D
 *
 * Given the bit b the posterior is p_b = normal(+-d/2, 1). Not given it, the posterior is the mixture p = (p_1 + p_2) / 2. But A-VI
 * maximises the ELBO averaged over the data, which is to minimise the average of KL(q | p_b) over both values of the bit, and
 *
 *   sum_b w_b KL(q | p_b) = KL(q | prod_b p_b^w_b / Z) - log Z,      Z = integral of prod_b p_b^w_b,
 *
 * so that q becomes the normalised product of the posteriors and not their mixture: here normal(0, 1), whatever d, as sure as if it knew
 * the bit and wrong for both. The gap that no function closes is -log Z = d^2 / 8. The best Gaussian for the mixture, normal(0, 1 + d^2/4),
 * is another one still. Out: a page with the densities at several d, and the gap as derived and as measured. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_page.h"
#include "report_svg.h"

enum { POINTS = 241, MOST = 32 };

static double normal(double z, double mean, double sd)
{
  return exp(-0.5 * pow((z - mean) / sd, 2)) / (sd * sqrt(2 * acos(-1)));
}

/* KL(normal(0, s) | normal(m, 1)) */
static double divergence(double s, double m)
{
  return 0.5 * (s * s + m * m - 1) - log(s);
}

static void draw_densities(double d)
{
  double z[POINTS], mixture[POINTS], shared[POINTS], gaussian[POINTS];
  char caption[64];
  const double far = d / 2 + 4;
  for (int i = 0; i < POINTS; i++) {
    z[i] = far * (2.0 * i / (POINTS - 1) - 1);
    mixture[i] = 0.5 * (normal(z[i], -d / 2, 1) + normal(z[i], d / 2, 1));
    shared[i] = normal(z[i], 0, 1);
    gaussian[i] = normal(z[i], 0, sqrt(1 + d * d / 4));
  }
  const PgmLine line[] = {{"true, without the bit", "var(--fvi)", POINTS, z, mixture},
                          {"its best Gaussian", "var(--const)", POINTS, z, gaussian},
                          {"what amortisation reaches", "var(--full)", POINTS, z, shared}};
  snprintf(caption, sizeof caption, "The two posteriors %g sds apart", d);
  printf("<figure><figcaption>%s</figcaption>\n", caption);
  pgm_svg_lines(stdout, caption, (PgmScale){.label = "z", .lo = -far, .hi = far}, (PgmScale){.label = "density", .lo = 0, .hi = 0.45}, line,
                3);
  puts("</figure>");
}

int main(int argc, char **argv)
{
  static const double shown[] = {1, 2, 4, 6};
  double at[MOST], measured[MOST];
  int n = 0;
  for (int i = 1; i < argc && n < MOST; i++, n++)
    if (sscanf(argv[i], "%lf=%lf", &at[n], &measured[n]) != 2) {
      fputs("usage: one_bit D=GAP ... > PAGE.html\n", stderr);
      return 2;
    }
  pgm_page_begin(stdout, "One bit kept from the inference function");
  puts("<h1>One bit kept from the inference function</h1>\n<p>A bit decides the posterior of z: normal(&minus;d/2, 1) or normal(d/2, 1). A "
       "function that is not given the bit learns the "
       "normalised product of the two, normal(0, 1), which is as sure as either and wrong for both; the posterior without the bit is their "
       "mixture (Bayer et al. 2021).</p>\n<div class=\"two\">");
  for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) draw_densities(shown[i]);
  puts("</div>\n<h2>The conditioning gap</h2>\n<div class=\"scroll\"><table><thead><tr><th class=\"n\">d, sds</th><th class=\"n\">derived, "
       "d&sup2;/8</th><th class=\"n\">measured</th>"
       "<th class=\"n\">had it the best Gaussian</th></tr></thead><tbody>");
  for (int i = 0; i < n; i++)
    printf("<tr><td class=\"n\">%g</td><td class=\"n\">%.5f</td><td class=\"n\">%.5f</td><td class=\"n\">%.5f</td></tr>\n", at[i],
           at[i] * at[i] / 8, measured[i], divergence(sqrt(1 + at[i] * at[i] / 4), at[i] / 2));
  puts("</tbody></table></div>\n<p class=\"note\">Nats per observation. Measured: F-VI minus one factor for all units, by <code>one_bit "
       "gap</code> on 200 observations. The last column: "
       "the average of KL(q | p_b) if q were the Gaussian nearest to the mixture.</p>");
  pgm_page_end(stdout);
  return ferror(stdout) ? 3 : 0;
}
