/* The order of work of a fit: see solve.h.
 *
 *   deterministic objective (closed forms, quadrature, fixed draws)
 *     1. one gradient at the cold start sets the log sds
 *     2. a few Newton sweeps over separable locals (local.h)
 *     3. profile: L-BFGS on globals and params, the locals solved for inside each evaluation, block by block where that can be (fused.h), else by warm
 *        sweeps (by the envelope theorem the gradient of the profile is the partial gradient); where locals do not separate, terms are sampled, or it
 *        misbehaves: L-BFGS on everything
 *     4. multistart, unless every term is concave in the locals: separable locals from other means, element by element the better kept; if any was, 3
 *        again, and 4 as long as that moves globals and ELBO
 *   stochastic objective (minibatches, fresh draws): Adam
 *
 * An average over S fixed draws has an optimum of its own, off the true one by the sampling error of the gradient: with e' H e its square in the
 * metric H, about e' H e / 2 nats are lost there, which no further iteration brings back (sample average approximation: Shapiro, Dentcheva &
 * Ruszczynski, Lectures on Stochastic Programming (2009), chapter 5; for ELBOs Giordano, Ingram & Broderick 2024). So L-BFGS stops when the
 * gradient norm is a twentieth of that error and the last iterations gained less than a step of that norm would (a four-hundredth of the
 * nats that are lost anyway). The error is measured: e is the difference to the gradient with a second, independent set of draws, over sqrt 2.
 *
 * L-BFGS works in the metric of the inverse Fisher information: sd^2 for a mean, 1/2 for a log sd, 1 / (p (1 - p)) for the logit of a probability, by
 * which a step is the one of coordinate ascent. */
#include "solve.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adam.h"
#include "fisher.h"
#include "fused.h"
#include "lbfgs.h"
#include "local.h"

enum { SWEEPS_COLD = 8, SWEEPS_INSIDE = 60, PANEL_NODES = 12, MOST_PANELS = 8, LONGEST_KNOWN = 1024, CLOSEST_PANELS = 64 };
enum { TRIAL = 250, PATIENCE = 4, LEAST_DRAWS = 16 };
enum { MULTISTART_ROUNDS = 10, QUICK_SEARCH = 4096 }; /* parameters */
enum { TRIAL_FISHER = 60, TRIAL_PART = 100, RARELY = 50 };
enum { LEAST_PART = 512, GROWTH = 4 }; /* units */
static const double SHARE = 0.05, INVISIBLE = 1e-3; /* nats */
static const double LONGEST = 2;                    /* step of functions, in sds of the factors they give */
static const double FIRST_DAMPING = 1e-1, LEAST_DAMPING = 1e-5, MOST_DAMPING = 1;
static const double ROUNDING = 1e-12;               /* of the ELBO */
static const double HOPELESS = 5e-4;                /* gain of a window of iterations, of how far F-VI is ahead */
static const double WORTH = 0.01;                   /* of a search's gain, what the rest gains by it, for another search */
static const double LEAST_VARIANCE = 1e-8;          /* of a probability, in the metric */

/* ---- the run: clock and callbacks ---------------------------------------------------------------------------------------------------- */

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void pgm_run_begin(PgmRun *run, PgmSession *s, const PgmFitOptions *options)
{
  *run = (PgmRun){.s = s, .options = options, .began = now(), .reported = -1, .elbo = NAN, .free_elbo = NAN};
}

double pgm_run_seconds(const PgmRun *run)
{
  return now() - run->began;
}

/* After every iterate, with the ELBO that was known last; false: stop. */
static bool run_beat(PgmRun *run, double norm)
{
  const PgmFitOptions *o = run->options;
  const double seconds = pgm_run_seconds(run);
  const long iteration = run->iteration++;
  if (o->progress && (run->reported < 0 || seconds - run->reported > 0.1)) {
    run->reported = seconds;
    if (!o->progress(o->progress_data, iteration, seconds, run->elbo, norm)) run->interrupted = true;
  }
  return !run->interrupted;
}

/* After every accepted iterate whose ELBO is known; false: stop. */
static bool run_tick(PgmRun *run, const PgmSources *q, const double *x, double elbo, double norm)
{
  const PgmFitOptions *o = run->options;
  const double seconds = pgm_run_seconds(run);
  if (o->trace) o->trace(o->trace_data, run->iteration, seconds, elbo, norm);
  run->elbo = elbo;
  run_beat(run, norm);
  if (run->checkpoint && o->checkpoint && o->checkpoint_every > 0 && x && seconds - run->saved > o->checkpoint_every) {
    run->saved = seconds;
    run->checkpoint(run->checkpoint_data, q, x, run->iteration - 1, elbo);
  }
  return !run->interrupted;
}

/* ---- state of a solve ---------------------------------------------------------------------------------------------------------------- */

typedef struct {
  PgmRun *run;
  PgmSources *q;
  PgmObjective *objective;
  PgmFused *fused;   /* not NULL: evaluations can solve for the locals block by block */
  PgmLocals *locals; /* NULL: none separable, or not needed so far */
  PgmBatch part;     /* of the units, on which it is at work; units NULL: all */
  long pinned, size;
  double *x, *gradient; /* the whole vector; gradient of the ELBO */
  double *known, value; /* where it was last evaluated, and the value there; NULL for long vectors, whose evaluation costs little more than to compare them */
  bool at_known;        /* gradient and layouts are still those of that point */
  double *metric;       /* of the whole vector */
  /* profile */
  double *accepted, *trial; /* the locals at the accepted globals, and at the last evaluation: copies, or as pgm_fused_load has them */
  double inner;             /* gain (nats) below which the sweeps of every evaluation may stop */
  long failures;
  bool few;    /* quadratures have few nodes so far */
  bool silent; /* what it maximises is not the ELBO: nothing is reported */
  double norm; /* the gradient's, of the last iterate */
  long end;    /* the part of x that L-BFGS is at work on is pinned .. end */
  PgmFisher *fisher; /* of functions' weights; NULL: their metric is a common scale */
  double damping;
  long at_iteration, evaluations;             /* of L-BFGS, so far */
  long fisher_iteration, fisher_evaluations;  /* when it was last made */
  /* fixed draws */
  PgmObjective *second; /* the same objective with other draws; NULL: nothing is sampled, or --tol alone decides */
  double *other;        /* its gradient */
  double error;         /* of the gradient, in the metric, where L-BFGS last ended */
} Solve;

/* Gives again what it gave last at the same point: where one stage ends the next begins. */
static double evaluate(Solve *v)
{
  const size_t bytes = (size_t)v->q->size * sizeof *v->x;
  if (v->at_known && !memcmp(v->x, v->known, bytes)) return v->value;
  v->value = pgm_objective_value(v->objective, v->x, v->gradient, v->part.units ? &v->part : NULL, 0);
  v->at_known = v->known && isfinite(v->value);
  if (v->at_known) memcpy(v->known, v->x, bytes);
  return v->value;
}

static void fill_table_metric(const PgmSources *q, const PgmSource *f, const double *x, double *h)
{
  const PgmLayout *l = &q->s->layout[f->family];
  const long w = f->uwidth, rows = f->kind == PGM_SHARED ? 1 : f->rows;
  const double share = f->kind == PGM_SHARED ? 1 / fmax((double)f->rows, 1) : 1;
  PGM_PIECES(rows, q->s->threads, from, to, {
    for (long r = from; r < to; r++) {
      double *p = h + f->at + r * w;
      pgm_table_fill(q->s, f->family, l->list ? l->list[r] : r, x + f->at + r * w, p);
      for (long k = 0; k < w; k++) p[k] = share / fmax(p[k] * (1 - p[k]), LEAST_VARIANCE);
    }
  });
}

