/* Parameter sources: where the Gaussian factors of each latent family come from, and the one vector of parameters behind them.
 *
 *   free       a mean and a log sd per unconstrained entry of every defined element (params: a mean, the sd is 0)
 *   shared     one mean and one log sd per entry, for all elements of the family (constant VI)
 *   function   an inference function of gathered inputs (A-VI); the weights are the parameters
 *
 * The factor of a discrete latent variable is a table of probabilities, the softmax of one logit per value: where a Gaussian has a mean and a
 * log sd, it has its logits, and the layout's mean holds the probabilities.
 *
 * A source is a forward map (parameters -> the layouts' mean and sd) and its vector-Jacobian product. The vector x holds, one after the
 * other: globals and params | shared and functions | free locals; within a free or shared source all means, then all log sds. */
#ifndef PGM_SOURCE_H
#define PGM_SOURCE_H

#include "gather.h"
#include "net.h"
#include "parallel.h"

/* Some rows (defined elements) of one family, ascending, each with the weight of its entropy. */
typedef struct {
  long n;
  const long *row;
  const double *weight;
} PgmRows; /* row NULL: all; weight NULL: 1 */

typedef struct {
  int family;
  PgmSourceKind kind;
  bool local, point;     /* point: a param, without sd */
  bool table;            /* of a discrete latent variable */
  bool scales;           /* has log sds: a Gaussian */
  bool pinned;           /* its parameters are inputs of a function: what moves it moves other factors */
  long rows, uwidth;     /* defined elements; unconstrained entries of each */
  long distinct;         /* of these, how many have a factor of their own, units with equal data sharing theirs (fused.h); 0: all */
  long at, size, sd_at;  /* its part of x; where the log sds begin (free and shared; functions: the free scales, or -1) */
  long encoders_at;      /* functions: where the weights of the encoders begin in x; the net's are at `at` */
  PgmFunction *function; /* owned; weights are kept in x, not in it */
  PgmGather *gather;
  PgmNet net;
  double *kept;   /* the nets' activations from forward to backward, where an evaluation has no more rows than */
  long kept_rows; /* these; else they are made again */
  double *scratch;
  double *features_bar; /* adjoints of all features, [rows][features]; NULL: no feature depends on anything */
  long slot_size;       /* one piece per slot */
  float *single;        /* perceptrons in single precision (PgmSources.single): the weights, then a piece per slot; NULL: the function is evaluated in double */
} PgmSource;

typedef struct PgmSources {
  PgmSession *s;
  bool eliminates;               /* local families that plates eliminate are no sources: their factors are the best ones, given those of the others */
  long eliminated;               /* parameters of these factors */
  bool single;                   /* this evaluation is in single precision where functions can be: PgmSource.single */
  int n;
  PgmSource *source;             /* in order of families */
  long globals, functions, size; /* ends of the three parts of x */
} PgmSources;

typedef struct {
  int family;
  PgmSourceKind kind;
  PgmFunction *function;
  PgmGather *gather;
} PgmSourceSpec;

/* Takes over the specs' functions and gathers, also on failure. Leaves the layouts alone. `eliminate`: without the free families that plates eliminate. */
PgmStatus pgm_sources_open(PgmSources **out, PgmSession *s, int n, const PgmSourceSpec *specs, bool eliminate, PgmError *error);
/* Room for the perceptrons in single precision (PgmObjectiveOptions.single); there already for models compiled with --real float. */
PgmStatus pgm_sources_make_single(PgmSources *q, PgmError *error);
void pgm_sources_close(PgmSources *q);
PgmSource *pgm_sources_find(const PgmSources *q, int family);

/* Fills the layouts' mean and sd; `rows`: one PgmRows per source, or NULL for all of all. Returns the (weighted) entropy in nats. */
double pgm_sources_forward(PgmSources *q, const double *x, const PgmRows *rows);
/* gradient = d(ELBO)/dx, from the layouts' mean_bar and sd_bar (of everything but the entropy) at the x of the last forward. Overwrites
 * the whole vector, but for free locals with `rows`: there only the entries of these rows. */
void pgm_sources_backward(PgmSources *q, const double *x, const PgmRows *rows, double *gradient);

/* Marks in the layouts the values of discrete elements that the data rule out: where the gradient of the last evaluation says that their log density is
 * -infinity. Their probability is 0 from then on, whatever the logits. Returns how many were marked that were not before. */
long pgm_sources_exclude(PgmSources *q);
/* Probabilities from the logits of one element of a discrete family; returns their entropy. `table` may be `logit`. */
double pgm_table_fill(const PgmSession *s, int family, long flat, const double *logit, double *table);

/* Logits of the table that is best for one element while everything else stays: the ELBO is linear in its probabilities but for their entropy, so p_k ~
 * exp(slope_k), slopes as the last evaluation left them in the layout. Returns the nats to be gained, the divergence of the table from that one. Where it
 * is not known the logit stays what it was. */
double pgm_table_optimum(const PgmLayout *l, long flat, const double *logit, double *optimum);
/* Draws the values of a discrete family from tables, those of its factors (the layout's mean) or others; returns their log probability. */
double pgm_draw_table(const PgmSession *s, int family, const double *table, PgmKey key);

/* x from the layouts (free sources: exactly; shared: the average over elements); functions are left alone. */
void pgm_sources_read(const PgmSources *q, double *x);
/* Sets a function's weights by least squares: random hidden layers (key), the linear output layer fitted to the layouts' means and log
 * sds. */
PgmStatus pgm_source_regress(PgmSources *q, PgmSource *source, PgmKey key, double *x, PgmError *error);
/* Random weights, the output layer 0 but for its constant: the average of the layouts' means and log sds. */
PgmStatus pgm_source_random(PgmSources *q, PgmSource *source, PgmKey key, double *x, PgmError *error);

/* Per weight of a function the number of inputs that add up in its output; 1 for biases. */
void pgm_source_fan_in(const PgmSource *source, double *out);

/* A new function for `family`; *gather serves the session's data. n_hidden 0 and degree < 0: two layers of 16. */
PgmStatus pgm_function_new(PgmFunction **out, PgmGather **gather, const PgmSession *s, int family, const PgmInputs *inputs,
                           const PgmFitOptions *o, PgmError *error);
PgmFunction *pgm_function_copy(const PgmFunction *f);
void pgm_function_free(PgmFunction *f);

#endif
