/* The self-check: the model written out at a small size, its components found by union-find, compared with the symbolic answer.
 *
 * In: the model and, for each unit, the Component of coupling.c. Out: nothing, or BUG: a wrong verdict is never printed silently. Nothing here
 * uses the references of graph.c: expressions are evaluated as they stand, index by index, so that a mistake in the symbolic treatment of
 * offsets, strides, lets, lookups, ranges or conditions shows. Sizes are small numbers that leave no plate empty; lookups get arbitrary values
 * in range.
 *
 * What is compared, for each element of a unit away from its boundary:
 *   every observed or known entry in its ground component is named by the domain (all verdicts);
 *   every entry that the domain names and that exists is in its ground component (closes, set, slice; a slice may lose end elements);
 *   elements that a generator moves onto each other are connected (the negative verdicts);
 * and for the elements that are said to be barren: that nothing observed can be reached from them along the arrows.
 *
 * With the sizes, tables and missing observations of a data file the same components say what the data decide (ground_given, ground_count). */
#include "coupling.h"
#include "dist.h"
#include "func.h"

#include <stdlib.h>
#include <string.h>

#define MAX_WORK     30000              /* references visited while grounding */
#define MAX_COMPARE 100000              /* element pairs compared, for the whole model; one unit of each range at least */
#define ATTEMPTS        24              /* choices of sizes tried, ... */
#define LARGE_ATTEMPTS   3              /* ... of which too large ones */
#define MAX_DEPTH       64              /* lets of lets, recurrences */
#define MAX_DATA_WORK 20000000          /* references visited with the sizes of a data file */

/* used: an observation, a factor or a global depends on it; barren: the analysis says not. */
typedef struct { int family, n; long index[MAX_AXES]; int root; bool latent, used, barren, bereft; } Element; /* bereft: an observation of it is missing */

typedef struct { int first, n, child; } GroundTerm; /* its members, with repetitions; the latent element whose density it is, or -1 */
typedef struct { int term, element, next; } Incidence; /* next: of the same component, -1 */
typedef struct { bool any; long lo, hi; } TableRange; /* values of an integer input without bounds */
typedef struct { int family, var; } Meaning; /* of the name of a symbol: an integer input, or the first variable of that name; -1 */

struct GroundModel {
  const Graph *g;
  const Model *m;
  long *size;                           /* per family: value of a scalar input */
  bool *has_size;
  long *var;                            /* per variable: its value while evaluating */
  VEC(Element) elements;
  int *of_family, *next_in;             /* once they are complete: the first of a family of the model, the next of the same family; -1 */
  int *hash, hash_size;
  int *same_name;                       /* per variable: the next of the same name, in a ring */
  Meaning *meaning;                     /* per symbol */
  long reach;
  bool ragged;                          /* bounds have plate variables in them */
  VEC(int) members;                     /* elements of the terms */
  VEC(GroundTerm) terms;
  VEC(Incidence) incidences;            /* known elements and a latent one of the term they are in; ... */
  int *of_root;                         /* ... per root, the first of its component, -1 */
  TableRange *table;                    /* per family */
  int work, max_work;
  const Given *given;                   /* sizes, tables and missing observations as they are; NULL: made up */
  long **low;                           /* given: per family, its least index at each position, NULL until it is asked for */
  int *met;                             /* per element: the unit that it was last seen in the component of, counted from 1 */
  int units;
  const char *failed;                   /* why the model cannot be written out at these sizes */
  bool large;
  int depth;
  int along;                            /* the entry of a statement that works entry by entry, from 1; 0: none */
};

typedef struct GroundModel Ground;

/* ---- integers ------------------------------------------------------------------------------------------------------------------ */

static long eval_int(Ground *gm, const MExpr *e, bool *ok);

static uint64_t mix(uint64_t h, uint64_t v)
{
  h = (h ^ v) * 0x9E3779B97F4A7C15u;
  return h ^ (h >> 29);
}

static const Stmt *definition(Ground *gm, int family, int n, const long *index);

/* The least index of the family's elements at each position, of those that stand in its array. */
static const long *array_low(Ground *gm, int family)
{
  const Family *f = &gm->m->families.at[family];
  long *low = gm->low[family];
  if (low) return low;
  low = gm->low[family] = NEW_ARRAY(long, f->n_index + 1);
  for (int k = 0; k < f->n_index; k++) {
    bool any = false;
    for (int i = 0; i < f->n_statements; i++) {
      const Stmt *s = &gm->m->stmts.at[f->statements[i]];
      const Affine *a = &s->index[k].affine;
      bool ok = true, constant = true;
      if (s->kind == ST_AMORTIZE) continue;
      for (int p = 0; p < f->n_index; p++) constant = constant && !s->index[p].affine.n;
      if (constant && s->kind == ST_INPUT && s->value) continue; /* a default: not in the array */
      long l = a->n == 1 && a->term[0].kind == ATOM_VAR ? eval_int(gm, gm->m->vars.at[a->term[0].id].lo, &ok) + a->constant
                                                        : eval_int(gm, s->index[k].expr, &ok);
      if (ok && (!any || l < low[k])) low[k] = l, any = true;
    }
  }
  return low;
}

/* Value of an element of an integer family in the data, or its default. */
static long given_table(Ground *gm, int family, int n, const long *index, bool *ok)
{
  double value;
  bool missing;
  if (given_value(gm->given, family, n, index, array_low(gm, family), &value, &missing) && !missing) return (long)value;
  const Stmt *s = definition(gm, family, n, index);
  if (s && s->kind == ST_INPUT && s->value) return eval_int(gm, s->value, ok);
  StrBuf name = {0};
  for (int k = 0; k < n; k++) sb_printf(&name, "%s%ld", k ? "," : "", index[k]);
  if (!gm->failed) gm->failed = arena_printf("%s[%s] is not there", gm->m->families.at[family].name, sb_text(&name));
  *ok = false;
  return 0;
}

/* Value of an element of an integer family: arbitrary, in its bounds, the same each time; or that of the data. */
static long table_value(Ground *gm, int family, int n, const long *index, bool *ok)
{
  const Family *f = &gm->m->families.at[family];
  const TableRange *t = &gm->table[family];
  if (gm->given) return given_table(gm, family, n, index, ok);
  long lo = f->type.lower ? eval_int(gm, f->type.lower, ok) : t->any ? t->lo : 1;
  long hi = f->type.upper ? eval_int(gm, f->type.upper, ok) : t->any ? t->hi : lo + 2; /* neither a bound nor a lookup: a size or a count */
  if (!*ok || hi < lo) {
    *ok = false;
    return 0;
  }
  uint64_t h = mix(17, (uint64_t)family);
  for (int i = 0; i < n; i++) h = mix(h, (uint64_t)index[i] + 101);
  return lo + (long)(h % (uint64_t)(hi - lo + 1));
}

