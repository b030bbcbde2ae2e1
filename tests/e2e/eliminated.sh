#!/bin/bash
# Local variables that are eliminated (eliminate.c): which ones are; the optimum is that of L-BFGS on all parameters, and for the linear model the closed form;
# the factors that infer, sample and predict restore are those of that optimum; the fit is the same bit for bit on any number of threads, keeps none of
# them, and takes hardly more memory than the data.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
cp "$root/examples/linear/linear.pgm" "$root/examples/saw/saw.pgm" "$root/examples/nonlinear/nonlinear.pgm" "$root/tests/e2e/poisson_effects.pgm" .

# model NAME: the plate's statements from standard input, under an input N and a global theta
model() {
  { printf 'model %s {\n  input N : int<lower=1>;\n  latent theta ~ normal(0, 10);\n' "$1"; cat; echo '}'; } >"$1.pgm"
}
model scale <<'END_MODEL'
  latent tau : real<lower=0> ~ lognormal(0, 1);
  latent sigma : real<lower=0> ~ lognormal(0, 1);
  plate n in 1..N {
    latent z[n] ~ normal(theta, tau);
    observed x[n] ~ normal(z[n], sigma);
  }
END_MODEL
model nested <<'END_MODEL'
  input J : int<lower=1>;
  plate i in 1..N {
    plate j in 1..J {
      latent z[i,j] ~ normal(theta, 1.5);
      observed x[i,j] ~ normal(2 * z[i,j], 0.7);
      observed y[i,j] ~ normal(z[i,j] - theta, 2);
    }
  }
END_MODEL
model ragged <<'END_MODEL'
  plate i in 1..N {
    plate j in 1..i {
      latent z[i,j] ~ normal(theta, 1.5);
      observed x[i,j] ~ normal(z[i,j], 0.7);
    }
  }
END_MODEL
model sums <<'END_MODEL'
  plate n in 0..N - 1 {
    latent z[n + 1] ~ normal(theta, 1);
    latent w[n] ~ normal(0, 2);
    plate k in 1..3 {
      observed x[n,k] ~ normal(z[n + 1], 0.5 * k);
    }
    observed y[n] ~ normal(3 - w[n], 1);
  }
END_MODEL
model entries <<'END_MODEL'
  latent mu : vector[3] ~ normal(0, 5);
  plate n in 1..N {
    latent z[n] : vector[3] ~ normal(mu, 1);
    observed x[n] : vector[3] ~ normal(z[n] + theta, 0.5);
  }
END_MODEL
model mixed <<'END_MODEL'
  plate n in 1..N {
    latent z[n] ~ normal(theta, 1);
    observed x[n] ~ normal(z[n], 0.5);
  }
  plate m in 1..N {
    latent u[m] ~ normal(theta, 1);
    observed y[m] ~ poisson_log(u[m]);
  }
END_MODEL
model alone <<'END_MODEL'
  plate n in 1..N {
    latent z[n] ~ normal(0, 2);
    observed x[n] ~ normal(z[n] + 1, 0.5);
  }
END_MODEL
sed -i '/theta/d' alone.pgm
model regression <<'END_MODEL'
  plate n in 1..N {
    input t[n];
    latent z[n] : vector[2] ~ normal(theta, 1);
    observed x[n] ~ normal(z[n][1] + t[n] * z[n][2], 1);
  }
END_MODEL
model bounded <<'END_MODEL'
  plate n in 1..N {
    latent z[n] : real<lower=0> ~ normal(theta, 1);
    observed x[n] ~ normal(z[n], 1);
  }
END_MODEL
model pair <<'END_MODEL'
  plate n in 1..N {
    latent z[n] ~ normal(theta, 1);
    latent w[n] ~ normal(0, 1);
    observed x[n] ~ normal(z[n] + w[n], 1);
  }
