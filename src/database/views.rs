//! Views: first a stub of each, then each, those that others are made of before those.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::{Kind, Listed};
use super::connect::Session;
use super::ddl;
use super::error::DatabaseError;
use super::grants;
use super::identity::as_change;
use super::lex::tokens;
use super::literal::{identifier, quote, quoted};
use super::objects::Unreadable;
use super::script::{self, Creation};

/// A view that can be made again.
#[derive(Debug)]
pub(super) struct View {
    pub(super) name: Vec<u8>,
    pub(super) stub: Vec<u8>,
    pub(super) sql: Vec<u8>,
    pub(super) definer: Option<Vec<u8>>,
    /// Every name that its definition quotes.
    mentions: BTreeSet<Vec<u8>>,
}

impl View {
    /// Whether its definition names this table.
    pub(super) fn mentions(&self, name: &[u8]) -> bool {
        self.mentions.contains(&quoted(name))
    }
}

/// All views in an order in which they can be made, and those that can't.
pub(super) async fn read(
    session: &mut Session,
    list: &[Listed],
    schema: &[u8],
) -> Result<(Vec<View>, Vec<(Vec<u8>, Unreadable)>), DatabaseError> {
    let (mut views, mut lost) = (BTreeMap::new(), Vec::new());
    for listed in list.iter().filter(|listed| listed.kind == Kind::View) {
        match view(session, &listed.name, schema).await? {
            Ok(view) => drop(views.insert(listed.name.clone(), view)),
            Err(why) => lost.push((listed.name.clone(), why)),
        }
    }
    Ok((ordered(views), lost))
}

async fn view(session: &mut Session, name: &[u8], schema: &[u8]) -> Result<Result<View, Unreadable>, DatabaseError> {
    let row = match session.one([b"SHOW CREATE VIEW ", quoted(name).as_slice()].concat()).await {
        Ok(row) => row.unwrap_or_default(),
        Err(DatabaseError::Server { code: 1142, message, .. }) => {
            let grant = grants::to_see_views(session).await?;
            return Ok(Err(Unreadable(format!("{message}; to let the account see it: {grant}"))));
        }
        Err(error @ DatabaseError::Server { code: 1146 | 1412, .. }) => return Err(as_change(error, name)),
        Err(DatabaseError::Server { code, message, .. }) => return Ok(Err(Unreadable(format!("error {code}: {message}")))),
        Err(error) => return Err(error),
    };
    let mut fields = row.into_iter().skip(1);
    let mut field = || fields.next().flatten().unwrap_or_default();
    let (create, client_charset, connection_collation) = (field(), field(), field());
    let mut sql =
        b"SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ".to_vec();
    quote(name, &mut sql);
    sql.extend_from_slice(b" ORDER BY ordinal_position");
    let columns: Vec<Vec<u8>> = session.all(sql).await?.into_iter().filter_map(|row| row.into_iter().next()?).collect();
    if columns.is_empty() {
        let text = String::from_utf8_lossy(&create);
        return Ok(Err(Unreadable(format!("it refers to something that is missing or not allowed; its definition: {text}"))));
    }
    let creation = Creation { client_charset, connection_collation, ..Creation::default() };
    let (create, definer) = ddl::take_definer(&create);
    let create = ddl::without_schema(&create, schema);
    Ok(Ok(View {
        name: name.to_vec(),
        stub: script::definition(&[&stub(name, &columns)]),
        sql: script::object(&creation, &ddl::or_replace(&create)),
        definer,
        mentions: mentions(&create),
    }))
}

fn stub(name: &[u8], columns: &[Vec<u8>]) -> Vec<u8> {
    let mut sql = b"CREATE VIEW ".to_vec();
    identifier(name, &mut sql);
    for (at, column) in columns.iter().enumerate() {
        sql.extend_from_slice(if at == 0 { b" AS SELECT 1 AS " } else { b", 1 AS " });
        identifier(column, &mut sql);
    }
    sql
}

fn mentions(create: &[u8]) -> BTreeSet<Vec<u8>> {
    tokens(create).filter(|token| token.text.starts_with(b"`")).map(|token| token.text.to_vec()).collect()
}

/// Each view after those that it mentions. A mention may be of a column by the same name: such a circle is broken by name.
fn ordered(mut views: BTreeMap<Vec<u8>, View>) -> Vec<View> {
    let mut list = Vec::with_capacity(views.len());
    while !views.is_empty() {
        let waits = |view: &View| views.keys().any(|other| *other != view.name && view.mentions.contains(&quoted(other)));
        let mut ready: Vec<Vec<u8>> = views.values().filter(|view| !waits(view)).map(|view| view.name.clone()).collect();
        if ready.is_empty() {
            ready.extend(views.keys().next().cloned());
        }
        list.extend(ready.iter().filter_map(|name| views.remove(name)));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_come_after_what_they_are_made_of() {
        let view = |name: &str, create: &str| {
            let view = View {
                name: name.into(),
                stub: Vec::new(),
                sql: Vec::new(),
                definer: None,
                mentions: mentions(create.as_bytes()),
            };
            (name.as_bytes().to_vec(), view)
        };
        let views = [
            view("a", "select * from `b``x` join `t`"),
            view("b`x", "select * from `c`"),
            view("c", "select '`a`'"),
            view("y", "select `z`.`z` from `z`"),
            view("z", "select 1 as `y`"),
        ];
        let names: Vec<String> =
            ordered(views.into_iter().collect()).into_iter().map(|v| String::from_utf8(v.name).unwrap()).collect();
        assert_eq!(names, ["c", "b`x", "a", "y", "z"]);
    }
}
