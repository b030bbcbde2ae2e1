/* Logarithms of distribution functions, with their derivatives in the parameters: incomplete gamma and beta functions, Student's t, skew normal.
 *
 * In: scalars. Out: log P(X <= x) (lcdf) and log P(X > x) (lccdf), each from the series or fraction of the smaller of the two, so that tails keep their
 * relative accuracy and do not underflow; NaN outside the domain. Derivatives in x are densities, which the compiler forms itself; those in parameters (_d1,
 * _d2) come from the same series and fractions carried as value and derivative. Pure functions; scalar and iterative, so not vectorised.
 *
 * Sources: DLMF 8.11.4, 8.9.2 (gamma), 8.17.22 (beta; modified Lentz); the leading factors through deviances as in Loader (2000), Fast and accurate
 * computation of binomial probabilities; skew normal: Azzalini (1985), its density is log-concave and is integrated from x outwards. */
#include "pgm_math.h"

#include <float.h>
#include <stdbool.h>

#define MAX_ITERATIONS 10000000 /* they need about 8 sqrt(a) */

/* log P, log Q = log(1 - P), and their derivatives in the two parameters */
typedef struct { double lower, upper, lower_d[2], upper_d[2]; } Tails;

/* Both tails from the smaller: log p of one of them and its derivatives. */
static Tails tails_from(double log_p, double d1, double d2, bool is_upper)
{
  /* d log(1 - p) = -p / (1 - p) d log p */
  double other = log_p < 0 ? pgm_log1m_exp(log_p) : -HUGE_VAL, odds = -exp(log_p - other);
  if (is_upper) return (Tails){other, log_p, {odds * d1, odds * d2}, {d1, d2}};
  return (Tails){log_p, other, {d1, d2}, {odds * d1, odds * d2}};
}

/* log(r) - u for r = 1 + u; without cancellation for small u: its series, u^2 (-1/2 + u/3 - ...) */
static double log_less(double r, double u)
{
  if (fabs(u) > 0.5) return log(r) - u;
  if (fabs(u) > 0.01) return log1p(u) - u;
  double sum = 0;
  for (int k = 9; k >= 2; k--) sum = sum * u + (k % 2 ? 1.0 : -1.0) / k;
  return sum * u * u;
}

/* log Gamma(x) less its Stirling formula (x - 1/2) log x - x + log(2 pi) / 2 */
static double stirling_rest(double x)
{
  if (x < 15) return pgm_lgamma(x) - ((x - 0.5) * log(x) - x + PGM_LOG_SQRT_2PI);
  double r = 1 / x, r2 = r * r;
  return r * (1.0 / 12 - r2 * (1.0 / 360 - r2 * (1.0 / 1260 - r2 * (1.0 / 1680 - r2 * (1.0 / 1188 - r2 * 691.0 / 360360)))));
}

/* ---- gamma ------------------------------------------------------------------------------------------------------------------------------ */

/* log(x^a exp(-x) / Gamma(a)) */
static double gamma_front(double a, double x)
{
  return a * log_less(x / a, (x - a) / a) + 0.5 * log(a) - PGM_LOG_SQRT_2PI - stirling_rest(a);
}

