#!/usr/bin/env bash
# Installs what the benchmark needs, from Debian's packages, and the other tools: quick when all is there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=benches/packages.sh
source "$here/../packages.sh"

need_for_all
need mariadb mariadb-client
need b3sum b3sum
if [ "${BENCH_ONLY:-}" != ours ]; then
  # Not on a user's PATH, even when it is installed.
  need /usr/sbin/debootstrap debootstrap
fi
install_needed
if [ "${BENCH_ONLY:-}" = ours ]; then exit; fi

"$here/../../tests/servers.sh" bench-peers

cache=${XDG_CACHE_HOME:-$HOME/.cache}/wp-backup-agent/bench
if [ -z "${RUSTIC:-}" ] && [ ! -x "$cache/bin/rustic" ]; then
  echo "building rustic 0.11.4, which takes a quarter of an hour on two cores: $cache/bin/rustic"
  mkdir -p "$cache"
  nice cargo install rustic-rs --version 0.11.4 --locked --quiet --root "$cache" --target-dir "$cache/build"
  rm -rf "$cache/build"
fi
