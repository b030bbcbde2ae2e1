/* pgmrt.h - the interface between emitted C and the runtime; the only header that emitted code includes.
 *
 * A compiled model is one constant PgmModel: a table of families (variable names), statements, plates with their block kernels, terms,
 * references, and the verdict. Kernels know the model's log density and nothing of methods, optimisers, threads or minibatches; the
 * runtime knows those and nothing of the model.
 *
 * ARRAYS. The elements of a family form a box: index positions lo..hi each, row-major, then the entries of one element (vector or
 * matrix, row-major). The "flat index" of an element is its row-major position in the box of its indices; entry (i, j) of element f of
 * a matrix[R, C] family stands at (f * R + i) * C + j.
 *
 * VALUES AND FACTORS. A latent entry has a constrained value (the model's scale) and, on Stan's unconstrained scale, a Gaussian factor
 * with a mean and an sd (params: sd 0). For scalar transforms both have the same layout. `expected` kernels read mean and sd;
 * `point` and `rest` kernels read constrained values. All results are in nats.
 *
 * GRADIENTS. A kernel adds into arrays the runtime has cleared:
 *   own references (index carries the outermost plate's variable bare, so distinct units touch distinct elements): X_bar, the family's array;
 *   shared references (no outermost variable in the index: globals, hubs, sums over a plate):                     X_sum, one family-shaped
 *       array per slot of units, so that threads do not meet;
 *   all others (lags, lookups): a buffer per reference, PgmRef, one row per unit, which the runtime gathers afterwards.
 * For an `expected` kernel the gradient is with respect to mean and sd (not log sd); for `point` and `rest` to the value.
 * A useful identity (Bonnet, Price): d2 E f / d mean2 = E f'' = (1 / sd) dE f / d sd, so curvature needs no second pass. */
#ifndef PGMRT_H
#define PGMRT_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define PGM_ABI 1
#define PGM_MAX_INDEX 6                /* index positions of a family, nested plates of a term */
#define PGM_NONE ((size_t)-1)

/* ---- what lives in the emitted `struct NAME_env` ------------------------------------------------------------------------------ */

/* First member of every env, `rt`. */
typedef struct {
  int quad_n;                          /* Gauss-Hermite rule for a standard normal: sum_q quad_w[q] f(quad_x[q]) ~ E f(Z), Z ~ N(0, 1) */
  const double *quad_x, *quad_w;
} PgmEnvBase;

/* A latent or param family in the env. Inputs and observed families are `const double *` or (integer ones) `const int *`;
 * scalar inputs without index are plain `double` or `long`. */
typedef struct {
  const double *value, *mean, *sd;
  double *value_bar, *mean_bar, *sd_bar;         /* own references */
  double *value_sum, *mean_sum, *sd_sum;         /* shared references: this slot's */
  const float *single;                           /* values in single precision, of families that PgmPlate.products names */
  float *single_sum;                             /* shared references to these: this slot's */
  long levels;                                   /* discrete: entries of `mean`, the probabilities of an element's values from its lower bound up */
} PgmLatent;

/* Adjoint buffer of one reference that is neither own nor shared. Row of unit n: (n - plate lo) * width. */
typedef struct { double *value, *mean, *sd; } PgmRefBar;

/* ---- kernels --------------------------------------------------------------------------------------------------------------------- */

/* Units are values of the outermost plate's variable: first .. first+count-1, or units[0..count-1]. Without a plate: first 0, count 1. */
typedef struct {
  long first, count;
  const long *units;                   /* NULL: consecutive */
  double weight;                       /* factor of value and gradient (minibatches) */
  double *scratch;                     /* at least the plate's scratch() doubles, 64-byte aligned */
} PgmSpan;

typedef double (*PgmKernel)(const void *env, const PgmSpan *span);
/* out[(unit position in span) * width + inner position]: the term's value at each of its elements, unweighted. */
typedef void (*PgmEach)(const void *env, const PgmSpan *span, double *out);

typedef enum { PGM_CLOSED_FORM, PGM_QUADRATURE, PGM_ENUMERATION, PGM_SAMPLED } PgmMethod;

typedef enum {                          /* where an observed value must lie */
  PGM_SUPPORT_REAL, PGM_SUPPORT_POSITIVE, PGM_SUPPORT_NONNEGATIVE, PGM_SUPPORT_UNIT, PGM_SUPPORT_BINARY, PGM_SUPPORT_COUNT,
  PGM_SUPPORT_POSITIVE_COUNT, PGM_SUPPORT_SIMPLEX, PGM_SUPPORT_ANY
} PgmSupport;

