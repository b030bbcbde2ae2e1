/* The verdict: class of the component, domain, boundary, witness, remedies, in words.
 *
 * In: the model. Out: Analysis. For every range of every local latent family the component of its generic element is explored (coupling.c), its
 * lattice found (periodic.c), and from both together:
 *
 *   rank of the lattice on the unit's own axes     entries of the domain                    verdict
 *   0                                              finitely many                            closes
 *   0 ... less than all axes                       tied to the unit, free along an axis     set (order does not matter), slice (it does)
 *   all axes                                       everything                               unbounded (a cycle, a running sum), unbounded-set (a hub, a sum)
 *   all axes                                       finitely many                            position
 *   lookups that meet                              -                                        data
 * docs/analysis.md proves it. Every answer is compared with a grounded model (ground.c). */
#include "analysis.h"
#include "coupling.h"
#include "dist.h"
#include "law.h"

#include <stdlib.h>
#include <string.h>

#define PIN_MAX_FAMILIES 12             /* pinning is tried in components of at most so many families */

/* ---- text of places ------------------------------------------------------------------------------------------------------------- */

/* Name number r for a whole number that is not named in the model: k, l, m, ... */
static const char *step_name(const Graph *g, int r)
{
  static const char *const names[] = {"k", "l", "m", "p", "q", "r", "s", "t", "u", "v", "w", "kk", "ll", "mm", "pp", "qq"};
  const int n = sizeof names / sizeof *names;
  for (int i = 0; i < n; i++) {
    bool taken = false;
    for (int f = 0; f < g->m->families.n && !taken; f++) taken = !strcmp(g->m->families.at[f].name, names[i]);
    for (int v = 0; v < g->m->vars.n && !taken; v++) taken = !strcmp(g->m->vars.at[v].name, names[i]);
    if (!taken && !r--) return names[i];
  }
  return names[n - 1];
}

/* The index that a place means in a family whose index is step * place + residue. */
static const char *index_name(const Component *c, At a, long step, long residue)
{
  const Graph *g = c->g;
  switch (a.kind) {
  case AT_UNIT: {                       /* the unit's own place is (element - residue) / step of its family */
    const Unit *u = &c->unit;
    const GFamily *f = &g->families.at[u->family];
    if (step == 1 && a.sign == 1 && f->step[a.id] == 1 && lin_is_const(a.off) && a.off.c + u->shift[a.id] + residue == 0) return g->vars.at[u->var[a.id]].name;
    Lin element = lin_add(lin_atom(u->var[a.id]), lin_const(u->shift[a.id] - f->residue[a.id]), 1);
    long times = step * a.sign, d = gcd(times, f->step[a.id]), by = f->step[a.id] / d;
    Lin rest = lin_add(lin_const(residue), a.off, step);
    const char *text = lin_text(g, lin_add(lin_add(lin_const(0), rest, by), element, times / d));
    if (by == 1) return text;
    return strpbrk(text, "+-*") ? arena_printf("(%s)/%ld", text, by) : arena_printf("%s/%ld", text, by);
  }
  case AT_ABS: return lin_text(g, lin_add(lin_const(residue), a.off, step));
  case AT_SPAN: return arena_printf("%s..%s", index_name(c, *a.lo, step, residue), index_name(c, *a.hi, step, residue));
  case AT_FREE: {                       /* all of them, or one in `by` */
    if (a.lo) return arena_printf("%s..%s", index_name(c, *a.lo, step, residue), index_name(c, *a.hi, step, residue));
    long by = labs(step * a.sign);
    if (by == 1) return "*";
    Lin off = lin_add(lin_const(residue), a.off, step);
    off.c -= by * (off.c >= 0 ? off.c / by : -((-off.c + by - 1) / by));
    const char *text = lin_text(g, off);
    const char *k = step_name(g, 0);
    return !strcmp(text, "0") ? arena_printf("%ld*%s", by, k) : arena_printf("%ld*%s+%s", by, k, text);
  }
  default: return "*";
  }
}

static const char *place_name(const Component *c, At a) { return index_name(c, a, 1, 0); }

/* A place of the unit's own, as an index of its plate variable; of the ends between which a size may lie, the lower or the upper. */
static Lin unit_form(const Component *c, int axis, Lin place, bool upper)
{
  const GFamily *f = &c->g->families.at[c->unit.family];
  long step = f->step[axis];
  Lin r = lin_const(f->residue[axis] - c->unit.shift[axis]);
  for (int i = 0; i < place.n; i++) {
    const GSymbol *s = place.t[i].atom < 0 ? &c->g->symbols.at[~place.t[i].atom] : NULL;
    if (s && s->by && place.t[i].coef * step % s->by == 0) {     /* by * floor(of / by) is of less 0 .. by - 1 */
      long times = place.t[i].coef * step / s->by;
      r = lin_add(r, s->of, times);
      if (!upper) r.c -= times * (s->by - 1);
    } else r = lin_add(r, lin_atom(place.t[i].atom), place.t[i].coef * step);
  }
  return lin_shift(r, place.c * step);
}

static const char *unit_place(const Component *c, int axis, Lin place, bool upper) { return lin_text(c->g, unit_form(c, axis, place, upper)); }

static bool name_taken(const Component *c, Name name)
{
  for (int q = 0; q < c->unit.n; q++)
    if (c->unit.runs[q] && c->g->vars.at[c->unit.var[q]].name == name) return true;
  return false;
}

static const char *bound_name(const Component *c, Name name) { return name_taken(c, name) ? arena_printf("%s2", name) : name; }

/* Text of a place, the bound variable of set `self` standing as `bound`. */
static const char *origin_text(const Component *c, At a, int self, const char *bound);

static const char *table_text(const Component *c, const Origin *o, int self, const char *bound)
{
  StrBuf b = {0};
  for (const char *p = o->ix->table; *p; p++)
    if (*p == '\\' && p[1]) sb_puts(&b, origin_text(c, o->args[*++p - '1'], self, bound));
    else sb_putc(&b, *p);
  return sb_text(&b);
}

static const char *with_offset(const Graph *g, const char *text, Lin off)
{
  if (lin_is_const(off) && !off.c) return text;
  const char *s = lin_text(g, off);
  return arena_printf("%s%s%s", text, *s == '-' ? "" : "+", s);
}

static const char *origin_text(const Component *c, At a, int self, const char *bound)
{
  if (a.kind != AT_ORIGIN) return place_name(c, a);
  const Origin *o = &c->origins.at[a.id];
  const char *text;
  if (a.id == self && bound) text = bound;
  else if (o->set) text = bound_name(c, o->bound[a.sub]);
  else text = table_text(c, o, self, bound);
  if (a.sign < 0) {                     /* T + 1 - i */
    const char *off = lin_text(c->g, a.off);
    text = labs(a.sign) == 1 ? text : arena_printf("%d*%s", -a.sign, text);
    return arena_printf("%s-%s", strcmp(off, "0") ? off : "", text);
  }
  if (a.sign > 1) text = arena_printf("%d*%s", a.sign, text);
  return with_offset(c->g, text, a.off);
}

/* "county[i] = j", composed over sets of sets: "school[class[i]] = s". */
static const char *set_condition(const Component *c, int origin)
{
  const Origin *o = &c->origins.at[origin];
  const char *left = table_text(c, o, -1, NULL);
  At target = o->target;
  for (int depth = 0; depth < 8 && target.kind == AT_ORIGIN && c->origins.at[target.id].set; depth++) {
    const Origin *up = &c->origins.at[target.id];
    left = with_offset(c->g, left, lin_add(lin_const(0), target.off, -1));
    left = table_text(c, up, target.id, left);
    target = up->target;
  }
  return arena_printf("%s = %s", left, origin_text(c, target, -1, NULL));
}

/* ---- patterns: entries of the domain as they are printed ------------------------------------------------------------------------ */

typedef struct {
  const Entry *entry;
  int family, n;
  const char *name;
  bool star[MAX_AXES];                  /* everything along this position */
  long by[MAX_AXES], rest[MAX_AXES];    /* one in `by`, those with this remainder (of the distance from the unit, if from_unit); 0: not so */
  bool from_unit[MAX_AXES];
  const char *conditions;               /* " | county[i] = j", or "" */
  bool whole_range[MAX_AXES];           /* ... and printed as lo..hi: of fixed length, in order */
  const char *pos[MAX_AXES];
  int sets[MAX_AXES];                   /* set origin at this position, or -1 */
  bool growing;                         /* some position has no fixed length */
  bool ordered;                         /* ... and order matters along it */
  bool prefix;
  bool tied;                            /* some position depends on the unit */
  bool stepped;                         /* multiples of a basis: x[i+k, j+k] */
  bool raw;                             /* the lattice not applied */
  bool conservative;                    /* more than is needed: several steps whose sizes are inputs */
  int rank;                             /* of the name in alphabetical order */
  const char *text;
} Pattern;

typedef VEC(Pattern) PatternList;
typedef VEC(Entry) EntryList;

/* What was found of a component that belongs to several families alike (is_common), at the element with the same index of each. */
typedef struct {
  Unit unit;
  LatentVerdict v;
} Common;

typedef struct {
  const Model *m;
  const Graph *g;
  Axes *axes;
  const Common **common;                /* per family of the graph, NULL where it has to be explored */
  GroundModel *ground, *data;           /* at a small size, to check the answers; of the data given, or NULL */
  Analysis *a;
  int *rank;                            /* per family of the model: its place in alphabetical order */
  int *head;                            /* per family of the graph, -1 between uses: lists of patterns (choose_domain) */
  VEC(PatternList) spare;               /* memory to be used again: there are as many patterns as pairs of families */
  StrBuf *scratch;                      /* likewise, of their texts, which are interned */
} Judge;

static PatternList take_list(Judge *j)
{
  PatternList list = {0};
  if (j->spare.n) list = j->spare.at[--j->spare.n];
  list.n = 0;
  return list;
}

static void give_list(Judge *j, PatternList list)
{
  if (list.cap) VEC_PUSH(j->spare, list);
}

/* Does the form differ from one element of an outer plate to another? */
static bool lin_varies(const Graph *g, Lin a)
{
  for (int i = 0; i < a.n; i++) {
    const GSymbol *s = a.t[i].atom < 0 ? &g->symbols.at[~a.t[i].atom] : NULL;
    if (!s || s->varies || (s->by && lin_varies(g, s->of))) return true;
  }
  return false;
}

/* lo..hi of an index position over all definitions of the family, NULL if they do not make one range; or, with `same`, not the same for all. */
static const char *extent_text(const Judge *j, int family, int pos, bool same)
{
  const Family *f = graph_family(j->g, family);
  Lin lo = {0}, hi = {0};
  bool any = false;
  if (!f->n_index) return NULL;
  for (int i = 0; i < f->n_statements; i++) {
    const Affine *a = &j->m->stmts.at[f->statements[i]].index[pos].affine;
    Lin l = lin_const(a->constant), h = l;
    if (a->n == 1 && a->term[0].kind == ATOM_VAR) {
      l = lin_add(l, j->g->vars.at[a->term[0].id].lo, 1);
      h = lin_add(h, j->g->vars.at[a->term[0].id].hi, 1);
    } else if (a->n) return NULL;
    if (same && (lin_varies(j->g, l) || lin_varies(j->g, h))) return NULL;
    if (!any) lo = l, hi = h;
    else {
      int sl = lin_sign(j->g, lin_add(l, lo, -1)), sh = lin_sign(j->g, lin_add(h, hi, -1));
      if (sl == 2 || sh == 2) return NULL;
      if (sl < 0) lo = l;
      if (sh > 0) hi = h;
    }
    any = true;
  }
  return any ? arena_printf("%s..%s", lin_text(j->g, lo), lin_text(j->g, hi)) : NULL;
}

static bool at_depends(const Component *c, At a, int depth)
{
  if (a.kind == AT_UNIT) return true;
  if (a.kind == AT_SPAN) return at_depends(c, *a.lo, depth) || at_depends(c, *a.hi, depth);
  if (a.kind != AT_ORIGIN || depth > 8) return false;
  const Origin *o = &c->origins.at[a.id];
  if (o->set && at_depends(c, o->target, depth + 1)) return true;
  for (int i = 0; i < o->n_args; i++)
    if ((o->args[i].kind != AT_ORIGIN || o->args[i].id != a.id) && at_depends(c, o->args[i], depth + 1)) return true;
  return false;
}

static int pattern_axis(const Judge *j, const Entry *e, int p)
{
  return e->family >= 0 ? axis_of_position(j->axes, e->family, p) : -1;
}

/* The family has a literal number of elements along the position. */
static bool position_fixed(const Judge *j, int family, int pos)
{
  const Family *f = graph_family(j->g, family);
  for (int i = 0; i < f->n_statements && f->n_index; i++) {
    const Affine *a = &j->m->stmts.at[f->statements[i]].index[pos].affine;
    if (a->n != 1 || a->term[0].kind != ATOM_VAR) continue;
    if (!lin_is_const(lin_add(j->g->vars.at[a->term[0].id].hi, j->g->vars.at[a->term[0].id].lo, -1))) return false;
  }
  return f->n_index > 0;
}

