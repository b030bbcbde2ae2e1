/* From references ("x[n-1]", "c[g[n]]", "x[g,*]", "x[i | county[i] = j]") to columns of numbers: the inputs of an inference function.
 *
 * A plan is made once from texts, a latent family and a session's data; it then fills the features of any rows. Row r of a family is its
 * r-th defined element. Columns, in order: for each input its columns, standardised with the centre and scale of PgmFunction; then flags.
 *
 *   x[n-1]                the entries of the element; 0 where it is absent (outside the box, undefined, missing)
 *   x[g,*], y[p,1..Q]     the entries of all elements in order, when every row has the same number of them; else pooled
 *   x[i | county[i] = j]  pooled: log(1 + count), then per entry mean, sd and (where all values are >= 0) log(1 + sum)
 *   t                     an index of the family: one column
 *   x[i+k, j+k]           a name that is nothing else runs over all whole numbers that lead to an element: pooled
 *   g[n] with few values  (integer inputs of at most 32 distinct values): one column per value but the first
 *   flags                 per input the share of it that is absent, where that varies; which statement defines the element, where several
 *                         do; and the products of these with the columns, where they are not many: an affine function then treats the
 *                         elements at a boundary by a rule of their own
 *
 * Choices that depend on the data (pooled or not, levels) are written into the inputs' texts ("pooled x[g,*]", "levels 1..4 of g[n]"), and
 * the names of the flags are kept too, so that a plan made from a fitted function on new data has the same columns. */
#ifndef PGM_GATHER_H
#define PGM_GATHER_H

#include "fit.h"

typedef struct PgmGather PgmGather;

/* The inputs of one family. n = -1: there is no input form, the family keeps free factors. */
typedef struct {
  int n;
  char **text;
  char where[256];
  bool free_scale;
} PgmInputs;

/* Checks that every --inputs and --window names a local latent variable (PGM_BAD_USAGE, PGM_BAD_INPUT). */
PgmStatus pgm_inputs_check(const PgmSession *s, const PgmFitOptions *o, PgmError *error);
/* The references for `family`: --inputs, else --window, else those of the model. */
PgmStatus pgm_inputs_find(const PgmSession *s, const PgmFitOptions *o, int family, PgmInputs *out, PgmError *error);
void pgm_inputs_free(PgmInputs *in);
/* The options that give inputs to the local latent variables to which the model gives none, "--window 1" or "--window z=1", as far as that works
 * on these data; "" where it does for none. */
void pgm_window_advice(const PgmSession *s, char *text, size_t size);

/* Plan from texts; fills the input and feature fields of `f` (n_inputs .. flags). `where` names the origin in messages. */
PgmStatus pgm_gather_open(PgmGather **out, const PgmSession *s, int family, int n, char *const *texts, const char *where, PgmFunction *f,
                          PgmError *error);
/* Plan for a function already fitted: its texts, flags and standardisation. */
PgmStatus pgm_gather_reopen(PgmGather **out, const PgmSession *s, int family, const PgmFunction *f, PgmError *error);
void pgm_gather_close(PgmGather *g);
/* out[count x n_features]: rows[0..count-1], or first .. first+count-1 where rows is NULL. */
void pgm_gather_rows(const PgmGather *g, const long *rows, long first, long count, double *out);

#endif
