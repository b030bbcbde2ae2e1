/* Kernels as C text: expressions with C's precedence, loops, scratch arrays, and the declarations that a function needs for what it mentions. */
#ifndef PGMC_CPRINT_H
#define PGMC_CPRINT_H

#include "loop.h"

/* How latent elements that are neither own nor shared references are called in the env: emit.c's table. */
typedef struct {
  Node leaf;                           /* any leaf with these arguments */
  const char *name;                    /* field of the env */
  Node inner;                          /* position within the unit's row (integer node over the leaf's inner axes) */
  Node width;                          /* row length */
} RefSlot;
typedef enum { REF_OWN, REF_SHARED, REF_BUFFER } RefClass;

typedef struct CPrint CPrint;
typedef struct { Node node; const char *name, *comment; } NodeLabel;
typedef struct { const char *key, *type, *name; } Declared;
typedef struct { const char *name, *place; } LaneSum;
struct CPrint {
  Kernel *k;
  Dag *d;
  const char *env_name;                /* "saw" */
  bool span;                           /* the unit axis runs over a PgmSpan; else over its range */
  bool units_given;                    /* `units` is a parameter of the function; else span->units */
  const char *tables;                  /* field of the env that X_TABLE reads */
  bool heap;                           /* scratch arrays come from malloc (outside the objective) instead of the span */
  /* classes of adjoint destinations; NULL where none occur */
  RefClass (*classify)(void *data, Node leaf, RefSlot *slot);
  void *data;
  /* text of an OUT_STORE or OUT_DRAW statement; prints through cprint_expr */
  void (*statement)(CPrint *p, const LoopOut *out);
  void *statement_data;
  /* names of nodes (lets, terms), and a comment to print before them; parallel vectors */
  VEC(NodeLabel) labels;

  /* results and state */
  StrBuf body;                         /* the statements */
  StrBuf declarations;                 /* pointers and sizes they use */
  StrBuf scratch_decls, scratch_free;  /* arrays */
  StrBuf scratch_size;                 /* "PGM_PAD(span->count * H) + ..." or empty */
  bool unit_arrays;                    /* some array has the unit axis: spans must be blocks */
  bool uses_units;                     /* some loop runs over the span's units */
  int indent, next_local;
  AxisSet bound;                       /* axes of the loops around the current statement */
  Node scan;                           /* whose loop that is, if it is a scan's */
  bool *laned;                         /* not NULL in strips of units (lanes.h): per node whether it is an array of lanes */
  VEC(LaneSum) lane_sums;              /* in strips: arrays of lanes, and what their sums are added to when all strips are done */
  const char **local;                  /* per node */
  VEC(Declared) declared;
  VEC(const char *) names;
  const char *value;                   /* expression of OUT_VALUE */
};

void cprint_kernel(CPrint *p);
/* An expression as C, in the context of the kernel. */
const char *cprint_expr(CPrint *p, Node n);
/* Names `key` (a C expression of the env, e.g. "e->z.mean") in the function and returns the name. `type` is its C type up to the name. */
const char *cprint_declare(CPrint *p, const char *key, const char *type, const char *name);
void cprint_line(CPrint *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Field of the env that holds the X_ROOM of an axis. */
const char *cprint_room(const Dag *d, int axis);
/* The array of a node that is an item with scratch storage. */
const char *cprint_array(CPrint *p, Node n);

/* Gives every name of the model a C identifier of its own that clashes neither with C and the headers that emitted code includes nor with what is
 * made here: those names end in an underscore, or are those of families with a suffix. Call once, first. */
void c_names(const Model *m);
/* The identifier of a user's name; other names stay. */
const char *c_name(const char *name);
/* That of an axis' variable, which no other axis of the Dag has. */
const char *c_axis(const Dag *d, int axis);

#endif
