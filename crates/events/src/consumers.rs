//! The registry of event consumers.
//!
//! A consumer is an `async fn` under [`#[event_consumer]`](macro@daybook_macros::event_consumer). The attribute
//! generates a [`ConsumerDef`], which is available in two ways: by name, as `greet::CONSUMER`, and by the linker, which
//! collects all consumers of the program. A [`Consumers`] is the set that one app runs: [`Consumers::linked`] in a
//! service, [`Consumers::of`] in a test. It is a value, so two apps in one process can run different sets.
//!
//! **Invariant:** a set is sorted by name, and each name occurs once. So the order in which consumers run is the same
//! on every start and every machine and does not depend on the linker. Data that is stored under a consumer's name
//! belongs to one function.

use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;

use crate::durable::ConsumerContext;
use crate::event::Event;
use crate::event_type::EventType;
use daybook_tenancy::TeamTx;
use daybook_tenancy::error::{Cause, Error};

/// The result of a consumer.
///
/// `?` works on [`daybook_tenancy::Error`] and on any other error that can be sent between threads.
/// `Err("no budget left".into())` fails with a message. A [`daybook_tenancy::Error`] that is the client's mistake, such
/// as [`Error::Conflict`], keeps its status if the consumer's mode is [`Mode::Abort`].
pub type ConsumerResult = std::result::Result<(), Cause>;

/// The future that a consumer's function returns.
pub type ConsumerFuture<'a> = Pin<Box<dyn Future<Output = ConsumerResult> + Send + 'a>>;

/// What happens to the transaction when a consumer fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// The transaction can't commit: the change, its event and the consumer's rows are rolled back together.
    Abort,
    /// The consumer's own writes are undone, its failure is recorded, and the rest commits. A job runs the consumer
    /// again.
    Isolate,
    /// The consumer runs after the commit, as a job of the queue, at least once.
    Durable,
}

impl Mode {
    /// Returns the mode as `#[event_consumer]` names it: `abort`, `isolate` or `durable`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Isolate => "isolate",
            Self::Durable => "durable",
        }
    }
}

/// The consumer's function, by its parameters.
#[derive(Debug, Clone, Copy)]
pub enum RunFn {
    /// `&Event`: called once for each event.
    Each(for<'a> fn(&'a TeamTx, &'a Event) -> ConsumerFuture<'a>),
    /// `&[Event]`: called once for all matching events of one helper call, never with an empty slice.
    Slice(for<'a> fn(&'a TeamTx, &'a [Event]) -> ConsumerFuture<'a>),
    /// `&Event`, after the commit: one job for each event.
    DurableEach(for<'a> fn(&'a ConsumerContext, &'a Event) -> ConsumerFuture<'a>),
    /// `&[Event]`, after the commit: one job for the events of a team that the relay found together.
    DurableSlice(for<'a> fn(&'a ConsumerContext, &'a [Event]) -> ConsumerFuture<'a>),
}

/// A consumer: its function and the events that it receives.
///
/// [`#[event_consumer]`](macro@daybook_macros::event_consumer) generates it. The fields are public because the
/// attribute fills them in from other crates; a later version may have more.
#[derive(Debug)]
pub struct ConsumerDef {
    /// Unique in the program. It is the function's path (`shop::mail::greet`), unless the attribute has `name = "…"`.
    /// With a name, the function can move, and its stored failures still belong to it.
    pub name: &'static str,
    /// Where the attribute is in the source, to tell two consumers of the same name apart.
    pub location: &'static Location<'static>,
    /// The event types that the consumer receives, at least one.
    pub event_types: &'static [EventType],
    /// The only `OBJECT_TYPE` that the consumer receives; `None` for all types.
    pub object_type: Option<&'static str>,
    /// What happens to the transaction if the consumer fails.
    pub mode: Mode,
    /// The function to call.
    pub run: RunFn,
}

impl ConsumerDef {
    /// Returns whether the consumer receives this event, by its type and its object's type.
    pub fn matches(&self, event: &Event) -> bool {
        self.is_for(event.event_type, &event.object_type)
    }

