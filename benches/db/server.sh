# The private server and the database in it. Sourced by run.sh, here and in benches/files.

sql() { mariadb --no-defaults --user=root --socket="$work/mysql.sock" --default-character-set=utf8mb4 --batch --skip-column-names "$@"; }

# new_data DATADIR: what a server begins with.
new_data() {
  mariadb-install-db --no-defaults --datadir="$1" --auth-root-authentication-method=normal --skip-test-db \
    $(if [ "$(id -u)" = 0 ]; then echo --user=root; fi) >/dev/null 2>&1 || fail "mariadb-install-db"
}
# start_server DATADIR ARGUMENT…
start_server() {
  local data=$1
  shift
  local as_root=()
  if [ "$(id -u)" = 0 ]; then as_root=(--user=root); fi
  mariadbd --no-defaults --datadir="$data" --socket="$work/mysql.sock" --pid-file="$work/mysql.pid" --skip-networking \
    --innodb-buffer-pool-size=1G "${as_root[@]}" "$@" >"$work/mariadb.log" 2>&1 </dev/null &
  server=$!
  for _ in $(seq 600); do
    if sql -e 'SELECT 1' >/dev/null 2>&1; then return; fi
    kill -0 "$server" 2>/dev/null || fail "mariadbd ended at once"
    sleep 0.1
  done
  fail "mariadbd does not answer"
}
stop_server() {
  kill "$server"
  wait "$server" || true
  server=
}

# Makes the database, or takes what BENCH_KEEP has, and starts the server that is measured on it.
make_database() {
  local data=$work/mysql kept=
  if [ -n "${BENCH_KEEP:-}" ]; then
    # Another generator or server: another database.
    kept=$BENCH_KEEP/$( (mariadbd --version; cat "$target/bench/data") | sha256sum | cut -c 1-16)-$scale
  fi
  if [ -z "$kept" ] || [ ! -d "$kept" ]; then
    new_data "$data"
    start_server "$data" --innodb-flush-log-at-trx-commit=0 --skip-innodb-doublewrite
    sql -e "CREATE DATABASE blog CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci"
    "$target/bench/data" load "$scale" | sql blog
    stop_server
    if [ -n "$kept" ]; then
      mkdir -p "$BENCH_KEEP"
      rm -rf "$kept.part"
      cp -a --reflink=auto "$data" "$kept.part"
      mv "$kept.part" "$kept"
    fi
  else
    cp -a --reflink=auto "$kept" "$data"
  fi
  start_server "$data" "${server_arguments[@]}"
}

# What a schema holds, to be compared: definitions without the order of their lines, rows and checksum of every table.
fingerprint() {
  local schema=$1 table
  mariadb-dump --no-defaults --user=root --socket="$work/mysql.sock" --no-data --compact "$schema" | sed 's/,$//' | sort
  sql -e "SELECT table_name FROM information_schema.tables WHERE table_schema = '$schema' ORDER BY 1" |
    while IFS= read -r table; do
      sql "$schema" -e "SELECT '$table', COUNT(*) FROM \`$table\`" </dev/null
      sql "$schema" -e "CHECKSUM TABLE \`$table\` EXTENDED" </dev/null | cut -f 2
    done
}
