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

/* ---- activations --------------------------------------------------------------------------------------------------------------------- */

static void activate(PgmActivation kind, long n, double *z)
{
  switch (kind) {
  case PGM_TANH:
#pragma omp simd
    for (long i = 0; i < n; i++) z[i] = tanh(z[i]);
    break;
  case PGM_RELU:
    for (long i = 0; i < n; i++) z[i] = z[i] > 0 ? z[i] : 0;
    break;
  case PGM_LEAKY_RELU:
    for (long i = 0; i < n; i++) z[i] = z[i] > 0 ? z[i] : 0.01 * z[i];
    break;
  case PGM_SOFTPLUS: /* log(1 + e^z) = max(z, 0) + log1p(e^-|z|) */
#pragma omp simd
    for (long i = 0; i < n; i++) z[i] = (z[i] > 0 ? z[i] : 0) + log1p(exp(-fabs(z[i])));
    break;
  }
}

/* bar *= derivative, from the activation's output a */
static void activate_back(PgmActivation kind, long n, const double *a, double *bar)
{
  switch (kind) {
  case PGM_TANH:
    for (long i = 0; i < n; i++) bar[i] *= 1 - a[i] * a[i];
    break;
  case PGM_RELU:
    for (long i = 0; i < n; i++) bar[i] = a[i] > 0 ? bar[i] : 0;
    break;
  case PGM_LEAKY_RELU:
    for (long i = 0; i < n; i++) bar[i] *= a[i] > 0 ? 1 : 0.01;
    break;
  case PGM_SOFTPLUS: /* inv_logit(z) = 1 - e^-a */
#pragma omp simd
    for (long i = 0; i < n; i++) bar[i] *= -expm1(-a[i]);
    break;
  }
}

/* ---- forward and backward ------------------------------------------------------------------------------------------------------------ */

/* y (rows x out) = x (rows x in) W' + (b, or what y holds) */
static void affine(long rows, long in, long out, const double *x, const double *w, const double *b, double *y)
{
  if (b)
    for (long r = 0; r < rows; r++) memcpy(y + r * out, b, (size_t)out * sizeof *y);
  pgm_gemm(false, true, rows, out, in, x, in, w, in, 1, y, out);
}

/* w_bar += y_bar' x, b_bar += column sums of y_bar (b_bar may be NULL) */
static void affine_back(long rows, long in, long out, const double *x, const double *y_bar, double *w_bar, double *b_bar)
{
  pgm_gemm(true, false, out, in, rows, y_bar, out, x, in, 1, w_bar, in);
  if (b_bar)
    for (long r = 0; r < rows; r++)
      for (long k = 0; k < out; k++) b_bar[k] += y_bar[r * out + k];
}

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
  double *x = kept, *y = kept + rows * net->n_features;
  if (net->n_terms) {
    pgm_net_monomials(net, rows, kept);
    memset(out, 0, (size_t)(rows * net->n_outputs) * sizeof *out);
    affine(rows, net->n_terms, net->n_outputs, y, weights, NULL, out);
    return;
  }
  long in = net->n_features;
  const double *w = weights;
  for (int l = 0; l < net->n_hidden; l++) {
    long width = net->hidden[l];
    affine(rows, in, width, x, w, w + width * in, y);
    activate(net->activation, rows * width, y);
    w += width * (in + 1);
    x = y;
    y += rows * width;
    in = width;
  }
  const double *skip = w + net->n_outputs * in, *b = skip + (net->skip ? net->n_outputs * net->n_features : 0);
  affine(rows, in, net->n_outputs, x, w, b, out);
  if (net->skip) affine(rows, net->n_features, net->n_outputs, kept, skip, NULL, out);
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

/* x_bar (rows x in) = or += y_bar (rows x out) W */
static void through(long rows, long in, long out, const double *y_bar, const double *w, bool add, double *x_bar)
{
  pgm_gemm(false, false, rows, in, out, y_bar, out, w, in, add ? 1 : 0, x_bar, in);
}

void pgm_net_backward(const PgmNet *net, const double *weights, long rows, const double *kept, const double *out_bar, double *weights_bar,
                      double *x_bar, double *scratch)
{
  if (net->n_terms) {
    affine_back(rows, net->n_terms, net->n_outputs, kept + rows * net->n_features, out_bar, weights_bar, NULL);
    if (x_bar) {
      through(rows, net->n_terms, net->n_outputs, out_bar, weights, false, scratch);
      memset(x_bar, 0, (size_t)(rows * net->n_features) * sizeof *x_bar);
      pgm_net_monomials_back(net, rows, kept, scratch, x_bar);
    }
    return;
  }
  const double *layer[PGM_MAX_LAYERS + 1]; /* inputs of layer l */
  long at[PGM_MAX_LAYERS + 1], in[PGM_MAX_LAYERS + 1];
  layer[0] = kept;
  at[0] = 0;
  in[0] = net->n_features;
  for (int l = 0; l < net->n_hidden; l++) {
    layer[l + 1] = layer[l] + rows * in[l];
    at[l + 1] = at[l] + net->hidden[l] * (in[l] + 1);
    in[l + 1] = net->hidden[l];
  }
  const int last = net->n_hidden;
  double *w_bar = weights_bar + at[last], *skip_bar = w_bar + net->n_outputs * in[last];
  double *b_bar = skip_bar + (net->skip ? net->n_outputs * net->n_features : 0);
  affine_back(rows, in[last], net->n_outputs, layer[last], out_bar, w_bar, b_bar);
  if (net->skip) affine_back(rows, net->n_features, net->n_outputs, kept, out_bar, skip_bar, NULL);
  const double *bar = out_bar;
  double *next = scratch, *spare = scratch + rows * widest(net);
  long width = net->n_outputs;
  for (int l = last - 1; l >= 0; l--) { /* bar: adjoint of what layer l feeds */
    through(rows, in[l + 1], width, bar, weights + at[l + 1], false, next);
    activate_back(net->activation, rows * in[l + 1], layer[l + 1], next);
    affine_back(rows, in[l], in[l + 1], layer[l], next, weights_bar + at[l], weights_bar + at[l] + in[l + 1] * in[l]);
    width = in[l + 1];
    bar = next;
    double *t = spare;
    spare = next;
    next = t;
  }
  if (!x_bar) return;
  through(rows, in[0], width, bar, weights + at[0], false, x_bar);
  if (net->skip) through(rows, in[0], net->n_outputs, out_bar, weights + (skip_bar - weights_bar), true, x_bar);
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
