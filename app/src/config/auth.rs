//! The settings of authentication: which tokens are accepted.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::settings::{Secret, Settings};

/// Minimum length of an HS256 secret, in bytes. A shorter one can be guessed from one token (RFC 7518 §3.2).
pub(crate) const MIN_SECRET_BYTES: usize = 32;

/// Minimum length of an RSA key in PKCS#1 DER, in bytes: that of a 2048-bit key (RFC 7518 §3.3) with the shortest
/// exponent.
const MIN_RSA_DER_BYTES: usize = 268;

/// The settings of authentication.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuthConfig {
    /// The key that verifies JWTs. None: only API keys are accepted.
    pub key: Option<JwtKey>,
    /// The `iss` that tokens must have.
    pub issuer: String,
    /// The `aud` that tokens must have. None: a token with an audience is refused, because it is meant for another
    /// service.
    pub audience: Option<String>,
}

impl AuthConfig {
    /// Creates settings with a key and the `iss` that tokens must have, for tokens without an audience.
    pub fn new(key: Option<JwtKey>, issuer: impl Into<String>) -> Self {
        Self {
            key,
            issuer: issuer.into(),
            audience: None,
        }
    }
}

/// The key that verifies JWTs. It determines the algorithm, so that a token can't choose another one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum JwtKey {
    /// HS256. A program that knows the secret can create tokens, as `daybook token` does.
    Secret(Secret),
    /// RS256 or ES256. An identity provider creates the tokens.
    Public(PublicKey),
}

/// A public key that has been read and checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PublicKey {
    /// The key, as PEM.
    pub pem: String,
    /// The algorithm that it verifies, determined by the kind of key.
    pub algorithm: PublicKeyAlgorithm,
}

/// The algorithm that a public key verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKeyAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256; RSA keys of at least 2048 bits.
    Rs256,
    /// ECDSA with SHA-256; keys on the curve P-256.
    Es256,
}

impl AuthConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        settings.group("Authentication");
        let secret = settings
            .setting("DAYBOOK_JWT_SECRET", "HS256: the secret that signs tokens.")
            .default("with the private database, the file `jwt.secret` in the data folder")
            .credential(&format!("at least {MIN_SECRET_BYTES} bytes long"), hs256_secret);
        let public = settings
            .setting(
                "DAYBOOK_JWT_PUBLIC_KEY",
                "RS256 or ES256: the public key that verifies tokens.",
            )
            .secret("PEM, or the path of a PEM file", |value| {
                PublicKey::from_pem(&pem_text(value)?)
            });
        if secret.is_some() && public.is_some() {
            settings.refuse(
                "DAYBOOK_JWT_SECRET",
                "and DAYBOOK_JWT_PUBLIC_KEY are both set: set only one of them",
            );
        }
        let issuer = settings
            .setting("DAYBOOK_JWT_ISSUER", "The `iss` that tokens must have.")
            .text_or("daybook", "any text");
        let audience = settings
            .setting(
                "DAYBOOK_JWT_AUDIENCE",
                "The `aud` that tokens must have; without it, tokens with an audience are refused.",
            )
            .text("any text");
        Self {
            key: secret.map(JwtKey::Secret).or(public.map(JwtKey::Public)),
            issuer,
            audience,
        }
    }
}

impl PublicKey {
    /// Reads a public key in PEM: `PUBLIC KEY` (RSA or P-256) or `RSA PUBLIC KEY`.
    ///
    /// # Errors
    ///
    /// A message about what would be valid, as a predicate for the setting's name. It contains nothing of the key.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        // A private key could verify, too. It is refused because it should not be on this machine.
        if pem.contains("PRIVATE KEY") {
            return Err(
                "must be a public key, but is a private key; `openssl pkey -pubout` prints its public key".to_owned(),
            );
        }
        let invalid = || "must be a PEM public key: RSA of at least 2048 bits, or elliptic-curve on P-256".to_owned();
        if !pem.contains("PUBLIC KEY-----") {
            return Err(invalid());
        }
        let algorithm = if let Ok(key) = DecodingKey::from_ec_pem(pem.as_bytes()) {
            is_on_p256(&key).then_some(PublicKeyAlgorithm::Es256)
        } else if let Ok(key) = DecodingKey::from_rsa_pem(pem.as_bytes()) {
            key.try_get_as_bytes()
                .is_ok_and(|der| der.len() >= MIN_RSA_DER_BYTES)
                .then_some(PublicKeyAlgorithm::Rs256)
        } else {
            None
        };
        Ok(Self {
            pem: pem.to_owned(),
            algorithm: algorithm.ok_or_else(invalid)?,
        })
    }
}

/// Returns whether an elliptic-curve key is on P-256. The library checks the curve only when it verifies a token.
/// Therefore this function verifies a token with a meaningless signature. Only a key on P-256 reports an invalid
/// signature.
fn is_on_p256(key: &DecodingKey) -> bool {
    let unsigned = "eyJhbGciOiJFUzI1NiJ9.e30.AAAA";
    let verdict = jsonwebtoken::decode::<serde_json::Value>(unsigned, key, &Validation::new(Algorithm::ES256));
    verdict.is_err_and(|error| matches!(error.kind(), ErrorKind::InvalidSignature))
}

fn hs256_secret(value: &str) -> Result<Secret, String> {
    if value.len() < MIN_SECRET_BYTES {
        return Err(format!(
            "must be at least {MIN_SECRET_BYTES} bytes long, but has {}; `openssl rand -base64 48` creates a good one",
            value.len()
        ));
    }
    Ok(Secret::new(value))
}

