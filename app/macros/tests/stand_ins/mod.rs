//! Stand-ins for what `daybook::prelude` exports, so that the rejected consumers compile against this crate alone.
//!
//! The macro looks at tokens only and never resolves these types. With the real prelude, the tests would have to build
//! the whole service first, which takes three minutes.

pub use daybook_macros::event_consumer;

pub struct TeamTx;
pub struct ConsumerContext;
pub struct Event;
pub type ConsumerResult = Result<(), ()>;
