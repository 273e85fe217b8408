//! A small site without WordPress: its core tables with a few rows, and a tree with all kinds of names.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::mariadb::MariaDb;

/// Makes the schema and the tree.
pub fn make(server: &MariaDb, schema: &str, content: &Path) {
    make_tables(server, schema);
    make_tree(content);
}

/// The core tables of WordPress, as far as a backup cares, and other objects.
pub fn make_tables(server: &MariaDb, schema: &str) {
    let mut sql = format!("CREATE DATABASE `{schema}` CHARACTER SET utf8mb4; USE `{schema}`;\n");
    for table in
        ["commentmeta", "comments", "links", "term_relationships", "term_taxonomy", "termmeta", "terms", "usermeta", "users"]
    {
        sql += &format!(
            "CREATE TABLE wp_{table} (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, v LONGTEXT) ENGINE=InnoDB;\n"
        );
        sql += &format!("INSERT INTO wp_{table} (v) VALUES ('one'), (NULL), ('Été 100% \\\\ \\n');\n");
    }
    sql += "CREATE TABLE wp_options (option_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, option_name VARCHAR(191) NOT NULL UNIQUE, option_value LONGTEXT NOT NULL, autoload VARCHAR(20) NOT NULL DEFAULT 'yes') ENGINE=InnoDB;
INSERT INTO wp_options (option_name, option_value) VALUES ('siteurl','http://blog.test'),('home','http://blog.test'),('blogname','Small'),('template','plain'),('stylesheet','plain'),('active_plugins','a:1:{i:0;s:11:\"hello/h.php\";}'),('upload_path',''),('db_version','57155');
CREATE TABLE wp_posts (ID BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, post_title TEXT NOT NULL, post_content LONGTEXT NOT NULL, post_type VARCHAR(20) NOT NULL DEFAULT 'post', post_date DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00') ENGINE=InnoDB;
CREATE TABLE wp_postmeta (meta_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, post_id BIGINT UNSIGNED NOT NULL DEFAULT 0, meta_key VARCHAR(255), meta_value LONGTEXT) ENGINE=InnoDB;
INSERT INTO wp_posts (post_title, post_content) SELECT CONCAT('Post ', seq), REPEAT(CONCAT('Text of post ', seq, '. '), 40) FROM seq_1_to_400;
INSERT INTO wp_postmeta (post_id, meta_key, meta_value) VALUES (1,'_wp_attached_file','2026/11/photo.jpg');
CREATE VIEW wp_titles AS SELECT ID, post_title FROM wp_posts;
CREATE TRIGGER wp_before BEFORE INSERT ON wp_links FOR EACH ROW SET NEW.v = CONCAT(NEW.v, '!');
CREATE PROCEDURE wp_nothing() SELECT 'a;b';\n";
    server.client(&sql);
}

/// A tree of every kind of entry that a snapshot holds, names that aren't UTF-8 among them.
pub fn make_tree(content: &Path) {
    let write = |path: &[u8], bytes: &[u8]| {
        let path = content.join(OsStr::from_bytes(path));
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        std::fs::write(path, bytes).expect("write");
    };
    write(b"uploads/2026/11/photo.jpg", &noise(300_000, 1));
    write(b"uploads/2026/11/Et\xe9-latin1.jpg", &noise(20_000, 2));
    write("uploads/2026/11/日本 100%.png".as_bytes(), &noise(20_000, 3));
    write(b"uploads/2026/11/line\nbreak\ttab.txt", b"odd");
    write(b"uploads/2026/11/-dash 'quote\" \\back$(x).txt", b"odd");
    write(b"uploads/empty.txt", b"");
    write(b"uploads/large.bin", &noise(9 << 20, 4));
    write(b"plugins/hello/h.php", b"<?php // Plugin Name: Hello\n");
    write(b"plugins/hello/copy.php", b"<?php // Plugin Name: Hello\n");
    write(b"plugins/hello.php", b"<?php\n");
    write(b"themes/plain/style.css", b"/* Theme Name: Plain */\n");
    write(b"themes/plain/index.php", &b"<?php the_content(); ?>\n".repeat(5_000));
    std::fs::create_dir_all(content.join("uploads/nothing")).expect("mkdir");
    std::os::unix::fs::symlink("photo.jpg", content.join("uploads/2026/11/link.jpg")).expect("symlink");
    std::os::unix::fs::symlink(OsStr::from_bytes(b"gone\xff"), content.join("uploads/dangling")).expect("symlink");
    super::agent::set_mode(&content.join("plugins/hello/h.php"), 0o640);
    super::agent::set_mode(&content.join("uploads/nothing"), 0o2750);
    age(content);
}

/// Sets all times an hour back: a tree that has been left alone.
pub fn age(content: &Path) {
    let status = std::process::Command::new("find")
        .arg(content)
        .args(["-exec", "touch", "--no-dereference", "--date=2026-01-02 03:04:05.123456789", "{}", "+"])
        .status()
        .expect("find");
    assert!(status.success());
}

/// Bytes that don't compress, the same for the same seed.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_derive_key("wp-backup-agent tests: noise").update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
