/* data.c - reads data files into named arrays of doubles. In: paths; out: PgmData. Knows nothing of models.
 *
 *   JSON   one object, as CmdStan reads it ("JSON Format for CmdStan", CmdStan User's Guide); parsed by jansson
 *   CSV    RFC 4180, header of names; Stan's spelling of inner indices ("x.1.2"); mapped into memory, read in parallel by lines
 *   .npy   NumPy's format, versions 1 to 3 (numpy.lib.format)
 *   IDX    the format of the MNIST files (http://yann.lecun.com/exdb/mnist)
 *
 * A gzipped file is inflated in memory first, whatever it holds. */
#define _GNU_SOURCE
#include "data.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static const char set_origin[] = "--set";

/* ---- the table of arrays ------------------------------------------------------------------------------------------------------------- */

PgmData *pgm_data_new(void)
{
  return calloc(1, sizeof(PgmData));
}

static void array_clear(PgmArray *a)
{
  free(a->name);
  free(a->value);
  free(a->fault);
}

void pgm_data_free(PgmData *d)
{
  if (!d) return;
  for (int i = 0; i < d->n; i++) array_clear(&d->array[i]);
  for (int i = 0; i < d->n_files; i++) free(d->files[i]);
  free(d->array);
  free(d->files);
  free(d);
}

PgmArray *pgm_data_find(const PgmData *d, const char *name)
{
  for (int i = 0; i < d->n; i++)
    if (!strcmp(d->array[i].name, name)) return &d->array[i];
  return NULL;
}

static PgmStatus out_of_memory(PgmError *error, const char *file)
{
  return pgm_fail(error, PGM_SYSTEM, "%s: out of memory", file);
}

/* The data's own copy of a file name, entered into the list of files read. */
static const char *file_name(PgmData *d, const char *path)
{
  for (int i = 0; i < d->n_files; i++)
    if (!strcmp(d->files[i], path)) return d->files[i];
  char **files = realloc(d->files, sizeof *files * (size_t)(d->n_files + 1));
  if (!files) return NULL;
  d->files = files;
  if (!(files[d->n_files] = strdup(path))) return NULL;
  return files[d->n_files++];
}

static long array_size(const PgmArray *a)
{
  long n = 1;
  for (int k = 0; k < a->rank; k++) n *= a->dim[k];
  return n;
}

/* "data.json:3", "obs.csv:1", "--set" */
static void origin(const PgmArray *a, char *buffer, size_t size)
{
  if (a->line)
    snprintf(buffer, size, "%s:%d", a->file, a->line);
  else
    snprintf(buffer, size, "%s", a->file);
}

static bool all_whole(const double *v, long n)
{
  bool whole = true;
  for (long i = 0; i < n && whole; i += 4096) {
    const long end = i + 4096 < n ? i + 4096 : n;
    int bad = 0;
    for (long j = i; j < end; j++) bad |= v[j] == v[j] && !(floor(v[j]) == v[j] && fabs(v[j]) <= DBL_MAX);
    whole = !bad;
  }
  return whole;
}

/* Takes over the members of *a, also on failure. */
static PgmStatus add_array(PgmData *d, PgmArray *a, PgmError *error)
{
  const PgmArray *other = pgm_data_find(d, a->name);
  if (other) {
    char here[600], there[600];
    origin(other, there, sizeof there);
    origin(a, here, sizeof here);
    pgm_fail(error, PGM_BAD_INPUT, "%s: '%.200s' is given a second time; it is in %s already", here, a->name, there);
    array_clear(a);
    return PGM_BAD_INPUT;
  }
  if (d->n == d->cap) {
    const int cap = d->cap ? 2 * d->cap : 16;
    PgmArray *array = realloc(d->array, sizeof *array * (size_t)cap);
    if (!array) {
      array_clear(a);
      return out_of_memory(error, a->file);
    }
    d->array = array;
    d->cap = cap;
  }
  a->integer = a->value && all_whole(a->value, array_size(a));
  d->array[d->n++] = *a;
  return PGM_OK;
}

PgmStatus pgm_data_add(PgmData *d, const char *name, int rank, const long *dim, const double *value, const char *file, PgmError *error)
{
  PgmArray a = {.name = strdup(name), .file = file_name(d, file), .rank = rank};
  for (int k = 0; k < rank; k++) a.dim[k] = dim[k];
  const size_t n = (size_t)array_size(&a);
  a.value = malloc(sizeof(double) * (n ? n : 1));
  if (!a.name || !a.file || !a.value) {
    array_clear(&a);
    return out_of_memory(error, file);
  }
  memcpy(a.value, value, sizeof(double) * n);
  return add_array(d, &a, error);
}

/* Writes "[2,3]" for entry k, counted from 1. */
static void index_text(int rank, const long *dim, long k, char *buffer, size_t size)
{
  long index[PGM_MAX_DIMS];
  size_t used = 0;
  for (int r = rank - 1; r >= 0; r--) index[r] = k % dim[r] + 1, k /= dim[r];
  buffer[0] = 0;
  for (int r = 0; r < rank && used < size; r++)
    used += (size_t)snprintf(buffer + used, size - used, "%s%ld%s", r ? "," : "[", index[r], r + 1 == rank ? "]" : "");
}

char *pgm_data_place(const PgmArray *a, long k, char *buffer, size_t size)
{
  char index[PGM_MAX_DIMS * 21 + 2] = "";
  if (a->file == set_origin) {
    snprintf(buffer, size, "--set %s", a->name);
  } else if (k >= 0 && a->from_csv) {
    long width = 1;
    for (int r = 1; r < a->rank; r++) width *= a->dim[r];
    if (a->rank > 1) {
      index_text(a->rank - 1, a->dim + 1, k % width, index, sizeof index);
      index[0] = '.';
      for (char *c = index; *c; c++)
        if (*c == ',') *c = '.';
      index[strlen(index) - 1] = 0;
    }
    snprintf(buffer, size, "%s:%ld: %s%s", a->file, a->line + 1 + k / width, a->name, index);
  } else {
    if (k >= 0 && a->rank) index_text(a->rank, a->dim, k, index, sizeof index);
    snprintf(buffer, size, "%s: %s%s", a->file, a->name, index);
  }
  return buffer;
}

