/* Trees of members: see members.h. */
#include "members.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- paths --------------------------------------------------------------------------------------------------------------------------- */

/* The chain of one-argument lookups on the left of a set's condition, from the outermost: nodes of the lookups. 0: it is something else. */
static int chain_of(const PgmReference *r, int chain[PGM_MAX_LEVELS])
{
  int n = 0, at = r->left;
  while (r->node[at].kind == N_LOOKUP && r->node[at].n_args == 1 && n < PGM_MAX_LEVELS) {
    chain[n++] = at;
    at = r->node[at].args[0];
  }
  return r->node[at].kind == N_BOUND ? n : 0;
}

static bool is_bound(const PgmReference *r, int k)
{
  return r->position[k].kind == P_EXPR && r->node[r->position[k].lo].kind == N_BOUND;
}

/* Axes of the indices that lead from the group to a member, from the top; -1: an index of no axis. */
static int axes_of(const PgmSession *s, const PgmReference *r, int axis[PGM_MAX_LEVELS])
{
  const PgmFamily *fam = &s->model->families[r->family];
  int n = 0, chain[PGM_MAX_LEVELS];
  if (r->runs) {
    axis[0] = -1;
    return 1;
  }
  if (r->set) {
    const int links = chain_of(r, chain);
    for (int k = 0; k < links; k++) axis[n++] = s->model->families[r->node[chain[k]].family].axis[0];
    for (int k = 0; k < fam->n_index && !links; k++)
      if (is_bound(r, k)) axis[n++] = fam->axis[k];
  }
  for (int k = 0; k < fam->n_index && n < PGM_MAX_LEVELS; k++)
    if (r->position[k].kind != P_EXPR) axis[n++] = fam->axis[k];
  return n;
}

/* The values of these indices for one element (`bound`: the bound variable's, of a set). */
static bool path_of(const PgmSession *s, const PgmReference *r, long flat, long bound, long *path)
{
  const PgmFamily *fam = &s->model->families[r->family];
  long index[PGM_MAX_INDEX];
  int n = 0, chain[PGM_MAX_LEVELS];
  pgm_flat_position(s, r->family, flat, index);
  if (r->runs) {
    path[0] = flat;
    return true;
  }
  if (r->set) {
    const int links = chain_of(r, chain);
    for (int k = 0; k < links; k++)
      if (!pgm_index_value(s, r, r->node[chain[k]].args[0], (PgmScope){NULL, bound}, &path[n++])) return false;
    if (!links) path[n++] = bound;
  }
  for (int k = 0; k < fam->n_index && n < PGM_MAX_LEVELS; k++)
    if (r->position[k].kind != P_EXPR) path[n++] = index[k];
  return true;
}

int pgm_members_depth(const PgmSession *s, const PgmReference *r)
{
  int axis[PGM_MAX_LEVELS];
  return axes_of(s, r, axis);
}

/* The positions that select the group: those with an expression or a range (stars select nothing). */
static bool same_position(const PgmReference *r, const PgmReference *q, int k, int l)
{
  const PgmPosition *a = &r->position[k], *b = &q->position[l];
  return a->kind == b->kind && pgm_reference_same(r, a->lo, q, b->lo) && (a->kind != P_SLICE || pgm_reference_same(r, a->hi, q, b->hi));
}

/* Does the bound variable of a set stand in this position? */
static bool carries(const PgmReference *r, int k)
{
  return r->set && pgm_reference_mentions(r, r->position[k].lo, N_BOUND);
}

static bool same_stem(const PgmSession *s, const PgmReference *r, const PgmReference *q)
{
  const int n = s->model->families[r->family].n_index, m = s->model->families[q->family].n_index;
  int k = 0, l = 0;
  for (;;) {
    while (k < n && (r->position[k].kind == P_STAR || carries(r, k))) k++;
    while (l < m && (q->position[l].kind == P_STAR || carries(q, l))) l++;
    if (k == n || l == m) return k == n && l == m;
    if (!same_position(r, q, k++, l++)) return false;
  }
}

