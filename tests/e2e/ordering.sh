#!/bin/bash
# On every example: ELBO(const) <= ELBO(A-VI) + tolerance and ELBO(A-VI) <= ELBO(F-VI) + tolerance.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3

# order NAME MODEL TOLERANCE DATA [fit options]
order() {
  local name=$1 tolerance=$3 method
  compile "$2" || return
  for method in const avi fvi; do
    ./$name fit "$4" --quiet --json --method $method "${@:5}" >$method.json 2>err || { fail "$name: fit --method $method"; cat err; return; }
  done
  below "$name: const below avi" "$(get const.json elbo)" "$(calc "$(get avi.json elbo) + $tolerance")"
  below "$name: avi below fvi" "$(get avi.json elbo)" "$(calc "$(get fvi.json elbo) + $tolerance")"
}

simulate() { compile "$1" && ./"$(basename "$1" .pgm)" simulate "${@:2}" --seed 7 --out data.json --quiet || fail "simulate $*"; }
for name in eight_schools radon nile; do order $name "$root/examples/$name/$name.pgm" 1e-3 "$root/examples/$name/$name.json"; done
simulate "$root/examples/saw/saw.pgm" --set N=500 --set theta=1
order saw "$root/examples/saw/saw.pgm" 1e-3 data.json
simulate "$root/examples/linear/linear.pgm" --set N=2000 --set theta=1
order linear "$root/examples/linear/linear.pgm" 1e-3 data.json
# several modes: F-VI searches, the constant and the function find what they find
simulate "$root/examples/nonlinear/nonlinear.pgm" --set N=2000 --set theta=1
order nonlinear "$root/examples/nonlinear/nonlinear.pgm" 1 data.json
# sampled, and far from convex: four standard errors of the ELBO are the tolerance
simulate "$root/examples/fashion_mnist/bnn.pgm" --set N=60 --set D=6 --set K=2 --set H=4
order bnn "$root/examples/fashion_mnist/bnn.pgm" 4 data.json --samples 64
grep -q 'its sampling error with 64 draws' fvi.json && [ "$(get fvi.json converged)" = true ] && pass "bnn: stops at the sampling error" || fail "bnn: $(get fvi.json criterion)"
finish
