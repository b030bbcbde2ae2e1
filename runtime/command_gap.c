/* `gap`: constant factors, F-VI and A-VI side by side, and every gap between them with its error (gap.c). In: data and options. Out: a
 * table or one JSON object; --out: the JSON object as a file; --per-observation: the gaps unit by unit as CSV; --html: all of it as one
 * page (report_gap.c). */
#include "cli.h"

#include <ctype.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "gap.h"
#include "objective.h"
#include "posterior.h"
#include "progress.h"
#include "report_gap.h"

enum { MAX_ARCHITECTURES = 32, MAX_ALTERNATIVES = 32, DEFAULT_WINDOW = 3, WIDEST_WINDOW = 1000 };

/* ---- options ------------------------------------------------------------------------------------------------------------------------- */

/* "4; 8; 16,16" or "0; 1; 2" -> architectures; their number, 0 where an entry is malformed. */
static int parse_architectures(const char *text, bool polynomial, PgmArchitecture *out)
{
  int n = 0;
  for (const char *at = text; n < MAX_ARCHITECTURES;) {
    char entry[128], *end;
    size_t length = strcspn(at, ";"), k = 0;
    for (size_t i = 0; i < length && k + 1 < sizeof entry; i++) {
      if (!isspace((unsigned char)at[i])) entry[k++] = at[i];
    }
    entry[k] = '\0';
    out[n] = (PgmArchitecture){.degree = -1};
    if (polynomial) {
      long degree = strtol(entry, &end, 10);
      if (end == entry || *end || degree < 0 || degree > 64) return 0;
      out[n++].degree = (int)degree;
    } else {
      PgmFitOptions fit;
      if (!pgm_cli_parse_hidden(entry, &fit)) return 0;
      out[n].n_hidden = fit.n_hidden;
      memcpy(out[n++].hidden, fit.hidden, sizeof fit.hidden);
    }
    if (!at[length]) return n;
    at += length + 1;
  }
  return 0;
}

/* The entries of "z=x[n]; z=x[n-1],x[n]" -> copies, spaces around them left out; their number, 0 where one is malformed or memory is out. */
static int split_inputs(const char *text, char *out[MAX_ALTERNATIVES])
{
  int n = 0;
  for (const char *at = text; n < MAX_ALTERNATIVES;) {
    while (isspace((unsigned char)*at)) at++;
    const size_t length = strcspn(at, ";");
    size_t kept = length;
    while (kept && isspace((unsigned char)at[kept - 1])) kept--;
    char *entry = out[n++] = strndup(at, kept);
    if (!entry || !strchr(entry, '=')) break;
    if (!at[length]) return n;
    at += length + 1;
  }
  while (n) free(out[--n]);
  return 0;
}

/* "0..5" or "z=0..5"; the name goes to `family`. */
static bool parse_range(const char *text, char *family, size_t size, long *lo, long *hi)
{
  const char *equals = strchr(text, '=');
  int end = 0;
  snprintf(family, size, "%.*s", equals ? (int)(equals - text) : 0, text);
  text = equals ? equals + 1 : text;
  return isdigit((unsigned char)*text) && sscanf(text, "%ld..%ld%n", lo, hi, &end) == 2 && !text[end] && *lo >= 0 && *lo <= *hi &&
         *hi <= WIDEST_WINDOW;
}

int pgm_prepare_gap(PgmCli *cli)
{
  PgmArchitecture list[MAX_ARCHITECTURES];
  char family[128];
  long lo, hi;
  if (cli->hidden_list && !parse_architectures(cli->hidden_list, false, list))
    return pgm_cli_usage_error(cli, "--hidden wants W,W,...; W,W,...; ..., not '%s'", cli->hidden_list);
  if (cli->degree_list && !parse_architectures(cli->degree_list, true, list))
    return pgm_cli_usage_error(cli, "--degree wants D; D; ..., whole numbers from 0 to 64, not '%s'", cli->degree_list);
  if (cli->window_range && !parse_range(cli->window_range, family, sizeof family, &lo, &hi))
    return pgm_cli_usage_error(cli, "--window wants [Z=]W, or [Z=]A..B for a table with A up to B, B up to %d, not '%s'", WIDEST_WINDOW, cli->window_range);
  for (int i = 0, several = 1; i < cli->fit.n_inputs; i++) {
    char *entry[MAX_ALTERNATIVES];
    const int n = split_inputs(cli->fit.inputs[i], entry);
    for (int k = 0; k < n; k++) free(entry[k]);
    if (!n || (several > 1 && n > 1 && n != several))
      return pgm_cli_usage_error(
          cli, "--inputs wants Z=REF,REF,... or as many alternatives, with ';' between them, as the other --inputs: not '%s'",
          cli->fit.inputs[i]);
    if (n > 1) several = n;
  }
  return pgm_prepare_fit(cli);
}

static bool is_local(const PgmModel *m, const char *name)
{
  for (int f = 0; f < m->n_families; f++) {
    if (m->families[f].role == PGM_LOCAL && strcmp(m->families[f].name, name) == 0) return true;
  }
  return false;
}

