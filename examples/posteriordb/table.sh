#!/bin/bash
# Fits the models of this directory and writes a table of how far their factorised q are from the posterior.
#   table.sh [--write] [PGMC [DIRECTORY [MODEL ...]]]
#     PGMC: the compiler (pgmc). DIRECTORY: where binaries and fits go and stay (else one that is removed); binaries that are there are
#     used. MODEL: only these. --write: the whole table goes into docs/posteriordb.md, between the lines "<!-- table -->", not to
#     standard output.
#
# In: posteriors.txt, references.csv (means and sds of posteriordb's reference draws), the data. Each row is an F-VI fit with all settings
# at their defaults but one thread, and with k-hat. `mean` is the largest distance of a mean of q from the reference, in reference sds, `sd`
# the ratio of sds farthest from 1, over all variables of the reference draws, both from DRAWS draws of q, so that variables that are not
# latent but follow from latent ones count, too. `A-VI` is the ELBO of a default fit minus that of F-VI, where the default is A-VI.
set -u
DRAWS=40000
write=
[ "${1:-}" = --write ] && { write=1; shift; }
pgmc=$(command -v "${1:-pgmc}") || { echo "table.sh: ${1:-pgmc}: not found" >&2; exit 2; }
pgmc=$(realpath "$pgmc")
here=$(cd "$(dirname "$0")" && pwd)
export LC_ALL=C OMP_WAIT_POLICY=passive
if [ -n "${2:-}" ]; then
  mkdir -p "$2" || exit 3
  work=$(realpath "$2")
else
  work=$(mktemp -d) || exit 3
  trap 'rm -rf "$work"' EXIT
fi
shift $(($# < 2 ? $# : 2))
[ -n "$write" ] && [ $# -gt 0 ] && { echo "table.sh: --write writes the table of all models" >&2; exit 2; }

# value of a key of a fit's summary, one key a line: field NAME < summary
field() { sed -n "s/^  \"$1\": \"\\{0,1\\}\\([^\",]*\\).*/\\1/p"; }

# draws as Stan CSV, references.csv -> "error (variable) | ratio (variable)"
compare() { # draws, posterior
  awk -F, -v posterior="$2" '
    FILENAME == ARGV[1] { if ($1 == posterior) { wanted_mean[$2] = $3; wanted_sd[$2] = $4 }; next }
    /^#/ { next }
    !columns { columns = NF; for (i = 1; i <= NF; i++) name[i] = $i; next }
    { n++; for (i = 1; i <= NF; i++) { if (n == 1) first[i] = $i; d = $i - first[i]; sum[i] += d; square[i] += d * d } }
    END {
      for (i = 1; i <= columns; i++) {
        variable = name[i]
        if (match(variable, /\.[0-9]+$/)) variable = substr(variable, 1, RSTART - 1) "[" substr(variable, RSTART + 1) "]"
        if (!(variable in wanted_mean)) continue
        found++
        mean = sum[i] / n
        sd = sqrt(square[i] / n - mean * mean)
        error = (first[i] + mean - wanted_mean[variable]) / wanted_sd[variable]
        if (error < 0) error = -error
        if (error >= worst_error) { worst_error = error; error_of = variable }
        ratio = log(sd / wanted_sd[variable])
        if (found == 1 || ratio * ratio > worst_ratio * worst_ratio) { worst_ratio = ratio; ratio_of = variable }
      }
      for (variable in wanted_mean) if (found-- <= 0) { print "a variable is missing among the draws" >"/dev/stderr"; exit 1 }
      printf "%.2f (%s) | %.2g (%s)", worst_error, error_of, exp(worst_ratio), ratio_of
    }' "$here/references.csv" "$1"
}

row() { # model, data, posterior with reference draws or nothing
  local model=$1 data=$here/$2 reference="- | -" verdict amortised="-" elbo iterations
  [ -x "$work/$model" ] || "$pgmc" "$here/$model.pgm" -o "$work/$model" || return
  cd "$work" || return
  ./"$model" check --json >check.json || return
  verdict=$(field verdict <check.json)
  grep -q '"role": "local"' check.json || verdict="-"
  ./"$model" fit "$data" --method fvi --threads 1 --khat --quiet --json --out "$model.fit" >"$model.fvi" || return
  ./"$model" fit "$data" --quiet --json >"$model.default" || return
  elbo=$(field elbo <"$model.fvi") iterations=$(field iterations <"$model.fvi")
  [ "$(field converged <"$model.fvi")" = true ] || iterations+=", not converged"
  if [ "$(field method <"$model.default")" = avi ]; then
    amortised=$(field elbo <"$model.default" | awk -v fvi="$elbo" '{ d = sprintf("%.2f", $1 - fvi); print d + 0 == 0 ? "0.00" : d }')
  fi
  [ "$(field converged <"$model.default")" = true ] || amortised+=", not converged"
  if [ -n "$3" ]; then
    ./"$model" sample "$model.fit" "$data" --draws $DRAWS --quiet --out draws.csv || return
    reference=$(compare draws.csv "$3") || return
    rm draws.csv
  fi
  printf '| %s | %s | %.2f | %s | %.3f | %s | %s | %.2f |\n' "[$model](../examples/posteriordb/$model.pgm)" "$verdict" "$elbo" \
    "$iterations" "$(field seconds <"$model.fvi")" "$amortised" "$reference" "$(field khat <"$model.fvi")"
}

table() {
  local model data posterior
  echo '| model | verdict | ELBO | iterations | seconds | A-VI | mean | sd | k-hat |'
  echo '| --- | --- | ---: | ---: | ---: | ---: | --- | --- | ---: |'
  while read -r model data posterior; do
    [ "$model" = '#' ] && continue
    [ $# = 0 ] || [[ " $* " == *" $model "* ]] || continue
    row "$model" "$data" "$posterior" || { echo "table.sh: $model: failed" >&2; return 1; }
  done <"$here/posteriors.txt"
}

if [ -z "$write" ]; then
  table "$@"
  exit
fi
table >"$work/table.md" || exit
document=$here/../../docs/posteriordb.md
awk -v table="$work/table.md" '
  /^<!-- table -->$/ { print; inside = !inside; if (inside) while ((getline line <table) > 0) print line; next }
  !inside { print }' "$document" >"$work/document.md" && cp "$work/document.md" "$document"
