/* The factor graph of templates: which families each term of the log density touches, and at which indices.
 *
 * A term is a statement's density (or one summand of a `factor`), repeated over its plates. Deterministic `let` variables are substituted away,
 * reductions and slices become ranges of an index, conditions restrict references. Only terms that contain a local or marginal latent
 * variable are here: the others say nothing about amortisation. */
#ifndef PGMC_GRAPH_H
#define PGMC_GRAPH_H

#include "base.h"
#include "diag.h"
#include "model.h"

#define GRAPH_MAX_INDEX 8               /* index positions (entries included), plates of a term */

/* ---- linear forms -------------------------------------------------------------------------------------------------------- */

/* c + sum coef * atom. atom >= 0: a variable of Graph.vars; atom < 0: symbol ~atom of Graph.symbols (an input, or an expression by its text).
 * Sorted by atom, no zero coefficients. */
typedef struct { int atom; long coef; } LinTerm;
typedef struct { long c; int n; LinTerm *t; } Lin;

Lin lin_const(long c);
Lin lin_atom(int atom);
Lin lin_add(Lin a, Lin b, long times);                /* a + times * b */
bool lin_equal(Lin a, Lin b);
static inline bool lin_is_const(Lin a) { return a.n == 0; }

/* ---- variables, indices, references -------------------------------------------------------------------------------------- */

typedef struct {
  Name name;
  Lin lo, hi;                           /* inclusive; a bound that is not affine is a symbol */
  Span span;
} GVar;                                 /* the variables of the model first, with the same numbers; then copies made by substitution */

typedef enum {
  GI_LINEAR,                            /* lin: at most one variable, coefficient 1 or -1 */
  GI_RANGE,                             /* every value in lin..hi (a reduction or a slice); each has at most one plate variable */
  GI_TABLE,                             /* table(args) + lin.c: a lookup, or any other function of plate variables */
  GI_ANY                                /* unknown: any value (a lookup through a latent variable) */
} GIndexKind;

typedef struct GIndex {
  GIndexKind kind;
  bool reduced;                         /* varies with a reduction variable */
  int var;                              /* GI_RANGE: the reduction variable, where the index is just that plus var_off; else -1 */
  long var_off;
  bool ordered;                         /* GI_RANGE: a vector whose entries have places of their own, not a sum */
  Lin lin, hi;
  const char *table;                    /* interned; the text with \1, \2, ... for the arguments: "county[\1]" */
  int family;                           /* of a lookup */
  bool formula;                         /* GI_TABLE: the function is known at compile time (2 * n, n / 2), not data */
  int n_args;
  struct GIndex *args;
} GIndex;

/* What must hold for a reference to exist: form >= 0 (from conditions and from pieces of a let). */
typedef struct { int n; Lin *form; } Guard;

#define REF_INDEX (-1)                  /* GRef.family: the value of an index itself (t as a number, or choosing an element of an indexed global) */

typedef struct {
  int family;
  int n;                                /* positions: the family's indices; for families without an index, the entries used */
  GIndex *ix;
  bool latent;                          /* a local or marginal latent: a vertex of the coupling graph */
  bool selector;                        /* a lookup table that only chooses the element of a local latent family */
  Guard guard;
  Span span;
} GRef;

/* Shape of an expression, enough to tell what is affine in what. */
typedef enum { GE_CONST, GE_REF, GE_ADD, GE_MUL, GE_FN } GExprKind;
typedef struct GExpr { GExprKind kind; int ref; int n; struct GExpr **args; } GExpr;

typedef struct {
  int stmt;                             /* in Model.stmts */
  const char *text;                     /* "x[n] ~ normal(z[n], s)" */
  Span span;
  int n_vars, *vars;                    /* plate variables, outermost first */
  VEC(GRef) refs;
  int dist;                             /* DistId, -1 for a general summand */
  GExpr *value;                         /* of the distribution; or the summand */
  int n_args;
  GExpr **args;                         /* of the distribution */
  bool restricted;                      /* truncation or bounds that contain references */
} GTerm;

typedef struct { int term, ref; } GTouch;
typedef VEC(GTouch) TouchList;

typedef struct {
  const Model *m;
  VEC(GVar) vars;
  VEC(Name) symbols;
  VEC(Lin) lengths;                     /* hi - lo of the variables, as far as it is no number; each once. Never negative: no plate is empty */
  VEC(GTerm) terms;
  bool by_entry;                        /* some term is one entry of a vector statement */
  TouchList *touch;                     /* per family: the references to it in terms, local and marginal latents only */
  bool *barren;                         /* per family: local or marginal latent with no observed descendant and in no factor */
} Graph;

Graph *graph_build(const Model *m);

/* Text of a linear form; variables by the names given (NULL: their own). */
const char *lin_text(const Graph *g, Lin a);
/* -1, 0, 1 when the sign of the form is known for all sizes (every input at least 1, every plate not empty), else 2. */
int lin_sign(const Graph *g, Lin a);
const char *stmt_text(const Model *m, const Stmt *s);  /* canonical: "z[t] ~ normal(z[t-1], q)" */
void graph_dump(const Graph *g, FILE *out);           /* --dump graph */

#endif
