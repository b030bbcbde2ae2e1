/* What the command line needs beyond pgm.h: inference from data files. Runtime-internal. */
#ifndef PGM_POSTERIOR_H
#define PGM_POSTERIOR_H

#include "fit.h"
#include "pgm.h"

const PgmFit *pgm_posterior_fit(const PgmPosterior *posterior);
/* Are the inputs of the posterior (pgm_posterior_input) there? */
PgmStatus pgm_posterior_check_data(const PgmPosterior *posterior, const PgmData *data, PgmError *error);
/* As pgm_posterior_infer, of data that have been read; adds to `data` the sizes that only the fit knows. */
PgmStatus pgm_posterior_infer_data(const PgmPosterior *posterior, PgmData *data, const PgmInferOptions *options, PgmInference **out,
                                   PgmError *error);
/* Adds to `data` the sizes of the fitted data that `data` neither name nor can tell. */
#define PGM_SIZE_OF_FIT "the fit" /* where these sizes say they come from */
PgmStatus pgm_fit_add_sizes(const PgmFit *fit, const PgmModel *model, PgmData *data, PgmError *error);

#endif
