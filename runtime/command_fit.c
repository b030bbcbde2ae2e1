/* `fit`: variational inference, with progress, trace, checkpoints and a summary. In: data and options. Out: a fit file (--out), the summary
 * as text or JSON, the exit status. Interrupted, it writes the fit so far, marked unconverged. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "gather.h"
#include "khat.h"
#include "net.h"
#include "progress.h"

/* ---- options ----------------------------------------------------------------------------------------------------------------------------------------- */

/* The name before '=' of "z=...", or "" (all local families). */
static void target_of(const char *text, char *name, size_t size)
{
  const char *equals = strchr(text, '=');
  while (isspace((unsigned char)*text)) text++;
  int length = equals ? (int)(equals - text) : 0;
  while (length > 0 && isspace((unsigned char)text[length - 1])) length--;
  snprintf(name, size, "%.*s", length > 0 ? length : 0, text);
}

/* The texts of --inputs, then those of --window. */
static const char *target_text(const PgmFitOptions *o, int i)
{
  return i < o->n_inputs ? o->inputs[i] : o->windows[i - o->n_inputs];
}

static bool is_pinned(const PgmFitOptions *o, const char *family)
{
  for (int i = 0; i < o->n_pins; i++)
    if (strcmp(o->pins[i], family) == 0) return true;
  return false;
}

/* Do --inputs, --window NAME=W or --pin say of this family what it is to read? */
static bool is_named(const PgmFitOptions *o, const char *family)
{
  char name[128];
  for (int i = 0; i < o->n_inputs + o->n_windows; i++) {
    target_of(target_text(o, i), name, sizeof name);
    if (strcmp(name, family) == 0) return true;
  }
  return is_pinned(o, family);
}

/* Options that would hide each other: one variable named twice, --window W where every variable is named. */
static int check_targets(PgmCli *cli)
{
  const PgmFitOptions *o = &cli->fit;
  const char *window = NULL;
  char a[128], b[128];
  bool locals = false, unnamed = false, unpinned = false;
  for (int i = 0; i < o->n_inputs + o->n_windows; i++) {
    target_of(target_text(o, i), a, sizeof a);
    if (!a[0]) window = target_text(o, i);
    for (int k = 0; k < i; k++) {
      target_of(target_text(o, k), b, sizeof b);
      if (strcmp(a, b) != 0) continue;
      return pgm_cli_usage_error(cli, "the inputs of %s are given twice", a[0] ? a : "the local latent variables");
    }
    if (is_pinned(o, a)) return pgm_cli_usage_error(cli, "--pin %s keeps the factors of %s free, so that they have no inputs", a, a);
  }
  for (int f = 0; f < cli->model->n_families; f++) {
    const PgmFamily *family = &cli->model->families[f];
    if (family->role != PGM_LOCAL) continue;
    locals = true;
    unnamed = unnamed || !is_named(o, family->name);
    unpinned = unpinned || !is_pinned(o, family->name);
  }
  if (locals && !unpinned) return pgm_cli_usage_error(cli, "--pin of every local latent variable leaves none to amortise");
  if (locals && !unnamed && window)
    return pgm_cli_usage_error(cli, "--window %s is for local latent variables that no other option names, and there is none", window);
  return 0;
}

