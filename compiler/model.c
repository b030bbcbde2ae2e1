/* Helpers on the resolved model: affine forms, walks, canonical text, the dump. See model.h. */
#include "model.h"
#include "ast.h"
#include "dist.h"
#include "func.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int model_plate_chain(const Model *m, int plate, int *out, int max)
{
  int n = 0;
  for (int p = plate; p >= 0; p = m->plates.at[p].parent) n++;
  ASSERT(n <= max);
  for (int p = plate, i = n; p >= 0; p = m->plates.at[p].parent) out[--i] = p;
  return n;
}

/* ---- walks ----------------------------------------------------------------------------------------------------------------- */

static void walk_indices(int n, const Index *index, MExprVisit visit, void *data)
{
  for (int i = 0; i < n; i++) {
    mexpr_walk(index[i].expr, visit, data);
    mexpr_walk(index[i].lo, visit, data);
    mexpr_walk(index[i].hi, visit, data);
  }
}

void mexpr_walk(const MExpr *e, MExprVisit visit, void *data)
{
  if (!e) return;
  visit(e, data);
  walk_indices(e->n_index, e->index, visit, data);
  walk_indices(e->n_entry, e->entry, visit, data);
  for (int i = 0; i < e->n_args; i++) mexpr_walk(e->args[i], visit, data);
}

static void visit_ref(const MExpr *e, void *data)
{
  RefList *out = data;
  if (e->kind == M_REF) VEC_PUSH(*out, e);
}

void mexpr_refs(const MExpr *e, RefList *out)
{
  mexpr_walk(e, visit_ref, out);
}

static void visit_var(const MExpr *e, void *data)
{
  if (e->kind == M_VAR) *(bool *)data = true;
}

bool mexpr_has_var(const MExpr *e)
{
  bool found = false;
  mexpr_walk(e, visit_var, &found);
  return found;
}

typedef struct {
  const Model *m;
  unsigned roles;
  bool found;
} Mention;

static void visit_mention(const MExpr *e, void *data)
{
  Mention *q = data;
  if (e->kind == M_REF && (q->roles & 1u << q->m->families.at[e->family].role)) q->found = true;
}

bool mexpr_mentions(const Model *m, const MExpr *e, unsigned roles)
{
  Mention q = {m, roles, false};
  mexpr_walk(e, visit_mention, &q);
  return q.found;
}

/* ---- constants and affine forms -------------------------------------------------------------------------------------------- */

bool mexpr_const_real(const MExpr *e, double *value)
{
  double a, b;
  if (!e) return false;
  switch (e->kind) {
  case M_NUM:
    *value = e->number;
    return true;
  case M_UNARY:
    if (e->op != OP_NEG || !mexpr_const_real(e->args[0], &a)) return false;
    *value = -a;
    return true;
  case M_BINARY:
    if (!mexpr_const_real(e->args[0], &a) || !mexpr_const_real(e->args[1], &b)) return false;
    switch (e->op) {
    case OP_ADD:
      *value = a + b;
      return true;
    case OP_SUB:
      *value = a - b;
      return true;
    case OP_EMUL:
    case OP_MUL:
      *value = a * b;
      return true;
    case OP_EDIV:
    case OP_DIV:
      *value = a / b;
      return true;
    case OP_POW:
      *value = pow(a, b);
      return true;
    default:
      return false;
    }
  case M_CALL:
    if (e->func == FUNC_pi)
      *value = M_PI;
    else if (e->func == FUNC_e)
      *value = M_E;
    else if (e->func == FUNC_sqrt2)
      *value = M_SQRT2;
    else if (e->func == FUNC_positive_infinity)
      *value = INFINITY;
    else if (e->func == FUNC_negative_infinity)
      *value = -INFINITY;
    else
      return false;
    return true;
  default:
    return false;
  }
}

