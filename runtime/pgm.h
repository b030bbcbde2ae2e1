/* pgm.h - posteriors of a fitted model, in C.
 *
 *   PgmPosterior *posterior;  PgmInference *result;  PgmError error;
 *   if (pgm_posterior_open(&posterior, saw_model(), "saw.fit", &error) != PGM_OK) { fprintf(stderr, "%s\n", error.text); ... }
 *   const double x[] = {0.3, -1.2, 4.0};  const long dim[] = {3};
 *   const PgmValues data[] = {{"x", 1, dim, x}};
 *   if (pgm_posterior_infer(posterior, data, 1, NULL, &result, &error) == PGM_OK) {
 *     const PgmMarginal *z = pgm_inference_find(result, "z");          z->mean[n], z->sd[n], n < z->elements
 *   }
 *   pgm_inference_free(result);
 *   pgm_posterior_close(posterior);
 *
 * `pgmc MODEL.pgm --library` writes this text and typed wrappers into NAME.h.
 *
 * Nothing here prints, exits, or keeps state outside the handles. A PgmPosterior is never changed once it is open: any number of threads may
 * infer from one at the same time. Every function that can fail returns a PgmStatus and, unless `error` is NULL, leaves its text in *error;
 * a result that could not be made is NULL. Freeing NULL is allowed. */
#ifndef PGM_H
#define PGM_H

#include <stdbool.h>
#include <stddef.h>
#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct PgmModel PgmModel;         /* a compiled model: NAME_model() */
typedef struct PgmPosterior PgmPosterior; /* a model and a fit of it */
typedef struct PgmInference PgmInference; /* the posterior of one batch of observations */

/* The fit is checked against the model: another model's, a truncated or an altered one is PGM_BAD_INPUT, an unreadable file PGM_SYSTEM.
 * Bytes in memory are those of a fit file and may be released afterwards. */
PgmStatus pgm_posterior_open(PgmPosterior **out, const PgmModel *model, const char *path, PgmError *error);
PgmStatus pgm_posterior_from_memory(PgmPosterior **out, const PgmModel *model, const void *bytes, size_t size, PgmError *error);
void pgm_posterior_close(PgmPosterior *posterior);

const char *pgm_posterior_model(const PgmPosterior *posterior);  /* the model's name */
const char *pgm_posterior_method(const PgmPosterior *posterior); /* "avi", "fvi", "const" */

/* Inputs: the arrays that observations must bring. When inference functions serve all local latent variables, these are the variables they
 * read; otherwise all data that have no default. Sizes that can be counted need not be given, nor those that only the fitted data could tell. */
int pgm_posterior_inputs(const PgmPosterior *posterior);
const char *pgm_posterior_input(const PgmPosterior *posterior, int i); /* NULL when i is out of range */

/* Outputs: the latent variables and params that q has factors for, in order of declaration. */
int pgm_posterior_outputs(const PgmPosterior *posterior);
const char *pgm_posterior_output(const PgmPosterior *posterior, int i);

/* One array of observations: a name of the model, and its values, row-major (indices first, then the dimensions of an element); NaN is a
 * missing value. rank 0 is a scalar. An entry whose `value` is NULL counts as not given. */
typedef struct {
  const char *name;
  int rank;
  const long *dim;
  const double *value;
} PgmValues;

typedef struct {
  int threads;        /* 0 means 1: the caller has threads of its own; -1: as many as cores */
  bool unconstrained; /* means and sds of the Gaussian factors on the unconstrained scale, not those of the variables */
} PgmInferOptions;

#define PGM_MARGINAL_INDEX 6
typedef struct {
  const char *name;
  bool local;               /* false: a global latent variable or a param */
  int n_index;              /* index positions; the element with indices i_0, i_1, ... stands at row-major position in the box */
  const char *const *index; /* their names, "n" */
  long lo[PGM_MARGINAL_INDEX], hi[PGM_MARGINAL_INDEX];
  int rank; /* dimensions of one element: 0, 1, 2 */
  long dim[2];
  long elements, width;    /* elements in the box; numbers per element (as `unconstrained` asks) */
  const bool *defined;     /* per element of the box: false where the model has none; NULL: it has all */
  const double *mean, *sd; /* elements * width, row-major; params have sd 0; `unconstrained` discrete variables: as if it were not asked for */
  /* Discrete variables: p[e * values + k] is the probability of the value first + k of element e, 0 where the element cannot have it. NULL: others. */
  long first, values;
  const double *p;
} PgmMarginal;

/* The posterior of the observations `data`, which may be of any number. With a fit by A-VI this is one forward pass; with const, the constant;
 * with F-VI the factors of new units are optimised, globals fixed (the fitted data themselves get the factors kept). `options` may be NULL.
 * PGM_BAD_INPUT: an array that is not there, or of the wrong shape, or out of bounds. */
PgmStatus pgm_posterior_infer(const PgmPosterior *posterior, const PgmValues *data, int n_data, const PgmInferOptions *options,
                              PgmInference **out, PgmError *error);
void pgm_inference_free(PgmInference *inference);

int pgm_inference_count(const PgmInference *inference);
/* As outputs; then, where all data are given, the labels that the model sums out, with their conditional probabilities averaged over draws from q. NULL when
 * i is out of range. */
const PgmMarginal *pgm_inference_at(const PgmInference *inference, int i);
const PgmMarginal *pgm_inference_find(const PgmInference *inference, const char *name);
/* How it was obtained: "one forward pass of the inference functions", ... */
const char *pgm_inference_how(const PgmInference *inference);

#ifdef __cplusplus
}
#endif
#endif
