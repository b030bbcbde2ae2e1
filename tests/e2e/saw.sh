#!/bin/bash
# The saw model, N = 1000: an inference function of (x[n-1], x[n]) closes the gap to F-VI, one of x[n] alone leaves more than 100 nats.
source "$(dirname "$0")/lib.sh"
compile "$root/examples/saw/saw.pgm" || finish
cd "$work" || exit 3
./saw simulate --set N=1000 --set theta=3.4 --seed 2 --out data.json --quiet || exit 3
fit() { ./saw fit data.json --quiet --json --method "${@:2}" >"$1" || fail "fit ${*:2}"; get "$1" elbo; }
fvi=$(fit fvi fvi)
near "both inputs: F-VI less A-VI" "$(calc "$fvi - $(fit avi avi)")" 0 1
near "both inputs, a line: F-VI less A-VI" "$(calc "$fvi - $(fit line avi --degree 1)")" 0 1
below "x[n] alone: A-VI less F-VI" "$(calc "$(fit alone avi --inputs 'z=x[n]') - $fvi")" -100
finish
