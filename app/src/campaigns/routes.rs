//! The routes of campaigns, below `/v1/teams/{team_id}`.

use std::collections::BTreeSet;

use super::campaign::{ActiveModel, Column, Model};
use super::fields::{Budget, Email, Name, ReasonText, present};
use super::{CampaignState, store};
use crate::prelude::*;

/// The maximum number of campaigns that one request may change.
const MAX_BULK: usize = 5_000;

/// Returns the routes of campaigns.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create, update_many))
        .routes(routes!(show, update, delete))
        .routes(routes!(transition))
}

/// Returns a campaign's version: the time of its last change.
fn version(campaign: &Model) -> Version {
    Version::at(campaign.updated_at)
}

/// A new campaign. Its state is `draft`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCampaign {
    #[schema(inline)]
    name: Name,
    #[schema(inline)]
    budget: Budget,
    /// The client's address. Events record that it changes, but not its value.
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

/// Creates a campaign.
#[utoipa::path(
    post, path = "/campaigns", operation_id = "create_campaign", tag = "campaigns", request_body = NewCampaign,
    responses(
        (status = 201, body = Model,
            headers(("Location", description = "its address"), ("ETag", description = "its version"))),
        (status = 422, description = "invalid fields"),
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

/// The filter of a list of campaigns.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only campaigns in this state.
    state: Option<CampaignState>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageParams,
}

/// Lists campaigns, newest first.
#[utoipa::path(
    get, path = "/campaigns", operation_id = "list_campaigns", tag = "campaigns", params(Filter, PageParams),
    responses(
        (status = 200, body = Page<Model>),
    )
)]
async fn list(team: Team, Query(filter): Query<Filter>) -> Result<impl IntoResponse> {
    let tx = team.read().await?;
    let page = store::page(&tx, filter.state, &filter.page).await?;
    tx.commit().await?;
    Ok(Json(page))
}

/// Gets a campaign.
#[utoipa::path(
    get, path = "/campaigns/{id}", operation_id = "show_campaign", tag = "campaigns", params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = Model, headers(("ETag", description = "its version"))),
    )
)]
async fn show(team: Team, Path(id): Path<Uuid>) -> Result<impl IntoResponse> {
    let tx = team.read().await?;
    let campaign = store::find(&tx, id).await?;
    tx.commit().await?;
    Ok((version(&campaign), Json(campaign)))
}

/// The fields to change. A field that is left out keeps its value; `client_email: null` removes the address.
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

/// Changes a campaign. A field that already has the value is not changed. Without a change, no event is recorded.
#[utoipa::path(
    patch, path = "/campaigns/{id}", operation_id = "update_campaign", tag = "campaigns",
    request_body = CampaignChanges,
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "the versions you have seen, weak (W/) or not, or *")),
    responses(
        (status = 200, body = Model, headers(("ETag", description = "its new version"))),
        (status = 412, description = "the campaign has changed since"),
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

/// A transition to another state.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Transition {
    /// The new state.
    state: CampaignState,
    #[schema(inline)]
    reason: Option<ReasonText>,
}

/// Changes a campaign's state: from draft to active; from active to paused or approved; from paused and approved back
/// to active; from each of these to done.
#[utoipa::path(
    post, path = "/campaigns/{id}/transition", operation_id = "transition_campaign", tag = "campaigns",
    request_body = Transition,
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "the versions you have seen, weak (W/) or not, or *")),
    responses(
        (status = 200, body = Model, headers(("ETag", description = "its new version"))),
        (status = 409, description = "`illegal-transition`"),
        (status = 412, description = "the campaign has changed since"),
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
        campaign
            .state
            .parse::<CampaignState>()?
            .require_transition_to(body.state)?;
        transition_model_with_event(tx, &campaign, Column::State, body.state.as_str(), reason).await
    };
    let campaign = team.write(write).await?;
    Ok((version(&campaign), Json(campaign)))
}

/// The reason for a deletion.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Deletion {
    #[param(value_type = Option<String>)]
    reason: Option<ReasonText>,
}

/// Deletes a campaign. Its thread and its events are kept.
#[utoipa::path(
    delete, path = "/campaigns/{id}", operation_id = "delete_campaign", tag = "campaigns",
    params(("id" = Uuid, Path), Deletion,
           ("If-Match" = String, Header, description = "the versions you have seen, weak (W/) or not, or *")),
    responses(
        (status = 204, description = "deleted"),
        (status = 412, description = "the campaign has changed since"),
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
    /// The campaigns' ids: 1 to 5000, all in this team.
    #[schema(min_items = 1, max_items = 5000)]
    ids: BTreeSet<Uuid>,
    changes: CampaignChanges,
}

impl BulkChanges {
    fn checked(self) -> Result<Self> {
        let ids = self.ids.len();
        if !(1..=MAX_BULK).contains(&ids) {
            return Err(Error::invalid("ids", format!("must be 1 to {MAX_BULK} ids, not {ids}")));
        }
        Ok(self)
    }
}

/// The result of a bulk change.
#[derive(Debug, Serialize, ToSchema)]
struct BulkUpdated {
    /// The number of campaigns, including those that already had the values and record no event.
    updated: usize,
}

/// Applies the same changes to many campaigns, to all or none. Their versions are not checked.
#[utoipa::path(
    patch, path = "/campaigns", operation_id = "update_campaigns", tag = "campaigns", request_body = BulkChanges,
    responses(
        (status = 200, body = BulkUpdated),
        (status = 404, description = "one of them is not in this team"),
    )
)]
async fn update_many(team: Team, Json(body): Json<BulkChanges>) -> Result<impl IntoResponse> {
    let BulkChanges { ids, changes } = body.checked()?;
    let updated = team
        .write(async |tx| store::update_many(tx, &ids, changes.clone().into_active_model()).await)
        .await?;
    Ok(Json(BulkUpdated { updated }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bulk_change_has_one_to_five_thousand_ids() {
        let sent = |ids: usize| {
            let ids: Vec<_> = (0..ids).map(|_| Uuid::now_v7()).collect();
            let body: BulkChanges = serde_json::from_value(json!({"ids": ids, "changes": {"name": "x"}})).unwrap();
            body.checked().map_err(|error| error.to_string())
        };
        assert_eq!(sent(1).unwrap().ids.len(), 1);
        assert_eq!(sent(5_000).unwrap().ids.len(), 5_000);
        assert_eq!(sent(0).unwrap_err(), "ids: must be 1 to 5000 ids, not 0");
        assert_eq!(sent(5_001).unwrap_err(), "ids: must be 1 to 5000 ids, not 5001");
    }
}
