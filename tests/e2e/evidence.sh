#!/bin/bash
# The log evidence by quadrature, of models whose units have one to three coordinates each, against sums over fine grids and closed forms: posteriors with two modes
# far apart, heavy tails, bounds, many modes, corners, ridges, funnels, smooth ones; none, and beside a global variable, which is drawn. By sums over discrete
# variables, alone and around quadrature.
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
    function log_poisson(x, eta,  k, sum) { sum = x * eta - exp(eta); for (k = 2; k <= x; k++) sum -= log(k); return sum }
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

# ---- several coordinates per unit: one that the sum goes over, the others integrated by hand ----

model counts '    latent a[n] ~ normal(0.3, 1);
    latent b[n] ~ normal(0, 0.7);
    observed x[n] ~ poisson_log(a[n] + 0.8 * b[n]);'
compare counts 1e-5 'log_normal(z, 0.3, sqrt(1 + 0.49 * 0.64)) + log_poisson(x, z)' -10 10 4000 0 1 2 7 30
grep -q '"how": *"5 units of 2 coordinates by quadrature"' counts.out && pass "counts: how" || fail "counts: how"
model vector '    latent z[n] : vector[2] ~ normal(0, 1);
    observed x[n] ~ poisson_log(0.3 + z[n][1] - 0.5 * z[n][2]);'
compare vector 1e-5 'log_normal(z, 0.3, sqrt(1.25)) + log_poisson(x, z)' -10 10 4000 0 1 2 7 30
model three '    latent a[n] ~ normal(0.3, 1);
    latent b[n] ~ normal(0, 0.7);
    latent c[n] ~ normal(a[n] - b[n], 1);
    observed x[n] ~ poisson_log(c[n]);'
compare three 1e-5 'log_normal(z, 0.3, sqrt(2.49)) + log_poisson(x, z)' -12 12 4000 0 3

# the product of two: a ridge along either branch of a hyperbola; a curved ridge with two ends; an sd and a mean
model product '    latent a[n] ~ normal(0, 2);
    latent b[n] ~ normal(0, 2);
    observed x[n] ~ normal(a[n] * b[n], 0.2);'
compare product 1e-5 'log_normal(z, 0, 2) + log_normal(x, 0, sqrt(4 * z^2 + 0.04))' -16 16 160000 -6 0 1.5 11
model banana '    latent a[n] ~ normal(0, 1);
    latent b[n] ~ normal(2 * a[n]^2, 0.3);
    observed x[n] ~ normal(b[n], 0.5);'
compare banana 1e-5 'log_normal(z, 0, 1) + log_normal(x, 2 * z^2, sqrt(0.34))' -10 10 20000 -1 0.4 5
model funnel '    latent s[n] : real<lower=0> ~ lognormal(0, 1.5);
    latent m[n] ~ normal(0, s[n]);
    observed x[n] ~ normal(m[n], 0.1);'
compare funnel 1e-5 'log_normal(z, 0, 1.5) + log_normal(x, 0, sqrt(exp(2 * z) + 0.01))' -12 12 24000 0 0.5 -20
# x is in the middle of the density of the sum of three Cauchy variables, and in its tail
model tails '    latent a[n] ~ cauchy(0, 1);
    latent b[n] ~ cauchy(a[n], 0.3);
    observed x[n] ~ cauchy(b[n], 0.2);'
compare tails 1e-5 'log_normal(z, 0, 1) + log_cauchy(x, 0, 1.5)' -10 10 4000 0 4 60
model bounds '    latent r[n] : real<lower=0, upper=1> ~ uniform(0, 1);
    latent s[n] : real<lower=0, upper=1> ~ beta(2, 2);
    observed x[n] : int<lower=0, upper=1> ~ bernoulli(r[n] * s[n]);'
compare bounds 1e-5 'log_normal(z, 0, 1) + log(x ? 0.25 : 0.75)' -10 10 4000 0 1
# more than three: by a lattice, if that suffices; else, and where a mirror image of the mode that q has is another one, the value is a bound
model four '    latent z[n] : vector[4] ~ normal(0, 1);
    observed x[n] ~ poisson_log(0.3 + z[n][1] - 0.5 * z[n][2] + 0.4 * z[n][3] + 0.3 * z[n][4]);'
