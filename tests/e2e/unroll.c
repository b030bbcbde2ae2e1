/* Writes a model without plates: unroll MODEL.pgm DATA.json
 *
 *   plate n in 1..N { latent z[n] ~ normal(x[n-1], 1); }     with N = 2 in the data becomes
 *   latent z[1] ~ normal(x[0], 1);  latent z[2] ~ normal(x[1], 1);
 *
 * An independent reading of plates, lags and lookups: both models have the same log joint and gradient on the same data. Whole-number scalars and arrays
 * of the data are put in place where indices and bounds use them. A `let` without an index in a
 * plate gets a name of its own in every copy. Knows just as much of the language as the models of the tests need; status 3 where it does not. */
#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TOKENS = 4096, MOST_SCOPE = 64, LONGEST = 64 };

typedef struct { char text[LONGEST]; } Token;
typedef struct { int n; Token at[MOST_TOKENS]; } Tokens;
typedef struct { char name[LONGEST], replacement[2 * LONGEST]; } Binding;

static Tokens all;
static json_t *data;
static Binding scope[MOST_SCOPE];
static int n_scope;
static Token integers[MOST_SCOPE]; /* arrays of integers */
static int n_integers;

static void __attribute__((noreturn, format(printf, 1, 2))) stop(const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  fputs("unroll: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(3);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------------------------------------ */

static bool is(const Token *t, const char *text) { return !strcmp(t->text, text); }
static bool is_name(const Token *t) { return isalpha((unsigned char)t->text[0]) || t->text[0] == '_'; }

static bool is_integer(const Token *t)
{
  return *t->text && strspn(t->text + (t->text[0] == '-'), "0123456789") == strlen(t->text) - (t->text[0] == '-');
}

static void push(Tokens *tokens, const char *text, size_t length)
{
  if (tokens->n == MOST_TOKENS || length >= LONGEST) stop("too long");
  Token *t = &tokens->at[tokens->n++];
  memcpy(t->text, text, length);
  t->text[length] = '\0';
}

static size_t token_length(const char *s)
{
  size_t n = 0;
  if (isalpha((unsigned char)*s) || *s == '_') {
    while (isalnum((unsigned char)s[n]) || s[n] == '_') n++;
    return n;
  }
  if (isdigit((unsigned char)*s)) {
    while (isdigit((unsigned char)s[n])) n++;
    if (s[n] == '.' && isdigit((unsigned char)s[n + 1])) n++;
    while (isdigit((unsigned char)s[n])) n++;
    if ((s[n] == 'e' || s[n] == 'E') && (isdigit((unsigned char)s[n + 1]) || s[n + 1] == '-')) n += 2;
    while (isdigit((unsigned char)s[n])) n++;
    return n;
  }
  static const char *const pairs[] = {"..", ".*", "./", "<=", ">=", "==", "!=", "&&", "||"};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    if (!strncmp(s, pairs[i], 2)) return 2;
  return 1;
}

static void read_tokens(const char *s)
{
  while (*s) {
    if (isspace((unsigned char)*s)) s++;
    else if (*s == '#' || !strncmp(s, "//", 2)) s += strcspn(s, "\n");
    else {
      size_t n = token_length(s);
      push(&all, s, n);
      s += n;
    }
  }
}

static char *read_file(const char *path)
{
  FILE *f = fopen(path, "r");
  char *text = calloc(1, 1 << 16);
  if (!f || !text || fread(text, 1, (1 << 16) - 1, f) == 0) stop("cannot read %s", path);
  fclose(f);
  return text;
}

/* ---- integers --------------------------------------------------------------------------------------------------------------------------------------- */

static bool value_of(const json_t *v, long *out)
{
  if (!json_is_integer(v)) return false;
  *out = (long)json_integer_value(v);
  return true;
}

/* sum := product (("+" | "-") product)*, product := atom ("*" atom)*, atom := integer, name of a scalar, "(" sum ")", "-" atom. False: not such a thing. */
static bool sum_value(const Token *t, int n, int *at, long *out);

static bool atom_value(const Token *t, int n, int *at, long *out)
{
  if (*at >= n) return false;
  const Token *token = &t[(*at)++];
  if (is(token, "-")) {
    bool ok = atom_value(t, n, at, out);
    *out = -*out;
    return ok;
  }
  if (is(token, "(")) return sum_value(t, n, at, out) && *at < n && is(&t[(*at)++], ")");
  if (is_integer(token)) {
    *out = strtol(token->text, NULL, 10);
    return true;
  }
  return is_name(token) && value_of(json_object_get(data, token->text), out);
}

static bool product_value(const Token *t, int n, int *at, long *out)
{
  long factor;
  if (!atom_value(t, n, at, out)) return false;
  while (*at < n && is(&t[*at], "*")) {
    ++*at;
    if (!atom_value(t, n, at, &factor)) return false;
    *out *= factor;
  }
  return true;
}

static bool sum_value(const Token *t, int n, int *at, long *out)
{
  long term;
  if (!product_value(t, n, at, out)) return false;
  while (*at < n && (is(&t[*at], "+") || is(&t[*at], "-"))) {
    int sign = is(&t[(*at)++], "+") ? 1 : -1;
    if (!product_value(t, n, at, &term)) return false;
    *out += sign * term;
  }
  return true;
}

static bool integer_value(const Token *t, int n, long *out)
{
  int at = 0;
  return n > 0 && sum_value(t, n, &at, out) && at == n;
}

static bool is_integer_array(const Token *t)
{
  for (int i = 0; i < n_integers; i++)
    if (is(t, integers[i].text)) return true;
  return false;
}

static void push_integer(Tokens *tokens, long value)
{
  char text[LONGEST];
  push(tokens, text, (size_t)snprintf(text, sizeof text, "%ld", value));
}

/* Copies tokens [from, to); integer arithmetic between brackets becomes numbers, elements of integer arrays their values. */
static void fold(const Tokens *in, int from, int to, Tokens *out);

/* A part of an index, between commas or "..": one number where it is one. */
static void fold_part(const Tokens *in, int from, int to, Tokens *out)
{
  static int depth;
  if (++depth > 16) stop("nested too deeply");
  Tokens *part = calloc(1, sizeof *part);
  long value;
  fold(in, from, to, part);
  if (integer_value(part->at, part->n, &value)) push_integer(out, value);
  else
    for (int i = 0; i < part->n; i++) push(out, part->at[i].text, strlen(part->at[i].text));
  free(part);
  depth--;
}

static int closing(const Tokens *in, int at)
{
  int depth = 0;
  for (int i = at; i < in->n; i++) {
    if (is(&in->at[i], "[")) depth++;
    if (is(&in->at[i], "]") && --depth == 0) return i;
  }
  stop("'[' without ']'");
}

/* The element of an integer array at the indices that stand in out after `start`: "[", numbers with commas, "]". */
static void look_up(Tokens *out, int start, const Token *name)
{
  json_t *v = json_object_get(data, name->text);
  long value;
  for (int i = start + 1; i < out->n - 1; i++) {
    if (is(&out->at[i], ",")) continue;
    if (!is_integer(&out->at[i])) return;
    v = json_array_get(v, (size_t)strtol(out->at[i].text, NULL, 10) - 1);
  }
  if (!value_of(v, &value)) stop("%s has no such element", name->text);
  out->n = start - 1;
  push_integer(out, value);
}

static void fold(const Tokens *in, int from, int to, Tokens *out)
{
  for (int i = from; i < to; i++) {
    push(out, in->at[i].text, strlen(in->at[i].text));
    if (!is(&in->at[i], "[")) continue;
    int end = closing(in, i), start = out->n - 1, depth = 0;
    for (int part = i + 1, k = i + 1; k <= end; k++) {
      if (is(&in->at[k], "[") || is(&in->at[k], "(")) depth++;
      bool separator = depth == 0 && (k == end || is(&in->at[k], ",") || is(&in->at[k], ".."));
      if (is(&in->at[k], "]") || is(&in->at[k], ")")) depth--;
      if (!separator) continue;
      fold_part(in, part, k, out);
      push(out, in->at[k].text, strlen(in->at[k].text));
      part = k + 1;
    }
    bool declared = i == 2 && is(&in->at[0], "input");
    if (i > 0 && !declared && is_integer_array(&in->at[i - 1])) look_up(out, start, &in->at[i - 1]);
    i = end;
  }
}

/* ---- statements ------------------------------------------------------------------------------------------------------------------------------------- */

static const char *replacement(const char *name)
{
  for (int i = n_scope - 1; i >= 0; i--)
    if (!strcmp(scope[i].name, name)) return scope[i].replacement;
  return name;
}

static void bind(const char *name, const char *text)
{
  if (n_scope == MOST_SCOPE) stop("too many names");
  snprintf(scope[n_scope].name, LONGEST, "%s", name);
  snprintf(scope[n_scope++].replacement, 2 * LONGEST, "%s", text);
}

static int end_of_statement(int at)
{
  while (at < all.n && !is(&all.at[at], ";")) at++;
  return at;
}

static int end_of_block(int at) /* at: the "{" */
{
  int depth = 0;
  for (; at < all.n; at++) {
    if (is(&all.at[at], "{")) depth++;
    if (is(&all.at[at], "}") && --depth == 0) return at;
  }
  stop("'{' without '}'");
}

/* Tokens [from, to) with names replaced and integers put in. */
static Tokens *substitute(int from, int to)
{
  Tokens *named = calloc(1, sizeof *named), *folded = calloc(1, sizeof *folded);
  for (int i = from; i < to; i++) {
    const char *text = is_name(&all.at[i]) ? replacement(all.at[i].text) : all.at[i].text;
    push(named, text, strlen(text));
  }
  fold(named, 0, named->n, folded);
  free(named);
  return folded;
}

static long bound(int from, int to)
{
  Tokens *t = substitute(from, to);
  long value;
  if (!integer_value(t->at, t->n, &value)) stop("a bound of a plate is no number near '%s'", all.at[from].text);
  free(t);
  return value;
}

/* An `input` that is an array of integers: "input NAME [ ... ] : int" */
static bool declares_integers(int from, int to)
{
  if (!is(&all.at[from], "input") || !is(&all.at[from + 2], "[")) return false;
  int i = closing(&all, from + 2) + 1;
  return i + 1 < to && is(&all.at[i], ":") && is(&all.at[i + 1], "int");
}

static void write_statement(int from, int to, const char *suffix)
{
  if (is(&all.at[from], "amortize")) return;
  if (*suffix && is(&all.at[from], "let") && !is(&all.at[from + 2], "[")) {
    char name[2 * LONGEST];
    snprintf(name, sizeof name, "%s%s", all.at[from + 1].text, suffix);
    bind(all.at[from + 1].text, name);
  }
  Tokens *t = substitute(from, to);
  fputs(" ", stdout);
  for (int i = 0; i < t->n; i++) printf(" %s", t->at[i].text);
  puts(";");
  free(t);
}

static void write_block(int from, int to, const char *suffix)
{
  int names = n_scope;
  while (from < to) {
    if (!is(&all.at[from], "plate")) {
      int end = end_of_statement(from);
      write_statement(from, end, suffix);
      from = end + 1;
      continue;
    }
    int range = from + 3, dots = range, brace = range;
    while (!is(&all.at[dots], "..")) dots++;
    while (!is(&all.at[brace], "{")) brace++;
    int end = end_of_block(brace);
    long lo = bound(range, dots), hi = bound(dots + 1, brace);
    for (long i = lo; i <= hi; i++) {
      char number[LONGEST], longer[2 * LONGEST];
      int outer = n_scope;
      snprintf(number, sizeof number, "%ld", i);
      snprintf(longer, sizeof longer, "%s_%ld", suffix, i);
      bind(all.at[from + 1].text, number);
      write_block(brace + 1, end, longer);
      n_scope = outer;
    }
    from = end + 1;
  }
  n_scope = names;
}

int main(int argc, char **argv)
{
  json_error_t error;
  if (argc != 3) stop("usage: unroll MODEL.pgm DATA.json");
  data = json_load_file(argv[2], 0, &error);
  if (!data) stop("%s: %s", argv[2], error.text);
  char *text = read_file(argv[1]);
  read_tokens(text);
  free(text);
  for (int i = 0; i + 3 < all.n; i++)
    if (is(&all.at[i], "input") && is(&all.at[i + 2], "[") && declares_integers(i, all.n)) integers[n_integers++] = all.at[i + 1];
  printf("model %s {\n", all.at[1].text);
  write_block(3, all.n - 1, "");
  puts("}");
  json_decref(data);
  return 0;
}
