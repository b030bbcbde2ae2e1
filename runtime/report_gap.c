/* The report of `gap`: what it says, the verdict and the graph, every gap, how the fits went, how long they took, which units suffer, data
 * that were not fitted, and how all this was measured. In: a PgmGap and what goes with it. Out: one HTML page; errors are the stream's. */
#include "report_gap.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "report_graph.h"
#include "report_page.h"
#include "report_svg.h"

enum { WORST = 10, MOST_PATHS = 400, MOST_ROWS = 64 };

static const char *const method_names[PGM_GAP_METHODS] = {"constant", "F-VI", "A-VI, full domain", "A-VI, inputs chosen"};

static void text(FILE *out, const char *t)
{
  pgm_html_text(out, t);
}

static void number(FILE *out, double value, int digits)
{
  char buffer[48];
  fputs(pgm_html_number(value, digits, buffer), out);
}

/* ELBOs and evidence: to a hundredth of a nat, finer where they are small. */
static void nats(FILE *out, double value)
{
  const double size = fabs(value);
  const int before = size >= 1 ? (int)floor(log10(size)) + 1 : 1;
  number(out, value, before + (size < 100 ? 3 : 2));
}

/* Differences of them. */
static void difference(FILE *out, double value)
{
  number(out, fabs(value) < 5e-5 ? 0 : value, fabs(value) >= 1000 ? (int)floor(log10(fabs(value))) + 2 : 3);
}

static void error_cell(FILE *out, double se)
{
  fputs("<td class=\"se\">", out);
  if (se > 0) {
    fputs("\xc2\xb1 ", out);
    number(out, se, 2);
  }
  fputs("</td>", out);
}

/* ---- head ---------------------------------------------------------------------------------------------------------------------------- */

static void verdict_badge(FILE *out, const PgmGap *gap)
{
  const char *v = gap->model->verdict;
  const char *class = !strcmp(v, "closes") ? "good" : !strcmp(v, "open") ? "bad" : "warn";
  const char *words = !strcmp(v, "closes")   ? "verdict: amortisation can close the gap"
                      : !strcmp(v, "open")   ? "verdict: the amortisation gap stays open"
                      : !strcmp(v, "partly") ? "verdict: the gap closes for some variables"
                      : !strcmp(v, "data")   ? "verdict: the data decide"
                                             : NULL;
  fprintf(out, "<span class=\"badge %s\">", class);
  if (words)
    fputs(words, out);
  else
    fprintf(out, "verdict: %s", v);
  fputs("</span>\n", out);
}

/* Text whose options ("--hidden") are not broken at their hyphens. */
static void prose(FILE *out, const char *s)
{
  while (*s) {
    char piece[1200];
    const char *option = strstr(s, "--");
    const size_t before = option ? (size_t)(option - s) : strlen(s), length = option ? strcspn(option, " ,;.)") : 0;
    snprintf(piece, sizeof piece, "%.*s", (int)before, s);
    text(out, piece);
    if (length) {
      fputs("<span class=\"option\">", out);
      snprintf(piece, sizeof piece, "%.*s", (int)length, option);
      text(out, piece);
      fputs("</span>", out);
    }
    s += before + length;
  }
}

/* One paragraph to a line; the words before a colon, which say what is wanted, are set off. */
static void advice(FILE *out, const char *lines)
{
  while (*lines) {
    char line[1200];
    const size_t length = strcspn(lines, "\n"), lead = strcspn(lines, ":.,(");
    const bool set_off = lead < length && lead < 32 && lines[lead] == ':';
    fputs("<p>", out);
    if (set_off) {
      snprintf(line, sizeof line, "%.*s", (int)lead + 1, lines);
      fputs("<b>", out);
      text(out, line);
      fputs("</b>", out);
    }
    snprintf(line, sizeof line, "%.*s", (int)(length - (set_off ? lead + 1 : 0)), lines + (set_off ? lead + 1 : 0));
    prose(out, line);
    fputs("</p>\n", out);
    lines += length + (lines[length] == '\n');
  }
}

static void head(FILE *out, const PgmGapReport *r)
{
  const PgmGap *gap = r->gap;
  char title[300], count[48];
  snprintf(title, sizeof title, "%s: the gaps of variational inference", gap->model->name);
  pgm_page_begin(out, title);
  fputs("<h1>", out);
  text(out, title);
  fputs("</h1>\n<p class=\"sub\">", out);
  if (gap->observes) fprintf(out, "%s observation%s", pgm_html_number((double)gap->observations, 1, count), gap->observations == 1 ? "" : "s");
  if (gap->locals)
    fprintf(out, "%s%s local latent variable%s", gap->observes ? ", " : "", pgm_html_number((double)gap->locals, 1, count), gap->locals == 1 ? "" : "s");
  for (int i = 0; r->data && i < r->data->n_files; i++) {
    fputs(i ? ", <code>" : "; data <code>", out);
    text(out, r->data->files[i]);
    fputs("</code>", out);
  }
  fputs("</p>\n<div class=\"badges\">", out);
  verdict_badge(out, gap);
  if (gap->agrees >= 0)
    fprintf(out, "<span class=\"badge %s\">%s</span>\n", gap->agrees ? "good" : "bad",
            gap->agrees ? "the numbers agree" : "the numbers disagree");
  else
    fputs("<span class=\"badge warn\">not compared with the verdict</span>\n", out);
  if (gap->unconverged[0]) fputs("<span class=\"badge warn\">not everything converged</span>\n", out);
  fputs("</div>\n<div class=\"say\"><h3>What to do</h3>\n", out);
  advice(out, r->advice);
  fputs("</div>\n<p>", out);
  char first[2] = {(char)toupper((unsigned char)gap->message[0]), 0};
  text(out, first);
  prose(out, gap->message + (first[0] != 0));
  fputs(".</p>\n", out);
  if (gap->restarted[0]) {
    fputs("<p class=\"note\">", out);
    text(out, gap->restarted);
    fputs(".</p>\n", out);
  }
}

