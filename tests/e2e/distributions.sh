#!/bin/bash
# A model per row of compiler/dist.def, its arguments latent where they may be, the variable latent where it is continuous and observed too: compiled,
# simulated from, and its kernels checked (kernels/kernels.c): gradients against differences, expectations against draws.
#   distributions.sh [NAME ...]   only these
source "$(dirname "$0")/lib.sh"
: "${PGMC_CFLAGS:=}"

# declare_argument NUMBER CONSTRAINT: one argument of a distribution, by the letters of dist.def
declare_argument() {
  case $2 in
  r) echo "latent a$1 ~ normal(0, 0.7);" ;;
  p | n) echo "latent a$1 : real<lower=0> ~ gamma(20, 10);" ;;
  u) echo "latent a$1 : real<lower=0, upper=1> ~ beta(3, 3);" ;;
  c) echo "input a$1 : int = 5;" ;;
  v) echo "latent a$1 : vector[3] ~ normal(0, 0.7);" ;;
  s) echo "latent a$1 : simplex[3] ~ dirichlet([2, 3, 2]);" ;;
  q) echo "latent a$1 : vector<lower=0>[3] ~ gamma(20, 10);" ;;
  l) echo "latent s$1 : vector<lower=0>[3] ~ gamma(20, 20); let a$1 = diag_pre_multiply(s$1, [[1.2, 0, 0], [0.3, 0.9, 0], [-0.4, 0.2, 1.1]]);" ;;
  m) echo "latent s$1 : vector<lower=0>[3] ~ gamma(20, 20); let a$1 = add_diag(s$1 * s$1', [1.0, 0.8, 1.2]);" ;;
  o) echo "latent a$1 : ordered[2] ~ normal(0, 1);" ;;
  *) return 1 ;;
  esac
}

# write_model NAME KIND SHAPE SUPPORT CONSTRAINTS
write_model() {
  local arguments="" i letter type="" fixed
  echo "model d_$1 {"
  echo "  input N : int;"
  for ((i = 0; i < ${#5}; i++)); do
    letter=${5:i:1}
    echo "  $(declare_argument $i "$letter")"
    arguments+="${arguments:+, }a$i"
  done
  [ "$3" = MULTIVARIATE ] && type=" : vector[3]"
  case $4 in SIMPLEX) type=" : simplex[3]" ;; CHOLESKY_CORR) type=" : cholesky_factor_corr[3]" ;; COV) type=" : cov_matrix[3]" ;; esac
  fixed=$arguments
  case $1 in                                       # arguments for which densities are positive and expectations exist: E (x / s)^a with x and a log-normal does not
  uniform) fixed="-1.5, 2" arguments="a0 - 3, a1 + 3" ;;
  pareto) fixed="0.4, a1" arguments="0.4, a1" ;;
  wishart) fixed="a0 + 3, a1" arguments="a0 + 3, a1" ;;
  gumbel) fixed="a0, 1.5" arguments="a0, 1.5" ;;
  weibull) fixed="1.3, a1" arguments="1.3, a1" ;;
  esac
  echo "  plate n in 1..N {"
  case $1 in
  flat) echo "    latent z[n] ~ flat(); observed x[n] ~ normal(z[n], 1);" ;;
  *)
    [ "$2" = CONTINUOUS ] && echo "    latent z[n]$type ~ $1($fixed);"
    [ "$4" != SIMPLEX ] && echo "    observed x[n]$type ~ $1($arguments);"
    [ "$2" = CONTINUOUS ] && [ "$3" = UNIVARIATE ] && echo "    observed y[n] ~ normal(z[n], 1);"
    ;;
  esac
  echo "  }"
  echo "}"
}

