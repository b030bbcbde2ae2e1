#!/bin/bash
# pgmc --library: the example client compiles against NAME.h alone and agrees with the program's own infer; errors come back as codes.
source "$(dirname "$0")/lib.sh"
compile "$root/examples/saw/saw.pgm" || finish
cd "$work" || exit 3
check "pgmc --library" "$PGMC" "$root/examples/saw/saw.pgm" --library
[ -f libsaw.a ] && [ -f saw.h ] && pass "libsaw.a and saw.h" || fail "libsaw.a and saw.h: $(ls)"
cp "$root/examples/c_client/client.c" .
check "client compiles without warnings" ${CC:-gcc} -O2 -Wall -Wextra -Werror ${PGMC_CFLAGS:-} client.c libsaw.a -fopenmp -lgsl -ljansson -lz -lm -o client
echo '#include "saw.h"' >alone.cc
if command -v g++ >/dev/null; then check "saw.h is C++ too" g++ -Wall -Wextra -fsyntax-only alone.cc; fi

./saw simulate --set N=1000 --set theta=3.4 --seed 1 --out data.json --quiet
./saw fit data.json --method avi --out saw.fit --quiet >/dev/null
values="0.3 -1.2 4.0 2.5"
check "client runs" ./client saw.fit $values
./client saw.fit $values >client.txt
echo "{\"x\": [${values// /, }]}" >new.json
./saw infer saw.fit new.json --out z.csv --quiet
near "rows of infer" "$(tail -n +2 z.csv | wc -l)" 4 0
paste <(awk 'NR > 1 && $1 ~ /^[0-9]+$/ { print $3, $4 }' client.txt) <(awk -F, 'NR > 1 { print $(NF - 1), $NF }' z.csv) |
  awk '{ a = $1 - $3; b = $2 - $4; if (a * a > 1e-8 || b * b > 1e-8) bad = 1 } END { exit bad || NR != 4 }' && pass "client and infer agree" || { fail "client and infer"; cat client.txt z.csv; }
refuse 3 "" ./client none.fit 1 2
head -c 300 saw.fit >half.fit
refuse 1 "" ./client half.fit 1 2
near "symbols of the library outside its names" "$(nm -g --defined-only libsaw.a 2>/dev/null | awk 'NF == 3 && $3 !~ /^_?(pgm_|saw_|PGM|_ZGV|__)/ { print $3 }' | tee symbols | wc -l)" 0 0
cat symbols
finish
