//! Members in the database, and the rules about who may change them.

use serde::Serialize;
use sqlx::Row;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::teams::api_keys::{KeyInfo, lower_keys_of, revoke_keys_of};
use crate::teams::invitations::{Invitation, withdraw_invitations_of};
use crate::teams::membership::{Member, NewMember, forbidden, insert_member, member, require_owner, select_members};
use crate::teams::person::find_or_make;
use crate::teams::record::{AccessEvent, record};
use crate::tenancy::{Actor, Role, TeamTx};

/// The changes of a member. `None` leaves the value as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberChanges {
    /// The new role.
    pub role: Option<Role>,
    /// The new handle.
    pub handle: Option<String>,
}

/// A member whose row is locked until the transaction ends, together with the actor's and the owners'.
#[derive(Debug)]
pub struct LockedMember {
    member: Member,
    /// The actor's role, read under the lock.
    actor_role: Role,
    is_actor: bool,
    owners: usize,
}

/// Returns the members after a handle, ordered by handle; `None` starts at the first.
///
/// # Errors
/// Those of any database statement.
pub async fn list_members(tx: &TeamTx, after: Option<&str>, limit: u64) -> Result<Vec<Member>> {
    let query = sqlx::query(select_members!(
        "WHERE m.team_id = $1 AND ($2::text IS NULL OR m.handle > $2) ORDER BY m.handle LIMIT $3"
    ))
    .bind(tx.team_id())
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    tx.fetch_all(query).await?.iter().map(member).collect()
}

/// Returns one member.
///
/// # Errors
/// [`Error::NotFound`] if the person is not a member.
pub async fn find_member(tx: &TeamTx, user_id: Uuid) -> Result<Member> {
    let query = sqlx::query(select_members!("WHERE m.team_id = $1 AND m.user_id = $2"))
        .bind(tx.team_id())
        .bind(user_id);
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::not_found("member"))?;
    member(&row)
}

/// Counts the team's owners.
///
/// # Errors
/// Those of any database statement.
pub(in crate::teams) async fn owners_of(tx: &TeamTx) -> Result<i64> {
    let query = sqlx::query("SELECT count(*) AS owners FROM memberships WHERE team_id = $1 AND role = 'owner'");
    let row = tx.fetch_optional(query.bind(tx.team_id())).await?;
    Ok(row.map(|row| row.try_get("owners")).transpose()?.unwrap_or_default())
}

/// Adds a person as a member immediately, by their identity; only the operator may do this. An admin of a team invites
/// instead ([`invite`](crate::teams::invite)), and the person accepts.
///
/// # Errors
/// [`Error::Forbidden`] unless the actor is the service itself (the command line, a seed, a test); [`Error::Conflict`]
/// `already-member` or `handle-taken`; [`Error::Invalid`] by field.
pub async fn add_member(tx: &TeamTx, new: &NewMember) -> Result<Member> {
    if !matches!(tx.context().actor, Actor::System { .. }) {
        return Err(Error::Forbidden {
            detail: "only the operator may add members directly: invite the person instead".to_owned(),
        });
    }
    new.person.check()?;
    refuse_invited_handle(tx, &new.handle, Some((&new.person.issuer, &new.person.subject))).await?;
    let person = find_or_make(tx, &new.person.issuer, &new.person.subject, None).await?;
    let member = insert_member(tx, &person, new).await?;
    // A member needs no invitation.
    let query = sqlx::query("DELETE FROM invitations WHERE team_id = $1 AND issuer = $2 AND subject = $3")
        .bind(tx.team_id())
        .bind(&new.person.issuer)
        .bind(&new.person.subject);
    tx.execute_sql(query).await?;
    record(tx, [AccessEvent::joined("member.added", &member)]).await?;
    Ok(member)
}

/// Refuses a handle that a pending invitation reserves for another person.
async fn refuse_invited_handle(tx: &TeamTx, handle: &str, person: Option<(&str, &str)>) -> Result<()> {
    let query = sqlx::query(
        "SELECT FROM invitations WHERE team_id = $1 AND handle = $2 AND (issuer, subject) IS DISTINCT FROM ($3, $4)",
    )
    .bind(tx.team_id())
    .bind(handle)
    .bind(person.map(|(issuer, _)| issuer))
    .bind(person.map(|(_, subject)| subject));
    match tx.fetch_optional(query).await? {
        Some(_) => Err(Error::conflict(
            "handle-taken",
            "a pending invitation reserves this handle",
        )),
        None => Ok(()),
    }
}

