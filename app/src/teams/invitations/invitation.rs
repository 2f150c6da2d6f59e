//! An invitation, as the team sees it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::tenancy::Role;

/// A pending invitation, as the team sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Invitation {
    /// The id, a UUIDv7.
    pub id: Uuid,
    /// The issuer of the person's tokens (`iss`).
    pub issuer: String,
    /// Their identity at the issuer: their tokens' `sub`.
    pub subject: String,
    /// The role that they will have.
    pub role: Role,
    /// The handle that they will have, for mentions.
    pub handle: String,
    /// The team's name for them, until they have set their own.
    pub display_name: String,
    /// The team's e-mail address for them, until they have their own.
    pub email: Option<String>,
    /// The member who is responsible for the invitation.
    pub invited_by: Option<Uuid>,
    /// The name of the member who invited them.
    pub invited_by_name: String,
    /// When they were invited.
    pub created_at: DateTime<Utc>,
}
