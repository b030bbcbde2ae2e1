/* Input references of inference functions: parsing, resolution against the data, and gathering. See gather.h. */
#include "gather.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "source.h"

enum { FARTHEST = 8, MAX_NODES = 96, MAX_LEVELS = 32, MAX_FIXED = 4096, MAX_PRODUCTS = 64 };

/* ---- references ---------------------------------------------------------------------------------------------------------------------- */

/* Integer expressions in the indices of the latent variable, sizes, lookups, and the bound variable of a set. */
typedef enum { N_NUMBER, N_INDEX, N_BOUND, N_LOOKUP, N_NEG, N_ADD, N_SUB, N_MUL, N_DIV } NodeKind;
typedef struct {
  NodeKind kind;
  long number; /* N_NUMBER; N_INDEX: which position of the latent's index */
  int family;  /* N_LOOKUP (a scalar size is a lookup without arguments) */
  int a, b;    /* operands */
  int n_args, args[PGM_MAX_INDEX];
} Node;

typedef enum { P_EXPR, P_STAR, P_SLICE } PositionKind;
typedef struct {
  PositionKind kind;
  int lo, hi;
} Position; /* nodes; P_EXPR uses lo */

typedef struct {
  int family; /* -1: `index`, a bare index variable of the latent */
  long index;
  int n_positions;
  Position position[PGM_MAX_INDEX + 2]; /* indices, then entries of a vector or matrix element */
  bool set, runs;                       /* runs: the bound variable runs over all whole numbers (no condition) */
  int left, right;                      /* the set's condition: left mentions the bound variable, right does not */
  int n_nodes;
  Node node[MAX_NODES];
} Reference;

typedef struct {
  const PgmSession *s;
  const PgmFamily *latent;
  const char *text, *p, *where; /* the whole reference, the next character, the origin */
  char bound[64];
  Reference *ref;
  PgmError *error;
} Parser;

static bool complain(Parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool complain(Parser *p, const char *format, ...)
{
  char what[600];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  pgm_fail(p->error, PGM_BAD_INPUT, "%s: input '%s' of %s: %s", p->where, p->text, p->latent->name, what);
  return false;
}

static void blank(Parser *p)
{
  while (isspace((unsigned char)*p->p)) p->p++;
}

static bool accept(Parser *p, const char *token)
{
  blank(p);
  size_t n = strlen(token);
  if (strncmp(p->p, token, n) != 0) return false;
  p->p += n;
  return true;
}

static bool name_at(Parser *p, char name[64])
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

static int find_family(const PgmModel *m, const char *name)
{
  for (int f = 0; f < m->n_families; f++)
    if (!strcmp(m->families[f].name, name)) return f;
  return -1;
}

/* Appends to a list of names, for messages. */
static void list_name(char *list, size_t size, const char *name)
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
      list_name(list, size, fam->name);
  }
  if (!list[0]) snprintf(list, size, "none");
}

static int new_node(Parser *p, Node n)
{
  if (p->ref->n_nodes == MAX_NODES) {
    complain(p, "the expression is too long");
    return -1;
  }
  p->ref->node[p->ref->n_nodes] = n;
  return p->ref->n_nodes++;
}

static int parse_sum(Parser *p);

static int parse_primary(Parser *p)
{
  char name[64];
  blank(p);
  if (accept(p, "(")) {
    int e = parse_sum(p);
    if (e >= 0 && !accept(p, ")")) return complain(p, "')' expected at '%s'", p->p), -1;
    return e;
  }
  if (accept(p, "-")) {
    int e = parse_primary(p);
    return e < 0 ? -1 : new_node(p, (Node){.kind = N_NEG, .a = e});
  }
  if (isdigit((unsigned char)*p->p)) {
    char *end;
    long v = strtol(p->p, &end, 10);
    p->p = end;
    return new_node(p, (Node){.kind = N_NUMBER, .number = v});
  }
  if (!name_at(p, name)) return complain(p, *p->p ? "an index expected at '%s'" : "an index expected at the end%s", p->p), -1;
  for (int k = 0; k < p->latent->n_index; k++)
    if (!strcmp(p->latent->index[k], name)) return new_node(p, (Node){.kind = N_INDEX, .number = k});
  if (p->bound[0] && !strcmp(p->bound, name)) return new_node(p, (Node){.kind = N_BOUND});
  const PgmModel *m = p->s->model;
  int f = find_family(m, name);
  char names[300] = "";
  if (f < 0) {
    for (int k = 0; k < p->latent->n_index; k++) list_name(names, sizeof names, p->latent->index[k]);
    known_names(m, true, names + strlen(names), sizeof names - strlen(names));
    names[0] = 0;
    for (int k = 0; k < p->latent->n_index; k++) list_name(names, sizeof names, p->latent->index[k]);
    char integers[200];
    known_names(m, true, integers, sizeof integers);
    return complain(p, "'%s' is not an index of %s (it has: %s) and no integer input (there are: %s)", name, p->latent->name, names,
                    integers),
           -1;
  }
  const PgmFamily *fam = &m->families[f];
  if (!fam->integer || (fam->role != PGM_INPUT && fam->role != PGM_OBSERVED)) {
    known_names(m, true, names, sizeof names);
    return complain(p, "'%s' is not an integer input, so it cannot stand in an index (there are: %s)", name, names), -1;
  }
  Node n = {.kind = N_LOOKUP, .family = f};
  if (fam->n_index && accept(p, "[")) {
    do {
      if (n.n_args == fam->n_index) return complain(p, "'%s' has %d %s", name, fam->n_index, fam->n_index == 1 ? "index" : "indices"), -1;
      int e = parse_sum(p);
      if (e < 0) return -1;
      n.args[n.n_args++] = e;
    } while (accept(p, ","));
    if (!accept(p, "]")) return complain(p, "']' expected at '%s'", p->p), -1;
  }
  if (n.n_args != fam->n_index) return complain(p, "'%s' needs %d %s", name, fam->n_index, fam->n_index == 1 ? "index" : "indices"), -1;
  return new_node(p, n);
}

static int parse_product(Parser *p)
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
    e = b < 0 ? -1 : new_node(p, (Node){.kind = kind, .a = e, .b = b});
  }
  return e;
}

static int parse_sum(Parser *p)
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
    e = b < 0 ? -1 : new_node(p, (Node){.kind = kind, .a = e, .b = b});
  }
  return e;
}

static bool parse_position(Parser *p, Position *out)
{
  blank(p);
  if (*p->p == '*') {
    p->p++;
    *out = (Position){P_STAR, -1, -1};
    return true;
  }
  int lo = parse_sum(p);
  if (lo < 0) return false;
  *out = (Position){P_EXPR, lo, -1};
  if (!accept(p, "..")) return true;
  int hi = parse_sum(p);
  *out = (Position){P_SLICE, lo, hi};
  return hi >= 0;
}

