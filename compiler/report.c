/* The verdict as text, JSON and DOT: report.h.
 *
 * In: the model, its analysis, and how each factor's expectation is computed. Out: text. Keys and wording: docs/analysis.md; claims are worded
 * so that they say no more than is proved: "at the optimum, an unrestricted function of these", "generically, for this graph". */
#include "report.h"
#include "dist.h"
#include "graph.h"

#include <string.h>

/* ---- text ------------------------------------------------------------------------------------------------------------------------- */

typedef struct { StrBuf *out; bool color; int width; } Text;

#define BOLD  "\033[1m"
#define GREEN "\033[32m"
#define RED   "\033[31m"
#define DIM   "\033[2m"

static void styled(Text *t, const char *style, const char *s)
{
  if (t->color) sb_printf(t->out, "%s%s\033[0m", style, s);
  else sb_puts(t->out, s);
}

static const char *joined(const TextList *l, const char *separator)
{
  StrBuf b = {0};
  for (int i = 0; i < l->n; i++) sb_printf(&b, "%s%s", i ? separator : "", l->at[i]);
  return sb_text(&b);
}

static const char *element_name(const LatentVerdict *v)
{
  return v->index.n ? arena_printf("%s[%s]", v->name, joined(&v->index, ",")) : v->name;
}

/* "z[n]", or "z[n] (2..N)" where several ranges of the family are judged apart. */
static const char *entry_name(const Analysis *a, const LatentVerdict *v)
{
  int n = 0;
  for (int i = 0; i < a->latents.n; i++) n += a->latents.at[i].family == v->family;
  return n > 1 && strstr(v->range, "..") ? arena_printf("%s (%s)", element_name(v), v->range) : element_name(v);
}

/* Start of a line that continues what stands under the name. */
static void indent(Text *t) { sb_printf(t->out, "  %*s", t->width, ""); }

static void reaches(Text *t, const LatentVerdict *v)
{
  sb_printf(t->out, v->domain.n ? "inputs %s: at the optimum, an unrestricted function of %s reaches factorised inference\n"
                                : "no input%s: at the optimum, one constant%s reaches factorised inference\n",
            joined(&v->domain, ", "), v->domain.n > 1 ? "these" : v->domain.n ? "this" : "");
  if (strcmp(v->domain_kind, "window")) {
    indent(t);
    sb_puts(t->out, strcmp(v->domain_kind, "set") ? "(an encoder of the whole sequence, in order, with the position)\n"
                                                  : "(a permutation-invariant encoder of the group; optima that break its symmetry need a member index too)\n");
  }
}

static void print_witness(Text *t, const Model *m, const LatentVerdict *v)
{
  if (!v->witness.n) return;
  indent(t);
  sb_puts(t->out, "because ");
  for (int i = 0; i < v->witness.n; i++) {
    const WitnessStep *s = &v->witness.at[i];
    if (i) sb_puts(t->out, " - ");
    if (i % 2 == 0) {
      sb_puts(t->out, s->text);
      continue;
    }
    const char *tilde = strstr(s->text, " ~ ");   /* the distribution names the factor; the place tells the rest */
    sb_puts(t->out, tilde ? tilde + 3 : s->text);
    if (s->span.end > s->span.begin) sb_printf(t->out, " [%s:%d]", m->file, source_place(s->span.begin).line);
  }
  if (!strcmp(v->verdict, "unbounded") || !strcmp(v->verdict, "unbounded-set") || !strcmp(v->verdict, "position")) {
    int n = 0;
    for (int i = 0; i < v->index.n; i++)
      if (v->index.at[i][0] > '9') sb_printf(t->out, "%s%s", n++ ? ", " : " - ... reaches every ", v->index.at[i]);
  }
  sb_putc(t->out, '\n');
}

static void print_remedies(Text *t, const Model *m, const LatentVerdict *v)
{
  int printed = 0;
  for (int i = 0; i < 2 * v->remedies.n; i++) { /* first what an option of the tool does */
    const Remedy *r = &v->remedies.at[i % v->remedies.n];
    if ((r->option != NULL) != (i < v->remedies.n)) continue;
    indent(t);
    sb_printf(t->out, "%s ", printed++ ? "     or:" : "instead:");
    if (!strcmp(r->kind, "window")) {
      int widest = r->has_half_width && r->half_width > 5 ? r->half_width : 5;
      sb_printf(t->out, "%s, and measure: ./%s gap data.json --window 0..%d\n", r->option, m->name, widest);
      if (r->has_half_width) indent(t), sb_printf(t->out, "         %s\n", r->law);
    } else if (r->option) sb_printf(t->out, "%s: %s\n", r->option, r->note);
    else sb_printf(t->out, "%s%s%s\n", r->note, r->domain.n ? ": " : "", joined(&r->domain, ", "));
  }
  if (v->has_this_data) {
    indent(t);
    sb_printf(t->out, "for this data set alone, not carried to another: a function of %s suffices where the optimum is unique\n",
              v->this_data_domain.n ? joined(&v->this_data_domain, ", ") : "nothing (one constant)");
  }
}

