# Sourced by the experiments whose runs take one thread each.
#   beside CALL ...     begins the call, as soon as a processor is free for it
#   beside_all          waits for all of them
# A call that fails ends the script (under set -e); its end, however it comes, ends the calls.
beside() {
  trap 'kill $(jobs -p) 2>/dev/null || :' EXIT
  [ "$(jobs -rp | wc -l)" -lt "$(nproc)" ] || wait -n
  "$@" &
}
beside_all() {
  while [ -n "$(jobs -p)" ]; do wait -n; done
  trap - EXIT
}
