/* Matrix products, by whichever BLAS the machine has. */
#ifndef PGM_BLAS_H
#define PGM_BLAS_H

#include <stdbool.h>

/* C (m x n, rows of ldc) = beta C + op(A) op(B), row-major; A is m x k, B is k x n after op. May be called from several threads at once; each product runs
 * on the thread that asks for it. */
void pgm_gemm(bool transpose_a, bool transpose_b, long m, long n, long k, const double *a, long lda, const double *b, long ldb, double beta, double *c,
              long ldc);
/* The same in single precision. */
void pgm_gemm_single(bool transpose_a, bool transpose_b, long m, long n, long k, const float *a, long lda, const float *b, long ldb, float beta, float *c,
                     long ldc);
/* Upper triangle of C (n x n) += that of A' A, A k x n; in single precision; otherwise as pgm_gemm. */
void pgm_syrk_single(long n, long k, const float *a, long lda, float *c, long ldc);

#endif
