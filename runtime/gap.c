/* Measuring the gaps: which fits are made, what stands for the full domain, how ELBOs are compared. See gap.h.
 *
 * COMPARISON. Every fit that counts is evaluated anew, on the same random numbers: BLOCKS blocks of draws that depend on seed, block, variable
 * and entry alone. The standard error of a difference is that of its blocks' differences; where nothing is sampled it is 0.
 *
 * F-VI. Its optimum is at least the ELBO of every A-VI or constant fit, whose factors it can copy. Where one is above it, F-VI sits in a
 * worse local optimum and is restarted from that fit's factors.
 *
 * CAPACITY. What the best function of the class loses against F-VI is bounded above by what the best one found loses: the best of all seeds'
 * runs, more starts, and the best of these trained on to a tighter tolerance. OPTIMISATION is the rest: what the user's run (the first seed)
 * is short of that best. */
#include "gap.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "gather.h"
#include "net.h"
#include "objective.h"

enum { BLOCKS = 50, BLOCK_DRAWS = 8, CAPACITY_STARTS = 2, EVIDENCE_DRAWS = 4000, UNIT_DRAWS = 400, SEED_COMPARE = 0x6A95u, SEED_CAPACITY = 1000 };

static const char *const names[PGM_GAP_METHODS] = {"const", "F-VI", "A-VI (full domain)", "A-VI"};

PgmGapOptions pgm_gap_defaults(void)
{
  return (PgmGapOptions){.fit = pgm_fit_defaults(), .seeds = 1, .evidence_draws = EVIDENCE_DRAWS};
}

static PgmStatus no_memory(PgmError *error) { return pgm_fail(error, PGM_SYSTEM, "out of memory"); }

