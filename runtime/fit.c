/* Fits: from options to sources, from the solver's vector to a PgmFit, and back into a session. See fit.h; the work is in solve.c. */
#include "fit.h"

#include <stdlib.h>
#include <string.h>

#include "exchange.h"
#include "khat.h"
#include "solve.h"

/* What the random numbers of one fit are told apart by. */
enum { SEED_NETWORK = 0x6E65u, SEED_INITIAL = 0x1417u, SEED_SIDE = 0x51DEu, SEED_EVALUATE = 0xE7A1u, SEED_RATIOS = 0x9515u, SEED_EXCHANGE = 0xE8C4u };
static const double EXCHANGE_GAIN = 1e-5; /* of the ELBO, for another turn */

PgmFitOptions pgm_fit_defaults(void)
{
  return (PgmFitOptions){.method = PGM_FVI, .degree = -1, .activation = PGM_TANH, .skip = true, .seed = 1};
}

/* ---- the object ---------------------------------------------------------------------------------------------------------------------- */

void pgm_fit_free(PgmFit *fit)
{
  if (!fit) return;
  for (int i = 0; fit->factors && i < fit->n_factors; i++) {
    free(fit->factors[i].mean);
    free(fit->factors[i].log_sd);
    pgm_function_free(fit->factors[i].function);
  }
  for (int i = 0; fit->sizes && i < fit->n_sizes; i++) free(fit->sizes[i].name);
  free(fit->factors);
  free(fit->sizes);
  free(fit->model);
  free(fit->hash);
  free(fit->version);
  free(fit->data_hash);
  free(fit->method_note);
  free(fit);
}

static bool copy_text(char **out, const char *text)
{
  *out = text ? strdup(text) : NULL;
  return !text || *out;
}

static bool copy_vector(double **out, const double *v, long n)
{
  *out = v ? malloc((size_t)(n + 1) * sizeof *v) : NULL;
  if (*out && n) memcpy(*out, v, (size_t)n * sizeof *v);
  return !v || *out;
}

PgmFit *pgm_fit_copy(const PgmFit *fit)
{
  PgmFit *c = malloc(sizeof *c);
  if (!c) return NULL;
  *c = *fit;
  c->model = c->hash = c->version = c->data_hash = c->method_note = NULL;
  c->n_factors = c->n_sizes = 0;
  c->factors = calloc((size_t)fit->n_factors + 1, sizeof *c->factors);
  c->sizes = fit->sizes ? calloc((size_t)fit->n_sizes + 1, sizeof *c->sizes) : NULL;
  bool ok = c->factors && (c->sizes || !fit->sizes) && copy_text(&c->model, fit->model) && copy_text(&c->hash, fit->hash) &&
            copy_text(&c->version, fit->version) && copy_text(&c->data_hash, fit->data_hash) &&
            copy_text(&c->method_note, fit->method_note);
  for (int i = 0; ok && i < fit->n_sizes; i++) {
    c->sizes[i].value = fit->sizes[i].value;
    ok = copy_text(&c->sizes[i].name, fit->sizes[i].name);
    c->n_sizes++;
  }
  for (int i = 0; ok && i < fit->n_factors; i++) {
    const PgmFactors *from = &fit->factors[i];
    PgmFactors *to = &c->factors[c->n_factors++];
    const long n = from->elements * from->uwidth;
    *to = *from;
    to->mean = to->log_sd = NULL;
    to->function = NULL;
    ok = copy_vector(&to->mean, from->mean, n) && copy_vector(&to->log_sd, from->log_sd, n);
    if (ok && from->function) ok = (to->function = pgm_function_copy(from->function)) != NULL;
  }
  if (ok) return c;
  pgm_fit_free(c);
  return NULL;
}

static PgmStatus no_memory(PgmError *error)
{
  return pgm_fail(error, PGM_SYSTEM, "out of memory");
}

bool pgm_observes(const PgmModel *m)
{
  bool any = false;
  for (int k = 0; k < m->n_statements; k++) any = any || m->statements[k].kind == PGM_S_OBSERVED;
  return any;
}

/* Observed elements (not those of `input` statements) with a value. */
static long count_observations(const PgmSession *s)
{
  const PgmModel *m = s->model;
  long total = 0;
  for (int f = 0; f < m->n_families; f++) {
    if (m->families[f].role != PGM_OBSERVED) continue;
    const PgmLayout *l = &s->layout[f];
    bool observed[256] = {false}; /* by piece: 1 + the statement's rank among the family's; 0: not defined */
    int rank = 0;
    for (int k = 0; k < m->n_statements; k++)
      if (m->statements[k].family == f && rank < 255) observed[++rank] = m->statements[k].kind == PGM_S_OBSERVED;
    if (!l->piece && !l->missing) {
      total += observed[1] ? l->elements : 0;
      continue;
    }
    for (long e = 0; e < l->elements; e++) {
      if (!observed[l->piece ? l->piece[e] : 1]) continue;
      bool any = !l->missing;
      for (long k = 0; k < l->width && !any; k++) any = l->present[e * l->width + k];
      total += any;
    }
  }
  return total;
}

