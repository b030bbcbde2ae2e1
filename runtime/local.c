/* Newton sweeps over separable local latent variables: see local.h. */
#include "local.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 2, LEAST = 1024, GROUPS = 64, MAX_COORDINATES = 64 };

/* One family: coordinate c of element r is the mean of entry c (c < w) or the log sd of entry c - w. Arrays are [coordinate][row], so that
 * loops over rows vectorise; in x the entries of an element lie together. */
typedef struct {
  const PgmSource *source;
  long rows, w, first;             /* first: of its elements in arrays per element */
  double *point, *gradient, *step; /* accepted point, its gradient, the step under trial: 2w x rows each */
  double *s[PAIRS], *y[PAIRS];     /* secant pairs */
  double *rho[PAIRS];              /* per row: 1 / s.y, 0: no pair */
  double *radius, *share;          /* per row: trust radius, in sds; which part of the step wanted is under trial */
  double *left;                    /* per row: nats that a further step promises, at the accepted point */
  double *curvature;               /* w x rows: p at the accepted point */
} Family;

struct PgmLocals {
  const PgmSources *q;
  int n;
  Family *family;
  long elements, doubles;
  bool complete, fresh; /* fresh: nothing accepted yet */
  double *store;
};

static double *take(double **at, long n)
{
  double *p = *at;
  *at += n;
  return p;
}

