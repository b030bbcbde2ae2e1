# Sourced by the experiments that keep what they have made, so that an interrupted run goes on: kept_with TEXT, called in the directory of
# the results, refuses one whose results were made with other settings than TEXT tells.
kept_with() {
  if [ -e settings ] && [ "$(cat settings)" != "$1" ]; then
    printf '%s: %s: what is there was made with other settings:\n  %s\nnow asked for:\n  %s\nRemove it, or name another directory by --out\n' \
      "$(basename "$0")" "$PWD" "$(cat settings)" "$1" >&2
    exit 1
  fi
  printf '%s\n' "$1" >settings
}
