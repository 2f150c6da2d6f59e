//! The SQL of notifications.

mod deliver;
mod inbox;

pub(super) use deliver::{ObjectEvents, deliver_comment, deliver_events, deliver_mention, retract_comment};
pub use inbox::read_up_to;
pub(super) use inbox::{InboxRow, ReadRow, WhyRow, inbox, mark_all_read, mark_read, mark_unread};
