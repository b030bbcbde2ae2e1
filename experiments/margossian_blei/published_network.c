/* The optimiser of Margossian & Blei (2024) on their neural network: Adam 1e-3, one draw, batches of a tenth of the images in their order, the published
 * starting points. Model, gradient and networks are the runtime's; this file is the loop around them.
 *
 *   published_network const|fvi|WIDTH TRAIN.npy STATE --seed S --passes P --fit FILE [--curve FILE] [--entropy] [--threads T]
 *
 * In: images (idx2npy); STATE: where an earlier call stopped, if there was one. Goes on from there to P passes over the images, writes STATE anew, now and
 * then on the way too, and the factors as a fit. Out: on standard output the iterations and processor seconds of all calls and the ELBO as JSON, as `fit
 * --json` names them; --curve: the mean squared error of the training images' reconstructions from the factors' means, every SPACING passes (CSV).
 *
 * Published settings (github.com/charlesm93/AVI-when-and-why, notebook vae): means of weights at 0, their log sds at -2; means of codes standard normal,
 * their log sds too (F-VI: one less); encoders of two hidden layers, leaky relu 0.2, inputs as they are. There the prior and the entropy of ALL codes are in
 * every iteration, and only the images are a batch; so it is here for free factors, whose gradient has a closed form (dense below). For functions the
 * batch stands for all, which has the same expectation.
 *
 * Their log q takes sds where it says variances, so that what stands for the entropy of a factor is E[log sd / 2 + sd eps^2 / 2], which draws sds towards
 * smaller values, in place of log sd. So it is here too, unless --entropy asks for the ELBO. */
#include <getopt.h>
#include <gsl/gsl_cblas.h>
#include <jansson.h>
#include <unistd.h>

#include "atomic.h"
#include "published.h"

const PgmModel *bnn_model(void);

enum { BATCHES = 10, SPACING = 20, KEPT_EVERY = 200, SEED_START = 0x57A8u, MOST_POINTS = 4096 };
static const double STEP = 1e-3;

typedef struct {
  PgmSession *s;
  int codes;                /* the local family */
  long images, pixels;
  PgmSources *q;
  bool entropy;             /* that of the factors; else what the published code has in its place */
  double *x, *g, *m, *v;    /* q->size each */
  long passes;              /* made so far, by all calls, */
  double seconds;           /* of a processor that they took */
  int points;
  double error[MOST_POINTS]; /* after SPACING, 2 SPACING ... passes */
} Lab;

/* ---- the factors --------------------------------------------------------------------------------------------------------------------- */

static void open_sources(Lab *lab, const char *method)
{
  const PgmModel *m = lab->s->model;
  const int width = atoi(method);
  PgmSourceSpec *spec = room((size_t)m->n_families * sizeof *spec);
  int n = 0;
  for (int f = 0; f < m->n_families; f++) {
    if (!pgm_is_latent(&m->families[f])) continue;
    spec[n] = (PgmSourceSpec){.family = f, .kind = PGM_FREE};
    if (f == lab->codes && width) {
      PgmFitOptions o = pgm_fit_defaults();
      o.method = PGM_AVI;
      o.activation = PGM_LEAKY_RELU;
      o.skip = false;
      o.n_hidden = 2;
      o.hidden[0] = o.hidden[1] = width;
      spec[n].kind = PGM_FUNCTION;
      make_function(lab->s, f, &o, false, &spec[n]);
    } else if (f == lab->codes && !strcmp(method, "const")) {
      spec[n].kind = PGM_SHARED;
    }
    n++;
  }
  stop(pgm_sources_open(&lab->q, lab->s, n, spec, false, &error));
  free(spec);
}

