#!/bin/bash
# --march portable: neither the model's functions nor the runtime's use registers or encodings beyond the family's baseline, and the program runs.
# On x86-64 the baseline is SSE2: no ymm, zmm or mask register, no VEX instruction (their names start with v). Vector versions inside the C library are
# chosen by the processor when the program starts.
source "$(dirname "$0")/lib.sh"
[ -z "${PGMC_CFLAGS:-}" ] || { echo "skipped: sanitizers are in the way"; pass skipped; finish; }
compile "$root/examples/nonlinear/nonlinear.pgm" portable --march portable && compile "$root/examples/nonlinear/nonlinear.pgm" native || finish
cd "$work" || exit 3

# instructions FILE: "function mnemonic operands". _ZGV...: vector versions of functions for every processor (declare simd), which portable code calls none of
# but the baseline's.
instructions() {
  objdump -d --no-show-raw-insn "$1" | awk '/^[0-9a-f]+ <.*>:$/ { f = substr($2, 2, length($2) - 3) } /^ *[0-9a-f]+:/ { $1 = ""; print f $0 }' |
    grep -v '^_ZGV[cde]'
}
beyond() { instructions "$1" | grep -E '^[^ ]+ (v[a-z0-9]+|k(mov|or|and|xor|unpck)[a-z]*|andn|bextr|mulx|pdep|pext|rorx|sarx|shlx|shrx|tzcnt|lzcnt|popcnt)( |$)|%[yz]mm|%k[0-7]'; }

if [ "$(uname -m)" = x86_64 ]; then
  functions=$(instructions portable | cut -d' ' -f1 | sort -u | wc -l)
  below "functions of the program that were read" $((-functions)) -200
  near "instructions beyond the baseline" "$(beyond portable | tee beyond.txt | wc -l)" 0 0
  head -n 5 beyond.txt
  near "in the runtime library" "$(beyond "$B/libpgmrt-portable.a" | tee beyond.txt | wc -l)" 0 0
  head -n 5 beyond.txt
  if grep -qw avx2 /proc/cpuinfo; then below "instructions beyond the baseline in a native program" $((-$(beyond native | wc -l))) -1; fi
fi
./native simulate --set N=500 --set theta=1 --out data.json --quiet
for f in portable native; do ./$f fit data.json --method fvi --quiet --json >$f.json || fail "$f fit"; done
near "ELBO, portable and native" "$(get portable.json elbo)" "$(get native.json elbo)" "$(calc "1e-7 * 1000")"
finish
