/* test_data.c - the data reader: what it accepts, and where it says that something is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

#include "data.h"

static char directory[] = "/tmp/pgm_test_data_XXXXXX";

static int make_directory(void **state)
{
  (void)state;
  return !mkdtemp(directory) || chdir(directory);
}

static int remove_directory(void **state)
{
  (void)state;
  char command[100];
  snprintf(command, sizeof command, "rm -rf %s", directory);
  return chdir("/") || system(command);
}

static void write_bytes(const char *path, const void *bytes, size_t n)
{
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, n, f), n);
  fclose(f);
}

static void write_text(const char *path, const char *text)
{
  write_bytes(path, text, strlen(text));
}

static PgmData *read_text(const char *path, const char *text)
{
  PgmData *d = pgm_data_new();
  PgmError error = {0};
  write_text(path, text);
  if (pgm_data_read(d, path, &error)) fail_msg("%s", error.text);
  return d;
}

static void assert_array(const PgmData *d, const char *name, int rank, const long *dim, const double *value)
{
  const PgmArray *a = pgm_data_find(d, name);
  long n = 1;
  if (!a) fail_msg("no array %s", name);
  if (a->fault) fail_msg("%s", a->fault);
  assert_int_equal(a->rank, rank);
  for (int k = 0; k < rank; k++) {
    assert_int_equal(a->dim[k], dim[k]);
    n *= dim[k];
  }
  for (long i = 0; i < n; i++)
    if (!(a->value[i] == value[i] || (isnan(a->value[i]) && isnan(value[i]))))
      fail_msg("%s: entry %ld is %g, not %g", name, i, a->value[i], value[i]);
}
#define DIMS(...)                                                                                                                          \
  (const long[])                                                                                                                           \
  {                                                                                                                                        \
    __VA_ARGS__                                                                                                                            \
  }
#define VALUES(...)                                                                                                                        \
  (const double[])                                                                                                                         \
  {                                                                                                                                        \
    __VA_ARGS__                                                                                                                            \
  }

/* The status and the text that reading must end with. */
static void assert_error(const char *path, const char *text, PgmStatus status, const char *message)
{
  PgmData *d = pgm_data_new();
  PgmError error = {0};
  write_text(path, text);
  const PgmStatus got = pgm_data_read(d, path, &error);
  if (got != status || strcmp(error.text, message)) fail_msg("status %d, '%s'; expected %d, '%s'", got, error.text, status, message);
  pgm_data_free(d);
}

static void assert_fault(const char *path, const char *text, const char *name, const char *message)
{
  PgmData *d = read_text(path, text);
  const PgmArray *a = pgm_data_find(d, name);
  assert_non_null(a);
  if (!a->fault || strcmp(a->fault, message)) fail_msg("'%s'; expected '%s'", a->fault ? a->fault : "no fault", message);
  assert_null(a->value);
  pgm_data_free(d);
}

/* ---- JSON ---------------------------------------------------------------------------------------------------------------------------- */

static void test_json(void **state)
{
  (void)state;
  PgmData *d =
      read_text("a.json", "{\n \"N\": 3,\n \"x\": [1, 2.5, -3e2],\n \"m\": [[1,2,3],[4,5,6]],\n\"e\": [],\n\"e2\": [[],[]], \"x[0]\": 7,"
                          " \"s\": [NaN, Infinity, -Infinity, \"NaN\", \"+inf\", \"-inf\", \"Infinity\", \"-Infinity\", null, NaN]}");
  assert_array(d, "N", 0, NULL, VALUES(3));
  assert_array(d, "x", 1, DIMS(3), VALUES(1, 2.5, -300));
  assert_array(d, "m", 2, DIMS(2, 3), VALUES(1, 2, 3, 4, 5, 6));
  assert_array(d, "e", 1, DIMS(0), NULL);
  assert_array(d, "e2", 2, DIMS(2, 0), NULL);
  assert_array(d, "x[0]", 0, NULL, VALUES(7));
  assert_array(d, "s", 1, DIMS(10), VALUES(NAN, INFINITY, -INFINITY, NAN, INFINITY, -INFINITY, INFINITY, -INFINITY, NAN, NAN));
  assert_true(pgm_data_find(d, "N")->integer);
  assert_true(pgm_data_find(d, "m")->integer);
  assert_false(pgm_data_find(d, "x")->integer);
  assert_false(pgm_data_find(d, "s")->integer);
  assert_int_equal(pgm_data_find(d, "x")->line, 3);
  assert_int_equal(pgm_data_find(d, "e2")->line, 6);
  assert_null(pgm_data_find(d, "y"));
  char place[100];
  assert_string_equal(pgm_data_place(pgm_data_find(d, "m"), 4, place, sizeof place), "a.json: m[2,2]");
  assert_string_equal(pgm_data_place(pgm_data_find(d, "N"), 0, place, sizeof place), "a.json: N");
  assert_string_equal(pgm_data_place(pgm_data_find(d, "x"), -1, place, sizeof place), "a.json: x");
  pgm_data_free(d);
}

