#!/bin/bash
# `pgmc check --data`: the components that lookups and missing values make of a data set, counted by hand here.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
crossed=$root/tests/good/crossed.pgm
ground() { "$PGMC" check --json "$1" --data "$2" 2>err | grep '"ground": {' | tr -d ' ' | tr '\n' ' '; }
is() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1"; echo "wanted: $3"; echo "printed: $2"; cat err; fi; }
sizes() { echo "\"ground\":{\"units\":$1,\"components\":$2,\"largest\":$3,\"median\":$4,\"missing\":$5,\"unobserved\":$6}"; }

# rows 1 and 2 meet in column 2, row 3 has columns 3 and 4: components {1, 2 | 1, 2} and {3 | 3, 4}
echo '{"row": [1,1,2,3,3], "col": [1,2,2,3,4], "y": [1,2,3,4,5]}' >two.json
is "two components" "$(ground "$crossed" two.json)" "$(sizes 3 2 2 2 0 0) $(sizes 4 2 2 2 0 0) "
# without the third observation row 2 has nothing, and column 2 is met by row 1 alone
echo '{"row": [1,1,2,3,3], "col": [1,2,2,3,4], "y": [1,2,null,4,5]}' >gap.json
is "a missing observation" "$(ground "$crossed" gap.json)" "$(sizes 2 2 1 1 1 1) $(sizes 4 2 2 2 2 0) "
echo '{"row": [1,1,2,3,3,3], "col": [1,2,2,3,4,1], "y": [1,2,3,4,5,6]}' >one.json
is "one component" "$(ground "$crossed" one.json)" "$(sizes 3 1 3 3 0 0) $(sizes 4 1 4 4 0 0) "
printf 'row,col,y\n1,1,1\n1,2,2\n2,2,\n3,3,4\n3,4,5\n' >gap.csv
is "the same from CSV" "$(ground "$crossed" gap.csv)" "$(ground "$crossed" gap.json)"
"$PGMC" check "$crossed" --data one.json >text 2>err
is "all in one, as text" "$(grep -c 'with one.json: [34] elements, all in one component' text)" 2

# a chain of 6 whose fourth observation is missing is still one chain; z[6] has nothing without x[6]; z[1] is no element of the range 2..N
echo '{"x": [1,2,3,null,5,null]}' >chain.json
is "a chain with gaps" "$(ground "$root/tests/good/local_level.pgm" chain.json)" "$(sizes 4 1 4 4 4 1) "
echo '{"N": 3, "x": [1,null,3]}' >saw.json
refuse 1 "pgmc: saw.json: x[2] is missing, and something that is given depends on it" "$PGMC" check "$root/examples/saw/saw.pgm" --data saw.json
echo '{"t": 1}' >none.json
refuse 1 "pgmc: none.json: the size N is not given, and no array tells it" "$PGMC" check "$crossed" --data none.json
echo '{"row": [1,1], "col": [1,2,3], "y": [1,2,3], "N": 3}' >short.json
refuse 1 "pgmc: short.json: row[3] is not there" "$PGMC" check "$crossed" --data short.json
refuse 3 "pgmc: absent.json: No such file or directory" "$PGMC" check "$crossed" --data absent.json
refuse 2 "pgmc: --data goes with check" "$PGMC" emit "$crossed" --data one.json
finish