typedef struct {
  int statement;                       /* which statement of the model */
  const char *text;                    /* "x[n] ~ normal(theta + tau * z[n], sigma)" */
  int line, column;
  int n_plates;                        /* enclosing plates, outermost first; the box is PgmShape.term */
  const char *const *plates;           /* their variables */
  PgmMethod method;
  PgmEach point_each;                  /* log density at the point */
  PgmEach expected_each;               /* its expectation under q; NULL when method is PGM_SAMPLED */
} PgmTerm;

typedef struct { int family, position; long offset; } PgmOwn;   /* unit u owns the elements with index u + offset at this position */

typedef struct {                        /* all terms under one outermost plate (variable NULL: the terms outside plates) */
  const char *variable;
  int line;
  int axis;                            /* plates and family indices of one axis run together in a minibatch; -1 without a plate */
  int first_term, n_terms;             /* in PgmModel.terms */
  PgmKernel point;                     /* all terms at a point */
  PgmKernel expected;                  /* the terms with closed form or quadrature, in expectation; NULL if none */
  PgmKernel rest;                      /* the other terms, at a point; NULL if none */
  PgmKernel single;                    /* as rest, with matrix products and what lies between them in single precision; NULL: there is none */
  const int *products;                 /* latent families in its products: it reads PgmLatent.single and adds to single_sum, not value_sum; ended by -1; NULL: none */
  PgmKernel constant;                  /* summands that depend on data alone, which those above leave out; NULL if none */
  /* Local families whose best factors, given everything else, have a closed form: all that the terms mention, each defined by this plate and met in it alone.
   * Ended by -1; NULL: none. */
  const int *eliminates;
  PgmKernel eliminated;                /* `expected` and the entropy of these families' factors at the best factors, with the gradient in everything else */
  PgmKernel complete;                  /* the same where no observation is missing */
  PgmKernel restore;                   /* adds the best means and sds to mean_bar and sd_bar of these families; value 0 */
  long block;                          /* largest span.count; 0: any; -1: every span computes a recurrence over all units, so the fewest spans */
  long (*scratch)(const void *env, long count);  /* doubles of scratch for a span of `count` units; NULL: none */
  const int *shared;                   /* families to whose X_sum the kernels add (shared references), ended by -1; NULL: none */
  const PgmOwn *own;                   /* families with own references, ended by family -1; NULL: none */
  /* Families with data that the expectations and constants read, each of them in its first index (position 0) at the unit's number + offset alone, ended by
   * family -1. They tell units apart by nothing else, and a unit reads no other's latent elements: units with equal data have equal terms. NULL: not so. */
  const PgmOwn *reads;
} PgmPlate;

/* A reference whose adjoints go through a buffer. */
typedef struct {
  int plate;                           /* in PgmModel.plates */
  int family;                          /* latent or param */
  const char *text;                    /* "z[n-1]" */
  size_t place;                        /* offsetof its PgmRefBar in the env */
  long (*width)(const void *env);      /* buffer entries per unit */
  /* For units as in span: out[position * width + k] = entry position (flat index * entries + entry) in the family's value array, or -1 */
  void (*targets)(const void *env, const PgmSpan *span, long *out);
} PgmRef;

/* A plate whose term needs the data only through sums over groups of its elements: on all data, another plate gives its `expected` value and gradient, with
 * the groups as units (one without a variable: a single group). The tables have one entry per group; first those of means of data, which the sums are
 * taken about, then those of sums. */
typedef struct {
  int plate, by_sums;                  /* in PgmModel.plates: the one and the other, which has this kernel alone */
  int n_means, n_sums;
  size_t place;                        /* offsetof in the env of const double *[n_means + n_sums] */
  /* For the elements of the units in span. add_means: to[i][group] += weight * data, i < n_means, and to[n_means][group] += weight; NULL: there are none.
   * add_sums: to[k][group] += what sum k is of, when the tables of means are there. */
  void (*add_means)(const void *env, const PgmSpan *span, double *const *to);
  void (*add_sums)(const void *env, const PgmSpan *span, double *const *to);
} PgmSums;

/* Filled by the runtime for PgmRangeCheck: which elements exist. */
typedef struct {
  const long *lo, *hi;                 /* box of the family */
  const unsigned char *piece;          /* per flat index: 0 = undefined; NULL: the whole box is defined */
} PgmDefined;
typedef struct { int n; int n_index; long index[PGM_MAX_INDEX]; long unit[PGM_MAX_INDEX]; } PgmMiss;  /* the first one found */

/* A reference that could not be proved in range at compile time; same conventions. Runs once, when data are loaded. */
typedef struct {
  bool missing;                        /* asks instead whether an observed element that the statement depends on is given */
  int family, plate, term_statement, line, column;   /* plate -1: the check runs its own loops and ignores the span */
  const char *text;
  /* Calls pgm_defined for every index tuple it makes; returns miss->n. `miss->unit` gets the plate variables of the first miss. */
  long (*check)(const void *env, const PgmSpan *span, const PgmDefined *defined, PgmMiss *miss);
} PgmRangeCheck;

