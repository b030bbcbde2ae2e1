#!/bin/bash
# Bayer et al. (2021), "Mind the gap when conditioning amortised inference in sequential latent-variable models": the one-bit example; a filter
# against a smoother, on data that were fitted and on others; and what a filter's conditioning gap does to a model that is learnt under it.
#   experiments/conditioning/run.sh [--quick] [--out DIRECTORY] [PGMC]
# Out: one_bit.csv, series.csv, learnt.csv, driven.csv; pictures (SVG); one_bit.html; NAME.json and NAME.html of the gaps of series.csv.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/build/experiments/conditioning pgmc=$root/build/pgmc T=2000
while [ $# -gt 0 ]; do
  case $1 in
  --quick) T=300 ;;
  --out) out=$2; shift ;;
  -*) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
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
  "$pgmc" "$(basename "$model")" 2>pgmc.log || { cat pgmc.log >&2; exit 1; }
done
cc -O2 "$here/kalman.c" -lgsl -lopenblas -lm -o kalman
cc -O2 -I"$root/runtime" "$here/one_bit.c" "$(dirname "$pgmc")/libpgmrt.a" -fopenmp -lgsl -lopenblas -ljansson -lz -lm -o one_bit_page
cc -O2 "$root/experiments/summary.c" -ljansson -lm -o summary
cc -O2 "$root/tests/e2e/json_get.c" -ljansson -o get

# ---- one bit -----------------------------------------------------------------------------------------------------------------------------
points=()
for d in 0.5 1 2 3 4 6 8; do
  awk -v d=$d 'BEGIN { for (i = 0; i < 200; i++) x = x (i ? ", " : "") (i % 2 ? d / 2 : -d / 2); print "{\"x\": [" x "]}" }' >bit.json
  ./one_bit gap bit.json --degree 1 --quiet --json >bit.out
  points+=("$d=$(./get bit.out per_observation.constant)")
done
./one_bit_page "${points[@]}" >one_bit.html
for d in 1 2 4 6; do "$root/experiments/picture.sh" one_bit.html "The two posteriors $d sds" >one_bit_$d.svg; done
{
  echo distance,gap_derived,gap_measured
  for p in "${points[@]}"; do awk -v d="${p%=*}" -v g="${p#*=}" 'BEGIN { printf "%g,%.5f,%.5f\n", d, d * d / 8, g }'; done
} >one_bit.csv

# ---- a filter and a smoother -------------------------------------------------------------------------------------------------------------
past() { # WIDTH NAME...: NAME[t],NAME[t-1],... of each
  local text= name k width=$1
  shift
  for name in "$@"; do
    text+=${text:+,}$name[t]
    for k in $(seq "$width"); do text+=",$name[t-$k]"; done
  done
  echo "$text"
}
compare() { # NAME MODEL OBSERVED LATENT DATA TEST
  ./"$2" gap "$5" --test "$6" --degree 1 --window 0..6 --inputs "$4=$(past 3 "$3"); $4=$(past 6 "$3"); $4=$(past 12 "$3")" --quiet \
    --out "$1.json" --html "$1.html" >"$1.txt"
}
series=()
for r in 0.3 1 3; do
  for k in 1 2; do ./lds simulate --set T=$T --set r=$r --seed $k --out lds_$r.$k.data.json --quiet; done
  compare lds_$r lds x z lds_$r.1.data.json lds_$r.2.data.json
  series+=(lds_$r.json)
done
./get "$root/examples/nile/nile.json" flow | awk 'NR <= 70 { a = a (NR > 1 ? ", " : "") $1 } NR > 70 { b = b (NR > 71 ? ", " : "") $1 }
  END { print "{\"flow\": [" a "]}" > "nile.1.data.json"; print "{\"flow\": [" b "]}" > "nile.2.data.json" }'
compare nile nile flow level nile.1.data.json nile.2.data.json
./summary "${series[@]}" nile.json >series.csv
for name in lds_1 nile; do "$root/experiments/picture.sh" $name.html 'Bars: what each one loses' >$name.svg; done

# ---- models learnt under them ------------------------------------------------------------------------------------------------------------
# METHOD options: what `fit` of $model on $name.data learns, and how much of the greatest likelihood (of a Kalman filter) that loses.
learnt() {
  local method=$1 found
  shift
  ./"$model" fit "$name.data.json" "$@" --quiet --json >"$name.out" 2>fit.log || { cat fit.log >&2; exit 1; }
  found="$(./get "$name.out" params.a) $($held || ./get "$name.out" params.q) $(if $held; then echo "$q"; fi) $(./get "$name.out" params.r)"
  ./kalman "$first" --at $found <"$name.series" | awk -v head="$a,$q,$r,$method" -v best="$best" -v elbo="$(./get "$name.out" elbo)" \
    -v converged="$(./get "$name.out" converged)" '
    { printf "%s,%.3f,%.3f,%.3f,%.2f,%.3f,%s\n", head, $1, $2, $3, best - $4 < 0.005 ? 0 : best - $4, elbo, converged }'
}
methods() { # observed families...: all rows of one system; a smoother sees $back values back and 6 ahead, a filter 12 back
  local found
  found=$(./kalman "$first" $hold <"$name.series")
  best=${found##* }
  echo "$found" | awk -v head="$a,$q,$r,maximum likelihood" '{ printf "%s,%.3f,%.3f,%.3f,0,,\n", head, $1, $2, $3 }'
  learnt F-VI --method fvi
  learnt smoother --method avi --degree 1 --inputs "z=$(past "$back" "$@"),$(for k in 1 2 3 4 5 6; do printf ',%s' "${@/%/[t+$k]}"; done | cut -c2-)"
  learnt filter --method avi --degree 1 --inputs "z=$(past 12 "$@")"
}
head=true_a,true_q,true_r,learnt_by,a,q,r,log_likelihood_lost,elbo,converged
model=learn held=false hold= first=2 back=6
echo $head >learnt.csv
for system in '0.9 1 0.05' '0.9 1 0.3' '0.9 1 1' '0.9 1 3'; do
  read -r a q r <<<"$system"
  name=learn_${a}_${q}_$r
  ./lds simulate --set T=$T --set a=$a --set q=$q --set r=$r --seed 1 --out "$name.data.json" --quiet
  ./get "$name.data.json" x >"$name.series"
  methods x >>learnt.csv
done
# The system that known controls drive: q is held, from as loud as the observations' noise to nearly none.
model=driven held=true back=12
echo $head >driven.csv
for q in 1 0.3 0.1 0.03 0.01; do
  a=0.5 r=1 first=$q hold="--hold $q" name=driven_$q
  ./driven simulate --set T=$T --set a=$a --set q=$q --set r=$r --seed 1 --out "$name.data.json" --quiet
  paste <(./get "$name.data.json" x) <(./get "$name.data.json" u) >"$name.series"
  methods x u >>driven.csv
done
printf '\nMade in %s\n' "$out"
