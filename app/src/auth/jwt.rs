//! JSON Web Tokens: verifies those of requests, and creates those of `daybook token`.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::principal::{ActingPerson, LEEWAY, UserPrincipal};
use crate::clock::Clock;
use crate::config::{AuthConfig, JwtKey, PublicKeyAlgorithm};
use crate::error::{Error, Result};

/// Maximum length of `sub` in bytes. OpenID Connect allows 255 ASCII characters.
const MAX_SUBJECT_BYTES: usize = 255;
const MAX_NAME_CHARS: usize = 200;
const MAX_EMAIL_CHARS: usize = 320;

/// The claims that Daybook reads and writes; it ignores others.
///
/// All are optional here, so that a missing claim is reported by the library's check and not by serde.
#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    /// Seconds since 1970; RFC 7519 allows a fraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<serde_json::Number>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// OpenID Connect Core §5.1. Some providers write it as a string.
    #[serde(skip_serializing)]
    email_verified: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<ActClaim>,
}

/// The claim `act` (RFC 8693 §4.1). A chain of actors (`act.act`) is only information, and is ignored, as the RFC
/// requires.
#[derive(Serialize, Deserialize)]
struct ActClaim {
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    sub: String,
}

/// Verifies tokens with one key and the one algorithm that belongs to it.
pub(super) struct JwtVerifier {
    key: DecodingKey,
    validation: Validation,
    algorithm: &'static str,
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifier")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl JwtVerifier {
    /// Creates the verifier for the configuration's key. Returns `None` if there is no key.
    pub(super) fn new(config: &AuthConfig) -> Result<Option<Self>> {
        let Some(key) = &config.key else { return Ok(None) };
        let (key, algorithm, name) = match key {
            JwtKey::Secret(secret) => (
                DecodingKey::from_secret(secret.expose().as_bytes()),
                Algorithm::HS256,
                "HS256",
            ),
            JwtKey::Public(public) => {
                let pem = public.pem.as_bytes();
                match public.algorithm {
                    PublicKeyAlgorithm::Rs256 => (
                        DecodingKey::from_rsa_pem(pem).map_err(Error::internal)?,
                        Algorithm::RS256,
                        "RS256",
                    ),
                    PublicKeyAlgorithm::Es256 => (
                        DecodingKey::from_ec_pem(pem).map_err(Error::internal)?,
                        Algorithm::ES256,
                        "ES256",
                    ),
                }
            }
        };
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY.num_seconds().unsigned_abs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&config.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        if let Some(audience) = &config.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        Ok(Some(Self {
            key,
            validation,
            algorithm: name,
        }))
    }

    /// Returns the person that the token names, if it is valid now. The library always uses the machine's clock to
    /// check `exp` and `nbf`. `exp` is then checked against `now` too, so that a test can make a token expire.
    pub(super) fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<UserPrincipal> {
        let data = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| self.refusal(error.kind()))?;
        // RFC 7515 §4.1.11: a critical header that the receiver doesn't understand must be rejected. The library
        // doesn't check this.
        if data.header.crit.is_some() {
            return Err(Error::unauthenticated(
                "the token has critical headers, which this service doesn't know",
            ));
        }
        let user = principal(data.claims)?;
        if now.checked_sub_signed(LEEWAY).is_some_and(|at| user.expires_at < at) {
            return Err(self.refusal(&ErrorKind::ExpiredSignature));
        }
        Ok(user)
    }

    fn refusal(&self, kind: &ErrorKind) -> Error {
        match kind {
            ErrorKind::ExpiredSignature => Error::unauthenticated("the token has expired; get a fresh one"),
            ErrorKind::ImmatureSignature => {
                Error::unauthenticated("the token isn't valid yet: its nbf is in the future")
            }
            ErrorKind::InvalidSignature => Error::unauthenticated("the token's signature is not valid"),
            ErrorKind::InvalidIssuer => Error::unauthenticated("the token's iss isn't one that this service trusts"),
            ErrorKind::InvalidAudience => Error::unauthenticated("the token's aud isn't this service"),
            ErrorKind::InvalidAlgorithm => Error::unauthenticated(format!(
                "the token's algorithm isn't {}, which this service takes",
                self.algorithm
            )),
            ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
                Error::unauthenticated(format!("the token has no usable {claim} claim"))
            }
            _ => Error::unauthenticated("the token can't be read as a JWT"),
        }
    }
}

