<?php
// What the blog's scripts share: images and text from a seeded generator, put in through WordPress's own functions.

function load_wordpress( string $site ): void {
	$_SERVER += array( 'SERVER_PROTOCOL' => 'HTTP/1.1', 'REQUEST_METHOD' => 'GET', 'HTTP_HOST' => 'blog.example' );
	define( 'WP_USE_THEMES', false );
	require $site . '/wp-load.php';
	require_once ABSPATH . 'wp-admin/includes/admin.php';
	// Nobody gets mail from a demo.
	add_filter( 'pre_wp_mail', '__return_true' );
}

function words( int $count ): string {
	static $some = array( 'harbour', 'lantern', 'été', 'orchard', 'thunder', 'velvet', 'glacier', '日本', 'pepper', 'river',
		'candle', 'meadow', 'naïve', 'anchor', 'copper', 'winter', 'saffron', 'compass', 'marble', 'willow', '🌊', 'ember' );
	$text = array();
	for ( $i = 0; $i < $count; $i++ ) {
		$text[] = $some[ mt_rand( 0, count( $some ) - 1 ) ];
	}
	return implode( ' ', $text );
}

function new_post( string $title, string $date ): int {
	$paragraphs = array();
	for ( $i = mt_rand( 3, 12 ); $i > 0; $i-- ) {
		$paragraphs[] = '<!-- wp:paragraph --><p>' . ucfirst( words( mt_rand( 20, 120 ) ) ) . ".</p><!-- /wp:paragraph -->\n";
	}
	$id = wp_insert_post(
		wp_slash(
			array(
				'post_title'    => $title,
				'post_content'  => implode( '', $paragraphs ),
				'post_status'   => 'publish',
				'post_date'     => $date,
				'post_author'   => 1,
				'post_category' => array( 1 ),
				'tags_input'    => array( words( 1 ), words( 1 ) ),
			)
		),
		true
	);
	if ( is_wp_error( $id ) ) {
		throw new RuntimeException( $id->get_error_message() );
	}
	// Serialized, JSON and backslashes: what a careless dump breaks.
	update_post_meta( $id, '_layout', array( 'wide' => true, 'url' => home_url( '/a' ), 'é' => array( 1.5, null ) ) );
	update_post_meta( $id, '_json', wp_slash( wp_json_encode( array( 'path' => "C:\\temp\\%_'\"", 'n' => $id ) ) ) );
	return $id;
}

function new_comment( int $post ): void {
	wp_insert_comment(
		array(
			'comment_post_ID'      => $post,
			'comment_author'       => ucfirst( words( 1 ) ),
			'comment_author_email' => 'reader@example.org',
			'comment_content'      => words( mt_rand( 5, 40 ) ),
			'comment_approved'     => mt_rand( 0, 9 ) ? 1 : 'spam',
		)
	);
}

/** An image that doesn't compress, through the media API, with all its smaller sizes. */
function new_image( string $name, int $post ): int {
	$width  = mt_rand( 900, 1300 );
	$height = mt_rand( 600, 900 );
	$image  = imagecreatetruecolor( $width, $height );
	for ( $i = 0; $i < 900; $i++ ) {
		$colour = imagecolorallocate( $image, mt_rand( 0, 255 ), mt_rand( 0, 255 ), mt_rand( 0, 255 ) );
		imagefilledellipse( $image, mt_rand( 0, $width ), mt_rand( 0, $height ), mt_rand( 5, 90 ), mt_rand( 5, 90 ), $colour );
	}
	$file = wp_tempnam( $name );
	str_ends_with( $name, '.png' ) ? imagepng( $image, $file, 6 ) : imagejpeg( $image, $file, 85 );
	imagedestroy( $image );
	$id = media_handle_sideload( array( 'name' => $name, 'tmp_name' => $file ), $post, $name );
	if ( is_wp_error( $id ) ) {
		throw new RuntimeException( $id->get_error_message() );
	}
	set_post_thumbnail( $post, $id );
	return $id;
}
