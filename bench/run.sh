#!/bin/bash
# Everything side by side in one run on this machine (`make bench`; some ten minutes), printed as Markdown: docs/performance.md has the last such table.
#   run.sh [--rounds R] BUILD       R (5): how often all of it is done in turn, so that what else the machine does meets every row alike
#
# Unit "ref": one gradient of the sampled ELBO of the linear model by a hand-written loop (reference.c), timed in the same round. Each row gives the median of
# the rounds' ratios and their least and greatest. Ratios are of processor time, which other work on the machine changes little, where one thread works, and of
# elapsed time where it says so. The whole run holds one lock if BENCH_LOCK names a file.
# PyTorch (Debian: python3-torch) and Stan's ADVI (r-cran-rstan, r-cran-bh) take part where they are installed.
set -u
rounds=5
[ "${1:-}" = --rounds ] && { rounds=$2; shift 2; }
B=$(realpath "${1:?usage: bench/run.sh [--rounds R] BUILD}") || exit 3
cd "$(dirname "$0")/.." || exit 3
root=$PWD work=$B/bench
unset OPENBLAS_CORETYPE # which kernels OpenBLAS takes is for the programs to say; set by whoever calls this, it would slow both of them down
export LC_ALL=C GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-1000}
mkdir -p "$work" || exit 3
if [ -n "${BENCH_LOCK:-}" ]; then exec 9>"$BENCH_LOCK" && flock 9; fi

# ---- programs and data ----------------------------------------------------------------------------------------------------------------------
: "${CC:=gcc}"
flags="-std=gnu11 -Wall -Wextra -O3 -march=native -mprefer-vector-width=512 -fno-math-errno -fno-trapping-math -fno-builtin-sin -fno-builtin-cos -fopenmp --param max-unswitch-insns=1000"
$CC $flags bench/reference.c -o "$work/reference" -lm && $CC $flags bench/spawn.c -o "$work/spawn" || exit 3
cd "$work" || exit 3
for model in linear saw nonlinear radon wide_nonlinear poisson_effects poisson_exposure logistic_effects logistic_slope bnn; do
  file=$(ls "$root"/examples/*/$model.pgm "$root/tests/e2e/$model.pgm" 2>/dev/null | head -n 1)
  "$B/pgmc" "$file" -o $model --save-c 2>log || { cat log; exit 3; }
  $CC $flags -DPGM_LIBRARY -DMODEL=${model}_model -I"$root/runtime" $model.c "$root/bench/fit.c" "$B/libpgmrt.a" -lgsl -ljansson -lz -lm -o fit_$model || exit 3
done
for real in double float; do
  "$B/pgmc" emit "$root/examples/fashion_mnist/bnn.pgm" --real $real -o bnn_$real.c 2>log || { cat log; exit 3; }
  $CC $flags -DPGM_LIBRARY -DMODEL=bnn_model -I"$root/runtime" bnn_$real.c "$root/bench/fit.c" "$B/libpgmrt.a" -lgsl -ljansson -lz -lm -o fit_bnn_$real || exit 3
done
[ -f data.done ] || {
  ./linear simulate --set N=10000 --set theta=1.5 --seed 1 --out linear.json --quiet &&
    { echo x; sed -n '/"x"/,/\]/p' linear.json | tr -d ' \n' | sed 's/.*\[//; s/\].*//' | tr ',' '\n'; } >linear.csv &&
    ./saw simulate --set N=1000 --set theta=1 --seed 1 --out saw.json --quiet &&
    ./wide_nonlinear simulate --set N=10000 --set theta=2 --seed 5 --out nonlinear.json --quiet &&
    ./poisson_effects simulate --set N=100000 --set theta=0.7 --set tau=0.8 --seed 3 --out poisson5.json --quiet &&
    ./poisson_effects simulate --set N=1000000 --set theta=0.7 --set tau=0.8 --seed 3 --out poisson6.json --quiet &&
    ./logistic_effects simulate --set N=100000 --set theta=0.7 --set tau=0.8 --seed 3 --out logistic5.json --quiet &&
    awk 'BEGIN { srand(4); n = 1000000; j = 10000; pi = 3.14159265358979
      for (k = 0; k < j; k++) a[k] = 1.3 + 0.4 * sqrt(-2 * log(1 - rand())) * cos(2 * pi * rand())
      print "county_idx,floor_measure,log_radon"
      for (i = 0; i < n; i++) { c = int(rand() * j); f = rand() < 0.3
        printf "%d,%d,%.4f\n", c + 1, f, a[c] - 0.6 * f + 0.75 * sqrt(-2 * log(1 - rand())) * cos(2 * pi * rand()) } }' >radon.csv &&
    echo '{"J": 10000}' >J.json && touch data.done || exit 3
}
# no two units with equal data: an exposure, a covariate
[ -f slope5.json ] || {
  awk 'function normal() { return sqrt(-2 * log(1 - rand())) * cos(6.283185307179586 * rand()) }
    function column(name, file, scale, i) {
      printf "{\"%s\": [", name >file
      for (i = 0; i < 100000; i++) printf "%s%.5f", (i ? ", " : ""), scale * normal() >file
      print "]}" >file
    }
    BEGIN { srand(5); column("log_exposure", "exposure.json", 0.5); column("x", "slope.json", 1) }' &&
    ./poisson_exposure simulate exposure.json --set N=100000 --set theta=0.7 --set tau=0.8 --seed 3 --out exposed5.json --quiet &&
    ./logistic_slope simulate slope.json --set N=100000 --set theta=0.7 --set tau=0.8 --set beta=1 --seed 3 --out slope5.json --quiet || exit 3
}
npy() { # values, file: standard normal-like numbers as .npy
  python3 - "$1" "$2" <<'END'
import array, random, struct, sys
n, path = int(sys.argv[1]), sys.argv[2]
random.seed(7)
block = array.array("d", (1.5 + random.gauss(0, 2.7) for _ in range(min(n, 100000))))
head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }" % n
head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
with open(path, "wb") as f:
    f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
    for i in range(0, n, len(block)):
        f.write(block[: n - i].tobytes())