static void start(Lab *lab, unsigned long seed)
{
  const PgmKey key = {seed, 0, SEED_START};
  pgm_philox_normals(key, 0, lab->q->size, lab->x);
  for (int i = 0; i < lab->q->n; i++) {
    const PgmSource *f = &lab->q->source[i];
    double *x = lab->x + f->at;
    if (f->kind == PGM_FUNCTION) {
      long at = 0, before = f->net.n_features;
      for (int l = 0; l <= f->net.n_hidden; l++) {
        const long width = l < f->net.n_hidden ? f->net.hidden[l] : f->net.n_outputs, size = width * (before + 1);
        start_layer(key, f->at + at, size, before, x + at);
        at += size;
        before = width;
      }
    } else if (f->family != lab->codes) {
      for (long k = 0; k < f->size; k++) x[k] = f->at + k < f->sd_at ? 0 : -2;
    } else if (f->kind == PGM_FREE) {
      for (long k = f->sd_at - f->at; k < f->size; k++) x[k] -= 1;
    }
  }
}

/* ---- one pass ------------------------------------------------------------------------------------------------------------------------ */

/* d/d sd of what the published code has in place of a factor's entropy, log sd / 2 + sd / 2, less that of the entropy, log sd. */
static double slip(const Lab *lab, double sd)
{
  return lab->entropy ? 0 : 0.5 - 0.5 / sd;
}

/* Gradient of what the prior normal(0, 1) and the entropy (or what stands for it) of one code's free factor add to the ELBO, `times`:
 * d/d mean (-mean^2 / 2) = -mean, d/d log sd (log sd - sd^2 / 2) = 1 - sd^2. */
static void add_dense(const Lab *lab, const PgmSource *f, long row, double times)
{
  for (long k = row * f->uwidth; k < (row + 1) * f->uwidth; k++) {
    const double sd = exp(lab->x[f->sd_at + k]);
    lab->g[f->at + k] -= times * lab->x[f->at + k];
    lab->g[f->sd_at + k] += times * (1 - sd * sd + sd * slip(lab, sd));
  }
}

/* The gradient of the last evaluation once more, with the published stand-in for the entropy. */
static void slip_back(Lab *lab, const PgmRows *rows)
{
  for (int i = 0; i < lab->q->n; i++) {
    const PgmSource *f = &lab->q->source[i];
    PgmLayout *l = &lab->s->layout[f->family];
    const bool batch = f->family == lab->codes; /* whose rows have a weight */
    for (long j = 0; j < (batch ? rows[i].n : l->elements); j++)
      for (long k = 0; k < f->uwidth; k++) {
        const long e = (batch ? rows[i].row[j] : j) * f->uwidth + k;
        l->sd_bar[e] += (batch ? rows[i].weight[j] : 1) * slip(lab, l->sd[e]);
      }
  }
  lab->q->single = true; /* as the evaluation was */
  pgm_sources_backward(lab->q, lab->x, rows, lab->g);
  lab->q->single = false;
}

static void pass(Lab *lab, PgmObjective *objective, int axis)
{
  const PgmSource *codes = pgm_sources_find(lab->q, lab->codes);
  const long size = lab->images / BATCHES, first = lab->s->layout[lab->codes].lo[0];
  long *unit = room((size_t)size * sizeof *unit);
  for (long b = 0; b < BATCHES; b++) {
    const PgmBatch batch = {axis, unit, size, BATCHES};
    const long t = lab->passes * BATCHES + b + 1;
    for (long k = 0; k < size; k++) unit[k] = first + b * size + k;
    memset(lab->g, 0, (size_t)lab->q->size * sizeof *lab->g);
    const double elbo = pgm_objective_value(objective, lab->x, lab->g, &batch, t);
    if (!isfinite(elbo)) stop(pgm_fail(&error, PGM_BAD_INPUT, "iteration %ld: the ELBO is not finite", t));
    if (!lab->entropy) slip_back(lab, pgm_objective_rows(objective));
    for (long row = 0; codes->kind == PGM_FREE && row < lab->images; row++) add_dense(lab, codes, row, row / size == b ? 1 - BATCHES : 1);
    adam_step(lab->q->size, STEP, t, lab->g, lab->m, lab->v, lab->x, NULL);
  }
  lab->passes++;
  free(unit);
}

