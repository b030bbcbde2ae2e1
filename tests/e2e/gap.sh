#!/bin/bash
# `gap`: numbers against closed forms (linear, saw; a chain by a Kalman filter; the Nile by a grid of them), keys of the JSON, windows, lists of
# functions and of inputs, seeds, test data, per-observation CSV, the HTML report, contradictions.
source "$(dirname "$0")/lib.sh"
for m in linear saw nile; do compile "$root/examples/$m/$m.pgm" || finish; done
cd "$work" || exit 3
cat >chain.pgm <<'MODEL'
model chain {
  input T : int;
  input q = 0.7;
  input r = 1.3;
  latent z[1] ~ normal(0, 10);
  plate t in 2..T { latent   z[t] ~ normal(z[t-1], q); }
  plate t in 1..T { observed x[t] ~ normal(z[t], r); }
}
MODEL
compile chain.pgm || finish
./linear simulate --set N=200 --seed 1 --out linear.json --quiet || exit 3
./linear simulate --set N=50 --seed 2 --out other.json --quiet || exit 3
./saw simulate --set N=1000 --set theta=3.4 --seed 2 --out saw.json --quiet || exit 3
./chain simulate --set T=60 --seed 3 --out chain.json --quiet || exit 3
gap() { ./"$1" gap "${@:3}" --quiet --json >"$2" 2>gap.err || { fail "gap ${*:1}"; cat gap.err; }; }

# the linear model: x ~ N(0, v I + 100^2 1 1')
gap linear linear.out linear.json --degree '0; 1' --test other.json --per-observation units.csv --out kept.json
near "linear: evidence" "$(get linear.out evidence.value)" "$(get linear.json x | awk -v v="$(calc '1.155^2 + 2.43^2')" '
  { n++; s += $1; q += $1 * $1 } END { w = v + n * 10000; pi = atan2(0, -1)
  printf "%.12f", -0.5 * (n * log(2 * pi) + (n - 1) * log(v) + log(w) + q / v - s * s * 10000 / (v * w)) }')" 1e-6
[ "$(get linear.out evidence.kind)" = exact ] && pass "linear: exact" || fail "linear: exact"
near "linear: amortisation" "$(get linear.out gaps.amortisation)" 0 1e-3
below "linear: constant factors lose" "$(calc "- $(get linear.out gaps.constant)")" -5
near "linear: parts of the amortisation gap" "$(calc "$(get linear.out gaps.capacity) + $(get linear.out gaps.optimisation)")" "$(get linear.out gaps.amortisation)" 1e-9
near "linear: degree 0 is constant" "$(get linear.out architectures.0.amortisation)" "$(get linear.out gaps.constant)" 1e-3
near "linear: amortisation on test data" "$(get linear.out test.gaps.amortisation)" 0 1e-3
[ "$(get linear.out test.observations)" = 50 ] && pass "linear: test data" || fail "linear: test data"
[ "$(get linear.out agrees_with_verdict)" = true ] && pass "linear: agrees" || fail "linear: agrees"
cmp -s linear.out kept.json && pass "--out is what --json prints" || fail "--out is what --json prints"
near "linear: rows of the CSV" "$(tail -n +2 units.csv | wc -l)" 200 0
near "linear: its amortisation gaps add up" "$(awk -F, 'NR > 1 { s += $6 } END { printf "%.12f", s }' units.csv)" "$(get linear.out gaps.amortisation)" 1e-3
for key in model verdict elbo.const elbo.fvi elbo.avi_full elbo.avi se.fvi runs.fvi.0.seed runs.avi.0.seconds runs.const.0.converged runs.avi_full.0.elbo \
  evidence.khat test gaps.approximation gaps.conditioning gaps_se.amortisation per_observation.approximation windows agrees_with_verdict message; do
  get linear.out $key >/dev/null || fail "key $key"
done
pass "keys"

echo '{"x": [3.5, 4, 5.25]}' >named.json
gap linear named.out linear.json --degree 1 --test x=named.json
near "linear: test data by name" "$(get named.out test.observations)" 3 0

