/* The tree's printer: --dump ast. One statement per line as nested lists, blocks indented; everything the parser understood is there, so
 * that precedence and spans can be checked by eye. */
#include "ast.h"

const char *op_text(OpKind op)
{
  static const char *const text[] = {
      [OP_ADD] = "+",   [OP_SUB] = "-",  [OP_MUL] = "*", [OP_DIV] = "/", [OP_POW] = "^", [OP_EMUL] = ".*",
      [OP_EDIV] = "./", [OP_LT] = "<",   [OP_LE] = "<=", [OP_GT] = ">",  [OP_GE] = ">=", [OP_EQ] = "==",
      [OP_NE] = "!=",   [OP_AND] = "&&", [OP_OR] = "||", [OP_NEG] = "-", [OP_NOT] = "!", [OP_TRANSPOSE] = "'",
  };
  return text[op];
}

static void dump_expr(const AExpr *e, FILE *out);

static void dump_args(const AExpr *e, FILE *out)
{
  for (int i = 0; i < e->n; i++) {
    fputc(' ', out);
    dump_expr(e->args[i], out);
  }
  fputc(')', out);
}

static void dump_expr(const AExpr *e, FILE *out)
{
  if (!e) {
    fputc('_', out);
    return;
  }
  switch (e->kind) {
  case A_NUM:
    fprintf(out, e->is_int ? "%.0f" : "%#.15g", e->number);
    return;
  case A_NAME:
    fputs(e->name, out);
    return;
  case A_STAR:
    fputc('*', out);
    return;
  case A_INDEX:
    fputs("(at", out);
    break;
  case A_CALL:
    fprintf(out, "(%s", e->name);
    break;
  case A_LPDF:
    fprintf(out, "(%s|", e->name);
    break;
  case A_REDUCE:
    fprintf(out, "(%s over %s", e->name, e->var);
    break;
  case A_UNARY:
  case A_BINARY:
    fprintf(out, "(%s", op_text(e->op));
    break;
  case A_COND:
    fputs("(?:", out);
    break;
  case A_VECTOR:
    fputs("(vector", out);
    break;
  case A_SLICE:
    fputs("(..", out);
    break;
  case A_SET:
    fprintf(out, "(where %s", e->var);
    break;
  }
  dump_args(e, out);
}

static void dump_list(const AList *l, const char *head, FILE *out)
{
  if (!l->n) return;
  fprintf(out, " %s", head);
  for (int i = 0; i < l->n; i++) {
    if (i) fputc(' ', out);
    dump_expr(l->at[i], out);
  }
  fputc(head[0] == '[' ? ']' : ')', out);
}

static void dump_type(const AType *t, FILE *out)
{
  fprintf(out, " (: %s", t->name);
  if (t->lower) fputs(" lower ", out), dump_expr(t->lower, out);
  if (t->upper) fputs(" upper ", out), dump_expr(t->upper, out);
  dump_list(&t->dims, "[", out);
  fputc(')', out);
}

static void dump_dist(const ADist *d, FILE *out)
{
  fprintf(out, " (~ %s", d->name);
  for (int i = 0; i < d->args.n; i++) fputc(' ', out), dump_expr(d->args.at[i], out);
  if (d->truncated) {
    fputs(" T ", out);
    dump_expr(d->lo, out);
    fputc(' ', out);
    dump_expr(d->hi, out);
  }
  fputc(')', out);
}

static void dump_stmts(const AStmtList *list, int indent, FILE *out)
{
  static const char *const roles[] = {
      [ST_INPUT] = "input", [ST_LATENT] = "latent", [ST_OBSERVED] = "observed", [ST_PARAM] = "param", [ST_LET] = "let"};
  for (int i = 0; i < list->n; i++) {
    const AStmt *s = list->at[i];
    Place p = source_place(s->span.begin);
    fprintf(out, "%*s(", indent, "");
    switch (s->kind) {
    case AS_DECLARATION:
      fprintf(out, "%s%s%s %s", s->is_global ? "global " : "", s->is_marginal ? "marginal " : "", roles[s->role], s->name);
      dump_list(&s->index, "[", out);
      if (s->type) dump_type(s->type, out);
      if (s->value) fputs(" (= ", out), dump_expr(s->value, out), fputc(')', out);
      if (s->dist) dump_dist(s->dist, out);
      break;
    case AS_FACTOR:
      fputs("factor ", out);
      dump_expr(s->value, out);
      break;
    case AS_AMORTIZE:
      fprintf(out, "amortize %s", s->name);
      dump_list(&s->index, "[", out);
      dump_list(&s->from, "(from ", out);
      break;
    case AS_PLATE:
      fprintf(out, "plate %s ", s->name);
      dump_expr(s->lo, out);
      fputc(' ', out);
      dump_expr(s->hi, out);
      break;
    }
    fprintf(out, " @%d:%d", p.line, p.column);
    if (s->kind == AS_PLATE) {
      fputc('\n', out);
      dump_stmts(&s->body, indent + 2, out);
      fprintf(out, "%*s", indent, "");
    }
    fputs(")\n", out);
  }
}

void ast_dump(const Ast *ast, FILE *out)
{
  fprintf(out, "(model %s\n", ast->name);
  dump_stmts(&ast->body, 2, out);
  fputs(")\n", out);
}
