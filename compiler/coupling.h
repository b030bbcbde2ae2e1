/* The component of a generic element in the coupling graph, explored symbolically, and the lattice of translations that close it.
 * Private to coupling.c, periodic.c, verdict.c, ground.c. */
#ifndef PGMC_COUPLING_H
#define PGMC_COUPLING_H

#include "analysis.h"
#include "graph.h"

#define MAX_AXES GRAPH_MAX_INDEX
#define ORIGIN_MAX 64                   /* lookups of lookups of ... */

/* ---- the unit: the generic element whose component is sought ----------------------------------------------------------------- */

/* An element of one range of a latent family (of Graph.families). Axis p is index position p; it runs unless the index is constant in the whole
 * range. Everything is in places: the index is step * place + residue of the family. */
typedef struct {
  int family, stmt;
  int n;
  bool runs[MAX_AXES];
  bool fixed[MAX_AXES];                 /* runs over a number of elements that is a literal constant: growth along it is no growth */
  Lin at[MAX_AXES];                     /* where it does not run */
  Lin lo[MAX_AXES], hi[MAX_AXES];       /* where it does */
  int var[MAX_AXES];                    /* its plate variable, in Graph.vars */
  long shift[MAX_AXES];                 /* the index is the variable plus this */
} Unit;

/* ---- places of indices ---------------------------------------------------------------------------------------------------------- */

typedef enum {
  AT_UNIT,                              /* sign * (unit's place on axis id) + off: the potential of the theory */
  AT_ABS,                               /* off */
  AT_FREE,                              /* every value: the family or factor lacks what would tell; sign * k + off where |sign| > 1 */
  AT_ORIGIN,                            /* sign * origin `id` + off: the value of a lookup, or bound variable number `sub` of a set */
  AT_SPAN                               /* from *lo to *hi, each AT_UNIT or AT_ABS; in entries of the domain only */
} AtKind;
typedef struct At {
  AtKind kind : 8;                      /* there are many of these: kept small */
  unsigned sub : 8;
  unsigned id : 16;
  int sign;                             /* 1 or -1, but in entries of the domain any coefficient: x[2*n] */
  Lin off;
  struct At *lo, *hi;                   /* AT_SPAN; AT_FREE: ends that are known of the free place, or NULL */
} At;

/* A lookup value table(args), or the elements i with table(... i ...) = target. */
typedef struct {
  bool set;
  const GIndex *ix;                     /* GI_TABLE */
  int n_args;
  At args[MAX_AXES];                    /* bound variables: AT_ORIGIN of this origin */
  At target;                            /* set */
  int n_bound;
  Name bound[MAX_AXES];                 /* names of the bound variables */
  int term, ref, pos;                   /* set: where it came from; with n_known and known, what makes it the same set */
  At known[MAX_AXES];
  bool over_set;                        /* lookup: of an element of a set; it then ranges over an unknown part of the table's values */
} Origin;

/* ---- the component ---------------------------------------------------------------------------------------------------------------- */

typedef struct {
  bool is_term;
  int id;                               /* family or term */
  int n;
  At at[MAX_AXES];                      /* family: its index positions; term: its plate variables */
  int next;                             /* node of the same family or term, -1 */
  int parent, ref;                      /* the node it was reached from, and through which reference of the term (of the two) */
  bool left;                            /* family: its terms have been looked at */
  bool const_only;                      /* family: an element glued on at a range end: only references to just this element count; */
  bool glued[MAX_AXES];                 /* its constant indices. Term: a second place of a term, for its own entries */
} CNode;

typedef enum { GEN_CYCLE, GEN_LACK } GenOrigin;

/* C(n) = C(n + v). */
typedef struct {
  Lin v[MAX_AXES];
  GenOrigin origin;
  int node;                             /* the node met again (GEN_CYCLE), or the copy of the unit's family with a free axis (GEN_LACK) */
  int from, ref;                        /* GEN_CYCLE: the node it was met from, and the reference between the two */
  Lin met[MAX_AXES];                    /* offsets with which it was met */
} Generator;

/* An observed or known element (or set of them) in a term of the component. */
typedef struct {
  int family;                           /* or REF_INDEX */
  int n;
  At at[MAX_AXES];
  bool plate_free;                      /* a free position that runs with a plate, not only with a reduction */
  bool pinned;                          /* a latent element that is kept out of the component: its factor's parameters are an input */
  bool own;                             /* in a term that touches the unit itself */
  bool shared;                          /* known values that are the same for all units: constants of the function (verdict.c) */
  int term_node, ref;
  int next;                             /* entry of the same family that was met before, -1 */
} Entry;

/* Units with all of lo[q] <= place on q <= hi[q] (for the axes used; twice the place where `twice`) differ from the generic one;
 * from: the node that lacks a term there, or has one more (0: the unit itself). */
typedef struct { bool used[MAX_AXES], twice[MAX_AXES]; Lin lo[MAX_AXES], hi[MAX_AXES]; int from; } BoundaryBox;

