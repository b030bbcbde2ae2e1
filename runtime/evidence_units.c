/* Local variables integrated out unit by unit, at the session's values of all others.
 *
 * A unit is a value of the outermost plate's variable. Where no term reaches into another unit, the integral of exp(log joint) over all local variables is a
 * product over units; and within a unit, over PARTS, sets of elements that no term of the model couples: each element of a separable family (PgmFamily.separable) is
 * one, and the others of the unit together. The terms are summed unit by unit, not part by part, so the parts are integrated one at a time with the others held at
 * the means of q, where the unit's terms are f: with I_p the integral over part p, the unit's integral is f prod_p (I_p / f).
 *
 * A part's discrete elements are summed over: exp(log joint) is integrated over the others at each of their joint values in turn, and the integrals are added up.
 * Without others that is a finite sum, without error.
 *
 * Parts with the same number in their units and the same families are a group. Its parts are integrated side by side (cubature.c) in blocks, each block by one
 * thread; what belongs to a unit is read and written by one thread only. */
#include "evidence_units.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PANELS = 300, PANELS_AGAIN = 120, BLOCK_UNITS = 256, BLOCK_ROOM = 1 << 18 };
static const double MOST_BYTES = 3.2e8, MOST_VALUES = 1e5;
/* Of one part's integral: wanted once, over one coordinate, over two or three, over more; wanted often, also of the sum of all, beside the draws of the other
 * variables. */
static const double TOLERANCE_ONE = 1e-9, TOLERANCE_SEVERAL = 1e-7, TOLERANCE_MANY = 1e-5, TOLERANCE_AGAIN = 3e-5, TOLERANCE_SUM = 1e-3;

typedef struct {
  int family;
  long element, place; /* place: among the family's defined elements */
} Element;

typedef struct {
  long unit, first; /* first: in `element` */
  int n;            /* elements */
  int rank;         /* among the unit's parts */
} Part;

typedef struct {
  long first, n; /* parts */
  int d;         /* coordinates of each */
  double values; /* joint values of the discrete elements of each, at most: 1 without any */
  long start;    /* of its integrals' starts: value by value, part by part */
} Group;

/* What one thread needs for the integrals of a block. */
typedef struct {
  PgmUnits *units;
  PgmCubature *cubature[PGM_CUBATURE_MOST + 1]; /* by numbers of coordinates */
  const Part *part;                             /* the block's */
  long *unit, *all; /* numbers of the units of one call; 0, 1, 2, ... */
  double *centre, *width, *room;
  double *value, *error; /* of the integrals at one joint value */
  bool *absent;          /* parts of the block that do not have it */
  PgmCubatureStart *start; /* of a block; NULL where the units have their own */
} Worker;

struct PgmUnits {
  PgmSession *s;
  int axis;
  bool again;
  long lo, n; /* units */
  Element *element;
  Part *part;
  Group *group;
  long n_elements, n_parts, n_groups, n_starts;
  int *parts;              /* per unit */
  PgmCubatureStart *start; /* n_starts; NULL: no memory for that */
  double **u;              /* per local family: its coordinates */
  double *value, *error;   /* of parts */
  double *term, *at_means; /* of one term; per unit: its terms at the means */
  long block;              /* parts at a time */
  int n_workers;
  Worker *worker;
};

static PgmStatus no_memory(PgmError *error)
{
  return pgm_fail(error, PGM_SYSTEM, "out of memory");
}

static bool in_units(const PgmUnits *w, int plate)
{
  const PgmPlate *p = &w->s->model->plates[plate];
  return p->variable && p->axis == w->axis;
}

static bool is_local(const PgmUnits *w, int f)
{
  return w->s->model->families[f].role == PGM_LOCAL;
}

static bool is_discrete(const PgmUnits *w, int f)
{
  return pgm_is_discrete(&w->s->model->families[f]);
}

/* Coordinates of an element. */
static long coordinates(const PgmUnits *w, int f)
{
  return is_discrete(w, f) ? 0 : w->s->layout[f].uwidth;
}

static long defined(const PgmLayout *l)
{
  return l->list ? l->defined : l->elements;
}

/* ---- units --------------------------------------------------------------------------------------------------------------------------- */

