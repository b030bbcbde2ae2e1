/* Grammar of the .pgm language (docs/language.md): tokens -> tree (compiler/ast.h). Pure, without conflicts; actions only build the
 * tree.
 *
 * Errors. The whole text is scanned first. repair() then puts in the semicolons and braces whose absence is certain: before a word that
 * begins a statement, at the end of the text. After a syntax error the parser's next token is RESYNC, which stands for the rest of the
 * broken statement; so an error costs one statement and never the brace of its plate. */
%define api.pure full
%define api.location.type {Span}
%define parse.error custom
%define parse.lac full
%expect 0
%param {Parser *p}

%code requires {
#include "parse.h"
typedef struct Parser Parser;
}

%code {
#include "dist.h"
#include "habit.h"
#include <limits.h>
#include <string.h>

#define YYMAXDEPTH 100000
#define YYLLOC_DEFAULT(current, rhs, n) \
  ((current) = (n) ? (Span){YYRHSLOC(rhs, 1).begin, YYRHSLOC(rhs, n).end} : (Span){YYRHSLOC(rhs, 0).end, YYRHSLOC(rhs, 0).end})

struct Parser {
  TokenVec tokens;
  int next;                             /* the token that the parser reads next */
  bool resync;                          /* give it RESYNC first */
  int recovered;                        /* where it went on after the last error; each time further on, so that it ends */
  Ast *ast;
  bool complete;                        /* the model's header was understood */
  bool too_deep;                        /* said already */
};

static int yylex(YYSTYPE *value, Span *span, Parser *p);
static void yyerror(Span *span, Parser *p, const char *message);

static AExpr *node(Parser *p, AKind kind, Span span, int n, ...);
static AExpr *node_list(Parser *p, AKind kind, Span span, AExpr *first, AList rest);
static AExpr *operation(Parser *p, OpKind op, Span span, AExpr *a, AExpr *b);
static AExpr *named(AExpr *e, Name name, Span name_span);
static void check_word(Name name, Span span, const char *word, const char *hint);
static void set_bound(AType *type, Name name, Span span, AExpr *value);
static void forgotten(Span span, Span before, const char *what);
static AStmt *declaration(AStmt *role, AStmt *target, AType *type, AStmt *tail, Span span);
}

%union {
  Token token;
  AExpr *expr;
  AList list;
  AType *type;
  ADist *dist;
  AStmt *stmt;
  AStmtList stmts;
}

%token <token> NAME "a name" NUMBER "a number"
%token MODEL "'model'" INPUT "'input'" LATENT "'latent'" GLOBAL "'global'" MARGINAL "'marginal'" OBSERVED "'observed'"
%token PARAM "'param'" LET "'let'" FACTOR "'factor'" PLATE "'plate'" IN "'in'" AMORTIZE "'amortize'"
%token DOTS "'..'" EMUL "'.*'" EDIV "'./'" EQ "'=='" NE "'!='" LE "'<='" GE "'>='" AND "'&&'" OR "'||'"
%token ARROW "'<-'" PLUS_EQUALS "'+='" BAD "this" RESYNC "the rest of a statement"

%right '?' ':'
%left OR
%left AND
%left EQ NE
%left '<' LE '>' GE
%precedence SUM                         /* a bound ends before a comparison */
%left '+' '-'
%left '*' '/' EMUL EDIV
%precedence UNARY
%right '^'
%precedence '\'' '['

%type <expr> expr opt_expr from_index reference index_item
%type <list> exprs opt_exprs index indices from_list from_indices
%type <type> type opt_type bounds opt_bounds
%type <dist> dist
%type <stmt> statement declaration role target tail plate amortize
%type <stmts> statements block

%%

file: model
    | file error RESYNC { yyerrok; }
    ;

model: MODEL NAME { p->ast->name = $2.name; p->ast->name_span = @2; p->complete = true; } block { p->ast->body = $4; }
     | MODEL error '{' { p->ast->name = intern("model"); p->complete = true; yyerrok; } statements '}' { p->ast->body = $5; }
     | MODEL error RESYNC { YYABORT; }
     ;

block: '{' { forgotten(@1, @0, "{"); } statements '}' { $$ = $3; }
     ;

statements: %empty { $$ = (AStmtList){0}; }
          | statements statement { $$ = $1; if ($2) VEC_PUSH($$, $2); }
          ;

statement: declaration semicolon
         | amortize semicolon
         | FACTOR expr semicolon {
             $$ = NEW(AStmt);
             *$$ = (AStmt){.kind = AS_FACTOR, .span = {@1.begin, @2.end}, .value = $2};
           }
         | plate
         | ';' { $$ = NULL; }
         | error RESYNC { $$ = NULL; yyerrok; }
         ;

