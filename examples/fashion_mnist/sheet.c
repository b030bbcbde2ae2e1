/* sheet: how well the fitted network reconstructs images that it was not fitted to, in numbers and as a page to look at.
 *
 *   sheet FIT TRAIN.npy TEST.npy LABELS OUT.html
 *
 * In: a fit; the images it was fitted to and those to reconstruct (idx2npy wrote both); the labels of the latter (IDX, gzipped or not).
 * Out: on standard output the mean squared errors per pixel over all images, of the network, of the mean training image, and of principal
 * components of the training images (as many as entries of the code are in use, and as many as do as well as the network); in OUT.html the
 * same, the first test images of each class with their reconstructions and the differences, and images decoded from new codes. The page
 * needs no other file.
 *
 * The codes z are the means that `infer` gives, here by bnn.h and libbnn.a that `pgmc bnn.pgm --library` writes; the rest is the model's
 * own forward pass at the posterior means of the weights:  W3 leaky(W2 leaky(W1 z + b1) + b2) + b3,  leaky(a) = a > 0 ? a : 0.2 a.
 *
 * Images stand in the page as PNG (https://www.w3.org/TR/png: 8-bit RGB, one compressed block of unfiltered rows) in base64 (RFC 4648). */
#include <gsl/gsl_cblas.h> /* the prototypes; OpenBLAS has the functions */
#include <gsl/gsl_eigen.h>
#include <gsl/gsl_randist.h>
#include <gsl/gsl_sort_vector.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "bnn.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE, CLASSES = 10, SHOWN = 4, DRAWN = 2 };
static const double IN_USE =
    0.01; /* an entry of the code whose mean varies by more than this over the images (the prior's variance is 1) */

static const char *const class_names[CLASSES] = {"T-shirt", "trouser", "pullover", "dress", "coat",
                                                 "sandal",  "shirt",   "sneaker",  "bag",   "boot"};

static bool fail(const char *what, const char *why)
{
  fprintf(stderr, "sheet: %s: %s\n", what, why);
  return false;
}

/* ---- files --------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  long rows;
  double *pixel; /* rows x PIXELS, 0 (background) to 1 */
} Images;

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

/* One class per image, below CLASSES. */
static unsigned char *read_labels(const char *path, long n)
{
  unsigned char head[8], *label = malloc((size_t)n);
  gzFile in = gzopen(path, "rb");
  bool ok = in && label && gzread(in, head, sizeof head) == (int)sizeof head && head[2] == 8 && head[3] == 1 &&
            gzread(in, label, (unsigned)n) == n;
  if (in) gzclose(in);
  for (long k = 0; ok && k < n; k++) ok = label[k] < CLASSES;
  if (ok) return label;
  fail(path, "no IDX file with a class from 0 to 9 for every image");
  free(label);
  return NULL;
}

/* ---- the model's forward pass -------------------------------------------------------------------------------------------------------- */

/* rows x (outputs) = x W' + b, through a leaky rectifier if `leaky`; NULL: out of memory (or no x) */
static double *layer(const PgmMarginal *w, const PgmMarginal *b, long rows, const double *x, bool leaky)
{
  const long out = w->dim[0], in = w->dim[1];
  double *y = x ? malloc(sizeof *y * (size_t)(rows * out)) : NULL;
  if (!y) return NULL;
  for (long n = 0; n < rows; n++) memcpy(y + n * out, b->mean, sizeof *y * (size_t)out);
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)out, (int)in, 1, x, (int)in, w->mean, (int)in, 1, y, (int)out);
  for (long k = 0; leaky && k < rows * out; k++) y[k] = y[k] > 0 ? y[k] : 0.2 * y[k];
  return y;
}

/* rows x PIXELS from rows x (entries of a code) */
static double *decode(const PgmInference *q, const double *z, long rows)
{
  double *h1 = layer(bnn_posterior_W1(q), bnn_posterior_b1(q), rows, z, true);
  double *h2 = layer(bnn_posterior_W2(q), bnn_posterior_b2(q), rows, h1, true);
  double *image = layer(bnn_posterior_W3(q), bnn_posterior_b3(q), rows, h2, false);
  free(h1);
  free(h2);
  if (!image) fail("decoding", "out of memory");
  return image;
}

