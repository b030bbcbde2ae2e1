/* The factor graph of templates: which families each term of the log density touches, and at which indices.
 *
 * A term is a statement's density (or one summand of a `factor`), repeated over its plates. Deterministic `let` variables are substituted away,
 * reductions and slices become ranges of an index, conditions restrict references. Only terms that contain a local or marginal latent
 * variable are here: the others say nothing about amortisation.
 *
 * Two passes then make it a graph of translations with no dead ends: residues.c splits latent families that are met in strides (z[2*k]) into
 * one vertex per residue class, barren.c takes out latent elements that no observation depends on. */
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
Lin lin_shift(Lin a, long c);                         /* a + c */
bool lin_equal(Lin a, Lin b);
Lin lin_replace(Lin a, int atom, Lin value);
/* The (last) variable of a form, its coefficient, and the rest; -1 without. Variables sort after symbols. */
int lin_var(Lin a, long *coef, Lin *rest);
static inline bool lin_is_const(Lin a) { return a.n == 0; }

/* ---- variables, indices, references -------------------------------------------------------------------------------------- */

typedef struct {
  Name name;
  Lin lo, hi;                           /* inclusive; a bound that is not affine is a symbol */
  Span span;
} GVar;                                 /* the variables of the model first, with the same numbers; then copies made by substitution */

typedef enum {
  GI_LINEAR,                            /* lin: at most one variable; its coefficient is 1 or -1 in references to latent families */
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
  long step;                            /* GI_RANGE: of the values, 0 for 1 */
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
  int family;                           /* in Graph.families, or REF_INDEX */
  int n;                                /* positions: the family's indices; for families without an index, the entries used */
  GIndex *ix;
  bool latent;                          /* a local or marginal latent: a vertex of the coupling graph */
  bool selector;                        /* a lookup table that only chooses the element of a local latent family */
  Guard guard;
  Span span;
} GRef;

/* Shape of an expression, enough to tell what is affine in what. What a `let` stands for is one node, however often it is mentioned. */
typedef enum { GE_CONST, GE_REF, GE_ADD, GE_MUL, GE_FN } GExprKind;
typedef struct GExpr {
  GExprKind kind;
  int id;                               /* among the nodes of its term, 0 ... GTerm.n_nodes - 1 */
  int ref;
  int n;
  struct GExpr **args;
} GExpr;

typedef struct {
  int stmt;                             /* in Model.stmts */
  const char *text;                     /* "x[n] ~ normal(z[n], s)" */
  Span span;
  int n_vars, *vars;                    /* plate variables, outermost first, ... */
  Lin *lo, *hi;                         /* ... and their ranges in this term; outer variables of ragged plates as symbols */
  VEC(GRef) refs;
  int dist;                             /* DistId, -1 for a general summand */
  GExpr *value;                         /* of the distribution; or the summand */
  int n_args;
  GExpr **args;                         /* of the distribution */
  int n_nodes;                          /* of value and args */
  bool restricted;                      /* truncation or bounds that contain references */
} GTerm;

typedef struct { int term, ref; } GTouch;
typedef VEC(GTouch) TouchList;

/* A family of the model (those come first, with their numbers), or a residue class of a latent one: its element with the place p on position k
 * is the one with index step[k] * p + residue[k]. */
typedef struct {
  int model;
  long step[GRAPH_MAX_INDEX], residue[GRAPH_MAX_INDEX];
} GFamily;

/* A box of elements of a latent statement, by the places of its index: they are in q, or barren. */
typedef struct {
  int family, stmt;                     /* in Graph.families; in Model.stmts */
  int n;
  int var[GRAPH_MAX_INDEX];             /* variable of the model that the position runs with, -1: constant */
  long shift[GRAPH_MAX_INDEX];          /* the index is the variable plus this */
  Lin lo[GRAPH_MAX_INDEX], hi[GRAPH_MAX_INDEX];
  bool barren;
} GPiece;

/* An input, or an expression of inputs by its text; with `by`, the whole quotient floor(of / by). */
typedef struct {
  Name name;
  const MExpr *expr;                    /* of an expression that is not affine */
  bool varies;                          /* with a plate variable: in bounds of ragged plates */
  long min, max;                        /* bounds, LONG_MIN and LONG_MAX where there are none */
  Lin of;
  long by;
} GSymbol;

typedef struct {
  const Model *m;
  VEC(GFamily) families;
  VEC(GVar) vars;
  VEC(GSymbol) symbols;
  VEC(Lin) lengths;                     /* hi - lo of the variables, as far as it is no number; each once. Never negative: no plate is empty */
  VEC(GTerm) terms;
  bool by_entry;                        /* some term is one entry of a vector statement */
  TouchList *touch;                     /* per family: the references to it in terms, local and marginal latents only */
  bool *used;                           /* per family of the model: an observed variable depends on it, or it is in a factor */
  VEC(GPiece) pieces;                   /* of the local and marginal latent families, in order of statements */
} Graph;

Graph *graph_build(const Model *m);

static inline const Family *graph_family(const Graph *g, int f) { return &g->m->families.at[g->families.at[f].model]; }
void graph_number_nodes(GTerm *t);                    /* of new nodes, all with the id -1 */
int graph_symbol(Graph *g, const char *text);         /* the atom of a symbol; the same for the same text */
/* The form with variables of outer plates by their names, as symbols: for bounds of ragged plates. */
Lin graph_bound(Graph *g, Lin a);
bool lin_at_least(const Graph *g, Lin a, Lin b);      /* a >= b, for certain */
Lin lin_max(const Graph *g, Lin a, Lin b);            /* the larger; `a` where that cannot be said */
Lin lin_min(const Graph *g, Lin a, Lin b);

GIndex index_replace(GIndex ix, int var, Lin by);     /* a variable replaced in an index, arguments of tables included */
/* residues.c: strides. Families whose strides do not fit together keep them as formulas (GI_TABLE), about which the walk knows nothing. */
void graph_split_residues(Graph *g);
GIndex graph_formula(Graph *g, Lin a);                /* such a form as a known function of its variables */
/* barren.c: fills pieces, cuts the terms of latent statements down to what is not barren. */
void graph_prune(Graph *g);

/* Text of a linear form; variables by the names given (NULL: their own). */
const char *lin_text(const Graph *g, Lin a);
/* -1, 0, 1 when the sign of the form is known for all sizes (every input at least 1 and within its bounds, every plate not empty), else 2. */
int lin_sign(const Graph *g, Lin a);
const char *stmt_text(const Model *m, const Stmt *s);  /* canonical: "z[t] ~ normal(z[t-1], q)" */
void graph_dump(const Graph *g, FILE *out);           /* --dump graph */

#endif
