/* Measuring the gaps: which fits are made, what stands for the full domain, how ELBOs are compared. See gap.h.
 *
 * COMPARISON. Every fit that counts is evaluated anew, on the same random numbers: BLOCKS blocks of draws that depend on seed, block,
 * variable and entry alone. The standard error of a difference is that of its blocks' differences; where nothing is sampled it is 0.
 *
 * F-VI. Its optimum is at least the ELBO of every A-VI or constant fit, whose factors it can copy. Where one is above it, F-VI sits in a
 * worse local optimum and is restarted from that fit's factors.
 *
 * CAPACITY. What the best function of the class loses against F-VI is bounded above by what the best one found loses: the best of all
 * seeds' runs, more starts, and the best of these trained on to a tighter tolerance. OPTIMISATION is the rest: what the user's run (the
 * first seed) is short of that best. */
#include "gap_work.h"

#include <float.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "gather.h"
#include "net.h"
#include "objective.h"
#include "solve.h"

enum { BLOCKS = 50, BLOCK_DRAWS = 8, CAPACITY_STARTS = 2, EVIDENCE_DRAWS = 4000, SEED_CAPACITY = 1000, MOST_NAMED = 6 };

static const char *const names[PGM_GAP_METHODS] = {"const", "F-VI", "A-VI (full domain)", "A-VI"};

PgmGapOptions pgm_gap_defaults(void)
{
  return (PgmGapOptions){.fit = pgm_fit_defaults(), .seeds = 1, .evidence_draws = EVIDENCE_DRAWS};
}

static PgmStatus no_memory(PgmError *error)
{
  return pgm_fail(error, PGM_SYSTEM, "out of memory");
}

void pgm_gap_append(char *text, size_t size, const char *format, ...)
{
  const size_t k = strlen(text);
  va_list args;
  va_start(args, format);
  vsnprintf(text + k, size - k, format, args);
  va_end(args);
}

static const PgmGapMethod unmeasured = {.elbo = NAN, .se = NAN, .lost = NAN};

static void free_method(PgmGapMethod *m)
{
  for (int i = 0; i < m->n_runs; i++) pgm_gap_free_path(&m->run[i].path);
  pgm_fit_free(m->fit);
  pgm_fit_free(m->for_test);
  free(m->block);
  free(m->run);
  *m = unmeasured;
}

/* The fit of m, as measured, becomes that of `from`, which is left without; m keeps its runs. */
static void take_fit(PgmGapMethod *m, PgmGapMethod *from)
{
  pgm_fit_free(m->fit);
  free(m->block);
  m->fit = from->fit;
  m->block = from->block;
  m->elbo = from->elbo;
  m->se = from->se;
  *from = unmeasured;
}

void pgm_gap_free(PgmGap *gap)
{
  if (!gap) return;
  for (int k = 0; k < PGM_GAP_METHODS; k++) free_method(&gap->method[k]);
  for (int l = 0; l < PGM_GAP_LISTS; l++) {
    for (int i = 0; i < gap->list[l].n; i++) free_method(&gap->list[l].at[i].own);
    free(gap->list[l].at);
  }
  free(gap);
}

const PgmGapMethod *pgm_gap_variant(const PgmGap *gap, const PgmGapVariant *v)
{
  return v->same < PGM_GAP_METHODS ? &gap->method[v->same] : &v->own;
}

/* ---- evaluation on common random numbers --------------------------------------------------------------------------------------------- */

PgmStatus pgm_gap_sources(PgmSources **q, PgmSession *s, PgmError *error)
{
  PgmSourceSpec *specs = calloc((size_t)s->model->n_families + 1, sizeof *specs);
  int n = 0;
  if (!specs) return no_memory(error);
  for (int f = 0; f < s->model->n_families; f++)
    if (pgm_is_latent(&s->model->families[f])) specs[n++] = (PgmSourceSpec){.family = f, .kind = PGM_FREE};
  PgmStatus st = pgm_sources_open(q, s, n, specs, false, error);
  free(specs);
  return st;
}

