#!/bin/bash
# Every command of a program and of pgmc once: status, where its output goes, its shape; and what contradicts each other is status 2.
source "$(dirname "$0")/lib.sh"
compile "$root/examples/saw/saw.pgm" && compile "$root/examples/nile/nile.pgm" || finish
cd "$work" || exit 3

# keys WHAT FILE KEY...: the JSON file has exactly these keys at its top
keys() {
  local what=$1 file=$2
  shift 2
  if [ "$(get "$file" "" | sort | tr '\n' ' ')" = "$(printf '%s\n' "$@" | sort | tr '\n' ' ')" ]; then pass "$what"; else fail "$what: keys $(get "$file" "" | tr '\n' ' ')"; fi
}
lines() { near "lines of $1" "$(grep -vc '^#' "$1")" "$2" 0; }

# ---- the program
for command in "" check simulate fit infer sample predict grad; do
  ./saw $command --help >out 2>err && grep -q '^usage: saw' out && [ ! -s err ] && pass "saw $command --help" || fail "saw $command --help"
done
check "--version" ./saw --version
./saw check >check.txt && grep -q '^saw.pgm: amortised inference can close the gap$' check.txt && pass "check" || fail "check"
"$PGMC" check "$root/examples/saw/saw.pgm" | sed 's,^.*/saw.pgm:,saw.pgm:,' | cmp - check.txt && pass "check prints what pgmc check does" || fail "check and pgmc check"
./saw check --json >check.json && keys "check --json" check.json schema version model file model_hash verdict unchecked latents expectations warnings
./saw simulate --set N=40 --set theta=0.5 --seed 4 --out data.json --truth truth.json --quiet && keys "simulate" data.json N a x && keys "simulate --truth" truth.json theta z
near "drawn values" "$(get data.json x | wc -l)" 40 0
near "a value that --set fixes" "$(get truth.json theta)" 0.5 0
./saw simulate --set N=40 --set theta=0.5 --seed 4 --quiet | cmp - data.json && pass "the same seed, the same data" || fail "the same seed"
./saw simulate --set N=40 --set theta=0.5 --seed 5 --quiet | cmp -s - data.json && fail "another seed, the same data" || pass "another seed, other data"
./saw fit data.json --out saw.fit --json 2>notes >fit.json && keys "fit --json" fit.json model method elbo elbo_se elbo_per_observation iterations seconds converged criterion stopped \
  variational_parameters observations gradient_norm khat seed threads globals params inference
near "a verdict of closes: A-VI" "$([ "$(get fit.json method)" = avi ] && echo 1)" 1 0
./saw fit data.json --out saw.fit --quiet >fit.txt 2>err && grep -q 'ELBO' fit.txt && [ ! -s err ] && pass "fit --quiet says nothing on standard error" || fail "fit --quiet: $(cat err)"
./nile fit "$root/examples/nile/nile.json" --json 2>notes >nile.json && [ "$(get nile.json method)" = fvi ] && grep -q note notes && pass "an open verdict: F-VI, with a note" || fail "an open verdict"
./saw infer saw.fit data.json --out z.csv --quiet && lines z.csv 41 && [ "$(head -n 1 z.csv)" = "n,z.mean,z.sd" ] && pass "infer" || fail "infer: $(head -n 1 z.csv)"
echo '{"x": [1, 2, 3]}' >new.json
./saw infer saw.fit new.json --quiet >new.csv && lines new.csv 4
printf 'x\n1\n2\n3\n' >new.csv.csv
./saw infer saw.fit new.csv.csv --quiet | cmp - new.csv && pass "CSV and JSON alike" || fail "CSV and JSON"
./saw sample saw.fit data.json --draws 30 --out draws.csv --quiet && lines draws.csv 31 && grep -v '^#' draws.csv | head -n 1 | grep -q '^lp__,log_p__,log_g__,theta,z.1,.*,z.40$' &&
  pass "sample" || fail "sample: $(grep -v '^#' draws.csv | head -n 1)"
./saw predict saw.fit data.json --draws 20 --out rep.csv --quiet && lines rep.csv 21 && pass "predict" || fail "predict"
./saw grad data.json --json --quiet >grad.json && keys "grad" grad.json log_joint gradient log_joint_unconstrained gradient_unconstrained max_relative_error
near "coordinates of the gradient" "$(get grad.json gradient_unconstrained | wc -l)" 41 0
check "grad --check" ./saw grad data.json --at truth.json --check --quiet
./saw fit data.json --method avi --trace trace.csv --khat --json --quiet >fit.json && [ "$(head -n 1 trace.csv)" = iteration,seconds,elbo,gradient_norm ] && number "$(get fit.json khat)" &&
  pass "fit --trace --khat" || fail "fit --trace --khat"