# saw: one input where two are called for
gap saw saw.out saw.json --inputs 'z=x[n]' --seeds 2
below "saw: conditioning gap" "$(calc "- $(get saw.out gaps.conditioning)")" -100
near "saw: amortisation gap" "$(get saw.out gaps.amortisation)" 0 1
near "saw: seeds" "$(get saw.out runs.avi.1.seed)" 2 0
near "saw: gaps add up" "$(calc "$(get saw.out gaps.approximation) + $(get saw.out gaps.amortisation) + $(get saw.out gaps.conditioning)")" \
  "$(calc "$(get saw.out evidence.value) - $(get saw.out elbo.avi)")" 1e-6
gap saw saw.line.out saw.json --inputs 'z=x[n]' --degree 1 # a line converges whatever the rounding; a network of one input learns the noise by heart, slowly
get saw.line.out message | grep -q 'a conditioning gap' && pass "saw: message" || fail "saw: message"

# a chain: evidence by a Kalman filter, F-VI from its precision matrix
gap chain chain.out chain.json --window 0..3 --degree 1
near "chain: evidence" "$(get chain.out evidence.value)" "$(get chain.json x | awk '
  BEGIN { m = 0; p = 100; pi = atan2(0, -1) }
  { f = p + 1.69; e = $1 - m; l -= 0.5 * (log(2 * pi * f) + e * e / f); m += p / f * e; p = p - p * p / f + 0.49 } END { printf "%.12f", l }')" 1e-6
for w in 1 2 3; do
  below "chain: window $w is better than $((w - 1))" "$(get chain.out windows.$w.amortisation)" "$(get chain.out windows.$((w - 1)).amortisation)"
done
below "chain: and still open" "$(calc "- $(get chain.out windows.3.amortisation)")" -1e-3
[ "$(get chain.out agrees_with_verdict)" = true ] && pass "chain: agrees" || fail "chain: agrees"

# a wider window chosen than any of the table stands for the full domain; so does the best window where missing values make wider functions smaller
gap chain wide.out chain.json --window 4 --window 0..2 --degree 1
near "chain: nothing is lost against the widest window tried" "$(get wide.out gaps.conditioning)" 0 0
get wide.out inputs.full | grep -q 'x\[t+4\]' && pass "chain: the window chosen stands for the full domain" || fail "chain: the window chosen stands for the full domain"
gap chain long.out chain.json --window 58..70 --degree 0
near "chain: no window wider than the data" "$(get long.out windows.1.w)" 59 0
get long.out windows.2.w >/dev/null 2>&1 && fail "chain: and none after it" || pass "chain: and none after it"
./chain simulate --set T=300 --seed 4 --out holes.json --quiet || exit 3
get holes.json x | awk 'BEGIN { printf "{\"x\": [" } { printf("%s%s", (NR > 1 ? ", " : ""), (NR * 7 % 10 < 2 ? "null" : $1)) } END { print "]}" }' >holes_.json
gap chain holes.out holes_.json --inputs 'z=x[t-1],x[t]' --window 0..4 --degree 1
near "holes: the best window stands for the full domain" "$(get holes.out inputs.window_for_full)" 3 0
[ "$(get holes.out windows.4.falls)$(get holes.out windows.3.falls)" = truefalse ] && get holes.out advice | grep -q '^Windows that fall: 4' && pass "holes: a row that falls is named" || fail "holes: a row that falls is named"
below "holes: conditioning is no gain" "$(calc "- $(get holes.out gaps.conditioning)")" -1
[ "$(get holes.out half_width)" = null ] && pass "holes: nothing is extrapolated" || fail "holes: nothing is extrapolated"

