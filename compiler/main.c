/* pgmc: reads a model, says what may be amortised, and makes a C program of it.
 *
 * The passes, in order, each one call:
 *   parse_source   text -> tree                          --dump ast
 *   resolve        tree -> model                         --dump model
 *   analyse        model -> coupling graph -> verdict    --dump graph, verdict
 *   emit_prepare   model -> expressions, expectations    --dump expr
 *   emit_source    expressions -> loops -> C             --dump loop
 * and then the C compiler. Exit statuses: 0 fine, 1 the model is wrong, 2 the command line, 3 the system, 4 --require not met, 5 a bug. */
#define _GNU_SOURCE
#include "ast.h"
#include "driver.h"
#include "emit.h"
#include "graph.h"
#include "header.h"
#include "resolve.h"
#include "sha256.h"
#include "version.h"
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum { CMD_COMPILE, CMD_CHECK, CMD_EMIT } Command;
typedef enum { FORMAT_TEXT, FORMAT_JSON, FORMAT_DOT } Format;

typedef struct {
  Command command;
  const char *model, *output, *require, *dump, *data;
  Format format;
  bool library, single;
  DriverOptions driver;
} Options;

static const char *const usage_text =
  "usage: pgmc MODEL.pgm [-o BINARY]       compile to a standalone inference program\n"
  "       pgmc check MODEL.pgm             report what may be amortised, from which inputs; write nothing\n"
  "       pgmc emit MODEL.pgm [-o FILE.c]  write the C source\n"
  "       pgmc MODEL.pgm --library         write libNAME.a and NAME.h, to call from C\n"
  "\n"
  "MODEL.pgm may be - for standard input.\n"
  "\n"
  "  -o FILE               where to write (default: the model's file name without .pgm)\n"
  "      --library         a static library and its header instead of a program\n"
  "      --format FORM     text, json or dot, for check (default text)\n"
  "      --json            the same as --format json\n"
  "      --data FILE       for check: what this data set (JSON, CSV) makes of it: the components that lookups and missing values leave\n"
  "      --require VERDICT fail with status 4 if the verdict is weaker (closes, partly, data, unknown, open)\n"
  "      --real TYPE       double (default), or float: matrix products of neural networks in single precision\n"
  "      --march CPU       native (default) or portable: any processor of this family\n"
  "      --cc COMPILER     the C compiler (default gcc, or the variable CC)\n"
  "      --cflags FLAGS    further flags for it (default: the variable PGMC_CFLAGS)\n"
  "      --save-c          keep the C source beside the program\n"
  "      --dump PASS       print what a pass made and stop: ast, model, graph, verdict, expr, loop\n"
  "  -v, --verbose         show the commands that are run\n"
  "  -h, --help            this text\n"
  "      --version         version\n"
  "\n"
  "Status: 0 done, 1 the model is wrong, 2 wrong usage, 3 system failure, 4 --require not met, 5 internal error.\n";

static _Noreturn void usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void usage_error(const char *format, ...)
{
  va_list args;
  fprintf(stderr, "pgmc: ");
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fprintf(stderr, "\nTry 'pgmc --help'.\n");
  exit(2);
}

static bool one_of(const char *word, const char *list)
{
  size_t n = strlen(word);
  for (const char *s = list; *s;) {
    size_t k = strcspn(s, " ");
    if (k == n && !strncmp(s, word, n)) return true;
    s += k + (s[k] == ' ');
  }
  return false;
}

