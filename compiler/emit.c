/* The emitter: from the model's terms to the C file that the runtime runs.
 *
 * Per outermost plate there is one DAG with the terms under it, twice: at a point (constrained values) and as random variables, which expect.c
 * integrates. Four kernels come of it: `point` (every term), `expected` (terms with closed form or quadrature), `rest` (the others, at a point) and
 * `constant` (summands of data alone, evaluated once); three more where local variables can be eliminated (eliminate.c). Each is a value and its reverse-mode gradient, lowered together. The rest of the file is
 * description: sizes, elements, bounds, references, simulation, tables. What the runtime does with it: runtime/pgmrt.h. */
#include "emit.h"
#include "alike.h"
#include "build.h"
#include "concave.h"
#include "cprint.h"
#include "dist.h"
#include "eliminate.h"
#include "func.h"
#include "grad.h"
#include "pieces.h"
#include "range.h"
#include "sums.h"
#include <ctype.h>
#include <math.h>
#include <string.h>


typedef struct {
  int stmt;
  int group;
  Node value;                          /* at a point, without constants; over the plates' axes */
  Node random;                         /* the same over random variables */
  Node constant;                       /* summands of data alone */
  Node expected;                       /* NO_NODE when sampled */
  Node averaged;                       /* when sampled: at a point, averaged over the factors of discrete latent elements */
  ExpectMethod method;
  bool joined;                         /* with a label summed out */
  bool labels;                         /* summed over discrete latent elements */
  int n_axes, axes[8];                 /* the plates */
} Term;

typedef struct { int family; int n_args; Node args[8]; const char *name, *text; Node width, inner; AxisSet inner_axes; bool ragged; } Ref;

typedef struct {
  int plate;                           /* outermost plate, -1 without */
  Dag *d;
  Builder *point, *random;
  VEC(int) terms;
  const Sums *sums;                    /* of its only term, for which the next group's kernel stands in, */
  bool by_sums;                        /* which is this */
  VEC(Ref) refs;
  VEC(int) shared;
  int *own_offset;                     /* per family: offset of own references; INT_MIN none */
  int *own_position;
  bool has_block, has_scratch;
  bool single;                         /* has a kernel in single precision, */
  VEC(int) products;                   /* with these families in its products */
  Eliminations eliminated;             /* local elements with a best factor in closed form: all that the terms mention, or none */
} Group;

struct Emission {
  const Model *m;
  const Analysis *a;
  const LatentVerdict **verdict;       /* per family, its pieces joined; NULL where there is none */
  EmitOptions options;
  const char *name;
  VEC(Term) terms;
  VEC(Group) groups;
  VEC(Dag *) dags;                     /* all that were made, for their rooms */
  VEC(Expectation) expectations;
  int *statement_term;                 /* per statement: its term, or -1 */
  int *axis_of_var;                    /* per Var: axis class */
  int n_axes;
  StrBuf *out;
  int n_checks;
  StrBuf check_table, ref_table, term_table, plate_table, sums_table;
  int n_refs, n_sums;
};

typedef VEC(int) IntList;

#define FAMILY(e, i) (&(e)->m->families.at[i])
#define STMT(e, i) (&(e)->m->stmts.at[i])

/* ---- small questions --------------------------------------------------------------------------------------------------------------------- */

static bool is_latent_role(const Family *f) { return f->role == ROLE_GLOBAL || f->role == ROLE_LOCAL || f->role == ROLE_PARAM || f->role == ROLE_MARGINAL; }
static bool is_scalar_input(const Family *f) { return f->role == ROLE_INPUT && f->n_index == 0 && type_rank(f->type.kind) == 0; }

static const LatentVerdict *verdict_of(const Emission *e, int family) { return e->verdict[family]; }

static bool is_pruned(const Emission *e, int family)
{
  const LatentVerdict *v = family >= 0 ? verdict_of(e, family) : NULL;
  return v && !strcmp(v->role, "pruned");
}

static const char *base_name(const char *path)
{
  const char *s = strrchr(path, '/');
  return s ? s + 1 : path;
}

/* The source of a statement without what would end a comment. */
static const char *comment_text(const char *text)
{
  StrBuf b = {0};
  for (const char *s = text; *s; s++) {
    if (s[0] == '*' && s[1] == '/') { sb_puts(&b, "* /"); s++; }
    else if (s[0] == '/' && s[1] == '*') { sb_puts(&b, "/ *"); s++; }
    else sb_putc(&b, *s);
  }
  return sb_text(&b);
}

/* "x[n] ~ normal(...)" of "observed x[n] : real ~ normal(...)" */
static const char *statement_text(const Emission *e, const Stmt *s)
{
  StrBuf b = {0};
  if (s->kind == ST_FACTOR) return source_slice(s->span);
  const Family *f = FAMILY(e, s->family);
  sb_puts(&b, f->name);
  for (int i = 0; i < s->n_index; i++) {
    sb_puts(&b, i ? "," : "[");
    mexpr_print(e->m, s->index[i].expr, &b);
  }
  if (s->n_index) sb_putc(&b, ']');
  if (s->has_dist) sb_printf(&b, " ~ %s", source_slice(s->dist.span));
  return sb_text(&b);
}

