#!/bin/bash
# Discrete latent variables. Mixtures and hidden Markov models against coordinate ascent (reference_discrete.c), and the mixture against the one whose
# labels are summed out; variables whose optimum is known; ELBOs against averages of log p - log q over draws; outputs; what is refused.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
for model in "$root"/tests/e2e/discrete/*.pgm; do compile "$model"; done

# averages WHAT ELBO DRAWS.csv: the mean of log p - log q over draws from q is the ELBO, which the kernels of expectations have in closed form
averages() {
  local mean error
  read -r mean error < <(awk -F, '/^[-0-9]/ { d = $2 - $3; n++; a += d; b += d * d } END { a /= n; printf "%.10f %.10f", a, sqrt((b / n - a * a) / n) }' "$3")
  near "$1: average of log p - log q" "$mean" "$2" "$(calc "5 * $error + 1e-9")"
}

# ---- against coordinate ascent
echo '{"N": 300, "K": 3, "p": [0.5, 0.3, 0.2], "mu": [-3, 0, 4]}' >mixture_input.json
echo '{"T": 300, "K": 2, "p": [0.4, 0.6], "A": [[0.9, 0.1], [0.3, 0.7]], "mu": [-1, 2]}' >hmm_input.json
echo '{"T": 8, "K": 2, "p": [0.4, 0.6], "A": [[0.9, 0.1], [0.3, 0.7]], "mu": [-1, 2]}' >hmm_short_input.json
for data in mixture hmm hmm_short; do
  model=${data%_short}
  ./$model simulate ${data}_input.json --seed 4 --out $data.json --quiet || fail "$data: simulate"
  ./$model fit $data.json --method fvi --quiet --json -o $data.fit >$data.fit.json || fail "$data: fit"
  ./$model infer $data.fit $data.json --out $data.csv --quiet || fail "$data: infer"
  { read -r here; read -r ascended; read -r best; } < <("$B/e2e/reference_discrete" $model $data.json $data.fit.json $data.csv)
  elbo=$(get $data.fit.json elbo)
  near "$data: ELBO at the factors" "$elbo" "$here" "$(calc "-1e-8 * $elbo")"
  below "$data: what coordinate ascent still gains" "$(calc "$ascended - $elbo")" 1e-4
  below "$data: what the best of its own starts is ahead" "$(calc "$best - $elbo")" 1e-4
  [ "$(get $data.fit.json converged)" = true ] && pass "$data converged" || fail "$data: $(get $data.fit.json criterion)"
  ./$model sample $data.fit $data.json --draws 4000 --out draws.csv --quiet && averages $data "$elbo" draws.csv
done

# ---- the mixture in other ways
elbo=$(get mixture.fit.json elbo)
./mixture_marginal fit mixture.json --seed 1 --quiet --json >marginal.json || fail "mixture_marginal: fit"
below "F-VI with labels is no better than without" "$elbo" "$(calc "$(get marginal.json elbo) + 3 * $(get marginal.json elbo_se)")"
./mixture_marginal fit mixture.json --seed 1 --quiet -o marginal.fit >marginal.txt
./mixture_marginal infer marginal.fit mixture.json --out marginal.csv --quiet || fail "mixture_marginal: infer"
near "conditional probabilities of labels and their factors" "$(awk -F, 'FNR == 1 { next } NR == FNR { for (k = 2; k <= 4; k++) p[FNR, k] = $k; next }
  { for (k = 2; k <= 4; k++) for (j = 2; j <= 4; j++) both[k, j] += p[FNR, k] * $j } END {
  for (k = 2; k <= 4; k++) { best = 0; for (j = 2; j <= 4; j++) if (both[k, j] > best) best = both[k, j]; sum += best } print sum / (FNR - 1) }' mixture.csv marginal.csv)" \
  "$(awk -F, 'NR > 1 { for (k = 2; k <= 4; k++) s += $k * $k } END { print s / (NR - 1) }' mixture.csv)" 0.01
./mixture_marginal sample marginal.fit mixture.json --draws 2000 --out draws.csv --quiet || fail "mixture_marginal: sample"
near "draws of a label" "$(awk -F, '/^[-0-9]/ { n++; if ($7 == 2) s++ } END { print s / n }' draws.csv)" "$(awk -F, '$1 == 1 { print $3 }' marginal.csv)" 0.05
near "the summed-out labels' ELBO" "$(get marginal.json elbo)" "$elbo" 3
for way in "avi 0.05" "fvi 0.01 --optimizer lbfgs" "fvi 0.5 --batch 100 --init mixture.fit"; do
  read -r method tolerance options <<<"$way"
  ./mixture fit mixture.json --method $method $options --quiet --json -o other.fit >other.json || fail "mixture: fit --method $method $options"
  near "mixture, $method $options: ELBO" "$(get other.json elbo)" "$elbo" "$tolerance"
done
./mixture fit mixture.json --method avi --quiet -o avi.fit >avi.txt
check "probabilities of new observations" ./mixture infer avi.fit mixture.json --out avi.csv --quiet
near "probabilities by the function and by free factors" "$(awk -F, 'NR > 1 { s = $2 * $2 + $3 * $3 + $4 * $4; t += s; n++ } END { print t / n }' avi.csv)" \
  "$(awk -F, 'NR > 1 { s = $2 * $2 + $3 * $3 + $4 * $4; t += s; n++ } END { print t / n }' mixture.csv)" 0.01
check "probabilities sum to one" awk -F, 'NR > 1 && ($2 + $3 + $4 - 1 > 1e-9 || $2 + $3 + $4 - 1 < -1e-9) { exit 1 }' avi.csv
[ "$(head -1 avi.csv)" = "n,c.p.1,c.p.2,c.p.3" ] && pass "infer's columns" || fail "infer's columns: $(head -1 avi.csv)"
./mixture fit mixture.json --method const --quiet --json -o const.fit >const.json || fail "mixture: fit --method const"
./mixture sample const.fit mixture.json --draws 4000 --out draws.csv --quiet && averages "constant VI" "$(get const.json elbo)" draws.csv
below "constant VI is no better than F-VI" "$(get const.json elbo)" "$elbo"
./mixture gap mixture.json --quiet --json >gap.json || fail "mixture: gap"
near "gap: F-VI" "$(get gap.json elbo.fvi)" "$elbo" 0.01
below "gap: the log evidence is above" "$elbo" "$(get gap.json evidence.value)"

# ---- known optima
n=(3 5 10 2) y=(1.2 0.4 4.5 2.0)
echo '{"I": 4, "n": [3, 5, 10, 2], "y": [1.2, 0.4, 4.5, 2.0]}' >counts.json
evidence=0
for i in 0 1 2 3; do
  evidence=$(awk -v e="$evidence" -v n="${n[i]}" -v y="${y[i]}" 'BEGIN { c = 1; for (k = 0; k <= n; k++) { s += c * 0.3^k * 0.7^(n - k) * exp(-0.5 * (y - k)^2); c *= (n - k) / (k + 1) }
    printf "%.12f", e + log(s) - 0.918938533204673 }')
done
./counts fit counts.json --method fvi --quiet --json -o counts.fit >counts.fit.json || fail "counts: fit"
near "independent counts: the ELBO is the log evidence" "$(get counts.fit.json elbo)" "$evidence" 1e-8
./counts infer counts.fit counts.json --out counts.csv --quiet
near "a value beyond the greatest has probability 0" "$(awk -F, 'NR == 5 { for (i = 5; i <= 12; i++) s += $i; print s }' counts.csv)" 0 0
echo '{"N": 2, "M": 2, "a": [1, 1], "b": [2, 1]}' >spins.json
./spins fit spins.json --method fvi --quiet --json -o spins.fit >spins.fit.json || fail "spins: fit"
near "two mentions of one spin" "$(get spins.fit.json elbo)" 0.45 1e-8
echo '{"N": 10, "y": [0, 0, 0, 0, 3, 2, 5, 0, 1, 4]}' >inflated.json
./inflated fit inflated.json --method fvi --quiet --json -o inflated.fit >inflated.fit.json || fail "inflated: fit"
./inflated infer inflated.fit inflated.json --out inflated.csv --quiet
below "what the data rule out has no probability" "$(awk -F, '$1 == 5 { printf "%.3g", $2 }' inflated.csv)" 1e-200
./inflated fit inflated.json --method avi --quiet --json -o inflated_avi.fit >inflated_avi.json || fail "inflated: fit --method avi"
./inflated infer inflated_avi.fit inflated.json --out inflated_avi.csv --quiet || fail "inflated: infer by the function"
near "... by the function neither" "$(awk -F, '$1 >= 5 && $1 != 8 { s += $2 } END { print s }' inflated_avi.csv)" 0 0
below "... what they leave open has" "$(awk -F, '$1 == 8 { print $3 }' inflated_avi.csv)" 0.5
./inflated sample inflated_avi.fit inflated.json --draws 4000 --out draws.csv --quiet && averages "inflated, A-VI" "$(get inflated_avi.json elbo)" draws.csv
for model in inflated spins counts; do
  ./$model sample $model.fit $model.json --draws 4000 --out draws.csv --quiet && averages $model "$(get $model.fit.json elbo)" draws.csv
done
./nested simulate --set N=30 --seed 2 --out nested.json --quiet || fail "nested: simulate"
./nested fit nested.json --quiet --json -o nested.fit >nested.fit.json || fail "nested: fit"
./nested sample nested.fit nested.json --draws 4000 --out draws.csv --quiet && averages nested "$(get nested.fit.json elbo)" draws.csv
check "nested: gradient at the values of a file" ./nested grad nested.json --at nested.json --check --quiet
near "values in draws" "$(awk -F, '/^[-0-9]/ { for (i = 4; i <= 5; i++) if ($i != int($i) || $i < 0 || $i > 3) bad++ } END { print bad + 0 }' draws.csv)" 0 0

# ---- a rate that one value of a label switches off, written as 1 less the label
cat >absent.pgm <<'PGM'
model absent {
  latent a ~ normal(0, 2);
  plate n in 1..2 {
    marginal latent absent[n] ~ bernoulli(0.3);
    observed y[n] : int ~ poisson((1 - absent[n]) * exp(a));
  }
}
PGM
compile absent.pgm
echo '{"y": [0, 3]}' >absent.json
echo '{"a": 1}' >at.json
./absent grad absent.json --at at.json --check --quiet >absent.grad || fail "absent: grad"
near "a rate switched off" "$(get absent.grad log_joint)" \
  "$(awk 'BEGIN { r = exp(1); printf "%.12f", log(.3 + .7 * exp(-r)) + log(.7 * exp(-r) * r ^ 3 / 6) - 1 / 8 - log(2) - 0.918938533204673 }')" 1e-9

# ---- refused
refuse 2 "--expectation fixed-draws draws every variable, but c is discrete: its sums are exact, draws of it have no gradient" \
  ./mixture fit mixture.json --expectation fixed-draws --quiet
echo '{"mu": [-3, 0, 4], "c": 9}' >outside.json
refuse 1 "outside.json: c: has one number, where the model wants 300" ./mixture grad mixture.json --at outside.json
echo '{"s": [0, 2]}' >outside.json
refuse 1 "outside.json: s: is outside its support" ./spins grad spins.json --at outside.json
cat >longer.pgm <<'PGM'
model longer {
  input K : int;  input J : int;
  input p : simplex[J];
  latent c : int<lower=1, upper=K> ~ categorical(p);
  observed x ~ normal(c, 1);
}
PGM
compile longer.pgm
echo '{"K": 4, "J": 2, "p": [0.5, 0.5], "x": 1}' >longer.json
refuse 1 "longer.pgm:4:3: lengths that must be equal differ: K is 4, J is 2" ./longer fit longer.json --quiet
echo '{"I": 1, "n": [20000], "y": [3]}' >many.json
refuse 1 "counts.pgm:6: k has 20001 values; a discrete latent variable may have 10000" ./counts fit many.json --quiet
cat >sums.pgm <<'PGM'
model sums {
  input N : int;
  input K : int<lower=3>;
  input w : vector[K];
  plate k in 1..K { latent z[k] ~ bernoulli(0.5); }
  latent big : int<lower=0, upper=200000> ~ poisson(3);
  plate n in 1..N {
    latent c[n] : int<lower=1, upper=3> ~ categorical([0.2, 0.3, 0.5]);
    latent m[n] ~ binomial(c[n], 0.5);
    observed x[n] ~ normal(sum(k in 1..K: z[k] * w[k]), 1);
    observed y[n] ~ normal(sum(z[1..3]) + m[n], 1);
    observed u[n] ~ normal(big, 1);
  }
  plate n in 6..N { observed v[n] ~ normal(c[n] + c[n-1] + c[n-2] + c[n-3] + c[n-4], 1); }
}
PGM
for text in \
  "9:28: error: a bound that depends on a discrete latent variable is not supported by code generation yet" \
  "10:43: error: the elements of 'z' in this sum have too many joint values to be summed over" \
  "11:32: error: a slice of 'z' has too many joint values to be summed over" \
  "12:5: error: this sums over 200001 values of discrete latent variables; at most 100000 are supported" \
  "14:21: error: this mentions more than 4 discrete latent elements; the sum over their joint values is not supported by code generation"; do
  refuse 1 "sums.pgm:$text" "$PGMC" sums.pgm -o sums
done
# ---- a label and what it decides, unit by unit: every start leaves some units with the wrong label, and each of them is to find its own ---------------------
cat >decides.pgm <<'PGM'
model decides {
  input N : int;
  latent b ~ normal(0, 1);
  plate n in 1..N {
    latent k[n] : int<lower=1, upper=2> ~ categorical([0.3, 0.7]);
    latent z[n] ~ normal(3 * k[n] - 4 + b, 0.5);
    observed x[n] ~ poisson_log(z[n]);
  }
}
PGM
compile decides.pgm
./decides simulate --set N=300 --seed 1 --out decides.json --quiet
check "functions choose labels by the data" ./decides fit decides.json --method avi --seed 1 --out by_function.fit --quiet
./decides fit decides.json --method fvi --init by_function.fit --json --quiet >from_function.json
for seed in 1 2 3; do
  ./decides fit decides.json --method fvi --seed $seed --json --quiet >decides.$seed.json
  near "F-VI by itself, seed $seed" "$(get decides.$seed.json elbo)" "$(get from_function.json elbo)" 0.5 # counts that both labels explain may take either, all together
done
./decides fit decides.json --method fvi --one-start --json --quiet >decides.one.json
below "F-VI from one start" "$(get decides.one.json elbo)" "$(calc "$(get from_function.json elbo) - 20")"

finish
