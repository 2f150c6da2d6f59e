use daybook::prelude::*;

#[event_consumer(EventType::Created)]
async fn greet(_tx: &TeamTx, _event: &Event) {}

fn main() {}
