//! The text of a configuration file: from the parser's byte offsets to lines and keys, and from its errors to ours.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Position};
use super::raw::RawConfig;
use super::suggest::nearest;

/// The file's text and name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a Path,
}

impl Source<'_> {
    /// The line of a byte offset, counted from 1.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
    }

    /// The place of something that is written.
    pub(super) fn at(&self, key: &str, span: &Range<usize>) -> Position {
        Position { path: self.path.to_owned(), line: Some(self.line(span)), key: key.to_owned() }
    }

    /// The place of something that isn't.
    pub(super) fn absent(&self, key: &str) -> Position {
        Position { path: self.path.to_owned(), line: None, key: key.to_owned() }
    }

    /// As it is written, types and keys checked.
    pub(super) fn parse(&self) -> Result<RawConfig, ConfigError> {
        toml::from_str(self.text).map_err(|error| self.explain(&error))
    }

    /// The parser's error in our words. Its own `Display` would quote the line, which may hold a secret.
    fn explain(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span();
        let mut key = span.as_ref().and_then(|span| self.key_at(span)).unwrap_or_default();
        let mut at = Position { path: self.path.to_owned(), line: span.as_ref().map(|span| self.line(span)), key: String::new() };
        let message = error.message();
        // serde's wording: unknown field `a`, expected one of `b`, `c`
        let mut quoted = message.split('`').skip(1).step_by(2);
        let invalid = |at, what: String, advice| ConfigError::Invalid { at, what, advice };
        if message.starts_with("unknown field") {
            let unknown = quoted.next().unwrap_or_default();
            let advice =
                secret_advice(unknown).or_else(|| nearest(unknown, quoted).map(|known| format!("did you mean `{known}`?")));
            key = if key.is_empty() { unknown.to_owned() } else { key };
            at.key = key;
            let known = "the keys that there are stand in docs/CONFIGURATION.md and in config.example.toml".to_owned();
            return invalid(at, "there is no such key".to_owned(), advice.or(Some(known)));
        }
        if message.starts_with("missing field") {
            let missing = quoted.next().unwrap_or_default();
            at.key = if missing == "store" { String::new() } else { key };
            return invalid(at, format!("`{missing}` is missing"), Some("config.example.toml shows it".to_owned()));
        }
        at.key = key;
        invalid(at, message.replace('\n', ", "), None)
    }

    /// The key whose name or value stands at a place: the innermost one.
    fn key_at(&self, wanted: &Range<usize>) -> Option<String> {
        let table = DeTable::parse(self.text).ok()?;
        let mut best = None;
        search(table.get_ref(), &mut Vec::new(), wanted, &mut best);
        best.map(|(_, key)| key)
    }
}

/// Someone who writes a secret into the configuration is told where secrets go.
fn secret_advice(key: &str) -> Option<String> {
    let advice = match key {
        "password" | "pass" | "passwd" => "password_file = \"/etc/wp-backup-agent/credentials/…\", or password_credential",
        "secret_access_key" | "secret_key" | "secret" => {
            "secret_access_key_file = \"/etc/wp-backup-agent/credentials/…\", or secret_access_key_credential"
        }
        _ => return None,
    };
    Some(format!("secrets don't belong in this file: write it into a file of its own and name that: {advice}"))
}

type Best = Option<(usize, String)>;

fn search(table: &DeTable<'_>, path: &mut Vec<String>, wanted: &Range<usize>, best: &mut Best) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        consider(&key.span(), path, wanted, best);
        consider(&value.span(), path, wanted, best);
        descend(value, path, wanted, best);
        path.pop();
    }
}

fn descend(value: &Spanned<DeValue<'_>>, path: &mut Vec<String>, wanted: &Range<usize>, best: &mut Best) {
    match value.get_ref() {
        DeValue::Table(table) => search(table, path, wanted, best),
        DeValue::Array(values) => values.iter().for_each(|value| descend(value, path, wanted, best)),
        _ => {}
    }
}

/// The smallest span around the wanted one names it best.
fn consider(span: &Range<usize>, path: &[String], wanted: &Range<usize>, best: &mut Best) {
    if span.start <= wanted.start && wanted.end <= span.end && best.as_ref().is_none_or(|(length, _)| span.len() <= *length) {
        *best = Some((span.len(), path.join(".")));
    }
}
