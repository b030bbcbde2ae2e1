#!/bin/bash
# The Bayesian neural network of Margossian & Blei (2024) on Fashion-MNIST: constant factors, F-VI and A-VI by the width of its two hidden
# layers, and the mean squared error of the reconstructions of training and test images, against the time it took.
#   experiments/margossian_blei/network.sh [--seeds S] [--images N] [--iterations I] [--widths LIST] [--quick] [--out DIRECTORY] [PGMC]
# Published: 10 000 images in batches of 1000, one draw, Adam 1e-3, 5000 passes (50 000 iterations), widths 1, 64, 128, 256. Here the same
# model, images and batches, and the tool's Adam (docs/runtime.md) for at most I iterations (5000), since 50 000 take hours on two cores.
# A fit that is there already is kept, and one that was interrupted goes on from its checkpoint. Out: network.csv, a row per fit.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
seeds=1 images=10000 iterations=5000 widths='1 64 128 256' out=$root/build/experiments/margossian_blei/network pgmc=$root/build/pgmc
while [ $# -gt 0 ]; do
  case $1 in
  --seeds) seeds=$2; shift ;;
  --images) images=$2; shift ;;
  --iterations) iterations=$2; shift ;;
  --widths) widths=$2; shift ;;
  --quick) images=500 iterations=200 widths='1 64' ;;
  --out) out=$2; shift ;;
  -*) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  *) pgmc=$1 ;;
  esac
  shift
done
source=/usr/share/datasets/fashion-mnist
[ -r $source/train-images-idx3-ubyte.gz ] || {
  echo "network.sh: the images are missing: apt-get install dataset-fashion-mnist" >&2
  exit 3
}
[ -x "$pgmc" ] || { echo "network.sh: $pgmc is missing: make" >&2; exit 3; }
pgmc=$(realpath "$pgmc")
mkdir -p "$out"
cd "$out"
cp "$root"/examples/fashion_mnist/{bnn.pgm,idx2npy.c,sheet.c} .
if [ -z "${OPENBLAS_CORETYPE:-}" ] && grep -q AuthenticAMD /proc/cpuinfo && grep -qw avx512dq /proc/cpuinfo; then
  export OPENBLAS_CORETYPE=SKYLAKEX # see examples/fashion_mnist/run.sh
fi
"$pgmc" bnn.pgm -o bnn
"$pgmc" bnn.pgm --library
cc -O2 idx2npy.c -o idx2npy -lz
cc -O2 sheet.c libbnn.a -o sheet -fopenmp -lgsl -lopenblas -ljansson -lz -lm
./idx2npy $source/train-images-idx3-ubyte.gz 0 "$images" train.npy
./idx2npy $source/t10k-images-idx3-ubyte.gz 0 "$images" test.npy
batch=$((images / 10))

# The value of a key of a fit's JSON.
key() { sed -n "s/^  \"$2\": \([^,]*\),\{0,1\}\$/\1/p" "$1"; }

fit() { # NAME SEED options
  local name=$1_$2 seed=$2
  shift 2
  [ -e "$name.fit" ] && return
  local from="$* --seed $seed"
  [ -e "$name.checkpoint" ] && from="--resume $name.checkpoint"
  echo "\$ ./bnn fit --data x=train.npy --batch $batch --step 0.003 --max-iter $iterations $from --out $name.fit"
  ./bnn fit --data x=train.npy --batch "$batch" --step 0.003 --max-iter "$iterations" $from --trace "$name.trace.csv" \
    --checkpoint "$name.checkpoint" --every 120 --json --quiet --out "$name.fit" >"$name.json"
}

head=method,seed,images,iterations,seconds,converged,elbo,mse_train,mse_test
rows=()
for seed in $(seq "$seeds"); do
  fit const "$seed" --method const
  fit fvi "$seed" --method fvi
  for width in $widths; do fit "avi_$width" "$seed" --method avi --hidden "$width,$width" --activation leaky_relu --skip none; done
  for name in const fvi $(for width in $widths; do echo "avi_$width"; done); do
    run=${name}_$seed
    [ -e "$run.errors" ] || ./sheet "$run.fit" train.npy test.npy $source/t10k-labels-idx1-ubyte.gz "$run.html" >"$run.errors"
    row=$name,$seed,$images
    for k in iterations seconds converged elbo; do row+=,$(key "$run.json" $k); done
    rows+=("$row,$(awk '/training,/ { print $4 }' "$run.errors"),$(awk '/test, all/ { print $5 }' "$run.errors")")
  done
done
{ echo "$head"; printf '%s\n' "${rows[@]}"; } >network.csv
column -s, -t network.csv
