//! Values as SQL literals, byte for byte what the server holds, under `SET NAMES binary` and our sql_mode (see `script`).

/// How a column's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Literal {
    /// Integers, decimals and years: as they are.
    Number,
    /// Floating point: always with an exponent, so that it is never taken for an integer or decimal (`-0` would lose its sign).
    Double,
    /// Quoted.
    Text,
    /// Quoted; tells whether the empty string is one of its members. Where it isn't, it stands for an invalid value.
    Enum {
        /// Whether '' is a member.
        has_empty: bool,
    },
    /// Quoted, and said to be text: MariaDB takes a binary string for the inner form of an UUID or INET6.
    Ascii,
    /// Bytes that aren't text.
    Hex,
    /// MySQL's JSON, which refuses text of the binary character set.
    Json,
    /// The time until which a version of a row holds (MariaDB). What holds still has the end of time in its place, which isn't the same
    /// on all servers.
    RowEnd,
}

/// The letter after the backslash, 0 for bytes that stand for themselves.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    table[0] = b'0';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\\' as usize] = b'\\';
    table[b'\'' as usize] = b'\'';
    table[b'"' as usize] = b'"';
    table[0x1a] = b'Z';
    table
};

/// The byte that a letter after the backslash stands for.
const ESCAPED: [Option<u8>; 256] = {
    let (mut table, mut byte) = ([None; 256], 0);
    while byte < 256 {
        if ESCAPES[byte] != 0 {
            table[ESCAPES[byte] as usize] = Some(byte as u8);
        }
        byte += 1;
    }
    table
};

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
/// What a hexadecimal digit stands for, 16 for bytes that aren't one of [`DIGITS`].
const DIGIT: [u8; 256] = {
    let (mut table, mut digit) = ([16; 256], 0);
    while digit < 16 {
        table[DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

const ASCII: &[u8] = b"_latin1";
const JSON_BEFORE: &[u8] = b"CONVERT(";
const JSON_AFTER: &[u8] = b" USING utf8mb4)";
/// The last microsecond of 31 and of 32 bits of seconds.
const ENDS_OF_TIME: [&[u8]; 2] = [b"2038-01-19 03:14:07.999999", b"2106-02-07 06:28:15.999999"];
const HOLDS_STILL: &[u8] = b"DEFAULT";

impl Literal {
    /// Appends a value; `None` is NULL.
    pub(super) fn write(self, value: Option<&[u8]>, out: &mut Vec<u8>) {
        let Some(value) = value else { return out.extend_from_slice(b"NULL") };
        match self {
            Self::Number => out.extend_from_slice(value),
            Self::Double => {
                out.extend_from_slice(value);
                if !has_exponent(value) {
                    out.extend_from_slice(b"e0");
                }
            }
            Self::RowEnd if ENDS_OF_TIME.contains(&value) => out.extend_from_slice(HOLDS_STILL),
            Self::Text | Self::Enum { .. } | Self::RowEnd => quote(value, out),
            Self::Ascii => {
                out.extend_from_slice(ASCII);
                quote(value, out);
            }
            Self::Hex if value.is_empty() => out.extend_from_slice(b"''"),
            Self::Hex => {
                out.reserve(value.len() * 2 + 2);
                out.extend_from_slice(b"0x");
                out.extend(value.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]));
            }
            Self::Json => {
                out.extend_from_slice(JSON_BEFORE);
                quote(value, out);
                out.extend_from_slice(JSON_AFTER);
            }
        }
    }

    /// How many bytes [`Self::write`] appends.
    pub(super) fn size(self, value: Option<&[u8]>) -> usize {
        let Some(value) = value else { return 4 };
        match self {
            Self::Number => value.len(),
            Self::Double => value.len() + if has_exponent(value) { 0 } else { 2 },
            Self::RowEnd if ENDS_OF_TIME.contains(&value) => HOLDS_STILL.len(),
            Self::Text | Self::Enum { .. } | Self::RowEnd => quoted_size(value),
            Self::Ascii => ASCII.len() + quoted_size(value),
            Self::Hex => 2 + 2 * value.len(),
            Self::Json => JSON_BEFORE.len() + quoted_size(value) + JSON_AFTER.len(),
        }
    }
}

/// Appends a string literal.
pub(super) fn quote(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'\'');
    let mut rest = value;
    while let Some(at) = rest.iter().position(|b| ESCAPES[usize::from(*b)] != 0) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((special, tail)) = tail.split_first() else { break };
        out.extend_from_slice(&[b'\\', ESCAPES[usize::from(*special)]]);
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

/// Appends a quoted name.
pub(super) fn identifier(name: &[u8], out: &mut Vec<u8>) {
    out.push(b'`');
    for byte in name {
        if *byte == b'`' {
            out.push(b'`');
        }
        out.push(*byte);
    }
    out.push(b'`');
}

/// A quoted name.
pub(super) fn quoted(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    identifier(name, &mut out);
    out
}

/// The byte that a letter after a backslash stands for.
pub(super) fn unescaped(letter: u8) -> Option<u8> {
    ESCAPED[usize::from(letter)]
}

/// The value of a string literal that [`quote`] wrote; `None` of any other.
pub(super) fn unquote(literal: &[u8]) -> Option<Vec<u8>> {
    let mut rest = literal.strip_prefix(b"'")?.strip_suffix(b"'")?;
    let mut value = Vec::with_capacity(rest.len());
    while let Some(at) = memchr::memchr2(b'\\', b'\'', rest) {
        let (plain, tail) = rest.split_at(at);
        value.extend_from_slice(plain);
        let Some(([b'\\', letter], tail)) = tail.split_first_chunk() else { return None };
        value.push(unescaped(*letter)?);
        rest = tail;
    }
    value.extend_from_slice(rest);
    Some(value)
}

/// The value of a literal of bytes; `None` of any other.
pub(super) fn from_hex(literal: &[u8]) -> Option<Vec<u8>> {
    let digits = literal.strip_prefix(b"0x").filter(|digits| digits.len() % 2 == 0)?;
    let mut value = Vec::with_capacity(digits.len() / 2);
    let mut all = 0;
    for pair in digits.chunks_exact(2) {
        let [high, low] = [DIGIT[usize::from(*pair.first()?)], DIGIT[usize::from(*pair.last()?)]];
        all |= high | low;
        value.push(high << 4 | low & 15);
    }
    (all < 16).then_some(value)
}

fn has_exponent(value: &[u8]) -> bool {
    value.iter().any(|b| matches!(b, b'e' | b'E'))
}

fn quoted_size(value: &[u8]) -> usize {
    2 + value.len() + value.iter().filter(|b| ESCAPES[usize::from(**b)] != 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(literal: Literal, value: &[u8]) -> String {
        let mut out = Vec::new();
        literal.write(Some(value), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn how_values_look() {
        assert_eq!(written(Literal::Number, b"-5"), "-5");
        assert_eq!(written(Literal::Double, b"-0"), "-0e0");
        assert_eq!(written(Literal::Double, b"1.5e300"), "1.5e300");
        assert_eq!(written(Literal::Text, b"it's \"\\\" \0\r\n\x1a%"), r#"'it\'s \"\\\" \0\r\n\Z%'"#);
        assert_eq!(written(Literal::Hex, b""), "''");
        assert_eq!(written(Literal::Hex, b"\x00\xff"), "0x00FF");
        assert_eq!(written(Literal::Json, b"{}"), "CONVERT('{}' USING utf8mb4)");
        assert_eq!(written(Literal::RowEnd, b"2106-02-07 06:28:15.999999"), "DEFAULT");
        assert_eq!(written(Literal::RowEnd, b"2024-01-01 00:00:00.000001"), "'2024-01-01 00:00:00.000001'");
        assert_eq!(quoted(b"a`b"), b"`a``b`");
    }

    #[test]
    fn each_byte_is_quoted_as_it_must_at_any_place() {
        for byte in 0..=255u8 {
            for place in 0..40 {
                let mut value = vec![b'a'; 40];
                value[place] = byte;
                let mut expected = b"'".to_vec();
                for b in &value {
                    let escaped = ESCAPES[usize::from(*b)];
                    expected.extend(if escaped == 0 { vec![*b] } else { vec![b'\\', escaped] });
                }
                expected.push(b'\'');
                let mut out = Vec::new();
                quote(&value, &mut out);
                assert_eq!(out, expected, "byte {byte} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn sizes_are_exact(value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))) {
            for literal in [Literal::Number, Literal::Double, Literal::Text, Literal::Ascii, Literal::Hex, Literal::Json] {
                let mut out = Vec::new();
                literal.write(value.as_deref(), &mut out);
                prop_assert_eq!(out.len(), literal.size(value.as_deref()));
            }
        }

        #[test]
        fn other_literals_have_no_value_here(text in "(0x)?'?[0-9A-Fa-z\\\\']{0,9}'?") {
            if let Some(value) = from_hex(text.as_bytes()) {
                let mut out = b"0x".to_vec();
                value.iter().for_each(|byte| out.extend_from_slice(format!("{byte:02X}").as_bytes()));
                prop_assert_eq!(out, text.as_bytes());
            }
            if let Some(value) = unquote(text.as_bytes()) {
                let mut out = Vec::new();
                quote(&value, &mut out);
                prop_assert_eq!(out, text.as_bytes());
            }
        }

        #[test]
        fn literals_go_back(value in proptest::collection::vec(any::<u8>(), 1..40)) {
            let mut out = Vec::new();
            quote(&value, &mut out);
            prop_assert_eq!(unquote(&out), Some(value.clone()));
            prop_assert_eq!(from_hex(&out), None);
            out.clear();
            Literal::Hex.write(Some(&value), &mut out);
            prop_assert_eq!(from_hex(&out), Some(value));
            prop_assert_eq!(unquote(&out), None);
        }
    }
}