/* ---- reconstructions ----------------------------------------------------------------------------------------------------------------- */

static const PgmLayout *layout_of(const Lab *lab, const char *name)
{
  const PgmModel *m = lab->s->model;
  for (int f = 0; f < m->n_families; f++)
    if (!strcmp(m->families[f].name, name)) return &lab->s->layout[f];
  stop(pgm_fail(&error, PGM_BAD_INPUT, "the model has no variable %s", name));
  return NULL;
}

/* images x outputs: x W' + b at the means of the factors, through a leaky rectifier if `leaky`. Frees x if `owned`. */
static double *layer(const Lab *lab, const char *weights, const char *biases, const double *x, long in, bool leaky, long *outputs)
{
  const PgmLayout *w = layout_of(lab, weights), *b = layout_of(lab, biases);
  const long out = *outputs = b->uwidth;
  double *y = room((size_t)(lab->images * out) * sizeof *y);
  for (long n = 0; n < lab->images; n++) memcpy(y + n * out, b->mean, (size_t)out * sizeof *y);
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)lab->images, (int)out, (int)in, 1, x, (int)in, w->mean, (int)in, 1, y, (int)out);
  for (long k = 0; leaky && k < lab->images * out; k++) y[k] = y[k] > 0 ? y[k] : 0.2 * y[k];
  return y;
}

/* Mean squared error per pixel. Leaves the layouts at the factors. */
static double reconstruction_error(Lab *lab)
{
  const PgmLayout *x = layout_of(lab, "x");
  const PgmLayout *z = &lab->s->layout[lab->codes];
  long n1, n2, n3;
  pgm_sources_forward(lab->q, lab->x, NULL);
  double *h1 = layer(lab, "W1", "b1", z->mean, z->uwidth, true, &n1), *h2 = layer(lab, "W2", "b2", h1, n1, true, &n2);
  double *y = layer(lab, "W3", "b3", h2, n2, false, &n3), sum = 0;
  for (long k = 0; k < lab->images * n3; k++) sum += (x->data[k] - y[k]) * (x->data[k] - y[k]);
  free(h1);
  free(h2);
  free(y);
  return sum / (double)(lab->images * n3);
}

/* ---- files --------------------------------------------------------------------------------------------------------------------------- */

/* "seed S, entropy E, parameters N, passes P, seconds T, points K, data HASH", then the errors, x, m and v as they stand in memory. */
static const char head[] = "seed %lu, entropy %d, parameters %ld, passes %ld, seconds %lf, points %d, data %64s";

static void keep(const Lab *lab, const char *path, unsigned long seed, const char *hash)
{
  PgmAtomicFile file;
  const size_t size = (size_t)lab->q->size;
  stop(pgm_atomic_open(&file, path, &error));
  fprintf(file.stream, "seed %lu, entropy %d, parameters %ld, passes %ld, seconds %.3f, points %d, data %s\n", seed, lab->entropy, lab->q->size, lab->passes, lab->seconds,
          lab->points, hash);
  fwrite(lab->error, sizeof *lab->error, (size_t)lab->points, file.stream);
  fwrite(lab->x, sizeof *lab->x, size, file.stream);
  fwrite(lab->m, sizeof *lab->m, size, file.stream);
  fwrite(lab->v, sizeof *lab->v, size, file.stream);
  stop(pgm_atomic_commit(&file, &error)); /* finds what could not be written */
}

