//! Secrets, from a file or from a systemd credential.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::Secret;
use super::error::ConfigError;
use super::origin::Origin;
use super::source::Source;

/// A larger file is no password.
const SIZE_LIMIT: u64 = 64 * 1024;

/// One place in the configuration that may name a secret: as a file, or as a systemd credential.
pub(super) struct SecretPlace<'a> {
    /// The key of the file's name, with its tables.
    pub(super) file_key: &'a str,
    /// The file's name.
    pub(super) file: Option<&'a Spanned<String>>,
    /// The key of the credential's name, with its tables.
    pub(super) credential_key: &'a str,
    /// The credential's name.
    pub(super) credential: Option<&'a Spanned<String>>,
}

/// The secret that `place` names, if it names one. `credentials` is systemd's `$CREDENTIALS_DIRECTORY`.
pub(super) fn read(
    source: Source<'_>,
    place: &SecretPlace<'_>,
    credentials: Option<&Path>,
) -> Result<Option<(Secret, Origin)>, ConfigError> {
    let (key, name, path) = match (place.file, place.credential) {
        (None, None) => return Ok(None),
        (Some(_), Some(credential)) => {
            let at = source.at(place.credential_key, &credential.span());
            let what = format!("given, and so is {}", place.file_key);
            return Err(ConfigError::Invalid { at, what, advice: Some("give one of them".to_owned()) });
        }
        (Some(file), None) => (place.file_key, file, PathBuf::from(file.get_ref())),
        (None, Some(name)) => (place.credential_key, name, credential_path(source, place.credential_key, name, credentials)?),
    };
    let at = || source.at(key, &name.span());
    let invalid = |what: String, advice: &str| ConfigError::Invalid { at: at(), what, advice: Some(advice.to_owned()) };
    if !path.is_absolute() {
        return Err(invalid(format!("{} is not an absolute path", path.display()), "begin it with a slash"));
    }
    let failed = |error| ConfigError::Secret { at: at(), file: path.clone(), source: error };
    let secret = match read_file(&path).map_err(failed)? {
        Content::Secret(secret) => secret,
        Content::Open => {
            let advice = format!("chmod 0640 {0}, and change the secret if the machine has other users", path.display());
            return Err(invalid(format!("{} may be read or written by every user of this machine", path.display()), &advice));
        }
        Content::Useless(what) => {
            return Err(invalid(format!("{} {what}", path.display()), "write the secret, and nothing else, into this file"));
        }
    };
    Ok(Some((secret, Origin::Secret { path, line: source.line(&name.span()) })))
}

fn credential_path(
    source: Source<'_>,
    key: &str,
    name: &Spanned<String>,
    credentials: Option<&Path>,
) -> Result<PathBuf, ConfigError> {
    let invalid = |what: &str, advice: &str| ConfigError::Invalid {
        at: source.at(key, &name.span()),
        what: what.to_owned(),
        advice: Some(advice.to_owned()),
    };
    let plain = !name.get_ref().is_empty() && !name.get_ref().contains('/') && !name.get_ref().starts_with('.');
    if !plain {
        return Err(invalid("not the name of a systemd credential", "use the name given to LoadCredential="));
    }
    let directory = credentials.ok_or_else(|| {
        invalid(
            "systemd passed no credentials to this process",
            "add LoadCredential= or LoadCredentialEncrypted= to the service; outside of the service, use the key that names a file",
        )
    })?;
    Ok(directory.join(name.get_ref()))
}

/// What is in a secret's file.
pub(super) enum Content {
    /// The secret.
    Secret(Secret),
    /// Every user may read or write it.
    Open,
    /// It isn't a secret's file, and why.
    Useless(&'static str),
}

/// What a file that should hold a secret does hold.
pub(super) fn read_file(path: &Path) -> io::Result<Content> {
    // Looked at first: opening a FIFO would wait for its writer.
    if !path.metadata()?.is_file() {
        return Ok(Content::Useless("is not a regular file"));
    }
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o006 != 0 {
        return Ok(Content::Open);
    }
    let mut bytes = Vec::new();
    file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Ok(Content::Useless("is larger than 64 KiB"));
    }
    let Ok(text) = String::from_utf8(bytes) else { return Ok(Content::Useless("is not UTF-8")) };
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Ok(Content::Useless("is empty"));
    }
    Ok(Content::Secret(Secret::new(line.to_owned())))
}