static long eval_ref(Ground *gm, const MExpr *e, bool *ok)
{
  const Family *f = &gm->m->families.at[e->family];
  if (f->role == ROLE_INPUT && !f->n_index && !e->n_entry) {
    if (!gm->has_size[e->family]) *ok = false;
    return gm->size[e->family];
  }
  if ((f->role != ROLE_INPUT && f->role != ROLE_OBSERVED) || e->n_entry || !e->n_index) {
    *ok = false;
    return 0;
  }
  long index[MAX_AXES];
  for (int k = 0; k < e->n_index; k++) {
    if (e->index[k].kind == IX_SLICE) *ok = false;
    else index[k] = eval_int(gm, e->index[k].expr, ok) + (e->index[k].kind == IX_LOOKUP ? e->index[k].shift : 0);
    if (!*ok) return 0;
  }
  return table_value(gm, e->family, e->n_index, index, ok);
}

static long eval_int(Ground *gm, const MExpr *e, bool *ok)
{
  if (!*ok) return 0;
  switch (e->kind) {
  case M_NUM:
    if (e->type.kind != TY_INT) *ok = false;
    return (long)e->number;
  case M_VAR: return gm->var[e->var];
  case M_REF: return eval_ref(gm, e, ok);
  case M_UNARY: {
    long a = eval_int(gm, e->args[0], ok);
    return e->op == OP_NEG ? -a : e->op == OP_NOT ? !a : (*ok = false, 0);
  }
  case M_COND: return eval_int(gm, e->args[eval_int(gm, e->args[0], ok) ? 1 : 2], ok);
  case M_BINARY: {
    long a = eval_int(gm, e->args[0], ok), b = eval_int(gm, e->args[1], ok);
    if (!*ok) return 0;
    switch (e->op) {
    case OP_ADD: return a + b;
    case OP_SUB: return a - b;
    case OP_MUL: return a * b;
    case OP_LT: return a < b;
    case OP_LE: return a <= b;
    case OP_GT: return a > b;
    case OP_GE: return a >= b;
    case OP_EQ: return a == b;
    case OP_NE: return a != b;
    case OP_AND: return a && b;
    case OP_OR: return a || b;
    default: break;
    }
    *ok = false;
    return 0;
  }
  default: *ok = false; return 0;
  }
}

/* ---- elements -------------------------------------------------------------------------------------------------------------------- */

/* Where the element is in the hash table, or would be. */
static size_t element_slot(const Ground *gm, int family, int n, const long *index)
{
  uint64_t h = mix(5, (uint64_t)family);
  for (int i = 0; i < n; i++) h = mix(h, (uint64_t)index[i] + 7);
  size_t mask = (size_t)gm->hash_size - 1, at = h & mask;
  for (; gm->hash[at]; at = (at + 1) & mask) {
    const Element *e = &gm->elements.at[gm->hash[at] - 1];
    if (e->family == family && e->n == n && !memcmp(e->index, index, sizeof *index * (size_t)n)) break;
  }
  return at;
}

/* The element's number, -1 when there is none. */
static int find_element(const Ground *gm, int family, int n, const long *index) { return gm->hash[element_slot(gm, family, n, index)] - 1; }

static int element_id(Ground *gm, int family, int n, const long *index, bool latent)
{
  if (2 * (gm->elements.n + 1) > gm->hash_size) {
    gm->hash_size = gm->hash_size ? 2 * gm->hash_size : 1024;
    gm->hash = NEW_ARRAY(int, gm->hash_size);
    for (int i = 0; i < gm->elements.n; i++) {
      const Element *e = &gm->elements.at[i];
      gm->hash[element_slot(gm, e->family, e->n, e->index)] = i + 1;
    }
  }
  size_t at = element_slot(gm, family, n, index);
  if (gm->hash[at]) return gm->hash[at] - 1;
  Element e = {.family = family, .n = n, .root = gm->elements.n, .latent = latent};
  memcpy(e.index, index, sizeof *index * (size_t)n);
  VEC_PUSH(gm->elements, e);
  gm->hash[at] = gm->elements.n;
  return gm->elements.n - 1;
}

static int find_root(Ground *gm, int i)
{
  Element *e = gm->elements.at;
  while (e[i].root != i) i = e[i].root = e[e[i].root].root;
  return i;
}

static const char *element_text(const Ground *gm, const Element *y)
{
  StrBuf b = {0};
  sb_puts(&b, gm->m->families.at[y->family].name);
  for (int p = 0; p < y->n; p++) sb_printf(&b, "%s%ld", p ? "," : "[", y->index[p]);
  if (y->n) sb_putc(&b, ']');
  return sb_text(&b);
}

/* ---- references ----------------------------------------------------------------------------------------------------------------------- */

static const char no_range[] = "a range has no ends that can be made up";

static void collect(Ground *gm, const MExpr *e);

/* Does the statement define the element? Its plate variables then have their values. */
static bool defines(Ground *gm, const Stmt *s, int n, const long *index, bool bind)
{
  if (s->n_index != n) return false;
  for (int k = 0; k < n; k++) {
    const Affine *a = &s->index[k].affine;
    if (a->n == 1 && a->term[0].kind == ATOM_VAR) {
      if (bind) gm->var[a->term[0].id] = index[k] - a->constant;
      continue;
    }
    bool ok = true;
    if (eval_int(gm, s->index[k].expr, &ok) != index[k] || !ok) return false;
  }
  for (int p = s->plate; p >= 0; p = gm->m->plates.at[p].parent) {
    const Var *v = &gm->m->vars.at[gm->m->plates.at[p].var];
    long x = gm->var[gm->m->plates.at[p].var];
    bool ok = true;
    if (bind && (x < eval_int(gm, v->lo, &ok) || x > eval_int(gm, v->hi, &ok) || !ok)) return false;
  }
  return true;
}

/* Values of a definition's plate variables, to be put back. */
typedef struct { long value[MAX_AXES]; } Saved;

static void save_vars(const Ground *gm, const Stmt *s, Saved *old)
{
  for (int k = 0; k < s->n_index; k++)
    if (s->index[k].affine.n == 1 && s->index[k].affine.term[0].kind == ATOM_VAR) old->value[k] = gm->var[s->index[k].affine.term[0].id];
}

static void restore_vars(Ground *gm, const Stmt *s, const Saved *old)
{
  for (int k = 0; k < s->n_index; k++)
    if (s->index[k].affine.n == 1 && s->index[k].affine.term[0].kind == ATOM_VAR) gm->var[s->index[k].affine.term[0].id] = old->value[k];
}

static const Stmt *definition(Ground *gm, int family, int n, const long *index)
{
  const Family *f = &gm->m->families.at[family];
  const Stmt *found = NULL;
  for (int i = 0; i < f->n_statements && !found; i++) {
    const Stmt *s = &gm->m->stmts.at[f->statements[i]];
    Saved old;
    if (s->kind == ST_AMORTIZE || s->n_index != n) continue;
    save_vars(gm, s, &old);
    if (defines(gm, s, n, index, true)) found = s;
    restore_vars(gm, s, &old);
  }
  return found;
}

static const char *no_element(const Ground *gm, int family)
{
  return arena_printf(gm->given ? "an index is outside %s" : "some elements of %s are not there at the sizes tried", gm->m->families.at[family].name);
}

