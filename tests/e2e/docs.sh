#!/bin/bash
# What the documentation shows is what the programs print: every block ```console of README.md, docs/*.md and examples/*/README.md is run, one file
# in one directory with the examples' files at hand, and compared.
#   $ command          is run by bash (a line may go on after \, a here-document ends with END)
#   text               is what it must print, standard output and error together; a command followed by nothing must print nothing
#   ...                any lines, or within a line any text
# Numbers with a decimal point may differ by a part in a thousand.
. "$(dirname "$0")/lib.sh"
export OMP_WAIT_POLICY=passive

# Does `actual` match `expected`? awk: a line of the expected text is cut into pieces at "..."; numbers are compared as numbers.
compare() { # expected file, actual file
  awk '
    function number(x) { return x ~ /^[-+]?[0-9]+\.[0-9]+([eE][-+]?[0-9]+)?$/ }
    function same_word(a, b) {
      if (a == b) return 1
      if (!number(a) || !number(b)) return 0
      d = a - b; if (d < 0) d = -d
      m = a < 0 ? -a : a
      return d <= 1e-3 * m + 1e-9
    }
    function matches_open(a, b,   i) {               # "..." in the line: the pieces must come in order, the first at the start, the last at the end
      n = split(a, piece, /\.\.\./)
      if (substr(b, 1, length(piece[1])) != piece[1]) return 0
      b = substr(b, length(piece[1]) + 1)
      for (i = 2; i <= n; i++) {
        if (piece[i] == "") continue
        at = index(b, piece[i])
        if (!at) return 0
        b = substr(b, at + length(piece[i]))
      }
      return piece[n] == "" || b == ""
    }
    function matches(a, b,   i, k, x, y) {
      gsub(/[ \t]+/, " ", a); gsub(/[ \t]+/, " ", b); sub(/ $/, "", a); sub(/ $/, "", b)
      if (index(a, "...")) return matches_open(a, b)
      if (a == b) return 1
      gsub(/,/, " , ", a); gsub(/,/, " , ", b)
      k = split(a, x, " ")
      if (split(b, y, " ") != k) return 0
      for (i = 1; i <= k; i++) if (!same_word(x[i], y[i])) return 0
      return 1
    }
    FILENAME == ARGV[1] { want[++w] = $0; next }
    { have[++h] = $0 }
    END {
      w += 0
      # reach[i]: the first i lines of the expected text can stand for the lines so far ("..." stands for any number)
      reach[0] = 1
      for (i = 1; i <= w && want[i] == "..."; i++) reach[i] = 1
      for (j = 1; j <= h; j++) {
        any = 0
        for (i = w; i >= 1; i--) {
          if (want[i] == "...") continue
          reach[i] = reach[i - 1] && matches(want[i], have[j])
        }
        reach[0] = 0
        for (i = 1; i <= w; i++) {
          if (want[i] == "...") reach[i] = reach[i] || reach[i - 1]
          any = any || reach[i]
        }
        if (!any) { print "not expected: " have[j]; exit 1 }
      }
      if (!reach[w]) { print "the output ends too early"; exit 1 }
    }' "$1" "$2"
}

run_one() { # document, line, command; expected text in $work/expected
  (cd "$place" && PATH="$(dirname "$PGMC"):$PATH" bash -c "$3") >"$work/actual" 2>&1
  if compare "$work/expected" "$work/actual" >"$work/why"; then
    pass "$1:$2: ${3%%$'\n'*}"
  else
    fail "$1:$2: ${3%%$'\n'*}"
    cat "$work/why"
    diff "$work/expected" "$work/actual" | head -20
  fi
}

run_document() {
  local document=$1 line=0 open=0 command="" at=0 text
  place=$work/$(echo "$document" | tr / _)
  mkdir "$place"
  for text in examples/*/*.pgm examples/*/*.json; do cp "$text" "$place"; done
  : >"$work/expected"
  while IFS= read -r text || [ -n "$text" ]; do
    line=$((line + 1))
    if [ $open = 0 ]; then
      [ "$text" = '```console' ] && open=1
      continue
    fi
    case $text in
    '```' | '$ '*)
      [ -n "$command" ] && run_one "$document" "$at" "$command"
      command="" at=$line
      : >"$work/expected"
      if [ "$text" = '```' ]; then open=0; else command=${text#\$ }; fi
      ;;
    *)
      case $command in
      *"<<'END'"*$'\n'END) echo "$text" >>"$work/expected" ;;
      *"<<'END'"*) command+=$'\n'$text ;;
      *\\) command="${command%\\}$text" ;;
      *) echo "$text" >>"$work/expected" ;;
      esac
      ;;
    esac
  done <"$document"
}

cd "$root" || exit 3
for document in README.md docs/*.md examples/*/README.md; do
  [ "$document" = examples/fashion_mnist/README.md ] && continue   # minutes of work, on data of a package of their own
  grep -q '^```console$' "$document" && run_document "$document"
done
finish
