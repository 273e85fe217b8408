#!/usr/bin/env bash
# Makes the roots of the database servers that the tests need beside Debian's own MariaDB: MariaDB 11.8 and MySQL 9.7 (with mydumper).
# A finished root is kept, a half-made one is made anew. Needs debootstrap (tests/demo/install.sh), and root or sudo.
#
#   servers.sh bench-peers   makes the root of `make bench-files` instead: restic and borg
#
#   SERVERS_MIRROR=URL   Debian's archive, when it isn't the one of the machine's apt sources
set -euo pipefail

servers=${XDG_CACHE_HOME:-$HOME/.cache}/wp-backup-agent/servers

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# The archive that apt uses: it may be the only one in reach.
mirror() {
  local found
  found=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null |
    grep -m 1 '^https\?://' || true)
  if [ -z "$found" ]; then
    found=$(grep -rhoE --include='*.list' --include='*.sources' 'https?://[^] ]+/debian/?( |$)' \
      /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -n 1 | tr -d ' ' || true)
  fi
  echo "${SERVERS_MIRROR:-${found:-http://deb.debian.org/debian}}"
}

# make_root NAME SUITE PACKAGES PROGRAM ARGUMENT…: PROGRAM tells its version, and thereby that the root is whole.
make_root() {
  local root=$servers/$1 making=$servers/$1.being-made suite=$2 packages=$3 from
  local program=("${@:4}")
  version() {
    PYTHONHOME=$root/usr "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" "$root/${program[0]}" "${program[@]:1}"
  }
  if version >/dev/null 2>&1; then
    echo "servers: $1 is there: $root"
    return
  fi
  from=$(mirror)
  echo "servers: making $1 from $suite at $from (a minute or two): $root"
  mkdir -p "$servers"
  # debootstrap mounts /proc in there while it works.
  if mountpoint -q "$making/proc"; then as_root umount "$making/proc"; fi
  as_root rm -rf --one-file-system "$making" "$root"
  if ! as_root debootstrap --variant=minbase --include="$packages" "$suite" "$making" "$from" >"$servers/$1.log" 2>&1; then
    tail -n 20 "$servers/$1.log" >&2
    echo "servers: debootstrap failed; the whole log: $servers/$1.log" >&2
    exit 1
  fi
  as_root rm -rf "$making/var/cache/apt/archives" "$making/var/lib/apt/lists"
  as_root mv "$making" "$root"
  version
}

mkdir -p "$servers"
exec 9>"$servers/.lock"
flock 9
case ${1:-} in
  bench-peers)
    make_root bench-peers sid restic,borgbackup usr/bin/python3 -c 'import borg; print("borg", borg.__version__)'
    ;;
  '')
    make_root mariadb-11.8 trixie mariadb-server-core usr/sbin/mariadbd --no-defaults --version
    make_root mysql-9.7 sid mysql-server-core,mysql-client-core,mydumper usr/sbin/mysqld --no-defaults --version
    ;;
  *)
    echo "usage: servers.sh [bench-peers]" >&2
    exit 64
    ;;
esac
