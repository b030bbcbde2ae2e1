/* References as users write them ("x[n-1]", "c[g[n]]", "x[g,*]", "x[i | county[i] = j]"): read against a model, and what they refer to in a
 * session's data.
 *
 *   x[n-1]                one element; indices are whole-number expressions in the latent variable's own indices, sizes, lookups
 *   x[g,*], y[p,1..Q]     all elements of a row, or a range of them
 *   x[i | county[i] = j]  all elements with a property; i is bound, one side of '=' mentions it
 *   x[i+k, j+k]           a name that is nothing else runs over all whole numbers that lead to an element
 *   t                     an index of the latent variable itself
 *   u[g[n]]               a latent variable: the parameters of its factors; those of several, u[class[i] | school[i] = s]
 *
 * Rows are the defined elements of the latent family that the function serves, in order of their flat indices. Errors are located texts, in
 * PgmReader.error. */
#ifndef PGM_REFERENCE_H
#define PGM_REFERENCE_H

#include "session.h"

enum { PGM_MAX_NODES = 96, PGM_FEW_LEVELS = 32 };

/* Integer expressions in the indices of the latent variable, sizes, lookups, and the bound variable of a set. */
typedef enum { N_NUMBER, N_INDEX, N_BOUND, N_LOOKUP, N_NEG, N_ADD, N_SUB, N_MUL, N_DIV } NodeKind;
typedef struct {
  NodeKind kind;
  long number; /* N_NUMBER; N_INDEX: which position of the latent's index */
  int family;  /* N_LOOKUP (a scalar size is a lookup without arguments) */
  int a, b;    /* operands */
  int n_args, args[PGM_MAX_INDEX];
} PgmIndexNode;

typedef enum { P_EXPR, P_STAR, P_SLICE } PositionKind;
typedef struct {
  PositionKind kind;
  int lo, hi;
} PgmPosition; /* nodes; P_EXPR uses lo */

typedef struct {
  int family; /* -1: `index`, a bare index variable of the latent */
  long index;
  int n_positions;
  PgmPosition position[PGM_MAX_INDEX + 2]; /* indices, then entries of a vector or matrix element */
  bool looks_up;                        /* a set whose elements are looked up: u[class[i] | school[i] = s] */
  bool set, runs;                       /* runs: the bound variable runs over all whole numbers (no condition) */
  int left, right;                      /* the set's condition: left mentions the bound variable, right does not */
  int n_nodes;
  PgmIndexNode node[PGM_MAX_NODES];
} PgmReference;

typedef struct {
  const PgmSession *s;
  const PgmFamily *latent;
  const char *text, *p, *where; /* the whole reference, the next character, the origin */
  char bound[64];
  PgmReference *ref;
  PgmError *error;
} PgmReader;

/* What names in an index stand for: the latent element's indices, and the bound variable. */
typedef struct {
  const long *index;
  long bound;
} PgmScope;

/* An element of a set, with the value of its condition's left side and that of the bound variable. */
typedef struct {
  long key, flat, bound;
} PgmMember;

bool pgm_reader_complain(PgmReader *p, const char *format, ...) __attribute__((format(printf, 2, 3))); /* returns false */
/* Reads all of p->p into p->ref. Variables have to be data, or latent ones of another family. */
bool pgm_reference_read(PgmReader *p);
/* The spelling that messages and fits use: blanks out, except in sets. To be freed; NULL: out of memory. */
char *pgm_reference_text(const char *text);
bool pgm_reference_mentions(const PgmReference *r, int node, NodeKind kind);
/* Of the same make, whatever the variable's name? `a` and `b` are nodes of their references. */
bool pgm_reference_same(const PgmReference *r, int a, const PgmReference *q, int b);
/* Is it a latent variable, standing for the parameters of its factors? */
bool pgm_reference_latent(const PgmSession *s, const PgmReference *r);

int pgm_family_named(const PgmModel *m, const char *name); /* -1: there is none */
void pgm_list_name(char *list, size_t size, const char *name);
char *pgm_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

bool pgm_entry_missing(const PgmSession *s, int family, long entry);
double pgm_entry_value(const PgmSession *s, int family, long entry);
/* Are the values of an integer variable few whole numbers, from 3 to PGM_FEW_LEVELS? Their range, in any case. */
bool pgm_few_levels(const PgmSession *s, int family, long *lo, long *hi);
long pgm_row_flat(const PgmSession *s, int family, long row);
void pgm_flat_position(const PgmSession *s, int family, long flat, long *index);
void pgm_row_index(const PgmSession *s, int family, long row, long *index);
/* Flat index of an element, or -1 where it is not defined. */
long pgm_flat_index(const PgmLayout *l, int n_index, const long *index);
/* False where a lookup leads nowhere. */
bool pgm_index_value(const PgmSession *s, const PgmReference *r, int node, PgmScope scope, long *out);
/* Range of one position; false where it cannot be evaluated. An empty range has hi < lo. */
bool pgm_position_range(const PgmSession *s, const PgmReference *r, int k, PgmScope scope, long *lo, long *hi);

/* Entries of an element that the reference takes: all, or those of its entry positions (constants, slices, '*'). Of a latent variable:
 * per unconstrained entry the factor's means, then (but for a param) the log sds. *entry is to be freed. */
bool pgm_reference_entries(PgmReader *p, long **entry, long *n);
/* Visits the elements that the latent element `index` refers to (not for sets). Returns the number of index tuples, or -1 where an index
 * cannot be evaluated; at[] (may be NULL) gets flat indices or -1; *defined counts the defined ones. */
long pgm_reference_visit(const PgmSession *s, const PgmReference *r, const long *index, long *at, long *defined);
/* The members of every set: elements of the referred family with the key of their condition, sorted by key and bound variable. NULL: no
 * memory. */
PgmMember *pgm_reference_members(const PgmSession *s, const PgmReference *r, long *n);
/* The elements that the running variable leads to, from the lowest; returns their number (at may be NULL). */
long pgm_reference_along(const PgmSession *s, const PgmReference *r, int latent, const long *index, long *at);
/* Do rows share one vector of elements: the same number of them everywhere, all defined, not too many? (Single references may be absent.) */
bool pgm_reference_width(const PgmSession *s, const PgmReference *r, int latent, long rows, long *width);

#endif
