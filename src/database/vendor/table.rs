//! A table's CREATE statement: its columns, keys and constraints one by one, then its options.

use super::super::lex::{Kind, Token, tokens};
use super::edit::P::{Any, Maybe, O, Parens, S, W};
use super::edit::{P, find, has, swap, unwrapped};
use super::{Adapter, Uncarried};

/// The statement as the other server takes it.
pub(super) fn adapt(adapter: &Adapter, create: &[u8], changes: &mut Vec<String>) -> Result<Vec<u8>, Uncarried> {
    let crossing = adapter.from.maker != adapter.to.maker;
    let plain = match crossing && adapter.to.is_mariadb() {
        true => without_introducers(&unwrapped(create)),
        false => create.to_vec(),
    };
    let Some(Parts { head, items, mut tail }) = parts(&plain) else { return Ok(plain) };
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        let mut change = |what: String| changes.push(format!("{}: {what}", subject(&item)));
        let adapted = match (is_column(&item), crossing, adapter.to.is_mariadb()) {
            (true, false, _) => Some(vector(adapter, item.clone(), &mut change)),
            (true, true, false) => Some(column_for_mysql(adapter, item.clone(), &mut change)?),
            (true, true, true) => Some(column_for_mariadb(adapter, item.clone(), &mut change)),
            (false, false, _) => vector_key(adapter, item.clone(), &mut change),
            (false, true, false) => key_for_mysql(adapter, item.clone(), &tail, &mut change)?,
            (false, true, true) => key_for_mariadb(item.clone(), &mut change),
        };
        kept.extend(adapted);
    }
    if crossing {
        let mut change = |what: String| changes.push(format!("the table: {what}"));
        match adapter.to.is_mariadb() {
            false => options_for_mysql(adapter, &mut tail, &mut change)?,
            true => options_for_mariadb(&mut tail, &mut change),
        }
    }
    Ok([head.as_slice(), &kept.join(&b','), &tail].concat())
}

/// MySQL writes `_utf8mb4` before each string of an expression: the character set that definitions are loaded in. MariaDB, when it reads an
/// expression of its own again, takes neither a quote in a string that has such a word before it, nor bytes beyond ASCII.
fn without_introducers(create: &[u8]) -> Vec<u8> {
    let list: Vec<Token<'_>> = tokens(create).collect();
    let text = |at: usize| list.get(at).map_or(b"".as_slice(), |token| token.text);
    let (mut out, mut at) = (Vec::with_capacity(create.len()), 0);
    while let Some(token) = list.get(at) {
        let charset = if token.kind == Kind::Word { token.text.strip_prefix(b"_") } else { None };
        match charset {
            Some(b"utf8mb4") if text(at + 1).starts_with(b"'") => {}
            Some(charset) if text(at + 1) == b" " && text(at + 2).starts_with(b"0x") => {
                out.extend_from_slice(&[b"convert(", text(at + 2), b" using ", charset, b")"].concat());
                at += 2;
            }
            _ => out.extend_from_slice(token.text),
        }
        at += 1;
    }
    out
}

struct Parts {
    /// To the parenthesis.
    head: Vec<u8>,
    /// What stands between its commas.
    items: Vec<Vec<u8>>,
    /// From the closing parenthesis on.
    tail: Vec<u8>,
}

fn parts(create: &[u8]) -> Option<Parts> {
    let (mut depth, mut from, mut head, mut items) = (0u32, 0, None, Vec::new());
    for token in tokens(create) {
        if token.is_symbol(b'(') {
            depth += 1;
            if depth == 1 {
                head = Some(create.get(..token.end())?.to_vec());
                from = token.end();
            }
        } else if token.is_symbol(b')') {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                items.push(create.get(from..token.at)?.to_vec());
                return Some(Parts { head: head?, items, tail: create.get(token.at..)?.to_vec() });
            }
        } else if token.is_symbol(b',') && depth == 1 {
            items.push(create.get(from..token.at)?.to_vec());
            from = token.end();
        }
    }
    None
}

fn is_column(item: &[u8]) -> bool {
    first(item).is_some_and(|token| token.kind == Kind::Quoted)
}

fn first(item: &[u8]) -> Option<Token<'_>> {
    tokens(item).find(|token| token.kind != Kind::Blank)
}

