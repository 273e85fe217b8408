//! Identities: what opens sealed packs. They are made and kept elsewhere, and given to a command by the name of their file.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;

use super::Secret;
use super::secret_file::{Content, read_file};
use crate::error::{Exit, Explain};

/// An identity's file that can't be used or made. Never holds an identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It can't be read.
    #[error("the identity's file {} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Every user may read or write it.
    #[error("{} may be read or written by every user of this machine", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// It holds no identity, or something else beside.
    #[error("{}: {what}", path.display())]
    Useless {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// A new one can't be written.
    #[error("the identity can't be written to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Explain for IdentityError {
    fn exit(&self) -> Exit {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NoInput,
            Self::Read { .. } | Self::Open { .. } => Exit::Denied,
            Self::Useless { .. } => Exit::Usage,
            Self::Write { .. } => Exit::CannotCreate,
        }
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => "name a file that this user may read, by --identity".to_owned(),
            Self::Open { path } => {
                format!(
                    "chmod 0600 {}; if the machine has other users, make a new identity and change the recipients",
                    path.display()
                )
            }
            Self::Useless { advice, .. } => (*advice).to_owned(),
            Self::Write { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                "name another file: an identity is never overwritten, as backups may be sealed to it".to_owned()
            }
            Self::Write { .. } => "name a file in a directory that this user may write to".to_owned(),
        })
    }
}

/// Identities that a command was given. `Debug` shows their number alone.
#[derive(Clone, Default)]
pub struct Identities(Arc<[Identity]>);

impl Identities {
    /// These identities.
    pub fn new(identities: impl IntoIterator<Item = Identity>) -> Self {
        Self(identities.into_iter().collect())
    }

    /// Those in these files, as `keygen` and age-keygen write them: one a line, lines with `#` passed over.
    pub fn read(files: &[PathBuf]) -> Result<Self, IdentityError> {
        let mut identities = Vec::new();
        for path in files {
            read_into(&mut identities, path)?;
        }
        Ok(Self::new(identities))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the age library takes them.
    pub fn keys(&self) -> &[Identity] {
        &self.0
    }

    /// The recipients that they belong to.
    pub fn recipients(&self) -> Vec<String> {
        self.0.iter().map(|identity| identity.to_public().to_string()).collect()
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({})", self.0.len())
    }
}

fn read_into(identities: &mut Vec<Identity>, path: &Path) -> Result<(), IdentityError> {
    let useless = |what: &str, advice| IdentityError::Useless { path: path.to_owned(), what: what.to_owned(), advice };
    const ADVICE: &str = "name a file that `wp-backup-agent keygen` or `age-keygen` wrote";
    let content = read_file(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })?;
    let text = match content {
        Content::Secret(text) => text,
        Content::Open => return Err(IdentityError::Open { path: path.to_owned() }),
        Content::Useless(what) => return Err(useless(what, ADVICE)),
    };
    if text.reveal().starts_with("age-encryption.org/") || text.reveal().starts_with("-----BEGIN AGE") {
        let advice = "decrypt it first, into a file that no one else may read: age -d -o identity.txt FILE";
        return Err(useless("the identity is encrypted itself", advice));
    }
    let before = identities.len();
    for (number, line) in (1..).zip(text.reveal().lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The line itself is never shown.
        let bad =
            |_| useless(&format!("line {number} is not an age identity (those of SSH keys and plugins can't be used)"), ADVICE);
        identities.push(line.parse().map_err(bad)?);
    }
    if identities.len() == before { Err(useless("there is no identity in it", ADVICE)) } else { Ok(()) }
}

/// An identity that was just made.
#[derive(Debug)]
pub struct NewIdentity {
    recipient: String,
    text: Secret,
}

impl NewIdentity {
    /// Makes one.
    pub fn generate() -> Self {
        let identity = Identity::generate();
        let recipient = identity.to_public().to_string();
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let text = format!("# created: {now}\n# public key: {recipient}\n{}\n", identity.to_string().expose_secret());
        Self { recipient, text: Secret::new(text) }
    }

    /// Whom to seal to, so that it opens: `age1…`.
    pub fn recipient(&self) -> &str {
        &self.recipient
    }

    /// The file's content, as age-keygen writes it.
    pub fn text(&self) -> &Secret {
        &self.text
    }

    /// Writes it into a new file, which its owner alone may read.
    pub fn write(&self, path: &Path) -> Result<(), IdentityError> {
        let failed = |source| IdentityError::Write { path: path.to_owned(), source };
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(self.text.reveal().as_bytes()).and_then(|()| file.sync_all()).map_err(|source| {
            // Half an identity would only stand in the way of the next try.
            let _ = std::fs::remove_file(path);
            failed(source)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::error::render;

    #[test]
    fn what_is_made_is_read_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        let made = NewIdentity::generate();
        made.write(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let error = NewIdentity::generate().write(&path).unwrap_err();
        assert_eq!(error.exit(), Exit::CannotCreate);
        assert!(render(&error).contains("never overwritten"));
        let read = Identities::read(&[path]).unwrap();
        assert_eq!(read.recipients(), [made.recipient()]);
        assert!(!format!("{read:?} {made:?}").contains("SECRET"));
    }

    #[test]
    fn what_is_none_is_refused_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        let refused = |content: &str, mode| {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            render(&Identities::read(std::slice::from_ref(&path)).unwrap_err())
        };
        let made = NewIdentity::generate();
        let text = made.text().reveal();
        assert!(refused(text, 0o644).contains("every user"));
        let wrong = text.replace("AGE-SECRET-KEY-1", "AGE-SECRET-KEY-12");
        let told = refused(&wrong, 0o600);
        assert!(told.contains("line 3") && !told.contains("SECRET-KEY"), "{told}");
        assert!(refused("# nothing\n", 0o600).contains("no identity"));
        assert!(refused("age-encryption.org/v1\n-> scrypt", 0o600).contains("encrypted itself"));
    }
}
