//! The tokens of a PHP file, as far as finding plain definitions needs them. Nothing is ever executed.
//!
//! The reader never fails: what it doesn't know is [`Token::Other`], an unended string or comment ends with the file.

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or keyword, as written; with its namespace separators.
    Word(String),
    /// `$name`, without the dollar sign.
    Variable(String),
    /// A string whose value is known, escapes resolved.
    Text(Vec<u8>),
    /// A string whose value depends on variables, or a heredoc.
    Interpolated,
    /// A number, as written.
    Number(String),
    /// An operator or a bracket, one byte each, but `.=` and `==` (and its like), which would read as something else.
    Sign(u8),
    /// `.=`, `==`, `=>` and other operators that begin like an assignment or a concatenation and are none.
    Other,
}

/// A token and the line that it begins on, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) token: Token,
    pub(super) line: usize,
}

/// The tokens of all PHP sections of `source`, in order; the end of a section is a `;`, as in PHP.
pub(super) fn tokens(source: &[u8]) -> Vec<Located> {
    let mut reader = Reader { rest: source, line: 1, found: Vec::new() };
    while reader.skip_to_php() {
        reader.section();
    }
    reader.found
}

struct Reader<'a> {
    rest: &'a [u8],
    line: usize,
    found: Vec<Located>,
}

