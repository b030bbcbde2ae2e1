/* compare.h. Effects of observations come from the gain matrix, effects of known inputs from changing them. */
#include "compare.h"
#include "domain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CLEAR   1e-7                    /* of factors compared with each other: different, ... */
#define NOTHING 1e-10                   /* ... equal, for values of order one */
#define MAX_CHANGED 40                  /* inputs changed one by one */
#define PAIRS   8

const char *const verdict_words[8] = {"closes", "set", "slice", "unbounded", "unbounded-set", "position", "data", "unknown"};

typedef enum { NO, YES, LOST, UNTRIED } Effect; /* LOST: it is in reach, and too far to be seen in the last digit */

typedef struct {
  Oracle *o;
  const Analysis *a;
  Compared *out;
  unsigned char *mean, *sd;             /* rows x elements: Effect */
  double *old;                          /* values to return to */
  bool wide;                            /* some latent variable has a boundary of growing length */
  bool *constant;                       /* per element: a known value that is no input of the entry at hand */
  unsigned long state;
} Comparison;

static const char *element_text(const Oracle *o, int i)
{
  const OElement *e = &o->element[i];
  StrBuf b = {0};
  sb_puts(&b, o->m->families.at[e->family].name);
  for (int k = 0; k < e->n; k++) sb_printf(&b, "%s%ld", k ? "," : "[", e->index[k]);
  if (e->n) sb_putc(&b, ']');
  return sb_text(&b);
}

