/* The public C interface (pgm.h): a fit, and the posterior of observations. The command `infer` is a client of it.
 *
 * In: a fit file and named arrays. Out: means and sds per latent variable, on the scale of the model or the unconstrained one. Each call
 * opens a session of its own on the batch, so that calls do not meet; the posterior itself is read only. compiler/header.c
 * wraps it per model. */
#include "labels.h"
#include "posterior.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct PgmPosterior {
  const PgmModel *model;
  PgmFit *fit;
  bool amortised;        /* no local latent variable has free factors */
  int n_inputs, *inputs; /* families */
};

struct PgmInference {
  int n;
  PgmMarginal *at;
  const char *how;
};

/* ---- the handle -------------------------------------------------------------------------------------------------------------------------------- */

static int find_family(const PgmModel *model, const char *name, size_t length)
{
  for (int f = 0; f < model->n_families; f++) {
    if (strlen(model->families[f].name) == length && strncmp(model->families[f].name, name, length) == 0) return f;
  }
  return -1;
}

/* Marks the data families that an input such as "x[n-1]" or "set levels 1..4 of k[i | group[i] = j]" (gather.h) names. Sizes in it are counted or
 * kept in the fit; words that choose a form are followed by a blank and a name, names by anything else. */
static void mark_names(const PgmModel *model, const char *text, bool *marked)
{
  static const char *const words[] = {"entries ", "number ", "set ", "slice ", "gaps "};
  for (size_t k = 0; k < sizeof words / sizeof *words; k++)
    if (strncmp(text, words[k], strlen(words[k])) == 0) text += strlen(words[k]);
  const char *of = strncmp(text, "levels ", 7) == 0 ? strstr(text, " of ") : NULL;
  if (of) text = of + 4;
  while (*text) {
    if (!isalpha((unsigned char)*text) && *text != '_') {
      text++;
      continue;
    }
    size_t length = 0;
    while (isalnum((unsigned char)text[length]) || text[length] == '_') length++;
    int f = find_family(model, text, length);
    if (f >= 0 && (model->families[f].role == PGM_INPUT || model->families[f].role == PGM_OBSERVED) && !model->families[f].is_size)
      marked[f] = true;
    text += length;
  }
}

static bool has_fallback(const PgmModel *model, int family)
{
  for (int i = 0; i < model->n_statements; i++) {
    if (model->statements[i].family == family && !model->statements[i].fallback) return false;
  }
  return true;
}

static void mark_inputs(const PgmPosterior *p, bool *marked)
{
  for (int i = 0; i < p->fit->n_factors; i++) {
    const PgmFunction *function = p->fit->factors[i].function;
    for (int k = 0; function && k < function->n_inputs; k++) mark_names(p->model, function->inputs[k], marked);
  }
  for (int f = 0; !p->amortised && f < p->model->n_families; f++) {
    const PgmFamily *family = &p->model->families[f];
    bool data = family->role == PGM_INPUT || family->role == PGM_OBSERVED;
    if (data && !family->is_size && !has_fallback(p->model, f)) marked[f] = true;
  }
}

