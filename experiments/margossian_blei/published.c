/* The optimiser of Margossian & Blei (2024) on their linear, nonlinear and saw models, to have their figures beside those of the tool's own
 * optimisers: Adam (Kingma & Ba 2015, the constants of PyTorch) with one constant step, 100 draws of the reparameterised ELBO, all data in
 * every iteration, a fixed number of iterations, the published starting points and functions. Model, gradient, gathered inputs and
 * networks are the runtime's; this file is the loop around them.
 *
 *   published linear|nonlinear|nonlinear-published|saw DATA.json [--runs DIRECTORY] [--seeds S] [--seed FIRST] [--iterations N]
 *             [--only NAME] [--minutes M] [--threads T] [--csv FILE] [--table FILE] [--html FILE]
 *
 * In: data of the model. Out: --csv: a line per run; --table: a line per method, the published figures beside ours; --html: a page with
 * paths and boxes. With --runs every run that is complete is kept there, one file each, and read back the next time, so that what was
 * interrupted goes on; no run begins after M minutes. What has not been run is in no table.
 *
 * CONVERGENCE, as published: loss = -ELBO without the constants of the Gaussian densities; the first iteration on a grid of 10, from 20 on,
 * at which the average loss of the 20 iterations around it is within 1 % of F-VI's average loss around `tail`. Beside it the first one
 * within 10 nats and 1 nat of the optimum of F-VI, which the runtime's own optimiser finds. (The published search of the saw gives up at
 * iteration 20 000 of 30 000; this one goes on.)
 *
 * Published settings (github.com/charlesm93/AVI-when-and-why, notebooks linear_prob_model, nonlinear_prob_model, saw_time_series): in the
 * tables below. Separate networks for mean and log sd are one network of twice the width whose cross weights stay 0. */
#include <getopt.h>

#include "atomic.h"
#include "published.h"
#include "report_page.h"
#include "report_svg.h"

const PgmModel *linear_model(void);
const PgmModel *nonlinear_model(void);
const PgmModel *nonlinear_published_model(void);
const PgmModel *saw_model(void);

enum { DRAWS = 100, GRID = 10, TAIL = 500, MOST_ARMS = 16, MOST_RUNS = 1024, POINTS = 160, SEED_START = 0x57A7u };

/* ---- the published settings ---------------------------------------------------------------------------------------------------------- */

typedef enum { FREE, SHARED, POLYNOMIAL, NETWORK, TWO_NETWORKS } Kind;
typedef enum { START_UNIT, START_NORMAL } Start; /* of free and shared means and log sds: uniform on (0, 1), standard normal */

typedef struct {
  const char *name;
  Kind kind;
  int size;           /* degree, or width of both hidden layers */
  const char *inputs; /* "z=x[n]"; NULL: those of the verdict */
  double step;
  double iterations, final_loss; /* as published: median to 1 %, lowest final loss; NaN: not published */
} Arm;

typedef struct {
  const char *name, *title;
  const PgmModel *(*model)(void);
  Start start;
  long iterations, tail; /* of each run; where the target is averaged */
  int n_arms;
  Arm arm[MOST_ARMS];
} Experiment;

