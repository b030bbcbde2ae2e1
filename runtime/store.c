/* Fit files: safetensors (https://huggingface.co/docs/safetensors, section Format): eight bytes with the header's length N, little-endian;
 * N bytes of JSON, {"__metadata__": {text: text, ...}, "theta.mean": {"dtype": "F64", "shape": [..], "data_offsets": [begin, end]}, ...};
 * then the tensors, little-endian, without holes or overlaps.
 *
 * What stands in them: for every latent and param family NAME the metadata NAME.source (free, shared, function), and
 *   NAME.mean, NAME.log_sd        [elements, uwidth]: Gaussian factors on the unconstrained scale (params: mean only); with source free both
 *                                 may be absent, when the data and the globals restore them; of a discrete variable only the mean, logits
 *                                 of the probabilities of its values from the lower bound up;
 *   NAME.center, NAME.scale       [features], NAME.weights [weights]: an inference function, with NAME.inputs, NAME.flags (lists in JSON),
 *                                 NAME.degree, NAME.hidden, NAME.activation, NAME.skip, NAME.free_scale, NAME.outputs in the metadata;
 * beside them the model's name and the hash of its source, how the fit went, the sizes and the hash of the data, and a checksum (CRC-32 over
 * the metadata with sorted keys and the tensors in order of names, so that it survives a program that writes the header anew).
 *
 * In: a PgmFit or bytes from anywhere. Out: a file that is whole or absent, or a PgmFit that has been checked against the model, never a
 * crash. Reading allocates no more than a small multiple of the file's size. */
#include "fit.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "atomic.h"
#include "encoder.h"
#include "sha256.h"

#define FORMAT     "pgmc fit 1"
#define MAX_HEADER (100ul << 20) /* as the reference implementation of safetensors */

const char *const pgm_method_words[] = {"fvi", "const", "avi", NULL};
const char *const pgm_origin_words[] = {"verdict", "amortize", "--inputs", "--window", "--pin", NULL};
const char *const pgm_activation_words[] = {"tanh", "relu", "leaky_relu", "softplus", NULL};
static const char *const source_words[] = {"free", "shared", "function", NULL};

static int word_index(const char *const *words, const char *word)
{
  for (int i = 0; words[i]; i++) {
    if (strcmp(words[i], word) == 0) return i;
  }
  return -1;
}

/* ---- little-endian doubles, checksum -------------------------------------------------------------------------------------------------- */

static void copy_little_endian(void *to, const void *from, size_t count)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  if (count) memcpy(to, from, count * sizeof(double));
#else
  const uint64_t *source = from;
  uint64_t *target = to;
  for (size_t i = 0; i < count; i++) target[i] = __builtin_bswap64(source[i]);
#endif
}

typedef struct {
  char *name;
  int rank;
  size_t shape[2];
  size_t begin, end;          /* in the data part */
  const double *values;       /* writing */
  const unsigned char *bytes; /* reading */
  bool used;
} Tensor;

typedef struct {
  Tensor *at;
  int n;
} Tensors;

static int compare_names(const void *a, const void *b)
{
  return strcmp((*(const Tensor *const *)a)->name, (*(const Tensor *const *)b)->name);
}

static uLong add_values(uLong crc, const Tensor *t)
{
  enum { CHUNK = 4096 };
  unsigned char buffer[CHUNK * sizeof(double)];
  size_t count = (t->end - t->begin) / sizeof(double);
  for (size_t i = 0; i < count; i += CHUNK) {
    size_t n = count - i < CHUNK ? count - i : CHUNK;
    if (t->bytes)
      memcpy(buffer, t->bytes + i * sizeof(double), n * sizeof(double));
    else
      copy_little_endian(buffer, t->values + i, n);
    crc = crc32(crc, buffer, (uInt)(n * sizeof(double)));
  }
  return crc;
}

/* Eight hexadecimal digits over the metadata (without its own entry) and the tensors; false when memory is out. */
static bool checksum(json_t *metadata, const Tensors *tensors, char digits[9])
{
  json_t *plain = json_copy(metadata);
  const Tensor **order = malloc(sizeof(Tensor *) * (size_t)(tensors->n + 1));
  if (plain) json_object_del(plain, "checksum");
  char *text = plain ? json_dumps(plain, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
  json_decref(plain);
  bool ok = text && order;
  if (ok) {
    uLong crc = crc32(0, (const Bytef *)text, (uInt)strlen(text));
    for (int i = 0; i < tensors->n; i++) order[i] = &tensors->at[i];
    qsort(order, (size_t)tensors->n, sizeof *order, compare_names);
    for (int i = 0; i < tensors->n; i++) {
      char shape[64];
      snprintf(shape, sizeof shape, "%d:%zu,%zu\n", order[i]->rank, order[i]->shape[0], order[i]->shape[1]);
      crc = crc32(crc, (const Bytef *)order[i]->name, (uInt)strlen(order[i]->name));
      crc = crc32(crc, (const Bytef *)shape, (uInt)strlen(shape));
      crc = add_values(crc, order[i]);
    }
    snprintf(digits, 9, "%08lx", crc);
  }
  free(text);
  free(order);
  return ok;
}

/* ---- writing ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  json_t *metadata;
  Tensors tensors;
  size_t size; /* bytes of tensors so far */
  bool failed; /* memory */
} Writer;

static void put_text(Writer *w, const char *key, const char *text)
{
  if (json_object_set_new(w->metadata, key, json_string(text)) != 0) w->failed = true;
}

