/* What the numbers say: do they agree with the verdict of the analysis, and what is to be done about the gaps.
 *
 * In: a PgmGap whose gaps are filled, and perhaps that of test data. Out: sentences. Nothing is compared that did not converge. */
#include "gap_work.h"

#include <stdarg.h>
#include <string.h>

enum { AMPLE = 16 }; /* hidden units of a network that is not called small */

const char *pgm_gap_share(const PgmGap *gap)
{
  return gap->observes ? "observation" : "local variable";
}

double pgm_gap_nothing(const PgmGap *gap, PgmGapNumber x)
{
  const double per_element = 1e-3 * (double)gap->locals;
  const double of_const = isfinite(gap->gaps.constant.value) ? 0.01 * gap->gaps.constant.value : per_element;
  return 3 * x.se + fmax(1e-3, fmin(per_element, fmax(of_const, 0)));
}

static bool seen(const PgmGap *gap, PgmGapNumber x)
{
  return isfinite(x.value) && x.value > pgm_gap_nothing(gap, x);
}

/* A gap below zero, which no optimum has. */
static bool gains(const PgmGap *gap, PgmGapNumber x)
{
  return seen(gap, (PgmGapNumber){-x.value, x.se});
}

static bool converged(const PgmGap *gap, PgmGapMethodName k)
{
  return gap->method[k].fit && gap->method[k].fit->converged;
}

bool pgm_gap_settled(const PgmGap *gap, PgmGapMethodName a, PgmGapMethodName b)
{
  return (!gap->method[a].fit || converged(gap, a)) && (!gap->method[b].fit || converged(gap, b));
}

/* Nats in a sentence: three digits, and all of what is before the point. */
#define NATS(x) nats((char[32]){""}, x)
static const char *nats(char text[32], double x)
{
  snprintf(text, 32, fabs(x) >= 1000 ? "%.0f" : "%.3g", x);
  return text;
}

/* The list of what did not converge, in a sentence: cut short after a name. */
#define NAMES(list) names((char[404]){""}, list)
static const char *names(char text[404], const char *list)
{
  if (strlen(list) < 400) return list;
  memcpy(text, list, 399);
  text[399] = 0;
  char *last = text; /* the last "; " */
  for (char *at = text; (at = strstr(at, "; ")); at++) last = at;
  strcpy(last, "; ...");
  return text;
}

static const PgmGapVariant *first_window(const PgmGap *gap)
{
  const PgmGapList *list = &gap->list[PGM_GAP_WINDOWS];
  return list->n ? &list->at[0] : NULL;
}

/* ---- windows ------------------------------------------------------------------------------------------------------------------------- */

bool pgm_gap_falls(const PgmGap *gap, int row)
{
  const PgmGapList *list = &gap->list[PGM_GAP_WINDOWS];
  double least = INFINITY;
  for (int i = 0; i < row; i++) least = fmin(least, list->at[i].loss.value);
  const PgmGapNumber more = {list->at[row].loss.value - least, list->at[row].loss.se};
  return row > 0 && seen(gap, more);
}

/* Flags without products: there were too many of them (gather.h). */
static bool leaves_out_products(const PgmFit *fit)
{
  for (int i = 0; fit && i < fit->n_factors; i++) {
    const PgmFunction *f = fit->factors[i].function;
    bool products = false;
    for (int k = 0; f && k < f->n_flags; k++) products = products || strstr(f->flags[k], " * ");
    if (f && f->n_flags && !products) return true;
  }
  return false;
}

void pgm_gap_stand_in(const PgmGap *gap, char *text, size_t size)
{
  const PgmGapList *list = &gap->list[PGM_GAP_WINDOWS];
  text[0] = '\0';
  if (gap->chosen_stands)
    snprintf(text, size, "stands for the full domain");
  else if (gap->stands_in >= 0 && (!list->n || gap->stands_in == list->at[list->n - 1].w))
    snprintf(text, size, "the widest window stands for the full domain");
  else if (gap->stands_in >= 0)
    snprintf(text, size, "window %ld stands for the full domain: wider ones do worse", gap->stands_in);
}

/* ---- what functions can hold --------------------------------------------------------------------------------------------------------- */

/* Can the function hold every local variable by heart? */
static bool memorises(const PgmGap *gap, const PgmFit *functions)
{
  return functions && pgm_gap_weights(functions) > gap->locals;
}

/* Has it two weights for each, one for the mean and one for the scale? */
static bool too_few(const PgmGap *gap, const PgmFit *functions)
{
  return functions && pgm_gap_weights(functions) >= 2 * gap->locals;
}

/* Polynomials of degree 0. */
static bool reads_nothing(const PgmFit *fit)
{
  bool any = false;
  for (int i = 0; fit && i < fit->n_factors; i++) {
    if (!fit->factors[i].function) continue;
    if (fit->factors[i].function->degree != 0) return false;
    any = true;
  }
  return any;
}

/* ---- test data ----------------------------------------------------------------------------------------------------------------------- */

double pgm_gap_lost(const PgmGap *gap, PgmGapMethodName k)
{
  const PgmGapMethod *m = &gap->method[k];
  return isfinite(m->lost) ? m->lost : gap->method[PGM_GAP_FVI].elbo - m->elbo;
}

enum { FEW_TESTS = 10, FEW_PER_WEIGHT = 10 };
static const double HARDLY = 0.5; /* nats in all that no loss on test data is told of */

typedef enum { TEST_NONE, TEST_SAME, TEST_EMPTY, TEST_UNSETTLED, TEST_FEW, TEST_WELL, TEST_LOSES } TestSays;

