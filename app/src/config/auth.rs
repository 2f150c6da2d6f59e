//! Whose tokens are believed.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::settings::{Secret, Settings};

/// Below this many bytes an HS256 secret can be guessed from one token (RFC 7518 §3.2).
pub(crate) const MIN_SECRET_BYTES: usize = 32;

/// What a 2048-bit RSA key (RFC 7518 §3.3) with the shortest exponent takes in PKCS#1 DER.
const MIN_RSA_DER_BYTES: usize = 268;

/// Whose tokens are believed.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// The key that JWTs are verified with. None: only API keys are taken.
    pub key: Option<JwtKey>,
    /// The `iss` that tokens must carry.
    pub issuer: String,
    /// The `aud` that tokens must carry. None: a token that is meant for some audience isn't meant for this
    /// service, and is refused.
    pub audience: Option<String>,
}

/// The key that JWTs are verified with. It fixes the algorithm, so that a token can't choose another one.
#[derive(Debug, Clone)]
pub enum JwtKey {
    /// HS256. Whoever knows it can make tokens, and `daybook token` does.
    Secret(Secret),
    /// RS256 or ES256: an identity provider makes the tokens.
    Public(PublicKey),
}

/// A public key that has been read and found usable.
#[derive(Debug, Clone)]
pub struct PublicKey {
    /// The key, as PEM.
    pub pem: String,
    /// What it verifies, decided by its kind.
    pub algorithm: PublicKeyAlgorithm,
}

/// What a public key verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKeyAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256; RSA keys of at least 2048 bits.
    Rs256,
    /// ECDSA with SHA-256; keys on the curve P-256.
    Es256,
}

impl AuthConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let secret = settings.secret("DAYBOOK_JWT_SECRET", hs256_secret);
        let public = settings.secret("DAYBOOK_JWT_PUBLIC_KEY", |value| PublicKey::from_pem(&pem_text(value)?));
        if secret.is_some() && public.is_some() {
            settings.refuse(
                "DAYBOOK_JWT_SECRET",
                "is set beside DAYBOOK_JWT_PUBLIC_KEY: set one of the two",
            );
        }
        Self {
            key: secret.map(JwtKey::Secret).or(public.map(JwtKey::Public)),
            issuer: settings
                .text("DAYBOOK_JWT_ISSUER")
                .unwrap_or_else(|| "daybook".to_owned()),
            audience: settings.text("DAYBOOK_JWT_AUDIENCE"),
        }
    }
}

impl PublicKey {
    /// Reads a public key in PEM: `PUBLIC KEY` (RSA or P-256) or `RSA PUBLIC KEY`.
    ///
    /// # Errors
    ///
    /// What would be valid, as the rest of a sentence. It holds nothing of the key.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        // A private key would verify too. It is refused since it has no business on this machine.
        if pem.contains("PRIVATE KEY") {
            return Err(
                "must be a public key, and this is a private one; `openssl pkey -pubout` gives its public half"
                    .to_owned(),
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

/// The library looks at the curve when it verifies, so it is given a token to verify: one with a signature
/// of no meaning, which a usable key finds wrong.
fn is_on_p256(key: &DecodingKey) -> bool {
    let unsigned = "eyJhbGciOiJFUzI1NiJ9.e30.AAAA";
    let verdict = jsonwebtoken::decode::<serde_json::Value>(unsigned, key, &Validation::new(Algorithm::ES256));
    verdict.is_err_and(|error| matches!(error.kind(), ErrorKind::InvalidSignature))
}

fn hs256_secret(value: &str) -> Result<Secret, String> {
    if value.len() < MIN_SECRET_BYTES {
        return Err(format!(
            "must be at least {MIN_SECRET_BYTES} bytes long, and is {}; `openssl rand -base64 48` makes a good one",
            value.len()
        ));
    }
    Ok(Secret::new(value))
}

/// The PEM that a setting holds or names. Tools that can't keep line breaks in a variable write `\n`.
fn pem_text(value: &str) -> Result<String, String> {
    if value.contains("-----BEGIN") {
        return Ok(value.replace("\\n", "\n"));
    }
    std::fs::read_to_string(value.trim())
        .map_err(|error| format!("must be PEM, or the path of a PEM file, and can't be read as one ({error})"))
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

    // Made with `openssl genpkey … | openssl pkey -pubout`; the private halves were thrown away.
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
    fn the_key_decides_the_algorithm() {
        assert_eq!(PublicKey::from_pem(P256).unwrap().algorithm, PublicKeyAlgorithm::Es256);
        assert_eq!(
            PublicKey::from_pem(RSA_2048).unwrap().algorithm,
            PublicKeyAlgorithm::Rs256
        );
    }

    #[test]
    fn weak_and_foreign_keys_are_refused() {
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
    fn one_key_is_enough() {
        let both = [
            ("DAYBOOK_JWT_SECRET", "0123456789abcdef0123456789abcdef"),
            ("DAYBOOK_JWT_PUBLIC_KEY", P256),
        ];
        assert!(read(&both).unwrap_err().to_string().contains("one of the two"));
    }
}
