#!/bin/bash
# Definitions that look back at themselves: log density and recurrence against a plain loop (awk), gradients against central differences, the same model
# without a recurrence, draws and definitions as the recurrence says.
source "$(dirname "$0")/lib.sh"
models="$root/tests/e2e/recurrence"
for name in garch arma holt back smoothing; do compile "$models/$name.pgm" || finish; done
compile "$root/tests/good/running_let.pgm" && compile "$root/tests/good/running_sum.pgm" || finish
cd "$work" || exit 3

# ---- gradients, at the values the data were drawn with
data() { local name=$1; shift; ./"$name" simulate --seed 2 --quiet --out "$name.json" --truth "$name-truth.json" "$@" || fail "simulate $name"; }
data garch --set T=60 --set mu=1 --set alpha0=0.5 --set alpha1=0.3 --set beta1=0.4
data arma --set T=60 --set mu=1 --set phi=0.5 --set theta=0.3 --set sigma=0.5
data holt --set T=60 --set a=0.4 --set b=0.2 --set l0=1 --set b0=0.1 --set sigma=0.5
data back --set N=20 --set G=3 --set phi=0.4
data smoothing --set T=60 --set alpha=0.3 --set sigma=1
for name in garch arma holt back smoothing; do
  check "$name: gradient" ./$name grad $name.json --at $name-truth.json --check --quiet
  ./$name grad $name.json --at $name-truth.json --quiet >$name.grad
done

# ---- log densities by a loop: values one per line
series() { get "$1" "$2"; }
normal='function lp(x, m, s) { return -0.5 * log(2 * 3.14159265358979323846) - log(s) - ((x - m) / s)^2 / 2 }'
wanted=$(series garch.json y | awk "$normal"'
  BEGIN { mu = 1; a0 = 0.5; a1 = 0.3; b1 = 0.4 }
  { s = NR == 1 ? 1 : sqrt(a0 + a1 * (last - mu)^2 + b1 * s^2); sum += lp($1, mu, s); last = $1 }
  END { printf "%.12g", sum + lp(mu, 0, 10) + lp(a0, 0, 5) }')
near "garch: log density" "$(get garch.grad log_joint)" "$wanted" 1e-8
wanted=$(series arma.json y | awk "$normal"'
  BEGIN { mu = 1; phi = 0.5; theta = 0.3; sigma = 0.5 }
  { nu = NR == 1 ? mu + phi * mu : mu + phi * last + theta * err; err = $1 - nu; last = $1; sum += lp($1, nu, sigma) }
  END { pi = 3.14159265358979323846; printf "%.12g", sum + lp(mu, 0, 10) + lp(phi, 0, 2) + lp(theta, 0, 2) - log(pi * 2.5 * (1 + (sigma / 2.5)^2)) }')
near "arma: log density" "$(get arma.grad log_joint)" "$wanted" 1e-8
wanted=$(series holt.json y | awk "$normal"'
  BEGIN { a = 0.4; b = 0.2; level = 1; trend = 0.1; sigma = 0.5 }
  { sum += lp($1, level + trend, sigma); old = level; level = a * $1 + (1 - a) * (level + trend); trend = b * (level - old) + (1 - b) * trend }
  END { printf "%.12g", sum + log(6 * a * (1 - a)) + log(6 * b * (1 - b)) + lp(1, 0, 5) + lp(0.1, 0, 1) + lp(sigma, 0, 2) }')
near "holt: log density" "$(get holt.grad log_joint)" "$wanted" 1e-8

# ---- a sum, and the same by a recurrence
./running_sum simulate --set N=25 --seed 4 --quiet --out sum.json --truth sum-truth.json || fail "simulate running_sum"
for name in running_sum running_let; do ./$name grad sum.json --at sum-truth.json --quiet >$name.grad; done
near "log density without a recurrence" "$(get running_let.grad log_joint)" "$(get running_sum.grad log_joint)" 1e-9
get running_sum.grad gradient.z >plain && get running_let.grad gradient.z | paste plain - | awk '($1 - $2)^2 > 1e-16 { bad++ } END { exit bad > 0 || NR != 25 }' \
  && pass "its gradient" || fail "its gradient"

# ---- fits: the same for any number of threads; definitions among the draws
for threads in 1 2; do ./smoothing fit smoothing.json --quiet --json --threads $threads --out smoothing.fit >fit$threads.json || fail "fit, $threads threads"; done
near "the ELBO does not depend on threads" "$(get fit2.json elbo)" "$(get fit1.json elbo)" 0
./smoothing sample smoothing.fit smoothing.json --draws 3 --quiet --out draws.csv || fail "sample"
{ series smoothing.json y | paste -sd, ; grep -v '^#' draws.csv; } | awk -F, '
  NR == 1 { for (t = 1; t <= NF; t++) y[t] = $t; T = NF; next }
  NR == 2 { for (i = 1; i <= NF; i++) column[$i] = i; next }
  { s = 0; alpha = $column["alpha"]
    for (t = 1; t <= T; t++) { if (t > 1) s = alpha * y[t - 1] + (1 - alpha) * s; d = s - $column["s." t]; if (!(d * d < 1e-8)) bad++ } n++ }
  END { exit bad > 0 || n != 3 || T != 60 }' && pass "the recurrence of draws" || fail "the recurrence of draws"

# ---- a long series takes time in proportion
./smoothing simulate --set T=4000 --set alpha=0.3 --set sigma=1 --seed 3 --quiet --out long.json || fail "simulate a long series"
./smoothing fit long.json --quiet --json >long.fit.json || fail "fit a long series"
near "alpha of a long series" "$(get long.fit.json globals.alpha.mean)" 0.3 0.05
# ---- what is not done is said where it stands
refused() {
  local name=$1 message=$2
  { echo "model $name {"; cat; echo "}"; } >"$name.pgm"
  refuse 1 "$name.pgm:$message is not supported by code generation yet" "$PGMC" emit "$name.pgm" -o "$name.c"
}
refused vectors "5:67: error: a recurrence of vectors" <<'M'
  input T : int;
  latent a ~ normal(0, 1);
  let s[0] : vector[2] = [0, 1];
  plate t in 1..T { let s[t] = s[t-1] * a; observed y[t] ~ normal(s[t][1], 1); }
M
refused sums "5:94: error: a recurrence that looks back in a sum, a vector or another recurrence" <<'M'
  input T : int;
  plate k in 1..2 { latent b[k] ~ normal(0, 1); }
  let s[0] = 0.0;
  plate t in 1..T { let s[t] = log_sum_exp(k in 1..2: b[k] * s[t-1]); observed y[t] ~ normal(s[t], 1); }
M
refused fixed "5:74: error: a recurrence that refers to itself at other than a constant distance" <<'M'
  input T : int;
  latent a ~ normal(0, 1);
  let s[0] = 0.0;
  plate t in 1..T { let s[t] = a * s[t-1] + s[0]; observed y[t] ~ normal(s[t], 1); }
M
finish