/* Has a local latent variable no domain of its own, so that windows must stand for one? */
static bool needs_window(const PgmModel *m)
{
  for (int i = 0; i < m->n_amortize; i++) {
    const PgmAmortize *a = &m->amortize[i];
    bool closes = strcmp(a->verdict, "closes") == 0 || strcmp(a->verdict, "set") == 0 || strcmp(a->verdict, "slice") == 0;
    if (m->families[a->family].role == PGM_LOCAL && !closes && a->window && a->window[0]) return true;
  }
  return false;
}

typedef struct {
  PgmGapOptions options;
  PgmArchitecture architecture[MAX_ARCHITECTURES];
  PgmAlternative alternative[MAX_ALTERNATIVES];
  char **text;
  int n_texts; /* of the alternatives */
  char family[128];
  PgmFit *fix;
} Setup;

static void free_setup(Setup *u)
{
  for (int k = 0; k < u->options.n_alternatives; k++) free((void *)u->alternative[k].inputs);
  for (int i = 0; i < u->n_texts; i++) free(u->text[i]);
  free(u->text);
  pgm_fit_free(u->fix);
}

/* Lists in --inputs: alternative k has the k-th entry of each; what is no list belongs to all. */
static PgmStatus make_alternatives(PgmCli *cli, Setup *u)
{
  const int n = cli->fit.n_inputs;
  int several = 1;
  u->text = calloc((size_t)n * MAX_ALTERNATIVES + 1, sizeof *u->text);
  int *count = calloc((size_t)n + 1, sizeof *count), *first = calloc((size_t)n + 1, sizeof *first);
  bool ok = u->text && count && first;
  for (int i = 0; i < n && ok; i++) {
    first[i] = u->n_texts;
    count[i] = split_inputs(cli->fit.inputs[i], u->text + u->n_texts);
    u->n_texts += count[i];
    ok = count[i] > 0;
    if (count[i] > several) several = count[i];
  }
  for (int k = 0; k < several && n && ok; k++) {
    const char **inputs = calloc((size_t)n, sizeof *inputs);
    ok = inputs != NULL;
    for (int i = 0; i < n && ok; i++) inputs[i] = u->text[first[i] + (count[i] > 1 ? k : 0)];
    u->alternative[u->options.n_alternatives++] = (PgmAlternative){n, inputs};
  }
  free(count);
  free(first);
  return ok ? PGM_OK : pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
}

static PgmStatus make_setup(PgmCli *cli, Setup *u)
{
  PgmGapOptions *o = &u->options;
  *o = pgm_gap_defaults();
  o->fit = cli->fit;
  o->test = cli->test != NULL;
  o->seeds = cli->seeds > 0 ? (int)cli->seeds : 1;
  o->architecture = u->architecture;
  if (cli->hidden_list) o->n_architectures = parse_architectures(cli->hidden_list, false, u->architecture);
  if (cli->degree_list) o->n_architectures = parse_architectures(cli->degree_list, true, u->architecture);
  if (cli->window_range) {
    o->windows = parse_range(cli->window_range, u->family, sizeof u->family, &o->window_lo, &o->window_hi);
    if (u->family[0]) o->window_family = u->family;
    if (u->family[0] && !is_local(cli->model, u->family))
      return pgm_fail(&cli->error, PGM_BAD_USAGE, "%s gap: --window: '%s' is no local latent variable", cli->program, u->family);
  } else if (!cli->fit.n_pins && needs_window(cli->model)) {
    o->windows = true;
    o->window_hi = DEFAULT_WINDOW;
    pgm_cli_note(cli, "no bounded domain: windows 0..%d are tried, the widest stands for it (--window A..B chooses others)", DEFAULT_WINDOW);
  }
  o->alternative = u->alternative;
  PgmStatus status = make_alternatives(cli, u);
  if (status != PGM_OK || !cli->fix) return status;
  status = pgm_fit_read(&u->fix, cli->model, cli->fix, &cli->error);
  o->fit.fix = u->fix;
  return status;
}

/* ---- test data ----------------------------------------------------------------------------------------------------------------------- */

typedef struct { PgmData *data; PgmSession *s; } TestData;

static void close_test(TestData *t)
{
  pgm_session_close(t->s);
  pgm_data_free(t->data);
}

/* Scalar inputs and sizes of the fitted data that the test file does not repeat and cannot tell. */
static PgmStatus complete_data(PgmCli *cli, const PgmSession *s, PgmData *data)
{
  PgmStatus status = PGM_OK;
  for (int f = 0; f < cli->model->n_families && status == PGM_OK; f++) {
    const PgmFamily *family = &cli->model->families[f];
    const PgmArray *a = pgm_data_find(cli->data, family->name);
    if (family->role != PGM_INPUT || family->is_size || !a || !a->value || a->rank || pgm_data_find(data, family->name)) continue;
    status = pgm_data_add(data, family->name, 0, NULL, a->value, a->file, &cli->error);
  }
  PgmFit *sizes = calloc(1, sizeof *sizes);
  if (status == PGM_OK) status = sizes ? pgm_fit_bind(sizes, s, &cli->error) : pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
  if (status == PGM_OK) status = pgm_fit_add_sizes(sizes, cli->model, data, &cli->error);
  pgm_fit_free(sizes);
  return status;
}

