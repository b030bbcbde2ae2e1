/* Tree -> Model (resolve.h). The only files that know both are this one and the three beside it (resolver.h).
 *
 * Order of statements means nothing, so there are passes: names first, then types of what says its type, ranges of plates, bounds, and
 * then the statements. A `let` without a type is resolved when somebody needs its type. What is checked over several statements together
 * (ranges of references, elements defined twice, cycles) is in wellformed.c. */
#include "resolve.h"
#include "resolver.h"
#include "recurrence.h"
#include "dist.h"
#include "func.h"
#include "habit.h"

#include <string.h>

#define MAX_NEST 6 /* nested plates, and positions of an index: PGM_MAX_INDEX of the runtime */

/* ---- names of families ----------------------------------------------------------------------------------------------------- */

static int name_slot(const Resolver *r, Name name)
{
  unsigned i = (unsigned)(((uintptr_t)name >> 4) * 0x9e3779b97f4a7c15u >> 32) & (unsigned)(r->names.size - 1);
  while (r->names.name[i] && r->names.name[i] != name) i = (i + 1) & (unsigned)(r->names.size - 1);
  return (int)i;
}

int family_find(const Resolver *r, Name name)
{
  if (!r->names.size) return -1;
  int i = name_slot(r, name);
  return r->names.name[i] ? r->names.family[i] : -1;
}

static void family_enter(Resolver *r, Name name, int family)
{
  if (2 * (r->names.used + 1) > r->names.size) {
    Name *name_before = r->names.name;
    int *family_before = r->names.family, n = r->names.size;
    r->names.size = n ? 2 * n : 64;
    r->names.name = NEW_ARRAY(Name, r->names.size);
    r->names.family = NEW_ARRAY(int, r->names.size);
    for (int i = 0; i < n; i++) {
      if (!name_before[i]) continue;
      int k = name_slot(r, name_before[i]);
      r->names.name[k] = name_before[i];
      r->names.family[k] = family_before[i];
    }
  }
  int i = name_slot(r, name);
  r->names.name[i] = name;
  r->names.family[i] = family;
  r->names.used++;
}

/* ---- first pass: plates, statements, families ------------------------------------------------------------------------------ */

static bool mentions_name(const AExpr *e, Name name)
{
  if (!e) return false;
  if (e->kind == A_NAME && e->name == name) return true;
  for (int i = 0; i < e->n; i++)
    if (mentions_name(e->args[i], name)) return true;
  return false;
}

/* Does the index of a definition carry the variable of an enclosing plate? */
static bool index_runs(const Resolver *r, const AStmt *s, const Block *block)
{
  for (; block; block = block->up) {
    if (block->plate < 0) continue;
    Name v = r->m->vars.at[r->m->plates.at[block->plate].var].name;
    for (int i = 0; i < s->index.n; i++)
      if (mentions_name(s->index.at[i], v)) return true;
  }
  return false;
}

static Role role_of(const Resolver *r, const AStmt *s, const Block *block)
{
  switch (s->role) {
  case ST_INPUT:
    return ROLE_INPUT;
  case ST_OBSERVED:
    return ROLE_OBSERVED;
  case ST_PARAM:
    return ROLE_PARAM;
  case ST_LET:
    return ROLE_LET;
  default:
    return s->is_marginal ? ROLE_MARGINAL : s->is_global || !index_runs(r, s, block) ? ROLE_GLOBAL : ROLE_LOCAL;
  }
}

const char *role_text(Role role)
{
  static const char *const text[] = {
      "an input", "a latent variable", "a latent variable", "a marginal latent variable", "observed", "a param", "a let"};
  return text[role];
}

/* One more statement of a family that is there. False when the two do not go together. */
static bool join_family(Resolver *r, int family, const AStmt *s, Role role)
{
  Family *f = &r->m->families.at[family];
  const AStmt *first = r->stmts.at[f->statements[0]].ast;
  bool fine = true;
  if (f->n_index == 0 && s->index.n == 0) {
    diag_error(s->name_span, NULL, "'%s' is defined twice", s->name);
    fine = false;
  } else if (s->index.n != f->n_index) {
    diag_error(s->target_span, NULL, "'%s' has %d %s elsewhere and %d here", s->name, f->n_index, f->n_index == 1 ? "index" : "indices",
               s->index.n);
    fine = false;
  } else if (role != f->role) {
    bool data = (role == ROLE_INPUT || role == ROLE_OBSERVED) && (f->role == ROLE_INPUT || f->role == ROLE_OBSERVED);
    bool latent = (role == ROLE_GLOBAL || role == ROLE_LOCAL) && (f->role == ROLE_GLOBAL || f->role == ROLE_LOCAL) &&
                  s->is_global == first->is_global;
    if (data) {
      f->role = ROLE_OBSERVED;
    } else if (latent) {
      f->role = ROLE_LOCAL;
    } else if (role <= ROLE_LOCAL && f->role <= ROLE_LOCAL && role && f->role) {
      diag_error(s->name_span, "write 'global' in all of them or in none", "'%s' is a global family elsewhere, and a local one here",
                 s->name);
      fine = false;
    } else {
      diag_error(s->name_span,
                 role == ROLE_INPUT && f->role == ROLE_LET ? arena_printf("write: let %s = ...", source_slice(s->target_span)) : NULL,
                 "'%s' is %s elsewhere, and %s here", s->name, role_text(f->role), role_text(role));
      fine = false;
    }
  } else if (role == ROLE_GLOBAL && s->is_global != first->is_global && (index_runs(r, s, r->block) || s->is_global)) {
    diag_error(s->name_span, "write 'global' in all of them or in none", "'%s' is declared both with and without 'global'", s->name);
    fine = false;
  }
  if (!fine) diag_note(first->target_span, "the first definition is here");
  return fine;
}