static bool mentions(const Reference *r, int node, NodeKind kind)
{
  const Node *n = &r->node[node];
  if (n->kind == kind) return true;
  switch (n->kind) {
  case N_NEG:
    return mentions(r, n->a, kind);
  case N_ADD:
  case N_SUB:
  case N_MUL:
  case N_DIV:
    return mentions(r, n->a, kind) || mentions(r, n->b, kind);
  case N_LOOKUP:
    for (int k = 0; k < n->n_args; k++)
      if (mentions(r, n->args[k], kind)) return true;
    return false;
  default:
    return false;
  }
}

/* The bound variable, a name in the positions that is neither an index of the latent nor declared: found ahead of parsing them. */
static bool find_bound(Parser *p)
{
  p->bound[0] = 0;
  const char *bar = strchr(p->p, '|');
  const bool set = bar != NULL;
  if (!bar) bar = p->p + strlen(p->p);
  Parser look = *p;
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
    if (!index && beside && find_family(p->s->model, name) < 0) {
      snprintf(p->bound, sizeof p->bound, "%s", name);
      return true;
    }
  }
  return !set || complain(p, "a set needs a variable of its own, as in x[i | county[i] = j]");
}

/* NAME, or NAME[position, ..., entry ...], or NAME[i | left = right] */
static bool parse_reference(Parser *p)
{
  const PgmModel *m = p->s->model;
  Reference *r = p->ref;
  char name[64], names[400];
  *r = (Reference){.family = -1};
  if (!name_at(p, name)) return complain(p, *p->p ? "a name expected at '%s'" : "a name expected%s", p->p);
  for (int k = 0; k < p->latent->n_index; k++)
    if (!strcmp(p->latent->index[k], name)) {
      r->index = k;
      blank(p);
      return !*p->p || complain(p, "'%s' is an index; what follows it, '%s', means nothing here", name, p->p);
    }
  r->family = find_family(m, name);
  known_names(m, false, names, sizeof names);
  if (r->family < 0) return complain(p, "'%s' is not declared (there are: %s)", name, names);
  const PgmFamily *fam = &m->families[r->family];
  switch (fam->role) {
  case PGM_INPUT:
  case PGM_OBSERVED:
    break;
  case PGM_LET:
    return complain(p, "'%s' is a let; inputs are observed or input variables (%s)", name, names);
  case PGM_PARAM:
    return complain(p, "'%s' is a param; inputs are observed or input variables (%s)", name, names);
  default:
    return complain(p, "'%s' is latent; inference functions see data alone (%s)", name, names);
  }
  if (!find_bound(p)) return false;
  if (accept(p, "[")) {
    do {
      if (r->n_positions == fam->n_index + fam->rank)
        return complain(p, "'%s' has %d %s and its elements %d dimension%s", name, fam->n_index, fam->n_index == 1 ? "index" : "indices",
                        fam->rank, fam->rank == 1 ? "" : "s");
      if (!parse_position(p, &r->position[r->n_positions++])) return false;
    } while (accept(p, ",") || accept(p, "]["));
    if (accept(p, "|")) {
      r->set = true;
      int a = parse_sum(p);
      if (a < 0) return false;
      if (!accept(p, "==") && !accept(p, "=")) return complain(p, "'=' expected at '%s'", p->p);
      int b = parse_sum(p);
      if (b < 0) return false;
      bool in_a = mentions(r, a, N_BOUND), in_b = mentions(r, b, N_BOUND);
      if (in_a == in_b) return complain(p, "one side of '=' must mention '%s', the other must not", p->bound);
      r->left = in_a ? a : b;
      r->right = in_a ? b : a;
      if (mentions(r, r->left, N_INDEX))
        return complain(p, "the side of '=' with '%s' may not mention an index of %s", p->bound, p->latent->name);
    }
    if (!accept(p, "]")) return complain(p, *p->p ? "']' expected at '%s'" : "']' expected at the end%s", p->p);
  }
  blank(p);
  if (*p->p) return complain(p, "'%s' is not expected here", p->p);
  if (r->n_positions < fam->n_index)
    return complain(p, "'%s' has %d %s, %d given", name, fam->n_index, fam->n_index == 1 ? "index" : "indices", r->n_positions);
  int carriers = 0;
  for (int k = 0; k < r->n_positions && r->set; k++) {
    Position q = r->position[k];
    bool bound = q.kind == P_EXPR && r->node[q.lo].kind == N_BOUND;
    carriers += bound;
    if (!bound && q.kind != P_STAR &&
        (mentions(r, q.lo, N_BOUND) || mentions(r, q.lo, N_INDEX) ||
         (q.kind == P_SLICE && (mentions(r, q.hi, N_BOUND) || mentions(r, q.hi, N_INDEX)))))
      return complain(p, "in a set, indices are '%s' itself, '*' or constants", p->bound);
    if (bound && k >= fam->n_index) return complain(p, "'%s' must be an index of '%s', not an entry of its elements", p->bound, name);
  }
  if (r->set && carriers != 1) return complain(p, "'%s' must stand once among the indices", p->bound);
  for (int k = 0; k < r->n_positions && !r->set && p->bound[0]; k++) {
    const Position q = r->position[k];
    if (q.kind == P_STAR || !(mentions(r, q.lo, N_BOUND) || (q.kind == P_SLICE && mentions(r, q.hi, N_BOUND)))) continue;
    if (q.kind == P_SLICE || k >= fam->n_index || !mentions(r, q.lo, N_INDEX))
      return complain(p, "'%s' is not an index of %s and can only be a step beside one, as in x[i+%s]", p->bound, p->latent->name,
                      p->bound);
    r->runs = true;
  }
  return true;
}

/* Blanks out, except in sets: "x[i | county[i] = j]". */
static char *canonical(const char *text)
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

static bool is_missing(const PgmSession *s, int family, long entry)
{
  const PgmLayout *l = &s->layout[family];
  if (l->missing && !l->present[entry]) return true;
  return l->data && isnan(l->data[entry]);
}

static double value_at(const PgmSession *s, int family, long entry)
{
  const PgmLayout *l = &s->layout[family];
  return l->idata ? (double)l->idata[entry] : l->data ? l->data[entry] : NAN;
}

/* Flat index of an element, or -1 where it is not defined. */
static long flat_index(const PgmLayout *l, int n_index, const long *index)
{
  long flat = 0;
  for (int k = 0; k < n_index; k++) {
    if (index[k] < l->lo[k] || index[k] > l->hi[k]) return -1;
    flat += (index[k] - l->lo[k]) * l->stride[k];
  }
  return l->piece && !l->piece[flat] ? -1 : flat;
}

typedef struct {
  const long *index;
  long bound;
} Scope;

