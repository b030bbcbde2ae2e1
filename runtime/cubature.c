/* Integrals of many functions of one to six variables over the whole space, which may have several modes, heavy tails, ridges and funnels.
 *
 * In: logarithms of the functions, at one point of each of a list of functions per call; for each a centre and widths. Out: logarithms of the integrals with
 * estimates of their errors. Two rules.
 *
 * THE ADAPTIVE RULE looks everywhere, with up to three variables: the integral over the first, of the integral over the second, and so on, each by quadrature.c,
 * the inner ones to a fiftieth of the tolerance. The variables are y, u = centre + shape y, in which a ridge lies along an axis.
 *
 * THE LATTICE is for functions that are smooth and have one mode or overlapping ones. The trapezoidal rule on the whole line converges exponentially for
 * analytic functions (Trefethen & Weideman, "The exponentially convergent trapezoidal rule", SIAM Review 56, 2014): for a Gaussian with sd 1 and spacing h the
 * error is 2 exp(-2 pi^2 / h^2), 5e-9 at h = 1. In d dimensions the points are h Z^d in y, within a ball, and the same points moved by half the diagonal. Of the
 * two sums each is an integral; half their difference is the error of either one, by the reciprocal vectors of odd parity, which the mean of both (a
 * body-centred cubic lattice) does not have. It is stated as the error all the same, with what lies beyond the ball: the mass of the outermost shell,
 * extrapolated as a geometric series from the last two shells. Centre and shape are moved to the mean and covariance of the points' masses until these are 0
 * and 1 or so; then the lattice is made finer for the one kind of error and wider for the other.
 *
 * Its own error says nothing of other modes, beyond its ball, and not enough of corners. LOOK therefore holds it against something else. With one variable, the
 * adaptive rule. With several that would take ten times as many points as it should: another lattice, turned, must give the same; and a grid is laid out that is
 * ever wider from the centre on, out to millions of widths (of six variables: a hundred). What it finds beyond the ball is what the lattice may miss. Every local
 * maximum of the logarithms beyond the ball, and every mirror image of the lattice (signs of u changed, two of u exchanged), is followed by a lattice of its own,
 * which climbs to the mode that it belongs to and takes its mass. Where that counts, the function is left to the adaptive rule. A mode so narrow that none of
 * the grid's points is nearer to it than to another one (in sds of either) is not found.
 *
 * Functions that differ little (NEAR) have the same lattice, which is fitted anew where its error says so. */
#include "cubature.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = PGM_CUBATURE_MOST, NESTED = 3 }; /* NESTED: variables at most for the adaptive rule */

/* Spacings and radii of lattices, in sds; the levels that ROUGH and the others begin with. */
static const double spacing[] = {1.4, 1.2, 1, 0.85, 0.72, 0.6, 0.5, 0.42, 0.36, 0.3, 0.25, 0.21, 0.18, 0.15, 0.125};
static const double radius[] = {5, 5.7, 6.5, 7.4, 8.5, 9.7, 11, 12.6, 14.5, 16.5, 19, 22, 25, 28, 32};
enum { LEVELS = sizeof spacing / sizeof *spacing, BEGIN_ROUGH = 0, BEGIN = 2 };
static const double most_points[MOST + 1] = {0, 600, 12000, 3e5, 1e6, 4e6, 1.5e7}; /* of a lattice */
/* Volumes of unit balls. */
static const double ball[MOST + 1] = {1, 2, 3.14159265358979324, 4.18879020478639098, 4.93480220054467931, 5.26378901391432460, 5.16771278004997003};
enum { TRIES = 24, TRIES_ROUGH = 8 };
static const double OFF_CENTRE = 0.25, OFF_SHAPE = 0.5; /* of means, and entries of covariances, that call for another standardisation */
static const double ROUGH_TOLERANCE = 1e-3;
static const double INNER = 0.02, LEAST_INNER = 1e-13;  /* tolerance of inner integrals, as a share of that of the whole; the least */
static const double ENOUGH = 3;                         /* tolerances: what a lattice may miss beside its own error */
static const double FAR = 1.5;                          /* radii: from where on coarse cells do not take mass at the ball's edge for mass beyond it */
static const double UNCERTAIN = 1e-3;                   /* error of the adaptive rule beyond which no lattice is held against it; share of a mode that counts */
/* The grid that looks elsewhere: steps in t, y = sinh t, up to each of these ends; how many numbers there is room for; maxima that are followed. */
static const struct { double step, end; } stretch[MOST + 1][3] = {{{0, 0}}, {{0, 0}}, {{0.2, 6}, {0.5, 10}, {1, 18}}, {{0.5, 6}, {1, 10}, {2, 18}},
                                                            {{1, 6}, {2, 10}}, {{1.2, 6}, {2, 8}}, {{1.5, 6}}};
