/* References of inference functions: see reference.h. */
#include "reference.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FIXED = 4096 };

bool pgm_reader_complain(PgmReader *p, const char *format, ...)
{
  char what[600];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  pgm_fail(p->error, PGM_BAD_INPUT, "%s: input '%s' of %s: %s", p->where, p->text, p->latent->name, what);
  return false;
}

static void blank(PgmReader *p)
{
  while (isspace((unsigned char)*p->p)) p->p++;
}

static bool accept(PgmReader *p, const char *token)
{
  blank(p);
  size_t n = strlen(token);
  if (strncmp(p->p, token, n) != 0) return false;
  p->p += n;
  return true;
}

static bool name_at(PgmReader *p, char name[64])
{
  blank(p);
  size_t n = 0;
  if (!isalpha((unsigned char)*p->p) && *p->p != '_') return false;
  while ((isalnum((unsigned char)p->p[n]) || p->p[n] == '_') && n < 63) n++;
  memcpy(name, p->p, n);
  name[n] = 0;
  p->p += n;
  return true;
}

int pgm_family_named(const PgmModel *m, const char *name)
{
  for (int f = 0; f < m->n_families; f++)
    if (!strcmp(m->families[f].name, name)) return f;
  return -1;
}

/* Appends to a list of names, for messages. */
void pgm_list_name(char *list, size_t size, const char *name)
{
  size_t n = strlen(list);
  if (n + 4 < size) snprintf(list + n, size - n, "%s%s", n ? ", " : "", name);
}

static void known_names(const PgmModel *m, bool integer, char *list, size_t size)
{
  list[0] = 0;
  for (int f = 0; f < m->n_families; f++) {
    const PgmFamily *fam = &m->families[f];
    if ((fam->role == PGM_OBSERVED || fam->role == PGM_INPUT) && (!integer || fam->integer) && (fam->n_index || integer))
      pgm_list_name(list, size, fam->name);
  }
  if (!list[0]) snprintf(list, size, "none");
}

static int new_node(PgmReader *p, PgmIndexNode n)
{
  if (p->ref->n_nodes == PGM_MAX_NODES) {
    pgm_reader_complain(p, "the expression is too long");
    return -1;
  }
  p->ref->node[p->ref->n_nodes] = n;
  return p->ref->n_nodes++;
}

static int parse_sum(PgmReader *p);

static int parse_primary(PgmReader *p)
{
  char name[64];
  blank(p);
  if (accept(p, "(")) {
    int e = parse_sum(p);
    if (e >= 0 && !accept(p, ")")) return pgm_reader_complain(p, "')' expected at '%s'", p->p), -1;
    return e;
  }
  if (accept(p, "-")) {
    int e = parse_primary(p);
    return e < 0 ? -1 : new_node(p, (PgmIndexNode){.kind = N_NEG, .a = e});
  }
  if (isdigit((unsigned char)*p->p)) {
    char *end;
    long v = strtol(p->p, &end, 10);
    p->p = end;
    return new_node(p, (PgmIndexNode){.kind = N_NUMBER, .number = v});
  }
  if (!name_at(p, name)) return pgm_reader_complain(p, *p->p ? "an index expected at '%s'" : "an index expected at the end%s", p->p), -1;
  for (int k = 0; k < p->latent->n_index; k++)
    if (!strcmp(p->latent->index[k], name)) return new_node(p, (PgmIndexNode){.kind = N_INDEX, .number = k});
  if (p->bound[0] && !strcmp(p->bound, name)) return new_node(p, (PgmIndexNode){.kind = N_BOUND});
  const PgmModel *m = p->s->model;
  int f = pgm_family_named(m, name);
  char names[300] = "";
  if (f < 0) {
    for (int k = 0; k < p->latent->n_index; k++) pgm_list_name(names, sizeof names, p->latent->index[k]);
    known_names(m, true, names + strlen(names), sizeof names - strlen(names));
    names[0] = 0;
    for (int k = 0; k < p->latent->n_index; k++) pgm_list_name(names, sizeof names, p->latent->index[k]);
    char integers[200];
    known_names(m, true, integers, sizeof integers);
    return pgm_reader_complain(p, "'%s' is not an index of %s (it has: %s) and no integer input (there are: %s)", name, p->latent->name,
                               names, integers),
           -1;
  }
  const PgmFamily *fam = &m->families[f];
  if (!fam->integer || (fam->role != PGM_INPUT && fam->role != PGM_OBSERVED)) {
    known_names(m, true, names, sizeof names);
    return pgm_reader_complain(p, "'%s' is not an integer input, so it cannot stand in an index (there are: %s)", name, names), -1;
  }
  PgmIndexNode n = {.kind = N_LOOKUP, .family = f};
  if (fam->n_index && accept(p, "[")) {
    do {
      if (n.n_args == fam->n_index)
        return pgm_reader_complain(p, "'%s' has %d %s", name, fam->n_index, fam->n_index == 1 ? "index" : "indices"), -1;
      int e = parse_sum(p);
      if (e < 0) return -1;
      n.args[n.n_args++] = e;
    } while (accept(p, ","));
    if (!accept(p, "]")) return pgm_reader_complain(p, "']' expected at '%s'", p->p), -1;
  }
  if (n.n_args != fam->n_index)
    return pgm_reader_complain(p, "'%s' needs %d %s", name, fam->n_index, fam->n_index == 1 ? "index" : "indices"), -1;
  return new_node(p, n);
}

