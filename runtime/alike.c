/* Classes of units with equal data: see alike.h. One pass with a hash table of the classes so far; rows whose hashes agree are compared. */
#include "alike.h"

#include <stdlib.h>
#include <string.h>

/* One array that units read: row u of `rows` belongs to the u-th unit. */
typedef struct {
  size_t place, bytes;  /* of the pointer in the env; of a row */
  const char *rows;
  long before;          /* rows of the array before the first unit's */
  char *own;            /* rows of the classes; at first those `before`, which nobody reads */
} Array;

struct PgmAlike {
  PgmAlike *next;
  int n_reads;
  PgmOwn *read;         /* what tells units apart, families ascending */
  long first, units;
  long classes;         /* 0: none to speak of */
  uint32_t *class;
  long *example;
  double *members;
  int n;
  Array *array;
};

long pgm_alike_classes(const PgmAlike *a)
{
  return a->classes;
}
const uint32_t *pgm_alike_class(const PgmAlike *a)
{
  return a->class;
}
const long *pgm_alike_first(const PgmAlike *a)
{
  return a->example;
}
const double *pgm_alike_members(const PgmAlike *a)
{
  return a->members;
}

void pgm_alike_enter(const PgmAlike *a, void *env)
{
  for (int i = 0; i < a->n; i++) memcpy((char *)env + a->array[i].place, &a->array[i].own, sizeof a->array[i].own);
}

static void free_one(PgmAlike *a)
{
  if (!a) return;
  for (int i = 0; i < a->n; i++) free(a->array[i].own);
  free(a->array);
  free(a->read);
  free(a->class);
  free(a->example);
  free(a->members);
  free(a);
}

void pgm_alike_close(PgmSession *s)
{
  while (s->alike) {
    PgmAlike *next = s->alike->next;
    free_one(s->alike);
    s->alike = next;
  }
}

/* ---- what tells units apart ---------------------------------------------------------------------------------------------------------- */

/* Adds one read, families ascending; false: the family is read at another offset. */
static bool add_read(PgmAlike *a, const PgmOwn *read)
{
  int at = 0;
  while (at < a->n_reads && a->read[at].family < read->family) at++;
  if (at < a->n_reads && a->read[at].family == read->family) return a->read[at].offset == read->offset;
  memmove(a->read + at + 1, a->read + at, (size_t)(a->n_reads++ - at) * sizeof *read);
  a->read[at] = *read;
  return true;
}

/* Room for two arrays per family: values, and which of them are given. */
static bool open_one(PgmAlike *a, const PgmSession *s)
{
  const size_t n = (size_t)s->model->n_families + 1;
  a->read = malloc(n * sizeof *a->read);
  a->array = calloc(2 * n, sizeof *a->array);
  return a->read && a->array;
}

static bool add_reads(PgmAlike *a, const PgmModel *m, const int *plate, int n_plates)
{
  for (int p = 0; p < n_plates; p++) {
    const PgmOwn *read = m->plates[plate[p]].reads;
    if (!read) return false;
    for (; read->family >= 0; read++)
      if (!add_read(a, read)) return false;
  }
  return true;
}

static bool same_reads(const PgmAlike *a, const PgmAlike *b)
{
  bool same = a->n_reads == b->n_reads && a->first == b->first && a->units == b->units;
  for (int i = 0; same && i < a->n_reads; i++) same = a->read[i].family == b->read[i].family && a->read[i].offset == b->read[i].offset;
  return same;
}

/* False: the array has no row for some unit. */
static bool add_arrays(PgmAlike *a, const PgmSession *s, const PgmOwn *read)
{
  const PgmFamily *family = &s->model->families[read->family];
  const PgmLayout *l = &s->layout[read->family];
  const size_t entries = (size_t)(l->stride[0] * l->width), bytes = entries * (l->data ? sizeof *l->data : sizeof *l->idata);
  const long before = a->first + read->offset - l->lo[0];
  if (before < 0 || before + a->units > l->hi[0] - l->lo[0] + 1) return false;
  a->array[a->n++] = (Array){family->place, bytes, (l->data ? (const char *)l->data : (const char *)l->idata) + (size_t)before * bytes, before, NULL};
  if (l->missing) a->array[a->n++] = (Array){family->present, entries, (const char *)l->present + (size_t)before * entries, before, NULL};
  return true;
}

/* ---- the classes --------------------------------------------------------------------------------------------------------------------- */

static inline uint64_t mix(uint64_t h, uint64_t v)
{
  h = (h ^ v) * 0x9E3779B97F4A7C15u;
  return h ^ h >> 32;
}

