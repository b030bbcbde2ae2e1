/* sheet: test images beside what the fitted network makes of them, and how far off it is.
 *
 *   sheet FIT TRAIN.npy TEST.npy LABELS OUT.png
 *
 * In: a fit by A-VI, the images it was fitted to and those to reconstruct (idx2npy wrote both), the test images' labels (IDX, gzipped or not).
 * Out: a picture (a column per class, in it test images, each above its reconstruction; under all, images decoded from codes drawn from the prior),
 * and on standard output the mean squared errors per pixel over all test images.
 *
 * The codes z come from the inference function, by bnn.h and libbnn.a that `pgmc bnn.pgm --library` writes; the rest is the model's own forward
 * pass with the weights' posterior means:  W3 leaky(W2 leaky(W1 z + b1) + b2) + b3,  leaky(a) = a > 0 ? a : 0.2 a.
 *
 * PNG: https://www.w3.org/TR/png - eight-bit grey, one compressed block of unfiltered rows. */
#include <gsl/gsl_randist.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "bnn.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE, CLASSES = 10, SHOWN = 5, DRAWN = 2, ZOOM = 3, GAP = 3, BAND = 12, PLACE = SIDE * ZOOM + GAP };

static const char *const class_names[CLASSES] = {"T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"};

/* ---- files ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  long rows;
  double *pixel; /* rows x PIXELS */
} Images;

static bool fail(const char *what, const char *why)
{
  fprintf(stderr, "sheet: %s: %s\n", what, why);
  return false;
}

/* Of .npy only what idx2npy writes. */
static bool read_images(const char *path, Images *out)
{
  char header[128 + 1] = "";
  long columns = 0;
  FILE *in = fopen(path, "rb");
  if (!in) return fail(path, "cannot be read");
  bool ok = fread(header, 128, 1, in) == 1;
  const char *shape = ok ? strstr(header + 10, "'shape': (") : NULL;
  ok = shape && sscanf(shape, "'shape': (%ld, %ld)", &out->rows, &columns) == 2 && columns == PIXELS && out->rows > 0;
  if (!ok) fail(path, "not a matrix of 28 x 28 images from idx2npy");
  out->pixel = ok ? malloc(sizeof(double) * (size_t)(out->rows * PIXELS)) : NULL;
  if (ok && !out->pixel) ok = fail(path, "out of memory");
  if (ok && fread(out->pixel, sizeof(double) * PIXELS, (size_t)out->rows, in) != (size_t)out->rows) ok = fail(path, "truncated");
  fclose(in);
  return ok;
}

static unsigned char *read_labels(const char *path, long n)
{
  unsigned char head[8], *label = malloc((size_t)n);
  gzFile in = gzopen(path, "rb");
  const bool ok = in && label && gzread(in, head, sizeof head) == (int)sizeof head && head[2] == 8 && head[3] == 1 && gzread(in, label, (unsigned)n) == n;
  if (in) gzclose(in);
  if (ok) return label;
  fail(path, "no IDX file with a label for every image");
  free(label);
  return NULL;
}

/* ---- the model's forward pass ------------------------------------------------------------------------------------------------------------- */

/* out = W x + b, through a leaky rectifier if `leaky` */
static void layer(const PgmMarginal *w, const PgmMarginal *b, const double *x, bool leaky, double *out)
{
  for (long i = 0; i < w->dim[0]; i++) {
    double sum = b->mean[i];
    for (long j = 0; j < w->dim[1]; j++) sum += w->mean[i * w->dim[1] + j] * x[j];
    out[i] = leaky && sum < 0 ? 0.2 * sum : sum;
  }
}

typedef struct {
  const PgmMarginal *w1, *b1, *w2, *b2, *w3, *b3;
  double *h1, *h2;
} Network;

static bool open_network(Network *net, const PgmInference *q)
{
  *net = (Network){bnn_posterior_W1(q), bnn_posterior_b1(q), bnn_posterior_W2(q), bnn_posterior_b2(q), bnn_posterior_W3(q), bnn_posterior_b3(q), NULL, NULL};
  net->h1 = malloc(sizeof(double) * (size_t)net->w1->dim[0]);
  net->h2 = malloc(sizeof(double) * (size_t)net->w2->dim[0]);
  return (net->h1 && net->h2) || fail("network", "out of memory");
}

