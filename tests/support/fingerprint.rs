//! A schema as the server itself shows it, for comparison: every definition, and the bytes of every column of every row.

use std::collections::BTreeMap;

use super::compare::without_definer;
use super::server::Server;

/// A name as SQL quotes it.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Every definition and every value of a schema, by name. Definers and the schema's own name are no part of it: neither is kept in what is
/// loaded.
pub fn fingerprint(server: &Server, schema: &str) -> BTreeMap<String, String> {
    // Rows of information_schema about this schema.
    let about = |select: &str, table: &str, column: &str| -> Vec<Vec<String>> {
        let sql = format!("SELECT {select} FROM information_schema.{table} WHERE {column} = '{schema}' ORDER BY {select}");
        let rows = server.query(schema, &[], &sql);
        rows.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    };
    let mut columns: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for row in about("table_name, ordinal_position, data_type, column_name", "columns", "table_schema") {
        let [table, _, data_type, column] = <[_; 4]>::try_from(row).expect("four columns");
        columns.entry(table).or_default().push((data_type, column));
    }
    let show = |kind: &str, name: &str| format!("SHOW CREATE {kind} {}", quoted(name));
    let (mut definitions, mut tables) = (Vec::new(), Vec::new());
    for row in about("table_type, table_name", "tables", "table_schema") {
        let [kind, name] = <[_; 2]>::try_from(row).expect("two columns");
        // A broken view has none: a finding, not part of a dump.
        if columns.contains_key(&name) {
            let create = show(if kind == "SEQUENCE" { "SEQUENCE" } else { "TABLE" }, &name);
            definitions.push((format!("definition {name}"), create));
            tables.push((kind, name));
        }
    }
    for row in about("routine_type, routine_name", "routines", "routine_schema") {
        definitions.push((row.join(" "), show(&row[0], &row[1])));
    }
    for row in about("trigger_name", "triggers", "trigger_schema") {
        definitions.push((format!("trigger {}", row[0]), show("TRIGGER", &row[0])));
    }
    for row in about("event_name", "events", "event_schema") {
        definitions.push((format!("event {}", row[0]), show("EVENT", &row[0])));
    }
    let mut all = each(server, schema, &["--vertical", "--column-names"], "sql_mode=''", &definitions);
    for text in all.values_mut() {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("Created: "));
        let plain = without_definer(&lines.collect::<Vec<_>>().join("\n").replace(&format!("`{schema}`."), ""));
        // A trigger's schema, as it was typed in nasty.sql.
        *text = plain.replace(" nasty.", " ").replace(" nasty . ", "  ");
    }

    let mut rows = Vec::new();
    for (kind, name) in tables {
        let columns = &columns[&name];
        if kind == "VIEW" {
            all.insert(format!("columns {name}"), format!("{columns:?}"));
            continue;
        }
        let mut values: Vec<String> = columns.iter().map(|(data_type, column)| value(data_type, column)).collect();
        let mut from = quoted(&name);
        if kind == "SYSTEM VERSIONED" {
            from += " FOR SYSTEM_TIME ALL";
            if !all[&format!("definition {name}")].contains("PERIOD FOR SYSTEM_TIME") {
                values.extend(["row_start", "row_end"].map(|column| value("timestamp", column)));
            }
        }
        let sql = format!("SELECT CONCAT_WS(',', {}) AS r FROM {from} ORDER BY r", values.join(","));
        rows.push((format!("rows {name}"), sql));
    }
    all.extend(each(server, schema, &[], "time_zone='+00:00'", &rows));

    all.insert(
        "schema".into(),
        format!("{:?}", about("default_character_set_name, default_collation_name", "schemata", "schema_name")),
    );
    let order = "event_object_table, action_timing, event_manipulation, action_order, trigger_name";
    all.insert("trigger order".into(), format!("{:?}", about(order, "triggers", "trigger_schema")));
    all
}

/// What each of the named statements prints, all in one session of the client.
fn each(
    server: &Server,
    schema: &str,
    arguments: &[&str],
    set: &str,
    statements: &[(String, String)],
) -> BTreeMap<String, String> {
    const MARK: &str = "~~~ next statement ~~~";
    let script: Vec<String> =
        statements.iter().map(|(_, sql)| format!("DELIMITER ~~\nSELECT '{MARK}' AS mark~~\n{sql}~~\n")).collect();
    let printed = server.query(schema, arguments, &format!("SET {set};\n{}", script.concat()));
    let mut parts: Vec<String> = vec![String::new()];
    for line in printed.lines() {
        match (line.contains(MARK), parts.last_mut()) {
            (false, Some(part)) => *part += &format!("{line}\n"),
            _ => parts.push(String::new()),
        }
    }
    assert_eq!(parts.len(), statements.len() + 1, "the client printed something else");
    statements.iter().map(|(name, _)| name.clone()).zip(parts.into_iter().skip(1)).collect()
}

/// A column's value so that two print the same only when they are.
fn value(data_type: &str, name: &str) -> String {
    let name = quoted(name);
    let hex = match data_type {
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "binary" | "varbinary" | "tinyblob" | "blob"
        | "mediumblob" | "longblob" | "set" | "vector" | "geometry" | "point" | "linestring" | "geomcollection"
        | "geometrycollection" => format!("HEX({name})"),
        // An invalid value prints like the member ''.
        "enum" => format!("CONCAT(HEX({name}), '#', {name} + 0)"),
        // As text a float has six digits only.
        "float" => format!("HEX(CAST({name} * 1e0 AS CHAR CHARACTER SET ascii))"),
        "bit" => format!("HEX({name} + 0)"),
        _ => format!("HEX(CAST({name} AS CHAR CHARACTER SET utf8mb4))"),
    };
    format!("COALESCE({hex}, 'NULL')")
}

/// Fails with the first thing that differs.
pub fn assert_same(expected: &BTreeMap<String, String>, actual: &BTreeMap<String, String>, how: &str) {
    assert_eq!(expected.keys().collect::<Vec<_>>(), actual.keys().collect::<Vec<_>>(), "{how}");
    for (name, value) in expected {
        assert_eq!(value, &actual[name], "{how}: {name}");
    }
}
