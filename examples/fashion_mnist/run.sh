#!/bin/sh
# Everything of README.md: the images, the fit and the way of its ELBO, the codes of the test images, and the page to look at.
#   examples/fashion_mnist/run.sh [PGMC [DIRECTORY]]      default: build/pgmc, build/fashion_mnist
# Environment: IMAGES, how many of the 60000 training images to fit (all); FIT_OPTIONS, further options of fit.
set -e
example=$(dirname "$(realpath "$0")")
pgmc=$(realpath "${1:-$example/../../build/pgmc}")
directory=${2:-$example/../../build/fashion_mnist}
images=/usr/share/datasets/fashion-mnist
[ -r $images/train-images-idx3-ubyte.gz ] || { echo "run.sh: the images are missing: apt-get install dataset-fashion-mnist" >&2; exit 3; }
[ -x "$pgmc" ] || { echo "run.sh: $pgmc is missing: make" >&2; exit 3; }
mkdir -p "$directory"
cd "$directory"
cp "$example/bnn.pgm" "$example/idx2npy.c" "$example/sheet.c" .

# OpenBLAS 0.3.21 (Debian 12) knows no AMD processor with AVX-512 and takes kernels of half the speed; Intel's of 2017 fit.
if [ -z "$OPENBLAS_CORETYPE" ] && grep -q AuthenticAMD /proc/cpuinfo && grep -qw avx512dq /proc/cpuinfo; then
  export OPENBLAS_CORETYPE=SKYLAKEX
fi

run() { printf '\n$ %s\n' "$*"; PATH="$(dirname "$pgmc"):$PATH" "$@"; }

run pgmc bnn.pgm -o bnn
run ./bnn check
run cc -O2 idx2npy.c -o idx2npy -lz
run ./idx2npy $images/train-images-idx3-ubyte.gz 0 "${IMAGES:-60000}" train.npy
run ./idx2npy $images/t10k-images-idx3-ubyte.gz 0 10000 test.npy
run ./bnn fit --data x=train.npy --batch 1000 --hidden 64,64 --activation leaky_relu --step 0.01 --tol 10000 --trace trace.csv --out bnn.fit \
  $FIT_OPTIONS
printf '\nThe way of the ELBO (trace.csv), averages of 500 iterations:\n  until  seconds          ELBO\n'
awk -F, 'NR > 1 { sum += $3; if (++n % 500 == 0) { printf "%7d %8.0f %13.0f\n", n, $2, sum / 500; sum = 0 } }' trace.csv
run ./bnn infer bnn.fit --data x=test.npy --out codes.csv
run pgmc bnn.pgm --library
run cc -O2 sheet.c libbnn.a -o sheet -fopenmp -lgsl -lopenblas -ljansson -lz -lm
run ./sheet bnn.fit train.npy test.npy $images/t10k-labels-idx1-ubyte.gz sheet.html
printf '\nMade in %s: sheet.html (originals, reconstructions, differences), bnn.fit, codes.csv, trace.csv.\n' "$(realpath .)"
