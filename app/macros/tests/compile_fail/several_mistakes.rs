#[path = "../stand_ins/mod.rs"]
mod stand_ins;
use stand_ins::*;

#[event_consumer(EventType::Creatd, mode = durable, object_type = "")]
fn greet(_tx: &TeamTx, _event: Event) {}

fn main() {}