static const Experiment experiments[] = {
    {"linear",
     "Linear model, N = 10 000",
     linear_model,
     START_UNIT,
     5000,
     4500,
     6,
     {{"F-VI", FREE, 0, NULL, 1e-3, 2135, 6088.48},
      {"constant", SHARED, 0, NULL, 1e-2, INFINITY, 7232.24},
      {"d=1", POLYNOMIAL, 1, NULL, 1e-2, 365, 6087.99},
      {"d=2", POLYNOMIAL, 2, NULL, 1e-2, 700, 6088.00},
      {"F-VI at 0.01", FREE, 0, NULL, 1e-2, NAN, NAN},
      {"d=1 at 0.001", POLYNOMIAL, 1, NULL, 1e-3, NAN, NAN}}},
    {"nonlinear-published",
     "Nonlinear model as published, without the log sd in the likelihood",
     nonlinear_published_model,
     START_UNIT,
     20000,
     19500,
     9,
     {{"F-VI", FREE, 0, NULL, 1e-2, 1280, 32398.86},
      {"constant", SHARED, 0, NULL, 1e-2, INFINITY, 36700.10},
      {"k=1", TWO_NETWORKS, 1, NULL, 1e-2, INFINITY, 35638.73},
      {"k=2", TWO_NETWORKS, 2, NULL, 1e-2, INFINITY, 32593.29},
      {"k=4", TWO_NETWORKS, 4, NULL, 1e-2, 1045, 32391.86},
      {"k=8", TWO_NETWORKS, 8, NULL, 1e-2, 1060, 32386.99},
      {"k=16", TWO_NETWORKS, 16, NULL, 1e-2, 555, 32385.98},
      {"k=24", TWO_NETWORKS, 24, NULL, 1e-2, 520, 32385.57},
      {"k=32", TWO_NETWORKS, 32, NULL, 1e-2, 250, 32385.38}}},
    {"nonlinear",
     "Nonlinear model, its likelihood complete",
     nonlinear_model,
     START_UNIT,
     20000,
     19500,
     9,
     {{"F-VI", FREE, 0, NULL, 1e-2, NAN, NAN},
      {"constant", SHARED, 0, NULL, 1e-2, NAN, NAN},
      {"k=1", TWO_NETWORKS, 1, NULL, 1e-2, NAN, NAN},
      {"k=2", TWO_NETWORKS, 2, NULL, 1e-2, NAN, NAN},
      {"k=4", TWO_NETWORKS, 4, NULL, 1e-2, NAN, NAN},
      {"k=8", TWO_NETWORKS, 8, NULL, 1e-2, NAN, NAN},
      {"k=16", TWO_NETWORKS, 16, NULL, 1e-2, NAN, NAN},
      {"k=24", TWO_NETWORKS, 24, NULL, 1e-2, NAN, NAN},
      {"k=32", TWO_NETWORKS, 32, NULL, 1e-2, NAN, NAN}}},
    {"saw",
     "Saw time series, N = 1000",
     saw_model,
     START_NORMAL,
     30000,
     19500,
     10,
     {{"F-VI", FREE, 0, NULL, 1e-3, 17595, 553.08},
      {"constant", SHARED, 0, NULL, 1e-3, INFINITY, 2933.55},
      {"one input k=4", NETWORK, 4, "z=x[n]", 1e-3, INFINITY, 891.96},
      {"one input k=6", NETWORK, 6, "z=x[n]", 1e-3, INFINITY, 891.98},
      {"one input k=10", NETWORK, 10, "z=x[n]", 1e-3, INFINITY, 886.07},
      {"one input k=20", NETWORK, 20, "z=x[n]", 1e-3, INFINITY, 885.17},
      {"two inputs k=2", NETWORK, 2, NULL, 1e-3, 9085, 553.05},
      {"two inputs k=4", NETWORK, 4, NULL, 1e-3, 7780, 553.06},
      {"two inputs k=6", NETWORK, 6, NULL, 1e-3, 7235, 553.08},
      {"two inputs k=10", NETWORK, 10, NULL, 1e-3, 7145, 553.07}}},
};

/* ---- the pieces of one run ----------------------------------------------------------------------------------------------------------- */

typedef struct {
  const Arm *arm;
  unsigned long seed;
  long n;                   /* blocks of GRID iterations that were made */
  double *elbo;             /* per block: the average of the estimates */
  double seconds, final;    /* of a processor, for all iterations; average of the last 2 * TAIL */
  double percent, ten, one; /* iterations; infinite: never */
  bool failed;              /* the ELBO became NaN */
} Run;

typedef struct {
  const Experiment *what;
  PgmSession *s;
  int family;       /* the local one */
  double constants; /* ELBO = constants - loss */
  char hash[65];    /* of the data */
  double optimum;   /* ELBO of F-VI at its optimum */
  long iterations;
  int n;
  Run run[MOST_RUNS];
} Lab;

/* The inference function of an arm; one log sd for all where the linear model has it. */
static void make_arm(const Lab *lab, const Arm *arm, PgmSourceSpec *spec)
{
  PgmFitOptions o = pgm_fit_defaults();
  const char *texts[] = {arm->inputs};
  o.method = PGM_AVI;
  o.n_inputs = arm->inputs != NULL;
  o.inputs = texts;
  o.activation = PGM_RELU;
  o.skip = false;
  o.degree = arm->kind == POLYNOMIAL ? arm->size : -1;
  o.n_hidden = arm->kind == POLYNOMIAL ? 0 : 2;
  o.hidden[0] = o.hidden[1] = arm->kind == TWO_NETWORKS ? 2 * arm->size : arm->size;
  make_function(lab->s, lab->family, &o, arm->kind == POLYNOMIAL, spec);
}

