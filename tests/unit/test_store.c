/* Fit files: what is written is read back; everything else is refused with a message and never crashes. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>
#include <cmocka.h>

#include "fit.h"
#include "encoder.h"
#include "sha256.h"
#include "fixture_linear.h"

static char directory[64], path[128];

static int make_directory(void **state)
{
  (void)state;
  strcpy(directory, "/tmp/pgm_store_XXXXXX");
  if (!mkdtemp(directory)) return -1;
  snprintf(path, sizeof path, "%s/linear.fit", directory);
  return 0;
}

static int files_in_directory(void)
{
  int n = 0;
  DIR *d = opendir(directory);
  for (const struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

static int remove_directory(void **state)
{
  (void)state;
  unlink(path);
  return rmdir(directory);
}

/* A fit by A-VI (a network of 3 and 2 units with a skip connection) or F-VI of the linear model, with recognisable numbers. */
static PgmFit *make_fit(bool amortised, long elements)
{
  PgmFit *fit = calloc(1, sizeof *fit);
  fit->model = strdup("linear");
  fit->hash = strdup(linear_model.hash);
  fit->version = strdup("0.1 \"quoted\"");
  fit->method = amortised ? PGM_AVI : PGM_FVI;
  fit->factors = calloc(2, sizeof *fit->factors);
  fit->n_factors = 2;
  fit->factors[0] =
      (PgmFactors){.family = LINEAR_THETA, .kind = PGM_FREE, .elements = 1, .uwidth = 1, .mean = calloc(1, 8), .log_sd = calloc(1, 8)};
  fit->factors[0].mean[0] = 1.0 / 3;
  fit->factors[0].log_sd[0] = -12.345678901234567;
  PgmFactors *z = &fit->factors[1];
  *z = (PgmFactors){.family = LINEAR_Z, .elements = elements, .uwidth = 1};
  if (amortised) {
    PgmNet net;
    PgmFunction *f = z->function = calloc(1, sizeof *f);
    z->kind = PGM_FUNCTION;
    *f = (PgmFunction){.n_inputs = 1,
                       .n_scaled = 2 + 3 + 2 + 4, /* entry and flag; a set's two levels; a slice */
                       .n_encoders = 2,
                       .encoders = {{false, 2, {2, 1}, {true, false}}, {true, 1, {3}, {false}}},
                       .n_flags = 1,
                       .degree = -1,
                       .n_hidden = 2,
                       .hidden = {3, 2},
                       .activation = PGM_SOFTPLUS,
                       .skip = true,
                       .free_scale = true,
                       .n_outputs = 1};
    f->inputs = calloc(1, sizeof *f->inputs);
    f->inputs[0] = strdup("x[n]");
    f->flags = calloc(1, sizeof *f->flags);
    f->flags[0] = strdup("x[n] present");
    f->center = calloc((size_t)f->n_scaled, 8);
    f->scale = calloc((size_t)f->n_scaled, 8);
    for (int c = 0; c < f->n_scaled; c++) f->scale[c] = 1 + c;
    f->center[0] = -0.1, f->scale[0] = 3, f->scale[1] = 1e-300;
    assert_int_equal(pgm_function_net(&net, f, NULL), PGM_OK);
    assert_int_equal(f->n_features, 2 + (2 * 3 + 1) + (2 * 2 + 3));
    assert_true(f->n_weights > net.n_weights + 1);
    pgm_net_close(&net);
    f->weights = calloc((size_t)f->n_weights, 8);
    for (long i = 0; i < f->n_weights; i++) f->weights[i] = (double)i / 7;
  } else {
    z->kind = PGM_FREE;
    z->mean = calloc((size_t)elements + 1, 8);
    z->log_sd = calloc((size_t)elements + 1, 8);
    for (long i = 0; i < elements; i++) z->mean[i] = (double)i + 0.1, z->log_sd[i] = -(double)i / 9;
  }
  fit->elbo = -12345.678901234567;
  fit->elbo_se = 0;
  fit->khat = NAN;
  fit->gradient_norm = 3e-7;
  fit->iterations = 42;
  fit->observations = elements;
  fit->converged = true;
  strcpy(fit->criterion, "gradient norm 3e-7 < 1e-6");
  strcpy(fit->stopped, "converged");
  fit->seed = 18446744073709551615ul;
  fit->threads = 2;
  fit->data_hash = strdup("abc");
  fit->n_sizes = 1;
  fit->sizes = calloc(1, sizeof *fit->sizes);
  fit->sizes[0] = (PgmFitSize){strdup("N"), elements};
  return fit;
}