/* The factors at x. */
static PgmStatus make_fit(PgmFit **out, PgmSession *s, const PgmSources *q, const double *x, const PgmFitOptions *o, PgmError *error)
{
  PgmFit *fit = calloc(1, sizeof *fit);
  *out = NULL;
  if (!fit) return no_memory(error);
  fit->factors = calloc((size_t)s->model->n_families + 1, sizeof *fit->factors);
  bool ok = fit->factors && copy_text(&fit->model, s->model->name) && copy_text(&fit->hash, s->model->hash) &&
            copy_text(&fit->version, s->model->version);
  fit->method = o->method;
  fit->seed = o->seed;
  fit->threads = s->threads;
  fit->variational_parameters = q->size + q->eliminated;
  fit->observations = count_observations(s);
  fit->elbo = fit->elbo_se = fit->elbo_per_observation = fit->gradient_norm = fit->khat = fit->khat_effective = NAN;
  for (int family = 0; ok && family < s->model->n_families; family++) {
    if (!pgm_is_latent(&s->model->families[family])) continue;
    const PgmSource *f = pgm_sources_find(q, family);
    const PgmLayout *l = &s->layout[family];
    PgmFactors *to = &fit->factors[fit->n_factors++];
    *to = (PgmFactors){.family = family, .kind = f ? f->kind : PGM_FREE, .elements = f && f->kind == PGM_SHARED ? 1 : l->elements, .uwidth = l->uwidth};
    if (!f) continue; /* eliminated: restored from the others and the data */
    const long n = to->elements * to->uwidth;
    to->distinct = f->distinct;
    if (f->kind == PGM_FUNCTION) {
      if (!(ok = (to->function = pgm_function_copy(f->function)) != NULL)) break;
      free(to->function->weights);
      ok = copy_vector(&to->function->weights, x + f->at, f->size);
      continue;
    }
    to->mean = calloc((size_t)n + 1, sizeof *to->mean);
    to->log_sd = !f->scales ? NULL : calloc((size_t)n + 1, sizeof *to->log_sd);
    if (!(ok = to->mean && (!f->scales || to->log_sd))) break;
    const long rows = f->kind == PGM_SHARED ? 1 : f->rows;
    if (!l->list) { /* rows as they come */
      memcpy(to->mean, x + f->at, (size_t)n * sizeof *x);
      if (f->scales) memcpy(to->log_sd, x + f->sd_at, (size_t)n * sizeof *x);
      continue;
    }
    for (long r = 0; r < rows; r++) {
      const long to_row = f->kind == PGM_SHARED ? 0 : (l->list ? l->list[r] : r) * f->uwidth;
      memcpy(to->mean + to_row, x + f->at + r * f->uwidth, (size_t)f->uwidth * sizeof *x);
      if (f->scales) memcpy(to->log_sd + to_row, x + f->sd_at + r * f->uwidth, (size_t)f->uwidth * sizeof *x);
    }
  }
  if (!ok) {
    pgm_fit_free(fit);
    return no_memory(error);
  }
  *out = fit;
  return PGM_OK;
}

/* ---- sources from a fit -------------------------------------------------------------------------------------------------------------- */

static PgmFactors *find_factors(const PgmFit *fit, int family)
{
  for (int i = 0; fit && i < fit->n_factors; i++)
    if (fit->factors[i].family == family) return &fit->factors[i];
  return NULL;
}

static bool same_shape(const PgmSession *s, const PgmFactors *p)
{
  const PgmLayout *l = &s->layout[p->family];
  return p->mean && p->uwidth == l->uwidth && (p->kind == PGM_SHARED || p->elements == l->elements);
}

/* The part of x of one source from a fit's factors of the same kind and shape. */
static void load_factors(const PgmSession *s, const PgmSource *f, const PgmFactors *p, double *x)
{
  const PgmLayout *l = &s->layout[f->family];
  if (f->kind == PGM_FUNCTION) {
    memcpy(x + f->at, p->function->weights, (size_t)f->size * sizeof *x);
    return;
  }
  const long rows = f->kind == PGM_SHARED ? 1 : f->rows;
  for (long r = 0; r < rows; r++) {
    const long from = p->kind == PGM_SHARED ? 0 : (l->list ? l->list[r] : r) * f->uwidth;
    memcpy(x + f->at + r * f->uwidth, p->mean + from, (size_t)f->uwidth * sizeof *x);
    if (f->scales && p->log_sd) memcpy(x + f->sd_at + r * f->uwidth, p->log_sd + from, (size_t)f->uwidth * sizeof *x);
  }
}

static void close_specs(PgmSourceSpec *specs, int n)
{
  for (int i = 0; i < n; i++) {
    pgm_gather_close(specs[i].gather);
    pgm_function_free(specs[i].function);
  }
  free(specs);
}

/* Does the fit leave out what a pass over the data restores? */
static bool to_be_restored(const PgmSession *s, const PgmFactors *p)
{
  return p->kind == PGM_FREE && !p->mean && pgm_eliminates(s->model, p->family);
}

/* F-VI: no function looks at what would be restored. */
static bool all_free(const PgmFit *fit)
{
  bool free_ones = true;
  for (int i = 0; i < fit->n_factors; i++) free_ones = free_ones && fit->factors[i].kind == PGM_FREE;
  return free_ones;
}

/* Sources and their x as the fit has them. `new_units`: free local factors need not fit in size, and begin at mean 0; *loose counts them. Free families that
 * plates eliminate are no sources where their factors are missing or those of new units. */
static PgmStatus sources_of_fit(PgmSession *s, const PgmFit *fit, bool new_units, PgmSources **q, double **x, long *loose, PgmError *error)
{
  const PgmModel *m = s->model;
  PgmSourceSpec *specs = calloc((size_t)m->n_families + 1, sizeof *specs);
  int n = 0;
  bool eliminate = new_units && all_free(fit);
  PgmStatus st = PGM_OK;
  *q = NULL;
  *x = NULL;
  *loose = 0;
  if (!specs) return no_memory(error);
  for (int f = 0; f < m->n_families && !st; f++) {
    if (!pgm_is_latent(&m->families[f])) continue;
    const PgmFactors *p = find_factors(fit, f);
    if (!p) {
      st = pgm_fail(error, PGM_BAD_INPUT, "the fit has no factors for '%s'", m->families[f].name);
      break;
    }
    specs[n] = (PgmSourceSpec){.family = f, .kind = p->kind};
    if (p->kind == PGM_FUNCTION) {
      if (!(specs[n].function = pgm_function_copy(p->function)))
        st = no_memory(error);
      else
        st = pgm_gather_reopen(&specs[n].gather, s, f, specs[n].function, error);
    } else if (to_be_restored(s, p)) {
      eliminate = true;
    } else if (!same_shape(s, p) && !(new_units && m->families[f].role == PGM_LOCAL && p->kind == PGM_FREE)) {
      st = pgm_fail(error, PGM_BAD_INPUT, "the fit has %ld elements of '%s', these data have %ld", p->elements, m->families[f].name,
                    s->layout[f].elements);
    }
    n++;
  }
  if (st) {
    close_specs(specs, n);
    return st;
  }
  st = pgm_sources_open(q, s, n, specs, eliminate, error);
  free(specs);
  if (st) return st;
  *x = calloc((size_t)(*q)->size + 1, sizeof **x);
  if (!*x) {
    pgm_sources_close(*q);
    *q = NULL;
    return no_memory(error);
  }
  for (int i = 0; i < (*q)->n; i++) {
    const PgmSource *f = &(*q)->source[i];
    const PgmFactors *p = find_factors(fit, f->family);
    if (f->kind == PGM_FUNCTION || (same_shape(s, p) && !(new_units && f->local && f->kind == PGM_FREE)))
      load_factors(s, f, p, *x);
    else
      *loose += f->size;
  }
  return PGM_OK;
}