static long remainder_of(long a, long by) { return ((a % by) + by) % by; }

static long entry_step(const Judge *j, const Entry *e, int p) { return e->family >= 0 ? j->g->families.at[e->family].step[p] : 1; }

/* Text of a place as the index of the entry at position p. */
static const char *entry_index(const Judge *j, const Component *c, const Entry *e, int p, At a)
{
  return e->family < 0 ? place_name(c, a) : index_name(c, a, entry_step(j, e, p), j->g->families.at[e->family].residue[p]);
}

/* Along position p of a growing entry: in a fixed order and number, because each member has its own element of an indexed global? */
static void star(const Judge *j, const Component *c, Pattern *x, int p, bool fixed)
{
  int axis = pattern_axis(j, x->entry, p);
  At a = {.kind = AT_FREE, .sign = 1};
  if (x->entry->at[p].kind == AT_FREE) a.sign = x->entry->at[p].sign, a.off = x->entry->at[p].off;
  long by = labs(entry_step(j, x->entry, p) * a.sign);
  const char *extent = by == 1 && (fixed || (axis >= 0 && c->slotted[axis])) ? extent_text(j, x->family, p, true) : NULL;
  x->pos[p] = entry_index(j, c, x->entry, p, a);
  x->star[p] = by == 1;
  if (extent) {
    x->whole_range[p] = true;
    x->pos[p] = extent;
    return;
  }
  if (by > 1 && lin_is_const(a.off)) {
    x->by[p] = by;
    x->rest[p] = remainder_of(j->g->families.at[x->family].residue[p] + a.off.c * entry_step(j, x->entry, p), by);
  }
  x->growing = true;
  if (axis >= 0 && (c->ordered[axis] || c->slotted[axis])) x->ordered = true;
}

/* Unit places moved by the lattice: stars where it contains the axis, else multiples k, l, ... of its basis. */
static void apply_lattice(const Judge *j, const Component *c, Pattern *x)
{
  const Entry *e = x->entry;
  Lattice l = {.dim = x->n};
  for (int r = 0; r < c->lattice.rank; r++) {
    long v[MAX_AXES] = {0};
    for (int p = 0; p < x->n; p++)
      if (e->at[p].kind == AT_UNIT) v[p] = e->at[p].sign * c->lattice.row[r][e->at[p].id];
    lattice_add(&l, v);
  }
  bool moved[MAX_AXES] = {false};
  for (int p = 0; p < x->n; p++) moved[p] = lattice_has_axis(&l, p);
  int symbolic = -1;                    /* the only generator with a size in it, if its direction is not covered */
  for (int i = 0; i < c->symbolic.n; i++) {
    const Generator *s = &c->generators.at[c->symbolic.at[i]];
    bool open = false;
    for (int p = 0; p < x->n; p++)
      if (e->at[p].kind == AT_UNIT && !moved[p] && (s->v[e->at[p].id].n || s->v[e->at[p].id].c)) open = true;
    if (!open) continue;
    if (symbolic < 0 && !l.rank) symbolic = c->symbolic.at[i];
    else {
      for (int p = 0; p < x->n; p++)
        if (e->at[p].kind == AT_UNIT && (s->v[e->at[p].id].n || s->v[e->at[p].id].c)) moved[p] = true;
      x->conservative = true;
      if (symbolic >= 0)
        for (int p = 0; p < x->n; p++)
          if (e->at[p].kind == AT_UNIT && c->generators.at[symbolic].v[e->at[p].id].n) moved[p] = true;
    }
  }
  for (int p = 0; p < x->n; p++) {      /* a span along a moved axis is everything */
    if (e->at[p].kind != AT_SPAN) continue;
    At ends[2] = {*e->at[p].lo, *e->at[p].hi};
    for (int k = 0; k < 2; k++)
      if (ends[k].kind == AT_UNIT && c->grows[ends[k].id]) moved[p] = true;
  }
  Lattice rest = {.dim = x->n};
  long off[MAX_AXES] = {0};
  for (int r = 0; r < l.rank; r++) {
    long v[MAX_AXES];
    for (int p = 0; p < x->n; p++) v[p] = moved[p] ? 0 : l.row[r][p];
    lattice_add(&rest, v);
  }
  for (int p = 0; p < x->n; p++) off[p] = e->at[p].off.c;
  if (rest.rank) lattice_reduce(&rest, off);
  for (int p = 0; p < x->n; p++) {
    int q = e->at[p].kind == AT_UNIT ? e->at[p].id : e->at[p].kind == AT_SPAN && e->at[p].hi->kind == AT_UNIT ? e->at[p].hi->id : -1;
    if (moved[p]) {
      star(j, c, x, p, q >= 0 && c->unit.fixed[q]);
      if (!x->whole_range[p] && c->cyclic) x->ordered = true;
      continue;
    }
    if (e->at[p].kind != AT_UNIT) continue;
    At a = e->at[p];
    a.off.c = off[p];
    StrBuf b = {0};
    bool steps = false;
    long step = entry_step(j, e, p);
    sb_puts(&b, entry_index(j, c, e, p, a));
    for (int r = 0; r < rest.rank; r++) {
      long s = rest.row[r][p] * step;
      if (!s) continue;
      sb_printf(&b, s < 0 ? "-" : "+");
      if (labs(s) != 1) sb_printf(&b, "%ld*", labs(s));
      sb_puts(&b, step_name(j->g, r));
      steps = true;
    }
    if (symbolic >= 0 && (c->generators.at[symbolic].v[a.id].n || c->generators.at[symbolic].v[a.id].c)) {
      Lin s = c->generators.at[symbolic].v[a.id];
      if (s.n && s.t[0].coef < 0) s = lin_add(lin_const(0), s, -1);
      s = lin_add(lin_const(0), s, labs(step * a.sign));
      bool one = s.n == 1 && !s.c;
      sb_printf(&b, one ? "+%s*%s" : "+(%s)*%s", lin_text(c->g, s), step_name(j->g, 0));
      steps = true;
    }
    x->pos[p] = sb_text(&b);
    x->stepped = x->stepped || steps;
    if (rest.rank == 1 && rest.row[0][p] && symbolic < 0 && c->g->families.at[c->unit.family].step[a.id] == 1) {
      int moving = 0;
      for (int k = 0; k < x->n; k++) moving += rest.row[0][k] != 0;
      if (moving == 1) x->by[p] = labs(rest.row[0][p] * step), x->rest[p] = remainder_of(a.off.c * step, x->by[p]), x->from_unit[p] = true;
    }
    if (steps && !c->unit.fixed[a.id]) x->growing = true, x->ordered = x->ordered || c->cyclic;
  }
}

/* The set that a place ranges over, itself or as an argument of a lookup; -1. */
static int set_inside(const Component *c, At a, int depth)
{
  if (a.kind != AT_ORIGIN || depth > 8) return -1;
  const Origin *o = &c->origins.at[a.id];
  if (o->set) return a.id;
  for (int i = 0; i < o->n_args; i++) {
    int set = set_inside(c, o->args[i], depth + 1);
    if (set >= 0) return set;
  }
  return -1;
}

static void spell(const Judge *j, Pattern *x)
{
  StrBuf *const b = j->scratch;
  int n = x->n;
  if (!graph_family(j->g, x->family)->n_index)
    while (n && x->star[n - 1]) n--;    /* all entries of a vector: the vector */
  b->length = 0;
  sb_puts(b, x->name);
  for (int p = 0; p < n; p++) {
    sb_puts(b, !p ? "[" : x->stepped ? ", " : ",");
    sb_puts(b, x->pos[p]);
  }
  sb_puts(b, x->conditions);
  if (n) sb_putc(b, ']');
  x->text = intern_n(sb_text(b), b->length);
}

static Pattern pattern_of(const Judge *j, const Component *c, const Entry *e, bool raw)
{
  Pattern x = {.entry = e, .family = e->family, .n = e->n, .raw = raw, .conditions = ""};
  int conditions[MAX_AXES], n_conditions = 0;
  for (int p = 0; p < e->n; p++) {
    At a = e->at[p];
    x.sets[p] = -1;
    if (a.kind == AT_FREE && (!raw || (a.lo && (a.lo->kind != AT_UNIT && a.hi->kind != AT_UNIT)))) a.lo = a.hi = NULL;
    x.tied = x.tied || at_depends(c, a, 0);
    x.pos[p] = entry_index(j, c, e, p, a);
    if (a.kind == AT_FREE && e->family >= 0) {
      const char *span = x.pos[p];
      star(j, c, &x, p, false);
      if (a.lo) x.pos[p] = span;        /* those from the unit's on */
    }
    if (a.kind == AT_ORIGIN) {
      long step = entry_step(j, e, p);
      At index = a;
      index.sign *= step;
      index.off = lin_add(lin_const(e->family < 0 ? 0 : j->g->families.at[e->family].residue[p]), a.off, step);
      x.pos[p] = origin_text(c, index, -1, NULL);
      int set = set_inside(c, a, 0);
      if (set < 0) continue;
      x.growing = true;
      if (c->origins.at[a.id].set) x.sets[p] = set;
      bool again = false;
      for (int k = 0; k < n_conditions; k++) again = again || conditions[k] == set;
      if (!again) conditions[n_conditions++] = set;
    }
    if (a.kind == AT_SPAN && (a.lo->kind == AT_ABS || a.hi->kind == AT_ABS)) x.growing = x.prefix = true;
  }
  if (!raw && e->family >= 0 && (c->lattice.rank || c->symbolic.n)) apply_lattice(j, c, &x);
  if (e->family == REF_INDEX) {         /* the index itself, whatever its offset */
    At a = e->at[0];
    x.name = x.text = a.kind == AT_UNIT ? c->g->vars.at[c->unit.var[a.id]].name : x.pos[0];
    for (int f = 0; f < j->m->families.n; f++) x.rank += strcmp(j->m->families.at[f].name, x.name) < 0; /* before the next name */
    return x;
  }
  for (int p = 0; p < e->n && x.growing; p++) x.ordered = x.ordered || x.whole_range[p]; /* sets in places of their own */
  x.name = graph_family(j->g, e->family)->name;
  x.rank = j->rank[j->g->families.at[e->family].model];
  StrBuf b = {0};
  for (int k = 0; k < n_conditions; k++) sb_printf(&b, "%s%s", k ? ", " : " | ", set_condition(c, conditions[k]));
  x.conditions = sb_text(&b);
  spell(j, &x);
  return x;
}

/* Is the place an element of the set? */
static bool in_set(const Component *c, At a, int set)
{
  const Origin *o = &c->origins.at[set];
  if (a.kind == AT_ORIGIN && a.id == set) return lin_is_const(a.off) && !a.off.c;
  if (o->n_bound != 1) return false;
  if (a.kind == AT_ORIGIN && c->origins.at[a.id].set) {
    const Origin *x = &c->origins.at[a.id];
    if (x->ix->table != o->ix->table || x->n_args != 1 || x->args[0].off.c || o->target.kind != AT_ORIGIN) return false;
    return c->origins.at[o->target.id].set && in_set(c, x->target, o->target.id);
  }
  for (int i = 0; i < c->origins.n; i++) { /* the table's value at a */
    const Origin *x = &c->origins.at[i];
    if (x->set || x->ix->table != o->ix->table || x->n_args != o->n_args) continue;
    bool same = true;
    for (int k = 0; k < x->n_args && same; k++) {
      At y = o->args[k];
      if (y.kind == AT_ORIGIN && y.id == set) y = a;
      same = x->args[k].kind == y.kind && x->args[k].id == y.id && x->args[k].sub == y.sub && lin_equal(x->args[k].off, y.off);
    }
    if (!same) continue;
    At value = {.kind = AT_ORIGIN, .id = i, .sign = 1};
    if (o->target.kind == AT_ORIGIN && o->target.id == i && lin_equal(o->target.off, value.off)) return true;
    if (o->target.kind == AT_ORIGIN && c->origins.at[o->target.id].set && lin_is_const(o->target.off) && !o->target.off.c)
      return in_set(c, value, o->target.id);
  }
  return false;
}

/* Everything that b names, a names. */
static bool covers(const Component *c, const Pattern *a, const Pattern *b)
{
  if (a->family != b->family || a->n != b->n || a->entry->pinned != b->entry->pinned) return false;
  if (a->family == REF_INDEX) return a->text == b->text || !strcmp(a->text, b->text);
  for (int p = 0; p < a->n; p++) {
    if (a->star[p]) continue;
    if (b->star[p]) return false;
    if (a->sets[p] >= 0) {
      At member = b->entry->at[p], mine = a->entry->at[p]; /* of x[i-1 | g[i] = j], those one before a member */
      member.off = lin_add(member.off, mine.off, -1);
      if (mine.sign == 1 ? !in_set(c, member, a->sets[p]) : strcmp(a->text, b->text) != 0) return false;
      continue;
    }
    if (b->sets[p] >= 0 || strcmp(a->pos[p], b->pos[p])) return false;
  }
  return true;
}

