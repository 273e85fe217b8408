use std::fs;
use std::time::Duration;

use super::*;
use crate::config::{Address, DatabaseSettings, DumpSettings, Secret, SiteName, Tls};

fn site(content: &Path) -> SiteSettings {
    SiteSettings {
        name: SiteName::new("blog").unwrap(),
        root: content.parent().map(Path::to_owned),
        content_dir: content.to_owned(),
        table_prefix: "wp_".to_owned(),
        database: DatabaseSettings {
            address: Address::Socket("/run/x.sock".into()),
            user: "u".to_owned(),
            password: Secret::default(),
            name: "n".to_owned(),
            tls: Tls::Off,
            dump: DumpSettings::default(),
        },
        schedule: None,
        time_zone: None,
        exclude: Vec::new(),
        default_excludes: true,
        update_wait: Duration::ZERO,
        reread: 0,
        trees: Vec::new(),
        include_wp_config: false,
        follow_links_into: Vec::new(),
        recipients: Default::default(),
        trusted: Default::default(),
        prune: None,
        verify: None,
    }
}

/// A check of a site with a theme, its parent, and a plugin.
struct Blog {
    _root: tempfile::TempDir,
    check: ReferenceCheck,
}

impl Blog {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let check = ReferenceCheck::new(&site(&root.path().join("wp-content")), root.path()).unwrap();
        let mut blog = Self { _root: root, check };
        blog.check.tables(CORE_TABLES.map(|name| format!("wp_{name}")).iter().map(String::as_bytes));
        for (name, value) in [
            ("siteurl", "https://example.org/wp"),
            ("home", "https://example.org"),
            ("blogname", "A blog"),
            ("template", "parent"),
            ("stylesheet", "child"),
            ("db_version", "57155"),
            ("active_plugins", "a:1:{i:0;s:19:\"akismet/akismet.php\";}"),
        ] {
            blog.option(name, value);
        }
        blog
    }

    fn option(&mut self, name: &str, value: &str) {
        self.check.row(QueryId::Options, &[Some(name.into()), Some(value.into())]).unwrap();
    }

    fn attach(&mut self, file: &str) {
        self.check.row(QueryId::Attachments, &[Some(file.into()), None]).unwrap();
    }

    fn finish(self, files: &[&str]) -> (Vec<(FindingCode, String, String)>, SiteFacts) {
        let mut lookup = self.check.look_up().unwrap();
        for file in files {
            lookup.see(file.as_bytes(), FileKind::File);
        }
        told(lookup)
    }
}

fn told(lookup: FileLookup) -> (Vec<(FindingCode, String, String)>, SiteFacts) {
    let (findings, facts) = lookup.finish().unwrap();
    (findings.into_iter().map(|finding| (finding.code, finding.subject.to_string(), finding.detail)).collect(), facts)
}

const CODE: [&str; 3] = ["plugins/akismet/akismet.php", "themes/child/style.css", "themes/parent/style.css"];

#[test]
fn nothing_is_found_when_all_is_there() {
    let mut blog = Blog::new();
    blog.attach("2026/01/a.jpg");
    let (findings, facts) = blog.finish(&[&CODE[..], &["uploads/2026/01/a.jpg"]].concat());
    assert_eq!(findings, []);
    assert_eq!(facts.siteurl.as_deref(), Some("https://example.org/wp"));
    assert_eq!((facts.stylesheet.as_deref(), facts.active_plugins.len()), (Some("child"), 1));
    assert_eq!(facts.counts, Counts { attachments: 1, files: 1, missing_attachments: 0, missing_files: 0 });
}

#[test]
fn what_is_missing_is_named() {
    let mut blog = Blog::new();
    blog.attach("2026/01/a.jpg");
    blog.attach("2026/01/b.jpg");
    let (findings, facts) = blog.finish(&[CODE[1], "uploads/2026/01/a.jpg"]);
    let named: Vec<_> = findings.iter().map(|(code, subject, _)| (*code, subject.as_str())).collect();
    assert_eq!(
        named,
        [
            (FindingCode::CodeMissing, CODE[0]),
            (FindingCode::CodeMissing, CODE[2]),
            (FindingCode::AttachmentMissing, "uploads/2026/01/b.jpg")
        ]
    );
    assert_eq!(facts.counts.missing_attachments, 1);
}

#[test]
fn core_tables_and_options_are_missed() {
    let root = tempfile::tempdir().unwrap();
    let mut check = ReferenceCheck::new(&site(root.path()), root.path()).unwrap();
    check.tables(["wp_options", "WP_Users", "wp_shop_posts", "x"].map(str::as_bytes));
    assert_eq!(check.queries().iter().map(|query| query.id).collect::<Vec<_>>(), [QueryId::Options]);
    let (findings, _) = told(check.look_up().unwrap());
    let named: Vec<_> = findings.iter().map(|(_, subject, _)| subject.as_str()).collect();
    assert!(named.contains(&"wp_posts") && named.contains(&"wp_options: siteurl"), "{named:?}");
    assert!(!named.contains(&"wp_options") && !named.contains(&"wp_users"));
    assert!(findings.iter().all(|(code, ..)| *code == FindingCode::CoreMissing));
}

