//! What SHOW CREATE says, made fit for loading elsewhere: without DEFINER, AUTO_INCREMENT counter and schema name.

use super::lex::{Kind, Token, tokens};
use super::literal::quoted;

/// Takes `DEFINER=…` out of a CREATE statement; returns the rest and the definer as it stood.
///
/// It is looked for where the grammar has it, before the kind of object, never in bodies, comments or strings.
pub(super) fn take_definer(create: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let whole = || (create.to_vec(), None);
    let mut list = tokens(create).peekable();
    let Some(start) = list.by_ref().find_map(|token| match &token {
        t if t.is("DEFINER") => Some(Some(t.at)),
        t if t.is("TRIGGER") || t.is("VIEW") || t.is("EVENT") || t.is("PROCEDURE") || t.is("FUNCTION") || t.is("PACKAGE") => {
            Some(None)
        }
        _ => None,
    }) else {
        return whole();
    };
    let Some(start) = start else { return whole() };
    while list.next_if(|t| t.kind == Kind::Blank || t.is_symbol(b'=')).is_some() {}
    let Some(from) = list.peek().map(|t| t.at) else { return whole() };
    let mut to = from;
    while let Some(token) = list.next_if(|t| t.kind != Kind::Blank) {
        to = token.end();
    }
    let mut end = to;
    while let Some(token) = list.next_if(|t| t.kind == Kind::Blank) {
        end = token.end();
    }
    let (Some(before), Some(definer), Some(after)) = (create.get(..start), create.get(from..to), create.get(end..)) else {
        return whole();
    };
    ([before, after].concat(), Some(definer.to_vec()))
}

/// Takes the AUTO_INCREMENT counter out of a table's CREATE statement: it changes nightly, the definition doesn't.
pub(super) fn take_counter(create: &[u8]) -> (Vec<u8>, Option<u64>) {
    let mut depth = 0u32;
    let mut past_columns = false;
    let mut list = tokens(create).peekable();
    while let Some(token) = list.next() {
        if token.is_symbol(b'(') {
            depth += 1;
        } else if token.is_symbol(b')') {
            depth = depth.saturating_sub(1);
            past_columns |= depth == 0;
        } else if past_columns && depth == 0 && token.is("AUTO_INCREMENT") && list.next_if(|t| t.is_symbol(b'=')).is_some() {
            let Some(number) = list.next_if(|t| t.kind == Kind::Word) else { continue };
            let counter = std::str::from_utf8(number.text).ok().and_then(|digits| digits.parse().ok());
            let end = list.next_if(|t| t.kind == Kind::Blank).map_or(number.end(), |blank| blank.end());
            if let (Some(counter), Some(before), Some(after)) = (counter, create.get(..token.at), create.get(end..)) {
                return ([before, after].concat(), Some(counter));
            }
        }
    }
    (create.to_vec(), None)
}

/// A table's CREATE statement as it is loaded elsewhere, and its AUTO_INCREMENT counter.
pub(super) fn table(create: &[u8], schema: &[u8], mariadb: bool) -> (Vec<u8>, Option<u64>) {
    let (create, counter) = take_counter(create);
    let create = without_schema(&create, schema);
    (if mariadb { create } else { with_strings_in_hex(&with_inherited_collations(&create)) }, counter)
}

/// MySQL's text of a table whose expressions hold strings in other character sets: it prints `_latin1'…'` in that character set, in the midst of
/// UTF-8. In hexadecimal every server reads it alike.
fn with_strings_in_hex(create: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(create.len());
    let mut introduced = false;
    for token in tokens(create) {
        if introduced && token.text.starts_with(b"'") && !token.text.is_ascii() {
            out.extend_from_slice(b" 0x");
            out.extend(unquoted(token.text).iter().flat_map(|byte| format!("{byte:02X}").into_bytes()));
        } else {
            out.extend_from_slice(token.text);
        }
        introduced = token.kind == Kind::Word && token.text.starts_with(b"_") && !token.is("_utf8mb4") && !token.is("_utf8mb3");
    }
    out
}

/// The value of a string literal as the server prints it.
fn unquoted(literal: &[u8]) -> Vec<u8> {
    let inner = literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default();
    let (mut out, mut bytes) = (Vec::with_capacity(inner.len()), inner.iter().copied());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\'' => bytes.next().unwrap_or(byte),
            b'\\' => match bytes.next() {
                Some(b'0') => 0,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'b') => 8,
                Some(b'Z') => 0x1a,
                Some(other) => other,
                None => byte,
            },
            _ => byte,
        });
    }
    out
}