/* ---- bytes of a file ----------------------------------------------------------------------------------------------------------------- */

typedef struct {
  char *p;
  size_t n;
  bool mapped;
} Bytes; /* private to us: may be written to */

static void bytes_free(Bytes *b)
{
  if (b->mapped)
    munmap(b->p, b->n);
  else
    free(b->p);
}

static PgmStatus system_error(PgmError *error, const char *path)
{
  return pgm_fail(error, PGM_SYSTEM, "%s: %s", path, strerror(errno));
}

/* What cannot be mapped: pipes and the like. */
static PgmStatus read_stream(int fd, const char *path, Bytes *out, PgmError *error)
{
  size_t cap = 1 << 16;
  char *p = malloc(cap);
  size_t n = 0;
  while (p) {
    const ssize_t got = read(fd, p + n, cap - n);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      free(p);
      return system_error(error, path);
    }
    if (!got) break;
    n += (size_t)got;
    if (n == cap) {
      char *q = realloc(p, cap *= 2);
      if (!q) free(p);
      p = q;
    }
  }
  if (!p) return out_of_memory(error, path);
  *out = (Bytes){p, n, false};
  return PGM_OK;
}

static PgmStatus inflate_bytes(const char *path, Bytes *b, PgmError *error)
{
  z_stream z = {.next_in = (Bytef *)b->p};
  size_t left = b->n, cap = 4 * b->n + 64, n = 0;
  char *p = malloc(cap);
  int code = inflateInit2(&z, 16 + MAX_WBITS); /* 16: gzip */
  if (!p || code != Z_OK) {
    free(p);
    return out_of_memory(error, path);
  }
  for (;;) {
    const uInt in = left > 1u << 30 ? 1u << 30 : (uInt)left;
    const uInt room = cap - n > 1u << 30 ? 1u << 30 : (uInt)(cap - n);
    z.avail_in = in;
    z.next_out = (Bytef *)p + n;
    z.avail_out = room;
    code = inflate(&z, Z_NO_FLUSH);
    left -= in - z.avail_in;
    n += room - z.avail_out;
    if (code == Z_STREAM_END) {
      if (!left || inflateReset(&z) != Z_OK) break; /* a gzip file may have several members */
      continue;
    }
    if (code == Z_BUF_ERROR && !left && n < cap) break; /* input ended early */
    if (code != Z_OK && code != Z_BUF_ERROR) break;
    if (n == cap) {
      char *q = realloc(p, cap *= 2);
      if (!q) {
        inflateEnd(&z);
        free(p);
        return out_of_memory(error, path);
      }
      p = q;
    }
  }
  inflateEnd(&z);
  if (code != Z_STREAM_END) {
    free(p);
    return pgm_fail(error, PGM_BAD_INPUT, "%s: %s", path,
                    code == Z_BUF_ERROR || code == Z_OK ? "the gzip data end early" : "the gzip data are damaged");
  }
  bytes_free(b);
  *b = (Bytes){p, n, false};
  return PGM_OK;
}

