/* Special functions of kernels: log Gamma and its derivatives, log beta, log Phi, Bessel functions of von Mises, incomplete gamma and beta.
 *
 * In: scalars. Out: a scalar, NaN outside the domain. Pure functions without errno or signgam (libm's lgamma writes the global signgam),
 * so safe in threads. The declarations in pgm_math.h ask GCC for vector versions (simd clones): those functions are straight-line code
 * in which both sides of a choice are computed and one is selected.
 *
 * Sources: DLMF 5.5 (recurrence, reflection), 5.11 (asymptotic series), 7.12, 8.7-8.11, 8.17, 10.25, 10.40. The polynomials are
 * interpolants at Chebyshev nodes, computed with 60 digits (mpmath) and turned into powers of t in [-1, 1]; the comment of each table
 * tells the function, the map to t and the largest error. Coefficients fall geometrically, so Horner's rule loses nothing.
 * Accuracy (tests/unit/test_math.c): a few units in the last place, absolute where the function is near a zero other than 1 and 2 of
 * log Gamma and the positive zero of psi. */
#include "pgm_math.h"

#include <float.h>

static const double LGAMMA[] = {  /* log Gamma(x) / ((x - 1) (x - 2)) on [1, 2], t = 2 x - 3; error 8e-19 */
  0.4831289505409808899, -0.0729799479571530413, 0.01572785026864109801, -0.003913560937626330992, 0.001049818664454635018,
  -0.0002945507015164311811, 0.00008510090373634476005, -0.00002509432870090063412, 7.511391846837953273e-6,
  -2.274247235802758628e-6, 6.948428393704061859e-7, -2.138638060528023253e-7, 6.623870571642316304e-8, -2.061985126373166694e-8,
  6.430366506216791786e-9, -2.018474127913334445e-9, 6.565503158210799895e-10, -2.075322954216365965e-10,
  5.030067090605481684e-11, -1.593604253729872288e-11, 1.157761391064968762e-11, -3.700571132904742628e-12};

static const double DIGAMMA[] = {  /* psi(x) / (x - x0) on [1, 2], t = 2 x - 3; error 3e-18 */
  0.9510558760318328797, -0.2118137106407302999, 0.06013562106019674576, -0.01855061538173511437, 0.005936795278305648853,
  -0.001935066664859009751, 0.0006368880303257200437, -0.0002107484114045863677, 0.00006995018873950506182,
  -0.00002325824239445257067, 7.741232223504056622e-6, -2.578094363053080202e-6, 8.589127353033379739e-7,
  -2.863152758469340231e-7, 9.542050972688906937e-8, -3.163020268955333838e-8, 1.054268762402799433e-8, -3.707507264712238786e-9,
  1.235807243398483213e-9, -2.761963533031771288e-10, 9.20643449917799156e-11, -8.498137230186096137e-11,
  2.832706668021758795e-11};

static const double ERFCX[] = {  /* log(exp(z^2) erfc(z) / s) for z >= 0, s = 2.5 / (2.5 + z), t = 2 s - 1; error 1e-18 */
  -0.8636680921673190501, 0.7634037549319551559, 0.1392529069645461998, -0.01798380987800479678, -0.02378798432210036963,
  -0.001946331587585837937, 0.004720977023990309632, 0.0011575351852866245, -0.00104796232369231665, -0.0003951967645509798791,
  0.0002545211542028895794, 0.0001172961001370486783, -0.00006631464354042104638, -0.00003182159003135607909,
  0.00001792145652010088502, 7.854842838367082527e-6, -4.776396397302982242e-6, -1.727590463636128506e-6,
  1.178500351605477742e-6, 3.334496430469130198e-7, -2.49186149314829277e-7, -5.85478411897009746e-8, 4.063614458265862412e-8,
  1.05141728313073833e-8, -4.294102822417329941e-9, -1.871881535163179633e-9, 1.981183331352428119e-10, 2.057538341257824225e-10};