/* The inverse Fisher information of the factors at x, of the sources in [begin, end) of x; 0 where it is not known (params, weights). */
static void fill_metric(const PgmSources *q, const double *x, long begin, long end, double *h)
{
  for (int i = 0; i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    if (f->at < begin || f->at >= end) continue;
    if (f->table && f->kind != PGM_FUNCTION) {
      fill_table_metric(q, f, x, h);
      continue;
    }
    if (f->kind == PGM_FUNCTION || f->point) {
      for (long e = f->at; e < f->at + f->size; e++) h[e] = 0;
      if (f->sd_at >= 0)
        for (long e = f->sd_at; e < f->sd_at + f->uwidth; e++) h[e] = 0.5 / fmax((double)f->rows, 1);
      continue;
    }
    const double share = f->kind == PGM_SHARED ? 1 / fmax((double)f->rows, 1) : 1;
    const long n = f->size / 2;
    const double *log_sd = x + f->sd_at;
    double *restrict mean_h = h + f->at, *restrict sd_h = h + f->sd_at;
    PGM_PIECES(n, q->s->threads, from, to, {
      _Pragma("omp simd")
      for (long e = from; e < to; e++) {
        mean_h[e] = share * exp(2 * log_sd[e]);
        sd_h[e] = 0.5 * share;
      }
    });
  }
}

/* What the draws add to the gradient g (of what L-BFGS minimises, over pinned .. end): two objectives with draws of their own differ by twice its
 * variance. */
static double sampling_error(void *data, const double *x, const double *g, const double *h)
{
  Solve *v = data;
  double square = 0;
  memcpy(v->x + v->pinned, x, (size_t)(v->end - v->pinned) * sizeof *x);
  v->at_known = false; /* the layouts have the other objective's slopes */
  pgm_objective_value(v->second, v->x, v->other, NULL, 0);
  for (long e = 0; e < v->end - v->pinned; e++) {
    const double d = v->other[v->pinned + e] + g[e];
    square += h[e] * d * d;
  }
  return isfinite(square) ? sqrt(square / 2) : 0;
}

/* Steps of log sds (of the part of x from pinned to end) are at most 2. Whichever d, with the gradient g of what is minimised, would change by more is far
 * from its fixed point p s^2 = 1, p the curvature at its mean: there the metric, s^2, and the secant pairs know nothing. It goes towards the fixed
 * point instead, and its mean by Newton's step. (Were d shortened as a whole, means far from the optimum would wait for every log sd in turn.) Steps of
 * logits are at most 6. Returns the longest step along d. */
static double tame(const Solve *v, const double *x, const double *g, double *d)
{
  double most = 0;
  for (int i = 0; i < v->q->n; i++) {
    const PgmSource *f = &v->q->source[i];
    if (f->kind == PGM_FUNCTION || f->point || f->at < v->pinned || f->at >= v->end) continue;
    for (long e = f->at - v->pinned; e < f->at - v->pinned + f->size && f->table; e++) d[e] = fmin(fmax(d[e], -6), 6);
    if (f->table) continue;
    const double share = f->kind == PGM_SHARED ? 1 / fmax((double)f->rows, 1) : 1;
    for (long k = 0; k < f->size / 2; k++) {
      const long mean = f->at - v->pinned + k, log_sd = f->sd_at - v->pinned + k;
      if (fabs(d[log_sd]) > 2) {
        const double ps2 = 1 + share * g[log_sd];
        d[log_sd] = fmin(fmax(ps2 > 0 ? -0.5 * log(ps2) : -0.5 * share * g[log_sd], -2), 2);
        if (ps2 > 1) d[mean] = -g[mean] * share * exp(2 * x[log_sd]) / ps2;
      }
      most = fmax(most, fabs(d[log_sd]));
    }
  }
  return most > 0 ? 2 / most : 1e10;
}

/* ---- fused evaluations ----------------------------------------------------------------------------------------------------------------- */

/* Doubles of v->accepted, and of v->trial. */
static long copies_size(const Solve *v)
{
  return v->fused ? pgm_fused_size(v->fused) : v->locals ? v->q->size - v->q->functions : 0;
}

/* The ELBO at the globals of x, the locals solved for: from v->accepted to v->trial. Their error is a millionth of half the squared gradient norm of
 * the last iterate: far below what the globals have to gain. */
static double evaluate_fused(Solve *v, double *left)
{
  const double enough = fmax(v->inner, fmin(0.5e-6 * v->norm * v->norm, 1e-2));
  v->at_known = false;
  return pgm_fused_value(v->fused, v->x, v->accepted, v->trial, enough, v->gradient, left);
}

static void load_accepted(Solve *v)
{
  pgm_fused_load(v->fused, v->x + v->q->functions, v->accepted);
}

static void store_accepted(Solve *v)
{
  pgm_fused_store(v->fused, v->accepted, v->x + v->q->functions);
}

static void accept_fused(Solve *v)
{
  double *t = v->accepted;
  v->accepted = v->trial;
  v->trial = t;
}

/* Where the start is judged from: the ELBO at x, with its gradient in what has no locals to be solved for first. */
static double look(Solve *v)
{
  double left;
  if (!v->fused) return evaluate(v);
  const double value = evaluate_fused(v, &left);
  if (isfinite(value)) accept_fused(v);
  return value;
}

/* ---- sweeps -------------------------------------------------------------------------------------------------------------------------- */

/* Newton sweeps of the locals at x, at most `most`, until the predicted gain is below `gain` nats (or `relative` times half the squared
 * gradient norm of the globals, which the profile can afford), or the ELBO has stood still for a while: at a kink, as between fixed draws of
 * a relu, steps go on being promised and rejected. Returns the ELBO at x, whose gradient is left in v->gradient; *settled: the gain that is
 * still predicted. */
static double sweep(Solve *v, int most, double gain, double relative, double *settled)
{
  double value = NAN, best = -INFINITY;
  int since_best = 0;
  pgm_locals_begin(v->locals);
  for (int k = 0;; k++) {
    value = evaluate(v);
    PgmJudged judged = pgm_locals_judge(v->locals, v->x, v->gradient);
    *settled = judged.gain;
    double enough = gain;
    if (relative > 0) {
      double norm2 = 0;
      fill_metric(v->q, v->x, v->pinned, v->q->globals, v->metric);
      for (long e = v->pinned; e < v->q->globals; e++) norm2 += (v->metric[e] > 0 ? v->metric[e] : 1) * v->gradient[e] * v->gradient[e];
      enough = fmax(enough, fmin(relative * 0.5 * norm2, 1e-2));
    }
    if (!judged.rejected && judged.gain <= enough) return value;
    since_best = value > best + fmax(enough, 1e-12 * fabs(value)) ? 0 : since_best + 1;
    best = fmax(best, value);
    if (k >= most || since_best > PATIENCE) {
      if (judged.rejected) {
        pgm_locals_restore(v->locals, v->x);
        value = evaluate(v);
      }
      return value;
    }
    pgm_locals_move(v->locals, v->x);
  }
}

/* ---- coupled tables ------------------------------------------------------------------------------------------------------------------- */

/* Steps of all free tables of discrete variables towards what is best for each while the others stay, halved as long as they lead down. What L-BFGS has
 * driven to far too small a probability has no slope left in its logit, but is found by this. Returns the ELBO, which it was before. */
