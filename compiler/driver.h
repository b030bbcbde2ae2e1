/* From C source to files: the C compiler, the archiver, and writing that leaves nothing half-done. */
#ifndef PGMC_DRIVER_H
#define PGMC_DRIVER_H

#include "base.h"

typedef struct {
  bool portable;                       /* --march portable */
  bool verbose, save_c;
  const char *cc, *cflags;             /* NULL: default */
} DriverOptions;

/* All return an exit status: 0, or 3 with a message on standard error. `path` NULL: standard output. */
int driver_write(const char *path, const char *text);
int driver_program(const DriverOptions *o, const char *path, const char *source);
/* The text of one of the runtime's headers; exits with status 3 when it is not there. */
const char *driver_header_text(const char *file);
/* Writes DIR/libNAME.a and DIR/NAME.h; `directory` NULL: the current one. */
int driver_library(const DriverOptions *o, const char *name, const char *directory, const char *source, const char *header);

#endif
