//! Whether two trees or two databases are the same, found without any of the program's own code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::Metadata;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};

use super::mariadb::MariaDb;

/// One way in which the second differs from the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path below the root, or the table or object.
    pub subject: String,
    /// What is different.
    pub what: String,
}

impl Difference {
    fn new(subject: impl fmt::Display, what: impl Into<String>) -> Self {
        Self { subject: subject.to_string(), what: what.into() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.what)
    }
}

fn verdict(differences: Vec<Difference>) -> Result<(), Vec<Difference>> {
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

/// Compares every entry's kind, bytes, mode, mtime to the nanosecond, link target and (as root) owner and group, the roots'
/// too.
pub fn same_tree(a: &Path, b: &Path) -> Result<(), Vec<Difference>> {
    let (left, right) = (entries(a), entries(b));
    let mut differences = Vec::new();
    for path in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
        let name = if path.as_os_str().is_empty() { ".".to_owned() } else { format!("{path:?}") };
        match (left.get(path), right.get(path)) {
            (Some(_), None) => differences.push(Difference::new(name, "is missing")),
            (None, _) => differences.push(Difference::new(name, "is extra")),
            (Some(x), Some(y)) => {
                for what in unequal(&a.join(path), x, &b.join(path), y) {
                    differences.push(Difference::new(&name, what));
                }
            }
        }
    }
    verdict(differences)
}

fn entries(root: &Path) -> BTreeMap<PathBuf, Metadata> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.expect("a readable tree");
        let path = entry.path().strip_prefix(root).expect("below the root").to_owned();
        found.insert(path, entry.path().symlink_metadata().expect("an entry's metadata"));
    }
    found
}

fn unequal(a: &Path, x: &Metadata, b: &Path, y: &Metadata) -> Vec<String> {
    let mut what = Vec::new();
    if x.file_type() != y.file_type() {
        return vec![format!("kind {:?} became {:?}", x.file_type(), y.file_type())];
    }
    // A symlink's mode has no meaning.
    if x.mode() != y.mode() && !x.is_symlink() {
        what.push(format!("mode {:o} became {:o}", x.mode(), y.mode()));
    }
    if (x.mtime(), x.mtime_nsec()) != (y.mtime(), y.mtime_nsec()) {
        what.push(format!("mtime {}.{:09} became {}.{:09}", x.mtime(), x.mtime_nsec(), y.mtime(), y.mtime_nsec()));
    }
    if rustix::process::geteuid().is_root() && (x.uid(), x.gid()) != (y.uid(), y.gid()) {
        what.push(format!("owner {}:{} became {}:{}", x.uid(), x.gid(), y.uid(), y.gid()));
    }
    if x.is_symlink() {
        let (x, y) = (std::fs::read_link(a).expect("a link"), std::fs::read_link(b).expect("a link"));
        if x.as_os_str().as_bytes() != y.as_os_str().as_bytes() {
            what.push(format!("target {x:?} became {y:?}"));
        }
    } else if x.is_file() && (x.len() != y.len() || !same_bytes(a, b)) {
        what.push("content".to_owned());
    }
    what
}

fn same_bytes(a: &Path, b: &Path) -> bool {
    let open = |path: &Path| BufReader::with_capacity(1 << 16, std::fs::File::open(path).expect("a readable file"));
    let (mut a, mut b) = (open(a), open(b));
    loop {
        let (x, y) = (a.fill_buf().expect("a readable file"), b.fill_buf().expect("a readable file"));
        let common = x.len().min(y.len());
        if x[..common] != y[..common] || (common == 0 && x.len() != y.len()) {
            return false;
        }
        if common == 0 {
            return true;
        }
        a.consume(common);
        b.consume(common);
    }
}

/// Compares two schemas of one server: every row of every table by the bytes of each column, and the definition of every
/// table, view, trigger, routine, event and sequence. DEFINER is left out: a snapshot keeps it as data only.
pub fn same_database(server: &MariaDb, a: &str, b: &str) -> Result<(), Vec<Difference>> {
    let (left, right) = (definitions(server, a), definitions(server, b));
    let mut differences = Vec::new();
    for object in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
        match (left.get(object), right.get(object)) {
            (Some(_), None) => differences.push(Difference::new(object, "is missing")),
            (None, _) => differences.push(Difference::new(object, "is extra")),
            (Some(x), Some(y)) if x != y => {
                differences.push(Difference::new(object, format!("its definition:\n  {x}\n  {y}")));
            }
            _ => {
                if let Some(table) = object.strip_prefix("table ")
                    && let Some(row) = first_unequal_row(server, a, b, table)
                {
                    differences.push(Difference::new(object, format!("row {row}")));
                }
            }
        }
    }
    verdict(differences)
}

