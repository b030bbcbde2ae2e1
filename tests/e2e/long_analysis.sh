#!/bin/bash
# How long `pgmc check` takes on models of 500 statements in five plate dimensions: processor time of the fastest of several runs.
#   groups      62 hierarchies of five levels, the lowest with a covariate, a chain along the last plate, and two observed variables: 310 latent families
#   connected   the same, each level of a hierarchy leaning on that level of the one before: one component of all 310 families, walked 310 times
. "$(dirname "$0")/lib.sh"

model() { # connected
  awk -v connected="$1" 'BEGIN {
    n = 6
    print "model big {\n  input A : int<lower=2>;\n  input B : int<lower=2>;\n  input C : int<lower=2>;\n  input D : int<lower=2>;\n  input E : int<lower=2>;"
    for (g = 0; g < 62; g++) {
      p = connected && g ? g - 1 : -1
      printf "  plate a in 1..A {\n    latent u%d[a] ~ normal(%s, 1);\n", g, p < 0 ? 0 : "u" p "[a]"
      printf "    plate b in 1..B {\n      latent v%d[a,b] ~ normal(u%d[a], 1);\n", g, g
      printf "      plate c in 1..C {\n        latent w%d[a,b,c] ~ normal(v%d[a,b]%s, 1);\n", g, g, p < 0 ? "" : " + w" p "[a,b,c]"
      printf "        plate d in 1..D {\n          latent y%d[a,b,c,d] ~ normal(w%d[a,b,c], 1);\n", g, g
      printf "          plate e in 1..E {\n            input s%d[a,b,c,d,e];\n", g
      printf "            latent z%d[a,b,c,d,e] ~ normal(e == 1 ? y%d[a,b,c,d] : z%d[a,b,c,d,e-1], 1);\n", g, g, g
      printf "            observed x%d[a,b,c,d,e] ~ normal(s%d[a,b,c,d,e] * z%d[a,b,c,d,e], 1);\n          }\n        }\n      }\n", g, g, g
      printf "      observed t%d[a,b] ~ normal(v%d[a,b], 1);\n    }\n  }\n", g, g
    }
    print "}" }'
}

seconds() { # of processor time, the least of COUNT runs
  local i
  TIMEFORMAT='%U %S'
  for ((i = 0; i < $2; i++)); do { time "$PGMC" check --json "$1" >"$work/out.json" 2>"$work/err"; } 2>&1; done | awk '{ t = $1 + $2 } NR == 1 || t < min { min = t } END { print min }'
}

for kind in groups connected; do
  model $([ $kind = groups ] && echo 0 || echo 1) >"$work/$kind.pgm"
  near "$kind: statements" "$(grep -cE '^ *(input|latent|observed) ' "$work/$kind.pgm")" 501 0
  time=$(seconds "$work/$kind.pgm" $([ $kind = groups ] && echo 30 || echo 5))
  echo "$kind: $time s"
  case ${PGMC_CFLAGS:-} in
  *sanitize*) ;;
  *) [ $kind = groups ] && below "$kind: seconds" "$time" 0.05 ;;
  esac
  near "$kind: latent families with a verdict" "$(grep -c '"verdict": "slice"\|"verdict": "set"\|"verdict": "closes"' "$work/out.json")" 311 0
done
finish