/* The axis whose units have the local families' elements as their own, else -1. */
static int unit_axis(const PgmSession *s)
{
  const PgmModel *m = s->model;
  int axis = -1;
  for (int f = 0; f < m->n_families; f++) {
    const PgmFamily *family = &m->families[f];
    if (family->role != PGM_LOCAL) continue;
    if (!family->n_index || family->axis[0] < 0 || (axis >= 0 && axis != family->axis[0])) return -1;
    axis = family->axis[0];
    for (int r = 0; r < m->n_refs; r++)
      if (m->refs[r].family == f) return -1; /* a lag or a lookup: terms of other units */
    for (int p = 0; p < m->n_plates; p++)
      for (const int *x = m->plates[p].shared; x && *x >= 0; x++)
        if (*x == f) return -1;
  }
  return axis;
}

static void find_units(PgmUnits *w)
{
  const PgmModel *m = w->s->model;
  long lo = 1, hi = 0;
  for (int f = 0; f < m->n_families; f++) {
    const PgmLayout *l = &w->s->layout[f];
    if (!is_local(w, f) || !l->elements) continue;
    if (hi < lo || l->lo[0] < lo) lo = l->lo[0];
    if (l->hi[0] > hi) hi = l->hi[0];
    w->n_elements += defined(l);
  }
  for (int p = 0; p < m->n_plates; p++)
    for (int t = m->plates[p].first_term; in_units(w, p) && t < m->plates[p].first_term + m->plates[p].n_terms; t++) {
      const PgmBox *box = &w->s->shape.term[t];
      if (!pgm_term_size(w->s, t)) continue;
      if (hi < lo || box->lo[0] < lo) lo = box->lo[0];
      if (box->hi[0] > hi) hi = box->hi[0];
    }
  w->lo = lo;
  w->n = hi - lo + 1;
}

long pgm_units_count(const PgmUnits *w)
{
  return w->n;
}

long pgm_units_of(const PgmUnits *w, int family, long element)
{
  const PgmLayout *l = &w->s->layout[family];
  return l->lo[0] + element / l->stride[0] - w->lo;
}

int pgm_units_parts(const PgmUnits *w, long unit)
{
  return w->parts[unit];
}

double pgm_units_others(PgmUnits *w)
{
  const PgmModel *m = w->s->model;
  double sum = 0;
  for (int p = 0; p < m->n_plates; p++)
    for (int t = m->plates[p].first_term; !in_units(w, p) && t < m->plates[p].first_term + m->plates[p].n_terms; t++) {
      const long size = pgm_term_size(w->s, t);
      if (size) pgm_term_each(w->s, t, false, w->term);
      for (long i = 0; i < size; i++) sum += w->term[i];
    }
  return sum;
}

void pgm_units_terms(PgmUnits *w, bool expected, double *out)
{
  const PgmModel *m = w->s->model;
  for (int p = 0; p < m->n_plates; p++)
    for (int t = m->plates[p].first_term; in_units(w, p) && t < m->plates[p].first_term + m->plates[p].n_terms; t++) {
      const PgmBox *box = &w->s->shape.term[t];
      const long count = box->hi[0] - box->lo[0] + 1, size = pgm_term_size(w->s, t), inner = count > 0 ? size / count : 0;
      if (inner < 1) continue;
      pgm_term_each(w->s, t, expected, w->term);
      for (long i = 0; i < size; i++) out[box->lo[0] - w->lo + i / inner] += w->term[i];
    }
}

/* ---- parts --------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  Element element;
  long unit;
  bool alone;
} Found;

/* By units; those that are parts of their own before those that are one together. */
static int by_units(const void *a, const void *b)
{
  const Found *x = a, *y = b;
  if (x->unit != y->unit) return x->unit < y->unit ? -1 : 1;
  if (x->alone != y->alone) return x->alone ? -1 : 1;
  if (x->element.family != y->element.family) return x->element.family < y->element.family ? -1 : 1;
  return (x->element.element > y->element.element) - (x->element.element < y->element.element);
}

static void find_parts(PgmUnits *w, Found *found)
{
  long n = 0;
  for (int f = 0; f < w->s->model->n_families; f++) {
    const PgmLayout *l = &w->s->layout[f];
    for (long r = 0; is_local(w, f) && r < defined(l); r++) {
      const long e = l->list ? l->list[r] : r;
      found[n++] = (Found){{f, e, r}, pgm_units_of(w, f, e), w->s->model->families[f].separable};
    }
  }
  qsort(found, (size_t)n, sizeof *found, by_units);
  for (long k = 0; k < n; k++) {
    const Found *x = &found[k];
    w->element[k] = x->element;
    if (k && !x->alone && !found[k - 1].alone && found[k - 1].unit == x->unit)
      w->part[w->n_parts - 1].n++;
    else
      w->part[w->n_parts++] = (Part){x->unit, k, 1, w->parts[x->unit]++};
  }
}