/// A name as SQL quotes it.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Every object, as `kind name`, with its definition.
fn definitions(server: &MariaDb, schema: &str) -> BTreeMap<String, String> {
    let of = |kind: &str, columns: usize, names: &str| -> Vec<(String, String)> {
        let names = server.client(names);
        let show = |name: &str| {
            let sql = format!("SHOW CREATE {kind} {}.{}", quoted(schema), quoted(name));
            // Tabs and line ends inside a value are escaped, so that a row is a line.
            let shown = server.client(&sql);
            let shown = shown.trim_end_matches('\n').split('\t').take(columns).collect::<Vec<_>>().join("\t");
            without_definer(&shown.replace(&format!("{}.", quoted(schema)), "`@schema`."))
        };
        names.lines().map(|name| (format!("{} {name}", kind.to_lowercase()), show(name))).collect()
    };
    let tables = |kinds: &str| {
        format!("SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}' AND table_type IN ({kinds})")
    };
    let routines = |kind: &str| {
        format!(
            "SELECT routine_name FROM information_schema.routines WHERE routine_schema = '{schema}' AND routine_type = '{kind}'"
        )
    };
    let mut all = BTreeMap::new();
    all.extend(of("TABLE", 2, &tables("'BASE TABLE', 'SYSTEM VERSIONED'")));
    all.extend(of("VIEW", 4, &tables("'VIEW'")));
    all.extend(of("SEQUENCE", 2, &tables("'SEQUENCE'")));
    for (name, _) in all.clone() {
        if let Some(name) = name.strip_prefix("sequence ") {
            let state = server.client(&format!("SELECT * FROM {}.{}", quoted(schema), quoted(name)));
            all.insert(format!("sequence {name}, its state"), state);
        }
    }
    // A trigger's last column is when it was made.
    let triggers = format!("SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = '{schema}'");
    all.extend(of("TRIGGER", 6, &triggers));
    all.extend(of("FUNCTION", 6, &routines("FUNCTION")));
    all.extend(of("PROCEDURE", 6, &routines("PROCEDURE")));
    let events = format!("SELECT event_name FROM information_schema.events WHERE event_schema = '{schema}'");
    all.extend(of("EVENT", 7, &events));
    all
}

/// A definition as SHOW CREATE prints it, without its first DEFINER.
pub fn without_definer(definition: &str) -> String {
    let Some((before, after)) = definition.split_once(" DEFINER=`") else { return definition.to_owned() };
    match after.split_once("`@`").and_then(|(_, host)| host.split_once('`')) {
        Some((_, after)) => format!("{before}{after}"),
        None => definition.to_owned(),
    }
}

/// The number (from 1) of the first row that differs, in primary-key order (or in the order of the rows' bytes).
fn first_unequal_row(server: &MariaDb, a: &str, b: &str, table: &str) -> Option<u64> {
    let columns = server.client(&format!(
        "SELECT data_type, column_key, column_name FROM information_schema.columns \
         WHERE table_schema = '{a}' AND table_name = '{}' ORDER BY ordinal_position",
        table.replace('\'', "''")
    ));
    let (mut values, mut key) = (Vec::new(), Vec::new());
    for column in columns.lines() {
        let mut parts = column.splitn(3, '\t');
        let (kind, role, name) = (parts.next()?, parts.next()?, quoted(parts.next()?));
        if role == "PRI" {
            key.push(name.clone());
        }
        values.push(match kind {
            // As text a float has six digits only.
            "float" => format!("HEX(CAST({name} + 0e0 AS BINARY))"),
            "bit" => format!("HEX({name} + 0)"),
            _ => format!("HEX(CAST({name} AS BINARY))"),
        });
    }
    let order = if key.is_empty() { &values } else { &key };
    let rows = |schema: &str| {
        let (values, order) = (values.join(", "), order.join(", "));
        let sql = format!("SET time_zone = '+00:00'; SELECT {values} FROM {}.{} ORDER BY {order}", quoted(schema), quoted(table));
        Rows::start(server, &sql)
    };
    let (mut x, mut y) = (rows(a), rows(b));
    let mut number = 0;
    loop {
        number += 1;
        match (x.next(), y.next()) {
            (None, None) => return None,
            (left, right) if left == right => {}
            _ => return Some(number),
        }
    }
}

/// The rows of a statement as the client prints them, one after another.
struct Rows {
    child: std::process::Child,
    output: BufReader<ChildStdout>,
}

impl Rows {
    fn start(server: &MariaDb, sql: &str) -> Self {
        let mut command = server.client_command();
        let mut child = command.args(["--quick", "--execute", sql]).stdout(Stdio::piped()).spawn().expect("the client");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, output }
    }

    fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.output.read_line(&mut line).expect("the client's output");
        if length == 0 {
            let status = self.child.wait().expect("the client");
            assert!(status.success(), "the client failed while reading rows");
            return None;
        }
        Some(line)
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
