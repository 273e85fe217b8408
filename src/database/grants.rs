//! What the account may see. A missing right shows as *absence*: no error, just no triggers. So the grants are read.

use std::collections::BTreeSet;

use super::connect::Session;
use super::error::DatabaseError;
use super::lex::{Kind, tokens};
use super::literal::{quote, quoted};
use crate::repository::entry::{Finding, FindingCode};

/// A GRANT statement on a schema, for a person to run.
pub(super) fn statement(rights: &str, schema: &str, user: &str) -> String {
    // `_` and `%` are wildcards in the schema's name of a GRANT.
    let pattern = schema.replace('_', "\\_").replace('%', "\\%");
    let pattern = String::from_utf8_lossy(&quoted(pattern.as_bytes())).into_owned();
    format!("GRANT {rights} ON {pattern}.* TO {user}")
}

/// An account of this name, as far as a client can tell which: the server knows it by the host it comes from.
pub(super) fn account_named(user: &str) -> String {
    format!("'{user}'@'localhost'")
}

/// MySQL's right without which nobody drops views, routines and events of accounts that have it, or makes any in their name.
pub(super) const SYSTEM_USER: &str = "SYSTEM_USER";

/// The session's account as SQL names a definer, when there may be objects of others that it may not drop.
pub(super) async fn cannot_drop_all(session: &mut Session) -> Result<Option<Vec<u8>>, DatabaseError> {
    let known = session.all("SHOW PRIVILEGES").await?;
    if !known.iter().any(|row| row.first().is_some_and(|name| name.as_deref() == Some(SYSTEM_USER.as_bytes()))) {
        return Ok(None);
    }
    let row = session.one("SELECT CURRENT_USER()").await?;
    let current = row.and_then(|row| row.into_iter().next()?).unwrap_or_default();
    let mut sql =
        format!("SELECT 1 FROM information_schema.user_privileges WHERE privilege_type = '{SYSTEM_USER}' AND grantee = ")
            .into_bytes();
    quote(account(&current).as_bytes(), &mut sql);
    if session.one(sql).await?.is_some() {
        return Ok(None);
    }
    let at = current.iter().rposition(|byte| *byte == b'@').unwrap_or(current.len());
    let (user, host) = current.split_at(at);
    Ok(Some([quoted(user), quoted(host.get(1..).unwrap_or_default())].join(b"@".as_slice())))
}

/// The rights that the account holds on the whole schema, and what else bears on seeing all of it.
#[derive(Debug, Default)]
struct Rights {
    schema: BTreeSet<String>,
    /// SELECT on mysql.proc, or a global right to see routines.
    all_routines: bool,
}

impl Rights {
    fn has(&self, right: &str) -> bool {
        self.schema.contains(right) || self.schema.contains("ALL PRIVILEGES") || self.schema.contains("ALL")
    }

    fn take(&mut self, grant: &[u8], schema: &[u8]) {
        let Some((revoke, rights, target)) = parse(grant) else { return };
        let (global, whole) = match target {
            Target::Everything => (true, true),
            Target::Schema(pattern) => {
                self.all_routines |= !revoke && like(&pattern, b"mysql") && has_select(&rights);
                (false, like(&pattern, schema))
            }
            Target::Table(schema, table) => {
                self.all_routines |= !revoke && schema == b"mysql" && table == b"proc" && has_select(&rights);
                (false, false)
            }
        };
        if revoke && whole {
            // MySQL's partial revokes take rights of this schema away from global ones.
            self.schema.retain(|right| !rights.contains(right));
        } else if whole {
            self.all_routines |=
                global && has_select(&rights) || rights.contains("SHOW_ROUTINE") || rights.contains("SHOW CREATE ROUTINE");
            self.schema.extend(rights);
        }
    }
}

fn has_select(rights: &BTreeSet<String>) -> bool {
    rights.contains("SELECT") || rights.contains("ALL PRIVILEGES")
}

