//! What a person may ask and change across teams: which teams they are in, which have invited them, and what they
//! themselves are called. Only of their own rows, by the identity that their token names.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::enter::text;
use super::moments::clamped;
use super::team_tx::Entering;
use super::{Database, Role};
use crate::error::{Error, Result};

/// A person as the database knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTeams {
    /// Who they are.
    pub details: OwnDetails,
    /// Their teams, by name.
    pub teams: Vec<OwnTeam>,
}

/// What is known of a person, beside what teams call them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDetails {
    /// Their row in `users`.
    pub user_id: Uuid,
    /// How they call themselves: by their own token, or by hand.
    pub own_name: Option<String>,
    /// What stands for a name where there is none: their subject.
    pub fallback_name: String,
    /// Their address, by their own token.
    pub own_email: Option<String>,
    /// Whether they gave their name by hand, which beats a token's.
    pub named_by_self: bool,
}

/// A team that has invited a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnInvitation {
    /// The team.
    pub team_id: Uuid,
    /// What people call it.
    pub team_name: String,
    /// What the person may do there.
    pub role: Role,
    /// What will mention them there.
    pub handle: String,
    /// What whoever invited them is called.
    pub invited_by_name: String,
    /// When they were invited.
    pub created_at: DateTime<Utc>,
}

/// A team that a person is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTeam {
    /// The team.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// What the person may do there.
    pub role: Role,
    /// What mentions them there.
    pub handle: String,
}

/// What becomes of a person's row where it was there before: what they gave by hand is changed by hand only.
pub(crate) const TAKE_OVER_DETAILS: &str = "
    own_name = CASE WHEN users.named_by = 'self' AND excluded.named_by IS DISTINCT FROM 'self' THEN users.own_name
        ELSE coalesce(excluded.own_name, users.own_name) END,
    own_email = coalesce(excluded.own_email, users.own_email),
    named_by = CASE WHEN users.named_by = 'self' THEN 'self' ELSE coalesce(excluded.named_by, users.named_by) END";

/// The columns of [`OwnDetails`].
const DETAILS: &str = "id, own_name, display_name, own_email, coalesce(named_by = 'self', false) AS named_by_self";

impl Database {
    /// A person's own teams and roles, by their identity; `None` for somebody who is not known here.
    ///
    /// One round trip, no team set: the policies show one's own memberships and what belongs to them.
    ///
    /// # Errors
    /// As any statement.
    pub async fn own_teams(&self, issuer: &str, subject: &str) -> Result<Option<OwnTeams>> {
        let sql = format!(
            "SELECT 'person' AS row, {DETAILS}, set_config('daybook.user_id', id::text, true)
               FROM users WHERE issuer = current_setting('daybook.issuer') AND subject = current_setting('daybook.subject')
             ; SELECT 'team' AS row, t.id, t.name, m.role, m.handle
               FROM memberships m JOIN teams t ON t.id = m.team_id
               WHERE m.user_id = nullif(current_setting('daybook.user_id', true), '')::uuid ORDER BY t.name, t.id"
        );
        let mut own: Option<OwnTeams> = None;
        for row in &self.as_person("BEGIN READ ONLY", issuer, subject, &sql).await? {
            match (row.try_get::<&str, _>("row")?, &mut own) {
                ("person", _) => {
                    own = Some(OwnTeams {
                        details: details(row)?,
                        teams: Vec::new(),
                    });
                }
                ("team", Some(own)) => own.teams.push(OwnTeam {
                    id: row.try_get("id")?,
                    name: row.try_get("name")?,
                    role: row.try_get::<&str, _>("role")?.parse()?,
                    handle: row.try_get("handle")?,
                }),
                _ => {}
            }
        }
        Ok(own)
    }

    /// The teams that have invited a person, oldest first, `limit` at most.
    ///
    /// # Errors
    /// As any statement.
    pub async fn own_invitations(&self, issuer: &str, subject: &str, limit: u32) -> Result<Vec<OwnInvitation>> {
        let sql = format!(
            "SELECT 'invitation' AS row, i.team_id, t.name, i.role, i.handle, i.invited_by_name, {created_at} AS created_at
               FROM invitations i JOIN teams t ON t.id = i.team_id
               WHERE i.issuer = current_setting('daybook.issuer') AND i.subject = current_setting('daybook.subject')
               ORDER BY i.created_at, i.team_id LIMIT {limit}",
            created_at = clamped("i.created_at"),
        );
        let rows = self.as_person("BEGIN READ ONLY", issuer, subject, &sql).await?;
        let invitations = rows.iter().filter(|row| matches!(row.try_get("row"), Ok("invitation")));
        invitations
            .map(|row| {
                Ok(OwnInvitation {
                    team_id: row.try_get("team_id")?,
                    team_name: row.try_get("name")?,
                    role: row.try_get::<&str, _>("role")?.parse()?,
                    handle: row.try_get("handle")?,
                    invited_by_name: row.try_get("invited_by_name")?,
                    created_at: row.try_get("created_at")?,
                })
            })
            .collect()
    }

