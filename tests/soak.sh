#!/usr/bin/env bash
# The long form of the tests that try to lose data: every call of the system fails once, 200 kills, 10,000 interleavings of runs and prunes;
# and the fuzz targets, FUZZ_MINUTES each. Ends with target/soak/result.json. `make test` runs the short form.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=target/soak
mkdir -p "$out"
violations=0
part() {
  local name=$1
  shift
  echo "=== $name"
  if ! "$@" >"$out/$name.log" 2>&1; then
    violations=$((violations + 1))
    tail -n 40 "$out/$name.log"
  fi
}
test_of() { cargo test --locked --no-fail-fast "$@" -- --nocapture --test-threads=1; }
# The first number of the lines that match.
count() { grep -hoE "$1" "$out/$2.log" | grep -oE '[0-9]+' | awk '{ sum += $1 } END { print sum + 0 }'; }

part faults env FAULTS=all cargo test --locked --no-fail-fast --test fault_plan -- --nocapture --test-threads=1
part kills env KILLS="${KILLS:-200}" cargo test --locked --no-fail-fast --test killed -- --nocapture --test-threads=1
part damage test_of --test damage
part interleavings env INTERLEAVINGS="${INTERLEAVINGS:-10000}" cargo test --locked --lib repository::prune::simulation -- --nocapture --test-threads=1
part malformed test_of --test malformed
part fuzz env FUZZ_MINUTES="${FUZZ_MINUTES:-10}" CARGO_FUZZ="${CARGO_FUZZ:-target/tools/bin/cargo-fuzz}" tests/fuzz.sh
# Each finding is a violation, not only that there are some.
findings=$(count '[0-9]+ findings' fuzz)
violations=$((violations + (findings > 1 ? findings - 1 : 0)))
fuzz_minutes=$(awk "BEGIN { print int($(count '[0-9]+ seconds of fuzzing' fuzz) / 6) / 10 }")

cat >"$out/result.json" <<JSON
{"fault_cases": $(count '[0-9]+ cases of a fault' faults), "kills": $(count '[0-9]+ random moments' kills), "damage_cells": $(count '[0-9]+ cells' damage), "interleavings": $(count '[0-9]+ interleavings' interleavings), "fuzz_minutes": $fuzz_minutes, "violations": $violations}
JSON
cat "$out/result.json"
exit "$((violations > 0))"