/* ---- the verdict and the graph ------------------------------------------------------------------------------------------------------- */

static void joined(FILE *out, const json_t *list, const char *separator, const char *nothing)
{
  if (!json_array_size(list)) fputs(nothing, out);
  for (size_t i = 0; i < json_array_size(list); i++) {
    const char *s = json_string_value(json_array_get(list, i));
    if (i) fputs(separator, out);
    fputs("<code>", out);
    text(out, s ? s : "");
    fputs("</code>", out);
  }
}

static const char *verdict_words(const char *verdict)
{
  static const char *const words[][2] = {{"closes", "closes"},
                                         {"set", "closes, by a function of a group"},
                                         {"slice", "closes, by a function of a whole sequence"},
                                         {"position", "a function for each index"},
                                         {"unbounded", "stays open"},
                                         {"unbounded-set", "stays open"},
                                         {"data", "the data decide"},
                                         {"unknown", "no proof either way"},
                                         {"global", "global: its own factor"}};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (!strcmp(words[i][0], verdict)) return words[i][1];
  return verdict;
}

static const char *string_of(const json_t *object, const char *key)
{
  const char *s = json_string_value(json_object_get(object, key));
  return s ? s : "";
}

static void latent_row(FILE *out, const json_t *latent)
{
  const json_t *index = json_object_get(latent, "index"), *witness = json_object_get(latent, "witness");
  fputs("<tr><td class=\"name\"><code>", out);
  text(out, string_of(latent, "name"));
  for (size_t i = 0; i < json_array_size(index); i++) {
    fputs(i ? "," : "[", out);
    text(out, json_string_value(json_array_get(index, i)));
  }
  fprintf(out, "%s</code></td><td>", json_array_size(index) ? "]" : "");
  text(out, verdict_words(string_of(latent, "verdict")));
  fputs("</td><td>", out);
  if (strcmp(string_of(latent, "role"), "local")) {
    fputs("\xe2\x80\x93</td></tr>\n", out);
    return;
  }
  joined(out, json_object_get(latent, "domain"), ", ", "nothing");
  if (json_array_size(witness)) {
    fputs("<div class=\"note\">because of ", out);
    joined(out, witness, " \xe2\x80\x93 ", "");
    fputs("</div>", out);
  }
  fputs("</td></tr>\n", out);
}

static void verdict(FILE *out, const PgmGap *gap)
{
  json_t *check = json_loads(gap->model->check_json, 0, NULL);
  const json_t *latents = json_object_get(check, "latents");
  fputs("<h2>The model and its verdict</h2>\n<div class=\"two\"><figure>\n", out);
  if (!pgm_svg_graph(out, gap->model->check_dot))
    fputs("<p class=\"note\">The graph is too large to be drawn here; <code>check --format dot</code> writes it.</p>\n", out);
  fputs("</figure>\n<div><div class=\"scroll\"><table><thead><tr><th>variable</th><th>amortisation gap</th><th>what its factor depends "
        "on</th></tr></thead><tbody>\n",
        out);
  for (size_t i = 0; i < json_array_size(latents); i++) latent_row(out, json_array_get(latents, i));
  fputs("</tbody></table></div>\n<p class=\"note\">By the structure of the graph, for every value of its parameters: at the optimum, an "
        "unrestricted function of what "
        "is named reaches the ELBO of a free factor for every unit (F-VI).</p></div></div>\n",
        out);
  json_decref(check);
}

/* ---- the gaps ------------------------------------------------------------------------------------------------------------------------ */

typedef struct {
  const char *name, *colour, *meaning;
  PgmGapNumber x;
  bool sub, least, most;
  PgmGapMethodName a, b; /* the fits that it stands on */
} GapRow;

