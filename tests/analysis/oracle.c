/* oracle.h. Expressions are evaluated to polynomials of degree two in the elements, index by index; nothing symbolic survives. */
#include "oracle.h"
#include "dist.h"
#include "func.h"

#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ELEMENTS 700
#define MAX_ROWS     90
#define ATTEMPTS     40
#define SCRATCH      ((size_t)1 << 22)

/* w * element i * element j; j < 0: linear. */
typedef struct { int i, j; double w; } Mono;
typedef struct { double c; int n; Mono *t; } Poly;
typedef struct { bool vector; int n; Poly *at; } Value; /* a scalar, or the entries of a slice */

typedef struct OracleWork {
  bool *has_size;
  long *size;                           /* per family: value of a scalar integer input */
  double *scalar;                       /* per family: value of another scalar input */
  long *var;                            /* per variable */
  int *hash, hash_size;
  VEC(OElement) list;
  VEC(int) touched;                     /* latent elements of the ground term under way */
  VEC(int) edge_from, edge_to;          /* child element (-1: observed or factor), parent element */
  double *quadratic, *linear;           /* of log p, over elements; upper half holds sums w for i < j, diagonal w for i * i */
  bool assembling;                      /* else only touched elements are wanted */
  char *scratch;
  size_t used;
  const char *problem;                  /* not linear-Gaussian */
  bool failed;                          /* these sizes will not do */
  int depth;
  unsigned long state;
} Work;

double oracle_uniform(unsigned long *state)
{
  *state = *state * 6364136223846793005ul + 1442695040888963407ul;
  return (double)(*state >> 11) / 9007199254740992.0;
}

/* ---- polynomials, in scratch memory that is given back after every term -------------------------------------------------------- */

static void *scratch(Oracle *o, size_t bytes)
{
  Work *w = o->work;
  bytes = (bytes + 15) / 16 * 16;
  if (w->used + bytes > SCRATCH) {
    w->failed = true;
    return w->scratch;
  }
  void *p = w->scratch + w->used;
  w->used += bytes;
  return p;
}

static Poly poly_const(double c) { return (Poly){.c = c}; }

static Poly poly_element(Oracle *o, int i)
{
  Poly p = {.n = 1, .t = scratch(o, sizeof(Mono))};
  p.t[0] = (Mono){i, -1, 1};
  return p;
}

/* One more summand, for which there is room. */
static void poly_put(Poly *r, Mono m)
{
  int at = 0;
  while (at < r->n && (r->t[at].i != m.i || r->t[at].j != m.j)) at++;
  if (at < r->n) r->t[at].w += m.w;
  else r->t[r->n++] = m;
}

/* a + s * b */
static Poly poly_add(Oracle *o, Poly a, Poly b, double s)
{
  Poly r = {.c = a.c + s * b.c, .n = a.n, .t = scratch(o, sizeof(Mono) * (size_t)(a.n + b.n))};
  if (o->work->failed) return poly_const(0);
  if (a.n) memcpy(r.t, a.t, sizeof(Mono) * (size_t)a.n);
  for (int k = 0; k < b.n; k++) poly_put(&r, (Mono){b.t[k].i, b.t[k].j, s * b.t[k].w});
  return r;
}

static Poly poly_scale(Oracle *o, Poly a, double s) { return poly_add(o, poly_const(0), a, s); }

static Poly poly_mul(Oracle *o, Poly a, Poly b)
{
  Poly r = {.c = a.c * b.c, .t = scratch(o, sizeof(Mono) * ((size_t)a.n + (size_t)b.n + (size_t)a.n * (size_t)b.n))};
  if (o->work->failed) return poly_const(0);
  for (int i = 0; i < a.n; i++) poly_put(&r, (Mono){a.t[i].i, a.t[i].j, a.t[i].w * b.c});
  for (int k = 0; k < b.n; k++) poly_put(&r, (Mono){b.t[k].i, b.t[k].j, b.t[k].w * a.c});
  for (int i = 0; i < a.n; i++)
    for (int k = 0; k < b.n; k++) {
      if (a.t[i].j >= 0 || b.t[k].j >= 0) {
        o->work->problem = "a product of degree three";
        return r;
      }
      int x = a.t[i].i, y = b.t[k].i;
      poly_put(&r, (Mono){x < y ? x : y, x < y ? y : x, a.t[i].w * b.t[k].w});
    }
  return r;
}

