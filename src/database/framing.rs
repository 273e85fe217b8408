//! How statements stand in a chunk: either one statement that ends in `;` and a newline, or several between two `DELIMITER` lines.
//! Both are what the `mysql` client reads from its standard input.

/// Frames statements so that nothing inside them can end one.
pub(super) fn frame<S: AsRef<[u8]>>(statements: &[S]) -> Vec<u8> {
    let delimiter = delimiter(statements);
    let mut text = Vec::with_capacity(64 + statements.iter().map(|s| s.as_ref().len() + 8).sum::<usize>());
    text.extend_from_slice(b"DELIMITER ");
    text.extend_from_slice(delimiter.as_bytes());
    text.push(b'\n');
    for statement in statements {
        text.extend_from_slice(statement.as_ref());
        // On a line of its own: the statement's last line may be a comment.
        text.push(b'\n');
        text.extend_from_slice(delimiter.as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(b"DELIMITER ;\n");
    text
}

/// The first of `;;`, `$$1`, `$$2`… that no statement contains.
fn delimiter<S: AsRef<[u8]>>(statements: &[S]) -> String {
    if !statements.iter().any(|statement| find(statement.as_ref(), b";;").is_some()) {
        return ";;".to_owned();
    }
    // All at once: a body that holds very many of them must not be searched for each. There is room for no more of them than this.
    let most = statements.iter().map(|statement| statement.as_ref().len() / 3).sum::<usize>();
    let mut taken = vec![false; most + 2];
    for number in statements.iter().flat_map(|statement| numbers(statement.as_ref())) {
        if let Some(taken) = usize::try_from(number).ok().and_then(|number| taken.get_mut(number)) {
            *taken = true;
        }
    }
    let free = taken.iter().skip(1).position(|taken| !taken).unwrap_or_default() + 1;
    format!("$${free}")
}

/// Each number that stands behind `$$`, and each that begins one: `$$12` holds `$$1`, too.
fn numbers(statement: &[u8]) -> impl Iterator<Item = u64> {
    let behind = statement.windows(3).enumerate().filter(|(_, three)| matches!(three, [b'$', b'$', b'1'..=b'9']));
    behind.flat_map(|(at, _)| {
        // There is no room for all numbers of more digits.
        let digits = statement.get(at + 2..).unwrap_or_default().iter().take(12).take_while(|byte| byte.is_ascii_digit());
        digits.scan(0, |number, digit| {
            *number = *number * 10 + u64::from(digit - b'0');
            Some(*number)
        })
    })
}

/// The statements of a chunk in their order, without delimiters. `None` when it isn't framed as [`super::Dump`] frames it.
pub fn statements(sql: &[u8]) -> Option<Statements<'_>> {
    let Some(framed) = sql.strip_prefix(b"DELIMITER ") else {
        return Some(Statements { rest: sql.strip_suffix(b";\n")?, end: None });
    };
    let line = framed.iter().position(|b| *b == b'\n')?;
    let (delimiter, body) = framed.split_at_checked(line)?;
    let rest = body.strip_prefix(b"\n")?.strip_suffix(b"DELIMITER ;\n")?;
    let plain = !delimiter.is_empty() && !delimiter.iter().any(u8::is_ascii_whitespace);
    let end = [b"\n", delimiter, b"\n"].concat();
    (plain && (rest.is_empty() || rest.ends_with(&end))).then_some(Statements { rest, end: Some(end) })
}

/// See [`statements`].
#[derive(Debug, Clone)]
pub struct Statements<'a> {
    rest: &'a [u8],
    /// What ends each statement; `None` when the rest is one.
    end: Option<Vec<u8>>,
}

impl<'a> Iterator for Statements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let cut = self.end.as_ref().and_then(|end| Some((find(self.rest, end)?, end.len())));
        let (at, skip) = cut.unwrap_or((self.rest.len(), 0));
        let statement = self.rest.get(..at)?;
        self.rest = self.rest.get(at + skip..)?;
        Some(statement)
    }
}

/// A statement's beginning, for messages: at most 120 characters, and nothing of its values.
pub(super) fn summary(sql: &[u8]) -> String {
    let head = sql.get(..sql.len().min(1024)).unwrap_or_default();
    let head = find(head, b"VALUES").and_then(|at| head.get(..at + 6)).unwrap_or(head);
    let text = String::from_utf8_lossy(head);
    let mut words: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = words.char_indices().nth(120) {
        words.truncate(at);
        words.push('…');
    }
    words
}

/// Where `needle` first is. Never called with an empty one.
pub(super) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.iter().position(|b| b == first)?;
        if text.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn back(text: &[u8]) -> Vec<Vec<u8>> {
        statements(text).unwrap().map(<[u8]>::to_vec).collect()
    }

    proptest! {
        #[test]
        fn statements_go_round(list in proptest::collection::vec("[;$1\nDELIMTR ab]{1,12}", 0..5)) {
            let framed = frame(&list);
            prop_assert_eq!(back(&framed), list.iter().map(|s| s.as_bytes().to_vec()).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_refused_or_split(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = statements(&bytes).map(Iterator::count);
            let mut framed = b"DELIMITER ;;\n".to_vec();
            framed.extend_from_slice(&bytes);
            let _ = statements(&framed).map(Iterator::count);
        }
    }

    #[test]
    fn the_first_delimiter_that_nothing_contains() {
        assert_eq!(delimiter(&["a; b"]), ";;");
        assert_eq!(delimiter(&["a;;b", "$$x $1 $$"]), "$$1");
        assert_eq!(delimiter(&[";; $$12 $$$2", "$$03 $$4"]), "$$3");
        let many: String = (1..200_000).map(|number| format!("$${number} ")).collect();
        assert_eq!(delimiter(&[";;", &many]), "$$200000");
    }

    #[test]
    fn rows_are_one_statement_whatever_they_contain() {
        assert_eq!(back(b"INSERT INTO `t` VALUES\n(';\n;;');\n"), [b"INSERT INTO `t` VALUES\n(';\n;;')"]);
        assert!(statements(b"INSERT INTO `t`").is_none());
        assert!(statements(b"DELIMITER ;;\nSELECT 1").is_none());
        assert!(statements(b"DELIMITER ;;\nSELECT 1\nDELIMITER ;\n").is_none());
        assert!(statements(b"").is_none());
    }

    #[test]
    fn a_summary_has_no_values() {
        assert_eq!(summary(b"INSERT INTO `t` (`a`) VALUES\n('secret')"), "INSERT INTO `t` (`a`) VALUES");
        assert_eq!(summary("é".repeat(300).as_bytes()).chars().count(), 121);
    }
}