/* ELBO at the layouts' factors, block by block. */
static PgmStatus evaluate_blocks(PgmSession *s, unsigned long seed, int blocks, double *out, PgmError *error)
{
  const PgmObjectiveOptions how = {.draws = BLOCK_DRAWS, .fresh = true, .seed = seed ^ PGM_GAP_SEED, .axis = -1};
  PgmSources *q = NULL;
  PgmObjective *objective = NULL;
  PgmStatus st = pgm_gap_sources(&q, s, error);
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

/* Evaluates m->fit on the session. */
static PgmStatus measure(PgmGap *gap, PgmSession *s, PgmGapMethod *m, unsigned long seed, PgmError *error)
{
  PgmStatus st = pgm_fit_apply(s, m->fit, error);
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

/* ---- fits ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  PgmSession *s;
  const PgmGapOptions *options;
  PgmGap *gap;
  PgmError *error;
  PgmFitOptions fvi; /* how F-VI is fitted */
  long window_hi;    /* the widest window of the table: no wider than the data */
  int done, total;
} Work;

static PgmStatus measure_kept(Work *w, PgmGapMethod *m)
{
  return measure(w->gap, w->s, m, w->options->fit.seed, w->error);
}

static PgmStatus fit_once(Work *w, const PgmFitOptions *o, const char *what, PgmFit **fit)
{
  if (w->done >= w->total) w->total = w->done + 1;
  if (w->options->stage) w->options->stage(w->options->stage_data, what, w->done, w->total);
  PgmStatus st = pgm_fit_run(w->s, o, fit, w->error);
  w->done++;
  if (st) return st;
  if (!strcmp((*fit)->stopped, "signal"))
    st = pgm_fail(w->error, PGM_INTERRUPTED, "gap: interrupted; nothing was kept");
  else if (!strcmp((*fit)->stopped, "nan") || !isfinite((*fit)->elbo))
    st = pgm_fail(w->error, PGM_BAD_INPUT, "gap: %s: %s", what, (*fit)->criterion);
  if (!st) return PGM_OK;
  pgm_fit_free(*fit);
  *fit = NULL;
  return st;
}

/* Adds a name to the list of what did not converge, if it is not there. */
static void add_unconverged(PgmGap *gap, const char *what)
{
  const size_t length = strlen(what);
  for (const char *at = gap->unconverged; (at = strstr(at, what)); at++)
    if ((at == gap->unconverged || at[-1] == ' ') && (!at[length] || at[length] == ';')) return;
  pgm_gap_append(gap->unconverged, sizeof gap->unconverged, "%s%s", gap->unconverged[0] ? "; " : "", what);
}

static void note_unconverged(PgmGap *gap, const PgmFit *fit, const char *what)
{
  if (!fit->converged) add_unconverged(gap, what);
}

/* One more run of the method, with the path of the recorder. Its ELBO is that of the comparison: each fit's own is of other draws. */
static PgmStatus keep_run(Work *w, PgmGapMethod *m, const PgmFit *fit, double elbo, const PgmFitOptions *o, PgmGapRecorder *recorder)
{
  PgmGapRun *more = realloc(m->run, (size_t)(m->n_runs + 1) * sizeof *more);
  if (!more) return no_memory(w->error);
  m->run = more;
  PgmGapRun *r = &more[m->n_runs++];
  *r = (PgmGapRun){
      .seed = fit->seed, .seconds = fit->seconds, .elbo = elbo, .iterations = fit->iterations, .converged = fit->converged};
  memcpy(r->criterion, fit->criterion, sizeof r->criterion);
  const bool noisy = pgm_solve_stochastic(w->s, o), draws = pgm_needs_draws(w->s->model) || o->expectation >= PGM_EXP_FIXED_DRAWS;
  return pgm_gap_take_path(recorder, r, noisy, !noisy && draws) ? PGM_OK : no_memory(w->error);
}

/* Fits by all seeds, each evaluated. The one that stands: the best, or the first. *best gets the best of the others (NULL: there is none, or it
 * stands). */
static PgmStatus fit_seeds(Work *w, PgmGapMethod *m, PgmFitOptions o, const char *what, bool stands_best, PgmFit **best)
{
  PgmStatus st = PGM_OK;
  double best_elbo = -INFINITY;
  int failed = 0;
  if (best) *best = NULL;
  for (int k = 0; k < w->options->seeds && !st; k++) {
    PgmGapMethod one = unmeasured;
    PgmGapRecorder path = {0};
    char text[256];
    o.seed = w->options->fit.seed + (unsigned long)k;
    o.trace = pgm_gap_trace;
    o.trace_data = &path;
    o.prepared = pgm_gap_prepared;
    snprintf(text, sizeof text, "%s, seed %lu", what, o.seed);
    st = fit_once(w, &o, text, &one.fit);
    if (!st) st = measure_kept(w, &one);
    if (!st) st = keep_run(w, m, one.fit, one.elbo, &o, &path);
    if (!st) failed += !one.fit->converged;
    if (!st && (!m->fit || (stands_best && one.elbo > m->elbo))) {
      take_fit(m, &one);
    }
    if (!st && one.fit && best && one.elbo > best_elbo) {
      pgm_fit_free(*best);
      *best = one.fit;
      best_elbo = one.elbo;
      one.fit = NULL;
    }
    free_method(&one);
    free(path.iteration); /* NULL where keep_run has taken it */
  }
  char text[256];
  snprintf(text, sizeof text, w->options->seeds > 1 ? "%s (%d of %d seeds)" : "%s", what, failed, w->options->seeds);
  if (!st && failed) add_unconverged(w->gap, text);
  return st;
}

/* ---- inputs -------------------------------------------------------------------------------------------------------------------------- */

/* Texts of --inputs and --window for one arrangement. */
typedef struct {
  int n_inputs, n_windows;
  char **text;
  const char *const *inputs, *const *windows;
  int n;
} Arrangement;

static void free_arrangement(Arrangement *a)
{
  for (int i = 0; a->text && i < a->n; i++) free(a->text[i]);
  free(a->text);
  *a = (Arrangement){0};
}

const PgmAmortize *pgm_gap_amortize(const PgmModel *m, int family)
{
  for (int i = 0; i < m->n_amortize; i++)
    if (m->amortize[i].family == family) return &m->amortize[i];
  return NULL;
}

bool pgm_gap_closes(const PgmAmortize *a)
{
  return a && (!strcmp(a->verdict, "closes") || !strcmp(a->verdict, "set") || !strcmp(a->verdict, "slice"));
}

/* Is there a bounded domain, and a form of it that can be gathered? */
static bool has_domain(const PgmAmortize *a)
{
  return pgm_gap_closes(a) && (a->inputs || a->amortize);
}

/* Are there references that --window can shift? */
static bool has_window(const PgmAmortize *a) { return a && a->window && a->window[0]; }

/* The references of an `amortize` statement, joined as `domain` is. */
static bool inputs_are_domain(const PgmAmortize *a)
{
  char text[1024] = "";
  for (int i = 0; a->inputs && a->inputs[i]; i++) pgm_gap_append(text, sizeof text, "%s%s", i ? ", " : "", a->inputs[i]);
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

/* Window w for the families that need one (or that --window names); the others keep the verdict's domain, in so far as an `amortize`
 * statement does not hide it: then it is spelt out. w < 0: no windows. */
static PgmStatus arrange(Arrangement *a, const PgmModel *m, const char *only, bool all, long w, PgmError *error)
{
  PgmStatus st = open_arrangement(a, m, error);
  char text[1200];
  for (int f = 0; f < m->n_families && !st && w >= 0; f++) {
    const PgmAmortize *d = pgm_gap_amortize(m, f);
    if (m->families[f].role != PGM_LOCAL) continue;
    if (only ? strcmp(only, m->families[f].name) != 0 : !has_window(d) || (!all && has_domain(d))) continue;
    snprintf(text, sizeof text, "%s=%ld", m->families[f].name, w);
    st = add_text(a, text, error);
    a->n_windows++;
  }
  for (int f = 0; f < m->n_families && !st; f++) {
    const PgmAmortize *d = pgm_gap_amortize(m, f);
    const bool windowed = w >= 0 && (only ? !strcmp(only, m->families[f].name) : has_window(d) && (all || !has_domain(d)));
    if (m->families[f].role != PGM_LOCAL || windowed || !d || !d->amortize || !has_domain(d) || inputs_are_domain(d)) continue;
    snprintf(text, sizeof text, "%s=%s", m->families[f].name, d->domain);
    st = add_text(a, text, error);
    a->n_inputs++;
  }
  a->windows = (const char *const *)a->text;
  a->inputs = (const char *const *)a->text + a->n_windows;
  return st;
}

static PgmFitOptions amortised_options(const PgmFitOptions *base)
{
  PgmFitOptions o = *base;
  o.method = PGM_AVI;
  o.method_given = true;
  return o;
}

static PgmFitOptions with(const PgmFitOptions *o, const Arrangement *a)
{
  PgmFitOptions x = amortised_options(o);
  x.n_inputs = a->n_inputs;
  x.inputs = a->inputs;
  x.n_windows = a->n_windows;
  x.windows = a->windows;
  return x;
}

/* "z from x[n-1], x[n]; w from nothing"; long lists are cut short, unless they are wanted whole. */
static void describe(const PgmModel *m, const PgmFit *fit, bool whole, char *text, size_t size)
{
  text[0] = '\0';
  for (int i = 0; i < fit->n_factors; i++) {
    const PgmFactors *p = &fit->factors[i];
    if (m->families[p->family].role != PGM_LOCAL) continue;
    pgm_gap_append(text, size, "%s%s", text[0] ? "; " : "", m->families[p->family].name);
    if (!p->function)
      pgm_gap_append(text, size, " %s", p->kind == PGM_SHARED ? "constant" : "with free factors");
    else
      pgm_gap_append(text, size, " from %s", p->function->n_inputs ? "" : "nothing");
    const int n = p->function ? p->function->n_inputs : 0, first = n > MOST_NAMED && !whole ? 2 : n;
    for (int k = 0; k < first; k++) pgm_gap_append(text, size, "%s%s", k ? ", " : "", p->function->inputs[k]);
    if (first < n) pgm_gap_append(text, size, ", ... (%d in all), %s", n, p->function->inputs[n - 1]);
  }
}

static void describe_functions(const PgmFit *fit, char *text, size_t size)
{
  text[0] = '\0';
  for (int i = 0; i < fit->n_factors; i++) {
    char one[128];
    if (!fit->factors[i].function) continue;
    pgm_net_describe(fit->factors[i].function, one, sizeof one);
    pgm_gap_append(text, size, "%s%s", text[0] ? "; " : "", one);
  }
}

long pgm_gap_weights(const PgmFit *fit)
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

static bool reads(const PgmFunction *f, const char *input)
{
  for (int k = 0; k < f->n_inputs; k++)
    if (!strcmp(f->inputs[k], input)) return true;
  return false;
}

/* Do the functions of both fits read the same, in whatever order, and are the other factors of one kind? (The texts of `describe` leave out what is in the
 * middle.) */
static bool same_inputs(const PgmFit *a, const PgmFit *b)
{
  for (int i = 0; i < a->n_factors; i++) {
    const PgmFactors *p = &a->factors[i], *q = &b->factors[i];
    if (p->kind != q->kind || (p->function && p->function->n_inputs != q->function->n_inputs)) return false;
    for (int k = 0; p->function && k < p->function->n_inputs; k++)
      if (!reads(q->function, p->function->inputs[k]) || !reads(p->function, q->function->inputs[k])) return false;
  }
  return true;
}

/* ---- F-VI restarted ------------------------------------------------------------------------------------------------------------------ */

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
      p->mean[e] = l->table ? log(fmax(l->mean[e], DBL_MIN)) : l->mean[e];
      p->log_sd[e] = l->sd[e] > 0 ? log(l->sd[e]) : 0;
    }
    p->kind = PGM_FREE;
    p->elements = l->elements;
    pgm_function_free(p->function);
    p->function = NULL;
  }
  if (st)
    pgm_fit_free(free_one);
  else
    *out = free_one;
  return st;
}

