/* Reads a value of a JSON file for the tests: json_get FILE PATH
 * PATH is a name per level with dots between, or a position from 0: "globals.theta.mean", "latents.0.verdict"; "" is the whole file. Prints strings as
 * they are, numbers with 17 digits, arrays as their numbers in order (nested ones too), null as "null", an object as its keys.
 * Status 1 when there is no such value, 3 when the file cannot be read. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_value(const json_t *v)
{
  size_t i;
  const char *key;
  json_t *member;
  switch (json_typeof(v)) {
  case JSON_STRING: puts(json_string_value(v)); break;
  case JSON_INTEGER: printf("%lld\n", (long long)json_integer_value(v)); break;
  case JSON_REAL: printf("%.17g\n", json_real_value(v)); break;
  case JSON_TRUE: puts("true"); break;
  case JSON_FALSE: puts("false"); break;
  case JSON_NULL: puts("null"); break;
  case JSON_ARRAY: json_array_foreach(v, i, member) print_value(member); break;
  case JSON_OBJECT: json_object_foreach((json_t *)v, key, member) puts(key); break;
  }
}

int main(int argc, char **argv)
{
  json_error_t error;
  if (argc != 3) {
    fputs("usage: json_get FILE PATH\n", stderr);
    return 2;
  }
  json_t *file = json_load_file(argv[1], JSON_ALLOW_NUL, &error), *v = file;
  if (!file) {
    fprintf(stderr, "json_get: %s:%d:%d: %s\n", argv[1], error.line, error.column, error.text);
    return 3;
  }
  for (char *name = strtok(argv[2], "."); name && v; name = strtok(NULL, ".")) {
    v = json_is_array(v) ? json_array_get(v, strtoul(name, NULL, 10)) : json_object_get(v, name);
  }
  if (v) print_value(v);
  else fprintf(stderr, "json_get: %s: no such value\n", argv[1]);
  json_decref(file);
  return v ? 0 : 1;
}
