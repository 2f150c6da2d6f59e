//! The columns of `events` that programs read, by name.
//!
//! Not `*`: an operator may add a column beside running services, and a kept plan of `SELECT *` would be refused from
//! then on.

/// The list of columns that [`event_from_row`](super::event_from_row) reads, each behind a prefix such as `"e."`, as a
/// literal for `concat!`.
macro_rules! event_columns {
    ($prefix:literal) => {
        event_columns!(@ $prefix, "team_id", "event_type", "event_name", "object_type", "object_id", "object_label",
            "threadable", "scope_type", "scope_id", "actor_kind", "actor_id", "actor_name", "on_behalf_of",
            "on_behalf_of_name", "via", "reason", "event_data", "schema_version", "correlation_id", "causation_id",
            "request_id", "transaction_id", "created_at")
    };
    (@ $prefix:literal, $($column:literal),*) => {
        concat!($prefix, "id", $(", ", $prefix, $column),*)
    };
}
pub(crate) use event_columns;
