#!/bin/bash
# The linear model, N = 10 000, against its factorised optimum in closed form: F-VI reaches it, and A-VI with a line, a network with an affine skip, and a
# network alone.
source "$(dirname "$0")/lib.sh"
compile "$root/examples/linear/linear.pgm" || finish
cd "$work" || exit 3
./linear simulate --set N=10000 --set theta=1.7 --seed 11 --out data.json --quiet || exit 3
read -r elbo mean sd < <("$B/e2e/reference_linear" data.json)

fit() { ./linear fit data.json --quiet --json "${@:2}" >"$1" || fail "fit ${*:2}"; get "$1" elbo; }

near "F-VI: ELBO" "$(fit fvi --method fvi)" "$elbo" 0.5
near "F-VI: mean of theta" "$(get fvi globals.theta.mean)" "$mean" "$(calc "0.01 * $sd")"
near "F-VI: sd of theta" "$(get fvi globals.theta.sd)" "$sd" "$(calc "0.01 * $sd")"
near "A-VI, degree 1: ELBO" "$(fit degree --method avi --degree 1)" "$elbo" 1
near "A-VI, 16 units: ELBO" "$(fit network --method avi --hidden 16)" "$elbo" 1
near "A-VI, 16,16 without skip: ELBO" "$(fit bare --method avi --skip none --hidden 16,16)" "$elbo" 10
below "constant: ELBO" "$(fit const --method const)" "$(calc "$elbo - 100")"
for f in fvi degree network; do [ "$(get $f converged)" = true ] && pass "$f converged" || fail "$f: $(get $f criterion)"; done
finish