static bool alike(const PgmUnits *w, const Part *a, const Part *b)
{
  bool same = a->rank == b->rank && a->n == b->n;
  for (int k = 0; k < a->n && same; k++) same = w->element[a->first + k].family == w->element[b->first + k].family;
  return same;
}

/* Moves parts that are alike next to each other; units still ascend. */
static void find_groups(PgmUnits *w, Part *sorted, long *group)
{
  for (long i = 0; i < w->n_parts; i++) {
    const Part *p = &w->part[i];
    long g = 0;
    while (g < w->n_groups && !alike(w, p, &w->part[w->group[g].first])) g++;
    if (g == w->n_groups) {
      w->group[w->n_groups++] = (Group){.first = i, .values = 1};
      for (int k = 0; k < p->n; k++) {
        const int f = w->element[p->first + k].family;
        w->group[g].d += (int)coordinates(w, f);
        if (is_discrete(w, f)) w->group[g].values *= (double)w->s->layout[f].uwidth;
      }
    }
    w->group[g].n++;
    group[i] = g;
  }
  for (long g = 0, at = 0; g < w->n_groups; g++) {
    const long n = w->group[g].n;
    w->group[g].first = at;
    w->group[g].n = 0;
    at += n;
  }
  for (long i = 0; i < w->n_parts; i++) {
    Group *g = &w->group[group[i]];
    sorted[g->first + g->n++] = w->part[i];
  }
  memcpy(w->part, sorted, (size_t)w->n_parts * sizeof *sorted);
}

PgmStatus pgm_units_open(PgmUnits **out, PgmSession *s, PgmError *error)
{
  const int axis = unit_axis(s);
  *out = NULL;
  if (axis < 0) return PGM_OK;
  PgmUnits *w = *out = calloc(1, sizeof *w);
  long most = 1;
  if (!w) return no_memory(error);
  w->s = s;
  w->axis = axis;
  find_units(w);
  for (int t = 0; t < s->model->n_terms; t++)
    if (pgm_term_size(s, t) > most) most = pgm_term_size(s, t);
  const size_t n = (size_t)w->n_elements, room = n * (sizeof(Found) > sizeof(Part) + sizeof(long) ? sizeof(Found) : sizeof(Part) + sizeof(long));
  void *sorting = malloc(room + 1);
  w->element = malloc((n + 1) * sizeof *w->element);
  w->part = malloc((n + 1) * sizeof *w->part);
  w->group = malloc((n + 1) * sizeof *w->group);
  w->parts = calloc((size_t)(w->n > 0 ? w->n : 1), sizeof *w->parts);
  w->term = malloc((size_t)(most + (w->n > 0 ? w->n : 1)) * sizeof *w->term);
  const bool found = sorting && w->element && w->part && w->group && w->parts && w->term;
  if (found) {
    w->at_means = w->term + most;
    find_parts(w, sorting);
    find_groups(w, sorting, (long *)((char *)sorting + n * sizeof(Part)));
  }
  free(sorting);
  return found ? PGM_OK : no_memory(error);
}

void pgm_units_close(PgmUnits *w)
{
  if (!w) return;
  for (int k = 0; k < w->n_workers; k++) {
    for (int d = 1; d <= PGM_CUBATURE_MOST; d++) pgm_cubature_close(w->worker[k].cubature[d]);
    free(w->worker[k].unit);
    free(w->worker[k].absent);
    free(w->worker[k].centre);
    free(w->worker[k].start);
  }
  for (int f = 0; w->u && f < w->s->model->n_families; f++) free(w->u[f]);
  free(w->u);
  free(w->worker);
  free(w->element);
  free(w->part);
  free(w->group);
  free(w->parts);
  free(w->start);
  free(w->value);
  free(w->term);
  free(w);
}

/* ---- room for integrals -------------------------------------------------------------------------------------------------------------- */

