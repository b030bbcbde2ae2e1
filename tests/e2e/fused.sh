#!/bin/bash
# Local variables solved for inside the pass over the data (fused.c): the optimum is that of L-BFGS on all parameters, the factors written down are those
# of the optimum, and the fit is the same bit for bit on any number of threads. Several entries per element, nested plates, bounds, an index with an offset, two
# families on one axis, no global variable at all. And which of their terms the compiler knows to be concave (concave.c).
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3

cat >vector.pgm <<'END'
model vector {
  input N : int<lower=1>;
  latent mu ~ normal(0, 2);
  plate n in 1..N {
    input t[n];
    latent z[n] : vector[2] ~ normal(mu, 1);
    observed y[n] ~ poisson_log(z[n][1] + t[n] * z[n][2]);
  }
}
END
cat >nested.pgm <<'END'
model nested {
  input N : int<lower=1>;
  input J : int<lower=1>;
  latent mu ~ normal(0, 2);
  latent tau : real<lower=0> ~ lognormal(0, 1);
  plate i in 1..N {
    plate j in 1..J {
      latent z[i,j] ~ normal(mu, tau);
      observed y[i,j] ~ poisson_log(z[i,j]);
    }
  }
}
END
cat >positive.pgm <<'END'
model positive {
  input N : int<lower=1>;
  latent theta : real<lower=0> ~ gamma(2, 1);
  plate n in 1..N {
    latent z[n] : real<lower=0> ~ gamma(2, 2);
    observed y[n] ~ poisson(theta * z[n]);
  }
}
END
cat >offset.pgm <<'END'
model offset {
  input N : int<lower=1>;
  latent theta ~ normal(0, 10);
  plate n in 0..N - 1 {
    latent z[n + 1] ~ normal(theta, 1);
    observed y[n] ~ bernoulli_logit(z[n + 1]);
  }
}
END
cat >two.pgm <<'END'
model two {
  input N : int<lower=1>;
  latent theta ~ normal(0, 10);
  plate n in 1..N {
    latent z[n] ~ normal(theta, 1);
    observed y[n] ~ poisson_log(z[n]);
    latent w[n] ~ student_t(4, theta, 1);
    observed v[n] ~ normal(w[n], 0.5);
  }
}
END
cat >alone.pgm <<'END'
model alone {
  input N : int<lower=1>;
  plate n in 1..N {
    latent z[n] ~ normal(0, 2);
    observed y[n] ~ bernoulli_logit(z[n]);
  }
}
END

# concave NAME FAMILY yes|no
concave() {
  local found=no
  "$PGMC" emit "$1.pgm" 2>/dev/null | grep -A4 "\.name = \"$2\"" | grep -q '\.concave = true' && found=yes
  [ $found = "$3" ] && pass "$1: $2 concave: $3" || fail "$1: $2 concave: $found, not $3"
}
concave vector z yes
concave positive z yes
concave two z yes
concave two w no
cp "$root/examples/nonlinear/nonlinear.pgm" "$root/examples/linear/linear.pgm" .
concave nonlinear z no
concave linear z yes

for model in vector nested positive offset two alone; do
  compile $model.pgm || continue
  extra=
  case $model in
  nested) extra="--set J=3" ;;
  offset | two) extra="--set theta=0.5" ;;
  esac
  [ $model = vector ] && awk 'BEGIN { printf "{\"t\": ["; for (i = 0; i < 700; i++) printf "%s%.2f", i ? ", " : "", sin(i); print "]}" }' >t.json && extra=t.json
  ./$model simulate $extra --set N=700 --seed 4 --out data.json --quiet || { fail "$model: simulate"; continue; }
  ./$model fit data.json --method fvi --one-start --threads 1 --out fit.st --quiet --json >fused.json || fail "$model: fit"
  ./$model fit data.json --method fvi --one-start --optimizer lbfgs --quiet --json >lbfgs.json || fail "$model: fit --optimizer lbfgs"
  elbo=$(get fused.json elbo)
  near "$model: ELBO" "$elbo" "$(get lbfgs.json elbo)" "$(calc "-2e-9 * $elbo")"
  [ "$(get fused.json converged)" = true ] && pass "$model: converged" || fail "$model: $(get fused.json criterion)"
  # from there: nothing is left to gain, so the factors of the file are those that the ELBO was reported for
  ./$model fit data.json --method fvi --one-start --optimizer lbfgs --init fit.st --quiet --json >again.json || fail "$model: fit --init"
  near "$model: ELBO of the factors written" "$(get again.json elbo)" "$elbo" "$(calc "-1e-11 * $elbo")"
  below "$model: iterations from there" "$(get again.json iterations)" 2
  ./$model fit data.json --method fvi --one-start --threads 3 --out three.st --quiet --json >three.json || fail "$model: fit --threads 3"
  ./$model infer three.st data.json --out three.csv --quiet && ./$model infer fit.st data.json --out one.csv --quiet
  check "$model: the same with three threads" cmp one.csv three.csv
done
finish