/* False: there is no such file. */
static bool recall(Lab *lab, const char *path, unsigned long seed, const char *hash)
{
  char of[65];
  unsigned long its_seed;
  int entropy;
  long parameters;
  FILE *in = fopen(path, "rb");
  if (!in) return false;
  const size_t size = (size_t)lab->q->size;
  const bool same = fscanf(in, head, &its_seed, &entropy, &parameters, &lab->passes, &lab->seconds, &lab->points, of) == 7 && fgetc(in) == '\n' && its_seed == seed && entropy == lab->entropy &&
                    parameters == lab->q->size && !strcmp(of, hash) && lab->points >= 0 && lab->points <= MOST_POINTS &&
                    fread(lab->error, sizeof *lab->error, (size_t)lab->points, in) == (size_t)lab->points &&
                    fread(lab->x, sizeof *lab->x, size, in) == size && fread(lab->m, sizeof *lab->m, size, in) == size &&
                    fread(lab->v, sizeof *lab->v, size, in) == size;
  fclose(in);
  if (!same) stop(pgm_fail(&error, PGM_BAD_INPUT, "%s: of another experiment or damaged; remove it", path));
  return true;
}

static void write_curve(const Lab *lab, const char *path)
{
  PgmAtomicFile file;
  if (!path) return;
  stop(pgm_atomic_open(&file, path, &error));
  fputs("passes,mse_train\n", file.stream);
  for (int k = 0; k < lab->points; k++) fprintf(file.stream, "%d,%.6f\n", SPACING * (k + 1), lab->error[k]);
  stop(pgm_atomic_commit(&file, &error));
}

/* The factors as `fit` keeps them; they borrow from lab->x. */
static void write_fit(const Lab *lab, const char *method, unsigned long seed, double elbo, const char *path)
{
  const PgmModel *m = lab->s->model;
  PgmFactors *factors = room((size_t)m->n_families * sizeof *factors);
  PgmFunction *functions = room((size_t)m->n_families * sizeof *functions);
  PgmFit fit = {.model = (char *)m->name,
                .hash = (char *)m->hash,
                .version = (char *)m->version,
                .method = !strcmp(method, "fvi") ? PGM_FVI : !strcmp(method, "const") ? PGM_CONST : PGM_AVI,
                .n_factors = lab->q->n,
                .factors = factors,
                .elbo = elbo,
                .elbo_se = NAN,
                .elbo_per_observation = elbo / (double)lab->images,
                .seconds = lab->seconds,
                .gradient_norm = NAN,
                .khat = NAN,
                .iterations = lab->passes * BATCHES,
                .variational_parameters = lab->q->size,
                .observations = lab->images,
                .criterion = "all passes made",
                .stopped = "max-iter",
                .seed = seed,
                .threads = lab->s->threads};
  for (int i = 0; i < lab->q->n; i++) {
    const PgmSource *f = &lab->q->source[i];
    factors[i] = (PgmFactors){.family = f->family, .kind = f->kind, .elements = f->kind == PGM_FREE ? f->rows : 1, .uwidth = f->uwidth};
    if (f->kind == PGM_FUNCTION) {
      functions[i] = *f->function;
      functions[i].weights = lab->x + f->at;
      factors[i].function = &functions[i];
    } else {
      factors[i].mean = lab->x + f->at;
      factors[i].log_sd = lab->x + f->sd_at;
    }
  }
  stop(pgm_fit_bind(&fit, lab->s, &error));
  stop(pgm_fit_write(&fit, m, path, &error));
  free(fit.data_hash);
  for (int k = 0; k < fit.n_sizes; k++) free(fit.sizes[k].name);
  free(fit.sizes);
  free(functions);
  free(factors);
}

