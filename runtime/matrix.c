/* Functions of dense matrices for emitted kernels: Cholesky factor and its adjoint, inverse, determinant.
 *
 * In: a square matrix as an address and two distances (pgm_emit.h), so that rows and columns may lie either way round and other axes between them. Out: the
 * result in an array of the caller's, laid out by its own distances. No state; the determinant takes a copy of its matrix.
 * Sources: Cholesky, LU with partial pivoting and Gauss-Jordan inversion as in Golub & Van Loan, Matrix Computations (4th ed. 2013), algorithms 4.2.1 and
 * 3.4.1; that solving by the inverse is as accurate as by LU is shown by Druinsky & Toledo (2012), arXiv:1201.6035. The adjoint of the factor: Murray
 * (2016), Differentiation of the Cholesky decomposition, arXiv:1602.07527, equation 9. */
#include "pgmrt.h"
#include "pgm_emit.h"

#define A(i, j) a[(i) * a_row + (j) * a_column]
#define B(i, j) b[(i) * b_row + (j) * b_column]
#define L(i, j) l[(i) * l_row + (j) * l_column]
#define BAR(i, j) l_bar[(i) * l_bar_row + (j) * l_bar_column]
#define OUT(i, j) a_bar[(i) * a_bar_row + (j) * a_bar_column]

void pgm_cholesky(long n, const double *a, long a_row, long a_column, double *l, long l_row, long l_column)
{
  for (long i = 0; i < n; i++) {
    for (long j = 0; j <= i; j++) {
      double v = A(i, j);
      for (long k = 0; k < j; k++) v -= L(i, k) * L(j, k);
      if (i == j) L(i, i) = v > 0 ? sqrt(v) : NAN;
      else L(i, j) = v / L(j, j);
    }
    for (long j = i + 1; j < n; j++) L(i, j) = 0;
  }
}

/* A_bar = (S + S') / 2 with S = L^-T P L^-1, P = the lower triangle of L' L_bar with half its diagonal */
void pgm_cholesky_adjoint(long n, const double *l, long l_row, long l_column, const double *l_bar, long l_bar_row, long l_bar_column, double *a_bar,
                          long a_bar_row, long a_bar_column)
{
  for (long i = 0; i < n; i++)
    for (long j = 0; j < n; j++) {
      double v = 0;
      for (long k = i; k < n && j <= i; k++) v += L(k, i) * BAR(k, j);
      OUT(i, j) = i == j ? 0.5 * v : v;
    }
  for (long j = 0; j < n; j++) pgm_trisolve_transposed(n, l, l_row, l_column, &OUT(0, j), a_bar_row, &OUT(0, j), a_bar_row);
  for (long i = 0; i < n; i++) pgm_trisolve_transposed(n, l, l_row, l_column, &OUT(i, 0), a_bar_column, &OUT(i, 0), a_bar_column);
  for (long i = 0; i < n; i++)
    for (long j = 0; j < i; j++) OUT(i, j) = OUT(j, i) = 0.5 * (OUT(i, j) + OUT(j, i));
}

/* Row, of those from `from` on, with the largest entry in the column. */
static long pivot_row(long n, const double *a, long a_row, long a_column, long from, long column)
{
  long best = from;
  for (long i = from + 1; i < n; i++)
    if (!(fabs(A(i, column)) <= fabs(A(best, column)))) best = i;
  return best;
}

static void swap_rows(long n, double *b, long b_row, long b_column, long i, long k)
{
  for (long j = 0; j < n && i != k; j++) {
    double v = B(i, j);
    B(i, j) = B(k, j), B(k, j) = v;
  }
}

/* In place: after step c the first c + 1 columns are those of the product of the elementary matrices. Rows that were exchanged are columns of the
 * inverse that are exchanged back, the last first. */
void pgm_inverse(long n, const double *a, long a_row, long a_column, double *b, long b_row, long b_column)
{
  for (long i = 0; i < n; i++)
    for (long j = 0; j < n; j++) B(i, j) = A(i, j);
  long *exchanged = malloc(sizeof *exchanged * (size_t)(n + 1));
  for (long c = 0; c < n; c++) {
    if (!exchanged) {
      for (long j = 0; j < n; j++) B(c, j) = NAN;
      continue;
    }
    long best = exchanged[c] = pivot_row(n, b, b_row, b_column, c, c);
    swap_rows(n, b, b_row, b_column, c, best);
    double pivot = B(c, c);
    B(c, c) = 1;
    for (long j = 0; j < n; j++) B(c, j) /= pivot;
    for (long i = 0; i < n; i++) {
      if (i == c) continue;
      double factor = B(i, c);
      B(i, c) = 0;
      for (long j = 0; j < n; j++) B(i, j) -= factor * B(c, j);
    }
  }
  for (long c = n - 1; c >= 0 && exchanged; c--) swap_rows(n, b, b_column, b_row, c, exchanged[c]);
  free(exchanged);
}

double pgm_log_det(long n, const double *a, long a_row, long a_column)
{
  double *b = malloc(sizeof *b * (size_t)(n * n + 1)), log_det = b ? 0 : NAN;
  const long b_row = n, b_column = 1;
  for (long i = 0; i < n && b; i++)
    for (long j = 0; j < n; j++) B(i, j) = A(i, j);
  for (long c = 0; c < n && b; c++) {
    swap_rows(n, b, b_row, b_column, c, pivot_row(n, b, b_row, b_column, c, c));
    log_det += log(fabs(B(c, c)));
    if (B(c, c) == 0) break;
    for (long i = c + 1; i < n; i++) {
      double factor = B(i, c) / B(c, c);
      for (long j = c + 1; j < n; j++) B(i, j) -= factor * B(c, j);
    }
  }
  free(b);
  return log_det;
}