END
}
for e in 3 4 5 6 7; do [ -f x$e.npy ] || npy $((10 ** e)) x$e.npy || exit 3; done

# ---- measuring ------------------------------------------------------------------------------------------------------------------------------
rm -f times
ref=1 ref_wall=1
# note ROW SECONDS UNIT-SECONDS: one round's figure of a row
note() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>times; }
# fit ROW cpu|wall ARGUMENTS of fit.c...
fit() {
  local row=$1 what=$2 cpu wall
  shift 2
  read -r cpu wall _ < <("$@" 2>>log) || { echo "run.sh: $* failed" >&2; return; }
  [ "$what" = cpu ] && note "$row" "$cpu" "$ref" || note "$row" "$wall" "$ref_wall"
}
whole() { # ROW REPEATS COMMAND...: processor time of a whole process
  local row=$1 repeats=$2 best median peak cpu
  shift 2
  read -r best median peak cpu < <(./spawn "$repeats" "$@") || return
  note "$row" "$cpu" "$ref"
}
# seconds of an iteration, from a trace: the median of its differences
per_step() { awk -F, 'NR > 2 { print $2 - last } { last = $2 }' "$1" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# processor and elapsed seconds of a step of the network: double|float THREADS DRAWS
network_step() { ./fit_bnn_$1 -m avi -n 64 -b 1000 -t "$2" -s "$3" -i $((5 + 100 / $3)) -p images.json 2>>log; }
torch=
python=/usr/bin/python3
$python -c 'import torch' 2>/dev/null && torch=1
images() { ./bnn simulate --set N=2000 --set D=784 --seed 2 --out images.json --quiet; }
[ -f images.json ] || images || exit 3

for ((round = 1; round <= rounds; round++)); do
  echo "round $round of $rounds" >&2
  read -r ref ref_wall _ < <(./reference 60)
  note "0 reference loop, one gradient, ms" "$ref" 0.001
  fit "linear F-VI, N = 10^4|0.1|0.01" cpu ./fit_linear -m fvi -r 20 linear.json
  whole "the same as a process, from CSV, fit written|3|1.5" 10 ./linear fit linear.csv --method fvi --threads 1 --quiet --out fit.st
  fit "saw F-VI, N = 10^3|0.03|0.005" cpu ./fit_saw -m fvi -r 50 saw.json
  fit "nonlinear F-VI, N = 10^4, multistart|60|12" cpu ./fit_nonlinear -m fvi nonlinear.json
  fit "nonlinear F-VI, one start|-|-" cpu ./fit_nonlinear -m fvi -1 nonlinear.json
  fit "nonlinear A-VI, tanh 16,16, to convergence|-|-" cpu ./fit_nonlinear -m avi nonlinear.json
  read -r _ _ _ one_start < <(./fit_nonlinear -m fvi -1 nonlinear.json) &&
    fit "nonlinear A-VI, within 1 nat per 1000 of F-VI from one start|150|60" cpu ./fit_nonlinear -m avi -w "$(awk -v e="$one_start" 'BEGIN { print e - 10 }')" nonlinear.json
  fit "poisson log-normal F-VI, N = 10^5|6|2.5" cpu ./fit_poisson_effects -m fvi poisson5.json
  fit "poisson log-normal F-VI, N = 10^6|50|20" cpu ./fit_poisson_effects -m fvi poisson6.json
  fit "the same with exposures, all different, N = 10^5|-|-" cpu ./fit_poisson_exposure -m fvi -r 3 exposed5.json
  fit "logistic random effects F-VI, N = 10^5|110|15" cpu ./fit_logistic_effects -m fvi logistic5.json
  fit "the same with a covariate, all different, N = 10^5|-|-" cpu ./fit_logistic_slope -m fvi slope5.json
  fit "radon F-VI, 10^6 observations, 10^4 counties|4|1" cpu ./fit_radon -m fvi radon.csv J.json
  whole "linear F-VI, N = 10^7, from .npy, as a process, fit written|40|8" 3 ./linear fit --data x=x7.npy --method fvi --threads 1 --quiet --out fit.st
  for threads in 1 2; do
    ./linear fit linear.json --method fvi --optimizer adam --expectation monte-carlo --samples 100 --max-iter 60 --threads $threads --trace trace.csv \
      --quiet >/dev/null 2>&1
    [ $threads = 1 ] && row="sampled Adam step, 100 draws, one thread, elapsed|1.0|0.4" || row="sampled Adam step, 100 draws, two threads, elapsed|0.6|0.23"
    note "$row" "$(per_step trace.csv)" "$ref_wall"
  done
  read -r best median _ < <(./spawn 40 ./linear --version) && note "start of a program (--version), ms, elapsed|2|-" "$median" 0.001
  read -r best _ < <(./spawn 2 "$B/pgmc" "$root/examples/linear/linear.pgm" -o made) && note "model to binary, seconds, elapsed|3|1" "$best" 1
  read -r double _ < <(network_step double 1 10)
  read -r float _ < <(network_step float 1 10)
  read -r one one_wall _ < <(network_step float 1 1)
  read -r _ two_wall _ < <(network_step float 2 1)
  if [ -n "$torch" ]; then
    for model in linear saw nonlinear; do
      read -r cpu wall < <($python "$root/bench/torch_vi.py" $model 20 1 $model.json) && note "PyTorch: $model, one Adam step, 100 draws|-|-" "$cpu" "$ref"
    done
    read -r cpu wall < <(OPENBLAS_NUM_THREADS=1 $python "$root/bench/torch_vi.py" network 10 1)
    note "PyTorch: network, one step of 1000 images|-|-" "$cpu" "$ref"
    note "network, --real float, one step of 1000 images, of PyTorch's time|0.95|0.8" "$float" "$cpu"
    note "network, double precision, of PyTorch's time|-|-" "$double" "$cpu"
  fi
  note "network, --real float, one step of 1000 images|-|-" "$float" "$ref"
  note "network, double precision, of the time in float|-|-" "$double" "$float"
  note "network, --real float, one draw|-|-" "$one" "$ref"
  note "network, --real float, one draw, two threads, of one thread's time, elapsed|-|-" "$two_wall" "$one_wall"
done

# ---- tables ---------------------------------------------------------------------------------------------------------------------------------
echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $($CC -dumpfullversion), $rounds rounds; load $(cut -d' ' -f1 /proc/loadavg)"
echo
echo "| work | ratio (least .. greatest) | must | ambition |"
echo "| --- | --- | --- | --- |"
awk -F '\t' '!($1 in n) { order[++rows] = $1 } { n[$1]++; value[$1, n[$1]] = $2 / $3 } END {
  for (r = 1; r <= rows; r++) {
    name = order[r]; k = n[name]
    for (i = 1; i <= k; i++) v[i] = value[name, i]
    for (i = 1; i <= k; i++) for (j = i + 1; j <= k; j++) if (v[j] < v[i]) { t = v[i]; v[i] = v[j]; v[j] = t }
    split(name, part, "|"); sub(/^0 /, "", part[1])
    printf "| %s | %.3g (%.3g .. %.3g) | %s | %s |\n", part[1], v[int((k + 1) / 2)], v[1], v[k], part[2] == "" ? "-" : part[2], part[3] == "" ? "-" : part[3]
  } }' times
