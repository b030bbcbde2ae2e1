#!/bin/bash
# What notes recommend works: --window where the method is F-VI for want of a verdict `closes`; sizes that infer takes from the fit are named.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
cat >crossed.pgm <<'M'
model crossed {
  input N : int; input A : int; input B : int;
  plate a in 1..A { latent u[a] ~ normal(0, 1); }
  plate b in 1..B { latent v[b] ~ normal(0, 1); }
  plate n in 1..N {
    input i[n] : int<lower=1, upper=A>; input j[n] : int<lower=1, upper=B>;
    observed x[n] ~ normal(u[i[n]] + v[j[n]], 1);
  }
}
M
echo '{"i": [1, 1, 2, 2, 3], "j": [1, 2, 1, 2, 1], "x": [0.3, 1.2, -0.4, 0.1, 2.0]}' >crossed.json
compile crossed.pgm && compile "$root/examples/nile/nile.pgm" && compile "$root/examples/radon/radon.pgm" || finish
notes() { "$@" 2>&1 >/dev/null | grep -F "note: "; }
has() { if grep -Fq -- "$2" <<<"$3"; then pass "$1"; else fail "$1: $3"; fi; }
lacks() { if grep -Fq -- "$2" <<<"$3"; then fail "$1: $3"; else pass "$1"; fi; }

text=$(notes ./nile fit "$root/examples/nile/nile.json")
has "nile: a window is recommended" "(nile check; --method avi --window 1 amortises all the same)" "$text"
text=$(notes ./nile fit "$root/examples/nile/nile.json" --method avi)
has "nile: also where avi keeps free factors" "free factors are kept; --window 1 or --inputs name inputs" "$text"
check "nile: it works" ./nile fit "$root/examples/nile/nile.json" --method avi --window 1 --quiet
text=$(notes ./crossed fit crossed.json)
has "crossed: the verdict is named" "because the verdict of crossed is 'data', not 'closes' (crossed check)" "$text"
text=$(notes ./crossed fit crossed.json --method avi)
lacks "crossed: no window is recommended, for there is none" "--window" "$text"
./radon fit "$root/examples/radon/radon.json" --quiet --max-iter 5 --out radon.fit >/dev/null 2>&1
echo '{"county_idx": [1, 1], "floor_measure": [0, 1], "log_radon": [1.9, 1.1]}' >county.json
has "radon: infer says where J is from" "J = 85, as in the fit; --set J=... for these data" "$(notes ./radon infer radon.fit county.json)"
lacks "radon: not where it is given" "as in the fit" "$(notes ./radon infer radon.fit county.json --set J=1)"

# ---- factors alone: nothing is observed, and nothing is divided by that
cat >factors.pgm <<'M'
model factors {
  latent m ~ normal(0, 1);
  factor normal_lpdf(3 | m, 1);
}
M
compile factors.pgm && ./factors fit --quiet --json --out factors.fit >factors.json && ./factors fit --quiet >factors.txt
near "posterior mean of a factor" "$(get factors.json globals.m.mean)" 1.5 1e-6
near "ELBO per observation of none" "$(get factors.json elbo_per_observation | grep -c null)" 1 0
near "not a number, printed" "$(grep -c nan factors.txt)" 0 0
finish
