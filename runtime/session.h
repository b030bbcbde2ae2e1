/* A session: one model, one data set, and the arrays that kernels read and write. Runtime-internal; the public C interface is pgm.h.
 *
 * No function here exits or prints: errors come back as a status and a text. */
#ifndef PGM_SESSION_H
#define PGM_SESSION_H

#include "pgmrt.h"
#include "data.h"
#include "error.h"

/* Layout of one family once the sizes are known. */
typedef struct {
  long lo[PGM_MAX_INDEX], hi[PGM_MAX_INDEX], stride[PGM_MAX_INDEX];   /* stride in elements */
  long dim[2];
  long elements;                       /* in the box */
  long width;                          /* constrained entries per element */
  long uwidth;                         /* unconstrained coordinates per element (simplex[K]: K - 1); discrete: the most values that an element has */
  bool table;                          /* of a discrete latent variable */
  long defined;                        /* elements that some statement defines */
  unsigned char *piece;                /* per element: 1 + the defining statement's rank among the family's statements, 0 undefined; NULL: all by one statement */
  long *list;                          /* flat indices of the defined elements, ascending; NULL: all */
  double *lower, *upper;               /* bounds: one, or one per element; NULL if absent */
  /* latents and params only; elements * uwidth for mean and sd (and bars), elements * width for value (and bar); discrete: the mean is the table of
   * probabilities of an element's values, from its lower bound up, and there is no sd */
  double *value, *value_bar, *mean, *sd, *mean_bar, *sd_bar;
  double *other;                       /* room for the values on the other scale, where pgm_values_show has something to do; else NULL */
  unsigned char *excluded;             /* discrete: per entry of the table 1 where the data rule it out, see pgm_sources_exclude; NULL: none */
  double *data;                        /* inputs and observed, real; NaN where nothing is defined */
  int *idata;                          /* inputs and observed, integer */
  unsigned char *present;              /* observed, once read: per entry 1 where it is given, 0 where it is missing (missing.h) */
  long missing;                        /* how many are not */
  bool borrowed;                       /* data is the PgmData's own array: not to be written to */
} PgmLayout;

typedef struct {
  bool for_simulate;                   /* observed arrays need not be given (they are allocated, NaN) */
  bool sizes_only;                     /* for `infer` on new observations: arrays that are not given stay NULL; no range checks, no engine */
  int threads;                         /* 0: as many as cores */
  int quad_n;                          /* Gauss-Hermite nodes; 0: the default (20) */
} PgmSessionOptions;

typedef struct PgmSession {
  const PgmModel *model;
  void *env;                           /* the emitted struct; its latents' pointers go to the layouts' arrays */
  PgmShape shape;
  PgmLayout *layout;                   /* per family */
  int threads;
  int nodes;                           /* of quadratures */
  double *rule[2];                     /* of that many nodes, and of few: nodes, then weights */
  double constant;                     /* sum of the plates' constant kernels (full data) */
  const PgmData *data;
  struct PgmEngine *engine;            /* engine.c: slots, adjoint buffers, gathers, scratch */
  struct PgmAlike *alike;              /* alike.c: classes of units with equal data, as far as they were asked for */
  char **notes; int n_notes;           /* "N = 919, counted from log_radon" */
  void *block; size_t block_size;      /* the latents' arrays */
} PgmSession;

/* Resolves sizes, checks lengths, bounds, integers, ranges and definitions, fills the env. All data errors come with file and place.
 * `data` must live as long as the session, which may use its arrays without a copy. The arrays of latents and params start as zeros. */
PgmStatus pgm_session_open(PgmSession **out, const PgmModel *model, const PgmData *data, const PgmSessionOptions *options, PgmError *error);
void pgm_session_close(PgmSession *s);
bool pgm_has_single(const PgmModel *m);                                /* does a plate have a kernel in single precision? (--real float) */

/* From now on quadratures have few nodes, as the way to an optimum needs, or as many as the session was opened with. Whether they have few: not if those are
 * no more. */
bool pgm_session_nodes(PgmSession *s, bool few);

/* Asks for large pages behind an array of so many bytes, if it is large and about to be used as a whole. */
void pgm_large_pages(void *array, size_t bytes);