/* Tables that a function or one factor for all gives: values of a discrete variable that these data rule out have probability 0, as they had in the fit. */
static PgmStatus rule_out(PgmSession *s, PgmSources *q, const double *x, PgmError *error)
{
  const PgmObjectiveOptions options = {.axis = -1};
  PgmObjective *objective;
  bool tables = false;
  for (int i = 0; i < q->n; i++) tables = tables || (q->source[i].table && q->source[i].kind != PGM_FREE);
  if (!tables || !s->engine) return PGM_OK;
  PgmStatus st = pgm_objective_open(&objective, s, q, &options, error);
  if (st) return st;
  while (!isfinite(pgm_objective_value(objective, x, NULL, NULL, 0)) && pgm_sources_exclude(q));
  pgm_objective_close(objective);
  return PGM_OK;
}

PgmStatus pgm_fit_apply(PgmSession *s, const PgmFit *fit, PgmError *error)
{
  PgmSources *q;
  double *x;
  long loose;
  PgmStatus st = sources_of_fit(s, fit, false, &q, &x, &loose, error);
  if (st) return st;
  st = rule_out(s, q, x, error);
  pgm_sources_forward(q, x, NULL);
  if (q->eliminates) pgm_engine_restore(s);
  pgm_sources_close(q);
  free(x);
  return st;
}

PgmStatus pgm_fit_restore(PgmSession *s, PgmFit *fit, PgmError *error)
{
  PgmStatus st = pgm_fit_apply(s, fit, error);
  for (int i = 0; i < fit->n_factors && !st; i++) {
    PgmFactors *p = &fit->factors[i];
    const PgmLayout *l = &s->layout[p->family];
    const long n = l->elements * l->uwidth;
    if (!to_be_restored(s, p)) continue;
    p->elements = l->elements;
    p->mean = malloc((size_t)(n + 1) * sizeof *p->mean);
    p->log_sd = malloc((size_t)(n + 1) * sizeof *p->log_sd);
    if (!p->mean || !p->log_sd) return no_memory(error);
    memcpy(p->mean, l->mean, (size_t)n * sizeof *p->mean);
    for (long e = 0; e < n; e++) p->log_sd[e] = l->sd[e] > 0 ? log(l->sd[e]) : 0; /* 0: no element */
  }
  return st;
}

PgmStatus pgm_fit_locals(PgmSession *s, const PgmFit *fit, PgmFit **out, PgmError *error)
{
  PgmFitOptions o = pgm_fit_defaults();
  PgmSolution solution = {.converged = true};
  PgmSources *q;
  double *x;
  long loose;
  PgmStatus st = sources_of_fit(s, fit, true, &q, &x, &loose, error);
  *out = NULL;
  if (st) return st;
  o.seed = fit->seed;
  o.method = fit->method;
  if (loose) {
    PgmRun run;
    pgm_run_begin(&run, s, &o);
    st = pgm_solve(&run, q, q->functions, PGM_START_COLD, false, x, &solution, error);
  } else {
    pgm_sources_forward(q, x, NULL);
  }
  if (!st && q->eliminates) pgm_engine_restore(s);
  if (!st) st = make_fit(out, s, q, x, &o, error);
  if (!st) (*out)->converged = fit->converged && solution.converged;
  pgm_sources_close(q);
  free(x);
  return st;
}

/* ---- evaluation ---------------------------------------------------------------------------------------------------------------------- */

/* Free sources for every latent family: to tell an objective what there is, or for F-VI. */
static PgmStatus plain_sources(PgmSources **q, PgmSession *s, bool eliminate, PgmError *error)
{
  const PgmModel *m = s->model;
  PgmSourceSpec *specs = calloc((size_t)m->n_families + 1, sizeof *specs);
  int n = 0;
  *q = NULL;
  if (!specs) return no_memory(error);
  for (int f = 0; f < m->n_families; f++)
    if (pgm_is_latent(&m->families[f])) specs[n++] = (PgmSourceSpec){.family = f, .kind = PGM_FREE};
  PgmStatus st = pgm_sources_open(q, s, n, specs, eliminate, error);
  free(specs);
  return st;
}

/* ELBO at the layouts' factors, whose entropy is given; eliminated factors at their best, their entropy apart. */
static double elbo_at(PgmSession *s, bool eliminate, double entropy, int samples, unsigned long seed, double *se)
{
  PgmSources *q;
  PgmObjective *objective;
  double value = NAN, error = NAN;
  const PgmObjectiveOptions options = {.draws = samples, .fresh = true, .seed = seed ^ SEED_EVALUATE, .axis = -1};
  if (plain_sources(&q, s, eliminate, NULL) == PGM_OK) {
    if (pgm_objective_open(&objective, s, q, &options, NULL) == PGM_OK) {
      value = pgm_objective_expect(objective, 0, &error) + entropy;
      pgm_objective_close(objective);
    }
    pgm_sources_close(q);
  }
  if (se) *se = error;
  return value;
}

double pgm_elbo(PgmSession *s, int samples, unsigned long seed, double *se)
{
  return elbo_at(s, false, pgm_entropy(s), samples, seed, se);
}

bool pgm_log_ratios(PgmSession *s, int draws, unsigned long seed, double *ratio)
{
  PgmSources *q;
  PgmObjective *objective;
  bool ok = false;
  const PgmObjectiveOptions options = {.draws = 1, .fresh = true, .all_points = true, .fine = true, .seed = seed ^ SEED_RATIOS, .axis = -1};
  if (plain_sources(&q, s, false, NULL) != PGM_OK) return false;
  if (pgm_objective_open(&objective, s, q, &options, NULL) == PGM_OK) {
    for (int d = 0; d < draws; d++) ratio[d] = pgm_objective_ratio(objective, d);
    pgm_objective_close(objective);
    ok = true;
  }
  pgm_sources_close(q);
  return ok;
}

