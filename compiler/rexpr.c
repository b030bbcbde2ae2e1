/* Expressions of the tree -> typed MExpr: names, indices, shapes, functions. NULL stands for an expression that is wrong and has been
 * reported; what contains it is NULL too and says nothing, but its other parts are still looked at.
 *
 * Shapes follow Stan: `*` is linear algebra, `.*` and `./` are element-wise, a scalar goes with everything. Lengths are integer
 * expressions of inputs; two lengths are in conflict only when their difference is a constant other than zero. */
#include "resolver.h"
#include "dist.h"
#include "func.h"
#include "habit.h"

#include <string.h>

/* ---- making nodes ---------------------------------------------------------------------------------------------------------- */

MExpr *mexpr_new(MKind kind, Span span, int n_args)
{
  MExpr *e = NEW(MExpr);
  *e = (MExpr){
      .kind = kind, .span = span, .var = -1, .family = -1, .func = -1, .dist = -1, .n_args = n_args, .args = NEW_ARRAY(MExpr *, n_args)};
  return e;
}

MExpr *mexpr_int(long value, Span span)
{
  MExpr *e = mexpr_new(M_NUM, span, 0);
  e->type.kind = TY_INT;
  e->number = (double)value;
  return e;
}

/* a + scale * b as a length; folded where it is affine. */
static MExpr *length_sum(const Resolver *r, MExpr *a, long scale, MExpr *b, long constant, Span span)
{
  Affine p, q, one = {.constant = 1};
  if (mexpr_affine(r->m, a, &p) && mexpr_affine(r->m, b, &q) && affine_combine(&p, scale, &q, &p) && affine_combine(&p, constant, &one, &p))
    return affine_expr(&p, span);
  MExpr *e = mexpr_new(M_BINARY, span, 2);
  e->type.kind = TY_INT;
  e->op = scale > 0 ? OP_ADD : OP_SUB;
  e->args[0] = a;
  e->args[1] = b;
  if (!constant) return e;
  MExpr *sum = mexpr_new(M_BINARY, span, 2);
  sum->type.kind = TY_INT;
  sum->op = OP_ADD;
  sum->args[0] = e;
  sum->args[1] = mexpr_int(constant, span);
  return sum;
}

static Type scalar(TypeKind kind)
{
  return (Type){.kind = kind};
}
static Type vector(TypeKind kind, MExpr *n)
{
  return (Type){.kind = kind, .dim = {n}};
}
static Type matrix(MExpr *r, MExpr *c)
{
  return (Type){.kind = TY_MATRIX, .dim = {r, c}};
}
static bool is_scalar(const Type *t)
{
  return t->kind == TY_INT || t->kind == TY_REAL;
}
static bool is_vector(const Type *t)
{
  return t->kind == TY_VECTOR || t->kind == TY_ROW_VECTOR;
}

const char *shape_text(const Resolver *r, const Type *t)
{
  Type bare = {.kind = t->kind, .dim = {t->dim[0], t->dim[1]}};
  return type_text(r->m, &bare);
}

bool same_length(const Resolver *r, MExpr *a, MExpr *b)
{
  Affine p, q;
  Model *m = r->m;
  if (mexpr_affine(m, a, &p) && mexpr_affine(m, b, &q) && affine_combine(&p, -1, &q, &p) && !p.n) return !p.constant;
  const char *text_a = mexpr_text(m, a), *text_b = mexpr_text(m, b);
  bool known = !strcmp(text_a, text_b) || mexpr_has_var(a) || mexpr_has_var(b);
  for (int i = 0; i < m->lengths.n && !known; i++)
    known = !strcmp(text_a, mexpr_text(m, m->lengths.at[i].a)) && !strcmp(text_b, mexpr_text(m, m->lengths.at[i].b));
  if (!known) VEC_PUSH(m->lengths, (LengthCheck){r->at, a, b});
  return true;
}

static bool same_dims(const Resolver *r, const Type *a, const Type *b)
{
  for (int i = 0; i < type_rank(a->kind); i++)
    if (!same_length(r, a->dim[i], b->dim[i])) return false;
  return true;
}

/* ---- names ----------------------------------------------------------------------------------------------------------------- */

int find_var(const Resolver *r, Name name)
{
  for (int i = r->reductions.n - 1; i >= r->visible_reductions; i--)
    if (r->m->vars.at[r->reductions.at[i]].name == name) return r->reductions.at[i];
  for (const Block *b = r->block; b; b = b->up)
    if (b->plate >= 0 && r->m->vars.at[r->m->plates.at[b->plate].var].name == name) return r->m->plates.at[b->plate].var;
  return -1;
}

int find_block_let(const Resolver *r, Name name)
{
  for (const Block *b = r->block; b; b = b->up)
    for (int i = 0; i < b->lets.n; i++)
      if (r->m->families.at[b->lets.at[i]].name == name) return b->lets.at[i];
  return -1;
}

bool name_is_damaged(const Resolver *r, Name name)
{
  for (int i = 0; i < r->ast->damaged.n; i++)
    if (r->ast->damaged.at[i] == name) return true;
  return false;
}

/* 'name' is not declared; once per name. */
void report_unknown(Resolver *r, Name name, Span span)
{
  if (name_is_damaged(r, name)) return;
  for (int i = 0; i < r->unknown.n; i++)
    if (r->unknown.at[i] == name) return;
  VEC_PUSH(r->unknown, name);
  VEC(const char *) near = {0};
  const char *hint = NULL;
  for (int i = r->visible_reductions; i < r->reductions.n; i++) VEC_PUSH(near, r->m->vars.at[r->reductions.at[i]].name);
  for (const Block *b = r->block; b; b = b->up) {
    if (b->plate >= 0) VEC_PUSH(near, r->m->vars.at[r->m->plates.at[b->plate].var].name);
    for (int i = 0; i < b->lets.n; i++) VEC_PUSH(near, r->m->families.at[b->lets.at[i]].name);
  }
  for (int i = 0; i < r->m->families.n; i++) {
    const Family *f = &r->m->families.at[i];
    if (f->name == name)
      hint = "a let without an index is known in its own block only";
    else if (!f->block_let)
      VEC_PUSH(near, f->name);
  }
  for (int i = 0; i < r->m->plates.n && !hint; i++)
    if (r->m->vars.at[r->m->plates.at[i].var].name == name) hint = "the variable of a plate is known inside the plate only";
  const char *nearest = diag_nearest(name, near.at, near.n);
  bool in_plate = false;
  for (const Block *b = r->block; b; b = b->up) in_plate = in_plate || b->plate >= 0;
  if (!hint && r->in_definition && !in_plate) hint = arena_printf("an index that runs is the variable of a plate: plate %s in 1..SIZE { ... }", name);
  if (!hint) hint = habit_constant(name);
  int func = func_find(name);
  if (!hint && func >= 0 && func_info[func].class_ == FC_CONSTANT)
    hint = arena_printf("write: %s()", name);
  else if (!hint && nearest)
    hint = arena_printf("did you mean '%s'?", nearest);
  else if (!hint && func >= 0)
    hint = arena_printf("the function takes its arguments in parentheses: %s(%s)", name, func_info[func].arguments);
  diag_error(span, hint, "'%s' is not declared", name);
}

