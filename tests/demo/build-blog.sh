#!/usr/bin/env bash
# Builds a real WordPress blog in the directory SITE, which must not exist or be empty: Debian's package as one tree of real
# files, installed and filled through WordPress's own functions. Its database is the schema BLOG_SCHEMA (default "blog") of
# the server behind BLOG_SOCKET, which must take root without a password.
#   BLOG_POSTS (60), BLOG_IMAGES (25): how much is in it
set -euo pipefail
[ $# = 1 ] || { echo "usage: build-blog.sh SITE" >&2; exit 64; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
site=$(cd "$1" && pwd)
socket=${BLOG_SOCKET:?the socket of a MariaDB server}
schema=${BLOG_SCHEMA:-blog}

packages=$("$here/packages.sh")
# Debian links parts of WordPress to other packages' files. The links are relative but for two: its own .htaccess, which
# serves every blog of the machine, and the machine's certificates.
tar -C "$packages/usr/share/wordpress" --exclude=./.htaccess --exclude=./wp-config.php \
  --exclude=./wp-includes/certificates/ca-bundle.crt -chf - . | tar -C "$site" -xf -
cp /etc/ssl/certs/ca-certificates.crt "$site/wp-includes/certificates/ca-bundle.crt" 2>/dev/null ||
  : >"$site/wp-includes/certificates/ca-bundle.crt"
mkdir -p "$site/wp-content/uploads" "$site/wp-content/languages"
cat >"$site/.htaccess" <<'HTACCESS'
# BEGIN WordPress
RewriteEngine On
RewriteBase /
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule . /index.php [L]
# END WordPress
HTACCESS

mariadb --no-defaults --user=root --socket="$socket" \
  -e "CREATE DATABASE \`$schema\` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci"
"$here/write-config.sh" "$site" "$socket" "$schema"
php "$here/fill.php" "$site" "${BLOG_POSTS:-60}" "${BLOG_IMAGES:-25}"

# A backup meets more than WordPress writes itself.
printf 'GIF89a' >"$site/wp-content/uploads/$(printf 'caf\351 latin-1').gif"
printf 'x' >"$site/wp-content/uploads/"'-leading dash, space and "quotes".txt'
printf 'x' >"$site/wp-content/uploads/$(printf 'line\nend 100%%.txt')"
: >"$site/wp-content/uploads/empty"
ln -s ../themes/twentytwentyone/style.css "$site/wp-content/uploads/link.css"
mkdir -p "$site/wp-content/uploads/empty directory"
chmod 700 "$site/wp-content/uploads/empty directory"
