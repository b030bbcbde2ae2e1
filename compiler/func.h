/* Functions by number: FUNC_exp, ...; rows of func.def. */
#ifndef PGMC_FUNC_H
#define PGMC_FUNC_H

typedef enum {
#define FUNC(name, ...) FUNC_##name,
#include "func.def"
#undef FUNC
  FUNC_COUNT
} FuncId;

/* How arguments and result are shaped; resolve.c computes the type of a call from it. */
typedef enum {
  FC_MAP,                               /* element-wise in every argument; scalars broadcast; the result is real */
  FC_INT_MAP,                           /* the same, and int for int arguments */
  FC_REDUCE,                            /* vector, row vector or matrix to real */
  FC_REDUCE_OR_MAP,                     /* one argument: as FC_REDUCE; two: as FC_INT_MAP (min, max) or FC_MAP (log_sum_exp) */
  FC_DOT,                               /* two vectors of one length to real */
  FC_VECTOR,                            /* vector to vector of the same kind and length */
  FC_MATRIX,                            /* one by one, in resolve.c */
  FC_SIZE,                              /* anything with dimensions to int */
  FC_CONSTANT,                          /* no argument, real */
  FC_PRESENT                            /* present(x[n]) */
} FuncClass;

typedef struct {
  const char *name;
  FuncClass class_;
  int min_args, max_args;
  const char *arguments;                /* names, for the signature in messages */
} FuncInfo;
extern const FuncInfo func_info[FUNC_COUNT];
/* -1 when there is none. */
int func_find(const char *name);
#endif
