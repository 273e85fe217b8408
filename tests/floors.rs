//! The floors of src/lib.rs: a module imports only from those below it. Whoever climbs, or goes sideways, fails here.

// Helpers of a test: clippy's allowance covers only what stands in a #[test] itself.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// The modules by height. Those of one line know nothing of each other; an import must lead to a line below.
const FLOORS: [&[&str]; 11] = [
    &["error"],
    &["progress"],
    &["config"],
    &["storage"],
    &["repository"],
    &["database", "files", "wordpress"],
    &["backup", "restore"],
    &["standby"],
    &["daemon"],
    &["cli"],
    // The model and what the fuzz targets call are of tests only.
    &["main", "model", "fuzzing"],
];

fn height(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn every_module_imports_downwards_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&source);
    assert!(files.len() > 10, "the sources were not found");
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&source).unwrap();
        let module = module_path(inside);
        let text = fs::read_to_string(&file).unwrap();
        wrong.extend(violations(&module, &text).into_iter().map(|what| format!("src/{}: {what}", inside.display())));
    }
    assert!(wrong.is_empty(), "imports that climb or go sideways (see src/lib.rs):\n{}", wrong.join("\n"));
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// `config/check.rs` → `config`, `check`; `config/mod.rs` → `config`; `lib.rs` → nothing.
fn module_path(file: &Path) -> Vec<String> {
    let mut path: Vec<String> = file.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if matches!(path.last().map(String::as_str), Some("mod" | "lib")) {
        path.pop();
    }
    path
}

/// What is wrong with a file of this module, in words.
fn violations(module: &[String], text: &str) -> Vec<String> {
    // lib.rs names all of them.
    let Some(own) = module.first() else { return Vec::new() };
    let Some(here) = height(own) else { return vec![format!("module `{own}` has no floor: give it one in tests/floors.rs")] };
    let mut wrong: Vec<String> = imports(module, text)
        .into_iter()
        .filter(|import| import != own && height(import).is_some_and(|there| there >= here))
        .map(|import| format!("`{own}` may not import `{import}`"))
        .collect();
    wrong.dedup();
    wrong
}

/// The top-level modules that a file names: after `crate::`, after the package's name, or by climbing with `super::`.
fn imports(module: &[String], text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let at = |index: usize| tokens.get(index).map_or("", String::as_str);
    let mut found = Vec::new();
    // The `{` of each inline module that is open, as the depth of brackets around it.
    let (mut depth, mut inline) = (0_usize, Vec::new());
    let mut index = 0;
    while index < tokens.len() {
        match at(index) {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inline.pop_if(|around| *around == depth);
            }
            "mod" if at(index + 2) == "{" => inline.push(depth),
            "crate" | "wp_backup_agent" if at(index + 1) == "::" && at(index.wrapping_sub(1)) != "::" => {
                heads(&tokens, index + 2, &mut found);
            }
            "super" => {
                let mut climbed = 1;
                while at(index + 1) == "::" && at(index + 2) == "super" {
                    climbed += 1;
                    index += 2;
                }
                if climbed >= module.len() + inline.len() && at(index + 1) == "::" {
                    heads(&tokens, index + 2, &mut found);
                }
            }
            _ => {}
        }
        index += 1;
    }
    found
}

/// The first names of the path, or of each path of the group, that begins at `index`.
fn heads(tokens: &[String], index: usize, found: &mut Vec<String>) {
    let group = tokens.get(index).is_some_and(|token| token == "{");
    if !group {
        found.extend(tokens.get(index).cloned());
        return;
    }
    let (mut depth, mut first) = (0, true);
    for token in &tokens[index..] {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => first = true,
            name if depth == 1 && first => {
                found.push(name.to_owned());
                first = false;
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

/// Names, `::`, and single signs; without comments, strings and characters.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' | 'b' | 'c' if raw_string(rest).is_some() => raw_string(rest).unwrap(),
            '\'' => character(rest),
            _ if first.is_alphanumeric() || first == '_' => {
                let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                tokens.push(rest[..length].to_owned());
                length
            }
            ':' if rest.starts_with("::") => {
                tokens.push("::".to_owned());
                2
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(first.to_string());
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `r"…"`, `br#"…"#` and their like.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.trim_start_matches('#').starts_with('"') && rest.starts_with(['#', '"']))
    })?;
    let hashes = text[prefix.len()..].chars().take_while(|c| *c == '#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = prefix.len() + hashes + 1;
    Some(text[begin..].find(&end).map_or(text.len(), |at| begin + at + end.len()))
}

/// A character, or the sign of a lifetime.
fn character(text: &str) -> usize {
    let mut inside = text.char_indices().skip(1);
    match (inside.next(), inside.next()) {
        (Some((_, '\\')), Some((escaped, c))) => {
            let after = escaped + c.len_utf8();
            text[after..].find('\'').map_or(text.len(), |end| after + end + 1)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

mod the_checker_itself {
    use super::*;

    fn found(file: &str, text: &str) -> Vec<String> {
        violations(&module_path(Path::new(file)), text)
    }

    #[test]
    fn climbing_and_going_sideways_fail() {
        for (file, text) in [
            ("storage/mod.rs", "use crate::repository::ids::ChunkId;"),
            ("files/walk.rs", "use crate::database::Dump;"),
            ("files/walk.rs", "use crate::{error::Exit, database::{self, Dump}};"),
            ("files/walk.rs", "use crate::{\n    config::{Settings, Secret},\n    wordpress,\n};"),
            ("backup/mod.rs", "fn f() { crate::restore::run(); }"),
            ("restore/mod.rs", "pub use crate :: backup :: Report;"),
            ("error.rs", "use crate::progress::Event;"),
            ("progress.rs", "use crate::config::Settings;"),
            ("files/mod.rs", "use super::database;"),
            ("files/walk.rs", "use super::super::database::Dump;"),
            ("files/walk.rs", "mod tests { use super::super::super::database::Dump; }"),
            ("files/walk.rs", "mod a {} use super::super::{error, database};"),
            ("daemon/mod.rs", "/// fine\n#[cfg(test)] mod tests { use wp_backup_agent::cli::Args; }"),
            ("files/walk.rs", "const A: char = '\"'; use crate::database; const B: char = '\"';"),
            ("files/walk.rs", "fn f<'a>(x: &'a str) { crate::database::x() }"),
            ("files/walk.rs", "const A: &str = r#\"\"\"#; use crate::database;"),
        ] {
            assert_eq!(found(file, text).len(), 1, "{file}: {text}: {:?}", found(file, text));
        }
        assert!(found("news/mod.rs", "")[0].contains("has no floor"));
    }

    #[test]
    fn going_down_is_fine() {
        for (file, text) in [
            ("files/walk.rs", "use crate::repository::{entry::FileEntry, ids::ChunkId}; use crate::error::Explain;"),
            ("files/walk.rs", "use crate::files::open; use super::entry; mod tests { use super::*; use super::super::entry; }"),
            ("config/mod.rs", "use crate::error::Exit;"),
            ("cli/run.rs", "use crate::daemon::{client, database}; use crate::backup;"),
            ("main.rs", "use wp_backup_agent::cli;"),
            (
                "files/walk.rs",
                "// use crate::database;\n/* crate::database /* */ crate::cli */ \"crate::database\" r\"crate::cli\"",
            ),
            ("files/walk.rs", "pub(crate) fn f() {} use std::collections::{self, BTreeMap}; use other::crate::database;"),
            ("lib.rs", "pub mod cli; use crate::cli::Args;"),
        ] {
            assert_eq!(found(file, text), Vec::<String>::new(), "{file}: {text}");
        }
    }
}
