/* Paths of the ELBO: what the trace of a fit tells, thinned to what a picture or a table needs.
 *
 * In: the trace, iteration by iteration (PgmFitOptions.trace). Out: the best ELBO so far, at points at most a hundredth of their iteration
 * apart, so that the first time at which a level is reached is known to a hundredth. (A fit may try several starts one after the other;
 * what counts is what it has.) Where each value is an estimate from few draws, points are averages of ten iterations or more, as they come:
 * a single lucky draw is no progress. */
#include "gap.h"

#include <stdlib.h>
#include <string.h>

enum { SMALLEST_ROOM = 256, NOISY_GROUP = 10 };
static const double APART = 0.01; /* of the iteration */

void pgm_gap_trace(void *recorder, long iteration, double seconds, double elbo, double gradient_norm)
{
  PgmGapRecorder *r = recorder;
  (void)gradient_norm;
  if (r->failed) return;
  if (r->n == r->room) {
    const long room = r->room ? 2 * r->room : SMALLEST_ROOM;
    double *more = realloc(r->iteration, (size_t)(3 * room) * sizeof *more);
    if (!more) {
      r->failed = true;
      return;
    }
    memmove(more + 2 * room, more + 2 * r->room, (size_t)r->n * sizeof *more);
    memmove(more + room, more + r->room, (size_t)r->n * sizeof *more);
    *r = (PgmGapRecorder){.n = r->n, .room = room, .iteration = more, .seconds = more + room, .elbo = more + 2 * room};
  }
  r->iteration[r->n] = (double)iteration + 1;
  r->seconds[r->n] = seconds;
  r->elbo[r->n++] = elbo;
}

void pgm_gap_prepared(void *recorder)
{
  ((PgmGapRecorder *)recorder)->n = 0;
}

void pgm_gap_free_path(PgmGapPath *path)
{
  free(path->iteration);
  *path = (PgmGapPath){0};
}

bool pgm_gap_take_path(PgmGapRecorder *r, PgmGapRun *run, bool noisy, bool optimistic)
{
  PgmGapPath *p = &run->path;
  double shift = 0, last = -INFINITY;
  bool ok = !r->failed;
  for (long i = 0; i < r->n && optimistic; i++) last = fmax(last, r->elbo[i]);
  if (isfinite(last)) shift = run->elbo - last;
  double *memory = ok ? malloc((size_t)(3 * (r->n + 1)) * sizeof *memory) : NULL;
  *p = (PgmGapPath){0};
  if ((ok = memory != NULL)) {
    *p = (PgmGapPath){.iteration = memory, .seconds = memory + r->n + 1, .elbo = memory + 2 * (r->n + 1)};
    double best = -INFINITY;
    for (long i = 0; i < r->n;) {
      const long apart = (long)(APART * r->iteration[i]), least = noisy ? NOISY_GROUP : 1, group = apart > least ? apart : least;
      const long end = i + group < r->n ? i + group : r->n;
      double sum = 0;
      for (long k = i; k < end; k++) {
        sum += r->elbo[k];
        best = fmax(best, r->elbo[k]);
      }
      p->iteration[p->n] = r->iteration[end - 1];
      p->seconds[p->n] = r->seconds[end - 1];
      p->elbo[p->n++] = (noisy ? sum / (double)(end - i) : best) + shift;
      i = end;
    }
    p->iteration[p->n] = fmax((double)run->iterations, p->n ? p->iteration[p->n - 1] : 1);
    p->seconds[p->n] = run->seconds;
    p->elbo[p->n++] = run->elbo;
  }
  free(r->iteration);
  *r = (PgmGapRecorder){0};
  return ok;
}

bool pgm_gap_reach(const PgmGapRun *run, double elbo, double *iteration, double *seconds)
{
  for (long i = 0; i < run->path.n; i++) {
    if (!(run->path.elbo[i] >= elbo)) continue;
    *iteration = run->path.iteration[i];
    *seconds = run->path.seconds[i];
    return true;
  }
  return false;
}