/* ---- elements -------------------------------------------------------------------------------------------------------------------- */

static size_t element_hash(int family, int n, const long *index)
{
  uint64_t h = 1469598103934665603u ^ (uint64_t)family;
  for (int k = 0; k < n; k++) h = (h ^ (uint64_t)index[k]) * 1099511628211u, h ^= h >> 31;
  return h;
}

int oracle_find(const Oracle *o, int family, int n, const long *index)
{
  const Work *w = o->work;
  for (size_t at = element_hash(family, n, index) & (size_t)(w->hash_size - 1); w->hash[at]; at = (at + 1) & (size_t)(w->hash_size - 1)) {
    const OElement *e = &w->list.at[w->hash[at] - 1];
    if (e->family == family && e->n == n && !memcmp(e->index, index, sizeof *index * (size_t)n)) return w->hash[at] - 1;
  }
  return -1;
}

static void add_element(Oracle *o, ElementKind kind, int family, int n, const long *index)
{
  Work *w = o->work;
  if (w->list.n == MAX_ELEMENTS || oracle_find(o, family, n, index) >= 0) {
    w->failed = true;
    return;
  }
  OElement e = {.kind = kind, .family = family, .n = n, .row = -1};
  memcpy(e.index, index, sizeof *index * (size_t)n);
  VEC_PUSH(w->list, e);
  size_t at = element_hash(family, n, index) & (size_t)(w->hash_size - 1);
  while (w->hash[at]) at = (at + 1) & (size_t)(w->hash_size - 1);
  w->hash[at] = w->list.n;
}

bool oracle_size(const Oracle *o, const char *name, long *value)
{
  for (int f = 0; f < o->m->families.n; f++)
    if (o->work->has_size[f] && !strcmp(o->m->families.at[f].name, name)) {
      *value = o->work->size[f];
      return true;
    }
  return false;
}

void oracle_extent(const Oracle *o, int family, int p, long *lo, long *hi)
{
  bool any = false;
  *lo = 1;
  *hi = 0;
  for (int i = 0; i < o->n_elements; i++) {
    const OElement *e = &o->element[i];
    if (e->family != family || p >= e->n) continue;
    if (!any || e->index[p] < *lo) *lo = e->index[p];
    if (!any || e->index[p] > *hi) *hi = e->index[p];
    any = true;
  }
}

/* ---- evaluation --------------------------------------------------------------------------------------------------------------------- */

static Value evaluate(Oracle *o, const MExpr *e);

static Value scalar_value(Oracle *o, Poly p)
{
  Value v = {.n = 1, .at = scratch(o, sizeof(Poly))};
  if (!o->work->failed) v.at[0] = p;
  return v;
}

static Poly one(Oracle *o, const MExpr *e)
{
  Value v = evaluate(o, e);
  if (v.n != 1 || v.vector) {
    if (!o->work->problem) o->work->problem = "a vector where a number is wanted";
    return poly_const(0);
  }
  return v.at[0];
}

static double number(Oracle *o, const MExpr *e)
{
  Poly p = one(o, e);
  if (p.n && !o->work->problem) o->work->problem = "a nonlinear function of a random variable";
  return p.c;
}

static long integer(Oracle *o, const MExpr *e) { return lround(number(o, e)); }

/* Binds the plate variables of a definition so that it defines the element; false if it does not. */
static bool defines(Oracle *o, const Stmt *s, int n, const long *index)
{
  Work *w = o->work;
  if (s->n_index != n) return false;
  for (int k = 0; k < n; k++) {
    const Affine *a = &s->index[k].affine;
    if (a->n == 1 && a->term[0].kind == ATOM_VAR) w->var[a->term[0].id] = index[k] - a->constant;
    else if (integer(o, s->index[k].expr) != index[k]) return false;
  }
  for (int p = s->plate; p >= 0; p = o->m->plates.at[p].parent) {
    int v = o->m->plates.at[p].var;
    if (w->var[v] < integer(o, o->m->vars.at[v].lo) || w->var[v] > integer(o, o->m->vars.at[v].hi)) return false;
  }
  return true;
}

