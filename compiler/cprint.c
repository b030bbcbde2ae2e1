/* Kernels -> C. See cprint.h. */
#include "cprint.h"
#include "build.h"
#include "lanes.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---------------------------------------------------------------------------------------------------------------------------- */

/* Words that emitted code uses itself, keywords, and macros and functions of the headers that are not capitals (see is_reserved). */
static const char *const reserved[] = {
  "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float", "for", "goto", "if", "inline",
  "int", "long", "register", "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void",
  "volatile", "while", "bool", "true", "false", "asm", "typeof", "main", "size_t", "offsetof", "alloca", "assert", "errno", "linux", "unix", "stdin", "stdout",
  "stderr", "isfinite", "isinf", "isnan", "isnormal", "fpclassify", "signbit", "isgreater", "isgreaterequal", "isless", "islessequal", "islessgreater",
  "isunordered", "math_errhandling", "be16toh", "be32toh", "be64toh", "le16toh", "le32toh", "le64toh", "htobe16", "htobe32", "htobe64", "htole16",
  "htole32", "htole64", "pow", "fmax", "fmin", "malloc", "free", "memset", "memcpy", "gamma", "j0", "j1", "jn", "y0", "y1", "yn", "signgam", "at", "array", "count",
  "defined", "draw", "e", "env", "first", "index", "lane", "lanes", "lower", "miss", "most", "n_", "ok", "out", "pgm", "rng", "rt", "scratch", "shape", "sink", "span", "strip", "total", "unit",
  "units", "strip", "lane", "lanes", "upper", "value", "w", "weight", "where", "quad_n", "quad_x", "quad_w", "cblas", "gsl"};

static bool has_prefix(const char *s, const char *prefix) { return !strncmp(s, prefix, strlen(prefix)); }

static bool is_reserved(const char *name)
{
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
    if (!strcmp(name, reserved[i])) return true;
  for (int i = 0; i < FN_COUNT_; i++)
    if (!strcmp(name, fn_c_name[i])) return true;
  if (has_prefix(name, "pgm_") || has_prefix(name, "Pgm") || has_prefix(name, "cblas_") || has_prefix(name, "Cblas") || name[0] == '_') return true;
  /* macros: capitals, of three letters or with an underscore */
  size_t capitals = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
  if (capitals && (name[capitals] == '_' || (!name[capitals] && capitals > 2))) return true;
  /* fields of the env: room0_k1, term0_lo, z_ref1 */
  if ((has_prefix(name, "room") || has_prefix(name, "term")) && isdigit((unsigned char)name[4])) return true;
  for (const char *ref = name; (ref = strstr(ref, "_ref")); ref++)
    if (isdigit((unsigned char)ref[4])) return true;
  return false;
}

static struct { int n; Name *name; const char **c; } names;

/* Is it taken by another name, or by the lowest index and the length of a family that has indices, or what is present of an observed one? */
static bool is_taken(const Model *m, const char *c)
{
  for (int i = 0; i < names.n; i++)
    if (!strcmp(names.c[i], c)) return true;
  for (int i = 0; i < m->families.n; i++) {
    const char *f = m->families.at[i].name;
    size_t n = strlen(f);
    if (m->families.at[i].n_index && !strncmp(c, f, n) && (!strcmp(c + n, "_lo") || !strcmp(c + n, "_n"))) return true;
    if (m->families.at[i].role == ROLE_OBSERVED && !strncmp(c, f, n) && !strcmp(c + n, "_present")) return true;
  }
  return false;
}

static void add_name(const Model *m, Name name)
{
  for (int i = 0; i < names.n; i++)
    if (names.name[i] == name) return;
  const char *c = name[strlen(name) - 1] == '_' || is_reserved(name) ? arena_printf("%s_", name) : name;
  while (is_taken(m, c)) c = arena_printf("%s_", c);
  names.name[names.n] = name, names.c[names.n++] = c;
}

void c_names(const Model *m)
{
  names.n = 0;
  names.name = NEW_ARRAY(Name, m->families.n + m->vars.n + 1), names.c = NEW_ARRAY(const char *, m->families.n + m->vars.n + 1);
  for (int i = 0; i < m->families.n; i++) add_name(m, m->families.at[i].name);
  for (int i = 0; i < m->vars.n; i++) add_name(m, m->vars.at[i].name);
}

const char *c_name(const char *name)
{
  for (int i = 0; i < names.n; i++)
    if (names.name[i] == name) return names.c[i];
  return name;
}

const char *c_axis(const Dag *d, int axis)
{
  const char *name = c_name(d->axes.at[axis].name);
  int before = 0;
  for (int a = 0; a < axis; a++) before += !strcmp(c_name(d->axes.at[a].name), name);
  return before ? arena_printf("%s_%d_", name, before + 1) : name;
}

