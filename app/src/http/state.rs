//! What every handler can reach.

use std::sync::Arc;

use crate::auth::Authenticator;
use crate::config::HttpConfig;
use crate::events::Sentences;
use crate::live::Live;
use crate::tenancy::{Database, Pending};

/// The service's long-lived parts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    database: Database,
    authenticator: Authenticator,
    http: HttpConfig,
    live: Live,
    pending: Option<Pending>,
}

impl AppState {
    /// Puts the parts together. `pending` are migrations that were left unapplied on purpose
    /// (`DAYBOOK_MIGRATE=off`): the service is then not ready, and says so.
    pub fn new(
        database: Database,
        authenticator: Authenticator,
        http: HttpConfig,
        live: Live,
        pending: Option<Pending>,
    ) -> Self {
        Self(Arc::new(Parts {
            database,
            authenticator,
            http,
            live,
            pending,
        }))
    }

    /// The run-time database.
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// Who believes which token.
    pub fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    /// How requests are taken.
    pub fn http(&self) -> &HttpConfig {
        &self.0.http
    }

    /// Who follows what.
    pub fn live(&self) -> &Live {
        &self.0.live
    }

    /// What words the models have for their events.
    pub fn sentences(&self) -> Sentences {
        self.0.database.extension().cloned().unwrap_or_default()
    }

    /// Migrations that are not applied, if some are not.
    pub fn pending(&self) -> Option<&Pending> {
        self.0.pending.as_ref().filter(|status| !status.pending.is_empty())
    }
}
