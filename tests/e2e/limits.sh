#!/bin/bash
# Models beyond every limit are refused with a message, in little time, and never end the compiler; so are inputs that once did (tests/fuzz/corpus).
# `pgmc check` of a model of 2000 statements, or of as many with mistakes, takes less than a tenth of a second, three where all are one component. Lets that mention each other many
# times, which written out would be expressions of millions of terms, go through every pass in time that grows with their number.
. "$(dirname "$0")/lib.sh"

repeat() { awk -v text="$1" -v n="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s", text }'; }

# refuse_text NAME MESSAGE: the model on standard input is refused, with MESSAGE (place and all) among the errors
refuse_text() {
  cat >"$work/$1.pgm"
  (cd "$work" && timeout 20 "$PGMC" check --dump model "$1.pgm") >"$work/out" 2>"$work/err"
  local status=$?
  if [ $status = 1 ] && grep -Fxq -- "$1.pgm:$2" "$work/err"; then pass "$1: $2"; return; fi
  fail "$1: status $status"
  echo "wanted: $1.pgm:$2"
  head -c 2000 "$work/err"
}

model() { printf 'model m {\n  input N : int<lower=1>;\n'; cat; printf '}\n'; }

refuse_text parentheses "3:100007: error: this is nested too deeply" < <({ printf '  latent a ~ normal('; repeat '(' 200000; printf 1; repeat ')' 200000; printf ', 1);\n'; } | model)
refuse_text signs "3:4010: error: this expression is nested too deeply" < <({ printf '  let a = '; repeat '-' 5000; printf '1;\n'; } | model)
refuse_text sum "3:11: error: this expression is nested too deeply" < <({ printf '  let a = '; repeat 'N + ' 5000; printf '1;\n'; } | model)
refuse_text quotes "3:11: error: this expression is nested too deeply" < <({ printf '  let a = N'; repeat "'" 5000; printf ';\n'; } | model)
refuse_text conditions "3:32003: error: this expression is nested too deeply" < <({ printf '  let a = '; repeat 'N ? 1 : ' 5000; printf '1;\n'; } | model)
refuse_text brackets "3:4010: error: this expression is nested too deeply" < <({ printf '  let a = '; repeat '[' 5000; printf 1; repeat ']' 5000; printf ';\n'; } | model)
refuse_text plates "3:188879: error: this is nested too deeply" < <(repeat 'plate n in 1..N {' 50000 | model)
refuse_text chain "304:7: error: this let stands at the end of too long a chain of lets" < <(awk 'BEGIN { for (i = 1; i < 3000; i++) printf "  let a%d = a%d + 1;\n", i, i + 1; print "  let a3000 = N; observed y ~ normal(a1, 1);" }' | model)
refuse_text long_chain "1504:7: error: this let stands at the end of too long a chain of lets" < <(awk 'BEGIN { print "  latent a0 ~ normal(0, 1);"
  for (i = 1; i < 100000; i++) printf "  let a%d = 0.5 * a%d;\n", i, i - 1; print "  marginal latent c ~ bernoulli(0.5); observed y ~ normal(a99999 * c, 1);" }' | model)
refuse_text written_out "63:17: error: the definition of 'a59', written out, is too long for this place" < <(awk 'BEGIN { print "  let a0 = N * N;"; for (i = 1; i < 60; i++) printf "  let a%d = a%d * a%d;\n", i, i - 1, i - 1
  print "  plate n in 1..a59 { observed y[n] ~ normal(0, 1); }" }' | model)
refuse_text large "3:13: error: this number is too large for a double" < <(printf '  input a = 1e999;\n' | model)
refuse_text integer "3:19: error: whole numbers end at 2147483647" < <(printf '  input a : int = 4294967296;\n' | model)
refuse_text overflow "3:79: error: 'z' has 1 index elsewhere and 2 here" < <(printf '  latent z[N * 2147483647 * 2147483647 * 2147483647] ~ normal(0, 1); observed z[1, 1] ~ normal(0, 1);\n' | model)
refuse_text arguments "3:14: error: normal takes 2 arguments, not 100001" < <({ printf '  latent a ~ normal('; repeat '1, ' 100000; printf '1);\n'; } | model)
head -c 300000 /dev/urandom | tr '\0' 'x' | { printf 'model m {'; cat; } >"$work/random.pgm"
timeout 20 "$PGMC" check --dump model "$work/random.pgm" >/dev/null 2>&1
[ $? = 1 ] && pass "random bytes" || fail "random bytes"

