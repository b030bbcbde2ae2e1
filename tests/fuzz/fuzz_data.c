/* libFuzzer target for the data reader (`make fuzz`): the first byte says how the rest is read, as a JSON or CSV file of names or as a
 * single array of any kind. What is read must be an array of numbers or have a fault; what is refused must say why. */
#include "data.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char *const endings[] = {"json", "csv", "npy"};
  char path[64];
  if (!size) return 0;
  const int how = data[0] % 5, ending = how > 2 ? how - 3 : how; /* 3, 4: a JSON or CSV file of one array */
  snprintf(path, sizeof path, "/dev/shm/pgm_fuzz_%d.%s", (int)getpid(), endings[ending]);
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(data + 1, 1, size - 1, f) != size - 1 || fclose(f)) abort();
  PgmData *d = pgm_data_new();
  PgmError error = {0};
  const PgmStatus status = how < 2 ? pgm_data_read(d, path, &error) : pgm_data_read_named(d, "x", path, &error);
  unlink(path);
  if (status && (status == PGM_INTERNAL || !error.text[0])) abort();
  double sum = 0;
  for (int i = 0; i < d->n; i++) {
    const PgmArray *a = &d->array[i];
    char place[200];
    long n = 1;
    if (!a->value == !a->fault) abort();
    for (int k = 0; k < a->rank; k++) n *= a->dim[k];
    for (long k = 0; k < n && a->value; k++) sum += a->value[k]; /* every entry is there to be read */
    pgm_data_place(a, n > 0 ? n - 1 : -1, place, sizeof place);
  }
  pgm_data_free(d);
  return sum == 12345.678 ? -1 : 0;
}