PgmLatent *pgm_session_latent(const PgmSession *s, int family);       /* in the env */
bool pgm_is_latent(const PgmFamily *f);                                /* global, local, param: has a factor or a point in q */
bool pgm_is_discrete(const PgmFamily *f);                              /* of these: its factor is a table of probabilities */
long pgm_levels(const PgmFamily *f, const PgmLayout *l, long flat);    /* values of a discrete element; the table's other entries are 0 */
double pgm_lowest(const PgmFamily *f, const PgmLayout *l, long flat);  /* the least of them */

/* "z[3]", "W[2,1]" (constrained entry) for messages and tables. Returns `buffer`. */
char *pgm_element_name(const PgmSession *s, int family, long flat, long entry, char *buffer, size_t size);

/* ---- transforms (transform.c): Stan's reference manual, "Constraint transforms" --------------------------------------------------- */

/* value from u for one family (all elements); adds log |dvalue/du| of every element to the return value when `with_jacobian`. */
double pgm_constrain(const PgmSession *s, int family, const double *u, double *value);
/* u_bar += J' value_bar + d log|J| / du * jacobian_weight, at u (value as pgm_constrain left it) */
void pgm_constrain_vjp(const PgmSession *s, int family, const double *u, const double *value, const double *value_bar, double jacobian_weight, double *u_bar);
/* The same of elements from .. to-1 of a family whose elements are all defined; without Jacobians. */
void pgm_constrain_part(const PgmSession *s, int family, long from, long to, const double *u, double *value);
/* The same of one element (where the family has a list of its defined ones, by its place in it); returns its log |dvalue/du|. */
double pgm_constrain_element(const PgmSession *s, int family, long at, const double *u, double *value);
void pgm_constrain_vjp_part(const PgmSession *s, int family, long from, long to, const double *u, const double *value, const double *value_bar, double *u_bar);
/* u from value; false when a value is outside the support */
bool pgm_unconstrain(const PgmSession *s, int family, const double *value, double *u);
/* weight * E_q log |dvalue/du|, adding its gradient to mean_bar and sd_bar (may be NULL). Closed form where it is linear in u (bounds on one
 * side, ordered, cov_matrix), else the session's quadrature, coordinate by coordinate. */
double pgm_jacobian_expected(const PgmSession *s, int family, const double *mean, const double *sd, double weight, double *mean_bar, double *sd_bar);
/* The same, weight 1, of elements from .. to-1 (where the family has a list of its defined ones, of places in it). */
double pgm_jacobian_part(const PgmSession *s, int family, long from, long to, const double *mean, const double *sd, double *mean_bar,
                         double *sd_bar);
/* mean and sd of the constrained value under q, entry by entry; exact up to one-dimensional quadrature for every transform */
void pgm_constrained_moments(const PgmSession *s, int family, const double *mean, const double *sd, double *value_mean, double *value_sd);

/* Between coordinates and values, in place, of the families whose transform the kernels have (PgmFamily.shown); nothing to do for the others. */
void pgm_values_show(const PgmSession *s);
void pgm_values_hide(const PgmSession *s);

/* ---- the engine (engine.c): plates over threads, adjoints gathered ---------------------------------------------------------------------- */

/* Eliminated: as expected, but plates that eliminate local families (PgmPlate.eliminates) maximise over these families' factors, whose entropy is part of
 * the value and whose arrays are neither read nor written. Single: as rest, in single precision where plates have a kernel for that. */
typedef enum { PGM_KERNEL_POINT, PGM_KERNEL_EXPECTED, PGM_KERNEL_REST, PGM_KERNEL_SINGLE, PGM_KERNEL_ELIMINATED } PgmKernelKind;

/* A minibatch, or everything. */
typedef struct {
  int axis;                            /* whose units; -1: full batch */
  const long *units; long count;       /* ascending */
  double weight;                       /* units in all / count */
} PgmBatch;

/* Runs one kind of kernel of every plate on the layouts' arrays: returns the sum, adds gradients into the layouts' bars (value_bar or
 * mean_bar and sd_bar), which the caller has cleared. The same bits for any number of threads. Constants are NOT included. */
double pgm_engine_run(PgmSession *s, PgmKernelKind kind, const PgmBatch *batch);

/* Blocks of units of one axis, each evaluated as often as its solver wants before what it adds counts: the kernels of one kind of all plates of the axis,
 * on one thread. `env` is the thread's own copy, in which the solver may lead families to arrays of its own. What evaluations add to shared families is
 * kept in `copies`, among which the solver chooses: where every evaluation counts (one per draw), as many as there are evaluations. */