PgmStatus pgm_locals_open(PgmLocals **out, const PgmSources *q, PgmError *error)
{
  *out = NULL;
  PgmLocals *l = calloc(1, sizeof *l);
  if (!l) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  l->family = calloc((size_t)q->n + 1, sizeof *l->family);
  l->q = q;
  l->complete = true;
  long doubles = 0;
  for (int i = 0; i < q->n && l->family; i++) {
    const PgmSource *f = &q->source[i];
    if (!f->local) continue;
    if (f->kind != PGM_FREE || !q->s->model->families[f->family].separable || 2 * f->uwidth > MAX_COORDINATES) {
      l->complete = false;
      continue;
    }
    l->family[l->n++] = (Family){.source = f, .rows = f->rows, .w = f->uwidth, .first = l->elements};
    l->elements += f->rows;
    l->doubles += 2 * f->rows * f->uwidth;
    doubles += f->rows * (2 * f->uwidth * (3 + 2 * PAIRS) + PAIRS + 3 + f->uwidth);
  }
  if (!l->n) {
    pgm_locals_close(l);
    return PGM_OK;
  }
  double *at = l->store = calloc((size_t)doubles + 1, sizeof *l->store);
  if (!l->family || !l->store) {
    pgm_locals_close(l);
    return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  for (int i = 0; i < l->n; i++) {
    Family *f = &l->family[i];
    const long all = 2 * f->w * f->rows;
    f->point = take(&at, all);
    f->gradient = take(&at, all);
    f->step = take(&at, all);
    for (int k = 0; k < PAIRS; k++) {
      f->s[k] = take(&at, all);
      f->y[k] = take(&at, all);
      f->rho[k] = take(&at, f->rows);
    }
    f->radius = take(&at, f->rows);
    f->share = take(&at, f->rows);
    f->left = take(&at, f->rows);
    f->curvature = take(&at, f->w * f->rows);
  }
  *out = l;
  return PGM_OK;
}

void pgm_locals_close(PgmLocals *l)
{
  if (!l) return;
  free(l->family);
  free(l->store);
  free(l);
}

bool pgm_locals_complete(const PgmLocals *l)
{
  return l->complete;
}
long pgm_locals_elements(const PgmLocals *l)
{
  return l->elements;
}
long pgm_locals_size(const PgmLocals *l)
{
  return l->doubles;
}

void pgm_locals_begin(PgmLocals *l)
{
  l->fresh = true;
  for (int i = 0; i < l->n; i++)
    for (long r = 0; r < l->family[i].rows; r++) {
      l->family[i].radius[r] = 4;
      for (int k = 0; k < PAIRS; k++) l->family[i].rho[k][r] = 0;
    }
}

/* Place of coordinate c of row r in x. */
static inline long place(const Family *f, long c, long r)
{
  return c < f->w ? f->source->at + r * f->w + c : f->source->sd_at + r * f->w + (c - f->w);
}

/* The step from the accepted point of row r: quasi-Newton within trust radius and caps. */
static void propose(Family *f, long r)
{
  const long n = f->rows, w = f->w, dims = 2 * w;
  double d[MAX_COORDINATES], h[MAX_COORDINATES], alpha[PAIRS];
  bool far = false;
  for (long k = 0; k < w; k++) {
    const double sd = exp(f->point[(w + k) * n + r]), p = f->curvature[k * n + r], ps2 = p * sd * sd;
    h[k] = p > 0 && ps2 > 1e-3 ? 1 / p : sd * sd;
    h[w + k] = 0.5;
    far = far || !(ps2 > 0.25 && ps2 < 4);
  }
  for (long c = 0; c < dims; c++) d[c] = f->gradient[c * n + r];
  if (far) { /* the log sds first: their fixed point, and plain Newton for the means */
    for (long k = 0; k < w; k++) {
      const double sd = exp(f->point[(w + k) * n + r]), ps2 = f->curvature[k * n + r] * sd * sd;
      d[k] *= h[k];
      d[w + k] = ps2 > 0 ? -0.5 * log(ps2) : 0.5 * d[w + k];
    }
    for (int k = 0; k < PAIRS; k++) f->rho[k][r] = 0;
  } else {
    for (int k = 0; k < PAIRS; k++) {
      if (f->rho[k][r] == 0) continue;
      double dot = 0;
      for (long c = 0; c < dims; c++) dot += f->s[k][c * n + r] * d[c];
      alpha[k] = f->rho[k][r] * dot;
      for (long c = 0; c < dims; c++) d[c] -= alpha[k] * f->y[k][c * n + r];
    }
    for (long c = 0; c < dims; c++) d[c] *= h[c];
    for (int k = PAIRS - 1; k >= 0; k--) {
      if (f->rho[k][r] == 0) continue;
      double dot = 0;
      for (long c = 0; c < dims; c++) dot += f->y[k][c * n + r] * d[c];
      for (long c = 0; c < dims; c++) d[c] += (alpha[k] - f->rho[k][r] * dot) * f->s[k][c * n + r];
    }
    double uphill = 0;
    for (long c = 0; c < dims; c++) uphill += d[c] * f->gradient[c * n + r];
    if (!(uphill >= 0)) {
      for (long c = 0; c < dims; c++) d[c] = h[c] * f->gradient[c * n + r];
      for (int k = 0; k < PAIRS; k++) f->rho[k][r] = 0;
    }
  }
  double shrink = 1;
  for (long k = 0; k < w; k++) {
    const double limit = f->radius[r] * sqrt(h[k]);
    if (fabs(d[k]) > limit) shrink = fmin(shrink, limit / fabs(d[k]));
    if (fabs(d[w + k]) > 2) shrink = fmin(shrink, 2 / fabs(d[w + k]));
  }
  for (long c = 0; c < dims; c++) f->step[c * n + r] = shrink * d[c];
  f->share[r] = shrink;
}

/* Accepts or rejects the trial of row r, whose gradient is `gradient`. Returns the predicted gain of a further step, in nats. */
static double judge(Family *f, bool fresh, long r, double *x, const double *gradient, long *rejected)
{
  const long n = f->rows, w = f->w, dims = 2 * w;
  bool finite = true;
  double before = 0, after = 0; /* slopes along the step */
  for (long c = 0; c < dims; c++) {
    const double g = gradient[place(f, c, r)];
    finite = finite && isfinite(g);
    if (!fresh) {
      before += f->gradient[c * n + r] * f->step[c * n + r];
      after += g * f->step[c * n + r];
    }
  }
  /* Slopes that turn by more than they were, or grow fourfold, belong to a function that does other things on the way: shorter steps. */
  if (!fresh && (!finite || ((after < -before || after > 4 * before) && before > 1e-12))) {
    const double shrink = finite ? 0.3 : 0.1;
    double gain = 0;
    for (long c = 0; c < dims; c++) {
      gain += 0.5 * fabs(f->gradient[c * n + r] * f->step[c * n + r]);
      f->step[c * n + r] *= shrink;
      x[place(f, c, r)] = f->point[c * n + r];
    }
    f->radius[r] *= shrink;
    f->left[r] = gain;
    for (int k = 0; k < PAIRS; k++) f->rho[k][r] = 0;
    ++*rejected;
    return gain;
  }
  if (!fresh) {
    double sy = 0, ss = 0, yy = 0;
    for (int k = PAIRS - 1; k > 0; k--) {
      for (long c = 0; c < dims; c++) {
        f->s[k][c * n + r] = f->s[k - 1][c * n + r];
        f->y[k][c * n + r] = f->y[k - 1][c * n + r];
      }
      f->rho[k][r] = f->rho[k - 1][r];
    }
    for (long c = 0; c < dims; c++) {
      const double step = f->step[c * n + r], turn = f->gradient[c * n + r] - gradient[place(f, c, r)];
      f->s[0][c * n + r] = step;
      f->y[0][c * n + r] = turn;
      sy += step * turn;
      ss += step * step;
      yy += turn * turn;
    }
    f->rho[0][r] = sy > 1e-10 * sqrt(ss * yy) && sy > DBL_MIN ? 1 / sy : 0;
    const double surprise = before > 1e-12 ? fabs(after / before - (1 - f->share[r])) : 0; /* a quadratic has none */
    if (surprise < 0.3 && f->share[r] < 1) f->radius[r] = fmin(4 * f->radius[r], 1e6);
    if (surprise > 0.8) f->radius[r] *= 0.5;
  }
  double gain = 0;
  for (long c = 0; c < dims; c++) {
    const double g = gradient[place(f, c, r)];
    f->point[c * n + r] = x[place(f, c, r)];
    f->gradient[c * n + r] = finite ? g : 0;
    if (c >= w) { /* s * sd_bar = g - 1 without the entropy, p = -sd_bar / s */
      const double sd = exp(f->point[c * n + r]), p = (1 - g) / (sd * sd), gm = f->gradient[(c - w) * n + r];
      f->curvature[(c - w) * n + r] = p;
      gain += 0.5 * gm * gm * (p > 0 && p * sd * sd > 1e-3 ? 1 / p : sd * sd) + 0.25 * g * g;
    }
  }
  if (!isfinite(gain)) gain = 0;
  f->left[r] = gain;
  propose(f, r);
  return gain;
}

/* judge() and propose() for rows [from, to) of a family with one entry per element, without branches, so that the compiler vectorises it.
 * */
static double judge_scalars(Family *f, bool fresh, long from, long to, double *x, const double *gradient, long *rejected)
{
  const long n = f->rows;
  double *restrict pm = f->point, *restrict pl = pm + n, *restrict gm0 = f->gradient, *restrict gl0 = gm0 + n;
  double *restrict dm = f->step, *restrict dl = dm + n, *restrict rho0 = f->rho[0], *restrict rho1 = f->rho[1];
  double *restrict sm0 = f->s[0], *restrict sl0 = sm0 + n, *restrict ym0 = f->y[0], *restrict yl0 = ym0 + n;
  double *restrict sm1 = f->s[1], *restrict sl1 = sm1 + n, *restrict ym1 = f->y[1], *restrict yl1 = ym1 + n;
  double *restrict radius = f->radius, *restrict share = f->share, *restrict left = f->left, *restrict curvature = f->curvature;
  double *restrict xm = x + f->source->at, *restrict xl = x + f->source->sd_at;
  const double *restrict gm1 = gradient + f->source->at, *restrict gl1 = gradient + f->source->sd_at;
  const double old = fresh ? 0 : 1;
  double gain = 0, put_back = 0;
#pragma omp simd reduction(+ : gain, put_back)
  for (long r = from; r < to; r++) {
    const bool finite = (gm1[r] - gm1[r] == 0) & (gl1[r] - gl1[r] == 0);
    const double gm = finite ? gm1[r] : 0, gl = finite ? gl1[r] : 0, m = xm[r], l = xl[r], stepm = dm[r], stepl = dl[r];
    const double before = old * (gm0[r] * stepm + gl0[r] * stepl), after = gm * stepm + gl * stepl;
    const bool astray = (before > 1e-12) & ((after < -before) | (after > 4 * before)), reject = (!fresh) & ((!finite) | astray);
    const double shrink_back = finite ? 0.3 : 0.1;
    const double promised = 0.5 * (fabs(gm0[r] * stepm) + fabs(gl0[r] * stepl));
    /* accepted: the secant pair, the radius */
    const double turnm = gm0[r] - gm, turnl = gl0[r] - gl;
    const double sy = stepm * turnm + stepl * turnl, ss = stepm * stepm + stepl * stepl, yy = turnm * turnm + turnl * turnl;
    const double new_rho = (!fresh) & (sy > 1e-10 * sqrt(ss * yy)) & (sy > DBL_MIN) ? 1 / sy : 0;
    const double ratio = before > 1e-12 ? after / before : 1 - share[r], surprise = fabs(ratio - (1 - share[r]));
    const double wider = (surprise < 0.3) & (share[r] < 1) & (!fresh) ? 4 : surprise > 0.8 ? 0.5 : 1;
    const double trust = pgm_fmin(radius[r] * wider, 1e6);
    const double sd = exp(l), p = (1 - gl) / (sd * sd), ps2 = 1 - gl;
    const double hm = (p > 0) & (ps2 > 1e-3) ? 1 / p : sd * sd;
    const double now = 0.5 * gm * gm * hm + 0.25 * gl * gl, next = now - now == 0 ? now : 0;
    /* the step: plain Newton and the fixed point of the log sd when far, else two secant pairs around the Fisher metric */
    const bool far = !((ps2 > 0.25) & (ps2 < 4));
    const double r1 = rho0[r], s1m = sm0[r], s1l = sl0[r], y1m = ym0[r], y1l = yl0[r]; /* the older pair, once this one is in */
    double qm = gm, ql = gl;
    const double a0 = new_rho * (stepm * qm + stepl * ql);
    qm -= a0 * turnm;
    ql -= a0 * turnl;
    const double a1 = r1 * (s1m * qm + s1l * ql);
    qm = hm * (qm - a1 * y1m);
    ql = 0.5 * (ql - a1 * y1l);
    const double b1 = a1 - r1 * (y1m * qm + y1l * ql);
    qm += b1 * s1m;
    ql += b1 * s1l;
    const double b0 = a0 - new_rho * (turnm * qm + turnl * ql);
    qm += b0 * stepm;
    ql += b0 * stepl;
    const bool uphill = qm * gm + ql * gl >= 0, plain = far | (!uphill);
    const double fixed = ps2 > 0 ? -0.5 * log(ps2 > 0 ? ps2 : 1) : 0.5 * gl;
    qm = plain ? hm * gm : qm;
    ql = far ? fixed : uphill ? ql : 0.5 * gl;
    const double limit = trust * sqrt(hm), am = fabs(qm), al = fabs(ql);
    const double part = pgm_fmin(am > limit ? limit / am : 1, al > 2 ? 2 / al : 1);
    /* one or the other */
    gain += reject ? promised : next;
    put_back += reject ? 1 : 0;
    left[r] = reject ? promised : next;
    xm[r] = reject ? pm[r] : m;
    xl[r] = reject ? pl[r] : l;
    pm[r] = reject ? pm[r] : m;
    pl[r] = reject ? pl[r] : l;
    gm0[r] = reject ? gm0[r] : gm;
    gl0[r] = reject ? gl0[r] : gl;
    curvature[r] = reject ? curvature[r] : p;
    radius[r] = reject ? radius[r] * shrink_back : trust;
    share[r] = reject ? share[r] : part;
    dm[r] = reject ? stepm * shrink_back : part * qm;
    dl[r] = reject ? stepl * shrink_back : part * ql;
    sm1[r] = s1m, sl1[r] = s1l, ym1[r] = y1m, yl1[r] = y1l;
    sm0[r] = stepm, sl0[r] = stepl, ym0[r] = turnm, yl0[r] = turnl;
    rho1[r] = reject | plain ? 0 : r1;
    rho0[r] = reject | plain ? 0 : new_rho;
  }
  *rejected += (long)put_back;
  return gain;
}

PgmJudged pgm_locals_judge(PgmLocals *l, double *x, const double *gradient)
{
  PgmJudged total = {0, 0};
  const bool fresh = l->fresh;
  l->fresh = false;
  for (int i = 0; i < l->n; i++) {
    Family *f = &l->family[i];
    const int groups = f->rows < LEAST * GROUPS ? (int)((f->rows + LEAST - 1) / LEAST) : GROUPS; /* summed in order */
    double gain[GROUPS];
    long rejected[GROUPS];
#pragma omp parallel for schedule(static) num_threads(l->q->s->threads) if (l->q->s->threads > 1 && 8 * f->rows > PGM_PARALLEL)
    for (int group = 0; group < groups; group++) {
      gain[group] = 0;
      rejected[group] = 0;
      const long from = f->rows * group / groups, to = f->rows * (group + 1) / groups;
      if (f->w == 1)
        gain[group] = judge_scalars(f, fresh, from, to, x, gradient, &rejected[group]);
      else
        for (long r = from; r < to; r++) gain[group] += judge(f, fresh, r, x, gradient, &rejected[group]);
    }
    for (int group = 0; group < groups; group++) {
      total.gain += gain[group];
      total.rejected += rejected[group];
    }
  }
  return total;
}

static void put(const PgmLocals *l, double *x, double share)
{
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    PGM_PIECES(f->rows, l->q->s->threads, from, to, {
      for (long c = 0; c < 2 * f->w; c++) {
        const double *restrict point = f->point + c * f->rows, *restrict step = f->step + c * f->rows;
        double *restrict out = x + place(f, c, 0);
        for (long r = from; r < to; r++) out[r * f->w] = point[r] + share * step[r];
      }
    });
  }
}