static Options parse_options(int argc, char **argv)
{
  enum { O_LIBRARY = 256, O_FORMAT, O_JSON, O_REQUIRE, O_MARCH, O_CC, O_CFLAGS, O_SAVE, O_DUMP, O_VERSION, O_REAL, O_DATA };
  static const struct option longs[] = {{"library", 0, 0, O_LIBRARY}, {"format", 1, 0, O_FORMAT}, {"json", 0, 0, O_JSON},     {"require", 1, 0, O_REQUIRE},
                                        {"march", 1, 0, O_MARCH},     {"cc", 1, 0, O_CC},         {"cflags", 1, 0, O_CFLAGS}, {"save-c", 0, 0, O_SAVE},
                                        {"dump", 1, 0, O_DUMP},       {"verbose", 0, 0, 'v'},     {"help", 0, 0, 'h'},        {"version", 0, 0, O_VERSION},
                                        {"real", 1, 0, O_REAL},       {"data", 1, 0, O_DATA},     {"output", 1, 0, 'o'},      {0}};
  Options o = {.driver = {.portable = false}};
  bool format_given = false;
  if (argc > 1 && !strcmp(argv[1], "check")) o.command = CMD_CHECK, argc--, argv++;
  else if (argc > 1 && !strcmp(argv[1], "emit")) o.command = CMD_EMIT, argc--, argv++;
  o.driver.cflags = getenv("PGMC_CFLAGS");
  opterr = 0;
  for (int c; (c = getopt_long(argc, argv, ":o:vh", longs, NULL)) != -1;) {
    switch (c) {
    case 'o': o.output = optarg; break;
    case 'v': o.driver.verbose = true; break;
    case 'h': fputs(usage_text, stdout); exit(0);
    case O_VERSION: printf("pgmc %s\n", PGMC_VERSION); exit(0);
    case O_LIBRARY: o.library = true; break;
    case O_JSON: o.format = FORMAT_JSON, format_given = true; break;
    case O_FORMAT:
      format_given = true;
      if (!one_of(optarg, "text json dot")) usage_error("--format is text, json or dot, not '%s'", optarg);
      o.format = optarg[0] == 't' ? FORMAT_TEXT : optarg[0] == 'j' ? FORMAT_JSON : FORMAT_DOT;
      break;
    case O_REQUIRE:
      if (verdict_strength(optarg) < 0) usage_error("--require is closes, partly, data, unknown or open, not '%s'", optarg);
      o.require = optarg;
      break;
    case O_MARCH:
      if (!one_of(optarg, "native portable")) usage_error("--march is native or portable, not '%s'", optarg);
      o.driver.portable = optarg[0] == 'p';
      break;
    case O_CC: o.driver.cc = optarg; break;
    case O_CFLAGS: o.driver.cflags = optarg; break;
    case O_SAVE: o.driver.save_c = true; break;
    case O_DUMP:
      if (!one_of(optarg, "ast model graph verdict expr loop")) usage_error("--dump is ast, model, graph, verdict, expr or loop, not '%s'", optarg);
      o.dump = optarg;
      break;
    case O_REAL:
      if (!one_of(optarg, "double float")) usage_error("--real is double or float, not '%s'", optarg);
      o.single = optarg[0] == 'f';
      break;
    case O_DATA: o.data = optarg; break;
    case ':': usage_error("option '%s' needs an argument", argv[optind - 1]);
    default: usage_error("unknown option '%s'", argv[optind - 1]);
    }
  }
  if (optind >= argc) {
    if (argc <= 1 && o.command == CMD_COMPILE) { fputs(usage_text, stderr); exit(2); }
    usage_error("no model given");
  }
  if (optind + 1 < argc) usage_error("one model at a time: '%s' is one too many", argv[optind + 1]);
  o.model = argv[optind];
  if (o.library && o.command != CMD_COMPILE) usage_error("--library goes with compiling, not with check or emit");
  if (o.command == CMD_CHECK && o.output) usage_error("check writes to standard output; it takes no -o");
  if (format_given && o.command == CMD_EMIT) usage_error("--format goes with check");
  if (o.data && o.command != CMD_CHECK) usage_error("--data goes with check");
  if (!strcmp(o.model, "-") && !o.output && o.command == CMD_COMPILE && !o.dump) usage_error("a model from standard input needs -o");
  return o;
}

/* The whole file; exits with status 3 when it cannot be read. */
static char *read_model(const char *path, size_t *length)
{
  FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
  struct stat st;
  if (f && !fstat(fileno(f), &st) && S_ISDIR(st.st_mode)) { fclose(f); f = NULL; errno = EISDIR; }
  if (!f) { fprintf(stderr, "pgmc: %s: %s\n", path, strerror(errno)); exit(3); }
  size_t cap = 1 << 16, n = 0;
  char *text = malloc(cap);
  while (text) {
    n += fread(text + n, 1, cap - n - 1, f);
    if (n < cap - 1) break;
    text = realloc(text, cap *= 2);
  }
  if (!text || ferror(f)) { fprintf(stderr, "pgmc: %s: %s\n", path, text ? strerror(errno) : "out of memory"); exit(3); }
  if (f != stdin) fclose(f);
  text[n] = 0;
  *length = n;
  return text;
}

static bool use_color(FILE *f) { return isatty(fileno(f)) && !(getenv("NO_COLOR") && *getenv("NO_COLOR")); }

/* Prints what has been collected; exits with status 1 if there are errors. */
static void settle_diagnostics(const Options *o)
{
  bool errors = diag_errors() > 0;
  if (o->format == FORMAT_JSON && errors) diag_print_json(stdout);
  else if (diag_count()) {
    char *shown = NULL;
    size_t length = 0;
    FILE *all = open_memstream(&shown, &length); /* standard error has no buffer of its own */
    if (all) diag_print(all, use_color(stderr));
    if (!all || fclose(all)) { fprintf(stderr, "pgmc: out of memory\n"); exit(3); }
    fwrite(shown, 1, length, stderr);
    free(shown);
  }
  if (errors) exit(1);
}

/* Exits with the status of what is wrong. */
static Given *read_given(const Model *m, const char *path)
{
  Given *given;
  PgmError error = {0};
  PgmStatus status = given_read(m, path, &given, &error);
  if (!status) return given;
  fprintf(stderr, "pgmc: %s\n", error.text);
  exit(status);
}

