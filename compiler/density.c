/* Log densities and distribution functions as DAG nodes.
 *
 * In: the node of x, the nodes of the arguments. Out: the node of log p(x | arguments). Parameterisations and constants are those of the
 * Stan functions reference; formulas stand above each distribution. The forms are numerically safe (log1p, softplus, lbeta rather than
 * differences of lgamma) and keep what expect.c integrates in closed form visible: polynomials in affine forms, exponentials, log x of an
 * x that is an exponential. A probability that is inv_logit(a) is replaced by its logit a. */
#include "density.h"
#include "dist.h"

#include <math.h>

#define LOG_2PI 1.83787706640934548356
#define LOG_PI 1.14472988584940017414
#define LOG_2 0.69314718055994530942

/* Shorthand for the builders; every function here has a Dag *d. */
#define C(v) x_const(d, v)
#define ADD(a, b) x_add(d, a, b)
#define SUB(a, b) x_sub(d, a, b)
#define MUL(a, b) x_mul(d, a, b)
#define DIV(a, b) x_div(d, a, b)
#define NEG(a) x_neg(d, a)
#define SQUARE(a) x_square(d, a)
#define EXP(a) x_exp(d, a)
#define LOG(a) x_log(d, a)
#define FN(f, a) x_fn1(d, F_##f, a)
#define FN2(f, a, b) x_fn2(d, F_##f, a, b)
#define SUM(axis, a) x_sum(d, axis, a)

/* ---- pieces ------------------------------------------------------------------------------------------------------------------------ */

static Node standardised(Dag *d, Node x, Node location, Node scale) { return DIV(SUB(x, location), scale); }

/* a if p is inv_logit(a), else NO_NODE */
static Node logit_of(const Dag *d, Node p)
{
  const XNode *x = dag_node(d, p);
  return x->op == X_FN && x->aux == F_inv_logit ? x->args[0] : NO_NODE;
}

/* log(1 - p) */
static Node log1m(Dag *d, Node p)
{
  Node a = logit_of(d, p);
  return a >= 0 ? FN(log1m_inv_logit, a) : FN(log1p, NEG(p));
}

static Node log_factorial(Dag *d, Node y) { return FN(lgamma, ADD(y, C(1))); }

/* -z^2 / 2 - log(2 pi) / 2 */
static Node log_phi(Dag *d, Node z) { return SUB(MUL(C(-0.5), SQUARE(z)), C(0.5 * LOG_2PI)); }

/* (a - 1) log x, the kernel of gamma and beta densities */
static Node power_term(Dag *d, Node a, Node log_x) { return MUL(SUB(a, C(1)), log_x); }

/* The argument with its k-th axis renamed to `axis`. */
static Node along(Dag *d, const DensityArg *a, int k, int axis)
{
  return a->axis[k] == axis ? a->node : dag_substitute_axis(d, a->node, a->axis[k], x_axis(d, axis));
}

static Node from_zero(Dag *d, Node category) { return SUB(category, x_int(d, 1)); }

/* `inside` where the condition holds, -inf elsewhere. Latents are inside by their transform. */
static Node supported(Dag *d, Node x, Node condition, Node inside)
{
  return dag_node(d, x)->latent ? inside : x_cond(d, condition, inside, C(-INFINITY));
}

/* ---- continuous, univariate -------------------------------------------------------------------------------------------------------- */

/* -((x - mu) / sigma)^2 / 2 - log sigma - log(2 pi) / 2 */
static Node normal(Dag *d, Node x, Node mu, Node sigma) { return SUB(log_phi(d, standardised(d, x, mu, sigma)), LOG(sigma)); }

/* -(nu + 1) / 2 log(1 + z^2 / nu) - log B(1/2, nu / 2) - log(nu) / 2 - log sigma, z = (x - mu) / sigma */
static Node student_t(Dag *d, Node x, Node nu, Node mu, Node sigma)
{
  Node z2 = SQUARE(standardised(d, x, mu, sigma));
  Node kernel = MUL(MUL(C(-0.5), ADD(nu, C(1))), FN(log1p, DIV(z2, nu)));
  Node scale = ADD(FN2(lbeta, C(0.5), MUL(C(0.5), nu)), ADD(MUL(C(0.5), LOG(nu)), LOG(sigma)));
  return SUB(kernel, scale);
}

/* -log(1 + z^2) - log pi - log sigma */
static Node cauchy(Dag *d, Node x, Node mu, Node sigma)
{
  return SUB(SUB(NEG(FN(log1p, SQUARE(standardised(d, x, mu, sigma)))), LOG(sigma)), C(LOG_PI));
}

