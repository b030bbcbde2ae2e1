/* What users of other languages write out of habit: habit.h.
 *
 * In: names that are unknown here, tokens at which the parser stopped. Out: hints, messages. Syntax is recognised by tokens alone, around
 * the place of the error, and only to say something better than what the grammar would have liked to see. */
#include "habit.h"
#include "dist.h"
#include "pgm.tab.h"

#include <string.h>

/* ---- names ----------------------------------------------------------------------------------------------------------------- */

typedef struct {
  const char *name, *here;
} Habit;

static const Habit functions[] = {
    {"ln", "log"},
    {"sigmoid", "inv_logit"},
    {"expit", "inv_logit"},
    {"logistic", "inv_logit"},
    {"ilogit", "inv_logit"},
    {"plogis", "inv_logit"},
    {"qlogis", "logit"},
    {"pnorm", "Phi"},
    {"phi", "Phi"},
    {"qnorm", "inv_Phi"},
    {"probit", "inv_Phi"},
    {"erfinv", "inv_Phi"},
    {"gammaln", "lgamma"},
    {"loggam", "lgamma"},
    {"log_gamma", "lgamma"},
    {"log_factorial", "lgamma(n + 1)"},
    {"logfact", "lgamma(n + 1)"},
    {"factorial", "tgamma(n + 1)"},
    {"gamma", "tgamma"},
    {"choose", "exp(lchoose(n, k))"},
    {"binomial_coefficient_log", "lchoose"},
    {"power", "pow"},
    {"size", "num_elements"},
    {"length", "num_elements"},
    {"len", "num_elements"},
    {"nrow", "rows"},
    {"ncol", "cols"},
    {"std", "sd"},
    {"var", "variance"},
    {"average", "mean"},
    {"inner", "dot"},
    {"inprod", "dot"},
    {"matmul", "a product: A * B"},
    {"cholesky", "cholesky_decompose"},
    {"chol", "cholesky_decompose"},
    {"solve", "mdivide_left"},
    {"logdet", "log_det"},
    {"det", "exp(log_det(A))"},
    {"determinant", "exp(log_det(A))"},
    {"trans", "transpose"},
    {"t", "transpose"},
    {"diag", "diag_matrix"},
    {"eye", "identity_matrix"},
    {"concatenate", "append_row"},
    {"swish", "silu"},
    {"inv_sigmoid", "logit"},
    {"logsumexp", "log_sum_exp"},
    {"logaddexp", "log_sum_exp(x, y)"},
    {"log1pexp", "log1p_exp"},
    {"cloglog", "log(-log1m(p)); its inverse is inv_cloglog"},
    {"cumsum", "cumulative_sum"},
    {"product", "prod"},
    {"arctan2", "atan2"},
    {"arctan", "atan"},
    {"arcsin", "asin"},
    {"arccos", "acos"},
    {"maximum", "fmax"},
    {"minimum", "fmin"},
    {"multiply_log", "lmultiply"},
    {"step", "a condition: x >= 0 ? 1 : 0"},
    {"int_step", "a condition: x > 0 ? 1 : 0"},
    {"ifelse", "condition ? a : b"},
    {"if_else", "condition ? a : b"},
    {"equals", "a comparison: a == b"},
    {"head", "a slice: x[1..n]"},
    {"tail", "a slice: x[K-n+1..K]"},
    {"segment", "a slice: x[i..i+n-1]"},
    {"row", "an index: A[i]"},
    {"col", "a slice: A[1..R, k]"},
    {"sub_col", "a slice: A[i..i+n-1, k]"},
    {"sub_row", "a slice: A[i, k..k+n-1]"},
    {"block", "a slice: A[i..i+n-1, k..k+m-1]"},
    {"rep_array", "rep_vector(value, K)"},
    {"zeros", "rep_vector(0, K)"},
    {"zeros_vector", "rep_vector(0, K)"},
    {"ones", "rep_vector(1, K)"},
    {"ones_vector", "rep_vector(1, K)"},
    {"rep", "rep_vector(value, K)"},
    {"c", "[a, b, c]"},
    {"array", "[a, b, c]"},
    {"increment_log_prob", "a statement: factor EXPRESSION;"},
    {"inf", "positive_infinity()"},
    {"infinity", "positive_infinity()"},
    {"pow2", "square"},
    {"squared", "square"},
    {"abs_diff", "abs(x - y)"},
};