echo '{"x": [0, 1, 2, 7, 30]}' >four.json
evidence four four.json
near "four: evidence" "$(get four.out evidence.value)" "$(grid 'log_normal(z, 0.3, sqrt(1.5)) + log_poisson(x, z)' -12 12 4000 0 1 2 7 30)" 1e-4
below "four: its error" "$(get four.out evidence.se)" 1e-4
model mirror '    latent z[n] : vector[4] ~ normal(0, 1);
    observed x[n] ~ poisson_log(z[n][1] + 0.5 * z[n][2]);
    observed y[n] ~ normal(z[n][3]^2 + 0.2 * z[n][4], 0.3);'
echo '{"x": [1, 2], "y": [9, 16]}' >mirror.json
evidence mirror mirror.json
grep -q '"kind": *"bound".*units have modes that q does not have' mirror.out && pass "mirror: a bound" || fail "mirror: a bound"
below "mirror: below the evidence" "$(get mirror.out evidence.value)" \
  "$(calc "$(grid 'log_normal(z, 0, sqrt(1.25)) + log_poisson(x, z)' -12 12 4000 1 2) + $(grid 'log_normal(z, 0, 1) + log_normal(x, z^2, sqrt(0.13))' -9 9 9000 9 16)")"
# two that no factor shares are integrated one by one, whatever modes either has; and so are those of a plate inside
model apart '    latent a[n] ~ normal(0, 3);
    latent b[n] ~ normal(0, 1);
    observed x[n] ~ normal(a[n]^2, 0.5);
    observed y[n] ~ poisson_log(b[n]);'
echo '{"x": [12.5, 0.3], "y": [2, 0]}' >apart.json
evidence apart apart.json
near "apart: evidence" "$(get apart.out evidence.value)" \
  "$(calc "$(grid 'log_normal(z, 0, 3) + log_normal(x, z^2, 0.5)' -12 12 12000 12.5 0.3) + $(grid 'log_normal(z, 0, 1) + log_poisson(x, z)' -10 10 4000 2 0)")" 1e-6
grep -q '"how": *"2 units of 2 times 1 coordinate by quadrature"' apart.out && pass "apart: how" || fail "apart: how"
model inside '    plate k in 1..2 {
      latent a[n, k] ~ normal(0, 3);
      observed x[n, k] ~ normal(a[n, k]^2, 0.5);
    }'
echo '{"x": [[12.5, 0.3], [40, 2], [0, 5]]}' >inside.json
evidence inside inside.json
near "inside: evidence" "$(get inside.out evidence.value)" "$(grid 'log_normal(z, 0, 3) + log_normal(x, z^2, 0.5)' -12 12 12000 12.5 0.3 40 2 0 5)" 1e-6

# a global beside them: smooth units, and such as have two modes; the same bits for any number of threads; given its factor
# outer NAME TOLERANCE DENSITY: the sum over m of the sums over z, the density of z and x given m
outer() {
  local name=$1 tolerance=$2 m sums=""
  evidence "$name" "$name.json"
  for m in $(seq -2 0.1 3); do sums+="$(calc "$(grid "${3//M/($m)}" -9 9 1800 $(get "$name.json" x)) - 0.5 * ($m) ^ 2 - 0.5 * log(2 * 3.14159265358979)") "; done
  near "$name: evidence" "$(get "$name.out" evidence.value)" \
    "$(awk -v all="$sums" 'BEGIN { n = split(all, v, " "); m = v[1]; for (k = 1; k <= n; k++) if (v[k] > m) m = v[k]; for (k = 1; k <= n; k++) s += 0.1 * exp(v[k] - m); printf "%.9f", m + log(s) }')" "$tolerance"
  below "$name: its error" "$(get "$name.out" evidence.se)" 0.05
}
model level '    latent a[n] ~ normal(m, 1);
    latent b[n] ~ normal(0, 0.7);
    observed x[n] ~ poisson_log(a[n] + 0.8 * b[n]);' 'latent m ~ normal(0, 1);'
echo '{"x": [1, 0, 3, 8, 2, 0, 0, 1, 2, 2, 5, 1]}' >level.json
outer level 0.05 'log_normal(z, M, sqrt(1 + 0.49 * 0.64)) + log_poisson(x, z)'
./level gap level.json --quiet --json --max-iter 200 --threads 1 >one.out
near "level: one thread" "$(get one.out evidence.value)" "$(get level.out evidence.value)" 0
model products '    latent a[n] ~ normal(0, 2);
    latent b[n] ~ normal(0, 2);
    observed x[n] ~ normal(m + a[n] * b[n], 0.4);' 'latent m ~ normal(0, 1);'
