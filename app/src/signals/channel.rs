//! Sends short texts between the processes of one database, by PostgreSQL's LISTEN and NOTIFY.
//!
//! It uses separate connections. A NOTIFY inside write transactions would make them commit one after the other. A
//! LISTEN needs a session, which a pooler in transaction mode doesn't give. These connections enter no team, so they
//! can neither see nor write team rows.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, Row as _};

use crate::error::{Error, Result};

/// Maximum length of a text, in bytes. PostgreSQL refuses longer ones.
pub const MAX_TEXT_BYTES: usize = 7_999;
/// Maximum time to connect, and until a new channel receives its first text.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// The end that publishes.
#[derive(Debug)]
pub struct Publisher {
    pool: PgPool,
    name: &'static str,
}

/// The end that receives, including what this process publishes.
#[derive(Debug)]
pub struct Receiver(PgListener);

/// Opens the channel `name`, and verifies that a published text is received.
///
/// Behind a pooler it returns an error and doesn't try. There, a LISTEN would stay on the server's connection, and
/// notifications would reach the next client of that connection, in the middle of an answer. A pooler is detected by a
/// setting that is sent when the connection is opened: a pooler doesn't pass it on to the server.
///
/// # Errors
/// [`Error::Unavailable`] if the server doesn't answer; [`Error::Internal`] behind a pooler, or if nothing is received.
pub async fn open(connect: PgConnectOptions, name: &'static str) -> Result<(Publisher, Receiver)> {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let connect = connect.options([("daybook.probe", &nonce)]);
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(OPEN_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                // A NOTIFY writes a commit record, which nobody needs after a crash.
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
    let publisher = Publisher { pool, name };
    let proof = format!("proof {}", uuid::Uuid::new_v4());
    publisher.publish(&proof).await?;
    let received = tokio::time::timeout(OPEN_TIMEOUT, async {
        while listener.recv().await?.payload() != proof {}
        Ok::<_, sqlx::Error>(())
    });
    match received.await {
        Ok(received) => received?,
        Err(_) => return Err(Error::internal("no notification is received on this connection")),
    }
    Ok((publisher, Receiver(listener)))
}

impl Publisher {
    /// Publishes a text of at most [`MAX_TEXT_BYTES`].
    ///
    /// # Errors
    /// Those of any database statement. The text may have been published nevertheless.
    pub async fn publish(&self, text: &str) -> Result<()> {
        let notify = sqlx::query("SELECT pg_notify($1, $2)");
        notify.bind(self.name).bind(text).execute(&self.pool).await?;
        Ok(())
    }
}

impl Receiver {
    /// Waits for the next text. Returns `None` after the connection was lost and opened again; the texts of that time
    /// are lost.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the connection can't be opened again.
    pub async fn receive(&mut self) -> Result<Option<String>> {
        let notification = self.0.try_recv().await?;
        Ok(notification.map(|notification| notification.payload().to_owned()))
    }
}