static const Habit distributions[] = {
    {"gaussian", "normal(mu, sigma)"},
    {"Gaussian", "normal(mu, sigma)"},
    {"Normal", "normal(mu, sigma)"},
    {"HalfNormal", "a bound: real<lower=0> ~ normal(0, sigma)"},
    {"half_normal", "a bound: real<lower=0> ~ normal(0, sigma)"},
    {"HalfCauchy", "a bound: real<lower=0> ~ cauchy(0, sigma)"},
    {"half_cauchy", "a bound: real<lower=0> ~ cauchy(0, sigma)"},
    {"HalfStudentT", "a bound: real<lower=0> ~ student_t(nu, 0, sigma)"},
    {"laplace", "double_exponential(mu, sigma)"},
    {"Laplace", "double_exponential(mu, sigma)"},
    {"log_normal", "lognormal(mu, sigma)"},
    {"inverse_gamma", "inv_gamma(alpha, beta)"},
    {"InverseGamma", "inv_gamma(alpha, beta)"},
    {"StudentT", "student_t(nu, mu, sigma)"},
    {"neg_binomial", "neg_binomial_2(mu, phi)"},
    {"negative_binomial", "neg_binomial_2(mu, phi)"},
    {"NegativeBinomial", "neg_binomial_2(mu, phi)"},
    {"multivariate_normal", "multi_normal(mu, Sigma)"},
    {"MvNormal", "multi_normal(mu, Sigma)"},
    {"multi_normal_prec", "multi_normal(mu, inverse_spd(Omega))"},
    {"t", "student_t(nu, mu, sigma)"},
    {"expon", "exponential(beta), with the rate"},
    {"chi2", "chi_square(nu)"},
    {"improper_uniform", "flat()"},
    {"improper", "flat()"},
    {"Flat", "flat()"},
    {"HalfFlat", "a bound: real<lower=0> ~ flat()"},
    {"half_student_t", "a bound: real<lower=0> ~ student_t(nu, 0, sigma)"},
    {"truncated_normal", "normal(mu, sigma) T[lo, hi]"},
    {"TruncatedNormal", "normal(mu, sigma) T[lo, hi]"},
    {"LogNormal", "lognormal(mu, sigma)"},
    {"MultivariateNormal", "multi_normal(mu, Sigma)"},
    {"LKJCholesky", "lkj_corr_cholesky(eta)"},
    {"VonMises", "von_mises(mu, kappa)"},
    {"ChiSquared", "chi_square(nu)"},
    {"DiscreteUniform", "categorical(rep_vector(1.0 / K, K))"},
    {"lkj_corr", "lkj_corr_cholesky(eta) of a cholesky_factor_corr[K]"},
    {"lkj_cholesky", "lkj_corr_cholesky(eta)"},
    {"dirac", "let NAME = VALUE;"},
    {"delta", "let NAME = VALUE;"},
    {"discrete_uniform", "categorical(rep_vector(1.0 / K, K))"},
    {"discrete_range", "categorical(rep_vector(1.0 / K, K))"},
    /* Stan's densities with the linear predictor in them */
    {"normal_id_glm", "written out: normal(alpha + X * beta, sigma)"},
    {"bernoulli_logit_glm", "written out: bernoulli_logit(alpha + X * beta)"},
    {"binomial_logit_glm", "written out: binomial_logit(N, alpha + X * beta)"},
    {"poisson_log_glm", "written out: poisson_log(alpha + X * beta)"},
    {"neg_binomial_2_log_glm", "written out: neg_binomial_2_log(alpha + X * beta, phi)"},
    {"categorical_logit_glm", "written out in a plate: categorical_logit(alpha + beta' * x[n])"},
    {"ordered_logistic_glm", "written out in a plate: ordered_logistic(dot(x[n], beta), c)"},
    /* BUGS: the second argument of dnorm is a precision */
    {"dnorm", "normal(mu, sigma), with a standard deviation instead of a precision"},
    {"dlnorm", "lognormal(mu, sigma), with a standard deviation instead of a precision"},
    {"dt", "student_t(nu, mu, sigma), with a scale instead of a precision"},
    {"dmnorm", "multi_normal(mu, Sigma), with a covariance instead of a precision"},
    {"dbern", "bernoulli(theta)"},
    {"dbin", "binomial(N, theta), with the number of trials first"},
    {"dpois", "poisson(lambda)"},
    {"dgamma", "gamma(alpha, beta)"},
    {"dbeta", "beta(alpha, beta)"},
    {"dunif", "uniform(alpha, beta)"},
    {"dexp", "exponential(beta)"},
    {"ddexp", "double_exponential(mu, sigma), with a scale instead of a rate"},
    {"dweib", "weibull(alpha, sigma), with another scale"},
    {"dchisqr", "chi_square(nu)"},
    {"dnegbin", "neg_binomial_2(mu, phi)"},
    {"dcat", "categorical(theta)"},
    {"ddirich", "dirichlet(alpha)"},
    {"ddirch", "dirichlet(alpha)"},
    {"dmulti", "multinomial(theta)"},
    {"dwish", "wishart(nu, S)"},
    {"dflat", "flat()"},
};

