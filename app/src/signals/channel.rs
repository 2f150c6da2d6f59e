//! Short texts between the processes of one database, by PostgreSQL's LISTEN and NOTIFY.
//!
//! On connections of its own: a NOTIFY inside a write transaction makes all of them commit one after the other,
//! and a LISTEN needs a session, which a pooler in transaction mode doesn't give. These connections carry no
//! team, so that they see no row and can write none.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, Row as _};

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
/// Behind a pooler it doesn't try: a LISTEN would stay on the server's connection, and what is heard there would reach
/// whoever has that connection next, in the middle of their answer. A setting that is sent when a connection is opened
/// reaches the server only if there is nobody between.
///
/// # Errors
/// [`Error::Unavailable`] if nobody answers; [`Error::Internal`] behind a pooler, or if nothing is heard.
pub async fn open(connect: PgConnectOptions, name: &'static str) -> Result<(Speaker, Listener)> {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let connect = connect.options([("daybook.probe", &nonce)]);
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
        .connect_with(connect.application_name("daybook signals").disable_statement_logging())
        .await?;
    let probe = sqlx::raw_sql("SELECT current_setting('daybook.probe', true) AS probe")
        .fetch_one(&pool)
        .await?;
    if probe.try_get::<Option<&str>, _>("probe")? != Some(nonce.as_str()) {
        return Err(Error::internal("there is a pooler between this process and the server"));
    }
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
        let notify = sqlx::query("SELECT pg_notify($1, $2)");
        notify.bind(self.name).bind(text).execute(&self.pool).await?;
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
