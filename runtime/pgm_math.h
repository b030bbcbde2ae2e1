/* pgm_math.h - scalar mathematics of kernels: the vectorised libm, numerically safe compositions, special functions.
 *
 * Included by pgmrt.h, so by every emitted file, and by tests; needs nothing of the rest of the runtime. Three layers:
 *
 * 1. Redeclarations of libm functions that tell GCC of their vector versions (glibc's libmvec, symbols _ZGV*). glibc declares them only
 *    under -ffast-math; with the redeclarations loops vectorise under plain IEEE semantics, so NaN and infinity keep their meaning and
 *    isnan() is not optimised away. Elsewhere (other C libraries, Clang, processors without libmvec) nothing is declared and everything
 *    still compiles, scalar. Errors of libmvec: at most 4 units in the last place.
 * 2. Inline functions. Both sides of a choice are computed and one is selected, so that a loop over them has no branches and vectorises;
 *    fmax and fmin of libm are calls to GCC (their treatment of NaN is not the processor's), hence pgm_fmax and pgm_fmin.
 * 3. Special functions (special.c) with vector versions of our own. Pure: no errno, no signgam, no state.
 *
 * Everything propagates NaN. Arguments outside a function's domain give NaN, poles an infinity, as libm does. */
#ifndef PGM_MATH_H
#define PGM_MATH_H

#include <math.h>

#define PGM_PI 3.14159265358979323846
#define PGM_LN2 0.693147180559945309417232
#define PGM_LOG_SQRT_2PI 0.918938533204672741780330 /* log(2 pi) / 2 */
#define PGM_SQRT1_2 0.707106781186547524400844

/* ---- 1. the vectorised libm ---------------------------------------------------------------------------------------------------- */

#if defined(__GNUC__) && !defined(__clang__) && (defined(__x86_64__) || defined(__aarch64__))
#define PGM_SIMD __attribute__((simd("notinbranch"), const, nothrow))
#else
#define PGM_SIMD __attribute__((const))
#endif

#if defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
#if defined(__x86_64__) && defined(__LP64__)
#define PGM_LIBMVEC_1 __GLIBC_PREREQ(2, 22)
#define PGM_LIBMVEC_POW __GLIBC_PREREQ(2, 22)
#define PGM_LIBMVEC_2 __GLIBC_PREREQ(2, 35)
#define PGM_LIBMVEC_3 __GLIBC_PREREQ(2, 35)
#elif defined(__aarch64__)
#define PGM_LIBMVEC_1 __GLIBC_PREREQ(2, 38)
#define PGM_LIBMVEC_POW __GLIBC_PREREQ(2, 40)
#define PGM_LIBMVEC_2 __GLIBC_PREREQ(2, 39)
#define PGM_LIBMVEC_3 __GLIBC_PREREQ(2, 40)
#endif
#endif
#ifndef PGM_LIBMVEC_1
#define PGM_LIBMVEC_1 0
#define PGM_LIBMVEC_POW 0
#define PGM_LIBMVEC_2 0
#define PGM_LIBMVEC_3 0
#endif

#if PGM_LIBMVEC_1
extern double exp(double) PGM_SIMD;
extern double log(double) PGM_SIMD;
extern double sin(double) PGM_SIMD;
extern double cos(double) PGM_SIMD;
extern float expf(float) PGM_SIMD;
#endif
#if PGM_LIBMVEC_POW
extern double pow(double, double) PGM_SIMD;
#endif
#if PGM_LIBMVEC_2
extern double acos(double) PGM_SIMD;
extern double asin(double) PGM_SIMD;
extern double atan(double) PGM_SIMD;
extern double exp2(double) PGM_SIMD;
extern double expm1(double) PGM_SIMD;
extern double log10(double) PGM_SIMD;
extern double log1p(double) PGM_SIMD;
extern double log2(double) PGM_SIMD;
extern double tan(double) PGM_SIMD;
extern float expm1f(float) PGM_SIMD;
extern float log1pf(float) PGM_SIMD;
#endif
#if PGM_LIBMVEC_3
extern double acosh(double) PGM_SIMD;
extern double asinh(double) PGM_SIMD;
extern double atan2(double, double) PGM_SIMD;
extern double atanh(double) PGM_SIMD;
extern double cbrt(double) PGM_SIMD;
extern double cosh(double) PGM_SIMD;
extern double erf(double) PGM_SIMD;
extern double erfc(double) PGM_SIMD;
extern double hypot(double, double) PGM_SIMD;
extern double sinh(double) PGM_SIMD;
extern double tanh(double) PGM_SIMD;
extern float tanhf(float) PGM_SIMD;
#endif

