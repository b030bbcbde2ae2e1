#!/bin/bash
# Models with mistakes: `pgmc check tests/bad/NAME.pgm` must end with status 1 and print tests/bad/NAME.txt on standard error, to the letter.
#   tests/bad.sh PGMC              compare, print the differences, status 1 if there are any
#   tests/bad.sh PGMC --promote    take what is printed now for right, for review with git diff
# Run from anywhere; file names in messages are relative to the root of the project.
set -u
pgmc=$(realpath "${1:?usage: tests/bad.sh PGMC [--promote]}") || exit 2
promote=${2:-}
cd "$(dirname "$0")/.." || exit 2
said=$(mktemp) || exit 3
trap 'rm -f "$said"' EXIT
passed=0 failed=0
for model in tests/bad/*.pgm; do
  wanted=${model%.pgm}.txt
  NO_COLOR=1 "$pgmc" check "$model" >/dev/null 2>"$said"
  status=$?
  if [ "$promote" = --promote ] && [ $status = 1 ]; then
    cp "$said" "$wanted"
  fi
  if [ $status = 1 ] && cmp -s "$wanted" "$said"; then
    passed=$((passed + 1))
    continue
  fi
  failed=$((failed + 1))
  echo "$model: status $status"
  diff -u "$wanted" "$said"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