static void append(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void append(char *text, size_t size, const char *format, ...)
{
  const size_t k = strlen(text);
  va_list args;
  va_start(args, format);
  vsnprintf(text + k, size - k, format, args);
  va_end(args);
}

static void free_method(PgmGapMethod *m)
{
  pgm_fit_free(m->fit);
  free(m->block);
  free(m->run);
  *m = (PgmGapMethod){.elbo = NAN, .se = NAN};
}

void pgm_gap_free(PgmGap *gap)
{
  if (!gap) return;
  for (int k = 0; k < PGM_GAP_METHODS; k++) free_method(&gap->method[k]);
  free(gap->window);
  free(gap->architecture);
  free(gap);
}

/* ---- evaluation on common random numbers --------------------------------------------------------------------------------------------------- */

/* A source of free factors per latent family, only to tell an objective what there is. */
static PgmStatus plain_sources(PgmSources **q, PgmSession *s, PgmError *error)
{
  PgmSourceSpec *specs = calloc((size_t)s->model->n_families + 1, sizeof *specs);
  int n = 0;
  if (!specs) return no_memory(error);
  for (int f = 0; f < s->model->n_families; f++)
    if (pgm_is_latent(&s->model->families[f])) specs[n++] = (PgmSourceSpec){.family = f, .kind = PGM_FREE};
  PgmStatus st = pgm_sources_open(q, s, n, specs, error);
  free(specs);
  return st;
}

/* ELBO at the layouts' factors, block by block. */
static PgmStatus evaluate_blocks(PgmSession *s, unsigned long seed, int blocks, double *out, PgmError *error)
{
  const PgmObjectiveOptions how = {.draws = BLOCK_DRAWS, .fresh = true, .seed = seed ^ SEED_COMPARE, .axis = -1};
  PgmSources *q = NULL;
  PgmObjective *objective = NULL;
  PgmStatus st = plain_sources(&q, s, error);
  if (!st) st = pgm_objective_open(&objective, s, q, &how, error);
  if (!st) {
    const double entropy = pgm_entropy(s);
    for (int b = 0; b < blocks; b++) out[b] = pgm_objective_expect(objective, b, NULL) + entropy;
    pgm_objective_close(objective);
  }
  pgm_sources_close(q);
  return st;
}

static PgmGapNumber mean_of(const double *a, const double *b, int n)
{
  PgmGapNumber x = {0, 0};
  double square = 0;
  for (int i = 0; i < n; i++) x.value += (a[i] - (b ? b[i] : 0)) / n;
  for (int i = 0; i < n; i++) square += pow(a[i] - (b ? b[i] : 0) - x.value, 2);
  if (n > 1) x.se = sqrt(square / (n - 1) / n);
  return x;
}

/* a - b of two methods that were measured. */
static PgmGapNumber difference(const PgmGap *gap, const PgmGapMethod *a, const PgmGapMethod *b)
{
  return a->block && b->block ? mean_of(a->block, b->block, gap->blocks) : (PgmGapNumber){NAN, NAN};
}

/* Evaluates m->fit on the session. `globals`: a fit whose globals and params replace the fit's own; NULL: none. */
static PgmStatus measure(PgmGap *gap, PgmSession *s, PgmGapMethod *m, const PgmFit *globals, unsigned long seed, PgmError *error)
{
  PgmStatus st = pgm_fit_apply(s, m->fit, error);
  for (int i = 0; !st && globals && i < globals->n_factors; i++) {
    const PgmFactors *p = &globals->factors[i];
    const PgmLayout *l = &s->layout[p->family];
    if (s->model->families[p->family].role == PGM_LOCAL || p->elements != l->elements) continue;
    for (long e = 0; e < p->elements * p->uwidth; e++) {
      l->mean[e] = p->mean[e];
      l->sd[e] = p->log_sd ? exp(p->log_sd[e]) : 0;
    }
  }
  free(m->block);
  m->block = st ? NULL : malloc((size_t)gap->blocks * sizeof *m->block);
  if (!st && !m->block) st = no_memory(error);
  if (!st) st = evaluate_blocks(s, seed, gap->blocks, m->block, error);
  if (st) return st;
  const PgmGapNumber x = mean_of(m->block, NULL, gap->blocks);
  m->elbo = x.value;
  m->se = x.se;
  return PGM_OK;
}

/* ---- fits -------------------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  PgmSession *s;
  const PgmGapOptions *options;
  PgmGap *gap;
  PgmError *error;
  int done, total;
} Work;

static PgmStatus fit_once(Work *w, const PgmFitOptions *o, const char *what, PgmFit **fit)
{
  if (w->done >= w->total) w->total = w->done + 1;
  if (w->options->stage) w->options->stage(w->options->stage_data, what, w->done, w->total);
  PgmStatus st = pgm_fit_run(w->s, o, fit, w->error);
  w->done++;
  if (st) return st;
  if (!strcmp((*fit)->stopped, "signal")) st = pgm_fail(w->error, PGM_INTERRUPTED, "gap: interrupted; nothing was kept");
  else if (!strcmp((*fit)->stopped, "nan") || !isfinite((*fit)->elbo)) st = pgm_fail(w->error, PGM_BAD_INPUT, "gap: %s: %s", what, (*fit)->criterion);
  if (!st) return PGM_OK;
  pgm_fit_free(*fit);
  *fit = NULL;
  return st;
}

static void note_unconverged(PgmGap *gap, const PgmFit *fit, const char *what)
{
  if (!fit->converged) append(gap->unconverged, sizeof gap->unconverged, "%s%s", gap->unconverged[0] ? "; " : "", what);
}

static PgmStatus keep_run(Work *w, PgmGapMethod *m, const PgmFit *fit)
{
  PgmGapRun *more = realloc(m->run, (size_t)(m->n_runs + 1) * sizeof *more);
  if (!more) return no_memory(w->error);
  m->run = more;
  PgmGapRun *r = &more[m->n_runs++];
  *r = (PgmGapRun){.seed = fit->seed, .seconds = fit->seconds, .elbo = fit->elbo, .iterations = fit->iterations, .converged = fit->converged};
  memcpy(r->criterion, fit->criterion, sizeof r->criterion);
  return PGM_OK;
}

/* Fits by all seeds. The one that stands: the best, or the first. *best gets the best of those too (a copy is not made: NULL where it stands). */
static PgmStatus fit_seeds(Work *w, PgmGapMethod *m, PgmFitOptions o, const char *what, bool stands_best, PgmFit **best)
{
  PgmStatus st = PGM_OK;
  if (best) *best = NULL;
  for (int k = 0; k < w->options->seeds && !st; k++) {
    PgmFit *fit = NULL;
    char text[256];
    o.seed = w->options->fit.seed + (unsigned long)k;
    snprintf(text, sizeof text, "%s, seed %lu", what, o.seed);
    st = fit_once(w, &o, text, &fit);
    if (!st) st = keep_run(w, m, fit);
    if (!st) note_unconverged(w->gap, fit, w->options->seeds > 1 ? text : what);
    if (!st && (!m->fit || (stands_best && fit->elbo > m->fit->elbo))) {
      PgmFit *old = m->fit;
      m->fit = fit;
      fit = old;
    }
    if (!st && fit && best && (!*best || fit->elbo > (*best)->elbo)) {
      PgmFit *old = *best;
      *best = fit;
      fit = old;
    }
    pgm_fit_free(fit);
  }
  return st;
}

/* ---- inputs ------------------------------------------------------------------------------------------------------------------------------------ */

/* Texts of --inputs and --window for one arrangement. */
typedef struct { int n_inputs, n_windows; char **text; const char *const *inputs, *const *windows; int n; } Arrangement;

static void free_arrangement(Arrangement *a)
{
  for (int i = 0; a->text && i < a->n; i++) free(a->text[i]);
  free(a->text);
  *a = (Arrangement){0};
}

static const PgmAmortize *amortize_of(const PgmModel *m, int family)
{
  for (int i = 0; i < m->n_amortize; i++)
    if (m->amortize[i].family == family) return &m->amortize[i];
  return NULL;
}

static bool closed(const PgmAmortize *a) { return a && (!strcmp(a->verdict, "closes") || !strcmp(a->verdict, "set") || !strcmp(a->verdict, "slice")); }

/* Is there a bounded domain, and a form of it that can be gathered? */
static bool has_domain(const PgmAmortize *a) { return closed(a) && (a->inputs || a->amortize); }

/* The references of an `amortize` statement, joined as `domain` is. */
static bool inputs_are_domain(const PgmAmortize *a)
{
  char text[1024] = "";
  for (int i = 0; a->inputs && a->inputs[i]; i++) append(text, sizeof text, "%s%s", i ? ", " : "", a->inputs[i]);
  return !strcmp(text, a->domain);
}

/* Room for one text per local family. */
static PgmStatus open_arrangement(Arrangement *a, const PgmModel *m, PgmError *error)
{
  *a = (Arrangement){.text = calloc((size_t)m->n_families + 1, sizeof *a->text)};
  return a->text ? PGM_OK : no_memory(error);
}

static PgmStatus add_text(Arrangement *a, const char *text, PgmError *error)
{
  a->text[a->n] = strdup(text);
  return a->text[a->n++] ? PGM_OK : no_memory(error);
}

/* Window w for the families that need one (or that --window names); the others keep the verdict's domain, in so far as an `amortize` statement
 * does not hide it: then it is spelt out. w < 0: no windows. */
static PgmStatus arrange(Arrangement *a, const PgmModel *m, const char *only, bool all, long w, PgmError *error)
{
  PgmStatus st = open_arrangement(a, m, error);
  char text[1200];
  for (int f = 0; f < m->n_families && !st && w >= 0; f++) {
    const PgmAmortize *d = amortize_of(m, f);
    if (m->families[f].role != PGM_LOCAL || (only ? strcmp(only, m->families[f].name) != 0 : !all && has_domain(d))) continue;
    snprintf(text, sizeof text, "%s=%ld", m->families[f].name, w);
    st = add_text(a, text, error);
    a->n_windows++;
  }
  for (int f = 0; f < m->n_families && !st; f++) {
    const PgmAmortize *d = amortize_of(m, f);
    const bool windowed = w >= 0 && (only ? !strcmp(only, m->families[f].name) : all || !has_domain(d));
    if (m->families[f].role != PGM_LOCAL || windowed || !d || !d->amortize || !has_domain(d) || inputs_are_domain(d)) continue;
    snprintf(text, sizeof text, "%s=%s", m->families[f].name, d->domain);
    st = add_text(a, text, error);
    a->n_inputs++;
  }
  a->windows = (const char *const *)a->text;
  a->inputs = (const char *const *)a->text + a->n_windows;
  return st;
}

static PgmFitOptions with(const PgmFitOptions *o, const Arrangement *a)
{
  PgmFitOptions x = *o;
  x.method = PGM_AVI;
  x.method_given = true;
  x.n_inputs = a->n_inputs;
  x.inputs = a->inputs;
  x.n_windows = a->n_windows;
  x.windows = a->windows;
  return x;
}

/* "z from x[n-1], x[n]; w from nothing" */
static void describe(const PgmModel *m, const PgmFit *fit, char *text, size_t size)
{
  text[0] = '\0';
  for (int i = 0; i < fit->n_factors; i++) {
    const PgmFactors *p = &fit->factors[i];
    if (m->families[p->family].role != PGM_LOCAL) continue;
    append(text, size, "%s%s", text[0] ? "; " : "", m->families[p->family].name);
    if (!p->function) append(text, size, " %s", p->kind == PGM_SHARED ? "constant" : "with free factors");
    else append(text, size, " from %s", p->function->n_inputs ? "" : "nothing");
    for (int k = 0; p->function && k < p->function->n_inputs; k++) append(text, size, "%s%s", k ? ", " : "", p->function->inputs[k]);
  }
}

static void describe_functions(const PgmFit *fit, char *text, size_t size)
{
  text[0] = '\0';
  for (int i = 0; i < fit->n_factors; i++) {
    char one[128];
    if (!fit->factors[i].function) continue;
    pgm_net_describe(fit->factors[i].function, one, sizeof one);
    append(text, size, "%s%s", text[0] ? "; " : "", one);
  }
}

static long weights_of(const PgmFit *fit)
{
  long n = 0;
  for (int i = 0; i < fit->n_factors; i++)
    if (fit->factors[i].function) n += fit->factors[i].function->n_weights;
  return n;
}

static bool amortises(const PgmFit *fit)
{
  for (int i = 0; i < fit->n_factors; i++)
    if (fit->factors[i].function) return true;
  return false;
}

/* ---- F-VI restarted ------------------------------------------------------------------------------------------------------------------------------- */

/* The free factors that `fit` gives each element of the session's data. */
static PgmStatus free_fit(PgmSession *s, const PgmFit *fit, PgmFit **out, PgmError *error)
{
  PgmStatus st = pgm_fit_apply(s, fit, error);
  if (st) return st;
  PgmFit *free_one = pgm_fit_copy(fit);
  if (!free_one) return no_memory(error);
  free_one->method = PGM_FVI;
  for (int i = 0; i < free_one->n_factors && !st; i++) {
    PgmFactors *p = &free_one->factors[i];
    const PgmLayout *l = &s->layout[p->family];
    const long n = l->elements * l->uwidth;
    if (p->kind == PGM_FREE) continue;
    free(p->mean);
    free(p->log_sd);
    p->mean = calloc((size_t)n + 1, sizeof *p->mean);
    p->log_sd = calloc((size_t)n + 1, sizeof *p->log_sd);
    if (!p->mean || !p->log_sd) st = no_memory(error);
    for (long e = 0; !st && e < n; e++) {
      p->mean[e] = l->mean[e];
      p->log_sd[e] = l->sd[e] > 0 ? log(l->sd[e]) : 0;
    }
    p->kind = PGM_FREE;
    p->elements = l->elements;
    pgm_function_free(p->function);
    p->function = NULL;
  }
  if (st) pgm_fit_free(free_one);
  else *out = free_one;
  return st;
}

/* Where `other` is above F-VI: F-VI again, from the factors of `other`. */
static PgmStatus restart_from(Work *w, const PgmGapMethod *other, const char *what)
{
  PgmGap *gap = w->gap;
  PgmGapMethod *fvi = &gap->method[PGM_GAP_FVI];
  const PgmGapNumber above = difference(gap, other, fvi);
  PgmFitOptions o = w->options->fit;
  PgmFit *start = NULL, *fit = NULL;
  if (!(above.value > fmax(1e-6 * fabs(fvi->elbo) * 1e-3 + 1e-6, 2 * above.se))) return PGM_OK;
  PgmStatus st = free_fit(w->s, other->fit, &start, w->error);
  if (!st) {
    o.method = PGM_FVI;
    o.n_inputs = o.n_windows = 0;
    o.init = start;
    if (o.optimizer == PGM_OPT_PROFILE) o.optimizer = PGM_OPT_DEFAULT;
    st = fit_once(w, &o, "F-VI, restarted", &fit);
  }
  pgm_fit_free(start);
  if (st) return st;
  const double before = fvi->elbo;
  PgmGapMethod again = {.fit = fit};
  st = measure(gap, w->s, &again, NULL, w->options->fit.seed, w->error);
  if (!st) st = keep_run(w, fvi, fit);
  if (!st && again.elbo > before) {
    pgm_fit_free(fvi->fit);
    free(fvi->block);
    fvi->fit = again.fit;
    fvi->block = again.block;
    fvi->elbo = again.elbo;
    fvi->se = again.se;
    again.fit = NULL;
    again.block = NULL;
    note_unconverged(gap, fit, "F-VI, restarted");
    snprintf(gap->restarted, sizeof gap->restarted, "F-VI sat in a worse local optimum; restarted from %s it gained %.4g nats", what, fvi->elbo - before);
  }
  pgm_fit_free(again.fit);
  free(again.block);
  return st;
}

/* ---- capacity --------------------------------------------------------------------------------------------------------------------------------------- */

/* The best of the function class that a good deal more work finds: `m` is the user's run, `other` the best of the other seeds' or NULL. */
static PgmStatus train_on(Work *w, const PgmGapMethod *m, const PgmFit *other, const PgmFitOptions *full, PgmGapMethod *best)
{
  PgmGap *gap = w->gap;
  PgmFitOptions o = *full;
  PgmFit *top = pgm_fit_copy(other && other->elbo > m->fit->elbo ? other : m->fit), *fit = NULL;
  PgmStatus st = top ? PGM_OK : no_memory(w->error);
  o.trace = NULL;
  o.init_radius = 0;
  o.init = NULL;
  for (int k = 0; k < CAPACITY_STARTS && !st; k++) {
    o.seed = full->seed + SEED_CAPACITY + (unsigned long)k;
    st = fit_once(w, &o, "A-VI, more starts", &fit);
    if (!st && fit->elbo > top->elbo) {
      pgm_fit_free(top);
      top = fit;
    } else {
      pgm_fit_free(fit);
    }
    fit = NULL;
  }
  if (!st) {
    o.init = top;
    o.tol = (full->tol > 0 ? full->tol : 1e-6) * 1e-2;
    o.max_iter = 0;
    st = fit_once(w, &o, "A-VI, trained on", &fit);
    if (!st && fit->elbo > top->elbo) {
      pgm_fit_free(top);
      top = fit;
    } else {
      pgm_fit_free(fit);
    }
  }
  best->fit = top;
  if (st) return st;
  st = measure(gap, w->s, best, NULL, w->options->fit.seed, w->error);
  if (!st && best->elbo < m->elbo) {   /* fresh numbers may reverse what was near */
    memcpy(best->block, m->block, (size_t)gap->blocks * sizeof *best->block);
    best->elbo = m->elbo;
    best->se = m->se;
  }
  return st;
}

/* ---- the verdict ----------------------------------------------------------------------------------------------------------------------------------------- */

/* Nats that count as nothing: three standard errors, a thousandth of a nat per local element or a hundredth of what constant factors lose. */
static double nothing(const PgmGap *gap, PgmGapNumber x)
{
  const double per_element = 1e-3 * (double)gap->locals, of_const = isfinite(gap->gaps.constant.value) ? 0.01 * gap->gaps.constant.value : per_element;
  return 3 * x.se + fmax(1e-3, fmin(per_element, fmax(of_const, 0)));
}

static void judge(PgmGap *gap)
{
  const char *verdict = gap->model->verdict;
  const PgmGaps *g = &gap->gaps;
  const PgmGapNumber a = g->amortisation, c = isfinite(g->capacity.value) ? g->capacity : a;
  gap->agrees = -1;
  if (!gap->locals) {
    snprintf(gap->message, sizeof gap->message, "the model has no local latent variables: there is nothing to amortise");
  } else if (!isfinite(a.value)) {
    snprintf(gap->message, sizeof gap->message, "the amortisation gap was not measured: no local latent variable has inputs (--window or --inputs name some)");
  } else if (gap->unconverged[0]) {
    snprintf(gap->message, sizeof gap->message, "the verdict '%s' is neither confirmed nor refuted: not converged: %.500s", verdict, gap->unconverged);
  } else if (!strcmp(verdict, "closes")) {
    gap->agrees = c.value <= nothing(gap, c);
    if (gap->agrees) snprintf(gap->message, sizeof gap->message, "as the verdict says, amortised inference closes the gap: %.3g of %.4g nats that constant factors lose remain", fabs(a.value) < 1e-6 ? 0 : a.value, g->constant.value);
    else snprintf(gap->message, sizeof gap->message, "the verdict says that the gap can close; this function class leaves %.4g nats (wider --hidden or higher --degree may close it)", c.value);
  } else if (!strcmp(verdict, "open")) {
    const PgmGapNumber first = gap->n_windows ? gap->window[0].amortisation : a;
    gap->agrees = first.value > 3 * first.se + 1e-3;
    if (!gap->agrees) snprintf(gap->message, sizeof gap->message, "the verdict says that the gap stays open, yet on these data it is %.2g nats: nothing to be seen", first.value);
    else if (a.value > nothing(gap, a)) snprintf(gap->message, sizeof gap->message, "as the verdict says, the gap stays open: %.4g nats with %s", a.value, gap->full);
    else snprintf(gap->message, sizeof gap->message, "as the verdict says, no window closes the gap exactly; window %ld leaves %.2g nats of the %.4g of the narrowest", gap->stands_in, a.value, first.value);
  } else {
    snprintf(gap->message, sizeof gap->message, "the verdict is '%s', which promises nothing for the model as a whole; measured: %.4g nats with %s", verdict, a.value, gap->full);
  }
  const PgmFit *functions = gap->method[PGM_GAP_FULL].fit;
  if (functions && !gap->unconverged[0] && weights_of(functions) > gap->locals)
    append(gap->message, sizeof gap->message, "; the function has %ld weights for %ld local variables and may have memorised these data (--test FILE tells)",
           weights_of(functions), gap->locals);
  if (gap->same_inputs || !isfinite(g->conditioning.value) || gap->unconverged[0]) return;
  if (g->conditioning.value > nothing(gap, g->conditioning))
    append(gap->message, sizeof gap->message, "; the inputs chosen (%s) lose %.4g nats more: a conditioning gap", gap->chosen, g->conditioning.value);
  else
    append(gap->message, sizeof gap->message, "; the inputs chosen (%s) lose nothing that can be seen", gap->chosen);
}

/* ---- all together ---------------------------------------------------------------------------------------------------------------------------------------- */

static PgmGap *new_gap(const PgmSession *s)
{
  PgmGap *gap = calloc(1, sizeof *gap);
  if (!gap) return NULL;
  gap->model = s->model;
  gap->blocks = pgm_needs_draws(s->model) ? BLOCKS : 1;
  gap->stands_in = -1;
  gap->best = NAN;
  gap->agrees = -1;
  const PgmGapNumber none = {NAN, NAN};
  gap->gaps = (PgmGaps){none, none, none, none, none, none};
  gap->evidence = (PgmEvidence){.kind = PGM_EVIDENCE_NONE, .value = NAN, .se = NAN, .khat = NAN};
  for (int k = 0; k < PGM_GAP_METHODS; k++) gap->method[k].elbo = gap->method[k].se = NAN;
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    if (s->model->families[f].role == PGM_LOCAL) gap->locals += l->list ? l->defined : l->elements;
  }
  return gap;
}