static PgmStatus adopt_fit(PgmPosterior **out, const PgmModel *model, PgmFit *fit, PgmError *error)
{
  PgmPosterior *p = calloc(1, sizeof *p);
  bool *marked = calloc((size_t)model->n_families + 1, sizeof *marked);
  int *inputs = calloc((size_t)model->n_families + 1, sizeof *inputs);
  if (!p || !marked || !inputs) {
    free(p);
    free(marked);
    free(inputs);
    pgm_fit_free(fit);
    return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  *p = (PgmPosterior){.model = model, .fit = fit, .amortised = true, .inputs = inputs};
  for (int i = 0; i < fit->n_factors; i++) {
    if (fit->factors[i].kind == PGM_FREE && model->families[fit->factors[i].family].role == PGM_LOCAL) p->amortised = false;
  }
  mark_inputs(p, marked);
  for (int f = 0; f < model->n_families; f++) {
    if (marked[f]) inputs[p->n_inputs++] = f;
  }
  free(marked);
  *out = p;
  return PGM_OK;
}

PgmStatus pgm_posterior_open(PgmPosterior **out, const PgmModel *model, const char *path, PgmError *error)
{
  PgmFit *fit;
  *out = NULL;
  PgmStatus status = pgm_fit_read(&fit, model, path, error);
  return status == PGM_OK ? adopt_fit(out, model, fit, error) : status;
}

PgmStatus pgm_posterior_from_memory(PgmPosterior **out, const PgmModel *model, const void *bytes, size_t size, PgmError *error)
{
  PgmFit *fit;
  *out = NULL;
  PgmStatus status = pgm_fit_from_memory(&fit, model, bytes, size, "fit in memory", error);
  return status == PGM_OK ? adopt_fit(out, model, fit, error) : status;
}

void pgm_posterior_close(PgmPosterior *p)
{
  if (!p) return;
  pgm_fit_free(p->fit);
  free(p->inputs);
  free(p);
}

const PgmFit *pgm_posterior_fit(const PgmPosterior *p)
{
  return p->fit;
}
const char *pgm_posterior_model(const PgmPosterior *p)
{
  return p->model->name;
}
const char *pgm_posterior_method(const PgmPosterior *p)
{
  return pgm_method_words[p->fit->method];
}
int pgm_posterior_inputs(const PgmPosterior *p)
{
  return p->n_inputs;
}
int pgm_posterior_outputs(const PgmPosterior *p)
{
  return p->fit->n_factors;
}

const char *pgm_posterior_input(const PgmPosterior *p, int i)
{
  return i >= 0 && i < p->n_inputs ? p->model->families[p->inputs[i]].name : NULL;
}

const char *pgm_posterior_output(const PgmPosterior *p, int i)
{
  return i >= 0 && i < p->fit->n_factors ? p->model->families[p->fit->factors[i].family].name : NULL;
}

/* ---- inference ------------------------------------------------------------------------------------------------------------------------------------ */

PgmStatus pgm_fit_add_sizes(const PgmFit *fit, const PgmModel *model, PgmData *data, PgmError *error)
{
  for (int i = 0; i < fit->n_sizes; i++) {
    const PgmFitSize *size = &fit->sizes[i];
    bool known = pgm_data_find(data, size->name) != NULL;
    for (int c = 0; c < model->n_counts && !known; c++) {
      const PgmCount *count = &model->counts[c];
      known = count->position >= 0 && strcmp(model->families[count->size].name, size->name) == 0 &&
              pgm_data_find(data, model->families[count->array].name);
    }
    double value = (double)size->value;
    PgmStatus status = known ? PGM_OK : pgm_data_add(data, size->name, 0, NULL, &value, PGM_SIZE_OF_FIT, error);
    if (status != PGM_OK) return status;
  }
  return PGM_OK;
}

/* Fills the session's factors for its units. */
static PgmStatus infer_units(const PgmPosterior *p, PgmSession *s, const char **how, PgmError *error)
{
  char hash[65];
  if (p->amortised) {
    *how = p->fit->method == PGM_CONST ? "the constant factors of the fit" : "one forward pass of the inference functions";
    return pgm_fit_apply(s, p->fit, error);
  }
  pgm_data_hash(s, hash);
  if (p->fit->data_hash && strcmp(hash, p->fit->data_hash) == 0) {
    *how = "the factors of the fit, which is of these data";
    return pgm_fit_apply(s, p->fit, error);
  }
  PgmFit *units;
  PgmStatus status = pgm_fit_locals(s, p->fit, &units, error);
  *how = status == PGM_OK && p->fit->converged && !units->converged
             ? "factors of the new units optimised, though NOT until they converged, those of globals and params as fitted"
             : "factors of the new units optimised, those of globals and params as fitted";
  pgm_fit_free(units);
  return status;
}

/* Probabilities of a discrete family's values, in columns that are the same values for all elements. */
static bool copy_table(const PgmSession *s, int f, const double *table, PgmMarginal *m)
{
  const PgmFamily *family = &s->model->families[f];
  const PgmLayout *l = &s->layout[f];
  double least = INFINITY, greatest = -INFINITY;
  for (long r = 0; r < l->defined; r++) {
    const long e = l->list ? l->list[r] : r;
    least = fmin(least, pgm_lowest(family, l, e));
    greatest = fmax(greatest, pgm_lowest(family, l, e) + (double)(pgm_levels(family, l, e) - 1));
  }
  m->first = l->defined ? (long)least : 0;
  m->values = l->defined ? (long)(greatest - least) + 1 : 0;
  double *p = calloc((size_t)(l->elements * m->values) + 1, sizeof *p);
  m->p = p;
  for (long r = 0; p && r < l->defined; r++) {
    const long e = l->list ? l->list[r] : r, shift = (long)(pgm_lowest(family, l, e) - least);
    for (long k = 0; k < pgm_levels(family, l, e); k++) p[e * m->values + shift + k] = table[e * l->uwidth + k];
  }
  return p != NULL;
}

/* The marginal of one family, copied out of the session; `table`: its means, of a discrete one the probabilities. False when memory is out. */
static bool copy_marginal(const PgmSession *s, int f, const double *table, bool unconstrained, PgmMarginal *m)
{
  const PgmFamily *family = &s->model->families[f];
  const PgmLayout *l = &s->layout[f];
  unconstrained = unconstrained && !l->table;
  long width = unconstrained ? l->uwidth : l->width;
  size_t count = (size_t)(l->elements * width) + 1;
  double *mean = malloc(count * sizeof *mean), *sd = malloc(count * sizeof *sd);
  bool *defined = l->piece ? malloc((size_t)l->elements + 1) : NULL;
  *m = (PgmMarginal){.name = family->name,
                     .local = family->role == PGM_LOCAL || (family->role == PGM_MARGINAL && family->n_index),
                     .n_index = family->n_index,
                     .index = family->index,
                     .rank = unconstrained && l->uwidth != l->width ? 1 : family->rank,
                     .dim = {l->dim[0], l->dim[1]},
                     .elements = l->elements,
                     .width = width,
                     .defined = defined,
                     .mean = mean,
                     .sd = sd};
  if (!mean || !sd || (l->piece && !defined)) return false;
  memcpy(m->lo, l->lo, sizeof m->lo);
  memcpy(m->hi, l->hi, sizeof m->hi);
  if (unconstrained && l->uwidth != l->width) m->dim[0] = l->uwidth, m->dim[1] = 1;
  for (long e = 0; defined && e < l->elements; e++) defined[e] = l->piece[e] != 0;
  if (unconstrained) {
    memcpy(mean, l->mean, (count - 1) * sizeof *mean);
    memcpy(sd, l->sd, (count - 1) * sizeof *sd);
  } else {
    pgm_constrained_moments(s, f, table, l->sd, mean, sd);
  }
  return !l->table || copy_table(s, f, table, m);
}

/* A session on part of the data may lack what the bounds of a variable depend on. */
static PgmStatus check_bounds(const PgmPosterior *p, const PgmSession *s, PgmError *error)
{
  for (int i = 0; i < p->fit->n_factors; i++) {
    const PgmFamily *family = &p->model->families[p->fit->factors[i].family];
    const PgmLayout *l = &s->layout[p->fit->factors[i].family];
    if (!family->bounds || l->lower || l->upper) continue;
    return pgm_fail(error, PGM_BAD_INPUT, "the bounds of '%s' depend on data that are not given (%s:%d)", family->name, p->model->file,
                    family->line);
  }
  return PGM_OK;
}

/* Labels need what they explain; one pass of inference functions may do without. */
static bool has_all_data(const PgmSession *s)
{
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmFamily *family = &s->model->families[f];
    const bool array = family->role == PGM_OBSERVED || (family->role == PGM_INPUT && (family->n_index || family->rank));
    if (array && s->layout[f].elements && !s->layout[f].data && !s->layout[f].idata) return false;
  }
  return true;
}