/* Codes of the images and what is decoded from them. */
static bool reconstruct(const PgmPosterior *posterior, const Images *images, PgmInference **q, double **decoded)
{
  PgmError error;
  const bnn_data data = {.x = {.value = images->pixel, .dim = {images->rows, PIXELS}}};
  if (bnn_infer(posterior, &data, q, &error) != PGM_OK) return fail("cannot infer", error.text);
  if (bnn_posterior_W3(*q)->dim[0] != PIXELS) return fail("the fit", "not one of 28 x 28 images");
  return (*decoded = decode(*q, bnn_posterior_z(*q)->mean, images->rows)) != NULL;
}

/* DRAWN x CLASSES images from codes z ~ normal(0, 1) */
static double *draw_images(const PgmInference *q)
{
  const long n = DRAWN * CLASSES * bnn_posterior_z(q)->width;
  gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
  double *z = malloc(sizeof *z * (size_t)n);
  for (long k = 0; rng && z && k < n; k++) z[k] = gsl_ran_ugaussian(rng);
  double *image = rng && z ? decode(q, z, DRAWN * CLASSES) : NULL;
  gsl_rng_free(rng);
  free(z);
  return image;
}

/* ---- errors -------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  long count;
  double network, mean_image; /* sums of squared errors per image; after finish_error() means per pixel */
} Error;

typedef struct {
  Error test, train, by_class[CLASSES];
  long entries, in_use;         /* of the code */
  double remaining[PIXELS + 1]; /* mean squared errors of the training images from their first k principal components, k = 0, 1, ... */
  long components;              /* how many of these the network's error on the training images takes */
} Errors;

static double squared_distance(const double *a, const double *b)
{
  double sum = 0;
  for (int k = 0; k < PIXELS; k++) sum += (a[k] - b[k]) * (a[k] - b[k]);
  return sum;
}

static void add_error(Error *e, const double *image, const double *decoded, const double *mean)
{
  e->count++;
  e->network += squared_distance(image, decoded);
  e->mean_image += squared_distance(image, mean);
}

static void finish_error(Error *e)
{
  const double pixels = e->count ? (double)e->count * PIXELS : 1;
  e->network /= pixels;
  e->mean_image /= pixels;
}

static long entries_in_use(const PgmMarginal *z)
{
  long n = 0;
  for (long k = 0; k < z->width; k++) {
    double sum = 0, square = 0;
    for (long i = 0; i < z->elements; i++) sum += z->mean[i * z->width + k] / (double)z->elements;
    for (long i = 0; i < z->elements; i++)
      square += (z->mean[i * z->width + k] - sum) * (z->mean[i * z->width + k] - sum) / (double)z->elements;
    n += square > IN_USE;
  }
  return n;
}

static void mean_image(const Images *images, double mean[PIXELS])
{
  memset(mean, 0, PIXELS * sizeof *mean);
  for (long n = 0; n < images->rows; n++)
    for (int k = 0; k < PIXELS; k++) mean[k] += images->pixel[n * PIXELS + k] / (double)images->rows;
}

/* What k principal components leave is the sum of the other eigenvalues of the covariance matrix, spread over the pixels. */
static bool principal_components(const Images *images, const double mean[PIXELS], double remaining[PIXELS + 1])
{
  const double rows = (double)images->rows;
  gsl_matrix *covariance = gsl_matrix_alloc(PIXELS, PIXELS);
  gsl_vector *variance = gsl_vector_alloc(PIXELS);
  gsl_eigen_symm_workspace *work = gsl_eigen_symm_alloc(PIXELS);
  cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, PIXELS, PIXELS, (int)images->rows, 1 / rows, images->pixel, PIXELS, images->pixel,
              PIXELS, 0, covariance->data, PIXELS);
  cblas_dger(CblasRowMajor, PIXELS, PIXELS, -1, mean, 1, mean, 1, covariance->data, PIXELS);
  const bool ok = gsl_eigen_symm(covariance, variance, work) == 0;
  gsl_sort_vector(variance);
  double sum = remaining[PIXELS] = 0;
  for (int k = PIXELS - 1; k >= 0; k--) remaining[k] = (sum += gsl_vector_get(variance, (size_t)(PIXELS - 1 - k))) / PIXELS;
  gsl_eigen_symm_free(work);
  gsl_vector_free(variance);
  gsl_matrix_free(covariance);
  return ok || fail("principal components", "the eigenvalues do not converge");
}

