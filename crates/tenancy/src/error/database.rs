//! Classifies the database's errors by their SQLSTATE: caused by the client, temporary, or a defect.
//!
//! PostgreSQL's messages quote values (`invalid input syntax for type inet: "…"`) and name tables. They are dropped
//! here. An operator gets the SQLSTATE, the names that PostgreSQL reports with it, and the position in the statement.

use std::borrow::Cow;
use std::fmt;

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use super::classes::{Cause, Error};

/// The beginning of sqlx's `Display` for an error of the database. The database's message follows it.
const DATABASE_MESSAGE_PREFIX: &str = "error returned from database: ";

/// Returns [`DatabaseError::is_stale_plan`] for sqlx's error.
pub fn is_stale_plan(error: &sqlx::Error) -> bool {
    DatabaseError::of(error).is_some_and(|refusal| refusal.is_stale_plan())
}

/// A refusal by the database: its codes and names, never its message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseError {
    /// The SQLSTATE: `23514`.
    pub sqlstate: String,
    /// The constraint or unique index.
    pub constraint: Option<String>,
    /// The table, without its schema.
    pub table: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// The position in the statement's text, in characters from 1 on.
    pub position: Option<usize>,
    /// The function in PostgreSQL's source that raised the error.
    pub routine: Option<String>,
}

impl DatabaseError {
    /// Converts sqlx's error. Returns `None` if it isn't an error of the database.
    pub fn of(error: &sqlx::Error) -> Option<Self> {
        let sqlx::Error::Database(refusal) = error else {
            return None;
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let kept = Self {
            sqlstate: refusal.code().unwrap_or_default().into_owned(),
            constraint: owned(refusal.constraint()),
            table: owned(refusal.table()),
            ..Self::default()
        };
        Some(match refusal.try_downcast_ref::<PgDatabaseError>() {
            Some(refusal) => Self {
                column: owned(refusal.column()),
                routine: owned(refusal.routine()),
                position: match refusal.position() {
                    Some(PgErrorPosition::Original(position)) => Some(position),
                    _ => None,
                },
                ..kept
            },
            None => kept,
        })
    }

    /// Returns the class of the SQLSTATE: its first two characters.
    pub fn class(&self) -> &str {
        self.sqlstate.get(..2).unwrap_or_default()
    }

    /// Returns whether the same transaction may succeed if it is run again. In class 40 (transaction rollback), 40002
    /// would fail again, and 40003 doesn't say whether the statement was done.
    pub fn is_retryable(&self) -> bool {
        self.class() == "40" && !matches!(self.sqlstate.as_str(), "40002" | "40003") || self.is_stale_plan()
    }

    /// Returns whether a statement was refused because a table was changed after its connection had prepared it
    /// ("cached plan must not change result type"). The SQLSTATE has other meanings, too. The routine's name has only
    /// this one, and it is not translated.
    pub fn is_stale_plan(&self) -> bool {
        self.sqlstate == "0A000" && self.routine.as_deref() == Some("RevalidateCachedQuery")
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database refused a statement (SQLSTATE {}", self.sqlstate)?;
        if let Some(name) = condition(&self.sqlstate) {
            write!(f, " {name}")?;
        }
        let names = [
            ("constraint", &self.constraint),
            ("table", &self.table),
            ("column", &self.column),
            ("routine", &self.routine),
        ];
        for (what, name) in names {
            if let Some(name) = name {
                write!(f, ", {what} {name}")?;
            }
        }
        if let Some(position) = self.position {
            write!(f, ", at character {position} of the statement")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for DatabaseError {}

/// Returns the name of a frequent condition, from appendix A of PostgreSQL's manual.
fn condition(sqlstate: &str) -> Option<&'static str> {
    Some(match sqlstate {
        "0A000" => "feature_not_supported",
        "22012" => "division_by_zero",
        "22P02" => "invalid_text_representation",
        "25006" => "read_only_sql_transaction",
        "25P02" => "in_failed_sql_transaction",
        "28000" => "invalid_authorization_specification",
        "28P01" => "invalid_password",
        "3D000" => "invalid_catalog_name",
        "3F000" => "invalid_schema_name",
        "42501" => "insufficient_privilege",
        "42601" => "syntax_error",
        "42703" => "undefined_column",
        "42704" => "undefined_object",
        "42804" => "datatype_mismatch",
        "42883" => "undefined_function",
        "42P01" => "undefined_table",
        "53100" => "disk_full",
        "53300" => "too_many_connections",
        "55P03" => "lock_not_available",
        "57014" => "query_canceled",
        "57P01" => "admin_shutdown",
        "P0001" => "raise_exception",
        _ => return None,
    })
}

/// A value that the driver can't convert. The driver's message may quote the value, so it is left out.
#[derive(Debug, thiserror::Error)]
#[error("the database's value of column {column} can't be read{why}")]
struct UnreadableColumn {
    column: String,
    why: String,
}

/// A date or time that the program can't represent: PostgreSQL's `infinity`, and years beyond 262,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the value is infinity or far outside the years 0001 to 9999, and this statement can't be repeated to clamp it"
)]
pub struct OutOfYears;

/// Removes the database's message from a text: an error's `Display` may contain it.
pub fn without_database_words(text: &str) -> Cow<'_, str> {
    match text.find(DATABASE_MESSAGE_PREFIX) {
        Some(at) => Cow::Owned(format!("{}…", &text[..at + DATABASE_MESSAGE_PREFIX.len()])),
        None => Cow::Borrowed(text),
    }
}

impl Error {
    /// Returns whether the same transaction may succeed if it is run again: after a serialization failure, a deadlock,
    /// or a stale plan.
    pub fn is_retryable(&self) -> bool {
        self.database_error().is_some_and(|refusal| refusal.is_retryable())
    }