static double settle_tables(Solve *v, double elbo)
{
  enum { ROUNDS = 30 };
  double share = 1;
  double *kept = v->other; /* of the whole vector; another use of it begins with other values */
  bool any = false;
  for (int i = 0; i < v->q->n; i++) any = any || (v->q->source[i].table && v->q->source[i].kind == PGM_FREE && v->q->source[i].at >= v->pinned);
  if (!any || v->fused) return elbo;
  elbo = evaluate(v);
  for (int round = 0; round < ROUNDS && share > 0.05; round++) {
    double promised = 0;
    for (int i = 0; i < v->q->n; i++) {
      const PgmSource *f = &v->q->source[i];
      const PgmLayout *l = &v->run->s->layout[f->family];
      if (!f->table || f->kind != PGM_FREE || f->at < v->pinned) continue;
      for (long r = 0; r < f->rows; r++) {
        double *logit = v->x + f->at + r * f->uwidth, *was = kept + f->at + r * f->uwidth;
        memcpy(was, logit, (size_t)f->uwidth * sizeof *was);
        promised += pgm_table_optimum(l, l->list ? l->list[r] : r, was, logit);
        for (long k = 0; k < f->uwidth; k++) logit[k] = was[k] + share * (logit[k] - was[k]);
      }
    }
    const double value = evaluate(v);
    const bool up = value > elbo;
    if (!up) {
      for (int i = 0; i < v->q->n; i++) {
        const PgmSource *f = &v->q->source[i];
        if (f->table && f->kind == PGM_FREE && f->at >= v->pinned) memcpy(v->x + f->at, kept + f->at, (size_t)f->size * sizeof *kept);
      }
      elbo = evaluate(v);
      share *= 0.5;
    } else {
      elbo = value;
      share = fmin(1, 2 * share);
    }
    if (promised < 1e-9) break;
  }
  return elbo;
}

/* ---- L-BFGS on everything ------------------------------------------------------------------------------------------------------------ */

static double joint_value(void *data, const double *x, double *gradient)
{
  Solve *v = data;
  memcpy(v->x + v->pinned, x, (size_t)(v->size - v->pinned) * sizeof *x);
  double value = evaluate(v);
  v->evaluations++;
  for (long e = v->pinned; e < v->size; e++) gradient[e - v->pinned] = -v->gradient[e];
  return -value;
}

static void joint_metric(void *data, const double *x, double *h)
{
  Solve *v = data;
  memcpy(v->x + v->pinned, x, (size_t)(v->size - v->pinned) * sizeof *x);
  fill_metric(v->q, v->x, v->pinned, v->size, v->metric);
  memcpy(h, v->metric + v->pinned, (size_t)(v->size - v->pinned) * sizeof *h);
  if (!v->fisher) return;
  pgm_fisher_mark(v->fisher, v->pinned, h);
  if (v->at_iteration++ < (v->fisher_iteration < RARELY ? 3 * v->fisher_iteration / 2 : v->fisher_iteration + RARELY / 2)) return;
  /* damped more where steps turn out too long, as in Levenberg's and Marquardt's method */
  const double tries = (double)(v->evaluations - v->fisher_evaluations) / (double)(v->at_iteration - v->fisher_iteration);
  if (v->fisher_iteration) v->damping = fmin(fmax(v->damping * (tries > 1.5 ? 4 : tries < 1.2 ? 0.25 : 1), LEAST_DAMPING), MOST_DAMPING);
  pgm_fisher_update(v->fisher, v->x, v->damping);
  v->fisher_iteration = v->at_iteration;
  v->fisher_evaluations = v->evaluations;
}

static void joint_apply(void *data, double *d)
{
  const Solve *v = data;
  pgm_fisher_apply(v->fisher, v->pinned, d);
}

static double joint_limit(void *data, const double *x, const double *g, double *d)
{
  const Solve *v = data;
  const double longest = tame(v, x, g, d), length = v->fisher ? pgm_fisher_length(v->fisher, v->pinned, d) : 0;
  return length > 0 ? fmin(longest, LONGEST / length) : longest;
}

static bool joint_accepted(void *data, long iteration, const double *x, double value, double norm)
{
  Solve *v = data;
  (void)iteration;
  memcpy(v->x + v->pinned, x, (size_t)(v->size - v->pinned) * sizeof *x);
  if (v->silent) return true;
  return v->part.units ? run_beat(v->run, norm) : run_tick(v->run, v->q, v->x, -value, norm);
}

typedef struct {
  double tol, share, gain, relative, promise, bound, part; /* as in PgmLbfgsOptions */
  int window, draws;
  long max_iter;
} Limits;

/* history: pairs kept; 0: as many as L-BFGS keeps by itself. */
static PgmLbfgsOptions options_of(const Limits *limits, int history, int threads)
{
  return (PgmLbfgsOptions){.history = history,
                           .max_iter = limits->max_iter,
                           .tol = limits->tol,
                           .share = limits->share,
                           .gain = limits->gain,
                           .relative = limits->relative,
                           .promise = limits->promise,
                           .bound = limits->bound,
                           .part = limits->part,
                           .window = limits->window,
                           .threads = threads};
}

static void conclude(PgmSolution *out, const PgmLbfgsResult *r, const Limits *limits)
{
  const double promised = 0.5 * r->gradient_norm * r->gradient_norm; /* by a Newton step, in nats */
  out->elbo = -r->value;
  out->gradient_norm = r->gradient_norm;
  out->iterations += r->iterations;
  out->converged = true;
  strcpy(out->stopped, "converged");
  switch (r->stop) {
  case PGM_LBFGS_GRADIENT:
    snprintf(out->criterion, sizeof out->criterion, "gradient norm %.1e < %.0e", r->gradient_norm, limits->tol);
    break;
  case PGM_LBFGS_GAIN:
    snprintf(out->criterion, sizeof out->criterion, "ELBO gained %.1e < %.0e in %d iterations", fmax(r->gained, 0), r->enough,
             limits->window); /* a gain of less than rounding can be negative */
    break;
  case PGM_LBFGS_ERROR:
    snprintf(out->criterion, sizeof out->criterion,
             "gradient norm %.1e < %.1e, a twentieth of its sampling error with %d draws; ELBO gained %.1e in %d iterations", r->gradient_norm,
             limits->share * r->error, limits->draws, r->gained, limits->window);
    break;
  case PGM_LBFGS_NO_STEP:
    /* at an optimum only if no more is promised than counts, or than is lost in the sum's last digits */
    out->converged = promised <= fmax(limits->gain, fmax(limits->relative, ROUNDING) * fabs(r->value));
    if (out->converged)
      snprintf(out->criterion, sizeof out->criterion, "gradient norm %.1e promises %.1e nats, and double precision resolves no step's gain", r->gradient_norm, promised);
    else
      snprintf(out->criterion, sizeof out->criterion, "no step improves the ELBO in double precision, gradient norm %.1e", r->gradient_norm);
    if (!out->converged) strcpy(out->stopped, "no-step");
    break;
  case PGM_LBFGS_MAX_ITER:
    snprintf(out->criterion, sizeof out->criterion, "%ld iterations, gradient norm %.1e", r->iterations, r->gradient_norm);
    strcpy(out->stopped, "max-iter");
    out->converged = false;
    break;
  case PGM_LBFGS_STOPPED:
    strcpy(out->criterion, "interrupted");
    strcpy(out->stopped, "signal");
    out->converged = false;
    break;
  case PGM_LBFGS_NAN:
    strcpy(out->criterion, "the ELBO is not finite");
    strcpy(out->stopped, "nan");
    out->converged = false;
    break;
  }
}

static PgmStatus no_memory(PgmError *error)
{
  return pgm_fail(error, PGM_SYSTEM, "out of memory");
}