/* Where `other` is above F-VI: F-VI again, from the factors of `other`. */
static PgmStatus restart_from(Work *w, const PgmGapMethod *other, const char *what)
{
  PgmGap *gap = w->gap;
  PgmGapMethod *fvi = &gap->method[PGM_GAP_FVI];
  const PgmGapNumber above = difference(gap, other, fvi);
  PgmFitOptions o = w->fvi;
  PgmFit *start = NULL, *fit = NULL;
  if (!(above.value > fmax(1e-6 * fabs(fvi->elbo) * 1e-3 + 1e-6, 2 * above.se))) return PGM_OK;
  PgmStatus st = free_fit(w->s, other->fit, &start, w->error);
  if (!st) {
    o.init = start;
    if (o.optimizer == PGM_OPT_PROFILE) o.optimizer = PGM_OPT_DEFAULT;
    st = fit_once(w, &o, "F-VI, restarted", &fit);
  }
  pgm_fit_free(start);
  if (st) return st;
  const double before = fvi->elbo, seen = fmax(1e-6, 2 * above.se);
  const bool converged = fvi->fit->converged;
  PgmGapMethod again = {.fit = fit, .lost = NAN};
  st = measure(gap, w->s, &again, w->options->fit.seed, w->error);
  gap->restarts += !st; /* no run of a seed: it began where another method ended */
  if (!st && again.elbo > before) {
    take_fit(fvi, &again);
    note_unconverged(gap, fit, "F-VI, restarted");
  }
  if (!st && fvi->elbo - before > seen)
    snprintf(gap->restarted, sizeof gap->restarted, "F-VI %s; restarted from %s it gained %.4g nats",
             converged ? "sat in a worse local optimum" : "had not converged", what, fvi->elbo - before);
  else if (!st && gap->blocks > 1 && !gap->restarted[0])
    snprintf(gap->restarted, sizeof gap->restarted,
             "F-VI, restarted from %s, stays %.3g nats below it on fresh draws: free factors fit those of the fit more closely (--samples)", what,
             above.value);
  pgm_fit_free(again.fit);
  free(again.block);
  return st;
}

