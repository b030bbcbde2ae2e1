/* Missing observations: see missing.h. */
#include "missing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_missing(const PgmLayout *l, long at) { return l->data ? isnan(l->data[at]) : l->idata[at] == PGM_MISSING_INT; }

static void put(PgmLayout *l, long at, double v)
{
  if (l->data) l->data[at] = v;
  else l->idata[at] = (int)v;
}

static double mean_of_given(const PgmLayout *l)
{
  double mean = 0;
  long n = 0;
  for (long at = 0; l->data && at < l->elements * l->width; at++)
    if (l->present[at] && isfinite(l->data[at])) mean += (l->data[at] - mean) / (double)++n;
  return mean;
}

/* A value of the support of the statement, between the bounds of the element. */
static double filler(PgmSupport support, bool integer, double lower, double upper, double mean, long width)
{
  double v = mean;
  switch (support) {
  case PGM_SUPPORT_BINARY:
  case PGM_SUPPORT_COUNT:
    v = 0;
    break;
  case PGM_SUPPORT_POSITIVE_COUNT:
    v = 1;
    break;
  case PGM_SUPPORT_SIMPLEX:
    return 1 / (double)width;
  case PGM_SUPPORT_POSITIVE:
  case PGM_SUPPORT_NONNEGATIVE:
    if (!(v > 0)) v = 1;
    break;
  case PGM_SUPPORT_UNIT:
    if (!(v > 0 && v < 1)) v = 0.5;
    break;
  default:
    break;
  }
  if (v >= lower && v <= upper) return v;
  if (integer || isinf(lower) || isinf(upper)) return isinf(lower) ? upper : lower;
  return lower + (upper - lower) / 2;
}

/* An element that is given together or not at all takes the first one that is given, if there is one. */
static bool copy_given(PgmLayout *l, long flat)
{
  for (long other = 0; other < l->elements; other++) {
    if (!l->present[other * l->width] || (l->piece && l->piece[other] != l->piece[flat])) continue;
    memcpy(l->data + flat * l->width, l->data + other * l->width, sizeof(double) * (size_t)l->width);
    return true;
  }
  return false;
}

PgmStatus pgm_missing_settle(PgmSession *s, int family, bool to_simulate, PgmError *error)
{
  const PgmModel *m = s->model;
  const PgmFamily *f = &m->families[family];
  PgmLayout *l = &s->layout[family];
  const long n = l->elements * l->width;
  if (!(l->present = malloc((size_t)n + 1))) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  memcpy((char *)s->env + f->present, &l->present, sizeof l->present);
  l->missing = 0;
  for (long at = 0; at < n; at++) l->missing += !(l->present[at] = to_simulate || !is_missing(l, at));
  if (!l->missing) return PGM_OK;
  if (l->borrowed) {
    double *own = malloc(sizeof *own * (size_t)n);
    if (!own) return pgm_fail(error, PGM_SYSTEM, "out of memory");
    memcpy(own, l->data, sizeof *own * (size_t)n);
    l->data = own;
    l->borrowed = false;
    memcpy((char *)s->env + f->place, &l->data, sizeof l->data);
  }
  const double mean = mean_of_given(l);
  int rank = 0;
  for (int i = 0; i < m->n_statements; i++) {
    const PgmStatement *st = &m->statements[i];
    if (st->family != family) continue;
    rank++;
    for (long flat = 0; flat < l->elements; flat++) {
      if (l->piece && l->piece[flat] != rank) continue;
      const long at = flat * l->width;
      if (st->whole && (l->present[at] || copy_given(l, flat))) continue;
      const double lower = l->lower ? l->lower[f->uniform_bounds ? 0 : flat] : -INFINITY;
      const double upper = l->upper ? l->upper[f->uniform_bounds ? 0 : flat] : INFINITY;
      for (long e = 0; e < l->width; e++)
        if (!l->present[at + e]) put(l, at + e, filler(st->support, f->integer, lower, upper, mean, l->width));
    }
  }
  return PGM_OK;
}