static int gap_rows(const PgmGap *gap, GapRow row[8])
{
  const PgmGaps *g = &gap->gaps;
  int n = 0;
  row[n++] = (GapRow){"approximation",
                      "var(--fvi)",
                      "log evidence \xe2\x88\x92 F-VI: what independent Gaussian factors cannot express",
                      g->approximation,
                      false,
                      gap->evidence.kind == PGM_EVIDENCE_BOUND,
                      false,
                      PGM_GAP_FVI,
                      PGM_GAP_FVI};
  row[n++] = (GapRow){"amortisation",
                      "var(--full)",
                      "F-VI \xe2\x88\x92 A-VI on the full domain: what one function for all units loses",
                      g->amortisation,
                      false,
                      false,
                      false,
                      PGM_GAP_FVI,
                      PGM_GAP_FULL};
  if (isfinite(g->capacity.value)) {
    row[n++] = (GapRow){"capacity", "var(--full)", "F-VI \xe2\x88\x92 the best function of this class that was found", g->capacity, true,
                        false,      true,          PGM_GAP_FVI,                                                             PGM_GAP_FVI};
    row[n++] = (GapRow){"optimisation", "var(--full)", "that best \xe2\x88\x92 this run", g->optimisation, true, true, false, PGM_GAP_FULL, PGM_GAP_FULL};
  }
  if (!gap->same_inputs)
    row[n++] = (GapRow){
        "conditioning", "var(--chosen)", "A-VI on the full domain \xe2\x88\x92 A-VI on the inputs chosen", g->conditioning, false, false,
        false,          PGM_GAP_FULL,    PGM_GAP_CHOSEN};
  row[n++] = (GapRow){
      "constant factors", "var(--const)", "F-VI \xe2\x88\x92 one factor for all units, for comparison", g->constant, false, false, false,
      PGM_GAP_FVI,        PGM_GAP_CONST};
  return n;
}

static double power_above(double x)
{
  return pow(10, ceil(log10(x) - 1e-9));
}

static void gap_bars(FILE *out, const PgmGap *gap, const GapRow *row, int n)
{
  PgmBarRow bar[8];
  char note[8][80], value[48];
  double most = 1, limit = pgm_gap_nothing(gap, gap->gaps.amortisation);
  for (int i = 0; i < n; i++) {
    if (isfinite(row[i].x.value)) most = fmax(most, row[i].x.value + fmax(0, row[i].x.se));
    strcpy(note[i], row[i].least ? "\xe2\x89\xa5 " : row[i].most ? "\xe2\x89\xa4 " : "");
    pgm_html_number(fabs(row[i].x.value) < 5e-5 ? 0 : row[i].x.value, 3, value);
    strcat(note[i], value);
    if (!isfinite(row[i].x.value))
      strcpy(note[i], "not measured");
    else if (!pgm_gap_settled(gap, row[i].a, row[i].b))
      strcat(note[i], " (not converged)");
    bar[i] = (PgmBarRow){row[i].name, row[i].colour, note[i], row[i].x.value, row[i].x.se, row[i].sub};
  }
  const PgmScale x = {.label = "nats (logarithmic)", .log = true, .lo = 1e-3, .hi = power_above(most)};
  fputs("<figure><figcaption>How large each gap is</figcaption>\n", out);
  pgm_svg_bars(out, "Bars: the size of each gap in nats", x, limit > x.lo && limit < x.hi ? limit : NAN, "counts as nothing", bar, n);
  fputs("</figure>\n", out);
}

static void gap_table(FILE *out, const PgmGap *gap, const GapRow *row, int n)
{
  fprintf(out,
          "<div class=\"scroll\"><table><thead><tr><th>gap</th><th class=\"n\">nats</th><th></th><th class=\"n\">per %s</th><th></th>"
          "<th>what it is</th></tr></thead><tbody>\n",
          pgm_gap_share(gap));
  for (int i = 0; i < n; i++) {
    fprintf(out, "<tr%s><td class=\"name\"><span class=\"swatch\" style=\"--c:%s\"></span>%s</td><td class=\"n\">",
            row[i].sub ? " class=\"sub\"" : "", row[i].colour, row[i].name);
    if (isfinite(row[i].x.value)) {
      if (row[i].least) fputs("\xe2\x89\xa5 ", out);
      if (row[i].most) fputs("\xe2\x89\xa4 ", out);
      difference(out, row[i].x.value);
    } else {
      fputs("not measured", out);
    }
    fputs("</td>", out);
    error_cell(out, row[i].x.se);
    fputs("<td class=\"n\">", out);
    if (gap->shares) number(out, fabs(row[i].x.value) < 5e-5 ? 0 : row[i].x.value / (double)gap->shares, 2);
    fputs("</td>", out);
    error_cell(out, gap->shares ? row[i].x.se / (double)gap->shares : 0);
    fprintf(out, "<td>%s%s</td></tr>\n", isfinite(row[i].x.value) && !pgm_gap_settled(gap, row[i].a, row[i].b) ? "<b class=\"warn\">not converged.</b> " : "",
            row[i].meaning);
  }
  fputs("</tbody></table></div>\n", out);
}

