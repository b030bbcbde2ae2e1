/* From the resolved model to expressions: terms of the log density, arguments of distributions, bounds, definitions. */
#ifndef PGMC_BUILD_H
#define PGMC_BUILD_H

#include "expr.h"

/* A scalar, vector or matrix: a node and the axes of its dimensions. A lazy value is an element (or part) of a family whose axes are not
 * chosen yet, so that W[n] * z can put the axes where they are needed without a copy. */
typedef struct {
  int rank;
  int axis[2];                         /* rank of them, when not lazy */
  Node extent[2];
  Node node;                           /* NO_NODE: lazy */
  XOp op; int family; int n_args;      /* lazy: the leaf... */
  Node args[8], base[8];               /* ...its indices; NO_NODE where a dimension runs, then from base */
  bool guarded;                        /* lazy, in a branch: see X_CLAMP */
  bool integer;
} Value;

/* How mentions of latent variables become leaves. */
typedef enum {
  LEAF_VALUE,                          /* X_VALUE: the constrained point */
  LEAF_RANDOM                          /* constraint applied to X_U (entrywise transforms; X_VALUE for the others); params: to X_MEAN */
} LeafMode;

typedef struct {
  Dag *d;
  const Model *m;
  LeafMode mode;
  Node *env;                           /* per Var of the model: its node */
  bool span;                           /* for kernels over spans: the unit axis' extent is the span's count */
  bool outside;                        /* for terms outside plates, in which labels may be summed out with all of some plate: no axis is a unit's */
  int *enumerated;                     /* per family: the axis that a marginal latent variable is summed over, plus 1; 0 where it is not */
  bool simulating;                     /* latent variables have values, on their own scale: draws */
  AxisSet open;                        /* reductions being built */
  int guard;                           /* inside a branch that may not be taken: references may be out of range */
  struct LetMemo **let_memo;           /* per family: values built before */
  struct ScanMemo *scans;              /* recurrences built before, */
  struct ScanFrame *frame;             /* and being built, the innermost first */
  bool lenient;                        /* for `check`: what code generation lacks is a warning */
  bool failed;                         /* something is not supported by code generation: said */
} Builder;

Builder *build_new(Dag *d, const Model *m, LeafMode mode);
/* Axes for the chain of plates around `plate`, outermost first, entered into env; returns their number. The outermost becomes the unit axis 0 (dag_new'd Dag). */
int build_plates(Builder *b, int plate, int *axes);

Value build_value(Builder *b, const MExpr *e);
Node build_scalar(Builder *b, const MExpr *e);
/* Integer node of an index or size. */
Node build_index(Builder *b, const Index *ix);
/* The value over the given axes (rank of them). */
Node value_over(Builder *b, const Value *v, const int *axes);
/* The same with default axes. */
Value value_ready(Builder *b, Value v);

/* The element that a statement defines, at the current plate variables, as a value. */
Value build_defined(Builder *b, const Stmt *s);
/* Is a vector or matrix, as a whole, what the distribution is of, or an argument of it? The others are entry by entry. */
bool dist_takes_arrays(int dist);
/* Whether the observed element that a statement defines is given (of a vector or matrix: its first entry). */
Node build_presence(Builder *b, const Stmt *s);
/* Log density of a statement (distribution, or factor) at the current plate variables: a scalar node over the plates' axes, and over those of the
 * discrete latent elements that are mentioned (Dag.labels). */
Node build_term(Builder *b, const Stmt *s);
/* Labels that the node varies over, and those that their own indices do; what others' indices vary over comes first. Returns their number, -1: more than
 * `room`. */
int build_labels(const Dag *d, Node n, int *labels, int room);
/* Leaf of a label's value (X_VALUE), or of the probability that its factor gives to its axis' value (X_MEAN). */
Node label_leaf(Dag *d, XOp op, const Label *l);

/* ---- places of elements ----------------------------------------------------------------------------------------------------------- */

/* Position of an element (and entry) of a family in its array: an integer node. `args` are index values then entries from 0. */
Node family_position(Dag *d, int family, int n_args, const Node *args);
Node family_box_lo(Dag *d, int family, int position);
Node family_box_len(Dag *d, int family, int position);
Node family_dim(Dag *d, int family, int k);             /* extent of dimension k of an element */

/* ---- supports and bounds ----------------------------------------------------------------------------------------------------------- */

typedef enum { TR_IDENTITY, TR_LOWER, TR_UPPER, TR_INTERVAL, TR_SIMPLEX, TR_ORDERED, TR_POSITIVE_ORDERED, TR_COV, TR_CORR, TR_CHOLESKY_CORR } Transform;

/* Bounds of a latent or param: declared ones, else those of the distribution's support (an argument of it, or a number). */
typedef struct {
  Transform transform;
  const MExpr *lower, *upper;          /* NULL: see the numbers */
  bool has_lower, has_upper;
  double lower_number, upper_number;   /* where the MExpr is NULL */
  bool computed;                       /* a bound is a vector or depends on other latent variables: the transform is part of the expressions, which see
                                        * the variable on its unconstrained scale; for the runtime it has no bounds */
} Bounds;
Bounds build_support(const Model *m, int family);
/* A latent variable of integers with a factor of its own: a table of probabilities over its bounds. */
bool is_discrete_latent(const Family *f);
/* lower (which 0) or upper (1) bound of an element of the family with the given indices, and entries where the bound is a vector */
Node build_bound(Builder *b, int family, int which, const Node *index);
/* A new axis over the values of an element of a discrete family. */
int build_values(Builder *b, int family, const Node *index);
/* The value at an unconstrained coordinate, and the coordinate of a value, of an element (and entry) of a family with bounds. */
Node build_constrained(Builder *b, int family, Node u, const Node *index);
Node build_unconstrained(Builder *b, int family, Node value, const Node *index);

#endif