static Poly let_value(Oracle *o, const Family *f, int n, const long *index)
{
  Work *w = o->work;
  if (++w->depth > 60) w->failed = true;
  if (w->failed) return poly_const(0);
  long *old = scratch(o, sizeof(long) * (size_t)(o->m->vars.n + 1));
  if (w->failed) return poly_const(0);
  memcpy(old, w->var, sizeof(long) * (size_t)o->m->vars.n);
  Poly r = poly_const(0);
  bool found = false;
  for (int i = 0; i < f->n_statements && !found; i++) {
    const Stmt *s = &o->m->stmts.at[f->statements[i]];
    found = f->block_let || defines(o, s, n, index);
    if (found) r = one(o, s->value);
    memcpy(w->var, old, sizeof(long) * (size_t)o->m->vars.n);
  }
  if (!found) w->failed = true;
  w->depth--;
  return r;
}

/* A fixed number for a global: any will do. */
static double global_value(int family, int n, const long *index)
{
  unsigned long state = element_hash(family + 1000, n, index);
  return 0.6 + 0.8 * oracle_uniform(&state);
}

static Poly element_value(Oracle *o, int family, int n, const long *index)
{
  Work *w = o->work;
  const Family *f = &o->m->families.at[family];
  if (type_rank(f->type.kind)) {
    w->problem = "an element that is a vector";
    return poly_const(0);
  }
  switch (f->role) {
  case ROLE_LET: return let_value(o, f, n, index);
  case ROLE_GLOBAL: case ROLE_PARAM: return poly_const(global_value(family, n, index));
  case ROLE_MARGINAL: w->problem = "a marginal variable"; return poly_const(0);
  default: break;
  }
  if (!n && w->has_size[family]) return poly_const((double)w->size[family]);
  if (!n && f->role == ROLE_INPUT) return poly_const(w->scalar[family]);
  int i = oracle_find(o, family, n, index);
  if (i < 0) {
    w->failed = true;
    return poly_const(0);
  }
  const OElement *x = &w->list.at[i];
  if (x->kind == EL_LATENT) VEC_PUSH(w->touched, i);
  return x->kind == EL_INPUT ? poly_const(x->value) : poly_element(o, i);
}

static Value reference(Oracle *o, const MExpr *e)
{
  Work *w = o->work;
  long index[ORACLE_MAX_INDEX], hi = 0;
  int slice = -1;
  if (e->n_entry || e->n_index > ORACLE_MAX_INDEX) {
    w->problem = "entries";
    return scalar_value(o, poly_const(0));
  }
  for (int k = 0; k < e->n_index; k++) {
    const Index *x = &e->index[k];
    if (x->kind == IX_SLICE) {
      slice = k;
      index[k] = integer(o, x->lo);
      hi = integer(o, x->hi);
    } else index[k] = integer(o, x->expr) + (x->kind == IX_LOOKUP ? x->shift : 0);
    if (w->failed || w->problem) return scalar_value(o, poly_const(0));
  }
  if (slice < 0) return scalar_value(o, element_value(o, e->family, e->n_index, index));
  int n = hi >= index[slice] ? (int)(hi - index[slice] + 1) : 0;
  Value v = {.vector = true, .n = n, .at = scratch(o, sizeof(Poly) * (size_t)(n + 1))};
  for (int k = 0; k < n && !w->failed; k++, index[slice]++) v.at[k] = element_value(o, e->family, e->n_index, index);
  return v;
}

static Poly operate(Oracle *o, OpKind op, Poly a, Poly b)
{
  Work *w = o->work;
  switch (op) {
  case OP_ADD: return poly_add(o, a, b, 1);
  case OP_SUB: return poly_add(o, a, b, -1);
  case OP_MUL: case OP_EMUL: return poly_mul(o, a, b);
  default: break;
  }
  if (op == OP_POW && !b.n && b.c == 2) return poly_mul(o, a, a);
  if (b.n || ((op != OP_DIV && op != OP_EDIV) && a.n)) {
    w->problem = "a nonlinear function of a random variable";
    return poly_const(0);
  }
  switch (op) {
  case OP_DIV: case OP_EDIV: return poly_scale(o, a, 1 / b.c);
  case OP_POW: return poly_const(pow(a.c, b.c));
  case OP_LT: return poly_const(a.c < b.c);
  case OP_LE: return poly_const(a.c <= b.c);
  case OP_GT: return poly_const(a.c > b.c);
  case OP_GE: return poly_const(a.c >= b.c);
  case OP_EQ: return poly_const(a.c == b.c);
  case OP_NE: return poly_const(a.c != b.c);
  case OP_AND: return poly_const(a.c != 0 && b.c != 0);
  case OP_OR: return poly_const(a.c != 0 || b.c != 0);
  default: w->problem = "an operator"; return poly_const(0);
  }
}