/* Units at a time: as many as a term's values have room for, and all of them where every call repeats work for all. */
static long units_at_a_time(const PgmUnits *w, long *width)
{
  const PgmModel *m = w->s->model;
  bool all = false;
  *width = 1;
  for (int p = 0; p < m->n_plates; p++)
    for (int t = m->plates[p].first_term; in_units(w, p) && t < m->plates[p].first_term + m->plates[p].n_terms; t++) {
      if (pgm_term_width(w->s, t) > *width) *width = pgm_term_width(w->s, t);
      all = all || m->plates[p].block < 0;
    }
  const long room = BLOCK_ROOM / *width, most = room < 1 ? 1 : room < BLOCK_UNITS ? room : BLOCK_UNITS;
  return all || most > w->n ? w->n : most;
}

static PgmStatus open_worker(PgmUnits *w, Worker *k, long width, const bool *wanted, PgmError *error)
{
  *k = (Worker){.units = w};
  k->unit = malloc((size_t)(2 * w->block) * sizeof *k->unit);
  k->absent = malloc((size_t)w->block * sizeof *k->absent);
  k->centre = malloc((size_t)(w->block * (2 * PGM_CUBATURE_MOST + 2 + width)) * sizeof *k->centre);
  if (!w->start) k->start = malloc((size_t)w->block * sizeof *k->start);
  if (!k->unit || !k->absent || !k->centre || (!w->start && !k->start)) return no_memory(error);
  k->all = k->unit + w->block;
  for (long i = 0; i < w->block; i++) k->all[i] = i;
  k->width = k->centre + w->block * PGM_CUBATURE_MOST;
  k->value = k->width + w->block * PGM_CUBATURE_MOST;
  k->error = k->value + w->block;
  k->room = k->error + w->block;
  PgmStatus st = PGM_OK;
  for (int d = 1; d <= PGM_CUBATURE_MOST && !st; d++)
    if (wanted[d]) st = pgm_cubature_open(&k->cubature[d], d, w->block, w->again ? PANELS_AGAIN : PANELS, error);
  return st;
}

PgmStatus pgm_units_prepare(PgmUnits *w, bool again, bool *possible, PgmError *error)
{
  const PgmModel *m = w->s->model;
  bool wanted[PGM_CUBATURE_MOST + 1] = {false};
  long width;
  *possible = w->n > 0;
  for (long g = 0; g < w->n_groups; g++) {
    Group *group = &w->group[g];
    if (group->d > PGM_CUBATURE_MOST || group->values > MOST_VALUES) {
      *possible = false;
      continue;
    }
    wanted[group->d] = group->d > 0;
    group->start = w->n_starts;
    if (group->d) w->n_starts += group->n * (long)group->values;
  }
  if (!*possible) return PGM_OK;
  w->again = again;
  w->block = units_at_a_time(w, &width);
  double bytes = sizeof(double) * (double)w->block * (double)width;
  for (int d = 1; d <= PGM_CUBATURE_MOST; d++)
    if (wanted[d]) bytes += pgm_cubature_bytes(d, w->block, again ? PANELS_AGAIN : PANELS);
  const long blocks = (w->n_parts + w->block - 1) / w->block;
  const int workers = blocks < w->s->threads ? (int)(blocks > 0 ? blocks : 1) : w->s->threads;
  *possible = workers * bytes <= MOST_BYTES;
  if (!*possible) return PGM_OK;
  if ((double)w->n_starts * sizeof *w->start <= MOST_BYTES) w->start = calloc((size_t)w->n_starts + 1, sizeof *w->start);
  w->value = malloc((size_t)(2 * w->n_parts + 1) * sizeof *w->value);
  w->u = calloc((size_t)m->n_families, sizeof *w->u);
  w->worker = calloc((size_t)workers, sizeof *w->worker);
  if (!w->value || !w->u || !w->worker) return no_memory(error);
  w->error = w->value + w->n_parts;
  for (int f = 0; f < m->n_families; f++) {
    const PgmLayout *l = &w->s->layout[f];
    if (!is_local(w, f) || is_discrete(w, f)) continue;
    w->u[f] = malloc((size_t)(l->elements * l->uwidth + 1) * sizeof *w->u[f]);
    if (!w->u[f]) return no_memory(error);
  }
  PgmStatus st = PGM_OK;
  while (w->n_workers < workers && !st) st = open_worker(w, &w->worker[w->n_workers++], width, wanted, error);
  return st;
}

