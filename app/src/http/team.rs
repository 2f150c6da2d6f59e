//! The team in a request's path, together with the caller: the extractor with which handlers of team routes begin.

use std::time::Duration;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::client::Client;
use super::core::{Core, ServiceState};
use super::record::Record;
use crate::auth::{AccessEpochs, AuthParts, Principal, tickets};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::tenancy::{Claim, Credential, Database, Entry, Request, Role, TeamTx, Work, Writing};
use crate::wide_events::WideEvent;

/// The error detail for a client whose credential expires during its request.
pub(crate) const CREDENTIAL_EXPIRED: &str = "the credential has expired; get a new one and try again";
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// The caller, and the team that the request is about. The extractor authenticates the caller. The membership is
/// checked when a transaction enters the team, in the same round trip.
///
/// ```
/// # use daybook::prelude::*;
/// # use daybook::campaigns::campaign;
/// # #[derive(Deserialize)]
/// # struct NewCampaign {
/// #     name: String,
/// # }
/// # impl NewCampaign {
/// #     fn into_active_model(self) -> campaign::ActiveModel {
/// #         campaign::ActiveModel { name: Set(self.name), ..Default::default() }
/// #     }
/// # }
/// async fn create(team: Team, Json(body): Json<NewCampaign>) -> Result<impl IntoResponse> {
///     let tx = team.begin().await?;
///     let campaign = create_model_with_event(&tx, body.into_active_model(), Track::All).await?;
///     tx.commit().await?;
///     Ok((StatusCode::CREATED, Json(campaign)))
/// }
/// # let routes: axum::Router<AppState> = axum::Router::new().route("/campaigns", axum::routing::post(create));
/// ```
#[derive(Debug, Clone)]
pub struct Team {
    database: Database,
    entry: Entry,
    id: Uuid,
    expires_at: Option<DateTime<Utc>>,
    access: AccessEpochs,
    /// The team's access epoch when the credential was last checked.
    access_epoch: u64,
}

impl Team {
    /// Returns the team's id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns the program's value of this type, if [`App::extension`](crate::App::extension) added one. It checks no
    /// membership: only a transaction does.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.database.extension()
    }

    /// Begins a transaction for a caller who may write: a member, an admin or an owner.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the person doesn't belong to the team, [`Error::Unauthenticated`] if the API key is not
    /// valid for it, [`Error::Forbidden`] for a viewer. For an `Idempotency-Key` that was used before:
    /// [`Error::Replay`] with the stored answer, [`Error::Conflict`] if the answer is lost, [`Error::Invalid`] if it
    /// was used with another request.
    pub async fn begin(&self) -> Result<TeamTx> {
        self.begin_as(Role::Member).await
    }

    /// Begins a transaction for a caller with at least `role`: a viewer for the caller's own rows (read marks,
    /// watches), an admin for members and keys.
    ///
    /// # Errors
    /// As [`Team::begin`].
    pub async fn begin_as(&self, role: Role) -> Result<TeamTx> {
        let tx = self.database.enter(&self.entry).await?;
        allowed(tx, role).await
    }

    /// Begins a READ ONLY transaction for any member.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the person doesn't belong to the team, [`Error::Unauthenticated`] if the API key is not
    /// valid for it.
    pub async fn read(&self) -> Result<TeamTx> {
        self.database.enter(&self.entry.clone().read_only()).await
    }

    /// Runs `work` in a transaction, commits on `Ok`, and repeats it after a conflict with another transaction
    /// (serialization failure, deadlock): `team.write(async |tx| { … }).await?`.
    ///
    /// # Errors
    /// As [`Team::begin`], and the error of `work`.
    pub fn write<'a, T, F>(&'a self, work: F) -> Writing<'a, T>
    where
        T: Send + 'a,
        F: AsyncFn(&TeamTx) -> Result<T> + for<'t> Work<'t, T> + 'a,
    {
        self.write_as(Role::Member, work)
    }

    /// Does the same as [`Team::write`], for a caller with at least `role`.
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
    /// Returns how transactions enter the team, for work that outlives the request.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Returns when the credential expires; `None` for an API key, whose row has the time.
    pub(crate) fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at
    }

    /// Returns the clock of the service.
    pub(crate) fn clock(&self) -> &Clock {
        self.database.clock()
    }

    /// Returns an error if the credential has expired since the request began. Long requests call this.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub(crate) fn check_not_expired(&self) -> Result<()> {
        match self.expires_at {
            Some(at) if at <= self.clock().now() => Err(Error::unauthenticated(CREDENTIAL_EXPIRED)),
            _ => Ok(()),
        }
    }

    /// Waits until the credential expires; forever if it doesn't expire.
    pub(crate) async fn expired(&self) {
        // The system's clock may be set; one long sleep would not notice this.
        while self.check_not_expired().is_ok() {
            match self.expires_at {
                Some(at) => {
                    let left = (at - self.clock().now()).to_std().unwrap_or_default();
                    tokio::time::sleep(left.min(CLOCK_CHECK_INTERVAL)).await;
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Returns whether somebody's access to the team has changed since the last call, in this or another process. Then
    /// cached checks of a credential are no longer valid.
    pub(crate) fn access_changed(&mut self) -> bool {
        let before = std::mem::replace(&mut self.access_epoch, self.access.of(self.id));
        before != self.access_epoch
    }

    /// Authenticates a caller by a ticket: by one that reads this run, or by one that opens a live socket. The
    /// membership is checked again when the team is entered.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for a ticket that is not valid here.
    pub(crate) async fn of_ticket(core: &Core, parts: &mut Parts, ticket: &str, run_id: Option<Uuid>) -> Result<Self> {
        let id = Self::id_in_path(parts).await?;
        let owner = match run_id {
            Some(run_id) => tickets::check_for_run(core.database(), id, run_id, ticket).await?,
            None => tickets::redeem(core.database(), id, ticket).await?,
        };
        let caller = Credential::Context(owner.context);
        Self::new(core, parts, id, caller, owner.credential_expires_at)
    }

    fn new(
        core: &Core,
        parts: &Parts,
        id: Uuid,
        caller: Credential,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<Self> {
        let access = AuthParts::of(core.database())?.access.clone();
        Ok(Self {
            access_epoch: access.of(id),
            access,
            database: core.database().clone(),
            entry: Entry::new(id, caller, request(parts)),
            id,
            expires_at,
        })
    }

    /// Returns the team's id from the path.
    pub(crate) async fn id_in_path(parts: &mut Parts) -> Result<Uuid> {
        let captures = RawPathParams::from_request_parts(parts, &())
            .await
            .map_err(|rejection| match rejection {
                // No id or name in Daybook has bytes that are not UTF-8.
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

/// Returns what a request's transactions record about the request.
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
            Principal::User(user) => Some(user.valid_until(core.database().clock().now())),
            Principal::ApiKey(_) => None,
        };
        Self::new(core, parts, id, credential(principal), expires_at)
    }
}

fn credential(principal: Principal) -> Credential {
    match principal {
        Principal::User(user) => Credential::Person {
            issuer: user.issuer,
            subject: user.subject,
            acting: user.acting.map(|acting| (acting.issuer, acting.subject)),
        },
        Principal::ApiKey(key) => Credential::ApiKey {
            prefix: key.prefix,
            secret_sha256: key.secret_sha256,
        },
    }
}
