//! The document at `/openapi.json`, made from the code: what the routes say of themselves, and what holds for
//! all of them.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, KnownFormat, ObjectBuilder, OpenApi, Required, SchemaFormat, Type};

/// Adds the title, the way to authenticate, and the team that team routes have in their path.
pub(super) fn complete(document: &mut OpenApi) {
    document.info = InfoBuilder::new()
        .title("Daybook")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Every change to a team's objects, recorded as an event in the same commit.",
        ))
        .build();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A JWT of the configured issuer, or a team's API key (`dbk_…`)."))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("bearer", SecurityScheme::Http(bearer));
    document.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);

    let uuid = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
        .build();
    let team_id = ParameterBuilder::new()
        .name("team_id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The team. One that the caller doesn't belong to is 404."))
        .schema(Some(uuid))
        .build();
    for (path, item) in &mut document.paths.paths {
        if path.contains("{team_id}") {
            item.parameters.get_or_insert_default().push(team_id.clone().into());
        }
    }
}

/// The document as bytes that are made once.
#[derive(Clone)]
pub(super) struct Served(Arc<str>);

pub(super) fn served(document: &OpenApi) -> Served {
    // utoipa's document is plain data; that it serialises is tested with the routes.
    Served(document.to_json().unwrap_or_default().into())
}

impl IntoResponse for Served {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0.to_string()).into_response()
    }
}