/* -|x - mu| / sigma - log 2 - log sigma */
static Node double_exponential(Dag *d, Node x, Node mu, Node sigma)
{
  return SUB(SUB(NEG(DIV(FN(fabs, SUB(x, mu)), sigma)), LOG(sigma)), C(LOG_2));
}

/* log inv_logit(z) + log inv_logit(-z) - log sigma */
static Node logistic(Dag *d, Node x, Node mu, Node sigma)
{
  Node z = standardised(d, x, mu, sigma);
  return SUB(ADD(FN(log_inv_logit, z), FN(log_inv_logit, NEG(z))), LOG(sigma));
}

/* -z - exp(-z) - log beta, z = (x - mu) / beta */
static Node gumbel(Dag *d, Node x, Node mu, Node beta)
{
  Node z = standardised(d, x, mu, beta);
  return SUB(SUB(NEG(z), EXP(NEG(z))), LOG(beta));
}

/* log 2 + log phi(z) + log Phi(alpha z) - log omega, z = (x - xi) / omega */
static Node skew_normal(Dag *d, Node x, Node xi, Node omega, Node alpha)
{
  Node z = standardised(d, x, xi, omega);
  return ADD(SUB(ADD(log_phi(d, z), FN(std_normal_lcdf, MUL(alpha, z))), LOG(omega)), C(LOG_2));
}

/* normal(log x | mu, sigma) - log x */
static Node lognormal(Dag *d, Node x, Node mu, Node sigma)
{
  Node l = LOG(x);
  return SUB(normal(d, l, mu, sigma), l);
}

/* (alpha - 1) log x - beta x + alpha log beta - log Gamma(alpha) */
static Node gamma_(Dag *d, Node x, Node alpha, Node beta)
{
  return ADD(SUB(power_term(d, alpha, LOG(x)), MUL(beta, x)), SUB(MUL(alpha, LOG(beta)), FN(lgamma, alpha)));
}

/* -(alpha + 1) log x - beta / x + alpha log beta - log Gamma(alpha) */
static Node inv_gamma(Dag *d, Node x, Node alpha, Node beta)
{
  Node kernel = NEG(ADD(MUL(ADD(alpha, C(1)), LOG(x)), DIV(beta, x)));
  return ADD(kernel, SUB(MUL(alpha, LOG(beta)), FN(lgamma, alpha)));
}

/* The known integer factors of a rate that may be 0, as the label of a mixture, 1 less it, or a covariate: their product, NO_NODE without any. *rest: the
 * others. */
static Node switch_of(Dag *d, Node rate, Node *rest)
{
  XNode x = *dag_node(d, rate);
  double lo;
  *rest = rate;
  if (x.op == X_MUL) {
    Node r[2], f[2] = {switch_of(d, x.args[0], &r[0]), switch_of(d, x.args[1], &r[1])};
    if (f[0] < 0 && f[1] < 0) return NO_NODE;
    *rest = MUL(r[0], r[1]);
    return f[0] < 0 ? f[1] : f[1] < 0 ? f[0] : MUL(f[0], f[1]);
  }
  const bool positive = dag_is_const(d, rate, &lo) || (x.op == X_AXIS && dag_is_const(d, d->axes.at[x.aux].lo, &lo) && lo > 0);
  const bool known = x.integer && !x.random && !positive;
  if (known) *rest = C(1);
  return known ? rate : NO_NODE;
}

/* log of a rate; of one with a switch as a sum, in which the logarithm of what is random stands by itself. */
static Node log_rate(Dag *d, Node rate)
{
  Node rest, on = switch_of(d, rate, &rest);
  return on < 0 ? LOG(rate) : ADD(LOG(on), LOG(rest));
}

/* The density where the rate is not switched off; there it is `off`, and nothing is computed, which would be 0 * log 0. */
static Node switched(Dag *d, Node rate, Node density, Node off)
{
  Node rest, on = switch_of(d, rate, &rest);
  return on < 0 ? density : x_cond(d, x_compare(d, X_EQ, on, x_int(d, 0)), off, density);
}

/* Counts at rate 0 are 0. */
static Node only_zero(Dag *d, Node y) { return x_cond(d, x_compare(d, X_EQ, y, x_int(d, 0)), C(0), C(-INFINITY)); }

/* log beta - beta x */
static Node exponential(Dag *d, Node x, Node beta) { return switched(d, beta, SUB(log_rate(d, beta), MUL(beta, x)), C(-INFINITY)); }

