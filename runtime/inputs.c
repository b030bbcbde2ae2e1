/* Which references an inference function is given: see inputs.h. */
#include "inputs.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"
#include "source.h"

void pgm_inputs_free(PgmInputs *in)
{
  for (int i = 0; i < in->n; i++) free(in->text[i]);
  if (in->text) free(in->text);
  *in = (PgmInputs){.n = -1};
}

static bool add_text(PgmInputs *in, char *text)
{
  char **more = realloc(in->text, (size_t)(in->n + 1) * sizeof *more);
  if (!more || !text) {
    free(text);
    return false;
  }
  in->text = more;
  in->text[in->n++] = text;
  return true;
}

/* "z=..." -> the family; with no name before '=': -1 and *rest the whole text. A '=' inside brackets belongs to a set. */
static const char *after_name(const char *text, char name[64])
{
  const char *c = text;
  while (isspace((unsigned char)*c)) c++;
  size_t n = 0;
  while ((isalnum((unsigned char)c[n]) || c[n] == '_') && n < 63) n++;
  memcpy(name, c, n);
  name[n] = 0;
  c += n;
  while (isspace((unsigned char)*c)) c++;
  if (n && *c == '=') return c + 1;
  name[0] = 0;
  return text;
}

static void local_names(const PgmModel *m, char *list, size_t size)
{
  list[0] = 0;
  for (int f = 0; f < m->n_families; f++)
    if (m->families[f].role == PGM_LOCAL) pgm_list_name(list, size, m->families[f].name);
  if (!list[0]) snprintf(list, size, "none");
}

static PgmStatus check_name(const PgmSession *s, const char *option, const char *text, const char *name, PgmError *error)
{
  char names[300];
  local_names(s->model, names, sizeof names);
  int f = pgm_family_named(s->model, name);
  if (f < 0 || s->model->families[f].role != PGM_LOCAL)
    return pgm_fail(error, PGM_BAD_INPUT, "%s %s: '%s' is not a local latent variable of the model (there are: %s)", option, text, name,
                    names);
  return PGM_OK;
}

/* "W" or "z=W" */
static bool window_width(const char *text, long *w)
{
  char *end;
  *w = strtol(text, &end, 10);
  while (isspace((unsigned char)*end)) end++;
  return end != text && !*end && *w >= 0 && *w <= 100000;
}

PgmStatus pgm_inputs_check(const PgmSession *s, const PgmFitOptions *o, PgmError *error)
{
  char name[64];
  for (int i = 0; i < o->n_inputs; i++) {
    const char *rest = after_name(o->inputs[i], name);
    if (rest == o->inputs[i])
      return pgm_fail(error, PGM_BAD_USAGE, "--inputs %s: NAME=REFERENCE,... expected, as in z=x[n],x[n-1]", o->inputs[i]);
    PgmStatus st = check_name(s, "--inputs", o->inputs[i], name, error);
    if (st) return st;
  }
  for (int i = 0; i < o->n_windows; i++) {
    long w;
    const char *rest = after_name(o->windows[i], name);
    if (!window_width(rest, &w))
      return pgm_fail(error, PGM_BAD_USAGE, "--window %s: a whole number W >= 0 expected, or NAME=W", o->windows[i]);
    if (rest != o->windows[i]) {
      PgmStatus st = check_name(s, "--window", o->windows[i], name, error);
      if (st) return st;
    }
  }
  for (int i = 0; i < o->n_pins; i++) {
    PgmStatus st = check_name(s, "--pin", o->pins[i], o->pins[i], error);
    if (st) return st;
  }
  return PGM_OK;
}

bool pgm_inputs_pinned(const PgmSession *s, const PgmFitOptions *o, int family)
{
  for (int i = 0; i < o->n_pins; i++)
    if (!strcmp(o->pins[i], s->model->families[family].name)) return true;
  return false;
}

static PgmStatus copy_texts(PgmInputs *in, const char *const *texts, PgmError *error)
{
  in->n = 0;
  for (; *texts; texts++)
    if (!add_text(in, strdup(*texts))) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  return PGM_OK;
}

/* Splits at commas outside brackets. */
static bool split(const char *list, PgmInputs *in)
{
  int depth = 0;
  const char *begin = list;
  for (const char *c = list;; c++) {
    if (*c == '[' || *c == '(') depth++;
    if (*c == ']' || *c == ')') depth--;
    if (*c && (*c != ',' || depth > 0)) continue;
    while (isspace((unsigned char)*begin)) begin++;
    const char *end = c;
    while (end > begin && isspace((unsigned char)end[-1])) end--;
    if ((end > begin || *c) && !add_text(in, strndup(begin, (size_t)(end - begin)))) return false;
    if (!*c) return true;
    begin = c + 1;
  }
}

/* The reference with `shift` added in its last position that carries an index of the latent: "x[s,t]" by -2 is "x[s,t-2]". NULL text on no
 * memory; *moves false when no position carries one. */