static void method_row(FILE *out, const PgmGap *gap, PgmGapMethodName k, const char *what)
{
  const PgmGapMethod *m = &gap->method[k];
  if (!m->fit) return;
  fprintf(out, "<tr><td class=\"name\"><span class=\"swatch\" style=\"--c:%s\"></span>%s</td><td class=\"n\">", pgm_page_colours[k],
          method_names[k]);
  nats(out, m->elbo);
  fputs("</td>", out);
  error_cell(out, gap->blocks > 1 ? m->se : 0);
  fputs("<td>", out);
  if (!m->fit->converged) fputs("<b class=\"warn\">not converged.</b> ", out);
  text(out, what);
  fputs("</td></tr>\n", out);
}

static void elbo_table(FILE *out, const PgmGap *gap)
{
  const PgmEvidence *e = &gap->evidence;
  char full[700], stands[100];
  pgm_gap_stand_in(gap, stands, sizeof stands);
  snprintf(full, sizeof full, stands[0] ? "%s (%s)" : "%s", gap->full, stands);
  fputs("<div class=\"scroll\"><table><thead><tr><th>method</th><th class=\"n\">ELBO, nats</th><th></th><th>local "
        "variables</th></tr></thead><tbody>\n",
        out);
  method_row(out, gap, PGM_GAP_CONST, "one factor for all units");
  if (!gap->same_inputs) method_row(out, gap, PGM_GAP_CHOSEN, gap->chosen);
  method_row(out, gap, PGM_GAP_FULL, full);
  method_row(out, gap, PGM_GAP_FVI, gap->locals ? "a free factor for every unit" : "");
  fprintf(out, "<tr class=\"total\"><td class=\"name\">log evidence%s</td><td class=\"n\">", e->given ? ", given the globals" : "");
  if (e->kind == PGM_EVIDENCE_BOUND) fputs("\xe2\x89\xa5 ", out);
  if (e->kind == PGM_EVIDENCE_NONE)
    fputs("not measured", out);
  else
    nats(out, e->value);
  fputs("</td>", out);
  error_cell(out, e->kind == PGM_EVIDENCE_PSIS ? e->se : 0);
  fputs("<td>", out);
  text(out, e->how);
  if (isfinite(e->khat))
    fprintf(out, "; Pareto k\xcc\x82 %.2f%s", e->khat,
            e->kind == PGM_EVIDENCE_BOUND ? e->khat > 0.7 ? ": above 0.7, a lower bound only" : ": a lower bound only"
            : e->khat > 0.7               ? ", of weights that hardly differ"
                                          : "");
  else if (e->kind == PGM_EVIDENCE_BOUND)
    fputs("; Pareto k\xcc\x82 is not defined: a lower bound only", out);
  else if (e->kind == PGM_EVIDENCE_NONE)
    fputs(e->given ? "no way to integrate the local variables out" : "Pareto k\xcc\x82 is not defined", out);
  fputs("</td></tr>\n</tbody></table></div>\n", out);
}

static void gaps(FILE *out, const PgmGap *gap)
{
  GapRow row[8];
  const int n = gap_rows(gap, row);
  if (gap->locals) {
    fputs("<div class=\"two stack\">", out);
    gap_bars(out, gap, row, n);
    fputs("<div><h3>ELBO of each method</h3>", out);
    elbo_table(out, gap);
    fputs("</div></div>\n", out);
    gap_table(out, gap, row, n);
  } else {
    elbo_table(out, gap);
    gap_table(out, gap, row, 1);
  }
}

/* ---- what was compared besides ------------------------------------------------------------------------------------------------------- */

static void entry_name(const PgmGapVariant *v, PgmGapListName name, char *to, size_t size)
{
  if (name == PGM_GAP_WINDOWS)
    snprintf(to, size, "half-width %ld", v->w);
  else
    snprintf(to, size, "%.*s", (int)size - 1, v->text);
}

static void list_table(FILE *out, const PgmGap *gap, const PgmGap *test, PgmGapListName name)
{
  const PgmGapList *list = &gap->list[name];
  fputs("<div class=\"scroll\"><table><thead><tr><th></th><th class=\"n\">parameters</th><th class=\"n\">ELBO</th><th class=\"n\">F-VI "
        "\xe2\x88\x92 A-VI</th><th></th>",
        out);
  fprintf(out, "%s<th></th></tr></thead><tbody>\n", test ? "<th class=\"n\">on test data</th><th></th>" : "");
  for (int i = 0; i < list->n; i++) {
    const PgmGapVariant *v = &list->at[i];
    char what[512];
    entry_name(v, name, what, sizeof what);
    fputs("<tr><td class=\"entry\">", out);
    text(out, what);
    fprintf(out, "</td><td class=\"n\">%ld</td><td class=\"n\">", v->parameters);
    nats(out, pgm_gap_variant(gap, v)->elbo);
    fputs("</td><td class=\"n\">", out);
    difference(out, v->loss.value);
    fputs("</td>", out);
    error_cell(out, v->loss.se);
    if (test) {
      fputs("<td class=\"n\">", out);
      difference(out, test->list[name].at[i].loss.value);
      fputs("</td>", out);
      error_cell(out, test->list[name].at[i].loss.se);
    }
    fprintf(out, "<td>%s%s</td></tr>\n", pgm_gap_variant(gap, v)->fit->converged ? "" : "<b class=\"warn\">not converged</b> ",
            name == PGM_GAP_WINDOWS && pgm_gap_falls(gap, i) ? "falls" : "");
  }
  fputs("</tbody></table></div>\n", out);
}