static double per(const PgmGap *gap, double nats)
{
  return gap->shares ? nats / (double)gap->shares : NAN;
}

/* Does a function that loses `here` on its own data lose clearly more per observation on the test data? */
static bool loses_more(const PgmGap *gap, const PgmGap *test, double here, PgmGapNumber there)
{
  const double more = (per(test, there.value) - per(gap, here)) * (double)test->shares;
  return isfinite(there.value) && seen(test, there) && more > fmax(HARDLY, 0.5 * pgm_gap_nothing(test, there)) &&
         per(test, there.value) > 1.5 * per(gap, fmax(here, 0));
}

/* What the test data say of a method (full or chosen) whose losses against F-VI are `here` and `there`. `test` may be NULL. */
static TestSays test_says(const PgmGap *gap, const PgmGap *test, PgmGapMethodName k, double here, PgmGapNumber there)
{
  if (!test) return TEST_NONE;
  if (test->same_data) return TEST_SAME;
  if (!test->shares) return TEST_EMPTY;
  if (!isfinite(there.value) || !gap->shares) return TEST_NONE;
  if (!pgm_gap_settled(test, PGM_GAP_FVI, k)) return TEST_UNSETTLED;
  if (loses_more(gap, test, here, there)) return TEST_LOSES;
  return test->shares < FEW_TESTS ? TEST_FEW : TEST_WELL;
}

static TestSays test_of_full(const PgmGap *gap, const PgmGap *test)
{
  return test_says(gap, test, PGM_GAP_FULL, pgm_gap_lost(gap, PGM_GAP_FULL), test ? test->gaps.amortisation : (PgmGapNumber){NAN, NAN});
}

/* The same of the inputs chosen, against the full domain. */
static TestSays test_of_chosen(const PgmGap *gap, const PgmGap *test)
{
  return test_says(gap, test, PGM_GAP_CHOSEN, pgm_gap_lost(gap, PGM_GAP_CHOSEN) - pgm_gap_lost(gap, PGM_GAP_FULL),
                   test ? test->gaps.conditioning : (PgmGapNumber){NAN, NAN});
}

/* Can the function of the inputs chosen hold what they lack by heart, as far as is known? */
static bool hides_conditioning(const PgmGap *gap, const PgmGap *test)
{
  return memorises(gap, gap->method[PGM_GAP_CHOSEN].fit) && test_of_chosen(gap, test) != TEST_WELL;
}

/* ---- the verdict --------------------------------------------------------------------------------------------------------------------- */

/* Do the functions read the parameters of factors that are kept free (--pin), and does every one have all that it needs so? */
static bool pins_close(const PgmGap *gap)
{
  const PgmFit *fit = gap->method[PGM_GAP_FULL].fit;
  bool any = false;
  for (int i = 0; fit && i < fit->n_factors; i++) {
    const PgmFunction *f = fit->factors[i].function;
    if (!f) continue;
    if (f->origin != PGM_OF_PIN && !pgm_gap_closes(pgm_gap_amortize(gap->model, fit->factors[i].family))) return false;
    any = any || f->origin == PGM_OF_PIN;
  }
  return any;
}

/* Can the functions reach F-VI, as far as the verdict goes? */
static bool promised(const PgmGap *gap)
{
  return !strcmp(gap->model->verdict, "closes") || pins_close(gap);
}

/* Whose factors keep free parameters beside the functions? */
static bool keeps_free_factors(const PgmGap *gap)
{
  const PgmFit *fit = gap->method[PGM_GAP_FULL].fit;
  bool any = false;
  for (int i = 0; fit && i < fit->n_factors; i++)
    any = any || (gap->model->families[fit->factors[i].family].role == PGM_LOCAL && fit->factors[i].kind == PGM_FREE);
  return any;
}

/* "r from y[i,1..J]": what suffices on one data set, by the verdict, for the functions whose gap stays open on others. False: for some of them nothing
 * does. */
static bool suffices_here(const PgmGap *gap, char *text, size_t size)
{
  const PgmFit *fit = gap->method[PGM_GAP_FULL].fit;
  text[0] = '\0';
  for (int i = 0; fit && i < fit->n_factors; i++) {
    const PgmAmortize *a = pgm_gap_amortize(gap->model, fit->factors[i].family);
    if (!fit->factors[i].function || pgm_gap_closes(a)) continue;
    if (!a || !a->this_data) return false;
    pgm_gap_append(text, size, "%s%s from %s", text[0] ? "; " : "", gap->model->families[a->family].name, a->this_data[0] ? a->this_data : "nothing");
  }
  return text[0] != '\0';
}

/* Units of all layers of the networks; 0 where a function is none. */
static int hidden_units(const PgmFit *fit)
{
  int n = 0;
  for (int i = 0; fit && i < fit->n_factors; i++) {
    const PgmFunction *f = fit->factors[i].function;
    if (!f) continue;
    if (f->degree >= 0) return 0;
    for (int k = 0; k < f->n_hidden; k++) n += f->hidden[k];
  }
  return n;
}

/* Has it been seen that capacity is not what is missing? The last network of a list is wider than the one before and no better. */
static bool capacity_is_enough(const PgmGap *gap)
{
  const PgmGapList *list = &gap->list[PGM_GAP_FUNCTIONS];
  if (list->n < 2) return false;
  const PgmGapVariant *last = &list->at[list->n - 1], *before = last - 1;
  const PgmFit *wide = pgm_gap_variant(gap, last)->fit, *narrow = pgm_gap_variant(gap, before)->fit;
  const int units = hidden_units(wide), fewer = hidden_units(narrow);
  return fewer > 0 && units >= AMPLE && units > fewer && wide->converged && narrow->converged && last->loss.value > 0.9 * before->loss.value;
}

