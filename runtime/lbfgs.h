/* L-BFGS with a metric that changes from iteration to iteration: the initial inverse Hessian of every iteration is a diagonal that the
 * caller computes at the current point (for Gaussian factors the inverse Fisher information: sd^2 for a mean, 1/2 for a log sd). */
#ifndef PGM_LBFGS_H
#define PGM_LBFGS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
  /* Value to be minimised and its gradient (n doubles). A value that is not finite rejects the point. */
  double (*value)(void *data, const double *x, double *gradient);
  /* Diagonal of the initial inverse Hessian at x, all positive. Entries set to 0 are replaced by one common scale, s'y / y'y over those
   * entries. */
  void (*metric)(void *data, const double *x, double *h);
  /* The rest of the initial inverse Hessian, where it is not diagonal: v = A v, after each coordinate was multiplied by its entry of the metric; A symmetric and
   * positive, as `metric` left it when it was last called for an accepted point. NULL: the identity. */
  void (*apply)(void *data, double *v);
  /* Longest step along d that keeps every coordinate's change within its limit; before that it may change d, the direction from x with its gradient g,
   * where d leads out of the reach of a quadratic model (may be NULL: no limits). */
  double (*limit)(void *data, const double *x, const double *g, double *d);
  /* A point was accepted. Returning false stops. May be NULL. */
  bool (*accepted)(void *data, long iteration, const double *x, double value, double gradient_norm);
  /* For a value that is an average over draws: an estimate of the sampling error of its gradient g at an accepted point, sqrt(e' H0 e). NULL: exact. */
  double (*error)(void *data, const double *x, const double *g, const double *h);
  void *data;
} PgmLbfgsProblem;

typedef struct {
  int history; /* pairs kept; 0: 10 */
  long max_iter;
  double tol;  /* stop when sqrt(g' H0 g) is below it */
  /* Stop when `window` iterations together gained less than this, or less than this part of the value where they ended, unless a step of the gradient's norm
   * promises more than `promise` of the value, and more than 1: then the way is long, not over. 0: no promise counts. */
  double gain, relative, promise;
  int window;
  /* Or less than `part` of how far the value is above `bound`, which lies below it: at that rate it would never come near. 0: no bound. */
  double bound, part;
  /* Stop when the gradient norm is below this part of its sampling error, and the last `window` iterations gained no more than a step from there
   * would, (share * error)^2 / 2: at a saddle the gradient is small as well, but the value falls. */
  double share;
  int threads;
  int stored, newest; /* secant pairs that an earlier run with this n, history and work space left there (PgmLbfgsResult), of a function much like this; 0: none */
  double first_step; /* length of the first step in the metric's norm at most; 0: no limit */
} PgmLbfgsOptions;

typedef enum {
  PGM_LBFGS_GRADIENT,
  PGM_LBFGS_GAIN,
  PGM_LBFGS_ERROR,
  PGM_LBFGS_NO_STEP,
  PGM_LBFGS_MAX_ITER,
  PGM_LBFGS_STOPPED,
  PGM_LBFGS_NAN
} PgmLbfgsStop;

typedef struct {
  PgmLbfgsStop stop;
  long iterations, evaluations;
  double value, gradient_norm, gained; /* gradient_norm: sqrt(g' H0 g); gained: in the last window */
  double enough;                       /* gain that would have stopped it where it ended */
  double error;                        /* of the gradient, as last estimated; 0: exact */
  int stored, newest;                  /* secant pairs left in the work space */
} PgmLbfgsResult;

/* Doubles of work space. */
size_t pgm_lbfgs_size(long n, int history);
/* Minimises from x, which ends at the best point. PGM_LBFGS_NAN: the starting point is not finite. */
PgmLbfgsResult pgm_lbfgs(const PgmLbfgsProblem *problem, const PgmLbfgsOptions *options, long n, double *x, double *work);

/* Sum of a[i] * b[i] in an order that does not depend on the number of threads. */
double pgm_dot(long n, const double *a, const double *b, int threads);

#endif
