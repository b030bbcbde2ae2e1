#!/bin/bash
# Draws made inside blocks of units (all draws of a block by one thread, the block's arrays staying in the cache) against the general way, draw after
# draw over all units, which a minibatch of everything takes: the same ELBO and gradient to rounding (kernels/kernels.c).
# Sizes are odd and reach over several blocks; models with and without what blocks can be used for.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3

# agree FILE.pgm ARGUMENTS of simulate
agree() {
  local name
  name=$(basename "$1" .pgm)
  {
    "$PGMC" "$1" --library -o . &&
      ${CC:-gcc} -std=gnu11 -O1 ${PGMC_CFLAGS:-} -I"$root/runtime" -DMODEL="$name" "$root/tests/e2e/kernels/kernels.c" "lib$name.a" -o "$name" -fopenmp \
        -lgsl -ljansson -lz -lm &&
      ./"$name" simulate "${@:2}" --seed 2 --quiet --out "$name.json" && ./"$name" draws "$name.json"
  } >"$name.log" 2>&1
  if [ $? = 0 ]; then pass "$name"; else fail "$name"; grep -v warning "$name.log" | tail -n 20; fi
}

# every kind of local variable: bounded, vectors, simplexes, nested; globals with bounds; a lookup into another plate; a neighbour
cat >kinds.pgm <<'END'
model kinds {
  input N : int;
  latent mu ~ normal(0, 1);
  latent s : real<lower=0> ~ gamma(2, 2);
  latent m : vector[3] ~ normal(0, 1);
  plate n in 1..N {
    latent r[n] : real<lower=0> ~ gamma(3, s);
    latent w[n] : vector[3] ~ normal(m, 1);
    latent p[n] : simplex[3] ~ dirichlet(rep_vector(2, 3));
    plate k in 1..2 {
      latent v[n, k] ~ normal(mu * r[n], 1);
      observed y[n, k] ~ normal(v[n, k] + dot(p[n], w[n]), s);
    }
  }
}
END
cat >lookup.pgm <<'END'
model lookup {
  input N : int;  input J : int;
  latent mu ~ normal(0, 1);
  plate j in 1..J { latent a[j] ~ normal(mu, 1);  observed c[j] ~ normal(a[j], 1); }
  plate n in 1..N { input g[n] : int<lower=1, upper=J>;  latent z[n] ~ normal(0, 1);  observed y[n] ~ normal(a[g[n]] + z[n], 1); }
}
END
cat >chain.pgm <<'END'
model chain {
  input N : int<lower=2>;
  latent q : real<lower=0> ~ gamma(2, 2);
  latent z[1] ~ normal(0, 1);
  plate t in 2..N { latent z[t] ~ normal(z[t-1], q); }
  plate t in 1..N { observed x[t] ~ normal(z[t], 1); }
}
END
awk 'BEGIN { print "g"; for (i = 0; i < 1501; i++) print 1 + i * i % 7 }' >g.csv
agree kinds.pgm --set N=1501
agree lookup.pgm g.csv --set J=7
agree chain.pgm --set N=1501
agree "$root/examples/saw/saw.pgm" --set N=1501
agree "$root/tests/e2e/models/hub.pgm" --set N=1501
finish