/// MySQL's text of a table without COLLATE where columns have it from the table: it prints that without CHARACTER SET, but takes it as given
/// to the column itself, and then prints CHARACTER SET, too.
fn with_inherited_collations(create: &[u8]) -> Vec<u8> {
    let list: Vec<Token<'_>> = tokens(create).collect();
    let is = |at: usize, word: &str| list.get(at).is_some_and(|t| t.is(word));
    let (mut depth, mut own) = (0u32, None);
    // `COLLATE x` in a column that has no character set of its own; `COLLATE=x` of the table.
    let (mut explicit, mut places) = (false, Vec::new());
    for (at, token) in list.iter().enumerate() {
        match depth {
            _ if token.is_symbol(b'(') => depth += 1,
            _ if token.is_symbol(b')') => depth = depth.saturating_sub(1),
            0 if token.is("COLLATE") && list.get(at + 1).is_some_and(|t| t.is_symbol(b'=')) => own = list.get(at + 2),
            1 if token.is_symbol(b',') => explicit = false,
            1 if token.is("CHARACTER") && is(at + 2, "SET") => explicit = true,
            1 if token.is("COLLATE") && !explicit => places.push(at),
            _ => {}
        }
    }
    let Some(own) = own else { return create.to_vec() };
    let inherited = |at: usize| list.get(at + 2).is_some_and(|t| t.text == own.text);
    // The word, the blank before it, the blank after it, and the name. Places are in order.
    let goes = |at: usize| {
        let near = places.get(places.partition_point(|place| place + 2 < at)..).unwrap_or_default();
        near.iter().take_while(|place| place.saturating_sub(1) <= at).any(|place| inherited(*place))
    };
    list.iter().enumerate().filter(|(at, _)| !goes(*at)).flat_map(|(_, token)| token.text).copied().collect()
}

/// `CREATE …` as `CREATE OR REPLACE …`.
pub(super) fn or_replace(create: &[u8]) -> Vec<u8> {
    match create.strip_prefix(b"CREATE ") {
        Some(rest) if !rest.starts_with(b"OR REPLACE ") => [b"CREATE OR REPLACE ", rest].concat(),
        _ => create.to_vec(),
    }
}

/// A trigger's statement without schema names before the trigger's and the table's: the server keeps it as it was typed.
pub(super) fn unqualified_trigger(create: &[u8]) -> Vec<u8> {
    let list: Vec<Token<'_>> = tokens(create).collect();
    // The header ends with FOR EACH ROW; a dot in it can only follow a schema's name.
    let header = list.iter().position(|t| t.is("EACH")).unwrap_or(0);
    let mut kept: Vec<&[u8]> = Vec::with_capacity(list.len());
    for (at, token) in list.iter().enumerate() {
        if at < header && token.is_symbol(b'.') {
            while kept.pop().is_some_and(|before| before.iter().all(u8::is_ascii_whitespace)) {}
        } else {
            kept.push(token.text);
        }
    }
    kept.concat()
}

