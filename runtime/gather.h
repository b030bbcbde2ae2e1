/* From the references of an inference function to its features: columns of numbers, one row per defined element of the latent family.
 *
 * A plan is made once from texts, a latent family and a session's data; it then fills the features of any rows. Columns, in order: for each
 * input its columns, standardised with the centre and scale of PgmFunction; then flags; then the outputs of encoders.
 *
 *   x[n-1]                the entries of the element; 0 where it is absent (outside the box, undefined, missing)
 *   y[p,1..Q]             the entries of all elements in order, when every row has the same number of them
 *   t                     an index of the family: one column
 *   g[n] with few values  (integer inputs of at most 32 distinct values): one column per value but the first
 *   u[g[n]]               the means and log sds of a latent variable's free factors
 *   x[g,*], c[g,*], x[i | county[i] = j], x[i+k, j+k], x[1..t]
 *                         sets and slices, which an encoder sums up (members.h, encoder.h): a slice where the verdict says so, else a set.
 *                         Inputs that refer to the same members are entries of one tuple
 *   flags                 per input the share of it that is absent, where that varies; which statement defines the element, where several
 *                         do; and the products of these with the columns, where they are not many: an affine function then treats the
 *                         elements at a boundary by a rule of their own
 *
 * A text may begin with the form that is wanted: "set x[*]", "slice x[*]", "entries x[g,*]", "number g[n]", "levels 1..4 of g[n]". What the data
 * decide is written into the inputs' texts in the same words (and "gaps": some members lack a value), and the names of the flags are kept
 * too, so that a plan made from a fitted function on new data has the same columns. */
#ifndef PGM_GATHER_H
#define PGM_GATHER_H

#include "inputs.h"
#include "philox.h"

enum { PGM_MAX_INPUTS = 32 }; /* of one tuple */
typedef struct PgmGather PgmGather;
struct PgmSources;

/* Plan from texts; fills the input and feature fields of `f` (n_inputs .. flags, encoders), whose architecture is known. `where` names the origin
 * in messages. */
PgmStatus pgm_gather_open(PgmGather **out, const PgmSession *s, int family, int n, char *const *texts, const char *where, PgmFunction *f,
                          PgmError *error);
/* Plan for a function already fitted: its texts, flags and standardisation. */
PgmStatus pgm_gather_reopen(PgmGather **out, const PgmSession *s, int family, const PgmFunction *f, PgmError *error);
void pgm_gather_close(PgmGather *g);
/* Finds the parameters that are inputs, and marks their sources as pinned. PGM_BAD_USAGE: a factor is not free. */
PgmStatus pgm_gather_bind(PgmGather *g, const struct PgmSources *q, PgmError *error);

long pgm_gather_weights(const PgmGather *g);         /* of all encoders */
bool pgm_gather_learns(const PgmGather *g);          /* do features depend on weights or parameters? */
void pgm_gather_random(const PgmGather *g, PgmKey key, double *weights);
void pgm_gather_fan_in(const PgmGather *g, double *out); /* per weight, as pgm_net_fan_in */

/* Before the features of rows[0..n-1] (NULL: the first n) can be had: the encoders' outputs, at their weights and all parameters x. */
void pgm_gather_prepare(PgmGather *g, const double *weights, const double *x, const long *rows, long n);
/* out[count x n_features]: rows[0..count-1], or first .. first+count-1 where rows is NULL; all of them prepared. */
void pgm_gather_rows(const PgmGather *g, const long *rows, long first, long count, double *out);
/* weights_bar and x_bar += the gradient from the adjoints of the prepared rows' features, bar[n x n_features]. */
void pgm_gather_backward(PgmGather *g, const double *weights, const double *x, const long *rows, long n, const double *bar, double *weights_bar,
                         double *x_bar);

#endif