# the Nile: evidence by a grid over both sds, the level integrated out by a Kalman filter at each
gap nile nile.out "$root/examples/nile/nile.json" --window 0..3 --html nile.html
near "nile: evidence" "$(get nile.out evidence.value)" "$(get "$root/examples/nile/nile.json" flow | awk '
  { x[NR] = $1 }
  END { pi = atan2(0, -1); h = 0.1
    for (a = -1; a <= 6; a += h) for (b = 3.5; b <= 6; b += h / 2) {
      q = exp(2 * a); r = exp(2 * b); m = 1000; p = 90000
      l = 640 - 0.5 * ((a - 3) ^ 2 + (b - 5) ^ 2) - log(2 * pi)
      for (i = 1; i <= NR; i++) { f = p + r; e = x[i] - m; l -= 0.5 * (log(2 * pi * f) + e * e / f); m += p / f * e; p = p - p * p / f + q }
      sum += exp(l) * h * h / 2
    }
    printf "%.6f", log(sum) - 640 }')" 0.15
[ "$(get nile.out evidence.kind)" = psis ] && pass "nile: by importance sampling" || fail "nile: by importance sampling"
for w in 1 2 3; do # training stops at 0.01 nat
  below "nile: window $w is no worse than $((w - 1))" "$(get nile.out windows.$w.amortisation)" "$(calc "$(get nile.out windows.$((w - 1)).amortisation) + 0.01")"
done
near "nile: the widest stands for all" "$(get nile.out inputs.window_for_full)" 3 0

# several sets of inputs; times of convergence; evidence on test data
./saw simulate --set N=300 --set theta=3.4 --seed 5 --out saw_test.json --quiet || exit 3
gap saw sets.out saw.json --inputs 'z=x[n]; z=x[n-1]; z = x[n], x[n-1]' --degree 1 --test saw_test.json --html saw.html --seeds 2
below "saw: x[n] alone is short" "$(calc "- $(get sets.out alternatives.0.amortisation)")" -100
below "saw: x[n-1] alone is short" "$(calc "- $(get sets.out alternatives.1.amortisation)")" -100
near "saw: both are enough" "$(get sets.out alternatives.2.amortisation)" 0 1e-3
near "saw: and on test data" "$(get sets.out test.alternatives.2.amortisation)" 0 1e-3
[ "$(get sets.out gaps.conditioning)" = 0 ] && get sets.out message | grep -qv 'the inputs chosen' && pass "saw: inputs in another order are the same" || fail "saw: inputs in another order are the same"
near "saw: runs of each set" "$(get sets.out alternatives.0.runs.1.seed)" 2 0
[ "$(get sets.out alternatives.0.runs.0.to_1_nat)" = null ] && pass "saw: never within a nat" || fail "saw: never within a nat"
below "saw: F-VI is there in a few iterations" "$(get sets.out runs.fvi.0.to_1_nat.iterations)" 20
[ "$(get sets.out test.evidence.given_globals)" = true ] && pass "saw: evidence on test data" || fail "saw: evidence on test data"
below "saw: no ELBO above it" "$(calc "- $(get sets.out test.gaps.approximation)")" 1e-6
get sets.out advice | grep -q '^Amortise: a function of x\[n-1\], x\[n\]' && pass "saw: advice" || fail "saw: advice"

# the report: every element closed, nothing from elsewhere, no number that is none
for page in nile saw; do
  grep -o '</\?[a-z0-9]*[^>]*>' $page.html | awk '
    /^<!|^<meta|\/>$/ { next }
    /^<\// { gsub(/[<\/>]/, ""); if (stack[depth--] != $0) { print "closing " $0; bad = 1; exit } next }
    { sub(/^</, ""); sub(/[ >].*/, ""); stack[++depth] = $0 }
    END { exit bad || depth != 0 }' && pass "$page.html: well-formed" || fail "$page.html: well-formed"
  if grep -qiE '<script|<link|<img|<iframe|@import|url\(http|href=|src=|>-?(nan|inf)|"-?(nan|inf)' $page.html; then fail "$page.html: self-contained"; else pass "$page.html: self-contained"; fi
  [ "$(grep -c '<svg' $page.html)" -ge 8 ] && grep -q 'prefers-color-scheme:dark' $page.html && grep -q '@media print' $page.html && pass "$page.html: pictures" || fail "$page.html: pictures"