echo '{"x": [3]}' >products.json
outer products 0.05 'log_normal(z, 0, 2) + log_normal(x, M, sqrt(4 * z^2 + 0.16))'

# one coordinate: a global: the sum over its values is the outer one
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

# ---- discrete variables are summed over: without continuous ones exactly, with them integral by integral ----

model labels3 '    latent k[n] : int<lower=1, upper=3> ~ categorical([0.5, 0.3, 0.2]);
    observed x[n] ~ normal(3 * k[n], 1);'
echo '{"x": [1, 4, 7.5, 6, -2]}' >labels3.json
evidence labels3 labels3.json
# mixture_log LOW HIGH X...: at b from LOW to HIGH by 0.05 a pair of b and the sum over x of log sum_k p_k normal(x | b + 3 k, 1)
mixture_log() {
  awk -v low="$1" -v high="$2" -v xs="${*:3}" 'BEGIN {
    split("0.5 0.3 0.2", p, " ")
    for (b = low; b <= high + 1e-9; b += 0.05) {
      total = 0
      for (i = split(xs, x, " "); i > 0; i--) {
        sum = 0
        for (k = 1; k <= 3; k++) sum += p[k] * exp(-0.5 * (x[i] - b - 3 * k)^2)
        total += log(sum) - 0.5 * log(2 * atan2(0, -1))
      }
      printf "%.12f %.12f\n", b, total
    }
  }'
}
near "labels3: evidence" "$(get labels3.out evidence.value)" "$(mixture_log 0 0 1 4 7.5 6 -2 | cut -d ' ' -f 2)" 1e-9
near "labels3: its error" "$(get labels3.out evidence.se)" 0 0
grep -q '"kind": *"exact".*"how": *"5 units of 3 values, summed"' labels3.out && pass "labels3: exact" || fail "labels3: exact"

# beside a global: with its prior, and given its factor
model labels_at '    latent k[n] : int<lower=1, upper=3> ~ categorical([0.5, 0.3, 0.2]);
    observed x[n] ~ normal(b + 3 * k[n], 1);' 'latent b ~ normal(0, 2);'
# joint X...: pairs of b and log p(x, b)
joint() { mixture_log -6 6 "$@" | awk '{ printf "%.12f %.12f\n", $1, $2 - 0.5 * ($1 / 2)^2 - log(2) - 0.5 * log(2 * atan2(0, -1)) }'; }
# given X...: the mean under the fitted q(b) of log p(x, b) - log q(b)
given() {
  joint "$@" | awk -v mean="$(get labels_at.fit.json globals.b.mean)" -v sd="$(get labels_at.fit.json globals.b.sd)" '
    { q = -0.5 * (($1 - mean) / sd)^2 - log(sd) - 0.5 * log(2 * atan2(0, -1)); sum += 0.05 * exp(q) * ($2 - q) } END { printf "%.9f", sum }'
}
echo '{"x": [1, 4, 7.5, 6, -2, 3, 3]}' >labels_at.json
evidence labels_at labels_at.json
near "labels_at: evidence" "$(get labels_at.out evidence.value)" "$(joint 1 4 7.5 6 -2 3 3 |
  awk '{ v[NR] = $2; if (NR == 1 || $2 > m) m = $2 } END { for (k in v) s += 0.05 * exp(v[k] - m); printf "%.9f", m + log(s) }')" 0.05
below "labels_at: its error" "$(get labels_at.out evidence.se)" 0.02
./labels_at fit labels_at.json --method fvi --quiet --json -o labels_at.fit >labels_at.fit.json || fail "labels_at: fit"
echo '{"x": [2, 5.5, 9, 3]}' >labels_new.json
for options in "--fix labels_at.fit" "--test labels_new.json"; do
  ./labels_at gap labels_at.json $options --quiet --json >labels_at.out || fail "labels_at: gap $options"
  case $options in --fix*) at='' data='1 4 7.5 6 -2 3 3' ;; *) at=test. data='2 5.5 9 3' ;; esac
  near "labels_at: evidence given its globals, $options" "$(get labels_at.out ${at}evidence.value)" "$(given $data)" "$(calc "4 * $(get labels_at.out ${at}evidence.se)")"
  below "labels_at: its error" "$(get labels_at.out ${at}evidence.se)" 0.01
