//! The columns of `events` that programs read, by name, and the names of people as they are shown.
//!
//! Not `*`: an operator may add a column beside running services, and a kept plan of `SELECT *` would be refused from
//! then on.

/// SQL, as a literal for `concat!`, for a person's name as it is shown: the one that was recorded, or the pseudonym of
/// somebody who was erased, if the transaction says so (`DAYBOOK_ERASED_NAMES`). The setting is read first, since it is
/// cheaper than the function.
macro_rules! shown_name {
    ($id:expr, $name:expr) => {
        concat!(
            "CASE WHEN current_setting('daybook.erased_names', true) = 'pseudonym' THEN daybook_shown_name(",
            $id,
            ", ",
            $name,
            ") ELSE ",
            $name,
            " END"
        )
    };
}
pub(crate) use shown_name;

/// The list of columns that [`event_from_row`](super::event_from_row) reads, each behind a prefix such as `"e."`, as a
/// literal for `concat!`. All that reads events for somebody reads them by this list, which has people's names as they
/// are shown.
macro_rules! event_columns {
    ($prefix:literal) => {
        $crate::events::event_columns!(@ $prefix, "team_id", "event_type", "event_name", "object_type", "object_id",
            "object_label", "threadable", "scope_type", "scope_id", "actor_kind", "actor_id", "on_behalf_of", "via",
            "reason", "event_data", "schema_version", "correlation_id", "causation_id", "request_id", "transaction_id",
            "created_at")
    };
    (@ $prefix:literal, $($column:literal),*) => {
        concat!(
            $prefix, "id", $(", ", $prefix, $column,)* ", ",
            $crate::events::shown_name!(concat!($prefix, "actor_id"), concat!($prefix, "actor_name")),
            " AS actor_name, ",
            $crate::events::shown_name!(concat!($prefix, "on_behalf_of"), concat!($prefix, "on_behalf_of_name")),
            " AS on_behalf_of_name"
        )
    };
}
pub(crate) use event_columns;