/* ---- lattices (periodic.c) ------------------------------------------------------------------------------------------------------------ */

/* Row-style Hermite normal form: row r has its first non-zero entry, positive, right of that of row r - 1. */
typedef struct { int dim, rank; long row[MAX_AXES][MAX_AXES]; } Lattice;
void lattice_add(Lattice *l, const long *v);
bool lattice_contains(const Lattice *l, const long *v);
void lattice_reduce(const Lattice *l, long *v);       /* the canonical representative of v modulo the lattice */
bool lattice_has_axis(const Lattice *l, int axis);    /* contains the unit vector */

typedef struct {
  const Graph *g;
  Unit unit;
  VEC(CNode) nodes;
  VEC(Generator) generators;
  VEC(Entry) entries;
  VEC(Origin) origins;
  VEC(BoundaryBox) boundary;
  bool crossed;                         /* lookups meet in a way that only the data can untangle */
  bool crossed_formula;                 /* ... and one of them is an index expression, not data */
  int crossed_term;
  bool bad_axes;                        /* a cycle that no translation describes (indices exchanged with an offset, ...) */
  bool loose;                           /* the entries may be more than the component meets (a chain of stride 2 from a constant index) */
  bool oblique;                         /* constant indices meet a lattice that is not along the axes: everything is taken */
  bool prefix;                          /* a latent variable under a running sum or recurrence */
  bool merged[MAX_AXES];                /* axes along which the component is unbounded: ranges no longer separate */
  bool *ordered;                        /* per axis class (axis_class): a free index along which elements are chained */
  unsigned hub_axes;                    /* with no_hubs: the axes of the unit that tell which hub it is attached to */
  bool *slotted;                        /* per axis class: a free index that also chooses an element of an indexed global or a shared known value */

  /* filled by component_lattice */
  Lattice lattice;                      /* of generators that are numbers */
  VEC(int) symbolic;                    /* generators that are not */
  bool grows[MAX_AXES];                 /* the lattice has an extent along the axis (fixed axes included) */
  int rank;                             /* over the axes that are not fixed */
  bool cyclic;                          /* some generator is a cycle, or order matters for another reason */
} Component;

typedef struct {
  const bool *pinned;                   /* per family: kept out of the graph; NULL: none */
  bool pin_constant;                    /* elements of the unit's own family at constant indices (a hub z[1]) are kept out */
  bool no_hubs;                         /* what lacks an axis of the unit is kept out, and so are sums over an axis */
  bool own_terms;                       /* no further than the terms of the unit itself and what they mention */
} ExploreOptions;

/* Union-find with offsets: value of this = value of the parent + off. */
typedef struct { int parent; long off; } Potential;

/* What all walks of a graph share: classes of index positions and plate variables that some reference identifies; per family and position
 * (family * MAX_AXES + position), the ends of what is in q; memory to be used again. */
typedef struct {
  const Graph *g;
  int n, *parent, *first;
  Lin *least, *most;
  bool *has_constant;                   /* per family: some term mentions it at a constant index */
  /* of the walk that is under way: */
  int *node;                            /* per family, then per term: its nodes, linked by CNode.next; -1 between walks */
  int *entry;                           /* per family, after REF_INDEX: its entries, linked by Entry.next; -1 between walks */
  int *n_abs;                           /* per family: nodes with a constant index */
  VEC(int) near_;                       /* nodes to leave from: without free places; ... */
  VEC(int) far[MAX_AXES + 1];           /* ... with that many of them */
  VEC(Potential) potential;             /* per node and place (node * MAX_AXES + place), for chains along free places */
  VEC(Component *) spare;
} Axes;
Axes *axes_build(const Graph *g);
int axis_of_position(Axes *a, int family, int pos);
int axis_of_var(Axes *a, int var);

Component *explore(const Graph *g, Axes *axes, const Unit *unit, const ExploreOptions *options);
void component_done(Axes *axes, Component *c);       /* its memory may be used again */
void component_lattice(Component *c, Axes *axes);

const Origin *origin_at(const Component *c, At a);
/* Reference r of a term that touches the unit itself, as an entry; where the unit is one of a sum, as it meets the unit. */
Entry own_entry(const Graph *g, Axes *axes, Component *c, int term_node, int r);

/* ground.c: grounds the model at a small size and compares with what `c` says of every element of the unit. BUG on disagreement.
 * `merged`: what explore decided. Returns false when the model could not be grounded at a small size (say, a lookup without a bound). */
typedef struct GroundModel GroundModel;
GroundModel *ground_build(const Graph *g, const char **why);  /* NULL: cannot, and why */
void ground_check(GroundModel *gm, const Component *c, bool exact);
GroundModel *ground_given(const Graph *g, const Given *given, const char **why);      /* with the data as they are; NULL: cannot, and why */
void ground_count(GroundModel *gm, const Unit *u, GroundSizes *out);

#endif
