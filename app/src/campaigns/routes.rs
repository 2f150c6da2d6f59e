//! Campaigns over HTTP, under `/v1/teams/{team_id}`.

use std::collections::BTreeSet;

use daybook_entity::campaign::{ActiveModel, Column, Model};

use super::fields::{Budget, Email, Name, Reason, present};
use super::{State, store};
use crate::prelude::*;

/// How many campaigns one request may change.
const MAX_BULK: usize = 5_000;

/// The routes of this slice.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create, update_many))
        .routes(routes!(show, update, delete))
        .routes(routes!(transition))
}

/// A campaign's version: the moment of its last change.
fn version(campaign: &Model) -> Version {
    Version::at(campaign.updated_at)
}

/// A campaign to be made; it begins as a draft.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCampaign {
    #[schema(inline)]
    name: Name,
    #[schema(inline)]
    budget: Budget,
    /// Whom it is for. That it changes is recorded, its value never.
    #[schema(inline)]
    client_email: Option<Email>,
}

impl IntoActiveModel<ActiveModel> for NewCampaign {
    fn into_active_model(self) -> ActiveModel {
        ActiveModel {
            name: Set(self.name.0),
            budget: Set(self.budget.0),
            client_email: Set(self.client_email.map(|email| email.0)),
            ..Default::default()
        }
    }
}

/// Makes a campaign.
#[utoipa::path(
    post, path = "/campaigns", operation_id = "create_campaign", tag = "campaigns", request_body = NewCampaign,
    responses(
        (status = 201, body = Model,
            headers(("Location", description = "its address"), ("ETag", description = "its version"))),
        (status = 422, body = Problem, content_type = "application/problem+json",
            description = "what is wrong, by field"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn create(team: Team, Json(body): Json<NewCampaign>) -> Result<impl IntoResponse> {
    let tx = team.begin().await?;
    let campaign = create_model_with_event(&tx, body.into_active_model(), Track::All).await?;
    tx.commit().await?;

    let location = format!("/v1/teams/{}/campaigns/{}", team.id(), campaign.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        version(&campaign),
        Json(campaign),
    ))
}

/// Which campaigns to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only those in this state.
    state: Option<State>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageParams,
}

/// Lists campaigns, newest first.
#[utoipa::path(
    get, path = "/campaigns", operation_id = "list_campaigns", tag = "campaigns", params(Filter, PageParams),
    responses(
        (status = 200, body = Page<Model>),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn list(team: Team, Query(filter): Query<Filter>) -> Result<impl IntoResponse> {
    let tx = team.read().await?;
    let page = store::page(&tx, filter.state, &filter.page).await?;
    tx.commit().await?;
    Ok(Json(page))
}

/// Shows a campaign.
#[utoipa::path(
    get, path = "/campaigns/{id}", operation_id = "show_campaign", tag = "campaigns", params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = Model, headers(("ETag", description = "its version"))),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn show(team: Team, Path(id): Path<Uuid>) -> Result<impl IntoResponse> {
    let tx = team.read().await?;
    let campaign = store::find(&tx, id).await?;
    tx.commit().await?;
    Ok((version(&campaign), Json(campaign)))
}

/// What to change: a field that is left out stays; `client_email: null` takes the address away.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CampaignChanges {
    #[serde(default, deserialize_with = "present")]
    #[schema(inline, nullable = false)]
    name: Option<Name>,
    #[serde(default, deserialize_with = "present")]
    #[schema(inline, nullable = false)]
    budget: Option<Budget>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    client_email: Option<Option<Email>>,
}

impl IntoActiveModel<ActiveModel> for CampaignChanges {
    fn into_active_model(self) -> ActiveModel {
        ActiveModel {
            name: self.name.map_or(NotSet, |name| Set(name.0)),
            budget: self.budget.map_or(NotSet, |budget| Set(budget.0)),
            client_email: self
                .client_email
                .map_or(NotSet, |email| Set(email.map(|email| email.0))),
            ..Default::default()
        }
    }
}

