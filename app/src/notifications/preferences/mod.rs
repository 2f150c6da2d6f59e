//! A person's choices of what notifies them.
//!
//! A preference is a rule: whether events of a type, on objects of a type, notify the person. Either type may be `*`.
//! Besides the event types there are `COMMENT`, and `MENTION` for a comment that mentions the person. `*` does not
//! include mentions: a mention notifies a person, unless a rule with `MENTION` excludes it.
//!
//! **Which rule counts.** The most specific matching rule counts. An object type is more specific than an event type,
//! because a person who works on invoices sets a rule such as "everything on invoices". So the order is: both types
//! named; only the object type; only the event type; neither. If no rule matches, the person is notified.
//!
//! Rules can only exclude notifications: they make nobody a follower, and they don't affect a muted thread, which never
//! notifies. They also apply to notifications of a watch.

mod object_type;
mod routes;
mod rule;
mod store;

pub use object_type::require_object_type;
pub(super) use routes::routes;
pub use rule::{Occasion, Rule};
