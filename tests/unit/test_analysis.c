/* The verdict, stated by hand: models as text, and what theory says of each of their latent variables (docs/analysis.md). The golden files of
 * tests/good hold everything that is printed; this file holds what must be true, with the reasons. Also the lattices by themselves. */
#include "analysis.h"
#include "ast.h"
#include "coupling.h"
#include "report.h"
#include "resolve.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static Analysis *analysis_of(const char *text, Model **model)
{
  source_set("test.pgm", text, strlen(text));
  Ast *ast = parse_source();
  Model *m = ast ? resolve(ast) : NULL;
  if (!m || diag_errors()) {
    diag_print(stderr, false);
    fail_msg("the model does not resolve:\n%s", text);
  }
  if (model) *model = m;
  return analyse(m);
}

static const char *joined(const TextList *l)
{
  StrBuf b = {0};
  for (int i = 0; i < l->n; i++) sb_printf(&b, "%s%s", i ? "; " : "", l->at[i]);
  return sb_text(&b);
}

typedef struct { const char *name, *verdict, *domain, *sd, *boundary; } Expected; /* NULL: not looked at */
typedef struct { const char *text, *verdict; Expected latent[4]; } Case; /* of a family with several ranges, the first */

#define SIZES "input N : int<lower=2>; input G : int<lower=2>; "

