//! Who is in a team: its members, invitations and API keys, and what a person decides about themselves.
//!
//! `members` keeps who is in a team, `invitations` who is asked to join, `api_keys` the keys of programs; [`found_team`]
//! creates a team with its first owner. Each offers the same functions of a `TeamTx` to requests and to the command line;
//! these functions hold the rules. `me` has the routes of a person's own, which belong to no team.
//!
//! Each change is recorded as an event of the team (`record`).

mod api_keys;
mod erasure;
mod found;
mod invitations;
mod me;
mod members;
mod person;
mod record;

pub use api_keys::{KeyInfo, KeyRole, NewKey, adopt_key, list_keys, make_key, revoke_key, routes as api_key_routes};
pub use erasure::erase_person;
pub use found::{NewTeam, found_team};
pub use invitations::{
    Invitation, accept, decline, invite, list_invitations, own_routes as own_invitation_routes,
    routes as invitation_routes, withdraw,
};
pub use me::routes as me_routes;
pub use members::{
    LockedMember, Member, MemberChanged, MemberChanges, MemberRemoved, NewMember, add_member, change_member,
    find_member, list_members, lock_member, remove_member, routes as member_routes,
};
pub use person::NewPerson;
pub(crate) use record::with_words_of_access;
