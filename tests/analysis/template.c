/* template.h. A model is a few latent families over random subsets of the dimensions n, g, h and j (j is reached by lookups only), and
 * observed families whose means are random sums of references to them. */
#include "template.h"
#include "base.h"

#include <string.h>

enum { DIM_N, DIM_G, DIM_H, DIM_J, DIMS };
static const char var_of[] = "nghj";
static const char *const size_of[] = {"N", "G", "H", "J"};

typedef struct {
  char name[16];
  bool dim[DIMS];
  bool twice;                           /* defined along n on 1..2*N, referred to at 2*n and 2*n-1 */
  bool longer;                          /* defined along n on 1..N+M */
} Fam;

typedef struct {
  unsigned long state;
  StrBuf text;
  Fam fam[8];
  int n_fam, n_dims, n_sums;
  bool lookup, forest, lag, twice, longer, globals, covariates;
} Gen;

typedef struct { int below[DIMS], above[DIMS]; bool symbolic; } Need; /* how far references look outside the plates; n - K */

static unsigned below(Gen *g, unsigned n)
{
  g->state = g->state * 6364136223846793005ul + 1442695040888963407ul;
  return (unsigned)((g->state >> 33) % n);
}
static bool chance(Gen *g, unsigned percent) { return below(g, 100) < percent; }

/* "0.8313", "-1.2107" */
static const char *coefficient(Gen *g)
{
  unsigned v = 5501 + 2 * below(g, 4500);               /* odd: sums and differences of them do not cancel */
  return arena_printf("%s%u.%04u", chance(g, 35) ? "-" : "", v / 10000, v % 10000);
}
static const char *scale(Gen *g)
{
  unsigned v = 60 + below(g, 80);
  return arena_printf("%u.%02u", v / 100, v % 100);
}

/* ---- references ------------------------------------------------------------------------------------------------------------------ */

/* A reference to an element of f, or a sum of several, from inside the plates `in`. */
static void put_ref(Gen *g, const Fam *f, const bool *in, Need *need, StrBuf *out)
{
  StrBuf index = {0};
  const char *sum = NULL, *lo = "1", *hi = NULL;
  for (int d = 0; d < DIMS; d++) {
    if (!f->dim[d]) continue;
    if (index.length) sb_putc(&index, ',');
    if (d == DIM_J) {
      sb_puts(&index, "k[n]");
      continue;
    }
    unsigned c = below(g, 100);
    bool alone = !sum;
    if (d == DIM_N && f->twice && in[d] && c < 80) sb_puts(&index, c < 40 ? "2*n" : "2*n-1");
    else if (in[d] && c < 58) sb_putc(&index, var_of[d]);
    else if (in[d] && c < 80) {
      int o = chance(g, 65) ? -1 : chance(g, 50) || g->n_dims > 2 ? 1 : -2;
      if (d == DIM_N && g->lag && chance(g, 30)) {
        sb_puts(&index, "n-K");
        need->symbolic = true;
      } else {
        sb_printf(&index, "%c%+d", var_of[d], o);
        if (-o > need->below[d]) need->below[d] = -o;
        if (o > need->above[d]) need->above[d] = o;
      }
    } else if (in[d] && c < 84 && d == DIM_N && !f->twice) sb_puts(&index, "N+1-n");
    else if ((in[d] && c < 89) || !alone) sb_puts(&index, "1");
    else {
      sum = arena_printf("m%d", g->n_sums++);
      hi = in[d] && c >= 96 ? arena_printf("%c", var_of[d]) : size_of[d];
      if (in[d] && c == 95) lo = arena_printf("%c", var_of[d]), hi = size_of[d];
      sb_puts(&index, sum);
    }
  }
  if (sum) sb_printf(out, "sum(%s in %s..%s: %s[%s])", sum, lo, hi, f->name, sb_text(&index));
  else sb_printf(out, "%s[%s]", f->name, sb_text(&index));
}