static int parse_product(PgmReader *p)
{
  int e = parse_primary(p);
  while (e >= 0) {
    NodeKind kind;
    if (accept(p, "*"))
      kind = N_MUL;
    else if (accept(p, "/"))
      kind = N_DIV;
    else
      break;
    int b = parse_primary(p);
    e = b < 0 ? -1 : new_node(p, (PgmIndexNode){.kind = kind, .a = e, .b = b});
  }
  return e;
}

static int parse_sum(PgmReader *p)
{
  int e = parse_product(p);
  while (e >= 0) {
    NodeKind kind;
    if (accept(p, "+"))
      kind = N_ADD;
    else if (accept(p, "-"))
      kind = N_SUB;
    else
      break;
    int b = parse_product(p);
    e = b < 0 ? -1 : new_node(p, (PgmIndexNode){.kind = kind, .a = e, .b = b});
  }
  return e;
}

static bool parse_position(PgmReader *p, PgmPosition *out)
{
  blank(p);
  if (*p->p == '*') {
    p->p++;
    *out = (PgmPosition){P_STAR, -1, -1};
    return true;
  }
  int lo = parse_sum(p);
  if (lo < 0) return false;
  *out = (PgmPosition){P_EXPR, lo, -1};
  if (!accept(p, "..")) return true;
  int hi = parse_sum(p);
  *out = (PgmPosition){P_SLICE, lo, hi};
  return hi >= 0;
}

bool pgm_reference_mentions(const PgmReference *r, int node, NodeKind kind)
{
  const PgmIndexNode *n = &r->node[node];
  if (n->kind == kind) return true;
  switch (n->kind) {
  case N_NEG:
    return pgm_reference_mentions(r, n->a, kind);
  case N_ADD:
  case N_SUB:
  case N_MUL:
  case N_DIV:
    return pgm_reference_mentions(r, n->a, kind) || pgm_reference_mentions(r, n->b, kind);
  case N_LOOKUP:
    for (int k = 0; k < n->n_args; k++)
      if (pgm_reference_mentions(r, n->args[k], kind)) return true;
    return false;
  default:
    return false;
  }
}

bool pgm_reference_same(const PgmReference *r, int a, const PgmReference *q, int b)
{
  const PgmIndexNode *x = &r->node[a], *y = &q->node[b];
  if (x->kind != y->kind) return false;
  switch (x->kind) {
  case N_NUMBER:
  case N_INDEX:
    return x->number == y->number;
  case N_BOUND:
    return true;
  case N_LOOKUP:
    if (x->family != y->family || x->n_args != y->n_args) return false;
    for (int k = 0; k < x->n_args; k++)
      if (!pgm_reference_same(r, x->args[k], q, y->args[k])) return false;
    return true;
  case N_NEG:
    return pgm_reference_same(r, x->a, q, y->a);
  default:
    return pgm_reference_same(r, x->a, q, y->a) && pgm_reference_same(r, x->b, q, y->b);
  }
}

