/* session.c - brings one model and one data set together.
 *
 * In: the model's descriptors (pgmrt.h) and named arrays (data.h). Out: a session whose env kernels can run on. In this order:
 *   1. integer scalars: given, counted from arrays (language.md, "Data"), or their defaults;
 *   2. the boxes of all families, which the emitted shape() derives from them; integer arrays are read on the way, because a range may need
 *      them;
 *   3. which statement defines which element: every element of a family at most once;
 *   4. arrays: the data's array of a name holds the family's input and observed elements, lowest index first, without elements of constant
 *      index that have a default or a key of their own ("x[0]"); then defaults;
 *   5. checks: missing values, integers, bounds, supports, references (PgmRangeCheck);
 *   6. notes on what was counted and what was not used.
 * Errors name the place in the data and the line of the model. */
#define _GNU_SOURCE
#include "session.h"

#include "alike.h"
#include "missing.h"
#include <ctype.h>
#include <float.h>
#include <gsl/gsl_errno.h>
#include <gsl/gsl_integration.h>
#include <limits.h>
#include <omp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DEFAULT_NODES = 20, FEW_NODES = 8, ALIGNMENT = 64, PLACE_SIZE = 400 };

/* Where the elements of one statement come from. */
typedef enum { FROM_NOWHERE, FROM_ARRAY, FROM_KEY, FROM_DEFAULT } Source;

/* Which entries of the data's array are which elements: position k of a family's index, offset i in its box, is at at[k][i] in dimension
 * k of the array; -1: not in the array. at[k] NULL: identity. */
typedef struct {
  long *at[PGM_MAX_INDEX];
  long extent[PGM_MAX_INDEX];
} Mapping;

typedef struct {
  PgmSession *s;
  const PgmModel *m;
  const PgmData *data;
  const PgmSessionOptions *options;
  PgmError *error;
  PgmArray **array; /* per family: the data's array of this name, or NULL */
  Mapping *mapping; /* per family */
  Source *source;   /* per statement */
  PgmArray **key;   /* per statement: the data's key for its single element, or NULL */
  bool *known;      /* per family: integer scalar with a value */
  char **origin;    /* per family: how a size was got, "counted from x"; NULL: not yet */
} Opening;

/* ---- small things -------------------------------------------------------------------------------------------------------------------- */

bool pgm_is_latent(const PgmFamily *f)
{
  return f->role == PGM_GLOBAL || f->role == PGM_LOCAL || f->role == PGM_PARAM;
}

bool pgm_has_single(const PgmModel *m)
{
  for (int p = 0; p < m->n_plates; p++)
    if (m->plates[p].single) return true;
  return false;
}

bool pgm_is_discrete(const PgmFamily *f)
{
  return f->transform == PGM_T_DISCRETE && pgm_is_latent(f);
}

double pgm_lowest(const PgmFamily *f, const PgmLayout *l, long flat)
{
  return l->lower[f->uniform_bounds ? 0 : flat];
}

long pgm_levels(const PgmFamily *f, const PgmLayout *l, long flat)
{
  return f->uniform_bounds ? l->uwidth : (long)(l->upper[flat] - l->lower[flat]) + 1;
}

PgmLatent *pgm_session_latent(const PgmSession *s, int family)
{
  return (PgmLatent *)((char *)s->env + s->model->families[family].place);
}

static bool holds_data(const PgmFamily *f)
{
  return f->role == PGM_INPUT || f->role == PGM_OBSERVED;
}
static bool by_value(const PgmFamily *f)
{
  return f->role == PGM_INPUT && !f->n_index && !f->rank;
}
static bool is_data_statement(const PgmStatement *st)
{
  return st->kind == PGM_S_INPUT || st->kind == PGM_S_OBSERVED;
}

static PgmStatus no_memory(PgmError *error)
{
  return pgm_fail(error, PGM_SYSTEM, "out of memory");
}