static Tails gamma_tails(double a, double x)
{
  if (!(a > 0 && x >= 0)) return tails_from(NAN, NAN, NAN, false);
  if (x == 0) return (Tails){.lower = -HUGE_VAL, .upper = 0};
  if (x == HUGE_VAL) return (Tails){.lower = 0, .upper = -HUGE_VAL};
  double front = gamma_front(a, x), front_d = log(x) - pgm_digamma(a);
  if (x < a + 1) {                                                          /* P = front / a * sum_n x^n / ((a + 1) ... (a + n)) */
    double term = 1, sum = 1, harmonic = 0, sum_d = 0;
    for (long n = 1; n < MAX_ITERATIONS && term > DBL_EPSILON * 0.01 * sum; n++) {
      term *= x / (a + (double)n);
      harmonic += 1 / (a + (double)n);
      sum += term, sum_d -= term * harmonic;
    }
    return tails_from(front - log(a) + log(sum), front_d - 1 / a + sum_d / sum, 0, false);
  }
  /* Q = front * the fraction 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...)) */
  double b = x + 1 - a, c = 1 / DBL_MIN, c_d = 0, d = 1 / b, d_d = d * d, h = d, h_d = d_d;
  long last = 10;                                                           /* the derivative converges a little later, to its own rounding errors */
  for (long n = 1; n < MAX_ITERATIONS; n++) {
    double k = (double)n, an = -k * (k - a), an_d = k;
    b += 2;
    double below = an * d + b, below_d = an_d * d + an * d_d - 1;
    if (fabs(below) < DBL_MIN) below = DBL_MIN;
    d = 1 / below, d_d = -below_d * d * d;
    double above = b + an / c, above_d = -1 + (an_d - an * c_d / c) / c;
    if (fabs(above) < DBL_MIN) above = DBL_MIN;
    c = above, c_d = above_d;
    double step = d * c, step_d = d_d * c + d * c_d;
    h_d = h_d * step + h * step_d;
    h *= step;
    if (fabs(step - 1) < DBL_EPSILON && (fabs(step_d) < DBL_EPSILON * (1 + fabs(h_d / h)) || n > last)) break;
    if (fabs(step - 1) >= DBL_EPSILON) last = 2 * n + 10;
  }
  return tails_from(front + log(h), front_d + h_d / h, 0, true);
}

double pgm_gamma_lcdf(double a, double x) { return gamma_tails(a, x).lower; }
double pgm_gamma_lccdf(double a, double x) { return gamma_tails(a, x).upper; }
double pgm_gamma_lcdf_d1(double a, double x) { return gamma_tails(a, x).lower_d[0]; }
double pgm_gamma_lccdf_d1(double a, double x) { return gamma_tails(a, x).upper_d[0]; }

/* ---- beta ------------------------------------------------------------------------------------------------------------------------------- */

/* log(x^a y^b / B(a, b)), y = 1 - x; through the distance of x from a / (a + b), so that nothing large cancels */
static double beta_front(double a, double b, double x, double y)
{
  double s = a + b, e = x < y ? x - a / s : b / s - y;
  return a * log_less(x * s / a, e * s / a) + b * log_less(y * s / b, -e * s / b) + 0.5 * log(a / s * b) - PGM_LOG_SQRT_2PI + stirling_rest(s) - stirling_rest(a) -
         stirling_rest(b);
}

typedef struct { double v, d[2]; } Dual;                                    /* a number and its derivatives in a and b */

static Dual dual_ratio(double n, double n1, double n2, double m, double m1, double m2)
{
  double q = n / m;
  return (Dual){q, {(n1 - q * m1) / m, (n2 - q * m2) / m}};
}
static Dual dual_mul(Dual p, Dual q) { return (Dual){p.v * q.v, {p.d[0] * q.v + p.v * q.d[0], p.d[1] * q.v + p.v * q.d[1]}}; }
static Dual dual_plus1(Dual p) { return (Dual){fabs(1 + p.v) < DBL_MIN ? DBL_MIN : 1 + p.v, {p.d[0], p.d[1]}}; }
static Dual dual_inverse(Dual p) { return (Dual){1 / p.v, {-p.d[0] / (p.v * p.v), -p.d[1] / (p.v * p.v)}}; }

