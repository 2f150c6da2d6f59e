//! The reason for a notification, as it was when the notification was written.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::preferences::{Occasion, Rule};
use super::store::WhyRow;
use crate::error::{Error, Result};

/// Why a person is notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NotificationReason)]
#[non_exhaustive]
pub enum Reason {
    /// They follow the thread.
    Follower,
    /// They watch for new objects of this type.
    Watcher,
    /// A comment mentions them.
    Mentioned,
}

/// Why you were notified: what it was about, how you are related to it, and which of your preferences allowed it. It
/// describes the state when the notification was written. Later changes of your settings don't change it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = NotificationWhy)]
pub struct Why {
    /// The reason as text.
    #[schema(example = "You follow this thread, because you created the campaign.")]
    pub text: String,
    /// An event's type, `COMMENT` or `MENTION`.
    #[schema(value_type = String, example = "UPDATED")]
    #[serde(serialize_with = "as_text")]
    pub event_type: Occasion,
    /// The message's position in the thread. For a notification of several messages, it is the message that gave the
    /// reason: the newest one, or the one that mentioned you.
    pub seq: i64,
    /// The event's id; null for a comment.
    pub event_id: Option<Uuid>,
    /// Why you followed the thread, if you were notified as a follower.
    pub followed: Option<Followed>,
    /// Your preference that allowed it; null if no preference matched, because then everything is allowed.
    pub preference: Option<Rule>,
}

/// Why a person follows a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FollowedBecause)]
#[non_exhaustive]
pub enum Followed {
    /// They created the object.
    Creator,
    /// They commented.
    Commenter,
    /// A comment mentioned them.
    Mentioned,
    /// They chose to follow it.
    Manual,
}

fn as_text<S: serde::Serializer>(occasion: &Occasion, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(occasion)
}

impl Why {
    /// Returns `None` for a notification that is older than the columns for the reason.
    pub(super) fn new(reason: Reason, object_type: &str, row: WhyRow) -> Result<Option<Self>> {
        let (Some(event_type), Some(seq)) = (row.event_type, row.seq) else {
            return Ok(None);
        };
        let event_type = event_type.parse().map_err(Error::internal)?;
        let followed = row.followed.as_deref().map(followed).transpose()?;
        let preference = row
            .rule
            .map(|(event_type, object_type)| Rule::parse(&event_type, object_type))
            .transpose()
            .map_err(Error::internal)?;
        let object = object_type.replace('_', " ");
        let relation = match (reason, followed) {
            (Reason::Mentioned, _) => "A comment mentioned you".to_owned(),
            (Reason::Watcher, _) => format!("You watch for every new {object}"),
            (Reason::Follower, Some(Followed::Creator)) => {
                format!("You follow this thread, because you created the {object}")
            }
            (Reason::Follower, Some(Followed::Commenter)) => {
                "You follow this thread, because you commented on it".to_owned()
            }
            (Reason::Follower, Some(Followed::Mentioned)) => {
                "You follow this thread, because you were mentioned in it".to_owned()
            }
            (Reason::Follower, _) => "You follow this thread".to_owned(),
        };
        let text = match &preference {
            Some(rule) => format!("{relation}, and your preference for {rule} allows it."),
            None => format!("{relation}."),
        };
        Ok(Some(Self {
            text,
            event_type,
            seq,
            event_id: row.event_id,
            followed,
            preference,
        }))
    }
}

fn followed(reason: &str) -> Result<Followed> {
    Ok(match reason {
        "creator" => Followed::Creator,
        "commenter" => Followed::Commenter,
        "mentioned" => Followed::Mentioned,
        "manual" => Followed::Manual,
        other => return Err(Error::internal(format!("a follower has the unknown reason {other:?}"))),
    })
}