semicolon: ';' { forgotten(@1, @0, ";"); }
         ;

/* ---- declarations ---------------------------------------------------------------------------------------------------------- */

declaration: role target opt_type tail { $$ = declaration($1, $2, $3, $4, (Span){@1.begin, @4.end}); }
           ;

role: INPUT { $$ = NEW(AStmt); $$->role = ST_INPUT; }
    | LATENT { $$ = NEW(AStmt); $$->role = ST_LATENT; }
    | GLOBAL LATENT { $$ = NEW(AStmt); $$->role = ST_LATENT; $$->is_global = true; }
    | MARGINAL LATENT { $$ = NEW(AStmt); $$->role = ST_LATENT; $$->is_marginal = true; }
    | OBSERVED { $$ = NEW(AStmt); $$->role = ST_OBSERVED; }
    | PARAM { $$ = NEW(AStmt); $$->role = ST_PARAM; }
    | LET { $$ = NEW(AStmt); $$->role = ST_LET; }
    ;

target: NAME index {
          $$ = NEW(AStmt);
          *$$ = (AStmt){.name = $1.name, .name_span = @1, .target_span = @$, .index = $2};
        }
      ;

index: %empty { $$ = (AList){0}; }
     | '[' indices ']' { $$ = $2; }
     ;

opt_type: %empty { $$ = NULL; }
        | ':' type { $$ = $2; }
        ;

type: NAME opt_bounds {
        $$ = $2;
        $$->name = $1.name;
        $$->name_span = @1;
        $$->span = (Span){@1.begin, @2.end};
      }
    | NAME opt_bounds '[' exprs ']' {
        $$ = $2;
        $$->name = $1.name;
        $$->name_span = @1;
        $$->span = @$;
        $$->dims = $4;
      }
    ;

opt_bounds: %empty { $$ = NEW(AType); }
          | '<' bounds '>' { $$ = $2; }
          ;

bounds: NAME '=' expr %prec SUM { $$ = NEW(AType); set_bound($$, $1.name, @1, $3); }
      | bounds ',' NAME '=' expr %prec SUM { $$ = $1; set_bound($$, $3.name, @3, $5); }
      ;

tail: %empty { $$ = NEW(AStmt); }
    | '=' expr { $$ = NEW(AStmt); $$->value = $2; }
    | '~' dist { $$ = NEW(AStmt); $$->dist = $2; }
    | '=' expr '~' dist { $$ = NEW(AStmt); $$->value = $2; $$->dist = $4; }
    ;

dist: NAME '(' opt_exprs ')' {
        $$ = NEW(ADist);
        *$$ = (ADist){.name = $1.name, .span = @$, .name_span = @1, .args = $3};
      }
    | NAME '(' opt_exprs ')' NAME '[' opt_expr ',' opt_expr ']' {
        check_word($5.name, @5, "T", "truncation is written T[lo, hi]");
        $$ = NEW(ADist);
        *$$ = (ADist){.name = $1.name, .span = @$, .name_span = @1, .args = $3, .truncated = true, .lo = $7, .hi = $9};
      }
    ;

opt_expr: %empty { $$ = NULL; }
        | expr
        ;

/* ---- plates, amortize ------------------------------------------------------------------------------------------------------ */

plate: PLATE NAME IN expr DOTS expr block {
         $$ = NEW(AStmt);
         *$$ = (AStmt){.kind = AS_PLATE, .span = {@1.begin, @6.end}, .name = $2.name, .name_span = @2, .lo = $4, .hi = $6, .body = $7};
       }
     | PLATE NAME error '{' { yyerrok; } statements '}' {
         $$ = NEW(AStmt);
         *$$ = (AStmt){.kind = AS_PLATE, .span = {@1.begin, @3.end}, .name = $2.name, .name_span = @2, .body = $6};
       }
     | PLATE error '{' { yyerrok; } statements '}' {
         $$ = NEW(AStmt);
         *$$ = (AStmt){.kind = AS_PLATE, .span = {@1.begin, @2.end}, .name = intern("?"), .name_span = @1, .body = $5};
       }
     | PLATE NAME error RESYNC { $$ = NULL; yyerrok; }
     | PLATE error RESYNC { $$ = NULL; yyerrok; }
     ;

amortize: AMORTIZE target NAME from_list {
            check_word($3.name, @3, "from", "amortize z[n] from x[n], x[n-1]");
            $$ = $2;
            $$->kind = AS_AMORTIZE;
            $$->span = @$;
            $$->from = $4;
          }
        ;

from_list: reference { $$ = (AList){0}; VEC_PUSH($$, $1); }
         | from_list ',' reference { $$ = $1; VEC_PUSH($$, $3); }
         ;

