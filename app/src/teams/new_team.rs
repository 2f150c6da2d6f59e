//! Creates teams.

use uuid::Uuid;

use super::members::add_member;
use super::membership::NewMember;
use super::person::{NewPerson, is_line};
use crate::error::{Error, Result};
use crate::tenancy::{Context, Database, Role};

const MAX_NAME_CHARS: usize = 200;

/// A team to be created, with its first owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTeam {
    /// Display name: 1 to 200 characters.
    pub name: String,
    /// Its first owner.
    pub owner: NewPerson,
    /// The owner's handle in the team, for mentions.
    pub owner_handle: String,
}

/// Creates a team with one owner and returns its id. Only the command line calls this: requests can't create teams.
///
/// # Errors
/// [`Error::Invalid`] for an invalid name, person or handle.
pub async fn create_team(database: &Database, new: NewTeam) -> Result<Uuid> {
    if !is_line(&new.name, MAX_NAME_CHARS) {
        return Err(Error::invalid(
            "name",
            format!("must be 1 to {MAX_NAME_CHARS} characters of one line"),
        ));
    }
    let team_id = Uuid::now_v7();
    let tx = database.begin(&Context::system(team_id, "daybook team create")).await?;
    let founding = sqlx::query("INSERT INTO teams (id, name) VALUES ($1, $2)")
        .bind(team_id)
        .bind(&new.name);
    tx.execute_sql(founding).await?;
    add_member(
        &tx,
        &NewMember {
            person: new.owner,
            handle: new.owner_handle,
            role: Role::Owner,
        },
    )
    .await?;
    tx.commit().await?;
    Ok(team_id)
}
