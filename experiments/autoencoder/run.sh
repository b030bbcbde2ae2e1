#!/bin/bash
# Gaps of a variational autoencoder on Fashion-MNIST by the encoder's capacity and the number of images it learns from, the decoder kept
# (Cremer, Li & Duvenaud 2018, "Inference suboptimality in variational autoencoders").
#   experiments/autoencoder/run.sh [--images LIST] [--hidden LIST] [--test N] [--quick] [--out DIRECTORY] [PGMC]
# The decoder is learnt once, with an encoder of its own, from 2000 images. Then, with --fix, free factors and encoders of several widths are
# fitted to the first N of them, and measured on test images as well; the evidence is by importance sampling image by image.
# Out: vae_N.json and vae_N.html for each N, tables.md. What is there already is kept.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
images='250 1000' hidden='4; 32; 128' test=250 decoder=2000 iterations=3000 out=$root/build/experiments/autoencoder pgmc=$root/build/pgmc
while [ $# -gt 0 ]; do
  case $1 in
  --images) images=$2; shift ;;
  --hidden) hidden=$2; shift ;;
  --test) test=$2; shift ;;
  --quick) images=20 hidden='2; 8' test=20 decoder=100 iterations=200 ;;
  --out) out=$2; shift ;;
  -*) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  *) pgmc=$1 ;;
  esac
  shift
done
source=/usr/share/datasets/fashion-mnist
[ -r $source/train-images-idx3-ubyte.gz ] || { echo "run.sh: the images are missing: apt-get install dataset-fashion-mnist" >&2; exit 3; }
[ -x "$pgmc" ] || { echo "run.sh: $pgmc is missing: make" >&2; exit 3; }
pgmc=$(realpath "$pgmc")
mkdir -p "$out"
cd "$out"
export OMP_WAIT_POLICY=passive
if [ -z "${OPENBLAS_CORETYPE:-}" ] && grep -q AuthenticAMD /proc/cpuinfo && grep -qw avx512dq /proc/cpuinfo; then
  export OPENBLAS_CORETYPE=SKYLAKEX # see examples/fashion_mnist/run.sh
fi
say() { printf '\n$ %s\n' "$*"; "$@"; }
cp "$here/vae.pgm" .
"$pgmc" vae.pgm
cc -O2 "$root/examples/fashion_mnist/idx2npy.c" -o idx2npy -lz
cc -O2 "$root/experiments/summary.c" -ljansson -lm -o summary
./idx2npy $source/train-images-idx3-ubyte.gz 0 "$decoder" decoder.npy
./idx2npy $source/t10k-images-idx3-ubyte.gz 0 "$test" test.npy
net='--activation leaky_relu --skip none'
[ -e decoder.fit ] || say ./vae fit --data x=decoder.npy --batch $((decoder / 10)) --method avi --hidden 64,64 $net --step 0.003 \
  --max-iter "$iterations" --out decoder.fit --quiet
for n in $images; do
  ./idx2npy $source/train-images-idx3-ubyte.gz 0 "$n" "images_$n.npy"
  [ -e "vae_$n.json" ] || say ./vae gap --data x="images_$n.npy" --test x=test.npy --fix decoder.fit --hidden "$hidden" $net \
    --expectation fixed-draws --samples 8 --optimizer lbfgs --out "vae_$n.json" --html "vae_$n.html" --quiet
done
for n in $images; do ./summary "vae_$n.json"; done >tables.md
cat tables.md
printf '\nMade in %s\n' "$out"
