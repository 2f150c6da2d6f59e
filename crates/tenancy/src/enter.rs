//! Enters a team: begins the transaction, sets the team, and determines who acts, in one round trip.
//!
//! It is one simple-query message of several statements. They are planned one after the other, so that the policies of
//! each see the settings of the one before. Ids are UUIDs. Texts consist of safe characters or are encoded as hex. So
//! no part of the input can be anything but a literal.
//!
//! **Pitfall:** sqlx doesn't know about a transaction that it didn't begin itself. However an entry fails, the
//! connection is rolled back or closed before it returns to the pool.

use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::postgres::{PgRow, Postgres};
use sqlx::{AssertSqlSafe, Row, pool::PoolConnection};
use uuid::Uuid;

use super::claim::Claim;
use super::observer::Observer;
use super::{Actor, Context, Database, ErasedNames, Person, Role};
use crate::error::{Error, Result};

/// The credential with which a caller enters a team. The database checks whether it gives access.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credential {
    /// A person, identified by a token.
    Person {
        /// The token's `iss`.
        issuer: String,
        /// The token's `sub`: the person whose rights apply.
        subject: String,
        /// The issuer and subject of the person who acts, if that is another person.
        acting: Option<(String, String)>,
    },
    /// A program with an API key.
    ApiKey {
        /// The part by which the key is found.
        prefix: String,
        /// SHA-256 of the secret part.
        secret_sha256: [u8; 32],
    },
    /// The service's own code, or work that continues with the context in which it began.
    Context(Context),
}

/// The data of a request that its transactions need.
#[derive(Debug, Clone)]
pub struct Request {
    /// The request's id.
    pub request_id: Option<String>,
    /// The story it belongs to.
    pub correlation_id: Uuid,
    /// The channel: `http`, `cli`, a job's name.
    pub via: Option<String>,
    /// The reason, in a person's words.
    pub reason: Option<String>,
    /// The `Idempotency-Key`, if it has one.
    pub claim: Option<Claim>,
    /// Receives what the request's transactions did.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Request {
    /// Returns the request data for work that continues with a context.
    pub fn of(context: &Context) -> Self {
        Self {
            request_id: context.request_id.clone(),
            correlation_id: context.correlation_id,
            via: context.via.clone(),
            reason: context.reason.clone(),
            claim: None,
            observer: None,
        }
    }
}

/// The parameters of entering a team.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(super) team_id: Uuid,
    pub(super) credential: Credential,
    pub(super) request: Request,
    pub(super) read_only: bool,
}

impl Entry {
    /// Creates an entry for reading and writing.
    pub fn new(team_id: Uuid, credential: Credential, request: Request) -> Self {
        Self {
            team_id,
            credential,
            request,
            read_only: false,
        }
    }

    /// Makes it an entry for reading: the transaction is READ ONLY and claims no `Idempotency-Key`.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Removes the observer, for work that continues after the end of its request.
    #[must_use]
    pub fn unobserved(mut self) -> Self {
        self.request.observer = None;
        self
    }
}

/// The result of entering a team.
pub(super) enum Entered {
    /// The actor has access: who acts, with which role.
    As {
        context: Box<Context>,
        role: Role,
        claimed: Option<Claim>,
    },
    /// The `Idempotency-Key` was used before.
    KeyUsed { actor: String },
}