static void declare(Resolver *r, const AStmt *s, Block *block, int stmt)
{
  Model *m = r->m;
  Role role = role_of(r, s, block);
  bool block_let = s->role == ST_LET && s->index.n == 0 && block->plate >= 0;
  r->block = block;
  int family = block_let ? find_block_let(r, s->name) : family_find(r, s->name);
  if (block_let && family >= 0) {
    diag_error(s->name_span, NULL, "'%s' is defined twice", s->name);
    diag_note(m->families.at[family].span, "the first definition is here");
    family = -1;
  }
  if (family < 0) {
    family = m->families.n;
    VEC_PUSH(m->families, (Family){.name = s->name, .span = s->name_span, .role = role, .n_index = s->index.n, .block_let = block_let});
    VEC_PUSH(r->families, (FamilyWork){0});
    if (block_let)
      VEC_PUSH(block->lets, family);
    else
      family_enter(r, s->name, family);
  } else if (!join_family(r, family, s, role)) {
    r->stmts.at[stmt].damaged = true;
    m->stmts.at[stmt].family = family;
    return;
  }
  Family *f = &m->families.at[family];
  int *list = NEW_ARRAY(int, f->n_statements + 1);
  if (f->n_statements) memcpy(list, f->statements, sizeof *list * (size_t)f->n_statements);
  list[f->n_statements++] = stmt;
  f->statements = list;
  if (s->type && !r->families.at[family].type) {
    r->families.at[family].type = s->type;
    r->families.at[family].type_block = block;
    f->declared_type = true;
  }
  m->stmts.at[stmt].family = family;
}

/* normal(0, 1), where a latent or observed variable has a value */
static bool is_distribution_call(const AExpr *e)
{
  return e->kind == A_CALL && dist_find(e->name) >= 0 && func_find(e->name) < 0;
}

static void check_form(const AStmt *s)
{
  static const char *const words[] = {
      [ST_INPUT] = "input", [ST_LATENT] = "latent", [ST_OBSERVED] = "observed", [ST_PARAM] = "param", [ST_LET] = "let"};
  const char *target = source_slice(s->target_span), *word = words[s->role];
  if (s->role == ST_INPUT && s->dist)
    diag_error(s->dist->span, arena_printf("write: observed %s ~ ...", target), "an input is known and has no distribution");
  if ((s->role == ST_LATENT || s->role == ST_OBSERVED) && !s->dist && !s->value)
    diag_error(((Span){s->span.end, s->span.end}), s->role == ST_LATENT ? "~ flat() is the improper uniform distribution" : NULL,
               s->role == ST_LATENT ? "a latent variable needs a distribution: ~ ..." : "an observed variable needs a distribution: ~ ...");
  if (s->role == ST_LET && !s->value && !s->dist) diag_error(((Span){s->span.end, s->span.end}), NULL, "a let needs its value: = ...");
  if (s->role == ST_LET && s->dist)
    diag_error(s->dist->span, arena_printf("write: latent %s ~ ...", target), "a let is deterministic and has no distribution");
  if (s->value && is_distribution_call(s->value)) {
    bool random = s->role == ST_LATENT || s->role == ST_OBSERVED || s->role == ST_PARAM;
    diag_error(s->value->span, arena_printf("write: %s %s ~ %s", random ? word : "latent", target, source_slice(s->value->span)),
               "a distribution follows '~', not '='");
  } else if (s->value && (s->role == ST_LATENT || s->role == ST_OBSERVED || s->role == ST_PARAM)) {
    diag_error(s->value->span,
               s->role == ST_PARAM ? arena_printf("write: input %s = ...", target)
                                   : arena_printf("write: let %s = ... or: input %s = ...", target, target),
               "'%s' takes no value", word);
  }
}

static void collect(Resolver *r, const AStmtList *list, Block *block, int depth)
{
  Model *m = r->m;
  for (int i = 0; i < list->n; i++) {
    const AStmt *s = list->at[i];
    if (s->kind == AS_PLATE) {
      int plate = m->plates.n, var = m->vars.n;
      VEC_PUSH(m->vars, (Var){.name = s->name, .kind = VAR_PLATE, .plate = plate, .span = s->name_span});
      VEC_PUSH(m->plates, (Plate){.parent = block->plate, .var = var, .span = s->span});
      VEC_PUSH(r->plates, s);
      VEC_PUSH(r->plate_damaged, !s->lo);
      Block *inner = NEW(Block);
      inner->up = block;
      inner->plate = plate;
      VEC_PUSH(r->plate_blocks, inner);
      if (depth == MAX_NEST) {
        diag_error(s->span, NULL, "plates nest at most %d deep", MAX_NEST);
        continue;
      }
      collect(r, &s->body, inner, depth + 1);
      continue;
    }
    int stmt = m->stmts.n;
    StmtKind kind = s->kind == AS_FACTOR ? ST_FACTOR : s->kind == AS_AMORTIZE ? ST_AMORTIZE : s->role;
    VEC_PUSH(
        m->stmts,
        (Stmt){
            .kind = kind, .span = s->span, .plate = block->plate, .family = -1, .is_global = s->is_global, .is_marginal = s->is_marginal});
    VEC_PUSH(r->stmts, (StmtWork){.ast = s, .block = block});
    if (s->kind != AS_DECLARATION) continue;
    int errors = diag_errors();
    check_form(s);
    declare(r, s, block, stmt);
    if (diag_errors() > errors) r->stmts.at[stmt].damaged = true;
  }
}