bool pgm_members_join(const PgmSession *s, const PgmReference *r, const PgmReference *q)
{
  int a[PGM_MAX_LEVELS], b[PGM_MAX_LEVELS], chain_r[PGM_MAX_LEVELS], chain_q[PGM_MAX_LEVELS];
  if (r->set != q->set || r->runs != q->runs || !same_stem(s, r, q)) return false;
  if (r->runs) return r->family == q->family; /* places of other variables are numbered otherwise */
  const int n = axes_of(s, r, a), m = axes_of(s, q, b);
  if (r->set) {
    const int links = chain_of(r, chain_r);
    if (!pgm_reference_same(r, r->right, q, q->right) || (links > 0) != (chain_of(q, chain_q) > 0)) return false;
    if (links ? r->node[chain_r[0]].family != q->node[chain_q[0]].family : !pgm_reference_same(r, r->left, q, q->left)) return false;
  }
  for (int k = 0; k < n && k < m; k++)
    if (a[k] < 0 || a[k] != b[k]) return false;
  return true;
}

/* ---- groups -------------------------------------------------------------------------------------------------------------------------- */

enum { KEY = 2 * PGM_MAX_INDEX + 1 };
typedef struct {
  long key[KEY], row;
} Row;

static int by_row_key(const void *a, const void *b)
{
  const Row *x = a, *y = b;
  for (int k = 0; k < KEY; k++)
    if (x->key[k] != y->key[k]) return x->key[k] < y->key[k] ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

/* What selects the group of a row; false where it cannot be evaluated. */
static bool row_key(const PgmSession *s, const PgmReference *r, int latent, long row, long key[KEY])
{
  long index[PGM_MAX_INDEX];
  int n = 0;
  memset(key, 0, KEY * sizeof *key);
  pgm_row_index(s, latent, row, index);
  if (r->runs) {
    key[0] = row;
    return true;
  }
  if (r->set) return pgm_index_value(s, r, r->right, (PgmScope){index, 0}, &key[n]);
  for (int k = 0; k < s->model->families[r->family].n_index; k++) {
    if (r->position[k].kind == P_STAR) continue;
    if (!pgm_position_range(s, r, k, (PgmScope){index, 0}, &key[n], &key[n + 1])) return false;
    n += 2;
  }
  return true;
}

/* Numbers the groups; *first gets a row of each. */
static bool find_groups(PgmMembers *m, const PgmSession *s, const PgmReference *r, int latent, long **first)
{
  Row *row = malloc((size_t)(m->rows + 1) * sizeof *row);
  long n = 0;
  *first = malloc((size_t)(m->rows + 1) * sizeof **first);
  m->group = malloc((size_t)(m->rows + 1) * sizeof *m->group);
  if (!row || !*first || !m->group) {
    free(row);
    return false;
  }
  for (long i = 0; i < m->rows; i++) {
    m->group[i] = -1;
    row[n].row = i;
    if (row_key(s, r, latent, i, row[n].key)) n++;
  }
  qsort(row, (size_t)n, sizeof *row, by_row_key);
  for (long i = 0; i < n; i++) {
    if (!i || memcmp(row[i].key, row[i - 1].key, sizeof row[i].key) != 0) (*first)[m->groups++] = row[i].row;
    m->group[row[i].row] = m->groups - 1;
  }
  free(row);
  return true;
}

/* ---- nodes --------------------------------------------------------------------------------------------------------------------------- */

/* An element of input `input` in a group, by its path. */
typedef struct {
  long path[1 + PGM_MAX_LEVELS], flat; /* path[0]: the group; unused places LONG_MIN, so that a node comes before what is below it */
  int input, depth;
} Record;

typedef struct {
  Record *at;
  long n, room;
} Records;

static int compare_paths(const long *a, const long *b, int n)
{
  for (int k = 0; k < n; k++)
    if (a[k] != b[k]) return a[k] < b[k] ? -1 : 1;
  return 0;
}

static int by_path(const void *a, const void *b)
{
  const Record *x = a, *y = b;
  const int c = compare_paths(x->path, y->path, 1 + PGM_MAX_LEVELS);
  return c ? c : x->input - y->input;
}

static bool record(Records *all, const PgmSession *s, const PgmReference *r, int input, int depth, long group, long flat, long bound)
{
  if (all->n == all->room) {
    const long room = all->room ? 2 * all->room : 1024;
    Record *more = realloc(all->at, (size_t)room * sizeof *more);
    if (!more) return false;
    all->at = more;
    all->room = room;
  }
  Record *to = &all->at[all->n];
  for (int k = 0; k <= PGM_MAX_LEVELS; k++) to->path[k] = LONG_MIN;
  to->path[0] = group;
  to->flat = flat;
  to->input = input;
  to->depth = depth;
  if (path_of(s, r, flat, bound, to->path + 1)) all->n++; /* a lookup that leads nowhere: no member */
  return true;
}

/* All elements of input `input`, group by group. */
static bool record_input(Records *all, const PgmMembers *m, const PgmSession *s, const PgmReference *r, int latent, int input, int depth,
                         const long *first)
{
  long n = 0, room = 0, *at = NULL;
  PgmMember *member = r->set ? pgm_reference_members(s, r, &n) : NULL;
  bool ok = !r->set || member;
  for (long g = 0; g < m->groups && ok; g++) {
    long index[PGM_MAX_INDEX], defined = 0;
    pgm_row_index(s, latent, first[g], index);
    if (r->set) {
      long key, a = 0, b = n;
      if (!pgm_index_value(s, r, r->right, (PgmScope){index, 0}, &key)) continue;
      while (a < b) { /* the first member with this key */
        const long mid = (a + b) / 2;
        if (member[mid].key < key)
          a = mid + 1;
        else
          b = mid;
      }
      for (; a < n && member[a].key == key && ok; a++) ok = record(all, s, r, input, depth, g, member[a].flat, member[a].bound);
      continue;
    }
    const long width = r->runs ? pgm_reference_along(s, r, latent, index, NULL) : pgm_reference_visit(s, r, index, NULL, &defined);
    if (width > room) {
      free(at);
      at = malloc((size_t)(room = 2 * width) * sizeof *at);
      if (!(ok = at != NULL)) break;
    }
    if (width > 0) {
      if (r->runs)
        pgm_reference_along(s, r, latent, index, at);
      else
        pgm_reference_visit(s, r, index, at, &defined);
    }
    for (long k = 0; k < width && ok; k++)
      if (at[k] >= 0) ok = record(all, s, r, input, depth, g, at[k], 0);
  }
  free(member);
  free(at);
  return ok;
}

static bool element_missing(const PgmSession *s, int family, long flat)
{
  const long width = s->layout[family].width;
  for (long e = 0; e < width; e++)
    if (!pgm_entry_missing(s, family, flat * width + e)) return false;
  return true;
}

/* Levels of the distinct prefixes of the records that make nodes (`makes`, sorted). paths[l]: (2 + l) longs per node of level l. */
static bool make_levels(PgmMembers *m, const Records *all, const bool *makes, int wide, long **paths)
{
  long count[PGM_MAX_LEVELS] = {0};
  for (int pass = 0; pass < 2; pass++) { /* count, then fill */
    long last[PGM_MAX_LEVELS] = {0};
    const Record *before = NULL;
    for (long i = 0; i < all->n; i++) {
      const Record *r = &all->at[i];
      if (!makes[i]) continue;
      for (int l = 0; l < m->n_levels && l * wide < r->depth; l++) {
        const int length = l + 1 < m->n_levels ? l + 2 : 1 + PGM_MAX_LEVELS;
        if (before && before->depth > l && !compare_paths(before->path, r->path, length)) continue;
        if (pass) memcpy(paths[l] + last[l] * (1 + PGM_MAX_LEVELS), r->path, (1 + PGM_MAX_LEVELS) * sizeof(long));
        last[l]++;
      }
      before = r;
    }
    for (int l = 0; l < m->n_levels && !pass; l++) {
      count[l] = last[l];
      m->level[l].nodes = count[l];
      paths[l] = malloc((size_t)(count[l] + 1) * (1 + PGM_MAX_LEVELS) * sizeof(long));
      m->level[l].begin = calloc((size_t)((l ? count[l - 1] : m->groups) + 1), sizeof(long));
      if (!paths[l] || !m->level[l].begin) return false;
    }
  }
  for (int l = 0; l < m->n_levels; l++) { /* both levels are sorted by path: one goes along with the other */
    const long parents = l ? count[l - 1] : m->groups;
    long child = 0;
    for (long p = 0; p < parents; p++) {
      const long group = p, *parent = l ? paths[l - 1] + p * (1 + PGM_MAX_LEVELS) : &group;
      m->level[l].begin[p] = child;
      while (child < count[l] && !compare_paths(paths[l] + child * (1 + PGM_MAX_LEVELS), parent, l + 1)) child++;
    }
    m->level[l].begin[parents] = child;
  }
  return true;
}

/* The node of level l with the path's first `length` places; -1: there is none. */
static long find_node(const PgmMembers *m, const long *paths, int l, const long *path, int length)
{
  long a = 0, b = m->level[l].nodes;
  while (a < b) {
    const long mid = (a + b) / 2;
    if (compare_paths(paths + mid * (1 + PGM_MAX_LEVELS), path, length) < 0)
      a = mid + 1;
    else
      b = mid;
  }
  return a < m->level[l].nodes && !compare_paths(paths + a * (1 + PGM_MAX_LEVELS), path, length) ? a : -1;
}

/* Of a running reference, the element that it leads to without a step; -1: there is none. */
static long own_step(const PgmSession *s, const PgmReference *r, const long *index)
{
  const int n = s->model->families[r->family].n_index;
  long at[PGM_MAX_INDEX];
  for (int k = 0; k < n; k++)
    if (!pgm_index_value(s, r, r->position[k].lo, (PgmScope){index, 0}, &at[k])) return -1;
  return pgm_flat_index(&s->layout[r->family], n, at);
}

/* Where rows stand in their slices: by the values of the row's indices along the slice's axes. An axis that the row lacks puts it at the end
 * for what comes before, at the beginning for what comes after: it sees everything. */
static bool find_places(PgmMembers *m, const PgmSession *s, const PgmReference *r, int latent, const long *paths)
{
  const PgmFamily *unit = &s->model->families[latent];
  int axis[PGM_MAX_LEVELS];
  const int n = axes_of(s, r, axis);
  m->before = malloc((size_t)(m->rows + 1) * sizeof *m->before);
  m->after = malloc((size_t)(m->rows + 1) * sizeof *m->after);
  if (!m->before || !m->after) return false;
  for (long row = 0; row < m->rows; row++) {
    const long g = m->group[row];
    long index[PGM_MAX_INDEX], own[PGM_MAX_LEVELS];
    bool placed = true;
    m->before[row] = m->after[row] = -1;
    if (g < 0) continue;
    pgm_row_index(s, latent, row, index);
    for (int k = 0; k < n && !r->runs; k++) {
      bool found = false;
      for (int j = 0; j < unit->n_index && axis[k] >= 0 && !found; j++)
        if (unit->axis[j] == axis[k]) own[k] = index[j], found = true;
      placed = placed && found;
    }
    if (r->runs) placed = (own[0] = own_step(s, r, index)) >= 0;
    const long begin = m->level[0].begin[g], end = m->level[0].begin[g + 1];
    if (begin == end) continue;
    long a = begin, b = end; /* the first member not before the row */
    while (placed && a < b) {
      const long mid = (a + b) / 2;
      if (compare_paths(paths + mid * (1 + PGM_MAX_LEVELS) + 1, own, n) < 0)
        a = mid + 1;
      else
        b = mid;
    }
    const bool at = placed && a < end && !compare_paths(paths + a * (1 + PGM_MAX_LEVELS) + 1, own, n);
    m->after[row] = !placed ? begin : a < end ? a : -1;
    m->before[row] = !placed ? end - 1 : at ? a : a > begin ? a - 1 : -1;
  }
  return true;
}

PgmStatus pgm_members_open(PgmMembers *out, const PgmSession *s, int latent, int n, const PgmReference *const *refs, bool slice,
                           PgmError *error)
{
  PgmMembers *m = out;
  Records all = {0};
  long *first = NULL, *paths[PGM_MAX_LEVELS] = {NULL};
  bool *makes = NULL, observed = false;
  int depth[32] = {0}, place[32] = {0};
  *m = (PgmMembers){.rows = s->layout[latent].defined};
  if (n > 32) return pgm_fail(error, PGM_BAD_INPUT, "a set of tuples of more than 32 variables");
  for (int i = 0; i < n; i++) {
    depth[i] = pgm_members_depth(s, refs[i]);
    m->n_levels = slice ? 1 : depth[i] > m->n_levels ? depth[i] : m->n_levels;
    observed = observed || s->model->families[refs[i]->family].role == PGM_OBSERVED;
  }
  bool ok = find_groups(m, s, refs[0], latent, &first);
  for (int i = 0; i < n && ok; i++) {
    place[i] = m->level[slice ? 0 : depth[i] - 1].n_inputs++;
    ok = record_input(&all, m, s, refs[i], latent, i, depth[i], first);
  }
  if (ok) {
    if (all.n) qsort(all.at, (size_t)all.n, sizeof *all.at, by_path);
    ok = (makes = malloc((size_t)all.n + 1)) != NULL;
  }
  for (long i = 0; i < all.n && ok; i++) {
    const int family = refs[all.at[i].input]->family;
    makes[i] = slice || !observed || (s->model->families[family].role == PGM_OBSERVED && !element_missing(s, family, all.at[i].flat));
  }
  ok = ok && make_levels(m, &all, makes, slice ? 0 : 1, paths);
  for (int l = 0; l < m->n_levels && ok; l++) {
    const long size = m->level[l].nodes * m->level[l].n_inputs;
    if (!(ok = (m->level[l].at = malloc((size_t)(size + 1) * sizeof(long))) != NULL)) break;
    for (long i = 0; i < size; i++) m->level[l].at[i] = -1;
  }
  for (long i = 0; i < all.n && ok; i++) {
    const Record *r = &all.at[i];
    const int l = slice ? 0 : r->depth - 1;
    const long node = find_node(m, paths[l], l, r->path, slice ? 1 + PGM_MAX_LEVELS : 1 + r->depth);
    if (node >= 0) m->level[l].at[node * m->level[l].n_inputs + place[r->input]] = r->flat;
  }
  if (ok && slice) ok = find_places(m, s, refs[0], latent, paths[0]);
  for (int l = 0; l < PGM_MAX_LEVELS; l++) free(paths[l]);
  free(all.at);
  free(makes);
  free(first);
  if (ok) return PGM_OK;
  pgm_members_close(m);
  return pgm_fail(error, PGM_SYSTEM, "out of memory");
}

void pgm_members_close(PgmMembers *m)
{
  for (int l = 0; l < PGM_MAX_LEVELS; l++) {
    free(m->level[l].begin);
    free(m->level[l].at);
  }
  free(m->group);
  free(m->before);
  free(m->after);
  *m = (PgmMembers){0};
}