static void test_json_errors(void **state)
{
  (void)state;
  assert_error("a.json", "", PGM_BAD_INPUT, "a.json: the file is empty");
  assert_error("a.json", "[1, 2]", PGM_BAD_INPUT, "a.json: an array, not an object of names; --data NAME=a.json gives it a name");
  assert_error("a.json", "{\n  \"x\": [1,\n  2", PGM_BAD_INPUT, "a.json:3:3: ']' expected near end of file");
  assert_error("a.json", "{\"x\": 1, \"x\": 2}", PGM_BAD_INPUT, "a.json:1:12: duplicate object key near '\"x\"'");
  assert_error("a.json", "{\"x\": [NaN, NaN, oops]}", PGM_BAD_INPUT, "a.json:1:21: invalid token near 'oops'");
  assert_error("a.json", "{\"x\": [Infinity\n, 1e999]}", PGM_BAD_INPUT, "a.json:2:7: the number is too large for a double");
  assert_error("a.json", "x", PGM_BAD_INPUT, "a.json:1:1: no JSON object starts here");
  assert_error("a.txt", "{}", PGM_BAD_USAGE,
               "a.txt: data files are called .json or .csv; --data NAME=a.txt reads a single array (.npy, IDX)");
}

/* Regular arrays are read without jansson, which sees the rest: places must stay those of the file, and grammar that of JSON. */
static void test_json_places(void **state)
{
  (void)state;
  assert_error("a.json", "{\"x\": [1,\n 2, 3],\n \"y\": [[1, 2],\n[3, 4]], \"z\": oops}", PGM_BAD_INPUT,
               "a.json:4:18: invalid token near 'oops'");
  assert_error("a.json", "{\"x\": [1, 2], \"y\": [1, 2,]}", PGM_BAD_INPUT, "a.json:1:26: unexpected token near ']'");
  assert_error("a.json", "{\"x\": [1, 2], \"x\": [1]}", PGM_BAD_INPUT, "a.json:1:17: duplicate object key near '\"x\"'");
  assert_error("a.json", "{\"w\": [1, 2], \"x\": [01]}", PGM_BAD_INPUT, "a.json:1:21: invalid token near '0'");
  assert_error("a.json", "{\"w\": [1, 2], \"x\": [+1]}", PGM_BAD_INPUT, "a.json:1:21: invalid token near '+'");
  assert_error("a.json", "{\"w\": [1, 2], \"x\": [1.]}", PGM_BAD_INPUT, "a.json:1:22: invalid token near '1.'");
  assert_error("a.json", "{\"w\": [1, 2], \"x\": [.5]}", PGM_BAD_INPUT, "a.json:1:21: invalid token near '.'");
  assert_error("a.json", "{\"w\": [1, 2], \"x\": [1, 1e999]}", PGM_BAD_INPUT, "a.json:1:28: the number is too large for a double");
  assert_error("a.json", "{\"w\": [1, 2], \"x\": [1, 2}", PGM_BAD_INPUT, "a.json:1:25: ']' expected near '}'");
  PgmData *d = read_text("a.json", "\xef\xbb\xbf{\"q\": {\"x\": [1, 2]}, \"a]\": [ [\n[-0.5e-3 , 0]\t,[1,2E+2]] ],\n\"b\": [\"x\", [1]], "
                                   "\"c\": [10000000000000000000000]}");
  assert_non_null(pgm_data_find(d, "q")->fault);
  assert_array(d, "a]", 3, DIMS(1, 2, 2), VALUES(-0.5e-3, 0, 1, 200));
  assert_int_equal(pgm_data_find(d, "b")->line, 3);
  assert_array(d, "c", 1, DIMS(1), VALUES(1e22));
  pgm_data_free(d);
}

