/* given.h. Arrays are as in the runtime's session.c: all elements of a name, lowest index first, those of constant index with a default apart, by
 * keys of their own ("x[0]"). */
#include "given.h"

#include <math.h>
#include <string.h>

static bool is_size(const Family *f) { return f->role == ROLE_INPUT && !f->n_index && f->type.kind == TY_INT; }

static void set_size(Given *d, int family, double value)
{
  if (value != floor(value) || fabs(value) > 1e15) return;
  d->has_size[family] = true;
  d->size[family] = (long)value;
}

static void count_size(Given *d, const SizeCount *c)
{
  const PgmArray *a = d->array[c->array];
  const Family *f = &d->m->families.at[c->array];
  if (d->has_size[c->size] || !a || a->fault) return;
  if (c->position >= 0) {
    if (a->rank == f->n_index + type_rank(f->type.kind)) set_size(d, c->size, (double)(a->dim[c->position] - c->extra));
    return;
  }
  long n = 1;
  double largest = -INFINITY;
  for (int k = 0; k < a->rank; k++) n *= a->dim[k];
  for (long i = 0; i < n; i++)
    if (a->value[i] > largest) largest = a->value[i];
  if (isfinite(largest)) set_size(d, c->size, largest);
}

PgmStatus given_read(const Model *m, const char *path, Given **out, PgmError *error)
{
  Given *d = *out = NEW(Given);
  PgmData *data = pgm_data_new();
  PgmStatus status = data ? pgm_data_read(data, path, error) : pgm_fail(error, PGM_SYSTEM, "out of memory");
  if (status) {
    pgm_data_free(data);
    return status;
  }
  *d = (Given){.file = path, .m = m, .data = data, .has_size = NEW_ARRAY(bool, m->families.n), .size = NEW_ARRAY(long, m->families.n),
               .array = NEW_ARRAY(const PgmArray *, m->families.n)};
  for (int i = 0; i < data->n; i++) d->keys = d->keys || strchr(data->array[i].name, '[');
  for (int f = 0; f < m->families.n; f++) {
    const Family *x = &m->families.at[f];
    const PgmArray *a = pgm_data_find(data, x->name);
    if (!a) continue;
    if (a->fault && (x->role == ROLE_INPUT || x->role == ROLE_OBSERVED)) return pgm_fail(error, PGM_BAD_INPUT, "%s", a->fault);
    if (is_size(x)) {
      if (a->rank || a->value[0] != floor(a->value[0])) return pgm_fail(error, PGM_BAD_INPUT, "%s: %s is a whole number", path, x->name);
      set_size(d, f, a->value[0]);
    } else if (x->n_index) {
      if (a->rank != x->n_index + type_rank(x->type.kind))
        return pgm_fail(error, PGM_BAD_INPUT, "%s: %s has %d dimensions, not %d", path, x->name, a->rank, x->n_index + type_rank(x->type.kind));
      d->array[f] = a;
    }
  }
  SizeCounts counts = {0};
  model_counts(m, &counts);
  for (int i = 0; i < counts.n; i++)
    if (counts.at[i].position >= 0) count_size(d, &counts.at[i]);
  for (int i = 0; i < m->stmts.n; i++) {
    const Stmt *s = &m->stmts.at[i];
    long value;
    if (s->kind == ST_INPUT && s->value && is_size(&m->families.at[s->family]) && !d->has_size[s->family] && mexpr_const_int(s->value, &value))
      set_size(d, s->family, (double)value);
  }
  for (int i = 0; i < counts.n; i++) count_size(d, &counts.at[i]);
  return PGM_OK;
}

/* "x[0]" */
static const PgmArray *find_key(const Given *d, int family, int n, const long *index)
{
  StrBuf key = {0};
  sb_puts(&key, d->m->families.at[family].name);
  for (int k = 0; k < n; k++) sb_printf(&key, "%s%ld", k ? "," : "[", index[k]);
  sb_putc(&key, ']');
  return pgm_data_find(d->data, sb_text(&key));
}

bool given_value(const Given *d, int family, int n, const long *index, const long *low, double *value, bool *missing)
{
  const PgmArray *a = d->keys ? find_key(d, family, n, index) : NULL;
  long at = 0, width = 1;
  if (!a) {
    a = d->array[family];
    if (!a) return false;
    for (int k = 0; k < n; k++) {
      long i = index[k] - low[k];
      if (i < 0 || i >= a->dim[k]) return false;
      at = at * a->dim[k] + i;
    }
    for (int k = n; k < a->rank; k++) width *= a->dim[k];
  } else
    for (int k = 0; k < a->rank; k++) width *= a->dim[k];
  *missing = false;
  for (long i = 0; i < width; i++) *missing = *missing || isnan(a->value[at * width + i]);
  *value = a->value[at * width];
  return true;
}