int pgm_prepare_fit(PgmCli *cli)
{
  PgmFitOptions *o = &cli->fit;
  unsigned given = cli->given;
  bool full_batch = o->optimizer == PGM_OPT_PROFILE || o->optimizer == PGM_OPT_LBFGS;
  const char *optimizer = o->optimizer == PGM_OPT_PROFILE ? "profile" : "lbfgs";
  if (given & GIVEN_DEGREE && given & (GIVEN_HIDDEN | GIVEN_ACTIVATION | GIVEN_SKIP)) {
    return pgm_cli_usage_error(cli, "--degree asks for a polynomial, --hidden, --activation and --skip for a network");
  }
  if (given & GIVEN_METHOD && o->method != PGM_AVI && given & GIVEN_NETWORK) {
    return pgm_cli_usage_error(cli, "--hidden, --activation, --skip, --degree, --inputs, --window and --pin are for --method avi, not %s",
                               pgm_method_words[o->method]);
  }
  if (full_batch && given & GIVEN_BATCH)
    return pgm_cli_usage_error(cli, "--batch needs --optimizer adam: %s works on all data at once", optimizer);
  if (full_batch && given & GIVEN_STEP)
    return pgm_cli_usage_error(cli, "--step is for --optimizer adam: %s finds its own steps", optimizer);
  if (full_batch && o->expectation == PGM_EXP_MONTE_CARLO) {
    return pgm_cli_usage_error(cli, "--expectation monte-carlo needs --optimizer adam: %s wants an objective without noise (fixed-draws)",
                               optimizer);
  }
  if (given & GIVEN_SAMPLES && (o->expectation == PGM_EXP_EXACT || o->expectation == PGM_EXP_QUADRATURE)) {
    return pgm_cli_usage_error(cli, "--samples does not go with an --expectation that draws nothing");
  }
  if (cli->resume && given & GIVEN_NETWORK)
    return pgm_cli_usage_error(cli, "--resume takes the inference functions of the fit it goes on from");
  if (cli->resume && given & GIVEN_METHOD) return pgm_cli_usage_error(cli, "--resume takes the method of the fit it goes on from");
  if (cli->out && strcmp(cli->out, "-") == 0) return pgm_cli_usage_error(cli, "--out wants a file: standard output is for the summary");
  if (cli->resume && cli->init) return pgm_cli_usage_error(cli, "--resume and --init both say where to start");
  if (given & GIVEN_EVERY && !cli->checkpoint)
    return pgm_cli_usage_error(cli, "--every says how often to write --checkpoint FILE, which is not given");
  return check_targets(cli);
}

static bool has_locals(const PgmModel *model)
{
  for (int f = 0; f < model->n_families; f++) {
    if (model->families[f].role == PGM_LOCAL) return true;
  }
  return false;
}

/* avi where it closes the gap or an option asks for it; fvi otherwise. */
static void choose_method(PgmCli *cli)
{
  const PgmModel *model = cli->model;
  bool locals = has_locals(model);
  if (cli->given & GIVEN_METHOD || cli->resume) return;
  cli->fit.method = locals && (cli->given & GIVEN_NETWORK || strcmp(model->verdict, "closes") == 0) ? PGM_AVI : PGM_FVI;
  cli->fit.method_given = true;
}

/* Why the method is fvi where nobody asked for it, and what would amortise all the same, if anything does on these data. */
static void note_method(const PgmCli *cli, const PgmSession *s)
{
  const PgmModel *model = cli->model;
  char advice[200];
  bool inputs = false;
  if (cli->quiet || cli->given & GIVEN_METHOD || cli->resume || cli->fit.method != PGM_FVI || !has_locals(model)) return;
  for (int i = 0; i < model->n_amortize; i++) inputs = inputs || model->amortize[i].inputs;
  pgm_window_advice(s, advice, sizeof advice);
  pgm_cli_note(cli, "method fvi, because the verdict of %s is '%s', not 'closes' (%s check%s%s%s%s)", model->name, model->verdict, cli->program,
               advice[0] || inputs ? "; --method avi" : "", advice[0] ? " " : "", advice,
               advice[0] ? " amortises all the same" : inputs ? " amortises what it can" : "");
}

/* The fit to start from, of --init FILE or --resume; *o gets the architecture of a resumed fit, texts allocated into *texts. */
typedef struct {
  PgmFit *fit;
  char **texts;
  int n_texts;
} Start;

/* Options that make a function like `f`. One whose scale is free has the model's own inputs, which need no option; others get --inputs. */
static PgmStatus resume_function(PgmCli *cli, const char *name, const PgmFunction *f, Start *start)
{
  PgmFitOptions *o = &cli->fit;
  o->degree = f->degree;
  o->n_hidden = f->n_hidden;
  memcpy(o->hidden, f->hidden, sizeof o->hidden);
  o->activation = f->activation;
  o->skip = f->skip;
  if (f->free_scale) return PGM_OK;
  size_t size = strlen(name) + 2;
  for (int i = 0; i < f->n_inputs; i++) size += strlen(f->inputs[i]) + 1;
  char *text = malloc(size);
  if (!text) return pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
  size_t length = (size_t)snprintf(text, size, "%s=", name);
  for (int i = 0; i < f->n_inputs; i++) {
    length += (size_t)snprintf(text + length, size - length, "%s%s", i ? "," : "", f->inputs[i]);
  }
  start->texts[start->n_texts++] = text;
  return PGM_OK;
}

