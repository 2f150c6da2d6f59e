//! Finds secrets and personal data in texts by their form.
//!
//! Regular expressions find the exact position. Before that, one pass over the bytes excludes the expressions that
//! can't match, which are all of them for nearly every text.

mod numbers;
mod patterns;
mod prefilter;

use percent_encoding::percent_decode_str;
use regex::Captures;
use serde_json::Number;

use self::numbers::{address, card_in, is_card};
use self::prefilter::Prefilter;
use super::{HashKey, REDACTED, Treatment, mask};

/// A kind of value that is recognised by its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detector {
    /// A private key in PEM.
    PrivateKey,
    /// The password in a URL: `postgres://ada:…@db/x`.
    UrlCredentials,
    /// `Bearer` and `Basic` credentials.
    BearerToken,
    /// A JSON Web Token, signed or not.
    Jwt,
    /// The value after the name of a secret and `=`, as in a URL within a text: `next=/login?token=…`. Also the value
    /// of a secret's name in a piece of JSON.
    SecretParameter,
    /// Daybook's own API keys and tickets. The prefix of a key is kept, since it identifies the key.
    DaybookKey,
    /// Keys of well-known services: AWS, GitHub, Google, Slack, Stripe and others.
    CloudKey,
    /// An e-mail address.
    Email,
    /// A payment card number: 13 to 19 digits, with the first digits of an issuer and a correct check digit (Luhn).
    Card,
    /// An IPv4 or IPv6 address.
    IpAddress,
}

impl Detector {
    /// All detectors, in the order in which they are applied.
    pub const ALL: [Self; 10] = [
        Self::PrivateKey,
        Self::UrlCredentials,
        Self::BearerToken,
        Self::Jwt,
        Self::SecretParameter,
        Self::DaybookKey,
        Self::CloudKey,
        Self::Email,
        Self::Card,
        Self::IpAddress,
    ];

    /// Returns whether it finds credentials. The other detectors find personal data.
    pub fn finds_credentials(self) -> bool {
        match self {
            Self::PrivateKey
            | Self::UrlCredentials
            | Self::BearerToken
            | Self::Jwt
            | Self::SecretParameter
            | Self::DaybookKey
            | Self::CloudKey => true,
            Self::Email | Self::Card | Self::IpAddress => false,
        }
    }

    /// Returns the default treatment: credentials are dropped, personal data is masked.
    pub(super) fn default_treatment(self) -> Treatment {
        match self.finds_credentials() {
            true => Treatment::Drop,
            false => Treatment::Mask,
        }
    }

    /// Returns its index in [`Detector::ALL`].
    const fn index(self) -> usize {
        self as usize
    }

    /// Confirms a match of the pattern with checks that a regular expression can't do.
    fn confirms(self, found: &str) -> bool {
        match self {
            Self::Card => card_in(found).is_some(),
            Self::IpAddress => address(found).is_some(),
            _ => true,
        }
    }

    fn mask(self, found: &str) -> String {
        match self {
            Self::Email => mask::email(&found.replace("%40", "@")),
            Self::Card => match card_in(found) {
                Some(card) => found.replacen(card, &mask::card(card), 1),
                None => REDACTED.to_owned(),
            },
            Self::IpAddress => address(found).map_or_else(|| REDACTED.to_owned(), |address| mask::ip(&address)),
            _ => mask::text(found),
        }
    }
}

/// The treatment for each detector; none for those that aren't used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Detectors([Option<Treatment>; Detector::ALL.len()]);

impl Detectors {
    pub(super) fn set(&mut self, detector: Detector, treatment: Option<Treatment>) {
        if let Some(current) = self.0.get_mut(detector.index()) {
            *current = treatment;
        }
    }

    fn treatment(&self, detector: Detector) -> Option<Treatment> {
        self.0.get(detector.index()).copied().flatten()
    }

    /// Returns `text` with all matches redacted, or none if nothing matched. Percent-encoded text is also checked in
    /// its decoded form.
    pub(super) fn redact(&self, text: &str, key: Option<&HashKey>) -> Option<String> {
        let mut redacted = self.redact_literal(text, key);
        // Decode twice: a URL within a URL is encoded twice.
        let mut current = None;
        for _ in 0..2 {
            let encoded = current.as_deref().or(redacted.as_deref()).unwrap_or(text);
            if !encoded.contains('%') {
                break;
            }
            let decoded = percent_decode_str(encoded).decode_utf8_lossy().into_owned();
            match self.redact_literal(&decoded, key) {
                Some(found) => {
                    redacted = Some(found);
                    current = None;
                }
                None => current = Some(decoded),
            }
        }
        redacted
    }

    fn redact_literal(&self, text: &str, key: Option<&HashKey>) -> Option<String> {
        let prefilter = Prefilter::scan(text);
        let mut redacted: Option<String> = None;
        for detector in Detector::ALL {
            let Some(treatment) = self.treatment(detector) else {
                continue;
            };
            if !prefilter.may_match(detector, text) {
                continue;
            }
            let current = redacted.as_deref().unwrap_or(text);
            let mut found = false;
            let replaced = detector.pattern().replace_all(current, |captures: &Captures<'_>| {
                let whole = captures.get(0).map_or("", |whole| whole.as_str());
                let begin = captures.get(0).map_or(0, |whole| whole.start());
                let group = captures.iter().skip(1).flatten().next();
                let Some(part) = group.filter(|part| detector.confirms(part.as_str())) else {
                    return whole.to_owned();
                };
                found = true;
                let new = match (treatment, key) {
                    (Treatment::Mask, _) => detector.mask(part.as_str()),
                    (Treatment::Hash, Some(key)) => key.hash(part.as_str().as_bytes()),
                    (Treatment::Drop, _) | (Treatment::Hash, None) => REDACTED.to_owned(),
                };
                let (before, after) = (part.start() - begin, part.end() - begin);
                let mut kept = whole.get(..before).unwrap_or_default().to_owned();
                kept.push_str(&new);
                kept.push_str(whole.get(after..).unwrap_or_default());
                kept
            });
            if found {
                redacted = Some(replaced.into_owned());
            }
        }
        redacted
    }

    /// Returns the treatment of a number that is a payment card number, else none.
    pub(super) fn of_number(&self, number: &Number) -> Option<Treatment> {
        let treatment = self.treatment(Detector::Card)?;
        let number = number.as_u64().filter(|number| *number >= 1_000_000_000_000)?;
        is_card(&number.to_string()).then_some(treatment)
    }
}

#[cfg(test)]
mod tests;