static char *shifted(const PgmFamily *latent, const char *text, long shift, bool *moves)
{
  const char *open = strchr(text, '['), *begin = NULL, *end = NULL;
  *moves = false;
  if (!open) return strdup(text);
  const char *position = open + 1;
  int depth = 0;
  for (const char *c = open + 1; *c; c++) {
    if (*c == '[' || *c == '(') depth++;
    if ((*c == ',' || *c == ']') && depth == 0) { /* position..c is one index */
      for (const char *q = position; q < c; q++) {
        size_t n = 0;
        while (q + n < c && (isalnum((unsigned char)q[n]) || q[n] == '_')) n++;
        if (!n) continue;
        for (int k = 0; k < latent->n_index; k++)
          if (strlen(latent->index[k]) == n && !strncmp(latent->index[k], q, n) && !memchr(position, '[', (size_t)(c - position))) {
            begin = position;
            end = c;
            *moves = true;
          }
        q += n - 1;
      }
      position = c + 1;
      if (*c == ']') break;
    } else if (*c == ']' || *c == ')') {
      depth--;
    }
  }
  if (!*moves) return strdup(text);
  /* a trailing "+ 3" or "- 3" of the position joins the shift */
  const char *tail = end;
  while (tail > begin && (isdigit((unsigned char)tail[-1]) || isspace((unsigned char)tail[-1]))) tail--;
  if (tail > begin && tail < end && (tail[-1] == '+' || tail[-1] == '-')) {
    shift += (tail[-1] == '-' ? -1 : 1) * strtol(tail, NULL, 10);
    tail--;
  } else {
    tail = end;
  }
  while (tail > begin && isspace((unsigned char)tail[-1])) tail--;
  return shift ? pgm_text("%.*s%+ld%s", (int)(tail - text), text, shift, end) : pgm_text("%.*s%s", (int)(tail - text), text, end);
}

/* The window's references shifted by -w..w; those that do not carry an index of the latent, once. */
static bool widen(const PgmFamily *latent, const char *const *refs, long w, PgmInputs *in)
{
  for (; *refs; refs++) {
    bool moves = false;
    for (long k = -w; k <= w; k++) {
      char *text = shifted(latent, *refs, k, &moves);
      bool twice = false;
      for (int i = 0; text && i < in->n; i++) twice = twice || !strcmp(in->text[i], text);
      if (twice)
        free(text);
      else if (!add_text(in, text))
        return false;
      if (!moves) break;
    }
  }
  return true;
}

/* Can --window 1 make a function for this family? */
static bool window_works(const PgmSession *s, int family)
{
  static const char *const one = "1";
  PgmFitOptions o = pgm_fit_defaults();
  PgmInputs inputs;
  PgmGather *gather = NULL;
  PgmFunction *f = calloc(1, sizeof *f);
  o.windows = &one;
  o.n_windows = 1;
  bool works = f && pgm_inputs_find(s, &o, family, &inputs, NULL) == PGM_OK;
  if (works) {
    works = inputs.n > 0 && pgm_gather_open(&gather, s, family, inputs.n, inputs.text, inputs.where, f, NULL) == PGM_OK;
    pgm_inputs_free(&inputs);
  }
  pgm_gather_close(gather);
  pgm_function_free(f);
  return works;
}

void pgm_window_advice(const PgmSession *s, char *text, size_t size)
{
  const PgmModel *m = s->model;
  size_t used = 0;
  int locals = 0, named = 0;
  text[0] = '\0';
  for (int f = 0; f < m->n_families; f++) {
    const PgmAmortize *a = NULL;
    if (m->families[f].role != PGM_LOCAL) continue;
    locals++;
    for (int i = 0; i < m->n_amortize; i++)
      if (m->amortize[i].family == f) a = &m->amortize[i];
    if ((a && a->inputs) || used + 80 > size || !window_works(s, f)) continue;
    used += (size_t)snprintf(text + used, size - used, "%s--window %s=1", named++ ? " " : "", m->families[f].name);
  }
  if (named && named == locals) snprintf(text, size, "--window 1");
}

/* The elements of a global that `index` ("g[n]", or a bare "t") chooses, as a reference to its factor's parameters; the index itself says little once it
 * has many values. NULL: there is none (or no memory). `condition`: " | jj[n] = j" of a set, or "". */
static char *slot_of_index(const PgmSession *s, int latent, const char *index, const char *condition)
{
  const PgmModel *m = s->model;
  const PgmFamily *unit = &m->families[latent];
  char text[300];
  for (int f = 0; f < m->n_families; f++) {
    const PgmFamily *global = &m->families[f];
    if ((global->role != PGM_GLOBAL && global->role != PGM_PARAM) || global->n_index != 1) continue;
    bool found = false;
    for (int k = 0; k < unit->n_index && !*condition; k++) /* t itself: the global has the latent's axis */
      found = found || (!strcmp(unit->index[k], index) && global->axis[0] >= 0 && global->axis[0] == unit->axis[k]);
    snprintf(text, sizeof text, "%s[%s]", global->name, index);
    for (int r = 0; r < m->n_refs && !found; r++) found = m->refs[r].family == f && !strcmp(m->refs[r].text, text);
    if (found) return pgm_text("%s[%s%s]", global->name, index, condition);
  }
  return NULL;
}

