//! SQL text as the server prints it, in tokens: just enough to tell words from what is quoted or commented.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters, digits, `_`, `$`, `@` and every byte that isn't ASCII.
    Word,
    /// `'…'`, `"…"` or `` `…` ``, quotes included.
    Quoted,
    /// Whitespace or a comment.
    Blank,
    /// One byte of anything else.
    Symbol,
}

/// A piece of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a [u8],
    /// Where it begins.
    pub(super) at: usize,
}

impl Token<'_> {
    /// Whether it is this keyword.
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word.as_bytes())
    }

    /// Whether it is this symbol.
    pub(super) fn is_symbol(&self, symbol: u8) -> bool {
        self.kind == Kind::Symbol && self.text == [symbol]
    }

    /// Where it ends.
    pub(super) fn end(&self) -> usize {
        self.at + self.text.len()
    }
}

/// The tokens of a text. Their texts, one after the other, are the text.
pub(super) fn tokens(text: &[u8]) -> impl Iterator<Item = Token<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let (kind, length) = first(rest)?;
        let token = Token { kind, text: rest.get(..length)?, at };
        at += length;
        Some(token)
    })
}

fn first(rest: &[u8]) -> Option<(Kind, usize)> {
    let byte = *rest.first()?;
    let run = |fits: fn(u8) -> bool| rest.iter().position(|b| !fits(*b)).unwrap_or(rest.len());
    let to_line_end = || rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    Some(match byte {
        b'\'' | b'"' | b'`' => (Kind::Quoted, quoted(rest, byte)),
        b'#' => (Kind::Blank, to_line_end()),
        b'-' if rest.starts_with(b"-- ") || rest.starts_with(b"--\n") => (Kind::Blank, to_line_end()),
        // `/*!` is code for the server.
        b'/' if rest.starts_with(b"/*") && !rest.starts_with(b"/*!") && !rest.starts_with(b"/*M!") => {
            (Kind::Blank, rest.windows(2).skip(2).position(|w| w == b"*/").map_or(rest.len(), |at| at + 4))
        }
        _ if byte.is_ascii_whitespace() => (Kind::Blank, run(|b| b.is_ascii_whitespace())),
        _ if is_word(byte) => (Kind::Word, run(is_word)),
        _ => (Kind::Symbol, 1),
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'_' | b'$' | b'@')
}

/// The length of what begins with this quote.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut bytes = rest.iter().enumerate().skip(1).peekable();
    while let Some((at, byte)) = bytes.next() {
        if *byte == b'\\' && quote != b'`' {
            bytes.next();
        } else if *byte == quote && bytes.next_if(|(_, next)| **next == quote).is_none() {
            return at + 1;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_are_the_text(text in "[a '\"`\\\\/*!#\n-]{0,40}") {
            let joined: Vec<u8> = tokens(text.as_bytes()).flat_map(|t| t.text.to_vec()).collect();
            prop_assert_eq!(joined, text.into_bytes());
        }
    }

    #[test]
    fn a_doubled_quote_is_one_name() {
        let texts: Vec<_> = tokens(b"`a``b`.'''' ''").map(|t| String::from_utf8_lossy(t.text).into_owned()).collect();
        assert_eq!(texts, ["`a``b`", ".", "''''", " ", "''"]);
    }

    #[test]
    fn words_in_quotes_and_comments_are_no_words() {
        let words = |text: &'static str| -> Vec<String> {
            tokens(text.as_bytes())
                .filter(|t| t.kind == Kind::Word)
                .map(|t| String::from_utf8_lossy(t.text).into_owned())
                .collect()
        };
        assert_eq!(words("a 'b \\' c' `d``e` /* f */ g -- h\n# i\nj /*!50100 k */"), ["a", "g", "j", "50100", "k"]);
    }
}