void pgm_locals_move(PgmLocals *l, double *x)
{
  put(l, x, 1);
}
void pgm_locals_restore(PgmLocals *l, double *x)
{
  put(l, x, 0);
}

void pgm_scales_from_curvature(const PgmSources *q, double *x, const double *gradient)
{
  for (int i = 0; i < q->n; i++) {
    const PgmSource *f = &q->source[i];
    if (f->kind == PGM_FUNCTION || f->point) continue;
    /* shared factors: the gradient is a sum over the elements, and so is the curvature */
    const double each = f->kind == PGM_SHARED ? 1 / fmax((double)f->rows, 1) : 1;
    for (long e = 0; e < f->size / 2; e++) {
      double sd = exp(x[f->sd_at + e]), p = (1 - each * gradient[f->sd_at + e]) / (sd * sd);
      if (p > 0 && isfinite(p)) x[f->sd_at + e] = fmin(fmax(-0.5 * log(p), -12), 3);
    }
  }
}

static const double SETTLED = 1e-2; /* nats: elements that may still gain more are not at an optimum */

/* ---- multistart ---------------------------------------------------------------------------------------------------------------------- */

void pgm_locals_save(const PgmLocals *l, const double *x, double *copy)
{
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    size_t bytes = (size_t)(f->rows * f->w) * sizeof *x;
    memcpy(copy, x + f->source->at, bytes);
    memcpy(copy + f->rows * f->w, x + f->source->sd_at, bytes);
    copy += 2 * f->rows * f->w;
  }
}

