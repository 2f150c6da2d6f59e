//! Short texts between the processes of one database, by PostgreSQL's LISTEN and NOTIFY.
//!
//! On connections of its own: a NOTIFY inside a write transaction makes all of them commit one after the other,
//! and a LISTEN needs a session, which a pooler in transaction mode doesn't give. These connections carry no
//! team, so that they see no row and can write none.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _};

use crate::error::{Error, Result};

/// PostgreSQL refuses longer ones.
pub const MAX_TEXT_BYTES: usize = 7_999;
/// How long the other side of a new channel may take to hear the first text.
const PATIENCE: Duration = Duration::from_secs(3);

/// The side that speaks.
#[derive(Debug)]
pub struct Speaker {
    pool: PgPool,
    name: &'static str,
}

/// The side that hears, itself included.
#[derive(Debug)]
pub struct Listener(PgListener);

/// Opens the channel `name`, and proves that what is said there is heard.
///
/// # Errors
/// [`Error::Unavailable`] if nobody answers; [`Error::Internal`] if nothing is heard, as behind a pooler in
/// transaction mode.
pub async fn open(connect: PgConnectOptions, name: &'static str) -> Result<(Speaker, Listener)> {
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| {
            Box::pin(async move {
                // A NOTIFY writes a commit record, and nobody needs it to be there after a crash.
                connection.execute("SET synchronous_commit = off").await?;
                Ok(())
            })
        })
        .connect_with(connect.application_name("daybook hints").disable_statement_logging())
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(name).await?;
    let speaker = Speaker { pool, name };
    let proof = format!("proof {}", uuid::Uuid::new_v4());
    speaker.say(&proof).await?;
    let heard = tokio::time::timeout(PATIENCE, async {
        while listener.recv().await?.payload() != proof {}
        Ok::<_, sqlx::Error>(())
    });
    match heard.await {
        Ok(heard) => heard?,
        Err(_) => return Err(Error::internal("nothing is heard on this connection")),
    }
    Ok((speaker, Listener(listener)))
}

impl Speaker {
    /// Says a text of at most [`MAX_TEXT_BYTES`].
    ///
    /// # Errors
    /// As any statement. It may have been said all the same.
    pub async fn say(&self, text: &str) -> Result<()> {
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(self.name)
            .bind(text)
            .persistent(false)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

impl Listener {
    /// The next text; `None` after the connection was lost and made again: what was said meanwhile is not heard.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the connection can't be made again.
    pub async fn hear(&mut self) -> Result<Option<String>> {
        Ok(self.0.try_recv().await?.map(|heard| heard.payload().to_owned()))
    }
}
