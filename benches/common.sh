# What the benchmarks share: a place to work, its end, and one measurement. Sourced by the run.sh of each.

load=$(cut -d ' ' -f 1-3 /proc/loadavg)
began=$SECONDS
title() { printf '\n\033[1m== %s\033[0m  [%d s]\n' "$*" "$((SECONDS - began))"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/wp-backup-agent-bench.XXXXXX")
server='' # the database server's process id, while it runs
store_server='' # that of the S3 server
finish() {
  local result=$?
  trap - EXIT INT TERM
  if [ "$result" != 0 ]; then tail -n 20 "$work"/{log,mariadb.log} >&2 2>/dev/null || true; fi
  for process in $store_server $server; do kill "$process" 2>/dev/null && wait "$process" 2>/dev/null || true; done
  rm -rf "$work"
  exit "$result"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The release build. It sets target and binary.
build_program() {
  cargo build --locked --release --bin wp-backup-agent
  target=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)
  binary=$target/release/wp-backup-agent
  mkdir -p "$target/bench"
  "$binary" --version
}

# Of processes that have ended, in seconds: what /proc says of the server's.
server_cpu() { awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / tick }' "/proc/$server/stat"; }
# measure WHAT BYTES-OF COMMAND…: a sample of it, as a line of JSON; BYTES-OF is what it wrote, or -.
recorded=
measure() {
  local what=$1 bytes_of=$2 before after from until result=0 bytes=null
  shift 2
  sync
  before=$(server_cpu)
  # In microseconds: what time says of them is too coarse for a walk.
  from=${EPOCHREALTIME/[^0-9]/}
  /usr/bin/time --format '%U %S %M' --output "$work/time" "$@" >"$work/log" 2>&1 || result=$?
  until=${EPOCHREALTIME/[^0-9]/}
  after=$(server_cpu)
  # What a database names and no wp-content has is missing: findings, which are exit code 3.
  [ "$result" = 0 ] || { [ "$result" = 3 ] && [ "$1" = "$binary" ]; } || fail "$what ended with $result: $*"
  if [ "$bytes_of" != - ]; then bytes=$(du --apparent-size --bytes --summarize "$bytes_of" | cut -f 1); fi
  tail -n 1 "$work/time" | jq -cR --arg what "$what" --argjson server "[$before,$after]" --argjson bytes "$bytes" --argjson took "$((until - from))" \
    'split(" ") | map(tonumber) | {what: $what, seconds: ($took / 1e6), cpu: (.[0] + .[1]), server_cpu: ($server[1] - $server[0]),
      rss_mib: (.[2] / 1024), bytes: $bytes}' >"$work/sample"
  jq -r '"  \(.what): \(.seconds * 1000 | round / 1000) s; CPU \(.cpu * 100 | round / 100) s, server \(.server_cpu * 100 | round / 100) s; \(.rss_mib | round) MiB"' "$work/sample"
  if [ -n "$recorded" ]; then cat "$work/sample" >>"$work/samples"; fi
}

agent_version() { printf '%s, %s\n' "$("$binary" --version)" "$(git -C "$project" describe --always --dirty 2>/dev/null || echo unknown)"; }
