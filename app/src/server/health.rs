//! `/healthz`: the process is alive. `/readyz`: it can serve requests.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AppState;
use crate::http::Json;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Whether the service is alive, or ready.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`, or the problem.
    status: String,
    /// Migrations that are not yet applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pending_migrations: Vec<String>,
}

impl Health {
    fn is(status: &str) -> Self {
        Self {
            status: status.to_owned(),
            pending_migrations: Vec::new(),
        }
    }
}

/// Checks that the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Health)))]
async fn healthz() -> Json<Health> {
    Json(Health::is("ok"))
}

/// Checks that the service is ready: its database answers and its schema is complete.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
async fn readyz(State(state): State<AppState>) -> (StatusCode, Json<Health>) {
    if let Some(status) = state.pending() {
        let health = Health {
            status: "migrations are pending: run `make db-migrate`".to_owned(),
            pending_migrations: status.pending.clone(),
        };
        return (StatusCode::SERVICE_UNAVAILABLE, Json(health));
    }
    match state.database().ping().await {
        Ok(()) => (StatusCode::OK, Json(Health::is("ok"))),
        Err(error) => {
            tracing::warn!("not ready: the database does not answer: {error}");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                Json(Health::is("the database does not answer")),
            )
        }
    }
}
