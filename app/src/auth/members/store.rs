//! Members in the database, and the rules of who may change whom.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::person::NewPerson;
use crate::error::{Error, Result};
use crate::tenancy::{Role, TeamTx};

/// Somebody in a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Member {
    /// The person.
    pub user_id: Uuid,
    /// What `@handle` mentions them by; unique in the team.
    #[schema(example = "ada")]
    pub handle: String,
    /// What they may do.
    pub role: Role,
    /// How sentences call them.
    pub display_name: String,
    /// Where to reach them.
    pub email: Option<String>,
    /// Who vouches for them: their tokens' `iss`.
    pub issuer: String,
    /// Who they are to the issuer: their tokens' `sub`.
    pub subject: String,
    /// When they were added.
    pub created_at: DateTime<Utc>,
}

/// Somebody to be added to a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMember {
    /// Who.
    pub person: NewPerson,
    /// What is to mention them.
    pub handle: String,
    /// What they may do.
    pub role: Role,
}

/// What to change of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberChanges {
    /// Another role.
    pub role: Option<Role>,
    /// Another handle.
    pub handle: Option<String>,
}

/// A member whose row, like the actor's and the owners', stays as it is until the transaction ends.
#[derive(Debug)]
pub struct LockedMember {
    member: Member,
    /// The actor's role, read under the lock.
    actor_role: Role,
    is_actor: bool,
    owners: usize,
}

/// The members after a handle, in the order of their handles; `None` for the first of them.
///
/// # Errors
/// As any statement.
pub async fn list_members(tx: &TeamTx, after: Option<&str>, limit: u64) -> Result<Vec<Member>> {
    let query = sqlx::query(
        "SELECT m.user_id, m.handle, m.role, u.display_name, u.email, u.issuer, u.subject, m.created_at
         FROM memberships m JOIN users u ON u.id = m.user_id
         WHERE m.team_id = $1 AND ($2::text IS NULL OR m.handle > $2)
         ORDER BY m.handle LIMIT $3",
    )
    .bind(tx.team_id())
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    tx.fetch_all(query).await?.iter().map(member).collect()
}

/// One member.
///
/// # Errors
/// [`Error::NotFound`] for somebody who isn't one.
pub async fn find_member(tx: &TeamTx, user_id: Uuid) -> Result<Member> {
    let query = sqlx::query(
        "SELECT m.user_id, m.handle, m.role, u.display_name, u.email, u.issuer, u.subject, m.created_at
         FROM memberships m JOIN users u ON u.id = m.user_id
         WHERE m.team_id = $1 AND m.user_id = $2",
    )
    .bind(tx.team_id())
    .bind(user_id);
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::not_found("member"))?;
    member(&row)
}

/// Adds somebody, by their identity. Who is known already, from this service's other teams, keeps the name
/// and address that they have.
///
/// # Errors
/// [`Error::Forbidden`] for less than an admin, and for an owner made by less than one; [`Error::Conflict`]
/// `already-member` or `handle-taken`; [`Error::Invalid`] by field.
pub async fn add_member(tx: &TeamTx, new: &NewMember) -> Result<Member> {
    tx.require(Role::Admin)?;
    if new.role == Role::Owner {
        require_owner(tx.role())?;
    }
    new.person.check()?;
    let person = new.person.find_or_make(tx).await?;
    let query = sqlx::query(
        "INSERT INTO memberships (team_id, user_id, role, handle) VALUES ($1, $2, $3, $4) RETURNING created_at",
    )
    .bind(tx.team_id())
    .bind(person.user_id)
    .bind(new.role.as_str())
    .bind(&new.handle);
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::internal("an INSERT returned no row"))?;
    Ok(Member {
        user_id: person.user_id,
        handle: new.handle.clone(),
        role: new.role,
        display_name: person.display_name,
        email: person.email,
        issuer: new.person.issuer.clone(),
        subject: new.person.subject.clone(),
        created_at: row.try_get("created_at")?,
    })
}

