/* Adam (Kingma & Ba 2015) with stages of decreasing steps, averaging of the iterates (Polyak & Juditsky 1992), and a stop of its own. */
#ifndef PGM_ADAM_H
#define PGM_ADAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  long begin, end;
} PgmRange;

typedef struct {
  /* An unbiased estimate of the value to be MAXIMISED and its gradient at x. NaN: the step is skipped. */
  double (*value)(void *data, const double *x, double *gradient, long iteration);
  /* The parts of x whose gradient the last call wrote; NULL callback: all of it. Ascending, disjoint. */
  const PgmRange *(*touched)(void *data, long *n);
  /* After every iteration; false stops. */
  bool (*accepted)(void *data, long iteration, const double *x, double value, double gradient_norm);
  void *data;
} PgmAdamProblem;

typedef struct {
  double step;         /* of the first stage */
  const double *scale; /* per coordinate: its step is step * scale; NULL: 1 */
  long max_iter;
  long group;  /* iterations that together see all data (an epoch); their values are averaged first. 0: 1 */
  long window; /* groups whose averages are averaged before they are compared */
  double gain; /* a window must be better by this as well to count as progress */
  int stages;  /* each with 0.3 times the step of the one before */
  int threads;
} PgmAdamOptions;

typedef enum { PGM_ADAM_CONVERGED, PGM_ADAM_MAX_ITER, PGM_ADAM_STOPPED, PGM_ADAM_NAN } PgmAdamStop;
typedef struct {
  PgmAdamStop stop;
  long iterations;
  double value, error, gradient_norm;
} PgmAdamResult; /* value, error: of the last window */

size_t pgm_adam_size(long n, bool sparse); /* doubles of work space */
/* x: start, then the last iterate; average: the mean iterate of the last stage. */
PgmAdamResult pgm_adam(const PgmAdamProblem *problem, const PgmAdamOptions *options, long n, double *x, double *average, double *work);

#endif
