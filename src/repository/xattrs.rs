//! Extended attributes, as an entry of the list of files has them: name → value, in the order of the names.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::byte_text::ByteText;

/// Bytes of names and values together that one entry may have.
pub const MOST_XATTR_BYTES: usize = 1 << 20;

/// The extended attributes of one entry; POSIX ACLs are among them, as the kernel has them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Xattrs(BTreeMap<ByteText, Value>);

/// Base64 in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value(Vec<u8>);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}

impl Xattrs {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one.
    pub fn insert(&mut self, name: &[u8], value: Vec<u8>) {
        self.0.insert(ByteText::from(name), Value(value));
    }

    /// The value of one.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.get(&ByteText::from(name)).map(|value| value.0.as_slice())
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&ByteText, &[u8])> {
        self.0.iter().map(|(name, value)| (name, value.0.as_slice()))
    }

    /// Bytes of names and values together.
    pub fn bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.0.len() + value.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_and_value_comes_back() {
        let mut xattrs = Xattrs::default();
        xattrs.insert(b"user.b", vec![0, 255, 10]);
        xattrs.insert(b"user.\xff%", Vec::new());
        let json = serde_json::to_string(&xattrs).unwrap();
        assert_eq!(json, r#"{"user.b":"AP8K","user.%FF%25":""}"#);
        assert_eq!(serde_json::from_str::<Xattrs>(&json).unwrap(), xattrs);
        assert_eq!((xattrs.bytes(), xattrs.get(b"user.b")), (16, Some(&[0, 255, 10][..])));
        assert!(serde_json::from_str::<Xattrs>(r#"{"user.a":"*"}"#).is_err());
    }
}
