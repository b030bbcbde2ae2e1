/* Adaptive integrals of many functions of one variable over the whole line, which may have several modes and heavy tails.
 *
 * In: logarithms of the functions, at one point of each of a list of functions per call; for each a centre and a width. Out: logarithms of the integrals
 * with estimates of their errors.
 *
 * The variable is u = centre + width * sinh(t), so that tails like those of a Cauchy distribution fall exponentially in t, and |t| <= 36 is 10^15 widths on
 * either side. That range is cut into panels, each integrated by the Gauss-Kronrod rule with 7 and 15 nodes and given the error estimate of QUADPACK's qk15
 * (Piessens, de Doncker-Kapenga, Ueberhuber & Kahaner 1983). A panel is halved for either of two reasons:
 *   - its error is too large a part of the integral;
 *   - it may hide a peak. A narrow mode between two nodes adds nothing to either rule, but the logarithm of the function rises towards it from afar. Where
 *     the logarithm at a node is above both neighbours by much, a parabola says how high the peak can be; if that counts, the panel is halved, and the halves
 *     close in on it.
 * A mode that the logarithm does not announce at any node (one needle of a mixture far away) is not found.
 *
 * Many integrals of functions that differ little (a unit's density at many draws of the globals) are begun with the panels of the first one, those within e^60
 * of its highest node. These are halved for their errors alone. If panels that counted for nothing then do count, the function is begun anew. */
#include "quadrature.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "pgm.h"

enum { NODES = 15, HALF = 8 };
/* Abscissae from the end of the interval to its middle; weights of the 15 nodes, and of the 7 among them, which are the odd ones. */
static const double abscissa[HALF] = {0.991455371120812639206854697526329, 0.949107912342758524526189684047851, 0.864864423359769072789712788640926,
                                      0.741531185599394439863864773280788, 0.586087235467691130294144691258727, 0.405845151377397166906606412076961,
                                      0.207784955007898467600689403773245, 0};
static const double kronrod[HALF] = {0.022935322010529224963732008058970, 0.063092092629978553290700663189204, 0.104790010322250183839876322541518,
                                     0.140653259715525918745189590510238, 0.169004726639267902826583426598550, 0.190350578064785409913256402421014,
                                     0.204432940075298892414161999234649, 0.209482141084727828012999174891714};
static const double gauss[HALF] = {0, 0.129484966168869693270611432679082, 0, 0.279705391489276667901467771423780, 0, 0.381830050505118944950369775488975,
                                   0, 0.417959183673469387755102040816327};
/* Edges of the first panels, on either side: 1.7, 6.7, 45, 1500, 6e5, 2e9 and 2e15 widths. */
static const double edge[] = {0, 1.3, 2.6, 4.5, 8, 14, 22, 36};
enum { FIRST = 2 * (int)(sizeof edge / sizeof *edge) - 2 };

static const double STEEPER = 2;    /* than a line: the logarithm between two nodes that is not concave */
static const double SHARP = 3;      /* nats above both nodes: what is less, the rules see */
static const double ABYSS = 1e9;    /* nats below the highest node: all the same from there on */
static const double DEEP = 30;      /* nats below the highest node, beyond which no peak counts */
static const double NEARER = 0.6;   /* a halving that leaves less of the distance to the highest node comes nearer to a peak */
static const int PATIENCE = 2;      /* halvings that do not, in a row: functions may oscillate far out, where they are next to 0 */
static const double NOTHING = 60;   /* nats below it, beyond which a whole panel is 0 */
static const double MARGIN = 30, COUNTS = 12; /* nats below it: a panel that is kept as a margin; one of these that counts after all */
static const double SHARE = 0.0625; /* of the tolerance, for one panel */

typedef struct {
  double from, to;   /* in t */
  double top;        /* the largest logarithm at its nodes, du/dt included; -infinity: none; NaN: not evaluated yet */
  double peak;       /* how high a peak between its nodes may be; -infinity: there is none */
  double before;     /* the top of the panel that it is half of; -infinity: of none */
  int fruitless;     /* how many halvings before it came no nearer to a peak */
  double sum, error; /* of its integral, relative to exp(top) */
} Panel;