/* log (x / sigma) */
static Node log_ratio(Dag *d, Node x, Node sigma) { return SUB(LOG(x), LOG(sigma)); }

/* log alpha - log sigma + (alpha - 1) log(x / sigma) - (x / sigma)^alpha */
static Node weibull(Dag *d, Node x, Node alpha, Node sigma)
{
  Node l = log_ratio(d, x, sigma);
  return ADD(SUB(power_term(d, alpha, l), EXP(MUL(alpha, l))), SUB(LOG(alpha), LOG(sigma)));
}

/* log alpha + alpha log y_min - (alpha + 1) log x for x >= y_min */
static Node pareto(Dag *d, Node x, Node y_min, Node alpha)
{
  Node inside = SUB(ADD(LOG(alpha), MUL(alpha, LOG(y_min))), MUL(ADD(alpha, C(1)), LOG(x)));
  return supported(d, x, x_compare(d, X_LE, y_min, x), inside);
}

/* (alpha - 1) log x + (beta - 1) log(1 - x) - log B(alpha, beta) */
static Node beta_(Dag *d, Node x, Node alpha, Node beta)
{
  return SUB(ADD(power_term(d, alpha, LOG(x)), power_term(d, beta, log1m(d, x))), FN2(lbeta, alpha, beta));
}

/* -log(beta - alpha) for alpha <= x <= beta */
static Node uniform(Dag *d, Node x, Node alpha, Node beta)
{
  Node within = x_compare(d, X_AND, x_compare(d, X_LE, alpha, x), x_compare(d, X_LE, x, beta));
  return supported(d, x, within, NEG(LOG(SUB(beta, alpha))));
}

/* kappa cos(x - mu) - log(2 pi I_0(kappa)) */
static Node von_mises(Dag *d, Node x, Node mu, Node kappa)
{
  return SUB(SUB(MUL(kappa, FN(cos, SUB(x, mu))), FN(log_bessel_i0, kappa)), C(LOG_2PI));
}

/* ---- discrete, univariate -------------------------------------------------------------------------------------------------------------- */

/* y a - n log(1 + exp(a)), the log likelihood of y successes in n trials at logit a */
static Node trials_logit(Dag *d, Node y, Node n, Node a) { return SUB(MUL(y, a), MUL(n, FN(softplus, a))); }

/* y log theta + (n - y) log(1 - theta), with 0 log 0 = 0 */
static Node trials(Dag *d, Node y, Node n, Node theta)
{
  Node a = logit_of(d, theta);
  return a >= 0 ? trials_logit(d, y, n, a) : ADD(FN2(xlogy, y, theta), FN2(xlog1my, SUB(n, y), theta));
}

/* y alpha - exp(alpha) - log y! */
static Node poisson_log(Dag *d, Node y, Node alpha) { return SUB(SUB(MUL(y, alpha), EXP(alpha)), log_factorial(d, y)); }

/* y log lambda - lambda - log y! */
static Node poisson(Dag *d, Node y, Node lambda)
{
  return switched(d, lambda, SUB(SUB(MUL(y, log_rate(d, lambda)), lambda), log_factorial(d, y)), only_zero(d, y));
}

/* log (y + phi - 1 choose y) + y (eta - log phi) - (y + phi) log(1 + exp(eta) / phi), exp(eta) the mean, phi the precision. The binomial
 * coefficient is 1 / ((y + phi) B(phi, y + 1)). */
static Node neg_binomial_2_log(Dag *d, Node y, Node eta, Node phi)
{
  Node r = SUB(eta, LOG(phi)), n = ADD(y, phi);
  Node coefficient = ADD(FN2(lbeta, phi, ADD(y, C(1))), LOG(n));
  return SUB(SUB(MUL(y, r), MUL(n, FN(softplus, r))), coefficient);
}

/* log theta + y log(1 - theta): failures before the first success */
static Node geometric(Dag *d, Node y, Node theta)
{
  Node a = logit_of(d, theta);
  if (a >= 0) return SUB(a, MUL(ADD(y, C(1)), FN(softplus, a)));
  return ADD(LOG(theta), FN2(xlog1my, y, theta));
}

/* log (N choose y) + log B(y + alpha, N - y + beta) - log B(alpha, beta) */
static Node beta_binomial(Dag *d, Node y, Node N, Node alpha, Node beta)
{
  return ADD(FN2(lchoose, N, y), SUB(FN2(lbeta, ADD(y, alpha), ADD(SUB(N, y), beta)), FN2(lbeta, alpha, beta)));
}