/* Zeroed and aligned; NULL when there is not enough. Freed with free(). */
static void *new_array(double count, size_t size)
{
  const double bytes = count * (double)size;
  if (bytes > 1e15) return NULL;
  const size_t n = ((size_t)bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
  void *p = aligned_alloc(ALIGNMENT, n);
  if (p) memset(p, 0, n);
  return p;
}

static PgmStatus note(PgmSession *s, PgmError *error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static PgmStatus note(PgmSession *s, PgmError *error, const char *format, ...)
{
  char **notes = realloc(s->notes, sizeof *notes * (size_t)(s->n_notes + 1));
  va_list args;
  int length;
  if (!notes) return no_memory(error);
  s->notes = notes;
  va_start(args, format);
  length = vasprintf(&notes[s->n_notes], format, args);
  va_end(args);
  if (length < 0) return no_memory(error);
  s->n_notes++;
  return PGM_OK;
}

char *pgm_element_name(const PgmSession *s, int family, long flat, long entry, char *buffer, size_t size)
{
  const PgmFamily *f = &s->model->families[family];
  const PgmLayout *l = &s->layout[family];
  size_t used = (size_t)snprintf(buffer, size, "%s", f->name);
  const char *open = "[";
  for (int k = 0; k < f->n_index && used < size; k++, open = ",")
    used += (size_t)snprintf(buffer + used, size - used, "%s%ld", open, l->lo[k] + flat / l->stride[k] % (l->hi[k] - l->lo[k] + 1));
  if (entry >= 0 && f->rank == 2 && used < size)
    used += (size_t)snprintf(buffer + used, size - used, "%s%ld,%ld", open, entry / l->dim[1] + 1, entry % l->dim[1] + 1);
  else if (entry >= 0 && f->rank == 1 && used < size)
    used += (size_t)snprintf(buffer + used, size - used, "%s%ld", open, entry + 1);
  if ((f->n_index || (entry >= 0 && f->rank)) && used < size) snprintf(buffer + used, size - used, "]");
  return buffer;
}

/* "saw.pgm:8" */
static char *line_of(const PgmModel *m, int line, char *buffer)
{
  snprintf(buffer, PLACE_SIZE, "%.300s:%d", m->file, line);
  return buffer;
}

/* The first statement that gives values to a family. */
static const PgmStatement *statement_of(const PgmModel *m, int family)
{
  for (int i = 0; i < m->n_statements; i++)
    if (m->statements[i].family == family) return &m->statements[i];
  return NULL;
}

/* "x[n]" */
static char *generic_name(const PgmFamily *f, char *buffer, size_t size)
{
  size_t used = (size_t)snprintf(buffer, size, "%s", f->name);
  for (int k = 0; k < f->n_index && used < size; k++)
    used += (size_t)snprintf(buffer + used, size - used, "%s%s%s", k ? "," : "[", f->index[k], k + 1 == f->n_index ? "]" : "");
  return buffer;
}

/* Names of the files read, for messages. */
static const char *files_read(const PgmData *d, char *buffer, size_t size)
{
  size_t used = 0;
  if (!d->n_files) return "not known: no data file was given";
  used = (size_t)snprintf(buffer, size, d->n_files > 1 ? "not in any of " : "not in ");
  for (int i = 0; i < d->n_files && used < size; i++)
    used += (size_t)snprintf(buffer + used, size - used, "%s%s", i ? ", " : "", d->files[i]);
  return buffer;
}

static PgmStatus wrong_rank(const Opening *o, int family)
{
  const PgmFamily *f = &o->m->families[family];
  const PgmArray *a = o->array[family];
  char place[PLACE_SIZE], line[PLACE_SIZE], name[200];
  if (!a->rank)
    return pgm_fail(o->error, PGM_BAD_INPUT, "%s: one number, but %s is an array (%s): its values come from a file, --data %s=FILE for example",
                    pgm_data_place(a, -1, place, sizeof place), generic_name(f, name, sizeof name), line_of(o->m, f->line, line), f->name);
  return pgm_fail(o->error, PGM_BAD_INPUT, "%s: an array of %d dimension%s, but %s%s needs %d (%s)",
                  pgm_data_place(a, -1, place, sizeof place), a->rank, a->rank == 1 ? "" : "s", generic_name(f, name, sizeof name),
                  f->rank == 2 ? ", a matrix,"
                  : f->rank    ? ", a vector,"
                               : "",
                  f->n_index + f->rank, line_of(o->m, f->line, line));
}

/* The name without what is easily written otherwise: case, '_', '.', a number at the end. */
static void plain_name(const char *name, char *out, size_t size)
{
  size_t n = 0;
  for (; *name && n + 1 < size; name++)
    if (*name != '_' && *name != '.') out[n++] = (char)tolower((unsigned char)*name);
  while (n > 1 && isdigit((unsigned char)out[n - 1])) n--;
  out[n] = 0;
}

/* A name in the data that the model does not have, and that may be meant; NULL. */
static const char *similar_name(const Opening *o, const char *name)
{
  char wanted[200], other[200];
  plain_name(name, wanted, sizeof wanted);
  for (int i = 0; i < o->data->n; i++) {
    const char *given = o->data->array[i].name;
    bool known = false;
    for (int f = 0; f < o->m->n_families; f++) known = known || strcmp(o->m->families[f].name, given) == 0;
    plain_name(given, other, sizeof other);
    if (!known && strcmp(wanted, other) == 0) return given;
  }
  return NULL;
}

/* A name that is not in the data, or a size that cannot be counted. */
static PgmStatus missing_name(const Opening *o, int family)
{
  const PgmFamily *f = &o->m->families[family];
  const PgmStatement *st = statement_of(o->m, family);
  char files[600], line[PLACE_SIZE], place[PLACE_SIZE], counted[200] = "";
  for (int c = 0; c < o->m->n_counts; c++) {
    const PgmCount *count = &o->m->counts[c];
    const PgmArray *a = count->size == family ? o->array[count->array] : NULL;
    if (a && a->fault) /* it is there, but cannot be counted: that is what is wrong */
      return pgm_fail(o->error, PGM_BAD_INPUT, "%s (%s)", a->fault, line_of(o->m, o->m->families[count->array].line, line));
    if (a && count->position >= 0) return wrong_rank(o, count->array);
    if (a)
      return pgm_fail(o->error, PGM_BAD_INPUT, "%s: its largest value should tell %s, but is not a whole number (%s)",
                      pgm_data_place(a, -1, place, sizeof place), f->name, line_of(o->m, o->m->families[count->array].line, line));
    if (count->size == family && holds_data(&o->m->families[count->array]))
      snprintf(counted, sizeof counted, ", nor is '%s', from which it would be counted", o->m->families[count->array].name);
  }
  const char *similar = counted[0] ? NULL : similar_name(o, f->name);
  if (similar) snprintf(counted, sizeof counted, ", but '%s' is", similar);
  return pgm_fail(o->error, PGM_BAD_INPUT, "'%s' is %s%s (%s: %s)", f->name, files_read(o->data, files, sizeof files), counted,
                  line_of(o->m, st ? st->line : f->line, line), st ? st->text : f->name);
}

/* ---- integer scalars ----------------------------------------------------------------------------------------------------------------- */

/* The value of a scalar input in the data. */
static PgmStatus scalar_given(const Opening *o, int family, double *out)
{
  const PgmFamily *f = &o->m->families[family];
  const PgmArray *a = o->array[family];
  char place[PLACE_SIZE], line[PLACE_SIZE];
  long n = 1;
  for (int k = 0; k < a->rank; k++) n *= a->dim[k];
  if (n != 1)
    return pgm_fail(o->error, PGM_BAD_INPUT, "%s: %ld values, but %s is a scalar (%s)", pgm_data_place(a, -1, place, sizeof place), n,
                    f->name, line_of(o->m, f->line, line));
  *out = a->value[0];
  if (isnan(*out))
    return pgm_fail(o->error, PGM_BAD_INPUT, "%s: missing; it must be a number (%s)", pgm_data_place(a, 0, place, sizeof place),
                    line_of(o->m, f->line, line));
  if (f->integer && !(floor(*out) == *out && fabs(*out) <= 9007199254740992.))
    return pgm_fail(o->error, PGM_BAD_INPUT, "%s: %.17g is not a whole number, but %s is an int (%s)",
                    pgm_data_place(a, 0, place, sizeof place), *out, f->name, line_of(o->m, f->line, line));
  return PGM_OK;
}

static void set_scalar(const Opening *o, int family, double v)
{
  const PgmFamily *f = &o->m->families[family];
  char *at = (char *)o->s->env + f->place;
  if (f->integer)
    *(long *)at = v >= 9e18 ? LONG_MAX : v <= -9e18 ? LONG_MIN : (long)v;
  else
    *(double *)at = v;
}

static double get_scalar(const Opening *o, int family)
{
  const PgmFamily *f = &o->m->families[family];
  const char *at = (const char *)o->s->env + f->place;
  return f->integer ? (double)*(const long *)at : *(const double *)at;
}

/* Counts one size from one array; leaves it unknown when that is not possible. */
static PgmStatus count_size(Opening *o, const PgmCount *c)
{
  const PgmFamily *array = &o->m->families[c->array];
  const PgmArray *a = o->array[c->array];
  const char *name = o->m->families[c->size].name;
  double v;
  if (!a || a->fault) return PGM_OK; /* load_family reports the fault */
  if (c->position >= 0) {
    if (a->rank != array->n_index + array->rank) return PGM_OK;
    v = (double)(a->dim[c->position] - c->extra);
    if (v < 0) v = 0;
    if (asprintf(&o->origin[c->size], "counted from %s", array->name) < 0) return no_memory(o->error);
    PgmStatus status = note(o->s, o->error, "%s = %.0f, counted from %s", name, v, array->name);
    if (status) return status;
  } else {
    long n = 1, known = 0;
    double largest = -INFINITY;
    for (int k = 0; k < a->rank; k++) n *= a->dim[k];
    for (long i = 0; i < n; i++)
      if (!isnan(a->value[i])) largest = a->value[i] > largest ? a->value[i] : largest, known++;
    if (!known || !(fabs(largest) <= 9007199254740992.) || floor(largest) != largest) return PGM_OK;
    v = largest - (double)c->extra;
    if (asprintf(&o->origin[c->size], "the largest value in %s", array->name) < 0) return no_memory(o->error);
    PgmStatus status = note(o->s, o->error, "%s = %.0f, the largest value in %s", name, v, array->name);
    if (status) return status;
  }
  set_scalar(o, c->size, v);
  o->known[c->size] = true;
  return PGM_OK;
}

/* Defaults may depend on other defaults, in any order: sweep until nothing changes; a chain is no longer than the number of families. */
static PgmStatus default_integers(Opening *o)
{
  const PgmModel *m = o->m;
  bool changed = true;
  for (int sweep = 0; sweep <= m->n_families && changed; sweep++) {
    changed = false;
    for (int i = 0; i < m->n_statements; i++) {
      const PgmStatement *st = &m->statements[i];
      double v;
      if (!st->fallback || !by_value(&m->families[st->family]) || !m->families[st->family].integer || o->known[st->family]) continue;
      st->fallback(o->s->env, &v);
      changed |= v != get_scalar(o, st->family);
      set_scalar(o, st->family, v);
      if (!o->origin[st->family] && asprintf(&o->origin[st->family], "its default") < 0) return no_memory(o->error);
    }
  }
  return PGM_OK;
}

/* Step 1. A count from an array's length overrides a default; the largest value of a lookup, which may be too small by chance, does not. */
static PgmStatus find_integers(Opening *o)
{
  const PgmModel *m = o->m;
  PgmStatus status = PGM_OK;
  for (int f = 0; f < m->n_families; f++) {
    double v;
    if (!by_value(&m->families[f]) || !m->families[f].integer || !o->array[f]) continue;
    if ((status = scalar_given(o, f, &v))) return status;
    set_scalar(o, f, v);
    o->known[f] = true;
    if (asprintf(&o->origin[f], "given in %s", o->array[f]->file) < 0) return no_memory(o->error);
  }
  for (int c = 0; c < m->n_counts && !status; c++)
    if (!o->known[m->counts[c].size] && m->counts[c].position >= 0) status = count_size(o, &m->counts[c]);
  if (!status) status = default_integers(o);
  for (int c = 0; c < m->n_counts && !status; c++)
    if (!o->origin[m->counts[c].size]) status = count_size(o, &m->counts[c]);
  if (!status) status = default_integers(o); /* those that depend on a size found last */
  for (int f = 0; f < m->n_families && !status; f++)
    if (by_value(&m->families[f]) && m->families[f].integer && !o->origin[f]) status = missing_name(o, f);
  return status;
}

/* ---- boxes and definitions ----------------------------------------------------------------------------------------------------------- */

static PgmStatus lay_out(const Opening *o, int family)
{
  const PgmFamily *f = &o->m->families[family];
  const PgmBox *box = &o->s->shape.family[family];
  PgmLayout *l = &o->s->layout[family];
  double elements = 1, width;
  char line[PLACE_SIZE];
  for (int k = 0; k < f->n_index; k++) {
    l->lo[k] = box->lo[k];
    l->hi[k] = box->hi[k] < box->lo[k] ? box->lo[k] - 1 : box->hi[k];
    elements *= (double)(l->hi[k] - l->lo[k] + 1);
  }
  for (int k = 0; k < 2; k++) {
    l->dim[k] = k < f->rank ? box->dim[k] : 1;
    if (l->dim[k] < 0)
      return pgm_fail(o->error, PGM_BAD_INPUT, "%s: dimension %d of %s is %ld", line_of(o->m, f->line, line), k + 1, f->name, l->dim[k]);
  }
  width = (double)l->dim[0] * (double)l->dim[1];
  if (elements * width > 1e12)
    return pgm_fail(o->error, PGM_BAD_INPUT, "%s: %s would have %.3g entries", line_of(o->m, f->line, line), f->name, elements * width);
  l->elements = (long)elements;
  l->width = l->uwidth = (long)width;
  const long d = l->dim[0];
  switch (f->transform) {
  case PGM_T_SIMPLEX:
    l->uwidth = d > 0 ? d - 1 : 0;
    break;
  case PGM_T_COV:
    l->uwidth = d * (d + 1) / 2;
    break;
  case PGM_T_CORR:
  case PGM_T_CHOLESKY_CORR:
    l->uwidth = d * (d - 1) / 2;
    break;
  default:
    break;
  }
  for (long k = f->n_index - 1, stride = 1; k >= 0; stride *= l->hi[k] - l->lo[k] + 1, k--) l->stride[k] = stride;
  return PGM_OK;
}

typedef struct {
  PgmSink sink;
  long next, elements; /* first element not yet seen while the runs are consecutive */
  bool consecutive, outside;
  unsigned char *piece, rank;
  long twice; /* first element that was defined already, or -1 */
  int twice_rank;
  long first; /* first element of the statement, or -1 */
} Marker;

static void mark_extent(PgmSink *sink, long flat, long count)
{
  Marker *k = (Marker *)sink;
  if (count <= 0) return;
  if (k->first < 0) k->first = flat;
  k->outside |= flat < 0 || count > k->elements - flat;
  k->consecutive &= flat == k->next;
  k->next = flat + count;
}

static void mark_pieces(PgmSink *sink, long flat, long count)
{
  Marker *k = (Marker *)sink;
  if (count <= 0) return;
  if (flat < 0 || count > k->elements - flat) {
    k->outside = true;
    return;
  }
  for (long i = flat; i < flat + count; i++) {
    if (k->piece[i] && k->twice < 0) k->twice = i, k->twice_rank = k->piece[i];
    k->piece[i] = k->rank;
  }
}

static const PgmStatement *statement_by_rank(const PgmModel *m, int family, int rank)
{
  for (int i = 0, r = 0; i < m->n_statements; i++)
    if (m->statements[i].family == family && ++r == rank) return &m->statements[i];
  return NULL;
}

/* Step 3: piece, list, defined. Ranks above 255 share the last number. */
static PgmStatus find_elements(const Opening *o, int family)
{
  const PgmModel *m = o->m;
  PgmLayout *l = &o->s->layout[family];
  if (!l->elements) return PGM_OK;
  int statements = 0;
  Marker mark = {.sink.run = mark_extent, .elements = l->elements, .consecutive = true, .twice = -1, .first = -1};
  char line[PLACE_SIZE], other[PLACE_SIZE], name[200];
  for (int i = 0; i < m->n_statements; i++)
    if (m->statements[i].family == family && m->statements[i].elements && !statements++) m->statements[i].elements(o->s->env, &mark.sink);
  if (!statements || (statements == 1 && mark.consecutive && !mark.outside && mark.next == l->elements)) {
    l->defined = l->elements;
    return PGM_OK;
  }
  if (!(l->piece = new_array((double)l->elements, 1))) return no_memory(o->error);
  mark.sink.run = mark_pieces;
  mark.piece = l->piece;
  mark.outside = false;
  for (int i = 0, rank = 1; i < m->n_statements; i++) {
    const PgmStatement *st = &m->statements[i];
    if (st->family != family || !st->elements) continue;
    mark.rank = (unsigned char)(rank > 255 ? 255 : rank);
    st->elements(o->s->env, &mark.sink);
    if (mark.outside)
      return pgm_fail(o->error, PGM_INTERNAL, "%s: an element of %s lies outside its box", line_of(m, st->line, line),
                      m->families[family].name);
    if (mark.twice >= 0) {
      const PgmStatement *first = statement_by_rank(m, family, mark.twice_rank);
      return pgm_fail(o->error, PGM_BAD_INPUT, "%s: %s is defined a second time; the first is at %s (%s)", line_of(m, st->line, line),
                      pgm_element_name(o->s, family, mark.twice, -1, name, sizeof name), line_of(m, first->line, other), first->text);
    }
    rank++;
  }
  for (long i = 0; i < l->elements; i++) l->defined += l->piece[i] != 0;
  if (l->defined < l->elements) {
    if (!(l->list = malloc(sizeof *l->list * (size_t)(l->defined + 1)))) return no_memory(o->error);
    for (long i = 0, n = 0; i < l->elements; i++)
      if (l->piece[i]) l->list[n++] = i;
  }
  return PGM_OK;
}

static bool defined(const PgmLayout *l, long flat)
{
  return !l->piece || l->piece[flat];
}

/* ---- arrays -------------------------------------------------------------------------------------------------------------------------- */

/* Runs `each` on the elements of a statement. */
typedef struct ElementVisit ElementVisit;
struct ElementVisit {
  PgmSink sink;
  void (*each)(ElementVisit *v, long flat);
  PgmLayout *l;
  const PgmFamily *f;
  long *const *used;  /* per index position: which offsets occur */
  const double *from; /* values to copy, at their flat indices (or one element's, see key) */
  bool changed, bad;
  long bad_entry;
};

static void visit_run(PgmSink *sink, long flat, long count)
{
  ElementVisit *v = (ElementVisit *)sink;
  for (long i = 0; i < count; i++) v->each(v, flat + i);
}

static void mark_used(ElementVisit *v, long flat)
{
  if (v->f->n_index == 1)
    v->used[0][flat] = 1;
  else
    for (int k = 0; k < v->f->n_index; k++) v->used[k][flat / v->l->stride[k] % (v->l->hi[k] - v->l->lo[k] + 1)] = 1;
}

static void mapping_free(Mapping *map)
{
  for (int k = 0; k < PGM_MAX_INDEX; k++) free(map->at[k]);
  *map = (Mapping){0};
}

/* Which elements the data's array holds: those of the statements with source FROM_ARRAY; `inputs_only` leaves observed ones out. */
static PgmStatus map_array(const Opening *o, int family, bool inputs_only)
{
  const PgmFamily *f = &o->m->families[family];
  PgmLayout *l = &o->s->layout[family];
  Mapping *map = &o->mapping[family];
  bool all = !inputs_only;
  mapping_free(map);
  for (int k = 0; k < f->n_index; k++) map->extent[k] = l->hi[k] - l->lo[k] + 1;
  for (int i = 0; i < o->m->n_statements; i++)
    if (o->m->statements[i].family == family) all = all && o->source[i] == FROM_ARRAY;
  if (all) return PGM_OK;
  for (int k = 0; k < f->n_index; k++)
    if (!(map->at[k] = new_array((double)map->extent[k], sizeof(long)))) return no_memory(o->error);
  for (int i = 0; i < o->m->n_statements; i++) {
    const PgmStatement *st = &o->m->statements[i];
    if (st->family != family || o->source[i] != FROM_ARRAY || (inputs_only && st->kind == PGM_S_OBSERVED)) continue;
    ElementVisit v = {.sink.run = visit_run, .each = mark_used, .l = l, .f = f, .used = map->at};
    st->elements(o->s->env, &v.sink);
  }
  for (int k = 0; k < f->n_index; k++) {
    long n = 0;
    for (long i = 0; i < map->extent[k]; i++) map->at[k][i] = map->at[k][i] ? n++ : -1;
    map->extent[k] = n;
  }
  return PGM_OK;
}

/* Row of the array that holds element `flat`, or -1. */
static long array_row(const PgmLayout *l, const PgmFamily *f, const Mapping *map, long flat)
{
  long row = 0;
  if (f->n_index == 1) return map->at[0] ? map->at[0][flat] : flat;
  for (int k = 0; k < f->n_index; k++) {
    const long i = flat / l->stride[k] % (l->hi[k] - l->lo[k] + 1), at = map->at[k] ? map->at[k][i] : i;
    if (at < 0) return -1;
    row = row * map->extent[k] + at;
  }
  return row;
}

static bool shape_fits(const PgmArray *a, const PgmFamily *f, const PgmLayout *l, const Mapping *map)
{
  if (a->rank != f->n_index + f->rank) {
    long have = 1, want = l->width;
    for (int k = 0; k < a->rank; k++) have *= a->dim[k];
    for (int k = 0; k < f->n_index; k++) want *= map->extent[k];
    return have == want && want <= 1; /* a number for an array of one, and the other way round; [] for any empty array */
  }
  for (int k = 0; k < f->n_index; k++)
    if (a->dim[k] != map->extent[k]) return false;
  for (int k = 0; k < f->rank; k++)
    if (a->dim[f->n_index + k] != l->dim[k]) return false;
  return true;
}

/* "N = 10, given in data.json": the size that a dimension of an array must agree with, or "". */
static void explain_size(const Opening *o, int family, int position, char *buffer, size_t size)
{
  buffer[0] = 0;
  for (int c = 0; c < o->m->n_counts; c++) {
    const PgmCount *count = &o->m->counts[c];
    if (count->array != family || count->position != position || !o->origin[count->size]) continue;
    snprintf(buffer, size, ", because %s = %.0f (%s)", o->m->families[count->size].name, get_scalar(o, count->size),
             o->origin[count->size]);
    return;
  }
}

static PgmStatus wrong_shape(const Opening *o, int family)
{
  const PgmFamily *f = &o->m->families[family];
  const PgmArray *a = o->array[family];
  const PgmLayout *l = &o->s->layout[family];
  const PgmStatement *st = statement_of(o->m, family);
  char place[PLACE_SIZE], line[PLACE_SIZE], name[200], why[300], what[32];
  for (int i = 0; i < o->m->n_statements; i++)
    if (o->m->statements[i].family == family && o->source[i] == FROM_ARRAY) st = &o->m->statements[i];
  line_of(o->m, st->line, line);
  pgm_data_place(a, -1, place, sizeof place);
  generic_name(f, name, sizeof name);
  if (a->rank != f->n_index + f->rank) return wrong_rank(o, family);
  for (int k = 0; k < a->rank; k++) {
    const long want = k < f->n_index ? o->mapping[family].extent[k] : l->dim[k - f->n_index];
    if (a->dim[k] == want) continue;
    explain_size(o, family, k, why, sizeof why);
    if (a->rank > 1)
      snprintf(what, sizeof what, "dimension %d has ", k + 1);
    else
      what[0] = 0;
    return pgm_fail(o->error, PGM_BAD_INPUT, "%s: %s%ld value%s, but %s%s%s needs %ld%s (%s)", place, what, a->dim[k],
                    a->dim[k] == 1 ? "" : "s", name, st->range[0] ? ", " : "", st->range, want, why, line);
  }
  return PGM_OK;
}

/* Where an entry of a family came from: a place in the data, or the line of its default. */
static char *entry_place(const Opening *o, int family, long flat, long entry, char *buffer, size_t size)
{
  const PgmFamily *f = &o->m->families[family];
  const PgmLayout *l = &o->s->layout[family];
  int index = -1;
  for (int i = 0, rank = 1; i < o->m->n_statements; i++)
    if (o->m->statements[i].family == family && (!l->piece || l->piece[flat] == rank++)) {
      index = i;
      break;
    }
  if (index >= 0 && o->source[index] == FROM_KEY) return pgm_data_place(o->key[index], o->key[index]->rank ? entry : 0, buffer, size);
  if (o->array[family] && by_value(f)) return pgm_data_place(o->array[family], 0, buffer, size);
  if (o->array[family] && (index < 0 || o->source[index] == FROM_ARRAY)) {
    const long row = array_row(l, f, &o->mapping[family], flat);
    if (row >= 0) return pgm_data_place(o->array[family], row * l->width + entry, buffer, size);
  }
  char name[200];
  const bool counted = by_value(f) && o->origin[family];
  snprintf(buffer, size, "%.200s:%d: %s%s%s%s", o->m->file, index >= 0 ? o->m->statements[index].line : f->line,
           pgm_element_name(o->s, family, flat, f->rank ? entry : -1, name, sizeof name), counted ? " (" : "",
           counted ? o->origin[family] : "", counted ? ")" : "");
  return buffer;
}

static PgmStatus bad_entry(const Opening *o, int family, long flat, long entry, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
static PgmStatus bad_entry(const Opening *o, int family, long flat, long entry, const char *format, ...)
{
  char place[PLACE_SIZE], what[300], line[PLACE_SIZE];
  const PgmFamily *f = &o->m->families[family];
  const PgmStatement *st = statement_by_rank(o->m, family, o->s->layout[family].piece ? o->s->layout[family].piece[flat] : 1);
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  return pgm_fail(o->error, PGM_BAD_INPUT, "%s: %s (%s)", entry_place(o, family, flat, entry, place, sizeof place), what,
                  line_of(o->m, st ? st->line : f->line, line));
}

static bool fits_int(double v)
{
  return v > PGM_MISSING_INT && v <= INT_MAX && floor(v) == v;
}

/* One number into the family's array; only whole ones, or missing ones if it is observed, into an integer array. */
static bool put(const PgmFamily *f, PgmLayout *l, long at, double v)
{
  if (l->data) {
    l->data[at] = v;
    return true;
  }
  if (isnan(v) && f->role == PGM_OBSERVED) {
    l->idata[at] = PGM_MISSING_INT;
    return true;
  }
  if (!fits_int(v)) return false;
  l->idata[at] = (int)v;
  return true;
}

static PgmStatus not_whole(const Opening *o, int family, long flat, long entry, double v)
{
  if (isnan(v)) return bad_entry(o, family, flat, entry, "missing; an int must be given");
  return bad_entry(o, family, flat, entry, "%.17g is not a whole number%s, but %s is an int", v, floor(v) == v ? " of 32 bits" : "",
                   o->m->families[family].name);
}

/* Copies the data's array into the family's. */
static PgmStatus copy_array(const Opening *o, int family)
{
  const PgmFamily *f = &o->m->families[family];
  const PgmArray *a = o->array[family];
  const Mapping *map = &o->mapping[family];
  PgmLayout *l = &o->s->layout[family];
  const bool identity = !map->at[0];
  if (identity && l->data && !l->piece) {
    memcpy(l->data, a->value, sizeof(double) * (size_t)(l->elements * l->width));
    return PGM_OK;
  }
  for (long flat = 0; flat < l->elements; flat++) {
    const long row = identity ? flat : array_row(l, f, map, flat);
    if (row < 0) continue;
    const double *from = a->value + row * l->width;
    for (long e = 0; e < l->width; e++) {
      if (!defined(l, flat)) {
        char place[PLACE_SIZE], line[PLACE_SIZE], name[200];
        if (isnan(from[e])) continue;
        return pgm_fail(o->error, PGM_BAD_INPUT, "%s: the model has no %s: null is expected here (rows of unequal length are padded) (%s)",
                        pgm_data_place(a, row * l->width + e, place, sizeof place),
                        pgm_element_name(o->s, family, flat, -1, name, sizeof name), line_of(o->m, f->line, line));
      }
      if (!put(f, l, flat * l->width + e, from[e])) return not_whole(o, family, flat, e, from[e]);
    }
  }
  return PGM_OK;
}

static void copy_element(ElementVisit *v, long flat)
{
  for (long e = 0; e < v->l->width && !v->bad; e++) {
    const long at = flat * v->l->width + e;
    const double now = v->l->data ? v->l->data[at] : v->l->idata[at];
    v->changed |= !(now == v->from[at]);
    if (!put(v->f, v->l, at, v->from[at])) v->bad = true, v->bad_entry = at;
  }
}

/* The element of a key ("x[0]"), from its array of one element. */
static void copy_key(ElementVisit *v, long flat)
{
  for (long e = 0; e < v->l->width && !v->bad; e++)
    if (!put(v->f, v->l, flat * v->l->width + e, v->from[e])) v->bad = true, v->bad_entry = flat * v->l->width + e;
}

static void set_pointer(const Opening *o, int family)
{
  const PgmFamily *f = &o->m->families[family];
  const PgmLayout *l = &o->s->layout[family];
  char *at = (char *)o->s->env + f->place;
  if (by_value(f)) return;
  if (f->integer)
    memcpy(at, &l->idata, sizeof l->idata);
  else
    memcpy(at, &l->data, sizeof l->data);
}

/* Decides where the elements of each statement of a family come from. */
static PgmStatus choose_sources(Opening *o, int family)
{
  bool all_have = true;
  for (int i = 0; i < o->m->n_statements; i++) {
    const PgmStatement *st = &o->m->statements[i];
    if (st->family != family || !is_data_statement(st)) continue;
    if (o->key[i])
      o->source[i] = FROM_KEY;
    else if (st->fallback && (!o->array[family] || (st->constant_index && o->m->families[family].n_index)))
      o->source[i] = FROM_DEFAULT;
    else if (o->array[family])
      o->source[i] = FROM_ARRAY;
    else {
      o->source[i] = FROM_NOWHERE;
      all_have &= (st->kind == PGM_S_OBSERVED && o->options->for_simulate) || o->options->sizes_only || !o->s->layout[family].elements;
    }
  }
  return all_have ? PGM_OK : missing_name(o, family);
}

/* Step 4 for one family, defaults excepted. */
static PgmStatus load_family(Opening *o, int family)
{
  const PgmFamily *f = &o->m->families[family];
  PgmLayout *l = &o->s->layout[family];
  const PgmArray *a = o->array[family];
  const double entries = (double)l->elements * (double)l->width;
  char line[PLACE_SIZE];
  bool any = false;
  if (by_value(f) && f->integer) { /* found already */
    const double v = get_scalar(o, family);
    if (!(l->idata = new_array(1, sizeof *l->idata))) return no_memory(o->error);
    l->idata[0] = v > INT_MAX ? INT_MAX : v < INT_MIN ? INT_MIN : (int)v;
    return PGM_OK;
  }
  PgmStatus status = choose_sources(o, family);
  if (status) return status;
  if (by_value(f) && a) {
    double v;
    if ((status = scalar_given(o, family, &v))) return status;
    set_scalar(o, family, v);
  }
  for (int i = 0; i < o->m->n_statements; i++)
    any |= o->m->statements[i].family == family && is_data_statement(&o->m->statements[i]) && o->source[i] != FROM_NOWHERE;
  if (o->options->sizes_only && !any) return PGM_OK;
  if (a && a->fault) return pgm_fail(o->error, PGM_BAD_INPUT, "%s (%s)", a->fault, line_of(o->m, f->line, line));
  if (a) {
    if ((status = map_array(o, family, false))) return status;
    if (!shape_fits(a, f, l, &o->mapping[family]) && o->options->for_simulate && f->role == PGM_OBSERVED) {
      if ((status = map_array(o, family, true))) return status; /* an array of the input elements alone will do */
      if (shape_fits(a, f, l, &o->mapping[family])) {
        for (int i = 0; i < o->m->n_statements; i++)
          if (o->m->statements[i].family == family && o->m->statements[i].kind == PGM_S_OBSERVED) o->source[i] = FROM_NOWHERE;
      } else if ((status = map_array(o, family, false))) {
        return status;
      }
    }
    if (!shape_fits(a, f, l, &o->mapping[family])) return wrong_shape(o, family);
  }
  if (a && !f->integer && !l->piece && !o->mapping[family].at[0] && !o->options->for_simulate) {
    for (int i = 0; i < o->m->n_statements && !l->borrowed; i++)
      l->borrowed = o->m->statements[i].family == family && o->source[i] == FROM_ARRAY;
  }
  if (l->borrowed)
    l->data = a->value;
  else if (f->integer)
    l->idata = new_array(entries, sizeof *l->idata);
  else
    l->data = new_array(entries, sizeof *l->data);
  if (!l->data && !l->idata)
    return pgm_fail(o->error, PGM_SYSTEM, "%s: out of memory: %s has %.0f entries", line_of(o->m, f->line, line), f->name, entries);
  if (l->data && !l->borrowed && (l->piece || !a))
    for (long i = 0; i < l->elements * l->width; i++) l->data[i] = NAN;
  if (a && !l->borrowed) status = copy_array(o, family);
  for (int i = 0; i < o->m->n_statements && !status; i++) {
    const PgmStatement *st = &o->m->statements[i];
    if (st->family != family || o->source[i] != FROM_KEY) continue;
    ElementVisit v = {.sink.run = visit_run, .each = copy_key, .l = l, .f = f, .from = o->key[i]->value};
    st->elements(o->s->env, &v.sink);
    if (v.bad) status = not_whole(o, family, v.bad_entry / l->width, v.bad_entry % l->width, v.from[v.bad_entry % l->width]);
  }
  set_pointer(o, family);
  return status;
}

/* Statements whose elements have their default, in their order, again until nothing changes: a default may read another input. */
static PgmStatus fill_defaults(Opening *o)
{
  const PgmModel *m = o->m;
  double most = 1;
  for (int i = 0; i < m->n_statements; i++) {
    const int f = m->statements[i].family;
    if (o->source[i] == FROM_DEFAULT && (double)o->s->layout[f].elements * (double)o->s->layout[f].width > most)
      most = (double)o->s->layout[f].elements * (double)o->s->layout[f].width;
  }
  double *values = new_array(most, sizeof *values);
  PgmStatus status = values ? PGM_OK : no_memory(o->error);
  bool changed = true;
  for (int sweep = 0; sweep <= m->n_statements && changed && !status; sweep++) {
    changed = false;
    for (int i = 0; i < m->n_statements && !status; i++) {
      const PgmStatement *st = &m->statements[i];
      if (o->source[i] != FROM_DEFAULT) continue;
      PgmLayout *l = &o->s->layout[st->family];
      ElementVisit v = {.sink.run = visit_run, .each = copy_element, .l = l, .from = values};
      st->fallback(o->s->env, values);
      if (by_value(&m->families[st->family])) {
        changed |= get_scalar(o, st->family) != values[0];
        set_scalar(o, st->family, values[0]);
      }
      st->elements(o->s->env, &v.sink);
      changed |= v.changed;
      if (v.bad) status = not_whole(o, st->family, v.bad_entry / l->width, v.bad_entry % l->width, values[v.bad_entry]);
    }
  }
  free(values);
  return status;
}

/* ---- keys of single elements --------------------------------------------------------------------------------------------------------- */

/* Reads "x[0]" or "x[1,2]"; returns the number of indices, 0 when it is no such key. */
static int parse_key(const char *text, size_t *name_length, long *index)
{
  const char *p = strchr(text, '[');
  int n = 0;
  if (!p || p == text) return 0;
  *name_length = (size_t)(p - text);
  do {
    char *end;
    if (n == PGM_MAX_INDEX) return 0;
    index[n++] = strtol(p + 1, &end, 10);
    if (end == p + 1) return 0;
    for (p = end; *p == ' '; p++) {
    }
  } while (*p == ',');
  return *p == ']' && !p[1] ? n : 0;
}

/* Finds the statements of a family that keys of the data name. */
static PgmStatus find_keys(Opening *o, int family)
{
  const PgmFamily *f = &o->m->families[family];
  const PgmLayout *l = &o->s->layout[family];
  for (int d = 0; d < o->data->n; d++) {
    PgmArray *a = &o->data->array[d];
    long index[PGM_MAX_INDEX], flat = 0, size = 1;
    size_t length;
    bool found = false;
    char place[PLACE_SIZE], line[PLACE_SIZE];
    const int n = parse_key(a->name, &length, index);
    if (!n || n != f->n_index || strlen(f->name) != length || memcmp(f->name, a->name, length)) continue;
    for (int k = 0; k < n; k++)
      flat = flat < 0 || index[k] < l->lo[k] || index[k] > l->hi[k] ? -1 : flat + (index[k] - l->lo[k]) * l->stride[k];
    for (int i = 0; i < o->m->n_statements && flat >= 0 && !found; i++) {
      const PgmStatement *st = &o->m->statements[i];
      Marker mark = {.sink.run = mark_extent, .elements = l->elements, .first = -1};
      if (st->family != family || !st->constant_index || !is_data_statement(st)) continue;
      st->elements(o->s->env, &mark.sink);
      if ((found = mark.first == flat)) o->key[i] = a;
    }
    a->used = true;
    pgm_data_place(a, -1, place, sizeof place);
    line_of(o->m, f->line, line);
    if (!found)
      return pgm_fail(o->error, PGM_BAD_INPUT, "%s: the model defines no such element by itself; the array %s holds the others (%s)", place,
                      f->name, line);
    if (a->fault) return pgm_fail(o->error, PGM_BAD_INPUT, "%s (%s)", a->fault, line);
    for (int k = 0; k < a->rank; k++) size *= a->dim[k];
    if (size != l->width)
      return pgm_fail(o->error, PGM_BAD_INPUT, "%s: %ld value%s, but an element of %s has %ld (%s)", place, size, size == 1 ? "" : "s",
                      f->name, l->width, line);
  }
  return PGM_OK;
}

/* ---- shapes -------------------------------------------------------------------------------------------------------------------------- */

static void layout_reset(PgmLayout *l)
{
  if (!l->borrowed) free(l->data);
  free(l->idata);
  free(l->piece);
  free(l->list);
  *l = (PgmLayout){0};
}

static size_t shape_bytes(const PgmModel *m)
{
  return sizeof(PgmBox) * (size_t)(m->n_families + m->n_terms) + 2 * sizeof(long) * (size_t)m->n_plates;
}

/* Steps 2 to 4 for one family. */
static PgmStatus place_family(Opening *o, int family)
{
  layout_reset(&o->s->layout[family]);
  PgmStatus status = lay_out(o, family);
  if (!status) status = find_elements(o, family);
  if (!status && holds_data(&o->m->families[family])) {
    status = find_keys(o, family);
    if (!status) status = load_family(o, family);
  }
  return status;
}

static bool may_bound(const PgmFamily *f)
{
  return f->integer && f->role == PGM_INPUT && !by_value(f);
}

/* Reads an integer array that a range may need. It may itself lie in ranges not known yet: then it stays NULL for now, without an error. */
static void try_ranges(Opening *o, int family)
{
  PgmError *const error = o->error;
  PgmLayout *l = &o->s->layout[family];
  o->error = NULL;
  if (lay_out(o, family) || !l->elements || place_family(o, family)) layout_reset(l);
  o->error = error;
  set_pointer(o, family);
}

/* Steps 2 to 4. Ranges may depend on integer arrays, whose own ranges depend on sizes: repeats until the boxes stay the same. */
static PgmStatus find_shape(Opening *o)
{
  const PgmModel *m = o->m;
  PgmSession *s = o->s;
  const size_t bytes = shape_bytes(m);
  PgmBox *boxes = calloc(1, bytes + 1), *before = calloc(1, bytes + 1);
  PgmStatus status = boxes && before ? PGM_OK : no_memory(o->error);
  s->shape.family = boxes;
  s->shape.term = boxes + m->n_families;
  s->shape.plate_lo = (long *)(boxes + m->n_families + m->n_terms);
  s->shape.plate_hi = s->shape.plate_lo + m->n_plates;
  for (int pass = 0; !status; pass++) {
    memcpy(before, boxes, bytes);
    m->shape(s->env, &s->shape);
    if (pass && !memcmp(before, boxes, bytes)) break;
    if (pass > m->n_families) status = pgm_fail(o->error, PGM_INTERNAL, "%s: ranges depend on each other", m->file);
    for (int f = 0; f < m->n_families && !status; f++) {
      if (!may_bound(&m->families[f])) continue;
      if (!s->layout[f].idata || memcmp(&before[f], &boxes[f], sizeof boxes[f])) try_ranges(o, f);
    }
  }
  free(before);
  for (int round = 0; round < 2; round++) /* what ranges may need first: its errors are the causes of others */
    for (int f = 0; f < m->n_families && !status; f++)
      if (!s->layout[f].idata && (round || may_bound(&m->families[f]))) status = place_family(o, f);
  return status ? status : fill_defaults(o);
}

enum { LARGE_ARRAY = 1 << 23 }; /* bytes from which large pages are asked for */

/* ---- latents ------------------------------------------------------------------------------------------------------------------------- */

void pgm_large_pages(void *array, size_t bytes)
{
#ifdef MADV_HUGEPAGE
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)array + page - 1) / page * page, to = ((uintptr_t)array + bytes) / page * page;
  if (bytes > LARGE_ARRAY && from < to) madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
  (void)array, (void)bytes;
#endif
}

/* What is eliminated is often looked at in a few places alone, each of which would cost a huge page. */
static void small_pages(const PgmSession *s)
{
#ifdef MADV_NOHUGEPAGE
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    if (!l->sd_bar || !pgm_eliminates(s->model, f)) continue;
    const uintptr_t from = ((uintptr_t)l->value + page - 1) / page * page, to = (uintptr_t)(l->sd_bar + l->elements * l->uwidth) / page * page;
    if (from < to) madvise((void *)from, to - from, MADV_NOHUGEPAGE);
  }
#endif
}

