/* Inference functions: see net.h. Reverse mode by hand, one matrix product per layer and direction (Rumelhart, Hinton & Williams 1986). */
#include "net.h"

#include <stdlib.h>
#include <string.h>

#include "blas.h"

enum { MAX_TERMS = 20000 };

/* ---- sizes --------------------------------------------------------------------------------------------------------------------------- */

/* All monomials up to the degree, by number of factors: every one of k factors is one of k - 1 times a feature not before its last one. False: more
 * than MAX_TERMS (*too_many), or out of memory. */
static bool list_terms(PgmNet *net, int degree, const int *degrees, bool *too_many)
{
  long room = 64, begin = 0, end = 1;
  net->n_terms = 1;
  *too_many = false;
  for (;;) {
    int *parent = realloc(net->parent, (size_t)room * sizeof *parent);
    if (parent) net->parent = parent;
    int *factor = realloc(net->factor, (size_t)room * sizeof *factor);
    if (factor) net->factor = factor;
    int *of = realloc(net->degree, (size_t)room * sizeof *of);
    if (of) net->degree = of;
    if (!parent || !factor || !of) return false;
    net->parent[0] = -1;
    net->factor[0] = net->degree[0] = 0;
    begin = 0;
    end = net->n_terms = 1;
    while (begin < end) {
      for (long t = begin; t < end; t++)
        for (int j = net->factor[t]; j < net->n_features; j++) {
          const int total = net->degree[t] + (degrees ? degrees[j] : 1);
          if (total > degree) continue;
          if (net->n_terms < room) {
            net->parent[net->n_terms] = (int)t;
            net->factor[net->n_terms] = j;
            net->degree[net->n_terms] = total;
          }
          if (++net->n_terms > MAX_TERMS) {
            *too_many = true;
            return false;
          }
        }
      begin = end;
      end = net->n_terms;
      if (end > room) break;
    }
    if (net->n_terms <= room) return true;
    room = MAX_TERMS;
  }
}

PgmStatus pgm_net_open(PgmNet *net, const PgmFunction *f, const int *degrees, PgmError *error)
{
  *net = (PgmNet){.n_features = f->n_features, .n_outputs = f->n_outputs, .activation = f->activation};
  if (f->degree >= 0) {
    bool too_many;
    if (!list_terms(net, f->degree, degrees, &too_many)) {
      pgm_net_close(net);
      if (!too_many) return pgm_fail(error, PGM_SYSTEM, "out of memory");
      return pgm_fail(error, PGM_BAD_USAGE,
                      "a polynomial of degree %d in %d features has more than %d terms; use --degree 1, fewer inputs, or --hidden",
                      f->degree, f->n_features, MAX_TERMS);
    }
    net->n_weights = net->n_outputs * net->n_terms;
    net->row = net->n_features + net->n_terms;
    net->n_regressors = net->n_terms;
    return PGM_OK;
  }
  net->skip = f->skip;
  net->n_hidden = f->n_hidden;
  long in = net->n_features;
  net->row = in;
  for (int l = 0; l < f->n_hidden; l++) {
    net->hidden[l] = f->hidden[l];
    net->n_weights += net->hidden[l] * (in + 1);
    net->row += net->hidden[l];
    in = net->hidden[l];
  }
  net->n_regressors = 1 + (net->skip ? net->n_features : 0) + in;
  net->n_weights += net->n_outputs * net->n_regressors;
  return PGM_OK;
}

void pgm_net_close(PgmNet *net)
{
  free(net->parent);
  free(net->factor);
  free(net->degree);
  net->parent = net->factor = net->degree = NULL;
}

static long widest(const PgmNet *net)
{
  long w = net->n_terms;
  for (int l = 0; l < net->n_hidden; l++) w = net->hidden[l] > w ? net->hidden[l] : w;
  return w;
}

long pgm_net_scratch(const PgmNet *net, long rows)
{
  return net->n_terms ? rows * net->n_terms : 2 * rows * widest(net);
}

/* ---- forward and backward ------------------------------------------------------------------------------------------------------------ */

#define REAL double
#define OF(name) name
#define MATH(name) name
#include "net_pass.h"
#undef REAL
#undef OF
#undef MATH

#define REAL float
#define OF(name) name##_single
#define MATH(name) name##f
#include "net_pass.h"
#undef REAL
#undef OF
#undef MATH