/* The continued fraction of I_x(a, b) a B(a, b) / (x^a y^b), for x below about a / (a + b) */
static Dual beta_fraction(double a, double b, double x)
{
  Dual c = {1, {0, 0}};
  long last = 10;
  Dual first = dual_ratio(-(a + b) * x, -x, -x, a + 1, 1, 0), d = dual_inverse(dual_plus1(first)), h = d;
  for (long m = 1; m < MAX_ITERATIONS; m++) {
    double k = (double)m, p = a + 2 * k;
    /* k (b - k) x / ((p - 1) p) and -(a + k) (a + b + k) x / (p (p + 1)) */
    Dual even = dual_ratio(k * (b - k) * x, 0, k * x, (p - 1) * p, 2 * p - 1, 0);
    Dual odd = dual_ratio(-(a + k) * (a + b + k) * x, -(2 * a + b + 2 * k) * x, -(a + k) * x, p * (p + 1), 2 * p + 1, 0), step = {1, {0, 0}};
    for (int i = 0; i < 2; i++) {
      Dual term = i ? odd : even;
      d = dual_inverse(dual_plus1(dual_mul(term, d)));
      c = dual_plus1(dual_mul(term, dual_inverse(c)));
      step = dual_mul(d, c);
      h = dual_mul(h, step);
    }
    double small = DBL_EPSILON * (1 + fabs(h.d[0] / h.v) + fabs(h.d[1] / h.v));
    bool whole = fabs(step.v - 1) < DBL_EPSILON;
    if (whole && ((fabs(step.d[0]) < small && fabs(step.d[1]) < small) || m > last)) break;
    if (!whole) last = 2 * m + 10;
  }
  return h;
}

/* y = 1 - x, given apart so that neither is rounded. */
static Tails beta_tails(double a, double b, double x, double y)
{
  if (!(a > 0 && b > 0 && x >= 0 && y >= 0)) return tails_from(NAN, NAN, NAN, false);
  if (x == 0) return (Tails){.lower = -HUGE_VAL, .upper = 0};
  if (y == 0) return (Tails){.lower = 0, .upper = -HUGE_VAL};
  double both = pgm_digamma(a + b), front = beta_front(a, b, x, y);
  double front_a = (x < 0.5 ? log(x) : log1p(-y)) - pgm_digamma(a) + both, front_b = (y < 0.5 ? log(y) : log1p(-x)) - pgm_digamma(b) + both;
  bool is_upper = !(x < (a + 1) / (a + b + 2));
  if (is_upper) {
    Dual h = beta_fraction(b, a, y);
    return tails_from(front - log(b) + log(h.v), front_a + h.d[1] / h.v, front_b - 1 / b + h.d[0] / h.v, true);
  }
  Dual h = beta_fraction(a, b, x);
  return tails_from(front - log(a) + log(h.v), front_a - 1 / a + h.d[0] / h.v, front_b + h.d[1] / h.v, false);
}

double pgm_beta_lcdf(double x, double a, double b) { return beta_tails(a, b, x, 1 - x).lower; }
double pgm_beta_lccdf(double x, double a, double b) { return beta_tails(a, b, x, 1 - x).upper; }
double pgm_beta_lcdf_d1(double x, double a, double b) { return beta_tails(a, b, x, 1 - x).lower_d[0]; }
double pgm_beta_lcdf_d2(double x, double a, double b) { return beta_tails(a, b, x, 1 - x).lower_d[1]; }
double pgm_beta_lccdf_d1(double x, double a, double b) { return beta_tails(a, b, x, 1 - x).upper_d[0]; }
double pgm_beta_lccdf_d2(double x, double a, double b) { return beta_tails(a, b, x, 1 - x).upper_d[1]; }

/* ---- Student's t ------------------------------------------------------------------------------------------------------------------------------ */