/* How the family is written where it is defined: z[n]. */
static const char *definition_text(const Resolver *r, int family)
{
  const Family *f = &r->m->families.at[family];
  return f->n_statements ? source_slice(r->stmts.at[f->statements[0]].ast->target_span) : f->name;
}

void note_family(const Resolver *r, int family)
{
  const Family *f = &r->m->families.at[family];
  const AStmt *s = r->stmts.at[f->statements[0]].ast;
  diag_note(((Span){s->target_span.begin, s->type ? s->type->span.end : s->target_span.end}), "'%s' is defined here", f->name);
}

void note_random(const Resolver *r, const MExpr *e)
{
  RefList refs = {0};
  mexpr_refs(e, &refs);
  for (int i = 0; i < refs.n; i++) {
    const Family *f = &r->m->families.at[refs.at[i]->family];
    if (f->role == ROLE_INPUT) continue;
    diag_note(f->span, "'%s' is %s", f->name, role_text(f->role));
    return;
  }
}

/* The family that an expression is an element of, transposed or not; -1: none. */
static int operand_family(const MExpr *e)
{
  while (e->kind == M_UNARY && e->op == OP_TRANSPOSE) e = e->args[0];
  return e->kind == M_REF ? e->family : -1;
}

void note_operand(const Resolver *r, const MExpr *e)
{
  if (operand_family(e) >= 0) note_family(r, operand_family(e));
}

static void note_operands(const Resolver *r, const MExpr *a, const MExpr *b)
{
  note_operand(r, a);
  if (operand_family(a) != operand_family(b)) note_operand(r, b);
}

/* ---- what expressions may depend on ---------------------------------------------------------------------------------------- */

static bool indices_only_known(const Resolver *r, int n, const Index *index)
{
  for (int i = 0; i < n; i++) {
    if (index[i].kind == IX_SLICE ? !expr_only_known(r, index[i].lo) || !expr_only_known(r, index[i].hi)
                                  : !expr_only_known(r, index[i].expr))
      return false;
  }
  return true;
}

bool expr_only_known(const Resolver *r, const MExpr *e)
{
  if (e->kind == M_CALL && e->func == FUNC_present) return indices_only_known(r, e->args[0]->n_index, e->args[0]->index);
  if (e->kind == M_REF && r->m->families.at[e->family].role != ROLE_INPUT) return false;
  if (!indices_only_known(r, e->n_index, e->index) || !indices_only_known(r, e->n_entry, e->entry)) return false;
  for (int i = 0; i < e->n_args; i++)
    if (!expr_only_known(r, e->args[i])) return false;
  return true;
}

/* ---- indices --------------------------------------------------------------------------------------------------------------- */

void mark_sizes(Resolver *r, const MExpr *e)
{
  RefList refs = {0};
  mexpr_refs(e, &refs);
  for (int i = 0; i < refs.n; i++)
    if (r->m->families.at[refs.at[i]->family].role == ROLE_INPUT) r->m->families.at[refs.at[i]->family].used_as_size = true;
}

MExpr *resolve_int(Resolver *r, const AExpr *a, const char *what)
{
  MExpr *e = resolve_expr(r, a);
  if (!e) return NULL;
  if (e->type.kind == TY_INT) return e;
  if (e->kind == M_REF && r->families.at[e->family].cyclic) return NULL; /* its type is not known; the cycle is reported */
  const char *hint = NULL;
  if (e->kind == M_REF && is_scalar(&e->type)) {
    const Family *f = &r->m->families.at[e->family];
    if (f->role == ROLE_INPUT || f->role == ROLE_OBSERVED || f->role == ROLE_LET)
      hint = arena_printf("declare it as %s : int", definition_text(r, e->family));
  } else if (e->kind == M_BINARY && e->op == OP_DIV) {
    hint = "'/' is real division";
  } else if (e->kind == M_NUM && e->number == (double)(long)e->number) {
    hint = arena_printf("write: %ld", (long)e->number);
  }
  diag_error(a->span, hint, "%s is a whole number; this is %s", what, shape_text(r, &e->type));
  note_operand(r, e);
  return NULL;
}

/* One integer family, maybe plus a constant: a lookup. */
static bool as_lookup(const Resolver *r, MExpr *e, MExpr **ref, long *shift)
{
  long c;
  if (e->kind == M_REF && !(r->m->families.at[e->family].role == ROLE_INPUT && !r->m->families.at[e->family].n_index && !e->n_entry)) {
    *ref = e;
    *shift = 0;
    return true;
  }
  if (e->kind != M_BINARY || (e->op != OP_ADD && e->op != OP_SUB)) return false;
  if (mexpr_const_int(e->args[1], &c) && as_lookup(r, e->args[0], ref, shift)) {
    *shift += e->op == OP_ADD ? c : -c;
    return true;
  }
  if (e->op == OP_ADD && mexpr_const_int(e->args[0], &c) && as_lookup(r, e->args[1], ref, shift)) {
    *shift += c;
    return true;
  }
  return false;
}

bool resolve_index(Resolver *r, const AExpr *a, Index *out)
{
  bool before = r->in_index;
  r->in_index = true;
  *out = (Index){.span = a->span};
  bool fine = false;
  if (a->kind == A_SLICE) {
    out->kind = IX_SLICE;
    out->lo = resolve_int(r, a->args[0], "the start of a slice");
    out->hi = resolve_int(r, a->args[1], "the end of a slice");
    fine = out->lo && out->hi;
    for (int i = 0; fine && i < 2; i++) {
      MExpr *end = i ? out->hi : out->lo;
      mark_sizes(r, end);
      if (!expr_only_known(r, end)) {
        diag_error(end->span, NULL, "the ends of a slice depend on inputs and variables of plates only");
        note_random(r, end);
        fine = false;
      }
    }
  } else {
    MExpr *e = resolve_int(r, a, "an index");
    if (e) {
      MExpr *ref;
      long shift;
      fine = true;
      mark_sizes(r, e);
      out->expr = e;
      if (mexpr_affine(r->m, e, &out->affine)) {
        out->kind = IX_AFFINE;
      } else if (as_lookup(r, e, &ref, &shift)) {
        out->kind = IX_LOOKUP;
        out->expr = ref;
        out->shift = shift;
      } else if (expr_only_known(r, e)) {
        out->kind = IX_EXPR;
      } else {
        diag_error(a->span, NULL, "an index is affine in plate variables and inputs, or an integer variable plus a constant");
        note_random(r, e);
        fine = false;
      }
    }
  }
  r->in_index = before;
  return fine;
}

