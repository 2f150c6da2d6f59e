//! Tests of background jobs: sessions, their actions, and how they are read.

mod connections;
pub mod durable;
mod faults;
mod handover;
mod keys;
mod killed;
mod lost;
mod open_transactions;
mod queue;
mod queue_state;
mod reading;
mod restored;
mod retry_and_cancel;
mod sessions;

use std::fmt;

use serde::Serialize;

/// The actions of the tests' job.
#[derive(Debug, Clone, Serialize)]
pub enum RosterAction {
    Fetched { players: u32 },
    Skipped { player: String, reason: &'static str },
}

impl fmt::Display for RosterAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetched { players } => write!(f, "Fetched {players} players"),
            Self::Skipped { player, reason } => write!(f, "Skipped {player}: {reason}"),
        }
    }
}