struct PgmQuadrature {
  long room;
  int most;
  Panel *panel;         /* room x most */
  int *count, *cursor;  /* per function: panels; the first that may not have been evaluated */
  double *best;         /* per function: the largest logarithm so far */
  bool *done, *begun;   /* per function; begun: with panels of another one */
  long *which, *at;     /* one round's functions and their panels */
  double *t, *u, *node; /* one round's points; NODES x functions */
  double *log_slope;    /* log du/dt of one node */
};

double pgm_quadrature_bytes(long functions, int panels)
{
  return (double)functions * ((double)panels * sizeof(Panel) + 2 * sizeof(int) + 2 * sizeof(bool) + 2 * sizeof(long) + (NODES + 4) * sizeof(double));
}

PgmStatus pgm_quadrature_open(PgmQuadrature **out, long functions, int panels, PgmError *error)
{
  PgmQuadrature *q = *out = calloc(1, sizeof *q);
  const size_t n = (size_t)functions;
  if (!q) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  q->room = functions;
  q->most = panels > FIRST ? panels : FIRST;
  q->panel = malloc(n * (size_t)q->most * sizeof *q->panel);
  q->count = malloc(2 * n * sizeof *q->count);
  q->done = malloc(2 * n * sizeof *q->done);
  q->which = malloc(2 * n * sizeof *q->which);
  q->best = malloc((NODES + 4) * n * sizeof *q->best);
  if (!q->panel || !q->count || !q->done || !q->which || !q->best) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  q->cursor = q->count + n;
  q->begun = q->done + n;
  q->at = q->which + n;
  q->t = q->best + n;
  q->u = q->t + n;
  q->log_slope = q->u + n;
  q->node = q->log_slope + n;
  return PGM_OK;
}

void pgm_quadrature_close(PgmQuadrature *q)
{
  if (!q) return;
  free(q->panel);
  free(q->count);
  free(q->done);
  free(q->which);
  free(q->best);
  free(q);
}

/* Abscissa of node j on -1..1, ascending, and the place of its weights. */
static double node_at(int j, int *place)
{
  *place = j < HALF ? j : NODES - 1 - j;
  return j < HALF ? -abscissa[j] : abscissa[*place];
}

/* How high the logarithm may be between two nodes: if it is concave, below the lines through either node and its neighbour on the far side. `rise`: what the
 * line gains on its way across. */
static double highest(double left, double left_rise, double right, double right_rise)
{
  return fmin(left + STEEPER * fmax(left_rise, 0), right + STEEPER * fmax(right_rise, 0));
}

/* How high a peak may be that the nodes do not resolve; -infinity: they resolve all. */
static double hidden_peak(const double *log_f, double best)
{
  double peak = -INFINITY, at[NODES], l[NODES];
  int place;
  for (int j = 0; j < NODES; j++) {
    at[j] = node_at(j, &place);
    l[j] = fmax(log_f[j], best - ABYSS);
  }
  for (int j = -1; j < NODES; j++) { /* between nodes j and j + 1; -1 and NODES: the ends of the panel, beyond which nothing is known */
    const double from = j < 0 ? -1 : at[j], to = j == NODES - 1 ? 1 : at[j + 1];
    const double left_rise = j < 1 ? INFINITY : (l[j] - l[j - 1]) * (to - from) / (at[j] - at[j - 1]);
    const double right_rise = j > NODES - 3 ? INFINITY : (l[j + 1] - l[j + 2]) * (to - from) / (at[j + 2] - at[j + 1]);
    const double left = j < 0 ? -INFINITY : l[j], right = j == NODES - 1 ? -INFINITY : l[j + 1];
    const double bound = highest(j < 0 ? right : left, left_rise, j == NODES - 1 ? left : right, right_rise);
    if (bound > fmax(left, right) + SHARP) peak = fmax(peak, bound);
  }
  return peak;
}

