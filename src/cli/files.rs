//! `files why`: which rule decides about a path.

use std::os::unix::ffi::OsStrExt as _;

use serde::Serialize;

use super::args::{FilesCommand, FilesWhy};
use super::failure::Failure;
use super::output::Output;
use super::sites::choose_site;
use crate::config::Settings;
use crate::error::Exit;
use crate::files::{Answer, Rules, Scope, Tree, Why, below, reason};
use crate::repository::byte_text::ByteText;

/// Runs the subcommand.
pub(super) fn run(settings: &Settings, command: &FilesCommand, out: &mut Output) -> Result<Exit, Failure> {
    let FilesCommand::Why(why) = command;
    let site = choose_site(settings, why.site.as_deref())?;
    // wp-content first: it may be in the root.
    let content = (Scope::Content, &site.content_dir);
    let trees = site.trees.iter().map(|tree| (Scope::of(site, tree.name), &tree.path));
    let mut told = Told::outside(why);
    for (scope, path) in std::iter::once(content).chain(trees) {
        let tree = Tree::open(path)?;
        if let Some(rel) = below(&tree, path, &why.path) {
            let rules = Rules::within(site.default_excludes, &site.exclude, scope)?;
            told = Told::of(&rel, &tree.why(&rules, &rel, is_directory(why))?);
            break;
        }
    }
    if why.json {
        out.json(&serde_json::json!({ "api": 1, "site": site.name.as_str(), "why": told }));
    } else {
        out.line(told.sentence());
    }
    Ok(Exit::Success)
}

/// Whether the path is written as a directory's.
fn is_directory(why: &FilesWhy) -> bool {
    why.path.as_os_str().as_bytes().ends_with(b"/")
}

/// The answer as the JSON has it.
#[derive(Debug, Serialize)]
struct Told {
    path: ByteText,
    /// `captured`, `left-out`, `special-file`, `behind-link`, `unreadable`, `outside`
    result: &'static str,
    exists: bool,
    is_dir: bool,
    /// What decided: the path itself, or a directory or link above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<ByteText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Told {
    fn outside(why: &FilesWhy) -> Self {
        let path = why.path.as_os_str().as_bytes().into();
        let exists = why.path.is_absolute() && why.path.symlink_metadata().is_ok();
        Self { path, result: "outside", exists, is_dir: is_directory(why), at: None, rule: None, reason: None }
    }

    fn of(rel: &[u8], answer: &Answer) -> Self {
        let Answer { why, exists, is_dir } = answer;
        let (result, at, rule, reason) = match why {
            Why::Captured => ("captured", None, None, None),
            Why::LeftOut { at, rule } => ("left-out", Some(at), Some(rule), Some(reason(rule).to_owned())),
            Why::Special => ("special-file", None, None, Some("a socket, FIFO or device has no content".to_owned())),
            Why::BehindLink(at) => ("behind-link", Some(at), None, None),
            Why::Unreadable { at, error } => ("unreadable", Some(at), None, Some(error.clone())),
        };
        Self { path: rel.into(), result, exists: *exists, is_dir: *is_dir, at: at.cloned(), rule: rule.cloned(), reason }
    }

    /// The answer for a person.
    fn sentence(&self) -> String {
        let Self { path, at, rule, .. } = self;
        let path = if path.as_bytes().is_empty() { "wp-content itself".to_owned() } else { path.to_string() };
        let at = at.as_ref().filter(|at| **at != self.path);
        let (reason, rule) = (self.reason.as_deref().unwrap_or_default(), rule.as_deref().unwrap_or_default());
        let what = match (self.result, at) {
            ("outside", _) => return format!("{path}: not captured: it is outside wp-content"),
            ("captured", _) if !self.exists => return format!("{path}: there is no such file; it would be captured"),
            ("captured", _) => return format!("{path}: captured"),
            ("left-out", None) => format!("left out by the rule {rule} ({reason})"),
            ("left-out", Some(at)) => format!("left out with {at}, by the rule {rule} ({reason})"),
            ("special-file", _) => format!("not captured, but named in the snapshot: {reason}"),
            (_, Some(at)) if self.result == "behind-link" => {
                return format!("{path}: not captured by this path: {at} is a symlink, which is captured as a link");
            }
            (_, None) => format!("not captured: it can't be read: {reason}"),
            (_, Some(at)) => format!("not captured: {at} can't be read: {reason}"),
        };
        let missing = if self.exists || self.result == "unreadable" { "" } else { "; there is no such file now" };
        format!("{path}: {what}{missing}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, why: Why, exists: bool) -> String {
        Told::of(path.as_bytes(), &Answer { why, exists, is_dir: false }).sentence()
    }

    #[test]
    fn reads_well() {
        let left_out = |at: &str, rule: &str| Why::LeftOut { at: at.into(), rule: rule.to_owned() };
        assert_eq!(told("a", Why::Captured, true), "a: captured");
        assert_eq!(told("", Why::Captured, true), "wp-content itself: captured");
        assert_eq!(told("a", Why::Captured, false), "a: there is no such file; it would be captured");
        assert_eq!(
            told("cache/a", left_out("cache", "default:cache/"), false),
            "cache/a: left out with cache, by the rule default:cache/ (a page or asset cache, made again on demand); there is no such file now"
        );
        assert_eq!(
            told("a.mp4", left_out("a.mp4", "own:*.mp4"), true),
            "a.mp4: left out by the rule own:*.mp4 (`exclude` in the site's configuration)"
        );
        assert!(told("a/b", Why::BehindLink("a".into()), false).contains("a is a symlink"));
        let unreadable = Why::Unreadable { at: "a".into(), error: "Permission denied".to_owned() };
        assert_eq!(told("a/b", unreadable.clone(), false), "a/b: not captured: a can't be read: Permission denied");
        assert_eq!(told("a", unreadable, true), "a: not captured: it can't be read: Permission denied");
    }
}