static PgmStatus read_start(PgmCli *cli, Start *start)
{
  PgmFitOptions *o = &cli->fit;
  const char *path = cli->resume ? cli->resume : cli->init;
  if (!path) return PGM_OK;
  if (cli->init) {
    char *end;
    double radius = strtod(path, &end);
    if (*path && !*end && isfinite(radius) && radius >= 0) {
      o->init_radius = radius;
      return PGM_OK;
    }
  }
  PgmStatus status = pgm_fit_read(&start->fit, cli->model, path, &cli->error);
  if (status != PGM_OK) return status;
  o->init = start->fit;
  if (!cli->resume) return PGM_OK;
  o->method = start->fit->method;
  o->method_given = true;
  start->texts = calloc((size_t)start->fit->n_factors + 1, sizeof *start->texts);
  if (!start->texts) return pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
  for (int i = 0; i < start->fit->n_factors && status == PGM_OK; i++) {
    const PgmFactors *p = &start->fit->factors[i];
    if (p->function) status = resume_function(cli, cli->model->families[p->family].name, p->function, start);
  }
  o->n_inputs = start->n_texts;
  o->inputs = (const char *const *)start->texts;
  return status;
}

static void free_start(PgmCli *cli, Start *start)
{
  if (start->texts) cli->fit.inputs = NULL, cli->fit.n_inputs = 0;
  for (int i = 0; i < start->n_texts; i++) free(start->texts[i]);
  free(start->texts);
  pgm_fit_free(start->fit);
}

/* ---- while it runs --------------------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  PgmCli *cli;
  const PgmSession *s;
  PgmProgress bar;
  double first_norm; /* gradient norm at the first call */
  FILE *trace;
  bool warned; /* a checkpoint could not be written: said once */
} Watch;

/* How far it has come: on a logarithmic scale from the first gradient norm down to the tolerance, or in iterations. */
static double fraction_done(Watch *w, long iteration, double norm)
{
  const PgmFitOptions *o = &w->cli->fit;
  double tolerance = o->tol > 0 ? o->tol : 1e-6, fraction = o->max_iter > 0 ? (double)iteration / (double)o->max_iter : 0;
  if (!(w->first_norm > 0)) w->first_norm = norm;
  if (norm > 0 && norm < w->first_norm && tolerance < w->first_norm) {
    double decades = log(w->first_norm / norm) / log(w->first_norm / tolerance);
    if (decades > fraction) fraction = decades;
  }
  return fraction;
}

static bool on_progress(void *data, long iteration, double seconds, double elbo, double norm)
{
  Watch *w = data;
  double fraction = fraction_done(w, iteration, norm);
  (void)seconds;
  if (pgm_progress_due(&w->bar)) {
    char text[128];
    snprintf(text, sizeof text, "iteration %ld, ELBO %.8g, gradient %.1e", iteration, elbo, norm);
    pgm_progress_show(&w->bar, fraction, text);
  }
  return !pgm_cli_signal();
}

static void on_trace(void *data, long iteration, double seconds, double elbo, double norm)
{
  Watch *w = data;
  fprintf(w->trace, "%ld,%.6f,%.17g,%.10g\n", iteration, seconds, elbo, norm);
}

static void on_checkpoint(void *data, const PgmFit *so_far)
{
  Watch *w = data;
  PgmCli *cli = w->cli;
  PgmFit *copy = pgm_fit_copy(so_far);
  PgmStatus status = copy ? pgm_fit_bind(copy, w->s, &cli->error) : pgm_fail(&cli->error, PGM_SYSTEM, "%s: out of memory", cli->checkpoint);
  if (status == PGM_OK) status = pgm_cli_write_fit(cli, copy, cli->checkpoint);
  if (status != PGM_OK && !w->warned) {
    pgm_progress_end(&w->bar);
    pgm_cli_warn(cli, "no checkpoint: %s", cli->error.text);
    w->warned = true;
  }
  pgm_fit_free(copy);
}

static PgmStatus open_trace(PgmCli *cli, Watch *w)
{
  if (!cli->trace) return PGM_OK;
  w->trace = fopen(cli->trace, "w");
  if (!w->trace) return pgm_fail(&cli->error, PGM_SYSTEM, "%s: %s", cli->trace, strerror(errno));
  fputs("iteration,seconds,elbo,gradient_norm\n", w->trace);
  return PGM_OK;
}

