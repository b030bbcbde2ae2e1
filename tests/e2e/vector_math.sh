#!/bin/sh
# Kernels must call the vector versions of mathematical functions: compiles one loop per function with the Makefile's flags and looks at the
# assembly. A function that GCC leaves scalar costs a factor of six and nobody would notice. Usage: tests/e2e/vector_math.sh, in the top directory.
set -eu
CC=${CC:-gcc}
if ! echo '#include "pgm_math.h"
#if !defined(__x86_64__) || !PGM_LIBMVEC_3
#error
#endif' | $CC -x c -Iruntime -fsyntax-only - 2>/dev/null; then
  echo "vector_math: skipped (no vector mathematics in this C library)"
  exit 0
fi
flags=$(make -pnq 2>/dev/null | sed -n 's/^KERNEL *= *//p' || true)
[ -n "$flags" ] || { echo "vector_math: the Makefile has no KERNEL" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# name of the kernel, expression in a and b, vector functions that it must call (without prefix)
cat > "$work/list" <<'LIST'
sincos     sin(a)*cos(a)            sin cos
exp_log    exp(a)*log(b)            exp log
pow        pow(b,a)                 pow
trig       tan(a)+atan2(a,b)        tan atan2
tanh       tanh(a)                  tanh
erf        erf(a)*erfc(b)           erf erfc
root       cbrt(a)+sqrt(b)          cbrt
fmax       pgm_fmax(a,b)            -
relu       pgm_leaky_relu(a,0.2)    -
inv_logit  pgm_inv_logit(a)         exp
softplus   pgm_softplus(a)          exp
log1m_exp  pgm_log1m_exp(-b)        exp expm1 log1p log
lse        pgm_log_sum_exp2(a,b)    exp
xlogy      pgm_xlogy(a,b)           log
gelu       pgm_gelu(a)              erfc
lgamma     pgm_lgamma(b)            pgm_lgamma
digamma    pgm_digamma(b)           pgm_digamma
lbeta      pgm_lbeta(a,b)           pgm_lbeta
lchoose    pgm_lchoose(b,a)         pgm_lchoose
log_phi    pgm_std_normal_lcdf(a)   pgm_std_normal_lcdf
bessel     pgm_log_bessel_i0(b)     pgm_log_bessel_i0
isnan      (isnan(log(a))?b:a)      log
LIST
{
  echo '#include "pgm_math.h"'
  while read -r name expression calls; do
    echo "double k_$name(long n, const double *restrict x, const double *restrict w, double *restrict g)
{
  double value = 0;
#pragma omp simd reduction(+ : value)
  for (long i = 0; i < n; i++) {
    double a = x[i], b = w[i], r = $expression;
    value += r * a - 0.5 * a * a;
    g[i] += b * r;
  }
  return value;
}"
  done < "$work/list"
} > "$work/kernels.c"

status=0
for target in -march=x86-64 -march=x86-64-v3 "-march=x86-64-v4 -mprefer-vector-width=512"; do
  # shellcheck disable=SC2086
  $CC -std=gnu11 -Wall -Wextra $flags $target -Iruntime -S -o "$work/kernels.s" "$work/kernels.c"
  while read -r name expression calls; do
    sed -n "/^k_$name:/,/\.size[[:space:]]*k_$name/p" "$work/kernels.s" > "$work/one.s"
    for call in $calls; do
      if [ "$call" = - ]; then
        ! grep -q 'call' "$work/one.s" || { echo "vector_math: $expression makes a call ($target)" >&2; status=1; }
      elif ! grep -Eq "_ZGV[bde]N[248]v+_$call\b" "$work/one.s"; then
        echo "vector_math: $expression does not call the vector version of $call ($target)" >&2
        status=1
      fi
    done
  done < "$work/list"
  # the special functions themselves
  # shellcheck disable=SC2086
  $CC -std=gnu11 $flags $target -Iruntime -c -o "$work/special.o" runtime/special.c
  for call in exp log log1p; do
    nm "$work/special.o" | grep -Eq "U _ZGVeN8v_$call" || { echo "vector_math: special.c does not call the vector $call ($target)" >&2; status=1; }
  done
done
# the steps of Newton's method
for target in -march=x86-64-v3 "-march=x86-64-v4 -mprefer-vector-width=512"; do
  # shellcheck disable=SC2086
  $CC -std=gnu11 $flags $target -Iruntime -S -o "$work/newton.s" runtime/newton.c
  case $target in *v3) vectors='%ymm' ;; *) vectors='%zmm' ;; esac
  for function in first_scalars judge_scalars judge_near_scalars; do
    sed -n "/^$function:/,/\.size[[:space:]]*$function/p" "$work/newton.s" > "$work/one.s"
    grep -Eq "vsqrtpd.*$vectors" "$work/one.s" || { echo "vector_math: $function in newton.c is scalar ($target)" >&2; status=1; }
    [ $function = judge_near_scalars ] || grep -Eq "_ZGV[de]N[48]v_log\b" "$work/one.s" ||
      { echo "vector_math: $function in newton.c does not call the vector log ($target)" >&2; status=1; }
  done
done
[ $status = 0 ] && echo "vector_math: every kernel calls vector functions"
exit $status
