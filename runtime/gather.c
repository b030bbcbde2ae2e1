/* Inputs of inference functions: from references to features. See gather.h. */
#include "gather.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "encoder.h"
#include "source.h"

enum { FARTHEST = 8, MAX_PRODUCTS = 64 };

typedef enum { K_ENTRIES, K_STORED, K_SLOTS, K_MEMBERS } InputKind;

typedef struct {
  InputKind kind;
  PgmReference *reference;
  int family;
  long columns;
  /* K_ENTRIES, K_SLOTS: per row, `slots` elements; of each the entries entry[0..n_entries-1] */
  long slots, n_entries, *entry,
      *at; /* at[row * slots + slot]: flat index, or -1; once bound, K_SLOTS: at[row * columns + c]: place in the parameters */
  /* K_STORED: computed once; NaN: absent */
  double *stored; /* rows x columns */
  /* K_MEMBERS */
  int encoder, level;
  bool slice, levels, gaps; /* gaps: a column tells which members lack it */
  long lo, hi;              /* levels */
} Input;

/* The share of input `of` that is absent; whether piece `of` defines the element; or the product of flag `of` and column `column`. */
typedef enum { F_ABSENT, F_PIECE, F_PRODUCT } FlagKind;
typedef struct {
  FlagKind kind;
  int of, column;
} Flag;

struct PgmGather {
  const PgmSession *s;
  int family;
  long rows, n_columns, n_features; /* columns: without flags and outputs of encoders */
  int n_inputs;
  Input *input;
  int n_flags;
  Flag *flag;
  double *center, *inverse; /* per column of inputs */
  int n_encoders;
  PgmEncoder *encoder[PGM_MAX_ENCODERS];
  long outputs[PGM_MAX_ENCODERS], weights[PGM_MAX_ENCODERS];
  /* planned, until they are opened */
  PgmMembers members[PGM_MAX_ENCODERS];
  int n_slots[PGM_MAX_ENCODERS];
  PgmSlot *slot[PGM_MAX_ENCODERS];
  bool slots;      /* some columns are parameters of other factors */
  const double *x; /* the parameters, as last prepared */
};

static void *get(size_t n, size_t size)
{
  return calloc(n ? n : 1, size);
}

/* ---- single inputs ------------------------------------------------------------------------------------------------------------------- */

static bool plan_entries(PgmReader *p, Input *in, long rows, int latent)
{
  in->kind = K_ENTRIES;
  in->columns = in->slots * in->n_entries;
  in->at = get((size_t)(rows * in->slots), sizeof *in->at);
  if (!in->at) return pgm_reader_complain(p, "out of memory");
  for (long row = 0; row < rows; row++) {
    long index[PGM_MAX_INDEX], defined;
    pgm_row_index(p->s, latent, row, index);
    if (pgm_reference_visit(p->s, p->ref, index, in->at + row * in->slots, &defined) < 0)
      for (long k = 0; k < in->slots; k++) in->at[row * in->slots + k] = -1;
  }
  return true;
}

/* An integer column as one indicator per level but the first. */
static bool plan_levels(PgmReader *p, Input *in, long rows, const double *column, long lo, long hi)
{
  in->kind = K_STORED;
  in->columns = hi - lo;
  in->stored = get((size_t)(rows * in->columns), sizeof *in->stored);
  if (!in->stored) return pgm_reader_complain(p, "out of memory");
  for (long row = 0; row < rows; row++)
    for (long k = 0; k < in->columns; k++)
      in->stored[row * in->columns + k] = isnan(column[row]) ? NAN : column[row] == (double)(lo + 1 + k);
  return true;
}

/* The one column of a scalar reference or an index; NaN: absent. */
static double *scalar_column(PgmReader *p, const Input *in, long rows, int latent)
{
  double *column = get((size_t)rows, sizeof *column);
  if (!column) return NULL;
  for (long row = 0; row < rows; row++) {
    long index[PGM_MAX_INDEX], at, defined;
    pgm_row_index(p->s, latent, row, index);
    if (p->ref->family < 0) {
      column[row] = (double)index[p->ref->index];
      continue;
    }
    if (pgm_reference_visit(p->s, p->ref, index, &at, &defined) < 0) at = -1;
    long entry = at < 0 ? -1 : at * p->s->layout[in->family].width + in->entry[0];
    column[row] = entry < 0 || pgm_entry_missing(p->s, in->family, entry) ? NAN : pgm_entry_value(p->s, in->family, entry);
  }
  return column;
}

/* Columns that are parameters of another variable's factors. */
static bool plan_slots(PgmReader *p, Input *in, long rows, int latent)
{
  if (!plan_entries(p, in, rows, latent)) return false;
  in->kind = K_SLOTS;
  long *code = get((size_t)(rows * in->columns), sizeof *code);
  if (!code) return pgm_reader_complain(p, "out of memory");
  for (long i = 0; i < rows * in->slots; i++)
    for (long e = 0; e < in->n_entries; e++) code[i * in->n_entries + e] = in->at[i] < 0 ? -1 : in->at[i] * in->n_entries + in->entry[e];
  free(in->at);
  in->at = code;
  return true;
}

/* How an input is taken, as its text says or as its reference suggests. */
typedef enum { AS_ENTRIES, AS_NUMBER, AS_SET, AS_SLICE } Form;
static const char *const form_words[] = {"entries ", "number ", "set ", "slice "};