static PgmStatus close_trace(PgmCli *cli, Watch *w)
{
  if (!w->trace) return PGM_OK;
  bool bad = ferror(w->trace);
  bad = fclose(w->trace) != 0 || bad;
  w->trace = NULL;
  return bad ? pgm_fail(&cli->error, PGM_SYSTEM, "%s: could not be written", cli->trace) : PGM_OK;
}

/* ---- the summary ------------------------------------------------------------------------------------------------------------------------------------------------ */

typedef struct {
  double *mean, *sd;
} Moments; /* of one family, constrained; NULL: out of memory */

static Moments constrained_moments(const PgmSession *s, int f)
{
  const PgmLayout *l = &s->layout[f];
  size_t count = (size_t)(l->elements * l->width) + 1;
  Moments m = {malloc(count * sizeof(double)), malloc(count * sizeof(double))};
  if (m.mean && m.sd) {
    pgm_constrained_moments(s, f, l->mean, l->sd, m.mean, m.sd);
    return m;
  }
  free(m.mean);
  free(m.sd);
  return (Moments){NULL, NULL};
}

static void free_moments(Moments m)
{
  free(m.mean);
  free(m.sd);
}

/* Rearranges v[from .. n) so that what belongs at k if it were sorted is there, with nothing greater before it and nothing less behind: Hoare's FIND (1961),
 * around the median of three. */
static double select_rank(double *v, long from, long n, long k)
{
  for (long lo = from, hi = n - 1; lo < hi;) {
    const double a = v[lo], b = v[lo + (hi - lo) / 2], c = v[hi];
    const double pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
    long i = lo, j = hi;
    while (i <= j) {
      while (v[i] < pivot) i++;
      while (v[j] > pivot) j--;
      if (i > j) break;
      const double t = v[i];
      v[i++] = v[j];
      v[j--] = t;
    }
    if (k > j && k < i) break;
    if (k <= j)
      hi = j;
    else
      lo = i;
  }
  return v[k];
}

/* Linear interpolation between order statistics (type 7 of Hyndman & Fan 1996), of levels in ascending order. Rearranges v. */
static void quantiles(double *v, long n, int levels, const double *level, double *out)
{
  long before = 0; /* what stands before that is less than what is still to be found */
  for (int i = 0; i < levels; i++) {
    const double h = (double)(n - 1) * level[i];
    const long k = (long)h;
    out[i] = select_rank(v, before, n, k);
    before = k;
    if (k + 1 < n && h > (double)k) {
      double next = v[k + 1];
      for (long j = k + 2; j < n; j++) next = v[j] < next ? v[j] : next;
      out[i] += (h - (double)k) * (next - out[i]);
    }
  }
}

/* Moves the numbers of the defined elements to the front; returns how many they are. */
static long keep_defined(const PgmLayout *l, double *value)
{
  long n = 0;
  for (long e = 0; e < l->elements; e++) {
    if (l->piece && !l->piece[e]) continue;
    for (long i = e * l->width; i < (e + 1) * l->width; i++) value[n++] = value[i];
  }
  return n;
}

enum {
  LONG_FAMILY = 100,  /* more numbers than this are told by their quantiles */
  MOST_RESTORED = 1 << 16 /* of families that are not in memory, by those of about so many */
};

static void print_entries(const PgmSession *s, int f, Moments m)
{
  const PgmLayout *l = &s->layout[f];
  for (long e = 0; e < l->elements; e++) {
    if (l->piece && !l->piece[e]) continue;
    for (long i = 0; i < l->width; i++) {
      char name[256];
      pgm_element_name(s, f, e, l->width > 1 ? i : -1, name, sizeof name);
      printf("  %-20s %12.6g", name, m.mean[e * l->width + i]);
      if (s->model->families[f].role == PGM_PARAM)
        puts("        param");
      else
        printf(" %12.6g\n", m.sd[e * l->width + i]);
    }
  }
}

