#!/bin/bash
# Terms that need the data only through sums over groups: their kernels agree with their terms element by element, with differences, with minibatches, which
# go over elements, and with each other for one thread and two (kernels/kernels.c), with missing observations, groups without rows, data far from 0.
# That there are such kernels is read off the emitted C.
source "$(dirname "$0")/lib.sh"
models=$root/tests/e2e/sums
: "${PGMC_CFLAGS:=}"
cd "$work" || exit 3

# sums NAME COUNT: so many terms of the model go by sums; makes the program NAME
sums() {
  "$PGMC" "$models/$1.pgm" --library -o . >log 2>&1 && "$PGMC" emit "$models/$1.pgm" >"$1.emitted" &&
    ${CC:-gcc} -std=gnu11 -O1 $PGMC_CFLAGS -I"$root/runtime" -DMODEL="$1" "$root/tests/e2e/kernels/kernels.c" "lib$1.a" -o "$1" -fopenmp -lgsl -ljansson -lz -lm >>log 2>&1 ||
    { fail "$1"; cat log; finish; }
  near "$1: terms by sums" "$(grep -c 'by_sums = ' "$1.emitted")" "$2" 0
}
kernels() { check "$1" ./"$2" kernels "$3" 1 && check "$1, at another q" ./"$2" kernels "$3" 2; }

sums regression 1
sums families 5
# rows N of J groups, of which every third has none; every seventh observation missing; observations about BASE
regression() {
  awk -v n="$1" -v groups="$2" -v base="$3" 'BEGIN { srand(3); printf "{\"J\": %d, \"base\": %.17g, \"u\": [", groups, base
    for (j = 1; j <= groups; j++) printf "%s%.6f", (j > 1 ? ", " : ""), rand()
    for (i = 0; i < n; i++) {
      do k = 1 + int(rand() * groups); while (k % 3 == 0)
      g = g (i ? ", " : "") k
      x = rand(); xs = xs (i ? ", " : "") x
      y = y (i ? ", " : "") (i % 7 == 3 ? "null" : sprintf("%.17g", base + 0.6 * x + 2 * rand()))
    }
    printf "], \"g\": [%s], \"x\": [%s], \"y\": [%s]}\n", g, xs, y }'
}
regression 60 9 0 >small.json
regression 60 9 1e5 >far.json
regression 9 20 0 >more.json
kernels "a regression by groups" regression small.json
kernels "data far from 0" regression far.json
kernels "more groups than rows" regression more.json
awk 'BEGIN { srand(5); n = 40; J = 4
  for (i = 0; i < n; i++) { s = i ? ", " : ""
    g = g s (1 + int(rand() * J)); e = e s (0.5 + rand()); c = c s (i % 5 ? int(4 * rand()) : "null"); y = y s int(2 * rand()); w = w s rand()
    k = k s rand(); v = v s (i % 9 ? 3 + rand() : "null") }
  printf "{\"J\": %d, \"M\": [3, 0, 2, 1], \"r\": [[1, 4, null], [null, null, null], [1, 2, null], [7, null, null]], \"g\": [%s], \"exposure\": [%s], \"count\": [%s], \"yes\": [%s], \"wait\": [%s], ", J, g, e, c, y, w
  printf "\"w\": [%s], \"v\": [%s]}\n", k, v }' >families.json
kernels "other families, inner plates, no groups" families families.json

finish
