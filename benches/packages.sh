# Debian's packages that a benchmark needs. Sourced by the install.sh of each.

packages=()
# need PROGRAM PACKAGE…
need() { command -v "$1" >/dev/null 2>&1 || packages+=("${@:2}"); }
need_for_all() {
  need mariadbd mariadb-server-core
  need mariadb-install-db mariadb-server-core
  need jq jq
  need zstd zstd
  need /usr/bin/time time
  need cc gcc libc6-dev
  need cmake cmake
}
# Quick when nothing is needed.
install_needed() {
  if [ ${#packages[@]} = 0 ]; then return; fi
  as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
  echo "installing: ${packages[*]}"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600)
  as_root "${apt[@]}" update >/dev/null
  as_root "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null
}