/// The server's text of a table or view without its own schema's name, which it writes before sequences, functions, and in views that
/// refer to other schemas. Left as it is when something in it is called like the schema.
pub(super) fn without_schema(create: &[u8], schema: &[u8]) -> Vec<u8> {
    let name = quoted(schema);
    let list: Vec<Token<'_>> = tokens(create).collect();
    let dot = |at: Option<usize>| at.and_then(|at| list.get(at)).is_some_and(|t| t.is_symbol(b'.'));
    let is_schema = |at: usize| list.get(at).is_some_and(|t| t.text == name) && !dot(at.checked_sub(1));
    if (0..list.len()).any(|at| is_schema(at) && !dot(Some(at + 1))) {
        return create.to_vec();
    }
    let goes = |at: usize| is_schema(at) || (dot(Some(at)) && at > 0 && is_schema(at - 1));
    list.iter().enumerate().filter(|(at, _)| !goes(*at)).flat_map(|(_, token)| token.text).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definer(text: &str) -> (String, Option<String>) {
        let (rest, definer) = take_definer(text.as_bytes());
        (String::from_utf8(rest).unwrap(), definer.map(|d| String::from_utf8(d).unwrap()))
    }

    #[test]
    fn the_definer_goes_from_its_place_only() {
        let view = "CREATE ALGORITHM=MERGE DEFINER=`ro``ot`@`%` SQL SECURITY INVOKER VIEW `v` AS select 'DEFINER=`x`@`y` '";
        assert_eq!(
            definer(view),
            (
                "CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW `v` AS select 'DEFINER=`x`@`y` '".into(),
                Some("`ro``ot`@`%`".into())
            )
        );
        let none = "CREATE PROCEDURE `p`() BEGIN /* DEFINER=`a`@`b` */ SELECT DEFINER=1; END";
        assert_eq!(definer(none), (none.into(), None));
        assert_eq!(
            definer("CREATE DEFINER=\"r\"@\"localhost\" trigger t before insert on x for each row set @a=1").0,
            "CREATE trigger t before insert on x for each row set @a=1"
        );
        assert_eq!(definer("CREATE DEFINER=`role` EVENT `e` DO SELECT 1").1.as_deref(), Some("`role`"));
        assert_eq!(
            definer("CREATE OR REPLACE DEFINER=root@localhost FUNCTION f() RETURNS int RETURN 1").1.unwrap(),
            "root@localhost"
        );
    }

    #[test]
    fn the_counter_goes_from_the_options_only() {
        let create = "CREATE TABLE `AUTO_INCREMENT=3` (\n  `a` int(11) NOT NULL AUTO_INCREMENT COMMENT ') AUTO_INCREMENT=4 ',\n  PRIMARY KEY (`a`)\n) ENGINE=InnoDB AUTO_INCREMENT=5 DEFAULT CHARSET=utf8mb4 COMMENT='AUTO_INCREMENT=6 \\' AUTO_INCREMENT=7'";
        let (rest, counter) = take_counter(create.as_bytes());
        assert_eq!(counter, Some(5));
        assert_eq!(String::from_utf8(rest).unwrap(), create.replace("AUTO_INCREMENT=5 ", ""));
        let without = create.replace("AUTO_INCREMENT=5 ", "");
        assert_eq!(take_counter(without.as_bytes()), (without.clone().into_bytes(), None));
    }

    #[test]
    fn the_schemas_own_name_goes() {
        let plain = |text: &str| String::from_utf8(without_schema(text.as_bytes(), b"w`p")).unwrap();
        assert_eq!(plain("a DEFAULT nextval(`w``p`.`s`) COMMENT '`w``p`.`s`'"), "a DEFAULT nextval(`s`) COMMENT '`w``p`.`s`'");
        assert_eq!(plain("select `w``p`.`t`.`w``p` from `x`.`t`"), "select `t`.`w``p` from `x`.`t`");
        let alias = "select `w``p`.`c` from `t` `w``p`";
        assert_eq!(plain(alias), alias);
    }

    #[test]
    fn collations_that_come_from_the_table_go() {
        let create = "CREATE TABLE `t` (\n  `COLLATE x` varchar(5) COLLATE l_ci NOT NULL COMMENT 'a COLLATE l_ci',\n  `b` text CHARACTER SET l COLLATE l_ci,\n  `c` char(1) COLLATE l_bin,\n  `d` int GENERATED ALWAYS AS ((`b` COLLATE l_ci)),\n  KEY (`b`(3))\n) ENGINE=InnoDB DEFAULT CHARSET=l COLLATE=l_ci COMMENT='COLLATE l_ci'";
        let plain = |text: &str| String::from_utf8(with_inherited_collations(text.as_bytes())).unwrap();
        assert_eq!(plain(create), create.replacen(" COLLATE l_ci NOT NULL", " NOT NULL", 1));
        let without = create.replace(" COLLATE=l_ci", "");
        assert_eq!(plain(&without), without);
    }

    #[test]
    fn strings_in_other_character_sets_are_in_hex() {
        assert_eq!(with_strings_in_hex(b"(concat(`l`,_latin1'\xe9\\'''\\n\\\\'))"), b"(concat(`l`,_latin1 0xE927270A5C))");
        for same in ["_utf8mb4'é' 'é' COMMENT 'é'", "_latin1'a' `_latin1` 'é'"] {
            assert_eq!(with_strings_in_hex(same.as_bytes()), same.as_bytes());
        }
    }

    #[test]
    fn a_triggers_schema_goes() {
        let plain = |text: &str| String::from_utf8(unqualified_trigger(text.as_bytes())).unwrap();
        assert_eq!(
            plain("CREATE trigger w.t before insert on `w``x`.`t` for each row set new.a = w.f(1)"),
            "CREATE trigger t before insert on `t` for each row set new.a = w.f(1)"
        );
        assert_eq!(
            plain("CREATE TRIGGER w . t AFTER UPDATE ON x FOR EACH ROW SET @a=1"),
            "CREATE TRIGGER  t AFTER UPDATE ON x FOR EACH ROW SET @a=1"
        );
        let same = "CREATE TRIGGER `a.b` BEFORE DELETE ON `c` FOR EACH ROW BEGIN SELECT 1.5; END";
        assert_eq!(plain(same), same);
    }
}