static PgmSources *make_sources(const Lab *lab, const Arm *arm)
{
  const PgmModel *m = lab->s->model;
  PgmSourceSpec *spec = room((size_t)m->n_families * sizeof *spec);
  PgmSources *q;
  int n = 0;
  for (int f = 0; f < m->n_families; f++) {
    if (!pgm_is_latent(&m->families[f])) continue;
    spec[n] = (PgmSourceSpec){.family = f, .kind = PGM_FREE};
    if (f == lab->family && arm->kind == SHARED) spec[n].kind = PGM_SHARED;
    if (f == lab->family && arm->kind > SHARED) {
      spec[n].kind = PGM_FUNCTION;
      make_arm(lab, arm, &spec[n]);
    }
    n++;
  }
  stop(pgm_sources_open(&q, lab->s, n, spec, false, &error));
  stop(pgm_sources_make_single(q, &error));
  free(spec);
  return q;
}

/* Is weight (out, in) of layer l of two networks side by side one between them? The output layer has the mean, then the log sd. */
static bool crosses(const PgmNet *net, int l, long out, long in)
{
  if (l == 0) return false;
  const long half = net->hidden[l - 1] / 2;
  const bool upper = l == net->n_hidden ? out == 1 : out >= net->hidden[l] / 2;
  return upper != (in >= half);
}

/* The starting point, and *fixed: which coordinates stay 0. */
static void start(const Lab *lab, const Arm *arm, const PgmSources *q, unsigned long seed, double *x, unsigned char *fixed)
{
  const PgmKey key = {seed, 0, SEED_START};
  pgm_philox_normals(key, 0, q->size, x); /* theta; polynomials; the saw's factors */
  memset(fixed, 0, (size_t)q->size);
  for (int i = 0; i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    if (f->family != lab->family || f->kind == PGM_FUNCTION) continue;
    for (long e = f->at; e < f->at + f->size && lab->what->start == START_UNIT; e++)
      x[e] = pgm_philox_uniform(key, (uint64_t)e | 1ull << 40);
  }
  for (int i = 0; i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    if (f->kind != PGM_FUNCTION || arm->kind == POLYNOMIAL) continue;
    long at = f->at, before = f->net.n_features;
    for (int l = 0; l <= f->net.n_hidden; l++) {
      const long width = l < f->net.n_hidden ? f->net.hidden[l] : f->net.n_outputs;
      const long fan_in = arm->kind == TWO_NETWORKS && l > 0 ? before / 2 : before;
      start_layer(key, at, width * (before + 1), fan_in, x + at);
      for (long k = 0; arm->kind == TWO_NETWORKS && k < width * before; k++) {
        if (!crosses(&f->net, l, k / before, k % before)) continue;
        fixed[at + k] = 1;
        x[at + k] = 0;
      }
      at += width * (before + 1);
      before = width;
    }
  }
}

static void optimise(const Lab *lab, Run *run)
{
  PgmSources *q = make_sources(lab, run->arm);
  const PgmObjectiveOptions how = {.draws = DRAWS, .fresh = true, .all_points = true, .single = true, .seed = run->seed, .axis = -1};
  PgmObjective *objective;
  double *x = room((size_t)(4 * q->size) * sizeof *x), *g = x + q->size, *m = g + q->size, *v = m + q->size;
  unsigned char *fixed = room((size_t)q->size);
  stop(pgm_objective_open(&objective, lab->s, q, &how, &error));
  start(lab, run->arm, q, run->seed, x, fixed);
  const double began = now(CLOCK_PROCESS_CPUTIME_ID);
  for (long t = 1; t <= lab->iterations; t++) {
    const double elbo = pgm_objective_value(objective, x, g, NULL, t);
    if (!isfinite(elbo)) {
      run->failed = true;
      break;
    }
    run->elbo[(t - 1) / GRID] += elbo / GRID;
    run->n = t / GRID;
    adam_step(q->size, run->arm->step, t, g, m, v, x, fixed);
  }
  run->seconds = now(CLOCK_PROCESS_CPUTIME_ID) - began;
  free(x);
  free(fixed);
  pgm_objective_close(objective);
  pgm_sources_close(q);
}

/* ---- runs that are kept --------------------------------------------------------------------------------------------------------------- */

