//! What a blog's day changes: 60 images come, 40 text files are edited, a plugin is updated.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::content::Kind;
use crate::random::Random;
use crate::scaled;
use crate::text::Text;
use crate::tree::{self, File};
use crate::write;

const IMAGES: u64 = 60;
const EDITS: u64 = 40;
/// In a hundred files of the plugin: those that differ in the new version, and those that are only in one of the two.
const CHANGED: u64 = 30;
const MOVED_ON: u64 = 3;

pub(crate) fn day(root: &Path, scale: f64, number: u64) -> io::Result<()> {
    let text = Text::new();
    let mut random = Random::of(&format!("day {number}"));
    random.next();
    let files = tree::plan(scale);
    let plugin = format!("plugins/plugin-{}/", 3 * number);

    let mut images = Vec::new();
    for image in 0..scaled(IMAGES, scale) {
        let stem = format!("uploads/2026/01/{}-day-{number}-{image}", text.slug(&mut random, 2));
        tree::image(&stem, SystemTime::now(), &mut random, &mut images);
    }
    write::all(root, &images)?;

    let others: Vec<&File> = files
        .iter()
        .filter(|file| matches!(file.kind, Kind::Php | Kind::Js | Kind::Css | Kind::Json) && !is_in_updated(&file.path))
        .collect();
    for _ in 0..scaled(EDITS, scale) {
        let file = others[random.below(others.len() as u64) as usize];
        let old = fs::read(root.join(&file.path))?;
        fs::write(root.join(&file.path), edited(old, &text, &mut random))?;
    }

    // As WordPress does it: the old version's directory goes, and the new one's files are written anew.
    for file in files.iter().filter(|file| file.path.starts_with(&plugin)) {
        let path = root.join(&file.path);
        let old = fs::read(&path)?;
        fs::remove_file(&path)?;
        if random.percent(MOVED_ON) {
            fs::write(path.with_extension("new.php"), edited(old, &text, &mut random))?;
        } else if file.kind.is_text() && random.percent(CHANGED) {
            fs::write(&path, edited(old, &text, &mut random))?;
        } else {
            fs::write(&path, old)?;
        }
    }
    Ok(())
}

/// Whether it belongs to a plugin that one of the days updates: those are read as they were planned.
fn is_in_updated(path: &str) -> bool {
    let number = path
        .strip_prefix("plugins/plugin-")
        .and_then(|rest| rest.split('/').next())
        .and_then(|number| number.parse::<u64>().ok());
    number.is_some_and(|number| number % 3 == 0)
}

/// With a sentence more, in one place.
fn edited(mut bytes: Vec<u8>, text: &Text, random: &mut Random) -> Vec<u8> {
    let at = random.below(bytes.len() as u64 + 1) as usize;
    let line = format!("\n// {}\n", text.words(random, 8));
    bytes.splice(at..at, line.into_bytes());
    bytes
}