static void say_too_few(PgmGap *gap, const PgmFit *functions, TestSays test)
{
  snprintf(gap->message, sizeof gap->message,
           "too few observations to tell whether the verdict holds: a function of %ld weights can hold %ld local variable%s by heart%s",
           pgm_gap_weights(functions), gap->locals, gap->locals == 1 ? "" : "s", test == TEST_NONE ? " (--test FILE tells)" : "");
}

static void judge_closing(PgmGap *gap, PgmGapNumber loss, TestSays test)
{
  const char *of = pins_close(gap) ? " of --pin" : "";
  const PgmFit *functions = gap->method[PGM_GAP_FULL].fit;
  const double left = gap->gaps.amortisation.value < 1e-6 ? 0 : gap->gaps.amortisation.value;
  const bool closes = loss.value <= pgm_gap_nothing(gap, loss);
  if (closes && ((too_few(gap, functions) && test != TEST_WELL) || (memorises(gap, functions) && test == TEST_LOSES))) {
    say_too_few(gap, functions, test);
    return;
  }
  if (closes && isfinite(gap->gaps.constant.value) && gap->gaps.constant.value < 1e-6) {
    snprintf(gap->message, sizeof gap->message,
             "these data cannot tell whether the verdict holds: even constant factors lose nothing (%ld %s%s)", gap->shares, pgm_gap_share(gap),
             gap->shares == 1 ? "" : "s");
    return;
  }
  if (closes)
    snprintf(gap->message, sizeof gap->message,
             "as the verdict says%s, amortised inference closes the gap: %s of %s nats that constant factors lose remain", of, NATS(left),
             NATS(gap->gaps.constant.value));
  else if (capacity_is_enough(gap))
    snprintf(gap->message, sizeof gap->message, "the verdict says%s that the gap can close; %s nats remain, and a wider network gained next to nothing", of,
             NATS(loss.value));
  else
    snprintf(gap->message, sizeof gap->message,
             "the verdict%s is about unrestricted functions, and this class is too small to tell: the best of it that was found leaves %s nats (wider "
             "--hidden or higher --degree may close it)",
             of, NATS(loss.value));
  if (closes || capacity_is_enough(gap)) gap->agrees = closes;
}

/* Does some window regain a tenth of what the narrowest one loses, and clearly more than training leaves to chance? True where windows were not
 * compared. */
static bool inputs_matter(const PgmGap *gap)
{
  const PgmGapList *list = &gap->list[PGM_GAP_WINDOWS];
  const double left = isfinite(gap->gaps.optimisation.value) ? fmax(gap->gaps.optimisation.value, 0) : 0;
  double least = INFINITY;
  for (int i = 1; i < list->n; i++) least = fmin(least, list->at[i].loss.value);
  return list->n < 2 || list->at[0].loss.value - least > 3 * list->at[0].loss.se + fmax(fmax(1e-3, 2 * left), 0.1 * list->at[0].loss.value);
}

static void judge_open(PgmGap *gap, TestSays test, double there)
{
  const PgmGapNumber a = gap->gaps.amortisation, first = first_window(gap) ? first_window(gap)->loss : a;
  const PgmFit *narrowest = first_window(gap) ? pgm_gap_variant(gap, first_window(gap))->fit : gap->method[PGM_GAP_FULL].fit;
  const bool stays = first.value > 3 * first.se + 1e-3;
  char inputs[512], narrowest_leaves[80] = "";
  if (gap->list[PGM_GAP_WINDOWS].n > 1) snprintf(narrowest_leaves, sizeof narrowest_leaves, " of the %s of the narrowest window", NATS(first.value));
  if (!stays && memorises(gap, narrowest) && test != TEST_LOSES) {
    say_too_few(gap, narrowest, test);
    return;
  }
  if (stays && !inputs_matter(gap) && !capacity_is_enough(gap) && test != TEST_LOSES) {
    snprintf(gap->message, sizeof gap->message,
             "the verdict says that the gap stays open, and %s nats do with %s, but no wider window regains much of what the narrowest one loses: it may be "
             "the class of functions, or its training, that leaves them (wider --hidden or higher --degree)",
             NATS(a.value), gap->full);
    return;
  }
  const bool here = !stays && suffices_here(gap, inputs, sizeof inputs);
  gap->agrees = stays || here || test == TEST_LOSES;
  if (!stays && !here && test == TEST_LOSES)
    snprintf(gap->message, sizeof gap->message, "as the verdict says, the gap stays open: %.2g nats on the data that were fitted, %s on the test data",
             fabs(first.value), NATS(there));
  else if (here)
    snprintf(gap->message, sizeof gap->message,
             "the verdict is about functions that carry over to other data; on one data set, it says, a function suffices (%s), and here %.2g nats are "
             "left%s",
             inputs, fabs(first.value), test == TEST_NONE ? " (--test FILE tells what they are on others)" : "");
  else if (!stays)
    snprintf(gap->message, sizeof gap->message,
             "the verdict says that the gap stays open, yet on these data it is %.2g nats: nothing to be seen. The verdict is about numbers in general: at "
             "special ones, as a coefficient of 0 between neighbours, a link of the graph is cut",
             fabs(first.value));
  else if (seen(gap, a))
    snprintf(gap->message, sizeof gap->message, "as the verdict says, the gap stays open: %s nats with %s", NATS(a.value), gap->full);
  else
    snprintf(gap->message, sizeof gap->message,
             "as the verdict says, no window closes the gap exactly; %s leaves %.2g nats%s", gap->full, a.value, narrowest_leaves);
}

