//! Signatures (docs/FORMAT.md, "Signatures"): a host signs its manifests and checkpoints, whoever prunes signs notes, whoever
//! accepts a suspect snapshot what it says of it, a standby its receipts. The signature is the last
//! field of the JSON object and covers every byte before it.

use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::RepositoryError;
use crate::config::{PublicKey, TrustedKeys};

/// Before the signature's 128 hexadecimal digits.
const FIELD: &[u8] = b",\"signature\":\"";
/// After them.
const END: &[u8] = b"\"}";
const DIGITS: usize = 128;
/// A key's file is shorter.
const FILE_LIMIT: u64 = 4096;

/// What is signed: a signature of one kind is none of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A manifest.
    Manifest,
    /// A checkpoint.
    Checkpoint,
    /// A note of retention.
    Note,
    /// What a reader has accepted.
    Acceptance,
    /// What a standby has found.
    Receipt,
}

impl Kind {
    /// What stands before the object in the message that is signed.
    fn domain(self) -> &'static [u8] {
        match self {
            Self::Manifest => b"wp-backup-agent manifest\n",
            Self::Checkpoint => b"wp-backup-agent checkpoint\n",
            Self::Note => b"wp-backup-agent note\n",
            Self::Acceptance => b"wp-backup-agent acceptance\n",
            Self::Receipt => b"wp-backup-agent receipt\n",
        }
    }
}

/// The key that this machine signs with. `Debug` shows the public half.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public).finish()
    }
}

impl SigningKey {
    /// Where it is kept in the directory of local state.
    pub fn path(state: &Path) -> PathBuf {
        state.join("signing-key")
    }

    /// This machine's, if it has one.
    ///
    /// # Errors
    /// [`RepositoryError::SigningKey`] when it can't be read, or others may.
    pub fn load(state: &Path) -> Result<Option<Self>, RepositoryError> {
        let path = Self::path(state);
        let useless = |what: String| RepositoryError::SigningKey { path: path.clone(), what };
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RepositoryError::state("reading", &path)(error)),
        };
        if !metadata.is_file() || metadata.len() > FILE_LIMIT {
            return Err(useless("it is not a regular file with a key".into()));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(useless("others than its owner may read or write it".into()));
        }
        let text = fs::read_to_string(&path).map_err(RepositoryError::state("reading", &path))?;
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        let mut seed = [0; 32];
        line.and_then(|line| hex::decode_to_slice(line, &mut seed).ok())
            .ok_or_else(|| useless("there is no key in it".into()))?;
        Self::from_seed(&seed).map(Some)
    }

    /// This machine's, made now if it has none; and whether it was.
    pub fn load_or_make(state: &Path) -> Result<(Self, bool), RepositoryError> {
        if let Some(key) = Self::load(state)? {
            return Ok((key, false));
        }
        let failed = |action| RepositoryError::state(action, Self::path(state));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(failed("making the directory of"))?;
        let mut seed = [0; 32];
        super::fill_random(&mut seed);
        let key = Self::from_seed(&seed)?;
        let text = format!(
            "# The key that this machine signs with. Secret; losing it means telling all readers a new one.\n# public key: {}\n{}\n",
            key.public,
            hex::encode(seed)
        );
        // Under a name of its own, then linked: of two processes that make one at once, one wins, and both have that.
        let temporary = state.join(format!("signing-key.{}", super::random_hex()));
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            match fs::hard_link(&temporary, Self::path(state)) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            File::open(state)?.sync_all()
        };
        let written = write();
        let _ = fs::remove_file(&temporary);
        written.map_err(failed("writing"))?;
        let theirs = Self::load(state)?.ok_or(RepositoryError::Task)?;
        let made = theirs.public == key.public;
        Ok((theirs, made))
    }

    pub(super) fn from_seed(seed: &[u8; 32]) -> Result<Self, RepositoryError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| RepositoryError::Task)?;
        let public = pair.public_key().as_ref().try_into().map(PublicKey).map_err(|_| RepositoryError::Task)?;
        Ok(Self { pair, public })
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The object's bytes with the signature at their end. The object must have a field `signer`, which is this key, and none that is `signature`.
    pub(crate) fn signed<T: Serialize>(&self, kind: Kind, object: &T) -> Result<Vec<u8>, RepositoryError> {
        let mut bytes = serde_json::to_vec(object).map_err(|error| RepositoryError::damaged("what is to be signed", error))?;
        // The brace that ends the object.
        bytes.pop();
        let signature = self.pair.sign(&message(kind, &bytes));
        bytes.extend_from_slice(FIELD);
        bytes.extend_from_slice(hex::encode(signature.as_ref()).as_bytes());
        bytes.extend_from_slice(END);
        Ok(bytes)
    }
}

fn message(kind: Kind, bytes: &[u8]) -> Vec<u8> {
    [kind.domain(), bytes].concat()
}

