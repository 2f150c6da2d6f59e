//! The registry of event consumers.
//!
//! A consumer is an `async fn` under [`#[event_consumer]`](macro@daybook_macros::event_consumer). The
//! attribute makes a [`ConsumerDef`] of it, which can be reached in two ways: by name as
//! `greet::CONSUMER`, and by the linker, which gathers every consumer of the program. A [`Consumers`] is
//! the set that one app runs: [`Consumers::linked`] in a service, [`Consumers::of`] in a test. It is a
//! value, so two apps in one process can run different sets.
//!
//! **Invariant:** a set is sorted by name and no name occurs twice. Consumers therefore run in the same
//! order on every start and on every machine, whatever order the linker found them in, and what is stored
//! under a consumer's name belongs to one function.

use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::{Cause, Error};
use crate::events::durable::ConsumerContext;
use crate::events::event::{Event, EventType};
use crate::tenancy::TeamTx;

/// What a consumer returns.
///
/// `?` works on [`crate::Error`] and on any other error that can be sent between threads, and
/// `Err("no budget left".into())` refuses in words. A [`crate::Error`] of the client's kind, such
/// as [`Error::Conflict`], keeps its status when the consumer's mode is [`Mode::Abort`].
pub type ConsumerResult = std::result::Result<(), Cause>;

/// A consumer at work.
pub type ConsumerFuture<'a> = Pin<Box<dyn Future<Output = ConsumerResult> + Send + 'a>>;

/// What becomes of the transaction when a consumer fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// It can't commit any more: the change, its event and the consumer's rows go together.
    Abort,
    /// The consumer's own writes are undone, the failure is kept, and the rest commits. It is tried again as a job.
    Isolate,
    /// It runs after the commit, as a job of the queue: at least once.
    Durable,
}

/// The consumer's function, by what it is given.
#[derive(Debug, Clone, Copy)]
pub enum RunFn {
    /// `&Event`: called once for each event.
    Each(for<'a> fn(&'a TeamTx, &'a Event) -> ConsumerFuture<'a>),
    /// `&[Event]`: called once for all the events of one helper call that match, never with none.
    Slice(for<'a> fn(&'a TeamTx, &'a [Event]) -> ConsumerFuture<'a>),
    /// `&Event`, after the commit: one job for each event.
    DurableEach(for<'a> fn(&'a ConsumerContext, &'a Event) -> ConsumerFuture<'a>),
    /// `&[Event]`, after the commit: one job for those of a team that the relay found together.
    DurableSlice(for<'a> fn(&'a ConsumerContext, &'a [Event]) -> ConsumerFuture<'a>),
}

/// A consumer: its function and which events it is for.
///
/// Made by [`#[event_consumer]`](macro@daybook_macros::event_consumer). The fields are public because the
/// attribute fills them in from other crates; a later version may have more.
#[derive(Debug)]
pub struct ConsumerDef {
    /// Unique in the program. The function's path (`shop::mail::greet`) unless the attribute says
    /// `name = "…"`, which lets the function move without its stored failures losing their owner.
    pub name: &'static str,
    /// Where the attribute stands, to tell two consumers of one name apart.
    pub location: &'static Location<'static>,
    /// The types it is for, at least one.
    pub event_types: &'static [EventType],
    /// The only `OBJECT_TYPE` it is for; `None` is every one.
    pub object_type: Option<&'static str>,
    /// What its failure does to the transaction.
    pub mode: Mode,
    /// What to call.
    pub run: RunFn,
}

impl ConsumerDef {
    /// Whether the consumer is for this event, by its type and its object's type.
    pub fn matches(&self, event: &Event) -> bool {
        self.is_for(event.event_type, &event.object_type)
    }

    /// Whether the consumer is for events of this type on objects of this type.
    pub fn is_for(&self, event_type: EventType, object_type: &str) -> bool {
        self.event_types.contains(&event_type) && self.object_type.is_none_or(|only| only == object_type)
    }
}

inventory::collect!(&'static ConsumerDef);

/// Two consumers of one name, found when a set is put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct DuplicateConsumer {
    /// The name both have.
    pub name: &'static str,
    /// Where the first is.
    pub first: &'static Location<'static>,
    /// Where the second is; equal to `first` if one consumer was given twice.
    pub second: &'static Location<'static>,
}

impl DuplicateConsumer {
    fn sentence(&self) -> String {
        let Self { name, first, second } = self;
        if first == second {
            return format!("consumer `{name}` ({first}) is given twice");
        }
        format!(
            "two consumers are called `{name}`: one at {first}, one at {second}; give one of them another name with \
             #[event_consumer(…, name = \"…\")]"
        )
    }
}

impl From<DuplicateConsumer> for Error {
    fn from(duplicate: DuplicateConsumer) -> Self {
        Self::internal(duplicate)
    }
}

/// The consumers an app runs, sorted by name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Consumers(Arc<[&'static ConsumerDef]>);

