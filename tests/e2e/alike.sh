#!/bin/bash
# Units that the data do not tell apart share a factor (compiler/alike.c, runtime/alike.c): the fit is that of units one by one, factors of all units are
# written, on any number of threads the same bits. To be fitted one by one, the data get an array of numbers that are all different, though far too small to
# change a sum: 1e-300 n in place of 0.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3

cat >counts.pgm <<'END'
model counts {
  input N : int<lower=1>;
  latent theta ~ normal(0, 10);
  latent tau : real<lower=0> ~ lognormal(0, 1);
  plate n in 1..N {
    input off[n];
    latent z[n] ~ normal(theta, tau);
    observed y[n] ~ poisson_log(z[n] + off[n]);
  }
}
END
# missing values, a covariate of few values, a lookup, data that begin before the plate
cat >yesno.pgm <<'END'
model yesno {
  input N : int<lower=1>;
  input G : int<lower=1>;
  latent beta : vector[G] ~ normal(0, 2);
  latent slope ~ normal(0, 2);
  plate n in 0..N {
    input off[n];
    input x[n];
  }
  plate n in 1..N {
    input g[n] : int<lower=1, upper=G>;
    latent z[n] ~ normal(0, 1.5);
    observed y[n] ~ bernoulli_logit(z[n] + beta[g[n]] + slope * x[n] + off[n]);
  }
}
END
# several entries, several elements per unit, an inner plate
cat >inner.pgm <<'END'
model inner {
  input N : int<lower=1>;
  input K : int<lower=1>;
  latent mu ~ normal(0, 2);
  plate n in 1..N {
    input off[n];
    latent w[n] : vector[2] ~ normal(mu, 1);
    plate k in 1..K {
      latent z[n,k] : real<lower=0> ~ gamma(2, 2);
      observed y[n,k] ~ poisson(z[n,k] * (1 + off[n]));
      observed v[n,k] ~ poisson_log(w[n][1] + 0.5 * k * w[n][2]);
    }
  }
}
END
# several optima per unit: other starts
cat >modes.pgm <<'END'
model modes {
  input N : int<lower=1>;
  latent theta ~ normal(0, 10);
  plate n in 1..N {
    input off[n];
    input grid[n] : int;
    latent z[n] ~ normal(0, 1);
    factor -2 * square(0.5 * grid[n] - (theta * sin(2 * z[n]) + off[n]));
  }
}
END
# a mixture
cat >labels.pgm <<'END'
model labels {
  input N : int<lower=1>;
  latent theta ~ normal(0, 3);
  plate n in 1..N {
    input off[n];
    input y[n] : int<lower=0>;
    latent z[n] ~ normal(theta, 0.7);
    factor log_sum_exp(log(0.7) + y[n] * (z[n] + off[n]) - exp(z[n] + off[n]), log(0.3) + y[n] * (z[n] + 2 + off[n]) - exp(z[n] + 2 + off[n]));
  }
}
END

# arrays N NAME...: off.json, where off is 0, and tiny.json, where it is all different; the others have few values. A name with a 0 begins at 0.
arrays() {
  awk -v n="$1" -v names="$2" 'BEGIN {
    k = split(names, name, " ")
    for (tiny = 0; tiny < 2; tiny++) {
      file = tiny ? "tiny.json" : "off.json"
      printf "{" >file
      for (i = 1; i <= k; i++) {
        first = name[i] ~ /0$/ ? 0 : 1
        short = name[i]
        sub(/0$/, "", short)
        printf "%s\"%s\": [", (i > 1 ? ", " : ""), short >file
        for (u = first; u <= n; u++) {
          value = short == "g" ? u % 3 + 1 : short == "x" ? (u % 7 < 3 ? -0.5 : 1) : short == "y" ? u * u % 11 * 2 : u * u % 13 - 6
          if (short == "off") value = tiny ? u "e-300" : 0
          printf "%s%s", (u > first ? "," : ""), value >file
        }
        printf "]" >file
      }
      printf "}\n" >file
      close(file)
    }
  }'
}

# agree NAME FAMILY DISTINCT: with off.json and tiny.json one fit, the first with so many distinct elements of the family
agree() {
  local name=$1 family=$2 distinct=$3 elbo
  ./$name fit observed.json off.json --method fvi --threads 1 --out alike.st --quiet --json >alike.json || { fail "$name: fit"; return; }
  ./$name fit observed.json tiny.json --method fvi --threads 1 --out single.st --quiet --json >single.json || { fail "$name: fit one by one"; return; }
  [ "$(get alike.json inference.$family.distinct)" = "$distinct" ] && pass "$name: $distinct distinct" ||
    fail "$name: $(get alike.json inference.$family.distinct) distinct, not $distinct"
  [ "$(get single.json inference.$family.distinct)" = null ] && pass "$name: all different" ||
    fail "$name: $(get single.json inference.$family.distinct) distinct"
  elbo=$(get single.json elbo)
  near "$name: ELBO" "$(get alike.json elbo)" "$elbo" "$(calc "1e-9 * (1 + ($elbo < 0 ? -($elbo) : $elbo))")"
  check "$name: infer" ./$name infer alike.st observed.json off.json --latent $family --out alike.csv --quiet || return
  check "$name: infer, one by one" ./$name infer single.st observed.json tiny.json --latent $family --out single.csv --quiet || return
  below "$name: factors, largest difference in sds" "$(paste -d, alike.csv single.csv | awk -F, '
    NR == 1 { for (i = 1; i <= NF / 2; i++) { if ($i ~ /mean$/) mean = i; if ($i ~ /sd$/) sd = i } next }
    { d = $mean - $(mean + NF / 2); d = (d < 0 ? -d : d) / $sd; if (d > most) most = d; n++ } END { print n ? most + 0 : "none" }')" 1e-4
  ./$name fit observed.json off.json --method fvi --threads 2 --out two.st --quiet >/dev/null &&
    ./$name infer two.st observed.json off.json --latent $family --out two.csv --quiet
  check "$name: the same with two threads" cmp alike.csv two.csv
  # from there L-BFGS on the factors of all units has nothing left to gain
  ./$name fit observed.json off.json --method fvi --one-start --optimizer lbfgs --init alike.st --quiet --json >again.json || fail "$name: fit --init"
  near "$name: ELBO of the factors written" "$(get again.json elbo)" "$(get alike.json elbo)" "$(calc "1e-10 * (1 + ($elbo < 0 ? -($elbo) : $elbo))")"
}

