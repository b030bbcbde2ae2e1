/* Checks the kernels of one compiled model against each other. In: a model's library, its name in MODEL, data files. Out: a line per fault, status 1
 * when there is one.
 *
 *   cc -DMODEL=saw kernels.c libsaw.a ... -o saw;  ./saw kernels data.json [seed];  ./saw fit data.json    (any other command: the model's own)
 *
 * At a random q (means m, sds s) on the unconstrained scale, with f the log joint and E f its expectation under q:
 *   - the kernels of the plates add up to the values of their terms, at the point and in expectation;
 *   - gradients of the `point`, `expected` and `rest` kernels are central differences (extrapolated once) of their values;
 *   - E f at s = 0 is f at m, term by term and element by element;
 *   - E f is the mean of f over draws from q, term by term, within six standard errors;
 *   - one thread and two give the same bits; minibatches that cover an axis add up to the whole;
 *   - the ELBO by draws of everything, made inside blocks of units where that is possible, is that of a minibatch of everything, which goes draw after
 *     draw over all units: the same numbers, and the same gradient; with one thread and two the same bits (./saw draws data.json: this alone).
 * ./bnn single data.json, of a model compiled with --real float: the `single` kernels are the `rest` kernels within 1e-5 of the value and of each family's
 * gradient, on all data and on half of them; they are not the same (or nothing was tested); with one thread and three the same bits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fit.h"
#include "objective.h"
#include "pgmrt.h"
#include "session.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
const PgmModel *JOIN(MODEL, _model)(void);

#ifndef DRAWS
#define DRAWS 20000 /* long_draws.sh: a million */
#endif
static int faults;
static const PgmBatch whole = {.axis = -1, .weight = 1};

static void fault(const char *what, const char *where, double got, double wanted)
{
  if (++faults <= 20) printf("%s: %s: %.17g, not %.17g\n", what, where, got, wanted);
}

static void *allocate(long n, size_t size)
{
  void *p = calloc((size_t)n + 1, size);
  if (!p) exit(3);
  return p;
}

static bool near(double a, double b, double tolerance, double size) { return fabs(a - b) <= tolerance * fmax(1, size); }

static bool in_q(const PgmSession *s, int f) { return pgm_is_latent(&s->model->families[f]); }

static void clear_bars(PgmSession *s)
{
  for (int f = 0; f < s->model->n_families; f++) {
    PgmLayout *l = &s->layout[f];
    if (!in_q(s, f)) continue;
    memset(l->value_bar, 0, (size_t)(l->elements * l->width) * sizeof(double));
    memset(l->mean_bar, 0, (size_t)(l->elements * l->uwidth) * sizeof(double));
    if (l->sd_bar) memset(l->sd_bar, 0, (size_t)(l->elements * l->uwidth) * sizeof(double));
  }
}

static double run(PgmSession *s, PgmKernelKind kind, const PgmBatch *batch)
{
  clear_bars(s);
  return pgm_engine_run(s, kind, batch);
}

static void values_at_means(PgmSession *s)
{
  for (int f = 0; f < s->model->n_families; f++)
    if (in_q(s, f)) pgm_constrain(s, f, s->layout[f].mean, s->layout[f].value);
}

static void random_q(PgmSession *s, PgmRng *rng)
{
  for (int f = 0; f < s->model->n_families; f++) {
    PgmLayout *l = &s->layout[f];
    if (!in_q(s, f)) continue;
    for (long i = 0; i < l->elements * l->uwidth; i++) {
      l->mean[i] = 0.6 * pgm_rng_normal(rng);
      double sd = exp(0.4 * pgm_rng_normal(rng) - 1.2);
      if (s->model->families[f].role != PGM_PARAM) l->sd[i] = sd;
    }
  }
  values_at_means(s);
}

static double term_total(PgmSession *s, int t, bool expected, double *absolute)
{
  long n = pgm_term_size(s, t);
  double *value = allocate(n, sizeof *value), sum = 0;
  pgm_term_each(s, t, expected, value);
  for (long i = 0; i < n; i++) sum += value[i], *absolute += fabs(value[i]);
  free(value);
  return sum;
}

