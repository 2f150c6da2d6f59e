//! The team in a request's path, with who asks for it: the extractor that handlers of team routes begin with.

use std::time::Duration;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::client::Client;
use super::core::{Core, ServiceState};
use super::record::Record;
use crate::auth::{AccessEpochs, AuthParts, Principal};
use crate::error::{Error, Result};
use crate::tenancy::{Claim, Context, Database, Entrant, Entry, Request, Role, TeamTx, Work, Writing};
use crate::wide_events::WideEvent;

/// What a client is told whose credential expires while its request lasts.
pub(crate) const CREDENTIAL_EXPIRED: &str = "the credential has expired; come again with a new one";
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Who asks, and for which team. It proves *who*; entering proves that they belong, in its own round trip.
///
/// ```ignore
/// async fn create(team: Team, Json(body): Json<NewCampaign>) -> Result<impl IntoResponse> {
///     let tx = team.begin().await?;
///     let campaign = create_model_with_event(&tx, body.into_active_model(), Track::All).await?;
///     tx.commit().await?;
///     Ok((StatusCode::CREATED, Json(campaign)))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Team {
    database: Database,
    entry: Entry,
    id: Uuid,
    expires_at: Option<DateTime<Utc>>,
    access: AccessEpochs,
    /// As it was when the credential was last seen to hold.
    access_epoch: u64,
}

impl Team {
    /// The team's id, as the path has it.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Begins a transaction of somebody who may write: a member, an admin or an owner.
    ///
    /// # Errors
    /// [`Error::NotFound`] for who doesn't belong to the team, [`Error::Forbidden`] for a viewer, and, with
    /// an `Idempotency-Key` that was used before, what answers it.
    pub async fn begin(&self) -> Result<TeamTx> {
        self.begin_as(Role::Member).await
    }

    /// Begins a transaction of somebody with at least `role`: a viewer for what is one's own (read marks,
    /// watches), an admin for members and keys.
    ///
    /// # Errors
    /// As [`Team::begin`].
    pub async fn begin_as(&self, role: Role) -> Result<TeamTx> {
        let tx = self.database.enter(&self.entry).await?;
        allowed(tx, role).await
    }

    /// Begins a READ ONLY transaction of anybody in the team.
    ///
    /// # Errors
    /// [`Error::NotFound`] for who doesn't belong to the team.
    pub async fn read(&self) -> Result<TeamTx> {
        self.database.enter(&self.entry.clone().read_only()).await
    }

    /// Runs `work` in a transaction, commits on `Ok`, and begins anew when it met another transaction
    /// (serialization failure, deadlock): `team.write(async |tx| { … }).await?`.
    ///
    /// # Errors
    /// As [`Team::begin`], and what `work` fails with.
    pub fn write<'a, T, F>(&'a self, work: F) -> Writing<'a, T>
    where
        T: Send + 'a,
        F: AsyncFn(&TeamTx) -> Result<T> + for<'t> Work<'t, T> + 'a,
    {
        self.write_as(Role::Member, work)
    }

    /// [`Team::write`] for somebody with at least `role`.
    ///
    /// # Errors
    /// As [`Team::write`].
    pub fn write_as<'a, T, F>(&'a self, role: Role, work: F) -> Writing<'a, T>
    where
        T: Send + 'a,
        F: AsyncFn(&TeamTx) -> Result<T> + for<'t> Work<'t, T> + 'a,
    {
        self.database.write_as(&self.entry, role, work)
    }
}