static PgmStatus measure_kept(Work *w, PgmGapMethod *m)
{
  return measure(w->gap, w->s, m, NULL, w->options->fit.seed, w->error);
}

/* The architectures of the list but the last; each by the first seed. */
static PgmStatus fit_architectures(Work *w, const PgmFitOptions *full)
{
  PgmGap *gap = w->gap;
  const int n = w->options->n_architectures;
  PgmStatus st = PGM_OK;
  if (n < 2) return PGM_OK;
  gap->architecture = calloc((size_t)n, sizeof *gap->architecture);
  if (!gap->architecture) return no_memory(w->error);
  for (int k = 0; k < n && !st; k++) {
    const PgmArchitecture *a = &w->options->architecture[k];
    PgmGapArchitecture *to = &gap->architecture[gap->n_architectures];
    PgmGapMethod m = {.elbo = NAN};
    PgmFitOptions o = *full;
    char text[96];
    o.degree = a->degree;
    o.n_hidden = a->n_hidden;
    memcpy(o.hidden, a->hidden, sizeof o.hidden);
    snprintf(text, sizeof text, "A-VI, architecture %d of %d", k + 1, n);
    st = k + 1 < n ? fit_once(w, &o, text, &m.fit) : PGM_OK;
    if (k + 1 == n) m.fit = gap->method[PGM_GAP_FULL].fit;
    if (!st) st = measure_kept(w, &m);
    if (!st) st = restart_from(w, &m, "A-VI");
    if (!st) {
      if (k + 1 < n) note_unconverged(gap, m.fit, text);
      describe_functions(m.fit, to->text, sizeof to->text);
      to->elbo = m.elbo;
      to->converged = m.fit->converged;
      to->parameters = m.fit->variational_parameters;
      gap->n_architectures++;
    }
    if (k + 1 < n) pgm_fit_free(m.fit);
    free(m.block);
  }
  return st;
}