/* Draws for the ELBO that is reported: fewer where one pass is long, down to ten, which tell the standard error still. */
static int evaluation_draws(const PgmSession *s)
{
  double entries = 0;
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmRole role = s->model->families[f].role;
    if (role == PGM_OBSERVED || pgm_is_latent(&s->model->families[f]))
      entries += (double)s->layout[f].elements * (double)s->layout[f].width;
  }
  return (int)fmin(200, fmax(10, 1e8 / fmax(entries, 1)));
}

/* ---- running ------------------------------------------------------------------------------------------------------------------------- */

/* Contradictions between options and model. */
static PgmStatus check_options(const PgmSession *s, const PgmFitOptions *o, PgmError *error)
{
  const PgmModel *m = s->model;
  const bool full = o->batch <= 0;
  if (!full && (o->optimizer == PGM_OPT_LBFGS || o->optimizer == PGM_OPT_PROFILE))
    return pgm_fail(error, PGM_BAD_USAGE,
                    "--optimizer %s needs all data at once, --batch gives it a part; --optimizer adam goes with --batch",
                    o->optimizer == PGM_OPT_LBFGS ? "lbfgs" : "profile");
  if (o->expectation == PGM_EXP_MONTE_CARLO && (o->optimizer == PGM_OPT_LBFGS || o->optimizer == PGM_OPT_PROFILE))
    return pgm_fail(
        error, PGM_BAD_USAGE,
        "--expectation monte-carlo is a noisy objective, which --optimizer %s cannot take; fixed-draws is the deterministic one",
        o->optimizer == PGM_OPT_LBFGS ? "lbfgs" : "profile");
  for (int f = 0; f < m->n_families && o->expectation >= PGM_EXP_FIXED_DRAWS; f++)
    if (pgm_is_discrete(&m->families[f]))
      return pgm_fail(error, PGM_BAD_USAGE, "--expectation %s draws every variable, but %s is discrete: its sums are exact, draws of it have no gradient",
                      o->expectation == PGM_EXP_FIXED_DRAWS ? "fixed-draws" : "monte-carlo", m->families[f].name);
  if (o->optimizer == PGM_OPT_PROFILE) {
    bool locals = false;
    if (o->method != PGM_FVI)
      return pgm_fail(error, PGM_BAD_USAGE, "--optimizer profile is for --method fvi: it eliminates free local factors");
    for (int f = 0; f < m->n_families; f++) {
      if (m->families[f].role != PGM_LOCAL) continue;
      locals = true;
      if (!m->families[f].separable)
        return pgm_fail(
            error, PGM_BAD_USAGE,
            "--optimizer profile: the elements of %s are coupled, so they cannot be eliminated one by one; lbfgs takes them together",
            m->families[f].name);
    }
    if (!locals) return pgm_fail(error, PGM_BAD_USAGE, "--optimizer profile: the model has no local latent variables");
  }
  if (o->expectation == PGM_EXP_EXACT || o->expectation == PGM_EXP_QUADRATURE)
    for (int t = 0; t < m->n_terms; t++) {
      const PgmTerm *term = &m->terms[t];
      if (term->method == PGM_SAMPLED || (term->method == PGM_QUADRATURE && o->expectation == PGM_EXP_EXACT))
        return pgm_fail(error, PGM_BAD_USAGE, "--expectation %s: %s:%d: the expectation of '%s' %s",
                        o->expectation == PGM_EXP_EXACT ? "exact" : "quadrature", m->file, term->line, term->text,
                        term->method == PGM_SAMPLED ? "can only be sampled" : "has no closed form, only a quadrature");
    }
  return PGM_OK;
}

/* In the layout: probabilities in place of their logits. */
static void tables_of_logits(PgmSession *s, int family)
{
  const PgmLayout *l = &s->layout[family];
  for (long r = 0; r < l->defined; r++) {
    const long flat = l->list ? l->list[r] : r;
    pgm_table_fill(s, family, flat, l->mean + flat * l->uwidth, l->mean + flat * l->uwidth);
  }
}

/* How far from the prior's location local variables begin that may have several optima, all elements of an entry alike: a little in the first start, lest that
 * be a point of symmetry, then to one side and to the other. */
static double side_of(const PgmFitOptions *o, int family, long entry, int start)
{
  const PgmKey key = {o->seed, (uint64_t)family, SEED_SIDE};
  const double side = 2 * pgm_philox_uniform(key, (uint64_t)entry) - 1;
  return start ? (start % 2 ? 1 : -1) * copysign(0.5 + fabs(side), side) : 0.1 * side;
}

/* Where the factors start: means at the prior's location, or 0, for locals that separate and have one optimum; aside of it where they may have several; at
 * small random distances elsewhere, because 0 may be a point of symmetry (a product of two latent variables, the components of a mixture); matrices like
 * layers of a network, by their fan-in, and their sds as well, lest
 * noise that adds up over a layer drown the data. */
static void start_layouts(PgmSession *s, const PgmFitOptions *o, const PgmSources *q, int start)
{
  for (int i = 0; i < q->n; i++) {
    const int f = q->source[i].family;
    const PgmFamily *family = &s->model->families[f];
    PgmLayout *l = &s->layout[f];
    const bool local = family->role == PGM_LOCAL;
    const long n = l->elements * l->uwidth;
    const PgmKey key = {o->seed, (uint64_t)f, SEED_INITIAL + (uint64_t)start};
    const bool matrix = family->rank == 2 && l->dim[0] > 1 && l->dim[1] > 1;
    static const double wider[] = {1, 3, 10};
    const double spread = l->table ? 1 : local && family->separable ? 0 : matrix && !local ? 1 / sqrt((double)l->dim[1]) : 0.1 * (local ? 1 : wider[start % 3]);
    if (n && spread > 0 && !(o->init_radius > 0)) pgm_philox_normals(key, 0, n, l->mean);
    for (long e = 0; e < n; e++) {
      l->mean[e] = o->init_radius > 0 ? o->init_radius * (2 * pgm_philox_uniform(key, (uint64_t)e | 1ull << 40) - 1)
                   : spread > 0       ? family->location + spread * l->mean[e]
                                      : family->location;
      if (local && family->separable && !family->concave && !l->table && !(o->init_radius > 0)) l->mean[e] += side_of(o, f, e % l->uwidth, start);
      l->sd[e] = family->role == PGM_PARAM || l->table ? 0 : local ? 0.5 : 0.1 * (matrix ? spread : 1);
    }
    if (l->table) tables_of_logits(s, f);
  }
}