static void add_test(PgmGap *gap, const PgmGap *test, TestSays says)
{
  const PgmFit *functions = gap->method[PGM_GAP_FULL].fit;
  const PgmGapNumber there = test ? test->gaps.amortisation : (PgmGapNumber){NAN, NAN};
  if (says == TEST_LOSES)
    pgm_gap_append(gap->message, sizeof gap->message, "; on the test data the function leaves %s nats (%.3g per %s, on its own %.3g)",
                   NATS(there.value), per(test, there.value), pgm_gap_share(gap), per(gap, fmax(pgm_gap_lost(gap, PGM_GAP_FULL), 0)));
  else if (says == TEST_WELL)
    pgm_gap_append(gap->message, sizeof gap->message, "; on the test data it leaves %s", NATS(there.value < 1e-6 ? 0 : there.value));
  else if (gap->agrees >= 0 && memorises(gap, functions))
    pgm_gap_append(gap->message, sizeof gap->message, "; the function has %ld weights for %ld local variable%s and may have memorised these data (%s)",
                   pgm_gap_weights(functions), gap->locals, gap->locals == 1 ? "" : "s",
                   says == TEST_NONE   ? "--test FILE tells"
                   : says == TEST_SAME ? "--test needs other data than those to tell"
                                       : "the test data cannot tell");
}

static void add_conditioning(PgmGap *gap, const PgmGap *test)
{
  const PgmGapNumber c = gap->gaps.conditioning;
  if (gap->same_inputs || !isfinite(c.value)) return;
  if (!converged(gap, PGM_GAP_CHOSEN))
    pgm_gap_append(gap->message, sizeof gap->message, "; the inputs chosen (%s) are not compared: not converged", gap->chosen);
  else if (seen(gap, c) && test_of_chosen(gap, test) == TEST_LOSES)
    pgm_gap_append(gap->message, sizeof gap->message, "; the inputs chosen (%s) lose %s nats more, on the test data %s: a conditioning gap",
                   gap->chosen, NATS(c.value), NATS(test->gaps.conditioning.value));
  else if (seen(gap, c))
    pgm_gap_append(gap->message, sizeof gap->message, "; the inputs chosen (%s) lose %s nats more: a conditioning gap", gap->chosen, NATS(c.value));
  else if (test_of_chosen(gap, test) == TEST_LOSES)
    pgm_gap_append(gap->message, sizeof gap->message,
                   "; the inputs chosen (%s) lose nothing that can be seen on the data that were fitted, on the test data %s nats: a conditioning gap",
                   gap->chosen, NATS(test->gaps.conditioning.value));
  else if (gains(gap, c))
    pgm_gap_append(gap->message, sizeof gap->message,
                   "; the inputs chosen (%s) reach %s nats more than the full domain, whose function is not the best that it could be",
                   gap->chosen, NATS(-c.value));
  else if (reads_nothing(gap->method[PGM_GAP_CHOSEN].fit))
    pgm_gap_append(gap->message, sizeof gap->message, "; the inputs chosen (%s) are not compared: a function of degree 0 reads none", gap->chosen);
  else
    pgm_gap_append(gap->message, sizeof gap->message, "; the inputs chosen (%s) lose nothing that can be seen%s", gap->chosen,
                   hides_conditioning(gap, test) ? ", but their function can hold these data by heart" : "");
}

/* F-VI below what it could copy: its optimiser had other numbers than those of the comparison. */
static void add_noise(PgmGap *gap)
{
  const PgmGapNumber a = gap->gaps.amortisation, c = gap->gaps.capacity;
  const PgmGapNumber least = isfinite(c.value) && c.value < a.value ? c : a;
  if (least.value < -3 * least.se - 1e-3)
    pgm_gap_append(gap->message, sizeof gap->message,
                   "; F-VI is %s nats short of a function that it could copy: its own fit is as inexact as that (--samples, --expectation), which no "
                   "standard error here tells",
                   NATS(-least.value));
}

/* Has the model local latent variables, whatever the data? */
static bool has_local_families(const PgmModel *m)
{
  for (int f = 0; f < m->n_families; f++)
    if (m->families[f].role == PGM_LOCAL) return true;
  return false;
}

void pgm_gap_judge(PgmGap *gap, const PgmGap *test)
{
  const char *verdict = gap->model->verdict;
  const PgmGapNumber a = gap->gaps.amortisation, c = isfinite(gap->gaps.capacity.value) ? gap->gaps.capacity : a;
  const TestSays says = test_of_full(gap, test);
  bool settled = converged(gap, PGM_GAP_FVI) && converged(gap, PGM_GAP_FULL);
  if (settled && !strcmp(verdict, "open") && first_window(gap)) settled = pgm_gap_variant(gap, first_window(gap))->fit->converged;
  gap->agrees = -1;
  if (!gap->locals && has_local_families(gap->model)) {
    snprintf(gap->message, sizeof gap->message, "the data have no units: no local latent variable has an element");
    return;
  }
  if (!gap->locals) {
    snprintf(gap->message, sizeof gap->message, "the model has no local latent variables: there is nothing to amortise");
    return;
  }
  if (!gap->shares) {
    snprintf(gap->message, sizeof gap->message,
             "there is no observation that is not missing: all that was measured is the prior, which says nothing about the verdict '%s'",
             verdict);
    return;
  }
  if (!isfinite(a.value)) {
    snprintf(gap->message, sizeof gap->message,
             "the amortisation gap was not measured: no local latent variable has inputs (--window or --inputs name some)");
    return;
  }
  if (!settled) {
    snprintf(gap->message, sizeof gap->message, "the verdict '%s' is neither confirmed nor refuted: not converged: %.404s", verdict,
             NAMES(gap->unconverged));
    return;
  }
  if (promised(gap))
    judge_closing(gap, c, says);
  else if (!strcmp(verdict, "open"))
    judge_open(gap, says, test ? test->gaps.amortisation.value : NAN);
  else
    snprintf(gap->message, sizeof gap->message,
             "the verdict is '%s', which promises nothing for the model as a whole; measured: %s nats with %s", verdict, NATS(a.value),
             gap->full);
  add_test(gap, test, says);
  add_conditioning(gap, test);
  add_noise(gap);
}

