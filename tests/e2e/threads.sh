#!/bin/bash
# Fits are the same bit for bit for one and two threads: the fit files, and what --json says but for the time it took. The sizes are such that the loops
# over numbers are shared out (from 32768 on), and odd, so that the pieces have remainders.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3

same() { # WHAT PROGRAM DATA [options]
  for threads in 1 2; do
    "$2" fit "$3" --quiet --json --seed 5 --threads $threads --out $threads.fit "${@:4}" 2>err | grep -v '"seconds"\|"threads"' >$threads.json
    [ "${PIPESTATUS[0]}" = 0 ] || { fail "$1: fit with $threads threads"; cat err; return; }
  done
  if cmp 1.fit 2.fit && cmp 1.json 2.json; then pass "$1"; else fail "$1"; fi
}

simulate() { ./"$1" simulate --quiet --seed 3 --out "$1.json" "${@:2}" || fail "simulate $*"; }

for name in linear saw nonlinear radon; do compile "$root/examples/$name/$name.pgm" || finish; done
for name in poisson_effects logistic_effects models/nested2; do compile "$root/tests/e2e/$name.pgm" || finish; done
compile "$root/examples/fashion_mnist/bnn.pgm" || finish
simulate linear --set N=50001 --set theta=1
simulate saw --set N=40003 --set theta=1
simulate nonlinear --set N=33003 --set theta=1
simulate poisson_effects --set N=33003 --set theta=1 --set tau=1
simulate logistic_effects --set N=5003 --set theta=1 --set tau=1
simulate nested2 --set G=700 --set M=3
simulate bnn --set N=700 --set D=6 --set K=2 --set H=4
awk 'BEGIN { print "county_idx,floor_measure"; for (i = 0; i < 70001; i++) print 1 + i * i % 977 "," i % 2 }' >houses.csv
simulate radon houses.csv --set J=977 --set sigma=1 --set tau=0.5

same "linear, F-VI, profile" ./linear linear.json --method fvi
same "linear, F-VI, L-BFGS" ./linear linear.json --method fvi --optimizer lbfgs --max-iter 20
same "linear, F-VI, Adam with draws" ./linear linear.json --method fvi --optimizer adam --expectation monte-carlo --samples 3 --max-iter 40
same "linear, constant" ./linear linear.json --method const
same "linear, A-VI, polynomial" ./linear linear.json --method avi --degree 2 --max-iter 30
same "linear, A-VI, network" ./linear linear.json --method avi --hidden 8 --max-iter 30
same "linear, A-VI, two layers without skip" ./linear linear.json --method avi --hidden 16,16 --skip none --activation softplus --max-iter 5
same "saw, F-VI" ./saw saw.json --method fvi
same "saw, A-VI" ./saw saw.json --method avi --degree 2 --max-iter 30
same "saw, fixed draws" ./saw saw.json --method fvi --expectation fixed-draws --samples 8 --max-iter 10
same "saw, F-VI, minibatches" ./saw saw.json --method fvi --batch 5000 --max-iter 60
same "saw, A-VI, minibatches" ./saw saw.json --method avi --batch 5000 --max-iter 60
same "nonlinear, F-VI, other starts" ./nonlinear nonlinear.json --method fvi --max-iter 3
same "nonlinear, A-VI" ./nonlinear nonlinear.json --method avi --hidden 4 --max-iter 5
same "poisson effects, F-VI" ./poisson_effects poisson_effects.json --method fvi
same "logistic effects, F-VI" ./logistic_effects logistic_effects.json --method fvi --max-iter 5
same "nested plates, F-VI" ./nested2 nested2.json --method fvi --max-iter 20 --samples 20
same "radon, F-VI" ./radon "$root/examples/radon/radon.json" --method fvi
same "radon, 70001 in 977 groups, F-VI" ./radon radon.json --method fvi
same "bnn, minibatches" ./bnn bnn.json --method avi --batch 300 --max-iter 30 --samples 10
mv bnn bnn_double
compile "$root/examples/fashion_mnist/bnn.pgm" bnn --real float || finish
same "bnn, minibatches, --real float" ./bnn bnn.json --method avi --hidden 8 --batch 600 --max-iter 30 --samples 2
mv bnn_double bnn
same "bnn, fixed draws" ./bnn bnn.json --method fvi --optimizer lbfgs --max-iter 3 --samples 10
finish
