#!/usr/bin/env bash
# `make bench-db`: this agent beside mariadb-dump and mydumper, on one private server. docs/BENCHMARKS.md says what is measured, and how.
#   BENCH_SCALE=1        size of the database; any other leaves docs/BENCHMARKS.md alone
#   BENCH_RUNS=5         runs of each; medians count
#   BENCH_ONLY=ours      leaves the other tools out: no ratios then, and docs/BENCHMARKS.md stays
#   BENCH_KEEP=DIR       keeps the database's files there from one call to the next
#   BENCH_SERVER='…'     more arguments of mariadbd, such as --log-bin
#   MYDUMPER= MYLOADER=  other binaries of them
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
scale=${BENCH_SCALE:-1}
runs=${BENCH_RUNS:-5}
only=${BENCH_ONLY:-all}
read -ra server_arguments <<<"${BENCH_SERVER:-}"

# shellcheck source=benches/common.sh
source "$here/../common.sh"
# shellcheck source=benches/db/server.sh
source "$here/server.sh"
# shellcheck source=benches/db/peers.sh
source "$here/peers.sh"

title "What the benchmark needs, from Debian"
"$here/install.sh"

title "The program, and its database's generator"
cd "$project"
build_program
# It stands on the standard library alone: as an example of the package it is checked and formatted, but to build it as one, for
# release, would build all that the tests need as well.
rustc --edition 2024 --codegen opt-level=2 -o "$target/bench/data" "$here/data.rs"
find_mydumper

title "The database, at scale $scale"
make_database
sql -t -e "SELECT table_name AS 'table', table_rows AS 'rows, about', ROUND((data_length + index_length) / 1048576) AS MiB
  FROM information_schema.tables WHERE table_schema = 'blog' AND table_rows > 0 ORDER BY data_length + index_length DESC LIMIT 8"
fingerprint blog >"$work/source"

cat >"$work/config.toml" <<CONFIG
[store]
url = "file://$work/store"
[daemon]
socket = "$work/control.sock"
state = "$work/state"
[[site]]
name = "blog"
content_dir = "$work/wp-content"
table_prefix = "wp_"
[site.database]
socket = "$work/mysql.sock"
user = "root"
name = "blog"
CONFIG
mkdir "$work/wp-content"

agent() { "$binary" --config "$work/config.toml" "$@"; }
manifest() { find "$work/store/blog/snapshots" -name '*.json' | sort | tail -n 1; }

ours_dump() {
  rm -rf "$work/store" "$work/state"
  mkdir -m 700 "$work/store" "$work/state"
  measure "ours: first dump" "$work/store" "$binary" --config "$work/config.toml" run-now --foreground
  jq .uploaded.bytes "$(manifest)" >"$work/first"
  measure "ours: unchanged night" - "$binary" --config "$work/config.toml" run-now --foreground
  jq .uploaded.bytes "$(manifest)" >"$work/unchanged"
}
dumps() {
  ours_dump
  if [ "$only" = ours ]; then return; fi
  dump_by_mariadb_dump
  for threads in 1 2 4; do dump_by_mydumper "$threads"; done
}

# restore WHAT COMMAND…: into a fresh schema, and compared with what was dumped.
restore() {
  sql -e "DROP DATABASE IF EXISTS restored; CREATE DATABASE restored CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci"
  measure "$1" - "${@:2}"
  fingerprint restored >"$work/restored"
  diff "$work/source" "$work/restored" >"$work/log" || fail "$1: not what was dumped"
}
restores() {
  restore "ours: restore" "$binary" --config "$work/config.toml" restore latest --database restored
  if [ "$only" = ours ]; then return; fi
  restore_by_mariadb
  for threads in 1 2 4; do restore_by_myloader "$threads"; done
}

title "Dumps: $runs rounds after one to warm up"
dumps
recorded=yes
for round in $(seq "$runs"); do echo "round $round"; dumps; done

title "Restores: $runs rounds"
for round in $(seq "$runs"); do echo "round $round"; restores; done
sql -e "DROP DATABASE restored"

title "A blog's day"
"$target/bench/data" day "$scale" | sql blog
measure "ours: the day after" - "$binary" --config "$work/config.toml" run-now --foreground
jq '{day: .uploaded, first: $first, unchanged: $unchanged}' --argjson first "$(<"$work/first")" --argjson unchanged "$(<"$work/unchanged")" \
  "$(manifest)" >"$work/day"
jq -r '"  uploaded \(.day.bytes) bytes, \(100 * .day.bytes / .first * 100 | round / 100) % of the first dump'"'"'s"' "$work/day"

title "Results"
versions=$(
  printf 'wp-backup-agent\t%s\n' "$(agent_version)"
  printf 'mariadbd\t%s\n' "$(mariadbd --version | sed 's/.*Ver //')"
  printf 'mariadb-dump\t%s\n' "$(mariadb-dump --version | sed 's/.*Ver //')"
  printf 'mydumper\t%s\n' "${mydumper_version:-}"
  printf 'zstd\t%s\n' "$(zstd --version | grep -o 'v[0-9][0-9.]*[0-9]')"
  printf 'server arguments\t`--innodb-buffer-pool-size=1G%s`, else its defaults\n' "${BENCH_SERVER:+ $BENCH_SERVER}"
)
export scale runs only versions load
"$here/report.sh" "$work" "$target/bench/db.json" "$project/docs/BENCHMARKS.md"
