//! The SQL of notifications.

mod deliver;
mod inbox;

pub(super) use deliver::{ObjectEvents, deliver_comment, deliver_events, deliver_mention, retract_comment};
pub(super) use inbox::{InboxRow, ReadRow, WhyRow, inbox, mark_all_read, mark_read, mark_unread, read_up_to};
