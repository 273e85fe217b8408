//! What the fuzz targets hold against values of the site's database (see `crate::fuzzing`).

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::UpdateGate;
use super::attachments::Directories;
use super::expected::PATH_LIMIT;
use super::php_serialize::{Step, walk};

/// A value as PHP serializes it, and before a newline the file of the attachment whose metadata it is.
pub fn php_serialized(data: &[u8]) {
    strings(data);
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (file, metadata) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    strings(metadata);
    let directories = Directories {
        root: Some(PathBuf::from("/srv/www")),
        content: PathBuf::from("/srv/www/content"),
        uploads: None,
        uploads_tree: None,
    };
    let mut bytes = 0;
    let here = directories.files_of(b"uploads", file, Some(metadata), |_, path| {
        let inside = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        assert!(path.split(|byte| *byte == b'/').all(inside), "a path that leads out: {path:?}");
        bytes += path.len();
        Ok::<_, ()>(())
    });
    // Each size is in the attachment's directory.
    assert!(here.is_ok() && bytes <= file.len() + 8 + metadata.len() * (PATH_LIMIT / 8));
    let _ = UpdateGate::database_signal(b"core_updater.lock", data, SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
}

/// What is told of a value: strings of it, each once, and no deeper than the limit.
fn strings(data: &[u8]) {
    let (mut bytes, range) = (0, data.as_ptr_range());
    let inside = |text: &[u8]| text.is_empty() || range.contains(&text.as_ptr());
    let walked = walk(data, &mut |path, text| {
        assert!(path.len() <= 64 && inside(text));
        assert!(path.iter().all(|step| matches!(step, Step::Index(_)) || matches!(step, Step::Name(name) if inside(name))));
        bytes += text.len();
    });
    assert!(bytes <= data.len() && walked.err().is_none_or(|error| error.at <= data.len()));
}
