//! Which of a tree's paths are meant: exact ones, directories with all below, and globs.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use globset::{Candidate, Glob, GlobBuilder, GlobMatcher};

use super::error::FilesError;
use crate::repository::byte_text::ByteText;

/// Patterns of paths. None of them selects everything.
#[derive(Debug, Clone, Default)]
pub struct PathSelection(Vec<Pattern>);

#[derive(Debug, Clone)]
struct Pattern {
    given: ByteText,
    /// What it is as a path: as it was given, and with `%XX` turned back.
    exact: Vec<Vec<u8>>,
    glob: Option<GlobMatcher>,
    only_directories: bool,
}

impl PathSelection {
    /// A pattern is an exact path below the tree's root, or a glob as `exclude` takes them: without a slash it fits at any
    /// depth, with one at its end directories only. What is below a directory that fits is selected with it.
    /// Names that aren't UTF-8 may be given as they are, or escaped as they are shown.
    ///
    /// # Errors
    /// [`FilesError::Pattern`].
    pub fn new(patterns: &[OsString]) -> Result<Self, FilesError> {
        patterns.iter().map(|pattern| Pattern::new(pattern.clone().into_vec())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether everything is selected.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this path is selected by itself, not by a directory that it is in.
    pub fn fits(&self, path: &[u8], is_dir: bool) -> bool {
        self.is_all() || self.0.iter().any(|pattern| pattern.fits(path, is_dir))
    }

    /// The patterns that no path has fitted yet.
    pub fn unmatched(&self) -> Unmatched<'_> {
        Unmatched(self.0.iter().collect())
    }
}

/// See [`PathSelection::unmatched`].
#[derive(Debug)]
pub struct Unmatched<'a>(Vec<&'a Pattern>);

impl Unmatched<'_> {
    /// Takes note of a path. True once every pattern has fitted.
    pub fn see(&mut self, path: &[u8], is_dir: bool) -> bool {
        self.0.retain(|pattern| !pattern.fits(path, is_dir));
        self.0.is_empty()
    }

    /// One of them, as it was given.
    pub fn first(&self) -> Option<&ByteText> {
        self.0.first().map(|pattern| &pattern.given)
    }
}

impl Pattern {
    fn new(given: Vec<u8>) -> Result<Self, FilesError> {
        let anchored = given.contains(&b'/');
        let only_directories = given.ends_with(b"/");
        let mut path = given.as_slice();
        while let Some(rest) = path.strip_prefix(b"./").or_else(|| path.strip_prefix(b"/")) {
            path = rest;
        }
        while let Some(rest) = path.strip_suffix(b"/") {
            path = rest;
        }
        let bad = |detail: String| FilesError::Pattern { pattern: ByteText(given.clone()), detail };
        if path.is_empty() && !given.starts_with(b".") && !given.starts_with(b"/") {
            return Err(bad("it is empty".to_owned()));
        }
        // The root itself: everything.
        let path = if path == b"." { b"" } else { path };
        let mut exact = vec![path.to_vec()];
        let text = std::str::from_utf8(path).ok();
        exact.extend(text.and_then(ByteText::unescape).map(|text| text.0).filter(|plain| plain != path));
        let glob = match text.filter(|text| text.contains(['*', '?', '[', '{'])) {
            None => None,
            Some(text) => {
                let glob = if anchored { text.to_owned() } else { format!("**/{text}") };
                Some(build(&glob).map_err(|error| bad(error.kind().to_string()))?.compile_matcher())
            }
        };
        Ok(Self { given: ByteText(given), exact, glob, only_directories })
    }

    fn fits(&self, path: &[u8], is_dir: bool) -> bool {
        if self.only_directories && !is_dir {
            return false;
        }
        self.exact.iter().any(|exact| exact == path)
            || self.glob.as_ref().is_some_and(|glob| !path.is_empty() && glob.is_match_candidate(&Candidate::from_bytes(path)))
    }
}

fn build(glob: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build()
}

/// The bytes of a path that was given on the command line, below a tree's root: without slashes at its ends.
pub fn below_root(path: &std::ffi::OsStr) -> Vec<u8> {
    let mut path = path.as_bytes();
    while let Some(rest) = path.strip_prefix(b"./").or_else(|| path.strip_prefix(b"/")) {
        path = rest;
    }
    while let Some(rest) = path.strip_suffix(b"/") {
        path = rest;
    }
    if path == b"." { Vec::new() } else { path.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(patterns: &[&str]) -> PathSelection {
        PathSelection::new(&patterns.iter().map(OsString::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn exact_paths_and_globs() {
        for (pattern, path, is_dir, fits) in [
            ("uploads", "uploads", true, true),
            ("/uploads/", "uploads", true, true),
            ("uploads/", "uploads", false, false),
            ("index.php", "index.php", false, true),
            // Exact: it has nothing of a glob.
            ("index.php", "plugins/index.php", false, false),
            ("*.php", "plugins/a/index.php", false, true),
            ("/*.php", "plugins/a/index.php", false, false),
            ("uploads/*.jpg", "uploads/a.jpg", false, true),
            ("uploads/*.jpg", "uploads/2024/a.jpg", false, false),
            ("uploads/**/*.jpg", "uploads/2024/a.jpg", false, true),
            ("a[1].txt", "a[1].txt", false, true),
            ("a[1].txt", "x/a1.txt", false, true),
            ("100%25", "100%", false, true),
            ("100%", "100%", false, true),
            (".", "", true, true),
            ("*", "", true, false),
            ("./a/b", "a/b", false, true),
        ] {
            assert_eq!(selection(&[pattern]).fits(path.as_bytes(), is_dir), fits, "{pattern} {path}");
        }
        assert!(selection(&["%FF"]).fits(b"\xff", false));
        assert!(PathSelection::new(&[OsString::from_vec(vec![0xff])]).unwrap().fits(b"\xff", false));
        assert!(selection(&[]).is_all());
        assert!(PathSelection::new(&["".into()]).is_err());
        assert!(PathSelection::new(&["a[".into()]).is_err());
    }

    #[test]
    fn a_pattern_that_fits_nothing_is_known() {
        let selection = selection(&["a", "*.b", "c/"]);
        let mut unmatched = selection.unmatched();
        assert!(!unmatched.see(b"x.b", false));
        assert!(!unmatched.see(b"c", false));
        assert!(!unmatched.see(b"a", true));
        assert_eq!(unmatched.first().unwrap().to_string(), "c/");
        assert!(unmatched.see(b"c", true));
        assert_eq!(unmatched.first(), None);
    }
}