static PgmStatus joint(Solve *v, const Limits *limits, PgmSolution *out, PgmError *error)
{
  const long n = v->size - v->pinned;
  const int history = n > 1000000 ? 5 : 10;
  double *work = malloc((pgm_lbfgs_size(n, history) + (size_t)n + 1) * sizeof *work);
  if (!work) return no_memory(error);
  double *y = work + pgm_lbfgs_size(n, history);
  memcpy(y, v->x + v->pinned, (size_t)n * sizeof *y);
  v->end = v->size;
  const PgmLbfgsProblem problem = {.value = joint_value,
                                   .metric = joint_metric,
                                   .apply = v->fisher ? joint_apply : NULL,
                                   .limit = joint_limit,
                                   .accepted = joint_accepted,
                                   .error = v->second ? sampling_error : NULL,
                                   .data = v};
  v->at_iteration = v->evaluations = v->fisher_iteration = v->fisher_evaluations = 0;
  v->damping = FIRST_DAMPING;
  const PgmLbfgsOptions options = options_of(limits, history, v->run->s->threads);
  PgmLbfgsResult r = pgm_lbfgs(&problem, &options, n, y, work);
  memcpy(v->x + v->pinned, y, (size_t)n * sizeof *y);
  free(work);
  v->error = r.error;
  conclude(out, &r, limits);
  return PGM_OK;
}

/* ---- the profile --------------------------------------------------------------------------------------------------------------------- */

static double profile_value(void *data, const double *x, double *gradient)
{
  Solve *v = data;
  const long n = v->q->globals - v->pinned;
  double settled, value;
  memcpy(v->x + v->pinned, x, (size_t)n * sizeof *x);
  if (v->fused) {
    value = evaluate_fused(v, &settled);
  } else {
    pgm_locals_load(v->locals, v->accepted, v->x); /* from the accepted locals, so that the value depends on x alone */
    value = sweep(v, SWEEPS_INSIDE, v->inner, 1e-4, &settled);
    pgm_locals_save(v->locals, v->x, v->trial);
  }
  if (settled > fmax(1, 1e-6 * v->norm * v->norm)) v->failures++; /* nats that the locals still have to gain, beside what the globals have */
  for (long e = 0; e < n; e++) gradient[e] = -v->gradient[v->pinned + e];
  return -value;
}

static void profile_metric(void *data, const double *x, double *h)
{
  Solve *v = data;
  memcpy(v->x + v->pinned, x, (size_t)(v->q->globals - v->pinned) * sizeof *x);
  fill_metric(v->q, v->x, v->pinned, v->q->globals, v->metric);
  memcpy(h, v->metric + v->pinned, (size_t)(v->q->globals - v->pinned) * sizeof *h);
}

static double profile_limit(void *data, const double *x, const double *g, double *d)
{
  return tame(data, x, g, d);
}

static bool profile_accepted(void *data, long iteration, const double *x, double value, double norm)
{
  Solve *v = data;
  (void)iteration;
  memcpy(v->x + v->pinned, x, (size_t)(v->q->globals - v->pinned) * sizeof *x);
  accept_fused(v);
  v->norm = norm;
  if (!v->fused)
    pgm_locals_load(v->locals, v->accepted, v->x);
  else if (v->run->options->checkpoint)
    store_accepted(v);
  return run_tick(v->run, v->q, v->x, -value, norm) && v->failures < 5;
}

/* *went: false when it misbehaved and the caller should go on jointly. */
static PgmStatus profile(Solve *v, const Limits *limits, PgmSolution *out, bool *went, PgmError *error)
{
  const long n = v->q->globals - v->pinned;
  *went = true;
  v->inner = 0.5 * limits->tol * limits->tol;
  if (n == 0) { /* nothing but locals */
    double settled = 0, value;
    v->few = pgm_session_nodes(v->run->s, false);
    if (v->fused) {
      v->norm = 0;
      value = evaluate_fused(v, &settled);
      accept_fused(v);
      store_accepted(v);
    } else {
      value = sweep(v, 4 * SWEEPS_INSIDE, v->inner, 0, &settled);
    }
    *went = settled <= fmax(v->inner, 1e-6);
    run_tick(v->run, v->q, v->x, value, sqrt(2 * settled));
    PgmLbfgsResult r = {.stop = v->run->interrupted ? PGM_LBFGS_STOPPED : PGM_LBFGS_GRADIENT,
                        .value = -value,
                        .gradient_norm = sqrt(2 * settled),
                        .iterations = 1};
    conclude(out, &r, limits);
    return PGM_OK;
  }
  double *work = malloc((pgm_lbfgs_size(n, 0) + (size_t)n + 1) * sizeof *work);
  if (!work) return no_memory(error);
  double *y = work + pgm_lbfgs_size(n, 0);
  memcpy(y, v->x + v->pinned, (size_t)n * sizeof *y);
  if (!v->fused) {
    pgm_locals_save(v->locals, v->x, v->accepted);
    memcpy(v->trial, v->accepted, (size_t)pgm_locals_size(v->locals) * sizeof *v->trial);
  }
  v->failures = 0;
  v->end = v->q->globals;
  const PgmLbfgsProblem problem = {.value = profile_value,
                                   .metric = profile_metric,
                                   .limit = profile_limit,
                                   .accepted = profile_accepted,
                                   .error = v->second ? sampling_error : NULL,
                                   .data = v};
  PgmLbfgsOptions options = options_of(limits, 0, 1);
  PgmLbfgsResult r = pgm_lbfgs(&problem, &options, n, y, work);
  if (v->few) { /* what it ended at is near; from here with all nodes */
    v->few = pgm_session_nodes(v->run->s, false);
    v->norm = r.gradient_norm;
    options.stored = r.stored;
    options.newest = r.newest;
    options.max_iter -= r.iterations;
    const long before = r.iterations;
    r = pgm_lbfgs(&problem, &options, n, y, work);
    r.iterations += before;
  }
  memcpy(v->x + v->pinned, y, (size_t)n * sizeof *y);
  free(work);
  if (v->fused)
    store_accepted(v);
  else
    pgm_locals_load(v->locals, v->accepted, v->x);
  v->error = r.error;
  conclude(out, &r, limits);
  *went = v->failures < 5 && r.stop != PGM_LBFGS_NAN && (r.stop != PGM_LBFGS_NO_STEP || r.gradient_norm < 1e-3);
  return PGM_OK;
}

/* ---- multistart ---------------------------------------------------------------------------------------------------------------------- */

/* Gauss & Legendre's rule on [0, 1] (Newton's method on the Legendre polynomials). */
static void legendre(int n, double *x, double *w)
{
  for (int i = 0; i < n; i++) {
    double z = cos(PGM_PI * (i + 0.75) / (n + 0.5)), slope = 1;
    for (int k = 0; k < 50; k++) {
      double p0 = 1, p1 = z;
      for (int j = 2; j <= n; j++) {
        double p2 = ((2 * j - 1) * z * p1 - (j - 1) * p0) / j;
        p0 = p1;
        p1 = p2;
      }
      slope = n * (z * p1 - p0) / (z * z - 1);
      double step = p1 / slope;
      z -= step;
      if (fabs(step) < 1e-15) break;
    }
    x[i] = 0.5 * (1 - z);
    w[i] = 1 / ((1 - z * z) * slope * slope);
  }
}

/* gain[element] = F(b) - F(a) of each element's part of the ELBO: the integral of its gradient along the line from a to b. So an element's
 * part by itself is not needed, whatever terms it stands in. */
static void path_integral(Solve *v, const double *a, const double *b, int panels, double *gain)
{
  double node[PANEL_NODES], weight[PANEL_NODES];
  legendre(PANEL_NODES, node, weight);
  memset(gain, 0, (size_t)pgm_locals_elements(v->locals) * sizeof *gain);
  for (int panel = 0; panel < panels; panel++)
    for (int j = 0; j < PANEL_NODES; j++) {
      pgm_locals_between(v->locals, a, b, (panel + node[j]) / panels, v->x);
      evaluate(v);
      pgm_locals_slope(v->locals, a, b, v->gradient, weight[j] / panels, gain);
    }
}

