#!/bin/sh
# make demo: three models, from text to posterior. usage: examples/demo.sh PGMC DIRECTORY (for what is made)
set -e
pgmc=$(realpath "$1")
examples=$(dirname "$(realpath "$0")")
mkdir -p "$2"
cd "$2"

run() { printf '\n$ %s\n' "$*"; PATH="$(dirname "$pgmc"):$PATH" "$@"; }
title() { printf '\n==== %s ====\n' "$*"; }

cp "$examples/saw/saw.pgm" "$examples/radon/radon.pgm" "$examples/radon/radon.json" "$examples/nile/nile.pgm" "$examples/nile/nile.json" .

title "saw: a time series whose states depend on the observation before"
run pgmc saw.pgm
run pgmc check saw.pgm
run ./saw simulate --set N=1000 --set theta=3.4 --seed 1 --out saw.json
run ./saw fit saw.json --out saw.fit

title "radon: 919 houses in 85 counties"
run pgmc radon.pgm
run pgmc check radon.pgm
run ./radon fit radon.json --out radon.fit

title "nile: a hidden Markov model, which no window of inputs serves"
run pgmc nile.pgm
run pgmc check nile.pgm
run ./nile fit nile.json --out nile.fit

printf '\nMade in %s: the programs saw, radon and nile (--help tells what they do), data and fits.\n' "$2"