/* DIRECTORY/EXPERIMENT_METHOD_SEED.csv */
static void path_of(const Lab *lab, const Run *run, const char *directory, char path[PGM_PATH_SIZE])
{
  snprintf(path, PGM_PATH_SIZE, "%s/", directory);
  char *name = path + strlen(path);
  snprintf(name, PGM_PATH_SIZE - strlen(path), "%s_%s_%lu.csv", lab->what->name, run->arm->name, run->seed);
  for (; *name; name++)
    if (*name == ' ') *name = '_';
}

/* False: there is no such file. One that another set-up wrote is an error, since it would be compared with runs that are none like it. */
static bool recall(const Lab *lab, Run *run, const char *directory)
{
  char path[PGM_PATH_SIZE], hash[65];
  double step;
  long iterations;
  int failed;
  path_of(lab, run, directory, path);
  FILE *in = fopen(path, "r");
  if (!in) return false;
  const bool same = fscanf(in, "# step %lf, iterations %ld, seconds %lf, failed %d, data %64s\nelbo", &step, &iterations, &run->seconds,
                           &failed, hash) == 5 &&
                    step == run->arm->step && iterations == lab->iterations && !strcmp(hash, lab->hash);
  run->failed = failed;
  while (same && run->n < lab->iterations / GRID && fscanf(in, "%lf", &run->elbo[run->n]) == 1) run->n++;
  fclose(in);
  if (!same || (!failed && run->n < lab->iterations / GRID))
    stop(pgm_fail(&error, PGM_BAD_INPUT, "%s: of another experiment or damaged; remove it", path));
  return true;
}

static void keep(const Lab *lab, const Run *run, const char *directory)
{
  char path[PGM_PATH_SIZE];
  PgmAtomicFile file;
  path_of(lab, run, directory, path);
  stop(pgm_atomic_open(&file, path, &error));
  fprintf(file.stream, "# step %.17g, iterations %ld, seconds %.17g, failed %d, data %s\nelbo\n", run->arm->step, lab->iterations,
          run->seconds, run->failed, lab->hash);
  for (long i = 0; i < run->n; i++) fprintf(file.stream, "%.17g\n", run->elbo[i]);
  stop(pgm_atomic_commit(&file, &error));
}

/* ---- convergence --------------------------------------------------------------------------------------------------------------------- */

/* The average ELBO of the `reach` blocks on either side of iteration `centre`, a multiple of GRID, in so far as there are any. */
static double around(const Run *run, long centre, long reach)
{
  double sum = 0;
  long n = 0;
  for (long i = fmax(0, centre / GRID - reach); i < centre / GRID + reach && i < run->n; i++, n++) sum += run->elbo[i];
  return n ? sum / (double)n : NAN;
}

/* The first iteration on the grid at which the average is within `slack` of `target` on either side, or (slack 0) not below it. */
static double first_within(const Run *run, double target, double slack)
{
  for (long i = 2 * GRID; i < run->n * GRID; i += GRID) {
    const double value = around(run, i, 1);
    if (slack > 0 ? fabs(value - target) <= slack : value >= target) return (double)i;
  }
  return INFINITY;
}

static const Run *fvi_of(const Lab *lab, unsigned long seed)
{
  for (int i = 0; i < lab->n; i++)
    if (lab->run[i].seed == seed && lab->run[i].arm == &lab->what->arm[0]) return &lab->run[i];
  return NULL;
}

static void judge(const Lab *lab, Run *run)
{
  const Run *fvi = fvi_of(lab, run->seed);
  const long tail = lab->what->tail < lab->iterations ? lab->what->tail : lab->iterations / 10 * 9 / GRID * GRID;
  const double target = fvi ? around(fvi, tail, 1) : NAN;
  run->final = run->failed ? NAN : around(run, run->n * GRID - TAIL, TAIL / GRID);
  run->percent = isfinite(target) ? first_within(run, target, 0.01 * fabs(lab->constants - target)) : NAN;
  run->ten = first_within(run, lab->optimum - 10, 0);
  run->one = first_within(run, lab->optimum - 1, 0);
}

/* ---- output -------------------------------------------------------------------------------------------------------------------------- */

static double round2(double x)
{
  return round(100 * x) / 100; /* also of infinity and NaN */
}

static void csv_number(FILE *out, double x)
{
  if (isfinite(x))
    fprintf(out, ",%.9g", x);
  else
    fputs(isinf(x) ? ",never" : ",", out);
}

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Seconds are those of a processor; to a level, iterations at the run's pace. */
typedef enum { FINAL, PERCENT, TEN, ONE, SECONDS_TO_PERCENT, SECONDS_TO_TEN, SECONDS_TO_ONE, SECONDS } Column;

