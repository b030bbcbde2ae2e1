#!/bin/bash
# Bayer et al. (2021), "Mind the gap when conditioning amortised inference in sequential latent-variable models": the one-bit example; a filter
# against a smoother, on data that were fitted and on others; and what a filter's conditioning gap does to a model that is learnt under it.
#   experiments/conditioning/run.sh [--quick] [--out DIRECTORY] [PGMC]
# Out: one_bit.html, NAME.json and NAME.html of every gap, tables.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/build/experiments/conditioning pgmc=$root/build/pgmc T=2000
while [ $# -gt 0 ]; do
  case $1 in
  --quick) T=300 ;;
  --out) out=$2; shift ;;
  -*) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  *) pgmc=$1 ;;
  esac
  shift
done
[ -x "$pgmc" ] || { echo "run.sh: $pgmc is missing: make" >&2; exit 3; }
pgmc=$(realpath "$pgmc")
mkdir -p "$out"
cd "$out"
export OMP_WAIT_POLICY=passive LC_ALL=C
for model in "$here"/*.pgm; do
  cp "$model" .
  "$pgmc" "$(basename "$model")"
done
cc -O2 "$here/kalman.c" -lgsl -lopenblas -lm -o kalman
cc -O2 -I"$root/runtime" "$here/one_bit.c" "$(dirname "$pgmc")/libpgmrt.a" -fopenmp -lgsl -lopenblas -ljansson -lz -lm -o one_bit_page

# One number of a JSON file of gap or fit: KEY in the object OBJECT, of what was fitted or (test) of the test data.
value() { # FILE OBJECT KEY [test]
  tr -d '\n' <"$1" | if [ -n "${4:-}" ]; then sed 's/.*"test": {/{/'; else sed 's/"test": .*//'; fi |
    sed -n "s/.*\"$2\": {\([^}]*\)}.*/\1/p" | tr ',' '\n' | sed -n "s/.*\"$3\": //p" | head -n 1
}
series() { tr -d '\n' <"$1" | sed 's/.*\[\(.*\)\].*/\1/' | tr ',' '\n'; }

# ---- one bit -----------------------------------------------------------------------------------------------------------------------------
points=()
for d in 0.5 1 2 3 4 6 8; do
  awk -v d=$d 'BEGIN { for (i = 0; i < 200; i++) x = x (i ? ", " : "") (i % 2 ? d / 2 : -d / 2); print "{\"x\": [" x "]}" }' >bit.json
  ./one_bit gap bit.json --degree 1 --quiet --json >bit.out
  points+=("$d=$(value bit.out per_observation constant)")
done
./one_bit_page "${points[@]}" >one_bit.html
{
  echo '| d, sds | conditioning gap, derived d²/8 | measured |'
  echo '| --- | --- | --- |'
  for p in "${points[@]}"; do awk -v d="${p%=*}" -v g="${p#*=}" 'BEGIN { printf "| %g | %.5f | %.5f |\n", d, d * d / 8, g }'; done
} >tables.md

# ---- a filter and a smoother -------------------------------------------------------------------------------------------------------------
past() { # NAME WIDTH: x[t],x[t-1],...
  local text="$1[t]"
  for k in $(seq "$2"); do text+=",$1[t-$k]"; done
  echo "$text"
}
compare() { # TITLE NAME MODEL OBSERVED LATENT DATA TEST
  ./"$3" gap "$6" --test "$7" --degree 1 --window 0..6 --inputs "$5=$(past "$4" 3); $5=$(past "$4" 6); $5=$(past "$4" 12)" --quiet \
    --out "$2.json" --html "$2.html" >"$2.txt"
  printf '| %s | %.1f | %.2f | %.1f | %.1f |\n' "$1" "$(value "$2.json" elbo fvi)" "$(value "$2.json" gaps amortisation)" \
    "$(value "$2.json" gaps conditioning)" "$(value "$2.json" gaps conditioning test)" >>tables.md
}
{
  echo
  echo '| series | ELBO of F-VI | F-VI - smoother (window 6) | smoother - filter (13 inputs) | the same on other data |'
  echo '| --- | --- | --- | --- | --- |'
} >>tables.md
for r in 0.3 1 3; do
  for k in 1 2; do ./lds simulate --set T=$T --set r=$r --seed $k --out lds_$r.$k.json --quiet; done
  compare "linear, r = $r" "lds_$r" lds x z lds_$r.1.json lds_$r.2.json
done
series "$root/examples/nile/nile.json" | awk 'NR <= 70 { a = a (NR > 1 ? ", " : "") $1 } NR > 70 { b = b (NR > 71 ? ", " : "") $1 }
  END { print "{\"flow\": [" a "]}" > "nile.1.json"; print "{\"flow\": [" b "]}" > "nile.2.json" }'
compare 'Nile 1871-1940, others 1941-1970' nile nile flow level nile.1.json nile.2.json

# ---- models learnt under them ------------------------------------------------------------------------------------------------------------
learn() { # TITLE A Q R
  local name=learn_$2_$3_$4 ml
  ./lds simulate --set T=$T --set a=$2 --set q=$3 --set r=$4 --seed 1 --out "$name.data.json" --quiet
  series "$name.data.json" >"$name.series"
  ml=$(./kalman 2 <"$name.series")
  set -- "$1" $ml
  printf '| %s | maximum likelihood | %.3f | %.3f | %.3f | 0 |\n' "$1" "$2" "$3" "$4" >>tables.md
  row() { # METHOD options
    local method=$1 found
    shift
    ./learn fit "$name.data.json" "$@" --quiet --json >"$name.out" 2>/dev/null
    found="$(value "$name.out" params a) $(value "$name.out" params q) $(value "$name.out" params r)"
    ./kalman 2 $found <"$name.series" | awk -v method="$method" -v best="${ml##* }" '
      { printf "| | %s | %.3f | %.3f | %.3f | %.1f |\n", method, $1, $2, $3, best - $4 }' >>tables.md
  }
  row 'F-VI' --method fvi
  row 'smoother, window 6' --method avi --degree 1 --window 6
  row 'filter, 13 inputs' --method avi --degree 1 --inputs "z=$(past x 12)"
  row 'x[t] alone' --method avi --degree 1 --inputs 'z=x[t]'
}
{
  echo
  echo '| system | learnt by | a | q | r | log likelihood lost |'
  echo '| --- | --- | --- | --- | --- | --- |'
} >>tables.md
learn 'a .9, q 1, r .05 (hardly any noise)' 0.9 1 0.05
learn 'a .9, q 1, r .3' 0.9 1 0.3
learn 'a .9, q 1, r 1' 0.9 1 1
learn 'a .9, q 1, r 3 (strong noise)' 0.9 1 3
learn 'a .5, q .1, r 1 (a state that hardly moves)' 0.5 0.1 1
cat tables.md
printf '\nMade in %s\n' "$out"
