//! The responses in `idempotency_keys`. `tenancy` claims the keys themselves.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::{Error, Result, StoredOutcome};
use crate::http::StoredAnswer;
use crate::tenancy::{Claim, Context, Database, OutcomeColumns};

/// The columns of a key's row that contain the response.
pub(super) const ANSWER: OutcomeColumns = OutcomeColumns {
    names: "status, content_type, etag, location, body",
    read: stored_answer,
};

fn stored_answer(row: &PgRow) -> Result<Option<StoredOutcome>> {
    let Some(status) = row.try_get::<Option<i16>, _>("status")? else {
        return Ok(None);
    };
    Ok(Some(StoredOutcome::new(StoredAnswer {
        status: u16::try_from(status).map_err(Error::internal)?,
        content_type: row.try_get("content_type")?,
        etag: row.try_get("etag")?,
        location: row.try_get("location")?,
        body: row.try_get::<Option<Vec<u8>>, _>("body")?.unwrap_or_default(),
    })))
}

/// Stores the response to the request that committed with `claim`, in case a client sends the request again.
///
/// # Errors
/// Those of any database statement. The request's work stays committed.
pub(super) async fn store_answer(
    database: &Database,
    team_id: Uuid,
    actor: &str,
    claim: &Claim,
    answer: &StoredAnswer,
) -> Result<()> {
    let tx = database.begin(&Context::system(team_id, "idempotency")).await?;
    tx.execute_sql(
        sqlx::query(
            "UPDATE idempotency_keys SET status = $4, content_type = $5, etag = $6, body = $7, location = $8
             WHERE team_id = $1 AND actor = $2 AND key = $3",
        )
        .bind(team_id)
        .bind(actor)
        .bind(claim.key())
        .bind(i16::try_from(answer.status).map_err(Error::internal)?)
        .bind(answer.content_type.as_deref())
        .bind(answer.etag.as_deref())
        .bind(&answer.body)
        .bind(answer.location.as_deref()),
    )
    .await?;
    tx.commit().await
}
