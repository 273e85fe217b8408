//! A statement's long values apart from its text: a server takes them in pieces before the statement runs, so that neither side has to hold the
//! whole statement in one buffer, and a value of bytes goes as it is, not as twice as many digits.

use super::lex::{Kind, tokens};
use super::literal::{from_hex, unquote};

/// Shorter values stay in the text.
const LONG: usize = 256 << 10;

/// A statement with `?` in place of its long values, and those.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Apart {
    pub(super) text: Vec<u8>,
    pub(super) values: Vec<Vec<u8>>,
}

/// Takes a statement of ours apart; `None` when it has no long values.
pub(super) fn apart(statement: &[u8]) -> Option<Apart> {
    let (mut text, mut values) = (Vec::new(), Vec::new());
    let mut after_word = false;
    for token in tokens(statement) {
        let value = match token.kind {
            _ if token.text.len() < LONG => None,
            // A word before it says what character set it is of.
            Kind::Quoted if !after_word => unquote(token.text),
            Kind::Word => from_hex(token.text),
            _ => None,
        };
        after_word = token.kind == Kind::Word;
        match value {
            Some(value) => {
                text.push(b'?');
                values.push(value);
            }
            None => text.extend_from_slice(token.text),
        }
    }
    (!values.is_empty()).then_some(Apart { text, values })
}

#[cfg(test)]
mod tests {
    use super::super::literal::Literal;
    use super::*;
    use proptest::prelude::*;

    fn statement(values: &[(Literal, &[u8])]) -> Vec<u8> {
        let mut sql = b"INSERT INTO `t?` (`:a`) VALUES\n(-5".to_vec();
        for (literal, value) in values {
            sql.push(b',');
            literal.write(Some(value), &mut sql);
        }
        sql.push(b')');
        sql
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn values_come_back_whole(seed in any::<[u8; 8]>(), size in LONG..LONG + 9) {
            let value: Vec<u8> = seed.iter().copied().cycle().take(size).collect();
            let sql = statement(&[(Literal::Text, &value), (Literal::Text, b"?:x'"), (Literal::Hex, &value), (Literal::Json, &value)]);
            let Apart { text, values } = apart(&sql).unwrap();
            prop_assert_eq!(text, b"INSERT INTO `t?` (`:a`) VALUES\n(-5,?,'?:x\\'',?,CONVERT(? USING utf8mb4))");
            prop_assert_eq!(values, [value.clone(), value.clone(), value]);
        }
    }

    #[test]
    fn what_is_short_or_of_a_character_set_stays() {
        let long = vec![b'a'; LONG];
        assert_eq!(apart(&statement(&[(Literal::Text, b"a"), (Literal::Hex, b"a"), (Literal::Ascii, &long)])), None);
    }
}
