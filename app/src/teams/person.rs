//! People as others add them, identified by an issuer and a subject. A team's name for a person belongs to the
//! membership; a person's own name belongs to the person.

use uuid::Uuid;

use crate::auth::UserPrincipal;
use crate::error::{Error, FieldError, Result};
use crate::tenancy::{TAKE_OVER_DETAILS, TeamTx};

const MAX_IDENTITY_CHARS: usize = 255;
const MAX_NAME_CHARS: usize = 200;
/// Maximum length of an e-mail address, in characters: 64 before the @ and 255 after it (RFC 5321 §4.5.3.1).
const MAX_EMAIL_CHARS: usize = 320;

/// A person to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPerson {
    /// The issuer of their tokens (`iss`).
    pub issuer: String,
    /// Their identity at the issuer: their tokens' `sub`.
    pub subject: String,
    /// The team's name for them, until they have set their own.
    pub display_name: String,
    /// The team's e-mail address for them, until they have their own.
    pub email: Option<String>,
}

/// A person's row.
pub(super) struct KnownPerson {
    pub(super) user_id: Uuid,
    /// Their own name, if they have set one.
    pub(super) own_name: Option<String>,
    /// Their e-mail address, if their own token has one.
    pub(super) own_email: Option<String>,
}

impl NewPerson {
    /// Checks all fields and reports all errors at once.
    pub(super) fn check(&self) -> Result<()> {
        let mut wrong = Vec::new();
        for (field, text) in [("issuer", &self.issuer), ("subject", &self.subject)] {
            if !is_line(text, MAX_IDENTITY_CHARS) {
                wrong.push(field_error(
                    field,
                    format!("must be 1 to {MAX_IDENTITY_CHARS} characters of one line"),
                ));
            }
        }
        if !is_line(&self.display_name, MAX_NAME_CHARS) {
            wrong.push(field_error(
                "display_name",
                format!("must be 1 to {MAX_NAME_CHARS} characters of one line"),
            ));
        }
        if self.email.as_deref().is_some_and(|email| !is_email(email)) {
            wrong.push(field_error(
                "email",
                "must be an e-mail address such as ada@example.com",
            ));
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid(wrong))
        }
    }
}

/// Finds or creates a person's row, and stores the name and address from their own token, if there is one. A team that
/// adds a person can't set these.
///
/// The row-level policy on `users` only shows a row to a statement that names the exact identity, so the statement sets
/// the identity first. `RETURNING` returns an existing row only if the statement updates it, so the statement has an
/// update that changes nothing.
pub(super) async fn find_or_make(
    tx: &TeamTx,
    issuer: &str,
    subject: &str,
    token: Option<&UserPrincipal>,
) -> Result<KnownPerson> {
    use sqlx::Row as _;
    let sql = format!(
        "WITH named AS MATERIALIZED (
            SELECT set_config('daybook.issuer', $1, true), set_config('daybook.subject', $2, true)
         )
         INSERT INTO users (id, issuer, subject, display_name, own_name, own_email, named_by)
         SELECT $3, $1, $2, left($2, 200), $4, $5, CASE WHEN $4::text IS NOT NULL THEN 'token' END FROM named
         ON CONFLICT (issuer, subject) DO UPDATE SET updated_at = users.updated_at, {TAKE_OVER_DETAILS}
         RETURNING id, own_name, own_email"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(issuer)
        .bind(subject)
        .bind(Uuid::now_v7())
        .bind(token.and_then(|token| token.name.as_deref()))
        .bind(token.and_then(|token| token.email.as_deref()));
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::internal("the INSERT of a person returned no row"))?;
    Ok(KnownPerson {
        user_id: row.try_get("id")?,
        own_name: row.try_get("own_name")?,
        own_email: row.try_get("own_email")?,
    })
}

/// Checks a name that people give themselves.
///
/// # Errors
/// [`Error::Invalid`].
pub(super) fn check_name(field: &str, name: &str) -> Result<()> {
    if is_line(name, MAX_NAME_CHARS) {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format!("must be 1 to {MAX_NAME_CHARS} characters of one line"),
    ))
}

/// Returns whether the text has visible characters, is a single line, and is at most `max_chars` long.
pub(super) fn is_line(text: &str, max_chars: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= max_chars && !text.chars().any(char::is_control)
}

fn is_email(text: &str) -> bool {
    let two_sided = text
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    two_sided && is_line(text, MAX_EMAIL_CHARS) && !text.contains(char::is_whitespace)
}

fn field_error(field: &str, detail: impl Into<String>) -> FieldError {
    FieldError {
        field: field.to_owned(),
        detail: detail.into(),
    }
}
