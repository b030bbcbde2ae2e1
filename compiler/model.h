/* The resolved model: what the graph, the analysis and the emitter read. resolve.c builds it from the tree; it is not changed afterwards.
 * Everything is in the arena; cross references are indices into the Model's vectors (-1 = none). Every name is resolved, every
 * expression typed, every index classified. */
#ifndef PGMC_MODEL_H
#define PGMC_MODEL_H

#include "base.h"
#include "diag.h"

/* ---- types ------------------------------------------------------------------------------------------------------------- */

typedef struct MExpr MExpr;

typedef enum {
  TY_INT, TY_REAL, TY_VECTOR, TY_ROW_VECTOR, TY_MATRIX,
  TY_SIMPLEX, TY_ORDERED, TY_POSITIVE_ORDERED, TY_COV_MATRIX, TY_CORR_MATRIX, TY_CHOLESKY_CORR
} TypeKind;

/* dim[0], dim[1]: integer expressions of inputs (scalars: none; vectors: dim[0]; matrices: both; square ones: both the same). */
typedef struct {
  TypeKind kind;
  MExpr *dim[2];
  MExpr *lower, *upper;                               /* declared bounds, else NULL */
} Type;

static inline int type_rank(TypeKind k) {             /* number of dimensions of one element */
  return k <= TY_REAL ? 0 : k == TY_MATRIX || k >= TY_COV_MATRIX ? 2 : 1;
}

/* ---- variables of plates and reductions ------------------------------------------------------------------------------------ */

typedef enum { VAR_PLATE, VAR_REDUCTION } VarKind;
typedef struct {
  Name name;
  VarKind kind;
  int plate;                                          /* the plate it belongs to, or -1 */
  MExpr *lo, *hi;                                     /* inclusive; integer expressions of inputs and outer variables */
  Span span;
} Var;

/* ---- affine integer forms ------------------------------------------------------------------------------------------------------ */

/* constant + sum of coef * atom; atoms are variables (Var) or scalar int inputs (Family without index). Sorted: variables first, by id. */
typedef enum { ATOM_VAR, ATOM_INPUT } AtomKind;
typedef struct { AtomKind kind; int id; long coef; } AffineTerm;
typedef struct { long constant; int n; AffineTerm *term; } Affine;

/* ---- expressions ---------------------------------------------------------------------------------------------------------------- */

typedef enum {
  IX_AFFINE,                                          /* affine in variables and inputs */
  IX_LOOKUP,                                          /* through an element of an integer family (expr is M_REF), plus `shift`. Integer
                                                       * lets without index do not occur in indices, ranges and dimensions: their
                                                       * definition stands there */
  IX_EXPR,                                            /* any other integer expression of inputs and variables (e.g. n / 2, n * m) */
  IX_SLICE                                            /* lo..hi, both affine or IX_EXPR-like; the result is a vector */
} IndexKind;

typedef struct {
  IndexKind kind;
  Span span;
  MExpr *expr;                                        /* the index as an expression (not for slices) */
  Affine affine;                                      /* IX_AFFINE */
  long shift;                                         /* IX_LOOKUP: constant added to the looked-up value */
  MExpr *lo, *hi;                                     /* IX_SLICE */
} Index;

typedef enum {
  M_NUM,                                              /* number; int literal if type TY_INT */
  M_VAR,                                              /* value of a plate or reduction variable (TY_INT) */
  M_REF,                                              /* an element, entry or slice of a family */
  M_UNARY, M_BINARY, M_COND,
  M_CALL,                                             /* built-in function, func.def; includes NAME_lpdf etc. as M_LPDF */
  M_LPDF,                                             /* normal_lpdf(x | m, s): dist, args[0] = x, then the arguments */
  M_REDUCE,                                           /* sum(m in 1..M: body) and its kin */
  M_VECTOR,                                           /* [a, b, c] */
  M_ENTRY                                             /* entries of a vector- or matrix-valued EXPRESSION (not of a family): args[0][index...] */
} MKind;

