//! The live service: it sends changes to clients over WebSockets, in order and without a gap.
//!
//! **Parts.** A transaction that changes threads, notifications, job sessions or runs publishes a signal after its
//! commit ([`signals`](crate::signals)). Signals wait in a mailbox, where equal ones are merged. One task, the
//! *service*, takes the signals and asks the *hub* what to do. It reads the changes of a thread once for all its
//! subscribers, and puts them into the *inboxes* of their sockets. Each *socket* has its own task.
//!
//! **Signals carry no content.** A signal says only what to read. In addition, once a second by default, the service
//! looks up everything that is followed. So a lost signal causes a delay, but never a lost message.
//!
//! **The way of a message:** commit, signal, one read of the thread from the position up to which it was delivered,
//! encoded frames that all subscribers share, one queue for each socket, the network. A socket sends a delivery only if
//! it begins exactly at its client's position. The socket reads anything that is missing itself, as its own member,
//! under the team's policies.
//!
//! **Invariant:** a client has received a thread's messages from its start position without a gap, and the next frame
//! continues there.
//! **Invariant:** every buffer is bounded. Signals are merged, queues are short, and a client that doesn't read is
//! disconnected.

mod close_reason;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod handle;
mod hub;
mod limits;
mod member;
mod options;
mod outbox;
mod routes;
mod service;
mod shared_reads;
mod socket;
mod socket_context;
mod subscriptions;
mod topic;

pub use self::frames::{ClientFrame, ServerFrame, ThreadMessages};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::fuzz::{fuzz_client_frame, fuzz_cursor};
pub use self::handle::Live;
pub use self::options::LiveOptions;
pub use self::routes::routes;
pub use self::topic::Topic;