/* log theta[y] */
static Node categorical(Dag *d, Node y, const DensityArg *theta)
{
  return LOG(x_at(d, theta->node, theta->axis[0], from_zero(d, y)));
}

/* beta[y] - log sum_k exp(beta[k]) */
static Node categorical_logit(Dag *d, Node y, const DensityArg *beta)
{
  return SUB(x_at(d, beta->node, beta->axis[0], from_zero(d, y)), x_log_sum_exp(d, beta->axis[0], beta->node));
}

/* P(y) = inv_logit(a) - inv_logit(b) = inv_logit(a) inv_logit(-b) (1 - exp(b - a)) with a = eta - c[y-1], b = eta - c[y], and a = inf for the
 * first category, b = -inf for the last. */
static Node ordered_logistic(Dag *d, Node y, Node eta, const DensityArg *c)
{
  Node last = d->axes.at[c->axis[0]].extent, zero = x_int(d, 0);
  Node is_first = x_compare(d, X_LE, y, x_int(d, 1)), is_last = x_compare(d, X_LT, last, y), at_end = x_compare(d, X_OR, is_first, is_last);
  Node below = x_at(d, c->node, c->axis[0], x_cond(d, is_first, zero, SUB(y, x_int(d, 2))));
  Node above = x_at(d, c->node, c->axis[0], x_cond(d, is_last, SUB(last, x_int(d, 1)), from_zero(d, y)));
  Node gap = x_cond(d, at_end, C(-1), SUB(below, above));                   /* away from 0: the derivative of log1m_exp must stay finite */
  Node lower = x_cond(d, is_first, C(0), FN(log_inv_logit, SUB(eta, below))), upper = x_cond(d, is_last, C(0), FN(log_inv_logit, SUB(above, eta)));
  return ADD(ADD(lower, upper), x_cond(d, at_end, C(0), FN(log1m_exp, gap)));
}

/* ---- multivariate ---------------------------------------------------------------------------------------------------------------------------- */

/* log det of a triangular matrix: the sum of log L[i,i] */
static Node log_diagonal(Dag *d, const DensityArg *L)
{
  return SUM(L->axis[0], LOG(x_at(d, L->node, L->axis[1], x_axis(d, L->axis[0]))));
}

/* -|L^-1 (x - mu)|^2 / 2 - log det L - K log(2 pi) / 2 */
static Node multi_normal_cholesky(Dag *d, const DensityArg *x, const DensityArg *mu, const DensityArg *L)
{
  int i = L->axis[0], j = L->axis[1];
  Node w = x_trisolve(d, false, i, j, L->node, SUB(along(d, x, 0, i), mu->rank ? along(d, mu, 0, i) : mu->node));
  return SUB(SUB(MUL(C(-0.5), SUM(i, SQUARE(w))), log_diagonal(d, L)), MUL(C(0.5 * LOG_2PI), d->axes.at[i].extent));
}

/* The Cholesky factor of a covariance, over its two axes. */
static DensityArg factor_of(Dag *d, const DensityArg *S)
{
  return (DensityArg){.node = x_matrix(d, X_CHOLESKY, S->axis[0], S->axis[1], S->node, NO_NODE), .rank = 2, .axis = {S->axis[0], S->axis[1]}};
}

static Node multi_normal(Dag *d, const DensityArg *x, const DensityArg *mu, const DensityArg *Sigma)
{
  DensityArg L = factor_of(d, Sigma);
  return multi_normal_cholesky(d, x, mu, &L);
}

/* -(nu + K) / 2 log(1 + |L^-1 (x - mu)|^2 / nu) - log det L + log Gamma((nu + K) / 2) - log Gamma(nu / 2) - K / 2 log(nu pi), L L' = Sigma */
static Node multi_student_t(Dag *d, const DensityArg *x, Node nu, const DensityArg *mu, const DensityArg *Sigma)
{
  DensityArg L = factor_of(d, Sigma);
  int i = L.axis[0], j = L.axis[1];
  Node K = d->axes.at[i].extent, half = C(0.5), top = MUL(half, ADD(nu, K));
  Node w = x_trisolve(d, false, i, j, L.node, SUB(along(d, x, 0, i), mu->rank ? along(d, mu, 0, i) : mu->node));
  Node constant = SUB(SUB(FN(lgamma, top), FN(lgamma, MUL(half, nu))), MUL(MUL(half, K), ADD(LOG(nu), C(LOG_PI))));
  return SUB(SUB(constant, MUL(top, FN(log1p, DIV(SUM(i, SQUARE(w)), nu)))), log_diagonal(d, &L));
}

