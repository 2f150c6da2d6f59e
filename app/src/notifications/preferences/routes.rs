//! The routes of preferences. A viewer may set them, too, because they concern only the person.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::object_type::require_object_type;
use super::rule::Rule;
use super::store::{self, PreferenceRow};
use crate::error::{Error, Result};
use crate::http::{Json, Page, PageParams, Path, Query, ServiceState, Team};
use crate::tenancy::{Role, TeamTx};

pub(in crate::notifications) fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(list_preferences))
        .routes(routes!(set_preference, delete_preference))
}

/// A preference: whether something notifies you.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NotificationPreference)]
struct Preference {
    #[serde(flatten)]
    rule: Rule,
    /// Whether you are notified in your inbox.
    in_app: bool,
    /// When you last changed it.
    updated_at: DateTime<Utc>,
}

impl From<PreferenceRow> for Preference {
    fn from(row: PreferenceRow) -> Self {
        Self {
            rule: row.rule,
            in_app: row.in_app,
            updated_at: row.updated_at,
        }
    }
}

/// A new value of a preference.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewNotificationPreference)]
struct NewPreference {
    /// Whether you want to be notified in your inbox.
    in_app: bool,
}

/// Lists your preferences, in the order of object type and event type. If none matches, you are notified.
#[utoipa::path(
    get, path = "/notification-preferences", tag = "notifications",
    params(PageParams),
    responses(
        (status = 200, body = Page<Preference>),
        (status = 403, description = "An API key has no notifications"),
        (status = 404, description = "No such team"),
        (status = 422, description = "A parameter is invalid"),
    )
)]
async fn list_preferences(team: Team, Query(page): Query<PageParams>) -> Result<Json<Page<Preference>>> {
    let (limit, after) = (page.limit()?, page.after()?);
    let tx = team.read().await?;
    let rows = store::preferences(&tx, person(&tx)?, after, limit).await?;
    tx.commit().await?;
    let page = Page::of(rows, limit, |row| {
        let (event_type, object_type) = row.rule.columns();
        (object_type.to_owned(), event_type.to_owned())
    })?;
    Ok(Json(page.map(Preference::from)))
}

/// Sets whether something notifies you, from now on.
///
/// The most specific matching rule counts: first a rule with both types, then one with the object type, then one with
/// the event type. `*` as the event type means all but `MENTION`. A rule can only exclude notifications: it does not
/// make you a follower, and a muted thread never notifies you.
#[utoipa::path(
    put, path = "/notification-preferences/{event_type}/{object_type}", tag = "notifications",
    params(
        ("event_type" = String, Path,
            description = "`CREATED`, `UPDATED`, `DELETED`, `STATE_CHANGED`, `RESTORED`, `CUSTOM`, `COMMENT`, `MENTION`, or `*`"),
        ("object_type" = String, Path, description = "The object type, such as `campaign`, or `*`"),
    ),
    request_body = NewPreference,
    responses(
        (status = 200, body = Preference),
        (status = 403, description = "An API key has no notifications"),
        (status = 404, description = "No such team"),
        (status = 422, description = "No such event type or object type"),
    )
)]
async fn set_preference(
    team: Team,
    Path((event_type, object_type)): Path<(String, String)>,
    Json(body): Json<NewPreference>,
) -> Result<Json<Preference>> {
    let rule = Rule::parse(&event_type, object_type)?;
    let tx = team.begin_as(Role::Viewer).await?;
    let person = person(&tx)?;
    if let Some(object_type) = &rule.object_type {
        require_object_type(&tx, object_type).await?;
    }
    let row = store::set_preference(&tx, person, &rule, body.in_app).await?;
    tx.commit().await?;
    Ok(Json(row.into()))
}

/// Deletes one of your preferences. The next most specific one counts then.
#[utoipa::path(
    delete, path = "/notification-preferences/{event_type}/{object_type}", tag = "notifications",
    params(
        ("event_type" = String, Path, description = "As it was set"),
        ("object_type" = String, Path, description = "As it was set"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 403, description = "An API key has no notifications"),
        (status = 404, description = "No such team"),
    )
)]
async fn delete_preference(team: Team, Path((event_type, object_type)): Path<(String, String)>) -> Result<StatusCode> {
    let tx = team.begin_as(Role::Viewer).await?;
    store::delete_preference(&tx, person(&tx)?, &event_type, &object_type).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn person(tx: &TeamTx) -> Result<Uuid> {
    tx.context().person_id().ok_or_else(|| Error::Forbidden {
        detail: "an API key has no notifications and no preferences; use a person's token".to_owned(),
    })
}
