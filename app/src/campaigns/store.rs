//! The queries. The team is the transaction's: no query names it.

use std::collections::BTreeSet;

use daybook_entity::campaign;

use super::State;
use crate::prelude::*;

/// A page of campaigns, newest first.
pub(super) async fn page(tx: &TeamTx, state: Option<State>, page: &PageParams) -> Result<Page<campaign::Model>> {
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

/// One campaign.
pub(super) async fn find(tx: &TeamTx, id: Uuid) -> Result<campaign::Model> {
    let found = campaign::Entity::find_by_id(id).one(tx).await?;
    found.ok_or_else(|| Error::not_found("campaign"))
}

/// One campaign, which nobody else can change until the transaction ends.
pub(super) async fn lock(tx: &TeamTx, id: Uuid) -> Result<campaign::Model> {
    let found = campaign::Entity::find_by_id(id).lock_exclusive().one(tx).await?;
    found.ok_or_else(|| Error::not_found("campaign"))
}

/// Changes all of these campaigns in the same way and says how many there are; one that isn't there fails all.
pub(super) async fn update_many(tx: &TeamTx, ids: &BTreeSet<Uuid>, changes: campaign::ActiveModel) -> Result<usize> {
    let select = campaign::Entity::find().filter(campaign::Column::Id.eq_any(ids.iter().copied()));
    let campaigns = update_models_with_events(tx, select, changes, Track::All).await?;
    if campaigns.len() < ids.len() {
        return Err(Error::not_found("campaign"));
    }
    Ok(campaigns.len())
}