static void list_bars(FILE *out, const PgmGap *gap, PgmGapListName name)
{
  const PgmGapList *list = &gap->list[name];
  PgmBarRow bar[MOST_ROWS];
  char label[MOST_ROWS][40], note[MOST_ROWS][64], colour[MOST_ROWS][40];
  const int n = list->n < MOST_ROWS ? list->n : MOST_ROWS;
  double most = 1;
  for (int i = 0; i < n; i++) {
    const PgmGapVariant *v = &list->at[i];
    entry_name(v, name, label[i], sizeof label[i]);
    pgm_html_number(fabs(v->loss.value) < 5e-5 ? 0 : v->loss.value, 3, note[i]);
    if (!pgm_gap_variant(gap, v)->fit->converged) strcat(note[i], " (stopped)");
    bar[i] = (PgmBarRow){label[i],   v->same < PGM_GAP_METHODS ? pgm_page_colours[v->same] : pgm_page_shade(i, n, colour[i]),
                         note[i],    v->loss.value,
                         v->loss.se, false};
    most = fmax(most, v->loss.value);
  }
  const PgmScale x = {.label = "nats below F-VI (logarithmic)", .log = true, .lo = 1e-3, .hi = power_above(most)};
  fputs("<figure><figcaption>What each one loses against F-VI</figcaption>\n", out);
  pgm_svg_bars(out, "Bars: what each one loses against F-VI", x, NAN, NULL, bar, n);
  fputs("</figure>\n", out);
}

static void lists(FILE *out, const PgmGap *gap, const PgmGap *test)
{
  static const char *const heads[PGM_GAP_LISTS] = {"Input windows", "Function classes", "Sets of inputs"};
  char half_width[200];
  for (int l = 0; l < PGM_GAP_LISTS; l++) {
    if (gap->list[l].n < 2) continue;
    fprintf(out, "<h2>%s</h2>\n<div class=\"two stack%s\">\n", heads[l], test || gap->blocks > 1 ? " wide" : "");
    list_bars(out, gap, (PgmGapListName)l);
    list_table(out, gap, test, (PgmGapListName)l);
    fputs("</div>\n", out);
    if (l == PGM_GAP_WINDOWS && pgm_gap_say_half_width(gap, test, half_width, sizeof half_width))
      fprintf(out, "<p class=\"note\">%c%s.</p>\n", half_width[0] - 32, half_width + 1);
  }
}

/* ---- how the fits went --------------------------------------------------------------------------------------------------------------- */

/* A method or an entry of a list, as one line of the pictures. */
typedef struct {
  char name[64], colour[40];
  const PgmGapMethod *m;
} Shown;

static void show(Shown *s, int *n, const char *name, const char *colour, const PgmGapMethod *m)
{
  if (*n >= MOST_ROWS || !m->n_runs) return;
  snprintf(s[*n].name, sizeof s[*n].name, "%s", name);
  snprintf(s[*n].colour, sizeof s[*n].colour, "%s", colour);
  s[(*n)++].m = m;
}

/* The entry of a list that is this method's fit, under the entry's own name; else the method's. */
static void method_name(const PgmGap *gap, PgmGapMethodName k, char name[64])
{
  snprintf(name, 64, "%s", method_names[k]);
  for (int l = 0; l < PGM_GAP_LISTS; l++)
    for (int i = 0; i < gap->list[l].n && gap->list[l].n > 1; i++) {
      const PgmGapVariant *v = &gap->list[l].at[i];
      if (v->same == k && l == PGM_GAP_WINDOWS)
        snprintf(name, 64, "A-VI, window %ld", v->w);
      else if (v->same == k)
        snprintf(name, 64, "%.60s", v->text);
    }
}

static int everything_shown(const PgmGap *gap, Shown s[MOST_ROWS])
{
  char full[64], chosen[64];
  int n = 0;
  show(s, &n, method_names[PGM_GAP_CONST], pgm_page_colours[PGM_GAP_CONST], &gap->method[PGM_GAP_CONST]);
  show(s, &n, method_names[PGM_GAP_FVI], pgm_page_colours[PGM_GAP_FVI], &gap->method[PGM_GAP_FVI]);
  for (int l = 0; l < PGM_GAP_LISTS; l++)
    for (int i = 0; i < gap->list[l].n; i++) {
      const PgmGapVariant *v = &gap->list[l].at[i];
      char name[64], colour[40];
      if (v->same < PGM_GAP_METHODS) continue;
      if (l == PGM_GAP_WINDOWS)
        snprintf(name, sizeof name, "A-VI, window %ld", v->w);
      else
        snprintf(name, sizeof name, "%.60s", v->text);
      show(s, &n, name, pgm_page_shade(i, gap->list[l].n, colour), &v->own);
    }
  method_name(gap, PGM_GAP_FULL, full);
  method_name(gap, PGM_GAP_CHOSEN, chosen);
  show(s, &n, full, pgm_page_colours[PGM_GAP_FULL], &gap->method[PGM_GAP_FULL]);
  if (!gap->same_inputs) show(s, &n, chosen, pgm_page_colours[PGM_GAP_CHOSEN], &gap->method[PGM_GAP_CHOSEN]);
  return n;
}