done
for head in 'What to do' 'The model and its verdict' 'The gaps' 'Sets of inputs' 'How the fits went' 'How long they took' 'Which units suffer' 'On data that were not fitted'; do
  grep -q "$head" saw.html || fail "saw.html: $head"
done
pass "saw.html: sections"
grep -q 'Input windows' nile.html && grep -q 'class="edge other marked"\|class="edge marked other"' nile.html && pass "nile.html: windows and witness" || fail "nile.html: windows and witness"

# crossed effects: on one data set a function of the row suffices, as the verdict says; on another it does not; with the columns pinned it is promised
cat >grid.pgm <<'MODEL'
model grid {
  input I : int;
  input J : int;
  plate i in 1..I { latent r[i] ~ normal(0, 1); }
  plate j in 1..J { latent c[j] ~ normal(0, 1); }
  plate i in 1..I { plate j in 1..J { observed y[i,j] ~ normal(r[i] + c[j], 0.5); } }
}
MODEL
compile grid.pgm || finish
./grid simulate --set I=100 --set J=8 --seed 1 --out grid.json --quiet || exit 3
./grid simulate --set I=100 --set J=8 --seed 2 --out other_grid.json --quiet || exit 3
gap grid grid.out grid.json --inputs 'r=y[i,1..J]' --degree 1 --test other_grid.json
near "crossed: nothing is left" "$(get grid.out gaps.amortisation)" 0 1e-6
[ "$(get grid.out agrees_with_verdict)" = true ] && get grid.out message | grep -q 'y\[i,1..J\]' && pass "crossed: as this_data says" || fail "crossed: as this_data says"
get grid.out advice | grep -q '^Not on other data' && pass "crossed: not on other data" || fail "crossed: not on other data"
./grid fit grid.json --method avi --inputs 'r=y[i,1..J]' --degree 1 --out grid.fit --quiet >/dev/null || fail "crossed: fit"
./grid fit other_grid.json --method fvi --quiet --json >grid_free.out || fail "crossed: fit"
near "crossed: F-VI on test data" "$(get grid.out test.elbo.fvi)" "$(get grid_free.out elbo)" 1e-6
# r's factors are those of the function; c's best for them: a mean of residuals each, shrunk
near "crossed: free factors fitted to the test data" "$(./grid infer grid.fit other_grid.json --latent r --quiet | awk -F, -v y="$(get other_grid.json y)" '
  NR > 1 { r[NR - 1] = $2; s[NR - 1] = $3 }
  END {
    n = split(y, x, /[^-0-9.e]+/); for (k = 1; k <= n; k++) if (x[k] != "") v[m++] = x[k]
    I = 100; J = 8; p = 1 + I / 0.25; pi = atan2(0, -1)
    for (j = 0; j < J; j++) {
      c = 0
      for (i = 1; i <= I; i++) c += (v[(i - 1) * J + j] - r[i]) / 0.25 / p
      e += -0.5 * (c * c + 1 / p) + 0.5 - 0.5 * log(p)
      for (i = 1; i <= I; i++) e -= 0.5 * log(2 * pi * 0.25) + 0.5 * ((v[(i - 1) * J + j] - r[i] - c) ^ 2 + s[i] ^ 2 + 1 / p) / 0.25
    }
    for (i = 1; i <= I; i++) e += -0.5 * (r[i] ^ 2 + s[i] ^ 2) + 0.5 + log(s[i])
    printf "%.6f", e }')" "$(get grid.out test.elbo.avi)" 1e-3
gap grid pin.out grid.json --pin c --degree 1
near "--pin: closes" "$(get pin.out gaps.amortisation)" 0 1e-6
[ "$(get pin.out agrees_with_verdict)" = true ] && get pin.out message | grep -q 'of --pin' && pass "--pin: promised" || fail "--pin: promised"
get pin.out inputs.full | grep -q '^r from entries c\[1..J\]' && pass "--pin: inputs" || fail "--pin: inputs"

