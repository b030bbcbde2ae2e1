#!/bin/bash
# Golden verdicts: `pgmc check` of every tests/good/NAME.pgm, as JSON against NAME.verdict.json and as text against NAME.txt.
# Usage: tests/good.sh PGMC [--promote]
#   --promote   write the golden files from what PGMC says now; review the difference before committing it.
# Left out of the comparison: version and hash of the model, and how expectations are computed (other tests look at those).
set -u
pgmc=$(realpath "$1")
promote=${2:-}
cd "$(dirname "$0")/good" || exit 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

clean_json() { sed -e '/^  "version": /d' -e '/^  "model_hash": /d' -e '/^  "expectations": \[$/,/^  \],\{0,1\}$/d' -e '/^  "expectations": \[\]/d'; }
clean_text() { sed -e '/^  expectations: /d'; }

compare() { # golden file, new file, what
  if [ "$promote" = --promote ]; then
    cmp -s "$1" "$2" || { cp "$2" "$1"; echo "promoted $1"; }
    return 0
  fi
  if [ ! -f "$1" ]; then
    echo "FAIL $3: no golden file $1"
    return 1
  fi
  diff -u "$1" "$2" >"$work/diff" && return 0
  echo "FAIL $3"
  head -40 "$work/diff"
  return 1
}

for model in *.pgm; do
  name=${model%.pgm}
  good=1
  "$pgmc" check --json "$model" >"$work/json" 2>"$work/err"
  status=$?
  if [ $status != 0 ]; then
    echo "FAIL $name: status $status"
    head -20 "$work/err"
    good=0
  else
    "$pgmc" check "$model" >"$work/text" 2>"$work/err" || good=0
    clean_json <"$work/json" >"$work/json.clean"
    clean_text <"$work/text" >"$work/text.clean"
    compare "$name.verdict.json" "$work/json.clean" "$name (JSON)" || good=0
    compare "$name.txt" "$work/text.clean" "$name (text)" || good=0
  fi
  if [ $good = 1 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