/* P(T <= -|t|) = I_x(nu / 2, 1/2) / 2 with x = nu / (nu + t^2); the derivative in nu is that in nu / 2 and, through x, x^a y^b / B / nu. */
static Tails student_tails(double t, double nu)
{
  if (!(nu > 0) || isnan(t)) return tails_from(NAN, NAN, NAN, false);
  double q = t / sqrt(nu), w = q * q, x = 1 / (1 + w), y = fabs(q) < 1 ? w / (1 + w) : 1 / (1 + 1 / w), a = 0.5 * nu;
  if (isinf(t)) return t < 0 ? (Tails){.lower = -HUGE_VAL} : (Tails){.upper = -HUGE_VAL};
  if (y == 0) return (Tails){.lower = -PGM_LN2, .upper = -PGM_LN2};
  if (!(x > 0)) {                                                           /* t^2 / nu overflows: x^a / (a B(a, 1/2)) */
    double log_x = -2 * log(fabs(q)), p = a * log_x - log(a) - pgm_lbeta(a, 0.5) - PGM_LN2;
    return tails_from(p, 0.5 * (log_x - 1 / a - pgm_digamma(a) + pgm_digamma(a + 0.5)) + 0.5, 0, t > 0);
  }
  Tails beta = beta_tails(a, 0.5, x, y);
  double d = 0.5 * beta.lower_d[0] + exp(beta_front(a, 0.5, x, y) - beta.lower) / nu;
  return tails_from(beta.lower - PGM_LN2, d, 0, t > 0);
}

double pgm_student_t_lcdf(double t, double nu) { return student_tails(t, nu).lower; }
double pgm_student_t_lcdf_d1(double t, double nu) { return student_tails(t, nu).lower_d[0]; }

/* ---- skew normal --------------------------------------------------------------------------------------------------------------------------------- */

/* Gauss-Legendre nodes and weights on [-1, 1], 16 points: DLMF 3.5 */
static const double NODE[8] = {0.0950125098376374402, 0.281603550779258913, 0.458016777657227386, 0.617876244402643748,
                               0.755404408355003034,  0.865631202387831744, 0.944575023073232576, 0.989400934991649933};
static const double WEIGHT[8] = {0.189450610455068496, 0.182603415044923589, 0.169156519395002538, 0.149595988816576732,
                                 0.124628971255533872, 0.0951585116824927848, 0.0622535239386478929, 0.0271524594117540949};

/* log of the density 2 phi(t) Phi(alpha t) */
static double skew_log_density(double t, double alpha)
{
  return PGM_LN2 - 0.5 * t * t - PGM_LOG_SQRT_2PI + pgm_std_normal_lcdf(alpha * t);
}

/* log of the integral of the density from z outwards, away from its mode: there it falls at least geometrically. */
static double skew_log_tail(double z, double alpha, double direction)
{
  double top = skew_log_density(z, alpha), slope = alpha * pgm_normal_hazard(alpha * z) - z, reach = 1 / (1 + fabs(slope)), sum = 0;
  while (reach < 64 && skew_log_density(z + direction * reach, alpha) > top - 40) reach *= 1.25;
  double from = 0, to = ldexp(reach, -14);                                  /* finer towards z, where Phi(alpha t) may still rise */
  for (; from < reach; from = to, to *= 2)
    for (int i = 0; i < 16; i++) {
      double s = 0.5 * (from + to + (to - from) * (i < 8 ? NODE[i] : -NODE[i - 8]));
      sum += 0.5 * (to - from) * WEIGHT[i % 8] * exp(skew_log_density(z + direction * s, alpha) - top);
    }
  return top + log(sum);
}

/* The derivative in alpha of P is -exp(-z^2 (1 + alpha^2) / 2) / (pi (1 + alpha^2)): that of Owen's T, twice. */
static Tails skew_tails(double z, double alpha)
{
  if (isnan(z) || isnan(alpha)) return tails_from(NAN, NAN, NAN, false);
  if (isinf(z)) return z < 0 ? (Tails){.lower = -HUGE_VAL} : (Tails){.upper = -HUGE_VAL};
  bool is_upper = -z + alpha * pgm_normal_hazard(alpha * z) < 0;            /* right of the mode */
  double log_p = skew_log_tail(z, alpha, is_upper ? 1 : -1), scale = 1 + alpha * alpha;
  double d = exp(-0.5 * z * z * scale - log_p) / (PGM_PI * scale);
  return tails_from(log_p, is_upper ? d : -d, 0, is_upper);
}

double pgm_skew_normal_lcdf(double z, double alpha) { return skew_tails(z, alpha).lower; }
double pgm_skew_normal_lcdf_d1(double z, double alpha) { return skew_tails(z, alpha).lower_d[0]; }