/* Only a model that uses the name minds these. */
static void test_json_faults(void **state)
{
  (void)state;
  assert_fault("a.json", "{\"x\": [1, 2, \"abc\"]}", "x", "a.json: x[3]: text (\"abc\"), not a number");
  assert_fault("a.json", "{\"x\": [1, true]}", "x", "a.json: x[2]: true, not a number");
  assert_fault("a.json", "{\"x\": {\"a\": 1}}", "x", "a.json: x: an object, not a number");
  assert_fault("a.json", "{\"x\": [[1, 2], [3]]}", "x",
               "a.json: x[2]: a row of 1 where the first has 2 (rows must have equal length; pad them with null)");
  assert_fault("a.json", "{\"x\": [1, [2]]}", "x", "a.json: x[2]: an array where a number is expected (rows are unequally nested)");
  assert_fault("a.json", "{\"x\": [[1], 2]}", "x", "a.json: x[2]: a number where an array is expected (rows are unequally nested)");
  assert_fault("a.json", "{\"x\": [[[[[[[[[1]]]]]]]]]}", "x", "a.json: x: nested deeper than 8 arrays");
  PgmData *d = read_text("a.json", "{\"note\": \"NaN is not a name\", \"x\": 2}");
  assert_array(d, "x", 0, NULL, VALUES(2));
  assert_non_null(pgm_data_find(d, "note")->fault);
  pgm_data_free(d);
}

/* ---- CSV ----------------------------------------------------------------------------------------------------------------------------- */

static void test_csv(void **state)
{
  char place[100];
  (void)state;
  PgmData *d = read_text("b.csv", "# a comment\n\"\",x,\"name\",y.2,y.1,z.1.1,z.2.1,z.1.2,z.2.2\r\n"
                                  "1, 1.5 ,\"a, \"\"b\"\"\",12,11,1,3,2,4\r\n"
                                  "2,NA,\"c\",22,\"21\",5,7,6,8\r\n"
                                  "3,,d,,1e-3,-0.5,+.5,5.,0x\r\n\r\n");
  assert_array(d, "x", 1, DIMS(3), VALUES(1.5, NAN, NAN));
  assert_array(d, "y", 2, DIMS(3, 2), VALUES(11, 12, 21, 22, 1e-3, NAN));
  assert_string_equal(pgm_data_find(d, "z")->fault, "b.csv:5: z.2.2: '0x' is not a number");
  assert_string_equal(pgm_data_find(d, "name")->fault, "b.csv:3: name: 'a, \"\"b\"\"' is not a number");
  assert_string_equal(pgm_data_place(pgm_data_find(d, "x"), 1, place, sizeof place), "b.csv:4: x");
  assert_string_equal(pgm_data_place(pgm_data_find(d, "y"), 5, place, sizeof place), "b.csv:5: y.2");
  assert_null(pgm_data_find(d, ""));
  pgm_data_free(d);

  d = read_text("b.csv", "z.1.1,z.2.1,z.1.2,z.2.2\n1,3,2,4\n5,7,6,8");
  assert_array(d, "z", 3, DIMS(2, 2, 2), VALUES(1, 2, 3, 4, 5, 6, 7, 8));
  assert_true(pgm_data_find(d, "z")->integer);
  pgm_data_free(d);

  d = read_text("b.csv", "x\n1\n\nInf\n-inf\nnan\n"); /* one column: an empty line is a missing value */
  assert_array(d, "x", 1, DIMS(5), VALUES(1, NAN, INFINITY, -INFINITY, NAN));
  pgm_data_free(d);

  d = read_text("b.csv", "x,y\r1,2\r3,4\r");
  assert_array(d, "y", 1, DIMS(2), VALUES(2, 4));
  pgm_data_free(d);

  d = read_text("b.csv", "x,y\n");
  assert_array(d, "y", 1, DIMS(0), NULL);
  pgm_data_free(d);

  d = read_text("b.csv", "x,t\n1,\"two\nlines\"\n2,5\" pipe\n3,\"open\n4,4"); /* a quote left open takes the rest */
  assert_array(d, "x", 1, DIMS(3), VALUES(1, 2, 3));
  pgm_data_free(d);
}