# Densities against GSL's are in tests/unit/test_density.c.
try_distribution() {
  local name=$1 dir=$work/$1 set="--set N=3"
  mkdir -p "$dir"
  write_model "$@" >"$dir/d_$name.pgm"
  [ "$name" = multinomial ] && echo '{"N": 3, "x": [[1, 0, 3], [2, 2, 1], [0, 5, 0]]}' >"$dir/data.json" && echo '{"a0": [0.2, 0.5, 0.3]}' >"$dir/truth.json"
  [ "$name" = flat ] && echo '{"z": [0.3, -1, 0.7]}' >"$dir/z.json" && set="$set $dir/z.json"
  {
    "$PGMC" "$dir/d_$name.pgm" --library -o "$dir" &&
      ${CC:-gcc} -std=gnu11 -O1 $PGMC_CFLAGS -I"$root/runtime" -DMODEL="d_$name" "$root/tests/e2e/kernels/kernels.c" "$dir/libd_$name.a" -o "$dir/run" \
        -fopenmp -lgsl -ljansson -lz -lm &&
      { [ -f "$dir/data.json" ] || "$dir/run" simulate $set --out "$dir/data.json" --truth "$dir/truth.json" --quiet; } &&
      "$dir/run" grad "$dir/data.json" --at "$dir/truth.json" --check --quiet >"$dir/grad" &&
      "$dir/run" kernels "$dir/data.json" 1 && "$dir/run" kernels "$dir/data.json" 2
  } >"$dir/log" 2>&1
  if [ $? = 0 ]; then pass "$name"; return; fi
  fail "$name"
  cat "$dir/d_$name.pgm"
  grep -v warning "$dir/log" | tail -n 20
}

while read -r name kind shape support constraints; do
  [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
  try_distribution "$name" "$kind" "$shape" "$support" "$constraints"
done < <(sed -n 's/^DIST(\([a-z_0-9]*\), *\([A-Z]*\), *\([A-Z]*\), *\([A-Z_]*\), *[0-9], *"[^"]*", *"\([a-z]*\)".*/\1 \2 \3 \4 \5/p' "$root/compiler/dist.def")
# Normal vectors with a certain covariance: their expectations are closed forms.
try_certain() {
  local dir=$work/certain
  mkdir -p "$dir"
  cat >"$dir/d_certain.pgm" <<'MODEL'
model d_certain {
  input N : int;
  input S : matrix[3, 3] = [[2, 0.5, 0.1], [0.5, 1, 0.3], [0.1, 0.3, 1.5]];
  latent mu : vector[3] ~ multi_normal([0, 1, 2], S);
  plate n in 1..N {
    latent z[n] : vector[3] ~ multi_normal(mu, S);
    observed x[n] : vector[3] ~ multi_normal_cholesky(0.5 * z[n], cholesky_decompose(S));
  }
}
MODEL
  {
    [ "$("$PGMC" "$dir/d_certain.pgm" --dump expr 2>&1 | grep -c '^  expected')" = 3 ] &&
      "$PGMC" "$dir/d_certain.pgm" --library -o "$dir" &&
      ${CC:-gcc} -std=gnu11 -O1 $PGMC_CFLAGS -I"$root/runtime" -DMODEL=d_certain "$root/tests/e2e/kernels/kernels.c" "$dir/libd_certain.a" -o "$dir/run" \
        -fopenmp -lgsl -lopenblas -ljansson -lz -lm &&
      "$dir/run" simulate --set N=3 --out "$dir/data.json" --truth "$dir/truth.json" --quiet &&
      "$dir/run" grad "$dir/data.json" --at "$dir/truth.json" --check --quiet && "$dir/run" kernels "$dir/data.json" 1 && "$dir/run" kernels "$dir/data.json" 2
  } >"$dir/log" 2>&1 && { pass "normal vectors with a certain covariance"; return; }
  fail "normal vectors with a certain covariance"
  tail -n 20 "$dir/log"
}
[ $# != 0 ] || try_certain

rows=$(grep -c '^DIST(' "$root/compiler/dist.def")
[ $# != 0 ] || near "rows of dist.def" $((passed + failed - 1)) "$rows" 0
finish
