//! What the fuzz targets hold against SQL: a server's own text, and what a snapshot says is it (see `crate::fuzzing`).

use super::apart::apart;
use super::boundary::key_hash;
use super::framing::{frame, summary};
use super::lex::tokens;
use super::literal::{Literal, from_hex, quote, quoted, unquote};
pub use super::load::fuzzing::rows;
use super::{Adapter, Definer, Vendor, ddl, grants, late_keys, statements, table_of_trigger, with_definer};
use crate::repository::byte_text::ByteText;

/// Text that is to be SQL: tokens are all of it, statements come back as they were framed, and values as they were written.
pub fn sql(data: &[u8]) {
    let (mut joined, mut at) = (Vec::new(), 0);
    for token in tokens(data) {
        assert!(token.at == at && !token.text.is_empty());
        at = token.end();
        joined.extend_from_slice(token.text);
    }
    assert_eq!(joined, data);

    if let Some(found) = statements(data) {
        assert!(found.map(<[u8]>::len).sum::<usize>() <= data.len());
    }
    let parts: Vec<&[u8]> = data.split(|byte| *byte == 0).collect();
    let framed = frame(&parts);
    assert_eq!(statements(&framed).expect("it was framed just now").collect::<Vec<_>>(), parts);
    assert!(summary(data).chars().count() <= 121);
    assert!(apart(data).is_none_or(|apart| apart.text.len() < data.len()));

    let kinds = [Literal::Text, Literal::Enum { has_empty: true }, Literal::Ascii, Literal::Hex, Literal::Json, Literal::RowEnd];
    for kind in kinds.into_iter().chain([Literal::Number, Literal::Double]) {
        let mut written = Vec::new();
        kind.write(Some(data), &mut written);
        assert_eq!(written.len(), if kind == Literal::Hex && data.is_empty() { 2 } else { kind.size(Some(data)) });
        if kind == Literal::Hex && !data.is_empty() {
            assert_eq!(from_hex(&written).as_deref(), Some(data));
        }
    }
    let mut literal = Vec::new();
    quote(data, &mut literal);
    assert_eq!(unquote(&literal).as_deref(), Some(data));
    for text in [literal, quoted(data)] {
        let mut all = tokens(&text);
        assert!(all.next().is_some_and(|token| token.text == text) && all.next().is_none(), "a quoted value is one token");
    }
    let _ = (unquote(data), from_hex(data), key_hash([Some(data), None].into_iter()));
    let text = String::from_utf8_lossy(data);
    let _ = (Vendor::of(&text), Definer::parse(&text));
}

/// CREATE statements: what is taken out of them, and what is put in, leaves them bounded and their statements as many.
pub fn definitions(data: &[u8]) {
    let (rest, definer) = ddl::take_definer(data);
    assert!(rest.len() + definer.map_or(0, |definer| definer.len()) <= data.len());
    let (rest, counter) = ddl::take_counter(data);
    assert!(if counter.is_some() { rest.len() < data.len() } else { rest == data });
    for mariadb in [false, true] {
        // Strings may become hexadecimal.
        assert!(ddl::table(data, b"blog", mariadb).0.len() <= 3 * data.len());
    }
    assert!(ddl::or_replace(data).len() <= data.len() + 11);
    assert!(ddl::unqualified_trigger(data).len() <= data.len());
    let without = ddl::without_schema(data, b"blog");
    assert!(without.len() <= data.len());

    for late in [false, true] {
        let Some(parts) = late_keys::part(data, late) else { continue };
        assert!(parts.keys.iter().chain(&parts.foreign).all(|statement| statement.starts_with(b"ALTER TABLE `")));
        assert!(
            parts.create.len() <= 2 * data.len()
                && late_keys::part(&parts.create, false).is_none_or(|again| again.foreign.is_none())
        );
    }
    assert!(late_keys::column(data, b"a").is_none_or(|column| column.starts_with(b"`a`")));

    let chunk = frame(&[b"SET NAMES utf8mb4".as_slice(), data]);
    let _ = (table_of_trigger(data), table_of_trigger(&chunk));
    for definer in [Definer::Drop, Definer::Keep, Definer::Account(ByteText::from("`a`@`b`"))] {
        let had = ByteText::from("`x`@`%`");
        let _ = with_definer(data, &had, &definer);
        if let Some(changed) = with_definer(&chunk, &had, &definer) {
            assert_eq!(statements(&changed).expect("a chunk").count(), 2);
        }
    }
}

/// Statements of one server for another: refused by name, or bounded, and read by the same code again.
pub fn vendors(data: &[u8]) {
    const WAYS: [(&str, &str); 4] = [
        ("11.8.3-MariaDB", "9.4.0"),
        ("9.4.0", "11.8.3-MariaDB"),
        ("11.8.3-MariaDB", "10.6.18-MariaDB"),
        ("9.4.0", "10.6.18-MariaDB"),
    ];
    let chunk = frame(&[b"SET NAMES utf8mb4".as_slice(), data]);
    for (from, to) in WAYS {
        let adapter = Adapter::between(Vendor::of(from), Vendor::of(to)).expect("servers that differ");
        match adapter.statement(data) {
            Ok(adapted) => {
                assert!(adapted.sql.len() <= 16 * data.len() + 64 && adapted.changes.len() <= data.len());
                let _ = adapter.statement(&adapted.sql);
            }
            Err(uncarried) => assert!(!uncarried.what.is_empty()),
        }
        if let Ok(adapted) = adapter.chunk(&chunk) {
            assert_eq!(statements(&adapted.sql).expect("a chunk").count(), 2);
        }
        let _ = adapter.chunk(data);
    }
}

/// What SHOW GRANTS says, a line each; the last line is the schema's name.
pub fn grants(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let Some((schema, lines)) = lines.split_last() else { return };
    grants::fuzzed(lines, schema);
}