/* What the test data may not change: how many globals there are. */
static PgmStatus check_globals(PgmCli *cli, const PgmSession *s, const PgmSession *test)
{
  for (int f = 0; f < cli->model->n_families; f++) {
    const PgmFamily *family = &cli->model->families[f];
    const long fitted = s->layout[f].elements * s->layout[f].width, here = test->layout[f].elements * test->layout[f].width;
    if ((family->role == PGM_GLOBAL || family->role == PGM_PARAM) && fitted != here)
      return pgm_fail(&cli->error, PGM_BAD_INPUT, "%s: '%s', which all data share, has %ld value%s here and %ld for the data that are fitted",
                      cli->test, family->name, here, here == 1 ? "" : "s", fitted);
  }
  return PGM_OK;
}

/* Reads the test data, and refuses them, before any fit: who mistypes the file's name is not to wait for them. */
static PgmStatus open_test(PgmCli *cli, PgmSession *s, const Setup *u, TestData *t)
{
  const PgmSessionOptions how = {.threads = cli->fit.threads};
  t->data = pgm_data_new();
  if (!t->data) return pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
  PgmStatus status = pgm_cli_read_data(cli, cli->test, t->data);
  if (status == PGM_OK) status = complete_data(cli, s, t->data);
  if (status == PGM_OK) status = pgm_session_open(&t->s, cli->model, t->data, &how, &cli->error);
  if (status == PGM_OK) status = check_globals(cli, s, t->s);
  return status == PGM_OK ? pgm_gap_check_test(s, t->s, cli->test, &u->options, &cli->error) : status;
}

static PgmStatus run_test(PgmCli *cli, const PgmSession *s, const TestData *t, PgmGap *gap, const Setup *u, PgmGap **test)
{
  PgmStatus status = pgm_fit_bind(gap->method[PGM_GAP_FVI].fit, s, &cli->error);
  if (status == PGM_OK) status = pgm_gap_test(t->s, gap, &u->options, test, &cli->error);
  if (status == PGM_OK) pgm_gap_judge(gap, *test);
  if (status == PGM_BAD_INPUT) {
    const PgmError found = cli->error;
    pgm_fail(&cli->error, status, "%s: %s", cli->test, found.text);
  }
  return status;
}

/* ---- text ---------------------------------------------------------------------------------------------------------------------------- */

static void print_method(const PgmGap *gap, PgmGapMethodName k, const char *name, const char *inputs)
{
  const PgmGapMethod *m = &gap->method[k];
  if (!m->fit) return;
  printf("  %-14s %16.4f", name, fabs(m->elbo) < 5e-5 ? 0 : m->elbo);
  if (gap->blocks > 1) printf(" +- %-8.2g", m->se);
  printf("  %s%s%s\n", m->fit->converged ? "" : "NOT converged  ", inputs ? inputs : "", "");
}

/* The gap between methods a and b. */
static void print_gap(const PgmGap *gap, const char *name, PgmGapNumber x, const char *sign, const char *note, PgmGapMethodName a, PgmGapMethodName b)
{
  const bool sampled = gap->blocks > 1 || gap->gaps.approximation.se > 0;
  printf("  %-16s", name);
  if (isfinite(x.value)) {
    printf(" %2s%12.4f", sign, fabs(x.value) < 5e-5 ? 0 : x.value);
    if (x.se > 0)
      printf(" +- %-8.2g", x.se);
    else
      printf("%12s", "");
    if (gap->shares)
      printf("%14.3g", fabs(x.value) < 5e-5 ? 0 : x.value / (double)gap->shares);
    else
      printf("%14s", "-");
    if (gap->shares && x.se > 0)
      printf(" +- %-8.2g", x.se / (double)gap->shares);
    else if (sampled)
      printf("%12s", "");
  } else {
    printf(" %14s", "not measured");
  }
  printf("  %s%s\n", isfinite(x.value) && !pgm_gap_settled(gap, a, b) ? "NOT converged  " : "", note);
}

static void print_spread(const PgmGapMethod *m, const char *name)
{
  double least = INFINITY, most = -INFINITY;
  int converged = 0;
  for (int i = 0; i < m->n_runs; i++) {
    least = fmin(least, m->run[i].elbo);
    most = fmax(most, m->run[i].elbo);
    converged += m->run[i].converged;
  }
  if (m->n_runs) printf("  %-14s %16.4f %16.4f  %d of %d converged\n", name, least, most, converged, m->n_runs);
}