bool mexpr_const_int(const MExpr *e, long *value)
{
  double v;
  if (!e || e->type.kind != TY_INT || !mexpr_const_real(e, &v) || fabs(v) > 9e15) return false;
  *value = (long)v;
  return true;
}

static int term_compare(const AffineTerm *a, const AffineTerm *b)
{
  return a->kind != b->kind ? (int)a->kind - (int)b->kind : a->id - b->id;
}

bool affine_combine(const Affine *a, long scale, const Affine *b, Affine *out)
{
  Affine r = {.term = NEW_ARRAY(AffineTerm, a->n + b->n)};
  long c;
  if (__builtin_mul_overflow(scale, b->constant, &c) || __builtin_add_overflow(a->constant, c, &r.constant)) return false;
  for (int i = 0, j = 0; i < a->n || j < b->n;) {
    int order = i == a->n ? 1 : j == b->n ? -1 : term_compare(&a->term[i], &b->term[j]);
    AffineTerm t = order <= 0 ? a->term[i] : b->term[j];
    if (order > 0) t.coef = 0;
    if (order >= 0 && (__builtin_mul_overflow(scale, b->term[j].coef, &c) || __builtin_add_overflow(t.coef, c, &t.coef))) return false;
    i += order <= 0;
    j += order >= 0;
    if (t.coef) r.term[r.n++] = t;
  }
  *out = r;
  return true;
}

static bool affine_atom(AtomKind kind, int id, Affine *out)
{
  *out = (Affine){.n = 1, .term = NEW(AffineTerm)};
  out->term[0] = (AffineTerm){kind, id, 1};
  return true;
}

bool mexpr_affine(const Model *m, const MExpr *e, Affine *out)
{
  Affine a, b, zero = {0};
  if (!e || e->type.kind != TY_INT) return false;
  switch (e->kind) {
  case M_NUM:
    *out = (Affine){.constant = (long)e->number};
    return true;
  case M_VAR:
    return affine_atom(ATOM_VAR, e->var, out);
  case M_REF: {
    const Family *f = &m->families.at[e->family];
    return f->role == ROLE_INPUT && !f->n_index && !e->n_entry && affine_atom(ATOM_INPUT, e->family, out);
  }
  case M_UNARY:
    return e->op == OP_NEG && mexpr_affine(m, e->args[0], &a) && affine_combine(&zero, -1, &a, out);
  case M_BINARY:
    if (e->op != OP_ADD && e->op != OP_SUB && e->op != OP_MUL) return false;
    if (!mexpr_affine(m, e->args[0], &a) || !mexpr_affine(m, e->args[1], &b)) return false;
    if (e->op == OP_ADD) return affine_combine(&a, 1, &b, out);
    if (e->op == OP_SUB) return affine_combine(&a, -1, &b, out);
    if (!a.n) return affine_combine(&zero, a.constant, &b, out);
    if (!b.n) return affine_combine(&zero, b.constant, &a, out);
    return false;
  default:
    return false;
  }
}

static MExpr *int_node(MKind kind, Span span, int n_args, MExpr *a, MExpr *b)
{
  MExpr *e = NEW(MExpr);
  *e = (MExpr){
      .kind = kind, .span = span, .type = {.kind = TY_INT}, .var = -1, .family = -1, .n_args = n_args, .args = NEW_ARRAY(MExpr *, 2)};
  e->args[0] = a;
  e->args[1] = b;
  return e;
}

static MExpr *int_number(long value, Span span)
{
  MExpr *e = int_node(M_NUM, span, 0, NULL, NULL);
  e->number = (double)value;
  return e;
}

static MExpr *int_binary(OpKind op, MExpr *a, MExpr *b)
{
  MExpr *e = int_node(M_BINARY, a->span, 2, a, b);
  e->op = op;
  return e;
}

/* sum + term or sum - term; sum may still be NULL. */
static MExpr *add_term(MExpr *sum, bool plus, MExpr *term)
{
  if (sum) return int_binary(plus ? OP_ADD : OP_SUB, sum, term);
  if (plus) return term;
  MExpr *e = int_node(M_UNARY, term->span, 1, term, NULL);
  e->op = OP_NEG;
  return e;
}