done
awk 'BEGIN { srand(1); printf "{\"x\": ["; for (n = 1; n < 700; n++) printf "%.3f, ", 12 * rand(); print "3]}" }' >labels_at.json
for threads in 1 2; do ./labels_at gap labels_at.json --degree 1 --quiet --json --threads $threads >labels_$threads.out; done
near "labels_at: one thread" "$(get labels_1.out evidence.value)" "$(get labels_2.out evidence.value)" 0

# a label and a continuous variable that depends on it; two labels in one factor; labels of a plate inside; what the data rule out; numbers of values that differ
model switch '    latent k[n] : int<lower=1, upper=2> ~ categorical([0.3, 0.7]);
    latent z[n] ~ normal(3 * k[n] - 4, 0.5);
    observed x[n] ~ poisson_log(z[n]);'
compare switch 1e-6 'log(0.3 * exp(log_normal(z, -1, 0.5)) + 0.7 * exp(log_normal(z, 2, 0.5))) + log_poisson(x, z)' -8 8 16000 0 1 2 5 20
grep -q '"how": *"5 units of 1 coordinate and 2 values by quadrature and sums"' switch.out && pass "switch: how" || fail "switch: how"
model two_labels '    latent a[n] ~ bernoulli(0.4);
    latent b[n] ~ binomial(2, 0.3);
    observed x[n] ~ normal(a[n] - 2 * b[n], 0.5);'
echo '{"x": [-3, 0.4]}' >two_labels.json
evidence two_labels two_labels.json
near "two_labels: evidence" "$(get two_labels.out evidence.value)" "$(awk 'BEGIN {
  split("-3 0.4", x, " "); split("0.6 0.4", pa, " "); split("0.49 0.42 0.09", pb, " ")
  for (i = 1; i <= 2; i++) {
    sum = 0
    for (a = 0; a < 2; a++) for (b = 0; b < 3; b++) sum += pa[a + 1] * pb[b + 1] * exp(-2 * (x[i] - a + 2 * b)^2)
    total += log(sum) - log(0.5) - 0.5 * log(2 * atan2(0, -1))
  }
  printf "%.12f", total }')" 1e-9
model labels_in '    plate j in 1..2 {
      latent a[n, j] ~ bernoulli(0.4);
      observed y[n, j] ~ poisson(1.5 * a[n, j]);
    }'
echo '{"y": [[0, 2], [3, 0]]}' >labels_in.json
evidence labels_in labels_in.json
near "labels_in: evidence" "$(get labels_in.out evidence.value)" \
  "$(calc '2 * log(0.6 + 0.4 * exp(-1.5)) + log(0.4 * exp(-1.5) * 1.5 ^ 2 / 2) + log(0.4 * exp(-1.5) * 1.5 ^ 3 / 6)')" 1e-9
cp "$root/tests/e2e/discrete/counts.pgm" . && compile counts.pgm || finish
echo '{"I": 2, "n": [1, 2], "y": [1.2, 0.4]}' >counts.json
evidence counts counts.json
near "counts: evidence" "$(get counts.out evidence.value)" "$(calc "log(0.7 * exp(-0.5 * 1.2 ^ 2) + 0.3 * exp(-0.5 * 0.2 ^ 2)) + \
  log(0.49 * exp(-0.5 * 0.4 ^ 2) + 0.42 * exp(-0.5 * 0.6 ^ 2) + 0.09 * exp(-0.5 * 1.6 ^ 2)) - log(2 * 3.14159265358979324)")" 1e-9
grep -q '"how": *"2 units of 2 to 3 values, summed"' counts.out && pass "counts: how" || fail "counts: how"

# labels can be exchanged, unless an order forbids it
for mu in 'vector[2]' 'ordered[2]'; do
  cat >labels.pgm <<END
model labels {
  input N : int;
  latent mu : $mu ~ normal(0, 10);
  plate n in 1..N {
    marginal latent c[n] : int<lower=1, upper=2> ~ categorical([0.5, 0.5]);
    observed y[n] ~ normal(mu[c[n]], 1);
  }
}
END
  "$PGMC" labels.pgm -o labels 2>/dev/null
  echo '{"y": [-3.2, -2.5, -3.9, 3.1, 2.2, 4.0]}' >labels.json
  said=$(./labels gap labels.json --quiet | grep -c 'exchanges of labels')
  [ "$mu$said" = 'vector[2]1' ] || [ "$mu$said" = 'ordered[2]0' ] && pass "labels: $mu" || fail "labels: $mu: $said"
done
finish