enum Target {
    Everything,
    /// A pattern of schema names.
    Schema(Vec<u8>),
    Table(Vec<u8>, Vec<u8>),
}

/// What may be missing from a dump by this account, and the GRANT that shows it.
pub(super) async fn findings(session: &mut Session, mariadb: bool) -> Result<Vec<Finding>, DatabaseError> {
    let Who { schema, user, role } = who(session).await?;
    let mut show = b"SHOW GRANTS FOR CURRENT_USER()".to_vec();
    // MariaDB shows the active role's rights by itself.
    if !mariadb && !role.is_empty() && role != b"NONE" {
        show.extend_from_slice(b" USING ");
        show.extend_from_slice(&role);
    }
    let mut rights = Rights::default();
    for row in session.all(show).await? {
        if let Some(Some(grant)) = row.first() {
            rights.take(grant, &schema);
        }
    }
    let schema = String::from_utf8_lossy(&schema).into_owned();
    let finding = |subject: &str, grant: String| Finding {
        code: FindingCode::NotVisible,
        subject: subject.into(),
        detail: format!("the account may not see all {subject}; to let it: {grant}"),
    };
    let mut findings = Vec::new();
    for (right, subject) in [("SELECT", "tables"), ("TRIGGER", "triggers"), ("EVENT", "events")] {
        if !rights.has(right) {
            findings.push(finding(subject, statement(right, &schema, &user)));
        }
    }
    // One of these shows that a routine is there; a body that is hidden then is a finding of its own.
    if !rights.all_routines && !["EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE"].iter().any(|right| rights.has(right)) {
        findings.push(finding("functions and procedures", to_see_routines(session).await?));
    }
    Ok(findings)
}

/// The GRANT that shows views' definitions.
pub(super) async fn to_see_views(session: &mut Session) -> Result<String, DatabaseError> {
    let Who { schema, user, .. } = who(session).await?;
    Ok(statement("SELECT, SHOW VIEW", &String::from_utf8_lossy(&schema), &user))
}

/// The GRANT that shows routines with their bodies. It doesn't let the account call anything.
pub(super) async fn to_see_routines(session: &mut Session) -> Result<String, DatabaseError> {
    let Who { schema, user, .. } = who(session).await?;
    let version = session.one("SELECT VERSION()").await?.and_then(|row| row.into_iter().next()?).unwrap_or_default();
    if !version.to_ascii_lowercase().windows(7).any(|word| word == b"mariadb") {
        return Ok(format!("GRANT SHOW_ROUTINE ON *.* TO {user}"));
    }
    // The right is there from 11.3 on. Before, everybody who may read this table may read them.
    let known = session.all("SHOW PRIVILEGES").await?;
    let is_known = known.iter().any(|row| row.first().is_some_and(|name| name.as_deref() == Some(b"Show Create Routine")));
    Ok(match is_known {
        true => statement("SHOW CREATE ROUTINE", &String::from_utf8_lossy(&schema), &user),
        false => format!("GRANT SELECT ON mysql.proc TO {user}"),
    })
}

/// The session's schema and account, as a GRANT names it, and its role.
struct Who {
    schema: Vec<u8>,
    user: String,
    role: Vec<u8>,
}

async fn who(session: &mut Session) -> Result<Who, DatabaseError> {
    let row = match session.one("SELECT DATABASE(), CURRENT_USER(), CURRENT_ROLE()").await {
        // A server without roles.
        Err(DatabaseError::Server { .. }) => session.one("SELECT DATABASE(), CURRENT_USER()").await?,
        other => other?,
    };
    let mut fields = row.unwrap_or_default().into_iter();
    let mut field = || fields.next().flatten().unwrap_or_default();
    Ok(Who { schema: field(), user: account(&field()), role: field() })
}

