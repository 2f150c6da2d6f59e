#[path = "../stand_ins/mod.rs"]
mod stand_ins;
use stand_ins::*;

#[event_consumer(EventType::Created, object_type = "")]
async fn greet(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::Created, name = " ")]
async fn thank(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

fn main() {}
