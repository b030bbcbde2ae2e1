#!/bin/bash
# The Bayesian neural network of Margossian & Blei (2024) on Fashion-MNIST: constant factors, F-VI and A-VI by the width of its two hidden
# layers, and the mean squared error of the reconstructions of training and test images on the way.
#   experiments/margossian_blei/network.sh [--seeds S] [--images N] [--test N] [--passes LIST] [--widths LIST] [--step SIZE] [--minutes M]
#                                         [--model FILE] [--published] [--quick] [--out DIRECTORY] [PGMC]
# Published: 10 000 images in batches of 1000, one draw, Adam 1e-3, 5000 passes (50 000 iterations), widths 1, 64, 128, 256. --published does just that,
# on the model as their code has it unless --model names one (published_network.c), and draws the errors' paths, curves.svg. Otherwise the same
# model and images, ten batches to a pass, matrix products in single precision as there (--real float), and the tool's Adam (docs/runtime.md)
# with one draw, until it has converged or the passes are over. Its first steps are longer (0.03), those of F-VI throughout, which moves the
# factor of an image once in a pass; all get shorter when they gain no more. All methods go to the first number of passes of the list, where
# the errors are taken, then those that have not converged to the next. fvi_from_WIDTH starts from the fit of the function that ended with
# the best ELBO, with short steps (0.002) and in 1000 passes at most: what the factors gain when they are free. What is there already is
# kept, and no part begins after M minutes. F-VI has to optimise the factors of test images, which takes long: their error is taken at its end only.
# Out: network.csv, a row per fit and number of passes.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
seeds=1 step=0.03 images=10000 test=100 passes= published= widths='1 64 128 256' minutes=100000
out=$root/build/experiments/margossian_blei/network pgmc=$root/build/pgmc model=
while [ $# -gt 0 ]; do
  case $1 in
  --seeds) seeds=$2; shift ;;
  --step) step=$2; shift ;;
  --published) published=1 ;;
  --model) model=$2; shift ;;
  --images) images=$2; shift ;;
  --test) test=$2; shift ;;
  --passes) passes=$2; shift ;;
  --widths) widths=$2; shift ;;
  --minutes) minutes=$2; shift ;;
  --quick) images=500 test=10 passes='5 10' widths='1 64' ;;
  --out) out=$2; shift ;;
  -*) sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  *) pgmc=$1 ;;
  esac
  shift
done
if [ -n "$published" ]; then
  model=${model:-$root/experiments/margossian_blei/bnn_published.pgm} passes=${passes:-100 200 500 1000 2000 3000 4000 5000} step=0.001
else
  model=${model:-$root/examples/fashion_mnist/bnn.pgm} passes=${passes:-20 50 100 200 500 1000 2000 5000}
fi
source=/usr/share/datasets/fashion-mnist
[ -r $source/train-images-idx3-ubyte.gz ] || {
  echo "network.sh: the images are missing: apt-get install dataset-fashion-mnist" >&2
  exit 3
}
[ -x "$pgmc" ] || { echo "network.sh: $pgmc is missing: make" >&2; exit 3; }
pgmc=$(realpath "$pgmc") model=$(realpath "$model")
mkdir -p "$out"
cd "$out"
cp "$root"/examples/fashion_mnist/{idx2npy.c,sheet.c} .
cp "$model" bnn.pgm
. "$root/experiments/blas.sh"
. "$root/experiments/kept.sh"
. "$root/experiments/beside.sh"
kept_with "$(basename "$model"), $images images, $test test images, ${published:+published optimiser, }first step $step"
"$pgmc" bnn.pgm --real float -o bnn
"$pgmc" bnn.pgm --library
cc -O2 idx2npy.c -o idx2npy -lz
cc -O2 sheet.c libbnn.a -o sheet -fopenmp -lgsl -lopenblas -ljansson -lz -lm
cc -O2 "$root/tests/e2e/json_get.c" -ljansson -o get
if [ -n "$published" ]; then
  runtime=$(dirname "$pgmc")/libpgmrt.a flags="-std=gnu11 -O3 -march=native -fno-math-errno -fno-trapping-math -fopenmp -I$root/runtime"
  libraries='-lgsl -lopenblas -ljansson -lz -lm'
  "$pgmc" emit bnn.pgm --real float -o bnn.c
  cc $flags -DPGM_LIBRARY bnn.c "$root/experiments/margossian_blei/published_network.c" "$runtime" $libraries -o published_network
  cc $flags "$root/experiments/margossian_blei/network_curves.c" "$runtime" $libraries -o network_curves
fi
./idx2npy $source/train-images-idx3-ubyte.gz 0 "$images" train.npy
./idx2npy $source/t10k-images-idx3-ubyte.gz 0 "$test" test.npy
./idx2npy $source/t10k-images-idx3-ubyte.gz 0 1 one.npy
batch=$((images / 10))

