#!/usr/bin/env bash
# Installs what the benchmark needs, from Debian's packages: quick when all is there.
set -euo pipefail

packages=()
need() { command -v "$1" >/dev/null 2>&1 || packages+=("${@:2}"); }
need mariadbd mariadb-server-core
need mariadb-install-db mariadb-server-core
need mariadb-dump mariadb-client
need jq jq
need zstd zstd
need /usr/bin/time time
need cc gcc libc6-dev
need cmake cmake
root=${XDG_CACHE_HOME:-$HOME/.cache}/wp-backup-agent/servers/mysql-9.7
if [ "${BENCH_ONLY:-}" != ours ] && [ -z "${MYDUMPER:-}" ] && [ ! -x "$root/usr/bin/mydumper" ]; then need mydumper mydumper; fi

if [ ${#packages[@]} -gt 0 ]; then
  as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
  echo "installing: ${packages[*]}"
  apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600)
  as_root "${apt[@]}" update >/dev/null
  as_root "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null
fi