/* Separable locals from other means, globals fixed: element by element the better optimum is kept. Returns the gain in nats. */
static double multistart(Solve *v, double *elbo, PgmStatus *status, PgmError *error)
{
  static const double shifts[] = {-6, 6, -2.5, 2.5, -1, 1}; /* in spreads of the means over elements */
  const long size = pgm_locals_size(v->locals), elements = pgm_locals_elements(v->locals);
  double settled, gained = 0;
  bool several = false; /* optima */
  const int closest = pgm_objective_samples(v->objective) ? MOST_PANELS : CLOSEST_PANELS; /* kinks defy quadrature */
  double *best = malloc((size_t)(3 * size + 2 * elements + 1) * sizeof *best);
  if (!best) {
    *status = no_memory(error);
    return 0;
  }
  double *candidate = best + size, *before = candidate + size, *coarse = before + size, *fine = coarse + elements;
  pgm_locals_save(v->locals, v->x, best);
  for (size_t k = 0; k < sizeof shifts / sizeof *shifts && !v->run->interrupted; k++) {
    if (k == 2 && !several) break; /* from both ends all came back to where they were */
    pgm_locals_load(v->locals, best, v->x);
    pgm_locals_shift(v->locals, shifts[k], best, v->x);
    sweep(v, 40, 1e-4, 0, &settled);
    pgm_locals_save(v->locals, v->x, candidate);
    if (!run_tick(v->run, v->q, NULL, *elbo, v->norm)) break;
    if (!pgm_locals_differ(v->locals, best, candidate)) continue;
    several = true;
    int panels = 2;
    path_integral(v, best, candidate, panels / 2, coarse);
    path_integral(v, best, candidate, panels, fine);
    while (panels < MOST_PANELS && pgm_locals_undecided(v->locals, best, candidate, coarse, fine) && !v->run->interrupted) {
      double *t = coarse;
      coarse = fine;
      fine = t;
      path_integral(v, best, candidate, panels *= 2, fine);
    }
    memcpy(before, best, (size_t)size * sizeof *best);
    /* the ELBO must gain what its elements are said to gain; where it does not, the chosen ones are looked at more closely */
    for (double sum; pgm_locals_choose(v->locals, best, candidate, coarse, fine, &sum) && !v->run->interrupted;) {
      pgm_locals_load(v->locals, best, v->x);
      double value = evaluate(v);
      if (value > *elbo && (value - *elbo > 0.9 * sum - 0.01 || panels == closest)) {
        gained += value - *elbo;
        *elbo = value;
        break;
      }
      memcpy(candidate, best, (size_t)size * sizeof *best);
      memcpy(best, before, (size_t)size * sizeof *best);
      if (panels == closest) break;
      double *t = coarse;
      coarse = fine;
      fine = t;
      path_integral(v, best, candidate, panels *= 2, fine);
    }
  }
  pgm_locals_load(v->locals, best, v->x);
  free(best);
  return gained;
}

/* ---- Adam ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  Solve *v;
  long lo, units, batch; /* of the axis; batch 0: everything */
  int axis;
  long *order, *chosen, at, epoch; /* a shuffle of the units, and where in it the next batch begins */
  PgmRange *range;
  long ranges;
} Stochastic;

static int ascending(const void *a, const void *b)
{
  const long x = *(const long *)a, y = *(const long *)b;
  return (x > y) - (x < y);
}

static const PgmBatch *next_batch(Stochastic *k, PgmBatch *batch)
{
  if (!k->batch) return NULL;
  if (k->at >= k->units) {
    const PgmKey key = {k->v->run->options->seed, (uint64_t)k->epoch++, 0xBA7C4u};
    for (long i = k->units - 1; i > 0; i--) {
      long j = (long)(pgm_philox_uniform(key, (uint64_t)i) * (double)(i + 1)), t = k->order[i];
      k->order[i] = k->order[j];
      k->order[j] = t;
    }
    k->at = 0;
  }
  const long n = k->units - k->at < k->batch ? k->units - k->at : k->batch;
  memcpy(k->chosen, k->order + k->at, (size_t)n * sizeof *k->chosen);
  qsort(k->chosen, (size_t)n, sizeof *k->chosen, ascending);
  k->at += n;
  *batch = (PgmBatch){k->axis, k->chosen, n, (double)k->units / (double)n};
  return batch;
}

static double stochastic_value(void *data, const double *x, double *gradient, long iteration)
{
  Stochastic *k = data;
  PgmBatch batch;
  return pgm_objective_value(k->v->objective, x, gradient, next_batch(k, &batch), iteration);
}

static void add_range(Stochastic *k, long begin, long end)
{
  if (k->ranges && k->range[k->ranges - 1].end == begin)
    k->range[k->ranges - 1].end = end;
  else if (begin < end)
    k->range[k->ranges++] = (PgmRange){begin, end};
}

static const PgmRange *stochastic_touched(void *data, long *n)
{
  Stochastic *k = data;
  const PgmSources *q = k->v->q;
  const PgmRows *rows = pgm_objective_rows(k->v->objective);
  k->ranges = 0;
  add_range(k, k->v->pinned < q->functions ? k->v->pinned : q->functions, q->functions);
  for (int i = 0; i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    if (!f->local || f->kind != PGM_FREE) continue;
    for (int half = 0; half < 1 + f->scales; half++) {
      const long at = half ? f->sd_at : f->at;
      if (!rows || !rows[i].row) {
        add_range(k, at, at + f->size / (1 + f->scales));
        continue;
      }
      /* those that the batch's terms only refer to as well: without them a row would hear of its other terms too rarely */
      for (long r = 0; r < rows[i].n; r++) add_range(k, at + rows[i].row[r] * f->uwidth, at + (rows[i].row[r] + 1) * f->uwidth);
    }
  }
  *n = k->ranges;
  return k->range;
}

static bool stochastic_accepted(void *data, long iteration, const double *x, double value, double norm)
{
  Stochastic *k = data;
  (void)iteration;
  return run_tick(k->v->run, k->v->q, x, value, norm);
}

/* The axis with the most units among the outermost plates; -1: none. */
static int batch_axis(const PgmSession *s, long *lo, long *units)
{
  int best = -1;
  *units = 0;
  for (int axis = 0; axis < s->model->n_axes; axis++) {
    long a = 0, b = -1;
    for (int p = 0; p < s->model->n_plates; p++) {
      if (s->model->plates[p].axis != axis || s->shape.plate_hi[p] < s->shape.plate_lo[p]) continue;
      if (b < a || s->shape.plate_lo[p] < a) a = s->shape.plate_lo[p];
      if (s->shape.plate_hi[p] > b) b = s->shape.plate_hi[p];
    }
    if (b - a + 1 > *units) {
      best = axis;
      *lo = a;
      *units = b - a + 1;
    }
  }
  return best;
}

/* Many entries that all data inform, as the layers of a network: fixed draws of them would be fitted. */
static bool big_globals(const PgmSession *s)
{
  long entries = 0;
  for (int f = 0; f < s->model->n_families; f++)
    if (s->model->families[f].role == PGM_GLOBAL || s->model->families[f].role == PGM_PARAM)
      entries += s->layout[f].elements * s->layout[f].uwidth;
  return entries > 500;
}

/* Adam's steps: means of wide factors take wide ones; weights of layers, those of functions and of the model, shorter ones the more inputs
 * add up in an output. */
static void step_scales(const PgmSources *q, const double *x, double *scale)
{
  for (long e = 0; e < q->size; e++) scale[e] = 1;
  for (int i = 0; i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    const PgmLayout *l = &q->s->layout[f->family];
    if (f->kind == PGM_FUNCTION) {
      pgm_source_fan_in(f, scale + f->at);
      for (long e = f->at; e < f->at + f->size; e++) scale[e] = fmin(1, 4 / sqrt(scale[e]));
      continue;
    }
    const double fan_in = !f->local && q->s->model->families[f->family].rank == 2 ? (double)l->dim[1] : 1;
    for (long e = 0; e < (f->scales ? f->size / 2 : f->size); e++)
      scale[f->at + e] = fmin(1, 4 / sqrt(fan_in)) * (f->scales ? fmax(1, exp(x[f->sd_at + e])) : 1);
  }
}