for model in "$root"/tests/fuzz/corpus/*; do
  timeout 20 "$PGMC" emit "$model" >/dev/null 2>"$work/err"
  status=$?
  [ $status -le 1 ] && pass "${model##*/}" || { fail "${model##*/}: status $status"; tail -n 20 "$work/err"; }
done

# 2000 statements in 250 groups that use each other; and as many errors.
awk 'BEGIN { print "model big {\n  input N : int<lower=1>;"
  for (b = 0; b < 250; b++) {
    printf "  latent mu%d ~ normal(%s, 1);\n  latent s%d : real<lower=0> ~ normal(0, 1);\n  plate n in 1..N {\n    input w%d[n];\n", b, b ? "mu" (b - 1) : 0, b, b
    printf "    latent z%d[n] ~ normal(mu%d, s%d);\n    let e%d = z%d[n] + w%d[n] * mu%d + exp(s%d * 0.1);\n", b, b, b, b, b, b, b, b
    printf "    observed x%d[n] ~ normal(e%d, 1);\n    observed y%d[n] ~ bernoulli_logit(e%d * mu%d);\n  }\n", b, b, b, b, b
  }
  print "}" }' >"$work/big.pgm"
sed 's/exp(/epx(/; s/normal(0, 1)/nromal(0)/' "$work/big.pgm" >"$work/wrong.pgm"
awk 'BEGIN { print "model alone {"; for (i = 0; i < 1000; i++) printf "  latent a%d ~ normal(0, 1);\n  observed y%d ~ normal(a%d, 1);\n", i, i, i; print "}" }' >"$work/alone.pgm"
awk 'BEGIN { print "model chains {\n  input T : int<lower=2>;"
  for (i = 0; i < 500; i++) {
    printf "  latent z%d[1] ~ normal(0, 1);\n  plate t in 2..T { latent z%d[t] ~ normal(z%d[t-1], 1); }\n", i, i, i
    printf "  let e%d = %d;\n  plate t in 1..T { observed y%d[t] ~ normal(z%d[t] + e%d, 1); }\n", i, i, i, i, i
  }
  print "}" }' >"$work/chains.pgm"
awk 'BEGIN { print "model nets {\n  input N : int;\n  latent b ~ normal(0, 1);\n  plate n in 1..N {\n    latent z[n] ~ normal(0, 1);\n    let h0 = z[n];\n    let h1 = b * z[n];"
  for (i = 2; i < 60; i++) printf "    let h%d = tanh(h%d) + h%d * h%d;\n", i, i - 1, i - 2, i - 1
  print "    observed y[n] ~ normal(h59, 1);\n  }\n}" }' >"$work/nets.pgm"
awk 'BEGIN { print "model line {\n  input N : int;\n  plate n in 1..N {\n    latent a0[n] ~ normal(0, 1);"
  for (i = 1; i < 1997; i++) printf "    latent a%d[n] ~ normal(a%d[n], 1);\n", i, i - 1
  print "    observed y[n] ~ normal(a1996[n], 1);\n  }\n}" }' >"$work/line.pgm"
seconds() { # NAME LIMIT COMMAND...: processor time
  local name=$1 limit=$2
  shift 2
  { time timeout 60 "$@" >/dev/null 2>"$work/err"; } 2>"$work/time"
  case ${PGMC_CFLAGS:-} in
  *sanitize*) pass "$name: $(cat "$work/time") s with sanitizers" ;;
  *) below "$name: seconds" "$(cat "$work/time")" "$limit" ;;
  esac
}
TIMEFORMAT=%U
seconds "lets on lets" 0.5 "$PGMC" emit "$work/nets.pgm"
[ -s "$work/err" ] && fail "lets on lets: $(head -3 "$work/err")" || pass "lets on lets"
seconds "one component of 1997 families: check" 0.3 "$PGMC" check "$work/line.pgm"
for name in alone chains big wrong; do seconds "$name: check" 0.3 "$PGMC" check "$work/$name.pgm"; done
near "errors reported" "$(grep -c ': error: ' "$work/err")" 501 0
finish
