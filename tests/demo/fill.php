<?php
// fill.php SITE POSTS IMAGES: installs WordPress and fills it.
list( , $site, $posts, $images ) = $argv;
define( 'WP_INSTALLING', true );
require __DIR__ . '/content.php';
load_wordpress( $site );
mt_srand( 42 );

require_once ABSPATH . 'wp-admin/includes/upgrade.php';
// What the installer does beside the tables: a loop-back request (for pretty links) and a mail.
add_filter( 'pre_http_request', fn() => new WP_Error( 'demo', 'no requests' ) );
wp_install( 'The Demo Blog', 'admin', 'admin@example.org', true, '', 'demo-password' );
update_option( 'siteurl', 'http://blog.example' );
update_option( 'home', 'http://blog.example' );
update_option( 'permalink_structure', '/%year%/%postname%/' );
wp_installing( false );
wp_delete_post( 1, true ); // "Hello world!" would be the newest post.
switch_theme( 'twentytwentyone' );
foreach ( array_keys( get_plugins() ) as $plugin ) {
	if ( preg_match( '/xrds/', $plugin ) ) {
		activate_plugin( $plugin, '', false, true );
	}
}
update_option( 'demo_blob', str_repeat( "\\ ' \" % _ \t é", 2000 ) );

$ids = array();
for ( $i = 1; $i <= $posts; $i++ ) {
	$ids[] = new_post( "Post $i: " . words( 4 ), gmdate( 'Y-m-d H:i:s', 1700000000 + $i * 86400 ) );
}
foreach ( $ids as $id ) {
	for ( $i = mt_rand( 0, 8 ); $i > 0; $i-- ) {
		new_comment( $id );
	}
}
for ( $i = 1; $i <= $images; $i++ ) {
	new_image( $i % 6 ? "photo-$i.jpg" : "Été drawing $i.png", $ids[ $i % count( $ids ) ] );
}

// What plugins bring: a table without a key, binary values, a view, a trigger.
global $wpdb;
foreach ( array(
	"CREATE TABLE wpb_plugin_log (at DATETIME(6), what LONGBLOB, n BIT(5), share FLOAT) ENGINE=InnoDB",
	"INSERT INTO wpb_plugin_log VALUES (NOW(6), x'00ff0d0a1a5c27', b'10101', 0.1), (NULL, NULL, NULL, NULL), (NULL, '', b'0', 1e-30)",
	"CREATE VIEW wpb_recent AS SELECT ID, post_title FROM wpb_posts WHERE post_status = 'publish'",
	"CREATE TRIGGER wpb_count AFTER DELETE ON wpb_comments FOR EACH ROW INSERT INTO wpb_plugin_log (what) VALUES (OLD.comment_content)",
) as $statement ) {
	if ( false === $wpdb->query( $statement ) ) {
		throw new RuntimeException( $wpdb->last_error );
	}
}
printf( "%d posts, %d images, %d comments\n", count( $ids ), $images, get_comments( array( 'count' => true ) ) );
