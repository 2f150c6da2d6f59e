//! Keyed hashes of values. Equal values have equal hashes, and without the key nobody can test a guessed value.

use std::fmt;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Minimum length of a key: the requirement of NIST SP 800-107 for HMAC keys at this strength.
const MIN_KEY_BYTES: usize = 16;
/// Length to which a hash is truncated. It is enough to avoid collisions.
const HASH_BYTES: usize = 16;

/// A key for [`Treatment::Hash`](super::Treatment::Hash). Its id is in every hash, so that keys can be rotated.
#[derive(Clone)]
pub struct HashKey {
    id: String,
    keyed: Hmac<Sha256>,
}

/// The error for a key that is too short, or an id with other characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadHashKey(&'static str);

impl HashKey {
    /// Creates a key of at least 16 bytes. Its `id` has only letters, digits, `-`, `_` and dots.
    ///
    /// # Errors
    /// [`BadHashKey`] with a message about the wrong argument.
    pub fn new(id: impl Into<String>, key: &[u8]) -> Result<Self, BadHashKey> {
        let id = id.into();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if id.is_empty() || !id.bytes().all(is_allowed) {
            return Err(BadHashKey(
                "the key's id must have only letters, digits, '-', '_' and dots",
            ));
        }
        if key.len() < MIN_KEY_BYTES {
            return Err(BadHashKey("the key must be at least 16 bytes long"));
        }
        let keyed = Hmac::new_from_slice(key).map_err(|_| BadHashKey("the key can't be used"))?;
        Ok(Self { id, keyed })
    }

    pub(super) fn hash(&self, value: &[u8]) -> String {
        let mut mac = self.keyed.clone();
        mac.update(value);
        let bytes = mac.finalize().into_bytes();
        let mut hash = format!("hmac-sha256:{}:", self.id);
        for byte in bytes.iter().take(HASH_BYTES) {
            hash.push_str(&format!("{byte:02x}"));
        }
        hash
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_first_half_of_hmac_sha256() {
        // RFC 4231, test case 1: a key of 20 bytes 0x0b. (The key of case 2 has only 4 bytes.)
        let key = HashKey::new("2026-11", &[0x0b; 20]).unwrap();
        assert_eq!(
            key.hash(b"Hi There"),
            "hmac-sha256:2026-11:b0344c61d8db38535ca8afceaf0bf12b"
        );
        assert_ne!(
            key.hash(b"Hi There"),
            HashKey::new("2026-11", &[0x0c; 20]).unwrap().hash(b"Hi There")
        );
    }

    #[test]
    fn weak_keys_are_refused_and_keys_are_not_printed() {
        assert!(HashKey::new("a", b"short").is_err());
        assert!(HashKey::new("a b", &[1; 32]).is_err());
        let key = HashKey::new("a", b"hunter2-hunter2-hunter2").unwrap();
        assert!(!format!("{key:?}").contains("104"), "{key:?}");
        assert_eq!(format!("{key:?}"), r#"HashKey { id: "a", .. }"#);
    }
}
