/* The gaps of variational inference, measured on one data set (gap.c): fits of constant factors, F-VI and A-VI, and their differences.
 *
 *   approximation  log p(data) - ELBO(F-VI)                     amortisation  ELBO(F-VI) - ELBO(A-VI, full domain) = capacity +
 * optimisation
 *   conditioning   ELBO(A-VI, full domain) - ELBO(A-VI, inputs chosen)
 *
 * They add up to log p(data) - ELBO(A-VI, inputs chosen). Cremer, Li & Duvenaud (2018) for approximation and amortisation, Bayer, Soelch,
 * Mirchev, Kayalibay & van der Smagt (2021) for conditioning. Nothing here prints. */
#ifndef PGM_GAP_H
#define PGM_GAP_H

#include "evidence.h"
#include "fit.h"

#define PGM_GAP_EVIDENCE "evidence" /* the stage that is no fit */

typedef enum { PGM_GAP_CONST, PGM_GAP_FVI, PGM_GAP_FULL, PGM_GAP_CHOSEN, PGM_GAP_METHODS } PgmGapMethodName;
/* What is compared besides: input windows, function classes, sets of inputs. */
typedef enum { PGM_GAP_WINDOWS, PGM_GAP_FUNCTIONS, PGM_GAP_INPUTS, PGM_GAP_LISTS } PgmGapListName;

typedef struct { int n_hidden, hidden[PGM_MAX_LAYERS], degree; } PgmArchitecture;      /* degree -1: a network */
typedef struct { int n; const char *const *inputs; } PgmAlternative;                   /* texts as those of --inputs: "z=x[n],x[n-1]" */

typedef struct {
  PgmFitOptions fit;                   /* method is left alone; inputs and windows are the inputs chosen; fix: --fix */
  int seeds;                           /* fits per method, with seeds fit.seed, fit.seed + 1, ... */
  int n_architectures; const PgmArchitecture *architecture;   /* the last one is the one whose gaps are told; 0: that of `fit` */
  int n_alternatives; const PgmAlternative *alternative;      /* the last ones are the inputs chosen; 0: those of `fit` */
  bool windows; const char *window_family; long window_lo, window_hi;      /* --window [z=]a..b; family NULL: those without an input form */
  int evidence_draws;
  /* before each fit and the evidence: what it is, how many fits are done and how many there will be (at least) */
  void (*stage)(void *data, const char *what, int done, int total); void *stage_data;
  bool test;                           /* pgm_gap_test is to follow */
} PgmGapOptions;

PgmGapOptions pgm_gap_defaults(void);

/* The best ELBO so far of one run (noisy estimates: averages) against its iterations and seconds; thinned, ends at the end of the run
 * (gap_path.c). */
typedef struct { long n; double *iteration, *seconds, *elbo; } PgmGapPath;

typedef struct { unsigned long seed; double seconds, elbo; long iterations; bool converged; char criterion[160]; PgmGapPath path; } PgmGapRun;

typedef struct { double value, se; } PgmGapNumber;               /* NaN: not measured */

/* One method: the fit that stands, its ELBO on common random numbers, and all its runs. */
typedef struct {
  PgmFit *fit;                         /* NULL: not measured */
  double elbo, se;
  double *block;                       /* ELBO per block of common random numbers (PgmGap.blocks) */
  /* On test data all methods have F-VI's globals. With PgmGapOptions.test: the fit with those, its functions or constants trained for them where that
   * matters, and what it loses against F-VI on the data that were fitted. NULL and NaN: no globals, or --fix: the fit and its loss serve. */
  PgmFit *for_test; double lost;
  int n_runs; PgmGapRun *run;
} PgmGapMethod;