/* The best ELBO that anything reached. */
static double best_elbo(const Shown *s, int n)
{
  double best = -INFINITY;
  for (int i = 0; i < n; i++) {
    best = fmax(best, s[i].m->elbo);
    for (int k = 0; k < s[i].m->n_runs; k++) best = fmax(best, s[i].m->run[k].elbo);
  }
  return best;
}

static void path_figure(FILE *out, const Shown *s, int n, double best, bool seconds)
{
  PgmLine *line = calloc(MOST_PATHS, sizeof *line);
  double **below = calloc(MOST_PATHS, sizeof *below);
  double lo = INFINITY, hi = 0, far = 1;
  int lines = 0;
  for (int i = 0; line && below && i < n; i++)
    for (int k = 0; k < s[i].m->n_runs && lines < MOST_PATHS; k++) {
      const PgmGapPath *p = &s[i].m->run[k].path;
      const double *x = seconds ? p->seconds : p->iteration;
      below[lines] = malloc((size_t)(p->n + 1) * sizeof **below);
      if (!below[lines] || !p->n) continue;
      for (long j = 0; j < p->n; j++) {
        below[lines][j] = best - p->elbo[j];
        if (isfinite(below[lines][j])) far = fmax(far, below[lines][j]);
      }
      lo = fmin(lo, x[0]);
      hi = fmax(hi, x[p->n - 1]);
      line[lines] = (PgmLine){s[i].name, s[i].colour, p->n, x, below[lines]};
      lines++;
    }
  if (lines && hi > lo * 1.0001) {
    const PgmScale x = {.label = seconds ? "time" : "iterations",
                        .unit = seconds ? PGM_UNIT_SECONDS : PGM_UNIT_PLAIN,
                        .log = true,
                        .lo = fmax(lo, 1e-9),
                        .hi = hi};
    const PgmScale y = {.label = "ELBO, nats below the best",
                        .unit = PGM_UNIT_BELOW,
                        .log = true,
                        .reversed = true,
                        .lo = 1e-2,
                        .hi = power_above(fmin(far, 1e9))};
    fprintf(out, "<figure><figcaption>ELBO against %s</figcaption>\n", seconds ? "time" : "iterations");
    pgm_svg_lines(out, seconds ? "Lines: ELBO against time" : "Lines: ELBO against iterations", x, y, line, lines);
    fputs("</figure>\n", out);
  }
  for (int i = 0; below && i < MOST_PATHS; i++) free(below[i]);
  free(below);
  free(line);
}

static void paths(FILE *out, const PgmGap *gap)
{
  Shown s[MOST_ROWS];
  const int n = everything_shown(gap, s);
  const double best = best_elbo(s, n);
  if (!n) return;
  fputs("<h2>How the fits went</h2>\n<p>One line per run: the best ELBO so far, as its distance to the best of all runs, ", out);
  nats(out, best);
  fputs(" nats, by factors of ten; higher is better. A line that levels off below the top is a gap.</p>\n<div class=\"two\">\n", out);
  path_figure(out, s, n, best, false);
  path_figure(out, s, n, best, true);
  fputs("</div>\n<p class=\"note\">A-VI begins with a rough fit of free factors, which its functions learn first; its lines start when "
        "that is done. Where "
        "every value is an estimate from random draws, lines show averages.</p>\n",
        out);
}

/* ---- how long they took -------------------------------------------------------------------------------------------------------------- */

/* Iterations or seconds of each run until it was within `nats` of F-VI (0: until it stopped), those that got there first; returns their
 * number. */
static int reached(const PgmGap *gap, const PgmGapMethod *m, double within, bool seconds, double *out)
{
  int n = 0;
  for (int k = 0; k < m->n_runs; k++) {
    double i = (double)m->run[k].iterations, t = m->run[k].seconds;
    if (within > 0 ? !pgm_gap_reach(&m->run[k], gap->method[PGM_GAP_FVI].elbo - within, &i, &t) : !m->run[k].converged) continue;
    out[n++] = seconds ? t : i;
  }
  return n;
}