/* ---- advice -------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  const PgmGap *gap, *test;
  char *text;
  size_t size;
} Advice;

static void say(Advice *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(Advice *a, const char *format, ...)
{
  char sentence[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(sentence, sizeof sentence, format, args);
  va_end(args);
  pgm_gap_append(a->text, a->size, "%s%s", a->text[0] ? "\n" : "", sentence);
}

static void say_unconverged(Advice *a)
{
  if (a->gap->unconverged[0])
    say(a, "Not converged: %s; let them train longer (--max-iter) before their rows are compared.", NAMES(a->gap->unconverged));
  if (a->test && a->test->unconverged[0])
    say(a, "Not converged on the test data: %s; what is told of these data is no comparison.", NAMES(a->test->unconverged));
}

/* The first window that loses no more than the best, as far as can be seen, here and on the test data; NULL: there is no list, or only the widest will
 * do. */
static const PgmGapVariant *enough(const Advice *a)
{
  const PgmGapList *list = &a->gap->list[PGM_GAP_WINDOWS];
  double least[2] = {INFINITY, INFINITY};
  for (int i = 0; i < list->n; i++) {
    least[0] = fmin(least[0], list->at[i].loss.value);
    if (a->test) least[1] = fmin(least[1], a->test->list[PGM_GAP_WINDOWS].at[i].loss.value);
  }
  for (int i = 0; i + 1 < list->n; i++) {
    bool good = true;
    for (int k = 0; k < (a->test ? 2 : 1); k++) {
      const PgmGap *gap = k ? a->test : a->gap;
      const PgmGapNumber loss = gap->list[PGM_GAP_WINDOWS].at[i].loss;
      good = good && loss.value - least[k] <= pgm_gap_nothing(gap, loss);
    }
    if (good) return &list->at[i];
  }
  return NULL;
}

/* A window's gap falls like rho^(2 w) (docs/analysis.md, "How fast a window converges"): beyond the widest one measured, by the last ratio. Not where the
 * fall slows down: then it is the function class that leaves what is left, or the data are few. */
bool pgm_gap_half_width(const PgmGap *gap, double share, long *w, bool *measured)
{
  const PgmGapList *list = &gap->list[PGM_GAP_WINDOWS];
  const double wanted = share * gap->gaps.constant.value;
  if (list->n < 2 || !gap->method[PGM_GAP_FULL].fit || !(wanted > 0)) return false;
  for (int i = 0; i < list->n; i++)
    if (list->at[i].loss.value <= wanted) {
      *w = list->at[i].w;
      *measured = true;
      return true;
    }
  const PgmGapVariant *last = &list->at[list->n - 1];
  if (list->n < 3 || gap->stands_in != last->w) return false;
  const double fall = log(last->loss.value / last[-1].loss.value), before = log(last[-1].loss.value / last[-2].loss.value);
  if (!(fall < -1e-3) || fall > 0.5 * before) return false;
  *w = last->w + (long)ceil(log(wanted / last->loss.value) / fall);
  *measured = false;
  return true;
}

bool pgm_gap_say_half_width(const PgmGap *gap, const PgmGap *test, char *text, size_t size)
{
  bool measured, others = test && !test->same_data && test->shares;
  long w;
  if (!pgm_gap_half_width(gap, PGM_GAP_SHARE, &w, &measured)) return false;
  snprintf(text, size, "half-width %ld: at most 1 %% of the gap without any input%s", w, measured ? "" : ", extrapolated");
  if (others && pgm_gap_half_width(test, PGM_GAP_SHARE, &w, &measured))
    pgm_gap_append(text, size, "; on the test data half-width %ld%s", w, measured ? "" : ", extrapolated");
  else if (others)
    pgm_gap_append(text, size, "; on the test data no window that was tried");
  return true;
}

/* "x[n-1], x[n]" of "z from x[n-1], x[n]", or the window. */
static void inputs_of(const PgmGap *gap, char *to, size_t size)
{
  const char *from = strstr(gap->full, " from ");
  if (gap->stands_in >= 0)
    snprintf(to, size, "a window of half-width %ld", gap->stands_in);
  else if (from && !strchr(gap->full, ';'))
    snprintf(to, size, "%s", from + 6);
  else
    snprintf(to, size, "these inputs (%s)", gap->full);
}

/* Windows that reach less than a narrower one. */
static void say_falls(Advice *a)
{
  const PgmGapList *list = &a->gap->list[PGM_GAP_WINDOWS];
  char rows[200] = "";
  bool products = true;
  int n = 0;
  for (int i = 1; i < list->n; i++) {
    if (!pgm_gap_falls(a->gap, i)) continue;
    pgm_gap_append(rows, sizeof rows, "%s%ld", n++ ? ", " : "", list->at[i].w);
    products = products && leaves_out_products(pgm_gap_variant(a->gap, &list->at[i])->fit);
  }
  if (n)
    say(a, "Windows that fall: %s reach%s less than a narrower one, though %s more: %s.", rows, n > 1 ? "" : "es", n > 1 ? "they see" : "it sees",
        products ? "with so many inputs that may be absent the function leaves out the products of flags and inputs, so it is of a smaller class"
                 : "their functions were not trained as well");
}