static const Habit types[] = {
    {"array", "an indexed family is an array: plate i in 1..N { input x[i] : real; }"},
    {"float", "write: real"},
    {"double", "write: real"},
    {"number", "write: real"},
    {"numeric", "write: real"},
    {"integer", "write: int"},
    {"bool", "write: int<lower=0, upper=1>"},
    {"boolean", "write: int<lower=0, upper=1>"},
    {"binary", "write: int<lower=0, upper=1>"},
    {"positive", "write: real<lower=0>"},
    {"probability", "write: real<lower=0, upper=1>"},
    {"count", "write: int<lower=0>"},
    {"string", "a model knows numbers only; names of groups become whole numbers"},
    {"unit_vector", "divide a vector by its norm2"},
    {"cholesky_factor_cov", "a cholesky_factor_corr, whose rows are scaled by diag_pre_multiply"},
    {"sum_to_zero_vector", "subtract the mean of a vector"},
};

static const Habit constants[] = {
    {"true", "a condition is 1 or 0"},
    {"false", "a condition is 1 or 0"},
    {"TRUE", "a condition is 1 or 0"},
    {"FALSE", "a condition is 1 or 0"},
    {"True", "a condition is 1 or 0"},
    {"False", "a condition is 1 or 0"},
    {"Inf", "write: positive_infinity()"},
    {"inf", "write: positive_infinity()"},
    {"Infinity", "write: positive_infinity()"},
    {"infinity", "write: positive_infinity()"},
    {"NA", "what is missing is said by the data"},
    {"NaN", "what is missing is said by the data"},
    {"null", "what is missing is said by the data"},
    {"NULL", "what is missing is said by the data"},
    {"target", "the log density cannot be read; it is added to by: factor EXPRESSION;"},
};

static const Habit roles[] = {
    {"data", "input, of what is known; observed, of what has a distribution"},
    {"const", "input"},
    {"constant", "input"},
    {"hyperparameter", "input"},
    {"obs", "observed"},
    {"observe", "observed"},
    {"observation", "observed"},
    {"prior", "latent"},
    {"random", "latent"},
    {"stochastic", "latent"},
    {"hidden", "latent"},
    {"sample", "latent"},
    {"unknown", "latent"},
    {"parameter", "latent; or param, which is estimated as a point"},
    {"parameters", "latent; or param, which is estimated as a point"},
    {"deterministic", "let"},
    {"det", "let"},
    {"define", "let"},
    {"var", "let"},
    {"transformed", "let"},
    {"generated", "let"},
    {"potential", "factor"},
    {"repeat", "plate"},
    {"each", "plate"},
};

static const char *find(const Habit *list, size_t n, const char *name)
{
  for (size_t i = 0; i < n; i++)
    if (!strcmp(list[i].name, name)) return list[i].here;
  return NULL;
}
#define FIND(list, name) find(list, sizeof list / sizeof *list, name)

static bool ends_with(const char *name, const char *ending)
{
  size_t n = strlen(name), k = strlen(ending);
  return n > k && !strcmp(name + n - k, ending);
}