static void put(Emission *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(Emission *e, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  sb_vprintf(e->out, format, args);
  va_end(args);
}

static void put_string(StrBuf *out, const char *s)
{
  if (!s) { sb_puts(out, "NULL"); return; }
  sb_putc(out, '"');
  for (; *s; s++) {
    if (*s == '\n') sb_puts(out, s[1] ? "\\n\"\n  \"" : "\\n");
    else if (*s == '"' || *s == '\\') sb_printf(out, "\\%c", *s);
    else if ((unsigned char)*s < 32 || (unsigned char)*s == 127) sb_printf(out, "\\%03o", (unsigned char)*s);
    else if (*s == '?' && s[1] == '?') sb_puts(out, "?\"\"");
    else sb_putc(out, *s);
  }
  sb_putc(out, '"');
}

static AxisSet axis_set(const int *axes, int n)
{
  AxisSet s = 0;
  for (int i = 0; i < n; i++) s |= AXIS_BIT(axes[i]);
  return s;
}

/* "n_1", "global"; part of its functions' names */
static const char *group_name(const Emission *e, const Group *g)
{
  int index = (int)(g - e->groups.at);
  if (g->plate >= 0) return arena_printf("%s_%d", e->m->vars.at[e->m->plates.at[g->plate].var].name, index);
  for (int i = 0; i < index; i++)
    if (e->groups.at[i].plate < 0) return arena_printf("global_%d", index);
  return "global";
}

/* Field of the env: the tables of a group's sums. */
static const char *tables_name(const Emission *e, const Group *g) { return arena_printf("sums_%s", group_name(e, g)); }

/* ---- terms and their groups ---------------------------------------------------------------------------------------------------------------- */

/* Separates the summands of data alone: n = *latent + *constant. */
static void split_constant(Dag *d, Node n, Node *latent, Node *constant)
{
  XNode x = *dag_node(d, n);
  Node zero = x_const(d, 0), l[2], c[2];
  if (!x.latent) { *latent = zero, *constant = n; return; }
  switch (x.op) {
  case X_ADD: case X_SUB:
    for (int i = 0; i < 2; i++) split_constant(d, x.args[i], &l[i], &c[i]);
    *latent = x.op == X_ADD ? x_add(d, l[0], l[1]) : x_sub(d, l[0], l[1]);
    *constant = x.op == X_ADD ? x_add(d, c[0], c[1]) : x_sub(d, c[0], c[1]);
    return;
  case X_NEG:
    split_constant(d, x.args[0], &l[0], &c[0]);
    *latent = x_neg(d, l[0]), *constant = x_neg(d, c[0]);
    return;
  case X_SUM:
    split_constant(d, x.args[0], &l[0], &c[0]);
    *latent = x_sum(d, x.aux, l[0]), *constant = x_sum(d, x.aux, c[0]);
    return;
  case X_MUL:
    if (!dag_node(d, x.args[0])->latent || !dag_node(d, x.args[1])->latent) {
      int k = dag_node(d, x.args[0])->latent ? 0 : 1;
      split_constant(d, x.args[k], &l[0], &c[0]);
      double v;
      if (dag_is_const(d, c[0], &v) && v == 0) break;
      *latent = x_mul(d, x.args[1 - k], l[0]), *constant = x_mul(d, x.args[1 - k], c[0]);
      return;
    }
    break;
  default: break;
  }
  *latent = n, *constant = zero;
}

static Dag *new_dag(Emission *e)
{
  Dag *d = dag_new(e->m);
  d->number = e->dags.n;
  VEC_PUSH(e->dags, d);
  return d;
}

static int outermost(const Emission *e, int plate)
{
  while (plate >= 0 && e->m->plates.at[plate].parent >= 0) plate = e->m->plates.at[plate].parent;
  return plate;
}

static int new_group(Emission *e, int plate)
{
  Group g = {.plate = outermost(e, plate), .d = new_dag(e)};
  g.point = build_new(g.d, e->m, LEAF_VALUE);
  g.random = build_new(g.d, e->m, LEAF_RANDOM);
  g.point->span = g.random->span = true;
  g.point->outside = g.random->outside = g.plate < 0;
  g.point->lenient = g.random->lenient = e->options.lenient;
  VEC_PUSH(e->groups, g);
  return e->groups.n - 1;
}

/* Takes back the last group, and its Dag. */
static void drop_group(Emission *e)
{
  e->groups.n--, e->dags.n--;
}

static int group_of(Emission *e, int plate)
{
  for (int g = e->groups.n - 1; g >= 0; g--) {                              /* with room for the axes of one more term; else there are several */
    const Group *group = &e->groups.at[g];
    if (group->plate == outermost(e, plate) && group->d->axes.n <= MAX_AXES / 3 && !group->sums && !group->by_sums) return g;
  }
  return new_group(e, plate);
}

/* A term of the emitted program: one statement, or a marginal latent variable's with all that mention it, whose densities are multiplied and
 * summed over its values: log sum_c exp(log p(c) + sum log p(x | c)). */
typedef struct { int label; IntList stmts; } Joined;

static bool has_term(const Emission *e, int stmt)
{
  const Stmt *s = STMT(e, stmt);
  if (!(s->has_dist || s->kind == ST_FACTOR) || s->kind == ST_AMORTIZE || s->kind == ST_INPUT) return false;
  if (s->kind != ST_FACTOR && is_pruned(e, s->family)) return false;
  return !(s->has_dist && s->dist.dist == DIST_flat);
}

/* `seen`: per family, a definition looked into before. */
static bool expression_mentions(const Emission *e, const MExpr *x, int family, bool *seen)
{
  if (!x) return false;
  RefList refs = {0};
  mexpr_refs(x, &refs);
  for (int i = 0; i < refs.n; i++) {
    if (refs.at[i]->family == family) return true;
    const Family *f = FAMILY(e, refs.at[i]->family);
    if (f->role != ROLE_LET || seen[refs.at[i]->family]) continue;
    seen[refs.at[i]->family] = true;
    for (int k = 0; k < f->n_statements; k++)
      if (expression_mentions(e, STMT(e, f->statements[k])->value, family, seen)) return true;
  }
  return false;
}

static bool mentions_label(const Emission *e, const Stmt *s, int family)
{
  bool *seen = NEW_ARRAY(bool, e->m->families.n);
  if (s->kind == ST_FACTOR) return expression_mentions(e, s->value, family, seen);
  for (int k = 0; s->has_dist && k < s->dist.n_args; k++)
    if (expression_mentions(e, s->dist.args[k], family, seen)) return true;
  return false;
}

/* How a term is integrated, for people: sums over discrete latent variables are exact, so they are named where nothing else is needed. */
static const char *method_word(const Term *t)
{
  return t->method == EXPECT_SAMPLED ? "fixed-draws" : t->method == EXPECT_QUADRATURE ? "quadrature" : t->labels ? "enumeration" : "closed-form";
}

static void definition_index(Builder *b, const Stmt *s, Node *args);

/* Log density of the statements of a joined term under one builder, over the axis of the label's values. */
static Node joined_values(Emission *e, Builder *b, const Joined *j, Term *t, int *label_axis)
{
  Dag *d = b->d;
  const Stmt *first = STMT(e, j->stmts.at[0]);
  Node sum = x_const(d, 0), index[8];
  t->n_axes = build_plates(b, first->plate, t->axes);
  definition_index(b, first, index);
  int axis = *label_axis = build_values(b, j->label, index);
  b->enumerated[j->label] = axis + 1;
  for (int i = 0; i < j->stmts.n; i++) {
    const Stmt *s = STMT(e, j->stmts.at[i]);
    int axes[8], n = build_plates(b, s->plate, axes);
    for (int k = 0; k < t->n_axes; k++)
      if (k >= n || axes[k] != t->axes[k]) {
        diag(b->lenient ? SEV_WARNING : SEV_ERROR, s->span, "put it into the plate that defines the label", "this mentions '%s', which is summed out in another plate",
             FAMILY(e, j->label)->name);
        b->failed = true;
        return sum;
      }
    Node lp = build_term(b, s);
    for (int k = n - 1; k >= t->n_axes; k--) lp = x_sum(d, axes[k], lp);
    sum = x_add(d, sum, lp);
  }
  b->enumerated[j->label] = 0;
  return sum;
}

/* Log density of a term under one builder, a label of its own summed out. */
static Node joined_density(Emission *e, Builder *b, const Joined *j, Term *t)
{
  if (j->label >= 0) {
    int axis;
    Node values = joined_values(e, b, j, t, &axis);
    return b->failed ? values : x_log_sum_exp(b->d, axis, values);
  }
  const Stmt *first = STMT(e, j->stmts.at[0]);
  t->n_axes = build_plates(b, first->plate, t->axes);
  return build_term(b, first);
}

enum { MAX_LABELS = 4, MAX_JOINT_VALUES = 100000 };

/* The term summed over the values of the discrete latent elements it mentions: those that they have (X_VALUE), or weighted with the probabilities that
 * their factors give them (X_MEAN), which are independent unless two mentions are of one element. Where the weight is 0 the density may be: nothing
 * is evaluated there. `outer`: in order of build_labels. */
static Node sum_labels(Dag *d, XOp op, const int *outer, int n, Node body)
{
  double zero;
  if (dag_is_const(d, body, &zero) && zero == 0) return body;
  for (int i = n - 1; i >= 0; i--) {
    Label l = d->labels.at[outer[i]];
    Node own = x_axis(d, l.axis), leaf = label_leaf(d, op, &l), weight = leaf;
    for (int k = 0; k < i && op == X_MEAN; k++) {
      Label o = d->labels.at[outer[k]];
      Node same = x_int(d, 1);
      if (o.family != l.family || leaves_distinct(d, leaf, label_leaf(d, op, &o))) continue;
      for (int a = 0; a < l.n_args; a++) same = x_compare(d, X_AND, same, x_compare(d, X_EQ, l.args[a], o.args[a]));
      weight = x_cond(d, same, x_compare(d, X_EQ, own, x_axis(d, o.axis)), weight);
    }
    Node zero_node = x_const(d, 0);
    if (op == X_VALUE) body = x_cond(d, x_compare(d, X_EQ, leaf, own), body, zero_node);
    else body = x_cond(d, x_compare(d, X_LT, zero_node, weight), x_mul(d, weight, body), zero_node);
    body = x_sum(d, l.axis, body);
  }
  return body;
}

/* Too many joint values? Said at the statement. */
static bool too_many_labels(Emission *e, const Dag *d, const int *labels, int n, const Stmt *s)
{
  double values = 1, v;
  Severity severity = e->options.lenient ? SEV_WARNING : SEV_ERROR;
  if (n < 0) {
    diag(severity, s->span, NULL, "this mentions more than %d discrete latent elements; the sum over their joint values is not supported by code generation", MAX_LABELS);
    return true;
  }
  for (int i = 0; i < n; i++)
    if (dag_is_const(d, d->axes.at[d->labels.at[labels[i]].axis].extent, &v)) values *= v;
  if (values <= MAX_JOINT_VALUES) return false;
  diag(severity, s->span, NULL, "this sums over %.0f values of discrete latent variables; at most %d are supported", values, MAX_JOINT_VALUES);
  return true;
}

/* The plate of the groups: that whose variable is the index of every family that the key is an index of; -1: they are not one plate's. */
static int plate_of_key(const Emission *e, const Dag *d, Node key)
{
  int found = -1;
  for (Node n = 0; n < d->nodes.n; n++) {
    const XNode *x = dag_node(d, n);
    for (int k = 0; k < x->n_args && (x->op == X_MEAN || x->op == X_SD); k++) {
      if (x->args[k] != key) continue;
      const Family *f = FAMILY(e, x->aux);
      const Index *index = k < f->n_index && f->n_statements == 1 ? &STMT(e, f->statements[0])->index[k] : NULL;
      if (!index || index->kind != IX_AFFINE || index->affine.n != 1 || index->affine.constant || index->affine.term[0].kind != ATOM_VAR) return -1;
      const Var *v = &e->m->vars.at[index->affine.term[0].id];
      if (index->affine.term[0].coef != 1 || v->kind != VAR_PLATE || e->m->plates.at[v->plate].parent >= 0) return -1;
      const Var *known = found < 0 ? v : &e->m->vars.at[e->m->plates.at[found].var];
      if (strcmp(mexpr_text(e->m, known->lo), mexpr_text(e->m, v->lo)) || strcmp(mexpr_text(e->m, known->hi), mexpr_text(e->m, v->hi))) return -1;
      if (found < 0) found = v->plate;
    }
  }
  return found;
}

/* Is there more than squares of what varies over the plates? Elements of the outermost plate in terms without it are eliminated, if by anything, in closed form,
 * with all terms in one group. */
static bool beyond_squares(const Dag *d, Node n, AxisSet plates, NodeMap *seen)
{
  const XNode *x = dag_node(d, n);
  if (!x->latent || !(x->axes & plates) || *node_map(seen, n) != NODE_NEW) return false;
  *node_map(seen, n) = 1;
  bool any = x->op == X_FN && x->aux != F_square;
  for (int i = 0; i < x->n_args && !any && x->op != X_MEAN && x->op != X_SD; i++) any = beyond_squares(d, x->args[i], plates, seen);
  return any;
}

/* If the term of this group, which has no other, needs the data through sums alone, a second group evaluates it by them. */
static bool add_sums(Emission *e, int group, const Term *t)
{
  Group *g = &e->groups.at[group];
  Dag *d = g->d;
  Node key, number = NO_NODE;
  int plate = -1;
  if (t->joined || t->labels || t->method == EXPECT_SAMPLED || !sums_key(d, t->axes, t->n_axes, t->expected, &key)) return false;
  if (key >= 0) {
    const bool own = dag_node(d, key)->op == X_AXIS;
    NodeMap seen = {0};
    plate = own ? g->plate : plate_of_key(e, d, key);
    if (plate < 0 || (own && !beyond_squares(d, t->expected, axis_set(t->axes, t->n_axes), &seen))) return false;
    number = x_sub(d, key, build_scalar(g->point, e->m->vars.at[e->m->plates.at[plate].var].lo));
  }
  Sums *sums = NEW(Sums);
  if (!sums_expand(d, t->axes, t->n_axes, t->expected, key, number, sums)) return false;
  g->sums = sums;
  VEC_PUSH(e->groups, (Group){.plate = plate, .d = d, .point = g->point, .random = g->random, .by_sums = true});
  return true;
}

static bool add_term_to(Emission *e, const Joined *j, int group, bool alone);

/* A term goes into a group of its own where that can be evaluated by sums, else into its plate's. */
static void add_term(Emission *e, const Joined *j)
{
  const int plate = STMT(e, j->stmts.at[0])->plate;
  if (plate < 0 || !add_term_to(e, j, new_group(e, plate), true)) add_term_to(e, j, group_of(e, plate), false);
}

/* `alone`: only if it is evaluated by sums; else the group, which is new, is taken back, and the answer is false. */
static bool add_term_to(Emission *e, const Joined *j, int group, bool alone)
{
  const Stmt *first = STMT(e, j->stmts.at[0]);
  Term t = {.stmt = j->stmts.at[0], .group = group, .joined = j->stmts.n > 1};
  if (j->label >= 0 && j->stmts.n == 2) t.stmt = j->stmts.at[1];           /* the observation speaks for the mixture */
  Group *g = &e->groups.at[t.group];
  Dag *d = g->d;
  Node point = joined_density(e, g->point, j, &t), latent, constant;
  if (g->point->failed) {                                                   /* said once */
    g->point->failed = false;
    if (alone) drop_group(e);
    return true;
  }
  Node random = joined_density(e, g->random, j, &t);
  if (d->full && alone) {                                                   /* the second time says so */
    drop_group(e);
    return false;
  }
  if (d->full) {
    diag(e->options.lenient ? SEV_WARNING : SEV_ERROR, first->span, "split it into several statements",
         "more than %d vector sizes, plates and sums in one statement are not supported by code generation", MAX_AXES);
    e->groups.n--;                                                          /* it was made for this term */
    return true;
  }
  int labels[MAX_LABELS], n_labels = build_labels(d, x_add(d, point, random), labels, MAX_LABELS);
  if (alone && n_labels) {
    drop_group(e);
    return false;
  }
  if (too_many_labels(e, d, labels, n_labels, first)) return true;
  split_constant(d, point, &t.value, &t.constant);
  split_constant(d, random, &latent, &constant);
  if (build_labels(d, t.constant, labels, MAX_LABELS)) t.value = point, latent = random, constant = t.constant = x_const(d, 0);
  t.random = latent;
  t.expected = dag_expect(d, x_add(d, latent, x_sub(d, constant, t.constant)), &t.method);
  if (dag_steps(d, t.method == EXPECT_SAMPLED ? latent : t.expected))
    diag(SEV_WARNING, first->span, "smooth instead: inv_logit((a - b) / width) for a > b",
         "this has a step in a latent variable and no expectation in closed form: gradients do not see the step");
  t.labels = n_labels > 0;
  if (n_labels) {
    Node density = t.value;
    build_labels(d, x_add(d, point, random), labels, MAX_LABELS);
    t.value = sum_labels(d, X_VALUE, labels, n_labels, density);
    t.averaged = t.method == EXPECT_SAMPLED ? sum_labels(d, X_MEAN, labels, n_labels, density) : NO_NODE;
    if (t.expected >= 0) t.expected = sum_labels(d, X_MEAN, labels, n_labels, t.expected);
  } else {
    t.averaged = t.value;
  }
  if (alone && !add_sums(e, group, &t)) {
    drop_group(e);
    return false;
  }
  g = &e->groups.at[group];
  VEC_PUSH(g->terms, e->terms.n);
  for (int i = 0; i < j->stmts.n; i++) {
    const Stmt *s = STMT(e, j->stmts.at[i]);
    e->statement_term[j->stmts.at[i]] = e->terms.n;
    VEC_PUSH(e->expectations, (Expectation){.factor = s->kind == ST_FACTOR ? "factor" : FAMILY(e, s->family)->name, .line = source_place(s->span.begin).line,
                                             .method = method_word(&t), .statement = j->stmts.at[i]});
  }
  VEC_PUSH(e->terms, t);
  return true;
}

/* A marginal latent variable's statement, and those that mention it. */
static Joined joined_with(const Emission *e, int stmt)
{
  Joined j = {.label = STMT(e, stmt)->family};
  VEC_PUSH(j.stmts, stmt);
  for (int i = 0; i < e->m->stmts.n; i++)
    if (i != stmt && has_term(e, i) && mentions_label(e, STMT(e, i), j.label)) VEC_PUSH(j.stmts, i);
  return j;
}

static void prepare_term(Emission *e, int stmt)
{
  const Stmt *s = STMT(e, stmt);
  if (!has_term(e, stmt)) return;
  if (s->kind != ST_FACTOR && FAMILY(e, s->family)->role == ROLE_MARGINAL) {
    if (FAMILY(e, s->family)->n_statements > 1) {                           /* which of them a mention is of is not looked at */
      diag(e->options.lenient ? SEV_WARNING : SEV_ERROR, s->span, "put them into one plate, or give each a name",
           "a marginal latent variable with several definitions is not supported by code generation yet");
      return;
    }
    Joined j = joined_with(e, stmt);
    add_term(e, &j);
    return;
  }
  for (int i = 0; i < e->m->families.n; i++)                                /* part of a joined term */
    if (FAMILY(e, i)->role == ROLE_MARGINAL && mentions_label(e, s, i)) return;
  Joined j = {.label = -1};
  VEC_PUSH(j.stmts, stmt);
  add_term(e, &j);
}

/* ---- axes of minibatches: plates and index positions that run together ------------------------------------------------------------------- */

static int find_root(int *up, int i)
{
  while (up[i] != i) i = up[i] = up[up[i]];
  return i;
}

static void join_indices(Emission *e, int *up, const int *first, int family, int n, const Index *index)
{
  for (int k = 0; k < n; k++)
    if (index[k].kind == IX_AFFINE && index[k].affine.n >= 1 && index[k].affine.term[0].kind == ATOM_VAR && index[k].affine.term[0].coef == 1)
      up[find_root(up, first[family] + k)] = find_root(up, index[k].affine.term[0].id);
  (void)e;
}

static void join_refs(Emission *e, int *up, const int *first, const MExpr *x)
{
  if (!x) return;
  RefList refs = {0};
  mexpr_refs(x, &refs);
  for (int i = 0; i < refs.n; i++) join_indices(e, up, first, refs.at[i]->family, refs.at[i]->n_index, refs.at[i]->index);
}

static void find_axes(Emission *e)
{
  const Model *m = e->m;
  int *first = NEW_ARRAY(int, m->families.n + 1), n = m->vars.n;
  for (int f = 0; f < m->families.n; f++) first[f] = n, n += m->families.at[f].n_index;
  int *up = NEW_ARRAY(int, n + 1), *id = NEW_ARRAY(int, n + 1);
  for (int i = 0; i < n; i++) up[i] = i, id[i] = -1;
  for (int i = 0; i < m->stmts.n; i++) {
    const Stmt *s = STMT(e, i);
    if (s->family >= 0) join_indices(e, up, first, s->family, s->n_index, s->index);
    join_refs(e, up, first, s->value);
    for (int k = 0; s->has_dist && k < s->dist.n_args; k++) join_refs(e, up, first, s->dist.args[k]);
  }
  e->axis_of_var = NEW_ARRAY(int, m->vars.n + 1);
  for (int v = 0; v < m->vars.n; v++) {
    int r = find_root(up, v);
    if (m->vars.at[v].kind == VAR_PLATE && id[r] < 0) id[r] = e->n_axes++;
    e->axis_of_var[v] = id[r];
  }
}

static int axis_of_index(const Emission *e, const Index *ix)
{
  for (int i = 0; i < ix->affine.n; i++)
    if (ix->affine.term[i].kind == ATOM_VAR) return e->axis_of_var[ix->affine.term[i].id];
  return -1;
}

/* The runtime wants a plate's terms side by side. */
static void sort_terms(Emission *e)
{
  Term *sorted = NEW_ARRAY(Term, e->terms.n + 1);
  int n = 0;
  for (int g = 0; g < e->groups.n; g++) {
    Group *gr = &e->groups.at[g];
    for (int i = 0; i < gr->terms.n; i++) {
      sorted[n] = e->terms.at[gr->terms.at[i]];
      gr->terms.at[i] = n;
      e->statement_term[sorted[n].stmt] = n;
      n++;
    }
  }
  e->terms.at = sorted;
}

static void find_single(Emission *e, Group *g);

Emission *emit_prepare(const Model *m, const Analysis *a, const EmitOptions *options)
{
  Emission *e = NEW(Emission);
  e->m = m, e->a = a, e->options = *options;
  e->verdict = NEW_ARRAY(const LatentVerdict *, m->families.n);
  for (int i = 0; i < m->families.n; i++) e->verdict[i] = family_verdict(a, i);
  c_names(m);
  e->name = !strcmp(m->name, "pgm") || !strcmp(m->name, "cblas") ? arena_printf("%s_", m->name) : m->name;
  e->statement_term = NEW_ARRAY(int, m->stmts.n + 1);
  for (int i = 0; i < m->stmts.n; i++) e->statement_term[i] = -1;
  find_axes(e);
  for (int i = 0; i < m->stmts.n; i++) prepare_term(e, i);
  sort_terms(e);
  for (int g = 0; g < e->groups.n && options->single; g++) find_single(e, &e->groups.at[g]);
  if (options->dump_expr)
    for (int i = 0; i < e->terms.n; i++) {
      const Term *t = &e->terms.at[i];
      const Dag *d = e->groups.at[t->group].d;
      StrBuf b = {0};
      sb_printf(&b, "line %d: %s\n  point     ", source_place(STMT(e, t->stmt)->span.begin).line, statement_text(e, STMT(e, t->stmt)));
      dag_print(d, t->value, &b), sb_puts(&b, "\n  constant  "), dag_print(d, t->constant, &b);
      sb_puts(&b, "\n  expected  ");
      if (t->expected >= 0) dag_print(d, t->expected, &b);
      else sb_puts(&b, "(sampled)");
      fprintf(options->dump_expr, "%s\n", sb_text(&b));
    }
  return e;
}

int emit_expectations(const Emission *e, const Expectation **out)
{
  *out = e->expectations.at;
  return e->expectations.n;
}

/* Inner plates whose range depends on the outer ones are addressed in their bounding box, which shape() leaves in the env. */
static bool ragged(const Dag *d, const Term *t)
{
  for (int i = 1; i < t->n_axes; i++)
    if (dag_axes(d, d->axes.at[t->axes[i]].lo) | dag_axes(d, d->axes.at[t->axes[i]].hi)) return true;
  return false;
}

/* ---- the env struct -------------------------------------------------------------------------------------------------------------------------- */

static void emit_env(Emission *e)
{
  const Model *m = e->m;
  put(e, "/* What the kernels read and write; filled by the runtime. */\nstruct %s_env {\n  PgmEnvBase rt;\n", e->name);
  for (int i = 0; i < m->families.n; i++) {
    const Family *f = FAMILY(e, i);
    if (f->role == ROLE_LET && (f->block_let || !f->n_index)) continue;
    const char *name = c_name(f->name), *line = comment_text(source_slice(STMT(e, f->statements[0])->span));
    if (is_latent_role(f)) put(e, "  PgmLatent %s;", name);
    else if (f->role == ROLE_LET) put(e, "  /* line %d: %s */\n", source_place(f->span.begin).line, line);
    else if (is_scalar_input(f)) put(e, "  %s %s;", f->type.kind == TY_INT ? "long" : "double", name);
    else put(e, "  const %s *%s;", f->type.kind == TY_INT ? "int" : "double", name);
    if (f->role == ROLE_OBSERVED) put(e, "  const unsigned char *%s_present;", name);
    if (f->role != ROLE_LET) put(e, "  /* line %d: %s */\n", source_place(f->span.begin).line, line);
    if (f->n_index) put(e, "  long %s_lo[%d], %s_n[%d];\n", name, f->n_index, name, f->n_index);
  }
  for (int g = 0; g < e->groups.n; g++)
    for (int r = 0; r < e->groups.at[g].refs.n; r++)
      put(e, "  PgmRefBar %s;  /* adjoints of %s, %d per plate of line %d */\n", e->groups.at[g].refs.at[r].name, e->groups.at[g].refs.at[r].text, 1,
          source_place(m->plates.at[e->groups.at[g].plate].span.begin).line);
  for (int i = 0; i < e->groups.n; i++) {
    const Group *g = &e->groups.at[i];
    if (!g->sums) continue;
    const char *by = e->groups.at[i + 1].plate >= 0 ? arena_printf("by %s", m->vars.at[m->plates.at[e->groups.at[i + 1].plate].var].name) : "in all";
    put(e, "  const double *%s[%d];  /* of the plate of line %d, %s: %d means, %d sums */\n", tables_name(e, g), g->sums->centred.n + g->sums->sum.n,
        source_place(m->plates.at[g->plate].span.begin).line, by, g->sums->centred.n, g->sums->sum.n);
  }
  for (int i = 0; i < e->terms.n; i++)
    if (ragged(e->groups.at[e->terms.at[i].group].d, &e->terms.at[i]))
      put(e, "  long term%d_lo[%d], term%d_n[%d];\n", i, e->terms.at[i].n_axes, i, e->terms.at[i].n_axes);
  for (int i = 0; i < e->dags.n; i++)
    for (int a = 0; a < e->dags.at[i]->axes.n; a++)
      if (e->dags.at[i]->rooms & AXIS_BIT(a)) put(e, "  long %s;  /* most values of %s */\n", cprint_room(e->dags.at[i], a), e->dags.at[i]->axes.at[a].name);
  put(e, "};\n\n");
}

/* ---- plain functions: loops over plates ------------------------------------------------------------------------------------------------------ */

/* A printer for functions outside the objective: all plates are ordinary loops or given. */
static CPrint *plain_printer(Emission *e, Dag *d, AxisSet given)
{
  CPrint *p = NEW(CPrint);
  p->k = kernel_new(d, given);
  p->d = d;
  p->heap = true;
  p->env_name = e->name;
  p->indent = 1;
  return p;
}

static void emit_function(Emission *e, const char *signature, CPrint *p, const char *tail)
{
  put(e, "%s\n{\n  const struct %s_env *const e = env;\n%s%s", signature, e->name, sb_text(&p->declarations), sb_text(&p->scratch_decls));
  if (!strstr(sb_text(&p->declarations), "e->")) put(e, "  (void)e;\n");
  put(e, "%s%s%s}\n\n", sb_text(&p->body), sb_text(&p->scratch_free), tail);
}

/* Opens the loops over a statement's plates from depth `from`; closes with close_loops. */
static int open_plates(CPrint *p, Builder *b, int plate, int from)
{
  int axes[8], n = build_plates(b, plate, axes);
  for (int i = from; i < n; i++) {
    const Axis *a = &b->d->axes.at[axes[i]];
    const char *v = c_axis(b->d, axes[i]);
    cprint_line(p, "for (long %s = %s; %s <= %s; %s++) {", v, cprint_expr(p, a->lo), v, cprint_expr(p, a->hi), v);
    p->indent++;
  }
  return n - from;
}

static void close_loops(CPrint *p, int n)
{
  for (int i = 0; i < n; i++) {
    p->indent--;
    cprint_line(p, "}");
  }
}

static void definition_index(Builder *b, const Stmt *s, Node *args)
{
  for (int k = 0; k < s->n_index; k++) args[k] = build_index(b, &s->index[k]);
}

/* Ranges may be read from input arrays (plate i in 1..M[g]), which are not there yet when the runtime asks for the first time: opens `if (e->M) {`
 * for each of them. Returns how many blocks were opened. */
static int open_guards(const Emission *e, CPrint *p, const Dag *d, Node n, IntList *seen)
{
  const XNode *x = dag_node(d, n);
  int opened = 0;
  if (x->op == X_INPUT && x->n_args) {
    bool known = false;
    for (int i = 0; i < seen->n; i++) known = known || seen->at[i] == x->aux;
    if (!known) {
      VEC_PUSH(*seen, x->aux);
      cprint_line(p, "if (e->%s) {", c_name(FAMILY(e, x->aux)->name));
      p->indent++;
      opened++;
    }
  }
  for (int i = 0; i < x->n_args; i++) opened += open_guards(e, p, d, x->args[i], seen);
  return opened;
}

/* Fills the env's rooms of a Dag: the greatest extents of axes whose ranges vary over plates. */
static void emit_rooms(Emission *e, CPrint *p, Dag *d)
{
  Dag *shape = p->d;
  p->d = d;
  for (int a = 0; a < d->axes.n; a++) {
    if (!(d->rooms & AXIS_BIT(a))) continue;
    IntList seen = {0};
    const char *room = cprint_room(d, a);
    Node extent = d->axes.at[a].extent;
    int outer[MAX_AXES], n = axes_in_order(d, dag_axes(d, extent), outer), opened = 0;
    cprint_line(p, "w->%s = 0;", room);
    for (int i = 0; i < n; i++) {
      const Axis *o = &d->axes.at[outer[i]];
      opened += open_guards(e, p, d, o->lo, &seen) + open_guards(e, p, d, o->hi, &seen);
      const char *v = c_axis(d, outer[i]);
      cprint_line(p, "for (long %s = %s; %s <= %s; %s++) {", v, cprint_expr(p, o->lo), v, cprint_expr(p, o->hi), v);
      p->indent++, opened++;
    }
    opened += open_guards(e, p, d, extent, &seen);
    cprint_line(p, "if (%s > w->%s) w->%s = %s;", cprint_expr(p, extent), room, room, cprint_expr(p, extent));
    close_loops(p, opened);
  }
  p->d = shape;
}

/* Expressions of another plate in the same function. */
static Builder *start_dag(Emission *e, CPrint *p)
{
  p->d = new_dag(e);
  p->k = kernel_new(p->d, 0);
  return build_new(p->d, e->m, LEAF_VALUE);
}

/* shape(): bounding boxes of families and terms, ranges of outermost plates. */
static void emit_shape(Emission *e)
{
  const Model *m = e->m;
  CPrint *p = plain_printer(e, new_dag(e), 0);
  for (int i = 0; i < m->families.n; i++) {
    const Family *f = FAMILY(e, i);
    if (f->role == ROLE_LET && f->block_let) continue;
    Builder *b = start_dag(e, p);
    Dag *d = p->d;
    const char *box = arena_printf("shape->family[%d]", i);
    cprint_line(p, "/* %s */", f->name);
    for (int k = 0; k < f->n_index; k++) cprint_line(p, "pgm_range_start(&%s.lo[%d], &%s.hi[%d]);", box, k, box, k);
    for (int j = 0; j < f->n_statements && f->n_index; j++) {
      const Stmt *s = STMT(e, f->statements[j]);
      for (int k = 0; k < s->n_index; k++) {
        const Affine *a = &s->index[k].affine;
        if (a->n == 0 || a->term[0].kind != ATOM_VAR) {
          const char *c = cprint_expr(p, build_index(b, &s->index[k]));
          cprint_line(p, "pgm_range_widen(&%s.lo[%d], &%s.hi[%d], %s, %s);", box, k, box, k, c, c);
          continue;
        }
        int var = a->term[0].id, plate = m->vars.at[var].plate, axes[8];
        build_plates(b, s->plate, axes);
        Node lo = build_scalar(b, m->vars.at[var].lo), hi = build_scalar(b, m->vars.at[var].hi);
        IntList seen = {0};
        int opened = open_guards(e, p, d, lo, &seen) + open_guards(e, p, d, hi, &seen);
        if (dag_axes(d, lo) | dag_axes(d, hi)) opened += open_plates(p, b, m->plates.at[plate].parent, 0);
        Node keep = b->env[var];
        b->env[var] = lo;
        const char *from = cprint_expr(p, build_index(b, &s->index[k]));
        b->env[var] = hi;
        const char *to = cprint_expr(p, build_index(b, &s->index[k]));
        b->env[var] = keep;
        cprint_line(p, "pgm_range_widen(&%s.lo[%d], &%s.hi[%d], %s, %s);", box, k, box, k, from, to);
        close_loops(p, opened);
      }
    }
    for (int k = 0; k < f->n_index; k++) {
      cprint_line(p, "pgm_range_close(&%s.lo[%d], &%s.hi[%d]);", box, k, box, k);
      cprint_line(p, "w->%s_lo[%d] = %s.lo[%d];", c_name(f->name), k, box, k);
      cprint_line(p, "w->%s_n[%d] = %s.hi[%d] - %s.lo[%d] + 1;", c_name(f->name), k, box, k, box, k);
    }
    for (int k = 0; k < 2; k++) {
      Node dim = k < type_rank(f->type.kind) ? build_scalar(b, f->type.dim[k]) : x_int(d, 1);
      IntList seen = {0};
      int opened = open_guards(e, p, d, dim, &seen);
      cprint_line(p, "%s.dim[%d] = %s;", box, k, cprint_expr(p, dim));
      close_loops(p, opened);
    }
  }
  for (int i = 0; i < e->terms.n; i++) {
    const Stmt *s = STMT(e, e->terms.at[i].stmt);
    Builder *b = start_dag(e, p);
    Dag *d = p->d;
    int chain[8], n = model_plate_chain(m, s->plate, chain, 8), axes[8];
    build_plates(b, s->plate, axes);
    for (int k = 0; k < n; k++) {
      const char *at = arena_printf("&shape->term[%d].lo[%d], &shape->term[%d].hi[%d]", i, k, i, k);
      const Axis *a = &d->axes.at[axes[k]];
      cprint_line(p, "pgm_range_start(%s);", at);
      IntList seen = {0};
      int opened = open_guards(e, p, d, a->lo, &seen) + open_guards(e, p, d, a->hi, &seen);
      if (dag_axes(d, a->lo) | dag_axes(d, a->hi)) opened += open_plates(p, b, m->plates.at[chain[k]].parent, 0);
      cprint_line(p, "pgm_range_widen(%s, %s, %s);", at, cprint_expr(p, a->lo), cprint_expr(p, a->hi));
      close_loops(p, opened);
      cprint_line(p, "pgm_range_close(%s);", at);
      if (ragged(e->groups.at[e->terms.at[i].group].d, &e->terms.at[i])) {
        cprint_line(p, "w->term%d_lo[%d] = shape->term[%d].lo[%d];", i, k, i, k);
        cprint_line(p, "w->term%d_n[%d] = shape->term[%d].hi[%d] - shape->term[%d].lo[%d] + 1;", i, k, i, k, i, k);
      }
    }
  }
  for (int g = 0; g < e->groups.n; g++) {
    if (e->groups.at[g].plate < 0) {
      cprint_line(p, "shape->plate_lo[%d] = shape->plate_hi[%d] = 0;", g, g);
      continue;
    }
    Builder *b = start_dag(e, p);
    Dag *d = p->d;
    int axes[8];
    build_plates(b, e->groups.at[g].plate, axes);
    const Axis *a = &d->axes.at[axes[0]];
    IntList seen = {0};
    int opened = open_guards(e, p, d, a->lo, &seen) + open_guards(e, p, d, a->hi, &seen);
    cprint_line(p, "shape->plate_lo[%d] = %s;", g, cprint_expr(p, a->lo));
    cprint_line(p, "shape->plate_hi[%d] = %s;", g, cprint_expr(p, a->hi));
    close_loops(p, opened);
  }
  for (int i = 0; i < e->dags.n; i++) emit_rooms(e, p, e->dags.at[i]);
  put(e, "/* Ranges and sizes, once the scalar inputs are known. */\nstatic void %s_shape(const void *env, PgmShape *shape)\n{\n", e->name);
  put(e, "  const struct %s_env *const e = env;\n  struct %s_env *const w = (struct %s_env *)env;\n%s", e->name, e->name, e->name, sb_text(&p->declarations));
  put(e, "  (void)e, (void)w;\n%s}\n\n", sb_text(&p->body));
}

/* The elements a statement defines, as runs. */
static void emit_elements(Emission *e, int stmt)
{
  const Stmt *s = STMT(e, stmt);
  Dag *d = new_dag(e);
  Builder *b = build_new(d, e->m, LEAF_VALUE);
  CPrint *p = plain_printer(e, d, 0);
  int axes[8], n = build_plates(b, s->plate, axes);
  Node args[8];
  definition_index(b, s, args);
  /* the innermost plate as one run where its variable is the last index */
  bool run = n && s->n_index && s->index[s->n_index - 1].affine.n == 1 && s->index[s->n_index - 1].affine.term[0].kind == ATOM_VAR &&
             s->index[s->n_index - 1].affine.term[0].id == d->axes.at[axes[n - 1]].var;
  int opened = open_plates(p, b, run ? e->m->plates.at[s->plate].parent : s->plate, 0);
  if (run) {
    const Axis *a = &d->axes.at[axes[n - 1]];
    Node last = args[s->n_index - 1];
    args[s->n_index - 1] = dag_substitute_axis(d, last, axes[n - 1], a->lo);
    cprint_line(p, "if (%s <= %s) sink->run(sink, %s, %s);", cprint_expr(p, a->lo), cprint_expr(p, a->hi),
                cprint_expr(p, family_position(d, s->family, s->n_index, args)), cprint_expr(p, a->extent));
  } else {
    cprint_line(p, "sink->run(sink, %s, 1);", cprint_expr(p, family_position(d, s->family, s->n_index, args)));
  }
  close_loops(p, opened);
  emit_function(e, arena_printf("static void %s_elements_%d(const void *env, PgmSink *sink)", e->name, stmt), p, "");
}

/* Printing of `array[position] = value` for OUT_STORE outputs; args[0] is the position. */
static void store_statement(CPrint *p, const LoopOut *o)
{
  cprint_line(p, "%s[%s] = %s;", (const char *)p->statement_data, cprint_expr(p, o->args[0]), cprint_expr(p, o->value));
}

/* Stores a statement's expression over all its elements and entries into `array`. */
static void emit_store(Emission *e, const char *signature, const char *array, const Stmt *s, Dag *d, Builder *b, Value v)
{
  int axes[8], n = build_plates(b, s->plate, axes);
  Node args[8];
  definition_index(b, s, args);
  int rank = type_rank(FAMILY(e, s->family)->type.kind);
  AxisSet all = axis_set(axes, n);
  if (v.rank == 0 && rank) {                                                /* a scalar for every entry */
    for (int k = 0; k < rank; k++) {
      Node extent = build_scalar(b, FAMILY(e, s->family)->type.dim[k]);
      v.axis[k] = dag_dim_axis(d, extent, k);
    }
    v.rank = rank;
  } else {
    v = value_ready(b, v);
  }
  for (int k = 0; k < v.rank; k++) args[s->n_index + k] = x_axis(d, v.axis[k]), all |= AXIS_BIT(v.axis[k]);
  CPrint *p = plain_printer(e, d, 0);
  LoopOut o = {.kind = OUT_STORE, .value = v.node, .leaf = NO_NODE, .axes = all, .n_args = 1};
  o.args[0] = family_position(d, s->family, s->n_index + v.rank, args);
  VEC_PUSH(p->k->outs, o);
  p->statement = store_statement;
  p->statement_data = (void *)array;
  kernel_lower(p->k);
  cprint_kernel(p);
  emit_function(e, signature, p, "");
}

/* ---- kernels ---------------------------------------------------------------------------------------------------------------------------------- */

static bool same_args(const XNode *x, const Ref *r)
{
  if (x->aux != r->family || x->n_args != r->n_args) return false;
  for (int i = 0; i < x->n_args; i++)
    if (x->args[i] != r->args[i]) return false;
  return true;
}

typedef struct { Emission *e; Group *g; } ClassifyData;

static RefClass classify_leaf(void *data, Node leaf, RefSlot *slot)
{
  ClassifyData *c = data;
  Group *g = c->g;
  Dag *d = g->d;
  XNode x = *dag_node(d, leaf);
  const Family *f = FAMILY(c->e, x.aux);
  bool unit = g->plate >= 0 && (x.axes & AXIS_BIT(0));
  if (!unit) {
    bool known = false;
    for (int i = 0; i < g->shared.n; i++) known = known || g->shared.at[i] == x.aux;
    if (!known) VEC_PUSH(g->shared, x.aux);
    return REF_SHARED;
  }
  int offset;
  bool table = false;
  for (int k = 0; k < f->n_index; k++) table = table || dag_node(d, x.args[k])->lookup;
  int *own_position = g->own_position, *own_offset = g->own_offset;
  for (int k = 0; k < f->n_index && !table; k++)
    if (dag_unit_offset(d, x.args[k], &offset)) {
      if (own_position[x.aux] < 0) own_position[x.aux] = k, own_offset[x.aux] = offset;
      if (own_position[x.aux] == k && own_offset[x.aux] == offset) return REF_OWN;
    }
  for (int i = 0; i < g->refs.n; i++)
    if (same_args(&x, &g->refs.at[i])) {
      *slot = (RefSlot){.leaf = leaf, .name = g->refs.at[i].name, .width = g->refs.at[i].width, .inner = g->refs.at[i].inner};
      return REF_BUFFER;
    }
  Ref r = {.family = x.aux, .n_args = x.n_args, .inner_axes = x.axes & ~AXIS_BIT(0)};
  memcpy(r.args, x.args, sizeof(Node) * (size_t)x.n_args);
  int axes[MAX_AXES], n = axes_in_order(d, r.inner_axes, axes);
  r.width = x_int(d, 1), r.inner = x_int(d, 0);
  for (int i = 0; i < n; i++) {
    const Axis *a = &d->axes.at[axes[i]];
    Node room = dag_room(d, axes[i]);
    r.width = x_mul(d, r.width, room);
    r.inner = x_add(d, x_mul(d, r.inner, room), x_sub(d, x_axis(d, axes[i]), a->lo));
    r.ragged = r.ragged || room != a->extent;
  }
  int total = 0;
  for (int k = 0; k < c->e->groups.n; k++) total += c->e->groups.at[k].refs.n;
  r.name = arena_printf("%s_ref%d", c_name(f->name), total + 1);
  StrBuf text = {0};
  dag_print(d, leaf, &text);
  const char *t = sb_text(&text);
  r.text = !strncmp(t, "mean ", 5) ? t + 5 : !strncmp(t, "sd ", 3) ? t + 3 : t;
  VEC_PUSH(g->refs, r);
  *slot = (RefSlot){.leaf = leaf, .name = r.name, .width = r.width, .inner = r.inner};
  return REF_BUFFER;
}

typedef enum { K_POINT, K_EXPECTED, K_REST, K_SINGLE, K_CONSTANT, K_ELIMINATED, K_COMPLETE, K_RESTORE, KERNEL_KINDS } KernelKind;
static const char *const kernel_names[] = {"point", "expected", "rest", "single", "constant", "eliminated", "complete", "restore"};

static Node term_node(const Term *t, KernelKind kind)
{
  switch (kind) {
  case K_POINT: return t->value;
  case K_EXPECTED: case K_ELIMINATED: case K_COMPLETE: return t->method == EXPECT_SAMPLED ? NO_NODE : t->expected;
  case K_REST: case K_SINGLE: return t->method == EXPECT_SAMPLED ? t->averaged : NO_NODE;
  case K_CONSTANT: return t->constant;
  case K_RESTORE: case KERNEL_KINDS: break;
  }
  return NO_NODE;
}

static Node sum_inner(Dag *d, const Term *t, Node n)
{
  for (int i = t->n_axes - 1; i >= 1; i--) n = x_sum(d, t->axes[i], n);
  return n;
}

static void label_term(Emission *e, CPrint *p, const Term *t, Node n)
{
  const Stmt *s = STMT(e, t->stmt);
  if (dag_node(p->d, n)->op == X_CONST) return;
  NodeLabel l = {.node = n};
  l.name = s->kind == ST_FACTOR ? "lp_factor" : arena_printf("lp_%s", FAMILY(e, s->family)->name);
  l.comment = arena_printf("%s:%d  %s", base_name(e->m->file), source_place(s->span.begin).line, comment_text(statement_text(e, s)));
  VEC_PUSH(p->labels, l);
  VEC_PUSH(p->k->named, n);
}

static void dump_kernel(Emission *e, const Group *g, const char *what, const Kernel *k)
{
  if (!e->options.dump_loop) return;
  fprintf(e->options.dump_loop, "%s of %s\n", what, g->plate < 0 ? "the terms outside plates" : source_slice(e->m->plates.at[g->plate].span));
  kernel_dump(k, e->options.dump_loop);
}

/* Does the C text mention the identifier? */
static bool mentions(const char *text, const char *name)
{
  size_t n = strlen(name);
  for (const char *s = text; (s = strstr(s, name)); s++)
    if ((s == text || !(isalnum((unsigned char)s[-1]) || s[-1] == '_')) && !(isalnum((unsigned char)s[n]) || s[n] == '_')) return true;
  return false;
}

/* As the kernel has it: with the best factors in place of those of eliminated elements, with nothing missing. */
static Node for_kernel(const Group *g, KernelKind kind, Node n)
{
  if (kind == K_ELIMINATED || kind == K_COMPLETE) n = dag_eliminated(g->d, n, &g->eliminated);
  return kind == K_COMPLETE ? dag_complete(g->d, n) : n;
}

/* The sum of the entropies of the best factors, within a unit. */
static Node eliminated_entropy(const Group *g)
{
  const double half_log_2pi_e = 1.41893853320467274178;
  Dag *d = g->d;
  Node sum = x_const(d, 0);
  for (int i = 0; i < g->eliminated.n; i++) {
    const Eliminated *z = &g->eliminated.at[i];
    Node entropy = x_sub(d, x_const(d, half_log_2pi_e), x_mul(d, x_const(d, 0.5), x_log(d, z->precision)));
    int axes[MAX_AXES], n = axes_in_order(d, dag_axes(d, z->mean) & ~AXIS_BIT(0), axes);
    while (n--) entropy = x_sum(d, axes[n], entropy);
    sum = x_add(d, sum, entropy);
  }
  return sum;
}

/* The term of the group before, over the groups of its elements: their number is the unit axis now. */
static Node sums_over_groups(const Group *g)
{
  const Sums *sums = g[-1].sums;
  return sums->key >= 0 ? dag_replace(g->d, sums->value, sums->key, x_axis(g->d, 0)) : sums->value;
}

/* The group's terms as the kernel has them, added up, without the elimination's replacements; NO_NODE where there are none. With `p`: labels them there. */
static Node group_sum(Emission *e, Group *g, KernelKind kind, CPrint *p)
{
  Dag *d = g->d;
  Node sum = x_const(d, 0);
  bool any = false;
  if (g->by_sums && kind == K_EXPECTED) {
    sum = sums_over_groups(g);
    if (p) label_term(e, p, &e->terms.at[g[-1].terms.at[0]], sum);
    return sum;
  }
  for (int i = 0; i < g->terms.n; i++) {
    const Term *t = &e->terms.at[g->terms.at[i]];
    Node n = term_node(t, kind);
    double zero;
    if (n < 0 || (dag_is_const(d, n, &zero) && zero == 0)) continue;
    any = true;
    if (p) label_term(e, p, t, for_kernel(g, kind, n));
    sum = x_add(d, sum, sum_inner(d, t, n));
  }
  return any ? sum : NO_NODE;
}

static void accumulate(CPrint *p, ClassifyData *data, Node leaf, Node value)
{
  RefSlot slot;
  if (data) classify_leaf(data, leaf, &slot);                               /* in a fixed order, bare references first come by node order */
  VEC_PUSH(p->k->outs, (LoopOut){.kind = OUT_ACCUMULATE, .value = value, .leaf = leaf});
}

/* What the kernel computes: value and gradient of the terms; of restore the best factors, as if they were adjoints. False: nothing. Without p->data
 * references are not entered in the group's tables. */
static bool kernel_outputs(Emission *e, Group *g, KernelKind kind, CPrint *p)
{
  Dag *d = g->d;
  ClassifyData *data = p->data;
  LeafAdjoints adjoints = {0};
  if (kind >= K_ELIMINATED && !g->eliminated.n) return false;
  if (kind == K_SINGLE && !g->single) return false;
  if (kind == K_RESTORE) {
    VEC_PUSH(p->k->outs, (LoopOut){.kind = OUT_VALUE, .value = x_const(d, 0), .leaf = NO_NODE});
    for (int i = 0; i < g->eliminated.n; i++) {
      accumulate(p, data, g->eliminated.at[i].mean, g->eliminated.at[i].best_mean);
      accumulate(p, data, g->eliminated.at[i].sd, g->eliminated.at[i].best_sd);
    }
    return true;
  }
  Node sum = group_sum(e, g, kind, p);
  if (sum < 0) return false;
  Node root = g->plate >= 0 ? x_sum(d, 0, sum) : sum, value = root;
  if (kind >= K_ELIMINATED) value = for_kernel(g, kind, x_sum(d, 0, x_add(d, sum, eliminated_entropy(g))));
  VEC_PUSH(p->k->outs, (LoopOut){.kind = OUT_VALUE, .value = value, .leaf = NO_NODE});
  if (kind == K_EXPECTED || kind >= K_ELIMINATED) dag_gradient(d, root, x_weight(d), X_MEAN, X_SD, &adjoints);
  else if (kind != K_CONSTANT) dag_gradient(d, root, x_weight(d), X_VALUE, X_MEAN, &adjoints);   /* means: probabilities of discrete values */
  for (int i = 0; i < adjoints.n; i++) {
    const Node leaf = adjoints.at[i].leaf;
    bool gone = false;
    for (int k = 0; k < g->eliminated.n && kind >= K_ELIMINATED; k++) gone = gone || leaf == g->eliminated.at[k].mean || leaf == g->eliminated.at[k].sd;
    if (!gone) accumulate(p, data, leaf, for_kernel(g, kind, adjoints.at[i].adjoint));
  }
  return true;
}

/* A division takes as long as four to eight multiplications: where the divisor stays the same in the innermost loop, its reciprocal is taken outside. */
static void divide_outside(CPrint *p)
{
  NodeMap done = {0};
  for (int i = 0; i < p->k->outs.n; i++) p->k->outs.at[i].value = dag_divide_outside(p->d, p->k->outs.at[i].value, &done);
  for (int i = 0; i < p->labels.n; i++) p->labels.at[i].node = dag_divide_outside(p->d, p->labels.at[i].node, &done);
  for (int i = 0; i < p->k->named.n; i++) p->k->named.at[i] = dag_divide_outside(p->d, p->k->named.at[i], &done);
}

/* Decides whether the group's sampled terms get a kernel in single precision too. */
static void find_single(Emission *e, Group *g)
{
  CPrint p = {.k = kernel_new(g->d, 0), .d = g->d};
  if (g->plate < 0) return;
  dag_order_axes(g->d);
  p.k->single = g->single = true;
  if (kernel_outputs(e, g, K_SINGLE, &p)) {
    divide_outside(&p);
    kernel_lower(p.k);
  } else {
    p.k->single = false;
  }
  g->single = p.k->single;
  for (int f = 0; f < e->m->families.n && g->single; f++)
    if (p.k->products[f]) VEC_PUSH(g->products, f);
  for (int i = 0; i < g->terms.n && g->single; i++) {
    const Term *t = &e->terms.at[g->terms.at[i]];
    for (int k = 0; k < e->expectations.n; k++)
      if (t->method == EXPECT_SAMPLED && e->expectations.at[k].statement == t->stmt) e->expectations.at[k].single = true;
  }
}

bool emit_has_single(const Emission *e)
{
  for (int g = 0; g < e->groups.n; g++)
    if (e->groups.at[g].single) return true;
  return false;
}

/* Returns false when there is nothing to compute. */
static bool emit_kernel(Emission *e, Group *g, KernelKind kind)
{
  Dag *d = g->d;
  CPrint *p = NEW(CPrint);
  ClassifyData data = {e, g};
  p->k = kernel_new(d, 0);
  p->k->single = kind == K_SINGLE;
  p->d = d;
  p->env_name = e->name;
  p->span = g->plate >= 0;
  p->classify = classify_leaf, p->data = &data;
  if (g->by_sums) p->tables = tables_name(e, g - 1);
  if (!kernel_outputs(e, g, kind, p)) return false;
  divide_outside(p);
  kernel_lower(p->k);
  dump_kernel(e, g, kernel_names[kind], p->k);
  p->units_given = true;
  cprint_kernel(p);
  const char *suffix = group_name(e, g), *name = arena_printf("%s_%s_%s", e->name, suffix, kernel_names[kind]);
  if (p->uses_units) put(e, "PGM_KERNEL(%s)\n{\n", name);
  else put(e, "static double %s(const void *env, const PgmSpan *span)\n{\n", name);
  put(e, "  const struct %s_env *const e = env;\n", e->name);
  put(e, "%s", sb_text(&p->declarations));
  if (p->scratch_decls.length) put(e, "  double *scratch = span->scratch;\n%s", sb_text(&p->scratch_decls));
  if (!strstr(sb_text(&p->declarations), "e->")) put(e, "  (void)e;\n");
  put(e, "%s  return span->weight * (%s);\n}\n\n", sb_text(&p->body), p->value);
  if (p->unit_arrays) g->has_block = true;
  if (p->scratch_size.length) {
    g->has_scratch = true;
    /* the sizes as a function of the span's count */
    StrBuf text = {0};
    const char *size = sb_text(&p->scratch_size);
    for (const char *s = size; *s;) {
      if (!strncmp(s, "span->count", 11)) { sb_puts(&text, "count"); s += 11; }
      else sb_putc(&text, *s++);
    }
    put(e, "static long %s_scratch(const void *env, long count)\n{\n  const struct %s_env *const e = env;\n", name, e->name);
    for (int i = 0; i < p->declared.n; i++) {
      const Declared *v = &p->declared.at[i];
      if (mentions(sb_text(&text), v->name) && (!strcmp(v->type, "const long ") || !strcmp(v->type, "const int "))) put(e, "  const long %s = %s;\n", v->name, v->key);
    }
    put(e, "  (void)e, (void)count;\n  return %s;\n}\n\n", sb_text(&text));
  }
  return true;
}

static void each_statement(CPrint *p, const LoopOut *o)
{
  cprint_line(p, "out[%s] = %s;", (const char *)p->statement_data, cprint_expr(p, o->value));
}

/* out[(position of the unit) * width + inner position] = value of one term */
static void emit_each(Emission *e, Group *g, int term, bool expected)
{
  Dag *d = g->d;
  const Term *t = &e->terms.at[term];
  CPrint *p = NEW(CPrint);
  p->k = kernel_new(d, 0);
  p->d = d, p->env_name = e->name, p->span = g->plate >= 0, p->heap = true;
  VEC_PUSH(p->k->outs, (LoopOut){.kind = OUT_STORE, .leaf = NO_NODE, .value = x_add(d, expected ? t->expected : t->value, t->constant),
                                  .axes = axis_set(t->axes, t->n_axes)});
  p->statement = each_statement;
  kernel_lower(p->k);
  const char *at = t->n_axes ? "unit" : "0";
  for (int i = 1; i < t->n_axes; i++) {
    const Axis *a = &d->axes.at[t->axes[i]];
    const char *lo, *len, *v = c_axis(d, t->axes[i]);
    if (ragged(d, t)) {
      lo = cprint_declare(p, arena_printf("e->term%d_lo[%d]", term, i), "const long ", arena_printf("%s_lo", v));
      len = cprint_declare(p, arena_printf("e->term%d_n[%d]", term, i), "const long ", arena_printf("%s_n", v));
      at = arena_printf("(%s) * %s + (%s - %s)", at, len, v, lo);
    } else {
      at = arena_printf("(%s) * (%s) + (%s)", at, cprint_expr(p, a->extent), cprint_expr(p, x_sub(d, x_axis(d, t->axes[i]), a->lo)));
    }
  }
  p->statement_data = (void *)at;
  cprint_kernel(p);
  put(e, "static void %s_term%d_%s(const void *env, const PgmSpan *span, double *out)\n{\n  const struct %s_env *const e = env;\n", e->name, term,
      expected ? "expected" : "point", e->name);
  put(e, "%s%s  (void)e, (void)span;\n", sb_text(&p->declarations), sb_text(&p->scratch_decls));
  if (ragged(d, t)) {                                                       /* positions outside a ragged range count as 0 */
    StrBuf size = {0};
    for (int i = 1; i < t->n_axes; i++) sb_printf(&size, " * e->term%d_n[%d]", term, i);
    put(e, "  memset(out, 0, sizeof *out * (size_t)(span->count%s));\n", sb_text(&size));
  }
  put(e, "%s%s}\n\n", sb_text(&p->body), sb_text(&p->scratch_free));
}

/* ---- references ---------------------------------------------------------------------------------------------------------------------------------- */

static void emit_ref(Emission *e, const Group *g, const Ref *r)
{
  Dag *d = g->d;
  CPrint *p = plain_printer(e, d, 0);
  p->span = true;
  int axes[MAX_AXES], n = axes_in_order(d, r->inner_axes, axes);
  const char *width = cprint_expr(p, r->width);
  put(e, "/* %s of line %d */\nstatic long %s_%s_width(const void *env)\n{\n  const struct %s_env *const e = env;\n%s  (void)e;\n  return %s;\n}\n\n", r->text,
      source_place(e->m->plates.at[g->plate].span.begin).line, e->name, r->name, e->name, sb_text(&p->declarations), width);
  const char *v = c_axis(d, 0);
  cprint_line(p, "for (long unit = 0; unit < span->count; unit++) {");
  p->indent++;
  cprint_line(p, "const long %s = span->units ? span->units[unit] : span->first + unit;", v);
  cprint_line(p, "(void)%s;", v);
  if (r->ragged) cprint_line(p, "for (long k_ = 0; k_ < %s; k_++) out[unit * (%s) + k_] = -1;", width, width);
  for (int i = 0; i < n; i++) {
    const Axis *a = &d->axes.at[axes[i]];
    const char *name = c_axis(d, axes[i]);
    cprint_line(p, "for (long %s = %s; %s <= %s; %s++)", name, cprint_expr(p, a->lo), name, cprint_expr(p, a->hi), name);
    p->indent++;
  }
  cprint_line(p, "out[unit * (%s) + (%s)] = %s;", width, cprint_expr(p, r->inner), cprint_expr(p, family_position(d, r->family, r->n_args, r->args)));
  for (int i = 0; i < n; i++) p->indent--;
  p->indent--;
  cprint_line(p, "}");
  put(e, "static void %s_%s_targets(const void *env, const PgmSpan *span, long *out)\n{\n  const struct %s_env *const e = env;\n%s  (void)e;\n%s}\n\n", e->name, r->name,
      e->name, sb_text(&p->declarations), sb_text(&p->body));
  sb_printf(&e->ref_table, "  {.plate = %d, .family = %d, .text = \"%s\", .place = offsetof(struct %s_env, %s), .width = %s_%s_width, .targets = %s_%s_targets},\n",
            (int)(g - e->groups.at), r->family, r->text, e->name, r->name, e->name, r->name, e->name, r->name);
  e->n_refs++;
}

/* ---- range checks --------------------------------------------------------------------------------------------------------------------------------- */

typedef struct { Emission *e; const Facts *facts; Dag *d; Builder *b; int stmt, n_axes, axes[8]; VEC(int) reductions; VEC(const MExpr *) conditions; VEC(int) holds; } CheckWalk;

/* `missing`: is the element, which is defined, given? Asked where the statement's own value is. */
static void emit_check(CheckWalk *w, const MExpr *ref, bool missing)
{
  Emission *e = w->e;
  const Stmt *s = STMT(e, w->stmt);
  CPrint *p = plain_printer(e, w->d, 0);
  int opened = open_plates(p, w->b, s->plate, 0);
  if (missing && s->kind == ST_OBSERVED) {
    cprint_line(p, "if (%s) {", cprint_expr(p, build_presence(w->b, s)));
    p->indent++;
    opened++;
  }
  Node keep[8];
  for (int i = 0; i < w->reductions.n; i++) {
    const Var *v = &e->m->vars.at[w->reductions.at[i]];
    int axis = dag_range_axis(w->d, AX_REDUCTION, v->name, w->reductions.at[i], build_scalar(w->b, v->lo), build_scalar(w->b, v->hi), 0);
    if (i < 8) keep[i] = w->b->env[w->reductions.at[i]];
    w->b->env[w->reductions.at[i]] = x_axis(w->d, axis);
    const char *name = c_axis(w->d, axis);
    cprint_line(p, "for (long %s = %s; %s <= %s; %s++) {", name, cprint_expr(p, w->d->axes.at[axis].lo), name, cprint_expr(p, w->d->axes.at[axis].hi), name);
    p->indent++;
  }
  for (int i = 0; i < w->conditions.n; i++) {
    const char *c = cprint_expr(p, build_scalar(w->b, w->conditions.at[i]));
    cprint_line(p, w->holds.at[i] ? "if (%s) {" : "if (!(%s)) {", c);
    p->indent++;
  }
  int slices = 0, labels = 0, discrete[MAX_AXES];
  Node mentioned = x_int(w->d, 0);
  for (int k = 0; k < ref->n_index; k++)                                    /* discrete latent elements likewise */
    if (ref->index[k].kind == IX_LOOKUP && mexpr_mentions(e->m, ref->index[k].expr, 1u << ROLE_GLOBAL | 1u << ROLE_LOCAL))
      mentioned = x_add(w->d, mentioned, build_index(w->b, &ref->index[k]));
  int n_discrete = build_labels(w->d, mentioned, discrete, MAX_AXES);
  for (int k = 0; k < n_discrete; k++, labels++) {
    const Axis *a = &w->d->axes.at[w->d->labels.at[discrete[k]].axis];
    const char *name = c_axis(w->d, w->d->labels.at[discrete[k]].axis);
    cprint_line(p, "for (long %s = %s; %s <= %s; %s++) {", name, cprint_expr(p, a->lo), name, cprint_expr(p, a->hi), name);
    p->indent++;
  }
  StrBuf tuple = {0};
  for (int k = 0; k < ref->n_index; k++) {                                  /* a label that is summed out takes all its values */
    const MExpr *x = ref->index[k].kind == IX_LOOKUP ? ref->index[k].expr : NULL;
    if (!x || x->kind != M_REF || FAMILY(e, x->family)->role != ROLE_MARGINAL || w->b->enumerated[x->family]) continue;
    const Type *t = &FAMILY(e, x->family)->type;
    if (!t->lower || !t->upper) continue;
    int axis = dag_axis(w->d, AX_REDUCTION, arena_printf("%s_", FAMILY(e, x->family)->name), -1, build_scalar(w->b, t->lower), build_scalar(w->b, t->upper));
    w->b->enumerated[x->family] = axis + 1;
    const char *name = c_axis(w->d, axis);
    cprint_line(p, "for (long %s = %s; %s <= %s; %s++) {", name, cprint_expr(p, w->d->axes.at[axis].lo), name, cprint_expr(p, w->d->axes.at[axis].hi), name);
    p->indent++;
    labels++;
  }
  for (int k = 0; k < ref->n_index; k++) {
    const bool slice = ref->index[k].kind == IX_SLICE;
    const char *at = slice ? arena_printf("k%d_", ++slices) : cprint_expr(p, build_index(w->b, &ref->index[k]));
    if (slice) {
      cprint_line(p, "for (long %s = %s; %s <= %s; %s++) {", at, cprint_expr(p, build_scalar(w->b, ref->index[k].lo)), at,
                  cprint_expr(p, build_scalar(w->b, ref->index[k].hi)), at);
      p->indent++;
    }
    sb_printf(&tuple, "%s%s", k ? ", " : "", at);
  }
  cprint_line(p, "const long index[] = {%s};", sb_text(&tuple));
  StrBuf units = {0};
  for (int i = 0; i < w->n_axes; i++) sb_printf(&units, " miss->unit[%d] = %s;", i, c_axis(w->d, w->axes[i]));
  cprint_line(p, "if (!pgm_defined(defined, miss, %d, index) && miss->n == 1) {%s }", ref->n_index, sb_text(&units));
  close_loops(p, opened + w->reductions.n + w->conditions.n + labels + slices);
  for (int i = 0; i < e->m->families.n; i++) w->b->enumerated[i] = 0;
  for (int i = 0; i < w->reductions.n && i < 8; i++) w->b->env[w->reductions.at[i]] = keep[i];
  StrBuf text = {0};
  mexpr_print(e->m, ref, &text);
  Place place = source_place(ref->span.begin);
  put(e, "/* is %s %s? line %d */\nstatic long %s_check_%d(const void *env, const PgmSpan *span, const PgmDefined *defined, PgmMiss *miss)\n{\n", comment_text(sb_text(&text)),
      missing ? "given" : "defined", place.line, e->name, e->n_checks);
  put(e, "  const struct %s_env *const e = env;\n%s  (void)e, (void)span;\n%s  return miss->n;\n}\n\n", e->name, sb_text(&p->declarations), sb_text(&p->body));
  sb_printf(&e->check_table, "  {.family = %d, .missing = %s, .plate = -1, .term_statement = %d, .line = %d, .column = %d, .text = \"%s\", .check = %s_check_%d},\n", ref->family, missing ? "true" : "false", w->stmt,
            place.line, place.column, sb_text(&text), e->name, e->n_checks);
  e->n_checks++;
}

static void walk_checks(CheckWalk *w, const MExpr *x);

static void walk_index(CheckWalk *w, const Index *ix)
{
  if (ix->kind == IX_SLICE) walk_checks(w, ix->lo), walk_checks(w, ix->hi);
  else if (ix->kind != IX_AFFINE) walk_checks(w, ix->expr);
}

static void walk_checks(CheckWalk *w, const MExpr *x)
{
  if (!x) return;
  if (x->kind == M_REF) {
    const Family *f = FAMILY(w->e, x->family);
    for (int k = 0; k < x->n_index; k++) walk_index(w, &x->index[k]);
    for (int k = 0; k < x->n_entry; k++) walk_index(w, &x->entry[k]);
    if (x->n_index && !f->block_let && !reference_in_range(w->facts, x)) emit_check(w, x, false);
    if (f->role == ROLE_OBSERVED) emit_check(w, x, true);
    return;
  }
  if (x->kind == M_REDUCE) {
    VEC_PUSH(w->reductions, x->var);
    walk_checks(w, x->args[0]);
    w->reductions.n--;
    return;
  }
  if (x->kind == M_COND) {
    walk_checks(w, x->args[0]);
    for (int i = 0; i < 2; i++) {
      VEC_PUSH(w->conditions, x->args[0]);
      VEC_PUSH(w->holds, i == 0);
      walk_checks(w, x->args[1 + i]);
      w->conditions.n--, w->holds.n--;
    }
    return;
  }
  if (x->kind == M_CALL && x->func == FUNC_present) {                       /* must be defined, need not be given */
    const MExpr *element = x->args[0];
    if (element->n_index && !reference_in_range(w->facts, element)) emit_check(w, element, false);
    return;
  }
  for (int k = 0; k < x->n_entry; k++) walk_index(w, &x->entry[k]);
  for (int i = 0; i < x->n_args; i++) walk_checks(w, x->args[i]);
}

static void emit_checks(Emission *e)
{
  const Facts *facts = facts_of(e->m, false);
  for (int i = 0; i < e->m->stmts.n; i++) {
    const Stmt *s = STMT(e, i);
    if (s->kind == ST_AMORTIZE) continue;
    CheckWalk w = {.e = e, .facts = facts, .stmt = i, .d = new_dag(e)};
    w.b = build_new(w.d, e->m, LEAF_VALUE);
    w.n_axes = build_plates(w.b, s->plate, w.axes);
    walk_checks(&w, s->value);
    for (int k = 0; s->has_dist && k < s->dist.n_args; k++) walk_checks(&w, s->dist.args[k]);
    if (s->has_dist) walk_checks(&w, s->dist.t_lo), walk_checks(&w, s->dist.t_hi);
  }
}

/* Lengths that must agree and are known only with the data. */
static void emit_lengths(Emission *e)
{
  const Model *m = e->m;
  StrBuf table = {0};
  for (int i = 0; i < m->lengths.n; i++) {
    const LengthCheck *c = &m->lengths.at[i];
    Dag *d = new_dag(e);
    Builder *b = build_new(d, m, LEAF_VALUE);
    CPrint *p = plain_printer(e, d, 0);
    cprint_line(p, "*a_ = %s;", cprint_expr(p, build_scalar(b, c->a)));
    cprint_line(p, "*b_ = %s;", cprint_expr(p, build_scalar(b, c->b)));
    emit_function(e, arena_printf("static void %s_length_%d(const void *env, long *a_, long *b_)", e->name, i), p, "");
    Place at = source_place(c->span.begin);
    sb_printf(&table, "  {.line = %d, .column = %d, .a = \"%s\", .b = ", at.line, at.column, mexpr_text(m, c->a));
    sb_printf(&table, "\"%s\", .values = %s_length_%d},\n", mexpr_text(m, c->b), e->name, i);
  }
  if (m->lengths.n) put(e, "static const PgmLengthCheck %s_lengths[] = {\n%s};\n\n", e->name, sb_text(&table));
}

/* ---- simulation -------------------------------------------------------------------------------------------------------------------------------------- */

typedef struct { Emission *e; const Stmt *s; Bounds bounds; Node lower, upper; int rank; Value *v; } DrawData;

static const char *draw_call(CPrint *p, const DrawData *w, const LoopOut *o, int first)
{
  const DistCall *c = &w->s->dist;
  const DistInfo *info = &dist_info[c->dist];
  bool between = (w->lower >= 0 || w->upper >= 0) && (info->kind == DK_CONTINUOUS || c->truncated);
  StrBuf b = {0};
  sb_printf(&b, "pgm_draw_%s%s(rng", info->name, between ? "_between" : "");
  if (between) sb_printf(&b, ", %s, %s", w->lower >= 0 ? cprint_expr(p, w->lower) : "-HUGE_VAL", w->upper >= 0 ? cprint_expr(p, w->upper) : "HUGE_VAL");
  for (int i = 0; i < c->n_args; i++) sb_printf(&b, ", %s", cprint_expr(p, o->args[first + i]));
  sb_putc(&b, ')');
  return sb_text(&b);
}

/* Where the family's values are drawn to. */
static const char *drawn_array(const Family *f)
{
  if (is_latent_role(f)) return arena_printf("(double *)e->%s.value", c_name(f->name));
  return arena_printf("(%s *)e->%s", f->type.kind == TY_INT ? "int" : "double", c_name(f->name));
}

/* One element-wise draw: args[0] is the position, then the arguments. */
static void draw_scalar(CPrint *p, const LoopOut *o)
{
  const DrawData *w = p->statement_data;
  const Family *f = FAMILY(w->e, w->s->family);
  const char *array = drawn_array(f), *at = cprint_expr(p, o->args[0]);
  cprint_line(p, "const double x_ = %s;", draw_call(p, w, o, 1));
  cprint_line(p, "if (isnan(x_)) ok = false;");
  if (f->type.kind == TY_INT && !is_latent_role(f)) cprint_line(p, "else (%s)[%s] = (int)x_;", array, at);
  else cprint_line(p, "(%s)[%s] = x_;", array, at);
}

/* A draw with array arguments: categories, and vectors as a whole. */
static void draw_array(CPrint *p, const LoopOut *o)
{
  const DrawData *w = p->statement_data;
  const Family *f = FAMILY(w->e, w->s->family);
  const DistCall *c = &w->s->dist;
  const char *array = drawn_array(f), *at = cprint_expr(p, o->args[0]);
  bool category = dist_info[c->dist].support == SUP_CATEGORY;
  StrBuf b = {0};
  sb_printf(&b, "pgm_draw_%s(rng", dist_info[c->dist].name);
  int size_arg = category ? c->n_args - 1 : -1;
  Node size = size_arg >= 0 ? w->v[size_arg].extent[0] : family_dim(p->d, w->s->family, 0);
  sb_printf(&b, ", %s", cprint_expr(p, size));
  for (int i = 0; i < c->n_args; i++) sb_printf(&b, ", %s", w->v[i].rank ? cprint_array(p, o->args[1 + i]) : cprint_expr(p, o->args[1 + i]));
  if (category) {
    cprint_line(p, "const double x_ = %s);", sb_text(&b));
    cprint_line(p, "if (isnan(x_)) ok = false;");
    cprint_line(p, "else (%s)[%s] = %sx_;", array, at, is_latent_role(f) ? "" : "(int)");
    return;
  }
  if (c->dist == DIST_multinomial) {                                        /* the total is that of the values present */
    cprint_line(p, "double total = 0;");
    cprint_line(p, "for (long k_ = 0; k_ < %s; k_++) total += (%s + %s)[k_];", cprint_expr(p, size), array, at);
    sb_puts(&b, ", total");
  }
  cprint_line(p, "if (!%s, %s + %s)) ok = false;", sb_text(&b), array, at);
}

/* bool NAME_draw_K(env, rng, at): draws the element of statement K at plate values at[]; false when its arguments are out of their domain. */
static void emit_draw(Emission *e, int stmt)
{
  const Stmt *s = STMT(e, stmt);
  Dag *d = new_dag(e);
  Builder *b = build_new(d, e->m, LEAF_VALUE);
  b->simulating = true;
  int axes[8], n = build_plates(b, s->plate, axes);
  const Family *f = FAMILY(e, s->family);
  const DistCall *c = &s->dist;
  bool arrays = dist_info[c->dist].shape == DSH_MULTIVARIATE || dist_info[c->dist].support == SUP_CATEGORY;
  CPrint *p = plain_printer(e, d, axis_set(axes, n));
  DrawData w = {.e = e, .s = s, .lower = NO_NODE, .upper = NO_NODE};
  Value v[6];
  Node args[8];
  definition_index(b, s, args);
  w.v = v;
  int rank = type_rank(f->type.kind), dims[2] = {0, 0};
  if (rank && !arrays)
    for (int k = 0; k < rank; k++) {
      Node extent = build_scalar(b, f->type.dim[k]);
      dims[k] = dag_dim_axis(d, extent, k && dims[0] == dag_dim_axis(d, extent, 0));
      args[s->n_index + k] = x_axis(d, dims[k]);
    }
  /* independent entries of one distribution, given their order, are those entries sorted; where they differ, simulate tests the order */
  bool sorted = !arrays && (f->type.kind == TY_ORDERED || f->type.kind == TY_POSITIVE_ORDERED);
  LoopOut o = {.kind = OUT_DRAW, .value = NO_NODE, .leaf = NO_NODE, .n_args = 1 + c->n_args};
  if (arrays) for (int k = 0; k < rank; k++) args[s->n_index + k] = x_int(d, 0);
  else o.axes = axis_set(dims, rank);
  o.args[0] = family_position(d, s->family, s->n_index + rank, args);
  for (int i = 0; i < c->n_args; i++) {
    v[i] = build_value(b, c->args[i]);
    if (arrays && v[i].rank) v[i] = value_ready(b, v[i]);
    o.args[1 + i] = value_over(b, &v[i], arrays ? v[i].axis : dims);
    sorted = sorted && !(dag_axes(d, o.args[1 + i]) & AXIS_BIT(dims[0]));
    if (arrays && v[i].rank) {
      Node inside = x_compare(d, X_LE, x_int(d, 0), x_axis(d, v[i].axis[0]));     /* a constant vector is written out: its loop must see the axis */
      if (!(dag_axes(d, o.args[1 + i]) & AXIS_BIT(v[i].axis[0]))) o.args[1 + i] = x_cond(d, inside, o.args[1 + i], x_const(d, 0));
      VEC_PUSH(p->k->arrays, o.args[1 + i]);
    }
  }
  /* declared bounds restrict the draw; a distribution's own support needs no help */
  if (f->type.lower && is_latent_role(f)) w.lower = build_bound(b, s->family, 0, args);
  if (f->type.upper && is_latent_role(f)) w.upper = build_bound(b, s->family, 1, args);
  if (f->type.kind == TY_POSITIVE_ORDERED && dist_info[c->dist].support == SUP_REAL) w.lower = x_int(d, 0);
  if (c->truncated) {
    if (c->t_lo) w.lower = build_scalar(b, c->t_lo);
    if (c->t_hi) w.upper = build_scalar(b, c->t_hi);
  }
  if (c->dist == DIST_flat && f->role != ROLE_OBSERVED) {
    Bounds su = build_support(e->m, s->family);
    if (su.has_lower) w.lower = build_bound(b, s->family, 0, args);
    if (su.has_upper) w.upper = build_bound(b, s->family, 1, args);
  }
  if (w.lower >= 0) o.args[o.n_args++] = w.lower;                            /* they may need loops of their own */
  if (w.upper >= 0) o.args[o.n_args++] = w.upper;
  VEC_PUSH(p->k->outs, o);
  p->statement = arrays ? draw_array : draw_scalar;
  p->statement_data = &w;
  kernel_lower(p->k);
  StrBuf plates = {0};
  for (int i = 0; i < n; i++) {
    const Axis *a = &d->axes.at[axes[i]];
    const char *name = c_axis(d, axes[i]);
    sb_printf(&plates, "  const long %s = at[%d];\n", name, i);
    sb_printf(&plates, "  if (%s < %s || %s > %s) return true;\n", name, cprint_expr(p, a->lo), name, cprint_expr(p, a->hi));
  }
  cprint_kernel(p);
  args[s->n_index] = x_int(d, 0);
  if (sorted) cprint_line(p, "pgm_draw_sort(%s, %s + %s);", cprint_expr(p, family_dim(d, s->family, 0)), drawn_array(f), cprint_expr(p, family_position(d, s->family, s->n_index + 1, args)));
  put(e, "/* %s:%d  %s */\nstatic bool %s_draw_%d(const void *env, PgmRng *rng, const long *at)\n{\n  const struct %s_env *const e = env;\n  bool ok = true;\n", base_name(e->m->file),
      source_place(s->span.begin).line, comment_text(statement_text(e, s)), e->name, stmt, e->name);
  put(e, "%s%s%s  (void)e, (void)at;\n%s%s  return ok;\n}\n\n", sb_text(&p->declarations), sb_text(&plates), sb_text(&p->scratch_decls), sb_text(&p->body), sb_text(&p->scratch_free));
}

/* Order of draws: strongly connected components of the statements' dependences, arguments first (Tarjan 1972). */
typedef struct {
  Emission *e;
  int n, counter, top, *index, *low, *stack;
  bool *on, *drawn;
  VEC(int) order;                      /* statements; components one after the other */
  VEC(int) size;                       /* of each component */
} Tarjan;

typedef struct { int from, to; int depths; long offset[8]; bool known[8]; } Dependence;
typedef VEC(Dependence) Dependences;

static int plate_depth(const Emission *e, const Stmt *s, int var)
{
  int chain[8], n = model_plate_chain(e->m, s->plate, chain, 8);
  for (int i = 0; i < n; i++)
    if (e->m->plates.at[chain[i]].var == var) return i;
  return -1;
}

/* `seen`: per family, a definition followed before. */
static void dependences_of(const Emission *e, int stmt, const Stmt *via, const MExpr *x, bool *seen, Dependences *out)
{
  if (!x) return;
  RefList refs = {0};
  mexpr_refs(x, &refs);
  for (int i = 0; i < refs.n; i++) {
    const MExpr *r = refs.at[i];
    const Family *f = FAMILY(e, r->family);
    if (seen[r->family]) continue;
    seen[r->family] = f->role == ROLE_LET;
    for (int j = 0; j < f->n_statements; j++) {
      const Stmt *t = STMT(e, f->statements[j]);
      if (t->kind == ST_LET) { dependences_of(e, stmt, t, t->value, seen, out); continue; }
      if (!t->has_dist) continue;
      Dependence dep = {.from = stmt, .to = f->statements[j]};
      for (int k = 0; k < r->n_index && via == STMT(e, stmt); k++) {
        if (r->index[k].kind != IX_AFFINE || r->index[k].affine.n != 1 || t->index[k].affine.n != 1) continue;
        int here = plate_depth(e, STMT(e, stmt), r->index[k].affine.term[0].id), there = plate_depth(e, t, t->index[k].affine.term[0].id);
        if (here < 0 || here != there || r->index[k].affine.term[0].kind != ATOM_VAR) continue;
        dep.offset[here] = r->index[k].affine.constant - t->index[k].affine.constant;
        dep.known[here] = true;
      }
      VEC_PUSH(*out, dep);
    }
  }
}

static void connect(Tarjan *t, int v, const Dependences *deps)
{
  t->index[v] = t->low[v] = ++t->counter;
  t->stack[t->top++] = v, t->on[v] = true;
  for (int i = 0; i < deps->n; i++) {
    if (deps->at[i].from != v) continue;
    int w = deps->at[i].to;
    if (!t->index[w]) {
      connect(t, w, deps);
      if (t->low[w] < t->low[v]) t->low[v] = t->low[w];
    } else if (t->on[w] && t->index[w] < t->low[v]) {
      t->low[v] = t->index[w];
    }
  }
  if (t->low[v] != t->index[v]) return;
  int size = 0, w;
  do {
    w = t->stack[--t->top];
    t->on[w] = false;
    VEC_PUSH(t->order, w);
    size++;
  } while (w != v);
  VEC_PUSH(t->size, size);
}

/* Loops over the plates of one component and the calls inside, in an order the zero offsets allow. */
static void emit_component(Emission *e, StrBuf *body, const int *stmts, int n, const Dependences *deps)
{
  int depth = 0, order[64], placed = 0;
  for (int i = 0; i < n; i++) {
    int chain[8], k = model_plate_chain(e->m, STMT(e, stmts[i])->plate, chain, 8);
    if (k > depth) depth = k;
  }
  /* within one step: a statement follows those it needs at the same step */
  bool done[64] = {false};
  while (placed < n && placed < 64) {
    int pick = -1;
    for (int i = 0; i < n && pick < 0; i++) {
      if (done[i]) continue;
      bool ready = true;
      for (int j = 0; j < deps->n; j++) {
        const Dependence *dep = &deps->at[j];
        if (dep->from != stmts[i] || dep->to == dep->from) continue;
        bool same_step = true;
        for (int k = 0; k < 8; k++) same_step = same_step && (!dep->known[k] || dep->offset[k] == 0);
        for (int k = 0; k < n; k++) ready = ready && !(same_step && stmts[k] == dep->to && !done[k]);
      }
      if (ready) pick = i;
    }
    if (pick < 0) pick = 0;
    while (done[pick]) pick++;
    done[pick] = true;
    order[placed++] = stmts[pick];
  }
  Dag *d = new_dag(e);
  Builder *b = build_new(d, e->m, LEAF_VALUE);
  CPrint *p = plain_printer(e, d, 0);
  static const char *const names[] = {"p0_", "p1_", "p2_", "p3_", "p4_", "p5_", "p6_", "p7_"};
  int axes[8];
  cprint_line(p, "{");
  p->indent++;
  cprint_line(p, "long at[PGM_MAX_INDEX] = {0};");
  for (int k = 0; k < depth; k++) {
    axes[k] = dag_axis(d, AX_PLATE, names[k], -1, NO_NODE, NO_NODE);
    cprint_line(p, "long lo%d_, hi%d_;", k, k);
    cprint_line(p, "pgm_range_start(&lo%d_, &hi%d_);", k, k);
    bool down = false;
    for (int j = 0; j < deps->n; j++) {
      bool inside_from = false, inside_to = false;
      for (int i = 0; i < n; i++) inside_from |= stmts[i] == deps->at[j].from, inside_to |= stmts[i] == deps->at[j].to;
      if (inside_from && inside_to && deps->at[j].known[k] && deps->at[j].offset[k] > 0) down = true;
    }
    for (int i = 0; i < n; i++) {
      int chain[8], m = model_plate_chain(e->m, STMT(e, stmts[i])->plate, chain, 8);
      if (k >= m) continue;
      for (int q = 0; q < k; q++) b->env[e->m->plates.at[chain[q]].var] = x_axis(d, axes[q]);
      const Var *v = &e->m->vars.at[e->m->plates.at[chain[k]].var];
      cprint_line(p, "pgm_range_widen(&lo%d_, &hi%d_, %s, %s);", k, k, cprint_expr(p, build_scalar(b, v->lo)), cprint_expr(p, build_scalar(b, v->hi)));
    }
    cprint_line(p, "pgm_range_close(&lo%d_, &hi%d_);", k, k);
    if (down) cprint_line(p, "for (long p%d_ = hi%d_; p%d_ >= lo%d_; p%d_--) {", k, k, k, k, k);
    else cprint_line(p, "for (long p%d_ = lo%d_; p%d_ <= hi%d_; p%d_++) {", k, k, k, k, k);
    p->indent++;
    cprint_line(p, "at[%d] = p%d_;", k, k);
  }
  for (int i = 0; i < placed; i++) {
    cprint_line(p, "if (draw[%d] && !%s_draw_%d(env, rng, at)) {", order[i], e->name, order[i]);
    p->indent++;
    cprint_line(p, "memcpy(where, at, sizeof at);");
    cprint_line(p, "return %d;", order[i]);
    p->indent--;
    cprint_line(p, "}");
  }
  close_loops(p, depth);
  p->indent--;
  cprint_line(p, "}");
  if (p->declarations.length) {                                             /* inside the component's braces */
    sb_printf(body, "  {\n  const struct %s_env *const e = env;\n%s%s  }\n", e->name, sb_text(&p->declarations), sb_text(&p->body));
  } else {
    sb_puts(body, sb_text(&p->body));
  }
}

static void emit_simulate(Emission *e)
{
  const Model *m = e->m;
  int n = m->stmts.n;
  Tarjan t = {.e = e, .n = n};
  t.index = NEW_ARRAY(int, n + 1), t.low = NEW_ARRAY(int, n + 1), t.stack = NEW_ARRAY(int, n + 1), t.on = NEW_ARRAY(bool, n + 1);
  Dependences deps = {0};
  for (int i = 0; i < n; i++) {
    const Stmt *s = STMT(e, i);
    if (!s->has_dist) continue;
    bool *seen = NEW_ARRAY(bool, e->m->families.n);
    for (int k = 0; k < s->dist.n_args; k++) dependences_of(e, i, s, s->dist.args[k], seen, &deps);
    dependences_of(e, i, s, s->type.lower, seen, &deps);
    dependences_of(e, i, s, s->type.upper, seen, &deps);
    emit_draw(e, i);
  }
  for (int i = 0; i < n; i++)
    if (STMT(e, i)->has_dist && !t.index[i]) connect(&t, i, &deps);
  StrBuf body = {0};
  for (int i = 0, at = 0; i < t.size.n; at += t.size.at[i++]) emit_component(e, &body, t.order.at + at, t.size.at[i], &deps);
  put(e, "static int %s_simulate(const void *env, PgmRng *rng, const unsigned char *draw, long *where)\n{\n  (void)env, (void)rng, (void)draw, (void)where;\n%s  return -1;\n}\n\n",
      e->name, sb_text(&body));
}

/* ---- tables ---------------------------------------------------------------------------------------------------------------------------------------------- */

static const char *const type_names[] = {"PGM_INT", "PGM_REAL", "PGM_VECTOR", "PGM_ROW_VECTOR", "PGM_MATRIX", "PGM_SIMPLEX", "PGM_ORDERED", "PGM_POSITIVE_ORDERED",
                                         "PGM_COV_MATRIX", "PGM_CORR_MATRIX", "PGM_CHOLESKY_CORR"};
static const char *const transform_names[] = {"PGM_IDENTITY", "PGM_LOWER", "PGM_UPPER", "PGM_INTERVAL", "PGM_T_SIMPLEX", "PGM_T_ORDERED", "PGM_T_POSITIVE_ORDERED",
                                              "PGM_T_COV", "PGM_T_CORR", "PGM_T_CHOLESKY_CORR"};
static const char *const role_names[] = {"PGM_INPUT", "PGM_GLOBAL", "PGM_LOCAL", "PGM_MARGINAL", "PGM_OBSERVED", "PGM_PARAM", "PGM_LET"};

/* The statement whose index names speak for the family: the one with the most plates. */
static const Stmt *generic_statement(const Emission *e, const Family *f)
{
  const Stmt *best = STMT(e, f->statements[0]);
  int chain[8], most = model_plate_chain(e->m, best->plate, chain, 8);
  for (int i = 1; i < f->n_statements; i++) {
    const Stmt *s = STMT(e, f->statements[i]);
    int n = model_plate_chain(e->m, s->plate, chain, 8);
    if (n > most) best = s, most = n;
  }
  return best;
}

/* bounds(): one value when they do not vary over the elements, else one per element. */
static bool emit_bounds(Emission *e, int family, bool *uniform)
{
  const Family *f = FAMILY(e, family);
  Bounds s = build_support(e->m, family);
  *uniform = true;
  if (!s.has_lower && !s.has_upper) return false;
  Dag *d = new_dag(e);
  Builder *b = build_new(d, e->m, LEAF_VALUE);
  CPrint *p = plain_printer(e, d, 0);
  const Stmt *st = STMT(e, f->statements[0]);
  int axes[8], n = build_plates(b, st->plate, axes);
  Node args[8], lo, hi;
  definition_index(b, st, args);
  lo = s.has_lower ? build_bound(b, family, 0, args) : x_const(d, -INFINITY);
  hi = s.has_upper ? build_bound(b, family, 1, args) : x_const(d, INFINITY);
  if (dag_axes(d, lo) | dag_axes(d, hi)) {
    *uniform = false;
    int opened = 0;
    for (int j = 0; j < f->n_statements; j++) {
      const Stmt *t = STMT(e, f->statements[j]);
      n = build_plates(b, t->plate, axes);
      definition_index(b, t, args);
      lo = s.has_lower ? build_bound(b, family, 0, args) : x_const(d, -INFINITY);
      hi = s.has_upper ? build_bound(b, family, 1, args) : x_const(d, INFINITY);
      opened = open_plates(p, b, t->plate, 0);
      const char *at = cprint_expr(p, family_position(d, family, t->n_index, args));
      cprint_line(p, "if (lower) lower[%s] = %s;", at, cprint_expr(p, lo));
      cprint_line(p, "if (upper) upper[%s] = %s;", at, cprint_expr(p, hi));
      close_loops(p, opened);
    }
  } else {
    cprint_line(p, "if (lower) lower[0] = %s;", cprint_expr(p, lo));
    cprint_line(p, "if (upper) upper[0] = %s;", cprint_expr(p, hi));
  }
  (void)n;
  emit_function(e, arena_printf("static void %s_bounds_%s(const void *env, double *lower, double *upper)", e->name, f->name), p, "");
  return true;
}

/* Every term concave in the family's elements, on the unconstrained scale (as the entrywise transforms' log Jacobians are). */
static bool is_concave(const Emission *e, int family)
{
  bool concave = true;
  for (int i = 0; i < e->terms.n && concave; i++) concave = dag_concave(e->groups.at[e->terms.at[i].group].d, e->terms.at[i].random, family);
  return concave;
}

/* One function per statement of a family, NAME_WHAT_FAMILY(env, out), that stores a value for each of its elements; one function that calls them all. */
typedef enum { VIEW_SHOWN, VIEW_HIDDEN, VIEW_MEAN, VIEW_VARIANCE } View;
static const char *const view_names[] = {"shown", "hidden", "shown_mean", "shown_variance"};

/* The value, on the family's own scale or another, of the element that the statement defines; false: an expectation that is not known. */
static bool view_value(Builder *b, const Stmt *s, View view, Value *v)
{
  Dag *d = b->d;
  ExpectMethod method;
  *v = value_ready(b, build_defined(b, s));
  if (view == VIEW_HIDDEN) {
    Node args[8];
    definition_index(b, s, args);
    for (int k = 0; k < v->rank; k++) args[s->n_index + k] = x_axis(d, v->axis[k]);
    v->node = build_unconstrained(b, s->family, v->node, args);
  }
  if (view < VIEW_MEAN) return true;
  Node mean = dag_expect(d, v->node, &method);
  if (mean < 0) return false;
  v->node = view == VIEW_MEAN ? mean : dag_expect(d, x_square(d, x_sub(d, v->node, mean)), &method);
  return v->node >= 0;
}

static Builder *view_builder(Emission *e, const Stmt *s, View view)
{
  int axes[8];
  Builder *b = build_new(new_dag(e), e->m, view < VIEW_MEAN ? LEAF_VALUE : LEAF_RANDOM);
  b->simulating = view == VIEW_HIDDEN;                                      /* arrays have values then */
  build_plates(b, s->plate, axes);
  return b;
}

static bool has_view(Emission *e, const Family *f, View view)
{
  Value v;
  for (int i = 0; i < f->n_statements; i++) {
    const Stmt *s = STMT(e, f->statements[i]);
    if (!view_value(view_builder(e, s, view), s, view, &v)) return false;
  }
  return true;
}

/* Functions of a family whose transform is part of the expressions; their entries in its table. */
static void emit_views(Emission *e, const Family *f, StrBuf *table)
{
  bool moments = has_view(e, f, VIEW_MEAN) && has_view(e, f, VIEW_VARIANCE);
  for (View view = VIEW_SHOWN; view <= (moments ? VIEW_VARIANCE : VIEW_HIDDEN); view++) {
    const char *name = arena_printf("%s_%s_%s", e->name, view_names[view], f->name);
    for (int i = 0; i < f->n_statements; i++) {
      const Stmt *s = STMT(e, f->statements[i]);
      Builder *b = view_builder(e, s, view);
      Value v;
      view_value(b, s, view, &v);
      emit_store(e, arena_printf("static void %s_%d(const void *env, double *out)", name, i), "out", s, b->d, b, v);
    }
    put(e, "static void %s(const void *env, double *out)\n{\n", name);
    for (int i = 0; i < f->n_statements; i++) put(e, "  %s_%d(env, out);\n", name, i);
    put(e, "}\n\n");
    sb_printf(table, ",\n   .%s = %s", view_names[view], name);
  }
}

/* The constant location of a prior on the real line: its first argument that may be any number (dist.def), as mu of student_t(nu, mu, sigma). */
static bool prior_location(const Model *m, const Family *f, double *location)
{
  const Stmt *s = &m->stmts.at[f->statements[0]];
  if (f->n_statements != 1 || !s->has_dist || dist_info[s->dist.dist].support != SUP_REAL) return false;
  const char *at = strchr(dist_info[s->dist.dist].constraints, 'r');
  return at && mexpr_const_real(s->dist.args[at - dist_info[s->dist.dist].constraints], location) && *location != 0;
}

static void emit_families(Emission *e)
{
  const Model *m = e->m;
  StrBuf table = {0};
  for (int i = 0; i < m->families.n; i++) {
    const Family *f = FAMILY(e, i);
    const Stmt *g = generic_statement(e, f);
    Place at = source_place(f->span.begin);
    bool uniform = true, bounded = false, latent = is_latent_role(f);
    Bounds s = {0};
    StrBuf views = {0};
    if (f->role != ROLE_LET) s = build_support(m, i);
    if (s.computed) emit_views(e, f, &views), s.transform = TR_IDENTITY;
    else if (f->role != ROLE_LET) bounded = emit_bounds(e, i, &uniform);
    if (f->n_index) {
      put(e, "static const char *const %s_index_%d[] = {", e->name, i);
      StrBuf b = {0};
      for (int k = 0; k < f->n_index; k++) {
        mexpr_print(m, g->index[k].expr, &b);
        const Affine *a = &g->index[k].affine;                              /* "n" for n, n + 1, ... */
        const char *text = a->n == 1 && a->term[0].kind == ATOM_VAR ? m->vars.at[a->term[0].id].name : sb_text(&b);
        put(e, "%s\"%s\"", k ? ", " : "", text);
        b.length = 0;
      }
      put(e, "};\nstatic const int %s_axis_%d[] = {", e->name, i);
      for (int k = 0; k < f->n_index; k++) put(e, "%s%d", k ? ", " : "", axis_of_index(e, &g->index[k]));
      put(e, "};\n");
    }
    sb_printf(&table, "  {.name = \"%s\", .line = %d, .column = %d, .role = %s, .type = %s, .n_index = %d, .rank = %d", f->name, at.line, at.column,
              is_pruned(e, i) ? "PGM_PRUNED" : role_names[f->role], type_names[f->type.kind], f->n_index, type_rank(f->type.kind));
    if (f->type.kind == TY_INT) sb_puts(&table, ", .integer = true");
    if (f->n_index) sb_printf(&table, ", .index = %s_index_%d, .axis = %s_axis_%d", e->name, i, e->name, i);
    if (f->role == ROLE_LET) sb_puts(&table, ", .place = PGM_NONE");
    else sb_printf(&table, ",\n   .place = offsetof(struct %s_env, %s)", e->name, c_name(f->name));
    if (f->role == ROLE_OBSERVED) sb_printf(&table, ", .present = offsetof(struct %s_env, %s_present)", e->name, c_name(f->name));
    if (latent) sb_printf(&table, ", .transform = %s", f->type.kind == TY_INT ? "PGM_T_DISCRETE" : transform_names[s.transform]);
    if (bounded) sb_printf(&table, ",\n   .has_lower = %s, .has_upper = %s, .uniform_bounds = %s, .bounds = %s_bounds_%s", s.has_lower ? "true" : "false",
                           s.has_upper ? "true" : "false", uniform ? "true" : "false", e->name, f->name);
    sb_puts(&table, sb_text(&views));
    const LatentVerdict *v = verdict_of(e, i);
    if (v && v->separable) sb_puts(&table, is_concave(e, i) ? ", .separable = true, .concave = true" : ", .separable = true");
    double location;
    if (f->used_as_size) sb_puts(&table, ", .is_size = true");
    if (latent && s.transform == TR_IDENTITY && prior_location(m, f, &location)) sb_printf(&table, ", .location = %.17g", location);
    sb_puts(&table, "},\n");
  }
  put(e, "\nstatic const PgmFamily %s_families[] = {\n%s};\n\n", e->name, sb_text(&table));
}

static const char *support_name(const Stmt *s)
{
  switch (dist_info[s->dist.dist].support) {
  case SUP_POSITIVE: return "PGM_SUPPORT_POSITIVE";
  case SUP_NONNEGATIVE: return "PGM_SUPPORT_NONNEGATIVE";
  case SUP_UNIT: return "PGM_SUPPORT_UNIT";
  case SUP_BINARY: return "PGM_SUPPORT_BINARY";
  case SUP_COUNT: case SUP_BOUNDED_COUNT: return "PGM_SUPPORT_COUNT";
  case SUP_CATEGORY: return "PGM_SUPPORT_POSITIVE_COUNT";
  case SUP_SIMPLEX: return "PGM_SUPPORT_SIMPLEX";
  case SUP_REAL: case SUP_VECTOR: return s->dist.dist == DIST_multinomial ? "PGM_SUPPORT_COUNT" : "PGM_SUPPORT_REAL";
  default: return "PGM_SUPPORT_ANY";
  }
}

static void emit_statements(Emission *e)
{
  static const char *const kinds[] = {[ST_INPUT] = "PGM_S_INPUT", [ST_LATENT] = "PGM_S_LATENT", [ST_OBSERVED] = "PGM_S_OBSERVED", [ST_PARAM] = "PGM_S_PARAM",
                                      [ST_LET] = "PGM_S_LET", [ST_FACTOR] = "PGM_S_FACTOR", [ST_AMORTIZE] = "PGM_S_FACTOR"};
  const Model *m = e->m;
  StrBuf table = {0};
  for (int i = 0; i < m->stmts.n; i++) {
    const Stmt *s = STMT(e, i);
    Place at = source_place(s->span.begin);
    bool fallback = s->kind == ST_INPUT && s->value, constant = true;
    for (int k = 0; k < s->n_index; k++) constant = constant && s->index[k].affine.n == 0;
    bool elements = s->kind != ST_FACTOR && s->kind != ST_AMORTIZE && !(s->kind == ST_LET && FAMILY(e, s->family)->block_let);
    if (elements && FAMILY(e, s->family)->role != ROLE_LET) emit_elements(e, i);
    else elements = false;
    if (fallback) {
      Dag *d = new_dag(e);
      Builder *b = build_new(d, m, LEAF_VALUE);
      int axes[8];
      build_plates(b, s->plate, axes);
      emit_store(e, arena_printf("static void %s_default_%d(const void *env, double *array)", e->name, i), "array", s, d, b, build_value(b, s->value));
    }
    StrBuf range = {0};
    int chain[8], n = model_plate_chain(m, s->plate, chain, 8);
    for (int k = 0; k < n; k++) {
      const Var *v = &m->vars.at[m->plates.at[chain[k]].var];
      sb_printf(&range, "%s%s in %s..", k ? ", " : "", v->name, mexpr_text(m, v->lo));
      sb_puts(&range, mexpr_text(m, v->hi));
    }
    sb_printf(&table, "  {.kind = %s, .family = %d, .line = %d, .column = %d, .constant_index = %s,\n   .text = ", kinds[s->kind], s->kind == ST_AMORTIZE ? -1 : s->family, at.line,
              at.column, constant ? "true" : "false");
    put_string(&table, s->kind == ST_FACTOR || s->kind == ST_AMORTIZE ? source_slice(s->span) : statement_text(e, s));
    sb_puts(&table, ", .range = ");
    put_string(&table, sb_text(&range));
    if (elements) sb_printf(&table, ",\n   .elements = %s_elements_%d", e->name, i);
    if (fallback) sb_printf(&table, ", .fallback = %s_default_%d", e->name, i);
    if (s->kind == ST_OBSERVED) sb_printf(&table, ", .support = %s", support_name(s));
    if (s->kind == ST_OBSERVED && dist_info[s->dist.dist].shape == DSH_MULTIVARIATE) sb_puts(&table, ", .whole = true");
    sb_puts(&table, "},\n");
  }
  put(e, "static const PgmStatement %s_statements[] = {\n%s};\n\n", e->name, sb_text(&table));
}

/* Sizes that arrays tell. */
static int emit_counts(Emission *e)
{
  StrBuf table = {0};
  SizeCounts counts = {0};
  model_counts(e->m, &counts);
  int n = counts.n;
  for (int i = 0; i < n; i++)
    sb_printf(&table, "  {.size = %d, .array = %d, .position = %d, .extra = %ld},\n", counts.at[i].size, counts.at[i].array, counts.at[i].position, counts.at[i].extra);
  if (n) put(e, "static const PgmCount %s_counts[] = {\n%s};\n\n", e->name, sb_text(&table));
  return n;
}

static void emit_text_list(Emission *e, const char *name, const TextList *list)
{
  put(e, "static const char *const %s[] = {", name);
  for (int i = 0; i < list->n; i++) {
    put_string(e->out, list->at[i]);
    put(e, ", ");
  }
  put(e, "NULL};\n");
}

/* What a function is given when another family keeps free factors. */
static int emit_pins(Emission *e, const LatentVerdict *v)
{
  StrBuf table = {0};
  int n = 0;
  for (int i = 0; i < v->remedies.n; i++) {
    const Remedy *r = &v->remedies.at[i];
    if (strcmp(r->kind, "pin") || r->pinned < 0) continue;
    emit_text_list(e, arena_printf("%s_pin_%d_%s", e->name, n, v->name), &r->domain);
    sb_printf(&table, "{%d, %s_pin_%d_%s}, ", r->pinned, e->name, n, v->name);
    n++;
  }
  if (n) put(e, "static const PgmPin %s_pins_%s[] = {%s};\n", e->name, v->name, sb_text(&table));
  return n;
}

static int emit_amortize(Emission *e)
{
  StrBuf table = {0};
  int n = 0;
  for (int i = 0; i < e->m->families.n; i++) {
    const LatentVerdict *v = verdict_of(e, i);
    if (!v || FAMILY(e, i)->role != ROLE_LOCAL) continue;
    bool inputs = verdict_has_inputs(v);
    if (inputs) emit_text_list(e, arena_printf("%s_inputs_%s", e->name, v->name), &v->inputs);
    if (!v->amortize) emit_text_list(e, arena_printf("%s_sd_inputs_%s", e->name, v->name), &v->sd_domain);
    emit_text_list(e, arena_printf("%s_window_%s", e->name, v->name), &v->window);
    int pins = emit_pins(e, v);
    sb_printf(&table, "  {.family = %d, .verdict = \"%s\", .domain_kind = \"%s\", .domain = \"", i, v->verdict, v->domain_kind);
    for (int k = 0; k < v->domain.n; k++) sb_printf(&table, "%s%s", k ? ", " : "", v->domain.at[k]);
    if (v->has_this_data) {
      sb_puts(&table, "\", .this_data = \"");
      for (int k = 0; k < v->this_data_domain.n; k++) sb_printf(&table, "%s%s", k ? ", " : "", v->this_data_domain.at[k]);
    }
    sb_printf(&table, "\",\n   .inputs = %s, .sd_inputs = %s, .window = %s_window_%s, .amortize = %s, .n_pins = %d, .pins = %s},\n", inputs ? arena_printf("%s_inputs_%s", e->name, v->name) : "NULL",
              v->amortize ? "NULL" : arena_printf("%s_sd_inputs_%s", e->name, v->name), e->name, v->name, v->amortize ? "true" : "false", pins,
              pins ? arena_printf("%s_pins_%s", e->name, v->name) : "NULL");
    n++;
  }
  if (n) put(e, "\nstatic const PgmAmortize %s_amortize[] = {\n%s};\n\n", e->name, sb_text(&table));
  return n;
}

static int emit_lets(Emission *e)
{
  const Model *m = e->m;
  StrBuf table = {0};
  int any = 0;
  for (int i = 0; i < m->families.n; i++) {
    const Family *f = FAMILY(e, i);
    if (f->role != ROLE_LET || f->block_let) { sb_puts(&table, "NULL, "); continue; }
    for (int j = 0; j < f->n_statements; j++) {
      const Stmt *s = STMT(e, f->statements[j]);
      Dag *d = new_dag(e);
      Builder *b = build_new(d, m, LEAF_VALUE);
      b->simulating = true;
      int axes[8];
      build_plates(b, s->plate, axes);
      emit_store(e, arena_printf("static void %s_piece%d_%s(const void *env, double *out)", e->name, j, f->name), "out", s, d, b, build_value(b, s->value));
    }
    put(e, "static void %s_let_%s(const void *env, double *out)\n{\n", e->name, f->name);
    for (int j = 0; j < f->n_statements; j++) put(e, "  %s_piece%d_%s(env, out);\n", e->name, j, f->name);
    put(e, "}\n\n");
    sb_printf(&table, "%s_let_%s, ", e->name, f->name);
    any++;
  }
  if (any) put(e, "static void (*const %s_lets[])(const void *, double *) = {%s};\n\n", e->name, sb_text(&table));
  return any;
}

/* Of each marginal latent variable the log density of its values at a point, not normalised: out[element * levels + value - lowest]. */
static int emit_labels(Emission *e)
{
  const Model *m = e->m;
  StrBuf table = {0};
  int any = 0;
  for (int i = 0; i < m->families.n; i++) {
    const Family *f = FAMILY(e, i);
    if (f->role != ROLE_MARGINAL || is_pruned(e, i) || f->n_statements > 1 || !has_term(e, f->statements[0])) { sb_puts(&table, "NULL, "); continue; }
    const Stmt *s = STMT(e, f->statements[0]);
    Dag *d = new_dag(e);
    Builder *b = build_new(d, m, LEAF_VALUE);
    b->simulating = true;
    Joined j = joined_with(e, f->statements[0]);
    Term t = {0};
    int axis;
    Node args[8], values = joined_values(e, b, &j, &t, &axis);
    CPrint *p = plain_printer(e, d, 0);
    definition_index(b, s, args);
    args[s->n_index] = x_sub(d, x_axis(d, axis), d->axes.at[axis].lo);
    LoopOut o = {.kind = OUT_STORE, .value = values, .leaf = NO_NODE, .axes = axis_set(t.axes, t.n_axes) | AXIS_BIT(axis), .n_args = 1};
    o.args[0] = family_position(d, i, s->n_index + 1, args);
    VEC_PUSH(p->k->outs, o);
    p->statement = store_statement;
    p->statement_data = "out";
    kernel_lower(p->k);
    cprint_kernel(p);
    emit_function(e, arena_printf("static void %s_label_%s(const void *env, double *out)", e->name, f->name), p, "");
    sb_printf(&table, "%s_label_%s, ", e->name, f->name);
    any++;
  }
  if (any) put(e, "static void (*const %s_labels[])(const void *, double *) = {%s};\n\n", e->name, sb_text(&table));
  return any;
}

/* Does every span of the plate's units compute a recurrence along them? */
static bool recurs(const Group *g)
{
  for (Node n = 0; n < g->d->nodes.n; n++)
    if (dag_node(g->d, n)->op == X_SCAN && !(dag_axes(g->d, n) & AXIS_BIT(0))) return g->plate >= 0;
  return false;
}

/* ---- elimination -------------------------------------------------------------------------------------------------------------------------------------------- */

static bool mentions_family(const Dag *d, Node n, int family, NodeMap *seen)
{
  const XNode *x = dag_node(d, n);
  if (x->op == X_U && x->aux == family) return true;
  if (!x->latent || *node_map(seen, n) != NODE_NEW) return false;
  *node_map(seen, n) = 1;
  bool any = false;
  for (int i = 0; i < x->n_args && !any; i++) any = mentions_family(d, x->args[i], family, seen);
  return any;
}

/* A local family of one statement, whose density is among the group's terms (so that these meet all its elements), mentioned by no other group's, real and
 * without bounds, in terms that are concave in it. */
static bool may_go(const Emission *e, const Group *g, int family)
{
  const Family *f = FAMILY(e, family);
  const LatentVerdict *v = verdict_of(e, family);
  if (f->role != ROLE_LOCAL || f->n_statements != 1 || f->type.kind == TY_INT || !v || !v->separable) return false;
  const Bounds support = build_support(e->m, family);
  const int own = e->statement_term[f->statements[0]];
  if (support.transform != TR_IDENTITY || support.computed || own < 0 || &e->groups.at[e->terms.at[own].group] != g) return false;
  for (int i = 0; i < e->terms.n; i++) {
    const Term *t = &e->terms.at[i];
    NodeMap seen = {0};
    if (&e->groups.at[t->group] != g && mentions_family(e->groups.at[t->group].d, t->random, family, &seen)) return false;
  }
  return is_concave(e, family);
}

static void find_eliminated(Emission *e, Group *g)
{
  bool *candidate = NEW_ARRAY(bool, e->m->families.n + 1), any = false;
  if (g->plate < 0) return;
  for (int i = 0; i < g->terms.n; i++)
    if (e->terms.at[g->terms.at[i]].method == EXPECT_SAMPLED) return;
  for (int i = 0; i < e->m->families.n; i++) any |= candidate[i] = may_go(e, g, i);
  Node sum = any ? group_sum(e, g, K_EXPECTED, NULL) : NO_NODE;
  Eliminations list = {0};
  if (sum >= 0 && dag_eliminate(g->d, x_sum(g->d, 0, sum), candidate, &list)) g->eliminated = list;
}

/* ---- sums over groups --------------------------------------------------------------------------------------------------------------------------- */

static void add_statement(CPrint *p, const LoopOut *o)
{
  cprint_line(p, "to[%d][%s] += %s;", o->tag, o->n_args ? cprint_expr(p, o->args[0]) : "0", cprint_expr(p, o->value));
}

/* A function that adds, over the elements of a span of units, value[i] to to[i][group]. */
static void emit_adding(Emission *e, const Group *g, const char *name, const Node *value, int n)
{
  const Term *t = &e->terms.at[g->terms.at[0]];
  const Sums *sums = g->sums;
  CPrint *p = plain_printer(e, g->d, 0);
  p->span = true;
  p->tables = tables_name(e, g);
  for (int i = 0; i < n; i++) {
    LoopOut o = {.kind = OUT_STORE, .value = value[i], .leaf = NO_NODE, .axes = axis_set(t->axes, t->n_axes), .tag = i};
    if (sums->group >= 0) o.args[o.n_args++] = sums->group;
    VEC_PUSH(p->k->outs, o);
  }
  p->statement = add_statement;
  kernel_lower(p->k);
  cprint_kernel(p);
  emit_function(e, arena_printf("static void %s(const void *env, const PgmSpan *span, double *const *to)", name), p, "");
}

/* What the runtime computes once, when the data are known. */
static void emit_sums(Emission *e, const Group *g)
{
  const Sums *sums = g->sums;
  const char *suffix = group_name(e, g), *means = "NULL", *adding = arena_printf("%s_%s_add_sums", e->name, suffix);
  if (sums->centred.n) {
    VEC(Node) values = {0};
    for (int i = 0; i < sums->centred.n; i++) VEC_PUSH(values, x_mul(g->d, sums->weight, sums->centred.at[i]));
    VEC_PUSH(values, sums->weight);
    means = arena_printf("%s_%s_add_means", e->name, suffix);
    put(e, "/* Data whose means over groups are taken off in the sums below, and their weights. */\n");
    emit_adding(e, g, means, values.at, values.n);
  }
  put(e, "/* The sums over groups that the term's expectation needs. */\n");
  emit_adding(e, g, adding, sums->sum.at, sums->sum.n);
  const int index = (int)(g - e->groups.at);
  sb_printf(&e->sums_table, "  {.plate = %d, .by_sums = %d, .n_means = %d, .n_sums = %d, .place = offsetof(struct %s_env, %s), .add_means = %s, .add_sums = %s},\n", index, index + 1,
            sums->centred.n, sums->sum.n, e->name, tables_name(e, g), means, adding);
  e->n_sums++;
}

/* Before a group is evaluated by sums: from now on the unit axis runs over the groups of the plate before. */
static void start_sums(Emission *e, const Group *g)
{
  Axis *unit = &g->d->axes.at[0];
  if (g->plate < 0 || unit->var == e->m->plates.at[g->plate].var) return;
  const Var *v = &e->m->vars.at[e->m->plates.at[g->plate].var];
  const Node lo = build_scalar(g->point, v->lo), hi = build_scalar(g->point, v->hi);
  unit = &g->d->axes.at[0];
  *unit = (Axis){.kind = AX_UNIT, .name = v->name, .var = e->m->plates.at[g->plate].var, .lo = lo, .hi = hi, .extent = unit->extent};
}

/* ---- units with equal data --------------------------------------------------------------------------------------------------------------- */

/* The data that the plate's terms read, where units with equal data have equal terms: writes the table, returns its name. NULL: units differ in more. */
static const char *emit_reads(Emission *e, const Group *g)
{
  if (g->plate < 0 || g->by_sums || recurs(g)) return NULL;
  Node all = x_const(g->d, 0);
  for (int i = 0; i < g->terms.n; i++) {
    const Term *t = &e->terms.at[g->terms.at[i]];
    if (t->method == EXPECT_SAMPLED) return NULL;
    all = x_add(g->d, all, sum_inner(g->d, t, x_add(g->d, t->expected, t->constant)));
  }
  UnitReads reads = {0};
  if (!dag_unit_reads(g->d, all, &reads)) return NULL;
  const char *name = arena_printf("%s_%s_reads", e->name, group_name(e, g));
  put(e, "static const PgmOwn %s[] = {", name);
  for (int i = 0; i < reads.n; i++) put(e, "{%d, 0, %d}, ", reads.at[i].family, reads.at[i].offset);
  put(e, "{-1, 0, 0}};\n\n");
  return name;
}

/* ---- the file --------------------------------------------------------------------------------------------------------------------------------------------- */

static void emit_group(Emission *e, Group *g)
{
  const Model *m = e->m;
  const char *suffix = group_name(e, g);
  if (g->by_sums) start_sums(e, g);
  g->own_offset = NEW_ARRAY(int, m->families.n + 1), g->own_position = NEW_ARRAY(int, m->families.n + 1);
  for (int i = 0; i < m->families.n; i++) g->own_position[i] = -1;
  /* bare references own their elements where there are any */
  for (Node n = 0; n < g->d->nodes.n && g->plate >= 0; n++) {
    XNode x = *dag_node(g->d, n);
    int offset;
    if (x.op != X_VALUE && x.op != X_MEAN && x.op != X_SD) continue;
    for (int k = 0; k < FAMILY(e, x.aux)->n_index; k++)
      if (!dag_node(g->d, x.args[k])->lookup && dag_unit_offset(g->d, x.args[k], &offset) && offset == 0 && g->own_position[x.aux] < 0)
        g->own_position[x.aux] = k, g->own_offset[x.aux] = 0;
  }
  if (g->plate < 0) put(e, "/* ---- terms outside plates ---- */\n\n");
  else put(e, "/* ---- line %d: %s ---- */\n\n", source_place(m->plates.at[g->plate].span.begin).line, comment_text(source_slice(m->plates.at[g->plate].span)));
  dag_order_axes(g->d);
  find_eliminated(e, g);
  const char *name[KERNEL_KINDS];
  StrBuf sizes = {0};
  int n_sizes = 0;
  for (int k = 0; k < KERNEL_KINDS; k++) {
    g->has_scratch = false;
    name[k] = emit_kernel(e, g, (KernelKind)k) ? arena_printf("%s_%s_%s", e->name, suffix, kernel_names[k]) : "NULL";
    if (g->has_scratch) sb_printf(&sizes, "  n = %s_%s_%s_scratch(env, count);\n  if (n > most) most = n;\n", e->name, suffix, kernel_names[k]), n_sizes++;
  }
  if (n_sizes)
    put(e, "static long %s_%s_scratch(const void *env, long count)\n{\n  long n, most = 0;\n%s  return most;\n}\n\n", e->name, suffix, sb_text(&sizes));
  for (int i = 0; i < g->refs.n; i++) emit_ref(e, g, &g->refs.at[i]);
  for (int i = 0; i < g->terms.n; i++) {
    int term = g->terms.at[i];
    const Term *t = &e->terms.at[term];
    const Stmt *s = STMT(e, t->stmt);
    emit_each(e, g, term, false);
    if (t->method != EXPECT_SAMPLED) emit_each(e, g, term, true);
    Place at = source_place(s->span.begin);
    static const char *const methods[] = {"PGM_CLOSED_FORM", "PGM_QUADRATURE", "PGM_SAMPLED"};
    const char *method = t->labels && t->method == EXPECT_CLOSED_FORM ? "PGM_ENUMERATION" : methods[t->method];
    if (t->n_axes) {
      put(e, "static const char *const %s_term%d_plates[] = {", e->name, term);
      for (int k = 0; k < t->n_axes; k++) put(e, "%s\"%s\"", k ? ", " : "", g->d->axes.at[t->axes[k]].name);
      put(e, "};\n\n");
    }
    sb_printf(&e->term_table, "  {.statement = %d, .line = %d, .column = %d, .n_plates = %d, .method = %s, .text = ", t->stmt, at.line, at.column, t->n_axes, method);
    put_string(&e->term_table, statement_text(e, s));
    if (t->n_axes) sb_printf(&e->term_table, ",\n   .plates = %s_term%d_plates", e->name, term);
    sb_printf(&e->term_table, ",\n   .point_each = %s_term%d_point", e->name, term);
    if (t->method != EXPECT_SAMPLED) sb_printf(&e->term_table, ", .expected_each = %s_term%d_expected", e->name, term);
    sb_puts(&e->term_table, "},\n");
  }
  if (g->shared.n) {
    put(e, "static const int %s_%s_shared[] = {", e->name, suffix);
    for (int i = 0; i < g->shared.n; i++) put(e, "%d, ", g->shared.at[i]);
    put(e, "-1};\n\n");
  }
  bool owns = false;
  for (int i = 0; i < m->families.n; i++) {
    if (g->own_position[i] < 0 || !is_latent_role(FAMILY(e, i))) continue;
    if (!owns) put(e, "static const PgmOwn %s_%s_own[] = {", e->name, suffix);
    put(e, "{%d, %d, %d}, ", i, g->own_position[i], g->own_offset[i]);
    owns = true;
  }
  if (owns) put(e, "{-1, 0, 0}};\n\n");
  if (g->eliminated.n) {
    put(e, "static const int %s_%s_eliminates[] = {", e->name, suffix);
    for (int i = 0; i < g->eliminated.n; i++) put(e, "%d, ", dag_node(g->d, g->eliminated.at[i].mean)->aux);
    put(e, "-1};\n\n");
  }
  if (g->plate < 0) sb_printf(&e->plate_table, "  {.variable = NULL, .axis = -1");
  else {
    int var = m->plates.at[g->plate].var;
    sb_printf(&e->plate_table, "  {.variable = \"%s\", .line = %d, .axis = %d", m->vars.at[var].name, source_place(m->plates.at[g->plate].span.begin).line, e->axis_of_var[var]);
  }
  if (g->sums) emit_sums(e, g);
  if (g->products.n) {
    put(e, "static const int %s_%s_products[] = {", e->name, suffix);
    for (int i = 0; i < g->products.n; i++) put(e, "%d, ", g->products.at[i]);
    put(e, "-1};\n\n");
  }
  sb_printf(&e->plate_table, ", .first_term = %d, .n_terms = %d,\n   .point = %s, .expected = %s, .rest = %s, .constant = %s", g->terms.n ? g->terms.at[0] : 0, g->terms.n, name[K_POINT],
            name[K_EXPECTED], name[K_REST], name[K_CONSTANT]);
  if (g->single) sb_printf(&e->plate_table, ",\n   .single = %s, .products = %s", name[K_SINGLE], g->products.n ? arena_printf("%s_%s_products", e->name, suffix) : "NULL");
  if (g->eliminated.n)
    sb_printf(&e->plate_table, ",\n   .eliminates = %s_%s_eliminates, .eliminated = %s, .complete = %s, .restore = %s", e->name, suffix, name[K_ELIMINATED], name[K_COMPLETE],
              name[K_RESTORE]);
  if (recurs(g)) sb_puts(&e->plate_table, ",\n   .block = -1");
  else if (g->has_block) sb_puts(&e->plate_table, ",\n   .block = 256");
  if (n_sizes) sb_printf(&e->plate_table, ", .scratch = %s_%s_scratch", e->name, suffix);
  if (g->shared.n) sb_printf(&e->plate_table, ", .shared = %s_%s_shared", e->name, suffix);
  if (owns) sb_printf(&e->plate_table, ", .own = %s_%s_own", e->name, suffix);
  const char *reads = emit_reads(e, g);
  if (reads) sb_printf(&e->plate_table, ", .reads = %s", reads);
  sb_puts(&e->plate_table, "},\n");
}

void emit_source(Emission *e, const char *text, const char *json, const char *dot, StrBuf *out)
{
  const Model *m = e->m;
  StrBuf kernels = {0}, rest = {0};
  e->out = &kernels;
  for (int g = 0; g < e->groups.n; g++) emit_group(e, &e->groups.at[g]);
  e->out = &rest;
  emit_checks(e);
  emit_lengths(e);
  emit_simulate(e);
  bool lets = emit_lets(e), labels = emit_labels(e);
  emit_families(e);
  emit_statements(e);
  int counts = emit_counts(e), amortize = emit_amortize(e);
  emit_shape(e);                                                            /* last: it knows all rooms */

  e->out = out;
  put(e, "/* %s, from %s by pgmc %s.\n *\n * Terms of the log density are grouped by outermost plate; each group has kernels for its value and gradient: at a point, in\n", m->name, base_name(m->file),
      e->options.version);
  put(e, " * expectation under q (factors with means and sds on the unconstrained scale), and for what cannot be integrated. See pgmrt.h.\n */\n");
  put(e, "#include \"pgmrt.h\"\n#include \"pgm_emit.h\"\n\n");
  emit_env(e);
  sb_puts(out, sb_text(&kernels));
  sb_puts(out, sb_text(&rest));
  put(e, "static const PgmTerm %s_terms[] = {\n%s};\n\n", e->name, e->terms.n ? sb_text(&e->term_table) : "  {0}\n");
  put(e, "static const PgmPlate %s_plates[] = {\n%s};\n\n", e->name, e->groups.n ? sb_text(&e->plate_table) : "  {0}\n");
  if (e->n_refs) put(e, "static const PgmRef %s_refs[] = {\n%s};\n\n", e->name, sb_text(&e->ref_table));
  if (e->n_sums) put(e, "static const PgmSums %s_sums[] = {\n%s};\n\n", e->name, sb_text(&e->sums_table));
  if (e->n_checks) put(e, "static const PgmRangeCheck %s_checks[] = {\n%s};\n\n", e->name, sb_text(&e->check_table));
  put(e, "static const PgmModel %s_pgm = {\n  .abi = PGM_ABI, .name = \"%s\", .file = ", e->name, m->name);
  put_string(out, base_name(m->file));
  put(e, ", .version = \"%s\",\n  .hash = \"%s\",\n  .env_size = sizeof(struct %s_env),\n", e->options.version, e->options.hash, e->name);
  put(e, "  .n_families = %d, .families = %s_families,\n  .n_statements = %d, .statements = %s_statements,\n", m->families.n, e->name, m->stmts.n, e->name);
  put(e, "  .n_plates = %d, .plates = %s_plates,\n  .n_terms = %d, .terms = %s_terms,\n", e->groups.n, e->name, e->terms.n, e->name);
  if (e->n_refs) put(e, "  .n_refs = %d, .refs = %s_refs,\n", e->n_refs, e->name);
  if (e->n_sums) put(e, "  .n_sums = %d, .sums = %s_sums,\n", e->n_sums, e->name);
  if (e->n_checks) put(e, "  .n_checks = %d, .checks = %s_checks,\n", e->n_checks, e->name);
  if (counts) put(e, "  .n_counts = %d, .counts = %s_counts,\n", counts, e->name);
  if (amortize) put(e, "  .n_amortize = %d, .amortize = %s_amortize,\n", amortize, e->name);
  if (m->lengths.n) put(e, "  .n_lengths = %d, .lengths = %s_lengths,\n", m->lengths.n, e->name);
  put(e, "  .n_axes = %d, .shape = %s_shape, .simulate = %s_simulate,\n", e->n_axes, e->name, e->name);
  if (lets) put(e, "  .lets = %s_lets,\n", e->name);
  if (labels) put(e, "  .labels = %s_labels,\n", e->name);
  put(e, "  .verdict = \"%s\",\n  .check_text =\n  ", e->a->verdict);
  put_string(out, text);
  put(e, ",\n  .check_json =\n  ");
  put_string(out, json);
  put(e, ",\n  .check_dot =\n  ");
  put_string(out, dot);
  put(e, ",\n};\n\n");
  put(e, "const PgmModel *%s_model(void);\nconst PgmModel *%s_model(void) { return &%s_pgm; }\n\n", m->name, m->name, e->name);
  put(e, "#ifndef PGM_LIBRARY\nint main(int argc, char **argv) { return pgm_main(argc, argv, &%s_pgm); }\n#endif\n", e->name);
}
