/* The command line of a compiled model: subcommands, options, help, messages, signals. In: argv and the model. Out: the exit status.
 *
 * One table of options serves getopt_long and --help; each command (command_NAME.c) gets a filled PgmCli. This file, progress.c and the
 * commands are the only ones of the runtime that print or know of signals. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <gsl/gsl_errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- commands and options ----------------------------------------------------------------------------------------------------------------------- */

enum { CHECK = 1, SIMULATE = 2, FIT = 4, INFER = 8, SAMPLE = 16, PREDICT = 32, GRAD = 64, GAP = 128, ALL = 255 };

typedef struct {
  const char *name;
  unsigned bit;
  int (*prepare)(PgmCli *cli); /* contradictions between options, before any file is read; NULL: none possible */
  int (*run)(PgmCli *cli);
  bool wants_fit; /* the first operand is a fit */
  const char *operands, *summary, *text;
} Command;

static const Command commands[] = {
    {"check", CHECK, NULL, pgm_command_check, false, "[DATA...]", "the verdict: can amortised inference reach factorised inference?",
     "Prints the verdict that was compiled in, as `pgmc check` does. With data, reads them and says what they decide."},
    {"simulate", SIMULATE, NULL, pgm_command_simulate, false, "[DATA...]", "draw a data set from the model",
     "Draws all random variables from the model and writes data that `fit` reads. Covariates and sizes come from DATA\n"
     "and --set; a latent variable that these name is fixed at its value, and one with a flat prior must be."},
    {"fit", FIT, pgm_prepare_fit, pgm_command_fit, false, "DATA...", "fit the factors of q by variational inference",
     "Maximises the ELBO over a factorised q: free factors (fvi), the same factor for all units (const), or factors that\n"
     "a function of the observations gives (avi). The result goes to --out, for infer, sample and predict."},
    {"gap", GAP, pgm_prepare_gap, pgm_command_gap, false, "DATA...", "what amortisation costs: constant, F-VI and A-VI side by side",
     "Fits constant factors, free factors (F-VI) and inference functions (A-VI) to the data, and tells the gaps between\n"
     "them and the evidence, with standard errors: approximation, amortisation (capacity and optimisation), conditioning.\n"
     "The inputs chosen are those of --inputs or --window W; without them, those of the verdict. --window A..B tells\n"
     "what each window leaves; where the verdict has no bounded domain, the widest one stands for it."},
    {"infer", INFER, pgm_prepare_infer, pgm_command_infer, true, "FIT DATA...", "posterior of the local latents of new observations",
     "Means and standard deviations of the local latent variables, as CSV. With a fit by avi this is one forward pass of\n"
     "the inference functions; with fvi the factors of new units are optimised, globals fixed; with const they are the\n"
     "constant."},
    {"sample", SAMPLE, pgm_prepare_draws, pgm_command_sample, true, "FIT DATA...", "draws from q, as Stan CSV",
     "Draws of all latent variables from q, and the `let` variables that follow from them, as Stan CSV. lp__ and log_p__\n"
     "are the log joint density and log_g__ the log density of q, both on the unconstrained scale."},
    {"predict", PREDICT, pgm_prepare_draws, pgm_command_predict, true, "FIT DATA...",
     "posterior predictive draws of the observed variables",
     "For each draw of the latent variables from q, draws all observed variables from the model, as Stan CSV."},
    {"grad", GRAD, NULL, pgm_command_grad, false, "DATA...", "the log joint density and its gradient at a point",
     "Prints the log joint density and its gradient as JSON, at the point where all unconstrained coordinates are 0, or\n"
     "at that of --at."},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

typedef enum {
  O_DATA = 256,
  O_SET,
  O_JSON,
  O_QUIET,
  O_FORMAT,
  O_OUT,
  O_TRUTH,
  O_SEED,
  O_THREADS,
  O_DRAWS,
  O_LOG_LIK,
  O_LATENT,
  O_AT,
  O_CHECK,
  O_METHOD,
  O_HIDDEN,
  O_ACTIVATION,
  O_SKIP,
  O_DEGREE,
  O_INPUTS,
  O_WINDOW,
  O_PIN,
  O_EXPECTATION,
  O_SAMPLES,
  O_OPTIMIZER,
  O_KHAT,
  O_ONE_START,
  O_STEP,
  O_MAX_ITER,
  O_TOL,
  O_BATCH,
  O_INIT,
  O_TRACE,
  O_CHECKPOINT,
  O_EVERY,
  O_RESUME,
  O_SEEDS,
  O_FIX,
  O_TEST,
  O_PER_OBSERVATION,
  O_HTML,
  O_HELP
} OptionKey;

typedef struct {
  const char *name, *argument;
  OptionKey key;
  unsigned commands;
  const char *help;
} Option;

/* In the order of --help. */
static const Option options[] = {
    {"data", "[NAME=]FILE", O_DATA, ALL, "read FILE (JSON, CSV); NAME=FILE: one array (.npy, IDX, JSON, CSV)"},
    {"set", "NAME=VALUE", O_SET, ALL, "set a scalar"},
    {"out", "FILE", O_OUT, SIMULATE | FIT | GAP | INFER | SAMPLE | PREDICT, "where the result goes (a new file or none; not half of one)"},
    {"truth", "FILE", O_TRUTH, SIMULATE, "write the latent variables and params drawn, as JSON"},
    {"method", "fvi|const|avi", O_METHOD, FIT, "default: avi where the verdict is `closes` and there are local latent variables, else fvi"},
    {"hidden", "W,W,...", O_HIDDEN, FIT, "avi: widths of the hidden layers (16,16)"},
    {"hidden", "W,W; ...", O_HIDDEN, GAP, "widths of the hidden layers (16,16); several: compared, and the gaps are those of the last"},
    {"activation", "FUNCTION", O_ACTIVATION, FIT | GAP, "avi: tanh, relu, leaky_relu or softplus (tanh)"},
    {"skip", "affine|none", O_SKIP, FIT | GAP, "avi: an affine connection past the hidden layers (affine)"},
    {"degree", "D", O_DEGREE, FIT, "avi: a polynomial of degree D instead of a network"},
    {"degree", "D; D; ...", O_DEGREE, GAP, "polynomials of these degrees instead of a network"},
    {"inputs", "Z=REF,REF,...", O_INPUTS, FIT, "avi: inputs of Z's inference function, z=x[n],x[n-1]"},
    {"inputs", "Z=REF,REF; ...", O_INPUTS, GAP, "inputs of Z's inference function, whose conditioning gap is told; several sets: compared"},
    {"window", "[Z=]W", O_WINDOW, FIT, "avi: inputs at offsets -W..W along the last plate"},
    {"window", "[Z=]W|A..B", O_WINDOW, GAP, "inputs at offsets -W..W along the last plate; A..B: what each of these windows leaves"},
    {"pin", "NAME", O_PIN, FIT | GAP, "avi: NAME keeps free factors, whose parameters are inputs where the verdict says that this helps"},
    {"expectation", "KIND", O_EXPECTATION, FIT | GAP, "exact, quadrature, fixed-draws or monte-carlo (default: the best each factor admits)"},
    {"samples", "S", O_SAMPLES, FIT | GAP, "draws per evaluation, where expectations are sampled"},
    {"optimizer", "NAME", O_OPTIMIZER, FIT | GAP, "profile, lbfgs or adam"},
    {"step", "SIZE", O_STEP, FIT | GAP, "adam: step size"},
    {"batch", "B", O_BATCH, FIT | GAP, "adam: minibatches of B elements of the outermost plate"},
    {"max-iter", "N", O_MAX_ITER, FIT | GAP, "stop after N iterations"},
    {"tol", "T", O_TOL, FIT | GAP, "tolerance of the convergence test"},
    {"one-start", NULL, O_ONE_START, FIT | GAP, "fvi: do not search other modes of the local latent variables"},
    {"khat", NULL, O_KHAT, FIT, "measure Pareto k-hat of the importance weights"},
    {"init", "FILE|RADIUS", O_INIT, FIT, "start from a fit, or from means spread over -RADIUS..RADIUS"},
    {"trace", "FILE.csv", O_TRACE, FIT, "write iteration, seconds, elbo, gradient norm"},
    {"checkpoint", "FILE", O_CHECKPOINT, FIT, "keep the fit so far in FILE"},
    {"every", "SECONDS", O_EVERY, FIT, "how often (60)"},
    {"resume", "FILE", O_RESUME, FIT, "go on from a checkpoint or fit: its method, functions and factors"},
    {"seeds", "S", O_SEEDS, GAP, "fits per method, with seeds from --seed on (1)"},
    {"fix", "FIT", O_FIX, GAP, "keep globals and params of a fit: methods are compared on one model"},
    {"test", "[NAME=]FILE", O_TEST, GAP, "measure on data that are not fitted as well"},
    {"per-observation", "FILE.csv", O_PER_OBSERVATION, GAP, "write ELBOs and gaps unit by unit: which observations suffer"},
    {"html", "FILE.html", O_HTML, GAP, "write the report: verdict, graph, gaps, paths and times of convergence, on one page"},
    {"draws", "N", O_DRAWS, SAMPLE | PREDICT, "number of draws (1000; predict: 100)"},
    {"log-lik", NULL, O_LOG_LIK, SAMPLE, "add log_lik.N: the log density of each observation, for LOO"},
    {"latent", "NAME", O_LATENT, INFER, "which latent variable, where several differ in their index"},
    {"at", "FILE", O_AT, GRAD, "the point, in the data's format (as simulate --truth writes it)"},
    {"check", NULL, O_CHECK, GRAD, "compare with central differences; status 4 where they disagree"},
    {"format", "text|json|dot", O_FORMAT, CHECK, "dot: the graph for Graphviz"},
    {"seed", "N", O_SEED, SIMULATE | FIT | GAP | SAMPLE | PREDICT, "seed of the random numbers (1)"},
    {"threads", "N", O_THREADS, FIT | GAP | INFER | SAMPLE | PREDICT | GRAD, "threads (all cores; the results are the same for any number)"},
    {"json", NULL, O_JSON, ALL, "one JSON object on standard output, and nothing else there"},
    {"quiet", NULL, O_QUIET, ALL, "no progress, no notes"},
    {"help", NULL, O_HELP, ALL, "this text"},
};
enum { N_OPTIONS = sizeof options / sizeof *options };

/* ---- messages --------------------------------------------------------------------------------------------------------------------------------------- */

int pgm_cli_fail(PgmCli *cli)
{
  fprintf(stderr, "%s\n", cli->error.text);
  if (cli->error.status == PGM_INTERNAL)
    fputs("This is a bug in pgmc: please report it, with the model, the data and the command.\n", stderr);
  if (cli->error.status == PGM_INTERRUPTED) return 128 + (pgm_cli_signal() ? pgm_cli_signal() : SIGINT);
  return cli->error.status == PGM_OK ? PGM_INTERNAL : (int)cli->error.status;
}

static void say(const PgmCli *cli, const char *kind, const char *format, va_list args) __attribute__((format(printf, 3, 0)));
static void say(const PgmCli *cli, const char *kind, const char *format, va_list args)
{
  fprintf(stderr, "%s%s%s: %s", cli->program, cli->command ? " " : "", cli->command ? cli->command : "", kind);
  vfprintf(stderr, format, args);
  putc('\n', stderr);
}

int pgm_cli_usage_error(PgmCli *cli, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  say(cli, "", format, args);
  va_end(args);
  fprintf(stderr, "  %s%s%s --help lists what there is\n", cli->program, cli->command ? " " : "", cli->command ? cli->command : "");
  return PGM_BAD_USAGE;
}

void pgm_cli_note(const PgmCli *cli, const char *format, ...)
{
  va_list args;
  if (cli->quiet) return;
  va_start(args, format);
  say(cli, "note: ", format, args);
  va_end(args);
}

void pgm_cli_warn(const PgmCli *cli, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  say(cli, "warning: ", format, args);
  va_end(args);
}

/* ---- signals, output ------------------------------------------------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t noted, deferred, writing;
static char *volatile half_written; /* temporary file to remove */

static void on_signal(int number)
{
  if (deferred && (!noted || writing)) {
    noted = number;
    return;
  }
  if (half_written && half_written[0]) unlink(half_written);
  _exit(128 + number);
}

static void install_handlers(void)
{
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of its writer, like a full disk */
}

void pgm_cli_defer_signals(bool defer)
{
  deferred = defer;
  if (!defer && noted) on_signal(noted);
}
int pgm_cli_signal(void)
{
  return noted;
}

PgmStatus pgm_cli_output_open(PgmCli *cli, const char *path, PgmAtomicFile *f)
{
  if (!path || strcmp(path, "-") == 0) {
    *f = (PgmAtomicFile){.stream = stdout};
    return PGM_OK;
  }
  PgmStatus status = pgm_atomic_open(f, path, &cli->error);
  if (status == PGM_OK) half_written = f->temporary;
  return status;
}

PgmStatus pgm_cli_output_close(PgmCli *cli, PgmAtomicFile *f)
{
  if (f->stream == stdout) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return PGM_OK;
    return pgm_fail(&cli->error, PGM_SYSTEM, "standard output: %s", strerror(errno ? errno : EIO));
  }
  PgmStatus status = pgm_atomic_commit(f, &cli->error);
  half_written = NULL;
  return status;
}

