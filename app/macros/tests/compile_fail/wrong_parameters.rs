#[path = "../stand_ins/mod.rs"]
mod stand_ins;
use stand_ins::*;

#[event_consumer(EventType::Created)]
async fn greet(_tx: &TeamTx, _event: Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::Created)]
async fn thank(_tx: &TeamTx, _events: &[String]) -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::Created)]
async fn mourn(_tx: &mut TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::Created)]
async fn count(_tx: &TeamTx, _events: &'static [Event]) -> ConsumerResult {
    Ok(())
}

fn main() {}
