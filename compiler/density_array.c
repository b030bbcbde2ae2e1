/* Log densities of distributions over vectors and categories, as DAG nodes (sums over the dimension's axis). Parameterisations: Stan functions
 * reference. Element-wise distributions: density.c. */
#include "build.h"
#include "dist.h"
#include <math.h>

#define HALF_LOG_2PI 0.91893853320467274178

/* log Dirichlet(x | alpha) = lgamma(sum alpha) - sum lgamma(alpha) + sum (alpha - 1) log x */
static Node dirichlet(Builder *b, const Value *x, const Value *alpha)
{
  Dag *d = b->d;
  int a = dag_dim_axis(d, x->extent[0], 0);
  if (x->node >= 0) a = x->axis[0];
  Node xn = value_over(b, x, &a), al = value_over(b, alpha, &a);
  Node sum = x_sum(d, a, al);
  Node norm = x_sub(d, x_fn1(d, F_lgamma, sum), x_sum(d, a, x_fn1(d, F_lgamma, al)));
  return x_add(d, norm, x_sum(d, a, x_mul(d, x_sub(d, al, x_const(d, 1)), x_log(d, xn))));
}

/* log N(y | mu, L L') = -K/2 log 2 pi - sum log L_kk - |L^-1 (y - mu)|^2 / 2 */
static Node multi_normal_cholesky(Builder *b, const Value *y, const Value *mu, const Value *L)
{
  Dag *d = b->d;
  Value l = value_ready(b, *L);
  int r = l.axis[0], c = l.axis[1];
  Node residual = x_sub(d, value_over(b, y, &r), value_over(b, mu, &r));
  Node w = x_trisolve(d, false, r, c, l.node, residual);
  Node diagonal = x_at(d, l.node, c, x_axis(d, r));
  Node n = x_mul(d, x_const(d, -HALF_LOG_2PI), l.extent[0]);
  n = x_sub(d, n, x_sum(d, r, x_log(d, diagonal)));
  return x_sub(d, n, x_mul(d, x_const(d, 0.5), x_sum(d, r, x_square(d, w))));
}

/* log theta[x] and log softmax(beta)[x], x in 1..K */
static Node categorical(Builder *b, const Value *x, const Value *arg, bool logit)
{
  Dag *d = b->d;
  Node k = x_sub(d, value_over(b, x, NULL), x_int(d, 1));
  if (!dag_node(d, k)->integer) return NO_NODE;
  Value v = value_ready(b, *arg);
  int a = v.axis[0];
  if (arg->node < 0) {                                                      /* a family's own vector: take the entry where it stands */
    Value entry = *arg;
    for (int i = 0; i < entry.n_args; i++)
      if (entry.args[i] < 0) entry.args[i] = x_add(d, k, entry.base[i]);
    entry.rank = 0;
    Node picked = value_over(b, &entry, NULL);
    return logit ? x_sub(d, picked, x_log_sum_exp(d, a, v.node)) : x_log(d, picked);
  }
  Node picked = x_at(d, v.node, a, k);
  return logit ? x_sub(d, picked, x_log_sum_exp(d, a, v.node)) : x_log(d, picked);
}

/* log Multinomial(x | theta) = lgamma(sum x + 1) - sum lgamma(x + 1) + sum x log theta */
static Node multinomial(Builder *b, const Value *x, const Value *theta)
{
  Dag *d = b->d;
  Value t = value_ready(b, *theta);
  int a = t.axis[0];
  Node xn = value_over(b, x, &a), one = x_const(d, 1);
  Node norm = x_sub(d, x_fn1(d, F_lgamma, x_add(d, x_sum(d, a, xn), one)), x_sum(d, a, x_fn1(d, F_lgamma, x_add(d, xn, one))));
  return x_add(d, norm, x_sum(d, a, x_fn2(d, F_xlogy, xn, t.node)));
}

Node density_array(Builder *b, int dist, const Value *x, const Value *args)
{
  switch (dist) {
  case DIST_dirichlet: return dirichlet(b, x, &args[0]);
  case DIST_multi_normal_cholesky: return multi_normal_cholesky(b, x, &args[0], &args[1]);
  case DIST_categorical: return categorical(b, x, &args[0], false);
  case DIST_categorical_logit: return categorical(b, x, &args[0], true);
  case DIST_multinomial: return multinomial(b, x, &args[0]);
  default: return NO_NODE;
  }
}