static void assert_same_numbers(const double *a, const double *b, long n)
{
  assert_true(!a == !b);
  if (a) assert_memory_equal(a, b, (size_t)n * sizeof *a);
}

static void assert_same_fit(const PgmFit *a, const PgmFit *b)
{
  assert_string_equal(a->model, b->model);
  assert_string_equal(a->hash, b->hash);
  assert_string_equal(a->version, b->version);
  assert_string_equal(a->criterion, b->criterion);
  assert_string_equal(a->stopped, b->stopped);
  assert_string_equal(a->data_hash, b->data_hash);
  assert_int_equal(a->method, b->method);
  assert_int_equal(a->iterations, b->iterations);
  assert_int_equal(a->converged, b->converged);
  assert_true(a->seed == b->seed && a->observations == b->observations);
  assert_true(a->elbo == b->elbo && a->elbo_se == b->elbo_se && a->gradient_norm == b->gradient_norm);
  assert_true(isnan(b->khat));
  assert_int_equal(a->n_sizes, b->n_sizes);
  assert_string_equal(a->sizes[0].name, b->sizes[0].name);
  assert_int_equal(a->sizes[0].value, b->sizes[0].value);
  assert_int_equal(a->n_factors, b->n_factors);
  for (int i = 0; i < a->n_factors; i++) {
    const PgmFactors *p = &a->factors[i], *q = &b->factors[i];
    assert_true(p->family == q->family && p->kind == q->kind && p->elements == q->elements && p->uwidth == q->uwidth);
    assert_same_numbers(p->mean, q->mean, p->elements * p->uwidth);
    assert_same_numbers(p->log_sd, q->log_sd, p->elements * p->uwidth);
    assert_true(!p->function == !q->function);
    if (!p->function) continue;
    const PgmFunction *f = p->function, *g = q->function;
    assert_true(f->n_inputs == g->n_inputs && f->n_flags == g->n_flags && f->n_features == g->n_features && f->degree == g->degree);
    assert_true(f->n_hidden == g->n_hidden && f->activation == g->activation && f->skip == g->skip && f->free_scale == g->free_scale);
    assert_true(f->n_outputs == g->n_outputs && f->n_weights == g->n_weights);
    assert_memory_equal(f->hidden, g->hidden, sizeof f->hidden);
    for (int k = 0; k < f->n_inputs; k++) assert_string_equal(f->inputs[k], g->inputs[k]);
    for (int k = 0; k < f->n_flags; k++) assert_string_equal(f->flags[k], g->flags[k]);
    assert_true(f->n_scaled == g->n_scaled && f->n_encoders == g->n_encoders);
    for (int e = 0; e < f->n_encoders; e++)
      assert_memory_equal(&f->encoders[e], &g->encoders[e], sizeof f->encoders[e]);
    assert_same_numbers(f->center, g->center, f->n_scaled);
    assert_same_numbers(f->scale, g->scale, f->n_scaled);
    assert_same_numbers(f->weights, g->weights, f->n_weights);
  }
}

static unsigned char *read_bytes(size_t *size)
{
  struct stat status;
  FILE *in = fopen(path, "rb");
  assert_non_null(in);
  fstat(fileno(in), &status);
  *size = (size_t)status.st_size;
  unsigned char *bytes = malloc(*size + 1);
  assert_int_equal(fread(bytes, 1, *size, in), *size);
  fclose(in);
  return bytes;
}

