//! Rewrites a query whose rows have values that a program can't read.
//!
//! PostgreSQL can store timestamps and JSON that Rust's types can't represent: see [`timestamps`] and
//! [`json`](crate::json). SQL may have written such a value, and it must not fail the page that its row is on. So the
//! query runs a second time, as a subquery of one that replaces these values.

use sqlx::postgres::{PgRow, PgValueFormat};
use sqlx::{Column as _, Row as _, TypeInfo as _};

use super::quoted::quoted;
use super::timestamps;
use crate::json::{Unreadable, count_unreadable_reads, is_unreadable, unreadable_in_sql};

/// Which unreadable columns of a query are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    /// Timestamps only: the caller reads JSON with `json::read_column`, which reports unreadable values.
    Timestamps,
    /// Timestamps and `jsonb`, for a caller that decodes whole rows. Unreadable JSON becomes
    /// `{"unreadable": {"reason": …}}`.
    TimestampsAndJson,
}

/// Returns the query that gives the same rows in a readable form. `None` if the rows are readable as they are, or if
/// two columns have the same name.
pub(super) fn readable_query(sql: &str, rows: &[PgRow], replaced: Replaced) -> Option<String> {
    let mut columns = timestamps::replaced(rows);
    if replaced == Replaced::TimestampsAndJson {
        columns.extend(unreadable_json(rows));
    }
    if columns.is_empty() {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    for column in rows.first()?.columns() {
        let name = quoted(column.name());
        // The outer query could not distinguish two columns with the same name.
        if names.contains(&name) {
            return None;
        }
        names.push(name);
    }
    for (index, expression) in columns {
        if let Some(name) = names.get_mut(index) {
            *name = format!("{expression} AS {name}");
        }
    }
    let sql = sql.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    // The query is on lines of its own, because it may begin or end with a line comment.
    Some(format!("SELECT {} FROM (\n{sql}\n) AS daybook_rows", names.join(", ")))
}

/// Returns the `jsonb` columns that have unreadable values, each with SQL that puts a placeholder in place of these.
fn unreadable_json(rows: &[PgRow]) -> Vec<(usize, String)> {
    let Some(first) = rows.first() else {
        return Vec::new();
    };
    let mut columns = Vec::new();
    for (index, column) in first.columns().iter().enumerate() {
        if column.type_info().name() != "JSONB" {
            continue;
        }
        let unreadable = rows.iter().filter(|row| is_unreadable(text_of(row, index))).count();
        if unreadable == 0 {
            continue;
        }
        count_unreadable_reads(unreadable as u64);
        let name = quoted(column.name());
        let condition = unreadable_in_sql(&name);
        // The placeholder has no apostrophe, so it can be a literal as it is.
        let placeholder = Unreadable::NO_JSON.placeholder();
        columns.push((
            index,
            format!("CASE WHEN {condition} THEN '{placeholder}' ELSE {name} END"),
        ));
    }
    columns
}

/// Returns the text of a `jsonb` field. In PostgreSQL's binary format it follows a byte with the format's version.
fn text_of(row: &PgRow, index: usize) -> &[u8] {
    let Ok(value) = row.try_get_raw(index) else {
        return &[];
    };
    let skipped = usize::from(value.format() == PgValueFormat::Binary);
    value
        .as_bytes()
        .ok()
        .and_then(|bytes| bytes.get(skipped..))
        .unwrap_or_default()
}