impl Team {
    /// How its transactions are begun: for what outlives the request.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// When the credential stops to hold; none for an API key, whose row says so.
    pub(crate) fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at
    }

    /// Refuses when the credential has expired since the request began: for requests that last.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub(crate) fn still_holds(&self) -> Result<()> {
        match self.expires_at {
            Some(at) if at <= Utc::now() => Err(Error::unauthenticated(CREDENTIAL_EXPIRED)),
            _ => Ok(()),
        }
    }

    /// Waits until the credential expires; for ever for one that doesn't.
    pub(crate) async fn expired(&self) {
        // By the clock on the wall, which may be set: a long sleep alone would not notice.
        while self.still_holds().is_ok() {
            match self.expires_at {
                Some(at) => {
                    let left = (at - Utc::now()).to_std().unwrap_or_default();
                    tokio::time::sleep(left.min(CLOCK_CHECK_INTERVAL)).await;
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Whether somebody's access to the team has changed since this was last asked, here or in another process: then what
    /// is remembered of a credential counts no more.
    pub(crate) fn access_changed(&mut self) -> bool {
        let before = std::mem::replace(&mut self.access_epoch, self.access.of(self.id));
        before != self.access_epoch
    }

    /// Somebody whose context was kept, such as a ticket's. Entering proves anew that they belong.
    ///
    /// # Errors
    /// [`Error::Internal`] if the database has no [`AuthParts`].
    pub(crate) fn of_context(
        core: &Core,
        parts: &Parts,
        context: Context,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<Self> {
        let id = context.team_id;
        let entry = Entry::new(id, Entrant::Context(context), request(parts));
        Self::new(core, id, entry, expires_at)
    }

    fn new(core: &Core, id: Uuid, entry: Entry, expires_at: Option<DateTime<Utc>>) -> Result<Self> {
        let access = AuthParts::of(core.database())?.access.clone();
        Ok(Self {
            access_epoch: access.of(id),
            access,
            database: core.database().clone(),
            entry,
            id,
            expires_at,
        })
    }

    /// The team that the path names.
    pub(crate) async fn id_in_path(parts: &mut Parts) -> Result<Uuid> {
        let captures = RawPathParams::from_request_parts(parts, &())
            .await
            .map_err(|rejection| match rejection {
                // As no id and no name of ours is.
                RawPathParamsRejection::InvalidUtf8InPathParam(_) => Error::not_found("object"),
                ours => Error::internal(ours),
            })?;
        captures
            .iter()
            .find(|(name, _)| *name == "team_id")
            .and_then(|(_, value)| Uuid::try_parse(value).ok())
            .ok_or_else(|| Error::not_found("team"))
    }
}

/// What a request brings along for its transactions.
pub(crate) fn request(parts: &Parts) -> Request {
    let event = WideEvent::current();
    let ids = event.ids();
    Request {
        request_id: ids.map(|ids| ids.request_id.clone()),
        correlation_id: ids.map_or_else(Uuid::new_v4, |ids| ids.correlation_id),
        via: Some("http".to_owned()),
        reason: None,
        claim: parts.extensions.get::<Claim>().cloned(),
        observer: Some(Record::of(event, parts.extensions.get::<Client>().cloned())),
    }
}

async fn allowed(tx: TeamTx, role: Role) -> Result<TeamTx> {
    if let Err(error) = tx.require(role) {
        tx.rollback().await?;
        return Err(error);
    }
    Ok(tx)
}

impl<S: ServiceState> FromRequestParts<S> for Team {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let core = state.core();
        let principal = core.authenticator().authenticate(&parts.headers)?;
        let id = Self::id_in_path(parts).await?;
        let expires_at = match &principal {
            Principal::User(user) => Some(user.holds_until(Utc::now())),
            Principal::ApiKey(_) => None,
        };
        let entry = Entry::new(id, entrant(principal), request(parts));
        Self::new(core, id, entry, expires_at)
    }
}

fn entrant(principal: Principal) -> Entrant {
    match principal {
        Principal::User(user) => Entrant::Person {
            issuer: user.issuer,
            subject: user.subject,
            acting: user.acting.map(|acting| (acting.issuer, acting.subject)),
        },
        Principal::ApiKey(key) => Entrant::ApiKey {
            prefix: key.prefix,
            secret_sha256: key.secret_sha256,
        },
    }
}