ended() { # NAME_SEED_PASSES: it converged, or has made all its passes
  [ -e "$1.fit" ] && { [ "${1##*_}" = "${passes##* }" ] || [ "$(./get "$1.json" converged)" = true ]; }
}
tests_of() { # NAME_SEED_PASSES
  case $1 in fvi*) ended "$1" || { echo one.npy; return; } ;; esac
  echo test.npy
}
# One part of a fit, NAME_SEED_PASSES.fit, which goes on from the one before, if there is one.
part() { # NAME SEED PASSES BEFORE options
  local name=$1 seed=$2 pass=$3 before=$1_$2_$4.fit how
  local out=${name}_${seed}_$pass passes_before=$4 iterations=$((10 * ($3 - $4)))
  shift 4
  [ ! -e "$out.errors" ] || return 0
  awk -v s=$SECONDS -v m="$minutes" 'BEGIN { exit !(s < 60 * m) }' || return 0
  if [ "$passes_before" = 0 ]; then
    how="$* --seed $seed --samples 1"
    case $name in fvi_from*) [ $iterations -lt 10000 ] || iterations=10000 ;; esac
  elif [ ! -e "$before" ] || ended "${before%.fit}"; then
    return 0
  else
    how="--resume $before --seed $seed"
    [ "$name" != fvi ] || how+=" --step $step"
  fi
  echo "\$ ./bnn fit --data x=train.npy --batch $batch --max-iter $iterations $how --out $out.fit"
  [ -e "$out.fit" ] || { # one that is interrupted writes how far it came, which is not a part of so many passes
    ./bnn fit --data x=train.npy --batch "$batch" --max-iter $iterations $how --json --quiet --out "$out.new" >"$out.json"
    mv "$out.new" "$out.fit"
  }
  ./sheet "$out.fit" train.npy "$(tests_of "$out")" $source/t10k-labels-idx1-ubyte.gz "$out.html" >"$out.part"
  mv "$out.part" "$out.errors"
}
# The same by the published optimiser, which keeps its state in NAME_SEED.state and counts what all parts took.
published_part() { # METHOD NAME SEED PASSES
  local name=$2_$3 out=$2_$3_$4
  [ ! -e "$out.errors" ] || return 0
  awk -v s=$SECONDS -v m="$minutes" 'BEGIN { exit !(s < 60 * m) }' || return 0
  if [ ! -e "$out.json" ]; then
    echo "\$ ./published_network $1 train.npy $name.state --seed $3 --passes $4 --fit $out.fit --curve $name.curve.csv"
    OMP_NUM_THREADS=1 ./published_network "$1" train.npy "$name.state" --seed "$3" --passes "$4" --fit "$out.fit" --curve "$name.curve.csv" >"$out.json.part"
    mv "$out.json.part" "$out.json"
  fi
  ./sheet "$out.fit" train.npy "$(tests_of "$out")" $source/t10k-labels-idx1-ubyte.gz "$out.html" >"$out.part"
  mv "$out.part" "$out.errors"
}
rows() { # NAME SEED: passes, iterations and seconds are those of all parts so far
  local pass run seconds=0 iterations=0
  for pass in $passes; do
    run=$1_$2_$pass
    [ -e "$run.errors" ] || continue # fvi_from has its last part only
    [ -z "$published" ] || iterations=0 seconds=0
    iterations=$((iterations + $(./get "$run.json" iterations)))
    seconds=$(awk -v a="$seconds" -v b="$(./get "$run.json" seconds)" 'BEGIN { printf "%.1f", a + b }')
    echo "$1,$2,$images,$((iterations / 10)),$iterations,$seconds,$(./get "$run.json" converged),$(./get "$run.json" elbo | awk '{ printf "%.0f", $1 }'),$(
      awk '/training,/ { print $4 }' "$run.errors"),$([ "$(tests_of "$run")" = one.npy ] || awk '/test, all/ { print $5 }' "$run.errors")"
  done
}
last_of() { # NAME_SEED: its fit, if it has ended
  local pass
  for pass in $passes; do ! ended "$1_$pass" || echo "$1_$pass.fit"; done | tail -n 1
}
for seed in $(seq "$seeds"); do
  if [ -n "$published" ]; then
    for pass in $passes; do # of one method one after the other, since they go on with the same state
      beside published_part fvi fvi "$seed" "$pass"
      for width in $widths; do beside published_part "$width" "avi_$width" "$seed" "$pass"; done
      beside published_part const const "$seed" "$pass"
      beside_all
    done
    continue
  fi
  before=0
  for pass in $passes; do
    part const "$seed" "$pass" $before --step "$step" --method const
    part fvi "$seed" "$pass" $before --step "$step" --method fvi
    for width in $widths; do
      part "avi_$width" "$seed" "$pass" $before --step "$step" --method avi --hidden "$width,$width" --activation leaky_relu --skip none
    done
    before=$pass
  done
  best=$(for width in $widths; do # of the functions that have ended
    from=$(last_of "avi_${width}_$seed")
    [ -z "$from" ] || echo "$(./get "${from%.fit}.json" elbo) $width $from"
  done | sort -g | tail -n 1)
  read -r _ width from <<<"$best"
  [ -z "$best" ] || part "fvi_from_$width" "$seed" "${passes##* }" 0 --step 0.002 --method fvi --init "$from"
done
{
  echo method,seed,images,passes,iterations,seconds,converged,elbo,mse_train,mse_test
  for seed in $(seq "$seeds"); do
    for name in const fvi $(for width in $widths; do echo "avi_$width"; done) $(for width in $widths; do echo "fvi_from_$width"; done); do
      rows "$name" "$seed"
    done
  done
} >network.csv
column -s, -t network.csv
if [ -n "$published" ]; then
  curves=()
  for name in const fvi $(for width in $widths; do echo "avi_$width"; done); do
    [ ! -e "${name}_1.curve.csv" ] || curves+=("${name}_1.curve.csv")
  done
  [ ${#curves[@]} = 0 ] || ./network_curves "${curves[@]}" >curves.html && "$root/experiments/picture.sh" curves.html 'Lines: error' >curves.svg
fi