/// `user@host` with quotes.
fn account(current_user: &[u8]) -> String {
    let text = String::from_utf8_lossy(current_user);
    match text.rsplit_once('@') {
        Some((user, host)) => format!("'{user}'@'{host}'"),
        None => format!("'{text}'"),
    }
}

/// `GRANT rights ON target TO …` or `REVOKE rights ON target FROM …`; `None` for roles, proxies and rights on routines.
fn parse(grant: &[u8]) -> Option<(bool, BTreeSet<String>, Target)> {
    let mut list = tokens(grant).filter(|token| token.kind != Kind::Blank);
    let verb = list.next()?;
    let revoke = verb.is("REVOKE");
    if !revoke && !verb.is("GRANT") {
        return None;
    }
    let (mut rights, mut words, mut depth) = (BTreeSet::new(), Vec::new(), 0u32);
    loop {
        let token = list.next()?;
        if token.is_symbol(b'(') {
            // A right on columns isn't one on the table.
            depth += 1;
            words.clear();
        } else if token.is_symbol(b')') {
            depth = depth.saturating_sub(1);
        } else if depth > 0 {
            continue;
        } else if token.is_symbol(b',') || token.is("ON") {
            if !words.is_empty() {
                rights.insert(std::mem::take(&mut words).join(" "));
            }
            if token.is("ON") {
                break;
            }
        } else if token.kind == Kind::Word {
            words.push(String::from_utf8_lossy(token.text).to_ascii_uppercase());
        } else {
            return None;
        }
    }
    let mut parts: Vec<Vec<u8>> = vec![Vec::new()];
    for token in list {
        if token.is("TO") || token.is("FROM") {
            break;
        }
        match parts.last_mut() {
            Some(part) if !token.is_symbol(b'.') => part.extend_from_slice(token.text),
            _ => parts.push(Vec::new()),
        }
    }
    let target = match <[Vec<u8>; 2]>::try_from(parts).ok()? {
        [schema, table] if schema == b"*" && table == b"*" => Target::Everything,
        [schema, table] if table == b"*" => Target::Schema(unquoted(&schema)?),
        [schema, table] => Target::Table(unquoted(&schema)?, unquoted(&table)?),
    };
    Some((revoke, rights, target))
}

fn unquoted(name: &[u8]) -> Option<Vec<u8>> {
    let Some(inner) = name.strip_prefix(b"`") else {
        // PROCEDURE `db`.`p` and FUNCTION `db`.`f` end here.
        return (!name.contains(&b'`')).then(|| name.to_vec());
    };
    let inner = inner.strip_suffix(b"`")?;
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().peekable();
    while let Some(byte) = bytes.next() {
        out.push(*byte);
        if *byte == b'`' {
            bytes.next_if(|b| **b == b'`');
        }
    }
    Some(out)
}

/// SQL's LIKE, as it stands for schema names in grants.
fn like(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    // What follows the last `%`, and what of the name it was held against. It alone may have to move on: those before it fit where they are.
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'%', rest)) = pattern.split_first() {
            again = Some((rest, name));
            pattern = rest;
        } else if pattern.is_empty() && name.is_empty() {
            return true;
        } else if let Some(next) = like_one(pattern, name) {
            (pattern, name) = next;
        } else {
            let Some((after, (_, tail))) = again.and_then(|(after, held)| Some((after, held.split_first()?))) else {
                return false;
            };
            again = Some((after, tail));
            (pattern, name) = (after, tail);
        }
    }
}

/// What follows after one byte of the name that fits; `%` is none of this.
fn like_one<'p, 'n>(pattern: &'p [u8], name: &'n [u8]) -> Option<(&'p [u8], &'n [u8])> {
    let (byte, tail) = name.split_first()?;
    let (first, rest) = pattern.split_first()?;
    match (first, rest.split_first()) {
        (b'_', _) => Some((rest, tail)),
        (b'\\', Some((escaped, rest))) => (escaped == byte).then_some((rest, tail)),
        _ => (first == byte).then_some((rest, tail)),
    }
}

