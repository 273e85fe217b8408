<?php
// day.php SITE [DAY]: a day of the blog's life: 5 new posts, 10 edits, comments, options, 6 images, a deletion, a plugin's fix.
list( , $site ) = $argv;
$day = (int) ( $argv[2] ?? 1 );
require __DIR__ . '/content.php';
load_wordpress( $site );
mt_srand( 1000 + $day );
add_filter( 'pre_http_request', fn() => new WP_Error( 'demo', 'no requests' ) );

$old = get_posts( array( 'numberposts' => 40, 'fields' => 'ids', 'orderby' => 'ID', 'order' => 'ASC' ) );
$new = array();
for ( $i = 1; $i <= 5; $i++ ) {
	$new[] = new_post( "Day $day, post $i: " . words( 3 ), gmdate( 'Y-m-d H:i:s', 1710000000 + $day * 86400 + $i * 60 ) );
}
for ( $i = 0; $i < 10; $i++ ) {
	$post = get_post( $old[ 3 * $i ] );
	wp_update_post( wp_slash( array( 'ID' => $post->ID, 'post_content' => $post->post_content . '<p>Edited on day ' . $day . '.</p>' ) ) );
}
for ( $i = 0; $i < 30; $i++ ) {
	new_comment( $i % 3 ? $new[ $i % 5 ] : $old[ $i ] );
}
update_option( 'blogdescription', "After day $day" );
set_transient( 'demo_transient', words( 50 ), DAY_IN_SECONDS );
for ( $i = 1; $i <= 6; $i++ ) {
	$image = new_image( "day-$day-$i.jpg", $new[ $i % 5 ] );
}
$gone = get_posts( array( 'post_type' => 'attachment', 'numberposts' => 1, 'orderby' => 'ID', 'order' => 'ASC', 'post_status' => 'any' ) );
wp_delete_attachment( $gone[0]->ID, true );
wp_delete_post( $old[39], true );
file_put_contents( WP_PLUGIN_DIR . '/akismet/akismet.php', "\n// Fixed on day $day.\n", FILE_APPEND );
echo "5 new posts, 10 edits, 30 comments, 6 new images, 1 image and 1 post deleted, 1 plugin file edited\n";
