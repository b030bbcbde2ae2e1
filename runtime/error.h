/* Status codes and error texts of the runtime. Nothing in the runtime library prints or exits. */
#ifndef PGM_ERROR_H
#define PGM_ERROR_H

#include <stddef.h>

/* The numbers of the first five are the exit statuses of tools.md. */
typedef enum {
  PGM_OK = 0,
  PGM_BAD_INPUT = 1,                   /* the model or the data are wrong */
  PGM_BAD_USAGE = 2,                   /* options contradict each other */
  PGM_SYSTEM = 3,                      /* I/O, memory */
  PGM_UNMET = 4,                       /* a condition that was asked for does not hold */
  PGM_INTERNAL = 5,
  PGM_INTERRUPTED = 6                  /* exit 130 or 143 */
} PgmStatus;

typedef struct { PgmStatus status; char text[1024]; } PgmError;

/* Sets the error and returns its status, so that `return pgm_fail(error, PGM_BAD_INPUT, "data.json: ...")` works. `error` may be NULL. */
PgmStatus pgm_fail(PgmError *error, PgmStatus status, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