static PgmStatus load(const char *path, Bytes *out, PgmError *error)
{
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  PgmStatus status = PGM_OK;
  *out = (Bytes){0};
  if (fd < 0) return system_error(error, path);
  if (fstat(fd, &st)) {
    status = system_error(error, path);
  } else if (S_ISDIR(st.st_mode)) {
    status = pgm_fail(error, PGM_SYSTEM, "%s: is a directory", path);
  } else if (S_ISREG(st.st_mode) && st.st_size > 0) {
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
      status = system_error(error, path);
    else
      *out = (Bytes){p, (size_t)st.st_size, true};
  } else {
    status = read_stream(fd, path, out, error);
  }
  close(fd);
  if (!status && !out->n) {
    bytes_free(out);
    return pgm_fail(error, PGM_BAD_INPUT, "%s: the file is empty", path);
  }
  if (!status && out->n > 2 && !memcmp(out->p, "\x1f\x8b", 2) && (status = inflate_bytes(path, out, error))) bytes_free(out);
  return status;
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------------------- */

typedef enum { CELL_NUMBER, CELL_TEXT, CELL_TOO_LARGE } CellKind;

static bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

static bool spelled(const char *p, size_t n, const char *word)
{
  return strlen(word) == n && !strncasecmp(p, word, n);
}

/* Words for values that are not finite; true if it is one. */
static bool special_number(const char *p, size_t n, double *out)
{
  const bool negative = n && *p == '-', sign = n && (*p == '-' || *p == '+');
  if (spelled(p, n, "nan")) {
    *out = NAN;
    return true;
  }
  p += sign, n -= sign;
  if (!spelled(p, n, "inf") && !spelled(p, n, "infinity")) return false;
  *out = negative ? -INFINITY : INFINITY;
  return true;
}

/* The bytes [p, end) as a decimal number, correctly rounded. Up to 19 digits are taken as an integer m; m * 10^e is rounded once when both
 * are exact doubles (Clinger, PLDI 1990), and rounds correctly through a 64-bit significand unless that is next to a midpoint of doubles.
 * What remains goes to strtod. */
static CellKind number(const char *p, const char *end, double *out)
{
  static const double ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                               1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  const char *start = p;
  const bool negative = p < end && *p == '-';
  uint64_t m = 0;
  int digits = 0, scale = 0, seen = 0;
  if (p < end && (*p == '-' || *p == '+')) p++;
  for (; p < end && (unsigned)(*p - '0') < 10; p++, seen++)
    if (m || *p != '0') m = m * 10 + (unsigned)(*p - '0'), digits++;
  if (p < end && *p == '.')
    for (p++; p < end && (unsigned)(*p - '0') < 10; p++, seen++, scale--)
      if (m || *p != '0') m = m * 10 + (unsigned)(*p - '0'), digits++;
  if (!seen) return special_number(start, (size_t)(end - start), out) ? CELL_NUMBER : CELL_TEXT;
  if (p < end && (*p == 'e' || *p == 'E')) {
    const bool minus = p + 1 < end && p[1] == '-';
    int e = 0, n = 0;
    for (p += 1 + (p + 1 < end && (p[1] == '-' || p[1] == '+')); p < end && (unsigned)(*p - '0') < 10; p++, n++)
      if (e < 100000) e = e * 10 + (*p - '0');
    if (!n) return CELL_TEXT;
    scale += minus ? -e : e;
  }
  if (p != end) return CELL_TEXT;
  if (!m) {
    *out = negative ? -0. : 0.;
    return CELL_NUMBER;
  }
  if (digits <= 19 && scale >= -22 && scale <= 22) {
    double v;
    if (m <= 1ull << 53) {
      v = scale < 0 ? (double)m / ten[-scale] : (double)m * ten[scale];
      *out = negative ? -v : v;
      return CELL_NUMBER;
    }
#if LDBL_MANT_DIG == 64 && defined(__x86_64__)
    const long double w = scale < 0 ? (long double)m / (long double)ten[-scale] : (long double)m * (long double)ten[scale];
    uint64_t significand;
    memcpy(&significand, &w, sizeof significand);
    const unsigned tail = significand & 0x7ff;
    if (tail < 0x3fe || tail > 0x402) {
      v = (double)w;
      *out = negative ? -v : v;
      return CELL_NUMBER;
    }
#endif
  }
  char small[64], *copy = small;
  const size_t n = (size_t)(end - start);
  if (n >= sizeof small && !(copy = malloc(n + 1))) return CELL_TEXT;
  memcpy(copy, start, n);
  copy[n] = 0;
  *out = strtod(copy, NULL);
  if (copy != small) free(copy);
  return isinf(*out) ? CELL_TOO_LARGE : CELL_NUMBER;
}

PgmStatus pgm_data_set(PgmData *d, const char *assignment, PgmError *error)
{
  const char *eq = strchr(assignment, '=');
  double v;
  if (!eq || eq == assignment) return pgm_fail(error, PGM_BAD_USAGE, "--set %s: NAME=VALUE is expected", assignment);
  switch (number(eq + 1, eq + strlen(eq), &v)) {
  case CELL_TEXT:
    return pgm_fail(error, PGM_BAD_USAGE, "--set %s: '%s' is not a number", assignment, eq + 1);
  case CELL_TOO_LARGE:
    return pgm_fail(error, PGM_BAD_USAGE, "--set %s: the number is too large for a double", assignment);
  case CELL_NUMBER:
    break;
  }
  PgmArray a = {.name = strndup(assignment, (size_t)(eq - assignment)), .file = set_origin, .value = malloc(sizeof(double))};
  if (!a.name || !a.value) {
    array_clear(&a);
    return out_of_memory(error, set_origin);
  }
  a.value[0] = v;
  return add_array(d, &a, error);
}

/* ---- JSON ---------------------------------------------------------------------------------------------------------------------------- */

/* Bare NaN, Infinity and -Infinity become strings of the same length, of a character that text does not hold: columns stay right. */
enum { NOT_FINITE = 0x7f };

static bool word_at(const char *p, const char *end, const char *word)
{
  const size_t n = strlen(word);
  if ((size_t)(end - p) < n || memcmp(p, word, n)) return false;
  return p + n == end || !(p[n] == '_' || is_digit(p[n]) || ((p[n] | 32) >= 'a' && (p[n] | 32) <= 'z'));
}

static char *quote_word(char *p, size_t n, char second)
{
  memset(p, NOT_FINITE, n);
  p[0] = p[n - 1] = '"';
  if (second) p[2] = second;
  return p + n;
}

static void quote_not_finite(char *p, char *end)
{
  while (p < end) {
    if (*p == '"') {
      for (p++; p < end && *p != '"'; p++) p += *p == '\\' && p + 1 < end;
      p++;
    } else if (*p == 'N' && word_at(p, end, "NaN")) {
      p = quote_word(p, 3, 0);
    } else if (*p == 'I' && word_at(p, end, "Infinity")) {
      p = quote_word(p, 8, '+');
    } else if (*p == '-' && word_at(p, end, "-Infinity")) {
      p = quote_word(p, 9, '-');
    } else {
      p++;
    }
  }
}

/* Lines of the keys of the outermost object, in order; the text is known to be well formed. */
static void key_lines(const char *p, const char *end, int *lines, size_t n)
{
  int depth = 0, line = 1;
  bool key = false;
  size_t k = 0;
  for (; p < end && k < n; p++) {
    switch (*p) {
    case '\n':
      line++;
      break;
    case '{':
    case '[':
      key = ++depth == 1;
      break;
    case '}':
    case ']':
      depth--;
      break;
    case ',':
      key = depth == 1;
      break;
    case '"':
      if (key) lines[k++] = line, key = false;
      for (p++; p < end && *p != '"'; p++) p += *p == '\\';
      break;
    }
  }
}

static const char *json_kind(const json_t *j)
{
  switch (json_typeof(j)) {
  case JSON_OBJECT:
    return "an object";
  case JSON_ARRAY:
    return "an array";
  case JSON_STRING:
    return "text";
  case JSON_TRUE:
    return "true";
  case JSON_FALSE:
    return "false";
  case JSON_NULL:
    return "null";
  default:
    return "a number";
  }
}

/* A scalar of the file: numbers, null, and strings for what is not finite. */
static bool json_number(const json_t *j, double *out)
{
  if (json_is_number(j)) {
    *out = json_number_value(j);
    return true;
  }
  if (json_is_null(j)) {
    *out = NAN;
    return true;
  }
  if (!json_is_string(j)) return false;
  const char *s = json_string_value(j);
  if (s[0] == NOT_FINITE) {
    *out = !s[1] ? NAN : s[1] == '-' ? -INFINITY : INFINITY;
    return true;
  }
  return special_number(s, strlen(s), out);
}

typedef struct {
  PgmArray *a;
  double *next;
  long index[PGM_MAX_DIMS];
} Flatten;

static bool flatten_fault(Flatten *f, int depth, const char *format, ...) __attribute__((format(printf, 3, 4)));
static bool flatten_fault(Flatten *f, int depth, const char *format, ...)
{
  char what[256], place[256] = "";
  size_t used = 0;
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  for (int k = 0; k < depth && used < sizeof place; k++)
    used += (size_t)snprintf(place + used, sizeof place - used, "%s%ld%s", k ? "," : "[", f->index[k], k + 1 == depth ? "]" : "");
  if (asprintf(&f->a->fault, "%s: %s%s: %s", f->a->file, f->a->name, place, what) < 0) f->a->fault = NULL;
  return false;
}

static bool flatten(Flatten *f, const json_t *j, int depth)
{
  const PgmArray *a = f->a;
  if (depth == a->rank) {
    if (json_number(j, f->next)) {
      f->next++;
      return true;
    }
    if (json_is_array(j)) return flatten_fault(f, depth, "an array where a number is expected (rows are unequally nested)");
    if (json_is_string(j)) return flatten_fault(f, depth, "text (\"%.40s\"), not a number", json_string_value(j));
    return flatten_fault(f, depth, "%s, not a number", json_kind(j));
  }
  if (!json_is_array(j)) return flatten_fault(f, depth, "%s where an array is expected (rows are unequally nested)", json_kind(j));
  const long n = (long)json_array_size(j);
  if (n != a->dim[depth])
    return flatten_fault(f, depth, "a row of %ld where the first has %ld (rows must have equal length; pad them with null)", n,
                         a->dim[depth]);
  for (long k = 0; k < n; k++) {
    f->index[depth] = k + 1;
    if (!flatten(f, json_array_get(j, (size_t)k), depth + 1)) return false;
  }
  return true;
}

/* Fills rank, dim and value, or fault. False: out of memory. */
static bool array_from_json(PgmArray *a, const json_t *j)
{
  Flatten f = {.a = a};
  double count = 1;
  for (const json_t *row = j; row && json_is_array(row); row = json_array_get(row, 0)) {
    if (a->rank == PGM_MAX_DIMS) {
      flatten_fault(&f, 0, "nested deeper than %d arrays", PGM_MAX_DIMS);
      return a->fault != NULL;
    }
    a->dim[a->rank++] = (long)json_array_size(row);
    count *= (double)a->dim[a->rank - 1];
  }
  if (count > 1e15) { /* more than any file holds: [[], [], ...] aside, rows differ in length */
    flatten_fault(&f, 0, "rows are of unequal length");
    return a->fault != NULL;
  }
  a->value = f.next = malloc(sizeof(double) * (size_t)(count > 0 ? count : 1));
  if (!a->value) return false;
  if (flatten(&f, j, 0)) return true;
  free(a->value);
  a->value = NULL;
  return a->fault != NULL;
}

/* Parses the bytes; NULL with the error set. */
static json_t *json_parse(Bytes *b, const char *path, PgmError *error)
{
  json_error_t e;
  quote_not_finite(b->p, b->p + b->n);
  const size_t bom = b->n >= 3 && !memcmp(b->p, "\xef\xbb\xbf", 3) ? 3 : 0;
  json_t *root = json_loadb(b->p + bom, b->n - bom, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &e);
  if (root) return root;
  char *marker = strchr(e.text, NOT_FINITE);
  if (marker) *marker = 0;
  const char *text = !strncmp(e.text, "'[' or '{' expected", 19) ? "no JSON object starts here" : e.text;
  if (json_error_code(&e) == json_error_numeric_overflow)
    pgm_fail(error, PGM_BAD_INPUT, "%s:%d:%d: the number is too large for a double", path, e.line, e.column);
  else
    pgm_fail(error, json_error_code(&e) == json_error_out_of_memory ? PGM_SYSTEM : PGM_BAD_INPUT, "%s:%d:%d: %s", path, e.line, e.column,
             text);
  return NULL;
}

static PgmStatus read_json(PgmData *d, const char *path, Bytes *b, PgmError *error)
{
  const char *file = file_name(d, path);
  json_t *root = json_parse(b, path, error);
  if (!root) return error ? error->status : PGM_BAD_INPUT;
  PgmStatus status = PGM_OK;
  int *lines = NULL;
  if (!json_is_object(root)) {
    status = pgm_fail(error, PGM_BAD_INPUT, "%s: an array, not an object of names; --data NAME=%s gives it a name", path, path);
  } else if (!file || !(lines = calloc(json_object_size(root) + 1, sizeof *lines))) {
    status = out_of_memory(error, path);
  } else {
    const char *key;
    json_t *value;
    size_t k = 0;
    key_lines(b->p, b->p + b->n, lines, json_object_size(root));
    json_object_foreach(root, key, value)
    {
      PgmArray a = {.name = strdup(key), .file = file, .line = lines[k++]};
      if (!a.name || !array_from_json(&a, value)) {
        array_clear(&a);
        status = out_of_memory(error, path);
      } else {
        status = add_array(d, &a, error);
      }
      if (status) break;
    }
  }
  free(lines);
  json_decref(root);
  return status;
}

static PgmStatus read_json_named(PgmData *d, const char *name, const char *path, Bytes *b, PgmError *error)
{
  json_t *root = json_parse(b, path, error), *value = root;
  PgmStatus status = PGM_OK;
  if (!root) return error ? error->status : PGM_BAD_INPUT;
  if (json_is_object(root)) {
    if (json_object_size(root) == 1)
      value = json_object_iter_value(json_object_iter(root));
    else
      status = pgm_fail(error, PGM_BAD_INPUT, "%s: holds %zu names; --data %s=%s needs a file of one array", path, json_object_size(root),
                        name, path);
  }
  if (!status) {
    PgmArray a = {.name = strdup(name), .file = file_name(d, path)};
    if (!a.name || !a.file || !array_from_json(&a, value)) {
      array_clear(&a);
      status = out_of_memory(error, path);
    } else {
      status = add_array(d, &a, error);
    }
  }
  json_decref(root);
  return status;
}

/* ---- CSV ----------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  char *name; /* as in the header; base name: the first `base` bytes */
  size_t base;
  int n_index;
  long index[PGM_MAX_DIMS];
  int array; /* among those of this file; -1: column without a name */
  double *value;
  long stride; /* where row 0 goes, doubles from row to row */
} Column;

