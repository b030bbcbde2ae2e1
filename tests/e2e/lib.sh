# Sourced by the tests of this directory, which run.sh starts. Gives: $work, a directory that goes when the test ends; $root, the project;
# functions that compile models and count cases. A failed case prints what it saw; a passed one prints one line.
#   compile FILE.pgm [NAME [pgmc options]]  makes $work/NAME (default: the model's file name)
#   check WHAT COMMAND...                   the command ends with status 0
#   refuse STATUS TEXT COMMAND...           the command ends with STATUS and prints TEXT among its errors (exactly, a whole line)
#   near WHAT VALUE WANTED TOLERANCE        |VALUE - WANTED| <= TOLERANCE; fails for what is not a number
#   below WHAT VALUE LIMIT                  VALUE <= LIMIT
#   get FILE PATH                           numbers of a JSON file: json_get.c
#   finish                                  the closing line; ends the test
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${B:=$root/build}" "${PGMC:=$B/pgmc}"
export LC_ALL=C NO_COLOR=1
work=$(mktemp -d) || exit 3
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

pass() { passed=$((passed + 1)); echo "ok   $1"; }
fail() { failed=$((failed + 1)); echo "FAIL $1"; }
finish() { echo "$passed passed, $failed failed"; [ $failed = 0 ]; exit; }

compile() {
  local model=$1 name=${2:-$(basename "$1" .pgm)}
  shift; [ $# -gt 0 ] && shift
  "$PGMC" "$model" -o "$work/$name" "$@" >"$work/compile.log" 2>&1 && return
  fail "compile $model"
  cat "$work/compile.log"
  return 1
}

check() {
  local what=$1 status
  shift
  "$@" >"$work/check.log" 2>&1
  status=$?
  if [ $status = 0 ]; then pass "$what"; return; fi
  fail "$what: status $status: $*"
  tail -n 40 "$work/check.log"
  return 1
}

refuse() {
  local wanted=$1 text=$2 status
  shift 2
  "$@" >"$work/refuse.out" 2>"$work/refuse.err"
  status=$?
  if [ $status != "$wanted" ]; then
    fail "status $status, not $wanted: $*"
  elif [ -n "$text" ] && ! grep -Fxq -- "$text" "$work/refuse.err"; then
    fail "other message: $*"
    echo "wanted: $text"
  else
    pass "$* -> $wanted"
    return
  fi
  head -n 20 "$work/refuse.err"
  return 1
}

number() { awk -v x="$1" 'BEGIN { exit !(x ~ /^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$/) }'; }

near() {
  if number "$2" && number "$3" && awk -v a="$2" -v b="$3" -v t="$4" 'BEGIN { d = a - b; exit !((d < 0 ? -d : d) <= t) }'; then
    pass "$1: $2 within $4 of $3"
  else
    fail "$1: $2, not within $4 of $3"
    return 1
  fi
}

below() {
  if number "$2" && number "$3" && awk -v a="$2" -v b="$3" 'BEGIN { exit !(a <= b) }'; then
    pass "$1: $2 <= $3"
  else
    fail "$1: $2, not <= $3"
    return 1
  fi
}

calc() { awk "BEGIN { printf \"%.17g\", $1 }"; }
get() { "$B/e2e/json_get" "$@"; }