/* Of a discrete variable with few elements the probabilities of their values; of one with many, how many have which for the most probable one. */
static void print_tables(const PgmSession *s, int f)
{
  enum { MOST_VALUES = 12 };
  const PgmFamily *family = &s->model->families[f];
  const PgmLayout *l = &s->layout[f];
  const bool local = family->role == PGM_LOCAL || l->defined > LONG_FAMILY;
  char name[256];
  long *count = calloc((size_t)l->uwidth + 1, sizeof *count);
  double *best = malloc(((size_t)l->elements + 1) * sizeof *best);
  if (count && best && local) {
    pgm_constrain(s, f, l->mean, best);
    for (long r = 0; r < l->defined; r++) {
      const long e = l->list ? l->list[r] : r;
      count[(long)(best[e] - pgm_lowest(family, l, e))]++;
    }
    snprintf(name, sizeof name, "%s (%ld)", family->name, l->defined);
    printf("  %-20s", name);
    for (long k = 0; k < l->uwidth && k < MOST_VALUES && family->uniform_bounds; k++)
      printf(" %ld: %.1f %%%s", (long)l->lower[0] + k, 100 * (double)count[k] / fmax((double)l->defined, 1), k + 1 < l->uwidth ? "," : "");
    puts(l->uwidth > MOST_VALUES || !family->uniform_bounds ? " ..." : "");
  }
  for (long r = 0; r < l->defined && !local; r++) {
    const long e = l->list ? l->list[r] : r;
    printf("  %-20s", pgm_element_name(s, f, e, -1, name, sizeof name));
    for (long k = 0; k < pgm_levels(family, l, e) && k < MOST_VALUES; k++)
      printf(" p(%ld) = %.4g", (long)pgm_lowest(family, l, e) + k, l->mean[e * l->uwidth + k]);
    puts(l->uwidth > MOST_VALUES ? " ..." : "");
  }
  free(count);
  free(best);
}

/* `n` means and sds; rearranges both. */
static void print_quantiles(const PgmSession *s, int f, Moments m, long n)
{
  static const double levels[] = {0, 0.05, 0.25, 0.5, 0.75, 0.95, 1};
  const PgmLayout *l = &s->layout[f];
  const long all = l->defined * l->width;
  double at[7];
  char name[96];
  if (n < all)
    snprintf(name, sizeof name, "%s (%ld of %ld)", s->model->families[f].name, n, all);
  else
    snprintf(name, sizeof name, "%s (%ld)", s->model->families[f].name, n);
  printf("  %-20s", name);
  if (n > 0) quantiles(m.mean, n, 7, levels, at);
  for (int i = 0; n > 0 && i < 7; i++) printf(" %10.4g", at[i]);
  if (n > 0 && s->model->families[f].role != PGM_PARAM) {
    quantiles(m.sd, n, 1, &levels[3], at);
    printf(" %10.4g", at[0]);
  }
  putchar('\n');
}

/* Local factors that the fit leaves to be restored; their values are their coordinates. */
static bool is_restored(const PgmSession *s, const PgmFactors *p)
{
  return p->kind == PGM_FREE && !p->mean && s->model->families[p->family].role == PGM_LOCAL;
}

/* Families with few numbers one by one; then the long ones by quantiles. Returns false when memory is out. */
static bool print_factors(PgmSession *s, const PgmFit *fit)
{
  bool headed = false;
  for (int pass = 0; pass < 2; pass++) {
    headed = false;
    for (int i = 0; i < fit->n_factors; i++) {
      int f = fit->factors[i].family;
      const PgmLayout *l = &s->layout[f];
      bool by_quantiles = s->model->families[f].role == PGM_LOCAL || l->elements * l->width > LONG_FAMILY;
      if (l->table || by_quantiles != (pass == 1)) continue;
      if (!headed && pass == 0) printf("\n  %-20s %12s %12s\n", "", "mean", "sd");
      if (!headed && pass == 1) {
        printf("\n  %-20s %10s %10s %10s %10s %10s %10s %10s %10s\n", "means of", "least", "5 %", "25 %", "50 %", "75 %", "95 %",
               "greatest", "median sd");
      }
      headed = true;
      const bool restored = is_restored(s, &fit->factors[i]);
      long n = 0;
      Moments m = {NULL, NULL};
      if (restored)
        n = pgm_engine_restore_some(s, f, MOST_RESTORED, &m.mean, &m.sd);
      else
        m = constrained_moments(s, f);
      if (!m.mean || !m.sd) {
        free_moments(m);
        return false;
      }
      if (by_quantiles && !restored) n = keep_defined(l, m.mean), keep_defined(l, m.sd);
      if (by_quantiles)
        print_quantiles(s, f, m, n);
      else
        print_entries(s, f, m);
      free_moments(m);
    }
  }
  headed = false;
  for (int i = 0; i < fit->n_factors; i++) {
    int f = fit->factors[i].family;
    if (!s->layout[f].table) continue;
    if (!headed) puts("\n  most probable values");
    headed = true;
    print_tables(s, f);
  }
  return true;
}

