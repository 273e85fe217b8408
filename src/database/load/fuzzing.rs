//! What the fuzz targets hold against the rows that a restore sends as values (see `crate::fuzzing`).

use mysql_async::Value;

use super::values::Insert;
use crate::database::literal::quote;

/// An INSERT of rows, as it is; and one that is written here, of which all values come back.
pub fn rows(data: &[u8]) {
    if let Some(insert) = Insert::of(data) {
        let sql = insert.sql();
        let columns = sql.iter().rev().take_while(|byte| **byte != b'(').filter(|byte| **byte == b'?').count();
        let mut bytes = 0;
        for row in insert.flatten() {
            assert_eq!(row.len(), columns);
            bytes += row.iter().map(|value| if let Value::Bytes(bytes) = value { bytes.len() } else { 1 }).sum::<usize>();
        }
        assert!(bytes <= data.len());
    }
    let values: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let mut sql = b"INSERT INTO `t` (`a`,`b`) VALUES\n".to_vec();
    for (number, value) in values.iter().enumerate() {
        sql.extend_from_slice(if number == 0 { b"(" } else { b",\n(" });
        sql.extend_from_slice(format!("-{number},").as_bytes());
        quote(value, &mut sql);
        sql.push(b')');
    }
    let back: Vec<_> = Insert::of(&sql).expect("rows of literals").flatten().collect();
    let expected = |(number, value): (usize, &&[u8])| vec![Value::Int(-(number as i64)), Value::Bytes(value.to_vec())];
    assert_eq!(back, values.iter().enumerate().map(expected).collect::<Vec<_>>());
}
