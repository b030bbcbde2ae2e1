/* Helpers of emitted code that are neither mathematics of scalars (pgm_math.h) nor random draws (pgm_draw.h). */
#ifndef PGM_EMIT_H
#define PGM_EMIT_H

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"

/* Scratch arrays start on cache lines. */
#define PGM_PAD(n) (((n) + 7) & ~7L)

/* The doubles that n floats take, likewise. */
#define PGM_PAD_SINGLE(n) ((((n) + 15) & ~15L) / 2)

/* Starts a PgmKernel that runs over the span's units. Its body is compiled twice, for consecutive units, which the compiler then reads and writes
 * as vectors, and for those of a list (minibatches): left to itself it would gather and scatter for both. */
#define PGM_KERNEL(name)                                                                                                           \
  static inline __attribute__((always_inline)) double name##_units(const void *env, const PgmSpan *span, const long *units);       \
  static double name(const void *env, const PgmSpan *span)                                                                         \
  {                                                                                                                                \
    return span->units ? name##_units(env, span, span->units) : name##_units(env, span, NULL);                                     \
  }                                                                                                                                \
  static inline double name##_units(const void *env, const PgmSpan *span, const long *units)

/* Units that loops with others inside run over side by side. */
enum { PGM_LANES = 64 };
#define PGM_ALIGNED __attribute__((aligned(64)))
static inline int pgm_lanes(long left) { return left < PGM_LANES ? (int)left : PGM_LANES; }
/* The lanes of sums. GCC's reduction over a strip has as many partial sums as units lie in one vector of the smallest type it reads, 64 for flags, and adds them
 * up one after the other at the end of each strip. */
static inline double pgm_sum_lanes(const double x[PGM_LANES])
{
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int lane = 0; lane < PGM_LANES; lane++) sum += x[lane];
  return sum;
}

/* Bounding ranges: start with pgm_range_start, widen by non-empty ranges, close; an empty family gets 1..0. */
static inline void pgm_range_start(long *lo, long *hi) { *lo = LONG_MAX, *hi = LONG_MIN; }
static inline void pgm_range_widen(long *lo, long *hi, long from, long to)
{
  if (from > to) return;
  if (from < *lo) *lo = from;
  if (to > *hi) *hi = to;
}
static inline void pgm_range_close(long *lo, long *hi)
{
  if (*lo > *hi) *lo = 1, *hi = 0;
}

/* An index that a branch not taken may have out of range. */
static inline long pgm_clamp(long i, long lo, long hi)
{
  if (i > hi) i = hi;
  return i < lo ? lo : i;
}

/* Matrices are given by the address of their first entry and the distances between rows and between columns, vectors by that between entries. */

/* x = L^-1 b, L lower triangular */
static inline void pgm_trisolve(long n, const double *l, long row, long column, const double *b, long b_step, double *x, long x_step)
{
  for (long i = 0; i < n; i++) {
    double v = b[i * b_step];
    for (long j = 0; j < i; j++) v -= l[i * row + j * column] * x[j * x_step];
    x[i * x_step] = v / l[i * row + i * column];
  }
}

/* x = L^-T b */
static inline void pgm_trisolve_transposed(long n, const double *l, long row, long column, const double *b, long b_step, double *x, long x_step)
{
  for (long i = n - 1; i >= 0; i--) {
    double v = b[i * b_step];
    for (long j = i + 1; j < n; j++) v -= l[j * row + i * column] * x[j * x_step];
    x[i * x_step] = v / l[i * row + i * column];
  }
}

/* matrix.c. What does not exist (the factor of a matrix that is not positive definite, the inverse of a singular one) is NaN or infinite. */

/* L lower triangular with L L' = A; only the lower triangle of A is read; zeros above the diagonal of L. */
void pgm_cholesky(long n, const double *a, long a_row, long a_column, double *l, long l_row, long l_column);
/* From L and its adjoint (whose upper triangle is not read) that of A, symmetric. */
void pgm_cholesky_adjoint(long n, const double *l, long l_row, long l_column, const double *l_bar, long l_bar_row, long l_bar_column, double *a_bar,
                          long a_bar_row, long a_bar_column);
void pgm_inverse(long n, const double *a, long a_row, long a_column, double *b, long b_row, long b_column);
/* log |det A|; -infinity where A is singular */
double pgm_log_det(long n, const double *a, long a_row, long a_column);

#endif