static const Case cases[] = {
  {"model simple { " SIZES "latent theta ~ normal(0, 1); plate n in 1..N { latent z[n] ~ normal(0, 1); observed x[n] ~ normal(theta + z[n], 1); } }",
   "closes", {{"theta", "global", "", "", ""}, {"z", "closes", "x[n]", "", ""}}},
  /* known noise and multipliers decide the scale */
  {"model noise { " SIZES "plate n in 1..N { input c[n]; input e[n]; latent z[n] ~ normal(0, 1); observed x[n] ~ normal(c[n] * z[n], e[n]); } }",
   "closes", {{"z", "closes", "c[n]; e[n]; x[n]", "c[n]; e[n]", ""}}},
  /* an additive covariate moves the mean alone */
  {"model shift { " SIZES "plate n in 1..N { input c[n]; latent z[n] ~ normal(0, 1); observed x[n] ~ normal(z[n] + c[n], 1); } }",
   "closes", {{"z", "closes", "c[n]; x[n]", "", ""}}},
  {"model chain { " SIZES "latent z[1] ~ normal(0, 1); plate n in 2..N { latent z[n] ~ normal(z[n-1], 1); } "
   "plate n in 1..N { observed x[n] ~ normal(z[n], 1); } }", "open", {{"z", "unbounded", "x[*]", "", "n=1; n=N"}}},
  /* a definition with an offset: z[n+1] */
  {"model offset { " SIZES "input y[0] = 0; plate n in 0..N { latent z[n+1] ~ normal(0, 1); observed y[n+1] ~ normal(z[n+1] + y[n], 1); } }",
   "closes", {{"z", "closes", "y[n]; y[n+1]", "", ""}}},
  /* observing in one term, then two levels of let */
  {"model lets { " SIZES "plate n in 1..N { latent z[n] ~ normal(0, 1); let a[n] = 2 * z[n]; let b[n] = a[n] + 1; observed x[n] ~ normal(b[n], 1); } }",
   "closes", {{"z", "closes", "x[n]", "", ""}}},
  /* a let that is read one step away couples neighbours */
  {"model let_lag { " SIZES "plate n in 1..N { latent z[n] ~ normal(0, 1); let a[n] = 2 * z[n]; } plate n in 2..N { observed x[n] ~ normal(a[n] + a[n-1], 1); } }",
   "open", {{"z", "unbounded", "x[*]", "", "n=1; n=N"}}},
  /* a chain of finite literal length is finite: which of the three an element is, is an input */
  {"model literal { " SIZES "plate g in 1..G { latent z[g,1] ~ normal(0, 1); plate k in 2..3 { latent z[g,k] ~ normal(z[g,k-1], 1); } "
   "plate k in 1..3 { observed x[g,k] ~ normal(z[g,k], 1); } } }", "closes", {{"z", "closes", "k; x[g,1..3]", "", NULL}}},
  /* two groupings, one nested in the other by plates */
  {"model nested { " SIZES "plate g in 1..G { latent u[g] ~ normal(0, 1); plate n in 1..N { latent z[g,n] ~ normal(u[g], 1); observed x[g,n] ~ normal(z[g,n], 1); } } }",
   "closes", {{"u", "set", "x[g,*]", "", ""}, {"z", "set", "x[g,*]; x[g,n]", "", ""}}},
  /* a chain per group, and a latent variable of the group: ordered */
  {"model grouped_chain { " SIZES "plate g in 1..G { latent u[g] ~ normal(0, 1); latent z[g,1] ~ normal(u[g], 1); "
   "plate n in 2..N { latent z[g,n] ~ normal(z[g,n-1] + u[g], 1); } plate n in 1..N { observed x[g,n] ~ normal(z[g,n], 1); } } }",
   "closes", {{"u", "slice", "x[g,*]", "", ""}, {"z", "slice", "x[g,*]", "", NULL}}},
  /* the hub of one family, seen from another */
  {"model hub { " SIZES "plate g in 1..G { latent u[g] ~ normal(0, 1); } plate n in 1..N { latent z[n] ~ normal(0, 1); observed x[n] ~ normal(z[n] + u[1], 1); } "
   "plate g in 1..G { observed y[g] ~ normal(u[g], 1); } }",
   "partly", {{"u", "closes", "y[g]", "", "g=1"}, {"z", "unbounded-set", "x[*]; x[n]; y[1]", "", ""}}},
  /* global components chosen by a known index: the index is an input */
  {"model chosen { " SIZES "plate g in 1..G { global latent m[g] ~ normal(0, 1); } plate n in 1..N { input k[n] : int<lower=1, upper=G>; "
   "latent z[n] ~ normal(m[k[n]], 1); observed x[n] ~ normal(z[n], 1); } }", "closes", {{"m", "global", "", "", ""}, {"z", "closes", "k[n]; x[n]", "", ""}}},
  /* the same through a let */
  {"model chosen_let { " SIZES "plate g in 1..G { global latent m[g] ~ normal(0, 1); let h[g] = 2 * m[g]; } plate n in 1..N { "
   "input k[n] : int<lower=1, upper=G>; latent z[n] ~ normal(h[k[n]], 1); observed x[n] ~ normal(z[n], 1); } }",
   "closes", {{"m", "global", "", "", ""}, {"z", "closes", "k[n]; x[n]", "", ""}}},
  /* an entry of a global vector chosen by the plate variable: the index is an input */
  {"model entry { " SIZES "latent m : vector[N] ~ normal(0, 1); plate n in 1..N { latent z[n] ~ normal(m[n], 1); observed x[n] ~ normal(z[n], 1); } }",
   "closes", {{"m", "global", "", "", ""}, {"z", "closes", "n; x[n]", "", ""}}},
  /* a covariate at a looked-up place is one entry; the lookup itself chooses it */
  {"model covariate { " SIZES "plate g in 1..G { input w[g]; } plate n in 1..N { input k[n] : int<lower=1, upper=G>; latent z[n] ~ normal(w[k[n]], 1); "
   "observed x[n] ~ normal(z[n], 1); } }", "closes", {{"z", "closes", "w[k[n]]; x[n]", "", ""}}},
  /* pairs of latent variables through two lookups: the data decide */
  {"model matches { " SIZES "plate g in 1..G { latent s[g] ~ normal(0, 1); } plate n in 1..N { input a[n] : int<lower=1, upper=G>; input b[n] : int<lower=1, upper=G>; "
   "observed y[n] ~ bernoulli_logit(s[a[n]] - s[b[n]]); } }", "data", {{"s", "data", NULL, NULL, NULL}}},
  /* two families by the same lookup stay together */
  {"model same_table { " SIZES "plate g in 1..G { latent a[g] ~ normal(0, 1); latent b[g] ~ normal(0, 1); } plate n in 1..N { input k[n] : int<lower=1, upper=G>; input t[n]; "
   "observed y[n] ~ normal(a[k[n]] + b[k[n]] * t[n], 1); } }",
   "closes", {{"a", "set", "t[n | k[n] = g]; y[n | k[n] = g]", "y[n | k[n] = g]", ""}, {"b", "set", "t[n | k[n] = g]; y[n | k[n] = g]", "t[n | k[n] = g]", ""}}},
  /* a chain under a lookup is unbounded whatever the table says */
  {"model chain_lookup { " SIZES "plate g in 1..G { latent u[g] ~ normal(0, 1); } latent z[1] ~ normal(0, 1); plate n in 2..N { latent z[n] ~ normal(z[n-1], 1); } "
   "plate n in 1..N { input k[n] : int<lower=1, upper=G>; observed x[n] ~ normal(z[n] + u[k[n]], 1); } }", "open", {{"u", NULL, NULL, NULL, NULL}, {"z", "unbounded", "x[*]", "", NULL}}},
  /* barren latent variables couple nothing */
  {"model barren { " SIZES "plate n in 1..N { latent z[n] ~ normal(0, 1); observed x[n] ~ normal(z[n], 1); } plate n in 2..N { latent w[n] ~ normal(z[n] * z[n-1], 1); } }",
   "closes", {{"z", "closes", "x[n]", "", ""}, {"w", "pruned", "", "", ""}}},
  /* observed, the same variable makes a chain */
  {"model married { " SIZES "plate n in 1..N { latent z[n] ~ normal(0, 1); observed x[n] ~ normal(z[n], 1); } plate n in 2..N { observed w[n] ~ normal(z[n] * z[n-1], 1); } }",
   "open", {{"z", "unbounded", "w[*]; x[*]", "w[*]; x[*]", "n=1; n=N"}}},
  /* labels summed out join what they touch */
  {"model labels { " SIZES "latent p : simplex[2] ~ dirichlet(rep_vector(1, 2)); plate g in 1..G { marginal latent c[g] : int<lower=1, upper=2> ~ categorical(p); "
   "plate n in 1..N { latent z[g,n] ~ normal(c[g], 1); observed x[g,n] ~ normal(z[g,n], 1); } } }",
   "closes", {{"p", "global", "", "", ""}, {"c", "marginal", "", "", ""}, {"z", "set", "x[g,*]; x[g,n]", "", ""}}},
  /* summands of a factor are terms of their own: z[n] and w[n] do not meet */
  {"model summands { " SIZES "plate n in 1..N { latent z[n] ~ normal(0, 1); latent w[n] ~ normal(0, 1); input a[n]; input b[n]; factor a[n] * z[n] - b[n] * w[n]; } }",
   "closes", {{"z", "closes", "a[n]", "", ""}, {"w", "closes", "b[n]", "", ""}}},
  /* a condition on the index: the first element has one reference less */
  {"model condition { " SIZES "input c0 = 1; plate n in 1..N { latent z[n] ~ normal(0, 1); observed x[n] ~ normal(z[n], 1); observed y[n] ~ normal(n > 1 ? z[n] : 0, 1); } }",
   "closes", {{"z", "closes", "x[n]; y[n]", "", "n=1"}}},
  /* two regimes of the prior: each range has its own function */
  {"model regimes { input N0 : int; input N : int; input x[0] = 0; plate n in 1..N0 { latent z[n] ~ normal(0, 1); } "
   "plate n in N0+1..N { latent z[n] ~ normal(x[n-1], 1); } plate n in 1..N { observed x[n] ~ normal(z[n], 1); } }",
   "closes", {{"z", "closes", "x[n]", "", ""}}},
  /* a forecast horizon: the last elements are not observed, and not in q */
  {"model horizon { input N : int; input H : int<lower=1>; plate n in 1..N+H { latent z[n] ~ normal(0, 1); } plate n in 1..N { observed x[n] ~ normal(z[n], 1); } }",
   "closes", {{"z", "closes", "x[n]", "", ""}}},
  /* at the end of a chain: what precedes the last observation is needed, what follows it is not */
  {"model lagged { " SIZES "latent z[1] ~ normal(0, 1); plate n in 2..N { latent z[n] ~ normal(z[n-1], 1); } plate n in 3..N { observed x[n] ~ normal(z[n-2], 1); } }",
   "open", {{"z", "unbounded", "x[*]", "", "n=1; n=N-2"}}},
  /* strides: by residue class; the first entry is that of even n */
  {"model strides { input K : int<lower=2>; plate n in 1..2*K { latent z[n] ~ normal(0, 1); } plate k in 1..K { observed x[k] ~ normal(z[2*k-1] + z[2*k], 1); } }",
   "closes", {{"z", "closes", "x[n/2]", "", ""}}},
  {"model thirds { input K : int<lower=3>; plate n in 1..3*K { latent z[n] ~ normal(0, 1); } plate k in 2..K { observed x[k] ~ normal(z[3*k] + z[3*k-4], 1); } "
   "plate k in 1..K { observed y[k] ~ normal(z[3*k-2], 1); } }", "closes", {{"z", "closes", "x[n/3]", "", ""}}},
  /* a chain of pairs */
  {"model pairs { input K : int<lower=3>; plate n in 1..2*K { latent z[n] ~ normal(0, 1); } plate k in 2..K { observed x[k] ~ normal(z[2*k] + z[2*k-2], 1); } "
   "plate k in 1..K { observed y[k] ~ normal(z[2*k-1], 1); } }", "partly", {{"z", "unbounded", "x[*]", "", "n=2; n=2*K"}}},
  /* every other one is never observed */
  {"model half { input K : int<lower=2>; plate n in 1..2*K { latent z[n] ~ normal(0, 1); } plate k in 1..K { observed x[k] ~ normal(z[2*k], 1); } }",
   "closes", {{"z", "closes", "x[n/2]", "", ""}}},
  /* no steps fit z[n] and z[2n] */
  {"model doubling { " SIZES "plate n in 1..2*N { latent z[n] ~ normal(0, 1); } plate n in 1..N { observed x[n] ~ normal(z[n] + z[2*n], 1); } }",
   "unknown", {{"z", "unknown", NULL, NULL, NULL}}},
  /* a sum over every other element */
  {"model odd_total { input K : int<lower=2>; plate n in 1..2*K { latent z[n] ~ normal(0, 1); observed x[n] ~ normal(z[n], 1); } observed s ~ normal(sum(k in 1..K: z[2*k-1]), 1); }",
   "partly", {{"z", "closes", "x[n]", "", ""}}},
  /* its mirror image; the middle one is its own */
  {"model mirror { input T : int<lower=2>; plate t in 1..T { latent z[t] ~ normal(0, 1); } plate t in 1..T { observed x[t] ~ normal(z[t] + 2 * z[T+1-t], 1); } }",
   "closes", {{"z", "closes", "x[t]; x[T+1-t]", "", "2*t=T+1"}}},
  /* groups of unequal size: the scale needs to know how many */
  {"model uneven { input G : int; plate g in 1..G { input m[g] : int<lower=1>; latent u[g] ~ normal(0, 1); plate i in 1..m[g] { observed x[g,i] ~ normal(u[g], 1); } } }",
   "closes", {{"u", "set", "x[g,*]", "x[g,*]", ""}}},
  /* the later, the fewer sums it is in */
  {"model running { " SIZES "plate n in 1..N { latent z[n] ~ normal(0, 1); observed x[n] ~ normal(sum(m in 1..n: z[m]), 1); } }",
   "open", {{"z", "unbounded", "x[*]", "n", ""}}},
  /* three levels of lookups: one's own class, one's own school */
  {"model levels { input N : int; input C : int; input S : int; plate s in 1..S { latent a[s] ~ normal(0, 1); } "
   "plate c in 1..C { input school[c] : int<lower=1, upper=S>; latent b[c] ~ normal(a[school[c]], 1); } "
   "plate i in 1..N { input class[i] : int<lower=1, upper=C>; latent z[i] ~ normal(b[class[i]], 1); observed y[i] ~ normal(z[i], 1); } }",
   "closes", {{"z", "set", "y[i2 | school[class[i2]] = school[class[i]]]; y[i2 | class[i2] = class[i]]; y[i]", "", ""}}},
  /* the sequence backwards */
  {"model backwards { input T : int; plate t in 1..T { latent z[t] ~ normal(0, 1); observed x[t] ~ normal(z[T+1-t], 1); } }",
   "closes", {{"z", "closes", "x[T+1-t]", "", ""}}},
  /* vectors entry by entry: the same as a plate */
  {"model entries { " SIZES "plate n in 1..N { latent z[n] ~ normal(0, 1); } observed y : vector[N] ~ normal(2 * z[1..N], 1); }",
   "closes", {{"z", "closes", "y[n]", "", ""}}},
  /* ... and as a whole: every entry has its own place */
  {"model correlated { " SIZES "input L : matrix[N, N]; plate n in 1..N { latent z[n] ~ normal(0, 1); } observed y : vector[N] ~ multi_normal_cholesky(z[1..N], L); }",
   "open", {{"z", "position", "y", NULL, ""}}},
  /* a weighted total: the weights of all members matter */
  {"model weighted { " SIZES "plate n in 1..N { input w[n]; latent z[n] ~ normal(0, 1); } observed s ~ normal(sum(n in 1..N: w[n] * z[n]), 1); }",
   "open", {{"z", "unbounded-set", "s; w[*]; w[n]", "w[n]", ""}}},
  /* crossed lookups seen from the row */
  {"model rows { " SIZES "plate g in 1..G { latent a[g] ~ normal(0, 1); latent b[g] ~ normal(0, 1); } plate n in 1..N { input j[n] : int<lower=1, upper=G>; "
   "input k[n] : int<lower=1, upper=G>; latent e[n] ~ normal(0, 1); observed y[n] ~ normal(a[j[n]] + b[k[n]] + e[n], 1); } }",
   "data", {{"a", "data", NULL, NULL, NULL}, {"b", "data", NULL, NULL, NULL}, {"e", "data", NULL, NULL, NULL}}},
  /* a window of a known number of lags */
  {"model moving { " SIZES "plate n in -2..0 { input e0[n] = 0; } plate n in 1..N { latent z[n] ~ normal(0, 1); } "
   "plate n in 4..N { observed x[n] ~ normal(sum(k in 0..3: z[n-k]), 1); } }", "open", {{"z", "unbounded", "x[*]", "", "n=1..3; n=N-2..N"}}},
  /* exchanged indices: pairs */
  {"model exchanged { input N : int<lower=2>; plate i in 1..N { plate j in 1..N { latent w[i,j] ~ normal(0, 1); observed y[i,j] ~ normal(w[i,j] + w[j,i], 1); } } }",
   "closes", {{"w", "closes", "y[i,j]; y[j,i]", NULL, ""}}},
  /* a bound that depends on another latent variable is a term */
  {"model bound { " SIZES "plate n in 1..N { latent a[n] ~ normal(0, 1); latent b[n] : real<lower=a[n]> ~ normal(0, 1); observed x[n] ~ normal(b[n], 1); } }",
   "closes", {{"a", "closes", "x[n]", "x[n]", ""}, {"b", "closes", "x[n]", "x[n]", ""}}},
  /* observed values as parents: nothing is latent between them */
  {"model autoregression { " SIZES "input x[0] = 0; plate n in 1..N { latent z[n] ~ normal(0, 1); observed x[n] ~ normal(0.5 * x[n-1] + z[n], exp(x[n-1])); } }",
   "closes", {{"z", "closes", "x[n-1]; x[n]", "x[n-1]", ""}}},
  /* a missing index in the observation of a group */
  {"model group_total { " SIZES "plate g in 1..G { plate n in 1..N { latent z[g,n] ~ normal(0, 1); } observed x[g] ~ normal(sum(n in 1..N: z[g,n]), 1); } }",
   "closes", {{"z", "closes", "x[g]", "", ""}}},
};

