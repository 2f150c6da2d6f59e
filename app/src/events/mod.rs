//! Domain events: what changed, by whom, why, recorded in the same commit as the change.
//!
//! **Who plays.** A [`Tracked`] model says which of its columns may be recorded. The `*_with_event` helpers
//! write the model, build the payload from what really changed and [`emit_event`]. A payload's type is the
//! event's type, so the two can't disagree. [`Consumers`] are functions that are given what was recorded,
//! inside the same transaction.
//!
//! **The life of an event.** `update_model_with_event` locks the row and reads it typed, writes what differs,
//! and compares the row before with the row after → one `INSERT` into `events` → every matching consumer, in
//! the order of their names: `abort` fails the transaction, `isolate` is undone to its savepoint and kept in
//! `consumer_failures` → the caller commits all of it, or nothing. Events that a consumer emits carry the
//! event that caused them, and are dispatched the same way, up to [`MAX_CONSUMER_DEPTH`] levels deep.
//!
//! **Invariant:** an event is never changed and never deleted; the database refuses it.
//! A `durable` consumer runs after the commit instead, as a job: see [`jobs`](crate::jobs).
//!
//! **Invariant:** nothing here does I/O but to the database: what happens inside a transaction can be undone.
//! **Invariant:** this module knows no slice: threads and notifications are consumers like any user's.

mod bulk;
mod changes;
mod columns;
mod consumers;
mod dispatch;
mod durable;
mod emit;
mod event;
mod field_type;
mod payload;
mod recordset;
mod rows;
mod sentence;
mod shortened;
mod tracked;
mod values;
mod with_event;

pub use bulk::{create_models_with_events, update_models_with_events};
pub use changes::{ChangedField, NetChange};
pub(crate) use columns::{event_columns, shown_name};
pub use consumers::{ConsumerDef, ConsumerFuture, ConsumerResult, Consumers, DuplicateConsumer, Mode, RunFn};
pub use dispatch::{IsolatedFailures, MAX_CONSUMER_DEPTH, run_consumer};
pub use durable::ConsumerContext;
pub(crate) use emit::{Subject, emit_subject_events};
pub use emit::{emit_event, emit_events, event_from_row, events_by_id};
pub use event::{Event, EventType, ObjectRef};
pub use field_type::FieldType;
pub use payload::{
    CreatedEventData, CustomEventData, DeletedEventData, EventData, EventPayload, FieldChange, FieldChanges,
    FieldValues, RawEventData, RestoredEventData, StateChangedEventData, UpdatedEventData,
};
pub use sentence::{Part, Sentence, Sentences};
pub use tracked::{FieldPolicy, Track, Tracked, capture_values, make_field_changes};
pub use with_event::{
    create_model_with_event, delete_model_with_event, restore_model_with_event, transition_model_with_event,
    update_model_with_event,
};