    /// Returns whether a connection's plan was stale, because another connection has changed a table.
    pub fn is_stale_plan(&self) -> bool {
        self.database_error().is_some_and(|refusal| refusal.is_stale_plan())
    }

    /// Returns the database's refusal that caused this error, if there is one.
    pub fn database_error(&self) -> Option<Cow<'_, DatabaseError>> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(refusal) = error.downcast_ref::<DatabaseError>() {
                return Some(Cow::Borrowed(refusal));
            }
            if let Some(refusal) = error.downcast_ref::<sqlx::Error>().and_then(DatabaseError::of) {
                return Some(Cow::Owned(refusal));
            }
            cause = error.source();
        }
        None
    }

    /// Classifies a database error: caused by the client, temporary, or a defect.
    ///
    /// Migrations name constraints after what they protect. A name in `constraint_error` has its own text. All other
    /// errors are classified by the SQLSTATE.
    pub fn from_database(error: sqlx::Error) -> Self {
        classify(&error).unwrap_or_else(|| match error {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::Tls(_) => {
                database_unavailable(error.into())
            }
            other => Self::Internal(other.into()),
        })
    }
}

/// Classifies an error by reference. Returns `None` for an error that the caller can keep as the cause.
fn classify(error: &sqlx::Error) -> Option<Error> {
    let unreadable = |column: &str, source: &Cause| {
        // These two messages name types, but no value.
        let words = source.to_string();
        let shown = words.starts_with("mismatched types") || source.is::<OutOfYears>();
        Error::internal(UnreadableColumn {
            column: column.to_owned(),
            why: if shown { format!(": {words}") } else { String::new() },
        })
    };
    match error {
        sqlx::Error::Database(_) => DatabaseError::of(error).map(classify_refusal),
        sqlx::Error::ColumnDecode { index, source } => Some(unreadable(index, source)),
        sqlx::Error::Decode(source) => Some(unreadable("?", source)),
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Some(database_unavailable(match error {
            sqlx::Error::PoolTimedOut => sqlx::Error::PoolTimedOut.into(),
            _ => sqlx::Error::PoolClosed.into(),
        })),
        _ => None,
    }
}

fn classify_refusal(refusal: DatabaseError) -> Error {
    if let Some(known) = refusal.constraint.as_deref().and_then(constraint_error) {
        return known;
    }
    let unavailable = |detail: &'static str, refusal: DatabaseError| Error::Unavailable {
        detail: detail.into(),
        source: Some(refusal.into()),
    };
    if refusal.is_stale_plan() {
        return unavailable("the service's tables have changed; try again", refusal);
    }
    match (refusal.class(), refusal.sqlstate.as_str()) {
        // Values that are valid for the type in Rust, but not for the column.
        ("22", code) => {
            tracing::warn!("{refusal}");
            let detail = match code {
                "22001" => "a value is too long for its column",
                "22003" => "a number is out of range for its column",
                "22007" | "22008" => "a date or time is out of range for its column",
                "22021" | "22P05" => "a text contains U+0000, which can't be stored; leave it out",
                "22P02" => "a value does not have the format of its column's type",
                _ => "a value can't be stored in its column",
            };
            Error::BadRequest { detail: detail.into() }
        }
        // The constraint may be the program's own. The log has its name; if it is one of Daybook's, the error is a
        // defect.
        ("23", code) => {
            tracing::warn!("{refusal}");
            match code {
                "23505" => Error::conflict("already-exists", "an object with the same key exists already"),
                "23P01" => Error::conflict("overlap", "the object overlaps with an existing object"),
                "23001" | "23503" => Error::conflict(
                    "reference",
                    "the object refers to an object that does not exist, or is still referred to",
                ),
                "23502" => Error::invalid(
                    refusal.column.as_deref().unwrap_or("$"),
                    "must not be null; give a value",
                ),
                _ => Error::invalid("$", "a value violates a rule of its table"),
            }
        }
        ("40", _) => unavailable("the change conflicted with another one; try again", refusal),
        // Too many columns or arguments: a defect of the statement, not caused by the client.
        ("54", "54011" | "54023") => Error::internal(refusal),
        ("54", _) => {
            tracing::warn!("{refusal}");
            Error::BadRequest {
                detail: "a value is too large for its column, or nested too deeply; send a smaller one".into(),
            }
        }
        (_, "57014" | "55P03" | "25P03" | "25P04" | "57P05") => {
            unavailable("the database took too long; try again", refusal)
        }
        ("08" | "53" | "57" | "58", _) | (_, "55006") => database_unavailable(refusal.into()),
        _ => Error::internal(refusal),
    }
}

