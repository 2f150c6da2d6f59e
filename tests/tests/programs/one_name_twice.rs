//! Two linked consumers have the same name: the set is refused, and the error names both places.

#![expect(clippy::expect_used, reason = "a program that tests")]

use daybook::prelude::*;

#[event_consumer(EventType::Created, name = "crm")]
async fn greet(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::Deleted, name = "crm")]
async fn mourn(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

fn main() {
    let refused = Consumers::linked().expect_err("`crm` occurs twice").to_string();
    assert!(
        refused.starts_with("two consumers are called `crm`: one at "),
        "{refused}"
    );
    assert!(refused.contains(&greet::CONSUMER.location.to_string()), "{refused}");
    assert!(refused.contains(&mourn::CONSUMER.location.to_string()), "{refused}");

    assert!(
        Consumers::of([greet::CONSUMER]).is_ok(),
        "a set with only one of them is accepted"
    );
}