/* The form of several elements that no text chooses: the verdict tells sets from slices, a fixed number of elements are entries. */
static Form form_of(const PgmSession *s, const PgmReference *r, int latent, long rows, long *slots)
{
  const PgmModel *m = s->model;
  for (int i = 0; i < m->n_amortize && !r->set && !r->runs; i++) {
    if (m->amortize[i].family != latent) continue;
    bool star = false;
    for (int k = 0; k < m->families[r->family].n_index; k++) star = star || r->position[k].kind == P_STAR;
    if (star && !strcmp(m->amortize[i].domain_kind, "slice")) return AS_SLICE;
    if (star && !strcmp(m->amortize[i].domain_kind, "set")) return AS_SET;
  }
  return !r->set && !r->runs && pgm_reference_width(s, r, latent, rows, slots) ? AS_ENTRIES : AS_SET;
}

/* Plans one input. `text` may carry choices ("set ", "levels a..b of "), which then hold. *chosen (for a new function): the text with all choices. */
static bool plan_input(PgmReader *p, Input *in, int latent, long rows, const char *text, char **chosen)
{
  const PgmSession *s = p->s;
  long lo = 0, hi = -1;
  int form = -1, skip = 0, length = 0;
  for (int k = 0; k < (int)(sizeof form_words / sizeof *form_words) && form < 0; k++)
    if (!strncmp(text, form_words[k], strlen(form_words[k]))) form = k, skip = (int)strlen(form_words[k]);
  in->gaps = !strncmp(text + skip, "gaps ", 5);
  if (in->gaps) skip += 5;
  in->gaps = in->gaps && !chosen; /* a new function finds out by itself */
  bool levels = sscanf(text + skip, "levels %ld..%ld of %n", &lo, &hi, &length) >= 2 && length;
  if (levels) skip += length;
  const bool made = form >= 0 || levels;
  char *clean = pgm_reference_text(text + skip);
  if (!clean) return pgm_reader_complain(p, "out of memory");
  p->text = p->p = clean;
  p->bound[0] = 0;
  bool ok = pgm_reference_read(p), vector = false;
  const PgmReference *r = p->ref;
  in->family = r->family;
  in->slots = 1;
  if (levels && hi <= lo) ok = ok && pgm_reader_complain(p, "there are no levels in %ld..%ld", lo, hi);
  if (ok && r->family >= 0) {
    ok = pgm_reference_entries(p, &in->entry, &in->n_entries);
    vector = r->set || r->runs;
    for (int k = 0; k < s->model->families[r->family].n_index; k++) vector = vector || r->position[k].kind != P_EXPR;
  }
  if (ok && vector && form < 0) form = (int)form_of(s, r, latent, rows, &in->slots);
  if (ok && (form == AS_SET || form == AS_SLICE) && !vector)
    ok = pgm_reader_complain(p, "a single element is no %s", form == AS_SET ? "set" : "slice");
  const bool latent_one = ok && pgm_reference_latent(s, r), members = ok && (form == AS_SET || form == AS_SLICE);
  const bool integer = ok && r->family >= 0 && s->model->families[r->family].integer && s->model->families[r->family].role == PGM_INPUT;
  if (members) {
    in->kind = K_MEMBERS;
    in->slice = form == AS_SLICE;
    if (!made || (chosen && !levels))
      levels = integer && in->n_entries == 1 && s->layout[r->family].width == 1 && pgm_few_levels(s, r->family, &lo, &hi);
    in->levels = levels;
    in->lo = lo, in->hi = hi;
    in->columns = 0;
  } else if (ok && vector) {
    if (r->set || r->runs || !pgm_reference_width(s, r, latent, rows, &in->slots))
      ok = pgm_reader_complain(p,
                               chosen ? "the number of its elements varies, or they are not all there: use 'set %s'"
                                      : "in these data the number of its elements varies, in those of the fit it did not (%s)",
                               clean);
    if (ok) ok = latent_one ? plan_slots(p, in, rows, latent) : plan_entries(p, in, rows, latent);
  } else if (ok && latent_one) {
    ok = plan_slots(p, in, rows, latent);
  } else if (ok) {
    const bool discrete = r->family < 0 || (integer && in->n_entries == 1);
    double *column = discrete ? scalar_column(p, in, rows, latent) : NULL;
    ok = !discrete || column || pgm_reader_complain(p, "out of memory");
    if (ok && discrete && !made) { /* few values: levels */
      lo = LONG_MAX;
      hi = LONG_MIN;
      for (long row = 0; row < rows; row++)
        if (!isnan(column[row])) {
          lo = (long)column[row] < lo ? (long)column[row] : lo;
          hi = (long)column[row] > hi ? (long)column[row] : hi;
        }
      levels = lo < hi && hi - lo < PGM_FEW_LEVELS && hi - lo > 1;
    }
    if (ok && discrete && levels) {
      ok = plan_levels(p, in, rows, column, lo, hi);
    } else if (ok && r->family < 0) { /* an index as a number */
      in->kind = K_STORED;
      in->columns = 1;
      in->stored = column;
      column = NULL;
    } else if (ok) {
      ok = plan_entries(p, in, rows, latent);
    }
    free(column);
    if (discrete) form = AS_NUMBER;
  }
  if (ok && !(in->reference = get(1, sizeof *in->reference))) ok = pgm_reader_complain(p, "out of memory");
  if (ok) {
    *in->reference = *r;
    if (chosen) {
      char how[64] = "";
      if (levels) snprintf(how, sizeof how, "levels %ld..%ld of ", lo, hi);
      const char *word = members             ? form_words[form]
                         : levels            ? ""
                         : vector            ? form_words[AS_ENTRIES]
                         : form == AS_NUMBER ? form_words[AS_NUMBER]
                                             : "";
      if (!(*chosen = pgm_text("%s%s%s", word, how, clean))) ok = pgm_reader_complain(p, "out of memory");
    }
  }
  free(clean);
  return ok;
}

