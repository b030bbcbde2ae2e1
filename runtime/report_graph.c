/* The model's graph as inline SVG. In: the Graphviz text that the compiler put into the binary (compiler/report.c): nodes, plates as nested
 * clusters, edges, one statement to a line. Out: a Bayesian network with plates. A factor with a child becomes arrows from what it refers
 * to to that child; one without stays a square.
 *
 * Layout: plates from the inside out. The items of a plate (its variables and inner plates) stand in layers, each one below what it depends
 * on, ordered within a layer by where their parents stand (Sugiyama, Tagawa & Toda 1981, one sweep). References to other elements (x[n-1],
 * alpha[county[i]]) do not count for the layers and are dashed. */
#include "report_graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report_svg.h"

enum { MOST_NODES = 80, MOST_EDGES = 320, MOST_PLATES = 40, TEXT = 160, LETTER = 8 };
static const double NODE_HEIGHT = 34, ACROSS = 26, DOWN = 44, PAD = 16, PLATE_LABEL = 16;

typedef enum { LATENT, OBSERVED, INPUT, COMPUTED, FACTOR } Kind;

typedef struct {
  char id[16], label[TEXT], title[2 * TEXT];
  Kind kind;
  bool marked, hidden;     /* on the path that carries the dependence away; hidden: a factor that became arrows */
  int plate;               /* -1: none */
  double x, y, w, h, loop; /* centre; size; room to the right of it for a way back to itself */
} Node;

typedef struct {
  int from, to;
  char label[TEXT];
  bool marked, other; /* other: it refers to another element */
} Edge;

typedef struct {
  char label[TEXT];
  int parent;
  double x, y, w, h; /* top left; size */
} Plate;

typedef struct {
  int nodes, edges, plates;
  Node node[MOST_NODES];
  Edge edge[MOST_EDGES];
  Plate plate[MOST_PLATES];
} Graph;

/* ---- reading ------------------------------------------------------------------------------------------------------------------------- */

/* The value of attribute `name` in a line, or false. */
static bool attribute(const char *line, const char *name, char out[TEXT])
{
  const size_t length = strlen(name);
  for (const char *at = line; (at = strstr(at, name)); at += length) {
    if (at[length] != '=' || (at > line && at[-1] != ' ' && at[-1] != '[')) continue;
    const char *from = at + length + 1;
    size_t n = 0;
    const bool quoted = *from == '"';
    for (from += quoted; *from && (quoted ? *from != '"' : !strchr(",];", *from)) && n + 1 < TEXT; from++) {
      if (*from == '\\' && from[1]) from++;
      out[n++] = *from;
    }
    out[n] = '\0';
    return true;
  }
  return false;
}

static int find_node(const Graph *g, const char *id)
{
  for (int i = 0; i < g->nodes; i++)
    if (!strcmp(g->node[i].id, id)) return i;
  return -1;
}

static bool read_node(Graph *g, const char *line, const char *id, int plate)
{
  char shape[TEXT] = "", color[TEXT] = "", style[TEXT] = "", fill[TEXT] = "", tooltip[TEXT] = "";
  if (g->nodes == MOST_NODES) return false;
  Node *v = &g->node[g->nodes++];
  *v = (Node){.plate = plate};
  snprintf(v->id, sizeof v->id, "%s", id);
  attribute(line, "shape", shape);
  attribute(line, "color", color);
  attribute(line, "style", style);
  attribute(line, "fillcolor", fill);
  attribute(line, "tooltip", tooltip);
  attribute(line, "label", v->label);
  snprintf(v->title, sizeof v->title, "%s", tooltip);
  v->kind = !strcmp(shape, "square")      ? FACTOR
            : !strcmp(shape, "plaintext") ? INPUT
            : !strcmp(shape, "diamond")   ? COMPUTED
            : style[0]                    ? OBSERVED
                                          : LATENT;
  v->marked = !strcmp(color, "red") || (v->kind == FACTOR && !strcmp(fill, "red"));
  return true;
}

static bool read_edge(Graph *g, const char *line, const char *from, const char *to)
{
  char color[TEXT] = "";
  const int a = find_node(g, from), b = find_node(g, to);
  if (a < 0 || b < 0 || g->edges == MOST_EDGES) return false;
  Edge *e = &g->edge[g->edges++];
  *e = (Edge){.from = a, .to = b};
  attribute(line, "label", e->label);
  attribute(line, "color", color);
  e->marked = !strcmp(color, "red");
  return true;
}

