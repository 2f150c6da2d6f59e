//! The route that returns a story.

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::store::{self, Story};
use crate::error::{Error, Result};
use crate::http::{Json, Path, ServiceState, Team};

/// Returns the route of stories, under `/v1/teams/{team_id}`.
pub fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(get_story))
}

/// Returns everything with one correlation id: events, job sessions and runs with their causes, in order.
#[utoipa::path(
    get, path = "/stories/{correlation_id}", tag = "stories",
    params(("correlation_id" = Uuid, Path, description = "The trace id of `traceparent`, or a correlation id")),
    responses(
        (status = 200, body = Story),
        (status = 404, description = "No such team, or the team has nothing with that id"),
    )
)]
async fn get_story(team: Team, Path(correlation_id): Path<Uuid>) -> Result<Json<Story>> {
    let tx = team.read().await?;
    let story = store::story(&tx, correlation_id).await?;
    tx.commit().await?;
    if story.steps.is_empty() {
        return Err(Error::not_found("story"));
    }
    Ok(Json(story))
}
