#[path = "../stand_ins/mod.rs"]
mod stand_ins;
use stand_ins::*;

#[event_consumer(EventType::Created)]
async fn greet(_tx: &TeamTx, _event: &Event) {}

fn main() {}