static bool read_line(Graph *g, const char *line, int *plate, int *depth)
{
  char first[16], second[16], text[TEXT];
  int end = 0;
  while (*line == ' ') line++;
  if (!strncmp(line, "subgraph", 8)) {
    if (g->plates == MOST_PLATES) return false;
    g->plate[g->plates] = (Plate){.parent = *plate};
    *plate = g->plates++;
    ++*depth;
  } else if (*line == '}') {
    if (*plate >= 0) *plate = g->plate[*plate].parent;
    --*depth;
  } else if (sscanf(line, "%15[fv0-9] -> %15[fv0-9]", first, second) == 2) {
    return read_edge(g, line, first, second);
  } else if (sscanf(line, "%15[fv0-9] [%n", first, &end) == 1 && end) {
    return read_node(g, line, first, *plate);
  } else if (*plate >= 0 && !strncmp(line, "label=", 6) && attribute(line, "label", text)) {
    memcpy(g->plate[*plate].label, text, TEXT);
  }
  return true;
}

static bool read_dot(Graph *g, const char *dot)
{
  int plate = -1, depth = 1;
  const char *at = strchr(dot, '\n');
  while (at && *++at) {
    char line[4 * TEXT];
    const size_t length = strcspn(at, "\n");
    snprintf(line, sizeof line, "%.*s", (int)length, at);
    if (!read_line(g, line, &plate, &depth)) return false;
    at = strchr(at, '\n');
  }
  return depth == 0 && g->nodes > 0;
}

/* Factors with a child become arrows to it. */
static void join_factors(Graph *g)
{
  int child[MOST_NODES], n = 0;
  for (int i = 0; i < g->nodes; i++) child[i] = -1;
  for (int k = 0; k < g->edges; k++)
    if (g->node[g->edge[k].from].kind == FACTOR) child[g->edge[k].from] = g->edge[k].to;
  for (int i = 0; i < g->nodes; i++) {
    if (child[i] < 0) continue;
    Node *v = &g->node[child[i]];
    const size_t used = strlen(v->title);
    snprintf(v->title + used, sizeof v->title - used, "%s%s", used ? "\n" : "", g->node[i].title);
    v->marked = v->marked || g->node[i].marked;
    g->node[i].hidden = true;
  }
  for (int k = 0; k < g->edges; k++) {
    Edge e = g->edge[k];
    if (g->node[e.from].hidden) continue;
    if (child[e.to] >= 0) e.to = child[e.to];
    e.other = e.label[0] && strcmp(e.label, g->node[e.from].label);
    int same = 0;
    while (same < n && !(g->edge[same].from == e.from && g->edge[same].to == e.to && !strcmp(g->edge[same].label, e.label))) same++;
    if (same < n)
      g->edge[same].marked = g->edge[same].marked || e.marked;
    else
      g->edge[n++] = e;
  }
  g->edges = n;
}

/* ---- layout -------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  bool plate;
  int index, layer;
  double w, h, key;
} Item;

/* The item among `n` that holds node v, or -1. */
static int item_of(const Graph *g, const Item *item, int n, int v)
{
  for (int i = 0; i < n; i++) {
    if (!item[i].plate && item[i].index == v) return i;
    for (int p = g->node[v].plate; item[i].plate && p >= 0; p = g->plate[p].parent)
      if (p == item[i].index) return i;
  }
  return -1;
}

/* Moves everything that an item holds. */
static void move_item(Graph *g, const Item *item, double x, double y)
{
  if (!item->plate) {
    g->node[item->index].x = x + g->node[item->index].w / 2;
    g->node[item->index].y = y + item->h / 2;
    return;
  }
  for (int p = 0; p < g->plates; p++)
    for (int up = p; up >= 0; up = g->plate[up].parent)
      if (up == item->index) g->plate[p].x += x, g->plate[p].y += y;
  for (int v = 0; v < g->nodes; v++)
    for (int up = g->node[v].plate; up >= 0; up = g->plate[up].parent)
      if (up == item->index) g->node[v].x += x, g->node[v].y += y;
}

