#!/bin/bash
# `gap --per-observation`: the rows add up to the ELBO, whatever the latent variables are (scalars, tables of discrete ones, simplexes), one unit is a
# row, and what is in no row is told. Inputs as `fit` spells them. Outputs that would replace what is read.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
cat >labels.pgm <<'MODEL'
model labels {
  input N : int;
  input mu : vector[2];
  plate n in 1..N {
    latent c[n] : int<lower=1, upper=2> ~ categorical([0.3, 0.7]);
    observed x[n] ~ normal(mu[c[n]], 1);
  }
}
MODEL
cat >shares.pgm <<'MODEL'
model shares {
  input N : int;
  plate n in 1..N {
    latent p[n] : simplex[3] ~ dirichlet([2, 3, 4]);
    observed k[n] : int ~ categorical(p[n]);
  }
}
MODEL
cat >groups.pgm <<'MODEL'
model groups {
  input N : int;
  input J : int;
  plate j in 1..J { latent a[j] ~ normal(0, 1); }
  plate i in 1..N { input g[i] : int<lower=1, upper=J>; observed y[i] ~ normal(a[g[i]], 1); }
}
MODEL
for m in labels shares groups; do compile $m.pgm || finish; done
echo '{"N": 6, "mu": [-1, 2], "x": [-2, -0.5, 0.4, 0.6, 1.5, 3]}' >labels.json
echo '{"N": 4, "k": [1, 2, 3, 3]}' >shares.json
echo '{"N": 6, "J": 2, "g": [1, 1, 2, 2, 2, 2], "y": [0.5, 1.5, -1, 0.2, 0.4, 0.1]}' >groups.json
gap() { ./"$1" gap "$1.json" --quiet --json --per-observation "$1.csv" "${@:2}" >"$1.out" 2>gap.err || { fail "gap $*"; cat gap.err; }; }
sum() { awk -F, -v c="$2" 'NR > 1 { s += $c } END { printf "%.12f", s }' "$1.csv"; }

gap labels
near "labels: rows add up to the ELBO of F-VI" "$(sum labels 3)" "$(get labels.out elbo.fvi)" 1e-6
gap shares
near "simplexes: rows add up to the ELBO of F-VI" "$(sum shares 3)" "$(get shares.out elbo.fvi)" 0.05
near "labels: nothing is sampled" "$(sum labels 8)" 0 0
gap shares --inputs 'p='
near "simplexes: errors of the rows are those of the total" "$(awk -F, 'NR > 1 { s += $9 ^ 2 } END { print sqrt(s) }' shares.csv)" \
  "$(get shares.out gaps_se.conditioning)" "$(calc "0.6 * $(get shares.out gaps_se.conditioning)")"
near "simplexes: the error per observation" "$(calc "4 * $(get shares.out per_observation_se.conditioning)")" "$(get shares.out gaps_se.conditioning)" 1e-9
./shares gap shares.json --quiet --inputs 'p=' --hidden '2; 4' --html shares.html >shares.txt || fail "gap shares: text"
grep -Eq '^  conditioning .* \+- [0-9.e-]+ .* \+- [0-9.e-]+ ' shares.txt && pass "text: errors, in total and per observation" || fail "text: errors, in total and per observation"
grep -Eq '^  mlp .* \+- [0-9.e-]+ *$' shares.txt && pass "text: errors of the functions" || fail "text: errors of the functions"
grep -q '; standard errors of up to ' shares.html && pass "html: errors of the units" || fail "html: errors of the units"
echo '{"N": 1, "mu": [-1, 2], "x": [0.4]}' >labels.json
gap labels
near "one unit, one row" "$(sum labels 3)" "$(get labels.out elbo.fvi)" 1e-6
./groups gap groups.json --inputs 'a=' --per-observation groups.csv >groups.txt 2>groups.err || fail "gap groups"
grep -q "^groups gap: note: groups.csv: the rows are the units of 'i'; of the amortisation gap " groups.err && pass "what is in no row" || { fail "what is in no row"; cat groups.err; }

echo '{"N": 0, "mu": [-1, 2], "x": []}' >none.json
refuse 1 "--per-observation: the data leave no element in any plate of the model" ./labels gap none.json --per-observation none.csv --out none.out --quiet
ls none.csv none.out >/dev/null 2>&1 && fail "no units: nothing is written" || pass "no units: nothing is written"

check "inputs with words in them" ./groups gap groups.json --quiet --inputs ' a = set y[i | g[i] = j] ' --max-iter 2
cp groups.json kept.json
refuse 2 "groups gap: --html groups.json: this file is read, and would be replaced" ./groups gap groups.json --html groups.json --quiet
refuse 2 "groups gap: --out other.json: this file is read, and would be replaced" ./groups gap groups.json --test x=other.json --out other.json
refuse 2 "groups gap: --out and --html both write page" ./groups gap groups.json --out page --html page
ln -s groups.json link.json
refuse 2 "groups fit: --out link.json: this file is read, and would be replaced" ./groups fit groups.json --out link.json
cmp -s groups.json kept.json && pass "the data are as they were" || fail "the data are as they were"
check "a fit in place of its checkpoint" ./groups fit groups.json --out a.fit --checkpoint a.fit --quiet
finish
