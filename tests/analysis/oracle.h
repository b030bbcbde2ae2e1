/* What the F-VI optimum of a linear-Gaussian model depends on, found without the analysis: the model is written out at a small size, its log
 * density assembled as a quadratic form, and the optimum solved for by dense linear algebra (GSL).
 *
 * With globals held fixed, log p = const + b(data)'z - z'Lz/2 in the latent elements z. The optimal factorised Gaussian has means L^-1 b and
 * standard deviations L_nn^-1/2 (Bishop, Pattern Recognition and Machine Learning, 10.1.2). Elements without an observed descendant and in no
 * factor are left out of q, each by itself, as their terms are.
 *
 * Blocks of L that are not connected stay apart to the last bit: a Cholesky factor has exact zeros between them. So an effect is there when it
 * is not exactly zero, however small it is.
 *
 * Shared with the compiler: the resolved Model, hence names, types and the rules that it passed. Not shared: everything after. */
#ifndef ORACLE_H
#define ORACLE_H

#include "model.h"

#define ORACLE_MAX_INDEX 8

typedef enum { EL_LATENT, EL_OBSERVED, EL_INPUT } ElementKind;
typedef struct {
  ElementKind kind;
  int family, n;
  long index[ORACLE_MAX_INDEX];
  double value;                         /* observed, input: the data; may be changed between solves */
  bool barren;                          /* latent: not in q */
  bool pinned;                          /* latent: its mean is given, as `value`, and it is no longer solved for */
  int row;                              /* latent in q: its place in mean, precision; else -1 */
} OElement;

typedef struct Oracle {
  const Model *m;
  int n_elements;
  OElement *element;
  int n_rows;                           /* latent elements in q */
  int *of_row;                          /* row -> element */
  double *mean, *sd;                    /* n_rows, after oracle_solve */
  double *coupling;                     /* n_rows x n_rows: L */
  int *block;                           /* n_rows: number of the connected block of L */
  double *gain;                         /* n_rows x n_elements, row-major: d mean / d value for observed and pinned elements, 0 for the others */
  bool onto;                            /* every value of every table occurs */
  const char *unsupported;              /* why the model is not linear-Gaussian, if it is not */
  struct OracleWork *work;
} Oracle;

/* Sizes, tables, covariates and observations drawn from `seed`; sizes are least where the model gives bounds, and every plate has elements.
 * NULL when no small size was found. Memory is the compiler's arena. With `unsupported` set, nothing else is there. */
Oracle *oracle_new(const Model *m, unsigned long seed);
/* Assembles and solves at the current values. False: the precision is singular, or a value no longer fits (a table out of range). */
bool oracle_solve(Oracle *o, bool with_gain);
/* Element of a family, -1 when it does not exist. */
int oracle_find(const Oracle *o, int family, int n, const long *index);
/* Value of a scalar integer input; false when the name is none. */
bool oracle_size(const Oracle *o, const char *name, long *value);
/* Least and largest index of a family at position p. */
void oracle_extent(const Oracle *o, int family, int p, long *lo, long *hi);
/* Deterministic numbers for tests: uniform in [0, 1). */
double oracle_uniform(unsigned long *state);

#endif