/* A-VI by windows; keeps the ELBOs. *widest gets the fit of the last one if asked for. */
static PgmStatus fit_windows(Work *w, const PgmFitOptions *base, bool all, double **blocks)
{
  const PgmGapOptions *o = w->options;
  PgmGap *gap = w->gap;
  const long n = o->window_hi - o->window_lo + 1;
  PgmStatus st = PGM_OK;
  gap->window = calloc((size_t)n, sizeof *gap->window);
  *blocks = calloc((size_t)(n * gap->blocks) + 1, sizeof **blocks);
  if (!gap->window || !*blocks) return no_memory(w->error);
  for (long k = 0; k < n && !st; k++) {
    Arrangement a;
    PgmGapMethod m = {.elbo = NAN};
    char text[96];
    snprintf(text, sizeof text, "A-VI, window %ld", o->window_lo + k);
    st = arrange(&a, w->s->model, o->window_family, all, o->window_lo + k, w->error);
    if (!st) {
      const bool stands = gap->stands_in == o->window_lo + k;
      PgmFitOptions fit = with(base, &a);
      if (stands) m.fit = gap->method[PGM_GAP_FULL].fit;        /* fitted before */
      else st = fit_once(w, &fit, text, &m.fit);
      if (!st) st = measure_kept(w, &m);
      if (!st) st = restart_from(w, &m, text);
      if (!st) {
        if (!stands) note_unconverged(gap, m.fit, text);
        gap->window[gap->n_windows++] = (PgmGapWindow){.w = o->window_lo + k, .elbo = m.elbo, .converged = m.fit->converged};
        memcpy(*blocks + k * gap->blocks, m.block, (size_t)gap->blocks * sizeof **blocks);
      }
      if (!stands) pgm_fit_free(m.fit);
      free(m.block);
    }
    free_arrangement(&a);
  }
  return st;
}