static Poly total(Oracle *o, Value v)
{
  Poly r = poly_const(0);
  for (int k = 0; k < v.n && !o->work->failed; k++) r = poly_add(o, r, v.at[k], 1);
  return r;
}

static Value evaluate(Oracle *o, const MExpr *e)
{
  Work *w = o->work;
  if (w->failed || w->problem) return scalar_value(o, poly_const(0));
  switch (e->kind) {
  case M_NUM: return scalar_value(o, poly_const(e->number));
  case M_VAR: return scalar_value(o, poly_const((double)w->var[e->var]));
  case M_REF: return reference(o, e);
  case M_UNARY: {
    Value a = evaluate(o, e->args[0]), r = {.vector = a.vector, .n = a.n, .at = scratch(o, sizeof(Poly) * (size_t)(a.n + 1))};
    for (int k = 0; k < a.n && !w->failed; k++) r.at[k] = e->op == OP_NEG ? poly_scale(o, a.at[k], -1) : poly_const(!a.at[k].c);
    return r;
  }
  case M_BINARY: {
    Value a = evaluate(o, e->args[0]), b = evaluate(o, e->args[1]);
    int n = a.vector ? a.n : b.n;
    if (a.vector && b.vector && (e->op == OP_MUL || a.n != b.n)) w->problem = "a product of vectors";
    Value r = {.vector = a.vector || b.vector, .n = n, .at = scratch(o, sizeof(Poly) * (size_t)(n + 1))};
    for (int k = 0; k < n && !w->failed && !w->problem; k++) r.at[k] = operate(o, e->op, a.at[a.vector ? k : 0], b.at[b.vector ? k : 0]);
    return r;
  }
  case M_COND: return evaluate(o, e->args[number(o, e->args[0]) != 0 ? 1 : 2]);
  case M_CALL:
    if (e->func == FUNC_sum || e->func == FUNC_mean) {
      Value a = evaluate(o, e->args[0]);
      return scalar_value(o, poly_scale(o, total(o, a), e->func == FUNC_sum ? 1 : 1.0 / a.n));
    }
    if (e->func == FUNC_square) {
      Poly a = one(o, e->args[0]);
      return scalar_value(o, poly_mul(o, a, a));
    }
    break;
  case M_REDUCE:
    if (e->reduce == RED_SUM || e->reduce == RED_MEAN) {
      const Var *v = &o->m->vars.at[e->var];
      long lo = integer(o, v->lo), hi = integer(o, v->hi), old = w->var[e->var];
      Poly r = poly_const(0);
      for (long i = lo; i <= hi && !w->failed && !w->problem; i++) {
        w->var[e->var] = i;
        r = poly_add(o, r, one(o, e->args[0]), 1);
      }
      w->var[e->var] = old;
      return scalar_value(o, e->reduce == RED_SUM ? r : poly_scale(o, r, 1 / (double)(hi - lo + 1)));
    }
    break;
  default: break;
  }
  w->problem = "a function that is not linear";
  return scalar_value(o, poly_const(0));
}

/* ---- the log density ------------------------------------------------------------------------------------------------------------------ */

static void accumulate(Oracle *o, Poly p, double scale)
{
  Work *w = o->work;
  int n = w->list.n;
  for (int k = 0; k < p.n && !w->failed; k++) {
    if (p.t[k].j < 0) w->linear[p.t[k].i] += scale * p.t[k].w;
    else w->quadratic[p.t[k].i * n + p.t[k].j] += scale * p.t[k].w;
  }
}