void pgm_cli_output_discard(PgmAtomicFile *f)
{
  if (f->stream == stdout) return;
  pgm_atomic_discard(f);
  half_written = NULL;
}

PgmStatus pgm_cli_write_fit(PgmCli *cli, const PgmFit *fit, const char *path)
{
  writing = 1;
  PgmStatus status = pgm_fit_write(fit, cli->model, path, &cli->error);
  writing = 0;
  return status;
}

PgmStatus pgm_cli_session(PgmCli *cli, bool for_simulate, PgmSession **s)
{
  const PgmSessionOptions how = {.for_simulate = for_simulate, .threads = cli->fit.threads};
  PgmStatus status = pgm_session_open(s, cli->model, cli->data, &how, &cli->error);
  for (int i = 0; status == PGM_OK && i < (*s)->n_notes; i++) pgm_cli_note(cli, "%s", (*s)->notes[i]);
  return status;
}

/* ---- arguments of options ---------------------------------------------------------------------------------------------------------------------------------- */

/* What an argument has to be, for the message when it is not. */
typedef struct {
  char text[64];
} Wanted;

static bool parse_integer(const char *text, long lowest, long highest, long *value, Wanted *wanted)
{
  char *end;
  errno = 0;
  *value = strtol(text, &end, 10);
  if (highest < INT_MAX)
    snprintf(wanted->text, sizeof wanted->text, ", a whole number from %ld to %ld", lowest, highest);
  else
    snprintf(wanted->text, sizeof wanted->text, ", a whole number from %ld on", lowest);
  return isdigit((unsigned char)*text) && !*end && !errno && *value >= lowest && *value <= highest;
}

