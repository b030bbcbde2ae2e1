#!/bin/bash
# A fit that is killed (kill -9) at any moment leaves the old fit or the new one, never half a file; so does a full disk.
source "$(dirname "$0")/lib.sh"
compile "$root/examples/saw/saw.pgm" || finish
cd "$work" || exit 3
./saw simulate --set N=300000 --set theta=1 --out data.json --quiet
./saw fit data.json --method const --out old.fit --quiet >/dev/null || finish
started=$(date +%s%N)
./saw fit data.json --method fvi --optimizer lbfgs --out new.fit --quiet >/dev/null || finish
took=$((($(date +%s%N) - started) / 1000000))
whole() { cmp -s "$1" old.fit || cmp -s "$1" new.fit; }

broken=0
for i in $(seq 1 10); do                             # spread over the run
  cp old.fit kept.fit
  wait=$((took * i / 10))
  ./saw fit data.json --method fvi --optimizer lbfgs --out kept.fit --quiet >/dev/null 2>&1 &
  sleep "$(printf '%d.%03d' $((wait / 1000)) $((wait % 1000)))"
  kill -9 $! 2>/dev/null
  wait $! 2>/dev/null
  whole kept.fit || broken=$((broken + 1))
done
near "killed at any time: fits that are neither the old nor the new" $broken 0 0
rm -f .kept.fit.*.tmp
broken=0 caught=0
for i in $(seq 1 8); do                              # while it is written: when the temporary file has a size
  cp old.fit kept.fit
  ./saw fit data.json --method fvi --optimizer lbfgs --out kept.fit --quiet >/dev/null 2>&1 &
  while kill -0 $! 2>/dev/null && ! [ -s "$(echo .kept.fit.*.tmp)" ]; do :; done
  kill -9 $! 2>/dev/null
  wait $! 2>/dev/null
  whole kept.fit || broken=$((broken + 1))
  [ "$(echo .kept.fit.*.tmp)" != '.kept.fit.*.tmp' ] && caught=$((caught + 1))
  rm -f .kept.fit.*.tmp
done
near "killed while writing: fits that are neither the old nor the new" $broken 0 0
below "times it was caught in the middle" $((-caught)) -1
cp old.fit kept.fit
(ulimit -f 100; trap '' XFSZ; exec ./saw fit data.json --method fvi --optimizer lbfgs --out kept.fit --quiet) >/dev/null 2>err
status=$?
if [ $status = 3 ] && cmp -s kept.fit old.fit; then pass "no room for the file: status 3, the old one kept"; else fail "no room for the file: status $status: $(cat err)"; fi
near "no room for the file: temporary files left" "$(find . -name '*.tmp' | wc -l)" 0 0
finish