[ -n "$torch" ] || echo "PyTorch is not installed for $python: apt-get install python3-torch"
echo
echo "Growth: the linear model by F-VI from .npy, a whole process."
echo
echo "| N | seconds, one thread | seconds, two threads | peak memory, MB | of the data |"
echo "| --- | --- | --- | --- | --- |"
for e in 3 4 5 6 7; do
  read -r one _ peak _ < <(./spawn 3 ./linear fit --data x=x$e.npy --method fvi --threads 1 --quiet)
  read -r two _ < <(./spawn 3 ./linear fit --data x=x$e.npy --method fvi --threads 2 --quiet)
  awk -v e=$e -v one="$one" -v two="$two" -v peak="$peak" 'BEGIN { printf "| 10^%d | %.4f | %.4f | %.1f | %.1f |\n", e, one, two, peak / 1e6, peak / (8 * 10 ^ e) }'
done
echo
if ! Rscript -e 'library(rstan)' >/dev/null 2>&1; then
  echo "Stan ADVI: not installed (apt-get install r-cran-rstan r-cran-bh)"
elif stan=$(Rscript "$root/bench/stan_advi.R" linear.json 2>>log); then
  echo "$stan" | awk '{ printf "Stan ADVI, linear, N = 10^4: %.0f s to compile; defaults %.1f s, mean of theta %.3f; tol_rel_obj 1e-4 %.1f s, mean of theta %.3f", $1, $2, $3, $4, $5 }'
  ./linear fit linear.json --method fvi --quiet --json | sed -n 's/.*"seconds": \([0-9.e+-]*\).*/ (F-VI: \1 s/p; s/.*"theta": {"mean": \([0-9.e+-]*\).*/, mean of theta \1)/p' | tr -d '\n'
  echo
else
  echo "Stan ADVI: failed, see $work/log"
fi