static void check_sums(PgmSession *s)
{
  double size = 0, terms = 0, kernels = run(s, PGM_KERNEL_POINT, &whole) + s->constant;
  for (int t = 0; t < s->model->n_terms; t++) terms += term_total(s, t, false, &size);
  if (!near(kernels, terms, 1e-11, size)) fault("log joint", "kernels and terms", kernels, terms);
  if (!isfinite(kernels)) fault("log joint", "not finite", kernels, terms);
  size = terms = 0;
  kernels = run(s, PGM_KERNEL_EXPECTED, &whole) + run(s, PGM_KERNEL_REST, &whole) + s->constant;
  for (int t = 0; t < s->model->n_terms; t++) terms += term_total(s, t, true, &size);
  if (!near(kernels, terms, 1e-11, size)) fault("expected log joint", "kernels and terms", kernels, terms);
}

/* ---- gradients ------------------------------------------------------------------------------------------------------------------------------- */

static double difference(PgmSession *s, PgmKernelKind kind, int f, double *x, double scale)
{
  double keep = *x, d[2];
  for (int i = 0; i < 2; i++) {
    double h = scale * (i ? 1e-3 : 2e-3);
    *x = keep + h;
    if (f >= 0) pgm_constrain(s, f, s->layout[f].mean, s->layout[f].value);
    double up = pgm_engine_run(s, kind, &whole);
    *x = keep - h;
    if (f >= 0) pgm_constrain(s, f, s->layout[f].mean, s->layout[f].value);
    d[i] = (up - pgm_engine_run(s, kind, &whole)) / (2 * h);
  }
  *x = keep;
  if (f >= 0) pgm_constrain(s, f, s->layout[f].mean, s->layout[f].value);
  return (4 * d[1] - d[0]) / 3;
}

static void compare_gradient(const PgmSession *s, const char *what, int f, long i, double gradient, double wanted)
{
  char name[256];
  if (near(gradient, wanted, 1e-6, fmax(fabs(gradient), fabs(wanted)))) return;
  pgm_element_name(s, f, i / s->layout[f].uwidth, s->layout[f].uwidth > 1 ? i % s->layout[f].uwidth : -1, name, sizeof name);
  fault(what, name, gradient, wanted);
}

/* Gradient with respect to values, through the transforms. */
static void check_point_gradient(PgmSession *s, PgmKernelKind kind, const char *what)
{
  run(s, kind, &whole);
  double **gradient = allocate(s->model->n_families, sizeof *gradient);
  for (int f = 0; f < s->model->n_families; f++) {
    PgmLayout *l = &s->layout[f];
    if (!in_q(s, f)) continue;
    gradient[f] = allocate(l->elements * l->uwidth, sizeof(double));
    pgm_constrain_vjp(s, f, l->mean, l->value, l->value_bar, 0, gradient[f]);
  }
  for (int f = 0; f < s->model->n_families; f++) {
    for (long i = 0; in_q(s, f) && i < s->layout[f].elements * s->layout[f].uwidth; i++) {
      if (s->layout[f].piece && !s->layout[f].piece[i / s->layout[f].uwidth]) continue;
      compare_gradient(s, what, f, i, gradient[f][i], difference(s, kind, f, &s->layout[f].mean[i], 1));
    }
    free(gradient[f]);
  }
  free(gradient);
}

static double *copy(const double *from, long n)
{
  double *to = allocate(n, sizeof *to);
  if (from) memcpy(to, from, (size_t)n * sizeof *to);
  return to;
}

static void check_expected_gradient(PgmSession *s)
{
  double **mean_bar = allocate(s->model->n_families, sizeof *mean_bar), **sd_bar = allocate(s->model->n_families, sizeof *sd_bar);
  run(s, PGM_KERNEL_EXPECTED, &whole);
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    if (!in_q(s, f)) continue;
    mean_bar[f] = copy(l->mean_bar, l->elements * l->uwidth);
    sd_bar[f] = copy(l->sd_bar, l->elements * l->uwidth);
  }
  for (int f = 0; f < s->model->n_families; f++) {
    PgmLayout *l = &s->layout[f];
    for (long i = 0; in_q(s, f) && i < l->elements * l->uwidth; i++) {
      if (l->piece && !l->piece[i / l->uwidth]) continue;
      compare_gradient(s, "gradient by mean", f, i, mean_bar[f][i], difference(s, PGM_KERNEL_EXPECTED, -1, &l->mean[i], 1));
      if (s->model->families[f].role == PGM_PARAM) continue;
      compare_gradient(s, "gradient by sd", f, i, sd_bar[f][i], difference(s, PGM_KERNEL_EXPECTED, -1, &l->sd[i], fmin(1, 10 * l->sd[i])));
    }
    free(mean_bar[f]);
    free(sd_bar[f]);
  }
  free(mean_bar);
  free(sd_bar);
}

