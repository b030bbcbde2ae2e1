/* idx2npy: images in the IDX format of the MNIST files -> a matrix that compiled models read.
 *
 *   idx2npy IMAGES FIRST COUNT OUT.npy
 *
 * In: IMAGES, an IDX file of unsigned bytes, gzipped or not: two zero bytes, the type (8), the number of dimensions, the dimensions as
 * big-endian 32-bit numbers, the bytes (http://yann.lecun.com/exdb/mnist). Out: images FIRST .. FIRST+COUNT-1 (from 0) as the rows of an
 * .npy file of doubles (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), each pixel divided by 255.
 *
 * A model's own `--data x=IMAGES` reads IDX as well, but all of it and as it is, from 0 to 255. */
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { TYPE_BYTE = 8, MAX_RANK = 8, NPY_HEADER = 128 };

static bool fail(const char *file, const char *what)
{
  fprintf(stderr, "idx2npy: %s: %s\n", file, what);
  return false;
}

static bool read_all(gzFile in, void *bytes, size_t n)
{
  for (size_t done = 0; done < n;) {
    const unsigned piece = n - done < INT_MAX ? (unsigned)(n - done) : INT_MAX;
    const int got = gzread(in, (char *)bytes + done, piece);
    if (got <= 0) return false;
    done += (size_t)got;
  }
  return true;
}

/* Number of images and pixels of each. */
static bool read_header(gzFile in, const char *path, long *images, long *pixels)
{
  unsigned char magic[4], size[4 * MAX_RANK];
  if (!read_all(in, magic, sizeof magic) || magic[0] || magic[1] || magic[2] != TYPE_BYTE || magic[3] < 1 || magic[3] > MAX_RANK)
    return fail(path, "not an IDX file of unsigned bytes");
  if (!read_all(in, size, 4 * (size_t)magic[3])) return fail(path, "truncated");
  *images = *pixels = 1;
  for (int k = 0; k < magic[3]; k++) {
    const unsigned char *b = size + 4 * k;
    const long n = (long)b[0] << 24 | (long)b[1] << 16 | (long)b[2] << 8 | b[3];
    if (k && n > 0 && *pixels > 1000000 / n) return fail(path, "images of more than a million pixels");
    *(k ? pixels : images) *= n;
  }
  return true;
}

/* Version 1.0 of the format: magic, header length, a Python dictionary padded with blanks. */
static bool write_header(FILE *out, long rows, long columns)
{
  char header[NPY_HEADER + 1];
  memcpy(header, "\x93NUMPY\x01\x00", 8);
  header[8] = NPY_HEADER - 10;
  header[9] = 0;
  const int used =
      snprintf(header + 10, sizeof header - 10, "{'descr': '<f8', 'fortran_order': False, 'shape': (%ld, %ld), }", rows, columns);
  memset(header + 10 + used, ' ', (size_t)(NPY_HEADER - 10 - used));
  header[NPY_HEADER - 1] = '\n';
  return fwrite(header, NPY_HEADER, 1, out) == 1;
}

static bool write_double(FILE *out, double value)
{
  uint64_t bits;
  unsigned char little[8];
  memcpy(&bits, &value, sizeof bits);
  for (int i = 0; i < 8; i++) little[i] = (unsigned char)(bits >> 8 * i);
  return fwrite(little, 8, 1, out) == 1;
}

static bool convert(gzFile in, const char *path, long first, long count, FILE *out, const char *out_path)
{
  long images, pixels;
  if (!read_header(in, path, &images, &pixels)) return false;
  if (first > images || count > images - first) {
    fprintf(stderr, "idx2npy: %s: has %ld images, not %ld from number %ld on\n", path, images, count, first);
    return false;
  }
  unsigned char *image = malloc((size_t)pixels + 1);
  if (!image) return fail(path, "out of memory");
  bool ok = write_header(out, count, pixels) || fail(out_path, "cannot write");
  for (long n = 0; ok && n < first + count; n++) {
    if (!(ok = read_all(in, image, (size_t)pixels))) fail(path, "truncated");
    for (long k = 0; ok && n >= first && k < pixels; k++) ok = write_double(out, image[k] / 255.0) || fail(out_path, "cannot write");
  }
  free(image);
  return ok;
}

static bool whole_number(const char *text, long *value)
{
  char *end;
  *value = strtol(text, &end, 10);
  return *text && !*end && *value >= 0;
}

int main(int argc, char **argv)
{
  long first, count;
  if (argc != 5 || !whole_number(argv[2], &first) || !whole_number(argv[3], &count)) {
    fputs("usage: idx2npy IMAGES FIRST COUNT OUT.npy\n", stderr);
    return 2;
  }
  gzFile in = gzopen(argv[1], "rb"); /* reads files that are not gzipped as well */
  if (!in) {
    perror(argv[1]);
    return 3;
  }
  FILE *out = fopen(argv[4], "wb");
  if (!out) {
    perror(argv[4]);
    gzclose(in);
    return 3;
  }
  bool ok = convert(in, argv[1], first, count, out, argv[4]);
  gzclose(in);
  if (fclose(out) && ok) ok = fail(argv[4], "cannot write");
  if (!ok) remove(argv[4]);
  return ok ? 0 : 1;
}
