//! Jobs that do almost nothing.

use std::sync::Mutex;
use std::time::Instant;

use daybook::prelude::*;

/// Does nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Noop {
    pub(crate) n: u32,
}

#[async_trait]
impl Job for Noop {
    const NAME: &'static str = "noop";

    async fn run(self, _: &JobSession) -> JobResult {
        Ok(())
    }
}

/// Records when it began.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Started {}

pub(crate) static STARTED_AT: Mutex<Option<Instant>> = Mutex::new(None);

#[async_trait]
impl Job for Started {
    const NAME: &'static str = "started";

    async fn run(self, _: &JobSession) -> JobResult {
        *STARTED_AT.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }
}
