//! What a restore reads in the SQL of views, routines, triggers and events: where a DEFINER belongs, and whose trigger it is.

use super::framing::{frame, statements};
use super::lex::{Kind, Token, tokens};
use super::literal::quoted;
use crate::repository::byte_text::ByteText;

/// Whose rights a restored view, routine, trigger or event runs with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Definer {
    /// The account that restores becomes the definer of all.
    #[default]
    Drop,
    /// Each keeps its own. The server lets few accounts do this.
    Keep,
    /// This account, as SQL, becomes the definer of all.
    Account(ByteText),
}

impl Definer {
    /// `drop`, `keep`, or an account as `USER@HOST`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "drop" => Some(Self::Drop),
            "keep" => Some(Self::Keep),
            _ => {
                let (user, host) = text.rsplit_once('@')?;
                let account = [quoted(user.as_bytes()), quoted(host.as_bytes())].join(b"@".as_slice());
                (!user.is_empty() && !host.is_empty()).then_some(Self::Account(ByteText(account)))
            }
        }
    }

    /// What an object that had this definer gets.
    fn of<'a>(&'a self, definer: &'a ByteText) -> Option<&'a ByteText> {
        match self {
            Self::Drop => None,
            Self::Keep => Some(definer),
            Self::Account(account) => Some(account),
        }
    }
}

/// The chunk of an object that had the definer `had`, with the one that it is to have; `None` when it stays as it is.
pub fn with_definer(sql: &[u8], had: &ByteText, definer: &Definer) -> Option<Vec<u8>> {
    let account = definer.of(had)?.as_bytes();
    let all: Vec<Vec<u8>> = statements(sql)?.map(|statement| defined_by(statement, account)).collect();
    Some(frame(&all))
}

/// A CREATE statement with its definer in the place that the grammar has for it; any other statement as it is.
fn defined_by(statement: &[u8], account: &[u8]) -> Vec<u8> {
    let mut words = tokens(statement).filter(|token| token.kind != Kind::Blank).peekable();
    let Some(create) = words.next().filter(|token| token.is("CREATE")) else { return statement.to_vec() };
    let mut at = create.end();
    if words.next_if(|token| token.is("OR")).is_some() {
        at = words.next_if(|token| token.is("REPLACE")).map_or(at, |token| token.end());
    }
    if words.next_if(|token| token.is("ALGORITHM")).is_some() {
        words.next_if(|token| token.is_symbol(b'='));
        at = words.next().map_or(at, |token| token.end());
    }
    let (before, after) = statement.split_at_checked(at).unwrap_or((statement, b""));
    [before, b" DEFINER=", account, after].concat()
}

/// The table that a trigger's chunk names.
pub fn table_of_trigger(sql: &[u8]) -> Option<ByteText> {
    let create = statements(sql)?.find(|statement: &&[u8]| tokens(statement).next().is_some_and(|token| token.is("CREATE")))?;
    // … TRIGGER name BEFORE INSERT ON table FOR EACH ROW …: names are quoted, or can't be ON.
    let mut words = tokens(create).filter(|token| token.kind != Kind::Blank);
    words.find(|token| token.is("TRIGGER"))?;
    words.next()?;
    words.find(|token| token.is("ON"))?;
    words.next().map(|token| unquoted(&token))
}

fn unquoted(token: &Token<'_>) -> ByteText {
    let text = token.text;
    let inner = text.get(1..text.len().saturating_sub(1)).filter(|_| token.kind == Kind::Quoted);
    let Some(inner) = inner else { return text.into() };
    let quote = text.first().copied().unwrap_or_default();
    let mut name = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().peekable();
    while let Some(byte) = bytes.next() {
        name.push(*byte);
        if *byte == quote {
            bytes.next_if(|next| **next == quote);
        }
    }
    ByteText(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(statements: &[&str]) -> Vec<u8> {
        frame(statements)
    }

    #[test]
    fn the_definer_stands_where_the_grammar_has_it() {
        let had = ByteText::from("`a`@`%`");
        for (plain, defined) in [
            (
                "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET @a=1",
                "CREATE DEFINER=`a`@`%` TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET @a=1",
            ),
            (
                "CREATE OR REPLACE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW `v` AS select 1",
                "CREATE OR REPLACE ALGORITHM=MERGE DEFINER=`a`@`%` SQL SECURITY INVOKER VIEW `v` AS select 1",
            ),
            ("CREATE OR REPLACE VIEW v AS select 1", "CREATE OR REPLACE DEFINER=`a`@`%` VIEW v AS select 1"),
            ("SET sql_mode=''", "SET sql_mode=''"),
        ] {
            let expected = chunk(&["SET NAMES utf8mb4", defined]);
            assert_eq!(with_definer(&chunk(&["SET NAMES utf8mb4", plain]), &had, &Definer::Keep), Some(expected));
        }
        let sql = chunk(&["CREATE EVENT `e` DO SELECT 1"]);
        assert_eq!(with_definer(&sql, &had, &Definer::Drop), None);
        let other = with_definer(&sql, &had, &Definer::parse("o`ps@10.0.0.%").unwrap()).unwrap();
        assert_eq!(other, chunk(&["CREATE DEFINER=`o``ps`@`10.0.0.%` EVENT `e` DO SELECT 1"]));
    }

    #[test]
    fn what_names_no_account_is_refused() {
        assert_eq!(Definer::parse("keep"), Some(Definer::Keep));
        assert_eq!(Definer::parse("drop"), Some(Definer::Drop));
        for text in ["", "root", "@localhost", "root@"] {
            assert_eq!(Definer::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_triggers_table_is_found() {
        for (create, table) in [
            ("CREATE trigger tr before insert on `my``table` for each row set @a=1", "my`table"),
            ("CREATE TRIGGER `on` AFTER UPDATE ON plain FOR EACH ROW FOLLOWS `x` SET @a='on y'", "plain"),
            ("CREATE TRIGGER \"tr\" BEFORE INSERT ON \"comp\"\"o\" FOR EACH ROW SET NEW.\"v\" = 1", "comp\"o"),
        ] {
            assert_eq!(table_of_trigger(&chunk(&["SET sql_mode=''", create])), Some(table.into()), "{create}");
        }
        assert_eq!(table_of_trigger(&chunk(&["SET sql_mode=''"])), None);
    }
}