static double value_of(const Run *run, Column column)
{
  const double pace = run->seconds / (double)(run->n * GRID);
  switch (column) {
  case FINAL:
    return run->final;
  case PERCENT:
    return run->percent;
  case TEN:
    return run->ten;
  case ONE:
    return run->one;
  case SECONDS_TO_PERCENT:
    return run->percent * pace;
  case SECONDS_TO_TEN:
    return run->ten * pace;
  case SECONDS_TO_ONE:
    return run->one * pace;
  default:
    return run->seconds;
  }
}

static void write_runs(FILE *out, const Lab *lab)
{
  fputs("method,seed,step,iterations,seconds,elbo,loss,optimum,iterations_to_1_percent,iterations_to_10_nats,iterations_to_1_nat,"
        "seconds_to_1_percent,seconds_to_10_nats,seconds_to_1_nat\n", out);
  for (int i = 0; i < lab->n; i++) {
    const Run *run = &lab->run[i];
    fprintf(out, "%s,%lu,%g,%ld", run->arm->name, run->seed, run->arm->step, run->n * GRID);
    csv_number(out, round2(run->seconds));
    csv_number(out, round2(run->final));
    csv_number(out, round2(lab->constants - run->final));
    csv_number(out, round2(lab->optimum));
    csv_number(out, run->percent);
    csv_number(out, run->ten);
    csv_number(out, run->one);
    for (Column k = SECONDS_TO_PERCENT; k <= SECONDS_TO_ONE; k++) csv_number(out, round2(value_of(run, k)));
    putc('\n', out);
  }
}

/* Values of one arm, ascending, infinite ones last; NaN are left out. Returns their number. */
static int values_of(const Lab *lab, const Arm *arm, Column column, double out[MOST_RUNS])
{
  int n = 0;
  for (int i = 0; i < lab->n; i++) {
    const double x = value_of(&lab->run[i], column);
    if (lab->run[i].arm == arm && !isnan(x)) out[n++] = x;
  }
  qsort(out, (size_t)n, sizeof *out, ascending);
  return n;
}

static double median(const double *sorted, int n)
{
  return !n ? NAN : n % 2 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
}

static void cell(FILE *out, double x, int digits, bool seconds)
{
  char buffer[48];
  fprintf(out, "<td class=\"n\">%s</td>",
          isnan(x)   ? ""
          : isinf(x) ? "never"
          : seconds  ? pgm_html_seconds(x, buffer)
                     : pgm_html_number(x, digits, buffer));
}

static void colour_of(const Lab *lab, const Arm *arm, char buffer[40])
{
  const int i = (int)(arm - lab->what->arm);
  if (arm->kind == FREE && i == 0)
    strcpy(buffer, "var(--fvi)");
  else if (arm->kind == SHARED)
    strcpy(buffer, "var(--const)");
  else
    snprintf(buffer, 40, "hsl(%d 60%% 45%%)", 90 + 200 * (i - 2) / (lab->what->n_arms > 3 ? lab->what->n_arms - 3 : 1));
}

/* A line per method: medians over its seeds, "never" where half of them or more never do. */
static void write_table(FILE *out, const Lab *lab)
{
  static const Column columns[] = {PERCENT, TEN, ONE, SECONDS_TO_PERCENT, SECONDS_TO_TEN, SECONDS_TO_ONE, SECONDS};
  double v[MOST_RUNS];
  fputs("method,step,seeds,final_loss,final_loss_published,below_optimum,iterations_to_1_percent,iterations_to_1_percent_published,"
        "iterations_to_10_nats,iterations_to_1_nat,seconds_to_1_percent,seconds_to_10_nats,seconds_to_1_nat,seconds\n",
        out);
  for (int a = 0; a < lab->what->n_arms; a++) {
    const Arm *arm = &lab->what->arm[a];
    int n = values_of(lab, arm, SECONDS, v);
    if (!n) continue;
    fprintf(out, "%s,%g,%d", arm->name, arm->step, n);
    n = values_of(lab, arm, FINAL, v);
    csv_number(out, n ? round2(lab->constants - v[n - 1]) : NAN);
    csv_number(out, arm->final_loss);
    csv_number(out, round2(lab->optimum - median(v, n)));
    for (size_t k = 0; k < sizeof columns / sizeof *columns; k++) {
      n = values_of(lab, arm, columns[k], v);
      csv_number(out, round2(median(v, n)));
      if (columns[k] == PERCENT) csv_number(out, arm->iterations);
    }
    putc('\n', out);
  }
}

