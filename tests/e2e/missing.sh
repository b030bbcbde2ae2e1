#!/bin/bash
# Missing observations: integrated out, that is, as if the model did not have them; a value on which something given depends may not be missing.
source "$(dirname "$0")/lib.sh"
models=$root/tests/e2e/missing
cd "$work" || exit 3
for name in holes without present pairs; do compile "$models/$name.pgm" "$name"; done
compile "$root/examples/saw/saw.pgm"

cat >holes.json <<'END'
{"x": [1, null, 2.5, "NaN"], "k": [1, 2, null, 3], "v": [[1, 2], [null, 1], [1, 1], [null, null]]}
END
echo '{"N": 4, "x1": 1, "x3": 2.5, "k1": 1, "k2": 2, "k4": 3, "v1": [1, 2], "v2": 1, "v3": [1, 1]}' >without.json
for method in fvi avi; do
  ./holes fit holes.json --method $method --json --quiet >holes.$method || fail "holes $method"
done
./without fit without.json --method fvi --json --quiet >without.fvi
near "ELBO with missing values" "$(get holes.fvi elbo)" "$(get without.fvi elbo)" 1e-6
below "A-VI, told what is present, is no better" "$(get holes.avi elbo)" "$(calc "$(get holes.fvi elbo) + 1e-5")"
near "missing values counted" "$(get <(./holes check holes.json --json --quiet) data.families.v.missing)" 3 0
check "a fit" ./holes fit holes.json --method fvi --quiet
grep -q '^holes: F-VI.* 8 observations, 6 values missing$' check.log && pass "and it says how many are missing" || fail "$(head -n 1 check.log)"
check "gradient" ./holes grad holes.json --check --quiet

printf 'y\n1\n\n2\n3\n' >present.csv
check "an empty cell, asked for by present()" ./present grad present.csv --set N=4 --check --quiet
near "log density" "$(get check.log log_joint)" "$(awk 'BEGIN {                # phi 0, log s 0: normal(1; 0, 5) normal(2; 0, 5) normal(3; 0, 1), and the priors
    c = 0.9189385332046727; printf "%.15g", -c - c - (c + log(5) + 1 / 50) - (c + log(5) + 4 / 50) - (c + 9 / 2) }')" 1e-9

echo '{"y": [[1, 2], [null, null], [0, 1]]}' >pairs.json
check "a pair that is missing" ./pairs grad pairs.json --check --quiet
echo '{"y": [[1, 2], [null, 1], [0, 1]]}' >half.json
refuse 1 "half.json: y[2,1]: missing; entries that have one distribution are given together or not at all (pairs.pgm:6)" ./pairs grad half.json --quiet
echo '{"x": [1, null, 2, 3]}' >saw.json
refuse 1 "saw.json: x[2]: missing, and z[n] ~ normal(x[n-1], 1) needs it at n = 3 (saw.pgm:10)" ./saw fit saw.json --quiet
echo '{"x": [1, 2, 3, null]}' >last.json
check "the last value of a series" ./saw fit last.json --quiet
finish
