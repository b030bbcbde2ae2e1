#!/bin/bash
# Small models of every construction of the language: the kernels of each agree with its terms, with differences, with draws and with each other
# (kernels/kernels.c), and the model agrees with the same model written without plates (unroll.c). Then the examples likewise.
# In models/NAME.pgm "// data: ARGUMENTS" is what simulate needs beside NAME.json; "// flat: no" that it cannot be written without plates.
#   models.sh [NAME ...]   only these
source "$(dirname "$0")/lib.sh"

# Values of a JSON file under a key against those of another: equal to 1e-10 of their size.
same_values() {
  paste <(get "$1" "$3") <(get "$2" "$3") | awk -v key="$3" '
    $1 != $2 { d = $1 - $2; size = 1 + ($1 < 0 ? -$1 : $1); if (!((d < 0 ? -d : d) <= 1e-10 * size) || NF != 2) { print key ", number " NR ": " $1 ", unrolled " $2; bad = 1 } }
    END { exit bad || NR == 0 }'
}

unrolled() {
  "$B/e2e/unroll" "$1" "$2/data.json" >"$2/flat.pgm" || return
  "$PGMC" "$2/flat.pgm" -o "$2/flat" 2>"$2/flat.err" || { grep -v warning "$2/flat.err"; return 1; }
  "$2/flat" grad "$2/data.json" --at "$2/truth.json" --check --quiet >"$2/flat.grad" || return
  same_values "$2/grad" "$2/flat.grad" log_joint || return
  for family in $(get "$2/grad" gradient); do same_values "$2/grad" "$2/flat.grad" "gradient.$family" || return; done
}

# model_case FILE.pgm DATA_ARGUMENTS UNROLL(yes|no)
model_case() {
  local model=$1 arguments=$2 unroll=$3 name dir
  name=$(sed -n 's/^model \([A-Za-z0-9_]*\).*/\1/p' "$model")
  dir=$work/$name
  mkdir -p "$dir"
  {
    "$PGMC" "$model" --library -o "$dir" &&
      ${CC:-gcc} -std=gnu11 -O1 $PGMC_CFLAGS -I"$root/runtime" -DMODEL="$name" "$root/tests/e2e/kernels/kernels.c" "$dir/lib$name.a" -o "$dir/run" \
        -fopenmp -lgsl -ljansson -lz -lm &&
      "$dir/run" simulate $arguments --out "$dir/data.json" --truth "$dir/truth.json" --quiet &&
      "$dir/run" grad "$dir/data.json" --at "$dir/truth.json" --check --quiet >"$dir/grad" &&
      "$dir/run" kernels "$dir/data.json" 1 && "$dir/run" kernels "$dir/data.json" 2 &&
      { [ "$unroll" = no ] || unrolled "$model" "$dir"; }
  } >"$dir/log" 2>&1
  if [ $? = 0 ]; then pass "$name"; else fail "$name"; grep -v warning "$dir/log" | tail -n 20; fi
}

: "${PGMC_CFLAGS:=}"

for model in "$root"/tests/e2e/models/*.pgm; do
  name=$(basename "$model" .pgm)
  [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
  arguments=$(sed -n 's,^// data: *,,p' "$model")
  [ -f "${model%.pgm}.json" ] && arguments="${model%.pgm}.json $arguments"
  model_case "$model" "$arguments" "$(grep -q '^// flat: no' "$model" && echo no || echo yes)"
done
[ $# = 0 ] || finish

echo '{"county_idx": [1, 2, 2, 3, 1, 3, 3], "floor_measure": [0, 1, 0, 0, 1, 0, 0]}' >"$work/radon.json"
echo '{"sigma": [15, 10, 16, 11]}' >"$work/schools.json"
cd "$root/examples" || exit 3
model_case saw/saw.pgm "--set N=7" yes
model_case linear/linear.pgm "--set N=7 --set theta=0.5" yes
model_case nonlinear/nonlinear.pgm "--set N=7 --set theta=0.5" yes
model_case nile/nile.pgm "--set T=7" yes
model_case radon/radon.pgm "$work/radon.json" yes
model_case eight_schools/eight_schools.pgm "$work/schools.json" yes
model_case fashion_mnist/bnn.pgm "--set N=4 --set D=3 --set K=2 --set H=3" yes
finish