static const double LOG_I0[] = {  /* log(sqrt(2 pi x) exp(-x) I0(x)) for x >= 8, t = 16 / x - 1; error 1e-18 */
  0.008074324696334909697, 0.008355913149441145738, 0.0003037865993370725597, 0.00002507117285580979871, 3.423098831994925479e-6,
  7.018665774186308817e-7, 2.131957401350239637e-7, 9.566185896687308324e-8, 5.26649145880268611e-8, 1.832412881915346504e-8,
  -1.683982815525599588e-8, -3.331041033933508881e-8, -1.364644701829056054e-8, 1.923410261105501185e-8, 1.975318960960267065e-8,
  -9.601181834275531707e-9, -1.759173163594991332e-8, 4.972132732731356853e-9, 1.293274850350762721e-8, -2.546735757078972879e-9,
  -7.637857624451071647e-9, 1.073862974773396527e-9, 3.297240407479626176e-9, -3.001592812668738456e-10,
  -9.017418012739125088e-10, 3.972905920608454541e-11, 1.154713408648570628e-10};

static const double RATIO[] = {  /* I1(x) / I0(x) for x >= 8, t = 16 / x - 1; error 3e-18 */
  0.9682277554281599266, -0.03233246246859722865, -0.0006028920665840792983, -0.00004823078945057916639,
  -6.631727679193045135e-6, -1.374389605784127353e-6, -4.21080988732262675e-7, -1.89986171850943981e-7, -1.048394751856775668e-7,
  -3.641788250875642016e-8, 3.37575169184193657e-8, 6.657540127663219356e-8, 2.719742046723514196e-8, -3.850858633696304972e-8,
  -3.946299930187014678e-8, 1.924636522577619859e-8, 3.516559410363401145e-8, -9.974938785394715589e-9, -2.585720080191430681e-8,
  5.110396379565135349e-9, 1.527154974667833278e-8, -2.154683276546571508e-9, -6.592695116066831579e-9, 6.021623157861907018e-10,
  1.80297499276871715e-9, -7.968954530177249654e-11, -2.308744442257937495e-10};

#define POLYNOMIAL(table, t) polynomial(table, (int)(sizeof(table) / sizeof *(table)), t)

/* Horner's rule; the table and its length are constants, so the loop disappears. */
PGM_INLINE double polynomial(const double *c, int n, double t)
{
  double y = c[n - 1];
#pragma GCC unroll 64
  for (int i = n - 2; i >= 0; i--) y = y * t + c[i];
  return y;
}

/* a - the nearest integer, for a >= 0; adding and subtracting 3 * 2^51 rounds. From 2^51 on every double counts as an integer. */
PGM_INLINE double fraction(double a)
{
  const double magic = 6755399441055744.0;
  double f = a - ((a + magic) - magic);
  return a < 2251799813685248.0 ? f : 0 * a;
}

/* sin(pi f) / f and cos(pi f) for |f| <= 1/2: Taylor series, truncated below 1e-17. */
PGM_INLINE double sin_pi_over(double f)
{
  static const double c[] = {
    3.141592653589793238, -5.167712780049970029, 2.550164039877345444, -0.5992645293207920769, 0.0821458866111282288,
    -0.007370430945714350777, 0.0004663028057676125644, -0.00002191535344783021583, 7.952054001475512785e-7,
    -2.294842899726987311e-8, 5.392664662608128489e-10, -1.051847171693206446e-11};
  return POLYNOMIAL(c, f * f);
}
PGM_INLINE double cos_pi(double f)
{
  static const double c[] = {
    1.0, -4.934802200544679309, 4.058712126416768218, -1.335262768854589496, 0.2353306303588932045, -0.02580689139001406001,
    0.001929574309403923048, -0.0001046381049248457071, 4.303069587032947007e-6, -1.387895246221377211e-7, 3.604730797462500934e-9,
    -7.70070713060135338e-11, 1.37686472803774137e-12};
  return POLYNOMIAL(c, f * f);
}