static bool input_element(const Model *m, int family, const Entry *e) /* not of a latent family: its number is the model's */
{
  const Family *f = &m->families.at[family];
  if (f->role == ROLE_INPUT) return true;
  for (int i = 0; i < f->n_statements; i++) {
    const Stmt *s = &m->stmts.at[f->statements[i]];
    bool same = s->kind == ST_INPUT && s->n_index == e->n;
    for (int p = 0; p < e->n && same; p++)
      same = !s->index[p].affine.n && e->at[p].kind == AT_ABS && lin_is_const(e->at[p].off) && e->at[p].off.c == s->index[p].affine.constant;
    if (same) return true;
  }
  return false;
}

/* Known values count where they vary with the unit or with the members of a set that is the unit's own. */
static bool counts(const Judge *j, const Component *c, const Entry *e)
{
  const GRef *ref = &c->g->terms.at[c->nodes.at[e->term_node].id].refs.at[e->ref];
  if ((ref->selector && !e->pinned) || e->shared) return false;
  if (e->family == REF_INDEX) {
    At a = e->at[0];
    if (a.kind != AT_UNIT) return false;
    return !c->grows[a.id] || c->unit.fixed[a.id] || c->slotted[axis_of_position(j->axes, c->unit.family, a.id)];
  }
  if (e->pinned || !input_element(j->m, e->family, e)) return true;
  bool tied = e->plate_free;
  for (int p = 0; p < e->n; p++) tied = tied || at_depends(c, e->at[p], 0);
  return tied;
}

/* Least first: free positions and sets, then constants, then offsets. */
static int place_order(const Pattern *x, int p, long *value)
{
  At a = x->entry->at[p];
  *value = 0;
  if (x->star[p] || x->sets[p] >= 0) return 0;
  *value = a.off.c;
  if (a.kind == AT_SPAN) {
    *value = a.lo->off.c;
    if (a.lo->kind == AT_ABS) return 0;
  }
  return a.kind == AT_ABS ? 1 : 2;
}

static int pattern_compare(const void *va, const void *vb)
{
  const Pattern *a = *(const Pattern *const *)va, *b = *(const Pattern *const *)vb;
  if (a->rank != b->rank) return a->rank - b->rank;
  for (int p = 0; p < a->n && p < b->n; p++) {
    long x, y;
    int ka = place_order(a, p, &x), kb = place_order(b, p, &y);
    if (ka != kb) return ka - kb;
    if (x != y) return x < y ? -1 : 1;
    if (a->sets[p] >= 0 && b->sets[p] >= 0 && a->sets[p] != b->sets[p]) { /* the larger set is the one with the longer way to it */
      size_t la = strlen(a->text), lb = strlen(b->text);
      if (la != lb) return la > lb ? -1 : 1;
    }
  }
  return strcmp(a->text, b->text);
}

/* Sorted, each once. */
static void texts(PatternList list, TextList *out)
{
  const Pattern **sorted = NEW_ARRAY(const Pattern *, list.n);
  for (int i = 0; i < list.n; i++) sorted[i] = &list.at[i];
  if (list.n) qsort(sorted, (size_t)list.n, sizeof *sorted, pattern_compare);
  for (int i = 0; i < list.n; i++) {
    bool there = false;
    for (int k = i - 1; k >= 0 && sorted[k]->rank == sorted[i]->rank && !there; k--) there = !strcmp(sorted[k]->text, sorted[i]->text);
    if (!there) VEC_PUSH(*out, sorted[i]->text);
  }
}

/* ---- class and domain -------------------------------------------------------------------------------------------------------------- */

typedef struct { const char *verdict, *kind; PatternList domain; } Verdict;

static bool good_verdict(const char *v) { return !strcmp(v, "closes") || !strcmp(v, "set") || !strcmp(v, "slice"); }

static int open_axes(const Unit *u)
{
  int n = 0;
  for (int p = 0; p < u->n; p++) n += u->runs[p] && !u->fixed[p];
  return n;
}

/* The unit's index on axis q is an input. */
static void put_index(const Judge *j, const Component *c, int q, PatternList *out)
{
  Entry *e = NEW(Entry);
  *e = (Entry){.family = REF_INDEX, .n = 1};
  e->at[0] = (At){.kind = AT_UNIT, .id = q, .sign = 1};
  VEC_PUSH(*out, pattern_of(j, c, e, true));
}

/* Of one in 2, one in 3, ... all remainders: everything. */
static void join_strides(const Judge *j, PatternList *list)
{
  for (int i = 0; i < list->n; i++)
    for (int p = 0; p < list->at[i].n; p++) {
      Pattern x = list->at[i];
      long seen = 0;
      if (!x.by[p] || x.by[p] > 60) continue;
      for (int pass = 0; pass < 2; pass++) { /* collect the remainders; if all are there, take the others out */
        for (int k = list->n - 1; k >= 0; k--) {
          const Pattern *y = &list->at[k];
          bool same = y->family == x.family && y->n == x.n && y->by[p] == x.by[p] && y->from_unit[p] == x.from_unit[p] && !strcmp(y->conditions, x.conditions);
          for (int q = 0; q < x.n && same; q++) same = q == p || !strcmp(x.pos[q], y->pos[q]);
          if (!same) continue;
          seen |= 1L << y->rest[p];
          if (pass && k != i) {
            list->at[k] = list->at[--list->n];
            if (i == list->n) i = k;
          }
        }
        if (seen != (1L << x.by[p]) - 1) break;
        if (!pass) continue;
        Pattern *all = &list->at[i];
        all->star[p] = true;
        all->by[p] = 0;
        all->pos[p] = "*";
        all->stepped = false;
        for (int q = 0; q < all->n; q++) all->stepped = all->stepped || all->by[q];
        spell(j, all);
      }
    }
}

/* Largest patterns; for sets also what is the unit's own. */
static void choose_domain(Judge *j, const Component *c, const PatternList *all, bool mark_own, PatternList *out)
{
  int *next = NEW_ARRAY(int, all->n);
  for (int i = all->n - 1; i >= 0; i--) {
    int *head = &j->head[all->at[i].family + 1];
    next[i] = *head;
    *head = i;
  }
  for (int i = 0; i < all->n; i++) {
    bool largest = true;
    for (int k = j->head[all->at[i].family + 1]; k >= 0 && largest; k = next[k])
      largest = k == i || !covers(c, &all->at[k], &all->at[i]) || (covers(c, &all->at[i], &all->at[k]) && i < k);
    if (largest) VEC_PUSH(*out, all->at[i]);
  }
  for (int i = 0; i < all->n; i++) j->head[all->at[i].family + 1] = -1;
  if (!mark_own) return;
  for (int i = 0; i < all->n; i++) {
    Pattern raw = pattern_of(j, c, all->at[i].entry, true);
    if (raw.tied) VEC_PUSH(*out, raw);
  }
}

/* The span at position p of `a` takes in b, which differs from it there only: x[1..t-1] and x[t] are x[1..t]. */
static bool span_absorbs(const Graph *g, Entry *a, const Entry *b, int p)
{
  if (a == b || a->family != b->family || a->n != b->n || a->pinned != b->pinned) return false;
  for (int k = 0; k < a->n; k++) {
    if (k == p) continue;
    if (a->at[k].kind != b->at[k].kind || a->at[k].kind == AT_SPAN || a->at[k].id != b->at[k].id || a->at[k].sub != b->at[k].sub) return false;
    if (a->at[k].kind != AT_FREE && (a->at[k].sign != b->at[k].sign || !lin_equal(a->at[k].off, b->at[k].off))) return false;
  }
  At *lo = a->at[p].lo, *hi = a->at[p].hi, one = b->at[p];
  if (one.kind != AT_UNIT || one.sign < 0) return false;
  bool to_lo = lo->kind == AT_UNIT && lo->id == one.id, to_hi = hi->kind == AT_UNIT && hi->id == one.id;
  if (!to_lo && !to_hi) return false;
  Lin below = to_lo ? lin_add(lo->off, one.off, -1) : lin_const(0), above = to_hi ? lin_add(one.off, hi->off, -1) : lin_const(0);
  int s_lo = lin_sign(g, lin_add(below, lin_const(1), -1)), s_hi = lin_sign(g, lin_add(above, lin_const(1), -1)); /* 0: just outside */
  if (s_lo > 0 || s_hi > 0) return false;
  if (to_lo && s_lo == 0) lo->off = one.off;
  if (to_hi && s_hi == 0) hi->off = one.off;
  a->own = a->own || b->own;
  return true;
}

/* Entries with spans that touch joined into one. */
static void join_spans(const Component *c, EntryList *list)
{
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = 0; i < list->n; i++)
      for (int p = 0; p < list->at[i].n; p++) {
        if (list->at[i].at[p].kind != AT_SPAN) continue;
        for (int k = 0; k < list->n; k++)
          if (span_absorbs(c->g, &list->at[i], &list->at[k], p)) {
            list->at[k] = list->at[--list->n];
            changed = true;
            goto next;
          }
      }
  next:;
  }
}

/* Some position of the entry is a member of the set, or of a set of sets over it, or looked up at a member. */
static bool entry_in_set(const Component *c, const Entry *e, int set)
{
  for (int p = 0; p < e->n; p++) {
    At a = e->at[p];
    for (int depth = 0; depth < 8 && a.kind == AT_ORIGIN && c->origins.at[a.id].set; depth++) {
      if (a.id == set) return true;
      a = c->origins.at[a.id].target;
    }
    if (set_inside(c, e->at[p], 0) == set) return true;
  }
  return false;
}

/* The table of a lookup, where nothing else tells how many members its set has, or that units differ at all. */
static bool counts_alone(const Judge *j, const Component *c, const Entry *e)
{
  if (!c->g->terms.at[c->nodes.at[e->term_node].id].refs.at[e->ref].selector || e->pinned) return false;
  bool anything = false;
  for (int i = 0; i < c->entries.n && !anything; i++) anything = counts(j, c, &c->entries.at[i]);
  for (int p = 0; p < e->n && !anything; p++)
    if (e->at[p].kind == AT_FREE) return true;
  for (int p = 0; p < e->n; p++) {
    At a = e->at[p];
    if (a.kind != AT_ORIGIN || !c->origins.at[a.id].set || c->origins.at[a.id].ix->formula) continue;
    bool carried = false;
    for (int i = 0; i < c->entries.n && !carried; i++) carried = counts(j, c, &c->entries.at[i]) && entry_in_set(c, &c->entries.at[i], a.id);
    if (!carried) return true;
  }
  return false;
}

/* Everything along some position, and nothing that tells the unit. */
static bool untied(const Component *c, const Pattern *x)
{
  bool wide = false;
  for (int p = 0; p < x->n; p++) {
    wide = wide || x->star[p] || x->whole_range[p];
    if (x->star[p] || x->whole_range[p]) continue;
    if (x->sets[p] >= 0 || at_depends(c, x->entry->at[p], 0)) return false;
  }
  return wide;
}

/* The plates that an index runs with, through lookups too, have places of their own. */
static void slot_axes(const Judge *j, Component *c, const GIndex *ix)
{
  const Lin *forms[] = {&ix->lin, &ix->hi};
  for (int k = 0; k < (ix->kind == GI_RANGE ? 2 : ix->kind == GI_LINEAR); k++)
    for (int i = 0; i < forms[k]->n; i++)
      if (forms[k]->t[i].atom >= 0) c->slotted[axis_of_var(j->axes, forms[k]->t[i].atom)] = true;
  if (ix->var >= 0 && ix->kind == GI_RANGE) c->slotted[axis_of_var(j->axes, ix->var)] = true;
  for (int i = 0; i < ix->n_args; i++) slot_axes(j, c, &ix->args[i]);
}

/* Known values in reach that are the same for all units (difficulties delta[j], met by every person through y[i,j]) are constants of the function, not
 * inputs; but the members of a slice that differ by them have places of their own then. Where the component is everything there is, so are they. */
static void share_known(const Judge *j, Component *c)
{
  if (c->crossed || c->bad_axes || (c->rank && c->rank == open_axes(&c->unit))) return;
  VEC(int) known = {0};
  for (int i = 0; i < c->entries.n; i++) {
    Entry *e = &c->entries.at[i];
    if (!counts(j, c, e)) continue;
    Pattern x = pattern_of(j, c, e, false);
    if (!untied(c, &x)) continue;
    if (e->family < 0 || e->pinned || !input_element(j->m, e->family, e)) return;
    VEC_PUSH(known, i);
  }
  for (int i = 0; i < known.n; i++) {
    Entry *e = &c->entries.at[known.at[i]];
    e->shared = true;
    for (int p = 0; p < e->n; p++)
      if (e->at[p].kind == AT_FREE) slot_axes(j, c, &c->g->terms.at[c->nodes.at[e->term_node].id].refs.at[e->ref].ix[p]);
  }
}