/* False where a lookup leads nowhere. */
static bool eval(const PgmSession *s, const Reference *r, int node, Scope scope, long *out)
{
  const Node *n = &r->node[node];
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
      if (!eval(s, r, n->args[k], scope, &index[k])) return false;
    long flat = flat_index(&s->layout[n->family], n->n_args, index);
    if (flat < 0 || is_missing(s, n->family, flat)) return false;
    *out = (long)value_at(s, n->family, flat);
    return true;
  }
  case N_NEG:
    if (!eval(s, r, n->a, scope, &a)) return false;
    *out = -a;
    return true;
  default:
    if (!eval(s, r, n->a, scope, &a) || !eval(s, r, n->b, scope, &b)) return false;
    if (n->kind == N_DIV && (!b || a % b)) return false; /* x[n / 2] is there for even n only */
    *out = n->kind == N_ADD ? a + b : n->kind == N_SUB ? a - b : n->kind == N_MUL ? a * b : a / b;
    return true;
  }
}

/* Range of one position; false where it cannot be evaluated. An empty range has hi < lo. */
static bool range_of(const PgmSession *s, const Reference *r, int k, Scope scope, long *lo, long *hi)
{
  const PgmFamily *fam = &s->model->families[r->family];
  const PgmLayout *l = &s->layout[r->family];
  const Position *q = &r->position[k];
  if (q->kind == P_STAR) {
    *lo = k < fam->n_index ? l->lo[k] : 1;
    *hi = k < fam->n_index ? l->hi[k] : l->dim[k - fam->n_index];
    return true;
  }
  if (!eval(s, r, q->lo, scope, lo)) return false;
  *hi = *lo;
  return q->kind != P_SLICE || eval(s, r, q->hi, scope, hi);
}

/* ---- plans --------------------------------------------------------------------------------------------------------------------------- */

typedef enum { K_ENTRIES, K_STORED } InputKind;

typedef struct {
  InputKind kind;
  int family;
  long columns;
  /* K_ENTRIES: per row, `slots` elements; of each the entries entry[0..n_entries-1] */
  long slots, n_entries, *entry, *at; /* at[row * slots + slot]: flat index, or -1 */
  /* K_STORED: computed once; NaN: absent */
  double *stored; /* rows x columns */
} Input;

/* The share of input `of` that is absent; whether piece `of` defines the element; or the product of flag `of` and column `column`. */
typedef enum { F_ABSENT, F_PIECE, F_PRODUCT } FlagKind;
typedef struct {
  FlagKind kind;
  int of, column;
} Flag;

struct PgmGather {
  const PgmSession *s;
  int family;
  long rows, n_features;
  int n_inputs;
  Input *input;
  int n_flags;
  Flag *flag;
  double *center, *inverse; /* per column of inputs */
};

static void *get(size_t n, size_t size)
{
  return calloc(n ? n : 1, size);
}

static long row_flat(const PgmSession *s, int family, long row)
{
  return s->layout[family].list ? s->layout[family].list[row] : row;
}

static void row_index(const PgmSession *s, int family, long row, long *index)
{
  const PgmLayout *l = &s->layout[family];
  long flat = row_flat(s, family, row);
  for (int k = 0; k < s->model->families[family].n_index; k++) {
    index[k] = l->lo[k] + flat / l->stride[k];
    flat %= l->stride[k];
  }
}

/* Entries of an element that the reference takes: all, or those of its entry positions (constants, slices, or '*'). */
static bool list_entries(Parser *p, Input *in)
{
  const Reference *r = p->ref;
  const PgmFamily *fam = &p->s->model->families[r->family];
  const PgmLayout *l = &p->s->layout[r->family];
  long lo[2] = {1, 1}, hi[2] = {l->dim[0], l->dim[1]};
  if (fam->rank == 0) hi[0] = hi[1] = 1;
  if (fam->rank == 1) {
    hi[0] = l->width;
    hi[1] = 1;
  }
  for (int k = fam->n_index; k < r->n_positions; k++) {
    int d = k - fam->n_index;
    const Position *q = &r->position[k];
    if (q->kind != P_STAR && (mentions(r, q->lo, N_INDEX) || (q->kind == P_SLICE && mentions(r, q->hi, N_INDEX))))
      return complain(p, "entries of an element are chosen by constants or '*'");
    long limit = hi[d];
    if (!range_of(p->s, r, k, (Scope){NULL, 0}, &lo[d], &hi[d]) || lo[d] < 1 || hi[d] > limit)
      return complain(p, "entry out of range 1..%ld", limit);
  }
  long n = (hi[0] - lo[0] + 1) * (hi[1] - lo[1] + 1), columns = fam->rank == 2 ? l->dim[1] : 1;
  if (n < 1) return complain(p, "no entries");
  in->entry = get((size_t)n, sizeof *in->entry);
  if (!in->entry) return complain(p, "out of memory");
  for (long i = lo[0]; i <= hi[0]; i++)
    for (long j = lo[1]; j <= hi[1]; j++) in->entry[in->n_entries++] = (i - 1) * columns + j - 1;
  return true;
}

/* Visits the elements that row `row` refers to (not for sets). Returns the number of index tuples, or -1 where an index cannot be
 * evaluated; at[] (may be NULL) gets flat indices or -1; *defined counts the defined ones. */
static long visit(const PgmSession *s, const Reference *r, const long *index, long *at, long *defined)
{
  const PgmFamily *fam = &s->model->families[r->family];
  long lo[PGM_MAX_INDEX], hi[PGM_MAX_INDEX], now[PGM_MAX_INDEX], n = 1;
  *defined = 0;
  for (int k = 0; k < fam->n_index; k++) {
    if (!range_of(s, r, k, (Scope){index, 0}, &lo[k], &hi[k])) return -1;
    n *= hi[k] >= lo[k] ? hi[k] - lo[k] + 1 : 0;
    now[k] = lo[k];
  }
  for (long i = 0; i < n; i++) {
    long flat = flat_index(&s->layout[r->family], fam->n_index, now);
    *defined += flat >= 0;
    if (at) at[i] = flat;
    for (int k = fam->n_index - 1; k >= 0; k--) {
      if (++now[k] <= hi[k]) break;
      now[k] = lo[k];
    }
  }
  return n;
}

/* Pooled statistics of a list of elements into `out`: log(1 + count), then per entry mean, sd, and log(1 + sum) when `sums`. */
static void pool(const PgmSession *s, const Input *in, long n, const long *at, bool sums, double *out)
{
  long per = sums ? 3 : 2, count = 0;
  for (long e = 0; e < in->n_entries; e++) {
    const long width = s->layout[in->family].width;
    double mean = 0, square = 0, sum = 0;
    long m = 0;
    for (long i = 0; i < n; i++) { /* Welford's recurrence */
      if (at[i] < 0 || is_missing(s, in->family, at[i] * width + in->entry[e])) continue;
      double v = value_at(s, in->family, at[i] * width + in->entry[e]), d = v - mean;
      sum += v;
      mean += d / (double)++m;
      square += d * (v - mean);
    }
    count = m > count ? m : count;
    out[1 + e * per] = m ? mean : NAN;
    out[2 + e * per] = m ? sqrt(square / (double)m) : NAN;
    if (sums) out[3 + e * per] = m ? log1p(sum) : NAN;
  }
  out[0] = log1p((double)count);
}