void pgm_net_monomials(const PgmNet *net, long rows, double *kept)
{
  const long n = net->n_terms, f = net->n_features;
  const double *x = kept;
  double *m = kept + rows * f;
  for (long r = 0; r < rows; r++) {
    double *row = m + r * n;
    row[0] = 1;
    for (long t = 1; t < n; t++) row[t] = row[net->parent[t]] * x[r * f + net->factor[t]];
  }
}

void pgm_net_forward(const PgmNet *net, const double *weights, long rows, double *kept, double *out)
{
  if (!net->n_terms) {
    forward(net, weights, rows, kept, out);
    return;
  }
  pgm_net_monomials(net, rows, kept);
  memset(out, 0, (size_t)(rows * net->n_outputs) * sizeof *out);
  affine(rows, net->n_terms, net->n_outputs, kept + rows * net->n_features, weights, NULL, out);
}

void pgm_net_forward_single(const PgmNet *net, const float *weights, long rows, float *kept, float *out)
{
  forward_single(net, weights, rows, kept, out);
}

void pgm_net_monomials_back(const PgmNet *net, long rows, const double *kept, double *m_bar, double *x_bar)
{
  const long n = net->n_terms, f = net->n_features;
  const double *m = kept + rows * f;
  for (long r = 0; r < rows; r++) {
    double *bar = m_bar + r * n;
    for (long t = n - 1; t > 0; t--) { /* a monomial's parent stands before it */
      x_bar[r * f + net->factor[t]] += bar[t] * m[r * n + net->parent[t]];
      bar[net->parent[t]] += bar[t] * kept[r * f + net->factor[t]];
    }
  }
}

void pgm_net_backward(const PgmNet *net, const double *weights, long rows, const double *kept, const double *out_bar, double *weights_bar,
                      double *x_bar, double *scratch)
{
  if (!net->n_terms) {
    backward(net, weights, rows, kept, out_bar, weights_bar, x_bar, scratch);
    return;
  }
  affine_back(rows, net->n_terms, net->n_outputs, kept + rows * net->n_features, out_bar, weights_bar, NULL);
  if (!x_bar) return;
  through(rows, net->n_terms, net->n_outputs, out_bar, weights, false, scratch);
  memset(x_bar, 0, (size_t)(rows * net->n_features) * sizeof *x_bar);
  pgm_net_monomials_back(net, rows, kept, scratch, x_bar);
}

void pgm_net_backward_single(const PgmNet *net, const float *weights, long rows, const float *kept, const float *out_bar, float *weights_bar, float *scratch)
{
  backward_single(net, weights, rows, kept, out_bar, weights_bar, NULL, scratch);
}

/* jacobian[row][at + i * in + j] = bar[row][i] * x[row][j] (and the biases', bar itself, after all i) */
static void outer_rows(long rows, long in, long out, const double *bar, const double *x, long n_weights, long at, bool bias, double *jacobian)
{
  for (long r = 0; r < rows; r++) {
    double *restrict to = jacobian + r * n_weights + at;
    for (long i = 0; i < out; i++)
      for (long j = 0; j < in; j++) to[i * in + j] = bar[r * out + i] * x[r * in + j];
    for (long i = 0; i < out && bias; i++) to[out * in + i] = bar[r * out + i];
  }
}

void pgm_net_jacobian(const PgmNet *net, const double *weights, long rows, const double *kept, long k, const double *scale, double *jacobian, double *scratch)
{
  const long n = net->n_weights, f = net->n_features;
  memset(jacobian, 0, (size_t)(rows * n) * sizeof *jacobian);
  if (net->n_terms) {
    outer_rows(rows, net->n_terms, 1, scale, kept + rows * f, n, k * net->n_terms, false, jacobian);
    return;
  }
  const double *x = kept;
  long at = 0, in = f;
  for (int l = 0; l < net->n_hidden; l++) {
    x += rows * in;
    at += net->hidden[l] * (in + 1);
    in = net->hidden[l];
  }
  const long skip = at + net->n_outputs * in, b = skip + (net->skip ? net->n_outputs * f : 0);
  outer_rows(rows, in, 1, scale, x, n, at + k * in, false, jacobian);
  if (net->skip) outer_rows(rows, f, 1, scale, kept, n, skip + k * f, false, jacobian);
  for (long r = 0; r < rows; r++) jacobian[r * n + b + k] = scale[r];
  double *bar = scratch, *next = scratch + rows * widest(net);
  const double *w = weights + at + k * in;
  for (long r = 0; r < rows && net->n_hidden; r++)
    for (long j = 0; j < in; j++) bar[r * in + j] = scale[r] * w[j];
  for (int l = net->n_hidden - 1; l >= 0; l--) { /* bar: adjoint of the layer's outputs, x */
    const long width = in;
    activate_back(net->activation, rows * width, x, bar);
    in = l ? net->hidden[l - 1] : f;
    x -= rows * in;
    at -= width * (in + 1);
    outer_rows(rows, in, width, bar, x, n, at, true, jacobian);
    if (!l) break;
    through(rows, in, width, bar, weights + at, false, next);
    double *t = bar;
    bar = next;
    next = t;
  }
}