/* ---- capacity ------------------------------------------------------------------------------------------------------------------------ */

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
  st = measure(gap, w->s, best, w->options->fit.seed, w->error);
  if (!st && best->elbo < m->elbo) { /* fresh numbers may reverse what was near */
    memcpy(best->block, m->block, (size_t)gap->blocks * sizeof *best->block);
    best->elbo = m->elbo;
    best->se = m->se;
  }
  return st;
}

/* ---- all together -------------------------------------------------------------------------------------------------------------------- */

static long count_locals(const PgmSession *s)
{
  long n = 0;
  for (int f = 0; f < s->model->n_families; f++)
    if (s->model->families[f].role == PGM_LOCAL) n += s->layout[f].list ? s->layout[f].defined : s->layout[f].elements;
  return n;
}

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
  for (int k = 0; k < PGM_GAP_METHODS; k++) gap->method[k] = unmeasured;
  gap->observes = pgm_observes(s->model);
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    if (s->model->families[f].role == PGM_OBSERVED) gap->missing += l->missing;
  }
  gap->locals = count_locals(s);
  return gap;
}

/* After the first fit by F-VI. */
static void count_shares(PgmGap *gap)
{
  gap->observations = gap->method[PGM_GAP_FVI].fit->observations;
  gap->shares = gap->observes ? gap->observations : gap->locals;
}

/* ---- for test data -------------------------------------------------------------------------------------------------------------------- */

bool pgm_gap_has_globals(const PgmModel *m)
{
  for (int f = 0; f < m->n_families; f++)
    if (m->families[f].role == PGM_GLOBAL || m->families[f].role == PGM_PARAM) return true;
  return false;
}

/* The fit with the globals and params of another one; NULL: out of memory. */
static PgmFit *at_globals(const PgmModel *m, const PgmFit *from, const PgmFit *globals)
{
  PgmFit *fit = pgm_fit_copy(from);
  for (int i = 0; fit && i < fit->n_factors; i++) {
    const PgmFactors *p = &globals->factors[i];
    PgmFactors *mine = &fit->factors[i];
    const size_t bytes = (size_t)(p->elements * p->uwidth) * sizeof *p->mean;
    if (m->families[p->family].role == PGM_LOCAL || mine->elements != p->elements) continue;
    memcpy(mine->mean, p->mean, bytes);
    if (p->log_sd && mine->log_sd) memcpy(mine->log_sd, p->log_sd, bytes);
  }
  return fit;
}

/* Methods are compared on one model, so on test data all have F-VI's globals. What was fitted with others is trained on for those, or what it loses there
 * would be theirs. `options`: those that made m->fit. */
static PgmStatus fit_for_test(Work *w, PgmGapMethod *m, const PgmFitOptions *options, const char *what)
{
  PgmGap *gap = w->gap;
  const PgmGapMethod *fvi = &gap->method[PGM_GAP_FVI];
  if (!w->options->test || !m->fit || gap->fixed || !pgm_gap_has_globals(gap->model)) return PGM_OK;
  PgmGapMethod moved = unmeasured;
  moved.fit = at_globals(gap->model, m->fit, fvi->fit);
  PgmStatus st = moved.fit ? measure_kept(w, &moved) : no_memory(w->error);
  const PgmGapNumber less = difference(gap, m, &moved);
  if (!st && less.value > pgm_gap_nothing(gap, less)) {
    PgmFitOptions o = *options;
    PgmFit *fit = NULL;
    char text[160];
    snprintf(text, sizeof text, "%s, with the globals of F-VI", what);
    o.fix = fvi->fit;
    o.init = moved.fit;
    o.init_radius = 0;
    st = fit_once(w, &o, text, &fit);
    if (!st) {
      note_unconverged(gap, fit, text);
      pgm_fit_free(moved.fit);
      moved.fit = fit;
      st = measure_kept(w, &moved);
    }
  }
  if (!st) {
    m->lost = difference(gap, fvi, &moved).value;
    m->for_test = moved.fit;
    moved.fit = NULL;
  }
  free_method(&moved);
  return st;
}

/* ---- lists --------------------------------------------------------------------------------------------------------------------------- */

/* Adds one entry to a list: fits by all seeds, or what `same` was measured as. `other` as in fit_seeds. */
static PgmStatus fit_variant(Work *w, PgmGapList *list, const PgmFitOptions *o, const char *what, PgmGapMethodName same, PgmFit **other)
{
  PgmGapVariant *v = &list->at[list->n++];
  *v = (PgmGapVariant){.same = same, .own = unmeasured, .loss = {NAN, NAN}};
  if (same < PGM_GAP_METHODS) return PGM_OK;
  PgmStatus st = fit_seeds(w, &v->own, *o, what, false, other);
  return st ? st : restart_from(w, &v->own, what);
}

/* The entry added last. */
static PgmGapVariant *last_of(PgmGapList *list)
{
  return &list->at[list->n - 1];
}

static PgmStatus open_list(Work *w, PgmGapListName name, long n)
{
  w->gap->list[name].at = calloc((size_t)n + 1, sizeof *w->gap->list[name].at);
  return w->gap->list[name].at ? PGM_OK : no_memory(w->error);
}

static PgmFitOptions with_function(const PgmFitOptions *o, const PgmArchitecture *a)
{
  PgmFitOptions x = *o;
  x.degree = a->degree;
  x.n_hidden = a->n_hidden;
  memcpy(x.hidden, a->hidden, sizeof x.hidden);
  return x;
}

static PgmFitOptions with_inputs(const PgmFitOptions *o, const PgmAlternative *a)
{
  PgmFitOptions x = *o;
  x.n_inputs = a->n;
  x.inputs = a->inputs;
  return x;
}

