//! The members of a team, their roles and their handles.
//!
//! Admins add, change and remove members; only an owner can make, change or remove an owner; any member may leave. A
//! change locks the member's row, the actor's own and every owner's, in the order of their ids, so that each rule is
//! checked against the state at commit.
//!
//! **Invariant:** a team that has an owner never loses its last one.
//!
//! **Invariant:** through requests, a person becomes a member only by accepting an invitation themselves.
//!
//! Changes are recorded as events of objects without a thread (`member.removed`, `member.changed`): they appear in the
//! team's activity, but not in inboxes.

mod events;
mod routes;
mod store;

pub use routes::routes;
pub(super) use store::owners_of;
pub use store::{
    LockedMember, MemberChanged, MemberChanges, MemberRemoved, add_member, change_member, find_member, list_members,
    lock_member, remove_member,
};
