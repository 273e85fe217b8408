#!/usr/bin/env bash
# Installs what the benchmark needs, from Debian's packages: quick when all is there.
set -euo pipefail
# shellcheck source=benches/packages.sh
source "$(dirname "${BASH_SOURCE[0]}")/../packages.sh"

need_for_all
need mariadb-dump mariadb-client
root=${XDG_CACHE_HOME:-$HOME/.cache}/wp-backup-agent/servers/mysql-9.7
if [ "${BENCH_ONLY:-}" != ours ] && [ -z "${MYDUMPER:-}" ] && [ ! -x "$root/usr/bin/mydumper" ]; then need mydumper mydumper; fi
install_needed
