use daybook::prelude::*;

#[event_consumer(EventType::StateChanged, mode = durable, name = "crm")]
async fn greet(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

fn main() {}