static MExpr *add_terms(MExpr *sum, const Affine *a, bool plus, Span span)
{
  for (int i = 0; i < a->n; i++) {
    const AffineTerm *t = &a->term[i];
    if ((t->coef > 0) != plus) continue;
    MExpr *atom = int_node(t->kind == ATOM_VAR ? M_VAR : M_REF, span, 0, NULL, NULL);
    if (t->kind == ATOM_VAR)
      atom->var = t->id;
    else
      atom->family = t->id;
    if (labs(t->coef) != 1) atom = int_binary(OP_MUL, int_number(labs(t->coef), span), atom);
    sum = add_term(sum, plus, atom);
  }
  return sum;
}

/* What is positive stands first: N - 1, 1 - N. */
MExpr *affine_expr(const Affine *a, Span span)
{
  MExpr *sum = add_terms(NULL, a, true, span);
  bool leading = !sum && a->constant > 0;
  if (leading) sum = int_number(a->constant, span);
  sum = add_terms(sum, a, false, span);
  if (!sum) return int_number(a->constant, span);
  if (a->constant && !leading) sum = add_term(sum, a->constant > 0, int_number(labs(a->constant), span));
  return sum;
}

/* ---- canonical text -------------------------------------------------------------------------------------------------------- */

/* Binding strength; the parser's table. */
static int strength(const MExpr *e)
{
  if (e->kind == M_COND) return 0;
  if (e->kind == M_UNARY) return e->op == OP_TRANSPOSE ? 10 : 8;
  if (e->kind == M_NUM && (e->number < 0 || signbit(e->number))) return 8;
  if (e->kind != M_BINARY) return 11;
  switch (e->op) {
  case OP_OR:
    return 1;
  case OP_AND:
    return 2;
  case OP_EQ:
  case OP_NE:
    return 3;
  case OP_LT:
  case OP_LE:
  case OP_GT:
  case OP_GE:
    return 4;
  case OP_ADD:
  case OP_SUB:
    return 5;
  case OP_POW:
    return 9;
  default:
    return 6;
  }
}

static void print_number(const MExpr *e, StrBuf *out)
{
  char text[40];
  if (e->type.kind == TY_INT) {
    sb_printf(out, "%.0f", e->number);
    return;
  }
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, e->number);
    if (strtod(text, NULL) == e->number) break;
  }
  sb_puts(out, text);
  if (!strpbrk(text, ".en")) sb_puts(out, ".0"); /* en: exponents, inf, nan */
}

static void print(const Model *m, const MExpr *e, bool tight, StrBuf *out);

static void print_operand(const Model *m, const MExpr *e, bool parentheses, bool tight, StrBuf *out)
{
  if (parentheses) sb_putc(out, '(');
  print(m, e, tight, out);
  if (parentheses) sb_putc(out, ')');
}

static void print_index(const Model *m, const Index *x, StrBuf *out)
{
  print(m, x->kind == IX_SLICE ? x->lo : x->expr, true, out);
  if (x->kind == IX_SLICE) {
    sb_puts(out, "..");
    print(m, x->hi, true, out);
  }
  if (x->kind == IX_LOOKUP && x->shift) sb_printf(out, "%+ld", x->shift);
}

const char *index_text(const Model *m, const Index *x)
{
  StrBuf b = {0};
  print_index(m, x, &b);
  return sb_text(&b);
}

static void print_indices(const Model *m, int n, const Index *index, StrBuf *out)
{
  if (!n) return;
  sb_putc(out, '[');
  for (int i = 0; i < n; i++) {
    if (i) sb_putc(out, ',');
    print_index(m, &index[i], out);
  }
  sb_putc(out, ']');
}