impl Reader<'_> {
    /// Steps over at most `count` bytes.
    fn skip(&mut self, count: usize) {
        let (gone, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.line += gone.iter().filter(|b| **b == b'\n').count();
        self.rest = rest;
    }

    fn at(&self, offset: usize) -> Option<u8> {
        self.rest.get(offset).copied()
    }

    /// How many of the next bytes are all `wanted`.
    fn run(&self, wanted: impl Fn(u8) -> bool) -> usize {
        self.rest.iter().take_while(|b| wanted(**b)).count()
    }

    /// Up to the next section; false when there is none.
    fn skip_to_php(&mut self) -> bool {
        let Some(at) = find(self.rest, b"<?") else { return false };
        self.skip(at + 2);
        if self.rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"php")) {
            self.skip(3);
        }
        true
    }

    /// One section, its closing tag included.
    fn section(&mut self) {
        while let Some(byte) = self.at(0) {
            let line = self.line;
            let token = match byte {
                _ if self.rest.starts_with(b"?>") => {
                    self.skip(2);
                    self.found.push(Located { token: Token::Sign(b';'), line });
                    return;
                }
                _ if byte.is_ascii_whitespace() => {
                    self.skip(1);
                    continue;
                }
                b'#' if self.at(1) != Some(b'[') => {
                    self.line_comment();
                    continue;
                }
                b'/' if self.at(1) == Some(b'/') => {
                    self.line_comment();
                    continue;
                }
                b'/' if self.at(1) == Some(b'*') => {
                    self.skip(2);
                    let end = find(self.rest, b"*/").map_or(self.rest.len(), |at| at + 2);
                    self.skip(end);
                    continue;
                }
                b'\'' => self.single_quoted(),
                b'"' => self.double_quoted(),
                b'`' => {
                    self.skip(1);
                    self.quoted_bytes(b'`');
                    Token::Interpolated
                }
                b'<' if self.rest.starts_with(b"<<<") => self.heredoc(),
                b'$' if self.at(1).is_some_and(begins_name) => {
                    self.skip(1);
                    Token::Variable(self.take_text(in_name))
                }
                b'0'..=b'9' => Token::Number(self.take_text(|b| b.is_ascii_alphanumeric() || b == b'_')),
                _ if begins_name(byte) || byte == b'\\' => Token::Word(self.take_text(|b| in_name(b) || b == b'\\')),
                b'.' | b'=' | b'!' | b'<' | b'>' | b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'?' | b':' => self.operator(byte),
                _ => {
                    self.skip(1);
                    Token::Sign(byte)
                }
            };
            self.found.push(Located { token, line });
        }
    }

    fn take_text(&mut self, wanted: impl Fn(u8) -> bool) -> String {
        let length = self.run(wanted).max(1);
        let text = String::from_utf8_lossy(self.rest.get(..length).unwrap_or_default()).into_owned();
        self.skip(length);
        text
    }

    /// A line comment ends before the line's end or a closing tag, whichever comes first.
    fn line_comment(&mut self) {
        let end = self.run(|b| b != b'\n' && b != b'\r');
        let tag = find(self.rest.get(..end).unwrap_or_default(), b"?>");
        self.skip(tag.unwrap_or(end));
    }

    /// A single `.`, `=`, `!`, `?` or `:` stands for itself; two or more operator bytes together mean something else.
    fn operator(&mut self, byte: u8) -> Token {
        let second = self.at(1);
        if matches!(second, Some(b'=' | b'>' | b':' | b'?' | b'.')) && (byte, second) != (b'?', Some(b'>')) {
            self.skip(2 + usize::from(self.at(2) == Some(b'=')));
            return Token::Other;
        }
        self.skip(1);
        Token::Sign(byte)
    }

    /// The bytes up to the next unescaped `quote`, escapes as they are written.
    fn quoted_bytes(&mut self, quote: u8) -> Vec<u8> {
        let mut length = 0;
        while let Some(byte) = self.at(length).filter(|b| *b != quote) {
            length += 1 + usize::from(byte == b'\\');
        }
        let inside = self.rest.get(..length).unwrap_or(self.rest).to_vec();
        self.skip(length + 1);
        inside
    }

    fn single_quoted(&mut self) -> Token {
        self.skip(1);
        let raw = self.quoted_bytes(b'\'');
        let mut text = Vec::with_capacity(raw.len());
        let mut bytes = raw.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            let escaped = (byte == b'\\').then(|| bytes.next_if(|next| matches!(next, b'\\' | b'\''))).flatten();
            text.push(escaped.unwrap_or(byte));
        }
        Token::Text(text)
    }

    fn double_quoted(&mut self) -> Token {
        self.skip(1);
        let raw = self.quoted_bytes(b'"');
        unescape_double_quoted(&raw).map_or(Token::Interpolated, Token::Text)
    }

    /// A heredoc or nowdoc: stepped over as a whole.
    fn heredoc(&mut self) -> Token {
        self.skip(3);
        let blanks = self.run(|b| b == b' ' || b == b'\t');
        self.skip(blanks);
        let quoted = matches!(self.at(0), Some(b'\'' | b'"'));
        self.skip(usize::from(quoted));
        let length = self.run(in_name);
        let label = self.rest.get(..length).unwrap_or_default().to_vec();
        if label.is_empty() {
            return Token::Other;
        }
        while !self.rest.is_empty() {
            let to_line_end = self.run(|b| b != b'\n');
            self.skip(to_line_end + 1);
            let indent = self.run(|b| b == b' ' || b == b'\t');
            let after = self.rest.get(indent..).unwrap_or_default();
            if after.starts_with(&label) && !after.get(label.len()).copied().is_some_and(in_name) {
                self.skip(indent + label.len());
                break;
            }
        }
        Token::Interpolated
    }
}

fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn in_name(byte: u8) -> bool {
    begins_name(byte) || byte.is_ascii_digit()
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// The value of a double-quoted string; `None` when it depends on variables.
fn unescape_double_quoted(raw: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'$', [next, ..]) if begins_name(*next) || *next == b'{' => return None,
            (b'{', [b'$', ..]) => return None,
            (b'\\', [escape, tail @ ..]) => rest = unescape(*escape, tail, &mut text)?,
            _ => text.push(*byte),
        }
    }
    Some(text)
}

