//! Exchanges signals between the processes of one database.
//!
//! Pending signals are published together, at most every few milliseconds, and never in the transaction of a request.
//! Without a connection for LISTEN (a pooler in transaction mode, a database that is unavailable), the only effect is a
//! delay: every process polls its topics once a second.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use super::Hearing;
use super::mailbox::{Mailbox, PendingSignals};
use crate::error::{Error, Result};
use crate::tenancy::Hint;
use crate::tenancy::channel::{self, Listener, MAX_TEXT_BYTES, Speaker};

const CHANNEL: &str = "daybook_hints";
/// Minimum time between two messages, so that a busy database commits at most two hundred of them a second.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(5);
/// The same for signals about work.
const WORK_PUBLISH_INTERVAL: Duration = Duration::from_millis(25);
/// Delay before the next attempt to connect.
const RECONNECT_DELAY: Duration = Duration::from_secs(10);
/// Number of signals that fit into a message: each takes less than 120 bytes.
const MAX_SIGNALS_PER_MESSAGE: usize = (MAX_TEXT_BYTES - 200) / 120;
/// Maximum number of messages at once. More signals are replaced by one message: "everything changed".
const MAX_MESSAGES: usize = 8;

/// A message from one process to the others.
#[derive(Debug, Serialize, Deserialize)]
struct SignalMessage {
    /// The sender, which ignores its own messages.
    from: Uuid,
    hints: HashSet<Hint>,
    everything: bool,
}

/// Relays signals between this process and the others; never returns.
pub(super) async fn relay_signals(connect: PgConnectOptions, hearing: Hearing) {
    let Hearing {
        local: incoming,
        remote,
        remote_work,
    } = hearing;
    let process_id = Uuid::new_v4();
    let mut warned = false;
    loop {
        match channel::open(connect.clone(), CHANNEL).await {
            Ok((speaker, listener)) => {
                warned = false;
                tracing::info!("live: connected; signals of other processes are received");
                // Signals may have been missed before the connection.
                incoming.put_everything_changed();
                let ended = tokio::select! {
                    ended = publish(process_id, &speaker, &remote, PUBLISH_INTERVAL) => ended,
                    ended = publish(process_id, &speaker, &remote_work, WORK_PUBLISH_INTERVAL) => ended,
                    ended = receive(process_id, listener, &incoming) => ended,
                };
                if let Err(error) = ended {
                    tracing::debug!("live: lost the connection for signals: {}", cause(&error));
                }
            }
            Err(error) if !warned => {
                warned = true;
                tracing::warn!(
                    "live: signals of other processes are not received, so their changes appear up to a second later; behind a \
                     pooler, set DAYBOOK_DIRECT_URL to the server itself: {}",
                    cause(&error)
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(RECONNECT_DELAY).await;
    }
}

async fn publish(process_id: Uuid, speaker: &Speaker, outgoing: &Mailbox, interval: Duration) -> Result<()> {
    loop {
        for message in messages(process_id, outgoing.take().await) {
            speaker
                .say(&serde_json::to_string(&message).map_err(Error::internal)?)
                .await?;
        }
        tokio::time::sleep(interval).await;
    }
}

async fn receive(process_id: Uuid, mut listener: Listener, incoming: &Mailbox) -> Result<()> {
    loop {
        let Some(received) = listener.hear().await? else {
            incoming.put_everything_changed();
            continue;
        };
        match serde_json::from_str::<SignalMessage>(&received) {
            Ok(message) if message.from == process_id => {}
            Ok(message) if message.everything => incoming.put_everything_changed(),
            Ok(message) => incoming.put(message.hints),
            // A message of another version, or of another program.
            Err(_) => incoming.put_everything_changed(),
        }
    }
}

fn messages(from: Uuid, pending: PendingSignals) -> Vec<SignalMessage> {
    if pending.everything || pending.hints.len() > MAX_MESSAGES * MAX_SIGNALS_PER_MESSAGE {
        return vec![SignalMessage {
            from,
            hints: HashSet::new(),
            everything: true,
        }];
    }
    let hints: Vec<Hint> = pending.hints.into_iter().collect();
    hints
        .chunks(MAX_SIGNALS_PER_MESSAGE)
        .map(|hints| SignalMessage {
            from,
            hints: hints.iter().copied().collect(),
            everything: false,
        })
        .collect()
}

fn cause(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenancy::Moved;

    #[test]
    fn pending_signals_fit_into_the_messages() {
        for moved in [Moved::Notifications as fn(Uuid) -> Moved, Moved::Thread] {
            let hint = || Hint {
                team_id: Uuid::new_v4(),
                moved: moved(Uuid::new_v4()),
            };
            let pending = PendingSignals {
                hints: (0..MAX_MESSAGES * MAX_SIGNALS_PER_MESSAGE).map(|_| hint()).collect(),
                everything: false,
            };
            let all = pending.hints.clone();
            let messages = messages(Uuid::new_v4(), pending);
            assert_eq!(messages.len(), MAX_MESSAGES);
            for message in &messages {
                assert!(serde_json::to_string(message).unwrap().len() <= MAX_TEXT_BYTES);
            }
            assert_eq!(
                messages
                    .into_iter()
                    .flat_map(|message| message.hints)
                    .collect::<HashSet<_>>(),
                all
            );
        }
    }
}
