#!/bin/bash
# Expectations in closed form and by quadrature of every distribution and every function against a million draws from q, where distributions.sh and
# functions.sh take 20 000 (kernels/kernels.c).
source "$(dirname "$0")/lib.sh"
export B PGMC PGMC_CFLAGS="${PGMC_CFLAGS:-} -DDRAWS=1000000"
for test in distributions functions; do
  "$root/tests/e2e/$test.sh" >"$work/log"
  while IFS= read -r line; do
    case $line in "ok "*) passed=$((passed + 1)) ;; "FAIL "*) fail "$test: ${line#FAIL }" ;; *" passed, "*" failed") ;; *) echo "$line" ;; esac
  done <"$work/log"
done
finish