static void print_inputs(Text *t, const LatentVerdict *v)
{
  if (!v->amortize) return;
  indent(t);
  sb_printf(t->out, "amortize: inputs %s", joined(&v->inputs, ", "));
  if (v->missing.n) sb_printf(t->out, "; a conditioning gap: %s missing", joined(&v->missing, ", "));
  else sb_puts(t->out, "; no conditioning gap");
  if (v->superfluous.n) sb_printf(t->out, "; not needed: %s", joined(&v->superfluous, ", "));
  sb_putc(t->out, '\n');
}

static void print_scale(Text *t, const LatentVerdict *v)
{
  indent(t);
  const char *scale = joined(&v->sd_domain, ", ");
  if (!v->sd_domain.n) sb_puts(t->out, "scale needs no input");
  else sb_printf(t->out, "scale needs %s", strcmp(scale, joined(&v->domain, ", ")) ? scale : "the same inputs");
  sb_printf(t->out, "; boundary: %s\n", v->boundary.n ? joined(&v->boundary, ", ") : "none");
}

static void print_local(Text *t, const Model *m, const LatentVerdict *v)
{
  const char *word = v->verdict;
  bool good = !strcmp(word, "closes") || !strcmp(word, "set") || !strcmp(word, "slice");
  if (good) {
    reaches(t, v);
    print_scale(t, v);
    print_inputs(t, v);
    return;
  }
  if (!strcmp(word, "unbounded")) sb_puts(t->out, "generically, for this graph, no inference function of bounded input closes the gap\n");
  else if (!strcmp(word, "unbounded-set"))
    sb_puts(t->out, "generically, for this graph, no inference function of bounded input that carries over to other data closes the gap\n");
  else if (!strcmp(word, "position"))
    sb_printf(t->out, "inputs %s suffice, but the function differs at every index: give the index, or keep free factors\n",
              v->domain.n ? joined(&v->domain, ", ") : "(none)");
  else if (!strcmp(word, "data")) sb_printf(t->out, "depends on the data: %s\n", v->reason);
  else sb_printf(t->out, "unknown, conservatively %s: %s\n", v->domain.n ? joined(&v->domain, ", ") : "everything", v->reason);
  print_witness(t, m, v);
  if (strcmp(word, "data") && strcmp(word, "unknown")) print_scale(t, v);
  print_inputs(t, v);
  print_remedies(t, m, v);
}

/* What the data make of it. */
static void print_ground(Text *t, const Analysis *a, const LatentVerdict *v)
{
  const GroundSizes *s = &v->ground;
  indent(t);
  sb_printf(t->out, "with %s: %ld element%s", a->data, s->units, s->units == 1 ? "" : "s");
  if (s->components > 1 || s->units <= 1) {
    sb_printf(t->out, " in %ld component%s", s->components, s->components == 1 ? "" : "s");
    if (s->largest > 1) sb_printf(t->out, ", the largest of %ld (median %ld)", s->largest, s->median);
    else if (s->units > 1) sb_puts(t->out, ", each by itself");
  } else sb_puts(t->out, ", all in one component");
  if (s->missing) sb_printf(t->out, "; %ld miss%s an observation", s->missing, s->missing == 1 ? "es" : "");
  if (s->unobserved) sb_printf(t->out, "; %ld more without any observation, drawn from the prior", s->unobserved);
  sb_putc(t->out, '\n');
}

static void print_latent(Text *t, const Model *m, const Analysis *a, const LatentVerdict *v)
{
  const char *name = entry_name(a, v);
  sb_printf(t->out, "  %-*s", t->width, name);
  if ((int)strlen(name) + 2 > t->width) sb_putc(t->out, '\n'), indent(t);
  if (!strcmp(v->role, "global")) sb_puts(t->out, "global: its own factor, never amortised\n");
  else if (!strcmp(v->role, "param")) sb_puts(t->out, "param: a point, never amortised\n");
  else if (!strcmp(v->role, "marginal")) sb_puts(t->out, "marginal: summed out, no factor\n");
  else if (!strcmp(v->role, "pruned")) sb_printf(t->out, "pruned: %s\n", v->reason);
  else {
    print_local(t, m, v);
    if (a->data) print_ground(t, a, v);
  }
}

