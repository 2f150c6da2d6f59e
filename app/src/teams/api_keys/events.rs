//! Events about API keys.

use uuid::Uuid;

use super::key::KeyInfo;
use crate::teams::record::AccessEvent;

impl AccessEvent {
    pub(super) fn key_created(key: &KeyInfo) -> Self {
        Self::key("api_key.created", key, None, None)
    }

    pub(super) fn key_revoked(key: &KeyInfo, cause: &'static str) -> Self {
        Self::key("api_key.revoked", key, Some(cause), None)
    }

    pub(super) fn key_adopted(before: &KeyInfo, after: &KeyInfo) -> Self {
        Self::key("api_key.adopted", after, None, before.owned_by)
    }

    pub(super) fn key_lowered(key: &KeyInfo) -> Self {
        Self::key("api_key.lowered", key, None, None)
    }

    fn key(name: &'static str, key: &KeyInfo, cause: Option<&'static str>, adopted_from: Option<Uuid>) -> Self {
        Self::Key {
            name,
            label: key.name.clone(),
            api_key_id: key.id,
            prefix: key.prefix.clone(),
            role: key.role,
            owned_by: key.owned_by,
            cause,
            adopted_from,
        }
    }
}
