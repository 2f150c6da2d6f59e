//! Redaction rules for names, which match any spelling of a name, and longer names that end with it.

use super::Treatment;

/// All rules for names. The set of their last letters is a fast pre-check, because almost no name matches a rule.
#[derive(Debug, Clone, Default)]
pub(super) struct NameRules(Vec<(String, Treatment)>, LastLetters);

/// The set of the last letters of all rules' names, as bits.
#[derive(Debug, Clone, Copy, Default)]
struct LastLetters(u128);

impl LastLetters {
    fn bit(letter: u8) -> u128 {
        1_u128.checked_shl(letter.to_ascii_lowercase().into()).unwrap_or(0)
    }
}

impl NameRules {
    pub(super) fn add(&mut self, name: &str, treatment: Treatment) {
        let letters: String = normalized(name.as_bytes()).rev().map(char::from).collect();
        if let Some(last) = letters.bytes().next() {
            self.1.0 |= LastLetters::bit(last);
            self.0.push((letters, treatment));
        }
    }

    /// Returns the treatment of the rule whose name is equal to `name`.
    pub(super) fn exact(&self, name: &str) -> Option<Treatment> {
        let last = normalized(name.as_bytes()).next_back()?;
        if self.1.0 & LastLetters::bit(last) == 0 {
            return None;
        }
        let is = |reversed: &str| normalized(name.as_bytes()).rev().eq(reversed.bytes());
        self.0
            .iter()
            .rev()
            .find(|(reversed, _)| is(reversed))
            .map(|(_, treatment)| *treatment)
    }

    /// Returns the treatment of the rule whose name is the end of `name`.
    pub(super) fn by_suffix(&self, name: &str) -> Option<Treatment> {
        let last = normalized(name.as_bytes()).next_back()?;
        if self.1.0 & LastLetters::bit(last) == 0 {
            return None;
        }
        let is = |reversed: &str| {
            let mut letters = normalized(name.as_bytes()).rev();
            reversed.bytes().all(|letter| letters.next() == Some(letter))
        };
        // The rule that was added last has priority.
        self.0
            .iter()
            .rev()
            .find(|(reversed, _)| is(reversed))
            .map(|(_, treatment)| *treatment)
    }
}

/// Returns a name's letters and digits in lower case, so that other characters don't hide a name: `user[password]`,
/// `pass-word`, `token_`.
fn normalized(name: &[u8]) -> impl DoubleEndedIterator<Item = u8> {
    name.iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(u8::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_in_any_spelling_and_at_the_end_of_longer_ones() {
        let mut names = NameRules::default();
        names.add("api_key", Treatment::Drop);
        names.add("token", Treatment::Hash);
        for name in [
            "api_key",
            "apiKey",
            "API-KEY",
            "X-Api-Key",
            "stripe_api_key",
            "api_key_",
            "form[api_key]",
            "api_key ",
        ] {
            assert_eq!(names.by_suffix(name), Some(Treatment::Drop), "{name}");
        }
        assert_eq!(names.by_suffix("refreshToken"), Some(Treatment::Hash));
        for name in ["", "key", "api_keys", "token_count", "é", "apikey2"] {
            assert_eq!(names.by_suffix(name), None, "{name}");
        }
    }
}