/* entry: of a vector in a statement that works entry by entry; 0: the whole element. */
static void collect_element(Ground *gm, int family, int n, const long *index, int entry)
{
  const Family *f = &gm->m->families.at[family];
  if (++gm->work > gm->max_work) gm->failed = "it is too large at every size tried", gm->large = true;
  if (gm->failed) return;
  if (f->role == ROLE_LET) {
    if (gm->depth > MAX_DEPTH) {
      gm->failed = "a recurrence is too deep";
      return;
    }
    const Stmt *s = f->block_let ? &gm->m->stmts.at[f->statements[0]] : definition(gm, family, n, index);
    if (!s) gm->failed = no_element(gm, family);
    else {
      Saved old;
      if (!f->block_let) save_vars(gm, s, &old);
      if (!f->block_let) defines(gm, s, n, index, true);
      gm->depth++;
      collect(gm, s->value);
      gm->depth--;
      if (!f->block_let) restore_vars(gm, s, &old);
    }
    return;
  }
  if (f->role == ROLE_GLOBAL || f->role == ROLE_PARAM) return;
  if (f->role == ROLE_INPUT && !n) return;
  const Stmt *s = definition(gm, family, n, index);
  if (!s) {
    gm->failed = no_element(gm, family);
    return;
  }
  bool latent = s->kind == ST_LATENT && !s->is_global;
  long at[MAX_AXES];
  if (!latent && entry) {               /* of an observed or known vector, one entry counts */
    memcpy(at, index, sizeof *at * (size_t)n);
    at[n++] = entry;
    index = at;
  }
  VEC_PUSH(gm->members, element_id(gm, family, n, index, latent));
}

/* Elements lo..hi of position k that exist, for an index that a latent variable chooses. */
static void whole_range(Ground *gm, int family, int k, long *lo, long *hi)
{
  const Family *f = &gm->m->families.at[family];
  bool any = false;
  for (int i = 0; i < f->n_statements; i++) {
    const Stmt *s = &gm->m->stmts.at[f->statements[i]];
    if (s->kind == ST_AMORTIZE || s->n_index <= k) continue;
    const Affine *a = &s->index[k].affine;
    bool ok = true;
    long l, h;
    if (a->n == 1 && a->term[0].kind == ATOM_VAR) {
      const Var *v = &gm->m->vars.at[a->term[0].id];
      l = eval_int(gm, v->lo, &ok) + a->constant;
      h = eval_int(gm, v->hi, &ok) + a->constant;
    } else l = h = eval_int(gm, s->index[k].expr, &ok);
    if (!ok) continue;
    if (!any || l < *lo) *lo = l;
    if (!any || h > *hi) *hi = h;
    any = true;
  }
  if (!any) gm->failed = no_element(gm, family);
}

static void collect_family(Ground *gm, const MExpr *e)
{
  long lo[MAX_AXES], hi[MAX_AXES], at[MAX_AXES];
  int family = e->family;
  const Type *type = &gm->m->families.at[family].type;
  int entry = gm->along && type_rank(type->kind) == 1 && !e->n_entry && e->n_index < MAX_AXES ? gm->along : 0;
  for (int k = 0; k < e->n_index; k++) {
    const Index *ix = &e->index[k];
    bool ok = true;
    if (ix->kind == IX_SLICE) {
      lo[k] = eval_int(gm, ix->lo, &ok);
      hi[k] = eval_int(gm, ix->hi, &ok);
      if (gm->along) lo[k] = hi[k] = lo[k] + gm->along - 1;
    } else {
      RefList refs = {0};
      mexpr_refs(ix->expr, &refs);
      bool latent = false;
      for (int r = 0; r < refs.n; r++) {
        Role role = gm->m->families.at[refs.at[r]->family].role;
        if (role == ROLE_INPUT || role == ROLE_OBSERVED) continue;
        collect(gm, refs.at[r]);
        latent = true;
      }
      if (latent) whole_range(gm, family, k, &lo[k], &hi[k]);
      else lo[k] = hi[k] = eval_int(gm, ix->expr, &ok) + (ix->kind == IX_LOOKUP ? ix->shift : 0);
    }
    if (!ok && !gm->failed) gm->failed = arena_printf("an index of %s has no value that can be made up", gm->m->families.at[family].name);
    if (gm->failed) return;
    at[k] = lo[k];
    if (hi[k] < lo[k]) return;
  }
  for (int k = 0; k < e->n_entry; k++) {
    RefList refs = {0};
    if (e->entry[k].kind == IX_SLICE) continue;
    mexpr_refs(e->entry[k].expr, &refs);
    for (int r = 0; r < refs.n; r++) {
      Role role = gm->m->families.at[refs.at[r]->family].role;
      if (role != ROLE_INPUT && role != ROLE_OBSERVED) collect(gm, refs.at[r]);
    }
  }
  for (;;) {
    collect_element(gm, family, e->n_index, at, entry);
    int k = e->n_index - 1;
    while (k >= 0 && at[k] == hi[k]) at[k] = lo[k], k--;
    if (k < 0 || gm->failed) return;
    at[k]++;
  }
}

/* Does the value of one entry need the same entry of the operands only? */
static bool entry_by_entry(const MExpr *e)
{
  switch (e->kind) {
  case M_REF: case M_NUM: case M_VAR: case M_COND: return true;
  case M_UNARY: return e->op != OP_TRANSPOSE;
  case M_BINARY: {
    bool vectors = type_rank(e->args[0]->type.kind) && type_rank(e->args[1]->type.kind);
    return e->op != OP_POW && !(vectors && (e->op == OP_MUL || e->op == OP_DIV));
  }
  case M_CALL: return func_info[e->func].class_ == FC_MAP || func_info[e->func].class_ == FC_INT_MAP;
  default: return false;
  }
}

static void collect(Ground *gm, const MExpr *e)
{
  if (!e || gm->failed) return;
  if (gm->along && !entry_by_entry(e)) {
    int along = gm->along;
    gm->along = 0;
    collect(gm, e);
    gm->along = along;
    return;
  }
  if (e->kind == M_REF) {
    collect_family(gm, e);
    return;
  }
  if (e->kind == M_COND) {
    bool ok = true;
    long c = eval_int(gm, e->args[0], &ok);
    collect(gm, e->args[0]);
    if (!ok || c) collect(gm, e->args[1]);
    if (!ok || !c) collect(gm, e->args[2]);
    return;
  }
  if (e->kind == M_REDUCE) {
    const Var *v = &gm->m->vars.at[e->var];
    bool ok = true;
    long lo = eval_int(gm, v->lo, &ok), hi = eval_int(gm, v->hi, &ok), old = gm->var[e->var];
    if (!ok) gm->failed = no_range;
    for (long i = lo; i <= hi && !gm->failed; i++) {
      gm->var[e->var] = i;
      collect(gm, e->args[0]);
    }
    gm->var[e->var] = old;
    return;
  }
  for (int k = 0; k < e->n_entry; k++)
    if (e->entry[k].expr) collect(gm, e->entry[k].expr);
  for (int i = 0; i < e->n_args; i++) collect(gm, e->args[i]);
}

/* ---- terms ---------------------------------------------------------------------------------------------------------------------------- */

static void close_ground_term(Ground *gm, int child)
{
  int first = gm->terms.n ? gm->terms.at[gm->terms.n - 1].first + gm->terms.at[gm->terms.n - 1].n : 0;
  VEC_PUSH(gm->terms, (GroundTerm){first, gm->members.n - first, child});
}