/* Each item below those it depends on; those without parents as low as their children let them. Returns the number of layers. */
static int find_layers(const Graph *g, Item *item, int n)
{
  int layers = 0;
  for (int round = 0; round < n; round++)
    for (int k = 0; k < g->edges; k++) {
      const int a = item_of(g, item, n, g->edge[k].from), b = item_of(g, item, n, g->edge[k].to);
      if (a < 0 || b < 0 || a == b || g->edge[k].other) continue;
      if (item[b].layer <= item[a].layer && item[a].layer + 1 < n) item[b].layer = item[a].layer + 1;
    }
  for (int i = 0; i < n; i++) {
    int lowest = n;
    bool root = true;
    for (int k = 0; k < g->edges; k++) {
      const int a = item_of(g, item, n, g->edge[k].from), b = item_of(g, item, n, g->edge[k].to);
      if (a < 0 || b < 0 || a == b) continue;
      if (b == i && !g->edge[k].other) root = false;
      if (a == i && item[b].layer < lowest) lowest = item[b].layer;
    }
    if (root && lowest < n && lowest > 0) item[i].layer = lowest - 1;
  }
  for (int i = 0; i < n; i++)
    if (item[i].layer + 1 > layers) layers = item[i].layer + 1;
  return layers;
}

static int by_key(const void *a, const void *b)
{
  const Item *x = a, *y = b;
  return x->layer != y->layer ? x->layer - y->layer : (x->key > y->key) - (x->key < y->key);
}

/* Where an item's parents stand, on average; its own place where it has none. */
static double parents_at(const Graph *g, const Item *item, int n, int i)
{
  double sum = 0;
  int count = 0;
  for (int k = 0; k < g->edges; k++) {
    const int a = item_of(g, item, n, g->edge[k].from), b = item_of(g, item, n, g->edge[k].to);
    if (b != i || a < 0 || a == i || item[a].layer >= item[i].layer) continue;
    sum += item[a].key;
    count++;
  }
  return count ? sum / count : item[i].key;
}

/* Places the items of a plate (-1: the whole) from (0, 0) on, and tells their size. */
static void place(Graph *g, int plate, double *width, double *height)
{
  Item item[MOST_NODES + MOST_PLATES];
  double row_width[MOST_NODES + MOST_PLATES] = {0}, row_height[MOST_NODES + MOST_PLATES] = {0}, y = 0;
  int n = 0;
  *width = *height = 0;
  for (int p = 0; p < g->plates; p++) {
    if (g->plate[p].parent != plate) continue;
    double w, h;
    place(g, p, &w, &h);
    const double label = 14 + LETTER * (double)strlen(g->plate[p].label);
    g->plate[p].w = fmax(w, label) + 2 * PAD;
    g->plate[p].h = h + 2 * PAD + PLATE_LABEL;
    const Item inside = {.plate = true, .index = p};
    g->plate[p].x = g->plate[p].y = 0;
    move_item(g, &inside, PAD + (fmax(w, label) - w) / 2, PAD);
    g->plate[p].x = g->plate[p].y = 0; /* its own corner stays */
    item[n++] = (Item){.plate = true, .index = p, .w = g->plate[p].w, .h = g->plate[p].h};
  }
  for (int v = 0; v < g->nodes; v++)
    if (!g->node[v].hidden && g->node[v].plate == plate)
      item[n++] = (Item){.index = v, .w = g->node[v].w + g->node[v].loop, .h = g->node[v].h};
  const int layers = find_layers(g, item, n);
  for (int i = 0; i < n; i++) item[i].key = i;
  for (int layer = 0; layer < layers; layer++) {
    double key[MOST_NODES + MOST_PLATES];
    for (int i = 0; i < n; i++) key[i] = item[i].layer == layer ? parents_at(g, item, n, i) + 1e-3 * i : item[i].key;
    for (int i = 0; i < n; i++) item[i].key = key[i];
  }
  qsort(item, (size_t)n, sizeof *item, by_key);
  for (int i = 0; i < n; i++) {
    row_width[item[i].layer] += item[i].w + (row_width[item[i].layer] > 0 ? ACROSS : 0);
    row_height[item[i].layer] = fmax(row_height[item[i].layer], item[i].h);
  }
  for (int layer = 0; layer < layers; layer++) *width = fmax(*width, row_width[layer]);
  for (int layer = 0, i = 0; layer < layers; layer++) {
    double x = (*width - row_width[layer]) / 2;
    for (; i < n && item[i].layer == layer; i++) {
      move_item(g, &item[i], x, y + (row_height[layer] - item[i].h) / 2);
      x += item[i].w + ACROSS;
    }
    y += row_height[layer] + (row_height[layer] > 0 && layer + 1 < layers ? DOWN : 0);
  }
  *height = y;
}