/* From the logarithms at its nodes to the panel's numbers. */
static void finish_panel(Panel *p, double *best, const double *log_f)
{
  double f[NODES], sum = 0, coarse = 0, spread = 0;
  int place;
  p->top = -INFINITY;
  p->sum = p->error = 0;
  for (int j = 0; j < NODES; j++) p->top = fmax(p->top, log_f[j]);
  *best = fmax(*best, p->top);
  p->peak = *best > -INFINITY ? hidden_peak(log_f, *best) : -INFINITY;
  p->fruitless = *best - p->top < NEARER * (*best - p->before) || *best - p->top < SHARP ? 0 : p->fruitless + 1;
  if (p->top == -INFINITY || p->top < *best - NOTHING) return;
  for (int j = 0; j < NODES; j++) {
    node_at(j, &place);
    f[j] = exp(log_f[j] - p->top);
    sum += kronrod[place] * f[j];
    coarse += gauss[place] * f[j];
  }
  for (int j = 0; j < NODES; j++) {
    node_at(j, &place);
    spread += kronrod[place] * fabs(f[j] - 0.5 * sum);
  }
  const double half = 0.5 * (p->to - p->from);
  double error = fabs(sum - coarse);
  if (error > 0 && spread > 0) {
    const double r = 200 * error / spread;
    error = spread * fmin(1, r * sqrt(r));
  }
  p->sum = half * sum;
  p->error = half * error;
}

/* The round's panels, all nodes. */
static void evaluate(PgmQuadrature *q, long n, const double *centre, const double *width, PgmIntegrand f, void *data)
{
  for (int j = 0; j < NODES; j++) {
    double *out = q->node + (long)j * n;
    int place;
    const double x = node_at(j, &place);
    for (long k = 0; k < n; k++) {
      const Panel *p = &q->panel[q->which[k] * q->most + q->at[k]];
      q->t[k] = 0.5 * (p->from + p->to) + 0.5 * (p->to - p->from) * x;
    }
    for (long k = 0; k < n; k++) {
      const double e = exp(q->t[k]), slope = 0.5 * (e + 1 / e) * width[q->which[k]];
      q->u[k] = centre[q->which[k]] + 0.5 * (e - 1 / e) * width[q->which[k]];
      q->log_slope[k] = log(slope);
    }
    f(data, n, q->which, q->u, out);
    for (long k = 0; k < n; k++) {
      out[k] += q->log_slope[k];
      if (!isfinite(out[k])) out[k] = -INFINITY;
    }
  }
  for (long k = 0; k < n; k++) {
    double log_f[NODES];
    for (int j = 0; j < NODES; j++) log_f[j] = q->node[(long)j * n + k];
    finish_panel(&q->panel[q->which[k] * q->most + q->at[k]], &q->best[q->which[k]], log_f);
  }
}

/* The integral relative to exp(best), and its error. */
static double add_up(const Panel *p, int count, double best, double *error)
{
  double sum = 0;
  *error = 0;
  for (int k = 0; k < count; k++) {
    if (p[k].sum <= 0) continue;
    const double scale = exp(p[k].top - best);
    sum += scale * p[k].sum;
    *error += scale * p[k].error;
  }
  return sum;
}

static bool wants_halves(const Panel *p, bool peaks, double best, double most_error)
{
  const double mid = 0.5 * (p->from + p->to);
  if (p->to - p->from < 1e-12 * (1 + fabs(mid))) return false;
  return (peaks && p->peak > best - DEEP && p->fruitless <= PATIENCE) || (p->error > 0 && p->error * exp(p->top - best) > most_error);
}

/* Halves what is not good enough, as long as there is room; false: nothing to halve. */
static bool halve(PgmQuadrature *q, long i, double tolerance)
{
  Panel *p = q->panel + i * q->most;
  const int count = q->count[i];
  const double best = q->best[i], noise = 100 * 2.2e-16 * (1 + fabs(best)); /* rounding of the logarithm */
  double error;
  if (best == -INFINITY) return false;
  const double most_error = SHARE * fmax(tolerance, noise) * add_up(p, count, best, &error);
  for (int k = 0; k < count && q->count[i] < q->most; k++) {
    if (!wants_halves(&p[k], !q->begun[i], best, most_error)) continue;
    Panel *half = &p[q->count[i]++];
    const double mid = 0.5 * (p[k].from + p[k].to);
    p[k] = (Panel){.from = p[k].from, .to = p[k].to, .top = NAN, .before = p[k].top, .fruitless = p[k].fruitless};
    *half = p[k];
    half->from = p[k].to = mid;
  }
  q->cursor[i] = 0;
  return q->count[i] > count;
}