typedef struct {
  long row, cells;
} RaggedLine; /* row -1: none */
typedef struct {
  long row;
  CellKind kind;
} ColumnFault; /* row -1: none */

/* Splits "x.1.2" into x and 1, 2. */
static void column_split(Column *c)
{
  size_t end = strlen(c->name);
  long index[PGM_MAX_DIMS];
  int n = 0;
  for (;;) {
    size_t at = end;
    while (at > 0 && is_digit(c->name[at - 1])) at--;
    if (at == end || at < 2 || c->name[at - 1] != '.' || n == PGM_MAX_DIMS - 1 || end - at > 9) break;
    index[n] = strtol(c->name + at, NULL, 10);
    if (index[n++] < 1) {
      n = 0;
      end = strlen(c->name);
      break;
    }
    end = at - 1;
  }
  c->base = end;
  c->n_index = n;
  for (int k = 0; k < n; k++) c->index[k] = index[n - 1 - k];
}

/* One cell: returns its bytes without blanks and quotes around them (a doubled quote inside stays doubled) and moves *p behind the cell,
 * onto ',' or '\n' or the end. */
static const char *next_cell(const char **p, const char *end, const char **cell_end)
{
  const char *s = *p, *start;
  while (s < end && (*s == ' ' || *s == '\t')) s++;
  start = s;
  if (s < end && *s == '"') {
    for (start = ++s; s < end && (*s != '"' || (s + 1 < end && s[1] == '"')); s++) s += *s == '"';
    *cell_end = s;
    while (s < end && *s != ',' && *s != '\n') s++;
  } else {
    while (s < end && *s != ',' && *s != '\n') s++;
    *cell_end = s;
  }
  *p = s;
  while (*cell_end > start && ((*cell_end)[-1] == ' ' || (*cell_end)[-1] == '\t' || (*cell_end)[-1] == '\r')) --*cell_end;
  return start;
}

