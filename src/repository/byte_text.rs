//! Byte strings in JSON: paths, names and targets need not be UTF-8.
//!
//! Every byte below 0x20, 0x7f, `%` and every byte that is not part of valid UTF-8 is written `%XX`; the rest stands as it is.
//! One line holds one string, and `printf %b` turns it back (docs/FORMAT.md).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are text most of the time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteText(pub Vec<u8>);

impl ByteText {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Turns the escaped form back; `None` when a `%` is not followed by two hexadecimal digits.
    pub fn unescape(text: &str) -> Option<Self> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|b| *b == b'%') {
            bytes.extend_from_slice(rest.get(..at)?);
            let mut byte = [0];
            hex::decode_to_slice(rest.get(at + 1..at + 3)?, &mut byte).ok()?;
            bytes.push(byte[0]);
            rest = rest.get(at + 3..)?;
        }
        bytes.extend_from_slice(rest);
        Some(Self(bytes))
    }
}

impl From<&[u8]> for ByteText {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&str> for ByteText {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Display for ByteText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in self.0.utf8_chunks() {
            let mut plain = piece.valid();
            while let Some(at) = plain.find(|c: char| c.is_ascii_control() || c == '%') {
                let (before, after) = plain.split_at(at);
                f.write_str(before)?;
                write!(f, "%{:02X}", after.as_bytes()[0])?;
                plain = &after[1..];
            }
            f.write_str(plain)?;
            for byte in piece.invalid() {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ByteText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for ByteText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(plain) if !plain.bytes().any(|b| b.is_ascii_control() || b == b'%') => serializer.serialize_str(plain),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for ByteText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::unescape(&text).ok_or_else(|| serde::de::Error::custom("a % must be followed by two hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_go_round(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = ByteText(bytes);
            let json = serde_json::to_string(&text).unwrap();
            prop_assert!(!json.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<ByteText>(&json).unwrap(), text.clone());
            prop_assert_eq!(ByteText::unescape(&text.to_string()), Some(text));
        }
    }

    #[test]
    fn what_is_escaped() {
        assert_eq!(ByteText::from("Été 100%\n").to_string(), "Été 100%25%0A");
        assert_eq!(ByteText(vec![b'a', 0xff]).to_string(), "a%FF");
        assert_eq!(ByteText::unescape("%4"), None);
        assert_eq!(ByteText::unescape("%zz"), None);
    }
}
