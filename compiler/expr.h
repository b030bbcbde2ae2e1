/* The expression DAG: scalar expressions over named axes.
 *
 * Every node is a scalar function of the axes it varies over (plates, vector dimensions, reduction variables, quadrature nodes), so a
 * vector is a node with an axis, a matrix product is a REDUCE over a product, a mixture or an integral is a REDUCE over its axis:
 *
 *     W * z[n] + b     is   add(reduce_sum(k, mul(W[h,k], z[n,k])), b[h])      with axes {n, h}
 *
 * Nodes are hash-consed (equal expressions are one node) and simplified when made; arguments always have smaller numbers than the node, so
 * node order is evaluation order. One Dag per outermost plate. Integer nodes (indices, sizes) live in the same DAG.
 *
 * Loops nest in the order unit axis (outermost plate, number 0), inner plates, reductions, dimensions, quadrature; among dimensions as the arrays lie
 * in memory (dag_order_axes). Dimension axes run from 0; plates and reductions over the values of their variable. */
#ifndef PGMC_EXPR_H
#define PGMC_EXPR_H

#include "model.h"
#include <limits.h>

typedef int Node;
#define NO_NODE (-1)
typedef uint64_t AxisSet;
#define AXIS_BIT(a) ((AxisSet)1 << (a))
#define MAX_AXES 64

typedef enum { AX_UNIT, AX_PLATE, AX_REDUCTION, AX_DIM, AX_QUADRATURE } AxisKind;
typedef struct {
  AxisKind kind;
  const char *name;                    /* C identifier of its variable: "n", "k", "q" */
  int var;                             /* the model's variable (plates, reductions), else -1 */
  Node lo, hi;                         /* inclusive range, integer nodes (dimensions: lo 0) */
  Node extent;                         /* hi - lo + 1 */
} Axis;

typedef enum {
  /* leaves */
  X_CONST,                             /* number */
  X_AXIS,                              /* integer: the value of axis `aux` */
  X_SIZE,                              /* integer: scalar int input `aux` (family) */
  X_BOX_LO, X_BOX_LEN,                 /* integer: lowest index, number of indices of family `aux` at position `aux2`; beyond the last position, for
                                        * a discrete latent variable: the most values that an element has */
  X_ROOM,                              /* integer: the greatest extent of axis `aux`, whose range varies over other axes (M[g] for i in 1..M[g]) */
  X_INPUT,                             /* known element: family aux; args: its n_index indices (model values), then its entries (from 0) */
  X_PRESENT,                           /* integer: 1 where an observed element is given, 0 where it is missing; same arguments */
  X_VALUE,                             /* latent or param at the point, constrained; same arguments */
  X_U,                                 /* latent on the unconstrained scale as a random variable N(mean, sd); entrywise transforms only */
  X_MEAN, X_SD,                        /* parameters of its factor */
  X_WEIGHT,                            /* the span's weight */
  X_COUNT,                             /* integer: number of units in the span, the unit axis' extent in kernels */
  X_TABLE,                             /* entry of table `aux` of a term's sums (sums.h); args: its group from 0, none where there is one group */
  X_QUAD_X, X_QUAD_W,                  /* node and weight of the quadrature axis `aux` */
  /* operations */
  X_ADD, X_SUB, X_MUL, X_DIV, X_NEG,
  X_POW,
  X_FN,                                /* aux: Fn; one, two or three arguments */
  X_LT, X_LE, X_EQ, X_NE, X_AND, X_OR, X_NOT,          /* 0 or 1 */
  X_COND,                              /* args: condition, then, else; only the chosen branch is evaluated */
  X_SUM, X_PROD, X_MAX, X_MIN,         /* over axis `aux` of args[0]; a maximum with aux2 set is a shift that cancels: no gradient */
  X_AT,                                /* args[0] with axis `aux` set to args[1] (an integer node, from 0 for dimensions) */
  X_TRISOLVE,                          /* args: L over (row, column), b over row -> L^-1 b over row; aux, aux2: the axes row and column */
  X_TRISOLVE_T,                        /* L^-T b */
  X_SCAN,                              /* sequential: over axis `aux`, upwards or (aux2 = -1) downwards, of the args, one per component; over the
                                        * component axis too where there are several (scan_parts) */
  X_PREV,                              /* inside a scan over axis `aux`: its value aux2 places further along the axis, of component `number`; args: the
                                        * other axes of the scan */
  X_SPREAD,                            /* what X_AT reads, added up where it was read from: sum over axis `aux` of args[0] where args[1], a place on
                                        * axis aux2, is the current one */
  /* functions of whole square matrices over the axes aux (rows) and aux2 (columns); the results are over the same two, but for the determinant */
  X_CHOLESKY,                          /* args: A -> L, lower triangular, L L' = A; reads the lower triangle */
  X_CHOLESKY_ADJOINT,                  /* args: L, adjoint of L -> adjoint of A, symmetric */
  X_INVERSE, X_INVERSE_T,              /* args: A -> A^-1, its transpose */
  X_LOG_DET,                           /* args: A -> log |det A| */
  X_CLAMP                              /* integer args[0] brought into args[1]..args[2]: an index that a branch not taken may have out of range */
} XOp;

