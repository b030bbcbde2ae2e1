#!/bin/bash
# The Fashion-MNIST example at a small size (500 images to fit, 200 to reconstruct, codes of 4 numbers, 8 hidden units): images from IDX files,
# the order ELBO(const) <= ELBO(A-VI) <= ELBO(F-VI), codes of new images, the page. The images are those of Debian's dataset-fashion-mnist
# where it is installed (or of the directory FASHION_MNIST), else shapes drawn here, in files of the same format.
source "$(dirname "$0")/lib.sh"
cd "$work" || exit 3
example=$root/examples/fashion_mnist
package=${FASHION_MNIST:-/usr/share/datasets/fashion-mnist}
fit=500 new=200 size="--set K=4 --set H=8"

# IDX files: grey images, upright bars, lying bars and squares (classes 0, 1, 2) of random greys; the labels of the new ones
draw_shapes() {
  awk -v fit=$fit -v n=$((fit + new)) 'BEGIN {
    srand(7)
    printf "%c%c%c%c%c%c%c%c%c%c%c%c%c%c%c%c", 0, 0, 8, 3, 0, 0, int(n / 256), n % 256, 0, 0, 0, 28, 0, 0, 0, 28 >"images"
    printf "%c%c%c%c%c%c%c%c", 0, 0, 8, 1, 0, 0, int((n - fit) / 256), (n - fit) % 256 >"labels"
    for (i = 0; i < n; i++) {
      c = i % 3; w = c == 0 ? 5 + 2 * rand() : 12; h = c == 1 ? 5 + 2 * rand() : 12
      x0 = 13 + rand(); y0 = 13 + rand(); grey = 55 + 200 * rand()
      for (y = 0; y < 28; y++) for (x = 0; x < 28; x++) {
        dx = x > x0 ? x - x0 : x0 - x; dy = y > y0 ? y - y0 : y0 - y
        printf "%c", dx < w && dy < h ? int(grey) : 0 >"images"
      }
      if (i >= fit) printf "%c", c >"labels"
    }
  }'
}

if [ -r $package/train-images-idx3-ubyte.gz ] && [ -r $package/t10k-labels-idx1-ubyte.gz ]; then
  echo "images: $package"
  train=$package/train-images-idx3-ubyte.gz test=$package/t10k-images-idx3-ubyte.gz first=0 labels=$package/t10k-labels-idx1-ubyte.gz
else
  echo "images: shapes drawn here (dataset-fashion-mnist is not installed)"
  draw_shapes
  train=images test=images first=$fit labels=labels
fi

# ---- images ----
check "idx2npy compiles" ${CC:-gcc} -O2 -Wall -Wextra -Werror ${PGMC_CFLAGS:-} "$example/idx2npy.c" -o idx2npy -lz || finish
check "images to fit" ./idx2npy $train 0 $fit train.npy
check "new images" ./idx2npy $test $first $new test.npy
# the same numbers read by od: images 5, 6 and 7, after a head of 16 bytes in the one file and of 128 in the other
zcat -f $train | tail -c +$((17 + 5 * 784)) | head -c $((3 * 784)) | od -An -v -w1 -tu1 >bytes
tail -c +$((129 + 5 * 784 * 8)) train.npy | head -c $((3 * 784 * 8)) | od -An -v -w8 -tfD >pixels
check "pixels are bytes / 255" awk 'NR == FNR { byte[FNR] = $1; next } { d = $1 - byte[FNR] / 255; sum += $1; if (d * d > 1e-24) exit 1 }
  END { exit FNR != 2352 || sum == 0 }' bytes pixels
zcat -f $train | head -c 5000 >short
echo text >other
for bad in "short 0 10" "other 0 1" "$train 69999 2"; do
  if ./idx2npy $bad bad.npy 2>err || [ -e bad.npy ] || ! grep -q '^idx2npy: ' err; then
    fail "idx2npy $bad is refused and leaves no file: $(cat err)"
  else
    pass "refused: $(cat err)"
  fi
