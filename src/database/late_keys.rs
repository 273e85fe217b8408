//! Which keys of a table are cheaper to build when its rows are in: a sorted build of a secondary key costs a fraction of keeping it up row by row.
//!
//! Works on what SHOW CREATE TABLE prints. What isn't understood to the last word stays as it is.

use super::lex::{Kind, Token, tokens};
use super::literal::quoted;

/// A table's definition as the statements that make it, in their order in time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// CREATE TABLE, without what comes later.
    pub(super) create: Vec<u8>,
    /// ALTER TABLE statements for when the rows are in.
    pub(super) keys: Vec<Vec<u8>>,
    /// The ALTER TABLE that adds the foreign keys: for when every table has its keys. (A server refuses a foreign key to a table that is there
    /// and lacks the key.)
    pub(super) foreign: Option<Vec<u8>>,
}

/// What a line of a table's definition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A column, a CHECK: stays.
    Plain,
    Primary,
    Unique,
    Secondary,
    Fulltext,
    Foreign,
}

#[derive(Debug)]
struct Line<'a> {
    class: Class,
    text: &'a [u8],
    tokens: Vec<Token<'a>>,
}

/// Parts a CREATE TABLE statement: always its foreign keys, and its secondary keys when `late`. `None` when nothing may be parted from it.
pub(super) fn part(create: &[u8], late: bool) -> Option<Parts> {
    let list: Vec<Token<'_>> = tokens(create).collect();
    let mut words = list.iter().enumerate().filter(|(_, token)| token.kind != Kind::Blank);
    let mut word = || words.next();
    let (_, verb) = word()?;
    let (_, table) = word()?;
    let (_, name) = word()?;
    let (open, parenthesis) = word()?;
    let begins = verb.is("CREATE") && table.is("TABLE") && name.text.starts_with(b"`") && parenthesis.is_symbol(b'(');
    let close = if begins { closing(&list, open)? } else { return None };
    let options = list.get(close + 1..)?;
    if !is_innodb(options) || list.iter().any(|token| token.is("VERSIONING")) {
        return None;
    }
    let lines = lines(create, list.get(open + 1..close)?)?;

    let first_late = if late { first_late(&lines) } else { lines.len() };
    let (mut kept, mut fulltext, mut keys, mut foreign) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (at, line) in lines.iter().enumerate() {
        match line.class {
            Class::Foreign => foreign.push(line.text),
            Class::Fulltext if at >= first_late => fulltext.push(line.text),
            Class::Unique | Class::Secondary if at >= first_late => keys.push(line.text),
            _ => kept.push(line.text),
        }
    }
    let between = |from: usize, to: usize| create.get(from..to);
    let parted = kept.len() < lines.len();
    let whole = [
        between(0, list.get(open)?.end())?,
        b"\n  ",
        &kept.join(b",\n  ".as_slice()),
        b"\n",
        between(list.get(close)?.at, create.len())?,
    ];
    let alter = |lines: &[&[u8]]| [b"ALTER TABLE ", name.text, b"\n  ADD ", &lines.join(b",\n  ADD ".as_slice())].concat();
    // The first FULLTEXT key makes the server write the table anew: before the others are there. And it takes one at a time.
    let mut statements: Vec<Vec<u8>> = fulltext.iter().map(|line| alter(&[line])).collect();
    statements.extend((!keys.is_empty()).then(|| alter(&keys)));
    Some(Parts {
        create: if parted { whole.concat() } else { create.to_vec() },
        keys: statements,
        foreign: (!foreign.is_empty()).then(|| alter(&foreign)),
    })
}

/// The definition of one column, its name first.
pub(super) fn column<'a>(create: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let list: Vec<Token<'_>> = tokens(create).collect();
    let open = list.iter().position(|token| token.is_symbol(b'('))?;
    let close = closing(&list, open)?;
    let wanted = quoted(name);
    let line = lines(create, list.get(open + 1..close)?)?.into_iter();
    line.filter(|line| line.class == Class::Plain)
        .map(|line| line.text)
        .find(|text| tokens(text).next().is_some_and(|first| first.text == wanted))
}

