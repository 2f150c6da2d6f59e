//! Hints between the processes of one database: what commits here is hinted at there.
//!
//! What waits is said together, at most every few milliseconds, and never in anybody's transaction. Without a
//! connection that hears (a pooler in transaction mode, a database that is away) nothing is lost but time: every
//! process looks where its topics are each second.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use super::Hearing;
use super::mailbox::{Mailbox, Waiting};
use crate::error::{Error, Result};
use crate::tenancy::Hint;
use crate::tenancy::channel::{self, Listener, MAX_TEXT_BYTES, Speaker};

const CHANNEL: &str = "daybook_hints";
/// Between two texts, so that a database under load commits two hundred of them a second at most.
const BREATH: Duration = Duration::from_millis(5);
/// The same of hints of work.
const BREATH_OF_WORK: Duration = Duration::from_millis(25);
/// Before a connection is tried again.
const PAUSE: Duration = Duration::from_secs(10);
/// How many hints fit a text: each takes less than 120 bytes.
const HINTS_A_TEXT: usize = (MAX_TEXT_BYTES - 200) / 120;
/// Beyond so many texts, "look at everything" says it as well.
const MAX_TEXTS: usize = 8;

/// What one process says to the others.
#[derive(Debug, Serialize, Deserialize)]
struct Text {
    /// The process that says it, which knows already.
    from: Uuid,
    hints: HashSet<Hint>,
    everything: bool,
}

/// Carries what waits for elsewhere to other processes, and what they say to here, for ever.
pub(super) async fn carry(connect: PgConnectOptions, hearing: Hearing) {
    let Hearing {
        here: incoming,
        elsewhere,
        work_elsewhere,
    } = hearing;
    let me = Uuid::new_v4();
    let mut told = false;
    loop {
        match channel::open(connect.clone(), CHANNEL).await {
            Ok((speaker, listener)) => {
                told = false;
                tracing::info!("live: hints of other processes are heard");
                // What was said while nobody heard.
                incoming.put_everything();
                let ended = tokio::select! {
                    ended = say(me, &speaker, &elsewhere, BREATH) => ended,
                    ended = say(me, &speaker, &work_elsewhere, BREATH_OF_WORK) => ended,
                    ended = hear(me, listener, &incoming) => ended,
                };
                if let Err(error) = ended {
                    tracing::debug!("live: {}", cause(&error));
                }
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(
                    "live: hints of other processes are not heard, so that what they write shows up to a second \
                     later; through a pooler set DAYBOOK_DIRECT_URL to the server itself: {}",
                    cause(&error)
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn say(me: Uuid, speaker: &Speaker, outgoing: &Mailbox, breath: Duration) -> Result<()> {
    loop {
        for text in texts(me, outgoing.take().await) {
            speaker
                .say(&serde_json::to_string(&text).map_err(Error::internal)?)
                .await?;
        }
        tokio::time::sleep(breath).await;
    }
}

async fn hear(me: Uuid, mut listener: Listener, incoming: &Mailbox) -> Result<()> {
    loop {
        let Some(heard) = listener.hear().await? else {
            incoming.put_everything();
            continue;
        };
        match serde_json::from_str::<Text>(&heard) {
            Ok(text) if text.from == me => {}
            Ok(text) if text.everything => incoming.put_everything(),
            Ok(text) => incoming.put(text.hints),
            // Another version's words, or another's altogether.
            Err(_) => incoming.put_everything(),
        }
    }
}

fn texts(from: Uuid, waiting: Waiting) -> Vec<Text> {
    if waiting.everything || waiting.hints.len() > MAX_TEXTS * HINTS_A_TEXT {
        return vec![Text {
            from,
            hints: HashSet::new(),
            everything: true,
        }];
    }
    let hints: Vec<Hint> = waiting.hints.into_iter().collect();
    hints
        .chunks(HINTS_A_TEXT)
        .map(|hints| Text {
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
    fn what_waits_fits_the_texts_that_say_it() {
        for moved in [Moved::Notifications as fn(Uuid) -> Moved, Moved::Thread] {
            let hint = || Hint {
                team_id: Uuid::new_v4(),
                moved: moved(Uuid::new_v4()),
            };
            let waiting = Waiting {
                hints: (0..MAX_TEXTS * HINTS_A_TEXT).map(|_| hint()).collect(),
                everything: false,
            };
            let all = waiting.hints.clone();
            let texts = texts(Uuid::new_v4(), waiting);
            assert_eq!(texts.len(), MAX_TEXTS);
            for text in &texts {
                assert!(serde_json::to_string(text).unwrap().len() <= MAX_TEXT_BYTES);
            }
            assert_eq!(
                texts.into_iter().flat_map(|text| text.hints).collect::<HashSet<_>>(),
                all
            );
        }
    }
}