# Poisson counts with exponential rates are geometric: log p = -(x + 1) log 2 each; the local variable is bounded, and there is no global
cat >counts.pgm <<'MODEL'
model counts {
  input N : int;
  plate n in 1..N {
    latent   z[n] : real<lower=0> ~ exponential(1);
    observed x[n] ~ poisson(z[n]);
  }
}
MODEL
compile counts.pgm || finish
echo '{"x": [0, 3, 1, 0, 12, 2, 1, 0, 40, 5]}' >counts.json
gap counts counts.out counts.json --per-observation counts.csv
near "counts: evidence" "$(get counts.out evidence.value)" "$(calc '-(64 + 10) * log(2)')" 1e-6
near "counts: units add up to the ELBO" "$(awk -F, 'NR > 1 { s += $3 } END { printf "%.12f", s }' counts.csv)" "$(get counts.out elbo.fvi)" 1e-6

# the model kept; what did not converge; contradictions
./linear fit linear.json --method fvi --out fvi.fit --quiet >/dev/null || fail "fit"
gap linear fixed.out linear.json --degree 1 --fix fvi.fit
near "--fix: F-VI stays" "$(get fixed.out elbo.fvi)" "$(get linear.out elbo.fvi)" 1e-4
gap saw short.out saw.json --max-iter 1
[ "$(get short.out agrees_with_verdict)" = null ] && pass "not converged: no comparison" || fail "not converged: no comparison"
get short.out not_converged | grep -q 'A-VI' && pass "not converged: named" || fail "not converged: named"
gap chain seeds.out chain.json --degree 1 --window 0..40 --seeds 2 --max-iter 1
[ "$(get seeds.out not_converged | cut -d ';' -f 1)" = 'F-VI (2 of 2 seeds)' ] && pass "not converged: how many seeds" || fail "not converged: how many seeds"
get seeds.out not_converged | grep -q 'A-VI, window 40 (2 of 2 seeds)' && pass "not converged: none is left out" || fail "not converged: none is left out"
get seeds.out message | grep -q ' seeds); \.\.\.$' && pass "not converged: a sentence is cut after a name" || fail "not converged: a sentence is cut after a name"
gap nile short_test.out "$root/examples/nile/nile.json" --test "$root/examples/nile/nile.json" --degree 1 --window 0..1 --max-iter 1
get short_test.out test.not_converged | grep -q 'F-VI on the test data' && pass "not converged: on test data" || fail "not converged: on test data"
./saw gap saw.json --max-iter 1 --quiet --html short.html >short.txt 2>/dev/null || fail "not converged: status"
grep -q '^  amortisation .*NOT converged' short.txt && grep -q '(not converged)' short.html && pass "not converged: said beside the gap" || fail "not converged: said beside the gap"

# data that cannot tell: all missing, one observation, fewer than a function holds by heart
echo '{"x": [null, null, null]}' >missing.json
gap linear missing.out missing.json
[ "$(get missing.out agrees_with_verdict)" = null ] && get missing.out message | grep -q 'no observation' && pass "all missing: said" || fail "all missing: said"
[ "$(get missing.out per_observation.amortisation)" = null ] && pass "all missing: nothing per observation" || fail "all missing: nothing per observation"
./linear gap missing.json --quiet 2>&1 | grep -q nan && fail "all missing: no nan" || pass "all missing: no nan"
cat >repeats.pgm <<'MODEL'
model repeats {
  input I : int;
  input J : int;
  plate i in 1..I { latent u[i] ~ normal(0, 1); plate j in 1..J { observed y[i,j] ~ normal(u[i], 1); } }
}
MODEL
compile repeats.pgm || finish
echo '{"y": [[null, null], [null, null]]}' >holes.json
gap repeats repeats.out holes.json
get repeats.out message | grep -q 'no observation' && pass "all missing: sets that have no member" || fail "all missing: sets that have no member"
get repeats.out advice | grep -q 'nothing that can be seen against the posterior' && fail "all missing: no advice but other data" || pass "all missing: no advice but other data"
echo '{"x": [1.5]}' >one.json
gap linear one.out one.json
[ "$(get one.out agrees_with_verdict)" = null ] && pass "one observation: no comparison" || fail "one observation: no comparison"
get one.out advice | grep -q 'by heart' && pass "one observation: memorised" || fail "one observation: memorised"
echo '{"flow": [1100, 1000, 900]}' >three.json
gap nile three.out three.json
[ "$(get three.out agrees_with_verdict)" = null ] && get three.out message | grep -q 'too few observations' && pass "three years: too few" || fail "three years: too few"
gap nile three_tested.out three.json --test "$root/examples/nile/nile.json"
get three_tested.out message | grep -q 'on the test data' && pass "three years: what the test data show" || fail "three years: what the test data show"

