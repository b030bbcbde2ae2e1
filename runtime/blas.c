/* Matrix products: see blas.h. OpenBLAS is loaded when the first product is asked for: it takes five times as long as all else that a program has to load, and
 * most models have no matrices. Without it (or where another BLAS stands in its place) there is a plain loop.
 *
 * Products run inside the runtime's own threads, so OpenBLAS must start none (one team inside the other is slower by a factor of ten), and must bear being
 * called from several threads at once. Its serial build does not, it keeps one buffer for all: there, one product at a time. */
#define _GNU_SOURCE
#include "blas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* cblas.h of the reference implementation (netlib.org/blas) */
enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112, UPPER = 121 };
typedef void (*Gemm)(int order, int transpose_a, int transpose_b, int m, int n, int k, double alpha, const double *a, int lda, const double *b, int ldb,
                     double beta, double *c, int ldc);
typedef void (*GemmSingle)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb,
                           float beta, float *c, int ldc);
typedef void (*SyrkSingle)(int order, int triangle, int transpose, int n, int k, float alpha, const float *a, int lda, float beta, float *c, int ldc);

static Gemm gemm;
static GemmSingle gemm_single;
static SyrkSingle syrk_single;
static bool serial;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* OpenBLAS 0.3.21 (Debian 12) knows no AMD processor with AVX-512 and takes kernels of half the speed; Intel's of 2017 fit. */
static bool wants_a_core_type(void)
{
#ifdef __x86_64__
  return __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

/* Sets a variable for the time that OpenBLAS is loaded, unless the user has set it. */
static bool suggest(const char *name, const char *value, bool suggested)
{
  return suggested && !getenv(name) && !setenv(name, value, 0);
}

static void find(void)
{
  const bool threads = suggest("OPENBLAS_NUM_THREADS", "1", true), core = suggest("OPENBLAS_CORETYPE", "SKYLAKEX", wants_a_core_type());
  void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  if (threads) unsetenv("OPENBLAS_NUM_THREADS");
  if (core) unsetenv("OPENBLAS_CORETYPE");
  if (!library) return;
  Gemm found;
  GemmSingle found_single;
  SyrkSingle found_syrk;
  void (*set_threads)(int);
  int (*parallel)(void);
  *(void **)&found = dlsym(library, "cblas_dgemm");
  *(void **)&found_single = dlsym(library, "cblas_sgemm");
  *(void **)&found_syrk = dlsym(library, "cblas_ssyrk");
  *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
  *(void **)&parallel = dlsym(library, "openblas_get_parallel");
  if (!found || !found_single || !found_syrk || !set_threads || !parallel) return; /* of that name, but another library */
  set_threads(1);                                  /* it may have been in the process before */
  serial = parallel() == 0;
  gemm = found;
  gemm_single = found_single;
  syrk_single = found_syrk;
}

// clang-format off
#define DEFINE_PRODUCT(name, REAL, library_product)                                                                                        \
  /* C += op(A) op(B) */                                                                                                                   \
  static void name##_plain(bool transpose_a, bool transpose_b, long m, long n, long k, const REAL *a, long lda, const REAL *b, long ldb,   \
                           REAL *c, long ldc)                                                                                              \
  {                                                                                                                                        \
    for (long i = 0; i < m; i++)                                                                                                           \
      for (long l = 0; l < k; l++) {                                                                                                       \
        const REAL factor = transpose_a ? a[l * lda + i] : a[i * lda + l];                                                                 \
        for (long j = 0; j < n; j++) c[i * ldc + j] += factor * (transpose_b ? b[j * ldb + l] : b[l * ldb + j]);                           \
      }                                                                                                                                    \
  }                                                                                                                                        \
                                                                                                                                           \
  void name(bool transpose_a, bool transpose_b, long m, long n, long k, const REAL *a, long lda, const REAL *b, long ldb, REAL beta,       \
            REAL *c, long ldc)                                                                                                             \
  {                                                                                                                                        \
    if (m <= 0 || n <= 0) return;                                                                                                          \
    pthread_once(&once, find);                                                                                                             \
    if (k > 0 && library_product) {                                                                                                        \
      if (serial) pthread_mutex_lock(&one_at_a_time);                                                                                      \
      library_product(ROW_MAJOR, transpose_a ? TRANSPOSED : PLAIN, transpose_b ? TRANSPOSED : PLAIN, (int)m, (int)n, (int)k, 1, a,         \
                      (int)lda, b, (int)ldb, beta, c, (int)ldc);                                                                           \
      if (serial) pthread_mutex_unlock(&one_at_a_time);                                                                                    \
      return;                                                                                                                              \
    }                                                                                                                                      \
    for (long i = 0; i < m && beta != 1; i++) {                                                                                            \
      if (beta == 0) memset(c + i * ldc, 0, sizeof *c * (size_t)n);                                                                        \
      for (long j = 0; j < n && beta != 0; j++) c[i * ldc + j] *= beta;                                                                    \
    }                                                                                                                                      \
    name##_plain(transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc);                                                               \
  }

DEFINE_PRODUCT(pgm_gemm, double, gemm)
DEFINE_PRODUCT(pgm_gemm_single, float, gemm_single)
// clang-format on

void pgm_syrk_single(long n, long k, const float *a, long lda, float *c, long ldc)
{
  if (n <= 0 || k <= 0) return;
  pthread_once(&once, find);
  if (syrk_single) {
    if (serial) pthread_mutex_lock(&one_at_a_time);
    syrk_single(ROW_MAJOR, UPPER, TRANSPOSED, (int)n, (int)k, 1, a, (int)lda, 1, c, (int)ldc);
    if (serial) pthread_mutex_unlock(&one_at_a_time);
    return;
  }
  for (long l = 0; l < k; l++)
    for (long i = 0; i < n; i++)
      for (long j = i; j < n; j++) c[i * ldc + j] += a[l * lda + i] * a[l * lda + j];
}