static bool parse_positive(const char *text, double *value, Wanted *wanted)
{
  char *end;
  *value = strtod(text, &end);
  strcpy(wanted->text, ", a number above 0");
  return *text && !*end && isfinite(*value) && *value > 0;
}

static bool parse_word(const char *text, const char *const *words, int *index)
{
  for (*index = 0; words[*index]; ++*index) {
    if (strcmp(words[*index], text) == 0) return true;
  }
  return false;
}

bool pgm_cli_parse_hidden(const char *text, PgmFitOptions *fit)
{
  for (fit->n_hidden = 0; fit->n_hidden < PGM_MAX_LAYERS; text++) {
    char *end;
    long width = strtol(text, &end, 10);
    if (end == text || width < 1 || width > 1 << 20 || (*end && *end != ',')) return false;
    fit->hidden[fit->n_hidden++] = (int)width;
    text = end;
    if (!*end) return true;
  }
  return false;
}

/* Appends to a list of option texts; argv outlives the options. */
static bool append(int *n, const char *const **list, const char *text)
{
  const char **more = realloc((void *)*list, sizeof *more * (size_t)(*n + 1));
  if (!more) return false;
  more[(*n)++] = text;
  *list = more;
  return true;
}

/* The length of NAME in NAME=FILE, where NAME is an identifier; 0: the text is a FILE. */
static size_t name_length(const char *text)
{
  size_t length = 0;
  while (isalnum((unsigned char)text[length]) || text[length] == '_' || text[length] == '[' || text[length] == ']') length++;
  return text[length] == '=' ? length : 0;
}

