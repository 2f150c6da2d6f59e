//! The proof that a log's own file was synced.

/// The number of bytes of a log that are durable in its own file, without the write-ahead log. Only [`Log::sync`](super::Log::sync) returns
/// this, so code that must not run before the sync can require it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncedBytes(u64);

impl SyncedBytes {
    pub(super) fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the number of bytes.
    pub fn get(self) -> u64 {
        self.0
    }
}