static PgmStatus csv_header(const char **p, const char *end, const char *path, int *line, Column **columns, int *n_columns, PgmError *error)
{
  Column *c = NULL;
  int n = 0, cap = 0;
  if (end - *p >= 3 && !memcmp(*p, "\xef\xbb\xbf", 3)) *p += 3;
  for (*line = 1; *p < end && (**p == '#' || **p == '\n' || **p == '\r'); (*line)++) { /* comments, as in Stan's CSV */
    const char *eol = memchr(*p, '\n', (size_t)(end - *p));
    *p = eol ? eol + 1 : end;
  }
  if (*p == end) return pgm_fail(error, PGM_BAD_INPUT, "%s: no header of names", path);
  for (;;) {
    const char *cell_end, *cell = next_cell(p, end, &cell_end);
    if (n == cap) {
      Column *grown = realloc(c, sizeof *c * (size_t)(cap = cap ? 2 * cap : 16));
      if (!grown) goto memory;
      c = grown;
    }
    c[n] = (Column){.name = strndup(cell, (size_t)(cell_end - cell)), .array = -1};
    if (!c[n].name) goto memory;
    column_split(&c[n++]);
    if (*p == end || **p != ',') break;
    (*p)++;
  }
  *p += *p < end;
  *columns = c;
  *n_columns = n;
  return PGM_OK;
memory:
  for (int k = 0; k < n; k++) free(c[k].name);
  free(c);
  return out_of_memory(error, path);
}

/* Groups columns into arrays: x.1, x.2, ... are one. `arrays` has room for one per column. */
static PgmStatus csv_arrays(Column *c, int n, const char *path, const char *file, int line, PgmArray *arrays, int *n_arrays,
                            PgmError *error)
{
  int count = 0;
  for (int k = 0; k < n; k++) {
    double v;
    if (!c[k].base) continue; /* row names, as R and pandas write them */
    if (n == 1 && strpbrk(c[k].name, ";\t"))
      return pgm_fail(error, PGM_BAD_INPUT, "%s:%d: cells must be separated by commas; the header is '%.60s'", path, line, c[k].name);
    if (number(c[k].name, c[k].name + strlen(c[k].name), &v) == CELL_NUMBER && !isnan(v))
      return pgm_fail(error, PGM_BAD_INPUT, "%s:%d: the first line must hold names; its cell %d is '%.60s'", path, line, k + 1, c[k].name);
    int a = count; /* neighbours first: blocks of thousands of columns are common */
    if (k && c[k - 1].array >= 0 && c[k - 1].base == c[k].base && !memcmp(c[k - 1].name, c[k].name, c[k].base))
      a = c[k - 1].array;
    else
      for (a = 0; a < count; a++)
        if (strlen(arrays[a].name) == c[k].base && !memcmp(arrays[a].name, c[k].name, c[k].base)) break;
    if (a == count) {
      arrays[count] =
          (PgmArray){.name = strndup(c[k].name, c[k].base), .file = file, .line = line, .rank = 1 + c[k].n_index, .from_csv = true};
      if (!arrays[count++].name) return out_of_memory(error, path);
    } else if (!c[k].n_index && arrays[a].rank == 1) {
      return pgm_fail(error, PGM_BAD_INPUT, "%s:%d: two columns are named '%s'", path, line, c[k].name);
    } else if (arrays[a].rank != 1 + c[k].n_index) {
      return pgm_fail(error, PGM_BAD_INPUT, "%s:%d: column '%s' does not go with the other columns of '%s'", path, line, c[k].name,
                      arrays[a].name);
    }
    for (int r = 0; r < c[k].n_index; r++)
      if (c[k].index[r] > arrays[a].dim[1 + r]) arrays[a].dim[1 + r] = c[k].index[r];
    c[k].array = a;
  }
  *n_arrays = count;
  return PGM_OK;
}

/* Places every column in its array's rows; every index of a block must occur once. */
static PgmStatus csv_columns(Column *c, int n, const char *path, int line, PgmArray *arrays, int n_arrays, long rows, PgmError *error)
{
  PgmStatus status = PGM_OK;
  for (int a = 0; a < n_arrays && !status; a++) {
    double width = 1;
    long columns = 0;
    arrays[a].dim[0] = rows;
    for (int r = 1; r < arrays[a].rank; r++) width *= (double)arrays[a].dim[r];
    for (int k = 0; k < n; k++) columns += c[k].array == a;
    unsigned char *seen = columns == width ? calloc((size_t)columns, 1) : NULL;
    if (columns == width && !(arrays[a].value = malloc(sizeof(double) * (size_t)(rows * columns > 0 ? rows * columns : 1))))
      status = PGM_SYSTEM;
    if (columns == width && (!seen || status)) {
      free(seen);
      return out_of_memory(error, path);
    }
    for (int k = 0; k < n && seen && !status; k++) {
      if (c[k].array != a) continue;
      long at = 0;
      for (int r = 0; r < c[k].n_index; r++) at = at * arrays[a].dim[1 + r] + c[k].index[r] - 1;
      if (seen[at]++) status = pgm_fail(error, PGM_BAD_INPUT, "%s:%d: two columns are named '%s'", path, line, c[k].name);
      c[k].value = arrays[a].value + at;
      c[k].stride = columns;
    }
    if (!seen)
      status = pgm_fail(error, PGM_BAD_INPUT, "%s:%d: the columns of '%s' reach up to index %.0f, but there are %ld of them", path, line,
                        arrays[a].name, width, columns);
    free(seen);
  }
  return status;
}