/// The place of the parenthesis that closes the one at `open`.
fn closing(list: &[Token<'_>], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in list.iter().enumerate().skip(open) {
        if token.is_symbol(b'(') {
            depth += 1;
        } else if token.is_symbol(b')') {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

/// Other engines write the table anew for each ALTER, or know no secondary keys.
fn is_innodb(options: &[Token<'_>]) -> bool {
    let mut words = options.iter().filter(|token| token.kind != Kind::Blank);
    words.find(|token| token.is("ENGINE")).is_some()
        && words.next().is_some_and(|token| token.is_symbol(b'='))
        && words.next().is_some_and(|token| token.is("InnoDB"))
}

/// The definition's lines; `None` when one is of a kind that isn't known here.
fn lines<'a>(create: &'a [u8], inside: &[Token<'a>]) -> Option<Vec<Line<'a>>> {
    let mut depth = 0usize;
    let mut ends = Vec::new();
    for (at, token) in inside.iter().enumerate() {
        if token.is_symbol(b'(') {
            depth += 1;
        } else if token.is_symbol(b')') {
            depth = depth.checked_sub(1)?;
        } else if depth == 0 && token.is_symbol(b',') {
            ends.push(at);
        }
    }
    ends.push(inside.len());
    let mut begin = 0;
    let mut lines = Vec::with_capacity(ends.len());
    for end in ends {
        let tokens: Vec<Token<'a>> = inside.get(begin..end)?.iter().filter(|token| token.kind != Kind::Blank).copied().collect();
        begin = end + 1;
        let text = create.get(tokens.first()?.at..tokens.last()?.end())?;
        lines.push(Line { class: class(&tokens)?, text, tokens });
    }
    Some(lines)
}

fn class(tokens: &[Token<'_>]) -> Option<Class> {
    let [first, second, ..] = tokens else { return None };
    if first.text.starts_with(b"`") {
        return Some(Class::Plain);
    }
    if first.is("KEY") {
        return Some(Class::Secondary);
    }
    if first.is("CONSTRAINT") {
        let kind = tokens.get(2)?;
        return match () {
            () if kind.is("FOREIGN") => Some(Class::Foreign),
            () if kind.is("CHECK") => Some(Class::Plain),
            () => None,
        };
    }
    match (second.is("KEY"), ()) {
        (true, ()) if first.is("PRIMARY") => Some(Class::Primary),
        (true, ()) if first.is("UNIQUE") => Some(Class::Unique),
        (true, ()) if first.is("FULLTEXT") => Some(Class::Fulltext),
        (true, ()) if first.is("SPATIAL") => Some(Class::Secondary),
        _ => None,
    }
}

/// From which line on keys can come later: after the last that the table can't be without. (The server prints keys in an order of its own, and
/// those alike in the order in which they were made: keys before one that stays, stay.)
fn first_late(lines: &[Line<'_>]) -> usize {
    let primary = lines.iter().find(|line| line.class == Class::Primary);
    let counter = lines.iter().filter(|line| line.class == Class::Plain).find_map(|line| {
        let name = line.tokens.first().filter(|name| name.kind == Kind::Quoted)?;
        line.tokens.iter().any(|token| token.is("AUTO_INCREMENT")).then_some(name.text)
    });
    // The counter's column must be the first of a key.
    let counter = counter.filter(|name| primary.and_then(|key| key.tokens.get(3)).is_none_or(|first| first.text != *name));
    let needed = |line: &Line<'_>| match line.class {
        Class::Primary => true,
        Class::Unique | Class::Secondary | Class::Fulltext => {
            // Without a primary key the rows lie in the order of a unique one.
            (line.class == Class::Unique && primary.is_none())
                || counter.is_some_and(|name| line.tokens.iter().any(|token| token.text == name))
                // Those bring hidden columns with them: adding one writes the table anew.
                || line.tokens.iter().any(|token| token.is("HASH") || token.is("OVERLAPS"))
                || line.tokens.windows(2).any(|pair| matches!(pair, [a, b] if a.is_symbol(b'(') && b.is_symbol(b'(')))
        }
        Class::Plain | Class::Foreign => false,
    };
    lines.iter().rposition(needed).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn parts(create: &str, late: bool) -> Option<(String, Vec<String>, Option<String>)> {
        let parts = part(create.as_bytes(), late)?;
        Some((text(&parts.create), parts.keys.iter().map(|sql| text(sql)).collect(), parts.foreign.as_deref().map(text)))
    }

    const POSTS: &str = "CREATE TABLE `p``o(` (
  `ID` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `name` varchar(200) NOT NULL DEFAULT '' COMMENT 'a, (b KEY `x` (',
  `author` bigint(20) DEFAULT NULL CHECK (`author` > 0),
  PRIMARY KEY (`ID`),
  UNIQUE KEY `u` (`name`,`author`) COMMENT 'one, two',
  KEY `name` (`name`(191)),
  KEY `author` (`author` DESC) USING BTREE,
  SPATIAL KEY `s` (`g`),
  FULLTEXT KEY `f` (`name`),
  FULLTEXT KEY `g` (`name`,`author`) /*!50100 WITH PARSER `ngram` */ ,
  CONSTRAINT `fk` FOREIGN KEY (`author`) REFERENCES `users` (`id`) ON DELETE CASCADE,
  CONSTRAINT `fl` FOREIGN KEY (`author`) REFERENCES `more` (`id`),
  CONSTRAINT `c` CHECK (json_valid(`name`) and `a` in (1,2))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='ENGINE=MyISAM'
 PARTITION BY HASH (`ID`)";

    #[test]
    fn secondary_and_foreign_keys_come_later() {
        let (create, keys, foreign) = parts(POSTS, true).unwrap();
        assert_eq!(
            create,
            "CREATE TABLE `p``o(` (
  `ID` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `name` varchar(200) NOT NULL DEFAULT '' COMMENT 'a, (b KEY `x` (',
  `author` bigint(20) DEFAULT NULL CHECK (`author` > 0),
  PRIMARY KEY (`ID`),
  CONSTRAINT `c` CHECK (json_valid(`name`) and `a` in (1,2))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='ENGINE=MyISAM'
 PARTITION BY HASH (`ID`)"
        );
        assert_eq!(
            keys,
            [
                "ALTER TABLE `p``o(`\n  ADD FULLTEXT KEY `f` (`name`)",
                "ALTER TABLE `p``o(`\n  ADD FULLTEXT KEY `g` (`name`,`author`) /*!50100 WITH PARSER `ngram` */",
                "ALTER TABLE `p``o(`\n  ADD UNIQUE KEY `u` (`name`,`author`) COMMENT 'one, two',\n  ADD KEY `name` (`name`(191)),\n  ADD KEY `author` (`author` DESC) USING BTREE,\n  ADD SPATIAL KEY `s` (`g`)",
            ]
        );
        assert_eq!(
            foreign.unwrap(),
            "ALTER TABLE `p``o(`\n  ADD CONSTRAINT `fk` FOREIGN KEY (`author`) REFERENCES `users` (`id`) ON DELETE CASCADE,\n  ADD CONSTRAINT `fl` FOREIGN KEY (`author`) REFERENCES `more` (`id`)"
        );
        let (create, keys, foreign) = parts(POSTS, false).unwrap();
        assert!(create.contains("FULLTEXT KEY `g`") && !create.contains("FOREIGN"), "{create}");
        assert!(keys.is_empty() && foreign.is_some());
        let plain = "CREATE TABLE `t` (\n  `a` int(11) DEFAULT NULL\n) ENGINE=InnoDB";
        assert_eq!(parts(plain, true).unwrap(), (plain.into(), vec![], None));
    }

    fn late(columns_and_keys: &str) -> Vec<String> {
        parts(&format!("CREATE TABLE `t` (\n  {columns_and_keys}\n) ENGINE=InnoDB"), true).unwrap().1
    }

    #[test]
    fn what_the_table_needs_stays() {
        let add = |key: &str| vec![format!("ALTER TABLE `t`\n  ADD {key}")];
        // A unique key that takes the primary key's place.
        assert_eq!(
            late("`a` int NOT NULL,\n  UNIQUE KEY `a` (`a`),\n  UNIQUE KEY `b` (`a`),\n  KEY `k` (`a`)"),
            add("KEY `k` (`a`)")
        );
        // The counter's key, and those before it.
        let counted = "`a` int NOT NULL,\n  `n` int NOT NULL AUTO_INCREMENT,\n  PRIMARY KEY (`a`,`n`),\n  KEY `j` (`a`),\n  KEY `n` (`n`),\n  KEY `k` (`a`)";
        assert_eq!(late(counted), add("KEY `k` (`a`)"));
        assert_eq!(late("`n` int NOT NULL AUTO_INCREMENT,\n  PRIMARY KEY (`n`),\n  KEY `n` (`n`)"), add("KEY `n` (`n`)"));
        // Those that bring a hidden column.
        assert!(late("`a` text,\n  PRIMARY KEY (`b`),\n  UNIQUE KEY `a` (`a`) USING HASH").is_empty());
        assert!(late("`a` text,\n  PRIMARY KEY (`b`),\n  KEY `a` ((lower(`a`)))").is_empty());
        assert!(late("`a` int,\n  PRIMARY KEY (`a`),\n  UNIQUE KEY `b` (`a`,`p` WITHOUT OVERLAPS)").is_empty());
    }

    #[test]
    fn what_is_not_understood_stays_whole() {
        for create in [
            "",
            "CREATE TABLE t (`a` int, KEY `a` (`a`)) ENGINE=InnoDB",
            "CREATE TABLE `t` (\n  `a` int,\n  KEY `a` (`a`)\n) ENGINE=MyISAM",
            "CREATE TABLE `t` (\n  `a` int,\n  KEY `a` (`a`)\n) COMMENT='ENGINE=InnoDB'",
            "CREATE TABLE `t` (\n  `a` int,\n  KEY `a` (`a`)\n) ENGINE=InnoDB WITH SYSTEM VERSIONING",
            "CREATE TABLE `t` (\n  `a` int,\n  VECTOR KEY `a` (`a`)\n) ENGINE=InnoDB",
            "CREATE TABLE `t` (\n  `a` int,\n  PERIOD FOR `p` (`a`, `b`)\n) ENGINE=InnoDB",
            "CREATE TABLE `t` (\n  `a` int,\n  KEY `a` (`a`)\n ENGINE=InnoDB",
            "CREATE TABLE `t` (\n  `a` int,\n) ENGINE=InnoDB",
            "CREATE TABLE `t` LIKE `u`",
            "CREATE SEQUENCE `t` start with 1 ENGINE=InnoDB",
        ] {
            assert_eq!(parts(create, true), None, "{create}");
        }
    }

    fn quoted() -> impl Strategy<Value = String> {
        "[a-z`,()'\" ]{1,8}".prop_map(|name| format!("`{}`", name.replace('`', "``")))
    }

    prop_compose! {
        fn column()(name in quoted(), comment in "[a-z`,()\"; ]{0,12}", kind in "int\\(11\\)|decimal\\(5,2\\)|enum\\('a,','\\)'\\)") -> String {
            format!("{name} {kind} DEFAULT NULL COMMENT '{comment}'")
        }
    }

    prop_compose! {
        fn key()(kind in "KEY|UNIQUE KEY|FULLTEXT KEY", name in quoted(), of in proptest::collection::vec(quoted(), 1..4)) -> String {
            format!("{kind} {name} ({}(10) DESC)", of.join(","))
        }
    }

    proptest! {
        /// Every line stands in exactly one statement, whole, and lines of one kind keep their order.
        #[test]
        fn nothing_is_lost(
            columns in proptest::collection::vec(column(), 1..5),
            keys in proptest::collection::vec(key(), 0..6),
            foreign in proptest::collection::vec(quoted(), 0..3),
        ) {
            let mut lines = columns.clone();
            lines.push("PRIMARY KEY (`id`)".into());
            lines.extend(keys.iter().cloned());
            lines.extend(foreign.iter().map(|name| format!("CONSTRAINT {name} FOREIGN KEY ({name}) REFERENCES {name} ({name})")));
            let create = format!("CREATE TABLE `t` (\n  {}\n) ENGINE=InnoDB COMMENT='x'", lines.join(",\n  "));
            let (rest, late, added) = parts(&create, true).unwrap();
            prop_assert_eq!(rest, format!("CREATE TABLE `t` (\n  {},\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB COMMENT='x'", columns.join(",\n  ")));
            let listed = |sql: &String| sql.split_once("\n  ADD ").unwrap().1.split(",\n  ADD ").map(str::to_owned).collect::<Vec<_>>();
            let late: Vec<String> = late.iter().flat_map(listed).collect();
            for fulltext in [true, false] {
                let of = |list: &[String]| list.iter().filter(|key| key.starts_with("FULLTEXT") == fulltext).cloned().collect::<Vec<_>>();
                prop_assert_eq!(of(&late), of(&keys));
            }
            prop_assert_eq!(late.len(), keys.len());
            prop_assert_eq!(added.iter().flat_map(listed).count(), foreign.len());
        }

        #[test]
        fn any_text_is_survived(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = part(&text, true);
            let _ = part(&[b"CREATE TABLE `t` (", text.as_slice(), b") ENGINE=InnoDB"].concat(), true);
        }
    }
}