/* Inputs that are not the verdict's: whose they are, and what the verdict names. */
static void print_override(const PgmModel *model, int family, const PgmFunction *f)
{
  for (int i = 0; i < model->n_amortize; i++) {
    const PgmAmortize *a = &model->amortize[i];
    if (a->family != family) continue;
    printf("               (inputs of %s; the verdict is '%s', from %s)\n", pgm_origin_words[f->origin], a->verdict,
           a->domain[0] ? a->domain : "nothing");
  }
}

static void print_functions(const PgmModel *model, const PgmFit *fit)
{
  for (int i = 0; i < fit->n_factors; i++) {
    const PgmFunction *f = fit->factors[i].function;
    char text[256];
    if (!f) continue;
    pgm_net_describe(f, text, sizeof text);
    printf("  inference    %s from ", model->families[fit->factors[i].family].name);
    for (int k = 0; k < f->n_inputs; k++) printf("%s%s", k ? ", " : "", f->inputs[k]);
    printf("%s: %s\n", f->n_inputs ? "" : "nothing", text);
    if (f->origin != PGM_OF_VERDICT) print_override(model, fit->factors[i].family, f);
  }
}

/* Units that the data do not tell apart have one factor between them. */
static void print_distinct(const PgmModel *model, const PgmFit *fit)
{
  for (int i = 0; i < fit->n_factors; i++)
    if (fit->factors[i].distinct)
      printf("  inference    %s: %ld distinct factor%s, the same for equal data\n", model->families[fit->factors[i].family].name, fit->factors[i].distinct,
             fit->factors[i].distinct == 1 ? "" : "s");
}

static void print_khat(const PgmFit *fit)
{
  if (isnan(fit->khat))
    fputs("; Pareto k-hat is not defined: the importance weights are not finite", stdout);
  else if (isinf(fit->khat))
    fputs("; the importance weights are all the same: q is the posterior", stdout);
  else if (fit->khat <= 0.7 || !pgm_khat_trusted(fit->khat, fit->khat_effective))
    printf("; Pareto k-hat %.2f%s", fit->khat, fit->khat > 0.7 ? ": q is far from the posterior" : "");
  else
    printf("; Pareto k-hat %.2f, of importance weights that hardly differ: q is close to the posterior", fit->khat);
}

static void print_health(const PgmFit *fit, bool measured)
{
  printf("\n  health       gradient norm %.2g", fit->gradient_norm);
  if (measured)
    print_khat(fit);
  else
    fputs("; k-hat not measured (--khat)", stdout);
  putchar('\n');
}

static bool print_summary(const PgmCli *cli, PgmSession *s, const PgmFit *fit)
{
  static const char *const methods[] = {"F-VI (a free factor for every unit)", "constant VI (one factor for all units)",
                                        "A-VI (amortised)"};
  long missing = 0;
  for (int f = 0; f < s->model->n_families; f++) missing += s->model->families[f].role == PGM_OBSERVED ? s->layout[f].missing : 0;
  printf("%s: %s, ", cli->model->name, methods[fit->method]);
  if (pgm_observes(cli->model))
    printf("%ld observation%s", fit->observations, fit->observations == 1 ? "" : "s");
  else
    fputs("no observed variables", stdout);
  if (missing) printf(", %ld value%s missing", missing, missing == 1 ? "" : "s");
  putchar('\n');
  printf("  ELBO         %.10g", fit->elbo);
  if (fit->elbo_se > 0) printf(" +- %.2g (Monte Carlo)", fit->elbo_se);
  if (fit->observations) printf(", %.6g per observation", fit->elbo_per_observation);
  putchar('\n');
  printf("  %-12s %s; %ld iteration%s, %.3g s, %d thread%s\n", fit->converged ? "converged" : "NOT converged", fit->criterion,
         fit->iterations, fit->iterations == 1 ? "" : "s", fit->seconds, fit->threads, fit->threads == 1 ? "" : "s");
  printf("  parameters   %ld variational\n", fit->variational_parameters);
  print_functions(cli->model, fit);
  print_distinct(cli->model, fit);
  if (!print_factors(s, fit)) return false;
  print_health(fit, cli->fit.khat);
  if (cli->out) printf("  written to   %s\n", cli->out);
  return true;
}