/* ---- members ------------------------------------------------------------------------------------------------------------------------- */

static long node_entry(const Input *in, const PgmSession *s, long flat, long e)
{
  const long entry = flat < 0 ? -1 : flat * s->layout[in->family].width + in->entry[e];
  return entry < 0 || pgm_entry_missing(s, in->family, entry) ? -1 : entry;
}

/* Columns of one input at a level: entries, or levels but the first; one more where gaps are told. */
static long member_columns(const Input *in)
{
  return (in->levels ? in->hi - in->lo : in->n_entries) + (in->gaps ? 1 : 0);
}

/* Puts set and slice inputs that share their members together; numbers the encoders. */
static bool group_inputs(PgmGather *g, const char *where, PgmError *error)
{
  for (int i = 0; i < g->n_inputs; i++) {
    Input *in = &g->input[i];
    if (in->kind != K_MEMBERS) continue;
    in->encoder = -1;
    for (int e = 0; e < g->n_encoders && in->encoder < 0; e++) {
      bool joins = true;
      for (int k = 0; k < i && joins; k++)
        if (g->input[k].kind == K_MEMBERS && g->input[k].encoder == e)
          joins = g->input[k].slice == in->slice && pgm_members_join(g->s, g->input[k].reference, in->reference) &&
                  (!in->slice || pgm_members_depth(g->s, g->input[k].reference) == pgm_members_depth(g->s, in->reference));
      if (joins) in->encoder = e;
    }
    if (in->encoder >= 0) continue;
    if (g->n_encoders == PGM_MAX_ENCODERS)
      return pgm_fail(error, PGM_BAD_INPUT, "%s: more than %d different sets", where, PGM_MAX_ENCODERS), false;
    in->encoder = g->n_encoders++;
  }
  return true;
}

static PgmStatus open_members(PgmGather *g, PgmError *error)
{
  PgmStatus st = PGM_OK;
  for (int e = 0; e < g->n_encoders && !st; e++) {
    const PgmReference *refs[PGM_MAX_INPUTS];
    int n = 0;
    bool slice = false;
    for (int i = 0; i < g->n_inputs; i++) {
      Input *in = &g->input[i];
      if (in->kind != K_MEMBERS || in->encoder != e) continue;
      if (n == PGM_MAX_INPUTS) return pgm_fail(error, PGM_BAD_INPUT, "a set of tuples of more than %d variables", PGM_MAX_INPUTS);
      refs[n++] = in->reference;
      slice = in->slice;
      in->level = slice ? 0 : pgm_members_depth(g->s, in->reference) - 1;
    }
    st = pgm_members_open(&g->members[e], g->s, g->family, n, refs, slice, error);
  }
  return st;
}

/* Are there members without a value of this input? */
static bool has_gaps(const PgmGather *g, const Input *in, int place)
{
  const PgmMemberLevel *m = &g->members[in->encoder].level[in->level];
  if (pgm_reference_latent(g->s, in->reference)) return false;
  for (long node = 0; node < m->nodes; node++)
    for (long e = 0; e < in->n_entries; e++)
      if (node_entry(in, g->s, m->at[node * m->n_inputs + place], e) < 0) return true;
  return false;
}

/* The raw columns of one input at its level (NaN: absent), from `column` on; slots are listed. */
static bool fill_columns(PgmGather *g, const Input *in, int place, long column, long stride, double *out)
{
  const PgmSession *s = g->s;
  const PgmMemberLevel *m = &g->members[in->encoder].level[in->level];
  const bool latent = pgm_reference_latent(s, in->reference);
  for (long e = 0; e < in->n_entries && latent; e++) {
    PgmSlot *slot = &g->slot[in->encoder][g->n_slots[in->encoder]];
    *slot = (PgmSlot){.level = in->level, .column = (int)(column + e), .family = in->family};
    if (!(slot->place = get((size_t)m->nodes, sizeof *slot->place))) return false;
    g->n_slots[in->encoder]++;
    g->slots = true;
    for (long node = 0; node < m->nodes; node++) {
      const long flat = m->at[node * m->n_inputs + place];
      slot->place[node] = flat < 0 ? -1 : flat * in->n_entries + in->entry[e];
    }
  }
  for (long node = 0; node < m->nodes; node++) {
    const long flat = m->at[node * m->n_inputs + place];
    double *to = out + node * stride + column;
    bool gap = false;
    for (long e = 0; e < in->n_entries; e++) {
      const long entry = latent ? -1 : node_entry(in, s, flat, e);
      const double v = latent ? 0 : entry < 0 ? NAN : pgm_entry_value(s, in->family, entry);
      gap = gap || isnan(v);
      if (in->levels)
        for (long k = 0; k < in->hi - in->lo; k++) to[k] = isnan(v) ? NAN : v == (double)(in->lo + 1 + k);
      else
        to[e] = v;
    }
    if (in->gaps) to[member_columns(in) - 1] = gap;
  }
  return true;
}

