/* Definitions that look back at themselves: `let s[t] = f(s[t-1], x[t])`. The front end has made sure that no element depends on itself (wellformed.c);
 * here is told how code computes them: one after the other along one index. */
#ifndef PGMC_RECURRENCE_H
#define PGMC_RECURRENCE_H

#include "model.h"

#define RECURRENCE_PARTS 8              /* families of one recurrence computed side by side */

/* A cycle of definitions. Its members are computed side by side; in the others' place stand their definitions, which have no cycle without the members:
 * of nu[t] = mu + theta * err[t-1] and err[t] = y[t] - nu[t], one is a member. */
struct Recurrence {
  int n, member[RECURRENCE_PARTS];
  int position;                         /* of the members' indices: the one along which they look back */
  bool down;                            /* they look ahead: the last element comes first */
  const char *refusal;                  /* what of it code generation does not do; NULL: nothing */
};

/* Enters the recurrences of all definitions into the model. */
void recurrences_find(Model *m);

#endif
