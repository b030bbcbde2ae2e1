/* Files that appear whole or not at all. */
#ifndef PGM_ATOMIC_H
#define PGM_ATOMIC_H

#include <stdio.h>
#include "error.h"

#define PGM_PATH_SIZE 4096

/* A file being written. `temporary` is "" while there is nothing to clean up (closed, or written in place); a signal handler may unlink it. */
typedef struct {
  FILE *stream;
  char path[PGM_PATH_SIZE]; /* the final name, symbolic links resolved */
  char temporary[PGM_PATH_SIZE];
} PgmAtomicFile;

/* Opens a temporary file in the directory of `path`. A path that exists and is no regular file (/dev/stdout, a pipe) is written in place.
 * PGM_SYSTEM: cannot be opened; the text names the file. */
PgmStatus pgm_atomic_open(PgmAtomicFile *f, const char *path, PgmError *error);
/* Flushes, syncs, renames over `path`, syncs the directory. On failure nothing is left behind and an old file is untouched. */
PgmStatus pgm_atomic_commit(PgmAtomicFile *f, PgmError *error);
/* Gives up: removes the temporary file. Harmless after a commit. */
void pgm_atomic_discard(PgmAtomicFile *f);

#endif
