#!/bin/bash
# Shown by measurement: where the verdict is that the gap closes, A-VI on the inputs it names reaches F-VI; models are linear and Gaussian, so that a
# polynomial of degree 1 is an unrestricted function of them and both optima are found to the optimiser's error.
#   closing/NAME.pgm   "// data: ARGUMENTS" for simulate; "// fit: OPTIONS" of A-VI (default: --degree 1)
source "$(dirname "$0")/lib.sh"

for model in "$root"/tests/e2e/closing/*.pgm; do
  name=$(basename "$model" .pgm)
  compile "$model" "$name" || continue
  run=$work/$name
  verdict=$(get <("$PGMC" check --json "$model") verdict)
  fit=$(sed -n "s,^// fit: *,,p" "$model")
  "$run" simulate $(sed -n "s,^// data: *,,p" "$model") --seed 1 --out "$work/data.json" --quiet >"$work/log" 2>&1 &&
    "$run" fit "$work/data.json" --method fvi --json --quiet -o "$work/fvi.fit" >"$work/fvi.json" 2>>"$work/log" &&
    "$run" fit "$work/data.json" --method avi ${fit:---degree 1} --json --quiet -o "$work/avi.fit" >"$work/avi.json" 2>>"$work/log" ||
    { fail "$name"; tail -n 20 "$work/log"; continue; }
  near "$name ($verdict): ELBO of A-VI" "$(get "$work/avi.json" elbo)" "$(get "$work/fvi.json" elbo)" 0.01
done
finish
