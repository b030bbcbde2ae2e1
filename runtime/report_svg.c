/* Charts as inline SVG. In: scales and numbers. Out: one <svg> each, drawn in units of CSS pixels at its natural width, which the page
 * shrinks to fit. No script: what a reader may want to know of a mark is in its <title>. */
#include "report_svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 560, HEIGHT = 340, LEFT = 74, RIGHT = 16, TOP = 14, BOTTOM = 48, ROW = 30, MOST_TICKS = 64, BINS = 40, LETTER = 7 };

/* ---- text ---------------------------------------------------------------------------------------------------------------------------- */

void pgm_html_text(FILE *out, const char *text)
{
  for (const char *p = text; *p; p++) {
    switch (*p) {
    case '<':
      fputs("&lt;", out);
      break;
    case '>':
      fputs("&gt;", out);
      break;
    case '&':
      fputs("&amp;", out);
      break;
    case '"':
      fputs("&quot;", out);
      break;
    default:
      putc(*p, out);
    }
  }
}

/* Thin spaces between groups of three digits before the point, a minus sign for a hyphen. */
static char *group(const char *plain, char *buffer)
{
  char *to = buffer;
  const char *at = plain;
  if (*at == '-') to = stpcpy(to, "\xe2\x88\x92"), at++;
  const size_t whole = strspn(at, "0123456789");
  for (size_t i = 0; i < whole; i++) {
    if (i && (whole - i) % 3 == 0 && whole > 4) to = stpcpy(to, "\xe2\x80\x89");
    *to++ = at[i];
  }
  strcpy(to, at + whole);
  return buffer;
}

char *pgm_html_number(double value, int digits, char buffer[48])
{
  char plain[40];
  const double size = fabs(value);
  if (!isfinite(value)) return strcpy(buffer, "\xe2\x80\x93");
  if (value == 0) return strcpy(buffer, "0");
  const int before = (int)floor(log10(size)) + 1; /* digits before the point; not positive: zeros after it */
  if (size >= 1e10 || size < 1e-4)
    snprintf(plain, sizeof plain, "%.*e", digits - 1 < 1 ? 1 : digits - 1, value);
  else
    snprintf(plain, sizeof plain, "%.*f", digits - before > 0 ? digits - before : 0, value);
  return group(plain, buffer);
}

char *pgm_html_seconds(double seconds, char buffer[48])
{
  static const struct {
    double size;
    const char *unit;
  } units[] = {{3600, "h"}, {60, "min"}, {1, "s"}, {1e-3, "ms"}, {0, "\xc2\xb5s"}};
  int k = 0;
  if (!isfinite(seconds)) return strcpy(buffer, "\xe2\x80\x93");
  while (k < 4 && seconds < (k < 2 ? 2 : 1) * units[k].size) k++;
  pgm_html_number(seconds / (k == 4 ? 1e-6 : units[k].size), 3, buffer);
  strcat(buffer, "\xe2\x80\x89");
  return strcat(buffer, units[k].unit);
}