/* ---- drawing ------------------------------------------------------------------------------------------------------------------------- */

/* Where the ray from the centre of v towards (x, y) leaves it. */
static void border(const Node *v, double x, double y, double *bx, double *by)
{
  const double dx = x - v->x, dy = y - v->y, a = v->w / 2 + 2, b = v->h / 2 + 2;
  double t;
  if (!dx && !dy)
    t = 0;
  else if (v->kind == LATENT || v->kind == OBSERVED)
    t = 1 / sqrt(dx * dx / (a * a) + dy * dy / (b * b));
  else
    t = fmin(dx ? a / fabs(dx) : 1e9, dy ? b / fabs(dy) : 1e9);
  *bx = v->x + t * dx;
  *by = v->y + t * dy;
}

/* How many points of the curve from a to b, bent through (cx, cy), lie in other nodes? */
static int in_the_way(const Graph *g, const Node *a, const Node *b, double cx, double cy)
{
  int hits = 0;
  for (int i = 0; i < g->nodes; i++) {
    const Node *v = &g->node[i];
    if (v == a || v == b || v->hidden) continue;
    for (int k = 1; k < 24; k++) {
      const double t = k / 24.0, s = 1 - t, x = s * s * a->x + 2 * s * t * cx + t * t * b->x,
                   y = s * s * a->y + 2 * s * t * cy + t * t * b->y;
      hits += fabs(x - v->x) < v->w / 2 + 4 && fabs(y - v->y) < v->h / 2 + 4;
    }
  }
  return hits;
}

/* The bend, in pixels to the right of the way from a to b, that runs into least. */
static double choose_bend(const Graph *g, const Edge *e)
{
  static const double bends[] = {0, 45, -45, 80, -80, 120, -120, 170, -170};
  const Node *a = &g->node[e->from], *b = &g->node[e->to];
  const double dx = b->x - a->x, dy = b->y - a->y, length = fmax(hypot(dx, dy), 1);
  double best = 0;
  int fewest = -1;
  for (size_t k = e->other ? 1 : 0; k < sizeof bends / sizeof *bends; k++) { /* a reference to another element is never straight */
    const int hits = in_the_way(g, a, b, (a->x + b->x) / 2 - bends[k] * dy / length, (a->y + b->y) / 2 + bends[k] * dx / length);
    if (fewest >= 0 && hits >= fewest) continue;
    fewest = hits;
    best = bends[k];
  }
  return best;
}

static void edge_label(FILE *out, const Edge *e, double x, double y, bool left)
{
  if (!e->other) return;
  fprintf(out, "<text class=\"edge-label\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, left ? "end" : "start");
  pgm_html_text(out, e->label);
  fputs("</text>", out);
}

static void draw_edge(FILE *out, const Graph *g, const Edge *e)
{
  const Node *a = &g->node[e->from], *b = &g->node[e->to];
  const char *class = e->marked ? "edge marked" : "edge", *head = e->marked ? "head-marked" : "head";
  double x1, y1, x2, y2;
  fprintf(out, "<path class=\"%s%s\" marker-end=\"url(#%s)\" d=\"", class, e->other ? " other" : "", head);
  if (a == b) { /* a chain: back to itself */
    const double x = a->x + a->w / 2, y = a->y;
    fprintf(out, "M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f\"/>", x - 4, y - 10, x + 34, y - 26, x + 34, y + 26, x - 1, y + 11);
    edge_label(out, e, x + 30, y + 4, false);
    return;
  }
  const double dx = b->x - a->x, dy = b->y - a->y, length = fmax(hypot(dx, dy), 1), bend = choose_bend(g, e);
  const double cx = (a->x + b->x) / 2 - bend * dy / length, cy = (a->y + b->y) / 2 + bend * dx / length;
  border(a, cx, cy, &x1, &y1);
  border(b, cx, cy, &x2, &y2);
  fprintf(out, "M%.1f %.1f Q%.1f %.1f %.1f %.1f\"/>", x1, y1, cx, cy, x2, y2);
  const double lx = (x1 + 2 * cx + x2) / 4, ly = (y1 + 2 * cy + y2) / 4;
  const bool left = cx < (a->x + b->x) / 2;
  edge_label(out, e, lx + (left ? -5 : 5), ly + 4, left);
}

static void draw_node(FILE *out, const Node *v)
{
  static const char *const classes[] = {"latent", "observed", "input", "computed", "factor"};
  fprintf(out, "<g class=\"node %s%s\"><title>", classes[v->kind], v->marked ? " marked" : "");
  pgm_html_text(out, v->title[0] ? v->title : v->label);
  fputs("</title>", out);
  if (v->kind == LATENT || v->kind == OBSERVED)
    fprintf(out, "<ellipse cx=\"%.1f\" cy=\"%.1f\" rx=\"%.1f\" ry=\"%.1f\"/>", v->x, v->y, v->w / 2, v->h / 2);
  else if (v->kind == FACTOR)
    fprintf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"12\"/>", v->x - 6, v->y - 6);
  else if (v->kind == COMPUTED)
    fprintf(out, "<rect rx=\"4\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", v->x - v->w / 2, v->y - v->h / 2, v->w, v->h);
  if (v->kind != FACTOR) {
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", v->x, v->y + 4.5);
    pgm_html_text(out, v->label);
    fputs("</text>", out);
  }
  fputs("</g>\n", out);
}