reference: NAME { $$ = named(node(p, A_NAME, @$, 0), $1.name, @1); }
         | NAME '[' from_indices ']' { $$ = node_list(p, A_INDEX, @$, named(node(p, A_NAME, @1, 0), $1.name, @1), $3); }
         ;

from_indices: from_index { $$ = (AList){0}; VEC_PUSH($$, $1); }
            | from_indices ',' from_index { $$ = $1; VEC_PUSH($$, $3); }
            ;

from_index: index_item
          | '*' { $$ = node(p, A_STAR, @$, 0); }
          | NAME '|' expr '=' expr {
              $$ = node(p, A_SET, @$, 2, $3, $5);
              $$->var = $1.name;
              $$->name_span = @1;
            }
          ;

/* ---- expressions ----------------------------------------------------------------------------------------------------------- */

exprs: expr { $$ = (AList){0}; VEC_PUSH($$, $1); }
     | exprs ',' expr { $$ = $1; VEC_PUSH($$, $3); }
     ;

opt_exprs: %empty { $$ = (AList){0}; }
         | exprs
         ;

indices: index_item { $$ = (AList){0}; VEC_PUSH($$, $1); }
       | indices ',' index_item { $$ = $1; VEC_PUSH($$, $3); }
       ;

index_item: expr
          | expr DOTS expr { $$ = node(p, A_SLICE, @$, 2, $1, $3); }
          ;

expr: NUMBER { $$ = node(p, A_NUM, @$, 0); $$->number = $1.number; $$->is_int = $1.is_int; }
    | NAME { $$ = named(node(p, A_NAME, @$, 0), $1.name, @1); }
    | '(' expr ')' { $$ = $2; $$->span = @$; }
    | '[' exprs ']' { $$ = node_list(p, A_VECTOR, @$, NULL, $2); }
    | NAME '(' opt_exprs ')' { $$ = named(node_list(p, A_CALL, @$, NULL, $3), $1.name, @1); }
    | NAME '(' expr '|' opt_exprs ')' { $$ = named(node_list(p, A_LPDF, @$, $3, $5), $1.name, @1); }
    | NAME '(' NAME IN expr DOTS expr ':' expr ')' {
        $$ = named(node(p, A_REDUCE, @$, 3, $5, $7, $9), $1.name, @1);
        $$->var = $3.name;
        $$->name_span = @3;
      }
    | expr '[' indices ']' { $$ = node_list(p, A_INDEX, @$, $1, $3); }
    | expr '\'' { $$ = operation(p, OP_TRANSPOSE, @$, $1, NULL); }
    | expr '^' expr { $$ = operation(p, OP_POW, @$, $1, $3); }
    | '-' expr %prec UNARY { $$ = operation(p, OP_NEG, @$, $2, NULL); }
    | '+' expr %prec UNARY { $$ = $2; $$->span = @$; }
    | '!' expr %prec UNARY { $$ = operation(p, OP_NOT, @$, $2, NULL); }
    | expr '*' expr { $$ = operation(p, OP_MUL, @$, $1, $3); }
    | expr '/' expr { $$ = operation(p, OP_DIV, @$, $1, $3); }
    | expr EMUL expr { $$ = operation(p, OP_EMUL, @$, $1, $3); }
    | expr EDIV expr { $$ = operation(p, OP_EDIV, @$, $1, $3); }
    | expr '+' expr { $$ = operation(p, OP_ADD, @$, $1, $3); }
    | expr '-' expr { $$ = operation(p, OP_SUB, @$, $1, $3); }
    | expr '<' expr { $$ = operation(p, OP_LT, @$, $1, $3); }
    | expr LE expr { $$ = operation(p, OP_LE, @$, $1, $3); }
    | expr '>' expr { $$ = operation(p, OP_GT, @$, $1, $3); }
    | expr GE expr { $$ = operation(p, OP_GE, @$, $1, $3); }
    | expr EQ expr { $$ = operation(p, OP_EQ, @$, $1, $3); }
    | expr NE expr { $$ = operation(p, OP_NE, @$, $1, $3); }
    | expr AND expr { $$ = operation(p, OP_AND, @$, $1, $3); }
    | expr OR expr { $$ = operation(p, OP_OR, @$, $1, $3); }
    | expr '?' expr ':' expr { $$ = node(p, A_COND, @$, 3, $1, $3, $5); }
    ;

%%

/* ---- building the tree ----------------------------------------------------------------------------------------------------- */