static PgmStatus fit_architectures(Work *w, const PgmFitOptions *full)
{
  PgmGap *gap = w->gap;
  PgmGapList *list = &gap->list[PGM_GAP_FUNCTIONS];
  const int n = w->options->n_architectures;
  if (n < 2) return PGM_OK;
  PgmStatus st = open_list(w, PGM_GAP_FUNCTIONS, n);
  for (int k = 0; k < n && !st; k++) {
    const PgmFitOptions o = with_function(full, &w->options->architecture[k]);
    char text[96];
    snprintf(text, sizeof text, "A-VI, function %d of %d", k + 1, n);
    st = fit_variant(w, list, &o, text, k + 1 < n ? PGM_GAP_METHODS : PGM_GAP_FULL, NULL);
    if (st) return st;
    const PgmFit *fit = pgm_gap_variant(gap, last_of(list))->fit;
    describe_functions(fit, last_of(list)->text, sizeof last_of(list)->text);
    last_of(list)->parameters = fit->variational_parameters;
  }
  return st;
}

/* The sets of inputs of the list; the last one is that of the inputs chosen. */
static PgmStatus fit_alternatives(Work *w, const PgmFitOptions *chosen)
{
  PgmGap *gap = w->gap;
  PgmGapList *list = &gap->list[PGM_GAP_INPUTS];
  const int n = w->options->n_alternatives;
  if (n < 2) return PGM_OK;
  PgmStatus st = open_list(w, PGM_GAP_INPUTS, n);
  for (int k = 0; k < n && !st; k++) {
    const PgmFitOptions o = with_inputs(chosen, &w->options->alternative[k]);
    char text[96];
    snprintf(text, sizeof text, "A-VI, inputs %d of %d", k + 1, n);
    st = fit_variant(w, list, &o, text, k + 1 < n ? PGM_GAP_METHODS : gap->same_inputs ? PGM_GAP_FULL : PGM_GAP_CHOSEN, NULL);
    if (st) return st;
    const PgmFit *fit = pgm_gap_variant(gap, last_of(list))->fit;
    describe(gap->model, fit, false, last_of(list)->text, sizeof last_of(list)->text);
    last_of(list)->parameters = fit->variational_parameters;
  }
  return st;
}

/* A-VI by windows; `all`: of every local family. others[k] gets the best of the other seeds of row k. */
static PgmStatus fit_windows(Work *w, const PgmFitOptions *base, bool all, PgmFit **others)
{
  const PgmGapOptions *o = w->options;
  PgmGap *gap = w->gap;
  PgmGapList *list = &gap->list[PGM_GAP_WINDOWS];
  PgmStatus st = open_list(w, PGM_GAP_WINDOWS, w->window_hi - o->window_lo + 1);
  for (long k = o->window_lo; k <= w->window_hi && !st; k++) {
    Arrangement a;
    char text[96];
    snprintf(text, sizeof text, "A-VI, window %ld", k);
    st = arrange(&a, w->s->model, o->window_family, all, k, w->error);
    if (!st) {
      const PgmFitOptions fit = with(base, &a);
      st = fit_variant(w, list, &fit, text, PGM_GAP_METHODS, &others[k - o->window_lo]);
      last_of(list)->w = k;
    }
    if (!st) {
      const PgmFit *fit = last_of(list)->own.fit;
      describe(gap->model, fit, false, last_of(list)->text, sizeof last_of(list)->text);
      last_of(list)->parameters = fit->variational_parameters;
    }
    free_arrangement(&a);
  }
  return st;
}

/* The window that stands for the full domain: the widest, unless a narrower one clearly reaches more. What a function of a window can do, one of a wider window
 * can, in so far as it is of the same class; it is not where flags are too many for their products (gather.h). NULL: nothing is amortised. */
static PgmGapVariant *widest_of_the_best(const PgmGap *gap)
{
  const PgmGapList *list = &gap->list[PGM_GAP_WINDOWS];
  const PgmGapVariant *best = NULL;
  for (int i = 0; i < list->n; i++)
    if (amortises(list->at[i].own.fit) && (!best || list->at[i].own.elbo > best->own.elbo)) best = &list->at[i];
  for (int i = list->n - 1; i >= 0 && best; i--) {
    const PgmGapNumber short_of = difference(gap, &best->own, &list->at[i].own);
    if (amortises(list->at[i].own.fit) && short_of.value <= pgm_gap_nothing(gap, short_of)) return &list->at[i];
  }
  return NULL;
}

/* The half-width of --window W; -1: none. */
static long window_chosen(const PgmFitOptions *o)
{
  long most = -1;
  for (int i = 0; i < o->n_windows; i++) {
    const char *equals = strchr(o->windows[i], '=');
    const long w = atol(equals ? equals + 1 : o->windows[i]);
    if (w > most) most = w;
  }
  return most;
}

/* Where no domain is bounded: a window stands for it, or the inputs chosen, where they are a wider window or reach more than every window. */
static void stand_in(Work *w, const PgmFitOptions *chosen_options)
{
  PgmGap *gap = w->gap;
  PgmGapMethod *full = &gap->method[PGM_GAP_FULL], *chosen = &gap->method[PGM_GAP_CHOSEN];
  gap->gaps.constant = difference(gap, &gap->method[PGM_GAP_FVI], &gap->method[PGM_GAP_CONST]);
  PgmGapVariant *v = widest_of_the_best(gap);
  if (!v) return;
  if (chosen->fit && amortises(chosen->fit) && !same_inputs(chosen->fit, v->own.fit)) {
    const PgmGapNumber gain = difference(gap, chosen, &v->own);
    const double nothing = pgm_gap_nothing(gap, gain);
    if (gain.value > nothing || (window_chosen(chosen_options) > w->window_hi && gain.value >= -nothing)) return;
  }
  *full = v->own;
  v->own = unmeasured;
  v->same = PGM_GAP_FULL;
  gap->stands_in = v->w;
  memcpy(gap->full, v->text, sizeof gap->full);
}

/* Do options or an `amortize` statement choose other inputs than the domain? */
static bool has_chosen(const PgmModel *m, const PgmFitOptions *base)
{
  bool any = base->n_inputs || base->n_windows;
  for (int i = 0; i < m->n_amortize; i++) any = any || (m->amortize[i].amortize && !inputs_are_domain(&m->amortize[i]));
  return any;
}