void pgm_locals_load(const PgmLocals *l, const double *copy, double *x)
{
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    size_t bytes = (size_t)(f->rows * f->w) * sizeof *x;
    memcpy(x + f->source->at, copy, bytes);
    memcpy(x + f->source->sd_at, copy + f->rows * f->w, bytes);
    copy += 2 * f->rows * f->w;
  }
}

void pgm_locals_shift(const PgmLocals *l, double shift, const double *copy, double *x)
{
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    const double *mean = copy, *log_sd = copy + f->rows * f->w;
    for (long k = 0; k < f->w; k++) {
      double sum = 0, square = 0;
      for (long r = 0; r < f->rows; r++) {
        const double m = mean[r * f->w + k], sd = exp(log_sd[r * f->w + k]);
        sum += m;
        square += m * m + sd * sd;
      }
      const double center = sum / (double)f->rows, spread = sqrt(fmax(square / (double)f->rows - center * center, 0));
      for (long r = 0; r < f->rows; r++) x[f->source->at + r * f->w + k] = center + shift * spread;
    }
    copy += 2 * f->rows * f->w;
  }
}

void pgm_locals_between(const PgmLocals *l, const double *a, const double *b, double t, double *x)
{
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    const long n = f->rows * f->w;
    double *restrict mean = x + f->source->at, *restrict log_sd = x + f->source->sd_at;
    PGM_PIECES(n, l->q->s->threads, from, to, {
      for (long e = from; e < to; e++) {
        mean[e] = a[e] + t * (b[e] - a[e]);
        log_sd[e] = a[n + e] + t * (b[n + e] - a[n + e]);
      }
    });
    a += 2 * n;
    b += 2 * n;
  }
}

