//! Authenticates a request's headers and returns a principal.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::api_key::ApiKey;
use super::jwt::JwtVerifier;
use super::principal::{ApiKeyPrincipal, Principal};
use crate::clock::Clock;
use crate::config::AuthConfig;
use crate::error::{Error, Result};

/// Verifies credentials. Created once at start, and shared by all requests.
#[derive(Debug)]
pub struct Authenticator {
    jwt: Option<JwtVerifier>,
    issuer: String,
    clock: Clock,
}

impl Authenticator {
    /// Creates an authenticator, and parses the configuration's key.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if the key can't be parsed; a key from [`crate::config::Config`] always can.
    pub fn new(config: &AuthConfig) -> Result<Self> {
        Ok(Self {
            jwt: JwtVerifier::new(config)?,
            issuer: config.issuer.clone(),
            clock: Clock::system(),
        })
    }

    /// Sets a clock by which the expiry of tokens is checked, too.
    #[must_use]
    pub(crate) fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the issuer that tokens must have (`iss`). It is the default issuer where a request names a person
    /// without one.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the principal of these headers: `Authorization: Bearer <JWT or API key>`.
    ///
    /// # Errors
    ///
    /// [`Error::Unauthenticated`], with a text that helps honest callers. It never contains the credential.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Principal> {
        let credential = bearer(headers)?;
        if ApiKey::looks_like(credential) {
            let key = ApiKey::parse(credential)?;
            return Ok(Principal::ApiKey(ApiKeyPrincipal {
                prefix: key.prefix().to_owned(),
                secret_sha256: key.secret_sha256(),
            }));
        }
        match &self.jwt {
            Some(jwt) => jwt.verify(credential, self.clock.now()).map(Principal::User),
            None => Err(Error::unauthenticated(
                "this service has no key for JWTs; send a team's API key",
            )),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Error::unauthenticated(
            "no Authorization header: send `Authorization: Bearer <token>`",
        ));
    };
    // With two headers, a proxy could check one and this service the other.
    if values.next().is_some() {
        return Err(Error::unauthenticated("more than one Authorization header: send one"));
    }
    value
        .to_str()
        .ok()
        .and_then(|value| value.trim().split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, credential)| credential.trim())
        .filter(|credential| !credential.is_empty())
        .ok_or_else(|| Error::unauthenticated("the Authorization header must be `Bearer <token>`"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::auth::{NewToken, mint};
    use crate::config::{JwtKey, Secret};

    fn config() -> AuthConfig {
        AuthConfig {
            key: Some(JwtKey::Secret(Secret::new("0123456789abcdef0123456789abcdef"))),
            issuer: "daybook".to_owned(),
            audience: None,
        }
    }

    fn authenticate(config: &AuthConfig, values: &[&str]) -> Result<Principal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Authenticator::new(config).unwrap().authenticate(&headers)
    }

    #[test]
    fn a_token_names_a_person_and_a_key_names_a_program() {
        let token = mint(&config(), &NewToken::new("ada"), chrono::TimeDelta::hours(1)).unwrap();
        let Principal::User(user) = authenticate(&config(), &[&format!("bearer  {token}")]).unwrap() else {
            panic!("a JWT is a person's");
        };
        assert_eq!((user.issuer.as_str(), user.subject.as_str()), ("daybook", "ada"));

        let key = ApiKey::generate();
        let Principal::ApiKey(found) = authenticate(&config(), &[&format!("Bearer {}", key.reveal())]).unwrap() else {
            panic!("a key is a program's");
        };
        assert_eq!(found.prefix, key.prefix());
        assert_eq!(found.secret_sha256, key.secret_sha256());
        assert!(!format!("{found:?}").contains("sha256"));
    }

    #[test]
    fn errors_explain_which_header_to_send() {
        let missing = authenticate(&config(), &[]).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "no Authorization header: send `Authorization: Bearer <token>`"
        );
        for value in ["", "Bearer", "Bearer ", "Basic YWRhOnB3", "Bearer\tx", "Bearer é"] {
            let error = authenticate(&config(), &[value]).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the Authorization header must be `Bearer <token>`",
                "{value:?}"
            );
        }
        assert!(
            authenticate(&config(), &["Bearer a", "Bearer b"])
                .unwrap_err()
                .to_string()
                .contains("more than one")
        );
    }

    #[test]
    fn without_a_key_no_jwt_is_accepted() {
        let token = mint(&config(), &NewToken::new("ada"), chrono::TimeDelta::hours(1)).unwrap();
        let keyless = AuthConfig { key: None, ..config() };
        let error = authenticate(&keyless, &[&format!("Bearer {token}")]).unwrap_err();
        assert!(error.to_string().contains("API key") && !error.to_string().contains(&token));
        assert!(authenticate(&keyless, &[&format!("Bearer {}", ApiKey::generate().reveal())]).is_ok());
    }
}
