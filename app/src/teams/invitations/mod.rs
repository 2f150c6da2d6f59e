//! Invitations: how a person comes into a team, by their own consent.
//!
//! An admin names somebody by issuer and subject, and what the team would call them. The row that this makes tells the
//! admin nothing: it holds what they sent, whether or not this service knows the person. The person sees it with their own
//! token (`GET /v1/me/invitations`), and accepts or declines. Until then they have no rights, no inbox and no handle that
//! mentions somebody: an invitation is no membership.
//!
//! An invitation ends with the rights of whoever made it: it is withdrawn when they leave the team, or may no longer invite
//! into its role.

mod mine;
mod routes;
mod store;

pub use mine::routes as own_routes;
pub use routes::routes;
pub use store::{Invitation, accept, decline, invite, list_invitations, withdraw};
pub(super) use store::{decline_of, withdraw_invitations_of};
