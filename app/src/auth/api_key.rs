//! The API keys of teams: `dbk_<prefix>_<secret>`.

use std::fmt;

use rand::Rng;
use rand::distr::Alphanumeric;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The prefix of every key; secret scanners search for it.
const SCHEME: &str = "dbk_";
const PREFIX_CHARS: usize = 12;
/// Length of the secret part, in characters. 40 characters from an alphabet of 62 are 238 bits.
const SECRET_CHARS: usize = 40;
const MIN_SECRET_CHARS: usize = 32;
const MAX_SECRET_CHARS: usize = 128;

/// A team's API key in full. It exists in this form only when it is created and when it is presented.
///
/// The service stores only its [`prefix`](ApiKey::prefix), which finds and identifies it, and its
/// [`secret_sha256`](ApiKey::secret_sha256). A plain SHA-256 is enough, because the secret is random and too long to
/// guess. `{}` and `{:?}` show only the prefix.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    prefix: String,
    secret: String,
}

impl ApiKey {
    /// Generates a key, with a generator that is seeded by the operating system.
    pub fn generate() -> Self {
        let random = |chars| {
            rand::rng()
                .sample_iter(Alphanumeric)
                .take(chars)
                .map(char::from)
                .collect()
        };
        Self {
            prefix: random(PREFIX_CHARS),
            secret: random(SECRET_CHARS),
        }
    }

    /// Returns whether `credential` has the prefix of API keys, whether or not the rest is valid.
    pub fn looks_like(credential: &str) -> bool {
        credential.starts_with(SCHEME)
    }

    /// Parses `dbk_`, 12 letters or digits, `_`, and at least 32 letters or digits.
    ///
    /// # Errors
    ///
    /// [`Error::Unauthenticated`], with the same text for every defect.
    pub fn parse(credential: &str) -> Result<Self> {
        let parts = credential.strip_prefix(SCHEME).and_then(|rest| rest.split_once('_'));
        match parts {
            Some((prefix, secret))
                if prefix.len() == PREFIX_CHARS
                    && (MIN_SECRET_CHARS..=MAX_SECRET_CHARS).contains(&secret.len())
                    && prefix
                        .bytes()
                        .chain(secret.bytes())
                        .all(|byte| byte.is_ascii_alphanumeric()) =>
            {
                Ok(Self {
                    prefix: prefix.to_owned(),
                    secret: secret.to_owned(),
                })
            }
            _ => Err(Error::unauthenticated(
                "this is not a valid API key; the form is dbk_<12 characters>_<40 characters>",
            )),
        }
    }

    /// Returns the part that finds the key and identifies it in lists: 12 letters or digits.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the hash that is stored instead of the secret.
    pub fn secret_sha256(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }

    /// Returns the full key, to be shown once to the person who created it.
    pub fn reveal(&self) -> String {
        format!("{SCHEME}{}_{}", self.prefix, self.secret)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}_…", self.prefix)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revealed_key_parses_to_the_same_key() {
        let key = ApiKey::generate();
        let read = ApiKey::parse(&key.reveal()).unwrap();
        assert_eq!(read, key);
        assert_eq!(read.secret_sha256(), key.secret_sha256());
        assert_ne!(ApiKey::generate(), key);
    }

    #[test]
    fn printing_shows_the_prefix_only() {
        let key = ApiKey::generate();
        for text in [format!("{key}"), format!("{key:?}")] {
            assert!(text.contains(key.prefix()), "{text}");
            assert!(!text.contains(&key.secret), "{text}");
        }
    }

    #[test]
    fn malformed_keys_get_the_same_error() {
        let good = ApiKey::generate().reveal();
        let words = ApiKey::parse("dbk_").unwrap_err().to_string();
        let malformed = [
            &good[1..],
            &good[..good.len() - 10],
            &good.replacen('_', "-", 1),
            &format!("{good}!"),
            &format!("{good}_x"),
            &format!("{good}{}", "x".repeat(200)),
            "dbk_short_0123456789012345678901234567890123456789",
            "dbk_äöüäöü_0123456789012345678901234567890123456789",
            "dbk_",
        ];
        for key in malformed {
            assert_eq!(ApiKey::parse(key).unwrap_err().to_string(), words, "{key}");
        }
    }
}