static PgmStatus fit_amortised(Work *w, const PgmFitOptions *base, PgmGapMethod *best, double **window_blocks)
{
  const PgmGapOptions *options = w->options;
  const PgmModel *m = w->s->model;
  PgmGap *gap = w->gap;
  PgmGapMethod *full = &gap->method[PGM_GAP_FULL], *chosen = &gap->method[PGM_GAP_CHOSEN];
  Arrangement a = {0};
  PgmFit *other = NULL;
  bool open = false;
  for (int f = 0; f < m->n_families; f++) open = open || (m->families[f].role == PGM_LOCAL && !has_domain(amortize_of(m, f)));
  const bool picked = options->fit.n_inputs || options->fit.n_windows;
  gap->stands_in = open && options->windows ? options->window_hi : -1;
  PgmStatus st = arrange(&a, m, gap->stands_in >= 0 ? options->window_family : NULL, false, gap->stands_in, w->error);
  PgmFitOptions full_options = with(base, &a), chosen_options = *base;
  bool amortised = !st;
  if (!st) st = fit_seeds(w, full, full_options, gap->stands_in >= 0 ? "A-VI, widest window" : "A-VI, full domain", false, &other);
  if (!st) describe(m, full->fit, gap->full, sizeof gap->full);
  if (!st && !amortises(full->fit)) {  /* free factors throughout: that was F-VI under another name */
    free_method(full);
    pgm_fit_free(other);
    other = NULL;
    amortised = false;
  }
  if (!st && amortised) st = measure_kept(w, full);
  if (!st && amortised) st = restart_from(w, full, "A-VI");
  chosen_options.method = PGM_AVI;
  chosen_options.method_given = true;
  bool amortize = false;
  for (int i = 0; i < m->n_amortize; i++) amortize = amortize || (m->amortize[i].amortize && !inputs_are_domain(&m->amortize[i]));
  gap->same_inputs = !picked && !amortize && amortised;
  if (!st && !gap->same_inputs && (picked || amortize)) {
    st = fit_seeds(w, chosen, chosen_options, "A-VI, inputs chosen", false, NULL);
    if (!st) st = measure_kept(w, chosen);
    if (!st) st = restart_from(w, chosen, "A-VI with the inputs chosen");
    if (!st) describe(m, chosen->fit, gap->chosen, sizeof gap->chosen);
    if (!st && amortised && !strcmp(gap->full, gap->chosen)) gap->same_inputs = true;
  }
  if (!st && amortised) st = train_on(w, full, other, &full_options, best);
  if (!st && amortised) st = restart_from(w, best, "A-VI trained on");
  if (!st && options->windows) st = fit_windows(w, base, !open, window_blocks);
  if (!st && amortised) st = fit_architectures(w, &full_options);
  pgm_fit_free(other);
  free_arrangement(&a);
  return st;
}

