//! A real WordPress blog, built by the demo's script.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::mariadb::MariaDb;

/// Builds a blog in `site` with its database in the schema `schema` of `server`. Needs Debian's packages
/// (`tests/demo/install.sh`).
pub fn build_blog(server: &MariaDb, schema: &str, site: &Path) {
    let status = Command::new(script("build-blog.sh"))
        .arg(site)
        .env("BLOG_SOCKET", server.socket())
        .env("BLOG_SCHEMA", schema)
        .stdout(std::process::Stdio::null())
        .status()
        .expect("bash");
    assert!(status.success(), "build-blog.sh failed");
}

/// Makes a day's changes to the blog.
pub fn a_day(site: &Path, day: u32) {
    let status = Command::new("php")
        .arg(script("day.php"))
        .arg(site)
        .arg(day.to_string())
        .stdout(std::process::Stdio::null())
        .status()
        .expect("php");
    assert!(status.success(), "day.php failed");
}

/// One of the demo's scripts.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/demo").join(name)
}