/* Stan's functions that belong to a distribution: normal_rng, normal_cdf, normal_lupdf, normal_log. */
static const char *density_function(const char *name)
{
  static const struct {
    const char *ending, *with;
  } endings[] = {{"_lupdf", "_lpdf"},     {"_lupmf", "_lpmf"},   {"_log", NULL},      {"_lccdf", "_lccdf"}, {"_lcdf", "_lcdf"},
                 {"_ccdf_log", "_lccdf"}, {"_cdf_log", "_lcdf"}, {"_ccdf", "_lccdf"}, {"_cdf", "_lcdf"},    {"_rng", NULL}};
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    if (!ends_with(name, endings[i].ending)) continue;
    int d = dist_find(arena_printf("%.*s", (int)(strlen(name) - strlen(endings[i].ending)), name));
    if (d < 0) continue;
    if (!strcmp(endings[i].ending, "_rng")) return "random draws are made by the commands simulate, sample and predict";
    const char *with = endings[i].with ? endings[i].with : dist_info[d].kind == DK_DISCRETE ? "_lpmf" : "_lpdf";
    bool exponential = ends_with(name, "_cdf") || ends_with(name, "_ccdf");
    const char *arguments = dist_info[d].arguments, *call = arena_printf("%s%s(x | %s)", dist_info[d].name, with, arguments);
    return exponential ? arena_printf("here it is exp(%s)", call) : arena_printf("here it is %s", call);
  }
  return NULL;
}

const char *habit_function(const char *name)
{
  const char *here = FIND(functions, name), *density = here ? NULL : density_function(name);
  if (!strcmp(name, "print")) return "the command sample writes lets";
  if (!strcmp(name, "reject")) return "a bound restricts a variable: real<lower=0>";
  return here ? arena_printf("here it is %s", here) : density;
}

const char *habit_distribution(const char *name)
{
  const char *here = FIND(distributions, name);
  if (here) return arena_printf("here it is %s", here);
  if (!ends_with(name, "_lpdf") && !ends_with(name, "_lpmf")) return NULL;
  int d = dist_find(arena_printf("%.*s", (int)strlen(name) - 5, name));
  return d < 0 ? NULL : arena_printf("write: %s(%s)", dist_info[d].name, dist_info[d].arguments);
}

const char *habit_type(const char *name)
{
  return FIND(types, name);
}

const char *habit_constant(const char *name)
{
  return FIND(constants, name);
}

/* ---- tokens ---------------------------------------------------------------------------------------------------------------- */

static bool is_word(const Token *t, const char *word)
{
  return t->kind == NAME && !strcmp(t->name, word);
}

static bool is_type_name(const Token *t)
{
  static const char *const names[] = {
#define TYPE(name, ...) #name,
#include "word.def"
      "array", "complex", "complex_vector", "complex_matrix", "tuple", "cholesky_factor_cov", "unit_vector", "sum_to_zero_vector"};
  for (size_t i = 0; t->kind == NAME && i < sizeof names / sizeof *names; i++)
    if (!strcmp(t->name, names[i])) return true;
  return false;
}

static bool ends_statement(int kind)
{
  return kind == ';' || kind == '{' || kind == '}' || kind == 0;
}

/* Behind the brackets that begin at token i, or i when none do. */
static int behind_brackets(const TokenVec *t, int i, int open, int close)
{
  if (t->at[i].kind != open) return i;
  int k = i + 1;
  for (int depth = 1; depth && !ends_statement(t->at[k].kind); k++) depth += t->at[k].kind == open ? 1 : t->at[k].kind == close ? -1 : 0;
  return k;
}

/* The token that opens what the bracket at token i closes, or -1. */
static int opening_bracket(const TokenVec *t, int i)
{
  int depth = 0;
  for (int k = i; k >= 0 && !ends_statement(t->at[k].kind); k--) {
    int kind = t->at[k].kind;
    if (kind == ')' || kind == ']') depth++;
    if ((kind == '(' || kind == '[') && !--depth) return k;
  }
  return -1;
}

/* Is token i inside of brackets? */
static bool in_brackets(const TokenVec *t, int i)
{
  int depth = 0;
  for (int k = i - 1; k >= 0 && !ends_statement(t->at[k].kind); k--) {
    int kind = t->at[k].kind;
    depth += kind == '(' || kind == '[' ? 1 : kind == ')' || kind == ']' ? -1 : 0;
    if (depth > 0) return true;
  }
  return false;
}

static const char *text(const TokenVec *t, int from, int to)
{
  return from < to ? source_slice((Span){t->at[from].span.begin, t->at[to - 1].span.end}) : "";
}

