//! "Why did I get this?", as it was when it was told.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::preferences::{Occasion, Rule};
use super::routes::Reason;
use super::store::WhyRow;
use crate::error::{Error, Result};

/// Why you were told: of what, by what tie to it, and which of your preferences let it through. It is what held when
/// it was told; what you change later changes later ones.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = NotificationWhy)]
pub struct Why {
    /// In words.
    #[schema(example = "You follow this thread, because you created what it is about.")]
    pub text: String,
    /// What it was: an event's type, `COMMENT` or `MENTION`.
    #[schema(value_type = String, example = "UPDATED")]
    #[serde(serialize_with = "as_text")]
    pub event_type: Occasion,
    /// The message's place in the thread. Of a notification of several messages, the one that gave the reason: the
    /// newest, or the one that mentioned you.
    pub seq: i64,
    /// The event; null for a comment.
    pub event_id: Option<Uuid>,
    /// Why you followed the thread, if that is why you were told.
    pub followed: Option<Followed>,
    /// Your preference that let it through; null if none matched, since then everything is let through.
    pub preference: Option<Rule>,
}

/// Why somebody follows a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FollowedBecause)]
#[non_exhaustive]
pub enum Followed {
    /// They created the object.
    Creator,
    /// They commented.
    Commenter,
    /// A comment had named them.
    Mentioned,
    /// They said so.
    Manual,
}

fn as_text<S: serde::Serializer>(occasion: &Occasion, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(occasion)
}

impl Why {
    /// `None` for a notification from before it was kept.
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
        let tie = match (reason, followed) {
            (Reason::Mentioned, _) => "A comment mentioned you".to_owned(),
            (Reason::Watcher, _) => format!("You watch for every new {object}"),
            (Reason::Follower, Some(Followed::Creator)) => {
                format!("You follow this thread, because you created the {object}")
            }
            (Reason::Follower, Some(Followed::Commenter)) => {
                "You follow this thread, because you had commented on it".to_owned()
            }
            (Reason::Follower, Some(Followed::Mentioned)) => {
                "You follow this thread, because you had been mentioned in it".to_owned()
            }
            (Reason::Follower, _) => "You follow this thread".to_owned(),
        };
        let text = match &preference {
            Some(rule) => format!("{tie}, and your preference for {rule} lets it through."),
            None => format!("{tie}."),
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
        other => return Err(Error::internal(format!("somebody follows as a {other:?}"))),
    })
}
