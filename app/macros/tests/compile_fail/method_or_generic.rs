#[path = "../stand_ins/mod.rs"]
mod stand_ins;
use stand_ins::*;

struct Greeter;

impl Greeter {
    #[event_consumer(EventType::Created)]
    async fn greet(&self, _event: &Event) -> ConsumerResult {
        Ok(())
    }
}

#[event_consumer(EventType::Created)]
async fn thank<T>(_tx: &TeamTx, _event: &Event) -> ConsumerResult {
    Ok(())
}

fn main() {}