/* Indices of many values, in the verdict's inputs, give way to the parameters of the globals that they choose. */
static bool use_slots(const PgmSession *s, int latent, PgmInputs *in)
{
  for (int i = 0; i < in->n; i++) {
    char name[64], index[200];
    const char *text = in->text[i], *open = strchr(text, '['), *bar = strstr(text, " | "), *condition = "";
    long lo, hi;
    snprintf(name, sizeof name, "%.*s", open ? (int)(open - text) : 63, text);
    const int f = pgm_family_named(s->model, name);
    if (open) {
      if (f < 0 || !s->model->families[f].integer || s->model->families[f].role != PGM_INPUT) continue;
      pgm_few_levels(s, f, &lo, &hi);
    } else {
      const PgmFamily *unit = &s->model->families[latent];
      int k = 0;
      while (k < unit->n_index && strcmp(unit->index[k], name) != 0) k++;
      if (k == unit->n_index) continue;
      lo = s->layout[latent].lo[k];
      hi = s->layout[latent].hi[k];
    }
    if (hi - lo < PGM_FEW_LEVELS) continue;
    snprintf(index, sizeof index, "%.*s%s", bar ? (int)(bar - text) : (int)sizeof index - 2, text, bar ? "]" : "");
    if (bar) condition = bar;
    char *bare = bar ? strndup(condition, strlen(condition) - 1) : strdup(""); /* without the closing bracket */
    char *slot = bare ? slot_of_index(s, latent, index, bare) : NULL;
    if (slot) {
      free(in->text[i]);
      in->text[i] = slot;
    }
    free(bare);
    if (!bare) return false;
  }
  return true;
}

PgmStatus pgm_inputs_find(const PgmSession *s, const PgmFitOptions *o, int family, PgmInputs *out, PgmError *error)
{
  const PgmModel *m = s->model;
  const PgmAmortize *a = NULL;
  const char *name = m->families[family].name;
  char given[64];
  *out = (PgmInputs){.n = -1};
  if (pgm_inputs_pinned(s, o, family)) return PGM_OK;
  for (int i = 0; i < m->n_amortize; i++)
    if (m->amortize[i].family == family) a = &m->amortize[i];
  for (int i = 0; i < o->n_inputs; i++) {
    const char *rest = after_name(o->inputs[i], given);
    if (strcmp(given, name) != 0) continue;
    out->n = 0;
    out->origin = PGM_OF_INPUTS;
    snprintf(out->where, sizeof out->where, "--inputs %s", o->inputs[i]);
    if (!split(rest, out)) return pgm_fail(error, PGM_SYSTEM, "out of memory");
    return PGM_OK;
  }
  const char *window = NULL; /* z=W before W, the last of each */
  for (int i = 0; i < o->n_windows; i++)
    if (after_name(o->windows[i], given) == o->windows[i]) window = window ? window : o->windows[i];
  for (int i = 0; i < o->n_windows; i++) {
    const char *rest = after_name(o->windows[i], given);
    if (rest != o->windows[i] && !strcmp(given, name)) window = rest;
  }
  if (window) {
    long w;
    if (!window_width(window, &w)) return pgm_fail(error, PGM_BAD_USAGE, "--window %s: a whole number expected", window);
    if (!a || !a->window || !a->window[0])
      return pgm_fail(error, PGM_BAD_INPUT, "--window %s: in the factors of %s no observed or known variable can be shifted along its index; use --inputs", window,
                      name);
    out->n = 0;
    out->origin = PGM_OF_WINDOW;
    snprintf(out->where, sizeof out->where, "--window %s", window);
    if (!widen(&m->families[family], a->window, w, out)) return pgm_fail(error, PGM_SYSTEM, "out of memory");
    return PGM_OK;
  }
  for (int i = 0; a && !a->inputs && i < a->n_pins; i++) {
    if (!pgm_inputs_pinned(s, o, a->pins[i].family)) continue;
    out->origin = PGM_OF_PIN;
    snprintf(out->where, sizeof out->where, "--pin %s", m->families[a->pins[i].family].name);
    return copy_texts(out, a->pins[i].inputs, error);
  }
  if (!a || !a->inputs) return PGM_OK;
  out->free_scale = a->sd_inputs && !a->sd_inputs[0];
  out->origin = a->amortize ? PGM_OF_AMORTIZE : PGM_OF_VERDICT;
  snprintf(out->where, sizeof out->where, "%s", a->amortize ? "amortize" : m->name);
  PgmStatus st = copy_texts(out, a->inputs, error);
  if (!st && !a->amortize && !use_slots(s, family, out)) st = pgm_fail(error, PGM_SYSTEM, "out of memory");
  return st;
}
