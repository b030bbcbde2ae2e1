/* Random templates through the analysis, whose self-check (ground.c) writes each model out at a small size, finds the components by union-find and
 * aborts on any disagreement with the symbolic answer. Argument: first seed, number of models (default 1 and 1500); a model that
 * fails is printed.
 *
 * The models have one to three plate dimensions, lags, hubs, whole and running sums, lets, conditions, lookups, piecewise families, families that lack a
 * dimension, unobserved leaves and potentials. */
#include "analysis.h"
#include "ast.h"
#include "resolve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static unsigned long state;
static const char *current;
static long first_seed = 1, n_models = 1500;

static unsigned next_random(unsigned n)
{
  state = state * 6364136223846793005ul + 1442695040888963407ul;
  return (unsigned)((state >> 33) % n);
}
static bool chance(unsigned percent) { return next_random(100) < percent; }

/* Dimensions: n in 1..N, g in 1..G, h in 1..H; j in 1..J is reached by lookup k[n] only. */
typedef struct { char name[16]; bool dim[4]; } Fam;
enum { DIM_N, DIM_G, DIM_H, DIM_J };
static const char var_of[] = "nghj", size_of[] = "NGHJ";

typedef struct { StrBuf text; Fam fam[8]; int n_fam, n_dims, sums; bool lookup; } Gen;
typedef struct { int below[4], above[4]; } Need; /* how far references look outside the plates */

/* A reference to an element of f from a place inside the plates `in`. */
static void put_ref(Gen *g, const Fam *f, const bool *in, Need *need, StrBuf *out)
{
  StrBuf index = {0};
  const char *sum = NULL, *hi = NULL;
  for (int d = 0; d < 4; d++) {
    if (!f->dim[d]) continue;
    if (index.length) sb_putc(&index, ',');
    if (d == DIM_J) {
      sb_puts(&index, "k[n]");
      continue;
    }
    unsigned c = next_random(100);
    bool alone = !sum;
    if (in[d] && c < 60) sb_putc(&index, var_of[d]);
    else if (in[d] && c < 82) {
      int o = chance(70) ? -1 : chance(50) ? 1 : -2;
      sb_printf(&index, "%c%+d", var_of[d], o);
      if (-o > need->below[d]) need->below[d] = -o;
      if (o > need->above[d]) need->above[d] = o;
    } else if ((in[d] && c < 88) || !alone) sb_puts(&index, "1");
    else {
      sum = arena_printf("m%d", g->sums++);
      hi = in[d] && c >= 95 ? arena_printf("%c", var_of[d]) : arena_printf("%c", size_of[d]);
      sb_puts(&index, sum);
    }
  }
  if (sum) sb_printf(out, "sum(%s in 1..%s: %s[%s])", sum, hi, f->name, sb_text(&index));
  else sb_printf(out, "%s[%s]", f->name, sb_text(&index));
}

static void open_plates(Gen *g, const bool *in, const Need *need)
{
  sb_puts(&g->text, " ");
  for (int d = 0; d < 4; d++) {
    if (!in[d]) continue;
    sb_printf(&g->text, " plate %c in %d..%c", var_of[d], 1 + (need ? need->below[d] : 0), size_of[d]);
    if (need && need->above[d]) sb_printf(&g->text, "-%d", need->above[d]);
    sb_puts(&g->text, " {");
  }
}

static void close_plates(Gen *g, const bool *in)
{
  for (int d = 0; d < 4; d++)
    if (in[d]) sb_puts(&g->text, " }");
  sb_putc(&g->text, '\n');
}

static const char *own_index(const bool *dim, int lag_dim, const char *at)
{
  StrBuf b = {0};
  for (int d = 0; d < 4; d++) {
    if (!dim[d]) continue;
    if (b.length) sb_putc(&b, ',');
    if (d == lag_dim) sb_puts(&b, at);
    else sb_putc(&b, var_of[d]);
  }
  return sb_text(&b);
}

static void put_latent(Gen *g, int i)
{
  const Fam *f = &g->fam[i];
  if (f->dim[DIM_N] && chance(22)) {    /* a chain along n, its first elements by themselves */
    int lag = chance(75) ? 1 : 2;
    bool outer[4] = {false, f->dim[DIM_G], f->dim[DIM_H], false};
    open_plates(g, outer, NULL);
    for (int k = 1; k <= lag; k++) sb_printf(&g->text, " latent %s[%s] ~ normal(0, 1);", f->name, own_index(f->dim, DIM_N, arena_printf("%d", k)));
    sb_printf(&g->text, " plate n in %d..N { latent %s[%s] ~ normal(%s[%s], 1); }", lag + 1, f->name, own_index(f->dim, -1, ""), f->name,
              own_index(f->dim, DIM_N, arena_printf("n-%d", lag)));
    close_plates(g, outer);
    return;
  }
  StrBuf parent = {0};
  Need need = {{0}, {0}};
  if (i && chance(35) && !f->dim[DIM_J]) {
    const Fam *p = &g->fam[next_random((unsigned)i)];
    if (!p->dim[DIM_J]) put_ref(g, p, f->dim, &need, &parent);
    for (int d = 0; d < 4; d++)
      if (need.below[d] || need.above[d]) parent = (StrBuf){0};
  }
  if (f->dim[DIM_N] && !f->dim[DIM_G] && !f->dim[DIM_H] && chance(10)) { /* two regimes */
    sb_printf(&g->text, "  plate n in 1..2 { latent %s[n] ~ normal(0, 1); }  plate n in 3..N { latent %s[n] ~ normal(0, 2); }\n", f->name, f->name);
    return;
  }
  open_plates(g, f->dim, NULL);
  sb_printf(&g->text, " latent %s[%s] ~ normal(%s, 1);", f->name, own_index(f->dim, -1, ""), parent.length ? sb_text(&parent) : "0");
  close_plates(g, f->dim);
}

