//! Invitations in the database.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::invitation::Invitation;
use crate::auth::UserPrincipal;
use crate::error::{Error, Result};
use crate::teams::api_keys::lock_owner;
use crate::teams::membership::{Member, NewMember, insert_member, member_of_identity, require_owner};
use crate::teams::person::{NewPerson, find_or_make};
use crate::teams::record::{AccessEvent, record, record_as};
use crate::tenancy::{Actor, Role, TeamTx};

const COLUMNS: &str = "id, issuer, subject, role, handle, display_name, email, invited_by, invited_by_name, created_at";

/// Invites a person, by their identity.
///
/// # Errors
/// [`Error::Forbidden`] if the actor is not an admin, or not an owner and invites an owner; [`Error::Conflict`]
/// `already-member`, `already-invited` or `handle-taken`; [`Error::Invalid`] by field.
pub async fn invite(tx: &TeamTx, new: &NewMember) -> Result<Invitation> {
    tx.require(Role::Admin)?;
    if new.role == Role::Owner {
        require_owner(tx.role())?;
    }
    new.person.check()?;
    let needed = if new.role == Role::Owner {
        Role::Owner
    } else {
        Role::Admin
    };
    let invited_by = lock_owner(tx, needed).await?;
    // The error reveals only members of the team, whom the actor sees anyway.
    if member_of_identity(tx, &new.person.issuer, &new.person.subject)
        .await?
        .is_some()
    {
        return Err(Error::conflict("already-member", "this person is a member already"));
    }
    let taken = sqlx::query("SELECT FROM memberships WHERE team_id = $1 AND handle = $2")
        .bind(tx.team_id())
        .bind(&new.handle);
    if tx.fetch_optional(taken).await?.is_some() {
        return Err(Error::conflict("handle-taken", "another member has this handle"));
    }
    let sql = format!(
        "INSERT INTO invitations (team_id, id, issuer, subject, role, handle, display_name, email, invited_by, invited_by_name)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING {COLUMNS}"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(tx.team_id())
        .bind(Uuid::now_v7())
        .bind(&new.person.issuer)
        .bind(&new.person.subject)
        .bind(new.role.as_str())
        .bind(&new.handle)
        .bind(&new.person.display_name)
        .bind(&new.person.email)
        .bind(invited_by)
        .bind(tx.context().actor.name());
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::internal("the INSERT of an invitation returned no row"))?;
    let invitation = invitation(&row)?;
    record(tx, [AccessEvent::invitation("member.invited", &invitation)]).await?;
    Ok(invitation)
}

/// Returns the pending invitations before an id, newest first; `None` starts at the newest.
///
/// # Errors
/// [`Error::Forbidden`] if the actor is not an admin.
pub async fn list_invitations(tx: &TeamTx, before: Option<Uuid>, limit: u64) -> Result<Vec<Invitation>> {
    tx.require(Role::Admin)?;
    let sql = format!(
        "SELECT {COLUMNS} FROM invitations WHERE team_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(tx.team_id())
        .bind(before)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    tx.fetch_all(query).await?.iter().map(invitation).collect()
}

/// Withdraws a pending invitation.
///
/// # Errors
/// [`Error::Forbidden`] if the actor is not an admin; [`Error::NotFound`] if there is no such invitation.
pub async fn withdraw(tx: &TeamTx, id: Uuid) -> Result<()> {
    tx.require(Role::Admin)?;
    let sql = format!("DELETE FROM invitations WHERE team_id = $1 AND id = $2 RETURNING {COLUMNS}");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(tx.team_id()).bind(id);
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::not_found("invitation"))?;
    let event = AccessEvent::invitation("member.invitation_withdrawn", &invitation(&row)?);
    record(tx, [event]).await
}