static void put_format(Writer *w, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void put_format(Writer *w, const char *key, const char *format, ...)
{
  char text[256];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  put_text(w, key, text);
}

static char *join(const char *name, const char *part)
{
  size_t size = strlen(name) + strlen(part) + 2;
  char *key = malloc(size);
  if (key) snprintf(key, size, "%s.%s", name, part);
  return key;
}

static void put_part(Writer *w, const char *name, const char *part, const char *text)
{
  char *key = join(name, part);
  if (key)
    put_text(w, key, text);
  else
    w->failed = true;
  free(key);
}

static void put_part_integer(Writer *w, const char *name, const char *part, long value)
{
  char text[32];
  snprintf(text, sizeof text, "%ld", value);
  put_part(w, name, part, text);
}

static void put_part_list(Writer *w, const char *name, const char *part, int n, char *const *texts)
{
  json_t *list = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(list, json_string(texts[i]));
  char *text = json_dumps(list, JSON_COMPACT);
  if (text && json_array_size(list) == (size_t)n)
    put_part(w, name, part, text);
  else
    w->failed = true;
  free(text);
  json_decref(list);
}

static void put_tensor(Writer *w, const char *name, const char *part, int rank, long rows, long columns, const double *values)
{
  size_t count = (size_t)rows * (size_t)(rank == 2 ? columns : 1);
  Tensor *more = realloc(w->tensors.at, sizeof *more * (size_t)(w->tensors.n + 1));
  char *key = join(name, part);
  if (more) w->tensors.at = more;
  if (!more || !key) {
    free(key);
    w->failed = true;
    return;
  }
  more[w->tensors.n++] = (Tensor){.name = key,
                                  .rank = rank,
                                  .shape = {(size_t)rows, rank == 2 ? (size_t)columns : 1},
                                  .begin = w->size,
                                  .end = w->size + count * sizeof(double),
                                  .values = values};
  w->size += count * sizeof(double);
}

/* An encoder's shape: "slice 3", or "set 2+ 1": per level its columns, '+' where sizes vary. */
enum { ENCODER_TEXT = 8 + 16 * PGM_MAX_INDEX };
static char *encoder_text(const PgmEncoderShape *e, char *text)
{
  int n = snprintf(text, ENCODER_TEXT, "%s", e->slice ? "slice" : "set");
  for (int l = 0; l < e->n_levels; l++) n += snprintf(text + n, ENCODER_TEXT - (size_t)n, " %d%s", e->columns[l], e->varies[l] ? "+" : "");
  return text;
}

static bool encoder_of_text(const char *text, PgmEncoderShape *e)
{
  *e = (PgmEncoderShape){.slice = !strncmp(text, "slice ", 6)};
  if (!e->slice && strncmp(text, "set ", 4) != 0) return false;
  text += e->slice ? 5 : 3;
  while (*text == ' ' && e->n_levels < PGM_MAX_INDEX) {
    char *end;
    const long columns = strtol(text, &end, 10);
    if (end == text || columns < 0 || columns > 1 << 20) return false;
    e->columns[e->n_levels] = (int)columns;
    e->varies[e->n_levels++] = *end == '+';
    text = *end == '+' ? end + 1 : end;
  }
  return !*text && e->n_levels && (!e->slice || e->n_levels == 1);
}

static void put_function(Writer *w, const char *name, const PgmFunction *f)
{
  char hidden[16 * PGM_MAX_LAYERS] = "";
  for (int l = 0, length = 0; l < f->n_hidden; l++) {
    length += snprintf(hidden + length, sizeof hidden - (size_t)length, "%s%d", l ? "," : "", f->hidden[l]);
  }
  put_part_list(w, name, "inputs", f->n_inputs, f->inputs);
  put_part_list(w, name, "flags", f->n_flags, f->flags);
  put_part(w, name, "origin", pgm_origin_words[f->origin]);
  put_part_integer(w, name, "degree", f->degree);
  put_part(w, name, "hidden", hidden);
  put_part(w, name, "activation", pgm_activation_words[f->activation]);
  put_part(w, name, "skip", f->skip ? "affine" : "none");
  char shapes[PGM_MAX_ENCODERS][ENCODER_TEXT], *shape[PGM_MAX_ENCODERS];
  for (int e = 0; e < f->n_encoders; e++) shape[e] = encoder_text(&f->encoders[e], shapes[e]);
  put_part_list(w, name, "encoders", f->n_encoders, shape);
  put_part(w, name, "free_scale", f->free_scale ? "true" : "false");
  put_part_integer(w, name, "outputs", f->n_outputs);
  put_tensor(w, name, "center", 1, f->n_scaled, 1, f->center);
  put_tensor(w, name, "scale", 1, f->n_scaled, 1, f->scale);
  put_tensor(w, name, "weights", 1, f->n_weights, 1, f->weights);
}

static void put_fit(Writer *w, const PgmFit *fit, const PgmModel *model)
{
  put_text(w, "format", FORMAT);
  put_text(w, "model", fit->model ? fit->model : model->name);
  put_text(w, "model_hash", fit->hash ? fit->hash : model->hash);
  put_text(w, "version", fit->version ? fit->version : model->version);
  put_text(w, "method", pgm_method_words[fit->method]);
  put_format(w, "elbo", "%.17g", fit->elbo);
  put_format(w, "elbo_se", "%.17g", fit->elbo_se);
  put_format(w, "elbo_per_observation", "%.17g", fit->elbo_per_observation);
  put_format(w, "gradient_norm", "%.17g", fit->gradient_norm);
  put_format(w, "khat", "%.17g", fit->khat);
  put_format(w, "iterations", "%ld", fit->iterations);
  put_format(w, "variational_parameters", "%ld", fit->variational_parameters);
  put_format(w, "observations", "%ld", fit->observations);
  put_text(w, "converged", fit->converged ? "true" : "false");
  put_text(w, "criterion", fit->criterion);
  put_text(w, "stopped", fit->stopped);
  put_format(w, "seed", "%lu", fit->seed);
  if (fit->data_hash) put_text(w, "data_hash", fit->data_hash);
  if (fit->method_note) put_text(w, "note", fit->method_note);
  for (int i = 0; i < fit->n_sizes; i++) put_part_integer(w, "size", fit->sizes[i].name, fit->sizes[i].value);
  for (int i = 0; i < fit->n_factors; i++) {
    const PgmFactors *p = &fit->factors[i];
    const char *name = model->families[p->family].name;
    put_part(w, name, "source", source_words[p->kind]);
    put_part_integer(w, name, "elements", p->elements);
    put_part_integer(w, name, "uwidth", p->uwidth);
    if (p->mean) put_tensor(w, name, "mean", 2, p->elements, p->uwidth, p->mean);
    if (p->log_sd) put_tensor(w, name, "log_sd", 2, p->elements, p->uwidth, p->log_sd);
    if (p->function) put_function(w, name, p->function);
  }
}

/* The header's text, padded with blanks so that the tensors stand at a multiple of eight bytes; NULL when memory is out. */
static char *header_text(Writer *w)
{
  char digits[9];
  if (w->failed || !checksum(w->metadata, &w->tensors, digits)) return NULL;
  put_text(w, "checksum", digits);
  json_t *header = json_object();
  if (json_object_set(header, "__metadata__", w->metadata) != 0) w->failed = true;
  for (int i = 0; i < w->tensors.n; i++) {
    const Tensor *t = &w->tensors.at[i];
    json_t *shape =
        t->rank == 2 ? json_pack("[I,I]", (json_int_t)t->shape[0], (json_int_t)t->shape[1]) : json_pack("[I]", (json_int_t)t->shape[0]);
    json_t *entry =
        json_pack("{s:s, s:o, s:[I,I]}", "dtype", "F64", "shape", shape, "data_offsets", (json_int_t)t->begin, (json_int_t)t->end);
    if (json_object_set_new(header, t->name, entry) != 0) w->failed = true;
  }
  char *compact = w->failed ? NULL : json_dumps(header, JSON_COMPACT);
  json_decref(header);
  if (!compact) return NULL;
  size_t length = strlen(compact), padded = (length + 7) / 8 * 8;
  char *text = realloc(compact, padded + 1);
  if (!text) {
    free(compact);
    return NULL;
  }
  memset(text + length, ' ', padded - length);
  text[padded] = '\0';
  return text;
}

static void write_bytes(FILE *out, const char *header, const Tensors *tensors)
{
  enum { CHUNK = 4096 };
  double buffer[CHUNK];
  uint64_t length = strlen(header);
  unsigned char prefix[8];
  for (int i = 0; i < 8; i++) prefix[i] = (unsigned char)(length >> (8 * i));
  fwrite(prefix, 1, sizeof prefix, out);
  fwrite(header, 1, length, out);
  for (int i = 0; i < tensors->n; i++) {
    size_t count = (tensors->at[i].end - tensors->at[i].begin) / sizeof(double);
    for (size_t k = 0; k < count; k += CHUNK) {
      size_t n = count - k < CHUNK ? count - k : CHUNK;
      copy_little_endian(buffer, tensors->at[i].values + k, n);
      fwrite(buffer, sizeof(double), n, out);
    }
  }
}

PgmStatus pgm_fit_write(const PgmFit *fit, const PgmModel *model, const char *path, PgmError *error)
{
  Writer w = {.metadata = json_object()};
  PgmAtomicFile file;
  if (w.metadata) put_fit(&w, fit, model);
  char *header = w.metadata ? header_text(&w) : NULL;
  PgmStatus status = header ? pgm_atomic_open(&file, path, error) : pgm_fail(error, PGM_SYSTEM, "%s: out of memory", path);
  if (status == PGM_OK) {
    write_bytes(file.stream, header, &w.tensors);
    status = pgm_atomic_commit(&file, error);
  }
  free(header);
  for (int i = 0; i < w.tensors.n; i++) free(w.tensors.at[i].name);
  free(w.tensors.at);
  json_decref(w.metadata);
  return status;
}

/* ---- reading: the container --------------------------------------------------------------------------------------------------------------- */

typedef struct {
  const char *file;
  json_t *header;
  json_t *metadata; /* within header */
  Tensors tensors;
  PgmError *error;
  const char *here;    /* the version of this program, once the checksum is right: what is not understood then, another version has written */
} Reader;

#define REFUSE(r, ...)  fail_file((r), false, __VA_ARGS__)
#define DAMAGED(r, ...) fail_file((r), true, __VA_ARGS__) /* what a fit of this version cannot have */
static PgmStatus fail_file(const Reader *r, bool damage, const char *format, ...) __attribute__((format(printf, 3, 4)));
static PgmStatus fail_file(const Reader *r, bool damage, const char *format, ...)
{
  char text[800];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (!damage) return pgm_fail(r->error, PGM_BAD_INPUT, "%s: %s", r->file, text);
  if (!r->here) return pgm_fail(r->error, PGM_BAD_INPUT, "%s: damaged: %s", r->file, text);
  const char *version = json_string_value(json_object_get(r->metadata, "version"));
  return pgm_fail(r->error, PGM_BAD_INPUT, "%s: written by another pgmc (version %.20s; this is %s): fit again (%s)", r->file, version ? version : "unknown",
                  r->here, text);
}

/* {"dtype": "F64", "shape": [..], "data_offsets": [begin, end]} -> *t */
static PgmStatus read_tensor_entry(const Reader *r, const char *name, const json_t *entry, size_t size, Tensor *t)
{
  const char *dtype = json_string_value(json_object_get(entry, "dtype"));
  const json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
  if (!dtype || !json_is_array(shape) || !json_is_array(offsets) || json_array_size(offsets) != 2) {
    return DAMAGED(r, "the header's entry for tensor '%.100s' lacks dtype, shape or data_offsets", name);
  }
  if (strcmp(dtype, "F64") != 0) return REFUSE(r, "tensor '%.100s' is of type %.20s, where a fit has F64", name, dtype);
  if (json_array_size(shape) > 2) return DAMAGED(r, "tensor '%.100s' has %zu dimensions", name, json_array_size(shape));
  size_t count = 1;
  t->rank = (int)json_array_size(shape);
  t->shape[0] = t->shape[1] = 1;
  for (int d = 0; d < t->rank; d++) {
    const json_t *extent = json_array_get(shape, (size_t)d);
    if (!json_is_integer(extent) || json_integer_value(extent) < 0) return DAMAGED(r, "the shape of tensor '%.100s'", name);
    t->shape[d] = (size_t)json_integer_value(extent);
    if (__builtin_mul_overflow(count, t->shape[d], &count)) return DAMAGED(r, "the shape of tensor '%.100s' is too large", name);
  }
  const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
  if (!json_is_integer(begin) || !json_is_integer(end) || json_integer_value(begin) < 0 ||
      json_integer_value(end) < json_integer_value(begin)) {
    return DAMAGED(r, "the offsets of tensor '%.100s'", name);
  }
  t->begin = (size_t)json_integer_value(begin);
  t->end = (size_t)json_integer_value(end);
  if (t->end > size) {
    return REFUSE(r, "truncated: tensor '%.100s' ends at byte %zu of the data, of which there are %zu", name, t->end, size);
  }
  size_t bytes;
  if (__builtin_mul_overflow(count, sizeof(double), &bytes) || bytes != t->end - t->begin) {
    return DAMAGED(r, "the shape and the offsets of tensor '%.100s' disagree", name);
  }
  return PGM_OK;
}

static int compare_offsets(const void *a, const void *b)
{
  const Tensor *s = a, *t = b;
  if (s->begin != t->begin) return s->begin < t->begin ? -1 : 1;
  return s->end < t->end ? -1 : s->end > t->end;
}

static PgmStatus read_tensors(Reader *r, const unsigned char *data, size_t size)
{
  const char *name;
  json_t *entry;
  PgmStatus status;
  r->tensors.at = calloc(json_object_size(r->header) + 1, sizeof *r->tensors.at);
  if (!r->tensors.at) return pgm_fail(r->error, PGM_SYSTEM, "%s: out of memory", r->file);
  json_object_foreach(r->header, name, entry)
  {
    if (entry == r->metadata) continue;
    Tensor *t = &r->tensors.at[r->tensors.n];
    if ((status = read_tensor_entry(r, name, entry, size, t)) != PGM_OK) return status;
    t->name = (char *)name;
    t->bytes = data + t->begin;
    r->tensors.n++;
  }
  qsort(r->tensors.at, (size_t)r->tensors.n, sizeof *r->tensors.at, compare_offsets);
  size_t at = 0;
  for (int i = 0; i < r->tensors.n; i++) {
    const Tensor *t = &r->tensors.at[i];
    if (t->begin != at) return DAMAGED(r, "tensor '%.100s' begins at byte %zu of the data, not at %zu", t->name, t->begin, at);
    at = t->end;
  }
  if (at != size) return DAMAGED(r, "%zu bytes follow the last tensor", size - at);
  return PGM_OK;
}

/* The three parts of the file, checked as a container; r->header is to be released whatever comes back. */
static PgmStatus open_container(Reader *r, const unsigned char *bytes, size_t size)
{
  uint64_t length = 0;
  json_error_t problem;
  const char *key;
  json_t *value;
  if (size < 8) return REFUSE(r, "truncated: %zu bytes are no fit", size);
  for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
  if (length > MAX_HEADER) return REFUSE(r, "no fit: it does not begin with the length of a safetensors header");
  if (length > size - 8) return REFUSE(r, "truncated: the header is to have %" PRIu64 " bytes, and %zu are there", length, size - 8);
  r->header = json_loadb((const char *)bytes + 8, length, JSON_REJECT_DUPLICATES, &problem);
  if (!r->header) return REFUSE(r, "no fit, or damaged: its header is no JSON (%.200s)", problem.text);
  r->metadata = json_object_get(r->header, "__metadata__");
  if (!json_is_object(r->metadata)) return REFUSE(r, "a safetensors file without metadata, not a fit");
  json_object_foreach(r->metadata, key, value)
  {
    if (!json_is_string(value)) return DAMAGED(r, "the metadata '%.100s' is no text", key);
  }
  return read_tensors(r, bytes + 8 + length, size - 8 - length);
}

/* ---- reading: metadata and tensors of a fit -------------------------------------------------------------------------------------------------- */

static const char *find_text(const Reader *r, const char *name, const char *part)
{
  char key[512];
  snprintf(key, sizeof key, part ? "%s.%s" : "%s", name, part);
  return json_string_value(json_object_get(r->metadata, key));
}

static PgmStatus get_text(const Reader *r, const char *name, const char *part, const char **text)
{
  *text = find_text(r, name, part);
  return *text ? PGM_OK : DAMAGED(r, "the metadata lack '%s%s%s'", name, part ? "." : "", part ? part : "");
}

static PgmStatus copy_text(const Reader *r, const char *name, char **copy)
{
  const char *text;
  PgmStatus status = get_text(r, name, NULL, &text);
  if (status != PGM_OK) return status;
  *copy = strdup(text);
  return *copy ? PGM_OK : pgm_fail(r->error, PGM_SYSTEM, "%s: out of memory", r->file);
}

static PgmStatus get_number(const Reader *r, const char *name, double *value)
{
  const char *text;
  char *end;
  PgmStatus status = get_text(r, name, NULL, &text);
  if (status != PGM_OK) return status;
  *value = strtod(text, &end);
  return *text && !*end ? PGM_OK : DAMAGED(r, "the metadata '%s' is no number", name);
}

static PgmStatus get_integer(const Reader *r, const char *name, const char *part, long lowest, long highest, long *value)
{
  const char *text;
  char *end;
  PgmStatus status = get_text(r, name, part, &text);
  if (status != PGM_OK) return status;
  errno = 0;
  *value = strtol(text, &end, 10);
  if (*text && !*end && !errno && *value >= lowest && *value <= highest) return PGM_OK;
  return DAMAGED(r, "the metadata '%s%s%s' is '%.40s'", name, part ? "." : "", part ? part : "", text);
}

static PgmStatus get_word(const Reader *r, const char *name, const char *part, const char *const *words, int *index)
{
  const char *text;
  PgmStatus status = get_text(r, name, part, &text);
  if (status != PGM_OK) return status;
  *index = word_index(words, text);
  return *index >= 0 ? PGM_OK : DAMAGED(r, "the metadata '%s%s%s' is '%.40s'", name, part ? "." : "", part ? part : "", text);
}

/* A list of texts in JSON. */
static PgmStatus get_list(const Reader *r, const char *name, const char *part, int *n, char ***texts)
{
  const char *text;
  json_error_t problem;
  PgmStatus status = get_text(r, name, part, &text);
  if (status != PGM_OK) return status;
  json_t *list = json_loads(text, 0, &problem);
  bool good = json_is_array(list);
  size_t count = good ? json_array_size(list) : 0;
  *texts = calloc(count + 1, sizeof **texts);
  for (size_t i = 0; good && *texts && i < count; i++) {
    const char *entry = json_string_value(json_array_get(list, i));
    if (entry && ((*texts)[i] = strdup(entry)))
      *n = (int)i + 1;
    else
      good = false;
  }
  json_decref(list);
  if (!*texts) return pgm_fail(r->error, PGM_SYSTEM, "%s: out of memory", r->file);
  return good ? PGM_OK : DAMAGED(r, "the metadata '%s.%s' is no list of texts", name, part);
}

static Tensor *find_tensor(const Reader *r, const char *name, const char *part)
{
  char key[512];
  snprintf(key, sizeof key, "%s.%s", name, part);
  for (int i = 0; i < r->tensors.n; i++) {
    if (strcmp(r->tensors.at[i].name, key) == 0) return &r->tensors.at[i];
  }
  return NULL;
}

/* A copy of a tensor that must have `count` numbers (rows x columns when rank is 2), all finite. */
static PgmStatus get_tensor(const Reader *r, const char *name, const char *part, int rank, long rows, long columns, double **values)
{
  Tensor *t = find_tensor(r, name, part);
  if (!t) return DAMAGED(r, "it lacks tensor '%s.%s'", name, part);
  if (t->rank != rank || t->shape[0] != (size_t)rows || t->shape[1] != (size_t)columns) {
    return DAMAGED(r, "tensor '%s' is %zu x %zu, where its metadata say %ld x %ld", t->name, t->shape[0], t->shape[1], rows,
                  columns);
  }
  size_t count = (t->end - t->begin) / sizeof(double);
  t->used = true;
  *values = malloc(t->end - t->begin + 1);
  if (!*values) return pgm_fail(r->error, PGM_SYSTEM, "%s: out of memory", r->file);
  copy_little_endian(*values, t->bytes, count);
  for (size_t i = 0; i < count; i++) {
    if (!isfinite((*values)[i])) return DAMAGED(r, "entry %zu of tensor '%s' is not finite", i, t->name);
  }
  return PGM_OK;
}

static PgmStatus get_vector(const Reader *r, const char *name, const char *part, long count, double **values)
{
  return get_tensor(r, name, part, 1, count, 1, values);
}

static PgmStatus read_hidden(const Reader *r, const char *name, PgmFunction *f)
{
  const char *text;
  PgmStatus status = get_text(r, name, "hidden", &text);
  if (status != PGM_OK) return status;
  while (*text && f->n_hidden < PGM_MAX_LAYERS) {
    char *end;
    long width = strtol(text, &end, 10);
    if (end == text || width < 1 || width > 1 << 20 || (*end && *end != ',') || (*end && !end[1])) break;
    f->hidden[f->n_hidden++] = (int)width;
    text = *end ? end + 1 : end;
  }
  return *text ? DAMAGED(r, "the metadata '%s.hidden'", name) : PGM_OK;
}

static PgmStatus read_function(const Reader *r, const char *name, bool table, PgmFactors *p)
{
  static const char *const skips[] = {"none", "affine", NULL}, *const booleans[] = {"false", "true", NULL};
  PgmFunction *f = p->function = calloc(1, sizeof *f);
  if (!f) return pgm_fail(r->error, PGM_SYSTEM, "%s: out of memory", r->file);
  int activation = 0, skip = 0, free_scale = 0, origin = 0;
  long degree = 0;
  PgmStatus status;
  if ((status = get_list(r, name, "inputs", &f->n_inputs, &f->inputs)) != PGM_OK ||
      (status = get_list(r, name, "flags", &f->n_flags, &f->flags)) != PGM_OK ||
      (status = get_integer(r, name, "degree", -1, 64, &degree)) != PGM_OK || (status = read_hidden(r, name, f)) != PGM_OK ||
      (status = get_word(r, name, "activation", pgm_activation_words, &activation)) != PGM_OK ||
      (status = get_word(r, name, "skip", skips, &skip)) != PGM_OK || (status = get_word(r, name, "origin", pgm_origin_words, &origin)) != PGM_OK ||
      (status = get_word(r, name, "free_scale", booleans, &free_scale)) != PGM_OK ||
      (status = get_integer(r, name, "outputs", 1, INT_MAX, &f->n_outputs)) != PGM_OK) {
    return status;
  }
  const Tensor *center = find_tensor(r, name, "center");
  if (!center || center->shape[0] > INT_MAX) return DAMAGED(r, "it lacks tensor '%s.center'", name);
  char **shapes = NULL;
  status = get_list(r, name, "encoders", &f->n_encoders, &shapes);
  bool shaped = f->n_encoders <= PGM_MAX_ENCODERS;
  for (int e = 0; e < f->n_encoders; e++) {
    shaped = shaped && encoder_of_text(shapes[e], &f->encoders[e]);
    free(shapes[e]);
  }
  free(shapes);
  if (status != PGM_OK) {
    f->n_encoders = 0;
    return status;
  }
  if (!shaped) {
    f->n_encoders = 0;
    return DAMAGED(r, "the metadata '%s.encoders'", name);
  }
  f->n_scaled = (int)center->shape[0];
  f->degree = (int)degree;
  f->activation = (PgmActivation)activation;
  f->skip = skip;
  f->origin = (PgmOrigin)origin;
  f->free_scale = free_scale;
  if (f->n_outputs != p->uwidth * (f->free_scale || table ? 1 : 2) || (f->free_scale && table))
    return DAMAGED(r, "the metadata '%s.outputs' and '%s.uwidth' disagree", name, name);
  if (f->n_encoders && f->degree < 0 && !f->n_hidden) return DAMAGED(r, "the metadata '%s.hidden'", name);
  PgmNet net;
  if (pgm_function_net(&net, f, NULL) != PGM_OK) return DAMAGED(r, "the inference function of '%s' is impossibly large", name);
  pgm_net_close(&net);
  if ((status = get_vector(r, name, "center", f->n_scaled, &f->center)) != PGM_OK ||
      (status = get_vector(r, name, "scale", f->n_scaled, &f->scale)) != PGM_OK) {
    return status;
  }
  for (int i = 0; i < f->n_scaled; i++) {
    if (!(f->scale[i] > 0)) return DAMAGED(r, "entry %d of tensor '%s.scale' is not positive", i, name);
  }
  return get_vector(r, name, "weights", f->n_weights, &f->weights);
}

static PgmStatus read_factors(const Reader *r, const PgmModel *model, int family, PgmFactors *p)
{
  const char *name = model->families[family].name;
  bool param = model->families[family].role == PGM_PARAM, table = pgm_is_discrete(&model->families[family]);
  int source = 0;
  PgmStatus status;
  p->family = family;
  if ((status = get_word(r, name, "source", source_words, &source)) != PGM_OK ||
      (status = get_integer(r, name, "elements", 0, LONG_MAX, &p->elements)) != PGM_OK ||
      (status = get_integer(r, name, "uwidth", 0, INT_MAX, &p->uwidth)) != PGM_OK) {
    return status;
  }
  p->kind = (PgmSourceKind)source;
  if (p->kind != PGM_FREE && model->families[family].role != PGM_LOCAL) {
    return DAMAGED(r, "'%s' is no local latent variable, yet its factors are %s", name, source_words[source]);
  }
  if (p->kind == PGM_SHARED && p->elements != 1) return DAMAGED(r, "the metadata '%s.elements'", name);
  if (p->kind == PGM_FUNCTION && (status = read_function(r, name, table, p)) != PGM_OK) return status;
  bool mean = find_tensor(r, name, "mean"), log_sd = find_tensor(r, name, "log_sd");
  bool optional = model->families[family].role == PGM_LOCAL && p->kind != PGM_SHARED;
  if ((mean || !optional) && (status = get_tensor(r, name, "mean", 2, p->elements, p->uwidth, &p->mean)) != PGM_OK) return status;
  if (param || table) return log_sd ? DAMAGED(r, "tensor '%s.log_sd' of a %s", name, param ? "param" : "discrete variable") : PGM_OK;
  if (mean != log_sd && p->kind == PGM_FREE) return DAMAGED(r, "of '%s.mean' and '%s.log_sd' it has only one", name, name);
  return log_sd || !optional ? get_tensor(r, name, "log_sd", 2, p->elements, p->uwidth, &p->log_sd) : PGM_OK;
}

static PgmStatus read_sizes(const Reader *r, PgmFit *fit)
{
  const char *key;
  json_t *value;
  fit->sizes = calloc(json_object_size(r->metadata), sizeof *fit->sizes);
  if (!fit->sizes) return pgm_fail(r->error, PGM_SYSTEM, "%s: out of memory", r->file);
  json_object_foreach(r->metadata, key, value)
  {
    if (strncmp(key, "size.", 5) != 0) continue;
    PgmFitSize *size = &fit->sizes[fit->n_sizes];
    PgmStatus status = get_integer(r, key, NULL, LONG_MIN, LONG_MAX, &size->value);
    if (status != PGM_OK) return status;
    if (!(size->name = strdup(key + 5))) return pgm_fail(r->error, PGM_SYSTEM, "%s: out of memory", r->file);
    fit->n_sizes++;
  }
  return PGM_OK;
}

/* Is this a fit, of this model, and unaltered? */
static PgmStatus check_identity(Reader *r, const PgmModel *model)
{
  const char *format = find_text(r, "format", NULL), *name, *hash, *sum;
  char digits[9];
  PgmStatus status;
  if (!format || strncmp(format, "pgmc fit ", 9) != 0) return REFUSE(r, "a safetensors file, but not a fit");
  if (strcmp(format, FORMAT) != 0) return REFUSE(r, "written by another pgmc, as '%.40s', where this one reads '%s': fit again", format, FORMAT);
  if ((status = get_text(r, "model", NULL, &name)) != PGM_OK || (status = get_text(r, "model_hash", NULL, &hash)) != PGM_OK ||
      (status = get_text(r, "checksum", NULL, &sum)) != PGM_OK) {
    return status;
  }
  if (strcmp(name, model->name) != 0) return REFUSE(r, "a fit of the model '%.100s', not of '%s'", name, model->name);
  if (strcmp(hash, model->hash) != 0) {
    return REFUSE(r, "a fit of another version of the model '%s' (source %.12s..., here %.12s...): fit again", name, hash, model->hash);
  }
  if (!checksum(r->metadata, &r->tensors, digits)) return pgm_fail(r->error, PGM_SYSTEM, "%s: out of memory", r->file);
  if (strcmp(sum, digits) != 0) return REFUSE(r, "damaged or altered: its checksum is %s, where %.8s was written", digits, sum);
  r->here = model->version;
  return PGM_OK;
}

/* Strings of the metadata that a fit may lack. */
static PgmStatus copy_optional(const Reader *r, const char *name, char **copy)
{
  const char *text = find_text(r, name, NULL);
  if (!text || (*copy = strdup(text))) return PGM_OK;
  return pgm_fail(r->error, PGM_SYSTEM, "%s: out of memory", r->file);
}

static PgmStatus read_seed(const Reader *r, unsigned long *seed)
{
  const char *text;
  char *end;
  PgmStatus status = get_text(r, "seed", NULL, &text);
  if (status != PGM_OK) return status;
  errno = 0;
  *seed = strtoul(text, &end, 10);
  return *text && !*end && !errno ? PGM_OK : DAMAGED(r, "the metadata 'seed'");
}

/* How the fit went. */
static PgmStatus read_course(const Reader *r, PgmFit *fit)
{
  static const char *const booleans[] = {"false", "true", NULL};
  const char *criterion, *stopped;
  int method = 0, converged = 0;
  PgmStatus status;
  if ((status = get_word(r, "method", NULL, pgm_method_words, &method)) != PGM_OK ||
      (status = get_number(r, "elbo", &fit->elbo)) != PGM_OK || (status = get_number(r, "elbo_se", &fit->elbo_se)) != PGM_OK ||
      (status = get_number(r, "elbo_per_observation", &fit->elbo_per_observation)) != PGM_OK ||
      (status = get_number(r, "gradient_norm", &fit->gradient_norm)) != PGM_OK || (status = get_number(r, "khat", &fit->khat)) != PGM_OK ||
      (status = get_integer(r, "iterations", NULL, 0, LONG_MAX, &fit->iterations)) != PGM_OK ||
      (status = get_integer(r, "variational_parameters", NULL, 0, LONG_MAX, &fit->variational_parameters)) != PGM_OK ||
      (status = get_integer(r, "observations", NULL, 0, LONG_MAX, &fit->observations)) != PGM_OK ||
      (status = get_word(r, "converged", NULL, booleans, &converged)) != PGM_OK ||
      (status = get_text(r, "criterion", NULL, &criterion)) != PGM_OK || (status = get_text(r, "stopped", NULL, &stopped)) != PGM_OK) {
    return status;
  }
  fit->method = (PgmMethodName)method;
  fit->converged = converged;
  fit->seconds = NAN; /* not kept, nor are threads: the same seed gives the same file */
  snprintf(fit->criterion, sizeof fit->criterion, "%s", criterion);
  snprintf(fit->stopped, sizeof fit->stopped, "%s", stopped);
  return read_seed(r, &fit->seed);
}

static PgmStatus read_all_factors(const Reader *r, const PgmModel *model, PgmFit *fit)
{
  PgmStatus status;
  fit->factors = calloc((size_t)model->n_families + 1, sizeof *fit->factors);
  if (!fit->factors) return pgm_fail(r->error, PGM_SYSTEM, "%s: out of memory", r->file);
  for (int f = 0; f < model->n_families; f++) {
    if (!pgm_is_latent(&model->families[f])) continue;
    if ((status = read_factors(r, model, f, &fit->factors[fit->n_factors++])) != PGM_OK) return status;
  }
  for (int i = 0; i < r->tensors.n; i++) {
    if (!r->tensors.at[i].used) return DAMAGED(r, "tensor '%.100s' belongs to no variable of the model", r->tensors.at[i].name);
  }
  return PGM_OK;
}

static PgmStatus read_fit(Reader *r, const PgmModel *model, PgmFit *fit)
{
  PgmStatus status = check_identity(r, model);
  if (status == PGM_OK) status = copy_text(r, "model", &fit->model);
  if (status == PGM_OK) status = copy_text(r, "model_hash", &fit->hash);
  if (status == PGM_OK) status = copy_text(r, "version", &fit->version);
  if (status == PGM_OK) status = copy_optional(r, "data_hash", &fit->data_hash);
  if (status == PGM_OK) status = copy_optional(r, "note", &fit->method_note);
  if (status == PGM_OK) status = read_course(r, fit);
  if (status == PGM_OK) status = read_sizes(r, fit);
  return status == PGM_OK ? read_all_factors(r, model, fit) : status;
}

PgmStatus pgm_fit_from_memory(PgmFit **out, const PgmModel *model, const void *bytes, size_t size, const char *name, PgmError *error)
{
  Reader r = {.file = name, .error = error};
  PgmFit *fit = calloc(1, sizeof *fit);
  *out = NULL;
  if (!fit) return pgm_fail(error, PGM_SYSTEM, "%s: out of memory", name);
  PgmStatus status = open_container(&r, bytes, size);
  if (status == PGM_OK) status = read_fit(&r, model, fit);
  free(r.tensors.at);
  json_decref(r.header);
  if (status == PGM_OK)
    *out = fit;
  else
    pgm_fit_free(fit);
  return status;
}

PgmStatus pgm_fit_read(PgmFit **out, const PgmModel *model, const char *path, PgmError *error)
{
  unsigned char *bytes = NULL;
  size_t size = 0, capacity = 0;
  int number = 0;
  struct stat status;
  *out = NULL;
  FILE *in = fopen(path, "rb");
  if (!in) return pgm_fail(error, PGM_SYSTEM, "%s: %s", path, strerror(errno));
  if (fstat(fileno(in), &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) capacity = (size_t)status.st_size + 1;
  for (;;) {
    if (size == capacity || !bytes) { /* more than announced: a pipe, or a file that grows */
      capacity = size < capacity ? capacity : size ? 2 * size : 65536;
      unsigned char *more = realloc(bytes, capacity);
      if (!more) {
        number = ENOMEM;
        break;
      }
      bytes = more;
    }
    size_t got = fread(bytes + size, 1, capacity - size, in);
    size += got;
    if (!got) {
      if (ferror(in)) number = errno ? errno : EIO;
      break;
    }
  }
  fclose(in);
  PgmStatus result =
      number ? pgm_fail(error, PGM_SYSTEM, "%s: %s", path, strerror(number)) : pgm_fit_from_memory(out, model, bytes, size, path, error);
  free(bytes);
  return result;
}

/* ---- which data a fit belongs to ----------------------------------------------------------------------------------------------------------------- */

/* A digest of numbers at the speed of memory, in place of a cryptographic one, which takes longer than the fit of a large model: it is to tell other data by
 * mistake, not by malice. Word i goes to lane i mod LANES, h = (h ^ word) * odd, h ^= h >> 32: a bijection of h for every word and of the word for every h,
 * so that one changed number always changes its lane (the mixing step of MurmurHash and its relatives). */
enum { LANES = 32 };
typedef struct {
  uint64_t lane[LANES];
} Digest;

static inline uint64_t mix(uint64_t h, uint64_t word)
{
  h = (h ^ word) * 0x9e3779b97f4a7c15u;
  return h ^ h >> 32;
}

/* The bits of a number; all NaN are one. */
static inline uint64_t word_of(double v)
{
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  return v == v ? bits : 0x7ff8000000000000u;
}

static void digest_doubles(Digest *d, const double *v, size_t n)
{
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
#pragma omp simd
    for (int k = 0; k < LANES; k++) d->lane[k] = mix(d->lane[k], word_of(v[i + (size_t)k]));
  for (int k = 0; i < n; i++, k++) d->lane[k] = mix(d->lane[k], word_of(v[i]));
}

static void digest_integers(Digest *d, const int *v, size_t n)
{
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
#pragma omp simd
    for (int k = 0; k < LANES; k++) d->lane[k] = mix(d->lane[k], (uint64_t)(int64_t)v[i + (size_t)k]);
  for (int k = 0; i < n; i++, k++) d->lane[k] = mix(d->lane[k], (uint64_t)(int64_t)v[i]);
}

void pgm_data_hash(const PgmSession *s, char hex[65])
{
  PgmSha256 h;
  pgm_sha256_start(&h);
  for (int f = 0; f < s->model->n_families; f++) {
    const PgmFamily *family = &s->model->families[f];
    const PgmLayout *l = &s->layout[f];
    if (family->role != PGM_INPUT && family->role != PGM_OBSERVED) continue;
    const size_t count = (size_t)(l->elements * l->width);
    Digest digest;
    for (int k = 0; k < LANES; k++) digest.lane[k] = mix(0, (uint64_t)k + 1);
    if (l->idata) digest_integers(&digest, l->idata, count);
    if (l->data) digest_doubles(&digest, l->data, count);
    pgm_sha256_add(&h, family->name, strlen(family->name) + 1);
    pgm_sha256_add(&h, l->lo, sizeof l->lo[0] * (size_t)family->n_index);
    pgm_sha256_add(&h, l->hi, sizeof l->hi[0] * (size_t)family->n_index);
    pgm_sha256_add(&h, l->dim, sizeof l->dim);
    if (l->idata || l->data) pgm_sha256_add(&h, digest.lane, sizeof digest.lane);
  }
  pgm_sha256_finish(&h, hex);
}

PgmStatus pgm_fit_bind(PgmFit *fit, const PgmSession *s, PgmError *error)
{
  char hex[65];
  pgm_data_hash(s, hex);
  free(fit->data_hash);
  for (int i = 0; i < fit->n_sizes; i++) free(fit->sizes[i].name);
  free(fit->sizes);
  fit->n_sizes = 0;
  fit->data_hash = strdup(hex);
  fit->sizes = calloc((size_t)s->model->n_families + 1, sizeof *fit->sizes);
  bool ok = fit->data_hash && fit->sizes;
  for (int f = 0; ok && f < s->model->n_families; f++) {
    const PgmFamily *family = &s->model->families[f];
    if (!family->is_size || !family->integer || family->n_index || family->rank) continue;
    PgmFitSize *size = &fit->sizes[fit->n_sizes];
    ok = (size->name = strdup(family->name)) != NULL;
    if (!ok) break;
    size->value = *(const long *)((const char *)s->env + family->place);
    fit->n_sizes++;
  }
  return ok ? PGM_OK : pgm_fail(error, PGM_SYSTEM, "out of memory");
}
