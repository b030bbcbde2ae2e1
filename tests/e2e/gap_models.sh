#!/bin/bash
# `gap` on models of other kinds: data that only factors weigh, test data and whose globals, persons and items, inputs that differ in the middle of a long list, restarts of F-VI;
# options that would hide each other; files that may not grow.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
cat >seen.pgm <<'MODEL'
model seen {
  input N : int;
  latent m ~ normal(0, 2);
  latent s ~ lognormal(0, 0.5);
  plate n in 1..N { latent z[n] ~ normal(m, s); observed y[n] ~ normal(z[n], 0.5); }
}
MODEL
cat >weighed.pgm <<'MODEL'
model weighed {
  input N : int;
  latent m ~ normal(0, 2);
  latent s ~ lognormal(0, 0.5);
  plate n in 1..N { input y[n]; latent z[n] ~ normal(m, s); factor normal_lpdf(y[n] | z[n], 0.5); }
}
MODEL
cat >items.pgm <<'MODEL'
model items {
  input N : int;
  input J : int;
  plate j in 1..J { global latent b[j] ~ normal(0, 2); }
  plate n in 1..N {
    latent a[n] ~ normal(0, 1);
    plate j in 1..J { observed y[n,j] ~ normal(a[n] - b[j], 1); }
  }
}
MODEL
cat >chain.pgm <<'MODEL'
model chain {
  input T : int;
  latent z[1] ~ normal(0, 1);
  plate t in 2..T { latent z[t] ~ normal(0.8 * z[t-1], 0.6); }
  plate t in 1..T { observed x[t] ~ normal(z[t], 0.8); }
}
MODEL
for m in seen weighed items chain; do compile $m.pgm || finish; done
gap() { ./"$1" gap "${@:3}" --quiet --json >"$2" 2>gap.err || { fail "gap ${*:1}"; cat gap.err; }; }

# data that are inputs of a factor count as data do: the same numbers as by the model that observes them, told per local variable
./seen simulate --set N=40 --seed 1 --out seen.json --quiet && ./seen simulate --set N=30 --seed 2 --out other.json --quiet || exit 3
for m in seen weighed; do gap $m $m.out seen.json --degree 1 --inputs 'z=' --test other.json --html $m.html; done
for key in elbo.fvi elbo.avi gaps.conditioning test.gaps.conditioning evidence.value; do
  near "a factor: $key" "$(get weighed.out $key)" "$(get seen.out $key)" 1e-4
done
[ "$(get weighed.out agrees_with_verdict)$(get seen.out agrees_with_verdict)" = truetrue ] && pass "a factor: compared with the verdict" || fail "a factor: compared with the verdict"
[ "$(get weighed.out advice)" = "$(get seen.out advice | sed 's/per observation/per local variable/g')" ] && pass "a factor: the same advice" || fail "a factor: the same advice"
./weighed gap seen.json --quiet --degree 1 >weighed.txt && head -n 1 weighed.txt | grep -qx 'weighed: the gaps, 40 local variables' && grep -q 'per local variable$' weighed.txt &&
  grep -q '>40 local latent variables; data' weighed.html && pass "a factor: per local variable" || { fail "a factor: per local variable"; head -n 9 weighed.txt; }

# ... and `fit` does not count them as observations, of which there are none
head_of() { ./"$1" fit "${@:2}" --quiet | head -n 1; }
echo '{"y": [null]}' >hole.json
said="$(head_of seen seen.json --method fvi); $(head_of weighed seen.json --method fvi); $(head_of seen hole.json --method fvi)"
units='(a free factor for every unit)'
[ "$said" = "seen: F-VI $units, 40 observations; weighed: F-VI $units, no observed variables; seen: F-VI $units, 0 observations, 1 value missing" ] &&
  pass "a factor: no observed variables" || fail "a factor: no observed variables: $said"
./weighed fit seen.json --method fvi --json --quiet >weighed.fit.json || fail "a factor: fit"
[ "$(get weighed.fit.json observations) $(get weighed.fit.json elbo_per_observation)" = "0 null" ] && pass "a factor: fit --json" || fail "a factor: fit --json"