static const char *headline(const Analysis *a, const char **style)
{
  *style = GREEN;
  bool local = false;
  for (int i = 0; i < a->latents.n; i++) local = local || !strcmp(a->latents.at[i].role, "local");
  if (!local) return "nothing to amortise: no local latent variables";
  if (!strcmp(a->verdict, "closes")) return "amortised inference can close the gap";
  *style = RED;
  if (!strcmp(a->verdict, "partly")) return "amortised inference can close the gap of some latent variables, of others it stays open";
  if (!strcmp(a->verdict, "data")) return "the data decide whether amortised inference can close the gap";
  if (!strcmp(a->verdict, "unknown")) return "no proof either way that amortised inference can close the gap";
  return "the amortisation gap stays open";
}

void report_text_color(const Model *m, const Analysis *a, const Expectation *list, int n, bool color, StrBuf *out)
{
  Text t = {out, color, 10};
  for (int i = 0; i < a->latents.n; i++) {
    int w = (int)strlen(entry_name(a, &a->latents.at[i])) + 2;
    if (w > t.width && w <= 24) t.width = w;
  }
  const char *style, *head = headline(a, &style);
  styled(&t, BOLD, m->file);
  sb_puts(out, ": ");
  styled(&t, style, head);
  sb_putc(out, '\n');
  for (int i = 0; i < 2 * a->latents.n; i++) { /* locals first: they are what the question is about */
    const LatentVerdict *v = &a->latents.at[i % a->latents.n];
    if (!strcmp(v->role, "local") == (i < a->latents.n)) print_latent(&t, m, a, v);
  }
  for (int i = 0; i < a->warnings.n; i++) {
    Place p = source_place(a->warnings.at[i].span.begin);
    sb_printf(out, "  warning: %s [%s:%d]\n", a->warnings.at[i].message, m->file, p.line);
  }
  if (a->unchecked) sb_printf(out, "  note: not compared with the model written out at a small size: %s\n", a->unchecked);
  if (!n) return;
  sb_puts(out, "  expectations: ");
  for (int i = 0; i < n; i++) sb_printf(out, "%s%s [%d] %s", i ? ", " : "", list[i].factor, list[i].line, list[i].method);
  sb_putc(out, '\n');
  int singles = 0;
  for (int i = 0; i < n; i++)
    if (list[i].single) sb_printf(out, "%s%s [%d]", singles++ ? ", " : "  single precision in products on fresh draws: ", list[i].factor, list[i].line);
  if (singles) sb_putc(out, '\n');
}

void report_text(const Model *m, const Analysis *a, const Expectation *list, int n, StrBuf *out)
{
  report_text_color(m, a, list, n, false, out);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------------------------- */

static void json_string(StrBuf *b, const char *s)
{
  if (!s) {
    sb_puts(b, "null");
    return;
  }
  sb_putc(b, '"');
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\') sb_printf(b, "\\%c", c);
    else if (c == '\n') sb_puts(b, "\\n");
    else if (c == '\t') sb_puts(b, "\\t");
    else if (c < 0x20) sb_printf(b, "\\u%04x", c);
    else sb_putc(b, (char)c);
  }
  sb_putc(b, '"');
}

static void json_list(StrBuf *b, const TextList *l)
{
  sb_putc(b, '[');
  for (int i = 0; i < l->n; i++) {
    if (i) sb_puts(b, ", ");
    json_string(b, l->at[i]);
  }
  sb_putc(b, ']');
}

static void json_key(StrBuf *b, int depth, const char *key, bool first)
{
  sb_printf(b, "%s\n%*s\"%s\": ", first ? "" : ",", depth, "", key);
}

static void json_witness(StrBuf *b, const LatentVerdict *v)
{
  sb_putc(b, '[');
  for (int i = 0; i < v->witness.n; i++) {
    if (i) sb_puts(b, ", ");
    json_string(b, v->witness.at[i].text);
  }
  sb_puts(b, "]");
  json_key(b, 6, "witness_places", false);
  sb_putc(b, '[');
  for (int i = 0; i < v->witness.n; i++) {
    Place p = source_place(v->witness.at[i].span.begin);
    sb_printf(b, "%s[%d, %d]", i ? ", " : "", p.line, p.column);
  }
  sb_putc(b, ']');
}