/* Variables of plates and lets of blocks may not hide other names. */
static void check_hiding(Resolver *r)
{
  Model *m = r->m;
  for (int i = 0; i < m->plates.n; i++) {
    const Var *v = &m->vars.at[m->plates.at[i].var];
    int f = family_find(r, v->name);
    if (f >= 0) {
      diag_error(v->span, "choose another name", "the variable of the plate hides '%s'", v->name);
      diag_note(m->families.at[f].span, "'%s' is defined here", v->name);
      r->plate_damaged.at[i] = true;
      continue;
    }
    for (int p = m->plates.at[i].parent; p >= 0; p = m->plates.at[p].parent) {
      const Var *outer = &m->vars.at[m->plates.at[p].var];
      if (outer->name != v->name) continue;
      diag_error(v->span, "choose another name", "the variable of the plate hides that of an enclosing plate");
      diag_note(outer->span, "the outer '%s' is here", v->name);
      r->plate_damaged.at[i] = true;
      break;
    }
  }
  for (int i = 0; i < m->families.n; i++) {
    const Family *f = &m->families.at[i];
    if (!f->block_let) continue;
    int g = family_find(r, f->name);
    r->block = r->stmts.at[f->statements[0]].block;
    if (g >= 0) {
      diag_error(f->span, "choose another name", "this let hides '%s'", f->name);
      diag_note(m->families.at[g].span, "'%s' is defined here", f->name);
    } else if (find_var(r, f->name) >= 0) {
      diag_error(f->span, "choose another name", "this let hides the variable of a plate");
    }
  }
}

/* ---- types ----------------------------------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  TypeKind kind;
  int dims;
  bool bounds;
} types[] = {
#define TYPE(name, kind, dimensions, bounds, description) {#name, TY_##kind, dimensions, bounds},
#include "word.def"
};
enum { N_TYPES = sizeof types / sizeof *types };

/* Something else is resolved in between: its place in the blocks, no reductions around it. */
typedef struct {
  Block *block;
  int visible;
  bool in_index, in_condition;
  Span at;
} Context;

static Context enter(Resolver *r, Block *block)
{
  Context c = {r->block, r->visible_reductions, r->in_index, r->in_condition, r->at};
  r->block = block;
  r->visible_reductions = r->reductions.n;
  r->in_index = r->in_condition = false;
  return c;
}

static void leave(Resolver *r, Context c)
{
  r->block = c.block;
  r->visible_reductions = c.visible;
  r->in_index = c.in_index;
  r->in_condition = c.in_condition;
  r->at = c.at;
}

static bool resolve_shape(Resolver *r, const AType *a, Type *out)
{
  int k = 0;
  while (k < N_TYPES && strcmp(types[k].name, a->name)) k++;
  if (k == N_TYPES) {
    const char *names[N_TYPES], *hint = habit_type(a->name);
    for (int i = 0; i < N_TYPES; i++) names[i] = types[i].name;
    const char *near = diag_nearest(a->name, names, N_TYPES);
    if (!hint && near) hint = arena_printf("did you mean '%s'?", near);
    diag_error(a->name_span, hint, "there is no type '%s'", a->name);
    return false;
  }
  out->kind = types[k].kind;
  if (a->dims.n != types[k].dims) {
    const char *hint = types[k].dims == 0   ? "several numbers are a vector[K], or an indexed family in a plate"
                       : types[k].dims == 1 ? arena_printf("%s[K]", a->name)
                                            : arena_printf("%s[R, C]", a->name);
    diag_error(a->span, hint, types[k].dims ? "'%s' takes %d %s, not %d" : "'%s' takes no dimensions", a->name, types[k].dims,
               types[k].dims == 1 ? "dimension" : "dimensions", a->dims.n);
    return false;
  }
  if ((a->lower || a->upper) && !types[k].bounds) {
    diag_error(a->span, NULL, "'%s' takes no bounds", a->name);
    return false;
  }
  bool fine = true;
  for (int i = 0; i < a->dims.n; i++) {
    long value;
    bool before = r->in_index;
    r->in_index = true; /* integer lets mean their definition */
    MExpr *d = resolve_int(r, a->dims.at[i], "a dimension");
    r->in_index = before;
    if (d && (!expr_only_known(r, d) || mexpr_has_var(d))) {
      diag_error(d->span, NULL, "a dimension depends on inputs only");
      note_random(r, d);
      d = NULL;
    }
    if (d && mexpr_const_int(d, &value) && value < 0) {
      diag_error(d->span, NULL, "a dimension of %ld is negative", value);
      d = NULL;
    }
    if (d) mark_sizes(r, d);
    fine = fine && d;
    out->dim[i] = d;
  }
  if (type_rank(out->kind) == 2 && types[k].dims == 1) out->dim[1] = out->dim[0];
  return fine;
}