typedef struct {
  double mean, square, low, high;
  long n;
} Spread;

static void spread_add(Spread *a, double v)
{
  const double d = v - a->mean;
  a->mean += d / (double)++a->n;
  a->square += d * (v - a->mean);
  a->low = a->n > 1 ? fmin(a->low, v) : v;
  a->high = a->n > 1 ? fmax(a->high, v) : v;
}

/* The sd, or more where a value would then stand further than FARTHEST from the centre: a rare spike (a pixel at an image's edge) would rule the
 * function and its gradient. What does not vary keeps scale 1. */
static double spread_scale(const Spread *a)
{
  const double sd = a->n ? sqrt(a->square / (double)a->n) : 0, far = fmax(a->high - a->mean, a->mean - a->low);
  return sd > 1e-10 * fabs(a->mean) && sd > 1e-300 ? fmax(sd, far / FARTHEST) : 1;
}

/* Centre and scale of each column of a level, then its size, appended to those of the function. */
static bool scale_level(PgmFunction *f, long nodes, long columns, const double *value, double size)
{
  double *center = realloc(f->center, (size_t)(f->n_scaled + columns + 1) * sizeof *center);
  if (center) f->center = center;
  double *scale = realloc(f->scale, (size_t)(f->n_scaled + columns + 1) * sizeof *scale);
  if (scale) f->scale = scale;
  if (!center || !scale) return false;
  for (long c = 0; c < columns; c++) {
    Spread a = {0};
    for (long i = 0; i < nodes; i++)
      if (!isnan(value[i * columns + c])) spread_add(&a, value[i * columns + c]);
    f->center[f->n_scaled] = a.mean;
    f->scale[f->n_scaled++] = spread_scale(&a);
  }
  f->center[f->n_scaled] = 0;
  f->scale[f->n_scaled++] = size;
  return true;
}

/* How many children the parents of a level have: the mean, and whether that varies. Where there are none at all (every value is missing) it is not known, and
 * taken to vary. */
static double typical_size(const PgmMembers *m, int l, bool *varies)
{
  const long parents = l ? m->level[l - 1].nodes : m->groups, *begin = m->level[l].begin;
  *varies = !m->level[l].nodes;
  for (long p = 0; p < parents; p++) *varies = *varies || begin[p + 1] - begin[p] != begin[1] - begin[0];
  return parents && m->level[l].nodes ? (double)m->level[l].nodes / (double)parents : 1;
}

