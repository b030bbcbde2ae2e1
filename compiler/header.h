/* NAME.h of `pgmc MODEL.pgm --library`. */
#ifndef PGMC_HEADER_H
#define PGMC_HEADER_H

#include "model.h"

/* `error_h`, `pgm_h`: the texts of the runtime's error.h and pgm.h, which become part of the header. */
void header_print(const Model *m, const char *error_h, const char *pgm_h, StrBuf *out);

#endif
