//! Creates partitions in advance, so that no write waits for one.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::events::ensure_partitions;
use crate::jobs::{Job, JobResult, JobSession};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MakePartitions {}

#[derive(Debug, Serialize)]
enum PartitionAction {
    Ensured { strays: u64 },
}

impl fmt::Display for PartitionAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ensured { strays: 0 } => f.write_str("The partitions of this month and the next three exist"),
            Self::Ensured { strays } => write!(
                f,
                "{strays} events are in events_default instead of a month's partition: their writer's clock is wrong"
            ),
        }
    }
}

#[async_trait]
impl Job for MakePartitions {
    const NAME: &'static str = "make_partitions";

    fn sentence(&self) -> String {
        "Started creating partitions in advance".to_owned()
    }

    async fn run(self, session: &JobSession) -> JobResult {
        let strays = ensure_partitions(session.database()).await?;
        if strays > 0 {
            tracing::error!(
                "{strays} events are in events_default instead of a month's partition: correct the clock of the \
                 process that recorded them"
            );
        }
        session.add_action(&PartitionAction::Ensured { strays }).await?;
        Ok(())
    }
}