static void draw(FILE *out, const Graph *g, double width, double height)
{
  const double margin = 10, side = 84;
  bool marked = false;
  for (int k = 0; k < g->edges; k++) marked = marked || g->edge[k].marked;
  for (int i = 0; i < g->nodes; i++) marked = marked || g->node[i].marked;
  const double w = width + 2 * side, h = height + 2 * margin;
  fprintf(out,
          "<svg class=\"graph\" viewBox=\"%.0f %.0f %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" role=\"img\" aria-label=\"The model's "
          "graph\">\n",
          -side, -margin, w, h, w, h);
  fputs("<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\" "
        "markerUnits=\"userSpaceOnUse\">"
        "<path class=\"head\" d=\"M0 0.5 L8 4 L0 7.5 z\"/></marker>"
        "<marker id=\"head-marked\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"9\" markerHeight=\"9\" orient=\"auto\" "
        "markerUnits=\"userSpaceOnUse\">"
        "<path class=\"head marked\" d=\"M0 0.5 L8 4 L0 7.5 z\"/></marker></defs>\n",
        out);
  for (int p = 0; p < g->plates; p++) {
    const Plate *q = &g->plate[p];
    fprintf(out,
            "<rect class=\"plate\" rx=\"10\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/><text class=\"plate-label\" x=\"%.1f\" "
            "y=\"%.1f\" text-anchor=\"end\">",
            q->x, q->y, q->w, q->h, q->x + q->w - 10, q->y + q->h - 9);
    pgm_html_text(out, q->label);
    fputs("</text>\n", out);
  }
  for (int k = 0; k < g->edges; k++) {
    draw_edge(out, g, &g->edge[k]);
    putc('\n', out);
  }
  for (int i = 0; i < g->nodes; i++)
    if (!g->node[i].hidden) draw_node(out, &g->node[i]);
  fputs("</svg>\n<p class=\"key-line\">Round: random; filled: observed; square: computed; bare: known input. Dashed: a reference to "
        "another element.",
        out);
  if (marked) fputs(" <span class=\"bad\">Marked: how the dependence leaves every bounded domain.</span>", out);
  fputs("</p>\n", out);
}

bool pgm_svg_graph(FILE *out, const char *dot)
{
  Graph *g = calloc(1, sizeof *g);
  double width, height;
  if (!g || !read_dot(g, dot)) {
    free(g);
    return false;
  }
  join_factors(g);
  for (int i = 0; i < g->nodes; i++) {
    Node *v = &g->node[i];
    v->w = v->kind == FACTOR ? 14 : fmax(46, 20 + LETTER * (double)strlen(v->label));
    v->h = v->kind == FACTOR ? 14 : NODE_HEIGHT;
  }
  for (int k = 0; k < g->edges; k++)
    if (g->edge[k].from == g->edge[k].to)
      g->node[g->edge[k].from].loop = fmax(g->node[g->edge[k].from].loop, 36 + LETTER * (double)strlen(g->edge[k].label));
  place(g, -1, &width, &height);
  draw(out, g, width, height);
  free(g);
  return true;
}