/* (nu - K - 1) / 2 log det W - tr(S^-1 W) / 2 - nu / 2 log det S - nu K / 2 log 2 - log Gamma_K(nu / 2), with tr(S^-1 W) = |L_S^-1 L_W|^2 and
 * log Gamma_K(a) = K (K - 1) / 4 log pi + sum_{k < K} log Gamma(a - k / 2) */
static Node wishart(Dag *d, const DensityArg *W, Node nu, const DensityArg *S)
{
  DensityArg LW = factor_of(d, W), LS = factor_of(d, S);
  int i = LS.axis[0], j = LS.axis[1], column = -1, first = -1;
  Node extent = d->axes.at[i].extent, half = C(0.5), k = x_axis(d, i);
  AxisSet taken = dag_axes(d, LW.node) | dag_axes(d, LS.node);
  for (int t = 0; column < 0 || (taken & AXIS_BIT(column)); t++) column = dag_dim_axis(d, extent, t);
  taken |= AXIS_BIT(column);
  for (int t = 0; first < 0 || (taken & AXIS_BIT(first)); t++) first = dag_dim_axis(d, extent, t);
  /* the rows of L_W on a fresh axis first: either of its axes may be one of those of L_S */
  Node factor = x_at(d, x_at(d, LW.node, LW.axis[0], x_axis(d, first)), LW.axis[1], x_axis(d, column));
  Node solved = x_trisolve(d, false, i, j, LS.node, x_at(d, factor, first, k));
  Node trace = SUM(i, SUM(column, SQUARE(solved)));
  Node gammas = ADD(SUM(i, FN(lgamma, MUL(half, SUB(nu, k)))), MUL(C(0.25 * LOG_PI), MUL(extent, SUB(extent, x_int(d, 1)))));
  Node kernel = SUB(MUL(SUB(nu, ADD(extent, x_int(d, 1))), log_diagonal(d, &LW)), MUL(half, trace));
  return SUB(kernel, ADD(ADD(MUL(nu, log_diagonal(d, &LS)), MUL(C(0.5 * LOG_2), MUL(nu, extent))), gammas));
}

/* sum_k (alpha[k] - 1) log x[k] + log Gamma(sum_k alpha[k]) - sum_k log Gamma(alpha[k]) */
static Node dirichlet(Dag *d, const DensityArg *x, const DensityArg *alpha)
{
  int k = x->axis[0];
  Node a = alpha->rank ? along(d, alpha, 0, k) : alpha->node;
  return ADD(SUM(k, power_term(d, a, LOG(x->node))), SUB(FN(lgamma, SUM(k, a)), SUM(k, FN(lgamma, a))));
}

/* sum_{k >= 2} (K - k + 2 eta - 2) log L[k,k] + log c(eta, K). Lewandowski, Kurowicka & Joe (2009), theorem 5:
 * log c = sum_{k=1}^{K-1} log Gamma(eta + (K-1) / 2) - log Gamma(eta + (K-1-k) / 2) - k log(pi) / 2. */
static Node lkj_corr_cholesky(Dag *d, const DensityArg *L, Node eta)
{
  int i = L->axis[0];
  Node row = x_axis(d, i), last = SUB(d->axes.at[i].extent, x_int(d, 1)), rest = SUB(last, row);     /* K - 1 and K - k, k = row + 1 */
  Node diagonal = dag_substitute_axis(d, L->node, L->axis[1], row);
  Node power = MUL(x_compare(d, X_LT, x_int(d, 0), row), ADD(rest, SUB(MUL(C(2), eta), C(2))));
  Node top = FN(lgamma, ADD(eta, MUL(C(0.5), last))), part = FN(lgamma, ADD(eta, MUL(C(0.5), rest)));
  Node constant = SUB(SUB(top, part), MUL(C(0.5 * LOG_PI), row));
  return ADD(SUM(i, MUL(power, LOG(diagonal))), SUM(i, constant));
}

/* log n! - sum_k log x[k]! + sum_k x[k] log theta[k], n = sum_k x[k] */
static Node multinomial(Dag *d, const DensityArg *x, const DensityArg *theta)
{
  int k = x->axis[0];
  Node coefficient = SUB(log_factorial(d, SUM(k, x->node)), SUM(k, log_factorial(d, x->node)));
  return ADD(SUM(k, FN2(xlogy, x->node, along(d, theta, 0, k))), coefficient);
}

