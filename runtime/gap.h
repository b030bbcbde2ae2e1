/* The gaps of variational inference, measured on one data set (gap.c): fits of constant factors, F-VI and A-VI, and their differences.
 *
 *   approximation  log p(data) - ELBO(F-VI)                     amortisation  ELBO(F-VI) - ELBO(A-VI, full domain) = capacity + optimisation
 *   conditioning   ELBO(A-VI, full domain) - ELBO(A-VI, inputs chosen)
 *
 * They add up to log p(data) - ELBO(A-VI, inputs chosen). Cremer, Li & Duvenaud (2018) for approximation and amortisation, Bayer, Soelch,
 * Mirchev, Kayalibay & van der Smagt (2021) for conditioning. Nothing here prints. */
#ifndef PGM_GAP_H
#define PGM_GAP_H

#include "evidence.h"
#include "fit.h"

typedef enum { PGM_GAP_CONST, PGM_GAP_FVI, PGM_GAP_FULL, PGM_GAP_CHOSEN, PGM_GAP_METHODS } PgmGapMethodName;

typedef struct { int n_hidden, hidden[PGM_MAX_LAYERS], degree; } PgmArchitecture;      /* degree -1: a network */

typedef struct {
  PgmFitOptions fit;                   /* method is left alone; inputs and windows are the inputs chosen; fix: --fix */
  int seeds;                           /* fits per method, with seeds fit.seed, fit.seed + 1, ... */
  int n_architectures; const PgmArchitecture *architecture;   /* the last one is the one whose gaps are told; 0: that of `fit` */
  bool windows; const char *window_family; long window_lo, window_hi;      /* --window [z=]a..b; family NULL: those without an input form */
  int evidence_draws;
  /* before each fit: what it is, how many are done and how many there will be (at least) */
  void (*stage)(void *data, const char *what, int done, int total); void *stage_data;
} PgmGapOptions;

PgmGapOptions pgm_gap_defaults(void);

typedef struct { unsigned long seed; double seconds, elbo; long iterations; bool converged; char criterion[160]; } PgmGapRun;

typedef struct { double value, se; } PgmGapNumber;               /* NaN: not measured */

/* One method: the fit that stands, its ELBO on common random numbers, and all its runs. */
typedef struct {
  PgmFit *fit;                         /* NULL: not measured */
  double elbo, se;
  double *block;                       /* ELBO per block of common random numbers (PgmGap.blocks) */
  int n_runs; PgmGapRun *run;
} PgmGapMethod;

typedef struct { long w; double elbo; PgmGapNumber amortisation; bool converged; } PgmGapWindow;
typedef struct { char text[128]; double elbo; PgmGapNumber amortisation; bool converged; long parameters; } PgmGapArchitecture;

typedef struct {
  PgmGapNumber approximation, amortisation, capacity, optimisation, conditioning, constant;     /* constant: ELBO(F-VI) - ELBO(const) */
} PgmGaps;

typedef struct PgmGap {
  const PgmModel *model;
  long observations, locals;           /* locals: defined elements of local families */
  int blocks;
  PgmGapMethod method[PGM_GAP_METHODS];
  bool same_inputs;                    /* full and chosen are one */
  char full[512], chosen[512];         /* inputs, "z from x[n-1], x[n]" */
  long stands_in;                      /* window that stands for the full domain; -1: the verdict's own domain */
  double best;                         /* ELBO of the best of the function class (full domain) that was found */
  PgmEvidence evidence;
  PgmGaps gaps;
  int n_windows; PgmGapWindow *window;
  int n_architectures; PgmGapArchitecture *architecture;
  char restarted[160];                 /* F-VI was restarted from a fit above it: said here; "" otherwise */
  char unconverged[512];               /* names of the fits that did not converge; "" */
  int agrees;                          /* with the verdict: 1, 0; -1: cannot be told */
  char message[1536];
} PgmGap;

PgmStatus pgm_gap_run(PgmSession *s, const PgmGapOptions *options, PgmGap **out, PgmError *error);
/* The same on data that were not fitted: functions and constant factors as they are, globals and params of F-VI's fit for all, free local
 * factors optimised. No evidence, no split of the amortisation gap. */
PgmStatus pgm_gap_test(PgmSession *s, const PgmGap *train, const PgmGapOptions *options, PgmGap **out, PgmError *error);
void pgm_gap_free(PgmGap *gap);

/* ELBO of each unit, the values of the outermost plate with most units: its terms, its latents' entropy and Jacobians. Rows unit - lo,
 * one array per method (NULL: not measured). What belongs to no unit (globals) is left out. */
typedef struct { const char *variable; long lo, n; double *elbo[PGM_GAP_METHODS]; } PgmGapUnits;
PgmStatus pgm_gap_units(PgmSession *s, const PgmGap *gap, unsigned long seed, PgmGapUnits *out, PgmError *error);
void pgm_gap_units_free(PgmGapUnits *units);

#endif
