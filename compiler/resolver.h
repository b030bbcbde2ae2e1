/* What the files of the resolver share (resolve.c statements and types, rexpr.c expressions, rdist.c distributions, wellformed.c ranges,
 * duplicates and cycles, lint.c warnings). Nobody else includes it. */
#ifndef PGMC_RESOLVER_H
#define PGMC_RESOLVER_H

#include "ast.h"
#include "model.h"

/* A pair of braces. Names of plate variables and of lets without index are looked up from the inside outwards. */
typedef struct Block {
  struct Block *up;
  int plate;                            /* -1: the model's */
  VEC(int) lets;                        /* families */
} Block;

typedef enum { WORK_NEW, WORK_BUSY, WORK_DONE } WorkState;

typedef struct {                        /* beside Model.stmts */
  const AStmt *ast;
  Block *block;
  WorkState state;
  bool damaged;                         /* something in it was wrong */
} StmtWork;

typedef struct {                        /* beside Model.families */
  const AType *type;                    /* the first one written, or NULL */
  Block *type_block;
  WorkState typed;
  bool damaged;                         /* its type, index or a statement is unknown: no further complaints */
  bool used;
  bool cyclic;                          /* a let without index that needs itself */
  MExpr *written_out;                   /* a let without index: its definition, with those of the lets in it; NULL while not needed */
  bool writing_out;
} FamilyWork;

typedef struct Resolver {
  const Ast *ast;
  Model *m;
  VEC(StmtWork) stmts;
  VEC(FamilyWork) families;
  VEC(const AStmt *) plates;            /* beside Model.plates */
  VEC(bool) plate_damaged;
  VEC(Block *) plate_blocks;            /* the inside of each */
  struct { Name *name; int *family; int size, used; } names;    /* families but the lets of blocks */
  VEC(Name) unknown;                    /* reported already */
  /* where expressions are being resolved */
  Block *block;
  VEC(int) reductions;                  /* variables in scope */
  int visible_reductions;               /* those from here on count */
  bool in_index, in_condition;
  bool in_definition;                   /* the index that a statement defines elements at */
  Span at;                              /* the statement */
  bool chain_reported;
  int level;                            /* of the recursion: nested expressions, and lets resolved because others need them */
} Resolver;

#define MAX_LEVEL 1500                  /* where a let may still be resolved on behalf of another one */
#define LET_LEVELS 3                    /* what that costs */

/* resolve.c */
int family_find(const Resolver *r, Name name);                       /* -1 */
const Type *family_type(Resolver *r, int family);                    /* NULL when unknown; may resolve a let's definition first */
const char *role_text(Role role);                                    /* "a latent variable" */
bool resolve_lets(Resolver *r, int family);                          /* the statements of a let, now; false when one is wrong */

/* rexpr.c. NULL: wrong, and reported. */
MExpr *resolve_expr(Resolver *r, const AExpr *e);
MExpr *resolve_int(Resolver *r, const AExpr *e, const char *what);    /* reports what is not of type int */
bool resolve_index(Resolver *r, const AExpr *e, Index *out);
bool expr_only_known(const Resolver *r, const MExpr *e);              /* numbers, inputs, variables, present() */
void mark_sizes(Resolver *r, const MExpr *e);                         /* its inputs are sizes */
int find_var(const Resolver *r, Name name);                            /* variable in scope or -1 */
int find_block_let(const Resolver *r, Name name);                     /* visible from the current block, or -1 */
MExpr *mexpr_new(MKind kind, Span span, int n_args);
MExpr *mexpr_int(long value, Span span);
/* False when two lengths are certainly different; where that is open, a check for the time of loading data is noted. */
bool same_length(const Resolver *r, MExpr *a, MExpr *b);
const char *shape_text(const Resolver *r, const Type *t);             /* "a vector of length K" */
bool name_is_damaged(const Resolver *r, Name name);
/* Notes to the diagnostic before: where a family is defined; what of an expression is not known in advance; where its operands come from. */
void note_family(const Resolver *r, int family);
void note_random(const Resolver *r, const MExpr *e);
void note_operand(const Resolver *r, const MExpr *e);
void report_unknown(Resolver *r, Name name, Span span);

/* rdist.c */
bool resolve_dist(Resolver *r, const ADist *d, Stmt *s, const Type *type);   /* type of the variable; NULL: unknown */
bool dist_check_args(Resolver *r, int dist, Span name_span, int n, MExpr **args, const Type *variate, bool exact, Span variate_span);
int dist_lookup(Name name, Span span);                               /* -1, reported */

/* wellformed.c */
void check_wellformed(Resolver *r);
#define MAX_STATEMENT_EXPRS 64
int statement_exprs(const Stmt *s, const MExpr **out);                /* all but its index and the ranges of its plates; their number */
void statement_refs(const Model *m, const Stmt *s, RefList *out);     /* all that decide its elements' values, index and ranges too */

/* lint.c: warnings; the model is without errors. */
void warn_suspects(Resolver *r);

#endif