/* Paths of the first seed, as the published figures have them, in nats below the best of F-VI's optimum and all that was reached: averages
 * over windows that grow with the iteration. */
static void draw_paths(FILE *out, const Lab *lab, bool seconds)
{
  PgmLine *line = room((size_t)lab->n * sizeof *line);
  char(*colour)[40] = room((size_t)lab->n * sizeof *colour);
  double best = lab->optimum, lo = INFINITY, hi = 0, far = 1;
  int n = 0;
  for (int i = 0; i < lab->n; i++)
    if (isfinite(lab->run[i].final)) best = fmax(best, lab->run[i].final);
  for (int a = 0; a < lab->what->n_arms; a++)
    for (int i = 0; i < lab->n; i++) {
      const Run *run = &lab->run[i];
      if (run->arm != &lab->what->arm[a] || run->seed != lab->run[0].seed || !run->n) continue;
      double *x = room(2 * POINTS * sizeof *x), *y = x + POINTS;
      long points = 0;
      for (long k = 0; k < run->n && points < POINTS;) {
        const long group = k / 20 > 1 ? k / 20 : 1, end = k + group < run->n ? k + group : run->n;
        double sum = 0;
        for (long j = k; j < end; j++) sum += run->elbo[j];
        x[points] = (double)end * (seconds ? run->seconds / (double)run->n : GRID);
        y[points] = best - sum / (double)(end - k);
        far = fmax(far, y[points]);
        points++;
        k = end;
      }
      lo = fmin(lo, x[0]);
      hi = fmax(hi, x[points - 1]);
      colour_of(lab, run->arm, colour[n]);
      line[n] = (PgmLine){run->arm->name, colour[n], points, x, y};
      n++;
    }
  if (n) {
    const PgmScale sx = {seconds ? "time" : "iterations", seconds ? PGM_UNIT_SECONDS : PGM_UNIT_PLAIN, true, false, lo, hi};
    const PgmScale sy = {"ELBO, nats below the best", PGM_UNIT_BELOW, true, true, 1e-1, pow(10, ceil(log10(fmin(far, 1e9))))};
    fprintf(out, "<figure><figcaption>ELBO against %s, seed %lu</figcaption>\n", seconds ? "time" : "iterations", lab->run[0].seed);
    pgm_svg_lines(out, seconds ? "Lines: ELBO against time" : "Lines: ELBO against iterations", sx, sy, line, n);
    fputs("</figure>\n", out);
  }
  for (int i = 0; i < n; i++) free((double *)line[i].x);
  free(line);
  free(colour);
}

static void draw_boxes(FILE *out, const Lab *lab, Column column, const char *caption)
{
  PgmBoxRow row[MOST_ARMS];
  char colour[MOST_ARMS][40];
  double *memory = room((size_t)MOST_ARMS * MOST_RUNS * sizeof *memory), lo = INFINITY, hi = 0;
  int rows = 0;
  for (int a = 0; a < lab->what->n_arms; a++) {
    double *v = memory + a * MOST_RUNS;
    const int n = values_of(lab, &lab->what->arm[a], column, v);
    int finite = 0;
    while (finite < n && isfinite(v[finite])) finite++;
    if (!n) continue;
    if (finite) lo = fmin(lo, v[0]), hi = fmax(hi, v[finite - 1]);
    colour_of(lab, &lab->what->arm[a], colour[rows]);
    row[rows] = (PgmBoxRow){lab->what->arm[a].name, colour[rows], finite, n - finite, v};
    rows++;
  }
  if (hi > 0) {
    const PgmScale x = {"iterations", PGM_UNIT_PLAIN, true, false, lo / 1.3, hi * 1.3};
    fprintf(out, "<figure><figcaption>%s</figcaption>\n", caption);
    pgm_svg_boxes(out, caption, x, row, rows);
    fputs("</figure>\n", out);
  }
  free(memory);
}

