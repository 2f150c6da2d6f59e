//! A consumer that counts the guests, in the transaction that adds them.

use daybook::prelude::*;
use sea_orm::Statement;

/// Counts the added guests. It is called once for a whole party.
#[event_consumer(EventType::Created, object_type = "guest", name = "guestbook.count")]
pub async fn count(tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    let guests = i64::try_from(events.len())?;
    tx.execute_raw(Statement::from_sql_and_values(
        tx.get_database_backend(),
        "INSERT INTO guest_counts (team_id, guests) VALUES ($1, $2)
         ON CONFLICT (team_id) DO UPDATE SET guests = guest_counts.guests + excluded.guests",
        [tx.team_id().into(), guests.into()],
    ))
    .await?;
    Ok(())
}