static void put_observed(Gen *g, int i)
{
  bool in[4] = {true, g->n_dims > 1 && chance(60), g->n_dims > 2 && chance(50), false};
  if (g->n_dims > 1 && chance(15)) in[DIM_N] = !(in[DIM_G] = true);
  StrBuf mean = {0};
  Need need = {{0}, {0}};
  int n = 1 + (int)next_random(3), put = 0;
  for (int k = 0; k < n; k++) {
    const Fam *f = &g->fam[next_random((unsigned)g->n_fam)];
    if (f->dim[DIM_J] && !in[DIM_N]) continue;
    if (put++) sb_puts(&mean, " + ");
    if (chance(12) && f->dim[DIM_N] && in[DIM_N] && !f->dim[DIM_G] && !f->dim[DIM_H]) /* a reference that the first elements do not have */
      sb_printf(&mean, "(n > 1 ? %s[n-1] : 0)", f->name);
    else put_ref(g, f, in, &need, &mean);
  }
  if (!put) return;
  if (g->lookup && in[DIM_N] && chance(20)) sb_puts(&mean, " + c[n]");
  if (in[DIM_N] && !in[DIM_G] && !in[DIM_H] && chance(20) && !need.below[DIM_N] && !need.above[DIM_N]) { /* through a let, one step away */
    sb_printf(&g->text, "  plate n in 1..N { let s%d[n] = %s; }  plate n in 2..N { observed x%d[n] ~ normal(s%d[n] + s%d[n-1], 1); }\n", i, sb_text(&mean), i, i, i);
    return;
  }
  open_plates(g, in, &need);
  if (chance(85)) sb_printf(&g->text, " observed x%d[%s] ~ normal(%s, 1);", i, own_index(in, -1, ""), sb_text(&mean));
  else sb_printf(&g->text, " factor -square(%s);", sb_text(&mean));
  close_plates(g, in);
}

static const char *random_model(long seed)
{
  state = (unsigned long)seed * 0x9E3779B97F4A7C15ul + 1;
  for (int i = 0; i < 4; i++) next_random(2);
  Gen g = {.n_dims = chance(45) ? 1 : chance(75) ? 2 : 3};
  sb_printf(&g.text, "model r%ld {\n  input N : int<lower=5>;  input G : int<lower=3>;  input H : int<lower=3>;  input J : int<lower=2>;\n", seed);
  g.lookup = chance(35);
  if (g.lookup) sb_puts(&g.text, "  plate n in 1..N { input k[n] : int<lower=1, upper=J>; input c[n]; }\n");
  int n = 1 + (int)next_random(3);
  for (int i = 0; i < n; i++) {
    Fam *f = &g.fam[g.n_fam++];
    snprintf(f->name, sizeof f->name, "z%d", i);
    for (int d = 0; d < g.n_dims; d++) f->dim[d] = chance(65);
    if (!f->dim[0] && !f->dim[1] && !f->dim[2]) f->dim[0] = true;
  }
  if (g.lookup) {
    Fam *f = &g.fam[g.n_fam++];
    snprintf(f->name, sizeof f->name, "u");
    f->dim[DIM_J] = true;
  }
  for (int i = 0; i < g.n_fam; i++) put_latent(&g, i);
  int n_observed = 1 + (int)next_random(3);
  for (int i = 0; i < n_observed; i++) put_observed(&g, i);
  sb_puts(&g.text, "}\n");
  return sb_text(&g.text);
}

static void show_current(void)
{
  if (current) fprintf(stderr, "while analysing\n%s", current);
}

static void random_models(void **unused)
{
  (void)unused;
  int resolved = 0;
  for (long i = first_seed; i < first_seed + n_models; i++) {
    current = random_model(i);
    source_set("random.pgm", current, strlen(current));
    Ast *ast = parse_source();
    Model *m = ast ? resolve(ast) : NULL;
    if (!m || diag_errors()) {
      diag_print(stderr, false);
      fail_msg("seed %ld does not resolve", i);
    }
    Analysis *a = analyse(m);
    assert_true(verdict_strength(a->verdict) >= 0);
    resolved++;
  }
  assert_int_equal(resolved, n_models);
  current = NULL;
}

int main(int argc, char **argv)
{
  if (argc > 1) first_seed = atol(argv[1]);
  if (argc > 2) n_models = atol(argv[2]);
  atexit(show_current);
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_models)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