static PgmStatus adam(Solve *v, Stochastic *k, bool rough, PgmSolution *out, PgmError *error)
{
  const PgmFitOptions *o = v->run->options;
  PgmSources *q = v->q;
  bool by_visits = false; /* factors of units move when a batch has their unit, once an epoch */
  for (int i = 0; i < q->n; i++) by_visits = by_visits || (k->batch && q->source[i].local && q->source[i].kind == PGM_FREE);
  const bool sparse = by_visits || v->pinned > 0; /* some coordinates do not move in every iteration, or not at all */
  const size_t bytes = (pgm_adam_size(q->size, sparse) + (size_t)(3 * q->size) + 1) * sizeof(double);
  double *work = malloc(bytes);
  long rows = 0;
  for (int i = 0; i < q->n; i++) rows += q->source[i].rows;
  k->range = malloc((size_t)(2 * rows + 2 * q->n + 2) * sizeof *k->range);
  if (!work || !k->range) {
    free(work);
    return no_memory(error);
  }
  pgm_large_pages(work, bytes);
  double *average = work + pgm_adam_size(q->size, sparse), *last = average + q->size, *scale = last + q->size;
  step_scales(q, v->x, scale);
  const long epoch = k->batch ? (k->units + k->batch - 1) / k->batch : 1;
  const PgmAdamProblem problem = {stochastic_value, sparse ? stochastic_touched : NULL, stochastic_accepted, k};
  /* weights of networks want small steps, free factors larger ones; a window has at least 100 iterations and 4 epochs, and as many
   * moves of each factor as show against the noise */
  const long window = epoch > 25 ? 4 : (100 + epoch - 1) / epoch;
  const bool network = big_globals(v->run->s) || q->functions > q->globals;
  const PgmAdamOptions options = {.step = o->step > 0 ? o->step
                                          : network   ? 0.003
                                                      : 0.03,
                                  .scale = scale,
                                  .gain = o->tol > 0 ? o->tol : 1e-4,
                                  .max_iter = o->max_iter > 0 ? o->max_iter : 50000,
                                  .group = epoch,
                                  .window = by_visits && window < 25 ? 25 : window,
                                  .stages = rough ? 2 : 4,
                                  .threads = v->run->s->threads};
  PgmAdamResult r = pgm_adam(&problem, &options, q->size, v->x, average, work);
  /* the average of the last stage or its last iterate: the better one on the same fresh draws of all data */
  memcpy(last, v->x, (size_t)q->size * sizeof *last);
  double at_last = pgm_objective_value(v->objective, last, NULL, NULL, options.max_iter + 1);
  double at_average = pgm_objective_value(v->objective, average, NULL, NULL, options.max_iter + 1);
  const bool averaged = at_average >= at_last || !isfinite(at_last);
  memcpy(v->x, averaged ? average : last, (size_t)q->size * sizeof *last);
  out->elbo = averaged ? at_average : at_last;
  out->iterations += r.iterations;
  out->gradient_norm = r.gradient_norm;
  out->converged = r.stop == PGM_ADAM_CONVERGED;
  strcpy(out->stopped, r.stop == PGM_ADAM_CONVERGED  ? "converged"
                       : r.stop == PGM_ADAM_MAX_ITER ? "max-iter"
                       : r.stop == PGM_ADAM_STOPPED  ? "signal"
                                                     : "nan");
  switch (r.stop) {
  case PGM_ADAM_CONVERGED:
    snprintf(out->criterion, sizeof out->criterion, "averages of %ld ELBO estimates no longer improve, at %d step sizes down to %.1e",
             options.window * epoch, options.stages, options.step * pow(0.3, options.stages - 1));
    break;
  case PGM_ADAM_MAX_ITER:
    snprintf(out->criterion, sizeof out->criterion, "%ld iterations", r.iterations);
    break;
  case PGM_ADAM_STOPPED:
    strcpy(out->criterion, "interrupted");
    break;
  case PGM_ADAM_NAN:
    strcpy(out->criterion, "the ELBO is not finite");
    break;
  }
  free(work);
  free(k->range);
  k->range = NULL;
  return PGM_OK;
}

/* ---- the order of work --------------------------------------------------------------------------------------------------------------- */

bool pgm_solve_stochastic(const PgmSession *s, const PgmFitOptions *o)
{
  if (o->optimizer == PGM_OPT_ADAM || o->batch > 0 || o->expectation == PGM_EXP_MONTE_CARLO) return true;
  if (o->optimizer != PGM_OPT_DEFAULT || o->expectation == PGM_EXP_FIXED_DRAWS || !pgm_needs_draws(s->model)) return false;
  return big_globals(s);
}

static PgmStatus not_finite(Solve *v, PgmError *error)
{
  char text[800];
  const bool points = v->run->options->expectation >= PGM_EXP_FIXED_DRAWS;
  if (v->fused) pgm_sources_forward(v->q, v->x, NULL); /* local factors were in blocks only */
  if (v->q->eliminates) pgm_engine_restore(v->run->s);
  if (pgm_find_nan(v->run->s, !points, text, sizeof text)) return pgm_fail(error, PGM_BAD_INPUT, "the log density is not finite: %s", text);
  return pgm_fail(error, PGM_BAD_INPUT, "the ELBO is not finite at the starting point");
}

/* Log sds from the curvature, in two rounds; at points where the density is not finite the sds shrink first. */
static PgmStatus cold_scales(Solve *v, double *elbo, PgmError *error)
{
  const long end = v->fused ? v->q->globals : v->size;
  double value = look(v);
  while (!isfinite(value) && pgm_sources_exclude(v->q)) value = look(v);
  for (int k = 0; k < 6 && !isfinite(value); k++) {
    for (int i = 0; i < v->q->n; i++) {
      const PgmSource *f = &v->q->source[i];
      if (f->kind == PGM_FUNCTION || !f->scales || f->at < v->pinned) continue;
      for (long e = f->sd_at; e < f->sd_at + f->size / 2; e++) v->x[e] -= 1;
    }
    if (v->fused) load_accepted(v);
    value = look(v);
  }
  if (!isfinite(value)) return not_finite(v, error);
  double *before = malloc((size_t)(v->size + 1) * sizeof *before);
  if (!before) return no_memory(error);
  for (int round = 0; round < 2; round++) {
    memcpy(before, v->x, (size_t)end * sizeof *before);
    pgm_scales_from_curvature(v->q, end, v->x, v->gradient);
    memcpy(v->x, before, (size_t)v->pinned * sizeof *before);
    double after = look(v);
    if (isfinite(after) && after > value) {
      value = after;
      continue;
    }
    memcpy(v->x, before, (size_t)end * sizeof *before);
    value = look(v);
    break;
  }
  free(before);
  *elbo = value;
  return PGM_OK;
}

/* Has every local latent variable one optimum given the globals? */
static bool unimodal(const PgmSources *q)
{
  for (int i = 0; i < q->n; i++)
    if (q->source[i].local && !q->s->model->families[q->source[i].family].concave) return false;
  return true;
}

static bool has_functions(const PgmSources *q)
{
  bool any = false;
  for (int i = 0; i < q->n; i++) any = any || q->source[i].kind == PGM_FUNCTION;
  return any;
}

/* What a solve has before it: scales and sweeps from a cold start, and at the end other starts for the locals. `rough`: only to get near; `to_rest`:
 * as long as that helps. */
typedef struct {
  bool cold, search, rough, globals_first, to_rest;
} Way;

/* Are there quadratures, in a problem that leads to the same optimum with few nodes? */
static bool few_nodes_lead(const Solve *v)
{
  const PgmModel *m = v->run->s->model;
  bool any = false;
  for (int t = 0; t < m->n_terms; t++) any = any || m->terms[t].method == PGM_QUADRATURE;
  return any && v->fused && unimodal(v->q);
}