typedef enum {
  OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_POW, OP_EMUL, OP_EDIV,   /* .* and ./ ; OP_MUL on matrices and vectors is linear algebra */
  OP_LT, OP_LE, OP_GT, OP_GE, OP_EQ, OP_NE, OP_AND, OP_OR,
  OP_NEG, OP_NOT, OP_TRANSPOSE
} OpKind;

typedef enum { RED_SUM, RED_PROD, RED_MIN, RED_MAX, RED_MEAN, RED_LSE } ReduceOp;
typedef enum { LP_LPDF, LP_LPMF, LP_LCDF, LP_LCCDF } LpKind;

struct MExpr {
  MKind kind;
  Span span;
  Type type;                                          /* TY_INT, TY_REAL, TY_VECTOR, TY_ROW_VECTOR or TY_MATRIX only; dims always set */
  double number;                                      /* M_NUM */
  int var;                                            /* M_VAR: variable; M_REDUCE: its variable */
  int family;                                         /* M_REF */
  int n_index;                                        /* M_REF: number of family indices (== family's n_index) */
  Index *index;                                       /*        indices of the element; at most one may be a slice of scalar elements */
  int n_entry;                                        /* M_REF, M_ENTRY: number of entry indices (0 = the whole element) */
  Index *entry;                                       /*        z[n][k], W[i, j]; a slice keeps its dimension */
  OpKind op;                                          /* M_UNARY, M_BINARY */
  int func;                                           /* M_CALL: FuncId */
  int dist;                                           /* M_LPDF: DistId */
  LpKind lp;
  ReduceOp reduce;
  int n_args;
  MExpr **args;                                       /* operands; M_COND: condition, then, else; M_REDUCE: the body */
};

/* ---- families and statements ----------------------------------------------------------------------------------------------------- */

typedef enum { ROLE_INPUT, ROLE_GLOBAL, ROLE_LOCAL, ROLE_MARGINAL, ROLE_OBSERVED, ROLE_PARAM, ROLE_LET } Role;

typedef struct {
  int parent;                                         /* enclosing plate or -1 */
  int var;
  Span span;                                          /* of `plate i in lo..hi` */
} Plate;

/* One variable name: all elements that share it. Families with input AND observed statements (x[0] given, x[n] modelled) have role
 * ROLE_OBSERVED; the statement tells what an element is. A `let` without index inside a plate is a family of its own per block
 * (`block_let`), has n_index 0, and is meant for the current values of the enclosing plates wherever it is mentioned. */
typedef struct {
  Name name;
  Span span;                                          /* of the name at its first definition */
  Role role;
  Type type;                                          /* of one element; kind never needs inferring; bounds as declared */
  int n_index;
  int n_statements, *statements;                      /* defining statements, in order */
  bool block_let;
  bool declared_type;                                 /* the user wrote a type */
  bool used_as_size;                                  /* int input used in a bound, dimension or index */
} Family;

typedef struct {
  int dist;                                           /* DistId */
  int n_args;
  MExpr **args;
  bool truncated;
  MExpr *t_lo, *t_hi;                                 /* T[lo, hi], either may be NULL */
  Span span;                                          /* of `dist(...) T[...]` */
} DistCall;

typedef enum { ST_INPUT, ST_LATENT, ST_OBSERVED, ST_PARAM, ST_LET, ST_FACTOR, ST_AMORTIZE } StmtKind;

typedef struct {
  StmtKind kind;
  Span span;                                          /* the whole statement, without the semicolon */
  int plate;                                          /* innermost enclosing plate, -1 outside */
  int family;                                         /* defined family; ST_AMORTIZE: the latent; ST_FACTOR: -1 */
  bool is_global, is_marginal;                        /* `global latent`, `marginal latent` */
  int n_index;
  Index *index;                                       /* of the definition: IX_AFFINE, each enclosing plate variable once, with a constant;
                                                       * other positions hold inputs only (rarely IX_EXPR, IX_LOOKUP: z[N * M], z[k[1]]) */
  MExpr *value;                                       /* default of an input (or NULL), value of a let, factor's expression */
  bool has_dist;
  DistCall dist;                                      /* latent, observed, param with a prior */
  Type type;                                          /* as of the family */
  int n_from;
  struct FromRef *from;                               /* ST_AMORTIZE */
} Stmt;