/* Sets the depth; what is nested too deeply for the recursions of later passes is refused and cut off. */
static AExpr *finish(Parser *p, AExpr *e)
{
  for (int i = 0; i < e->n; i++)
    if (e->args[i] && e->args[i]->depth >= e->depth) e->depth = e->args[i]->depth + 1;
  if (e->depth <= AST_MAX_DEPTH) return e;
  if (!p->too_deep) diag_error(e->span, "give parts of it names with let", "this expression is nested too deeply");
  p->too_deep = true;
  AExpr *cut = NEW(AExpr);
  *cut = (AExpr){.kind = A_NUM, .span = e->span, .number = 1};
  return cut;
}

static AExpr *node(Parser *p, AKind kind, Span span, int n, ...)
{
  AExpr *e = NEW(AExpr);
  *e = (AExpr){.kind = kind, .span = span, .n = n, .args = NEW_ARRAY(AExpr *, n)};
  va_list args;
  va_start(args, n);
  for (int i = 0; i < n; i++) e->args[i] = va_arg(args, AExpr *);
  va_end(args);
  return finish(p, e);
}

static AExpr *node_list(Parser *p, AKind kind, Span span, AExpr *first, AList rest)
{
  AExpr *e = NEW(AExpr);
  int offset = first != NULL;
  *e = (AExpr){.kind = kind, .span = span, .n = rest.n + offset, .args = NEW_ARRAY(AExpr *, rest.n + offset)};
  if (first) e->args[0] = first;
  for (int i = 0; i < rest.n; i++) e->args[i + offset] = rest.at[i];
  return finish(p, e);
}

static AExpr *operation(Parser *p, OpKind op, Span span, AExpr *a, AExpr *b)
{
  AExpr *e = b ? node(p, A_BINARY, span, 2, a, b) : node(p, A_UNARY, span, 1, a);
  e->op = op;
  return e;
}

static AExpr *named(AExpr *e, Name name, Span name_span)
{
  e->name = name;
  e->name_span = name_span;
  return e;
}

static void check_word(Name name, Span span, const char *word, const char *hint)
{
  if (strcmp(name, word)) diag_error(span, hint, "expected '%s' instead of '%s'", word, name);
}

static void set_bound(AType *type, Name name, Span span, AExpr *value)
{
  AExpr **slot = !strcmp(name, "lower") ? &type->lower : !strcmp(name, "upper") ? &type->upper : NULL;
  bool shift = !strcmp(name, "offset") || !strcmp(name, "multiplier");
  const char *hint = shift ? "a variable is shifted and scaled by: latent z ~ normal(0, 1); let x = mu + sigma * z;" : NULL;
  if (!slot) diag_error(span, hint, "a bound is 'lower' or 'upper', not '%s'", name);
  else if (*slot) diag_error(span, NULL, "'%s' is given twice", name);
  else *slot = value;
}

/* A token that repair() has put in turned out to be what the grammar wanted. */
static void forgotten(Span span, Span before, const char *what)
{
  if (span.begin == span.end) diag_error(((Span){before.end, before.end}), NULL, "'%s' is missing here", what);
}

static AStmt *declaration(AStmt *role, AStmt *target, AType *type, AStmt *tail, Span span)
{
  AStmt *s = target;
  s->kind = AS_DECLARATION;
  s->span = span;
  s->role = role->role;
  s->is_global = role->is_global;
  s->is_marginal = role->is_marginal;
  s->type = type;
  s->value = tail->value;
  s->dist = tail->dist;
  return s;
}

/* ---- repair: what is certainly missing ------------------------------------------------------------------------------------- */

static bool begins_statement(const TokenVec *t, int i)
{
  switch (i < 0 ? 0 : t->at[i].kind) {
  case LATENT: return !i || (t->at[i - 1].kind != GLOBAL && t->at[i - 1].kind != MARGINAL);
  case INPUT:
  case GLOBAL:
  case MARGINAL:
  case OBSERVED:
  case PARAM:
  case LET:
  case FACTOR:
  case PLATE:
  case AMORTIZE: return true;
  default: return false;
  }
}

static bool ends_statement(int kind) { return kind == ';' || kind == '{' || kind == '}'; }
static bool ends_expression(int kind) { return kind == NAME || kind == NUMBER || kind == ')' || kind == ']' || kind == '\''; }

static void insert_token(TokenVec *tokens, int at, int kind, int offset)
{
  Token last = tokens->at[tokens->n - 1];
  VEC_PUSH(*tokens, last);
  for (int i = tokens->n - 1; i > at; i--) tokens->at[i] = tokens->at[i - 1];
  tokens->at[at] = (Token){.kind = kind, .span = {offset, offset}};
}

