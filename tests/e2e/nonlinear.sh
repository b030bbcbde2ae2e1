#!/bin/bash
# The nonlinear model, N = 10 000, data drawn with z[n] of sd 5: A-VI with a network of 16,16 comes within 1 nat per 100 observations of F-VI from one
# cold start; constant VI stays far behind.
source "$(dirname "$0")/lib.sh"
compile "$root/examples/nonlinear/nonlinear.pgm" && compile "$root/tests/e2e/wide_nonlinear.pgm" || finish
cd "$work" || exit 3
./wide_nonlinear simulate --set N=10000 --set theta=2 --seed 5 --out data.json --quiet || exit 3
fit() { ./nonlinear fit data.json --quiet --json --method "$@" >"$1" || fail "fit $*"; get "$1" elbo; }
fvi=$(fit fvi)
cold=$(fit fvi --one-start)
below "F-VI from one start less F-VI" "$(calc "$cold - $fvi")" 0.001
below "F-VI from one start less A-VI" "$(calc "$cold - $(fit avi --hidden 16,16)")" 100
below "constant VI less F-VI" "$(calc "$(fit const) - $fvi")" -1000
finish