static void print_evidence(const PgmGap *gap)
{
  const PgmEvidence *e = &gap->evidence;
  char given[64] = "";
  if (e->given) snprintf(given, sizeof given, ", given the globals");
  if (e->kind == PGM_EVIDENCE_NONE) {
    printf("  %-14s %16s  %s\n", "log evidence", "not measured",
           e->given ? "no way to integrate the local variables out" : "Pareto k-hat is not defined");
    return;
  }
  printf("  %-14s %16.4f", "log evidence", fabs(e->value) < 5e-5 ? 0 : e->value);
  if (e->se > 0 && e->kind == PGM_EVIDENCE_PSIS) printf(" +- %-8.2g", e->se);
  printf("  %s%s%s", e->kind == PGM_EVIDENCE_BOUND ? "lower bound only: " : "", e->how, given);
  if (isfinite(e->khat))
    printf(", Pareto k-hat %.2f%s", e->khat,
           e->khat <= 0.7 ? "" : e->kind == PGM_EVIDENCE_BOUND ? " > 0.7" : ", of weights that hardly differ");
  else if (e->kind == PGM_EVIDENCE_BOUND)
    fputs(", Pareto k-hat is not defined", stdout);
  putchar('\n');
}

static void print_gaps(const PgmGap *gap, bool test)
{
  const PgmGaps *g = &gap->gaps;
  char share[40];
  snprintf(share, sizeof share, "per %s", pgm_gap_share(gap));
  printf("\n  %-16s %14s %10s %15s\n", "gap, in nats", "total", "", share);
  print_gap(gap, "approximation", g->approximation, gap->evidence.kind == PGM_EVIDENCE_BOUND ? ">=" : "", "log evidence - F-VI", PGM_GAP_FVI,
            PGM_GAP_FVI);
  print_gap(gap, "amortisation", g->amortisation, "", "F-VI - A-VI, full domain", PGM_GAP_FVI, PGM_GAP_FULL);
  if (!test) {
    print_gap(gap, "  capacity", g->capacity, "<=", "F-VI - the best function found", PGM_GAP_FVI, PGM_GAP_FVI);
    print_gap(gap, "  optimisation", g->optimisation, ">=", "that best - this run", PGM_GAP_FULL, PGM_GAP_FULL);
  }
  print_gap(gap, "conditioning", g->conditioning, "",
            gap->same_inputs ? "the inputs are the full domain" : "A-VI, full domain - A-VI, inputs chosen", PGM_GAP_FULL, PGM_GAP_CHOSEN);
  print_gap(gap, "constant", g->constant, "", "F-VI - constant factors", PGM_GAP_FVI, PGM_GAP_CONST);
}

static void print_methods(const PgmGap *gap)
{
  char full[640], stands[100];
  pgm_gap_stand_in(gap, stands, sizeof stands);
  snprintf(full, sizeof full, stands[0] ? "%s (%s)" : "%s", gap->full, stands);
  printf("  %-14s %16s\n", "", "ELBO");
  print_method(gap, PGM_GAP_CONST, "constant", NULL);
  print_method(gap, PGM_GAP_FVI, "F-VI", NULL);
  print_method(gap, PGM_GAP_FULL, "A-VI, full", full);
  if (!gap->same_inputs) print_method(gap, PGM_GAP_CHOSEN, "A-VI, chosen", gap->chosen);
}

/* What an entry of a list loses, with its error where terms are sampled. */
static void print_loss(const PgmGap *gap, PgmGapNumber loss)
{
  printf(" %16.4f", fabs(loss.value) < 5e-5 ? 0 : loss.value);
  if (gap->blocks > 1) printf(" +- %-8.2g", loss.se);
}

/* `test`: the same entries on test data, or NULL. */
static void print_list(const PgmGap *gap, const PgmGap *test, PgmGapListName name)
{
  static const char *const heads[PGM_GAP_LISTS] = {"window", "function", "inputs"};
  const PgmGapList *list = &gap->list[name];
  const int width = name == PGM_GAP_WINDOWS ? 8 : 34;
  if (!list->n) return;
  printf("\n  %-*s %10s %16s %16s%*s%s\n", width, heads[name], "parameters", "ELBO", "F-VI - A-VI", test && gap->blocks > 1 ? 12 : 0, "",
         test ? "     on test data" : "");
  for (int k = 0; k < list->n; k++) {
    const PgmGapVariant *v = &list->at[k];
    const PgmGapMethod *m = pgm_gap_variant(gap, v);
    char window[24];
    snprintf(window, sizeof window, "%ld", v->w);
    printf("  %-*s %10ld %16.4f", width, name == PGM_GAP_WINDOWS ? window : v->text, v->parameters, m->elbo);
    print_loss(gap, v->loss);
    if (test) print_loss(test, test->list[name].at[k].loss);
    printf("%s%s\n", m->fit->converged ? "" : "  NOT converged", name == PGM_GAP_WINDOWS && pgm_gap_falls(gap, k) ? "  falls" : "");
  }
}

/* Line after line, wrapped to 110 columns. */
static void print_lines(const char *name, const char *text)
{
  int column = 16;
  printf("  %-14s", name);
  for (const char *at = text; *at;) {
    const int word = (int)strcspn(at, " \n");
    if (column + word + 1 > 110) column = printf("\n  %-14s", "") - 1;
    column += printf(" %.*s", word, at);
    at += word;
    if (*at == '\n') column = printf("\n  %-14s", "") - 1;
    if (*at) at++;
  }
  putchar('\n');
}

