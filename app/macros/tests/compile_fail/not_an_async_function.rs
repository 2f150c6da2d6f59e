#[path = "../stand_ins/mod.rs"]
mod stand_ins;
use stand_ins::*;

#[event_consumer(EventType::Created)]
fn greet(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::Created)]
async unsafe fn thank(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

#[event_consumer(EventType::Created)]
struct Mourner;

fn main() {}
