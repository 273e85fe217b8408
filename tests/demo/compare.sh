#!/usr/bin/env bash
# Whether a restored copy is identical to its source, found without any of the agent's code: every file's bytes, mode, mtime,
# owner and link target; every row of every table, and every definition. Exits 1 and shows the first differences if not.
#   compare.sh tree SOURCE COPY
#   compare.sh database SOCKET SOURCE_SCHEMA COPY_SCHEMA
set -euo pipefail
export LC_ALL=C
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# One line for each entry, and one for each file's content: a name's line ends are written \n.
list_tree() {
  local owner='%U:%G '
  [ "$(id -u)" = 0 ] || owner=''
  (
    cd "$1"
    find . -printf "%y %m ${owner}%T@ -> %l : %p\\0" | sort -z | sed -z 's/\n/\\n/g' | tr '\0' '\n'
    find . -type f -print0 | sort -z | xargs -0 --no-run-if-empty sha256sum --
  )
}

sql() { mariadb --no-defaults --user=root --socket="$socket" --default-character-set=utf8mb4 --batch --skip-column-names "$@"; }

# Definitions with their AUTO_INCREMENT counters. Who defined a view or trigger is kept as data, not restored.
list_definitions() {
  mariadb-dump --no-defaults --user=root --socket="$socket" --no-data --routines --events --triggers \
    --skip-comments --skip-dump-date "$1" | sed -E 's/ ?DEFINER=`[^`]*`@`[^`]*`//'
}

# Every row as the hexadecimal bytes of its columns. A float's text has six digits only, so it is read as a double.
list_rows() {
  local schema=$1 table=$2 columns
  columns=$(sql -e "SET group_concat_max_len = 1000000; SELECT GROUP_CONCAT(
      CASE data_type WHEN 'float' THEN CONCAT('HEX(CAST(\`', column_name, '\` + 0e0 AS BINARY))')
                     WHEN 'bit' THEN CONCAT('HEX(\`', column_name, '\` + 0)')
                     ELSE CONCAT('HEX(CAST(\`', column_name, '\` AS BINARY))') END ORDER BY ordinal_position)
    FROM information_schema.columns WHERE table_schema = '$schema' AND table_name = '$table'")
  sql --quick -e "SET time_zone = '+00:00'; SELECT $columns FROM \`$schema\`.\`$table\`" | sort
}

differ() {
  echo "DIFFERENT: $1"
  diff "$scratch/source" "$scratch/copy" | head -n "${LINES_SHOWN:-6}" | cut -c 1-200 || true
  exit 1
}

case ${1:-} in
  tree)
    list_tree "$2" >"$scratch/source"
    list_tree "$3" >"$scratch/copy"
    cmp -s "$scratch/source" "$scratch/copy" || differ "files"
    files=$(find "$2" -type f -printf x | wc -c)
    [ "$files" -gt 0 ] || { echo "there is nothing to compare in $2" >&2; exit 1; }
    echo "identical: $files files, $(find "$2" -printf x | wc -c) entries: bytes, modes, owners, times to the nanosecond, link targets"
    ;;
  database)
    socket=$2
    list_definitions "$3" >"$scratch/source"
    list_definitions "$4" >"$scratch/copy"
    cmp -s "$scratch/source" "$scratch/copy" || differ "definitions"
    sql -e "SELECT table_name FROM information_schema.tables
      WHERE table_schema = '$3' AND table_type = 'BASE TABLE' ORDER BY 1" >"$scratch/tables"
    rows=0
    while IFS= read -r table <&3; do
      list_rows "$3" "$table" >"$scratch/source"
      list_rows "$4" "$table" >"$scratch/copy"
      cmp -s "$scratch/source" "$scratch/copy" || differ "rows of $table"
      rows=$((rows + $(wc -l <"$scratch/source")))
    done 3<"$scratch/tables"
    [ "$rows" -gt 0 ] || { echo "there is nothing to compare in $3" >&2; exit 1; }
    echo "identical: $(wc -l <"$scratch/tables") tables, $rows rows by the bytes of each column, and every definition"
    ;;
  *)
    echo "usage: compare.sh tree SOURCE COPY | compare.sh database SOCKET SOURCE_SCHEMA COPY_SCHEMA" >&2
    exit 64
    ;;
esac