static void verdicts(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const Case *c = &cases[i];
    Analysis *a = analysis_of(c->text, NULL);
    if (strcmp(a->verdict, c->verdict)) fail_msg("%s\nmodel: '%s', expected '%s'", c->text, a->verdict, c->verdict);
    for (int k = 0; k < 4 && c->latent[k].name; k++) {
      const Expected *e = &c->latent[k];
      const LatentVerdict *v = NULL;
      for (int q = 0; q < a->latents.n && !v; q++)
        if (!strcmp(a->latents.at[q].name, e->name)) v = &a->latents.at[q];
      if (!v) fail_msg("%s\nno entry for %s", c->text, e->name);
      if (e->verdict && strcmp(v->verdict, e->verdict)) fail_msg("%s\n%s: '%s', expected '%s'", c->text, e->name, v->verdict, e->verdict);
      if (e->domain && strcmp(joined(&v->domain), e->domain)) fail_msg("%s\n%s: domain '%s', expected '%s'", c->text, e->name, joined(&v->domain), e->domain);
      if (e->sd && strcmp(joined(&v->sd_domain), e->sd)) fail_msg("%s\n%s: sd_domain '%s', expected '%s'", c->text, e->name, joined(&v->sd_domain), e->sd);
      if (e->boundary && strcmp(joined(&v->boundary), e->boundary))
        fail_msg("%s\n%s: boundary '%s', expected '%s'", c->text, e->name, joined(&v->boundary), e->boundary);
    }
  }
}