enum { LABEL_DRAWS = 200 };

static PgmStatus copy_marginals(const PgmPosterior *p, const PgmSession *s, bool unconstrained, PgmInference **out, PgmError *error)
{
  PgmInference *r = calloc(1, sizeof *r);
  if (r) r->at = calloc((size_t)(p->fit->n_factors + p->model->n_families) + 1, sizeof *r->at);
  bool ok = r && r->at;
  for (int i = 0; ok && i < p->fit->n_factors; i++) {
    const int f = p->fit->factors[i].family;
    ok = copy_marginal(s, f, s->layout[f].mean, unconstrained, &r->at[r->n++]);
  }
  for (int f = 0; ok && f < p->model->n_families; f++) {
    if (!pgm_has_labels(p->model, f) || !has_all_data(s)) continue;
    double *table = malloc((size_t)(s->layout[f].elements * s->layout[f].uwidth + 1) * sizeof *table);
    ok = table && pgm_average_labels(s, f, LABEL_DRAWS, p->fit->seed, table, error) == PGM_OK &&
         copy_marginal(s, f, table, unconstrained, &r->at[r->n++]);
    free(table);
  }
  if (ok) {
    *out = r;
    return PGM_OK;
  }
  pgm_inference_free(r);
  return pgm_fail(error, PGM_SYSTEM, "out of memory");
}