/* `real<lower=0>= 3`: in bounds, outside of brackets, '>=' is the closing '>' and a '='; what else compares there needs parentheses. */
static void repair_bounds(TokenVec *tokens)
{
  for (int i = 0; i + 4 < tokens->n; i++) {
    const Token *t = tokens->at;
    if (t[i].kind != ':' || t[i + 1].kind != NAME || t[i + 2].kind != '<' || t[i + 3].kind != NAME || t[i + 4].kind != '=') continue;
    int depth = 0, k = i + 5;
    for (; !ends_statement(t[k].kind) && t[k].kind && (depth || t[k].kind != '>'); k++) {
      int kind = t[k].kind;
      if (kind == '(' || kind == '[') depth++;
      if (kind == ')' || kind == ']') depth--;
      if (depth) continue;
      if (kind == GE) {
        diag_error(t[k].span, "put a blank between '>' and '='", "'>=' is read as one sign");
        Span span = t[k].span;
        tokens->at[k].kind = '>';
        tokens->at[k].span.end--;
        insert_token(tokens, k + 1, '=', 0);
        tokens->at[k + 1].span = (Span){span.begin + 1, span.end};
        break;
      }
      if (kind == '<' || kind == LE || kind == EQ || kind == NE || kind == AND || kind == OR || kind == '?') {
        diag_error(t[k].span, "for example: real<lower=(a < b ? 0 : 1)>", "in a bound, a comparison or '?:' stands in parentheses");
        tokens->at[k].kind = BAD;
        break;
      }
    }
  }
}

/* Words that begin statements are reserved: what stands before one has ended. A header of a plate lacks its brace, the rest a semicolon.
 * So has what stands before a line `y ~ ...`, whose role is missing. */
static void insert_ends(TokenVec *tokens)
{
  TokenVec out = {0};
  int first = -1; /* kind of the first token of the current statement; -1 at its start */
  int depth = 0;  /* of its brackets */
  for (int i = 0; i < tokens->n; i++) {
    Token t = tokens->at[i], last = i ? tokens->at[i - 1] : t;
    bool begins = begins_statement(tokens, i) && !begins_statement(tokens, i - 1); /* `input factor`: a reserved word for a name */
    bool new_line = i && source_place(t.span.begin).line > source_place(last.span.begin).line;
    if (begins && depth > 0) begins = new_line; /* and so is `f(factor` */
    if (new_line && depth <= 0 && ends_expression(last.kind) && habit_target(tokens, i)) begins = true;
    if (first >= 0 && (begins || t.kind == '}')) {
      int kind = (first == PLATE || first == MODEL) && t.kind != '}' ? '{' : ';';
      VEC_PUSH(out, (Token){.kind = kind, .span = {t.span.begin, t.span.begin}});
      first = -1;
    }
    VEC_PUSH(out, t);
    depth += t.kind == '(' || t.kind == '[' ? 1 : t.kind == ')' || t.kind == ']' ? -1 : 0;
    first = ends_statement(t.kind) ? -1 : first >= 0 ? first : t.kind;
    if (first < 0) depth = 0;
  }
  *tokens = out;
}

/* Column of the first token of the line on which token i stands. */
static int line_indent(const TokenVec *t, int i)
{
  int line = source_place(t->at[i].span.begin).line;
  while (i > 0 && source_place(t->at[i - 1].span.begin).line == line) i--;
  return source_place(t->at[i].span.begin).column;
}

/* Braces without a partner (not reported when the text was not read to its end). Of several candidates for the one that was forgotten,
 * indentation tells which. */
static void balance_braces(TokenVec *tokens, bool whole)
{
  VEC(int) open = {0};
  int suspect = -1; /* opened, and closed by a brace that stands further left than its line */
  for (int i = 0; i < tokens->n; i++) {
    int kind = tokens->at[i].kind;
    if (kind == '{') VEC_PUSH(open, i);
    if (kind != '}') continue;
    if (open.n == 1 && i + 2 < tokens->n) {
      /* the model ends here, yet the text does not: a closing brace too many, if another follows */
      int more = i + 1;
      while (tokens->at[more].kind && tokens->at[more].kind != '}' && tokens->at[more].kind != '{') more++;
      if (tokens->at[more].kind) {
        int depth = 0, j = i + 1;
        for (; tokens->at[j].kind && depth >= 0; j++) depth += tokens->at[j].kind == '{' ? 1 : tokens->at[j].kind == '}' ? -1 : 0;
        if (depth < 0) {
          diag_error(tokens->at[i].span, NULL, "this '}' has no '{'");
          memmove(&tokens->at[i], &tokens->at[i + 1], sizeof *tokens->at * (size_t)(tokens->n - i - 1));
          tokens->n--;
          i--;
          continue;
        }
      }
    }
    if (!open.n) continue;
    int partner = open.at[--open.n];
    if (suspect < 0 && source_place(tokens->at[i].span.begin).line != source_place(tokens->at[partner].span.begin).line &&
        source_place(tokens->at[i].span.begin).column < line_indent(tokens, partner))
      suspect = partner;
  }
  if (!open.n) return;
  int end = tokens->n - 1, unclosed = suspect >= 0 ? suspect : open.at[open.n - 1];
  bool put_in = tokens->at[unclosed].span.begin == tokens->at[unclosed].span.end;
  if (!put_in && whole) diag_error(tokens->at[unclosed].span, NULL, "this '{' is never closed");
  if (suspect >= 0) {
    /* the brace belongs before the first line that is indented no more than the line of its partner */
    int indent = line_indent(tokens, suspect), line = source_place(tokens->at[suspect].span.begin).line, at = suspect + 1;
    for (; at < end; at++) {
      Place place = source_place(tokens->at[at].span.begin);
      if (place.line != line && place.column <= indent) break;
    }
    insert_token(tokens, at, '}', tokens->at[at].span.begin);
    open.n--;
  }
  for (int i = 0; i < open.n; i++) insert_token(tokens, tokens->n - 1, '}', tokens->at[tokens->n - 1].span.begin);
}