void pgm_locals_slope(const PgmLocals *l, const double *a, const double *b, const double *gradient, double weight, double *gain)
{
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    const long n = f->rows * f->w, w = f->w;
    const double *restrict mean_bar = gradient + f->source->at, *restrict sd_bar = gradient + f->source->sd_at;
    double *restrict out = gain + f->first;
    PGM_PIECES(f->rows, l->q->s->threads, from, to, {
      for (long r = from; r < to; r++)
        for (long e = r * w; e < (r + 1) * w; e++) out[r] += weight * (mean_bar[e] * (b[e] - a[e]) + sd_bar[e] * (b[n + e] - a[n + e]));
    });
    a += 2 * n;
    b += 2 * n;
  }
}

/* Whether the element's factors differ noticeably between two copies (a and b at the family's beginning). */
static bool differs(const Family *f, const double *a, const double *b, long r)
{
  const long n = f->rows * f->w;
  for (long e = r * f->w; e < (r + 1) * f->w; e++)
    if (fabs(a[e] - b[e]) > 1e-3 * exp(a[n + e]) || fabs(a[n + e] - b[n + e]) > 1e-3) return true;
  return false;
}

long pgm_locals_differ(const PgmLocals *l, const double *a, const double *b)
{
  long count = 0;
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    for (long r = 0; r < f->rows; r++) count += f->left[r] < SETTLED && differs(f, a, b, r);
    a += 2 * f->rows * f->w;
    b += 2 * f->rows * f->w;
  }
  return count;
}

