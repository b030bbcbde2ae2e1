/* error.c - errors of the runtime as values: a status and one line of text. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

PgmStatus pgm_fail(PgmError *error, PgmStatus status, const char *format, ...)
{
  if (error) {
    va_list args;
    error->status = status;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
  }
  return status;
}
