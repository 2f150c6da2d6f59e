//! The service's own background jobs. They are ordinary jobs; their sessions belong to the system team.

mod partitions;
mod parts;
mod retention;
mod run_logs;

pub use self::retention::Retention;
use crate::error::Result;
use crate::jobs::Jobs;

/// Registers and schedules the service's own jobs.
///
/// # Errors
/// [`Error::Internal`](crate::Error::Internal) if the program has a job with one of their names.
pub(crate) fn jobs(jobs: Jobs) -> Result<Jobs> {
    jobs.with::<partitions::MakePartitions>()?
        .scheduled("15 3 * * *", &partitions::MakePartitions {})?
        .with::<retention::PurgeIdempotencyKeys>()?
        .scheduled("5 * * * *", &retention::PurgeIdempotencyKeys {})?
        .with::<retention::RetainSessions>()?
        .scheduled("30 3 * * *", &retention::RetainSessions {})?
        .with::<run_logs::SealRunLogs>()?
        .scheduled("45 3 * * *", &run_logs::SealRunLogs {})?
        .with::<run_logs::DeleteRunLogs>()?
        .scheduled("0 4 * * *", &run_logs::DeleteRunLogs {})
}