static void open_plates(Gen *g, const bool *in, const Need *need, const char *n_hi)
{
  sb_puts(&g->text, " ");
  for (int d = 0; d < DIMS; d++) {
    if (!in[d]) continue;
    sb_printf(&g->text, " plate %c in ", var_of[d]);
    if (d == DIM_N && need && need->symbolic) sb_printf(&g->text, "K+%d", 1 + need->below[d]);
    else sb_printf(&g->text, "%d", 1 + (need ? need->below[d] : 0));
    sb_printf(&g->text, "..%s", d == DIM_N && n_hi ? n_hi : size_of[d]);
    if (need && need->above[d]) sb_printf(&g->text, "-%d", need->above[d]);
    sb_puts(&g->text, " {");
  }
}

static void close_plates(Gen *g, const bool *in)
{
  for (int d = 0; d < DIMS; d++)
    if (in[d]) sb_puts(&g->text, " }");
  sb_putc(&g->text, '\n');
}

/* The family's index, with `at` along dimension `special` (-1: nowhere). */
static const char *own_index(const bool *dim, int special, const char *at)
{
  StrBuf b = {0};
  for (int d = 0; d < DIMS; d++) {
    if (!dim[d]) continue;
    if (b.length) sb_putc(&b, ',');
    if (d == special) sb_puts(&b, at);
    else sb_putc(&b, var_of[d]);
  }
  return sb_text(&b);
}

static const char *last_n(const Fam *f) { return f->twice ? "2*N" : f->longer ? "N+M" : "N"; }

/* A known multiplier or noise of the plates that are open; NULL: none. */
static const char *covariate(Gen *g, const bool *in, const char *name)
{
  if (!g->covariates) return NULL;
  if (in[DIM_G] && chance(g, 35)) return arena_printf("%ss[g]", name); /* the same for all n */
  if (in[DIM_N] && g->lookup && chance(g, 25)) return arena_printf("%sk[k[n]]", name);
  if (!in[DIM_N] || in[DIM_H]) return NULL;
  return in[DIM_G] ? arena_printf("%sg[n,g]", name) : arena_printf("%s[n]", name);
}

/* ---- statements ------------------------------------------------------------------------------------------------------------------------ */

static void put_latent(Gen *g, int i)
{
  const Fam *f = &g->fam[i];
  const char *end = last_n(f);
  if (f->dim[DIM_N] && chance(g, 22)) { /* a chain along n, its first elements by themselves */
    bool outer[DIMS] = {false, f->dim[DIM_G], f->dim[DIM_H], false}, symbolic = g->lag && !f->twice && chance(g, 25);
    int lag = chance(g, 75) ? 1 : 2;
    open_plates(g, outer, NULL, NULL);
    if (symbolic) sb_printf(&g->text, " plate n in 1..K { latent %s[%s] ~ normal(%s, 1); }", f->name, own_index(f->dim, -1, ""), coefficient(g));
    for (int k = 1; k <= lag && !symbolic; k++)
      sb_printf(&g->text, " latent %s[%s] ~ normal(%s, %s);", f->name, own_index(f->dim, DIM_N, arena_printf("%d", k)), coefficient(g), scale(g));
    const char *step = symbolic ? "K" : arena_printf("%d", lag);
    sb_printf(&g->text, " plate n in %s+1..%s { latent %s[%s] ~ normal(%s * %s[%s], %s); }", step, end, f->name, own_index(f->dim, -1, ""), coefficient(g),
              f->name, own_index(f->dim, DIM_N, arena_printf("n-%s", step)), scale(g));
    close_plates(g, outer);
    return;
  }
  StrBuf parent = {0};
  Need need = {.symbolic = false};
  if (i && chance(g, 35) && !f->dim[DIM_J] && !f->twice && !f->longer) {
    const Fam *p = &g->fam[below(g, (unsigned)i)];
    if (!p->dim[DIM_J]) put_ref(g, p, f->dim, &need, &parent);
    for (int d = 0; d < DIMS; d++)
      if (need.below[d] || need.above[d] || need.symbolic) parent = (StrBuf){0};
  }
  if (f->dim[DIM_N] && !f->dim[DIM_G] && !f->dim[DIM_H] && chance(g, 10)) { /* two regimes */
    sb_printf(&g->text, "  plate n in 1..2 { latent %s[n] ~ normal(%s, %s); }  plate n in 3..%s { latent %s[n] ~ normal(%s, %s); }\n", f->name,
              coefficient(g), scale(g), end, f->name, coefficient(g), scale(g));
    return;
  }
  open_plates(g, f->dim, NULL, end);
  const char *noise = f->twice || f->longer || f->dim[DIM_J] || chance(g, 85) ? NULL : covariate(g, f->dim, "e");
  sb_printf(&g->text, " latent %s[%s] ~ normal(%s%s, %s);", f->name, own_index(f->dim, -1, ""),
            parent.length ? arena_printf("%s * ", coefficient(g)) : "", parent.length ? sb_text(&parent) : coefficient(g), noise ? noise : scale(g));
  close_plates(g, f->dim);
}