static PgmGapNumber from_evidence(const PgmEvidence *e, const PgmGapMethod *fvi)
{
  if (e->kind == PGM_EVIDENCE_NONE) return (PgmGapNumber){NAN, NAN};
  return (PgmGapNumber){e->value - fvi->elbo, hypot(e->se, fvi->se)};
}

/* Differences, when all ELBOs are there. */
static void subtract(PgmGap *gap, const PgmGapMethod *best, const double *window_blocks, Work *w)
{
  PgmGapMethod *m = gap->method;
  PgmGaps *g = &gap->gaps;
  g->approximation = from_evidence(&gap->evidence, &m[PGM_GAP_FVI]);
  g->constant = difference(gap, &m[PGM_GAP_FVI], &m[PGM_GAP_CONST]);
  g->amortisation = difference(gap, &m[PGM_GAP_FVI], &m[PGM_GAP_FULL]);
  if (best->block) {
    gap->best = best->elbo;
    g->capacity = difference(gap, &m[PGM_GAP_FVI], best);
    g->optimisation = difference(gap, best, &m[PGM_GAP_FULL]);
  }
  g->conditioning = difference(gap, &m[PGM_GAP_FULL], &m[PGM_GAP_CHOSEN]);
  for (int k = 0; k < gap->n_windows; k++) gap->window[k].amortisation = mean_of(m[PGM_GAP_FVI].block, window_blocks + k * gap->blocks, gap->blocks);
  for (int k = 0; k < gap->n_architectures; k++) {
    PgmGapArchitecture *a = &gap->architecture[k];
    a->amortisation = (PgmGapNumber){m[PGM_GAP_FVI].elbo - a->elbo, w->gap->blocks > 1 ? m[PGM_GAP_FVI].se : 0};
  }
}

/* The inputs chosen are the full domain: one fit serves both. */
static PgmStatus share_chosen(PgmGap *gap, PgmError *error)
{
  PgmGapMethod *from = &gap->method[PGM_GAP_FULL], *to = &gap->method[PGM_GAP_CHOSEN];
  free_method(to);
  to->fit = pgm_fit_copy(from->fit);
  to->block = malloc((size_t)gap->blocks * sizeof *to->block);
  to->run = malloc((size_t)(from->n_runs + 1) * sizeof *to->run);
  if (!to->fit || !to->block || !to->run) return no_memory(error);
  memcpy(to->block, from->block, (size_t)gap->blocks * sizeof *to->block);
  memcpy(to->run, from->run, (size_t)from->n_runs * sizeof *to->run);
  to->n_runs = from->n_runs;
  to->elbo = from->elbo;
  to->se = from->se;
  snprintf(gap->chosen, sizeof gap->chosen, "%s", gap->full);
  return PGM_OK;
}

