/* The front end: precedence and spans, types of expressions, kinds of indices, roles, affine proofs, which models are accepted and
 * which are not, canonical text, suggestions, the JSON form of diagnostics. */
#define _GNU_SOURCE
#include "ast.h"
#include "dist.h"
#include "func.h"
#include "range.h"
#include "resolve.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static const Ast *parse(const char *text)
{
  source_set("test.pgm", text, strlen(text));
  return parse_source();
}

static const char *messages(void)
{
  char *text;
  size_t n;
  FILE *f = open_memstream(&text, &n);
  diag_print(f, false);
  fclose(f);
  return text;
}

/* The model, which must be fine. */
static const Model *model(const char *text)
{
  const Ast *ast = parse(text);
  const Model *m = ast ? resolve(ast) : NULL;
  if (!m || diag_errors()) fail_msg("%s\n%s", text, messages());
  return m;
}

static const Model *body(const char *statements)
{
  return model(arena_printf("model m {\n%s\n}\n", statements));
}

/* Number of errors. */
static int errors(const char *statements)
{
  const char *text = arena_printf("model m {\n%s\n}\n", statements);
  const Ast *ast = parse(text);
  if (ast) resolve(ast);
  return diag_errors();
}

static int family(const Model *m, const char *name)
{
  for (int i = 0; i < m->families.n; i++)
    if (!strcmp(m->families.at[i].name, name)) return i;
  fail_msg("no family %s", name);
  return -1;
}

static const char *dump_ast(const char *expression)
{
  char *text;
  size_t n;
  const Ast *ast = parse(arena_printf("model m { factor %s; }", expression));
  assert_non_null(ast);
  FILE *f = open_memstream(&text, &n);
  ast_dump(ast, f);
  fclose(f);
  const char *begin = strstr(text, "(factor ") + 8, *expression_text = arena_printf("%.*s", (int)(strstr(begin, " @") - begin), begin);
  free(text);
  return expression_text;
}