enum { MOST_NODES = 100, SEEN = 1 << 20, MOST_MAXIMA = 12 };
static const double SLOWEST = 0.95;                     /* decay from shell to shell */
static const double RESCALE = 30;                       /* nats */
static const double points_to_look[MOST + 1] = {0, 320, 15000, 1.2e5, 3e5, 2e6, 1.5e7}; /* about */
static const double points_adaptive[MOST + 1] = {0, 270, 1.3e5, 3.5e7, INFINITY, INFINITY, INFINITY};
static const double ASIDE = 0.37;                       /* middle of the lines in y: at 0 corners are likely, and at a panel's edge both of its rules miss them */

/* The sums of one function over a lattice, relative to exp(ref). */
typedef struct {
  double ref, sum[2], shell[2]; /* of either half; of the outermost shells, from outside */
  double mean[MOST], square[MOST][MOST];
  int tries;
} Tally;

/* A maximum of the grid, and how far its neighbours are. */
typedef struct {
  double y[MOST], cell[MOST];
} Maximum;

/* One variable of the adaptive rule. */
typedef struct {
  PgmCubature *c;
  int level;
  PgmQuadrature *quadrature;
  long *function, *call; /* numbers of the functions of this integral, and of one call */
  double *value, *error;
} Nest;

struct PgmCubature {
  int d;
  long room;
  PgmCubatureStart *start;       /* of this run */
  PgmQuadratureStart *outer;     /* of the functions that the adaptive rule works on */
  PgmLattice *before;            /* of functions whose lattice may turn out not to do */
  Tally *tally;
  bool *busy;
  long *list, *group, *chosen;
  double *y, *u, *out;         /* room x d; room x d; room */
  double *middle, *one;        /* centres and widths in y */
  double *inexact, *highest;   /* of the inner integrals of a function; the largest of these so far */
  double *kept;                /* what lattices gave */
  double *seen;                /* logarithms on the grid, function by function */
  Maximum *maximum;            /* MOST_MAXIMA per function */
  int *maxima;
  int nodes;                   /* of the grid, per line, with their cells */
  double node[MOST_NODES], cell[MOST_NODES];
  double inner_tolerance;
  PgmCubatureIntegrand f;
  void *data;
  Nest nest[NESTED];
};

double pgm_cubature_bytes(int dimensions, long functions, int panels)
{
  const double other = sizeof(PgmQuadratureStart) + sizeof(PgmLattice) + sizeof(Tally) + MOST_MAXIMA * sizeof(Maximum) +
                       (4 + 2 * MOST) * sizeof(long) + (6 + 4 * MOST) * sizeof(double);
  return (dimensions > NESTED ? 0 : dimensions) * pgm_quadrature_bytes(functions, panels) + other * (double)functions + (dimensions > 1 ? SEEN * sizeof(double) : 0);
}

/* The grid's nodes on a line, symmetric about 0. */
static void lay_out(PgmCubature *c)
{
  double side[MOST_NODES / 2], from = 0;
  int n = 0;
  if (c->d == 1) return;
  for (int k = 0; k < 3; k++) {
    for (double t = from + 0.5 * stretch[c->d][k].step; stretch[c->d][k].step > 0 && t < stretch[c->d][k].end && n < MOST_NODES / 2; t += stretch[c->d][k].step) side[n++] = sinh(t);
    from = stretch[c->d][k].end;
  }
  c->nodes = 2 * n;
  for (int k = 0; k < n; k++) {
    c->node[n + k] = side[k];
    c->node[n - 1 - k] = -side[k];
    c->cell[n + k] = c->cell[n - 1 - k] = k ? 0.5 * (side[k + 1 < n ? k + 1 : k] - side[k - 1]) : 0.5 * (side[0] + side[1]);
  }
}

