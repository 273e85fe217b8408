#!/usr/bin/env bash
# `make bench-files`: this agent beside restic, rustic, borg and vykar, on one wp-content. docs/BENCHMARKS.md says what is measured, and how.
#   BENCH_SCALE=1        size of the trees; any other leaves docs/BENCHMARKS.md alone
#   BENCH_RUNS=5         runs of each; medians count
#   BENCH_RESTORES=3     restores by each
#   BENCH_ONLY=ours      leaves the other tools out: no ratios then, and docs/BENCHMARKS.md stays
#   BENCH_1M=ours        who backs up the million small files, once: ours, all or none
#   BENCH_KEEP=DIR       keeps the trees there from one call to the next
#   RUSTIC= VYKAR=       their binaries; when none is named, rustic is built (RUSTIC=none leaves it out), vykar left out
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
scale=${BENCH_SCALE:-1}
runs=${BENCH_RUNS:-5}
restores=${BENCH_RESTORES:-$((runs < 3 ? runs : 3))}
only=${BENCH_ONLY:-all}
million=${BENCH_1M:-ours}

# shellcheck source=benches/common.sh
source "$here/../common.sh"
# shellcheck source=benches/db/server.sh
source "$here/../db/server.sh"
# shellcheck source=benches/files/peers.sh
source "$here/peers.sh"

title "What the benchmark needs, from Debian"
"$here/install.sh"
# Two trees, a repository for each tool, one restored tree.
needed=$(awk -v scale="$scale" 'BEGIN { printf "%d", 1 + 40 * scale }')
free=$(($(df --output=avail "$work" | tail -n 1) / 1048576))
[ "$free" -ge "$needed" ] || fail "$work has $free GiB left, $needed are needed: name another directory by TMPDIR="

title "The program, and its trees' generator"
cd "$project"
build_program
cargo build --locked --release --example demo-s3
# It stands on the standard library alone: to build it as an example of the package, for release, would make it as slow to build as the tests.
rustc --edition 2024 --codegen opt-level=2 -o "$target/bench/files-data" "$here/data.rs"
find_peers
for tool in "${tools[@]}"; do echo "$tool"; done

# made WHAT DIRECTORY: one of the generator's trees, or a copy of what BENCH_KEEP has.
made() {
  local kept=
  if [ -n "${BENCH_KEEP:-}" ]; then
    # Another generator: another tree.
    kept=$BENCH_KEEP/$1-$(sha256sum "$target/bench/files-data" | cut -c 1-16)-$scale
    if [ ! -d "$kept" ]; then
      rm -rf "$kept.part"
      mkdir -p "$kept.part"
      "$target/bench/files-data" "$1" "$kept.part" "$scale"
      mv "$kept.part" "$kept"
    fi
    cp -a --reflink=auto "$kept" "$2"
  else
    mkdir -p "$2"
    "$target/bench/files-data" "$1" "$2" "$scale"
  fi
  settle
}
# Files that were changed just now are trusted by none of the tools.
settle() { sleep 3; }
# What a tree holds, to be compared: the content of all files, and what a backup keeps of each entry.
fingerprint() {
  (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 b3sum && find . -mindepth 1 -printf '%P %y %m %U %G %T@ %l\n' | LC_ALL=C sort)
}
round() { echo "round $1"; }

title "The tree, at scale $scale, and an empty database"
new_data "$work/mysql"
start_server "$work/mysql" --innodb-buffer-pool-size=64M
sql -e "CREATE DATABASE blog CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci"
tree=$work/wp-content place=$work/local
mkdir "$place"
made tree "$tree"
for tool in ours ours-sealed; do agent_config "$tool" "url = \"file://$place/$tool\""; done
find "$tree" -type f -exec cat {} + >/dev/null

title "First run: $runs rounds after one to warm up"
first_runs() { for tool in "${tools[@]}"; do begin "$tool" && backup "$tool" "first run" "$place/$tool"; done; }
first_runs
recorded=yes
for number in $(seq "$runs"); do round "$number" && first_runs; done

title "Nothing changed: $runs rounds after one to warm up"
unchanged() {
  measure "walk: find -fprintf" - find "$tree" -fprintf /dev/null '%p %s %m %U %G %i %T@ %C@\n'
  for tool in "${tools[@]}"; do backup "$tool" "nothing changed" -; done
}
recorded=
unchanged
recorded=yes
for number in $(seq "$runs"); do round "$number" && unchanged; done

title "A blog's day: $runs of them"
for number in $(seq "$runs"); do
  round "$number"
  "$target/bench/files-data" day "$tree" "$scale" "$number"
  settle
  for tool in "${tools[@]}"; do
    before=$(du --apparent-size --bytes --summarize "$place/$tool" | cut -f 1)
    backup "$tool" "a blog's day" "$place/$tool"
    jq -c --argjson before "$before" '{what, grown: (.bytes - $before)}' "$work/sample" >>"$work/grown"
  done
done

title "Restore: $restores rounds"
fingerprint "$tree" >"$work/expected"
for number in $(seq "$restores"); do round "$number" && for tool in "${tools[@]}"; do restored "$tool"; done; done
rm -rf "$place"

title "An S3 server on loopback: first run, and nothing changed"
place=$work/s3
mkdir "$place" "$work/s3-objects"
: >"$work/requests.log"
"$target/release/examples/demo-s3" "$work/s3-objects" --log "$work/requests.log" >"$work/s3.port" 2>"$work/s3.log" &
store_server=$!
for _ in $(seq 300); do if [ -s "$work/s3.port" ]; then break; fi; sleep 0.1; done
port=$(head -n 1 "$work/s3.port")
[ -n "$port" ] || fail "the S3 server does not start"
(umask 077 && printf 'demo-secret-key' >"$work/secret")
agent_config ours "url = \"s3://backups/ours\"
region = \"us-east-1\"
endpoint = \"http://127.0.0.1:$port\"
path_style = true
access_key_id = \"demo-access-key\"
secret_access_key_file = \"$work/secret\""
# requests TOOL PHASE: one backup, and how many requests it made.
requests() {
  local before
  before=$(wc -l <"$work/requests.log")
  backup "$1" "S3, $2" -
  jq -cn --arg what "S3, $2: $1" --argjson requests "$(($(wc -l <"$work/requests.log") - before))" '{$what, $requests}' | tee -a "$work/requests"
}
for tool in ours $([ "$only" = ours ] || echo restic-s3); do
  begin "$tool"
  requests "$tool" "first run"
  requests "$tool" "nothing changed"
done
kill "$store_server" && wait "$store_server" || true
store_server=
rm -rf "$place" "$work/s3-objects" "$tree"

if [ "$million" != none ]; then
  title "A million small files, at scale $scale"
  tree=$work/many place=$work/of-many
  mkdir "$place"
  made many "$tree"
  agent_config ours "url = \"file://$place/ours\""
  if [ "$million" = ours ]; then those=(ours); else mapfile -t those < <(printf '%s\n' "${tools[@]}" | grep -vx ours-sealed); fi
  for tool in "${those[@]}"; do
    begin "$tool"
    backup "$tool" "small files, first run" "$place/$tool"
    backup "$tool" "small files, nothing changed" -
    rm -rf "${place:?}/$tool" "$place/$tool.cache"
  done
fi

title "Results"
for tool in "${tools[@]}" restic-s3; do printf '{"%s":"%s"}\n' "$tool" "$(encrypts "$tool")"; done | jq -s add >"$work/encrypts"
versions=$(versions)
export scale runs only versions load
"$here/report.sh" "$work" "$target/bench/files.json" "$project/docs/BENCHMARKS.md"