static bool all_nonnegative(const PgmSession *s, int family)
{
  const PgmLayout *l = &s->layout[family];
  for (long i = 0; i < l->elements * l->width; i++) {
    if (l->piece && !l->piece[i / l->width]) continue;
    if (!is_missing(s, family, i) && value_at(s, family, i) < 0) return false;
  }
  return true;
}

typedef struct {
  long key, flat;
} Member;
static int by_key(const void *a, const void *b)
{
  const Member *x = a, *y = b;
  return x->key != y->key ? (x->key < y->key ? -1 : 1) : (x->flat > y->flat) - (x->flat < y->flat);
}

/* The members of every set: elements of the referred family with the key of their condition, sorted. */
static bool list_members(Parser *p, Member **out, long *n_out)
{
  const PgmSession *s = p->s;
  const Reference *r = p->ref;
  const PgmFamily *fam = &s->model->families[r->family];
  const PgmLayout *l = &s->layout[r->family];
  Member *m = get((size_t)l->elements, sizeof *m);
  if (!m) return complain(p, "out of memory");
  long n = 0;
  for (long flat = 0; flat < l->elements; flat++) {
    if (l->piece && !l->piece[flat]) continue;
    long rest = flat, bound = 0, lo, hi, key;
    bool in = true;
    for (int k = 0; k < fam->n_index && in; k++) {
      long at = l->lo[k] + rest / l->stride[k];
      rest %= l->stride[k];
      if (r->position[k].kind == P_EXPR && r->node[r->position[k].lo].kind == N_BOUND)
        bound = at;
      else
        in = range_of(s, r, k, (Scope){NULL, 0}, &lo, &hi) && at >= lo && at <= hi;
    }
    if (in && eval(s, r, r->left, (Scope){NULL, bound}, &key)) m[n++] = (Member){key, flat};
  }
  qsort(m, (size_t)n, sizeof *m, by_key);
  *out = m;
  *n_out = n;
  return true;
}

/* The elements that the running variable leads to, from the lowest; returns their number (at may be NULL). */
static long along(const PgmSession *s, const Reference *r, int latent, const long *index, long *at)
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
      in = r->position[k].kind == P_EXPR && eval(s, r, r->position[k].lo, (Scope){index, step}, &to[k]);
    const long flat = in ? flat_index(l, fam->n_index, to) : -1;
    if (flat < 0) continue;
    if (at) at[n] = flat;
    n++;
  }
  return n;
}

static bool plan_pooled(Parser *p, Input *in, long rows, int latent, bool sums)
{
  const PgmSession *s = p->s;
  in->kind = K_STORED;
  in->columns = 1 + in->n_entries * (sums ? 3 : 2);
  in->stored = get((size_t)(rows * in->columns), sizeof *in->stored);
  if (!in->stored) return complain(p, "out of memory");
  Member *m = NULL;
  long n = 0, *at = NULL, room = 0, index[PGM_MAX_INDEX];
  if (p->ref->set && !list_members(p, &m, &n)) return false;
  at = get((size_t)(room = n), sizeof *at);
  for (long i = 0; i < n && at; i++) at[i] = m[i].flat;
  bool ok = at != NULL;
  for (long row = 0; row < rows && ok; row++) {
    double *out = in->stored + row * in->columns;
    row_index(s, latent, row, index);
    if (p->ref->set) {
      long key, a = 0, b = n;
      if (!eval(s, p->ref, p->ref->right, (Scope){index, 0}, &key)) {
        pool(s, in, 0, at, sums, out);
        continue;
      }
      while (a < b) { /* first member with this key */
        long mid = (a + b) / 2;
        if (m[mid].key < key)
          a = mid + 1;
        else
          b = mid;
      }
      for (b = a; b < n && m[b].key == key;) b++;
      pool(s, in, b - a, at + a, sums, out);
    } else if (p->ref->runs) {
      long width = along(s, p->ref, latent, index, NULL);
      if (width > room) {
        free(at);
        at = get((size_t)(room = 2 * width), sizeof *at);
        if (!(ok = at != NULL)) break;
      }
      along(s, p->ref, latent, index, at);
      pool(s, in, width, at, sums, out);
    } else {
      long defined, width = visit(s, p->ref, index, NULL, &defined);
      if (width > room) {
        free(at);
        at = get((size_t)(room = 2 * width), sizeof *at);
        if (!(ok = at != NULL)) break;
      }
      if (width > 0) visit(s, p->ref, index, at, &defined);
      pool(s, in, width > 0 ? width : 0, at, sums, out);
    }
  }
  free(m);
  free(at);
  return ok || complain(p, "out of memory");
}

/* Rows share one vector of elements: the same number of them everywhere, all defined (single references may be absent). */
static bool fixed_width(const PgmSession *s, const Reference *r, int latent, long rows, long *width)
{
  const PgmFamily *fam = &s->model->families[r->family];
  long index[PGM_MAX_INDEX], defined;
  bool single = true;
  for (int k = 0; k < fam->n_index; k++) single = single && r->position[k].kind == P_EXPR;
  *width = 1;
  if (single) return true;
  *width = -1;
  for (long row = 0; row < rows; row++) {
    row_index(s, latent, row, index);
    long n = visit(s, r, index, NULL, &defined);
    if (*width < 0) *width = n;
    if (n < 1 || n != *width || defined < n || n > MAX_FIXED) return false;
  }
  return *width > 0;
}

static bool plan_entries(Parser *p, Input *in, long rows, int latent)
{
  in->kind = K_ENTRIES;
  in->columns = in->slots * in->n_entries;
  in->at = get((size_t)(rows * in->slots), sizeof *in->at);
  if (!in->at) return complain(p, "out of memory");
  for (long row = 0; row < rows; row++) {
    long index[PGM_MAX_INDEX], defined;
    row_index(p->s, latent, row, index);
    if (visit(p->s, p->ref, index, in->at + row * in->slots, &defined) < 0)
      for (long k = 0; k < in->slots; k++) in->at[row * in->slots + k] = -1;
  }
  return true;
}

