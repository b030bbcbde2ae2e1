/* Fits: what `fit` finds, `store` keeps and `infer`, `sample`, `predict` read. Runtime-internal; the public C interface is pgm.h. */
#ifndef PGM_FIT_H
#define PGM_FIT_H

#include "session.h"

typedef enum { PGM_FVI, PGM_CONST, PGM_AVI } PgmMethodName;
typedef enum { PGM_TANH, PGM_RELU, PGM_LEAKY_RELU, PGM_SOFTPLUS } PgmActivation;
typedef enum { PGM_OPT_DEFAULT, PGM_OPT_PROFILE, PGM_OPT_LBFGS, PGM_OPT_ADAM } PgmOptimizer;
typedef enum { PGM_EXP_DEFAULT, PGM_EXP_EXACT, PGM_EXP_QUADRATURE, PGM_EXP_FIXED_DRAWS, PGM_EXP_MONTE_CARLO } PgmExpectation;

#define PGM_MAX_LAYERS 8
typedef struct {
  PgmMethodName method; bool method_given;
  int n_hidden; int hidden[PGM_MAX_LAYERS];      /* n_hidden 0 with degree < 0: the default, 16,16 */
  int degree;                                    /* >= 0: polynomial; -1: network */
  PgmActivation activation;
  bool skip;                                     /* affine skip connection */
  int n_inputs; const char *const *inputs;       /* --inputs texts "z=x[n],x[n-1]" */
  int n_windows; const char *const *windows;     /* --window texts "W" or "z=W" */
  int n_pins; const char *const *pins;           /* --pin names: locals that keep free factors, whose parameters are inputs of the others */
  PgmExpectation expectation; int samples;       /* samples 0: default */
  PgmOptimizer optimizer;
  double step;                                   /* 0: default */
  long max_iter;                                 /* 0: default */
  double tol;                                    /* 0: default */
  long batch;                                    /* 0: full */
  int threads; unsigned long seed;
  const struct PgmFit *init; double init_radius; /* --init */
  bool one_start;                                /* F-VI: leave out the multistart of separable locals */
  const struct PgmFit *fix;                      /* --fix: globals and params stay at this fit's (same shapes, else PGM_BAD_INPUT) */
  bool khat;
  /* progress: called now and then; returning false interrupts (the fit so far is returned, unconverged, stopped "signal") */
  bool (*progress)(void *data, long iteration, double seconds, double elbo, double gradient_norm); void *progress_data;
  /* trace: every iteration */
  void (*trace)(void *data, long iteration, double seconds, double elbo, double gradient_norm); void *trace_data;
  /* what was traced so far were the free factors that inference functions are to start from; theirs is what follows (same data) */
  void (*prepared)(void *trace_data);
  void (*checkpoint)(void *data, const struct PgmFit *so_far); void *checkpoint_data; double checkpoint_every;   /* seconds */
} PgmFitOptions;

PgmFitOptions pgm_fit_defaults(void);

/* The words of the command line and of fit files; NULL-terminated, in the order of the enums (store.c). */
extern const char *const pgm_method_words[];     /* "fvi", "const", "avi" */
extern const char *const pgm_activation_words[]; /* "tanh", ... */
extern const char *const pgm_origin_words[];     /* "verdict", "amortize", "--inputs", ... */

/* Where the factors of one latent family come from. */
typedef enum { PGM_FREE, PGM_SHARED, PGM_FUNCTION } PgmSourceKind;

/* Who named the inputs. */
typedef enum { PGM_OF_VERDICT, PGM_OF_AMORTIZE, PGM_OF_INPUTS, PGM_OF_WINDOW, PGM_OF_PIN } PgmOrigin;

/* An encoder of a set or a slice (encoder.h): its levels, from the top, each with the columns of its own entries, and whether sets differ in size. */
#define PGM_MAX_ENCODERS 8
typedef struct {
  bool slice;
  int n_levels; int columns[PGM_MAX_INDEX]; bool varies[PGM_MAX_INDEX];
} PgmEncoderShape;

/* An inference function: gathered inputs -> (mean, log sd) of each unconstrained entry of an element.
 * Features: the gathered entries, standardised (missing or absent ones 0), flags (presence, piece) that vary over the data, and the outputs of
 * encoders of sets and slices. */
typedef struct {
  PgmOrigin origin;
  int n_inputs; char **inputs;                   /* reference texts, as gathered: "x[n-1]" */
  int n_features;                                /* columns fed to the function, flags and outputs of encoders included */
  int n_scaled; double *center, *scale;          /* per entry and flag; then of each encoder per level its columns and its size */
  int n_flags; char **flags;                     /* texts: "x[n-1] present", "z[1] statement 2" */
  int degree;                                    /* >= 0 polynomial */
  int n_hidden; int hidden[PGM_MAX_LAYERS];
  PgmActivation activation; bool skip;
  int n_encoders; PgmEncoderShape encoders[PGM_MAX_ENCODERS];
  bool free_scale;                               /* log sds are free scalars, one per entry, not outputs */
  long n_outputs;                                /* 2 * uwidth, or uwidth with free_scale */
  long n_weights; double *weights;               /* the net's (net.h), those of the encoders one after the other, free scales */
} PgmFunction;