/* True when the element is defined; else counts and remembers the first. */
static inline bool pgm_defined(const PgmDefined *d, PgmMiss *m, int n_index, const long *index)
{
  long flat = 0;
  bool inside = true;
  for (int k = 0; k < n_index; k++) {
    inside = inside && index[k] >= d->lo[k] && index[k] <= d->hi[k];
    flat = flat * (d->hi[k] - d->lo[k] + 1) + (index[k] - d->lo[k]);
  }
  if (inside && (!d->piece || d->piece[flat])) return true;
  if (!m->n++) {
    m->n_index = n_index;
    for (int k = 0; k < n_index; k++) m->index[k] = index[k];
  }
  return false;
}

/* ---- families and statements ----------------------------------------------------------------------------------------------------------- */

typedef enum { PGM_INPUT, PGM_GLOBAL, PGM_LOCAL, PGM_MARGINAL, PGM_OBSERVED, PGM_PARAM, PGM_LET, PGM_PRUNED } PgmRole;
typedef enum {
  PGM_INT, PGM_REAL, PGM_VECTOR, PGM_ROW_VECTOR, PGM_MATRIX, PGM_SIMPLEX, PGM_ORDERED, PGM_POSITIVE_ORDERED, PGM_COV_MATRIX,
  PGM_CORR_MATRIX, PGM_CHOLESKY_CORR
} PgmType;
typedef enum {                          /* unconstrained u -> constrained value; Stan's reference manual, chapter on transforms */
  PGM_IDENTITY, PGM_LOWER, PGM_UPPER, PGM_INTERVAL,    /* entrywise */
  PGM_T_SIMPLEX, PGM_T_ORDERED, PGM_T_POSITIVE_ORDERED, PGM_T_COV, PGM_T_CORR, PGM_T_CHOLESKY_CORR,
  PGM_T_DISCRETE                        /* no transform: a table of probabilities, see PgmLatent.levels */
} PgmTransform;

typedef struct {
  const char *name;
  int line, column;
  PgmRole role;
  PgmType type;
  bool integer;                        /* stored as int */
  int n_index, rank;                   /* index positions; dimensions of one element: 0, 1, 2 */
  const char *const *index;            /* generic index names: plate variables ("n"), or the text of a constant index ("1") */
  const int *axis;                     /* per index position: its axis, -1 if constant */
  size_t place;                        /* offsetof in the env: a PgmLatent (global, local, param, pruned, marginal), a pointer, or a scalar */
  size_t present;                      /* observed: offsetof in the env of a pointer to one byte per entry, 1 where it is given, 0 where it is missing;
                                        * 0: the kernels do without, and all must be given */
  PgmTransform transform;              /* latents and params */
  bool has_lower, has_upper;           /* bounds: declared ones, and for latents those that the distribution's support implies */
  bool uniform_bounds;                 /* the same for every element */
  void (*bounds)(const void *env, double *lower, double *upper);  /* NULL without bounds; fills [0] if uniform, else one per element (flat) */
  /* latents and params with bounds that are vectors or depend on other latent variables: `transform` is PGM_IDENTITY, all arrays of the runtime and of the
   * kernels have the unconstrained coordinates, and the kernels have the transform and its Jacobian. NULL: all others. */
  void (*shown)(const void *env, double *out);    /* the family's values, from the coordinates in the arrays */
  void (*hidden)(const void *env, double *out);   /* the family's coordinates, from values in all arrays */
  void (*shown_mean)(const void *env, double *out), (*shown_variance)(const void *env, double *out);  /* under q; NULL: not known but by draws */
  bool separable;                      /* local: no term contains two different elements of local families when one of them is of this family */
  bool concave;                        /* separable, and every term is concave in its elements on the unconstrained scale: one optimum */
  bool is_size;                        /* int input that plates or dimensions use */
  double location;                     /* latents on the whole real line: a constant location of the prior, where the search begins; else 0 */
} PgmFamily;

/* Receives the elements of a statement as runs of consecutive flat indices. */
typedef struct PgmSink PgmSink;
struct PgmSink { void (*run)(PgmSink *sink, long flat, long count); };

typedef enum { PGM_S_INPUT, PGM_S_LATENT, PGM_S_OBSERVED, PGM_S_PARAM, PGM_S_LET, PGM_S_FACTOR } PgmStatementKind;

typedef struct {
  PgmStatementKind kind;
  int family;                          /* -1: factor */
  int line, column;
  const char *text;
  bool constant_index;                 /* every index is a constant (x[0], z[1]) or there is none */
  const char *range;                   /* "n in 2..N", "" outside plates: for messages */
  void (*elements)(const void *env, PgmSink *sink);    /* integer inputs may not have been read yet: see PgmModel.shape */
  /* Default of an input: writes its elements, as doubles, at their flat indices; NULL: none. That of an integer scalar reads integer scalars
   * only (sizes are found before arrays); others may read any input. */
  void (*fallback)(const void *env, double *array);
  PgmSupport support;                  /* observed: where values must lie */
  bool whole;                          /* observed: the entries of an element have one distribution and are given together or not at all */
} PgmStatement;