# observe NAME OPTIONS...: observed.json, simulated; of what off.json has, nothing
observe() {
  local name=$1
  shift
  ./$name simulate off.json "$@" --seed 4 --out all.json --quiet || { fail "$name: simulate"; return 1; }
  tr -d '\n ' <all.json | sed -E 's/"(off|x|g)":\[[^]]*\],?//g; s/,\}/}/' >observed.json
}
# how many different values an array of observed.json has
different() { sed "s/.*\"$1\":\[//; s/\].*//" observed.json | tr , '\n' | sort -u | wc -l; }

if compile counts.pgm; then
  arrays 3000 "off"
  observe counts --set N=3000 --set theta=0.3 --set tau=0.8 && agree counts z "$(different y)"
fi
if compile yesno.pgm; then
  arrays 3000 "off0 x0 g"
  if observe yesno --set N=3000 --set G=3 --set slope=0.7; then
    # every eleventh is missing: 12 kinds of units that are given, 6 that are not
    awk '{ at = index($0, "\"y\":[") + 5; rest = substr($0, at); end = index(rest, "]"); n = split(substr(rest, 1, end - 1), y, ",")
      printf "%s", substr($0, 1, at - 1)
      for (i = 1; i <= n; i++) printf "%s%s", (i > 1 ? "," : ""), (i % 11 == 3 ? "null" : y[i])
      print substr(rest, end) }' observed.json >holes.json && mv holes.json observed.json
    agree yesno z 18
  fi
fi
if compile inner.pgm; then
  arrays 4000 "off"
  if observe inner --set N=4000 --set K=1 --set mu=-2; then
    agree inner z "$(tr -d '[]{}:' <observed.json | tr '"' '\n' | awk -F, '/^[vy]$/ { array = 1; next }
      array { for (i = 1; i <= 4000; i++) kind[i] = kind[i] " " $i; array = 0 }
      END { for (i in kind) kinds += !seen[kind[i]]++; print kinds }')"
    [ "$(get alike.json inference.w.distinct)" = "$(get alike.json inference.z.distinct)" ] && pass "inner: both families" || fail "inner: w and z differ"
  fi
fi
if compile modes.pgm; then
  arrays 2000 "off grid"
  echo '{"N": 2000}' >observed.json
  agree modes z 7
fi
if compile labels.pgm; then
  arrays 3000 "off y"
  echo '{"N": 3000}' >observed.json
  agree labels z 6
fi

# What is not finite is reported at the first unit of its class.
if [ -x counts ]; then
  awk 'BEGIN { printf "{\"N\": 640, \"y\": ["; for (n = 1; n <= 640; n++) printf "%s%d", (n > 1 ? "," : ""), n % 3
    printf "], \"off\": ["; for (n = 1; n <= 640; n++) printf "%s%d", (n > 1 ? "," : ""), (n % 20 == 7 ? 900 : 0); print "]}" }' >bad.json
  refuse 1 "the log density is not finite: y[n] ~ poisson_log(z[n] + off[n]) at n = 7 (counts.pgm:8) is minus infinity" \
    ./counts fit bad.json --method fvi --quiet
fi

# Where units are told apart by more than data of their own, the compiler says so.
# differs NAME LINES: the plate of the model has no list of what its units read
differs() {
  printf 'model %s {\n  input N : int<lower=2>;\n  latent theta ~ normal(0, 1);\n%s\n}\n' "$1" "$2" >"$1.pgm"
  check "$1.pgm compiles" "$PGMC" emit "$1.pgm" || return
  "$PGMC" emit "$1.pgm" 2>/dev/null | grep -A9 '\.variable = "n"' | grep -q '\.reads = ' && fail "$1: units may be alike" || pass "$1: units differ"
}
differs chain '  latent z[0] ~ normal(0, 1); plate n in 1..N { latent z[n] ~ normal(z[n-1], 1); observed y[n] ~ poisson_log(z[n]); }'
differs number '  plate n in 1..N { latent z[n] ~ normal(theta * n, 1); observed y[n] ~ poisson_log(z[n]); }'
differs lag '  plate n in 0..N { input x[n]; } plate n in 1..N { latent z[n] ~ normal(x[n-1] + x[n], 1); observed y[n] ~ poisson_log(z[n]); }'
differs other '  plate n in 1..N { input x[n]; } plate n in 1..N { latent z[n] ~ normal(x[N-n+1], 1); observed y[n] ~ poisson_log(z[n]); }'
differs halves '  plate n in 1..N { latent z[n] ~ normal(n > N / 2 ? theta : 0, 1); observed y[n] ~ poisson_log(z[n]); }'
differs ragged '  plate n in 1..N { latent z[n] ~ normal(theta, 1); plate k in 1..n { input w[n,k]; observed y[n,k] ~ bernoulli_logit(w[n,k] * z[n]); } }'
finish