/* A bound is a scalar, or has the shape of what it bounds. */
static MExpr *resolve_bound(Resolver *r, const AExpr *a, const Type *t)
{
  MExpr *e = a ? resolve_expr(r, a) : NULL;
  if (!e) return NULL;
  int rank = type_rank(e->type.kind);
  if (t->kind == TY_INT && e->type.kind != TY_INT) {
    diag_error(e->span, NULL, "a bound of an int is a whole number; this is %s", shape_text(r, &e->type));
    return NULL;
  }
  if (rank && (rank != type_rank(t->kind) || !same_length(r, e->type.dim[0], t->dim[0]))) {
    diag_error(e->span, NULL, "a bound of %s is a scalar or has its shape; this is %s", shape_text(r, t), shape_text(r, &e->type));
    return NULL;
  }
  return e;
}

static bool resolve_bounds(Resolver *r, const AType *a, Type *t)
{
  double lo, hi;
  t->lower = resolve_bound(r, a->lower, t);
  t->upper = resolve_bound(r, a->upper, t);
  if ((a->lower && !t->lower) || (a->upper && !t->upper)) return false;
  if (t->kind == TY_INT && t->lower) mark_sizes(r, t->lower);
  if (t->kind == TY_INT && t->upper) mark_sizes(r, t->upper);
  if (t->lower && t->upper && mexpr_const_real(t->lower, &lo) && mexpr_const_real(t->upper, &hi) &&
      (lo > hi || (lo == hi && t->kind != TY_INT))) {
    diag_error(a->span, NULL, "no number lies between %g and %g", lo, hi);
    return false;
  }
  return true;
}

static bool resolve_stmt(Resolver *r, int stmt);

/* int and real go together, otherwise the kinds are the same. */
static bool same_kind(const Type *a, const Type *b)
{
  return type_rank(a->kind) == type_rank(b->kind) && (!type_rank(a->kind) || a->kind == b->kind);
}

bool resolve_lets(Resolver *r, int family)
{
  const Family *f = &r->m->families.at[family];
  bool fine = true;
  if (r->level > MAX_LEVEL) {
    if (!r->chain_reported)
      diag_error(f->span, "write them in the order in which they use each other", "this let stands at the end of too long a chain of lets");
    r->chain_reported = true;
    return false;
  }
  r->level += LET_LEVELS;
  for (int i = 0; i < f->n_statements; i++) fine = resolve_stmt(r, f->statements[i]) && fine;
  r->level -= LET_LEVELS;
  return fine;
}

/* Without a type: int for a discrete distribution, else real; a let has the type of its value. */
static bool infer_type(Resolver *r, int family)
{
  Family *f = &r->m->families.at[family];
  f->type.kind = TY_REAL;
  if (f->role == ROLE_LET) {
    if (!resolve_lets(r, family)) return false;
    const Type *t = NULL;
    for (int i = 0; i < f->n_statements; i++) {
      const MExpr *value = r->m->stmts.at[f->statements[i]].value;
      if (r->stmts.at[f->statements[i]].state == WORK_BUSY) continue; /* a recurrence: its other definitions tell, or it is real */
      if (t && !same_kind(t, &value->type)) {
        diag_error(value->span, NULL, "'%s' is %s elsewhere, and %s here", f->name, shape_text(r, t), shape_text(r, &value->type));
        return false;
      }
      if (!t) t = &value->type;
    }
    if (!t) return true;
    f->type = *t;
    if (type_rank(t->kind) == 0 && f->n_statements > 1) f->type.kind = TY_REAL;
    return true;
  }
  for (int i = 0; i < f->n_statements; i++) {
    const AStmt *s = r->stmts.at[f->statements[i]].ast;
    int d = s->dist ? dist_find(s->dist->name) : -1;
    if (d < 0) continue;
    if (dist_info[d].shape == DSH_MULTIVARIATE) {
      const char *type = dist_info[d].support == SUP_SIMPLEX         ? "simplex[K]"
                         : dist_info[d].support == SUP_CHOLESKY_CORR ? "cholesky_factor_corr[K]"
                         : dist_info[d].support == SUP_COV           ? "cov_matrix[K]"
                                                                     : "vector[K]";
      diag_error(s->target_span, arena_printf("declare it as %s : %s", source_slice(s->target_span), type),
                 "%s needs the type of its variable", dist_info[d].name);
      return false;
    }
    if (dist_info[d].kind == DK_DISCRETE) f->type.kind = TY_INT;
    break;
  }
  return true;
}

const Type *family_type(Resolver *r, int family)
{
  FamilyWork *w = &r->families.at[family];
  Family *f = &r->m->families.at[family];
  if (w->typed == WORK_BUSY) {
    if (w->type) { /* a dimension that needs the family itself */
      if (!w->damaged) diag_error(w->type->span, NULL, "the type of '%s' depends on itself", f->name);
      w->damaged = true;
      return NULL;
    }
    w->cyclic = !f->n_index;
    return &f->type; /* a let whose type is being found */
  }
  if (w->typed == WORK_NEW) {
    w->typed = WORK_BUSY;
    Context c = enter(r, w->type ? w->type_block : r->block);
    bool fine = w->type ? resolve_shape(r, w->type, &f->type) : infer_type(r, family);
    leave(r, c);
    w = &r->families.at[family];
    if (!fine) w->damaged = true;
    w->typed = WORK_DONE;
  }
  return w->damaged ? NULL : &f->type;
}

