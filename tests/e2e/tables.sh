#!/bin/bash
# The reference and the editors' grammars are what `make tables` makes of the compiler's tables, and are read as what they are.
. "$(dirname "$0")/lib.sh"
cd "$root" || exit 3
current() { # FILE COMMAND...
  local file=$1
  shift
  if "$@" >"$work/made" && cmp -s "$work/made" "$file"; then pass "$file"; else fail "$file: make tables"; diff "$file" "$work/made" | head -20; fi
}
current docs/language.md "$B/tables" reference docs/language.md
current editors/vim/syntax/pgm.vim "$B/tables" vim
current editors/vscode/syntaxes/pgm.tmLanguage.json "$B/tables" textmate
printf '<!-- table: nothing -->\n<!-- end -->\n' >"$work/wrong.md"
refuse 1 "tables: $work/wrong.md: <!-- table: nothing -->" "$B/tables" reference "$work/wrong.md"
for file in editors/vscode/*.json editors/vscode/syntaxes/*.json; do check "$file" "$B/e2e/json_get" "$file" ""; done

# Groups of words in Vim, by line and column, where there is a Vim with syntax.
if vim --version 2>/dev/null | grep -q '+syntax'; then
  cat >"$work/words.pgm" <<'END'
model m { // comment
  latent s[n] : real<lower=0> ~ normal(0, 1) T[0, ];
  let x = exp(s) + normal_lpdf(s | 0, 1) + 1.5e3;
  plate n in 1..N { input T; amortize z[n] from x[n]; }
  latent normal : int ~ poisson(exp);
END
  cat >"$work/wanted" <<'END'
1,1 pgmStatement
1,11 pgmComment
2,3 pgmRole
2,10
2,17 pgmType
2,22 pgmBound
2,33 pgmDistribution
2,46 pgmBound
3,11 pgmFunction
3,20 pgmFunction
3,44 pgmNumber
4,3 pgmStatement
4,27
4,44 pgmStatement
5,10
5,19 pgmType
5,25 pgmDistribution
5,33
END
  {
    echo "set nocompatible runtimepath^=$root/editors/vim"
    echo "filetype plugin on"
    echo "syntax on"
    echo "edit $work/words.pgm"
    awk '{ sub(" .*", ""); printf "call writefile([trim(\"%s \" . synIDattr(synID(%s, 1), \"name\"))], \"'"$work/found"'\", \"a\")\n", $0, $0 }' "$work/wanted"
    echo "qa!"
  } >"$work/vimrc"
  timeout 60 vim -es -N -u "$work/vimrc" </dev/null >/dev/null 2>&1
  if cmp -s "$work/wanted" "$work/found"; then pass "Vim"; else fail "Vim"; diff "$work/wanted" "$work/found"; fi
fi
finish
