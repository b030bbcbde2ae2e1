/* What the two programs of the published optimiser share (published.c, published_network.c): Adam with one constant step, functions of inputs as they
 * are, layers that start as PyTorch's do. Errors end the program. */
#ifndef PUBLISHED_H
#define PUBLISHED_H

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gather.h"
#include "net.h"
#include "objective.h"
#include "philox.h"

static PgmError error;

static inline void stop(PgmStatus status)
{
  if (status == PGM_OK) return;
  fprintf(stderr, "published: %s\n", error.text);
  exit(status);
}

/* Zeros. */
static inline void *room(size_t bytes)
{
  void *memory = calloc(1, bytes ? bytes : 1);
  if (!memory) stop(pgm_fail(&error, PGM_SYSTEM, "out of memory"));
  return memory;
}

static inline double now(clockid_t clock)
{
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A function as `o` describes it, without skip connection, of inputs that are not standardised; one log sd for all elements with `free_scale`. */
static inline void make_function(PgmSession *s, int family, const PgmFitOptions *o, bool free_scale, PgmSourceSpec *spec)
{
  PgmInputs inputs;
  PgmNet net;
  stop(pgm_inputs_find(s, o, family, &inputs, &error));
  stop(pgm_function_new(&spec->function, &spec->gather, s, family, &inputs, o, &error));
  pgm_inputs_free(&inputs);
  PgmFunction *f = spec->function;
  for (int i = 0; i < f->n_features; i++) {
    f->center[i] = 0;
    f->scale[i] = 1;
  }
  f->free_scale = free_scale;
  f->n_outputs = (free_scale ? 1 : 2) * s->layout[family].uwidth;
  stop(pgm_net_open(&net, f, NULL, &error));
  f->n_weights = net.n_weights + (free_scale ? s->layout[family].uwidth : 0);
  pgm_net_close(&net);
  pgm_gather_close(spec->gather);
  stop(pgm_gather_reopen(&spec->gather, s, family, f, &error));
}

/* Weights and biases of one layer as PyTorch starts them: uniform within one over the root of the fan-in. x: at their place `at` in the vector of all
 * parameters, from whose place the numbers come. */
static inline void start_layer(PgmKey key, long at, long size, long fan_in, double *x)
{
  const double bound = 1 / sqrt((double)fan_in);
  for (long k = 0; k < size; k++) x[k] = bound * (2 * pgm_philox_uniform(key, (uint64_t)(at + k) | 1ull << 41) - 1);
}

/* Step t, from 1, of Adam (Kingma & Ba 2015; the constants of PyTorch), upwards. g, m, v, x: n each; fixed: coordinates that stay, or NULL. */
static inline void adam_step(long n, double step, long t, const double *restrict g, double *restrict m, double *restrict v, double *restrict x,
                             const unsigned char *restrict fixed)
{
  const double b1 = 0.9, b2 = 0.999, small = 1e-8;
  const double c1 = 1 - pow(b1, (double)t), c2 = 1 - pow(b2, (double)t);
  for (long i = 0; i < n; i++) {
    m[i] = b1 * m[i] + (1 - b1) * g[i];
    v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
    const double by = step * (m[i] / c1) / (sqrt(v[i] / c2) + small);
    x[i] += fixed && fixed[i] ? 0 : by;
  }
}

#endif
