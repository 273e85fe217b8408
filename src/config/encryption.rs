//! Who can read what is stored: the age recipients that packs are sealed to.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use age::x25519::Recipient;

use super::check::Check;
use super::error::ConfigError;
use super::raw::RawEncryption;

/// Each has its own copy of every pack's key in the pack's header, which has room for this many.
const MOST: usize = 20;

/// A larger file is no list of recipients.
const SIZE_LIMIT: u64 = 64 * 1024;

/// Recipients in the order of their text, each once. None: packs are not encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipients(Vec<Recipient>);

impl Recipients {
    /// These recipients.
    pub fn new(recipients: impl IntoIterator<Item = Recipient>) -> Self {
        let mut recipients: Vec<_> = recipients.into_iter().map(|recipient| (recipient.to_string(), recipient)).collect();
        recipients.sort_by(|(a, _), (b, _)| a.cmp(b));
        recipients.dedup_by(|(a, _), (b, _)| a == b);
        Self(recipients.into_iter().map(|(_, recipient)| recipient).collect())
    }

    /// Whether there is none: packs are not encrypted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the age library takes them.
    pub fn keys(&self) -> &[Recipient] {
        &self.0
    }

    /// As they are written: `age1…`.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(Recipient::to_string).collect()
    }
}

/// Why a text isn't a recipient. It may be a secret: it is never shown.
struct NotOne {
    what: &'static str,
    advice: &'static str,
}

fn recipient(text: &str) -> Result<Recipient, NotOne> {
    text.parse().map_err(|_| match text.get(..15) {
        Some(start) if start.eq_ignore_ascii_case("AGE-SECRET-KEY-") => NotOne {
            what: "an identity stands here, which is secret: whoever has it can read the backups",
            advice: "give its recipient, which begins with age1; this identity was on this machine, so make another one elsewhere \
                     (`wp-backup-agent keygen`)",
        },
        _ => NotOne {
            what: "not an age recipient",
            advice: "give what `wp-backup-agent keygen` or `age-keygen` prints: age1 and 58 letters and digits; those of SSH keys \
                     and plugins can't be used",
        },
    })
}

/// The recipients that the configuration names.
pub(super) fn recipients(check: &mut Check<'_>, raw: &RawEncryption) -> Result<Recipients, ConfigError> {
    const KEY: &str = "encryption.recipients";
    const FILE: &str = "encryption.recipients_file";
    let mut found = Vec::new();
    for text in raw.recipients.iter().flatten() {
        check.given(None, KEY, text);
        found.push(recipient(text.get_ref()).map_err(|NotOne { what, advice }| check.invalid(KEY, text, what, advice))?);
    }
    if let Some(name) = &raw.recipients_file
        && let Some(path) = check.path(None, FILE, Some(name))?
    {
        let refuse = |what: &str, advice: &str| check.invalid(FILE, name, &format!("{}{what}", path.display()), advice);
        let text =
            read(&path).map_err(|what| refuse(&what, "name a file that the agent's user may read and no other may write"))?;
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |NotOne { what, advice }| refuse(&format!(", line {number}: {what}"), advice);
            found.push(recipient(line).map_err(bad)?);
        }
    }
    let recipients = Recipients::new(found);
    // Whoever writes the section wants encryption: an empty one must not go for none.
    let empty = "names no recipient, so nothing would be encrypted";
    let advice = "name one, or remove what begins with recipients";
    match (&raw.recipients_file, &raw.recipients) {
        (Some(file), _) if recipients.is_empty() => return Err(check.invalid(FILE, file, empty, advice)),
        (None, Some(_)) if recipients.is_empty() => return Err(check.absent(KEY, empty, advice)),
        _ => {}
    }
    if recipients.0.len() > MOST {
        let what = format!("{} recipients, where {MOST} are allowed", recipients.0.len());
        return Err(check.absent(KEY, &what, "share one identity among those who restore together"));
    }
    Ok(recipients)
}

/// The file's text; else why not, to follow its name.
fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!(" can't be read: {error}");
    let metadata = path.metadata().map_err(failed)?;
    // Looked at first: opening a FIFO would wait for its writer.
    if !metadata.is_file() {
        return Err(" is not a regular file".to_owned());
    }
    if metadata.permissions().mode() & 0o002 != 0 {
        return Err(" may be written by every user of this machine, who could add a recipient".to_owned());
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(SIZE_LIMIT + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > SIZE_LIMIT { Err(" is larger than 64 KiB".to_owned()) } else { Ok(text) }
}