/* ---- expectations ------------------------------------------------------------------------------------------------------------------------------ */

static void element_text(const PgmTerm *term, long i, char *text, size_t size)
{
  snprintf(text, size, "%s (line %d), element %ld", term->text, term->line, i);
}

static void check_degenerate(PgmSession *s)
{
  double **kept = allocate(s->model->n_families, sizeof *kept);
  char text[512];
  for (int f = 0; f < s->model->n_families; f++) {
    PgmLayout *l = &s->layout[f];
    if (!in_q(s, f) || s->model->families[f].role == PGM_PARAM) continue;
    kept[f] = allocate(l->elements * l->uwidth, sizeof(double));
    memcpy(kept[f], l->sd, (size_t)(l->elements * l->uwidth) * sizeof(double));
    for (long i = 0; i < l->elements * l->uwidth; i++) l->sd[i] = 1e-12;
  }
  for (int t = 0; t < s->model->n_terms; t++) {
    const PgmTerm *term = &s->model->terms[t];
    if (!term->expected_each) continue;
    long n = pgm_term_size(s, t);
    double *expected = allocate(n, sizeof *expected), *point = allocate(n, sizeof *point);
    pgm_term_each(s, t, true, expected);
    pgm_term_each(s, t, false, point);
    for (long i = 0; i < n; i++) {
      if (near(expected[i], point[i], 1e-8, fabs(point[i]))) continue;
      element_text(term, i, text, sizeof text);
      fault("expectation without spread", text, expected[i], point[i]);
    }
    free(expected);
    free(point);
  }
  for (int f = 0; f < s->model->n_families; f++) {
    if (kept[f]) memcpy(s->layout[f].sd, kept[f], (size_t)(s->layout[f].elements * s->layout[f].uwidth) * sizeof(double));
    free(kept[f]);
  }
  free(kept);
}

static void check_monte_carlo(PgmSession *s, PgmRng *rng)
{
  int n_terms = s->model->n_terms;
  double **sum = allocate(n_terms, sizeof *sum), **squares = allocate(n_terms, sizeof *squares), **center = allocate(n_terms, sizeof *center);
  long longest = 0;
  char text[512];
  for (int t = 0; t < n_terms; t++) {
    long n = pgm_term_size(s, t);
    sum[t] = allocate(n, sizeof(double));
    squares[t] = allocate(n, sizeof(double));
    center[t] = allocate(n, sizeof(double));
    pgm_term_each(s, t, true, center[t]);
    if (n > longest) longest = n;
  }
  double *value = allocate(longest, sizeof *value), *u;
  for (int d = 0; d < DRAWS; d++) {
    for (int f = 0; f < s->model->n_families; f++) {
      PgmLayout *l = &s->layout[f];
      if (!in_q(s, f)) continue;
      long n = l->elements * l->uwidth;
      u = allocate(n, sizeof *u);
      for (long i = 0; i < n; i++) u[i] = l->mean[i] + (s->model->families[f].role == PGM_PARAM ? 0 : l->sd[i] * pgm_rng_normal(rng));
      pgm_constrain(s, f, u, l->value);
      free(u);
    }
    for (int t = 0; t < n_terms; t++) {
      if (!s->model->terms[t].expected_each) continue;
      long n = pgm_term_size(s, t);
      pgm_term_each(s, t, false, value);
      for (long i = 0; i < n; i++) {
        double x = value[i] - center[t][i];
        sum[t][i] += x;
        squares[t][i] += x * x;
      }
    }
  }
  for (int t = 0; t < n_terms; t++) {
    for (long i = 0; s->model->terms[t].expected_each && i < pgm_term_size(s, t); i++) {
      double mean = sum[t][i] / DRAWS, sd = sqrt(fmax(0, squares[t][i] / DRAWS - mean * mean));
      if (fabs(mean) <= 6 * sd / sqrt(DRAWS) + 1e-9 * fmax(1, fabs(center[t][i]))) continue;
      element_text(&s->model->terms[t], i, text, sizeof text);
      fault("expectation and mean over draws", text, center[t][i], center[t][i] + mean);
    }
    free(sum[t]);
    free(squares[t]);
    free(center[t]);
  }
  free(sum);
  free(squares);
  free(center);
  free(value);
  values_at_means(s);
}

