//! The columns of `events` that programs read, by name, with the names of people as they are shown.
//!
//! They are listed by name instead of `*`: an operator may add a column while services run, and a cached plan of
//! `SELECT *` would then fail from that time on.

/// SQL for the shown name of a person, as a literal for `concat!`: the recorded name, or the pseudonym of an erased
/// person if the transaction's settings say so (`DAYBOOK_ERASED_NAMES`). It reads the setting first, because that is
/// cheaper than the function.
#[macro_export]
#[doc(hidden)]
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

/// The list of columns that [`event_from_row`](super::event_from_row) reads, each with a prefix such as `"e."`, as a
/// literal for `concat!`. All code that reads events in order to show them uses this list, because it has the shown
/// names of people.
#[macro_export]
#[doc(hidden)]
macro_rules! event_columns {
    ($prefix:literal) => {
        $crate::event_columns!(@ $prefix, "team_id", "event_type", "event_name", "object_type", "object_id",
            "object_label", "threadable", "scope_type", "scope_id", "actor_kind", "actor_id", "on_behalf_of", "via",
            "reason", "event_data", "schema_version", "correlation_id", "causation_id", "request_id", "transaction_id",
            "created_at")
    };
    (@ $prefix:literal, $($column:literal),*) => {
        concat!(
            $prefix, "id", $(", ", $prefix, $column,)* ", ",
            $crate::shown_name!(concat!($prefix, "actor_id"), concat!($prefix, "actor_name")),
            " AS actor_name, ",
            $crate::shown_name!(concat!($prefix, "on_behalf_of"), concat!($prefix, "on_behalf_of_name")),
            " AS on_behalf_of_name"
        )
    };
}

/// SQL, as a literal for `concat!`, that joins the event with the id `$id` as `e`, if there is one. Long values of its
/// payload are cut, except with `whole`. `$1` is the team. The event is looked up separately for each row (`OFFSET 0`),
/// in the one partition that can have its id.
#[macro_export]
#[doc(hidden)]
macro_rules! join_event {
    ($id:literal) => {
        $crate::join_event!(@ $id, "daybook_short_json(event_data) AS event_data")
    };
    ($id:literal, whole) => {
        $crate::join_event!(@ $id, "event_data")
    };
    (@ $id:literal, $event_data:literal) => {
        concat!(
            "LEFT JOIN LATERAL (
             SELECT id, team_id, event_type, event_name, object_type, object_id, object_label, threadable, scope_type,
                 scope_id, actor_kind, actor_id, actor_name, on_behalf_of, on_behalf_of_name, via, reason, ",
            $event_data,
            ", schema_version, correlation_id, causation_id, request_id, transaction_id, created_at
             FROM events WHERE team_id = $1 AND id = ",
            $id,
            " OFFSET 0
         ) e ON true"
        )
    };
}