/// Locks a member for a change.
///
/// # Errors
/// [`Error::NotFound`] if the person is not a member; [`Error::NotFound`] of the team if the actor was removed in the
/// meantime.
pub async fn lock_member(tx: &TeamTx, user_id: Uuid) -> Result<LockedMember> {
    let actor = acting_member(tx);
    let query = sqlx::query(select_members!(
        "WHERE m.team_id = $1 AND (m.user_id = $2 OR m.user_id = $3 OR m.role = 'owner')
         ORDER BY m.user_id FOR NO KEY UPDATE OF m"
    ))
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
    /// Returns the member before the change.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Checks that the actor may change this member.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the actor may not.
    fn require_rights(&self) -> Result<()> {
        if self.actor_role < Role::Admin {
            return Err(forbidden(Role::Admin, self.actor_role));
        }
        if self.member.role == Role::Owner {
            require_owner(self.actor_role)?;
        }
        Ok(())
    }

    /// Checks that the team has another owner.
    ///
    /// # Errors
    /// [`Error::Conflict`] `last-owner`.
    fn require_another_owner(&self) -> Result<()> {
        if self.member.role == Role::Owner && self.owners <= 1 {
            return Err(Error::conflict(
                "last-owner",
                "a team must have at least one owner; make another member an owner first",
            ));
        }
        Ok(())
    }
}

/// The result of changing a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberChanged {
    /// The member after the change.
    #[serde(flatten)]
    pub member: Member,
    /// The member's API keys whose role was lowered to the member's new role.
    pub lowered_api_keys: Vec<KeyInfo>,
    /// The member's withdrawn invitations: those that the new role may not make.
    pub withdrawn_invitations: Vec<Invitation>,
}

/// The result of removing a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberRemoved {
    /// The removed member.
    pub user_id: Uuid,
    /// The API keys they were responsible for, which are revoked.
    pub revoked_api_keys: Vec<KeyInfo>,
    /// The removed member's pending invitations, which are withdrawn.
    pub withdrawn_invitations: Vec<Invitation>,
}

/// Changes a member's role or handle. If the role is lowered, their API keys and pending invitations are adjusted too.
///
/// # Errors
/// [`Error::Forbidden`] if the actor is not an admin, or not an owner and an owner would be made or changed;
/// [`Error::Conflict`] `last-owner` or `handle-taken`; [`Error::Invalid`] for an invalid handle.
pub async fn change_member(tx: &TeamTx, locked: LockedMember, changes: &MemberChanges) -> Result<MemberChanged> {
    locked.require_rights()?;
    let before = locked.member.clone();
    let role = changes.role.unwrap_or(before.role);
    let handle = changes.handle.as_ref().unwrap_or(&before.handle).clone();
    if role == Role::Owner {
        require_owner(locked.actor_role)?;
    } else {
        locked.require_another_owner()?;
    }
    if handle != before.handle {
        refuse_invited_handle(tx, &handle, None).await?;
    }
    let query = sqlx::query("UPDATE memberships SET role = $3, handle = $4 WHERE team_id = $1 AND user_id = $2")
        .bind(tx.team_id())
        .bind(before.user_id)
        .bind(role.as_str())
        .bind(&handle);
    tx.execute_sql(query).await?;
    let member = Member {
        role,
        handle,
        ..locked.member
    };
    let (mut lowered_api_keys, mut withdrawn_invitations) = (Vec::new(), Vec::new());
    if role < before.role {
        lowered_api_keys = lower_keys_of(tx, member.user_id, role).await?;
        withdrawn_invitations = withdraw_invitations_of(tx, member.user_id, Some(role)).await?;
    }
    if member != before {
        let event = AccessEvent::changed(&before, &member, &lowered_api_keys, &withdrawn_invitations);
        record(tx, [event]).await?;
    }
    Ok(MemberChanged {
        member,
        lowered_api_keys,
        withdrawn_invitations,
    })
}

/// Removes a member and what belongs only to them in the team: their follows, watches and notifications, the API keys
/// they are responsible for, and their pending invitations. Everything that they wrote and did stays.
///
/// # Errors
/// [`Error::Forbidden`] if the actor is neither an admin nor the member who leaves, or removes an owner without being
/// one; [`Error::Conflict`] `last-owner`.
pub async fn remove_member(tx: &TeamTx, locked: LockedMember) -> Result<MemberRemoved> {
    if !locked.is_actor {
        locked.require_rights()?;
    }
    locked.require_another_owner()?;
    let member = locked.member;
    let query = sqlx::query("DELETE FROM memberships WHERE team_id = $1 AND user_id = $2")
        .bind(tx.team_id())
        .bind(member.user_id);
    tx.execute_sql(query).await?;
    let revoked_api_keys = revoke_keys_of(tx, member.user_id).await?;
    let withdrawn_invitations = withdraw_invitations_of(tx, member.user_id, None).await?;
    record(
        tx,
        [AccessEvent::removed(&member, &revoked_api_keys, &withdrawn_invitations)],
    )
    .await?;
    Ok(MemberRemoved {
        user_id: member.user_id,
        revoked_api_keys,
        withdrawn_invitations,
    })
}

/// Returns the person whose membership gives the transaction its rights: the impersonated person, if there is one, else
/// the actor.
fn acting_member(tx: &TeamTx) -> Option<Uuid> {
    let context = tx.context();
    let actor = context.actor.user_id()?;
    Some(context.on_behalf_of.as_ref().map_or(actor, |person| person.id))
}
