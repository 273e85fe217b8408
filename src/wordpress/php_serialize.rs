//! PHP's `serialize()` format, read structurally: byte strings are told to a visitor with the keys that lead to them.
//!
//! The input is a stranger's: no length or count in it is trusted, nothing is allocated for it but the path of keys, and it is
//! left with an error at the first byte that doesn't fit. Nothing is ever made into an object.

/// How deep arrays may be nested.
const DEPTH_LIMIT: usize = 64;

/// A value that isn't PHP's format, or is nested deeper than 64 levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a serialized PHP value, from byte {at} on")]
pub struct Malformed {
    /// Where the first byte stands that doesn't fit.
    pub at: usize,
}

/// One key on the way to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A number.
    Index(i64),
    /// A name; a private property's has its class between NUL bytes before it.
    Name(&'a [u8]),
}

impl Step<'_> {
    /// Whether this is the key of this name.
    pub fn is(&self, name: &str) -> bool {
        *self == Step::Name(name.as_bytes())
    }
}

/// Calls `visit` for every string in a serialized value, in order, with its path; the path of a bare string is empty.
///
/// The visitor is called before the end is known: what it collects counts only when this returns `Ok`.
pub fn walk<'a>(input: &'a [u8], visit: &mut dyn FnMut(&[Step<'a>], &'a [u8])) -> Result<(), Malformed> {
    let mut reader = Reader { input, at: 0, path: Vec::new(), visit };
    let done = reader.value().filter(|()| reader.at == input.len());
    done.ok_or(Malformed { at: reader.at })
}

struct Reader<'a, 'v> {
    input: &'a [u8],
    at: usize,
    path: Vec<Step<'a>>,
    visit: &'v mut dyn FnMut(&[Step<'a>], &'a [u8]),
}

