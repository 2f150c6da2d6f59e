//! A membership: what members and invitations have in common.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::person::{KnownPerson, NewPerson};
use super::record::AccessEvent;
use crate::error::{Error, Result};
use crate::tenancy::{Role, TeamTx};

/// A member of a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Member {
    /// The person.
    pub user_id: Uuid,
    /// Their handle, for mentions as `@handle`; unique in the team.
    #[schema(example = "ada")]
    pub handle: String,
    /// Their role.
    pub role: Role,
    /// Their name in sentences: their own name, once their token or they themselves have given one; until then the
    /// team's name for them.
    pub display_name: String,
    /// Their e-mail address: their own, once their token has given one; until then the team's.
    pub email: Option<String>,
    /// The issuer of their tokens (`iss`).
    pub issuer: String,
    /// Their identity at the issuer: their tokens' `sub`.
    pub subject: String,
    /// When they were added.
    pub created_at: DateTime<Utc>,
}

/// A person to be added to a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMember {
    /// The person.
    pub person: NewPerson,
    /// Their handle, for mentions.
    pub handle: String,
    /// Their role.
    pub role: Role,
}

impl AccessEvent {
    pub(super) fn joined(name: &'static str, member: &Member) -> Self {
        Self::Joined {
            name,
            user_id: member.user_id,
            handle: member.handle.clone(),
            role: member.role,
        }
    }
}

/// Selects a member's columns. A person's own name and address take precedence over those that the team gave; the last
/// fallback is for memberships that version 0.1 created.
macro_rules! select_members {
    ($rest:literal) => {
        concat!(
            "SELECT m.user_id, m.handle, m.role, coalesce(u.own_name, m.display_name, u.display_name) AS display_name,
                CASE WHEN u.own_email IS NOT NULL THEN u.own_email WHEN m.display_name IS NOT NULL THEN m.email
                    ELSE u.email END AS email,
                u.issuer, u.subject, m.created_at
             FROM memberships m JOIN users u ON u.id = m.user_id ",
            $rest
        )
    };
}
pub(super) use select_members;

/// Returns the member with an identity, if there is one.
///
/// # Errors
/// Those of any database statement.
pub(super) async fn member_of_identity(tx: &TeamTx, issuer: &str, subject: &str) -> Result<Option<Member>> {
    let query = sqlx::query(select_members!(
        "WHERE m.team_id = $1 AND u.issuer = $2 AND u.subject = $3"
    ))
    .bind(tx.team_id())
    .bind(issuer)
    .bind(subject);
    tx.fetch_optional(query).await?.as_ref().map(member).transpose()
}

/// Inserts a membership.
///
/// # Errors
/// [`Error::Conflict`] `already-member` or `handle-taken`; [`Error::Invalid`] for an invalid handle.
pub(super) async fn insert_member(tx: &TeamTx, person: &KnownPerson, new: &NewMember) -> Result<Member> {
    let query = sqlx::query(
        "INSERT INTO memberships (team_id, user_id, role, handle, display_name, email)
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING created_at",
    )
    .bind(tx.team_id())
    .bind(person.user_id)
    .bind(new.role.as_str())
    .bind(&new.handle)
    .bind(&new.person.display_name)
    .bind(&new.person.email);
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::internal("the INSERT of a membership returned no row"))?;
    Ok(Member {
        user_id: person.user_id,
        handle: new.handle.clone(),
        role: new.role,
        display_name: person
            .own_name
            .clone()
            .unwrap_or_else(|| new.person.display_name.clone()),
        email: person.own_email.clone().or_else(|| new.person.email.clone()),
        issuer: new.person.issuer.clone(),
        subject: new.person.subject.clone(),
        created_at: row.try_get("created_at")?,
    })
}

/// Checks that a role is that of an owner.
///
/// # Errors
/// [`Error::Forbidden`] for any other role.
pub(super) fn require_owner(role: Role) -> Result<()> {
    if role == Role::Owner {
        Ok(())
    } else {
        Err(forbidden(Role::Owner, role))
    }
}

/// Returns the error for a role that is too low.
pub(super) fn forbidden(needed: Role, role: Role) -> Error {
    Error::Forbidden {
        detail: format!("this needs the role {needed}; yours is {role}"),
    }
}

/// Reads a member from a row of [`select_members`].
pub(super) fn member(row: &PgRow) -> Result<Member> {
    Ok(Member {
        user_id: row.try_get("user_id")?,
        handle: row.try_get("handle")?,
        role: row.try_get::<&str, _>("role")?.parse()?,
        display_name: row.try_get("display_name")?,
        email: row.try_get("email")?,
        issuer: row.try_get("issuer")?,
        subject: row.try_get("subject")?,
        created_at: row.try_get("created_at")?,
    })
}
