#!/bin/bash
# The C that pgmc emits: the same bytes every time and from any directory, without warnings, for every example and every model of the tests; compiled by hand
# it is the same program. Compiling takes less than three seconds.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
for model in "$root"/examples/*/*.pgm "$root"/tests/e2e/*.pgm "$root"/tests/e2e/models/*.pgm; do
  name=$(basename "$model" .pgm)
  "$PGMC" emit "$model" -o once.c 2>err || { fail "$name: emit"; cat err; continue; }
  mkdir -p elsewhere
  cp "$model" elsewhere/
  (cd elsewhere && "$PGMC" emit "$name.pgm" 2>/dev/null) >twice.c
  cmp -s once.c twice.c || { fail "$name: emitted twice, not the same bytes"; diff once.c twice.c | head -n 5; continue; }
  grep -q "$PWD\|$root\|/home/\|/tmp/" once.c && { fail "$name: names a directory"; continue; }
  ${CC:-gcc} -std=gnu11 -O1 -Wall -Wextra -Wshadow -Wstrict-prototypes -fopenmp -I"$root/runtime" -c once.c -o once.o 2>warnings
  if [ $? = 0 ] && [ ! -s warnings ]; then pass "$name"; else fail "$name: warnings"; head -n 8 warnings; fi
done
compile "$root/examples/fashion_mnist/bnn.pgm" && pass "the neural network compiles"

"$PGMC" emit "$root/examples/saw/saw.pgm" >saw.c
check "compiled by hand" ${CC:-gcc} -std=gnu11 -O2 -fopenmp ${PGMC_CFLAGS:-} -I"$root/runtime" saw.c "$B/libpgmrt.a" -lgsl -ljansson -lz -lm -o saw_by_hand
compile "$root/examples/saw/saw.pgm" saw
./saw simulate --set N=50 --set theta=1 --seed 3 --out data.json --quiet
./saw_by_hand simulate --set N=50 --set theta=1 --seed 3 --out other.json --quiet
check "the same draws" cmp data.json other.json
compile "$root/examples/saw/saw.pgm" kept --save-c && check "--save-c keeps what emit prints" cmp kept.c saw.c
near "files left in the directory" "$(ls -A | grep -c '^\.')" 0 0
finish
