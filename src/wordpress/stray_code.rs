//! Code where none belongs: a file below uploads that a web server may run as PHP. WordPress itself puts none there; plugins put an
//! `index.php` there that does nothing, so that no server lists the directory.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::repository::ids::ChunkId;

/// What servers are known to run, by any of a name's endings: some run `a.php.jpg`, too.
const ENDINGS: [&[u8]; 11] = [b"php", b"php3", b"php4", b"php5", b"php6", b"php7", b"php8", b"phtml", b"phar", b"pht", b"phpt"];

/// The longest content that does nothing. A shorter one is enough for a way in: it counts what it says, not how long it is.
const LONGEST: u64 = 64;

/// The contents that do nothing, as plugins write them.
static SILENCE: LazyLock<HashSet<ChunkId>> = LazyLock::new(|| {
    let mut all = HashSet::new();
    let mut add = |text: String| all.insert(ChunkId::of(text.as_bytes()));
    let ends = ["", "\n", "\r\n", "\n\n", "?>", " ?>", "\n?>", "\n?>\n", "\r\n?>", "\r\n?>\r\n", " ?>\n"];
    for begin in ["<?php", "<?php ", "<?php\n", "<?php\r\n", "<?php\n\n", "<?php\r\n\r\n"] {
        for end in ends {
            add(format!("{begin}{end}"));
            for words in ["Silence is golden", "Silence is Golden", "silence is golden"] {
                for stop in ["", ".", "!"] {
                    for (open, close) in [("// ", ""), ("//", ""), ("# ", ""), ("/* ", " */"), ("/*", "*/"), ("/** ", " */")] {
                        add(format!("{begin}{open}{words}{stop}{close}{end}"));
                    }
                    add(format!("{begin}/**\n * {words}{stop}\n */{end}"));
                }
            }
        }
    }
    all
});

/// Whether a server may run this file as PHP, and it does more than nothing. `content` is its only chunk, if it has one.
pub fn is_stray_code(path: &[u8], size: u64, content: Option<ChunkId>) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let runs = |ending: &[u8]| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known));
    if size == 0 || !name.split(|byte| *byte == b'.').skip(1).any(runs) {
        return false;
    }
    size > LONGEST || content.is_none_or(|content| !SILENCE.contains(&content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stray(path: &str, content: &str) -> bool {
        is_stray_code(path.as_bytes(), content.len() as u64, Some(ChunkId::of(content.as_bytes())))
    }

    #[test]
    fn what_a_server_may_run_is_code() {
        for name in ["a.php", "2026/11/A.PHP", "x.phtml", "x.phar", "x.pht", "x.php7", "photo.php.jpg", ".php", "index.php"] {
            assert!(stray(name, "<?php system($_GET['c']);"), "{name}");
        }
        for name in ["a.jpg", "php", "a.php/b.jpg", "a-php.jpg", "notphp.txt", "a.phps.txt", ""] {
            assert!(!stray(name, "<?php system($_GET['c']);"), "{name}");
        }
    }

    #[test]
    fn what_does_nothing_is_none_whatever_its_form() {
        for content in [
            "",
            "<?php",
            "<?php\n// Silence is golden.\n",
            "<?php\n// Silence is golden.",
            "<?php // Silence is golden",
            "<?php\r\n//Silence is golden\r\n?>\r\n",
            "<?php\n/**\n * Silence is golden.\n */\n",
        ] {
            assert!(!stray("wpforms/index.php", content), "{content:?}");
        }
        // Short isn't harmless.
        assert!(stray("index.php", "<?=`$_GET[0]`?>"));
        assert!(stray("index.php", "<?php\n// Silence is golden.\neval($_POST[0]);"));
        assert!(is_stray_code(b"index.php", 4096, None));
    }
}
