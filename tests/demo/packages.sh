#!/usr/bin/env bash
# Prints the directory into which Debian's WordPress, themes and plugins are unpacked; downloads them the first time.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${BLOG_CACHE:-$(cd "$here/../.." && pwd)/target/blog-packages}
packages=(
  wordpress wordpress-theme-twentytwentyone wordpress-theme-twentytwentythree
  wordpress-plugin-http-authentication wordpress-xrds-simple
  libjs-cropper libjs-underscore php-getid3
)

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
if [ ! -e "$cache/unpacked" ]; then
  rm -rf "$cache/download" "$cache/unpacking"
  mkdir "$cache/download" "$cache/unpacking"
  download() { (cd "$cache/download" && apt-get -q -o APT::Sandbox::User=root download "${packages[@]}") >&2; }
  if ! download; then
    # The machine's package lists may be old, or not there at all.
    if [ "$(id -u)" = 0 ]; then apt-get -q update >&2; else sudo apt-get -q update >&2; fi
    download
  fi
  for package in "$cache"/download/*.deb; do dpkg -x "$package" "$cache/unpacking"; done
  mv "$cache/unpacking" "$cache/unpacked"
  rm -rf "$cache/download"
fi
echo "$cache/unpacked"