static inline uint64_t hash_row(uint64_t h, const char *row, size_t bytes)
{
  uint64_t word;
  uint32_t half;
  for (; bytes >= sizeof word; bytes -= sizeof word, row += sizeof word) {
    memcpy(&word, row, sizeof word);
    h = mix(h, word);
  }
  if (bytes >= sizeof half) {
    memcpy(&half, row, sizeof half);
    h = mix(h, half);
    bytes -= sizeof half, row += sizeof half;
  }
  for (; bytes; bytes--, row++) h = mix(h, (unsigned char)*row);
  return h;
}

static uint64_t hash_unit(const PgmAlike *a, long unit)
{
  uint64_t h = 0;
  for (int i = 0; i < a->n; i++) h = hash_row(h, a->array[i].rows + (size_t)unit * a->array[i].bytes, a->array[i].bytes);
  return mix(h, 0);
}

static inline bool same_row(const char *x, const char *y, size_t bytes)
{
  if (bytes == sizeof(int)) return !memcmp(x, y, sizeof(int)); /* of known size no call */
  if (bytes == sizeof(double)) return !memcmp(x, y, sizeof(double));
  return !memcmp(x, y, bytes);
}

static bool same_unit(const PgmAlike *a, long u, long v)
{
  for (int i = 0; i < a->n; i++) {
    const Array *array = &a->array[i];
    if (!same_row(array->rows + (size_t)u * array->bytes, array->rows + (size_t)v * array->bytes, array->bytes)) return false;
  }
  return true;
}

typedef struct {
  uint32_t hash, number; /* of the class, from 1; 0: nothing here */
} Place;

/* Fills class, example and members; a->classes stays 0 where there are too many. False: out of memory. */
static bool find_classes(PgmAlike *a)
{
  const long most = a->units / PGM_ALIKE_LEAST;
  size_t size = 16;
  while (size < 4 * (size_t)most) size *= 2;
  Place *table = calloc(size, sizeof *table);
  long n = 0;
  a->class = malloc(sizeof *a->class * (size_t)(a->units + 1));
  a->example = malloc(sizeof *a->example * (size_t)(most + 1));
  a->members = malloc(sizeof *a->members * (size_t)(most + 1));
  if (!table || !a->class || !a->example || !a->members) {
    free(table);
    return false;
  }
  for (long u = 0; u < a->units && n <= most; u++) {
    const uint64_t hash = hash_unit(a, u);
    size_t at = (hash >> 32) & (size - 1);
    while (table[at].number && !(table[at].hash == (uint32_t)hash && same_unit(a, u, a->example[table[at].number - 1]))) at = (at + 1) & (size - 1);
    if (!table[at].number && ++n <= most) {
      table[at] = (Place){(uint32_t)hash, (uint32_t)n};
      a->example[n - 1] = u;
      a->members[n - 1] = 0;
    }
    if (n > most) break;
    a->class[u] = table[at].number - 1;
    a->members[table[at].number - 1]++;
  }
  free(table);
  a->classes = n <= most ? n : 0;
  return true;
}

/* Rows of the classes; false: out of memory. */
static bool gather_rows(PgmAlike *a)
{
  for (int i = 0; i < a->n; i++) {
    Array *array = &a->array[i];
    if (!(array->own = calloc((size_t)(array->before + a->classes), array->bytes))) return false;
    for (long c = 0; c < a->classes; c++)
      memcpy(array->own + (size_t)(array->before + c) * array->bytes, array->rows + (size_t)a->example[c] * array->bytes, array->bytes);
  }
  return true;
}

PgmStatus pgm_alike_find(const PgmAlike **out, PgmSession *s, const int *plate, int n_plates, long first, long units, PgmError *error)
{
  PgmAlike *a = calloc(1, sizeof *a);
  *out = NULL;
  if (!a || !open_one(a, s)) {
    free_one(a);
    return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  a->first = first;
  a->units = units;
  if (!add_reads(a, s->model, plate, n_plates)) {
    free_one(a);
    return PGM_OK;
  }
  for (const PgmAlike *known = s->alike; known; known = known->next)
    if (same_reads(a, known)) {
      *out = known->classes ? known : NULL;
      free_one(a);
      return PGM_OK;
    }
  bool rows = true, ok = true;
  for (int i = 0; rows && i < a->n_reads; i++) rows = add_arrays(a, s, &a->read[i]);
  if (rows) ok = find_classes(a) && gather_rows(a);
  if (!ok) {
    free_one(a);
    return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  a->next = s->alike;
  s->alike = a;
  *out = a->classes ? a : NULL;
  return PGM_OK;
}