/* Reads the lines [p, end) as rows from `row` on. `fault` has one entry per column. */
static void csv_rows(const char *p, const char *end, long row, const Column *c, int n, RaggedLine *ragged, ColumnFault *fault)
{
  ragged->row = -1;
  for (int k = 0; k < n; k++) fault[k].row = -1;
  for (; p < end; row++) {
    int k = 0;
    for (;; k++) {
      const char *cell_end, *cell = next_cell(&p, end, &cell_end);
      if (k < n && c[k].array >= 0) {
        double v = NAN;
        if (cell != cell_end && !(cell_end - cell == 2 && cell[0] == 'N' && cell[1] == 'A')) {
          const CellKind kind = number(cell, cell_end, &v);
          if (kind != CELL_NUMBER && fault[k].row < 0) fault[k] = (ColumnFault){row, kind};
        }
        c[k].value[row * c[k].stride] = v;
      }
      if (p == end || *p != ',') break;
      p++;
    }
    if (k + 1 != n && ragged->row < 0) {
      *ragged = (RaggedLine){row, k + 1};
      return;
    }
    p += p < end;
  }
}

static long count_lines(const char *p, const char *end)
{
  long n = 0;
  for (const char *q; p < end && (q = memchr(p, '\n', (size_t)(end - p))); p = q + 1) n++;
  return n;
}

/* With quotes a line break need not end a row: such files are read in one piece. */
static long count_rows_quoted(const char *p, const char *end)
{
  long n = 0;
  for (const char *cell_end; p < end; p++) {
    next_cell(&p, end, &cell_end);
    n += p < end && *p == '\n';
  }
  return n;
}

/* The text of the cell at fault, for the message. */
static void csv_cell_text(const char *p, const char *end, long row, int column, char *buffer, size_t size)
{
  for (long r = 0;; r++) {
    for (int k = 0;; k++) {
      const char *cell_end, *cell = next_cell(&p, end, &cell_end);
      if (r == row && k == column) {
        snprintf(buffer, size, "%.*s", (int)(cell_end - cell > 40 ? 40 : cell_end - cell), cell);
        return;
      }
      if (p == end || *p != ',') break;
      p++;
    }
    if (p == end) break;
    p++;
  }
  buffer[0] = 0;
}

enum { CSV_CHUNK = 1 << 20 };

static PgmStatus csv_body(const char *p, const char *end, const char *path, int line, Column *c, int n, PgmArray *arrays, int n_arrays,
                          PgmError *error)
{
  while (end > p && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == ' ')) end--; /* blank lines at the end */
  const bool quoted = memchr(p, '"', (size_t)(end - p)) != NULL;
  long chunks = quoted ? 1 : (end - p) / CSV_CHUNK + 1, rows = 0;
  const char **start = malloc(sizeof *start * (size_t)(chunks + 1));
  long *first = malloc(sizeof *first * (size_t)(chunks + 1));
  RaggedLine *ragged = malloc(sizeof *ragged * (size_t)chunks);
  ColumnFault *fault = malloc(sizeof *fault * (size_t)chunks * (size_t)n);
  PgmStatus status = PGM_OK;
  if (!start || !first || !ragged || !fault) {
    status = out_of_memory(error, path);
    goto done;
  }
  start[0] = p;
  for (long k = 1; k < chunks; k++) {
    const char *q = memchr(p + k * CSV_CHUNK, '\n', (size_t)(end - p - k * CSV_CHUNK));
    start[k] = q ? q + 1 : end;
    if (start[k] < start[k - 1]) start[k] = start[k - 1];
  }
  start[chunks] = end;
#pragma omp parallel for schedule(dynamic, 1) if (chunks > 1)
  for (long k = 0; k < chunks; k++) first[k] = quoted ? count_rows_quoted(start[k], start[k + 1]) : count_lines(start[k], start[k + 1]);
  for (long k = 0; k < chunks; k++) {
    const long lines = first[k];
    first[k] = rows;
    rows += lines;
  }
  rows += p < end; /* the last line has no break any more */
  if ((status = csv_columns(c, n, path, line, arrays, n_arrays, rows, error))) goto done;
#pragma omp parallel for schedule(dynamic, 1) if (chunks > 1)
  for (long k = 0; k < chunks; k++) csv_rows(start[k], start[k + 1], first[k], c, n, &ragged[k], fault + k * n);
  for (long k = 0; k < chunks && !status; k++)
    if (ragged[k].row >= 0)
      status = pgm_fail(error, PGM_BAD_INPUT, "%s:%ld: %ld cell%s, but the header has %d", path, line + 1 + ragged[k].row, ragged[k].cells,
                        ragged[k].cells == 1 ? "" : "s", n);
  for (int k = 0; k < n && !status; k++) {
    long chunk = 0;
    while (chunk < chunks && fault[chunk * n + k].row < 0) chunk++;
    if (chunk == chunks || arrays[c[k].array].fault) continue;
    const ColumnFault *f = &fault[chunk * n + k];
    char text[48];
    PgmArray *a = &arrays[c[k].array];
    csv_cell_text(p, end, f->row, k, text, sizeof text);
    const int made = f->kind == CELL_TEXT
                         ? asprintf(&a->fault, "%s:%ld: %s: '%s' is not a number", path, line + 1 + f->row, c[k].name, text)
                         : asprintf(&a->fault, "%s:%ld: %s: %s is too large for a double", path, line + 1 + f->row, c[k].name, text);
    if (made < 0) {
      a->fault = NULL;
      status = out_of_memory(error, path);
    }
    free(a->value);
    a->value = NULL;
  }
done:
  free(start);
  free(first);
  free(ragged);
  free(fault);
  return status;
}