/// Sends the entry and reads its result. On `Err` the transaction may still be open.
pub(super) async fn enter(
    connection: &mut PoolConnection<Postgres>,
    entry: &Entry,
    database: &Database,
) -> Result<Entered> {
    let claim = entry
        .request
        .claim
        .as_ref()
        .filter(|claim| !entry.read_only && claim.holder().is_none());
    let rows = sqlx::raw_sql(AssertSqlSafe(statements(entry, claim, database)))
        .fetch_all(&mut **connection)
        .await?;

    let mut acting = None;
    let mut found = None;
    let mut claimed = None;
    for row in &rows {
        match row.try_get::<&str, _>("entry")? {
            "acting" => acting = Some(person(row)?),
            "credential" => {
                let role = row
                    .try_get::<Option<&str>, _>("role")?
                    .map(str::parse::<Role>)
                    .transpose()?;
                found = role.map(|role| person(row).map(|person| (person, role))).transpose()?;
            }
            "claim" => claimed = Some((row.try_get::<bool, _>("claimed")?, row.try_get::<String, _>("actor")?)),
            _ => {}
        }
    }
    let (context, role) = identified(entry, found, acting)?;
    match (claimed, claim) {
        (Some((false, actor)), _) => Ok(Entered::KeyUsed { actor }),
        (Some((true, actor)), Some(claim)) => {
            claim.set_holder(Some(actor));
            Ok(Entered::As {
                context: Box::new(context),
                role,
                claimed: Some(claim.clone()),
            })
        }
        _ => Ok(Entered::As {
            context: Box::new(context),
            role,
            claimed: None,
        }),
    }
}

fn person(row: &PgRow) -> Result<Person> {
    Ok(Person {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
    })
}

fn identified(entry: &Entry, found: Option<(Person, Role)>, acting: Option<Person>) -> Result<(Context, Role)> {
    let request = &entry.request;
    let context = |actor, on_behalf_of| Context {
        team_id: entry.team_id,
        actor,
        on_behalf_of,
        via: request.via.clone(),
        reason: request.reason.clone(),
        request_id: request.request_id.clone(),
        correlation_id: request.correlation_id,
        causation_id: None,
    };
    let user = |person: Person| Actor::User {
        id: person.id,
        name: person.name,
    };
    match (&entry.credential, found) {
        (Credential::Person { acting: None, .. }, Some((person, role))) => Ok((context(user(person), None), role)),
        (Credential::Person { acting: Some(_), .. }, Some((person, role))) => match acting {
            Some(actor) => Ok((context(user(actor), Some(person)), role)),
            None => Err(Error::unauthenticated(
                "the token's `act` names a person who is not known here",
            )),
        },
        (Credential::ApiKey { .. }, Some((key, role))) => Ok((
            context(
                Actor::ApiKey {
                    id: key.id,
                    name: key.name,
                },
                None,
            ),
            role,
        )),
        // The error is the same if the team, the key or the membership is missing.
        (Credential::ApiKey { .. }, None) => Err(Error::unauthenticated("the API key is not valid for this team")),
        (Credential::Person { .. }, None) => Err(Error::not_found("team")),
        (Credential::Context(context), found) => match (&context.actor, found) {
            (Actor::User { .. } | Actor::ApiKey { .. }, Some((_, role))) => Ok((context.clone(), role)),
            (Actor::User { .. }, None) => Err(Error::not_found("team")),
            (Actor::ApiKey { .. }, None) => Err(Error::unauthenticated("the API key is not valid for this team")),
            _ => Ok((context.clone(), Role::Owner)),
        },
    }
}