/* Specs by method: every global and param free; locals free, shared, or functions where there is an input form. */
static PgmStatus make_specs(PgmSession *s, const PgmFitOptions *o, PgmSourceSpec *specs, int *n, bool *functions, char **note,
                            PgmError *error)
{
  const PgmModel *m = s->model;
  char missing[400] = "";
  PgmStatus st = pgm_inputs_check(s, o, error);
  *n = 0;
  *functions = false;
  for (int f = 0; f < m->n_families && !st; f++) {
    const PgmFamily *family = &m->families[f];
    if (!pgm_is_latent(family)) continue;
    PgmSourceSpec *spec = &specs[(*n)++];
    *spec = (PgmSourceSpec){.family = f, .kind = PGM_FREE};
    if (family->role != PGM_LOCAL || o->method == PGM_FVI || (o->method == PGM_AVI && pgm_inputs_pinned(s, o, f))) continue;
    if (o->method == PGM_CONST) {
      spec->kind = PGM_SHARED;
      continue;
    }
    PgmInputs inputs;
    st = pgm_inputs_find(s, o, f, &inputs, error);
    if (!st && inputs.n >= 0) {
      spec->kind = PGM_FUNCTION;
      st = pgm_function_new(&spec->function, &spec->gather, s, f, &inputs, o, error);
      *functions = true;
    } else if (!st) {
      size_t k = strlen(missing);
      snprintf(missing + k, sizeof missing - k, "%s%s", k ? ", " : "", family->name);
    }
    pgm_inputs_free(&inputs);
  }
  if (!st && missing[0]) {
    char text[700];
    char advice[200];
    pgm_window_advice(s, advice, sizeof advice);
    snprintf(text, sizeof text, "no bounded input suffices for %s, so free factors are kept; %s%s", missing, advice,
             advice[0] ? " or --inputs name inputs" : "--inputs names inputs");
    if (!copy_text(note, text)) st = no_memory(error);
  }
  return st;
}

PgmStatus pgm_fit_suits(PgmSession *s, const PgmFitOptions *options, const PgmSession *other, const char *name, PgmError *error)
{
  PgmSourceSpec *specs = calloc((size_t)s->model->n_families + 1, sizeof *specs);
  char *note = NULL;
  int n = 0;
  bool functions = false;
  if (!specs) return no_memory(error);
  PgmStatus st = make_specs(s, options, specs, &n, &functions, &note, error);
  for (int i = 0; i < n && !st; i++) {
    PgmGather *gather = NULL;
    PgmError found;
    if (specs[i].kind != PGM_FUNCTION) continue;
    st = pgm_gather_reopen(&gather, other, specs[i].family, specs[i].function, &found);
    if (st) pgm_fail(error, st, "%s: %s", name, found.text);
    pgm_gather_close(gather);
  }
  close_specs(specs, n);
  free(note);
  return st;
}

/* Has the function of an earlier fit the same inputs and architecture? */
static bool same_function(const PgmFunction *a, const PgmFunction *b)
{
  bool same = a->n_inputs == b->n_inputs && a->n_features == b->n_features && a->n_flags == b->n_flags && a->degree == b->degree &&
              a->n_hidden == b->n_hidden && a->free_scale == b->free_scale && a->n_outputs == b->n_outputs && a->n_weights == b->n_weights;
  same = same && a->n_encoders == b->n_encoders && a->n_scaled == b->n_scaled;
  for (int e = 0; same && e < a->n_encoders; e++) {
    const PgmEncoderShape *x = &a->encoders[e], *y = &b->encoders[e];
    same = x->slice == y->slice && x->n_levels == y->n_levels;
    for (int l = 0; same && l < x->n_levels; l++) same = x->columns[l] == y->columns[l] && x->varies[l] == y->varies[l];
  }
  if (same && a->degree < 0) same = a->activation == b->activation && a->skip == b->skip;
  for (int l = 0; same && l < a->n_hidden; l++) same = a->hidden[l] == b->hidden[l];
  for (int i = 0; same && i < a->n_inputs; i++) same = !strcmp(a->inputs[i], b->inputs[i]);
  for (int i = 0; same && i < a->n_flags; i++) same = !strcmp(a->flags[i], b->flags[i]);
  return same;
}

/* With --init FIT: functions of the same make take over its standardisation. */
static PgmStatus adopt_functions(PgmSession *s, const PgmFit *init, PgmSourceSpec *specs, int n, PgmError *error)
{
  for (int i = 0; i < n; i++) {
    const PgmFactors *p = find_factors(init, specs[i].family);
    if (specs[i].kind != PGM_FUNCTION || !p || !p->function || !same_function(specs[i].function, p->function)) continue;
    PgmFunction *copy = pgm_function_copy(p->function);
    PgmGather *gather = NULL;
    if (!copy) return no_memory(error);
    PgmStatus st = pgm_gather_reopen(&gather, s, specs[i].family, copy, error);
    if (st) {
      pgm_function_free(copy);
      return st;
    }
    pgm_function_free(specs[i].function);
    pgm_gather_close(specs[i].gather);
    specs[i].function = copy;
    specs[i].gather = gather;
  }
  return PGM_OK;
}

/* Where an earlier fit says to start: its factors, where it has them for this session's units, go into the layouts and into x; functions
 * of the same make take its weights. *factors: every family's came from it; *weights: every function's did. */
static void adopt_factors(PgmSession *s, const PgmFit *init, const PgmSources *q, double *x, bool *factors, bool *weights)
{
  *weights = true;
  *factors = pgm_fit_apply(s, init, NULL) == PGM_OK;
  for (int i = 0; i < q->n && !*factors; i++) { /* as far as sizes agree */
    const PgmFactors *p = find_factors(init, q->source[i].family);
    const PgmLayout *l = &s->layout[q->source[i].family];
    if (!p || p->kind != PGM_FREE || !same_shape(s, p)) continue;
    memcpy(l->mean, p->mean, (size_t)(l->elements * l->uwidth) * sizeof *l->mean);
    for (long e = 0; e < l->elements * l->uwidth && p->log_sd; e++) l->sd[e] = exp(p->log_sd[e]);
    if (l->table) tables_of_logits(s, q->source[i].family);
  }
  pgm_sources_read(q, x);
  for (int i = 0; i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    const PgmFactors *p = find_factors(init, f->family);
    if (f->kind != PGM_FUNCTION) continue;
    if (p && p->kind == PGM_FUNCTION && same_function(f->function, p->function))
      load_factors(s, f, p, x);
    else
      *weights = false;
  }
}

