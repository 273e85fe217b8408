//! The bytes of a file: media that can't be compressed, or text that compresses as such files do, three- to fivefold by zstd -3.

use crate::code;
use crate::random::Random;
use crate::text::Text;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Jpeg,
    Media,
    Php,
    Js,
    Minified,
    Map,
    Css,
    Svg,
    Json,
    Po,
    Mo,
    Log,
    Csv,
}

impl Kind {
    pub(crate) fn is_text(self) -> bool {
        !matches!(self, Self::Jpeg | Self::Media)
    }
}

/// Exactly `size` bytes, which follow from the seed alone, into a buffer that is used again.
pub(crate) fn fill(kind: Kind, seed: &str, size: u64, text: &Text, buffer: &mut Vec<u8>) {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut random = Random::of(seed);
    // Seeds that differ in their last letter only would begin alike.
    random.next();
    buffer.clear();
    if kind.is_text() {
        let mut written = String::from_utf8(std::mem::take(buffer)).unwrap_or_default();
        code::write(kind, &mut random, text, size, &mut written);
        *buffer = written.into_bytes();
    } else {
        if kind == Kind::Jpeg {
            buffer.extend_from_slice(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00");
        }
        noise(&mut random, size, buffer);
    }
    buffer.truncate(size);
}

fn noise(random: &mut Random, size: usize, buffer: &mut Vec<u8>) {
    buffer.reserve(size + 8);
    while buffer.len() < size {
        buffer.extend_from_slice(&random.next().to_le_bytes());
    }
}
