//! The document at `/openapi.json`. The routes' attributes describe each operation; this module adds what is common to
//! all of them.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Content, InfoBuilder, KnownFormat, ObjectBuilder, OpenApi, Ref, RefOr, Required, Response as Declared,
    SchemaFormat, Type,
};
use utoipa::{PartialSchema, ToSchema};

use crate::http::Problem;

/// Adds the title, the authentication scheme, the team parameter of team routes, and the error format.
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
        .description(Some(
            "The team. If the caller doesn't belong to it, the response is 404.",
        ))
        .schema(Some(uuid))
        .build();
    for (path, item) in &mut document.paths.paths {
        if path.contains("{team_id}") {
            item.parameters.get_or_insert_default().push(team_id.clone().into());
        }
    }
    declare_problems(document);
}

/// Declares that every error is a problem document. So a route's attribute contains only the status and description of
/// an error, and errors that any route can have need no entry.
fn declare_problems(document: &mut OpenApi) {
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    let components = document.components.get_or_insert_default();
    for (name, schema) in schemas {
        components.schemas.entry(name).or_insert(schema);
    }
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            let responses = &mut operation.responses.responses;
            let has_client_errors = responses.keys().any(|status| status.eq_ignore_ascii_case("4XX"));
            if path.starts_with("/v1/") && !has_client_errors {
                responses.insert("4XX".to_owned(), RefOr::T(Declared::new("Another client error")));
            }
            for (status, response) in responses {
                if let RefOr::T(response) = response
                    && status.starts_with(['4', '5'])
                    && response.content.is_empty()
                {
                    let problem = Content::new(Some(Ref::from_schema_name(Problem::name())));
                    response
                        .content
                        .insert("application/problem+json".to_owned(), RefOr::T(problem));
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem {
        get,
        put,
        post,
        patch,
        delete,
        ..
    } = item;
    [get, put, post, patch, delete].into_iter().flatten()
}

/// The document as text, serialised once.
#[derive(Clone)]
pub(super) struct Served(Arc<str>);

pub(super) fn served(document: &OpenApi) -> Served {
    // utoipa's document is plain data. A test of the routes shows that it can be serialised.
    Served(document.to_json().unwrap_or_default().into())
}

impl IntoResponse for Served {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0.to_string()).into_response()
    }
}
