use daybook::prelude::*;

#[event_consumer(EventType::Creatd, mode = durable, object_type = "")]
fn greet(_tx: &TeamTx, _event: Event) {}

fn main() {}
