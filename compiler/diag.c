/* Source map and diagnostics: diag.h.
 *
 * In: one source text, problems in any order. Out: the problems sorted by place (a note stays with what it explains), as text with the
 * line underlined, or as JSON. The same message at the same place is reported once. */
#include "diag.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 160 /* longest piece of a source line that is shown */

static struct {
  const char *file, *text;
  size_t length;
  VEC(int) line; /* offsets of the beginnings of lines */
} source;

typedef struct {
  Diag d;
  int order;
} Entry; /* order: number of the diagnostic that a note belongs to */
static VEC(Entry) entries;
static int n_errors;
static bool dropped_last; /* the last diagnostic was a repetition: its notes go too */

/* ---- source map ------------------------------------------------------------------------------------------------------------ */

void source_set(const char *file, const char *text, size_t length)
{
  memset(&source, 0, sizeof source);
  memset(&entries, 0, sizeof entries);
  n_errors = 0;
  dropped_last = false;
  source.file = file;
  source.text = text;
  source.length = length;
  VEC_PUSH(source.line, 0);
  for (size_t i = 0; i < length; i++)
    if (text[i] == '\n') VEC_PUSH(source.line, (int)i + 1);
}

const char *source_file(void)
{
  return source.file;
}
const char *source_text(void)
{
  return source.text;
}
size_t source_length(void)
{
  return source.length;
}

Place source_place(int offset)
{
  int lo = 0, hi = source.line.n; /* line.at[lo] <= offset < line.at[hi] */
  while (hi - lo > 1) {
    int mid = (lo + hi) / 2;
    if (source.line.at[mid] <= offset)
      lo = mid;
    else
      hi = mid;
  }
  return (Place){lo + 1, source.line.n ? offset - source.line.at[lo] + 1 : 1};
}

const char *source_slice(Span span)
{
  StrBuf b = {0};
  for (int i = span.begin; i < span.end; i++) {
    if (!isspace((unsigned char)source.text[i]))
      sb_putc(&b, source.text[i]);
    else if (b.length && b.text[b.length - 1] != ' ')
      sb_putc(&b, ' ');
  }
  return sb_text(&b);
}

/* ---- collecting ------------------------------------------------------------------------------------------------------------ */

void diag(Severity severity, Span span, const char *hint, const char *format, ...)
{
  StrBuf b = {0};
  va_list args;
  va_start(args, format);
  sb_vprintf(&b, format, args);
  va_end(args);
  int order = entries.n;
  if (severity == SEV_NOTE) {
    if (dropped_last) return;
    if (entries.n) order = entries.at[entries.n - 1].order;
  } else {
    dropped_last = false;
    for (int i = 0; i < entries.n; i++) {
      const Diag *d = &entries.at[i].d;
      if (d->severity == severity && d->span.begin == span.begin && !strcmp(d->message, sb_text(&b))) {
        dropped_last = true;
        return;
      }
    }
  }
  if (severity == SEV_ERROR) n_errors++;
  VEC_PUSH(entries, (Entry){{severity, span, sb_text(&b), hint}, order});
}

int diag_errors(void)
{
  return n_errors;
}
bool diag_error_at(Span span)
{
  for (int i = 0; i < entries.n; i++)
    if (entries.at[i].d.severity == SEV_ERROR && entries.at[i].d.span.begin == span.begin && entries.at[i].d.span.end == span.end)
      return true;
  return false;
}
int diag_count(void)
{
  return entries.n;
}
const Diag *diag_at(int i)
{
  return &entries.at[i].d;
}

static int entry_begin(const Entry *e)
{
  return entries.at[e->order].d.span.begin;
}

static int entry_compare(const void *a, const void *b)
{
  const Entry *x = *(const Entry *const *)a, *y = *(const Entry *const *)b;
  int p = entry_begin(x), q = entry_begin(y);
  if (p != q) return p < q ? -1 : 1;
  if (x->order != y->order) return x->order < y->order ? -1 : 1;
  return x < y ? -1 : x > y;
}