fn principal(claims: Claims) -> Result<UserPrincipal> {
    let issuer = claims.iss.unwrap_or_default();
    let subject = subject(claims.sub.unwrap_or_default(), "sub")?;
    let acting = match claims.act {
        None => None,
        Some(act) => Some(ActingPerson {
            issuer: act
                .iss
                .map_or_else(|| Ok(issuer.clone()), |iss| self::subject(iss, "act.iss"))?,
            subject: self::subject(act.sub, "act.sub")?,
        }),
    };
    let is_unverified = claims
        .email_verified
        .is_some_and(|verified| verified == false || verified == "false");
    Ok(UserPrincipal {
        // A person who acts in their own name impersonates nobody.
        acting: acting.filter(|acting| (&acting.issuer, &acting.subject) != (&issuer, &subject)),
        issuer,
        subject,
        name: clean_text(claims.name, MAX_NAME_CHARS),
        email: clean_text(claims.email, MAX_EMAIL_CHARS).filter(|_| !is_unverified),
        expires_at: claims.exp.as_ref().map_or(DateTime::<Utc>::MIN_UTC, to_timestamp),
    })
}

/// Checks a subject. It is a database key, so it is either used unchanged or rejected.
fn subject(text: String, claim: &str) -> Result<String> {
    if text.is_empty() || text.len() > MAX_SUBJECT_BYTES || text.chars().any(char::is_control) {
        return Err(Error::unauthenticated(format!(
            "the token's {claim} must be 1 to {MAX_SUBJECT_BYTES} bytes without control characters"
        )));
    }
    Ok(text)
}

/// Cleans a name or an e-mail address, for display: trims it, removes control characters, and truncates it.
fn clean_text(text: Option<String>, max_chars: usize) -> Option<String> {
    let text: String = text?
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(max_chars)
        .collect();
    Some(text).filter(|text| !text.is_empty())
}

/// Converts `exp` to a time. The library has checked that it is a number of seconds. It may be later than any date that
/// chrono can represent.
fn to_timestamp(seconds: &serde_json::Number) -> DateTime<Utc> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates, and beyond chrono's range is MAX_UTC anyway"
    )]
    let whole = seconds
        .as_i64()
        .or_else(|| seconds.as_f64().map(|s| s as i64))
        .unwrap_or(i64::MAX);
    DateTime::from_timestamp(whole, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The claims of a token to be created.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewToken {
    /// `sub`: the person on whose behalf the token's holder acts.
    pub subject: String,
    /// `name`: the person's name in sentences.
    pub name: Option<String>,
    /// `email`.
    pub email: Option<String>,
    /// `act`: the person who acts on the subject's behalf, if that is another person.
    pub acting: Option<ActingPerson>,
}

impl NewToken {
    /// Creates the claims of a token that only identifies a person.
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            name: None,
            email: None,
            acting: None,
        }
    }

    /// Sets the person's name in sentences.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the person's e-mail address.
    #[must_use]
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// Sets the person who acts on the subject's behalf.
    #[must_use]
    pub fn acting(mut self, acting: ActingPerson) -> Self {
        self.acting = Some(acting);
        self
    }
}

/// Creates a token that this configuration's [`Authenticator`](super::Authenticator) accepts from now on, for the
/// duration `ttl`.
///
/// # Errors
///
/// [`Error::BadRequest`] if the configuration has no HS256 secret (a public key can't sign), if `ttl` isn't positive,
/// or if the subject is invalid.
pub fn mint(config: &AuthConfig, token: &NewToken, ttl: TimeDelta) -> Result<String> {
    let Some(JwtKey::Secret(secret)) = &config.key else {
        return Err(Error::BadRequest {
            detail: "tokens are signed with DAYBOOK_JWT_SECRET, which isn't set; ask your identity provider for one"
                .to_owned(),
        });
    };
    let now = Clock::system().now();
    let Some(expires_at) = now.checked_add_signed(ttl).filter(|at| *at > now) else {
        return Err(Error::BadRequest {
            detail: "a token's lifetime must be above zero, and before the year 262000".to_owned(),
        });
    };
    let usable = |text: &str, claim| {
        subject(text.to_owned(), claim).map_err(|error| Error::BadRequest {
            detail: error.to_string(),
        })
    };
    let act = match &token.acting {
        None => None,
        Some(acting) => Some(ActClaim {
            iss: Some(usable(&acting.issuer, "act.iss")?),
            sub: usable(&acting.subject, "act.sub")?,
        }),
    };
    let claims = Claims {
        iss: Some(config.issuer.clone()),
        sub: Some(usable(&token.subject, "sub")?),
        exp: Some(expires_at.timestamp().into()),
        iat: Some(now.timestamp()),
        aud: config.audience.clone(),
        name: token.name.clone(),
        email: token.email.clone(),
        email_verified: None,
        act,
    };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(Error::internal)
}

#[cfg(test)]
mod tests;
