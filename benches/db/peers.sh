# The other tools. Sourced by run.sh.

connection=(--user=root --socket="$work/mysql.sock")

dump_by_mariadb_dump() {
  rm -f "$work/dump.sql.zst"
  measure "mariadb-dump | zstd -3" "$work/dump.sql.zst" bash -c 'set -o pipefail
    mariadb-dump --no-defaults --user=root --socket="$1/mysql.sock" --single-transaction blog | zstd -q -3 -o "$1/dump.sql.zst"' - "$work"
}
restore_by_mariadb() {
  restore "zstd -dc | mariadb" bash -c 'set -o pipefail
    zstd -dcq "$1/dump.sql.zst" | mariadb --no-defaults --user=root --socket="$1/mysql.sock" restored' - "$work"
}

# The binaries that MYDUMPER and MYLOADER name, else those of the root that `make servers` makes, else Debian's.
find_mydumper() {
  if [ "$only" = ours ]; then return; fi
  local root=${XDG_CACHE_HOME:-$HOME/.cache}/wp-backup-agent/servers/mysql-9.7
  if [ -n "${MYDUMPER:-}" ]; then
    mydumper=("$MYDUMPER")
    myloader=("${MYLOADER:-${MYDUMPER%dumper}loader}")
  elif [ -x "$root/usr/bin/mydumper" ]; then
    # Of another release of Debian: with that one's libraries, but no change of root, which only root may do.
    local run=("$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu")
    mydumper=("${run[@]}" "$root/usr/bin/mydumper")
    myloader=("${run[@]}" "$root/usr/bin/myloader")
  else
    mydumper=(mydumper)
    myloader=(myloader)
  fi
  mydumper_version=$("${mydumper[@]}" --version 2>&1 | sed 's/, built.*//')
  # Since 0.15 it compresses by zstd itself. An older one writes plain files, which zstd compresses then, all cores at work.
  local help
  help=$("${mydumper[@]}" --help 2>&1)
  if grep -qi -- '--compress .*zstd' <<<"$help"; then mydumper_zstd=own; else mydumper_zstd=after; fi
  echo "$mydumper_version (zstd: $mydumper_zstd)"
}
dump_by_mydumper() {
  local threads=$1 to=$work/mydumper
  rm -rf "$to"
  local dump=("${mydumper[@]}" "${connection[@]}" --database=blog --outputdir="$to" --threads="$threads")
  if [ "$mydumper_zstd" = own ]; then
    measure "mydumper -t $threads" "$to" "${dump[@]}" --compress=ZSTD
    ls "$to"/*.zst >/dev/null
  else
    # Pieces, so that myloader has work for all its threads.
    measure "mydumper -t $threads" "$to" bash -c 'to=$1; shift
      "$@" && find "$to" -name "*.sql" -print0 | xargs -0 -n 1 -P "$(nproc)" zstd -q -3 --rm' - "$to" "${dump[@]}" --chunk-filesize=16
  fi
}
restore_by_myloader() {
  local threads=$1 from=$work/mydumper
  local load=("${myloader[@]}" "${connection[@]}" --database=restored --threads="$threads")
  if [ "$mydumper_zstd" = own ]; then
    restore "myloader -t $threads" "${load[@]}" --directory="$from"
  else
    rm -rf "$work/plain"
    restore "myloader -t $threads" bash -c 'from=$1 plain=$2; shift 2
      cp -r "$from" "$plain" && find "$plain" -name "*.zst" -print0 | xargs -0 -n 1 -P "$(nproc)" zstd -dq --rm && "$@"' \
      - "$from" "$work/plain" "${load[@]}" --directory="$work/plain"
  fi
}
