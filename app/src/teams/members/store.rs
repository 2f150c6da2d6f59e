//! Members in the database, and the rules of who may change whom.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::teams::api_keys::{KeyInfo, lower_keys_of, revoke_keys_of};
use crate::teams::invitations::{Invitation, withdraw_invitations_of};
use crate::teams::person::{KnownPerson, NewPerson, find_or_make};
use crate::teams::record::{AccessEvent, record};
use crate::tenancy::{Actor, Role, TeamTx};

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
    /// How sentences call them: their own name, once their own token or they themselves have given one; until then the
    /// team's name for them.
    pub display_name: String,
    /// Where to reach them: their own address, once their own token has given one; until then the team's.
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

/// A member's columns. A person's own name and address beat those that the team gave; the last ones are of memberships
/// that an older version made.
macro_rules! members {
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

/// The members after a handle, in the order of their handles; `None` for the first of them.
///
/// # Errors
/// As any statement.
pub async fn list_members(tx: &TeamTx, after: Option<&str>, limit: u64) -> Result<Vec<Member>> {
    let query = sqlx::query(members!(
        "WHERE m.team_id = $1 AND ($2::text IS NULL OR m.handle > $2) ORDER BY m.handle LIMIT $3"
    ))
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
    let query = sqlx::query(members!("WHERE m.team_id = $1 AND m.user_id = $2"))
        .bind(tx.team_id())
        .bind(user_id);
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::not_found("member"))?;
    member(&row)
}

/// The member of an identity, if they are one.
///
/// # Errors
/// As any statement.
pub(in crate::teams) async fn member_of_identity(tx: &TeamTx, issuer: &str, subject: &str) -> Result<Option<Member>> {
    let query = sqlx::query(members!("WHERE m.team_id = $1 AND u.issuer = $2 AND u.subject = $3"))
        .bind(tx.team_id())
        .bind(issuer)
        .bind(subject);
    tx.fetch_optional(query).await?.as_ref().map(member).transpose()
}

/// How many owners the team has.
///
/// # Errors
/// As any statement.
pub(in crate::teams) async fn owners_of(tx: &TeamTx) -> Result<i64> {
    let query = sqlx::query("SELECT count(*) AS owners FROM memberships WHERE team_id = $1 AND role = 'owner'");
    let row = tx.fetch_optional(query.bind(tx.team_id())).await?;
    Ok(row.map(|row| row.try_get("owners")).transpose()?.unwrap_or_default())
}

/// Makes somebody a member at once, by their identity: the operator's right. An admin of a team invites instead
/// ([`invite`](crate::teams::invite)), and the person accepts.
///
/// # Errors
/// [`Error::Forbidden`] for whoever isn't the service itself (the command line, a seed, a test); [`Error::Conflict`]
/// `already-member` or `handle-taken`; [`Error::Invalid`] by field.
pub async fn add_member(tx: &TeamTx, new: &NewMember) -> Result<Member> {
    if !matches!(tx.context().actor, Actor::System { .. }) {
        return Err(Error::Forbidden {
            detail: "only the operator adds members without asking them: invite the person instead".to_owned(),
        });
    }
    new.person.check()?;
    refuse_invited_handle(tx, &new.handle, Some((&new.person.issuer, &new.person.subject))).await?;
    let person = find_or_make(tx, &new.person.issuer, &new.person.subject, None).await?;
    let member = insert_member(tx, &person, new).await?;
    // Whoever is a member has nothing to accept.
    let query = sqlx::query("DELETE FROM invitations WHERE team_id = $1 AND issuer = $2 AND subject = $3")
        .bind(tx.team_id())
        .bind(&new.person.issuer)
        .bind(&new.person.subject);
    tx.execute_sql(query).await?;
    record(tx, [AccessEvent::joined("member.added", &member)]).await?;
    Ok(member)
}

/// Writes a membership.
///
/// # Errors
/// [`Error::Conflict`] `already-member` or `handle-taken`; [`Error::Invalid`] for a handle that can't be.
pub(in crate::teams) async fn insert_member(tx: &TeamTx, person: &KnownPerson, new: &NewMember) -> Result<Member> {
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
        .ok_or_else(|| Error::internal("an INSERT returned no row"))?;
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

/// A handle that a pending invitation has is taken, but for the person who was invited.
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
            "somebody who is invited has this handle",
        )),
        None => Ok(()),
    }
}

/// Locks a member for a change.
///
/// # Errors
/// [`Error::NotFound`] for somebody who isn't one; [`Error::NotFound`] of the team when the actor was removed
/// meanwhile.
pub async fn lock_member(tx: &TeamTx, user_id: Uuid) -> Result<LockedMember> {
    let actor = acting_member(tx);
    let query = sqlx::query(members!(
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

/// What came of a member's change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberChanged {
    /// As they are from here on.
    #[serde(flatten)]
    pub member: Member,
    /// Their API keys that had more rights than they have left: they have the member's role from here on.
    pub lowered_api_keys: Vec<KeyInfo>,
    /// Pending invitations of theirs that they may no longer make.
    pub withdrawn_invitations: Vec<Invitation>,
}

/// What went with a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberRemoved {
    /// Who is no member any more.
    pub user_id: Uuid,
    /// The API keys that they answered for: they don't hold any more.
    pub revoked_api_keys: Vec<KeyInfo>,
    /// Their pending invitations.
    pub withdrawn_invitations: Vec<Invitation>,
}

/// Changes a member's role or handle. With a lower role, their API keys and pending invitations follow.
///
/// # Errors
/// [`Error::Forbidden`] for less than an admin, and for an owner made or changed by less than one;
/// [`Error::Conflict`] `last-owner` or `handle-taken`; [`Error::Invalid`] for a handle that can't be.
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

/// Removes a member, with what was theirs alone in the team: what they follow, their watches and
/// notifications, the API keys that they answer for, and their pending invitations. What they wrote and did stays.
///
/// # Errors
/// [`Error::Forbidden`] for less than an admin, unless it is the member who leaves, and for an owner removed
/// by less than one; [`Error::Conflict`] `last-owner`.
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

/// The person whose membership gives the transaction its rights: whom the actor impersonates, or the actor.
fn acting_member(tx: &TeamTx) -> Option<Uuid> {
    let context = tx.context();
    let actor = context.actor.user_id()?;
    Some(context.on_behalf_of.as_ref().map_or(actor, |person| person.id))
}

pub(in crate::teams) fn require_owner(role: Role) -> Result<()> {
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