static const Entry **sorted(void)
{
  const Entry **list = NEW_ARRAY(const Entry *, entries.n + 1);
  for (int i = 0; i < entries.n; i++) list[i] = &entries.at[i];
  qsort(list, (size_t)entries.n, sizeof *list, entry_compare);
  return list;
}

/* ---- text form ------------------------------------------------------------------------------------------------------------- */

static const char *severity_name(Severity s)
{
  return s == SEV_ERROR ? "error" : s == SEV_WARNING ? "warning" : "note";
}

/* End of the span, or of its first line when it goes on to others, without blanks at the end; at least one byte wide. */
static int visible_end(Span span, int line_end)
{
  int end = span.end < line_end ? span.end : line_end;
  while (end > span.begin + 1 && isspace((unsigned char)source.text[end - 1])) end--;
  return end > span.begin ? end : span.begin + 1;
}

/* Number of bytes of the well-formed UTF-8 character at s, 0 if there is none. */
static int utf8_length(const unsigned char *s)
{
  int n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
  for (int i = 1; i < n; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
    return 0;
  return n;
}

/* Length of the character at byte i; bytes that are no UTF-8 stand alone. */
static int character(int i)
{
  int n = utf8_length((const unsigned char *)source.text + i);
  return n ? n : 1;
}

/* Text for a terminal: what is no UTF-8 or controls terminals becomes '?'. */
static void print_text(FILE *out, const char *text, size_t length)
{
  for (size_t i = 0; i < length;) {
    const unsigned char *s = (const unsigned char *)text + i;
    int n = utf8_length(s);
    bool control = (*s < 32 && *s != '\t') || *s == 127 || (n == 2 && *s == 0xc2 && s[1] < 0xa0);
    if (!n || control)
      fputc('?', out);
    else
      fwrite(s, 1, (size_t)n, out);
    i += (size_t)(n ? n : 1);
  }
}

/* The line and the mark below it. One column per character; tabs are repeated so that the mark stays under its place. */
static void print_line(FILE *out, Span span, const char *color, const char *reset)
{
  Place place = source_place(span.begin);
  int begin = source.line.at[place.line - 1], end = begin;
  while ((size_t)end < source.length && source.text[end] != '\n' && source.text[end] != '\r') end++;
  int mark_end = visible_end(span, end), from = begin, to = end;
  if (end - begin > WINDOW) {
    while (from + WINDOW / 2 < span.begin) from += character(from);
    for (to = from; to < end && to < from + WINDOW;) to += character(to);
    if (mark_end > to) mark_end = to;
  }
  fprintf(out, "%5d | %s", place.line, from > begin ? "..." : "");
  print_text(out, source.text + from, (size_t)(to - from));
  fprintf(out, "%s\n      | %s", to < end ? "..." : "", from > begin ? "   " : "");
  for (int i = from; i < span.begin && i < to; i += character(i)) fputc(source.text[i] == '\t' ? '\t' : ' ', out);
  fputs(color, out);
  fputc('^', out);
  for (int i = span.begin + (span.begin < to ? character(span.begin) : 1); i < mark_end; i += character(i)) fputc('~', out);
  fprintf(out, "%s\n", reset);
}

void diag_print(FILE *out, bool color)
{
  const Entry **list = sorted();
  const char *reset = color ? "\033[0m" : "", *bold = color ? "\033[1m" : "";
  for (int i = 0; i < entries.n; i++) {
    const Diag *d = &list[i]->d;
    const char *tint = !color ? "" : d->severity == SEV_ERROR ? "\033[1;31m" : d->severity == SEV_WARNING ? "\033[1;35m" : "\033[1;36m";
    bool placed = d->span.begin || d->span.end;
    if (placed) {
      Place p = source_place(d->span.begin);
      fprintf(out, "%s%s:%d:%d:%s ", bold, source.file, p.line, p.column, reset);
    } else {
      fprintf(out, "%s%s:%s ", bold, source.file, reset);
    }
    fprintf(out, "%s%s:%s %s", tint, severity_name(d->severity), reset, bold);
    print_text(out, d->message, strlen(d->message));
    fprintf(out, "%s\n", reset);
    if (placed) print_line(out, d->span, tint, reset);
    if (!d->hint) continue;
    fputs("      = help: ", out);
    print_text(out, d->hint, strlen(d->hint));
    fputc('\n', out);
  }
}

/* ---- JSON form ------------------------------------------------------------------------------------------------------------- */

static void json_string(FILE *out, const char *text)
{
  if (!text) {
    fputs("null", out);
    return;
  }
  fputc('"', out);
  for (const unsigned char *s = (const unsigned char *)text; *s;) {
    int n = utf8_length(s);
    if (*s == '"' || *s == '\\')
      fprintf(out, "\\%c", *s);
    else if (*s < 32 || *s == 127)
      fprintf(out, "\\u%04x", *s);
    else if (!n)
      fputs("\\ufffd", out);
    else
      fwrite(s, 1, (size_t)n, out);
    s += n ? n : 1;
  }
  fputc('"', out);
}

/* "end_column" is one past the last marked byte; a span over several lines ends with its first line. */
void diag_print_json(FILE *out)
{
  const Entry **list = sorted();
  fputs("{\"errors\": [", out);
  for (int i = 0; i < entries.n; i++) {
    const Diag *d = &list[i]->d;
    fprintf(out, "%s\n  {\"file\": ", i ? "," : "");
    json_string(out, source.file);
    if (d->span.begin || d->span.end) {
      Place p = source_place(d->span.begin);
      int end = d->span.begin;
      while ((size_t)end < source.length && source.text[end] != '\n' && source.text[end] != '\r') end++;
      fprintf(out, ", \"line\": %d, \"column\": %d, \"end_column\": %d", p.line, p.column,
              p.column + visible_end(d->span, end) - d->span.begin);
    } else {
      fputs(", \"line\": null, \"column\": null, \"end_column\": null", out);
    }
    fprintf(out, ", \"severity\": \"%s\", \"message\": ", severity_name(d->severity));
    json_string(out, d->message);
    fputs(", \"hint\": ", out);
    json_string(out, d->hint);
    fputc('}', out);
  }
  fprintf(out, "%s]}\n", entries.n ? "\n" : "");
}

/* ---- suggestions ----------------------------------------------------------------------------------------------------------- */

/* Edit distance with transpositions (optimal string alignment), letters compared without case; more than `limit` returns limit + 1. */
static int edit_distance(const char *a, const char *b, int limit)
{
  int n = (int)strlen(a), m = (int)strlen(b);
  if (abs(n - m) > limit || m > 255) return limit + 1;
  int row[3][256];
  for (int j = 0; j <= m; j++) row[0][j] = j;
  for (int i = 1; i <= n; i++) {
    int *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
    now[0] = i;
    for (int j = 1; j <= m; j++) {
      int p = tolower((unsigned char)a[i - 1]), q = tolower((unsigned char)b[j - 1]);
      int d = last[j - 1] + (p != q);
      if (last[j] + 1 < d) d = last[j] + 1;
      if (now[j - 1] + 1 < d) d = now[j - 1] + 1;
      if (i > 1 && j > 1 && p == tolower((unsigned char)b[j - 2]) && q == tolower((unsigned char)a[i - 2]) && before[j - 2] + 1 < d)
        d = before[j - 2] + 1;
      now[j] = d;
    }
  }
  return row[n % 3][m];
}

const char *diag_nearest(const char *name, const char *const *candidates, int n)
{
  int length = (int)strlen(name), limit = length / 3, best = limit + 1;
  const char *nearest = NULL;
  for (int i = 0; i < n; i++) {
    int d = edit_distance(name, candidates[i], limit);
    if (d >= length && strcmp(name, candidates[i])) d = length == 1 && d == 0 ? 0 : limit + 1; /* nothing in common */
    if (d < best) {
      best = d;
      nearest = candidates[i];
    }
  }
  return nearest;
}