static void fail(Comparison *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(Comparison *c, const char *format, ...)
{
  if (c->out->failure) return;
  StrBuf b = {0};
  va_list args;
  va_start(args, format);
  sb_vprintf(&b, format, args);
  va_end(args);
  c->out->failure = sb_text(&b);
}

static int random_below(Comparison *c, int n) { return (int)(oracle_uniform(&c->state) * n); }

/* "n=N+1..2*N", but not "n=1..2" or "n=N-1..N". */
static bool is_wide(const char *boundary)
{
  const char *dots = strstr(boundary, ".."), *equal = strchr(boundary, '=');
  if (!dots) return false;
  size_t lo = strcspn(equal + 1, ".+-"), hi = strcspn(dots + 2, "+-&");
  bool numbers = strspn(equal + 1, "0123456789") == lo && strspn(dots + 2, "0123456789") == strlen(dots + 2);
  return !numbers && (lo != hi || strncmp(equal + 1, dots + 2, lo));
}

static bool is_table(const Oracle *o, int i) { return o->m->families.at[o->element[i].family].type.kind == TY_INT; }
static bool good(const LatentVerdict *v) { return !strcmp(v->verdict, "closes") || !strcmp(v->verdict, "set") || !strcmp(v->verdict, "slice"); }

/* ---- effects ------------------------------------------------------------------------------------------------------------------------ */

static void find_effects(Comparison *c)
{
  Oracle *o = c->o;
  int n = o->n_elements, rows = o->n_rows;
  double *mean = NEW_ARRAY(double, rows + 1), *sd = NEW_ARRAY(double, rows + 1);
  bool *in_reach = NEW_ARRAY(bool, rows + 1);
  memcpy(mean, o->mean, sizeof *mean * (size_t)rows);
  memcpy(sd, o->sd, sizeof *sd * (size_t)rows);
  int inputs = 0;
  for (int i = 0; i < n; i++) inputs += o->element[i].kind == EL_INPUT && !is_table(o, i);
  for (int i = 0; i < n; i++) {
    OElement *e = &o->element[i];
    bool linear = e->kind == EL_OBSERVED || e->pinned;
    bool input = e->kind == EL_INPUT && !is_table(o, i) && random_below(c, inputs) < MAX_CHANGED;
    for (int r = 0; r < rows; r++) {
      c->mean[r * n + i] = !linear ? UNTRIED : o->gain[r * n + i] != 0 ? YES : NO;
      c->sd[r * n + i] = linear ? NO : UNTRIED;
    }
    if (!input) continue;
    double old = e->value;
    e->value += 0.37;
    if (!oracle_solve(o, false)) fail(c, "no solution after a change of %s", element_text(o, i));
    memset(in_reach, 0, sizeof *in_reach * (size_t)(rows + 1));
    for (int r = 0; r < rows; r++) in_reach[o->block[r]] = in_reach[o->block[r]] || o->mean[r] != mean[r] || o->sd[r] != sd[r];
    for (int r = 0; r < rows; r++) {
      c->mean[r * n + i] = o->mean[r] != mean[r] ? YES : in_reach[o->block[r]] ? LOST : NO;
      c->sd[r * n + i] = o->sd[r] != sd[r] ? YES : NO;
    }
    e->value = old;
  }
  oracle_solve(o, false);
}

/* ---- domains -------------------------------------------------------------------------------------------------------------------------- */

typedef VEC(Named) NamedList;

static bool read_domain(Comparison *c, const LatentVerdict *v, const long *unit, const TextList *texts, NamedList *out)
{
  *out = (NamedList){0};
  for (int i = 0; i < texts->n; i++) {
    Named named;
    const char *error;
    if (!domain_named(c->o, v, unit, texts->at[i], &named, &error)) {
      fail(c, "'%s' cannot be read: %s", texts->at[i], error);
      return false;
    }
    VEC_PUSH(*out, named);
  }
  return true;
}

static bool names_element(const NamedList *list, int element)
{
  for (int i = 0; i < list->n; i++)
    for (int k = 0; k < list->at[i].element.n; k++)
      if (list->at[i].element.at[k] == element) return true;
  return false;
}

/* A known value that is the same for all units is no input of a function: initial values, elements at constant indices. */
static bool is_constant(const Oracle *o, int i)
{
  const OElement *e = &o->element[i];
  if (e->kind != EL_INPUT) return false;
  const Family *f = &o->m->families.at[e->family];
  if (f->role != ROLE_INPUT) return true;
  for (int k = 0; k < f->n_statements; k++)
    for (int p = 0; p < o->m->stmts.at[f->statements[k]].n_index; p++)
      if (o->m->stmts.at[f->statements[k]].index[p].affine.n) return false;
  return true;
}

/* Named through a star or a set, at an end of the range: the terms that would bring it may not be there (x[*] of terms that begin at 2). Where
 * a boundary takes in a part of the plate, anywhere. */
static bool at_range_end(const Comparison *c, const TextList *texts, int i)
{
  const Oracle *o = c->o;
  const OElement *e = &o->element[i];
  const char *name = o->m->families.at[e->family].name;
  size_t n = strlen(name);
  bool grown = false;
  for (int k = 0; k < texts->n; k++)
    grown = grown || (!strncmp(texts->at[k], name, n) && texts->at[k][n] == '[' && strpbrk(texts->at[k], "*|.k"));
  for (int p = 0; p < e->n && grown; p++) {
    long lo, hi;
    if (c->wide) return true;
    oracle_extent(o, e->family, p, &lo, &hi);
    long end = hi - lo >= 8 ? 2 : hi - lo >= 4 ? 1 : 0; /* how far lags reach */
    if (e->index[p] <= lo + end || e->index[p] >= hi - end) return true;
  }
  return false;
}

/* Named as a member of a set: for how many there are, if for nothing else. */
static bool is_count(const TextList *texts, const Oracle *o, int i)
{
  const char *name = o->m->families.at[o->element[i].family].name;
  size_t n = strlen(name);
  for (int k = 0; k < texts->n; k++)
    if (!strncmp(texts->at[k], name, n) && texts->at[k][n] == '[' && strchr(texts->at[k], '|')) return true;
  return false;
}

/* Some observation acts on the unit: it has rows, where a table says which. */
static bool is_informed(const Comparison *c, int unit)
{
  const Oracle *o = c->o;
  for (int i = 0; i < o->n_elements; i++)
    if (o->element[i].kind == EL_OBSERVED && c->mean[o->element[unit].row * o->n_elements + i] == YES) return true;
  return false;
}

/* A known value that acts on all units alike, and is named for none: a constant to the function, as c[1] is. */
static void find_constants(Comparison *c, const ElementList *units)
{
  Oracle *o = c->o;
  int n = o->n_elements;
  for (int i = 0; i < n; i++) {
    c->constant[i] = is_constant(o, i);
    if (o->element[i].kind != EL_INPUT || c->constant[i]) continue;
    bool all = true;
    for (int k = 0; k < units->n && all; k++) all = c->mean[o->element[units->at[k]].row * n + i] != NO || !is_informed(c, units->at[k]);
    c->constant[i] = all;
  }
}

static void check_unit(Comparison *c, const LatentVerdict *v, int element, const TextList *domain, const char *what, bool sharp)
{
  Oracle *o = c->o;
  int n = o->n_elements, row = o->element[element].row;
  NamedList d, s;
  if (!read_domain(c, v, o->element[element].index, domain, &d) || !read_domain(c, v, o->element[element].index, &v->sd_domain, &s)) return;
  c->out->units++;
  for (int i = 0; i < n && !c->out->failure; i++) {
    if (i == element) continue;
    Effect mean = (Effect)c->mean[row * n + i], sd = (Effect)c->sd[row * n + i];
    bool in = names_element(&d, i), in_sd = names_element(&s, i);
    c->out->dependences += mean == YES;
    c->out->lost += mean == LOST;
    if ((mean == YES || sd == YES) && !in && !c->constant[i]) fail(c, "%s depends on %s, which its %s leaves out", element_text(o, element), element_text(o, i), what);
    if (sharp && mean == NO && sd == NO && in && !at_range_end(c, domain, i)) fail(c, "%s does not depend on %s, which its %s names", element_text(o, element), element_text(o, i), what);
    if (o->element[i].kind == EL_LATENT) continue;
    if (sd == YES && !in_sd && !c->constant[i]) fail(c, "the sd of %s depends on %s, which sd_domain leaves out", element_text(o, element), element_text(o, i));
    if (sharp && sd == NO && in_sd && o->element[i].kind == EL_INPUT && !is_count(&v->sd_domain, o, i) && !at_range_end(c, &v->sd_domain, i))
      fail(c, "the sd of %s does not depend on %s, which sd_domain names", element_text(o, element), element_text(o, i));
  }
}

/* ---- ties --------------------------------------------------------------------------------------------------------------------------------- */

static void restore(Comparison *c)
{
  for (int i = 0; i < c->o->n_elements; i++) c->o->element[i].value = c->old[i];
}

static bool is_index(const LatentVerdict *v, char name)
{
  for (int p = 0; p < v->index.n; p++)
    if (v->index.at[p][0] == name) return true;
  return false;
}

/* An input that is a whole sequence comes with the position in it: are the units at the same one? Where it runs obliquely, no matter. */
static bool same_position(Comparison *c, const LatentVerdict *v, int a, int b, const TextList *domain)
{
  const OElement *x = &c->o->element[a], *y = &c->o->element[b];
  bool sequence = false;
  for (int i = 0; i < domain->n; i++) {
    const char *t = domain->at[i];
    if (strchr(t, '|')) continue;
    if (strchr(t, '*') || strstr(t, "..") || strstr(t, ", ")) sequence = true;
    for (const char *p = strchr(t, '['); p && *p; p++) /* x[n+2*k], x[i+k, j+k]: a name that is no index */
      if ((p[0] == '*' || p[0] == '+') && strchr("klmpqrstuvw", p[1]) && p[1] && strchr("],+-", p[2]) && !is_index(v, p[1])) return false;
  }
  if (!sequence || !strcmp(v->domain_kind, "set")) return true;
  for (int p = 0; p < x->n; p++) {
    bool tied = true;                   /* its variable stands in every entry that is a sequence */
    for (int i = 0; i < domain->n && tied; i++) {
      const char *inside = strchr(domain->at[i], '[');
      if (strpbrk(domain->at[i], "*.")) tied = inside && strstr(inside, v->index.at[p]);
    }
    if (!tied && x->index[p] != y->index[p]) return false;
  }
  return true;
}

typedef enum { TIE_NONE, TIE_EQUAL, TIE_DIFFERENT } Tie;

/* A set holds a row at an end of its range: other terms may stand there. */
static bool set_at_end(Comparison *c, const NamedList *list, const TextList *texts)
{
  for (int i = 0; i < list->n; i++)
    for (int k = 0; k < list->at[i].element.n && strchr(texts->at[i], '|'); k++)
      if (at_range_end(c, texts, list->at[i].element.at[k])) return true;
  return false;
}

/* The groups of a group: which members belong together is no part of the texts. */
static bool is_nested(const TextList *texts)
{
  for (int i = 0; i < texts->n; i++) {
    const char *bar = strchr(texts->at[i], '|'), *left = bar ? strchr(bar, '[') : NULL;
    if (left && strcspn(left + 1, "[") < strcspn(left + 1, "]=")) return true;
  }
  return false;
}

/* Gives unit b the inputs of unit a; TIE_NONE: they share inputs, or have different numbers of them. */
static Tie tie(Comparison *c, const LatentVerdict *v, int a, int b, const TextList *domain, bool scale_only)
{
  Oracle *o = c->o;
  NamedList da, db;
  Tie result = TIE_NONE;
  if (!same_position(c, v, a, b, domain) || is_nested(domain)) return TIE_NONE;
  if (!read_domain(c, v, o->element[a].index, domain, &da) || !read_domain(c, v, o->element[b].index, domain, &db)) return TIE_NONE;
  for (int i = 0; i < da.n; i++) {
    if (da.at[i].element.n != db.at[i].element.n || da.at[i].bare != db.at[i].bare) return TIE_NONE;
    if (da.at[i].bare && da.at[i].value != db.at[i].value) return TIE_NONE;
    for (int k = 0; k < da.at[i].element.n; k++) {
      int from = da.at[i].element.at[k], to = db.at[i].element.at[k];
      if (o->element[from].family != o->element[to].family || o->element[from].kind != o->element[to].kind) return TIE_NONE;
      o->element[to].value = o->element[from].value;
    }
  }
  bool equal = read_domain(c, v, o->element[a].index, domain, &da) && read_domain(c, v, o->element[b].index, domain, &db);
  for (int i = 0; i < da.n && equal; i++) {             /* copying may have moved what tables point to, or shared inputs */
    equal = da.at[i].element.n == db.at[i].element.n;
    for (int k = 0; k < da.at[i].element.n && equal; k++)
      equal = o->element[da.at[i].element.at[k]].value == o->element[db.at[i].element.at[k]].value;
  }
  if (equal && oracle_solve(o, false)) {
    int ra = o->element[a].row, rb = o->element[b].row;
    double d = fabs(o->sd[ra] - o->sd[rb]) + (scale_only ? 0 : fabs(o->mean[ra] - o->mean[rb]));
    result = d < NOTHING * 100 ? TIE_EQUAL : d > CLEAR && !set_at_end(c, &da, domain) && !set_at_end(c, &db, domain) ? TIE_DIFFERENT : TIE_NONE;
  }
  restore(c);
  return result;
}

static void check_ties(Comparison *c, const LatentVerdict *v, const ElementList *units)
{
  Oracle *o = c->o;
  int refuted = 0, tried = 0;
  bool negative = (!strcmp(v->verdict, "unbounded") && !v->has_this_data) || !strcmp(v->verdict, "position");
  for (int pair = 0; pair < PAIRS && units->n > 1 && !c->out->failure; pair++) {
    int a = units->at[random_below(c, units->n)], b = units->at[random_below(c, units->n)];
    if (a == b) continue;
    if (good(v)) {
      Tie t = tie(c, v, a, b, &v->domain, false);
      c->out->ties += t != TIE_NONE;
      if (t == TIE_DIFFERENT) fail(c, "%s and %s have the same inputs and different factors", element_text(o, a), element_text(o, b));
    }
    if (strcmp(v->verdict, "unknown") && strcmp(v->verdict, "data")) {
      Tie t = tie(c, v, a, b, &v->sd_domain, true);
      c->out->ties += t != TIE_NONE;
      if (t == TIE_DIFFERENT) fail(c, "%s and %s have the same inputs of the scale and different sds", element_text(o, a), element_text(o, b));
    }
    if (v->has_this_data) {
      Tie t = tie(c, v, a, b, &v->this_data_domain, false);
      c->out->ties += t != TIE_NONE;
      if (t == TIE_DIFFERENT) fail(c, "%s and %s are equal for this data set and have different factors", element_text(o, a), element_text(o, b));
    }
    if (negative) {
      Tie t = tie(c, v, a, b, !strcmp(v->verdict, "position") ? &v->domain : &v->window, false);
      bool apart = true;                /* along every index: members of one group may well be alike */
      for (int p = 0; p < o->element[a].n; p++) apart = apart && o->element[a].index[p] != o->element[b].index[p];
      tried += apart && t != TIE_NONE;
      refuted += t == TIE_DIFFERENT;
    }
  }
  c->out->ties += tried;
  bool tables = false;                  /* units that look up the same element may be alike */
  for (int i = 0; i < o->n_elements; i++) tables = tables || is_table(o, i);
  if (tried >= 3 && units->n >= 5 && !refuted && !tables && (v->domain.n || strcmp(v->verdict, "position")) && !c->out->failure) fail(c, "%s is said to be %s, but its own inputs seem to do", v->name, v->verdict);
}

/* ---- exchanges ---------------------------------------------------------------------------------------------------------------------------- */

/* Exchanges the values that members x and y of every set or slice have; false if they do not correspond. */
static bool exchange(Comparison *c, const NamedList *list, long x, long y)
{
  Oracle *o = c->o;
  for (int i = 0; i < list->n; i++) {
    ElementList ex = {0}, ey = {0};
    const Named *d = &list->at[i];
    for (int k = 0; k < d->element.n; k++) {
      if (d->member.at[k] == x) VEC_PUSH(ex, d->element.at[k]);
      if (d->member.at[k] == y) VEC_PUSH(ey, d->element.at[k]);
    }
    if (ex.n != ey.n) return false;
    for (int k = 0; k < ex.n; k++) {
      for (int q = 0; q < i; q++)       /* in two of the lists: exchanged already */
        for (int u = 0; u < list->at[q].element.n; u++)
          if (list->at[q].element.at[u] == ex.at[k]) return false;
      if (is_table(o, ex.at[k])) return false;
      double t = o->element[ex.at[k]].value;
      o->element[ex.at[k]].value = o->element[ey.at[k]].value;
      o->element[ey.at[k]].value = t;
    }
  }
  return true;
}

static void check_exchanges(Comparison *c, const LatentVerdict *v, const ElementList *units)
{
  Oracle *o = c->o;
  bool set = !strcmp(v->verdict, "set"), slice = !strcmp(v->verdict, "slice");
  int tried = 0, moved = 0;
  if (!set && !slice) return;
  bool uneven = false;                  /* some members have another role than others; entries of one member at several distances, which stars hide */
  for (int i = 0; i < c->a->latents.n; i++)
    for (int k = 0; k < c->a->latents.at[i].boundary.n; k++) uneven = true;
  for (int i = 0; i < c->a->latents.n; i++)
    for (int k = 0; k < c->a->latents.at[i].domain.n; k++)
      if (strpbrk(c->a->latents.at[i].domain.at[k], "+-")) return;
  if (c->wide) return;
  oracle_solve(o, false);
  TextList grown = {0}, own = {0};      /* the sets; the unit's own entries, whose member stays */
  for (int i = 0; i < v->domain.n; i++) {
    const char *t = v->domain.at[i];
    const char *bar = strchr(t, '|'), *star = strchr(t, '*');
    if (bar && strchr(bar, '[') && strchr(strchr(bar, '[') + 1, '[')) return;          /* a set of sets: members of one inner set only */
    if (star && strchr(star + 1, '*')) return;
    if (bar || star) VEC_PUSH(grown, t);
    else VEC_PUSH(own, t);
    for (int p = 0; p < v->index.n && !bar && !star; p++) { /* entries of one member stand at several distances: the stars do not show it */
      const char *at = strstr(t, v->index.at[p]);
      if (at && strchr("+-", at[strlen(v->index.at[p])]) && at[strlen(v->index.at[p])]) return;
    }
  }
  for (int pair = 0; pair < 2 * PAIRS && units->n && grown.n && !c->out->failure; pair++) {
    int u = units->at[random_below(c, units->n)];
    NamedList d, mine;
    if (!read_domain(c, v, o->element[u].index, &grown, &d) || !read_domain(c, v, o->element[u].index, &own, &mine)) return;
    if (!d.at[0].element.n) continue;
    long x = d.at[0].member.at[random_below(c, d.at[0].element.n)], y = d.at[0].member.at[random_below(c, d.at[0].element.n)];
    if (x == y) continue;
    bool touches = false;
    for (int i = 0; i < d.n; i++)
      for (int k = 0; k < d.at[i].element.n; k++)
        touches = touches || ((d.at[i].member.at[k] == x || d.at[i].member.at[k] == y) &&
                              (names_element(&mine, d.at[i].element.at[k]) || ((uneven || strchr(grown.at[i], '|')) && at_range_end(c, &grown, d.at[i].element.at[k]))));
    if (touches) continue;
    double mean = o->mean[o->element[u].row], sd = o->sd[o->element[u].row];
    if (exchange(c, &d, x, y) && oracle_solve(o, false)) {
      int r = o->element[u].row;
      tried++;
      double change = fabs(o->mean[r] - mean) + fabs(o->sd[r] - sd);
      moved += change > CLEAR;
      if (set && change > CLEAR) fail(c, "%s: members %ld and %ld of its set cannot be exchanged", element_text(o, u), x, y);
    }
    restore(c);
    oracle_solve(o, false);
  }
  c->out->swaps += tried;
  c->out->ordered += slice && moved;
}

/* ---- the rest ------------------------------------------------------------------------------------------------------------------------------- */

static void check_separable(Comparison *c, const LatentVerdict *v, const ElementList *units)
{
  Oracle *o = c->o;
  for (int k = 0; k < units->n && v->separable; k++) {
    int r = o->element[units->at[k]].row;
    for (int s = 0; s < o->n_rows; s++)
      if (s != r && o->coupling[r * o->n_rows + s] != 0)
        fail(c, "%s is said to be separable, but %s and %s are coupled", v->name, element_text(o, o->of_row[r]), element_text(o, o->of_row[s]));
  }
}

static void units_of(Comparison *c, const LatentVerdict *v, ElementList *out)
{
  Oracle *o = c->o;
  *out = (ElementList){0};
  for (int i = 0; i < o->n_elements && !c->out->failure; i++) {
    const OElement *e = &o->element[i];
    const char *error = NULL;
    if (e->kind != EL_LATENT || e->family != v->family) continue;
    bool in = domain_in_range(o, v, e->index, &error) && !domain_on_boundary(o, v, e->index, &error);
    if (error) fail(c, "range or boundary of %s: %s", v->name, error);
    if (in && e->row >= 0) VEC_PUSH(*out, i);
  }
}

/* Every element has one entry; what is pruned is barren, what is barren is pruned. */
static void check_pruned(Comparison *c)
{
  Oracle *o = c->o;
  bool known = true;
  for (int k = 0; k < c->a->latents.n; k++)
    known = known && strcmp(c->a->latents.at[k].verdict, "unknown") && strcmp(c->a->latents.at[k].verdict, "data");
  for (int i = 0; i < o->n_elements && !c->out->failure; i++) {
    const OElement *e = &o->element[i];
    int entries = 0;
    bool pruned = false;
    if (e->kind != EL_LATENT) continue;
    for (int k = 0; k < c->a->latents.n; k++) {
      const LatentVerdict *v = &c->a->latents.at[k];
      const char *error = NULL;
      if (v->family != e->family) continue;
      if (!domain_in_range(o, v, e->index, &error)) continue;
      if (!strcmp(v->role, "pruned")) pruned = true;
      else if (!strcmp(v->role, "local")) entries++;
    }
    if (entries + pruned > 1) fail(c, "%s has several entries", element_text(o, i));
    if (pruned && !e->barren) fail(c, "%s is pruned, but something observed depends on it", element_text(o, i));
    if (e->barren && !pruned && o->onto && known) fail(c, "%s is not pruned, though nothing observed depends on it", element_text(o, i));
  }
}

static void check_pin(Comparison *c, const LatentVerdict *v, const Remedy *r)
{
  Oracle *o = c->o;
  bool any = false;
  for (int i = 0; i < o->n_elements; i++) {
    OElement *e = &o->element[i];
    const char *name = o->m->families.at[e->family].name;
    size_t n = strlen(name);
    bool named = false;
    for (int k = 0; k < r->domain.n; k++) named = named || (!strncmp(r->domain.at[k], name, n) && !(r->domain.at[k][n] && r->domain.at[k][n] != '['));
    e->pinned = e->kind == EL_LATENT && !e->barren && named && e->family != v->family;
    if (e->pinned) e->value = 2 * oracle_uniform(&c->state) - 1;
    any = any || e->pinned;
  }
  if (any && oracle_solve(o, true)) {
    find_effects(c);
    ElementList units;
    LatentVerdict plain = *v;
    plain.domain = r->domain;
    plain.boundary = r->boundary;
    units_of(c, &plain, &units);
    find_constants(c, &units);
    bool sharp = true;                  /* whole ranges of parameters are named where some of them would do */
    for (int k = 0; k < r->domain.n; k++) sharp = sharp && !strpbrk(r->domain.at[k], "*.|");
    for (int k = 0; k < units.n; k++) check_unit(c, &plain, units.at[k], &r->domain, "domain with a family pinned", sharp);
    c->out->pins++;
  }
  for (int i = 0; i < o->n_elements; i++) o->element[i].pinned = false;
  restore(c);
}

void compare_with_oracle(const Model *m, const Analysis *a, unsigned long seed, Compared *out)
{
  *out = (Compared){0};
  Oracle *o = oracle_new(m, seed);
  if (!o || o->unsupported) {
    out->unsupported = o ? o->unsupported : "no small size";
    return;
  }
  Comparison c = {.o = o, .a = a, .out = out, .state = seed + 77};
  c.old = NEW_ARRAY(double, o->n_elements + 1);
  for (int i = 0; i < o->n_elements; i++) c.old[i] = o->element[i].value;
  if (!oracle_solve(o, true)) {
    out->unsupported = "a precision that is not positive definite";
    return;
  }
  c.mean = NEW_ARRAY(unsigned char, o->n_rows * o->n_elements + 1);
  c.sd = NEW_ARRAY(unsigned char, o->n_rows * o->n_elements + 1);
  c.constant = NEW_ARRAY(bool, o->n_elements + 1);
  for (int i = 0; i < a->latents.n; i++)
    for (int k = 0; k < a->latents.at[i].boundary.n; k++) c.wide = c.wide || is_wide(a->latents.at[i].boundary.at[k]);
  check_pruned(&c);
  find_effects(&c);
  for (int i = 0; i < a->latents.n && !out->failure; i++) {
    const LatentVerdict *v = &a->latents.at[i];
    if (strcmp(v->role, "local")) continue;
    for (int k = 0; k < 8; k++) out->verdicts[k] += !strcmp(v->verdict, verdict_words[k]);
    ElementList units;
    units_of(&c, v, &units);
    check_separable(&c, v, &units);
    if (!strcmp(v->verdict, "data")) continue;
    find_constants(&c, &units);
    for (int k = 0; k < units.n; k++) check_unit(&c, v, units.at[k], &v->domain, "domain", !v->conservative && o->onto);
    check_ties(&c, v, &units);
    check_exchanges(&c, v, &units);
  }
  for (int i = 0; i < a->latents.n && !out->failure; i++)
    for (int k = 0; k < a->latents.at[i].remedies.n; k++)
      if (!strcmp(a->latents.at[i].remedies.at[k].kind, "pin")) check_pin(&c, &a->latents.at[i], &a->latents.at[i].remedies.at[k]);
  oracle_solve(o, false);
}