/* Do windows stand for a domain that is not bounded? */
static bool stands_by_windows(const PgmModel *m, const PgmGapOptions *o)
{
  bool open = false;
  for (int f = 0; f < m->n_families; f++) open = open || (m->families[f].role == PGM_LOCAL && !has_domain(pgm_gap_amortize(m, f)));
  return open && o->windows;
}

/* A-VI on the full domain; *other gets the best of the other seeds. Leaves the method empty where no local variable has a function: that was
 * F-VI under another name. */
static PgmStatus fit_full(Work *w, const PgmFitOptions *options, PgmFit **other)
{
  PgmGap *gap = w->gap;
  PgmGapMethod *full = &gap->method[PGM_GAP_FULL];
  PgmStatus st = fit_seeds(w, full, *options, "A-VI, full domain", false, other);
  if (st) return st;
  describe(gap->model, full->fit, false, gap->full, sizeof gap->full);
  if (!amortises(full->fit)) {
    free_method(full);
    gap->full[0] = '\0';
    pgm_fit_free(*other);
    *other = NULL;
    return PGM_OK;
  }
  return restart_from(w, full, "A-VI");
}

static PgmStatus fit_chosen(Work *w, const PgmFitOptions *options)
{
  PgmGap *gap = w->gap;
  PgmGapMethod *chosen = &gap->method[PGM_GAP_CHOSEN];
  PgmStatus st = fit_seeds(w, chosen, *options, "A-VI, inputs chosen", false, NULL);
  if (!st) st = restart_from(w, chosen, "A-VI with the inputs chosen");
  if (!st) describe(gap->model, chosen->fit, false, gap->chosen, sizeof gap->chosen);
  return st;
}

/* Are the inputs chosen the full domain, or all there is to stand for it? */
static void place_chosen(PgmGap *gap)
{
  PgmGapMethod *full = &gap->method[PGM_GAP_FULL], *chosen = &gap->method[PGM_GAP_CHOSEN];
  if (full->fit) {
    gap->same_inputs = !chosen->fit || same_inputs(full->fit, chosen->fit);
    if (!gap->same_inputs && !strcmp(gap->full, gap->chosen)) { /* what differs is in the middle */
      describe(gap->model, full->fit, true, gap->full, sizeof gap->full);
      describe(gap->model, chosen->fit, true, gap->chosen, sizeof gap->chosen);
    }
  } else if (chosen->fit && amortises(chosen->fit)) {
    *full = *chosen;
    *chosen = unmeasured;
    memcpy(gap->full, gap->chosen, sizeof gap->full);
    gap->same_inputs = gap->chosen_stands = true;
  }
}

/* Entries of the lists, and functions of the full domain and of the inputs chosen, for test data; `all` as in fit_windows. */
static PgmStatus fit_functions_for_test(Work *w, const PgmFitOptions *base, const PgmFitOptions *full, const PgmFitOptions *chosen, bool all)
{
  PgmGap *gap = w->gap;
  PgmStatus st = fit_for_test(w, &gap->method[PGM_GAP_FULL], full, "A-VI, full domain");
  if (!st && !gap->same_inputs) st = fit_for_test(w, &gap->method[PGM_GAP_CHOSEN], chosen, "A-VI, inputs chosen");
  for (int l = 0; l < PGM_GAP_LISTS; l++)
    for (int i = 0; i < gap->list[l].n && !st; i++) {
      PgmGapVariant *v = &gap->list[l].at[i];
      Arrangement a = {0};
      PgmFitOptions o;
      if (v->same < PGM_GAP_METHODS) continue;
      if (l == PGM_GAP_WINDOWS) st = arrange(&a, w->s->model, w->options->window_family, all, v->w, w->error);
      o = l == PGM_GAP_WINDOWS     ? with(base, &a)
          : l == PGM_GAP_FUNCTIONS ? with_function(full, &w->options->architecture[i])
                                   : with_inputs(chosen, &w->options->alternative[i]);
      if (!st) st = fit_for_test(w, &v->own, &o, v->text);
      free_arrangement(&a);
    }
  return st;
}

/* All fits by inference functions. *best: the best that train_on found. `others`: room for the best other seed of each window and of the full domain. */
static PgmStatus fit_arrangements(Work *w, const PgmFitOptions *base, PgmFit **others, PgmGapMethod *best)
{
  const PgmGapOptions *options = w->options;
  const PgmModel *m = w->s->model;
  PgmGap *gap = w->gap;
  Arrangement a = {0};
  const bool by_windows = stands_by_windows(m, options);
  PgmFit **other = others; /* of the full domain */
  const PgmFitOptions chosen = amortised_options(base);
  PgmFitOptions full = *base;
  PgmStatus st = PGM_OK;
  if (by_windows) {
    st = fit_windows(w, base, false, others);
  } else {
    st = arrange(&a, m, NULL, false, -1, w->error);
    full = with(base, &a);
    if (!st) st = fit_full(w, &full, other);
  }
  if (!st && has_chosen(m, base)) st = fit_chosen(w, &chosen);
  if (!st && by_windows) {
    stand_in(w, &chosen);
    if (gap->stands_in >= 0) {
      other = &others[gap->stands_in - options->window_lo];
      st = arrange(&a, m, options->window_family, false, gap->stands_in, w->error);
      full = with(base, &a);
    }
  }
  if (!st) place_chosen(gap);
  if (gap->chosen_stands) full = chosen;
  const bool amortised = !st && gap->method[PGM_GAP_FULL].fit;
  if (amortised) st = train_on(w, &gap->method[PGM_GAP_FULL], gap->chosen_stands ? NULL : *other, &full, best);
  if (!st && amortised) st = restart_from(w, best, "A-VI trained on");
  if (!st && options->windows && !by_windows) st = fit_windows(w, base, true, others + 1);
  if (!st && amortised) st = fit_architectures(w, &full);
  if (!st && amortised) st = fit_alternatives(w, &chosen);
  if (!st) st = fit_functions_for_test(w, base, &full, &chosen, !by_windows);
  free_arrangement(&a);
  return st;
}