static const char *file_of(const char *text)
{
  const size_t length = name_length(text);
  return length ? text + length + 1 : text;
}

PgmStatus pgm_cli_read_data(PgmCli *cli, const char *text, PgmData *data)
{
  const size_t length = name_length(text);
  if (!length) return pgm_data_read(data, text, &cli->error);
  char name[256];
  if (length >= sizeof name) return pgm_fail(&cli->error, PGM_BAD_USAGE, "--data %s: the name is too long", text);
  memcpy(name, text, length);
  name[length] = '\0';
  return pgm_data_read_named(data, name, file_of(text), &cli->error);
}

/* What is read after all options are known to be right. */
typedef struct {
  OptionKey key;
  const char *text;
} Source;

static int parse_option(PgmCli *cli, const Option *option, const char *text)
{
  static const char *const skips[] = {"none", "affine", NULL}, *const formats[] = {"text", "json", "dot", NULL};
  static const char *const expectations[] = {"exact", "quadrature", "fixed-draws", "monte-carlo", NULL};
  static const char *const optimizers[] = {"profile", "lbfgs", "adam", NULL};
  PgmFitOptions *fit = &cli->fit;
  Wanted wanted = {""};
  long integer = 0;
  int index = 0;
  bool good = true, gap = strcmp(cli->command, "gap") == 0;
  switch (option->key) {
  case O_JSON:
    cli->json = true;
    break;
  case O_QUIET:
    cli->quiet = true;
    break;
  case O_LOG_LIK:
    cli->log_lik = true;
    break;
  case O_CHECK:
    cli->check = true;
    break;
  case O_KHAT:
    fit->khat = true;
    break;
  case O_ONE_START:
    fit->one_start = true;
    break;
  case O_FORMAT:
    good = parse_word(text, formats, &index);
    cli->format = text;
    break;
  case O_OUT:
    cli->out = text;
    break;
  case O_TRUTH:
    cli->truth = text;
    break;
  case O_LATENT:
    cli->latent = text;
    break;
  case O_AT:
    cli->at = text;
    break;
  case O_TRACE:
    cli->trace = text;
    break;
  case O_CHECKPOINT:
    cli->checkpoint = text;
    break;
  case O_RESUME:
    cli->resume = text;
    break;
  case O_INIT:
    cli->init = text;
    break;
  case O_SEEDS:
    good = parse_integer(text, 1, 1000, &cli->seeds, &wanted);
    break;
  case O_FIX:
    cli->fix = text;
    break;
  case O_TEST:
    cli->test = text;
    break;
  case O_PER_OBSERVATION:
    cli->per_observation = text;
    break;
  case O_HTML:
    cli->html = text;
    break;
  case O_SEED: {
    char *end;
    errno = 0;
    fit->seed = strtoul(text, &end, 10);
    good = isdigit((unsigned char)*text) && !*end && !errno;
    break;
  }
  case O_THREADS:
    good = parse_integer(text, 1, 1024, &integer, &wanted);
    fit->threads = (int)integer;
    break;
  case O_DRAWS:
    good = parse_integer(text, 1, LONG_MAX, &cli->draws, &wanted);
    break;
  case O_METHOD:
    good = parse_word(text, pgm_method_words, &index);
    fit->method = (PgmMethodName)index;
    fit->method_given = true;
    cli->given |= GIVEN_METHOD;
    break;
  case O_HIDDEN:
    if (gap) cli->hidden_list = text;
    else good = pgm_cli_parse_hidden(text, fit);
    cli->given |= GIVEN_HIDDEN;
    break;
  case O_ACTIVATION:
    good = parse_word(text, pgm_activation_words, &index);
    fit->activation = (PgmActivation)index;
    cli->given |= GIVEN_ACTIVATION;
    break;
  case O_SKIP:
    good = parse_word(text, skips, &index);
    fit->skip = index;
    cli->given |= GIVEN_SKIP;
    break;
  case O_DEGREE:
    if (gap) {
      cli->degree_list = text;
    } else {
      good = parse_integer(text, 0, 64, &integer, &wanted);
      fit->degree = (int)integer;
    }
    cli->given |= GIVEN_DEGREE;
    break;
  case O_INPUTS:
    good = strchr(text, '=') && append(&fit->n_inputs, &fit->inputs, text);
    cli->given |= GIVEN_INPUTS;
    break;
  case O_WINDOW: {
    const char *number = strchr(text, '=');
    if (gap && strstr(text, "..")) {
      cli->window_range = text;
      break;
    }
    good = parse_integer(number ? number + 1 : text, 0, LONG_MAX, &integer, &wanted) && number != text && append(&fit->n_windows, &fit->windows, text);
    cli->given |= GIVEN_WINDOW;
    break;
  }
  case O_PIN:
    good = *text && append(&fit->n_pins, &fit->pins, text);
    cli->given |= GIVEN_WINDOW;
    break;
  case O_EXPECTATION:
    good = parse_word(text, expectations, &index);
    fit->expectation = (PgmExpectation)(PGM_EXP_EXACT + index);
    cli->given |= GIVEN_EXPECTATION;
    break;
  case O_SAMPLES:
    good = parse_integer(text, 1, INT_MAX, &integer, &wanted);
    fit->samples = (int)integer;
    cli->given |= GIVEN_SAMPLES;
    break;
  case O_OPTIMIZER:
    good = parse_word(text, optimizers, &index);
    fit->optimizer = (PgmOptimizer)(PGM_OPT_PROFILE + index);
    cli->given |= GIVEN_OPTIMIZER;
    break;
  case O_STEP:
    good = parse_positive(text, &fit->step, &wanted);
    cli->given |= GIVEN_STEP;
    break;
  case O_BATCH:
    good = parse_integer(text, 1, LONG_MAX, &fit->batch, &wanted);
    cli->given |= GIVEN_BATCH;
    break;
  case O_MAX_ITER:
    good = parse_integer(text, 1, LONG_MAX, &fit->max_iter, &wanted);
    break;
  case O_TOL:
    good = parse_positive(text, &fit->tol, &wanted);
    break;
  case O_EVERY:
    good = parse_positive(text, &fit->checkpoint_every, &wanted);
    cli->given |= GIVEN_EVERY;
    break;
  case O_DATA:
  case O_SET:
  case O_HELP:
    break;
  }
  if (good) return 0;
  return pgm_cli_usage_error(cli, "--%s wants %s%s, not '%s'", option->name, option->argument, wanted.text, text);
}