/* ---- references ------------------------------------------------------------------------------------------------------------ */

static const char *counted(int n, const char *one, const char *many)
{
  return n == 1 ? arena_printf("one %s", one) : arena_printf("%d %s", n, many);
}

static MExpr *slice_length(const Resolver *r, const Index *i)
{
  return length_sum(r, i->hi, -1, i->lo, 1, i->span);
}

/* Type of t[entry...]; dimensions that are not indexed stay. */
static bool entry_type(Resolver *r, const Type *t, int n, const Index *entry, Span span, Type *out)
{
  int rank = is_scalar(t) ? 0 : t->kind == TY_MATRIX ? 2 : 1;
  if (n > rank) {
    diag_error(span, NULL, rank ? "%s has %s; %d are given" : "%s has no entries", shape_text(r, t), counted(rank, "index", "indices"), n);
    return false;
  }
  if (!n) {
    *out = *t;
    return true;
  }
  MExpr *length[2] = {NULL, NULL}; /* NULL: this dimension is gone */
  for (int i = 0; i < rank; i++) length[i] = i >= n ? t->dim[i] : entry[i].kind == IX_SLICE ? slice_length(r, &entry[i]) : NULL;
  if (rank == 1)
    *out = length[0] ? vector(t->kind, length[0]) : scalar(TY_REAL);
  else if (length[0] && length[1])
    *out = matrix(length[0], length[1]);
  else if (length[0])
    *out = vector(TY_VECTOR, length[0]);
  else if (length[1])
    *out = vector(TY_ROW_VECTOR, length[1]);
  else
    *out = scalar(TY_REAL);
  return true;
}

/* The type that an element of a family has in expressions: constraints are forgotten. */
static Type element_type(const Type *t)
{
  switch (t->kind) {
  case TY_SIMPLEX:
  case TY_ORDERED:
  case TY_POSITIVE_ORDERED:
    return vector(TY_VECTOR, t->dim[0]);
  case TY_COV_MATRIX:
  case TY_CORR_MATRIX:
  case TY_CHOLESKY_CORR:
    return matrix(t->dim[0], t->dim[1]);
  default:
    return (Type){.kind = t->kind, .dim = {t->dim[0], t->dim[1]}};
  }
}

/* Do the names in the index of its definition mean something here, so that z[n] could have been meant by z? */
static bool variables_in_scope(const Resolver *r, int family)
{
  const AList *index = &r->stmts.at[r->m->families.at[family].statements[0]].ast->index;
  bool any = false;
  for (int i = 0; i < index->n; i++) {
    if (index->at[i]->kind != A_NAME) return false;
    any = true;
    if (find_var(r, index->at[i]->name) < 0) return false;
  }
  return any;
}

static MExpr *family_reference(Resolver *r, int family, int n, AExpr **args, Span span)
{
  Index *index = NEW_ARRAY(Index, n);
  bool fine = true;
  r->families.at[family].used = true;
  for (int i = 0; i < n; i++) fine = resolve_index(r, args[i], &index[i]) && fine;
  const Type *declared = family_type(r, family);
  const Family *f = &r->m->families.at[family];
  if (!fine || !declared || r->families.at[family].damaged) return NULL;
  int most = f->n_index + type_rank(f->type.kind);
  if (n < f->n_index || n > most) {
    const char *hint = NULL;
    if (n < f->n_index && variables_in_scope(r, family))
      hint = arena_printf("did you mean %s?", definition_text(r, family));
    else if (n == 0 && f->n_index == 1 && most == 1)
      hint = arena_printf("a vector of its elements is a slice: %s[lo..hi]", f->name);
    const char *given = n ? counted(n, "is given", "are given") : "none is given";
    if (n < f->n_index)
      diag_error(span, hint, "'%s' has %s, but %s", f->name, counted(f->n_index, "index", "indices"), given);
    else if (most > f->n_index)
      diag_error(span, NULL, "'%s' takes at most %s, but %s", f->name, counted(most, "index", "indices"), given);
    else if (most)
      diag_error(span, NULL, "'%s' has %s, but %s", f->name, counted(most, "index", "indices"), given);
    else
      diag_error(span, NULL, "'%s' has no index, but %s", f->name, given);
    note_family(r, family);
    return NULL;
  }
  MExpr *e = mexpr_new(M_REF, span, 0);
  Type element = element_type(declared);
  e->family = family;
  e->n_index = f->n_index;
  e->index = index;
  e->n_entry = n - f->n_index;
  e->entry = index + f->n_index;
  int slices = 0;
  for (int i = 0; i < e->n_index; i++) {
    if (index[i].kind != IX_SLICE) continue;
    if (slices++ > 1 || !is_scalar(&element)) {
      diag_error(index[i].span, NULL,
                 slices > 2 ? "only two indices of '%s' can be slices" : "a slice needs scalar elements; those of '%s' are not", f->name);
      return NULL;
    }
    MExpr *length = slice_length(r, &index[i]);
    e->type = slices > 1 ? matrix(e->type.dim[0], length) : vector(TY_VECTOR, length);
  }
  if (slices) return e;
  return entry_type(r, &element, e->n_entry, e->entry, span, &e->type) ? e : NULL;
}

/* ---- lets written out ------------------------------------------------------------------------------------------------------ */

/* A let without index means its definition where whole numbers must be known: an index or a range is classified by what is in it, and
 * a condition may use lets that are made of inputs. */
#define MAX_WRITTEN_OUT 2000 /* nodes of a definition */

static bool is_plain_let(const Resolver *r, const MExpr *e)
{
  const Family *f = &r->m->families.at[e->family];
  return f->role == ROLE_LET && !f->n_index && !e->n_entry && f->n_statements == 1;
}

static MExpr *written_out(Resolver *r, MExpr *e);

/* The definition of a let, with those of the lets in it; NULL when it is wrong, or a cycle (which is reported later). */
static MExpr *let_definition(Resolver *r, int family)
{
  if (r->families.at[family].written_out || r->families.at[family].writing_out) return r->families.at[family].written_out;
  MExpr *value = resolve_lets(r, family) ? r->m->stmts.at[r->m->families.at[family].statements[0]].value : NULL;
  if (!value) return NULL;
  r->families.at[family].writing_out = true;
  value = written_out(r, value);
  r->families.at[family].writing_out = false;
  r->families.at[family].written_out = value;
  return value;
}

