/* The syntax tree: what the parser builds, what resolve.c reads. Nothing is checked here beyond the grammar: names are text, indices
 * are expressions, and a statement holds whatever the user wrote after its name. Every node has its span. Everything is in the arena.
 *
 * A file with syntax errors still gives a tree of the statements that were understood; the names that the others may have declared are
 * in `damaged`, so that resolve.c does not complain about what it could not see. */
#ifndef PGMC_AST_H
#define PGMC_AST_H

#include "base.h"
#include "diag.h"
#include "model.h"

typedef struct AExpr AExpr;

typedef enum {
  A_NUM,                                /* number, text */
  A_NAME,                               /* name */
  A_INDEX,                              /* args[0][args[1], ...] */
  A_CALL,                               /* name(args...) */
  A_LPDF,                               /* name(args[0] | args[1], ...) */
  A_REDUCE,                             /* name(var in args[0]..args[1]: args[2]) */
  A_UNARY, A_BINARY, A_COND,            /* op, args */
  A_VECTOR,                             /* [args...] */
  A_SLICE,                              /* args[0]..args[1], in an index */
  A_STAR,                               /* *, in an index of amortize */
  A_SET                                 /* var | args[0] = args[1], in an index of amortize */
} AKind;

struct AExpr {
  AKind kind;
  Span span;
  Name name, var;                       /* see kind */
  Span name_span;                       /* of name, or of var where there is one */
  double number;
  bool is_int;                          /* A_NUM without point and exponent */
  OpKind op;
  int n;
  AExpr **args;
  int depth;                            /* longest path down, at most AST_MAX_DEPTH */
};

#define AST_MAX_DEPTH 1000

typedef struct AList { int n, cap; AExpr **at; } AList;  /* a VEC with a name, for the parser's stack */

typedef struct {
  Name name;                            /* "real", "vector", ... as written */
  Span span, name_span;
  AExpr *lower, *upper;
  AList dims;
} AType;

typedef struct {
  Name name;
  Span span, name_span;                 /* of `dist(...) T[...]`, of the name */
  AList args;
  bool truncated;
  AExpr *lo, *hi;
} ADist;

typedef enum { AS_DECLARATION, AS_FACTOR, AS_PLATE, AS_AMORTIZE } AStmtKind;

typedef struct AStmt AStmt;
typedef struct AStmtList { int n, cap; AStmt **at; } AStmtList;

struct AStmt {
  AStmtKind kind;
  Span span;                            /* without the semicolon; of a plate: the header */
  StmtKind role;                        /* declaration: ST_INPUT, ST_LATENT, ST_OBSERVED, ST_PARAM, ST_LET */
  bool is_global, is_marginal;
  Name name;                            /* declared or amortized name, variable of a plate */
  Span name_span, target_span;          /* `z`, `z[n]` */
  AList index;                          /* of the target */
  AType *type;                          /* or NULL */
  AExpr *value;                         /* default, value, factor; or NULL */
  ADist *dist;                          /* or NULL */
  AExpr *lo, *hi;                       /* plate */
  AStmtList body;                       /* plate */
  AList from;                           /* amortize: A_NAME or A_INDEX */
};

typedef struct {
  Name name;
  Span name_span;
  AStmtList body;
  VEC(Name) damaged;
} Ast;

/* Parses the text of source_set. Problems go to diag. NULL when nothing is left to look at (no `model NAME {`). When the tree is there,
 * call resolve() even after syntax errors, which then finds the independent errors of the other statements. */
Ast *parse_source(void);
void ast_dump(const Ast *ast, FILE *out);             /* --dump ast: one statement per line, as nested lists */

/* The spelling of operators, `+` ... `'`. */
const char *op_text(OpKind op);

#endif