static void print_text(const PgmCli *cli, const PgmGap *gap, const PgmGap *test, const char *advice)
{
  char half_width[200];
  printf("%s: the gaps, %ld %s%s\n", cli->model->name, gap->shares, pgm_gap_share(gap), gap->shares == 1 ? "" : "s");
  print_methods(gap);
  print_evidence(gap);
  print_gaps(gap, false);
  for (int l = 0; l < PGM_GAP_LISTS; l++) {
    print_list(gap, test, (PgmGapListName)l);
    if (l == PGM_GAP_WINDOWS && pgm_gap_say_half_width(gap, test, half_width, sizeof half_width)) printf("\n  %s\n", half_width);
  }
  if (gap->method[PGM_GAP_FVI].n_runs > 1) {
    printf("\n  %-14s %16s %16s\n", "over seeds", "least ELBO", "greatest");
    print_spread(&gap->method[PGM_GAP_CONST], "constant");
    print_spread(&gap->method[PGM_GAP_FVI], "F-VI");
    print_spread(&gap->method[PGM_GAP_FULL], "A-VI, full");
    if (!gap->same_inputs) print_spread(&gap->method[PGM_GAP_CHOSEN], "A-VI, chosen");
  }
  if (test) {
    printf("\n  %s: %ld %s%s %s, globals as F-VI has them\n", cli->test, test->shares, pgm_gap_share(test), test->shares == 1 ? "" : "s",
           test->same_data ? "that were fitted" : "not fitted");
    print_methods(test);
    print_evidence(test);
    print_gaps(test, true);
    if (test->restarted[0]) printf("\n  note           %s\n", test->restarted);
  }
  printf("\n  verdict        %s; %s: %s\n", gap->model->verdict,
         gap->agrees < 0 ? "no comparison"
         : gap->agrees   ? "the numbers agree"
                         : "the numbers DISAGREE",
         gap->message);
  if (gap->restarted[0]) printf("  note           %s\n", gap->restarted);
  print_lines("what to do", advice);
}

/* ---- JSON ---------------------------------------------------------------------------------------------------------------------------- */

static const char *const method_keys[PGM_GAP_METHODS] = {"const", "fvi", "avi_full", "avi"};

/* Every gap, or its standard error, divided by `by` (NaN: there is nothing to divide by). */
static void json_gaps(PgmJson *j, const char *key, const PgmGap *gap, bool errors, double by)
{
  const PgmGaps *g = &gap->gaps;
  const struct {
    const char *key;
    PgmGapNumber x;
  } list[] = {{"approximation", g->approximation}, {"amortisation", g->amortisation}, {"capacity", g->capacity},
              {"optimisation", g->optimisation},   {"conditioning", g->conditioning}, {"constant", g->constant}};
  pgm_json_object(j, key);
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) pgm_json_number(j, list[i].key, (errors ? list[i].x.se : list[i].x.value) / by);
  pgm_json_end(j);
}

/* When the run was first within `nats` of F-VI. */
static void json_reached(PgmJson *j, const char *key, const PgmGap *gap, const PgmGapRun *run, double nats)
{
  double iteration, seconds;
  if (!pgm_gap_reach(run, gap->method[PGM_GAP_FVI].elbo - nats, &iteration, &seconds)) {
    pgm_json_null(j, key);
    return;
  }
  pgm_json_object(j, key);
  pgm_json_number(j, "iterations", iteration);
  pgm_json_number(j, "seconds", seconds);
  pgm_json_end(j);
}

static void json_runs_of(PgmJson *j, const char *key, const PgmGap *gap, const PgmGapMethod *m)
{
  pgm_json_array(j, key);
  for (int i = 0; i < m->n_runs; i++) {
    const PgmGapRun *r = &m->run[i];
    pgm_json_object(j, NULL);
    pgm_json_number(j, "seed", (double)r->seed);
    pgm_json_number(j, "seconds", r->seconds);
    pgm_json_integer(j, "iterations", r->iterations);
    pgm_json_bool(j, "converged", r->converged);
    pgm_json_string(j, "criterion", r->criterion);
    pgm_json_number(j, "elbo", r->elbo);
    json_reached(j, "to_1_percent", gap, r, 0.01 * fabs(gap->method[PGM_GAP_FVI].elbo));
    json_reached(j, "to_10_nats", gap, r, 10);
    json_reached(j, "to_1_nat", gap, r, 1);
    pgm_json_end(j);
  }
  pgm_json_end(j);
}

static void json_runs(PgmJson *j, const PgmGap *gap)
{
  pgm_json_object(j, "runs");
  for (int k = 0; k < PGM_GAP_METHODS; k++) json_runs_of(j, method_keys[k], gap, &gap->method[k]);
  pgm_json_end(j);
}