static void ground_term(Oracle *o, int stmt)
{
  Work *w = o->work;
  const Stmt *s = &o->m->stmts.at[stmt];
  w->used = 0;
  w->touched.n = 0;
  int child = -1;
  if (s->kind == ST_FACTOR) {
    Poly p = one(o, s->value);
    if (w->assembling) accumulate(o, p, 1);
  } else {
    long index[ORACLE_MAX_INDEX];
    for (int k = 0; k < s->n_index; k++) index[k] = integer(o, s->index[k].expr);
    if (w->failed || w->problem) return;
    child = oracle_find(o, s->family, s->n_index, index);
    ASSERT(child >= 0);
    if (w->list.at[child].kind == EL_LATENT && w->assembling && w->list.at[child].barren) return;
    bool standard = s->dist.dist == DIST_std_normal;
    if ((s->dist.dist != DIST_normal && !standard) || s->dist.truncated || s->type.lower || s->type.upper || type_rank(s->type.kind)) {
      w->problem = "a distribution that is not normal";
      return;
    }
    w->used = 0;
    Poly mean = standard ? poly_const(0) : one(o, s->dist.args[0]);
    double sd = standard ? 1 : number(o, s->dist.args[1]);
    if (w->failed || w->problem) return;
    if (!(sd > 0)) w->failed = true;
    if (w->assembling && !w->failed) {
      Poly r = poly_add(o, poly_element(o, child), mean, -1);
      accumulate(o, poly_mul(o, r, r), -0.5 / (sd * sd));
    }
  }
  if (w->assembling) return;
  for (int k = 0; k < w->touched.n; k++) {
    VEC_PUSH(w->edge_from, child >= 0 && w->list.at[child].kind == EL_LATENT ? child : -1);
    VEC_PUSH(w->edge_to, w->touched.at[k]);
  }
}

typedef void (*Visit)(Oracle *o, int stmt);

static void over_plates(Oracle *o, int stmt, const int *plates, int n, Visit visit)
{
  Work *w = o->work;
  if (w->failed || w->problem) return;
  if (!n) {
    visit(o, stmt);
    return;
  }
  int v = o->m->plates.at[*plates].var;
  w->used = 0;
  long lo = integer(o, o->m->vars.at[v].lo), hi = integer(o, o->m->vars.at[v].hi);
  if (hi < lo) w->failed = true;
  for (long i = lo; i <= hi && !w->failed && !w->problem; i++) {
    w->var[v] = i;
    over_plates(o, stmt, plates + 1, n - 1, visit);
  }
}

static void each_instance(Oracle *o, int stmt, Visit visit)
{
  int plates[ORACLE_MAX_INDEX];
  over_plates(o, stmt, plates, model_plate_chain(o->m, o->m->stmts.at[stmt].plate, plates, ORACLE_MAX_INDEX), visit);
}

static void make_element(Oracle *o, int stmt)
{
  const Stmt *s = &o->m->stmts.at[stmt];
  long index[ORACLE_MAX_INDEX];
  for (int k = 0; k < s->n_index; k++) index[k] = integer(o, s->index[k].expr);
  if (o->work->failed || o->work->problem) return;
  add_element(o, s->kind == ST_LATENT ? EL_LATENT : s->kind == ST_OBSERVED ? EL_OBSERVED : EL_INPUT, s->family, s->n_index, index);
  if (o->work->failed) return;
  OElement *e = &o->work->list.at[o->work->list.n - 1];
  const Type *t = &o->m->families.at[s->family].type;
  if (t->kind != TY_INT) {
    double u = oracle_uniform(&o->work->state);
    e->value = s->kind == ST_INPUT ? 0.5 + u : 4 * u - 2;
    return;
  }
  if (s->kind == ST_OBSERVED) {
    o->work->problem = "a discrete observation";
    return;
  }
  long lo = t->lower ? integer(o, t->lower) : 1, hi = t->upper ? integer(o, t->upper) : lo + 3;
  if (hi < lo) o->work->failed = true;
  else e->value = (double)(lo + (long)(oracle_uniform(&o->work->state) * (double)(hi - lo + 1)));
}

/* Makes every value of a table occur, where it has room for that: an element that no row looks up is barren by the data, not by the model. */
static void spread_tables(Oracle *o)
{
  Work *w = o->work;
  for (int f = 0; f < o->m->families.n && !w->failed; f++) {
    const Type *t = &o->m->families.at[f].type;
    long seen = 0;
    if (t->kind != TY_INT || !t->upper) continue;
    w->used = 0;
    long lo = t->lower ? integer(o, t->lower) : 1, hi = integer(o, t->upper);
    int rows = 0, first = -1;
    for (int i = 0; i < w->list.n; i++)
      if (w->list.at[i].family == f && w->list.at[i].kind == EL_INPUT) first = first < 0 ? i : first, rows++;
    if (rows > hi - lo + 6) first += 4; /* terms with lags leave the first rows out */
    else o->onto = false;
    for (int i = first; i >= 0 && i < w->list.n; i++) {
      if (w->list.at[i].family != f || w->list.at[i].kind != EL_INPUT || seen > hi - lo) continue;
      w->list.at[i].value = (double)(lo + seen++);
    }
    if (seen && seen <= hi - lo) o->onto = false;
  }
}