/* ---- threads and batches ----------------------------------------------------------------------------------------------------------------------------- */

static void check_threads(PgmSession *one, PgmSession *two)
{
  static const char *const names[] = {"point", "expected", "rest"};
  for (int f = 0; f < one->model->n_families; f++) {
    PgmLayout *a = &one->layout[f], *b = &two->layout[f];
    if (!in_q(one, f)) continue;
    memcpy(b->mean, a->mean, (size_t)(a->elements * a->uwidth) * sizeof(double));
    memcpy(b->sd, a->sd, (size_t)(a->elements * a->uwidth) * sizeof(double));
  }
  values_at_means(two);
  for (int kind = PGM_KERNEL_POINT; kind <= PGM_KERNEL_REST; kind++) {
    double a = run(one, (PgmKernelKind)kind, &whole), b = run(two, (PgmKernelKind)kind, &whole);
    if (memcmp(&a, &b, sizeof a) != 0) fault("one thread and two", names[kind], a, b);
    for (int f = 0; f < one->model->n_families; f++) {
      const PgmLayout *l = &one->layout[f], *r = &two->layout[f];
      if (!in_q(one, f)) continue;
      if (memcmp(l->value_bar, r->value_bar, (size_t)(l->elements * l->width) * sizeof(double)) ||
          memcmp(l->mean_bar, r->mean_bar, (size_t)(l->elements * l->uwidth) * sizeof(double)) ||
          (l->sd_bar && memcmp(l->sd_bar, r->sd_bar, (size_t)(l->elements * l->uwidth) * sizeof(double))))
        fault("one thread and two", "gradient", 0, 0);
    }
  }
}

/* Sums the bars of all families into `sum` with a factor; returns the number of entries. */
static void add_bars(const PgmSession *s, double factor, double *sum)
{
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    if (!in_q(s, f)) continue;
    for (long i = 0; i < l->elements * l->width; i++) *sum++ += factor * l->value_bar[i];
    for (long i = 0; i < l->elements * l->uwidth; i++) *sum++ += factor * l->mean_bar[i];
    for (long i = 0; l->sd_bar && i < l->elements * l->uwidth; i++) *sum++ += factor * l->sd_bar[i];
  }
}

/* The units of an axis; 0: it has none. */
static long units_of(const PgmSession *s, int axis, long *lo)
{
  long hi = -1;
  *lo = 0;
  for (int p = 0; p < s->model->n_plates; p++) {
    if (s->model->plates[p].axis != axis) continue;
    if (hi < *lo || s->shape.plate_lo[p] < *lo) *lo = s->shape.plate_lo[p];
    if (s->shape.plate_hi[p] > hi) hi = s->shape.plate_hi[p];
  }
  return hi < *lo ? 0 : hi - *lo + 1;
}

/* Odd units, even units, less what no unit of the axis gives (an empty batch), are everything. */
static void check_batches(PgmSession *s)
{
  long entries = 0;
  for (int f = 0; f < s->model->n_families; f++)
    if (in_q(s, f)) entries += s->layout[f].elements * (s->layout[f].width + 2 * s->layout[f].uwidth);
  for (int axis = 0; axis < s->model->n_axes; axis++) {
    long lo, n = units_of(s, axis, &lo), hi = lo + n - 1;
    if (!n) continue;
    long *units = allocate(n, sizeof *units);
    for (int kind = PGM_KERNEL_POINT; kind <= PGM_KERNEL_REST; kind++) {
      double *sum = allocate(entries, sizeof *sum), *all = allocate(entries, sizeof *all), total = 0, size = 0, greatest = 0;
      for (int part = 0; part < 3; part++) {
        long count = 0;
        for (long i = lo; i <= hi && part < 2; i++)
          if ((i - lo) % 2 == part) units[count++] = i;
        const PgmBatch batch = {.axis = axis, .units = units, .count = count, .weight = 1};
        total += (part < 2 ? 1 : -1) * run(s, (PgmKernelKind)kind, &batch);
        add_bars(s, part < 2 ? 1 : -1, sum);
      }
      double wanted = run(s, (PgmKernelKind)kind, &whole);
      add_bars(s, -1, sum);
      add_bars(s, 1, all);
      if (!near(total, wanted, 1e-10, fabs(wanted))) fault("batches and the whole", "value", total, wanted);
      for (long i = 0; i < entries; i++) {
        if (!(fabs(sum[i]) <= size)) size = fabs(sum[i]);
        greatest = fmax(greatest, fabs(all[i]));
      }
      if (!near(size, 0, 1e-10, greatest)) fault("batches and the whole", "gradient", size, 0);
      free(sum);
      free(all);
    }
    free(units);
  }
}

