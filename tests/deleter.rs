//! Who may delete from the store: pruning, and nothing else can even name the trait that does.

#![allow(clippy::unwrap_used)]

use std::path::Path;

/// The modules that may name it, beside the stores themselves.
const ALLOWED: [&str; 6] =
    ["storage", "repository/prune.rs", "repository/prune", "cli/prune.rs", "daemon/agent.rs", "daemon/pruning.rs"];

#[test]
fn only_pruning_can_delete() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut seen, mut wrong) = (0, Vec::new());
    for entry in walkdir::WalkDir::new(&source).into_iter().map(Result::unwrap) {
        let inside = entry.path().strip_prefix(&source).unwrap();
        if entry.path().extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let names = ["Deleter", "open_deleter", "remove_object", "delete_object"].iter().any(|word| text.contains(word));
        seen += usize::from(names);
        if names && !inside.starts_with("storage.rs") && !ALLOWED.iter().any(|allowed| inside.starts_with(allowed)) {
            wrong.push(inside.display().to_string());
        }
    }
    assert!(seen > 3, "the sources were not found");
    assert!(wrong.is_empty(), "these can delete from the store, and are no part of pruning: {wrong:?}");
}
