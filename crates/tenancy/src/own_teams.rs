//! Reads and changes a person's own data across teams: their teams, their invitations, and their name. Access is
//! limited to their own rows, by the identity in their token.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::enter::text;
use super::team_tx::Entering;
use super::timestamps::clamped;
use super::{Database, Role};
use crate::error::{Error, Result};

/// A person and their teams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTeams {
    /// The person's own details.
    pub details: OwnDetails,
    /// Their teams, sorted by name.
    pub teams: Vec<OwnTeam>,
}

/// The details of a person that don't depend on a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDetails {
    /// The id in `users`.
    pub user_id: Uuid,
    /// Their name, from their own token or set by themselves.
    pub own_name: Option<String>,
    /// The text that is shown if there is no name: their subject.
    pub fallback_name: String,
    /// Their address, from their own token.
    pub own_email: Option<String>,
    /// Whether they set their name themselves. Then a token's name doesn't replace it.
    pub named_by_self: bool,
}

/// A team that has invited a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnInvitation {
    /// The team.
    pub team_id: Uuid,
    /// The team's name.
    pub team_name: String,
    /// The role that the person will have in the team.
    pub role: Role,
    /// The handle that the person will have in the team.
    pub handle: String,
    /// The name of the person who invited them.
    pub invited_by_name: String,
    /// When they were invited.
    pub created_at: DateTime<Utc>,
}

/// A team of which a person is a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTeam {
    /// The team.
    pub id: Uuid,
    /// The team's name.
    pub name: String,
    /// The person's role in the team.
    pub role: Role,
    /// The person's handle in the team.
    pub handle: String,
}

/// The assignments of `ON CONFLICT DO UPDATE` for a person's row: a name that they set themselves is replaced only by
/// themselves.
pub const TAKE_OVER_DETAILS: &str = "
    own_name = CASE WHEN users.named_by = 'self' AND excluded.named_by IS DISTINCT FROM 'self' THEN users.own_name
        ELSE coalesce(excluded.own_name, users.own_name) END,
    own_email = coalesce(excluded.own_email, users.own_email),
    named_by = CASE WHEN users.named_by = 'self' THEN 'self' ELSE coalesce(excluded.named_by, users.named_by) END";

/// The columns of [`OwnDetails`].
const DETAILS: &str = "id, own_name, display_name, own_email, coalesce(named_by = 'self', false) AS named_by_self";

impl Database {
    /// Returns a person's own teams and roles, by their identity; `None` for a person who is not known here.
    ///
    /// It takes one round trip and sets no team: the policies show a person's own memberships and their teams.
    ///
    /// # Errors
    /// Those of any database statement.
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

    /// Returns the teams that have invited a person, oldest first, at most `limit`.
    ///
    /// # Errors
    /// Those of any database statement.
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

    /// Stores the name and the address in a person's own token. A name that they set themselves stays.
    ///
    /// # Errors
    /// Those of any database statement.
    pub async fn describe_person(
        &self,
        issuer: &str,
        subject: &str,
        name: Option<&str>,
        email: Option<&str>,
    ) -> Result<OwnDetails> {
        self.write_person(issuer, subject, name, email, "token").await
    }

    /// Sets a person's name to the one that they chose. Creates a row for a person who was not known here.
    ///
    /// # Errors
    /// Those of any database statement.
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

    /// Deletes a person's row. Returns whether there was one.
    ///
    /// # Errors
    /// [`Error::Conflict`] with the code `reference` for a person who is still a member of a team. Otherwise those of
    /// any database statement.
    pub async fn erase_person(&self, issuer: &str, subject: &str) -> Result<bool> {
        let sql = "DELETE FROM users
            WHERE issuer = current_setting('daybook.issuer') AND subject = current_setting('daybook.subject')
            RETURNING 'person' AS row";
        let rows = self.as_person("BEGIN", issuer, subject, sql).await?;
        Ok(rows.iter().any(|row| matches!(row.try_get("row"), Ok("person"))))
    }

    /// Runs statements in a transaction without a team, with one person's identity set, in one round trip.
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
        // The transaction is committed, so there is nothing to roll back.
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
