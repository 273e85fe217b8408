//! Very many small files: what a site's tree of generated fragments, forms or product feeds may grow to.

use std::fs;
use std::io;
use std::path::Path;

use crate::content::{self, Kind};
use crate::random::Random;
use crate::scaled;
use crate::text::Text;
use crate::write::in_parallel;

const FILES: u64 = 1_000_000;
const IN_A_DIRECTORY: u64 = 250;

pub(crate) fn make(root: &Path, scale: f64) -> io::Result<()> {
    let count = scaled(FILES, scale);
    let text = Text::new();
    in_parallel(count.div_ceil(IN_A_DIRECTORY), |directories| {
        let mut buffer = Vec::new();
        while let Some(number) = directories() {
            let directory = format!("uploads/feeds/{:02}/{:02}", number / 64, number % 64);
            fs::create_dir_all(root.join(&directory))?;
            for file in number * IN_A_DIRECTORY..count.min((number + 1) * IN_A_DIRECTORY) {
                let path = format!("{directory}/item-{file}.json");
                let mut random = Random::of(&path);
                random.next();
                let size = 200 + random.below(1_801);
                content::fill(Kind::Json, &path, size, &text, &mut buffer);
                fs::write(root.join(&path), &buffer)?;
            }
        }
        Ok(())
    })?;
    println!("{count} files");
    Ok(())
}