/* ---- the table ---------------------------------------------------------------------------------------------------------------------------------- */

Node density_lpdf_args(Dag *d, int dist, const DensityArg *x_, const DensityArg *arg, int n)
{
  Node x = x_->node, a = n > 0 ? arg[0].node : NO_NODE, b = n > 1 ? arg[1].node : NO_NODE, c = n > 2 ? arg[2].node : NO_NODE;
  if (n != dist_info[dist].n_args) BUG("%s takes %d arguments, not %d", dist_info[dist].name, dist_info[dist].n_args, n);
  switch ((DistId)dist) {
  case DIST_flat: return C(0);
  case DIST_normal: return normal(d, x, a, b);
  case DIST_std_normal: return log_phi(d, x);
  case DIST_student_t: return student_t(d, x, a, b, c);
  case DIST_cauchy: return cauchy(d, x, a, b);
  case DIST_double_exponential: return double_exponential(d, x, a, b);
  case DIST_logistic: return logistic(d, x, a, b);
  case DIST_gumbel: return gumbel(d, x, a, b);
  case DIST_skew_normal: return skew_normal(d, x, a, b, c);
  case DIST_lognormal: return lognormal(d, x, a, b);
  case DIST_gamma: return gamma_(d, x, a, b);
  case DIST_inv_gamma: return inv_gamma(d, x, a, b);
  case DIST_chi_square: return gamma_(d, x, MUL(C(0.5), a), C(0.5));
  case DIST_inv_chi_square: return inv_gamma(d, x, MUL(C(0.5), a), C(0.5));
  case DIST_exponential: return exponential(d, x, a);
  case DIST_weibull: return weibull(d, x, a, b);
  case DIST_pareto: return pareto(d, x, a, b);
  case DIST_beta: return beta_(d, x, a, b);
  case DIST_uniform: return uniform(d, x, a, b);
  case DIST_von_mises: return von_mises(d, x, a, b);
  case DIST_multi_normal_cholesky: return multi_normal_cholesky(d, x_, &arg[0], &arg[1]);
  case DIST_dirichlet: return dirichlet(d, x_, &arg[0]);
  case DIST_lkj_corr_cholesky: return lkj_corr_cholesky(d, x_, a);
  case DIST_bernoulli: return trials(d, x, x_int(d, 1), a);
  case DIST_bernoulli_logit: return trials_logit(d, x, x_int(d, 1), a);
  case DIST_binomial: return ADD(trials(d, x, a, b), FN2(lchoose, a, x));
  case DIST_binomial_logit: return ADD(trials_logit(d, x, a, b), FN2(lchoose, a, x));
  case DIST_poisson: return poisson(d, x, a);
  case DIST_poisson_log: return poisson_log(d, x, a);
  case DIST_neg_binomial_2: return switched(d, a, neg_binomial_2_log(d, x, log_rate(d, a), b), only_zero(d, x));
  case DIST_neg_binomial_2_log: return neg_binomial_2_log(d, x, a, b);
  case DIST_geometric: return geometric(d, x, a);
  case DIST_categorical: return categorical(d, x, &arg[0]);
  case DIST_categorical_logit: return categorical_logit(d, x, &arg[0]);
  case DIST_multinomial: return multinomial(d, x_, &arg[0]);
  case DIST_beta_binomial: return beta_binomial(d, x, a, b, c);
  case DIST_ordered_logistic: return ordered_logistic(d, x, a, &arg[1]);
  case DIST_multi_normal: return multi_normal(d, x_, &arg[0], &arg[1]);
  case DIST_multi_student_t: return multi_student_t(d, x_, a, &arg[1], &arg[2]);
  case DIST_wishart: return wishart(d, x_, a, &arg[1]);
  case DIST_COUNT: break;
  }
  BUG("no density of distribution %d", dist);
}

Node density_lpdf(Dag *d, int dist, Node x, const Node *args, int n)
{
  DensityArg xa = {.node = x}, a[8];
  ASSERT(n <= 8);
  for (int i = 0; i < n; i++) a[i] = (DensityArg){.node = args[i]};
  return density_lpdf_args(d, dist, &xa, a, n);
}

/* ---- distribution functions ---------------------------------------------------------------------------------------------------------------------- */

static Node gamma_tail(Dag *d, Node shape, Node x, bool lower) { return lower ? FN2(gamma_lcdf, shape, x) : FN2(gamma_lccdf, shape, x); }