/// Withdraws pending invitations that a member is responsible for. If the member keeps the role `left`, these are only
/// the invitations into roles that this role may not invite into; otherwise all of them.
///
/// # Errors
/// Those of any database statement.
pub(in crate::teams) async fn withdraw_invitations_of(
    tx: &TeamTx,
    user_id: Uuid,
    left: Option<Role>,
) -> Result<Vec<Invitation>> {
    let roles: &[&str] = match left {
        Some(Role::Owner) => return Ok(Vec::new()),
        Some(Role::Admin) => &["owner"],
        _ => &["viewer", "member", "admin", "owner"],
    };
    let sql = format!(
        "DELETE FROM invitations WHERE team_id = $1 AND invited_by = $2 AND role = ANY ($3) RETURNING {COLUMNS}"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(tx.team_id())
        .bind(user_id)
        .bind(roles);
    let mut withdrawn: Vec<Invitation> = tx
        .fetch_all(query)
        .await?
        .iter()
        .map(invitation)
        .collect::<Result<_>>()?;
    withdrawn.sort_by_key(|invitation| invitation.id);
    let events = withdrawn
        .iter()
        .map(|invitation| AccessEvent::invitation("member.invitation_withdrawn", invitation));
    record(tx, events).await?;
    Ok(withdrawn)
}

/// Makes the token's owner a member, if they are invited. A person who is already a member stays one.
///
/// `tx` is the service's own transaction in the team: the person has no rights there yet.
///
/// # Errors
/// [`Error::NotFound`] if the person isn't invited; [`Error::Conflict`] `handle-taken`.
pub async fn accept(tx: &TeamTx, person: &UserPrincipal) -> Result<Member> {
    let Some(invitation) = take(tx, &person.issuer, &person.subject).await? else {
        // The invitation was accepted before; that response may have been lost.
        let member = member_of_identity(tx, &person.issuer, &person.subject).await?;
        return member.ok_or_else(|| Error::not_found("invitation"));
    };
    let known = find_or_make(tx, &person.issuer, &person.subject, Some(person)).await?;
    let new = NewMember {
        person: NewPerson {
            issuer: invitation.issuer,
            subject: invitation.subject,
            display_name: invitation.display_name,
            email: invitation.email,
        },
        handle: invitation.handle,
        role: invitation.role,
    };
    let member = insert_member(tx, &known, &new).await?;
    let actor = Actor::User {
        id: member.user_id,
        name: member.display_name.clone(),
    };
    record_as(tx, Some(&actor), [AccessEvent::joined("member.joined", &member)]).await?;
    Ok(member)
}

/// Declines an invitation on behalf of the invited person. `tx` is the service's own transaction in the team.
///
/// # Errors
/// [`Error::NotFound`] if the person isn't invited.
pub async fn decline(tx: &TeamTx, person: &UserPrincipal) -> Result<()> {
    match decline_of(tx, &person.issuer, &person.subject).await? {
        true => Ok(()),
        false => Err(Error::not_found("invitation")),
    }
}

/// Deletes the team's invitation of an identity, and returns whether there was one.
///
/// # Errors
/// Those of any database statement.
pub(in crate::teams) async fn decline_of(tx: &TeamTx, issuer: &str, subject: &str) -> Result<bool> {
    let Some(invitation) = take(tx, issuer, subject).await? else {
        return Ok(false);
    };
    let event = AccessEvent::invitation("member.invitation_declined", &invitation);
    record(tx, [event]).await?;
    Ok(true)
}

async fn take(tx: &TeamTx, issuer: &str, subject: &str) -> Result<Option<Invitation>> {
    let sql =
        format!("DELETE FROM invitations WHERE team_id = $1 AND issuer = $2 AND subject = $3 RETURNING {COLUMNS}");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(tx.team_id())
        .bind(issuer)
        .bind(subject);
    tx.fetch_optional(query).await?.as_ref().map(invitation).transpose()
}

fn invitation(row: &PgRow) -> Result<Invitation> {
    Ok(Invitation {
        id: row.try_get("id")?,
        issuer: row.try_get("issuer")?,
        subject: row.try_get("subject")?,
        role: row.try_get::<&str, _>("role")?.parse()?,
        handle: row.try_get("handle")?,
        display_name: row.try_get("display_name")?,
        email: row.try_get("email")?,
        invited_by: row.try_get("invited_by")?,
        invited_by_name: row.try_get("invited_by_name")?,
        created_at: row.try_get("created_at")?,
    })
}