static void json_latent(StrBuf *b, const LatentVerdict *v, bool data)
{
  sb_puts(b, "    {");
  json_key(b, 6, "name", true), json_string(b, v->name);
  json_key(b, 6, "index", false), json_list(b, &v->index);
  json_key(b, 6, "range", false), json_string(b, v->range);
  json_key(b, 6, "role", false), json_string(b, v->role);
  json_key(b, 6, "verdict", false), json_string(b, v->verdict);
  json_key(b, 6, "domain_kind", false), json_string(b, v->domain_kind);
  json_key(b, 6, "domain", false), json_list(b, &v->domain);
  json_key(b, 6, "sd_domain", false), json_list(b, &v->sd_domain);
  json_key(b, 6, "conservative", false), sb_puts(b, v->conservative ? "true" : "false");
  json_key(b, 6, "boundary", false), json_list(b, &v->boundary);
  json_key(b, 6, "witness", false), json_witness(b, v);
  json_key(b, 6, "remedies", false), sb_putc(b, '[');
  for (int i = 0; i < v->remedies.n; i++) {
    const Remedy *r = &v->remedies.at[i];
    sb_printf(b, "%s\n        {\"kind\": ", i ? "," : "");
    json_string(b, r->kind);
    sb_puts(b, ", \"domain\": "), json_list(b, &r->domain);
    sb_puts(b, ", \"boundary\": "), json_list(b, &r->boundary);
    sb_puts(b, ", \"option\": "), json_string(b, r->option);
    sb_puts(b, ", \"note\": "), json_string(b, r->note);
    if (!strcmp(r->kind, "window")) sb_printf(b, ", \"half_width\": %s", r->has_half_width ? arena_printf("%d", r->half_width) : "null");
    sb_putc(b, '}');
  }
  sb_printf(b, v->remedies.n ? "\n      ]" : "]");
  json_key(b, 6, "this_data", false);
  if (v->has_this_data) {
    sb_puts(b, "{\"verdict\": "), json_string(b, v->this_data_verdict);
    sb_puts(b, ", \"domain\": "), json_list(b, &v->this_data_domain), sb_putc(b, '}');
  } else sb_puts(b, "null");
  json_key(b, 6, "inputs", false), json_list(b, &v->inputs);
  json_key(b, 6, "conditioning", false), json_string(b, v->conditioning);
  json_key(b, 6, "missing", false), json_list(b, &v->missing);
  json_key(b, 6, "superfluous", false), json_list(b, &v->superfluous);
  json_key(b, 6, "window", false), json_list(b, &v->window);
  json_key(b, 6, "separable", false), sb_puts(b, v->separable ? "true" : "false");
  json_key(b, 6, "amortize", false), sb_puts(b, v->amortize ? "true" : "false");
  json_key(b, 6, "reason", false), json_string(b, v->reason);
  if (data) {
    json_key(b, 6, "ground", false);
    const GroundSizes *s = &v->ground;
    if (strcmp(v->role, "local")) sb_puts(b, "null");
    else
      sb_printf(b, "{\"units\": %ld, \"components\": %ld, \"largest\": %ld, \"median\": %ld, \"missing\": %ld, \"unobserved\": %ld}", s->units, s->components,
                s->largest, s->median, s->missing, s->unobserved);
  }
  sb_puts(b, "\n    }");
}