static bool constant(const Model *m, const MExpr *e)
{
  RefList refs = {0};
  mexpr_refs(e, &refs);
  for (int i = 0; i < refs.n; i++)
    if (refs.at[i]->n_index || m->families.at[refs.at[i]->family].role != ROLE_INPUT) return false;
  return true;
}

static bool is_missing(Ground *gm, int family, int n, const long *index)
{
  double value;
  bool missing = false;
  int n_index = gm->m->families.at[family].n_index;
  return given_value(gm->given, family, n < n_index ? n : n_index, index, array_low(gm, family), &value, &missing) && missing;
}

/* A value that a density or factor of what is there needs must be there. */
static void check_given(Ground *gm)
{
  const GroundTerm *t = &gm->terms.at[gm->terms.n - 1];
  for (int k = 0; gm->given && k < t->n && !gm->failed; k++) {
    const Element *e = &gm->elements.at[gm->members.at[t->first + k]];
    if (!e->latent && is_missing(gm, e->family, e->n, e->index)) gm->failed = arena_printf("%s is missing, and something that is given depends on it", element_text(gm, e));
  }
}

/* A factor's summands are terms of their own. */
static void ground_factor(Ground *gm, const MExpr *e)
{
  if (e->kind == M_BINARY && (e->op == OP_ADD || e->op == OP_SUB)) {
    ground_factor(gm, e->args[0]);
    ground_factor(gm, e->args[1]);
  } else if (e->kind == M_UNARY && e->op == OP_NEG) ground_factor(gm, e->args[0]);
  else if (e->kind == M_BINARY && (e->op == OP_MUL || e->op == OP_DIV) && constant(gm->m, e->args[1])) ground_factor(gm, e->args[0]);
  else if (e->kind == M_BINARY && e->op == OP_MUL && constant(gm->m, e->args[0])) ground_factor(gm, e->args[1]);
  else if (e->kind == M_REDUCE && e->reduce == RED_SUM) {
    const Var *v = &gm->m->vars.at[e->var];
    bool ok = true;
    long lo = eval_int(gm, v->lo, &ok), hi = eval_int(gm, v->hi, &ok);
    if (!ok) gm->failed = no_range;
    for (long i = lo; i <= hi && !gm->failed; i++) {
      gm->var[e->var] = i;
      ground_factor(gm, e->args[0]);
    }
  } else {
    collect(gm, e);
    close_ground_term(gm, -1);
    check_given(gm);
  }
}

/* The density of one element, or of one entry of it. */
static void ground_density(Ground *gm, const Stmt *s, const long *index)
{
  const Family *f = &gm->m->families.at[s->family];
  collect_element(gm, s->family, s->n_index, index, type_rank(f->type.kind) == 1 ? gm->along : 0);
  int child = gm->members.n ? gm->members.at[gm->members.n - 1] : -1;
  bool local = f->role == ROLE_LOCAL || f->role == ROLE_MARGINAL;
  for (int k = 0; k < s->dist.n_args; k++) collect(gm, s->dist.args[k]);
  collect(gm, s->dist.t_lo);
  collect(gm, s->dist.t_hi);
  collect(gm, s->type.lower);
  collect(gm, s->type.upper);
  if (!gm->given || s->kind != ST_OBSERVED || !is_missing(gm, s->family, s->n_index, index)) {
    close_ground_term(gm, s->kind == ST_LATENT && local ? child : -1);
    check_given(gm);
    return;
  }
  int first = gm->terms.n ? gm->terms.at[gm->terms.n - 1].first + gm->terms.at[gm->terms.n - 1].n : 0;
  for (int k = first; k < gm->members.n; k++) gm->elements.at[gm->members.at[k]].bereft = true;
  gm->members.n = first;                /* its factor is left out */
}

static bool mentions_slice(const MExpr *e)
{
  if (!e || !entry_by_entry(e)) return false;
  for (int k = 0; k < e->n_index; k++)
    if (e->kind == M_REF && e->index[k].kind == IX_SLICE) return true;
  for (int i = 0; i < e->n_args; i++)
    if (mentions_slice(e->args[i])) return true;
  return false;
}

static void ground_statement(Ground *gm, const Stmt *s, const int *plates, int n)
{
  if (gm->failed) return;
  if (n) {
    int v = gm->m->plates.at[*plates].var;
    bool ok = true;
    long lo = eval_int(gm, gm->m->vars.at[v].lo, &ok), hi = eval_int(gm, gm->m->vars.at[v].hi, &ok);
    if (!ok) gm->failed = no_range;
    else if (hi < lo) gm->failed = "a plate is empty at every size tried";
    for (long i = lo; i <= hi && !gm->failed; i++) {
      gm->var[v] = i;
      ground_statement(gm, s, plates + 1, n - 1);
    }
    return;
  }
  if (s->kind == ST_FACTOR) {
    ground_factor(gm, s->value);
    return;
  }
  long index[MAX_AXES], length = 1;
  bool ok = true, entries = dist_info[s->dist.dist].shape == DSH_UNIVARIATE && type_rank(s->type.kind) == 1, slices = false;
  for (int k = 0; k < s->n_index; k++) index[k] = eval_int(gm, s->index[k].expr, &ok);
  for (int k = 0; k < s->dist.n_args; k++) slices = slices || mentions_slice(s->dist.args[k]);
  entries = entries && slices;
  if (entries) length = eval_int(gm, s->type.dim[0], &ok);
  if (!ok) gm->failed = no_range;
  for (long i = 1; i <= length && !gm->failed; i++) {
    gm->along = entries ? (int)i : 0;
    ground_density(gm, s, index);
  }
  gm->along = 0;
}

/* Values that a table without bounds can have: the elements that it is used to look up. */
static void table_ranges(Ground *gm, const MExpr *e)
{
  RefList refs = {0};
  mexpr_refs(e, &refs);
  for (int r = 0; r < refs.n; r++)
    for (int k = 0; k < refs.at[r]->n_index; k++) {
      const Index *ix = &refs.at[r]->index[k];
      long lo = 0, hi = 0;
      if (ix->kind != IX_LOOKUP) continue;
      TableRange *t = &gm->table[ix->expr->family];
      whole_range(gm, refs.at[r]->family, k, &lo, &hi);
      lo -= ix->shift, hi -= ix->shift;
      if (t->any && lo < t->lo) lo = t->lo;
      if (t->any && hi > t->hi) hi = t->hi;
      *t = (TableRange){true, lo, hi};
    }
}

static void all_table_ranges(Ground *gm)
{
  const Model *m = gm->m;
  for (int i = 0; i < m->stmts.n; i++) {
    const Stmt *s = &m->stmts.at[i];
    if (s->value) table_ranges(gm, s->value);
    for (int k = 0; s->has_dist && k < s->dist.n_args; k++) table_ranges(gm, s->dist.args[k]);
  }
  gm->failed = NULL;                    /* what has no range is not needed, or is found out later */
}

