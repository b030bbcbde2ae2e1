#!/bin/bash
# The programs of experiments/ build and do what they say, on data of a few values: the published optimiser (its runs are kept and read back), also of the
# neural network (it goes on where it stopped), the
# Kalman filter against a closed form, tables and pictures. Whole experiments: long_experiments.sh.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
here=$root/experiments
flags="-std=gnu11 -O1 -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror -fopenmp -I$root/runtime"
objects=()
for model in "$root"/examples/{linear,nonlinear,saw}/*.pgm "$here"/margossian_blei/nonlinear_published.pgm; do
  name=$(basename "$model" .pgm)
  "$PGMC" emit "$model" -o "$name.c" 2>/dev/null && cc -std=gnu11 -O1 -w -fopenmp -DPGM_LIBRARY -I"$root/runtime" -c "$name.c" || fail "$name: compile"
  objects+=("$name.o")
done
# shellcheck disable=SC2086
check "published.c" cc $flags ${PGMC_CFLAGS:-} "$here/margossian_blei/published.c" "${objects[@]}" "$(dirname "$PGMC")/libpgmrt.a" -lgsl -lopenblas -ljansson -lz -lm \
  -o published
# shellcheck disable=SC2086
check "kalman.c" cc $flags "$here/conditioning/kalman.c" -lgsl -lopenblas -lm -o kalman
# shellcheck disable=SC2086
check "summary.c" cc $flags "$here/summary.c" -ljansson -lm -o summary
echo '{"N": 20, "x": [0.3, -1.2, 2.1, 0.7, -0.4, 1.9, -2.2, 0.1, 3.0, -0.6, 1.1, 0.2, -1.7, 0.9, 2.4, -0.8, 0.5, 1.3, -3.1, 0.0]}' >x.json
mkdir runs
./published linear x.json --seeds 1 --iterations 2000 --runs runs --csv runs.csv --table table.csv --html page.html 2>/dev/null || fail "published: runs"
awk -F, '$1 == "d=1" { closes = $6 < 0.1 } $1 == "constant" { stays = $6 > 0.5 } END { exit !(closes && stays) }' table.csv &&
  pass "linear: degree 1 reaches F-VI, a constant does not" || { fail "linear: degree 1 reaches F-VI, a constant does not"; cat table.csv; }
./published linear x.json --seeds 1 --iterations 2000 --runs runs --minutes 0 --csv again.csv && cmp -s runs.csv again.csv && pass "runs are kept" || fail "runs are kept"
echo '{"N": 2, "x": [0.3, -1.2]}' >other.json
refuse 1 "published: runs/linear_F-VI_1.csv: of another experiment or damaged; remove it" ./published linear other.json --seeds 1 --iterations 2000 --runs runs
# ---- the neural network: 20 images of 4 pixels -----------------------------------------------------------------------------------------------
awk 'BEGIN { srand(1); for (n = 0; n < 20; n++) { printf n ? ",\n[" : "{\"x\": [["; for (k = 0; k < 4; k++) printf "%s%.3f", k ? "," : "", rand() + (n % 2) * (k % 2); printf "]" } print "]}" }' >images.json
"$PGMC" emit "$here/margossian_blei/bnn_published.pgm" --real float -o bnn.c 2>/dev/null
# shellcheck disable=SC2086
check "published_network.c" cc $flags ${PGMC_CFLAGS:-} -Wno-unused-function -DPGM_LIBRARY bnn.c "$here/margossian_blei/published_network.c" \
  "$(dirname "$PGMC")/libpgmrt.a" -lgsl -lopenblas -ljansson -lz -lm -o published_network
# shellcheck disable=SC2086
check "network_curves.c" cc $flags ${PGMC_CFLAGS:-} "$here/margossian_blei/network_curves.c" "$(dirname "$PGMC")/libpgmrt.a" -lgsl -lopenblas -ljansson -lz -lm -o network_curves
published_network() { # METHOD STATE PASSES options
  OMP_NUM_THREADS=1 ./published_network "$1" images.json "$2" --passes "$3" --fit "$2.fit" --curve "$2.curve.csv" "${@:4}" >"$2.json" || fail "published_network $*"
}
published_network fvi fvi_1 40
published_network fvi fvi_2 20
published_network fvi fvi_2 40
[ "$(get fvi_1.json elbo)" = "$(get fvi_2.json elbo)" ] && cmp -s fvi_1.curve.csv fvi_2.curve.csv && pass "network: goes on where it stopped" || fail "network: goes on where it stopped"
refuse 1 "published: fvi_1: of another experiment or damaged; remove it" ./published_network fvi images.json fvi_1 --passes 40 --fit x.fit --entropy
published_network const const_1 40
published_network 8 avi_8_1 40
published_network 8 avi_8_2 40 --entropy
[ "$(get avi_8_1.json iterations)" = 400 ] && [ "$(get avi_8_1.json elbo)" != "$(get avi_8_2.json elbo)" ] && pass "network: with and without the entropy" ||
  fail "network: with and without the entropy"
"$PGMC" "$here/margossian_blei/bnn_published.pgm" -o bnn 2>/dev/null
./bnn infer avi_8_1.fit images.json --out z.csv --quiet && pass "network: the fit is one" || fail "network: the fit is one"
./network_curves const_1.curve.csv fvi_1.curve.csv avi_8_1.curve.csv >curves.html && "$here/picture.sh" curves.html 'Lines: error' >curves.svg && grep -q 'width 8' curves.svg &&
  pass "network: picture" || fail "network: picture"
. "$here/kept.sh"
mkdir kept
(cd kept && kept_with "10 images" && kept_with "10 images") && pass "what is kept, with the same settings" || fail "what is kept, with the same settings"
(cd kept && kept_with "20 images" 2>../kept.err) && fail "other settings" || grep -q 'what is there was made with other settings' kept.err && pass "other settings are refused" ||
  fail "other settings are refused"
"$here/picture.sh" page.html 'Lines: ELBO against iterations' >lines.svg && head -n 1 lines.svg | grep -q '^<svg xmlns' && tail -n 1 lines.svg | grep -q '</svg>$' &&
  pass "picture" || fail "picture"
"$here/picture.sh" page.html 'no such chart' >/dev/null && fail "picture: none" || pass "picture: none"
# two steps by hand: x[1] ~ N(0, 4 + 1); z[2] given x[1] ~ N(0.5 * 0.8, 0.25 * 0.8 + 4), so x[2] ~ N(0.4, 5.2)
near "Kalman filter" "$(printf '1\n2\n' | ./kalman 2 --at 0.5 2 1 | awk '{ print $4 }')" \
  "$(calc '-0.5 * (log(2 * 3.14159265358979 * 5) + 1 / 5 + log(2 * 3.14159265358979 * 5.2) + 1.6 ^ 2 / 5.2)')" 1e-3
finish
