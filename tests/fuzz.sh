#!/usr/bin/env bash
# The fuzz targets (fuzz/), one after the other: FUZZ_MINUTES each, 10 if not set; FUZZ_TARGETS="pack sql" are these alone.
# What breaks a target is kept in target/fuzz/artifacts: mend it, and put it into fuzz/corpus, which `cargo test` runs through the same functions.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
minutes=${FUZZ_MINUTES:-10}
targets=${FUZZ_TARGETS:-$(basename -s .rs fuzz/fuzz_targets/*.rs)}
tool=${CARGO_FUZZ:-cargo-fuzz}
out=target/fuzz
build=${CARGO_TARGET_DIR:-$PWD/target/fuzz/build}
host=$(rustc -vV | sed -n 's/^host: //p')
# Only a nightly compiler takes sanitizers' options by itself.
export RUSTC_BOOTSTRAP=1

# As one build: the targets differ in a line each.
"$tool" fuzz build --sanitizer address --target "$host" --target-dir "$build" || exit 2

# The longest input in bytes, and the most memory in MiB that a target may have at once, and ask for at once.
bounds() {
  case $1 in
    # What a frame of this length decompresses to: 32 KiB for each of its bytes.
    pack) echo 8192 1024 272 ;;
    wp_config | php_serialized) echo 16384 512 64 ;;
    *) echo 4096 512 64 ;;
  esac
}

spent=0 findings=0 broken=
for target in $targets; do
  read -r length memory allocation < <(bounds "$target")
  mkdir -p "$out/corpus/$target" "$out/artifacts/$target"
  dictionary=()
  [ ! -e "fuzz/dictionaries/$target" ] || dictionary=(-dict="fuzz/dictionaries/$target")
  began=$(date +%s)
  "$build/$host/release/$target" -max_total_time="$(awk "BEGIN { print int($minutes * 60) }")" -timeout=10 -max_len="$length" \
    -rss_limit_mb="$memory" -malloc_limit_mb="$allocation" -artifact_prefix="$out/artifacts/$target/" "${dictionary[@]}" \
    -verbosity=0 -print_final_stats=1 "$out/corpus/$target" "fuzz/corpus/$target" >"$out/$target.log" 2>&1
  status=$?
  seconds=$(($(date +%s) - began))
  spent=$((spent + seconds))
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$target.log")
  if [ "$status" -ne 0 ]; then
    findings=$((findings + 1)) broken="$broken $target"
    tail -n 40 "$out/$target.log"
  fi
  echo "$target: $seconds s, ${runs:-no} inputs, $([ "$status" -eq 0 ] && echo nothing found || echo "BROKEN (status $status)")"
done
echo "$spent seconds of fuzzing, $findings findings:${broken:- none}"
exit "$((findings > 0))"