/* Joins the elements of each term; terms of barren elements are none. */
static void join_terms(Ground *gm)
{
  for (int i = 0; i < gm->terms.n; i++) {
    const GroundTerm *t = &gm->terms.at[i];
    const int *member = t->n ? &gm->members.at[t->first] : NULL;
    int first = -1;
    if (t->child >= 0 && gm->elements.at[t->child].barren) continue;
    for (int k = 0; k < t->n; k++) {
      if (!gm->elements.at[member[k]].latent) continue;
      int r = find_root(gm, member[k]);
      if (first < 0) first = r;
      else gm->elements.at[r].root = first = find_root(gm, first);
    }
    for (int k = 0; k < t->n && first >= 0; k++)
      if (!gm->elements.at[member[k]].latent) VEC_PUSH(gm->incidences, (Incidence){first, member[k], -1});
  }
  gm->of_root = NEW_ARRAY(int, gm->elements.n);
  for (int i = 0; i < gm->elements.n; i++) gm->of_root[i] = -1;
  for (int i = gm->incidences.n - 1; i >= 0; i--) {
    int *head = &gm->of_root[find_root(gm, gm->incidences.at[i].term)];
    gm->incidences.at[i].next = *head;
    *head = i;
  }
}

/* used: backwards along the arrows from everything that is not a local latent variable. Terms come after their parents' as a rule. */
static void find_used(Ground *gm)
{
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = gm->terms.n - 1; i >= 0; i--) {
      const GroundTerm *t = &gm->terms.at[i];
      if (t->child >= 0 && !gm->elements.at[t->child].used) continue;
      for (int k = 0; k < t->n; k++) {
        Element *e = &gm->elements.at[gm->members.at[t->first + k]];
        if (e->latent && !e->used) e->used = changed = true;
      }
    }
  }
}

/* Largest literal distance in any index: sizes should exceed it. */
static long reach(const Graph *g)
{
  long max = 0;
  for (int t = 0; t < g->terms.n; t++)
    for (int r = 0; r < g->terms.at[t].refs.n; r++) {
      const GRef *ref = &g->terms.at[t].refs.at[r];
      for (int p = 0; p < ref->n; p++) {
        long c = labs(ref->ix[p].lin.c) * (ref->family < 0 ? 1 : g->families.at[ref->family].step[p]);
        if (c > max && c < 64) max = c;
      }
    }
  return max;
}

static int max_depth(const Model *m)
{
  int max = 0;
  for (int i = 0; i < m->stmts.n; i++) {
    int n = 0;
    for (int p = m->stmts.at[i].plate; p >= 0; p = m->plates.at[p].parent) n++;
    if (n > max) max = n;
  }
  return max;
}

/* Values of the scalar integer inputs, another choice with each attempt. */
static void choose_sizes(Ground *gm, int attempt, bool small, int deep, long base)
{
  const Model *m = gm->m;
  for (int f = 0; f < m->families.n; f++) {
    const Family *x = &m->families.at[f];
    if (x->role != ROLE_INPUT || x->n_index || x->type.kind != TY_INT) continue;
    gm->has_size[f] = true;
    gm->size[f] = small && deep > 3 ? 2 : small ? 2 + (long)(mix((uint64_t)attempt, (uint64_t)f) % 3) : 4 + (long)(mix((uint64_t)attempt, (uint64_t)f) % 4);
    if (attempt % 2 == 0 && !small) gm->size[f] += base + (base > 2 ? (long)(mix((uint64_t)f, (uint64_t)attempt) % (uint64_t)base) : 0);
    bool ok = true;
    long low = x->type.lower ? eval_int(gm, x->type.lower, &ok) : 1;
    if (ok && gm->size[f] < low) gm->size[f] = low + attempt % 3;
    long high = x->type.upper ? eval_int(gm, x->type.upper, &ok) : gm->size[f];
    if (ok && gm->size[f] > high) gm->size[f] = high;
  }
}

/* ---- places and indices ------------------------------------------------------------------------------------------------------------------- */

/* Gives every variable of this one's name the value, for bounds of ragged plates. */
static void bind_name(Ground *gm, int var, long value)
{
  int v = var;
  do gm->var[v] = value, v = gm->same_name[v];
  while (v != var);
}

