/* What reading a CSV file costs a program, beside the simplest reader there is: measure_csv FILE COMMAND [ARGUMENT ...]
 * Prints "LOOP PROGRAM MEGABYTES NUMBERS": processor seconds of a loop of strtod over FILE in memory, those of COMMAND, the most memory
 * that COMMAND had, and how many numbers there are. The status is COMMAND's. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long read_simply(const char *path, double *seconds)
{
  const clock_t start = clock();
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) return -1;
  const long size = ftell(f);
  char *text = malloc((size_t)size + 1), *p = text, *end;
  double *value = NULL;
  long n = 0, cap = 0;
  rewind(f);
  if (!text || fread(text, 1, (size_t)size, f) != (size_t)size) return -1;
  fclose(f);
  text[size] = 0;
  while (*p && *p++ != '\n') {
  }
  for (;; p = end) {
    while (*p == ',' || *p == '\n') p++;
    const double v = strtod(p, &end);
    if (end == p) break;
    if (n == cap && !(value = realloc(value, sizeof *value * (size_t)(cap = cap ? 2 * cap : 1024)))) return -1;
    value[n++] = v;
  }
  free(value);
  free(text);
  *seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
  return n;
}

static double seconds_of(struct timeval t)
{
  return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

int main(int argc, char **argv)
{
  double loop = 0;
  struct rusage used;
  int status;
  if (argc < 3) return 2;
  const pid_t child = fork(); /* first, so that it does not begin with the memory of the loop */
  if (!child) {
    if (!freopen("/dev/null", "w", stdout)) _exit(3);
    execvp(argv[2], argv + 2);
    _exit(3);
  }
  if (child < 0 || wait4(child, &status, 0, &used) < 0) return 3;
  const long n = read_simply(argv[1], &loop);
  if (n < 0) return 3;
  printf("%.3f %.3f %.0f %ld\n", loop, seconds_of(used.ru_utime) + seconds_of(used.ru_stime), (double)used.ru_maxrss / 1024, n);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 5;
}