bool habit_target(const TokenVec *t, int i)
{
  if (t->at[i].kind != NAME) return false;
  int kind = t->at[behind_brackets(t, i + 1, '[', ']')].kind;
  return kind == '~' || kind == ARROW || kind == PLUS_EQUALS;
}

/* ---- statements ------------------------------------------------------------------------------------------------------------ */

/* `real<lower=0> sigma`, `array[N] int y`, `vector[K] beta`: token i is the type. The token of the name, or -1. */
static int declared_name(const TokenVec *t, int i)
{
  int k = behind_brackets(t, behind_brackets(t, i + 1, '<', '>'), '[', ']');
  if (is_word(&t->at[i], "array") && is_type_name(&t->at[k])) return declared_name(t, k);
  return t->at[k].kind == NAME ? k : -1;
}

/* "sigma : real<lower=0>" */
static const char *turned_round(const TokenVec *t, int type, int name)
{
  int end = behind_brackets(t, name + 1, '[', ']');
  if (is_word(&t->at[type], "array")) {
    int element = behind_brackets(t, type + 1, '[', ']');
    return arena_printf("%s[i] : %s, inside plate i in 1..%s { ... }", t->at[name].name, text(t, element, name),
                        text(t, type + 2, element - 1));
  }
  return arena_printf("%s : %s", text(t, name, end), text(t, type, name));
}

static bool is_role(int kind)
{
  return kind == INPUT || kind == LATENT || kind == OBSERVED || kind == PARAM || kind == LET;
}

/* Is the name at token i declared by a statement before it? */
static bool declared_before(const TokenVec *t, int i)
{
  for (int k = 1; k < i; k++)
    if (is_role(t->at[k - 1].kind) && t->at[k].kind == NAME && t->at[k].name == t->at[i].name) return true;
  return false;
}

