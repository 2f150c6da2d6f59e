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

use super::channel::{self, MAX_TEXT_BYTES, Publisher, Receiver};
use super::mailbox::{Mailbox, PendingSignals};
use super::mailboxes::Signals;
use crate::error::{Error, Result};
use crate::tenancy::Signal;

/// The name of the channel. Version 0.1 uses the same name for another format: a process that can't read a message
/// looks up everything.
const CHANNEL: &str = "daybook_hints";
/// Minimum time between two messages, so that a busy database commits at most two hundred of them a second.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(5);
/// Minimum time between two messages with deferred signals.
const DEFERRED_PUBLISH_INTERVAL: Duration = Duration::from_millis(25);
/// Delay before the next attempt to connect.
const RECONNECT_DELAY: Duration = Duration::from_secs(10);
/// Maximum number of signals in a message. With the longest name of a topic, a signal takes less than 130 bytes.
const MAX_SIGNALS_PER_MESSAGE: usize = (MAX_TEXT_BYTES - 200) / 130;
/// Maximum number of messages that are sent at once. If there would be more, one message says "everything changed"
/// instead.
const MAX_MESSAGES: usize = 8;

/// A message from one process to the others.
#[derive(Debug, Serialize, Deserialize)]
struct SignalMessage {
    /// The sender, which ignores its own messages.
    from: Uuid,
    signals: HashSet<Signal>,
    everything: bool,
}

impl Signals {
    /// Exchanges signals with the other processes of the database, over separate connections; never returns.
    pub(crate) async fn exchange(self, connect: PgConnectOptions) {
        relay_signals(connect, self).await;
    }
}

/// Relays signals between this process and the others; never returns.
async fn relay_signals(connect: PgConnectOptions, signals: Signals) {
    let Signals {
        local: incoming,
        remote,
        remote_deferred,
        ..
    } = signals;
    let process_id = Uuid::new_v4();
    let mut warned = false;
    loop {
        match channel::open(connect.clone(), CHANNEL).await {
            Ok((publisher, receiver)) => {
                warned = false;
                tracing::info!("signals: connected; this process receives the signals of other processes");
                // Signals may have been missed before the connection.
                incoming.put_everything_changed();
                let ended = tokio::select! {
                    ended = publish(process_id, &publisher, &remote, PUBLISH_INTERVAL) => ended,
                    ended = publish(process_id, &publisher, &remote_deferred, DEFERRED_PUBLISH_INTERVAL) => ended,
                    ended = receive(process_id, receiver, &incoming) => ended,
                };
                if let Err(error) = ended {
                    tracing::debug!(
                        "signals: lost the connection for LISTEN, connecting again: {}",
                        cause(&error)
                    );
                }
            }
            Err(error) if !warned => {
                warned = true;
                tracing::warn!(
                    "signals: could not connect for LISTEN, so changes of other processes appear up to a second later; \
                     behind a pooler, set DAYBOOK_DIRECT_URL to the server itself: {}",
                    cause(&error)
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(RECONNECT_DELAY).await;
    }
}

async fn publish(process_id: Uuid, publisher: &Publisher, outgoing: &Mailbox, interval: Duration) -> Result<()> {
    loop {
        for message in messages(process_id, outgoing.take().await) {
            publisher
                .publish(&serde_json::to_string(&message).map_err(Error::internal)?)
                .await?;
        }
        tokio::time::sleep(interval).await;
    }
}

async fn receive(process_id: Uuid, mut receiver: Receiver, incoming: &Mailbox) -> Result<()> {
    loop {
        match receiver.receive().await? {
            Some(text) => handle_message(process_id, &text, incoming),
            // Messages were lost with the connection.
            None => incoming.put_everything_changed(),
        }
    }
}

fn handle_message(process_id: Uuid, text: &str, incoming: &Mailbox) {
    match serde_json::from_str::<SignalMessage>(text) {
        Ok(message) if message.from == process_id => {}
        Ok(message) if message.everything => incoming.put_everything_changed(),
        Ok(message) => incoming.put(message.signals),
        // A message of another version, or of another program.
        Err(_) => incoming.put_everything_changed(),
    }
}

fn messages(from: Uuid, pending: PendingSignals) -> Vec<SignalMessage> {
    if pending.everything || pending.signals.len() > MAX_MESSAGES * MAX_SIGNALS_PER_MESSAGE {
        return vec![SignalMessage {
            from,
            signals: HashSet::new(),
            everything: true,
        }];
    }
    let signals: Vec<Signal> = pending.signals.into_iter().collect();
    signals
        .chunks(MAX_SIGNALS_PER_MESSAGE)
        .map(|signals| SignalMessage {
            from,
            signals: signals.iter().cloned().collect(),
            everything: false,
        })
        .collect()
}

fn cause(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::tenancy::SignalTopic;

    #[test]
    fn pending_signals_fit_into_the_messages() {
        // The first name is as long as a name may be.
        for name in ["a_name_of_24_bytes______", "thread"] {
            let signal = || Signal {
                team_id: Uuid::new_v4(),
                topic: SignalTopic::of(name, Uuid::new_v4()),
            };
            let pending = PendingSignals {
                signals: (0..MAX_MESSAGES * MAX_SIGNALS_PER_MESSAGE).map(|_| signal()).collect(),
                everything: false,
            };
            let all = pending.signals.clone();
            let messages = messages(Uuid::new_v4(), pending);
            assert_eq!(messages.len(), MAX_MESSAGES);
            for message in &messages {
                assert!(serde_json::to_string(message).unwrap().len() <= MAX_TEXT_BYTES);
            }
            assert_eq!(
                messages
                    .into_iter()
                    .flat_map(|message| message.signals)
                    .collect::<HashSet<_>>(),
                all
            );
        }
    }

    #[test]
    fn messages_of_others_are_passed_on_and_what_they_leave_out_changes_everything() {
        let (this, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let signal = Signal {
            team_id: Uuid::from_u128(3),
            topic: SignalTopic::of("thread", Uuid::from_u128(4)),
        };
        let few = || PendingSignals {
            signals: HashSet::from([signal.clone()]),
            everything: false,
        };
        let everything = || PendingSignals {
            signals: HashSet::new(),
            everything: true,
        };
        let incoming = Mailbox::default();
        let receive = |from, pending| {
            for message in messages(from, pending) {
                handle_message(this, &serde_json::to_string(&message).unwrap(), &incoming);
            }
        };
        // Its own messages come back to a process, which has handled the signals.
        receive(this, everything());
        receive(this, few());
        assert_eq!(incoming.take().now_or_never(), None);
        receive(other, few());
        assert_eq!(incoming.take().now_or_never(), Some(few()));
        receive(other, everything());
        assert_eq!(incoming.take().now_or_never(), Some(everything()));
        handle_message(this, r#"{"form": "of another version"}"#, &incoming);
        assert_eq!(incoming.take().now_or_never(), Some(everything()));
    }
}