static void print_args(const Model *m, int n, MExpr *const *args, bool tight, StrBuf *out)
{
  for (int i = 0; i < n; i++) {
    if (i) sb_puts(out, tight ? "," : ", ");
    print(m, args[i], tight, out);
  }
}

static void print(const Model *m, const MExpr *e, bool tight, StrBuf *out)
{
  static const char *const reductions[] = {"sum", "prod", "min", "max", "mean", "log_sum_exp"};
  static const char *const suffix[] = {"lpdf", "lpmf", "lcdf", "lccdf"};
  switch (e->kind) {
  case M_NUM:
    print_number(e, out);
    break;
  case M_VAR:
    sb_puts(out, m->vars.at[e->var].name);
    break;
  case M_REF:
    sb_puts(out, m->families.at[e->family].name);
    print_indices(m, e->n_index, e->index, out);
    print_indices(m, e->n_entry, e->entry, out);
    break;
  case M_UNARY:
    if (e->op == OP_TRANSPOSE) {
      print_operand(m, e->args[0], strength(e->args[0]) < 10, tight, out);
      sb_putc(out, '\'');
    } else {
      sb_puts(out, op_text(e->op));
      print_operand(m, e->args[0], strength(e->args[0]) <= 8, tight, out);
    }
    break;
  case M_BINARY: {
    int s = strength(e);
    bool right = e->op == OP_POW;
    print_operand(m, e->args[0], strength(e->args[0]) < s + right, tight, out);
    sb_printf(out, tight || right ? "%s" : " %s ", op_text(e->op));
    print_operand(m, e->args[1], strength(e->args[1]) < s + !right, tight, out);
    break;
  }
  case M_COND:
    print_operand(m, e->args[0], strength(e->args[0]) <= 0, tight, out);
    sb_puts(out, " ? ");
    print(m, e->args[1], tight, out);
    sb_puts(out, " : ");
    print(m, e->args[2], tight, out);
    break;
  case M_CALL:
    sb_printf(out, "%s(", func_info[e->func].name);
    print_args(m, e->n_args, e->args, tight, out);
    sb_putc(out, ')');
    break;
  case M_LPDF:
    sb_printf(out, "%s_%s(", dist_info[e->dist].name, suffix[e->lp]);
    print(m, e->args[0], tight, out);
    sb_puts(out, e->n_args > 1 ? " | " : " |");
    print_args(m, e->n_args - 1, e->args + 1, tight, out);
    sb_putc(out, ')');
    break;
  case M_REDUCE: {
    const Var *v = &m->vars.at[e->var];
    sb_printf(out, "%s(%s in ", reductions[e->reduce], v->name);
    print(m, v->lo, true, out);
    sb_puts(out, "..");
    print(m, v->hi, true, out);
    sb_puts(out, ": ");
    print(m, e->args[0], tight, out);
    sb_putc(out, ')');
    break;
  }
  case M_VECTOR:
    sb_putc(out, '[');
    print_args(m, e->n_args, e->args, tight, out);
    sb_putc(out, ']');
    break;
  case M_ENTRY:
    print_operand(m, e->args[0], strength(e->args[0]) < 11, tight, out);
    print_indices(m, e->n_entry, e->entry, out);
    break;
  }
}

void mexpr_print(const Model *m, const MExpr *e, StrBuf *out)
{
  print(m, e, false, out);
}

const char *mexpr_text(const Model *m, const MExpr *e)
{
  StrBuf b = {0};
  mexpr_print(m, e, &b);
  return sb_text(&b);
}

/* ---- the dump -------------------------------------------------------------------------------------------------------------- */

const char *type_name(TypeKind kind)
{
  static const char *const names[] = {
#define TYPE(name, kind, ...) [TY_##kind] = #name,
#include "word.def"
  };
  return names[kind];
}