/* e, or a copy of what changes in it. Indices within it were written out when they were resolved. */
static MExpr *written_out(Resolver *r, MExpr *e)
{
  if (r->level > MAX_LEVEL + AST_MAX_DEPTH) return e; /* then it is too long as well */
  if (e->kind == M_REF) {
    MExpr *definition = is_plain_let(r, e) ? let_definition(r, e->family) : NULL;
    return definition ? definition : e;
  }
  MExpr *copy = e;
  r->level++;
  for (int i = 0; i < e->n_args; i++) {
    MExpr *x = written_out(r, e->args[i]);
    if (x == copy->args[i]) continue;
    if (copy == e) {
      copy = mexpr_new(e->kind, e->span, e->n_args);
      MExpr **args = copy->args;
      *copy = *e;
      copy->args = args;
      memcpy(args, e->args, sizeof *args * (size_t)e->n_args);
    }
    copy->args[i] = x;
  }
  r->level--;
  return copy;
}

/* Number of nodes, those of indices included; counted up to `most` and a few more. */
static int written_size(const MExpr *e, int most)
{
  int n = 1;
  for (int side = 0; side < 2; side++) {
    const Index *index = side ? e->entry : e->index;
    for (int i = 0; i < (side ? e->n_entry : e->n_index); i++) {
      if (index[i].expr && n <= most) n += written_size(index[i].expr, most - n);
      if (index[i].lo && n <= most) n += written_size(index[i].lo, most - n);
      if (index[i].hi && n <= most) n += written_size(index[i].hi, most - n);
    }
  }
  for (int i = 0; i < e->n_args && n <= most; i++) n += written_size(e->args[i], most - n);
  return n;
}

static MExpr *resolve_name(Resolver *r, const AExpr *base, int n, AExpr **args, Span span)
{
  int var = find_var(r, base->name);
  if (var >= 0) {
    for (int i = 0; i < n; i++) {
      Index ignored;
      resolve_index(r, args[i], &ignored);
    }
    if (n) {
      diag_error(span, NULL, "'%s' is the variable of a %s, a number: it has no index", base->name,
                 r->m->vars.at[var].kind == VAR_PLATE ? "plate" : "reduction");
      return NULL;
    }
    MExpr *e = mexpr_new(M_VAR, span, 0);
    e->type.kind = TY_INT;
    e->var = var;
    return e;
  }
  int family = find_block_let(r, base->name);
  if (family < 0) family = family_find(r, base->name);
  if (family < 0) {
    report_unknown(r, base->name, base->span);
    for (int i = 0; i < n; i++) {
      Index ignored;
      resolve_index(r, args[i], &ignored);
    }
    return NULL;
  }
  MExpr *e = family_reference(r, family, n, args, span);
  if (!e || !is_plain_let(r, e)) return e;
  bool whole = r->in_index && e->type.kind == TY_INT;
  MExpr *value = whole || r->in_condition ? let_definition(r, family) : NULL;
  if (!value || !(whole || expr_only_known(r, value))) return e;
  if (written_size(value, MAX_WRITTEN_OUT) <= MAX_WRITTEN_OUT) return value;
  diag_error(span, "give its value in the data, as an input", "the definition of '%s', written out, is too long for this place",
             base->name);
  return NULL;
}

static MExpr *resolve_indexed(Resolver *r, const AExpr *a)
{
  const AExpr *base = a;
  int n = 0;
  while (base->kind == A_INDEX) {
    n += base->n - 1;
    base = base->args[0];
  }
  AExpr **args = NEW_ARRAY(AExpr *, n);
  int at = n;
  for (const AExpr *e = a; e->kind == A_INDEX; e = e->args[0])
    for (int i = e->n - 1; i > 0; i--) args[--at] = e->args[i];
  if (base->kind == A_NAME) return resolve_name(r, base, n, args, a->span);
  MExpr *of = resolve_expr(r, base);
  MExpr *e = mexpr_new(M_ENTRY, a->span, 1);
  e->args[0] = of;
  e->n_entry = n;
  e->entry = NEW_ARRAY(Index, n);
  bool fine = of != NULL;
  for (int i = 0; i < n; i++) fine = resolve_index(r, args[i], &e->entry[i]) && fine;
  return fine && entry_type(r, &of->type, n, e->entry, a->span, &e->type) ? e : NULL;
}

/* ---- operators ------------------------------------------------------------------------------------------------------------- */

/* Element-wise with broadcasting of scalars. `cannot`, `with`: the words around the shapes when they do not fit. */
static bool broadcast(Resolver *r, const Type *a, const Type *b, Span span, const char *cannot, const char *with, Type *out)
{
  if (is_scalar(a) && is_scalar(b)) {
    *out = scalar(a->kind == TY_INT && b->kind == TY_INT ? TY_INT : TY_REAL);
    return true;
  }
  if (is_scalar(a) || is_scalar(b)) {
    *out = is_scalar(a) ? *b : *a;
    return true;
  }
  if (a->kind == b->kind && same_dims(r, a, b)) {
    *out = *a;
    return true;
  }
  diag_error(span,
             is_vector(a) && is_vector(b) && a->kind != b->kind ? "x' turns a row vector into a vector and the other way round" : NULL,
             "%s %s %s %s", cannot, shape_text(r, a), with, shape_text(r, b));
  return false;
}

static bool product_type(Resolver *r, const MExpr *a, const MExpr *b, Span span, Type *out)
{
  const Type *s = &a->type, *t = &b->type;
  if (is_scalar(s) || is_scalar(t)) return broadcast(r, s, t, span, "cannot multiply", "by", out);
  const char *hint = NULL;
  if (s->kind == TY_MATRIX && t->kind == TY_MATRIX)
    *out = matrix(s->dim[0], t->dim[1]);
  else if (s->kind == TY_MATRIX && t->kind == TY_VECTOR)
    *out = vector(TY_VECTOR, s->dim[0]);
  else if (s->kind == TY_ROW_VECTOR && t->kind == TY_MATRIX)
    *out = vector(TY_ROW_VECTOR, t->dim[1]);
  else if (s->kind == TY_ROW_VECTOR && t->kind == TY_VECTOR)
    *out = scalar(TY_REAL);
  else if (s->kind == TY_VECTOR && t->kind == TY_ROW_VECTOR) {
    *out = matrix(s->dim[0], t->dim[0]);
    return true;
  } else {
    if (is_vector(s) && s->kind == t->kind)
      hint = "element by element: a .* b; their inner product: dot(a, b)";
    else if (s->kind == TY_VECTOR)
      hint = "the matrix stands on the left: A * x";
    else
      hint = "a column vector stands on the right of a matrix: x' turns the row";
    diag_error(span, hint, "cannot multiply %s by %s", shape_text(r, s), shape_text(r, t));
    return false;
  }
  MExpr *inner = s->kind == TY_MATRIX ? s->dim[1] : s->dim[0];
  if (same_length(r, inner, t->dim[0])) return true;
  if (s->kind == TY_MATRIX && t->kind == TY_VECTOR && same_length(r, s->dim[0], t->dim[0]))
    hint = arena_printf("the transpose has that many columns: %s' * ...", a->kind == M_REF ? mexpr_text(r->m, a) : "A");
  diag_error(span, hint, "cannot multiply %s by %s: %s against %s", shape_text(r, s), shape_text(r, t), mexpr_text(r->m, inner),
             mexpr_text(r->m, t->dim[0]));
  return false;
}

