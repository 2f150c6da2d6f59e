//! Who is in a team, what they may do there, and what mentions them.
//!
//! Admins add, change and remove members; only an owner makes, changes or removes an owner; anybody may
//! leave. A change locks the member's row, the actor's own and every owner's, in the order of their ids, so
//! that each rule is checked against what will be true at the commit.
//!
//! **Invariant:** a team that has an owner never loses its last one.
//!
//! **Invariant:** nobody becomes a member by a request but the person who accepts an invitation.
//!
//! What happens here is recorded as events of objects without a thread (`member.removed`, `member.changed`): they are read
//! in the activity of the team, and no inbox fills with them.

mod routes;
mod store;

pub use routes::routes;
pub use store::{
    LockedMember, Member, MemberChanged, MemberChanges, MemberRemoved, NewMember, add_member, change_member,
    find_member, list_members, lock_member, remove_member,
};
pub(super) use store::{insert_member, member_of_identity, owners_of, require_owner};