/* "dir/saw.pgm" -> "saw"; a name that a program can have. */
static const char *stem(const char *path)
{
  const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
  return arena_printf("%.*s", dot && dot != base ? (int)(dot - base) : (int)strlen(base), base);
}

int main(int argc, char **argv)
{
  Options o = parse_options(argc, argv);
  size_t length;
  char *text = read_model(o.model, &length);
  char hash[65];
  PgmSha256 h;
  pgm_sha256_start(&h);
  pgm_sha256_add(&h, text, length);
  pgm_sha256_finish(&h, hash);
  source_set(strcmp(o.model, "-") ? o.model : "<stdin>", text, length);

  const Ast *ast = parse_source();
  if (o.dump && !strcmp(o.dump, "ast") && ast) { settle_diagnostics(&o); ast_dump(ast, stdout); return 0; }
  Model *model = ast ? resolve(ast) : NULL;
  if (!model || diag_errors()) settle_diagnostics(&o);
  if (o.dump && !strcmp(o.dump, "model")) { settle_diagnostics(&o); model_dump(model, stdout); return 0; }
  if (o.dump && !strcmp(o.dump, "graph")) { settle_diagnostics(&o); graph_dump(graph_build(model), stdout); return 0; }
  Given *given = o.data ? read_given(model, o.data) : NULL;
  Analysis *analysis = analyse_given(model, given);
  if (analysis->data_error) { fprintf(stderr, "pgmc: %s: %s\n", o.data, analysis->data_error); return 1; }
  for (int i = 0; i < analysis->warnings.n; i++) diag_warning(analysis->warnings.at[i].span, NULL, "%s", analysis->warnings.at[i].message);
  if (o.dump && !strcmp(o.dump, "verdict")) {
    StrBuf b = {0};
    report_json(model, analysis, NULL, 0, PGMC_VERSION, hash, &b);
    fputs(sb_text(&b), stdout);
    return 0;
  }
  EmitOptions emit = {.version = PGMC_VERSION, .hash = hash, .lenient = o.command == CMD_CHECK && !o.dump, .single = o.single};
  if (o.dump && !strcmp(o.dump, "expr")) emit.dump_expr = stdout;
  if (o.dump && !strcmp(o.dump, "loop")) emit.dump_loop = stdout;
  Emission *emission = emit_prepare(model, analysis, &emit);
  if (o.single && !emit_has_single(emission)) {
    const char *message = "--real float changes nothing: no factor that is sampled has matrix products, so all is computed in double precision";
    VEC_PUSH(analysis->warnings, (AnalysisWarning){.span = ast->name_span, .message = message});
    diag_warning(ast->name_span, NULL, "%s", message);
  }
  settle_diagnostics(&o);
  if (emit.dump_expr) return 0;

  const Expectation *expectations;
  int n = emit_expectations(emission, &expectations);
  StrBuf plain = {0}, json = {0}, dot = {0}, source = {0};
  if (o.command == CMD_CHECK && !emit.dump_loop) {
    StrBuf shown = {0};
    if (o.format == FORMAT_TEXT) report_text_color(model, analysis, expectations, n, use_color(stdout), &shown);
    else if (o.format == FORMAT_JSON) report_json(model, analysis, expectations, n, PGMC_VERSION, hash, &shown);
    else report_dot(model, analysis, &shown);
    fputs(sb_text(&shown), stdout);
  }
  int status = 0;
  if (o.require && verdict_strength(analysis->verdict) < verdict_strength(o.require)) {
    fprintf(stderr, "pgmc: %s: the verdict is '%s', weaker than the '%s' required\n", source_file(), analysis->verdict, o.require);
    status = 4;
  }
  if (fflush(stdout) || ferror(stdout)) { fprintf(stderr, "pgmc: standard output: %s\n", strerror(errno)); return 3; }
  if ((o.command == CMD_CHECK && !emit.dump_loop) || status) return status;

  /* the program carries its own report, which names the model's file and no directory */
  const char *slash = strrchr(model->file, '/');
  if (slash) model->file = slash + 1;
  report_text(model, analysis, expectations, n, &plain);
  report_json(model, analysis, expectations, n, PGMC_VERSION, hash, &json);
  report_dot(model, analysis, &dot);
  emit_source(emission, sb_text(&plain), sb_text(&json), sb_text(&dot), &source);
  if (diag_errors()) settle_diagnostics(&o);
  if (emit.dump_loop) return 0;
  if (o.command == CMD_EMIT) return driver_write(o.output, sb_text(&source));
  if (o.library) {
    StrBuf header = {0};
    header_print(model, driver_header_text("error.h"), driver_header_text("pgm.h"), &header);
    return driver_library(&o.driver, model->name, o.output, sb_text(&source), sb_text(&header));
  }
  return driver_program(&o.driver, o.output ? o.output : stem(o.model), sb_text(&source));
}