static bool require_scalar(Resolver *r, const MExpr *e, const char *what)
{
  if (is_scalar(&e->type)) return true;
  diag_error(e->span, NULL, "%s takes scalars; this is %s", what, shape_text(r, &e->type));
  return false;
}

static bool binary_type(Resolver *r, OpKind op, const MExpr *a, const MExpr *b, Span span, Type *out)
{
  const Type *s = &a->type, *t = &b->type;
  switch (op) {
  case OP_ADD:
    return broadcast(r, s, t, span, "cannot add", "and", out);
  case OP_SUB:
    return broadcast(r, s, t, span, "cannot take the difference of", "and", out);
  case OP_MUL:
    return product_type(r, a, b, span, out);
  case OP_EMUL:
    return broadcast(r, s, t, span, "cannot multiply", "element by element with", out);
  case OP_DIV:
    if (!is_scalar(t)) {
      diag_error(span,
                 t->kind == TY_MATRIX ? "a linear system is solved by mdivide_left(A, b); element by element: ./"
                                      : "element by element: a ./ b",
                 "cannot divide %s by %s", shape_text(r, s), shape_text(r, t));
      return false;
    }
    *out = is_scalar(s) ? scalar(TY_REAL) : *s;
    return true;
  case OP_EDIV:
  case OP_POW:
    if (!broadcast(r, s, t, span, op == OP_POW ? "cannot raise" : "cannot divide", op == OP_POW ? "to the power" : "element by element by",
                   out))
      return false;
    if (op == OP_POW && s->kind == TY_MATRIX) {
      diag_error(span, "element by element: pow(A, 2); the product: A * A", "'^' does not take a matrix");
      return false;
    }
    if (out->kind == TY_INT) out->kind = TY_REAL;
    return true;
  default:
    *out = scalar(TY_INT);
    const char *what = op == OP_AND || op == OP_OR ? "a logical operator" : "a comparison";
    bool fine = require_scalar(r, a, what);
    return require_scalar(r, b, what) && fine;
  }
}

static MExpr *resolve_unary(Resolver *r, const AExpr *a)
{
  MExpr *x = resolve_expr(r, a->args[0]);
  if (!x) return NULL;
  MExpr *e = mexpr_new(M_UNARY, a->span, 1);
  e->op = a->op;
  e->args[0] = x;
  if (a->op == OP_NOT) {
    e->type = scalar(TY_INT);
    return require_scalar(r, x, "'!'") ? e : NULL;
  }
  if (a->op == OP_NEG) {
    e->type = x->type;
    if (x->kind == M_NUM) { /* a negative number is a number */
      e = mexpr_new(M_NUM, a->span, 0);
      e->type = x->type;
      e->number = -x->number;
    }
    return e;
  }
  if (is_scalar(&x->type)) return x;
  if (x->type.kind == TY_MATRIX)
    e->type = matrix(x->type.dim[1], x->type.dim[0]);
  else
    e->type = vector(x->type.kind == TY_VECTOR ? TY_ROW_VECTOR : TY_VECTOR, x->type.dim[0]);
  return e;
}

static MExpr *resolve_cond(Resolver *r, const AExpr *a)
{
  MExpr *e = mexpr_new(M_COND, a->span, 3);
  for (int i = 0; i < 3; i++) {
    bool before = r->in_condition;
    r->in_condition = before || i == 0;
    e->args[i] = resolve_expr(r, a->args[i]);
    r->in_condition = before;
  }
  MExpr *c = e->args[0], *x = e->args[1], *y = e->args[2];
  bool fine = c && x && y;
  if (c) fine = require_scalar(r, c, "a condition") && fine;
  if (c && !expr_only_known(r, c)) {
    diag_error(c->span, "comparisons are 0 or 1: (t < s) * a + (t >= s) * b", "a condition depends on indices and inputs only");
    note_random(r, c);
    fine = false;
  }
  if (!fine) return NULL;
  if (is_scalar(&x->type) && is_scalar(&y->type)) {
    e->type = scalar(x->type.kind == TY_INT && y->type.kind == TY_INT ? TY_INT : TY_REAL);
    return e;
  }
  if (x->type.kind != y->type.kind || !same_dims(r, &x->type, &y->type)) {
    diag_error(a->span, NULL, "the two values of '?:' have different shapes: %s and %s", shape_text(r, &x->type), shape_text(r, &y->type));
    note_operands(r, x, y);
    return NULL;
  }
  e->type = x->type;
  return e;
}

/* [a, b, c]; [[a, b], [c, d]] is a matrix by rows. */
static MExpr *resolve_vector(Resolver *r, const AExpr *a)
{
  MExpr *e = mexpr_new(M_VECTOR, a->span, a->n);
  bool fine = true;
  for (int i = 0; i < a->n; i++) fine = (e->args[i] = resolve_expr(r, a->args[i])) && fine;
  if (!fine) return NULL;
  const Type *first = &e->args[0]->type;
  bool rows = e->args[0]->kind == M_VECTOR && first->kind == TY_VECTOR;
  for (int i = 0; i < a->n; i++) {
    const MExpr *x = e->args[i];
    if (rows ? x->kind != M_VECTOR || x->type.kind != TY_VECTOR : !is_scalar(&x->type)) {
      diag_error(x->span, NULL, rows ? "the rows of a matrix are written [a, b, c]" : "the entries of a vector are scalars; this is %s",
                 shape_text(r, &x->type));
      return NULL;
    }
    if (rows && x->n_args != e->args[0]->n_args) {
      diag_error(x->span, NULL, "the rows of a matrix have one length; this one has %s, the first %d",
                 counted(x->n_args, "entry", "entries"), e->args[0]->n_args);
      return NULL;
    }
  }
  e->type = rows ? matrix(mexpr_int(a->n, a->span), first->dim[0]) : vector(TY_VECTOR, mexpr_int(a->n, a->span));
  return e;
}

/* ---- functions ------------------------------------------------------------------------------------------------------------- */

