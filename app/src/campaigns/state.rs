//! The states of a campaign, and the allowed transitions.

use strum::{EnumString, IntoStaticStr};

use crate::prelude::*;

/// The state of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr, ToSchema)]
#[cfg_attr(test, derive(strum::VariantArray))]
#[schema(as = CampaignState)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = Error, parse_err_fn = unknown_state)]
pub enum CampaignState {
    /// In preparation.
    Draft,
    /// Running.
    Active,
    /// Stopped for a time.
    Paused,
    /// Running with the client's consent.
    Approved,
    /// Finished. No transition leads out of this state.
    Done,
}

impl CampaignState {
    /// Returns the value of the column `state`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Checks that a transition to `next` is allowed.
    ///
    /// # Errors
    /// [`Error::Conflict`] with the code `illegal-transition`, which names the allowed states.
    pub fn require_transition_to(self, next: Self) -> Result<()> {
        let allowed = self.next();
        if allowed.contains(&next) {
            return Ok(());
        }
        let allowed: Vec<_> = allowed.iter().map(|state| state.as_str()).collect();
        let instead = match allowed.as_slice() {
            [] => "no other state is allowed".to_owned(),
            allowed => format!("it can become {}", allowed.join(" or ")),
        };
        let (from, to) = (self.as_str(), next.as_str());
        Err(Error::conflict(
            "illegal-transition",
            format!("a campaign that is {from} can't become {to}: {instead}"),
        ))
    }

    fn next(self) -> &'static [Self] {
        match self {
            Self::Draft => &[Self::Active, Self::Done],
            Self::Active => &[Self::Paused, Self::Approved, Self::Done],
            Self::Paused | Self::Approved => &[Self::Active, Self::Done],
            Self::Done => &[],
        }
    }
}

/// Returns the error for a value of the column that is not a state. The table's check allows no such value.
fn unknown_state(text: &str) -> Error {
    Error::internal(format!("a campaign has the unknown state {text:?}"))
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    #[test]
    fn only_the_listed_transitions_are_allowed() {
        let all = CampaignState::VARIANTS;
        let allowed: Vec<_> = all
            .iter()
            .flat_map(|from| all.iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.require_transition_to(**to).is_ok())
            .map(|(from, to)| format!("{}→{}", from.as_str(), to.as_str()))
            .collect();
        let expected = "draft→active draft→done active→paused active→approved active→done \
                        paused→active paused→done approved→active approved→done";
        assert_eq!(allowed.join(" "), expected);
    }

    #[test]
    fn the_error_names_the_allowed_states() {
        let error = |from: CampaignState, to| from.require_transition_to(to).unwrap_err().to_string();
        assert_eq!(
            error(CampaignState::Paused, CampaignState::Approved),
            "a campaign that is paused can't become approved: it can become active or done"
        );
        assert_eq!(
            error(CampaignState::Done, CampaignState::Draft),
            "a campaign that is done can't become draft: no other state is allowed"
        );
    }
}