/* ---- tokens to the parser -------------------------------------------------------------------------------------------------- */

static int yylex(YYSTYPE *value, Span *span, Parser *p)
{
  if (p->resync) {
    p->resync = false;
    int at = p->tokens.at[p->next].span.begin;
    *span = (Span){at, at};
    return RESYNC;
  }
  const Token *t = &p->tokens.at[p->next];
  if (t->kind) p->next++;
  value->token = *t;
  *span = t->span;
  return t->kind;
}

static int statement_begin(const Parser *p, int i)
{
  while (i > 0 && !ends_statement(p->tokens.at[i - 1].kind)) i--;
  return i;
}

static int matching_brace(const Parser *p, int i)
{
  int depth = 0;
  for (; p->tokens.at[i].kind; i++) {
    if (p->tokens.at[i].kind == '{') depth++;
    if (p->tokens.at[i].kind == '}' && !--depth) break;
  }
  return i;
}

/* Decides where parsing goes on after an error at token `at`: in the block, when it was in a header; at the end, when the model was
 * closed; else after the statement. */
static void plan_recovery(Parser *p, int at, bool closed)
{
  int begin = statement_begin(p, at), i = at, head = p->tokens.at[begin].kind;
  bool header = (head == PLATE || head == MODEL) && begin < at;
  if (closed) i = p->tokens.n - 1;
  for (; p->tokens.at[i].kind; i++) {
    int kind = p->tokens.at[i].kind;
    if (kind == '{') {
      if (header) break;
      i = matching_brace(p, i);
      if (!p->tokens.at[i].kind) break;
      if (!ends_statement(p->tokens.at[i + 1].kind) && !begins_statement(&p->tokens, i + 1)) {
        i++;
        break;
      }
      continue;
    }
    if (kind == '}' || (i > at && begins_statement(&p->tokens, i))) break;
    if (kind == ';') {
      i++;
      break;
    }
  }
  bool target = true, block = false; /* names before '~' and the like may have been declared here; in a skipped block, all */
  for (int k = begin; k < i; k++) {
    int kind = p->tokens.at[k].kind;
    block = block || (kind == '{' && !header);
    if (kind == '~' || kind == '=' || kind == ':' || kind == ARROW || kind == PLUS_EQUALS || kind == IN) target = false;
    if (kind == NAME && (target || block)) VEC_PUSH(p->ast->damaged, p->tokens.at[k].name);
  }
  if (header && p->tokens.at[i].kind == '{' && i > p->recovered) {
    if (i > at) p->next = i;
    p->recovered = i;
    return;
  }
  int end = p->tokens.n - 1;
  bool stuck = i <= p->recovered;
  if (stuck) i = p->recovered + 1;
  p->recovered = p->next = i < end ? i : end;
  p->resync = !stuck || i < end; /* nothing is left: the parser may give up */
}

/* ---- messages -------------------------------------------------------------------------------------------------------------- */

static const char *token_text(const Token *t)
{
  if (!t->kind) return "the end of the file";
  if (t->span.begin == t->span.end) return "the end of the statement";
  return arena_printf("'%s'", source_slice(t->span));
}

/* The innermost bracket that is open before token `at` of its statement, or -1. */
static int open_bracket(const Parser *p, int at)
{
  int depth = 0;
  for (int i = at - 1; i >= 0 && !ends_statement(p->tokens.at[i].kind); i--) {
    int kind = p->tokens.at[i].kind;
    if (kind == ')' || kind == ']') depth++;
    if ((kind == '(' || kind == '[') && !depth--) return i;
  }
  return -1;
}