/* Some entry of the list runs along the unit's axis: its member's place is known. */
static bool runs_along(const Judge *j, const Component *c, const PatternList *list, int q)
{
  for (int i = 0; i < list->n; i++)
    for (int p = 0; p < list->at[i].n; p++) {
      const Pattern *x = &list->at[i];
      At a = x->entry->at[p];
      if (x->family < 0 || !(x->star[p] || x->whole_range[p] || x->stepped || a.kind == AT_SPAN)) continue;
      if ((a.kind == AT_UNIT && (int)a.id == q) || axis_of_position(j->axes, x->entry->family, p) == axis_of_position(j->axes, c->unit.family, q)) return true;
    }
  return false;
}

/* Positions that no entry tells: in a chain without observations along it. */
static void put_positions(const Judge *j, const Component *c, PatternList *out)
{
  for (int q = 0; q < c->unit.n; q++) {
    bool chained = false;
    for (int i = 0; i < c->generators.n; i++)
      chained = chained || (c->generators.at[i].origin == GEN_CYCLE && (c->generators.at[i].v[q].n || c->generators.at[i].v[q].c));
    if (chained && c->grows[q] && !c->unit.fixed[q] && !runs_along(j, c, out, q)) put_index(j, c, q, out);
  }
}

/* Of shared known values the unit's own, and which one that is; a place in a sequence tells both. */
static void put_own_known(const Judge *j, const Component *c, bool sequence, PatternList *out)
{
  const PatternList before = *out;
  for (int i = 0; i < c->entries.n; i++) {
    const Entry *e = &c->entries.at[i];
    Pattern x = e->shared ? pattern_of(j, c, e, true) : (Pattern){0};
    bool slotted = false;
    for (int p = 0; p < e->n && x.tied; p++)
      if (e->at[p].kind == AT_UNIT && c->slotted[axis_of_position(j->axes, e->family, p)] && !(sequence && runs_along(j, c, &before, (int)e->at[p].id))) {
        put_index(j, c, (int)e->at[p].id, out);
        slotted = true;
      }
    if (slotted) VEC_PUSH(*out, x);
  }
}

/* Nothing tells the unit's family's elements along axis q apart: they stand in sums over all of it, and beside that in terms where nothing else runs
 * along it. */
static bool exchangeable(const Component *c, int q)
{
  const Graph *g = c->g;
  for (int i = 0; i < g->touch[c->unit.family].n; i++) {
    const GTerm *t = &g->terms.at[g->touch[c->unit.family].at[i].term];
    const GIndex *ix = &t->refs.at[g->touch[c->unit.family].at[i].ref].ix[q];
    long coef;
    Lin rest;
    int v = lin_var(ix->lin, &coef, &rest);
    if (ix->kind == GI_RANGE && ix->reduced && !ix->ordered && v < 0 && lin_var(ix->hi, &coef, &rest) < 0) continue;
    if (ix->kind != GI_LINEAR || v < 0) return false;
    for (int r = 0; r < t->refs.n; r++)
      for (int p = 0; p < t->refs.at[r].n; p++) {
        const GRef *other = &t->refs.at[r];
        bool mentions = other->ix[p].kind != GI_LINEAR || lin_var(other->ix[p].lin, &coef, &rest) == v;
        if (mentions && !(other->family == c->unit.family && p == q && lin_equal(other->ix[p].lin, ix->lin))) return false;
      }
  }
  return true;
}

/* An element at a constant index of a component that runs along that axis: its neighbours may be special, and theirs. */
static bool meets_constant(const Judge *j, const Component *c)
{
  for (int i = 0; i < c->nodes.n; i++)
    for (int p = 0; p < c->nodes.at[i].n && !c->nodes.at[i].is_term; p++)
      for (int q = 0; q < c->unit.n && c->nodes.at[i].at[p].kind == AT_ABS; q++)
        if (c->grows[q] && axis_of_position(j->axes, c->nodes.at[i].id, p) == axis_of_position(j->axes, c->unit.family, q)) return true;
  return false;
}

static Verdict classify(Judge *j, Component *c)
{
  share_known(j, c);
  PatternList all = take_list(j);
  EntryList joined = {0};               /* where there are spans: copies, whose ends may move */
  bool spans = false;
  for (int i = 0; i < c->entries.n && !spans; i++)
    for (int p = 0; p < c->entries.at[i].n; p++) spans = spans || c->entries.at[i].at[p].kind == AT_SPAN;
  for (int i = 0; i < c->entries.n; i++) {
    if (!counts(j, c, &c->entries.at[i]) && !counts_alone(j, c, &c->entries.at[i])) continue;
    if (!spans) VEC_PUSH(all, pattern_of(j, c, &c->entries.at[i], false));
    if (!spans) continue;
    Entry e = c->entries.at[i];
    for (int p = 0; p < e.n; p++)
      if (e.at[p].kind == AT_SPAN) {
        At *ends = NEW_ARRAY(At, 2);
        ends[0] = *e.at[p].lo;
        ends[1] = *e.at[p].hi;
        e.at[p].lo = &ends[0];
        e.at[p].hi = &ends[1];
      }
    VEC_PUSH(joined, e);
  }
  join_spans(c, &joined);
  for (int i = 0; i < joined.n; i++) VEC_PUSH(all, pattern_of(j, c, &joined.at[i], false));
  join_strides(j, &all);
  bool growing = false, ordered = c->cyclic, whole = false, prefix = false, tied_prefix = true, fixed_growth = false;
  for (int i = 0; i < all.n; i++) {
    const Pattern *x = &all.at[i];
    growing = growing || x->growing;
    ordered = ordered || x->ordered;
    bool row = false;                   /* of as many members as there are elements of an indexed global */
    for (int p = 0; p < x->n; p++) row = row || (x->whole_range[p] && !position_fixed(j, x->family, p));
    if (x->growing || row) {
      bool tied = false;                /* some position still depends on the unit */
      for (int p = 0; p < x->n; p++)
        tied = tied || (!x->star[p] && (x->sets[p] >= 0 || (at_depends(c, x->entry->at[p], 0) && x->entry->at[p].kind != AT_SPAN)));
      if (x->prefix) prefix = true, tied_prefix = tied_prefix && tied;
      else if (!tied && !x->entry->pinned) whole = true;
    }
  }
  for (int q = 0; q < c->unit.n; q++) fixed_growth = fixed_growth || (c->grows[q] && c->unit.fixed[q]);
  Verdict v = {.domain = take_list(j)};
  bool sets = false;
  bool chained = false;                 /* unbounded whatever the lookups do: cycles alone reach along every axis */
  if (c->crossed && !c->crossed_formula) {
    Lattice l = {.dim = c->unit.n};
    for (int i = 0; i < c->generators.n; i++) {
      long e[MAX_AXES] = {0};
      for (int q = 0; q < c->unit.n; q++)
        if (!c->unit.fixed[q]) e[q] = c->generators.at[i].v[q].n ? 1 : c->generators.at[i].v[q].c;
      if (c->generators.at[i].origin == GEN_CYCLE) lattice_add(&l, e);
    }
    chained = l.rank && l.rank == open_axes(&c->unit);
  }
  if ((c->crossed && !chained) || c->bad_axes) {
    v.verdict = c->crossed && !c->crossed_formula ? "data" : "unknown";
    v.kind = c->crossed && !c->crossed_formula ? "data" : "all";
    sets = true;
  } else if (c->rank == 0 || !growing) {
    bool placed = false;
    for (int q = 0; q < c->unit.n; q++) placed = placed || (c->grows[q] && !c->unit.fixed[q] && !exchangeable(c, q));
    if (c->rank && c->cyclic && placed) v.verdict = "position", v.kind = "window";
    else if (c->rank && meets_constant(j, c)) v.verdict = "unknown", v.kind = "all";
    else if (whole) v.verdict = ordered ? "unbounded" : "unbounded-set", v.kind = "all", sets = !ordered;
    else if (prefix) v.verdict = tied_prefix ? "slice" : "unbounded", v.kind = "slice";
    else if (growing) v.verdict = v.kind = ordered ? "slice" : "set", sets = !ordered;
    else v.verdict = "closes", v.kind = "window";
  } else if (c->rank == open_axes(&c->unit) || whole) {
    bool line = c->rank == open_axes(&c->unit) ? c->cyclic : ordered;
    v.verdict = c->rank < open_axes(&c->unit) && c->oblique ? "unknown" : line ? "unbounded" : "unbounded-set";
    v.kind = "all";
    sets = !line;
  } else {
    v.verdict = v.kind = ordered ? "slice" : "set";
    sets = !ordered;
  }
  choose_domain(j, c, &all, sets, &v.domain);
  if (good_verdict(v.verdict)) put_own_known(j, c, !strcmp(v.verdict, "slice"), &v.domain);
  if (!strcmp(v.verdict, "slice")) put_positions(j, c, &v.domain);
  if (fixed_growth && !strcmp(v.verdict, "closes")) /* one of a few types: which one is an input */
    for (int q = 0; q < c->unit.n; q++)
      if (c->grows[q] && c->unit.fixed[q]) put_index(j, c, q, &v.domain);
  give_list(j, all);
  return v;
}

/* ---- what the scale needs ------------------------------------------------------------------------------------------------------------ */

#define NOT_QUADRATIC 3
#define UNSEEN (-1)

/* A walk over the nodes of a term, each once: they are shared. */
typedef struct {
  int n;                                /* nodes */
  const bool *own;                      /* per reference: the unit's element */
  bool *coef;                           /* per reference: multiplies it; marked by the walk */
  bool *marked;                         /* per node: its references are in coef */
  int *degree;                          /* per node, or UNSEEN */
} DegreeWalk;

static DegreeWalk degree_walk(const GTerm *t, const bool *own, bool *coef)
{
  DegreeWalk w = {t->n_nodes, own, coef, NEW_ARRAY(bool, t->n_nodes), NEW_ARRAY(int, t->n_nodes)};
  for (int i = 0; i < w.n; i++) w.degree[i] = UNSEEN;
  return w;
}

static void mark_refs(DegreeWalk *w, const GExpr *e)
{
  if (!e || w->marked[e->id]) return;
  w->marked[e->id] = true;
  if (e->kind == GE_REF) w->coef[e->ref] = true;
  for (int i = 0; i < e->n; i++) mark_refs(w, e->args[i]);
}

/* Degree of e in the unit's element: 0, 1, 2, or NOT_QUADRATIC. References that multiply it are marked in coef. */
static int degree(DegreeWalk *w, const GExpr *e)
{
  int *const d = &w->degree[e->id], total = 0;
  if (*d != UNSEEN) return *d;
  switch (e->kind) {
  case GE_CONST: return *d = 0;
  case GE_REF: return *d = w->own[e->ref];
  case GE_ADD:
    for (int i = 0; i < e->n; i++) {
      const int of = degree(w, e->args[i]);
      if (of > total) total = of;
    }
    return *d = total;
  case GE_MUL:
    for (int i = 0; i < e->n; i++) {
      total += degree(w, e->args[i]);
      if (total > NOT_QUADRATIC) total = NOT_QUADRATIC;
    }
    for (int i = 0; i < e->n && total; i++)
      if (!degree(w, e->args[i])) mark_refs(w, e->args[i]);
    return *d = total;
  case GE_FN:
    for (int i = 0; i < e->n; i++)
      if (degree(w, e->args[i])) total = NOT_QUADRATIC;
    return *d = total;
  }
  return NOT_QUADRATIC;
}

/* The same for a potential, marking what multiplies the square only. seen: sums that were met before. */
static int potential_degree(const GTerm *t, const GExpr *e, const bool *own, bool *coef, bool *seen)
{
  if (seen[e->id]) return 0;
  seen[e->id] = true;
  if (e->kind == GE_ADD) {
    int max = 0;
    for (int i = 0; i < e->n; i++) {
      int d = potential_degree(t, e->args[i], own, coef, seen);
      if (d > max) max = d;
    }
    return max;
  }
  bool *marks = NEW_ARRAY(bool, t->refs.n);
  DegreeWalk w = degree_walk(t, own, marks);
  int d = degree(&w, e);
  for (int r = 0; r < t->refs.n && d == 2; r++) coef[r] = coef[r] || marks[r];
  return d;
}

