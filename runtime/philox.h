/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011), and
 * standard normals from it (Box & Muller 1958).
 *
 * A number is a function of (seed, iteration, stream, place) and of nothing else, so results do not depend on threads, blocks or
 * batches, and nothing needs storing. Everything works on arrays of 64-bit lanes in plain loops, which the compiler vectorises. */
#ifndef PGM_PHILOX_H
#define PGM_PHILOX_H

#include <math.h>
#include <stdint.h>

#ifndef M_PI
#define M_PI 3.14159265358979323846
#endif

enum { PGM_PHILOX_BLOCK = 128 };

/* Ten rounds on one counter; words are the low 32 bits of 64-bit lanes. */
static inline void pgm_philox(uint64_t c[4], uint64_t k0, uint64_t k1)
{
  const uint64_t low = 0xffffffffu;
  for (int round = 0; round < 10; round++) {
    uint64_t a = c[0] * 0xD2511F53u, b = c[2] * 0xCD9E8D57u;
    uint64_t n0 = (b >> 32) ^ c[1] ^ k0, n2 = (a >> 32) ^ c[3] ^ k1;
    c[1] = b & low;
    c[3] = a & low;
    c[0] = n0 & low;
    c[2] = n2 & low;
    k0 = (k0 + 0x9E3779B9u) & low;
    k1 = (k1 + 0xBB67AE85u) & low;
  }
}

/* What a run of numbers is keyed by. `stream` tells families and draws apart (32 bits are used). */
typedef struct {
  uint64_t seed;
  uint64_t iteration;
  uint64_t stream;
} PgmKey;

/* Two 64-bit words for the counters place .. place+n-1: counter (place low, place high, iteration, stream), key the seed. n <=
 * PGM_PHILOX_BLOCK. */
static inline void pgm_philox_words(PgmKey key, uint64_t place, long n, uint64_t *restrict first, uint64_t *restrict second)
{
  const uint64_t low = 0xffffffffu, k0 = key.seed & low, k1 = key.seed >> 32, c2 = key.iteration & low, c3 = key.stream & low;
  for (long i = 0; i < n; i++) {
    uint64_t c[4] = {(place + (uint64_t)i) & low, (place + (uint64_t)i) >> 32, c2, c3};
    pgm_philox(c, k0, k1);
    first[i] = c[0] << 32 | c[1];
    second[i] = c[2] << 32 | c[3];
  }
}

/* Standard normals number first .. first+n-1 of the key's sequence. Numbers 2j and 2j+1 are the two of one Box-Muller transform. */
static inline void pgm_philox_normals(PgmKey key, uint64_t first, long n, double *restrict out)
{
  uint64_t w1[PGM_PHILOX_BLOCK], w2[PGM_PHILOX_BLOCK];
  double r[PGM_PHILOX_BLOCK], t[PGM_PHILOX_BLOCK], c[PGM_PHILOX_BLOCK], s[PGM_PHILOX_BLOCK];
  uint64_t pair = first / 2, last = (first + (uint64_t)n - 1) / 2;
  for (long done = 0; n > 0 && pair <= last; pair += PGM_PHILOX_BLOCK) {
    long m = last - pair + 1 < PGM_PHILOX_BLOCK ? (long)(last - pair + 1) : PGM_PHILOX_BLOCK;
    pgm_philox_words(key, pair, m, w1, w2);
    for (long i = 0; i < m; i++) r[i] = ((double)(int64_t)(w1[i] >> 11) + 0.5) * 0x1p-53; /* in (0, 1) */
    for (long i = 0; i < m; i++) t[i] = ((double)(int64_t)(w2[i] >> 11) + 0.5) * (2 * M_PI * 0x1p-53);
#pragma omp simd
    for (long i = 0; i < m; i++) r[i] = sqrt(-2 * log(r[i]));
      /* sine and cosine in loops of their own: together they become one scalar sincos call */
#pragma omp simd
    for (long i = 0; i < m; i++) c[i] = r[i] * cos(t[i]);
#pragma omp simd
    for (long i = 0; i < m; i++) s[i] = r[i] * sin(t[i]);
    long skip = (long)(first & 1) && done == 0; /* an odd start: the sine of its pair comes first */
    long i = 0;
    if (skip) out[done++] = s[i++];
    long whole = i + (n - done) / 2 < m ? i + (n - done) / 2 : m;
    for (; i < whole; i++, done += 2) {
      out[done] = c[i];
      out[done + 1] = s[i];
    }
    if (i < m && done < n) out[done++] = c[i];
  }
}

/* One uniform of (0, 1) and one random integer, for what is done once (shuffles, starting values). */
static inline double pgm_philox_uniform(PgmKey key, uint64_t place)
{
  uint64_t a, b;
  pgm_philox_words(key, place, 1, &a, &b);
  return ((double)(int64_t)(a >> 11) + 0.5) * 0x1p-53;
}
static inline uint64_t pgm_philox_word(PgmKey key, uint64_t place)
{
  uint64_t a, b;
  pgm_philox_words(key, place, 1, &a, &b);
  return a;
}

#endif
