#!/bin/bash
# Random effects that are not conjugate, N = 100 000: F-VI from its defaults reaches the optimum that coordinate ascent finds (reference_effects.c).
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
for kind in poisson logistic; do
  compile "$root/tests/e2e/${kind}_effects.pgm" || continue
  ./${kind}_effects simulate --set N=100000 --set theta=0.7 --set tau=0.8 --seed 3 --out data.json --quiet || exit 3
  read -r elbo mean sd tau tau_sd < <("$B/e2e/reference_effects" $kind data.json)
  ./${kind}_effects fit data.json --quiet --json >fit.json || fail "$kind: fit"
  near "$kind: ELBO" "$(get fit.json elbo)" "$elbo" "$(calc "-1e-5 * $elbo")"
  near "$kind: mean of theta" "$(get fit.json globals.theta.mean)" "$mean" "$sd"
  near "$kind: mean of tau" "$(get fit.json globals.tau.mean)" "$tau" 0.01
  near "$kind: sd of theta" "$(get fit.json globals.theta.sd)" "$sd" "$(calc "0.02 * $sd")"
  [ "$(get fit.json converged)" = true ] && pass "$kind converged" || fail "$kind: $(get fit.json criterion)"
done
finish