# on test data every method has F-VI's globals, and what was fitted with others is trained for them: the same numbers as with F-VI's globals from the beginning
./seen fit seen.json --method fvi --out seen.fit --quiet >/dev/null || exit 3
gap seen fixed.out seen.json --degree 1 --inputs 'z=' --test other.json --fix seen.fit
below "on their own data constant factors have globals of their own" "$(get seen.out gaps.constant)" "$(calc "$(get fixed.out gaps.constant) - 5")"
for key in elbo.fvi elbo.const elbo.avi; do near "test data: $key" "$(get seen.out test.$key)" "$(get fixed.out test.$key)" 1e-3; done
near "test data that were fitted: no more is lost" "$(gap seen again.out seen.json --degree 1 --inputs 'z=' --test seen.json; get again.out test.elbo.avi)" "$(get fixed.out elbo.avi)" 1e-3

# the units are those that have data, though there are fewer of them than of items
./items simulate --set N=4 --set J=9 --seed 1 --out items.json --quiet || exit 3
gap items items.out items.json --degree 1 --per-observation items.csv
near "persons and items: a row for each person" "$(tail -n +2 items.csv | wc -l)" 4 0
near "persons and items: their amortisation gaps add up" "$(awk -F, 'NR > 1 { s += $6 } END { printf "%.12f", s }' items.csv)" "$(get items.out gaps.amortisation)" 1e-3
awk -F, 'NR > 1 && ($6 != 0 && $6 ^ 2 < 1e-26 || $7 != 0) { exit 1 }' items.csv && pass "rounding is 0" || { fail "rounding is 0"; cat items.csv; }

# inputs that differ only where a long list is cut short
./chain simulate --set T=80 --seed 1 --out chain.json --quiet || exit 3
gap chain chain.out chain.json --degree 1 --inputs 'z=x[t-3],x[t-2],x[t-1],x[t],x[t+1],x[t+4],x[t+3]'
below "two inputs more, one less: a conditioning gap" "$(calc "- $(get chain.out gaps.conditioning)")" -0.1
[ "$(get chain.out inputs.chosen)" = 'z from x[t-3], x[t-2], x[t-1], x[t], x[t+1], x[t+4], x[t+3]' ] && pass "and a text that tells them apart" || { fail "and a text that tells them apart"; get chain.out inputs.chosen; }

# an open verdict: what remains bears it out where wider windows regain some of it, not where the functions may be what is poor: without the link between
# neighbours y[t] suffices, by its square
cat >volatility.pgm <<'MODEL'
model volatility {
  input T : int;
  input phi = 0;
  latent h[1] ~ normal(-1, 1);
  plate t in 2..T { latent h[t] ~ normal(-1 + phi * (h[t-1] + 1), 0.6); }
  plate t in 1..T { observed y[t] ~ normal(0, exp(h[t] / 2)); }
}
MODEL
compile volatility.pgm || finish
./volatility simulate --set T=300 --seed 1 --out calm.json --quiet && ./volatility simulate --set T=300 --set phi=0.9 --seed 1 --out linked.json --quiet || exit 3
gap volatility calm.out calm.json --degree 1 --window 0..2
below "the class leaves much" "$(calc "- $(get calm.out gaps.amortisation)")" -10
[ "$(get calm.out agrees_with_verdict)" = null ] && get calm.out advice | grep -q '^More capacity: the best function of a window' && ! get calm.out advice | grep -q '^Wider inputs' &&
  pass "which is nothing for the verdict" || { fail "which is nothing for the verdict"; get calm.out message; get calm.out advice; }
gap volatility linked.out linked.json --degree 2 --window 0..2
[ "$(get linked.out agrees_with_verdict)" = true ] && pass "windows that regain bear it out" || { fail "windows that regain bear it out"; get linked.out message; get linked.out windows.0.amortisation windows.2.amortisation; }

# runs are those of the seeds; restarts are counted by themselves
compile "$root/tests/e2e/modes/bim.pgm" || finish
gap bim bim.out "$root/tests/e2e/modes/bim.json" --one-start --seeds 2
[ "$(get bim.out restarts)" -gt 0 ] && pass "F-VI from one start is restarted" || fail "F-VI from one start is restarted"
get bim.out runs.fvi.1.seed >/dev/null && ! get bim.out runs.fvi.2.seed >/dev/null 2>&1 && pass "two seeds, two runs" || fail "two seeds, two runs"

gap chain hasty.out chain.json --optimizer lbfgs --max-iter 1 --window 0..1
get hasty.out restarted | grep -q '^F-VI had not converged; restarted from ' && pass "F-VI that had not converged is not said to sit in an optimum" || { fail "F-VI that had not converged"; get hasty.out restarted; }

