//! "Which teams am I in?": the one question that is asked across teams, and only of one's own memberships.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::enter::text;
use super::team_tx::Entering;
use super::{Database, Role};
use crate::error::Result;

/// A person as the database knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTeams {
    /// Their row in `users`.
    pub user_id: Uuid,
    /// How sentences call them.
    pub display_name: String,
    /// Where to reach them.
    pub email: Option<String>,
    /// Their teams, by name.
    pub teams: Vec<OwnTeam>,
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

impl Database {
    /// A person's own teams and roles, by their identity; `None` if nobody has added them to a team yet.
    ///
    /// One round trip, no team set: the policies show one's own memberships and what belongs to them.
    ///
    /// # Errors
    /// As any statement.
    pub async fn own_teams(&self, issuer: &str, subject: &str) -> Result<Option<OwnTeams>> {
        let mut sql = String::from("BEGIN READ ONLY");
        let _ = write!(
            sql,
            "; SELECT 'named' AS row, set_config('daybook.issuer', {}, true), set_config('daybook.subject', {}, true)",
            text(issuer),
            text(subject)
        );
        sql.push_str(
            "; SELECT 'person' AS row, id, display_name, email, set_config('daybook.user_id', id::text, true)
               FROM users WHERE issuer = current_setting('daybook.issuer') AND subject = current_setting('daybook.subject')
             ; SELECT 'team' AS row, t.id, t.name, m.role, m.handle
               FROM memberships m JOIN teams t ON t.id = m.team_id
               WHERE m.user_id = nullif(current_setting('daybook.user_id', true), '')::uuid ORDER BY t.name, t.id
             ; COMMIT",
        );
        let mut connection = Entering(Some(self.acquire().await?));
        let rows = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut **connection.get()?)
            .await?;
        // Committed, so that there is nothing to roll back.
        drop(connection.0.take());
        let mut own: Option<OwnTeams> = None;
        for row in &rows {
            match (row.try_get::<&str, _>("row")?, &mut own) {
                ("person", _) => {
                    own = Some(OwnTeams {
                        user_id: row.try_get("id")?,
                        display_name: row.try_get("display_name")?,
                        email: row.try_get("email")?,
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
}
