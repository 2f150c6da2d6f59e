//! A process's connections: their limits, which connections are kept, and when a connection is closed.
//!
//! **The life of a connection.** A new connection gets a [`ConnectionGuard`](admission::ConnectionGuard), or is refused
//! with a plain `503` if the limit is reached. It must send the head of its first request within the header timeout.
//! After that it may be idle between two requests for the idle timeout. A request whose body makes no progress ends
//! after the body timeout (see `uploads`). A connection whose client doesn't read a response is closed by the answer
//! timeout here and by `TCP_USER_TIMEOUT` in the kernel. The guard belongs to the socket itself, so that a WebSocket,
//! which outlives its request, still counts.
//!
//! **A share for authenticated work.** A connection is *unauthenticated* until one of its requests has entered a team.
//! Only a share of all connections may be unauthenticated. When this share, or the total limit, is used up, one
//! unauthenticated connection is closed to make room. It is chosen from the address that has the most connections: the
//! oldest without a request under way, else the oldest whose requests all wait for their client. So an unauthenticated
//! client can only shorten the life of idle unauthenticated connections, its own first.
//!
//! **Invariant:** the number of open sockets is at most the limit plus [`MAX_CLOSING`](admission::MAX_CLOSING).

mod accept;
mod activity;
mod admission;
mod counts;
mod descriptors;
mod limits;
mod service;
mod socket;
mod unauthenticated;

pub use self::admission::Connections;
pub use self::counts::ConnectionCounts;
pub use self::descriptors::raise_descriptor_limit;
pub use self::limits::ConnectionLimits;