/* The bound variable, a name in the positions that is neither an index of the latent nor declared: found ahead of parsing them. */
static bool find_bound(PgmReader *p)
{
  p->bound[0] = 0;
  const char *bar = strchr(p->p, '|');
  const bool set = bar != NULL;
  if (!bar) bar = p->p + strlen(p->p);
  PgmReader look = *p;
  look.p = strchr(p->p, '[');
  while (look.p && look.p < bar) {
    char name[64];
    look.p++;
    if (!name_at(&look, name)) {
      if (!*look.p || look.p >= bar) break;
      continue;
    }
    bool index = false;
    for (int k = 0; k < p->latent->n_index; k++) index = index || !strcmp(p->latent->index[k], name);
    /* without a condition, only as a step beside an index: x[i+k] */
    const bool beside =
        set || *look.p == '*' || (look.p - strlen(name) > p->text && strchr("+-*", look.p[-(long)strlen(name) - 1]) != NULL);
    if (!index && beside && pgm_family_named(p->s->model, name) < 0) {
      snprintf(p->bound, sizeof p->bound, "%s", name);
      return true;
    }
  }
  return !set || pgm_reader_complain(p, "a set needs a variable of its own, as in x[i | county[i] = j]");
}

/* The integer family that the bound variable itself indexes in the expression, as its only index; -1: none. */
static int bound_family(const PgmReference *r, int node)
{
  const PgmIndexNode *n = &r->node[node];
  if (n->kind != N_LOOKUP || n->n_args != 1) return -1;
  return r->node[n->args[0]].kind == N_BOUND ? n->family : bound_family(r, n->args[0]);
}