/* ---- draws --------------------------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  PgmSources *sources;
  PgmObjective *objective;
  double *x, *gradient, value;
} Objective;

/* Free factors for all, at the layouts' means and sds. */
static Objective open_objective(PgmSession *s, const PgmObjectiveOptions *options)
{
  Objective o = {0};
  PgmError error;
  PgmSourceSpec *specs = allocate(s->model->n_families, sizeof *specs);
  int n = 0;
  for (int f = 0; f < s->model->n_families; f++)
    if (in_q(s, f)) specs[n++] = (PgmSourceSpec){.family = f, .kind = PGM_FREE};
  if (pgm_sources_open(&o.sources, s, n, specs, false, &error) || pgm_objective_open(&o.objective, s, o.sources, options, &error)) exit(3);
  free(specs);
  o.x = allocate(o.sources->size, sizeof *o.x);
  o.gradient = allocate(o.sources->size, sizeof *o.gradient);
  pgm_sources_read(o.sources, o.x);
  return o;
}

static void close_objective(Objective *o)
{
  pgm_objective_close(o->objective);
  pgm_sources_close(o->sources);
  free(o->x);
  free(o->gradient);
}

static void evaluate(Objective *o, const PgmBatch *batch) { o->value = pgm_objective_value(o->objective, o->x, o->gradient, batch, 5); }

static void check_draws(PgmSession *one, PgmSession *two)
{
  bool discrete = false, undefined = false;
  for (int f = 0; f < one->model->n_families; f++) {
    discrete = discrete || pgm_is_discrete(&one->model->families[f]);
    undefined = undefined || (in_q(one, f) && one->layout[f].list);
  }
  for (int k = 0; k < 4 * one->model->n_axes; k++) {
    const PgmObjectiveOptions options = {.draws = 3, .fresh = k % 2, .all_points = k / 2 % 2 && !discrete, .seed = 9, .axis = k / 4};
    long lo, n = units_of(one, k / 4, &lo), *units = allocate(n, sizeof *units);
    for (long i = 0; i < n; i++) units[i] = lo + i;
    Objective a = open_objective(one, &options), b = open_objective(two, &options), c = open_objective(one, &options);
    evaluate(&a, NULL);
    evaluate(&b, NULL);
    memcpy(b.x, a.x, (size_t)a.sources->size * sizeof *a.x);
    evaluate(&b, NULL);
    if (memcmp(&a.value, &b.value, sizeof a.value) || memcmp(a.gradient, b.gradient, (size_t)a.sources->size * sizeof *a.gradient))
      fault("draws", "one thread and two", a.value, b.value);
    if (n && !undefined) {
      evaluate(&c, &(PgmBatch){.axis = k / 4, .units = units, .count = n, .weight = 1});
      if (!near(a.value, c.value, 1e-11, fabs(c.value))) fault("draws", "everything and a batch of everything", a.value, c.value);
      for (long i = 0; i < a.sources->size; i++)
        if (!near(a.gradient[i], c.gradient[i], 1e-9, fabs(c.gradient[i]))) fault("draws", "its gradient", a.gradient[i], c.gradient[i]);
    }
    close_objective(&a);
    close_objective(&b);
    close_objective(&c);
    free(units);
  }
}

/* ---- single precision ------------------------------------------------------------------------------------------------------------------------ */

/* All families' value_bar, one after the other; returns how many numbers they are. */
static long value_bars(const PgmSession *s, double *out)
{
  long n = 0;
  for (int f = 0; f < s->model->n_families; f++) {
    const long size = in_q(s, f) ? s->layout[f].elements * s->layout[f].width : 0;
    if (out && size) memcpy(out + n, s->layout[f].value_bar, (size_t)size * sizeof *out);
    n += size;
  }
  return n;
}

