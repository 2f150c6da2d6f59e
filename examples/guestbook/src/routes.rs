//! `/guests`, under `/v1/teams/{team_id}`.

use daybook::prelude::*;

use crate::thanks::ThankGuest;
use crate::{guest, store};

/// All routes of the guestbook.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, let_in))
        .routes(routes!(see_off))
}

/// A guest who is to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewGuest {
    name: String,
    #[serde(default)]
    company: i32,
    phone: Option<String>,
}

/// Adds a guest.
#[utoipa::path(post, path = "/guests", tag = "guests", request_body = NewGuest, responses((status = 201, body = guest::Model)))]
async fn let_in(team: Team, Json(new): Json<NewGuest>) -> Result<impl IntoResponse> {
    let tx = team.begin().await?;
    let guest = guest::ActiveModel {
        name: Set(new.name),
        company: Set(new.company),
        phone: Set(new.phone),
        ..Default::default()
    };
    let guest = create_model_with_event(&tx, guest, Track::All).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(guest)))
}

/// Lists the guests who have not left.
#[utoipa::path(get, path = "/guests", tag = "guests", responses((status = 200, body = Vec<guest::Model>)))]
async fn list(team: Team) -> Result<Json<Vec<guest::Model>>> {
    let tx = team.read().await?;
    let guests = store::list(&tx).await?;
    tx.commit().await?;
    Ok(Json(guests))
}

/// Deletes a guest, and enqueues a letter of thanks.
#[utoipa::path(delete, path = "/guests/{id}", tag = "guests", params(("id" = Uuid, Path)), responses((status = 204)))]
async fn see_off(team: Team, Path(id): Path<Uuid>) -> Result<StatusCode> {
    team.write(async |tx| {
        let guest = store::find(tx, id).await?;
        let name = guest.name.clone();
        delete_model_with_event(tx, guest, None).await?;
        // The job runs after the commit. If the transaction is rolled back, it never runs.
        tx.enqueue(ThankGuest { name }).await?;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
