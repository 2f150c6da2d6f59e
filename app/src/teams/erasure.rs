//! Erases a person from every team and from `users`.
//!
//! **What is deleted**: their memberships with their inbox, watches and read marks, the API keys they are responsible
//! for, invitations of and by them, and the row with their identity, name and address.
//!
//! **What stays**: records. Events, comments, job sessions and run logs keep the name that was true when they were
//! written, with an id that no longer refers to a user. Events are never changed.

use uuid::Uuid;

use super::invitations::decline_of;
use super::members::{lock_member, owners_of, remove_member};
use super::membership::member_of_identity;
use crate::error::{Error, Result};
use crate::tenancy::{Database, Entry, Role, TeamTx};

/// Erases a person from these teams, and from `users`. `entry` returns the [`Entry`] into each team, in the name of the
/// person or of the service. The function may be called again after an interruption. Returns whether the service knew
/// the person.
///
/// # Errors
/// [`Error::Conflict`] `last-owner`, before any change, if a team would be left without an owner.
pub async fn erase_person(
    database: &Database,
    teams: &[Uuid],
    issuer: &str,
    subject: &str,
    entry: impl Fn(Uuid) -> Entry,
) -> Result<bool> {
    let mut left_alone = Vec::new();
    for team_id in teams {
        let tx = database.enter(&entry(*team_id).read_only()).await?;
        let member = member_of_identity(&tx, issuer, subject).await?;
        if member.is_some_and(|member| member.role == Role::Owner) && owners_of(&tx).await? <= 1 {
            left_alone.push(team_id.to_string());
        }
        tx.commit().await?;
    }
    if !left_alone.is_empty() {
        return Err(Error::conflict(
            "last-owner",
            format!(
                "a team must have at least one owner; make another member an owner first, in: {}",
                left_alone.join(", ")
            ),
        ));
    }
    let mut was_known = false;
    for team_id in teams {
        let leave = async |tx: &TeamTx| {
            let was_invited = decline_of(tx, issuer, subject).await?;
            if let Some(member) = member_of_identity(tx, issuer, subject).await? {
                let locked = lock_member(tx, member.user_id).await?;
                remove_member(tx, locked).await?;
            }
            Ok(was_invited)
        };
        was_known |= database.write_as(&entry(*team_id), Role::Viewer, leave).await?;
    }
    Ok(database.erase_person(issuer, subject).await? || was_known)
}