static void write_page(FILE *out, const Lab *lab)
{
  double v[MOST_RUNS];
  int seeds = 0;
  for (int i = 0; i < lab->n; i++) seeds += lab->run[i].arm == lab->run[0].arm;
  pgm_page_begin(out, lab->what->title);
  fputs("<h1>", out);
  pgm_html_text(out, lab->what->title);
  fprintf(out,
          "</h1>\n<p class=\"sub\">The optimiser of Margossian &amp; Blei (2024): Adam with constant steps, %d draws, %ld iterations; %d "
          "seed%s.</p>\n",
          DRAWS, lab->iterations, seeds, seeds == 1 ? "" : "s");
  fprintf(
      out,
      "<p>The optimum of F-VI, by the tool's own optimiser: %.2f nats (published scale, loss without constants: %.2f).</p>\n",
      lab->optimum, lab->constants - lab->optimum);
  fputs("<div class=\"two\">\n", out);
  draw_paths(out, lab, false);
  draw_paths(out, lab, true);
  draw_boxes(out, lab, PERCENT, "Iterations until within 1 % of F-VI, as published");
  draw_boxes(out, lab, ONE, "Iterations until within 1 nat of the optimum of F-VI");
  fputs("</div>\n<div class=\"scroll\"><table><thead><tr><th rowspan=\"2\">method</th><th class=\"n\" rowspan=\"2\">step</th><th "
        "class=\"n\" colspan=\"2\">final loss, least</th>"
        "<th class=\"n\" colspan=\"2\">iterations to 1 %, median</th><th class=\"n\" rowspan=\"2\">to 10 nats</th><th class=\"n\" "
        "rowspan=\"2\">to 1 nat</th>"
        "<th class=\"n\" rowspan=\"2\">seconds</th></tr>\n<tr><th class=\"n\">here</th><th class=\"n\">published</th><th "
        "class=\"n\">here</th><th class=\"n\">published</th></tr></thead><tbody>\n",
        out);
  for (int a = 0; a < lab->what->n_arms; a++) {
    const Arm *arm = &lab->what->arm[a];
    char colour[40], step[16];
    int n = values_of(lab, arm, FINAL, v);
    if (!n && !values_of(lab, arm, SECONDS, v)) continue;
    colour_of(lab, arm, colour);
    snprintf(step, sizeof step, "%g", arm->step);
    fprintf(out, "<tr><td class=\"name\"><span class=\"swatch\" style=\"--c:%s\"></span>%s</td><td class=\"n\">%s</td>", colour, arm->name,
            step);
    cell(out, n ? lab->constants - v[n - 1] : NAN, 7, false);
    cell(out, arm->final_loss, 7, false);
    n = values_of(lab, arm, PERCENT, v);
    cell(out, median(v, n), 1, false);
    cell(out, arm->iterations, 1, false);
    n = values_of(lab, arm, TEN, v);
    cell(out, median(v, n), 1, false);
    n = values_of(lab, arm, ONE, v);
    cell(out, median(v, n), 1, false);
    n = values_of(lab, arm, SECONDS, v);
    cell(out, median(v, n), 3, true);
    fputs("</tr>\n", out);
  }
  fputs("</tbody></table></div>\n<p class=\"note\">Published: medians of ten seeds and the lowest final loss, on data of their own. Of a run "
        "whose ELBO became NaN the part before counts.</p>\n",
        out);
  pgm_page_end(out);
}

/* ---- all together -------------------------------------------------------------------------------------------------------------------- */

/* ELBO + loss: the constants of the terms, and log(2 pi) / 2 in the entropy of every factor. */
static double constants_of(const PgmSession *s)
{
  double factors = 0;
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmLayout *l = &s->layout[f];
    if (pgm_is_latent(&s->model->families[f])) factors += (double)((l->list ? l->defined : l->elements) * l->uwidth);
  }
  return s->constant + 0.5 * factors * log(2 * PGM_PI);
}

static double optimum_of(PgmSession *s)
{
  PgmFitOptions o = pgm_fit_defaults();
  PgmFit *fit;
  stop(pgm_fit_run(s, &o, &fit, &error));
  const double value = fit->elbo;
  pgm_fit_free(fit);
  return value;
}

static void write_file(const Lab *lab, const char *path, void (*write)(FILE *out, const Lab *lab))
{
  PgmAtomicFile file;
  if (!path) return;
  stop(pgm_atomic_open(&file, path, &error));
  write(file.stream, lab);
  stop(pgm_atomic_commit(&file, &error));
}

typedef struct {
  const char *runs, *only, *csv, *table, *html;
  long seeds, seed, iterations;
  double minutes;
  int threads;
} Options;