PgmStatus pgm_posterior_check_data(const PgmPosterior *p, const PgmData *data, PgmError *error)
{
  for (int i = 0; i < p->n_inputs; i++) {
    const char *name = p->model->families[p->inputs[i]].name;
    if (pgm_data_find(data, name)) continue;
    return pgm_fail(error, PGM_BAD_INPUT, "'%s' is missing: %s", name,
                    p->amortised ? "the inference functions read it" : "the factors of new units are optimised, which takes all data");
  }
  return PGM_OK;
}

/* Which values of discrete variables the data rule out is seen where all data are given. */
static bool sees_all(const PgmPosterior *p, const PgmData *data)
{
  bool discrete = false, all = true;
  for (int i = 0; i < p->fit->n_factors; i++) discrete = discrete || pgm_is_discrete(&p->model->families[p->fit->factors[i].family]);
  for (int f = 0; f < p->model->n_families; f++) {
    const PgmFamily *family = &p->model->families[f];
    if (family->role == PGM_OBSERVED || (family->role == PGM_INPUT && (family->n_index || family->rank))) all = all && pgm_data_find(data, family->name);
  }
  return discrete && all;
}

PgmStatus pgm_posterior_infer_data(const PgmPosterior *p, PgmData *data, const PgmInferOptions *options, PgmInference **out,
                                   PgmError *error)
{
  PgmSession *s = NULL;
  int threads = !options || options->threads == 0 ? 1 : options->threads > 0 ? options->threads : 0;
  const PgmSessionOptions session = {.threads = threads, .sizes_only = p->amortised && !sees_all(p, data)}; /* what no function reads need not be given */
  const char *how = NULL;
  *out = NULL;
  PgmStatus status = pgm_posterior_check_data(p, data, error);
  if (status == PGM_OK) status = pgm_fit_add_sizes(p->fit, p->model, data, error);
  if (status == PGM_OK) status = pgm_session_open(&s, p->model, data, &session, error);
  if (status != PGM_OK) return status;
  status = infer_units(p, s, &how, error);
  if (status == PGM_OK && !(options && options->unconstrained)) status = check_bounds(p, s, error);
  if (status == PGM_OK) status = copy_marginals(p, s, options && options->unconstrained, out, error);
  if (status == PGM_OK) (*out)->how = how;
  pgm_session_close(s);
  return status;
}

PgmStatus pgm_posterior_infer(const PgmPosterior *p, const PgmValues *values, int n_values, const PgmInferOptions *options,
                              PgmInference **out, PgmError *error)
{
  PgmStatus status = PGM_OK;
  PgmData *data = pgm_data_new();
  *out = NULL;
  if (!data) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  for (int i = 0; i < n_values && status == PGM_OK; i++) {
    const PgmValues *v = &values[i];
    if (!v->value) continue;
    if (!v->name || find_family(p->model, v->name, strcspn(v->name, "[")) < 0) {
      status = pgm_fail(error, PGM_BAD_INPUT, "array %d, '%s': no variable of the model '%s'", i, v->name ? v->name : "", p->model->name);
    } else if (v->rank < 0 || v->rank > PGM_MAX_DIMS) {
      status = pgm_fail(error, PGM_BAD_INPUT, "array '%s': %d dimensions", v->name, v->rank);
    } else {
      status = pgm_data_add(data, v->name, v->rank, v->dim, v->value, "the caller's array", error);
    }
  }
  if (status == PGM_OK) status = pgm_posterior_infer_data(p, data, options, out, error);
  pgm_data_free(data);
  return status;
}

void pgm_inference_free(PgmInference *r)
{
  if (!r) return;
  for (int i = 0; i < r->n; i++) {
    free((void *)r->at[i].mean);
    free((void *)r->at[i].sd);
    free((void *)r->at[i].p);
    free((void *)r->at[i].defined);
  }
  free(r->at);
  free(r);
}

int pgm_inference_count(const PgmInference *r)
{
  return r->n;
}
const PgmMarginal *pgm_inference_at(const PgmInference *r, int i)
{
  return i >= 0 && i < r->n ? &r->at[i] : NULL;
}
const char *pgm_inference_how(const PgmInference *r)
{
  return r->how;
}

const PgmMarginal *pgm_inference_find(const PgmInference *r, const char *name)
{
  for (int i = 0; i < r->n; i++) {
    if (strcmp(r->at[i].name, name) == 0) return &r->at[i];
  }
  return NULL;
}
