/* The verdict: may variational inference of this model be amortised, from which inputs, and if not, why not.
 *
 *   analyse(model)   graph.c (terms and references) -> coupling.c (the component of a generic element, explored) -> periodic.c (the lattice of
 *                    translations that close it) -> verdict.c (class, domain, boundary, witness, remedies) -> ground.c (self-check by brute force)
 *
 * docs/analysis.md has the theory: at a fixed factor of the globals the ELBO is a sum over the connected components of the coupling graph of
 * the local latent variables, so the optimal factor of an element is a function of the observed and known entries in the terms that touch its
 * component. It generalises Margossian & Blei (2024), "Amortized variational inference: when and why?".
 *
 * All text is in the arena. Domains are references as a user would write them for the generic element, in the plate variables of the latent's
 * own statement: "x[n-1]", "c[n]", "x[g,*]", "y[p,1..Q]", "x[1]", "x[i | county[i] = j]", "w[i | doc[i] = doc[n]]", "x[1..t]", "x[i+k, j+k]"
 * (k over all integers in range). A bare plate variable ("t") stands for the index itself, which chooses an element of an indexed global. */
#ifndef PGMC_ANALYSIS_H
#define PGMC_ANALYSIS_H

#include "base.h"
#include "diag.h"
#include "given.h"
#include "model.h"

typedef VEC(const char *) TextList;

typedef struct { const char *text; Span span; } WitnessStep;        /* references and factors in turn; a reference's span is in its factor */

typedef struct {
  const char *kind;                     /* "structured", "pin", "set-encoder", "slice-encoder", "window" */
  TextList domain;                      /* inputs under this remedy; a latent reference ("u[g]") stands for the parameters of its free factor */
  TextList boundary;                    /* of kind "pin": units that have other inputs then */
  const char *option;                   /* command-line words that apply it, or NULL where the tool has none yet */
  const char *note;                     /* one sentence for people */
  int pinned;                           /* of kind "pin": the family kept free; -1: elements at constant indices of the latent's own */
  bool has_half_width;                  /* of kind "window": theory gives the half-width that leaves 1 % of the gap without input */
  int half_width;
  const char *law;                      /* ... in words */
} Remedy;

/* Of the elements of a range with a data set: those in q, the components they are in, the number of them in the largest of these and in the one of the
 * median element, those whose component misses an observation, and those that no observation is left of, which are not in q. */
typedef struct { long units, components, largest, median, missing, unobserved; } GroundSizes;

typedef struct {
  int family;
  Name name;
  TextList index;                       /* generic index names: plate variables, or the text of a constant index */
  const char *range;                    /* "1..N", "1..S, 2..T", "" without index */
  const char *role;                     /* global, local, param, pruned, marginal */
  const char *verdict;                  /* closes, set, slice, unbounded, unbounded-set, position, data, unknown, global, param, marginal, pruned */
  const char *domain_kind;              /* window, set, slice, all, data, none */
  TextList domain, sd_domain;
  bool conservative;                    /* some entries of the domain may not be needed: no rule says exactly which */
  TextList boundary;                    /* "n=1", "t=1..K", "i=1 & j=1" */
  VEC(WitnessStep) witness;
  VEC(Remedy) remedies;
  bool has_this_data;                   /* what suffices for a function fitted on this data set alone, where it differs */
  const char *this_data_verdict;
  TextList this_data_domain;
  TextList inputs;                      /* of the inference function: the domain, or an amortize statement's references */
  const char *conditioning;             /* complete, gap; none where the family is not amortised */
  TextList missing, superfluous;
  TextList window;                      /* generic references that --window W shifts along the last plate of the index */
  bool separable;                       /* no term contains another local element beside one of this family */
  bool amortize;                        /* inputs come from an amortize statement */
  const char *reason;                   /* one sentence: why this verdict */
  GroundSizes ground;                   /* with data; role local */
} LatentVerdict;

typedef struct { Span span; const char *message; } AnalysisWarning;

typedef struct {
  const char *verdict;                  /* closes, partly, data, unknown, open */
  VEC(LatentVerdict) latents;           /* in order of families; a piecewise family has one entry per range of non-constant length */
  VEC(AnalysisWarning) warnings;
  const char *unchecked;                /* why the model was not compared with itself written out at a small size; NULL: it was */
  const char *data;                     /* the file that ground is of, NULL */
  const char *data_error;               /* why the data could not be used */
} Analysis;

/* Never fails; a disagreement with the brute-force check is a BUG. */
Analysis *analyse(const Model *m);
/* The same, with what the data decide. */
Analysis *analyse_given(const Model *m, const Given *given);

/* For --require: the strength of a model's verdict, open = 0 ... closes = 4; -1 for an unknown word. */
int verdict_strength(const char *verdict);

#endif