/* An integer column as one indicator per level but the first. */
static bool plan_levels(Parser *p, Input *in, long rows, const double *column, long lo, long hi)
{
  in->kind = K_STORED;
  in->columns = hi - lo;
  in->stored = get((size_t)(rows * in->columns), sizeof *in->stored);
  if (!in->stored) return complain(p, "out of memory");
  for (long row = 0; row < rows; row++)
    for (long k = 0; k < in->columns; k++)
      in->stored[row * in->columns + k] = isnan(column[row]) ? NAN : column[row] == (double)(lo + 1 + k);
  return true;
}

/* The one column of a scalar reference or an index; NaN: absent. */
static double *scalar_column(Parser *p, const Input *in, long rows, int latent)
{
  double *column = get((size_t)rows, sizeof *column);
  if (!column) return NULL;
  for (long row = 0; row < rows; row++) {
    long index[PGM_MAX_INDEX], at, defined;
    row_index(p->s, latent, row, index);
    if (p->ref->family < 0) {
      column[row] = (double)index[p->ref->index];
      continue;
    }
    if (visit(p->s, p->ref, index, &at, &defined) < 0) at = -1;
    long entry = at < 0 ? -1 : at * p->s->layout[in->family].width + in->entry[0];
    column[row] = entry < 0 || is_missing(p->s, in->family, entry) ? NAN : value_at(p->s, in->family, entry);
  }
  return column;
}

static char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text_of(const char *format, ...)
{
  char buffer[512];
  va_list args;
  va_start(args, format);
  vsnprintf(buffer, sizeof buffer, format, args);
  va_end(args);
  return strdup(buffer);
}

/* Plans one input. `text` may carry a choice made before ("pooled ", "pooled+ ", "levels a..b of "), which then holds. *chosen: the text
 * with the choice. */
static bool plan_input(Parser *p, Input *in, int latent, long rows, const char *text, char **chosen)
{
  const PgmSession *s = p->s;
  long lo = 0, hi = -1;
  int skip = 0;
  bool pooled = false, sums = false, levels = false, made = false;
  if (!strncmp(text, "pooled+ ", 8))
    pooled = sums = made = true, skip = 8;
  else if (!strncmp(text, "pooled ", 7))
    pooled = made = true, skip = 7;
  else if (sscanf(text, "levels %ld..%ld of %n", &lo, &hi, &skip) >= 2 && skip)
    levels = made = true;
  else if (!strncmp(text, "entries ", 8))
    made = true, skip = 8;
  else if (!strncmp(text, "number ", 7))
    made = true, skip = 7;
  char *clean = canonical(text + skip);
  if (!clean) return complain(p, "out of memory");
  p->text = p->p = clean;
  p->bound[0] = 0;
  bool ok = parse_reference(p);
  const Reference *r = p->ref;
  in->family = r->family;
  in->slots = 1;
  bool vector = false;
  if (ok && r->family >= 0) {
    ok = list_entries(p, in);
    for (int k = 0; k < s->model->families[r->family].n_index; k++) vector = vector || r->position[k].kind != P_EXPR;
  }
  if (ok && !made && r->family >= 0) {
    pooled = r->set || r->runs || !fixed_width(s, r, latent, rows, &in->slots) || in->slots * in->n_entries > MAX_FIXED;
    sums = pooled && all_nonnegative(s, r->family);
  } else if (ok && !pooled && r->family >= 0 && !levels && vector && !fixed_width(s, r, latent, rows, &in->slots)) {
    ok = complain(p, "in these data the number of its elements varies, in those of the fit it did not");
  }
  bool discrete = ok && !pooled &&
                  (r->family < 0 || (s->model->families[r->family].integer && s->model->families[r->family].role == PGM_INPUT &&
                                     in->slots * in->n_entries == 1));
  if (ok && discrete && !vector && (levels || !made)) {
    double *column = scalar_column(p, in, rows, latent);
    ok = column != NULL || complain(p, "out of memory");
    if (ok && !made) { /* few values: levels */
      lo = LONG_MAX;
      hi = LONG_MIN;
      for (long row = 0; row < rows; row++)
        if (!isnan(column[row])) {
          lo = (long)column[row] < lo ? (long)column[row] : lo;
          hi = (long)column[row] > hi ? (long)column[row] : hi;
        }
      levels = lo < hi && hi - lo < MAX_LEVELS && hi - lo > 1;
    }
    if (ok && levels) ok = plan_levels(p, in, rows, column, lo, hi);
    if (ok && !levels && r->family < 0) {
      in->kind = K_STORED;
      in->columns = 1;
      in->stored = column;
      column = NULL;
    }
    free(column);
    if (ok && !levels && r->family >= 0) ok = plan_entries(p, in, rows, latent);
  } else if (ok && r->family < 0) { /* an index fitted as a number */
    in->kind = K_STORED;
    in->columns = 1;
    ok = (in->stored = scalar_column(p, in, rows, latent)) != NULL || complain(p, "out of memory");
  } else if (ok) {
    ok = pooled ? plan_pooled(p, in, rows, latent, sums) : plan_entries(p, in, rows, latent);
  }
  if (ok && chosen) {
    *chosen = pooled     ? text_of("pooled%s %s", sums ? "+" : "", clean)
              : levels   ? text_of("levels %ld..%ld of %s", lo, hi, clean)
              : vector   ? text_of("entries %s", clean)
              : discrete ? text_of("number %s", clean)
                         : strdup(clean);
    if (!*chosen) ok = complain(p, "out of memory");
  }
  free(clean);
  return ok;
}

void pgm_gather_close(PgmGather *g)
{
  if (!g) return;
  for (int i = 0; i < g->n_inputs; i++) {
    free(g->input[i].entry);
    free(g->input[i].at);
    free(g->input[i].stored);
  }
  free(g->input);
  free(g->flag);
  free(g->center);
  free(g->inverse);
  free(g);
}

/* Entries of input i in row `row`, not standardised; NaN: absent. Returns the share that is present. */
static double input_row(const PgmGather *g, const Input *in, long row, double *out)
{
  long present = 0;
  if (in->kind == K_STORED) {
    for (long c = 0; c < in->columns; c++) {
      out[c] = in->stored[row * in->columns + c];
      present += !isnan(out[c]);
    }
  } else {
    const long width = g->s->layout[in->family].width;
    for (long k = 0; k < in->slots; k++) {
      long flat = in->at[row * in->slots + k];
      for (long e = 0; e < in->n_entries; e++) {
        long entry = flat < 0 ? -1 : flat * width + in->entry[e];
        double v = entry < 0 || is_missing(g->s, in->family, entry) ? NAN : value_at(g->s, in->family, entry);
        out[k * in->n_entries + e] = v;
        present += !isnan(v);
      }
    }
  }
  return in->columns ? (double)present / (double)in->columns : 1;
}