/// What the fuzz target holds against what a server says of rights: a right that is told was granted by name.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzzed(lines: &[&[u8]], schema: &[u8]) {
    let mut rights = Rights::default();
    for line in lines {
        rights.take(line, schema);
        like(line, schema);
    }
    let said: Vec<u8> = lines.concat().to_ascii_uppercase();
    assert!(["SELECT", "TRIGGER", "EVENT"].iter().all(|right| {
        !rights.has(right) || [right, "ALL"].iter().any(|word| said.windows(word.len()).any(|at| at == word.as_bytes()))
    }));
    account(schema);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rights(grants: &[&str]) -> Rights {
        let mut rights = Rights::default();
        for grant in grants {
            rights.take(grant.as_bytes(), b"wp_blog");
        }
        rights
    }

    #[test]
    fn what_grants_say() {
        assert!(rights(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"]).has("TRIGGER"));
        assert!(rights(&["GRANT SELECT, SHOW VIEW ON `wp\\_blog`.* TO `a`@`b`"]).has("SHOW VIEW"));
        assert!(rights(&["GRANT SELECT ON `wp%`.* TO `a`@`b`"]).has("SELECT"));
        assert!(!rights(&["GRANT SELECT ON `wp\\_blogs`.* TO `a`@`b`"]).has("SELECT"));
        assert!(!rights(&["GRANT SELECT ON `wp_blog`.`t` TO `a`@`b`"]).has("SELECT"));
        assert!(!rights(&["GRANT SELECT (`a`, `TRIGGER`), INSERT ON `wp_blog`.* TO `a`@`b`"]).has("SELECT"));
        assert!(!rights(&["GRANT `SELECT`@`%` TO `a`@`b`", "GRANT PROXY ON ``@`%` TO `a`@`b`"]).has("SELECT"));
        assert!(!rights(&["GRANT EXECUTE ON PROCEDURE `wp_blog`.`p` TO `a`@`b`"]).has("EXECUTE"));
        assert!(!rights(&["GRANT SELECT ON *.* TO `a`@`b`", "REVOKE SELECT ON `wp_blog`.* FROM `a`@`b`"]).has("SELECT"));
        assert!(rights(&["GRANT SELECT ON `mysql`.`proc` TO `a`@`b`"]).all_routines);
        assert!(!rights(&["GRANT USAGE ON *.* TO `a`@`b` IDENTIFIED BY PASSWORD '*AB'"]).has("SELECT"));
    }

    /// As it is defined: in time that doubles with each `%`.
    fn plainly_like(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            Some((b'%', rest)) => (0..=name.len()).any(|at| plainly_like(rest, &name[at..])),
            Some(_) => like_one(pattern, name).is_some_and(|(rest, tail)| plainly_like(rest, tail)),
            None => name.is_empty(),
        }
    }

    proptest! {
        #[test]
        fn like_is_what_it_should_be(pattern in r"[ab%_\\]{0,8}", name in r"[ab%_\\]{0,8}") {
            prop_assert_eq!(like(pattern.as_bytes(), name.as_bytes()), plainly_like(pattern.as_bytes(), name.as_bytes()));
        }
    }

    #[test]
    fn a_pattern_of_many_wildcards_takes_no_time() {
        assert!(!like("%a".repeat(1000).as_bytes(), &[b'a'; 999]));
        assert!(like("%a".repeat(1000).as_bytes(), &[b'a'; 1000]));
        assert!(like(b"a\\", b"a\\") && !like(b"a\\_", b"a\\b") && like(b"a\\_", b"a_"));
    }

    #[test]
    fn the_statement_names_the_schema_exactly() {
        assert_eq!(statement("TRIGGER", "wp_blog", "'a'@'b'"), "GRANT TRIGGER ON `wp\\_blog`.* TO 'a'@'b'");
    }
}