fn database_unavailable(source: Cause) -> Error {
    Error::Unavailable {
        detail: "the database is unavailable at the moment; try again".into(),
        source: Some(source),
    }
}

/// Returns the client error for a constraint that a client can violate.
fn constraint_error(name: &str) -> Option<Error> {
    Some(match name {
        "memberships_handle_key" => Error::conflict("handle-taken", "another member has this handle"),
        "memberships_pkey" => Error::conflict("already-member", "this person is a member already"),
        "invitations_identity_key" => Error::conflict("already-invited", "this person is invited already"),
        "invitations_handle_key" => Error::conflict("handle-taken", "an invited person has this handle"),
        "memberships_handle_shape" | "invitations_handle_shape" => Error::invalid(
            "handle",
            "must be 1 to 32 of a-z, 0-9, '.', '_' or '-', beginning with a letter or digit",
        ),
        _ => return None,
    })
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::from_database(error)
    }
}

impl From<sea_orm::DbErr> for Error {
    fn from(error: sea_orm::DbErr) -> Self {
        use sea_orm::{DbErr, RuntimeErr};
        match error {
            DbErr::Exec(RuntimeErr::SqlxError(error))
            | DbErr::Query(RuntimeErr::SqlxError(error))
            | DbErr::Conn(RuntimeErr::SqlxError(error)) => {
                // SeaORM's caller may have cloned the error, and then it is shared.
                classify(&error).unwrap_or_else(|| match std::sync::Arc::try_unwrap(error) {
                    Ok(error) => Self::from_database(error),
                    Err(shared) => Self::Internal(shared.into()),
                })
            }
            DbErr::ConnectionAcquire(cause) => database_unavailable(cause.into()),
            DbErr::RecordNotFound(_) => Self::not_found("object"),
            other => Self::Internal(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(sqlstate: &str) -> DatabaseError {
        DatabaseError {
            sqlstate: sqlstate.to_owned(),
            constraint: Some("budgets_positive".to_owned()),
            table: Some("budgets".to_owned()),
            column: Some("amount".to_owned()),
            ..DatabaseError::default()
        }
    }

    #[test]
    fn errors_are_classified_by_sqlstate() {
        for (status, sqlstates) in [
            (
                400,
                &[
                    "22001", "22003", "22008", "22P02", "22012", "2201B", "22999", "54000", "54001",
                ][..],
            ),
            (409, &["23001", "23503", "23505", "23P01"]),
            (422, &["23000", "23502", "23514"]),
            (
                503,
                &[
                    "08006", "40001", "40P01", "40000", "53100", "53200", "55P03", "57014", "57P03", "58030",
                ],
            ),
            (
                500,
                &["0A000", "25006", "42501", "42P01", "54011", "P0001", "XX000", ""],
            ),
        ] {
            for sqlstate in sqlstates {
                assert_eq!(
                    classify_refusal(refusal(sqlstate)).status().as_u16(),
                    status,
                    "{sqlstate}"
                );
            }
        }
        assert!(classify_refusal(refusal("40001")).is_retryable() && classify_refusal(refusal("40P01")).is_retryable());
        assert!(
            !classify_refusal(refusal("40003")).is_retryable() && !classify_refusal(refusal("57014")).is_retryable()
        );
        let Error::Invalid(fields) = classify_refusal(refusal("23502")) else {
            panic!("a null is the client's error");
        };
        assert_eq!(fields[0].field, "amount");
    }

    #[test]
    fn errors_for_the_operator_contain_names_but_no_values() {
        assert_eq!(
            refusal("42P01").to_string(),
            "the database refused a statement (SQLSTATE 42P01 undefined_table, constraint budgets_positive, table \
             budgets, column amount)"
        );
        let shared = || sqlx::Error::Decode("invalid character in “SECRET”".into());
        for error in [
            Error::from(shared()),
            Error::from(sea_orm::DbErr::Query(sea_orm::RuntimeErr::SqlxError(shared().into()))),
        ] {
            assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
        }
        assert_eq!(
            without_database_words("sync: error returned from database: bad inet \"SECRET\""),
            "sync: error returned from database: …"
        );
        assert_eq!(without_database_words("disk is full"), "disk is full");
    }
}
