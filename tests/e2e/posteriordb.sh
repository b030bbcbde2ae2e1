#!/bin/bash
# The models of examples/posteriordb: log joint and gradient are those of a second implementation (posteriordb.c) at two points, and of
# differences; fits converge from their defaults and from bad starts; and the table of docs/posteriordb.md is what examples/posteriordb/table.sh finds, times
# and iterations aside (examples/posteriordb/table.sh --write build/pgmc renews it). science_irt is fitted with LONG=1 only: half a minute.
source "$(dirname "$0")/lib.sh"
reference=$B/e2e/posteriordb
models=$root/examples/posteriordb
export PGMC_CFLAGS=${PGMC_CFLAGS:-} OMP_WAIT_POLICY=passive
check "densities of the reference" "$reference" densities

# The cells of a table's rows, one a line: "model column value"
cells() {
  awk -F ' *[|] *' '/^\| \[/ {
    model = $2
    sub(/^\[/, "", model); sub(/\].*/, "", model)
    print model, "verdict", $3; print model, "elbo", $4; print model, "avi", $7
    print model, "mean", $8; print model, "sd", $9; print model, "khat", $10
  }' "$1"
}

log_size() { awk -v x="$1" 'BEGIN { d = log(x); print d < 0 ? -d : d }'; }

agree() { # model, column, documented value, found value
  case $2 in
  verdict) [ "$3" = "$4" ] && pass "$1: verdict $3" || fail "$1: verdict $4, documented $3" ;;
  elbo) near "$1: ELBO" "$4" "$3" "$(calc "0.01 + 1e-4 * (($3) < 0 ? -($3) : $3)")" ;;
  *)
    [ "$3$4" = -- ] && return
    case $2 in
    avi) near "$1: A-VI" "$4" "$3" 0.1 ;;
    mean) near "$1: error of means" "${4% (*}" "${3% (*}" 0.03 ;;
    sd) near "$1: log ratio of sds" "$(log_size "${4% (*}")" "$(log_size "${3% (*}")" 0.1 ;;   # 0.8 and 1.25 are as far from 1
    khat) near "$1: k-hat" "$4" "$3" 0.25 ;;
    esac
    ;;
  esac
}

into() { local file=$1; shift; "$@" >"$file"; }

fitted=()
while read -r model data _; do
  [ "$model" = '#' ] && continue
  compile "$models/$model.pgm" || continue
  for seed in 1 2; do
    "$reference" point "$model" "$models/$data" $seed >"$work/point.json" || fail "$model: point"
    check "$model: gradient and differences at point $seed" \
      into "$work/grad.json" "$work/$model" grad "$models/$data" --at "$work/point.json" --check --quiet
    check "$model: log joint and gradient at point $seed" \
      "$reference" compare "$model" "$models/$data" "$work/point.json" "$work/grad.json" 1e-10
  done
  [ "$model" = science_irt ] && [ -z "${LONG:-}" ] || fitted+=("$model")
done <"$models/posteriors.txt"

# Bad starts, log likelihoods of -1e20 among them: what is called converged is the optimum, and that is nearly always.
for model in GLM_Poisson GLMM_Poisson mesquite; do
  data=$models/$(awk -v m=$model '$1 == m { print $2 }' "$models/posteriors.txt")
  "$work/$model" fit "$data" --method fvi --quiet --json >"$work/default.json" || fail "$model: fit"
  arrived=0
  for seed in 5 10 16 40; do
    "$work/$model" fit "$data" --method fvi --init 2 --seed $seed --quiet --json >"$work/start.json" 2>/dev/null || fail "$model: fit --seed $seed"
    [ "$(get "$work/start.json" converged)" = true ] || continue
    near "$model: ELBO from start $seed" "$(get "$work/start.json" elbo)" "$(get "$work/default.json" elbo)" 1e-6 && arrived=$((arrived + 1))
  done
  below "$model: starts that do not arrive" $((4 - arrived)) 1
done

check "fits" into "$work/table" "$models/table.sh" "$PGMC" "$work" "${fitted[@]}"
grep -q 'not converged' "$work/table" && fail "$(grep 'not converged' "$work/table")" || pass "all converged"
cells "$root/docs/posteriordb.md" >"$work/documented"
while read -r model column value; do
  documented=$(sed -n "s/^$model $column //p" "$work/documented")
  [ -n "$documented" ] && agree "$model" "$column" "$documented" "$value" || fail "$model: $column: nothing documented, or not that"
done < <(cells "$work/table")
check "every model is documented" \
  diff <(cut -d' ' -f1 "$work/documented" | sort -u) <(sed '/^#/d; s/ .*//' "$models/posteriors.txt" | sort -u)
finish