/* ---- integrals ----------------------------------------------------------------------------------------------------------------------- */

static bool entrywise(const PgmFamily *f)
{
  return f->transform <= PGM_INTERVAL;
}

/* log |d value / d u| of one entry, where the transform is entrywise. */
static double log_jacobian(const PgmSession *s, int f, long e, double u)
{
  const PgmFamily *family = &s->model->families[f];
  const PgmLayout *l = &s->layout[f];
  const long at = family->uniform_bounds ? 0 : e;
  switch (family->transform) {
  case PGM_LOWER:
  case PGM_UPPER:
    return u;
  case PGM_INTERVAL:
    return log(l->upper[at] - l->lower[at]) - fabs(u) - 2 * log1p(exp(-fabs(u)));
  default:
    return 0;
  }
}

/* The value of a discrete element that q has for the most probable one. */
static double most_probable(const PgmUnits *w, const Element *e)
{
  const PgmLayout *l = &w->s->layout[e->family];
  const double *p = l->mean + e->element * l->uwidth;
  long best = 0;
  for (long k = 1; k < l->uwidth; k++)
    if (p[k] > p[best]) best = k;
  return pgm_lowest(&w->s->model->families[e->family], l, e->element) + (double)best;
}

/* The v-th joint value of the part's discrete elements, which may have different numbers of values. False: one of them has no such value, and is left within
 * its support. */
static bool set_values(const PgmUnits *w, const Part *p, long v)
{
  bool all = true;
  for (int j = 0; j < p->n; j++) {
    const Element *e = &w->element[p->first + j];
    const PgmFamily *family = &w->s->model->families[e->family];
    const PgmLayout *l = &w->s->layout[e->family];
    if (!is_discrete(w, e->family)) continue;
    const long k = v % l->uwidth;
    const bool has = k < pgm_levels(family, l, e->element);
    v /= l->uwidth;
    l->value[e->element] = pgm_lowest(family, l, e->element) + (double)(has ? k : 0);
    all = all && has;
  }
  return all;
}

/* From coordinates to values, of the j-th element of parts which[0..n-1] of the block; adds the logarithms of the Jacobians. */
static void constrain(const Worker *k, int j, long n, const long *which, double *out)
{
  const PgmUnits *w = k->units;
  const Element *first = &w->element[k->part[0].first + j];
  const int f = first->family;
  const PgmLayout *l = &w->s->layout[f];
  const bool runs = entrywise(&w->s->model->families[f]), jacobian = w->s->model->families[f].transform != PGM_IDENTITY;
  for (long i = 0; i < n; i++) {
    const Element *e = &w->element[k->part[which[i]].first + j];
    if (!runs) out[i] += pgm_constrain_element(w->s, f, e->place, w->u[f], l->value);
    for (long c = 0; c < l->uwidth && runs && jacobian; c++) out[i] += log_jacobian(w->s, f, e->element, w->u[f][e->element * l->uwidth + c]);
  }
  for (long from = 0, to; from < n && runs; from = to) { /* elements that are next to each other */
    const long place = w->element[k->part[which[from]].first + j].place;
    for (to = from + 1; to < n && w->element[k->part[which[to]].first + j].place == place + to - from;) to++;
    pgm_constrain_part(w->s, f, place, place + to - from, w->u[f], l->value);
  }
}

/* Log densities of units with parts of a block at u and at the values of their discrete elements (a PgmCubatureIntegrand). */
static void densities(void *data, long n, const long *which, const double *u, double *out)
{
  Worker *k = data;
  const PgmUnits *w = k->units;
  const PgmModel *m = w->s->model;
  for (long i = 0; i < n; i++) {
    const Part *p = &k->part[which[i]];
    k->unit[i] = w->lo + p->unit;
    out[i] = 0;
    for (int j = 0; j < p->n; j++) {
      const Element *e = &w->element[p->first + j];
      const long width = coordinates(w, e->family);
      for (long c = 0; c < width; c++) w->u[e->family][e->element * width + c] = *u++;
    }
  }
  for (int j = 0; n && j < k->part[0].n; j++)
    if (!is_discrete(w, w->element[k->part[0].first + j].family)) constrain(k, j, n, which, out);
  for (int p = 0; p < m->n_plates; p++)
    for (int t = m->plates[p].first_term; in_units(w, p) && t < m->plates[p].first_term + m->plates[p].n_terms; t++)
      pgm_term_add(w->s, t, k->unit, n, k->room, out);
  for (long i = 0; i < n; i++)
    if (k->absent[which[i]]) out[i] = -INFINITY;
}