/// Locks a member for a change.
///
/// # Errors
/// [`Error::NotFound`] for somebody who isn't one; [`Error::NotFound`] of the team when the actor was removed
/// meanwhile.
pub async fn lock_member(tx: &TeamTx, user_id: Uuid) -> Result<LockedMember> {
    let actor = acting_member(tx);
    let query = sqlx::query(
        "SELECT m.user_id, m.handle, m.role, u.display_name, u.email, u.issuer, u.subject, m.created_at
         FROM memberships m JOIN users u ON u.id = m.user_id
         WHERE m.team_id = $1 AND (m.user_id = $2 OR m.user_id = $3 OR m.role = 'owner')
         ORDER BY m.user_id FOR NO KEY UPDATE OF m",
    )
    .bind(tx.team_id())
    .bind(user_id)
    .bind(actor);
    let rows: Vec<Member> = tx.fetch_all(query).await?.iter().map(member).collect::<Result<_>>()?;

    let actor_role = match actor {
        Some(id) => {
            rows.iter()
                .find(|row| row.user_id == id)
                .ok_or_else(|| Error::not_found("team"))?
                .role
        }
        None => tx.role(),
    };
    let owners = rows.iter().filter(|row| row.role == Role::Owner).count();
    let member = rows
        .into_iter()
        .find(|row| row.user_id == user_id)
        .ok_or_else(|| Error::not_found("member"))?;
    Ok(LockedMember {
        is_actor: actor == Some(user_id),
        member,
        actor_role,
        owners,
    })
}

impl LockedMember {
    /// The member as it is.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// # Errors
    /// [`Error::Forbidden`] for who may not change this member.
    fn require_rights(&self) -> Result<()> {
        if self.actor_role < Role::Admin {
            return Err(forbidden(Role::Admin, self.actor_role));
        }
        if self.member.role == Role::Owner {
            require_owner(self.actor_role)?;
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::Conflict`] `last-owner`.
    fn require_another_owner(&self) -> Result<()> {
        if self.member.role == Role::Owner && self.owners <= 1 {
            return Err(Error::conflict(
                "last-owner",
                "a team keeps at least one owner; make somebody else one first",
            ));
        }
        Ok(())
    }
}

/// Changes a member's role or handle.
///
/// # Errors
/// [`Error::Forbidden`] for less than an admin, and for an owner made or changed by less than one;
/// [`Error::Conflict`] `last-owner` or `handle-taken`; [`Error::Invalid`] for a handle that can't be.
pub async fn change_member(tx: &TeamTx, locked: LockedMember, changes: &MemberChanges) -> Result<Member> {
    locked.require_rights()?;
    let role = changes.role.unwrap_or(locked.member.role);
    let handle = changes.handle.as_ref().unwrap_or(&locked.member.handle).clone();
    if role == Role::Owner {
        require_owner(locked.actor_role)?;
    } else {
        locked.require_another_owner()?;
    }
    let query = sqlx::query("UPDATE memberships SET role = $3, handle = $4 WHERE team_id = $1 AND user_id = $2")
        .bind(tx.team_id())
        .bind(locked.member.user_id)
        .bind(role.as_str())
        .bind(&handle);
    tx.execute_sql(query).await?;
    Ok(Member {
        role,
        handle,
        ..locked.member
    })
}

/// Removes a member, with what was theirs alone in the team: what they follow, their watches and
/// notifications. What they wrote and did stays.
///
/// # Errors
/// [`Error::Forbidden`] for less than an admin, unless it is the member who leaves, and for an owner removed
/// by less than one; [`Error::Conflict`] `last-owner`.
pub async fn remove_member(tx: &TeamTx, locked: LockedMember) -> Result<()> {
    if !locked.is_actor {
        locked.require_rights()?;
    }
    locked.require_another_owner()?;
    let query = sqlx::query("DELETE FROM memberships WHERE team_id = $1 AND user_id = $2")
        .bind(tx.team_id())
        .bind(locked.member.user_id);
    tx.execute_sql(query).await?;
    Ok(())
}

/// The person whose membership gives the transaction its rights: whom the actor impersonates, or the actor.
fn acting_member(tx: &TeamTx) -> Option<Uuid> {
    let context = tx.context();
    let actor = context.actor.user_id()?;
    Some(context.on_behalf_of.as_ref().map_or(actor, |person| person.id))
}

fn require_owner(role: Role) -> Result<()> {
    if role == Role::Owner {
        Ok(())
    } else {
        Err(forbidden(Role::Owner, role))
    }
}

fn forbidden(needed: Role, role: Role) -> Error {
    Error::Forbidden {
        detail: format!("this needs the role {needed}; yours is {role}"),
    }
}

fn member(row: &PgRow) -> Result<Member> {
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