static long whole_quotient(long a, long b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static bool lin_value(Ground *gm, Lin a, long *value)
{
  *value = a.c;
  for (int i = 0; i < a.n; i++) {
    if (a.t[i].atom >= 0) return false;
    const GSymbol *s = &gm->g->symbols.at[~a.t[i].atom];
    long x = 0;
    bool ok = true, found = true;
    if (s->by) {
      if (!lin_value(gm, s->of, &x)) return false;
      x = whole_quotient(x, s->by);
    } else if (s->expr) x = eval_int(gm, s->expr, &ok);
    else {
      Meaning k = gm->meaning[~a.t[i].atom];
      found = k.family >= 0 || k.var >= 0;
      if (found) x = k.family >= 0 ? gm->size[k.family] : gm->var[k.var];
    }
    if (!ok || !found) return false;
    *value += a.t[i].coef * x;
  }
  return true;
}

/* Places of an element in a family of the graph; false: of another family or residue class. */
static bool places(const Ground *gm, int family, const Element *y, long *out)
{
  if (family < 0 || gm->g->families.at[family].model != y->family) return false;
  const GFamily *f = &gm->g->families.at[family];
  for (int p = 0; p < y->n; p++) {
    long d = y->index[p] - f->residue[p];
    if (d % f->step[p]) return false;
    out[p] = d / f->step[p];
  }
  return true;
}

/* Is the element in the box? Binds the variables of its piece. False too when an end has no value: then !*ok. */
static bool in_box(Ground *gm, int family, int n, const int *var, const long *shift, const Lin *lo, const Lin *hi, const Element *y, long *place, bool *ok)
{
  if (y->n != n || !places(gm, family, y, place)) return false;
  for (int p = 0; p < n && gm->ragged; p++)
    if (var[p] >= 0) bind_name(gm, var[p], y->index[p] - shift[p]);
  bool in = true;
  for (int p = 0; p < n; p++) {
    long l, h;
    if (!lin_value(gm, lo[p], &l) || !lin_value(gm, hi[p], &h)) *ok = false;
    else in = in && place[p] >= l && place[p] <= h;
  }
  return in && *ok;
}

/* Every latent element is in one piece, and those in barren pieces lead nowhere. */
static void check_pieces(Ground *gm)
{
  const Graph *g = gm->g;
  long place[MAX_AXES];
  int *pieces = NEW_ARRAY(int, gm->elements.n);
  bool *open = NEW_ARRAY(bool, gm->elements.n); /* the ends of some piece have no value */
  for (int k = 0; k < g->pieces.n; k++) {
    const GPiece *x = &g->pieces.at[k];
    for (int i = gm->of_family[g->families.at[x->family].model]; i >= 0; i = gm->next_in[i]) {
      Element *y = &gm->elements.at[i];
      bool ok = true;
      if (!y->latent) continue;
      bool in = in_box(gm, x->family, x->n, x->var, x->shift, x->lo, x->hi, y, place, &ok);
      open[i] = open[i] || !ok;
      if (!in) continue;
      pieces[i]++;
      y->barren = y->barren || x->barren;
    }
  }
  for (int i = 0; i < gm->elements.n; i++) {
    const Element *y = &gm->elements.at[i];
    if (!y->latent) continue;
    if (!open[i] && pieces[i] != 1) BUG("model %s: %s is in %d pieces", gm->m->name, element_text(gm, y), pieces[i]);
    if (y->barren && y->used) BUG("model %s: the analysis prunes %s, but something observed depends on it", gm->m->name, element_text(gm, y));
  }
}

/* What the names of variables and symbols stand for. */
static void name_symbols(Ground *gm)
{
  const Graph *g = gm->g;
  gm->same_name = NEW_ARRAY(int, g->vars.n);
  gm->meaning = NEW_ARRAY(Meaning, g->symbols.n);
  for (int v = 0; v < g->vars.n; v++) {
    int first = 0;
    while (g->vars.at[first].name != g->vars.at[v].name) first++;
    gm->same_name[v] = first == v ? v : gm->same_name[first];
    gm->same_name[first] = v;
  }
  for (int i = 0; i < g->symbols.n; i++) {
    Meaning *k = &gm->meaning[i];
    *k = (Meaning){-1, -1};
    for (int f = gm->m->families.n - 1; f >= 0; f--)
      if (gm->has_size[f] && gm->m->families.at[f].name == g->symbols.at[i].name) k->family = f;
    for (int v = gm->m->vars.n - 1; v >= 0; v--)
      if (gm->m->vars.at[v].name == g->symbols.at[i].name) k->var = v;
    gm->ragged = gm->ragged || g->symbols.at[i].varies || (k->family < 0 && k->var >= 0);
  }
}

static void list_families(Ground *gm)
{
  gm->of_family = NEW_ARRAY(int, gm->m->families.n);
  gm->next_in = NEW_ARRAY(int, gm->elements.n);
  gm->met = NEW_ARRAY(int, gm->elements.n);
  for (int f = 0; f < gm->m->families.n; f++) gm->of_family[f] = -1;
  for (int i = gm->elements.n - 1; i >= 0; i--) {
    int *first = &gm->of_family[gm->elements.at[i].family];
    gm->next_in[i] = *first;
    *first = i;
  }
}

/* The terms of all statements; gm->failed says why not. */
static void ground_statements(Ground *gm)
{
  const Model *m = gm->m;
  for (int i = 0; i < m->stmts.n && !gm->failed; i++) {
    const Stmt *s = &m->stmts.at[i];
    bool density = s->has_dist && (s->kind == ST_LATENT || s->kind == ST_OBSERVED || s->kind == ST_PARAM);
    if (!density && s->kind != ST_FACTOR) continue;
    int plates[MAX_AXES];
    ground_statement(gm, s, plates, model_plate_chain(m, s->plate, plates, MAX_AXES));
  }
}

static Ground *new_ground(const Graph *g, int max_work)
{
  Ground *gm = NEW(Ground);
  gm->g = g;
  gm->m = g->m;
  gm->max_work = max_work;
  gm->size = NEW_ARRAY(long, g->m->families.n);
  gm->has_size = NEW_ARRAY(bool, g->m->families.n);
  gm->table = NEW_ARRAY(TableRange, g->m->families.n);
  gm->var = NEW_ARRAY(long, g->vars.n + 1);
  gm->low = NEW_ARRAY(long *, g->m->families.n);
  return gm;
}

GroundModel *ground_build(const Graph *g, const char **why)
{
  const Model *m = g->m;
  long base = reach(g);
  int deep = max_depth(m), n_large = 0;
  *why = "no size was tried";
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    Ground *gm = new_ground(g, MAX_WORK);
    gm->reach = base;
    choose_sizes(gm, attempt, deep > 2 || attempt % 3 == 2 || n_large, deep, base);
    name_symbols(gm);
    all_table_ranges(gm);
    ground_statements(gm);
    if (!gm->failed) {
      list_families(gm);
      find_used(gm);
      check_pieces(gm);
      join_terms(gm);
      *why = NULL;
      return gm;
    }
    *why = gm->failed;
    if (gm->large && ++n_large == LARGE_ATTEMPTS) return NULL;
  }
  return NULL;
}

/* ---- comparison --------------------------------------------------------------------------------------------------------------------------- */

/* unit: its places. bound: values of the bound variables of sets; has: they have been chosen. */
typedef struct { Ground *gm; const Component *c; const long *unit; long bound[ORIGIN_MAX][MAX_AXES]; bool has[ORIGIN_MAX], ok; } Match;

static long place_value(Match *x, At a);

static long table_at(Match *x, const Origin *o)
{
  long args[MAX_AXES], r = 0;
  for (int i = 0; i < o->n_args; i++) args[i] = place_value(x, o->args[i]);
  if (o->ix->formula || !o->ix->n_args) {
    x->ok = false;                      /* formulas are checked through their verdict only */
    return 0;
  }
  bool ok = true;
  r = table_value(x->gm, o->ix->family, o->n_args, args, &ok);
  x->ok = x->ok && ok;
  return r;
}

static long place_value(Match *x, At a)
{
  long off;
  if (!lin_value(x->gm, a.off, &off)) x->ok = false;
  switch (a.kind) {
  case AT_UNIT: return a.sign * x->unit[a.id] + off;
  case AT_ABS: return off;
  case AT_ORIGIN: {
    const Origin *o = &x->c->origins.at[a.id];
    return off + a.sign * (o->set ? x->bound[a.id][a.sub] : table_at(x, o));
  }
  default: x->ok = false; return 0;
  }
}

/* Are the bound values an element of the set? Sets of sets: the lookup's value must be in the outer one. */
static bool set_holds(Match *x, int id)
{
  const Origin *o = &x->c->origins.at[id];
  const GTerm *t = &x->gm->g->terms.at[o->term];
  for (int k = 0, b = 0; k < t->n_vars && b < o->n_bound; k++) { /* the term has that row */
    long lo, hi;
    if (x->gm->g->vars.at[t->vars[k]].name != o->bound[b]) continue;
    if (lin_value(x->gm, t->lo[k], &lo) && lin_value(x->gm, t->hi[k], &hi) && (x->bound[id][b] < lo || x->bound[id][b] > hi)) return false;
    b++;
  }
  long v = table_at(x, o), off;
  if (o->target.kind == AT_FREE) return true;
  if (o->target.kind == AT_ORIGIN && x->c->origins.at[o->target.id].set) {
    if (!lin_value(x->gm, o->target.off, &off)) x->ok = false;
    x->bound[o->target.id][o->target.sub] = o->target.sign * (v - off);
    x->has[o->target.id] = true;
    if (x->c->origins.at[o->target.id].n_bound > 1) x->ok = false; /* one row of several places, half of them known */
    return set_holds(x, o->target.id);
  }
  return v == place_value(x, o->target);
}

/* The sets whose members are arguments of a lookup. */
static void sets_within(const Component *c, At a, bool *set, int depth)
{
  if (a.kind != AT_ORIGIN || depth > 8) return;
  const Origin *o = &c->origins.at[a.id];
  if (o->set) set[a.id] = true;
  else
    for (int i = 0; i < o->n_args; i++) sets_within(c, o->args[i], set, depth + 1);
}

/* Are there members of the sets numbered up to `id`, of those that are wanted, for which the lookups of the entry have these values? Sets over sets
 * come after them, and choose their members. */