#[test]
fn an_empty_address_is_missed() {
    let mut blog = Blog::new();
    blog.option("siteurl", "");
    blog.option("blogname", "");
    let (findings, _) = blog.finish(&CODE);
    let named: Vec<_> = findings.iter().map(|(code, subject, _)| (*code, subject.as_str())).collect();
    assert_eq!(named, [(FindingCode::CoreMissing, "wp_options: siteurl")]);
}

#[test]
fn a_directory_is_no_file_and_a_link_is_named_as_the_reason() {
    let mut blog = Blog::new();
    blog.attach("a.jpg");
    let mut lookup = blog.check.look_up().unwrap();
    lookup.see(b"uploads/a.jpg", FileKind::Dir);
    lookup.see(b"themes/child", FileKind::Symlink);
    lookup.see(CODE[0].as_bytes(), FileKind::Symlink);
    let (findings, _) = told(lookup);
    assert_eq!(findings.len(), 3, "{findings:?}");
    assert!(findings[0].1 == CODE[1] && findings[0].2.contains("themes/child is a symlink"), "{findings:?}");
    assert!(findings[2].1 == "uploads/a.jpg" && !findings[2].2.contains("symlink"), "{findings:?}");
}

#[test]
fn many_missing_attachments_are_one_finding() {
    for (missing, plugin, findings_wanted) in [(20, "x/x.php", 20), (21, "wp-stateless/wp-stateless-media.php", 1)] {
        let mut blog = Blog::new();
        blog.option("active_plugins", &format!("a:1:{{i:0;s:{}:\"{plugin}\";}}", plugin.len()));
        (0..missing).for_each(|number| blog.attach(&format!("{number}.jpg")));
        let plugin_file = format!("plugins/{plugin}");
        let (findings, facts) = blog.finish(&[CODE[1], CODE[2], &plugin_file]);
        assert_eq!(findings.len(), findings_wanted, "{findings:?}");
        assert_eq!(facts.counts.missing_attachments, missing);
        if findings_wanted == 1 {
            assert!(findings[0].2.starts_with("21 of 21 attachments") && findings[0].2.contains("wp-stateless"), "{findings:?}");
        }
    }
}

#[test]
fn findings_are_bounded() {
    let mut blog = Blog::new();
    let total = FINDING_LIMIT + 5;
    (0..total).for_each(|number| blog.attach(&format!("{number}.jpg")));
    (0..5 * total).for_each(|number| blog.attach(&format!("there/{number}.jpg")));
    let mut lookup = blog.check.look_up().unwrap();
    CODE.iter().for_each(|path| lookup.see(path.as_bytes(), FileKind::File));
    (0..5 * total).for_each(|number| lookup.see(format!("uploads/there/{number}.jpg").as_bytes(), FileKind::File));
    let (findings, facts) = told(lookup);
    assert_eq!(findings.len(), FINDING_LIMIT + 1);
    assert!(findings.last().unwrap().2.starts_with("5 more files"));
    assert_eq!(facts.counts.missing_files, total as u64);
}

#[test]
fn uploads_elsewhere_are_said_to_be_outside() {
    let mut blog = Blog::new();
    blog.option("upload_path", "/mnt/media");
    blog.attach("a.jpg");
    let (findings, _) = blog.finish(&CODE);
    assert_eq!(findings.len(), 1);
    assert!(findings[0].1 == "/mnt/media" && findings[0].2.contains("outside of wp-content"), "{findings:?}");
}

#[test]
fn the_constant_uploads_is_taken_from_wp_config() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("wp-config.php"), "<?php define('UPLOADS', 'wp-content/media');").unwrap();
    let mut check = ReferenceCheck::new(&site(&root.path().join("wp-content")), root.path()).unwrap();
    check.row(QueryId::Attachments, &[Some(b"a.jpg".to_vec()), None]).unwrap();
    let (findings, _) = told(check.look_up().unwrap());
    assert!(findings.iter().any(|(_, subject, _)| subject == "media/a.jpg"), "{findings:?}");
}

#[test]
fn hostile_rows_do_no_harm() {
    let mut blog = Blog::new();
    blog.option("active_plugins", "a:3:{i:0;s:16:\"../../etc/passwd\";i:1;a:0:{}i:2;s:0:\"\";}");
    blog.option("template", "../../x");
    for row in [vec![], vec![None], vec![None, Some(b"x".to_vec())], vec![Some(b"\xff\0".to_vec()), Some(b"a:9:{".to_vec())]] {
        blog.check.row(QueryId::Attachments, &row).unwrap();
        blog.check.row(QueryId::Options, &row).unwrap();
    }
    let (findings, _) = blog.finish(&CODE);
    assert_eq!(findings, []);
}