/* NAME, or NAME[position, ..., entry ...], or NAME[i | left = right] */
bool pgm_reference_read(PgmReader *p)
{
  const PgmModel *m = p->s->model;
  PgmReference *r = p->ref;
  char name[64], names[400];
  *r = (PgmReference){.family = -1};
  if (!name_at(p, name)) return pgm_reader_complain(p, *p->p ? "a name expected at '%s'" : "a name expected%s", p->p);
  for (int k = 0; k < p->latent->n_index; k++)
    if (!strcmp(p->latent->index[k], name)) {
      r->index = k;
      blank(p);
      return !*p->p || pgm_reader_complain(p, "'%s' is an index; what follows it, '%s', means nothing here", name, p->p);
    }
  r->family = pgm_family_named(m, name);
  known_names(m, false, names, sizeof names);
  if (r->family < 0) return pgm_reader_complain(p, "'%s' is not declared (there are: %s)", name, names);
  const PgmFamily *fam = &m->families[r->family];
  switch (fam->role) {
  case PGM_INPUT:
  case PGM_OBSERVED:
    break;
  case PGM_LET:
    return pgm_reader_complain(p, "'%s' is a let; inputs are observed or input variables (%s)", name, names);
  case PGM_GLOBAL:
  case PGM_LOCAL:
  case PGM_PARAM:
    if (fam != p->latent) break;
    return pgm_reader_complain(p, "'%s' is what the function is to tell; inputs are data (%s) or other latent variables", name, names);
  default:
    return pgm_reader_complain(p, "'%s' has no factors; inputs are observed or input variables (%s)", name, names);
  }
  if (!find_bound(p)) return false;
  if (accept(p, "[")) {
    do {
      if (r->n_positions == fam->n_index + fam->rank)
        return pgm_reader_complain(p, "'%s' has %d %s and its elements %d dimension%s", name, fam->n_index,
                                   fam->n_index == 1 ? "index" : "indices", fam->rank, fam->rank == 1 ? "" : "s");
      if (!parse_position(p, &r->position[r->n_positions++])) return false;
    } while (accept(p, ",") || accept(p, "]["));
    if (accept(p, "|")) {
      r->set = true;
      int a = parse_sum(p);
      if (a < 0) return false;
      if (!accept(p, "==") && !accept(p, "=")) return pgm_reader_complain(p, "'=' expected at '%s'", p->p);
      int b = parse_sum(p);
      if (b < 0) return false;
      bool in_a = pgm_reference_mentions(r, a, N_BOUND), in_b = pgm_reference_mentions(r, b, N_BOUND);
      if (in_a == in_b) return pgm_reader_complain(p, "one side of '=' must mention '%s', the other must not", p->bound);
      r->left = in_a ? a : b;
      r->right = in_a ? b : a;
      if (pgm_reference_mentions(r, r->left, N_INDEX))
        return pgm_reader_complain(p, "the side of '=' with '%s' may not mention an index of %s", p->bound, p->latent->name);
    }
    if (!accept(p, "]")) return pgm_reader_complain(p, *p->p ? "']' expected at '%s'" : "']' expected at the end%s", p->p);
  }
  blank(p);
  if (*p->p) return pgm_reader_complain(p, "'%s' is not expected here", p->p);
  if (r->n_positions < fam->n_index)
    return pgm_reader_complain(p, "'%s' has %d %s, %d given", name, fam->n_index, fam->n_index == 1 ? "index" : "indices", r->n_positions);
  int carriers = 0;
  for (int k = 0; k < r->n_positions && r->set; k++) {
    PgmPosition q = r->position[k];
    const bool bound = q.kind == P_EXPR && r->node[q.lo].kind == N_BOUND;
    const bool lookup = q.kind == P_EXPR && r->node[q.lo].kind == N_LOOKUP && pgm_reference_mentions(r, q.lo, N_BOUND);
    carriers += bound || lookup;
    r->looks_up = r->looks_up || lookup;
    if (lookup ? pgm_reference_mentions(r, q.lo, N_INDEX)
               : !bound && q.kind != P_STAR &&
                     (pgm_reference_mentions(r, q.lo, N_BOUND) || pgm_reference_mentions(r, q.lo, N_INDEX) ||
                      (q.kind == P_SLICE && (pgm_reference_mentions(r, q.hi, N_BOUND) || pgm_reference_mentions(r, q.hi, N_INDEX)))))
      return pgm_reader_complain(p, "in a set, indices are '%s' itself, a lookup of it, '*' or constants", p->bound);
    if ((bound || lookup) && k >= fam->n_index)
      return pgm_reader_complain(p, "'%s' must be an index of '%s', not an entry of its elements", p->bound, name);
  }
  if (r->set && (r->looks_up ? carriers < 1 : carriers != 1))
    return pgm_reader_complain(p, "'%s' must stand once among the indices", p->bound);
  for (int k = 0; k < fam->n_index && r->looks_up; k++)
    if (r->position[k].kind != P_EXPR) return pgm_reader_complain(p, "a set of looked up elements has no '*' or '..'");
  if (r->looks_up && bound_family(r, r->left) < 0)
    return pgm_reader_complain(p, "the condition of a set of looked up elements is a lookup");
  for (int k = 0; k < r->n_positions && !r->set && p->bound[0]; k++) {
    const PgmPosition q = r->position[k];
    if (q.kind == P_STAR || !(pgm_reference_mentions(r, q.lo, N_BOUND) || (q.kind == P_SLICE && pgm_reference_mentions(r, q.hi, N_BOUND))))
      continue;
    if (q.kind == P_SLICE || k >= fam->n_index || !pgm_reference_mentions(r, q.lo, N_INDEX))
      return pgm_reader_complain(p, "'%s' is not an index of %s and can only be a step beside one, as in x[i+%s]", p->bound,
                                 p->latent->name, p->bound);
    r->runs = true;
  }
  return true;
}

/* Blanks out, except in sets: "x[i | county[i] = j]". */
char *pgm_reference_text(const char *text)
{
  char *out = malloc(strlen(text) * 3 + 1);
  if (!out) return NULL;
  size_t n = 0;
  for (const char *c = text; *c; c++) {
    if (isspace((unsigned char)*c)) continue;
    if (*c == '=' && c[1] == '=') continue;
    if (*c == '|' || *c == '=') {
      out[n++] = ' ';
      out[n++] = *c;
      out[n++] = ' ';
    } else {
      out[n++] = *c;
    }
  }
  out[n] = 0;
  return out;
}

/* ---- evaluation ---------------------------------------------------------------------------------------------------------------------- */

