#!/bin/bash
# The nonlinear model, N = 10 000, data drawn with z[n] of sd 5: other starts of the locals are worth more than 150 nats; A-VI with a network of 16,16 comes within
# one nat of F-VI from one cold start; constant VI stays far behind. Its terms run over strips of units, as vectors, one function at a time.
source "$(dirname "$0")/lib.sh"
compile "$root/examples/nonlinear/nonlinear.pgm" && compile "$root/tests/e2e/wide_nonlinear.pgm" || finish
cd "$work" || exit 3
./wide_nonlinear simulate --set N=10000 --set theta=2 --seed 5 --out data.json --quiet || exit 3
fit() { ./nonlinear fit data.json --quiet --json --method "$@" >"$1" || fail "fit $*"; get "$1" elbo; }
fvi=$(fit fvi)
cold=$(fit fvi --one-start)
below "F-VI from one start less F-VI" "$(calc "$cold - $fvi")" -150
below "F-VI from one start less A-VI" "$(calc "$cold - $(fit avi --hidden 16,16)")" 1
below "iterations of A-VI" "$(get avi iterations)" 600
check "a fit on two threads" ./nonlinear fit data.json --quiet --json --method fvi --threads 2
near "F-VI on two threads" "$(get check.log elbo)" "$fvi" 0
below "constant VI less F-VI" "$(calc "$(fit const) - $fvi")" -1000
"$PGMC" emit "$root/examples/nonlinear/nonlinear.pgm" >strips.c 2>/dev/null
for kernel in point expected; do
  most=$(sed -n "/^PGM_KERNEL(nonlinear_n_0_$kernel)/,/^}/{/\/\*/d;p}" strips.c |
    awk '/for \(int lane/ { loops++; n = 0 } { n += gsub(/(sin|cos|exp)\(/, ""); if (n > most) most = n } END { print loops ? most : "none" }')
  [ "$most" = 1 ] && pass "$kernel: one function per loop over lanes" || fail "$kernel: one function per loop over lanes, not $most"
done
if echo '#include "pgm_math.h"
#if !defined(__x86_64__) || !PGM_LIBMVEC_3
#error
#endif' | ${CC:-gcc} -x c -I"$root/runtime" -fsyntax-only - 2>/dev/null; then
  ${CC:-gcc} -std=gnu11 -O3 -march=x86-64-v3 -fno-math-errno -fno-trapping-math -fno-builtin-sin -fno-builtin-cos -fopenmp --param max-unswitch-insns=1000 -DPGM_LIBRARY \
    -I"$root/runtime" -S -o strips.s strips.c 2>log || cat log
  for f in sin cos exp; do # for consecutive units and for those of a list
    [ "$(sed -n '/^nonlinear_n_0_expected/,/\.size.*nonlinear_n_0_expected/p' strips.s | grep -c "_ZGV[bd]N[24]v_$f")" -ge 2 ] && pass "vectors of $f" || fail "vectors of $f"
  done
fi
finish
