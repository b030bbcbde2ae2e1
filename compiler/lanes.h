/* Loops over units that have loops of their own inside (quadratures, values of labels, entries), or evaluate several functions: which of them run in strips, the
 * units of a strip side by side as the lanes of vectors.
 *
 *   for each strip of units                          what stands straight in the body runs over the lanes; what is a loop there stays one loop for
 *     for lane: straight statements                  all lanes, and its body is a block of the same kind. A scalar that is made in one loop over
 *     for q: for lane: straight statements           lanes and read in another becomes an array of one entry per lane.
 *     for lane: straight statements
 *
 * What units add to one place (values of terms, adjoints of globals) is an array of lanes until all strips are done, pgm_sum_lanes; inside loops of the strip's own, a
 * reduction.
 *
 * A loop over lanes ends with the first function that it evaluates: calls save and restore the vectors of all that goes on around them, and between two of them
 * the processor finds nothing to do while one result waits for another.
 *
 * Left as they are, loops with others inside have the inner one vectorised, which for twenty nodes or three labels is a vector or two and a remainder. */
#ifndef PGMC_LANES_H
#define PGMC_LANES_H

#include "cprint.h"

/* Can the loop, over the units of a span, run in strips, and is it worth it? Then laned[node] is set for the scalars that become arrays of lanes, and for what
 * inner loops read of the unit from memory alone: it is read once, and gathered once where the units are a list. */
bool lanes_fit(CPrint *p, const LoopItem *loop, bool *laned);
/* A value in the arrays of the env. */
bool lanes_is_load(const XNode *x);
/* Is the reduction's target, or the destination of the adjoint, one place for all lanes, into which their sum goes? */
bool lanes_share_target(const CPrint *p, Node reduction, int unit_axis);
bool lanes_share_out(CPrint *p, const LoopOut *o, int unit_axis);
/* Does a loop over lanes end after this item? */
bool lanes_cut(const CPrint *p, const LoopItem *it);
/* Does what prints for this item run over whole strips at once, in no loop over lanes? */
bool lanes_whole(const CPrint *p, const LoopItem *it, AxisSet bound);

#endif