static void put_observed(Gen *g, int i)
{
  bool in[DIMS] = {true, g->n_dims > 1 && chance(g, 60), g->n_dims > 2 && chance(g, 50), false};
  if (g->n_dims > 1 && chance(g, 15)) in[DIM_N] = !(in[DIM_G] = true);
  StrBuf mean = {0};
  Need need = {.symbolic = false};
  int n = 1 + (int)below(g, 3), put = 0;
  for (int k = 0; k < n; k++) {
    const Fam *f = &g->fam[below(g, (unsigned)g->n_fam)];
    if (f->dim[DIM_J] && !in[DIM_N]) continue;
    if (put++) sb_puts(&mean, " + ");
    const char *c = covariate(g, in, "c");
    sb_printf(&mean, "%s * ", c && chance(g, 20) ? c : coefficient(g));
    if (chance(g, 12) && f->dim[DIM_N] && in[DIM_N] && !f->dim[DIM_G] && !f->dim[DIM_H]) /* a reference that the first elements do not have */
      sb_printf(&mean, "(n > 1 ? %s[n-1] : 0)", f->name);
    else put_ref(g, f, in, &need, &mean);
  }
  if (!put) return;
  const char *extra = covariate(g, in, "c"), *noise = covariate(g, in, "e");
  if (extra && chance(g, 20)) sb_printf(&mean, " + %s", extra);
  if (g->globals && in[DIM_G] && chance(g, 30)) sb_puts(&mean, " + b[g]");
  if (g->globals && g->lookup && in[DIM_N] && chance(g, 20)) sb_puts(&mean, " + a[k[n]]");
  if (!noise || !chance(g, 20)) noise = scale(g);
  if (in[DIM_N] && !in[DIM_G] && !in[DIM_H] && chance(g, 20) && !need.below[DIM_N] && !need.above[DIM_N] && !need.symbolic) { /* through a let */
    sb_printf(&g->text, "  plate n in 1..N { let s%d[n] = %s; }  plate n in 2..N { observed x%d[n] ~ normal(s%d[n] + %s * s%d[n-1], %s); }\n", i, sb_text(&mean), i, i,
              coefficient(g), i, noise);
    return;
  }
  open_plates(g, in, &need, NULL);
  if (chance(g, 85)) sb_printf(&g->text, " observed x%d[%s] ~ normal(%s, %s);", i, own_index(in, -1, ""), sb_text(&mean), noise);
  else sb_printf(&g->text, " factor -%s * square(%s);", scale(g), sb_text(&mean));
  close_plates(g, in);
}