static void write_fit(const PgmFit *fit)
{
  PgmError error = {0};
  if (pgm_fit_write(fit, &linear_model, path, &error) != PGM_OK) fail_msg("%s", error.text);
}

static void test_round_trip(void **state)
{
  (void)state;
  for (int amortised = 0; amortised < 2; amortised++) {
    for (long elements = 0; elements < 20000; elements = elements * 10 + 1) {
      PgmError error = {0};
      PgmFit *fit = make_fit(amortised, elements), *back = NULL;
      write_fit(fit);
      assert_int_equal(files_in_directory(), 1);
      if (pgm_fit_read(&back, &linear_model, path, &error) != PGM_OK) fail_msg("%s", error.text);
      assert_same_fit(fit, back);
      pgm_fit_free(fit);
      pgm_fit_free(back);
    }
  }
}

/* The container is safetensors as others read it: aligned header, offsets without holes, dtype F64. */
static void test_layout(void **state)
{
  (void)state;
  PgmFit *fit = make_fit(false, 3);
  size_t size;
  write_fit(fit);
  unsigned char *bytes = read_bytes(&size);
  uint64_t length;
  memcpy(&length, bytes, 8);
  assert_int_equal(length % 8, 0);
  assert_int_equal(size - 8 - length, 8 * (1 + 1 + 3 + 3));
  assert_int_equal(bytes[8], '{');
  const char *entry = "\"theta.mean\":{\"dtype\":\"F64\",\"shape\":[1,1],\"data_offsets\":[0,8]}";
  assert_non_null(memmem(bytes, size, entry, strlen(entry)));
  assert_memory_equal(bytes + 8 + length, &fit->factors[0].mean[0], 8);
  free(bytes);
  pgm_fit_free(fit);
}

/* A fit without its local factors (the data restore them) is a fit. */
static void test_locals_left_out(void **state)
{
  (void)state;
  PgmFit *fit = make_fit(false, 5), *back;
  free(fit->factors[1].mean);
  free(fit->factors[1].log_sd);
  fit->factors[1].mean = fit->factors[1].log_sd = NULL;
  write_fit(fit);
  assert_int_equal(pgm_fit_read(&back, &linear_model, path, NULL), PGM_OK);
  assert_same_fit(fit, back);
  pgm_fit_free(fit);
  pgm_fit_free(back);
}

static void expect_refusal(const PgmModel *model, const void *bytes, size_t size, const char *part)
{
  PgmFit *fit;
  PgmError error = {0};
  assert_int_equal(pgm_fit_from_memory(&fit, model, bytes, size, "a.fit", &error), PGM_BAD_INPUT);
  assert_null(fit);
  assert_memory_equal(error.text, "a.fit: ", 7);
  if (!strstr(error.text, part)) fail_msg("'%s' lacks '%s'", error.text, part);
}

static void test_refusals(void **state)
{
  (void)state;
  PgmFit *fit = make_fit(true, 5);
  PgmModel other = linear_model;
  size_t size;
  write_fit(fit);
  pgm_fit_free(fit);
  unsigned char *bytes = read_bytes(&size);
  other.name = "saw";
  expect_refusal(&other, bytes, size, "a fit of the model 'linear', not of 'saw'");
  other = linear_model;
  other.hash = "1000000000000000000000000000000000000000000000000000000000000001";
  expect_refusal(&other, bytes, size, "another version");
  expect_refusal(&linear_model, bytes, 0, "truncated");
  expect_refusal(&linear_model, bytes, 7, "truncated");
  expect_refusal(&linear_model, bytes, 100, "truncated");
  expect_refusal(&linear_model, bytes, size - 1, "truncated");
  expect_refusal(&linear_model, "{\"theta\": 3, \"x\": [1, 2, 3]}", 28, "no fit");
  bytes[size - 1] ^= 1; /* a tensor */
  expect_refusal(&linear_model, bytes, size, "checksum");
  bytes[size - 1] ^= 1;
  unsigned char *digit = memmem(bytes, size, "\"iterations\":\"42\"", 17);
  assert_non_null(digit);
  digit[14] = '9'; /* the metadata */
  expect_refusal(&linear_model, bytes, size, "checksum");
  digit[14] = '4';
  unsigned char *longer = calloc(1, size + 8);
  memcpy(longer, bytes, size);
  expect_refusal(&linear_model, longer, size + 8, "8 bytes follow the last tensor");
  free(longer);
  free(bytes);
}

