#!/bin/bash
# The experiments of Margossian & Blei (2024), "Amortized Variational Inference: When and Why?", section 4, and their counter-examples.
#   experiments/margossian_blei/run.sh [options] [PGMC]           PGMC: the compiler, build/pgmc by default
#     --seeds S         runs per method (10)
#     --complete S      published: at most so many of the nonlinear model whose likelihood is complete, which was not published (3)
#     --quick           less data, published iterations divided by ten: to see that everything works
#     --only WHAT       defaults, published or network: the tool's own optimisers (default), the published one, the neural network
#     --models LIST     of linear,nonlinear,nonlinear-published,saw,saw-published,hmm,dense (all)
#     --minutes M       published and network: begin no run after M minutes for each model; the next call goes on where this one stopped
#     --out DIRECTORY   where data, results and pages go (build/experiments/margossian_blei)
# Results: defaults.csv, published_MODEL.csv network.csv, network_published.csv and published_network.csv; pictures of all but these (SVG); the pages of `gap` and of published.c (HTML).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
seeds=10 complete=3 quick= minutes=100000 only=defaults models=linear,nonlinear,nonlinear-published,saw,saw-published,hmm,dense
out=$root/build/experiments/margossian_blei pgmc=$root/build/pgmc
while [ $# -gt 0 ]; do
  case $1 in
  --seeds) seeds=$2; shift ;;
  --complete) complete=$2; shift ;;
  --quick) quick=1 ;;
  --only) only=$2; shift ;;
  --models) models=$2; shift ;;
  --minutes) minutes=$2; shift ;;
  --out) out=$2; shift ;;
  -*) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  *) pgmc=$1 ;;
  esac
  shift
done
[ -x "$pgmc" ] || { echo "run.sh: $pgmc is missing: make" >&2; exit 3; }
pgmc=$(realpath "$pgmc")
mkdir -p "$out"
cd "$out"
export OMP_WAIT_POLICY=passive
. "$root/experiments/blas.sh"
. "$root/experiments/beside.sh"
large=10000 small=1000
[ -n "$quick" ] && { large=1000 small=200; }

picture() { # PAGE LABEL NAME: NAME.svg, if there is such a chart
  "$root/experiments/picture.sh" "$1" "$2" >"$3.svg" || { rm "$3.svg"; return 1; }
}
wanted() { case ",$models," in *,"$1",*) ;; *) return 1 ;; esac; }
say() { printf '\n$ %s\n' "$*"; "$@"; }
compile() { # a copy, so that pages name it and not where it came from
  cp "$1" .
  "$pgmc" "$(basename "$1")" 2>pgmc.log || { cat pgmc.log >&2; exit 1; }
}

