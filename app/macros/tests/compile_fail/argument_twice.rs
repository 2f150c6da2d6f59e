#[path = "../stand_ins/mod.rs"]
mod stand_ins;
use stand_ins::*;

#[event_consumer(EventType::Created, mode = abort, mode = isolate)]
async fn greet(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(
    EventType::Created,
    name = "crm",
    object_type = "campaign",
    name = "crm",
    object_type = ""
)]
async fn thank(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

fn main() {}
