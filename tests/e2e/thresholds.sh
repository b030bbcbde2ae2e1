#!/bin/bash
# Comparisons of latent variables as numbers: expectations in closed form, so that their gradients see the step. The change of rate in Britain's coal-mining
# disasters per year, 1851 to 1961 (Jarrett 1979, Biometrika 66; two years missing as often published), whose posterior is known from many analyses: around
# 1890, from about 3.1 to 0.9 a year. And what is said where there is no closed form.
source "$(dirname "$0")/lib.sh"
cat >"$work/coal.pgm" <<'MODEL'
model coal {
  input N : int;
  latent change ~ normal(1906, 30);
  latent early ~ normal(0, 2);
  latent late ~ normal(0, 2);
  plate n in 1..N {
    observed y[n] : int ~ poisson_log((1850 + n < change) * early + (1850 + n >= change) * late);
  }
}
MODEL
cat >"$work/coal.json" <<'DATA'
{"y": [4, 5, 4, 0, 1, 4, 3, 4, 0, 6, 3, 3, 4, 0, 2, 6, 3, 3, 5, 4, 5, 3, 1, 4, 4, 1, 5, 5, 3, 4, 2, 5, 2, 2, 3, 4, 2, 1, 3, null, 2, 1, 1, 1, 1, 3, 0, 0, 1, 0,
       1, 1, 0, 0, 3, 1, 0, 3, 2, 2, 0, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 1, 1, 0, 2, 3, 3, 1, null, 2, 1, 1, 1, 1, 2, 4, 2, 0, 0, 1, 4, 0, 0, 0, 1,
       0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1]}
DATA
compile "$work/coal.pgm"
check "closed form" bash -c '"$1" check "$2" | grep -q "y \[7\] closed-form"' - "$PGMC" "$work/coal.pgm"
check "fit" "$work/coal" fit "$work/coal.json" --json --quiet --out "$work/fit"
"$work/coal" fit "$work/coal.json" --json --quiet >"$work/fit.json"
near "the year of the change" "$(get "$work/fit.json" globals.change.mean)" 1890.5 1.5
near "disasters a year before" "$(get "$work/fit.json" globals.early.mean | awk '{ print exp($1) }')" 3.1 0.2
near "disasters a year after" "$(get "$work/fit.json" globals.late.mean | awk '{ print exp($1) }')" 0.92 0.1
cat >"$work/step.pgm" <<'MODEL'
model step {
  input N : int;
  latent s ~ normal(0, 1);
  latent a ~ normal(0, 1);
  plate n in 1..N {
    observed y[n] ~ normal(floor(s) * a, 1);
  }
}
MODEL
check "a rounding is told" bash -c '"$1" check "$2" 2>&1 | grep -q "warning: this has a step in a latent variable"' - "$PGMC" "$work/step.pgm"
finish