static int usage(void)
{
  fputs("usage: published linear|nonlinear|nonlinear-published|saw DATA.json [--runs DIRECTORY] [--seeds S] [--seed FIRST]\n"
        "         [--iterations N] [--only NAME] [--minutes M] [--threads T] [--csv FILE] [--table FILE] [--html FILE]\n",
        stderr);
  return PGM_BAD_USAGE;
}

static bool parse(int argc, char **argv, Options *o)
{
  static const struct option options[] = {{"seeds", 1, NULL, 's'}, {"seed", 1, NULL, 'f'},    {"iterations", 1, NULL, 'n'},
                                          {"only", 1, NULL, 'o'},  {"csv", 1, NULL, 'c'},     {"threads", 1, NULL, 't'},
                                          {"html", 1, NULL, 'h'},  {"table", 1, NULL, 'a'},   {"runs", 1, NULL, 'r'},
                                          {"minutes", 1, NULL, 'm'}, {0}};
  *o = (Options){.seeds = 10, .seed = 1, .threads = 1, .minutes = INFINITY};
  for (int key; (key = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (key) {
    case 's':
      o->seeds = atol(optarg);
      break;
    case 'f':
      o->seed = atol(optarg);
      break;
    case 'n':
      o->iterations = atol(optarg);
      break;
    case 'o':
      o->only = optarg;
      break;
    case 't':
      o->threads = atoi(optarg);
      break;
    case 'c':
      o->csv = optarg;
      break;
    case 'a':
      o->table = optarg;
      break;
    case 'h':
      o->html = optarg;
      break;
    case 'r':
      o->runs = optarg;
      break;
    case 'm':
      o->minutes = atof(optarg);
      break;
    default:
      return false;
    }
  }
  return o->seeds > 0 && o->seed >= 0 && o->iterations >= 0 && o->iterations % GRID == 0 && o->threads > 0 && o->minutes >= 0;
}

/* Every method by every seed, those that are kept read back; F-VI of a seed is first, since it is what the others are measured by. */
static void run_all(Lab *lab, const Options *o)
{
  const double began = now(CLOCK_MONOTONIC);
  for (long k = 0; k < o->seeds; k++)
    for (int a = 0; a < lab->what->n_arms && lab->n < MOST_RUNS; a++) {
      if (o->only && a && strcmp(o->only, lab->what->arm[a].name)) continue;
      Run *run = &lab->run[lab->n];
      *run = (Run){.arm = &lab->what->arm[a], .seed = (unsigned long)(o->seed + k)};
      run->elbo = room((size_t)(lab->iterations / GRID + 1) * sizeof *run->elbo);
      if (!o->runs || !recall(lab, run, o->runs)) {
        if (now(CLOCK_MONOTONIC) - began > 60 * o->minutes) {
          free(run->elbo);
          continue;
        }
        optimise(lab, run);
        if (o->runs) keep(lab, run, o->runs);
        fprintf(stderr, "%s, %s, seed %lu: %.1f s\n", lab->what->name, run->arm->name, run->seed, run->seconds);
      }
      lab->n++;
      judge(lab, run);
    }
}

int main(int argc, char **argv)
{
  static Lab lab;
  Options o;
  if (!parse(argc, argv, &o) || argc - optind != 2) return usage();
  for (size_t i = 0; i < sizeof experiments / sizeof *experiments; i++)
    if (!strcmp(experiments[i].name, argv[optind])) lab.what = &experiments[i];
  if (!lab.what) return usage();
  PgmData *data = pgm_data_new();
  const PgmSessionOptions how = {.threads = o.threads};
  stop(data ? pgm_data_read(data, argv[optind + 1], &error) : pgm_fail(&error, PGM_SYSTEM, "out of memory"));
  stop(pgm_session_open(&lab.s, lab.what->model(), data, &how, &error));
  for (int f = 0; f < lab.s->model->n_families; f++)
    if (lab.s->model->families[f].role == PGM_LOCAL) lab.family = f;
  lab.iterations = o.iterations ? o.iterations : lab.what->iterations;
  lab.constants = constants_of(lab.s);
  lab.optimum = optimum_of(lab.s);
  pgm_data_hash(lab.s, lab.hash);
  run_all(&lab, &o);
  write_file(&lab, o.csv, write_runs);
  write_file(&lab, o.table, write_table);
  write_file(&lab, o.html, write_page);
  if (!o.csv && !o.table && !o.html) write_table(stdout, &lab);
  for (int i = 0; i < lab.n; i++) free(lab.run[i].elbo);
  pgm_session_close(lab.s);
  pgm_data_free(data);
  return 0;
}
