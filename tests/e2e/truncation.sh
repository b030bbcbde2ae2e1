#!/bin/bash
# Truncation of every distribution that has a distribution function: draws stay between the ends, gradients are those of differences, and the others are
# refused. That the truncated densities are normalised is in tests/unit/test_density.c: probabilities of intervals against GSL's.
. "$(dirname "$0")/lib.sh"
model=$root/tests/e2e/truncation/truncated.pgm
without=("flat()" "von_mises(0, 1)" "beta_binomial(5, 1, 1)" "categorical([0.5, 0.5])" "categorical_logit([0, 1])" "ordered_logistic(0, [0, 1])")

for call in "${without[@]}"; do
  echo "model m { observed x ~ $call T[1, ]; }" >"$work/m.pgm"
  "$PGMC" check "$work/m.pgm" >"$work/log" 2>&1
  if grep -q "error: ${call%%(*} cannot be truncated" "$work/log"; then pass "$call is refused"; else fail "$call is not refused"; cat "$work/log"; fi
done
for name in $(sed -n 's/^DIST(\([a-z_0-9]*\), *[A-Z]*, *UNIVARIATE.*/\1/p' "$root/compiler/dist.def"); do
  [[ " ${without[*]}" == *" $name("* ]] || grep -q "~ $name(.*) T\[" "$model" || fail "$name is not among the truncated"
done

compile "$model" || finish
for seed in 1 2 3; do
  check "simulate" "$work/truncated" simulate --set M=40 --seed $seed --out "$work/data.json" --truth "$work/truth.json" --quiet
  check "gradients" "$work/truncated" grad "$work/data.json" --at "$work/truth.json" --check --quiet
done
range() { # NAME LEAST GREATEST: of all draws
  below "least $1" "$2" "$(get "$work/data.json" "$1" | tr ' ' '\n' | sort -g | head -n 1)"
  below "greatest $1" "$(get "$work/data.json" "$1" | tr ' ' '\n' | sort -g | tail -n 1)" "$3"
}
while read -r name low high; do
  range "$name" "${low:--inf}" "${high:-1e300}"
done < <(sed -n 's/.* \(x[0-9]*\)\[i\] .* T\[\([0-9.-]\{1,\}\), *\([0-9.]\{1,\}\)\];/\1 \2 \3/p' "$model")
finish
