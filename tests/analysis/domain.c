/* domain.h. A recursive-descent reader that evaluates while it reads; names that nothing declares are bound and run over all numbers that
 * could matter. */
#include "domain.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BOUND = 3, REACH = 48 };

typedef struct {
  const Oracle *o;
  const LatentVerdict *v;
  const long *unit;
  const char *p;
  int n_bound;
  char bound[MAX_BOUND][40];
  long value[MAX_BOUND];
  bool absent;                          /* an index that is not whole, or an element that does not exist */
  const char *error;
} Reader;

static void skip(Reader *r) { while (isspace((unsigned char)*r->p)) r->p++; }

static bool take(Reader *r, const char *token)
{
  skip(r);
  size_t n = strlen(token);
  if (strncmp(r->p, token, n)) return false;
  r->p += n;
  return true;
}

static bool take_name(Reader *r, char *name)
{
  skip(r);
  int n = 0;
  if (!isalpha((unsigned char)*r->p) && *r->p != '_') return false;
  while (isalnum((unsigned char)*r->p) || *r->p == '_') {
    if (n < 39) name[n++] = *r->p;
    r->p++;
  }
  name[n] = 0;
  return true;
}

static void complain(Reader *r, const char *what)
{
  if (!r->error) r->error = arena_printf("%s at '%s'", what, r->p);
}

static int family_by_name(const Oracle *o, const char *name)
{
  for (int f = 0; f < o->m->families.n; f++)
    if (!strcmp(o->m->families.at[f].name, name)) return f;
  return -1;
}

/* Value of a plate variable: index texts are "n", "n+1", "n-1" or constants. */
static bool plate_value(const Reader *r, const char *name, long *value)
{
  if (oracle_size(r->o, name, value)) return false;     /* an index can be a constant: z[N] */
  for (int k = 0; k < r->v->index.n; k++) {
    const char *t = r->v->index.at[k];
    size_t n = strlen(name);
    if (strncmp(t, name, n) || (t[n] && t[n] != '+' && t[n] != '-')) continue;
    *value = r->unit[k] - (t[n] ? strtol(t + n, NULL, 10) : 0);
    return true;
  }
  return false;
}

static long sum(Reader *r);

static long primary(Reader *r)
{
  char name[40];
  long value;
  skip(r);
  if (take(r, "(")) {
    value = sum(r);
    if (!take(r, ")")) complain(r, "')' expected");
    return value;
  }
  if (take(r, "-")) return -primary(r);
  if (isdigit((unsigned char)*r->p)) {
    char *end;
    value = strtol(r->p, &end, 10);
    r->p = end;
    return value;
  }
  if (!take_name(r, name)) {
    complain(r, "a number or name expected");
    return 0;
  }
  if (plate_value(r, name, &value)) return value;
  if (!strcmp(name, "floor") && take(r, "(")) {         /* of a quotient of sizes */
    bool absent = r->absent;
    long a, b;
    a = primary(r);
    if (!take(r, "/")) complain(r, "'/' expected");
    b = primary(r);
    if (!take(r, ")")) complain(r, "')' expected");
    r->absent = absent;
    return b > 0 ? (a - ((a % b) + b) % b) / b : 0;
  }
  int f = family_by_name(r->o, name);
  if (f >= 0 && take(r, "[")) {         /* a lookup */
    long index[ORACLE_MAX_INDEX];
    int n = 0;
    do {
      index[n++] = sum(r);
    } while (n < ORACLE_MAX_INDEX && take(r, ","));
    if (!take(r, "]")) complain(r, "']' expected");
    int e = oracle_find(r->o, f, n, index);
    if (e < 0) {
      r->absent = true;
      return 0;
    }
    return (long)r->o->element[e].value;
  }
  if (oracle_size(r->o, name, &value)) return value;
  for (int k = 0; k < r->n_bound; k++)
    if (!strcmp(r->bound[k], name)) return r->value[k];
  if (f >= 0 || r->n_bound == MAX_BOUND) complain(r, "not an integer");
  else strcpy(r->bound[r->n_bound++], name);
  return 0;
}

static long product(Reader *r)
{
  long a = primary(r);
  for (;;) {
    if (take(r, "*")) a *= primary(r);
    else if (take(r, "/")) {
      long b = primary(r);
      if (!b || a % b) r->absent = true;
      else a /= b;
    } else return a;
  }
}

static long sum(Reader *r)
{
  long a = product(r);
  for (;;) {
    skip(r);
    if (r->p[0] == '+') r->p++, a += product(r);
    else if (r->p[0] == '-') r->p++, a -= product(r);
    else return a;
  }
}

