//! Who is in a team, what they may do there, and what mentions them.
//!
//! Admins add, change and remove members; only an owner makes, changes or removes an owner; anybody may
//! leave. A change locks the member's row, the actor's own and every owner's, in the order of their ids, so
//! that each rule is checked against what will be true at the commit.
//!
//! **Invariant:** a team that has an owner never loses its last one.
//!
//! Deliberately absent: events. Membership is not yet a tracked model.

mod routes;
mod store;

pub use routes::routes;
pub use store::{
    LockedMember, Member, MemberChanges, NewMember, add_member, change_member, find_member, list_members, lock_member,
    remove_member,
};
