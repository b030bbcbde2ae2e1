#!/bin/bash
# --real float. The kernels in single precision against those in double, at random points (kernels/kernels.c): a network, one with bounded weights and a matrix of
# data among its operands and terms of weights beside the products, one with a Cholesky factor. First steps of fits: the same ELBO and gradient to four digits;
# a whole fit: the same ELBO within its error. NaN is reported with factor and index as in double. Where it changes nothing, that is said,
# and nothing changes.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
cp "$root/examples/fashion_mnist/bnn.pgm" "$root/examples/saw/saw.pgm" .
cat >operands.pgm <<'END_MODEL'
model operands {
  input N : int;  input K : int = 3;  input H : int = 5;  input D : int = 4;
  input A : matrix[D, H];
  latent W : matrix<lower=0>[H, K] ~ lognormal(0, 0.5);
  latent V : matrix[D, D] ~ normal(0, 1);
  latent s : real<lower=0> ~ lognormal(0, 1);
  plate n in 1..N {
    latent z[n] : vector[K] ~ normal(0, 1);
    let h = A * tanh(W * z[n]);
    observed x[n] : vector[D] ~ student_t(5, V * h + 0.1 * V[1,2], s);
  }
}
END_MODEL
cat >whole.pgm <<'END_MODEL'
model whole {
  input N : int;  input K : int = 3;
  latent W : matrix[K, K] ~ normal(0, 1);
  latent L : cholesky_factor_corr[K] ~ lkj_corr_cholesky(2);
  plate n in 1..N {
    latent z[n] : vector[K] ~ normal(0, 1);
    observed x[n] : vector[K] ~ multi_normal_cholesky(tanh(W * z[n]), L);
  }
}
END_MODEL

cat >sums.pgm <<'END_MODEL'
model sums {
  input N : int;  input K : int = 3;
  latent W : matrix[K, K] ~ normal(0, 1);
  plate n in 1..N {
    latent M[n] : matrix[K, K] ~ normal(0, 1);
    latent z[n] : vector[K] ~ normal(0, 1);
    observed x[n] : vector[K] ~ normal(tanh(W * (M[n] * z[n])), 1);
  }
}
END_MODEL

# ---- what is said of it ----
"$PGMC" check bnn.pgm --real float >text 2>err && grep -Fxq "  single precision in products on fresh draws: x [12]" text && [ ! -s err ] &&
  pass "check says which factors" || fail "check: $(cat err)"
"$PGMC" check bnn.pgm --real float --json >report.json
[ "$(get report.json expectations.7.factor) $(get report.json expectations.7.real)" = "x float" ] && pass "and in JSON" || fail "JSON: $(get report.json expectations.7)"
warning="--real float changes nothing: no factor that is sampled has matrix products, so all is computed in double precision"
for model in saw sums; do
  "$PGMC" check $model.pgm --real float --json >report.json 2>err
  line=$(grep -n '^ *model' $model.pgm | cut -d: -f1)
  grep -Fxq "$model.pgm:$line:7: warning: $warning" err && grep -Fq "\"line\": $line, \"column\": 7, \"message\": \"$warning\"" report.json &&
    pass "$model: warned, with the place" || { fail "$model: no warning"; cat err; }
done
"$PGMC" emit saw.pgm | grep -v '^ *"' >double.c
"$PGMC" emit saw.pgm --real float 2>/dev/null | grep -v '^ *"' >float.c
check "saw: the same C but for what check prints" cmp double.c float.c
for model in bnn operands whole; do
  "$PGMC" emit $model.pgm --real float -o $model.c
  check "$model: C without warnings" ${CC:-gcc} -std=gnu11 -O1 -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror -fopenmp -I"$root/runtime" -c $model.c -o $model.o
done

