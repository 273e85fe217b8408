//! Patterns in a piece of a definition: found outside parentheses, quotes and comments, and taken out or replaced.

use super::super::lex::{Kind, Token, tokens};

/// One element of a pattern. Blanks between two don't count.
#[derive(Debug, Clone, Copy)]
pub(super) enum P<'a> {
    /// This keyword.
    W(&'a str),
    /// This option's name: MariaDB quotes those of engines' own options.
    O(&'a str),
    /// This symbol.
    S(u8),
    /// This symbol or nothing.
    Maybe(u8),
    /// Any one token.
    Any,
    /// `(…)`.
    Parens,
}

/// Replaces the first match by `with`, or takes it out together with the blank before it; what matched, or `None`.
pub(super) fn swap(text: &mut Vec<u8>, pattern: &[P<'_>], with: &[u8]) -> Option<String> {
    let (from, to) = find(text, pattern)?;
    let found = String::from_utf8_lossy(text.get(from..to)?).into_owned();
    let mut start = from;
    if with.is_empty() {
        while start > 0 && text.get(start - 1).is_some_and(u8::is_ascii_whitespace) {
            start -= 1;
        }
    }
    text.splice(start..to, with.iter().copied());
    Some(found)
}

/// Whether the pattern is there.
pub(super) fn has(text: &[u8], pattern: &[P<'_>]) -> bool {
    find(text, pattern).is_some()
}

/// Where the first match begins and ends, in bytes.
pub(super) fn find(text: &[u8], pattern: &[P<'_>]) -> Option<(usize, usize)> {
    let list: Vec<Token<'_>> = tokens(text).collect();
    let mut depth = 0u32;
    for (at, token) in list.iter().enumerate() {
        if token.is_symbol(b')') {
            depth = depth.saturating_sub(1);
        }
        if depth == 0
            && token.kind != Kind::Blank
            && let Some(end) = matched(&list, at, pattern)
        {
            return Some((token.at, end));
        }
        if token.is_symbol(b'(') {
            depth += 1;
        }
    }
    None
}

fn matched(list: &[Token<'_>], from: usize, pattern: &[P<'_>]) -> Option<usize> {
    let (mut at, mut end) = (from, 0);
    for element in pattern {
        while list.get(at)?.kind == Kind::Blank {
            at += 1;
        }
        let token = list.get(at)?;
        let fits = match element {
            P::W(word) => token.is(word),
            P::O(word) => token.is(word) || is_quoted(token, word),
            P::S(symbol) => token.is_symbol(*symbol),
            P::Maybe(symbol) if !token.is_symbol(*symbol) => continue,
            P::Maybe(_) => true,
            P::Any => !token.is_symbol(b'(') && !token.is_symbol(b')'),
            P::Parens => token.is_symbol(b'('),
        };
        if !fits {
            return None;
        }
        end = token.end();
        at += 1;
        if matches!(element, P::Parens) {
            let mut depth = 1u32;
            while depth > 0 {
                let token = list.get(at)?;
                if token.is_symbol(b'(') {
                    depth += 1;
                } else if token.is_symbol(b')') {
                    depth -= 1;
                }
                end = token.end();
                at += 1;
            }
        }
    }
    Some(end)
}

fn is_quoted(token: &Token<'_>, word: &str) -> bool {
    let inner = token.text.strip_prefix(b"`").and_then(|text| text.strip_suffix(b"`"));
    inner.is_some_and(|inner| inner.eq_ignore_ascii_case(word.as_bytes()))
}

/// The text with what stands in `/*!80000 … */` as if it stood there plainly.
pub(super) fn unwrapped(text: &[u8]) -> Vec<u8> {
    let list: Vec<Token<'_>> = tokens(text).collect();
    let symbol = |at: usize, symbol: u8| list.get(at).is_some_and(|t| t.is_symbol(symbol));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    let mut inside = false;
    while let Some(token) = list.get(at) {
        if symbol(at, b'/') && symbol(at + 1, b'*') && symbol(at + 2, b'!') {
            inside = true;
            at += 3;
            // The version, and the blank after it.
            at += usize::from(list.get(at).is_some_and(|t| t.text.iter().all(u8::is_ascii_digit)));
            at += usize::from(list.get(at).is_some_and(|t| t.kind == Kind::Blank));
        } else if inside && symbol(at, b'*') && symbol(at + 1, b'/') {
            inside = false;
            at += 2;
            while out.last().is_some_and(u8::is_ascii_whitespace) {
                out.pop();
            }
        } else {
            out.extend_from_slice(token.text);
            at += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_outside_parentheses_and_quotes() {
        let mut text = b"`a` int CHECK (a NOT  NULL) COMMENT 'NOT NULL' NOT  NULL DEFAULT 1".to_vec();
        assert_eq!(swap(&mut text, &[P::W("NOT"), P::W("NULL")], b"").unwrap(), "NOT  NULL");
        assert_eq!(text, b"`a` int CHECK (a NOT  NULL) COMMENT 'NOT NULL' DEFAULT 1");
        assert_eq!(swap(&mut text, &[P::W("check"), P::Parens], b"X").unwrap(), "CHECK (a NOT  NULL)");
        assert!(!has(&text, &[P::W("NOT")]));
        let mut text = b") ENGINE=Aria `PAGE_COMPRESSED`='1' X 3".to_vec();
        swap(&mut text, &[P::O("PAGE_COMPRESSED"), P::Maybe(b'='), P::Any], b"").unwrap();
        swap(&mut text, &[P::W("X"), P::Maybe(b'='), P::Any], b"").unwrap();
        assert_eq!(text, b") ENGINE=Aria");
    }

    #[test]
    fn executable_comments_are_unwrapped() {
        assert_eq!(unwrapped(b"a /*!80023 INVISIBLE */, '/*!1 x */' /*!50100 P (B*2) */"), b"a INVISIBLE, '/*!1 x */' P (B*2)");
        assert_eq!(unwrapped(b"/*!"), b"");
    }
}