typedef struct {
  PgmSession *s;
  const PgmFitOptions *o;
  const PgmRun *run;
} Checkpoint;

static void write_checkpoint(void *data, const PgmSources *q, const double *x, long iteration, double elbo)
{
  const Checkpoint *c = data;
  PgmFit *fit;
  if (make_fit(&fit, c->s, q, x, c->o, NULL) != PGM_OK) return;
  fit->elbo = elbo;
  fit->elbo_per_observation = fit->observations ? elbo / (double)fit->observations : NAN;
  fit->iterations = iteration;
  fit->seconds = pgm_run_seconds(c->run);
  strcpy(fit->criterion, "checkpoint");
  strcpy(fit->stopped, "signal");
  c->o->checkpoint(c->o->checkpoint_data, fit);
  pgm_fit_free(fit);
}

/* With --fix: globals and params of x as that fit has them. */
static PgmStatus load_fixed(const PgmSession *s, const PgmFit *fix, const PgmSources *q, double *x, PgmError *error)
{
  for (int i = 0; fix && i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    const PgmFamily *family = &s->model->families[f->family];
    if (f->local) continue;
    const PgmFactors *p = find_factors(fix, f->family);
    if (!p || !same_shape(s, p))
      return pgm_fail(error, PGM_BAD_INPUT, "the fit whose globals are kept has %ld entries of '%s', these data have %ld", p ? p->elements * p->uwidth : 0,
                      family->name, s->layout[f->family].elements * s->layout[f->family].uwidth);
    load_factors(s, f, p, x);
  }
  return PGM_OK;
}

/* How much of x, from its beginning, is not to move: with --fix the globals and params. */
static long pinned(const PgmFitOptions *o, const PgmSources *q)
{
  return o->fix ? q->globals : 0;
}

static bool has_tables(const PgmSources *q)
{
  bool any = false;
  for (int i = 0; i < q->n; i++) any = any || q->source[i].table;
  return any;
}

/* Local variables that separate and may have several modes. */
static bool has_sides(const PgmSources *q)
{
  bool any = false;
  for (int i = 0; i < q->n; i++) {
    const PgmFamily *f = &q->s->model->families[q->source[i].family];
    any = any || (q->source[i].local && f->separable && !f->concave && !q->source[i].table);
  }
  return any;
}

/* From how many starts: with discrete variables, with a factor or summed out, the ELBO has many optima, those of a mixture's labels exchanged and worse
 * ones; where local variables separate and may have several modes, from the middle and from both sides. Fewer where each takes long, by its size or its
 * draws. */
static int count_starts(const PgmSession *s, const PgmFitOptions *o, const PgmSources *q)
{
  enum { SIDES = 3, SMALL = 20000 };
  bool several = false;
  for (int i = 0; i < q->n; i++) /* a table by itself has one optimum, given the globals */
    several = several || (q->source[i].table && (pinned(o, q) < q->globals || !s->model->families[q->source[i].family].separable));
  for (int f = 0; f < s->model->n_families; f++) several = several || (s->model->families[f].role == PGM_MARGINAL && pinned(o, q) < q->globals);
  if (o->one_start || pgm_solve_stochastic(s, o)) return 1;
  if (!several) return has_sides(q) && q->size <= SMALL && !pgm_needs_draws(s->model) ? SIDES : 1;
  if (pgm_needs_draws(s->model)) return has_tables(q) ? 4 : count_observations(s) <= 2000 ? 24 : 8;
  return q->size <= SMALL ? 24 : q->size <= 1000000 ? 8 : 3;
}

/* Units that a label and what it decides hold in a local optimum: from other means, globals fixed, unit by unit the better one is kept; then all together for a
 * while, as long as this helps. x: the best of several starts, in and out; *elbo: the ELBO there. */
static PgmStatus exchange_units(PgmRun *run, PgmSources *q, double *x, double *elbo, PgmError *error)
{
  enum { TURNS = 4, SCATTERINGS = 6, BRIEF = 40 };
  static const double by[] = {1, 3}; /* sds */
  const PgmFitOptions *o = run->options;
  PgmExchange *exchange;
  PgmStatus st = pgm_exchange_open(&exchange, q, error);
  if (st || !exchange) return st;
  PgmFitOptions brief = *o; /* far enough for a unit to have chosen */
  if (!(o->max_iter > 0 && o->max_iter < BRIEF)) brief.max_iter = BRIEF;
  double *trial = malloc((size_t)(2 * q->size + 1) * sizeof *trial), *mixed = trial + q->size, gained = INFINITY;
  if (!trial) st = no_memory(error);
  for (int turn = 0; !st && turn < TURNS && gained > EXCHANGE_GAIN * fabs(*elbo) && !run->interrupted; turn++) {
    PgmError quiet; /* one start may fail */
    PgmSolution solution;
    const double before = *elbo;
    run->options = &brief;
    for (int k = 0; k < SCATTERINGS && !run->interrupted; k++) {
      pgm_exchange_scatter(exchange, (PgmKey){o->seed, (uint64_t)(turn * SCATTERINGS + k), SEED_EXCHANGE}, by[k % 2], x, trial);
      if (pgm_solve(run, q, q->globals, PGM_START_COLD, true, trial, &solution, &quiet) == PGM_OK) pgm_exchange(exchange, x, trial);
    }
    run->options = o;
    memcpy(mixed, x, (size_t)q->size * sizeof *x);
    if (pgm_solve(run, q, pinned(o, q), PGM_START_NEAR, true, mixed, &solution, &quiet) == PGM_OK && solution.elbo > *elbo) {
      memcpy(x, mixed, (size_t)q->size * sizeof *x);
      *elbo = solution.elbo;
    }
    gained = *elbo - before;
  }
  free(trial);
  pgm_exchange_close(exchange);
  return st;
}