/* The row of the window that loses least on test data, where the widest one loses clearly more there; -1: none. */
static int best_elsewhere(const PgmGap *test)
{
  const PgmGapList *list = test ? &test->list[PGM_GAP_WINDOWS] : NULL;
  int best = -1;
  if (!test || test->same_data || test->shares < FEW_TESTS || !list->n) return -1;
  for (int i = 0; i < list->n; i++) {
    if (!pgm_gap_variant(test, &list->at[i])->fit->converged) return -1;
    if (best < 0 || list->at[i].loss.value < list->at[best].loss.value) best = i;
  }
  const PgmGapNumber last = list->at[list->n - 1].loss;
  return seen(test, (PgmGapNumber){last.value - list->at[best].loss.value, last.se}) ? best : -1;
}

static void say_windows(Advice *a)
{
  const PgmGap *gap = a->gap;
  const PgmGapList *list = &gap->list[PGM_GAP_WINDOWS];
  if (list->n < 2 || !gap->method[PGM_GAP_FULL].fit || !pgm_gap_settled(gap, PGM_GAP_FVI, PGM_GAP_FULL)) return;
  if (reads_nothing(gap->method[PGM_GAP_FULL].fit)) return;
  say_falls(a);
  if (memorises(gap, pgm_gap_variant(gap, &list->at[0])->fit) && !a->test) return;
  const PgmGapVariant *w = enough(a), *last = &list->at[list->n - 1];
  const int elsewhere = best_elsewhere(a->test);
  double least = INFINITY;
  for (int i = 0; i < list->n; i++) least = fmin(least, list->at[i].loss.value);
  const bool best = w && w->w == gap->stands_in; /* wider ones fall, which has been said */
  if (w && !best && (gap->stands_in >= 0 || !seen(gap, gap->gaps.amortisation)))
    say(a, "Narrower inputs: on these data%s a window of half-width %ld (--window %ld) is enough; none that was tried gains more than %.2g nats on it.",
        a->test ? " and the test data" : "", w->w, w->w, fmax(0, w->loss.value - least));
  else if (elsewhere >= 0)
    say(a,
        "Windows on other data: on the test data half-width %ld (--window %ld) loses least, %s nats, the widest %s; fitted to more data, wider ones "
        "would do no worse.",
        list->at[elsewhere].w, list->at[elsewhere].w, NATS(a->test->list[PGM_GAP_WINDOWS].at[elsewhere].loss.value),
        NATS(a->test->list[PGM_GAP_WINDOWS].at[list->n - 1].loss.value));
  else if (!w && gap->stands_in == last->w && inputs_matter(gap))
    say(a, "Wider inputs: the gap still falls from window %ld to window %ld; see how far with --window %ld..%ld.", last[-1].w, last->w, last->w,
        2 * last->w);
}

/* " --degree 1 --window 3": what `fit` needs besides to make these functions. */
static void fit_options(const PgmGap *gap, char *text, size_t size)
{
  const PgmFit *fit = gap->method[PGM_GAP_FULL].fit;
  const PgmFunction *f = NULL;
  bool same = true;
  text[0] = '\0';
  for (int i = 0; fit && i < fit->n_factors; i++) {
    const PgmFunction *g = fit->factors[i].function;
    if (!g) continue;
    f = g;
    if (g->origin == PGM_OF_WINDOW && gap->stands_in >= 0)
      pgm_gap_append(text, size, " --window %s=%ld", gap->model->families[fit->factors[i].family].name, gap->stands_in);
    else
      same = same && (g->origin == PGM_OF_VERDICT || g->origin == PGM_OF_AMORTIZE);
  }
  if (f && f->degree >= 0) pgm_gap_append(text, size, " --degree %d", f->degree);
  const bool usual = f && f->n_hidden == 2 && f->hidden[0] == 16 && f->hidden[1] == 16;
  for (int k = 0; f && f->degree < 0 && !usual && k < f->n_hidden; k++) pgm_gap_append(text, size, "%s%d", k ? "," : " --hidden ", f->hidden[k]);
  if (!same) snprintf(text, size, " and the same options");
}