static void test_csv_errors(void **state)
{
  (void)state;
  assert_error("b.csv", "x,y\n1,2\n3\n", PGM_BAD_INPUT, "b.csv:3: 1 cell, but the header has 2");
  assert_error("b.csv", "x,y\n1,2\n3,4,5\n", PGM_BAD_INPUT, "b.csv:3: 3 cells, but the header has 2");
  assert_error("b.csv", "x,y,x\n", PGM_BAD_INPUT, "b.csv:1: two columns are named 'x'");
  assert_error("b.csv", "x.1,x.3\n", PGM_BAD_INPUT, "b.csv:1: the columns of 'x' reach up to index 3, but there are 2 of them");
  assert_error("b.csv", "x.1,x.1\n", PGM_BAD_INPUT, "b.csv:1: the columns of 'x' reach up to index 1, but there are 2 of them");
  assert_error("b.csv", "x.1,x.2,x.2,x.4\n", PGM_BAD_INPUT, "b.csv:1: two columns are named 'x.2'");
  assert_error("b.csv", "x,x.1\n", PGM_BAD_INPUT, "b.csv:1: column 'x.1' does not go with the other columns of 'x'");
  assert_error("b.csv", "x;y\n1;2\n", PGM_BAD_INPUT, "b.csv:1: cells must be separated by commas; the header is 'x;y'");
  assert_error("b.csv", "1,2\n", PGM_BAD_INPUT, "b.csv:1: the first line must hold names; its cell 1 is '1'");
  assert_error("b.csv", "\n\n", PGM_BAD_INPUT, "b.csv: no header of names");
  assert_fault("b.csv", "x,y\n1,2\n1,1e999\n", "y", "b.csv:3: y: 1e999 is too large for a double");
}

/* Every way of writing a number must round as strtod does. */
static void test_numbers(void **state)
{
  enum { N = 20000 };
  static double expected[4 * N];
  (void)state;
  FILE *f = fopen("n.csv", "w");
  assert_non_null(f);
  fputs("x\n", f);
  srand(1);
  for (int i = 0; i < N; i++) {
    uint64_t bits = (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();
    char text[4][64];
    double v;
    bits &= ~(0x7ffull << 52);
    bits |= (uint64_t)(1023 - 60 + rand() % 120) << 52;
    memcpy(&v, &bits, sizeof v);
    snprintf(text[0], sizeof text[0], "%.17g", v);
    snprintf(text[1], sizeof text[1], "%.*f", rand() % 22, v);
    snprintf(text[2], sizeof text[2], "%.*e", rand() % 25, v * pow(10, rand() % 600 - 300));
    snprintf(text[3], sizeof text[3], "%d.%d", rand() % 1000, rand());
    for (int k = 0; k < 4; k++) {
      expected[4 * i + k] = strtod(text[k], NULL);
      fprintf(f, "%s\n", text[k]);
    }
  }
  fclose(f);
  PgmData *d = pgm_data_new();
  PgmError error = {0};
  if (pgm_data_read(d, "n.csv", &error)) fail_msg("%s", error.text);
  assert_array(d, "x", 1, DIMS(4 * N), expected);
  pgm_data_free(d);
}

/* Large enough to be read in pieces; the first wrong line is reported, not that of the first thread. */
static void test_csv_in_pieces(void **state)
{
  enum { N = 400000 };
  (void)state;
  for (int wrong = 0; wrong < 2; wrong++) {
    FILE *f = fopen("big.csv", "w");
    assert_non_null(f);
    fputs("i,v.1,v.2\n", f);
    for (int i = 0; i < N; i++) fprintf(f, wrong && i >= 200000 && i % 70000 == 0 ? "%d,%d\n" : "%d,%d.5,%d\n", i, i % 1000, -i);
    fclose(f);
    PgmData *d = pgm_data_new();
    PgmError error = {0};
    const PgmStatus status = pgm_data_read(d, "big.csv", &error);
    if (wrong) {
      assert_int_equal(status, PGM_BAD_INPUT);
      assert_string_equal(error.text, "big.csv:210002: 2 cells, but the header has 3");
    } else {
      const PgmArray *v = pgm_data_find(d, "v");
      assert_int_equal(status, PGM_OK);
      assert_int_equal(v->dim[0], N);
      for (int i = 0; i < N; i++) {
        assert_true(v->value[2 * i] == i % 1000 + 0.5);
        assert_true(v->value[2 * i + 1] == -i);
      }
    }
    pgm_data_free(d);
  }
}

/* ---- single arrays ------------------------------------------------------------------------------------------------------------------- */

static size_t npy(char *out, const char *descr, const char *order, const char *shape, const void *bytes, size_t n)
{
  char header[200];
  const int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr, order, shape);
  memcpy(out, "\x93NUMPY\1\0", 8);
  out[8] = (char)(length + 1);
  out[9] = 0;
  memcpy(out + 10, header, (size_t)length);
  out[10 + length] = '\n';
  memcpy(out + 11 + length, bytes, n);
  return 11 + (size_t)length + n;
}