PgmStatus pgm_cubature_open(PgmCubature **out, int dimensions, long functions, int panels, PgmError *error)
{
  PgmCubature *c = *out = calloc(1, sizeof *c);
  const size_t n = (size_t)functions, d = (size_t)dimensions;
  if (!c) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  c->d = dimensions;
  c->room = functions;
  c->outer = malloc(n * sizeof *c->outer);
  c->before = malloc(n * sizeof *c->before);
  c->tally = malloc(n * sizeof *c->tally);
  c->busy = malloc(n * sizeof *c->busy);
  c->list = malloc((3 + 2 * d) * n * sizeof *c->list);
  c->y = malloc((6 + 4 * d) * n * sizeof *c->y);
  if (!c->outer || !c->before || !c->tally || !c->busy || !c->list || !c->y) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  c->group = c->list + n;
  c->chosen = c->group + n;
  c->u = c->y + d * n;
  c->out = c->u + d * n;
  c->middle = c->out + n;
  c->one = c->middle + n;
  c->inexact = c->one + n;
  c->highest = c->inexact + n;
  c->kept = c->highest + n;
  for (size_t i = 0; i < n; i++) {
    c->middle[i] = ASIDE;
    c->one[i] = 1;
  }
  lay_out(c);
  if (c->nodes) {
    c->seen = malloc(SEEN * sizeof *c->seen);
    c->maximum = malloc(MOST_MAXIMA * n * sizeof *c->maximum);
    c->maxima = malloc(n * sizeof *c->maxima);
    if (!c->seen || !c->maximum || !c->maxima) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  for (int k = 0; k < dimensions && dimensions <= NESTED; k++) {
    Nest *t = &c->nest[k];
    *t = (Nest){.c = c, .level = k};
    t->function = c->chosen + (size_t)(1 + 2 * k) * n;
    t->call = t->function + n;
    t->value = c->kept + (size_t)(1 + 2 * k) * n;
    t->error = t->value + n;
    const PgmStatus st = pgm_quadrature_open(&t->quadrature, functions, panels, error);
    if (st) return st;
  }
  return PGM_OK;
}

void pgm_cubature_close(PgmCubature *c)
{
  if (!c) return;
  for (int k = 0; k < NESTED; k++) pgm_quadrature_close(c->nest[k].quadrature);
  free(c->outer);
  free(c->before);
  free(c->seen);
  free(c->maximum);
  free(c->maxima);
  free(c->tally);
  free(c->busy);
  free(c->list);
  free(c->y);
  free(c);
}

/* The logarithms of these functions at their points c->y, into c->out. */
static void evaluate(PgmCubature *c, long n, const long *which)
{
  const int d = c->d;
  for (long k = 0; k < n; k++) {
    const PgmLattice *s = &c->start[which[k]].lattice;
    const double *y = c->y + which[k] * d;
    for (int i = 0; i < d; i++) {
      double u = s->centre[i];
      for (int j = 0; j <= i; j++) u += s->shape[i * MOST + j] * y[j];
      c->u[k * d + i] = u;
    }
  }
  c->f(c->data, n, which, c->u, c->out);
}

static double log_volume(const PgmCubature *c, long i)
{
  double sum = 0;
  for (int k = 0; k < c->d; k++) sum += log(c->start[i].lattice.shape[k * MOST + k]);
  return sum;
}

/* ---- the adaptive rule --------------------------------------------------------------------------------------------------------------- */

/* A PgmIntegrand: the integral over the variables after this one. */
static void line(void *data, long n, const long *which, const double *x, double *out)
{
  Nest *t = data;
  PgmCubature *c = t->c;
  for (long k = 0; k < n; k++) {
    t->call[k] = t->function[which[k]];
    c->y[t->call[k] * c->d + t->level] = x[k];
  }
  if (t->level == c->d - 1) {
    evaluate(c, n, t->call);
    memcpy(out, c->out, (size_t)n * sizeof *out);
    return;
  }
  Nest *next = t + 1;
  memcpy(next->function, t->call, (size_t)n * sizeof *next->function);
  pgm_quadrature_run(next->quadrature, n, c->middle, c->one, c->inner_tolerance, line, next, NULL, next->value, next->error);
  memcpy(out, next->value, (size_t)n * sizeof *out);
  for (long k = 0; k < n; k++) { /* as errors of the whole: less where the integrand is small */
    const long i = t->call[k];
    const double share = next->value[k] + log1p(fabs(x[k]));
    c->highest[i] = fmax(c->highest[i], share);
    if (share > -INFINITY) c->inexact[i] = fmax(c->inexact[i], next->error[k] * exp(share - c->highest[i]));
  }
}

/* The functions in c->list by the adaptive rule. `again`: begin where the first variable's mass was. */
static void adaptive(PgmCubature *c, long n, double tolerance, bool again, double *value, double *error)
{
  Nest *t = &c->nest[0];
  for (long k = 0; k < n && c->d > NESTED; k++) {
    value[c->list[k]] = NAN;
    error[c->list[k]] = 0;
  }
  if (!n || c->d > NESTED) return;
  c->inner_tolerance = fmax(INNER * tolerance, LEAST_INNER);
  for (long k = 0; k < n; k++) {
    t->function[k] = c->list[k];
    c->inexact[c->list[k]] = 0;
    c->highest[c->list[k]] = -INFINITY;
    c->outer[k].n = 0;
    if (again && !c->start[c->list[k]].suffices) c->outer[k] = c->start[c->list[k]].outer;
  }
  pgm_quadrature_run(t->quadrature, n, c->middle, c->one, tolerance, line, t, c->outer, t->value, t->error);
  for (long k = 0; k < n; k++) {
    const long i = c->list[k];
    value[i] = t->value[k] + log_volume(c, i);
    error[i] = t->error[k] + c->inexact[i];
    if (!c->start[i].suffices) c->start[i].outer = c->outer[k];
  }
}

/* ---- lattices ------------------------------------------------------------------------------------------------------------------------ */

static void clear_tally(Tally *t)
{
  const int tries = t->tries;
  *t = (Tally){.ref = -INFINITY, .tries = tries};
}

static void scale_tally(Tally *t, int d, double by)
{
  for (int h = 0; h < 2; h++) {
    t->sum[h] *= by;
    t->shell[h] *= by;
  }
  for (int i = 0; i < d; i++) {
    t->mean[i] *= by;
    for (int j = 0; j <= i; j++) t->square[i][j] *= by;
  }
}

/* One point: `half` of the lattice, `shell` counted from outside (2 or more: inside). */
static void count_point(Tally *t, int d, const double *y, int half, int shell, double log_f)
{
  if (!isfinite(log_f)) return;
  if (log_f > t->ref + RESCALE) {
    scale_tally(t, d, t->ref > -INFINITY ? exp(t->ref - log_f) : 0);
    t->ref = log_f;
  }
  const double w = exp(log_f - t->ref);
  t->sum[half] += w;
  if (shell < 2) t->shell[shell] += w;
  for (int i = 0; i < d; i++) {
    t->mean[i] += w * y[i];
    for (int j = 0; j <= i; j++) t->square[i][j] += w * y[i] * y[j];
  }
}

static double points(int d, int fine, int wide)
{
  return 2 * ball[d] * pow(radius[wide] / spacing[fine], d);
}

double pgm_cubature_cost(int dimensions, PgmCubatureMode mode, const PgmCubatureStart *start)
{
  if (mode == PGM_CUBATURE_ROUGH) return points(dimensions, BEGIN_ROUGH, 0);
  if (mode == PGM_CUBATURE_LOOK || !start) return points_to_look[dimensions];
  return start->suffices ? points(dimensions, start->lattice.fine, start->lattice.wide) : points_adaptive[dimensions];
}

/* A lattice's point, turned: by 0.6 in the plane of the first two variables, then in that of the last two. */
static void turn(int d, double *y)
{
  const double cosine = 0.82533561490967830, sine = 0.56464247339503535;
  for (int k = 1; k < d; k++) {
    const double a = y[k - 1], b = y[k];
    y[k - 1] = cosine * a - sine * b;
    y[k] = sine * a + cosine * b;
  }
}

/* A lattice that c->group is summed over. */
typedef struct {
  PgmCubature *c;
  long n;
  double spacing, radius;
  int half;
  bool turned;
  double at[MOST];
} Walk;

/* One point of it, at a distance with this square. */
static void visit(const Walk *w, double square)
{
  PgmCubature *c = w->c;
  const int d = c->d, shell = square > pow(w->radius - 1, 2) ? 0 : square > pow(w->radius - 2, 2) ? 1 : 2;
  double y[MOST];
  memcpy(y, w->at, sizeof y);
  if (w->turned) turn(d, y);
  for (long k = 0; k < w->n; k++) memcpy(c->y + c->group[k] * d, y, (size_t)d * sizeof *y);
  evaluate(c, w->n, c->group);
  for (long k = 0; k < w->n; k++) count_point(&c->tally[c->group[k]], d, y, w->half, shell, c->out[k]);
}

/* All points within the ball that have these first coordinates. */
static void walk(Walk *w, int coordinate, double square)
{
  const double room = fmax(0, w->radius * w->radius - square);
  const long reach = (long)ceil(sqrt(room) / w->spacing);
  for (long k = -reach; k <= reach; k++) {
    const double y = w->at[coordinate] = w->spacing * ((double)k + 0.5 * w->half);
    if (y * y > room) continue;
    if (coordinate == w->c->d - 1)
      visit(w, square + y * y);
    else
      walk(w, coordinate + 1, square + y * y);
  }
}

/* The functions in c->group over their lattice, which is the same for all of them. */
static void pass(PgmCubature *c, long n, int fine, int wide, bool turned)
{
  for (long k = 0; k < n; k++) clear_tally(&c->tally[c->group[k]]);
  for (int half = 0; half < 2; half++) {
    Walk w = {.c = c, .n = n, .spacing = spacing[fine], .radius = radius[wide], .half = half, .turned = turned};
    walk(&w, 0, 0);
  }
}

/* Cholesky factor of the lower triangle of a, in place; false: not positive definite. */
static bool factor(int d, double a[MOST][MOST])
{
  for (int i = 0; i < d; i++)
    for (int j = 0; j <= i; j++) {
      double x = a[i][j];
      for (int k = 0; k < j; k++) x -= a[i][k] * a[j][k];
      if (i == j && !(x > 0)) return false;
      a[i][j] = i == j ? sqrt(x) : x / a[j][j];
    }
  return true;
}

/* Moves centre and shape to the mean and covariance that the lattice found; *off: they are not 0 and 1 or so. False: no numbers. */
static bool standardise(const PgmCubature *c, const Tally *t, PgmLattice *s, bool *off)
{
  const int d = c->d;
  const double total = t->sum[0] + t->sum[1], least = 0.1 * spacing[s->fine] * spacing[s->fine];
  double covariance[MOST][MOST], centre[MOST], shape[PGM_CUBATURE_SHAPE] = {0}, distance = 0;
  bool far;
  *off = false;
  for (int i = 0; i < d; i++) distance += pow(t->mean[i] / total, 2);
  far = distance > 0.25 * radius[s->wide] * radius[s->wide];
  *off = distance > OFF_CENTRE * OFF_CENTRE;
  for (int i = 0; i < d; i++)
    for (int j = 0; j <= i; j++) {
      covariance[i][j] = t->square[i][j] / total - t->mean[i] * t->mean[j] / (total * total);
      *off = *off || fabs(covariance[i][j] - (i == j)) > OFF_SHAPE;
      if (far) covariance[i][j] = i == j; /* mass at the edge says nothing of the shape */
      if (i == j) covariance[i][i] += least * fmax(0, 1 - covariance[i][i]);
    }
  if (!factor(d, covariance)) return false;
  for (int i = 0; i < d; i++) {
    centre[i] = s->centre[i];
    for (int j = 0; j <= i; j++) {
      centre[i] += s->shape[i * MOST + j] * t->mean[j] / total;
      for (int k = j; k <= i; k++) shape[i * MOST + j] += s->shape[i * MOST + k] * covariance[k][j];
      if (!isfinite(centre[i]) || !isfinite(shape[i * MOST + j]) || (i == j && !(shape[i * MOST + i] > 0))) return false;
    }
  }
  if (!*off) return true;
  memcpy(s->centre, centre, sizeof centre);
  memcpy(s->shape, shape, sizeof shape);
  return true;
}

/* How many levels better a lattice should be, by one kind of error. */
static int levels_up(double error, double tolerance)
{
  return error > 1e3 * tolerance ? 2 : error > 0.5 * tolerance ? 1 : 0;
}

/* From a function's tally to its value and error; true: it needs another pass, and its lattice has been changed. */
static bool judge(PgmCubature *c, long i, double tolerance, bool rough, double *value, double *error)
{
  Tally *t = &c->tally[i];
  PgmLattice *s = &c->start[i].lattice;
  const double total = t->sum[0] + t->sum[1];
  bool off;
  if (!(total > 0)) {
    value[i] = -INFINITY;
    error[i] = 1;
    return false;
  }
  const double apart = fabs(t->sum[0] - t->sum[1]) / total, decay = t->shell[0] > 0 ? t->shell[0] / t->shell[1] : 0;
  const double beyond = decay < SLOWEST ? t->shell[0] / total * decay / (1 - decay) : 1;
  value[i] = t->ref + log(0.5 * total) + c->d * log(spacing[s->fine]) + log_volume(c, i);
  error[i] = apart + beyond;
  if (apart + beyond <= tolerance) {
    s->standardised = true;
    return false;
  }
  if (t->tries++ >= (rough ? TRIES_ROUGH : TRIES)) return false;
  if (!standardise(c, t, s, &off)) return false;
  s->standardised = !off;
  if (off) return true;
  const int fine = s->fine + levels_up(apart, tolerance), wide = s->wide + levels_up(beyond, tolerance);
  if (fine >= LEVELS || wide >= LEVELS || points(c->d, fine, wide) > most_points[c->d]) return false;
  s->fine = fine;
  s->wide = wide;
  return true;
}

/* The level of spacing of the lattice that one is held against: finer, if that does not take too many points. */
static int another(const PgmCubature *c, int fine)
{
  return c->d <= NESTED && fine + 1 < LEVELS ? fine + 1 : fine;
}

/* One pass over the functions in c->list that are busy, each over its lattice; `other`: the one that it is held against. */
static void pass_all(PgmCubature *c, long n, bool other)
{
  for (int fine = 0; fine < LEVELS; fine++)
    for (int wide = 0; wide < LEVELS; wide++) {
      long same = 0;
      for (long k = 0; k < n; k++) {
        const PgmLattice *s = &c->start[c->list[k]].lattice;
        if (c->busy[c->list[k]] && s->fine == fine && s->wide == wide) c->group[same++] = c->list[k];
      }
      if (same) pass(c, same, other ? another(c, fine) : fine, wide, other);
    }
}

/* The functions in c->list by lattices, which are fitted on the way. */
static void lattices(PgmCubature *c, long n, double tolerance, bool rough, double *value, double *error)
{
  long left = n;
  for (long k = 0; k < n; k++) {
    c->busy[c->list[k]] = true;
    c->tally[c->list[k]].tries = 0;
  }
  while (left > 0) {
    pass_all(c, n, false);
    for (long k = 0; k < n; k++) {
      const long i = c->list[k];
      if (!c->busy[i] || judge(c, i, tolerance, rough, value, error)) continue;
      c->busy[i] = false;
      left--;
    }
  }
}

/* How far another lattice is from c->kept, for the functions in c->list: c->start[].beyond. The two halves of a lattice tell nothing of reciprocal vectors of even
 * parity, which a corner along a plane may lie on. */
static void hold_against_another(PgmCubature *c, long n)
{
  for (long k = 0; k < n; k++) c->busy[c->list[k]] = true;
  pass_all(c, n, true);
  for (long k = 0; k < n; k++) {
    const long i = c->list[k];
    const Tally *t = &c->tally[i];
    const double h = spacing[another(c, c->start[i].lattice.fine)];
    const double value = t->ref + log(0.5 * (t->sum[0] + t->sum[1])) + c->d * log(h) + log_volume(c, i);
    c->start[i].beyond = fabs(expm1(value - c->kept[i]));
    c->busy[i] = false;
  }
}

/* ---- both ---------------------------------------------------------------------------------------------------------------------------- */

/* The first lattice of a function: where it was, if it was anywhere, else at the caller's centre and widths. */
static void begin(const PgmCubature *c, long i, const double *centre, const double *width, int level)
{
  PgmLattice *s = &c->start[i].lattice;
  if (!s->standardised) {
    *s = (PgmLattice){.standardised = false};
    for (int k = 0; k < c->d; k++) {
      s->centre[k] = centre[i * c->d + k];
      s->shape[k * MOST + k] = width[i * c->d + k];
    }
  }
  s->fine = level;
  s->wide = 0;
}

static long all(PgmCubature *c, long n)
{
  for (long i = 0; i < n; i++) c->list[i] = i;
  return n;
}

/* ---- looking elsewhere: several variables ---- */

/* y of lattice `a`'s centre in the coordinates of `b`, and its square. */
static double distance(int d, const PgmLattice *a, const PgmLattice *b)
{
  double y[MOST], square = 0;
  for (int i = 0; i < d; i++) {
    y[i] = a->centre[i] - b->centre[i];
    for (int j = 0; j < i; j++) y[i] -= b->shape[i * MOST + j] * y[j];
    y[i] /= b->shape[i * MOST + i];
    square += y[i] * y[i];
  }
  return sqrt(square);
}

/* The functions list[0..n-1] at all points of the grid. */
static void see(PgmCubature *c, long n, const long *list)
{
  const int d = c->d;
  const long size = (long)pow(c->nodes, d);
  for (long p = 0; p < size; p++) {
    double y[MOST];
    long rest = p;
    for (int i = 0; i < d; i++, rest /= c->nodes) y[i] = c->node[rest % c->nodes];
    for (long k = 0; k < n; k++) memcpy(c->y + list[k] * d, y, (size_t)d * sizeof *y);
    evaluate(c, n, list);
    for (long k = 0; k < n; k++) c->seen[k * size + p] = isfinite(c->out[k]) ? c->out[k] : -INFINITY;
  }
}

/* Is the logarithm at point p of the grid above those of all neighbours? Of equal ones the last is. */
static bool is_maximum(const PgmCubature *c, const double *log_f, long p)
{
  const int d = c->d;
  int at[MOST], move[MOST];
  long rest = p;
  for (int i = 0; i < d; i++, rest /= c->nodes) at[i] = (int)(rest % c->nodes);
  for (int i = 0; i < d; i++) move[i] = -1;
  for (bool more = true; more;) {
    long other = 0, stride = 1;
    bool inside = true;
    for (int i = 0; i < d; i++, stride *= c->nodes) {
      inside = inside && at[i] + move[i] >= 0 && at[i] + move[i] < c->nodes;
      other += (at[i] + move[i]) * stride;
    }
    if (inside && other != p && (log_f[other] > log_f[p] || (other > p && log_f[other] == log_f[p]))) return false;
    int i = 0;
    while (i < d && ++move[i] > 1) move[i++] = -1;
    more = i < d;
  }
  return true;
}

/* What the grid finds beyond the ball of function i's lattice: its share of the integral, and maxima. Returns how many there are, of which found[] has up to
 * MOST_MAXIMA. */
static int beyond_ball(PgmCubature *c, long i, const double *log_f, Maximum *found)
{
  const int d = c->d;
  const double edge = radius[c->start[i].lattice.wide], log_integral = c->kept[i] - log_volume(c, i);
  const long size = (long)pow(c->nodes, d);
  double share = 0;
  int n = 0;
  for (long p = 0; p < size; p++) {
    double square = 0, volume = 1;
    Maximum m;
    long rest = p;
    if (log_f[p] == -INFINITY) continue;
    for (int k = 0; k < d; k++, rest /= c->nodes) {
      m.y[k] = c->node[rest % c->nodes];
      m.cell[k] = c->cell[rest % c->nodes];
      square += m.y[k] * m.y[k];
      volume *= m.cell[k];
    }
    if (square <= edge * edge) continue;
    if (d <= NESTED || square > FAR * FAR * edge * edge) share += volume * exp(log_f[p] - log_integral);
    if (!is_maximum(c, log_f, p)) continue;
    if (n < MOST_MAXIMA) found[n] = m;
    n++;
  }
  c->start[i].beyond += n > MOST_MAXIMA ? INFINITY : share;
  return n;
}

/* A lattice about a maximum of the grid. */
static void begin_at(int d, const PgmLattice *main, const Maximum *m, PgmLattice *s)
{
  for (int i = 0; i < d; i++) {
    s->centre[i] = main->centre[i];
    for (int j = 0; j <= i; j++) {
      s->centre[i] += main->shape[i * MOST + j] * m->y[j];
      s->shape[i * MOST + j] = main->shape[i * MOST + j] * m->cell[j];
    }
  }
  s->standardised = false;
  s->fine = BEGIN_ROUGH;
  s->wide = 0;
}

/* A lattice where `main` would be with the signs of some coordinates changed (bits of `signs`), or two coordinates exchanged. */
static bool begin_mirrored(int d, const PgmLattice *main, int signs, int a, int b, PgmLattice *s)
{
  double covariance[MOST][MOST] = {{0}};
  int from[MOST];
  for (int i = 0; i < d; i++) from[i] = i == a ? b : i == b ? a : i;
  for (int i = 0; i < d; i++) {
    const double sign = signs >> i & 1 ? -1 : 1;
    s->centre[i] = sign * main->centre[from[i]];
    for (int j = 0; j <= i; j++)
      for (int k = 0; k < d; k++)
        covariance[i][j] += sign * (signs >> j & 1 ? -1 : 1) * main->shape[from[i] * MOST + k] * main->shape[from[j] * MOST + k];
  }
  if (!factor(d, covariance)) return false;
  for (int i = 0; i < d; i++)
    for (int j = 0; j <= i; j++) s->shape[i * MOST + j] = covariance[i][j];
  s->standardised = false;
  s->fine = BEGIN_ROUGH;
  s->wide = 0;
  return true;
}

/* Follows the lattices of the functions in c->list to the modes that they belong to; what these have, if they are beyond the balls of c->before. */
static void climb(PgmCubature *c, long n, double *value, double *error)
{
  lattices(c, n, ROUGH_TOLERANCE, false, value, error);
  for (long k = 0; k < n; k++) {
    const long i = c->list[k];
    const PgmLattice *s = &c->start[i].lattice;
    if (value[i] == -INFINITY || distance(c->d, s, &c->before[i]) <= radius[c->before[i].wide]) continue;
    const double share = s->standardised ? exp(value[i] - c->kept[i]) : INFINITY;
    c->start[i].beyond += share;
    c->start[i].elsewhere = c->start[i].elsewhere || share > UNCERTAIN;
  }
}

/* Are there modes where symmetries would have them? Of functions which[0..n-1], as look_beyond. */
static void look_at_mirrors(PgmCubature *c, long n, const long *which, double *value, double *error)
{
  const int d = c->d, mirrors = (1 << d) - 1, swaps = d * (d - 1) / 2;
  for (int m = 0; m < mirrors + swaps; m++) {
    long listed = 0;
    int a = -1, b = -1;
    for (int k = m - mirrors, i = 0; k >= 0 && i < d; k -= d - 1 - i++)
      if (k < d - 1 - i) {
        a = i;
        b = i + 1 + k;
        break;
      }
    for (long k = 0; k < n; k++) {
      const long i = which[k];
      PgmLattice *s = &c->start[i].lattice;
      if (!(c->start[i].beyond <= 1)) continue;
      if (begin_mirrored(d, &c->before[i], m < mirrors ? m + 1 : 0, a, b, s) && distance(d, s, &c->before[i]) > radius[c->before[i].wide]) c->list[listed++] = i;
    }
    climb(c, listed, value, error);
  }
}

/* The share of the integral beyond their lattices' balls, of functions which[0..n-1], whose lattices gave c->kept. */
static void look_beyond(PgmCubature *c, long n, const long *which, double *value, double *error)
{
  const int d = c->d;
  const long size = (long)pow(c->nodes, d);
  int most = 0;
  see(c, n, which);
  for (long k = 0; k < n; k++) {
    c->maxima[k] = beyond_ball(c, which[k], c->seen + k * size, c->maximum + k * MOST_MAXIMA);
    if (c->maxima[k] > most) most = c->maxima[k];
    c->before[which[k]] = c->start[which[k]].lattice;
  }
  for (int m = 0; m < most; m++) {
    long listed = 0;
    for (long k = 0; k < n; k++) {
      const long i = which[k];
      if (m >= c->maxima[k] || !isfinite(c->start[i].beyond)) continue;
      begin_at(d, &c->before[i], &c->maximum[k * MOST_MAXIMA + m], &c->start[i].lattice);
      c->list[listed++] = i;
    }
    climb(c, listed, value, error);
  }
  look_at_mirrors(c, n, which, value, error);
  for (long k = 0; k < n; k++) c->start[which[k]].lattice = c->before[which[k]];
}

static void look(PgmCubature *c, long n, const double *centre, const double *width, double tolerance, double *value, double *error)
{
  long chosen = 0;
  for (long i = 0; i < n; i++) begin(c, i, centre, width, BEGIN_ROUGH);
  lattices(c, all(c, n), ROUGH_TOLERANCE, false, c->kept, error);
  for (long i = 0; i < n; i++) begin(c, i, centre, width, BEGIN);
  lattices(c, all(c, n), tolerance, false, c->kept, error);
  for (long i = 0; i < n; i++) {
    PgmCubatureStart *s = &c->start[i];
    s->suffices = s->elsewhere = false;
    s->beyond = INFINITY;
    if (!s->lattice.standardised) begin(c, i, centre, width, BEGIN);
    if (error[i] <= tolerance) c->list[chosen++] = i;
  }
  if (c->d > 1) hold_against_another(c, chosen);
  long kept = 0;
  for (long k = 0; k < chosen; k++)
    if (c->d == 1 || c->start[c->list[k]].beyond <= ENOUGH * tolerance) c->chosen[kept++] = c->list[k];
  chosen = kept;
  const long together = c->d > 1 ? SEEN / (long)pow(c->nodes, c->d) : 1;
  for (long from = 0; from < chosen && c->d > 1; from += together)
    look_beyond(c, chosen - from < together ? chosen - from : together, c->chosen + from, value, error);
  if (c->d == 1) adaptive(c, all(c, n), tolerance, false, value, error);
  for (long k = 0; k < chosen; k++) {
    const long i = c->chosen[k];
    PgmCubatureStart *s = &c->start[i];
    if (c->d == 1) s->beyond = error[i] <= UNCERTAIN ? fmax(0, fabs(c->kept[i] - value[i]) - 2 * error[i]) : INFINITY;
    s->suffices = s->beyond <= ENOUGH * tolerance;
  }
  for (long i = 0; i < n && c->d > 1; i++) {
    value[i] = c->start[i].suffices ? c->kept[i] : NAN;
    error[i] = tolerance;
  }
}

/* By lattices where these suffice; where they do not after all, for once as the others. */
static void near_by(PgmCubature *c, long n, double tolerance, double *value, double *error)
{
  long listed = 0, others = 0;
  for (long i = 0; i < n; i++)
    if (c->start[i].suffices) {
      c->before[i] = c->start[i].lattice;
      c->list[listed++] = i;
    }
  lattices(c, listed, tolerance, false, value, error);
  for (long i = 0; i < n; i++) {
    PgmCubatureStart *s = &c->start[i];
    if (s->suffices && error[i] <= tolerance) {
      error[i] += s->beyond;
      continue;
    }
    if (s->suffices) s->lattice = c->before[i];
    c->list[others++] = i;
  }
  adaptive(c, others, tolerance, true, value, error);
}

void pgm_cubature_run(PgmCubature *c, long n, const double *centre, const double *width, double tolerance, PgmCubatureMode mode, PgmCubatureIntegrand f, void *data,
                      PgmCubatureStart *start, double *value, double *error)
{
  c->f = f;
  c->data = data;
  c->start = start;
  switch (mode) {
  case PGM_CUBATURE_LOOK:
    look(c, n, centre, width, tolerance, value, error);
    break;
  case PGM_CUBATURE_NEAR:
    near_by(c, n, tolerance, value, error);
    break;
  case PGM_CUBATURE_ROUGH:
    for (long i = 0; i < n; i++) begin(c, i, centre, width, BEGIN_ROUGH);
    lattices(c, all(c, n), ROUGH_TOLERANCE, true, value, error);
  }
}