/* The term is quadratic in the unit's element; coef: references in the coefficient of its square. */
static bool quadratic(const GTerm *t, const bool *own, bool *coef)
{
  if (t->restricted) return false;
  int location = -1, scale = -1;
  switch (t->dist) {
  case -1: return potential_degree(t, t->value, own, coef, NEW_ARRAY(bool, t->n_nodes)) <= 2;
  case DIST_flat: return t->value->kind == GE_REF;
  case DIST_std_normal: break;
  case DIST_normal:
  case DIST_multi_normal:
  case DIST_multi_normal_cholesky:
  case DIST_lognormal: location = 0, scale = 1; break;
  default: return false;
  }
  DegreeWalk w = degree_walk(t, own, coef);
  int d = degree(&w, t->value);
  if (d > 1 || (d && t->dist == DIST_lognormal)) return false;
  if (location >= 0 && degree(&w, t->args[location]) > 1) return false;
  if (scale >= 0) {
    if (degree(&w, t->args[scale])) return false;
    mark_refs(&w, t->args[scale]);
  }
  return true;
}

static bool real_line(const Model *m, const Family *f)
{
  if (f->type.kind == TY_INT || f->type.kind > TY_MATRIX || f->type.lower || f->type.upper) return false;
  for (int i = 0; i < f->n_statements; i++) {
    const Stmt *s = &m->stmts.at[f->statements[i]];
    if (!s->has_dist) continue;
    Support p = dist_info[s->dist.dist].support;
    if (s->dist.truncated || (p != SUP_REAL && p != SUP_VECTOR && p != SUP_TYPE)) return false;
  }
  return true;
}

/* Does every unit stand in as many of these terms? Not if it is in the sums of all later elements. */
static bool counts_alike(const GIndex *ix)
{
  long coef;
  Lin rest;
  return ix->kind != GI_RANGE || (lin_var(ix->lin, &coef, &rest) >= 0) == (lin_var(ix->hi, &coef, &rest) >= 0);
}

/* A variable of the unit's own term that runs over a range of varying length, -1: none. */
static int ragged_slot(const Graph *g, const GTerm *t, const At *at)
{
  for (int k = 0; k < t->n_vars; k++)
    for (int end = 0; end < 2 && at[k].kind == AT_FREE; end++) {
      Lin bound = end ? t->hi[k] : t->lo[k];
      for (int i = 0; i < bound.n; i++)
        if (bound.t[i].atom < 0 && g->symbols.at[~bound.t[i].atom].varies) return k;
    }
  return -1;
}

/* Some position of the entry runs freely with the variable, and another tells the unit. */
static bool entry_along(const Judge *j, const Component *c, const Entry *e, int var)
{
  bool along = false, tied = false;
  for (int p = 0; p < e->n && e->family >= 0; p++) {
    along = along || (e->at[p].kind == AT_FREE && axis_of_position(j->axes, e->family, p) == axis_of_var(j->axes, var));
    tied = tied || at_depends(c, e->at[p], 0);
  }
  return along && tied;
}

/* Does reference r of a term of the unit's own mean the unit too, or a range in which it certainly is? Where a range depends on a variable that is
 * free in the term, the term is met again through that reference. */
static bool may_be_unit(const Judge *j, Component *c, int term_node, int r)
{
  const GRef *ref = &c->g->terms.at[c->nodes.at[term_node].id].refs.at[r];
  if (!ref->latent || ref->family != c->unit.family) return false;
  Entry e = own_entry(c->g, j->axes, c, term_node, r);
  for (int p = 0; p < e.n; p++) {
    At a = e.at[p], u = c->nodes.at[0].at[p];
    if (ref->ix[p].kind == GI_RANGE && counts_alike(&ref->ix[p])) continue;
    if (a.kind == AT_SPAN) {
      At lo = *a.lo, hi = *a.hi;
      if (lo.kind == AT_UNIT && (lo.id != u.id || lin_sign(c->g, lin_add(u.off, lo.off, -1)) == -1)) return false;
      if (hi.kind == AT_UNIT && (hi.id != u.id || lin_sign(c->g, lin_add(hi.off, u.off, -1)) == -1)) return false;
    } else if (a.kind != u.kind || a.kind == AT_FREE || a.id != u.id || a.sign != u.sign || !lin_equal(a.off, u.off)) return false;
  }
  return true;
}

/* The elements of the family that do not tell the unit are constants. */
static bool is_shared(const Component *c, int family)
{
  for (int i = 0; i < c->entries.n; i++)
    if (c->entries.at[i].shared && c->entries.at[i].family == family) return true;
  return false;
}

/* docs/analysis.md, "What the scale needs": for a Gaussian factor and terms quadratic in the unit, only what multiplies it, known noise, and the
 * number of terms where a lookup, a ragged plate or the unit's place decides it. False: as much as the mean. */
static bool scale_domain(const Judge *j, Component *c, PatternList *out)
{
  if (!real_line(j->m, graph_family(j->g, c->unit.family))) return false;
  for (int i = 0; i < c->nodes.n; i++) {
    const CNode *x = &c->nodes.at[i];
    if (!x->is_term || x->parent != 0) continue;
    const GTerm *t = &c->g->terms.at[x->id];
    bool *own = NEW_ARRAY(bool, t->refs.n), *coef = NEW_ARRAY(bool, t->refs.n);
    for (int r = 0; r < t->refs.n; r++) own[r] = r == x->ref || may_be_unit(j, c, i, r);
    for (int p = 0; p < t->refs.at[x->ref].n; p++) {
      if (t->refs.at[x->ref].ix[p].kind == GI_ANY) return false;
      if (!counts_alike(&t->refs.at[x->ref].ix[p])) put_index(j, c, p, out);
    }
    for (int p = 0; p < t->refs.at[x->ref].n; p++)
      if (t->refs.at[x->ref].ix[p].reduced && t->refs.at[x->ref].ix[p].kind != GI_LINEAR)
        for (int r = 0; r < t->refs.n; r++) { /* the weights of a sum */
          bool reduced = false;
          for (int k = 0; k < t->refs.at[r].n; k++) reduced = reduced || t->refs.at[r].ix[k].reduced;
          if (reduced && !t->refs.at[r].latent) coef[r] = true;
        }
    if (!quadratic(t, own, coef)) return false;
    for (int r = 0; r < t->refs.n; r++)
      if (coef[r] && t->refs.at[r].latent) return false;
    int set = -1, ragged = ragged_slot(c->g, t, x->at);
    for (int k = 0; k < t->n_vars; k++)
      if (x->at[k].kind == AT_ORIGIN && c->origins.at[x->at[k].id].set) set = x->at[k].id;
    const Entry *value = NULL, *member = NULL;
    for (int k = 0; k < c->entries.n; k++) {
      const Entry *e = &c->entries.at[k];
      if (e->pinned || !(counts(j, c, e) || counts_alone(j, c, e))) continue;
      bool better = !member || (member->family >= 0 && j->m->families.at[member->family].role == ROLE_INPUT);
      if (better && ((set >= 0 && entry_in_set(c, e, set)) || (ragged >= 0 && entry_along(j, c, e, t->vars[ragged])))) member = e;
      if (c->nodes.at[e->term_node].id != x->id || !e->own || (set >= 0 && !entry_in_set(c, e, set))) continue;
      if (t->value && t->value->kind == GE_REF && t->value->ref == e->ref) value = e;
      else if (!value && e->family >= 0) value = e;
    }
    bool counted = false;
    for (int r = 0; r < t->refs.n; r++) {
      if (!coef[r]) continue;
      Entry *e = NEW(Entry);
      *e = own_entry(c->g, j->axes, c, i, r);
      if (!counts(j, c, e)) continue;
      Pattern here = pattern_of(j, c, e, true);
      if (!here.tied && is_shared(c, e->family)) continue;
      counted = counted || (set >= 0 && entry_in_set(c, e, set)) || (ragged >= 0 && entry_along(j, c, e, t->vars[ragged]));
      VEC_PUSH(*out, here);
    }
    if (!value) value = member;
    if ((set >= 0 || ragged >= 0) && !counted && value) VEC_PUSH(*out, pattern_of(j, c, value, true)); /* for how many there are */
  }
  return true;
}

/* ---- boundary ------------------------------------------------------------------------------------------------------------------------------ */

static bool box_single(const BoundaryBox *b, int n, int *axis)
{
  int used = 0;
  for (int q = 0; q < n; q++)
    if (b->used[q]) used += b->twice[q] ? 2 : 1, *axis = q;
  return used == 1;
}

/* Joins b into a when both are ranges of one axis that overlap or touch. */
static bool box_join(const Graph *g, BoundaryBox *a, const BoundaryBox *b, int q)
{
  Lin gap_ab = lin_add(b->lo[q], a->hi[q], -1), gap_ba = lin_add(a->lo[q], b->hi[q], -1);
  int s1 = lin_sign(g, lin_add(gap_ab, lin_const(1), -1)), s2 = lin_sign(g, lin_add(gap_ba, lin_const(1), -1));
  if (s1 == 2 || s2 == 2 || s1 > 0 || s2 > 0) return false;
  int lo = lin_sign(g, lin_add(b->lo[q], a->lo[q], -1)), hi = lin_sign(g, lin_add(b->hi[q], a->hi[q], -1));
  if (lo == 2 || hi == 2) return false;
  if (lo < 0) a->lo[q] = b->lo[q];
  if (hi > 0) a->hi[q] = b->hi[q];
  return true;
}

static bool box_covers(const Graph *g, const BoundaryBox *a, const BoundaryBox *b, int n)
{
  for (int q = 0; q < n; q++) {
    if (!a->used[q]) continue;
    if (!b->used[q] || a->twice[q] != b->twice[q]) return false;
    if (a->twice[q] && lin_equal(a->lo[q], b->lo[q])) continue;
    int lo = lin_sign(g, lin_add(b->lo[q], a->lo[q], -1)), hi = lin_sign(g, lin_add(a->hi[q], b->hi[q], -1));
    if (lo == 2 || lo < 0 || hi == 2 || hi < 0) return false;
  }
  return true;
}

typedef VEC(BoundaryBox) BoxList;

/* Low end before high end, axis by axis. */
static int box_order(const Component *c, const BoundaryBox *a, const BoundaryBox *b)
{
  for (int q = 0; q < c->unit.n; q++) {
    if (a->used[q] != b->used[q]) return a->used[q] ? -1 : 1;
    if (!a->used[q]) continue;
    if (a->twice[q] != b->twice[q]) return a->twice[q] ? 1 : -1;
    int s = lin_sign(c->g, lin_add(a->lo[q], b->lo[q], -1));
    if (s == 1 || s == -1) return s;
    bool low_a = lin_equal(a->lo[q], c->unit.lo[q]), low_b = lin_equal(b->lo[q], c->unit.lo[q]);
    if (low_a != low_b) return low_a ? -1 : 1;
  }
  return 0;
}

/* Some place of the node is the unit's on an axis that the generator moves. */
static bool follows_unit(const Component *c, const CNode *x, const Generator *e)
{
  for (int p = 0; p < x->n; p++)
    for (int q = 0; q < c->unit.n; q++)
      if (x->at[p].kind == AT_UNIT && x->at[p].id == q && (e->v[q].n || e->v[q].c)) return true;
  return false;
}

/* Nodes through which translations close: an exception at one of them is one of many that the component meets. */
static bool *nodes_on_cycles(const Component *c)
{
  bool *on = NEW_ARRAY(bool, c->nodes.n), *above = NEW_ARRAY(bool, c->nodes.n);
  for (int i = 0; i < c->generators.n; i++) {
    const Generator *e = &c->generators.at[i];
    int meet = -1;
    for (int k = e->from; k >= 0; k = c->nodes.at[k].parent) above[k] = true;
    for (int k = e->node; k >= 0 && meet < 0; k = c->nodes.at[k].parent) {
      on[k] = on[k] || e->origin == GEN_CYCLE || !follows_unit(c, &c->nodes.at[k], e);
      if (above[k]) meet = k;           /* where the two ways part; without a second one the way goes on to the unit */
    }
    for (int k = e->from; k >= 0; k = c->nodes.at[k].parent) above[k] = false;
    for (int k = e->from; k >= 0 && k != meet; k = c->nodes.at[k].parent) on[k] = true;
  }
  return on;
}

static void boundary_boxes(const Component *c, const BoxList *pieces, BoxList *out)
{
  bool whole = c->rank || c->crossed, *on = nodes_on_cycles(c);
  for (int q = 0; q < c->unit.n; q++) whole = whole || c->grows[q];
  BoxList all = {0};
  for (int i = 0; i < pieces->n; i++) VEC_PUSH(all, pieces->at[i]);
  for (int i = 0; i < c->boundary.n; i++) {
    BoundaryBox b = c->boundary.at[i];
    if (whole) { /* along an axis on which the component is unbounded it meets every exception; the others remain */
      bool rest = false;
      for (int q = 0; q < c->unit.n; q++) rest = rest || (b.used[q] && !c->grows[q]);
      bool near_ = true;                /* nothing that repeats itself lies between it and the unit */
      for (int k = b.from ? c->nodes.at[b.from].parent : -1; k > 0 && near_; k = c->nodes.at[k].parent) near_ = !on[k];
      near_ = near_ && (!b.from || !on[0]);
      if (!rest && !near_) continue;
      for (int q = 0; q < c->unit.n && rest; q++) b.used[q] = b.used[q] && !c->grows[q];
    }
    VEC_PUSH(all, b);
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = 0; i < all.n; i++)
      for (int k = 0; k < all.n; k++) {
        int p = 0, q = 0;
        if (i == k) continue;
        bool one = box_single(&all.at[i], c->unit.n, &p) && box_single(&all.at[k], c->unit.n, &q) && p == q;
        if ((one && box_join(c->g, &all.at[i], &all.at[k], p)) || box_covers(c->g, &all.at[i], &all.at[k], c->unit.n)) {
          all.at[k] = all.at[--all.n];
          changed = true;
          if (i == all.n) break;
          k--;
        }
      }
  }
  for (int i = 1; i < all.n; i++)       /* few: insertion */
    for (int k = i; k && box_order(c, &all.at[k], &all.at[k - 1]) < 0; k--) {
      BoundaryBox t = all.at[k];
      all.at[k] = all.at[k - 1];
      all.at[k - 1] = t;
    }
  *out = all;
}