bool pgm_entry_missing(const PgmSession *s, int family, long entry)
{
  const PgmLayout *l = &s->layout[family];
  if (l->missing && !l->present[entry]) return true;
  return l->data && isnan(l->data[entry]);
}

double pgm_entry_value(const PgmSession *s, int family, long entry)
{
  const PgmLayout *l = &s->layout[family];
  return l->idata ? (double)l->idata[entry] : l->data ? l->data[entry] : NAN;
}

/* Flat index of an element, or -1 where it is not defined. */
long pgm_flat_index(const PgmLayout *l, int n_index, const long *index)
{
  long flat = 0;
  for (int k = 0; k < n_index; k++) {
    if (index[k] < l->lo[k] || index[k] > l->hi[k]) return -1;
    flat += (index[k] - l->lo[k]) * l->stride[k];
  }
  return l->piece && !l->piece[flat] ? -1 : flat;
}

/* False where a lookup leads nowhere. */
bool pgm_index_value(const PgmSession *s, const PgmReference *r, int node, PgmScope scope, long *out)
{
  const PgmIndexNode *n = &r->node[node];
  long a = 0, b = 0;
  switch (n->kind) {
  case N_NUMBER:
    *out = n->number;
    return true;
  case N_INDEX:
    *out = scope.index[n->number];
    return true;
  case N_BOUND:
    *out = scope.bound;
    return true;
  case N_LOOKUP: {
    long index[PGM_MAX_INDEX];
    for (int k = 0; k < n->n_args; k++)
      if (!pgm_index_value(s, r, n->args[k], scope, &index[k])) return false;
    long flat = pgm_flat_index(&s->layout[n->family], n->n_args, index);
    if (flat < 0 || pgm_entry_missing(s, n->family, flat)) return false;
    *out = (long)pgm_entry_value(s, n->family, flat);
    return true;
  }
  case N_NEG:
    if (!pgm_index_value(s, r, n->a, scope, &a)) return false;
    *out = -a;
    return true;
  default:
    if (!pgm_index_value(s, r, n->a, scope, &a) || !pgm_index_value(s, r, n->b, scope, &b)) return false;
    if (n->kind == N_DIV && (!b || a % b)) return false; /* x[n / 2] is there for even n only */
    *out = n->kind == N_ADD ? a + b : n->kind == N_SUB ? a - b : n->kind == N_MUL ? a * b : a / b;
    return true;
  }
}

/* Range of one position; false where it cannot be evaluated. An empty range has hi < lo. */
bool pgm_position_range(const PgmSession *s, const PgmReference *r, int k, PgmScope scope, long *lo, long *hi)
{
  const PgmFamily *fam = &s->model->families[r->family];
  const PgmLayout *l = &s->layout[r->family];
  const PgmPosition *q = &r->position[k];
  if (q->kind == P_STAR) {
    *lo = k < fam->n_index ? l->lo[k] : 1;
    *hi = k < fam->n_index ? l->hi[k] : l->dim[k - fam->n_index];
    return true;
  }
  if (!pgm_index_value(s, r, q->lo, scope, lo)) return false;
  *hi = *lo;
  return q->kind != P_SLICE || pgm_index_value(s, r, q->hi, scope, hi);
}

long pgm_row_flat(const PgmSession *s, int family, long row)
{
  return s->layout[family].list ? s->layout[family].list[row] : row;
}

void pgm_flat_position(const PgmSession *s, int family, long flat, long *index)
{
  const PgmLayout *l = &s->layout[family];
  for (int k = 0; k < s->model->families[family].n_index; k++) {
    index[k] = l->lo[k] + flat / l->stride[k];
    flat %= l->stride[k];
  }
}

void pgm_row_index(const PgmSession *s, int family, long row, long *index)
{
  pgm_flat_position(s, family, pgm_row_flat(s, family, row), index);
}

bool pgm_reference_latent(const PgmSession *s, const PgmReference *r)
{
  return r->family >= 0 && pgm_is_latent(&s->model->families[r->family]);
}