/* ---- help ------------------------------------------------------------------------------------------------------------------------------------------------------ */

static void print_overview(const PgmCli *cli, FILE *out)
{
  fprintf(out, "usage: %s COMMAND [options] [files]\n\nVariational inference for the model %s (%s).\n\n", cli->program, cli->model->name,
          cli->model->file);
  for (int i = 0; i < N_COMMANDS; i++) fprintf(out, "  %-9s %-12s %s\n", commands[i].name, commands[i].operands, commands[i].summary);
  fprintf(out,
          "\n%s COMMAND --help tells the options; %s --version the version.\n"
          "DATA are files, JSON as CmdStan reads it or CSV, whose names are those of the model.\n"
          "Exit status: 0 fine, 1 the data are wrong, 2 the command line is, 3 the system failed, 4 what was to hold does not, 5 a bug.\n",
          cli->program, cli->program);
}

static void print_help(const PgmCli *cli, const Command *command)
{
  printf("usage: %s %s [options] %s\n\n%s\n\n", cli->program, command->name, command->operands, command->text);
  for (int i = 0; i < N_OPTIONS; i++) {
    if (!(options[i].commands & command->bit)) continue;
    char left[64];
    snprintf(left, sizeof left, "--%s%s%s", options[i].name, options[i].argument ? " " : "",
             options[i].argument ? options[i].argument : "");
    printf("  %-25s%s%s\n", left, strlen(left) > 24 ? " " : "", options[i].help);
  }
}