static const char *box_text(const Component *c, const BoundaryBox *b)
{
  StrBuf s = {0};
  for (int q = 0; q < c->unit.n; q++) {
    if (!b->used[q]) continue;
    Lin twice = lin_const(b->twice[q] ? c->unit.shift[q] - c->g->families.at[c->unit.family].residue[q] : 0); /* 2 * place, not 2 * index */
    const char *lo = unit_place(c, q, b->lo[q], false), *hi = unit_place(c, q, b->hi[q], true);
    if (b->twice[q]) lo = hi = lin_text(c->g, lin_add(unit_form(c, q, b->lo[q], false), twice, -1));
    sb_printf(&s, "%s%s%s=%s", s.length ? " & " : "", b->twice[q] ? "2*" : "", c->g->vars.at[c->unit.var[q]].name, lo);
    if (strcmp(lo, hi)) sb_printf(&s, "..%s", hi);
  }
  return sb_text(&s);
}

/* ---- witness --------------------------------------------------------------------------------------------------------------------------------- */

static const char *node_text(const Judge *j, const Component *c, const CNode *x, const At *at)
{
  StrBuf b = {0};
  const GFamily *f = &j->g->families.at[x->id];
  sb_puts(&b, graph_family(j->g, x->id)->name);
  for (int p = 0; p < x->n; p++)
    if (at[p].kind == AT_FREE) sb_puts(&b, p ? ",*" : "[*");
    else sb_printf(&b, "%s%s", p ? "," : "[", at[p].kind == AT_ORIGIN ? origin_text(c, at[p], -1, NULL) : index_name(c, at[p], f->step[p], f->residue[p]));
  if (x->n) sb_putc(&b, ']');
  return sb_text(&b);
}

static WitnessStep node_step(const Judge *j, const Component *c, int i)
{
  const CNode *x = &c->nodes.at[i];
  if (x->is_term) return (WitnessStep){c->g->terms.at[x->id].text, c->g->terms.at[x->id].span};
  Span span = graph_family(j->g, x->id)->span;
  if (x->parent >= 0) span = c->g->terms.at[c->nodes.at[x->parent].id].refs.at[x->ref].span;
  return (WitnessStep){node_text(j, c, x, x->at), span};
}

typedef VEC(int) IntList;

static void path_to_root(const Component *c, int i, IntList *out)
{
  for (; i >= 0; i = c->nodes.at[i].parent) VEC_PUSH(*out, i);
}

/* From `from` back to where the two paths part, and forward to `to`. */
static void push_walk(const Judge *j, const Component *c, int from, int to, LatentVerdict *v)
{
  IntList a = {0}, b = {0};
  path_to_root(c, from, &a);
  path_to_root(c, to, &b);
  int common = 1;
  while (a.n > common && b.n > common && a.at[a.n - common - 1] == b.at[b.n - common - 1]) common++;
  if (common < a.n) a.n -= common - 1, b.n -= common - 1; /* else `from` is on the way to `to`: the walk starts at the unit */
  else {
    a.at[0] = a.at[a.n - 1];
    a.n = 1;
  }
  for (int i = 0; i < a.n; i++) VEC_PUSH(v->witness, node_step(j, c, a.at[i]));
  for (int i = b.n - 2; i >= 0; i--) VEC_PUSH(v->witness, node_step(j, c, b.at[i]));
}

/* The node as it is for the unit a generator away. */
static WitnessStep moved_step(const Judge *j, const Component *c, int i, const Generator *e)
{
  const CNode *x = &c->nodes.at[i];
  WitnessStep s = node_step(j, c, i);
  At at[MAX_AXES];
  if (x->is_term) return s;
  for (int p = 0; p < x->n; p++) {
    at[p] = x->at[p];
    if (at[p].kind == AT_UNIT) at[p].off = lin_add(at[p].off, e->v[at[p].id], at[p].sign);
  }
  s.text = node_text(j, c, x, at);
  return s;
}

/* A cycle through the unit: from the unit to where the node is met again, and from that back to the unit, which is now another element. */
static bool push_cycle(const Judge *j, const Component *c, const Generator *e, LatentVerdict *v)
{
  IntList out = {0}, back = {0};
  path_to_root(c, e->from, &out);
  path_to_root(c, e->node, &back);
  if (e->origin != GEN_CYCLE || (out.n > 1 && back.n > 1 && out.at[out.n - 2] == back.at[back.n - 2])) return false; /* it parts later */
  for (int i = out.n - 1; i >= 0; i--) VEC_PUSH(v->witness, node_step(j, c, out.at[i]));
  for (int i = 0; i < back.n; i++) {
    WitnessStep s = moved_step(j, c, back.at[i], e);
    if (!c->nodes.at[back.at[i]].is_term) { /* the place of the reference in the term before it */
      int term = i ? back.at[i - 1] : e->from;
      const GTerm *t = c->nodes.at[term].is_term ? &c->g->terms.at[c->nodes.at[term].id] : NULL;
      if (t) s.span = t->refs.at[i ? c->nodes.at[term].ref : e->ref].span;
    }
    VEC_PUSH(v->witness, s);
  }
  return true;
}

static void find_witness(const Judge *j, const Component *c, const Verdict *d, LatentVerdict *v)
{
  const Generator *best = NULL;
  for (int i = 0; i < c->generators.n; i++) {
    const Generator *e = &c->generators.at[i];
    bool open = false;
    for (int q = 0; q < c->unit.n; q++) open = open || (!c->unit.fixed[q] && (e->v[q].n || e->v[q].c));
    bool better = !best || (c->cyclic && best->origin == GEN_LACK && e->origin == GEN_CYCLE) ||
                  (e->origin == GEN_CYCLE && best->origin == GEN_CYCLE && c->nodes.at[best->node].is_term && !c->nodes.at[e->node].is_term);
    if (open && better) best = e;
  }
  if (c->crossed && c->crossed_term >= 0) {
    for (int i = 0; i < c->nodes.n; i++)
      if (c->nodes.at[i].is_term && c->nodes.at[i].id == c->crossed_term) {
        push_walk(j, c, 0, i, v);
        for (int k = 0; k < c->nodes.n; k++)
          if (!c->nodes.at[k].is_term && c->nodes.at[k].parent == i) {
            VEC_PUSH(v->witness, node_step(j, c, k));
            break;
          }
        return;
      }
  }
  if (best && best->origin == GEN_LACK) push_walk(j, c, 0, best->node, v);
  else if (best && push_cycle(j, c, best, v)) return;
  else if (best) {
    push_walk(j, c, best->node, best->from, v);
    const CNode *x = &c->nodes.at[best->node];
    WitnessStep last = node_step(j, c, best->node);
    if (!x->is_term) {
      At at[MAX_AXES];
      memcpy(at, x->at, sizeof at);
      for (int p = 0; p < x->n; p++) at[p].off = best->met[p];
      last = (WitnessStep){node_text(j, c, x, at), c->g->terms.at[c->nodes.at[best->from].id].refs.at[best->ref].span};
    }
    VEC_PUSH(v->witness, last);
  } else
    for (int i = 0; i < d->domain.n; i++) { /* an observed slice brings it */
      const Pattern *x = &d->domain.at[i];
      if (!x->growing || !x->entry) continue;
      push_walk(j, c, 0, x->entry->term_node, v);
      VEC_PUSH(v->witness, (WitnessStep){x->text, c->g->terms.at[c->nodes.at[x->entry->term_node].id].refs.at[x->entry->ref].span});
      return;
    }
}

/* ---- remedies ------------------------------------------------------------------------------------------------------------------------------------ */

static void own_entries(const Judge *j, const Component *c, TextList *out)
{
  PatternList list = {0};
  for (int i = 0; i < c->entries.n; i++) {
    const Entry *e = &c->entries.at[i];
    if (!e->own || !(counts(j, c, e) || e->shared)) continue;
    Pattern x = pattern_of(j, c, e, true);
    if (x.tied && !x.growing) VEC_PUSH(list, x);
  }
  texts(list, out);
}

/* Latent families of the component whose factors, kept free and passed as parameters, leave a bounded domain. */
static void try_pins(Judge *j, const Component *c, const BoxList *outside, LatentVerdict *v)
{
  bool *in = NEW_ARRAY(bool, j->m->families.n);
  int n = 0, own = j->g->families.at[c->unit.family].model;
  bool constant = false;
  for (int i = 0; i < c->nodes.n; i++) {
    const CNode *x = &c->nodes.at[i];
    if (x->is_term) continue;
    int f = j->g->families.at[x->id].model;
    if (x->id == c->unit.family)
      for (int p = 0; p < x->n; p++) constant = constant || (c->unit.runs[p] && x->at[p].kind == AT_ABS);
    if (f != own && j->m->families.at[f].role == ROLE_LOCAL && !in[f]) in[f] = true, n++;
  }
  if (n > PIN_MAX_FAMILIES) return;
  for (int f = constant ? -1 : 0; f < j->m->families.n; f++) {
    if (f >= 0 && !in[f]) continue;
    bool *pinned = NEW_ARRAY(bool, j->g->families.n);
    ExploreOptions o = {.pinned = pinned, .pin_constant = f < 0};
    for (int i = 0; i < j->g->families.n; i++) pinned[i] = j->g->families.at[i].model == f;
    Component *k = explore(j->g, j->axes, &c->unit, &o);
    Verdict d = classify(j, k);
    if (good_verdict(d.verdict)) {
      Remedy r = {.kind = "pin", .pinned = f, .option = f >= 0 ? arena_printf("--pin %s", j->m->families.at[f].name) : NULL};
      BoxList boxes = {0};
      texts(d.domain, &r.domain);
      boundary_boxes(k, outside, &boxes);
      for (int i = 0; i < boxes.n; i++) VEC_PUSH(r.boundary, box_text(k, &boxes.at[i]));
      r.note = f >= 0 ? arena_printf("keep %s free and pass the parameters of its factors", j->m->families.at[f].name)
                      : arena_printf("keep the elements of %s at constant indices free and pass their parameters", v->name);
      VEC_PUSH(v->remedies, r);
    }
    give_list(j, d.domain);
    component_done(j->axes, k);
  }
}

/* Groups within the group: what remains when one of the other families is taken out, or elements at constant indices, or both, as x[a,b,*] of x[a,*,*]. */
static void add_levels(Judge *j, const Component *c, PatternList *domain)
{
  bool *in = NEW_ARRAY(bool, j->g->families.n);
  bool constants = false;
  int n = 0, own = j->g->families.at[c->unit.family].model;
  for (int i = 0; i < c->nodes.n; i++) {
    const CNode *x = &c->nodes.at[i];
    for (int p = 0; p < x->n && !x->is_term && x->id == c->unit.family; p++) constants = constants || (c->unit.runs[p] && x->at[p].kind == AT_ABS);
    if (x->is_term || j->g->families.at[x->id].model == own || graph_family(j->g, x->id)->role != ROLE_LOCAL) continue;
    n += !in[x->id];
    in[x->id] = true;
  }
  for (int at = constants ? -2 : 0; at < 2 * j->g->families.n && n <= PIN_MAX_FAMILIES; at++) {
    int f = at < 0 ? -1 : at / 2;
    bool hubs = at & 1;
    if ((f < 0 && !hubs) || (f >= 0 && !in[f]) || (hubs && !constants)) continue;
    bool *pinned = NEW_ARRAY(bool, j->g->families.n);
    for (int i = 0; i < j->g->families.n && f >= 0; i++) pinned[i] = j->g->families.at[i].model == j->g->families.at[f].model;
    Component *k = explore(j->g, j->axes, &c->unit, &(ExploreOptions){.pinned = pinned, .pin_constant = hubs});
    for (int i = 0; i < k->entries.n; i++) {
      const Entry *e = &k->entries.at[i];
      Pattern x = e->pinned || !counts(j, k, e) ? (Pattern){0} : pattern_of(j, k, e, true);
      if (x.tied && x.growing) VEC_PUSH(*domain, x);
    }
    component_done(j->axes, k);
  }
}