/* log Gamma(x) - ((x - 1/2) log x - x + log(2 pi) / 2) for x >= 8; DLMF 5.11.1 */
PGM_INLINE double stirling_correction(double x)
{
  static const double c[] = {1.0 / 12, -1.0 / 360, 1.0 / 1260, -1.0 / 1680, 1.0 / 1188, -691.0 / 360360, 1.0 / 156, -3617.0 / 122400,
    43867.0 / 244188};
  double r = 1 / x;
  return r * POLYNOMIAL(c, r * r);
}

/* log Gamma(x) for x >= 0. Below 8 the recurrence leads to y in [1, 2] with y - 1 and y - 2 exact: log Gamma(y) + log p for y = x - k and
 * p = y (y + 1) ... (x - 1), or log Gamma(x + 1) - log x below 1. Conditions are repeated rather than named: as GCC 12 sees them, a
 * boolean with two uses is not vectorisable. */
PGM_INLINE double lgamma_positive(double x)
{
  double y1 = x, p = x < 1 ? x : 1, offset = x < 1 ? 0 : 1;
#pragma GCC unroll 8
  for (int k = 0; k < 6; k++) {
    double next = y1 - 1;
    p = y1 >= 2 ? p * next : p;
    y1 = y1 >= 2 ? next : y1;
  }
  y1 -= offset;
  double log_p = log(x < 8 ? p : x);
  double small = y1 * (y1 - 1) * POLYNOMIAL(LGAMMA, 2 * y1 - 1) + (2 * offset - 1) * log_p;
  double stirling = (x - 0.5) * (log_p - 1) + (PGM_LOG_SQRT_2PI - 0.5) + stirling_correction(x < 8 ? 8 : x);
  return x < 8 ? small : stirling;
}

/* Reflection for x < 0: log |Gamma(-a)| = log(pi / (a |sin(pi a)|)) - log Gamma(a) */
double pgm_lgamma(double x)
{
  double a = fabs(x), f = fraction(a);
  double positive = lgamma_positive(a);
  double reflection = log(x < 0 ? PGM_PI / (a * fabs(f * sin_pi_over(f))) : 1);
  return (x < 0 ? -positive : positive) + reflection;
}

/* Below 8: psi(x) = psi(y) + the sum of 1 / (y + k), gathered as one fraction; above: DLMF 5.11.2. For x < 0, with a = -x:
 * psi(x) = psi(a) + 1 / a + pi cot(pi a). */
double pgm_digamma(double x)
{
  static const double c[] = {-1.0 / 12, 1.0 / 120, -1.0 / 252, 1.0 / 240, -1.0 / 132, 691.0 / 32760, -1.0 / 12, 3617.0 / 8160,
    -43867.0 / 14364, 174611.0 / 6600};
  const double root = 1.4616321449683622, root_low = 9.5499954299656977e-17;
  double a = fabs(x), y1 = a, numerator = a < 1 ? -1 : 0, denominator = a < 1 ? a : 1, offset = a < 1 ? 0 : 1;
#pragma GCC unroll 8
  for (int k = 0; k < 6; k++) {
    double next = y1 - 1;
    numerator = y1 >= 2 ? numerator * next + denominator : numerator;
    denominator = y1 >= 2 ? denominator * next : denominator;
    y1 = y1 >= 2 ? next : y1;
  }
  y1 -= offset;
  double small = ((y1 - (root - 1)) - root_low) * POLYNOMIAL(DIGAMMA, 2 * y1 - 1) + numerator / denominator;
  double b = a < 8 ? 8 : a, r = 1 / b;
  double asymptotic = log(b) - 0.5 * r + r * r * POLYNOMIAL(c, r * r);
  double positive = a < 8 ? small : asymptotic;
  double f = fraction(a);
  double reflected = positive + 1 / a + PGM_PI * cos_pi(f) / (f * sin_pi_over(f));
  return x < 0 ? reflected : positive;
}

/* Below 8: psi'(x) = psi'(x + 8) + the sum of 1 / (x + k)^2; above: DLMF 5.15.8. For x < 0, with a = -x:
 * psi'(x) = (pi / sin(pi a))^2 - psi'(a) + 1 / a^2. */