/* ---- statements ------------------------------------------------------------------------------------------------------------ */

/* The index of a definition: every enclosing plate's variable once, bare or with a constant offset; else integer expressions of inputs. */
static bool definition_index(Resolver *r, Stmt *s, const StmtWork *w)
{
  const AStmt *a = w->ast;
  int chain[MAX_NEST], n = model_plate_chain(r->m, s->plate, chain, MAX_NEST), errors = diag_errors();
  bool seen[MAX_NEST] = {false}, fine = true;
  s->n_index = a->index.n;
  s->index = NEW_ARRAY(Index, s->n_index);
  if (s->n_index > MAX_NEST) {
    diag_error(a->target_span, NULL, "a family has at most %d indices", MAX_NEST);
    return false;
  }
  for (int i = 0; i < s->n_index; i++) {
    const AExpr *e = a->index.at[i];
    Index *index = &s->index[i];
    if (e->kind == A_SLICE) {
      diag_error(e->span, arena_printf("a range is a plate: plate k in %s { ... %s[k] ... }", source_slice(e->span), a->name),
                 "a definition has no slice");
      fine = false;
      continue;
    }
    r->in_definition = true;
    const bool resolved = resolve_index(r, e, index);
    r->in_definition = false;
    if (!resolved) {
      fine = false;
      continue;
    }
    if (!mexpr_has_var(index->expr)) {
      if (!expr_only_known(r, index->expr)) {
        diag_error(e->span, NULL, "the index of a definition is made of plate variables and inputs");
        note_random(r, index->expr);
        fine = false;
      }
      continue;
    }
    const Affine *f = &index->affine;
    if (index->kind != IX_AFFINE || f->n != 1 || f->term[0].coef != 1) {
      diag_error(e->span, NULL, "the index of a definition is a plate variable, bare or with a constant offset");
      fine = false;
      continue;
    }
    for (int k = 0; k < n; k++) {
      if (r->m->plates.at[chain[k]].var != f->term[0].id) continue;
      if (seen[k]) {
        diag_error(e->span, NULL, "the index of a definition has '%s' twice", r->m->vars.at[f->term[0].id].name);
        fine = false;
      }
      seen[k] = true;
    }
  }
  if (!fine || diag_errors() > errors) return false;
  if (s->kind == ST_LET && s->n_index == 0) return true;
  StrBuf index = {0};
  bool missing = false;
  for (int k = 0; k < n; k++) {
    if (!seen[k] && r->plate_damaged.at[chain[k]]) return false; /* the plate itself is broken */
    missing = missing || !seen[k];
    sb_printf(&index, "%s%s", k ? ", " : "", r->m->vars.at[r->m->plates.at[chain[k]].var].name);
  }
  if (!missing) return true;
  for (int k = 0; k < n; k++) {
    if (seen[k]) continue;
    Name v = r->m->vars.at[r->m->plates.at[chain[k]].var].name;
    diag_error(a->target_span,
               s->n_index ? arena_printf("its index has the variable of every enclosing plate: %s[%s]", a->name, sb_text(&index))
                          : arena_printf("write: %s[%s], or move it out of the plate", a->name, sb_text(&index)),
               "'%s' is inside the plate of '%s', but its index has no '%s'", a->name, v, v);
    break;
  }
  return false;
}

/* Value of type `from` for a variable of type `to`. */
static bool assignable(Resolver *r, const MExpr *value, const Type *to, const char *what)
{
  const Type *from = &value->type;
  int rank = type_rank(to->kind);
  bool fine = rank == type_rank(from->kind);
  if (fine && rank == 0) fine = to->kind == TY_REAL || from->kind == TY_INT;
  if (fine && rank == 1) fine = (to->kind == TY_ROW_VECTOR) == (from->kind == TY_ROW_VECTOR);
  for (int i = 0; fine && i < rank; i++) fine = same_length(r, from->dim[i], to->dim[i]);
  if (fine) return true;
  const char *hint = NULL;
  if (rank == 1 && type_rank(from->kind) == 0)
    hint = arena_printf("write: rep_vector(%s, %s)", mexpr_text(r->m, value), mexpr_text(r->m, to->dim[0]));
  diag_error(value->span, hint, "%s is %s; this is %s", what, shape_text(r, to), shape_text(r, from));
  note_operand(r, value);
  return false;
}

static bool check_default(Resolver *r, const MExpr *value, const Type *t)
{
  double v, lo, hi;
  if (!expr_only_known(r, value)) {
    diag_error(value->span, "a value computed from other variables: let", "the default of an input depends on inputs only");
    note_random(r, value);
    return false;
  }
  if (!mexpr_const_real(value, &v)) return true;
  if (t->lower && mexpr_const_real(t->lower, &lo) && v < lo) {
    diag_error(value->span, NULL, "the default %g is below its lower bound %g", v, lo);
    return false;
  }
  if (t->upper && mexpr_const_real(t->upper, &hi) && v > hi) {
    diag_error(value->span, NULL, "the default %g is above its upper bound %g", v, hi);
    return false;
  }
  return true;
}