/* A cold start: from several for a while, from the best one to the end. Where there are discrete factors, globals go first, under random tables: they begin
 * near the data, and no value of a discrete variable is left without any. */
static PgmStatus solve_cold(PgmRun *run, PgmSession *s, PgmSources *q, bool rough, double *x, PgmSolution *out, PgmError *error)
{
  enum { JUDGED_BY = 50 };
  const PgmFitOptions *o = run->options;
  const PgmStart start = has_tables(q) ? PGM_START_TABLES : PGM_START_COLD;
  const int starts = count_starts(s, o, q);
  if (starts == 1) return pgm_solve(run, q, pinned(o, q), start, rough, x, out, error);
  double *trial = malloc((size_t)(2 * q->size + 1) * sizeof *trial), *best = trial + q->size, elbo = -INFINITY;
  if (!trial) return no_memory(error);
  PgmStatus st = PGM_OK;
  for (int k = 0; k < starts && !st && !run->interrupted; k++) {
    PgmError quiet; /* one start may fail */
    if (k) {
      start_layouts(s, o, q, k);
      pgm_sources_read(q, trial);
    } else {
      memcpy(trial, x, (size_t)q->size * sizeof *x);
    }
    st = load_fixed(s, o->fix, q, trial, error);
    if (st || pgm_solve(run, q, pinned(o, q), start, true, trial, out, &quiet) != PGM_OK) continue;
    const double value = pgm_needs_draws(s->model) ? elbo_at(s, q->eliminates, pgm_sources_forward(q, trial, NULL), JUDGED_BY, o->seed, NULL)
                                                   : out->elbo; /* few fixed draws may have been fitted */
    if (!(value > elbo)) continue;
    elbo = value;
    memcpy(best, trial, (size_t)q->size * sizeof *x);
  }
  if (!st && elbo > -INFINITY) {
    memcpy(x, best, (size_t)q->size * sizeof *x);
    if (!rough) st = exchange_units(run, q, x, &elbo, error);
  }
  free(trial);
  return st ? st : pgm_solve(run, q, pinned(o, q), elbo > -INFINITY ? PGM_START_NEAR : start, rough, x, out, error);
}

/* Whether F-VI by these options can do without the factors that are best in closed form. */
static bool may_eliminate(const PgmSession *s, const PgmFitOptions *o)
{
  return (o->optimizer == PGM_OPT_DEFAULT || o->optimizer == PGM_OPT_PROFILE) && o->expectation < PGM_EXP_FIXED_DRAWS && !pgm_solve_stochastic(s, o);
}

/* Factors of F-VI, roughly, into the layouts: where inference functions start from. */
static PgmStatus free_factors(PgmRun *run, PgmSession *s, PgmError *error)
{
  PgmSolution solution;
  PgmSources *q;
  PgmStatus st = plain_sources(&q, s, may_eliminate(s, run->options), error);
  if (st) return st;
  double *x = calloc((size_t)q->size + 1, sizeof *x);
  if (!x) st = no_memory(error);
  if (!st) pgm_sources_read(q, x);
  if (!st) st = load_fixed(s, run->options->fix, q, x, error);
  if (!st) st = solve_cold(run, s, q, true, x, &solution, error);
  if (!st) run->free_elbo = solution.elbo;
  if (!st && q->eliminates) pgm_engine_restore(s);
  free(x);
  pgm_sources_close(q);
  return st;
}

/* The layouts' means and sds, source after source: first all means, then all sds. */
static double *copy_layouts(const PgmSession *s, const PgmSources *q, long *entries)
{
  *entries = 0;
  for (int i = 0; i < q->n; i++) *entries += s->layout[q->source[i].family].elements * q->source[i].uwidth;
  double *copy = malloc((size_t)(2 * *entries + 1) * sizeof *copy), *at = copy;
  for (int i = 0; copy && i < q->n; i++) {
    const PgmLayout *l = &s->layout[q->source[i].family];
    const long n = l->elements * l->uwidth;
    memcpy(at, l->mean, (size_t)n * sizeof *at);
    memcpy(at + *entries, l->sd, (size_t)n * sizeof *at);
    at += n;
  }
  return copy;
}

static void restore_layouts(const PgmSession *s, const PgmSources *q, const double *copy, long entries)
{
  for (int i = 0; i < q->n; i++) {
    const PgmLayout *l = &s->layout[q->source[i].family];
    const long n = l->elements * l->uwidth;
    memcpy(l->mean, copy, (size_t)n * sizeof *copy);
    memcpy(l->sd, copy + entries, (size_t)n * sizeof *copy);
    copy += n;
  }
}

typedef enum { START_TAUGHT, START_RANDOM, STARTS } FunctionStart;

/* Weights to start from: least squares on the factors of F-VI in the layouts, then taught these factors by their own precision; or random.
 * */
static PgmStatus start_functions(PgmRun *run, PgmSources *q, FunctionStart start, const double *mean, const double *sd, double *x,
                                 PgmError *error)
{
  PgmStatus st = PGM_OK;
  pgm_sources_read(q, x);
  st = load_fixed(run->s, run->options->fix, q, x, error);
  for (int i = 0; i < q->n && !st; i++) {
    const PgmKey key = {run->options->seed, (uint64_t)i, SEED_NETWORK + (uint64_t)start};
    if (q->source[i].kind != PGM_FUNCTION) continue;
    st = start == START_TAUGHT ? pgm_source_regress(q, &q->source[i], key, x, error) : pgm_source_random(q, &q->source[i], key, x, error);
  }
  return !st && start == START_TAUGHT ? pgm_solve_taught(run, q, mean, sd, x, error) : st;
}