typedef struct {
  PgmSession *s;
  const struct PgmBlocks *all;
  void *env;
  long first, count; /* units */
  int thread;
  double *sums, *scratch; /* what the last evaluation of this copy adds to shared families; of the kernels */
} PgmBlock;
typedef struct PgmBlocks PgmBlocks;
typedef double (*PgmBlockSolver)(PgmBlock *b, void *data); /* the block's value, after a last pgm_block_run of every copy that counts */

/* `kind`: where it is eliminated, plates that eliminate local families are not among those that run in blocks. */
PgmStatus pgm_blocks_open(PgmBlocks **out, PgmSession *s, int axis, PgmKernelKind kind, int copies, PgmError *error);
void pgm_blocks_close(PgmBlocks *b);
/* From now on the units are classes of units with equal data, if there are such classes (alike.h), and this is which; else *out is NULL. Plates must then
 * have the axis' whole range. What evaluations add to shared families is that of one member per class, unless it is pgm_block_run_members. */
struct PgmAlike;
PgmStatus pgm_blocks_alike(PgmBlocks *b, const struct PgmAlike **out, PgmError *error);
long pgm_blocks_first(const PgmBlocks *b, long *units); /* range of the axis' plates */
long pgm_blocks_sums(const PgmBlocks *b);               /* doubles of a copy, that every evaluation of a block clears, and every block adds up */
void pgm_block_copy(PgmBlock *b, int copy);             /* the copy of the next evaluations; 0 at first */
double pgm_block_run(PgmBlock *b);
/* Each unit, a class, as often as it has members: value and adjoints of all of these. */
double pgm_block_run_members(PgmBlock *b);
/* Only some units of the block, ascending. The other units' own adjoints stay as they are; `sums` are those of these units. */
double pgm_block_run_units(PgmBlock *b, const long *units, long count);
/* out[unit - b->first] = the unit's part of the block's value, constants included; `room`: pgm_blocks_room doubles. */
void pgm_block_units(const PgmBlock *b, double *out, double *room);
long pgm_blocks_room(const PgmBlocks *b, long size); /* for blocks of this size */
/* All blocks of `size` units; returns the sum of their values. The same bits for any number of threads. */
double pgm_blocks_run(PgmBlocks *b, long size, PgmBlockSolver solver, void *data);
/* Adds what a copy has, of all blocks of the last run, into the bars of shared families; and what the last evaluations left in the buffers of references
 * (with more than one copy the plates should have none). */
void pgm_blocks_add(const PgmBlocks *b, int copy);
/* The kernels (of the kind that the blocks were opened for) of all plates but those that run in blocks of the axes in `without` (one flag per axis); else
 * as pgm_engine_run. */
double pgm_engine_run_others(PgmSession *s, PgmKernelKind kind, const bool *without);
/* Does some plate eliminate the family, or any family at all (family -1)? */
bool pgm_eliminates(const PgmModel *m, int family);
/* Fills means and sds of all eliminated families with the best factors, given those of all others in the layouts. */
void pgm_engine_restore(PgmSession *s);
/* Means and sds of entries of defined elements of one of these families: all of them, or, if they are more than `most` and those of a unit are together, about `most` in runs of
 * units that lie evenly. *mean and *sd are the caller's to free; NULL: out of memory. Returns how many. The layouts have them too. */
long pgm_engine_restore_some(PgmSession *s, int family, long most, double **mean, double **sd);
PgmStatus pgm_engine_open(PgmSession *s, PgmError *error);
void pgm_engine_close(PgmSession *s);
/* Values of one term at each of its elements (expected or at the point); `out` has pgm_term_size doubles. */
long pgm_term_size(const PgmSession *s, int term);
void pgm_term_each(PgmSession *s, int term, bool expected, double *out);
long pgm_term_width(const PgmSession *s, int term); /* how many elements a unit of its plate has */
/* out[k] += the sum of the term's values at the point in unit units[k]; the units ascend, those outside of the plate have none. `room`: n * pgm_term_width
 * doubles. For one of the session's threads (omp_get_thread_num). */
void pgm_term_add(PgmSession *s, int term, const long *units, long n, double *room, double *out);
/* Does another plate do this one's work, on all data (PgmSums)? */
bool pgm_plate_idle(const PgmSession *s, int plate, PgmKernelKind kind);
/* Finds the first term and index whose value is not finite, at the current arrays: "x[17] ~ normal(...) at n = 17 (model.pgm:11) is NaN". False: all finite. */
bool pgm_find_nan(PgmSession *s, bool expected, char *text, size_t size);

#endif
