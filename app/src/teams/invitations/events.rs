//! Events about invitations.

use super::invitation::Invitation;
use crate::teams::record::AccessEvent;

impl AccessEvent {
    pub(super) fn invitation(name: &'static str, invitation: &Invitation) -> Self {
        Self::Invitation {
            name,
            invitation_id: invitation.id,
            handle: invitation.handle.clone(),
            role: invitation.role,
        }
    }
}