/* ---- 2. inline functions ----------------------------------------------------------------------------------------------------------- */

#define PGM_INLINE static inline __attribute__((always_inline, unused, const))

PGM_INLINE double pgm_square(double x) { return x * x; }
PGM_INLINE double pgm_relu(double x) { return x < 0 ? 0 : x; }
PGM_INLINE double pgm_leaky_relu(double x, double slope) { return x < 0 ? slope * x : x; }
PGM_INLINE double pgm_sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }                 /* -1, 0, 1 */
PGM_INLINE double pgm_step(double x) { return x >= 0 ? 1 : x < 0 ? 0 : x; }                 /* 1 where x >= 0, as Stan's */
/* As C's fmax and fmin: the other argument where one is NaN. */
PGM_INLINE double pgm_fmax(double a, double b) { return a >= b || b != b ? a : b; }
PGM_INLINE double pgm_fmin(double a, double b) { return a <= b || b != b ? a : b; }

/* 1 / (1 + exp(-x)) */
PGM_INLINE double pgm_inv_logit(double x)
{
  double e = exp(-fabs(x)), r = 1 / (1 + e);
  return x < 0 ? e * r : r;
}

/* log(1 + e), 0 <= e <= 1: 2 atanh(s), s = e / (2 + e) <= 1/3, with 2 atanh(s) / s - 2 as s^2 times the polynomial that interpolates it at Chebyshev's ten
 * points on [0, 1/9] (relative error 1e-17 before rounding). In line, since around a call all vector registers have to be saved. */
PGM_INLINE double pgm_log1p_unit(double e)
{
  double s = e / (2 + e), y = s * s, p = 0.16164045611943531;
  p = p * y + 0.088007384861446741;
  p = p * y + 0.12001072809590713;
  p = p * y + 0.13314144209654935;
  p = p * y + 0.15385570064958623;
  p = p * y + 0.18181789436132859;
  p = p * y + 0.22222222717427864;
  p = p * y + 0.28571428567108759;
  p = p * y + 0.40000000000014585;
  p = p * y + 0.66666666666666663;
  return s * (2 + y * p);
}

/* log(1 + exp(x)); Stan's log1p_exp */
PGM_INLINE double pgm_softplus(double x) { return pgm_relu(x) + pgm_log1p_unit(exp(-fabs(x))); }
PGM_INLINE double pgm_log_inv_logit(double x) { return -pgm_softplus(-x); }
PGM_INLINE double pgm_log1m_inv_logit(double x) { return -pgm_softplus(x); }

/* log(u / (1 - u)), u in [0, 1] */
PGM_INLINE double pgm_logit(double u) { return log(u / (1 - u)); }

PGM_INLINE double pgm_log1m(double x) { return log1p(-x); }

/* log(1 - exp(x)), x <= 0. Maechler (2012), "Accurately computing log(1 - exp(-|a|))". */
PGM_INLINE double pgm_log1m_exp(double x)
{
  double near = log(-expm1(x)), far = log1p(-exp(x));
  return x < -PGM_LN2 ? far : near;
}

/* log(exp(x) - exp(y)), x >= y */
PGM_INLINE double pgm_log_diff_exp(double x, double y)
{
  double d = x + pgm_log1m_exp(y - x);
  return x == y ? -HUGE_VAL : y == -HUGE_VAL ? x : d;
}