static void witness_of_a_chain(void **state)
{
  (void)state;
  static const char text[] = "model m {\n  input N : int<lower=2>;\n  latent q : real<lower=0> ~ lognormal(0, 1);\n  latent z[1] ~ normal(0, 1);\n"
                             "  plate t in 2..N { latent z[t] ~ normal(z[t-1], q); }\n  plate t in 1..N { observed x[t] ~ normal(z[t], 1); }\n}\n";
  Analysis *a = analysis_of(text, NULL);
  const LatentVerdict *v = &a->latents.at[1];
  assert_int_equal(v->witness.n, 3);
  assert_string_equal(v->witness.at[0].text, "z[t]");
  assert_string_equal(v->witness.at[1].text, "z[t] ~ normal(z[t-1], q)");
  assert_string_equal(v->witness.at[2].text, "z[t-1]");
  assert_int_equal(source_place(v->witness.at[1].span.begin).line, 5);
  assert_string_equal(joined(&v->window), "x[t]");
  assert_string_equal(v->remedies.at[v->remedies.n - 1].option, "--window W");
  assert_string_equal(joined(&v->remedies.at[v->remedies.n - 1].domain), "x[t-W..t+W]");
  assert_string_equal(joined(&v->remedies.at[0].domain), "x[t]"); /* node potentials read their own term */
  assert_false(v->separable);
}

