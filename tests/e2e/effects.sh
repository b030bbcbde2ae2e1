#!/bin/bash
# Random effects that are not conjugate, N = 100 000: F-VI from its defaults reaches the optimum that coordinate ascent finds (reference_effects.c), and so
# does A-VI, whose functions have y[n] alone to tell units apart, as the optimum itself does (by default it stops at 0.01 nat, which leaves some per cent of an sd
# open).
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
for kind in poisson logistic; do
  compile "$root/tests/e2e/${kind}_effects.pgm" || continue
  ./${kind}_effects simulate --set N=100000 --set theta=0.7 --set tau=0.8 --seed 3 --out data.json --quiet || exit 3
  read -r elbo mean sd tau tau_sd < <("$B/e2e/reference_effects" $kind data.json)
  ./${kind}_effects fit data.json --method fvi --quiet --json >fvi.json || fail "$kind: fit"
  near "$kind, F-VI: ELBO" "$(get fvi.json elbo)" "$elbo" "$(calc "-1e-9 * $elbo")"
  near "$kind, F-VI: mean of theta" "$(get fvi.json globals.theta.mean)" "$mean" "$(calc "0.01 * $sd")"
  near "$kind, F-VI: sd of theta" "$(get fvi.json globals.theta.sd)" "$sd" "$(calc "1e-4 * $sd")"
  near "$kind, F-VI: mean of tau" "$(get fvi.json globals.tau.mean)" "$tau" "$(calc "0.01 * $tau_sd")"
  near "$kind, F-VI: sd of tau" "$(get fvi.json globals.tau.sd)" "$tau_sd" "$(calc "1e-4 * $tau_sd")"
  [ "$(get fvi.json converged)" = true ] && pass "$kind converged" || fail "$kind: $(get fvi.json criterion)"
  ./${kind}_effects fit data.json --method avi --tol 1e-4 --quiet --json >avi.json || fail "$kind: fit --method avi"
  near "$kind, A-VI: ELBO" "$(get avi.json elbo)" "$elbo" "$(calc "-1e-7 * $elbo")"
  near "$kind, A-VI: sd of theta" "$(get avi.json globals.theta.sd)" "$sd" "$(calc "1e-3 * $sd")"
done
finish
