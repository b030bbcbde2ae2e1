/* data.c - reads data files into named arrays of doubles. In: paths; out: PgmData. Knows nothing of models.
 *
 *   JSON   one object, as CmdStan reads it ("JSON Format for CmdStan", CmdStan User's Guide); parsed by jansson
 *   CSV    RFC 4180, header of names; Stan's spelling of inner indices ("x.1.2"); mapped into memory, read in parallel by lines
 *   .npy   NumPy's format, versions 1 to 3 (numpy.lib.format); large arrays of doubles stay where they are, in the mapped file
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
enum { STAYS_MAPPED = 1 << 20 }; /* bytes of a .npy file from which on its numbers are not copied */

/* ---- the table of arrays ------------------------------------------------------------------------------------------------------------- */

PgmData *pgm_data_new(void)
{
  return calloc(1, sizeof(PgmData));
}

static void array_clear(PgmArray *a)
{
  free(a->name);
  if (a->map)
    munmap(a->map, a->map_size);
  else
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

/* The pages between two places of an unchanged file are not needed for now: the system may read them again. */
static void release(const char *from, const char *to)
{
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = ((uintptr_t)from + page - 1) / page * page,
                  last = (uintptr_t)to / page * page;
  if (first < last) madvise((void *)first, last - first, MADV_DONTNEED);
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

/* How often a byte occurs; a loop that is vectorised, since most lines are short. */
static long count_byte(const char *p, const char *end, char byte)
{
  long n = 0;
  while (p < end) {
    const char *const stop = end - p > 4096 ? p + 4096 : end;
    unsigned some = 0;
    for (; p < stop; p++) some += *p == byte;
    n += some;
  }
  return n;
}

static long count_lines(const char *p, const char *end)
{
  return count_byte(p, end, '\n');
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

/* Eight digits at a time, in one word (Lemire 2021, "Number parsing at a gigabyte per second"); 0 bytes read where they are not. */
static inline int eight_digits(const char *p, const char *end, uint64_t *m)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  uint64_t v;
  if (end - p < 8) return 0;
  memcpy(&v, p, sizeof v);
  if (((v & 0xf0f0f0f0f0f0f0f0) | (((v + 0x0606060606060606) & 0xf0f0f0f0f0f0f0f0) >> 4)) != 0x3333333333333333) return 0;
  v -= 0x3030303030303030;
  v = v * 10 + (v >> 8); /* pairs of digits */
  v = ((v & 0x000000ff000000ff) * 0x000f424000000064 + ((v >> 16) & 0x000000ff000000ff) * 0x0000271000000001) >> 32;
  *m = *m * 100000000 + (uint32_t)v;
  return 8;
#else
  (void)p, (void)end, (void)m;
  return 0;
#endif
}

/* Appends digits to m, which may overflow: the caller counts them. */
static inline const char *scan_digits(const char *p, const char *end, uint64_t *m)
{
  for (int n; (n = eight_digits(p, end, m));) p += n;
  for (; p < end && is_digit(*p); p++) *m = *m * 10 + (unsigned)(*p - '0');
  return p;
}

static inline const char *skip_zeros(const char *p, const char *end)
{
  while (p < end && *p == '0') p++;
  return p;
}

/* m * 10^scale with m of `digits` digits, correctly rounded; false when that takes more than a few instructions. It is rounded once when
 * both factors are exact doubles (Clinger, PLDI 1990), and through a 64-bit significand unless that is next to a midpoint of doubles. */
static inline bool quick_number(uint64_t m, long digits, long scale, double *out)
{
  static const double ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                               1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  if (digits > 19 || scale < -22 || scale > 22) return false;
  if (m <= 1ull << 53) {
    *out = scale < 0 ? (double)m / ten[-scale] : (double)m * ten[scale];
    return true;
  }
#if LDBL_MANT_DIG == 64 && defined(__x86_64__)
  const long double w = scale < 0 ? (long double)m / (long double)ten[-scale] : (long double)m * (long double)ten[scale];
  uint64_t significand;
  memcpy(&significand, &w, sizeof significand);
  const unsigned tail = significand & 0x7ff;
  *out = (double)w;
  return tail < 0x3fe || tail > 0x402;
#else
  return false;
#endif
}

/* Reads the longest decimal number at p; returns its end, NULL when there is none. `json`: in JSON's grammar, which is narrower (no sign
 * but minus, no superfluous zeros, digits on both sides of the point). Too large: infinity. */
static inline const char *scan_number(const char *p, const char *end, bool json, double *out)
{
  const char *const start = p;
  const bool negative = p < end && *p == '-';
  uint64_t m = 0;
  long digits, scale = 0;
  p += negative || (!json && p < end && *p == '+');
  const char *const whole = p, *first = skip_zeros(p, end), *point;
  point = p = scan_digits(first, end, &m);
  digits = p - first;
  if (json && (p == whole || (first > whole && p > whole + 1))) return NULL;
  bool seen = p > whole;
  if (p < end && *p == '.') {
    first = digits ? p + 1 : skip_zeros(p + 1, end);
    p = scan_digits(first, end, &m);
    digits += p - first;
    scale = point + 1 - p;
    if (json && !scale) return NULL;
    seen |= scale < 0;
  }
  if (!seen) return NULL;
  if (p < end && (*p == 'e' || *p == 'E')) {
    const bool sign = p + 1 < end && (p[1] == '-' || p[1] == '+'), minus = sign && p[1] == '-';
    const char *exponent = p + 1 + sign;
    long e = 0;
    for (p = exponent; p < end && is_digit(*p); p++)
      if (e < 100000) e = e * 10 + (*p - '0');
    if (p == exponent) return NULL;
    scale += minus ? -e : e;
  }
  if (quick_number(m, digits, scale, out)) {
    if (negative) *out = -*out;
    return p;
  }
  char small[64], *copy = small;
  const size_t n = (size_t)(p - start);
  if (n >= sizeof small && !(copy = malloc(n + 1))) return NULL;
  memcpy(copy, start, n);
  copy[n] = 0;
  *out = strtod(copy, NULL);
  if (copy != small) free(copy);
  return p;
}

/* The bytes [p, end) as a number. */
static CellKind number(const char *p, const char *end, double *out)
{
  const char *after = scan_number(p, end, false, out);
  if (after == end) return isinf(*out) ? CELL_TOO_LARGE : CELL_NUMBER;
  return !after && special_number(p, (size_t)(end - p), out) ? CELL_NUMBER : CELL_TEXT;
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

/* What is known of a member of the outermost object before jansson has seen it. */
typedef struct {
  int line;
  int rank;
  long dim[PGM_MAX_DIMS];
  double *value; /* a regular array of numbers, read already; NULL: left to jansson */
} Member;

/* The text that jansson parses: the file's, with a short stand-in for every array that has been read already. */
typedef struct {
  const char *file; /* the file's text */
  size_t file_size;
  Member *member;
  size_t n_members, members_cap;
  struct Cut {
    size_t at, removed; /* behind this place of `text`, so many bytes of the file are left out */
  } * cut;
  size_t n_cuts, cuts_cap;
  char *text;               /* NULL without cuts */
  size_t size, cap, copied; /* of text; bytes of the file taken care of */
} Prepared;

static void prepared_free(Prepared *m)
{
  for (size_t i = 0; i < m->n_members; i++) free(m->member[i].value);
  free(m->member);
  free(m->cut);
  free(m->text);
}

/* Makes room for one more entry; NULL: out of memory. */
static void *grow(void *at, size_t n, size_t *cap, size_t size)
{
  if (n < *cap) return at;
  const size_t wanted = *cap ? 2 * *cap : 16;
  void *grown = realloc(at, size * wanted);
  if (grown) *cap = wanted;
  return grown;
}

static bool add_member(Prepared *m, int line)
{
  Member *at = grow(m->member, m->n_members, &m->members_cap, sizeof *at);
  if (!at) return false;
  m->member = at;
  at[m->n_members++] = (Member){.line = line};
  return true;
}

/* Copies the file's text up to `from`, then the stand-in for what lies between `from` and `to`. */
static bool add_text(Prepared *m, size_t from, const char *stand_in, size_t to)
{
  const size_t n = from - m->copied, more = strlen(stand_in);
  struct Cut *cut = grow(m->cut, m->n_cuts, &m->cuts_cap, sizeof *cut);
  if (!cut) return false;
  m->cut = cut;
  if (m->size + n + more > m->cap) {
    const size_t cap = 2 * (m->size + n + more) + 256;
    char *text = realloc(m->text, cap);
    if (!text) return false;
    m->text = text;
    m->cap = cap;
  }
  memcpy(m->text + m->size, m->file + m->copied, n);
  memcpy(m->text + m->size + n, stand_in, more);
  m->size += n + more;
  m->copied = to;
  cut[m->n_cuts++] = (struct Cut){m->size, to - from - more};
  return true;
}

/* A number of an array, or what stands for one that is not finite or missing. */
static const char *scan_entry(const char *p, const char *end, double *out)
{
  const char *after = scan_number(p, end, true, out);
  if (after) return isinf(*out) ? NULL : after;
  const struct {
    const char *word;
    double value;
  } words[] = {{"null", NAN}, {"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY}};
  for (int k = 0; k < 4; k++)
    if (word_at(p, end, words[k].word)) {
      *out = words[k].value;
      return p + strlen(words[k].word);
    }
  if (p == end || *p != '"') return NULL;
  const char *close = memchr(p + 1, '"', (size_t)(end - p - 1) < 16 ? (size_t)(end - p - 1) : 16);
  return close && special_number(p + 1, (size_t)(close - p - 1), out) ? close + 1 : NULL;
}

static const char *skip_blanks(const char *p, const char *end)
{
  while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
  return p;
}

/* Reads the array at p into *m when it is a regular, not empty array of numbers, and returns its end; else NULL. jansson makes an object of
 * every number, ten times slower; it still judges whatever is irregular. */
static const char *scan_array(const char *p, const char *end, Member *m)
{
  long count[PGM_MAX_DIMS + 1] = {0}, dim[PGM_MAX_DIMS + 1];
  size_t n = 0, cap = 64;
  int depth = 0, rank = 0;
  double *value = malloc(sizeof *value * cap);
  for (int k = 0; k <= PGM_MAX_DIMS; k++) dim[k] = -1;
  while (value && p) {
    p = skip_blanks(p, end);
    if (p < end && *p == '[' && depth < PGM_MAX_DIMS && (!rank || depth < rank)) {
      count[++depth] = 0;
      p++;
      continue; /* a value must follow */
    }
    if (n == cap) {
      double *grown = realloc(value, sizeof *value * (cap *= 2));
      if (!grown) break;
      value = grown;
    }
    if (rank && depth != rank) break;
    if (!(p = scan_entry(p, end, &value[n]))) break;
    rank = depth;
    n++;
    count[depth]++;
    for (p = skip_blanks(p, end); p < end && *p == ']'; p = skip_blanks(p + 1, end)) {
      if (dim[depth] >= 0 && dim[depth] != count[depth]) goto irregular;
      dim[depth] = count[depth];
      count[--depth]++;
      if (depth) continue;
      m->rank = rank;
      memcpy(m->dim, dim + 1, sizeof *dim * (size_t)rank);
      double *fitted = realloc(value, sizeof *value * n);
      m->value = fitted ? fitted : value;
      return p + 1;
    }
    if (p == end || *p != ',') break;
    p++;
  }
irregular:
  free(value);
  return NULL;
}

/* Finds the members' lines, reads regular arrays, and quotes what is not finite, in the file's text. `whole`: the text may be one array.
 * False: out of memory. */
static bool json_prepare(char *const start, char *const end, bool whole, Prepared *m)
{
  int depth = 0, line = 1;
  bool object = false, key = false;
  *m = (Prepared){.file = start, .file_size = (size_t)(end - start)};
  for (char *p = start; p < end; p++) {
    const bool value = depth == 1 && object && !key && m->n_members && !m->member[m->n_members - 1].value;
    if (*p == '[' && (value || (whole && !depth && !m->n_members))) {
      if (!depth && !add_member(m, line)) return false;
      const char *after = scan_array(p, end, &m->member[m->n_members - 1]);
      if (after) {
        if (!add_text(m, (size_t)(p - start), depth ? "0" : "[]", (size_t)(after - start))) return false;
        line += (int)count_lines(p, after);
        p = start + (after - start) - 1;
        continue;
      }
    }
    switch (*p) {
    case '\n':
      line++;
      break;
    case '{':
    case '[':
      if (!depth) object = *p == '{';
      key = ++depth == 1 && object;
      break;
    case '}':
    case ']':
      depth--;
      break;
    case ',':
      key = depth == 1 && object;
      break;
    case '"':
      if (key && !add_member(m, line)) return false;
      key = false;
      for (p++; p < end && *p != '"'; p++) p += *p == '\\' && p + 1 < end;
      break;
    case 'N':
      if (word_at(p, end, "NaN")) p = quote_word(p, 3, 0) - 1;
      break;
    case 'I':
      if (word_at(p, end, "Infinity")) p = quote_word(p, 8, '+') - 1;
      break;
    case '-':
      if (word_at(p, end, "-Infinity")) p = quote_word(p, 9, '-') - 1;
      break;
    }
  }
  return !m->text || add_text(m, m->file_size, "", m->file_size);
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
    double v;
    if (json_number(j, &v)) {
      if (f->next) *f->next++ = v;
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

/* Fills rank, dim and value, or fault; `bytes`: of the text. False: out of memory. */
static bool array_from_json(PgmArray *a, const json_t *j, size_t bytes)
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
  if (count <= (double)bytes) { /* else it cannot be regular: only the fault is to be found */
    a->value = f.next = malloc(sizeof(double) * (size_t)(count > 0 ? count : 1));
    if (!a->value) return false;
  }
  if (flatten(&f, j, 0)) return true;
  free(a->value);
  a->value = NULL;
  return a->fault != NULL;
}

/* Parses the prepared text; NULL with the error set, at its place in the file. */
static json_t *json_parse(const Prepared *m, const char *path, PgmError *error)
{
  json_error_t e;
  const char *text = m->text ? m->text : m->file;
  const size_t size = m->text ? m->size : m->file_size, bom = size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
  json_t *root = json_loadb(text + bom, size - bom, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &e);
  if (root) return root;
  size_t position = (size_t)e.position + bom, removed = 0;
  for (size_t k = 0; k < m->n_cuts && m->cut[k].at <= position; k++) removed += m->cut[k].removed;
  position = position + removed < m->file_size ? position + removed : m->file_size;
  const char *line = m->file + bom, *const at = m->file + position;
  const long lines = count_lines(line, at);
  for (const char *q; (q = memchr(line, '\n', (size_t)(at - line)));) line = q + 1;
  char *marker = strchr(e.text, NOT_FINITE);
  if (marker) *marker = 0;
  const char *what = !strncmp(e.text, "'[' or '{' expected", 19) ? "no JSON object starts here" : e.text;
  if (json_error_code(&e) == json_error_numeric_overflow) what = "the number is too large for a double";
  pgm_fail(error, json_error_code(&e) == json_error_out_of_memory ? PGM_SYSTEM : PGM_BAD_INPUT, "%s:%ld:%ld: %s", path, lines + 1,
           (long)(at - line), what);
  return NULL;
}

/* The value of a member: as it was read before, or from jansson's tree. False: out of memory. */
static bool take_value(PgmArray *a, Member *m, const json_t *j, size_t bytes)
{
  if (!m->value) return array_from_json(a, j, bytes);
  a->rank = m->rank;
  memcpy(a->dim, m->dim, sizeof *m->dim * (size_t)m->rank);
  a->value = m->value;
  m->value = NULL;
  return true;
}

/* `name`: the text must hold one array, which gets this name; NULL: an object of names. */
static PgmStatus read_json(PgmData *d, const char *name, const char *path, Bytes *b, PgmError *error)
{
  const char *file = file_name(d, path), *key;
  Prepared m = {0};
  PgmStatus status = file && json_prepare(b->p, b->p + b->n, name != NULL, &m) ? PGM_OK : out_of_memory(error, path);
  json_t *root = status ? NULL : json_parse(&m, path, error), *value;
  size_t k = 0;
  if (!root) {
    if (!status) status = error ? error->status : PGM_BAD_INPUT;
  } else if (!json_is_object(root)) {
    if (!name) {
      status = pgm_fail(error, PGM_BAD_INPUT, "%s: an array, not an object of names; --data NAME=%s gives it a name", path, path);
    } else {
      PgmArray a = {.name = strdup(name), .file = file, .line = m.member[0].line};
      status = a.name && take_value(&a, &m.member[0], root, b->n) ? add_array(d, &a, error) : (array_clear(&a), out_of_memory(error, path));
    }
  } else if (name && json_object_size(root) != 1) {
    status = pgm_fail(error, PGM_BAD_INPUT, "%s: holds %zu names; --data %s=%s needs a file of one array", path, json_object_size(root),
                      name, path);
  } else {
    json_object_foreach(root, key, value)
    {
      PgmArray a = {.name = strdup(name ? name : key), .file = file, .line = m.member[k].line};
      status =
          a.name && take_value(&a, &m.member[k], value, b->n) ? add_array(d, &a, error) : (array_clear(&a), out_of_memory(error, path));
      if (status) break;
      k++;
    }
  }
  prepared_free(&m);
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
      double v = NAN;
      const char *cell_end, *after = k < n && c[k].array >= 0 ? scan_number(p, end, false, &v) : NULL;
      if (after && (after == end || *after == ',' || *after == '\n') && !isinf(v)) { /* a plain number, the common case */
        c[k].value[row * c[k].stride] = v;
        p = after;
        if (p == end || *p != ',') break;
        p++;
        continue;
      }
      const char *cell = next_cell(&p, end, &cell_end);
      if (k < n && c[k].array >= 0) {
        v = NAN;
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

enum { CSV_CHUNK = 1 << 20 };

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

/* `mapped`: the text is that of the file, whose pages are given back as soon as they are read, so that it does not add to the memory of the
 * array. */
static PgmStatus csv_body(const char *p, const char *end, bool mapped, const char *path, int line, Column *c, int n, PgmArray *arrays,
                          int n_arrays, PgmError *error)
{
  while (end > p && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == ' ')) end--; /* blank lines at the end */
  long chunks = (end - p) / CSV_CHUNK + 1, rows = 0;
  int quoted = 0;
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
#pragma omp parallel for schedule(dynamic, 1) reduction(| : quoted) if (chunks > 1)
  for (long k = 0; k < chunks; k++) {
    first[k] = count_lines(start[k], start[k + 1]);
    quoted |= memchr(start[k], '"', (size_t)(start[k + 1] - start[k])) != NULL;
    if (mapped) release(start[k], start[k + 1]);
  }
  if (quoted) {
    chunks = 1;
    start[1] = end;
    first[0] = count_rows_quoted(p, end);
  }
  for (long k = 0; k < chunks; k++) {
    const long lines = first[k];
    first[k] = rows;
    rows += lines;
  }
  rows += p < end; /* the last line has no break any more */
  if ((status = csv_columns(c, n, path, line, arrays, n_arrays, rows, error))) goto done;
#pragma omp parallel for schedule(dynamic, 1) if (chunks > 1)
  for (long k = 0; k < chunks; k++) {
    csv_rows(start[k], start[k + 1], first[k], c, n, &ragged[k], fault + k * n);
    if (mapped) release(start[k], start[k + 1]);
  }
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
  const bool macintosh = !memchr(b->p, '\n', b->n); /* old files that end lines with a carriage return alone */
  for (size_t i = 0; i < b->n && macintosh; i++)
    if (b->p[i] == '\r') b->p[i] = '\n';
  PgmStatus status = csv_header(&p, end, path, &line, &c, &n, error);
  if (status) return status;
  arrays = calloc((size_t)n, sizeof *arrays);
  if (!arrays || !file) status = out_of_memory(error, path);
  if (!status) status = csv_arrays(c, n, path, file, line, arrays, &n_arrays, error);
  if (!status && name && n_arrays != 1)
    status = pgm_fail(error, PGM_BAD_INPUT, "%s: holds %d names; --data %s=%s needs a file of one array", path, n_arrays, name, path);
  if (!status) status = csv_body(p, end, b->mapped && !macintosh, path, line, c, n, arrays, n_arrays, error);
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

/* `value` is from malloc, or stands in `map`, whose bytes then are the array's. */
static PgmStatus add_binary(PgmData *d, const char *name, const char *path, int rank, const long *dim, double *value, Bytes *map, PgmError *error)
{
  PgmArray a = {.name = strdup(name), .file = file_name(d, path), .rank = rank, .value = value};
  if (map) {
    a.map = map->p;
    a.map_size = map->n;
    *map = (Bytes){0};
  }
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

/* An array in Fortran order, whose first index runs fastest, to rows; in blocks of the first index, so that both sides stay in cache. */
static void convert_columns(const char *p, int rank, const long *dim, long count, char kind, int size, double *out)
{
  enum { BLOCK = 256 };
  const long rows = dim[0], rest = count / rows;
  for (long first = 0; first < rows; first += BLOCK) {
    const long n = rows - first < BLOCK ? rows - first : BLOCK;
    long index[PGM_MAX_DIMS] = {0}, at = 0; /* of the other dimensions; where they stand in a row */
    double part[BLOCK];
    for (long column = 0; column < rest; column++) {
      convert(p + (column * rows + first) * size, n, kind, size, part);
      for (long i = 0; i < n; i++) out[(first + i) * rest + at] = part[i];
      long stride = rest;
      for (int k = 1; k < rank; k++) {
        stride /= dim[k];
        at += stride;
        if (++index[k] < dim[k]) break;
        at -= stride * dim[k];
        index[k] = 0;
      }
    }
  }
}

/* The first whole number of 64 bits that no double equals, as text; false: there is none. */
static bool find_inexact(const char *p, long count, char kind, char *text, size_t size)
{
  for (long i = 0; i < count; i++) {
    int64_t v;
    memcpy(&v, p + 8 * i, sizeof v);
    const bool large = kind == 'u' ? (uint64_t)v > 1ull << 53 : v > 1ll << 53 || v < -(1ll << 53);
    if (!large) continue;
    if (kind == 'u')
      snprintf(text, size, "%llu", (unsigned long long)v);
    else
      snprintf(text, size, "%lld", (long long)v);
    return true;
  }
  return false;
}

static PgmStatus read_npy(PgmData *d, const char *name, const char *path, Bytes *b, PgmError *error)
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
  const bool columns = !status && !strncmp(fortran, "True", 4) && rank > 1 && count > 0;
  char *const numbers = b->p + prefix + length;
  char inexact[32];
  free(header);
  if (status) return status;
  if (size == 8 && kind != 'f' && find_inexact(numbers, (long)count, kind, inexact, sizeof inexact))
    return pgm_fail(error, PGM_BAD_INPUT, "%s: the whole number %s has more digits than a double", path, inexact);

  if (b->mapped && b->n >= STAYS_MAPPED && kind == 'f' && size == 8 && !columns && (uintptr_t)numbers % sizeof(double) == 0)
    return add_binary(d, name, path, rank, dim, (double *)(void *)numbers, b, error);
  double *value = malloc(sizeof *value * (size_t)(count > 0 ? count : 1));
  if (!value) return out_of_memory(error, path);
  if (columns)
    convert_columns(numbers, rank, dim, (long)count, kind, size, value);
  else
    convert(numbers, (long)count, kind, size, value);
  return add_binary(d, name, path, rank, dim, value, NULL, error);
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
  return add_binary(d, name, path, rank > 2 ? 2 : rank, dim, value, NULL, error);
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
    status = read_json(d, NULL, path, &b, error);
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
    status = read_json(d, name, path, &b, error);
  else if (ends_with(path, ".csv"))
    status = read_csv(d, name, path, &b, error);
  else
    status = pgm_fail(error, PGM_BAD_INPUT, "%s: neither .npy, IDX, .json nor .csv", path);
  bytes_free(&b);
  return status;
}
