#!/bin/bash
# Runs the tests, as many at a time as there are cores, and shows the output of those that fail.
#   tests/run.sh BUILD [NAME ...]   BUILD: the build directory; NAME: only the tests whose name contains one of these ("linear", "test_net")
# A test is a program of BUILD/unit, tests/bad.sh, tests/good.sh, or a script of tests/e2e (long_*.sh only with LONG=1; lib.sh is no test).
# It says how many of its cases passed, as cmocka does or in a closing line "N passed, N failed"; one that says nothing is one case.
# The closing line here adds them up; status 1 when a case failed. Output of every test: BUILD/test/NAME.log.
# Environment: PGMC_CFLAGS, flags for compiling models (sanitizers). JOBS: how many tests at a time.
set -u
cd "$(dirname "$0")/.." || exit 3
B=$(realpath "${1:?usage: tests/run.sh BUILD [NAME ...]}") || exit 3
shift
export B PGMC="$B/pgmc" TEST_LOG="$B/test"
export OMP_WAIT_POLICY=passive          # tests share the cores
rm -rf "$TEST_LOG"
mkdir -p "$TEST_LOG" || exit 3

list_tests() {
  local test
  for test in tests/e2e/*.sh; do
    case ${test##*/} in
    lib.sh) ;;
    long_*) [ -n "${LONG:-}" ] && echo "$test" ;;
    *) echo "$test" ;;
    esac
  done
  echo tests/bad.sh
  echo tests/good.sh
  for test in tests/unit/*.c; do echo "$B/unit/$(basename "$test" .c)"; done
}

wanted() {
  local test name
  while read -r test; do
    [ $# = 0 ] && echo "$test"
    for name in "$@"; do
      case ${test##*/} in *"$name"*) echo "$test"; break ;; esac
    done
  done
}

# One test; leaves NAME.log and a line "NAME status passed failed seconds" in NAME.result.
run_one() {
  local test=$1 name status passed failed started=$SECONDS
  name=$(basename "$test" .sh)
  case $test in
  tests/bad.sh | tests/good.sh) "$test" "$PGMC" ;;
  *) "$test" ;;
  esac >"$TEST_LOG/$name.log" 2>&1
  status=$?
  read -r passed failed < <(awk '
    /^\[  PASSED  \] [0-9]+ test/ { passed = $4; failed += 0; seen = 1 }
    /^\[  FAILED  \] [0-9]+ test/ { failed = $4; seen = 1 }
    /^[0-9]+ passed, [0-9]+ failed$/ { passed = $1; failed = $3; seen = 1 }
    END { if (!seen) passed = failed = 0; print passed + 0, failed + 0 }' "$TEST_LOG/$name.log")
  if [ $status = 0 ] && [ "$((passed + failed))" = 0 ]; then passed=1; fi
  if [ $status != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
  echo "$name $status $passed $failed $((SECONDS - started))" >"$TEST_LOG/$name.result"
  if [ $status = 0 ] && [ "$failed" = 0 ]; then
    echo "ok     $name ($passed)"
  else
    { echo "FAILED $name (status $status, $passed passed, $failed failed)"; tail -n 60 "$TEST_LOG/$name.log" | sed 's/^/    /'; } >"$TEST_LOG/$name.shown"
    cat "$TEST_LOG/$name.shown"
  fi
}
export -f run_one

list_tests | wanted "$@" | xargs -d '\n' -r -n 1 -P "${JOBS:-$(nproc)}" bash -c 'run_one "$1"' run_one
[ -n "$(ls "$TEST_LOG"/*.result 2>/dev/null)" ] || { echo "no test has such a name: $*" >&2; exit 2; }
cat "$TEST_LOG"/*.result | awk '{ passed += $3; failed += $4 } END { print passed " passed, " failed " failed"; exit failed > 0 }'