static void add_named(Named *out, int element, long member)
{
  for (int i = 0; i < out->element.n; i++)
    if (out->element.at[i] == element) return;
  VEC_PUSH(out->element, element);
  VEC_PUSH(out->member, member);
}

/* One reading at the bound values that r holds: the elements it names, if the conditions hold. */
static void read_once(Reader *r, const char *text, int family, Named *out)
{
  long lo[ORACLE_MAX_INDEX], hi[ORACLE_MAX_INDEX], at[ORACLE_MAX_INDEX];
  char name[40];
  int n = 0, star = -1;
  bool holds = true;
  r->p = text;
  r->absent = false;
  take_name(r, name);
  if (take(r, "[")) {
    do {
      skip(r);
      if (*r->p == '*') {
        r->p++;
        oracle_extent(r->o, family, n, &lo[n], &hi[n]);
        if (star < 0) star = n;
      } else {
        lo[n] = hi[n] = sum(r);
        if (take(r, "..")) {
          hi[n] = sum(r);
          if (star < 0) star = n;
        }
      }
      n++;
    } while (n < ORACLE_MAX_INDEX && take(r, ","));
    if (take(r, "|")) {
      do {
        long a = sum(r);
        if (!take(r, "=")) complain(r, "'=' expected");
        holds = (a == sum(r)) && holds;
      } while (take(r, ","));
    }
    if (!take(r, "]")) complain(r, "']' expected");
  }
  skip(r);
  if (*r->p) complain(r, "the end expected");
  if (r->error || r->absent || !holds) return;
  for (int k = 0; k < n; k++) {
    if (hi[k] < lo[k]) return;
    at[k] = lo[k];
  }
  for (;;) {
    int e = oracle_find(r->o, family, n, at);
    if (e >= 0) add_named(out, e, r->n_bound ? r->value[0] : star >= 0 ? at[star] : 0);
    int k = n - 1;
    while (k >= 0 && at[k] == hi[k]) at[k] = lo[k], k--;
    if (k < 0) return;
    at[k]++;
  }
}

bool domain_named(const Oracle *o, const LatentVerdict *v, const long *unit, const char *text, Named *out, const char **error)
{
  Reader r = {.o = o, .v = v, .unit = unit, .p = text};
  char name[40];
  *out = (Named){0};
  if (!take_name(&r, name)) complain(&r, "a name expected");
  int family = family_by_name(o, name);
  if (!r.error && !*r.p && plate_value(&r, name, &out->value)) {
    out->bare = true;
    return true;
  }
  if (!r.error && family < 0) complain(&r, "no such variable");
  if (!r.error) read_once(&r, text, family, out);       /* finds the bound names too */
  if (r.n_bound && !r.error) {
    *out = (Named){0};
    for (int k = 0; k < r.n_bound; k++) r.value[k] = -REACH;
    for (;;) {
      read_once(&r, text, family, out);
      int k = r.n_bound - 1;
      while (k >= 0 && r.value[k] == REACH) r.value[k] = -REACH, k--;
      if (k < 0) break;
      r.value[k]++;
    }
  }
  *error = r.error;
  return !r.error;
}

bool domain_in_range(const Oracle *o, const LatentVerdict *v, const long *unit, const char **error)
{
  Reader r = {.o = o, .v = v, .unit = unit, .p = v->range};
  bool in = true;
  for (int k = 0; k < v->index.n && !r.error; k++) {
    long lo = sum(&r), hi = take(&r, "..") ? sum(&r) : lo;
    long step = take(&r, "step") ? primary(&r) : 1;
    in = in && unit[k] >= lo && unit[k] <= hi && (unit[k] - lo) % step == 0;
    if (k + 1 < v->index.n && !take(&r, ",")) complain(&r, "',' expected");
  }
  skip(&r);
  if (*r.p) complain(&r, "the end expected");
  *error = r.error;
  return in && !r.error;
}

bool domain_on_boundary(const Oracle *o, const LatentVerdict *v, const long *unit, const char **error)
{
  for (int i = 0; i < v->boundary.n; i++) {
    Reader r = {.o = o, .v = v, .unit = unit, .p = v->boundary.at[i]};
    bool in = true;
    do {
      long at = sum(&r);
      if (!take(&r, "=")) complain(&r, "'=' expected");
      long lo = sum(&r), hi = take(&r, "..") ? sum(&r) : lo;
      in = in && at >= lo && at <= hi;
    } while (take(&r, "&"));
    skip(&r);
    if (*r.p) complain(&r, "the end expected");
    *error = r.error;
    if (r.error) return false;
    if (in && !r.absent) return true;
  }
  *error = NULL;
  return false;
}
