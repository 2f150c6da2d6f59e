//! The process's limit of open files.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Maximum number of descriptors that this process can use. Some systems have no limit at all, and programs that are
/// started from here might loop over all possible descriptors.
const MAX_DESCRIPTORS: u64 = 1 << 20;
/// Assumed if the system doesn't report a limit.
const UNKNOWN: u64 = 1024;

/// Raises the soft limit of open files up to the hard limit, and returns the resulting soft limit.
///
/// A failure is only logged: the service can run with the existing limit.
pub fn raise_descriptor_limit() -> u64 {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            tracing::warn!("could not read the limit of open files: {error}");
            return UNKNOWN;
        }
    };
    let wanted = hard.min(MAX_DESCRIPTORS);
    if soft >= wanted {
        tracing::info!("open files: at most {soft}");
        return soft;
    }
    match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => {
            tracing::info!("open files: at most {wanted}, raised from {soft}");
            wanted
        }
        Err(error) => {
            tracing::warn!("open files: at most {soft}; the limit can't be raised to {wanted}: {error}");
            soft
        }
    }
}