/// One escape sequence, after its backslash: appends its value and returns what follows it.
fn unescape<'a>(escape: u8, tail: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let simple = match escape {
        b'n' => Some(b'\n'),
        b't' => Some(b'\t'),
        b'r' => Some(b'\r'),
        b'v' => Some(0x0b),
        b'e' => Some(0x1b),
        b'f' => Some(0x0c),
        b'\\' | b'$' | b'"' => Some(escape),
        _ => None,
    };
    if let Some(byte) = simple {
        text.push(byte);
        return Some(tail);
    }
    let digits =
        |bytes: &[u8], limit: usize, radix: u32| bytes.iter().take(limit).take_while(|b| char::from(**b).is_digit(radix)).count();
    let number = |bytes: &[u8], radix: u32| u32::from_str_radix(std::str::from_utf8(bytes).ok()?, radix).ok();
    match escape {
        b'0'..=b'7' => {
            let length = digits(tail, 2, 8);
            let (more, after) = tail.split_at(length);
            let value = number(&[&[escape], more].concat(), 8)?;
            // PHP, too, keeps the low eight bits of "\400" and above.
            text.push((value & 0xff) as u8);
            Some(after)
        }
        b'x' if digits(tail, 2, 16) > 0 => {
            let (more, after) = tail.split_at(digits(tail, 2, 16));
            text.push(u8::try_from(number(more, 16)?).ok()?);
            Some(after)
        }
        b'u' if tail.first() == Some(&b'{') => {
            let end = tail.iter().position(|b| *b == b'}')?;
            let character = char::from_u32(number(tail.get(1..end)?, 16)?)?;
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            tail.get(end + 1..)
        }
        _ => {
            text.extend_from_slice(&[b'\\', escape]);
            Some(tail)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(source: &str) -> Vec<Token> {
        tokens(source.as_bytes()).into_iter().map(|located| located.token).collect()
    }

    fn text(value: &str) -> Token {
        Token::Text(value.as_bytes().to_vec())
    }

    #[test]
    fn comments_and_html_are_not_code() {
        let source = "define('HTML', 1)\n<?php # one ?> define('OUT', 2) <?php // two\n/* 'three */ x; /** never ended";
        assert_eq!(kinds(source), [Token::Sign(b';'), Token::Word("x".into()), Token::Sign(b';')]);
    }

    #[test]
    fn strings_have_phps_escapes() {
        assert_eq!(kinds(r#"<?php 'it\'s \\ \n'"#), [text(r"it's \ \n")]);
        assert_eq!(kinds(r#"<?php "a\tb\"\$x \101\x41\u{e9}\q $ 5$""#), [text("a\tb\"$x AA\u{e9}\\q $ 5$")]);
        assert_eq!(kinds(r#"<?php "a $x" "{$x}" "${x}""#), vec![Token::Interpolated; 3]);
        assert_eq!(kinds("<?php 'never ended"), [text("never ended")]);
        assert_eq!(kinds("<?php 'ends in a backslash\\"), [text("ends in a backslash\\")]);
    }

    #[test]
    fn a_heredoc_is_one_token() {
        let source = "<?php <<<EOT\n define('DB_NAME', 'no');\nEOTX\n  EOT; <<<'N'\nx\nN\n; y";
        let found = kinds(source);
        assert_eq!(
            found,
            [Token::Interpolated, Token::Sign(b';'), Token::Interpolated, Token::Sign(b';'), Token::Word("y".into())]
        );
    }

    #[test]
    fn lines_are_counted() {
        let found = tokens(b"<html>\n<?php\n/*\n*/ a\n'x\ny' b");
        assert_eq!(found.iter().map(|located| located.line).collect::<Vec<_>>(), [4, 5, 6]);
    }

    #[test]
    fn an_operator_that_only_begins_like_an_assignment_is_none() {
        assert_eq!(kinds("<?php . .= = == === => ?: ?? ! !="), {
            let (dot, assign, not) = (Token::Sign(b'.'), Token::Sign(b'='), Token::Sign(b'!'));
            let other = Token::Other;
            vec![
                dot,
                other.clone(),
                assign,
                other.clone(),
                other.clone(),
                other.clone(),
                other.clone(),
                other.clone(),
                not,
                other,
            ]
        });
    }

    proptest! {
        #[test]
        fn no_input_is_a_problem(source in proptest::collection::vec(any::<u8>(), 0..200)) {
            tokens(&[b"<?php ", source.as_slice()].concat());
        }

        #[test]
        fn no_quoting_is_a_problem(source in r#"[<?'"\\$/*#{}a1 \n]{0,60}"#) {
            tokens(format!("<?php {source}").as_bytes());
        }
    }
}
