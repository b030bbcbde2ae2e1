/* Many random numbers at once: see philox.h.
 *
 * In: a key and a range of places. Out: words or normals. Both are made in vector registers, whatever the compiler makes of loops: the generator
 * multiplies the low halves of 64-bit lanes (vpmuludq; what the upper halves hold is never looked at, so nothing is masked before the end), several
 * registers at a time because one is a chain of dependent steps. Logarithm, sine and cosine are written out, without branches, because what they
 * are needed for is less than what libm's do: the argument of the logarithm is in (0, 1), the angle comes as a fraction of a turn, whose upper bits are
 * the quadrant, and sine and cosine share the work. Their bits are moved as integers, which vectorises on processors without 64-bit conversions too.
 * The errors are below 3 units in the last place. */
#include "philox.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/* ---- words --------------------------------------------------------------------------------------------------------------------------- */

enum {
#if defined __AVX512F__
  LANES = 8,
#elif defined __AVX2__
  LANES = 4,
#else
  LANES = 2,
#endif
  SIDE = 4, /* registers of counters side by side */
  STEP = LANES * SIDE
};
_Static_assert(PGM_PHILOX_BLOCK % STEP == 0, "blocks are whole steps");

typedef uint64_t Lanes __attribute__((vector_size(8 * LANES)));

