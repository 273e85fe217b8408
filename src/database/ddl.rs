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