static bool members_match(Match *x, const Entry *e, const long *place, const bool *wanted, int id)
{
  while (id >= 0 && !wanted[id]) id--;
  if (id < 0) {
    for (int p = 0; p < e->n; p++)
      if (e->at[p].kind == AT_ORIGIN && place[p] != place_value(x, e->at[p])) return false;
    return true;
  }
  if (x->has[id]) return set_holds(x, id) && members_match(x, e, place, wanted, id - 1);
  const Origin *o = &x->c->origins.at[id];
  const GTerm *t = &x->gm->g->terms.at[o->term];
  long lo[MAX_AXES], hi[MAX_AXES];
  for (int k = 0, b = 0; k < t->n_vars && b < o->n_bound; k++)
    if (x->gm->g->vars.at[t->vars[k]].name == o->bound[b]) {
      x->ok = x->ok && lin_value(x->gm, t->lo[k], &lo[b]) && lin_value(x->gm, t->hi[k], &hi[b]);
      if (!x->ok || lo[b] > hi[b]) return false;
      x->bound[id][b] = lo[b];
      b++;
    }
  for (;;) {
    Match tried = *x;
    tried.has[id] = true;
    if (set_holds(&tried, id) && members_match(&tried, e, place, wanted, id - 1)) return true;
    x->ok = x->ok && tried.ok;
    int b = 0;
    while (b < o->n_bound && x->bound[id][b] == hi[b]) x->bound[id][b] = lo[b], b++;
    if (b == o->n_bound || !x->ok) return false;
    x->bound[id][b]++;
  }
}

/* Does the entry name the element, for this unit? */
static bool matches(Match *x, const Entry *e, const Element *y, const Lattice *l)
{
  long place[MAX_AXES];
  if (e->n != y->n || !places(x->gm, e->family, y, place)) return false;
  bool used[MAX_AXES] = {false}, wanted[ORIGIN_MAX] = {false}, lookups = false;
  long move[MAX_AXES] = {0};
  memset(x->has, 0, sizeof x->has);
  for (int p = 0; p < e->n; p++) {
    At a = e->at[p];
    long off;
    if (a.kind == AT_SPAN) {
      At ends[2] = {*a.lo, *a.hi};
      bool any = false;
      for (int k = 0; k < 2; k++) any = any || (ends[k].kind == AT_UNIT && x->c->grows[ends[k].id]);
      if (!any && (place[p] < place_value(x, ends[0]) || place[p] > place_value(x, ends[1]))) return false;
      continue;
    }
    if (!lin_value(x->gm, a.off, &off)) x->ok = false;
    if (a.kind == AT_FREE) {
      if (labs(a.sign) > 1 && (place[p] - off) % a.sign) return false;
      continue;
    }
    if (a.kind == AT_ORIGIN) {
      lookups = true;
      sets_within(x->c, a, wanted, 0);
      if (!x->c->origins.at[a.id].set) continue;
      if ((place[p] - off) % a.sign) return false;
      x->bound[a.id][a.sub] = (place[p] - off) / a.sign;
      x->has[a.id] = true;
      continue;
    }
    long d = place[p] - place_value(x, a);
    if (a.kind != AT_UNIT) {
      if (d) return false;
      continue;
    }
    if (d % a.sign) return false;
    d /= a.sign;
    if (used[a.id] && move[a.id] != d) return false;
    used[a.id] = true;
    move[a.id] = d;
  }
  if (lookups && !members_match(x, e, place, wanted, x->c->origins.n - 1)) return false;
  Lattice r = {.dim = l->dim};
  for (int i = 0; i < l->rank; i++) {
    long v[MAX_AXES] = {0};
    for (int q = 0; q < l->dim; q++) v[q] = used[q] ? l->row[i][q] : 0;
    lattice_add(&r, v);
  }
  return lattice_contains(&r, move);
}

static bool on_boundary(Ground *gm, const Component *c, const long *unit, bool *ok)
{
  for (int i = 0; i < c->boundary.n; i++) {
    const BoundaryBox *b = &c->boundary.at[i];
    bool in = true;
    for (int q = 0; q < c->unit.n && in; q++) {
      long lo, hi;
      if (!b->used[q]) continue;
      if (!lin_value(gm, b->lo[q], &lo) || !lin_value(gm, b->hi[q], &hi)) *ok = false;
      long at = b->twice[q] ? 2 * unit[q] : unit[q];
      in = at >= lo && at <= hi;
    }
    if (in) return true;
  }
  return false;
}

/* At the first or last elements of a free position or a set: ends may be cut. */
static bool at_slice_end(Ground *gm, const Component *c, const Entry *e, const Element *y, long slack)
{
  for (int p = 0; p < e->n; p++) {
    At a = e->at[p];
    bool moves = a.kind == AT_FREE || a.kind == AT_SPAN || (a.kind == AT_UNIT && c->grows[a.id]) ||
                 (a.kind == AT_ORIGIN && c->origins.at[a.id].set), first = true, last = true;
    if (!moves) continue;
    for (int i = gm->of_family[y->family]; i >= 0; i = gm->next_in[i]) {
      const Element *z = &gm->elements.at[i];
      if (z->n != y->n) continue;
      first = first && z->index[p] >= y->index[p] - slack;
      last = last && z->index[p] <= y->index[p] + slack;
    }
    if (first || last) return true;
  }
  return false;
}

static bool unit_places(Ground *gm, const Unit *u, const Element *y, long *place)
{
  bool ok = true;
  Lin lo[MAX_AXES], hi[MAX_AXES];
  int var[MAX_AXES];
  for (int p = 0; p < u->n; p++) lo[p] = u->lo[p], hi[p] = u->runs[p] ? u->hi[p] : u->lo[p], var[p] = u->runs[p] ? u->var[p] : -1;
  return in_box(gm, u->family, u->n, var, u->shift, lo, hi, y, place, &ok);
}

/* The entries of a component by their families of the model: the first of each, the next of the same; -1. */
typedef struct { int *first, *next; } EntryIndex;

/* Number of elements compared. */
static int check_unit(Ground *gm, const Component *c, bool exact, const Lattice *l, const EntryIndex *entries, int element, const long *unit)
{
  bool ok = true;
  if (on_boundary(gm, c, unit, &ok) || !ok) return 0;
  Match x = {.gm = gm, .c = c, .unit = unit, .ok = true};
  int root = find_root(gm, element), seen = ++gm->units, compared = 0;
  bool alone = gm->of_root[root] < 0;   /* a group without rows */
  for (int k = 0; k < gm->elements.n && alone; k++) alone = k == element || !gm->elements.at[k].latent || find_root(gm, k) != root;
  if (alone && c->origins.n) return 0;
  for (int i = gm->of_root[root]; i >= 0; i = gm->incidences.at[i].next) gm->met[gm->incidences.at[i].element] = seen;
  for (int f = 0; f < gm->m->families.n; f++)
    for (int k = entries->first[f] >= 0 ? gm->of_family[f] : -1; k >= 0; k = gm->next_in[k]) {
      const Element *y = &gm->elements.at[k];
      bool in = gm->met[k] == seen;
      const Entry *named = NULL;
      if (y->latent) continue;
      compared++;
      for (int i = entries->first[f]; i >= 0 && !named; i = entries->next[i])
        if (matches(&x, &c->entries.at[i], y, l)) named = &c->entries.at[i];
      if (!x.ok) return compared;
      if (in == (named != NULL)) continue;
      if (in)
        BUG("model %s: %s is in the component of %s, but the analysis misses it", gm->m->name, element_text(gm, y),
            element_text(gm, &gm->elements.at[element]));
      if (exact && gm->m->families.at[f].role == ROLE_OBSERVED && !at_slice_end(gm, c, named, y, 1))
        BUG("model %s: the analysis names %s for %s, but it is in another component", gm->m->name, element_text(gm, y),
            element_text(gm, &gm->elements.at[element]));
    }
  for (int i = gm->of_root[root]; i >= 0; i = gm->incidences.at[i].next) {
    const Element *y = &gm->elements.at[gm->incidences.at[i].element];
    if (entries->first[y->family] < 0)
      BUG("model %s: %s is in the component of %s, but the analysis misses its family", gm->m->name, element_text(gm, y),
          element_text(gm, &gm->elements.at[element]));
  }
  return compared;
}