/* Means and sds of q of the block's coordinates; or the values at the means. */
static void at_means(Worker *k, long n, bool values)
{
  const PgmUnits *w = k->units;
  for (long i = 0, at = 0; i < n; i++)
    for (int j = 0; j < k->part[i].n; j++) {
      const Element *e = &w->element[k->part[i].first + j];
      const PgmLayout *l = &w->s->layout[e->family];
      if (is_discrete(w, e->family)) {
        if (values) l->value[e->element] = most_probable(w, e);
        continue;
      }
      for (long c = e->element * l->uwidth; c < (e->element + 1) * l->uwidth && !values; c++, at++) {
        k->centre[at] = l->mean[c];
        k->width[at] = l->sd[c];
      }
      if (values) pgm_constrain_element(w->s, e->family, e->place, l->mean, l->value);
    }
}

static double tolerance_of(const PgmUnits *w, int d)
{
  if (!w->again) return d == 1 ? TOLERANCE_ONE : d < 4 ? TOLERANCE_SEVERAL : TOLERANCE_MANY;
  return fmin(TOLERANCE_SUM / (double)w->n_parts, TOLERANCE_AGAIN);
}

/* The integrals of a block's n parts, from the group's part `from` on, at the values of their discrete elements, the v-th joint ones. */
static void integrate_at(Worker *k, const Group *g, long from, long n, long v, PgmCubatureMode mode, double *value, double *error)
{
  PgmUnits *w = k->units;
  PgmCubature *c = k->cubature[g->d];
  PgmCubatureStart *start = w->start ? w->start + g->start + v * g->n + from : k->start;
  const double tolerance = tolerance_of(w, g->d);
  if (!g->d) {
    densities(k, n, k->all, NULL, value);
    memset(error, 0, (size_t)n * sizeof *error);
    return;
  }
  if (!w->start) { /* every time from the beginning */
    memset(k->start, 0, (size_t)n * sizeof *k->start);
    if (mode == PGM_CUBATURE_NEAR) pgm_cubature_run(c, n, k->centre, k->width, tolerance, PGM_CUBATURE_LOOK, densities, k, start, value, error);
  }
  pgm_cubature_run(c, n, k->centre, k->width, tolerance, mode, densities, k, start, value, error);
}

/* To *value, a logarithm, and its relative error: one more summand. */
static void add_value(double *value, double *error, double more, double its_error)
{
  const double most = *value > more ? *value : more; /* NaN stays in one of the two */
  if (*value == -INFINITY && more == -INFINITY) return;
  const double a = exp(*value - most), b = exp(more - most);
  *error = (a * *error + b * its_error) / (a + b);
  *value = most + log(a + b);
}

static void integrate_block(Worker *k, const Group *g, long from, long n, PgmCubatureMode mode)
{
  PgmUnits *w = k->units;
  double *value = w->value + g->first + from, *error = w->error + g->first + from;
  k->part = w->part + g->first + from;
  at_means(k, n, false);
  for (long v = 0; v < (long)g->values; v++) {
    for (long i = 0; i < n; i++) k->absent[i] = !set_values(w, &k->part[i], v);
    integrate_at(k, g, from, n, v, mode, v ? k->value : value, v ? k->error : error);
    for (long i = 0; v && i < n; i++) add_value(&value[i], &error[i], k->value[i], k->error[i]);
  }
  at_means(k, n, true);
}

/* All elements at the means of q, or their most probable values. */
static void set_family(const PgmUnits *w, int f)
{
  const PgmLayout *l = &w->s->layout[f];
  if (!is_discrete(w, f)) pgm_constrain(w->s, f, l->mean, l->value);
  for (long e = 0; is_discrete(w, f) && e < l->elements; e++) l->value[e] = most_probable(w, &(Element){.family = f, .element = e});
}

