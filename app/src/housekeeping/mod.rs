//! The service's own work in the background: jobs as any other, whose sessions are the team `system`'s.

mod partitions;
mod retention;

pub use self::retention::Retention;
use crate::error::Result;
use crate::jobs::Jobs;

/// Adds the service's own jobs.
///
/// # Errors
/// [`Error::Internal`](crate::Error::Internal) if the program has a job of one of their names.
pub(crate) fn jobs(jobs: Jobs) -> Result<Jobs> {
    jobs.with::<partitions::MakePartitions>()?
        .scheduled("15 3 * * *", &partitions::MakePartitions {})?
        .with::<retention::PurgeIdempotencyKeys>()?
        .scheduled("5 * * * *", &retention::PurgeIdempotencyKeys {})?
        .with::<retention::RetainSessions>()?
        .scheduled("30 3 * * *", &retention::RetainSessions {})
}