const char *type_text(const Model *m, const Type *t)
{
  StrBuf b = {0};
  sb_puts(&b, type_name(t->kind));
  if (t->lower || t->upper) {
    sb_putc(&b, '<');
    if (t->lower) sb_printf(&b, "lower=%s", mexpr_text(m, t->lower));
    if (t->upper) sb_printf(&b, "%supper=%s", t->lower ? ", " : "", mexpr_text(m, t->upper));
    sb_putc(&b, '>');
  }
  if (type_rank(t->kind)) sb_printf(&b, "[%s", mexpr_text(m, t->dim[0]));
  if (t->kind == TY_MATRIX) sb_printf(&b, ", %s", mexpr_text(m, t->dim[1]));
  if (type_rank(t->kind)) sb_putc(&b, ']');
  return sb_text(&b);
}

static void dump_index(const Model *m, int n, const Index *index, FILE *out)
{
  StrBuf b = {0};
  print_indices(m, n, index, &b);
  fputs(sb_text(&b), out);
}

static const char *kind_letters(int n, const Index *index)
{
  static const char letter[] = {[IX_AFFINE] = 'a', [IX_LOOKUP] = 'l', [IX_EXPR] = 'e', [IX_SLICE] = 's'};
  StrBuf b = {0};
  for (int i = 0; i < n; i++) sb_putc(&b, letter[index[i].kind]);
  return sb_text(&b);
}

/* References of a statement's expressions with the kinds of their indices, a affine, l lookup, e expression, s slice: x[n-1] a. */
static void dump_refs(const Model *m, const Stmt *s, FILE *out)
{
  RefList refs = {0};
  mexpr_refs(s->value, &refs);
  for (int i = 0; i < s->dist.n_args; i++) mexpr_refs(s->dist.args[i], &refs);
  mexpr_refs(s->dist.t_lo, &refs);
  mexpr_refs(s->dist.t_hi, &refs);
  mexpr_refs(s->type.lower, &refs);
  mexpr_refs(s->type.upper, &refs);
  for (int i = 0; i < refs.n; i++) {
    const MExpr *r = refs.at[i];
    fprintf(out, "%s%s", i ? ", " : "    refs ", mexpr_text(m, r));
    if (r->n_index || r->n_entry) fprintf(out, " %s", kind_letters(r->n_index, r->index));
    if (r->n_entry) fprintf(out, "/%s", kind_letters(r->n_entry, r->entry));
  }
  if (refs.n) fputc('\n', out);
}

static void dump_stmt(const Model *m, int i, FILE *out)
{
  static const char *const kinds[] = {"input", "latent", "observed", "param", "let", "factor", "amortize"};
  const Stmt *s = &m->stmts.at[i];
  Place p = source_place(s->span.begin);
  fprintf(out, "  %d: %s%s%s", i, s->is_global ? "global " : "", s->is_marginal ? "marginal " : "", kinds[s->kind]);
  if (s->family >= 0) {
    fprintf(out, " %s", m->families.at[s->family].name);
    dump_index(m, s->n_index, s->index, out);
    if (s->kind != ST_AMORTIZE) fprintf(out, " : %s", type_text(m, &s->type));
  }
  if (s->value) fprintf(out, " %s%s", s->kind == ST_FACTOR ? "" : "= ", mexpr_text(m, s->value));
  if (s->has_dist) {
    fprintf(out, " ~ %s(", dist_info[s->dist.dist].name);
    for (int k = 0; k < s->dist.n_args; k++) fprintf(out, "%s%s", k ? ", " : "", mexpr_text(m, s->dist.args[k]));
    fputc(')', out);
    if (s->dist.truncated)
      fprintf(out, " T[%s, %s]", s->dist.t_lo ? mexpr_text(m, s->dist.t_lo) : "", s->dist.t_hi ? mexpr_text(m, s->dist.t_hi) : "");
  }
  for (int k = 0; k < s->n_from; k++) fprintf(out, "%s%s", k ? ", " : " from ", s->from[k].text);
  if (s->plate >= 0) fprintf(out, "  in plate %d", s->plate);
  fprintf(out, "  @%d:%d\n", p.line, p.column);
  dump_refs(m, s, out);
}