void report_json(const Model *m, const Analysis *a, const Expectation *list, int n, const char *version, const char *model_hash, StrBuf *out)
{
  sb_putc(out, '{');
  json_key(out, 2, "schema", true), sb_puts(out, "1");
  json_key(out, 2, "version", false), json_string(out, version);
  json_key(out, 2, "model", false), json_string(out, m->name);
  json_key(out, 2, "file", false), json_string(out, m->file);
  json_key(out, 2, "model_hash", false), json_string(out, model_hash);
  json_key(out, 2, "verdict", false), json_string(out, a->verdict);
  json_key(out, 2, "unchecked", false), json_string(out, a->unchecked);
  json_key(out, 2, "latents", false), sb_putc(out, '[');
  for (int i = 0; i < a->latents.n; i++) {
    sb_puts(out, i ? ",\n" : "\n");
    json_latent(out, &a->latents.at[i], a->data != NULL);
  }
  sb_printf(out, a->latents.n ? "\n  ]" : "]");
  json_key(out, 2, "expectations", false), sb_putc(out, '[');
  for (int i = 0; i < n; i++) {
    sb_printf(out, "%s\n    {\"factor\": ", i ? "," : "");
    json_string(out, list[i].factor);
    sb_printf(out, ", \"line\": %d, \"method\": ", list[i].line);
    json_string(out, list[i].method);
    if (list[i].single) sb_puts(out, ", \"real\": \"float\"");
    sb_putc(out, '}');
  }
  sb_printf(out, n ? "\n  ]" : "]");
  json_key(out, 2, "warnings", false), sb_putc(out, '[');
  for (int i = 0; i < a->warnings.n; i++) {
    Place p = source_place(a->warnings.at[i].span.begin);
    sb_printf(out, "%s\n    {\"line\": %d, \"column\": %d, \"message\": ", i ? "," : "", p.line, p.column);
    json_string(out, a->warnings.at[i].message);
    sb_putc(out, '}');
  }
  sb_printf(out, a->warnings.n ? "\n  ]\n}\n" : "]\n}\n");
}

/* ---- DOT ------------------------------------------------------------------------------------------------------------------------------- */

static void dot_string(StrBuf *b, const char *s)
{
  sb_putc(b, '"');
  for (; *s; s++) {
    if (*s == '"' || *s == '\\') sb_putc(b, '\\');
    sb_putc(b, *s);
  }
  sb_putc(b, '"');
}

static bool in_witness(const Analysis *a, Span span, bool factor)
{
  for (int i = 0; i < a->latents.n; i++)
    for (int k = factor ? 1 : 0; k < a->latents.at[i].witness.n; k += 2) {
      Span s = a->latents.at[i].witness.at[k].span;
      if (s.begin == span.begin && s.end == span.end) return true;
    }
  return false;
}

static bool family_in_witness(const Model *m, const Analysis *a, int family)
{
  Name name = m->families.at[family].name;
  size_t n = strlen(name);
  for (int i = 0; i < a->latents.n; i++)
    for (int k = 0; k < a->latents.at[i].witness.n; k += 2) {
      const char *s = a->latents.at[i].witness.at[k].text;
      if (!strncmp(s, name, n) && (s[n] == '[' || !s[n])) return true;
    }
  return false;
}

/* A family is drawn once, in the plate of its first definition that runs along most plates. */
static int home_plate(const Model *m, const Family *f)
{
  int best = -1, depth = -1;
  for (int i = 0; i < f->n_statements; i++) {
    int p = m->stmts.at[f->statements[i]].plate, n = 0;
    for (int q = p; q >= 0; q = m->plates.at[q].parent) n++;
    if (n > depth) best = p, depth = n;
  }
  return best;
}

static const char *node_label(const Model *m, const Family *f)
{
  StrBuf b = {0};
  sb_puts(&b, f->name);
  int home = home_plate(m, f);
  for (int i = 0; i < f->n_statements; i++) {
    const Stmt *s = &m->stmts.at[f->statements[i]];
    if (s->plate != home) continue;
    for (int k = 0; k < s->n_index; k++) sb_printf(&b, "%s%s", k ? "," : "[", mexpr_text(m, s->index[k].expr));
    if (s->n_index) sb_putc(&b, ']');
    break;
  }
  return sb_text(&b);
}

static bool drawn(const Family *f) { return !(f->role == ROLE_INPUT && !f->n_index); }

static void dot_family(const Model *m, const Analysis *a, int i, int depth, StrBuf *b)
{
  const Family *f = &m->families.at[i];
  sb_printf(b, "%*sv%d [label=", depth, "", i);
  dot_string(b, node_label(m, f));
  if (f->role == ROLE_OBSERVED) sb_puts(b, ", shape=ellipse, style=filled, fillcolor=gray80");
  else if (f->role == ROLE_INPUT) sb_puts(b, ", shape=plaintext");
  else if (f->role == ROLE_LET) sb_puts(b, ", shape=diamond");
  else if (f->role == ROLE_PARAM) sb_puts(b, ", shape=ellipse, style=dashed");
  else sb_puts(b, ", shape=ellipse");
  if (family_in_witness(m, a, i)) sb_puts(b, ", color=red, penwidth=2");
  sb_puts(b, "];\n");
}

