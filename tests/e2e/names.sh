#!/bin/bash
# Any name may be a variable's: C keywords, macros and functions of the headers that emitted code includes, words that emitted code uses itself, names that
# look like the ones it makes up. Each is tried as an input, a size, a latent variable with and without index, an observed one, a `let`, a plate's and a
# reduction's variable; the C must compile without a warning. Then a model with the most dangerous names is compared with the same model under plain names.
source "$(dirname "$0")/lib.sh"
CC=${CC:-gcc}

# Compiles the C of a model; prints what the compiler says.
silent() {
  "$PGMC" emit "$1" -o "$work/out.c" >"$work/emit.log" 2>&1 || { grep -v warning "$work/emit.log" | head -n 20; return 1; }
  "$CC" -std=gnu11 -fopenmp -fsyntax-only -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror -I"$root/runtime" "$work/out.c" 2>&1 | head -n 20 >"$work/cc.log"
  [ ! -s "$work/cc.log" ] || { cat "$work/cc.log"; return 1; }
}

printf '#include "pgmrt.h"\n#include "pgm_emit.h"\n' >"$work/headers.c"
{
  "$CC" -std=gnu11 -fopenmp -I"$root/runtime" -E -P "$work/headers.c" | grep -oE '\b[A-Za-z][A-Za-z0-9_]*\b'
  "$CC" -std=gnu11 -fopenmp -I"$root/runtime" -dM -E "$work/headers.c" | sed 's/^#define \([A-Za-z0-9_]*\).*/\1/'
  # what emitted code uses itself: taken from a real one
  "$PGMC" emit "$root/examples/radon/radon.pgm" | sed 's,/\*.*\*/,,; s/"[^"]*"//g' | grep -oE '\b[A-Za-z][A-Za-z0-9_]*\b'
  printf '%s\n' auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return short signed \
    sizeof static struct switch typedef union unsigned void volatile while asm typeof e x_ i_ j_ k_ q_ q2_ t1 t2 t3 p0 lo0 hi0 p0_ lo0_ hi0_ a_ b_ x_lo x_n x_mean x_sd \
    x_bar x_sum x_mean_bar x_ref1 term0 term1 term0_lo room0_k1 lp_x lp_factor x_lo0 x_n0 n_1 at ok total index count most out env defined miss t1_ exp_ exp__2 left right
} | grep -vE '__$|^_' | sort -u >"$work/candidates"

# Those that the language lets be names: the ones about which the compiler does not complain.
cp "$work/candidates" "$work/names"
for _ in 1 2 3 4; do
  { echo 'model names {'; sed 's/.*/input &;/' "$work/names"; echo '}'; } >"$work/try.pgm"
  "$PGMC" check --json "$work/try.pgm" >"$work/try.json" 2>/dev/null && break
  grep -oE '"line": *[0-9]+' "$work/try.json" | grep -oE '[0-9]+' | awk '{ print $1 - 1 }' | sort -nu >"$work/bad"
  awk 'NR == FNR { bad[$1] = 1; next } !(FNR in bad)' "$work/bad" "$work/names" >"$work/rest"
  mv "$work/rest" "$work/names"
done
count=$(wc -l <"$work/names")
if [ "$count" -gt 800 ]; then pass "$count names"; else fail "only $count names"; fi

