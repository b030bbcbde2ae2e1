/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011), and
 * standard normals from it (Box & Muller 1958).
 *
 * A number is a function of (seed, iteration, stream, place) and of nothing else, so results do not depend on threads, blocks or
 * batches, and nothing needs storing. Many numbers are made in vector registers (philox.c), one here. */
#ifndef PGM_PHILOX_H
#define PGM_PHILOX_H

#include <stdint.h>

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

/* Two 64-bit words for each of the counters place .. place+n-1: counter (place low, place high, iteration, stream), key the seed. n <= PGM_PHILOX_BLOCK;
 * the arrays have room for PGM_PHILOX_BLOCK words, and those from n on are undefined. */
void pgm_philox_words(PgmKey key, uint64_t place, long n, uint64_t *restrict first, uint64_t *restrict second);

/* Standard normals number first .. first+n-1 of the key's sequence. Numbers 2j and 2j+1 are the two of one Box-Muller transform, of the words of counter j.
 * The same bits however a range is cut. */
void pgm_philox_normals(PgmKey key, uint64_t first, long n, double *restrict out);

/* Standard normals of single precision, of another sequence of the key: numbers 4j .. 4j+3 are those of counter j, two transforms of 32 bits each for radius and
 * angle, so none is beyond 6.7. Errors of a ten millionth, in half the time: for averages over draws, which are off by their standard error. The same bits however a
 * range is cut. */
void pgm_philox_noise(PgmKey key, uint64_t first, long n, double *restrict out);

/* One random integer and one uniform of (0, 1), for what is done once (shuffles, starting values). */
static inline uint64_t pgm_philox_word(PgmKey key, uint64_t place)
{
  const uint64_t low = 0xffffffffu;
  uint64_t c[4] = {place & low, place >> 32, key.iteration & low, key.stream & low};
  pgm_philox(c, key.seed & low, key.seed >> 32);
  return c[0] << 32 | c[1];
}
static inline double pgm_philox_uniform(PgmKey key, uint64_t place)
{
  return ((double)(int64_t)(pgm_philox_word(key, place) >> 11) + 0.5) * 0x1p-53;
}

#endif