/* The type of a statement is its family's; the bounds are its own, since they may mention its plates. */
static bool statement_type(Resolver *r, Stmt *s, const StmtWork *w)
{
  const Family *f = &r->m->families.at[s->family];
  const AType *a = w->ast->type;
  const Type *t = family_type(r, s->family);
  if (!t) return false;
  s->type = *t;
  if (!a) {
    if (!mexpr_has_var(t->lower) && !mexpr_has_var(t->upper)) return true;
    diag_error(w->ast->target_span, NULL, "the bounds of '%s' depend on a plate: repeat its type here", f->name);
    return false;
  }
  Type own = {0};
  if (a == r->families.at[s->family].type)
    own = *t;
  else if (!resolve_shape(r, a, &own) || !resolve_bounds(r, a, &own))
    return false;
  s->type = own;
  if (strcmp(type_text(r->m, &own), type_text(r->m, t))) {
    diag_error(a->span, NULL, "'%s' has the type %s elsewhere, and %s here", f->name, type_text(r->m, t), type_text(r->m, &own));
    diag_note(r->families.at[s->family].type->span, "the other type is here");
    return false;
  }
  return true;
}

static bool resolve_declaration(Resolver *r, int stmt)
{
  Stmt *s = &r->m->stmts.at[stmt];
  const StmtWork *w = &r->stmts.at[stmt];
  const AStmt *a = w->ast;
  FamilyWork *f = &r->families.at[s->family];
  bool fine = true;
  if (!definition_index(r, s, w)) {
    fine = false;
    f->damaged = true;
  }
  if (a->value && !is_distribution_call(a->value)) s->value = resolve_expr(r, a->value);
  if (a->value && !s->value) fine = false;
  bool inferred_let = s->kind == ST_LET && !f->type;
  const Type *t = &r->m->families.at[s->family].type;
  if (inferred_let && fine && f->typed == WORK_DONE && !same_kind(t, &s->value->type)) {
    diag_error(a->target_span, arena_printf("write: let %s : %s = ...", source_slice(a->target_span), shape_text(r, &s->value->type)),
               "a recurrence of anything but scalars needs a type");
    fine = false;
    f->damaged = true;
  }
  bool typed = inferred_let || statement_type(r, s, w);
  fine = fine && typed;
  if (a->value && s->value && !inferred_let && typed && !f->damaged && (s->kind == ST_INPUT || s->kind == ST_LET))
    fine = assignable(r, s->value, &s->type, s->kind == ST_LET ? arena_printf("'%s'", a->name) : "the input") && fine;
  if (s->kind == ST_INPUT && s->value && fine) fine = check_default(r, s->value, &s->type);
  bool random = s->kind == ST_LATENT || s->kind == ST_OBSERVED || s->kind == ST_PARAM;
  for (int i = 0; a->dist && !random && i < a->dist->args.n; i++) resolve_expr(r, a->dist->args.at[i]);
  if (a->dist && random) fine = resolve_dist(r, a->dist, s, typed ? &s->type : NULL) && fine;
  if (s->is_marginal && fine && s->type.kind != TY_INT) {
    diag_error(a->target_span, "marginal latent c[n] : int<lower=1, upper=K> ~ categorical(p)",
               "a marginal latent variable is summed out: it must be discrete");
    fine = false;
  }
  if (s->kind == ST_PARAM && fine && s->type.kind == TY_INT) {
    diag_error(a->target_span, NULL, "a param is estimated by its gradient: it cannot be discrete");
    fine = false;
  }
  return fine;
}

/* ---- amortize -------------------------------------------------------------------------------------------------------------- */

static void from_text(const Resolver *r, FromRef *f)
{
  StrBuf b = {0};
  sb_puts(&b, r->m->families.at[f->family].name);
  for (int i = 0; i < f->n_index; i++) {
    sb_putc(&b, i ? ',' : '[');
    Index *x = &f->index[i];
    if (f->star[i])
      sb_putc(&b, '*');
    else if (f->set_var >= 0 && x->kind == IX_AFFINE && x->expr->kind == M_VAR && x->expr->var == f->set_var)
      sb_printf(&b, "%s | %s = %s", mexpr_text(r->m, x->expr), mexpr_text(r->m, f->set_left), mexpr_text(r->m, f->set_right));
    else
      sb_puts(&b, index_text(r->m, x));
  }
  if (f->n_index) sb_putc(&b, ']');
  f->text = sb_text(&b);
}

/* x[i | county[i] = j]: i is bound here and runs over the elements of the family. */
static bool resolve_set(Resolver *r, const AExpr *a, FromRef *out, Index *index)
{
  if (out->set_var >= 0) {
    diag_error(a->span, NULL, "one index at most is a set");
    return false;
  }
  if (find_var(r, a->var) >= 0 || find_block_let(r, a->var) >= 0 || family_find(r, a->var) >= 0) {
    diag_error(a->name_span, "choose another name", "'%s' is already the name of a variable", a->var);
    return false;
  }
  out->set_var = r->m->vars.n;
  VEC_PUSH(r->m->vars, (Var){.name = a->var, .kind = VAR_REDUCTION, .plate = -1, .span = a->name_span});
  VEC_PUSH(r->reductions, out->set_var);
  out->set_left = resolve_int(r, a->args[0], "the left side of the condition");
  r->reductions.n--;
  out->set_right = resolve_int(r, a->args[1], "the right side of the condition");
  if (!out->set_left || !out->set_right) return false;
  if (out->set_left->kind != M_REF || !mexpr_has_var(out->set_left) || !expr_only_known(r, out->set_left)) {
    diag_error(a->args[0]->span, "for example: x[i | county[i] = j]",
               "the left side of the condition looks the bound name up in an integer input");
    return false;
  }
  *index = (Index){.kind = IX_AFFINE, .span = a->span, .expr = mexpr_new(M_VAR, a->name_span, 0)};
  index->expr->type.kind = TY_INT;
  index->expr->var = out->set_var;
  return mexpr_affine(r->m, index->expr, &index->affine);
}