void habit_report_statement(const TokenVec *tokens, int i)
{
  const Token *t = &tokens->at[i], *next = t + 1;
  const char *name = t->name;
  static const char *const beginnings = "a statement begins with input, latent, observed, param, let, factor, plate or amortize";
  if (!strcmp(name, "target") && (next->kind == PLUS_EQUALS || next->kind == ARROW || next->kind == '=')) {
    diag_error(((Span){t->span.begin, next->span.end}), "write: factor EXPRESSION;", "the log density is not assigned to");
    return;
  }
  if ((!strcmp(name, "for") || !strcmp(name, "while") || !strcmp(name, "foreach")) && next->kind == '(') {
    diag_error(t->span, "write: plate n in 1..N { ... }", "there are no loops; repetition is a plate");
    return;
  }
  if (!strcmp(name, "if")) {
    diag_error(t->span, "a value is chosen by: condition ? a : b", "there is no 'if' statement");
    return;
  }
  if (!strcmp(name, "increment_log_prob") && next->kind == '(') {
    int end = behind_brackets(tokens, i + 1, '(', ')');
    diag_error(t->span, arena_printf("write: factor %s;", text(tokens, i + 2, end - 1)), "the log density is not assigned to");
    return;
  }
  if ((!strcmp(name, "print") || !strcmp(name, "reject")) && next->kind == '(') {
    diag_error(t->span, habit_function(name), "a model has no statements that do something, as '%s'", name);
    return;
  }
  if (!strcmp(name, "functions") || !strcmp(name, "function") || !strcmp(name, "def")) {
    diag_error(t->span, "write the expression where it is needed, or name it: let NAME = ...", "there are no functions of one's own");
    return;
  }
  if (!strcmp(name, "import") || !strcmp(name, "library") || !strcmp(name, "include")) {
    diag_error(t->span, "a file is one model, and complete", "nothing is imported");
    return;
  }
  if (next->kind == NAME && next[1].kind == '{' && (!strcmp(name, "transformed") || !strcmp(name, "generated"))) {
    diag_error(((Span){t->span.begin, next->span.end}), "what follows from other variables is a let: let NAME = ...; new data are drawn by the command predict",
               "there are no blocks but the model's");
    return;
  }
  if (next->kind == '{' || (next->kind == NAME && next[1].kind == '{') || (next->kind == MODEL && next[1].kind == '{')) {
    diag_error(t->span, "data are 'input' and 'observed' statements, parameters 'latent' ones, in one block: model NAME { ... }",
               "there are no blocks but the model's");
    return;
  }
  int k = behind_brackets(tokens, i + 1, '[', ']'), kind = tokens->at[k].kind;
  const char *target = text(tokens, i, k);
  if (is_type_name(t)) {
    int declared = declared_name(tokens, i);
    const char *turned = declared < 0 ? "NAME : TYPE" : turned_round(tokens, i, declared);
    diag_error(t->span, arena_printf("write: input %s; or: latent %s ~ ...;", turned, turned),
               "a declaration begins with its role, not with the type");
    return;
  }
  if (kind == '~' && declared_before(tokens, i)) {
    const Token *dist = &tokens->at[k + 1];
    const int d = dist->kind == NAME && dist[1].kind == '(' ? dist_find(dist->name) : -1;
    const char *further = NULL;
    if (d >= 0)
      further = arena_printf("a further term is: factor %s_lp%cf(%s | %s);", dist->name, dist_info[d].kind == DK_DISCRETE ? 'm' : 'd', target,
                             text(tokens, k + 3, behind_brackets(tokens, k + 2, '(', ')') - 1));
    diag_error(t->span, further, "'%s' is declared above, and its distribution belongs there", name);
    return;
  }
  if (kind == '~' || kind == ':') {
    diag_error(t->span,
               kind == '~' ? arena_printf("write: observed %s ~ ... or: latent %s ~ ...", target, target)
                           : arena_printf("write: input %s : ... or: latent %s : ... ~ ...", target, target),
               "'%s' lacks its role", name);
    return;
  }
  if (kind == '=' || kind == ARROW || kind == PLUS_EQUALS) {
    diag_error(t->span, arena_printf("write: let %s = ...", target), "there is no assignment");
    return;
  }
  static const char *const words[] = {
#define KEYWORD(word, token, class) KEYWORD_##class(#word)
#define KEYWORD_ROLE(word)          word,
#define KEYWORD_STATEMENT(word)     word,
#define KEYWORD_PART(word)
#include "word.def"
  };
  const char *here = next->kind == NAME ? FIND(roles, name) : NULL;
  if (here) {
    diag_error(t->span, arena_printf("here it is %s", here), "'%s' does not begin a statement", name);
    return;
  }
  const char *near = diag_nearest(name, words, sizeof words / sizeof *words);
  diag_error(t->span, near ? arena_printf("did you mean '%s'?", near) : beginnings, "'%s' does not begin a statement", name);
}

/* ---- inside of statements -------------------------------------------------------------------------------------------------- */

/* input int N; latent real<lower=0> sigma ~ ... */
static bool report_type_first(const TokenVec *t, int begin, int at)
{
  int role = begin;
  if (t->at[role].kind == GLOBAL || t->at[role].kind == MARGINAL) role++;
  if (!is_role(t->at[role].kind) || role + 1 >= at || !is_type_name(&t->at[role + 1])) return false;
  int name = declared_name(t, role + 1);
  if (name < 0 || name < at) return false;
  diag_error(((Span){t->at[role + 1].span.begin, t->at[name].span.end}),
             arena_printf("write: %s %s", text(t, begin, role + 1), turned_round(t, role + 1, name)),
             "the name comes first, and its type after ':'");
  return true;
}

static bool ends_operand(const Token *t)
{
  return t->kind == NAME || t->kind == NUMBER || t->kind == ')' || t->kind == ']';
}

/* Words and signs for operators. */
static bool report_operator(const TokenVec *tokens, int at)
{
  const Token *t = &tokens->at[at];
  static const Habit words[] = {{"and", "&&"}, {"or", "||"}, {"xor", "!="}};
  const char *sign = t->kind == NAME ? FIND(words, t->name) : t->kind == '|' && ends_operand(t - 1) ? "||" : NULL;
  if (sign) {
    diag_error(t->span, arena_printf("write: a %s b", sign), "'%s' is not an operator", source_slice(t->span));
    return true;
  }
  if (t->kind == NAME && (!strcmp(t->name, "mod") || !strcmp(t->name, "div"))) {
    diag_error(t->span, "an index that needs it can be looked up in an integer input",
               "there is no whole-number division and no remainder here");
    return true;
  }
  if (at && is_word(t - 1, "if") && (t->kind == NAME || t->kind == NUMBER)) {
    diag_error(t[-1].span, "write: condition ? a : b", "there is no 'if' in expressions");
    return true;
  }
  if (is_word(t, "if") || is_word(t, "else")) {
    diag_error(t->span, "write: condition ? a : b", "'%s' is not an operator", t->name);
    return true;
  }
  if (at && is_word(t - 1, "not")) {
    diag_error(t[-1].span, "write: !a", "'not' is not an operator");
    return true;
  }
  if (at && t[-1].kind == ')') {
    int open = opening_bracket(tokens, at - 1);
    if (open > 0 && is_word(&tokens->at[open - 1], "if")) {
      diag_error(tokens->at[open - 1].span, "write: condition ? a : b", "there is no 'if' in expressions");
      return true;
    }
  }
  return false;
}