static void box_figure(FILE *out, const PgmGap *gap, const Shown *s, int n, double within, bool seconds)
{
  PgmBoxRow row[MOST_ROWS];
  double *memory[MOST_ROWS], lo = INFINITY, hi = 0;
  int rows = 0;
  for (int i = 0; i < n; i++) {
    double *v = memory[rows] = malloc((size_t)s[i].m->n_runs * sizeof *v);
    if (!v) continue;
    const int k = reached(gap, s[i].m, within, seconds, v);
    for (int j = 0; j < k; j++) lo = fmin(lo, v[j]), hi = fmax(hi, v[j]);
    row[rows++] = (PgmBoxRow){s[i].name, s[i].colour, k, s[i].m->n_runs - k, v};
  }
  if (!(hi > 0)) lo = 1, hi = 10;
  lo = fmax(lo, seconds ? 1e-7 : 1);
  const PgmScale x = {.label = seconds ? "time" : "iterations",
                      .unit = seconds ? PGM_UNIT_SECONDS : PGM_UNIT_PLAIN,
                      .log = true,
                      .lo = lo / 1.3,
                      .hi = fmax(hi, lo * 1.5) * 1.3};
  fprintf(out, "<figure><figcaption>%s until %s</figcaption>\n", seconds ? "Time" : "Iterations",
          within > 0 ? "within 1 nat of F-VI" : "the fit stopped by itself");
  pgm_svg_boxes(out, seconds ? "Boxes: time of convergence" : "Boxes: iterations to convergence", x, row, rows);
  fputs("</figure>\n", out);
  for (int i = 0; i < rows; i++) free((void *)row[i].value);
}

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The median over all runs, a run that never got there counting as last. */
static void median_cell(FILE *out, const PgmGap *gap, const PgmGapMethod *m, double within, bool seconds)
{
  double *v = malloc((size_t)(m->n_runs + 1) * sizeof *v);
  char buffer[48];
  if (!v) return;
  int n = reached(gap, m, within, seconds, v);
  for (; n < m->n_runs; n++) v[n] = INFINITY;
  qsort(v, (size_t)n, sizeof *v, ascending);
  const double median = n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
  fputs("<td class=\"n\">", out);
  if (!isfinite(median))
    fputs("never", out);
  else
    fputs(seconds ? pgm_html_seconds(median, buffer) : pgm_html_number(median, 1, buffer), out);
  fputs("</td>", out);
  free(v);
}

static void times(FILE *out, const PgmGap *gap)
{
  Shown s[MOST_ROWS];
  const int n = everything_shown(gap, s);
  const double levels[] = {0.01 * fabs(gap->method[PGM_GAP_FVI].elbo), 10, 1, 0};
  if (!n || !gap->locals) return;
  const int runs = gap->method[PGM_GAP_CONST].n_runs;
  fputs("<h2>How long they took</h2>\n<div class=\"two\">\n", out);
  box_figure(out, gap, s, n, 1, false);
  box_figure(out, gap, s, n, 1, true);
  box_figure(out, gap, s, n, 0, false);
  box_figure(out, gap, s, n, 0, true);
  fprintf(out, "</div>\n<p class=\"note\">%d run%s per method%s.</p>\n", runs, runs == 1 ? "" : "s",
          runs < 5 ? "; boxes are drawn from five on (<code>--seeds 10</code>)" : ", by seed");
  fputs("<div class=\"scroll\"><table><thead><tr><th rowspan=\"2\">median of the runs</th><th class=\"n\" colspan=\"2\">within 1 % (", out);
  difference(out, levels[0]);
  fputs(" nats)</th><th class=\"n\" colspan=\"2\">within 10 nats</th><th class=\"n\" colspan=\"2\">within 1 nat of F-VI</th><th "
        "class=\"n\" colspan=\"2\">stopped by itself</th></tr><tr>",
        out);
  for (int i = 0; i < 4; i++) fputs("<th class=\"n\">iterations</th><th class=\"n\">time</th>", out);
  fputs("</tr></thead><tbody>\n", out);
  for (int i = 0; i < n; i++) {
    fprintf(out, "<tr><td class=\"name\"><span class=\"swatch\" style=\"--c:%s\"></span>", s[i].colour);
    text(out, s[i].name);
    fputs("</td>", out);
    for (int l = 0; l < 4; l++)
      for (int seconds = 0; seconds < 2; seconds++) median_cell(out, gap, s[i].m, levels[l], seconds);
    fputs("</tr>\n", out);
  }
  fputs("</tbody></table></div>\n", out);
}