static PgmStatus deterministic(Solve *v, Way way, PgmSolution *out, PgmError *error)
{
  const PgmFitOptions *o = v->run->options;
  bool wide = false; /* weights of functions: a long way down a flat valley */
  for (int i = 0; i < v->q->n; i++) wide = wide || (v->q->source[i].kind == PGM_FUNCTION && v->q->source[i].at >= v->pinned);
  Limits limits = {.tol = o->tol > 0 ? o->tol
                          : way.rough ? 1e-3
                                      : 1e-6,
                   .share = SHARE,
                   .draws = pgm_objective_draws(v->objective),
                   .max_iter = (o->max_iter > 0 ? o->max_iter
                                : wide          ? 3000
                                                : 2000) -
                               out->iterations,
                   .window = wide && !v->fisher ? 50 : way.to_rest ? 10 : 20};
  const long trial = !v->fisher ? TRIAL : v->part.units ? TRIAL_PART : TRIAL_FISHER;
  if (way.rough && wide && !way.to_rest && limits.max_iter > trial) limits.max_iter = trial;
  PgmStatus st = PGM_OK;
  double elbo, settled = 0;
  v->norm = INFINITY;
  v->few = pgm_session_nodes(v->run->s, few_nodes_lead(v));
  if (v->fused) load_accepted(v);
  if (way.cold)
    st = cold_scales(v, &elbo, error);
  else
    elbo = look(v);
  if (st) return st;
  if (!isfinite(elbo)) return not_finite(v, error);
  /* what further work could gain that anyone would see: a part of the ELBO, or of a nat */
  limits.gain = way.rough ? 1e-1 : o->tol > 0 ? o->tol : wide ? 1e-2 : 1e-7;
  limits.relative = way.rough ? 1e-5 : o->tol > 0 ? 0 : v->fisher ? 5e-7 : wide ? 1e-6 : 1e-12;
  limits.promise = wide ? 0 : way.rough ? 1e-5 : 1e-6;
  if (wide && !way.rough && !(o->tol > 0) && isfinite(v->run->free_elbo)) { /* functions that lack an input are far from F-VI, and learn noise by heart for ever */
    limits.bound = -v->run->free_elbo;
    limits.part = HOPELESS;
  }
  if (way.globals_first && v->pinned < v->q->globals && !v->fused) {
    const Limits near_ = {.tol = 1e-2, .gain = 1e-1, .window = 20, .max_iter = 100};
    const long all = v->size;
    PgmFisher *const functions = v->fisher; /* a metric of what is left out here */
    PgmSolution first = {0};
    v->size = v->q->globals;
    v->fisher = NULL;
    st = joint(v, &near_, &first, error);
    v->fisher = functions;
    v->size = all;
    if (st) return st;
    elbo = evaluate(v);
    if (!isfinite(elbo)) return not_finite(v, error);
  }
  if (v->locals && way.cold) elbo = sweep(v, SWEEPS_COLD, 1e-3, 0, &settled);
  /* averages over draws may have kinks, which sweeps inside an evaluation do not get over */
  const bool smooth = !pgm_objective_samples(v->objective) || o->optimizer == PGM_OPT_PROFILE;
  const bool can_profile = v->fused || (v->locals && pgm_locals_complete(v->locals) && o->optimizer != PGM_OPT_LBFGS && smooth);
  double searched = -INFINITY; /* nats that the last search for other modes gained */
  for (int round = 0;; round++) {
    bool went = false;
    if (can_profile) {
      st = profile(v, &limits, out, &went, error);
      if (st) return st;
    }
    if (!went && way.cold && !round) elbo = settle_tables(v, elbo);
    for (int again = 0; again < 5 && !went && !v->run->interrupted; again++) {
      st = joint(v, &limits, out, error);
      if (st || !out->converged) break;
      const double before = out->elbo;
      out->elbo = settle_tables(v, before);
      if (out->elbo - before <= fmax(limits.gain, limits.relative * fabs(before))) break;
    }
    if (st) return st;
    if (!strcmp(out->stopped, "nan")) return not_finite(v, error);
    /* globals that follow the locals may call for other modes; where that is little, and a search long, it is not worth another */
    const bool again = v->size <= QUICK_SEARCH || out->elbo - elbo > WORTH * searched;
    elbo = out->elbo;
    /* functions learn better from the factors of one start: those of the best modes jump from element to element */
    if (!way.search || o->one_start || v->run->interrupted || round == MULTISTART_ROUNDS || !again || !out->converged || unimodal(v->q))
      break;
    v->norm = out->gradient_norm;
    double gained = -1;
    if (v->fused) load_accepted(v); /* where L-BFGS on everything was last */
    if (v->fused && (st = pgm_fused_restart(v->fused, v->x, v->accepted, &gained, error))) return st;
    if (gained >= 0) {
      store_accepted(v);
      elbo += gained;
      if (!run_tick(v->run, v->q, v->x, elbo, v->norm)) break;
    } else {
      if (!v->locals && (st = pgm_locals_open(&v->locals, v->q, error))) return st;
      if (!v->locals) break;
      gained = multistart(v, &elbo, &st, error);
      if (st) return st;
      if (v->fused) load_accepted(v);
    }
    v->norm = 1;
    out->elbo = elbo;
    searched = gained;
    if (gained < fmax(limits.gain, limits.relative * fabs(elbo)) || gained < 1e-6) break;
  }
  if (v->run->interrupted && strcmp(out->stopped, "signal")) {
    strcpy(out->stopped, "signal");
    strcpy(out->criterion, "interrupted");
    out->converged = false;
  }
  return PGM_OK;
}

/* A deterministic objective whose terms are averaged over fixed draws: from a cold start with few draws first, fourfold from stage to stage. Most
 * of the way is gone in the first, and the last has only to move by what the draws before it were off. No more draws than cost something: (error of
 * the gradient)^2 / 2 is what the optimum of the sampled objective is expected to lack at the true one. */
static PgmStatus staged(Solve *v, PgmObjectiveOptions options, Way way, PgmSolution *out, PgmError *error)
{
  const PgmFitOptions *o = v->run->options;
  int last = pgm_objective_draws(v->objective), draws = last;
  if (!pgm_objective_samples(v->objective)) return deterministic(v, way, out, error);
  if (way.rough && last / 4 >= LEAST_DRAWS) draws = last /= 4;
  while (way.cold && draws / 4 >= LEAST_DRAWS) draws /= 4;
  for (Way stage = way;; draws = 4 * draws < last ? 4 * draws : last) {
    PgmStatus st = PGM_OK;
    options.draws = draws;
    v->at_known = false;
    if (pgm_objective_draws(v->objective) != draws) {
      pgm_objective_close(v->objective);
      st = pgm_objective_open(&v->objective, v->run->s, v->q, &options, error);
    }
    pgm_objective_close(v->second);
    v->second = NULL;
    options.set = 1;
    if (!st && !(o->tol > 0)) st = pgm_objective_open(&v->second, v->run->s, v->q, &options, error);
    options.set = 0;
    stage.rough = way.rough || draws < last;
    stage.search = way.search && draws == last;
    if (!st) st = deterministic(v, stage, out, error);
    if (st || draws == last || v->run->interrupted || !out->converged) return st;
    if (v->second && 0.5 * v->error * v->error < INVISIBLE) last = draws;
    stage.cold = stage.globals_first = false;
  }
}

/* ---- parts of the units -------------------------------------------------------------------------------------------------------------- */

/* Weights of functions are the same for all units, so few units say most of what there is to know of them: the way is gone on a part of the units, then on a
 * larger one, and the end on all (Byrd, Chin, Nocedal & Wu 2012, "Sample size selection in optimization methods for machine learning"). */