/* Two lengths that must be equal and that only the data decide: X * beta with X : matrix[N, K], beta : vector[J]. Checked when data are loaded. */
typedef struct {
  int line, column;
  const char *a, *b;                   /* "K", "J" */
  void (*values)(const void *env, long *a, long *b);
} PgmLengthCheck;

/* How a size that the data do not name is found. */
typedef struct {
  int size;                            /* family of the size */
  int array;                           /* family whose data array tells it */
  int position;                        /* index position (0..n_index-1) or n_index + dimension; -1: the largest value in the array (a lookup's upper bound) */
  long extra;                          /* elements of the array in that position that are not of the plate (x[0] without a default): size = length - extra */
} PgmCount;

typedef struct { long lo[PGM_MAX_INDEX], hi[PGM_MAX_INDEX], dim[2]; } PgmBox;
typedef struct {                        /* what the sizes decide; arrays parallel to the model's tables, allocated by the runtime */
  PgmBox *family;                      /* bounding box of all statements; dim: extents of one element's dimensions (1 where absent) */
  PgmBox *term;                        /* ranges of the enclosing plates (bounding boxes where ragged) */
  long *plate_lo, *plate_hi;           /* outermost plates */
} PgmShape;

/* ---- inference functions ----------------------------------------------------------------------------------------------------------------- */

typedef struct { int family; const char *const *inputs; } PgmPin;      /* the inputs that suffice if this family keeps free factors */

typedef struct {                        /* one per local (or pruned) latent family, in order of families */
  int family;
  const char *verdict;                 /* "closes", ... */
  const char *domain_kind;
  const char *domain;                  /* display: "x[n-1], x[n]" */
  const char *const *inputs;           /* references to gather by default ("x[n-1]"); NULL-terminated; NULL when there is no input form */
  const char *const *sd_inputs;        /* of those, what the sd needs; NULL: the same; empty: one free scalar per entry */
  const char *const *window;           /* generic references ("x[t]") that --window W shifts; NULL-terminated */
  bool amortize;                       /* inputs come from an `amortize` statement */
  const char *this_data;               /* display: what suffices for a function of this data set alone, which does not carry over; NULL: nothing does */
  int n_pins; const PgmPin *pins;      /* of a verdict that is not positive */
} PgmAmortize;

typedef struct PgmRng PgmRng;           /* generator behind pgm_draw_*; see pgm_draw.h */

typedef struct PgmModel {
  int abi;
  const char *name, *file, *hash;      /* hash: 64 hex digits over the source */
  const char *version;
  size_t env_size;
  int n_families; const PgmFamily *families;
  int n_statements; const PgmStatement *statements;
  int n_plates; const PgmPlate *plates;
  int n_terms; const PgmTerm *terms;
  int n_refs; const PgmRef *refs;
  int n_sums; const PgmSums *sums;
  int n_checks; const PgmRangeCheck *checks;
  int n_counts; const PgmCount *counts;
  int n_lengths; const PgmLengthCheck *lengths;
  int n_amortize; const PgmAmortize *amortize;
  int n_axes;
  /* Called when sizes are known, and again once integer inputs have been read; until then their pointers are NULL and a range that needs them
   * is empty (lo 1, hi 0). */
  void (*shape)(const void *env, PgmShape *shape);
  /* Draws, in an order the dependencies allow, the elements of every statement with draw[statement] set, into the env's arrays (cast from
   * const). Returns -1, or the statement whose arguments were out of their domain (`where` then holds the plate variables). */
  int (*simulate)(const void *env, PgmRng *rng, const unsigned char *draw, long *where);
  /* values of `let` families from the env's values; parallel to families with role PGM_LET, NULL elsewhere */
  void (*const *lets)(const void *env, double *out);
  /* log densities of the values of marginal families at the env's values of the others, not normalised: out[flat * levels + value - lower bound], `levels`
   * as in PgmLatent; parallel to families, NULL elsewhere */
  void (*const *labels)(const void *env, double *out);
  const char *verdict;                 /* of the model: "closes", "partly", ... */
  const char *check_text, *check_json, *check_dot;     /* what `check` prints */
} PgmModel;

/* The command line of a compiled model; returns the exit status. */
int pgm_main(int argc, char **argv, const PgmModel *model);

#include "pgm_math.h"                   /* inline functions of kernels; declarations of the vectorised libm */
#include "pgm_draw.h"                   /* pgm_draw_NAME for simulate */

#endif
