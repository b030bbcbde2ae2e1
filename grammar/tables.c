/* Prints what is made of the tables of words, functions and distributions (word.def, func.def, dist.def), which nothing repeats by hand:
 *
 *   tables reference FILE.md    the file, with each `<!-- table: NAME -->` ... `<!-- end -->` filled anew
 *   tables vim                  editors/vim/syntax/pgm.vim
 *   tables textmate             editors/vscode/syntaxes/pgm.tmLanguage.json
 *   tables words                a dictionary for libFuzzer
 *
 * `make tables` writes the files, and a test sees that they are as printed. */
#include "dist.h"
#include "func.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *word, *class_;
} keywords[] = {
#define KEYWORD(word, token, class) {#word, #class},
#include "word.def"
};

static const char *const soft_words[] = {
#define SOFT_WORD(word) #word,
#include "word.def"
};

static const struct {
  const char *name;
  int dimensions;
  bool bounds;
  const char *description;
} types[] = {
#define TYPE(name, kind, dimensions, bounds, description) {#name, dimensions, bounds, description},
#include "word.def"
};

static const char *const reductions[] = {
#define REDUCTION(name, op) #name,
#include "word.def"
};

static const char *const func_meaning[] = {
#define FUNC(name, class_, min, max, arguments, meaning) meaning,
#include "func.def"
#undef FUNC
};

static const char *const dist_meaning[] = {
#define DIST(name, kind, shape, support, n, args, constraints, meaning) meaning,
#include "dist.def"
#undef DIST
};

#define COUNT(list) ((int)(sizeof list / sizeof *list))

/* ---- lists of names -------------------------------------------------------------------------------------------------------- */

typedef const char *(*NameAt)(int i); /* NULL: left out */

static const char *role_at(int i)
{
  return !strcmp(keywords[i].class_, "ROLE") ? keywords[i].word : NULL;
}
static const char *statement_at(int i)
{
  return strcmp(keywords[i].class_, "ROLE") ? keywords[i].word : NULL;
}
static const char *type_at(int i)
{
  return types[i].name;
}
static const char *func_at(int i)
{
  return func_info[i].name;
}
static const char *dist_at(int i)
{
  return dist_info[i].name;
}

static void print_names(int n, NameAt at, const char *between)
{
  const char *separator = "";
  for (int i = 0; i < n; i++) {
    if (!at(i)) continue;
    printf("%s%s", separator, at(i));
    separator = between;
  }
}

/* ---- the reference --------------------------------------------------------------------------------------------------------- */

static void table_types(void)
{
  puts("| type | values | bounds |\n| --- | --- | --- |");
  for (int i = 0; i < COUNT(types); i++)
    printf("| `%s%s` | %s | %s |\n", types[i].name,
           types[i].dimensions == 2 ? "[R, C]"
           : types[i].dimensions    ? "[K]"
                                    : "",
           types[i].description, types[i].bounds ? "yes" : "");
}

static void table_words(void)
{
  for (int i = 0; i < COUNT(keywords); i++) printf("%s`%s`", i ? " " : "", keywords[i].word);
  puts("");
}

static void table_reductions(void)
{
  for (int i = 0; i < COUNT(reductions); i++) printf("%s`%s`", i ? " " : "", reductions[i]);
  puts("");
}

static void table_functions(void)
{
  static const struct {
    const char *title;
    unsigned classes; /* bits of FuncClass */
  } groups[] = {
      {"element by element", 1u << FC_MAP | 1u << FC_INT_MAP},
      {"of a vector or matrix", 1u << FC_REDUCE | 1u << FC_REDUCE_OR_MAP},
      {"of two vectors", 1u << FC_DOT},
      {"vector to vector", 1u << FC_VECTOR},
      {"matrices and shapes", 1u << FC_MATRIX | 1u << FC_SIZE},
      {"constants", 1u << FC_CONSTANT},
      {"observations", 1u << FC_PRESENT},
  };
  for (int g = 0; g < COUNT(groups); g++) {
    printf("%s| %s | |\n| --- | --- |\n", g ? "\n" : "", groups[g].title);
    for (int i = 0; i < FUNC_COUNT; i++)
      if (groups[g].classes >> func_info[i].class_ & 1)
        printf("| `%s(%s)` | %s |\n", func_info[i].name, func_info[i].arguments, func_meaning[i]);
  }
}

static const char *support_text(Support s)
{
  switch (s) {
  case SUP_REAL:
    return "real";
  case SUP_POSITIVE:
    return "positive";
  case SUP_NONNEGATIVE:
    return "0 and above";
  case SUP_UNIT:
    return "between 0 and 1";
  case SUP_BINARY:
    return "0, 1";
  case SUP_COUNT:
    return "0, 1, ...";
  case SUP_CATEGORY:
    return "1, ..., K";
  case SUP_BOUNDED_COUNT:
    return "0, ..., N";
  case SUP_BETWEEN:
    return "alpha to beta";
  case SUP_ABOVE:
    return "above y_min";
  case SUP_VECTOR:
    return "vector";
  case SUP_SIMPLEX:
    return "simplex";
  case SUP_CHOLESKY_CORR:
    return "Cholesky factor of a correlation matrix";
  case SUP_COV:
    return "covariance matrix";
  case SUP_TYPE:
    return "those of the type";
  }
  return "";
}

