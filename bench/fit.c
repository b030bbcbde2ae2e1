/* Fits of one model in this process, timed without start, reading and writing.
 *   fit_NAME [options] DATA...      DATA: FILE, or NAME=FILE for one array
 *     -m fvi|const|avi   -t THREADS   -r REPEATS   -i MAX_ITER   -1 (one start)   -a DRAWS (Adam with that many fresh draws)   -o TOL
 *     -b BATCH (minibatches of that many)   -s DRAWS   -n WIDTHS (of hidden layers: 64,64)
 *     -p        instead: seconds of processor time and seconds of one iteration, of each the least decile
 *     -w ELBO   the times until the method itself (not the factors that its functions start from) is there; infinite if it never is
 * -> one line: seconds of processor time, seconds, iterations, ELBO. Of the repeats the one with the least processor time. Processor time is what a fit on one
 * thread takes on an idle machine; other work on this one inflates only the second number.
 * Compiled with -DMODEL=NAME_model, the emitted C of the model (-DPGM_LIBRARY) and libpgmrt.a. */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fit.h"

const PgmModel *MODEL(void);

static double seconds(clockid_t clock)
{
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* When an iterate of the method asked for was first at the wanted ELBO. */
typedef struct {
  double wanted, cpu, wall;
  bool begun;
} Within;

/* When each iteration ended. */
typedef struct {
  long n, room;
  double *cpu, *wall;
} Steps;

static void note(void *data, long iteration, double since, double elbo, double norm)
{
  Steps *s = data;
  (void)iteration, (void)since, (void)elbo, (void)norm;
  if (s->n == s->room) return;
  s->cpu[s->n] = seconds(CLOCK_PROCESS_CPUTIME_ID);
  s->wall[s->n++] = seconds(CLOCK_MONOTONIC);
}

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The least decile of the differences of n times, which are lost. */
static double least_step(double *time, long n)
{
  if (n < 2) return NAN;
  for (long i = 0; i < n - 1; i++) time[i] = time[i + 1] - time[i];
  qsort(time, (size_t)(n - 1), sizeof *time, ascending);
  return time[(n - 1) / 10];
}

static void functions_begin(void *data)
{
  ((Within *)data)->begun = true;
}

static void look(void *data, long iteration, double since, double elbo, double norm)
{
  Within *w = data;
  (void)iteration, (void)since, (void)norm;
  if (!w->begun || elbo < w->wanted || isfinite(w->cpu)) return;
  w->cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
  w->wall = seconds(CLOCK_MONOTONIC);
}

static int fail(const PgmError *error)
{
  fprintf(stderr, "%s\n", error->text);
  return 1;
}

int main(int argc, char **argv)
{
  PgmFitOptions o = pgm_fit_defaults();
  PgmSessionOptions how = {.threads = 1};
  PgmError error = {0};
  Within within = {.wanted = NAN};
  Steps steps = {0};
  int repeats = 1, c;
  while ((c = getopt(argc, argv, "m:t:r:i:1a:o:w:b:s:n:p")) != -1) {
    if (c == 'm') o.method = !strcmp(optarg, "fvi") ? PGM_FVI : !strcmp(optarg, "const") ? PGM_CONST : PGM_AVI;
    if (c == 't') how.threads = atoi(optarg);
    if (c == 'r') repeats = atoi(optarg);
    if (c == 'i') o.max_iter = atol(optarg);
    if (c == '1') o.one_start = true;
    if (c == 'a') o.optimizer = PGM_OPT_ADAM, o.expectation = PGM_EXP_MONTE_CARLO, o.samples = atoi(optarg);
    if (c == 'o') o.tol = atof(optarg);
    if (c == 'w') within.wanted = atof(optarg);
    if (c == 'b') o.batch = atol(optarg);
    if (c == 's') o.samples = atoi(optarg);
    if (c == 'p') steps.room = 1;
    for (char *width = c == 'n' ? strtok(optarg, ",") : NULL; width && o.n_hidden < PGM_MAX_LAYERS; width = strtok(NULL, ","))
      o.hidden[o.n_hidden++] = atoi(width);
    if (c == '?') return 2;
  }
  PgmData *data = pgm_data_new();
  PgmSession *s = NULL;
  for (int i = optind; i < argc; i++) {
    char *equals = strchr(argv[i], '=');
    if (equals) *equals = '\0';
    if (equals ? pgm_data_read_named(data, argv[i], equals + 1, &error) : pgm_data_read(data, argv[i], &error)) return fail(&error);
  }
  if (pgm_session_open(&s, MODEL(), data, &how, &error)) return fail(&error);
  if (steps.room) {
    steps.room = o.max_iter;
    steps.cpu = calloc((size_t)(2 * steps.room) + 1, sizeof *steps.cpu);
    if (!steps.cpu) return 3;
    steps.wall = steps.cpu + steps.room;
    o.trace = note;
    o.trace_data = &steps;
  }
  const bool until = isfinite(within.wanted);
  if (until) {
    o.trace = look;
    o.prepared = functions_begin;
    o.trace_data = &within;
  }
  double best_cpu = INFINITY, best = INFINITY, elbo = NAN;
  long iterations = 0;
  for (int r = 0; r < repeats; r++) {
    PgmFit *fit = NULL;
    const double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    within.begun = o.method != PGM_AVI;
    within.cpu = within.wall = INFINITY;
    if (pgm_fit_run(s, &o, &fit, &error)) return fail(&error);
    best_cpu = fmin(best_cpu, (until ? within.cpu : seconds(CLOCK_PROCESS_CPUTIME_ID)) - cpu);
    best = fmin(best, (until ? within.wall : seconds(CLOCK_MONOTONIC)) - wall);
    elbo = fit->elbo;
    iterations = fit->iterations;
    pgm_fit_free(fit);
  }
  if (steps.room) {
    best_cpu = least_step(steps.cpu, steps.n);
    best = least_step(steps.wall, steps.n);
  }
  printf("%.9f %.9f %ld %.10g\n", best_cpu, best, iterations, elbo);
  free(steps.cpu);
  pgm_session_close(s);
  pgm_data_free(data);
  return 0;
}
