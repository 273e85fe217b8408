//! Which files a wp-content of ten years has: paths, kinds, sizes and times. The bytes are content.rs's.

use std::time::{Duration, SystemTime};

use crate::content::Kind;
use crate::random::Random;
use crate::scaled;
use crate::text::Text;

/// One file to be written.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    /// What its bytes follow from: its path, or a name that several files share, whose bytes are equal then.
    pub(crate) seed: String,
    pub(crate) modified: SystemTime,
}

const FILES: u64 = 46_000;
const IMAGES: u64 = 2_500;
/// What WordPress makes of each image, and about how many bytes it has.
const SIZES: [(&str, u64); 6] =
    [("", 0), ("-150x150", 7_000), ("-300x200", 13_000), ("-768x512", 45_000), ("-1024x683", 75_000), ("-1536x1024", 140_000)];
const PLUGINS: u64 = 40;
const THEMES: u64 = 5;
const LOCALES: [&str; 3] = ["de_DE", "fr_FR", "nl_NL"];
const YEARS: u64 = 10;
/// 2016-01-01.
const BEGIN: u64 = 1_451_606_400;

/// All files of the tree.
pub(crate) fn plan(scale: f64) -> Vec<File> {
    let text = Text::new();
    let mut files = Vec::new();
    images(&text, scaled(IMAGES, scale), &mut files);
    documents(scale, &mut files);
    logs(scale, &mut files);
    languages(scale, &mut files);
    let rest = scaled(FILES, scale).saturating_sub(files.len() as u64).max(PLUGINS + THEMES);
    code(&text, rest, &mut files);
    files
}

