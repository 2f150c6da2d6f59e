//! Signals after a commit, from transactions to the relay, workers and sockets of this process and of others.
//!
//! **Parts.** A committed transaction passes its signals to [`Signals`]. If a topic has a handler, its signals are
//! handled at once, in the committing task. All other signals wait, merged, in a *mailbox* until the local reader takes
//! them. Two further mailboxes keep the signals for the other processes of the database. A *bridge* publishes these,
//! and passes on the signals that the other processes publish. Between processes, signals are sent with LISTEN and
//! NOTIFY, on separate connections (`channel`).
//!
//! **Invariant:** the number of buffered signals is limited. Too many different signals are replaced by "everything has
//! changed".
//!
//! Topics are opaque here: each module names its own ([`SignalTopic`](crate::tenancy::SignalTopic)).

mod bridge;
#[cfg(not(feature = "testing"))]
mod channel;
#[cfg(feature = "testing")]
pub mod channel;
mod handlers;
mod mailbox;
mod mailboxes;
mod parts;

pub use self::handlers::SignalHandlers;
pub(crate) use self::mailbox::{Mailbox, PendingSignals};
pub use self::mailboxes::Signals;