/* The first of two estimates is the coarser one. Whether its sign, or that it is nothing, is beyond doubt. */
static bool certain(double coarse, double fine)
{
  return fabs(fine) > 3 * fabs(fine - coarse) + 1e-4 || fabs(coarse) + fabs(fine) < 2e-4;
}

long pgm_locals_undecided(const PgmLocals *l, const double *a, const double *b, const double *coarse, const double *fine)
{
  long count = 0;
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    for (long r = 0; r < f->rows; r++)
      count += f->left[r] < SETTLED && differs(f, a, b, r) && !certain(coarse[f->first + r], fine[f->first + r]);
    a += 2 * f->rows * f->w;
    b += 2 * f->rows * f->w;
  }
  return count;
}

long pgm_locals_choose(const PgmLocals *l, double *a, const double *b, const double *coarse, const double *fine, double *sum)
{
  long count = 0;
  *sum = 0;
  for (int i = 0; i < l->n; i++) {
    const Family *f = &l->family[i];
    const long n = f->rows * f->w;
    for (long r = 0; r < f->rows; r++) {
      if (f->left[r] >= SETTLED || fine[f->first + r] < 1e-4 || !certain(coarse[f->first + r], fine[f->first + r]) || !differs(f, a, b, r))
        continue;
      for (long e = r * f->w; e < (r + 1) * f->w; e++) {
        a[e] = b[e];
        a[n + e] = b[n + e];
      }
      *sum += fine[f->first + r];
      count++;
    }
    a += 2 * n;
    b += 2 * n;
  }
  return count;
}