static bool measure(const Images *train, const double *train_decoded, const Images *test, const double *test_decoded,
                    const unsigned char *label, const PgmMarginal *z, Errors *e)
{
  double mean[PIXELS];
  *e = (Errors){.entries = z->width, .in_use = entries_in_use(z)};
  mean_image(train, mean);
  for (long n = 0; n < train->rows; n++) add_error(&e->train, train->pixel + n * PIXELS, train_decoded + n * PIXELS, mean);
  for (long n = 0; n < test->rows; n++) {
    add_error(&e->test, test->pixel + n * PIXELS, test_decoded + n * PIXELS, mean);
    add_error(&e->by_class[label[n]], test->pixel + n * PIXELS, test_decoded + n * PIXELS, mean);
  }
  finish_error(&e->train);
  finish_error(&e->test);
  for (int c = 0; c < CLASSES; c++) finish_error(&e->by_class[c]);
  if (!principal_components(train, mean, e->remaining)) return false;
  while (e->components < PIXELS && e->remaining[e->components] > e->train.network) e->components++;
  return true;
}

static double remaining_after(const Errors *e, long components)
{
  return e->remaining[components < PIXELS ? components : PIXELS];
}

static void print_errors(const Errors *e)
{
  printf("mean squared error per pixel  network  mean training image\n");
  for (int c = 0; c < CLASSES; c++)
    if (e->by_class[c].count) printf("  test, %-19s  %9.5f  %9.5f\n", class_names[c], e->by_class[c].network, e->by_class[c].mean_image);
  printf("  test, all %-6ld images    %9.5f  %9.5f\n", e->test.count, e->test.network, e->test.mean_image);
  printf("  training, %-6ld images    %9.5f  %9.5f\n", e->train.count, e->train.network, e->train.mean_image);
  printf("entries of the code in use: %ld of %ld\n", e->in_use, e->entries);
  printf("principal components: %ld leave a training error of %.5f, %ld one of %.5f\n", e->in_use, remaining_after(e, e->in_use),
         e->components, remaining_after(e, e->components));
}

/* ---- an image in the page ------------------------------------------------------------------------------------------------------------ */

enum { ROW = 1 + 3 * SIDE, RAW = ROW * SIDE, PNG_MOST = RAW + 512 };

static void big_endian(unsigned char *out, uint32_t v)
{
  for (int i = 0; i < 4; i++) out[i] = (unsigned char)(v >> (24 - 8 * i));
}

static unsigned char *put_chunk(unsigned char *out, const char *type, const unsigned char *bytes, size_t n)
{
  big_endian(out, (uint32_t)n);
  memcpy(out + 4, type, 4);
  if (n) memcpy(out + 8, bytes, n);
  big_endian(out + 8 + n, (uint32_t)crc32(0, out + 4, (uInt)(n + 4)));
  return out + 12 + n;
}

/* raw: SIDE rows, each a 0 (no filter) and 3 x SIDE colours. Returns the size. */
static size_t make_png(const unsigned char raw[RAW], unsigned char png[PNG_MOST])
{
  unsigned char packed[RAW + 256], head[13] = {[3] = SIDE, [7] = SIDE, [8] = 8, [9] = 2};
  uLongf size = sizeof packed;
  compress2(packed, &size, raw, RAW, 9); /* cannot fail: `packed` has room for compressBound(RAW) */
  memcpy(png, "\x89PNG\r\n\x1a\n", 8);
  unsigned char *end = put_chunk(png + 8, "IHDR", head, sizeof head);
  end = put_chunk(end, "IDAT", packed, size);
  return (size_t)(put_chunk(end, "IEND", NULL, 0) - png);
}