static void inputs_by_hand(void **state)
{
  (void)state;
  static const char text[] = "model m { input N : int; input x[0] = 0; plate n in 1..N { input c[n]; latent z[n] ~ normal(x[n-1], 1); observed x[n] ~ normal(z[n], 1); "
                             "amortize z[n] from x[n], c[n]; } }";
  Analysis *a = analysis_of(text, NULL);
  const LatentVerdict *v = &a->latents.at[0];
  assert_string_equal(joined(&v->inputs), "x[n]; c[n]");
  assert_string_equal(v->conditioning, "gap");
  assert_string_equal(joined(&v->missing), "x[n-1]");
  assert_string_equal(joined(&v->superfluous), "c[n]");
  assert_true(v->amortize);
}

static void exchangeable_on_one_data_set(void **state)
{
  (void)state;
  Analysis *a = analysis_of("model m { input N : int; plate n in 1..N { latent z[n] ~ normal(0, 1); observed x[n] ~ normal(z[n], 1); } "
                            "observed s ~ normal(sum(n in 1..N: z[n]), 1); }", NULL);
  assert_true(a->latents.at[0].has_this_data);
  assert_string_equal(joined(&a->latents.at[0].this_data_domain), "x[n]");
  a = analysis_of("model m { input N : int; plate n in 1..N { input w[n]; latent z[n] ~ normal(0, 1); observed x[n] ~ normal(z[n], 1); } "
                  "observed s ~ normal(sum(n in 1..N: w[n] * z[n]), 1); }", NULL);
  assert_false(a->latents.at[0].has_this_data); /* weights of their own: not exchangeable */
}

