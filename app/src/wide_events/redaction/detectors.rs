//! What looks like something that must not leave, wherever in a text it stands.
//!
//! Regular expressions say exactly where it is; one pass over the bytes says first that none of them needs to look,
//! which is so for nearly every text.

mod look;
mod numbers;
mod patterns;

use percent_encoding::percent_decode_str;
use regex::Captures;
use serde_json::Number;

use self::look::Look;
use self::numbers::{address, card_in, is_card};
use super::{HashKey, REDACTED, Treatment, mask};

/// Something that is recognised by its look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detector {
    /// A private key in PEM.
    PrivateKey,
    /// The password in an address: `postgres://ada:…@db/x`.
    UrlCredentials,
    /// `Bearer` and `Basic` credentials.
    BearerToken,
    /// A JSON Web Token, signed or not.
    Jwt,
    /// What follows the name of a secret and `=`, as in an address within a text: `next=/login?token=…`; and what follows
    /// it in a piece of JSON.
    SecretParameter,
    /// Daybook's own API keys and tickets. A key's prefix, which names it, is left.
    DaybookKey,
    /// Keys of well-known services: AWS, GitHub, Google, Slack, Stripe and others.
    CloudKey,
    /// An e-mail address.
    Email,
    /// A payment card's number: an issuer's first digits, 13 to 19 of them, and the check digit (Luhn) right.
    Card,
    /// An IPv4 or IPv6 address.
    IpAddress,
}

impl Detector {
    /// Every one, in the order in which they look.
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

    /// Whether it finds what opens a door, as opposed to what tells who somebody is.
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

    /// Credentials are dropped, the others masked.
    pub(super) fn usual_treatment(self) -> Treatment {
        match self.finds_credentials() {
            true => Treatment::Drop,
            false => Treatment::Mask,
        }
    }

    /// Its place in [`Detector::ALL`].
    const fn place(self) -> usize {
        self as usize
    }

    /// Whether a match is one indeed.
    fn is(self, found: &str) -> bool {
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

/// What is looked for, and what happens to it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Detectors([Option<Treatment>; Detector::ALL.len()]);

impl Detectors {
    pub(super) fn set(&mut self, detector: Detector, treatment: Option<Treatment>) {
        if let Some(place) = self.0.get_mut(detector.place()) {
            *place = treatment;
        }
    }

    fn treatment(&self, detector: Detector) -> Option<Treatment> {
        self.0.get(detector.place()).copied().flatten()
    }

    /// `text` without what was found in it; none if nothing was. What is percent-encoded is looked at decoded, too.
    pub(super) fn redact(&self, text: &str, key: Option<&HashKey>) -> Option<String> {
        let mut redacted = self.redact_as_it_is(text, key);
        // Twice: an address within an address is encoded twice.
        let mut current = None;
        for _ in 0..2 {
            let encoded = current.as_deref().or(redacted.as_deref()).unwrap_or(text);
            if !encoded.contains('%') {
                break;
            }
            let decoded = percent_decode_str(encoded).decode_utf8_lossy().into_owned();
            match self.redact_as_it_is(&decoded, key) {
                Some(found) => {
                    redacted = Some(found);
                    current = None;
                }
                None => current = Some(decoded),
            }
        }
        redacted
    }

    fn redact_as_it_is(&self, text: &str, key: Option<&HashKey>) -> Option<String> {
        let look = Look::at(text);
        let mut redacted: Option<String> = None;
        for detector in Detector::ALL {
            let Some(treatment) = self.treatment(detector) else {
                continue;
            };
            if !look.may_be(detector, text) {
                continue;
            }
            let now = redacted.as_deref().unwrap_or(text);
            let mut found = false;
            let replaced = detector.pattern().replace_all(now, |captures: &Captures<'_>| {
                let whole = captures.get(0).map_or("", |whole| whole.as_str());
                let begin = captures.get(0).map_or(0, |whole| whole.start());
                let group = captures.iter().skip(1).flatten().next();
                let Some(part) = group.filter(|part| detector.is(part.as_str())) else {
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

    /// What happens to a number that is a card's.
    pub(super) fn of_number(&self, number: &Number) -> Option<Treatment> {
        let treatment = self.treatment(Detector::Card)?;
        let number = number.as_u64().filter(|number| *number >= 1_000_000_000_000)?;
        is_card(&number.to_string()).then_some(treatment)
    }
}

#[cfg(test)]
mod tests;