/* The nearest word by edit distance, where it is near enough to be meant; NULL otherwise. */
static const char *nearest(const char *word, const char *const *words, int n)
{
  enum { LONGEST = 32 };
  size_t length = strlen(word), best = length / 3 + 2;
  const char *found = NULL;
  for (int i = 0; i < n; i++) {
    size_t row[LONGEST + 1], other = strlen(words[i]);
    if (other > LONGEST) continue;
    for (size_t k = 0; k <= other; k++) row[k] = k;
    for (size_t j = 1; j <= length; j++) {
      size_t diagonal = row[0];
      row[0] = j;
      for (size_t k = 1; k <= other; k++) {
        size_t change = diagonal + (word[j - 1] != words[i][k - 1]);
        diagonal = row[k];
        if (row[k - 1] + 1 < change) change = row[k - 1] + 1;
        if (row[k] + 1 < change) change = row[k] + 1;
        row[k] = change;
      }
    }
    if (row[other] < best) best = row[other], found = words[i];
  }
  return found;
}

static int unknown_option(PgmCli *cli, const Command *command, const char *text)
{
  const char *names[N_OPTIONS];
  char word[64];
  int n = 0;
  for (int i = 0; i < N_OPTIONS; i++) {
    if (options[i].commands & command->bit) names[n++] = options[i].name;
  }
  snprintf(word, sizeof word, "%.*s", (int)strcspn(text + 2, "="), text + 2);
  const char *meant = nearest(word, names, n);
  return pgm_cli_usage_error(cli, "there is no option %s%s%s%s", text, meant ? "; did you mean --" : "", meant ? meant : "",
                             meant ? "?" : "");
}