static PgmGather *plan(const PgmSession *s, int family, int n, char *const *texts, const char *where, char **chosen, PgmError *error)
{
  PgmGather *g = get(1, sizeof *g);
  Reference *r = get(1, sizeof *r);
  if (g) g->input = get((size_t)n, sizeof *g->input);
  if (!g || !r || !g->input) {
    pgm_fail(error, PGM_SYSTEM, "out of memory");
    free(r);
    pgm_gather_close(g);
    return NULL;
  }
  g->s = s;
  g->family = family;
  g->rows = s->layout[family].defined;
  g->n_inputs = n;
  for (int i = 0; i < n; i++) {
    Parser p = {.s = s, .latent = &s->model->families[family], .where = where, .ref = r, .error = error, .text = texts[i]};
    if (!plan_input(&p, &g->input[i], family, g->rows, texts[i], chosen ? &chosen[i] : NULL)) {
      free(r);
      pgm_gather_close(g);
      return NULL;
    }
    g->n_features += g->input[i].columns;
  }
  free(r);
  return g;
}

static int count_pieces(const PgmSession *s, int family)
{
  int n = 0;
  for (int k = 0; k < s->model->n_statements; k++) n += s->model->statements[k].family == family;
  return n;
}

/* Centre and scale over the present values of each column; a column that does not vary keeps scale 1. The scale is the sd, or more where a value
 * would then stand further than FARTHEST from the centre: a rare spike (a pixel at an image's edge) would rule the function and its gradient.
 * Flags: those that vary. */
static bool standardise(PgmGather *g, PgmFunction *f)
{
  const PgmSession *s = g->s;
  const long columns = g->n_features;
  const int pieces = count_pieces(s, g->family);
  double *value = get((size_t)columns, sizeof *value), *square = get((size_t)columns, sizeof *square),
         *low = get((size_t)columns, sizeof *low), *high = get((size_t)columns, sizeof *high),
         *most = get((size_t)g->n_inputs, sizeof *most), *least = get((size_t)g->n_inputs, sizeof *least);
  long *count = get((size_t)columns, sizeof *count);
  const size_t plain = (size_t)g->n_inputs + (size_t)pieces, flags = plain + MAX_PRODUCTS, room = (size_t)columns + flags;
  f->center = get(room, sizeof *f->center);
  f->scale = get(room, sizeof *f->scale);
  f->flags = get(flags, sizeof *f->flags);
  g->flag = get(flags, sizeof *g->flag);
  bool ok = value && square && low && high && most && least && count && f->center && f->scale && f->flags && g->flag;
  for (int i = 0; ok && i < g->n_inputs; i++) {
    most[i] = 0;
    least[i] = 1;
  }
  for (long row = 0; ok && row < g->rows; row++) {
    double *v = value;
    for (int i = 0; i < g->n_inputs; v += g->input[i].columns, i++) {
      double share = input_row(g, &g->input[i], row, v);
      most[i] = fmax(most[i], share);
      least[i] = fmin(least[i], share);
    }
    for (long c = 0; c < columns; c++)
      if (!isnan(value[c])) {
        double d = value[c] - f->center[c];
        f->center[c] += d / (double)++count[c];
        square[c] += d * (value[c] - f->center[c]);
        low[c] = count[c] > 1 ? fmin(low[c], value[c]) : value[c];
        high[c] = count[c] > 1 ? fmax(high[c], value[c]) : value[c];
      }
  }
  if (ok) {
    for (long c = 0; c < columns; c++) {
      const double sd = count[c] ? sqrt(square[c] / (double)count[c]) : 0, far = fmax(high[c] - f->center[c], f->center[c] - low[c]);
      f->scale[c] = sd > 1e-10 * fabs(f->center[c]) && sd > 1e-300 ? fmax(sd, far / FARTHEST) : 1;
    }
    for (int i = 0; i < g->n_inputs && ok; i++)
      if (most[i] > least[i]) {
        ok = (f->flags[f->n_flags] = text_of("%s absent", f->inputs[i])) != NULL;
        g->flag[f->n_flags++] = (Flag){F_ABSENT, i, 0};
      }
    const PgmLayout *l = &s->layout[g->family];
    for (int k = 2; k <= pieces && ok && l->piece; k++) {
      long in = 0;
      for (long row = 0; row < g->rows; row++) in += l->piece[row_flat(s, g->family, row)] == k;
      if (!in || in == g->rows) continue;
      ok = (f->flags[f->n_flags] = text_of("%s statement %d", s->model->families[g->family].name, k)) != NULL;
      g->flag[f->n_flags++] = (Flag){F_PIECE, k, 0};
    }
    const int single = f->n_flags;
    for (int k = 0; k < single && (long)single * columns <= MAX_PRODUCTS; k++)
      for (int c = 0; c < columns && ok; c++) {
        ok = (f->flags[f->n_flags] = text_of("%s * %d", f->flags[k], c)) != NULL;
        g->flag[f->n_flags++] = (Flag){F_PRODUCT, k, c};
      }
    g->n_flags = f->n_flags;
    for (int k = 0; k < f->n_flags; k++) f->scale[columns + k] = 1;
  }
  free(value);
  free(square);
  free(low);
  free(high);
  free(most);
  free(least);
  free(count);
  return ok;
}

/* The flags of a function fitted before, found again by their texts. */
static bool flags_again(PgmGather *g, const PgmFunction *f, PgmError *error)
{
  g->flag = get((size_t)f->n_flags, sizeof *g->flag);
  if (!g->flag) return pgm_fail(error, PGM_SYSTEM, "out of memory"), false;
  for (int k = 0; k < f->n_flags; k++) {
    const char *text = f->flags[k], *number = strstr(text, " statement ");
    bool found = false;
    for (int j = 0; j < k && !found; j++) { /* products come after their flags */
      const size_t n = strlen(f->flags[j]);
      int column;
      found = !strncmp(text, f->flags[j], n) && sscanf(text + n, " * %d", &column) == 1 && column >= 0 && column < g->n_features;
      if (found) g->flag[k] = (Flag){F_PRODUCT, j, column};
    }
    for (int i = 0; i < f->n_inputs && !found; i++) {
      const size_t n = strlen(f->inputs[i]);
      found = !strncmp(text, f->inputs[i], n) && !strcmp(text + n, " absent");
      if (found) g->flag[k] = (Flag){F_ABSENT, i, 0};
    }
    if (!found && number && sscanf(number, " statement %d", &g->flag[k].of) == 1) {
      g->flag[k].kind = F_PIECE;
      found = true;
    }
    if (!found) return pgm_fail(error, PGM_BAD_INPUT, "the fit's inference function has an unknown flag '%s'", text), false;
  }
  g->n_flags = f->n_flags;
  return true;
}

static bool keep_standardisation(PgmGather *g, const PgmFunction *f)
{
  const long columns = g->n_features;
  g->center = get((size_t)columns, sizeof *g->center);
  g->inverse = get((size_t)columns, sizeof *g->inverse);
  if (!g->center || !g->inverse) return false;
  for (long c = 0; c < columns; c++) {
    g->center[c] = f->center[c];
    g->inverse[c] = 1 / f->scale[c];
  }
  g->n_features = columns + g->n_flags;
  return true;
}

