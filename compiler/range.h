/* What the compiler knows about whole numbers: the ranges of plate and reduction variables, bounds of inputs, plates that are not
 * empty. It proves inequalities between affine forms by adding such facts up; "not proved" means unknown. */
#ifndef PGMC_RANGE_H
#define PGMC_RANGE_H

#include "model.h"

typedef VEC(Affine) AffineVec;
typedef struct {
  const Model *m;
  AffineVec *by_family;                 /* forms >= 0 that mention the input */
} Facts;

/* plates_run: plates whose size the model leaves open are taken to be non-empty. */
Facts *facts_of(const Model *m, bool plates_run);
bool prove_nonnegative(const Facts *f, const Affine *a);
/* a >= b, a > b, a == b as integers. */
bool prove_ge(const Facts *f, const Affine *a, const Affine *b);
bool prove_gt(const Facts *f, const Affine *a, const Affine *b);
/* a with variable `var` replaced; false on overflow. */
bool affine_substitute(const Affine *a, int var, const Affine *by, Affine *out);
long affine_coef(const Affine *a, AtomKind kind, int id);            /* 0 when it does not occur */

/* Which elements a statement defines, at the index v of its family: conditions c >= 0 that must all hold (an equality is two). False
 * when one of them is no affine form: then nothing is known about it. */
bool piece_conditions(const Model *m, const Stmt *s, const Affine *v, AffineVec *out);

/* Is every element that this reference of statement `stmt` (or of a let in it) can mean defined, whatever the data? For indices that
 * are affine or lookups through bounded integers. Used to leave out checks at run time. */
bool reference_in_range(const Facts *f, const MExpr *ref);

#endif
