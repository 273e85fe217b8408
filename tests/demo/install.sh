#!/usr/bin/env bash
# Installs what the demo and the tests need, from Debian's packages: idempotent, and quick when all is there. No service is
# started. WordPress itself is only downloaded (see packages.sh): its package would pull in a web server.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

packages=()
need() { command -v "$1" >/dev/null 2>&1 || packages+=("${@:2}"); }
need mariadbd mariadb-server-core
need mariadb mariadb-client
need mariadb-install-db mariadb-server-core
need php php-cli
need jq jq
need zstd zstd
need b3sum b3sum
need age age
need strace strace
need curl curl ca-certificates
need /usr/bin/time time
# For tests/servers.sh. Not on a user's PATH, even when it is installed.
need /usr/sbin/debootstrap debootstrap
need cc gcc libc6-dev
need cmake cmake
modules=$(php -m 2>/dev/null || true)
for extension in mysqli:mysql gd:gd SimpleXML:xml mbstring:mbstring; do
  if ! grep -qix "${extension%%:*}" <<<"$modules"; then
    packages+=("php-${extension##*:}")
  fi
done

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

if [ ${#packages[@]} -gt 0 ]; then
  echo "installing: ${packages[*]}"
  # While packages are configured, no service may start: a policy-rc.d that is there already is the machine owner's.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    trap 'as_root rm -f "$policy"' EXIT
  fi
  apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600)
  as_root "${apt[@]}" update >/dev/null
  as_root "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null
fi

"$here/packages.sh" >/dev/null
