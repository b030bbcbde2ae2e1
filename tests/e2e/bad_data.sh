#!/bin/bash
# Wrong data: the exact message, the exit status, and no file left behind.
source "$(dirname "$0")/lib.sh"
compile "$root/examples/radon/radon.pgm" && compile "$root/examples/saw/saw.pgm" && compile "$root/tests/e2e/models/nested2.pgm" &&
  compile "$root/tests/e2e/poisson_effects.pgm" || finish
mkdir "$work/at"
cd "$work/at" || exit 3
good='"N": 3, "J": 2, "floor_measure": [0, 1, 0]'

# wrong STATUS TEXT PROGRAM FILE CONTENTS...: one file, one message
wrong() {
  printf '%s' "$5" >"$4"
  refuse "$1" "$2" "$work/$3" fit "$4" --out kept.fit --quiet
  [ -n "$(ls -A | grep -v "^$4\$")" ] && fail "left behind: $(ls -A)"
  rm -rf "${work:?}"/at/* "$work"/at/.[!.]*
}

wrong 1 "'log_radon' is not in d.json (radon.pgm:10: log_radon[i] ~ normal(alpha[county_idx[i]] + beta * floor_measure[i], sigma))" radon d.json "{$good, \"county_idx\": [1, 2, 2]}"
wrong 1 "'log_radon' is not in d.json, but 'Log.Radon' is (radon.pgm:10: log_radon[i] ~ normal(alpha[county_idx[i]] + beta * floor_measure[i], sigma))" radon d.json "{$good, \"county_idx\": [1, 2, 2], \"Log.Radon\": [1, 2, 2]}"
wrong 1 "d.json: log_radon: 2 values, but log_radon[i], i in 1..N needs 3, because N = 3 (given in d.json) (radon.pgm:10)" radon d.json "{$good, \"county_idx\": [1, 2, 2], \"log_radon\": [1, 2]}"
wrong 1 "d.json: log_radon: 4 values, but log_radon[i], i in 1..N needs 3, because N = 3 (given in d.json) (radon.pgm:10)" radon d.json "{$good, \"county_idx\": [1, 2, 2], \"log_radon\": [1, 2, 3, 4]}"
wrong 1 "d.json: log_radon[2]: text (\"a\"), not a number (radon.pgm:10)" radon d.json "{$good, \"county_idx\": [1, 2, 2], \"log_radon\": [1, \"a\", 3]}"
wrong 1 "d.json: N: 2.5 is not a whole number, but N is an int (radon.pgm:3)" radon d.json '{"N": 2.5, "J": 2, "floor_measure": [0, 1], "county_idx": [1, 2], "log_radon": [1, 2]}'
wrong 1 "d.json: county_idx[2]: 3 is above the upper bound 2 (radon.pgm:8)" radon d.json "{$good, \"county_idx\": [1, 3, 2], \"log_radon\": [1, 2, 3]}"
wrong 1 "d.json: county_idx[3]: 0 is below the lower bound 1 (radon.pgm:8)" radon d.json "{$good, \"county_idx\": [1, 2, 0], \"log_radon\": [1, 2, 3]}"
wrong 1 "d.json: county_idx[2]: 1.5 is not a whole number, but county_idx is an int (radon.pgm:8)" radon d.json "{$good, \"county_idx\": [1, 1.5, 2], \"log_radon\": [1, 2, 3]}"
wrong 1 "d.json: floor_measure[2]: missing; an input must be given (radon.pgm:9)" radon d.json '{"N": 3, "J": 2, "floor_measure": [0, null, 0], "county_idx": [1, 2, 2], "log_radon": [1, 2, 3]}'
wrong 1 "d.json:1:12: duplicate object key near '\"N\"'" radon d.json '{"N": 3, "N": 3}'
wrong 1 "d.json:1:19: ']' expected near end of file" radon d.json '{"N": 3, "x": [1, 2'
wrong 1 "d.json: the file is empty" radon d.json ''
wrong 1 "d.csv:3: 2 cells, but the header has 3" radon d.csv $'county_idx,floor_measure,log_radon\n1,0,1.5\n2,0\n'
wrong 1 "d.csv:3: log_radon: 'abc' is not a number (radon.pgm:10)" radon d.csv $'county_idx,floor_measure,log_radon\n1,0,1.5\n2,0,abc\n'
wrong 1 "d.json: y[2]: a row of 1 where the first has 2 (rows must have equal length; pad them with null) (nested2.pgm:13)" nested2 d.json '{"G": 2, "M": 2, "y": [[1, 2], [3]]}'
wrong 1 "d.json: y[2]: -1 must be a whole number, 0 or more: y[n] ~ poisson_log(z[n]) (poisson_effects.pgm:8)" poisson_effects d.json '{"N": 2, "y": [1, -1]}'
wrong 1 "d.json: y[1]: 1.5 is not a whole number, but y is an int (poisson_effects.pgm:8)" poisson_effects d.json '{"N": 2, "y": [1.5, 1]}'
wrong 1 "d.json: x[2]: inf is not finite: x[n] ~ normal(a * (z[n] + theta), 1) (saw.pgm:11)" saw d.json '{"N": 2, "x": [1, "+inf"]}'
mkdir d.json
refuse 3 "d.json: is a directory" "$work/saw" fit d.json --out kept.fit --quiet
rmdir d.json
refuse 3 "none.json: No such file or directory" "$work/saw" fit none.json --out kept.fit --quiet
if [ "$(id -u)" != 0 ]; then
  echo '{"N": 1, "x": [1]}' >d.json
  chmod 0 d.json
  refuse 3 "d.json: Permission denied" "$work/saw" fit d.json --out kept.fit --quiet
  rm -f d.json
fi
echo '{"N": 1, "x": [1]}' >d.json
refuse 3 "/none/kept.fit: No such file or directory" "$work/saw" fit d.json --out /none/kept.fit --quiet
rm d.json
[ -z "$(ls -A)" ] && pass "nothing left behind" || fail "left behind: $(ls -A)"
finish