typedef struct {
  int axis;
  long lo, units, n; /* of the axis; how many of them first, 0: all */
  long *unit;
} Parts;

static PgmStatus open_parts(Parts *p, const Solve *v, int axis, long lo, long units, PgmError *error)
{
  long n = LEAST_PART;
  *p = (Parts){.axis = axis, .lo = lo, .units = units};
  if (!pgm_objective_divides(v->objective)) return PGM_OK;
  for (int i = 0; i < v->q->n; i++) {
    const PgmSource *f = &v->q->source[i];
    if (f->kind == PGM_FUNCTION && 3 * f->size / 2 > n) n = 3 * f->size / 2; /* lest the part be learned by heart */
  }
  if (units / GROWTH < n) return PGM_OK;
  p->n = n;
  p->unit = malloc((size_t)units * sizeof *p->unit);
  return p->unit ? PGM_OK : no_memory(error);
}

/* From now on n of the units, one of each stretch of the axis, since neighbours may be alike; 0: all. */
static void take_part(Solve *v, Parts *p, long n)
{
  const PgmKey key = {v->run->options->seed, (uint64_t)n, 0x9A27u};
  v->at_known = false;
  v->part = (PgmBatch){.axis = -1};
  if (!n) return;
  for (long k = 0; k < n; k++) {
    const long from = k * p->units / n, to = (k + 1) * p->units / n;
    p->unit[k] = p->lo + from + (long)(pgm_philox_uniform(key, (uint64_t)k) * (double)(to - from));
  }
  v->part = (PgmBatch){p->axis, p->unit, n, (double)p->units / (double)n};
}

/* `rough`: on the first part, which is all. Otherwise, what has been there, on the larger ones, before it goes on to all units. Returns whether this was
 * all. Where the ELBO is not finite, all units say why. */
static bool on_parts(Solve *v, Parts *p, Way way, PgmSolution *out)
{
  const Way part = {.cold = way.cold, .rough = true, .globals_first = way.globals_first, .to_rest = !way.rough};
  PgmError quiet;
  bool ok = p->n > 0;
  for (long n = way.rough ? p->n : GROWTH * p->n; ok && 2 * n <= p->units && !v->run->interrupted; n = way.rough ? p->units : GROWTH * n) {
    take_part(v, p, n);
    ok = deterministic(v, part, out, &quiet) == PGM_OK;
  }
  take_part(v, p, 0);
  return ok && way.rough;
}

PgmStatus pgm_solve_taught(PgmRun *run, PgmSources *q, const double *mean, const double *sd, double *x, PgmError *error)
{
  long lo = 0, units = 0;
  const PgmObjectiveOptions options = {.axis = batch_axis(run->s, &lo, &units), .teacher_mean = mean, .teacher_sd = sd};
  Parts parts = {0};
  const Limits limits = {.tol = 1e-3, .gain = 1e-2, .relative = 1e-3, .window = 10, .max_iter = TRIAL}; /* only a start */
  Solve v = {.run = run, .q = q, .pinned = q->globals, .size = q->size, .x = x};
  PgmSolution out = {0};
  PgmStatus st = pgm_objective_open(&v.objective, run->s, q, &options, error);
  if (!st) st = open_parts(&parts, &v, options.axis, lo, units, error);
  if (!st) st = pgm_fisher_open(&v.fisher, q, error);
  double *memory = malloc((size_t)(2 * q->size + 1) * sizeof *memory);
  if (!st && !memory) st = no_memory(error);
  if (!st) {
    v.gradient = memory;
    v.metric = memory + q->size;
    v.silent = true;
    take_part(&v, &parts, parts.n);
    st = joint(&v, &limits, &out, error);
  }
  free(memory);
  free(parts.unit);
  pgm_fisher_close(v.fisher);
  pgm_objective_close(v.objective);
  return st;
}

PgmStatus pgm_solve(PgmRun *run, PgmSources *q, long pinned, PgmStart start, bool rough, double *x, PgmSolution *out, PgmError *error)
{
  const PgmFitOptions *o = run->options;
  const bool stochastic = pgm_solve_stochastic(run->s, o);
  Solve v = {.run = run, .q = q, .pinned = pinned, .size = q->size, .x = x};
  Stochastic k = {.v = &v, .axis = -1};
  Parts parts = {0};
  *out = (PgmSolution){.gradient_norm = NAN};
  PgmStatus st = PGM_OK;
  if (o->batch > 0) {
    k.axis = batch_axis(run->s, &k.lo, &k.units);
    k.batch = k.axis >= 0 && o->batch < k.units ? o->batch : 0;
    if (!k.batch) k.axis = -1;
  } else if (!stochastic && has_functions(q)) {
    k.axis = batch_axis(run->s, &k.lo, &k.units);
  }
  const int draws = o->samples > 0 || k.batch || !stochastic ? o->samples : 8;
  const PgmObjectiveOptions options = {.draws = draws,
                                       .fresh = stochastic && o->expectation != PGM_EXP_FIXED_DRAWS,
                                       .all_points = o->expectation == PGM_EXP_FIXED_DRAWS || o->expectation == PGM_EXP_MONTE_CARLO,
                                       .seed = o->seed,
                                       .axis = k.axis};
  st = pgm_objective_open(&v.objective, run->s, q, &options, error);
  if (!st && !stochastic && !pgm_objective_samples(v.objective) && o->optimizer != PGM_OPT_LBFGS) st = pgm_fused_open(&v.fused, q, x, error);
  if (!st && !v.fused) st = pgm_locals_open(&v.locals, q, error);
  if (!st && !stochastic) st = pgm_fisher_open(&v.fisher, q, error);
  if (!st && !stochastic) st = open_parts(&parts, &v, k.axis, k.lo, k.units, error);
  const long copies = 2 * copies_size(&v);
  const long known = q->size <= LONGEST_KNOWN ? q->size : 0;
  double *memory = malloc((size_t)(3 * q->size + copies + known + 1) * sizeof *memory);
  if (!st && !memory) st = no_memory(error);
  if (!st) {
    v.gradient = memory;
    v.metric = v.gradient + q->size;
    v.other = v.metric + q->size;
    v.accepted = v.other + q->size;
    v.trial = v.accepted + copies / 2;
    if (known) v.known = v.trial + copies / 2;
  }
  if (!st && k.batch) {
    k.order = malloc((size_t)(2 * k.units) * sizeof *k.order);
    if (!k.order)
      st = no_memory(error);
    else {
      k.chosen = k.order + k.units;
      for (long i = 0; i < k.units; i++) k.order[i] = k.lo + i;
      k.at = k.units;
    }
  }
  if (!st) {
    if (stochastic) {
      double elbo;
      if (start == PGM_START_COLD && !pgm_objective_samples(v.objective)) st = cold_scales(&v, &elbo, error); /* noise says nothing of curvature */
      if (!st) st = adam(&v, &k, rough, out, error);
      if (!st && !strcmp(out->stopped, "nan")) st = not_finite(&v, error);
    } else {
      const bool first = start == PGM_START_TABLES, cold = start == PGM_START_COLD || first;
      const bool warm = start == PGM_START_WARM || start == PGM_START_TRIED;
      const Way way = {cold, !rough && (!warm || pinned > 0), rough, first, false};
      if (start == PGM_START_WARM || !on_parts(&v, &parts, way, out)) st = staged(&v, options, way, out, error);
    }
  }
  pgm_session_nodes(run->s, false);
  if (!st) pgm_sources_forward(q, x, NULL);
  free(memory);
  free(parts.unit);
  free(k.order);
  pgm_fisher_close(v.fisher);
  pgm_fused_close(v.fused);
  pgm_locals_close(v.locals);
  pgm_objective_close(v.objective);
  pgm_objective_close(v.second);
  return st;
}