/* C(n) = C(n + v): elements a generator apart, away from the ends, are connected. */
static void check_generator(Ground *gm, const Component *c, const long *v)
{
  const GFamily *f = &gm->g->families.at[c->unit.family];
  long slack = 2 * gm->reach + 1;
  for (int i = gm->of_family[f->model]; i >= 0; i = gm->next_in[i]) {
    const Element *y = &gm->elements.at[i];
    long from[MAX_AXES], to[MAX_AXES], index[MAX_AXES];
    bool ok = true;
    if (!y->latent || !unit_places(gm, &c->unit, y, from)) continue;
    bool inside = true;
    for (int q = 0; q < y->n && inside; q++) {
      long lo, hi, room = v[q] ? slack / f->step[q] + 1 : 0;
      to[q] = from[q] + v[q];
      index[q] = f->step[q] * to[q] + f->residue[q];
      if (!lin_value(gm, c->unit.lo[q], &lo) || !lin_value(gm, c->unit.hi[q], &hi)) return;
      if (c->unit.runs[q]) inside = from[q] >= lo + room && from[q] <= hi - room && to[q] >= lo + room && to[q] <= hi - room;
    }
    if (!inside || on_boundary(gm, c, from, &ok) || on_boundary(gm, c, to, &ok) || !ok) continue;
    int k = find_element(gm, y->family, y->n, index);
    if (k >= 0 && find_root(gm, i) != find_root(gm, k))
      BUG("model %s: %s and %s should be connected", gm->m->name, element_text(gm, y), element_text(gm, &gm->elements.at[k]));
  }
}

void ground_check(GroundModel *gm, const Component *c, bool exact)
{
  Lattice l = {.dim = c->unit.n};
  for (int i = 0; i < c->generators.n; i++) {
    long v[MAX_AXES] = {0};
    for (int q = 0; q < c->unit.n; q++)
      if (!lin_value(gm, c->generators.at[i].v[q], &v[q])) return;
    lattice_add(&l, v);
    if (!c->origins.n && !c->bad_axes && i < 8) check_generator(gm, c, v);
  }
  EntryIndex entries = {NEW_ARRAY(int, gm->m->families.n), NEW_ARRAY(int, c->entries.n)};
  int compared = 0;
  for (int f = 0; f < gm->m->families.n; f++) entries.first[f] = -1;
  for (int i = c->entries.n - 1; i >= 0; i--) {
    if (c->entries.at[i].family < 0) continue;
    int *first = &entries.first[gm->g->families.at[c->entries.at[i].family].model];
    entries.next[i] = *first;
    *first = i;
  }
  for (int i = gm->of_family[gm->g->families.at[c->unit.family].model]; i >= 0; i = gm->next_in[i]) {
    const Element *y = &gm->elements.at[i];
    long unit[MAX_AXES];
    if (!y->latent || !unit_places(gm, &c->unit, y, unit)) continue;
    compared += check_unit(gm, c, exact, &l, &entries, i, unit);
    if (compared > MAX_COMPARE / gm->g->pieces.n) return;
  }
}

/* ---- the components of a data set --------------------------------------------------------------------------------------------------------- */

GroundModel *ground_given(const Graph *g, const Given *given, const char **why)
{
  const Model *m = g->m;
  Ground *gm = new_ground(g, MAX_DATA_WORK);
  gm->given = given;
  for (int f = 0; f < m->families.n; f++) gm->has_size[f] = given->has_size[f], gm->size[f] = given->size[f];
  for (int i = 0; i < m->stmts.n && !gm->failed; i++) { /* defaults that depend on other sizes */
    const Stmt *s = &m->stmts.at[i];
    const Family *x = s->kind == ST_INPUT ? &m->families.at[s->family] : NULL;
    if (!x || x->n_index || x->type.kind != TY_INT || gm->has_size[s->family]) continue;
    bool ok = s->value != NULL;
    long value = ok ? eval_int(gm, s->value, &ok) : 0;
    if (ok) gm->has_size[s->family] = true, gm->size[s->family] = value;
    else gm->failed = arena_printf("the size %s is not given, and no array tells it", x->name);
  }
  name_symbols(gm);
  ground_statements(gm);
  *why = gm->large ? "the data are too large to be written out element by element" : gm->failed;
  if (gm->failed) return NULL;
  list_families(gm);
  find_used(gm);
  for (int i = 0; i < gm->elements.n; i++) gm->elements.at[i].barren = gm->elements.at[i].latent && !gm->elements.at[i].used;
  join_terms(gm);
  return gm;
}

static int compare_longs(const void *a, const void *b)
{
  long x = *(const long *)a, y = *(const long *)b;
  return x < y ? -1 : x > y;
}

void ground_count(GroundModel *gm, const Unit *u, GroundSizes *out)
{
  long *units = NEW_ARRAY(long, gm->elements.n); /* per root: units in its component */
  bool *bereft = NEW_ARRAY(bool, gm->elements.n);
  VEC(long) sizes = {0};
  *out = (GroundSizes){0};
  for (int i = 0; i < gm->elements.n; i++)
    if (gm->elements.at[i].bereft && gm->elements.at[i].used) bereft[find_root(gm, i)] = true;
  for (int pass = 0; pass < 2; pass++)
    for (int i = gm->of_family[gm->g->families.at[u->family].model]; i >= 0; i = gm->next_in[i]) {
      const Element *y = &gm->elements.at[i];
      long place[MAX_AXES];
      if (!y->latent || !unit_places(gm, u, y, place)) continue;
      if (pass) {
        if (y->used) VEC_PUSH(sizes, units[find_root(gm, i)]);
      } else if (!y->used) out->unobserved++;
      else {
        int root = find_root(gm, i);
        out->units++;
        out->missing += bereft[root];
        out->components += !units[root]++;
      }
    }
  if (sizes.n) qsort(sizes.at, (size_t)sizes.n, sizeof *sizes.at, compare_longs);
  if (sizes.n) out->largest = sizes.at[sizes.n - 1], out->median = sizes.at[sizes.n / 2];
}