PgmStatus pgm_gap_run(PgmSession *s, const PgmGapOptions *options, PgmGap **out, PgmError *error)
{
  PgmGap *gap = *out = new_gap(s);
  Work w = {.s = s, .options = options, .gap = gap, .error = error};
  PgmFitOptions base = options->fit;
  PgmGapMethod best = {.elbo = NAN};
  double *window_blocks = NULL;
  if (!gap) return no_memory(error);
  base.khat = false;
  w.total = options->seeds * (gap->locals ? 3 : 1) + (gap->locals ? CAPACITY_STARTS + 1 : 0) +
            (options->windows ? (int)(options->window_hi - options->window_lo) : 0) + (options->fit.n_inputs || options->fit.n_windows ? options->seeds : 0);
  if (options->n_architectures) {
    const PgmArchitecture *last = &options->architecture[options->n_architectures - 1];
    base.degree = last->degree;
    base.n_hidden = last->n_hidden;
    memcpy(base.hidden, last->hidden, sizeof base.hidden);
    w.total += options->n_architectures - 1;
  }
  PgmFitOptions plain = base;
  plain.n_inputs = plain.n_windows = 0;
  plain.method = PGM_FVI;
  plain.method_given = true;
  PgmStatus st = fit_seeds(&w, &gap->method[PGM_GAP_FVI], plain, names[PGM_GAP_FVI], true, NULL);
  if (!st) st = measure_kept(&w, &gap->method[PGM_GAP_FVI]);
  if (!st) gap->observations = gap->method[PGM_GAP_FVI].fit->observations;
  if (!st && gap->locals) {
    plain.method = PGM_CONST;
    if (plain.optimizer == PGM_OPT_PROFILE) plain.optimizer = base.optimizer = PGM_OPT_DEFAULT;
    st = fit_seeds(&w, &gap->method[PGM_GAP_CONST], plain, names[PGM_GAP_CONST], false, NULL);
    if (!st) st = measure_kept(&w, &gap->method[PGM_GAP_CONST]);
    if (!st) st = restart_from(&w, &gap->method[PGM_GAP_CONST], "constant factors");
    if (!st) st = fit_amortised(&w, &base, &best, &window_blocks);
    if (!st && gap->same_inputs) st = share_chosen(gap, error);
  }
  if (!st) st = pgm_fit_apply(s, gap->method[PGM_GAP_FVI].fit, error);
  if (!st) {
    if (options->stage) options->stage(options->stage_data, "evidence", w.total, w.total);
    st = pgm_evidence(s, options->evidence_draws, options->fit.seed, &gap->evidence, error);
  }
  if (!st) {
    subtract(gap, &best, window_blocks, &w);
    judge(gap);
  }
  free_method(&best);
  free(window_blocks);
  if (!st) return PGM_OK;
  pgm_gap_free(gap);
  *out = NULL;
  return st;
}

PgmStatus pgm_gap_test(PgmSession *s, const PgmGap *train, const PgmGapOptions *options, PgmGap **out, PgmError *error)
{
  PgmGap *gap = *out = new_gap(s);
  Work w = {.s = s, .options = options, .gap = gap, .error = error, .total = 1};
  const PgmFit *globals = train->method[PGM_GAP_FVI].fit;
  PgmFitOptions plain = options->fit;
  PgmGapMethod none = {.elbo = NAN};
  if (!gap) return no_memory(error);
  plain.method = PGM_FVI;
  plain.method_given = true;
  plain.n_inputs = plain.n_windows = 0;
  plain.init = NULL;
  plain.khat = false;
  plain.fix = globals;
  PgmStatus st = PGM_OK;
  if (!gap->locals) st = pgm_fail(error, PGM_BAD_USAGE, "--test: the model has no local latent variables, whose inference functions could be tested");
  if (!st) st = fit_seeds(&w, &gap->method[PGM_GAP_FVI], plain, "F-VI on the test data", true, NULL);
  if (!st) st = measure_kept(&w, &gap->method[PGM_GAP_FVI]);
  if (!st) gap->observations = gap->method[PGM_GAP_FVI].fit->observations;
  for (int k = 0; k < PGM_GAP_METHODS && !st; k++) {
    if (k == PGM_GAP_FVI || !train->method[k].fit) continue;
    gap->method[k].fit = pgm_fit_copy(train->method[k].fit);
    if (!gap->method[k].fit) st = no_memory(error);
    if (!st) st = measure(gap, s, &gap->method[k], globals, options->fit.seed, error);
  }
  if (!st) {
    gap->same_inputs = train->same_inputs;
    gap->stands_in = train->stands_in;
    memcpy(gap->full, train->full, sizeof gap->full);
    memcpy(gap->chosen, train->chosen, sizeof gap->chosen);
    subtract(gap, &none, NULL, &w);
    return PGM_OK;
  }
  pgm_gap_free(gap);
  *out = NULL;
  return st;
}

/* ---- unit by unit --------------------------------------------------------------------------------------------------------------------------------------- */

/* The outermost plate with most units among those with observed terms; -1: none. */
static int unit_plate(const PgmSession *s)
{
  int found = -1;
  long most = 1;
  for (int p = 0; p < s->model->n_plates; p++) {
    const long n = s->shape.plate_hi[p] - s->shape.plate_lo[p] + 1;
    if (s->model->plates[p].variable && n > most) found = p, most = n;
  }
  return found;
}

/* E log |d value / d u| of one coordinate; NaN: the transform couples coordinates. */
static double jacobian_of(const PgmSession *s, int f, long element, double mean, double sd)
{
  const PgmFamily *family = &s->model->families[f];
  const PgmLayout *l = &s->layout[f];
  const PgmEnvBase *rt = s->env;
  double sum = 0;
  switch (family->transform) {
  case PGM_IDENTITY: return 0;
  case PGM_LOWER:
  case PGM_UPPER: return mean;
  case PGM_INTERVAL: {
    const long at = family->uniform_bounds ? 0 : element;
    for (int q = 0; q < rt->quad_n; q++) {
      const double u = mean + sd * rt->quad_x[q];
      sum += rt->quad_w[q] * (-fabs(u) - 2 * log1p(exp(-fabs(u))));
    }
    return sum + log(l->upper[at] - l->lower[at]);
  }
  default: return NAN;
  }
}