/* An entry of a list: a window, a function class or a set of inputs. */
typedef struct {
  char text[512];                      /* what it is */
  long w, parameters;                  /* window; variational parameters */
  PgmGapMethodName same;               /* this one is that method's fit; PGM_GAP_METHODS: `own` */
  PgmGapMethod own;
  PgmGapNumber loss;                   /* ELBO(F-VI) - ELBO */
} PgmGapVariant;
typedef struct { int n; PgmGapVariant *at; } PgmGapList;

typedef struct {
  PgmGapNumber approximation, amortisation, capacity, optimisation, conditioning, constant;     /* constant: ELBO(F-VI) - ELBO(const) */
} PgmGaps;

typedef struct PgmGap {
  const PgmModel *model;
  long observations, missing, locals;  /* missing: observed values; locals: defined elements of local families */
  bool observes;                       /* pgm_observes */
  long shares;                         /* what losses are told per: the observations; where there are no observed variables, the local ones */
  bool same_data;                      /* of test data: they are those that were fitted */
  int blocks;
  PgmGapMethod method[PGM_GAP_METHODS];
  bool same_inputs;                    /* full and chosen are one */
  bool chosen_stands;                  /* no bounded domain, and no window or none as good: the inputs chosen stand for the full domain */
  char full[512], chosen[512];         /* inputs, "z from x[n-1], x[n]" */
  long stands_in;                      /* window that stands for the full domain: the widest tried, or a narrower one that reaches more; -1: none */
  double best;                         /* ELBO of the best of the function class (full domain) that was found */
  bool fixed;                          /* globals are those of another fit: of --fix, or on test data */
  PgmEvidence evidence;
  PgmGaps gaps;
  PgmGapList list[PGM_GAP_LISTS];
  int restarts;                        /* how often F-VI was fitted anew from the factors of a fit above it: no runs of its own */
  char restarted[240];                 /* F-VI was restarted from a fit above it: said here; "" otherwise */
  char unconverged[4096];              /* names of the fits that did not converge, "F-VI (2 of 10 seeds); A-VI, window 3"; "" */
  int agrees;                          /* with the verdict: 1, 0; -1: cannot be told */
  char message[1536];
} PgmGap;

PgmStatus pgm_gap_run(PgmSession *s, const PgmGapOptions *options, PgmGap **out, PgmError *error);
/* Before pgm_gap_run and pgm_gap_test: can all functions that are to be learnt on s read the test data, which errors call `name`? PGM_BAD_INPUT: no, or these
 * have no units. PGM_BAD_USAGE: there are no local variables. Fits nothing. */
PgmStatus pgm_gap_check_test(PgmSession *s, const PgmSession *test, const char *name, const PgmGapOptions *options, PgmError *error);
/* The same on data that were not fitted (or were: then same_data says so, if train's F-VI is bound to its data, pgm_fit_bind): functions and
 * constant factors of PgmGapMethod.for_test, globals and params of F-VI's fit for all, free local factors optimised. No split of the amortisation gap. */
PgmStatus pgm_gap_test(PgmSession *s, const PgmGap *train, const PgmGapOptions *options, PgmGap **out, PgmError *error);
void pgm_gap_free(PgmGap *gap);

/* Has the model global latent variables or params? */
bool pgm_gap_has_globals(const PgmModel *model);
/* What an entry of a list was measured as. */
const PgmGapMethod *pgm_gap_variant(const PgmGap *gap, const PgmGapVariant *v);

/* ---- paths (gap_path.c) -------------------------------------------------------------------------------------------------------------- */

/* Collects the trace of a fit: pgm_gap_trace and pgm_gap_prepared are callbacks of PgmFitOptions. Zeros to begin with. */
typedef struct { long n, room; double *iteration, *seconds, *elbo; bool failed; } PgmGapRecorder;
void pgm_gap_trace(void *recorder, long iteration, double seconds, double elbo, double gradient_norm);
void pgm_gap_prepared(void *recorder);
/* Moves what was recorded into run->path, thinned; `noisy`: every value was an estimate; `optimistic`: draws that were fitted, so the path
 * is shifted to end at run->elbo. False: out of memory. Empties the recorder. */