# ---- data: what each model draws, and what was published ---------------------------------------------------------------------------------
for model in "$root"/examples/{linear,nonlinear,saw}/*.pgm "$here"/*.pgm; do compile "$model"; done
say ./linear simulate --set N=$large --set theta=0 --seed 1 --out linear.data.json --quiet
say ./nonlinear simulate --set N=$large --set theta=0.5 --seed 1 --out nonlinear.data.json --quiet
say ./nonlinear_data simulate --set N=$large --seed 1 --out nonlinear_published.data.json --quiet
say ./saw simulate --set N=$small --set theta=3.4159 --seed 1 --out saw.data.json --quiet
say ./saw_data simulate --set N=$small --seed 1 --out saw_published.data.json --quiet
for k in 1 2; do
  say ./hmm simulate --set T=$small --seed $k --out hmm.$k.json --quiet
  say ./dense simulate --set N=$((small / 2)) --seed $k --out dense.$k.json --quiet
done

# ---- the tool's own optimisers -----------------------------------------------------------------------------------------------------------
widths='1,1; 2,2; 4,4; 8,8; 16,16; 24,24; 32,32'
net='--skip none --activation relu'
gap() { # NAME MODEL DATA options: NAME.json and NAME.html
  local name=$1 model=$2 data=$3
  shift 3
  echo
  echo "\$ ./$model gap $data $* --seeds $seeds --out $name.json --html $name.html"
  ./"$model" gap "$data" "$@" --seeds "$seeds" --out "$name.json" --html "$name.html" --quiet
  picture "$name.html" 'Lines: ELBO against iterations' "$name"
  picture "$name.html" 'Boxes: iterations to' "${name}_boxes"
  picture "$name.html" 'Bars: what each one loses' "${name}_bars" || true # where there is one function and one set of inputs
}
if [ "$only" = defaults ]; then
  wanted linear && gap linear linear linear.data.json --degree '0; 2; 1'
  wanted nonlinear && gap nonlinear nonlinear nonlinear.data.json --hidden "$widths" $net
  wanted nonlinear-published && gap nonlinear_published nonlinear_published nonlinear_published.data.json --hidden "$widths" $net
  for data in saw saw_published; do
    wanted ${data/_/-} || continue
    gap $data saw $data.data.json --hidden '2,2; 4,4; 6,6; 10,10' $net
    for k in 4 6 10 20; do gap ${data}_one_input_$k saw $data.data.json --inputs 'z=x[n]' --hidden $k,$k $net; done
  done
  wanted hmm && gap hmm hmm hmm.1.json --window 0..8 --degree 1 --test hmm.2.json
  wanted dense && gap dense dense dense.1.json --degree 1 --test dense.2.json \
    --inputs 'z=x[n]; z=x[n-1],x[n],x[n+1]; z=x[n-2],x[n-1],x[n],x[n+1],x[n+2]; z=x[n-3],x[n-2],x[n-1],x[n],x[n+1],x[n+2],x[n+3]'
fi

# ---- the published optimiser -------------------------------------------------------------------------------------------------------------
if [ "$only" = published ]; then
  runtime=$(dirname "$pgmc")/libpgmrt.a
  flags='-std=gnu11 -O3 -march=native -mprefer-vector-width=512 -fno-math-errno -fno-trapping-math -fno-builtin-sin -fno-builtin-cos'
  flags+=' -fno-builtin-sinf -fno-builtin-cosf -fopenmp'
  for model in "$root"/examples/{linear,nonlinear,saw}/*.pgm "$here"/nonlinear_published.pgm; do
    name=$(basename "$model" .pgm)
    "$pgmc" emit "$name.pgm" -o "$name.c" 2>/dev/null
    awk -v toggle='#include "single.h"' '/^PGM_KERNEL.*_point\)/ { print toggle; inside = 1 } 1
      inside && /^}/ { print toggle; inside = 0 }' "$name.c" >"$name.single.c"
    cc $flags -DPGM_LIBRARY -I"$root/runtime" -I"$here" -c "$name.single.c" -o "$name.o"
  done
  cc $flags -I"$root/runtime" "$here/published.c" linear.o nonlinear.o nonlinear_published.o saw.o "$runtime" \
    -lgsl -lopenblas -ljansson -lz -lm -o published
  published() { # EXPERIMENT NAME ITERATIONS SEEDS options: on NAME.data.json
    local experiment=$1 name=$2 iterations=$3 seeds=$4
    shift 4
    say ./published "$experiment" "$name.data.json" --seeds "$seeds" ${quick:+--iterations $((iterations / 10))} --runs "runs/$name" "$@"
  }
  runs() { # EXPERIMENT NAME ITERATIONS SEEDS: seeds side by side
    local share=$((($4 + $(nproc) - 1) / $(nproc))) first
    mkdir -p "runs/$2"
    for ((first = 1; first <= $4; first += share)); do
      beside published "$1" "$2" "$3" $((first + share <= $4 ? share : $4 - first + 1)) --seed $first --minutes "$minutes" --csv /dev/null
    done
  }
  results() { # the same, of what has been run
    published "$@" --minutes 0 --csv "runs/$2.csv" --table "published_$2.csv" --html "published_$2.html"
    picture "published_$2.html" 'Lines: ELBO against iterations' "published_$2"
    picture "published_$2.html" 'Iterations until within 1 %' "published_$2_boxes" || echo "no run of $2 came within 1 %"
  }
  all() { # CALL, of every model; what is as published first
    if wanted nonlinear-published; then "$1" nonlinear-published nonlinear_published 20000 "$seeds"; fi
    if wanted saw-published; then "$1" saw saw_published 30000 "$seeds"; fi
    if wanted linear; then "$1" linear linear 5000 "$seeds"; fi
    if wanted saw; then "$1" saw saw 30000 "$seeds"; fi
    if wanted nonlinear; then "$1" nonlinear nonlinear 20000 $((seeds < complete ? seeds : complete)); fi
  }
  all runs
  beside_all
  all results
fi

# ---- the neural network ------------------------------------------------------------------------------------------------------------------
if [ "$only" = network ]; then
  network() { # NAME options
    local name=$1
    shift
    "$here/network.sh" "$@" --seeds "$seeds" --minutes "$minutes" ${quick:+--quick} --out "$PWD/$name" "$pgmc"
    cp "$name/network.csv" "$name.csv"
  }
  network network
  network published_network --published
  cp published_network/curves.svg published_network.svg
  network network_published --model "$here/bnn_published.pgm"
fi

# ---- in one table ------------------------------------------------------------------------------------------------------------------------
if [ "$only" = defaults ]; then
  cc -O2 "$root/experiments/summary.c" -ljansson -lm -o summary
  names=()
  for name in linear nonlinear nonlinear_published saw saw_published {saw,saw_published}_one_input_{4,6,10,20} hmm dense; do
    [ ! -e $name.json ] || names+=("$name.json")
  done
  [ ${#names[@]} = 0 ] || ./summary "${names[@]}" >defaults.csv
fi
printf '\nMade in %s\n' "$out"
