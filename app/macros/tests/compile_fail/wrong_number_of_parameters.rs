#[path = "../stand_ins/mod.rs"]
mod stand_ins;
use stand_ins::*;

#[event_consumer(EventType::Created)]
async fn greet() -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::Created)]
async fn thank(_event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::Created)]
async fn mourn(_tx: &TeamTx, _event: &Event, _times: usize) -> ConsumerResult {
    Ok(())
}

fn main() {}