bool pgm_reference_entries(PgmReader *p, long **entry, long *n)
{
  const PgmReference *r = p->ref;
  const PgmFamily *fam = &p->s->model->families[r->family];
  const PgmLayout *l = &p->s->layout[r->family];
  long lo[2] = {1, 1}, hi[2] = {l->dim[0], l->dim[1]}, columns = fam->rank == 2 ? l->dim[1] : 1;
  *n = 0;
  if (fam->rank == 0) hi[0] = hi[1] = 1;
  if (fam->rank == 1) {
    hi[0] = l->width;
    hi[1] = 1;
  }
  if (pgm_reference_latent(p->s, r)) {
    if (r->n_positions > fam->n_index)
      return pgm_reader_complain(p, "the factors of a latent variable are given whole, element by element");
    hi[0] = l->uwidth;
    hi[1] = fam->role == PGM_PARAM || l->table ? 1 : 2; /* logits of a discrete one, no sds */
    columns = hi[1];
  }
  for (int k = fam->n_index; k < r->n_positions; k++) {
    int d = k - fam->n_index;
    const PgmPosition *q = &r->position[k];
    if (q->kind != P_STAR &&
        (pgm_reference_mentions(r, q->lo, N_INDEX) || (q->kind == P_SLICE && pgm_reference_mentions(r, q->hi, N_INDEX))))
      return pgm_reader_complain(p, "entries of an element are chosen by constants or '*'");
    long limit = hi[d];
    if (!pgm_position_range(p->s, r, k, (PgmScope){NULL, 0}, &lo[d], &hi[d]) || lo[d] < 1 || hi[d] > limit)
      return pgm_reader_complain(p, "entry out of range 1..%ld", limit);
  }
  const long count = (hi[0] - lo[0] + 1) * (hi[1] - lo[1] + 1);
  if (count < 1) return pgm_reader_complain(p, "no entries");
  if (!(*entry = malloc((size_t)count * sizeof **entry))) return pgm_reader_complain(p, "out of memory");
  for (long i = lo[0]; i <= hi[0]; i++)
    for (long j = lo[1]; j <= hi[1]; j++) (*entry)[(*n)++] = (i - 1) * columns + j - 1;
  return true;
}

/* Visits the elements that row `row` refers to (not for sets). Returns the number of index tuples, or -1 where an index cannot be
 * evaluated; at[] (may be NULL) gets flat indices or -1; *defined counts the defined ones. */
long pgm_reference_visit(const PgmSession *s, const PgmReference *r, const long *index, long *at, long *defined)
{
  const PgmFamily *fam = &s->model->families[r->family];
  long lo[PGM_MAX_INDEX], hi[PGM_MAX_INDEX], now[PGM_MAX_INDEX], n = 1;
  *defined = 0;
  for (int k = 0; k < fam->n_index; k++) {
    if (!pgm_position_range(s, r, k, (PgmScope){index, 0}, &lo[k], &hi[k])) return -1;
    n *= hi[k] >= lo[k] ? hi[k] - lo[k] + 1 : 0;
    now[k] = lo[k];
  }
  for (long i = 0; i < n; i++) {
    long flat = pgm_flat_index(&s->layout[r->family], fam->n_index, now);
    *defined += flat >= 0;
    if (at) at[i] = flat;
    for (int k = fam->n_index - 1; k >= 0; k--) {
      if (++now[k] <= hi[k]) break;
      now[k] = lo[k];
    }
  }
  return n;
}

static int by_key(const void *a, const void *b)
{
  const PgmMember *x = a, *y = b;
  return x->key != y->key ? (x->key < y->key ? -1 : 1) : (x->bound > y->bound) - (x->bound < y->bound);
}

