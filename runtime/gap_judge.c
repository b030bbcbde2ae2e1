/* What the numbers say: do they agree with the verdict of the analysis, and what is to be done about the gaps.
 *
 * In: a PgmGap whose gaps are filled, and perhaps that of test data. Out: sentences. Nothing is compared that did not converge. */
#include "gap_work.h"

#include <stdarg.h>
#include <string.h>

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

/* ---- the verdict --------------------------------------------------------------------------------------------------------------------- */

/* Can the function hold every local variable by heart? */
static bool memorises(const PgmGap *gap, const PgmFit *functions)
{
  return functions && pgm_gap_weights(functions) > gap->locals;
}

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

static void judge_closing(PgmGap *gap, PgmGapNumber loss)
{
  const char *of = pins_close(gap) ? " of --pin" : "";
  const double left = fabs(gap->gaps.amortisation.value) < 1e-6 ? 0 : gap->gaps.amortisation.value;
  const bool closes = loss.value <= pgm_gap_nothing(gap, loss);
  if (closes && isfinite(gap->gaps.constant.value) && gap->gaps.constant.value < 1e-6) {
    snprintf(gap->message, sizeof gap->message,
             "these data cannot tell whether the verdict holds: even constant factors lose nothing (%ld observation%s)", gap->observations,
             gap->observations == 1 ? "" : "s");
    return;
  }
  gap->agrees = closes;
  if (gap->agrees)
    snprintf(gap->message, sizeof gap->message,
             "as the verdict says%s, amortised inference closes the gap: %.3g of %.4g nats that constant factors lose remain", of, left,
             gap->gaps.constant.value);
  else
    snprintf(
        gap->message, sizeof gap->message,
        "the verdict says%s that the gap can close; this function class leaves %.4g nats (wider --hidden or higher --degree may close it)", of,
        loss.value);
}

static void judge_open(PgmGap *gap)
{
  const PgmGapNumber a = gap->gaps.amortisation, first = first_window(gap) ? first_window(gap)->loss : a;
  const PgmFit *narrowest = first_window(gap) ? pgm_gap_variant(gap, first_window(gap))->fit : gap->method[PGM_GAP_FULL].fit;
  const bool stays = first.value > 3 * first.se + 1e-3;
  char inputs[512], narrowest_leaves[80] = "";
  if (gap->list[PGM_GAP_WINDOWS].n > 1) snprintf(narrowest_leaves, sizeof narrowest_leaves, " of the %.4g of the narrowest window", first.value);
  if (!stays && memorises(gap, narrowest)) {
    snprintf(gap->message, sizeof gap->message,
             "too few observations to tell whether the verdict holds: a function of %ld weights can hold %ld local variables by heart",
             pgm_gap_weights(narrowest), gap->locals);
    return;
  }
  const bool here = !stays && suffices_here(gap, inputs, sizeof inputs);
  gap->agrees = stays || here;
  if (here)
    snprintf(gap->message, sizeof gap->message,
             "the verdict is about functions that carry over to other data; on one data set, it says, a function suffices (%s), and here %.2g nats are "
             "left (--test FILE tells what they are on others)",
             inputs, fabs(first.value));
  else if (!stays)
    snprintf(gap->message, sizeof gap->message,
             "the verdict says that the gap stays open, yet on these data it is %.2g nats: nothing to be seen", first.value);
  else if (seen(gap, a))
    snprintf(gap->message, sizeof gap->message, "as the verdict says, the gap stays open: %.4g nats with %s", a.value, gap->full);
  else
    snprintf(gap->message, sizeof gap->message,
             "as the verdict says, no window closes the gap exactly; %s leaves %.2g nats%s", gap->full, a.value, narrowest_leaves);
}