# Every name in every role, so many to a model.
group=40
for ((from = 1; from <= count; from += group)); do
  sed -n "$from,$((from + group - 1))p" "$work/names" >"$work/some"
  for role in input size global latent observed let plate reduction; do
    awk -v role=$role '
      function fresh(n) { while (n in taken) n = n "Z"; taken[n] = 1; return n }
      { name[++k] = $1; taken[$1] = 1 }
      END {
        N = fresh("sizeN"); Y = fresh("yY"); I = fresh("iI"); Z = fresh("zZ"); M = fresh("modelM")
        print "model " M " {\n  input " N " : int;"
        if (role == "plate") {
          for (i = 1; i <= k; i++)
            print "  plate " name[i] " in 1.." N " { latent " Z i "[" name[i] "] ~ normal(0, 1); observed " Y i "[" name[i] "] ~ normal(" Z i "[" name[i] "], 1); }"
        } else if (role == "reduction") {
          print "  plate " I " in 1.." N " { input " Y "[" I "]; }"
          for (i = 1; i <= k; i++) print "  latent " Z i " ~ normal(sum(" name[i] " in 1.." N ": " Y "[" name[i] "]), 1);"
        } else {
          print "  plate " I " in 1.." N " {\n    latent " Z "[" I "] ~ normal(0, 1);"
          if (role == "latent") for (i = 1; i <= k; i++) print "    latent " name[i] "[" I "] ~ normal(" Z "[" I "], 1);"
          if (role == "observed") for (i = 1; i <= k; i++) print "    observed " name[i] "[" I "] ~ normal(" Z "[" I "], 1);"
          if (role == "let") for (i = 1; i <= k; i++) print "    let " name[i] " = exp(" Z "[" I "] * 0.5 + " i ");"
          for (i = 1; i <= k; i++) sum = sum " + " name[i] (role == "latent" ? "[" I "]" : "")
          print "    observed " Y "[" I "] ~ normal(" Z "[" I "]" (role == "let" || role == "latent" ? sum : "") ", 1);\n  }"
          for (i = 1; i <= k; i++) {
            if (role == "input") print "  input " name[i] ";  latent " Z i " ~ normal(" name[i] ", 1);"
            if (role == "size") print "  input " name[i] " : int;  latent " Z i " : vector[" name[i] "] ~ normal(0, 1);"
            if (role == "global") print "  latent " name[i] " ~ normal(" (i > 1 ? name[i-1] : 0) ", 1);"
          }
        }
        print "}"
      }' "$work/some" >"$work/$role.pgm"
    silent "$work/$role.pgm" >"$work/said" && continue
    fail "names $from.. as $role"
    cat "$work/said"
  done
done
[ $failed = 0 ] && pass "every name in every role"

# One model under two sets of names: the same values.
cat >"$work/plain.pgm" <<'END'
model plain {
  input N : int;  input K : int;
  latent a ~ normal(0, 1);
  latent s : real<lower=0> ~ gamma(2, 2);
  latent b : vector[K] ~ normal(0, s);
  input c[0] = 0.5;
  plate i in 1..N {
    latent z[i] ~ normal(c[i-1], 1);
    input d[i] : vector[K];
    let f[i] = sum(k in 1..K: d[i][k] * b[k]) + z[i];
    let g = tanh(f[i] + a);
    observed c[i] ~ normal(g * z[i], 0.5 + s);
    plate j in 1..i { latent w[i, j] ~ normal(z[i], 1);  observed h[i, j] ~ normal(w[i, j] + f[i], 1); }
  }
}
END
sed -E 's/\bplain\b/pgm/; s/\bN\b/count/g; s/\bK\b/quad_n/g; s/\ba\b/weight/g; s/\bs\b/exp/g; s/\bb\b/out/g; s/\bc\b/x/g; s/\bi\b/unit/g; s/\bz\b/x_mean/g;
  s/\bd\b/first/g; s/\bf\b/lp_x/g; s/\bg\b/t1/g; s/\bj\b/x_lo/g; s/\bk\b/i_/g; s/\bw\b/x_n/g; s/\bh\b/pow/g' "$work/plain.pgm" >"$work/hard.pgm"
compile "$work/plain.pgm" && compile "$work/hard.pgm" && {
  echo '{"d": [[1, 2, 0.5], [-1, 0, 1], [0.3, 0.2, 0.1], [1, 1, 1], [-2, 1, 0], [0, 0.5, 0.7]]}' >"$work/d.json"
  "$work/plain" simulate "$work/d.json" --set N=6 --set K=3 --seed 1 --out "$work/plain.json" --truth "$work/truth.json" --quiet 2>"$work/simulate.log" || cat "$work/simulate.log"
  rename='s/"N"/"count"/; s/"K"/"quad_n"/; s/"a"/"weight"/; s/"s"/"exp"/; s/"b"/"out"/; s/"c"/"x"/; s/"c\[0\]"/"x[0]"/; s/"z"/"x_mean"/; s/"d"/"first"/; s/"w"/"x_n"/; s/"h"/"pow"/'
  sed "$rename" "$work/plain.json" >"$work/hard.json"
  sed "$rename" "$work/truth.json" >"$work/hard_truth.json"
  "$work/plain" grad "$work/plain.json" --at "$work/truth.json" --quiet >"$work/a"
  "$work/hard" grad "$work/hard.json" --at "$work/hard_truth.json" --quiet >"$work/b"
  check "the same values under other names" cmp <(get "$work/a" gradient_unconstrained) <(get "$work/b" gradient_unconstrained)
}
finish