/* log(exp(x) + exp(y)) */
PGM_INLINE double pgm_log_sum_exp2(double x, double y)
{
  double s = (x > y ? x : y) + pgm_log1p_unit(exp(-fabs(x - y)));
  return x == y ? x + PGM_LN2 : s;
}

/* x log y and x log(1 - y), with 0 log 0 = 0 */
PGM_INLINE double pgm_xlogy(double x, double y) { return x * log(x == 0 && y == 0 ? 1 : y); }
PGM_INLINE double pgm_xlog1my(double x, double y) { return x * log1p(x == 0 && y == 1 ? 0 : -y); }

/* The standard normal distribution function; relative accuracy in the lower tail. */
PGM_INLINE double pgm_Phi(double x) { return 0.5 * erfc(-PGM_SQRT1_2 * x); }

/* x Phi(x). Hendrycks & Gimpel (2016), arXiv 1606.08415 (the exact form). */
PGM_INLINE double pgm_gelu(double x) { return x * pgm_Phi(x); }

/* ---- 3. special functions: special.c ---------------------------------------------------------------------------------------------------- */

PGM_SIMD double pgm_lgamma(double x);            /* log |Gamma(x)|; relative accuracy also near the zeros 1 and 2 */
PGM_SIMD double pgm_digamma(double x);
PGM_SIMD double pgm_trigamma(double x);
PGM_SIMD double pgm_tetragamma(double x);        /* the derivative of trigamma */
PGM_SIMD double pgm_lbeta(double a, double b);   /* log B(a, b), a, b > 0; no cancellation for large arguments */
PGM_SIMD double pgm_lchoose(double n, double k); /* log (n choose k), real n >= k >= 0 */
PGM_SIMD double pgm_std_normal_lcdf(double x);   /* log Phi(x), accurate in both tails */
PGM_SIMD double pgm_normal_hazard(double x);     /* phi(x) / Phi(x), the derivative of log Phi(x) */
PGM_SIMD double pgm_inv_Phi(double p);           /* the inverse of Phi; no cancellation in the lower tail */
PGM_SIMD double pgm_log_bessel_i0(double x);     /* log I_0(x), I_n the modified Bessel function of the first kind */
PGM_SIMD double pgm_bessel_i1_over_i0(double x); /* I_1(x) / I_0(x): the derivative of log I_0 */

/* Regularised incomplete gamma functions P(a, x), Q = 1 - P (a > 0, x >= 0), and incomplete beta function I_x(a, b) with its complement
 * (a, b > 0, 0 <= x <= 1). Not vectorised: for inversion and tests of draws, not for kernels. */
double pgm_gamma_p(double a, double x);
double pgm_gamma_q(double a, double x);
double pgm_beta_i(double a, double b, double x, double *complement);

/* Logarithms of distribution functions for kernels (cdf.c): lcdf of P(X <= x), lccdf of P(X > x), and their derivatives in the first (_d1) and second
 * (_d2) parameter. Gamma with shape a and rate 1, beta, Student's t with nu degrees of freedom, skew normal with shape alpha; the lccdf of the latter two
 * are the lcdf of (-t, nu) and (-z, -alpha). Not vectorised. */
double pgm_gamma_lcdf(double a, double x);
double pgm_gamma_lccdf(double a, double x);
double pgm_gamma_lcdf_d1(double a, double x);
double pgm_gamma_lccdf_d1(double a, double x);
double pgm_beta_lcdf(double x, double a, double b);
double pgm_beta_lccdf(double x, double a, double b);
double pgm_beta_lcdf_d1(double x, double a, double b);
double pgm_beta_lcdf_d2(double x, double a, double b);
double pgm_beta_lccdf_d1(double x, double a, double b);
double pgm_beta_lccdf_d2(double x, double a, double b);
double pgm_student_t_lcdf(double t, double nu);
double pgm_student_t_lcdf_d1(double t, double nu);
double pgm_skew_normal_lcdf(double z, double alpha);
double pgm_skew_normal_lcdf_d1(double z, double alpha);

#endif