static void decode(const Network *net, const double *z, double *image)
{
  layer(net->w1, net->b1, z, true, net->h1);
  layer(net->w2, net->b2, net->h1, true, net->h2);
  layer(net->w3, net->b3, net->h2, false, image);
}

/* rows x PIXELS, from rows x (entries of a code); NULL: out of memory */
static double *decode_all(const Network *net, const double *z, long rows)
{
  double *image = malloc(sizeof *image * (size_t)(rows * PIXELS));
  for (long n = 0; image && n < rows; n++) decode(net, z + n * net->w1->dim[1], image + n * PIXELS);
  if (!image) fail("images", "out of memory");
  return image;
}

/* DRAWN x CLASSES images from z ~ N(0, 1) */
static double *draw_images(const Network *net)
{
  const long rows = DRAWN * CLASSES, n = rows * net->w1->dim[1];
  gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
  double *z = malloc(sizeof *z * (size_t)n);
  for (long k = 0; rng && z && k < n; k++) z[k] = gsl_ran_ugaussian(rng);
  double *image = rng && z ? decode_all(net, z, rows) : NULL;
  gsl_rng_free(rng);
  free(z);
  return image;
}

/* ---- errors ------------------------------------------------------------------------------------------------------------------------------------ */

static void mean_image(const Images *images, double *mean)
{
  memset(mean, 0, PIXELS * sizeof *mean);
  for (long n = 0; n < images->rows; n++)
    for (int k = 0; k < PIXELS; k++) mean[k] += images->pixel[n * PIXELS + k] / (double)images->rows;
}

static double squared_distance(const double *a, const double *b)
{
  double sum = 0;
  for (int k = 0; k < PIXELS; k++) sum += (a[k] - b[k]) * (a[k] - b[k]);
  return sum;
}

static void report(const Images *train, const Images *test, const double *decoded, const unsigned char *label)
{
  double mean[PIXELS], total = 0, total_mean = 0, by_class[CLASSES] = {0}, by_class_mean[CLASSES] = {0};
  long count[CLASSES] = {0};
  mean_image(train, mean);
  for (long n = 0; n < test->rows; n++) {
    const int c = label[n] < CLASSES ? label[n] : 0;
    const double a = squared_distance(test->pixel + n * PIXELS, decoded + n * PIXELS), b = squared_distance(test->pixel + n * PIXELS, mean);
    by_class[c] += a;
    by_class_mean[c] += b;
    count[c]++;
    total += a;
    total_mean += b;
  }
  printf("mean squared error per pixel, %ld test images\n              network   mean training image\n", test->rows);
  for (int c = 0; c < CLASSES; c++)
    if (count[c]) printf("  %-10s  %.5f   %.5f\n", class_names[c], by_class[c] / (double)count[c] / PIXELS, by_class_mean[c] / (double)count[c] / PIXELS);
  const double share = 1 - total / total_mean;
  printf("  %-10s  %.5f   %.5f    %.1f %% of the variance explained\n", "all", total / (double)test->rows / PIXELS,
         total_mean / (double)test->rows / PIXELS, 100 * share);
}

