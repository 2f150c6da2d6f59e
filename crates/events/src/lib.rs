#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! **Parts.** A [`Tracked`] model declares which of its columns events may record. The `*_with_event` helpers write the
//! model, build the payload from the values that really changed, and call [`emit_event`]. The type of a payload
//! determines the type of its event, so the two can't disagree. [`Consumers`] are functions that receive the recorded
//! events, inside the same transaction.
//!
//! **The life of an event.** `update_model_with_event` locks the row, reads it with its types, writes the columns that
//! differ, and compares the row before with the row after. Then one `INSERT` writes into `events`, and each matching
//! consumer is called, in the order of the consumers' names. A failed `abort` consumer fails the transaction. A failed
//! `isolate` consumer is rolled back to its savepoint, and its failure is kept in `consumer_failures`. At the end, the
//! caller commits all of it, or nothing. An event that a consumer emits carries the id of the event that caused it. It
//! is dispatched in the same way, up to [`MAX_CONSUMER_DEPTH`] levels deep.
//!
//! A `durable` consumer runs after the commit instead, as a job of the `daybook` service.
//!
//! **Invariant:** an event is never changed and never deleted; the database refuses it.
//! **Invariant:** this crate does no I/O except to the database, so everything in a transaction can be undone.
//! **Invariant:** this crate knows no slice of the service: threads and notifications are consumers like a user's own.

#![deny(missing_docs)]

mod bulk;
mod changes;
mod columns;
mod consumers;
mod dispatch;
mod durable;
mod emit;
mod event;
mod event_type;
mod field_type;
mod isolated_failures;
mod partitions;
mod parts;
mod payload;
mod recordset;
mod rows;
mod sentence;
mod sentences;
mod shortened;
mod spaced;
mod tracked;
mod values;
mod with_event;

pub use bulk::{create_models_with_events, update_models_with_events};
pub use changes::{ChangedField, NetChange};
pub use consumers::{ConsumerDef, ConsumerFuture, ConsumerResult, Consumers, DuplicateConsumer, Mode, RunFn};
pub use daybook_macros::event_consumer;
pub use dispatch::{MAX_CONSUMER_DEPTH, WORK, WORK_NAME, run_consumer};
pub use durable::ConsumerContext;
pub use emit::{emit_event, emit_events, event_from_row, events_by_id};
pub use event::{Event, ObjectRef};
pub use event_type::EventType;
pub use field_type::FieldType;
pub use isolated_failures::{IsolatedFailures, RequestRetry};
pub use partitions::{ensure_partitions, stray_events};
pub use parts::EventsParts;
pub use payload::{
    CreatedEventData, CustomEventData, DeletedEventData, EventData, EventPayload, FieldChange, FieldChanges,
    FieldValues, RawEventData, RestoredEventData, StateChangedEventData, UpdatedEventData,
};
pub use sentence::{Part, Sentence};
pub use sentences::Sentences;
pub use tracked::{FieldPolicy, Track, Tracked, capture_values, make_field_changes};
pub use with_event::{
    create_model_with_event, delete_model_with_event, restore_model_with_event, transition_model_with_event,
    update_model_with_event,
};

// `#[event_consumer]` uses the crate's name, as in a user's crate.
extern crate self as daybook_events;

/// What only the crates of Daybook need: events of objects that have no model.
pub mod internal {
    pub use super::emit::{Subject, emit_subject_events};
}

/// The crates that the code of `#[event_consumer]` uses, so that its users need not depend on them.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
}
