#!/bin/bash
# Fits are the same bit for bit for one and two threads: the fit files, and what --json says but for the time it took.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3

same() { # WHAT PROGRAM DATA [options]
  for threads in 1 2; do
    "$2" fit "$3" --quiet --json --seed 5 --threads $threads --out $threads.fit "${@:4}" 2>err | grep -v '"seconds"\|"threads"' >$threads.json
    [ "${PIPESTATUS[0]}" = 0 ] || { fail "$1: fit with $threads threads"; cat err; return; }
  done
  if cmp 1.fit 2.fit && cmp 1.json 2.json; then pass "$1"; else fail "$1"; fi
}

for name in linear saw nonlinear nile radon eight_schools; do compile "$root/examples/$name/$name.pgm" || finish; done
compile "$root/tests/e2e/logistic_effects.pgm" && compile "$root/tests/e2e/models/nested2.pgm" && compile "$root/examples/fashion_mnist/bnn.pgm" || finish
./linear simulate --set N=20000 --set theta=1 --out linear.json --quiet
./saw simulate --set N=3000 --set theta=1 --out saw.json --quiet
./nonlinear simulate --set N=3000 --set theta=1 --out nonlinear.json --quiet
./logistic_effects simulate --set N=20000 --set theta=1 --set tau=1 --out effects.json --quiet
./nested2 simulate --set G=700 --set M=3 --out nested.json --quiet
./bnn simulate --set N=700 --set D=6 --set K=2 --set H=4 --out bnn.json --quiet
same "linear, F-VI" ./linear linear.json --method fvi
same "linear, constant" ./linear linear.json --method const
same "linear, A-VI" ./linear linear.json --method avi --hidden 8
same "saw, A-VI" ./saw saw.json --method avi --degree 2
same "saw, fixed draws" ./saw saw.json --method fvi --expectation fixed-draws --max-iter 30
same "saw, minibatches" ./saw saw.json --method avi --batch 500 --max-iter 100
same "nonlinear, F-VI" ./nonlinear nonlinear.json --method fvi
same "logistic effects" ./logistic_effects effects.json
same "nested plates, F-VI" ./nested2 nested.json --method fvi --max-iter 50 --samples 20
same "nile, F-VI" ./nile "$root/examples/nile/nile.json" --method fvi
same "radon, F-VI" ./radon "$root/examples/radon/radon.json" --method fvi
same "eight_schools, A-VI" ./eight_schools "$root/examples/eight_schools/eight_schools.json" --method avi
same "bnn, minibatches" ./bnn bnn.json --method avi --batch 300 --max-iter 30 --samples 10
finish