/* Behind the name that a declaration begins with: latent x' ~, latent x(1) ~ */
static bool report_target(const TokenVec *tokens, int begin, int at)
{
  const Token *t = &tokens->at[at];
  if (at < begin + 2 || t[-1].kind != NAME || (!is_role(t[-2].kind) && t[-2].kind != MODEL)) return false;
  if (t->kind == '(' && t[-2].kind != MODEL) {
    int close = behind_brackets(tokens, at, '(', ')');
    diag_error(t->span, arena_printf("write: %s[%s]", t[-1].name, text(tokens, at + 1, close - 1)), "an index stands in square brackets");
    return true;
  }
  if (t->kind != '-' && t->kind != '\'' && t->kind != '+' && t->kind != '*' && t->kind != '/') return false;
  diag_error(t->span, "a name is made of letters, digits and '_'", "'%c' cannot be part of a name", t->kind);
  return true;
}

/* What stands where a type or its bounds are expected: token `colon` is ':'. */
static bool report_type(const TokenVec *tokens, int colon, int at)
{
  const Token *t = &tokens->at[at], *type = &tokens->at[colon + 1];
  if (type->kind != NAME) return false;
  if (is_word(type, "array") && t->kind == NAME && t[-1].kind == ']') {
    diag_error(type->span, habit_type("array"), "there is no type 'array'");
    return true;
  }
  if (at == colon + 2 && t->kind == '(') {
    bool bounds = is_word(t + 1, "lower") || is_word(t + 1, "upper");
    int close = behind_brackets(tokens, at, '(', ')');
    if (!bounds && (is_word(type, "real") || is_word(type, "int"))) {
      diag_error(t->span, arena_printf("for example: %s<lower=0, upper=1>", type->name), "bounds stand in angle brackets");
      return true;
    }
    diag_error(t->span,
               arena_printf("write: %s%c%s%c", type->name, bounds ? '<' : '[', text(tokens, at + 1, close - 1), bounds ? '>' : ']'),
               bounds ? "bounds stand in angle brackets" : "dimensions stand in square brackets");
    return true;
  }
  if (t->kind == '<' && t[-1].kind == ']') {
    int end = behind_brackets(tokens, at, '<', '>');
    diag_error(t->span, arena_printf("write: %s%s%s", type->name, text(tokens, at, end), text(tokens, colon + 2, at)),
               "bounds stand before the dimensions");
    return true;
  }
  if (tokens->at[colon + 2].kind != '<') return false;
  if (at == colon + 3 && t->kind != NAME) {
    diag_error(t->span, arena_printf("for example: %s<lower=0, upper=1>", type->name), "a bound is named 'lower' or 'upper'");
    return true;
  }
  if (t->kind == NAME && (!strcmp(t->name, "lower") || !strcmp(t->name, "upper")) && t[1].kind == '=') {
    diag_error(t->span, arena_printf("for example: %s<lower=0, upper=1>", type->name), "a comma stands between bounds");
    return true;
  }
  return false;
}