static PgmStatus fit_amortised(Work *w, const PgmFitOptions *base, PgmGapMethod *best)
{
  const long n = 2 + (w->options->windows ? w->window_hi - w->options->window_lo : 0);
  PgmFit **others = calloc((size_t)n, sizeof(PgmFit *));
  if (!others) return no_memory(w->error);
  const PgmStatus st = fit_arrangements(w, base, others, best);
  for (long i = 0; i < n; i++) pgm_fit_free(others[i]);
  free(others);
  return st;
}

static PgmGapNumber from_evidence(const PgmEvidence *e, const PgmGapMethod *fvi)
{
  if (e->kind == PGM_EVIDENCE_NONE) return (PgmGapNumber){NAN, NAN};
  return (PgmGapNumber){e->value - fvi->elbo, e->kind == PGM_EVIDENCE_BOUND ? fvi->se : hypot(e->se, fvi->se)};
}

/* Differences, when all ELBOs are there. */
static void subtract(PgmGap *gap, const PgmGapMethod *best)
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
  for (int l = 0; l < PGM_GAP_LISTS; l++)
    for (int i = 0; i < gap->list[l].n; i++)
      gap->list[l].at[i].loss = difference(gap, &m[PGM_GAP_FVI], pgm_gap_variant(gap, &gap->list[l].at[i]));
}

static bool copy_path(PgmGapPath *to, const PgmGapPath *from)
{
  double *memory = malloc((size_t)(3 * from->n + 1) * sizeof *memory);
  *to = (PgmGapPath){0};
  if (!memory) return false;
  *to = (PgmGapPath){.n = from->n, .iteration = memory, .seconds = memory + from->n, .elbo = memory + 2 * from->n};
  if (!from->n) return true;
  memcpy(to->iteration, from->iteration, (size_t)from->n * sizeof *memory);
  memcpy(to->seconds, from->seconds, (size_t)from->n * sizeof *memory);
  memcpy(to->elbo, from->elbo, (size_t)from->n * sizeof *memory);
  return true;
}

/* The inputs chosen are the full domain: one fit serves both. */
static PgmStatus share_chosen(PgmGap *gap, PgmError *error)
{
  const PgmGapMethod *from = &gap->method[PGM_GAP_FULL];
  PgmGapMethod *to = &gap->method[PGM_GAP_CHOSEN];
  free_method(to);
  to->fit = pgm_fit_copy(from->fit);
  to->block = malloc((size_t)gap->blocks * sizeof *to->block);
  to->run = calloc((size_t)(from->n_runs + 1), sizeof *to->run);
  if (!to->fit || !to->block || !to->run) return no_memory(error);
  memcpy(to->block, from->block, (size_t)gap->blocks * sizeof *to->block);
  for (; to->n_runs < from->n_runs; to->n_runs++) {
    PgmGapRun *r = &to->run[to->n_runs];
    *r = from->run[to->n_runs];
    if (!copy_path(&r->path, &from->run[to->n_runs].path)) return no_memory(error);
  }
  if (from->for_test && !(to->for_test = pgm_fit_copy(from->for_test))) return no_memory(error);
  to->lost = from->lost;
  to->elbo = from->elbo;
  to->se = from->se;
  snprintf(gap->chosen, sizeof gap->chosen, "%s", gap->full);
  return PGM_OK;
}

/* The last window of the table. One as wide as the data sees all of them; a wider one sees no more. */
static long widest_window(const PgmSession *s, const PgmGapOptions *o)
{
  long extent = 0;
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmFamily *family = &s->model->families[f];
    if (!family->n_index) continue;
    const PgmLayout *l = &s->layout[f];
    const long n = l->hi[family->n_index - 1] - l->lo[family->n_index - 1];
    if (n > extent) extent = n;
  }
  return o->window_hi <= extent ? o->window_hi : extent > o->window_lo ? extent : o->window_lo;
}

/* How many fits there will be at least. */
static int count_fits(const PgmGapOptions *o, const PgmGap *gap, long window_hi)
{
  if (!gap->locals) return o->seeds;
  const int windows = o->windows ? (int)(window_hi - o->window_lo) : 0, functions = o->n_architectures > 1 ? o->n_architectures - 1 : 0;
  const int inputs = o->n_alternatives > 1 ? o->n_alternatives : o->fit.n_inputs || o->fit.n_windows ? 1 : 0;
  return o->seeds * (3 + windows + functions + inputs) + CAPACITY_STARTS + 1;
}

/* The options of all fits: the last of the function classes and of the sets of inputs are those whose gaps are told. */
static PgmFitOptions base_options(const PgmGapOptions *options)
{
  PgmFitOptions base = options->fit;
  base.khat = false;
  if (options->n_architectures) base = with_function(&base, &options->architecture[options->n_architectures - 1]);
  if (options->n_alternatives) base = with_inputs(&base, &options->alternative[options->n_alternatives - 1]);
  return base;
}

static PgmFitOptions free_factors(const PgmFitOptions *base)
{
  PgmFitOptions o = *base;
  o.n_inputs = o.n_windows = o.n_pins = 0;
  o.method = PGM_FVI;
  o.method_given = true;
  return o;
}

static PgmStatus measure_evidence(Work *w)
{
  const PgmGapOptions *o = w->options;
  if (o->stage) o->stage(o->stage_data, PGM_GAP_EVIDENCE, w->total, w->total);
  PgmStatus st = pgm_fit_apply(w->s, w->gap->method[PGM_GAP_FVI].fit, w->error);
  return st ? st : pgm_evidence(w->s, w->gap->fixed, o->evidence_draws, o->fit.seed, &w->gap->evidence, w->error);
}

