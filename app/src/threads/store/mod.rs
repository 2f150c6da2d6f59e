//! The SQL of threads: posting, reading, changing comments, following and watching.

/// SQL, as a literal for `concat!`, for the names of message `m`'s author and of the person for whom they acted. An
/// erased person's name is replaced as configured.
macro_rules! message_names {
    () => {
        concat!(
            $crate::events::shown_name!("m.author_id", "m.author_name"),
            " AS author_name, m.on_behalf_of AS m_on_behalf_of, ",
            $crate::events::shown_name!("m.on_behalf_of", "m.on_behalf_of_name"),
            " AS m_on_behalf_of_name"
        )
    };
}

mod changes;
mod comments;
mod following;
mod posting;
mod reading;

pub use changes::{Changes, Cursor, MessageFeedPage, ThreadRef, changes, feed, head, heads};
pub(super) use comments::{CommentRow, delete_comment, edit_comment, lock_comment, mention};
pub(super) use following::{FollowRow, WatchRow, set_following, set_muted, set_read, unwatch, watch, watches};
pub(super) use posting::{NewComment, post_comment, post_events};
pub use reading::Window;
pub(super) use reading::{
    PageRequest, ThreadRow, find_thread, get_message, get_thread, list_new_threads, list_threads, read_page,
};
