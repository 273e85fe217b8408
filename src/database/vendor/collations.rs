//! Character sets and collations that only one of the makers has.

use super::super::lex::{Kind, tokens};
use super::{Adapter, Uncarried};

/// Languages of collations: MySQL's word in those of Unicode 9.0.0, MariaDB's in those of Unicode 14.0.0.
const LANGUAGES: [(&str, &str); 20] = [
    ("cs", "czech"),
    ("da", "danish"),
    ("de_pb", "german2"),
    ("eo", "esperanto"),
    ("es", "spanish"),
    ("es_trad", "spanish2"),
    ("et", "estonian"),
    ("hr", "croatian"),
    ("hu", "hungarian"),
    ("is", "icelandic"),
    ("la", "roman"),
    ("lt", "lithuanian"),
    ("lv", "latvian"),
    ("pl", "polish"),
    ("ro", "romanian"),
    ("sk", "slovak"),
    ("sl", "slovenian"),
    ("sv", "swedish"),
    ("tr", "turkish"),
    ("vi", "vietnamese"),
];

/// The statement with the names of collations that the other server knows; `None` when none was to be changed.
pub(super) fn adapt(adapter: &Adapter, sql: &[u8], changes: &mut Vec<String>) -> Result<Option<Vec<u8>>, Uncarried> {
    let mut mapped = Vec::new();
    for token in tokens(sql).filter(|token| token.kind == Kind::Word) {
        let Ok(word) = std::str::from_utf8(token.text) else { continue };
        if is_unknown_charset(adapter, word.trim_start_matches('_')) {
            return Err(adapter.lacks(&format!("the character set {word}")));
        }
        if let Some(new) = name(adapter, word, changes)? {
            mapped.push((token.at..token.end(), new));
        }
    }
    if mapped.is_empty() {
        return Ok(None);
    }
    let (mut out, mut from) = (Vec::with_capacity(sql.len()), 0);
    for (place, new) in mapped {
        out.extend_from_slice(sql.get(from..place.start).unwrap_or_default());
        out.extend_from_slice(new.as_bytes());
        from = place.end;
    }
    out.extend_from_slice(sql.get(from..).unwrap_or_default());
    Ok(Some(out))
}

/// Whether this is a character set that the other server lacks.
pub(super) fn is_unknown_charset(adapter: &Adapter, word: &str) -> bool {
    adapter.to.is_mariadb() && !adapter.from.is_mariadb() && word.to_ascii_lowercase().starts_with("gb18030")
}

/// What a collation is called on the other server, where it isn't called the same. What changes is told once.
pub(super) fn name(adapter: &Adapter, collation: &str, changes: &mut Vec<String>) -> Result<Option<String>, Uncarried> {
    let lower = collation.to_ascii_lowercase();
    let new = if adapter.from.is_mariadb() {
        of_mariadb(adapter, &lower)
    } else if adapter.to.is_mariadb() {
        of_mysql(adapter, &lower)
    } else {
        None
    };
    let Some((new, loss)) = new else { return Ok(None) };
    let change = match loss {
        None => format!("collation {lower} becomes {new}"),
        Some(loss) => format!("collation {lower} becomes {new}: {loss}"),
    };
    if !changes.contains(&change) {
        changes.push(change);
    }
    Ok(Some(new))
}

const PADDING: &str = "trailing spaces count in comparisons";

/// `utf8mb4_uca1400_german2_nopad_as_ci`: character set, language, whether trailing spaces count, strength.
fn of_mariadb(adapter: &Adapter, name: &str) -> Option<(String, Option<&'static str>)> {
    if let Some((charset, rest)) = name.split_once("_uca1400") {
        if adapter.to.has_uca1400() {
            return None;
        }
        let (rest, strength) = strength(rest)?;
        let (language, nopad) = match rest.strip_suffix("_nopad") {
            Some(language) => (language, true),
            None => (rest, false),
        };
        let language = language.trim_start_matches('_');
        if charset != "utf8mb4" || adapter.to.is_mariadb() {
            let nopad = if nopad && adapter.to.is_mariadb() { "_nopad" } else { "" };
            return Some((format!("{charset}_unicode_520{nopad}_ci"), Some("Unicode 5.2.0, without accents and case")));
        }
        let known = LANGUAGES.iter().find(|(_, mariadb)| *mariadb == language).map(|(mysql, _)| format!("{mysql}_"));
        let loss = match (&known, language.is_empty(), nopad) {
            (None, false, _) => Some("without the language's own order"),
            (_, _, false) => Some(PADDING),
            (_, _, true) => None,
        };
        return Some((format!("utf8mb4_{}0900{strength}", known.unwrap_or_default()), loss));
    }
    if adapter.to.is_mariadb() {
        return None;
    }
    match name {
        "utf8mb4_nopad_bin" => Some(("utf8mb4_0900_bin".into(), None)),
        // MariaDB's older collations in which trailing spaces count.
        _ => match name.rsplit_once("_nopad_") {
            Some((before, kind @ ("ci" | "bin"))) if before.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                Some((format!("{before}_{kind}"), Some("trailing spaces no longer count in comparisons")))
            }
            _ => None,
        },
    }
}

/// `utf8mb4_de_pb_0900_as_cs`: language, strength.
fn of_mysql(adapter: &Adapter, name: &str) -> Option<(String, Option<&'static str>)> {
    if name == "utf8mb4_0900_bin" {
        return Some(("utf8mb4_nopad_bin".into(), None));
    }
    let rest = name.strip_prefix("utf8mb4_")?;
    let (language, rest) = match rest.strip_prefix("0900_") {
        Some(rest) => ("", rest),
        None => rest.split_once("_0900_")?,
    };
    // Japanese tells kinds of kana apart, too.
    let (strength, kana) = match rest.strip_suffix("_ks") {
        Some(strength) => (strength, true),
        None => (rest, false),
    };
    if !matches!(strength, "ai_ci" | "as_ci" | "as_cs") {
        return None;
    }
    if !adapter.to.has_uca1400() {
        return Some(("utf8mb4_unicode_520_nopad_ci".into(), Some("Unicode 5.2.0, without accents and case")));
    }
    let known = LANGUAGES.iter().find(|(mysql, _)| *mysql == language).map(|(_, mariadb)| format!("{mariadb}_"));
    let loss = (kana || (known.is_none() && !language.is_empty())).then_some("without the language's own order");
    Some((format!("utf8mb4_uca1400_{}nopad_{strength}", known.unwrap_or_default()), loss))
}

/// Takes `_ai_ci`, `_as_ci` or `_as_cs` off the end. (MySQL has no `_ai_cs`.)
fn strength(rest: &str) -> Option<(&str, &'static str)> {
    let known = [("_ai_ci", "_ai_ci"), ("_as_ci", "_as_ci"), ("_as_cs", "_as_cs"), ("_ai_cs", "_as_cs")];
    known.into_iter().find_map(|(mariadb, mysql)| Some((rest.strip_suffix(mariadb)?, mysql)))
}