static bool require_matrix(Resolver *r, const MExpr *call, int i, bool square)
{
  const Type *t = &call->args[i]->type;
  if (t->kind == TY_MATRIX && (!square || same_length(r, t->dim[0], t->dim[1]))) return true;
  diag_error(call->args[i]->span, NULL, "%s() takes a %smatrix; this is %s", func_info[call->func].name, square ? "square " : "",
             shape_text(r, t));
  return false;
}

static bool require_vector(Resolver *r, const MExpr *call, int i)
{
  const Type *t = &call->args[i]->type;
  if (is_vector(t)) return true;
  diag_error(call->args[i]->span, t->kind <= TY_REAL && call->args[i]->kind == M_REF ? "a vector of elements is a slice: x[1..K]" : NULL,
             "%s() takes a vector; this is %s", func_info[call->func].name, shape_text(r, t));
  return false;
}

static bool require_size(Resolver *r, const MExpr *call, int i)
{
  const MExpr *e = call->args[i];
  long value;
  if (e->type.kind != TY_INT || !expr_only_known(r, e)) {
    diag_error(e->span, NULL, "a length is a whole number made of inputs; this is %s",
               e->type.kind == TY_INT ? "not known in advance" : shape_text(r, &e->type));
    return false;
  }
  if (mexpr_const_int(e, &value) && value < 0) {
    diag_error(e->span, NULL, "a length of %ld is negative", value);
    return false;
  }
  mark_sizes(r, e);
  return true;
}

static bool require_length(Resolver *r, const MExpr *call, MExpr *a, MExpr *b)
{
  if (same_length(r, a, b)) return true;
  diag_error(call->span, NULL, "%s(): the lengths %s and %s do not fit", func_info[call->func].name, mexpr_text(r->m, a),
             mexpr_text(r->m, b));
  return false;
}

static bool matrix_call_type(Resolver *r, MExpr *e)
{
  const Type *s = e->n_args > 0 ? &e->args[0]->type : NULL, *t = e->n_args > 1 ? &e->args[1]->type : NULL;
  Type *out = &e->type;
  switch ((FuncId)e->func) {
  case FUNC_diag_matrix:
    *out = matrix(s->dim[0], s->dim[0]);
    return require_vector(r, e, 0);
  case FUNC_diagonal:
    *out = vector(TY_VECTOR, s->dim[0]);
    return require_matrix(r, e, 0, true);
  case FUNC_identity_matrix:
    *out = matrix(e->args[0], e->args[0]);
    return require_size(r, e, 0);
  case FUNC_rep_vector:
  case FUNC_rep_row_vector:
    *out = vector(e->func == FUNC_rep_vector ? TY_VECTOR : TY_ROW_VECTOR, e->args[1]);
    return require_scalar(r, e->args[0], arena_printf("%s()", func_info[e->func].name)) && require_size(r, e, 1);
  case FUNC_rep_matrix:
    *out = matrix(e->args[1], e->args[2]);
    return require_scalar(r, e->args[0], arena_printf("%s()", func_info[e->func].name)) && require_size(r, e, 1) && require_size(r, e, 2);
  case FUNC_to_vector:
  case FUNC_to_row_vector:
    if (s->kind == TY_MATRIX) {
      diag_error(e->args[0]->span, NULL, "%s() takes a vector or a row vector; this is %s", func_info[e->func].name, shape_text(r, s));
      return false;
    }
    *out = vector(e->func == FUNC_to_vector ? TY_VECTOR : TY_ROW_VECTOR, s->dim[0]);
    return require_vector(r, e, 0);
  case FUNC_append_row: /* vectors, or matrices one below the other */
  case FUNC_append_col: {
    bool row = e->func == FUNC_append_row;
    if (s->kind == TY_MATRIX || t->kind == TY_MATRIX) {
      if (!require_matrix(r, e, 0, false) || !require_matrix(r, e, 1, false) || !require_length(r, e, s->dim[row], t->dim[row]))
        return false;
      MExpr *sum = length_sum(r, s->dim[!row], 1, t->dim[!row], 0, e->span);
      *out = row ? matrix(sum, s->dim[1]) : matrix(s->dim[0], sum);
      return true;
    }
    TypeKind kind = row ? TY_VECTOR : TY_ROW_VECTOR;
    for (int i = 0; i < 2; i++)
      if (!is_scalar(&e->args[i]->type) && e->args[i]->type.kind != kind) {
        diag_error(e->args[i]->span, row ? "row vectors are joined by append_col" : "vectors are joined by append_row",
                   "%s() does not take %s", func_info[e->func].name, shape_text(r, &e->args[i]->type));
        return false;
      }
    MExpr *one = mexpr_int(1, e->span);
    *out = vector(kind, length_sum(r, is_scalar(s) ? one : s->dim[0], 1, is_scalar(t) ? one : t->dim[0], 0, e->span));
    return true;
  }
  case FUNC_transpose:
    if (is_scalar(s)) return require_matrix(r, e, 0, false);
    *out = s->kind == TY_MATRIX ? matrix(s->dim[1], s->dim[0]) : vector(s->kind == TY_VECTOR ? TY_ROW_VECTOR : TY_VECTOR, s->dim[0]);
    return true;
  case FUNC_add_diag:
    *out = *s;
    return require_matrix(r, e, 0, true) && (is_scalar(t) || (require_vector(r, e, 1) && require_length(r, e, s->dim[0], t->dim[0])));
  case FUNC_diag_pre_multiply:
    *out = *t;
    return require_vector(r, e, 0) && require_matrix(r, e, 1, false) && require_length(r, e, s->dim[0], t->dim[0]);
  case FUNC_diag_post_multiply:
    *out = *s;
    return require_matrix(r, e, 0, false) && require_vector(r, e, 1) && require_length(r, e, s->dim[1], t->dim[0]);
  case FUNC_crossprod:
    *out = matrix(s->dim[1], s->dim[1]);
    return require_matrix(r, e, 0, false);
  case FUNC_tcrossprod:
    *out = matrix(s->dim[0], s->dim[0]);
    return require_matrix(r, e, 0, false);
  case FUNC_quad_form: /* B' A B */
    if (!require_matrix(r, e, 0, true)) return false;
    if (t->kind == TY_VECTOR)
      *out = scalar(TY_REAL);
    else if (!require_matrix(r, e, 1, false))
      return false;
    else
      *out = matrix(t->dim[1], t->dim[1]);
    return require_length(r, e, s->dim[0], t->dim[0]);
  case FUNC_trace:
  case FUNC_log_det:
  case FUNC_log_determinant:
    *out = scalar(TY_REAL);
    return require_matrix(r, e, 0, true);
  case FUNC_inverse:
  case FUNC_inverse_spd:
  case FUNC_cholesky_decompose:
    *out = *s;
    return require_matrix(r, e, 0, true);
  case FUNC_mdivide_left:
  case FUNC_mdivide_left_spd:
  case FUNC_mdivide_left_tri_low:
    if (!require_matrix(r, e, 0, true)) return false;
    if (t->kind == TY_VECTOR)
      *out = vector(TY_VECTOR, s->dim[1]);
    else if (!require_matrix(r, e, 1, false))
      return false;
    else
      *out = matrix(s->dim[1], t->dim[1]);
    return require_length(r, e, s->dim[0], t->dim[0]);
  default:
    BUG("no shape for %s", func_info[e->func].name);
  }
}