static Node beta_tail(Dag *d, Node x, Node a, Node b, bool lower)
{
  return lower ? x_fn3(d, F_beta_lcdf, x, a, b) : x_fn3(d, F_beta_lccdf, x, a, b);
}

/* log P(X <= x) if `lower`, else log P(X > x), inside the support. */
static Node log_tail(Dag *d, int dist, Node x, const Node *args, int n, bool lower)
{
  Node a = n > 0 ? args[0] : NO_NODE, b = n > 1 ? args[1] : NO_NODE, z, t;
  switch ((DistId)dist) {
  case DIST_std_normal: return FN(std_normal_lcdf, lower ? x : NEG(x));
  case DIST_normal:
    z = standardised(d, x, a, b);
    return FN(std_normal_lcdf, lower ? z : NEG(z));
  case DIST_lognormal:
    z = standardised(d, LOG(x), a, b);
    return FN(std_normal_lcdf, lower ? z : NEG(z));
  case DIST_cauchy:                                                         /* P(Z <= z) = angle of (-z, 1) / pi, exact in the tail */
    z = standardised(d, x, a, b);
    if (!lower) z = NEG(z);
    t = x_compare(d, X_LT, z, C(0));
    z = MUL(C(1 / M_PI), FN2(atan2, C(1), x_cond(d, t, NEG(z), z)));
    return x_cond(d, t, LOG(z), FN(log1p, NEG(z)));
  case DIST_double_exponential:                                             /* exp(z) / 2 for z < 0, 1 - exp(-z) / 2 above */
    z = standardised(d, x, a, b);
    if (!lower) z = NEG(z);
    t = MUL(C(-0.5), EXP(NEG(FN(fabs, z))));
    return x_cond(d, x_compare(d, X_LT, z, C(0)), SUB(z, C(LOG_2)), FN(log1p, t));
  case DIST_logistic:
    z = standardised(d, x, a, b);
    return FN(log_inv_logit, lower ? z : NEG(z));
  case DIST_gumbel:                                                         /* exp(-exp(-z)) */
    t = NEG(EXP(NEG(standardised(d, x, a, b))));
    return lower ? t : FN(log1m_exp, t);
  case DIST_exponential:
    t = NEG(MUL(a, x));
    return lower ? FN(log1m_exp, t) : t;
  case DIST_weibull:
    t = NEG(EXP(MUL(a, log_ratio(d, x, b))));
    return lower ? FN(log1m_exp, t) : t;
  case DIST_pareto:
    t = x_cond(d, x_compare(d, X_LT, x, MUL(C(2), a)), FN(log1p, FN2(fmax, DIV(SUB(a, x), x), C(-0.6))), log_ratio(d, a, x));       /* log(y_min / x) */
    t = MUL(b, t);
    return lower ? FN(log1m_exp, t) : t;
  case DIST_uniform:
    return LOG(DIV(lower ? SUB(x, a) : SUB(b, x), SUB(b, a)));
  case DIST_student_t:
    z = standardised(d, x, b, args[2]);
    return FN2(student_t_lcdf, lower ? z : NEG(z), a);
  case DIST_skew_normal:
    z = standardised(d, x, a, b);
    return FN2(skew_normal_lcdf, lower ? z : NEG(z), lower ? args[2] : NEG(args[2]));
  case DIST_gamma: return gamma_tail(d, a, MUL(b, x), lower);
  case DIST_chi_square: return gamma_tail(d, MUL(C(0.5), a), MUL(C(0.5), x), lower);
  case DIST_inv_gamma: return gamma_tail(d, a, DIV(b, x), !lower);
  case DIST_inv_chi_square: return gamma_tail(d, MUL(C(0.5), a), DIV(C(0.5), x), !lower);
  case DIST_beta: return beta_tail(d, x, a, b, lower);
  case DIST_geometric:
    t = MUL(ADD(x, C(1)), log1m(d, a));
    return lower ? FN(log1m_exp, t) : t;
  case DIST_bernoulli: case DIST_bernoulli_logit:                           /* below 1; the callers see to the rest */
    if (dist == DIST_bernoulli_logit) a = FN(inv_logit, a);
    return lower ? log1m(d, a) : LOG(a);
  case DIST_binomial_logit: case DIST_binomial:                             /* P(X > x) = I_theta(x + 1, N - x) */
    if (dist == DIST_binomial_logit) b = FN(inv_logit, b);
    return beta_tail(d, b, ADD(x, C(1)), FN2(fmax, SUB(a, x), C(1)), !lower);
  case DIST_poisson_log: case DIST_poisson:                                 /* P(X <= x) = Q(x + 1, lambda) */
    return gamma_tail(d, ADD(x, C(1)), dist == DIST_poisson_log ? EXP(a) : a, !lower);
  case DIST_neg_binomial_2: case DIST_neg_binomial_2_log:                   /* P(X <= x) = I_p(phi, x + 1), p = phi / (phi + mu) */
    z = FN(inv_logit, SUB(LOG(b), dist == DIST_neg_binomial_2 ? LOG(a) : a));
    return beta_tail(d, z, b, ADD(x, C(1)), lower);
  default: return NO_NODE;
  }
}