/* ---- pgm_main ----------------------------------------------------------------------------------------------------------------------------------------------------- */

/* Options and operands of one command -> *cli and the list of what is to be read; -1, or the exit status. */
static int parse_arguments(PgmCli *cli, const Command *command, int argc, char **argv, Source *sources, int *n_sources)
{
  struct option table[N_OPTIONS + 1] = {0};
  int n = 0, key, status;
  for (int i = 0; i < N_OPTIONS; i++) {
    if (options[i].commands & command->bit) {
      table[n++] = (struct option){options[i].name, options[i].argument ? required_argument : no_argument, NULL, options[i].key};
    }
  }
  opterr = 0;
  optind = 1;
  while ((key = getopt_long(argc, argv, ":ho:q", table, NULL)) != -1) {
    if (key == 'h') key = O_HELP;
    if (key == 'q') key = O_QUIET;
    if (key == 'o') key = O_OUT;
    if (key == ':') return pgm_cli_usage_error(cli, "%s wants an argument", argv[optind - 1]);
    if (key == '?' && optopt && optopt < 256) return pgm_cli_usage_error(cli, "there is no option -%c", optopt);
    if (key == '?' && optopt) return pgm_cli_usage_error(cli, "%s takes no argument", argv[optind - 1]);
    if (key == '?') return unknown_option(cli, command, argv[optind - 1]);
    if (key == O_HELP) {
      print_help(cli, command);
      return 0;
    }
    const Option *option = NULL;       /* the command's own entry, where several commands tell of an option in their own words */
    for (int i = 0; i < N_OPTIONS; i++)
      if (options[i].key == (OptionKey)key && (!option || options[i].commands & command->bit)) option = &options[i];
    if (!(option->commands & command->bit)) return pgm_cli_usage_error(cli, "it takes no --%s", option->name);
    if (key == O_DATA || key == O_SET) sources[(*n_sources)++] = (Source){option->key, optarg};
    if ((status = parse_option(cli, option, optarg)) != 0) return status;
  }
  if (command->wants_fit && optind < argc) cli->fit_file = argv[optind++];
  if (command->wants_fit && !cli->fit_file)
    return pgm_cli_usage_error(cli, "it wants a fit: %s %s %s", cli->program, cli->command, command->operands);
  while (optind < argc) sources[(*n_sources)++] = (Source){O_DATA, argv[optind++]};
  return -1;
}