static void check_single(PgmSession *one, PgmSession *three, int axis)
{
  long lo, n = units_of(one, axis, &lo), count = 0, *units = allocate(n, sizeof *units), entries = value_bars(one, NULL);
  double *exact = allocate(entries, sizeof *exact), *got = allocate(entries, sizeof *got), *again = allocate(entries, sizeof *again);
  for (long i = lo; i < lo + n; i += 2) units[count++] = i;
  const PgmBatch half = {.axis = axis, .units = units, .count = count, .weight = 2}, *batches[] = {&whole, &half};
  for (int b = 0; b < 2; b++) {
    const double wanted = run(one, PGM_KERNEL_REST, batches[b]);
    value_bars(one, exact);
    const double single = run(one, PGM_KERNEL_SINGLE, batches[b]);
    value_bars(one, got);
    if (!near(single, wanted, 1e-5, fabs(wanted))) fault("single precision", "value", single, wanted);
    if (!memcmp(exact, got, (size_t)entries * sizeof *got)) fault("single precision", "the same gradient as in double", 0, 0);
    for (int f = 0, at = 0; f < one->model->n_families; f++) {
      const long size = in_q(one, f) ? one->layout[f].elements * one->layout[f].width : 0;
      double largest = 0, off = 0;
      for (long i = at; i < at + size; i++) {
        largest = fmax(largest, fabs(exact[i]));
        off = fabs(got[i] - exact[i]) <= off ? off : fabs(got[i] - exact[i]);
      }
      if (!(off <= 1e-5 * largest)) fault("single precision: gradient", one->model->families[f].name, off, 0);
      at += (int)size;
    }
    for (int f = 0; f < one->model->n_families; f++)
      if (in_q(one, f)) memcpy(three->layout[f].value, one->layout[f].value, (size_t)(one->layout[f].elements * one->layout[f].width) * sizeof(double));
    const double threaded = run(three, PGM_KERNEL_SINGLE, batches[b]);
    value_bars(three, again);
    if (memcmp(&threaded, &single, sizeof single) || memcmp(again, got, (size_t)entries * sizeof *got)) fault("single precision", "one thread and three", threaded, single);
  }
  free(units);
  free(exact);
  free(got);
  free(again);
}

/* ---- all ---------------------------------------------------------------------------------------------------------------------------------------------- */

typedef enum { KERNELS, DRAWS_ALONE, SINGLE_ALONE } Checks;

static int check_kernels(const PgmModel *model, const char *file, unsigned long seed, Checks checks)
{
  PgmError error;
  PgmSession *one = NULL, *two = NULL;
  PgmData *data = pgm_data_new();
  if (pgm_data_read(data, file, &error) || pgm_session_open(&one, model, data, &(PgmSessionOptions){.threads = 1}, &error) ||
      pgm_session_open(&two, model, data, &(PgmSessionOptions){.threads = checks == SINGLE_ALONE ? 3 : 2}, &error)) {
    printf("%s\n", error.text);
    return 3;
  }
  PgmRng *rng = pgm_rng_new(seed);
  random_q(one, rng);
  if (checks == KERNELS) {
    check_sums(one);
    check_point_gradient(one, PGM_KERNEL_POINT, "gradient");
    check_point_gradient(one, PGM_KERNEL_REST, "gradient of the rest");
    check_expected_gradient(one);
    check_degenerate(one);
    check_monte_carlo(one, rng);
    check_threads(one, two);
    check_batches(one);
  }
  if (checks == SINGLE_ALONE) {
    for (int axis = 0; axis < model->n_axes; axis++) check_single(one, two, axis);
    if (!pgm_has_single(model)) fault("single precision", "no kernel has it", 0, 1);
  } else {
    check_draws(one, two);
  }
  if (faults > 20) printf("... %d faults in all\n", faults);
  pgm_rng_free(rng);
  pgm_session_close(one);
  pgm_session_close(two);
  pgm_data_free(data);
  return faults > 0;
}

int main(int argc, char **argv)
{
  const PgmModel *model = JOIN(MODEL, _model)();
  if (argc >= 3 && !strcmp(argv[1], "kernels")) return check_kernels(model, argv[2], argc > 3 ? strtoul(argv[3], NULL, 10) : 1, KERNELS);
  if (argc >= 3 && !strcmp(argv[1], "draws")) return check_kernels(model, argv[2], 1, DRAWS_ALONE);
  if (argc >= 3 && !strcmp(argv[1], "single")) return check_kernels(model, argv[2], argc > 3 ? strtoul(argv[3], NULL, 10) : 1, SINGLE_ALONE);
  return pgm_main(argc, argv, model);
}