/* ---- unit by unit -------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  double loss;
  long unit;
} Unit;

static int most_first(const void *a, const void *b)
{
  const Unit *x = a, *y = b;
  return (x->loss < y->loss) - (x->loss > y->loss);
}

/* What units lose under method b against a. */
static void units_of(FILE *out, const PgmGapUnits *u, PgmGapMethodName a, PgmGapMethodName b, const char *what, const char *colour)
{
  const double *above = u->elbo[a], *below = u->elbo[b];
  Unit *list = malloc((size_t)u->n * sizeof *list);
  double *value = malloc((size_t)u->n * sizeof *value), total = 0, top = 0, gained = 0, error = 0;
  for (long i = 0; list && value && i < u->n; i++) {
    list[i] = (Unit){above[i] - below[i], u->lo + i};
    value[i] = list[i].loss;
    total += fmax(list[i].loss, 0);
    gained += fmax(-list[i].loss, 0);
    error = fmax(error, pgm_gap_unit_se(u, a, b, i));
  }
  if (list && value) {
    const long tenth = (u->n + 9) / 10;
    qsort(list, (size_t)u->n, sizeof *list, most_first);
    for (long i = 0; i < tenth; i++) top += fmax(list[i].loss, 0);
    const double hi = list[0].loss, lo = list[u->n - 1].loss;
    fprintf(out, "<div><figure><figcaption>%s</figcaption>\n", what);
    if (hi - lo > 1e-9) {
      const PgmScale x = {.label = "nats lost by a unit", .lo = fmin(0, lo), .hi = hi};
      pgm_svg_histogram(out, what, x, colour, value, u->n);
    } else {
      fputs("<p class=\"note\">No unit loses anything that can be seen.</p>\n", out);
    }
    fputs("</figure>\n", out);
    if (hi > 1e-6 && total > 0) {
      fprintf(out, "<p>The worst tenth of the units bears %.0f&nbsp;%% of what units lose, ", 100 * top / total);
      number(out, total, 3);
      fputs("&nbsp;nats", out);
      if (gained > 0.01 * total) {
        fputs("; others gain ", out);
        number(out, gained, 3);
      }
      fputs(". Worst: ", out);
      for (long i = 0; i < WORST && i < u->n; i++) {
        fprintf(out, "%s%s&nbsp;=&nbsp;%ld (", i ? ", " : "", u->variable, list[i].unit);
        number(out, list[i].loss, 2);
        putc(')', out);
      }
      if (error > 0) {
        fputs("; standard errors of up to ", out);
        number(out, error, 2);
      }
      fputs(".</p>\n", out);
    }
    fputs("</div>\n", out);
  }
  free(list);
  free(value);
}

static void units(FILE *out, const PgmGap *gap, const PgmGapUnits *u)
{
  if (!u || !u->elbo[PGM_GAP_FVI] || !u->elbo[PGM_GAP_FULL]) return;
  fputs("<h2>Which units suffer</h2>\n<div class=\"two\">\n", out);
  units_of(out, u, PGM_GAP_FVI, PGM_GAP_FULL, "Amortisation: F-VI \xe2\x88\x92 A-VI on the full domain", "var(--full)");
  if (!gap->same_inputs && u->elbo[PGM_GAP_CHOSEN])
    units_of(out, u, PGM_GAP_FULL, PGM_GAP_CHOSEN, "Conditioning: full domain \xe2\x88\x92 inputs chosen",
             "var(--chosen)");
  fputs("</div>\n<p class=\"note\">A unit is a value of the model's largest plate with data: its terms, and the entropy of its latent variables. A "
        "unit can gain where another loses, ",
        out);
  fputs(pgm_gap_has_globals(gap->model) ? "since the globals move" : "since neighbours share terms and a function serves them all", out);
  fputs(". <code>--per-observation FILE.csv</code> writes all of them.</p>\n", out);
}

/* ---- the rest ------------------------------------------------------------------------------------------------------------------------ */

static void test_data(FILE *out, const PgmGapReport *r)
{
  const PgmGap *test = r->test;
  if (!test) return;
  char count[48];
  fprintf(out, "<h2>%s</h2>\n<p>%s %s%s", test->same_data ? "On the data that were fitted, once more" : "On data that were not fitted",
          pgm_html_number((double)test->shares, 1, count), pgm_gap_share(test), test->shares == 1 ? "" : "s");
  if (r->test_file) {
    fputs(" of <code>", out);
    text(out, r->test_file);
    fputs("</code>", out);
  }
  fputs(
      ", with the globals of F-VI for all methods, for which functions and constants were trained; free factors are optimised.</p>\n",
      out);
  if (test->restarted[0]) {
    fputs("<p class=\"note\">", out);
    text(out, test->restarted);
    fputs(".</p>\n", out);
  }
  gaps(out, test);
}

static void foot(FILE *out, const PgmGapReport *r)
{
  const PgmModel *m = r->gap->model;
  const PgmFit *fvi = r->gap->method[PGM_GAP_FVI].fit;
  fputs("<footer><p>How this was measured. Every method is fitted to the same data; every ELBO that is compared is evaluated anew, on the "
        "same random numbers where an expectation is sampled, "
        "and exactly elsewhere. F-VI can copy the factors of any other method and is restarted from one that is above it. Capacity is "
        "bounded by the best function that more starts and longer "
        "training found. Nothing is compared with the verdict that did not converge.</p><p>",
        out);
  fprintf(out, "Model <code>");
  text(out, m->name);
  fputs("</code> from <code>", out);
  text(out, m->file);
  fprintf(out, "</code>, SHA-256 <code>%.16s\xe2\x80\xa6</code>, compiled by pgmc %s; seeds from %lu on; %d thread%s.</p></footer>\n",
          m->hash, m->version, r->seed, fvi->threads, fvi->threads == 1 ? "" : "s");
}

void pgm_report_gap(FILE *out, const PgmGapReport *r)
{
  head(out, r);
  verdict(out, r->gap);
  fputs("<h2>The gaps</h2>\n", out);
  gaps(out, r->gap);
  lists(out, r->gap, r->test);
  paths(out, r->gap);
  times(out, r->gap);
  units(out, r->gap, r->units);
  test_data(out, r);
  foot(out, r);
  pgm_page_end(out);
}
