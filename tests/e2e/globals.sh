#!/bin/bash
# eight_schools, radon and nile on their data: means and sds of the globals within 1e-3 of an F-VI optimum found by other means (reference_globals.c). What
# mean field costs, beside it: the distance to reference draws of the posterior.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
for name in eight_schools radon nile; do
  compile "$root/examples/$name/$name.pgm" || continue
  "$B/e2e/reference_globals" $name "$root/examples/$name/$name.json" >reference || { fail "$name: no reference"; continue; }
  ./$name fit "$root/examples/$name/$name.json" --quiet --json --method fvi >$name.json || fail "$name: fit"
  near "$name: ELBO" "$(get $name.json elbo)" "$(head -n 1 reference)" 1e-3
  while read -r global mean sd; do
    near "$name: mean of $global" "$(get $name.json globals.$global.mean)" "$mean" "$(calc "1e-3 * ($sd > 1 ? $sd : 1)")"
    near "$name: sd of $global" "$(get $name.json globals.$global.sd)" "$sd" "$(calc "1e-3 * ($sd > 1 ? $sd : 1)")"
  done < <(tail -n +2 reference)
done
# Means and sds of 10 chains of 1000 draws: posteriordb (Magnusson et al.), eight_schools-eight_schools_noncentered, BSD 3-Clause.
while read -r global mean sd; do
  echo "     eight_schools: $global has mean $(get eight_schools.json globals.$global.mean), sd $(get eight_schools.json globals.$global.sd); the posterior $mean, $sd"
done <<'EOT'
mu 4.4105183369549295 3.3091310077656892
tau 3.602059523640593 3.1983177430947864
EOT
finish