fn statements(entry: &Entry, claim: Option<&Claim>, database: &Database) -> String {
    let team = entry.team_id;
    let mut sql = String::with_capacity(1_024);
    sql.push_str(if entry.read_only { "BEGIN READ ONLY" } else { "BEGIN" });
    let _ = write!(sql, "; SET LOCAL daybook.team_id = '{team}'");
    if database.erased_names() == ErasedNames::Pseudonym {
        sql.push_str("; SET LOCAL daybook.erased_names = 'pseudonym'");
    }
    if let Some(timeout) = database.statement_timeout() {
        // It is set here and not when the connection is opened, because a pooler accepts no startup options.
        let _ = write!(sql, "; SET LOCAL statement_timeout = {}", timeout.as_millis());
    }
    match &entry.credential {
        Credential::Person {
            issuer,
            subject,
            acting,
        } => {
            if let Some((acting_issuer, acting_subject)) = acting {
                enter_person(&mut sql, "acting", team, acting_issuer, acting_subject);
            }
            // This person is entered last, so that the settings are those of the person whose rights apply.
            enter_person(&mut sql, "credential", team, issuer, subject);
        }
        Credential::ApiKey { prefix, secret_sha256 } => {
            let _ = write!(
                sql,
                "; SELECT 'credential' AS entry, id, name, role, set_config('daybook.actor', 'api_key:' || id, true) \
                   FROM api_keys WHERE team_id = '{team}' AND prefix = {} AND secret_sha256 = {} \
                   AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())",
                text(prefix),
                bytes(secret_sha256),
            );
        }
        Credential::Context(context) => {
            if let Actor::ApiKey { id, .. } = &context.actor {
                let _ = write!(
                    sql,
                    "; SELECT 'credential' AS entry, id, name, role FROM api_keys WHERE team_id = '{team}' AND id = '{id}' \
                       AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
                );
            }
            if let Actor::User { id, .. } = &context.actor {
                // Impersonation gives the rights of the person on whose behalf the actor acts.
                let member = context.on_behalf_of.as_ref().map_or(*id, |person| person.id);
                let _ = write!(
                    sql,
                    "; SELECT 'credential' AS entry, id, name, role FROM daybook_enter_member('{team}', '{member}')"
                );
            }
        }
    }
    if let Some(claim) = claim {
        let _ = write!(
            sql,
            "; WITH claimed AS (INSERT INTO idempotency_keys (team_id, actor, key, request_sha256, correlation_id) \
               SELECT '{team}', current_setting('daybook.actor', true), {key}, {hash}, '{correlation}' \
               WHERE coalesce(current_setting('daybook.actor', true), '') <> '' \
               ON CONFLICT DO NOTHING RETURNING 1) \
               SELECT 'claim' AS entry, EXISTS (SELECT FROM claimed) AS claimed, \
                 coalesce(current_setting('daybook.actor', true), '') AS actor",
            key = text(claim.key()),
            hash = bytes(claim.request_sha256()),
            correlation = entry.request.correlation_id,
        );
    }
    sql
}

fn enter_person(sql: &mut String, entry: &str, team: Uuid, issuer: &str, subject: &str) {
    let (issuer, subject) = (text(issuer), text(subject));
    let _ = write!(
        sql,
        "; SELECT '{entry}' AS entry, id, name, role FROM daybook_enter_person('{team}', {issuer}, {subject})"
    );
}

/// Returns a text literal. A value whose characters can neither end nor escape a literal is quoted as it is; any other
/// is encoded as hex, which needs no quoting.
pub(super) fn text(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" -_.:/@|+=".contains(&byte);
    if value.bytes().all(plain) {
        return format!("'{value}'");
    }
    format!("convert_from({}, 'UTF8')", bytes(value.as_bytes()))
}

fn bytes(value: &[u8]) -> String {
    let mut hex = String::with_capacity(value.len() * 2 + 15);
    hex.push_str("decode('");
    for byte in value {
        let _ = write!(hex, "{byte:02x}");
    }
    hex.push_str("','hex')");
    hex
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn text_that_could_end_or_escape_a_literal_is_encoded_as_hex() {
        assert_eq!(
            text("auth0|ada.lovelace@example.com"),
            "'auth0|ada.lovelace@example.com'"
        );
        for hostile in [
            "'",
            "ada'; DROP TABLE users; --",
            "\\",
            "$$",
            "ädä",
            "a\nb",
            "(",
            "\u{2019}",
            "\0",
        ] {
            let literal = text(hostile);
            assert!(literal.starts_with("convert_from(decode('"), "{literal}");
            let hex = &literal["convert_from(decode('".len()..literal.len() - "','hex'), 'UTF8')".len()];
            assert!(hex.bytes().all(|byte| byte.is_ascii_hexdigit()), "{literal}");
        }
    }
}
