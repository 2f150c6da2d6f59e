//! Checks the object type of a rule or a watch.

use super::store;
use crate::error::{Error, Result};
use crate::events::EventsParts;
use crate::tenancy::TeamTx;

/// Rejects an unknown object type: a rule or a watch with a misspelt name would never have an effect.
///
/// The known types are those of the program's models, and those of which the team has a thread. A type with a thread
/// may belong to a model that the program no longer has, or that was not registered.
///
/// # Errors
/// [`Error::Invalid`] for `object_type`, with the program's types.
pub async fn require_object_type(tx: &TeamTx, object_type: &str) -> Result<()> {
    if !is_object_type(object_type) {
        return Err(Error::invalid(
            "object_type",
            "must be 1 to 63 of a-z, 0-9 or '_', beginning with a letter",
        ));
    }
    let known: Vec<_> = EventsParts::of_tx(tx)?.sentences.object_types().collect();
    if known.contains(&object_type) || store::has_thread_of(tx, object_type).await? {
        return Ok(());
    }
    let known = match known.as_slice() {
        [] => "this program has no models".to_owned(),
        known => format!("the known types are: {}", known.join(", ")),
    };
    Err(Error::invalid(
        "object_type",
        format!("{object_type:?} is not a known object type; {known}"),
    ))
}

/// Returns whether a text has the form of an object type, as in the columns' checks.
fn is_object_type(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
