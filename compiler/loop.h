/* Loop nests: what lower.c makes of the DAG and cprint.c writes as C. The last structure before C.
 *
 * A kernel is a list of items, loops containing items. Loops nest in axis order (unit axis first). A node has at most one of: a local variable in
 * the loop where all its axes are bound; a buffer (scratch array) when it is used in another loop than the one that makes it; neither, when it is
 * used once where it stands (it is then part of the user's expression). Loads from the env are always written where they are used. */
#ifndef PGMC_LOOP_H
#define PGMC_LOOP_H

#include "expr.h"

typedef enum {
  IT_LOCAL,                            /* const double NAME = expression */
  IT_ZERO,                             /* start of a reduction: local accumulator, or buffer set to 0 (maxima: -inf) */
  IT_REDUCE,                           /* accumulator (+)= body of reduction `node` */
  IT_LOOP,
  IT_GEMM,                             /* matrix product for `node`, or straight into output `out` */
  IT_WHOLE,                            /* a function of whole arrays: triangular solve, Cholesky factor, ... */
  IT_SCAN,                             /* a loop of its own, one iteration after the other */
  IT_OUT                               /* output number `out` */
} ItemKind;

typedef struct LoopItem LoopItem;
typedef VEC(LoopItem *) LoopBlock;

struct LoopItem {
  ItemKind kind;
  Node node;
  int out;
  int axis;                            /* IT_LOOP */
  LoopBlock body;
};

typedef enum {
  OUT_VALUE,                           /* the kernel's result: `value` is a scalar without axes */
  OUT_ACCUMULATE,                      /* destination of `leaf` += value */
  OUT_STORE,                           /* destination text at `index` = value (each, lets, fallbacks) */
  OUT_DRAW                             /* destination = pgm_draw...; printed by emit through `statement` */
} OutKind;

typedef struct {
  OutKind kind;
  Node value;                          /* NO_NODE for draws */
  Node leaf;                           /* OUT_ACCUMULATE: whose adjoint */
  AxisSet axes;                        /* loops it must stand in besides those of value (OUT_STORE, OUT_DRAW) */
  int n_args; Node args[8];            /* further nodes it uses (draw arguments, store position) */
  int tag;                             /* for the emitter */
} LoopOut;

/* C[p, q] (+)= sum_c A[p, c] B[q, c]; each operand is a node over two axes, in memory as [first axis][second axis]. */
typedef struct {
  Node a, b;
  int p, q, c;
} Gemm;

typedef struct {
  Dag *d;
  AxisSet given;                       /* axes bound by the caller (draws: all plates) */
  VEC(LoopOut) outs;
  VEC(Node) named;                     /* nodes that get a local variable of their own, for readers */
  VEC(Node) arrays;                    /* nodes wanted as whole arrays within `given` (arguments of vector draws) */
  /* In: matrix products and what lies between them in single precision are wanted. Out of kernel_lower: they are. Not where there is no product, nor where one
   * takes what a sum, a scan or a function of whole arrays makes, which stay double. */
  bool single;
  LoopBlock body;
  /* per node */
  bool *item;                          /* computed by an item of its own (else inline) */
  bool *buffered;                      /* has a scratch array over axes \ home */
  AxisSet *home;                       /* reductions and buffered nodes: the loops in which the array is whole */
  Gemm *gemm;                          /* c < 0: none */
  Gemm *out_gemm;                      /* per output */
  bool *narrow;                        /* single: has an array of floats */
  bool *products;                      /* single, per family: its values are operands of products or its adjoints results, in arrays of floats */
  int n_nodes;
} Kernel;

Kernel *kernel_new(Dag *d, AxisSet given);
/* Adds outputs, then lowers. */
void kernel_lower(Kernel *k);
/* Is the node an item with a scratch array? And that array's axes, in nesting order; returns their number. */
bool kernel_has_array(const Kernel *k, Node n);
int kernel_array_axes(const Kernel *k, Node n, int *axes);
void kernel_dump(const Kernel *k, FILE *out);

#endif