static const char *constraint_text(char c)
{
  switch (c) {
  case 'r':
    return "real";
  case 'p':
    return "positive";
  case 'n':
    return "not negative";
  case 'u':
    return "from 0 to 1";
  case 'c':
    return "whole, not negative";
  case 'v':
    return "vector";
  case 's':
    return "simplex";
  case 'q':
    return "positive vector";
  case 'm':
    return "positive definite matrix";
  case 'l':
    return "Cholesky factor";
  case 'o':
    return "ordered vector";
  default:
    return "";
  }
}

static void table_distributions(void)
{
  puts("| distribution | values | arguments | |\n| --- | --- | --- | --- |");
  for (int i = 0; i < DIST_COUNT; i++) {
    const DistInfo *d = &dist_info[i];
    printf("| `%s(%s)` | %s | ", d->name, d->arguments,
           support_text(d->kind == DK_DISCRETE && d->support == SUP_VECTOR ? SUP_COUNT : d->support));
    for (int k = 0; k < d->n_args; k++) printf("%s%s %s", k ? ", " : "", dist_argument_name(i, k), constraint_text(d->constraints[k]));
    printf(" | %s |\n", dist_meaning[i]);
  }
}

static const struct {
  const char *name;
  void (*print)(void);
} tables[] = {
    {"types", table_types},
    {"words", table_words},
    {"functions", table_functions},
    {"reductions", table_reductions},
    {"distributions", table_distributions},
};

/* Status 1: a mark without a table or without its end. */
static int print_reference(const char *path)
{
  static const char begin[] = "<!-- table: ", end[] = "<!-- end -->\n";
  char line[4096];
  bool inside = false;
  FILE *f = fopen(path, "r");
  if (!f) {
    perror(path);
    return 3;
  }
  while (fgets(line, sizeof line, f)) {
    if (!strcmp(line, end)) inside = false;
    if (!inside) fputs(line, stdout);
    if (strncmp(line, begin, strlen(begin))) continue;
    const char *name = line + strlen(begin);
    int t = 0;
    while (t < COUNT(tables) && (strncmp(name, tables[t].name, strlen(tables[t].name)) || strcmp(name + strlen(tables[t].name), " -->\n")))
      t++;
    if (t == COUNT(tables) || inside) {
      fprintf(stderr, "tables: %s: %s", path, line);
      fclose(f);
      return 1;
    }
    tables[t].print();
    inside = true;
  }
  fclose(f);
  return inside;
}

/* ---- editors --------------------------------------------------------------------------------------------------------------- */

static void print_vim(void)
{
  puts("\" Vim syntax of .pgm models. Made by grammar/tables.c from the tables of the compiler: do not edit.");
  puts("if exists('b:current_syntax')\n  finish\nendif\n");
  puts("syntax case match");
  printf("syntax keyword pgmRole ");
  print_names(COUNT(keywords), role_at, " ");
  printf("\nsyntax keyword pgmStatement ");
  print_names(COUNT(keywords), statement_at, " ");
  puts("\n\n\" words that mean something in their place only");
  puts("syntax match pgmBound /\\<\\%(lower\\|upper\\)\\ze\\s*=/\nsyntax match pgmBound /\\<T\\ze\\s*\\[/\nsyntax match pgmStatement "
       "/\\<from\\>\\ze\\s\\+\\h/");
  printf("syntax match pgmType /\\%%(:\\s*\\)\\@20<=\\<\\%%(");
  print_names(COUNT(types), type_at, "\\|");
  printf("\\)\\>/\nsyntax match pgmDistribution /\\%%(\\~\\s*\\)\\@20<=\\<\\%%(");
  print_names(DIST_COUNT, dist_at, "\\|");
  printf("\\)\\>\\ze\\s*(/\nsyntax match pgmFunction /\\<\\%%(");
  print_names(DIST_COUNT, dist_at, "\\|");
  printf("\\)_\\%%(lpdf\\|lpmf\\|lcdf\\|lccdf\\)\\>/\nsyntax match pgmFunction /\\<\\%%(");
  print_names(FUNC_COUNT, func_at, "\\|");
  puts("\\)\\>\\ze\\s*(/\n");
  puts("syntax match pgmNumber /\\<\\d\\+\\%(\\.\\d\\+\\)\\=\\%([eE][-+]\\=\\d\\+\\)\\=\\>/");
  puts("syntax match pgmOperator /[-+*\\/^!?:=<>~|&']/\nsyntax match pgmOperator /\\.\\./\nsyntax match pgmOperator /\\.[*\\/]/");
  puts("syntax keyword pgmTodo TODO FIXME contained");
  puts("syntax match pgmComment /\\/\\/.*/ contains=pgmTodo,@Spell\nsyntax match pgmComment /#.*/ contains=pgmTodo,@Spell");
  puts("syntax region pgmComment start=/\\/\\*/ end=/\\*\\// contains=pgmTodo,@Spell\n");
  puts("highlight default link pgmRole StorageClass\nhighlight default link pgmStatement Statement\nhighlight default link pgmBound "
       "Special");
  puts("highlight default link pgmType Type\nhighlight default link pgmDistribution Function\nhighlight default link pgmFunction Function");
  puts("highlight default link pgmNumber Number\nhighlight default link pgmOperator Operator\nhighlight default link pgmTodo Todo");
  puts("highlight default link pgmComment Comment\n\nlet b:current_syntax = 'pgm'");
}