PgmStatus pgm_gather_open(PgmGather **out, const PgmSession *s, int family, int n, char *const *texts, const char *where, PgmFunction *f,
                          PgmError *error)
{
  *out = NULL;
  f->inputs = get((size_t)n, sizeof *f->inputs);
  if (!f->inputs) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  f->n_inputs = n;
  PgmGather *g = plan(s, family, n, texts, where, f->inputs, error);
  if (!g) return error ? error->status : PGM_BAD_INPUT;
  if (!standardise(g, f) || !keep_standardisation(g, f)) {
    pgm_gather_close(g);
    return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  f->n_features = (int)g->n_features;
  *out = g;
  return PGM_OK;
}

PgmStatus pgm_gather_reopen(PgmGather **out, const PgmSession *s, int family, const PgmFunction *f, PgmError *error)
{
  *out = NULL;
  PgmGather *g = plan(s, family, f->n_inputs, f->inputs, "inference function", NULL, error);
  if (!g) return error ? error->status : PGM_BAD_INPUT;
  if (g->n_features + f->n_flags != f->n_features) {
    long have = g->n_features;
    pgm_gather_close(g);
    return pgm_fail(error, PGM_BAD_INPUT, "the inference function of %s was fitted with %d input entries, these data have %ld",
                    s->model->families[family].name, f->n_features - f->n_flags, have);
  }
  if (!flags_again(g, f, error)) {
    pgm_gather_close(g);
    return PGM_BAD_INPUT;
  }
  if (!keep_standardisation(g, f)) {
    pgm_gather_close(g);
    return pgm_fail(error, PGM_SYSTEM, "out of memory");
  }
  *out = g;
  return PGM_OK;
}

void pgm_gather_rows(const PgmGather *g, const long *rows, long first, long count, double *out)
{
  const PgmLayout *l = &g->s->layout[g->family];
  const long columns = g->n_features - g->n_flags;
  for (long r = 0; r < count; r++, out += g->n_features) {
    const long row = rows ? rows[r] : first + r;
    double *v = out;
    for (int i = 0; i < g->n_inputs; v += g->input[i].columns, i++) {
      double share = input_row(g, &g->input[i], row, v);
      for (int k = 0; k < g->n_flags; k++)
        if (g->flag[k].kind == F_ABSENT && g->flag[k].of == i) out[columns + k] = 1 - share;
    }
    for (long c = 0; c < columns; c++) out[c] = isnan(out[c]) ? 0 : (out[c] - g->center[c]) * g->inverse[c];
    for (int k = 0; k < g->n_flags; k++) {
      const Flag flag = g->flag[k];
      if (flag.kind == F_PIECE) out[columns + k] = l->piece ? l->piece[row_flat(g->s, g->family, row)] == flag.of : 0;
      if (flag.kind == F_PRODUCT) out[columns + k] = out[columns + flag.of] * out[flag.column];
    }
  }
}

/* ---- which inputs -------------------------------------------------------------------------------------------------------------------- */

void pgm_inputs_free(PgmInputs *in)
{
  for (int i = 0; i < in->n; i++) free(in->text[i]);
  if (in->text) free(in->text);
  *in = (PgmInputs){.n = -1};
}

static bool add_text(PgmInputs *in, char *text)
{
  char **more = realloc(in->text, (size_t)(in->n + 1) * sizeof *more);
  if (!more || !text) {
    free(text);
    return false;
  }
  in->text = more;
  in->text[in->n++] = text;
  return true;
}

/* "z=..." -> the family; with no name before '=': -1 and *rest the whole text. A '=' inside brackets belongs to a set. */
static const char *after_name(const char *text, char name[64])
{
  const char *c = text;
  while (isspace((unsigned char)*c)) c++;
  size_t n = 0;
  while ((isalnum((unsigned char)c[n]) || c[n] == '_') && n < 63) n++;
  memcpy(name, c, n);
  name[n] = 0;
  c += n;
  while (isspace((unsigned char)*c)) c++;
  if (n && *c == '=') return c + 1;
  name[0] = 0;
  return text;
}

static void local_names(const PgmModel *m, char *list, size_t size)
{
  list[0] = 0;
  for (int f = 0; f < m->n_families; f++)
    if (m->families[f].role == PGM_LOCAL) list_name(list, size, m->families[f].name);
  if (!list[0]) snprintf(list, size, "none");
}

static PgmStatus check_name(const PgmSession *s, const char *option, const char *text, const char *name, PgmError *error)
{
  char names[300];
  local_names(s->model, names, sizeof names);
  int f = find_family(s->model, name);
  if (f < 0 || s->model->families[f].role != PGM_LOCAL)
    return pgm_fail(error, PGM_BAD_INPUT, "%s %s: '%s' is not a local latent variable of the model (there are: %s)", option, text, name,
                    names);
  return PGM_OK;
}

/* "W" or "z=W" */
static bool window_width(const char *text, long *w)
{
  char *end;
  *w = strtol(text, &end, 10);
  while (isspace((unsigned char)*end)) end++;
  return end != text && !*end && *w >= 0 && *w <= 100000;
}

PgmStatus pgm_inputs_check(const PgmSession *s, const PgmFitOptions *o, PgmError *error)
{
  char name[64];
  for (int i = 0; i < o->n_inputs; i++) {
    const char *rest = after_name(o->inputs[i], name);
    if (rest == o->inputs[i])
      return pgm_fail(error, PGM_BAD_USAGE, "--inputs %s: NAME=REFERENCE,... expected, as in z=x[n],x[n-1]", o->inputs[i]);
    PgmStatus st = check_name(s, "--inputs", o->inputs[i], name, error);
    if (st) return st;
  }
  for (int i = 0; i < o->n_windows; i++) {
    long w;
    const char *rest = after_name(o->windows[i], name);
    if (!window_width(rest, &w))
      return pgm_fail(error, PGM_BAD_USAGE, "--window %s: a whole number W >= 0 expected, or NAME=W", o->windows[i]);
    if (rest != o->windows[i]) {
      PgmStatus st = check_name(s, "--window", o->windows[i], name, error);
      if (st) return st;
    }
  }
  return PGM_OK;
}

/* Splits at commas outside brackets. */
static bool split(const char *list, PgmInputs *in)
{
  int depth = 0;
  const char *begin = list;
  for (const char *c = list;; c++) {
    if (*c == '[' || *c == '(') depth++;
    if (*c == ']' || *c == ')') depth--;
    if (*c && (*c != ',' || depth > 0)) continue;
    while (isspace((unsigned char)*begin)) begin++;
    const char *end = c;
    while (end > begin && isspace((unsigned char)end[-1])) end--;
    if ((end > begin || *c) && !add_text(in, strndup(begin, (size_t)(end - begin)))) return false;
    if (!*c) return true;
    begin = c + 1;
  }
}

/* The reference with `shift` added in its last position that carries an index of the latent: "x[s,t]" by -2 is "x[s,t-2]". NULL text on no
 * memory; *moves false when no position carries one. */
static char *shifted(const PgmFamily *latent, const char *text, long shift, bool *moves)
{
  const char *open = strchr(text, '['), *begin = NULL, *end = NULL;
  *moves = false;
  if (!open) return strdup(text);
  const char *position = open + 1;
  int depth = 0;
  for (const char *c = open + 1; *c; c++) {
    if (*c == '[' || *c == '(') depth++;
    if ((*c == ',' || *c == ']') && depth == 0) { /* position..c is one index */
      for (const char *q = position; q < c; q++) {
        size_t n = 0;
        while (q + n < c && (isalnum((unsigned char)q[n]) || q[n] == '_')) n++;
        if (!n) continue;
        for (int k = 0; k < latent->n_index; k++)
          if (strlen(latent->index[k]) == n && !strncmp(latent->index[k], q, n) && !memchr(position, '[', (size_t)(c - position))) {
            begin = position;
            end = c;
            *moves = true;
          }
        q += n - 1;
      }
      position = c + 1;
      if (*c == ']') break;
    } else if (*c == ']' || *c == ')') {
      depth--;
    }
  }
  if (!*moves) return strdup(text);
  /* a trailing "+ 3" or "- 3" of the position joins the shift */
  const char *tail = end;
  while (tail > begin && (isdigit((unsigned char)tail[-1]) || isspace((unsigned char)tail[-1]))) tail--;
  if (tail > begin && tail < end && (tail[-1] == '+' || tail[-1] == '-')) {
    shift += (tail[-1] == '-' ? -1 : 1) * strtol(tail, NULL, 10);
    tail--;
  } else {
    tail = end;
  }
  while (tail > begin && isspace((unsigned char)tail[-1])) tail--;
  return shift ? text_of("%.*s%+ld%s", (int)(tail - text), text, shift, end) : text_of("%.*s%s", (int)(tail - text), text, end);
}

/* The window's references shifted by -w..w; those that do not carry an index of the latent, once. */
static bool widen(const PgmFamily *latent, const char *const *refs, long w, PgmInputs *in)
{
  for (; *refs; refs++) {
    bool moves = false;
    for (long k = -w; k <= w; k++) {
      char *text = shifted(latent, *refs, k, &moves);
      bool twice = false;
      for (int i = 0; text && i < in->n; i++) twice = twice || !strcmp(in->text[i], text);
      if (twice)
        free(text);
      else if (!add_text(in, text))
        return false;
      if (!moves) break;
    }
  }
  return true;
}

/* Can --window 1 make a function for this family? */
static bool window_works(const PgmSession *s, int family)
{
  static const char *const one = "1";
  PgmFitOptions o = pgm_fit_defaults();
  PgmInputs inputs;
  PgmGather *gather = NULL;
  PgmFunction *f = calloc(1, sizeof *f);
  o.windows = &one;
  o.n_windows = 1;
  bool works = f && pgm_inputs_find(s, &o, family, &inputs, NULL) == PGM_OK;
  if (works) {
    works = inputs.n > 0 && pgm_gather_open(&gather, s, family, inputs.n, inputs.text, inputs.where, f, NULL) == PGM_OK;
    pgm_inputs_free(&inputs);
  }
  pgm_gather_close(gather);
  pgm_function_free(f);
  return works;
}

void pgm_window_advice(const PgmSession *s, char *text, size_t size)
{
  const PgmModel *m = s->model;
  size_t used = 0;
  int locals = 0, named = 0;
  text[0] = '\0';
  for (int f = 0; f < m->n_families; f++) {
    const PgmAmortize *a = NULL;
    if (m->families[f].role != PGM_LOCAL) continue;
    locals++;
    for (int i = 0; i < m->n_amortize; i++)
      if (m->amortize[i].family == f) a = &m->amortize[i];
    if ((a && a->inputs) || used + 80 > size || !window_works(s, f)) continue;
    used += (size_t)snprintf(text + used, size - used, "%s--window %s=1", named++ ? " " : "", m->families[f].name);
  }
  if (named && named == locals) snprintf(text, size, "--window 1");
}

PgmStatus pgm_inputs_find(const PgmSession *s, const PgmFitOptions *o, int family, PgmInputs *out, PgmError *error)
{
  const PgmModel *m = s->model;
  const PgmAmortize *a = NULL;
  const char *name = m->families[family].name;
  char given[64];
  *out = (PgmInputs){.n = -1};
  for (int i = 0; i < m->n_amortize; i++)
    if (m->amortize[i].family == family) a = &m->amortize[i];
  for (int i = 0; i < o->n_inputs; i++) {
    const char *rest = after_name(o->inputs[i], given);
    if (strcmp(given, name) != 0) continue;
    out->n = 0;
    snprintf(out->where, sizeof out->where, "--inputs %s", o->inputs[i]);
    if (!split(rest, out)) return pgm_fail(error, PGM_SYSTEM, "out of memory");
    return PGM_OK;
  }
  const char *window = NULL; /* z=W before W, the last of each */
  for (int i = 0; i < o->n_windows; i++)
    if (after_name(o->windows[i], given) == o->windows[i]) window = window ? window : o->windows[i];
  for (int i = 0; i < o->n_windows; i++) {
    const char *rest = after_name(o->windows[i], given);
    if (rest != o->windows[i] && !strcmp(given, name)) window = rest;
  }
  if (window) {
    long w;
    if (!window_width(window, &w)) return pgm_fail(error, PGM_BAD_USAGE, "--window %s: a whole number expected", window);
    if (!a || !a->window || !a->window[0])
      return pgm_fail(error, PGM_BAD_INPUT, "--window %s: no observed or known variable stands in the factors of %s; use --inputs", window,
                      name);
    out->n = 0;
    snprintf(out->where, sizeof out->where, "--window %s", window);
    if (!widen(&m->families[family], a->window, w, out)) return pgm_fail(error, PGM_SYSTEM, "out of memory");
    return PGM_OK;
  }
  if (!a || !a->inputs) return PGM_OK;
  out->n = 0;
  out->free_scale = a->sd_inputs && !a->sd_inputs[0];
  snprintf(out->where, sizeof out->where, "%s", a->amortize ? "amortize" : m->name);
  for (const char *const *t = a->inputs; *t; t++)
    if (!add_text(out, strdup(*t))) return pgm_fail(error, PGM_SYSTEM, "out of memory");
  return PGM_OK;
}