void pgm_gap_judge(PgmGap *gap)
{
  const char *verdict = gap->model->verdict;
  const PgmGaps *g = &gap->gaps;
  const PgmGapNumber a = g->amortisation, c = isfinite(g->capacity.value) ? g->capacity : a;
  const PgmFit *functions = gap->method[PGM_GAP_FULL].fit;
  bool settled = converged(gap, PGM_GAP_FVI) && converged(gap, PGM_GAP_FULL);
  if (settled && !strcmp(verdict, "open") && first_window(gap)) settled = pgm_gap_variant(gap, first_window(gap))->fit->converged;
  gap->agrees = -1;
  if (!gap->locals) {
    snprintf(gap->message, sizeof gap->message, "the model has no local latent variables: there is nothing to amortise");
    return;
  }
  if (!gap->observations) {
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
    snprintf(gap->message, sizeof gap->message, "the verdict '%s' is neither confirmed nor refuted: not converged: %.500s", verdict,
             gap->unconverged);
    return;
  }
  if (promised(gap))
    judge_closing(gap, c);
  else if (!strcmp(verdict, "open"))
    judge_open(gap);
  else
    snprintf(gap->message, sizeof gap->message,
             "the verdict is '%s', which promises nothing for the model as a whole; measured: %.4g nats with %s", verdict, a.value,
             gap->full);
  if (gap->agrees >= 0 && memorises(gap, functions))
    pgm_gap_append(gap->message, sizeof gap->message,
                   "; the function has %ld weights for %ld local variables and may have memorised these data (--test FILE tells)",
                   pgm_gap_weights(functions), gap->locals);
  if (gap->same_inputs || !isfinite(g->conditioning.value)) return;
  if (!converged(gap, PGM_GAP_CHOSEN))
    pgm_gap_append(gap->message, sizeof gap->message, "; the inputs chosen (%s) are not compared: not converged", gap->chosen);
  else if (seen(gap, g->conditioning))
    pgm_gap_append(gap->message, sizeof gap->message, "; the inputs chosen (%s) lose %.4g nats more: a conditioning gap", gap->chosen,
                   g->conditioning.value);
  else if (gains(gap, g->conditioning))
    pgm_gap_append(gap->message, sizeof gap->message,
                   "; the inputs chosen (%s) reach %.4g nats more than the full domain, whose function is not the best that it could be",
                   gap->chosen, -g->conditioning.value);
  else
    pgm_gap_append(gap->message, sizeof gap->message, "; the inputs chosen (%s) lose nothing that can be seen", gap->chosen);
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

static double per(const PgmGap *gap, double nats)
{
  return gap->observations ? nats / (double)gap->observations : NAN;
}

static void say_unconverged(Advice *a)
{
  if (a->gap->unconverged[0])
    say(a, "Not converged: %.300s; let them train longer (--max-iter) before their rows are compared.", a->gap->unconverged);
  if (a->test && a->test->unconverged[0])
    say(a, "Not converged on the test data: %.300s; what is told of these data is no comparison.", a->test->unconverged);
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
  if (list->n < 2 || !(wanted > 0)) return false;
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

static void say_windows(Advice *a)
{
  const PgmGap *gap = a->gap;
  const PgmGapList *list = &gap->list[PGM_GAP_WINDOWS];
  if (list->n < 2) return;
  say_falls(a);
  if (memorises(gap, pgm_gap_variant(gap, &list->at[0])->fit) && !a->test) return;
  const PgmGapVariant *w = enough(a), *last = &list->at[list->n - 1];
  double least = INFINITY;
  for (int i = 0; i < list->n; i++) least = fmin(least, list->at[i].loss.value);
  const bool best = w && w->w == gap->stands_in; /* wider ones fall, which has been said */
  if (w && !best && (gap->stands_in >= 0 || !seen(gap, gap->gaps.amortisation)))
    say(a, "Narrower inputs: on these data%s a window of half-width %ld (--window %ld) is enough; none that was tried gains more than %.2g nats on it.",
        a->test ? " and the test data" : "", w->w, w->w, fmax(0, w->loss.value - least));
  else if (!w && gap->stands_in == last->w)
    say(a, "Wider inputs: the gap still falls from window %ld to window %ld; see how far with --window %ld..%ld.", last[-1].w, last->w, last->w,
        2 * last->w);
}

/* Does the function lose clearly more per observation on the test data than on its own? */
static bool learnt_by_heart(const Advice *a)
{
  const PgmGapNumber there = a->test->gaps.amortisation, here = a->gap->gaps.amortisation;
  const double more = per(a->test, there.value) - per(a->gap, here.value);
  return isfinite(there.value) && seen(a->test, there) &&
         more * (double)a->test->observations > 0.5 * pgm_gap_nothing(a->test, there) &&
         per(a->test, there.value) > 1.5 * per(a->gap, fmax(here.value, 0));
}

static void say_amortisation(Advice *a)
{
  const PgmGap *gap = a->gap;
  const PgmGaps *g = &gap->gaps;
  const long weights = gap->method[PGM_GAP_FULL].fit ? pgm_gap_weights(gap->method[PGM_GAP_FULL].fit) : 0;
  char inputs[600];
  if (!isfinite(g->amortisation.value)) return;
  inputs_of(gap, inputs, sizeof inputs);
  if (!seen(gap, g->amortisation) && (a->test ? learnt_by_heart(a) : weights > gap->locals)) {
    say(a,
        "On the data that it was fitted to, a function of %s costs nothing that can be seen against a factor for every unit; it has %ld "
        "weights for %ld local variables%s.",
        inputs, weights, gap->locals, a->test ? "" : " and may have learnt them by heart, which --test FILE tells");
  } else if (!seen(gap, g->amortisation)) {
    say(a,
        "Amortise: a function of %s costs nothing that can be seen against a factor for every unit%s.", inputs,
        keeps_free_factors(gap) ? "" : "; after fit --method avi, new observations take one pass (infer)");
  } else if (seen(gap, g->capacity) && g->capacity.value >= 0.5 * g->amortisation.value) {
    if (promised(gap))
      say(a,
          "More capacity: the best function of this class that was found is %.3g nats (%.3g per observation) short of F-VI, and by the "
          "verdict a richer one can close this; try wider layers (--hidden 64,64) or a higher degree.",
          g->capacity.value, per(gap, g->capacity.value));
    else
      say(a,
          "More inputs, or F-VI: the best function of %s that was found is %.3g nats (%.3g per observation) short of F-VI, and by the "
          "verdict no capacity regains all of it.",
          inputs, g->capacity.value, per(gap, g->capacity.value));
  }
  if (seen(gap, g->optimisation))
    say(a,
        "Longer training: this run is %.3g nats short of the best that the same function class reached; more seeds (--seeds), more "
        "iterations (--max-iter) or a smaller tolerance (--tol) find it.",
        g->optimisation.value);
  if (!a->test && seen(gap, g->amortisation) && weights > gap->locals)
    say(a,
        "Other data: the function has %ld weights for %ld local variables and may have learnt them by heart; --test FILE tells what it "
        "loses on data that it was not fitted to.",
        weights, gap->locals);
}

static void say_conditioning(Advice *a)
{
  const PgmGap *gap = a->gap;
  if (gap->same_inputs || !isfinite(gap->gaps.conditioning.value) || !converged(gap, PGM_GAP_CHOSEN)) return;
  if (seen(gap, gap->gaps.conditioning))
    say(a, "Other inputs: %s loses %.3g nats (%.3g per observation) that %s has; neither capacity nor training regains them.", gap->chosen,
        gap->gaps.conditioning.value, per(gap, gap->gaps.conditioning.value), gap->full);
  else if (gains(gap, gap->gaps.conditioning))
    say(a, "Other inputs: %s gains %.3g nats on the full domain, which only says that a function of the full domain (%s) can be better than this one.",
        gap->chosen, -gap->gaps.conditioning.value, gap->full);
  else
    say(a, "Inputs: those chosen (%s) are as good as the full domain on these data.", gap->chosen);
}

static void say_approximation(Advice *a)
{
  const PgmGap *gap = a->gap;
  const PgmGapNumber x = gap->gaps.approximation;
  if (!isfinite(x.value)) return;
  const char *least = gap->evidence.kind == PGM_EVIDENCE_BOUND ? "at least " : "";
  const double per_local = gap->locals ? x.value / (double)gap->locals : NAN;
  if (x.value > 3 * x.se + fmax(1, 0.01 * (double)gap->locals))
    say(a,
        "A richer family: independent Gaussian factors lose %s%.3g nats (%.2g per local variable) against the posterior, which no "
        "inference function regains; "
        "reparameterise the model so that its variables depend less on each other, or correct the draws by importance weights where k-hat "
        "is below 0.7.",
        least, x.value, per_local);
  else if (gap->evidence.kind != PGM_EVIDENCE_BOUND)
    say(a, "The family is rich enough: independent Gaussian factors lose %.2g nats in all against the posterior.", fmax(x.value, 0));
}

static void say_constant(Advice *a)
{
  const PgmGap *gap = a->gap;
  const PgmGapNumber c = gap->gaps.constant;
  if (isfinite(c.value) && c.value < 3 * c.se + 1e-3 * (double)gap->locals)
    say(a, "Constant factors: even one for all units loses only %.2g nats; the data say little about the single local variable.",
        fmax(c.value, 0));
}

/* What the functions lose per observation on data that they were not fitted to, against those that they were. */
static void say_test(Advice *a)
{
  if (!a->test) return;
  const PgmGapNumber there = a->test->gaps.amortisation, here = a->gap->gaps.amortisation;
  char inputs[512];
  if (!isfinite(there.value) || !a->test->observations || !a->gap->observations) return;
  if (learnt_by_heart(a) && !promised(a->gap) && suffices_here(a->gap, inputs, sizeof inputs))
    say(a,
        "Not on other data: on the test data the function loses %.3g nats per observation, on its own %.3g, because it holds as constants what it "
        "does not see of its own data; by the verdict no bounded inputs carry over.",
        per(a->test, there.value), fmax(per(a->gap, here.value), 0));
  else if (learnt_by_heart(a))
    say(a,
        "Fewer weights or more data: on the test data the function loses %.3g nats per observation, on its own %.3g, so it has learnt "
        "these in part by heart.",
        per(a->test, there.value), fmax(per(a->gap, here.value), 0));
  else
    say(a, "Other data: on the test data, which it was not fitted to, the function does as well.");
}

void pgm_gap_advise(const PgmGap *gap, const PgmGap *test, char *text, size_t size)
{
  Advice a = {gap, test, text, size};
  text[0] = '\0';
  if (!gap->observations) {
    say(&a, "Other data: every observed value is missing, so that the numbers are those of the prior.");
    return;
  }
  if (!gap->locals) {
    say(&a, "There are no local latent variables, so nothing can be amortised; F-VI is the method.");
  } else {
    say_amortisation(&a);
    say_windows(&a);
    say_conditioning(&a);
    say_test(&a);
    say_constant(&a);
  }
  say_approximation(&a);
  say_unconverged(&a);
}
