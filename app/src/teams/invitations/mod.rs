//! Invitations: a person becomes a member of a team by their own consent.
//!
//! An admin names a person by issuer and subject, with the team's name for them. The row that this creates reveals
//! nothing to the admin: it contains only what they sent, whether or not this service knows the person. The person sees
//! it with their own token (`GET /v1/me/invitations`), and accepts or declines. Until then they have no rights and no
//! inbox, and their handle can't be mentioned: an invitation is not a membership.
//!
//! An invitation depends on the rights of its author. It is withdrawn when the author leaves the team, or gets a role
//! that may not invite into the invitation's role.

mod events;
mod invitation;
mod mine;
mod routes;
mod store;

pub use invitation::Invitation;
pub use mine::routes as own_routes;
pub use routes::routes;
pub use store::{accept, decline, invite, list_invitations, withdraw};
pub(super) use store::{decline_of, withdraw_invitations_of};
