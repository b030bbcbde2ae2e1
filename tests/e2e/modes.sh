#!/bin/bash
# Local variables whose sign the data do not tell (x ~ normal(z^2, ...)): a factor at 0 that covers both modes is a local optimum of the ELBO, and data and globals may
# sit there together. F-VI ends at the greatest ELBO that an independent search finds (modes.awk), from every seed, the same on several threads; a function of x gets
# near it, and `gap` finds no gap that the verdict does not allow.
source "$(dirname "$0")/lib.sh"
cd "$root/tests/e2e/modes" || exit 3
for model in nl2 bim one; do
  compile $model.pgm || continue
  run() { "$work/$model" "$1" $model.json --quiet --json "${@:2}" >"$work/out.json" 2>"$work/log" || { fail "$model: $*"; cat "$work/log"; }; }
  best=$(awk -v model=$model -f ../modes.awk $model.json)
  # in `one` the expectations are quadratures with twenty nodes, which wide factors see coarsely
  tolerance=$([ $model = one ] && echo 0.3 || echo 1e-3)
  for seed in 1 2 3; do
    run fit --method fvi --seed $seed
    near "$model: F-VI, seed $seed" "$(get "$work/out.json" elbo)" "$best" $tolerance
  done
  run fit --method fvi --one-start --seed 1
  below "$model: F-VI from one start" "$(get "$work/out.json" elbo)" "$(calc "$best - 20")"
  first=$(get "$work/out.json" elbo)
  run fit --method fvi --one-start --seed 2
  [ "$(get "$work/out.json" elbo)" != "$first" ] && pass "$model: another seed starts elsewhere" || fail "$model: seeds 1 and 2 both end at $first"
  run fit --method fvi --threads 1
  one=$(get "$work/out.json" elbo)
  run fit --method fvi --threads 3
  near "$model: F-VI on three threads" "$(get "$work/out.json" elbo)" "$one" 0
  run gap --seeds 2
  # where the training of a function ends hangs on rounding: 0.004 to 2.6 nats for bim, where from the covering factor it was 300
  below "$model: amortisation gap" "$(get "$work/out.json" gaps.amortisation)" 10
  near "$model: F-VI in gap" "$(get "$work/out.json" elbo.fvi)" "$best" $tolerance
  # nothing against the verdict: so few units could have been learnt by heart, which `gap` says instead
  [ "$(get "$work/out.json" agrees_with_verdict)" = null ] && pass "$model: no false verdict" || fail "$model: agrees_with_verdict"
done
finish