static bool resolve_from(Resolver *r, const AExpr *a, FromRef *out)
{
  const AExpr *base = a->kind == A_INDEX ? a->args[0] : a;
  int n = a->kind == A_INDEX ? a->n - 1 : 0;
  *out = (FromRef){.span = a->span, .family = family_find(r, base->name), .n_index = n, .set_var = -1};
  if (out->family < 0) {
    if (find_block_let(r, base->name) >= 0)
      diag_error(base->span, NULL, "the inputs of an inference function are observed or input, not let");
    else
      report_unknown(r, base->name, base->span);
    return false;
  }
  const Family *f = &r->m->families.at[out->family];
  r->families.at[out->family].used = true;
  if (f->role != ROLE_OBSERVED && f->role != ROLE_INPUT) {
    diag_error(a->span, NULL, "the inputs of an inference function are observed or input; '%s' is %s", f->name, role_text(f->role));
    note_family(r, out->family);
    return false;
  }
  if (n != f->n_index) {
    diag_error(a->span, NULL, "'%s' has %d %s, not %d", f->name, f->n_index, f->n_index == 1 ? "index" : "indices", n);
    note_family(r, out->family);
    return false;
  }
  out->index = NEW_ARRAY(Index, n);
  out->star = NEW_ARRAY(bool, n);
  bool fine = true;
  for (int i = 0; i < n; i++) {
    const AExpr *e = a->args[i + 1];
    if (e->kind == A_STAR)
      out->star[i] = true;
    else
      fine = (e->kind == A_SET ? resolve_set(r, e, out, &out->index[i]) : resolve_index(r, e, &out->index[i])) && fine;
  }
  if (fine) from_text(r, out);
  return fine;
}

/* The bound variable of a set runs over the elements of its family: the range of the plate that defines them, 1..1 where that depends on
 * other plates. */
static void set_ranges(Resolver *r)
{
  Model *m = r->m;
  for (int i = 0; i < m->stmts.n; i++)
    for (int k = 0; m->stmts.at[i].kind == ST_AMORTIZE && k < m->stmts.at[i].n_from; k++) {
      const FromRef *f = &m->stmts.at[i].from[k];
      if (f->family < 0 || f->set_var < 0) continue;
      Var *v = &m->vars.at[f->set_var];
      v->lo = v->hi = mexpr_int(1, f->span);
      const Stmt *s = &m->stmts.at[m->families.at[f->family].statements[0]];
      for (int j = 0; j < f->n_index && j < s->n_index; j++) {
        const Affine *a = &s->index[j].affine;
        if (f->star[j] || !f->index[j].expr || f->index[j].expr->var != f->set_var || a->n != 1 || a->term[0].kind != ATOM_VAR) continue;
        const Var *plate = &m->vars.at[a->term[0].id];
        Affine lo, hi, offset = {.constant = a->constant};
        if (!mexpr_affine(m, plate->lo, &lo) || !mexpr_affine(m, plate->hi, &hi) || mexpr_has_var(plate->lo) || mexpr_has_var(plate->hi))
          continue;
        if (!affine_combine(&lo, 1, &offset, &lo) || !affine_combine(&hi, 1, &offset, &hi)) continue;
        v->lo = affine_expr(&lo, f->span);
        v->hi = affine_expr(&hi, f->span);
      }
    }
}

static bool resolve_amortize(Resolver *r, int stmt)
{
  Stmt *s = &r->m->stmts.at[stmt];
  const StmtWork *w = &r->stmts.at[stmt];
  const AStmt *a = w->ast;
  int family = family_find(r, a->name);
  if (family < 0) {
    report_unknown(r, a->name, a->name_span);
    return false;
  }
  const Family *f = &r->m->families.at[family];
  s->family = family;
  if (f->role != ROLE_LOCAL) {
    diag_error(a->name_span, f->role == ROLE_GLOBAL ? "a global one keeps a factor of its own" : NULL,
               "'%s' is not a local latent variable: there is nothing to amortise", a->name);
    note_family(r, family);
    return false;
  }
  for (int i = 0; i < stmt; i++) {
    const Stmt *other = &r->m->stmts.at[i];
    if (other->kind != ST_AMORTIZE || other->family != family) continue;
    diag_error(a->target_span, NULL, "'%s' has an amortize statement already", a->name);
    diag_note(other->span, "it is here");
    return false;
  }
  if (a->index.n != f->n_index) {
    diag_error(a->target_span, NULL, "'%s' has %d %s, not %d", a->name, f->n_index, f->n_index == 1 ? "index" : "indices", a->index.n);
    note_family(r, family);
    return false;
  }
  bool fine = definition_index(r, s, w);
  if (fine && s->plate < 0) {
    diag_error(a->span, "the plate of the latent variable it names", "'amortize' stands inside a plate");
    fine = false;
  }
  s->n_from = a->from.n;
  s->from = NEW_ARRAY(FromRef, s->n_from);
  for (int i = 0; i < s->n_from; i++) fine = resolve_from(r, a->from.at[i], &s->from[i]) && fine;
  return fine;
}