static bool call_type(Resolver *r, MExpr *e)
{
  FuncClass c = func_info[e->func].class_;
  const char *what = arena_printf("%s()", func_info[e->func].name);
  if (c == FC_REDUCE_OR_MAP) c = e->n_args == 1 ? FC_REDUCE : e->func == FUNC_log_sum_exp ? FC_MAP : FC_INT_MAP;
  switch (c) {
  case FC_MAP:
  case FC_INT_MAP:
    e->type = e->args[0]->type;
    for (int i = 1; i < e->n_args; i++)
      if (!broadcast(r, &e->type, &e->args[i]->type, e->span, arena_printf("%s cannot take", what), "together with", &e->type))
        return false;
    if (c == FC_MAP && e->type.kind == TY_INT) e->type.kind = TY_REAL;
    return true;
  case FC_REDUCE:
    e->type = scalar(TY_REAL);
    if (!is_scalar(&e->args[0]->type)) return true;
    diag_error(e->args[0]->span,
               arena_printf("over the elements of a family: %s(m in 1..M: x[m]), or a slice: %s(x[1..M])", func_info[e->func].name,
                            func_info[e->func].name),
               "%s() takes a vector or matrix; this is %s", func_info[e->func].name, shape_text(r, &e->args[0]->type));
    return false;
  case FC_DOT:
    e->type = scalar(TY_REAL);
    return require_vector(r, e, 0) && require_vector(r, e, 1) && require_length(r, e, e->args[0]->type.dim[0], e->args[1]->type.dim[0]);
  case FC_VECTOR:
    e->type = e->args[0]->type;
    return require_vector(r, e, 0);
  case FC_MATRIX:
    return matrix_call_type(r, e);
  case FC_SIZE:
    e->type = scalar(TY_INT);
    return true;
  case FC_CONSTANT:
    e->type = scalar(TY_REAL);
    return true;
  case FC_PRESENT:
    e->type = scalar(TY_INT);
    if (e->args[0]->kind == M_REF && r->m->families.at[e->args[0]->family].role == ROLE_OBSERVED) return true;
    diag_error(e->args[0]->span, NULL, "present() takes an observed element, as present(x[n])");
    return false;
  case FC_REDUCE_OR_MAP:
    break;
  }
  BUG("class of %s", func_info[e->func].name);
}

/* rows(x), cols(x), num_elements(x) are known once shapes are. */
static MExpr *size_call(const MExpr *e)
{
  const Type *t = &e->args[0]->type;
  MExpr *one = mexpr_int(1, e->span);
  MExpr *rows = is_scalar(t) || t->kind == TY_ROW_VECTOR ? one : t->dim[0];
  MExpr *cols = t->kind == TY_MATRIX ? t->dim[1] : t->kind == TY_ROW_VECTOR ? t->dim[0] : one;
  long value;
  if (e->func == FUNC_rows) return rows;
  if (e->func == FUNC_cols) return cols;
  if (mexpr_const_int(rows, &value) && value == 1) return cols;
  if (mexpr_const_int(cols, &value) && value == 1) return rows;
  MExpr *product = mexpr_new(M_BINARY, e->span, 2);
  product->type = scalar(TY_INT);
  product->op = OP_MUL;
  product->args[0] = rows;
  product->args[1] = cols;
  return product;
}

static MExpr *unknown_function(Resolver *r, const AExpr *a)
{
  const char *hint = habit_function(a->name);
  int family = find_block_let(r, a->name);
  if (family < 0) family = family_find(r, a->name);
  if (family >= 0) {
    const Family *f = &r->m->families.at[family];
    hint = f->n_index                ? arena_printf("elements are in brackets: %s", definition_text(r, family))
           : type_rank(f->type.kind) ? arena_printf("entries are in brackets: %s[1]", f->name)
                                     : "a product needs its '*'";
  } else if (dist_find(a->name) >= 0) {
    hint = arena_printf("its log density is %s_lp%cf(x | %s)", a->name, dist_info[dist_find(a->name)].kind == DK_DISCRETE ? 'm' : 'd',
                        dist_info[dist_find(a->name)].arguments);
  } else if (!hint) {
    const char *list[FUNC_COUNT];
    for (int i = 0; i < FUNC_COUNT; i++) list[i] = func_info[i].name;
    const char *near = diag_nearest(a->name, list, FUNC_COUNT);
    if (near) hint = arena_printf("did you mean '%s'?", near);
  }
  diag_error(a->name_span, hint, "there is no function '%s'", a->name);
  return NULL;
}

/* normal_lpdf -> the distribution and the kind; false when the name has no such ending. */
static bool split_lp(Name name, Name *dist, LpKind *lp)
{
  static const char *const endings[] = {"_lpdf", "_lpmf", "_lcdf", "_lccdf"};
  size_t n = strlen(name);
  for (int i = 0; i < 4; i++) {
    size_t k = strlen(endings[i]);
    if (n > k && !strcmp(name + n - k, endings[i])) {
      *dist = intern_n(name, n - k);
      *lp = (LpKind)i;
      return true;
    }
  }
  return false;
}

static MExpr *resolve_call(Resolver *r, const AExpr *a)
{
  MExpr *e = mexpr_new(M_CALL, a->span, a->n);
  bool fine = true, before = r->in_index;
  r->in_index = false;
  for (int i = 0; i < a->n; i++) fine = (e->args[i] = resolve_expr(r, a->args[i])) && fine;
  r->in_index = before;
  e->func = func_find(a->name);
  if (e->func < 0) {
    Name dist;
    LpKind lp;
    if (!split_lp(a->name, &dist, &lp) || dist_find(dist) < 0) return unknown_function(r, a);
    diag_error(a->span, arena_printf("write: %s(x | %s)", a->name, dist_info[dist_find(dist)].arguments),
               "a '|' stands between the value and the arguments of %s()", a->name);
    return NULL;
  }
  const FuncInfo *f = &func_info[e->func];
  if (a->n < f->min_args || a->n > f->max_args) {
    const char *signature = arena_printf("%s(%s)", f->name, f->arguments);
    if (f->class_ == FC_REDUCE_OR_MAP) signature = arena_printf("%s or %s(x, y)", signature, f->name);
    diag_error(a->span, signature, "%s() takes %s, not %d", f->name,
               f->min_args == f->max_args ? f->max_args ? counted(f->min_args, "argument", "arguments") : "no arguments"
                                          : arena_printf("%d or %d arguments", f->min_args, f->max_args),
               a->n);
    return NULL;
  }
  if (!fine || !call_type(r, e)) return NULL;
  return f->class_ == FC_SIZE ? size_call(e) : e;
}

