//! The queries. The team is the transaction's: no query names it.

use daybook::prelude::*;

use crate::guest;

/// Who is there, in the order in which they came.
pub(crate) async fn there(tx: &TeamTx) -> Result<Vec<guest::Model>> {
    let there = guest::Column::DeletedAt.is_null();
    Ok(guest::Entity::find()
        .filter(there)
        .order_by_asc(guest::Column::Id)
        .all(tx)
        .await?)
}

/// One guest.
pub(crate) async fn find(tx: &TeamTx, id: Uuid) -> Result<guest::Model> {
    let found = guest::Entity::find_by_id(id).one(tx).await?;
    found.ok_or_else(|| Error::not_found("guest"))
}