/* Devices, as /dev/null, lose nothing. */
static bool same_file(const char *a, const char *b)
{
  struct stat x, y;
  if (stat(a, &x)) return !strcmp(a, b);
  return !stat(b, &y) && S_ISREG(x.st_mode) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Would an output replace a file that is read, or another output? A fit may take the place of the one it began with, and of its checkpoint. */
static int check_outputs(PgmCli *cli, const Source *sources, int n)
{
  const struct {
    const char *option, *path;
  } output[] = {{"out", cli->out}, {"html", cli->html}, {"per-observation", cli->per_observation}, {"trace", cli->trace}, {"checkpoint", cli->checkpoint}};
  const char *read[] = {cli->fit_file, cli->test ? file_of(cli->test) : NULL, cli->fix};
  enum { OUTPUTS = sizeof output / sizeof *output, READ = sizeof read / sizeof *read, CHECKPOINT = OUTPUTS - 1 };
  for (int i = 0; i < OUTPUTS; i++) {
    const char *path = output[i].path;
    bool lost = false;
    if (!path || !strcmp(path, "-")) continue;
    for (int k = 0; k < n && !lost; k++)
      if (sources[k].key == O_DATA && same_file(path, file_of(sources[k].text))) lost = true;
    for (int k = 0; k < READ && !lost; k++) lost = read[k] && same_file(path, read[k]);
    if (lost) return pgm_cli_usage_error(cli, "--%s %s: this file is read, and would be replaced", output[i].option, path);
    for (int k = 0; k < i; k++)
      if (output[k].path && i != CHECKPOINT && same_file(path, output[k].path))
        return pgm_cli_usage_error(cli, "--%s and --%s both write %s", output[k].option, output[i].option, path);
  }
  return 0;
}

static PgmStatus read_sources(PgmCli *cli, const Source *sources, int n)
{
  PgmStatus status = PGM_OK;
  for (int i = 0; i < n && status == PGM_OK; i++) {
    if (sources[i].key == O_DATA)
      status = pgm_cli_read_data(cli, sources[i].text, cli->data);
    else
      status = pgm_data_set(cli->data, sources[i].text, &cli->error);
  }
  return status;
}

static int run_command(PgmCli *cli, const Command *command, int argc, char **argv)
{
  Source *sources = calloc((size_t)argc + 1, sizeof *sources);
  int n_sources = 0, status;
  cli->command = command->name;
  cli->fit = pgm_fit_defaults();
  cli->data = pgm_data_new();
  if (!sources || !cli->data) {
    pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
    status = pgm_cli_fail(cli);
  } else if ((status = parse_arguments(cli, command, argc, argv, sources, &n_sources)) < 0) {
    status = command->prepare ? command->prepare(cli) : 0;
    if (!status) status = check_outputs(cli, sources, n_sources);
    if (!status) status = read_sources(cli, sources, n_sources) == PGM_OK ? command->run(cli) : pgm_cli_fail(cli);
  }
  free(sources);
  pgm_data_free(cli->data);
  free((void *)cli->fit.inputs);
  free((void *)cli->fit.windows);
  free((void *)cli->fit.pins);
  return status;
}

static int unknown_command(PgmCli *cli, const char *word)
{
  const char *names[N_COMMANDS];
  for (int i = 0; i < N_COMMANDS; i++) names[i] = commands[i].name;
  const char *meant = nearest(word, names, N_COMMANDS);
  return pgm_cli_usage_error(cli, "there is no command '%s'%s%s%s", word, meant ? "; did you mean '" : "", meant ? meant : "",
                             meant ? "'?" : "");
}

/* How long threads look for new work before they sleep: by default libgomp lets them take the cores for milliseconds, and where other programs want these, a
 * fit of hundredths of a second takes seconds. libgomp reads the variable when it starts, which is after this where it is linked statically. */
__attribute__((constructor(101))) static void sleep_soon(void)
{
  if (!getenv("OMP_WAIT_POLICY")) setenv("GOMP_SPINCOUNT", "1000", 0); /* some 50 microseconds */
}

int pgm_main(int argc, char **argv, const PgmModel *model)
{
  const char *slash = argc ? strrchr(argv[0], '/') : NULL;
  PgmCli cli = {.model = model, .program = slash ? slash + 1 : argc ? argv[0] : model->name};
  gsl_set_error_handler_off();
  install_handlers();
  if (model->abi != PGM_ABI) {
    pgm_fail(&cli.error, PGM_INTERNAL, "%s: the model was compiled for another runtime (%d, this is %d)", cli.program, model->abi, PGM_ABI);
    return pgm_cli_fail(&cli);
  }
  if (argc < 2) {
    print_overview(&cli, stderr);
    return PGM_BAD_USAGE;
  }
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
    print_overview(&cli, stdout);
    return 0;
  }
  if (strcmp(argv[1], "--version") == 0) {
    printf("%s, compiled by pgmc %s from %s (SHA-256 %s)\n", model->name, model->version, model->file, model->hash);
    return 0;
  }
  for (int i = 0; i < N_COMMANDS; i++) {
    if (strcmp(argv[1], commands[i].name) == 0) return run_command(&cli, &commands[i], argc - 1, argv + 1);
  }
  return unknown_command(&cli, argv[1]);
}