END_MODEL
model heavy <<'END_MODEL'
  plate n in 1..N {
    latent z[n] ~ normal(theta, 1);
    latent w[n] ~ student_t(4, 0, 1);
    observed x[n] ~ normal(z[n], 1);
    observed y[n] ~ normal(w[n], 1);
  }
END_MODEL
model elsewhere <<'END_MODEL'
  plate n in 1..N { latent z[n] ~ normal(theta, 1); }
  plate m in 1..N { observed x[m] ~ normal(z[m], 1); }
END_MODEL

# eliminated MODEL yes|no
eliminated() {
  local found=no
  "$PGMC" emit "$1.pgm" 2>/dev/null >emitted.c || fail "$1: emit"
  grep -q '\.eliminates = ' emitted.c && found=yes
  [ $found = "$2" ] && pass "$1: eliminated: $2" || fail "$1: eliminated: $found, not $2"
}
for name in linear saw scale nested ragged sums entries mixed alone; do eliminated $name yes; done
for name in nonlinear poisson_effects regression bounded pair heavy elsewhere; do eliminated $name no; done

# alike A.csv B.csv: numbers within 2e-5
alike() {
  paste -d, "$1" "$2" | awk -F, 'NR > 1 { for (i = 1; i <= NF / 2; i++) { d = $i - $(i + NF / 2); if (d < 0) d = -d; if (!(d <= 2e-5)) bad++ } n++ } END { exit !(n && !bad) }'
}

for name in linear saw scale nested ragged sums entries mixed alone; do
  compile $name.pgm || continue
  size=700 extra=
  case $name in ragged) size=40 ;; nested) extra="--set J=4" ;; scale) extra="--set tau=1 --set sigma=0.5" ;; esac
  [ $name = alone ] || extra="$extra --set theta=0.5"
  ./$name simulate $extra --set N=$size --seed 4 --out data.json --quiet || { fail "$name: simulate"; continue; }
  ./$name fit data.json --method fvi --threads 1 --out fit.st --quiet --json >fit.json || fail "$name: fit"
  ./$name fit data.json --method fvi --optimizer lbfgs --tol 1e-7 --out all.st --quiet --json >all.json || fail "$name: fit --optimizer lbfgs"
  elbo=$(get fit.json elbo)
  near "$name: ELBO" "$elbo" "$(get all.json elbo)" "$(calc "-2e-9 * $elbo")"
  near "$name: parameters" "$(get fit.json variational_parameters)" "$(get all.json variational_parameters)" 0
  [ "$(get fit.json converged)" = true ] && pass "$name: converged" || fail "$name: $(get fit.json criterion)"
  grep -q '"z.mean"' fit.st && fail "$name: the fit keeps factors of z" || pass "$name: the fit keeps no factors of z"
  ./$name infer fit.st data.json --out fit.csv --latent z --quiet && ./$name infer all.st data.json --out all.csv --latent z --quiet
  check "$name: factors restored" alike fit.csv all.csv
  ./$name fit data.json --method fvi --optimizer lbfgs --init fit.st --quiet --json >again.json || fail "$name: fit --init"
  near "$name: ELBO of the factors restored" "$(get again.json elbo)" "$elbo" "$(calc "-1e-11 * $elbo")"
  ./$name fit data.json --method fvi --threads 3 --out three.st --quiet --json >three.json || fail "$name: fit --threads 3"
  ./$name infer three.st data.json --out three.csv --latent z --quiet
  check "$name: the same with three threads" cmp fit.csv three.csv
done

# no units at all
sed 's/lower=1/lower=0/' alone.pgm >empty.pgm && echo '{"N": 0, "x": []}' >empty.json
compile empty.pgm && check "no units" sh -c './empty fit empty.json --method fvi --out empty.st --quiet >empty.out && ./empty infer empty.st empty.json --quiet >empty.csv && ! grep -q "[0-9]" empty.csv'