impl<'a> Reader<'a, '_> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.input.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn expect(&mut self, text: &[u8]) -> Option<()> {
        self.input.get(self.at..)?.starts_with(text).then(|| self.at += text.len())
    }

    /// The bytes up to `end`, which is stepped over. Numbers only: none is longer than 64 bytes.
    fn until(&mut self, end: u8) -> Option<&'a str> {
        let rest = self.input.get(self.at..)?;
        let length = rest.iter().take(64).position(|byte| *byte == end)?;
        let text = std::str::from_utf8(rest.get(..length)?).ok()?;
        self.at += length + 1;
        Some(text)
    }

    fn count(&mut self) -> Option<usize> {
        self.until(b':')?.parse().ok()
    }

    /// `5:"bytes"`
    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.count()?;
        self.expect(b"\"")?;
        let bytes = self.take(length)?;
        self.expect(b"\"")?;
        Some(bytes)
    }

    fn value(&mut self) -> Option<()> {
        let kind = self.take(2)?;
        match kind {
            b"N;" => Some(()),
            b"b:" => matches!(self.until(b';')?, "0" | "1").then_some(()),
            b"i:" => self.until(b';')?.parse::<i64>().ok().map(drop),
            b"r:" | b"R:" => self.until(b';')?.parse::<u64>().ok().map(drop),
            b"d:" => self.until(b';')?.parse::<f64>().ok().map(drop),
            b"s:" => {
                let text = self.string()?;
                self.expect(b";")?;
                (self.visit)(&self.path, text);
                Some(())
            }
            // An enumeration's case.
            b"E:" => {
                self.string()?;
                self.expect(b";")
            }
            b"a:" => self.members(),
            b"O:" => {
                self.string()?;
                self.expect(b":")?;
                self.members()
            }
            // An object that serializes itself: what is in it is its own.
            b"C:" => {
                self.string()?;
                self.expect(b":")?;
                let length = self.count()?;
                self.expect(b"{")?;
                self.take(length)?;
                self.expect(b"}")
            }
            _ => None,
        }
    }

    /// `2:{key value key value}`
    fn members(&mut self) -> Option<()> {
        let count = self.count()?;
        self.expect(b"{")?;
        if self.path.len() >= DEPTH_LIMIT {
            return None;
        }
        for _ in 0..count {
            let key = match self.take(2)? {
                b"i:" => Step::Index(self.until(b';')?.parse().ok()?),
                b"s:" => {
                    let name = self.string()?;
                    self.expect(b";")?;
                    Step::Name(name)
                }
                _ => return None,
            };
            self.path.push(key);
            self.value()?;
            self.path.pop();
        }
        self.expect(b"}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strings(input: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
        let mut found = Vec::new();
        walk(input, &mut |path, text| {
            let key = |step: &Step<'_>| match step {
                Step::Index(number) => number.to_string(),
                Step::Name(name) => String::from_utf8_lossy(name).into_owned(),
            };
            let path = path.iter().map(key).collect::<Vec<_>>().join("/");
            found.push((path, String::from_utf8_lossy(text).into_owned()));
        })?;
        Ok(found)
    }

    fn pair(path: &str, text: &str) -> (String, String) {
        (path.to_owned(), text.to_owned())
    }

    #[test]
    fn strings_are_told_with_their_path() {
        let metadata = b"a:4:{s:5:\"width\";i:800;s:4:\"file\";s:9:\"2026/a.jp\";s:5:\"sizes\";a:1:{s:5:\"thumb\";\
                         a:2:{s:4:\"file\";s:7:\"a-1.jpg\";s:8:\"filesize\";d:1.5;}}i:-3;b:1;}";
        assert_eq!(strings(metadata).unwrap(), [pair("file", "2026/a.jp"), pair("sizes/thumb/file", "a-1.jpg")]);
        assert_eq!(strings(b"s:3:\"a;\"\";").unwrap(), [pair("", "a;\"")]);
        assert_eq!(strings("s:2:\"é\";".as_bytes()).unwrap(), [pair("", "é")]);
    }

    #[test]
    fn objects_references_and_the_rest_are_stepped_over() {
        let value =
            b"O:8:\"stdClass\":4:{s:1:\"a\";R:1;s:1:\"b\";C:1:\"X\":4:{}}{;}s:1:\"c\";E:5:\"A:One\";s:4:\"\0X\0d\";s:1:\"y\";}";
        assert_eq!(strings(value).unwrap(), [pair("\0X\0d", "y")]);
        for plain in ["N;", "b:0;", "i:-5;", "d:INF;", "d:-1.5E+25;", "a:0:{}"] {
            assert_eq!(strings(plain.as_bytes()), Ok(vec![]), "{plain}");
        }
    }

    #[test]
    fn what_lies_about_its_lengths_is_refused() {
        for hostile in [
            "",
            "x",
            "s:5:\"abc\";",
            "s:2:\"abc\";",
            "s:99999999999999999999:\"a\";",
            "s:18446744073709551615:\"a\";",
            "s:-1:\"a\";",
            "a:9999999999:{}",
            "a:1:{i:0;}",
            "a:0:{i:0;i:1;}",
            "a:1:{a:0:{}i:1;}",
            "i:1",
            "i:;",
            "b:2;",
            "N;N;",
            "C:1:\"X\":999:{}",
            "O:1:\"X\":1:{}",
        ] {
            assert!(strings(hostile.as_bytes()).is_err(), "{hostile}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| format!("{}N;{}", "a:1:{i:0;".repeat(levels), "}".repeat(levels));
        assert!(strings(nested(64).as_bytes()).is_ok());
        assert!(strings(nested(65).as_bytes()).is_err());
        assert!(strings("a:1:{i:0;".repeat(1_000_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_input_is_a_problem(input in r#"[aOCNsbidrRE:;{}"0-9x]{0,80}"#) {
            let _ = strings(input.as_bytes());
        }

        #[test]
        fn any_string_comes_back(text in proptest::collection::vec(any::<u8>(), 0..50)) {
            let serialized = [format!("a:1:{{i:7;s:{}:\"", text.len()).as_bytes(), &text, b"\";}"].concat();
            let mut found = Vec::new();
            walk(&serialized, &mut |path, text| found.push((path.to_vec(), text.to_vec()))).unwrap();
            prop_assert_eq!(found, vec![(vec![Step::Index(7)], text)]);
        }
    }
}