/* One panel of every function that has one to be evaluated; returns how many. */
static long next_round(PgmQuadrature *q, long n)
{
  long found = 0;
  for (long i = 0; i < n; i++) {
    const Panel *p = q->panel + i * q->most;
    if (q->done[i]) continue;
    while (q->cursor[i] < q->count[i] && !isnan(p[q->cursor[i]].top)) q->cursor[i]++;
    if (q->cursor[i] == q->count[i]) continue;
    q->which[found] = i;
    q->at[found++] = q->cursor[i]++;
  }
  return found;
}

/* The panels to begin function i with. */
static void begin(PgmQuadrature *q, long i, const PgmQuadratureStart *start)
{
  Panel *p = q->panel + i * q->most;
  q->begun[i] = start && start->n > 0 && start->n <= q->most;
  q->count[i] = q->begun[i] ? start->n : FIRST;
  for (int k = 0; k < q->count[i]; k++) {
    p[k] = (Panel){.top = NAN, .before = -INFINITY};
    if (q->begun[i]) {
      p[k].from = start->panel[k].from;
      p[k].to = start->panel[k].to;
    } else { /* from the middle outwards */
      p[k].from = k % 2 ? -edge[k / 2 + 1] : edge[k / 2];
      p[k].to = k % 2 ? -edge[k / 2] : edge[k / 2 + 1];
    }
  }
  q->cursor[i] = 0;
  q->best[i] = -INFINITY;
}

static bool counts(const Panel *p, double best, double depth)
{
  return p->top > -INFINITY && p->top >= best - depth;
}

/* Keeps the panels that count, and those next to them. */
static void keep(const PgmQuadrature *q, long i, PgmQuadratureStart *start)
{
  const Panel *p = q->panel + i * q->most;
  start->n = 0;
  for (int k = 0; k < q->count[i]; k++) {
    bool kept = counts(&p[k], q->best[i], NOTHING);
    for (int j = 0; j < q->count[i] && !kept; j++)
      kept = (p[j].from == p[k].to || p[j].to == p[k].from) && counts(&p[j], q->best[i], NOTHING);
    if (!kept) continue;
    if (start->n == PGM_QUADRATURE_KEPT) {
      start->n = 0;
      return;
    }
    start->panel[start->n].from = p[k].from;
    start->panel[start->n].to = p[k].to;
    start->panel[start->n++].margin = !counts(&p[k], q->best[i], MARGIN);
  }
}

/* Has function i grown beyond the panels that it was begun with? They have not been halved yet. */
static bool outgrown(const PgmQuadrature *q, long i, const PgmQuadratureStart *start)
{
  const Panel *p = q->panel + i * q->most;
  bool any = q->best[i] == -INFINITY;
  for (int k = 0; k < start->n; k++) any = any || (start->panel[k].margin && p[k].top > q->best[i] - COUNTS);
  return any;
}

void pgm_quadrature_run(PgmQuadrature *q, long n, const double *centre, const double *width, double tolerance, PgmIntegrand f, void *data,
                        PgmQuadratureStart *start, double *value, double *error)
{
  for (long i = 0; i < n; i++) {
    begin(q, i, start ? &start[i] : NULL);
    q->done[i] = false;
  }
  for (bool more = true, first = true; more; first = false) {
    for (long found; (found = next_round(q, n)) > 0;) evaluate(q, found, centre, width, f, data);
    more = false;
    for (long i = 0; i < n; i++) {
      if (q->done[i]) continue;
      if (first && q->begun[i] && outgrown(q, i, &start[i]))
        begin(q, i, NULL);
      else
        q->done[i] = !halve(q, i, tolerance);
      more = more || !q->done[i];
    }
  }
  for (long i = 0; i < n; i++) {
    const Panel *p = q->panel + i * q->most;
    double wrong;
    const double sum = add_up(p, q->count[i], q->best[i], &wrong);
    for (int k = 0; k < q->count[i]; k++) /* peaks that the panels did not suffice for */
      if (q->best[i] > -INFINITY && wants_halves(&p[k], !q->begun[i], q->best[i], INFINITY)) wrong += sum * exp(fmin(p[k].peak - q->best[i], 0));
    if (start && !q->begun[i]) keep(q, i, &start[i]);
    value[i] = q->best[i] + log(sum);
    error[i] = sum > 0 ? wrong / sum : 0;
  }
}