/// Between `low` and `high`, as likely in each octave: many small ones, few large.
pub(crate) fn spread(random: &mut Random, low: u64, high: u64) -> u64 {
    let part = random.below(1 << 32) as f64 / (1_u64 << 32) as f64;
    (low as f64 * (high as f64 / low as f64).powf(part)) as u64
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// An image and what WordPress makes of it.
pub(crate) fn image(stem: &str, modified: SystemTime, random: &mut Random, files: &mut Vec<File>) {
    for (suffix, about) in SIZES {
        let size = if about == 0 { spread(random, 130_000, 1_300_000) } else { spread(random, about * 6 / 10, about * 16 / 10) };
        let path = format!("{stem}{suffix}.jpg");
        files.push(File { seed: path.clone(), path, kind: Kind::Jpeg, size, modified });
    }
}

fn month(number: u64) -> String {
    format!("uploads/{}/{:02}", 2016 + number / 12, 1 + number % 12)
}

fn images(text: &Text, count: u64, files: &mut Vec<File>) {
    let mut random = Random::of("images");
    for number in 0..count {
        let when = number * YEARS * 12 / count;
        let stem = format!("{}/{}-{number}", month(when), text.slug(&mut random, 2));
        image(&stem, at(BEGIN + when * 2_629_800 + random.below(2_600_000)), &mut random, files);
    }
}

/// Few, but a quarter of the media's bytes: as many at each scale, of other sizes.
fn documents(scale: f64, files: &mut Vec<File>) {
    let mut random = Random::of("documents");
    let large = [("mp4", 4, 24_000_000, 160_000_000), ("zip", 4, 10_000_000, 50_000_000)];
    for (extension, count, low, high) in large {
        for number in 0..count {
            let part = (number as f64 + 0.5) / count as f64;
            let size = scaled((f64::from(low) * f64::from(high / low).powf(part)) as u64, scale);
            let path = format!("{}/download-{number}.{extension}", month(random.below(YEARS * 12)));
            files.push(File {
                seed: path.clone(),
                path,
                kind: Kind::Media,
                size,
                modified: at(BEGIN + random.below(300_000_000)),
            });
        }
    }
    for number in 0..scaled(150, scale) {
        let path = format!("{}/document-{number}.pdf", month(random.below(YEARS * 12)));
        let size = spread(&mut random, 60_000, 8_000_000);
        files.push(File { seed: path.clone(), path, kind: Kind::Media, size, modified: at(BEGIN + random.below(300_000_000)) });
    }
}

/// What a shop leaves below uploads that isn't media.
fn logs(scale: f64, files: &mut Vec<File>) {
    let mut random = Random::of("logs");
    let kinds = [
        ("importer/log", "log", Kind::Log, 250, 20_000, 8_000_000),
        ("exports/orders", "csv", Kind::Csv, 120, 50_000, 10_000_000),
    ];
    for (stem, extension, kind, count, low, high) in kinds {
        for number in 0..scaled(count, scale) {
            let path = format!("uploads/{stem}-{number}.{extension}");
            let size = spread(&mut random, low, high);
            files.push(File { seed: path.clone(), path, kind, size, modified: at(BEGIN + random.below(300_000_000)) });
        }
    }
}

fn languages(scale: f64, files: &mut Vec<File>) {
    let mut random = Random::of("languages");
    let kinds = [
        ("po", Kind::Po, 700, 20_000, 1_500_000),
        ("mo", Kind::Mo, 700, 15_000, 1_000_000),
        ("json", Kind::Json, 900, 1_000, 40_000),
    ];
    for (extension, kind, count, low, high) in kinds {
        for number in 0..scaled(count, scale) {
            let locale = LOCALES[number as usize % LOCALES.len()];
            let path = format!("languages/plugins/plugin-{}-{locale}.{extension}", number / LOCALES.len() as u64);
            let size = spread(&mut random, low, high);
            files.push(File {
                seed: path.clone(),
                path,
                kind,
                size,
                modified: at(BEGIN + 280_000_000 + random.below(30_000_000)),
            });
        }
    }
}

/// Kinds of a plugin's files: in a hundred, and sizes.
const CODE: [(&str, Kind, u64, u64, u64); 10] = [
    ("php", Kind::Php, 55, 300, 60_000),
    ("js", Kind::Js, 12, 1_000, 150_000),
    ("min.js", Kind::Minified, 6, 4_000, 700_000),
    ("js.map", Kind::Map, 2, 40_000, 2_000_000),
    ("css", Kind::Css, 8, 1_000, 90_000),
    ("min.css", Kind::Css, 4, 3_000, 170_000),
    ("svg", Kind::Svg, 4, 400, 10_000),
    ("png", Kind::Media, 3, 2_000, 60_000),
    ("woff2", Kind::Media, 2, 8_000, 60_000),
    ("json", Kind::Json, 4, 1_000, 60_000),
];
/// In a hundred files: those that other plugins bundle, too.
const BUNDLED: u64 = 5;

fn code(text: &Text, count: u64, files: &mut Vec<File>) {
    let extensions = PLUGINS + THEMES;
    for number in 0..extensions {
        // Large ones and small ones: the first has nine times as many files as the last.
        let share = |number: u64| (extensions * 9 - number * 8) as f64 / (extensions * 9) as f64;
        let all: f64 = (0..extensions).map(share).sum();
        let before: f64 = (0..number).map(share).sum();
        let until = ((before + share(number)) / all * count as f64).round() as u64;
        let own = until - (before / all * count as f64).round() as u64;
        let root =
            if number < PLUGINS { format!("plugins/plugin-{number}") } else { format!("themes/theme-{}", number - PLUGINS) };
        extension(text, &root, own, files);
    }
}

/// A plugin or a theme, with about one directory for seven files.
fn extension(text: &Text, root: &str, count: u64, files: &mut Vec<File>) {
    let mut random = Random::of(root);
    let mut directories = vec![root.to_owned()];
    let released = BEGIN + 250_000_000 + random.below(60_000_000);
    for number in 0..count {
        if number % 7 == 6 {
            let below = &directories[random.below(directories.len() as u64) as usize];
            let below = if below.matches('/').count() < 7 { below } else { root };
            let name = format!("{below}/{}-{}", text.word(&mut random).replace('\'', ""), directories.len());
            directories.push(name);
        }
        let mut at_most = random.below(100);
        let mut chosen = CODE[0];
        for kind in CODE {
            if at_most < kind.2 {
                chosen = kind;
                break;
            }
            at_most -= kind.2;
        }
        let (extension, kind, _, low, high) = chosen;
        let directory = &directories[random.below(directories.len() as u64) as usize];
        let path = format!("{directory}/{}-{number}.{extension}", text.slug(&mut random, 2));
        let mut size = spread(&mut random, low, high);
        let mut seed = path.clone();
        if random.percent(BUNDLED) {
            let library = random.below(40);
            seed = format!("bundled {extension} {library}");
            size = spread(&mut Random::of(&seed), low, high);
        }
        files.push(File { path, kind, size, seed, modified: at(released) });
    }
}
