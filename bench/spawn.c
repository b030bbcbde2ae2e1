/* Times a command as a user meets it: start, reading, work, writing.
 *   spawn REPEATS COMMAND [ARGUMENT ...]   -> seconds of the fastest run, seconds of the median, peak memory in bytes, seconds of processor time of the fastest
 * Its standard output goes to /dev/null. Status 1 when the command fails. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
  const int repeats = argc > 2 ? atoi(argv[1]) : 0;
  double *seconds = malloc(sizeof *seconds * (size_t)(repeats > 0 ? repeats : 1)), best_cpu = 1e300;
  long peak = 0;
  posix_spawn_file_actions_t actions;
  if (repeats < 1 || !seconds) return 2;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  for (int r = 0; r < repeats; r++) {
    const double began = now();
    struct rusage use;
    pid_t child;
    int status;
    if (posix_spawnp(&child, argv[2], &actions, NULL, argv + 2, environ) || wait4(child, &status, 0, &use) < 0 || status) {
      fprintf(stderr, "spawn: %s failed\n", argv[2]);
      return 1;
    }
    seconds[r] = now() - began;
    const double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + 1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
    if (cpu < best_cpu) best_cpu = cpu;
    if (use.ru_maxrss > peak) peak = use.ru_maxrss; /* kilobytes */
  }
  qsort(seconds, (size_t)repeats, sizeof *seconds, by_value);
  printf("%.9f %.9f %ld %.9f\n", seconds[0], seconds[repeats / 2], peak * 1024, best_cpu);
  free(seconds);
  return 0;
}