static void find_remedies(Judge *j, const Component *c, const BoxList *outside, LatentVerdict *v)
{
  bool unbounded = !strcmp(v->verdict, "unbounded"), position = !strcmp(v->verdict, "position");
  if ((unbounded || position) && c->cyclic) {
    Remedy r = {.kind = "structured", .note = "a factor over the whole sequence in potential form: each potential needs the entries of its own term"};
    own_entries(j, c, &r.domain);
    VEC_PUSH(v->remedies, r);
  }
  if (strcmp(v->verdict, "unknown")) try_pins(j, c, outside, v);
  bool set = !strcmp(v->verdict, "unbounded-set");
  if (unbounded || set) {
    Remedy r = {.kind = set ? "set-encoder" : "slice-encoder",
                .note = set ? "a permutation-invariant encoder of all of it" : "an encoder of the whole sequence, in order, with the position"};
    StrBuf option = {0};
    r.domain = v->domain;
    for (int i = 0; i < v->domain.n; i++) {
      const bool many = strchr(v->domain.at[i], '*') || strstr(v->domain.at[i], "..");
      sb_printf(&option, "%s%s%s", i ? "," : "", !many ? "" : set ? "set " : "slice ", v->domain.at[i]);
    }
    if (v->domain.n) r.option = arena_printf("--inputs '%s=%s'", v->name, sb_text(&option));
    VEC_PUSH(v->remedies, r);
  }
  if (unbounded && v->window.n && v->index.n) {
    Remedy r = {.kind = "window", .option = "--window W", .note = "an approximation: measure how fast the gap falls with the half-width"};
    int last = -1;
    for (int q = 0; q < c->unit.n; q++)
      if (c->unit.runs[q]) last = q;
    Name name = last >= 0 ? c->g->vars.at[c->unit.var[last]].name : NULL;
    for (int i = 0; i < v->window.n; i++) {
      StrBuf b = {0};                   /* the plate variable t becomes t-W..t+W */
      size_t k = name ? strlen(name) : 0;
      for (const char *p = v->window.at[i]; *p;) {
        bool at = name && p > v->window.at[i] && (p[-1] == '[' || p[-1] == ',') && !strncmp(p, name, k) && (p[k] == ']' || p[k] == ',');
        if (at) {
          sb_printf(&b, "%s-W..%s+W", name, name);
          p += k;
        } else sb_putc(&b, *p++);
      }
      VEC_PUSH(r.domain, sb_text(&b));
    }
    WindowLaw law;
    if (window_law(j->m, v->family, &law)) {
      r.has_half_width = true;
      r.half_width = law.half_width;
      r.law = arena_printf("half-width %d leaves at most 1 %% of the gap without input, %s; a factor %.2g per step in the end", law.half_width,
                           law.stationary ? "in expectation over data from the model" : "in expectation over white data", law.per_step);
    }
    VEC_PUSH(v->remedies, r);
  }
}

/* A function for this data set alone (theorem of exchangeable components): hubs and sums out of the graph, the rest bounded, the same weights. What
 * is special of the rest is special of the unit. */
static void find_this_data(Judge *j, Component *c, LatentVerdict *v)
{
  if (strcmp(v->verdict, "unbounded-set") && strcmp(v->verdict, "unbounded")) return;
  for (int i = 0; i < c->nodes.n; i++) { /* a sum with weights of its own for each member is not exchangeable */
    if (!c->nodes.at[i].is_term) continue;
    const GTerm *t = &c->g->terms.at[c->nodes.at[i].id];
    bool sum = false, weights = false;
    for (int r = 0; r < t->refs.n; r++)
      for (int p = 0; p < t->refs.at[r].n; p++)
        if (t->refs.at[r].ix[p].reduced) *(t->refs.at[r].latent ? &sum : &weights) = true;
    if (sum && weights) return;
  }
  Component *k = explore(j->g, j->axes, &c->unit, &(ExploreOptions){.no_hubs = true});
  Verdict d = classify(j, k);
  bool every = true;                    /* a function of the whole index is no statement */
  for (int q = 0; q < c->unit.n; q++) every = every && (!c->unit.runs[q] || c->unit.fixed[q] || (k->hub_axes >> q & 1));
  if (!every && (!strcmp(d.verdict, "closes") || !strcmp(d.verdict, "set"))) {
    for (int q = 0; q < c->unit.n; q++)
      if (c->unit.runs[q] && (k->hub_axes >> q & 1)) put_index(j, k, q, &d.domain); /* which hub it is attached to */
    v->has_this_data = true;
    v->this_data_verdict = d.verdict;
    texts(d.domain, &v->this_data_domain);
    for (int i = 0; i < k->boundary.n; i++) {
      BoundaryBox b = k->boundary.at[i];
      b.from = 0;
      VEC_PUSH(c->boundary, b);
    }
  }
  give_list(j, d.domain);
  component_done(j->axes, k);
}

/* ---- inputs --------------------------------------------------------------------------------------------------------------------------------------- */

/* Positions between the brackets, split at commas outside inner brackets. */
static int split_positions(const char *text, const char **at, int *length, int max)
{
  const char *p = strchr(text, '[');
  int n = 0, depth = 0;
  if (!p) return 0;
  const char *begin = ++p;
  for (; *p; p++) {
    if (*p == '[') depth++;
    bool end = *p == ']' && depth == 0;
    if (*p == ']') depth--;
    if ((*p == ',' && depth == 0) || end) {
      if (n < max) at[n] = begin, length[n] = (int)(p - begin), n++;
      begin = p + 1;
      if (end) break;
    }
  }
  return n;
}

/* Does input a contain entry b? Same name, each position the same, or `*` in a. */
static bool text_covers(const char *a, const char *b)
{
  if (!strcmp(a, b)) return true;
  size_t name = strcspn(a, "[");
  if (name != strcspn(b, "[") || strncmp(a, b, name)) return false;
  const char *pa[16], *pb[16];
  int la[16], lb[16];
  bool set = strchr(b, '|') != NULL;
  int n = split_positions(a, pa, la, 16), m = split_positions(b, pb, lb, 16);
  if (!n) return false;
  bool all = true;
  for (int k = 0; k < n; k++) all = all && la[k] == 1 && *pa[k] == '*';
  if (all) return true;
  if (set || n != m) return false;
  for (int k = 0; k < n; k++) {
    if (la[k] == 1 && *pa[k] == '*') continue;
    if (la[k] != lb[k] || strncmp(pa[k], pb[k], (size_t)la[k])) return false;
  }
  return true;
}

/* Names of variables as whole words replaced. */
static const char *rename_words(const char *text, int n, const Name *from, const Name *to)
{
  StrBuf out = {0};
  for (const char *p = text; *p;) {
    size_t k = 0;
    while (p[k] == '_' || (p[k] >= 'a' && p[k] <= 'z') || (p[k] >= 'A' && p[k] <= 'Z') || (k && p[k] >= '0' && p[k] <= '9')) k++;
    if (!k) {
      sb_putc(&out, *p++);
      continue;
    }
    Name word = intern_n(p, k);
    for (int i = 0; i < n; i++)
      if (from[i] == word) {
        word = to[i];
        break;
      }
    sb_puts(&out, word);
    p += k;
  }
  return sb_text(&out);
}

static void choose_inputs(const Judge *j, const Component *c, LatentVerdict *v)
{
  const Model *m = j->m;
  v->conditioning = "complete";
  for (int i = 0; i < m->stmts.n; i++) {
    const Stmt *s = &m->stmts.at[i];
    if (s->kind != ST_AMORTIZE || s->family != v->family) continue;
    Name from[MAX_AXES], to[MAX_AXES];
    int n = 0;
    bool here = s->n_index == c->unit.n;
    for (int p = 0; p < s->n_index && here; p++) {
      const Affine *a = &s->index[p].affine;
      bool variable = a->n == 1 && a->term[0].kind == ATOM_VAR;
      here = variable == c->unit.runs[p];
      if (here && variable) from[n] = m->vars.at[a->term[0].id].name, to[n++] = j->g->vars.at[c->unit.var[p]].name;
    }
    if (!here) continue;
    v->amortize = true;
    for (int k = 0; k < s->n_from; k++) {
      const char *text = rename_words(s->from[k].text, n, from, to);
      StrBuf tight = {0};               /* x[g, *] as x[g,*] */
      for (const char *p = text; *p; p++)
        if (*p != ' ' || strchr(text, '|')) sb_putc(&tight, *p);
      VEC_PUSH(v->inputs, sb_text(&tight));
    }
  }
  if (!v->amortize) {
    v->inputs = v->domain;
    return;
  }
  for (int i = 0; i < v->domain.n; i++) {
    bool there = false;
    for (int k = 0; k < v->inputs.n; k++) there = there || text_covers(v->inputs.at[k], v->domain.at[i]);
    if (!there) VEC_PUSH(v->missing, v->domain.at[i]);
  }
  for (int k = 0; k < v->inputs.n; k++) {
    bool needed = false;
    for (int i = 0; i < v->domain.n; i++) needed = needed || text_covers(v->inputs.at[k], v->domain.at[i]) || text_covers(v->domain.at[i], v->inputs.at[k]);
    if (!needed) VEC_PUSH(v->superfluous, v->inputs.at[k]);
  }
  if (v->missing.n) v->conditioning = "gap";
}

static void find_window(Judge *j, const Component *c, LatentVerdict *v)
{
  PatternList list = take_list(j);
  for (int i = 0; i < c->entries.n; i++) {
    const Entry *e = &c->entries.at[i];
    if (e->family == REF_INDEX || e->pinned || !(counts(j, c, e) || e->shared)) continue;
    Entry centre = *e;
    bool unit = e->n > 0, moved = false;
    for (int p = 0; p < e->n; p++) {
      At a = e->at[p].kind == AT_SPAN ? *e->at[p].hi : e->at[p];
      unit = unit && a.kind == AT_UNIT && a.sign > 0;
      moved = moved || a.kind != e->at[p].kind || a.off.n || a.off.c;
      a.off = lin_const(0);
      centre.at[p] = a;
    }
    if (!unit) continue;
    if (moved) {
      Entry *copy = NEW(Entry);
      *copy = centre;
      e = copy;
    }
    VEC_PUSH(list, pattern_of(j, c, e, true));
  }
  texts(list, &v->window);
  give_list(j, list);
}

/* ---- a range of a family -------------------------------------------------------------------------------------------------------------------------- */

/* Where an index position of a piece runs, in places. */
typedef struct { int var; Lin lo, hi; bool literal; } Run; /* var < 0: constant, lo = hi; literal: its length is a number */

static Run run_of(const GPiece *x, int p)
{
  return (Run){x->var[p], x->lo[p], x->hi[p], lin_is_const(lin_add(x->hi[p], x->lo[p], -1))};
}

typedef struct { bool runs[MAX_AXES], long_[MAX_AXES]; VEC(int) main, rest; } Pieces; /* numbers of Graph.pieces */

/* Pieces that run wherever the family runs, and the others (its boundary); barren ones are neither. */
static Pieces pieces_of(const Judge *j, int family)
{
  Pieces r = {0};
  const Graph *g = j->g;
  VEC(int) own = {0};
  for (int i = 0; i < g->pieces.n; i++)
    if (g->families.at[g->pieces.at[i].family].model == family && !g->pieces.at[i].barren) VEC_PUSH(own, i);
  for (int i = 0; i < own.n; i++)
    for (int p = 0; p < g->pieces.at[own.at[i]].n; p++) {
      Run run = run_of(&g->pieces.at[own.at[i]], p);
      if (run.var >= 0) r.runs[p] = true;
      if (!run.literal) r.long_[p] = true;
    }
  int best = -1;
  int *score = NEW_ARRAY(int, own.n);
  for (int i = 0; i < own.n; i++) {
    const GPiece *x = &g->pieces.at[own.at[i]];
    for (int p = 0; p < x->n; p++) {
      Run run = run_of(x, p);
      score[i] += r.long_[p] ? !run.literal : r.runs[p] && run.var >= 0;
    }
    if (score[i] > best) best = score[i];
  }
  for (int i = 0; i < own.n; i++)
    if (score[i] == best) VEC_PUSH(r.main, own.at[i]);
    else VEC_PUSH(r.rest, own.at[i]);
  return r;
}

static LatentVerdict entry_for(const Judge *j, int family, const char *role)
{
  return (LatentVerdict){.family = family, .name = j->m->families.at[family].name, .role = role, .verdict = role, .domain_kind = "none",
                         .range = "", .conditioning = "none", .reason = ""};
}