/* `name`: the file must hold one array, which gets this name; NULL: all under their own. */
static PgmStatus read_csv(PgmData *d, const char *name, const char *path, Bytes *b, PgmError *error)
{
  const char *p = b->p, *end = b->p + b->n;
  Column *c = NULL;
  PgmArray *arrays = NULL;
  int n = 0, n_arrays = 0, line = 0, taken = 0;
  const char *file = file_name(d, path);
  if (!memchr(b->p, '\n', b->n)) /* old Macintosh files end lines with a carriage return alone */
    for (size_t i = 0; i < b->n; i++)
      if (b->p[i] == '\r') b->p[i] = '\n';
  PgmStatus status = csv_header(&p, end, path, &line, &c, &n, error);
  if (status) return status;
  arrays = calloc((size_t)n, sizeof *arrays);
  if (!arrays || !file) status = out_of_memory(error, path);
  if (!status) status = csv_arrays(c, n, path, file, line, arrays, &n_arrays, error);
  if (!status && name && n_arrays != 1)
    status = pgm_fail(error, PGM_BAD_INPUT, "%s: holds %d names; --data %s=%s needs a file of one array", path, n_arrays, name, path);
  if (!status) status = csv_body(p, end, path, line, c, n, arrays, n_arrays, error);
  if (!status && name) {
    free(arrays[0].name);
    if (!(arrays[0].name = strdup(name))) status = out_of_memory(error, path);
  }
  for (; taken < n_arrays && !status; taken++) status = add_array(d, &arrays[taken], error);
  for (int a = taken; a < n && arrays; a++) array_clear(&arrays[a]);
  for (int k = 0; k < n; k++) free(c[k].name);
  free(arrays);
  free(c);
  return status;
}

/* ---- binary arrays ------------------------------------------------------------------------------------------------------------------- */

static double half(uint16_t h)
{
  const int e = h >> 10 & 31, m = h & 1023;
  const double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
  return h >> 15 ? -v : v;
}

/* Numbers of one machine type, unaligned, to doubles. */
#define CONVERT(type)                                                                                                                      \
  for (long i = 0; i < n; i++) {                                                                                                           \
    type v;                                                                                                                                \
    memcpy(&v, p + i * (long)sizeof v, sizeof v);                                                                                          \
    out[i] = (double)v;                                                                                                                    \
  }                                                                                                                                        \
  return

/* kind: 'f', 'i', 'u', 'b'. The caller has checked the combination with native_size. */
static void convert(const char *p, long n, char kind, int size, double *out)
{
  switch (kind == 'f' ? 16 + size : kind == 'i' ? size : 32 + size) {
  case 1:
    CONVERT(int8_t);
  case 2:
    CONVERT(int16_t);
  case 4:
    CONVERT(int32_t);
  case 8:
    CONVERT(int64_t);
  case 20:
    CONVERT(float);
  case 24:
    memcpy(out, p, sizeof *out * (size_t)n);
    return;
  case 33:
    CONVERT(uint8_t);
  case 34:
    CONVERT(uint16_t);
  case 36:
    CONVERT(uint32_t);
  case 40:
    CONVERT(uint64_t);
  }
  for (long i = 0; i < n; i++) {
    uint16_t h;
    memcpy(&h, p + 2 * i, sizeof h);
    out[i] = half(h);
  }
}

static bool native_size(char kind, int size)
{
  if (kind == 'f') return size == 2 || size == 4 || size == 8;
  if (kind == 'b') return size == 1;
  return (kind == 'i' || kind == 'u') && (size == 1 || size == 2 || size == 4 || size == 8);
}

/* The bytes available for an array of `count` (a product that may have overflowed the integers) numbers. */
static PgmStatus check_length(const char *path, double count, int size, size_t have, PgmError *error)
{
  if (count * size == (double)have) return PGM_OK;
  return pgm_fail(error, PGM_BAD_INPUT, "%s: %s: the header announces %.0f bytes of numbers, the file has %zu", path,
                  count * size > (double)have ? "truncated" : "too long", count * size, have);
}

static PgmStatus add_binary(PgmData *d, const char *name, const char *path, int rank, const long *dim, double *value, PgmError *error)
{
  PgmArray a = {.name = strdup(name), .file = file_name(d, path), .rank = rank, .value = value};
  for (int k = 0; k < rank; k++) a.dim[k] = dim[k];
  if (!a.name || !a.file) {
    array_clear(&a);
    return out_of_memory(error, path);
  }
  return add_array(d, &a, error);
}

/* Value of a key in the header's Python dictionary, a pointer behind "'key':". */
static const char *npy_key(const char *header, const char *key)
{
  char quoted[32];
  snprintf(quoted, sizeof quoted, "'%s'", key);
  const char *at = strstr(header, quoted);
  if (!at) return NULL;
  at += strlen(quoted);
  while (*at == ' ' || *at == ':') at++;
  return at;
}

static double *row_major(const double *in, int rank, const long *dim, long count)
{
  double *out = malloc(sizeof *out * (size_t)(count ? count : 1));
  long index[PGM_MAX_DIMS] = {0}, stride[PGM_MAX_DIMS], at = 0;
  if (!out) return NULL;
  for (int k = 0; k < rank; k++) stride[k] = k ? stride[k - 1] * dim[k - 1] : 1;
  for (long i = 0; i < count; i++) {
    out[i] = in[at];
    for (int k = rank - 1; k >= 0; k--) {
      at += stride[k];
      if (++index[k] < dim[k]) break;
      at -= stride[k] * dim[k];
      index[k] = 0;
    }
  }
  return out;
}

