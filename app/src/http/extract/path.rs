//! The captures of a path, after the team.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::read_error::ReadError;
use super::strings::Strings;
use crate::error::{Error, Result};

/// The capture that `Team` reads. A handler's own captures come after it.
const TEAM: &str = "team_id";

/// The captures after `{team_id}`, or all captures of a route without a team.
///
/// `Path(id): Path<Uuid>` under `/v1/teams/{team_id}/campaigns/{id}`, `Path((a, b)): Path<(Uuid, u64)>` for two
/// captures in their order, or a struct by their names.
///
/// A capture that doesn't parse gets 404, like an id that no object has. A handler that takes other captures than its
/// route has is a defect: [`Error::Internal`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Path<T>(pub T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        // It rejects a capture that isn't UTF-8. No object has such a path.
        let captures = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Error::not_found("object"))?;
        let mut captures: Vec<(String, String)> = captures
            .iter()
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect();
        if let Some(team) = captures.iter().position(|(name, _)| name == TEAM) {
            captures.drain(..=team);
        }
        if captures.iter().any(|(_, text)| text.contains('\0')) {
            return Err(Error::not_found("object"));
        }
        let strings = Strings {
            strings: &captures,
            may_be_left_out: |_| false,
        };
        T::deserialize(strings).map(Self).map_err(|error| match error {
            ReadError::Value(_) => Error::not_found("object"),
            defect => Error::internal(defect),
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::extract::Request;
    use axum::http::StatusCode;
    use axum::routing::get;
    use serde::Deserialize;
    use tower::ServiceExt;
    use uuid::Uuid;

    use super::*;

    const TEAM_ID: &str = "018f0000-0000-7000-8000-000000000001";
    const ID: &str = "018f0000-0000-7000-8000-000000000002";

    #[derive(Debug, Deserialize)]
    struct Named {
        kind: Kind,
        id: ThreadId,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Thread,
        JobSession,
    }

    #[derive(Debug, Deserialize)]
    struct ThreadId(Uuid);

    async fn get_path(path: &str) -> (StatusCode, String) {
        let of_a_team = Router::new()
            .route("/", get(async |Path(()): Path<()>| "nothing"))
            .route("/one/{id}", get(async |Path(id): Path<Uuid>| id.to_string()))
            .route("/newtype/{id}", get(async |Path(id): Path<ThreadId>| id.0.to_string()))
            .route("/text/{id}", get(async |Path(id): Path<String>| id))
            .route("/kind/{kind}", get(async |Path(kind): Path<Kind>| format!("{kind:?}")))
            .route(
                "/two/{a}/{b}",
                get(async |Path((a, b)): Path<(Uuid, u64)>| format!("{a} {b}")),
            )
            .route(
                "/named/{id}/{kind}",
                get(async |Path(n): Path<Named>| format!("{:?} {}", n.kind, n.id.0)),
            )
            .route("/wrong/{a}/{b}", get(async |Path(id): Path<Uuid>| id.to_string()))
            .route(
                "/wrong_name/{ident}/{kind}",
                get(async |Path(n): Path<Named>| n.id.0.to_string()),
            );
        let router = Router::new().nest("/v1/teams/{team_id}", of_a_team).route(
            "/free/{a}/{b}",
            get(async |Path((a, b)): Path<(String, bool)>| format!("{a} {b}")),
        );
        let response = router
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn of_team(path: &str) -> (StatusCode, String) {
        get_path(&format!("/v1/teams/{TEAM_ID}{path}")).await
    }

    #[tokio::test]
    async fn a_handler_gets_its_own_captures() {
        let ok = |text: &str| (StatusCode::OK, text.to_owned());
        assert_eq!(of_team("").await, ok("nothing"));
        assert_eq!(of_team(&format!("/one/{ID}")).await, ok(ID));
        assert_eq!(of_team(&format!("/newtype/{ID}")).await, ok(ID));
        assert_eq!(of_team("/text/a%20b%2Fc").await, ok("a b/c"));
        assert_eq!(of_team("/kind/job_session").await, ok("JobSession"));
        assert_eq!(of_team(&format!("/two/{ID}/42")).await, ok(&format!("{ID} 42")));
        assert_eq!(
            of_team(&format!("/named/{ID}/thread")).await,
            ok(&format!("Thread {ID}"))
        );
        assert_eq!(get_path("/free/x/true").await, ok("x true"));
    }

    #[tokio::test]
    async fn a_capture_that_does_not_parse_is_not_found() {
        for path in [
            "/one/not-a-uuid".to_owned(),
            format!("/two/{ID}/-1"),
            format!("/two/{ID}/1e3"),
            "/kind/Thread".to_owned(),
            format!("/named/{ID}/nothing"),
            "/text/%00".to_owned(),
            "/text/%FF".to_owned(),
        ] {
            let (status, body) = of_team(&path).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {body}");
            assert!(body.contains("no such object"), "{path}: {body}");
        }
    }

    #[tokio::test]
    async fn a_handler_that_does_not_fit_its_route_is_a_defect() {
        for path in [format!("/wrong/{ID}/{ID}"), format!("/wrong_name/{ID}/thread")] {
            assert_eq!(of_team(&path).await.0, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        }
    }
}
