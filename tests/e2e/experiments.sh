#!/bin/bash
# The programs of experiments/ build and do what they say, on data of a few values: the published optimiser (its runs are kept and read back), the
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
