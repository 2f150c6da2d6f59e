#[path = "../stand_ins/mod.rs"]
mod stand_ins;
use stand_ins::*;

#[event_consumer]
async fn greet(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer()]
async fn thank(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(object_type = "campaign")]
async fn mourn(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

fn main() {}