/* ---- sizes ------------------------------------------------------------------------------------------------------------------------------ */

static void draw_sizes(Oracle *o, int attempt)
{
  Work *w = o->work;
  const Model *m = o->m;
  for (int f = 0; f < m->families.n; f++) {
    const Family *x = &m->families.at[f];
    if (x->role != ROLE_INPUT || x->n_index || type_rank(x->type.kind)) continue;
    w->scalar[f] = 0.6 + 0.8 * oracle_uniform(&w->state);
    if (x->type.kind != TY_INT) continue;
    w->has_size[f] = true;
    w->used = 0;
    long low = x->type.lower ? integer(o, x->type.lower) : 3;
    if (low < 1) low = 1;
    w->size[f] = low + (long)(oracle_uniform(&w->state) * (3 + attempt % 4));
    if (x->type.upper) {
      long high = integer(o, x->type.upper);
      if (w->size[f] > high) w->size[f] = high;
    }
  }
}

static bool density(const Stmt *s) { return s->has_dist && (s->kind == ST_LATENT || s->kind == ST_OBSERVED) && !s->is_global; }

/* Elements from which an observed element or a factor can be reached, along the arrows of the model. */
static void find_barren(Oracle *o)
{
  Work *w = o->work;
  for (int i = 0; i < w->list.n; i++) w->list.at[i].barren = w->list.at[i].kind == EL_LATENT;
  for (bool changed = true; changed;) {
    changed = false;
    for (int k = 0; k < w->edge_from.n; k++) {
      OElement *to = &w->list.at[w->edge_to.at[k]];
      if (to->barren && (w->edge_from.at[k] < 0 || !w->list.at[w->edge_from.at[k]].barren)) to->barren = false, changed = true;
    }
  }
}

Oracle *oracle_new(const Model *m, unsigned long seed)
{
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    Oracle *o = NEW(Oracle);
    Work *w = o->work = NEW(Work);
    o->m = m;
    w->state = seed * 2654435761ul + (unsigned long)attempt * 97 + 1;
    w->has_size = NEW_ARRAY(bool, m->families.n);
    w->size = NEW_ARRAY(long, m->families.n);
    w->scalar = NEW_ARRAY(double, m->families.n);
    w->var = NEW_ARRAY(long, m->vars.n + 1);
    w->hash_size = 4096;
    w->hash = NEW_ARRAY(int, w->hash_size);
    w->scratch = arena_alloc(SCRATCH);
    draw_sizes(o, attempt);
    o->onto = true;
    for (int round = 0; round < 2; round++) { /* tables first: ragged plates read them */
      for (int i = 0; i < m->stmts.n && !w->failed && !w->problem; i++) {
        const Stmt *s = &m->stmts.at[i];
        bool element = s->n_index && (s->kind == ST_INPUT || s->kind == ST_OBSERVED || (s->kind == ST_LATENT && !s->is_global));
        if (s->kind == ST_LATENT && m->families.at[s->family].role != ROLE_LOCAL) element = false;
        if (s->kind == ST_OBSERVED && !s->n_index) element = true;
        bool table = s->kind == ST_INPUT && s->family >= 0 && m->families.at[s->family].type.kind == TY_INT;
        if (element && table == (round == 0)) each_instance(o, i, make_element);
      }
      if (!round) spread_tables(o);
    }
    for (int i = 0; i < m->stmts.n && !w->failed && !w->problem; i++) {
      const Stmt *s = &m->stmts.at[i];
      if (s->is_marginal) w->problem = "a marginal variable";
      if (density(s) || s->kind == ST_FACTOR) {
        if (s->kind != ST_LATENT || m->families.at[s->family].role == ROLE_LOCAL) each_instance(o, i, ground_term);
      }
    }
    if (w->problem) {
      o->unsupported = w->problem;
      return o;
    }
    if (w->failed) continue;
    find_barren(o);
    o->n_elements = w->list.n;
    o->element = w->list.at;
    int latents = 0;
    for (int i = 0; i < o->n_elements; i++) latents += o->element[i].kind == EL_LATENT && !o->element[i].barren;
    if (latents > MAX_ROWS) continue;
    o->of_row = NEW_ARRAY(int, latents + 1);
    o->mean = NEW_ARRAY(double, latents + 1);
    o->sd = NEW_ARRAY(double, latents + 1);
    o->coupling = NEW_ARRAY(double, latents * latents + 1);
    o->block = NEW_ARRAY(int, latents + 1);
    o->gain = NEW_ARRAY(double, latents * o->n_elements + 1);
    w->quadratic = NEW_ARRAY(double, o->n_elements * o->n_elements);
    w->linear = NEW_ARRAY(double, o->n_elements);
    w->assembling = true;
    return o;
  }
  return NULL;
}

