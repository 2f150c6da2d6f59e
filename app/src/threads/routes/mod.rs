//! The routes of threads, below `/v1/teams/{team_id}`.

mod comments;
mod following;
mod person;
mod reading;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::ServiceState;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::reading::fuzz_filters;

/// Returns the routes of threads, messages, followers and watches.
pub fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(reading::list_threads))
        .routes(routes!(reading::get_thread))
        .routes(routes!(reading::list_messages, comments::post_comment))
        .routes(routes!(
            reading::get_message,
            comments::edit_comment,
            comments::delete_comment
        ))
        .routes(routes!(following::follow, following::unfollow))
        .routes(routes!(following::mute, following::unmute))
        .routes(routes!(following::read))
        .routes(routes!(following::list_watches))
        .routes(routes!(following::watch, following::unwatch))
}