static PgmStatus named(PgmData *d, const char *name, const char *path, const void *bytes, size_t n, PgmError *error)
{
  write_bytes(path, bytes, n);
  return pgm_data_read_named(d, name, path, error);
}

static void test_npy(void **state)
{
  char file[1000];
  PgmData *d = pgm_data_new();
  PgmError error = {0};
  const double f8[] = {1, 2, 3, 4, 5, 6};
  const float f4[] = {0.5f, -2};
  const int16_t i2[] = {-3, 300};
  const uint8_t u1[] = {0, 255};
  const int64_t i8[] = {-5};
  const uint16_t f2[] = {0x3c00, 0xc000, 0x7c00, 0x0001};
  (void)state;
  assert_int_equal(named(d, "a", "a.npy", file, npy(file, "<f8", "False", "(2, 3)", f8, sizeof f8), &error), PGM_OK);
  assert_int_equal(named(d, "b", "b.npy", file, npy(file, "<f8", "True", "(2, 3)", f8, sizeof f8), &error), PGM_OK);
  assert_int_equal(named(d, "c", "c.npy", file, npy(file, "<f4", "False", "(2,)", f4, sizeof f4), &error), PGM_OK);
  assert_int_equal(named(d, "d", "d.npy", file, npy(file, "<i2", "False", "(2,)", i2, sizeof i2), &error), PGM_OK);
  assert_int_equal(named(d, "e", "e.npy", file, npy(file, "|u1", "False", "(1, 2)", u1, sizeof u1), &error), PGM_OK);
  assert_int_equal(named(d, "f", "f.npy", file, npy(file, "<i8", "False", "()", i8, sizeof i8), &error), PGM_OK);
  assert_int_equal(named(d, "g", "g.npy", file, npy(file, "<f2", "False", "(4,)", f2, sizeof f2), &error), PGM_OK);
  assert_int_equal(named(d, "h", "h.npy", file, npy(file, "|b1", "False", "(0, 7)", u1, 0), &error), PGM_OK);
  assert_array(d, "a", 2, DIMS(2, 3), f8);
  assert_array(d, "b", 2, DIMS(2, 3), VALUES(1, 3, 5, 2, 4, 6));
  assert_array(d, "c", 1, DIMS(2), VALUES(0.5, -2));
  assert_array(d, "d", 1, DIMS(2), VALUES(-3, 300));
  assert_array(d, "e", 2, DIMS(1, 2), VALUES(0, 255));
  assert_array(d, "f", 0, NULL, VALUES(-5));
  assert_array(d, "g", 1, DIMS(4), VALUES(1, -2, INFINITY, 0x1p-24));
  assert_array(d, "h", 2, DIMS(0, 7), NULL);
  assert_false(pgm_data_find(d, "c")->integer);
  assert_true(pgm_data_find(d, "d")->integer);

  assert_int_equal(named(d, "x", "x.npy", file, npy(file, ">f8", "False", "(2, 3)", f8, sizeof f8), &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "x.npy: numbers of type '>f8' cannot be read; save real or integer numbers, little-endian");
  assert_int_equal(named(d, "x", "x.npy", file, npy(file, "<f8", "False", "(2, 3)", f8, 40), &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "x.npy: truncated: the header announces 48 bytes of numbers, the file has 40");
  assert_int_equal(named(d, "x", "x.npy", file, npy(file, "<f8", "False", "(99999999999, 99999999999)", f8, 40), &error), PGM_BAD_INPUT);
  assert_int_equal(named(d, "x", "x.npy", file, 20, &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "x.npy: truncated");
  pgm_data_free(d);
}

/* Every type of number, in rows and in columns; large enough for several blocks of either. */
static void test_npy_types(void **state)
{
  enum { A = 300, B = 3, C = 2, N = A * B * C };
  static const char *const types[] = {"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "=i4", "=f8"};
  static char file[200 + 8 * N], bytes[8 * N];
  static double rows[N];
  (void)state;
  for (size_t t = 0; t < sizeof types / sizeof *types; t++)
    for (int columns = 0; columns < 2; columns++) {
      const char kind = types[t][1];
      const int size = types[t][2] - '0';
      for (int i = 0; i < A; i++)
        for (int j = 0; j < B; j++)
          for (int k = 0; k < C; k++) {
            const int at = columns ? i + A * (j + B * k) : (i * B + j) * C + k;
            const int v = kind == 'b' ? (i + j + k) % 2
                          : size == 1 ? (i + 7 * j + 11 * k) % 128 - (kind == 'i') * 20
                                      : (i + 3 * j) * (k ? 1 : 2) - (kind == 'u' ? 0 : 50);
            rows[(i * B + j) * C + k] = v;
            const uint64_t whole = (uint64_t)(int64_t)v; /* little-endian: its first bytes are the shorter number */
            const float f4 = (float)v;
            const double f8 = v;
            uint16_t f2 = 0;
            if (kind == 'f' && size == 2 && v) {
              int e;
              const double m = frexp(abs(v), &e); /* m * 2^e with 0.5 <= m < 1 */
              f2 = (uint16_t)((v < 0 ? 0x8000 : 0) | (e + 14) << 10 | ((int)(m * 2048) & 1023));
            }
            const void *const number = kind != 'f' ? (const void *)&whole
                                       : size == 2 ? (const void *)&f2
                                       : size == 4 ? (const void *)&f4
                                                   : &f8;
            memcpy(bytes + at * size, number, (size_t)size);
          }
      PgmData *d = pgm_data_new();
      PgmError error = {0};
      if (named(d, "x", "x.npy", file, npy(file, types[t], columns ? "True" : "False", "(300, 3, 2)", bytes, (size_t)(N * size)), &error))
        fail_msg("%s: %s", types[t], error.text);
      assert_array(d, "x", 3, DIMS(A, B, C), rows);
      pgm_data_free(d);
    }
}

/* Whole numbers that a double cannot hold are not rounded in silence. */
static void test_npy_exact(void **state)
{
  char file[300];
  const int64_t large[] = {1, 9007199254740992, -9007199254740993};
  const uint64_t unsigned_large[] = {18446744073709551615ull};
  PgmData *d = pgm_data_new();
  PgmError error = {0};
  (void)state;
  assert_int_equal(named(d, "a", "a.npy", file, npy(file, "<i8", "False", "(2,)", large, 16), &error), PGM_OK);
  assert_array(d, "a", 1, DIMS(2), VALUES(1, 9007199254740992));
  assert_int_equal(named(d, "b", "b.npy", file, npy(file, "<i8", "False", "(3,)", large, sizeof large), &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "b.npy: the whole number -9007199254740993 has more digits than a double");
  assert_int_equal(named(d, "c", "c.npy", file, npy(file, "<u8", "False", "()", unsigned_large, 8), &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "c.npy: the whole number 18446744073709551615 has more digits than a double");
  pgm_data_free(d);
}

static void test_idx(void **state)
{
  const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 255};
  const unsigned char words[] = {0, 0, 0x0b, 1, 0, 0, 0, 2, 1, 0, 0xff, 0xfe};
  PgmData *d = pgm_data_new();
  PgmError error = {0};
  (void)state;
  assert_int_equal(named(d, "x", "images-idx3-ubyte", images, sizeof images, &error), PGM_OK);
  assert_array(d, "x", 2, DIMS(2, 4), VALUES(1, 2, 3, 4, 5, 6, 7, 255));
  assert_int_equal(named(d, "y", "labels", words, sizeof words, &error), PGM_OK);
  assert_array(d, "y", 1, DIMS(2), VALUES(256, -2));

  gzFile z = gzopen("images.gz", "wb");
  assert_int_equal(gzwrite(z, images, sizeof images), sizeof images);
  gzclose(z);
  if (pgm_data_read_named(d, "z", "images.gz", &error)) fail_msg("%s", error.text);
  assert_array(d, "z", 2, DIMS(2, 4), VALUES(1, 2, 3, 4, 5, 6, 7, 255));

  assert_int_equal(truncate("images.gz", 20), 0);
  assert_int_equal(pgm_data_read_named(d, "t", "images.gz", &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "images.gz: the gzip data end early");
  assert_int_equal(named(d, "t", "short", images, sizeof images - 1, &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "short: truncated: the header announces 8 bytes of numbers, the file has 7");
  assert_int_equal(named(d, "t", "text", "hello world", 11, &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "text: neither .npy, IDX, .json nor .csv");
  pgm_data_free(d);
}

static void test_named_text(void **state)
{
  PgmData *d = pgm_data_new();
  PgmError error = {0};
  (void)state;
  write_text("one.json", "[[1, 2], [3, 4]]");
  write_text("obj.json", "{\"whatever\": [5]}");
  write_text("one.csv", "v.1,v.2\n1,2\n");
  write_text("two.csv", "a,b\n1,2\n");
  assert_int_equal(pgm_data_read_named(d, "x", "one.json", &error), PGM_OK);
  assert_int_equal(pgm_data_read_named(d, "y", "obj.json", &error), PGM_OK);
  assert_int_equal(pgm_data_read_named(d, "z", "one.csv", &error), PGM_OK);
  assert_array(d, "x", 2, DIMS(2, 2), VALUES(1, 2, 3, 4));
  assert_array(d, "y", 1, DIMS(1), VALUES(5));
  assert_array(d, "z", 2, DIMS(1, 2), VALUES(1, 2));
  assert_int_equal(pgm_data_read_named(d, "w", "two.csv", &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "two.csv: holds 2 names; --data w=two.csv needs a file of one array");
  pgm_data_free(d);
}

/* ---- files and tables ---------------------------------------------------------------------------------------------------------------- */

static void test_several_files(void **state)
{
  PgmData *d = read_text("a.json", "{\"N\": 2,\n\"x\": [1, 2]}");
  PgmError error = {0};
  (void)state;
  write_text("b.csv", "y\n1\n");
  write_text("c.csv", "z,x\n1,2\n");
  assert_int_equal(pgm_data_read(d, "b.csv", &error), PGM_OK);
  assert_int_equal(d->n_files, 2);
  assert_int_equal(pgm_data_read(d, "c.csv", &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "c.csv:1: 'x' is given a second time; it is in a.json:2 already");
  assert_int_equal(pgm_data_set(d, "tau=1.5", &error), PGM_OK);
  assert_array(d, "tau", 0, NULL, VALUES(1.5));
  assert_int_equal(pgm_data_set(d, "tau=2", &error), PGM_BAD_INPUT);
  assert_string_equal(error.text, "--set: 'tau' is given a second time; it is in --set already");
  assert_int_equal(pgm_data_set(d, "M=abc", &error), PGM_BAD_USAGE);
  assert_string_equal(error.text, "--set M=abc: 'abc' is not a number");
  assert_int_equal(pgm_data_set(d, "M", &error), PGM_BAD_USAGE);
  assert_string_equal(error.text, "--set M: NAME=VALUE is expected");
  assert_int_equal(pgm_data_set(d, "M=1e400", &error), PGM_BAD_USAGE);
  char place[100];
  assert_string_equal(pgm_data_place(pgm_data_find(d, "tau"), 0, place, sizeof place), "--set tau");
  assert_int_equal(pgm_data_add(d, "w", 1, DIMS(2), VALUES(3, 4), "memory", &error), PGM_OK);
  assert_array(d, "w", 1, DIMS(2), VALUES(3, 4));
  pgm_data_free(d);
}

static void test_system_errors(void **state)
{
  PgmData *d = pgm_data_new();
  PgmError error = {0};
  (void)state;
  assert_int_equal(pgm_data_read(d, "absent.json", &error), PGM_SYSTEM);
  assert_string_equal(error.text, "absent.json: No such file or directory");
  assert_int_equal(mkdir("dir.json", 0700), 0);
  assert_int_equal(pgm_data_read(d, "dir.json", &error), PGM_SYSTEM);
  assert_string_equal(error.text, "dir.json: is a directory");
  write_text("secret.json", "{}");
  assert_int_equal(chmod("secret.json", 0), 0);
  if (geteuid()) { /* nothing is secret from root */
    assert_int_equal(pgm_data_read(d, "secret.json", &error), PGM_SYSTEM);
    assert_string_equal(error.text, "secret.json: Permission denied");
  }
  pgm_data_free(d);
}

/* Damaged files: any status will do, but no crash (the sanitizers watch) and no array without values or fault. */
static void test_damaged_files(void **state)
{
  static const char json[] =
      "{\"N\": 3, \"x\": [1.5, -2e3, NaN, null], \"m\": [[1, 2], [3, 4]], \"s\": \"t\\\"\\u00e9\", \"o\": {\"a\": [1]}}";
  static const char csv[] = "x,y.1,y.2,\"n\"\n1,2,3,\"a,b\"\r\n4.5,NA,-1e-3,\"\"\"q\"\n";
  static const char bytes[] = "[]{}\",:.-+eE0123456789NIan\\\n\r\t \0\377";
  const unsigned char idx[] = {0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6};
  const double values[] = {1, 2, 3, 4};
  char array[300];
  const size_t array_size = npy(array, "<f8", "False", "(2, 2)", values, sizeof values);
  const struct {
    const char *path;
    const void *text;
    size_t n;
  } files[] = {{"f.json", json, sizeof json - 1}, {"f.csv", csv, sizeof csv - 1}, {"f.idx", idx, sizeof idx}, {"f.npy", array, array_size}};
  (void)state;
  srand(3);
  for (int round = 0; round < 6000; round++) {
    const int k = round % 4;
    char text[400];
    size_t n = files[k].n;
    memcpy(text, files[k].text, n);
    for (int change = rand() % 4; change >= 0; change--) text[(size_t)rand() % n] = bytes[(size_t)rand() % sizeof bytes];
    if (rand() % 3 == 0) n = 1 + (size_t)rand() % n;
    write_bytes(files[k].path, text, n);
    PgmData *d = pgm_data_new();
    PgmError error = {0};
    for (int named = k > 1; named < 2; named++) {
      const PgmStatus status = named ? pgm_data_read_named(d, "one", files[k].path, &error) : pgm_data_read(d, files[k].path, &error);
      if (status && !error.text[0]) fail_msg("status %d without a text", status);
    }
    for (int i = 0; i < d->n; i++) assert_true(!d->array[i].value != !d->array[i].fault);
    pgm_data_free(d);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_json),         cmocka_unit_test(test_json_errors),   cmocka_unit_test(test_json_places),
      cmocka_unit_test(test_json_faults),  cmocka_unit_test(test_damaged_files), cmocka_unit_test(test_csv),
      cmocka_unit_test(test_csv_errors),   cmocka_unit_test(test_numbers),       cmocka_unit_test(test_csv_in_pieces),
      cmocka_unit_test(test_npy),          cmocka_unit_test(test_npy_types),     cmocka_unit_test(test_npy_exact),
      cmocka_unit_test(test_idx),          cmocka_unit_test(test_named_text),    cmocka_unit_test(test_several_files),
      cmocka_unit_test(test_system_errors)};
  return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
