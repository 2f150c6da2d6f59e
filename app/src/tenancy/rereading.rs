//! Runs a query again whose rows hold values that a program can't read.
//!
//! PostgreSQL holds moments and JSON that Rust's types don't: see [`moments`] and [`json`](crate::json).
//! One such value, written by SQL, must not fail the page that it is on. So the query runs once more as a subquery, and
//! readable SQL takes the place of the columns that can't be read.

use sqlx::postgres::{PgRow, PgValueFormat};
use sqlx::{Column as _, Row as _, TypeInfo as _};

use super::moments;
use crate::json::{Unreadable, count_unreadable_reads, is_unreadable, unreadable_in_sql};

/// Which columns of a query are replaced when they can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    /// Moments alone: the caller reads JSON by `json::read_column`, and marks what it can't read.
    Moments,
    /// `jsonb`, too, by `{"unreadable": {"reason": …}}`: the caller decodes whole rows.
    MomentsAndJson,
}

/// The query that returns the same rows in a readable form; none if they can be read as they are, or if two columns
/// have the same name.
pub(super) fn readable_query(sql: &str, rows: &[PgRow], replaced: Replaced) -> Option<String> {
    let mut columns = moments::replaced(rows);
    if replaced == Replaced::MomentsAndJson {
        columns.extend(unreadable_json(rows));
    }
    if columns.is_empty() {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    for column in rows.first()?.columns() {
        let name = quoted(column.name());
        // Columns of one name can't be told apart from outside.
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
    // On a line of its own, should the query begin or end with a comment.
    Some(format!("SELECT {} FROM (\n{sql}\n) AS daybook_rows", names.join(", ")))
}

/// The columns of `jsonb` whose values can't all be read, each with the SQL that puts a placeholder in their place.
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
        // Its text holds no apostrophe.
        let placeholder = Unreadable::NO_JSON.placeholder();
        columns.push((
            index,
            format!("CASE WHEN {condition} THEN '{placeholder}' ELSE {name} END"),
        ));
    }
    columns
}

/// The text of a field of type `jsonb`. In PostgreSQL's binary format a byte for the version comes before it.
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

/// A column's name as SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
