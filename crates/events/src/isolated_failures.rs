//! What happens after the failure of an isolated consumer.

use std::pin::Pin;

use uuid::Uuid;

use daybook_tenancy::TeamTx;
use daybook_tenancy::error::Result;

/// The type of a function that requests another attempt of a failed isolated consumer, in the same transaction. The
/// attempt runs after the commit.
pub type RequestRetry =
    for<'a> fn(&'a TeamTx, Uuid, &'static str, Vec<Uuid>) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// What to do with the failures of isolated consumers after they are stored.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum IsolatedFailures {
    /// Nothing.
    Keep,
    /// Call this function.
    Retry(RequestRetry),
}
