#!/bin/bash
# The log evidence by quadrature, of models whose units have one local variable each, against sums over fine grids: posteriors with two modes far apart, heavy
# tails, bounds, many modes, a corner, a smooth one; none, and beside a global variable, which is drawn.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3

# model NAME 'local and observed statement' ['globals']
model() { printf 'model %s {\n  input N : int;\n  %s\n  plate n in 1..N {\n%s\n  }\n}\n' "$1" "${3:-}" "$2" >"$1.pgm" && compile "$1.pgm" || finish; }
evidence() { ./"$1" gap "$2" --quiet --json --max-iter 200 >"$1.out" 2>gap.err || { fail "gap $1"; cat gap.err; }; }

# grid DENSITY LOW HIGH STEPS X...: the sum over x of the log of the integral of exp(DENSITY), an expression in z and x, by the trapezoidal rule
grid() {
  local density=$1 low=$2 high=$3 steps=$4
  shift 4
  awk -v low="$low" -v high="$high" -v steps="$steps" -v xs="$*" '
    function log_normal(x, m, s) { return -0.5 * ((x - m) / s)^2 - log(s) - 0.5 * log(2 * pi) }
    function log_cauchy(x, m, s) { return -log(pi * s * (1 + ((x - m) / s)^2)) }
    function log_t3(x, m, s) { return log(2 / (pi * sqrt(3) * s)) - 2 * log(1 + ((x - m) / s)^2 / 3) }
    BEGIN {
      pi = atan2(0, -1)
      for (k = split(xs, data, " "); k > 0; k--) {
        x = data[k]
        sum = 0
        for (i = 0; i <= steps; i++) {
          z = low + (high - low) * i / steps
          sum += (i % steps ? 1 : 0.5) * exp('"$density"')
        }
        total += log(sum * (high - low) / steps)
      }
      printf "%.12f", total
    }'
}

# compare NAME TOLERANCE DENSITY LOW HIGH STEPS X...
compare() {
  local name=$1 tolerance=$2
  shift 2
  printf '{"x": [%s]}' "$(IFS=,; echo "${*:5}")" >"$name.json"
  evidence "$name" "$name.json"
  near "$name: evidence of ${*:5}" "$(get "$name.out" evidence.value)" "$(grid "$@")" "$tolerance"
  below "$name: its error" "$(get "$name.out" evidence.se)" 1e-6
  grep -q '"kind": *"exact"' "$name.out" && fail "$name: not called exact" || pass "$name: not called exact"
  grep -q 'by quadrature' "$name.out" && pass "$name: by quadrature" || fail "$name: by quadrature"
}

model modes '    latent z[n] ~ normal(0, 3);
    observed x[n] ~ normal(z[n]^2, 0.5);'
compare modes 1e-6 'log_normal(z, 0, 3) + log_normal(x, z^2, 0.5)' -12 12 12000 0 0.3 2 5 12.5 25 40
model student '    latent z[n] ~ normal(0, 1);
    observed x[n] ~ student_t(3, z[n]^2, 0.3);'
compare student 1e-6 'log_normal(z, 0, 1) + log_t3(x, z^2, 0.3)' -9 9 9000 -2 0.2 1 4 9 20
model sine '    latent z[n] : real<lower=0, upper=10> ~ uniform(0, 10);
    observed x[n] ~ normal(sin(z[n]), 0.1);'
compare sine 1e-6 '-log(10) + log_normal(x, sin(z), 0.1)' 0 10 100000 0
compare sine 1e-6 '-log(10) + log_normal(x, sin(z), 0.1)' 0 10 100000 0.5 1.2
model corner '    latent z[n] ~ double_exponential(0, 1);
    observed x[n] ~ normal(z[n], 2);'
compare corner 1e-6 '-sqrt(z^2) - log(2) + log_normal(x, z, 2)' -40 40 40000 0 5 15
model smooth '    latent z[n] ~ normal(0, 1);
    observed x[n] ~ poisson_log(z[n]);'
compare smooth 1e-6 'log_normal(z, 0, 1) + x * z - exp(z) - (x > 1 ? log(x) : 0) - (x > 2 ? log(x - 1) : 0)' -10 10 4000 0 1 2 3

# two Cauchy densities: the integral is one of scale 1.3
model cauchies '    latent z[n] ~ cauchy(0, 1);
    observed x[n] ~ cauchy(z[n], 0.3);'
for x in 0 3 50; do
  echo "{\"x\": [$x]}" >cauchies.json
  evidence cauchies cauchies.json
  near "cauchies: evidence of $x" "$(get cauchies.out evidence.value)" "$(calc "-log(3.14159265358979323846 * 1.3 * (1 + ($x / 1.3)^2))")" 1e-6
done

# a global: the sum over its values is the outer one
model shift '    latent z[n] ~ normal(0, 3);
    observed x[n] ~ normal(z[n]^2 + b, 0.5);' 'latent b ~ normal(0, 1);'
echo '{"x": [0.76, 16.2, 21.9, 13.4, 12.9, 34.9, 5.4, 0.2, 35.5, 2.7]}' >shift.json
evidence shift shift.json
near "shift: evidence" "$(get shift.out evidence.value)" "$(get shift.json x | awk '
  { x[NR] = $1 }
  END {
    c = 0.5 * log(2 * atan2(0, -1))
    for (b = -4; b < 4; b += 0.1) {
      total = -0.5 * b * b - c
      for (k = 1; k <= NR; k++) {
        sum = 0
        for (z = 0.005; z < 12; z += 0.01) sum += 2 * exp(-0.5 * (z / 3)^2 - 0.5 * ((x[k] - z * z - b) / 0.5)^2)
        total += log(sum * 0.01) - 2 * c - log(1.5)
      }
      all += exp(total + 40)
    }
    printf "%.9f", log(all * 0.1) - 40
  }')" 0.06
finish
