//! Whose manifests are believed: the public keys of hosts, and of whoever prunes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::check::Check;
use super::error::ConfigError;
use super::raw::RawTrust;

/// Before a public key's 64 hexadecimal digits.
const ALGORITHM: &str = "ed25519:";
/// More are no pinning any more.
const MOST: usize = 100;

/// An ed25519 public key. Written as `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix(ALGORITHM).ok_or("it does not begin with ed25519:")?;
        let mut key = [0; 32];
        hex::decode_to_slice(digits, &mut key).map_err(|_| "it is not ed25519: and 64 hexadecimal digits")?;
        Ok(Self(key))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The keys that `[trust]` names. None: whoever signed is believed, and told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedKeys(Vec<PublicKey>);

impl TrustedKeys {
    /// These keys.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        Self(keys)
    }

    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is named.
    pub fn has(&self, key: &PublicKey) -> bool {
        self.0.contains(key)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter()
    }

    /// These and one more.
    pub fn and(&self, key: PublicKey) -> Self {
        Self::new(self.0.iter().copied().chain([key]))
    }
}

/// The keys that the configuration names.
pub(super) fn trusted(check: &mut Check<'_>, raw: &RawTrust) -> Result<TrustedKeys, ConfigError> {
    const KEY: &str = "trust.keys";
    let Some(given) = &raw.keys else { return Ok(TrustedKeys::default()) };
    let mut keys = Vec::new();
    for text in given {
        check.given(None, KEY, text);
        let advice = "give what `wp-backup-agent check` shows as signing key on the machine that is backed up";
        let key =
            text.get_ref().parse().map_err(|what: &str| check.invalid(KEY, text, &format!("not a public key: {what}"), advice));
        keys.push(key?);
    }
    if keys.is_empty() {
        return Err(check.absent(
            KEY,
            "names no key, so no snapshot would be believed",
            "name one, or remove it: then every key is believed, and told",
        ));
    }
    if keys.len() > MOST {
        return Err(check.absent(
            KEY,
            &format!("{} keys, where {MOST} are allowed", keys.len()),
            "name those of hosts that write to this store",
        ));
    }
    Ok(TrustedKeys::new(keys))
}