static const char *dist_hint(Name name)
{
  int d = dist_find(name);
  return d < 0 ? NULL : arena_printf("write: %s(%s)", name, dist_info[d].arguments);
}

static int yyreport_syntax_error(const yypcontext_t *context, Parser *p)
{
  /* the token at fault: the parser reads one ahead, and nothing is behind the last */
  int at = p->next;
  yysymbol_kind_t symbol = yypcontext_token(context);
  if (symbol != YYSYMBOL_YYEOF && symbol != YYSYMBOL_YYEMPTY && symbol != YYSYMBOL_RESYNC) at--;
  const Token *t = &p->tokens.at[at], *last = at ? t - 1 : t;
  int begin = statement_begin(p, at);
  yysymbol_kind_t expected[YYNTOKENS];
  int n = yypcontext_expected_tokens(context, expected, YYNTOKENS);
  bool wants[YYNTOKENS] = {false};
  for (int i = 0; i < n; i++) wants[expected[i]] = true;
#define WANTS(token) wants[YYTRANSLATE(token)]
  bool new_line = at && source_place(t->span.begin).line > source_place(last->span.begin).line;
  int open = open_bracket(p, at);
  bool first = at == begin;

  bool operators = WANTS('+'), closed = p->complete && WANTS(0);

  if (t->kind == BAD || symbol == YYSYMBOL_RESYNC || diag_error_at(t->span)) {
    /* the scanner has said what is wrong, or an earlier error has */
  } else if (!p->complete) {
    if (at == 1 && last->kind == MODEL && t->kind == '{')
      diag_error(((Span){last->span.end, last->span.end}), "write: model NAME { ... }", "the model's name is missing");
    else if (at == 0 && t->kind == 0) diag_error(((Span){0, 0}), "write: model NAME { ... }", "the file has no model");
    else if (at == 0 && t->kind == NAME && (t[1].kind == '{' || t[1].kind == NAME)) habit_report_statement(&p->tokens, at);
    else
      diag_error(t->span, "a file is one model: model NAME { ... }", "expected %s instead of %s", at ? "the model's name" : "'model'",
                 token_text(t));
  } else if (closed) {
    diag_error(t->span, "a file is one model", "nothing may follow the model's closing brace");
  } else if (first && t->kind == NAME && WANTS(PLATE)) {
    habit_report_statement(&p->tokens, at);
  } else if (first && WANTS(PLATE)) {
    diag_error(t->span, NULL, "%s does not begin a statement", token_text(t));
  } else if (last->kind == '~') {
    diag_error(t->span, "for example: ~ normal(0, 1)", "expected a distribution instead of %s", token_text(t));
  } else if (WANTS('(') && n == 1 && at > 1 && t[-2].kind == '~' && p->tokens.at[begin].kind == LET) {
    diag_error(t[-2].span, "write '='", "a let is a value, not a draw");
  } else if (WANTS('(') && n == 1 && at > 1 && t[-2].kind == '~') {
    diag_error(last->span, dist_hint(last->name), "a distribution takes parentheses");
  } else if (habit_report(&p->tokens, begin, at)) {
    /* it has said what to write */
  } else if ((t->kind == ')' || t->kind == ']') && open < 0) {
    diag_error(t->span, NULL, "this '%c' has no '%c'", t->kind, t->kind == ')' ? '(' : '[');
  } else if (last->kind == ':' && t->kind == '=' && WANTS(NAME)) {
    diag_error(((Span){last->span.begin, t->span.end}), "write '='", "':=' is not an operator");
  } else if (t->kind == ARROW) {
    const char *blank = "for a comparison with a negative number put a blank: a < -b";
    diag_error(t->span, WANTS('=') ? "write '='" : WANTS('<') ? blank : NULL, "'<-' is not an operator");
  } else if (t->kind == EQ && WANTS('=')) {
    diag_error(t->span, "'==' compares; a value is given by '='", "expected '=' instead of '=='");
  } else if (t->kind == '=' && WANTS(EQ)) {
    diag_error(t->span, "'=' gives a value; '==' compares", "expected '==' instead of '='");
  } else if (t->kind == ':' && WANTS(DOTS)) {
    diag_error(t->span, "a range is written 1..N", "expected '..' instead of ':'");
  } else if (t->kind == IN && last->kind == NAME && p->tokens.at[begin].kind != PLATE && open >= 0) {
    diag_error(t->span, "for example: sum(m in 1..M: x[m])", "a range stands at the beginning of the parentheses of a reduction");
  } else if ((t->kind == GLOBAL || t->kind == MARGINAL) && last->kind == LATENT) {
    diag_error(t->span, arena_printf("write: %s latent", t->name), "%s stands before 'latent'", token_text(t));
  } else if (t->name && t->kind != NAME && WANTS(NAME)) {
    diag_error(t->span, "choose another name", "%s is a reserved word", token_text(t));
  } else if (WANTS(DOTS) && p->tokens.at[begin].kind == PLATE && open < 0) {
    diag_error(t->span, "for example: plate n in 1..N { ... }", "expected '..' instead of %s", token_text(t));
  } else if (WANTS(';') && open < 0 && (new_line || t->span.begin == t->span.end)) {
    diag_error(((Span){last->span.end, last->span.end}), NULL, "';' is missing here");
  } else if (WANTS(':') && operators && !WANTS(')') && ends_statement(t->kind)) {
    diag_error(((Span){last->span.end, last->span.end}), "condition ? a : b", "':' and a second value are missing here");
  } else if (WANTS(NUMBER)) {
    diag_error(t->span, NULL, "expected an expression instead of %s", token_text(t));
  } else if (open >= 0 && (WANTS(')') || WANTS(']')) && t->kind != NAME && t->kind != NUMBER) {
    const Token *o = &p->tokens.at[open];
    const char *close = o->kind == '(' ? ")" : "]";
    if (ends_statement(t->kind) || t->kind == ')' || t->kind == ']' || t->kind == 0)
      diag_error(((Span){last->span.end, last->span.end}), NULL, "'%s' is missing here", close);
    else diag_error(t->span, NULL, "expected '%s' instead of %s", close, token_text(t));
    diag_note(o->span, "to close this '%c'", o->kind);
  } else {
    static const char signs[] = "?<>+-*/^'[("; /* any of them: an operator */
    VEC(const char *) list = {0};
    for (int i = 0; i < n; i++) {
      bool is_operator = false;
      for (const char *c = signs; *c; c++) is_operator = is_operator || expected[i] == YYTRANSLATE((int)*c);
      for (int k = EMUL; k <= OR; k++) is_operator = is_operator || expected[i] == YYTRANSLATE(k);
      if (expected[i] == YYSYMBOL_RESYNC || (operators && is_operator)) continue;
      if (expected[i] == YYSYMBOL_NAME && WANTS(';')) continue; /* T[...] */
      VEC_PUSH(list, last->kind == ':' && expected[i] == YYSYMBOL_NAME ? "a type" : yysymbol_name(expected[i]));
    }
    if (operators) VEC_PUSH(list, "an operator");
    StrBuf text = {0};
    for (int i = 0; i < list.n; i++) sb_printf(&text, "%s%s", i == 0 ? "" : i == list.n - 1 ? " or " : ", ", list.at[i]);
    bool range = false;
    for (int i = open; i >= 0 && i < at; i++) range = range || p->tokens.at[i].kind == IN;
    bool compares = last->kind == '>' && WANTS('[') && (t->kind == NAME || t->kind == NUMBER || t->kind == '(' || t->kind == '-');
    const char *hint = compares                             ? "in a bound, a comparison stands in parentheses"
                       : p->tokens.at[begin].kind == PLATE ? "for example: plate n in 1..N { ... }"
                       : WANTS(':') && range               ? "for example: sum(m in 1..M: x[m])"
                       : operators && (last->kind == NUMBER || at < 2 || !strchr("(,[", t[-2].kind)) && ends_expression(last->kind) &&
                             (t->kind == NAME || t->kind == '(')
                         ? "a product needs its '*'"
                                                           : NULL;
    if (list.n && list.n <= 6) diag_error(t->span, hint, "expected %s instead of %s", sb_text(&text), token_text(t));
    else diag_error(t->span, hint, "%s is not expected here", token_text(t));
  }
#undef WANTS
  plan_recovery(p, at, closed);
  return 0;
}

/* Only what is no syntax error comes here: the parser's stack is full. */
static void yyerror(Span *span, Parser *p, const char *message)
{
  (void)message;
  if (!p->too_deep) diag_error(*span, NULL, "this is nested too deeply");
  p->too_deep = true;
}

Ast *parse_source(void)
{
  Parser p = {.ast = NEW(Ast), .recovered = -1};
  if (source_length() > INT_MAX / 2) {
    diag_error(((Span){0, 0}), NULL, "the file is too large for a model");
    return NULL;
  }
  bool whole = scan_source(&p.tokens);
  repair_bounds(&p.tokens);
  insert_ends(&p.tokens);
  balance_braces(&p.tokens, whole);
  if (yyparse(&p) || !p.complete) return NULL;
  return p.ast;
}