/* ---- starting values ----------------------------------------------------------------------------------------------------------------- */

void pgm_net_random(const PgmNet *net, PgmKey key, double *weights)
{
  memset(weights, 0, (size_t)net->n_weights * sizeof *weights);
  long in = net->n_features, at = 0;
  for (int l = 0; l < net->n_hidden; l++) {
    long n = net->hidden[l] * in;
    double gain = net->activation == PGM_RELU || net->activation == PGM_LEAKY_RELU ? sqrt(2) : 1;
    double scale = in ? gain / sqrt((double)in) : 0;
    if (n) pgm_philox_normals(key, (uint64_t)at, n, weights + at);
    for (long i = 0; i < n; i++) weights[at + i] *= scale;
    for (long i = 0; i < net->hidden[l]; i++) weights[at + n + i] = 2 * pgm_philox_uniform(key, (uint64_t)(at + n + i) | 1ull << 40) - 1;
    at += n + net->hidden[l];
    in = net->hidden[l];
  }
}

void pgm_net_fan_in(const PgmNet *net, double *out)
{
  long in = net->n_features, at = 0;
  for (int l = 0; l < net->n_hidden; l++) {
    for (long k = 0; k < net->hidden[l] * in; k++) out[at++] = (double)in;
    for (long k = 0; k < net->hidden[l]; k++) out[at++] = 1;
    in = net->hidden[l];
  }
  for (long end = net->n_weights - (net->n_terms ? 0 : net->n_outputs); at < end; at++)
    out[at] = (double)(net->n_regressors - (net->n_terms ? 0 : 1));
  for (; at < net->n_weights; at++) out[at] = 1;
}

void pgm_net_regressors(const PgmNet *net, long rows, const double *kept, double *out)
{
  const long n = net->n_regressors, f = net->n_features;
  if (net->n_terms) {
    memcpy(out, kept + rows * f, (size_t)(rows * n) * sizeof *out);
    return;
  }
  long width = net->n_hidden ? net->hidden[net->n_hidden - 1] : f, skip = net->skip ? f : 0;
  const double *last = kept + rows * (net->row - width);
  for (long r = 0; r < rows; r++) {
    double *row = out + r * n;
    row[0] = 1;
    for (long k = 0; k < skip; k++) row[1 + k] = kept[r * f + k];
    for (long k = 0; k < width; k++) row[1 + skip + k] = last[r * width + k];
  }
}

void pgm_net_set_output(const PgmNet *net, const double *coefficients, double *weights)
{
  const long o = net->n_outputs, n = net->n_regressors;
  double *w = weights + net->n_weights - o * n;
  if (net->n_terms) {
    for (long k = 0; k < o; k++)
      for (long t = 0; t < n; t++) w[k * n + t] = coefficients[t * o + k];
    return;
  }
  long skip = net->skip ? net->n_features : 0, width = n - 1 - skip;
  for (long k = 0; k < o; k++) {
    for (long t = 0; t < width; t++) w[k * width + t] = coefficients[(1 + skip + t) * o + k];
    for (long t = 0; t < skip; t++) w[o * width + k * skip + t] = coefficients[(1 + t) * o + k];
    w[o * (width + skip) + k] = coefficients[k];
  }
}

void pgm_net_describe(const PgmFunction *f, char *text, size_t size)
{
  static const char *const names[] = {"tanh", "relu", "leaky_relu", "softplus"};
  if (f->degree >= 0) {
    snprintf(text, size, "polynomial of degree %d in %d feature%s", f->degree, f->n_features, f->n_features == 1 ? "" : "s");
    return;
  }
  size_t at = (size_t)snprintf(text, size, "mlp %d", f->n_features);
  for (int l = 0; l < f->n_hidden && at < size; l++) at += (size_t)snprintf(text + at, size - at, "-%d", f->hidden[l]);
  if (at < size) snprintf(text + at, size - at, "-%ld %s%s", f->n_outputs, names[f->activation], f->skip ? ", affine skip" : "");
}