/// Returns the PEM that a setting contains, or reads the file that it names. A `\n` in the value is read as a line
/// break, because some tools can't keep line breaks in a variable.
fn pem_text(value: &str) -> Result<String, String> {
    if value.contains("-----BEGIN") {
        return Ok(value.replace("\\n", "\n"));
    }
    std::fs::read_to_string(value.trim())
        .map_err(|error| format!("must be PEM, or the path of a PEM file; it could not be read as a file ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::BadSettings;

    fn read(pairs: &[(&str, &str)]) -> Result<AuthConfig, BadSettings> {
        let lookup = |name: &str| pairs.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned());
        let mut settings = Settings::new(&lookup);
        let config = AuthConfig::read(&mut settings);
        settings.finish(config)
    }

    // Created with `openssl genpkey … | openssl pkey -pubout`; the private keys were deleted.
    const P256: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECglIDRfqUXVFeC+topjzVjcB2+Hd
H15vwT7tv/cMt0oROs+v88ii+0O9tuODp0ZNQdvyQIfeVeFtNzWxabh+PQ==
-----END PUBLIC KEY-----
";
    const P384: &str = "\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEGDA3UInbOnttPi/lv3SoBnq6mVBPtWv6
LRrQ37cfIVYPVjmRd0XYPnUDOxTslvRrDH6nwLcHvqYHhwFMS2rAsnj0Zm0kfGBh
pcU5rXx5ENIEPQ35dn1zWX9R1jnpPyHL
-----END PUBLIC KEY-----
";
    const K256: &str = "\
-----BEGIN PUBLIC KEY-----
MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEe9quFq7iCC7kxc0e008csbNm/2Hbc50+
7Eaipcu0MygDPGQut9UCVIoDTWbXI9qJIECcDL0tDLyUA9wMhSN0DA==
-----END PUBLIC KEY-----
";
    const RSA_2048: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAn9yvuOa5GtVph5y5W8dB
tJWNgZ9YafbI2uNURIt5mLcG3wFqoKR2iVl8KjJJEBGGOW60i/bsBbHejIOv27pg
TW+8w5R8CHuNiky3GRzUgcbYtpPi3G2gix5kQ/4+zTPtYO3T11DN51/ESg/E+Uob
qPm42kbIWmvMVu1/zdzCbOPiCKe6ANqMxefvhhyI4GiJqD81FzDWT+AGwR/tTUAi
z6LyxDIA1diKalCZ8qdXqz3e6DV2RvVcheD3Sh5NmXMmdnpTfBTzS40jsNdSiywO
SetjqdLTLAE/V8FUfBNktYAioqYjBpYFDKowOgPwpKG8bUDPlee2EZIWdHixW4gE
ZwIDAQAB
-----END PUBLIC KEY-----
";
    const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDJsc0SkBzUQ3HTVD9PlVuzwOcn
jJ2EGCZXyjRbcQQ6yvpL8hs+C5/ikjbW1BvH3hbCVHPWwn/mIFkfcfKcxib4Qw1q
eA9N6CuyCXMdMw3YN2vhJvuVOLD4mpr+td7l+a1mqxZi0mqPVIq3j2TdoZZAXFHb
xuWbZLsfUe7Rfm97dQIDAQAB
-----END PUBLIC KEY-----
";

    #[test]
    fn the_key_determines_the_algorithm() {
        assert_eq!(PublicKey::from_pem(P256).unwrap().algorithm, PublicKeyAlgorithm::Es256);
        assert_eq!(
            PublicKey::from_pem(RSA_2048).unwrap().algorithm,
            PublicKeyAlgorithm::Rs256
        );
    }

    #[test]
    fn weak_and_unsupported_keys_are_refused() {
        for pem in [
            P384,
            K256,
            RSA_1024,
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            "-----BEGIN x",
        ] {
            assert!(PublicKey::from_pem(pem).unwrap_err().contains("P-256"), "{pem}");
        }
        let private =
            PublicKey::from_pem("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----").unwrap_err();
        assert!(
            private.contains("public key") && !private.contains("hunter2"),
            "{private}"
        );
    }

    #[test]
    fn a_key_is_text_or_a_path() {
        let one_line = P256.replace('\n', "\\n");
        assert!(read(&[("DAYBOOK_JWT_PUBLIC_KEY", &one_line)]).is_ok());

        let path = std::env::temp_dir().join(format!("daybook-{}.pem", uuid::Uuid::now_v7()));
        std::fs::write(&path, P256).unwrap();
        let config = read(&[("DAYBOOK_JWT_PUBLIC_KEY", path.to_str().unwrap())]);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(config.unwrap().key, Some(JwtKey::Public(_))));

        let missing = read(&[("DAYBOOK_JWT_PUBLIC_KEY", "/nowhere/key.pem")])
            .unwrap_err()
            .to_string();
        assert!(missing.contains("path of a PEM file"), "{missing}");
    }

    #[test]
    fn two_keys_are_refused() {
        let both = [
            ("DAYBOOK_JWT_SECRET", "0123456789abcdef0123456789abcdef"),
            ("DAYBOOK_JWT_PUBLIC_KEY", P256),
        ];
        assert!(read(&both).unwrap_err().to_string().contains("set only one of them"));
    }
}
