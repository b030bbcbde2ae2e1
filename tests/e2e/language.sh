#!/bin/bash
# The examples of the reference compile: every block ```pgm of docs/language.md goes through the whole compiler to C, every ```pgm check
# (what code generation lacks) through the analysis. A block without a model of its own is the inside of one.
. "$(dirname "$0")/lib.sh"
cd "$root" || exit 3
awk -v work="$work" '
  /^```pgm( check)?$/ { file = sprintf("%s/line%04d.%s", work, NR, $2 == "check" ? "check" : "emit"); text = ""; next }
  /^```$/ && file { print (text ~ /(^|\n)model / ? text : "model example {\n" text "}\n") > file; close(file); file = ""; next }
  file { text = text $0 "\n" }' docs/language.md
for example in "$work"/line*; do
  how=${example##*.} at=${example##*/line}
  mv "$example" "$work/example.pgm"
  if [ "$how" = check ]; then
    check "docs/language.md:$((10#${at%.*})), analysed" "$PGMC" check "$work/example.pgm"
    grep -q "not supported by code generation yet" "$work/check.log" || fail "docs/language.md:$((10#${at%.*})): it compiles: no longer analysed only"
  else
    check "docs/language.md:$((10#${at%.*}))" "$PGMC" emit "$work/example.pgm" -o "$work/example.c"
    grep warning "$work/check.log"
  fi
done
finish