impl Consumers {
    /// Every consumer that is linked into the program, from this crate and from its users'.
    ///
    /// A library that the program's source never names isn't linked, and its consumers are missing:
    /// `use my_consumers as _;` is enough to have them.
    ///
    /// # Errors
    /// [`DuplicateConsumer`] if two have the same name.
    pub fn linked() -> Result<Self, DuplicateConsumer> {
        Self::of(inventory::iter::<&'static ConsumerDef>.into_iter().copied())
    }

    /// These and no others: `Consumers::of([greet::CONSUMER, count::CONSUMER])`.
    ///
    /// # Errors
    /// [`DuplicateConsumer`] if two have the same name, or one is given twice.
    pub fn of(consumers: impl IntoIterator<Item = &'static ConsumerDef>) -> Result<Self, DuplicateConsumer> {
        let mut sorted: Vec<_> = consumers.into_iter().collect();
        // The location decides between equal names so that the error reads the same on every start.
        sorted.sort_by_key(|consumer| (consumer.name, consumer.location));
        for pair in sorted.windows(2) {
            if let [first, second] = pair
                && first.name == second.name
            {
                return Err(DuplicateConsumer {
                    name: first.name,
                    first: first.location,
                    second: second.location,
                });
            }
        }
        Ok(Self(sorted.into()))
    }

    /// No consumers: events are recorded and nothing follows from them.
    pub fn none() -> Self {
        Self(Arc::default())
    }

    /// The consumers, by name.
    pub fn iter(&self) -> impl Iterator<Item = &'static ConsumerDef> + '_ {
        self.0.iter().copied()
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<&'static ConsumerDef> {
        self.iter().find(|consumer| consumer.name == name)
    }

    /// Those that run after the commit.
    pub fn durable(&self) -> impl Iterator<Item = &'static ConsumerDef> + '_ {
        self.iter().filter(|consumer| consumer.mode == Mode::Durable)
    }

    /// Their names, in the order of [`Consumers::iter`].
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.iter().map(|consumer| consumer.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenancy::Actor;
    use uuid::Uuid;

    #[track_caller]
    const fn consumer(
        name: &'static str,
        event_types: &'static [EventType],
        object_type: Option<&'static str>,
    ) -> ConsumerDef {
        let run = RunFn::Each(|_, _| Box::pin(async { Ok(()) }));
        ConsumerDef {
            name,
            location: Location::caller(),
            event_types,
            object_type,
            mode: Mode::Abort,
            run,
        }
    }

    static GREET: ConsumerDef = consumer("shop::greet", &[EventType::Created], None);
    static COUNT: ConsumerDef = consumer("shop::count", &EventType::ALL, Some("campaign"));
    static OTHER_GREET: ConsumerDef = consumer("shop::greet", &[EventType::Deleted], None);

    fn event(event_type: EventType, object_type: &str) -> Event {
        Event {
            id: Uuid::from_u128(1),
            team_id: Uuid::from_u128(2),
            event_type,
            event_name: None,
            object_type: object_type.to_owned(),
            object_id: "7".to_owned(),
            object_label: "Spring".to_owned(),
            threadable: true,
            scope: None,
            actor: Actor::System {
                name: "test".to_owned(),
            },
            on_behalf_of: None,
            via: None,
            reason: None,
            event_data: serde_json::Value::Null,
            schema_version: 0,
            correlation_id: Uuid::from_u128(3),
            causation_id: None,
            request_id: None,
            transaction_id: 1,
            created_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_consumer_is_for_its_event_types_on_any_object() {
        assert!(GREET.matches(&event(EventType::Created, "campaign")));
        assert!(GREET.matches(&event(EventType::Created, "invoice")));
        assert!(!GREET.matches(&event(EventType::Updated, "campaign")));
    }

    #[test]
    fn a_consumer_with_an_object_type_is_for_that_one_alone() {
        assert!(
            EventType::ALL
                .into_iter()
                .all(|event_type| COUNT.matches(&event(event_type, "campaign")))
        );
        assert!(!COUNT.matches(&event(EventType::Created, "campaigns")));
        assert!(!COUNT.matches(&event(EventType::Created, "Campaign")));
    }

    #[test]
    fn a_set_is_sorted_by_name_whatever_order_it_was_given_in() {
        let consumers = Consumers::of([&GREET, &COUNT]).expect("two names");
        assert_eq!(consumers.names().collect::<Vec<_>>(), ["shop::count", "shop::greet"]);
        assert_eq!(Consumers::none().iter().count(), 0);
    }

    #[test]
    fn two_of_one_name_are_refused_and_both_are_pointed_at() {
        let refused = Consumers::of([&OTHER_GREET, &COUNT, &GREET]).expect_err("a name occurs twice");
        assert_eq!(
            refused,
            DuplicateConsumer {
                name: "shop::greet",
                first: GREET.location,
                second: OTHER_GREET.location
            }
        );
        assert_eq!(
            refused.to_string(),
            format!(
                "two consumers are called `shop::greet`: one at {}, one at {}; give one of them another name with \
                 #[event_consumer(…, name = \"…\")]",
                GREET.location, OTHER_GREET.location
            )
        );
    }

    #[test]
    fn one_given_twice_is_refused_as_that() {
        let refused = Consumers::of([&GREET, &GREET]).expect_err("it is there twice");
        assert_eq!(
            refused.to_string(),
            format!("consumer `shop::greet` ({}) is given twice", GREET.location)
        );
    }
}