static void say_amortisation(Advice *a)
{
  const PgmGap *gap = a->gap;
  const PgmGaps *g = &gap->gaps;
  const TestSays test = test_of_full(gap, a->test);
  const long weights = gap->method[PGM_GAP_FULL].fit ? pgm_gap_weights(gap->method[PGM_GAP_FULL].fit) : 0;
  char inputs[600], options[300];
  if (!isfinite(g->amortisation.value) || !pgm_gap_settled(gap, PGM_GAP_FVI, PGM_GAP_FULL)) return;
  inputs_of(gap, inputs, sizeof inputs);
  fit_options(gap, options, sizeof options);
  if (!seen(gap, g->amortisation) && (test == TEST_LOSES || (test != TEST_WELL && weights > gap->locals))) {
    say(a,
        "On the data that it was fitted to, a function of %s costs nothing that can be seen against a factor for every unit; it has %ld "
        "weights for %ld local variable%s%s.",
        inputs, weights, gap->locals, gap->locals == 1 ? "" : "s",
        test == TEST_LOSES ? "" : a->test ? " and may have learnt them by heart" : " and may have learnt them by heart, which --test FILE tells");
  } else if (!seen(gap, g->amortisation)) {
    say(a, "Amortise: a function of %s costs nothing that can be seen against a factor for every unit%s%s%s.", inputs,
        keeps_free_factors(gap) ? "" : "; after fit --method avi", keeps_free_factors(gap) ? "" : options,
        keeps_free_factors(gap) ? "" : ", new observations take one pass (infer)");
  } else if (seen(gap, g->capacity) && g->capacity.value >= 0.5 * g->amortisation.value) {
    if (promised(gap))
      say(a,
          "More capacity: the best function of this class that was found is %s nats (%.3g per %s) short of F-VI, and by the "
          "verdict a richer one can close this; try wider layers (--hidden 64,64) or a higher degree.",
          NATS(g->capacity.value), per(gap, g->capacity.value), pgm_gap_share(gap));
    else if (!inputs_matter(gap))
      say(a,
          "More capacity: the best function of %s that was found is %s nats (%.3g per %s) short of F-VI, of which wider windows regain next to "
          "nothing; try wider layers (--hidden 64,64) or a higher degree before more inputs.",
          inputs, NATS(g->capacity.value), per(gap, g->capacity.value), pgm_gap_share(gap));
    else
      say(a,
          "More inputs, or F-VI: the best function of %s that was found is %s nats (%.3g per %s) short of F-VI, and by the "
          "verdict no capacity regains all of it.",
          inputs, NATS(g->capacity.value), per(gap, g->capacity.value), pgm_gap_share(gap));
  }
  if (seen(gap, g->optimisation))
    say(a,
        "Longer training: this run is %s nats short of the best that the same function class reached; more seeds (--seeds), more "
        "iterations (--max-iter) or a smaller tolerance (--tol) find it.",
        NATS(g->optimisation.value));
  if (!a->test && seen(gap, g->amortisation) && weights > gap->locals)
    say(a,
        "Other data: the function has %ld weights for %ld local variable%s and may have learnt them by heart; --test FILE tells what it "
        "loses on data that it was not fitted to.",
        weights, gap->locals, gap->locals == 1 ? "" : "s");
}

static void say_conditioning(Advice *a)
{
  const PgmGap *gap = a->gap;
  const PgmGapNumber c = gap->gaps.conditioning;
  const bool there = test_of_chosen(gap, a->test) == TEST_LOSES;
  char test[80] = "";
  if (gap->same_inputs || !isfinite(c.value) || !pgm_gap_settled(gap, PGM_GAP_FULL, PGM_GAP_CHOSEN)) return;
  if (there)
    snprintf(test, sizeof test, "%s nats (%.3g per %s) on the test data", NATS(a->test->gaps.conditioning.value),
             per(a->test, a->test->gaps.conditioning.value), pgm_gap_share(gap));
  if (seen(gap, c))
    say(a, "Other inputs: %s loses %s nats (%.3g per %s)%s%s against %s; neither capacity nor training regains them.", gap->chosen, NATS(c.value),
        per(gap, c.value), pgm_gap_share(gap), there ? ", and " : "", test, gap->full);
  else if (there)
    say(a, "Other inputs: %s loses nothing that can be seen on the data that were fitted, but %s against %s.", gap->chosen, test, gap->full);
  else if (gains(gap, c))
    say(a, "Other inputs: %s gains %s nats on the full domain, which only says that a function of the full domain (%s) can be better than this one.",
        gap->chosen, NATS(-c.value), gap->full);
  else if (reads_nothing(gap->method[PGM_GAP_CHOSEN].fit))
    say(a, "Inputs: a function of degree 0 reads none, so nothing is said about those chosen (%s); take a higher --degree.", gap->chosen);
  else if (hides_conditioning(gap, a->test))
    say(a,
        "Inputs: those chosen (%s) lose nothing that can be seen, but their function has %ld weights for %ld local variable%s and can hold these "
        "data by heart%s.",
        gap->chosen, pgm_gap_weights(gap->method[PGM_GAP_CHOSEN].fit), gap->locals, gap->locals == 1 ? "" : "s",
        a->test ? "" : "; --test FILE tells");
  else
    say(a, "Inputs: those chosen (%s) are as good as the full domain on these data.", gap->chosen);
}

static void say_approximation(Advice *a)
{
  const PgmGap *gap = a->gap;
  const PgmGapNumber x = gap->gaps.approximation;
  if (!isfinite(x.value) || !converged(gap, PGM_GAP_FVI)) return;
  const char *least = gap->evidence.kind == PGM_EVIDENCE_BOUND ? "at least " : "";
  const double per_local = gap->locals ? x.value / (double)gap->locals : NAN;
  if (x.value > 3 * x.se + fmax(1, 0.01 * (double)gap->locals))
    say(a,
        "A richer family: independent Gaussian factors lose %s%s nats (%.2g per local variable) against the posterior, which no "
        "inference function regains; "
        "reparameterise the model so that its variables depend less on each other, or correct the draws by importance weights where k-hat "
        "is below 0.7.",
        least, NATS(x.value), per_local);
  else if (gap->evidence.kind != PGM_EVIDENCE_BOUND && x.value <= fmax(5e-5, 2 * x.se))
    say(a, "The family is rich enough: independent Gaussian factors lose nothing that can be seen against the posterior.");
  else if (gap->evidence.kind != PGM_EVIDENCE_BOUND)
    say(a, "The family is rich enough: independent Gaussian factors lose %.2g nats in all against the posterior.", x.value);
}