    /// Returns whether the consumer receives events of this type about objects of this type.
    pub fn is_for(&self, event_type: EventType, object_type: &str) -> bool {
        self.event_types.contains(&event_type) && self.object_type.is_none_or(|only| only == object_type)
    }
}

inventory::collect!(&'static ConsumerDef);

/// Two consumers have the same name. [`Consumers::linked`] and [`Consumers::of`] return this error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct DuplicateConsumer {
    /// The name of both.
    pub name: &'static str,
    /// Where the first one is.
    pub first: &'static Location<'static>,
    /// Where the second one is; equal to `first` if one consumer was given twice.
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

/// The consumers that an app runs, sorted by name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Consumers(Arc<[&'static ConsumerDef]>);

impl Consumers {
    /// Returns all consumers that are linked into the program, from this crate and from the crates that use it.
    ///
    /// The linker leaves out a library that the program's source never names, and with it the library's consumers. The
    /// line `use my_consumers as _;` is enough to include them.
    ///
    /// # Errors
    /// [`DuplicateConsumer`] if two have the same name.
    pub fn linked() -> Result<Self, DuplicateConsumer> {
        Self::of(inventory::iter::<&'static ConsumerDef>.into_iter().copied())
    }

    /// Returns a set of exactly these: `Consumers::of([greet::CONSUMER, count::CONSUMER])`.
    ///
    /// # Errors
    /// [`DuplicateConsumer`] if two have the same name, or one is given twice.
    pub fn of(consumers: impl IntoIterator<Item = &'static ConsumerDef>) -> Result<Self, DuplicateConsumer> {
        let mut sorted: Vec<_> = consumers.into_iter().collect();
        // The location orders equal names, so that the error is the same on every start.
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

    /// Returns an empty set: events are recorded, and no consumer runs.
    pub fn none() -> Self {
        Self(Arc::default())
    }

    /// Returns the consumers, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &'static ConsumerDef> + '_ {
        self.0.iter().copied()
    }

    /// Returns the consumer with this name.
    pub fn named(&self, name: &str) -> Option<&'static ConsumerDef> {
        self.iter().find(|consumer| consumer.name == name)
    }

    /// Returns the consumers that run after the commit.
    pub fn durable(&self) -> impl Iterator<Item = &'static ConsumerDef> + '_ {
        self.iter().filter(|consumer| consumer.mode == Mode::Durable)
    }

    /// Returns the consumers' names, in the order of [`Consumers::iter`].
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.iter().map(|consumer| consumer.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daybook_tenancy::Actor;
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
    static COUNT: ConsumerDef = consumer("shop::count", EventType::ALL, Some("campaign"));
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
    fn a_consumer_receives_its_event_types_for_any_object() {
        assert!(GREET.matches(&event(EventType::Created, "campaign")));
        assert!(GREET.matches(&event(EventType::Created, "invoice")));
        assert!(!GREET.matches(&event(EventType::Updated, "campaign")));
    }

    #[test]
    fn a_consumer_with_an_object_type_receives_only_that_type() {
        assert!(
            EventType::ALL
                .iter()
                .copied()
                .all(|event_type| COUNT.matches(&event(event_type, "campaign")))
        );
        assert!(!COUNT.matches(&event(EventType::Created, "campaigns")));
        assert!(!COUNT.matches(&event(EventType::Created, "Campaign")));
    }

    #[test]
    fn a_set_is_sorted_by_name_in_whatever_order_it_was_given() {
        let consumers = Consumers::of([&GREET, &COUNT]).expect("two names");
        assert_eq!(consumers.names().collect::<Vec<_>>(), ["shop::count", "shop::greet"]);
        assert_eq!(Consumers::none().iter().count(), 0);
    }

    #[test]
    fn two_consumers_with_one_name_are_refused_with_both_locations() {
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
    fn a_consumer_that_is_given_twice_is_refused() {
        let refused = Consumers::of([&GREET, &GREET]).expect_err("it was given twice");
        assert_eq!(
            refused.to_string(),
            format!("consumer `shop::greet` ({}) is given twice", GREET.location)
        );
    }
}