static void json_measured(PgmJson *j, const PgmGap *gap)
{
  static const char *const kinds[] = {NULL, "exact", "psis", "bound"};
  const PgmEvidence *e = &gap->evidence;
  pgm_json_integer(j, "observations", gap->observations);
  for (int part = 0; part < 2; part++) {
    pgm_json_object(j, part ? "se" : "elbo");
    for (int k = 0; k < PGM_GAP_METHODS; k++) pgm_json_number(j, method_keys[k], part ? gap->method[k].se : gap->method[k].elbo);
    pgm_json_end(j);
  }
  json_runs(j, gap);
  pgm_json_object(j, "inputs");
  pgm_json_string(j, "full", gap->full[0] ? gap->full : NULL);
  pgm_json_string(j, "chosen", gap->chosen[0] ? gap->chosen : NULL);
  if (gap->stands_in >= 0)
    pgm_json_integer(j, "window_for_full", gap->stands_in);
  else
    pgm_json_null(j, "window_for_full");
  pgm_json_end(j);
  pgm_json_object(j, "evidence");
  pgm_json_number(j, "value", e->value);
  pgm_json_string(j, "kind", kinds[e->kind]);
  pgm_json_number(j, "khat", e->khat);
  pgm_json_number(j, "se", e->se);
  pgm_json_bool(j, "given_globals", e->given);
  pgm_json_string(j, "how", e->how[0] ? e->how : NULL);
  pgm_json_end(j);
  const double shares = gap->shares ? (double)gap->shares : NAN;
  json_gaps(j, "gaps", gap, false, 1);
  json_gaps(j, "gaps_se", gap, true, 1);
  json_gaps(j, "per_observation", gap, false, shares);
  json_gaps(j, "per_observation_se", gap, true, shares);
}

static void json_list(PgmJson *j, const PgmGap *gap, PgmGapListName name)
{
  static const char *const keys[PGM_GAP_LISTS] = {"windows", "architectures", "alternatives"}, *const texts[] = {"inputs", "function",
                                                                                                                 "inputs"};
  pgm_json_array(j, keys[name]);
  for (int k = 0; k < gap->list[name].n; k++) {
    const PgmGapVariant *v = &gap->list[name].at[k];
    const PgmGapMethod *m = pgm_gap_variant(gap, v);
    pgm_json_object(j, NULL);
    if (name == PGM_GAP_WINDOWS) pgm_json_integer(j, "w", v->w);
    pgm_json_string(j, texts[name], v->text);
    pgm_json_integer(j, "variational_parameters", v->parameters);
    pgm_json_number(j, "elbo", m->elbo);
    pgm_json_number(j, "amortisation", v->loss.value);
    pgm_json_number(j, "se", v->loss.se);
    pgm_json_bool(j, "converged", m->fit->converged);
    if (name == PGM_GAP_WINDOWS) pgm_json_bool(j, "falls", pgm_gap_falls(gap, k));
    json_runs_of(j, "runs", gap, m);
    pgm_json_end(j);
  }
  pgm_json_end(j);
}

static void json_half_width(PgmJson *j, const PgmGap *gap)
{
  bool measured;
  long w;
  if (!pgm_gap_half_width(gap, PGM_GAP_SHARE, &w, &measured)) {
    pgm_json_string(j, "half_width", NULL);
    return;
  }
  pgm_json_object(j, "half_width");
  pgm_json_integer(j, "w", w);
  pgm_json_number(j, "share", PGM_GAP_SHARE);
  pgm_json_bool(j, "measured", measured);
  pgm_json_end(j);
}

/* What went otherwise than it should: restarts of F-VI, and fits that did not converge. */
static void json_course(PgmJson *j, const PgmGap *gap)
{
  pgm_json_integer(j, "restarts", gap->restarts);
  pgm_json_string(j, "restarted", gap->restarted[0] ? gap->restarted : NULL);
  pgm_json_string(j, "not_converged", gap->unconverged[0] ? gap->unconverged : NULL);
}

static void write_json(const PgmGap *gap, const PgmGap *test, const char *advice, FILE *out)
{
  PgmJson j = pgm_json_start(out);
  pgm_json_object(&j, NULL);
  pgm_json_string(&j, "model", gap->model->name);
  pgm_json_string(&j, "verdict", gap->model->verdict);
  json_measured(&j, gap);
  if (test) {
    pgm_json_object(&j, "test");
    json_measured(&j, test);
    for (int l = 0; l < PGM_GAP_LISTS; l++) json_list(&j, test, (PgmGapListName)l);
    json_half_width(&j, test);
    json_course(&j, test);
    pgm_json_bool(&j, "fitted", test->same_data);
    pgm_json_end(&j);
  } else {
    pgm_json_null(&j, "test");
  }
  for (int l = 0; l < PGM_GAP_LISTS; l++) json_list(&j, gap, (PgmGapListName)l);
  json_half_width(&j, gap);
  json_course(&j, gap);
  if (gap->agrees < 0)
    pgm_json_null(&j, "agrees_with_verdict");
  else
    pgm_json_bool(&j, "agrees_with_verdict", gap->agrees);
  pgm_json_string(&j, "message", gap->message);
  pgm_json_string(&j, "advice", advice);
  pgm_json_end(&j);
  pgm_json_finish(&j);
}