/* Products of the lower halves. */
INLINE Lanes multiply(Lanes a, Lanes b)
{
#if defined __AVX512F__
  return (Lanes)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined __AVX2__
  return (Lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined __SSE2__
  return (Lanes)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

INLINE Lanes all(uint64_t v)
{
  return (Lanes){0} + v;
}

INLINE void make_words(PgmKey key, uint64_t place, long n, uint64_t *restrict first, uint64_t *restrict second)
{
  const Lanes even = all(0xD2511F53u), odd = all(0xCD9E8D57u), low = all(0xffffffffu);
  Lanes key0[10], key1[10], lane;
  for (int round = 0; round < 10; round++) {
    key0[round] = all((uint32_t)key.seed + (uint32_t)round * 0x9E3779B9u);
    key1[round] = all((uint32_t)(key.seed >> 32) + (uint32_t)round * 0xBB67AE85u);
  }
  for (int i = 0; i < LANES; i++) lane[i] = (uint64_t)i;
  for (long at = 0; at < n; at += STEP) {
    Lanes c0[SIDE], c1[SIDE], c2[SIDE], c3[SIDE];
    for (int k = 0; k < SIDE; k++) {
      c0[k] = lane + (place + (uint64_t)(at + k * LANES));
      c1[k] = c0[k] >> 32;
      c2[k] = all(key.iteration);
      c3[k] = all(key.stream);
    }
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++)
#pragma GCC unroll 4
      for (int k = 0; k < SIDE; k++) {
        const Lanes a = multiply(c0[k], even), b = multiply(c2[k], odd);
        c0[k] = (b >> 32) ^ c1[k] ^ key0[round];
        c2[k] = (a >> 32) ^ c3[k] ^ key1[round];
        c1[k] = b;
        c3[k] = a;
      }
    for (int k = 0; k < SIDE; k++) {
      const Lanes a = c0[k] << 32 | (c1[k] & low), b = c2[k] << 32 | (c3[k] & low);
      memcpy(first + at + k * LANES, &a, sizeof a);
      memcpy(second + at + k * LANES, &b, sizeof b);
    }
  }
}

void pgm_philox_words(PgmKey key, uint64_t place, long n, uint64_t *restrict first, uint64_t *restrict second)
{
  make_words(key, place, n, first, second);
}

/* ---- normals ------------------------------------------------------------------------------------------------------------------------- */

INLINE double from_bits(uint64_t bits)
{
  double d;
  memcpy(&d, &bits, sizeof d);
  return d;
}
INLINE uint64_t to_bits(double d)
{
  uint64_t bits;
  memcpy(&bits, &d, sizeof bits);
  return bits;
}

static const uint64_t ONE = 0x3ff0000000000000u;

/* sqrt(-2 log u), u = (the upper 52 bits of w + 1/2) / 2^52. With u = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), s = f / (2 + f): log (1 + f) =
 * f - s (f - R(s^2)), R the polynomial of fdlibm's e_log.c (Sun Microsystems 1993). */
INLINE double radius(uint64_t w)
{
  const uint64_t bits = to_bits(from_bits(w >> 12 | ONE) - (1 - 0x1p-53)), k = (bits + (ONE - 0x3fe6a09e667f3bcdu)) >> 52;
  const double f = from_bits(bits - (k << 52) + ONE) - 1, s = f / (2 + f), z = s * s;
  double r = 1.479819860511658591e-01;
  r = r * z + 1.531383769920937332e-01;
  r = r * z + 1.818357216161805012e-01;
  r = r * z + 2.222219843214978396e-01;
  r = r * z + 2.857142874366239149e-01;
  r = r * z + 3.999999999940941908e-01;
  r = r * z + 6.666666666666735130e-01;
  const double exponent = from_bits(k | 0x4330000000000000u) - (0x1p52 + 1023);
  return sqrt(-2 * (exponent * 0.693147180559945309417232 + (f - s * (f - r * z))));
}

/* Cosine and sine of 2 pi w / 2^64: to the nearest quarter of a turn, and the polynomials of Cephes' sin.c (Moshier 1989) for the remainder, of which 52
 * bits are used. */
INLINE void turn(uint64_t w, double *restrict c, double *restrict s)
{
  const uint64_t eighth = w + (1ull << 61), quarter = eighth >> 62;
  const double y = (from_bits(eighth << 2 >> 12 | ONE) - (1.5 - 0x1p-53)) * 1.57079632679489661923, z = y * y;
  double p = 1.58962301576546568060e-10;
  p = p * z - 2.50507477628578072866e-8;
  p = p * z + 2.75573136213857245213e-6;
  p = p * z - 1.98412698295895385996e-4;
  p = p * z + 8.33333333332211858878e-3;
  p = p * z - 1.66666666666666307295e-1;
  double q = -1.13585365213876817300e-11;
  q = q * z + 2.08757008419747316778e-9;
  q = q * z - 2.75573141792967388112e-7;
  q = q * z + 2.48015872888517045348e-5;
  q = q * z - 1.38888888888730564116e-3;
  q = q * z + 4.16666666666665929218e-2;
  const uint64_t sine = to_bits(y + y * (z * p)), cosine = to_bits(1 - 0.5 * z + z * z * q), swap = (sine ^ cosine) & -(quarter & 1);
  *c = from_bits(cosine ^ swap ^ ((quarter + 1) & 2) << 62);
  *s = from_bits(sine ^ swap ^ (quarter & 2) << 62);
}

/* The normals of n counters, in pairs. Loops of one length, so that every number is made by vector code and its bits do not depend on where a range begins
 * or ends. */
static void make_normals(PgmKey key, uint64_t place, long n, double *restrict out)
{
  uint64_t first[PGM_PHILOX_BLOCK], second[PGM_PHILOX_BLOCK];
  make_words(key, place, n, first, second);
  const long whole = (n + STEP - 1) / STEP * STEP;
#pragma omp simd
  for (long i = 0; i < whole; i++) {
    double c, s;
    const double r = radius(first[i]);
    turn(second[i], &c, &s);
    out[2 * i] = r * c;
    out[2 * i + 1] = r * s;
  }
}

void pgm_philox_normals(PgmKey key, uint64_t first, long n, double *restrict out)
{
  double some[2 * PGM_PHILOX_BLOCK];
  uint64_t at = first, end = first + (uint64_t)n;
  while (at < end) {
    const uint64_t pair = at / 2, left = (end + 1) / 2 - pair;
    const long m = left < PGM_PHILOX_BLOCK ? (long)left : PGM_PHILOX_BLOCK;
    if (!(at & 1) && m % STEP == 0 && pair + (uint64_t)m <= end / 2) { /* whole steps need no detour */
      make_normals(key, pair, m, out + (at - first));
      at += 2 * (uint64_t)m;
      continue;
    }
    make_normals(key, pair, m, some);
    const uint64_t to = 2 * (pair + (uint64_t)m) < end ? 2 * (pair + (uint64_t)m) : end;
    memcpy(out + (at - first), some + (at & 1), (size_t)(to - at) * sizeof *out);
    at = to;
  }
}

/* ---- noise: normals of single precision ---------------------------------------------------------------------------------------------- */

INLINE float from_bits_single(uint32_t bits)
{
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}
INLINE uint32_t to_bits_single(float f)
{
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

static const uint32_t ONE_SINGLE = 0x3f800000u;

/* sqrt(-2 log u), u = (the upper 31 bits of w + 1/2) / 2^31; the polynomial for log (1 + f) is that of Cephes' logf.c. */
INLINE float radius_single(uint32_t w)
{
  const uint32_t bits = to_bits_single((float)(int32_t)(w >> 1) * 0x1p-31f + 0x1p-32f), k = (bits + (ONE_SINGLE - 0x3f3504f3u)) >> 23;
  const float f = from_bits_single(bits - (k << 23) + ONE_SINGLE) - 1, z = f * f, exponent = (float)((int32_t)k - 127);
  float r = 7.0376836292e-2f;
  r = r * f - 1.1514610310e-1f;
  r = r * f + 1.1676998740e-1f;
  r = r * f - 1.2420140846e-1f;
  r = r * f + 1.4249322787e-1f;
  r = r * f - 1.6668057665e-1f;
  r = r * f + 2.0000714765e-1f;
  r = r * f - 2.4999993993e-1f;
  r = r * f + 3.3333331174e-1f;
  const float log_u = f + (r * f * z - 0.5f * z - 2.12194440e-4f * exponent) + 0.693359375f * exponent;
  return sqrtf(-2 * log_u);
}

/* As turn(), with the polynomials of Cephes' sinf.c. */
INLINE void turn_single(uint32_t w, float *restrict c, float *restrict s)
{
  const uint32_t eighth = w + (1u << 29), quarter = eighth >> 30;
  const float y = (float)(int32_t)((eighth << 2) ^ 0x80000000u) * (1.57079632679489661923f * 0x1p-32f), z = y * y;
  const float p = (-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f;
  const float q = (2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f;
  const uint32_t sine = to_bits_single(y + y * (z * p)), cosine = to_bits_single(1 - 0.5f * z + z * z * q), swap = (sine ^ cosine) & -(quarter & 1);
  *c = from_bits_single(cosine ^ swap ^ ((quarter + 1) & 2) << 30);
  *s = from_bits_single(sine ^ swap ^ (quarter & 2) << 30);
}

/* The noise of n counters, four numbers of each. */
static void make_noise(PgmKey key, uint64_t place, long n, double *restrict out)
{
  uint64_t first[PGM_PHILOX_BLOCK], second[PGM_PHILOX_BLOCK];
  uint32_t radii[2 * PGM_PHILOX_BLOCK], turns[2 * PGM_PHILOX_BLOCK];
  float pairs[4 * PGM_PHILOX_BLOCK];
  make_words(key, place, n, first, second);
  const long whole = (n + STEP - 1) / STEP * STEP;
  memcpy(radii, first, (size_t)whole * sizeof *first);
  memcpy(turns, second, (size_t)whole * sizeof *second);
#pragma omp simd
  for (long i = 0; i < 2 * whole; i++) {
    float c, s;
    const float r = radius_single(radii[i]);
    turn_single(turns[i], &c, &s);
    pairs[2 * i] = r * c;
    pairs[2 * i + 1] = r * s;
  }
  for (long i = 0; i < 4 * n; i++) out[i] = pairs[i];
}

void pgm_philox_noise(PgmKey key, uint64_t first, long n, double *restrict out)
{
  double some[4 * PGM_PHILOX_BLOCK];
  uint64_t at = first, end = first + (uint64_t)n;
  while (at < end) {
    const uint64_t counter = at / 4, left = (end + 3) / 4 - counter;
    const long m = left < PGM_PHILOX_BLOCK ? (long)left : PGM_PHILOX_BLOCK;
    const bool whole = at % 4 == 0 && 4 * (counter + (uint64_t)m) <= end; /* needs no detour */
    const uint64_t to = whole || 4 * (counter + (uint64_t)m) < end ? 4 * (counter + (uint64_t)m) : end;
    make_noise(key, counter, m, whole ? out + (at - first) : some);
    if (!whole) memcpy(out + (at - first), some + at % 4, (size_t)(to - at) * sizeof *out);
    at = to;
  }
}
