//! What lies around wp-content: the site's root, and plugins and uploads that are kept elsewhere.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use support::agent::{Agent, Store};
use support::bare_site::manifests_in;
use support::mariadb::MariaDb;
use support::small_site::make_tables;

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn the_root_and_what_is_elsewhere_come_back() {
    let (dir, server) = (tempfile::tempdir().unwrap(), MariaDb::start());
    let (root, elsewhere, store) = (dir.path().join("root"), dir.path().join("elsewhere"), dir.path().join("store"));
    fs::create_dir(&store).unwrap();
    make_tables(&server, "blog");
    for (path, content) in [
        ("wp-load.php", "<?php"),
        (".htaccess", "RewriteEngine On"),
        ("robots.txt", "User-agent: *"),
        ("wp-config.php", "<?php define('SECRET', 'x');"),
        ("wp-config.php.bak", "old"),
        (".env", "SECRET=x"),
        ("wp-includes/version.php", "<?php $wp_version = '6.9';"),
        ("wp-admin/index.php", "<?php // modified"),
        ("another-site/index.php", "not ours"),
        ("wp-content/themes/plain/style.css", "a{}"),
    ] {
        write(&root, path, content);
    }
    write(&elsewhere, "uploads/2026/01/a.jpg", "a picture");
    // The active plugin is found where it is.
    write(&elsewhere, "plugins/hello/h.php", "<?php");
    let content = root.join("wp-content");
    let agent = Agent::new(&server, "blog", &content, &Store::Local(&store));
    let trees = format!(
        "path = \"{}\"\nuploads_dir = \"{1}/uploads\"\nplugins_dir = \"{1}/plugins\"",
        root.display(),
        elsewhere.display()
    );
    agent.configure(&server.socket(), &Store::Local(&store), &trees, "");
    agent.snapshot();
    // An unchanged run keeps them.
    agent.snapshot();

    let restored = dir.path().join("restored");
    let restore = |tree: &str| {
        let target = restored.join(tree);
        agent.ok(&["restore", "latest", "--tree", tree, "--files", target.to_str().unwrap()]);
        target
    };
    let back = restore("root");
    for path in ["wp-load.php", ".htaccess", "robots.txt", "wp-includes/version.php", "wp-admin/index.php"] {
        assert_eq!(fs::read(back.join(path)).unwrap(), fs::read(root.join(path)).unwrap(), "{path}");
    }
    for path in ["wp-config.php", "wp-config.php.bak", ".env", "another-site", "wp-content"] {
        assert!(!back.join(path).exists(), "{path} is not for the store");
    }
    for tree in ["uploads", "plugins"] {
        support::compare::same_tree(&elsewhere.join(tree), &restore(tree)).unwrap();
    }
    // The files of wp-content are what they were, alone.
    let files = restored.join("content");
    agent.ok(&["restore", "latest", "--files", files.to_str().unwrap()]);
    support::compare::same_tree(&content, &files).unwrap();
    let shown = agent.ok(&["snapshots", "show", "latest"]);
    assert!(shown.contains("root") && shown.contains("uploads"), "{shown}");
    // wp-content is another tree, and not left out.
    let newest = fs::read(manifests_in(&store).last().unwrap()).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&newest).unwrap();
    let excluded = &manifest["excluded"];
    let others: Vec<_> = excluded.as_array().unwrap().iter().filter(|one| one["rule"] == "root:another directory").collect();
    assert!(matches!(others[..], [one] if one["files"] == 1 && one["subjects"] == 1), "{excluded}");
    let told = agent.run(&["restore", "latest", "--tree", "nonsense", "--files", "/nowhere/x"]);
    assert!(!told.status.success());
}