/* Membership in a random lattice by brute force over small coefficients. */
/* The table of the window law: half-widths that leave 1 % of the gap without input, over data from the model. The last two have no stationary law or other
 * terms. */
static void window_laws(void **state)
{
  (void)state;
  static const struct { double phi, variance, tau; int half_width; } table[] = {{0.5, 1, 1, 1},     {0.9, 1, 1, 2},        {0.9, 0.19, 1, 5},
                                                                                {0.95, 0.0975, 0.5, 10}, {0.99, 0.0199, 1, 14}, {0.99, 0.0199, 0.1, 52}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    arena_reset();
    const char *text = arena_printf("model m { input T : int<lower=2>; input drift; input phi = %.17g; latent z[1] ~ normal(0, 1);"
                                    " plate t in 2..T { latent z[t] ~ normal(phi * z[t-1] + drift, %.17g); }"
                                    " plate t in 1..T { observed x[t] ~ normal(-2 * z[t], %.17g / 2); } }",
                                    table[i].phi, sqrt(table[i].variance), 4 / sqrt(table[i].tau));
    Analysis *a = analysis_of(text, NULL);
    const LatentVerdict *v = &a->latents.at[0];
    const Remedy *r = &v->remedies.at[v->remedies.n - 1];
    assert_true(r->has_half_width);
    assert_int_equal(r->half_width, table[i].half_width);
  }
  static const char *const none[] = {
    "latent q : real<lower=0> ~ normal(0, 1); plate t in 2..T { latent z[t] ~ normal(z[t-1], q); } plate t in 1..T { observed x[t] ~ normal(z[t], 1); }",
    "plate t in 2..T { latent z[t] ~ normal(0.5 * z[t-1], 1); } plate t in 1..T { observed x[t] ~ poisson(exp(z[t])); }",
    "plate t in 2..T { latent z[t] ~ normal(0.5 * z[t-1], 1); } plate t in 1..T { observed x[t] ~ normal(z[t], 1); observed y[t] ~ normal(z[t], 1); }"};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    arena_reset();
    Analysis *a = analysis_of(arena_printf("model m { input T : int<lower=2>; latent z[1] ~ normal(0, 1); %s }", none[i]), NULL);
    for (int k = 0; k < a->latents.n; k++)
      for (int p = 0; p < a->latents.at[k].remedies.n; p++) assert_false(a->latents.at[k].remedies.at[p].has_half_width);
  }
}