double pgm_quantile(const double *sorted, long n, double p)
{
  const double h = (double)(n - 1) * p;
  const long i = (long)h;
  return i + 1 < n ? sorted[i] + (h - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

/* ---- scales -------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  PgmScale s;
  double from, to;
} Axis; /* pixels of lo and hi */

static double place(const Axis *a, double value)
{
  const PgmScale *s = &a->s;
  double t;
  if (s->log)
    t = value > s->lo ? log(value / s->lo) / log(s->hi / s->lo) : 0;
  else
    t = (value - s->lo) / (s->hi - s->lo);
  t = t < 0 ? 0 : t > 1 ? 1 : t;
  return s->reversed ? a->to + t * (a->from - a->to) : a->from + t * (a->to - a->from);
}

static int ticks_of(const PgmScale *s, double out[MOST_TICKS])
{
  int n = 0;
  if (s->log) {
    static const double few[] = {1}, some[] = {1, 3}, many[] = {1, 2, 5}, all[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const double decades = log10(s->hi / s->lo);
    const double *step = decades < 0.8 ? all : decades < 1.6 ? many : decades < 3.2 ? some : few;
    const int steps = decades < 0.8 ? 9 : decades < 1.6 ? 3 : decades < 3.2 ? 2 : 1, skip = decades > 8 ? 2 : 1;
    for (int k = (int)floor(log10(s->lo) - 1e-9); k <= (int)ceil(log10(s->hi)); k++) {
      if (k % skip) continue;
      for (int i = 0; i < steps && n < MOST_TICKS; i++) {
        const double v = step[i] * pow(10, k);
        if (v >= s->lo * (1 - 1e-9) && v <= s->hi * (1 + 1e-9)) out[n++] = v;
      }
    }
    return n;
  }
  const double rough = (s->hi - s->lo) / 5, power = pow(10, floor(log10(rough)));
  const double step = rough / power > 5 ? 10 * power : rough / power > 2 ? 5 * power : rough / power > 1 ? 2 * power : power;
  for (double v = ceil(s->lo / step - 1e-9) * step; v <= s->hi + 1e-9 * step && n < MOST_TICKS; v += step)
    out[n++] = fabs(v) < 1e-9 * step ? 0 : v;
  return n;
}

static void tick_text(const PgmScale *s, double value, char buffer[48])
{
  char plain[32], *to = buffer;
  if (s->unit == PGM_UNIT_SECONDS) {
    pgm_html_seconds(value, buffer);
    char *zeros = strstr(buffer, ".00"); /* "1.00 ms": ticks are round */
    if (zeros) memmove(zeros, zeros + 3, strlen(zeros + 3) + 1);
    zeros = strstr(buffer, ".0\xe2");
    if (zeros) memmove(zeros, zeros + 2, strlen(zeros + 2) + 1);
    return;
  }
  snprintf(plain, sizeof plain, fabs(value) >= 1e6 || (value != 0 && fabs(value) < 1e-4) ? "%.0e" : "%.7g", value);
  if (s->unit == PGM_UNIT_BELOW && value > 0) to = stpcpy(to, "\xe2\x88\x92");
  group(plain, to);
}

static void open_svg(FILE *out, const char *title, int width, int height)
{
  fprintf(out, "<svg class=\"chart\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"", width, height, width,
          height);
  pgm_html_text(out, title);
  fputs("\">\n", out);
}

/* Pixels that a tick's text takes, about. */
static double tick_width(const char *text)
{
  int characters = 0;
  for (; *text; text++) characters += (*text & 0xc0) != 0x80; /* UTF-8 */
  return 7 * characters;
}

/* Grid lines, ticks (texts where there is room) and the label of the horizontal axis; top and bottom in pixels. */
static void draw_x(FILE *out, const Axis *a, double top, double bottom)
{
  double tick[MOST_TICKS];
  const int n = ticks_of(&a->s, tick);
  double last = -INFINITY, last_width = 0;
  for (int i = 0; i < n; i++) {
    char text[48];
    const double x = place(a, tick[i]);
    tick_text(&a->s, tick[i], text);
    const double width = tick_width(text);
    fprintf(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", x, x, top, bottom);
    if (fabs(x - last) >= 0.5 * (width + last_width) + 4) {
      fprintf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>", x, bottom + 16, text);
      last = x;
      last_width = width;
    }
    fputs("\n", out);
  }
  fprintf(out,
          "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"label\" x=\"%.1f\" y=\"%.1f\" "
          "text-anchor=\"middle\">",
          fmin(a->from, a->to), fmax(a->from, a->to), bottom, bottom, 0.5 * (a->from + a->to), bottom + 36);
  pgm_html_text(out, a->s.label);
  fputs("</text>\n", out);
}

static void draw_y(FILE *out, const Axis *a, double left, double right)
{
  double tick[MOST_TICKS];
  const int n = ticks_of(&a->s, tick);
  const double middle = 0.5 * (a->from + a->to);
  for (int i = 0; i < n; i++) {
    char text[48];
    const double y = place(a, tick[i]);
    tick_text(&a->s, tick[i], text);
    fprintf(out,
            "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"tick\" x=\"%.1f\" y=\"%.1f\" "
            "text-anchor=\"end\">%s</text>\n",
            left, right, y, y, left - 7, y + 4, text);
  }
  fprintf(out, "<text class=\"label\" x=\"14\" y=\"%.1f\" text-anchor=\"middle\" transform=\"rotate(-90 14 %.1f)\">", middle, middle);
  pgm_html_text(out, a->s.label);
  fputs("</text>\n", out);
}

/* ---- lines --------------------------------------------------------------------------------------------------------------------------- */

/* Points nearer than half a pixel to the one before are left out, but for the last. */
static void draw_line(FILE *out, const Axis *x, const Axis *y, const PgmLine *line)
{
  double before_x = -1e9, before_y = -1e9;
  fprintf(out, "<polyline class=\"path\" style=\"--c:%s\" points=\"", line->colour);
  for (long i = 0; i < line->n; i++) {
    if (!isfinite(line->x[i]) || !isfinite(line->y[i])) continue;
    const double px = place(x, line->x[i]), py = place(y, line->y[i]);
    if (i + 1 < line->n && fabs(px - before_x) < 0.5 && fabs(py - before_y) < 0.5) continue;
    fprintf(out, "%.1f,%.1f ", before_x = px, before_y = py);
  }
  fputs("\"><title>", out);
  pgm_html_text(out, line->name);
  fprintf(out, "</title></polyline><circle class=\"end\" style=\"--c:%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\"/>\n", line->colour, before_x,
          before_y);
}

/* Name after name, each with its colour, as many to a line as there is room; returns the height. */
static int draw_legend(FILE *out, const PgmLine *line, int n, int width, int top, bool draw)
{
  int x = LEFT, y = top + 12;
  for (int i = 0; i < n; i++) {
    if (i && !strcmp(line[i].name, line[i - 1].name)) continue;
    const int w = 30 + LETTER * (int)strlen(line[i].name);
    if (x + w > width - RIGHT && x > LEFT) x = LEFT, y += 18;
    if (draw) {
      fprintf(out, "<line class=\"key\" style=\"--c:%s\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/><text class=\"tick\" x=\"%d\" y=\"%d\">",
              line[i].colour, x, x + 16, y - 4, y - 4, x + 21, y);
      pgm_html_text(out, line[i].name);
      fputs("</text>\n", out);
    }
    x += w;
  }
  return y - top + 10;
}

void pgm_svg_lines(FILE *out, const char *title, PgmScale x, PgmScale y, const PgmLine *line, int n)
{
  const int legend = draw_legend(out, line, n, WIDTH, 0, false), top = TOP + legend, height = HEIGHT + legend;
  const Axis ax = {x, LEFT, WIDTH - RIGHT}, ay = {y, height - BOTTOM, top};
  open_svg(out, title, WIDTH, height);
  draw_legend(out, line, n, WIDTH, 0, true);
  draw_x(out, &ax, top, height - BOTTOM);
  draw_y(out, &ay, LEFT, WIDTH - RIGHT);
  for (int i = 0; i < n; i++)
    if (line[i].n) draw_line(out, &ax, &ay, &line[i]);
  fputs("</svg>\n", out);
}

/* ---- rows ---------------------------------------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static int name_room(int longest)
{
  const int room = 14 + LETTER * longest;
  return room < 60 ? 60 : room > 300 ? 300 : room;
}

static void row_name(FILE *out, const char *name, int left, double y)
{
  fprintf(out, "<text class=\"row\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", left - 8, y + 4);
  pgm_html_text(out, name);
  fputs("</text>", out);
}

static void draw_box(FILE *out, const Axis *a, const PgmBoxRow *row, double y, PgmTickUnit unit)
{
  double *v = malloc((size_t)row->n * sizeof *v);
  char text[48];
  if (!v) return;
  memcpy(v, row->value, (size_t)row->n * sizeof *v);
  qsort(v, (size_t)row->n, sizeof *v, ascending);
  const double least = place(a, v[0]), most = place(a, v[row->n - 1]), q1 = place(a, pgm_quantile(v, row->n, 0.25)),
               q3 = place(a, pgm_quantile(v, row->n, 0.75));
  const double median = pgm_quantile(v, row->n, 0.5), m = place(a, median);
  if (unit == PGM_UNIT_SECONDS)
    pgm_html_seconds(median, text);
  else
    pgm_html_number(median, 3, text);
  fprintf(out, "<g style=\"--c:%s\"><title>", row->colour);
  pgm_html_text(out, row->name);
  fprintf(out, ": median %s of %d</title>", text, row->n);
  if (row->n >= 5)
    fprintf(out,
            "<line class=\"whisker\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/><rect class=\"box\" x=\"%.1f\" y=\"%.1f\" "
            "width=\"%.1f\" height=\"16\"/>"
            "<line class=\"median\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
            least, most, y, y, q1, y - 8, fmax(q3 - q1, 1), m, m, y - 8, y + 8);
  for (int i = 0; i < row->n; i++) fprintf(out, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", place(a, v[i]), y);
  fputs("</g>", out);
  free(v);
}

void pgm_svg_boxes(FILE *out, const char *title, PgmScale x, const PgmBoxRow *row, int n)
{
  int longest = 0;
  bool never = false;
  for (int i = 0; i < n; i++) {
    const int k = (int)strlen(row[i].name);
    if (k > longest) longest = k;
    never = never || row[i].never;
  }
  const int left = name_room(longest), right = never ? 112 : RIGHT, height = TOP + n * ROW + BOTTOM;
  const Axis a = {x, left, WIDTH - right};
  open_svg(out, title, WIDTH, height);
  draw_x(out, &a, TOP, height - BOTTOM);
  for (int i = 0; i < n; i++) {
    const double y = TOP + (i + 0.5) * ROW;
    row_name(out, row[i].name, left, y);
    if (row[i].n) draw_box(out, &a, &row[i], y, x.unit);
    if (row[i].never)
      fprintf(out, "<text class=\"never\" x=\"%d\" y=\"%.1f\">%d of %d never</text>", WIDTH - right + 8, y + 4, row[i].never,
              row[i].never + row[i].n);
    putc('\n', out);
  }
  fputs("</svg>\n", out);
}

void pgm_svg_bars(FILE *out, const char *title, PgmScale x, double limit, const char *limit_name, const PgmBarRow *row, int n)
{
  int longest = 0, notes = 0;
  for (int i = 0; i < n; i++) {
    const int k = (int)strlen(row[i].name) + (row[i].sub ? 2 : 0), l = row[i].note ? (int)strlen(row[i].note) : 0;
    if (k > longest) longest = k;
    if (l > notes) notes = l;
  }
  const int left = name_room(longest), right = 20 + LETTER * notes, top = TOP + (isfinite(limit) ? 14 : 0), height = top + n * ROW + BOTTOM;
  const Axis a = {x, left, WIDTH - right};
  open_svg(out, title, WIDTH, height);
  draw_x(out, &a, top, height - BOTTOM);
  if (isfinite(limit)) {
    const double at = place(&a, limit);
    fprintf(out,
            "<line class=\"limit\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/><text class=\"tick\" x=\"%.1f\" y=\"%d\" "
            "text-anchor=\"middle\">",
            at, at, top - 4, height - BOTTOM, at, top - 8);
    pgm_html_text(out, limit_name);
    fputs("</text>\n", out);
  }
  for (int i = 0; i < n; i++) {
    const double y = top + (i + 0.5) * ROW, thick = row[i].sub ? 9 : 16;
    row_name(out, row[i].name, left, y);
    if (isfinite(row[i].value) && row[i].value > x.lo) {
      const double end = place(&a, row[i].value);
      fprintf(out, "<rect class=\"bar%s\" style=\"--c:%s\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\"/>", row[i].sub ? " sub" : "",
              row[i].colour, left, y - thick / 2, fmax(end - left, 0.5), thick);
      if (row[i].error > 0)
        fprintf(out, "<line class=\"error\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
                place(&a, fmax(row[i].value - row[i].error, x.lo)), place(&a, row[i].value + row[i].error), y, y);
    }
    if (row[i].note) {
      const double end = isfinite(row[i].value) ? place(&a, fmax(row[i].value + fmax(row[i].error, 0), x.lo)) : left;
      fprintf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">", end + 7, y + 4);
      pgm_html_text(out, row[i].note);
      fputs("</text>", out);
    }
    putc('\n', out);
  }
  fputs("</svg>\n", out);
}

void pgm_svg_histogram(FILE *out, const char *title, PgmScale x, const char *colour, const double *value, long n)
{
  long count[BINS] = {0}, most = 1;
  if (!(x.hi > x.lo)) x.hi = x.lo + 1;
  for (long i = 0; i < n; i++) {
    long bin = (long)((value[i] - x.lo) / (x.hi - x.lo) * BINS);
    bin = bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
    if (++count[bin] > most) most = count[bin];
  }
  const PgmScale y = {.label = "units", .lo = 0, .hi = (double)most * 1.05};
  const Axis ax = {x, LEFT, WIDTH - RIGHT}, ay = {y, HEIGHT - 60 - BOTTOM, TOP};
  open_svg(out, title, WIDTH, HEIGHT - 60);
  draw_x(out, &ax, TOP, HEIGHT - 60 - BOTTOM);
  draw_y(out, &ay, LEFT, WIDTH - RIGHT);
  for (int b = 0; b < BINS; b++) {
    const double step = (double)(WIDTH - RIGHT - LEFT) / BINS, y1 = place(&ay, (double)count[b]);
    if (count[b])
      fprintf(out,
              "<rect class=\"bar\" style=\"--c:%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%ld units</title></rect>\n",
              colour, LEFT + b * step + 0.5, y1, step - 1, ay.from - y1, count[b]);
  }
  fputs("</svg>\n", out);
}
