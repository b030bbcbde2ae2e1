#!/bin/bash
# Gaps of a variational autoencoder on Fashion-MNIST by the encoder's capacity and the number of images it learns from, the decoder kept
# (Cremer, Li & Duvenaud 2018, "Inference suboptimality in variational autoencoders").
#   experiments/autoencoder/run.sh [--images LIST] [--hidden LIST] [--test N] [--quick] [--out DIRECTORY] [PGMC]
# The decoder is learnt once, with an encoder of its own, from 2000 images. Then, with --fix, free factors and encoders of several widths are
# fitted to the first N images, of more than 1000 in minibatches of a tenth, and measured on test images as well; the evidence is by importance
# sampling image by image. Out: gaps.csv, a row per N and encoder, nats per image; vae_N.svg, vae_N.json and vae_N.html for each N. What is there
# already is kept, so that a run that was interrupted goes on.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
images='25 100 400 2000 10000' hidden='256; 64; 16' test=200 decoder=2000 iterations=3000 out=$root/build/experiments/autoencoder pgmc=$root/build/pgmc
while [ $# -gt 0 ]; do
  case $1 in
  --images) images=$2; shift ;;
  --hidden) hidden=$2; shift ;;
  --test) test=$2; shift ;;
  --quick) images=20 hidden='2; 8' test=20 decoder=100 iterations=200 ;;
  --out) out=$2; shift ;;
  -*) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
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
. "$root/experiments/blas.sh"
. "$root/experiments/kept.sh"
kept_with "decoder from $decoder images, $iterations iterations at most; encoders $hidden; $test test images"
say() { printf '\n$ %s\n' "$*"; "$@"; }
cp "$here/vae.pgm" .
"$pgmc" vae.pgm
cc -O2 "$root/examples/fashion_mnist/idx2npy.c" -o idx2npy -lz
cc -O2 "$root/tests/e2e/json_get.c" -ljansson -o get
./idx2npy $source/train-images-idx3-ubyte.gz 0 "$decoder" decoder.npy
./idx2npy $source/t10k-images-idx3-ubyte.gz 0 "$test" test.npy
net='--activation leaky_relu --skip none'
[ -e decoder.fit ] || { # one that is interrupted writes how far it came
  say ./vae fit --data x=decoder.npy --batch $((decoder / 10)) --method avi --hidden 64,64 $net --step 0.003 \
    --max-iter "$iterations" --out decoder.new --quiet
  mv decoder.new decoder.fit
}
for n in $images; do
  ./idx2npy $source/train-images-idx3-ubyte.gz 0 "$n" "images_$n.npy"
  how='--expectation fixed-draws --samples 8 --optimizer lbfgs'
  [ "$n" -le 1000 ] || how="--batch $((n / 10))"
  [ -e "vae_$n.json" ] || say ./vae gap --data x="images_$n.npy" --test x=test.npy --fix decoder.fit --hidden "$hidden" $net $how \
    --out "vae_$n.json" --html "vae_$n.html" --quiet
  "$root/experiments/picture.sh" "vae_$n.html" 'Bars: what each one loses' >"vae_$n.svg"
done
# Nats per image: what FILE has under PATH, over as many images as it was measured on.
per_image() { # FILE LEVEL PATH
  awk -v x="$(./get "$1" "$2$3")" -v n="$(./get "$1" "$2observations")" 'BEGIN { print x == "null" ? "" : sprintf("%.4f", x / n) }'
}
{
  echo images,encoder,parameters,converged,fvi_converged,approximation,amortisation,test_approximation,test_amortisation,evidence,test_evidence
  for n in $images; do
    fvi=true
    case $(./get "vae_$n.json" not_converged) in *F-VI*) fvi=false ;; esac
    for k in 0 1 2 3 4 5 6 7; do
      at=architectures.$k f=vae_$n.json
      ./get $f $at.function >/dev/null 2>&1 || break
      echo "$n,$(./get $f $at.function),$(./get $f $at.variational_parameters),$(./get $f $at.converged),$fvi,$(per_image $f '' gaps.approximation),$(
        per_image $f '' $at.amortisation),$(per_image $f test. gaps.approximation),$(per_image $f test. $at.amortisation),$(
        ./get $f evidence.kind),$(./get $f test.evidence.kind)"
    done
  done
} >gaps.csv
column -s, -t gaps.csv
printf '\nMade in %s\n' "$out"
