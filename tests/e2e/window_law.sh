#!/bin/bash
# What a window of half-width 0..5 leaves on a chain with known parameters, with the best affine function: as least squares in the posterior's metric
# says for the same data, and on average as the law says (docs/analysis.md, "How fast a window converges"). No tolerance but the optimiser's error.
source "$(dirname "$0")/lib.sh"
compile "$root/tests/e2e/window_law.pgm" || finish
cd "$work" || exit 3
./window_law simulate --set T=3000 --seed 1 --out data.json --quiet >/dev/null || exit 3
./window_law simulate --set T=30000 --seed 2 --out long.json --quiet >/dev/null || exit 3
"$B/e2e/reference_window" data.json 0.9 0.19 1 >reference
"$B/e2e/reference_window" long.json 0.9 0.19 1 >law

elbo() { ./window_law fit data.json --quiet --json -o fit "$@" >fit.json && get fit.json elbo; }
fvi=$(elbo --method fvi)
while read -r w gap _; do
  [ -n "$gap" ] || continue
  near "half-width $w: nats below F-VI" "$(calc "$fvi - $(elbo --method avi --degree 1 --window "$w")")" "$gap" 1e-5
done <reference
# the half-width of 1 %: measured where it is among the windows, extrapolated where it is not
wide=$(tail -n 1 reference)
for range in 0..5 0..2; do
  ./window_law gap data.json --degree 1 --window $range --json --quiet >gap.json 2>gap.err || { fail gap; cat gap.err; }
  near "the half-width that gap recommends from $range" "$(get gap.json half_width.w)" "$wide" 0
done
[ "$(get gap.json half_width.measured)" = false ] && pass "extrapolated" || fail "extrapolated: $(get gap.json half_width.measured)"

while read -r w gap law; do
  [ -n "$gap" ] || continue
  near "half-width $w: the law, in shares" "$(calc "$gap / $law")" 1 0.1
done <law
finish
