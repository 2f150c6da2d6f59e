//! The queries. No query names the team: the transaction has entered it.

use daybook::prelude::*;

use crate::guest;

/// Returns the guests who have not left, in the order in which they came.
pub(crate) async fn list(tx: &TeamTx) -> Result<Vec<guest::Model>> {
    let present = guest::Column::DeletedAt.is_null();
    Ok(guest::Entity::find()
        .filter(present)
        .order_by_asc(guest::Column::Id)
        .all(tx)
        .await?)
}

/// Returns one guest.
pub(crate) async fn find(tx: &TeamTx, id: Uuid) -> Result<guest::Model> {
    let found = guest::Entity::find_by_id(id).one(tx).await?;
    found.ok_or_else(|| Error::not_found("guest"))
}