    /// Takes over what a person's own token says of them. A name that they gave by hand stays.
    ///
    /// # Errors
    /// As any statement.
    pub async fn describe_person(
        &self,
        issuer: &str,
        subject: &str,
        name: Option<&str>,
        email: Option<&str>,
    ) -> Result<OwnDetails> {
        self.write_person(issuer, subject, name, email, "token").await
    }

    /// Gives a person the name that they want. Whoever is not known here yet is from then on.
    ///
    /// # Errors
    /// As any statement.
    pub async fn rename_person(
        &self,
        issuer: &str,
        subject: &str,
        name: &str,
        email: Option<&str>,
    ) -> Result<OwnDetails> {
        self.write_person(issuer, subject, Some(name), email, "self").await
    }

    async fn write_person(
        &self,
        issuer: &str,
        subject: &str,
        name: Option<&str>,
        email: Option<&str>,
        named_by: &str,
    ) -> Result<OwnDetails> {
        let literal = |value: Option<&str>| value.map_or_else(|| "NULL".to_owned(), text);
        let (name, email) = (literal(name), literal(email));
        let sql = format!(
            "INSERT INTO users (id, issuer, subject, display_name, own_name, own_email, named_by)
             SELECT '{id}', s.issuer, s.subject, left(s.subject, 200), {name}, {email},
                 CASE WHEN {name}::text IS NOT NULL THEN '{named_by}' END
               FROM (SELECT current_setting('daybook.issuer') AS issuer, current_setting('daybook.subject') AS subject) s
             ON CONFLICT (issuer, subject) DO UPDATE SET updated_at = now(), {TAKE_OVER_DETAILS}
             RETURNING 'person' AS row, {DETAILS}",
            id = Uuid::now_v7(),
        );
        let rows = self.as_person("BEGIN", issuer, subject, &sql).await?;
        let row = rows.iter().find(|row| matches!(row.try_get("row"), Ok("person")));
        details(row.ok_or_else(|| Error::internal("an INSERT returned no row"))?)
    }

    /// Deletes what is known of a person. Returns whether anything was.
    ///
    /// # Errors
    /// [`Error::Conflict`] `reference` for somebody who is still in a team.
    pub async fn erase_person(&self, issuer: &str, subject: &str) -> Result<bool> {
        let sql = "DELETE FROM users
            WHERE issuer = current_setting('daybook.issuer') AND subject = current_setting('daybook.subject')
            RETURNING 'person' AS row";
        let rows = self.as_person("BEGIN", issuer, subject, sql).await?;
        Ok(rows.iter().any(|row| matches!(row.try_get("row"), Ok("person"))))
    }

    /// Runs statements in a transaction without a team, which names one person: one round trip.
    async fn as_person(
        &self,
        begin: &'static str,
        issuer: &str,
        subject: &str,
        statements: &str,
    ) -> Result<Vec<PgRow>> {
        let mut sql = begin.to_owned();
        let _ = write!(
            sql,
            "; SELECT 'named' AS row, set_config('daybook.issuer', {}, true), set_config('daybook.subject', {}, true)
             ; {statements}; COMMIT",
            text(issuer),
            text(subject)
        );
        let mut connection = Entering(Some(self.acquire().await?));
        let rows = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut **connection.get()?)
            .await?;
        // Committed, so that there is nothing to roll back.
        drop(connection.0.take());
        Ok(rows)
    }
}

fn details(row: &PgRow) -> Result<OwnDetails> {
    Ok(OwnDetails {
        user_id: row.try_get("id")?,
        own_name: row.try_get("own_name")?,
        fallback_name: row.try_get("display_name")?,
        own_email: row.try_get("own_email")?,
        named_by_self: row.try_get("named_by_self")?,
    })
}
