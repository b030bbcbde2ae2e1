/* One verdict per family, for emitted code: an inference function serves all pieces of a family, so it is given what any of them needs. */
#ifndef PGMC_PIECES_H
#define PGMC_PIECES_H

#include "analysis.h"

/* Joins the verdicts of a family's pieces; NULL for a family that is not latent. Of classes the one hardest to amortise stands for all; domains,
 * inputs and windows are united, written in the index variables of the first piece. */
const LatentVerdict *family_verdict(const Analysis *a, int family);

/* May a function of `inputs` be fitted without being told more: a closing domain, or an `amortize` statement? */
bool verdict_has_inputs(const LatentVerdict *v);

#endif