/* normal(mu = 0, sigma = 1) */
static bool report_named_argument(const TokenVec *tokens, int at)
{
  const Token *t = &tokens->at[at];
  if (t->kind != '=' || at < 3 || t[-1].kind != NAME || (t[-2].kind != '(' && t[-2].kind != ',')) return false;
  const int open = opening_bracket(tokens, at - 1);
  int k = at - 2;
  for (int depth = 0; k >= 0 && !ends_statement(tokens->at[k].kind); k--) {
    const int kind = tokens->at[k].kind;
    depth += kind == ')' || kind == ']' ? 1 : kind == '(' || kind == '[' ? -1 : 0;
    if (depth < 0) break;
  }
  if (t[1].kind && t[2].kind == DOTS) {
    diag_error(t->span, "for example: sum(m in 1..M: x[m])", "expected 'in' instead of '='");
    return true;
  }
  if (open >= 0 || k < 1 || tokens->at[k].kind != '(' || tokens->at[k - 1].kind != NAME) return false;
  const int d = dist_find(tokens->at[k - 1].name);
  diag_error(((Span){t[-1].span.begin, t->span.end}), d >= 0 ? arena_printf("write: %s(%s)", dist_info[d].name, dist_info[d].arguments) : NULL,
             "arguments have no names; their order tells which is which");
  return true;
}

bool habit_report(const TokenVec *tokens, int begin, int at)
{
  const Token *t = &tokens->at[at], *last = at > begin ? t - 1 : t;
  if (report_type_first(tokens, begin, at) || report_target(tokens, begin, at)) return true;
  if (tokens->at[begin].kind == FACTOR && t->kind == '~') {
    diag_error(t->span, "write: factor normal_lpdf(x | mu, sigma);", "a factor is an expression, not a draw");
    return true;
  }
  for (int i = begin; i < at && tokens->at[i].kind != '~' && tokens->at[i].kind != '=' && tokens->at[i].kind != '('; i++)
    if (tokens->at[i].kind == ':' && report_type(tokens, i, at)) return true;
  bool last_on_line = t[0].kind && source_place(t[1].span.begin).line > source_place(t->span.begin).line;
  if ((t->kind == ',' || t->kind == ':') && last_on_line && !in_brackets(tokens, at)) {
    diag_error(t->span, NULL, "a statement ends with ';', not with '%c'", t->kind);
    return true;
  }
  if (last->kind == PLATE && t->kind == '(') {
    int close = behind_brackets(tokens, at, '(', ')');
    diag_error(t->span, arena_printf("write: plate %s { ... }", text(tokens, at + 1, close - 1)), "a plate takes no parentheses");
    return true;
  }
  if (t->kind == PLUS_EQUALS) {
    diag_error(t->span, "the log density is added to by: factor EXPRESSION;", "'+=' is not an operator");
    return true;
  }
  if (at > begin + 1 && is_word(t - 2, "T") && t[-3].kind == ')' && last->kind == '[' && t->kind == ']') {
    diag_error(t->span, "T[lo, ], T[, hi] or T[lo, hi]", "a truncation needs at least one end");
    return true;
  }
  if ((is_word(last, "I") || is_word(last, "C")) && last[-1].kind == ')' && t->kind == '(') {
    diag_error(last->span, "write: T[lo, hi], or T[lo, ] and T[, hi]", "a truncation is marked by T");
    return true;
  }
  if (is_word(last, "T") && t->kind == '(') {
    diag_error(t->span, "truncation is written T[lo, hi]", "the ends of a truncation stand in square brackets");
    return true;
  }
  if (at > begin && is_role(last->kind) && is_role(t->kind) && t[1].kind == NAME) {
    if (last->kind == t->kind)
      diag_error(t->span, NULL, "'%s' is written twice", t->name);
    else
      diag_error(t->span, NULL, "a variable has one role, '%s' or '%s'", last->name, t->name);
    return true;
  }
  if ((last->kind == GLOBAL || last->kind == MARGINAL) && is_role(t->kind)) {
    diag_error(t->span, NULL, "only a latent variable can be %s", last->name);
    return true;
  }
  if (last->kind == '[' && t->kind == ']') {
    diag_error(t->span, "without brackets a name means the whole of a vector or matrix", "an index is missing");
    return true;
  }
  if (t->kind == ':' && (last->kind == '[' || t[1].kind == ']')) {
    diag_error(t->span, "for example: x[1..K]", "a slice has two ends");
    return true;
  }
  if (t->kind == '{' && tokens->at[begin].kind != PLATE && tokens->at[begin].kind != MODEL) {
    diag_error(t->span, "a vector is written [a, b, c]", "braces belong to plates");
    return true;
  }
  return report_named_argument(tokens, at) || report_operator(tokens, at);
}