/* One input of an `amortize` statement: x[n-1], x[g, *], x[i | county[i] = j]. */
typedef struct FromRef {
  Span span;
  const char *text;                                   /* as the user wrote it, blanks normalised */
  int family;
  int n_index;
  Index *index;                                       /* meaningless where star[k] or for the bound variable of a set */
  bool *star;                                         /* star[k]: position k is `*` */
  int set_var;                                        /* x[i | county[i] = j]: variable i (VAR_REDUCTION), else -1 */
  MExpr *set_left, *set_right;                        /* county[i], j */
} FromRef;

/* Two lengths that must be equal, integer expressions of inputs, where the compiler cannot tell: checked when data are loaded. */
typedef struct {
  Span span;                                          /* of the statement that needs it */
  MExpr *a, *b;
} LengthCheck;

typedef struct {
  Name name;                                          /* of the model */
  const char *file;
  VEC(Var) vars;
  VEC(Plate) plates;                                  /* parents before children */
  VEC(Family) families;                               /* in order of first definition */
  VEC(Stmt) stmts;                                    /* in source order */
  VEC(LengthCheck) lengths;
  struct Recurrence **recurrence;                     /* per family: that of a let which looks back at itself, else NULL (recurrence.h) */
} Model;

/* ---- helpers (model.c) ---------------------------------------------------------------------------------------------------------- */

/* Enclosing plates of `plate`, outermost first; returns their number (at most `max`). */
int model_plate_chain(const Model *m, int plate, int *out, int max);
/* All nodes of an expression, those inside indices included, parents first. NULL has none. */
typedef void (*MExprVisit)(const MExpr *e, void *data);
void mexpr_walk(const MExpr *e, MExprVisit visit, void *data);
/* All M_REF nodes of an expression, those inside indices included, in order. */
typedef VEC(const MExpr *) RefList;
void mexpr_refs(const MExpr *e, RefList *out);
/* Value of an integer expression when it is a compile-time constant. */
bool mexpr_const_int(const MExpr *e, long *value);

/* A size that an array tells: a plate or dimension that is exactly 1..SIZE (its length less `extra` elements at constant indices), or, with position -1,
 * the largest value of a lookup with upper=SIZE. */
typedef struct { int size, array, position; long extra; } SizeCount;
typedef VEC(SizeCount) SizeCounts;
void model_counts(const Model *m, SizeCounts *out);
/* Affine form of an integer expression; false when it has none. */
bool mexpr_affine(const Model *m, const MExpr *e, Affine *out);
/* Algebra of affine forms; false on overflow. affine_combine: a + scale * b. */
bool affine_combine(const Affine *a, long scale, const Affine *b, Affine *out);
MExpr *affine_expr(const Affine *a, Span span);     /* "N - 1" */
/* Value of an expression made of numbers alone. */
bool mexpr_const_real(const MExpr *e, double *value);
bool mexpr_has_var(const MExpr *e);                    /* a variable of a plate or reduction */
/* Does a family of one of these roles occur (bits 1u << ROLE_...), those inside indices included? */
bool mexpr_mentions(const Model *m, const MExpr *e, unsigned roles);
/* Canonical text: "x[n-1]", "county_idx[i]", "log(a + 1)"; deterministic. */
void mexpr_print(const Model *m, const MExpr *e, StrBuf *out);
const char *mexpr_text(const Model *m, const MExpr *e);
const char *index_text(const Model *m, const Index *x);           /* "n-1", "county[i]", "1..K" */
const char *type_name(TypeKind kind);                 /* "vector" */
const char *type_text(const Model *m, const Type *t); /* "vector<lower=0>[K]" */
void model_dump(const Model *m, FILE *out);           /* --dump model */

#endif