double pgm_units_integrate(PgmUnits *w, PgmCubatureMode mode, double *error)
{
  bool several = false;
  double sum = 0;
  *error = 0;
  for (int f = 0; f < w->s->model->n_families; f++) /* elements that no statement defines are read by nobody, but are to be numbers */
    if (is_local(w, f)) set_family(w, f);
  for (long i = 0; i < w->n; i++) several = several || w->parts[i] != 1;
  if (several) {
    memset(w->at_means, 0, (size_t)w->n * sizeof *w->at_means);
    pgm_units_terms(w, false, w->at_means);
  }
  for (long i = 0; i < w->n && several; i++)
    if (w->parts[i] != 1) sum += (1 - w->parts[i]) * w->at_means[i];
  for (long g = 0; g < w->n_groups; g++) {
    const Group *group = &w->group[g];
    const long blocks = (group->n + w->block - 1) / w->block;
#pragma omp parallel for schedule(dynamic, 1) num_threads(w->n_workers) if (w->n_workers > 1)
    for (long b = 0; b < blocks; b++) {
      const long from = b * w->block, rest = group->n - from;
      integrate_block(&w->worker[omp_get_thread_num()], group, from, rest < w->block ? rest : w->block, mode);
    }
  }
  for (long i = 0; i < w->n_parts; i++) {
    sum += w->value[i];
    *error += w->error[i];
  }
  return sum;
}

double pgm_units_cost(const PgmUnits *w, PgmCubatureMode mode)
{
  double sum = 0;
  for (long g = 0; g < w->n_groups; g++) {
    const Group *group = &w->group[g];
    const long integrals = group->n * (long)group->values;
    for (long i = 0; i < integrals; i++) /* the kernels go through the values themselves */
      sum += group->values * (group->d ? pgm_cubature_cost(group->d, mode, w->start ? &w->start[group->start + i] : NULL) : 1);
  }
  return sum;
}

bool pgm_units_elsewhere(const PgmUnits *w)
{
  bool any = false;
  for (long i = 0; i < w->n_starts && w->start; i++) any = any || w->start[i].elsewhere;
  return any;
}

bool pgm_units_finite(const PgmUnits *w)
{
  bool finite = true;
  for (long g = 0; g < w->n_groups; g++) finite = finite && !w->group[g].d;
  return finite;
}

/* How many joint values the part's discrete elements have. */
static long joint_values(const PgmUnits *w, const Part *p)
{
  long n = 1;
  for (int j = 0; j < p->n; j++) {
    const Element *e = &w->element[p->first + j];
    if (is_discrete(w, e->family)) n *= pgm_levels(&w->s->model->families[e->family], &w->s->layout[e->family], e->element);
  }
  return n;
}

/* Appends "3 coordinates", "1 to 2 values". */
static void count(char *text, size_t size, long least, long most, const char *what)
{
  const size_t used = strlen(text);
  if (least < most)
    snprintf(text + used, size - used, "%ld to %ld %ss", least, most, what);
  else
    snprintf(text + used, size - used, "%ld %s%s", most, what, most == 1 ? "" : "s");
}

void pgm_units_describe(const PgmUnits *w, char *text, size_t size)
{
  long units = 0;
  int fewest = 0, parts = 0;
  for (long i = 0; i < w->n; i++) {
    if (!w->parts[i]) continue;
    units++;
    if (!fewest || w->parts[i] < fewest) fewest = w->parts[i];
    if (w->parts[i] > parts) parts = w->parts[i];
  }
  long least = 0, most = 0, fewest_values = 0, values = 0; /* of parts that have some */
  for (long g = 0; g < w->n_groups; g++) {
    const Group *group = &w->group[g];
    if (group->d && (!least || group->d < least)) least = group->d;
    if (group->d > most) most = group->d;
    for (long i = group->first; group->values > 1 && i < group->first + group->n; i++) {
      const long v = joint_values(w, &w->part[i]);
      if (!fewest_values || v < fewest_values) fewest_values = v;
      if (v > values) values = v;
    }
  }
  snprintf(text, size, "%ld unit%s of ", units, units == 1 ? "" : "s");
  size_t used = strlen(text);
  if (parts > 1) snprintf(text + used, size - used, "%s%d times ", fewest < parts ? "up to " : "", parts);
  if (most || !values) count(text, size, least, most, "coordinate");
  used = strlen(text);
  if (most && values) snprintf(text + used, size - used, " and ");
  if (values) count(text, size, fewest_values, values, "value");
  used = strlen(text);
  snprintf(text + used, size - used, "%s", most && values ? " by quadrature and sums" : values ? ", summed" : " by quadrature");
}