# draws, from the fit without factors and from the one with them
./linear simulate --set N=700 --set theta=0.5 --seed 4 --out data.json --quiet
./linear fit data.json --method fvi --out fit.st --quiet >/dev/null && ./linear fit data.json --method fvi --optimizer lbfgs --tol 1e-7 --out all.st --quiet >/dev/null
for command in sample predict; do
  for fit in fit all; do ./linear $command $fit.st data.json --draws 20 --seed 3 --quiet | grep -v '^#' >$fit.$command.csv; done
  if [ $command = sample ]; then cut -d, -f4- fit.sample.csv >a.csv && cut -d, -f4- all.sample.csv >b.csv; else cp fit.predict.csv a.csv; cp all.predict.csv b.csv; fi
  check "$command: the same draws" alike a.csv b.csv
done
./linear simulate --set N=500 --set theta=0.5 --seed 5 --out other.json --quiet
./linear sample fit.st other.json --draws 5 --out draws.csv 2>err
check "sample: other data are noticed" grep -q 'not the data of the fit: the local factors are those of these data' err
./linear infer fit.st other.json --out new.csv --quiet && ./linear infer all.st other.json --out old.csv --quiet
check "infer: new units" alike new.csv old.csv

# missing observations: their z follow the prior
sed 's/"x": \[ *[-0-9.e]*/"x": [null/' data.json | tr -d '\n' | sed 's/"x":\[[-0-9.e]*/"x":[null/' >missing.json
grep -q null missing.json || fail "no observation was made missing"
./linear fit missing.json --method fvi --out missing.st --quiet --json >missing.out || fail "fit of missing observations"
./linear predict missing.st missing.json --draws 5 --out draws.csv 2>err
check "predict: with missing observations, too, these are the data of the fit" test ! -s err
./linear fit missing.json --method fvi --optimizer lbfgs --tol 1e-7 --quiet --json >all.out
near "missing: ELBO" "$(get missing.out elbo)" "$(get all.out elbo)" 1e-5
check "missing: z follows its prior" sh -c './linear infer missing.st missing.json --quiet | grep -qx 1,0,1'

# the closed form, and memory: of 8 MB of data, with the fit written; a sanitizer's shadow is not measured
./linear simulate --set N=10000 --set theta=1.7 --seed 11 --out data.json --quiet
read -r elbo mean sd < <("$B/e2e/reference_linear" data.json)
./linear fit data.json --method fvi --quiet --json >fit.json
near "closed form: ELBO" "$(get fit.json elbo)" "$elbo" 1e-6
near "closed form: mean of theta" "$(get fit.json globals.theta.mean)" "$mean" 1e-9
near "closed form: sd of theta" "$(get fit.json globals.theta.sd)" "$sd" 1e-9
perl -e '$h = "{\x27descr\x27: \x27<f8\x27, \x27fortran_order\x27: False, \x27shape\x27: (1000000,), }"; $h .= " " x (117 - length $h) . "\n";
  print "\x93NUMPY\x01\x00", pack("v", length $h), $h, pack("d*", map { sin(7 * $_) + 1 } 1 .. 1000) x 1000' >x.npy
${CC:-gcc} -O1 "$root/bench/spawn.c" -o spawn || fail "spawn.c"
read -r _ _ peak _ < <(./spawn 1 ./linear fit --data x=x.npy --method fvi --threads 1 --out big.st --quiet)
case ${PGMC_CFLAGS:-} in
*sanitize*) ;;
*) below "memory of 8 MB of data" "$peak" 24000000 ;;
esac
# the summary's quantiles of a part: z = 0.1596 (x - theta), x - theta in -1..1 like a sine
./linear fit --data x=x.npy --method fvi --quiet >summary
read -r least fifth quarter _ < <(sed -n 's/^  z (65536 of 1000000) *//p' summary)
near "summary: least mean" "$least" -0.1596 0.0002
near "summary: 5 %" "$fifth" -0.1576 0.001
near "summary: 25 %" "$quarter" -0.1129 0.002
check "a fit of a million units is small" sh -c 'test $(wc -c <big.st) -lt 4096'
finish
