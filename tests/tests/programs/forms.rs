//! Every form of `#[event_consumer]`, and what each form generates.

#![expect(clippy::expect_used, reason = "a program that tests")]

use daybook::events::{ConsumerDef, Mode, RunFn};
use daybook::prelude::*;

#[event_consumer(EventType::Created, EventType::Updated)]
async fn greet(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::Updated, object_type = "campaign", mode = isolate, name = "counts")]
async fn count(_tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    if events.len() > 1_000 {
        return Err("a thousand at a time".into());
    }
    let _number: i32 = "7".parse()?;
    Ok(())
}

/// In a module, with the function's visibility.
mod notices {
    use daybook::prelude::*;

    #[event_consumer(all, mode = abort,)]
    pub(crate) async fn r#mirror(_tx: &'_ TeamTx, _events: &'_ [daybook::events::Event]) -> ConsumerResult {
        Ok(())
    }
}

#[event_consumer(
    EventType::Created,
    EventType::Updated,
    EventType::Deleted,
    EventType::StateChanged,
    EventType::Restored,
    daybook::events::EventType::Custom
)]
#[cfg(not(any()))]
async fn listed(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(all)]
#[cfg(any())]
async fn left_out(_tx: &TeamTx, _event: &NoSuchType) -> ConsumerResult {
    Ok(())
}

/// A user's own macro can generate consumers.
macro_rules! quiet_consumer {
    ($name:ident, $what:ty, $result:ty) => {
        #[event_consumer(EventType::Custom)]
        async fn $name(_tx: &TeamTx, _event: &$what) -> $result {
            Ok(())
        }
    };
}
quiet_consumer!(quiet, Event, ConsumerResult);

fn is_for(consumer: &ConsumerDef) -> &'static [EventType] {
    consumer.event_types
}

fn main() {
    use notices::mirror;

    assert!(greet::CONSUMER.name.ends_with("::greet"), "{}", greet::CONSUMER.name);
    assert!(
        greet::CONSUMER.location.file().ends_with("forms.rs"),
        "{}",
        greet::CONSUMER.location
    );
    assert_eq!(greet::CONSUMER.location.line(), 8, "the attribute's line");
    assert_eq!(is_for(greet::CONSUMER), [EventType::Created, EventType::Updated]);
    assert_eq!(greet::CONSUMER.object_type, None);
    assert_eq!(greet::CONSUMER.mode, Mode::Abort);
    assert!(matches!(greet::CONSUMER.run, RunFn::Each(_)));

    assert_eq!(count::CONSUMER.name, "counts");
    assert_eq!(count::CONSUMER.object_type, Some("campaign"));
    assert_eq!(count::CONSUMER.mode, Mode::Isolate);
    assert!(matches!(count::CONSUMER.run, RunFn::Slice(_)));

    assert!(
        mirror::CONSUMER.name.ends_with("::notices::mirror"),
        "{}",
        mirror::CONSUMER.name
    );
    // `EventType` has exactly the variants that the macro knows.
    assert_eq!(is_for(mirror::CONSUMER), EventType::ALL);
    assert_eq!(is_for(listed::CONSUMER), EventType::ALL);

    // In a test's body, where the consumer can use the names beside it.
    #[event_consumer(EventType::Deleted)]
    async fn local(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
        Ok(())
    }

    let consumers = Consumers::of([local::CONSUMER, count::CONSUMER]).expect("two names");
    assert!(consumers.names().eq([local::CONSUMER.name, "counts"]), "by name");

    let linked = Consumers::linked().expect("no name occurs twice");
    for consumer in [
        greet::CONSUMER,
        count::CONSUMER,
        mirror::CONSUMER,
        listed::CONSUMER,
        quiet::CONSUMER,
        local::CONSUMER,
    ] {
        assert!(
            linked.names().any(|name| name == consumer.name),
            "{} is linked",
            consumer.name
        );
    }
    assert!(linked.names().is_sorted());

    // The functions can still be called.
    async fn by_hand(tx: &TeamTx, event: &Event) -> ConsumerResult {
        greet(tx, event).await?;
        count(tx, std::slice::from_ref(event)).await?;
        mirror(tx, &[]).await
    }
    let _ = by_hand;
}
