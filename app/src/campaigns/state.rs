//! Where a campaign stands, and where it may go from there.

use crate::prelude::*;

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CampaignState)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Being written.
    Draft,
    /// Running.
    Active,
    /// Held.
    Paused,
    /// Running with the client's consent.
    Approved,
    /// Over; nothing follows.
    Done,
}

impl State {
    const ALL: [Self; 5] = [Self::Draft, Self::Active, Self::Paused, Self::Approved, Self::Done];

    /// As in the column `state`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Approved => "approved",
            Self::Done => "done",
        }
    }

    /// Refuses a move that isn't one of the legal ones.
    ///
    /// # Errors
    /// [`Error::Conflict`] with the code `illegal-transition`, which says what would be legal.
    pub fn require_move_to(self, next: Self) -> Result<()> {
        let legal = self.next();
        if legal.contains(&next) {
            return Ok(());
        }
        let legal: Vec<_> = legal.iter().map(|state| state.as_str()).collect();
        let instead = match legal.as_slice() {
            [] => "nothing follows it".to_owned(),
            legal => format!("what may follow is {}", legal.join(" or ")),
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

impl std::str::FromStr for State {
    type Err = Error;

    /// Reads the column; the table's own check leaves no other value in it.
    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| Error::internal(format!("a campaign's state is {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legal_moves_and_no_others() {
        let legal: Vec<_> = State::ALL
            .into_iter()
            .flat_map(|from| State::ALL.map(|to| (from, to)))
            .filter(|(from, to)| from.require_move_to(*to).is_ok())
            .map(|(from, to)| format!("{}→{}", from.as_str(), to.as_str()))
            .collect();
        let expected = "draft→active draft→done active→paused active→approved active→done \
                        paused→active paused→done approved→active approved→done";
        assert_eq!(legal.join(" "), expected);
    }

    #[test]
    fn a_refusal_says_what_would_be_legal() {
        let words = |from: State, to| from.require_move_to(to).unwrap_err().to_string();
        assert_eq!(
            words(State::Paused, State::Approved),
            "a campaign that is paused can't become approved: what may follow is active or done"
        );
        assert_eq!(
            words(State::Done, State::Draft),
            "a campaign that is done can't become draft: nothing follows it"
        );
    }
}
