/* Values of families in files: nested arrays in JSON, columns of Stan CSV, and the way back. In: arrays in the layout of a session. Out: text.
 *
 * An array in a data file holds all elements of a family, lowest index first, except single elements with a default (`input x[0] = 0;`),
 * which have keys of their own ("x[0]"). So x[0..N] of the model is N numbers in the file. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

bool pgm_cli_is_drawn(const PgmFamily *f)
{
  return pgm_is_latent(f) || f->role == PGM_PRUNED;
}

static long family_size(const PgmSession *s, int family)
{
  return s->layout[family].elements * s->layout[family].width;
}

/* The number at a flat entry: from `value`, or the session's data. */
static double entry_value(const PgmSession *s, int family, const double *value, long entry)
{
  const PgmLayout *l = &s->layout[family];
  if (value) return value[entry];
  if (l->idata) return l->idata[entry];
  if (l->data) return l->data[entry];
  const char *place = (const char *)s->env + s->model->families[family].place; /* a scalar input stands in the env itself */
  return s->model->families[family].integer ? (double)*(const long *)place : *(const double *)place;
}

/* Does the array in a data file hold this element? `own_keys`: which of the family's statements, by rank, have keys of their own. */
static bool in_array(const PgmLayout *l, const bool *own_keys, long element)
{
  return l->piece ? l->piece[element] != 0 && !own_keys[l->piece[element] - 1] : !own_keys[0];
}

/* The statements of a family that define one element with a default, by rank; every statement of a family without index counts as array. */
static bool *find_own_keys(const PgmModel *model, int family)
{
  bool *own = calloc((size_t)model->n_statements + 1, sizeof *own);
  int rank = 0;
  for (int i = 0; own && i < model->n_statements; i++) {
    const PgmStatement *statement = &model->statements[i];
    if (statement->family == family) own[rank++] = model->families[family].n_index && statement->constant_index && statement->fallback;
  }
  return own;
}

static void unravel(const PgmLayout *l, int n_index, long element, long *index)
{
  for (int k = n_index - 1; k >= 0; k--) {
    long extent = l->hi[k] - l->lo[k] + 1;
    index[k] = l->lo[k] + element % extent;
    element /= extent;
  }
}

/* Copies the part of the family's box that holds the elements wanted: extents in dim (indices, then the element's), undefined ones NaN.
 * NULL: out of memory. */
static double *cut_box(const PgmSession *s, int family, const double *value, const bool *own_keys, int *rank, long *dim)
{
  const PgmFamily *f = &s->model->families[family];
  const PgmLayout *l = &s->layout[family];
  long lo[PGM_MAX_INDEX], hi[PGM_MAX_INDEX], index[PGM_MAX_INDEX], count = l->width;
  for (int k = 0; k < f->n_index; k++) lo[k] = l->hi[k] + 1, hi[k] = l->lo[k] - 1;
  for (long e = 0; e < l->elements; e++) {
    if (!in_array(l, own_keys, e)) continue;
    unravel(l, f->n_index, e, index);
    for (int k = 0; k < f->n_index; k++) {
      if (index[k] < lo[k]) lo[k] = index[k];
      if (index[k] > hi[k]) hi[k] = index[k];
    }
  }
  *rank = f->n_index + f->rank;
  for (int k = 0; k < f->n_index; k++) count *= dim[k] = hi[k] >= lo[k] ? hi[k] - lo[k] + 1 : 0;
  for (int k = 0; k < f->rank; k++) dim[f->n_index + k] = l->dim[k];
  double *cut = malloc(((size_t)count + 1) * sizeof *cut);
  if (!cut) return NULL;
  for (long i = 0; i < count; i++) cut[i] = NAN;
  for (long e = 0; e < l->elements; e++) {
    if (!in_array(l, own_keys, e)) continue;
    unravel(l, f->n_index, e, index);
    long position = 0;
    for (int k = 0; k < f->n_index; k++) position = position * dim[k] + index[k] - lo[k];
    for (long i = 0; i < l->width; i++) cut[position * l->width + i] = entry_value(s, family, value, e * l->width + i);
  }
  return cut;
}

void pgm_cli_json_box(PgmJson *j, const char *key, const PgmSession *s, int family, const double *value)
{
  int rank;
  long dim[PGM_MAX_INDEX + 2];
  bool *none = calloc((size_t)s->model->n_statements + 1, sizeof *none);
  double *cut = none ? cut_box(s, family, value, none, &rank, dim) : NULL;
  if (cut)
    pgm_json_values(j, key, rank, dim, cut);
  else
    pgm_json_null(j, key);
  free(cut);
  free(none);
}