static void put_base64(FILE *out, const unsigned char *bytes, size_t n)
{
  static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < n; i += 3) {
    const uint32_t v = (uint32_t)bytes[i] << 16 | (i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0) | (i + 2 < n ? bytes[i + 2] : 0);
    for (int k = 0; k < 4; k++) fputc(i + (size_t)k <= n ? digit[v >> (18 - 6 * k) & 63] : '=', out);
  }
}

static unsigned char byte_of(double v)
{
  return (unsigned char)(255 * (v < 0 ? 0 : v > 1 ? 1 : v) + 0.5);
}

/* An image as ink on white; with `from`, the difference image - from: red where the image has more ink, blue where it has less. */
static void put_image(FILE *out, const char *what, const double *image, const double *from)
{
  unsigned char raw[RAW], png[PNG_MOST], *p = raw;
  for (int y = 0; y < SIDE; y++) {
    *p++ = 0;
    for (int x = 0; x < SIDE; x++, p += 3) {
      const int k = y * SIDE + x;
      const double d = from ? image[k] - from[k] : 0;
      p[0] = byte_of(from ? 1 + (d < 0 ? d : 0) : 1 - image[k]);
      p[1] = byte_of(from ? 1 - (d < 0 ? -d : d) : 1 - image[k]);
      p[2] = byte_of(from ? 1 - (d > 0 ? d : 0) : 1 - image[k]);
    }
  }
  fprintf(out, "<td><img alt=\"%s\" src=\"data:image/png;base64,", what);
  put_base64(out, png, make_png(raw, png));
  fputs("\">", out);
}

/* ---- the page ------------------------------------------------------------------------------------------------------------------------ */

static const char page_head[] =
    "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Fashion-MNIST reconstructed</title>\n"
    "<style>\n"
    "body { font: 15px/1.45 sans-serif; color: #222; background: #fff; max-width: 1000px; margin: 24px auto; padding: 0 16px }\n"
    "h1 { font-size: 22px; margin: 0 0 4px } h2 { font-size: 16px; margin: 26px 0 6px } p { margin: 0 0 10px; color: #444 }\n"
    "table { border-collapse: collapse } th { font-weight: normal; color: #444; text-align: right; padding: 2px 8px 2px 0; white-space: "
    "nowrap; min-width: 104px }\n"
    "thead th + th { min-width: 0 }\n"
    "thead th { text-align: center; padding: 2px 6px } td { padding: 2px; text-align: center; font-variant-numeric: tabular-nums }\n"
    "td.number { padding: 2px 10px } tbody { border-bottom: 1px solid #ddd } tbody tr:first-child > * { padding-top: 8px }\n"
    "tbody tr:last-child > * { padding-bottom: 8px }\n"
    "img { width: 80px; height: 80px; display: block; image-rendering: pixelated; outline: 1px solid #eee }\n"
    "table + p { margin-top: 10px } .more { color: #c00 } .less { color: #00c }\n"
    "</style>\n";

/* A row: its title, then an image per class; an image of a class that has too few is left out. */
static void put_row(FILE *out, const char *title, const double *image[CLASSES], const double *from[CLASSES])
{
  fprintf(out, "<tr><th>%s", title);
  for (int c = 0; c < CLASSES; c++) {
    if (image[c])
      put_image(out, title, image[c], from ? from[c] : NULL);
    else
      fputs("<td>", out);
  }
  fputc('\n', out);
}

static void put_comparison(FILE *out, const Images *test, const double *decoded, const unsigned char *label)
{
  fputs("<table>\n<thead><tr><th>", out);
  for (int c = 0; c < CLASSES; c++) fprintf(out, "<th>%s", class_names[c]);
  fputs("\n", out);
  long next[CLASSES] = {0};
  for (int s = 0; s < SHOWN; s++) {
    const double *original[CLASSES] = {NULL}, *made[CLASSES] = {NULL};
    for (int c = 0; c < CLASSES; c++) {
      while (next[c] < test->rows && label[next[c]] != c) next[c]++;
      if (next[c] == test->rows) continue;
      original[c] = test->pixel + next[c] * PIXELS;
      made[c] = decoded + next[c]++ * PIXELS;
    }
    fputs("<tbody>\n", out);
    put_row(out, "original", original, NULL);
    put_row(out, "reconstruction", made, NULL);
    put_row(out, "difference", made, original);
  }
  fputs("</table>\n", out);
}

