/* SHA-256 (FIPS 180-4), for the hashes of models and data. */
#ifndef PGM_SHA256_H
#define PGM_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint32_t state[8];
  uint64_t length;
  unsigned char block[64];
} PgmSha256;

void pgm_sha256_start(PgmSha256 *h);
void pgm_sha256_add(PgmSha256 *h, const void *bytes, size_t size);
/* Writes 64 hexadecimal digits and a terminating 0. */
void pgm_sha256_finish(PgmSha256 *h, char hex[65]);

#endif