/* ---- the optimum -------------------------------------------------------------------------------------------------------------------------- */

static void find_blocks(Oracle *o)
{
  int n = o->n_rows;
  for (int r = 0; r < n; r++) o->block[r] = r;
  for (bool changed = true; changed;) {
    changed = false;
    for (int r = 0; r < n; r++)
      for (int s = 0; s < n; s++)
        if (o->coupling[r * n + s] != 0 && o->block[s] < o->block[r]) o->block[r] = o->block[s], changed = true;
  }
}

bool oracle_solve(Oracle *o, bool with_gain)
{
  Work *w = o->work;
  int n = o->n_elements, rows = 0;
  w->failed = false;
  memset(w->quadratic, 0, sizeof(double) * (size_t)(n * n));
  memset(w->linear, 0, sizeof(double) * (size_t)n);
  for (int i = 0; i < o->m->stmts.n && !w->failed; i++) {
    const Stmt *s = &o->m->stmts.at[i];
    if (!density(s) && s->kind != ST_FACTOR) continue;
    if (s->kind != ST_LATENT || o->m->families.at[s->family].role == ROLE_LOCAL) each_instance(o, i, ground_term);
  }
  if (w->failed || w->problem) return false;
  for (int i = 0; i < n; i++) {
    bool in = o->element[i].kind == EL_LATENT && !o->element[i].barren && !o->element[i].pinned;
    o->element[i].row = in ? rows : -1;
    if (in) o->of_row[rows++] = i;
  }
  o->n_rows = rows;
  if (!rows) return true;
  double *b = calloc((size_t)rows, sizeof *b), *l = calloc((size_t)(rows * rows), sizeof *l);
  double *cross = calloc((size_t)(rows * n), sizeof *cross);
  for (int i = 0; i < n; i++) {
    int ri = o->element[i].row;
    if (ri >= 0) b[ri] += w->linear[i];
    for (int j = i; j < n; j++) {
      double q = w->quadratic[i * n + j];
      if (!q) continue;
      int rj = o->element[j].row;
      if (ri >= 0 && rj >= 0) {
        if (i == j) l[ri * rows + ri] -= 2 * q;
        else l[ri * rows + rj] -= q, l[rj * rows + ri] -= q;
      } else if (ri >= 0) b[ri] += q * o->element[j].value, cross[ri * n + j] += q;
      else if (rj >= 0) b[rj] += q * o->element[i].value, cross[rj * n + i] += q;
    }
  }
  memcpy(o->coupling, l, sizeof(double) * (size_t)(rows * rows));
  find_blocks(o);
  bool fine = true;
  for (int r = 0; r < rows && fine; r++) {
    fine = l[r * rows + r] > 0;
    o->sd[r] = 1 / sqrt(l[r * rows + r]);
  }
  gsl_matrix_view lv = gsl_matrix_view_array(l, (size_t)rows, (size_t)rows);
  if (fine) fine = gsl_linalg_cholesky_decomp1(&lv.matrix) == 0;
  if (fine) {
    gsl_vector_view bv = gsl_vector_view_array(b, (size_t)rows), mv = gsl_vector_view_array(o->mean, (size_t)rows);
    gsl_linalg_cholesky_solve(&lv.matrix, &bv.vector, &mv.vector);
    for (int j = 0; j < n && with_gain; j++) {
      gsl_vector_view cv = gsl_vector_view_array_with_stride(cross + j, (size_t)n, (size_t)rows);
      gsl_vector_view gv = gsl_vector_view_array_with_stride(o->gain + j, (size_t)n, (size_t)rows);
      if (gsl_vector_isnull(&cv.vector)) gsl_vector_set_zero(&gv.vector);
      else gsl_linalg_cholesky_solve(&lv.matrix, &cv.vector, &gv.vector);
    }
  }
  free(b);
  free(l);
  free(cross);
  return fine;
}