/* ---- files --------------------------------------------------------------------------------------------------------------------------- */

static PgmStatus write_out(PgmCli *cli, const PgmGap *gap, const PgmGap *test, const char *advice)
{
  PgmAtomicFile file;
  PgmStatus status = pgm_cli_output_open(cli, cli->out, &file);
  if (status != PGM_OK) return status;
  write_json(gap, test, advice, file.stream);
  return pgm_cli_output_close(cli, &file);
}

/* values[i], or what they have more than `less`, where what is but the rounding of both is 0; nothing where one was not measured. */
static void csv_number(FILE *out, const double *values, long i, const double *less)
{
  char text[32];
  putc(',', out);
  if (!values || (less && !isfinite(less[i]))) return;
  const double x = less ? values[i] - less[i] : values[i];
  const bool rounding = less && fabs(x) <= 64 * DBL_EPSILON * fmax(1, fmax(fabs(values[i]), fabs(less[i])));
  fputs(pgm_number_text(rounding ? 0 : x, text), out);
}

/* What the ELBO of method k has in no row: the terms and entropies of globals, and of local variables of other plates. */
static double in_no_row(const PgmGap *gap, const PgmGapUnits *units, int k)
{
  double rest = gap->method[k].fit ? gap->method[k].fit->elbo : NAN;
  for (long i = 0; i < units->n && !isnan(rest); i++) rest -= units->elbo[k][i];
  return rest;
}

static void note_rest(const PgmCli *cli, const PgmGap *gap, const PgmGapUnits *units)
{
  const double full = in_no_row(gap, units, PGM_GAP_FULL), least = 0.01;
  const PgmGaps *g = &gap->gaps;
  double amortisation = in_no_row(gap, units, PGM_GAP_FVI) - full, conditioning = full - in_no_row(gap, units, PGM_GAP_CHOSEN);
  if (isnan(conditioning)) conditioning = 0;
  /* where terms are sampled, the rows have draws of their own, as many as the totals */
  if (isnan(amortisation) || (fabs(amortisation) < least + 5 * g->amortisation.se && fabs(conditioning) < least + 5 * fmax(g->conditioning.se, 0))) return;
  pgm_cli_note(cli, "%s: the rows are the units of '%s'; of the amortisation gap %.4g nats are in none of them, of the conditioning gap %.4g: those of variables that "
                    "are global or of other plates", cli->per_observation, units->variable, amortisation, conditioning);
}

/* One row per unit: its ELBO under each method, the gaps, and their standard errors. */
static PgmStatus write_units(PgmCli *cli, PgmSession *s, const PgmGap *gap)
{
  PgmGapUnits units;
  PgmAtomicFile file;
  PgmStatus status = pgm_gap_units(s, gap, cli->fit.seed, &units, &cli->error);
  if (status != PGM_OK) return status;
  const double *const *e = (const double *const *)units.elbo;
  status = pgm_cli_output_open(cli, cli->per_observation, &file);
  if (status == PGM_OK) {
    const bool full = e[PGM_GAP_FULL], chosen = full && e[PGM_GAP_CHOSEN];
    fprintf(file.stream, "%s,const,fvi,avi_full,avi,amortisation,conditioning,amortisation_se,conditioning_se\n", units.variable);
    for (long i = 0; i < units.n; i++) {
      const double se[] = {pgm_gap_unit_se(&units, PGM_GAP_FVI, PGM_GAP_FULL, i), pgm_gap_unit_se(&units, PGM_GAP_FULL, PGM_GAP_CHOSEN, i)};
      fprintf(file.stream, "%ld", units.lo + i);
      for (int k = 0; k < PGM_GAP_METHODS; k++) csv_number(file.stream, e[k], i, NULL);
      csv_number(file.stream, full ? e[PGM_GAP_FVI] : NULL, i, e[PGM_GAP_FULL]);
      csv_number(file.stream, chosen ? e[PGM_GAP_FULL] : NULL, i, e[PGM_GAP_CHOSEN]);
      csv_number(file.stream, full ? se : NULL, 0, NULL);
      csv_number(file.stream, chosen ? se : NULL, 1, NULL);
      putc('\n', file.stream);
    }
    status = pgm_cli_output_close(cli, &file);
  }
  if (status == PGM_OK) note_rest(cli, gap, &units);
  pgm_gap_units_free(&units);
  return status;
}

/* The report, with the gaps unit by unit where there are units. */
static PgmStatus write_html(PgmCli *cli, PgmSession *s, const PgmGap *gap, const PgmGap *test, const char *advice)
{
  PgmGapUnits units = {0};
  PgmAtomicFile file;
  PgmError none;
  const bool has_units =
      pgm_gap_has_units(s) && pgm_gap_units(s, gap, cli->fit.seed, &units, &none) == PGM_OK; /* some models have no shares */
  const PgmGapReport report = {gap, test, has_units ? &units : NULL, advice, cli->test, cli->data, cli->fit.seed};
  PgmStatus status = pgm_cli_output_open(cli, cli->html, &file);
  if (status == PGM_OK) {
    pgm_report_gap(file.stream, &report);
    status = pgm_cli_output_close(cli, &file);
  }
  pgm_gap_units_free(&units);
  return status;
}