./saw fit data.json --method fvi --init saw.fit --max-iter 3 --json --quiet >fit.json 2>notes && pass "fit --init" || fail "fit --init: $(cat notes)"
./saw fit data.json --resume saw.fit --json --quiet >fit.json 2>notes && pass "fit --resume" || fail "fit --resume: $(cat notes)"
sed 's/"x"/"x"/' data.json >same.json
"$PGMC" "$root/examples/linear/linear.pgm" -o linear && refuse 1 "" ./linear infer saw.fit data.json
head -c 200 saw.fit >half.fit
refuse 1 "" ./saw infer half.fit data.json
refuse 3 "none.fit: No such file or directory" ./saw infer none.fit data.json
./saw fit data.json --method fvi --quiet --out f.fit >/dev/full 2>err
near "standard output that is full: status" $? 3 0

# ---- contradictions of the program
cp data.json data.xyz
while read -r arguments; do
  refuse 2 "" ./saw $arguments
done <<'LIST'
frobnicate
fit data.json --degree 2 --hidden 4
fit data.json --degree 2 --skip none
fit data.json --degree 2 --activation relu
fit data.json --method fvi --hidden 4
fit data.json --method const --degree 1
fit data.json --method fvi --inputs z=x[n]
fit data.json --method const --window 1
fit data.json --method sideways
fit data.json --optimizer lbfgs --batch 10
fit data.json --optimizer profile --batch 10
fit data.json --optimizer newton
fit data.json --expectation sometimes
fit data.json --resume saw.fit --hidden 4
fit data.json --resume saw.fit --degree 1
fit data.json --resume saw.fit --window 1
fit data.json --init saw.fit --resume saw.fit
fit data.json --every 5
fit data.json --samples 0
fit data.json --samples many
fit data.json --batch -3
fit data.json --threads 0
fit data.json --hidden 4,,4
fit data.json --set N
fit data.json --none
fit data.xyz
infer saw.fit data.json --hidden 4
sample saw.fit data.json --draws -1
sample saw.fit data.json --draws x
grad data.json --method fvi
check --draws 3
LIST

# ---- pgmc
model=$root/examples/saw/saw.pgm
check "pgmc --help" "$PGMC" --help
check "pgmc --version" "$PGMC" --version
check "pgmc check" "$PGMC" check "$model"
check "pgmc check --format dot" "$PGMC" check "$model" --format dot
"$PGMC" check "$model" --json >check.json && keys "pgmc check --json" check.json schema version model file model_hash verdict unchecked latents expectations warnings
for pass in ast model graph verdict expr loop; do "$PGMC" "$model" --dump $pass >dump 2>err && [ -s dump ] && pass "--dump $pass" || fail "--dump $pass: $(head -n 3 err)"; done
check "--require that holds" "$PGMC" check "$model" --require closes
refuse 4 "" "$PGMC" check "$root/examples/nile/nile.pgm" --require closes
"$PGMC" - -o from_stdin <"$model" >/dev/null 2>err && ./from_stdin --version >/dev/null && pass "a model from standard input" || fail "a model from standard input: $(cat err)"
echo 'model broken { latent x ~ ; }' >broken.pgm
refuse 1 "" "$PGMC" broken.pgm -o broken
[ ! -e broken ] && pass "a wrong model leaves nothing behind" || fail "a wrong model left a program"
"$PGMC" check broken.pgm --json >errors.json 2>err; [ $? = 1 ] && number "$(get errors.json errors.0.line)" && pass "errors as JSON" || fail "errors as JSON"
refuse 3 "pgmc: none.pgm: No such file or directory" "$PGMC" none.pgm
refuse 3 "" "$PGMC" "$model" -o /none/saw
refuse 3 "" "$PGMC" "$model" -o ccfail --cc /none/cc
while read -r arguments; do refuse 2 "" "$PGMC" $arguments; done <<LIST

check
check $model $model
check $model -o x
check $model --library
emit $model --json
$model --format text --none
$model --march vax
$model --real single
$model --dump soup
check $model --require maybe
check $model --format yaml
- --march native
LIST
near "files left in the directory" "$(ls -A | grep -c '^\.')" 0 0
finish