/// Changes a campaign. What doesn't differ is no change, and records nothing.
#[utoipa::path(
    patch, path = "/campaigns/{id}", operation_id = "update_campaign", tag = "campaigns",
    request_body = CampaignChanges,
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "the versions you have seen, weak (W/) or not, or *")),
    responses(
        (status = 200, body = Model, headers(("ETag", description = "its new version"))),
        (status = 412, body = Problem, content_type = "application/problem+json",
            description = "somebody else has changed it"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn update(
    team: Team,
    Path(id): Path<Uuid>,
    if_match: IfMatch,
    Json(changes): Json<CampaignChanges>,
) -> Result<impl IntoResponse> {
    let write = async |tx: &TeamTx| {
        let campaign = store::lock(tx, id).await?;
        if_match.check(&version(&campaign))?;
        update_model_with_event(tx, &campaign, changes.clone().into_active_model(), Track::All).await
    };
    let campaign = team.write(write).await?;
    Ok((version(&campaign), Json(campaign)))
}

/// A move to another state.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Transition {
    /// Where to.
    state: State,
    #[schema(inline)]
    reason: Option<Reason>,
}

/// Moves a campaign to another state: draft to active; active to paused or approved; paused and approved back
/// to active; all of them to done.
#[utoipa::path(
    post, path = "/campaigns/{id}/transition", operation_id = "transition_campaign", tag = "campaigns",
    request_body = Transition,
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "the versions you have seen, weak (W/) or not, or *")),
    responses(
        (status = 200, body = Model, headers(("ETag", description = "its new version"))),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`illegal-transition`"),
        (status = 412, body = Problem, content_type = "application/problem+json",
            description = "somebody else has changed it"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn transition(
    team: Team,
    Path(id): Path<Uuid>,
    if_match: IfMatch,
    Json(body): Json<Transition>,
) -> Result<impl IntoResponse> {
    let reason = body.reason.as_ref().map(|reason| reason.0.as_str());
    let write = async |tx: &TeamTx| {
        let campaign = store::lock(tx, id).await?;
        if_match.check(&version(&campaign))?;
        campaign.state.parse::<State>()?.require_move_to(body.state)?;
        transition_model_with_event(tx, &campaign, Column::State, body.state.as_str(), reason).await
    };
    let campaign = team.write(write).await?;
    Ok((version(&campaign), Json(campaign)))
}

/// Why a campaign goes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Deletion {
    #[param(value_type = Option<String>)]
    reason: Option<Reason>,
}

/// Deletes a campaign; its thread and its events stay.
#[utoipa::path(
    delete, path = "/campaigns/{id}", operation_id = "delete_campaign", tag = "campaigns",
    params(("id" = Uuid, Path), Deletion,
           ("If-Match" = String, Header, description = "the versions you have seen, weak (W/) or not, or *")),
    responses(
        (status = 204, description = "it is gone"),
        (status = 412, body = Problem, content_type = "application/problem+json",
            description = "somebody else has changed it"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn delete(
    team: Team,
    Path(id): Path<Uuid>,
    if_match: IfMatch,
    Query(deletion): Query<Deletion>,
) -> Result<StatusCode> {
    let reason = deletion.reason.as_ref().map(|reason| reason.0.as_str());
    let write = async |tx: &TeamTx| {
        let campaign = store::lock(tx, id).await?;
        if_match.check(&version(&campaign))?;
        delete_model_with_event(tx, campaign, reason).await
    };
    team.write(write).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The same changes for many campaigns.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BulkChanges {
    /// Which ones: 1 to 5000, all in this team.
    #[schema(min_items = 1, max_items = 5000)]
    ids: BTreeSet<Uuid>,
    changes: CampaignChanges,
}

/// What many changes came to.
#[derive(Debug, Serialize, ToSchema)]
struct BulkUpdated {
    /// How many campaigns there are with the values asked for; those that had them before record no event.
    updated: usize,
}

/// Changes many campaigns in the same way, all or none, whatever their versions.
#[utoipa::path(
    patch, path = "/campaigns", operation_id = "update_campaigns", tag = "campaigns", request_body = BulkChanges,
    responses(
        (status = 200, body = BulkUpdated),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "one of them is not in this team"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn update_many(team: Team, Json(body): Json<BulkChanges>) -> Result<impl IntoResponse> {
    let BulkChanges { ids, changes } = body;
    if !(1..=MAX_BULK).contains(&ids.len()) {
        return Err(Error::invalid(
            "ids",
            format!("must be 1 to {MAX_BULK} ids, and are {}", ids.len()),
        ));
    }
    let updated = team
        .write(async |tx| store::update_many(tx, &ids, changes.clone().into_active_model()).await)
        .await?;
    Ok(Json(BulkUpdated { updated }))
}