static void test_missing_file(void **state)
{
  (void)state;
  PgmFit *fit;
  PgmError error = {0};
  assert_int_equal(pgm_fit_read(&fit, &linear_model, "/nowhere/a.fit", &error), PGM_SYSTEM);
  assert_string_equal(error.text, "/nowhere/a.fit: No such file or directory");
  assert_int_equal(pgm_fit_read(&fit, &linear_model, directory, &error), PGM_SYSTEM);
  fit = make_fit(true, 1);
  assert_int_equal(pgm_fit_write(fit, &linear_model, "/nowhere/a.fit", &error), PGM_SYSTEM);
  assert_int_equal(pgm_fit_write(fit, &linear_model, directory, &error), PGM_SYSTEM);
  assert_int_equal(pgm_fit_write(fit, &linear_model, "/dev/full", &error), PGM_SYSTEM);
  assert_string_equal(error.text, "/dev/full: No space left on device");
  assert_int_equal(pgm_fit_write(fit, &linear_model, "/dev/null", &error), PGM_OK);
  pgm_fit_free(fit);
}

/* A header written by hand around the fit's tensors: with the checksum's verdict out of the way (it is wrong in all of them), the message
 * must come from the structure, which is checked first. */
static void expect_header_refusal(const char *header, size_t data_bytes, const char *part)
{
  size_t length = strlen(header), size = 8 + length + data_bytes;
  unsigned char *bytes = calloc(1, size);
  for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
  memcpy(bytes + 8, header, length);
  expect_refusal(&linear_model, bytes, size, part);
  free(bytes);
}

