//! Events about members.

use crate::events::FieldChange;
use crate::teams::api_keys::KeyInfo;
use crate::teams::invitations::Invitation;
use crate::teams::membership::Member;
use crate::teams::record::AccessEvent;

impl AccessEvent {
    pub(super) fn changed(before: &Member, after: &Member, keys: &[KeyInfo], invitations: &[Invitation]) -> Self {
        let change = |old: &str, new: &str| FieldChange {
            old: old.into(),
            new: new.into(),
        };
        Self::Changed {
            user_id: after.user_id,
            label: after.handle.clone(),
            role: change(before.role.as_str(), after.role.as_str()),
            handle: change(&before.handle, &after.handle),
            lowered_api_keys: keys.iter().map(|key| key.id).collect(),
            withdrawn_invitations: invitations.iter().map(|invitation| invitation.id).collect(),
        }
    }

    pub(super) fn removed(member: &Member, keys: &[KeyInfo], invitations: &[Invitation]) -> Self {
        Self::Removed {
            user_id: member.user_id,
            handle: member.handle.clone(),
            role: member.role,
            revoked_api_keys: keys.iter().map(|key| key.id).collect(),
            withdrawn_invitations: invitations.iter().map(|invitation| invitation.id).collect(),
        }
    }
}
