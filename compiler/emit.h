/* Model + analysis -> the C source of the inference program. */
#ifndef PGMC_EMIT_H
#define PGMC_EMIT_H

#include "analysis.h"
#include "expect.h"
#include "report.h"

typedef struct {
  const char *version, *hash;          /* of pgmc; of the model's source */
  bool lenient;                        /* for `check`: a term that code generation cannot make is a warning, and left out */
  bool single;                         /* kernels of sampled terms in single precision where they have matrix products */
  FILE *dump_expr, *dump_loop;         /* --dump expr, --dump loop; NULL: not asked */
} EmitOptions;

/* The parts that need no analysis: terms with their expectations; problems (constructs code generation lacks) go to diag. */
typedef struct Emission Emission;
Emission *emit_prepare(const Model *m, const Analysis *a, const EmitOptions *options);
/* How each factor's expectation is computed, for the report; in order of statements. */
int emit_expectations(const Emission *e, const Expectation **out);
/* Whether --real float makes a difference: some sampled term has matrix products. */
bool emit_has_single(const Emission *e);
/* The C source. `text`, `json`, `dot`: what the program's `check` prints. */
void emit_source(Emission *e, const char *text, const char *json, const char *dot, StrBuf *out);

#endif