void model_dump(const Model *m, FILE *out)
{
  static const char *const roles[] = {"input", "global", "local", "marginal", "observed", "param", "let"};
  fprintf(out, "model %s\n", m->name);
  fprintf(out, "plates\n");
  for (int i = 0; i < m->plates.n; i++) {
    const Plate *p = &m->plates.at[i];
    const Var *v = &m->vars.at[p->var];
    fprintf(out, "  %d: %s in %s..%s", i, v->name, mexpr_text(m, v->lo), mexpr_text(m, v->hi));
    if (p->parent >= 0) fprintf(out, "  in plate %d", p->parent);
    fputc('\n', out);
  }
  fprintf(out, "families\n");
  for (int i = 0; i < m->families.n; i++) {
    const Family *f = &m->families.at[i];
    fprintf(out, "  %d: %s %s : %s", i, roles[f->role], f->name, type_text(m, &f->type));
    if (f->n_index) fprintf(out, ", %d %s", f->n_index, f->n_index == 1 ? "index" : "indices");
    fprintf(out, "%s%s\n", f->block_let ? ", of its block" : "", f->used_as_size ? ", a size" : "");
  }
  fprintf(out, "statements\n");
  for (int i = 0; i < m->stmts.n; i++) dump_stmt(m, i, out);
  if (m->lengths.n) fprintf(out, "lengths\n");
  for (int i = 0; i < m->lengths.n; i++) fprintf(out, "  %s = %s\n", mexpr_text(m, m->lengths.at[i].a), mexpr_text(m, m->lengths.at[i].b));
}

/* ---- sizes that arrays tell ------------------------------------------------------------------------------------------------------------- */

void model_counts(const Model *m, SizeCounts *out)
{
  for (int i = 0; i < m->families.n; i++) {
    const Family *f = &m->families.at[i];
    if (f->role == ROLE_LET) continue;  /* values of latent variables are given to simulate */
    for (int k = 0; k < f->n_index; k++)
      for (int j = 0; j < f->n_statements; j++) {
        const Stmt *s = &m->stmts.at[f->statements[j]];
        const Affine *a = &s->index[k].affine;
        long one;
        if (a->n != 1 || a->term[0].kind != ATOM_VAR || a->term[0].coef != 1) continue;
        const Var *v = &m->vars.at[a->term[0].id];
        if (!mexpr_const_int(v->lo, &one) || one != 1 || v->hi->kind != M_REF || v->hi->n_index) continue;
        long extra = 0;
        bool whole = true;              /* besides, there are but elements at constant indices, and ranges with the same end */
        for (int q = 0; q < f->n_statements; q++) {
          const Stmt *o = &m->stmts.at[f->statements[q]];
          const Affine *b = &o->index[k].affine;
          const Var *u = b->n == 1 && b->term[0].kind == ATOM_VAR ? &m->vars.at[b->term[0].id] : NULL;
          if (o == s) continue;
          if (b->n == 0)
            extra += !(o->kind == ST_INPUT && o->value);
          else
            whole = whole && u && u->hi->kind == M_REF && !u->hi->n_index && u->hi->family == v->hi->family;
        }
        if (whole) VEC_PUSH(*out, (SizeCount){v->hi->family, i, k, extra});
      }
    for (int k = 0; k < type_rank(f->type.kind); k++) {
      const MExpr *x = f->type.dim[k];
      if (x->kind == M_REF && !x->n_index) VEC_PUSH(*out, (SizeCount){x->family, i, f->n_index + k, 0});
    }
    const MExpr *top = f->type.upper;
    if (f->type.kind == TY_INT && top && top->kind == M_REF && !top->n_index && m->families.at[top->family].type.kind == TY_INT)
      VEC_PUSH(*out, (SizeCount){top->family, i, -1, 0});
  }
}