static bool resolve_stmt(Resolver *r, int stmt)
{
  StmtWork *w = &r->stmts.at[stmt];
  if (w->state == WORK_DONE) return !w->damaged;
  if (w->state == WORK_BUSY) return true; /* a recurrence looks at itself */
  w->state = WORK_BUSY;
  Context c = enter(r, w->block);
  Stmt *s = &r->m->stmts.at[stmt];
  bool fine = true;
  r->at = s->span;
  if (w->ast->kind == AS_DECLARATION) {
    bool joined = false; /* a statement that does not go with its family is looked at for names only */
    const Family *f = &r->m->families.at[s->family];
    for (int i = 0; i < f->n_statements; i++) joined = joined || f->statements[i] == stmt;
    if (joined) {
      fine = resolve_declaration(r, stmt);
    } else {
      fine = false;
      if (w->ast->value) resolve_expr(r, w->ast->value);
      for (int i = 0; w->ast->dist && i < w->ast->dist->args.n; i++) resolve_expr(r, w->ast->dist->args.at[i]);
    }
  } else if (w->ast->kind == AS_AMORTIZE) {
    fine = resolve_amortize(r, stmt);
  } else {
    s->value = resolve_expr(r, w->ast->value);
    fine = s->value != NULL;
    if (fine && type_rank(s->value->type.kind)) {
      diag_error(s->value->span, "sum(...) adds the entries", "a factor is a scalar; this is %s", shape_text(r, &s->value->type));
      fine = false;
    }
  }
  leave(r, c);
  w = &r->stmts.at[stmt];
  w->state = WORK_DONE;
  if (!fine) w->damaged = true;
  return !w->damaged;
}

/* ---- plates ---------------------------------------------------------------------------------------------------------------- */

static void resolve_plates(Resolver *r)
{
  for (int i = 0; i < r->m->plates.n; i++) {
    const AStmt *a = r->plates.at[i];
    Var *v = &r->m->vars.at[r->m->plates.at[i].var];
    Context c = enter(r, r->plate_blocks.at[i]->up);
    MExpr *ends[2] = {NULL, NULL};
    r->in_index = true;
    for (int k = 0; k < 2 && a->lo; k++) {
      const AExpr *e = k ? a->hi : a->lo;
      ends[k] = resolve_int(r, e, "a bound of a plate");
      if (!ends[k]) continue;
      mark_sizes(r, ends[k]);
      if (expr_only_known(r, ends[k])) continue;
      diag_error(e->span, NULL, "the bounds of a plate depend on inputs and variables of enclosing plates only");
      note_random(r, ends[k]);
      ends[k] = NULL;
    }
    leave(r, c);
    v = &r->m->vars.at[r->m->plates.at[i].var];
    if (!ends[0] || !ends[1]) r->plate_damaged.at[i] = true;
    v->lo = ends[0] ? ends[0] : mexpr_int(1, a->name_span);
    v->hi = ends[1] ? ends[1] : mexpr_int(1, a->name_span);
  }
}

static void resolve_family_types(Resolver *r)
{
  for (int i = 0; i < r->m->families.n; i++)
    if (r->families.at[i].type) family_type(r, i);
  for (int i = 0; i < r->m->families.n; i++) {
    const AType *a = r->families.at[i].type;
    if (!a || r->families.at[i].damaged) continue;
    Context c = enter(r, r->families.at[i].type_block);
    Type t = r->m->families.at[i].type;
    if (resolve_bounds(r, a, &t)) {
      r->m->families.at[i].type = t;
    } else {
      r->families.at[i].damaged = true;
    }
    leave(r, c);
  }
  for (int i = 0; i < r->m->families.n; i++)
    if (r->m->families.at[i].role != ROLE_LET) family_type(r, i);
}

Model *resolve(const Ast *ast)
{
  Resolver *r = NEW(Resolver);
  Block *block = NEW(Block);
  block->plate = -1;
  r->ast = ast;
  r->m = NEW(Model);
  r->m->name = ast->name;
  r->m->file = source_file();
  collect(r, &ast->body, block, 0);
  check_hiding(r);
  resolve_plates(r);
  resolve_family_types(r);
  for (int i = 0; i < r->m->stmts.n; i++) resolve_stmt(r, i);
  for (int i = 0; i < r->m->families.n; i++) family_type(r, i);
  for (int i = 0; i < r->m->stmts.n; i++)
    if (r->m->stmts.at[i].kind == ST_LET) {
      const Family *f = &r->m->families.at[r->m->stmts.at[i].family];
      if (!r->families.at[r->m->stmts.at[i].family].type) r->m->stmts.at[i].type = f->type;
    }
  set_ranges(r);
  check_wellformed(r);
  if (diag_errors()) return NULL;
  recurrences_find(r->m);
  return r->m;
}