/* Scalar functions with derivatives known to grad.c; emitted as calls of their C name. */
typedef enum {
#define FN1(name, c) F_##name,
#define FN2(name, c) F_##name,
#define FN3(name, c) F_##name,
#include "fn.def"
#undef FN1
#undef FN2
#undef FN3
  FN_COUNT_
} Fn;

typedef struct {
  XOp op;
  int aux, aux2;
  double number;
  int n_args;
  Node *args;
  AxisSet axes;
  bool integer;
  bool random;                         /* contains an X_U */
  bool latent;                         /* contains X_U, X_VALUE, X_MEAN or X_SD: does not belong to the constants */
  bool point;                          /* contains an X_VALUE */
  bool lookup;                         /* contains an X_INPUT */
  bool mixes;                          /* contains a triangular solve or a scan of something random */
  bool quadrature;                     /* contains an X_QUAD_X */
  bool carried;                        /* contains an X_PREV of a scan around it: has a value only within the scan's loop */
  AxisSet arrays;                      /* axes of the reductions, solves and X_AT inside, itself included: reading it at another index needs an array */
} XNode;

/* An element of a discrete latent variable: where it is mentioned stands the axis of its values, which the term is then summed over. */
typedef struct { int family, n_args; Node args[8]; int axis; } Label;

typedef struct Dag {
  const Model *model;
  VEC(XNode) nodes;
  VEC(Axis) axes;
  VEC(Label) labels;
  int *table; int table_size;          /* hash table of node numbers */
  int order[MAX_AXES];                 /* position among axes of its kind */
  int number;                          /* of the Dag among those of one program; the emitter's */
  AxisSet rooms;                       /* axes that have an X_ROOM */
  bool full;                           /* more axes were wanted than there can be: what was built is of no use */
} Dag;

Dag *dag_new(const Model *m);
static inline const XNode *dag_node(const Dag *d, Node n) { return &d->nodes.at[n]; }
static inline AxisSet dag_axes(const Dag *d, Node n) { return d->nodes.at[n].axes; }
AxisSet dag_range_axes(const Dag *d, int axis);         /* on which the ends of the axis depend */
bool dag_is_const(const Dag *d, Node n, double *value);

int dag_axis(Dag *d, AxisKind kind, const char *name, int var, Node lo, Node hi);      /* beyond MAX_AXES: sets `full` */
/* The axis of this variable and range, made if it is not there; not one of those in `busy`, whose loops are open. */
int dag_range_axis(Dag *d, AxisKind kind, const char *name, int var, Node lo, Node hi, AxisSet busy);
/* Orders dimensions so that rows of matrices are outside columns, as far as the leaves agree. Call when all terms are built. */
void dag_order_axes(Dag *d);
/* Axes of a set in nesting order; returns their number. */
int axes_in_order(const Dag *d, AxisSet set, int *out);
/* Does `n`, an index, take different values for different values of the axis? */
bool dag_varies_with(const Dag *d, Node n, int axis);
/* What an array needs along an axis: its extent, or the greatest one where that varies. */
Node dag_room(Dag *d, int axis);
/* The k-th axis for a dimension of this extent (k from 0): vectors of equal length share axes. */
int dag_dim_axis(Dag *d, Node extent, int k);