static void put_error(FILE *out, const char *title, const Error *e)
{
  fprintf(out, "<tr><th>%s<td class=\"number\">%ld<td class=\"number\">%.4f<td class=\"number\">%.4f<td class=\"number\">%.0f %%\n", title,
          e->count, e->network, e->mean_image, e->mean_image > 0 ? 100 * (1 - e->network / e->mean_image) : 0);
}

static void put_errors(FILE *out, const Errors *e)
{
  fputs("<table>\n<thead><tr><th><th>images<th>network<th>mean training image<th>variance explained\n<tbody>\n", out);
  put_error(out, "training", &e->train);
  put_error(out, "test", &e->test);
  fputs("<tbody>\n", out);
  for (int c = 0; c < CLASSES; c++) put_error(out, class_names[c], &e->by_class[c]);
  fprintf(out, "</table>\n<p>Training images from their first %ld principal components: %.4f; from their first %ld: %.4f.\n", e->in_use,
          remaining_after(e, e->in_use), e->components, remaining_after(e, e->components));
}

static bool write_page(const char *path, const Errors *e, const Images *test, const double *decoded, const unsigned char *label,
                       const double *drawn)
{
  FILE *out = fopen(path, "w");
  if (!out) return fail(path, "cannot be written");
  fputs(page_head, out);
  fprintf(out,
          "<h1>Fashion-MNIST, reconstructed from %ld numbers per image</h1>\n"
          "<p>The first %d test images of each class; below each, what the network decodes from the code that the inference function gives "
          "it, and "
          "the difference: <span class=\"more\">red</span> where the reconstruction has more ink, <span class=\"less\">blue</span> where "
          "it has "
          "less. %ld of the %ld numbers are in use: the others keep their prior for every image.\n",
          e->entries, SHOWN, e->in_use, e->entries);
  put_comparison(out, test, decoded, label);
  fputs("<h2>Decoded from new codes</h2>\n<p>Codes drawn from their prior, normal(0, 1); weights at their posterior "
        "means.\n<table>\n<tbody>\n",
        out);
  for (int r = 0; r < DRAWN; r++) {
    const double *image[CLASSES];
    for (int c = 0; c < CLASSES; c++) image[c] = drawn + (r * CLASSES + c) * PIXELS;
    put_row(out, "new", image, NULL);
  }
  fputs("</table>\n<h2>Mean squared error per pixel</h2>\n<p>Pixels go from 0 to 1.\n", out);
  put_errors(out, e);
  const bool ok = !ferror(out);
  return (!fclose(out) && ok) || fail(path, "cannot be written");
}

/* ---- main ---------------------------------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
  Images train = {0}, test = {0};
  PgmPosterior *posterior = NULL;
  PgmInference *train_q = NULL, *test_q = NULL;
  PgmError error;
  if (argc != 6) {
    fputs("usage: sheet FIT TRAIN.npy TEST.npy LABELS OUT.html\n", stderr);
    return 2;
  }
  unsigned char *label = NULL;
  double *train_decoded = NULL, *test_decoded = NULL, *drawn = NULL;
  bool ok = read_images(argv[2], &train) && read_images(argv[3], &test) && (label = read_labels(argv[4], test.rows));
  if (ok && bnn_open(argv[1], &posterior, &error) != PGM_OK) ok = fail("cannot load the fit", error.text);
  ok = ok && reconstruct(posterior, &train, &train_q, &train_decoded) && reconstruct(posterior, &test, &test_q, &test_decoded) &&
       (drawn = draw_images(test_q));
  Errors errors;
  ok = ok && measure(&train, train_decoded, &test, test_decoded, label, bnn_posterior_z(test_q), &errors);
  if (ok) {
    print_errors(&errors);
    ok = write_page(argv[5], &errors, &test, test_decoded, label, drawn);
  }
  free(drawn);
  free(test_decoded);
  free(train_decoded);
  pgm_inference_free(test_q);
  pgm_inference_free(train_q);
  pgm_posterior_close(posterior);
  free(label);
  free(test.pixel);
  free(train.pixel);
  return ok ? 0 : 1;
}