/// What an item is about, for a person: its first name, and before it what it is.
fn subject(item: &[u8]) -> String {
    let list: Vec<Token<'_>> = tokens(item).filter(|token| token.kind != Kind::Blank).collect();
    let to = list.iter().position(|token| token.kind == Kind::Quoted || token.is_symbol(b'(')).unwrap_or(0);
    let words = list.iter().take(to + 1).map(|token| String::from_utf8_lossy(token.text)).collect::<Vec<_>>().join(" ");
    if to == 0 { format!("column {words}") } else { words }
}

/// The type's word of a column, in lower case.
fn type_of(item: &[u8]) -> String {
    let word = tokens(item).filter(|token| token.kind != Kind::Blank).nth(1);
    word.map(|token| String::from_utf8_lossy(token.text).to_ascii_lowercase()).unwrap_or_default()
}

/// VECTOR as the bytes that it consists of, where the server has none.
fn vector(adapter: &Adapter, mut item: Vec<u8>, change: &mut dyn FnMut(String)) -> Vec<u8> {
    if type_of(&item) != "vector" || adapter.to.has_vectors() {
        return item;
    }
    let parens = find(&item, &[W("VECTOR"), Parens]).and_then(|(from, to)| String::from_utf8(item.get(from..to)?.to_vec()).ok());
    let digits: String = parens.unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    let bytes = digits.parse::<u64>().unwrap_or(2048).saturating_mul(4);
    let new = format!("varbinary({bytes})");
    if let Some(old) = swap(&mut item, &[W("VECTOR"), Parens], new.as_bytes()) {
        change(format!("{old} becomes {new}"));
    }
    item
}

fn vector_key(adapter: &Adapter, item: Vec<u8>, change: &mut dyn FnMut(String)) -> Option<Vec<u8>> {
    if first(&item).is_some_and(|token| token.is("VECTOR")) && !(adapter.to.is_mariadb() && adapter.to.has_vectors()) {
        change(format!("left out, {} has no such index", adapter.to));
        return None;
    }
    Some(item)
}