/* "c": {"first": 1, "p": [...]}: the probabilities of the values first, first + 1, ... of each element. */
static void json_table(PgmJson *j, const PgmSession *s, int f)
{
  const PgmFamily *family = &s->model->families[f];
  const PgmLayout *l = &s->layout[f];
  long dim[PGM_MAX_INDEX + 1];
  for (int k = 0; k < family->n_index; k++) dim[k] = l->hi[k] - l->lo[k] + 1;
  dim[family->n_index] = l->uwidth;
  pgm_json_object(j, family->name);
  if (family->uniform_bounds) pgm_json_integer(j, "first", (long)l->lower[0]);
  pgm_json_values(j, "p", family->n_index + 1, dim, l->mean);
  pgm_json_end(j);
}

static bool json_moments(PgmJson *j, const PgmSession *s, const PgmFit *fit, PgmRole role)
{
  pgm_json_object(j, role == PGM_PARAM ? "params" : "globals");
  for (int i = 0; i < fit->n_factors; i++) {
    int f = fit->factors[i].family;
    const PgmFamily *family = &s->model->families[f];
    if (family->role != role) continue;
    if (s->layout[f].table) {
      json_table(j, s, f);
      continue;
    }
    Moments m = constrained_moments(s, f);
    if (!m.mean) return false;
    if (role == PGM_PARAM) {
      pgm_cli_json_box(j, family->name, s, f, m.mean);
    } else {
      pgm_json_object(j, family->name);
      pgm_cli_json_box(j, "mean", s, f, m.mean);
      pgm_cli_json_box(j, "sd", s, f, m.sd);
      pgm_json_end(j);
    }
    free_moments(m);
  }
  pgm_json_end(j);
  return true;
}

static void json_inference(PgmJson *j, const PgmModel *model, const PgmFit *fit)
{
  pgm_json_object(j, "inference");
  for (int i = 0; i < fit->n_factors; i++) {
    const PgmFactors *p = &fit->factors[i];
    char text[256];
    if (model->families[p->family].role != PGM_LOCAL) continue;
    snprintf(text, sizeof text, "%s", p->kind == PGM_SHARED ? "constant" : "free factors");
    if (p->function) pgm_net_describe(p->function, text, sizeof text);
    pgm_json_object(j, model->families[p->family].name);
    pgm_json_array(j, "inputs");
    for (int k = 0; p->function && k < p->function->n_inputs; k++) pgm_json_string(j, NULL, p->function->inputs[k]);
    pgm_json_end(j);
    pgm_json_string(j, "function", text);
    if (p->distinct)
      pgm_json_integer(j, "distinct", p->distinct);
    else
      pgm_json_string(j, "distinct", NULL);
    pgm_json_string(j, "inputs_from", p->function ? pgm_origin_words[p->function->origin] : NULL);
    pgm_json_end(j);
  }
  pgm_json_end(j);
}

static bool print_json(const PgmCli *cli, const PgmSession *s, const PgmFit *fit)
{
  PgmJson j = pgm_json_start(stdout);
  pgm_json_object(&j, NULL);
  pgm_json_string(&j, "model", cli->model->name);
  pgm_json_string(&j, "method", pgm_method_words[fit->method]);
  pgm_json_number(&j, "elbo", fit->elbo);
  pgm_json_number(&j, "elbo_se", fit->elbo_se);
  pgm_json_number(&j, "elbo_per_observation", fit->elbo_per_observation);
  pgm_json_integer(&j, "iterations", fit->iterations);
  pgm_json_number(&j, "seconds", fit->seconds);
  pgm_json_bool(&j, "converged", fit->converged);
  pgm_json_string(&j, "criterion", fit->criterion);
  pgm_json_string(&j, "stopped", fit->stopped);
  pgm_json_integer(&j, "variational_parameters", fit->variational_parameters);
  pgm_json_integer(&j, "observations", fit->observations);
  pgm_json_number(&j, "gradient_norm", fit->gradient_norm);
  pgm_json_number(&j, "khat", fit->khat);
  pgm_json_number(&j, "seed", (double)fit->seed);
  pgm_json_integer(&j, "threads", fit->threads);
  if (!json_moments(&j, s, fit, PGM_GLOBAL) || !json_moments(&j, s, fit, PGM_PARAM)) return false;
  json_inference(&j, cli->model, fit);
  pgm_json_end(&j);
  pgm_json_finish(&j);
  return true;
}

