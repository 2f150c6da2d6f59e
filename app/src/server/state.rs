//! The state that every handler can access.

use std::sync::Arc;

use axum::extract::FromRef;

use super::connections::Connections;
use crate::auth::Authenticator;
use crate::config::HttpConfig;
use crate::error::Result;
use crate::events::{EventsParts, Sentences};
use crate::http::{Core, ServiceState};
use crate::live::Live;
use crate::tenancy::{Database, Pending};
use crate::wide_events::{Sink, WideEventConfig, WideEvents};

/// The service's long-lived objects. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState(Arc<AppStateInner>, WideEvents, Option<Connections>);

#[derive(Debug)]
struct AppStateInner {
    core: Core,
    http: HttpConfig,
    live: Live,
    pending: Option<Pending>,
}

impl AppState {
    /// Creates the state. `pending` are migrations that were deliberately not applied (`DAYBOOK_MIGRATE=off`): the
    /// service then reports that it is not ready. Wide events of requests are counted but not written, until
    /// [`AppState::with_wide_events`] sets a writer.
    pub fn new(
        database: Database,
        authenticator: Authenticator,
        http: HttpConfig,
        live: Live,
        pending: Option<Pending>,
    ) -> Self {
        let nowhere = WideEventConfig::new("daybook").sink(Sink::new(std::io::sink()));
        let allowed_origins = live.options().allowed_origins.clone();
        let parts = AppStateInner {
            core: Core::new(database, authenticator, allowed_origins),
            http,
            live,
            pending,
        };
        Self(Arc::new(parts), WideEvents::new(nowhere), None)
    }

    /// Sets the writer of the requests' wide events.
    #[must_use]
    pub fn with_wide_events(mut self, wide_events: WideEvents) -> Self {
        self.1 = wide_events;
        self
    }

    /// Sets the connections on which requests arrive, for `/metrics`.
    #[must_use]
    pub fn with_connections(mut self, connections: Connections) -> Self {
        self.2 = Some(connections);
        self
    }

    /// Returns the connections on which requests arrive, if the service accepts them itself.
    pub fn connections(&self) -> Option<&Connections> {
        self.2.as_ref()
    }

    /// Returns the run-time database.
    pub fn database(&self) -> &Database {
        self.0.core.database()
    }

    /// Returns the verifier of credentials.
    pub fn authenticator(&self) -> &Authenticator {
        self.0.core.authenticator()
    }

    /// Returns the HTTP settings.
    pub fn http(&self) -> &HttpConfig {
        &self.0.http
    }

    /// Returns the registry of live subscriptions.
    pub fn live(&self) -> &Live {
        &self.0.live
    }

    /// Returns the writer of the requests' wide events.
    pub fn wide_events(&self) -> &WideEvents {
        &self.1
    }

    /// Returns the models' sentences for their events.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if the database has no [`EventsParts`].
    pub fn sentences(&self) -> Result<&Sentences> {
        Ok(&EventsParts::of(self.database())?.sentences)
    }

    /// Returns the status of migrations, if some are not applied.
    pub fn pending(&self) -> Option<&Pending> {
        self.0.pending.as_ref().filter(|status| !status.pending.is_empty())
    }
}

impl ServiceState for AppState {
    fn core(&self) -> &Core {
        &self.0.core
    }
}

impl FromRef<AppState> for Live {
    fn from_ref(state: &AppState) -> Self {
        state.live().clone()
    }
}
