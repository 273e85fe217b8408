//! The statements that read a table's rows: by ranges of its key where the key begins with a whole number, else all at once.
//!
//! Ranges keep each statement short, and let several connections read one table. Where chunks end doesn't depend on them.

use std::collections::VecDeque;

use super::catalog::Layout;
use super::literal::identifier;

/// A range should hold about this many bytes, by the server's estimate.
pub(super) const RANGE: u64 = 4 << 20;
/// More ranges than this aren't made of a table: they are only a list of numbers, but of no use.
const MOST: u64 = 1 << 16;

/// Values of the key's first column from `from` on and below `to`; without a bound where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Range {
    from: Option<i128>,
    to: Option<i128>,
}

/// Ranges that together hold every value, for a table of about `bytes` bytes whose key's first column has values from `least` to `most`.
pub(super) fn ranges(least: i128, most: i128, bytes: u64) -> VecDeque<Range> {
    let parts = i128::from((bytes / RANGE).clamp(1, MOST));
    let span = most.saturating_sub(least).saturating_add(1);
    let width = (span / parts).max(1);
    let mut cuts = Vec::new();
    for part in 1..parts {
        let cut = least.saturating_add(width.saturating_mul(part));
        if cut <= least || cut > most {
            break;
        }
        cuts.push(cut);
    }
    let from = std::iter::once(None).chain(cuts.iter().copied().map(Some));
    let to = cuts.iter().copied().map(Some).chain(std::iter::once(None));
    from.zip(to).map(|(from, to)| Range { from, to }).collect()
}

/// The statement that reads a range of a table's rows in the order in which they are chunked.
pub(super) fn select(table: &[u8], layout: &Layout, range: Range) -> Vec<u8> {
    let mut sql = b"SELECT /*!40001 SQL_NO_CACHE */ ".to_vec();
    for (at, column) in layout.columns.iter().enumerate() {
        if at > 0 {
            sql.push(b',');
        }
        identifier(&column.name, &mut sql);
        if column.float {
            // Not `+0e0`: -0 would lose its sign.
            sql.extend_from_slice(b"*1e0");
        }
    }
    sql.extend_from_slice(b" FROM ");
    identifier(table, &mut sql);
    if layout.history {
        sql.extend_from_slice(b" FOR SYSTEM_TIME ALL");
    }
    if let Some(index) = &layout.index {
        sql.extend_from_slice(b" FORCE INDEX (");
        identifier(index, &mut sql);
        sql.push(b')');
    }
    let bounds = [(range.from, " >= "), (range.to, " < ")];
    let mut before = " WHERE ";
    for (bound, compare) in bounds {
        let (Some(bound), Some(first)) = (bound, first_of_key(layout)) else { continue };
        sql.extend_from_slice(before.as_bytes());
        column_of(table, first, &mut sql);
        sql.extend_from_slice(format!("{compare}{bound}").as_bytes());
        before = " AND ";
    }
    if layout.ordered {
        sql.extend_from_slice(b" ORDER BY ");
        for (at, column) in layout.key.iter().filter_map(|place| layout.columns.get(*place)).enumerate() {
            if at > 0 {
                sql.push(b',');
            }
            column_of(table, &column.name, &mut sql);
        }
    }
    sql
}

/// The statement that tells the least and the largest value of the key's first column; `None` when the table is read at once.
pub(super) fn extremes(table: &[u8], layout: &Layout) -> Option<Vec<u8>> {
    let place = layout.ordered.then(|| layout.key.first()).flatten()?;
    let first = layout.columns.get(*place).filter(|column| column.integer)?;
    let mut sql = b"SELECT MIN(".to_vec();
    column_of(table, &first.name, &mut sql);
    sql.extend_from_slice(b"), MAX(");
    column_of(table, &first.name, &mut sql);
    sql.extend_from_slice(b") FROM ");
    identifier(table, &mut sql);
    Some(sql)
}

fn first_of_key(layout: &Layout) -> Option<&[u8]> {
    layout.columns.get(*layout.key.first()?).map(|column| column.name.as_slice())
}

/// With the table's name it is the column, never an expression of the select list.
fn column_of(table: &[u8], column: &[u8], sql: &mut Vec<u8>) {
    identifier(table, sql);
    sql.push(b'.');
    identifier(column, sql);
}

#[cfg(test)]
mod tests {
    use super::super::catalog::Column;
    use super::super::literal::Literal;
    use super::*;
    use proptest::prelude::*;

    fn layout() -> Layout {
        let column = |name: &str, integer: bool| Column { name: name.into(), literal: Literal::Number, float: !integer, integer };
        Layout {
            columns: vec![column("f", false), column("i`d", true)],
            key: vec![1],
            index: Some(b"PRIMARY".to_vec()),
            ordered: true,
            history: false,
        }
    }

    #[test]
    fn the_statements() {
        let text = |range| String::from_utf8(select(b"t", &layout(), range)).unwrap();
        let all = "SELECT /*!40001 SQL_NO_CACHE */ `f`*1e0,`i``d` FROM `t` FORCE INDEX (`PRIMARY`)";
        assert_eq!(text(Range::default()), format!("{all} ORDER BY `t`.`i``d`"));
        let middle = Range { from: Some(-5), to: Some(7) };
        assert_eq!(text(middle), format!("{all} WHERE `t`.`i``d` >= -5 AND `t`.`i``d` < 7 ORDER BY `t`.`i``d`"));
        let last = Range { from: Some(7), to: None };
        assert_eq!(text(last), format!("{all} WHERE `t`.`i``d` >= 7 ORDER BY `t`.`i``d`"));
        assert_eq!(extremes(b"t", &layout()).unwrap(), b"SELECT MIN(`t`.`i``d`), MAX(`t`.`i``d`) FROM `t`");
        assert!(extremes(b"t", &Layout { key: vec![0], ..layout() }).is_none());
        assert!(extremes(b"t", &Layout { ordered: false, ..layout() }).is_none());
    }

    proptest! {
        /// Each value is in exactly one range, and the ranges are in order.
        #[test]
        fn ranges_cover_everything_once(
            least in any::<i64>(), span in prop_oneof![0u64..100, any::<u64>()], bytes in any::<u64>(), value in any::<i128>(),
        ) {
            let ranges = ranges(i128::from(least), i128::from(least) + i128::from(span), bytes);
            prop_assert!(ranges.len() as u64 <= MOST);
            let holds = |range: &&Range| range.from.is_none_or(|from| from <= value) && range.to.is_none_or(|to| value < to);
            prop_assert_eq!(ranges.iter().filter(holds).count(), 1);
            prop_assert!(ranges.iter().zip(ranges.iter().skip(1)).all(|(a, b)| a.to.is_some() && a.to == b.from));
        }
    }
}