/* Opens encoder e: its shape (for a new function), columns, standardisation. `scaled`: where its centres begin in those of the function. */
static PgmStatus open_encoder(PgmGather *g, PgmFunction *f, int e, bool fresh, long *scaled, PgmError *error)
{
  PgmMembers *m = &g->members[e];
  PgmEncoderShape *shape = &f->encoders[e], seen = {0};
  double *columns[PGM_MAX_LEVELS] = {NULL}, size[PGM_MAX_LEVELS];
  bool ok = true;
  PgmStatus st = PGM_OK;
  for (int i = 0, slots = 0; i < g->n_inputs; i++) {
    if (g->input[i].kind != K_MEMBERS || g->input[i].encoder != e) continue;
    seen.slice = g->input[i].slice;
    if (pgm_reference_latent(g->s, g->input[i].reference)) slots += (int)g->input[i].n_entries;
    seen.n_levels = m->n_levels;
    free(g->slot[e]);
    if (!(g->slot[e] = get((size_t)slots, sizeof **g->slot))) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  for (int i = 0; i < g->n_inputs; i++)
    if (g->input[i].kind == K_MEMBERS && g->input[i].encoder == e) seen.columns[g->input[i].level] += (int)member_columns(&g->input[i]);
  if (seen.slice) seen.columns[0] += 2;
  for (int l = 0; l < m->n_levels && !seen.slice; l++) size[l] = typical_size(m, l, &seen.varies[l]);
  if (seen.slice) size[0] = 1;
  if (fresh) {
    *shape = seen;
  } else {
    bool same = shape->slice == seen.slice && shape->n_levels == seen.n_levels;
    for (int l = 0; l < seen.n_levels && same; l++) same = shape->columns[l] == seen.columns[l];
    if (!same)
      return pgm_fail(error, PGM_BAD_INPUT, "the inference function of %s was fitted with other sets than these data have",
                      g->s->model->families[g->family].name);
  }
  for (int l = 0; l < m->n_levels && ok && !st; l++) {
    const long nodes = m->level[l].nodes, width = shape->columns[l];
    long at = 0;
    int place = 0;
    double *v = columns[l] = get((size_t)(nodes * width), sizeof *v);
    ok = v != NULL;
    for (int i = 0; i < g->n_inputs && ok; i++) {
      const Input *in = &g->input[i];
      if (in->kind != K_MEMBERS || in->encoder != e || in->level != l) continue;
      ok = fill_columns(g, in, place++, at, width, v);
      at += member_columns(in);
    }
    for (long group = 0; group < m->groups && ok && shape->slice; group++) {
      const long a = m->level[0].begin[group], b = m->level[0].begin[group + 1];
      for (long t = a; t < b; t++) {
        v[t * width + at] = 1 / (double)(t - a + 1);
        v[t * width + at + 1] = 1 / (double)(b - t);
      }
    }
    if (ok && fresh) ok = scale_level(f, nodes, width, v, size[l]);
    if (!ok) break;
    for (long i = 0; i < nodes * width; i++) {
      const long c = *scaled + i % width;
      v[i] = isnan(v[i]) ? 0 : (v[i] - f->center[c]) / f->scale[c];
    }
    size[l] = f->scale[*scaled + width];
    *scaled += width + 1;
    const long parents = l ? m->level[l - 1].nodes : m->groups, *begin = m->level[l].begin;
    for (long p = 0; p < parents && !shape->slice && !shape->varies[l] && !st; p++)
      if ((double)(begin[p + 1] - begin[p]) != size[l])
        st = pgm_fail(error, PGM_BAD_INPUT, "the sets that %s was fitted with all had %g members, these data have one with %ld",
                      g->s->model->families[g->family].name, size[l], begin[p + 1] - begin[p]);
  }
  if (!ok && !st) st = pgm_fail(error, PGM_SYSTEM, "out of memory");
  if (st) {
    for (int l = 0; l < PGM_MAX_LEVELS; l++) free(columns[l]);
    return st;
  }
  const int n_slots = g->n_slots[e];
  PgmSlot *slot = g->slot[e];
  g->n_slots[e] = 0;
  g->slot[e] = NULL;
  st = pgm_encoder_open(&g->encoder[e], f, e, m, columns, size, n_slots, slot, g->s->threads, error);
  if (st) return st;
  g->outputs[e] = pgm_encoder_outputs(g->encoder[e]);
  g->weights[e] = pgm_encoder_weights(g->encoder[e]);
  return PGM_OK;
}

/* Encoders of the planned members. */
static PgmStatus open_encoders(PgmGather *g, PgmFunction *f, bool fresh, PgmError *error)
{
  long scaled = g->n_columns + g->n_flags;
  PgmStatus st = PGM_OK;
  if (fresh) f->n_encoders = g->n_encoders;
  if (f->n_encoders != g->n_encoders)
    return pgm_fail(error, PGM_BAD_INPUT, "the inference function of %s was fitted with other sets than these data have",
                    g->s->model->families[g->family].name);
  for (int e = 0; e < g->n_encoders && !st; e++) st = open_encoder(g, f, e, fresh, &scaled, error);
  g->n_features = g->n_columns + g->n_flags;
  for (int e = 0; e < g->n_encoders; e++) g->n_features += g->outputs[e];
  return st;
}

/* ---- plans --------------------------------------------------------------------------------------------------------------------------- */

void pgm_gather_close(PgmGather *g)
{
  if (!g) return;
  for (int i = 0; i < g->n_inputs; i++) {
    free(g->input[i].reference);
    free(g->input[i].entry);
    free(g->input[i].at);
    free(g->input[i].stored);
  }
  for (int e = 0; e < PGM_MAX_ENCODERS; e++) {
    for (int k = 0; k < g->n_slots[e]; k++) free(g->slot[e][k].place);
    free(g->slot[e]);
    pgm_members_close(&g->members[e]);
    pgm_encoder_close(g->encoder[e]);
  }
  free(g->input);
  free(g->flag);
  free(g->center);
  free(g->inverse);
  free(g);
}

/* Entries of input i in row `row`, not standardised; NaN: absent. Returns the share that is present. */
static double input_row(const PgmGather *g, const Input *in, long row, double *out)
{
  long present = 0;
  if (in->kind == K_MEMBERS) return 1;
  if (in->kind == K_STORED) {
    for (long c = 0; c < in->columns; c++) {
      out[c] = in->stored[row * in->columns + c];
      present += !isnan(out[c]);
    }
  } else if (in->kind == K_SLOTS) {
    for (long c = 0; c < in->columns; c++) {
      const long place = in->at[row * in->columns + c];
      out[c] = place < 0 || !g->x ? 0 : g->x[place];
      present += place >= 0;
    }
  } else {
    const PgmLayout *l = &g->s->layout[in->family];
    for (long k = 0; k < in->slots; k++) {
      const long flat = in->at[row * in->slots + k];
      double *v = out + k * in->n_entries;
      if (flat >= 0 && l->data && !l->missing) { /* absent ones are NaN there already */
        const double *value = l->data + flat * l->width;
        for (long e = 0; e < in->n_entries; e++) v[e] = value[in->entry[e]];
      } else {
        for (long e = 0; e < in->n_entries; e++) {
          const long entry = flat * l->width + in->entry[e];
          v[e] = flat < 0 || pgm_entry_missing(g->s, in->family, entry) ? NAN : pgm_entry_value(g->s, in->family, entry);
        }
      }
      for (long e = 0; e < in->n_entries; e++) present += !isnan(v[e]);
    }
  }
  return in->columns ? (double)present / (double)in->columns : 1;
}

static PgmGather *plan(const PgmSession *s, int family, int n, char *const *texts, const char *where, char **chosen, PgmError *error)
{
  PgmGather *g = get(1, sizeof *g);
  PgmReference *r = get(1, sizeof *r);
  if (g) g->input = get((size_t)n, sizeof *g->input);
  bool ok = g && r && g->input;
  if (!ok) pgm_fail(error, PGM_SYSTEM, "out of memory");
  for (int i = 0; i < n && ok; i++) {
    PgmReader p = {.s = s, .latent = &s->model->families[family], .where = where, .ref = r, .error = error, .text = texts[i]};
    g->s = s;
    g->family = family;
    g->rows = s->layout[family].defined;
    g->n_inputs = i + 1;
    ok = plan_input(&p, &g->input[i], family, g->rows, texts[i], chosen ? &chosen[i] : NULL);
    g->n_columns += g->input[i].columns;
    g->slots = g->slots || g->input[i].kind == K_SLOTS;
  }
  if (ok && n == 0) {
    g->s = s;
    g->family = family;
    g->rows = s->layout[family].defined;
  }
  ok = ok && group_inputs(g, where, error) && open_members(g, error) == PGM_OK;
  int places[PGM_MAX_ENCODERS][PGM_MAX_LEVELS] = {{0}};
  for (int i = 0; i < n && ok && chosen; i++) { /* members without a value: a choice as well */
    Input *in = &g->input[i];
    if (in->kind != K_MEMBERS) continue;
    const int place = places[in->encoder][in->level]++;
    if (!has_gaps(g, in, place)) continue;
    const size_t word = in->slice ? strlen(form_words[AS_SLICE]) : strlen(form_words[AS_SET]);
    char *text = pgm_text("%.*sgaps %s", (int)word, chosen[i], chosen[i] + word);
    in->gaps = true;
    free(chosen[i]);
    ok = (chosen[i] = text) != NULL;
    if (!ok) pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  free(r);
  if (ok) return g;
  pgm_gather_close(g);
  return NULL;
}

static int count_pieces(const PgmSession *s, int family)
{
  int n = 0;
  for (int k = 0; k < s->model->n_statements; k++) n += s->model->statements[k].family == family;
  return n;
}

/* Centre and scale over the present values of each column (parameters of factors stay as they are). Flags: those that vary. */
static bool standardise(PgmGather *g, PgmFunction *f)
{
  const PgmSession *s = g->s;
  const long columns = g->n_columns;
  const int pieces = count_pieces(s, g->family);
  double *value = get((size_t)columns, sizeof *value), *most = get((size_t)g->n_inputs, sizeof *most),
         *least = get((size_t)g->n_inputs, sizeof *least);
  Spread *spread = get((size_t)columns, sizeof *spread);
  const size_t plain = (size_t)g->n_inputs + (size_t)pieces, flags = plain + MAX_PRODUCTS, room = (size_t)columns + flags;
  f->center = get(room, sizeof *f->center);
  f->scale = get(room, sizeof *f->scale);
  f->flags = get(flags, sizeof *f->flags);
  g->flag = get(flags, sizeof *g->flag);
  bool ok = value && spread && most && least && f->center && f->scale && f->flags && g->flag;
  for (int i = 0; ok && i < g->n_inputs; i++) {
    most[i] = 0;
    least[i] = 1;
  }
  for (long row = 0; ok && row < g->rows; row++) {
    double *v = value;
    for (int i = 0; i < g->n_inputs; v += g->input[i].columns, i++) {
      double share = input_row(g, &g->input[i], row, v);
      most[i] = fmax(most[i], share);
      least[i] = fmin(least[i], share);
    }
    for (long c = 0; c < columns; c++)
      if (!isnan(value[c])) spread_add(&spread[c], value[c]);
  }
  if (ok) {
    for (long c = 0; c < columns; c++) {
      f->center[c] = spread[c].mean;
      f->scale[c] = spread_scale(&spread[c]);
    }
    for (int i = 0; i < g->n_inputs && ok; i++)
      if (most[i] > least[i]) {
        ok = (f->flags[f->n_flags] = pgm_text("%s absent", f->inputs[i])) != NULL;
        g->flag[f->n_flags++] = (Flag){F_ABSENT, i, 0};
      }
    const PgmLayout *l = &s->layout[g->family];
    for (int k = 2; k <= pieces && ok && l->piece; k++) {
      long in = 0;
      for (long row = 0; row < g->rows; row++) in += l->piece[pgm_row_flat(s, g->family, row)] == k;
      if (!in || in == g->rows) continue;
      ok = (f->flags[f->n_flags] = pgm_text("%s statement %d", s->model->families[g->family].name, k)) != NULL;
      g->flag[f->n_flags++] = (Flag){F_PIECE, k, 0};
    }
    const int single = f->n_flags;
    for (int k = 0; k < single && (long)single * columns <= MAX_PRODUCTS; k++)
      for (int i = 0, c = 0; i < g->n_inputs; c += (int)g->input[i].columns, i++)
        for (int d = c; d < c + (int)g->input[i].columns && ok && g->input[i].kind != K_SLOTS; d++) {
          ok = (f->flags[f->n_flags] = pgm_text("%s * %d", f->flags[k], d)) != NULL;
          g->flag[f->n_flags++] = (Flag){F_PRODUCT, k, d};
        }
    g->n_flags = f->n_flags;
    for (int k = 0; k < f->n_flags; k++) f->scale[columns + k] = 1;
    f->n_scaled = (int)columns + f->n_flags;
  }
  free(value);
  free(spread);
  free(most);
  free(least);
  return ok;
}

/* The flags of a function fitted before, found again by their texts. */
static bool flags_again(PgmGather *g, const PgmFunction *f, PgmError *error)
{
  g->flag = get((size_t)f->n_flags, sizeof *g->flag);
  if (!g->flag) return pgm_fail(error, PGM_SYSTEM, "out of memory"), false;
  for (int k = 0; k < f->n_flags; k++) {
    const char *text = f->flags[k], *number = strstr(text, " statement ");
    bool found = false;
    for (int j = 0; j < k && !found; j++) { /* products come after their flags */
      const size_t n = strlen(f->flags[j]);
      int column;
      found = !strncmp(text, f->flags[j], n) && sscanf(text + n, " * %d", &column) == 1 && column >= 0 && column < g->n_columns;
      if (found) g->flag[k] = (Flag){F_PRODUCT, j, column};
    }
    for (int i = 0; i < f->n_inputs && !found; i++) {
      const size_t n = strlen(f->inputs[i]);
      found = !strncmp(text, f->inputs[i], n) && !strcmp(text + n, " absent");
      if (found) g->flag[k] = (Flag){F_ABSENT, i, 0};
    }
    if (!found && number && sscanf(number, " statement %d", &g->flag[k].of) == 1) {
      g->flag[k].kind = F_PIECE;
      found = true;
    }
    if (!found) return pgm_fail(error, PGM_BAD_INPUT, "the fit's inference function has an unknown flag '%s'", text), false;
  }
  g->n_flags = f->n_flags;
  return true;
}

static bool keep_standardisation(PgmGather *g, const PgmFunction *f)
{
  g->center = get((size_t)g->n_columns, sizeof *g->center);
  g->inverse = get((size_t)g->n_columns, sizeof *g->inverse);
  if (!g->center || !g->inverse) return false;
  for (long c = 0; c < g->n_columns; c++) {
    g->center[c] = f->center[c];
    g->inverse[c] = 1 / f->scale[c];
  }
  return true;
}

PgmStatus pgm_gather_open(PgmGather **out, const PgmSession *s, int family, int n, char *const *texts, const char *where, PgmFunction *f,
                          PgmError *error)
{
  *out = NULL;
  f->inputs = get((size_t)n, sizeof *f->inputs);
  if (!f->inputs) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  f->n_inputs = n;
  PgmGather *g = plan(s, family, n, texts, where, f->inputs, error);
  if (!g) return error ? error->status : PGM_BAD_INPUT;
  PgmStatus st = standardise(g, f) && keep_standardisation(g, f) ? PGM_OK : pgm_fail(error, PGM_SYSTEM, "out of memory");
  if (!st) st = open_encoders(g, f, true, error);
  if (st) {
    pgm_gather_close(g);
    return st;
  }
  f->n_features = (int)g->n_features;
  *out = g;
  return PGM_OK;
}

PgmStatus pgm_gather_reopen(PgmGather **out, const PgmSession *s, int family, const PgmFunction *f, PgmError *error)
{
  *out = NULL;
  PgmFunction copy = *f; /* opening an encoder of a new function writes to it; of an old one it does not */
  PgmGather *g = plan(s, family, f->n_inputs, f->inputs, "inference function", NULL, error);
  if (!g) return error ? error->status : PGM_BAD_INPUT;
  long encoded = 0;
  for (int e = 0; e < f->n_encoders; e++) encoded += pgm_encoder_columns(f, e);
  PgmStatus st = PGM_OK;
  if (g->n_columns + f->n_flags + encoded != f->n_scaled)
    st = pgm_fail(error, PGM_BAD_INPUT, "the inference function of %s is for %ld input entries, these data have %ld",
                  s->model->families[family].name, f->n_scaled - f->n_flags - encoded, g->n_columns);
  else if (!flags_again(g, f, error))
    st = PGM_BAD_INPUT;
  else if (!keep_standardisation(g, f))
    st = pgm_fail(error, PGM_SYSTEM, "out of memory");
  if (!st) st = open_encoders(g, &copy, false, error);
  if (!st && g->n_features != f->n_features)
    st = pgm_fail(error, PGM_BAD_INPUT, "the inference function of %s was fitted with other features than these data have",
                  s->model->families[family].name);
  if (st) {
    pgm_gather_close(g);
    return st;
  }
  *out = g;
  return PGM_OK;
}

/* ---- parameters of other factors ----------------------------------------------------------------------------------------------------- */

/* The place in the vector of parameters of code = flat * entries + entry; -1 where the element has no factor. */
static long parameter_place(const PgmSources *q, const PgmSource *f, long code)
{
  const PgmLayout *l = &q->s->layout[f->family];
  const long per = f->uwidth * (f->scales ? 2 : 1), entry = code % per, flat = code / per;
  long a = 0, b = f->rows;
  if (code < 0) return -1;
  while (a < b) { /* the row of the element */
    const long mid = (a + b) / 2, at = l->list ? l->list[mid] : mid;
    if (at < flat)
      a = mid + 1;
    else
      b = mid;
  }
  if (a == f->rows || (l->list ? l->list[a] : a) != flat) return -1;
  const long k = f->scales ? entry / 2 : entry;
  return (!f->scales || entry % 2 == 0 ? f->at : f->sd_at) + a * f->uwidth + k;
}

static PgmStatus find_free(const PgmGather *g, const PgmSources *q, int family, PgmSource **out, PgmError *error)
{
  *out = pgm_sources_find(q, family);
  if (*out && (*out)->kind == PGM_FREE) {
    (*out)->pinned = true;
    return PGM_OK;
  }
  const char *name = g->s->model->families[family].name;
  return pgm_fail(error, PGM_BAD_USAGE, "an input of %s is %s, which has no free factors here: add --pin %s",
                  g->s->model->families[g->family].name, name, name);
}

PgmStatus pgm_gather_bind(PgmGather *g, const PgmSources *q, PgmError *error)
{
  PgmSource *source;
  PgmStatus st = PGM_OK;
  for (int i = 0; i < g->n_inputs && !st; i++) {
    Input *in = &g->input[i];
    if (in->kind != K_SLOTS || (st = find_free(g, q, in->family, &source, error))) continue;
    for (long k = 0; k < g->rows * in->columns; k++) in->at[k] = parameter_place(q, source, in->at[k]);
  }
  for (int e = 0; e < g->n_encoders && !st; e++) {
    int n;
    PgmSlot *slot = pgm_encoder_slots(g->encoder[e], &n);
    for (int k = 0; k < n && !st; k++) {
      const long nodes = pgm_encoder_nodes(g->encoder[e], slot[k].level);
      if ((st = find_free(g, q, slot[k].family, &source, error))) break;
      for (long i = 0; i < nodes; i++) slot[k].place[i] = parameter_place(q, source, slot[k].place[i]);
    }
  }
  return st;
}

/* ---- features ------------------------------------------------------------------------------------------------------------------------ */

long pgm_gather_weights(const PgmGather *g)
{
  long n = 0;
  for (int e = 0; e < g->n_encoders; e++) n += g->weights[e];
  return n;
}

bool pgm_gather_learns(const PgmGather *g)
{
  bool learns = g->slots;
  for (int e = 0; e < g->n_encoders; e++) learns = learns || pgm_encoder_learns(g->encoder[e]);
  return learns;
}

void pgm_gather_random(const PgmGather *g, PgmKey key, double *weights)
{
  for (int e = 0; e < g->n_encoders; weights += g->weights[e], e++)
    pgm_encoder_random(g->encoder[e], (PgmKey){key.seed, key.iteration, key.stream + 7919 * (uint64_t)(e + 1)}, weights);
}

void pgm_gather_fan_in(const PgmGather *g, double *out)
{
  for (int e = 0; e < g->n_encoders; out += g->weights[e], e++) pgm_encoder_fan_in(g->encoder[e], out);
}

void pgm_gather_prepare(PgmGather *g, const double *weights, const double *x, const long *rows, long n)
{
  g->x = x;
  for (int e = 0; e < g->n_encoders; weights += g->weights[e], e++) {
    pgm_encoder_select(g->encoder[e], rows, n);
    pgm_encoder_forward(g->encoder[e], weights, x);
  }
}

void pgm_gather_rows(const PgmGather *g, const long *rows, long first, long count, double *out)
{
  const PgmLayout *l = &g->s->layout[g->family];
  const long columns = g->n_columns;
  for (long r = 0; r < count; r++, out += g->n_features) {
    const long row = rows ? rows[r] : first + r;
    double *v = out;
    for (int i = 0; i < g->n_inputs; v += g->input[i].columns, i++) {
      double share = input_row(g, &g->input[i], row, v);
      for (int k = 0; k < g->n_flags; k++)
        if (g->flag[k].kind == F_ABSENT && g->flag[k].of == i) out[columns + k] = 1 - share;
    }
    for (long c = 0; c < columns; c++) out[c] = isnan(out[c]) ? 0 : (out[c] - g->center[c]) * g->inverse[c];
    for (int k = 0; k < g->n_flags; k++) {
      const Flag flag = g->flag[k];
      if (flag.kind == F_PIECE) out[columns + k] = l->piece ? l->piece[pgm_row_flat(g->s, g->family, row)] == flag.of : 0;
      if (flag.kind == F_PRODUCT) out[columns + k] = out[columns + flag.of] * out[flag.column];
    }
    v = out + columns + g->n_flags;
    for (int e = 0; e < g->n_encoders; v += g->outputs[e], e++) pgm_encoder_row(g->encoder[e], row, v);
  }
}

void pgm_gather_backward(PgmGather *g, const double *weights, const double *x, const long *rows, long n, const double *bar,
                         double *weights_bar, double *x_bar)
{
  long c = 0;
  for (int i = 0; i < g->n_inputs; c += g->input[i].columns, i++) {
    const Input *in = &g->input[i];
    for (long r = 0; r < n && in->kind == K_SLOTS; r++)
      for (long k = 0; k < in->columns; k++) {
        const long place = in->at[(rows ? rows[r] : r) * in->columns + k];
        if (place >= 0) x_bar[place] += bar[r * g->n_features + c + k] * g->inverse[c + k];
      }
  }
  c += g->n_flags;
  for (int e = 0; e < g->n_encoders; c += g->outputs[e], weights += g->weights[e], weights_bar += g->weights[e], e++)
    pgm_encoder_backward(g->encoder[e], weights, x, bar + c, g->n_features, weights_bar, x_bar);
}