static MExpr *resolve_lpdf(Resolver *r, const AExpr *a)
{
  MExpr *e = mexpr_new(M_LPDF, a->span, a->n);
  bool fine = true;
  Name dist;
  for (int i = 0; i < a->n; i++) fine = (e->args[i] = resolve_expr(r, a->args[i])) && fine;
  if (!split_lp(a->name, &dist, &e->lp)) {
    const char *hint = habit_function(a->name);
    int d = dist_find(a->name);
    if (d >= 0)
      hint = arena_printf("write: %s_lp%cf(x | %s)", a->name, dist_info[d].kind == DK_DISCRETE ? 'm' : 'd', dist_info[d].arguments);
    diag_error(a->name_span, hint ? hint : "for example: normal_lpdf(x | mu, sigma)", "'|' belongs to log densities, and '%s' is none",
               a->name);
    return NULL;
  }
  e->dist = dist_lookup(dist, a->name_span);
  if (e->dist < 0) return NULL;
  const DistInfo *d = &dist_info[e->dist];
  if (e->lp <= LP_LPMF && (d->kind == DK_DISCRETE) != (e->lp == LP_LPMF)) {
    diag_error(a->name_span, arena_printf("write: %s_%s", d->name, d->kind == DK_DISCRETE ? "lpmf" : "lpdf"), "%s is %s", d->name,
               d->kind == DK_DISCRETE ? "discrete" : "continuous");
    return NULL;
  }
  if (e->lp >= LP_LCDF && !dist_has_cdf(e->dist)) {
    diag_error(a->name_span, NULL, "%s has no cumulative distribution function", d->name);
    return NULL;
  }
  if (a->n - 1 != d->n_args) {
    diag_error(a->span, arena_printf("%s(x | %s)", a->name, d->arguments), "%s takes %s after the '|', not %d", a->name,
               d->n_args ? counted(d->n_args, "argument", "arguments") : "nothing", a->n - 1);
    return NULL;
  }
  if (!fine || !dist_check_args(r, e->dist, a->name_span, a->n - 1, e->args + 1, &e->args[0]->type, false, e->args[0]->span)) return NULL;
  e->type = scalar(TY_REAL);
  return e;
}

static MExpr *resolve_reduce(Resolver *r, const AExpr *a)
{
  static const struct {
    const char *name;
    ReduceOp op;
  } reductions[] = {
#define REDUCTION(name, op) {#name, RED_##op},
#include "word.def"
  };
  enum { N_REDUCTIONS = sizeof reductions / sizeof *reductions };
  int k = 0;
  while (k < N_REDUCTIONS && strcmp(a->name, reductions[k].name)) k++;
  if (k == N_REDUCTIONS) {
    diag_error(((Span){a->span.begin, a->span.begin + (int)strlen(a->name)}),
               "the reductions are sum, prod, min, max, mean and log_sum_exp", "'%s' is not a reduction", a->name);
    return NULL;
  }
  if (find_var(r, a->var) >= 0 || find_block_let(r, a->var) >= 0 || family_find(r, a->var) >= 0) {
    diag_error(a->name_span, "choose another name", "'%s' is already the name of a variable", a->var);
    return NULL;
  }
  MExpr *e = mexpr_new(M_REDUCE, a->span, 1);
  bool before = r->in_index;
  r->in_index = true; /* integer lets in the range mean their definition */
  MExpr *lo = resolve_int(r, a->args[0], "the start of a range"), *hi = resolve_int(r, a->args[1], "the end of a range");
  r->in_index = before;
  bool fine = lo && hi;
  for (int i = 0; i < 2; i++) {
    MExpr *end = i ? hi : lo;
    if (!end) continue;
    mark_sizes(r, end);
    if (expr_only_known(r, end)) continue;
    diag_error(end->span, NULL, "the range of a reduction depends on inputs and variables of plates only");
    note_random(r, end);
    fine = false;
  }
  e->reduce = reductions[k].op;
  e->var = r->m->vars.n;
  VEC_PUSH(r->m->vars, (Var){.name = a->var, .kind = VAR_REDUCTION, .plate = -1, .lo = lo, .hi = hi, .span = a->name_span});
  VEC_PUSH(r->reductions, e->var);
  MExpr *body = resolve_expr(r, a->args[2]);
  r->reductions.n--;
  if (!body || !fine) return NULL;
  e->args[0] = body;
  e->type = body->type;
  if (!is_scalar(&body->type) && e->reduce != RED_SUM && e->reduce != RED_MEAN)
    return require_scalar(r, body, arena_printf("%s(m in ...)", a->name)) ? e : NULL;
  if (e->type.kind == TY_INT && (e->reduce == RED_MEAN || e->reduce == RED_LSE)) e->type.kind = TY_REAL;
  return e;
}

static MExpr *resolve_node(Resolver *r, const AExpr *a)
{
  MExpr *e;
  switch (a->kind) {
  case A_NUM:
    e = mexpr_new(M_NUM, a->span, 0);
    e->type = scalar(a->is_int ? TY_INT : TY_REAL);
    e->number = a->number;
    return e;
  case A_NAME:
    return resolve_name(r, a, 0, NULL, a->span);
  case A_INDEX:
    return resolve_indexed(r, a);
  case A_CALL:
    return resolve_call(r, a);
  case A_LPDF:
    return resolve_lpdf(r, a);
  case A_REDUCE:
    return resolve_reduce(r, a);
  case A_UNARY:
    return resolve_unary(r, a);
  case A_BINARY: {
    MExpr *x = resolve_expr(r, a->args[0]), *y = resolve_expr(r, a->args[1]);
    if (!x || !y) return NULL;
    e = mexpr_new(M_BINARY, a->span, 2);
    e->op = a->op;
    e->args[0] = x;
    e->args[1] = y;
    if (binary_type(r, a->op, x, y, a->span, &e->type)) return e;
    note_operands(r, x, y);
    return NULL;
  }
  case A_COND:
    return resolve_cond(r, a);
  case A_VECTOR:
    return resolve_vector(r, a);
  case A_SLICE:
  case A_STAR:
  case A_SET:
    break;
  }
  BUG("an index outside of brackets");
}

MExpr *resolve_expr(Resolver *r, const AExpr *a)
{
  r->level++;
  MExpr *e = resolve_node(r, a);
  r->level--;
  return e;
}
