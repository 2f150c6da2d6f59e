//! The people who have caused what is notified.

use uuid::Uuid;

use crate::tenancy::Context;

/// Returns the people who are not notified: the actor, and the person on whose behalf the actor acts.
pub(super) fn initiators(context: &Context) -> Vec<Uuid> {
    context
        .on_behalf_of
        .iter()
        .map(|person| person.id)
        .chain(context.actor.user_id())
        .collect()
}
