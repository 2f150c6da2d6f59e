//! Rules for names: the same word in any spelling, also as the end of a longer one.

use super::Treatment;

/// All rules for names, found by a name's last letter, since almost no name ends like one of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Vec<(String, Treatment)>, LastLetters);

/// The last letters of all rules' names, as bits.
#[derive(Debug, Clone, Copy, Default)]
struct LastLetters(u128);

impl LastLetters {
    fn bit(letter: u8) -> u128 {
        1_u128.checked_shl(letter.to_ascii_lowercase().into()).unwrap_or(0)
    }
}

impl Names {
    pub(super) fn add(&mut self, name: &str, treatment: Treatment) {
        let letters: String = spelt(name.as_bytes()).rev().map(char::from).collect();
        if let Some(last) = letters.bytes().next() {
            self.1.0 |= LastLetters::bit(last);
            self.0.push((letters, treatment));
        }
    }

    /// The rule for a name that is the whole of a rule's.
    pub(super) fn whole(&self, name: &str) -> Option<Treatment> {
        let last = spelt(name.as_bytes()).next_back()?;
        if self.1.0 & LastLetters::bit(last) == 0 {
            return None;
        }
        let is = |reversed: &str| spelt(name.as_bytes()).rev().eq(reversed.bytes());
        self.0
            .iter()
            .rev()
            .find(|(reversed, _)| is(reversed))
            .map(|(_, treatment)| *treatment)
    }

    /// The rule for a field's name, if there is one.
    pub(super) fn rule(&self, name: &str) -> Option<Treatment> {
        let last = spelt(name.as_bytes()).next_back()?;
        if self.1.0 & LastLetters::bit(last) == 0 {
            return None;
        }
        let is = |reversed: &str| {
            let mut letters = spelt(name.as_bytes()).rev();
            reversed.bytes().all(|letter| letters.next() == Some(letter))
        };
        // The rule that was given last.
        self.0
            .iter()
            .rev()
            .find(|(reversed, _)| is(reversed))
            .map(|(_, treatment)| *treatment)
    }
}

/// A name's letters and digits, in lower case: `user[password]`, `pass-word` and `token_` are what they end with.
fn spelt(name: &[u8]) -> impl DoubleEndedIterator<Item = u8> {
    name.iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(u8::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_in_any_spelling_and_at_the_end_of_longer_ones() {
        let mut names = Names::default();
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
            assert_eq!(names.rule(name), Some(Treatment::Drop), "{name}");
        }
        assert_eq!(names.rule("refreshToken"), Some(Treatment::Hash));
        for name in ["", "key", "api_keys", "token_count", "é", "apikey2"] {
            assert_eq!(names.rule(name), None, "{name}");
        }
    }
}
