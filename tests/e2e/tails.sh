#!/bin/bash
# Log densities and distribution functions in their tails and at large counts, as compiled models compute them, against tails.txt: values with 60 digits
# (tails.py). The numbers come in as inputs, so that the compiler does not fold them; the sum of all relative errors stands for each of them.
. "$(dirname "$0")/lib.sh"

# model FIRST LAST: lines of the table as factors, minus their relative errors
model() {
  awk -v first="$1" -v last="$2" 'BEGIN { print "model tails { latent r ~ flat();" }
    NR < first || NR > last { next }
    { args = ""
      for (i = 2; i < NF; i++) {
        whole = $i ~ /^[0-9]+$/ && ($1 ~ /lpmf$/ || $1 ~ /^(poisson|binomial|neg_binomial|geometric)/)
        printf "  input a%d_%d%s = %s;\n", NR, i, whole ? " : int" : "", $i
        args = args (i == 2 ? "" : i == 3 ? " | " : ", ") "a" NR "_" i
      }
      if (NF == 3) args = args " |"
      printf "  factor -abs((%s(%s) - (%s)) / (%s));\n", $1, args, $NF, $NF }
    END { print "}" }' "$root/tests/e2e/tails.txt"
}

lines=$(wc -l <"$root/tests/e2e/tails.txt")
for ((first = 1; first <= lines; first += 70)); do
  last=$((first + 69 < lines ? first + 69 : lines))
  model $first $last >"$work/tails.pgm"
  compile "$work/tails.pgm" || continue
  echo '{"r": 0}' >"$work/at.json"
  "$work/tails" grad --at "$work/at.json" --quiet >"$work/grad.json" 2>"$work/log" || { fail "lines $first to $last"; cat "$work/log"; continue; }
  below "relative errors of lines $first to $last, summed" "$(calc "-1 * $(get "$work/grad.json" log_joint)")" 1e-9 && continue
  for ((i = first; i <= last; i++)); do                                     # which?
    model $i $i >"$work/tails.pgm"
    compile "$work/tails.pgm" && "$work/tails" grad --at "$work/at.json" --quiet >"$work/grad.json" &&
      echo "$(get "$work/grad.json" log_joint) $(sed -n ${i}p "$root/tests/e2e/tails.txt")"
  done | sort -g | head -n 20
done
finish