fn column_for_mysql(adapter: &Adapter, item: Vec<u8>, change: &mut dyn FnMut(String)) -> Result<Vec<u8>, Uncarried> {
    let mut item = vector(adapter, item, change);
    const COMPRESSED: [P<'_>; 8] = [S(b'/'), S(b'*'), W("M"), S(b'!'), Any, W("COMPRESSED"), S(b'*'), S(b'/')];
    if swap(&mut item, &COMPRESSED, b"").is_some() {
        change("no longer compressed by itself".into());
    }
    const TYPES: [(&str, &str); 4] = [
        ("uuid", "char(36) CHARACTER SET ascii"),
        ("inet6", "varchar(45) CHARACTER SET ascii"),
        ("inet4", "varchar(15) CHARACTER SET ascii"),
        ("xmltype", "longtext"),
    ];
    let kind = type_of(&item);
    if let Some((old, new)) = TYPES.iter().find(|(old, _)| *old == kind) {
        // The name may be the same word, in quotes.
        let name = first(&item).map_or(0, |token| token.end());
        let mut rest = item.split_off(name);
        swap(&mut rest, &[W(old)], new.as_bytes());
        item.append(&mut rest);
        change(format!("type {old} becomes {new}"));
    }
    if let Some((from, to)) = default_of(&item) {
        let value = item.get(from..to).unwrap_or_default().to_vec();
        if has(&value, &[W("nextval"), Parens]) || has(&value, &[W("NEXT"), W("VALUE")]) {
            return Err(adapter.lacks(&format!("{}: a default from a sequence", subject(&item))));
        }
        let literal = is_literal(&value);
        let large = ["text", "blob", "json", "geometry", "point", "linestring", "polygon", "geometrycollection", "vector"]
            .iter()
            .any(|word| kind.ends_with(word));
        if value.first() != Some(&b'(') && (!literal || (large && !value.eq_ignore_ascii_case(b"NULL"))) {
            item.splice(from..to, [b"(", value.as_slice(), b")"].concat());
        }
    }
    Ok(item)
}

/// Where the value of DEFAULT stands: up to the next attribute outside parentheses.
fn default_of(item: &[u8]) -> Option<(usize, usize)> {
    const NEXT: [&str; 8] = ["COMMENT", "CHECK", "ON", "INVISIBLE", "NOT", "AUTO_INCREMENT", "WITHOUT", "WITH"];
    let (_, after) = find(item, &[W("DEFAULT")])?;
    let (mut depth, mut from, mut to) = (0u32, None, after);
    for token in tokens(item).filter(|token| token.at >= after && token.kind != Kind::Blank) {
        if depth == 0 && NEXT.iter().any(|word| token.is(word)) {
            break;
        }
        if token.is_symbol(b'(') {
            depth += 1;
        } else if token.is_symbol(b')') {
            depth = depth.saturating_sub(1);
        }
        from.get_or_insert(token.at);
        to = token.end();
    }
    Some((from?, to))
}

/// What stands after DEFAULT without parentheses on all servers: a constant, or the time.
fn is_literal(value: &[u8]) -> bool {
    let list: Vec<Token<'_>> = tokens(value).filter(|token| token.kind != Kind::Blank).collect();
    let time = ["current_timestamp", "now", "localtime", "localtimestamp"];
    match list.as_slice() {
        [] => true,
        [token] => token.kind == Kind::Quoted || token.is("NULL") || token.is("TRUE") || token.is("FALSE") || is_number(token),
        // Also with its number of digits: current_timestamp(6).
        [word, open, .., close] if open.is_symbol(b'(') && close.is_symbol(b')') && list.len() <= 4 => {
            time.iter().any(|name| word.is(name))
        }
        // -1.5, 1.5, b'101', x'ff'
        [first, rest @ ..] => {
            let bits = (first.is("b") || first.is("x")) && rest.iter().all(|token| token.kind == Kind::Quoted);
            bits || list.iter().all(|token| is_number(token) || [b'-', b'+', b'.'].iter().any(|s| token.is_symbol(*s)))
        }
    }
}

fn is_number(token: &Token<'_>) -> bool {
    token.kind == Kind::Word && token.text.first().is_some_and(u8::is_ascii_digit)
}

fn key_for_mysql(
    adapter: &Adapter,
    item: Vec<u8>,
    tail: &[u8],
    change: &mut dyn FnMut(String),
) -> Result<Option<Vec<u8>>, Uncarried> {
    let Some(mut item) = vector_key(adapter, item, change) else { return Ok(None) };
    if first(&item).is_some_and(|token| token.is("PERIOD")) {
        return Err(adapter.lacks("a period (PERIOD FOR)"));
    }
    // MariaDB makes unique keys of any length by hashes of what they hold.
    if has(&item, &[W("UNIQUE")]) && has(&item, &[W("USING"), W("HASH")]) && !has(tail, &[W("ENGINE"), S(b'='), W("MEMORY")]) {
        change("left out, a unique key of such length is too long there".into());
        return Ok(None);
    }
    if swap(&mut item, &[W("IGNORED")], b"INVISIBLE").is_some() {
        change("an ignored index is called invisible there".into());
    }
    // Names of the server's making. MySQL wants such names to be unique in the schema.
    let list: Vec<Token<'_>> = tokens(&item).filter(|token| token.kind != Kind::Blank).collect();
    if let [constraint, name, check, ..] = list.as_slice()
        && constraint.is("CONSTRAINT")
        && check.is("CHECK")
        && name.text.starts_with(b"`CONSTRAINT_")
    {
        let blank = item.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let rest = item.get(check.at..).unwrap_or_default().to_vec();
        change("gets a name from the server".into());
        item = [item.get(..blank).unwrap_or_default(), &rest].concat();
    }
    Ok(Some(item))
}

fn options_for_mysql(adapter: &Adapter, tail: &mut Vec<u8>, change: &mut dyn FnMut(String)) -> Result<(), Uncarried> {
    if has(tail, &[W("WITH"), W("SYSTEM"), W("VERSIONING")]) {
        return Err(adapter.lacks("a table that keeps its history (WITH SYSTEM VERSIONING)"));
    }
    if has(tail, &[W("SEQUENCE"), Maybe(b'='), Any]) {
        return Err(adapter.lacks("a sequence"));
    }
    if swap(tail, &[W("ENGINE"), S(b'='), W("Aria")], b"ENGINE=InnoDB").is_some() {
        change("engine Aria becomes InnoDB".into());
        swap(tail, &[W("ROW_FORMAT"), Maybe(b'='), W("PAGE")], b"");
    }
    const OPTIONS: [&str; 9] = [
        "PAGE_CHECKSUM",
        "TRANSACTIONAL",
        "PAGE_COMPRESSED",
        "PAGE_COMPRESSION_LEVEL",
        "ENCRYPTED",
        "ENCRYPTION_KEY_ID",
        "IETF_QUOTES",
        "TABLE_CHECKSUM",
        "WITH_SYSTEM_VERSIONING",
    ];
    leave_out(tail, &OPTIONS, change);
    Ok(())
}

fn column_for_mariadb(adapter: &Adapter, item: Vec<u8>, change: &mut dyn FnMut(String)) -> Vec<u8> {
    let mut item = vector(adapter, item, change);
    match type_of(&item).as_str() {
        // Another word for the same.
        "geomcollection" => drop(swap(&mut item, &[W("geomcollection")], b"geometrycollection")),
        "json" => change("json is text there, checked to be valid".into()),
        _ => {}
    }
    let generated = has(&item, &[W("GENERATED"), W("ALWAYS")]);
    const ATTRIBUTES: [&[P<'_>]; 5] = [
        &[W("SRID"), Any],
        &[W("STORAGE"), Any],
        &[W("COLUMN_FORMAT"), Any],
        &[W("ENGINE_ATTRIBUTE"), Maybe(b'='), Any],
        &[W("SECONDARY_ENGINE_ATTRIBUTE"), Maybe(b'='), Any],
    ];
    for attribute in ATTRIBUTES {
        if let Some(old) = swap(&mut item, attribute, b"") {
            change(format!("{old} is left out"));
        }
    }
    if let Some(old) = swap(&mut item, &[W("NOT"), W("SECONDARY")], b"") {
        change(format!("{old} is left out"));
    }
    if generated && swap(&mut item, &[W("NOT"), W("NULL")], b"").is_some() {
        change("NOT NULL is left out, a generated column has no such thing there".into());
    }
    item
}

fn key_for_mariadb(mut item: Vec<u8>, change: &mut dyn FnMut(String)) -> Option<Vec<u8>> {
    if has(&item, &[W("CHECK"), Parens]) && has(&item, &[W("NOT"), W("ENFORCED")]) {
        change("left out, a check that isn't enforced has no place there".into());
        return None;
    }
    if of_expression(&item) {
        change("left out, an index of an expression has no place there".into());
        return None;
    }
    if let Some(old) = swap(&mut item, &[W("WITH"), W("PARSER"), Any], b"") {
        change(format!("{old} is left out"));
    }
    if let Some(old) = swap(&mut item, &[W("ENGINE_ATTRIBUTE"), Maybe(b'='), Any], b"") {
        change(format!("{old} is left out"));
    }
    if swap(&mut item, &[W("INVISIBLE")], b"IGNORED").is_some() {
        change("an invisible index is called ignored there".into());
    }
    Some(item)
}

/// Whether one of the parts of this key is an expression: it stands in parentheses of its own.
fn of_expression(item: &[u8]) -> bool {
    if has(item, &[W("CHECK"), Parens]) {
        return false;
    }
    let list: Vec<Token<'_>> = tokens(item).filter(|token| token.kind != Kind::Blank).collect();
    let mut depth = 0u32;
    for (at, token) in list.iter().enumerate() {
        if token.is_symbol(b'(') {
            depth += 1;
            let starts = at.checked_sub(1).and_then(|at| list.get(at)).is_some_and(|t| t.is_symbol(b'(') || t.is_symbol(b','));
            if depth == 2 && starts {
                return true;
            }
        } else if token.is_symbol(b')') {
            depth = depth.saturating_sub(1);
        }
    }
    false
}

fn options_for_mariadb(tail: &mut Vec<u8>, change: &mut dyn FnMut(String)) {
    swap(tail, &[W("DEFAULT"), W("ENCRYPTION")], b" ENCRYPTION");
    const OPTIONS: [&str; 8] = [
        "COMPRESSION",
        "ENCRYPTION",
        "AUTOEXTEND_SIZE",
        "ENGINE_ATTRIBUTE",
        "SECONDARY_ENGINE",
        "SECONDARY_ENGINE_ATTRIBUTE",
        "SECONDARY_LOAD",
        "TABLESPACE",
    ];
    leave_out(tail, &OPTIONS, change);
}

/// Takes `OPTION=value` out.
fn leave_out(text: &mut Vec<u8>, options: &[&str], change: &mut dyn FnMut(String)) {
    for option in options {
        if let Some(old) = swap(text, &[O(option), Maybe(b'='), Any], b"") {
            // Servers of one release quote an engine's options, and not their values, and others the other way round.
            let plain = old.replace(['`', '\''], "");
            change(format!("{plain} is left out"));
        }
    }
}