# ---- kernels ----
kernels() { # MODEL simulate-arguments
  local name=$1
  mkdir -p lib
  "$PGMC" $name.pgm --library --real float -o lib &&
    ${CC:-gcc} -std=gnu11 -O1 ${PGMC_CFLAGS:-} -I"$root/runtime" -DMODEL=$name "$root/tests/e2e/kernels/kernels.c" lib/lib$name.a -o run_$name \
      -fopenmp -lgsl -ljansson -lz -lm && ./run_$name simulate "${@:2}" --seed 3 --out $name.json --quiet || { fail "$name: no kernels"; return; }
  for seed in 1 2; do check "$name: kernels agree, seed $seed" ./run_$name single $name.json $seed; done
}
kernels bnn --set N=700 --set D=19 --set K=3 --set H=7
echo '{"A": [[1, 0, -0.5, 0.2, 2], [0, 1, 1, -1, 0.1], [-1, 0.5, 0, 1, 1], [0.3, -0.7, 0.1, 0, 1]]}' >A.json
kernels operands A.json --set N=150 --set s=0.5
kernels whole --set N=200
# few units, which are one slot; an image is missing
./run_bnn simulate --set N=40 --set D=6 --set K=2 --set H=4 --seed 5 --out small.json --quiet
check "bnn: one slot" ./run_bnn single small.json 1
sed -E 's/"x": \[\[[^]]*\]/"x": [[null,null,null,null,null,null]/' small.json >missing.json
check "bnn: an image is missing" ./run_bnn single missing.json 1
near "its numbers" "$(grep -o null missing.json | wc -l)" 6 0

# ---- fits ----
compile bnn.pgm bnn_double && compile bnn.pgm bnn_float --real float || finish
# first_steps WHAT options: ELBO and gradient norm of the first steps, which start from the same weights and have the same draws
first_steps() {
  for type in double float; do
    ./bnn_$type fit bnn.json --batch 300 --samples 2 --max-iter 3 --trace $type.csv --quiet "${@:2}" >/dev/null 2>err || { fail "$1: fit in $type"; cat err; return; }
  done
  paste -d, double.csv float.csv | awk -F, 'NR > 1 { for (c = 3; c <= 4; c++) { d = $c / $(c + 4) - 1; if (!(d < 1e-4 && d > -1e-4)) exit 1; if (d != 0) differs = 1 } }
    END { exit NR != 4 || !differs }' && pass "$1: ELBO and gradient norm agree" || { fail "$1: first steps differ, or not at all"; paste double.csv float.csv; }
}
first_steps "F-VI" --method fvi
first_steps "constant" --method const
for activation in tanh relu leaky_relu softplus; do first_steps "A-VI, $activation" --method avi --hidden 8,5 --activation $activation; done
first_steps "A-VI, affine skip alone" --method avi --degree 1
for type in double float; do
  ./bnn_$type fit bnn.json --method avi --hidden 8 --batch 350 --samples 2 --max-iter 600 --step 0.03 --seed 2 --json --quiet --out $type.fit >$type.json 2>err || fail "fit in $type: $(cat err)"
done
near "the ELBO of a fit" "$(get float.json elbo)" "$(get double.json elbo)" "$(calc "4 * ($(get float.json elbo_se) + $(get double.json elbo_se)) + 1e-3 * 700")"
check "a fit in float is read by the program in double" ./bnn_double infer float.fit bnn.json --out codes.csv --quiet

# ---- NaN ----
cat >bad.pgm <<'END_MODEL'
model bad {
  input N : int;
  latent W : matrix[3, 2] ~ normal(0, 1);
  plate n in 1..N {
    input c[n];
    latent z[n] : vector[2] ~ normal(0, 1);
    observed x[n] : vector[3] ~ normal(log(c[n]) * tanh(W * z[n]), 1);
  }
}
END_MODEL
echo '{"c": [1, 2, -1, 2], "x": [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]}' >bad.json
for type in double float; do
  compile bad.pgm bad --real $type || finish
  ./bad fit bad.json --method fvi --batch 2 --samples 1 --max-iter 200 --quiet >/dev/null 2>$type.err
  echo $? >>$type.err
done
grep -q "n = 3" double.err && cmp double.err float.err && pass "NaN: the same message: $(head -n 1 float.err)" || { fail "NaN"; cat double.err float.err; }
finish
