//! Records a request's transactions in its wide event.

use std::sync::Arc;

use super::Client;
use crate::error::DatabaseError;
use crate::tenancy::{Actor, Context, Ending, Observer, Transaction};
use crate::wide_events::WideEvent;

/// Maximum number of ids of recorded events, and of jobs, in a wide event. The counts include all of them.
const MAX_IDS: usize = 20;

/// Adds what the transactions report to the request's wide event.
#[derive(Debug)]
pub(super) struct Record(WideEvent, Option<Client>);

impl Record {
    /// Returns the observer for the current request, which came by this connection.
    pub(super) fn of(event: WideEvent, client: Option<Client>) -> Arc<dyn Observer> {
        Arc::new(Self(event, client))
    }
}

impl Observer for Record {
    fn entered(&self, context: &Context) {
        if let Some(client) = &self.1 {
            client.authenticated();
        }
        let event = &self.0;
        event.tag("team_id", context.team_id);
        event.tag("actor.kind", context.actor.kind());
        match &context.actor {
            Actor::System { name } => event.tag("actor.name", name),
            actor => event.tag("actor.id", actor.id()),
        };
        if let Some(person) = &context.on_behalf_of {
            event.tag("on_behalf_of", person.id);
        }
    }

    fn ended(&self, transaction: &Transaction<'_>) {
        let event = &self.0;
        let waited_us = u64::try_from(transaction.stats.database_time().as_micros()).unwrap_or(u64::MAX);
        event.add("database.transactions", 1);
        event.add("database.round_trips", transaction.stats.round_trips());
        event.add("database.time_us", waited_us);
        match transaction.ending {
            Ending::Committed => {
                for id in transaction.recorded.iter().take(MAX_IDS) {
                    event.push("events.ids", id, MAX_IDS);
                }
                if !transaction.recorded.is_empty() {
                    event.add("events.count", transaction.recorded.len() as u64);
                }
                for id in transaction.queued.iter().take(MAX_IDS) {
                    event.push("jobs.ids", id, MAX_IDS);
                }
                if !transaction.queued.is_empty() {
                    event.add("jobs.count", transaction.queued.len() as u64);
                }
            }
            Ending::RolledBack | Ending::Dropped => {
                event.add("database.rolled_back", 1);
            }
            Ending::DroppedWithWrites => {
                event.add("database.dropped_with_writes", 1);
            }
            // A transaction that entered no team did nothing.
            _ => {}
        }
    }

    fn refused(&self, refusal: &DatabaseError) {
        let mut fields = serde_json::Map::new();
        fields.insert("sqlstate".to_owned(), refusal.sqlstate.as_str().into());
        let names = [
            ("constraint", &refusal.constraint),
            ("table", &refusal.table),
            ("column", &refusal.column),
            ("routine", &refusal.routine),
        ];
        for (what, name) in names {
            if let Some(name) = name {
                fields.insert(what.to_owned(), name.as_str().into());
            }
        }
        if let Some(position) = refusal.position {
            fields.insert("position".to_owned(), position.into());
        }
        self.0.set("database.refusal", fields);
    }

    fn retried(&self) {
        self.0.add("database.retries", 1);
    }
}
