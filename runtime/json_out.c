/* A JSON writer (RFC 8259) that streams, so that data sets need no tree in memory. In: keys and values in order. Out: text on a stream;
 * errors of the stream are the stream's (ferror). Doubles are written with as many digits as they need to be read back unchanged. */
#include "json_out.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

PgmJson pgm_json_start(FILE *out)
{
  return (PgmJson){.out = out, .empty = {true}};
}

void pgm_json_finish(PgmJson *j)
{
  putc('\n', j->out);
}

static void write_string(FILE *out, const char *text)
{
  putc('"', out);
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
    if (*p == '"' || *p == '\\')
      fprintf(out, "\\%c", *p);
    else if (*p == '\n')
      fputs("\\n", out);
    else if (*p < 0x20)
      fprintf(out, "\\u%04x", *p);
    else
      putc(*p, out);
  }
  putc('"', out);
}

/* Everything that stands before a value: the comma, the line break of the outer object, the key. */
static void lead(PgmJson *j, const char *key)
{
  if (!j->empty[j->depth]) fputs(j->depth == 1 && !j->array[1] ? "," : ", ", j->out);
  if (j->depth == 1 && !j->array[1]) fputs("\n  ", j->out);
  j->empty[j->depth] = false;
  if (!key) return;
  write_string(j->out, key);
  fputs(": ", j->out);
}

static void open_level(PgmJson *j, const char *key, bool array)
{
  lead(j, key);
  putc(array ? '[' : '{', j->out);
  j->depth++;
  j->empty[j->depth] = true;
  j->array[j->depth] = array;
}

void pgm_json_object(PgmJson *j, const char *key)
{
  open_level(j, key, false);
}
void pgm_json_array(PgmJson *j, const char *key)
{
  open_level(j, key, true);
}

void pgm_json_end(PgmJson *j)
{
  if (j->depth == 1 && !j->array[1] && !j->empty[1]) putc('\n', j->out);
  putc(j->array[j->depth] ? ']' : '}', j->out);
  j->depth--;
}

void pgm_json_string(PgmJson *j, const char *key, const char *value)
{
  if (!value) {
    pgm_json_null(j, key);
    return;
  }
  lead(j, key);
  write_string(j->out, value);
}

char *pgm_number_text(double value, char *buffer)
{
  char text[32];
  if (value == floor(value) && fabs(value) < 1e15) {
    snprintf(text, sizeof text, "%.0f", value == 0 ? 0.0 : value);
  } else {
    for (int digits = 15; digits <= 17; digits++) {
      snprintf(text, sizeof text, "%.*g", digits, value);
      if (strtod(text, NULL) == value) break;
    }
  }
  return strcpy(buffer, text);
}

static void write_number(FILE *out, double value)
{
  char buffer[32];
  fputs(isfinite(value) ? pgm_number_text(value, buffer) : "null", out);
}

void pgm_json_number(PgmJson *j, const char *key, double value)
{
  lead(j, key);
  write_number(j->out, value);
}

void pgm_json_integer(PgmJson *j, const char *key, long value)
{
  lead(j, key);
  fprintf(j->out, "%ld", value);
}

void pgm_json_bool(PgmJson *j, const char *key, bool value)
{
  lead(j, key);
  fputs(value ? "true" : "false", j->out);
}

void pgm_json_null(PgmJson *j, const char *key)
{
  lead(j, key);
  fputs("null", j->out);
}

static const double *write_nested(FILE *out, int rank, const long *dim, const double *value)
{
  if (rank == 0) {
    write_number(out, *value);
    return value + 1;
  }
  putc('[', out);
  for (long i = 0; i < dim[0]; i++) {
    if (i) putc(',', out);
    value = write_nested(out, rank - 1, dim + 1, value);
  }
  putc(']', out);
  return value;
}

void pgm_json_values(PgmJson *j, const char *key, int rank, const long *dim, const double *value)
{
  lead(j, key);
  write_nested(j->out, rank, dim, value);
}