/// Who signed these bytes; `None`: nobody. `what` is the object, for messages.
///
/// # Errors
/// [`RepositoryError::Damaged`] when there is a signature that doesn't fit.
pub fn signer(kind: Kind, bytes: &[u8], what: &str) -> Result<Option<PublicKey>, RepositoryError> {
    #[derive(Deserialize)]
    struct Fields {
        signer: Option<PublicKey>,
        signature: Option<String>,
    }
    let bad = |why: &str| RepositoryError::damaged(what, why);
    let fields: Fields = serde_json::from_slice(bytes).map_err(|error| RepositoryError::damaged(what, error))?;
    let Fields { signer: Some(key), signature: Some(_) } = fields else {
        return if fields.signer.is_none() && fields.signature.is_none() {
            Ok(None)
        } else {
            Err(bad("its signature is not whole"))
        };
    };
    let digits = bytes.strip_suffix(END).and_then(|rest| rest.split_last_chunk::<DIGITS>());
    let (body, digits) = digits.ok_or_else(|| bad("its signature is not at its end"))?;
    let body = body.strip_suffix(FIELD).ok_or_else(|| bad("its signature is not at its end"))?;
    let mut signature = [0; DIGITS / 2];
    hex::decode_to_slice(digits, &mut signature).map_err(|_| bad("its signature is none"))?;
    match UnparsedPublicKey::new(&ED25519, key.0).verify(&message(kind, body), &signature) {
        Ok(()) => Ok(Some(key)),
        Err(_) => Err(bad("its signature does not fit what it says: it was changed or forged")),
    }
}

/// What these bytes say, which must be signed; by whom, they say themselves. `what` is the object, for messages.
///
/// # Errors
/// [`RepositoryError::Newer`] of a later format, [`RepositoryError::Damaged`] of what can't be read, isn't signed, or has a signature that doesn't fit.
pub(super) fn read_signed<T: DeserializeOwned>(kind: Kind, bytes: &[u8], what: &str) -> Result<T, RepositoryError> {
    super::snapshots::newer(bytes, what)?;
    let object = serde_json::from_slice(bytes).map_err(|error| RepositoryError::damaged(what, error))?;
    match signer(kind, bytes, what)? {
        Some(_) => Ok(object),
        None => Err(RepositoryError::damaged(what, "nobody signed it")),
    }
}

/// Refuses what is signed by nobody that is trusted; where no key is named, everybody is.
pub fn accept(trusted: &TrustedKeys, signer: Option<PublicKey>, what: &str) -> Result<(), RepositoryError> {
    match signer {
        _ if trusted.is_empty() => Ok(()),
        Some(key) if trusted.has(&key) => Ok(()),
        _ => Err(RepositoryError::Untrusted { what: what.to_owned(), signer: signer.map(|key| key.to_string()) }),
    }
}

/// Any key.
#[cfg(test)]
pub(crate) fn test_key() -> std::sync::Arc<SigningKey> {
    std::sync::Arc::new(SigningKey::from_seed(&[5; 32]).expect("a key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Note {
        text: &'static str,
        signer: PublicKey,
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32]).unwrap()
    }

    #[test]
    fn what_is_signed_is_known_and_nothing_else_is() {
        let key = key();
        let bytes = key.signed(Kind::Note, &Note { text: "a note", signer: key.public() }).unwrap();
        assert_eq!(signer(Kind::Note, &bytes, "it").unwrap(), Some(key.public()));
        assert!(signer(Kind::Manifest, &bytes, "it").is_err(), "of another kind");
        // Whatever byte is another, it isn't signed by this key.
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            let found = signer(Kind::Note, &other, "it");
            assert!(found.is_err() || found.unwrap() != Some(key.public()), "at {at}");
        }
        let text = String::from_utf8(bytes).unwrap();
        let (start, _) = text.split_once(",\"signature\"").unwrap();
        let without = format!("{start}}}");
        assert!(signer(Kind::Note, without.as_bytes(), "it").is_err(), "a signer without a signature");
        assert_eq!(signer(Kind::Note, b"{\"text\":\"a note\"}", "it").unwrap(), None);
        for odd in
            [text.replace('}', " }"), format!("{text}\n"), text.replace("signature", "signature_"), "[]".into(), String::new()]
        {
            assert!(signer(Kind::Note, odd.as_bytes(), "it").is_err(), "{odd}");
        }
    }

    #[test]
    fn a_key_is_made_once_and_kept_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert!(SigningKey::load(&state).unwrap().is_none());
        let (made, new) = SigningKey::load_or_make(&state).unwrap();
        assert!(new);
        let (again, new) = SigningKey::load_or_make(&state).unwrap();
        assert!(!new && again.public() == made.public());
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing else is left");
        let path = SigningKey::path(&state);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let secret = fs::read_to_string(&path).unwrap();
        assert!(!format!("{made:?}").contains(secret.lines().last().unwrap()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(SigningKey::load(&state), Err(RepositoryError::SigningKey { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "# nothing\n").unwrap();
        assert!(matches!(SigningKey::load_or_make(&state), Err(RepositoryError::SigningKey { .. })), "never replaced");
    }

    #[test]
    fn who_is_not_named_is_not_believed() {
        let (ours, theirs) = (key().public(), PublicKey([9; 32]));
        let named = TrustedKeys::new([ours]);
        accept(&TrustedKeys::default(), None, "it").unwrap();
        accept(&TrustedKeys::default(), Some(theirs), "it").unwrap();
        accept(&named, Some(ours), "it").unwrap();
        for other in [None, Some(theirs)] {
            assert!(matches!(accept(&named, other, "it"), Err(RepositoryError::Untrusted { .. })));
        }
    }
}