static void test_precedence(void **state)
{
  (void)state;
  static const char *const cases[][2] = {
      {"1 + 2 * 3", "(+ 1 (* 2 3))"},
      {"1 - 2 - 3", "(- (- 1 2) 3)"},
      {"2 ^ 3 ^ 4", "(^ 2 (^ 3 4))"},
      {"-2 ^ 2", "(- (^ 2 2))"},
      {"2 ^ -1 * 3", "(* (^ 2 (- 1)) 3)"},
      {"a' ^ 2", "(^ (' a) 2)"},
      {"-a'", "(- (' a))"},
      {"a .* b ./ c", "(./ (.* a b) c)"},
      {"a * b'", "(* a (' b))"},
      {"!a && b || c", "(|| (&& (! a) b) c)"},
      {"a < b == c > d", "(== (< a b) (> c d))"},
      {"a + 1 < b * 2", "(< (+ a 1) (* b 2))"},
      {"a ? b : c ? d : e", "(?: a b (?: c d e))"},
      {"z[n-1][k]", "(at (at z (- n 1)) k)"},
      {"z[1..N]", "(at z (.. 1 N))"},
      {"sum(m in 1..M: W[n, m] * z[m])", "(sum over m 1 M (* (at W n m) (at z m)))"},
      {"normal_lpdf(x | m, s)", "(normal_lpdf| x m s)"},
      {"[a, b, 1.5]", "(vector a b 1.50000000000000)"},
      {"f(a)[2]'", "(' (at (f a) 2))"},
      {"+a - +b", "(- a b)"},
      {"1e3 + .5", "(+ 1000.00000000000 0.500000000000000)"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_string_equal(dump_ast(cases[i][0]), cases[i][1]);
}

static void test_spans(void **state)
{
  (void)state;
  const Ast *ast = parse("model m {\n  latent  z [ n ] : real<lower = 0> ~ normal( 0 , 1 ) T[ , 3];\n  plate n in 1 .. N {\n  }\n}");
  const AStmt *s = ast->body.at[0], *p = ast->body.at[1];
  assert_string_equal(source_slice(s->span), "latent z [ n ] : real<lower = 0> ~ normal( 0 , 1 ) T[ , 3]");
  assert_string_equal(source_slice(s->target_span), "z [ n ]");
  assert_string_equal(source_slice(s->type->span), "real<lower = 0>");
  assert_string_equal(source_slice(s->dist->span), "normal( 0 , 1 ) T[ , 3]");
  assert_string_equal(source_slice(s->dist->name_span), "normal");
  assert_string_equal(source_slice(p->span), "plate n in 1 .. N");
  Place place = source_place(p->span.begin);
  assert_int_equal(place.line, 3);
  assert_int_equal(place.column, 3);
}

/* Words that mean something only in their place are names elsewhere. */
static void test_plain_words(void **state)
{
  (void)state;
  body("input T : int; input lower = 1; input from = 2; input upper = 3; input real = 1; input vector = 2; input normal = 3; input sum = "
       "1;\n"
       "latent a : real<lower=lower, upper=upper> ~ normal(normal, from) T[lower, ];\n"
       "plate t in 1..T { latent z[t] ~ normal(a, real); observed x[t] ~ normal(z[t], vector * sum); amortize z[t] from x[t]; }");
}

static const char *const scope = "input K : int; input H : int; input n : int; input a; input v : vector[K]; input r : row_vector[K]; "
                                 "input W : matrix[H, K]; input S : cov_matrix[K];\n"
                                 "input p : simplex[K]; input B : matrix[2, 3]; plate i in 1..10 { input x[i]; input c[i] : int<lower=1, "
                                 "upper=10>; input u[i] : vector[K]; }\n";

static void test_types(void **state)
{
  (void)state;
  static const char *const cases[][2] = {
      {"1 + n", "int"},
      {"1 + a", "real"},
      {"n / 2", "real"},
      {"n ^ 2", "real"},
      {"a < 1", "int"},
      {"n * n - 1", "int"},
      {"abs(n)", "int"},
      {"abs(a)", "real"},
      {"exp(n)", "real"},
      {"max(n, 2)", "int"},
      {"max(v)", "real"},
      {"v + 1", "vector[K]"},
      {"2 * v", "vector[K]"},
      {"v .* v", "vector[K]"},
      {"W * v", "vector[H]"},
      {"v' * W'", "row_vector[H]"},
      {"r * v", "real"},
      {"v * r", "matrix[K, K]"},
      {"v * v'", "matrix[K, K]"},
      {"W * S", "matrix[H, K]"},
      {"W * W'", "matrix[H, H]"},
      {"W[1]", "row_vector[K]"},
      {"W[1, 2]", "real"},
      {"W[1..2, 2]", "vector[2]"},
      {"W[2, 1..K]", "row_vector[K]"},
      {"v[2..K]", "vector[K - 1]"},
      {"x[3]", "real"},
      {"x[1..4]", "vector[4]"},
      {"c[1]", "int"},
      {"c[1..3]", "vector[3]"},
      {"u[2]", "vector[K]"},
      {"u[2][1]", "real"},
      {"u[2, 1]", "real"},
      {"p", "vector[K]"},
      {"S", "matrix[K, K]"},
      {"softmax(v)", "vector[K]"},
      {"dot(v, r)", "real"},
      {"sum(W)", "real"},
      {"log_sum_exp(v)", "real"},
      {"leaky_relu(W * v, 0.1)", "vector[H]"},
      {"pow(v, 2)", "vector[K]"},
      {"v ^ 2", "vector[K]"},
      {"rep_vector(0, K + 1)", "vector[K + 1]"},
      {"[1, a, n]", "vector[3]"},
      {"[[1, 2, 3], [4, 5, 6]]", "matrix[2, 3]"},
      {"diag_matrix(v)", "matrix[K, K]"},
      {"identity_matrix(K)", "matrix[K, K]"},
      {"cholesky_decompose(S)", "matrix[K, K]"},
      {"mdivide_left(S, v)", "vector[K]"},
      {"log_det(S)", "real"},
      {"diag_pre_multiply(v, S)", "matrix[K, K]"},
      {"append_row(v, [1, 2])", "vector[K + 2]"},
      {"append_row(v, 1)", "vector[K + 1]"},
      {"append_col(W, W)", "matrix[H, K + K]"},
      {"quad_form(S, v)", "real"},
      {"rows(W)", "int"},
      {"num_elements(v)", "int"},
      {"sum(m in 1..10: x[m])", "real"},
      {"sum(m in 1..10: c[m])", "int"},
      {"mean(m in 1..10: c[m])", "real"},
      {"sum(m in 1..10: u[m])", "vector[K]"},
      {"n > 2 ? 1 : 2", "int"},
      {"n > 2 ? 1 : 2.5", "real"},
      {"n > 2 ? v : 2 * v", "vector[K]"},
      {"normal_lpdf(x[1] | 0, 1)", "real"},
      {"(W * v)[2]", "real"},
      {"pi()", "real"},
      {"v'", "row_vector[K]"},
      {"a'", "real"},
      {"-v", "vector[K]"},
      {"!n", "int"},
      {"to_row_vector(v)", "row_vector[K]"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const Model *m = body(arena_printf("%slet y = %s;", scope, cases[i][0]));
    const char *type = type_text(m, &m->families.at[family(m, "y")].type), *wanted = cases[i][1];
    if (!strcmp(wanted, "matrix[H, K + K]")) wanted = "matrix[H, 2 * K]";
    if (strcmp(type, wanted)) fail_msg("%s: %s, expected %s", cases[i][0], type, wanted);
  }
}

static void test_wrong_types(void **state)
{
  (void)state;
  static const char *const cases[] = {
      "v * v",
      "B * B",
      "v + r",
      "W + v",
      "v / v",
      "1 / v",
      "W ^ 2",
      "v < 1",
      "!v",
      "v && n",
      "[v, 1]",
      "dot(v, a)",
      "softmax(W)",
      "x[a]",
      "x[1.5]",
      "x[n / 2]",
      "x",
      "x[1, 2]",
      "v[1, 2]",
      "a[1]",
      "K[1]",
      "exp()",
      "exp(1, 2)",
      "pi",
      "foo(1)",
      "sum(a)",
      "log_det(B)",
      "cholesky_decompose(B)",
      "mdivide_left(S, [1]')",
      "rep_vector(v, K)",
      "rep_vector(0, a)",
      "a > 0 ? v : 1",
      "present(a)",
      "x[1..2][1]",
      "u[1..2]",
      "normal_lpdf(a, 0, 1)",
      "normal_lpmf(a | 0, 1)",
      "normal_lpdf(a | 0)",
      "poisson_lpmf(a | 1)",
      "categorical_lcdf(n | p)",
      "append_row(v, r)",
      "transpose(a)",
      "rows()",
      "sum(m in 1..a: 1)",
      "sum(K in 1..2: 1)",
      "prod(m in 1..2: v)",
      "v[0]",
      "v[K + 1]",
      "W[1, K + 1]",
      "x[11]",
      "x[0]",
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (errors(arena_printf("%slet y = %s;", scope, cases[i])) != 1) fail_msg("%s: %d errors\n%s", cases[i], diag_errors(), messages());
}

static void test_index_kinds(void **state)
{
  (void)state;
  static const struct {
    const char *index;
    IndexKind kind;
    const char *text;
  } cases[] = {
      {"n", IX_AFFINE, "n"},
      {"n - 1", IX_AFFINE, "n-1"},
      {"2 * n + K", IX_AFFINE, "2*n+K"},
      {"N + 1 - n", IX_AFFINE, "N+1-n"},
      {"3", IX_AFFINE, "3"},
      {"g[n]", IX_LOOKUP, "g[n]"},
      {"g[n] + 2", IX_LOOKUP, "g[n]+2"},
      {"1 + g[n] - 3", IX_LOOKUP, "g[n]-2"},
      {"g[g[n]]", IX_LOOKUP, "g[g[n]]"},
      {"k", IX_LOOKUP, "g[n]-1"},
      {"n * K", IX_EXPR, "n*K"},
      {"g[n] + n", IX_EXPR, "g[n]+n"},
      {"max(n - 1, 1)", IX_EXPR, "max(n-1,1)"},
      {"n > 1 ? n - 1 : 1", IX_EXPR, "n>1 ? n-1 : 1"},
      {"n - 3 .. n", IX_SLICE, "n-3..n"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const Model *m = body(arena_printf("input N : int; input K : int; plate i in -100..1000000 { input z[i]; }\n"
                                       "plate n in 1..N { input g[n] : int<lower=1, upper=N>; let k = g[n] - 1; let y = exp(z[%s]); }",
                                       cases[i].index));
    const Stmt *s = &m->stmts.at[m->stmts.n - 1];
    const MExpr *ref = s->value->args[0];
    assert_int_equal(ref->kind, M_REF);
    if (ref->index[0].kind != cases[i].kind) fail_msg("%s: kind %d", cases[i].index, (int)ref->index[0].kind);
    assert_string_equal(index_text(m, &ref->index[0]), cases[i].text);
  }
}

static void test_roles(void **state)
{
  (void)state;
  const Model *m =
      body("input N : int; latent g ~ normal(0, 1); latent w[1] ~ normal(g, 1); latent w[2] ~ normal(w[1], 1);\n"
           "plate n in 1..N { latent z[n] ~ normal(w[2], 1); global latent q[n] ~ normal(0, 1); marginal latent c[n] ~ bernoulli(0.5);\n"
           "let h = z[n] + c[n]; observed x[n] ~ normal(h + q[n] + x[n-1], s); }\n"
           "latent z[0] ~ normal(0, 1); input x[0] = 1; param s : real<lower=0>;");
  static const struct {
    const char *name;
    Role role;
  } wanted[] = {
      {"N", ROLE_INPUT},    {"g", ROLE_GLOBAL}, {"w", ROLE_GLOBAL},   {"z", ROLE_LOCAL}, {"q", ROLE_GLOBAL},
      {"c", ROLE_MARGINAL}, {"h", ROLE_LET},    {"x", ROLE_OBSERVED}, {"s", ROLE_PARAM},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
    assert_int_equal(m->families.at[family(m, wanted[i].name)].role, wanted[i].role);
  assert_true(m->families.at[family(m, "h")].block_let);
  assert_int_equal(m->families.at[family(m, "c")].type.kind, TY_INT);
  assert_int_equal(m->families.at[family(m, "x")].n_statements, 2);
  assert_true(m->families.at[family(m, "N")].used_as_size);
}

/* Two lets of one name in different blocks are two families. */
static void test_block_lets(void **state)
{
  (void)state;
  const Model *m = body("input N : int; plate n in 1..N { let h = n; observed x[n] ~ normal(h, 1); } plate n in 1..N { let h = 2.5; plate "
                        "k in 1..2 { observed y[n, k] ~ normal(h, 1); } }");
  int count = 0;
  for (int i = 0; i < m->families.n; i++) count += !strcmp(m->families.at[i].name, "h");
  assert_int_equal(count, 2);
}

static Affine affine_of(const Model *m, const char *let)
{
  Affine a;
  assert_true(mexpr_affine(m, m->stmts.at[m->families.at[family(m, let)].statements[0]].value, &a));
  return a;
}

static void test_proofs(void **state)
{
  (void)state;
  const Model *m = body(
      "input N : int<lower=1>; input M : int<lower=N>; input K : int<lower=2, upper=5>; input J : int;\n"
      "plate t in 2..N { plate u in t..M { plate j in 1..J {\n"
      "let a = t - 2; let b = N - t; let c = u - 2; let d = M - 1; let e = K - 2; let f = 5 - K; let g = 2 * u - 2 * t; let h = J - 1;\n"
      "let o = t - 3; let p = N - 2 - t; let q = J; let s = 3 - K; let v = u - M + 1; let w = M + K - t - 2; } } }");
  static const char *const provable = "abcdefghw", *const open = "opsv";
  Facts *f = facts_of(m, true), *g = facts_of(m, false);
  for (const char *s = provable; *s; s++) {
    Affine a = affine_of(m, (char[]){*s, 0});
    if (!prove_nonnegative(f, &a)) fail_msg("%c is not proved", *s);
  }
  for (const char *s = open; *s; s++) {
    Affine a = affine_of(m, (char[]){*s, 0});
    if (prove_nonnegative(f, &a)) fail_msg("%c is proved", *s);
  }
  Affine d = affine_of(m, "d");
  assert_true(prove_nonnegative(g, &d));
}

static void test_affine(void **state)
{
  (void)state;
  const Model *m = body("input N : int; input M : int; let a = 2 * (N - 3) + M * 4 - N; let b = N - N; let c = -(M - N); let d = 1 - N;");
  static const char *const wanted[][2] = {{"a", "N + 4 * M - 6"}, {"b", "0"}, {"c", "N - M"}, {"d", "1 - N"}};
  for (size_t i = 0; i < 4; i++) {
    Affine a = affine_of(m, wanted[i][0]);
    assert_string_equal(mexpr_text(m, affine_expr(&a, (Span){0, 0})), wanted[i][1]);
  }
  Affine big = {.constant = 9223372036854775807L}, out;
  assert_false(affine_combine(&big, 1, &big, &out));
  assert_false(affine_combine(&big, 2, &big, &out));
}

static void test_references_proved(void **state)
{
  (void)state;
  const Model *m = body("input N : int<lower=1>; input J : int<lower=1>; latent z[0] ~ normal(0, 1);\n"
                        "plate j in 1..J { latent a[j] ~ normal(0, 1); }\n"
                        "plate n in 1..N { input g[n] : int<lower=1, upper=J>; input h[n] : int; latent z[n] ~ normal(z[n-1], 1);\n"
                        "observed x[n] ~ normal(a[g[n]] + a[h[n]] + sum(a[1..J]) + z[n], 1); }");
  Facts *f = facts_of(m, false);
  static const struct {
    const char *text;
    bool proved;
  } wanted[] = {
      {"a[g[n]]", true}, {"a[h[n]]", false}, {"a[1..J]", true}, {"z[n]", true}, {"z[n-1]", false}, {"g[n]", true},
  };
  for (int i = 0; i < m->stmts.n; i++) {
    RefList refs = {0};
    for (int k = 0; k < m->stmts.at[i].dist.n_args; k++) mexpr_refs(m->stmts.at[i].dist.args[k], &refs);
    for (int k = 0; k < refs.n; k++)
      for (size_t w = 0; w < sizeof wanted / sizeof *wanted; w++)
        if (!strcmp(mexpr_text(m, refs.at[k]), wanted[w].text) && reference_in_range(f, refs.at[k]) != wanted[w].proved)
          fail_msg("%s", wanted[w].text);
  }
}

static void test_accepted(void **state)
{
  (void)state;
  static const char *const cases[] = {
      "input T : int<lower=1>; latent z[1] ~ normal(0, 1); plate t in 2..T { latent z[t] ~ normal(z[t-1], 1); }",
      "input T : int<lower=2>; latent z[T] ~ normal(0, 1); plate t in 1..T - 1 { latent z[t] ~ normal(z[t+1], 1); }",
      "input R : int; input C : int; plate i in 1..R { plate j in 1..C { latent z[i, j] ~ normal((i > 1 ? z[i-1, j] : 0) + (j > 1 ? z[i, "
      "j-1] : 0), 1); } }",
      "input R : int; input C : int; plate i in 1..R { plate j in 1..C { latent z[i, j] ~ normal((i > 1 && j < C ? z[i-1, j+1] : 0) + (j > "
      "1 ? z[i, j-1] : 0), 1); } }",
      "input T : int<lower=1>; let s[0] = 0; plate t in 1..T { let m = s[t-1]; let s[t] = m + u[t]; latent u[t] ~ normal(m, 1); }",
      "input T : int; plate t in 1..T { latent z[t] ~ normal(sum(j in 1..t-1: z[j]), 1); }",
      "input T : int; plate t in 1..T { latent z[t] ~ normal(t > 1 ? mean(z[1..t-1]) : 0, 1); }",
      "input T : int; latent z[0] ~ normal(0, 1); latent y[0] ~ normal(0, 1); plate t in 1..T { latent z[t] ~ normal(y[t-1], 1); latent "
      "y[t] ~ normal(z[t], 1); }",
      "input K : int<lower=1>; input T : int; plate t in 1..T { latent z[t] ~ normal(t > K ? z[t-K] : 0, 1); }",
      "input N : int; plate i in 1..N { plate j in 1..i { observed x[i, j] ~ normal(j > 1 ? x[i, j-1] : 0, 1); } }",
      "input N : int; plate i in 1..N { plate j in 1..i - 1 { observed y[i, j] ~ normal(w[i, j], 1); } plate j in 1..i { latent w[i, j] ~ "
      "normal(0, 1); } }",
      "input T : int<lower=1>; input L : int<lower=1>; plate t in 1..T { latent y[t] ~ normal(0, 1); }"
      "plate t in 1..T { plate s in 1..L - t { observed x[t, s] ~ normal(y[t + s], 1); } }",
      "plate n in 2 .. 1 { observed x[n] ~ normal(x[n-1], 1); }",
      "input N : int; plate n in 1..N { input n_k[n] : int<lower=0>; plate k in 1..n_k[n] { observed x[n, k] ~ normal(0, 1); } }",
      "input K : int = 3; let H = 2 * K; latent W : matrix[H, K] ~ normal(0, 1); plate h in 1..H { factor W[h, 1]; }",
      "input K : int; latent L : cholesky_factor_corr[K] ~ lkj_corr_cholesky(2); latent s : vector<lower=0>[K] ~ normal(0, 1); let D = "
      "diag_pre_multiply(s, L);\n"
      "plate n in 1..5 { latent z[n] : vector[K] ~ multi_normal_cholesky(rep_vector(0, K), D); observed y[n] : vector[K] ~ "
      "poisson_log(z[n]); }",
      "latent S : cov_matrix[2] ~ wishart(3, identity_matrix(2)); observed y : row_vector[2] ~ multi_normal([0, 0], S);",
      "input a = 1; let b = 2 * a; observed y ~ normal(b > 1 ? 0 : 1, 1);",
      "latent k : int<lower=1, upper=3> ~ flat(); plate k3 in 1..3 { global latent m[k3] ~ normal(0, 1); } observed y ~ normal(m[k], 1);",
      "latent k ~ binomial(3, 0.5); latent j ~ poisson(3) T[, 10]; observed y ~ normal(k + j, 1);",
      "observed y : real<lower=0, upper=1> ~ beta(1, 1); observed c ~ ordered_logistic(0, [-1, 0, 1]); observed o ~ neg_binomial_2(3, 1);",
      "latent c : ordered[3] ~ normal(0, 1); observed y ~ ordered_logistic(0, c); observed x ~ categorical_logit(c);",
      "param W : matrix[2, 2]; param p : simplex[2]; param q : real<lower=0> ~ gamma(1, 1); factor sum(W) + p[1] + q;",
      "input N : int; input M : int; plate n in 1..N { plate m in 1..M { observed y[m, n + 1] ~ normal(0, 1); } }",
      "input N : int; input k[1] : int; observed y[N * N] ~ normal(0, 1); observed z[k[1]] ~ normal(0, 1);",
      "/* a * b ** c */ input a; # comment\n// another \xc3\xa9\nobserved y ~ normal(a, 1);;",
      "input y0 : vector[3] = [1, 2, 3]; input S : matrix[2, 2] = [[1, 0.5], [0.5, 1]]; factor sum(y0) + log_det(S);",
      "input N : int; plate n in 1..N { latent z[n] ~ normal(0, 1); observed x[n] ~ normal(z[n], 1); observed x2[n] ~ normal(present(x[n]) "
      "? z[n] : 0, 1); }",
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) body(cases[i]);
}

/* What must be refused, and with how many errors. */
static void test_refused(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    int errors;
  } cases[] = {
      {"input T : int; plate t in 1..T { latent z[t] ~ normal(sum(j in 1..t: z[j]), 1); }", 1},
      {"input R : int<lower=2>; plate i in 1..R { plate j in 1..R { latent z[i, j] ~ normal((j > 1 ? z[i, j-1] : 0) + (j < R ? z[i, j+1] : "
       "0), 1); } }",
       1},
      {"latent a ~ normal(b, 1); latent b ~ normal(a, 1);", 1},
      {"input N : int; plate n in 1..N { latent z[n] ~ normal(z[n-1], 1); } plate n in 1..N { latent y[n] ~ normal(y[n+1], 1); }", 2},
      {"input T : int; latent z[0] ~ normal(0, 1); plate t in 1..T { latent z[t] ~ normal(y[t], 1); latent y[t] ~ normal(z[t], 1); }", 1},
      {"plate n in 1..3 { latent z[n] ~ normal(0, 1); } latent z[2] ~ normal(0, 1);", 1},
      {"plate n in 1..3 { latent z[n] ~ normal(0, 1); } plate n in 3..5 { latent z[n] ~ normal(0, 1); }", 1},
      {"plate n in 1..3 { latent z[n] ~ normal(0, 1); } factor z[4]; factor z[0] + z[5];", 3},
      {"plate i in 1..3 { plate j in 1..i { latent z[i, j] ~ normal(0, 1); } } factor z[2, 3];", 1},
      {"latent a ~ normal(0, 1) latent b ~ normal(0, 1) latent c ~ normal(q, 1)", 4},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (errors(cases[i].text) != cases[i].errors) fail_msg("%s: %d errors\n%s", cases[i].text, diag_errors(), messages());
}

static void test_warnings(void **state)
{
  (void)state;
  static const struct {
    const char *text, *warning;
  } cases[] = {
      {"input a; observed y ~ normal(0, 1);", "the input 'a' is not used"},
      {"input N : int; plate n in 1..N { let u = n; observed y[n] ~ normal(0, 1); }", "'u' is not used in its block"},
      {"latent a ~ flat(); observed y ~ normal(0, 1);", "nothing observed depends on 'a', so that its posterior is improper"},
      {"latent a ~ normal(0, 1); observed y ~ normal(0, 1);", "nothing observed depends on 'a': its posterior is its prior"},
      {"latent a ~ normal(0, 1); let b = a + 1; param w; observed y ~ normal(a, 1);",
       "nothing observed depends on 'w': it cannot be estimated"},
      {"latent a ~ normal(0, 1); let b = a + 1; observed y ~ normal(b, 1);", NULL},
      {"latent a ~ normal(0, 1); factor -square(a);", NULL},
      {"latent a ~ normal(0, 1);", "nothing is observed: every latent variable keeps its prior"},
      {"latent a ~ flat(); observed y ~ normal(a, 1);", "the prior of 'a' is improper"},
      {"latent a ~ flat(); latent s : real<lower=0> ~ flat(); latent b ~ flat(); observed y ~ normal(a + b, s);",
       "the priors of 'a', 's' and 'b' are improper"},
      {"latent a : real<lower=0, upper=1> ~ flat(); observed y ~ normal(a, 1);", NULL},
      {"latent p : simplex[3] ~ flat(); observed y ~ categorical(p);", NULL},
      {"latent s ~ lognormal(0, 1); latent a : real<lower=0> ~ normal(0, s); observed y ~ normal(a, 1);",
       "the bound leaves this density unnormalised, by a factor that depends on s"},
      {"input N : int; plate n in 1..N { } observed y ~ normal(0, 1);", "this plate is empty"},
      {"factor 2.0;", "this factor is constant: it changes nothing"},
      {"latent s : real<lower=0> ~ normal(0, 1); observed y ~ normal(0, s);", NULL},
      {"latent s : real<lower=0> ~ gamma(1, 1); latent t ~ lognormal(0, s); latent a : real<lower=0> ~ normal(0, t) T[0, ]; observed y ~ "
       "normal(a, 1);",
       NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    body(cases[i].text);
    assert_int_equal(diag_count(), cases[i].warning != NULL);
    if (cases[i].warning) assert_string_equal(diag_at(0)->message, cases[i].warning);
  }
}

/* Canonical text, read again, gives the same text. */
/* Arguments that can leave their domain: `argument` stands in observed y ~ normal(0, argument). */
static void test_argument_ranges(void **state)
{
  (void)state;
  static const struct {
    const char *argument, *can;
  } scales[] = {
      {"a", "negative"},
      {"1 + a", "negative"},
      {"a * x", NULL}, /* the sign of x is that of the data */
      {"a + x", "negative"},
      {"-s", "negative"},
      {"exp(a)", NULL},
      {"square(a)", NULL},
      {"abs(a) + s", NULL},
      {"abs(x) * s", NULL},
      {"a ^ 2", NULL},
      {"relu(a)", "0"},
      {"relu(s)", NULL},
      {"relu(a) + 0.1", NULL},
      {"fmax(a, 0.1)", NULL},
      {"s * t", NULL},
      {"s / t", NULL},
      {"s - t", NULL}, /* t may be known to be smaller */
      {"s - 1", "negative"},
      {"c[2] - c[1]", NULL},
      {"p[1]", NULL},
      {"1 - p[1]", NULL},
      {"u + 1", NULL},
      {"u - 1", "negative"},
      {"inv(s)", NULL},
      {"1 / a", "negative"},
      {"k", "0"},
      {"k + 1", NULL},
      {"sqrt(s)", NULL},
      {"d", NULL},
      {"e", "negative"},
      {"sum(v)", "negative"},
      {"sum(square(v))", NULL},
      {"x > 0 ? s : a", "negative"},
      {"x > 0 ? s : 1", NULL},
      {"sum(i in 1..2: v[i])", NULL},
      {"softmax(v)[1]", NULL},
      {"max(a, s)", NULL},
      {"tanh(a) + 1", NULL},
      {"2 * tanh(a)", "negative"},
      {"x", NULL},
  };
  for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
    body(arena_printf("input x; latent a ~ normal(0, 1); latent s : real<lower=0> ~ normal(0, 1); latent t ~ gamma(2, 2);\n"
                      "latent u : real<lower=-1, upper=1> ~ flat(); latent k ~ binomial(3, 0.5); latent c : ordered[2] ~ normal(0, 1);\n"
                      "latent p : simplex[3] ~ dirichlet(rep_vector(1, 3)); latent v : vector[2] ~ normal(0, 1);\n"
                      "let d = exp(a) * s; let e = a - 1;\n"
                      "factor a + s + t + u + k + sum(c) + sum(p) + sum(v) + d + e + x;\n"
                      "observed y ~ normal(0, %s);",
                      scales[i].argument));
    const char *can =
        scales[i].can ? arena_printf("argument sigma of normal must be positive; %s can be %s", scales[i].argument, scales[i].can) : "";
    const char *said = diag_count() ? diag_at(0)->message : "";
    if (strcmp(said, can)) fail_msg("%s: '%s', not '%s'", scales[i].argument, said, can);
  }
  static const struct {
    const char *text, *warning, *hint;
  } cases[] = {
      {"latent a ~ normal(0, 1); observed y ~ bernoulli(a);", "argument theta of bernoulli must be between 0 and 1; a can be negative",
       "bernoulli_logit takes the log odds"},
      {"latent a : real<lower=0> ~ normal(0, 1); observed y ~ binomial(4, a);",
       "argument theta of binomial must be between 0 and 1; a can be larger", "binomial_logit takes the log odds"},
      {"latent a ~ normal(0, 1); observed y ~ poisson(2 * a);", "argument lambda of poisson must be at least 0; 2 * a can be negative",
       "poisson_log takes the logarithm of the mean"},
      {"latent a : vector[3] ~ normal(0, 1); observed y ~ ordered_logistic(0, a);",
       "argument c of ordered_logistic must be in increasing order, which 'a' need not be", "declare it as a : ordered[3]"},
      {"latent a ~ normal(0, 1); factor normal_lpdf(1.5 | 0, a);", "argument sigma of normal must be positive; a can be negative",
       "declare it as a : real<lower=0>"},
      {"latent a : vector[3] ~ normal(0, 1); latent p : simplex[3] ~ dirichlet(a); observed y ~ categorical(p);",
       "argument alpha of dirichlet must be positive; a can be negative", "declare it as a : vector<lower=0>"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    body(cases[i].text);
    assert_int_equal(diag_count(), 1);
    assert_string_equal(diag_at(0)->message, cases[i].warning);
    assert_string_equal(diag_at(0)->hint, cases[i].hint);
  }
}

/* Lets stand for their definitions in ranges and conditions, through other lets too, in any order. */
static void test_lets_written_out(void **state)
{
  (void)state;
  const Model *m = body("let K = M + 1; let M : int = 2 * N; input N : int<lower=1>; let big = !small; let small = K < 4;\n"
                        "plate n in 1..K { observed y[n] ~ normal(big ? 1 : 0, 1); }");
  assert_string_equal(mexpr_text(m, m->vars.at[m->plates.at[0].var].hi), "2 * N + 1");
  assert_true(errors("let a = b + 1; let b = a + 1; plate n in 1..a { observed y[n] ~ normal(0, 1); }") > 0);
  StrBuf text = {0};
  sb_puts(&text, "input N : int; let a0 = N;");
  for (int i = 1; i < 40; i++) sb_printf(&text, "let a%d = a%d * a%d;", i, i - 1, i - 1);
  assert_int_equal(errors(arena_printf("%s plate n in 1..a39 { observed y[n] ~ normal(0, 1); }", sb_text(&text))), 1);
  assert_string_equal(diag_at(0)->message, "the definition of 'a39', written out, is too long for this place");
}

static void test_text(void **state)
{
  (void)state;
  static const char *const cases[][2] = {
      {"a-(b-c)", "a - (b - c)"},
      {"(a*b)/c", "a * b / c"},
      {"a/(b*c)", "a / (b * c)"},
      {"-(a+b)", "-(a + b)"},
      {"(-a)^2", "(-a)^2"},
      {"-a^2", "-a^2"},
      {"(a^b)^c", "(a^b)^c"},
      {"a^b^c", "a^b^c"},
      {"(a<b)?a:(b>c?b:c)", "a < b ? a : b > c ? b : c"},
      {"1.5e-3*a", "0.0015 * a"},
      {"2.0", "2.0"},
      {"1e300", "1e+300"},
      {"0.1", "0.1"},
      {"-1 - -2", "-1 - -2"},
      {"sum(m in 1..3:x[ m+1 ])", "sum(m in 1..3: x[m+1])"},
      {"normal_lpdf(a|b,c)", "normal_lpdf(a | b, c)"},
      {"log_sum_exp( [a,b] )", "log_sum_exp([a, b])"},
      {"(a > 0) && !(b > 0)", "a > 0 && !(b > 0)"},
      {"2 ^ -a", "2^(-a)"},
      {"(a + b) * c", "(a + b) * c"},
      {"x[1 .. 3]' * x[2..4]", "x[1..3]' * x[2..4]"},
      {"--a", "-(-a)"},
  };
  const char *head = "input a; input b; input c; plate i in 1..9 { input x[i]; }";
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const Model *m = body(arena_printf("%s let y = %s;", head, cases[i][0]));
    const char *text = mexpr_text(m, m->stmts.at[m->stmts.n - 1].value);
    assert_string_equal(text, cases[i][1]);
    m = body(arena_printf("%s let y = %s;", head, text));
    assert_string_equal(mexpr_text(m, m->stmts.at[m->stmts.n - 1].value), text);
  }
}

static void test_amortize(void **state)
{
  (void)state;
  const Model *m = body("input N : int<lower=1>; input J : int;\n"
                        "plate j in 1..J { latent a[j] ~ normal(0, 1); amortize a[j] from x[i | county[i] = j], w[i | county[i] = j], g; "
                        "plate k in 1..3 { observed y[j, k] ~ normal(a[j], 1); } }\n"
                        "plate n in 1..N { input county[n] : int; input w[n]; observed x[n] ~ normal(a[county[n]] * w[n] + z[n], 1); "
                        "latent z[n] ~ normal(0, 1);\n"
                        "amortize z[n] from x[n], y[ county[n], * ], y[1, 1..2]; } input g;");
  static const char *const wanted[] = {"x[i | county[i] = j]", "w[i | county[i] = j]", "g", "x[n]", "y[county[n],*]", "y[1,1..2]"};
  int k = 0;
  for (int i = 0; i < m->stmts.n; i++)
    for (int j = 0; m->stmts.at[i].kind == ST_AMORTIZE && j < m->stmts.at[i].n_from; j++)
      assert_string_equal(m->stmts.at[i].from[j].text, wanted[k++]);
  assert_int_equal(k, 6);
}

static void test_tables(void **state)
{
  (void)state;
  for (int i = 0; i < FUNC_COUNT; i++) assert_int_equal(func_find(func_info[i].name), i);
  for (int i = 0; i < DIST_COUNT; i++) {
    const DistInfo *d = &dist_info[i];
    assert_int_equal(dist_find(d->name), i);
    assert_int_equal(strlen(d->constraints), d->n_args);
    int commas = 0;
    for (const char *s = d->arguments; *s; s++) commas += *s == ',';
    assert_int_equal(d->n_args ? commas + 1 : 0, d->n_args);
  }
}

static void test_suggestions(void **state)
{
  (void)state;
  static const char *const names[] = {"theta", "sigma", "mu", "alpha_long_name", "N"};
  assert_string_equal(diag_nearest("thetaa", names, 5), "theta");
  assert_string_equal(diag_nearest("tehta", names, 5), "theta");
  assert_string_equal(diag_nearest("Sigma", names, 5), "sigma");
  assert_string_equal(diag_nearest("n", names, 5), "N");
  assert_string_equal(diag_nearest("alpha_lng_nme", names, 5), "alpha_long_name");
  assert_null(diag_nearest("xyz", names, 5));
  assert_null(diag_nearest("q", names, 5));
}

static void test_json(void **state)
{
  (void)state;
  errors("latent \xce\xb8 ~ normal(0, 1);\nlatent a ~ normal(\"q\\\t\xff\", b);\nlatent c ~ normal(x\n, 1);");
  char *text;
  size_t n;
  FILE *f = open_memstream(&text, &n);
  diag_print_json(f);
  fclose(f);
  json_error_t error;
  json_t *root = json_loads(text, 0, &error);
  if (!root) fail_msg("%s: %s", error.text, text);
  json_t *list = json_object_get(root, "errors"), *first = json_array_get(list, 0);
  assert_true(json_array_size(list) >= 3);
  assert_string_equal(json_string_value(json_object_get(first, "file")), "test.pgm");
  assert_int_equal(json_integer_value(json_object_get(first, "line")), 2);
  assert_int_equal(json_integer_value(json_object_get(first, "column")), 8);
  assert_int_equal(json_integer_value(json_object_get(first, "end_column")), 10);
  assert_string_equal(json_string_value(json_object_get(first, "severity")), "error");
  assert_string_equal(json_string_value(json_object_get(first, "hint")), "write: theta");
  json_decref(root);
  free(text);
}

static void test_lengths(void **state)
{
  (void)state;
  const Model *m = body("input K : int; input M : int; input A : matrix[K, M]; input v : vector[K]; let a = A * v; let b = A' * v; let c = "
                        "A * v + v; factor a[1] + b[1] + c[1];");
  assert_int_equal(m->lengths.n, 1);
  assert_string_equal(mexpr_text(m, m->lengths.at[0].a), "M");
  assert_string_equal(mexpr_text(m, m->lengths.at[0].b), "K");
}

/* Byte order mark, carriage returns, no newline at the end. */
static void test_layout(void **state)
{
  (void)state;
  model("\xef\xbb\xbfmodel m {\r\n  latent a ~ normal(0, 1);\r\n  observed y ~ normal(a, 1);\r\n}");
  assert_null(parse("model"));
  assert_int_equal(diag_errors(), 1);
  assert_null(parse(""));
  assert_int_equal(diag_errors(), 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_precedence),
      cmocka_unit_test(test_spans),
      cmocka_unit_test(test_plain_words),
      cmocka_unit_test(test_types),
      cmocka_unit_test(test_wrong_types),
      cmocka_unit_test(test_index_kinds),
      cmocka_unit_test(test_roles),
      cmocka_unit_test(test_block_lets),
      cmocka_unit_test(test_proofs),
      cmocka_unit_test(test_affine),
      cmocka_unit_test(test_references_proved),
      cmocka_unit_test(test_accepted),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_warnings),
      cmocka_unit_test(test_argument_ranges),
      cmocka_unit_test(test_lets_written_out),
      cmocka_unit_test(test_text),
      cmocka_unit_test(test_amortize),
      cmocka_unit_test(test_tables),
      cmocka_unit_test(test_suggestions),
      cmocka_unit_test(test_json),
      cmocka_unit_test(test_lengths),
      cmocka_unit_test(test_layout),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
