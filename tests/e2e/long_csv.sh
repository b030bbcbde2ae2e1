#!/bin/bash
# Ten million rows of CSV: a program reads and checks them in less processor time than a loop of strtod takes to read them, and within twice the
# memory of the array, however long the numbers are written.
. "$(dirname "$0")/lib.sh"
compile "$root/examples/linear/linear.pgm" || finish
rows=10000000
for format in %.6g %.17g; do
  awk -v n=$rows -v format="$format\n" 'BEGIN { srand(1); print "x"; for (i = 0; i < n; i++) printf format, rand() * 6 - 3 }' >"$work/big.csv"
  read -r loop program memory numbers < <(OMP_NUM_THREADS=1 "$B/e2e/measure_csv" "$work/big.csv" "$work/linear" check "$work/big.csv")
  echo "$format: $(stat -c %s "$work/big.csv") bytes, $loop s by strtod, $program s and $memory MB here"
  near "$format: rows" "$numbers" $rows 0
  below "$format: seconds" "$program" "$loop"
  below "$format: megabytes" "$memory" $((2 * rows * 8 / 1000000))
done
finish