/* A tree of lookups, or a ragged nested plate, beside the rest. */
static void put_groups(Gen *g)
{
  if (chance(g, 50)) {
    sb_printf(&g->text, "  plate s in 1..S { latent v[s] ~ normal(0, %s); }\n", scale(g));
    sb_printf(&g->text, "  plate r in 1..C { input school[r] : int<lower=1, upper=S>; latent u[r] ~ normal(%s * v[school[r]], %s); }\n", coefficient(g), scale(g));
    sb_puts(&g->text, "  plate i in 1..I { input class[i] : int<lower=1, upper=C>; input t[i];\n");
    bool pupil = chance(g, 40);
    if (pupil) sb_printf(&g->text, "    latent q[i] ~ normal(u[class[i]], %s);\n", scale(g));
    sb_printf(&g->text, "    observed y[i] ~ normal(%s%s, %s); }\n", pupil ? "q[i]" : "u[class[i]]", chance(g, 50) ? " + t[i]" : "", scale(g));
    return;
  }
  sb_printf(&g->text, "  plate s in 1..S { input size[s] : int<lower=1, upper=4>; latent v[s] ~ normal(0, %s);\n", scale(g));
  bool member = chance(g, 60);
  sb_puts(&g->text, "    plate i in 1..size[s] {");
  if (member) sb_printf(&g->text, " latent q[s,i] ~ normal(%s * v[s], %s);", coefficient(g), scale(g));
  sb_printf(&g->text, " observed y[s,i] ~ normal(%s, %s); } }\n", member ? "q[s,i]" : "v[s]", scale(g));
}

const char *template_random(long seed)
{
  Gen g = {.state = (unsigned long)seed * 0x9E3779B97F4A7C15ul + 1};
  for (int i = 0; i < 4; i++) below(&g, 2);
  g.n_dims = chance(&g, 45) ? 1 : chance(&g, 75) ? 2 : 3;
  sb_printf(&g.text, "model r%ld {\n  input N : int<lower=%d>;  input G : int<lower=%d, upper=%d>;  input H : int<lower=3, upper=4>;  input J : int<lower=2, upper=3>;\n",
            seed, g.n_dims == 1 ? 9 : g.n_dims == 2 ? 6 : 4, g.n_dims == 2 ? 5 : 3, g.n_dims == 2 ? 6 : 4);
  g.lookup = chance(&g, 30);
  g.lag = chance(&g, 15);
  g.twice = chance(&g, 20);
  g.longer = !g.twice && chance(&g, 20);
  g.globals = chance(&g, 20);
  g.covariates = chance(&g, 45);
  if (g.lag) sb_printf(&g.text, "  input K : int<lower=2, upper=%d>;\n", g.n_dims > 2 ? 2 : 3); /* plates are longer than two lags */
  if (g.longer) sb_puts(&g.text, "  input M : int<lower=1, upper=3>;\n");
  if (g.lookup) sb_puts(&g.text, "  plate n in 1..N { input k[n] : int<lower=1, upper=J>; }\n");
  if (g.covariates) sb_puts(&g.text, "  plate n in 1..N { input c[n]; input e[n]; plate g in 1..G { input cg[n,g]; input eg[n,g]; } }\n"
                                    "  plate g in 1..G { input cs[g]; input es[g]; }  plate j in 1..J { input ck[j]; input ek[j]; }\n");
  if (g.globals) sb_puts(&g.text, "  plate g in 1..G { global latent b[g] ~ normal(0, 1); }  plate j in 1..J { global latent a[j] ~ normal(0, 1); }\n");
  bool groups = chance(&g, 12);
  if (groups) {
    sb_puts(&g.text, "  input S : int<lower=2, upper=3>;  input C : int<lower=4, upper=5>;  input I : int<lower=12, upper=16>;\n");
    put_groups(&g);
  }
  int n = 1 + (int)below(&g, 3);
  for (int i = 0; i < n; i++) {
    Fam *f = &g.fam[g.n_fam++];
    snprintf(f->name, sizeof f->name, "z%d", i);
    for (int d = 0; d < g.n_dims; d++) f->dim[d] = chance(&g, 65);
    if (!f->dim[0] && !f->dim[1] && !f->dim[2]) f->dim[0] = true;
    if (f->dim[0]) {
      f->twice = g.twice && chance(&g, 60);
      f->longer = g.longer && chance(&g, 60);
    }
  }
  if (g.lookup) {
    Fam *f = &g.fam[g.n_fam++];
    snprintf(f->name, sizeof f->name, "w");
    f->dim[DIM_J] = true;
  }
  for (int i = 0; i < g.n_fam; i++) put_latent(&g, i);
  int n_observed = 1 + (int)below(&g, 3);
  for (int i = 0; i < n_observed; i++) put_observed(&g, i);
  sb_puts(&g.text, "}\n");
  return sb_text(&g.text);
}