/* ---- the command --------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  PgmProgress bar;
  char what[128];
  int done, total;
} Watch;

/* Fits ask now and then whether to go on (on_progress); the evidence does not, so a signal ends the program there. */
static void on_stage(void *data, const char *what, int done, int total)
{
  Watch *w = data;
  pgm_cli_defer_signals(strcmp(what, PGM_GAP_EVIDENCE) != 0);
  snprintf(w->what, sizeof w->what, "%s", what);
  w->done = done;
  w->total = total;
  pgm_progress_show(&w->bar, total ? (double)done / total : NAN, w->what);
}

static bool on_progress(void *data, long iteration, double seconds, double elbo, double norm)
{
  Watch *w = data;
  (void)seconds;
  (void)norm;
  if (pgm_progress_due(&w->bar)) {
    char text[200];
    snprintf(text, sizeof text, "%s: iteration %ld, ELBO %.8g", w->what, iteration, elbo);
    pgm_progress_show(&w->bar, w->total ? (double)w->done / w->total : NAN, text);
  }
  return !pgm_cli_signal();
}

/* Windows wider than the data are left out. */
static void note_cut_windows(const PgmCli *cli, const PgmGap *gap, const PgmGapOptions *o)
{
  const PgmGapList *list = &gap->list[PGM_GAP_WINDOWS];
  const long last = list->n ? list->at[list->n - 1].w : o->window_hi;
  if (o->windows && cli->window_range && last < o->window_hi)
    pgm_cli_note(cli, "window %ld sees all of these data: wider ones are left out", last);
}

static PgmStatus measure(PgmCli *cli, PgmSession *s, const TestData *t, Setup *u, PgmGap **gap, PgmGap **test)
{
  char what[128];
  Watch w = {.total = 1};
  snprintf(what, sizeof what, "%s gap", cli->program);
  pgm_progress_start(&w.bar, what, cli->quiet);
  u->options.stage = on_stage;
  u->options.stage_data = &w;
  u->options.fit.progress = on_progress;
  u->options.fit.progress_data = &w;
  PgmStatus status = pgm_gap_run(s, &u->options, gap, &cli->error);
  if (status == PGM_OK && t->s) status = run_test(cli, s, t, *gap, u, test);
  pgm_progress_end(&w.bar);
  if (status == PGM_OK) pgm_cli_defer_signals(false);
  if (status == PGM_OK) note_cut_windows(cli, *gap, &u->options);
  return status;
}

static PgmStatus check_writable(PgmCli *cli, const char *path)
{
  PgmAtomicFile file;
  if (!path) return PGM_OK;
  PgmStatus status = pgm_cli_output_open(cli, path, &file);
  if (status == PGM_OK) pgm_cli_output_discard(&file);
  return status;
}

int pgm_command_gap(PgmCli *cli)
{
  Setup u = {0};
  TestData t = {0};
  PgmSession *s = NULL;
  PgmGap *gap = NULL, *test = NULL;
  char advice[4096] = "";
  PgmStatus status = make_setup(cli, &u);
  if (status == PGM_OK) status = check_writable(cli, cli->out);
  if (status == PGM_OK) status = check_writable(cli, cli->per_observation);
  if (status == PGM_OK) status = check_writable(cli, cli->html);
  if (status == PGM_OK) status = pgm_cli_session(cli, false, &s);
  if (status == PGM_OK && cli->per_observation) status = pgm_gap_check_units(s, &cli->error);
  if (status == PGM_OK && cli->test) status = open_test(cli, s, &u, &t);
  if (status == PGM_OK) status = measure(cli, s, &t, &u, &gap, &test);
  if (status == PGM_OK) pgm_gap_advise(gap, test, advice, sizeof advice);
  if (status == PGM_OK && cli->out) status = write_out(cli, gap, test, advice);
  if (status == PGM_OK && cli->per_observation) status = write_units(cli, s, gap);
  if (status == PGM_OK && cli->html) status = write_html(cli, s, gap, test, advice);
  if (status == PGM_OK) {
    PgmAtomicFile out = {.stream = stdout};
    if (cli->json)
      write_json(gap, test, advice, stdout);
    else
      print_text(cli, gap, test, advice);
    status = pgm_cli_output_close(cli, &out);
    if (gap->unconverged[0]) pgm_cli_warn(cli, "not converged: %s", gap->unconverged);
    if (test && test->unconverged[0]) pgm_cli_warn(cli, "not converged on the test data: %s", test->unconverged);
    if (gap->agrees == 0) pgm_cli_warn(cli, "%s", gap->message);
  }
  int result = status == PGM_OK ? 0 : pgm_cli_fail(cli);
  pgm_gap_free(test);
  pgm_gap_free(gap);
  free_setup(&u);
  close_test(&t);
  pgm_session_close(s);
  return result;
}