bool pgm_gap_take_path(PgmGapRecorder *recorder, PgmGapRun *run, bool noisy, bool optimistic);
void pgm_gap_free_path(PgmGapPath *path);
/* The first point of the run's path that is not below `elbo`; false: none. */
bool pgm_gap_reach(const PgmGapRun *run, double elbo, double *iteration, double *seconds);

/* ---- words (gap_judge.c) ------------------------------------------------------------------------------------------------------------- */

/* What losses are told per, one of them: "observation" or "local variable". */
const char *pgm_gap_share(const PgmGap *gap);
/* Nats that count as nothing: three standard errors and a thousandth of a nat per local element, or a hundredth of what constant factors
 * lose. */
double pgm_gap_nothing(const PgmGap *gap, PgmGapNumber x);
/* Did the fits of both methods converge, whose difference a gap is? One that was not made does not count. */
bool pgm_gap_settled(const PgmGap *gap, PgmGapMethodName a, PgmGapMethodName b);
/* Does the window in this row of the list lose clearly more than a narrower one? */
bool pgm_gap_falls(const PgmGap *gap, int row);
/* What stands for the full domain, "the widest window stands for the full domain"; "" where it is the verdict's own. */
void pgm_gap_stand_in(const PgmGap *gap, char *text, size_t size);
/* The half-width of the window that leaves at most this share of the gap of constant factors: measured, or extrapolated from the last three. False:
 * it cannot be told. */
#define PGM_GAP_SHARE 0.01
bool pgm_gap_half_width(const PgmGap *gap, double share, long *w, bool *measured);
/* The same as a sentence without its full stop, for these data and for the test data (NULL: none). */
bool pgm_gap_say_half_width(const PgmGap *gap, const PgmGap *test, char *text, size_t size);
/* Fills agrees and message. The verdict is compared where it makes a promise that the numbers can keep or break: not where fits did not converge, where
 * functions can hold the data by heart, or where their class is too small. `test`: what test data say besides; may be NULL. */
void pgm_gap_judge(PgmGap *gap, const PgmGap *test);
/* What method k loses against F-VI on the data that were fitted, at the globals that it has on test data. */
double pgm_gap_lost(const PgmGap *gap, PgmGapMethodName k);
/* What to do, in plain words: sentences, one to a line. `test` may be NULL. */
void pgm_gap_advise(const PgmGap *gap, const PgmGap *test, char *text, size_t size);
/* Weights of a fit's inference functions. */
long pgm_gap_weights(const PgmFit *fit);

/* ---- unit by unit (gap_units.c) ------------------------------------------------------------------------------------------------------ */

/* ELBO of each unit, the values of the outermost plate with data that has most units: its terms, its latents' entropy and Jacobians. Rows unit - lo,
 * one array per method (NULL: not measured). What belongs to no unit (globals) is left out. */
typedef struct {
  const char *variable; long lo, n;
  double *elbo[PGM_GAP_METHODS];       /* [n] */
  double *batch[PGM_GAP_METHODS];      /* what sampled terms are in each of several batches of draws; NULL: none are sampled */
} PgmGapUnits;
/* Is there a plate with several units? */
bool pgm_gap_has_units(const PgmSession *s);
/* Are there units at all? PGM_BAD_INPUT: the data leave none; PGM_BAD_USAGE: the model has none. */
PgmStatus pgm_gap_check_units(const PgmSession *s, PgmError *error);
PgmStatus pgm_gap_units(PgmSession *s, const PgmGap *gap, unsigned long seed, PgmGapUnits *out, PgmError *error);
/* Standard error of ELBO a - ELBO b of row `unit`; 0 where nothing is sampled. */
double pgm_gap_unit_se(const PgmGapUnits *units, PgmGapMethodName a, PgmGapMethodName b, long unit);
void pgm_gap_units_free(PgmGapUnits *units);

#endif