double pgm_trigamma(double x)
{
  static const double c[] = {1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66, -691.0 / 2730, 7.0 / 6, -3617.0 / 510, 43867.0 / 798,
    -174611.0 / 330};
  double a = fabs(x), numerator = 1, denominator = a * a;
#pragma GCC unroll 8
  for (int k = 1; k < 8; k++) {
    double s = (a + k) * (a + k);
    numerator = numerator * s + denominator;
    denominator *= s;
  }
  double r = 1 / (a < 8 ? a + 8 : a), r2 = r * r;
  double asymptotic = r + 0.5 * r2 + r * r2 * POLYNOMIAL(c, r2);
  double positive = asymptotic + (a < 8 ? numerator / denominator : 0);
  double f = fraction(a), sine = f * sin_pi_over(f) / PGM_PI;
  double reflected = 1 / (sine * sine) - positive + 1 / (a * a);
  return x < 0 ? reflected : positive;
}

/* log Gamma(x) less its Stirling formula, for every x > 0 */
PGM_INLINE double gamma_correction(double x)
{
  double b = x < 8 ? x : 8;
  double small = lgamma_positive(b) - ((b - 0.5) * log(b) - b + PGM_LOG_SQRT_2PI);
  double large = stirling_correction(x < 8 ? 8 : x);
  return x < 8 ? small : large;
}

/* The leading parts of the three log Gammas are combined before they can cancel, as in Didonato & Morris (1992), TOMS 708. */
double pgm_lbeta(double a, double b)
{
  double x = a < b ? a : b, y = a < b ? b : a, s = x + y;
  double r = (x - 0.5) * log(x / s) + y * log1p(-x / s) + PGM_LOG_SQRT_2PI - 0.5 * log(y);
  return r + gamma_correction(x) + (gamma_correction(y) - gamma_correction(s));
}

double pgm_lchoose(double n, double k)
{
  double keep = k == 0 ? 0 : 1;
  keep = k == n ? 0 : keep;
  return keep * (-log1p(n) - pgm_lbeta(n - k + 1, k + 1));
}

/* log Phi(-|x|) = log(erfcx(z) / 2) - z^2 with z = |x| / sqrt 2; on the other side log(1 - Phi(-|x|)). */
double pgm_std_normal_lcdf(double x)
{
  double z = PGM_SQRT1_2 * fabs(x), s = 2.5 / (2.5 + z);
  double lower = log(0.5 * s) - 0.5 * x * x + POLYNOMIAL(ERFCX, 2 * s - 1);
  double upper = log1p(-exp(lower));
  return x > 0 ? upper : lower;
}

/* phi(x) / Phi(x): sqrt(2 / pi) / erfcx(z) for x <= 0, phi(x) / (1 - Phi(-x)) above */
double pgm_normal_hazard(double x)
{
  double z = PGM_SQRT1_2 * fabs(x), s = 2.5 / (2.5 + z);
  double scaled = 0.5 * s * exp(POLYNOMIAL(ERFCX, 2 * s - 1)), phi = exp(-0.5 * x * x);
  double lower = 0.398942280401432678 / scaled, upper = 0.398942280401432678 * phi / (1 - scaled * phi);
  return x > 0 ? upper : lower;
}

