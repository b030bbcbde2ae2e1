/* Reconstruction errors against passes over the images, a line per method, as a page with a picture.
 *
 *   network_curves FILE.curve.csv ... >PAGE.html
 *
 * In: what published_network --curve writes, "passes,mse_train" and a row per point; a file's name begins with its method, avi_64_1.curve.csv. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_page.h"
#include "report_svg.h"

enum { MOST_POINTS = 4096, MOST_LINES = 64 };
static const double SHOWN = 0.12; /* errors above are not of interest; the mean image has 0.087 */

static bool read_curve(const char *path, PgmLine *line)
{
  FILE *in = fopen(path, "r");
  double *x = calloc(2 * MOST_POINTS, sizeof *x), *y = x + MOST_POINTS;
  if (!in || !x || fscanf(in, "passes,mse_train") != 0) {
    fprintf(stderr, "network_curves: %s: cannot be read\n", path);
    return false;
  }
  while (line->n < MOST_POINTS && fscanf(in, "%lf,%lf", &x[line->n], &y[line->n]) == 2) line->n++;
  fclose(in);
  line->x = x;
  line->y = y;
  return true;
}

int main(int argc, char **argv)
{
  static PgmLine line[MOST_LINES];
  static char name[MOST_LINES][32], colour[MOST_LINES][40];
  double last = 100;
  const int n = argc - 1;
  if (n < 1 || n > MOST_LINES) {
    fputs("usage: network_curves FILE.curve.csv ... >PAGE.html\n", stderr);
    return 2;
  }
  for (int i = 0; i < n; i++) {
    const char *base = strrchr(argv[i + 1], '/');
    int width;
    base = base ? base + 1 : argv[i + 1];
    if (!read_curve(argv[i + 1], &line[i])) return 3;
    if (sscanf(base, "avi_%d", &width) == 1) {
      snprintf(name[i], sizeof name[i], "width %d", width);
      pgm_page_shade(i, n, colour[i]);
    } else {
      const bool free_factors = !strncmp(base, "fvi", 3);
      strcpy(name[i], free_factors ? "F-VI" : "constant");
      strcpy(colour[i], free_factors ? "var(--fvi)" : "var(--const)");
    }
    line[i].name = name[i];
    line[i].colour = colour[i];
    if (line[i].n && line[i].x[line[i].n - 1] > last) last = line[i].x[line[i].n - 1];
  }
  const PgmScale x = {"passes over the images", PGM_UNIT_PLAIN, true, false, 20, last};
  const PgmScale y = {"mean squared error per pixel, training images", PGM_UNIT_PLAIN, false, false, 0, SHOWN};
  pgm_page_begin(stdout, "Bayesian neural network, reconstruction errors");
  fputs("<h1>Bayesian neural network, reconstruction errors</h1>\n<figure>", stdout);
  pgm_svg_lines(stdout, "Lines: error against passes", x, y, line, n);
  fputs("</figure>\n", stdout);
  pgm_page_end(stdout);
  for (int i = 0; i < n; i++) free((double *)line[i].x);
  return 0;
}