PgmMember *pgm_reference_members(const PgmSession *s, const PgmReference *r, long *n)
{
  const PgmFamily *fam = &s->model->families[r->family];
  const PgmLayout *l = &s->layout[r->family], *table = r->looks_up ? &s->layout[bound_family(r, r->left)] : NULL;
  const long many = table ? table->elements : l->elements;
  PgmMember *m = malloc((size_t)(many + 1) * sizeof *m);
  *n = 0;
  for (long i = 0; m && i < many; i++) {
    long index[PGM_MAX_INDEX], bound = 0, flat = i, lo, hi, key;
    bool in = true;
    if (table) { /* u[class[i] | school[i] = s]: by i */
      bound = table->lo[0] + i;
      for (int k = 0; k < fam->n_index && in; k++) in = pgm_index_value(s, r, r->position[k].lo, (PgmScope){NULL, bound}, &index[k]);
      in = in && (flat = pgm_flat_index(l, fam->n_index, index)) >= 0;
    } else {
      in = !l->piece || l->piece[flat];
      pgm_flat_position(s, r->family, flat, index);
      for (int k = 0; k < fam->n_index && in; k++) {
        if (r->position[k].kind == P_EXPR && r->node[r->position[k].lo].kind == N_BOUND)
          bound = index[k];
        else
          in = pgm_position_range(s, r, k, (PgmScope){NULL, 0}, &lo, &hi) && index[k] >= lo && index[k] <= hi;
      }
    }
    if (in && pgm_index_value(s, r, r->left, (PgmScope){NULL, bound}, &key)) m[(*n)++] = (PgmMember){key, flat, bound};
  }
  if (m) qsort(m, (size_t)*n, sizeof *m, by_key);
  return m;
}

/* The elements that the running variable leads to, from the lowest; returns their number (at may be NULL). */
long pgm_reference_along(const PgmSession *s, const PgmReference *r, int latent, const long *index, long *at)
{
  const PgmFamily *fam = &s->model->families[r->family];
  const PgmLayout *l = &s->layout[r->family];
  long reach = 0, n = 0; /* steps beyond it leave the box: |index + step| <= |end of the box| */
  for (int k = 0; k < s->model->families[latent].n_index; k++) reach = labs(index[k]) > reach ? labs(index[k]) : reach;
  for (int k = 0; k < fam->n_index; k++) {
    const long end = labs(l->lo[k]) > labs(l->hi[k]) ? labs(l->lo[k]) : labs(l->hi[k]);
    reach = end > reach ? end : reach;
  }
  for (long step = -2 * reach; step <= 2 * reach; step++) {
    long to[PGM_MAX_INDEX];
    bool in = true;
    for (int k = 0; k < fam->n_index && in; k++)
      in = r->position[k].kind == P_EXPR && pgm_index_value(s, r, r->position[k].lo, (PgmScope){index, step}, &to[k]);
    const long flat = in ? pgm_flat_index(l, fam->n_index, to) : -1;
    if (flat < 0) continue;
    if (at) at[n] = flat;
    n++;
  }
  return n;
}

/* Rows share one vector of elements: the same number of them everywhere, all defined (single references may be absent). */
bool pgm_reference_width(const PgmSession *s, const PgmReference *r, int latent, long rows, long *width)
{
  const PgmFamily *fam = &s->model->families[r->family];
  long index[PGM_MAX_INDEX], defined;
  bool single = true;
  for (int k = 0; k < fam->n_index; k++) single = single && r->position[k].kind == P_EXPR;
  *width = 1;
  if (single) return true;
  *width = -1;
  for (long row = 0; row < rows; row++) {
    pgm_row_index(s, latent, row, index);
    long n = pgm_reference_visit(s, r, index, NULL, &defined);
    if (*width < 0) *width = n;
    if (n < 1 || n != *width || defined < n || n > MAX_FIXED) return false;
  }
  return *width > 0;
}

bool pgm_few_levels(const PgmSession *s, int family, long *lo, long *hi)
{
  const PgmLayout *l = &s->layout[family];
  *lo = LONG_MAX;
  *hi = LONG_MIN;
  for (long i = 0; i < l->elements; i++) {
    if ((l->piece && !l->piece[i]) || pgm_entry_missing(s, family, i)) continue;
    const long v = (long)pgm_entry_value(s, family, i);
    *lo = v < *lo ? v : *lo;
    *hi = v > *hi ? v : *hi;
  }
  return *lo < *hi && *hi - *lo<PGM_FEW_LEVELS && * hi - *lo> 1;
}

char *pgm_text(const char *format, ...)
{
  char buffer[512];
  va_list args;
  va_start(args, format);
  vsnprintf(buffer, sizeof buffer, format, args);
  va_end(args);
  return strdup(buffer);
}
