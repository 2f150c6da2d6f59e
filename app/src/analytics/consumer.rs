//! The consumer that counts events.

use std::fmt;

use daybook_macros::event_consumer;
use serde::Serialize;

use super::store;
use crate::events::{ConsumerContext, ConsumerResult, Event};
use crate::jobs::ConsumerActions as _;

/// What the consumer records in its job session.
#[derive(Debug, Serialize)]
enum CountAction {
    /// `before` is the number of events that an earlier delivery has already counted.
    Counted { events: usize, before: usize },
}

impl fmt::Display for CountAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Counted { events, before } = self;
        match before {
            0 => write!(f, "Counted {}", counted(*events)),
            _ => write!(f, "Counted {}; {before} others were already counted", counted(*events)),
        }
    }
}

fn counted(events: usize) -> String {
    match events {
        1 => "an event".to_owned(),
        _ => format!("{events} events"),
    }
}

/// Adds events to the counts of their days.
#[event_consumer(all, mode = durable, name = "analytics")]
pub async fn count_events(ctx: &ConsumerContext, events: &[Event]) -> ConsumerResult {
    let tx = ctx.begin().await?;
    store::lock_against_rebuild(&tx).await?;
    let fresh: Vec<_> = ctx.fresh(&tx, events).await?.iter().map(|event| event.id).collect();
    store::add(&tx, &fresh).await?;
    tx.commit().await?;
    let counted = CountAction::Counted {
        events: fresh.len(),
        before: events.len() - fresh.len(),
    };
    ctx.add_action(&counted).await?;
    Ok(())
}