/* One pattern: {"name": scope, "match": before names after}. */
static void textmate_names(const char *scope, const char *before, int n, NameAt at, const char *after)
{
  printf("    {\"name\": \"%s.pgm\", \"match\": \"%s(", scope, before);
  print_names(n, at, "|");
  printf(")%s\"},\n", after);
}

static void print_textmate(void)
{
  puts("{\n  \"information_for_contributors\": \"Made by grammar/tables.c from the tables of the compiler: do not edit.\",");
  puts("  \"name\": \"pgm\",\n  \"scopeName\": \"source.pgm\",\n  \"fileTypes\": [\"pgm\"],\n  \"patterns\": [");
  puts("    {\"name\": \"comment.line.double-slash.pgm\", \"match\": \"//.*$\"},\n    {\"name\": \"comment.line.number-sign.pgm\", "
       "\"match\": \"#.*$\"},");
  puts("    {\"name\": \"comment.block.pgm\", \"begin\": \"/\\\\*\", \"end\": \"\\\\*/\"},");
  textmate_names("storage.modifier", "\\\\b", COUNT(keywords), role_at, "\\\\b");
  textmate_names("keyword.control", "\\\\b", COUNT(keywords), statement_at, "\\\\b");
  puts("    {\"name\": \"keyword.other.pgm\", \"match\": "
       "\"\\\\b(lower|upper)(?=\\\\s*=)|\\\\bT(?=\\\\s*\\\\[)|\\\\bfrom(?=\\\\s+[A-Za-z])\"},");
  textmate_names("storage.type", "(?<=:)\\\\s*", COUNT(types), type_at, "\\\\b");
  textmate_names("support.class", "(?<=~)\\\\s*", DIST_COUNT, dist_at, "(?=\\\\s*\\\\()");
  textmate_names("support.function.density", "\\\\b", DIST_COUNT, dist_at, "_(lpdf|lpmf|lcdf|lccdf)\\\\b");
  textmate_names("support.function", "\\\\b", FUNC_COUNT, func_at, "(?=\\\\s*\\\\()");
  puts("    {\"name\": \"constant.numeric.pgm\", \"match\": \"\\\\b\\\\d+(\\\\.\\\\d+)?([eE][-+]?\\\\d+)?\\\\b\"},");
  puts("    {\"name\": \"keyword.operator.pgm\", \"match\": \"\\\\.\\\\.|\\\\.[*/]|&&|\\\\|\\\\||[=!<>]=|[-+*/^!?:=<>~|']\"}");
  puts("  ]\n}");
}

static void print_words(void)
{
  for (int i = 0; i < COUNT(keywords); i++) printf("\"%s\"\n", keywords[i].word);
  for (int i = 0; i < COUNT(soft_words); i++) printf("\"%s\"\n", soft_words[i]);
  for (int i = 0; i < COUNT(types); i++) printf("\"%s\"\n", types[i].name);
  for (int i = 0; i < DIST_COUNT; i++) printf("\"%s\"\n", dist_info[i].name);
  for (int i = 0; i < FUNC_COUNT; i++) printf("\"%s\"\n", func_info[i].name);
  static const char *const signs[] = {"..", ".*", "./", "==",    "!=",    "<=",    ">=",     "&&",   "||",         "<-",   "+=",
                                      "/*", "*/", "//", "_lpdf", "_lpmf", "_lcdf", "_lccdf", "1..N", "2147483647", "1e308"};
  for (int i = 0; i < COUNT(signs); i++) printf("\"%s\"\n", signs[i]);
}

int main(int argc, char **argv)
{
  const char *what = argc > 1 ? argv[1] : "";
  int status = 0;
  if (argc == 3 && !strcmp(what, "reference"))
    status = print_reference(argv[2]);
  else if (argc == 2 && !strcmp(what, "vim"))
    print_vim();
  else if (argc == 2 && !strcmp(what, "textmate"))
    print_textmate();
  else if (argc == 2 && !strcmp(what, "words"))
    print_words();
  else {
    fputs("usage: tables reference FILE.md | vim | textmate | words\n", stderr);
    return 2;
  }
  return fflush(stdout) ? 3 : status;
}
