//! Members, invitations and API keys of a team, and what a person decides about themselves.
//!
//! `members` stores the team's members, `invitations` the pending invitations, `api_keys` the keys of programs;
//! [`create_team`] creates a team with its first owner. Each has functions that take a `TeamTx`. Requests and the
//! command line call the same functions, which enforce the rules. `me` has the routes about the caller, which don't
//! belong to a team.
//!
//! Each change is recorded as an event of the team (`record`).

mod api_keys;
mod caller;
mod erasure;
mod invitations;
mod me;
mod members;
mod membership;
mod new_team;
mod person;
mod record;

pub use api_keys::{KeyInfo, KeyRole, NewKey, adopt_key, list_keys, make_key, revoke_key, routes as api_key_routes};
pub use erasure::erase_person;
pub use invitations::{
    Invitation, accept, decline, invite, list_invitations, own_routes as own_invitation_routes,
    routes as invitation_routes, withdraw,
};
pub use me::routes as me_routes;
pub use members::{
    LockedMember, MemberChanged, MemberChanges, MemberRemoved, add_member, change_member, find_member, list_members,
    lock_member, remove_member, routes as member_routes,
};
pub use membership::{Member, NewMember};
pub use new_team::{NewTeam, create_team};
pub use person::NewPerson;
pub(crate) use record::with_access_sentences;
