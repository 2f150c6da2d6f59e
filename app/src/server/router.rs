//! All routes of the service.

use axum::Router;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use super::{AppState, health, metrics, middleware, openapi};
use crate::error::Error;
use crate::{jobs, live, notifications, runs, stories, teams, threads};

/// Returns the routes of a process that only runs jobs: health, metrics and runs.
#[cfg(feature = "cli")]
pub(crate) fn worker_router(state: AppState) -> Router {
    let (router, _) = OpenApiRouter::new()
        .merge(health::routes())
        .merge(metrics::routes())
        // This process serves the logs that its jobs write.
        .nest("/v1/teams/{team_id}", runs::routes())
        .split_for_parts();
    let router = router
        .fallback(async || Error::not_found("route"))
        .method_not_allowed_fallback(async || Error::MethodNotAllowed);
    middleware::around(router, &state).with_state(state)
}

/// Returns the whole service: Daybook's routes, `team_routes` next to them, and the layers around both.
pub(crate) fn router(state: AppState, team_routes: OpenApiRouter<AppState>) -> Router {
    let team = OpenApiRouter::new()
        .merge(threads::routes())
        .merge(notifications::routes())
        .merge(live::routes())
        .merge(jobs::routes())
        .merge(runs::routes())
        .merge(stories::routes())
        .merge(teams::member_routes())
        .merge(teams::invitation_routes())
        .merge(teams::api_key_routes())
        .merge(team_routes);

    let (router, mut document) = OpenApiRouter::new()
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(teams::me_routes())
        .merge(teams::own_invitation_routes())
        .nest("/v1/teams/{team_id}", team)
        .split_for_parts();

    openapi::complete(&mut document);
    let document = openapi::served(&document);
    let router = router
        .route("/openapi.json", get(move || std::future::ready(document.clone())))
        .fallback(async || Error::not_found("route"))
        .method_not_allowed_fallback(async || Error::MethodNotAllowed);

    middleware::around(router, &state).with_state(state)
}