/* Inference functions, from both starts for a while; the better one to the end. The layouts hold the factors to start from. */
static PgmStatus fit_functions(PgmRun *run, PgmSession *s, PgmSources *q, double *x, PgmSolution *out, PgmError *error)
{
  double best = -INFINITY;
  long entries = 0;
  bool networks = false;
  double *teacher = copy_layouts(s, q, &entries), *trial = malloc((size_t)(q->size + 1) * sizeof *trial);
  PgmStatus st = teacher && trial ? PGM_OK : no_memory(error);
  for (int i = 0; i < q->n; i++) networks = networks || (q->source[i].kind == PGM_FUNCTION && q->source[i].net.n_hidden);
  for (int k = 0; k < (networks ? STARTS : 1) && !st; k++) {
    PgmSolution solution;
    PgmError quiet; /* one start may fail */
    restore_layouts(s, q, teacher, entries);
    st = start_functions(run, q, (FunctionStart)k, teacher, teacher + entries, trial, error);
    if (!st) st = load_fixed(s, run->options->fix, q, trial, error);
    if (!st && !k) memcpy(x, trial, (size_t)q->size * sizeof *x);
    if (st || run->interrupted) break;
    if (pgm_solve(run, q, pinned(run->options, q), PGM_START_TRIED, true, trial, &solution, &quiet) == PGM_OK && solution.elbo > best) {
      best = solution.elbo;
      memcpy(x, trial, (size_t)q->size * sizeof *x);
    }
  }
  if (!st) st = pgm_solve(run, q, pinned(run->options, q), PGM_START_TRIED, false, x, out, error);
  free(trial);
  free(teacher);
  return st;
}

static PgmStatus solve_all(PgmRun *run, PgmSession *s, PgmSources *q, bool functions, double *x, PgmSolution *out, PgmError *error)
{
  const PgmFitOptions *o = run->options;
  bool factors = false, weights = false;
  start_layouts(s, o, q, 0);
  pgm_sources_read(q, x);
  if (o->init) adopt_factors(s, o->init, q, x, &factors, &weights);
  PgmStatus st = load_fixed(s, o->fix, q, x, error);
  if (st) return st;
  if (!functions && !factors) return solve_cold(run, s, q, false, x, out, error);
  if (!functions || (factors && weights)) return pgm_solve(run, q, pinned(o, q), factors ? PGM_START_WARM : PGM_START_COLD, false, x, out, error);
  if (!pgm_solve_stochastic(s, o)) {
    if (!factors) st = free_factors(run, s, error);
    if (!st && !factors && o->prepared) o->prepared(o->trace_data);
    return st ? st : fit_functions(run, s, q, x, out, error);
  }
  for (int i = 0; i < q->n && !st; i++)
    if (q->source[i].kind == PGM_FUNCTION && !weights)
      st = pgm_source_random(q, &q->source[i], (PgmKey){o->seed, (uint64_t)i, SEED_NETWORK}, x, error);
  return st ? st : pgm_solve(run, q, pinned(o, q), PGM_START_COLD, false, x, out, error);
}

/* The fit ended where nothing can be said: an error that names where. */
static PgmStatus not_finite(PgmSession *s, const PgmSolution *solution, PgmError *error)
{
  char text[800];
  if (pgm_find_nan(s, true, text, sizeof text) || pgm_find_nan(s, false, text, sizeof text))
    return pgm_fail(error, PGM_BAD_INPUT, "the ELBO is not finite where the fit ended (%s): %s", solution->criterion, text);
  return pgm_fail(error, PGM_BAD_INPUT, "the ELBO is not finite where the fit ended (%s)", solution->criterion);
}

PgmStatus pgm_fit_run(PgmSession *s, const PgmFitOptions *options, PgmFit **out, PgmError *error)
{
  const PgmFitOptions *o = options;
  PgmSourceSpec *specs = calloc((size_t)s->model->n_families + 1, sizeof *specs);
  PgmSources *q = NULL;
  PgmSolution solution = {0};
  PgmRun run;
  char *note = NULL;
  double *x = NULL;
  int n = 0;
  bool functions = false;
  *out = NULL;
  if (!specs) return no_memory(error);
  pgm_run_begin(&run, s, o);
  Checkpoint checkpoint = {s, o, &run};
  run.checkpoint = write_checkpoint;
  run.checkpoint_data = &checkpoint;
  PgmStatus st = check_options(s, o, error);
  if (!st) st = make_specs(s, o, specs, &n, &functions, &note, error);
  if (!st && o->init) st = adopt_functions(s, o->init, specs, n, error);
  if (st) {
    close_specs(specs, n);
  } else {
    st = pgm_sources_open(&q, s, n, specs, o->method == PGM_FVI && may_eliminate(s, o), error);
    free(specs);
  }
  for (int i = 0; !st && i < q->n; i++)
    if (q->source[i].pinned && q->source[i].local && o->batch > 0)
      st = pgm_fail(error, PGM_BAD_USAGE, "--batch: the factors of %s are inputs of other factors, so all of them are needed at once",
                    s->model->families[q->source[i].family].name);
  if (!st && !(x = calloc((size_t)q->size + 1, sizeof *x))) st = no_memory(error);
  if (!st) st = solve_all(&run, s, q, functions, x, &solution, error);
  if (!st) st = make_fit(out, s, q, x, o, error);
  if (!st) {
    PgmFit *fit = *out;
    const bool exact = !pgm_needs_draws(s->model) && !pgm_solve_stochastic(s, o) && o->expectation < PGM_EXP_FIXED_DRAWS && (q->eliminates || !run.interrupted);
    fit->elbo_se = 0;
    if (exact)
      fit->elbo = solution.elbo; /* another pass over the data would tell the same */
    else /* who interrupts does not want to wait */
      fit->elbo = elbo_at(s, q->eliminates, pgm_sources_forward(q, x, NULL), run.interrupted ? 2 : evaluation_draws(s), o->seed, &fit->elbo_se);
    fit->elbo_per_observation = fit->observations ? fit->elbo / (double)fit->observations : NAN;
    fit->gradient_norm = solution.gradient_norm;
    fit->iterations = run.iteration;
    fit->converged = solution.converged;
    memcpy(fit->criterion, solution.criterion, sizeof fit->criterion);
    memcpy(fit->stopped, solution.stopped, sizeof fit->stopped);
    if (q->eliminates && (o->khat || !isfinite(fit->elbo))) pgm_engine_restore(s);
    fit->khat = o->khat ? pgm_khat(s, 1000, o->seed, NULL, &fit->khat_effective) : NAN;
    fit->seconds = pgm_run_seconds(&run);
    fit->method_note = note;
    note = NULL;
    if (!isfinite(fit->elbo) && !run.interrupted) {
      st = not_finite(s, &solution, error);
      pgm_fit_free(fit);
      *out = NULL;
    }
  }
  pgm_sources_close(q);
  free(note);
  free(x);
  return st;
}