# test data that cannot tell, or tell what the data do not; what a small class or the reader of nothing says
gap linear same.out linear.json --degree 1 --test linear.json
[ "$(get same.out test.fitted)" = true ] && get same.out advice | grep -q 'are the data that were fitted' && pass "test data: the same" || fail "test data: the same"
echo '{"x": []}' >none.json
./counts gap counts.json --degree 1 --test none.json --quiet >/dev/null 2>none.err
[ $? = 1 ] && grep -q '^none.json: the data have no units' none.err && pass "test data: no units" || fail "test data: no units"
# ... which the functions cannot read: refused before any fit (these would take minutes), and no file is written
./grid simulate --set I=3000 --set J=8 --seed 3 --out wide.json --quiet || exit 3
./grid simulate --set I=100 --set J=7 --seed 3 --out narrow.json --quiet || exit 3
for inputs in 'r=y[i,1..J]' 'r=y[i,1..J]; r=y[i,1]'; do
  refuse 1 "narrow.json: the inference function of r is for 8 input entries, these data have 7" \
    timeout 10 ./grid gap wide.json --seeds 1000 --inputs "$inputs" --test narrow.json --quiet --out unsuited.json --html unsuited.html --per-observation unsuited.csv
done
refuse 1 "none.json: the data have no units: no local latent variable has an element" timeout 10 ./counts gap counts.json --seeds 1000 --test none.json --quiet --out unsuited.json
ls unsuited.* >/dev/null 2>&1 && fail "test data that do not suit: files" || pass "test data that do not suit: no files"
gap counts units.out none.json
get units.out message | grep -q 'the data have no units' && pass "no units: said" || fail "no units: said"
gap linear constant.out linear.json --degree 0 --inputs 'z=x[1]'
[ "$(get constant.out agrees_with_verdict)" = null ] && get constant.out message | grep -q 'a function of degree 0 reads none' && pass "degree 0: no comparison" || fail "degree 0: no comparison"
gap grid plain.out grid.json
get plain.out advice | grep -q -- '--pin c closes the gap of r' && pass "crossed: --pin is named" || fail "crossed: --pin is named"
# neither units nor globals: all coordinates are drawn, on test data too
cat >answers.pgm <<'MODEL'
model answers {
  input I : int;
  input J : int;
  plate i in 1..I { latent r[i] ~ normal(0, 1); }
  plate j in 1..J { latent c[j] ~ normal(0, 1); }
  plate i in 1..I { plate j in 1..J { observed y[i,j] : int ~ bernoulli_logit(r[i] - c[j]); } }
}
MODEL
compile answers.pgm || finish
./answers simulate --set I=20 --set J=5 --seed 1 --out answers.json --quiet || exit 3
gap answers answers.out answers.json --test answers.json
near "crossed answers: the evidence of test data" "$(get answers.out test.evidence.value)" "$(get answers.out evidence.value)" 0.05
refuse 2 "" ./saw gap saw.json --degree 1 --hidden 4
refuse 2 "" ./saw gap saw.json --hidden '4; x'
refuse 2 "" ./saw gap saw.json --window 3..1
refuse 2 "" ./saw gap saw.json --inputs 'z=x[n]; x[n-1]'
refuse 3 "" ./saw gap saw.json --html no/such/directory/page.html
refuse 2 "" ./saw gap saw.json --window y=0..1
refuse 1 "" ./saw gap saw.json --fix saw.json
refuse 3 "" ./saw gap absent.json
finish
