//! Events about access: invitations, new, changed and removed members, and changes of API keys.
//!
//! They are `CUSTOM` events of objects without a thread, so they create no inbox entries. Their labels are handles and
//! keys' names: events are kept forever, so they must not contain a person's name or address.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::error::Result;
use crate::events::internal::{Subject, emit_subject_events};
use crate::events::{CustomEventData, Event, FieldChange, Sentence, Sentences};
use crate::tenancy::{Actor, Role, TeamTx};

const MEMBER: &str = "member";
const INVITATION: &str = "invitation";
const API_KEY: &str = "api_key";

/// A change of somebody's access. Its fields are the event's `data`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum AccessEvent {
    /// `member.invited`, `member.invitation_withdrawn`, `member.invitation_declined`.
    Invitation {
        #[serde(skip)]
        name: &'static str,
        invitation_id: Uuid,
        handle: String,
        role: Role,
    },
    /// `member.joined` by an invitation; `member.added` by the operator.
    Joined {
        #[serde(skip)]
        name: &'static str,
        user_id: Uuid,
        handle: String,
        role: Role,
    },
    /// `member.changed`.
    Changed {
        user_id: Uuid,
        #[serde(skip)]
        label: String,
        role: FieldChange,
        handle: FieldChange,
        lowered_api_keys: Vec<Uuid>,
        withdrawn_invitations: Vec<Uuid>,
    },
    /// `member.removed`.
    Removed {
        user_id: Uuid,
        handle: String,
        role: Role,
        revoked_api_keys: Vec<Uuid>,
        withdrawn_invitations: Vec<Uuid>,
    },
    /// `api_key.created`, `api_key.revoked`, `api_key.adopted`, `api_key.lowered`.
    Key {
        #[serde(skip)]
        name: &'static str,
        #[serde(skip)]
        label: String,
        api_key_id: Uuid,
        prefix: String,
        role: Role,
        owned_by: Option<Uuid>,
        /// Why a key was revoked: `by_hand` or `owner_left`.
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<&'static str>,
        /// The previous owner of an adopted key.
        #[serde(skip_serializing_if = "Option::is_none")]
        adopted_from: Option<Uuid>,
    },
}

impl AccessEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::Invitation { name, .. } | Self::Joined { name, .. } | Self::Key { name, .. } => name,
            Self::Changed { .. } => "member.changed",
            Self::Removed { .. } => "member.removed",
        }
    }

    fn subject(&self) -> Subject {
        let (object_type, id, label) = match self {
            Self::Invitation {
                invitation_id, handle, ..
            } => (INVITATION, invitation_id, format!("@{handle}")),
            Self::Joined { user_id, handle, .. }
            | Self::Removed { user_id, handle, .. }
            | Self::Changed {
                user_id, label: handle, ..
            } => (MEMBER, user_id, format!("@{handle}")),
            Self::Key { api_key_id, label, .. } => (API_KEY, api_key_id, label.clone()),
        };
        Subject {
            object_type,
            id: id.to_string(),
            label,
        }
    }
}

/// Records events with the transaction's actor as their author.
///
/// # Errors
/// Those of recording any event.
pub(super) async fn record(tx: &TeamTx, events: impl IntoIterator<Item = AccessEvent>) -> Result<()> {
    record_as(tx, None, events).await
}

/// Records events whose author is a person who is about to become a member.
///
/// # Errors
/// Those of recording any event.
pub(super) async fn record_as(
    tx: &TeamTx,
    actor: Option<&Actor>,
    events: impl IntoIterator<Item = AccessEvent>,
) -> Result<()> {
    let mut payloads = Vec::new();
    for event in events {
        let data = CustomEventData {
            name: event.name().to_owned(),
            data: serde_json::to_value(&event)?,
        };
        payloads.push((event.subject(), data));
    }
    emit_subject_events(tx, actor, payloads).await?;
    Ok(())
}

/// Adds the sentences of these events to a program's sentences.
pub(crate) fn with_access_sentences(sentences: Sentences) -> Sentences {
    [MEMBER, INVITATION, API_KEY]
        .into_iter()
        .fold(sentences, |sentences, kind| {
            sentences.with_custom_sentences(kind, sentence_for)
        })
}

fn sentence_for(event: &Event) -> Option<Sentence> {
    let role = || {
        let role = event.event_data.pointer("/data/role").and_then(Value::as_str);
        role.unwrap_or("member").to_owned()
    };
    let verb = match event.event_name.as_deref()? {
        "member.invited" => return Some(Sentence::text("sent ").object(event).and(format!(" ({})", role()))),
        "member.invitation_withdrawn" => "withdrew ",
        "member.invitation_declined" => "declined ",
        "member.joined" => "joined as ",
        "member.added" => "added ",
        "member.changed" => "changed ",
        "member.removed" => "removed ",
        "api_key.created" => "created ",
        "api_key.revoked" => "revoked ",
        "api_key.adopted" => "adopted ",
        "api_key.lowered" => return Some(Sentence::text("lowered ").object(event).and(format!(" to {}", role()))),
        _ => return None,
    };
    Some(Sentence::text(verb).object(event))
}
