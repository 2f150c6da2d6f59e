//! The process's limit of open files.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// As many descriptors as a process of ours can have use for. Some systems have no limit at all, and other programs that
/// are started from here would loop over what there may be.
const MAX_DESCRIPTORS: u64 = 1 << 20;
/// Assumed where the system doesn't say.
const UNKNOWN: u64 = 1024;

/// Raises the soft limit of open files as far as the hard one allows, and returns what it is then.
///
/// A failure is logged: the service can run with what it has.
pub fn raise_descriptor_limit() -> u64 {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            tracing::warn!("the limit of open files can't be read: {error}");
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