# windows: what test data say goes before what the fitted ones do
./chain simulate --set T=60 --seed 2 --out short.json --quiet && ./chain simulate --set T=60 --seed 3 --out next.json --quiet || exit 3
for d in short next; do get $d.json x | awk 'BEGIN { printf "{\"x\": [" } { printf("%s%s", (NR > 1 ? ", " : ""), (NR * 7 % 10 < 3 ? "null" : $1)) } END { print "]}" }' >$d.holes.json; done
gap chain windows.out short.holes.json --degree 1 --window 0..3 --test next.holes.json
get windows.out advice | grep -q '^Windows on other data: on the test data half-width 2 (--window 2) loses least, ' && ! get windows.out advice | grep -q '^Wider inputs' &&
  pass "windows on test data" || { fail "windows on test data"; get windows.out advice; for w in 0 1 2 3; do get windows.out test.windows.$w.amortisation; done; }

# where terms are sampled, runs are compared on the draws of the comparison: what seeds differ by is theirs, and no run is nearer to F-VI than its ELBO is
cat >zeros.pgm <<'MODEL'
model zeros {
  input N : int;
  latent p ~ beta(2, 2);
  latent m ~ normal(0, 1);
  plate n in 1..N {
    marginal latent zero[n] : int<lower=1, upper=2> ~ categorical([p, 1 - p]);
    latent l[n] ~ normal(m, 0.5);
    observed y[n] ~ poisson_log((zero[n] == 1) * (-10) + (zero[n] == 2) * l[n]);
  }
}
MODEL
compile zeros.pgm || finish
echo '{"y": [0,0,3,1,0,0,5,2,1,0,0,0,4,2,0,1,0,0,0,2,6,1,0,0,0,3,0,1,2,0]}' >zeros.json
gap zeros zeros.out zeros.json --seeds 3 --degree 1 --inputs 'l='
near "runs: the first one's ELBO is the method's" "$(get zeros.out runs.avi.0.elbo)" "$(get zeros.out elbo.avi)" 0
for run in 1 2; do near "runs: F-VI by seed $run" "$(get zeros.out runs.fvi.$run.elbo)" "$(get zeros.out elbo.fvi)" 0.02; done

# options that would hide each other
refuse 2 "chain gap: --window 1 is for local latent variables that no other option names, and there is none" ./chain gap chain.json --quiet --window 1 --inputs 'z=x[t]'
refuse 2 "chain gap: the inputs of z are given twice" ./chain gap chain.json --quiet --window z=1 --inputs ' z = x[t]'
refuse 2 "chain gap: --pin z keeps the factors of z free, so that they have no inputs" ./chain gap chain.json --quiet --pin z --inputs 'z=x[t]'
refuse 2 "chain fit: --pin of every local latent variable leaves none to amortise" ./chain fit chain.json --quiet --pin z
check "a table of windows, and inputs" ./chain gap chain.json --quiet --window 0..1 --inputs 'z=x[t]' --degree 1

# a signal is obeyed at once, in the evidence too, which takes seconds here
cat >answers.pgm <<'MODEL'
model answers {
  input N : int;
  input J : int = 8;
  latent s ~ lognormal(0, 0.5);
  plate j in 1..J { global latent b[j] ~ normal(0, 2); }
  plate n in 1..N {
    latent a[n] ~ normal(0, s);
    plate j in 1..J { observed y[n,j] ~ bernoulli_logit(a[n] - b[j]); }
  }
}
MODEL
compile answers.pgm || finish
./answers simulate --set N=1500 --seed 1 --out answers.json --quiet || exit 3
timeout --preserve-status -s TERM 1 ./answers gap answers.json --quiet --degree 1 --html answers.html >answers.out 2>&1
status=$?
[ $status = 143 ] && [ ! -s answers.html ] && ! grep -q ELBO answers.out && pass "interrupted in the evidence" || fail "interrupted in the evidence: $status"

# test data are looked at before any fit
echo '{"N": 2, "J": 3, "y": [[1, 0, 1], [0, 0, 1]]}' >fewer.json
refuse 3 "missing.json: No such file or directory" timeout 5 ./answers gap answers.json --quiet --degree 1 --test missing.json
refuse 1 "fewer.json: 'b', which all data share, has 3 values here and 8 for the data that are fitted" timeout 5 ./answers gap answers.json --quiet --degree 1 --test fewer.json

# a file that may not grow: an error of its own, nothing half-written
(ulimit -f 1 && exec ./chain gap chain.json --quiet --degree 1 --html page.html) >/dev/null 2>full.err
[ $? = 3 ] && grep -qx 'page.html: File too large' full.err && [ -z "$(ls -A | grep page.html)" ] && pass "no room for the page" || { fail "no room for the page"; cat full.err; ls -A | grep page.html; }
finish
