#!/bin/bash
# The experiments run, at a tenth of their size, and say what docs/experiments.md says they do.
. "$(dirname "$0")/lib.sh"
cd "$root" || exit 3
run() { # NAME SCRIPT options
  local name=$1 script=$2
  shift 2
  check "$name" "experiments/$script" "$@" --quick --out "$work/$name" "$PGMC"
}
run own margossian_blei/run.sh --seeds 1
run published margossian_blei/run.sh --only published --models linear,saw --seeds 1
run conditioning conditioning/run.sh
cd "$work" || exit 3
near "linear: d=1 closes the gap" "$(get own/linear.json architectures.2.amortisation)" 0 1e-3
below "linear: a constant does not" "$(calc "- $(get own/linear.json architectures.0.amortisation)")" -50
near "saw: two inputs close the gap" "$(get own/saw.json architectures.1.amortisation)" 0 0.1
below "saw: one does not" "$(calc "- $(get own/saw_one_input_10.json gaps.conditioning)")" -40
below "nonlinear: width 1 does not" "$(calc "- $(get own/nonlinear.json architectures.0.amortisation)")" -50
below "nonlinear: width 32 does, nearly" "$(get own/nonlinear.json architectures.6.amortisation)" 3
below "hmm: each window leaves less" "$(get own/hmm.json windows.2.amortisation)" "$(get own/hmm.json windows.1.amortisation)"
below "dense: and of sets of inputs the larger" "$(get own/dense.json alternatives.3.amortisation)" "$(get own/dense.json alternatives.0.amortisation)"
# Adam comes within 1 % of F-VI, and constant factors never do
awk -F, '$2 == "F-VI at 0.01" { seen = $10 + 0 > 0 } $2 == "constant" { never = $10 == "never" } END { exit !(seen && never) }' \
  published/published_linear.csv && pass "published: linear" || fail "published: linear"
[ "$(grep -c . published/published_saw.csv)" = 11 ] && grep -q '</html>' published/published_saw.html && pass "published: saw" || fail "published: saw"
awk -F'|' '/^\| [0-9.]+ \|/ { n++; d = $3 - $4; bad = bad || d > 1e-4 || d < -1e-4 } END { exit !(n == 7 && !bad) }' conditioning/tables.md &&
  pass "one bit: d^2 / 8" || fail "one bit: d^2 / 8"
awk -F'|' '/^\| linear/ { n++; bad = bad || $5 <= $4 || $6 <= 0 } END { exit !(n == 3 && !bad) }' conditioning/tables.md && pass "a filter loses more than a smoother" ||
  fail "a filter loses more than a smoother"
finish
