#!/usr/bin/env bash
# The whole thing on a real blog, from nothing: see README.md. Everything that it starts, it ends; KEEP=1 leaves it running.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
keep=${KEEP:-}

began=$SECONDS
title() { printf '\n\033[1m== %s\033[0m  [%d s]\n' "$*" "$((SECONDS - began))"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/wp-backup-agent-demo.XXXXXX")
started=() # process ids, in the order of their start
finish() {
  local result=$? at pid
  trap - EXIT INT TERM
  if [ "$result" = 0 ] && [ -n "$keep" ]; then return; fi
  if [ "$result" != 0 ]; then
    for log in daemon s3 php mariadb; do
      if [ -s "$work/$log.log" ]; then printf -- '--- the end of %s.log\n' "$log"; tail -n 15 "$work/$log.log"; fi
    done >&2
  fi
  for ((at = ${#started[@]} - 1; at >= 0; at--)); do
    pid=${started[at]}
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
  done
  wait
  rm -rf "$work"
  if [ "$result" != 0 ]; then printf '\nThe demo failed (%d).\n' "$result" >&2; fi
  exit "$result"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME COMMAND…: runs it beside this script, its output in NAME.log.
start() {
  local name=$1
  shift
  "$@" >"$work/$name.log" 2>&1 </dev/null &
  started+=($!)
}
# wait_for SECONDS COMMAND…: until it succeeds, or the process started last has ended.
wait_for() {
  local left=$(($1 * 10))
  shift
  until "$@" >/dev/null 2>&1; do
    kill -0 "${started[-1]}" 2>/dev/null || fail "it ended at once: $*"
    [ $((left--)) -gt 0 ] || fail "no answer: $*"
    sleep 0.1
  done
}
sql() { mariadb --no-defaults --user=root --socket="$work/mysql.sock" --default-character-set=utf8mb4 --batch --skip-column-names "$@"; }
agent() { "$binary" --config "$work/config.toml" "$@"; }

title "What the demo needs, from Debian"
"$here/install.sh"

title "The program"
cd "$project"
cargo build --locked --quiet --bin wp-backup-agent --example demo-s3
target=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)
binary=$target/debug/wp-backup-agent
"$binary" --version

title "A real blog: WordPress on a private MariaDB"
as_root_user=()
if [ "$(id -u)" = 0 ]; then as_root_user=(--user=root); fi
mariadb-install-db --no-defaults --datadir="$work/mysql" --auth-root-authentication-method=normal --skip-test-db \
  "${as_root_user[@]}" >/dev/null 2>&1 || fail "mariadb-install-db"
start mariadb mariadbd --no-defaults --datadir="$work/mysql" --socket="$work/mysql.sock" --pid-file="$work/mysql.pid" \
  --skip-networking --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=64M "${as_root_user[@]}"
wait_for 60 sql -e 'SELECT 1'
BLOG_SOCKET=$work/mysql.sock "$here/build-blog.sh" "$work/blog"
du -sh "$work/blog/wp-content" | awk '{ print "wp-content:", $1 }'

title "An S3 server, and the daemon"
start s3 "$target/debug/examples/demo-s3" "$work/s3" --log "$work/requests.log"
wait_for 30 grep -q '[0-9]' "$work/s3.log"
port=$(head -n 1 "$work/s3.log")
(umask 077 && printf 'demo-secret-key' >"$work/secret")
cat >"$work/config.toml" <<CONFIG
[store]
url = "s3://backups/demo"
region = "us-east-1"
endpoint = "http://127.0.0.1:$port"
path_style = true
access_key_id = "demo-access-key"
secret_access_key_file = "$work/secret"

[daemon]
socket = "$work/control.sock"
state = "$work/state"

[[site]]
name = "blog"
path = "$work/blog"
schedule = "30 2 * * *"

[site.database]
socket = "$work/mysql.sock"
user = "root"
name = "blog"
CONFIG
mkdir -m 700 "$work/state"
start daemon "$binary" --config "$work/config.toml" daemon
wait_for 30 agent status
echo "the daemon answers on $work/control.sock"

# What the server's own log says of the requests since line $1.
requests_since() {
  tail -n "+$(($1 + 1))" "$work/requests.log" |
    awk '{ sub("in=", "", $5); count[$2]++; if ($2 == "PUT" && $4 == 200) bytes += $5 }
      END { printf "%d PUT with %d bytes, %d GET, %d DELETE\n", count["PUT"], bytes, count["GET"], count["DELETE"] }'
}
logged() { if [ -e "$work/requests.log" ]; then wc -l <"$work/requests.log"; else echo 0; fi; }
run_now() {
  local before
  before=$(logged)
  agent run-now --wait
  printf 'S3 server: '
  requests_since "$before" | tee "$work/sent"
  jq -r '"snapshot \(.seq): \(.counts.file_entries) files and directories, \(.counts.tables) tables, \(.counts.rows) rows; uploaded \(.uploaded.bytes) bytes in \(.uploaded.packs) packs; \(.status)"' \
    "$(newest_manifest)"
}
newest_manifest() { find "$work/s3/backups/demo/blog/snapshots" -name '*.json' | sort | tail -n 1; }

# The files' digests and the tables' checksums, to reckon what a day changed. None of the agent's code has a part in it.
state_of_blog() {
  (cd "$work/blog/wp-content" && find . -type f -print0 | sort -z | xargs -0 sha256sum --) >"$1.files"
  sql blog -e "SELECT table_name FROM information_schema.tables WHERE table_schema = 'blog' AND table_type = 'BASE TABLE'" |
    while IFS= read -r table; do sql blog -e "CHECKSUM TABLE \`$table\` EXTENDED" </dev/null; done >"$1.tables"
}

title "run-now: the first snapshot"
run_now
state_of_blog "$work/before"

title "A day of changes"
php "$here/day.php" "$work/blog" 1
state_of_blog "$work/after"
changed_bytes=$(cd "$work/blog/wp-content" && LC_ALL=C comm -13 <(LC_ALL=C sort "$work/before.files") <(LC_ALL=C sort "$work/after.files") |
  grep -v '^\\' | cut -c 67- | tr '\n' '\0' | du -cb --files0-from=- | awk 'END { print $1 }')
touched_tables=$(LC_ALL=C comm -13 <(LC_ALL=C sort "$work/before.tables") <(LC_ALL=C sort "$work/after.tables") | wc -l)
echo "changed: $changed_bytes bytes of files, $touched_tables tables"

title "run-now: the second snapshot"
run_now
sent=$(sed 's/.* with \([0-9]*\) bytes.*/\1/' "$work/sent")
allowed=$((2 * changed_bytes + (touched_tables + 1) * 1048576))
[ "$sent" -gt 0 ] && [ "$sent" -le "$allowed" ] || fail "the second run uploaded $sent bytes, more than $allowed"
echo "uploaded $sent bytes: allowed are 2 x $changed_bytes + ($touched_tables + 1) MiB = $allowed"

title "status"
agent status
agent status --json >"$work/status.json"
echo "and by status --json and jq, what each run uploaded:"
jq -r '.sites[].history | reverse[] | "  \(.site) \(.started) \(.result): snapshot \(.snapshot.seq), \(.snapshot.uploaded.bytes) bytes in \(.snapshot.uploaded.packs) packs"' "$work/status.json"
told=$(jq '.sites[0].last_run.snapshot.uploaded.bytes' "$work/status.json")
[ "$told" -gt 0 ] && [ "$told" -le "$sent" ] || fail "status says $told bytes, the S3 server received $sent"
agent snapshots list

title "Restore into a second directory and database"
copy=$work/restored
mkdir "$copy"
# WordPress itself comes from the distribution; the snapshot holds what is the blog's own.
tar -C "$work/blog" --exclude=./wp-content --exclude=./wp-config.php -cf - . | tar -C "$copy" -xf -
sql -e "CREATE DATABASE restored DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci"
agent restore latest --files "$copy/wp-content" --database restored

title "Is the copy identical?"
compare_files() { "$here/compare.sh" tree "$work/blog/wp-content" "$copy/wp-content"; }
compare_database() { "$here/compare.sh" database "$work/mysql.sock" blog restored; }
compare_files
compare_database

title "Does the comparison notice one changed byte?"
victim=$(find "$copy/wp-content/uploads" -name '*.jpg' | sort | head -n 1)
cp -a "$victim" "$work/kept"
printf '\125' | dd of="$victim" bs=1 seek=100 conv=notrunc status=none
cmp -s "$victim" "$work/kept" && printf '\252' | dd of="$victim" bs=1 seek=100 conv=notrunc status=none
touch -r "$work/kept" "$victim"
if compare_files; then fail "a changed byte of a file went unnoticed"; fi
cp -a "$work/kept" "$victim"
compare_files >/dev/null || fail "the file is not as it was"
sql restored -e "UPDATE wpb_posts SET post_content = CONCAT(post_content, 'x') ORDER BY ID DESC LIMIT 1"
if compare_database; then fail "a changed byte of a row went unnoticed"; fi
sql restored -e "UPDATE wpb_posts SET post_content = LEFT(post_content, CHAR_LENGTH(post_content) - 1) ORDER BY ID DESC LIMIT 1"
compare_database >/dev/null || fail "the row is not as it was"
echo "yes: both were noticed, and put back"

title "Does the restored blog serve its newest post?"
"$here/write-config.sh" "$copy" "$work/mysql.sock" restored
newest=$(sql blog -e "SELECT post_title FROM wpb_posts WHERE post_type = 'post' AND post_status = 'publish' ORDER BY post_date DESC LIMIT 1")
image=$(sql blog -e "SELECT meta_value FROM wpb_postmeta WHERE meta_key = '_wp_attached_file' ORDER BY post_id DESC LIMIT 1")
web=$(php -r '$s = stream_socket_server("tcp://127.0.0.1:0"); echo parse_url("tcp://" . stream_socket_get_name($s, false), PHP_URL_PORT);')
start php php -S "127.0.0.1:$web" -t "$copy"
wait_for 30 curl -fsS -o /dev/null "http://127.0.0.1:$web/"
curl -fsS "http://127.0.0.1:$web/" >"$work/front.html"
grep -qF "$newest" "$work/front.html" || fail "the front page does not show: $newest"
rest=$(curl -fsS "http://127.0.0.1:$web/index.php?rest_route=/wp/v2/posts&per_page=1" | jq -r '.[0].title.rendered')
[ "$rest" = "$newest" ] || fail "the REST API's newest post is: $rest"
curl -fsS "http://127.0.0.1:$web/wp-content/uploads/$image" | cmp - "$work/blog/wp-content/uploads/$image" || fail "image $image"
echo "yes: \"$newest\" on its front page and in its REST API, and $image byte for byte"

title "Done: the demo passed"
if [ -n "$keep" ]; then
  cat <<KEPT
Left running, as you asked:
  the restored blog     http://127.0.0.1:$web/   (admin / demo-password at /wp-login.php)
  the agent             $binary --config $work/config.toml status
  a day of changes      php $here/day.php $work/blog 2
  its database          mariadb --no-defaults --user=root --socket=$work/mysql.sock blog
  the store's objects   $work/s3/backups/demo
To end it:
  kill ${started[*]}; rm -rf $work
KEPT
fi
