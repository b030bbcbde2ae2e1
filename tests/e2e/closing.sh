#!/bin/bash
# Shown by measurement: where the verdict (or a remedy) says that the gap closes, A-VI reaches F-VI, and where inputs are left out it does not. Models
# are linear and Gaussian, so that most optima are polynomials of their inputs and both fits are found to the optimiser's error.
#   closing/NAME.pgm   "// data: ARGUMENTS" for simulate (files stand beside the model)
#                      "// fit: OPTIONS" of A-VI (default: --degree 1), "// within: NATS" that it may lack (default: 1e-5)
#                      "// open: NATS OPTIONS": with these it lacks at least so much
source "$(dirname "$0")/lib.sh"

mark() { sed -n "s,^// $2: *,,p" "$1"; }
elbo() { # MODEL OPTIONS: of A-VI, kept in $name.fit
  eval "'$run' fit '$work/data.json' --method avi $2 --json --quiet -o '$work/$name.fit'" >"$work/avi.json" 2>>"$work/log" && get "$work/avi.json" elbo
}

for model in "$root"/tests/e2e/closing/*.pgm; do
  name=$(basename "$model" .pgm)
  compile "$model" "$name" || continue
  run=$work/$name fit=$(mark "$model" fit) within=$(mark "$model" within)
  verdict=$(get <("$PGMC" check --json "$model") verdict)
  (cd "$(dirname "$model")" && "$run" simulate $(mark "$model" data) --seed 1 --out "$work/data.json" --quiet) >"$work/log" 2>&1 &&
    "$run" fit "$work/data.json" --method fvi --json --quiet -o "$work/fvi.fit" >"$work/fvi.json" 2>>"$work/log" ||
    { fail "$name"; tail -n 20 "$work/log"; continue; }
  best=$(get "$work/fvi.json" elbo)
  near "$name ($verdict): ELBO of A-VI" "$(elbo "$model" "${fit:---degree 1}")" "$best" "${within:-1e-5}" || tail -n 5 "$work/log"
  cp "$work/$name.fit" "$work/$name.closed"
  while read -r gap options; do
    below "$name: $gap + ELBO with $options" "$(awk -v a="$gap" -v b="$(elbo "$model" "$options")" 'BEGIN { if (b != "") printf "%.17g", a + b }')" "$best"
  done < <(mark "$model" open)
done
finish
