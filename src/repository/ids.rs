//! The names of things in the store.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An id that isn't the right number of lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not {1} lower-case hexadecimal digits")]
pub struct BadId(String, usize);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = || BadId(text.chars().take(80).collect(), $bytes * 2);
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| bad())?;
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(bad());
                }
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut digits = [0u8; $bytes * 2];
                hex::encode_to_slice(self.0, &mut digits).map_err(serde::ser::Error::custom)?;
                serializer.serialize_str(std::str::from_utf8(&digits).map_err(serde::ser::Error::custom)?)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Digits;
                impl serde::de::Visitor<'_> for Digits {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} lower-case hexadecimal digits", $bytes * 2)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Digits).map_err(D::Error::custom)
            }
        }
    };
}

id!(
    /// BLAKE3 of a chunk's content.
    ChunkId,
    32
);
id!(
    /// BLAKE3 of a pack's stored bytes: its name.
    PackName,
    32
);
id!(
    /// A run's random id; the id of the snapshot that it commits.
    RunId,
    8
);
id!(
    /// Names a set of age recipients, as packs tell whom they are sealed to.
    RecipientsId,
    8
);

impl ChunkId {
    /// The id of this content.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }
}

impl RecipientsId {
    /// The id of these recipients: the first bytes of the BLAKE3 of their texts in ascending order, each ended by a newline.
    pub fn of(recipients: &[String]) -> Self {
        let mut texts: Vec<&str> = recipients.iter().map(String::as_str).collect();
        texts.sort_unstable();
        let lines: String = texts.iter().flat_map(|text| [text, "\n"]).collect();
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(lines.as_bytes()).as_bytes();
        Self([a, b, c, d, e, f, g, h])
    }
}

impl PackName {
    /// The name of a pack of these stored bytes.
    pub fn of(stored: &[u8]) -> Self {
        Self(*blake3::hash(stored).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_round_and_bad_hex_is_refused() {
        let id = ChunkId::of(b"content");
        assert_eq!(id.to_string().parse::<ChunkId>(), Ok(id));
        assert!(id.to_string().to_uppercase().parse::<ChunkId>().is_err());
        assert!("abc".parse::<RunId>().is_err());
        assert!("zz".repeat(8).parse::<RunId>().is_err());
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<ChunkId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<ChunkId>("\"00\"").is_err());
    }
}