/* ---- the picture --------------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  int width, height;
  unsigned char *pixel;
} Picture;

static void put_image(Picture *p, int left, int top, const double *image)
{
  for (int y = 0; y < SIDE * ZOOM; y++)
    for (int x = 0; x < SIDE * ZOOM; x++) {
      const double v = image[y / ZOOM * SIDE + x / ZOOM];
      p->pixel[(top + y) * p->width + left + x] = (unsigned char)(255 * (v < 0 ? 0 : v > 1 ? 1 : v) + 0.5);
    }
}

static bool paint(Picture *p, const Images *test, const double *decoded, const unsigned char *label, const double *drawn)
{
  int shown[CLASSES] = {0};
  p->width = GAP + CLASSES * PLACE;
  p->height = SHOWN * (2 * PLACE + BAND) + DRAWN * PLACE + GAP;
  p->pixel = malloc((size_t)p->width * (size_t)p->height);
  if (!p->pixel) return fail("picture", "out of memory");
  memset(p->pixel, 96, (size_t)p->width * (size_t)p->height);
  for (long n = 0; n < test->rows; n++) {
    const int c = label[n];
    if (c >= CLASSES || shown[c] == SHOWN) continue;
    const int left = GAP + c * PLACE, top = GAP + shown[c]++ * (2 * PLACE + BAND);
    put_image(p, left, top, test->pixel + n * PIXELS);
    put_image(p, left, top + PLACE, decoded + n * PIXELS);
  }
  for (int k = 0; k < DRAWN * CLASSES; k++)
    put_image(p, GAP + k % CLASSES * PLACE, GAP + SHOWN * (2 * PLACE + BAND) + k / CLASSES * PLACE, drawn + k * PIXELS);
  return true;
}

static void big_endian(unsigned char *out, uint32_t v)
{
  for (int i = 0; i < 4; i++) out[i] = (unsigned char)(v >> (24 - 8 * i));
}

static bool write_chunk(FILE *out, const char *type, const unsigned char *bytes, size_t n)
{
  unsigned char head[8], tail[4];
  big_endian(head, (uint32_t)n);
  memcpy(head + 4, type, 4);
  uLong crc = crc32(crc32(0, NULL, 0), head + 4, 4);
  if (n) crc = crc32(crc, bytes, (uInt)n);
  big_endian(tail, (uint32_t)crc);
  return fwrite(head, 8, 1, out) == 1 && (!n || fwrite(bytes, n, 1, out) == 1) && fwrite(tail, 4, 1, out) == 1;
}

static bool write_png(const Picture *p, const char *path)
{
  const size_t row = (size_t)p->width + 1, n = row * (size_t)p->height; /* every row begins with the number of its filter, 0: none */
  uLongf packed = compressBound(n);
  unsigned char *raw = malloc(n), *bytes = malloc(packed), head[13] = {[8] = 8};
  FILE *out = raw && bytes ? fopen(path, "wb") : NULL;
  bool ok = out != NULL;
  if (ok) {
    for (int y = 0; y < p->height; y++) {
      raw[(size_t)y * row] = 0;
      memcpy(raw + (size_t)y * row + 1, p->pixel + (size_t)y * (size_t)p->width, (size_t)p->width);
    }
    big_endian(head, (uint32_t)p->width);
    big_endian(head + 4, (uint32_t)p->height);
    ok = compress2(bytes, &packed, raw, n, 9) == Z_OK && fwrite("\x89PNG\r\n\x1a\n", 8, 1, out) == 1 && write_chunk(out, "IHDR", head, 13) &&
         write_chunk(out, "IDAT", bytes, packed) && write_chunk(out, "IEND", NULL, 0);
    ok = !fclose(out) && ok;
  }
  free(raw);
  free(bytes);
  return ok || fail(path, "cannot be written");
}

/* ---- main --------------------------------------------------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
  Images train = {0}, test = {0};
  Picture picture = {0};
  PgmPosterior *posterior = NULL;
  PgmInference *q = NULL;
  PgmError error;
  if (argc != 6) {
    fputs("usage: sheet FIT TRAIN.npy TEST.npy LABELS OUT.png\n", stderr);
    return 2;
  }
  unsigned char *label = NULL;
  double *decoded = NULL, *drawn = NULL;
  Network net = {0};
  bool ok = read_images(argv[2], &train) && read_images(argv[3], &test) && (label = read_labels(argv[4], test.rows));
  if (ok && bnn_open(argv[1], &posterior, &error) != PGM_OK) ok = fail("cannot load the fit", error.text);
  const bnn_data data = {.x = {.value = test.pixel, .dim = {test.rows, PIXELS}}};
  if (ok && bnn_infer(posterior, &data, &q, &error) != PGM_OK) ok = fail("cannot infer", error.text);
  ok = ok && open_network(&net, q) && (decoded = decode_all(&net, bnn_posterior_z(q)->mean, test.rows)) && (drawn = draw_images(&net));
  if (ok) report(&train, &test, decoded, label);
  ok = ok && paint(&picture, &test, decoded, label, drawn) && write_png(&picture, argv[5]);
  free(picture.pixel);
  free(decoded);
  free(drawn);
  free(net.h1);
  free(net.h2);
  pgm_inference_free(q);
  pgm_posterior_close(posterior);
  free(label);
  free(test.pixel);
  free(train.pixel);
  return ok ? 0 : 1;
}