static void test_doctored_headers(void **state)
{
  (void)state;
  expect_header_refusal("[]", 0, "without metadata");
  expect_header_refusal("{}", 0, "without metadata");
  expect_header_refusal("{\"__metadata__\":{\"a\":1}}", 0, "is no text");
  expect_header_refusal("{\"__metadata__\":{}}", 0, "not a fit");
  expect_header_refusal("{\"__metadata__\":{\"format\":\"pt\"}}", 0, "not a fit");
  expect_header_refusal("{\"__metadata__\":{\"format\":\"pgmc fit 99\"}}", 0, "written by another pgmc, as 'pgmc fit 99'");
  expect_header_refusal("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "no JSON");
  expect_header_refusal("{\"__metadata__\":{},\"t\":3}", 0, "lacks dtype");
  expect_header_refusal("{\"__metadata__\":{},\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "of type F32");
  expect_header_refusal("{\"__metadata__\":{},\"t\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 7, "truncated");
  expect_header_refusal("{\"__metadata__\":{},\"t\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "disagree");
  expect_header_refusal("{\"__metadata__\":{},\"t\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,0]}}", 8, "offsets");
  expect_header_refusal("{\"__metadata__\":{},\"t\":{\"dtype\":\"F64\",\"shape\":[-1],\"data_offsets\":[0,8]}}", 8, "shape");
  expect_header_refusal("{\"__metadata__\":{},\"t\":{\"dtype\":\"F64\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]}}", 8,
                        "too large");
  expect_header_refusal("{\"__metadata__\":{},\"t\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0,
                        "disagree");
  expect_header_refusal("{\"__metadata__\":{},\"t\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]}}", 16, "begins at byte");
  expect_header_refusal("{\"__metadata__\":{},\"t\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]},"
                        "\"s\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}",
                        8, "begins at byte");
  expect_header_refusal("{\"__metadata__\":{}", 0, "no JSON");
}

/* Random damage: reading ends with a status, and what it accepts is what was written. */
static void test_mutations(void **state)
{
  (void)state;
  uint64_t random = 88172645463325252u;
  PgmFit *fit = make_fit(true, 4);
  size_t size;
  write_fit(fit);
  unsigned char *bytes = read_bytes(&size), *copy = malloc(2 * size);
  int accepted = 0;
  for (int round = 0; round < 20000; round++) {
    size_t n = size;
    memcpy(copy, bytes, size);
    for (int change = 0; change <= round % 4; change++) {
      random ^= random << 13, random ^= random >> 7, random ^= random << 17;
      size_t at = random % n;
      unsigned char byte = (unsigned char)(random >> 32);
      switch ((random >> 40) % 5) {
      case 0:
        copy[at] = byte;
        break;
      case 1:
        copy[at] ^= (unsigned char)(1 << byte % 8);
        break;
      case 2:
        memmove(copy + at, copy + at + 1, n - at - 1);
        n -= n > 1;
        break;
      case 3:
        if (n < 2 * size - 1) memmove(copy + at + 1, copy + at, n - at), copy[at] = byte, n++;
        break;
      default:
        copy[at] = (unsigned char)"0123456789[]{},:\"-"[byte % 18];
        break;
      }
    }
    PgmFit *back;
    PgmError error = {0};
    PgmStatus status = pgm_fit_from_memory(&back, &linear_model, copy, n, "a.fit", &error);
    assert_true(status == PGM_OK || status == PGM_BAD_INPUT);
    if (status == PGM_OK)
      assert_same_fit(fit, back), accepted++;
    else
      assert_true(strlen(error.text) > 7);
    pgm_fit_free(back);
  }
  assert_true(accepted < 2000); /* a mutation may change nothing, or white space */
  free(bytes);
  free(copy);
  pgm_fit_free(fit);
}

/* The same with the checksum set right afterwards, so that everything behind it is reached: whatever comes back, nothing crashes. */
static void test_mutations_behind_checksum(void **state)
{
  (void)state;
  uint64_t random = 2463534242u;
  PgmFit *fit = make_fit(true, 4);
  size_t size;
  write_fit(fit);
  unsigned char *bytes = read_bytes(&size), *copy = malloc(size);
  for (int round = 0; round < 5000; round++) {
    memcpy(copy, bytes, size);
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    size_t at = 8 + random % (size - 8);
    copy[at] = (unsigned char)"0123456789[],-"[(random >> 40) % 14];
    for (int attempt = 0; attempt < 2; attempt++) {
      PgmFit *back;
      PgmError error = {0};
      PgmStatus status = pgm_fit_from_memory(&back, &linear_model, copy, size, "a.fit", &error);
      const char *sum = strstr(error.text, "checksum is ");
      pgm_fit_free(back);
      unsigned char *place = memmem(copy, size, "\"checksum\":\"", 12);
      if (status == PGM_OK || !sum || !place) break;
      memcpy(place + 12, sum + 12, 8);
    }
  }
  free(bytes);
  free(copy);
  pgm_fit_free(fit);
}

/* A fit whose checksum is right, and that lacks what this version writes: of another version, not damaged. */
static void test_other_version(void **state)
{
  (void)state;
  PgmFit *fit = make_fit(true, 4), *back;
  PgmError error = {0};
  size_t size;
  write_fit(fit);
  unsigned char *bytes = read_bytes(&size), *key = memmem(bytes, size, ".encoders\"", 10), *place = memmem(bytes, size, "\"checksum\":\"", 12);
  assert_non_null(key);
  assert_non_null(place);
  key[8] = 'X';
  assert_int_equal(pgm_fit_from_memory(&back, &linear_model, bytes, size, "a.fit", &error), PGM_BAD_INPUT);
  const char *sum = strstr(error.text, "damaged or altered: its checksum is ");
  assert_non_null(sum);
  memcpy(place + 12, sum + 36, 8);
  expect_refusal(&linear_model, bytes, size, "a.fit: written by another pgmc (version ");
  expect_refusal(&linear_model, bytes, size, "): fit again (the metadata lack 'z.encoders')");
  free(bytes);
  pgm_fit_free(fit);
}

/* Killed while it writes: the old file or the new one, whole. */
static void test_kill(void **state)
{
  (void)state;
  PgmFit *small = make_fit(false, 10), *large = make_fit(false, 300000), *back;
  write_fit(small);
  for (int round = 0; round < 20; round++) {
    pid_t child = fork();
    if (child == 0) {
      for (;;) pgm_fit_write(round % 2 ? small : large, &linear_model, path, NULL);
    }
    usleep((useconds_t)(500 + 1700 * round));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    PgmError error = {0};
    if (pgm_fit_read(&back, &linear_model, path, &error) != PGM_OK) fail_msg("%s", error.text);
    assert_same_fit(back->factors[1].elements == 10 ? small : large, back);
    pgm_fit_free(back);
  }
  DIR *d = opendir(directory); /* temporary files of the killed */
  for (const struct dirent *e; (e = readdir(d));) {
    char name[512];
    snprintf(name, sizeof name, "%s/%s", directory, e->d_name);
    if (strstr(e->d_name, ".tmp")) unlink(name);
  }
  closedir(d);
  pgm_fit_free(small);
  pgm_fit_free(large);
}

/* A symbolic link stays one, and the file keeps its permissions. */
static void test_link_and_mode(void **state)
{
  (void)state;
  PgmFit *fit = make_fit(true, 1);
  char link_path[160];
  struct stat status;
  write_fit(fit);
  chmod(path, 0600);
  snprintf(link_path, sizeof link_path, "%s/link.fit", directory);
  assert_int_equal(symlink(path, link_path), 0);
  assert_int_equal(pgm_fit_write(fit, &linear_model, link_path, NULL), PGM_OK);
  assert_int_equal(lstat(link_path, &status), 0);
  assert_true(S_ISLNK(status.st_mode));
  assert_int_equal(stat(path, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0600);
  unlink(link_path);
  pgm_fit_free(fit);
}

/* FIPS 180-4 examples, and a length at every offset of a block. */
static void test_sha256(void **state)
{
  (void)state;
  char hex[65], pieces[65];
  PgmSha256 h;
  pgm_sha256_start(&h);
  pgm_sha256_add(&h, "abc", 3);
  pgm_sha256_finish(&h, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  pgm_sha256_start(&h);
  pgm_sha256_finish(&h, hex);
  assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  char text[200];
  memset(text, 'a', sizeof text);
  for (size_t n = 0; n < sizeof text; n++) {
    pgm_sha256_start(&h);
    pgm_sha256_add(&h, text, n);
    pgm_sha256_finish(&h, hex);
    pgm_sha256_start(&h);
    for (size_t i = 0; i < n; i++) pgm_sha256_add(&h, text, 1);
    pgm_sha256_finish(&h, pieces);
    assert_string_equal(hex, pieces);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_round_trip, make_directory, remove_directory),
      cmocka_unit_test_setup_teardown(test_layout, make_directory, remove_directory),
      cmocka_unit_test_setup_teardown(test_locals_left_out, make_directory, remove_directory),
      cmocka_unit_test_setup_teardown(test_refusals, make_directory, remove_directory),
      cmocka_unit_test_setup_teardown(test_missing_file, make_directory, remove_directory),
      cmocka_unit_test(test_doctored_headers),
      cmocka_unit_test_setup_teardown(test_mutations, make_directory, remove_directory),
      cmocka_unit_test_setup_teardown(test_mutations_behind_checksum, make_directory, remove_directory),
      cmocka_unit_test_setup_teardown(test_other_version, make_directory, remove_directory),
      cmocka_unit_test_setup_teardown(test_kill, make_directory, remove_directory),
      cmocka_unit_test_setup_teardown(test_link_and_mode, make_directory, remove_directory),
      cmocka_unit_test(test_sha256),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