/* ---- builders: simplify and share ------------------------------------------------------------------------------------------ */
Node x_const(Dag *d, double v);
Node x_int(Dag *d, long v);
Node x_axis(Dag *d, int axis);
Node x_leaf(Dag *d, XOp op, int family, int n_args, const Node *args, bool integer);
Node x_box(Dag *d, XOp op, int family, int position);
Node x_weight(Dag *d);
Node x_count(Dag *d);
Node x_quad(Dag *d, XOp op, int axis);
Node x_table(Dag *d, int table, Node group);             /* NO_NODE: one group */
Node x_add(Dag *d, Node a, Node b);
Node x_sub(Dag *d, Node a, Node b);
Node x_mul(Dag *d, Node a, Node b);
Node x_div(Dag *d, Node a, Node b);
Node x_neg(Dag *d, Node a);
Node x_pow(Dag *d, Node a, Node b);
Node x_square(Dag *d, Node a);
Node x_exp(Dag *d, Node a);
Node x_log(Dag *d, Node a);
Node x_sqrt(Dag *d, Node a);
Node x_fn1(Dag *d, Fn f, Node a);
Node x_fn2(Dag *d, Fn f, Node a, Node b);
Node x_fn3(Dag *d, Fn f, Node a, Node b, Node c);
Node x_compare(Dag *d, XOp op, Node a, Node b);          /* X_LT .. X_OR */
Node x_not(Dag *d, Node a);
Node x_cond(Dag *d, Node c, Node a, Node b);
Node x_clamp(Dag *d, Node index, Node lo, Node hi);      /* the index itself where it is known to lie there */
Node x_sum(Dag *d, int axis, Node body);                 /* body without the axis: times its extent */
Node x_reduce(Dag *d, XOp op, int axis, Node body);      /* X_SUM, X_PROD, X_MAX, X_MIN */
Node x_log_sum_exp(Dag *d, int axis, Node body);
Node x_at(Dag *d, Node body, int axis, Node index);
Node x_trisolve(Dag *d, bool transposed, int row, int column, Node L, Node b);
/* A recurrence s[r] = body(r, s[r + lag], ...) along axis r. `parts`: the component axis of several that look at each other, -1 for one. */
Node x_scan(Dag *d, int axis, bool down, int parts, int n, const Node *body);
Node x_prev(Dag *d, int axis, int lag, int component, AxisSet others);
Node x_spread(Dag *d, Node value, int from, int to, Node place);
/* Component c of a scan. */
Node x_scan_part(Dag *d, Node scan, int c);
/* Component axis of a scan, -1 for one component alone. */
int scan_parts(const Dag *d, Node scan);
Node x_matrix(Dag *d, XOp op, int row, int column, Node a, Node b);  /* X_CHOLESKY .. X_LOG_DET; b NO_NODE where there is one argument */

static inline bool x_is_reduction(XOp op) { return op == X_SUM || op == X_PROD || op == X_MAX || op == X_MIN; }
/* Functions of whole arrays, which are computed at once: the axes of one array are not loops but the function's own. */
static inline bool x_is_solve(XOp op) { return op == X_TRISOLVE || op == X_TRISOLVE_T; }
static inline bool x_is_matrix(XOp op) { return op >= X_CHOLESKY && op <= X_LOG_DET; }
static inline bool x_is_whole(XOp op) { return x_is_solve(op) || x_is_matrix(op); }
/* The axes along which a function of whole arrays takes its arguments whole, and its result, if that has them, comes whole. */
static inline AxisSet x_whole_axes(const XNode *x) { return AXIS_BIT(x->aux) | (x_is_matrix(x->op) ? AXIS_BIT(x->aux2) : 0); }

/* A value per node, for passes that visit each node of a shared expression once. {0} is empty. */
typedef struct { int n, size, *key, *value; } NodeMap;
#define NODE_NEW INT_MIN
/* Place of the node's value, NODE_NEW at first; valid until the next call. */
int *node_map(NodeMap *m, Node n);

/* The expression with axis `from` replaced by the integer node `to` (in leaves' indices); leaves alone what does not vary over it. */
Node dag_substitute_axis(Dag *d, Node n, int from, Node to);
/* The expression with x / y as x * (1 / y) where y varies over fewer axes than the quotient, so that 1 / y stands outside the innermost loop. Only of latent
 * variables: a quotient of data may be one that a decision hangs on, as in floor(i / 3). `done`: of expressions that share nodes. */
Node dag_divide_outside(Dag *d, Node n, NodeMap *done);
/* The expression with leaf (or any node) `from` replaced by `to`. */
Node dag_replace(Dag *d, Node n, Node from, Node to);
/* The same for several at once; what they are replaced by is not looked into. */
Node dag_replace_all(Dag *d, Node n, int count, const Node *from, const Node *to);
/* Same operation, other arguments: rebuilds through the simplifying builders. */
Node dag_rebuild(Dag *d, Node n, const Node *args);

/* Value at a point, for tests and constant folding: `leaf` gives the values of leaves, `axis` the current values of the axes. */
typedef struct {
  double (*leaf)(void *data, const Dag *d, Node n, const long *axis);
  void *data;
  long axis[MAX_AXES];
  const struct EvalScan *scan;         /* recurrences under way; NULL at first */
} Evaluation;
double dag_eval(const Dag *d, Node n, Evaluation *e);

void dag_print(const Dag *d, Node n, StrBuf *out);       /* one line, infix */

extern const char *const fn_c_name[];                    /* how emitted C calls it */
extern const int fn_arity[];

#endif
