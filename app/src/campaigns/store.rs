//! The queries of campaigns. The transaction limits them to its team, so no query names a team.

use std::collections::BTreeSet;

use super::{CampaignState, campaign};
use crate::prelude::*;

/// Returns a page of campaigns, newest first.
pub(super) async fn page(
    tx: &TeamTx,
    state: Option<CampaignState>,
    page: &PageParams,
) -> Result<Page<campaign::Model>> {
    use campaign::Column as C;
    let limit = page.limit()?;
    let mut query = campaign::Entity::find().order_by_desc(C::Id).limit(limit + 1);
    if let Some(state) = state {
        query = query.filter(C::State.eq(state.as_str()));
    }
    if let Some(last) = page.after::<Uuid>()? {
        query = query.filter(C::Id.lt(last));
    }
    Page::of(query.all(tx).await?, limit, |campaign| campaign.id)
}

/// Returns one campaign.
pub(super) async fn find(tx: &TeamTx, id: Uuid) -> Result<campaign::Model> {
    let found = campaign::Entity::find_by_id(id).one(tx).await?;
    found.ok_or_else(|| Error::not_found("campaign"))
}

/// Returns one campaign and locks it until the end of the transaction.
pub(super) async fn lock(tx: &TeamTx, id: Uuid) -> Result<campaign::Model> {
    let found = campaign::Entity::find_by_id(id).lock_exclusive().one(tx).await?;
    found.ok_or_else(|| Error::not_found("campaign"))
}

/// Applies the same changes to all given campaigns, and returns their number. Fails if one of them does not exist.
pub(super) async fn update_many(tx: &TeamTx, ids: &BTreeSet<Uuid>, changes: campaign::ActiveModel) -> Result<usize> {
    let select = campaign::Entity::find().filter(campaign::Column::Id.eq_any(ids.iter().copied()));
    let campaigns = update_models_with_events(tx, select, changes, Track::All).await?;
    if campaigns.len() < ids.len() {
        return Err(Error::not_found("campaign"));
    }
    Ok(campaigns.len())
}
