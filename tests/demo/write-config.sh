#!/usr/bin/env bash
# Writes SITE/wp-config.php for a blog whose database is SCHEMA behind SOCKET. Mail, cron and outside requests are off: the
# demo talks to nobody.
set -euo pipefail
[ $# = 3 ] || { echo "usage: write-config.sh SITE SOCKET SCHEMA" >&2; exit 64; }
cat >"$1/wp-config.php" <<CONFIG
<?php
define( 'DB_NAME', '$3' );
define( 'DB_USER', 'root' );
define( 'DB_PASSWORD', '' );
define( 'DB_HOST', 'localhost:$2' );
define( 'DB_CHARSET', 'utf8mb4' );
define( 'DB_COLLATE', '' );
define( 'WP_HTTP_BLOCK_EXTERNAL', true );
define( 'DISABLE_WP_CRON', true );
define( 'AUTOMATIC_UPDATER_DISABLED', true );
if ( isset( \$_SERVER['HTTP_HOST'] ) ) {
	// The blog answers under whatever loopback port serves it, so that a restored copy need not be rewritten.
	define( 'WP_HOME', 'http://' . \$_SERVER['HTTP_HOST'] );
	define( 'WP_SITEURL', 'http://' . \$_SERVER['HTTP_HOST'] );
}
\$table_prefix = 'wpb_';
if ( ! defined( 'ABSPATH' ) ) {
	define( 'ABSPATH', __DIR__ . '/' );
}
require_once ABSPATH . 'wp-settings.php';
CONFIG