static LatentVerdict entry_for_piece(const Judge *j, const GPiece *x, const char *role)
{
  const Graph *g = j->g;
  const GFamily *f = &g->families.at[x->family];
  LatentVerdict v = entry_for(j, f->model, role);
  StrBuf range = {0};
  for (int p = 0; p < x->n; p++) {
    Lin lo = lin_add(lin_const(f->residue[p]), x->lo[p], f->step[p]), hi = lin_add(lin_const(f->residue[p]), x->hi[p], f->step[p]);
    sb_printf(&range, "%s%s", p ? ", " : "", lin_text(g, lo));
    if (x->var[p] >= 0) sb_printf(&range, "..%s", lin_text(g, hi));
    if (x->var[p] >= 0 && f->step[p] > 1) sb_printf(&range, " step %ld", f->step[p]);
    VEC_PUSH(v.index, x->var[p] >= 0 ? lin_text(g, lin_add(lin_atom(x->var[p]), lin_const(x->shift[p]), 1)) : lin_text(g, lo));
  }
  v.range = sb_text(&range);
  return v;
}

/* No term holds two elements of local families, one of them of this family; labels that are summed out join the terms they stand in. */
static bool structurally_separable(const Judge *j, const Component *c)
{
  const Graph *g = j->g;
  int family = c->unit.family;
  for (int i = 0; i < g->touch[family].n; i++) {
    const GTerm *t = &g->terms.at[g->touch[family].at[i].term];
    int elements = 0;
    for (int r = 0; r < t->refs.n; r++) {
      if (!t->refs.at[r].latent || graph_family(g, t->refs.at[r].family)->role != ROLE_LOCAL) continue;
      elements++;
      for (int p = 0; p < t->refs.at[r].n; p++)
        if (t->refs.at[r].ix[p].kind == GI_RANGE || t->refs.at[r].ix[p].kind == GI_ANY) elements++;
    }
    if (elements > 1) return false;
  }
  int locals = 0;
  for (int i = 0; i < c->nodes.n; i++)
    locals += !c->nodes.at[i].is_term && graph_family(g, c->nodes.at[i].id)->role == ROLE_LOCAL;
  return locals == 1 && !c->generators.n;
}

static const char *reason_of(const Judge *j, const Component *c, const LatentVerdict *v)
{
  if (!strcmp(v->verdict, "closes")) return "its component of the coupling graph is finite";
  if (!strcmp(v->verdict, "set")) return "its component is its own group, whose members can be exchanged";
  if (!strcmp(v->verdict, "slice")) return "its component is its own sequence, in order";
  if (!strcmp(v->verdict, "unbounded")) return c->rank ? "its component runs along the whole plate, in order" : "a term holds a slice that grows with the plate";
  if (!strcmp(v->verdict, "unbounded-set")) return "its component is the whole plate, whose members can be exchanged";
  if (!strcmp(v->verdict, "position")) return "its component is unbounded but meets few observations: a different function at every index";
  const char *term = c->crossed_term >= 0 ? c->g->terms.at[c->crossed_term].text : NULL;
  (void)j;
  if (!strcmp(v->verdict, "data")) return term ? arena_printf("lookups meet in %s: the data decide what is connected", term) : "lookups meet: the data decide what is connected";
  if (c->crossed) return term ? arena_printf("no rule for the index expressions in %s", term) : "no rule for its index expressions";
  if (c->oblique) return "a constant index meets a component that runs along several plates at once: everything is taken";
  if (!c->bad_axes) return "an element at a constant index is in a component that runs along its axis: its neighbours may be special";
  return "no rule for indices that are exchanged with an offset";
}

/* Is the component that of every family in it? All that is reached stands at the unit's own index, and for all units, so that what couples z[n] and u[n]
 * is one set of elements for each n, and nothing else is coupled to them. Hundreds of families may be one component. */
static bool is_common(const Component *c)
{
  const Unit *u = &c->unit;
  if (c->crossed || c->bad_axes || c->loose || c->oblique || c->prefix || c->cyclic || c->rank || c->generators.n || c->origins.n || c->boundary.n) return false;
  for (int p = 0; p < u->n; p++)
    if (!u->runs[p] || u->fixed[p] || c->merged[p]) return false;
  for (int i = 0; i < c->nodes.n; i++) {
    const CNode *x = &c->nodes.at[i];
    if (x->const_only || (!x->is_term && x->n != u->n)) return false;
    for (int p = 0; p < x->n; p++) {
      const At a = x->at[p];
      if (a.kind != AT_UNIT || a.sign != 1 || a.off.n || a.off.c || (!x->is_term && ((int)a.id != p || c->g->families.at[x->id].step[p] != 1))) return false;
    }
  }
  for (int i = 0; i < c->entries.n; i++) {
    const Entry *e = &c->entries.at[i];
    if (e->plate_free || e->pinned || e->shared) return false;
    for (int p = 0; p < e->n; p++)
      if (e->at[p].kind != AT_UNIT || e->at[p].sign != 1 || e->at[p].off.n || e->at[p].off.c) return false;
  }
  return u->n > 0;
}

static void note_common(Judge *j, const Component *c, const LatentVerdict *v)
{
  Common *common = NEW(Common);
  *common = (Common){.unit = c->unit, .v = *v};
  for (int i = 0; i < c->nodes.n; i++)
    if (!c->nodes.at[i].is_term) j->common[c->nodes.at[i].id] = common;
}

/* Is this range of the family the one that the component runs along? */
static bool same_range(const Graph *g, const Unit *a, const Unit *b)
{
  if (a->n != b->n) return false;
  for (int p = 0; p < a->n; p++) {
    if (!b->runs[p] || b->fixed[p] || !lin_equal(a->lo[p], b->lo[p]) || !lin_equal(a->hi[p], b->hi[p])) return false;
    if (a->shift[p] != b->shift[p] || g->vars.at[a->var[p]].name != g->vars.at[b->var[p]].name) return false;
  }
  return true;
}

static void judge_piece(Judge *j, const Pieces *pieces, int piece)
{
  const GPiece *x = &j->g->pieces.at[piece];
  Unit u = {.family = x->family, .stmt = x->stmt, .n = x->n};
  for (int p = 0; p < u.n; p++) {
    Run r = run_of(x, p);
    u.runs[p] = r.var >= 0;
    u.fixed[p] = u.runs[p] && !pieces->long_[p];
    u.at[p] = u.lo[p] = r.lo;
    u.hi[p] = r.hi;
    u.var[p] = r.var;
    u.shift[p] = x->shift[p];
  }
  const Common *common = j->common[u.family] && same_range(j->g, &j->common[u.family]->unit, &u) ? j->common[u.family] : NULL;
  Component *c = explore(j->g, j->axes, &u, &(ExploreOptions){.own_terms = common != NULL});
  LatentVerdict v = entry_for_piece(j, x, "local");
  Verdict d = common ? (Verdict){common->v.verdict, common->v.domain_kind, {0}} : classify(j, c);
  v.verdict = d.verdict;
  v.domain_kind = d.kind;
  for (int i = 0, levels = 0; i < d.domain.n && !strcmp(d.verdict, "set") && !levels; i++) {
    int stars = 0;
    for (int p = 0; p < d.domain.at[i].n; p++) stars += d.domain.at[i].star[p];
    if (stars > 1) levels = 1, add_levels(j, c, &d.domain);
  }
  if (common) v.domain = common->v.domain, v.window = common->v.window;
  else {
    texts(d.domain, &v.domain);
    find_window(j, c, &v);
  }
  PatternList scale = take_list(j);
  if (scale_domain(j, c, &scale)) texts(scale, &v.sd_domain);
  else v.sd_domain = v.domain;
  BoxList outside = {0}, boxes = {0};
  for (int i = 0; i < pieces->rest.n; i++) {
    BoundaryBox b = {.from = 0};
    if (j->g->pieces.at[pieces->rest.at[i]].family != u.family) continue;
    for (int p = 0; p < u.n; p++) {
      Run r = run_of(&j->g->pieces.at[pieces->rest.at[i]], p);
      if (!u.runs[p] || !r.literal || u.fixed[p]) continue;
      b.used[p] = true;
      b.lo[p] = r.lo;
      b.hi[p] = r.hi;
    }
    VEC_PUSH(outside, b);
  }
  v.separable = structurally_separable(j, c);
  v.conservative = c->loose || !strcmp(v.verdict, "unknown");
  for (int i = 0; i < d.domain.n; i++) v.conservative = v.conservative || d.domain.at[i].conservative;
  v.reason = reason_of(j, c, &v);
  if (!good_verdict(v.verdict)) {
    find_witness(j, c, &d, &v);
    find_remedies(j, c, &outside, &v);
    find_this_data(j, c, &v);
  }
  if (!common && !strcmp(v.verdict, "closes") && is_common(c)) note_common(j, c, &v);
  boundary_boxes(c, &outside, &boxes);
  for (int i = 0; i < boxes.n; i++) VEC_PUSH(v.boundary, box_text(c, &boxes.at[i]));
  choose_inputs(j, c, &v);
  if (j->data) ground_count(j->data, &c->unit, &v.ground);
  VEC_PUSH(j->a->latents, v);
  c->boundary.n = 0;
  for (int i = 0; i < boxes.n; i++) VEC_PUSH(c->boundary, boxes.at[i]);
  give_list(j, scale);
  give_list(j, d.domain);
  if (j->ground && !common) ground_check(j->ground, c, good_verdict(v.verdict) && !c->loose);
  component_done(j->axes, c);
}

static const char *model_verdict(const Analysis *a)
{
  int local = 0, good = 0, unknown = 0, data = 0;
  for (int i = 0; i < a->latents.n; i++) {
    const LatentVerdict *v = &a->latents.at[i];
    if (strcmp(v->role, "local")) continue;
    local++;
    good += good_verdict(v->verdict);
    unknown += !strcmp(v->verdict, "unknown");
    data += !strcmp(v->verdict, "data");
  }
  return good == local ? "closes" : unknown ? "unknown" : data ? "data" : good ? "partly" : "open";
}

static int name_compare(const void *a, const void *b) { return strcmp((*(const Family *const *)a)->name, (*(const Family *const *)b)->name); }

static void rank_names(Judge *j)
{
  int n = j->m->families.n;
  const Family **sorted = NEW_ARRAY(const Family *, n);
  for (int f = 0; f < n; f++) sorted[f] = &j->m->families.at[f];
  qsort(sorted, (size_t)n, sizeof *sorted, name_compare);
  j->rank = NEW_ARRAY(int, n);
  for (int f = 0; f < n; f++) j->rank[sorted[f] - j->m->families.at] = f + 1;
  j->head = NEW_ARRAY(int, j->g->families.n + 1);
  for (int f = 0; f <= j->g->families.n; f++) j->head[f] = -1;
}

Analysis *analyse(const Model *m) { return analyse_given(m, NULL); }

Analysis *analyse_given(const Model *m, const Given *given)
{
  Judge j = {.m = m, .g = graph_build(m), .a = NEW(Analysis), .scratch = NEW(StrBuf)};
  rank_names(&j);
  j.axes = axes_build(j.g);
  j.common = NEW_ARRAY(const Common *, j.g->families.n);
  j.ground = ground_build(j.g, &j.a->unchecked);
  if (given) {
    j.a->data = given->file;
    j.data = ground_given(j.g, given, &j.a->data_error);
  }
  for (int f = 0; f < m->families.n; f++) {
    const Family *x = &m->families.at[f];
    const Stmt *first = x->n_statements ? &m->stmts.at[x->statements[0]] : NULL;
    if (!first || x->role == ROLE_INPUT || x->role == ROLE_OBSERVED || x->role == ROLE_LET) continue;
    if (x->role == ROLE_GLOBAL || x->role == ROLE_PARAM || x->role == ROLE_MARGINAL) {
      LatentVerdict v = entry_for(&j, f, x->role == ROLE_GLOBAL ? "global" : x->role == ROLE_PARAM ? "param" : "marginal");
      StrBuf range = {0};
      for (int p = 0; p < first->n_index; p++) {
        VEC_PUSH(v.index, index_text(m, &first->index[p]));
        const char *extent = extent_text(&j, f, p, false);
        sb_printf(&range, "%s%s", p ? ", " : "", extent ? extent : index_text(m, &first->index[p]));
      }
      v.range = sb_text(&range);
      VEC_PUSH(j.a->latents, v);
      continue;
    }
    Pieces pieces = pieces_of(&j, f);
    for (int i = 0; i < pieces.main.n; i++) judge_piece(&j, &pieces, pieces.main.at[i]);
    for (int i = 0; i < j.g->pieces.n; i++) {
      const GPiece *piece = &j.g->pieces.at[i];
      if (!piece->barren || j.g->families.at[piece->family].model != f) continue;
      LatentVerdict v = entry_for_piece(&j, piece, "pruned");
      v.reason = "no observed variable depends on it: drawn afterwards from its conditional prior";
      VEC_PUSH(j.a->latents, v);
    }
  }
  j.a->verdict = model_verdict(j.a);
  return j.a;
}

int verdict_strength(const char *verdict)
{
  static const char *const words[] = {"open", "unknown", "data", "partly", "closes"};
  for (int i = 0; i < 5; i++)
    if (!strcmp(words[i], verdict)) return i;
  return -1;
}