/* Entropy and Jacobians of the local families whose first index is the plate's axis. */
static PgmStatus add_latents(PgmSession *s, int axis, long lo, long n, double *out, PgmError *error)
{
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmFamily *family = &s->model->families[f];
    const PgmLayout *l = &s->layout[f];
    if (family->role != PGM_LOCAL || !family->n_index || family->axis[0] != axis) continue;
    const long rows = l->list ? l->defined : l->elements;
    for (long r = 0; r < rows; r++) {
      const long e = l->list ? l->list[r] : r, unit = l->lo[0] + e / l->stride[0] - lo;
      if (unit < 0 || unit >= n) continue;
      for (long k = e * l->uwidth; k < (e + 1) * l->uwidth; k++) {
        const double jacobian = jacobian_of(s, f, e, l->mean[k], l->sd[k]);
        if (isnan(jacobian))
          return pgm_fail(error, PGM_BAD_USAGE, "--per-observation: the elements of '%s' are not scalars with bounds; their Jacobians have no share per entry", family->name);
        out[unit] += log(l->sd[k]) + 0.5 * (1 + log(2 * M_PI)) + jacobian;
      }
    }
  }
  return PGM_OK;
}

/* Values of term t at each of its elements, in expectation under the layouts' factors: closed form, quadrature, or averaged over draws. */
static void add_term(PgmSession *s, int t, bool expected, double weight, long lo, long n, double *values, double *out)
{
  const PgmBox *box = &s->shape.term[t];
  const long units = box->hi[0] - box->lo[0] + 1, size = pgm_term_size(s, t), inner = units > 0 ? size / units : 0;
  if (units <= 0 || !inner) return;
  pgm_term_each(s, t, expected, values);
  for (long i = 0; i < size; i++) {
    const long unit = box->lo[0] + i / inner - lo;
    if (unit >= 0 && unit < n) out[unit] += weight * values[i];
  }
}

static PgmStatus unit_elbos(PgmSession *s, int plate, unsigned long seed, double *out, PgmError *error)
{
  const PgmModel *m = s->model;
  const int axis = m->plates[plate].axis;
  const long lo = s->shape.plate_lo[plate], n = s->shape.plate_hi[plate] - lo + 1;
  long largest = 1;
  bool sampled = false;
  for (int t = 0; t < m->n_terms; t++) {
    if (pgm_term_size(s, t) > largest) largest = pgm_term_size(s, t);
    sampled = sampled || m->terms[t].method == PGM_SAMPLED;
  }
  double *values = malloc((size_t)largest * sizeof *values);
  PgmStatus st = values ? add_latents(s, axis, lo, n, out, error) : no_memory(error);
  const PgmObjectiveOptions how = {.draws = 1, .fresh = true, .all_points = true, .seed = seed ^ SEED_COMPARE, .axis = -1};
  PgmSources *q = NULL;
  PgmObjective *objective = NULL;
  if (!st && sampled) st = plain_sources(&q, s, error);
  if (!st && sampled) st = pgm_objective_open(&objective, s, q, &how, error);
  for (int p = 0; p < m->n_plates && !st; p++) {
    if (!m->plates[p].variable || m->plates[p].axis != axis) continue;
    for (int t = m->plates[p].first_term; t < m->plates[p].first_term + m->plates[p].n_terms; t++)
      if (m->terms[t].method != PGM_SAMPLED) add_term(s, t, true, 1, lo, n, values, out);
  }
  for (int d = 0; sampled && !st && d < UNIT_DRAWS; d++) {
    pgm_objective_ratio(objective, d);
    for (int p = 0; p < m->n_plates; p++) {
      if (!m->plates[p].variable || m->plates[p].axis != axis) continue;
      for (int t = m->plates[p].first_term; t < m->plates[p].first_term + m->plates[p].n_terms; t++)
        if (m->terms[t].method == PGM_SAMPLED) add_term(s, t, false, 1. / UNIT_DRAWS, lo, n, values, out);
    }
  }
  if (objective) pgm_objective_close(objective);
  pgm_sources_close(q);
  free(values);
  return st;
}

PgmStatus pgm_gap_units(PgmSession *s, const PgmGap *gap, unsigned long seed, PgmGapUnits *out, PgmError *error)
{
  const int plate = unit_plate(s);
  PgmStatus st = PGM_OK;
  *out = (PgmGapUnits){0};
  if (plate < 0) return pgm_fail(error, PGM_BAD_USAGE, "--per-observation: the model has no plate of several units");
  out->variable = s->model->plates[plate].variable;
  out->lo = s->shape.plate_lo[plate];
  out->n = s->shape.plate_hi[plate] - out->lo + 1;
  for (int k = 0; k < PGM_GAP_METHODS && !st; k++) {
    if (!gap->method[k].fit) continue;
    out->elbo[k] = calloc((size_t)out->n, sizeof(double));
    st = out->elbo[k] ? pgm_fit_apply(s, gap->method[k].fit, error) : no_memory(error);
    if (!st) st = unit_elbos(s, plate, seed, out->elbo[k], error);
  }
  if (st) pgm_gap_units_free(out);
  return st;
}

void pgm_gap_units_free(PgmGapUnits *units)
{
  for (int k = 0; k < PGM_GAP_METHODS; k++) free(units->elbo[k]);
  *units = (PgmGapUnits){0};
}