/* Arrays of latents and params; of pruned and marginal families only the value, for simulate and predict. One block of fresh pages, which
 * the system zeroes when they are first touched: what a method never uses costs nothing. */
static PgmStatus open_latents(Opening *o)
{
  PgmSession *s = o->s;
  double *next = NULL;
  for (int round = 0; round < 2; round++) { /* measure, then lay out */
    double total = 0;
    int arrays = 0;
    for (int f = 0; f < o->m->n_families; f++) {
      const PgmFamily *family = &o->m->families[f];
      PgmLayout *l = &s->layout[f];
      double **const array[] = {&l->value, &l->value_bar, &l->mean, &l->sd, &l->mean_bar, &l->sd_bar, &l->other};
      const int n = pgm_is_latent(family) ? (family->shown ? 7 : 6) : family->role == PGM_MARGINAL || family->role == PGM_PRUNED ? 1 : 0;
      for (int k = 0; k < n; k++) {
        /* whole cache lines, and one more each time, so that equal elements of large arrays do not fall on the same set of the cache */
        const double lines = ceil((double)l->elements * (double)(k < 2 || k == 6 ? l->width : l->uwidth) / 8) + 1 + arrays++ % 7;
        if (next) *array[k] = next, next += (long)lines * 8;
        total += lines * 64;
      }
      if (next && n) {
        *pgm_session_latent(s, f) = (PgmLatent){
            .value = l->value, .mean = l->mean, .sd = l->sd, .value_bar = l->value_bar, .mean_bar = l->mean_bar, .sd_bar = l->sd_bar,
            .levels = l->uwidth};
      }
    }
    if (round || total == 0) break;
    void *block = total < 1e15 ? mmap(NULL, (size_t)total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
    if (block == MAP_FAILED) return no_memory(o->error);
    s->block = next = block;
    s->block_size = (size_t)total;
    pgm_large_pages(block, s->block_size);
  }
  if (s->block_size > LARGE_ARRAY) small_pages(s);
  return PGM_OK;
}

/* ---- checks -------------------------------------------------------------------------------------------------------------------------- */

static double entry_of(const PgmLayout *l, long at)
{
  return l->data ? l->data[at] : l->idata[at] == PGM_MISSING_INT ? NAN : l->idata[at];
}

static PgmStatus find_bounds(Opening *o, int family)
{
  const PgmFamily *f = &o->m->families[family];
  PgmLayout *l = &o->s->layout[family];
  const long n = f->uniform_bounds ? 1 : l->elements;
  char line[PLACE_SIZE], name[200];
  if (!f->bounds) return PGM_OK;
  l->lower = new_array((double)n, sizeof(double));
  l->upper = new_array((double)n, sizeof(double));
  if (!l->lower || !l->upper) return no_memory(o->error);
  f->bounds(o->s->env, l->lower, l->upper);
  if (!f->has_lower) free(l->lower), l->lower = NULL;
  if (!f->has_upper) free(l->upper), l->upper = NULL;
  for (long i = 0; i < n; i++) {
    const double lower = l->lower ? l->lower[i] : -INFINITY, upper = l->upper ? l->upper[i] : INFINITY;
    const bool empty = pgm_is_latent(f) && !pgm_is_discrete(f) ? !(lower < upper) : !(lower <= upper);
    if (l->elements && (f->uniform_bounds || defined(l, i)) && empty)
      return pgm_fail(o->error, PGM_BAD_INPUT, "%s: the bounds of %s leave no room: lower %g, upper %g", line_of(o->m, f->line, line),
                      pgm_element_name(o->s, family, i, -1, name, sizeof name), lower, upper);
  }
  return PGM_OK;
}

/* Bounds of discrete latent variables, and with them the size of their tables. */
static PgmStatus find_levels(Opening *o, int family)
{
  enum { MOST = 10000 };
  const PgmFamily *f = &o->m->families[family];
  PgmLayout *l = &o->s->layout[family];
  char line[PLACE_SIZE];
  double most = 1;
  PgmStatus status = find_bounds(o, family);
  for (long i = 0; i < (f->uniform_bounds ? 1 : l->elements) && !status; i++)
    if (f->uniform_bounds || defined(l, i)) most = fmax(most, l->upper[i] - l->lower[i] + 1);
  if (!status && most > MOST)
    return pgm_fail(o->error, PGM_BAD_INPUT, "%s: %s has %.0f values; a discrete latent variable may have %d", line_of(o->m, f->line, line), f->name, most,
                    MOST);
  l->uwidth = (long)most;
  l->table = true;
  return status;
}

/* An observed element that simulate is to draw: the array holds nothing yet. */
static bool left_to_simulate(const Opening *o, int family, long flat)
{
  const PgmLayout *l = &o->s->layout[family];
  const int rank = l->piece ? l->piece[flat] : 1;
  for (int i = 0, r = 0; i < o->m->n_statements; i++)
    if (o->m->statements[i].family == family && ++r == rank) return o->source[i] == FROM_NOWHERE;
  return false;
}

static PgmStatus check_bounds(const Opening *o, int family)
{
  const PgmFamily *f = &o->m->families[family];
  const PgmLayout *l = &o->s->layout[family];
  const bool open = o->options->for_simulate && f->role == PGM_OBSERVED;
  for (long flat = 0; flat < l->elements && (l->lower || l->upper); flat++) {
    const double lower = l->lower ? l->lower[f->uniform_bounds ? 0 : flat] : -INFINITY;
    const double upper = l->upper ? l->upper[f->uniform_bounds ? 0 : flat] : INFINITY;
    if (!defined(l, flat) || (open && left_to_simulate(o, family, flat))) continue;
    for (long e = 0; e < l->width; e++) {
      const double v = entry_of(l, flat * l->width + e);
      if (v < lower) return bad_entry(o, family, flat, e, "%.17g is below the lower bound %.17g", v, lower);
      if (v > upper) return bad_entry(o, family, flat, e, "%.17g is above the upper bound %.17g", v, upper);
    }
  }
  return PGM_OK;
}

static const char *outside_support(PgmSupport support, double v)
{
  const bool whole = floor(v) == v;
  if (support != PGM_SUPPORT_ANY && isinf(v)) return "is not finite";
  switch (support) {
  case PGM_SUPPORT_POSITIVE:
    return v > 0 ? NULL : "must be positive";
  case PGM_SUPPORT_NONNEGATIVE:
    return v >= 0 ? NULL : "must not be negative";
  case PGM_SUPPORT_UNIT:
    return v > 0 && v < 1 ? NULL : "must lie between 0 and 1";
  case PGM_SUPPORT_BINARY:
    return v == 0 || v == 1 ? NULL : "must be 0 or 1";
  case PGM_SUPPORT_COUNT:
    return v >= 0 && whole ? NULL : "must be a whole number, 0 or more";
  case PGM_SUPPORT_POSITIVE_COUNT:
    return v >= 1 && whole ? NULL : "must be a whole number, 1 or more";
  case PGM_SUPPORT_SIMPLEX:
    return v >= 0 ? NULL : "must not be negative";
  case PGM_SUPPORT_REAL:
  case PGM_SUPPORT_ANY:
    break;
  }
  return NULL;
}

enum {
  STRUCTURE_OK,
  NOT_SIMPLEX,
  NOT_ORDERED,
  NOT_POSITIVE,
  NOT_SYMMETRIC,
  NOT_DEFINITE,
  NOT_UNIT_DIAGONAL,
  NOT_TRIANGULAR,
  NOT_UNIT_ROWS
};

/* Cholesky without storing it elsewhere than `work` (n * n); false when the matrix is not positive definite. */
static bool positive_definite(const double *a, long n, double *work)
{
  for (long i = 0; i < n; i++)
    for (long j = 0; j <= i; j++) {
      double sum = a[i * n + j];
      for (long k = 0; k < j; k++) sum -= work[i * n + k] * work[j * n + k];
      if (i == j && !(sum > 0)) return false;
      work[i * n + j] = i == j ? sqrt(sum) : sum / work[j * n + j];
    }
  return true;
}

/* Whether one element is what its type says; tolerances are Stan's (1e-8). Sets *entry to where it is not. */
static int check_type(PgmType type, const double *v, const long *dim, double *work, long *entry)
{
  const long n = dim[0];
  const double tolerance = 1e-8;
  double sum = 0;
  *entry = 0;
  switch (type) {
  case PGM_SIMPLEX:
    for (long i = 0; i < n; sum += v[i++])
      if (!(v[i] >= 0)) return *entry = i, NOT_SIMPLEX;
    return fabs(sum - 1) <= tolerance ? STRUCTURE_OK : NOT_SIMPLEX;
  case PGM_ORDERED:
  case PGM_POSITIVE_ORDERED:
    if (type == PGM_POSITIVE_ORDERED && n && !(v[0] > 0)) return NOT_POSITIVE;
    for (long i = 1; i < n; i++)
      if (!(v[i] > v[i - 1])) return *entry = i, NOT_ORDERED;
    return STRUCTURE_OK;
  case PGM_COV_MATRIX:
  case PGM_CORR_MATRIX:
    for (long i = 0; i < n; i++)
      for (long j = 0; j < i; j++)
        if (!(fabs(v[i * n + j] - v[j * n + i]) <= tolerance)) return *entry = i * n + j, NOT_SYMMETRIC;
    for (long i = 0; type == PGM_CORR_MATRIX && i < n; i++)
      if (!(fabs(v[i * n + i] - 1) <= tolerance)) return *entry = i * n + i, NOT_UNIT_DIAGONAL;
    return positive_definite(v, n, work) ? STRUCTURE_OK : NOT_DEFINITE;
  case PGM_CHOLESKY_CORR:
    for (long i = 0; i < n; i++) {
      sum = 0;
      for (long j = 0; j < n; sum += v[i * n + j] * v[i * n + j], j++)
        if (j > i && v[i * n + j] != 0) return *entry = i * n + j, NOT_TRIANGULAR;
      if (!(v[i * n + i] > 0)) return *entry = i * n + i, NOT_POSITIVE;
      if (!(fabs(sum - 1) <= tolerance)) return *entry = i * n, NOT_UNIT_ROWS;
    }
    return STRUCTURE_OK;
  default:
    return STRUCTURE_OK;
  }
}

static long missing_entries(const PgmLayout *l, long flat)
{
  long n = 0;
  for (long e = 0; e < l->width; e++) n += isnan(entry_of(l, flat * l->width + e));
  return n;
}

/* Missing values, supports and types of one family. */
static PgmStatus check_values(const Opening *o, int family)
{
  static const char *const why[] = {[NOT_SIMPLEX] = "not a simplex: its entries must be 0 or more and sum to 1",
                                    [NOT_ORDERED] = "not in ascending order",
                                    [NOT_POSITIVE] = "must be positive",
                                    [NOT_SYMMETRIC] = "the matrix is not symmetric",
                                    [NOT_DEFINITE] = "the matrix is not positive definite",
                                    [NOT_UNIT_DIAGONAL] = "the diagonal of a correlation matrix is 1",
                                    [NOT_TRIANGULAR] = "entries above the diagonal of a Cholesky factor are 0",
                                    [NOT_UNIT_ROWS] = "the rows of a Cholesky factor of a correlation matrix have length 1"};
  const PgmFamily *f = &o->m->families[family];
  const PgmLayout *l = &o->s->layout[family];
  double *work = NULL;
  PgmStatus status = PGM_OK;
  if (!l->data && !l->idata) return PGM_OK;
  bool finite = l->data != NULL; /* the common case, one vectorised pass */
  if (finite) {
    const long n = l->elements * l->width;
    long bad = 0;
    for (long k = 0; k < n; k++) bad += !(fabs(l->data[k]) <= DBL_MAX);
    finite = !bad;
  }
  for (int i = 0, rank = 0; i < o->m->n_statements && !status; i++) {
    const PgmStatement *st = &o->m->statements[i];
    if (st->family != family) continue;
    rank++;
    if (o->source[i] == FROM_NOWHERE) continue;
    const PgmSupport support = st->kind == PGM_S_OBSERVED ? st->support : PGM_SUPPORT_ANY;
    const unsigned char piece = (unsigned char)(rank > 255 ? 255 : rank);
    if (finite && (support == PGM_SUPPORT_REAL || support == PGM_SUPPORT_ANY)) continue;
    for (long flat = 0; flat < l->elements && !status; flat++) {
      if (l->piece && l->piece[flat] != piece) continue;
      const bool may_miss = st->kind == PGM_S_OBSERVED && f->present && (!st->whole || missing_entries(l, flat) == l->width);
      for (long e = 0; e < l->width && !status; e++) {
        const double v = entry_of(l, flat * l->width + e);
        const char *wrong = isnan(v) ? NULL : outside_support(support, v);
        if (isnan(v) && may_miss) continue;
        if (isnan(v) && st->whole)
          status = bad_entry(o, family, flat, e, "missing; entries that have one distribution are given together or not at all");
        else if (isnan(v))
          status = bad_entry(o, family, flat, e, st->kind == PGM_S_OBSERVED ? "missing" : "missing; an input must be given");
        else if (wrong)
          status = bad_entry(o, family, flat, e, "%.17g %s: %s", v, wrong, st->text);
      }
    }
  }
  if (f->type < PGM_SIMPLEX) return status;
  if (!status && !(work = new_array((double)l->width, sizeof *work))) return no_memory(o->error);
  for (long flat = 0; flat < l->elements && !status; flat++) {
    long entry;
    if (!defined(l, flat) || isnan(l->data[flat * l->width])) continue; /* NaN: left to simulate */
    const int wrong = check_type(f->type, l->data + flat * l->width, l->dim, work, &entry);
    if (wrong) status = bad_entry(o, family, flat, entry, "%s", why[wrong]);
  }
  free(work);
  return status;
}

/* Lengths of vectors and matrices that must agree. */
static PgmStatus check_lengths(const Opening *o)
{
  for (int i = 0; i < o->m->n_lengths; i++) {
    const PgmLengthCheck *c = &o->m->lengths[i];
    long a, b;
    c->values(o->s->env, &a, &b);
    if (a != b)
      return pgm_fail(o->error, PGM_BAD_INPUT, "%s:%d:%d: lengths that must be equal differ: %s is %ld, %s is %ld", o->m->file, c->line, c->column, c->a, a,
                      c->b, b);
  }
  return PGM_OK;
}

/* Per element 1 where all of it is given. */
static unsigned char *whole_elements(const PgmLayout *l)
{
  unsigned char *given = malloc((size_t)l->elements + 1);
  for (long flat = 0; given && flat < l->elements; flat++) given[flat] = !memchr(l->present + flat * l->width, 0, (size_t)l->width);
  return given;
}

/* A statement that needs a missing value. */
static PgmStatus needs_missing(const Opening *o, const PgmRangeCheck *c, const PgmMiss *miss, const char *statement, const char *units)
{
  const PgmLayout *l = &o->s->layout[c->family];
  char place[PLACE_SIZE];
  long flat = 0, entry = 0;
  for (int k = 0; k < miss->n_index; k++) flat += (miss->index[k] - l->lo[k]) * l->stride[k];
  while (l->present[flat * l->width + entry]) entry++;
  return pgm_fail(o->error, PGM_BAD_INPUT, "%s: missing, and %s needs it%s (%s:%d)%s", entry_place(o, c->family, flat, entry, place, sizeof place),
                  statement, units, o->m->file, c->line, miss->n > 1 ? "; it is not the only one" : "");
}

/* References that could not be proved in range when the model was compiled. */
static PgmStatus check_references(const Opening *o)
{
  const PgmModel *m = o->m;
  for (int i = 0; i < m->n_checks; i++) {
    const PgmRangeCheck *c = &m->checks[i];
    const PgmLayout *l = &o->s->layout[c->family];
    const PgmFamily *f = &m->families[c->family];
    PgmSpan span = {.first = 0, .count = 1, .weight = 1};
    if (c->plate >= 0 && m->plates[c->plate].variable) {
      span.first = o->s->shape.plate_lo[c->plate];
      span.count = o->s->shape.plate_hi[c->plate] - span.first + 1;
    }
    if (c->missing && !l->missing) continue;                                /* all are given, or simulate draws them */
    unsigned char *given = c->missing ? whole_elements(l) : NULL;
    if (c->missing && !given) return no_memory(o->error);
    const PgmDefined d = {l->lo, l->hi, c->missing ? given : l->piece};
    PgmMiss miss = {0};
    char index[200] = "", units[300] = "", range[300] = "";
    size_t used = 0;
    const long misses = span.count > 0 ? c->check(o->s->env, &span, &d, &miss) : 0;
    free(given);
    if (!misses) continue;
    for (int k = 0; k < miss.n_index && used < sizeof index; k++)
      used +=
          (size_t)snprintf(index + used, sizeof index - used, "%s%ld%s", k ? "," : "[", miss.index[k], k + 1 == miss.n_index ? "]" : "");
    const PgmTerm *term = NULL;
    for (int t = 0; t < m->n_terms; t++)
      if (m->terms[t].statement == c->term_statement) term = &m->terms[t];
    used = 0;
    for (int k = 0; term && k < term->n_plates && used < sizeof units; k++)
      used += (size_t)snprintf(units + used, sizeof units - used, "%s%s = %ld", k ? ", " : " at ", term->plates[k], miss.unit[k]);
    used = 0;
    for (int s = 0; s < m->n_statements && used < sizeof range; s++) {
      if (m->statements[s].family != c->family) continue;
      used += (size_t)snprintf(range + used, sizeof range - used, "%s%s", used ? "; " : "",
                               m->statements[s].range[0] ? m->statements[s].range : m->statements[s].text);
    }
    const PgmStatement *st = c->term_statement >= 0 ? &m->statements[c->term_statement] : NULL;
    if (c->missing) return needs_missing(o, c, &miss, st ? st->text : c->text, units);
    return pgm_fail(o->error, PGM_BAD_INPUT, "%s:%d:%d: %s%s, which %s refers to%s, does not exist%s%s%s", m->file, c->line, c->column,
                    f->name, index, st ? st->text : c->text, units, range[0] ? "; it is defined for " : "", range,
                    miss.n > 1 ? " (and it is not the only one)" : "");
  }
  return PGM_OK;
}

/* ---- notes --------------------------------------------------------------------------------------------------------------------------- */

static PgmStatus note_unused(Opening *o)
{
  PgmStatus status = PGM_OK;
  for (int i = 0; i < o->data->n && !status; i++) {
    const PgmArray *a = &o->data->array[i];
    char names[400];
    size_t used = 0;
    int more = 0;
    bool reported = a->used;
    for (int k = 0; k < i && !reported; k++) reported = o->data->array[k].file == a->file && !o->data->array[k].used;
    if (reported) continue;
    for (int k = i; k < o->data->n; k++) {
      const PgmArray *b = &o->data->array[k];
      if (b->used || b->file != a->file) continue;
      if (used + strlen(b->name) + 3 < sizeof names)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", b->name);
      else
        more++;
    }
    if (more)
      status = note(o->s, o->error, "%s: not used by the model: %s and %d more", a->file, names, more);
    else if (used)
      status = note(o->s, o->error, "%s: not used by the model: %s", a->file, names);
  }
  return status;
}

/* ---- opening and closing ------------------------------------------------------------------------------------------------------------- */

/* Loops over nodes run in whole vectors: the rest of one would be scalar calls of exp and log. */
#if defined __AVX512F__
enum { LANES = 8 };
#elif defined __AVX__
enum { LANES = 4 };
#else
enum { LANES = 2 };
#endif

static int whole_vectors(int nodes)
{
  return (nodes + LANES - 1) / LANES * LANES;
}

/* Gauss-Hermite rule for a standard normal: nodes and weights in one block, nodes first, in whole vectors: after the n nodes the last one again, with
 * weight 0. */
static double *hermite_rule(int n)
{
  const int all = whole_vectors(n);
  gsl_error_handler_t *handler = gsl_set_error_handler_off();
  gsl_integration_fixed_workspace *w = gsl_integration_fixed_alloc(gsl_integration_fixed_hermite, (size_t)n, 0, 0.5, 0, 0);
  double *rule = new_array(2. * all, sizeof *rule), sum = 0;
  gsl_set_error_handler(handler);
  if (w && rule) {
    const double *x = gsl_integration_fixed_nodes(w), *weight = gsl_integration_fixed_weights(w);
    for (int i = 0; i < n; i++) { /* exactly symmetric */
      rule[i] = (x[i] - x[n - 1 - i]) / 2;
      rule[all + i] = weight[i] + weight[n - 1 - i];
      sum += rule[all + i];
    }
    for (int i = 0; i < n; i++) rule[all + i] /= sum;
    for (int i = n; i < all; i++) rule[i] = rule[n - 1], rule[all + i] = 0;
  } else {
    free(rule);
    rule = NULL;
  }
  gsl_integration_fixed_free(w);
  return rule;
}

bool pgm_session_nodes(PgmSession *s, bool few)
{
  few = few && s->nodes > FEW_NODES;
  const int all = whole_vectors(few ? FEW_NODES : s->nodes);
  const double *rule = s->rule[few];
  *(PgmEnvBase *)s->env = (PgmEnvBase){all, rule, rule ? rule + all : NULL};
  return few;
}

/* Small data are not worth waking threads for: they cost more than the work, above all where other programs want the cores. The results are the
 * same for any number. Counted are the numbers that one evaluation reads, quadrature terms per node. */
static int useful_threads(const PgmSession *s, int wanted)
{
  enum { WORTH_A_THREAD = 65536 };
  const PgmModel *m = s->model;
  double work = 0;
  for (int f = 0; f < m->n_families; f++)
    if (m->families[f].role != PGM_LET) work += (double)s->layout[f].elements * (double)s->layout[f].width;
  for (int t = 0; t < m->n_terms; t++)
    if (m->terms[t].method == PGM_QUADRATURE) work += (double)pgm_term_size(s, t) * DEFAULT_NODES;
  return work < WORTH_A_THREAD ? 1 : wanted;
}

static PgmStatus opening_run(Opening *o)
{
  const PgmModel *m = o->m;
  PgmSession *s = o->s;
  const int nodes = o->options->quad_n > 0 ? o->options->quad_n : DEFAULT_NODES;
  PgmStatus status = PGM_OK;
  if (m->abi != PGM_ABI)
    return pgm_fail(o->error, PGM_INTERNAL, "%s: compiled for runtime interface %d, this is %d", m->name, m->abi, PGM_ABI);
  s->env = new_array((double)m->env_size, 1);
  s->layout = calloc((size_t)m->n_families + 1, sizeof *s->layout);
  o->array = calloc((size_t)m->n_families + 1, sizeof *o->array);
  o->mapping = calloc((size_t)m->n_families + 1, sizeof *o->mapping);
  o->known = calloc((size_t)m->n_families + 1, sizeof *o->known);
  o->origin = calloc((size_t)m->n_families + 1, sizeof *o->origin);
  o->source = calloc((size_t)m->n_statements + 1, sizeof *o->source);
  o->key = calloc((size_t)m->n_statements + 1, sizeof *o->key);
  double *rule = s->rule[0] = hermite_rule(nodes), *few = s->rule[1] = hermite_rule(FEW_NODES);
  s->nodes = nodes;
  if (s->env) pgm_session_nodes(s, false);
  if (!s->env || !s->layout || !o->array || !o->mapping || !o->known || !o->origin || !o->source || !o->key || !rule || !few) return no_memory(o->error);
  for (int i = 0; i < o->data->n; i++) o->data->array[i].used = false;
  for (int f = 0; f < m->n_families; f++) {
    if (!holds_data(&m->families[f])) continue;
    PgmArray *a = o->array[f] = pgm_data_find(o->data, m->families[f].name);
    char line[PLACE_SIZE];
    if (a) a->used = true;
    if (a && a->fault && by_value(&m->families[f]))
      return pgm_fail(o->error, PGM_BAD_INPUT, "%s (%s)", a->fault, line_of(m, m->families[f].line, line));
  }
  status = find_integers(o);
  if (!status) status = find_shape(o);
  bool incomplete = false; /* bounds may read arrays that were not given */
  for (int f = 0; f < m->n_families; f++) incomplete |= holds_data(&m->families[f]) && !s->layout[f].data && !s->layout[f].idata;
  for (int f = 0; f < m->n_families && !status; f++)
    if ((pgm_is_discrete(&m->families[f]) || m->families[f].role == PGM_MARGINAL) && (m->families[f].uniform_bounds || !incomplete)) status = find_levels(o, f);
  if (!status) status = open_latents(o);
  for (int f = 0; f < m->n_families && !status; f++) {
    if (!s->layout[f].table && (m->families[f].uniform_bounds || !incomplete)) status = find_bounds(o, f);
    if (!status && holds_data(&m->families[f]) && (s->layout[f].data || s->layout[f].idata)) {
      status = check_values(o, f);
      if (!status) status = check_bounds(o, f);
      if (!status && m->families[f].present) status = pgm_missing_settle(s, f, o->options->for_simulate, o->error);
    }
  }
  if (!status && !o->options->sizes_only) status = check_lengths(o);
  if (!status && !o->options->sizes_only) status = check_references(o);
  if (!status) status = note_unused(o);
  if (!status && o->options->threads <= 0) s->threads = useful_threads(s, s->threads);
  if (!status && !o->options->sizes_only) status = pgm_engine_open(s, o->error);
  return status;
}

PgmStatus pgm_session_open(PgmSession **out, const PgmModel *model, const PgmData *data, const PgmSessionOptions *options, PgmError *error)
{
  const PgmSessionOptions defaults = {0};
  Opening o = {.m = model, .data = data, .options = options ? options : &defaults, .error = error};
  *out = NULL;
  if (!(o.s = calloc(1, sizeof *o.s))) return no_memory(error);
  o.s->model = model;
  o.s->data = data;
  o.s->threads = o.options->threads > 0 ? o.options->threads : omp_get_max_threads();
  const PgmStatus status = opening_run(&o);
  for (int f = 0; f < model->n_families; f++) {
    if (o.mapping) mapping_free(&o.mapping[f]);
    if (o.origin) free(o.origin[f]);
  }
  free(o.array);
  free(o.mapping);
  free(o.known);
  free(o.origin);
  free(o.source);
  free(o.key);
  if (status)
    pgm_session_close(o.s);
  else
    *out = o.s;
  return status;
}

void pgm_session_close(PgmSession *s)
{
  if (!s) return;
  pgm_engine_close(s);
  pgm_alike_close(s);
  for (int f = 0; f < s->model->n_families && s->layout; f++) {
    PgmLayout *l = &s->layout[f];
    free(l->lower);
    free(l->upper);
    free(l->present);
    free(l->excluded);
    layout_reset(l);
  }
  if (s->block) munmap(s->block, s->block_size);
  free(s->layout);
  free(s->shape.family);
  free(s->rule[0]);
  free(s->rule[1]);
  free(s->env);
  for (int i = 0; i < s->n_notes; i++) free(s->notes[i]);
  free(s->notes);
  free(s);
}