static void say_constant(Advice *a)
{
  const PgmGap *gap = a->gap;
  const PgmGapNumber c = gap->gaps.constant;
  if (gap->locals > 1 && converged(gap, PGM_GAP_CONST) && isfinite(c.value) && c.value < 3 * c.se + 1e-3 * (double)gap->locals)
    say(a, "Constant factors: even one for all units loses only %.2g nats; the data say little about the single local variable.",
        fmax(c.value, 0));
}

/* What the function classes that were compared say on test data of one that has many weights: is a smaller one better there? */
static void fewer_or_more(const PgmGap *test, char *lead, size_t size, char *smaller, size_t room)
{
  const PgmGapList *list = &test->list[PGM_GAP_FUNCTIONS];
  const PgmGapVariant *last = list->n > 1 ? &list->at[list->n - 1] : NULL, *best = last;
  for (int i = 0; i + 1 < list->n; i++)
    if (list->at[i].parameters < last->parameters && list->at[i].loss.value < best->loss.value) best = &list->at[i];
  smaller[0] = '\0';
  snprintf(lead, size, !last ? "Fewer weights or more data" : best == last ? "More data" : "Fewer weights");
  if (best != last) snprintf(smaller, room, "; %s loses %.3g", best->text, per(test, best->loss.value));
}

/* The function loses more on the test data than on its own: why? */
static void say_loss_on_test(Advice *a)
{
  const PgmGap *gap = a->gap, *test = a->test;
  const double there = per(test, test->gaps.amortisation.value), here = fmax(per(gap, pgm_gap_lost(gap, PGM_GAP_FULL)), 0);
  const long weights = pgm_gap_weights(gap->method[PGM_GAP_FULL].fit);
  char inputs[512], lead[40], smaller[600];
  fewer_or_more(test, lead, sizeof lead, smaller, sizeof smaller);
  if (!promised(gap) && suffices_here(gap, inputs, sizeof inputs))
    say(a,
        "Not on other data: on the test data the function loses %.3g nats per %s, on its own %.3g, because it holds as constants what it "
        "does not see of its own data; by the verdict no bounded inputs carry over.",
        there, pgm_gap_share(gap), here);
  else if (test->missing && !gap->missing)
    say(a,
        "Missing values: on the test data the function loses %.3g nats per %s, on its own %.3g; %ld value%s of the test data %s missing and none of "
        "those that were fitted, so it has not learnt what to do without.",
        there, pgm_gap_share(gap), here, test->missing, test->missing == 1 ? "" : "s", test->missing == 1 ? "is" : "are");
  else if (FEW_PER_WEIGHT * weights > gap->locals)
    say(a,
        "%s: on the test data the function loses %.3g nats per %s, on its own %.3g; with %ld weights for %ld local "
        "variables it can have learnt its own in part by heart%s.",
        lead, there, pgm_gap_share(gap), here, weights, gap->locals, smaller);
  else
    say(a,
        "Data that differ: on the test data the function loses %.3g nats per %s, on its own %.3g; with %ld weights for %ld local variables "
        "it has hardly learnt these by heart, so the test data reach where these are few or absent.",
        there, pgm_gap_share(gap), here, weights, gap->locals);
}

/* What the functions lose per observation on data that they were not fitted to, against those that they were. */
static void say_test(Advice *a)
{
  switch (test_of_full(a->gap, a->test)) {
  case TEST_NONE:
  case TEST_UNSETTLED: return;
  case TEST_SAME: say(a, "Test data: those of --test are the data that were fitted, so they tell nothing about others."); return;
  case TEST_EMPTY: say(a, "Test data: every observed value of theirs is missing, so they tell nothing about the function."); return;
  case TEST_FEW:
    say(a, "Test data: %ld %s%s too few to tell how the function does on data that it was not fitted to.", a->test->shares, pgm_gap_share(a->test),
        a->test->shares == 1 ? " is" : "s are");
    return;
  case TEST_WELL: say(a, "Other data: on the test data, which it was not fitted to, the function does as well."); return;
  case TEST_LOSES: say_loss_on_test(a); return;
  }
}

/* No local variable has a function: which options would give it one? */
static void say_no_functions(Advice *a)
{
  const PgmModel *m = a->gap->model;
  char pins[300] = "";
  if (a->gap->method[PGM_GAP_FULL].fit) return;
  for (int i = 0; i < m->n_amortize; i++)
    for (int k = 0; k < m->amortize[i].n_pins; k++)
      pgm_gap_append(pins, sizeof pins, "%s--pin %s closes the gap of %s", pins[0] ? ", " : "", m->families[m->amortize[i].pins[k].family].name,
                     m->families[m->amortize[i].family].name);
  if (pins[0])
    say(a, "Inputs: no local latent variable has a function yet; by the verdict %s (by functions that read the factors of what is pinned).", pins);
  else
    say(a, "Inputs: no local latent variable has a function; --window or --inputs name what it is to read, or F-VI is the method.");
}

void pgm_gap_advise(const PgmGap *gap, const PgmGap *test, char *text, size_t size)
{
  Advice a = {gap, test, text, size};
  text[0] = '\0';
  if (!gap->locals && has_local_families(gap->model)) {
    say(&a, "Other data: these have no units, whose variables could be inferred.");
    return;
  }
  if (!gap->shares) {
    say(&a, "Other data: every observed value is missing, so that the numbers are those of the prior.");
    return;
  }
  say_unconverged(&a);
  if (!gap->locals) {
    say(&a, "There are no local latent variables, so nothing can be amortised; F-VI is the method.");
  } else {
    say_no_functions(&a);
    say_amortisation(&a);
    say_windows(&a);
    say_conditioning(&a);
    say_test(&a);
    say_constant(&a);
  }
  say_approximation(&a);
}