done

# ---- the order of the methods ----
compile "$example/bnn.pgm" || finish
fit_by() { # method, iterations, further options -> METHOD.fit, METHOD.json
  local files="--quiet --json --out $1.fit"
  check "fit by $1" bash -c "./bnn fit --data x=train.npy $size --method $1 --max-iter $2 --step 0.03 ${*:3} $files >$1.json"
}
fit_by const 500
fit_by avi 700 --hidden 32 --activation leaky_relu
# From its own start F-VI ends in a worse optimum here; from the factors of A-VI it can only gain.
fit_by fvi 300 --init avi.fit
tolerance=$(calc "6 * ($(get avi.json elbo_se) + $(get fvi.json elbo_se))")
below "const below A-VI" "$(get const.json elbo)" "$(calc "$(get avi.json elbo) + $tolerance")"
below "A-VI below F-VI" "$(get avi.json elbo)" "$(calc "$(get fvi.json elbo) + $tolerance")"
below "the images inform the codes: A-VI is far above const" "$(calc "$(get const.json elbo) + 500")" "$(get avi.json elbo)"

# ---- new images ----
check "codes of new images" bash -c "./bnn infer --quiet avi.fit --data x=test.npy >codes.csv"
check "a row for each, mean and sd of each number of the code" awk -F, 'NF != 9 { exit 1 } END { exit NR != '$((new + 1))' }' codes.csv
check "pgmc --library" "$PGMC" "$example/bnn.pgm" --library ${PGMC_CFLAGS:+--cflags "$PGMC_CFLAGS"}
check "sheet compiles" ${CC:-gcc} -O2 -Wall -Wextra -Werror ${PGMC_CFLAGS:-} -I. "$example/sheet.c" libbnn.a -o sheet \
  -fopenmp -lgsl -lopenblas -ljansson -lz -lm || finish
for method in avi const; do
  check "sheet of the fit by $method" bash -c "./sheet $method.fit train.npy test.npy $labels $method.html >$method.txt"
done
errors() { awk -v what="$2" 'index($0, "  " what ", ") == 1 && $(NF - 2) == "images" { print $(NF - 1), $NF }' "$1"; } # network, mean image
read -r network mean < <(errors avi.txt test)
below "new images: the network is better than the mean image" "$network" "$(calc "0.8 * $mean")"
read -r network mean < <(errors const.txt test)
near "a constant code can do no better than the mean image" "$network" "$mean" "$(calc "0.05 * $mean")"
read -r network mean < <(errors const.txt training)
near "nor on the images that were fitted" "$network" "$mean" "$(calc "0.05 * $mean")"
# no components leave the mean image; the fewest that do as well as the network are told
near "no principal components leave the mean image" "$(awk '/^principal/ { print $9 + 0 }' const.txt)" "$mean" 1e-5
read -r network mean < <(errors avi.txt training)
below "enough principal components do as well as the network" "$(awk '/^principal/ { print $NF }' avi.txt)" "$network"
check "no entry of a constant code is in use" grep -qx 'entries of the code in use: 0 of 4' const.txt
check "the page has the errors" grep -q "<tr><th>test<td class=\"number\">$new<td" avi.html
grep -o 'base64,[^"]*' avi.html | head -n 1 | cut -d, -f2 | base64 -d >image.png
check "its images are PNG" cmp <(head -c 8 image.png) <(printf '\211PNG\r\n\032\n')
refuse 1 "sheet: other: no IDX file with a class from 0 to 9 for every image" ./sheet avi.fit train.npy test.npy other bad.html
refuse 1 "sheet: avi.fit: not a matrix of 28 x 28 images from idx2npy" ./sheet avi.fit avi.fit test.npy $labels bad.html
check "and leaves no page" test ! -e bad.html
finish
