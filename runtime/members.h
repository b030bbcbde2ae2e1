/* The members of sets and slices, as trees that several rows share: what an encoder (encoder.h) sums up.
 *
 * "x[g,*]" and "c[g,*]" refer to one set: its members are tuples of an x and a c. Rows whose fixed indices agree share a group. A reference that
 * runs over several indices, "x[a,*,*]", or through composed lookups, "y[i | school[class[i]] = s]", has a member for every (b, c), or every
 * (class, i), and these form a tree of levels: group, b, c. A coarser reference, "w[a,*]" or "w[c | school[c] = s]", puts its elements on
 * an upper level of the same tree. Nodes are found by the values of the indices along the way, whatever variable they belong to; which indices mean
 * the same is told by their axes (PgmFamily.axis).
 *
 * Missing observations are no members: a node is there where an observed variable has a value, or any where the references name no observed
 * variable. In slices every element is a member, since members have neighbours. */
#ifndef PGM_MEMBERS_H
#define PGM_MEMBERS_H

#include "reference.h"

enum { PGM_MAX_LEVELS = PGM_MAX_INDEX };

typedef struct {
  long nodes;
  long *begin; /* children of node (or, at level 0, group) p: begin[p] .. begin[p + 1] - 1 */
  int n_inputs;
  long *at; /* [nodes][n_inputs]: flat index of the node's element of each input of this level; -1: it has none */
} PgmMemberLevel;

typedef struct {
  long groups, rows;
  int n_levels; /* level 0 is the top */
  PgmMemberLevel level[PGM_MAX_LEVELS];
  long *group; /* per row; -1: none */
  /* slices, per row: the last member at or before the row's own place, the first at or after it; -1: none */
  long *before, *after;
} PgmMembers;

/* Do they go through the same groups, one a refinement of the other (or the same)? */
bool pgm_members_join(const PgmSession *s, const PgmReference *r, const PgmReference *q);
/* How many levels a reference has. */
int pgm_members_depth(const PgmSession *s, const PgmReference *r);
/* The tree of references that join. Input i stands on level pgm_members_depth - 1, in the order of the references (slices: all on level 0). */
PgmStatus pgm_members_open(PgmMembers *out, const PgmSession *s, int latent, int n, const PgmReference *const *refs, bool slice, PgmError *error);
void pgm_members_close(PgmMembers *m);

#endif