/* The same outside the support, and of whole numbers between two of them, where x is not a latent variable, which is inside by its transform. Where the
 * tail is not asked for it is taken at a point of the support: its derivatives, times 0, must be numbers. */
static Node guarded_tail(Dag *d, int dist, Node x, const Node *args, int n, bool lower)
{
  const Support support = dist_info[dist].support;
  Node at = x, lo = NO_NODE, hi = NO_NODE, safe = NO_NODE;                  /* at or below lo, at or above hi */
  if (dag_node(d, x)->latent) return log_tail(d, dist, x, args, n, lower);
  switch (support) {
  case SUP_POSITIVE: case SUP_NONNEGATIVE: lo = C(0), safe = C(1); break;
  case SUP_UNIT: lo = C(0), hi = C(1), safe = C(0.5); break;
  case SUP_BETWEEN: lo = args[0], hi = args[1], safe = MUL(C(0.5), ADD(lo, hi)); break;
  case SUP_ABOVE: lo = args[0], safe = MUL(C(2), lo); break;
  case SUP_COUNT: case SUP_BINARY: case SUP_BOUNDED_COUNT:
    if (!dag_node(d, x)->integer) at = FN(floor, x);
    lo = C(-1), safe = C(0), hi = support == SUP_BINARY ? C(1) : support == SUP_BOUNDED_COUNT ? args[0] : NO_NODE;
    break;
  default: return log_tail(d, dist, x, args, n, lower);
  }
  Node under = x_compare(d, X_LE, at, lo), over = hi < 0 ? x_int(d, 0) : x_compare(d, X_LE, hi, at);
  Node tail = log_tail(d, dist, x_cond(d, x_compare(d, X_OR, under, over), safe, at), args, n, lower);
  return x_cond(d, under, C(lower ? -INFINITY : 0), x_cond(d, over, C(lower ? 0 : -INFINITY), tail));
}

Node density_lcdf(Dag *d, int dist, Node x, const Node *args, int n) { return guarded_tail(d, dist, x, args, n, true); }
Node density_lccdf(Dag *d, int dist, Node x, const Node *args, int n) { return guarded_tail(d, dist, x, args, n, false); }

/* Is this constant at or below everything that the distribution can produce? */
static bool below_support(const Dag *d, int dist, Node lo)
{
  double v;
  if (!dag_is_const(d, lo, &v)) return false;
  if (v == -INFINITY) return true;
  Support s = dist_info[dist].support;
  return v <= 0 && (s == SUP_POSITIVE || s == SUP_NONNEGATIVE || s == SUP_COUNT);
}

/* The difference is taken between the smaller tails: F(hi) - F(lo) where lo is below the median, else (1 - F(lo)) - (1 - F(hi)). */
Node density_log_interval(Dag *d, int dist, Node lo, Node hi, const Node *args, int n)
{
  double v;
  if (!dist_has_cdf(dist)) return NO_NODE;
  if (lo >= 0 && below_support(d, dist, lo)) lo = NO_NODE;
  if (hi >= 0 && dag_is_const(d, hi, &v) && v == INFINITY) hi = NO_NODE;
  if (lo < 0) return hi < 0 ? C(0) : density_lcdf(d, dist, hi, args, n);
  Node before = dist_info[dist].kind == DK_DISCRETE ? SUB(lo, x_int(d, 1)) : lo;     /* P(lo <= X) = P(X > before) */
  if (hi < 0) return density_lccdf(d, dist, before, args, n);
  Node below = density_lcdf(d, dist, before, args, n), above = density_lccdf(d, dist, before, args, n);
  Node below_hi = density_lcdf(d, dist, hi, args, n), above_hi = density_lccdf(d, dist, hi, args, n);
  Node low = x_compare(d, X_LT, below, above);
  Node larger = x_cond(d, low, below_hi, above), smaller = x_cond(d, low, below, above_hi);
  return ADD(larger, FN(log1m_exp, SUB(smaller, larger)));
}
