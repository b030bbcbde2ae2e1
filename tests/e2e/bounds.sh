#!/bin/bash
# Latent variables bounded by other latent variables: density and gradient are those of the same model reparameterised by hand, simulations stay within
# the bounds, fits agree, and the moments of infer are those of the draws of sample.
. "$(dirname "$0")/lib.sh"
models=$root/tests/e2e/bounds

compile "$models/bounded.pgm" && compile "$models/by_hand.pgm" && compile "$models/drawn.pgm" || finish
check "simulate" "$work/bounded" simulate --set N=20 --seed 3 --out "$work/data.json" --truth "$work/truth.json" --quiet

v() { get "$work/truth.json" "$1"; }
a=$(v a) b=$(v b) m=$(v m)
below "b above a" "$a" "$b"
below "m above a" "$a" "$m"
below "m below b" "$m" "$b"
below "z above m" "$m" "$(get "$work/truth.json" z | tr ' ' '\n' | sort -g | head -n 1)"
below "w[2] above 1" 1 "$(get "$work/truth.json" w | tr ' ' '\n' | tail -n 1)"

# the same point in the coordinates of by_hand.pgm
awk -v a="$a" -v b="$b" -v m="$m" -v s="$(v s)" -v w="$(v w | tr '\n' ' ')" -v z="$(v z | tr '\n' ' ')" 'BEGIN {
  r = (m - a) / (b - a); split(w, e, " "); n = split(z, x, " ")
  printf "{\"a\": %.17g, \"s\": %.17g, \"ub\": %.17g, \"um\": %.17g, \"w1\": %.17g, \"w2\": %.17g, \"uz\": [", a, s, log(b - a), log(r / (1 - r)), e[1], e[2]
  for (i = 1; i <= n; i++) printf "%s%.17g", (i > 1 ? ", " : ""), log(x[i] - m)
  print "]}" }' >"$work/point.json"
check "gradient against differences" "$work/bounded" grad "$work/data.json" --at "$work/truth.json" --check --quiet
cp "$work/check.log" "$work/grad.json"
check "by hand" "$work/by_hand" grad "$work/data.json" --at "$work/point.json" --check --quiet
near "log density" "$(get "$work/grad.json" log_joint_unconstrained)" "$(get "$work/check.log" log_joint_unconstrained)" 1e-9
sorted() { get "$1" gradient_unconstrained | tr ' ' '\n' | sort -g; }
below "gradients differ by" "$(paste <(sorted "$work/grad.json") <(sorted "$work/check.log") | awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > most) most = d } END { printf "%.3g", most }')" 1e-8

"$work/bounded" simulate --set N=4 --set a=2 --set b=3 --set m=2.5 --seed 1 --out "$work/few.json" --truth "$work/far.json" --quiet
below "drawn above the m given" 2.5 "$(get "$work/far.json" z | tr ' ' '\n' | sort -g | head -n 1)"
sed 's/"b": [-0-9.e]*/"b": -9/' "$work/truth.json" >"$work/outside.json"
refuse 1 "$work/outside.json: b: is outside its support" "$work/bounded" grad "$work/data.json" --at "$work/outside.json" --quiet

# moments: of the expectations that are known, and from draws
check "simulate the other" "$work/drawn" simulate --set N=6 --seed 5 --out "$work/drawn.json" --quiet
for model in bounded drawn; do
  data=$work/data.json
  [ $model = drawn ] && data=$work/drawn.json
  check "fit $model" "$work/$model" fit "$data" --method fvi --seed 1 --out "$work/$model.fit" --quiet
  "$work/$model" infer "$work/$model.fit" "$data" --quiet >"$work/infer.csv" 2>"$work/log"
  "$work/$model" sample "$work/$model.fit" "$data" --draws 6000 --seed 2 --log-lik --out "$work/draws.csv" --quiet
  below "$model: moments of infer against those of draws, in standard errors" "$(awk -F, '
    FNR == NR { if (FNR > 1) mean[$1] = $2; if (FNR > 1) sd[$1] = $3; next }
    /^#/ { next }
    !column { for (i = 1; i <= NF; i++) if (split($i, p, ".") == 2 && p[1] == "z") where[p[2]] = i; column = 1; next }
    { for (n in where) { x = $(where[n]) - mean[n]; s[n] += x; q[n] += x * x } rows++ }
    END { for (n in where) { d = s[n] / rows / sd[n] * sqrt(rows); if (d < 0) d = -d; if (d > most) most = d
                             e = (sqrt(q[n] / rows) / sd[n] - 1) * sqrt(2 * rows) / 2; if (e < 0) e = -e; if (e > most) most = e; seen++ }
          print seen ? most : "none" }' "$work/infer.csv" "$work/draws.csv")" 5
done
for model in bounded by_hand; do
  "$work/$model" fit "$work/data.json" --method fvi --seed 1 --json --quiet --out "$work/again.fit" >"$work/$model.json" 2>"$work/log" || cat "$work/log"
done
near "ELBO" "$(get "$work/bounded.json" elbo)" "$(get "$work/by_hand.json" elbo)" 0.05
finish