/* Is the name in use in the function, or that of a variable of some loop? */
static bool is_used(const CPrint *p, const char *name)
{
  static const char *const words[] = {"e", "span", "unit", "strip", "lane", "lanes", "scratch", "env", "out", "rng", "k_"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (!strcmp(words[i], name)) return true;
  for (int i = 0; i < p->names.n; i++)
    if (!strcmp(p->names.at[i], name)) return true;
  for (int a = 0; a < p->d->axes.n; a++)
    if (!strcmp(c_axis(p->d, a), name)) return true;
  for (int i = 0; i < p->d->model->vars.n; i++)
    if (!strcmp(c_name(p->d->model->vars.at[i].name), name)) return true;
  return false;
}

static const char *unique(CPrint *p, const char *name)
{
  while (is_used(p, name)) name = arena_printf("%s_", name);
  VEC_PUSH(p->names, name);
  return name;
}

const char *cprint_declare(CPrint *p, const char *key, const char *type, const char *name)
{
  for (int i = 0; i < p->declared.n; i++)
    if (!strcmp(p->declared.at[i].key, key)) return p->declared.at[i].name;
  name = unique(p, name);
  VEC_PUSH(p->declared, (Declared){key, type, name});
  sb_printf(&p->declarations, "  %s%s = %s;\n", type, name, key);
  return name;
}

void cprint_line(CPrint *p, const char *format, ...)
{
  va_list args;
  sb_printf(&p->body, "%*s", p->indent * 2, "");
  va_start(args, format);
  sb_vprintf(&p->body, format, args);
  va_end(args);
  sb_putc(&p->body, '\n');
}

/* ---- expressions ---------------------------------------------------------------------------------------------------------------------------- */

enum { P_COND = 1, P_OR, P_AND, P_EQ, P_REL, P_ADD, P_MUL, P_UNARY, P_POST };

static const char *number_text(double v)
{
  if (isnan(v)) return "NAN";
  if (isinf(v)) return v > 0 ? "INFINITY" : "(-INFINITY)";
  const char *t = NULL;
  for (int digits = 1; digits <= 17; digits++) {
    t = arena_printf("%.*g", digits, v);
    if (strtod(t, NULL) == v) break;
  }
  if (!strpbrk(t, ".e")) t = arena_printf("%s.0", t);
  return t;
}

static const char *paren(const char *text, int prec, int outer) { return prec < outer ? arena_printf("(%s)", text) : text; }

static const char *expr(CPrint *p, Node n, int outer);

static const char *axis_name(CPrint *p, int axis) { return c_axis(p->d, axis); }
static bool span_axis(const CPrint *p, int axis) { return p->span && p->d->axes.at[axis].kind == AX_UNIT; }

const char *cprint_room(const Dag *d, int axis) { return arena_printf("room%d_%s%d", d->number, d->axes.at[axis].name, axis); }

static const char *extent_text(CPrint *p, int axis)
{
  const Axis *a = &p->d->axes.at[axis];
  if (span_axis(p, axis)) return "span->count";
  if (a->kind == AX_QUADRATURE) return cprint_declare(p, "e->rt.quad_n", "const int ", "quad_n");
  return expr(p, dag_room(p->d, axis), P_MUL);
}

/* Coordinate of an axis in an array, for the current loop or for an index node. */
static const char *coordinate(CPrint *p, int axis, Node index)
{
  const Axis *a = &p->d->axes.at[axis];
  if (index < 0 && span_axis(p, axis)) return "unit";
  if (index < 0) index = x_axis(p->d, axis);
  if (a->kind == AX_QUADRATURE || a->lo < 0) return expr(p, index, P_ADD);
  return expr(p, x_sub(p->d, index, a->lo), P_ADD);
}

static const char *node_name(CPrint *p, Node n)
{
  if (p->local[n]) return p->local[n];
  for (int i = 0; i < p->labels.n; i++)
    if (p->labels.at[i].node == n) return p->local[n] = unique(p, p->labels.at[i].name);
  return p->local[n] = unique(p, arena_printf("t%d", ++p->next_local));
}

/* The variable of a node without an array. */
static const char *scalar(CPrint *p, Node n)
{
  const char *name = node_name(p, n);
  return p->laned && p->laned[n] ? arena_printf("%s[lane]", name) : name;
}

/* Is the array one unit's own, so that each lane has one? */
static bool array_per_lane(const CPrint *p, Node n) { return p->laned && p->k->home[n] & AXIS_BIT(0) && p->d->axes.at[0].kind == AX_UNIT; }

const char *cprint_array(CPrint *p, Node n)
{
  bool fresh = !p->local[n];
  const char *name = node_name(p, n);
  if (!fresh) return name;
  int axes[MAX_AXES], m = kernel_array_axes(p->k, n, axes);
  StrBuf size = {0};
  for (int i = 0; i < m; i++) {
    if (span_axis(p, axes[i])) p->unit_arrays = true;
    if (i) sb_puts(&size, " * ");
    sb_puts(&size, extent_text(p, axes[i]));
  }
  if (array_per_lane(p, n)) sb_puts(&size, " * PGM_LANES");
  const bool narrow = p->k->single && p->k->narrow[n];
  const char *pad = narrow ? "PGM_PAD_SINGLE" : "PGM_PAD";
  if (p->heap) {
    sb_printf(&p->scratch_decls, "  double *restrict const %s = calloc((size_t)(%s) + 1, sizeof(double));\n", name, sb_text(&size));
    sb_printf(&p->scratch_free, "  free(%s);\n", name);
  } else {
    sb_printf(&p->scratch_decls, narrow ? "  float *restrict const %s = (float *)scratch;\n" : "  double *restrict const %s = scratch;\n", name);
    sb_printf(&p->scratch_decls, "  scratch += %s(%s);\n", pad, sb_text(&size));
  }
  sb_printf(&p->scratch_size, "%s%s(%s)", p->scratch_size.length ? " + " : "", pad, sb_text(&size));
  return name;
}

/* name[...] at the current loops, but for axis `at` and axis `at2` (or -1), read at `index` and `index2` */
static const char *array_access2(CPrint *p, Node n, int at, Node index, int at2, Node index2)
{
  const char *name = cprint_array(p, n);
  int axes[MAX_AXES], m = kernel_array_axes(p->k, n, axes);
  const char *text = NULL;
  for (int i = 0; i < m; i++) {
    const char *c = coordinate(p, axes[i], axes[i] == at ? index : axes[i] == at2 ? index2 : NO_NODE);
    if (!text) text = c;
    else text = arena_printf("%s * %s + %s", strpbrk(text, " ") ? arena_printf("(%s)", text) : text, extent_text(p, axes[i]), c);
  }
  if (array_per_lane(p, n)) text = arena_printf("%s * PGM_LANES + lane", strpbrk(text, " ") ? arena_printf("(%s)", text) : text);
  return arena_printf("%s[%s]", name, text ? text : "0");
}

static const char *array_access(CPrint *p, Node n, int at, Node index) { return array_access2(p, n, at, index, -1, NO_NODE); }

/* Address of the part of the array that lies within the current loops. */
static const char *array_start(CPrint *p, Node n)
{
  const char *name = cprint_array(p, n);
  int axes[MAX_AXES], m = kernel_array_axes(p->k, n, axes);
  const char *text = NULL;
  for (int i = 0; i < m; i++) {
    bool bound = p->bound & AXIS_BIT(axes[i]);
    if (!text) { text = bound ? coordinate(p, axes[i], NO_NODE) : NULL; continue; }
    const char *scaled = arena_printf("%s * %s", strpbrk(text, " ") ? arena_printf("(%s)", text) : text, extent_text(p, axes[i]));
    text = bound ? arena_printf("%s + %s", scaled, coordinate(p, axes[i], NO_NODE)) : scaled;
  }
  if (text && array_per_lane(p, n)) text = arena_printf("%s * PGM_LANES", strpbrk(text, " ") ? arena_printf("(%s)", text) : text);
  return text ? arena_printf("%s + %s", name, text) : name;
}

static const char *load(CPrint *p, const XNode *x)
{
  const Family *f = &p->d->model->families.at[x->aux];
  const char *name = c_name(f->name);
  bool scalar = x->n_args == 0;
  static const char *const suffix[] = {[X_INPUT] = "", [X_VALUE] = "", [X_MEAN] = "_mean", [X_SD] = "_sd"};
  static const char *const field[] = {[X_VALUE] = "value", [X_MEAN] = "mean", [X_SD] = "sd"};
  if (x->op == X_INPUT) {
    bool input_scalar = scalar && f->role == ROLE_INPUT;
    const char *type = f->type.kind == TY_INT ? "int" : "double";
    if (input_scalar) return cprint_declare(p, arena_printf("e->%s", name), arena_printf("const %s ", f->type.kind == TY_INT ? "long" : "double"), name);
    if (scalar) return cprint_declare(p, arena_printf("e->%s[0]", name), arena_printf("const %s ", type), name);
    const char *array = cprint_declare(p, arena_printf("e->%s", name), arena_printf("const %s *restrict const ", type), name);
    return arena_printf("%s[%s]", array, expr(p, family_position(p->d, x->aux, x->n_args, x->args), 0));
  }
  if (x->op == X_PRESENT) {
    const char *array = cprint_declare(p, arena_printf("e->%s_present", name), "const unsigned char *restrict const ", arena_printf("%s_present", name));
    return arena_printf("%s[%s]", array, expr(p, family_position(p->d, x->aux, x->n_args, x->args), 0));
  }
  const char *local = arena_printf("%s%s", name, suffix[x->op]);
  if (x->integer) return arena_printf("(long)e->%s.value[%s]", name, expr(p, family_position(p->d, x->aux, x->n_args, x->args), 0));
  if (scalar && !p->heap) return cprint_declare(p, arena_printf("e->%s.%s[0]", name, field[x->op]), "const double ", local);
  if (scalar) return arena_printf("e->%s.%s[0]", name, field[x->op]);
  /* outside the objective values are being written while they are read: no restrict */
  const char *array = cprint_declare(p, arena_printf("e->%s.%s", name, field[x->op]), p->heap ? "const double *const " : "const double *restrict const ", local);
  return arena_printf("%s[%s]", array, expr(p, family_position(p->d, x->aux, x->n_args, x->args), 0));
}

static const char *binary(CPrint *p, const XNode *x, const char *op, int prec, int outer)
{
  const char *left = expr(p, x->args[0], prec), *right = expr(p, x->args[1], prec + 1);
  return paren(arena_printf("%s %s %s", left, op, right), prec, outer);
}

static const char *expr(CPrint *p, Node n, int outer)
{
  XNode x = *dag_node(p->d, n);
  Kernel *k = p->k;
  if (n < k->n_nodes && k->item[n]) {
    if (kernel_has_array(k, n)) return array_access(p, n, -1, NO_NODE);
    return scalar(p, n);
  }
  if (p->laned && n < k->n_nodes && p->laned[n] && lanes_is_load(&x)) return scalar(p, n);
  switch (x.op) {
  case X_CONST: {
    const char *t = x.integer ? arena_printf("%.0f", x.number) : number_text(x.number);
    return x.number < 0 && t[0] == '-' ? paren(t, P_UNARY, outer == P_MUL + 1 || outer == P_ADD + 1 ? P_POST : outer) : t;
  }
  case X_AXIS: return axis_name(p, x.aux);
  case X_SIZE: {
    const char *name = c_name(p->d->model->families.at[x.aux].name);
    return cprint_declare(p, arena_printf("e->%s", name), "const long ", name);
  }
  case X_BOX_LO: case X_BOX_LEN: {
    const char *name = c_name(p->d->model->families.at[x.aux].name), *what = x.op == X_BOX_LO ? "lo" : "n";
    if (x.aux2 == p->d->model->families.at[x.aux].n_index) return cprint_declare(p, arena_printf("e->%s.levels", name), "const long ", arena_printf("%s_levels", name));
    return cprint_declare(p, arena_printf("e->%s_%s[%d]", name, what, x.aux2), "const long ", arena_printf("%s_%s%d", name, what, x.aux2));
  }
  case X_ROOM: {
    const char *name = cprint_room(p->d, x.aux);
    return cprint_declare(p, arena_printf("e->%s", name), "const long ", name);
  }
  case X_COUNT: return "span->count";
  case X_WEIGHT: return cprint_declare(p, "span->weight", "const double ", "weight");
  case X_QUAD_X: case X_QUAD_W: {
    const char *name = cprint_declare(p, x.op == X_QUAD_X ? "e->rt.quad_x" : "e->rt.quad_w", "const double *restrict const ", x.op == X_QUAD_X ? "quad_x" : "quad_w");
    return arena_printf("%s[%s]", name, axis_name(p, x.aux));
  }
  case X_TABLE:
    return arena_printf("%s[%s]", cprint_declare(p, arena_printf("e->%s[%d]", p->tables, x.aux), "const double *restrict const ", arena_printf("%s_%d", p->tables, x.aux)),
                        x.n_args ? expr(p, x.args[0], 0) : "0");
  case X_INPUT: case X_PRESENT: case X_VALUE: case X_MEAN: case X_SD: return load(p, &x);
  case X_ADD: return binary(p, &x, "+", P_ADD, outer);
  case X_SUB: return binary(p, &x, "-", P_ADD, outer);
  case X_MUL: return binary(p, &x, "*", P_MUL, outer);
  case X_DIV:
    if (dag_node(p->d, x.args[0])->integer && dag_node(p->d, x.args[1])->integer)
      return paren(arena_printf("(double)%s / %s", expr(p, x.args[0], P_POST), expr(p, x.args[1], P_MUL + 1)), P_MUL, outer);
    return binary(p, &x, "/", P_MUL, outer);
  case X_NEG: return paren(arena_printf("-%s", expr(p, x.args[0], P_POST)), P_UNARY, outer);
  case X_NOT: return paren(arena_printf("!%s", expr(p, x.args[0], P_POST)), P_UNARY, outer);
  case X_POW: return arena_printf("pow(%s, %s)", expr(p, x.args[0], 0), expr(p, x.args[1], 0));
  case X_FN:
    if (x.n_args == 1) return arena_printf("%s(%s)", fn_c_name[x.aux], expr(p, x.args[0], 0));
    if (x.n_args == 2) return arena_printf("%s(%s, %s)", fn_c_name[x.aux], expr(p, x.args[0], 0), expr(p, x.args[1], 0));
    return arena_printf("%s(%s, %s, %s)", fn_c_name[x.aux], expr(p, x.args[0], 0), expr(p, x.args[1], 0), expr(p, x.args[2], 0));
  case X_LT: return binary(p, &x, "<", P_REL, outer);
  case X_LE: return binary(p, &x, "<=", P_REL, outer);
  case X_EQ: return binary(p, &x, "==", P_EQ, outer);
  case X_NE: return binary(p, &x, "!=", P_EQ, outer);
  case X_AND: return binary(p, &x, "&&", P_AND, outer);
  case X_OR: return paren(arena_printf("%s || %s", expr(p, x.args[0], P_AND + 1), expr(p, x.args[1], P_AND + 1)), P_OR, outer);
  case X_COND:
    return paren(arena_printf("%s ? %s : %s", expr(p, x.args[0], P_OR), expr(p, x.args[1], P_COND + 1), expr(p, x.args[2], P_COND + 1)), P_COND, outer);
  case X_CLAMP: return arena_printf("pgm_clamp(%s, %s, %s)", expr(p, x.args[0], 0), expr(p, x.args[1], 0), expr(p, x.args[2], 0));
  case X_AT: return array_access(p, x.args[0], x.aux, x.args[1]);
  case X_PREV: {                                                            /* where there is none, the branch is not taken, and any element will do */
    const Axis *a = &p->d->axes.at[x.aux];
    Node place = x_clamp(p->d, x_add(p->d, x_axis(p->d, x.aux), x_int(p->d, x.aux2)), a->lo, a->hi);
    return array_access2(p, p->scan, x.aux, place, scan_parts(p->d, p->scan), x_int(p->d, (long)x.number));
  }
  default: BUG("a node of kind %d cannot stand in an expression", (int)x.op);
  }
}

const char *cprint_expr(CPrint *p, Node n) { return expr(p, n, 0); }

/* ---- statements -------------------------------------------------------------------------------------------------------------------------------- */

static void comment_for(CPrint *p, Node n)
{
  for (int i = 0; i < p->labels.n; i++)
    if (p->labels.at[i].node == n && p->labels.at[i].comment) cprint_line(p, "/* %s */", p->labels.at[i].comment);
}

static const char *start_value(XOp op) { return op == X_SUM || op == X_SPREAD ? "0" : op == X_PROD ? "1" : op == X_MAX ? "-INFINITY" : "INFINITY"; }

static void print_zero(CPrint *p, Node n)
{
  const XNode *x = dag_node(p->d, n);
  if (!kernel_has_array(p->k, n)) {
    comment_for(p, n);
    cprint_line(p, "%s%s = %s;", p->laned && p->laned[n] ? "" : "double ", scalar(p, n), start_value(x->op));
    return;
  }
  int axes[MAX_AXES], m = kernel_array_axes(p->k, n, axes);
  StrBuf size = {0};
  for (int i = 0; i < m; i++)
    if (!(p->bound & AXIS_BIT(axes[i]))) sb_printf(&size, "%s%s", size.length ? " * " : "", extent_text(p, axes[i]));
  if (size.length && array_per_lane(p, n)) sb_puts(&size, " * PGM_LANES");
  if (!size.length) cprint_line(p, "%s = %s;", array_access(p, n, -1, NO_NODE), start_value(x->op));
  else if (x->op == X_SUM || x->op == X_SPREAD) cprint_line(p, "memset(%s, 0, sizeof(double) * (size_t)(%s));", array_start(p, n), sb_text(&size));
  else cprint_line(p, "for (long k_ = 0; k_ < %s; k_++) (%s)[k_] = %s;", sb_text(&size), array_start(p, n), start_value(x->op));
}

static const char *reduce_target(CPrint *p, Node n)
{
  const XNode x = *dag_node(p->d, n);
  if (x.op == X_SPREAD) return array_access(p, n, x.aux2, x.args[1]);
  return kernel_has_array(p->k, n) ? array_access(p, n, -1, NO_NODE) : scalar(p, n);
}

/* `to`: NULL: its variable or array. */
static void print_reduce(CPrint *p, Node n, const char *to)
{
  const XNode *x = dag_node(p->d, n);
  if (!to) to = reduce_target(p, n);
  const char *body = expr(p, dag_node(p->d, n)->args[0], 0);
  if (x->op == X_SUM || x->op == X_SPREAD) {
    if (body[0] == '-' && dag_node(p->d, dag_node(p->d, n)->args[0])->op == X_NEG) cprint_line(p, "%s -= %s;", to, body + 1);
    else cprint_line(p, "%s += %s;", to, body);
  } else if (x->op == X_PROD) {
    cprint_line(p, "%s *= %s;", to, expr(p, x->args[0], P_COND));
  } else {
    cprint_line(p, "%s = %s(%s, %s);", to, x->op == X_MAX ? "pgm_fmax" : "pgm_fmin", to, body);
  }
}

static void print_local(CPrint *p, Node n)
{
  comment_for(p, n);
  Kernel *k = p->k;
  bool was = k->item[n];
  const bool array = kernel_has_array(k, n), declared = array || (p->laned && p->laned[n]);
  const char *to = array ? array_access(p, n, -1, NO_NODE) : scalar(p, n);
  k->item[n] = false;                                                       /* its definition, not its name */
  const char *text = expr(p, n, 0);
  k->item[n] = was;
  cprint_line(p, "%s%s = %s;", declared ? "" : "const double ", to, text);
}

/* The sums of a family's adjoints in single precision. */
static const char *single_sum(CPrint *p, int family)
{
  const char *name = c_name(p->d->model->families.at[family].name);
  return cprint_declare(p, arena_printf("e->%s.single_sum", name), "float *restrict const ", arena_printf("%s_sum", name));
}

/* Destination of an adjoint. */
static const char *accumulate_target(CPrint *p, const LoopOut *o)
{
  const XNode x = *dag_node(p->d, o->leaf);
  const Family *f = &p->d->model->families.at[x.aux];
  RefSlot slot = {0};
  RefClass class = p->classify(p->data, o->leaf, &slot);
  const char *what = x.op == X_VALUE ? "value" : x.op == X_MEAN ? "mean" : "sd", *name = c_name(f->name);
  const char *local = x.op == X_VALUE ? name : arena_printf("%s_%s", name, what);
  if (class == REF_BUFFER) {
    const char *array = cprint_declare(p, arena_printf("e->%s.%s", slot.name, what), "double *restrict const ", arena_printf("%s_%s_bar", slot.name, what));
    const Axis *u = &p->d->axes.at[0];
    Node row = x_sub(p->d, x_axis(p->d, 0), u->lo);
    return arena_printf("%s[%s]", array, expr(p, x_add(p->d, x_mul(p->d, row, slot.width), slot.inner), 0));
  }
  if (p->k->single && p->k->products[x.aux]) {
    const char *array = single_sum(p, x.aux);
    return arena_printf("%s[%s]", array, expr(p, family_position(p->d, x.aux, x.n_args, x.args), 0));
  }
  const char *kind = class == REF_OWN ? "bar" : "sum";
  const char *array = cprint_declare(p, arena_printf("e->%s.%s_%s", name, what, kind), "double *restrict const ", arena_printf("%s_%s", local, kind));
  return arena_printf("%s[%s]", array, expr(p, family_position(p->d, x.aux, x.n_args, x.args), 0));
}

/* `to`: NULL: there. */
static void print_accumulate(CPrint *p, const LoopOut *o, const char *to)
{
  const char *text = expr(p, o->value, 0);
  if (!to) to = accumulate_target(p, o);
  const bool negative = text[0] == '-' && dag_node(p->d, o->value)->op == X_NEG && !(o->value < p->k->n_nodes && p->k->item[o->value]);
  cprint_line(p, negative ? "%s -= %s;" : "%s += %s;", to, negative ? text + 1 : text);
}

/* A matrix operand: its text, whether it lies as [first][second], its row length. */
static const char *operand(CPrint *p, Node n, int first, int second, bool *transposed, const char **ld)
{
  Kernel *k = p->k;
  int axes[2];
  const char *name;
  if (k->item[n]) {
    axes_in_order(p->d, dag_axes(p->d, n), axes);
    name = cprint_array(p, n);
  } else {
    const XNode x = *dag_node(p->d, n);
    axes[0] = dag_node(p->d, x.args[0])->aux, axes[1] = dag_node(p->d, x.args[1])->aux;
    const Family *f = &p->d->model->families.at[x.aux];
    const char *fn = c_name(f->name), *what = x.op == X_VALUE ? "value" : x.op == X_MEAN ? "mean" : "sd";
    name = k->single       ? cprint_declare(p, arena_printf("e->%s.single", fn), "const float *restrict const ", arena_printf("%s_single", fn))
           : x.op == X_INPUT ? cprint_declare(p, arena_printf("e->%s", fn), "const double *restrict const ", fn)
                             : cprint_declare(p, arena_printf("e->%s.%s", fn, what), "const double *restrict const ",
                                              x.op == X_VALUE ? fn : arena_printf("%s_%s", fn, what));
  }
  *transposed = !(axes[0] == first && axes[1] == second);
  *ld = extent_text(p, axes[1]);
  return name;
}

static void print_gemm(CPrint *p, const LoopItem *it)
{
  Kernel *k = p->k;
  const Gemm *g = it->out >= 0 ? &k->out_gemm[it->out] : &k->gemm[it->node];
  bool ta, tb;
  const char *lda, *ldb, *to, *beta;
  const char *a = operand(p, g->a, g->p, g->c, &ta, &lda), *b = operand(p, g->b, g->c, g->q, &tb, &ldb);
  if (it->out >= 0) {
    const LoopOut *o = &k->outs.at[it->out];
    const XNode x = *dag_node(p->d, o->leaf);
    const char *what = x.op == X_VALUE ? "value" : x.op == X_MEAN ? "mean" : "sd", *name = c_name(p->d->model->families.at[x.aux].name);
    to = k->single ? single_sum(p, x.aux)
                   : cprint_declare(p, arena_printf("e->%s.%s_sum", name, what), "double *restrict const ",
                                    x.op == X_VALUE ? arena_printf("%s_sum", name) : arena_printf("%s_%s_sum", name, what));
    beta = "1.0";
  } else {
    comment_for(p, it->node);
    to = cprint_array(p, it->node);
    beta = "0.0";
  }
  cprint_line(p, "%s(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s);", k->single ? "pgm_gemm_single" : "pgm_gemm", ta ? "true" : "false", tb ? "true" : "false", extent_text(p, g->p),
              extent_text(p, g->q), extent_text(p, g->c), a, lda, b, ldb, beta, to, extent_text(p, g->q));
}

/* Distance in the node's array from one value of the axis to the next. */
static const char *stride_text(CPrint *p, Node n, int axis)
{
  int axes[MAX_AXES], m = kernel_array_axes(p->k, n, axes);
  StrBuf stride = {0};
  bool inside = false;
  for (int i = 0; i < m; i++) {
    if (inside) sb_printf(&stride, "%s%s", stride.length ? " * " : "", extent_text(p, axes[i]));
    inside = inside || axes[i] == axis;
  }
  if (!inside) BUG("a function of whole arrays needs its argument over both axes");
  return stride.length ? stride.text : "1";
}

/* ", address, stride of rows[, stride of columns]" of an array that a function takes or gives whole */
static const char *whole_array(CPrint *p, Node n, int row, int column)
{
  const char *start = array_start(p, n), *rows = stride_text(p, n, row);
  return column < 0 ? arena_printf(", %s, %s", start, rows) : arena_printf(", %s, %s, %s", start, rows, stride_text(p, n, column));
}

static void print_whole(CPrint *p, Node n)
{
  static const char *const functions[] = {[X_TRISOLVE] = "trisolve", [X_TRISOLVE_T] = "trisolve_transposed", [X_CHOLESKY] = "cholesky",
                                      [X_CHOLESKY_ADJOINT] = "cholesky_adjoint", [X_INVERSE] = "inverse", [X_INVERSE_T] = "inverse", [X_LOG_DET] = "log_det"};
  const XNode x = *dag_node(p->d, n);
  const char *size = extent_text(p, x.aux);
  StrBuf args = {0};
  for (int i = 0; i < x.n_args; i++) sb_puts(&args, whole_array(p, x.args[i], x.aux, i && x_is_solve(x.op) ? -1 : x.aux2));
  comment_for(p, n);
  if (x.op == X_LOG_DET) {
    cprint_line(p, kernel_has_array(p->k, n) ? "%s = pgm_log_det(%s%s);" : "const double %s = pgm_log_det(%s%s);", reduce_target(p, n), size, sb_text(&args));
    return;
  }
  bool t = x.op == X_INVERSE_T;                                             /* written with rows and columns exchanged */
  sb_puts(&args, whole_array(p, n, t ? x.aux2 : x.aux, x_is_solve(x.op) ? -1 : t ? x.aux : x.aux2));
  cprint_line(p, "pgm_%s(%s%s);", functions[x.op], size, sb_text(&args));
}

/* What the bodies of a scan use more than once, arguments first. */
static void print_carried(CPrint *p, Node n, NodeMap *seen)
{
  const XNode x = *dag_node(p->d, n);
  if (!x.carried || *node_map(seen, n) != NODE_NEW) return;
  *node_map(seen, n) = 1;
  for (int i = 0; i < x.n_args; i++) print_carried(p, x.args[i], seen);
  if (p->k->item[n]) print_local(p, n);
}

static void print_scan(CPrint *p, Node n)
{
  const XNode x = *dag_node(p->d, n);
  const Axis a = p->d->axes.at[x.aux];
  const AxisSet keep = p->bound;
  const char *r = axis_name(p, x.aux), *lo = expr(p, a.lo, P_REL + 1), *hi = expr(p, a.hi, P_REL + 1);
  NodeMap seen = {0};
  comment_for(p, n);
  if (x.aux2 > 0) cprint_line(p, "for (long %s = %s; %s <= %s; %s++) {", r, lo, r, hi, r);
  else cprint_line(p, "for (long %s = %s; %s >= %s; %s--) {", r, hi, r, lo, r);
  p->indent++;
  p->bound |= AXIS_BIT(x.aux);
  p->scan = n;
  for (int c = 0; c < x.n_args; c++) print_carried(p, x.args[c], &seen);
  for (int c = 0; c < x.n_args; c++)
    cprint_line(p, "%s = %s;", array_access(p, n, scan_parts(p->d, n), x_int(p->d, c)), expr(p, x.args[c], 0));
  p->bound = keep;
  p->indent--;
  cprint_line(p, "}");
}

/* ---- loops --------------------------------------------------------------------------------------------------------------------------------------------- */

static bool innermost(const LoopBlock *b)
{
  for (int i = 0; i < b->n; i++)
    if (b->at[i]->kind == IT_LOOP || b->at[i]->kind == IT_GEMM || b->at[i]->kind == IT_WHOLE || b->at[i]->kind == IT_SCAN) return false;
  return true;
}

/* A loop may run in any order and in parallel lanes unless it adds to elements that a table chooses, or makes draws. */
static bool vectorisable(CPrint *p, const LoopItem *loop)
{
  if (!innermost(&loop->body)) return false;
  for (int i = 0; i < loop->body.n; i++) {
    const LoopItem *it = loop->body.at[i];
    if (it->kind == IT_REDUCE && dag_node(p->d, it->node)->op == X_SPREAD && !dag_varies_with(p->d, dag_node(p->d, it->node)->args[1], loop->axis)) return false;
    if (it->kind != IT_OUT) continue;
    const LoopOut *o = &p->k->outs.at[it->out];
    if (o->kind != OUT_ACCUMULATE) return false;
    const XNode *x = dag_node(p->d, o->leaf);
    bool distinct = false;
    for (int j = 0; j < x->n_args; j++) distinct = distinct || dag_varies_with(p->d, x->args[j], loop->axis);
    RefSlot slot;
    if (!distinct && p->classify(p->data, o->leaf, &slot) != REF_BUFFER) return false;
  }
  return true;
}

static void print_block(CPrint *p, const LoopBlock *block);

static void print_loop_body(CPrint *p, const LoopItem *loop)
{
  AxisSet keep = p->bound;
  p->bound |= AXIS_BIT(loop->axis);
  print_block(p, &loop->body);
  p->bound = keep;
}

/* The variables that a loop reduces, as clauses of its pragma. */
typedef struct { StrBuf plus, times, top, low; } Clauses;

static void add_clause(CPrint *p, Clauses *c, Node reduction)
{
  const XNode *x = dag_node(p->d, reduction);
  StrBuf *to = x->op == X_SUM ? &c->plus : x->op == X_PROD ? &c->times : x->op == X_MAX ? &c->top : &c->low;
  sb_printf(to, "%s%s", to->length ? ", " : "", node_name(p, reduction));
}

static void print_pragma(CPrint *p, const Clauses *c)
{
  StrBuf pragma = {0};
  if (c->plus.length) sb_printf(&pragma, " reduction(+ : %s)", c->plus.text);
  if (c->times.length) sb_printf(&pragma, " reduction(* : %s)", c->times.text);
  if (c->top.length) sb_printf(&pragma, " reduction(max : %s)", c->top.text);
  if (c->low.length) sb_printf(&pragma, " reduction(min : %s)", c->low.text);
  cprint_line(p, "#pragma omp simd%s", sb_text(&pragma));
}

/* Does the text of statements use the variable? Comments stand on lines of their own. */
static bool uses_variable(const char *text, const char *name)
{
  const size_t len = strlen(name);
  for (const char *s = text; (s = strstr(s, name)); s++) {
    const char *line = s;
    while (line > text && line[-1] != '\n') line--;
    if (!strncmp(line + strspn(line, " "), "/*", 2)) continue;
    const char before = s > text ? s[-1] : ' ', after = s[len];
    if (!isalnum((unsigned char)before) && !strchr("_.>", before) && !isalnum((unsigned char)after) && after != '_') return true;
  }
  return false;
}

/* The statements of a loop over units after the declarations of what they use: the unit's number, in strips first its position. */
static void print_unit_body(CPrint *p, const char *statements, const char *name)
{
  const bool numbered = uses_variable(statements, name);
  if (p->laned && (numbered || uses_variable(statements, "unit"))) cprint_line(p, "const long unit = strip + lane;");
  if (numbered) {
    cprint_line(p, "const long %s = units ? units[unit] : first + unit;", name);
    cprint_declare(p, "span->first", "const long ", "first");
    if (!p->units_given) cprint_declare(p, "span->units", "const long *restrict const ", "units");
    p->uses_units = true;
  }
  sb_puts(&p->body, statements);
}

static StrBuf begin_aside(CPrint *p)
{
  StrBuf before = p->body;
  p->body = (StrBuf){0};
  return before;
}

/* What was printed since begin_aside. */
static const char *end_aside(CPrint *p, StrBuf before)
{
  const char *text = sb_text(&p->body);
  p->body = before;
  return text;
}

/* A name for what every lane of all strips adds to `place`: print_strips declares it and adds it up. */
static const char *lane_sum(CPrint *p, const char *place)
{
  const char *name = unique(p, arena_printf("t%d", ++p->next_local));
  VEC_PUSH(p->lane_sums, (LaneSum){name, place});
  return arena_printf("%s[lane]", name);
}

/* Straight statements [from, to) of the block, over the lanes of a strip. What all lanes add to one place is summed first: per lane, after all strips, where that
 * is one place for all passes through the block too. */
static void print_lanes(CPrint *p, const LoopBlock *block, int from, int to, int axis, AxisSet around)
{
  Clauses clauses = {0};
  const char **sum = NEW_ARRAY(const char *, to - from);
  const char **place = NEW_ARRAY(const char *, to - from);
  for (int i = from; i < to; i++) {
    const LoopItem *it = block->at[i];
    if (it->kind == IT_REDUCE && !kernel_has_array(p->k, it->node) && !p->laned[it->node]) {
      if (dag_node(p->d, it->node)->op == X_SUM) sum[i - from] = lane_sum(p, node_name(p, it->node));
      else add_clause(p, &clauses, it->node);
      continue;
    }
    if (it->kind == IT_REDUCE && lanes_share_target(p, it->node, axis)) place[i - from] = reduce_target(p, it->node);
    if (it->kind == IT_OUT && p->k->outs.at[it->out].kind == OUT_ACCUMULATE && lanes_share_out(p, &p->k->outs.at[it->out], axis))
      place[i - from] = accumulate_target(p, &p->k->outs.at[it->out]);
    if (!place[i - from]) continue;
    if (p->bound == around) {
      sum[i - from] = lane_sum(p, place[i - from]);
      place[i - from] = NULL;
      continue;
    }
    sum[i - from] = unique(p, arena_printf("t%d", ++p->next_local));
    cprint_line(p, "double %s = 0;", sum[i - from]);
    sb_printf(&clauses.plus, "%s%s", clauses.plus.length ? ", " : "", sum[i - from]);
  }
  print_pragma(p, &clauses);
  cprint_line(p, "for (int lane = 0; lane < lanes; lane++) {");
  p->indent++;
  StrBuf before = begin_aside(p);
  for (int i = from; i < to; i++) {
    const LoopItem *it = block->at[i];
    if (it->kind == IT_LOCAL) print_local(p, it->node);
    else if (it->kind == IT_ZERO) print_zero(p, it->node);
    else if (it->kind == IT_REDUCE) print_reduce(p, it->node, sum[i - from]);
    else if (p->k->outs.at[it->out].kind == OUT_ACCUMULATE) print_accumulate(p, &p->k->outs.at[it->out], sum[i - from]);
    else p->statement(p, &p->k->outs.at[it->out]);
  }
  print_unit_body(p, end_aside(p, before), axis_name(p, axis));
  p->indent--;
  cprint_line(p, "}");
  for (int i = 0; i < to - from; i++)
    if (place[i]) cprint_line(p, "%s += %s;", place[i], sum[i]);
}

static void open_loop(CPrint *p, int axis)
{
  const Axis *a = &p->d->axes.at[axis];
  const char *name = axis_name(p, axis);
  if (a->kind == AX_QUADRATURE) cprint_line(p, "for (int %s = 0; %s < %s; %s++) {", name, name, extent_text(p, axis), name);
  else if (a->kind == AX_DIM) cprint_line(p, "for (long %s = 0; %s < %s; %s++) {", name, name, expr(p, a->extent, P_REL + 1), name);
  else cprint_line(p, "for (long %s = %s; %s <= %s; %s++) {", name, expr(p, a->lo, 0), name, expr(p, a->hi, P_REL + 1), name);
  p->indent++;
}

/* around: the axes bound in a strip, outside loops of its own. */
static void print_strip_block(CPrint *p, const LoopBlock *block, int axis, AxisSet around)
{
  for (int i = 0; i < block->n;) {
    const LoopItem *it = block->at[i];
    if (it->kind == IT_LOOP) {
      const AxisSet keep = p->bound;
      open_loop(p, it->axis);
      p->bound |= AXIS_BIT(it->axis);
      print_strip_block(p, &it->body, axis, around);
      p->bound = keep;
      p->indent--;
      cprint_line(p, "}");
      i++;
    } else if (lanes_whole(p, it, p->bound)) {
      print_zero(p, it->node);
      i++;
    } else {
      int to = i;
      do to++;
      while (to < block->n && !lanes_cut(p, block->at[to - 1]) && block->at[to]->kind != IT_LOOP && !lanes_whole(p, block->at[to], p->bound));
      print_lanes(p, block, i, to, axis, around);
      i = to;
    }
  }
}

/* What inner loops read of the units. */
static void print_loads(CPrint *p, int axis)
{
  StrBuf before = begin_aside(p);
  for (Node n = 0; n < p->k->n_nodes; n++) {
    if (!p->laned[n] || p->k->item[n] || !lanes_is_load(dag_node(p->d, n))) continue;
    const char *to = scalar(p, n);
    p->laned[n] = false;
    cprint_line(p, "  %s = %s;", to, expr(p, n, 0));
    p->laned[n] = true;
  }
  const char *text = end_aside(p, before);
  if (!*text) return;
  cprint_line(p, "#pragma omp simd");
  cprint_line(p, "for (int lane = 0; lane < lanes; lane++) {");
  p->indent++;
  print_unit_body(p, text, axis_name(p, axis));
  p->indent--;
  cprint_line(p, "}");
}

/* The loop over units in strips: lanes.h. */
static void print_strips(CPrint *p, const LoopItem *loop, bool *laned)
{
  const AxisSet keep = p->bound;
  p->laned = laned;
  p->lane_sums.n = 0;
  p->bound |= AXIS_BIT(loop->axis);
  StrBuf before = begin_aside(p);
  cprint_line(p, "for (long strip = 0; strip < span->count; strip += PGM_LANES) {");
  p->indent++;
  cprint_line(p, "const int lanes = pgm_lanes(span->count - strip);");
  StrBuf opened = begin_aside(p);
  print_loads(p, loop->axis);
  print_strip_block(p, &loop->body, loop->axis, p->bound);
  const char *text = end_aside(p, opened);
  for (Node n = 0; n < p->k->n_nodes; n++)
    if (laned[n]) cprint_line(p, "double %s[PGM_LANES] PGM_ALIGNED;", node_name(p, n));
  sb_puts(&p->body, text);
  p->indent--;
  cprint_line(p, "}");
  const char *strips = end_aside(p, before);
  for (int i = 0; i < p->lane_sums.n; i++) cprint_line(p, "double %s[PGM_LANES] PGM_ALIGNED = {0};", p->lane_sums.at[i].name);
  sb_puts(&p->body, strips);
  for (int i = 0; i < p->lane_sums.n; i++) cprint_line(p, "%s += pgm_sum_lanes(%s);", p->lane_sums.at[i].place, p->lane_sums.at[i].name);
  p->bound = keep;
  p->laned = NULL;
}

static void print_loop(CPrint *p, const LoopItem *loop)
{
  const char *name = axis_name(p, loop->axis);
  if (span_axis(p, loop->axis)) {
    bool *laned = NEW_ARRAY(bool, p->k->n_nodes + 1);
    if ((!innermost(&loop->body) || vectorisable(p, loop)) && lanes_fit(p, loop, laned)) {
      print_strips(p, loop, laned);
      return;
    }
  }
  if (vectorisable(p, loop)) {
    Clauses clauses = {0};
    for (int i = 0; i < loop->body.n; i++)
      if (loop->body.at[i]->kind == IT_REDUCE && !kernel_has_array(p->k, loop->body.at[i]->node)) add_clause(p, &clauses, loop->body.at[i]->node);
    print_pragma(p, &clauses);
  }
  if (span_axis(p, loop->axis)) {
    cprint_line(p, "for (long unit = 0; unit < span->count; unit++) {");
    p->indent++;
    StrBuf before = begin_aside(p);
    print_loop_body(p, loop);
    print_unit_body(p, end_aside(p, before), name);
  } else {
    open_loop(p, loop->axis);
    print_loop_body(p, loop);
  }
  p->indent--;
  cprint_line(p, "}");
}

static void print_block(CPrint *p, const LoopBlock *block)
{
  for (int i = 0; i < block->n; i++) {
    const LoopItem *it = block->at[i];
    switch (it->kind) {
    case IT_LOCAL: print_local(p, it->node); break;
    case IT_ZERO: print_zero(p, it->node); break;
    case IT_REDUCE: print_reduce(p, it->node, NULL); break;
    case IT_LOOP: print_loop(p, it); break;
    case IT_GEMM: print_gemm(p, it); break;
    case IT_WHOLE: print_whole(p, it->node); break;
    case IT_SCAN: print_scan(p, it->node); break;
    case IT_OUT: {
      const LoopOut *o = &p->k->outs.at[it->out];
      if (o->kind == OUT_VALUE) p->value = expr(p, o->value, 0);
      else if (o->kind == OUT_ACCUMULATE) print_accumulate(p, o, NULL);
      else p->statement(p, o);
      break;
    }
    }
  }
}

void cprint_kernel(CPrint *p)
{
  p->d = p->k->d;
  p->local = NEW_ARRAY(const char *, p->k->n_nodes + 1);
  if (!p->indent) p->indent = 1;
  p->bound = p->k->given;
  print_block(p, &p->k->body);
}
