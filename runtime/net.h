/* Inference functions over rows: polynomials and multilayer perceptrons, forward and vector-Jacobian product, batched with BLAS.
 *
 * Rows are elements of a latent family, columns the standardised features; the outputs of a row are the means of the element's
 * unconstrained entries, then (unless PgmFunction.free_scale) their log sds.
 *
 * WEIGHTS. Perceptron: for each hidden layer W[width][inputs] row-major and b[width]; then the output layer: W[outputs][last width],
 * the affine skip S[outputs][features] if there is one, b[outputs]. Polynomial: C[outputs][terms], terms in graded order (1 first).
 * With free_scale the log sds, one per entry, follow at the end (they belong to the source, net.c does not read them). */
#ifndef PGM_NET_H
#define PGM_NET_H

#include "fit.h"
#include "philox.h"

typedef struct {
  long n_features, n_outputs;
  int n_hidden;
  long hidden[PGM_MAX_LAYERS];
  PgmActivation activation;
  bool skip;
  long n_terms;         /* polynomial: number of monomials; 0: a perceptron */
  int *parent, *factor; /* monomial t = monomial parent[t] * feature factor[t] (t > 0) */
  int *degree;          /* of each monomial */
  long n_weights;       /* without free scales */
  long row;             /* doubles per row kept from forward to backward, features first */
  long n_regressors;    /* inputs of the linear output layer: 1, features (skip), last hidden layer; or the monomials */
} PgmNet;

/* degrees: what each feature counts in the degree of a monomial (NULL: 1). More monomials than 20 000: PGM_BAD_USAGE. */
PgmStatus pgm_net_open(PgmNet *net, const PgmFunction *f, const int *degrees, PgmError *error);
void pgm_net_close(PgmNet *net);

/* `kept` holds rows * net->row doubles, block by block (features, then each layer, each rows x width); the caller has filled the features.
 * out: rows x n_outputs. */
void pgm_net_forward(const PgmNet *net, const double *weights, long rows, double *kept, double *out);
/* weights_bar += d(out . out_bar)/d weights; x_bar = d(out . out_bar)/d features, rows x n_features (NULL: not wanted). `kept` as forward left it;
 * `scratch`: pgm_net_scratch(net, rows) doubles. */
void pgm_net_backward(const PgmNet *net, const double *weights, long rows, const double *kept, const double *out_bar, double *weights_bar,
                      double *x_bar, double *scratch);
/* The same of perceptrons, in single precision; without the features' adjoints. */
void pgm_net_forward_single(const PgmNet *net, const float *weights, long rows, float *kept, float *out);
void pgm_net_backward_single(const PgmNet *net, const float *weights, long rows, const float *kept, const float *out_bar, float *weights_bar, float *scratch);
/* jacobian[row][weight] = scale[row] * d (output k of the row) / d weight; `kept` as forward left it, `scratch` pgm_net_scratch doubles. */
void pgm_net_jacobian(const PgmNet *net, const double *weights, long rows, const double *kept, long k, const double *scale, double *jacobian, double *scratch);
/* Of a polynomial the monomials alone: `kept` holds the features and gets the monomials. Backward: x_bar += the adjoint of the features,
 * overwriting m_bar, the monomials' (both rows x ...). */
void pgm_net_monomials(const PgmNet *net, long rows, double *kept);
void pgm_net_monomials_back(const PgmNet *net, long rows, const double *kept, double *m_bar, double *x_bar);
long pgm_net_scratch(const PgmNet *net, long rows);

/* Random starting weights: normal, scaled by the fan-in, biases of hidden layers uniform; the output layer 0. */
void pgm_net_random(const PgmNet *net, PgmKey key, double *weights);
/* Per weight (n_weights), the number of inputs that add up in its output; 1 for biases. */
void pgm_net_fan_in(const PgmNet *net, double *out);
/* What the output layer is linear in: rows x n_regressors (the constant first), from `kept`. */
void pgm_net_regressors(const PgmNet *net, long rows, const double *kept, double *out);
/* Sets the output layer to the coefficients [n_regressors][n_outputs]. */
void pgm_net_set_output(const PgmNet *net, const double *coefficients, double *weights);
/* "mlp 2-16-16-2 tanh", "polynomial of degree 2 in 3 features" */
void pgm_net_describe(const PgmFunction *f, char *text, size_t size);

#endif
