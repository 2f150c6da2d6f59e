#[path = "../stand_ins/mod.rs"]
mod stand_ins;
use stand_ins::*;

#[event_consumer(EventType::StateChanged, mode = durable, name = "crm")]
async fn greet(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::StateChanged, mode = durable)]
async fn thank(_ctx: &ConsumerContext, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::StateChanged, mode = durable, name = "The CRM")]
async fn mourn(_ctx: &ConsumerContext, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::StateChanged, name = "crm")]
async fn count(_ctx: &ConsumerContext, _event: &Event) -> ConsumerResult {
    Ok(())
}

fn main() {}
