/* Which references an inference function is given: those of --inputs, else of --window, else of --pin, else of the model (an `amortize`
 * statement, or what the verdict names). What they are is reference.h; how they become columns of numbers is gather.h. */
#ifndef PGM_INPUTS_H
#define PGM_INPUTS_H

#include "fit.h"

/* The inputs of one family. n = -1: there is no input form, the family keeps free factors. */
typedef struct {
  int n;
  char **text;
  char where[256];
  bool free_scale;
  PgmOrigin origin;
} PgmInputs;

/* Checks that every --inputs, --window and --pin names a local latent variable (PGM_BAD_USAGE, PGM_BAD_INPUT). */
PgmStatus pgm_inputs_check(const PgmSession *s, const PgmFitOptions *o, PgmError *error);
/* Does --pin keep this family's factors free? */
bool pgm_inputs_pinned(const PgmSession *s, const PgmFitOptions *o, int family);
PgmStatus pgm_inputs_find(const PgmSession *s, const PgmFitOptions *o, int family, PgmInputs *out, PgmError *error);
void pgm_inputs_free(PgmInputs *in);
/* The options that give inputs to the local latent variables to which the model gives none, "--window 1" or "--window z=1", as far as that works
 * on these data; "" where it does for none. */
void pgm_window_advice(const PgmSession *s, char *text, size_t size);

#endif