static void dot_factor(const Model *m, const Analysis *a, int i, int depth, StrBuf *b)
{
  const Stmt *s = &m->stmts.at[i];
  if (!s->has_dist && s->kind != ST_FACTOR) return;
  bool red = in_witness(a, s->span, true);
  sb_printf(b, "%*sf%d [shape=square, width=0.12, height=0.12, style=filled, fillcolor=%s, label=\"\", xlabel=", depth, "", i, red ? "red" : "black");
  dot_string(b, s->has_dist ? dist_info[s->dist.dist].name : "factor");
  sb_puts(b, ", tooltip=");
  dot_string(b, stmt_text(m, s));
  sb_puts(b, "];\n");
}

static void dot_plate(const Model *m, const Analysis *a, int plate, int depth, StrBuf *b)
{
  if (plate >= 0) {
    const Var *v = &m->vars.at[m->plates.at[plate].var];
    sb_printf(b, "%*ssubgraph cluster_%d {\n%*slabel=", depth, "", plate, depth + 2, "");
    dot_string(b, arena_printf("%s in %s..%s", v->name, mexpr_text(m, v->lo), mexpr_text(m, v->hi)));
    sb_printf(b, ";\n%*slabeljust=r;\n%*slabelloc=b;\n%*sstyle=rounded;\n", depth + 2, "", depth + 2, "", depth + 2, "");
  }
  for (int i = 0; i < m->families.n; i++)
    if (drawn(&m->families.at[i]) && home_plate(m, &m->families.at[i]) == plate) dot_family(m, a, i, depth + 2, b);
  for (int i = 0; i < m->stmts.n; i++)
    if (m->stmts.at[i].plate == plate) dot_factor(m, a, i, depth + 2, b);
  for (int p = 0; p < m->plates.n; p++)
    if (m->plates.at[p].parent == plate) dot_plate(m, a, p, depth + 2, b);
  if (plate >= 0) sb_printf(b, "%*s}\n", depth, "");
}

static void dot_edges(const Model *m, const Analysis *a, int i, StrBuf *b)
{
  const Stmt *s = &m->stmts.at[i];
  if (s->kind == ST_INPUT || s->kind == ST_AMORTIZE) return;
  bool let = s->kind == ST_LET, red = !let && in_witness(a, s->span, true);
  RefList refs = {0};
  mexpr_refs(s->value, &refs);
  for (int k = 0; k < s->dist.n_args; k++) mexpr_refs(s->dist.args[k], &refs);
  mexpr_refs(s->dist.t_lo, &refs);
  mexpr_refs(s->dist.t_hi, &refs);
  for (int r = 0; r < refs.n; r++) {
    const Family *f = &m->families.at[refs.at[r]->family];
    const char *text = mexpr_text(m, refs.at[r]);
    bool seen = !drawn(f);
    for (int q = 0; q < r && !seen; q++) seen = refs.at[q]->family == refs.at[r]->family && !strcmp(mexpr_text(m, refs.at[q]), text);
    if (seen) continue;
    sb_printf(b, "  v%d -> %c%d", refs.at[r]->family, let ? 'v' : 'f', let ? s->family : i);
    sb_printf(b, " [arrowhead=%s", let ? "normal" : "none");
    if (refs.at[r]->n_index) sb_puts(b, ", label="), dot_string(b, text);
    if (red && family_in_witness(m, a, refs.at[r]->family)) sb_puts(b, ", color=red, penwidth=2");
    sb_puts(b, "];\n");
  }
  if (s->has_dist && s->family >= 0) {
    sb_printf(b, "  f%d -> v%d", i, s->family);
    if (red && family_in_witness(m, a, s->family)) sb_puts(b, " [color=red, penwidth=2]");
    sb_puts(b, ";\n");
  }
}

void report_dot(const Model *m, const Analysis *a, StrBuf *out)
{
  const char *style;
  sb_puts(out, "digraph ");
  dot_string(out, m->name);
  sb_puts(out, " {\n  rankdir=TB;\n  forcelabels=true;\n  fontname=\"Helvetica\";\n  node [fontname=\"Helvetica\"];\n"
               "  edge [fontname=\"Helvetica\", fontsize=9];\n  label=");
  dot_string(out, arena_printf("%s: %s", m->file, headline(a, &style)));
  sb_puts(out, ";\n  labelloc=t;\n");
  dot_plate(m, a, -1, 0, out);
  for (int i = 0; i < m->stmts.n; i++) dot_edges(m, a, i, out);
  sb_puts(out, "}\n");
}