/* ---- all together -------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  const char *method, *images, *state, *fit, *curve;
  unsigned long seed;
  long passes;
  bool entropy;
  int threads;
} Options;

static bool parse(int argc, char **argv, Options *o)
{
  static const struct option options[] = {{"seed", 1, NULL, 's'}, {"passes", 1, NULL, 'p'},  {"fit", 1, NULL, 'f'},
                                          {"curve", 1, NULL, 'c'}, {"entropy", 0, NULL, 'e'}, {"threads", 1, NULL, 't'}, {0}};
  *o = (Options){.seed = 1, .threads = 1};
  for (int key; (key = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (key == 's') o->seed = strtoul(optarg, NULL, 10);
    else if (key == 'p') o->passes = atol(optarg);
    else if (key == 'f') o->fit = optarg;
    else if (key == 'c') o->curve = optarg;
    else if (key == 'e') o->entropy = true;
    else if (key == 't') o->threads = atoi(optarg);
    else return false;
  }
  if (argc - optind != 3) return false;
  o->method = argv[optind];
  o->images = argv[optind + 1];
  o->state = argv[optind + 2];
  return o->fit && o->passes > 0 && o->passes <= (long)SPACING * MOST_POINTS && o->threads > 0 &&
         (atoi(o->method) > 0 || !strcmp(o->method, "fvi") || !strcmp(o->method, "const"));
}

int main(int argc, char **argv)
{
  static Lab lab;
  Options o;
  PgmObjective *objective;
  char hash[65];
  if (!parse(argc, argv, &o)) {
    fputs("usage: published_network const|fvi|WIDTH TRAIN.npy STATE --seed S --passes P --fit FILE [--curve FILE] [--entropy]\n"
          "         [--threads T]\n", stderr);
    return PGM_BAD_USAGE;
  }
  PgmData *data = pgm_data_new();
  const PgmSessionOptions how = {.threads = o.threads};
  stop(data ? pgm_data_read_named(data, "x", o.images, &error) : pgm_fail(&error, PGM_SYSTEM, "out of memory"));
  stop(pgm_session_open(&lab.s, bnn_model(), data, &how, &error));
  const PgmModel *m = lab.s->model;
  for (int f = 0; f < m->n_families; f++)
    if (m->families[f].role == PGM_LOCAL) lab.codes = f;
  const int axis = m->families[lab.codes].axis[0];
  lab.images = lab.s->layout[lab.codes].elements;
  if (lab.images % BATCHES) stop(pgm_fail(&error, PGM_BAD_INPUT, "%s: %ld images are not %d equal batches", o.images, lab.images, BATCHES));
  pgm_data_hash(lab.s, hash);
  lab.entropy = o.entropy;
  open_sources(&lab, o.method);
  lab.x = room(4 * (size_t)lab.q->size * sizeof *lab.x);
  lab.g = lab.x + lab.q->size;
  lab.m = lab.g + lab.q->size;
  lab.v = lab.m + lab.q->size;
  if (!recall(&lab, o.state, o.seed, hash)) start(&lab, o.seed);
  const PgmObjectiveOptions by = {.draws = 1, .fresh = true, .seed = o.seed, .axis = axis};
  stop(pgm_objective_open(&objective, lab.s, lab.q, &by, &error));
  while (lab.passes < o.passes) {
    const double began = now(CLOCK_PROCESS_CPUTIME_ID);
    pass(&lab, objective, axis);
    lab.seconds += now(CLOCK_PROCESS_CPUTIME_ID) - began;
    if (lab.passes % SPACING == 0) lab.error[lab.points++] = reconstruction_error(&lab);
    if (lab.passes % KEPT_EVERY == 0 || lab.passes == o.passes) keep(&lab, o.state, o.seed, hash);
  }
  pgm_sources_forward(lab.q, lab.x, NULL);
  const double elbo = pgm_elbo(lab.s, 1, o.seed, NULL);
  write_fit(&lab, o.method, o.seed, elbo, o.fit);
  write_curve(&lab, o.curve);
  printf("{\"iterations\": %ld, \"seconds\": %.1f, \"converged\": false, \"elbo\": %.3f}\n", lab.passes * BATCHES, lab.seconds, elbo);
  pgm_objective_close(objective);
  pgm_sources_close(lab.q);
  free(lab.x);
  pgm_session_close(lab.s);
  pgm_data_free(data);
  return 0;
}