static PgmStatus read_npy(PgmData *d, const char *name, const char *path, const Bytes *b, PgmError *error)
{
  const unsigned char *u = (const unsigned char *)b->p;
  const size_t prefix = b->n > 6 && u[6] >= 2 ? 12 : 10;
  if (b->n < prefix) return pgm_fail(error, PGM_BAD_INPUT, "%s: truncated", path);
  if (u[6] < 1 || u[6] > 3) return pgm_fail(error, PGM_BAD_INPUT, "%s: version %d of the .npy format is not known", path, u[6]);
  size_t length = u[8] | (size_t)u[9] << 8;
  if (prefix == 12) length |= (size_t)u[10] << 16 | (size_t)u[11] << 24;
  if (b->n - prefix < length) return pgm_fail(error, PGM_BAD_INPUT, "%s: truncated", path);
  char *header = strndup(b->p + prefix, length);
  if (!header) return out_of_memory(error, path);

  const char *descr = npy_key(header, "descr"), *fortran = npy_key(header, "fortran_order"), *shape = npy_key(header, "shape");
  char kind = 0, order = 0;
  int size = 0, rank = 0;
  long dim[PGM_MAX_DIMS];
  double count = 1;
  PgmStatus status = PGM_OK;
  if (!descr || !fortran || !shape || *shape != '(') {
    status = pgm_fail(error, PGM_BAD_INPUT, "%s: the .npy header is damaged", path);
  } else if (sscanf(descr, "'%c%c%d'", &order, &kind, &size) != 3 || !(order == '<' || order == '=' || (order == '|' && size == 1)) ||
             !native_size(kind, size)) {
    status = pgm_fail(error, PGM_BAD_INPUT, "%s: numbers of type %.*s cannot be read; save real or integer numbers, little-endian", path,
                      (int)strcspn(descr, ","), descr);
  }
  for (const char *s = shape ? shape + 1 : ""; !status && *s != ')';) {
    char *after;
    const long n = strtol(s, &after, 10);
    if (after == s || n < 0 || rank == PGM_MAX_DIMS) {
      status = pgm_fail(error, PGM_BAD_INPUT, "%s: %s", path, rank == PGM_MAX_DIMS ? "too many dimensions" : "the .npy header is damaged");
    } else {
      dim[rank++] = n;
      count *= (double)n;
      for (s = after; *s == ',' || *s == ' ' || *s == 'L'; s++) {
      }
    }
  }
  if (!status) status = check_length(path, count, size, b->n - prefix - length, error);
  const bool transpose = !status && !strncmp(fortran, "True", 4) && rank > 1;
  free(header);
  if (status) return status;

  double *value = malloc(sizeof *value * (size_t)(count > 0 ? count : 1));
  if (!value) return out_of_memory(error, path);
  convert(b->p + prefix + length, (long)count, kind, size, value);
  if (transpose) {
    double *rows = row_major(value, rank, dim, (long)count);
    free(value);
    if (!(value = rows)) return out_of_memory(error, path);
  }
  return add_binary(d, name, path, rank, dim, value, error);
}

static PgmStatus read_idx(PgmData *d, const char *name, const char *path, Bytes *b, PgmError *error)
{
  unsigned char *u = (unsigned char *)b->p;
  const int rank = u[3];
  const size_t prefix = 4 + 4 * (size_t)rank;
  static const struct {
    unsigned char code;
    char kind;
    int size;
  } types[] = {{0x08, 'u', 1}, {0x09, 'i', 1}, {0x0b, 'i', 2}, {0x0c, 'i', 4}, {0x0d, 'f', 4}, {0x0e, 'f', 8}};
  int t = 0;
  while (types[t].code != u[2]) t++; /* is_idx has looked */
  if (b->n < prefix) return pgm_fail(error, PGM_BAD_INPUT, "%s: truncated", path);
  long dim[2] = {1, 1};
  double count = 1;
  for (int k = 0; k < rank; k++) {
    const unsigned char *at = u + 4 + 4 * k;
    const long n = (long)at[0] << 24 | (long)at[1] << 16 | (long)at[2] << 8 | at[3];
    if (k && (double)dim[1] * (double)n > 1e15) return pgm_fail(error, PGM_BAD_INPUT, "%s: the IDX header is damaged", path);
    dim[k ? 1 : 0] *= n;
    count *= (double)n;
  }
  PgmStatus status = check_length(path, count, types[t].size, b->n - prefix, error);
  if (status) return status;
  for (unsigned char *p = u + prefix, *end = u + b->n; types[t].size > 1 && p < end; p += types[t].size) /* the file is big-endian */
    for (int i = 0, j = types[t].size - 1; i < j; i++, j--) {
      const unsigned char swap = p[i];
      p[i] = p[j];
      p[j] = swap;
    }
  double *value = malloc(sizeof *value * (size_t)(count > 0 ? count : 1));
  if (!value) return out_of_memory(error, path);
  convert(b->p + prefix, (long)count, types[t].kind, types[t].size, value);
  return add_binary(d, name, path, rank > 2 ? 2 : rank, dim, value, error);
}

static bool is_idx(const Bytes *b)
{
  const unsigned char *u = (const unsigned char *)b->p;
  return b->n >= 4 && !u[0] && !u[1] && u[3] >= 1 && ((u[2] >= 0x08 && u[2] <= 0x09) || (u[2] >= 0x0b && u[2] <= 0x0e));
}

/* ---- files --------------------------------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *path, const char *ending)
{
  size_t n = strlen(path), m = strlen(ending);
  if (n > 3 && !strcasecmp(path + n - 3, ".gz")) n -= 3;
  return n >= m && !strncasecmp(path + n - m, ending, m);
}

PgmStatus pgm_data_read(PgmData *d, const char *path, PgmError *error)
{
  Bytes b;
  PgmStatus status = load(path, &b, error);
  if (status) return status;
  if (ends_with(path, ".json"))
    status = read_json(d, path, &b, error);
  else if (ends_with(path, ".csv"))
    status = read_csv(d, NULL, path, &b, error);
  else
    status = pgm_fail(error, PGM_BAD_USAGE, "%s: data files are called .json or .csv; --data NAME=%s reads a single array (.npy, IDX)",
                      path, path);
  bytes_free(&b);
  return status;
}

PgmStatus pgm_data_read_named(PgmData *d, const char *name, const char *path, PgmError *error)
{
  Bytes b;
  PgmStatus status = load(path, &b, error);
  if (status) return status;
  if (b.n >= 8 && !memcmp(b.p, "\x93NUMPY", 6))
    status = read_npy(d, name, path, &b, error);
  else if (is_idx(&b))
    status = read_idx(d, name, path, &b, error);
  else if (ends_with(path, ".json"))
    status = read_json_named(d, name, path, &b, error);
  else if (ends_with(path, ".csv"))
    status = read_csv(d, name, path, &b, error);
  else
    status = pgm_fail(error, PGM_BAD_INPUT, "%s: neither .npy, IDX, .json nor .csv", path);
  bytes_free(&b);
  return status;
}