PgmStatus pgm_gap_run(PgmSession *s, const PgmGapOptions *options, PgmGap **out, PgmError *error)
{
  PgmGap *gap = *out = new_gap(s);
  if (!gap) return no_memory(error);
  PgmFitOptions base = base_options(options);
  const long hi = widest_window(s, options);
  Work w = {.s = s, .options = options, .gap = gap, .error = error, .fvi = free_factors(&base), .window_hi = hi, .total = count_fits(options, gap, hi)};
  PgmGapMethod best = {.elbo = NAN};
  gap->fixed = options->fit.fix != NULL;
  PgmStatus st = fit_seeds(&w, &gap->method[PGM_GAP_FVI], w.fvi, names[PGM_GAP_FVI], true, NULL);
  if (!st) count_shares(gap);
  if (!st && gap->locals) {
    PgmFitOptions constant = w.fvi;
    constant.method = PGM_CONST;
    if (constant.optimizer == PGM_OPT_PROFILE) constant.optimizer = base.optimizer = PGM_OPT_DEFAULT;
    st = fit_seeds(&w, &gap->method[PGM_GAP_CONST], constant, names[PGM_GAP_CONST], false, NULL);
    if (!st) st = restart_from(&w, &gap->method[PGM_GAP_CONST], "constant factors");
    if (!st) st = fit_amortised(&w, &base, &best);
    if (!st) st = fit_for_test(&w, &gap->method[PGM_GAP_CONST], &constant, names[PGM_GAP_CONST]);
    if (!st && gap->same_inputs) st = share_chosen(gap, error);
  }
  if (!st) st = measure_evidence(&w);
  if (!st) {
    subtract(gap, &best);
    pgm_gap_judge(gap, NULL);
  }
  free_method(&best);
  if (!st) return PGM_OK;
  pgm_gap_free(gap);
  *out = NULL;
  return st;
}

/* ---- data that were not fitted ------------------------------------------------------------------------------------------------------- */

PgmStatus pgm_gap_check_test(PgmSession *s, const PgmSession *test, const char *name, const PgmGapOptions *options, PgmError *error)
{
  const PgmModel *m = s->model;
  const PgmFitOptions base = base_options(options), chosen = amortised_options(&base);
  const bool by_windows = stands_by_windows(m, options);
  const long last = options->windows ? widest_window(s, options) : -1;
  PgmStatus st = PGM_OK;
  if (!count_locals(s))
    return pgm_fail(error, PGM_BAD_USAGE, "--test: the model has no local latent variables, whose inference functions could be tested");
  if (!count_locals(test)) return pgm_fail(error, PGM_BAD_INPUT, "%s: the data have no units: no local latent variable has an element", name);
  for (long k = by_windows ? options->window_lo : -1; k <= last && !st; k = k < 0 ? options->window_lo : k + 1) { /* -1: the full domain */
    Arrangement a;
    st = k < 0 ? arrange(&a, m, NULL, false, -1, error) : arrange(&a, m, options->window_family, !by_windows, k, error);
    const PgmFitOptions o = with(&base, &a);
    if (!st) st = pgm_fit_suits(s, &o, test, name, error);
    free_arrangement(&a);
  }
  if (!st && has_chosen(m, &base)) st = pgm_fit_suits(s, &chosen, test, name, error);
  for (int k = 0; k + 1 < options->n_alternatives && !st; k++) {
    const PgmFitOptions o = with_inputs(&chosen, &options->alternative[k]);
    st = pgm_fit_suits(s, &o, test, name, error);
  }
  return st;
}

/* A method as it was fitted, on the session's data: globals and params of that other fit, local factors that are free optimised anew. */
static PgmStatus carry_over(Work *w, const PgmGapMethod *from, const PgmFit *globals, const char *what, PgmGapMethod *to)
{
  PgmFit *fit = at_globals(w->s->model, from->for_test ? from->for_test : from->fit, globals);
  if (!fit) return no_memory(w->error);
  PgmStatus st = pgm_fit_locals(w->s, fit, &to->fit, w->error);
  if (!st && fit->converged) note_unconverged(w->gap, to->fit, what);
  pgm_fit_free(fit);
  if (!st) st = measure_kept(w, to);
  return st ? st : restart_from(w, to, "the functions");
}

static PgmStatus carry_lists(Work *w, const PgmGap *train, const PgmFit *globals)
{
  PgmStatus st = PGM_OK;
  for (int l = 0; l < PGM_GAP_LISTS && !st; l++) {
    const PgmGapList *from = &train->list[l];
    PgmGapList *to = &w->gap->list[l];
    if (!from->n) continue;
    st = open_list(w, (PgmGapListName)l, from->n);
    for (int i = 0; i < from->n && !st; i++) {
      PgmGapVariant *v = &to->at[to->n++];
      *v = from->at[i];
      v->own = unmeasured;
      if (v->same == PGM_GAP_METHODS) st = carry_over(w, &from->at[i].own, globals, v->text, &v->own);
    }
  }
  return st;
}

PgmStatus pgm_gap_test(PgmSession *s, const PgmGap *train, const PgmGapOptions *options, PgmGap **out, PgmError *error)
{
  PgmGap *gap = *out = new_gap(s);
  if (!gap) return no_memory(error);
  const PgmFit *globals = train->method[PGM_GAP_FVI].fit;
  const PgmGapMethod none = {.elbo = NAN};
  Work w = {.s = s, .options = options, .gap = gap, .error = error, .fvi = free_factors(&options->fit), .total = options->seeds};
  w.fvi.init = NULL;
  w.fvi.khat = false;
  w.fvi.fix = globals;
  gap->fixed = true;
  gap->same_inputs = train->same_inputs;
  gap->stands_in = train->stands_in;
  gap->chosen_stands = train->chosen_stands;
  memcpy(gap->full, train->full, sizeof gap->full);
  memcpy(gap->chosen, train->chosen, sizeof gap->chosen);
  PgmStatus st = PGM_OK;
  if (globals->data_hash) {
    char hash[65];
    pgm_data_hash(s, hash);
    gap->same_data = !strcmp(hash, globals->data_hash);
  }
  if (!st) st = fit_seeds(&w, &gap->method[PGM_GAP_FVI], w.fvi, "F-VI on the test data", true, NULL);
  if (!st) count_shares(gap);
  for (int k = 0; k < PGM_GAP_METHODS && !st; k++)
    if (k != PGM_GAP_FVI && train->method[k].fit) st = carry_over(&w, &train->method[k], globals, names[k], &gap->method[k]);
  if (!st) st = carry_lists(&w, train, globals);
  if (!st) st = measure_evidence(&w);
  if (!st) {
    subtract(gap, &none);
    return PGM_OK;
  }
  pgm_gap_free(gap);
  *out = NULL;
  return st;
}