/* ---- the command -------------------------------------------------------------------------------------------------------------------------------------------------- */

/* After the fit: keep it, then tell of it. Returns the exit status. */
static int finish(PgmCli *cli, PgmSession *s, PgmFit *fit)
{
  bool interrupted = strcmp(fit->stopped, "signal") == 0;
  if (fit->method_note) pgm_cli_note(cli, "%s", fit->method_note);
  if (cli->out && (pgm_fit_bind(fit, s, &cli->error) != PGM_OK || pgm_cli_write_fit(cli, fit, cli->out) != PGM_OK))
    return pgm_cli_fail(cli);
  bool in_memory = true; /* else the layouts have the others since the fit, and these are restored by parts */
  for (int i = 0; i < fit->n_factors; i++) in_memory = in_memory && !is_restored(s, &fit->factors[i]);
  if (in_memory && pgm_fit_apply(s, fit, &cli->error) != PGM_OK) return pgm_cli_fail(cli);
  if (!(cli->json ? print_json(cli, s, fit) : print_summary(cli, s, fit))) {
    pgm_fail(&cli->error, PGM_SYSTEM, "out of memory");
    return pgm_cli_fail(cli);
  }
  PgmAtomicFile out = {.stream = stdout};
  if (pgm_cli_output_close(cli, &out) != PGM_OK) return pgm_cli_fail(cli);
  if (interrupted) {
    int number = pgm_cli_signal() ? pgm_cli_signal() : SIGINT;
    fprintf(stderr, "%s fit: interrupted; %s%s\n", cli->program,
            cli->out ? "the fit so far is in " : "nothing was kept (--out FILE keeps it)", cli->out ? cli->out : "");
    return 128 + number;
  }
  if (!fit->converged) pgm_cli_warn(cli, "not converged: %s", fit->criterion);
  if (!cli->out) pgm_cli_note(cli, "the fit is not kept; --out FILE keeps it for infer, sample and predict");
  return 0;
}

static PgmStatus run_fit(PgmCli *cli, PgmSession *s, PgmFit **fit)
{
  char what[128];
  snprintf(what, sizeof what, "%s fit", cli->program);
  Watch w = {.cli = cli, .s = s};
  PgmStatus status = open_trace(cli, &w), closed;
  if (status != PGM_OK) return status;
  pgm_progress_start(&w.bar, what, cli->quiet);
  cli->fit.progress = on_progress;
  cli->fit.progress_data = &w;
  if (w.trace) cli->fit.trace = on_trace, cli->fit.trace_data = &w;
  if (cli->checkpoint) {
    cli->fit.checkpoint = on_checkpoint;
    cli->fit.checkpoint_data = &w;
    if (!(cli->fit.checkpoint_every > 0)) cli->fit.checkpoint_every = 60;
  }
  pgm_cli_defer_signals(true);
  status = pgm_fit_run(s, &cli->fit, fit, &cli->error);
  pgm_progress_end(&w.bar);
  closed = close_trace(cli, &w);
  return status == PGM_OK ? closed : status;
}

/* Better to hear it before the fit than after. */
static PgmStatus check_writable(PgmCli *cli, const char *path)
{
  PgmAtomicFile file;
  if (!path) return PGM_OK;
  PgmStatus status = pgm_cli_output_open(cli, path, &file);
  if (status == PGM_OK) pgm_cli_output_discard(&file);
  return status;
}

int pgm_command_fit(PgmCli *cli)
{
  PgmSession *s = NULL;
  PgmFit *fit = NULL;
  Start start = {0};
  int result;
  choose_method(cli);
  PgmStatus status = read_start(cli, &start);
  if (status == PGM_OK) status = check_writable(cli, cli->out);
  if (status == PGM_OK) status = check_writable(cli, cli->checkpoint);
  if (status == PGM_OK) status = pgm_cli_session(cli, false, &s);
  if (status == PGM_OK) {
    note_method(cli, s);
    status = run_fit(cli, s, &fit);
  }
  if (status == PGM_OK && strcmp(fit->stopped, "nan") == 0)
    status = pgm_fail(&cli->error, PGM_BAD_INPUT, "%s fit: %s", cli->program, fit->criterion);
  result = status == PGM_OK ? finish(cli, s, fit) : pgm_cli_fail(cli);
  pgm_fit_free(fit);
  free_start(cli, &start);
  pgm_session_close(s);
  return result;
}