/* Phi^-1(p): from Abramowitz & Stegun (1964), 26.2.23, with an error below 5e-4, by Newton's method for log Phi(x) = log p, p <= 1/2. */
double pgm_inv_Phi(double p)
{
  double q = p < 0.5 ? p : 1 - p, log_q = log(q), t = sqrt(-2 * log_q);
  double x = (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
#pragma GCC unroll 3
  for (int i = 0; i < 3; i++) x -= (pgm_std_normal_lcdf(x) - log_q) / pgm_normal_hazard(x);
  double r = p < 0.5 ? x : -x;
  r = p == 0 ? -HUGE_VAL : r;
  return p == 1 ? HUGE_VAL : r;
}

/* psi''(x), the derivative of pgm_trigamma in the same way: psi''(x) = psi''(x + 8) - the sum of 2 / (x + k)^3 below 8. For x < 0, with a = -x:
 * psi''(x) = 2 pi^3 cos(pi a) / sin(pi a)^3 + psi''(a) + 2 / a^3. */
double pgm_tetragamma(double x)
{
  static const double c[] = {-1.0 / 2, 1.0 / 6, -1.0 / 6, 3.0 / 10, -5.0 / 6, 691.0 / 210, -35.0 / 2, 3617.0 / 30, -43867.0 / 42, 1222277.0 / 110};
  double a = fabs(x), sum = 0;
#pragma GCC unroll 8
  for (int k = 0; k < 8; k++) {
    double s = a + k;
    sum += 2 / (s * s * s);
  }
  double r = 1 / (a < 8 ? a + 8 : a), r2 = r * r;
  double asymptotic = -r2 - r2 * r + r2 * r2 * POLYNOMIAL(c, r2);
  double positive = asymptotic - (a < 8 ? sum : 0);
  double f = fraction(a), sine = f * sin_pi_over(f) / PGM_PI;
  double reflected = 2 * cos_pi(f) / (sine * sine * sine) + positive + 2 / (a * a * a);
  return x < 0 ? reflected : positive;
}

/* Power series in q = x^2 / 4, x <= 8: (I0 - 1) / q with coefficients 1 / (k + 1)!^2, and I1 / (x / 2) with 1 / (k! (k + 1)!); DLMF 10.25.2 */
static const double I0[] = {
  1.0, 0.25, 0.02777777777777777778, 0.001736111111111111111, 0.00006944444444444444444, 1.929012345679012346e-6,
  3.936759889140841522e-8, 6.151187326782564878e-10, 7.594058428126623306e-12, 7.594058428126623306e-14,
  6.276081345559192815e-16, 4.35838982330499501e-18, 2.578928889529582846e-20, 1.315780045678358595e-22, 5.8479113141260382e-25,
  2.284340357080483672e-27, 7.904291893012054228e-30, 2.439596263275325379e-32, 6.757884385804225427e-35,
  1.689471096451056357e-37, 3.83100021870987836e-40, 7.915289708078261074e-43, 1.496274046895701526e-45, 2.59769799808281515e-48,
  4.15631679693250424e-51, 6.148397628598379053e-54, 8.434015951438105697e-57};
static const double I1[] = {
  1.0, 0.5, 0.08333333333333333333, 0.006944444444444444444, 0.0003472222222222222222, 0.00001157407407407407407,
  2.755731922398589065e-7, 4.920949861426051902e-9, 6.834652585313960975e-11, 7.594058428126623306e-13, 6.903689480115112096e-15,
  5.230067787965994012e-17, 3.3526075563884577e-19, 1.842092063949702033e-21, 8.7718669711890573e-24, 3.654944571328773875e-26,
  1.343729621812049219e-28, 4.391273273895585682e-31, 1.283998033302802831e-33, 3.378942192902112713e-36,
  8.045100459290744556e-39, 1.741363735777217436e-41, 3.441430307860113511e-44, 6.23447519539875636e-47, 1.03907919923312606e-49,
  1.598583383435578554e-52, 2.277184306888288538e-55};

double pgm_log_bessel_i0(double x)
{
  double a = fabs(x), b = a < 8 ? a : 8, c = a < 8 ? 8 : a;
  double q = 0.25 * b * b;
  double small = log1p(q * POLYNOMIAL(I0, q));
  double large = a - 0.5 * log(2 * PGM_PI * c) + POLYNOMIAL(LOG_I0, 16 / c - 1);
  return a < 8 ? small : large;
}

double pgm_bessel_i1_over_i0(double x)
{
  double a = fabs(x), b = a < 8 ? a : 8, c = a < 8 ? 8 : a;
  double q = 0.25 * b * b;
  double small = 0.5 * x * POLYNOMIAL(I1, q) / (1 + q * POLYNOMIAL(I0, q));
  double large = POLYNOMIAL(RATIO, 16 / c - 1);
  return a < 8 ? small : x < 0 ? -large : large;
}

/* ---- incomplete gamma and beta: scalar, iterative ------------------------------------------------------------------------------- */

#define MAX_ITERATIONS 10000000 /* they need about 8 sqrt(a) */

/* x^a exp(-x) / Gamma(a + 1); for large a through (x - a) / a, so that nothing large cancels */
static double gamma_prefactor(double a, double x)
{
  if (a < 8) return exp(a * log(x) - x - pgm_lgamma(a + 1));
  double d = (x - a) / a;
  return exp(a * (log1p(d) - d) - stirling_correction(a)) / sqrt(2 * PGM_PI * a);
}

/* P(a, x) by its power series where x < a + 1 (DLMF 8.11.4), else Q(a, x) by the continued fraction (DLMF 8.9.2, modified Lentz).
 * Returns the one it computed and tells which. */
static double gamma_incomplete(double a, double x, int *upper)
{
  *upper = 0;
  if (!(a > 0 && x >= 0)) return NAN;
  if (x == 0) return 0;
  if (x < a + 1) {
    double term = 1, sum = 1;
    for (long n = 1; n < MAX_ITERATIONS && term > DBL_EPSILON * 0.25 * sum; n++) sum += term *= x / (a + (double)n);
    return gamma_prefactor(a, x) * sum;
  }
  *upper = 1;
  if (x == HUGE_VAL) return 0;
  double b = x + 1 - a, c = 1 / DBL_MIN, d = 1 / b, h = d;
  for (long n = 1; n < MAX_ITERATIONS; n++) {
    double an = -(double)n * ((double)n - a);
    b += 2;
    d = an * d + b;
    d = 1 / (fabs(d) < DBL_MIN ? DBL_MIN : d);
    c = b + an / c;
    c = fabs(c) < DBL_MIN ? DBL_MIN : c;
    h *= d * c;
    if (fabs(d * c - 1) < DBL_EPSILON) break;
  }
  return gamma_prefactor(a, x) * a * h;
}

double pgm_gamma_p(double a, double x)
{
  int upper;
  double r = gamma_incomplete(a, x, &upper);
  return upper ? 1 - r : r;
}

double pgm_gamma_q(double a, double x)
{
  int upper;
  double r = gamma_incomplete(a, x, &upper);
  return upper ? r : 1 - r;
}

/* The continued fraction of I_x(a, b) (DLMF 8.17.22, modified Lentz), for x below about a / (a + b) */
static double beta_fraction(double a, double b, double x)
{
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (fabs(d) < DBL_MIN ? DBL_MIN : d);
  double h = d;
  for (long m = 1; m < MAX_ITERATIONS; m++) {
    double k = (double)m, even = k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k));
    double odd = -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1));
    d = 1 + even * d;
    d = 1 / (fabs(d) < DBL_MIN ? DBL_MIN : d);
    c = 1 + even / c;
    c = fabs(c) < DBL_MIN ? DBL_MIN : c;
    h *= d * c;
    d = 1 + odd * d;
    d = 1 / (fabs(d) < DBL_MIN ? DBL_MIN : d);
    c = 1 + odd / c;
    c = fabs(c) < DBL_MIN ? DBL_MIN : c;
    h *= d * c;
    if (fabs(d * c - 1) < DBL_EPSILON) break;
  }
  return h;
}

double pgm_beta_i(double a, double b, double x, double *complement)
{
  double unused, *other = complement ? complement : &unused;
  if (!(a > 0 && b > 0 && x >= 0 && x <= 1)) return *other = NAN;
  if (x == 0 || x == 1) {
    *other = 1 - x;
    return x;
  }
  double front = exp(pgm_xlogy(a, x) + pgm_xlog1my(b, x) - pgm_lbeta(a, b));
  if (x < (a + 1) / (a + b + 2)) {
    double r = front * beta_fraction(a, b, x) / a;
    *other = 1 - r;
    return r;
  }
  double r = front * beta_fraction(b, a, 1 - x) / b;
  *other = r;
  return 1 - r;
}