static void lattices(void **state)
{
  (void)state;
  unsigned long seed = 12345;
  for (int round = 0; round < 400; round++) {
    long g[3][2];
    Lattice l = {.dim = 2};
    for (int i = 0; i < 3; i++) {
      for (int k = 0; k < 2; k++) {
        seed = seed * 6364136223846793005ul + 1442695040888963407ul;
        g[i][k] = (long)(seed >> 60) % 5 - 2;
      }
      long v[MAX_AXES] = {g[i][0], g[i][1]};
      lattice_add(&l, v);
    }
    for (long x = -3; x <= 3; x++)
      for (long y = -3; y <= 3; y++) {
        bool in = false;
        for (long a = -12; a <= 12 && !in; a++)
          for (long b = -12; b <= 12 && !in; b++)
            for (long c = -12; c <= 12 && !in; c++)
              in = a * g[0][0] + b * g[1][0] + c * g[2][0] == x && a * g[0][1] + b * g[1][1] + c * g[2][1] == y;
        long v[MAX_AXES] = {x, y};
        assert_int_equal(lattice_contains(&l, v), in);
      }
  }
}

/* The reports are well formed: balanced, no raw control characters, every key of every latent. */
static void reports(void **state)
{
  (void)state;
  Model *m;
  Analysis *a = analysis_of(cases[3].text, &m);
  StrBuf json = {0}, dot = {0}, text = {0};
  report_json(m, a, &(Expectation){.factor = "x", .line = 3, .method = "closed-form"}, 1, "1.0", "abc", &json);
  report_dot(m, a, &dot);
  report_text(m, a, NULL, 0, &text);
  int depth = 0;
  bool string = false;
  for (const char *p = sb_text(&json); *p; p++) {
    if (*p == '"' && p[-1] != '\\') string = !string;
    if (string) continue;
    depth += *p == '{' || *p == '[';
    depth -= *p == '}' || *p == ']';
    assert_true(depth >= 0);
  }
  assert_int_equal(depth, 0);
  static const char *const keys[] = {"name", "index", "range", "role", "verdict", "domain_kind", "domain", "sd_domain", "boundary", "witness", "remedies",
                                     "this_data", "inputs", "conditioning", "missing", "superfluous"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) assert_non_null(strstr(sb_text(&json), arena_printf("\"%s\": ", keys[i])));
  assert_non_null(strstr(sb_text(&dot), "digraph"));
  assert_non_null(strstr(sb_text(&text), "because z[n] - normal(z[n-1], 1) [test.pgm:1] - z[n-1] - ... reaches every n"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(verdicts), cmocka_unit_test(witness_of_a_chain), cmocka_unit_test(inputs_by_hand),
    cmocka_unit_test(exchangeable_on_one_data_set), cmocka_unit_test(window_laws), cmocka_unit_test(lattices), cmocka_unit_test(reports),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
