/* Forward and backward passes of perceptrons for one type of numbers: a part of net.c, which includes it once for each. In: REAL, the type; OF(name), what a
 * function of it is called, here and in blas.h; MATH(name), what that of libm is called. Layout of weights and of what is kept: net.h. */

/* ---- activations --------------------------------------------------------------------------------------------------------------------- */

static void OF(activate)(PgmActivation kind, long n, REAL *z)
{
  switch (kind) {
  case PGM_TANH:
#pragma omp simd
    for (long i = 0; i < n; i++) z[i] = MATH(tanh)(z[i]);
    break;
  case PGM_RELU:
    for (long i = 0; i < n; i++) z[i] = z[i] > 0 ? z[i] : 0;
    break;
  case PGM_LEAKY_RELU:
    for (long i = 0; i < n; i++) z[i] = z[i] > 0 ? z[i] : (REAL)0.01 * z[i];
    break;
  case PGM_SOFTPLUS: /* log(1 + e^z) = max(z, 0) + log1p(e^-|z|) */
#pragma omp simd
    for (long i = 0; i < n; i++) z[i] = (z[i] > 0 ? z[i] : 0) + MATH(log1p)(MATH(exp)(-MATH(fabs)(z[i])));
    break;
  }
}

/* bar *= derivative, from the activation's output a */
static void OF(activate_back)(PgmActivation kind, long n, const REAL *a, REAL *bar)
{
  switch (kind) {
  case PGM_TANH:
    for (long i = 0; i < n; i++) bar[i] *= 1 - a[i] * a[i];
    break;
  case PGM_RELU:
    for (long i = 0; i < n; i++) bar[i] = a[i] > 0 ? bar[i] : 0;
    break;
  case PGM_LEAKY_RELU:
    for (long i = 0; i < n; i++) bar[i] *= a[i] > 0 ? 1 : (REAL)0.01;
    break;
  case PGM_SOFTPLUS: /* inv_logit(z) = 1 - e^-a */
#pragma omp simd
    for (long i = 0; i < n; i++) bar[i] *= -MATH(expm1)(-a[i]);
    break;
  }
}

/* ---- forward and backward ------------------------------------------------------------------------------------------------------------ */

/* y (rows x out) = x (rows x in) W' + (b, or what y holds) */
static void OF(affine)(long rows, long in, long out, const REAL *x, const REAL *w, const REAL *b, REAL *y)
{
  if (b)
    for (long r = 0; r < rows; r++) memcpy(y + r * out, b, (size_t)out * sizeof *y);
  OF(pgm_gemm)(false, true, rows, out, in, x, in, w, in, 1, y, out);
}

/* w_bar += y_bar' x, b_bar += column sums of y_bar (b_bar may be NULL) */
static void OF(affine_back)(long rows, long in, long out, const REAL *x, const REAL *y_bar, REAL *w_bar, REAL *b_bar)
{
  OF(pgm_gemm)(true, false, out, in, rows, y_bar, out, x, in, 1, w_bar, in);
  if (b_bar)
    for (long r = 0; r < rows; r++)
      for (long k = 0; k < out; k++) b_bar[k] += y_bar[r * out + k];
}

/* x_bar (rows x in) = or += y_bar (rows x out) W */
static void OF(through)(long rows, long in, long out, const REAL *y_bar, const REAL *w, bool add, REAL *x_bar)
{
  OF(pgm_gemm)(false, false, rows, in, out, y_bar, out, w, in, add ? 1 : 0, x_bar, in);
}

/* Of a perceptron. */
static void OF(forward)(const PgmNet *net, const REAL *weights, long rows, REAL *kept, REAL *out)
{
  REAL *x = kept, *y = kept + rows * net->n_features;
  long in = net->n_features;
  const REAL *w = weights;
  for (int l = 0; l < net->n_hidden; l++) {
    long width = net->hidden[l];
    OF(affine)(rows, in, width, x, w, w + width * in, y);
    OF(activate)(net->activation, rows * width, y);
    w += width * (in + 1);
    x = y;
    y += rows * width;
    in = width;
  }
  const REAL *skip = w + net->n_outputs * in, *b = skip + (net->skip ? net->n_outputs * net->n_features : 0);
  OF(affine)(rows, in, net->n_outputs, x, w, b, out);
  if (net->skip) OF(affine)(rows, net->n_features, net->n_outputs, kept, skip, NULL, out);
}

static void OF(backward)(const PgmNet *net, const REAL *weights, long rows, const REAL *kept, const REAL *out_bar, REAL *weights_bar, REAL *x_bar, REAL *scratch)
{
  const REAL *layer[PGM_MAX_LAYERS + 1]; /* inputs of layer l */
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
  REAL *w_bar = weights_bar + at[last], *skip_bar = w_bar + net->n_outputs * in[last];
  REAL *b_bar = skip_bar + (net->skip ? net->n_outputs * net->n_features : 0);
  OF(affine_back)(rows, in[last], net->n_outputs, layer[last], out_bar, w_bar, b_bar);
  if (net->skip) OF(affine_back)(rows, net->n_features, net->n_outputs, kept, out_bar, skip_bar, NULL);
  const REAL *bar = out_bar;
  REAL *next = scratch, *spare = scratch + rows * widest(net);
  long width = net->n_outputs;
  for (int l = last - 1; l >= 0; l--) { /* bar: adjoint of what layer l feeds */
    OF(through)(rows, in[l + 1], width, bar, weights + at[l + 1], false, next);
    OF(activate_back)(net->activation, rows * in[l + 1], layer[l + 1], next);
    OF(affine_back)(rows, in[l], in[l + 1], layer[l], next, weights_bar + at[l], weights_bar + at[l] + in[l + 1] * in[l]);
    width = in[l + 1];
    bar = next;
    REAL *t = spare;
    spare = next;
    next = t;
  }
  if (!x_bar) return;
  OF(through)(rows, in[0], width, bar, weights + at[0], false, x_bar);
  if (net->skip) OF(through)(rows, in[0], net->n_outputs, out_bar, weights + (skip_bar - weights_bar), true, x_bar);
}