void pgm_cli_json_family(PgmJson *j, const PgmSession *s, int family, const double *value)
{
  int rank;
  long dim[PGM_MAX_INDEX + 2];
  const PgmFamily *f = &s->model->families[family];
  bool *own = find_own_keys(s->model, family);
  double *cut = own ? cut_box(s, family, value, own, &rank, dim) : NULL;
  if (cut && (f->n_index == 0 || dim[0] > 0)) pgm_json_values(j, f->name, rank, dim, cut);
  free(cut);
  const PgmLayout *l = &s->layout[family];
  for (long e = 0; own && e < l->elements; e++) { /* "x[0]": 0.5, where the data gave it */
    char name[256];
    if ((l->piece && !l->piece[e]) || in_array(l, own, e)) continue;
    pgm_element_name(s, family, e, -1, name, sizeof name);
    if (pgm_data_find(s->data, name)) pgm_json_number(j, name, entry_value(s, family, value, e * l->width));
  }
  free(own);
}

/* "2 x 3" */
static char *extents_text(int rank, const long *dim, char *buffer, size_t size)
{
  size_t length = 0;
  snprintf(buffer, size, "one number");
  for (int d = 0; d < rank && length < size; d++)
    length += (size_t)snprintf(buffer + length, size - length, "%s%ld", d ? " x " : "", dim[d]);
  return buffer;
}

PgmStatus pgm_cli_read_family(PgmCli *cli, const PgmSession *s, const PgmData *data, int family, double *value, bool *found)
{
  const PgmFamily *f = &s->model->families[family];
  const PgmLayout *l = &s->layout[family];
  const PgmArray *a = pgm_data_find(data, f->name);
  long dim[PGM_MAX_INDEX + 2];
  char have[128], want[128];
  *found = a != NULL;
  if (!a) return PGM_OK;
  for (int k = 0; k < f->n_index; k++) dim[k] = l->hi[k] - l->lo[k] + 1;
  for (int k = 0; k < f->rank; k++) dim[f->n_index + k] = l->dim[k];
  bool fits = a->rank == f->n_index + f->rank;
  for (int k = 0; fits && k < a->rank; k++) fits = a->dim[k] == dim[k];
  if (!fits) {
    return pgm_fail(&cli->error, PGM_BAD_INPUT, "%s: %s: has %s, where the model wants %s", a->file, f->name,
                    extents_text(a->rank, a->dim, have, sizeof have), extents_text(f->n_index + f->rank, dim, want, sizeof want));
  }
  for (long e = 0; e < l->elements; e++) {
    if (l->piece && !l->piece[e]) continue;
    for (long i = e * l->width; i < (e + 1) * l->width; i++) {
      char place[256];
      if (!isfinite(a->value[i]))
        return pgm_fail(&cli->error, PGM_BAD_INPUT, "%s: is not a finite number", pgm_data_place(a, i, place, sizeof place));
      value[i] = a->value[i];
    }
  }
  return PGM_OK;
}

/* ---- Stan CSV ------------------------------------------------------------------------------------------------------------------------------------------ */

/* Counts through the entries of a family in column-major order: the first index runs fastest. */
typedef struct {
  int rank;
  long extent[PGM_MAX_INDEX + 2], stride[PGM_MAX_INDEX + 2], at[PGM_MAX_INDEX + 2];
  long entry, left;
} Columns;

static Columns columns_start(const PgmSession *s, int family)
{
  const PgmFamily *f = &s->model->families[family];
  const PgmLayout *l = &s->layout[family];
  Columns c = {.rank = f->n_index + f->rank, .left = family_size(s, family)};
  for (int k = 0; k < f->n_index; k++) c.extent[k] = l->hi[k] - l->lo[k] + 1;
  for (int k = 0; k < f->rank; k++) c.extent[f->n_index + k] = l->dim[k];
  long stride = 1;
  for (int k = c.rank - 1; k >= 0; k--) c.stride[k] = stride, stride *= c.extent[k];
  return c;
}

static void columns_next(Columns *c)
{
  c->left--;
  for (int k = 0; k < c->rank; k++) {
    c->entry += c->stride[k];
    if (++c->at[k] < c->extent[k]) return;
    c->entry -= c->stride[k] * c->extent[k];
    c->at[k] = 0;
  }
}

void pgm_cli_print_columns(FILE *out, const PgmSession *s, int family, bool first)
{
  for (Columns c = columns_start(s, family); c.left > 0; columns_next(&c), first = false) {
    fprintf(out, "%s%s", first ? "" : ",", s->model->families[family].name);
    for (int k = 0; k < c.rank; k++) fprintf(out, ".%ld", c.at[k] + 1);
  }
}

void pgm_cli_print_values(FILE *out, const PgmSession *s, int family, const double *value, bool first)
{
  const PgmLayout *l = &s->layout[family];
  for (Columns c = columns_start(s, family); c.left > 0; columns_next(&c), first = false) {
    if (!first) putc(',', out);
    if (l->piece && !l->piece[c.entry / l->width])
      fputs("nan", out);
    else if (!value && l->idata)
      fprintf(out, "%d", l->idata[c.entry]);
    else
      fprintf(out, "%.10g", entry_value(s, family, value, c.entry));
  }
}
