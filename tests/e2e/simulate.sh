#!/bin/bash
# simulate: ordered vectors come out in order and are where `grad` can start; sizes are counted from values given to latent variables and params; what
# is missing is named.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
cat >mixed.pgm <<'M'
model mixed {
  input N : int; input K : int;
  param w : vector[K];
  latent mu : ordered[K] ~ normal(0, 5);
  plate n in 1..N {
    latent c[n] : positive_ordered[3] ~ normal(0, 2);
    observed x[n] ~ normal(mu[1] + w[2] + c[n][2], 1);
  }
}
M
cat >apart.pgm <<'M'
model apart {
  input m : vector[2];
  latent d : ordered[2] ~ normal(m, 1);
  observed x ~ normal(d[2], 1);
}
M
cat >votes.pgm <<'M'
model votes {
  input N : int; input K : int;
  latent p : simplex[K] ~ dirichlet(rep_vector(1, K));
  plate n in 1..N { observed y[n] : vector[K] ~ multinomial(p); }
}
M
for name in mixed apart votes; do compile $name.pgm || finish; done

echo '{"w": [1, 2, 3, 4]}' >w.json
check "K from the values of w" ./mixed simulate w.json --set N=2000 --seed 8 --out data.json --truth truth.json --quiet
near "K" "$(get data.json K)" 4 0
ascending() { awk -v width="$1" '{ if ((NR - 1) % width && !($1 > last)) exit 1; last = $1 } END { exit NR == 0 }'; }
get truth.json mu | ascending 4 && pass "mu is in order" || fail "mu: $(get truth.json mu | tr '\n' ' ')"
get truth.json c | ascending 3 && pass "c is in order" || fail "c is not in order"
# Half-normal order statistics, sd 2: the least of three has P(c1 > t) = erfc(t / (2 sqrt 2))^3, mean 0.66981 (quadrature); the mean of all is 2 sqrt(2 / pi).
near "mean of the least of three" "$(get truth.json c | awk 'NR % 3 == 1 { s += $1; n++ } END { print s / n }')" 0.66981 0.04
near "mean of all" "$(get truth.json c | awk '{ s += $1; n++ } END { print s / n }')" 1.59577 0.05
check "the truth is a point for grad" ./mixed grad data.json --at truth.json --check --quiet
echo '{"m": [-9, 9]}' >near.json
echo '{"m": [9, -9]}' >far.json
check "entries with distributions of their own, in order" ./apart simulate near.json --quiet
refuse 1 "apart.pgm:3: d ~ normal(m, 1): the entries were drawn, but not in order, and sorted they would have another distribution, because theirs differ: give 'd' a value, or try another --seed" \
  ./apart simulate far.json --quiet
refuse 1 "votes.pgm:4: y[n] ~ multinomial(p): the total at n = 1 is not known: give an array 'y' whose entries add up to the totals" ./votes simulate --set N=2 --set K=3 --quiet
echo '{"y": [[5, 0, 0], [1, 2, 4]]}' >totals.json
check "totals from an array" ./votes simulate totals.json --out y.json --quiet
near "the second total" "$(get y.json y | awk 'NR > 3 { s += $1 } END { print s }')" 7 0
finish
