/* Encoders: what an inference function sees of a set or a slice, whose members are as many as the data have.
 *
 * SET (Zaheer et al., Deep Sets, NeurIPS 2017): each member's tuple goes through one network phi; the members' outputs are pooled to their mean and,
 * where sets differ in size, sum and count as well; what is pooled joins the function's features. On a tree of members (members.h) this
 * goes on level by level: a class pools its pupils, and a school the phi of its classes' own entries and pooled pupils. The result does not depend on the
 * order of members. A row that is a member itself has its own entries as features beside the set's, so that the others are told by the difference.
 *
 * SLICE: members in order, with their distance to both ends. A gated linear recurrence runs over their outputs in both directions,
 *     h_t = a_t h_(t-1) + (1 - a_t) v_t,   a_t = inv_logit(.),  v_t and the logits outputs of phi,
 * in which the filters of a linear-Gaussian chain can be written (Kalman; for the form: Martin & Cundy, Parallelizing linear recurrent neural
 * nets, ICLR 2018). A row sees the state before it, the state after it, and its own member's entries.
 *
 * A perceptron's phi has one hidden layer of the function's first width, and an affine skip. A polynomial of degree d has no weights here: phi(member) is
 * all monomials of its entries up to degree d, so that set inputs are means (and sums) of products of a tuple's entries; slices are exponential
 * averages of these at fixed rates (one is 0: the neighbours).
 *
 * Work is cut into chunks of groups by sizes alone, chunks go to slots, and slots' gradients are added in order: the same bits for any number of
 * threads. Activations are made again on the way back. */
#ifndef PGM_ENCODER_H
#define PGM_ENCODER_H

#include "fit.h"
#include "members.h"
#include "net.h"

typedef struct PgmEncoder PgmEncoder;

/* Of encoder `which` of a function: entries of PgmFunction.center and .scale, of all levels, sizes included. */
long pgm_encoder_columns(const PgmFunction *f, int which);
/* Opens the net of a function, and sets n_features and n_weights from n_scaled, the encoders' shapes and the architecture. The degree of a polynomial is
 * that in the data: a mean of products of two entries counts two. */
PgmStatus pgm_function_net(PgmNet *net, PgmFunction *f, PgmError *error);

/* A column that is a variational parameter: of each node, its place in the vector of parameters, or -1. */
typedef struct {
  int level, column, family;
  long *place; /* owned by the encoder once opened */
} PgmSlot;

/* Takes over the members, the columns (per level nodes x columns, standardised) and the slots, also on failure. size[l]: a typical number of
 * children, by which sums are divided. */
PgmStatus pgm_encoder_open(PgmEncoder **out, const PgmFunction *f, int which, PgmMembers *members, double **columns, const double *size,
                           int n_slots, PgmSlot *slots, int threads, PgmError *error);
void pgm_encoder_close(PgmEncoder *e);
/* Random weights: normal, by the fan-in; gates of all time scales. */
void pgm_encoder_random(const PgmEncoder *e, PgmKey key, double *weights);
void pgm_encoder_fan_in(const PgmEncoder *e, double *out);

/* Which rows forward and backward are for: row[0..n-1], or the first n where row is NULL. */
void pgm_encoder_select(PgmEncoder *e, const long *row, long n);
void pgm_encoder_forward(PgmEncoder *e, const double *weights, const double *x);
/* The outputs for one of the selected rows. */
void pgm_encoder_row(const PgmEncoder *e, long row, double *out);
/* weights_bar += and (slots) x_bar += the gradient, from the outputs' adjoints of the selected rows: bar[position * stride + k]. */
void pgm_encoder_backward(PgmEncoder *e, const double *weights, const double *x, const double *bar, long stride, double *weights_bar,
                          double *x_bar);
PgmSlot *pgm_encoder_slots(PgmEncoder *e, int *n);
long pgm_encoder_outputs(const PgmEncoder *e);
long pgm_encoder_weights(const PgmEncoder *e);
long pgm_encoder_nodes(const PgmEncoder *e, int level);
/* Do the outputs depend on weights or parameters? */
bool pgm_encoder_learns(const PgmEncoder *e);

#endif
