#!/bin/bash
# Functions of sets, slices and other factors' parameters in use: on data they were not fitted to, from C, with missing members, in minibatches, resumed.
# Models with known parameters, so that F-VI on the new data is what their factors should be.
source "$(dirname "$0")/lib.sh"
models=$root/tests/e2e/closing
for model in group lookup schools slice pin pin_chain; do compile "$models/$model.pgm" || finish; done
cd "$work" || exit 3

simulate() { "./$1" simulate "${@:3}" --out "$2" --quiet >/dev/null || fail "simulate $*"; }
fit() { "./$1" fit "$2" -o "$3" --json --quiet "${@:4}" >"$3.json" 2>"$3.err" || { fail "fit $*"; cat "$3.err"; }; }
# farthest FILE FILE: the greatest difference of mean and of sd between two tables of infer
farthest() { paste -d, "$1" "$2" | awk -F, 'NR > 1 { n = NF / 2; for (k = n - 1; k <= n; k++) { d = $k - $(k + n); if (d < 0) d = -d; if (d > most) most = d } } END { print most + 0 }'; }
# new MODEL LATENT TOLERANCE DATA: A-VI's factors on new data are those of F-VI
new() {
  fit "$1" "$4" fvi.fit --method fvi
  "./$1" infer "$1.fit" "$4" --latent "$2" --out avi.csv --quiet && "./$1" infer fvi.fit "$4" --latent "$2" --out fvi.csv --quiet
  near "$1: rows for new data" "$(wc -l <avi.csv)" "$(wc -l <fvi.csv)" 0
  near "$1: $2 of new data, farthest from F-VI" "$(farthest avi.csv fvi.csv)" 0 "$3"
}

simulate group group.json --set A=20 --set B=4 --set C=3 --seed 1
simulate group other.json --set A=7 --set B=4 --set C=3 --seed 2
fit group group.json group.fit --method avi --degree 1
for latent in u v z; do new group $latent 1e-5 other.json; done
simulate group small.json --set A=7 --set B=4 --set C=2 --seed 2
refuse 1 "the sets that u was fitted with all had 3 members, these data have one with 2" ./group infer group.fit small.json --latent u

simulate lookup lookup.json "$models/lookup.json" --seed 1
printf '{"G": 3, "N": 16, "group": [1,1,1,1,1,2,2,2,3,3,3,3,3,3,3,3]}' >groups.json
simulate lookup other.json groups.json --seed 3
fit lookup lookup.json lookup.fit --method avi --hidden 16,16
new lookup u 0.1 other.json
new lookup z 0.1 other.json

simulate slice slice.json --set S=20 --set T=15 --seed 1
simulate slice other.json --set S=3 --set T=15 --seed 2
fit slice slice.json slice.fit --method avi --degree 2
new slice z 0.02 other.json

simulate pin_chain chain.json --set T=300 --seed 1
simulate pin_chain other.json --set T=40 --seed 2
fit pin_chain chain.json pin_chain.fit --method avi --degree 1 --pin s
new pin_chain z 1e-3 other.json
simulate pin pin.json --set A=25 --set B=8 --seed 1
fit pin pin.json pin.fit --method avi --degree 1 --pin v
[ "$(get pin.fit.json inference.u.inputs_from)" = --pin ] && pass "inputs of --pin" || fail "inputs of: $(get pin.fit.json inference.u.inputs_from)"
./pin fit pin.json --method avi --degree 1 --pin v --quiet >text
grep -Fq "(inputs of --pin; the verdict is 'unbounded-set', from x[*,*], x[a,*])" text && pass "the override is reported" || { fail "the override is reported"; cat text; }

# missing members: of a set they are none
simulate lookup whole.json "$models/lookup.json" --seed 4
sed 's/"x": *\[[^,]*,/"x": [null,/' whole.json >holes.json
fit lookup holes.json holes.fit --method avi --hidden 16,16
fit lookup holes.json fvi.fit --method fvi
near "a member is missing: ELBO" "$(get holes.fit.json elbo)" "$(get fvi.fit.json elbo)" 0.2

# minibatches of groups
fit group group.json batch.fit --method avi --degree 1 --batch 5 --seed 3
near "minibatches: ELBO" "$(get batch.fit.json elbo)" "$(get group.fit.json elbo)" 0.5
refuse 2 "" ./pin fit pin.json --method avi --degree 1 --pin v --batch 5 -o no.fit
refuse 1 "--pin w: 'w' is not a local latent variable of the model (there are: u, v)" ./pin fit pin.json --pin w -o no.fit

# cut short and resumed: the encoder's weights go on
./lookup fit lookup.json --method avi --hidden 16,16 --max-iter 20 -o cut.fit --quiet >/dev/null 2>&1
fit lookup lookup.json resumed.fit --resume cut.fit
near "resumed: ELBO" "$(get resumed.fit.json elbo)" "$(get lookup.fit.json elbo)" 0.1

# from C
simulate schools schools.json "$models/schools.json" --seed 1
fit schools schools.json schools.fit --method avi --hidden 8
check "pgmc --library" "$PGMC" "$models/schools.pgm" --library
cp "$models/schools_client.c" .
check "client" ${CC:-gcc} -O2 -Wall -Wextra -Werror ${PGMC_CFLAGS:-} schools_client.c libschools.a -fopenmp -lgsl -ljansson -lz -lm -o client
echo '{"school": [1,1,2], "class": [1,2,1,3,3,1,2], "a": [0.5,-1,0,1,0.2,-0.3,0], "y": [2,-1,0.5,3,1.5,0.2,0.1]}' >new.json
./schools infer schools.fit new.json --latent u --out u.csv --quiet
./client schools.fit | paste -d, <(tail -n +2 u.csv) - | awk -F, '{ d = $2 - $4; e = $3 - $5; if (d * d + e * e > 1e-15) bad = 1 } END { exit bad || NR != 3 }' &&
  pass "client and infer agree" || { fail "client and infer"; ./client schools.fit; cat u.csv; }
finish