typedef struct {
  int family;                                    /* in the model */
  PgmSourceKind kind;
  long elements, uwidth;                         /* free: the box; shared: 1 */
  long distinct;                                 /* free: how many elements had a factor of their own in the fit, units with equal data sharing theirs; 0: all.
                                                  * In no file */
  double *mean, *log_sd;                         /* free and shared (params: log_sd NULL); free local ones that plates eliminate may be NULL: one pass over
                                                  * the data restores them from the others (pgm_fit_apply does) */
  PgmFunction *function;
} PgmFactors;

typedef struct { char *name; long value; } PgmFitSize;

typedef struct PgmFit {
  char *model, *hash, *version;
  PgmMethodName method;
  int n_factors; PgmFactors *factors;            /* one per latent and param family, in order of families */
  double elbo, elbo_se, elbo_per_observation, seconds, gradient_norm, khat;   /* NaN: not measured */
  double khat_effective;                         /* share of the draws of k-hat that count; in no file */
  long iterations, variational_parameters, observations;
  bool converged; char criterion[160]; char stopped[16];   /* "converged", "max-iter", "no-step", "signal", "nan" */
  unsigned long seed; int threads;
  char *data_hash;                               /* pgm_fit_bind */
  int n_sizes; PgmFitSize *sizes;                /* of the data fitted: for new observations that cannot tell them; pgm_fit_bind */
  char *method_note;                             /* said after the fit ("no input form for z: free factors") or NULL */
} PgmFit;

/* Has the model observed variables? Else its data, if it has any, are inputs, which factors weigh, and a fit's observations are 0. */
bool pgm_observes(const PgmModel *model);

PgmStatus pgm_fit_run(PgmSession *s, const PgmFitOptions *options, PgmFit **out, PgmError *error);
void pgm_fit_free(PgmFit *fit);
PgmFit *pgm_fit_copy(const PgmFit *fit);

/* Fills the layouts' mean and sd of every latent family from a fit (running the inference functions on the session's data). F-VI fits
 * whose sizes differ from the session's: PGM_BAD_INPUT. */
PgmStatus pgm_fit_apply(PgmSession *s, const PgmFit *fit, PgmError *error);
/* Writes into the fit the factors that it leaves to be restored, those of the session's data. */
PgmStatus pgm_fit_restore(PgmSession *s, PgmFit *fit, PgmError *error);
/* A fit on new data: optimises its free local factors, all else as the fit has it. *out: the fit with the factors of these units, `converged` telling
 * whether their optimisation did too; the layouts hold them. */
PgmStatus pgm_fit_locals(PgmSession *s, const PgmFit *fit, PgmFit **out, PgmError *error);
/* Can the inference functions that a fit with these options would learn on s read other data, which errors call `name`? PGM_BAD_INPUT: no ("NAME: the
 * inference function of z is for 3 input entries, these data have 2"), or the options are not for s, as pgm_fit_run would say. Fits nothing. */
PgmStatus pgm_fit_suits(PgmSession *s, const PgmFitOptions *options, const PgmSession *other, const char *name, PgmError *error);
/* ELBO at the layouts' mean and sd, with its standard error (0 where nothing is sampled). */
double pgm_elbo(PgmSession *s, int samples, unsigned long seed, double *se);
/* Pareto k-hat of the importance weights p(data, values) / q at the layouts' factors (khat.c), and the smoothed log evidence and the share
 * of draws that count (both may be NULL); NaN where the weights are not finite or out of memory. */
double pgm_khat(PgmSession *s, int draws, unsigned long seed, double *log_evidence, double *effective);

/* ---- store.c: safetensors ------------------------------------------------------------------------------------------------------------ */
/* Notes in the fit which data it belongs to: their hash (SHA-256 of the names, boxes and digests of the values of inputs and observed families) and sizes. */
PgmStatus pgm_fit_bind(PgmFit *fit, const PgmSession *s, PgmError *error);
void pgm_data_hash(const PgmSession *s, char hex[65]);
PgmStatus pgm_fit_write(const PgmFit *fit, const PgmModel *model, const char *path, PgmError *error);
PgmStatus pgm_fit_read(PgmFit **out, const PgmModel *model, const char *path, PgmError *error);
PgmStatus pgm_fit_from_memory(PgmFit **out, const PgmModel *model, const void *bytes, size_t size, const char *name, PgmError *error);

#endif
